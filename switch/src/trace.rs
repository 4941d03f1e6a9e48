//! The one stream of events: what happened to each frame, counted, listened to, captured.
//!
//! Counting is always on; events are kept only while somebody listens, and packets recorded only
//! while there is a [`Capture`] that watches the interface. With neither, an event costs a branch.
//! What waits to be taken is a `Log`: small records, of which [`Event`]s are made when they are taken.

mod log;

pub use self::log::{EVENTS, Events};
use self::log::{Log, Step};

use crate::capture::{Capture, Direction};
use crate::filter::Judgement;
use crate::frame::{Frame, Pool};
use crate::time::Time;
use crate::verdict::{DropReason, Drops, Event, IfId, Rewrite, What};
use crate::wire::{ETHER_LEN, Ether, EthernetAddress, EthernetProtocol, Packet};

/// Where every part of the data plane reports to.
#[derive(Debug, Default)]
pub struct Trace {
    /// Frames that died, by reason.
    pub drops: Drops,
    /// What records packets: each by itself.
    pub captures: Vec<Capture>,
    listening: bool,
    log: Log,
}

/// A place among the events that wait. Taking them makes it worthless.
#[derive(Clone, Copy, Debug)]
pub struct Mark((usize, u32));

impl Trace {
    /// Starts or stops the stream of events. Counters run either way.
    pub const fn listen(&mut self, on: bool) {
        self.listening = on;
    }

    /// Whether events are kept.
    #[must_use]
    #[inline]
    pub const fn is_listening(&self) -> bool {
        self.listening
    }

    /// Whether anything records packets. Never in a build with `--cfg vethlab_no_capture`, which is there to
    /// show what it costs that something might.
    #[must_use]
    #[inline]
    pub const fn is_capturing(&self) -> bool {
        !cfg!(vethlab_no_capture) && !self.captures.is_empty()
    }

    /// Reports one step of a frame's life.
    #[inline(always)]
    pub fn event(&mut self, at: Time, frame: u64, place: IfId, what: What) {
        self.events(at, frame, 1, place, what);
    }

    /// Reports the same step of `count` frames, one after the other, whose numbers follow each other
    /// from `first` on. Inlined, so that no [`What`] is made where the step is known.
    #[inline(always)]
    pub fn events(&mut self, at: Time, first: u64, count: u32, place: IfId, what: What) {
        if let What::Rewritten(rewrite) = what {
            return self.rewritten_all(at, first, count, place, rewrite);
        }
        if let What::Judged(judgement) = what {
            return self.judged(at, first, place, judgement);
        }
        if self.listening {
            self.log.push(at, first, count, place, Step::of(what));
        }
    }

    /// Whether so many more events would be kept while somebody listens.
    #[must_use]
    #[inline]
    pub const fn has_room(&self, count: usize) -> bool {
        self.log.has_room(count)
    }

    /// The same as [`Self::event`] of a step, no translation and no judgement, that the next frame has at another place.
    #[inline(always)]
    pub fn one(&mut self, at: Time, frame: u64, place: IfId, what: What) {
        if self.listening {
            self.log.push_one(at, frame, place, Step::of(what));
        }
    }

    /// The same where there [is room](Self::has_room) for it.
    #[inline(always)]
    pub fn one_kept(&mut self, at: Time, frame: u64, place: IfId, what: What) {
        if self.listening {
            self.log.keep_one(at, frame, place, Step::of(what));
        }
    }

    /// Reports a decision of a table of rules; the same as [`Self::event`] with [`What::Judged`].
    #[cold]
    pub fn judged(&mut self, at: Time, frame: u64, place: IfId, judgement: Judgement) {
        if self.listening {
            self.log.push_judged(at, frame, place, judgement);
        }
    }

    fn rewritten_all(&mut self, at: Time, first: u64, count: u32, place: IfId, rewrite: Rewrite) {
        if self.is_capturing() {
            self.note_all(first, count, rewrite);
        }
        if self.listening {
            self.log.push_rewritten(at, first, count, place, rewrite);
        }
    }

    /// Out of the way of those who report while there is no capture.
    #[cold]
    fn note_all(&mut self, first: u64, count: u32, rewrite: Rewrite) {
        for frame in first..first.saturating_add(u64::from(count)) {
            for capture in &mut self.captures {
                capture.rewritten(frame, rewrite);
            }
        }
    }

    /// Reports an address translation. A capture writes it beside the frame where the frame is next
    /// recorded. The same as [`Self::event`] with [`What::Rewritten`].
    pub fn rewritten(&mut self, at: Time, frame: u64, place: IfId, rewrite: Rewrite) {
        self.event(at, frame, place, What::Rewritten(rewrite));
    }

    /// `frame` crosses the interface `place`: a capture that watches it records it.
    #[inline]
    pub fn frame(
        &mut self,
        at: Time,
        pool: &Pool,
        frame: &Frame,
        place: IfId,
        direction: Direction,
    ) {
        if self.is_capturing() {
            self.record(at, pool, frame, place, direction);
        }
    }

    fn record(&mut self, at: Time, pool: &Pool, frame: &Frame, place: IfId, direction: Direction) {
        for capture in &mut self.captures {
            capture.crossed(at, place, direction, pool.bytes(frame), pool.meta(frame));
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
        if self.listening || self.is_capturing() {
            let id = pool.meta(&frame).id;
            self.event(at, id, place, What::Dropped(reason));
            self.record_drop(at, pool, &frame, place, reason);
        }
        pool.free(frame);
    }

    /// `frame` with bytes of its own. Where there is no buffer for them, its life ends at `place`.
    pub fn own(&mut self, at: Time, pool: &mut Pool, frame: Frame, place: IfId) -> Option<Frame> {
        let id = pool.meta(&frame).id;
        let own = pool.unshare(frame);
        if own.is_none() {
            self.drops.count(DropReason::PoolEmpty);
            self.event(at, id, place, What::Dropped(DropReason::PoolEmpty));
        }
        own
    }

    fn record_drop(
        &mut self,
        at: Time,
        pool: &Pool,
        frame: &Frame,
        place: IfId,
        reason: DropReason,
    ) {
        if self.captures.is_empty() {
            return;
        }
        let bytes = pool.bytes(frame);
        let watched = self.captures.iter().any(|capture| capture.watches(place));
        let framed = watched.then(|| framed(bytes)).flatten();
        let bytes = framed.as_deref().unwrap_or(bytes);
        for capture in &mut self.captures {
            capture.died(at, place, bytes, pool.meta(frame), reason);
        }
    }

    /// The events since the last call, in order.
    pub fn take(&mut self) -> Vec<Event> {
        self.drain().collect()
    }

    /// The same without a list of them: nothing is allocated, now or for the events that come next.
    pub fn drain(&mut self) -> Events<'_> {
        self.log.drain()
    }

    /// Where the events that wait end, for [`Self::fates`].
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.log.end())
    }

    /// The events that came since `mark` and were not taken, which they are not by this; translations and
    /// judgements left out.
    pub fn fates(&self, mark: Mark) -> impl Iterator<Item = Event> {
        self.log.fates(mark.0)
    }

    /// Events that were left out because nobody took the earlier ones.
    #[must_use]
    pub const fn lost_events(&self) -> u64 {
        self.log.lost()
    }
}

/// A packet that died behind its Ethernet header, as a frame with an Ethernet header of zeros; `None` if
/// `bytes` are a frame already or nothing that can be read.
fn framed(bytes: &[u8]) -> Option<Vec<u8>> {
    if is_frame(bytes) {
        return None;
    }
    let packet = Packet::parse(bytes).ok()?;
    let protocol = if packet.source.is_ipv4() {
        EthernetProtocol::Ipv4
    } else {
        EthernetProtocol::Ipv6
    };
    let zero = EthernetAddress([0; 6]);
    let mut frame = vec![0; ETHER_LEN];
    Ether::emit(&mut frame, zero, zero, protocol);
    frame.extend_from_slice(bytes);
    Some(frame)
}

fn is_frame(bytes: &[u8]) -> bool {
    let Ok(ether) = Ether::parse(bytes) else {
        return false;
    };
    match ether.protocol {
        EthernetProtocol::Arp => true,
        EthernetProtocol::Ipv4 | EthernetProtocol::Ipv6 => {
            Packet::parse(&bytes[ether.payload..]).is_ok()
        }
        _ => false,
    }
}
