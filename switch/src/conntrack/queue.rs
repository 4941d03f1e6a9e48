//! Slots in the order of times at which they are to be looked at.
//!
//! Connections of one timeout run out in the order in which they were refreshed, and there are few timeouts: a time
//! is mostly later than all before it of its kind. So there are a few lines, each in order by itself; a time goes to
//! the end of the one whose last is nearest before it, and only what fits none goes to a heap. Lines are touched at
//! their ends alone, however long they are. A slot that was set anew or is needed no more leaves its place behind: it says
//! nothing then, which is for those to see who take it out.

use core::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::time::Time;

/// Lines: the common timeouts are 10, 30, 120 and 432,000 s, two more for what was moved.
const LINES: usize = 6;
/// An empty line keeps no more room than for so many.
const ROOM: usize = 256;
/// So many slots are told of ahead, all at once.
const AHEAD: u8 = 32;
/// Places on a line of the cache.
const PLACES: usize = 64 / size_of::<Place>();
/// How many places may mean nothing, beside as many as there are slots in the queue.
const SPARE: usize = 64;

/// When, and which slot.
pub(super) type Place = (Time, u32);

/// Places by time.
#[derive(Debug)]
pub(super) struct Queue {
    /// The first of all times, and the line in which it is; the heap has the number behind theirs.
    next: (Time, usize),
    /// The line of which one came last.
    came: usize,
    /// How many slots of each line are told of already.
    told: [u8; LINES + 1],
    firsts: [Time; LINES],
    lasts: [Time; LINES],
    lines: [VecDeque<Place>; LINES],
    rest: BinaryHeap<Reverse<Place>>,
    places: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            next: (Time::MAX, LINES),
            came: LINES,
            told: [0; LINES + 1],
            firsts: [Time::MAX; LINES],
            lasts: [Time::ZERO; LINES],
            lines: Default::default(),
            rest: BinaryHeap::new(),
            places: 0,
        }
    }
}

/// Makes a little room: places come round soon, so that their memory is at hand still.
#[cold]
fn widen(places: &mut VecDeque<Place>) {
    let more = places.len() / 16 + ROOM / 4;
    places.reserve_exact(more);
}

/// Has the memory of the places come that are told of next time.
fn touch_next(line: &VecDeque<Place>) {
    let next = usize::from(AHEAD);
    for place in line
        .iter()
        .skip(next + PLACES - 1)
        .step_by(PLACES)
        .take(next / PLACES)
    {
        core::hint::black_box(place.1);
    }
}

impl Queue {
    /// Whether too many places say nothing, if so many say something.
    #[inline]
    pub(super) const fn is_cluttered(&self, saying: usize) -> bool {
        self.places > 2 * saying + SPARE
    }

    /// Takes out the first place, if its time is `now` or before.
    #[inline]
    pub(super) fn due(&mut self, now: Time) -> Option<Place> {
        if self.next.0 > now || self.places == 0 {
            return None;
        }
        self.take()
    }

    /// Those slots behind the one that came last, in its line, that are not told of yet: each some at once, then none for as
    /// many times.
    #[inline]
    pub(super) fn ahead(&mut self) -> impl Iterator<Item = u32> {
        let told = &mut self.told[self.came];
        *told = told.saturating_sub(1);
        let more = if *told == 0 { AHEAD } else { 0 };
        *told += more;
        let line = self.lines.get(self.came);
        if let Some(line) = line.filter(|_| more > 0) {
            touch_next(line);
        }
        line.into_iter()
            .flatten()
            .take(more.into())
            .map(|place| place.1)
    }

    /// Has a slot looked at at a time.
    #[inline]
    pub(super) fn put(&mut self, place: Place) {
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
        let places = &mut self.lines[line];
        if places.len() == places.capacity() {
            widen(places);
        }
        places.push_back(place);
    }

    #[inline(always)]
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

    /// Drops the places that say nothing.
    pub(super) fn tidy(&mut self, says: impl Fn(Place) -> bool) {
        self.rest.retain(|place| says(place.0));
        for line in &mut self.lines {
            line.retain(|&place| says(place));
        }
        for line in 0..LINES {
            if let Some(last) = self.lines[line].back() {
                self.lasts[line] = last.0;
            }
            self.begin(line);
        }
        self.places = self.rest.len() + self.lines.iter().map(VecDeque::len).sum::<usize>();
        self.seek();
    }

    /// Every slot has another number now: what stands for its old one.
    pub(super) fn renumber(&mut self, numbers: &[u32]) {
        for line in &mut self.lines {
            line.iter_mut()
                .for_each(|place| place.1 = numbers[place.1 as usize]);
            line.shrink_to(ROOM);
        }
        let rest = core::mem::take(&mut self.rest).into_iter();
        self.rest = rest
            .map(|Reverse((at, slot))| Reverse((at, numbers[slot as usize])))
            .collect();
        self.told = [0; LINES + 1];
    }

    /// All places.
    #[cfg(test)]
    pub(super) fn places(&self) -> std::collections::BTreeSet<Place> {
        let all = self.lines.iter().flatten();
        all.chain(self.rest.iter().map(|place| &place.0))
            .copied()
            .collect()
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
                        set.remove(&(times[slot as usize], slot));
                    }
                    1..6 if grows => {
                        let wait = 2_000 + u64::from(rng.below(kinds)) * 100;
                        let early = u64::from(rng.below(20) / 19) * 50;
                        let at = Time::from_nanos(step + wait - early);
                        set.remove(&(times[slot as usize], slot));
                        set.insert((at, slot));
                        times[slot as usize] = at;
                        queue.put((at, slot));
                        if queue.is_cluttered(set.len()) {
                            queue.tidy(|place| set.contains(&place));
                        }
                    }
                    _ => {
                        let expected = set.first().filter(|first| first.0 <= now).copied();
                        let says = |place: &Place| set.contains(place);
                        let due = core::iter::from_fn(|| queue.due(now)).find(says);
                        // Any of those of the same time.
                        let time = due.map(|place| place.0);
                        assert_eq!(time, expected.map(|first| first.0));
                        if let Some(place) = due {
                            assert!(set.remove(&place));
                        }
                    }
                }
                assert!(queue.places <= 2 * set.len().max(2_000) + SPARE + 1);
                heaped |= !queue.rest.is_empty();
                longest = longest.max(queue.lines.iter().map(VecDeque::len).max().unwrap());
            }
            assert!(queue.places().is_superset(&set));
            assert_eq!(heaped, kinds == 300, "{kinds}");
            assert!(longest > ROOM || kinds == 300, "{longest}");
        }
    }

    #[test]
    fn an_empty_queue_keeps_little() {
        let mut queue = Queue::default();
        for slot in 0..10_000 {
            queue.put((Time::from_nanos(slot.into()), slot));
            queue.put((Time::from_nanos(20_000 - u64::from(slot)), slot));
        }
        assert!(!queue.is_cluttered(10_000));
        while queue.due(Time::MAX).is_some() {}
        let rooms = queue.lines.iter().map(VecDeque::capacity);
        assert!(
            rooms
                .chain([queue.rest.capacity()])
                .all(|room| room <= ROOM)
        );
        assert_eq!((queue.places, queue.next.0), (0, Time::MAX));
    }
}
