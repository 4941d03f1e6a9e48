//! When to look at which flow again. A flow that was heard of since has a later time of its own.

use std::collections::BTreeSet;

use emulator_core::switch::Time;

use crate::runtime::Cx;

/// The alarms of all flows.
#[derive(Debug, Default)]
pub(super) struct Alarms(BTreeSet<(Time, u64)>);

impl Alarms {
    pub(super) fn set(&mut self, cx: &mut Cx<'_>, at: Time, key: u64) {
        self.0.insert((at, key));
        self.wake(cx);
    }

    /// Takes one back; whoever is woken for it finds nothing.
    pub(super) fn cancel(&mut self, at: Time, key: u64) {
        self.0.remove(&(at, key));
    }

    /// The next flow that is due.
    pub(super) fn pop(&mut self, now: Time) -> Option<u64> {
        let &(at, key) = self.0.first()?;
        (at <= now).then(|| {
            self.0.pop_first();
            key
        })
    }

    /// Has the attachment called when the next one is due.
    pub(super) fn wake(&self, cx: &mut Cx<'_>) {
        cx.wake_at(self.0.first().map_or(Time::MAX, |&(at, _)| at));
    }
}
