//! The express lane of segments: those with plain headers, which come here before they are routed.
//!
//! Most change nothing but numbers of an open connection: they come in order, nothing waits to be sent, nothing
//! was lost. Such a segment is read once from its frame, finds its connection by a hint, and the engine is not
//! asked when it wants to run: what it says then is known. It may say a time later than the connection is armed
//! for, which costs one early look at most. The others, which open or end a connection, go on to [`Tcp::input`],
//! to which those of other packets come by the long way. Tests run the same traffic both ways, and builds with
//! assertions ask the engine after all.

use core::time::Duration;

use switch::DropReason;
use switch::wire::{ETHER_LEN, Packet};
use switch::{Frame, Pool, Time};

use super::clock::ceiling;
use super::conn::{ACK_DELAY, Conn, LARGE_MTU, Owner, Seen};
use super::emit::Emitter;
use super::engine::{Next, TcpEngine, TcpState};
use super::held::Kept;
use super::input::is_possible;
use super::machine::Machine;
use super::plain::{Between, Plain};
use super::run::guarded;
use super::segment::{ACK, SYN, Segment};
use super::told::Told;
use super::{Tcp, TcpCx};

/// No engine sends again sooner.
pub(super) const MIN_RTO: Duration = Duration::from_secs(1);

/// Slots of connections that segments came for last.
#[derive(Debug, Default)]
pub(super) struct Hints([u32; 16]);

impl Conn {
    /// Everything given to the engine is on the wire, and nobody but the engine watches the time.
    #[inline]
    fn is_calm(&self, queued: usize) -> bool {
        self.marks.is_all_sent(queued)
            && !self.write_shut
            && self.options.keepalive.is_none()
            && self.asked == 0
            && self.ask_at.is_none()
    }

    /// It is armed for `at` or before.
    #[inline]
    fn is_armed_by(&self, at: Time) -> bool {
        self.armed <= at
    }

    /// The engine, which has just sent, has nothing to do before the time that is armed.
    #[inline]
    pub(super) fn rests(&self, now: Time) -> bool {
        let queued = self.send_queue();
        self.is_calm(queued) && (queued == 0 || self.is_armed_by(ceiling(now) + MIN_RTO))
    }

    /// The same after the engine took in a plain segment with so much data, in order, when no
    /// acknowledgement was due; `queued` bytes wait for one. What is due at this moment goes with the segment.
    #[inline]
    fn rests_after(&self, now: Time, payload: usize, queued: usize) -> bool {
        let now = ceiling(now);
        let is_armed = match (payload, queued) {
            (0, 0) => true,
            (0, _) => self.is_armed_by(now + MIN_RTO),
            // That is sooner.
            _ => self.mtu < LARGE_MTU && self.is_armed_by(now + ACK_DELAY),
        };
        is_armed && !self.is_armed_by(now) && self.is_calm(queued)
    }
}

/// A plain segment that was not taken.
#[derive(Debug)]
pub(in crate::netns) enum Refusal {
    /// It is somebody else's too, or broken: nothing has happened, and the frame is as it was.
    Unread(Frame),
    /// It was read, and is to be dropped for this reason; the frame starts at its IP header.
    Dropped(Frame, DropReason),
}

impl Tcp {
    /// Segments for the connection in `slot`, which has just begun, will come soon.
    #[inline]
    pub(super) fn expect_plain(&mut self, slot: u32) {
        if let Some(conn) = self.slots.conn_at(slot) {
            self.hints.0[conn.incoming.place()] = slot;
        }
    }

    /// The connection that a segment is for.
    #[inline(always)]
    pub(super) fn find_plain<E: Between>(&mut self, segment: &Plain<E>) -> Option<u32> {
        let place = segment.ends.place();
        let hint = self.hints.0[place];
        let conn = self.slots.conn_at(hint);
        if conn.is_some_and(|conn| segment.ends.are_of(conn) && conn.mapped) {
            return Some(hint);
        }
        let slot = self.demux.get(&self.slots, &segment.ends.tuple())?;
        self.hints.0[place] = slot;
        Some(slot)
    }

    /// Takes a plain segment for this namespace, in a frame that starts at its Ethernet header.
    ///
    /// # Errors
    /// See [`Refusal`].
    #[inline(always)]
    pub(in crate::netns) fn input_plain<E: Between>(
        &mut self,
        cx: &mut TcpCx<'_>,
        frame: Frame,
        segment: &Plain<E>,
    ) -> Result<(), Refusal> {
        if segment.told.flags & (SYN | ACK) == SYN {
            return match self.demux.get(&self.slots, &segment.ends.tuple()) {
                None => self.input_apart(cx, frame, segment),
                Some(_) => self.input_event(cx, frame, segment),
            };
        }
        let Some(slot) = self.find_plain(segment) else {
            return self.input_apart(cx, frame, segment);
        };
        let conn = self.slots.conn_at(slot);
        if !conn.is_some_and(|conn| conn.is_brief()) {
            return self.input_stream(cx, slot, frame, segment);
        }
        match self.input_brief(cx, slot, frame, segment) {
            Ok(()) => Ok(()),
            Err(frame) => self.input_event(cx, frame, segment),
        }
    }

    /// The same for the connection in `slot`, which has an engine.
    #[inline(never)]
    fn input_stream<E: Between>(
        &mut self,
        cx: &mut TcpCx<'_>,
        slot: u32,
        frame: Frame,
        segment: &Plain<E>,
    ) -> Result<(), Refusal> {
        let Some(conn) = self.slots.conn_at(slot) else {
            return self.input_event(cx, frame, segment);
        };
        debug_assert!(conn.mapped, "segments find no other");
        let engine = match &mut conn.engine {
            Some(Machine::Engine(engine)) if segment.is_data() => engine,
            _ => return self.input_event(cx, frame, segment),
        };
        let (before, capacity) = (engine.glance(), engine.recv_capacity());
        if before.state != TcpState::Established || !matches!(conn.owner, Owner::App) {
            return self.input_event(cx, frame, segment);
        }
        let is_roomy = cx.pool.is_roomy();
        let Some((meta, bytes)) = cx.pool.view_unique(&frame) else {
            return Err(Refusal::Unread(frame));
        };
        if !segment.is_sound(bytes, meta.csum_partial) {
            return Err(Refusal::Unread(frame));
        }
        let mut kept = Kept::Not;
        let is_burst = meta.gso_size > 0;
        let is_queued = engine.queue.is_on();
        let mut is_writing = is_queued;
        let may_turn = match is_queued {
            true => segment.told.payload > 0,
            false => is_burst && engine.is_by_smoltcp(),
        };
        let is_answer = is_burst && engine.pingpong.is_on();
        if engine.held.is_eager() || may_turn || is_answer || is_writing {
            let room = Pool::room_of(&frame);
            let heard = segment.heard(is_burst, room, conn.marks.shift);
            let (shared, path) = (&mut self.shared, conn.path);
            if may_turn {
                match guarded(|| engine.turn((shared, path), cx.now, &heard)) {
                    Some(has_turned) => is_writing &= !has_turned,
                    None => {
                        cx.pool.free(frame);
                        self.crashed(slot);
                        return Ok(());
                    }
                }
            }
            kept = match is_writing {
                true => match guarded(|| engine.heed((shared, path), cx.now, &heard)) {
                    Some(true) => Kept::Heeded,
                    Some(false) => Kept::Not,
                    None => {
                        cx.pool.free(frame);
                        self.crashed(slot);
                        return Ok(());
                    }
                },
                false if is_roomy => engine.keep(cx.now, &heard, &mut self.reply),
                false => Kept::Not,
            };
        }
        let is_acked = conn.marks.may_be_acked(segment.told.ack);
        if kept == Kept::Not && (is_writing || engine.held.is_on() || !is_acked) {
            return self.input_event(cx, frame, segment);
        }
        self.now = cx.now;
        self.counters.segments_in += 1;
        let received = conn.read.wrapping_add(before.recv_queue as u32);
        let expected = conn.peer_isn.wrapping_add(received).wrapping_add(1);
        // What smoltcp acknowledges in an answer, it believes to owe: the next data is acknowledged at once.
        let owed = conn.marks.acking != expected || kept == Kept::Not && engine.owes;
        let Told {
            ack,
            window,
            payload,
            ..
        } = segment.told;
        let packet = &mut bytes[ETHER_LEN..ETHER_LEN + segment.len];
        if let Some(shift) = conn.marks.shift
            && let Some(place) = packet[E::HEADER + 8..].first_chunk_mut()
        {
            *place = ack.wrapping_sub(shift).to_be_bytes();
        }
        let (shared, path, reply) = (&mut self.shared, conn.path, &mut self.reply);
        self.counters.engine_runs += 1;
        let after = match kept {
            Kept::Not => guarded(|| {
                engine.input(shared, path, cx.now, E::for_engine(packet), is_burst, reply);
                engine.glance()
            }),
            _ => Some(engine.glance()),
        };
        if let Kept::Waits(new) = kept {
            let end = ETHER_LEN + segment.len;
            engine.held.push(frame, end - new, end);
            self.leads_train = (!is_burst).then_some(E::FAMILY);
        } else {
            cx.pool.free(frame);
        }
        if is_queued {
            engine.queue.trim(cx.pool);
        }
        let Some(after) = after else {
            self.crashed(slot);
            return Ok(());
        };
        conn.hear_sign(cx.now);
        // The acknowledgement of what is not in the window is not believed.
        let progress = after.send_queue < before.send_queue;
        let ack = if progress { ack } else { conn.marks.acked };
        conn.acknowledged(cx.now, ack, window, after.state);
        let answer = self.reply.take();
        let is_answered = !answer.is_empty();
        if is_answered {
            let v6 = E::written(conn);
            let (stamp, counters) = (&mut self.stamp, &mut self.counters);
            let mut emitter = Emitter::new(cx, stamp, counters, &mut conn.marks, v6);
            emitter.copy(answer);
        }
        if after.state != TcpState::Established {
            let before = Seen {
                state: before.state,
                recv_queue: before.recv_queue,
            };
            self.settle(cx, slot, before, 0, 0);
            return Ok(());
        }
        let received = after.recv_queue - before.recv_queue;
        let is_news = conn.finds_room() || received > 0;
        if !conn.queued {
            let is_quiet = !is_answered
                && !is_burst
                && !owed
                && window != 0
                && received == usize::from(payload)
                && (progress || received > 0)
                && !conn.window_opened_to(capacity, after.recv_queue);
            if is_quiet && conn.rests_after(cx.now, received, after.send_queue) {
                self.certify(cx.now, slot);
            } else {
                self.touch(cx.now, slot);
            }
        }
        if is_news {
            cx.wake(self.slots.id(slot));
        }
        Ok(())
    }

    /// The same for one that belongs to no connection: it opens one, or is for what is left of one.
    #[inline(never)]
    fn input_apart<E: Between>(
        &mut self,
        cx: &mut TcpCx<'_>,
        frame: Frame,
        plain: &Plain<E>,
    ) -> Result<(), Refusal> {
        let Some((meta, bytes)) = cx.pool.view_unique(&frame) else {
            return Err(Refusal::Unread(frame));
        };
        let (packet, segment) = plain.opening(bytes);
        if !plain.is_sound(bytes, meta.csum_partial) || !is_possible(&packet, &segment) {
            return self.input_event(cx, frame, plain);
        }
        cx.pool.pull(&frame, ETHER_LEN);
        cx.pool.truncate(&frame, packet.len);
        debug_assert_eq!(Packet::parse(cx.pool.bytes(&frame)), Ok(packet));
        debug_assert_eq!(Segment::parse(cx.pool.bytes(&frame), &packet), Ok(segment));
        self.now = cx.now;
        self.counters.segments_in += 1;
        let tuple = plain.ends.tuple();
        let taken = match self.waits.contains(&tuple) {
            true => self.input_wait(cx, &tuple, frame, &packet, &segment),
            false => self.input_listen(cx, frame, &packet, &segment, None),
        };
        taken.map_err(|(frame, reason)| Refusal::Dropped(frame, reason))
    }

    /// The same for a segment that is more than data: it is taken as by [`Tcp::input`].
    #[inline(never)]
    fn input_event<E: Between>(
        &mut self,
        cx: &mut TcpCx<'_>,
        frame: Frame,
        segment: &Plain<E>,
    ) -> Result<(), Refusal> {
        let Some((_, bytes)) = cx.pool.view_unique(&frame) else {
            return Err(Refusal::Unread(frame));
        };
        let bytes = &bytes[ETHER_LEN..ETHER_LEN + segment.len];
        let packet = match Packet::parse(bytes) {
            Ok(packet) if E::has_sound_header(bytes) => packet,
            _ => return Err(Refusal::Unread(frame)),
        };
        cx.pool.pull(&frame, ETHER_LEN);
        cx.pool.truncate(&frame, packet.len);
        let taken = self.input(cx, frame, &packet);
        taken.map_err(|(frame, reason)| Refusal::Dropped(frame, reason))
    }

    /// An engine that is not asked would have said no more than what is armed.
    #[inline]
    pub(super) fn certify(&mut self, now: Time, slot: u32) {
        if cfg!(debug_assertions)
            && let Some(conn) = self.slots.conn_at(slot)
            && let Some(engine) = &conn.engine
        {
            let next = engine.next(&mut self.shared, conn.path, now);
            let is_armed = match next {
                Next::Now => false,
                Next::At(at) => conn.is_armed_by(at),
                Next::Never => engine.send_queue() == 0,
            };
            assert!(is_armed, "{next:?} of {conn:?}");
        }
    }
}
