//! The wall clock as a lab's time.
//!
//! Lab time is monotonic time since the start, less what the process slept through: when it was stopped (`SIGSTOP`,
//! a debugger, a starved machine) past a moment at which it wanted to run, lab time goes on from that moment. A
//! thousand timers that became due meanwhile then do not fire at once, and no connection finds that its peer was
//! silent for an hour. Suspend does not count to begin with: `CLOCK_MONOTONIC` stands still.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use emulator_core::switch::Time;

/// How late the process may be before the time is swallowed.
pub const STALL: Duration = Duration::from_secs(1);

/// How long two clocks may take to be read one after the other, to be compared.
const TOGETHER: Duration = Duration::from_micros(100);
/// How often that is tried.
const TRIES: usize = 8;

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

    /// What the wall clock said at lab time zero, as far as both go alike: later than before if time was swallowed, or the
    /// wall clock was set.
    #[must_use]
    pub fn epoch(&self) -> Duration {
        let mut tries = 0;
        loop {
            let before = Instant::now();
            let wall = SystemTime::now();
            // Whoever had to wait for a core in between compares in vain.
            if before.elapsed() <= TOGETHER || tries == TRIES {
                let lab = self.base + (before - self.start).saturating_sub(self.swallowed);
                let wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
                return wall.saturating_sub(Duration::from_nanos(lab.as_nanos()));
            }
            tries += 1;
        }
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
    fn the_epoch_goes_with_what_is_swallowed() {
        let mut clock = Clock::new(Time::from_secs(1));
        clock.start -= Duration::from_secs(4);
        let before = clock.epoch();
        clock.swallowed = Duration::from_secs(3);
        let moved = clock.epoch().saturating_sub(before);
        let three = Duration::from_secs(3);
        assert!(moved.abs_diff(three) < Duration::from_secs(1), "{moved:?}");
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
