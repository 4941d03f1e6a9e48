//! What the attachments with many connections share: how many there may be, and where they say what is wrong.

use core::fmt;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Descriptors that are left for others: files, the control socket and its clients.
const KEPT: usize = 256;
/// Connections that there may be, whatever the limit of descriptors is.
const MOST: usize = 65_536;
/// When something is tried again for which there was no descriptor.
pub(crate) const AGAIN: Duration = Duration::from_millis(100);

/// A budget of connections, and a voice.
#[derive(Clone)]
pub struct Means {
    left: Rc<Cell<usize>>,
    most: usize,
    say: Rc<dyn Fn(&str)>,
}

impl fmt::Debug for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Means")
            .field("left", &self.left.get())
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

impl Means {
    /// As many connections as `descriptors` (`None`: no limit) leave room for. `say` is told, once, what people
    /// should know; it must not block.
    #[must_use]
    pub fn new(descriptors: Option<u64>, say: impl Fn(&str) + 'static) -> Self {
        let limit = descriptors.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        let most = limit.saturating_sub(KEPT.min(limit / 2)).min(MOST);
        Self {
            left: Rc::new(Cell::new(most)),
            most,
            say: Rc::new(say),
        }
    }

    /// How many connections there may be at a time.
    #[must_use]
    pub const fn most(&self) -> usize {
        self.most
    }

    /// A connection's share, if one is left. It comes back when it is dropped.
    pub(crate) fn take(&self) -> Option<Share> {
        let left = self.left.get().checked_sub(1)?;
        self.left.set(left);
        Some(Share(Rc::clone(&self.left)))
    }

    /// Tells people something.
    pub fn say(&self, sentence: &str) {
        (self.say)(sentence);
    }
}

/// A connection's share of the budget.
#[derive(Debug)]
pub(crate) struct Share(Rc<Cell<usize>>);

impl Drop for Share {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back() {
        let means = Means::new(Some(4), |_| {});
        assert_eq!(means.most(), 2);
        let (first, second) = (means.take(), means.take());
        assert!(first.is_some() && second.is_some() && means.take().is_none());
        drop(first);
        assert!(means.take().is_some());
        assert_eq!(Means::new(Some(20_000), |_| {}).most(), 19_744);
        assert_eq!(Means::new(None, |_| {}).most(), MOST);
    }
}
