//! When a connection has to be looked at again: one entry for each, in order of time.
//!
//! An entry is left where it is when its time moves back, which an active connection's does with each
//! segment; it is then found to be early and set again. A time that is no longer wanted is taken out.

use std::collections::BTreeSet;

use switch::Time;

/// The armed connections of a namespace.
#[derive(Debug)]
pub(super) struct Timers {
    order: BTreeSet<(Time, u32)>,
    /// The first of them, the end of time if there is none: asked for after each frame.
    first: Time,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            order: BTreeSet::new(),
            first: Time::MAX,
        }
    }
}

impl Timers {
    /// The first time, or one before it; the end of time if there is none.
    #[inline]
    pub(super) const fn deadline(&self) -> Time {
        self.first
    }

    /// Has `slot`, armed for `armed`, come up at `want` at the latest.
    pub(super) fn set(&mut self, slot: u32, armed: &mut Option<Time>, want: Option<Time>) {
        match (*armed, want) {
            (None, None) => return,
            (Some(at), Some(want)) if at <= want => return,
            _ => {}
        }
        if let Some(at) = armed.take() {
            self.order.remove(&(at, slot));
        }
        if let Some(at) = want {
            self.order.insert((at, slot));
            *armed = want;
        }
        self.look();
    }

    fn look(&mut self) {
        self.first = self.order.first().map_or(Time::MAX, |(at, _)| *at);
    }

    /// Takes out a slot whose time has come.
    pub(super) fn pop(&mut self, now: Time) -> Option<u32> {
        if self.first > now {
            return None;
        }
        let (_, slot) = self.order.pop_first()?;
        self.look();
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_is_lazy_and_never_is_at_once() {
        let mut timers = Timers::default();
        let (one, two) = (Time::from_secs(1), Time::from_secs(2));
        let mut armed = None;
        timers.set(7, &mut armed, Some(one));
        timers.set(7, &mut armed, Some(two));
        assert_eq!((timers.deadline(), armed), (one, Some(one)));
        timers.set(7, &mut armed, None);
        assert_eq!((timers.deadline(), armed), (Time::MAX, None));
        timers.set(7, &mut armed, Some(two));
        timers.set(7, &mut armed, Some(one));
        assert_eq!(timers.pop(Time::ZERO), None);
        assert_eq!(timers.pop(one), Some(7));
        assert_eq!(timers.pop(two), None);
    }
}
