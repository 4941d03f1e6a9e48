//! A set of taken numbers, kept as runs: the taken addresses of one subnet.
//!
//! Models `libnetwork/internal/addrset` and the bitmap below it. Not a bitmap, because a /64 has 2⁶⁴
//! addresses of which a few are taken: runs of neighbours in an ordered map cost what is in use, and
//! since neighbouring runs are merged, the lowest free number is one look-up away.

use std::collections::BTreeMap;

/// Taken numbers as maximal runs, first → last, both ends included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    runs: BTreeMap<u128, u128>,
}

impl Runs {
    fn run_at(&self, x: u128) -> Option<(u128, u128)> {
        let (&first, &last) = self.runs.range(..=x).next_back()?;
        (x <= last).then_some((first, last))
    }

    /// Whether `x` is taken.
    #[must_use]
    pub fn contains(&self, x: u128) -> bool {
        self.run_at(x).is_some()
    }

    /// Takes `x`; false if it was taken.
    pub fn insert(&mut self, x: u128) -> bool {
        let before = self.runs.range(..=x).next_back().map(|(&f, &l)| (f, l));
        if before.is_some_and(|(_, last)| x <= last) {
            return false;
        }
        let mut first = x;
        let mut last = x;
        if let Some((f, l)) = before
            && l.checked_add(1) == Some(x)
        {
            first = f;
        }
        if let Some(next) = x.checked_add(1)
            && let Some(l) = self.runs.remove(&next)
        {
            last = l;
        }
        self.runs.insert(first, last);
        true
    }

    /// Frees `x`; false if it was free.
    pub fn remove(&mut self, x: u128) -> bool {
        let Some((first, last)) = self.run_at(x) else {
            return false;
        };
        self.runs.remove(&first);
        if first < x {
            self.runs.insert(first, x - 1);
        }
        if x < last {
            self.runs.insert(x + 1, last);
        }
        true
    }

    /// The lowest free number of `from..=to`.
    #[must_use]
    pub fn first_free(&self, from: u128, to: u128) -> Option<u128> {
        let x = match self.run_at(from) {
            Some((_, last)) => last.checked_add(1)?,
            None => from,
        };
        (x <= to).then_some(x)
    }

    /// How many numbers of `from..=to` are taken.
    #[must_use]
    pub fn count(&self, from: u128, to: u128) -> u128 {
        let cut = |first: u128, last: u128| last.min(to) - first.max(from) + 1;
        let head = match self.run_at(from) {
            Some((first, last)) if first < from => cut(first, last),
            _ => 0,
        };
        self.runs
            .range(from..=to)
            .map(|(&f, &l)| cut(f, l))
            .fold(head, u128::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_merge_and_split() {
        let mut runs = Runs::default();
        assert!(runs.insert(5) && runs.insert(7) && runs.insert(6));
        assert_eq!(runs.runs.len(), 1);
        assert!(!runs.insert(6));
        assert!(runs.remove(6) && !runs.remove(6));
        assert_eq!(runs.first_free(5, 9), Some(6));
        assert_eq!(runs.first_free(5, 5), None);
        assert!(runs.insert(u128::MAX));
        assert_eq!(runs.first_free(u128::MAX, u128::MAX), None);
        assert_eq!(runs.count(0, u128::MAX), 3);
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(ops in prop::collection::vec((any::<bool>(), 0u128..40), 0..200)) {
            let mut runs = Runs::default();
            let mut model = BTreeSet::new();
            for (insert, x) in ops {
                if insert {
                    prop_assert_eq!(runs.insert(x), model.insert(x));
                } else {
                    prop_assert_eq!(runs.remove(x), model.remove(&x));
                }
                prop_assert_eq!(runs.first_free(3, 30), (3..=30).find(|n| !model.contains(n)));
                prop_assert_eq!(runs.count(3, 30), model.range(3..=30).count() as u128);
            }
            let mut last: Option<u128> = None;
            for (&f, &l) in &runs.runs {
                prop_assert!(f <= l);
                prop_assert!(last.is_none_or(|p| f > p + 1), "runs touch");
                last = Some(l);
            }
        }
    }
}
