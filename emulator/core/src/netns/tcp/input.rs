//! Segments that come in: whose they are, and what an engine makes of them.

use core::net::{IpAddr, SocketAddr};

use switch::verdict::DropReason;
use switch::wire::{self, Packet};
use switch::{Frame, Pool};

use super::conn::{Conn, Origin, Owner, setup};
use super::demux::Tuple;
use super::emit::{Emitter, initial_sequence, send_bare};
use super::engine::{Setup, TcpEngine, TcpState};
use super::hear::accept_brief;
use super::machine::Machine;
use super::paths::{LOCAL, PathIx, REMOTE};
use super::run::{guarded, reset_error};
use super::segment::{ACK, FIN, RST, SYN, Segment, after, is_bare_ack};
use super::slots::Tenant;
use super::smol::Smol;
use super::timewait::{ANSWER_EVERY, Fate};
use super::{MAX_CONNECTIONS, Tcp, TcpCx};

/// The frame that was not taken, and why.
type Refused = (Frame, DropReason);

impl Tcp {
    /// Takes a whole TCP packet for one of our addresses; `frame` starts at the IP header that `packet`
    /// describes. What answers it at once is in `cx.out`; the rest follows in [`Tcp::poll`].
    ///
    /// # Errors
    /// The frame comes back with the reason: it is broken, its checksum is wrong (a partial one is
    /// trusted), nobody listens (a reset has been sent then), or a listener's queue is full.
    pub fn input(
        &mut self,
        cx: &mut TcpCx<'_>,
        frame: Frame,
        packet: &Packet,
    ) -> Result<(), Refused> {
        self.now = cx.now;
        let segment = match Segment::parse(cx.pool.bytes(&frame), packet) {
            Ok(segment) => segment,
            Err(reason) => return Err((frame, reason)),
        };
        if let Err(reason) = check(cx.pool, &frame, packet, &segment) {
            return Err((frame, reason));
        }
        self.counters.segments_in += 1;
        let tuple = Tuple::new(segment.local, segment.remote);
        if let Some(slot) = self.demux.get(&self.slots, &tuple) {
            return self.input_conn(cx, slot, frame, packet, &segment);
        }
        if self.waits.contains(&tuple) {
            return self.input_wait(cx, &tuple, frame, packet, &segment);
        }
        self.input_listen(cx, frame, packet, &segment, None)
    }

    /// A segment for a connection.
    fn input_conn(
        &mut self,
        cx: &mut TcpCx<'_>,
        slot: u32,
        frame: Frame,
        packet: &Packet,
        segment: &Segment,
    ) -> Result<(), Refused> {
        let Some(conn) = self.slots.conn_at(slot) else {
            return Err((frame, DropReason::NoSocket));
        };
        if let Owner::Embryo(listener) = conn.owner
            && segment.flags & (ACK | RST | SYN) == ACK
            && let Some(listener) = self.slots.listener(listener)
            && listener.accept_full()
        {
            self.counters.listen_overflows += 1;
            return Err((frame, DropReason::SynQueueFull));
        }
        let Some(conn) = self.slots.conn_at(slot) else {
            return Err((frame, DropReason::NoSocket));
        };
        let before = conn.seen();
        if let Some(reason) = doubt(conn, before.state, segment) {
            self.challenge(cx, slot);
            return Err((frame, reason));
        }
        if is_stray_reset(conn, before.state, segment) {
            if is_in_window(conn, segment) {
                self.challenge(cx, slot);
            }
            return Err((frame, DropReason::TcpRejected));
        }
        if too_late(conn, segment) {
            cx.pool.free(frame);
            self.last_word(cx, slot);
            self.over(cx, slot, Some(reset_error(before.state)));
            return Ok(());
        }
        let is_behind_end = is_behind_end(conn, segment);
        let (whole, mut segment) = (segment, *segment);
        if is_behind_end {
            (segment.payload, segment.flags) = (0, segment.flags & !FIN);
        } else if segment.has(RST) {
            (segment.payload, segment.flags) = (0, segment.flags & !(SYN | FIN));
        }
        let segment = &segment;
        let (start, end) = (packet.transport, packet.len);
        let frame = match self.hear_brief(cx, slot, frame, start..end, segment) {
            Ok(()) => return Ok(()),
            Err(frame) => frame,
        };
        let Some(conn) = self.slots.conn_at(slot) else {
            return Err((frame, DropReason::NoSocket));
        };
        if conn.engine.is_none() {
            return Err((frame, DropReason::NoSocket));
        }
        let is_old = is_old(conn, before.state, segment);
        let is_known = is_old || is_behind_end && segment.ack == conn.marks.acked;
        if echo(conn, before.state, segment) || is_known && says_nothing(conn, segment) {
            conn.hear(cx.now, segment);
            cx.pool.free(frame);
            self.touch(cx.now, slot);
            return Ok(());
        }
        let heeded = self.heed(cx, slot, &frame, packet, segment);
        if heeded != Some(false) {
            cx.pool.free(frame);
            if heeded.is_some() {
                self.settle(cx, slot, before, segment.flags, segment.payload);
            }
            return Ok(());
        }
        if !self.catch_up(cx, slot) {
            cx.pool.free(frame);
            return Ok(());
        }
        let Some(conn) = self.slots.conn_at(slot) else {
            return Err((frame, DropReason::NoSocket));
        };
        let fin_again = fin_again(conn, segment);
        let burst = cx.pool.meta(&frame).gso_size > 0;
        let Some(frame) = prepare(cx.pool, frame, packet, conn.marks.shift) else {
            self.counters.out_of_frames += 1;
            return Ok(());
        };
        if fin_again {
            strip(cx.pool, &frame, segment.payload, segment.flags);
        } else if is_behind_end || segment.has(RST) {
            strip_end(cx.pool, &frame, whole.payload, segment.flags);
        }
        let Some(Machine::Engine(engine)) = &mut conn.engine else {
            return Err((frame, DropReason::NoSocket));
        };
        let (shared, path, reply) = (&mut self.shared, conn.path, &mut self.reply);
        let bytes = cx.pool.bytes_mut(&frame);
        if is_old {
            let una = conn.marks.acked.wrapping_sub(conn.marks.shift.unwrap_or(0));
            renew(bytes, una, engine.pingpong.field());
        }
        self.counters.engine_runs += 1;
        let queued = engine.send_queue();
        let after = guarded(|| {
            engine.input(shared, path, cx.now, bytes, burst, reply);
            engine.glance()
        });
        let Some(after) = after else {
            cx.pool.free(frame);
            self.crashed(slot);
            return Ok(());
        };
        // The acknowledgement of what is not in the window is not believed.
        let is_heard = after.state != before.state || after.send_queue < queued;
        if before.state == TcpState::SynSent && conn.state() != TcpState::SynSent {
            conn.meet(segment.seq, scales(bytes));
        }
        cx.pool.free(frame);
        if is_heard || segment.ack == conn.marks.acked {
            conn.hear(cx.now, segment);
        } else {
            conn.hear_sign(cx.now);
        }
        let answer = self.reply.take();
        if !answer.is_empty() {
            let v6 = conn.v6();
            let (stamp, counters) = (&mut self.stamp, &mut self.counters);
            let mut emitter = Emitter::new(cx, stamp, counters, &mut conn.marks, v6);
            emitter.copy(answer);
        }
        self.settle(cx, slot, before, segment.flags, segment.payload);
        Ok(())
    }

    /// Answers a segment that is not believed (RFC 5961), unless another one was just before.
    #[cold]
    fn challenge(&mut self, cx: &mut TcpCx<'_>, slot: u32) {
        let Some(conn) = self.slots.conn_at(slot) else {
            return;
        };
        if cx.now < conn.challenges_at {
            self.counters.challenges_skipped += 1;
            return;
        }
        conn.challenges_at = cx.now + ANSWER_EVERY;
        self.counters.challenges += 1;
        let challenge = conn.bare(conn.marks.sent, ACK);
        let (stamp, counters) = (&mut self.stamp, &mut self.counters);
        send_bare(&challenge, cx.pool, cx.out, stamp, counters);
    }

    /// A segment for an entry in TIME_WAIT.
    pub(super) fn input_wait(
        &mut self,
        cx: &mut TcpCx<'_>,
        tuple: &Tuple,
        frame: Frame,
        packet: &Packet,
        segment: &Segment,
    ) -> Result<(), Refused> {
        let reopens = self.listeners.find(segment.local).is_some();
        let mut gone = false;
        let fate = self.waits.input(cx.now, tuple, segment, &mut gone);
        if gone && (reopens || !matches!(fate, Fate::Reopen(_))) {
            self.waits.remove(tuple);
        }
        match fate {
            Fate::Ignore => {}
            Fate::Answer(bare) => {
                send_bare(&bare, cx.pool, cx.out, &mut self.stamp, &mut self.counters);
            }
            Fate::Reopen(last) => {
                return self.input_listen(cx, frame, packet, segment, Some(last));
            }
        }
        cx.pool.free(frame);
        Ok(())
    }

    /// A segment that belongs to no connection: a SYN for a listener, or a mistake. `last` is the last
    /// sequence number of ours in a connection of the same addresses.
    pub(super) fn input_listen(
        &mut self,
        cx: &mut TcpCx<'_>,
        frame: Frame,
        packet: &Packet,
        segment: &Segment,
        last: Option<u32>,
    ) -> Result<(), Refused> {
        let listener = self.listeners.find(segment.local);
        let opens = segment.flags & (SYN | ACK | RST | FIN) == SYN;
        let Some(listener) = listener.filter(|_| opens) else {
            if (listener.is_none() || segment.has(ACK))
                && let Some(bare) = segment.reset()
            {
                let (stamp, counters) = (&mut self.stamp, &mut self.counters);
                send_bare(&bare, cx.pool, cx.out, stamp, counters);
            }
            let reason = match listener {
                None => DropReason::NoSocket,
                Some(_) if segment.flags & (SYN | ACK | RST) == SYN => DropReason::TcpRejected,
                Some(_) => DropReason::NoConnection,
            };
            return Err((frame, reason));
        };
        let Some(queues) = self.slots.listener(listener) else {
            return Err((frame, DropReason::NoSocket));
        };
        if queues.options.deaf {
            return Err((frame, DropReason::SocketFiltered));
        }
        if queues.syn_full() || self.demux.len() >= MAX_CONNECTIONS {
            self.counters.listen_overflows += 1;
            return Err((frame, DropReason::SynQueueFull));
        }
        let options = queues.options;
        let (local, remote, mtu) = (segment.local, segment.remote, cx.mtu);
        let path = self.path(local, mtu, &options);
        let mut isn = initial_sequence(cx.now, self.secret, local, remote);
        if let Some(last) = last {
            // As Linux does it, to be past all that may still be under way.
            isn = last.wrapping_add(65_535 + 2);
        }
        let origin = Origin {
            local,
            remote,
            path,
            mtu,
            owner: Owner::Embryo(listener),
            options: &options,
        };
        let made_with = setup(&options, mtu);
        let (machine, scaled) = if self.may_be_brief(&made_with)
            && let Some((brief, scaled)) =
                accept_brief(cx, &frame, packet, segment, &made_with, isn)
        {
            cx.pool.free(frame);
            self.counters.engine_runs += 1;
            (Machine::Brief(brief), scaled)
        } else {
            match self.accept_engine(cx, frame, packet, path, &made_with, local)? {
                Some((engine, scaled)) => (Machine::Engine(engine), scaled),
                None => return Ok(()),
            }
        };
        let mut conn = cx.spares.conn(cx.now, isn, machine, &origin);
        conn.meet(segment.seq, scaled);
        let tuple = conn.tuple();
        let slot = self.slots.insert(Tenant::Conn(conn)).slot;
        self.demux.insert(&self.slots, &tuple, slot);
        self.expect_plain(slot);
        if let Some(queues) = self.slots.listener_mut(listener) {
            queues.embryos += 1;
        }
        self.run_now(cx, slot);
        Ok(())
    }

    /// An engine that has taken the SYN in `frame`, and whether that offers to scale windows; `None` if no frame
    /// was left.
    fn accept_engine(
        &mut self,
        cx: &mut TcpCx<'_>,
        frame: Frame,
        packet: &Packet,
        path: PathIx,
        made_with: &Setup,
        local: SocketAddr,
    ) -> Result<Option<(Box<Smol>, bool)>, Refused> {
        let mut engine = cx.spares.engine(made_with);
        if !engine.listen(local) {
            return Err((frame, DropReason::TcpRejected));
        }
        let mut header = [0; 20];
        header.copy_from_slice(&cx.pool.bytes(&frame)[packet.transport - 20..packet.transport]);
        let Some(frame) = prepare(cx.pool, frame, packet, None) else {
            self.counters.out_of_frames += 1;
            return Ok(None);
        };
        let (shared, reply) = (&mut self.shared, &mut self.reply);
        let bytes = cx.pool.bytes_mut(&frame);
        self.counters.engine_runs += 1;
        let sound = guarded(|| engine.input(shared, path, cx.now, bytes, false, reply));
        self.counters.engine_panics += u64::from(sound.is_none());
        // Nothing is answered before the SYN-ACK.
        self.reply.take();
        if sound.is_none() || engine.state() != TcpState::SynReceived {
            restore(cx.pool, &frame, packet, header);
            return Err((frame, DropReason::TcpRejected));
        }
        let scaled = scales(bytes);
        cx.pool.free(frame);
        Ok(Some((engine, scaled)))
    }
}

/// Whether the SYN in `bytes`, [prepared](prepare), offers to scale windows.
fn scales(bytes: &[u8]) -> bool {
    Packet::parse(bytes).is_ok_and(|packet| Segment::scales(bytes, &packet))
}

/// What every segment has to pass.
#[inline]
fn check(pool: &Pool, frame: &Frame, packet: &Packet, segment: &Segment) -> Result<(), DropReason> {
    if has_odd_end(packet) {
        return Err(DropReason::Martian);
    }
    if segment.local.port() == 0 || segment.remote.port() == 0 {
        return Err(DropReason::HeaderMalformed);
    }
    let (meta, bytes) = pool.view(frame);
    if !meta.csum_partial && !wire::transport_checksum_ok(bytes, packet) {
        return Err(DropReason::ChecksumBad);
    }
    Ok(())
}

/// Both ends are such as connections have.
#[inline(always)]
pub(super) fn is_possible(packet: &Packet, segment: &Segment) -> bool {
    !has_odd_end(packet) && segment.local.port() != 0 && segment.remote.port() != 0
}

/// No connection is between such ends.
#[inline]
pub(in crate::netns) const fn has_odd_end(packet: &Packet) -> bool {
    odd(packet.destination) || odd(packet.source)
}

/// No connection has such an end.
#[inline]
const fn odd(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.is_unspecified() || v4.is_multicast(),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some() || v6.is_unspecified() || v6.is_multicast(),
    }
}

/// Why a segment for an open connection is answered and not believed, as Linux does it: it would open it again (RFC 5961 §4),
/// or acknowledges what was not sent (RFC 9293 §3.10.7.4), which smoltcp 0.14 believes of data that is queued and of a FIN,
/// or less than what may still be under way does.
#[inline]
fn doubt(conn: &Conn, state: TcpState, segment: &Segment) -> Option<DropReason> {
    if state.opening() || segment.has(RST) {
        return None;
    }
    if segment.has(SYN) {
        return Some(DropReason::TcpRejected);
    }
    if !segment.has(ACK) || conn.marks.may_be_acked(segment.ack) {
        return None;
    }
    if after(segment.ack, conn.marks.sent) {
        return Some(DropReason::TcpAckUnsent);
    }
    let age = conn.marks.acked.wrapping_sub(segment.ack);
    (age > conn.ack_reach()).then_some(DropReason::TcpAckOld)
}

/// A reset of an open connection that has another number than the next one, or more data than there is room for. smoltcp 0.14
/// believes all that are in the window; Linux answers these (RFC 5961 §3.2), and the others not at all.
fn is_stray_reset(conn: &Conn, state: TcpState, segment: &Segment) -> bool {
    let is_next = || segment.seq == conn.recv_next() && is_in_window(conn, segment);
    segment.has(RST) && !state.opening() && !is_next()
}

/// All of a segment is in the window, or behind what was acknowledged, as Linux has that (`tcp_sequence`).
fn is_in_window(conn: &Conn, segment: &Segment) -> bool {
    let edge = conn.recv_next().wrapping_add(conn.room_told());
    !after(conn.marks.acking, segment.end()) && !after(segment.end(), edge)
}

/// A segment that acknowledges less than one before it. smoltcp 0.14 drops it with all that is in it. Linux takes what is new
/// in it but its window (`tcp_ack`), and so does smoltcp if it is [made](renew) to acknowledge what the last one did.
fn is_old(conn: &Conn, state: TcpState, segment: &Segment) -> bool {
    !state.opening()
        && segment.has(ACK)
        && !segment.has(RST)
        && after(conn.marks.acked, segment.ack)
}

/// A segment of which nothing is left without its acknowledgement and its window, and which asks for no answer.
fn says_nothing(conn: &Conn, segment: &Segment) -> bool {
    let ahead = segment.seq.wrapping_sub(conn.recv_next());
    is_bare_ack(segment.flags, segment.payload) && ahead <= conn.room_told()
}

/// Has a packet that has been [prepared](prepare) acknowledge all before `ack`, with this window field.
fn renew(packet: &mut [u8], ack: u32, field: u16) {
    packet[28..32].copy_from_slice(&ack.to_be_bytes());
    packet[34..36].copy_from_slice(&field.to_be_bytes());
}

/// New data for a connection whose socket is closed, or that goes on over the other side's end: nobody will read it.
fn too_late(conn: &Conn, segment: &Segment) -> bool {
    let is_read = conn.owner != Owner::Nobody && !conn.ended;
    if is_read || segment.payload == 0 || segment.has(RST) {
        return false;
    }
    let next = conn.recv_next();
    if conn.ended && !after(next, segment.seq) {
        return false;
    }
    let end = segment.seq.wrapping_add(segment.payload);
    after(end, next)
        && !after(
            segment.seq,
            next.wrapping_add(conn.options.recv_buffer as u32),
        )
}

/// Data or a FIN behind the other side's end, of which smoltcp 0.14 would give the data to who has read that. Linux looks at
/// the acknowledgement and leaves the rest alone (`tcp_rcv_state_process`).
fn is_behind_end(conn: &Conn, segment: &Segment) -> bool {
    let is_bare = segment.payload == 0 && !segment.has(FIN);
    conn.ended && !is_bare && !segment.has(RST) && !after(conn.recv_next(), segment.seq)
}

/// A repeated acknowledgement while nothing but our FIN is outstanding. smoltcp 0.14 would try a fast
/// retransmission of data that is not there, stop its timer, and never send the FIN again.
fn echo(conn: &Conn, state: TcpState, segment: &Segment) -> bool {
    conn.only_fin_waits(state)
        && segment.flags & (ACK | SYN | FIN | RST) == ACK
        && segment.payload == 0
        && segment.ack == conn.marks.acked
        && segment.seq == conn.recv_next()
}

/// A FIN in order behind data that has all come before. smoltcp 0.14 takes it for an old segment.
fn fin_again(conn: &Conn, segment: &Segment) -> bool {
    segment.flags & (FIN | SYN | RST) == FIN
        && segment.payload > 0
        && !conn.ended
        && segment.seq.wrapping_add(segment.payload) == conn.recv_next()
}

/// Takes data out of a packet that has been [prepared](prepare), `count` bytes at its end, and has it say these `flags`.
fn strip_end(pool: &mut Pool, frame: &Frame, count: u32, flags: u8) {
    let len = pool.len(frame) - count as usize;
    pool.truncate(frame, len);
    let bytes = pool.bytes_mut(frame);
    bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    let transport = usize::from(bytes[0] & 0x0f) * 4;
    bytes[transport + 13] = flags;
}

/// Takes the data out that is in front of a FIN.
fn strip(pool: &mut Pool, frame: &Frame, count: u32, flags: u8) {
    strip_end(pool, frame, count, flags);
    let bytes = pool.bytes_mut(frame);
    let transport = usize::from(bytes[0] & 0x0f) * 4;
    let seq = &mut bytes[transport + 4..transport + 8];
    let moved = u32::from_be_bytes([seq[0], seq[1], seq[2], seq[3]]).wrapping_add(count);
    seq.copy_from_slice(&moved.to_be_bytes());
}

/// Makes a packet what an engine expects: it alone in the frame, behind an IPv4 header without options, and the
/// acknowledgement in the engine's own sequence numbers. `None` if the frame was shared and no other
/// is left.
fn prepare(pool: &mut Pool, frame: Frame, packet: &Packet, shift: Option<u32>) -> Option<Frame> {
    let frame = pool.unshare(frame)?;
    pool.truncate(&frame, packet.len);
    let bytes = pool.bytes_mut(&frame);
    let segment = &mut bytes[packet.transport..];
    if let Some(shift) = shift
        && segment[13] & ACK != 0
    {
        let ack = u32::from_be_bytes([segment[8], segment[9], segment[10], segment[11]]);
        segment[8..12].copy_from_slice(&ack.wrapping_sub(shift).to_be_bytes());
    }
    if packet.source.is_ipv6() {
        stand_in(bytes, packet.transport);
        pool.pull(&frame, packet.transport - 20);
    } else if packet.transport > 20 {
        let start = packet.transport - 20;
        bytes.copy_within(..20, start);
        bytes[start] = 0x45;
        let len = (packet.len - start) as u16;
        bytes[start + 2..start + 4].copy_from_slice(&len.to_be_bytes());
        pool.pull(&frame, start);
    }
    Some(frame)
}

/// The packet of IPv6 `bytes`, whose segment starts at `transport`, as one of IPv4 between stand-ins.
pub(super) fn stand_in(bytes: &mut [u8], transport: usize) -> &mut [u8] {
    let hop_limit = bytes[7];
    let packet = &mut bytes[transport - 20..];
    let [high, low] = (packet.len() as u16).to_be_bytes();
    packet[..12].copy_from_slice(&[0x45, 0, high, low, 0, 0, 0x40, 0, hop_limit, 6, 0, 0]);
    packet[12..16].copy_from_slice(&REMOTE.octets());
    packet[16..20].copy_from_slice(&LOCAL.octets());
    packet
}

/// Takes back what [`prepare`] did to a SYN, whose last 20 bytes before the TCP header were `header`.
fn restore(pool: &mut Pool, frame: &Frame, packet: &Packet, header: [u8; 20]) {
    pool.push(frame, packet.len - pool.len(frame));
    pool.bytes_mut(frame)[packet.transport - 20..packet.transport].copy_from_slice(&header);
}
