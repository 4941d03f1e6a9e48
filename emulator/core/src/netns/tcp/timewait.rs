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
use super::taken::Taken;

/// `TCP_TIMEWAIT_LEN`, and the default of `tcp_fin_timeout`.
pub(super) const TIME_WAIT: Duration = Duration::from_secs(60);
/// Entries of a namespace; more connections than this skip TIME_WAIT, as with Linux's
/// `tcp_max_tw_buckets`.
pub(super) const MAX_ENTRIES: usize = 16_384;
/// An empty table keeps no more room than for so many.
const ROOM: usize = 256;
/// From so many entries on those between the same two ends are found by our port.
const MANY: usize = 64;
/// Places without an entry that there may be beside as many as there are entries.
const GAPS: usize = 64;

const _: () = assert!(2 * MAX_ENTRIES + GAPS < 1 << 16, "numbers differ");
/// The memory of so many entries comes at once, when it is needed soon: a power of two.
const AHEAD: u16 = 16;
/// Segments without data are answered this often at most (`tcp_invalid_ratelimit`).
pub(super) const ANSWER_EVERY: Duration = Duration::from_millis(500);

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
#[derive(Debug)]
pub(super) struct TimeWaits {
    /// In the order in which they end: later ones behind earlier ones, because all wait equally long. Nothing is where
    /// one was that ended otherwise, or that waits longer now.
    entries: VecDeque<Option<Entry>>,
    /// The number of the first entry; the next ones count up, and come round to 0.
    first: u16,
    /// When the first one ends, which is there; the end of time if there is none. Asked for after each frame.
    next: Time,
    /// The numbers of those between two ends that have many, once there are any.
    taken: Option<Box<Taken>>,
    /// Those of the others.
    by_ends: HashTable<u16>,
}

impl Default for TimeWaits {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            next: Time::MAX,
            taken: None,
            by_ends: HashTable::new(),
        }
    }
}

/// What an entry is found by.
fn mixed(entries: &VecDeque<Option<Entry>>, index: usize) -> u64 {
    let entry = entries.get(index).and_then(Option::as_ref);
    entry.map_or(0, |entry| entry.tuple.mixed())
}

/// Has the entry of `tuple` not be found any more.
fn forget(by_ends: &mut HashTable<u16>, tuple: &Tuple, number: u16) {
    if let Ok(found) = by_ends.find_entry(tuple.mixed(), |other| *other == number) {
        found.remove();
    }
}

/// Has the memory of the entries come that end next.
fn touch_next(entries: &VecDeque<Option<Entry>>) {
    let ahead = usize::from(AHEAD);
    for entry in entries.iter().skip(ahead).take(ahead) {
        core::hint::black_box(entry.as_ref().map_or(0, |entry| entry.tuple.port()));
    }
}

impl TimeWaits {
    /// How many.
    pub(super) fn len(&self) -> usize {
        let taken = self.taken.as_ref();
        self.by_ends.len() + taken.map_or(0, |taken| taken.len())
    }

    /// Where an entry stands.
    fn index(&self, number: u16) -> usize {
        usize::from(number.wrapping_sub(self.first))
    }

    /// The number of the entry for `tuple`.
    #[inline]
    fn find(&self, tuple: &Tuple) -> Option<u16> {
        if let Some(taken) = &self.taken
            && taken.covers(tuple)
        {
            return taken.number(tuple);
        }
        if self.by_ends.is_empty() {
            return None;
        }
        let is_it = |number: &u16| {
            let entry = self.entries.get(self.index(*number));
            matches!(entry, Some(Some(entry)) if entry.tuple == *tuple)
        };
        self.by_ends.find(tuple.mixed(), is_it).copied()
    }

    /// Whether there is one for `tuple`.
    #[inline]
    pub(super) fn contains(&self, tuple: &Tuple) -> bool {
        match &self.taken {
            Some(taken) if taken.covers(tuple) => taken.has(tuple),
            _ => self.find(tuple).is_some(),
        }
    }

    /// Adds an entry, for ends that no other one has; `false` if the table is full.
    pub(super) fn insert(&mut self, now: Time, tuple: Tuple, rest: Rest) -> bool {
        if self.len() >= MAX_ENTRIES {
            return false;
        }
        debug_assert!(!self.contains(&tuple));
        self.append(Entry {
            tuple,
            rest,
            expires: now + TIME_WAIT,
            answers_at: now,
        });
        true
    }

    /// Adds the entry that ends last.
    fn append(&mut self, entry: Entry) {
        let number = self.first.wrapping_add(self.entries.len() as u16);
        if self.entries.is_empty() {
            self.next = entry.expires;
        }
        if self.entries.len() == self.entries.capacity() {
            self.widen();
        }
        self.entries.push_back(Some(entry));
        self.enter(&entry.tuple, number);
    }

    /// Makes a little room: places come round soon, so that their memory is at hand still.
    #[cold]
    fn widen(&mut self) {
        let more = self.entries.len() / 16 + ROOM / 4;
        self.entries.reserve_exact(more);
    }

    /// Has the entry of `tuple` be found.
    fn enter(&mut self, tuple: &Tuple, number: u16) {
        match &mut self.taken {
            Some(taken) if taken.covers(tuple) => return taken.enter(tuple, number),
            None if self.by_ends.len() >= MANY => return self.cover(tuple),
            Some(_) | None => {}
        }
        let (entries, first) = (&self.entries, self.first);
        let mixed = |number: &u16| mixed(entries, number.wrapping_sub(first).into());
        self.by_ends.insert_unique(tuple.mixed(), number, mixed);
    }

    /// From now on all entries are found by their ports that differ from `ends` in nothing else.
    #[cold]
    fn cover(&mut self, ends: &Tuple) {
        let mut taken = Taken::new(ends);
        let entries = self.entries.iter().enumerate();
        let tuples = entries.filter_map(|(at, entry)| Some((at as u16, entry.as_ref()?.tuple)));
        for (at, tuple) in tuples.filter(|(_, tuple)| tuple.is_beside(ends)) {
            let number = self.first.wrapping_add(at);
            taken.enter(&tuple, number);
            forget(&mut self.by_ends, &tuple, number);
        }
        self.taken = Some(taken);
    }

    /// Ends an entry.
    pub(super) fn remove(&mut self, tuple: &Tuple) {
        if let Some(number) = self.find(tuple) {
            self.take(tuple, number);
            self.tidy();
        }
    }

    /// Takes an entry out; what it was.
    fn take(&mut self, tuple: &Tuple, number: u16) -> Option<Entry> {
        self.forget(tuple, number);
        let index = self.index(number);
        self.entries.get_mut(index)?.take()
    }

    /// Has the entry of `tuple` not be found any more.
    #[inline]
    fn forget(&mut self, tuple: &Tuple, number: u16) {
        match &mut self.taken {
            Some(taken) if taken.covers(tuple) => {
                taken.remove(tuple);
                if taken.len() == 0 {
                    self.taken = None;
                }
            }
            _ => forget(&mut self.by_ends, tuple, number),
        }
    }

    /// When the first entry ends; the end of time if there is none.
    #[inline]
    pub(super) const fn deadline(&self) -> Time {
        self.next
    }

    /// Takes out the first place, whatever is there.
    #[inline]
    fn skip(&mut self) {
        self.entries.pop_front();
        self.first = self.first.wrapping_add(1);
    }

    /// Has the places begin with an entry, and not be many more than there are entries.
    fn tidy(&mut self) {
        while matches!(self.entries.front(), Some(None)) {
            self.skip();
        }
        let first = self.entries.front().and_then(Option::as_ref);
        self.next = first.map_or(Time::MAX, |entry| entry.expires);
        if first.is_none() && self.entries.capacity() > ROOM {
            *self = Self::default();
        } else if self.entries.len() > 2 * self.len() + GAPS {
            self.renumber();
        }
    }

    /// Gives up places where nothing is.
    fn renumber(&mut self) {
        self.entries.retain(Option::is_some);
        self.by_ends.clear();
        self.taken = None;
        let tuples: Vec<Tuple> = self.entries.iter().flatten().map(|e| e.tuple).collect();
        for (at, tuple) in (0..).zip(&tuples) {
            self.enter(tuple, self.first.wrapping_add(at));
        }
    }

    /// Takes out the entries whose time has come.
    pub(super) fn expire(&mut self, now: Time) {
        if self.next > now {
            return;
        }
        while let Some(first) = self.entries.front() {
            if self.first.is_multiple_of(AHEAD) {
                touch_next(&self.entries);
            }
            if let Some(entry) = first {
                if entry.expires > now {
                    break;
                }
                let tuple = entry.tuple;
                self.forget(&tuple, self.first);
            }
            self.skip();
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
        let mut ordered: Vec<&Entry> = self.entries.iter().flatten().collect();
        ordered.sort_unstable_by_key(|entry| (entry.expires, entry.tuple));
        ordered.into_iter().map(|entry| (entry.tuple, entry.rest))
    }

    /// A segment for the entry of `tuple` came in. `gone` is set if the entry has to be taken out.
    pub(super) fn input(
        &mut self,
        now: Time,
        tuple: &Tuple,
        segment: &Segment,
        gone: &mut bool,
    ) -> Fate {
        let Some(number) = self.find(tuple) else {
            return Fate::Ignore;
        };
        let index = self.index(number);
        let Some(Some(entry)) = self.entries.get_mut(index) else {
            return Fate::Ignore;
        };
        let (fate, lengthen) = if entry.rest.half {
            entry.half_closed(now, segment, gone)
        } else {
            entry.waiting(now, segment, gone)
        };
        let expires = now + TIME_WAIT;
        if lengthen && core::mem::replace(&mut entry.expires, expires) != expires {
            if let Some(entry) = self.take(tuple, number) {
                self.append(entry);
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

    fn v6(port: u16) -> core::net::SocketAddr {
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 2], port).into()
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
        assert_eq!(table.deadline(), Time::from_secs(70));
        table.expire(Time::from_secs(69));
        assert!(table.contains(&tuple(9)) && table.holds_port(tuple(9).local().ip(), 80));
        table.expire(Time::from_secs(70));
        assert_eq!((table.len(), table.deadline()), (0, Time::MAX));
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
        assert_eq!(table.deadline(), Time::from_secs(65));

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

    /// What is found, what ends first and what is listed is as in a plain list.
    #[test]
    fn as_a_list() {
        let mut rng = switch::Rng::new(7);
        let (mut table, mut list) = (TimeWaits::default(), Vec::<(Time, Tuple)>::new());
        let ends = |n: u32| match n % 3 {
            0 => Tuple::new(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], n as u16).into(), v6(80)),
            1 => Tuple::new(tuple(9).local(), ([10, 0, 0, 3], n as u16).into()),
            _ => Tuple::new(([10, 0, 0, 1], n as u16).into(), tuple(9).remote()),
        };
        for step in 0..12_000 {
            let now = Time::from_millis(step * 20);
            if rng.below(4) == 0 {
                table.expire(now);
                list.retain(|&(at, _)| at > now);
            }
            let tuple = ends(1 + rng.below(1500));
            let place = list.iter().position(|&(_, other)| other == tuple);
            assert_eq!(table.contains(&tuple), place.is_some());
            match (place, rng.below(8)) {
                (None, _) => {
                    assert!(table.insert(now, tuple, rest(false)));
                    list.push((now + TIME_WAIT, tuple));
                }
                (Some(place), 0..6) => {
                    table.remove(&tuple);
                    list.remove(place);
                }
                (Some(place), _) => {
                    let again = segment(FIN | ACK, 499, 0);
                    table.input(now, &tuple, &again, &mut false);
                    list.remove(place);
                    list.push((now + TIME_WAIT, tuple));
                }
            }
            list.sort_unstable();
            let first = list.first().map_or(Time::MAX, |&(at, _)| at);
            assert_eq!(table.deadline(), first);
            assert_eq!(table.len(), list.len());
            assert!(table.entries.len() <= 2 * list.len() + 65);
            if step % 64 == 0 {
                let listed: Vec<Tuple> = table.iter().map(|(tuple, _)| tuple).collect();
                let expected: Vec<Tuple> = list.iter().map(|&(_, tuple)| tuple).collect();
                assert_eq!(listed, expected);
            }
        }
    }
}
