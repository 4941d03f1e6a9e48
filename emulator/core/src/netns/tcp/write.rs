//! A stream's writes go into its [write queue](super::queue), its segments leave from there, and what acknowledges them is
//! heard there.
//!
//! Begins when smoltcp has sent all that it has: that may be under way still, and goes on to be its own.

use switch::wire::Packet;
use switch::{Frame, Pool, Time};

use super::clock::{ceiling, instant, time};
use super::emit::{Emitter, Marks};
use super::engine::{Next, TcpEngine};
use super::express::MIN_RTO;
use super::held::Heard;
use super::machine::Machine;
use super::paths::{PathIx, Shared};
use super::pingpong::{HEADERS, is_alone};
use super::queue::{Cut, Timer};
use super::run::guarded;
use super::segment::Segment;
use super::smol::Smol;
use super::{Tcp, TcpCx};

/// The fewest bytes of a write to begin with, unless it is an answer.
pub(super) const LEAST: usize = 4_096;

impl Tcp {
    /// Takes in a segment that came the long way, if the [queue](super::queue::Queue) of its connection waits for it; `None` if the
    /// engine panicked.
    pub(super) fn heed(
        &mut self,
        cx: &mut TcpCx<'_>,
        slot: u32,
        frame: &Frame,
        packet: &Packet,
        segment: &Segment,
    ) -> Option<bool> {
        let Some(conn) = self.slots.conn_at(slot) else {
            return Some(false);
        };
        let engine = match &mut conn.engine {
            Some(Machine::Engine(engine)) if engine.queue.is_on() => engine,
            _ => return Some(false),
        };
        let header = cx.pool.bytes(frame)[packet.transport + 12] >> 4;
        let heard = Heard {
            seq: segment.seq,
            ack: segment.ack.wrapping_sub(conn.marks.shift.unwrap_or(0)),
            window: segment.window,
            flags: segment.flags,
            header: usize::from(header) * 4,
            len: segment.payload as usize,
            burst: false,
            room: 0,
        };
        let (shared, path) = (&mut self.shared, conn.path);
        match guarded(|| engine.heed((shared, path), cx.now, &heard)) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => {
                self.crashed(slot);
                return None;
            }
        }
        engine.queue.trim(cx.pool);
        self.counters.engine_runs += 1;
        conn.hear(cx.now, segment);
        Some(true)
    }
}

impl Smol {
    fn cut(&self, shared: &Shared, path: PathIx) -> Cut {
        let mss = (shared.mtu(path) - HEADERS).min(usize::from(self.pingpong.mss()));
        let burst = shared.burst(path);
        Cut {
            mss,
            most: if burst > 0 { burst - HEADERS } else { mss },
            waits: self.socket().nagle_enabled(),
        }
    }

    /// Takes data into frames if it may; how many bytes, `None` if smoltcp has to take them.
    #[inline(never)]
    pub(super) fn write(
        &mut self,
        (shared, path): (&mut Shared, PathIx),
        pool: &mut Pool,
        (now, marks, longer): (Time, &Marks, usize),
        bytes: &[u8],
    ) -> Option<usize> {
        if self.queue.is_on() && self.queue.queued() == 0 && bytes.len() < LEAST {
            self.settle(shared, path, pool);
            return None;
        }
        if !self.queue.is_on() {
            let queued = self.socket().send_queue();
            let may = pool.is_roomy() && (queued == 0 || marks.is_all_sent(queued));
            let said = match may {
                true => self.may_write((shared, path), now, longer)?,
                false => return None,
            };
            self.fill((shared, path), pool, now, (&said, bytes.len()));
            self.pingpong.reuse(said);
        }
        Some(self.fill((shared, path), pool, now, (bytes, 0)))
    }

    /// Puts data into the queue, or what remains of it into smoltcp's buffer, if there are no frames; how many bytes.
    fn fill(
        &mut self,
        (shared, path): (&mut Shared, PathIx),
        pool: &mut Pool,
        now: Time,
        (bytes, follow): (&[u8], usize),
    ) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        if !self.queue.is_on() {
            return self.send_unseen(bytes);
        }
        let cut = self.cut(shared, path);
        self.queue.trim(pool);
        let room = self.queue.capacity - self.queue.queued();
        let taken = self.queue.write(pool, now, &cut, (bytes, follow));
        if taken < bytes.len().min(room) {
            self.settle(shared, path, pool);
            return taken + self.send_unseen(&bytes[taken..]);
        }
        taken
    }

    /// smoltcp, or what passes it by, has sent all that it has and has nothing else to do, and what it would write is known. The
    /// queue begins then; what is to be sent first is returned.
    fn may_write(
        &mut self,
        (shared, path): (&mut Shared, PathIx),
        now: Time,
        longer: usize,
    ) -> Option<Vec<u8>> {
        let has_turn = self.has_turn();
        if self.pingpong.is_on() && !has_turn {
            self.catch_up(shared, path);
        }
        let may_stream = has_turn || !self.held.is_on() && self.pingpong.may_stream();
        let may_stream = may_stream && self.pingpong.rtt.is_even();
        let field = self.pingpong.window_told().filter(|_| may_stream)?;
        let others = self.socket().send_queue();
        let timer = match others {
            0 => Timer::Idle,
            _ => self.timer(shared, path, now),
        };
        // A closed window says nothing of which timer runs.
        let is_timed = match others {
            0 => field > 0 || !has_turn,
            _ => field > 0 && timer.at() > ceiling(now),
        };
        if !is_alone(self.socket()) || !is_timed {
            return None;
        }
        // What is owed goes with data, if that may be sent.
        let is_current = self.pingpong.is_current();
        let is_held = self.held.is_on() || self.pingpong.unanswered().is_some();
        let is_owing = is_held || self.owes && !is_current && others == 0 && field > 0;
        // The numbers are those of the headers that smoltcp wrote last, if it wrote any.
        let is_known = is_current || self.pingpong.is_up_to_date();
        if !is_known || !is_current && !is_owing && self.owes {
            return None;
        }
        let said = self.leave_pingpong();
        let (next, shift) = (self.pingpong.ends().0, self.pingpong.peer_shift());
        let capacity = self.send_capacity();
        let at = (self.put_at + capacity - others) % capacity;
        let queue = &mut self.queue;
        queue.begin(HEADERS + longer);
        queue.begin_at(next, others);
        (queue.capacity, queue.at) = (capacity, at);
        (queue.field, queue.shift) = (field, shift);
        queue.window = usize::from(field) << shift;
        (queue.tells_more, queue.is_owing) = (!is_current && !is_owing, is_owing);
        queue.acked_at = now;
        queue.timer = timer;
        Some(said)
    }

    /// smoltcp's timer, if it has nothing to send.
    fn timer(&self, shared: &mut Shared, path: PathIx, now: Time) -> Timer {
        let at = shared.iface(path).poll_at(instant(now), &self.set);
        at.map_or(Timer::Idle, |at| Timer::Again(time(at)))
    }

    /// smoltcp need not measure now what an acknowledgement of all up to `ack` ends.
    #[inline]
    pub(super) fn passes(&self, now: Time, ack: u32) -> bool {
        let may_keep = self.queue.others == 0;
        self.pingpong.rtt.passes(now, ack, may_keep)
    }

    /// Takes a segment in if it is an acknowledgement that the queue waits for.
    pub(super) fn heed(
        &mut self,
        (shared, path): (&mut Shared, PathIx),
        now: Time,
        heard: &Heard,
    ) -> bool {
        let (expected, since) = (self.pingpong.ends().1, self.pingpong.since());
        if self.queue.is_owing || !self.queue.takes(now, heard, expected, since) {
            return false;
        }
        if !self.passes(now, heard.ack) {
            return false;
        }
        let (una, others) = (self.queue.una, self.queue.others as u32);
        let new = heard.ack.wrapping_sub(una);
        if new < others && self.pingpong.rtt.ended(heard.ack).is_some() {
            // smoltcp hears of less, and goes on to time.
            return false;
        }
        if others > 0 && new >= others {
            self.feed_ack((shared, path), now, una.wrapping_add(others), heard.window);
            (self.queue.field, self.queue.lags) = (heard.window, false);
        } else if others > 0 && new > 0 {
            // The last byte's acknowledgement comes with the window, when it is known what was sent before.
            if new > 1 || self.queue.lags || self.queue.field != u16::MAX {
                let repeats = self.repeats();
                self.feed_ack((shared, path), now, heard.ack.wrapping_sub(1), u16::MAX);
                self.set_repeats(repeats);
            }
            (self.queue.field, self.queue.lags) = (u16::MAX, true);
        }
        self.queue.hear(now, heard);
        self.pingpong.rtt.pass(now, heard.ack);
        self.pingpong.set_window(heard.window);
        true
    }

    /// Has what is owed go with what is due; whether it is known then what to send.
    pub(super) fn pay(&mut self, shared: &mut Shared, path: PathIx, now: Time) -> bool {
        if self.queue.due(&self.cut(shared, path)) == 0 {
            return true;
        }
        self.queue.is_owing = !self.owe_nothing(shared, path, now);
        // If smoltcp had written no plain segment, its numbers are known only now.
        self.queue.go_on_from(self.pingpong.ends().0);
        !self.queue.is_owing
    }

    /// Sends the next segment, if one is due; whether it did.
    pub(super) fn send_queued(
        &mut self,
        shared: &Shared,
        path: PathIx,
        now: Time,
        out: &mut Emitter<'_>,
    ) -> bool {
        let cut = self.cut(shared, path);
        let count = self.queue.due(&cut);
        if count == 0 {
            return false;
        }
        let queue = &mut self.queue;
        let frame = match queue.is_whole(count) {
            true => queue.take_whole(out.pool, now),
            false => {
                let frame = out.pool.reserve(queue.front + count);
                queue.copy_next(out.pool, now, count, frame.as_ref());
                frame
            }
        };
        let is_last = queue.flight() + count == queue.queued();
        let mut head = self.pingpong.saying(self.hop_limit(), count, is_last);
        self.window().tell(&mut head);
        let gso_size = if count > cut.mss { cut.mss as u16 } else { 0 };
        match frame {
            Some(frame) => {
                out.pool.number(&frame);
                let front = self.queue.front;
                out.pool.bytes_mut(&frame)[front - HEADERS..front].copy_from_slice(&head);
                out.finish(frame, gso_size);
            }
            None => out.counters.out_of_frames += 1,
        }
        let queue = &mut self.queue;
        queue.next = queue.next.wrapping_add(count as u32);
        queue.has_spoken = true;
        if !matches!(queue.timer, Timer::Again(_)) {
            queue.timer = Timer::Again(ceiling(now) + MIN_RTO);
        }
        self.pingpong.sent_to(queue.next);
        self.pingpong.rtt.send(now, queue.next);
        true
    }

    /// What is under way is to be sent again, which is smoltcp's.
    pub(super) fn is_overdue(&self, now: Time) -> bool {
        self.queue.timer.at() <= ceiling(now)
    }

    /// When the queue has something to do.
    pub(super) fn next_queued(&self, shared: &Shared, path: PathIx, now: Time) -> Next {
        self.queue.next(now, &self.cut(shared, path))
    }
}
