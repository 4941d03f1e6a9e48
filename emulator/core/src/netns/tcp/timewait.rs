//! TIME_WAIT and orphans in FIN_WAIT_2: what stays of a connection when its buffers are gone.
//!
//! After Linux's `tcp_timewait_state_process`: 60 s, lengthened by segments that need an answer; a SYN
//! with a later sequence number starts a new connection at once (RFC 9293 §3.10.7.4, without the
//! timestamps of RFC 6191); a reset ends it (RFC 1337 is off, as by default). An orphan that waits for
//! the other side's FIN is kept here as well, and data for it is answered with a reset.
//! Left out: `tcp_tw_reuse` for outgoing connections, which needs timestamps.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::VecDeque;

use hashbrown::HashTable;
use switch::Time;

use super::demux::Tuple;
use super::options::overlap;
use super::segment::{ACK, Bare, FIN, RST, SYN, Segment, after};

/// `TCP_TIMEWAIT_LEN`, and the default of `tcp_fin_timeout`.
pub(super) const TIME_WAIT: Duration = Duration::from_secs(60);
/// Entries of a namespace; more connections than this skip TIME_WAIT, as with Linux's
/// `tcp_max_tw_buckets`.
pub(super) const MAX_ENTRIES: usize = 16_384;
/// An empty table keeps no more room than for so many.
const ROOM: usize = 256;
/// Segments without data are answered this often at most (`tcp_invalid_ratelimit`).
const ANSWER_EVERY: Duration = Duration::from_millis(500);

/// What is left of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    /// Our next sequence number.
    pub(super) send_next: u32,
    /// Theirs.
    pub(super) recv_next: u32,
    /// The window field of our acknowledgements.
    pub(super) window: u16,
    /// Their hop limit.
    pub(super) hop_limit: u8,
    /// The other side's FIN has not come yet.
    pub(super) half: bool,
}

/// A line of the cache: of those that have stood for long none is there any more.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Entry {
    expires: Time,
    /// Segments without data are answered from here on.
    answers_at: Time,
    tuple: Tuple,
    rest: Rest,
}

const _: () = assert!(size_of::<Option<Entry>>() == 64);

/// What becomes of a segment for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing.
    Ignore,
    /// This goes out.
    Answer(Bare),
    /// The entry is gone; a new connection may start, later than this sequence number.
    Reopen(u32),
}

/// The entries of a namespace.
#[derive(Debug, Default)]
pub(super) struct TimeWaits {
    /// By number; the last one left is the first one taken.
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    by_ends: HashTable<u32>,
    /// When each ends: later ones behind earlier ones, because all wait equally long. What an entry has
    /// left behind that ended otherwise, or that waits longer now, is passed over.
    order: VecDeque<(Time, u32)>,
}

/// What an entry is found by.
fn mixed(entries: &[Option<Entry>], at: u32) -> u64 {
    let entry = entries[at as usize].as_ref();
    entry.map_or(0, |entry| entry.tuple.mixed())
}

impl TimeWaits {
    /// How many.
    pub(super) fn len(&self) -> usize {
        self.by_ends.len()
    }

    #[inline]
    fn find(&self, tuple: &Tuple) -> Option<u32> {
        if self.by_ends.is_empty() {
            return None;
        }
        let is_it = |at: &u32| {
            let entry = self.entries[*at as usize].as_ref();
            entry.is_some_and(|entry| entry.tuple == *tuple)
        };
        self.by_ends.find(tuple.mixed(), is_it).copied()
    }

    /// Whether there is one for `tuple`.
    #[inline]
    pub(super) fn contains(&self, tuple: &Tuple) -> bool {
        self.find(tuple).is_some()
    }

    /// Adds an entry, for ends that no other one has; `false` if the table is full.
    pub(super) fn insert(&mut self, now: Time, tuple: Tuple, rest: Rest) -> bool {
        if self.len() >= MAX_ENTRIES {
            return false;
        }
        debug_assert!(!self.contains(&tuple));
        let expires = now + TIME_WAIT;
        let entry = Entry {
            tuple,
            rest,
            expires,
            answers_at: now,
        };
        let at = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            (self.entries.len() - 1) as u32
        });
        self.entries[at as usize] = Some(entry);
        let entries = &self.entries;
        (self.by_ends).insert_unique(tuple.mixed(), at, |at| mixed(entries, *at));
        self.order.push_back((expires, at));
        true
    }

    /// Ends an entry.
    pub(super) fn remove(&mut self, tuple: &Tuple) {
        if let Some(at) = self.find(tuple) {
            self.take(at, tuple);
            self.tidy();
        }
    }

    fn take(&mut self, at: u32, tuple: &Tuple) {
        if let Ok(found) = self.by_ends.find_entry(tuple.mixed(), |other| *other == at) {
            found.remove();
        }
        self.entries[at as usize] = None;
        self.free.push(at);
    }

    /// When the first entry ends.
    #[inline]
    pub(super) fn deadline(&self) -> Option<Time> {
        self.order.front().map(|(at, _)| *at)
    }

    #[inline]
    fn held(&self, &(time, at): &(Time, u32)) -> Option<&Entry> {
        let entry = self.entries[at as usize].as_ref();
        entry.filter(|entry| entry.expires == time)
    }

    /// Has the order begin with an entry that is there, and not be much longer than there are entries.
    fn tidy(&mut self) {
        while (self.order.front()).is_some_and(|first| self.held(first).is_none()) {
            self.order.pop_front();
        }
        if self.by_ends.is_empty() && self.entries.len() > ROOM {
            *self = Self::default();
        } else if self.order.len() > 2 * self.len() + 64 {
            let mut order = core::mem::take(&mut self.order);
            order.retain(|place| self.held(place).is_some());
            self.order = order;
        }
    }

    /// Takes out the entries whose time has come.
    pub(super) fn expire(&mut self, now: Time) {
        while let Some(&(time, at)) = self.order.front()
            && time <= now
        {
            self.order.pop_front();
            let entry = self.held(&(time, at));
            if let Some(tuple) = entry.map(|entry| entry.tuple) {
                self.take(at, &tuple);
            }
        }
        self.tidy();
    }

    /// Whether an entry holds `port` of `address`, which may be a wildcard. Walks all of them.
    pub(super) fn holds_port(&self, address: IpAddr, port: u16) -> bool {
        let names = self.entries.iter().flatten();
        let mut names = names.map(|entry| entry.tuple.local());
        names.any(|local| local.port() == port && overlap(address, local.ip()))
    }

    /// The entries with what is left of them, in the order in which they end.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Tuple, Rest)> + '_ {
        let held = |place: &(Time, u32)| Some((place.0, self.held(place)?.tuple));
        let mut ordered: Vec<(Time, Tuple)> = self.order.iter().filter_map(held).collect();
        ordered.sort_unstable();
        ordered.dedup();
        let rest = |tuple: Tuple| {
            let entry = self.entries[self.find(&tuple)? as usize]?;
            Some((tuple, entry.rest))
        };
        ordered
            .into_iter()
            .filter_map(move |(_, tuple)| rest(tuple))
    }

    /// A segment for the entry of `tuple` came in. `gone` is set if the entry has to be taken out.
    pub(super) fn input(
        &mut self,
        now: Time,
        tuple: &Tuple,
        segment: &Segment,
        gone: &mut bool,
    ) -> Fate {
        let found = self.find(tuple);
        let Some((at, entry)) = found.and_then(|at| {
            let entry = self.entries[at as usize].as_mut();
            Some((at, entry?))
        }) else {
            return Fate::Ignore;
        };
        let (fate, lengthen) = if entry.rest.half {
            entry.half_closed(now, segment, gone)
        } else {
            entry.waiting(now, segment, gone)
        };
        if lengthen {
            let expires = now + TIME_WAIT;
            if core::mem::replace(&mut entry.expires, expires) != expires {
                self.order.push_back((expires, at));
            }
            self.tidy();
        }
        fate
    }
}

impl Entry {
    /// The acknowledgement of all that came.
    fn answer(&mut self, now: Time, segment: &Segment) -> Fate {
        if segment.end() == segment.seq && now < self.answers_at {
            return Fate::Ignore;
        }
        self.answers_at = now + ANSWER_EVERY;
        Fate::Answer(self.rest.bare(segment, ACK))
    }

    /// FIN_WAIT_2 without a socket.
    fn half_closed(&mut self, now: Time, segment: &Segment, gone: &mut bool) -> (Fate, bool) {
        let (next, end) = (self.rest.recv_next, segment.end());
        let window_end = next.wrapping_add(u32::from(self.rest.window));
        let in_window = segment.seq == next
            || (after(end, next) && after(window_end, segment.seq))
            || (segment.seq == window_end && segment.seq == end);
        if segment.has(RST) {
            *gone = in_window;
            return (Fate::Ignore, false);
        }
        if !in_window {
            return (self.answer(now, segment), false);
        }
        if segment.has(SYN) && !after(next, segment.seq) {
            *gone = true;
            return (Fate::Answer(self.rest.bare(segment, RST | ACK)), false);
        }
        if !segment.has(ACK) || !after(end, next) || end == segment.seq {
            return (Fate::Ignore, false);
        }
        if !segment.has(FIN) || end != next.wrapping_add(1) {
            *gone = true;
            return (Fate::Answer(self.rest.bare(segment, RST | ACK)), false);
        }
        self.rest.recv_next = end;
        self.rest.half = false;
        (Fate::Answer(self.rest.bare(segment, ACK)), true)
    }

    /// TIME_WAIT itself.
    fn waiting(&mut self, now: Time, segment: &Segment, gone: &mut bool) -> (Fate, bool) {
        let next = self.rest.recv_next;
        if segment.has(RST) {
            *gone = segment.seq == next;
            return (Fate::Ignore, false);
        }
        if segment.has(SYN) && !segment.has(ACK) && after(segment.seq, next) {
            *gone = true;
            return (Fate::Reopen(self.rest.send_next), false);
        }
        if segment.seq == next && segment.end() == segment.seq {
            return (Fate::Ignore, true);
        }
        (self.answer(now, segment), segment.has(ACK))
    }
}

impl Rest {
    /// A segment from this end.
    pub(super) const fn bare(&self, segment: &Segment, flags: u8) -> Bare {
        Bare {
            local: segment.local,
            remote: segment.remote,
            seq: self.send_next,
            ack: self.recv_next,
            flags,
            window: self.window,
            hop_limit: self.hop_limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(port: u16) -> Tuple {
        Tuple::new("10.0.0.1:80".parse().unwrap(), ([10, 0, 0, 2], port).into())
    }

    fn rest(half: bool) -> Rest {
        Rest {
            send_next: 1000,
            recv_next: 500,
            window: 100,
            hop_limit: 64,
            half,
        }
    }

    fn segment(flags: u8, seq: u32, payload: u32) -> Segment {
        Segment {
            local: tuple(9).local(),
            remote: tuple(9).remote(),
            seq,
            ack: 1000,
            flags,
            window: 1,
            payload,
        }
    }

    fn table(half: bool) -> TimeWaits {
        let mut table = TimeWaits::default();
        assert!(table.insert(Time::ZERO, tuple(9), rest(half)));
        table
    }

    fn feed(table: &mut TimeWaits, at: Time, segment: Segment) -> (Fate, bool) {
        let mut gone = false;
        let fate = table.input(at, &tuple(9), &segment, &mut gone);
        (fate, gone)
    }

    #[test]
    fn a_fin_again_is_acknowledged_and_waits_longer() {
        let mut table = table(false);
        let at = Time::from_secs(10);
        let (fate, gone) = feed(&mut table, at, segment(FIN | ACK, 499, 0));
        let Fate::Answer(bare) = fate else {
            panic!("no answer: {fate:?}");
        };
        assert_eq!((bare.seq, bare.ack, bare.flags), (1000, 500, ACK));
        assert!(!gone);
        assert_eq!(table.deadline(), Some(Time::from_secs(70)));
        table.expire(Time::from_secs(69));
        assert!(table.contains(&tuple(9)) && table.holds_port(tuple(9).local().ip(), 80));
        table.expire(Time::from_secs(70));
        assert_eq!((table.len(), table.deadline()), (0, None));
        assert!(!table.contains(&tuple(9)) && !table.holds_port(tuple(9).local().ip(), 80));
    }

    #[test]
    fn a_later_syn_reopens_and_an_older_one_is_answered() {
        let mut table = table(false);
        let (fate, gone) = feed(&mut table, Time::ZERO, segment(SYN, 500, 0));
        assert!(matches!(fate, Fate::Answer(_)) && !gone);
        let (fate, gone) = feed(&mut table, Time::ZERO, segment(SYN, 501, 0));
        assert_eq!((fate, gone), (Fate::Reopen(1000), true));
    }

    #[test]
    fn only_an_exact_reset_ends_it() {
        let mut table = table(false);
        for (seq, gone) in [(499, false), (501, false), (500, true)] {
            let (fate, was) = feed(&mut table, Time::ZERO, segment(RST, seq, 0));
            assert_eq!((fate, was), (Fate::Ignore, gone));
        }
    }

    #[test]
    fn two_ends_that_disagree_do_not_acknowledge_for_ever() {
        let mut table = table(false);
        let stray = segment(ACK, 400, 0);
        assert!(matches!(
            feed(&mut table, Time::ZERO, stray).0,
            Fate::Answer(_)
        ));
        assert_eq!(feed(&mut table, Time::ZERO, stray).0, Fate::Ignore);
        let later = Time::from_millis(500);
        assert!(matches!(feed(&mut table, later, stray).0, Fate::Answer(_)));
    }

    #[test]
    fn an_orphan_takes_the_fin_and_refuses_data() {
        let mut table = table(true);
        let (fate, gone) = feed(&mut table, Time::ZERO, segment(ACK, 490, 10));
        assert!(matches!(fate, Fate::Answer(bare) if bare.flags == ACK) && !gone);
        let (fate, gone) = feed(&mut table, Time::from_secs(5), segment(FIN | ACK, 500, 0));
        assert!(matches!(fate, Fate::Answer(bare) if bare.ack == 501) && !gone);
        assert_eq!(table.deadline(), Some(Time::from_secs(65)));

        let mut table = self::table(true);
        let (fate, gone) = feed(&mut table, Time::ZERO, segment(ACK, 500, 1));
        assert!(matches!(fate, Fate::Answer(bare) if bare.flags == RST | ACK) && gone);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut table = TimeWaits::default();
        let at = |n: usize| {
            Tuple::new(
                ([10, 0, (n >> 8) as u8, n as u8], 80).into(),
                tuple(9).remote(),
            )
        };
        for n in 0..MAX_ENTRIES {
            assert!(table.insert(Time::ZERO, at(n), rest(false)));
        }
        assert!(!table.insert(Time::ZERO, at(MAX_ENTRIES), rest(false)));
    }
}
