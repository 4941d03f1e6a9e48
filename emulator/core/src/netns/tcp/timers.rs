//! When a connection has to be looked at again: one entry for each, in order of time.
//!
//! An entry is left where it is when its time moves back, which an active connection's does with each
//! segment; it is then found to be early and set again. A time that is no longer wanted is taken out.

use switch::Time;
use switch::agenda::Agenda;

/// The armed connections of a namespace.
#[derive(Debug, Default)]
pub(super) struct Timers {
    order: Agenda,
}

impl Timers {
    /// The first time, or one before it; the end of time if there is none.
    #[inline]
    pub(super) fn deadline(&self) -> Time {
        self.order.first().map_or(Time::MAX, |(at, _)| at)
    }

    /// Has `slot`, armed for `armed`, come up at `want` at the latest; the end of time stands for never.
    #[inline(always)]
    pub(super) fn set(&mut self, slot: u32, armed: &mut Time, want: Time) {
        let is_early = *armed < want && want != Time::MAX;
        if !is_early && *armed != want {
            self.order.set(slot, want);
            *armed = want;
        }
    }

    /// Takes out a slot whose time has come.
    pub(super) fn pop(&mut self, now: Time) -> Option<u32> {
        self.order.pop(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_is_lazy_and_never_is_at_once() {
        let mut timers = Timers::default();
        let (one, two) = (Time::from_secs(1), Time::from_secs(2));
        let mut armed = Time::MAX;
        timers.set(7, &mut armed, one);
        timers.set(7, &mut armed, two);
        assert_eq!((timers.deadline(), armed), (one, one));
        timers.set(7, &mut armed, Time::MAX);
        assert_eq!((timers.deadline(), armed), (Time::MAX, Time::MAX));
        timers.set(7, &mut armed, two);
        timers.set(7, &mut armed, one);
        assert_eq!(timers.pop(Time::ZERO), None);
        assert_eq!(timers.pop(one), Some(7));
        assert_eq!(timers.pop(two), None);
    }
}
