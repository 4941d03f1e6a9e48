//! A [write queue](super::queue) ends: smoltcp takes over what is in it.
//!
//! smoltcp has not heard of what was acknowledged meanwhile, and its numbers are moved on by that. It has to know the
//! window and to have its timer running, and its buffer has to go on in the middle where it would, since segments end
//! with it: so it is given as many bytes as come before there, which nobody sees, and has all but the last of these
//! acknowledged; the last is, when the last of the true ones was. What it costs is what was written since it began.
//!
//! smoltcp [times](super::rtt) the first segment that it sends while it times none. That is to be the one that has been timed here:
//! what was sent before that, and is not acknowledged, is sent while it times one of those bytes.

use switch::{Pool, Time};

use super::emit::Reply;
use super::engine::TcpEngine;
use super::paths::{PathIx, Shared};
use super::queue::{Queue, Timer};
use super::rtt::Rtt;
use super::segment::after;
use super::smol::Smol;

/// What is in the stores.
struct Replay {
    bytes: Vec<u8>,
    /// What of these has been sent: where each part ends, and when it was.
    sent: Vec<(usize, Time)>,
    /// So many had been when something was acknowledged last.
    before: usize,
    /// Where the segment ends that is timed, if that is one of these, and when it was sent.
    timed: Option<(usize, Time)>,
}

impl Replay {
    fn new(queue: &Queue, pool: &Pool, timed: Option<(Time, u32)>) -> Self {
        let (bytes, sent) = queue.gather(pool);
        let start = queue.start();
        let timed = timed.filter(|(_, end)| after(*end, start));
        let mut replay = Self {
            bytes,
            sent,
            before: queue.before(),
            timed: timed.map(|(at, end)| (end.wrapping_sub(start) as usize, at)),
        };
        replay.mark(queue.others > 0);
        replay
    }

    /// Has a part end with the segment that is timed, and none in it. If it is not the first that is sent with nothing else timed,
    /// a part is its last byte.
    fn mark(&mut self, is_first: bool) {
        let Some((end, at)) = self.timed else {
            return;
        };
        let from = match end <= self.before {
            true if is_first => 0,
            true => end - 1,
            false => self.before,
        };
        self.cut(from);
        self.cut(end);
        self.sent.retain(|(part, _)| *part <= from || *part >= end);
        for part in &mut self.sent {
            if part.0 == end {
                part.1 = at;
            }
        }
    }

    /// Has a part end here.
    fn cut(&mut self, end: usize) {
        let place = self.sent.partition_point(|(part, _)| *part < end);
        if let Some((part, at)) = self.sent.get(place).copied()
            && part > end
            && end > 0
        {
            self.sent.insert(place, (end, at));
        }
    }

    /// What is timed, if that was sent before something was acknowledged last.
    fn early(&self) -> Option<(usize, Time)> {
        self.timed.filter(|(end, _)| *end <= self.before)
    }

    fn first_at(&self) -> Option<Time> {
        self.sent.first().map(|(_, at)| *at)
    }
}

impl Smol {
    /// Ends: smoltcp is given what is not acknowledged, and learns of what has been.
    #[cold]
    #[inline(never)]
    pub(super) fn settle(&mut self, shared: &mut Shared, path: PathIx, pool: &mut Pool) {
        if self.held.is_on() {
            self.part(shared, path, pool);
        }
        let queue = &mut self.queue;
        let timed = self.pingpong.rtt.timed();
        let replay = Replay::new(queue, pool, timed);
        queue.clear(pool);
        let queue = core::mem::take(queue);
        let field = self.pingpong.window_told().unwrap_or(queue.field);
        let (repeats, waits) = (self.repeats(), self.socket().nagle_enabled());
        self.set_nodelay(true);
        self.pingpong.sent_to(queue.start());
        if replay.timed.is_some() {
            self.pingpong.rtt.set_timed(None);
        }
        let first_at = replay.first_at().unwrap_or(queue.acked_at);
        let first_at = first_at.min(queue.acked_at);
        let early = replay.early().filter(|_| queue.others == 0);
        let told = self.move_on((shared, path), &queue, (first_at, early), field);
        self.give((shared, path), (first_at, early), &replay, &told);
        debug_assert_eq!(self.pingpong.ends().0, queue.next);
        debug_assert_eq!(self.send_queue(), queue.queued());
        // Segments may have become shorter meanwhile, but not later.
        let timed_at = |timed: Option<(Time, u32)>| timed.map(|(at, _)| at);
        debug_assert_eq!(timed_at(self.pingpong.rtt.timed()), timed_at(timed));
        self.pingpong.set_window(field);
        self.set_repeats(repeats);
        self.set_nodelay(!waits);
        self.asks_at = match queue.timer {
            Timer::Probe(at) if queue.is_fresh => Some(at),
            _ => None,
        };
        self.queue.keep(queue);
    }

    /// Ends when it is empty, without a pool: smoltcp learns of this window, and of what it told.
    #[cold]
    pub(super) fn end_queue(&mut self, (shared, path): (&mut Shared, PathIx), field: u16) {
        let queue = core::mem::take(&mut self.queue);
        let repeats = self.repeats();
        let told = self.move_on((shared, path), &queue, (queue.acked_at, None), field);
        debug_assert!(told.is_empty() && self.send_queue() == 0);
        self.set_repeats(repeats);
        if queue.tells() {
            // It was a byte, as a probe is, which says nothing of that.
            self.pingpong.set_told(self.field());
        }
        self.queue.keep(queue);
    }

    /// Moves smoltcp on to the first byte that is to be given; what it is to be told of that later, which was sent first at
    /// `at`: when, and the window's field. What is timed may be `early`.
    fn move_on(
        &mut self,
        (shared, path): (&mut Shared, PathIx),
        queue: &Queue,
        (at, early): (Time, Option<(usize, Time)>),
        field: u16,
    ) -> Vec<(Time, u32, u16)> {
        let start = queue.start();
        let is_empty = queue.is_fresh || start == queue.end;
        let closed = queue.opened_at.map(|_| (queue.acked_at, queue.una, 0));
        let last_at = queue.opened_at.unwrap_or(queue.acked_at);
        let told = closed.into_iter().chain([(last_at, queue.una, field)]);
        if queue.others > 0 && queue.lags {
            return told.collect();
        }
        if queue.others > 0 {
            if field != queue.field {
                self.feed_ack((shared, path), at, queue.una, field);
            }
            return Vec::new();
        }
        if self.pingpong.rtt.keeps() {
            let una = queue.una.wrapping_sub(queue.acked);
            self.measure((shared, path), queue.acked_at, (una, queue.field));
        }
        if is_empty && !queue.tells() {
            self.pingpong.pass_sent(queue.acked);
            if field != queue.field {
                self.feed_ack((shared, path), at, start, field);
            }
            return Vec::new();
        }
        let before = match queue.at {
            _ if is_empty => 1,
            1 if early.is_some() => queue.capacity + 1,
            0 => queue.capacity,
            at => at,
        };
        let passed = queue.acked.wrapping_sub(before as u32);
        self.pingpong.pass_sent(passed);
        let until = early.map_or(queue.acked_at, |(_, at)| at);
        let is_two = early.is_some();
        self.send_before((shared, path), until, start, (before, is_two));
        self.pingpong.set_since(at);
        if !is_empty {
            return told.collect();
        }
        for (at, ack, field) in told {
            self.feed_ack((shared, path), at, ack, field);
        }
        Vec::new()
    }

    /// Has smoltcp be given `count` bytes that came before the number `una`, and send the last of them, or the last two: so its
    /// buffer goes on where it would. The first that it sends is timed `until` then. It believes that the others are acknowledged
    /// without having sent them, so that a peer that has this happen often makes nobody work for all of a long buffer.
    fn send_before(
        &mut self,
        (shared, path): (&mut Shared, PathIx),
        until: Time,
        una: u32,
        (count, is_two): (usize, bool),
    ) {
        let at = self.pingpong.rtt.before(until);
        let others = usize::from(is_two);
        let from = una.wrapping_sub(count as u32);
        self.pingpong.sent_to(from);
        self.feed_ack((shared, path), at, from, u16::MAX);
        self.put_blank(count - others);
        let last = una.wrapping_sub(1 + u32::from(is_two));
        self.feed_ack((shared, path), at, last, u16::MAX);
        self.output_unseen(shared, path, at);
        if is_two {
            self.send_unseen(&[0]);
            self.output_unseen(shared, path, at);
        }
        debug_assert_eq!(self.pingpong.ends().0, una);
    }

    /// Has smoltcp, at rest behind the number `una` with a window of this field, measure the times that passed it by: each as that
    /// of a byte.
    #[cold]
    #[inline(never)]
    pub(super) fn measure(
        &mut self,
        (shared, path): (&mut Shared, PathIx),
        at: Time,
        (una, field): (u32, u16),
    ) {
        let (told, repeats) = (self.pingpong.told_last(), self.repeats());
        let next = self.pingpong.ends().0;
        let times: Vec<_> = self.pingpong.rtt.give().collect();
        let count = times.len() as u32;
        self.pingpong.pass_sent(count.wrapping_neg());
        let mut from = una.wrapping_sub(count);
        self.pingpong.sent_to(from);
        self.feed_ack((shared, path), at, from, u16::MAX);
        for time in times {
            self.put_blank(1);
            self.output_unseen(shared, path, Rtt::earlier(at, time));
            from = from.wrapping_add(1);
            self.feed_ack((shared, path), at, from, u16::MAX);
        }
        self.feed_ack((shared, path), at, una, field);
        debug_assert!(self.pingpong.ends().0 == una && self.socket().send_queue() == 0);
        self.pingpong.sent_to(next);
        self.pingpong.set_told_last(told);
        self.set_repeats(repeats);
    }

    /// Gives smoltcp what is in the stores: has it send what was sent, when it was, and hear meanwhile what windows were `told`.
    fn give(
        &mut self,
        (shared, path): (&mut Shared, PathIx),
        (at, early): (Time, Option<(usize, Time)>),
        replay: &Replay,
        told: &[(Time, u32, u16)],
    ) {
        let Replay {
            bytes,
            sent,
            before,
            ..
        } = replay;
        let before = *before;
        let (mut given, mut last_at) = (0, at);
        for (end, at) in sent {
            if given == before {
                // What was sent later may have been when smoltcp's timer, which is to be stopped, has run out.
                break;
            }
            if let Some((_, at)) = early.filter(|(end, _)| given + 1 == *end) {
                // Nothing is timed from now on.
                let una = self.pingpong.ends().0.wrapping_sub(given as u32);
                self.feed_ack((shared, path), at, una.wrapping_sub(1), u16::MAX);
            }
            given += self.send_unseen(&bytes[given..before.min(*end)]);
            while self.output_unseen(shared, path, *at).is_some() {}
        }
        if before == 0 && !told.is_empty() {
            // smoltcp's buffer would begin anew if it were empty.
            let end = sent.first().map_or(bytes.len(), |(end, _)| *end);
            given += self.send_unseen(&bytes[..end]);
        }
        for (at, ack, field) in told {
            self.feed_ack((shared, path), *at, *ack, *field);
            last_at = *at;
        }
        for (end, at) in sent {
            given += self.send_unseen(&bytes[given.min(*end)..*end]);
            last_at = last_at.max(*at);
            while self.output_unseen(shared, path, last_at).is_some() {}
        }
        given += self.send_unseen(&bytes[given..]);
        debug_assert_eq!(given, bytes.len(), "no room in smoltcp's buffer");
    }

    /// Has smoltcp hear an acknowledgement that came before, or what it makes of several.
    pub(super) fn feed_ack(
        &mut self,
        (shared, path): (&mut Shared, PathIx),
        at: Time,
        ack: u32,
        field: u16,
    ) {
        let mut reply = Reply::new();
        let mut packet = self.pingpong.acknowledging(ack, field);
        let widest = self.pingpong.widest_field();
        self.input(shared, path, at, &mut packet, false, &mut reply);
        self.pingpong.set_widest(widest);
        debug_assert!(reply.take().is_empty(), "an answer that was not sent");
    }
}
