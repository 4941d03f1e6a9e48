//! Ping sockets (`SOCK_DGRAM`, `IPPROTO_ICMP` and `IPPROTO_ICMPV6`): echo requests without a raw socket.
//!
//! After Linux's `ping.c`: the port of the socket's name is the identifier of its requests, and answers
//! with that identifier come to it. Here the bytes are the payload alone, and the port of a peer's
//! address is the sequence number.

use core::net::{IpAddr, SocketAddr};

use switch::Frame;
use switch::wire::{IpProtocol, Packet};

use super::build::Head;
use super::icmp::fill_icmp_checksum;
use super::icmp_input::{Report, with_scope};
use super::{Arrival, Cx, Errno, Netns};
use crate::app::{Family, SockKind};
use crate::id::SockId;

const HEADER: usize = 8;

impl Netns {
    fn ping_lookup(&self, local: IpAddr, id: u16) -> Option<u32> {
        let family = if local.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        self.sockets
            .with_port(SockKind::Ping, id)
            .find(|(_, socket)| socket.family == family && socket.takes(local))
            .map(|(slot, _)| slot)
    }

    /// An echo reply, its checksum right.
    pub(super) fn ping_input(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: Arrival,
        frame: Frame,
        packet: &Packet,
    ) {
        let bytes = &cx.pool.bytes(&frame)[packet.transport..packet.len];
        let id = u16::from_be_bytes([bytes[4], bytes[5]]);
        let sequence = u16::from_be_bytes([bytes[6], bytes[7]]);
        let Some(slot) = self.ping_lookup(packet.destination, id) else {
            cx.delivered(frame, arrival.iface);
            return;
        };
        cx.pool.pull(&frame, packet.transport + HEADER);
        let from = SocketAddr::new(packet.source, sequence);
        let from = with_scope(from, arrival.iface.0);
        self.queue(cx, arrival, slot, frame, packet, from);
    }

    /// Sends an echo request with this payload.
    pub(super) fn ping_send(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Result<usize, Errno> {
        let socket = self.sockets.get_mut(sock)?;
        if let Some(error) = socket.take_error() {
            return Err(error);
        }
        self.check_scope(sock, to)?;
        let (to, way, source) = self.prepare(sock, to)?;
        let header = if to.is_ipv4() { 20 } else { 40 };
        let len = header + HEADER + bytes.len();
        if bytes.len() > 65_535 - HEADER - 20 {
            return Err(Errno::MsgSize);
        }
        let local = self.autobind(sock)?;
        let socket = self.sockets.get(sock)?;
        let fits = len <= self.mtu(cx, &way, to.ip());
        if socket.dont_fragment && !fits {
            return Err(Errno::MsgSize);
        }
        let head = Head {
            source,
            destination: to.ip(),
            protocol: if to.is_ipv4() {
                IpProtocol::Icmp
            } else {
                IpProtocol::Icmpv6
            },
            hop_limit: socket.hop_limit.unwrap_or(64),
            dont_fragment: fits,
            id: self.next_ip_id(),
            tos: 0,
        };
        let frame = head
            .packet(cx.pool, HEADER + bytes.len())
            .ok_or(Errno::NoBufs)?;
        let packet = cx.pool.bytes_mut(&frame);
        let kind = if to.is_ipv4() { 8 } else { 128 };
        packet[header..header + 4].copy_from_slice(&[kind, 0, 0, 0]);
        packet[header + 4..header + 6].copy_from_slice(&local.port().to_be_bytes());
        packet[header + 6..header + 8].copy_from_slice(&to.port().to_be_bytes());
        packet[header + 8..].copy_from_slice(bytes);
        fill_icmp_checksum(packet, header);
        self.send_packet(cx, frame, way)?;
        Ok(bytes.len())
    }

    /// An error from the path about an echo request of ours, named by identifier and sequence number.
    pub(super) fn ping_error(
        &mut self,
        cx: &mut Cx<'_>,
        local: IpAddr,
        remote: IpAddr,
        (id, sequence): (u16, u16),
        report: &Report,
    ) {
        let Some(slot) = self.ping_lookup(local, id) else {
            return;
        };
        let id = self.sockets.id(self.id, slot);
        if let Ok(socket) = self.sockets.get_mut(id)
            && socket.fail(report, SocketAddr::new(remote, sequence))
        {
            cx.wakes.push(id);
        }
    }
}
