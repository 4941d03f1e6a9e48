//! The one stream of events: what happened to each frame, counted, listened to, captured.
//!
//! Counting is always on; events are built only while somebody listens.

use crate::frame::{Frame, Pool};
use crate::time::Time;
use crate::verdict::{DropReason, Drops, Event, IfId, What};

/// Where every part of the data plane reports to.
#[derive(Debug, Default)]
pub struct Trace {
    /// Frames that died, by reason.
    pub drops: Drops,
    listening: bool,
    events: Vec<Event>,
}

impl Trace {
    /// Starts or stops the stream of events. Counters run either way.
    pub const fn listen(&mut self, on: bool) {
        self.listening = on;
    }

    /// Reports one step of a frame's life.
    pub fn event(&mut self, at: Time, frame: u64, place: IfId, what: What) {
        if self.listening {
            self.events.push(Event {
                at,
                frame,
                place,
                what,
            });
        }
    }

    /// Ends `frame`'s life at `place` for `reason`.
    pub fn drop(
        &mut self,
        at: Time,
        pool: &mut Pool,
        frame: Frame,
        place: IfId,
        reason: DropReason,
    ) {
        self.drops.count(reason);
        let id = pool.meta(&frame).id;
        self.event(at, id, place, What::Dropped(reason));
        pool.free(frame);
    }

    /// The events since the last call, in order.
    pub fn take(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.events)
    }
}
