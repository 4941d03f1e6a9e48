//! Time as smoltcp has it: whole microseconds.

use core::time;

use smoltcp::time::{Duration, Instant};
use switch::Time;

/// smoltcp counts whole microseconds: rounding up makes no timer early.
pub(super) fn instant(now: Time) -> Instant {
    Instant::from_micros(i64::try_from(now.as_nanos().div_ceil(1_000)).unwrap_or(i64::MAX))
}

/// The time at which the engine believes to be.
pub(super) const fn ceiling(now: Time) -> Time {
    Time::from_micros(now.as_nanos().div_ceil(1_000))
}

/// The last time that was asked for, and [what it is](ceiling) to engines: most questions are of one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Time, Time);

impl Default for Clock {
    fn default() -> Self {
        Self(Time::ZERO, ceiling(Time::ZERO))
    }
}

impl Clock {
    /// [`ceiling`].
    #[inline]
    pub(super) fn at(&mut self, now: Time) -> Time {
        if self.0 != now {
            *self = Self(now, ceiling(now));
        }
        self.1
    }
}

pub(super) fn time(instant: Instant) -> Time {
    Time::from_micros(u64::try_from(instant.total_micros()).unwrap_or(0))
}

pub(super) fn span(span: time::Duration) -> Duration {
    Duration::from_micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
}
