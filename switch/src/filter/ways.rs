//! Ways through several base chains, for packets that all go the same.
//!
//! What goes along a way is counted there alone, and laid on its rules when one of them changes. Until then whoever
//! reads a counter adds what the ways hold.

use foldhash::fast::FixedState;
use indexmap::IndexSet;

use super::{ChainId, Counter, Trail};

/// A base chain, and the trail through it.
pub(crate) type Leg = (ChainId, Trail);

/// Ways, by number, and what went along each.
#[derive(Debug, Default)]
pub(super) struct Ways {
    legs: IndexSet<Box<[Leg]>, FixedState>,
    counts: Vec<Counter>,
}

impl Ways {
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    /// The number of a way.
    pub(super) fn number(&mut self, legs: &[Leg]) -> u32 {
        let number = self.legs.insert_full(legs.into()).0;
        self.counts.resize(self.legs.len(), Counter::default());
        number as u32
    }

    pub(super) fn of(&self, way: u32) -> Option<&[Leg]> {
        self.legs.get_index(way as usize).map(AsRef::as_ref)
    }

    /// Counts what went along a way.
    #[inline]
    pub(super) fn count(&mut self, way: u32, weight: Counter) {
        if let Some(count) = self.counts.get_mut(way as usize) {
            count.add(weight);
        }
    }

    /// Every leg, and what went along it.
    pub(super) fn legs(&self) -> impl Iterator<Item = (&Leg, Counter)> {
        let ways = self.legs.iter().zip(&self.counts);
        ways.flat_map(|(legs, &count)| legs.iter().map(move |leg| (leg, count)))
    }

    /// What the ways hold for a rule.
    pub(super) fn of_rule(&self, rule: u32) -> Counter {
        let mut sum = Counter::default();
        for ((_, trail), count) in self.legs() {
            for _ in trail.rules().iter().filter(|&&other| other == rule) {
                sum.add(count);
            }
        }
        sum
    }

    /// What the ways hold for the policy of a base chain.
    pub(super) fn of_policy(&self, chain: ChainId) -> Counter {
        let mut sum = Counter::default();
        for ((base, trail), count) in self.legs() {
            if trail.by_policy && *base == chain {
                sum.add(count);
            }
        }
        sum
    }
}
