//! Slots in the order of times at which they are to be looked at.
//!
//! Connections of one timeout run out in the order in which they were refreshed, and there are few timeouts: a time
//! is mostly later than all before it of its kind. So there are a few lines, each in order by itself; a time goes to
//! the end of the one whose last is nearest before it, and only what fits none goes to a heap. Lines are touched at
//! their ends alone, however long they are. What was set anew or taken back is passed over when its turn comes.

use core::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::time::Time;

/// Lines: the common timeouts are 10, 30, 120 and 432,000 s, two more for what was moved.
const LINES: usize = 6;
/// An empty line keeps no more room than for so many.
const ROOM: usize = 256;
/// How many places may mean nothing, beside as many as there are slots in the queue.
const SPARE: usize = 64;

/// When, which slot, and its mark then.
type Place = (Time, u32, u32);

/// Slots, each with one time.
#[derive(Debug)]
pub(super) struct Queue {
    /// The first of all times, and the line in which it is; the heap has the number behind theirs.
    next: (Time, usize),
    /// The line of which one came last.
    came: usize,
    firsts: [Time; LINES],
    lasts: [Time; LINES],
    lines: [VecDeque<Place>; LINES],
    rest: BinaryHeap<Reverse<Place>>,
    /// Counted up whenever a slot is set or taken back: odd while it is in the queue.
    marks: Vec<u32>,
    /// Slots in the queue.
    len: usize,
    /// Places that there are for them, and for what they were.
    places: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            next: (Time::MAX, LINES),
            came: LINES,
            firsts: [Time::MAX; LINES],
            lasts: [Time::ZERO; LINES],
            lines: Default::default(),
            rest: BinaryHeap::new(),
            marks: Vec::new(),
            len: 0,
            places: 0,
        }
    }
}

impl Queue {
    /// Has `slot` looked at at `at` and at no other time.
    pub(super) fn set(&mut self, slot: u32, at: Time) {
        if self.marks.len() <= slot as usize {
            self.marks.resize(slot as usize + 1, 0);
        }
        let mark = &mut self.marks[slot as usize];
        let was_out = 1 - (*mark & 1);
        *mark = mark.wrapping_add(1 + (1 - was_out));
        let place = (at, slot, *mark);
        self.len += was_out as usize;
        self.put(place);
        if self.places > 2 * self.len + SPARE {
            self.tidy();
        }
    }

    /// Takes a slot out, if it is in.
    pub(super) fn unset(&mut self, slot: u32) {
        if let Some(mark) = self.marks.get_mut(slot as usize) {
            let was_in = *mark & 1;
            *mark = mark.wrapping_add(was_in);
            self.len -= was_in as usize;
        }
    }

    /// Takes out the slot that is to be looked at first, if that is by `now`.
    #[inline]
    pub(super) fn due(&mut self, now: Time) -> Option<u32> {
        while self.next.0 <= now && self.places > 0 {
            let (_, slot, mark) = self.take()?;
            if self.marks[slot as usize] == mark {
                self.unset(slot);
                return Some(slot);
            }
        }
        None
    }

    /// The slot behind the one that came last, in its line: mostly that which is due next.
    #[inline]
    pub(super) fn behind(&self) -> Option<u32> {
        let place = self.lines.get(self.came)?.front()?;
        Some(place.1)
    }

    #[inline]
    fn put(&mut self, place: Place) {
        let at = place.0;
        self.places += 1;
        let mut fit = (Time::ZERO, LINES);
        for line in 0..LINES {
            let last = self.lasts[line];
            if last <= at && last >= fit.0 {
                fit = (last, line);
            }
        }
        let line = fit.1;
        if at < self.next.0 {
            self.next = (at, line);
        }
        if line == LINES {
            self.rest.push(Reverse(place));
            return;
        }
        self.firsts[line] = self.firsts[line].min(at);
        self.lasts[line] = at;
        self.lines[line].push_back(place);
    }

    fn take(&mut self) -> Option<Place> {
        let line = self.next.1;
        self.came = line;
        let place = if line == LINES {
            self.rest.pop()?.0
        } else {
            let place = self.lines[line].pop_front()?;
            self.begin(line);
            place
        };
        self.places -= 1;
        self.seek();
        Some(place)
    }

    /// Notes what a line begins with now.
    #[inline]
    fn begin(&mut self, line: usize) {
        let places = &mut self.lines[line];
        if let Some(first) = places.front() {
            self.firsts[line] = first.0;
            return;
        }
        if places.capacity() > ROOM {
            *places = VecDeque::new();
        }
        (self.firsts[line], self.lasts[line]) = (Time::MAX, Time::ZERO);
    }

    /// Notes what comes first now.
    #[inline]
    fn seek(&mut self) {
        let mut next = (Time::MAX, LINES);
        if let Some(first) = self.rest.peek() {
            next.0 = first.0.0;
        } else if self.rest.capacity() > ROOM {
            self.rest = BinaryHeap::new();
        }
        for line in 0..LINES {
            if self.firsts[line] < next.0 {
                next = (self.firsts[line], line);
            }
        }
        self.next = next;
    }

    /// Drops the places that mean nothing any more.
    fn tidy(&mut self) {
        let marks = &self.marks;
        let holds = |&(_, slot, mark): &Place| marks[slot as usize] == mark;
        self.rest.retain(|place| holds(&place.0));
        for line in &mut self.lines {
            line.retain(holds);
        }
        for line in 0..LINES {
            if let Some(last) = self.lines[line].back() {
                self.lasts[line] = last.0;
            }
            self.begin(line);
        }
        self.places = self.len;
        self.seek();
    }

    /// Where the place of a slot is that is in the queue.
    #[cfg(test)]
    pub(super) fn set_for(&self, slot: u32) -> Option<Time> {
        let all = self.lines.iter().flatten();
        let all = all.chain(self.rest.iter().map(|place| &place.0));
        let mut own = all.filter(|place| place.1 == slot && self.marks[slot as usize] == place.2);
        own.next().map(|place| place.0)
    }

    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::collections::BTreeSet;

    /// What is set, moved and taken away comes out as from an ordered set, whatever order it went in.
    #[test]
    fn as_an_ordered_set() {
        for (seed, kinds) in [(1, 1), (2, 3), (3, 300)] {
            let mut rng = Rng::new(seed);
            let (mut queue, mut set) = (Queue::default(), BTreeSet::new());
            let mut times = vec![Time::MAX; 2_000];
            let (mut heaped, mut longest) = (false, 0);
            for step in 0..60_000_u64 {
                let now = Time::from_nanos(step);
                let (slot, grows) = (rng.below(2_000), step % 6_000 < 4_000);
                match rng.below(8) {
                    0 => {
                        queue.unset(slot);
                        set.remove(&(times[slot as usize], slot));
                    }
                    1..6 if grows => {
                        let wait = 2_000 + u64::from(rng.below(kinds)) * 100;
                        let early = u64::from(rng.below(20) / 19) * 50;
                        let at = Time::from_nanos(step + wait - early);
                        set.remove(&(times[slot as usize], slot));
                        set.insert((at, slot));
                        times[slot as usize] = at;
                        queue.set(slot, at);
                    }
                    _ => {
                        let expected = set.first().filter(|first| first.0 <= now).copied();
                        let due = queue.due(now);
                        // Any of those of the same time.
                        let time = due.map(|slot| times[slot as usize]);
                        assert_eq!(time, expected.map(|first| first.0));
                        if let Some(slot) = due {
                            assert!(set.remove(&(times[slot as usize], slot)));
                        }
                    }
                }
                assert_eq!(queue.len, set.len());
                assert!(queue.places <= 2 * queue.len.max(2_000) + SPARE + 1);
                heaped |= !queue.rest.is_empty();
                longest = longest.max(queue.lines.iter().map(VecDeque::len).max().unwrap());
            }
            for &(at, slot) in &set {
                assert_eq!(queue.set_for(slot), Some(at));
            }
            assert_eq!(heaped, kinds == 300, "{kinds}");
            assert!(longest > ROOM || kinds == 300, "{longest}");
        }
    }

    #[test]
    fn an_empty_queue_keeps_little() {
        let mut queue = Queue::default();
        for slot in 0..10_000 {
            queue.set(slot, Time::from_nanos(slot.into()));
            queue.set(slot, Time::from_nanos(20_000 - u64::from(slot)));
        }
        assert!(queue.places <= 2 * 10_000 + SPARE);
        while queue.due(Time::MAX).is_some() {}
        let rooms = queue.lines.iter().map(VecDeque::capacity);
        assert!(
            rooms
                .chain([queue.rest.capacity()])
                .all(|room| room <= ROOM)
        );
        assert_eq!((queue.len, queue.places, queue.next.0), (0, 0, Time::MAX));
    }
}
