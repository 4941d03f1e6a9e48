//! A [write queue](super::queue) ends: smoltcp takes over what is in it.
//!
//! smoltcp has not heard of what was acknowledged meanwhile, and its numbers are moved on by that. It has to know the
//! window and to have its timer running, and its buffer has to go on in the middle where it would, since segments end
//! with it: so it is given as many bytes as come before there, which nobody sees, and has all but the last of these
//! acknowledged; the last is, when the last of the true ones was. What it costs is what was written since it began.

use switch::{Pool, Time};

use super::emit::Reply;
use super::engine::TcpEngine;
use super::paths::{PathIx, Shared};
use super::queue::{Queue, Timer};
use super::smol::Smol;

impl Smol {
    /// Ends: smoltcp is given what is not acknowledged, and learns of what has been.
    #[cold]
    #[inline(never)]
    pub(super) fn settle(&mut self, shared: &mut Shared, path: PathIx, pool: &mut Pool) {
        if self.held.is_on() {
            self.part(shared, path, pool);
        }
        let queue = &mut self.queue;
        let (bytes, sent) = queue.gather(pool);
        queue.clear(pool);
        let queue = core::mem::take(queue);
        let field = self.pingpong.window_told().unwrap_or(queue.field);
        let (repeats, waits) = (self.repeats(), self.socket().nagle_enabled());
        self.set_nodelay(true);
        self.pingpong.sent_to(queue.start());
        let first_at = sent.first().map_or(queue.acked_at, |(_, at)| *at);
        let first_at = first_at.min(queue.acked_at);
        let told = self.move_on((shared, path), &queue, first_at, field);
        let data = (&bytes[..], &sent[..]);
        self.give((shared, path), first_at, data, (queue.before(), &told));
        debug_assert_eq!(self.pingpong.ends().0, queue.next);
        debug_assert_eq!(self.send_queue(), queue.queued());
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
        let told = self.move_on((shared, path), &queue, queue.acked_at, field);
        debug_assert!(told.is_empty() && self.send_queue() == 0);
        self.set_repeats(repeats);
        if queue.tells() {
            // It was a byte, as a probe is, which says nothing of that.
            self.pingpong.set_told(self.field());
        }
        self.queue.keep(queue);
    }

    /// Moves smoltcp on to the first byte that is to be given; what it is to be told of that later, which was sent first at
    /// `at`: when, and the window's field.
    fn move_on(
        &mut self,
        (shared, path): (&mut Shared, PathIx),
        queue: &Queue,
        at: Time,
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
        if is_empty && !queue.tells() {
            self.pingpong.pass_sent(queue.acked);
            if field != queue.field {
                self.feed_ack((shared, path), at, start, field);
            }
            return Vec::new();
        }
        let before = match queue.at {
            _ if is_empty => 1,
            0 => queue.capacity,
            at => at,
        };
        let passed = queue.acked.wrapping_sub(before as u32);
        self.pingpong.pass_sent(passed);
        self.send_before((shared, path), at, start, before);
        if !is_empty {
            return told.collect();
        }
        for (at, ack, field) in told {
            self.feed_ack((shared, path), at, ack, field);
        }
        Vec::new()
    }

    /// Has smoltcp be given `count` bytes that came before the number `una`, and send the last of them: so its buffer goes on
    /// where it would. It believes that the others are acknowledged without having sent them, so that a peer that has
    /// this happen often makes nobody work for all of a long buffer.
    fn send_before(
        &mut self,
        (shared, path): (&mut Shared, PathIx),
        at: Time,
        una: u32,
        count: usize,
    ) {
        let from = una.wrapping_sub(count as u32);
        self.pingpong.sent_to(from);
        self.feed_ack((shared, path), at, from, u16::MAX);
        self.put_blank(count);
        self.feed_ack((shared, path), at, una.wrapping_sub(1), u16::MAX);
        let last = self.output_unseen(shared, path, at);
        debug_assert!(last.is_some() && self.pingpong.ends().0 == una);
    }

    /// Gives smoltcp what is in the stores: has it send what was sent, when it was, and hear meanwhile what windows were `told`.
    fn give(
        &mut self,
        (shared, path): (&mut Shared, PathIx),
        at: Time,
        (bytes, sent): (&[u8], &[(usize, Time)]),
        (before, told): (usize, &[(Time, u32, u16)]),
    ) {
        let (mut given, mut last_at) = (0, at);
        for (end, at) in sent {
            if given == before {
                // What was sent later may have been when smoltcp's timer, which is to be stopped, has run out.
                break;
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
