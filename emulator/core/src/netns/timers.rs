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
#[derive(Debug, Default)]
pub(super) struct Timers {
    set: BTreeSet<(Time, Timer)>,
}

impl Timers {
    pub(super) fn arm(&mut self, at: Time, timer: Timer) {
        self.set.insert((at, timer));
    }

    pub(super) fn cancel(&mut self, at: Time, timer: Timer) {
        self.set.remove(&(at, timer));
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.set.first().map(|&(at, _)| at)
    }

    /// Takes the first timer that is due.
    pub(super) fn pop(&mut self, now: Time) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.set.pop_first().map(|(_, timer)| timer)
    }
}
