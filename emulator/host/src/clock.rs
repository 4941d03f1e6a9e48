//! The wall clock as a lab's time.
//!
//! Lab time is monotonic time since the start, less what the process slept through: when it was stopped (`SIGSTOP`,
//! a debugger, a starved machine) past a moment at which it wanted to run, lab time goes on from that moment. A
//! thousand timers that became due meanwhile then do not fire at once, and no connection finds that its peer was
//! silent for an hour. Suspend does not count to begin with: `CLOCK_MONOTONIC` stands still.

use std::time::{Duration, Instant};

use emulator_core::switch::Time;

/// How late the process may be before the time is swallowed.
pub const STALL: Duration = Duration::from_secs(1);

/// A lab's time, driven by the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    /// Lab time at the start.
    base: Time,
    swallowed: Duration,
    last: Time,
}

impl Clock {
    /// A clock that says `at` now.
    #[must_use]
    pub fn new(at: Time) -> Self {
        Self {
            start: Instant::now(),
            base: at,
            swallowed: Duration::ZERO,
            last: at,
        }
    }

    /// Now. `due` is when the lab wanted to run: what is more than [`STALL`] after that (or after the last look, if
    /// that was later) is swallowed. `None`: nothing was to be done, and time may pass as it likes.
    pub fn now(&mut self, due: Option<Time>) -> Time {
        self.step(self.start.elapsed(), due)
    }

    /// The last answer of [`Clock::now`].
    #[must_use]
    pub const fn last(&self) -> Time {
        self.last
    }

    /// How much time was swallowed so far.
    #[must_use]
    pub const fn swallowed(&self) -> Duration {
        self.swallowed
    }

    fn step(&mut self, real: Duration, due: Option<Time>) -> Time {
        let now = self.base + real.saturating_sub(self.swallowed);
        let wanted = due.map_or(now, |due| due.max(self.last));
        self.last = if now > wanted + STALL {
            self.swallowed += now - wanted;
            wanted
        } else {
            now.max(self.last)
        };
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(clock: &mut Clock, real: u64, due: Option<u64>) -> u64 {
        let real = Duration::from_millis(real);
        clock.step(real, due.map(Time::from_millis)).as_millis()
    }

    #[test]
    fn a_stall_past_what_was_due_is_swallowed() {
        let mut clock = Clock::new(Time::ZERO);
        assert_eq!(at(&mut clock, 100, Some(90)), 100);
        // A long wait for something is no stall, and a little late is not either.
        assert_eq!(at(&mut clock, 60_900, Some(60_000)), 60_900);
        // Ten seconds late: it is the moment that was waited for.
        assert_eq!(at(&mut clock, 71_500, Some(61_500)), 61_500);
        assert_eq!(clock.swallowed(), Duration::from_secs(10));
        assert_eq!(at(&mut clock, 71_600, Some(61_600)), 61_600);
        // In the middle of work, that is the last look.
        assert_eq!(at(&mut clock, 81_600, Some(0)), 61_600);
        assert_eq!(at(&mut clock, 81_700, Some(61_600)), 61_700);
    }

    #[test]
    fn where_nothing_is_due_time_passes() {
        let mut clock = Clock::new(Time::from_secs(5));
        assert_eq!(at(&mut clock, 3_600_000, None), 3_605_000);
        assert_eq!(clock.swallowed(), Duration::ZERO);
        // It never goes back.
        assert_eq!(at(&mut clock, 3_500_000, None), 3_605_000);
    }
}
