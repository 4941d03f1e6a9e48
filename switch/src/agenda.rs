//! When numbered things are due, the first of them at hand: timers of sockets and of namespaces.
//!
//! A heap of four branches with the place of each number in it, so that a time is set, moved and taken
//! away in logarithmic time and without an allocation once the lists have grown. Among equal times the
//! lower number comes first.

use crate::time::Time;

/// Branches of the heap.
const BRANCHES: usize = 4;
/// An empty heap keeps no more room than for so many.
const ROOM: usize = 256;
/// The place of a number that is not due.
const NOWHERE: u32 = u32::MAX;

/// Numbers in the order in which they are due.
#[derive(Debug, Default)]
pub struct Agenda {
    heap: Vec<(Time, u32)>,
    places: Vec<u32>,
}

impl Agenda {
    /// How many numbers are due.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.heap.len()
    }

    /// None is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The number that is due first, and when.
    #[must_use]
    pub fn first(&self) -> Option<(Time, u32)> {
        self.heap.first().copied()
    }

    /// When `number` is due, the end of time if never.
    #[must_use]
    #[inline]
    pub fn due(&self, number: u32) -> Time {
        let place = self.places.get(number as usize).copied();
        let entry = place.and_then(|place| self.heap.get(place as usize));
        entry.map_or(Time::MAX, |entry| entry.0)
    }

    /// Has `number` due at `at` and at no other time; never if that is the end of time.
    pub fn set(&mut self, number: u32, at: Time) {
        let Some(place) = self.places.get_mut(number as usize) else {
            return self.set_new(number, at);
        };
        match *place {
            NOWHERE if at == Time::MAX => {}
            NOWHERE => {
                let last = self.heap.len();
                *place = last as u32;
                self.heap.push((at, number));
                if last > 0 && (at, number) < self.heap[(last - 1) / BRANCHES] {
                    self.change(last, (at, number));
                }
            }
            place if at == Time::MAX => self.take(place as usize),
            place => self.change(place as usize, (at, number)),
        }
    }

    /// The same for the highest number so far.
    #[cold]
    fn set_new(&mut self, number: u32, at: Time) {
        if at != Time::MAX {
            self.places.resize(number as usize + 1, NOWHERE);
            self.set(number, at);
        }
    }

    /// Puts another entry in the place of one, and where it belongs.
    #[inline(never)]
    fn change(&mut self, place: usize, entry: (Time, u32)) {
        if place > 0 && self.rise(place, entry) != place {
            return;
        }
        self.sink(place, entry);
    }

    /// Takes the first number out if it is due by `now`.
    pub fn pop(&mut self, now: Time) -> Option<u32> {
        let (at, number) = self.first()?;
        if at > now {
            return None;
        }
        self.take(0);
        Some(number)
    }

    fn take(&mut self, place: usize) {
        let Some(last) = self.heap.pop() else {
            return;
        };
        if let Some(&(_, gone)) = self.heap.get(place) {
            self.places[gone as usize] = NOWHERE;
            return self.change(place, last);
        }
        self.places[last.1 as usize] = NOWHERE;
        if place == 0 && self.heap.capacity() > ROOM {
            self.heap = Vec::new();
        }
    }

    /// Puts an entry at a place, or as far towards the first as it belongs; where it is then.
    #[inline(always)]
    fn rise(&mut self, mut place: usize, entry: (Time, u32)) -> usize {
        while place > 0 {
            let above = (place - 1) / BRANCHES;
            let other = self.heap[above];
            if other < entry {
                break;
            }
            self.put(place, other);
            place = above;
        }
        self.put(place, entry);
        place
    }

    /// Puts an entry at a place, or as far away from the first as it belongs.
    fn sink(&mut self, mut place: usize, entry: (Time, u32)) {
        while let Some(branch) = self.heap.get(place * BRANCHES + 1..)
            && let Some((at, least)) = least(branch)
            && least < entry
        {
            self.put(place, least);
            place = place * BRANCHES + 1 + at;
        }
        self.put(place, entry);
    }

    #[inline]
    fn put(&mut self, place: usize, entry: (Time, u32)) {
        self.heap[place] = entry;
        self.places[entry.1 as usize] = place as u32;
    }
}

/// The least of the first entries, no more than there are branches, and where it is.
#[inline(always)]
fn least(entries: &[(Time, u32)]) -> Option<(usize, (Time, u32))> {
    let lower = |a: (usize, (Time, u32)), b: (usize, (Time, u32))| if b.1 < a.1 { b } else { a };
    if let Some(&[a, b, c, d]) = entries.first_chunk::<BRANCHES>() {
        return Some(lower(lower((0, a), (1, b)), lower((2, c), (3, d))));
    }
    entries.iter().copied().enumerate().reduce(lower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::collections::BTreeSet;

    /// What is set, moved and taken away comes out as from an ordered set.
    #[test]
    fn as_an_ordered_set() {
        let mut rng = Rng::new(7);
        let (mut agenda, mut set) = (Agenda::default(), BTreeSet::new());
        let mut due = vec![Time::MAX; 300];
        for step in 0..60_000_u64 {
            let number = rng.below(300);
            let old = due[number as usize];
            assert_eq!(agenda.due(number), old);
            if rng.below(5) == 0 {
                let now = Time::from_nanos(step);
                let expected = set.first().copied().filter(|&(at, _)| at <= now);
                assert_eq!(agenda.pop(now), expected.map(|(_, number)| number));
                if let Some((at, number)) = expected {
                    set.remove(&(at, number));
                    due[number as usize] = Time::MAX;
                }
            } else {
                let at = match rng.below(4) {
                    0 => Time::MAX,
                    _ => Time::from_nanos(step + u64::from(rng.below(900))),
                };
                set.remove(&(old, number));
                if at != Time::MAX {
                    set.insert((at, number));
                }
                agenda.set(number, at);
                due[number as usize] = at;
            }
            assert_eq!(agenda.first(), set.first().copied());
            assert_eq!(agenda.len(), set.len());
        }
        assert_eq!(agenda.due(1 << 20), Time::MAX);
    }
}
