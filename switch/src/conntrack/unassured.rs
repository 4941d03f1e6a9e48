//! The connections that a full table may forget, in the order in which they were made.
//!
//! A list through the slots of the table: a connection goes in at its end or close to it, and out from
//! anywhere.

/// No slot.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    number: u64,
    older: u32,
    newer: u32,
}

const OUT: Link = Link {
    number: 0,
    older: NONE,
    newer: NONE,
};

/// Slots by the number of the connection in them.
#[derive(Debug)]
pub(super) struct Unassured {
    links: Vec<Link>,
    oldest: u32,
    newest: u32,
}

impl Default for Unassured {
    fn default() -> Self {
        Self {
            links: Vec::new(),
            oldest: NONE,
            newest: NONE,
        }
    }
}

impl Unassured {
    /// The slot of the oldest.
    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let newer = |&slot: &u32| Some(self.links[slot as usize].newer);
        let next = |slot: &u32| newer(slot).filter(|&slot| slot != NONE);
        core::iter::successors(self.oldest(), next).count()
    }

    /// Puts the connection of this number, in `slot`, where it belongs. It is not in yet.
    pub(super) fn insert(&mut self, slot: u32, number: u64) {
        if self.links.len() <= slot as usize {
            self.links.resize(slot as usize + 1, OUT);
        }
        let mut older = self.newest;
        while older != NONE && self.links[older as usize].number > number {
            older = self.links[older as usize].older;
        }
        let newer = match older {
            NONE => self.oldest,
            _ => self.links[older as usize].newer,
        };
        self.links[slot as usize] = Link {
            number,
            older,
            newer,
        };
        self.join(older, slot);
        self.join(slot, newer);
    }

    /// Takes the connection in `slot` out. It is in.
    pub(super) fn remove(&mut self, slot: u32) {
        if let Some(&Link { older, newer, .. }) = self.links.get(slot as usize) {
            self.join(older, newer);
        }
    }

    /// Every slot has another number now: what stands for its old one.
    pub(super) fn renumber(&mut self, numbers: &[u32]) {
        let old = core::mem::take(self);
        let mut next = old.oldest;
        while next != NONE {
            let link = old.links[next as usize];
            self.insert(numbers[next as usize], link.number);
            next = link.newer;
        }
    }

    fn join(&mut self, older: u32, newer: u32) {
        match older {
            NONE => self.oldest = newer,
            _ => self.links[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            _ => self.links[newer as usize].older = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::collections::BTreeMap;

    #[test]
    fn as_an_ordered_map() {
        let mut rng = Rng::new(3);
        let (mut list, mut map) = (Unassured::default(), BTreeMap::new());
        let mut numbers = [None; 64];
        let mut next = 0;
        for _ in 0..20_000 {
            let slot = rng.below(64);
            match numbers[slot as usize].take() {
                None => {
                    // Some are late.
                    let number = next * 8 + u64::from(rng.below(40));
                    if map.contains_key(&number) {
                        continue;
                    }
                    next += 1;
                    list.insert(slot, number);
                    map.insert(number, slot);
                    numbers[slot as usize] = Some(number);
                }
                Some(number) => {
                    list.remove(slot);
                    map.remove(&number);
                }
            }
            assert_eq!(list.oldest(), map.values().next().copied());
            assert_eq!(list.len(), map.len());
        }
        while let Some(slot) = list.oldest() {
            assert_eq!(map.pop_first().map(|(_, slot)| slot), Some(slot));
            list.remove(slot);
        }
        assert!(map.is_empty());
    }
}
