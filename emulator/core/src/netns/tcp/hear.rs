//! Segments for brief connections, which are read where they are.

use core::ops::Range;

use switch::wire::Packet;
use switch::{Frame, Time};

use super::brief::Brief;
use super::clock::ceiling;
use super::conn::{Conn, Owner, Seen};
use super::engine::{Setup, TcpState};
use super::listen::Listener;
use super::machine::Machine;
use super::plain::{Between, Plain};
use super::segment::{ACK, FIN, SYN, Segment};
use super::told::{HEADER, Told};
use super::{Tcp, TcpCx};

/// What the header in `bytes`, a TCP segment, says.
fn told(bytes: &[u8], segment: &Segment) -> Option<Told> {
    let flags = *bytes.get(13)?;
    let header = usize::from(bytes[12] >> 4) * 4;
    let told = Told {
        seq: segment.seq,
        ack: segment.ack,
        window: segment.window,
        flags,
        header: header as u8,
        payload: u16::try_from(segment.payload).ok()?,
    };
    let is_whole = HEADER <= header && header + usize::from(told.payload) == bytes.len();
    is_whole.then_some(told)
}

/// What takes the plain SYN in `frame`, and whether that offers to scale windows; `None` if it is not plain.
pub(super) fn accept_brief(
    cx: &mut TcpCx<'_>,
    frame: &Frame,
    packet: &Packet,
    segment: &Segment,
    made_with: &Setup,
    isn: u32,
) -> Option<(Box<Brief>, bool)> {
    let bytes = cx.pool.bytes(frame).get(packet.transport..packet.len)?;
    let told = told(bytes, segment)?;
    let mut brief = (cx.spares).brief(made_with, segment.local, segment.remote, isn);
    if !brief.accept(cx.now, &told, told.options(bytes)) {
        cx.spares.keep(Some(Machine::Brief(brief)));
        return None;
    }
    let scales = brief.scales();
    Some((brief, scales))
}

impl Conn {
    /// Gives a segment to a brief connection that it is plain for; the state before.
    #[inline(always)]
    fn take_brief(
        &mut self,
        (now, clock): (Time, Time),
        told: &Told,
        segment: &[u8],
    ) -> Option<TcpState> {
        let Some(Machine::Brief(brief)) = &mut self.engine else {
            return None;
        };
        let is_late = matches!(self.owner, Owner::Nobody) && told.payload > 0;
        let before = brief.state();
        if is_late || !brief.hear((now, clock), told, segment) {
            return None;
        }
        let after = brief.state();
        if before == TcpState::SynSent {
            let scales = told.has(SYN) && brief.scales();
            self.meet(told.seq, scales);
        }
        self.heard = now;
        self.probes = 0;
        if told.has(ACK) {
            self.acknowledged(now, told.ack, told.window, after);
        }
        Some(before)
    }
}

impl Tcp {
    /// Gives the TCP segment that stands at `place` in a frame to the connection in `slot`.
    ///
    /// # Errors
    /// The frame comes back if the connection is not brief or the segment not plain there.
    pub(super) fn hear_brief(
        &mut self,
        cx: &mut TcpCx<'_>,
        slot: u32,
        frame: Frame,
        place: Range<usize>,
        segment: &Segment,
    ) -> Result<(), Frame> {
        let Some(conn) = self.slots.conn_at(slot) else {
            return Err(frame);
        };
        let (meta, bytes) = cx.pool.view(&frame);
        let bytes = bytes.get(place).unwrap_or(&[]);
        let Some(told) = told(bytes, segment).filter(|_| meta.gso_size == 0) else {
            return Err(frame);
        };
        let taken = conn.take_brief((cx.now, ceiling(cx.now)), &told, bytes);
        let Some(before) = taken else {
            return Err(frame);
        };
        cx.pool.free(frame);
        self.follow_brief(cx, slot, before, &told);
        Ok(())
    }

    /// The same for a plain segment, of which nobody else has a share.
    ///
    /// # Errors
    /// As above, also if it is broken or a listener has no room for its connection.
    #[inline(always)]
    pub(super) fn input_brief<E: Between>(
        &mut self,
        cx: &mut TcpCx<'_>,
        slot: u32,
        frame: Frame,
        plain: &Plain<E>,
    ) -> Result<(), Frame> {
        let Some(conn) = self.slots.conn_at(slot) else {
            return Err(frame);
        };
        let conn = match conn.owner {
            Owner::Embryo(listener) => {
                let listener = self.slots.listener(listener);
                if listener.is_some_and(Listener::accept_full) {
                    return Err(frame);
                }
                self.slots.conn_at(slot)
            }
            _ => Some(conn),
        };
        let (Some(conn), Some((meta, bytes))) = (conn, cx.pool.view_unique(&frame)) else {
            return Err(frame);
        };
        if meta.gso_size > 0 || !plain.is_sound(bytes, meta.csum_partial) {
            return Err(frame);
        }
        let moment = (cx.now, self.clock.at(cx.now));
        let Some(before) = conn.take_brief(moment, plain.told(), plain.segment(bytes)) else {
            return Err(frame);
        };
        cx.pool.free(frame);
        self.now = cx.now;
        self.counters.segments_in += 1;
        self.follow_brief(cx, slot, before, plain.told());
        Ok(())
    }

    /// What follows from a segment that a brief connection has taken in this state.
    #[inline(always)]
    fn follow_brief(&mut self, cx: &mut TcpCx<'_>, slot: u32, before: TcpState, told: &Told) {
        self.counters.engine_runs += 1;
        let Some(conn) = self.slots.conn_at(slot) else {
            return;
        };
        let Some(Machine::Brief(brief)) = &conn.engine else {
            return;
        };
        let glance = brief.glance();
        match (before, glance.state, conn.owner) {
            (TcpState::Established, TcpState::Established | TcpState::CloseWait, Owner::App) => {
                let next = brief.next(self.clock.at(cx.now));
                let has_ended = glance.state == TcpState::CloseWait;
                conn.ended |= has_ended;
                let is_news = conn.finds_room() || told.payload > 0 || has_ended;
                if !conn.queued {
                    let queued = glance.send_queue;
                    match conn.planned(cx.now, (next, false), glance.state, queued) {
                        Some(at) => self.timers.set(slot, &mut conn.armed, at),
                        None => self.mark(slot),
                    }
                }
                if is_news {
                    cx.wake(self.slots.id(slot));
                }
            }
            (TcpState::SynSent, TcpState::Established, Owner::App) => {
                let _told_of = conn.finds_room();
                cx.wake(self.slots.id(slot));
                // A SYN-ACK is acknowledged at once.
                self.run_now(cx, slot);
            }
            (TcpState::SynReceived, TcpState::Established, Owner::Embryo(listener)) => {
                let rests = conn.rests(cx.now);
                self.promote(cx, slot, listener);
                if rests {
                    self.certify(cx.now, slot);
                } else {
                    self.touch(cx.now, slot);
                }
            }
            // Nobody is told of these.
            (_, TcpState::Closed, Owner::Nobody) => self.release(cx, slot),
            (_, TcpState::TimeWait, Owner::Nobody) => {
                conn.ended |= told.has(FIN);
                self.answer_fin(cx, slot);
                self.rest(cx, slot, false);
            }
            _ => {
                let before = Seen {
                    state: before,
                    recv_queue: glance.recv_queue - usize::from(told.payload),
                };
                self.settle(cx, slot, before, told.flags, u32::from(told.payload));
            }
        }
    }
}
