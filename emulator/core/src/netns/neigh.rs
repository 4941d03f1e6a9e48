//! The neighbour table: who has which address on a link, after Linux's `net/core/neighbour.c`.
//!
//! ```text
//!            packet            answer                 30 s            packet        5 s
//!   (none) ─────────▶ Incomplete ─────▶ Reachable ───────▶ Stale ───────────▶ Delay ────▶ Probe
//!                      │ 3 × 1 s             ▲      unconfirmed                            │  │ 3 × 1 s
//!                      ▼                     └──────────────── answer ─────────────────────┘  ▼
//!                    Failed ◀───────────────────────────────────────────────────────────────────
//! ```
//!
//! Each neighbour has its own request clock and its own queue of 101 packets (the oldest dies first); a dead
//! neighbour slows nobody else down. Reachable turns to stale by age alone, without a timer. The
//! table holds 8,192 neighbours; a full one gives up its longest unused entry that asks nobody. Left
//! out: proxies, permanent entries, `arp_accept`, duplicate address detection.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::VecDeque;

use switch::{Frame, IfId, Time};

use super::addr::Mac;

/// Packets that may wait for one neighbour (`unres_qlen`).
pub const QUEUE_LIMIT: usize = 101;
/// Neighbours of a namespace.
pub const TABLE_LIMIT: usize = 8192;
/// Between two requests (`retrans_time_ms`).
pub const RETRANSMIT: Duration = Duration::from_secs(1);
/// Requests before giving up (`mcast_solicit`, `ucast_solicit`).
pub const PROBES: u8 = 3;
/// From the first use of a stale neighbour to its probe (`delay_first_probe_time`).
pub const DELAY: Duration = Duration::from_secs(5);
/// The middle of the range for the time that a neighbour is trusted (`base_reachable_time`).
pub const REACHABLE_BASE: Duration = Duration::from_secs(30);
/// An answer within this time of the last one does not change the MAC (`locktime`).
const LOCK: Duration = Duration::from_secs(1);

/// The state of a neighbour (`nud` in `ip neigh`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nud {
    /// Used while stale; a probe follows.
    Delay,
    /// Nobody answered.
    Failed,
    /// Asked for.
    Incomplete,
    /// Asked whether it is still there.
    Probe,
    /// It answered lately.
    Reachable,
    /// Its MAC is known, perhaps of old.
    Stale,
}

impl Nud {
    /// The word that `ip neigh` prints.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Delay => "DELAY",
            Self::Failed => "FAILED",
            Self::Incomplete => "INCOMPLETE",
            Self::Probe => "PROBE",
            Self::Reachable => "REACHABLE",
            Self::Stale => "STALE",
        }
    }

    const fn has_mac(self) -> bool {
        !matches!(self, Self::Failed | Self::Incomplete)
    }
}

/// A line of `ip neigh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// On which interface.
    pub iface: IfId,
    /// Its address.
    pub addr: IpAddr,
    /// Its MAC, if it is known.
    pub mac: Option<Mac>,
    /// Its state.
    pub state: Nud,
    /// It said that it is a router.
    pub router: bool,
    /// When it was last sent to, confirmed, changed.
    pub times: [Time; 3],
    /// Requests as Linux counts them: the first three of a resolution are taken as made.
    pub probes: u8,
}

#[derive(Debug)]
struct Entry {
    key: (IfId, IpAddr),
    mac: Mac,
    state: Nud,
    router: bool,
    probes: u8,
    confirmed: Time,
    updated: Time,
    used: Time,
    deadline: Time,
    queue: VecDeque<Frame>,
}

/// What to do with a packet for a neighbour.
#[derive(Debug)]
pub(super) enum Answer {
    /// Send it there.
    Mac(Mac, Frame),
    /// It waits. `ask` says that a request goes out now, `oldest` died for want of room.
    Wait { ask: bool, oldest: Option<Frame> },
    /// The table is full of neighbours that are being asked for.
    Full(Frame),
}

/// What a neighbour's timer means.
#[derive(Debug)]
pub(super) enum Due {
    /// Ask everybody.
    Ask,
    /// Ask the neighbour itself.
    Probe(Mac),
    /// It is dead; these packets waited for it.
    Dead(VecDeque<Frame>),
    /// Nothing.
    Nothing,
}

/// What somebody said about himself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) mac: Mac,
    /// It was an answer to a question of ours.
    pub(super) solicited: bool,
    /// Whether it replaces a MAC that is known.
    pub(super) overrides: Override,
    /// An entry is made if there is none.
    pub(super) creates: bool,
    pub(super) router: Option<bool>,
}

/// Whether a claim replaces a MAC that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Override {
    /// At once: gratuitous ARP, requests, advertisements with the override flag.
    Always,
    /// If that one is older than a second: answers to ARP, of which the first counts.
    Late,
    /// No.
    Never,
}

/// The neighbours of a namespace, sorted by interface and address.
#[derive(Debug)]
pub(super) struct Neighbours {
    entries: Vec<Entry>,
    /// Where the neighbour that was sent to last stood.
    last: usize,
    /// Where the one that spoke last stood, or would stand.
    spoke: u32,
    reachable: Duration,
    /// The same in nanoseconds.
    trusted: u64,
}

impl Neighbours {
    /// `jitter` is a random number: a neighbour is trusted for 15 to 45 s (RFC 4861 §6.3.2).
    pub(super) fn new(jitter: u32) -> Self {
        let base = REACHABLE_BASE.as_millis() as u64;
        let spread = (base * u64::from(jitter)) >> 32;
        let reachable = Duration::from_millis(base / 2 + spread);
        Self {
            entries: Vec::new(),
            last: 0,
            spoke: 0,
            reachable,
            trusted: reachable.as_nanos() as u64,
        }
    }

    fn find(&self, key: (IfId, IpAddr)) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&key, |entry| entry.key)
    }

    /// The same for who speaks: whoever asks the whole link for one station mostly asks for others too.
    fn find_speaker(&mut self, key: (IfId, IpAddr)) -> Result<usize, usize> {
        let at = self.spoke as usize;
        if self.entries.get(at).is_some_and(|own| own.key == key) {
            return Ok(at);
        }
        let (before, behind) = self.entries.split_at(at.min(self.entries.len()));
        let is_between = before.last().is_none_or(|own| own.key < key)
            && behind.first().is_none_or(|own| key < own.key);
        if is_between {
            return Err(before.len());
        }
        let found = self.find(key);
        self.spoke = found.unwrap_or_else(|place| place) as u32;
        found
    }

    /// Makes room if need be and inserts a fresh entry; `None` if nobody can go.
    fn insert(&mut self, now: Time, key: (IfId, IpAddr)) -> Option<usize> {
        if self.entries.len() >= TABLE_LIMIT {
            let idle = self
                .entries
                .iter()
                .enumerate()
                .filter(|(_, e)| e.deadline == Time::MAX)
                .min_by_key(|(_, e)| e.used)
                .map(|(at, _)| at)?;
            self.entries.remove(idle);
        }
        let at = self.find(key).err()?;
        self.entries.insert(
            at,
            Entry {
                key,
                mac: [0; 6],
                state: Nud::Failed,
                router: false,
                probes: 0,
                confirmed: now,
                updated: now,
                used: now,
                deadline: Time::MAX,
                queue: VecDeque::new(),
            },
        );
        Some(at)
    }

    /// A packet is about to go to `key`. The second value is the time of the entry's new timer and
    /// the third the time of the one that it replaces.
    #[inline]
    pub(super) fn send(
        &mut self,
        now: Time,
        key: (IfId, IpAddr),
        frame: Frame,
    ) -> (Answer, Option<Time>) {
        let again = self.entries.get(self.last).is_some_and(|e| e.key == key);
        if !again {
            self.last = match self.find(key) {
                Ok(at) => at,
                Err(_) => match self.insert(now, key) {
                    Some(at) => at,
                    None => return (Answer::Full(frame), None),
                },
            };
        }
        let reachable = self.reachable;
        let entry = &mut self.entries[self.last];
        entry.used = now;
        if entry.state == Nud::Reachable && now.since(entry.confirmed) > reachable {
            entry.state = Nud::Stale;
        }
        match entry.state {
            Nud::Delay | Nud::Probe | Nud::Reachable => (Answer::Mac(entry.mac, frame), None),
            Nud::Stale => {
                entry.state = Nud::Delay;
                entry.probes = 0;
                entry.deadline = now + DELAY;
                (Answer::Mac(entry.mac, frame), Some(entry.deadline))
            }
            Nud::Failed => {
                entry.state = Nud::Incomplete;
                entry.probes = PROBES + 1;
                entry.deadline = now + RETRANSMIT;
                entry.queue.push_back(frame);
                let answer = Answer::Wait {
                    ask: true,
                    oldest: None,
                };
                (answer, Some(entry.deadline))
            }
            Nud::Incomplete => {
                let full = entry.queue.len() >= QUEUE_LIMIT;
                let oldest = full.then(|| entry.queue.pop_front()).flatten();
                entry.queue.push_back(frame);
                (Answer::Wait { ask: false, oldest }, None)
            }
        }
    }

    /// The MAC of the neighbour that a packet went to last, if that is `key` and [`send`](Self::send) would say
    /// no more than this.
    #[inline]
    pub(super) fn in_use(&mut self, now: Time, key: (IfId, IpAddr)) -> Option<Mac> {
        let entry = self.entries.get_mut(self.last)?;
        let is_sure = match entry.state {
            Nud::Reachable => {
                now.as_nanos() <= entry.confirmed.as_nanos().saturating_add(self.trusted)
            }
            Nud::Delay | Nud::Probe => true,
            Nud::Failed | Nud::Incomplete | Nud::Stale => false,
        };
        if entry.key != key || !is_sure {
            return None;
        }
        entry.used = now;
        Some(entry.mac)
    }

    /// The same for whichever neighbour it is.
    #[inline]
    pub(super) fn at_hand(&mut self, now: Time, key: (IfId, IpAddr)) -> Option<Mac> {
        let again = self.entries.get(self.last).is_some_and(|e| e.key == key);
        if !again {
            self.last = self.find(key).ok()?;
        }
        self.in_use(now, key)
    }

    /// The MAC to send to without a question, and without keeping anything.
    pub(super) fn mac(&self, key: (IfId, IpAddr)) -> Option<Mac> {
        let entry = &self.entries[self.find(key).ok()?];
        entry.state.has_mac().then_some(entry.mac)
    }

    /// The packet that waits longest for `key`.
    pub(super) fn waiting(&self, key: (IfId, IpAddr)) -> Option<&Frame> {
        self.entries[self.find(key).ok()?].queue.front()
    }

    /// The timer of `key` fired.
    pub(super) fn due(&mut self, now: Time, key: (IfId, IpAddr)) -> (Due, Option<Time>) {
        let Ok(at) = self.find(key) else {
            return (Due::Nothing, None);
        };
        let entry = &mut self.entries[at];
        if entry.deadline > now {
            return (Due::Nothing, None);
        }
        entry.deadline = Time::MAX;
        let (mac, limit) = match entry.state {
            Nud::Incomplete => (None, 2 * PROBES),
            Nud::Delay | Nud::Probe => (Some(entry.mac), PROBES),
            Nud::Failed | Nud::Reachable | Nud::Stale => return (Due::Nothing, None),
        };
        if entry.probes >= limit {
            entry.state = Nud::Failed;
            return (Due::Dead(core::mem::take(&mut entry.queue)), None);
        }
        if mac.is_some() {
            entry.state = Nud::Probe;
        }
        entry.probes += 1;
        entry.deadline = now + RETRANSMIT;
        (mac.map_or(Due::Ask, Due::Probe), Some(entry.deadline))
    }

    /// Somebody spoke for `key`. Gives the packets that waited for it, and the time of a timer that
    /// is no longer needed.
    pub(super) fn heard(
        &mut self,
        now: Time,
        key: (IfId, IpAddr),
        claim: Claim,
    ) -> Option<(VecDeque<Frame>, Option<Time>)> {
        let at = match self.find_speaker(key) {
            Ok(at) => at,
            Err(_) if claim.creates => self.insert(now, key)?,
            Err(_) => return None,
        };
        let reachable = self.reachable;
        let entry = &mut self.entries[at];
        let knew = entry.state.has_mac();
        let refused = match claim.overrides {
            Override::Always => false,
            Override::Late => now.since(entry.updated) < LOCK,
            Override::Never => true,
        };
        if knew && entry.mac != claim.mac && refused {
            // RFC 4861 §7.2.5: it may not replace what is known, but that is trusted less now.
            if claim.overrides == Override::Never && entry.state == Nud::Reachable {
                entry.state = Nud::Stale;
            }
            return None;
        }
        if let Some(router) = claim.router {
            entry.router = router;
        }
        let moved = entry.mac != claim.mac;
        if moved || !knew {
            entry.mac = claim.mac;
            entry.updated = now;
        }
        let alive = knew
            && !moved
            && entry.state == Nud::Reachable
            && now.since(entry.confirmed) <= reachable;
        let timer = (entry.deadline != Time::MAX).then_some(entry.deadline);
        if claim.solicited {
            entry.state = Nud::Reachable;
            entry.confirmed = now;
        } else if knew && !moved && matches!(entry.state, Nud::Delay | Nud::Probe) {
            return None;
        } else if !alive {
            entry.state = Nud::Stale;
        }
        entry.deadline = Time::MAX;
        entry.used = now;
        Some((core::mem::take(&mut entry.queue), timer))
    }

    /// The same where nothing follows: a claim that makes no entry, and for which no packet and no timer waits, or tells whoever
    /// is about to ask nothing new. False, and nothing has happened, of others.
    pub(super) fn overhear(&mut self, now: Time, key: (IfId, IpAddr), claim: Claim) -> bool {
        let Ok(at) = self.find_speaker(key) else {
            return !claim.creates;
        };
        let entry = &self.entries[at];
        let is_quiet = entry.deadline == Time::MAX && entry.queue.is_empty();
        let is_about_to_ask = matches!(entry.state, Nud::Delay | Nud::Probe);
        let is_known = is_about_to_ask && entry.mac == claim.mac && !claim.solicited;
        if is_quiet || is_known {
            let _nothing = self.heard(now, key, claim);
        }
        is_quiet || is_known
    }

    /// Forgets the neighbours of an interface; gives what waited and the timers.
    pub(super) fn flush(&mut self, iface: IfId) -> Vec<((IfId, IpAddr), VecDeque<Frame>, Time)> {
        let mut gone = Vec::new();
        self.entries.retain_mut(|entry| {
            let out = entry.key.0 == iface;
            if out {
                let queue = core::mem::take(&mut entry.queue);
                gone.push((entry.key, queue, entry.deadline));
            }
            !out
        });
        gone
    }

    /// All of them, by interface and address.
    pub(super) fn list(&self, now: Time) -> impl Iterator<Item = Neighbour> + '_ {
        self.entries.iter().map(move |entry| {
            let aged = entry.state == Nud::Reachable && now.since(entry.confirmed) > self.reachable;
            Neighbour {
                iface: entry.key.0,
                addr: entry.key.1,
                mac: entry.state.has_mac().then_some(entry.mac),
                state: if aged { Nud::Stale } else { entry.state },
                router: entry.router,
                times: [entry.used, entry.confirmed, entry.updated],
                probes: entry.probes,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switch::Pool;

    use super::Override::{Always, Never};

    const KEY: (IfId, IpAddr) = (IfId(2), IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 2)));

    fn claim(last: u8, solicited: bool, overrides: Override) -> Claim {
        Claim {
            mac: [2, 0, 0, 0, 0, last],
            solicited,
            overrides,
            creates: false,
            router: None,
        }
    }

    fn ask(table: &mut Neighbours, pool: &mut Pool, now: Time) -> Option<Time> {
        let frame = pool.alloc(20).unwrap();
        match table.send(now, KEY, frame) {
            (Answer::Wait { ask: true, .. }, timer) => timer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn three_requests_a_second_apart_and_then_it_is_dead() {
        let (mut table, mut pool) = (Neighbours::new(0), Pool::default());
        assert_eq!(
            ask(&mut table, &mut pool, Time::ZERO),
            Some(Time::from_secs(1))
        );
        for second in 1..3 {
            let (due, next) = table.due(Time::from_secs(second), KEY);
            assert!(matches!(due, Due::Ask));
            assert_eq!(next, Some(Time::from_secs(second + 1)));
        }
        let (Due::Dead(queue), None) = table.due(Time::from_secs(3), KEY) else {
            panic!("still asking");
        };
        assert_eq!(queue.len(), 1);
        assert_eq!(
            table.list(Time::from_secs(3)).next().unwrap().state,
            Nud::Failed
        );
        // The next packet starts again.
        assert!(ask(&mut table, &mut pool, Time::from_secs(9)).is_some());
    }

    #[test]
    fn the_queue_is_bounded_and_the_oldest_dies() {
        let (mut table, mut pool) = (Neighbours::new(0), Pool::default());
        ask(&mut table, &mut pool, Time::ZERO);
        for i in 1..QUEUE_LIMIT + 5 {
            let frame = pool.alloc(20).unwrap();
            let (Answer::Wait { ask: false, oldest }, None) = table.send(Time::ZERO, KEY, frame)
            else {
                panic!("not waiting");
            };
            assert_eq!(oldest.is_some(), i >= QUEUE_LIMIT);
        }
        let (queue, timer) = table
            .heard(Time::ZERO, KEY, claim(9, true, Always))
            .unwrap();
        assert_eq!(
            (queue.len(), timer),
            (QUEUE_LIMIT, Some(Time::from_secs(1)))
        );
    }

    #[test]
    fn a_stale_neighbour_is_used_for_five_seconds_and_then_probed() {
        let (mut table, mut pool) = (Neighbours::new(u32::MAX), Pool::default());
        ask(&mut table, &mut pool, Time::ZERO);
        table
            .heard(Time::ZERO, KEY, claim(9, true, Always))
            .unwrap();
        let frame = pool.alloc(20).unwrap();
        assert!(matches!(
            table.send(Time::from_secs(44), KEY, frame),
            (Answer::Mac([2, 0, 0, 0, 0, 9], _), None)
        ));
        let at = Time::from_secs(46);
        assert_eq!(table.list(at).next().unwrap().state, Nud::Stale);
        let frame = pool.alloc(20).unwrap();
        let (Answer::Mac(..), Some(timer)) = table.send(at, KEY, frame) else {
            panic!("stale neighbours are used");
        };
        assert_eq!(timer, at + DELAY);
        assert!(matches!(table.due(timer, KEY), (Due::Probe(_), Some(_))));
        table.heard(timer, KEY, claim(9, true, Never)).unwrap();
        assert_eq!(table.list(timer).next().unwrap().state, Nud::Reachable);
    }

    #[test]
    fn who_speaks_is_found_where_the_last_one_stood_or_elsewhere() {
        let mut table = Neighbours::new(0);
        let key = |n: u32| (IfId(2 + n / 100), IpAddr::V4((n % 100).into()));
        let known = [5, 7, 8, 20, 107, 108, 130];
        for (step, n) in (0..2000_u32).map(|step| (step, step * 7919 % 211)) {
            // Twice: the second time it is where it was, until the table has changed.
            for _ in 0..2 {
                let sought = table.find(key(n));
                assert_eq!(table.find_speaker(key(n)), sought, "{step}: {n}");
            }
            if known.contains(&n) {
                let _known = table.insert(Time::ZERO, key(n));
            }
            if step % 97 == 0 {
                table.flush(IfId(2));
            }
        }
    }

    #[test]
    fn what_follows_a_claim_is_not_overheard() {
        let (mut table, mut pool) = (Neighbours::new(0), Pool::default());
        let now = Time::ZERO;
        assert!(table.overhear(now, KEY, claim(1, false, Always)));
        assert!(table.list(now).next().is_none());
        ask(&mut table, &mut pool, now);
        assert!(!table.overhear(now, KEY, claim(1, false, Always)));
        assert_eq!(table.mac(KEY), None);
        table.heard(now, KEY, claim(1, true, Always)).unwrap();
        assert!(table.overhear(now, KEY, claim(2, false, Always)));
        assert_eq!(table.mac(KEY), Some([2, 0, 0, 0, 0, 2]));
        // Stale, then in use: who is the same as before is heard without an end to the timer, who moved is not.
        let frame = pool.alloc(20).unwrap();
        let (Answer::Mac(..), Some(timer)) = table.send(now, KEY, frame) else {
            panic!("stale neighbours are used");
        };
        assert!(table.overhear(now, KEY, claim(2, false, Always)));
        assert!(!table.overhear(now, KEY, claim(3, false, Always)));
        assert!(matches!(table.due(timer, KEY), (Due::Probe(_), Some(_))));
    }

    #[test]
    fn an_announcement_moves_a_known_neighbour_and_makes_no_new_one() {
        let (mut table, mut pool) = (Neighbours::new(0), Pool::default());
        assert!(
            table
                .heard(Time::ZERO, KEY, claim(1, false, Always))
                .is_none()
        );
        ask(&mut table, &mut pool, Time::ZERO);
        table
            .heard(Time::ZERO, KEY, claim(1, true, Always))
            .unwrap();
        let later = Time::from_secs(2);
        table.heard(later, KEY, claim(2, false, Always)).unwrap();
        assert_eq!(table.mac(KEY), Some([2, 0, 0, 0, 0, 2]));
        assert!(table.heard(later, KEY, claim(3, false, Never)).is_none());
        assert_eq!(table.mac(KEY), Some([2, 0, 0, 0, 0, 2]));
    }
}
