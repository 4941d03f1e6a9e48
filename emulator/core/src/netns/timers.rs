//! The timers of a namespace: few, exact, and none while it is idle.
//!
//! States that only age (a reachable neighbour, a path MTU) have no timer: their age is looked at when
//! they are used.

use core::net::IpAddr;
use std::collections::BTreeSet;

use switch::{IfId, Time};

use super::reassembly::Key;

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The next announcement of an address.
    Announce(IfId, IpAddr),
    /// The next step of a neighbour's resolution.
    Neighbour(IfId, IpAddr),
    /// The end of a datagram's reassembly.
    Reassembly(Key),
}

/// Armed timers by time.
#[derive(Debug)]
pub(super) struct Timers {
    set: BTreeSet<(Time, Timer)>,
    /// The time of the first, the end of time if there is none: asked for after each frame.
    next: Time,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            set: BTreeSet::new(),
            next: Time::MAX,
        }
    }
}

impl Timers {
    pub(super) fn arm(&mut self, at: Time, timer: Timer) {
        self.set.insert((at, timer));
        self.next = self.next.min(at);
    }

    pub(super) fn cancel(&mut self, at: Time, timer: Timer) {
        self.set.remove(&(at, timer));
        self.look();
    }

    fn look(&mut self) {
        if self.set.is_empty() {
            // An idle namespace holds nothing.
            self.set = BTreeSet::new();
        }
        self.next = self.set.first().map_or(Time::MAX, |&(at, _)| at);
    }

    /// When the first is due, the end of time if there is none.
    #[inline]
    pub(super) const fn next(&self) -> Time {
        self.next
    }

    /// Takes the first timer that is due.
    pub(super) fn pop(&mut self, now: Time) -> Option<Timer> {
        if self.next > now {
            return None;
        }
        let first = self.set.pop_first();
        self.look();
        first.map(|(_, timer)| timer)
    }
}
