//! UDP (RFC 768) over IPv4 and IPv6.
//!
//! Which socket gets a datagram is Linux's `compute_score`: a connected one before one bound to the
//! address before a wildcard, of equals the latest. Broadcasts and group packets go to every socket with
//! the port. A datagram counts against the receive buffer with what Linux's buffers would weigh, so that
//! the default holds 256 small ones. Datagrams that fit the path MTU carry DF
//! (`IP_PMTUDISC_WANT`), larger ones are cut.

use core::net::{IpAddr, SocketAddr};

use switch::Frame;
use switch::verdict::{DropReason, What};
use switch::wire::{
    IpProtocol, Packet, fill_transport_checksum, pseudo_sum, transport_checksum_ok,
};

use super::build::Head;
use super::fib::RouteKind;
use super::icmp::Complaint;
use super::icmp_input::{Report, with_scope};
use super::resend::Headers;
use super::socket::{Datagram, Ports, Socket};
use super::{Arrival, Cx, Errno, LO, Netns};
use crate::app::SockKind;

pub(super) const HEADER: usize = 8;

/// What a datagram of `len` bytes weighs in a socket's queue: the `truesize` of Linux 6.18, that is the
/// `sk_buff`, headers and payload rounded up to a power of two, or to pages where they are many.
fn weight(len: usize) -> usize {
    match len + 380 {
        0..=576 => 832,
        head @ 577..=16_384 => 256 + head.next_power_of_two(),
        _ => 768 + len.next_multiple_of(4096),
    }
}

/// How well a socket fits a flow; `None` if not at all.
fn score(socket: &Socket, flow: &Ports) -> Option<u8> {
    if !socket.takes(flow.local.ip()) {
        return None;
    }
    let mut score = u8::from(socket.family == family_of(flow.local.ip()));
    if socket
        .local
        .is_some_and(|local| !local.ip().is_unspecified())
    {
        score += 4;
    }
    if let Some(peer) = socket.peer {
        if (peer.ip(), peer.port()) != (flow.remote.ip(), flow.remote.port()) {
            return None;
        }
        score += 8;
    }
    Some(score)
}

const fn family_of(addr: IpAddr) -> crate::app::Family {
    match addr {
        IpAddr::V4(_) => crate::app::Family::V4,
        IpAddr::V6(_) => crate::app::Family::V6,
    }
}

impl Netns {
    /// The socket that a datagram of this flow is for.
    fn udp_lookup(&self, flow: &Ports) -> Option<u32> {
        self.sockets
            .with_port(SockKind::Udp, flow.local.port())
            .filter_map(|(slot, socket)| Some((score(socket, flow)?, slot)))
            .max_by_key(|&(score, _)| score)
            .map(|(_, slot)| slot)
    }

    /// A UDP datagram for this namespace.
    pub(super) fn udp_input(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: Arrival,
        frame: Frame,
        packet: &Packet,
    ) {
        let (len, flow) = match udp_check(cx, arrival, &frame, packet) {
            Ok(checked) => checked,
            Err(reason) => {
                cx.drop(frame, arrival.iface, reason);
                return;
            }
        };
        if arrival.broadcast || packet.destination.is_multicast() {
            self.udp_fan_out(cx, arrival, frame, &Packet { len, ..*packet }, &flow);
            return;
        }
        let Some(slot) = self.udp_lookup(&flow) else {
            self.complain(cx, &frame, Complaint::PortUnreachable, Some(arrival));
            cx.drop(frame, arrival.iface, DropReason::NoSocket);
            return;
        };
        cx.pool.truncate(&frame, len);
        cx.pool.pull(&frame, packet.transport + HEADER);
        self.queue(cx, arrival, slot, frame, packet, flow.remote);
    }

    /// Every socket with the port gets a copy.
    fn udp_fan_out(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: Arrival,
        frame: Frame,
        packet: &Packet,
        flow: &Ports,
    ) {
        let slots: Vec<u32> = self
            .sockets
            .with_port(SockKind::Udp, flow.local.port())
            .filter(|(_, socket)| score(socket, flow).is_some())
            .map(|(slot, _)| slot)
            .collect();
        let Some((&last, others)) = slots.split_last() else {
            cx.drop(frame, arrival.iface, DropReason::NoSocket);
            return;
        };
        cx.pool.truncate(&frame, packet.len);
        cx.pool.pull(&frame, packet.transport + HEADER);
        for &slot in others {
            if let Some(copy) = cx.pool.copy(&frame) {
                // A copy inside the stack: the frame itself has one fate, the last one's.
                self.queue_copy(cx, slot, copy, packet, flow.remote);
            }
        }
        self.queue(cx, arrival, last, frame, packet, flow.remote);
    }

    /// Gives a socket a payload, as the end of its frame's way.
    #[inline]
    pub(super) fn queue(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: Arrival,
        slot: u32,
        frame: Frame,
        packet: &Packet,
        from: SocketAddr,
    ) {
        let id = cx.pool.meta(&frame).id;
        match self.enqueue(cx, slot, frame, packet, from) {
            Ok(()) => cx.trace.event(cx.now, id, arrival.iface, What::Delivered),
            Err(frame) => cx.drop(frame, arrival.iface, DropReason::SocketBufferFull),
        }
    }

    fn queue_copy(
        &mut self,
        cx: &mut Cx<'_>,
        slot: u32,
        copy: Frame,
        packet: &Packet,
        from: SocketAddr,
    ) {
        if let Err(copy) = self.enqueue(cx, slot, copy, packet, from) {
            cx.trace.drops.count(DropReason::SocketBufferFull);
            cx.pool.free(copy);
        }
    }

    #[inline]
    fn enqueue(
        &mut self,
        cx: &mut Cx<'_>,
        slot: u32,
        frame: Frame,
        packet: &Packet,
        from: SocketAddr,
    ) -> Result<(), Frame> {
        let Some((id, socket)) = self.sockets.at_mut(self.id, slot) else {
            return Err(frame);
        };
        let weight = weight(cx.pool.len(&frame));
        if !socket.has_room(weight) {
            return Err(frame);
        }
        socket.push(Datagram {
            weight,
            frame,
            from,
            to: packet.destination,
            hop_limit: packet.hop_limit,
        });
        cx.wakes.push(id);
        Ok(())
    }

    /// `sendto` on a UDP socket, or `sendmsg` with the address that it leaves from.
    pub(super) fn udp_send(
        &mut self,
        cx: &mut Cx<'_>,
        sock: crate::id::SockId,
        bytes: &[u8],
        to: SocketAddr,
        from: Option<IpAddr>,
    ) -> Result<usize, Errno> {
        if from.is_none()
            && let Some(sent) = self.udp_resend(cx, sock, bytes, to)
        {
            return sent;
        }
        let socket = self.sockets.get_mut(sock)?;
        if let Some(error) = socket.take_error() {
            return Err(error);
        }
        if socket.shut {
            return Err(Errno::Pipe);
        }
        let local = socket.local;
        let (to, way, source) = match from {
            Some(from) => self.prepare_from(sock, to, from)?,
            None => self.prepare(sock, to)?,
        };
        let limit = 65_535 - HEADER - if to.is_ipv4() { 20 } else { 0 };
        if bytes.len() > limit {
            return Err(Errno::MsgSize);
        }
        let local = match local {
            Some(local) => local,
            None => self.autobind(sock)?,
        };
        let socket = self.sockets.get(sock)?;
        let to_group = way.kind == RouteKind::Multicast;
        let hop_limit = match socket.hop_limit {
            Some(hops) if !to_group => hops,
            _ if to_group => 1,
            _ => 64,
        };
        let mtu = self.mtu(cx, &way, to.ip());
        let upper = HEADER + bytes.len();
        let header = if to.is_ipv4() { 20 } else { 40 };
        let fits = header + upper <= mtu;
        if socket.dont_fragment && !fits {
            return Err(Errno::MsgSize);
        }
        let head = Head {
            source,
            destination: to.ip(),
            protocol: IpProtocol::Udp,
            hop_limit,
            dont_fragment: fits,
            id: self.next_ip_id(),
            tos: 0,
        };
        let frame = head.packet(cx.pool, upper).ok_or(Errno::NoBufs)?;
        let packet = &mut cx.pool.bytes_mut(&frame)[header..];
        packet[0..2].copy_from_slice(&local.port().to_be_bytes());
        packet[2..4].copy_from_slice(&to.port().to_be_bytes());
        packet[4..6].copy_from_slice(&(upper as u16).to_be_bytes());
        packet[HEADER..].copy_from_slice(bytes);
        let headers = Headers::of(cx.pool.bytes(&frame), mtu);
        if let Some(prepared) = self.sockets.get_mut(sock)?.prepared.as_deref_mut() {
            prepared.headers = headers.filter(|_| fits && from.is_none());
        }
        let partial = self.offload || way.dev == LO;
        let packet = head.read(upper);
        seal(cx, &frame, &packet, partial && fits);
        self.send_read(cx, frame, &packet, &way)?;
        Ok(bytes.len())
    }

    /// An error from the path about a datagram of ours.
    pub(super) fn udp_error(&mut self, cx: &mut Cx<'_>, flow: Ports, report: &Report) {
        let Some(slot) = self.udp_lookup(&flow) else {
            return;
        };
        let id = self.sockets.id(self.id, slot);
        if let Ok(socket) = self.sockets.get_mut(id)
            && socket.fail(report, flow.remote)
        {
            cx.wakes.push(id);
        }
    }
}

/// Looks at a datagram's header and checksum: how long the packet is as far as the datagram goes, and its
/// ends.
pub(super) fn udp_check(
    cx: &Cx<'_>,
    arrival: Arrival,
    frame: &Frame,
    packet: &Packet,
) -> Result<(usize, Ports), DropReason> {
    let bytes = cx.pool.bytes(frame);
    let upper = &bytes[packet.transport..packet.len];
    let Some(head) = upper.first_chunk::<HEADER>() else {
        return Err(DropReason::Truncated);
    };
    let field = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let stated = usize::from(field(4));
    let meta = cx.pool.meta(frame);
    let mut len = packet.len;
    if meta.gso_size == 0 {
        if stated < HEADER || stated > upper.len() {
            return Err(DropReason::HeaderMalformed);
        }
        len = packet.transport + stated;
    }
    if !meta.csum_partial && !transport_checksum_ok(bytes, &Packet { len, ..*packet }) {
        return Err(DropReason::ChecksumBad);
    }
    let remote = SocketAddr::new(packet.source, field(0));
    let flow = Ports {
        local: SocketAddr::new(packet.destination, field(2)),
        remote: with_scope(remote, arrival.iface.0),
    };
    Ok((len, flow))
}

/// Writes the checksum of a datagram: in full, or the pseudo-header's part only.
pub(super) fn seal(cx: &mut Cx<'_>, frame: &Frame, packet: &Packet, partial: bool) {
    let bytes = cx.pool.bytes_mut(frame);
    if !partial {
        fill_transport_checksum(bytes, packet);
        return;
    }
    let upper = packet.len - packet.transport;
    let sum = pseudo_sum(packet.source, packet.destination, packet.protocol, upper);
    let at = packet.transport + 6;
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    cx.pool.meta_mut(frame).csum_partial = true;
}

#[cfg(test)]
mod tests {
    use super::weight;
    use crate::netns::socket::RECV_DEFAULT;

    /// How many datagrams of a length a socket of Linux 6.18 keeps with the default buffer.
    #[test]
    fn a_buffer_holds_as_many_as_linux_keeps() {
        for (len, kept) in [
            (0, 256),
            (100, 256),
            (200, 166),
            (640, 166),
            (700, 92),
            (1472, 92),
            (1800, 48),
            (3900, 25),
            (8000, 12),
            (20_000, 10),
            (60_000, 3),
        ] {
            assert_eq!(RECV_DEFAULT / weight(len), kept, "{len}");
        }
    }
}
