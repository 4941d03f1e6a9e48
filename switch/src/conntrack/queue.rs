//! Slots in the order of times at which they are to be looked at.
//!
//! Connections of one timeout run out in the order in which they were refreshed, and there are few timeouts: a time
//! is mostly later than all before it of its kind. So there are a few lines, each in order by itself; a time goes to
//! the end of the one whose last is nearest before it, and only what fits none goes to a heap. Lines are touched at
//! their ends alone, however long they are. What is taken back is passed over when its turn comes.

use core::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::time::Time;

/// Lines: the common timeouts are 10, 30, 120 and 432,000 s, two more for what was moved.
const LINES: usize = 6;
/// An empty line keeps no more room than for so many.
const ROOM: usize = 256;
/// An empty line begins never.
const NEVER: Place = (Time::MAX, u32::MAX);
/// An empty line takes everything, if nothing else does.
const EVER: Place = (Time::ZERO, 0);

/// When, and which slot.
type Place = (Time, u32);

/// Slots by time, and among equal times by number.
#[derive(Debug)]
pub(super) struct Queue {
    firsts: [Place; LINES],
    lasts: [Place; LINES],
    lines: [VecDeque<Place>; LINES],
    rest: BinaryHeap<Reverse<Place>>,
    len: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            firsts: [NEVER; LINES],
            lasts: [EVER; LINES],
            lines: Default::default(),
            rest: BinaryHeap::new(),
            len: 0,
        }
    }
}

impl Queue {
    /// How many places there are, those included that mean nothing any more.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The first place.
    #[inline]
    pub(super) fn first(&self) -> Option<Place> {
        self.foremost().map(|(place, _)| place)
    }

    /// The first place, and the line in which it is; the heap has the number behind theirs.
    #[inline]
    fn foremost(&self) -> Option<(Place, usize)> {
        let heaped = self.rest.peek().map_or(NEVER, |place| place.0);
        let mut least = (heaped, LINES);
        for (line, &first) in self.firsts.iter().enumerate() {
            if first < least.0 {
                least = (first, line);
            }
        }
        (least.0 != NEVER).then_some(least)
    }

    /// Puts `slot` where it is to be looked at at `at`, beside the places that it has already.
    pub(super) fn push(&mut self, at: Time, slot: u32) {
        let place = (at, slot);
        self.len += 1;
        let mut fits: Option<usize> = None;
        for (line, &last) in self.lasts.iter().enumerate() {
            if last <= place && fits.is_none_or(|best| self.lasts[best] < last) {
                fits = Some(line);
            }
        }
        let Some(line) = fits else {
            self.rest.push(Reverse(place));
            return;
        };
        if self.lines[line].is_empty() {
            self.firsts[line] = place;
        }
        self.lasts[line] = place;
        self.lines[line].push_back(place);
    }

    /// Takes the first place out.
    pub(super) fn pop(&mut self) -> Option<Place> {
        let (place, line) = self.foremost()?;
        self.len -= 1;
        if line == LINES {
            self.rest.pop();
        } else {
            self.lines[line].pop_front();
            self.begin(line);
        }
        if self.rest.is_empty() && self.rest.capacity() > ROOM {
            self.rest = BinaryHeap::new();
        }
        Some(place)
    }

    /// Notes what a line begins with now.
    fn begin(&mut self, line: usize) {
        let places = &mut self.lines[line];
        if let Some(&first) = places.front() {
            self.firsts[line] = first;
            return;
        }
        if places.capacity() > ROOM {
            *places = VecDeque::new();
        }
        (self.firsts[line], self.lasts[line]) = (NEVER, EVER);
    }

    /// Keeps the places that mean something.
    pub(super) fn retain(&mut self, mut means: impl FnMut(Place) -> bool) {
        self.rest.retain(|place| means(place.0));
        for line in 0..LINES {
            self.lines[line].retain(|&place| means(place));
            if let Some(&last) = self.lines[line].back() {
                self.lasts[line] = last;
            }
            self.begin(line);
        }
        self.len = self.rest.len() + self.lines.iter().map(VecDeque::len).sum::<usize>();
    }

    #[cfg(test)]
    pub(super) fn contains(&self, place: Place) -> bool {
        let mut heaped = self.rest.iter().map(|place| place.0);
        heaped.any(|other| other == place) || self.lines.iter().any(|line| line.contains(&place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// What goes in comes out as from a sorted list, whatever order it went in.
    #[test]
    fn as_a_sorted_list() {
        for (seed, kinds) in [(1, 1), (2, 3), (3, 200)] {
            let mut rng = Rng::new(seed);
            let (mut queue, mut model) = (Queue::default(), Vec::<Place>::new());
            let (mut heaped, mut longest) = (false, 0);
            for step in 0..30_000_u64 {
                let grows = step % 3_000 < 2_000;
                if rng.below(8) < if grows { 5 } else { 2 } {
                    let wait = u64::from(rng.below(kinds)) * 700;
                    let late = u64::from(rng.below(20)) / 19 * 50;
                    let place = (Time::from_nanos(step + wait - late.min(step)), rng.below(9));
                    queue.push(place.0, place.1);
                    let at = model.partition_point(|&other| other <= place);
                    model.insert(at, place);
                    assert!(queue.contains(place));
                } else {
                    let first = (!model.is_empty()).then(|| model.remove(0));
                    assert_eq!(queue.pop(), first);
                }
                if step % 10_000 == 9_999 {
                    let odd = |place: Place| place.1 % 2 == 1;
                    queue.retain(odd);
                    model.retain(|&place| odd(place));
                }
                assert_eq!(queue.first(), model.first().copied());
                assert_eq!(queue.len(), model.len());
                heaped |= !queue.rest.is_empty();
                longest = longest.max(queue.lines.iter().map(VecDeque::len).max().unwrap());
            }
            assert_eq!(heaped, kinds == 200, "{kinds}");
            assert!(longest > ROOM || kinds == 200, "{longest}");
        }
    }
}
