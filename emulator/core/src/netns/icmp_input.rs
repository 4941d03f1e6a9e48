//! ICMP and ICMPv6 messages that arrive: echo, and errors for the socket that caused them.
//!
//! Echo requests are answered here, as the kernel does it, not those to a group or broadcast
//! (`icmp_echo_ignore_broadcasts` 1; IPv6 answers groups). Which error a socket gets, and whether one without
//! `IP_RECVERR` gets it at all, is Linux's `icmp_err_convert` and its IPv6 sister.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use switch::verdict::DropReason;
use switch::wire::{IpProtocol, Packet, sum, transport_checksum_ok};
use switch::{Frame, IfId};

use super::build::Head;
use super::fragment::copy;
use super::icmp::fill_icmp_checksum;
use super::socket::Ports;
use super::tcp::IcmpKind;
use super::{Arrival, Cx, Errno, Netns};

/// An error from the path, as it concerns a socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    pub(super) errno: Errno,
    /// A connected socket gets it without asking for errors.
    pub(super) hard: bool,
    pub(super) from: IpAddr,
    pub(super) icmp: (u8, u8),
    pub(super) mtu: Option<u16>,
}

/// The packet that an error quotes.
#[derive(Clone, Copy, Debug)]
struct Quote {
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    /// The first eight bytes of its upper header.
    upper: [u8; 8],
}

impl Netns {
    pub(super) fn icmp_input(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: Arrival,
        frame: Frame,
        packet: &Packet,
    ) {
        let message = &cx.pool.bytes(&frame)[packet.transport..packet.len];
        if message.len() < 8 {
            cx.drop(frame, arrival.iface, DropReason::Truncated);
            return;
        }
        if sum(message) != 0xffff {
            cx.drop(frame, arrival.iface, DropReason::ChecksumBad);
            return;
        }
        match message[0] {
            0 => self.ping_input(cx, arrival, frame, packet),
            8 => self.echo(cx, arrival, frame, packet, 0),
            3 | 4 | 11 | 12 => self.error_input(cx, arrival, frame, packet),
            _ => cx.delivered(frame, arrival.iface),
        }
    }

    pub(super) fn icmpv6_input(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: Arrival,
        frame: Frame,
        packet: &Packet,
    ) {
        let bytes = cx.pool.bytes(&frame);
        if packet.len < packet.transport + 8 {
            cx.drop(frame, arrival.iface, DropReason::Truncated);
            return;
        }
        if !transport_checksum_ok(bytes, packet) {
            cx.drop(frame, arrival.iface, DropReason::ChecksumBad);
            return;
        }
        match bytes[packet.transport] {
            1..=4 => self.error_input(cx, arrival, frame, packet),
            128 => self.echo(cx, arrival, frame, packet, 129),
            129 => self.ping_input(cx, arrival, frame, packet),
            135 | 136 => self.nd_input(cx, arrival, frame, packet),
            _ => cx.delivered(frame, arrival.iface),
        }
    }

    /// Answers an echo request with a message of type `reply`.
    fn echo(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: Arrival,
        frame: Frame,
        packet: &Packet,
        reply: u8,
    ) {
        if packet.source.is_unspecified()
            || packet.source.is_multicast()
            || self.is_broadcast(packet.source)
            || (packet.source.is_ipv4() && !self.fib.is_local(packet.destination))
        {
            cx.delivered(frame, arrival.iface);
            return;
        }
        self.echo_reply(cx, arrival, &frame, packet, reply);
        cx.delivered(frame, arrival.iface);
    }

    fn echo_reply(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: Arrival,
        frame: &Frame,
        packet: &Packet,
        reply: u8,
    ) {
        let dev = self.link_of(packet.source, arrival);
        let Ok(way) = self.route_to(packet.source, dev) else {
            return;
        };
        let source = if self.fib.is_local(packet.destination) {
            Some(packet.destination)
        } else {
            self.source_for(&way, packet.source)
        };
        let Some(source) = source else {
            return;
        };
        let bytes = cx.pool.bytes(frame);
        let tos = if packet.source.is_ipv4() { bytes[1] } else { 0 };
        let head = Head {
            source,
            destination: packet.source,
            protocol: packet.protocol,
            hop_limit: 64,
            dont_fragment: false,
            id: self.next_ip_id(),
            tos,
        };
        let len = packet.len - packet.transport;
        let Some(out) = head.packet(cx.pool, len) else {
            return;
        };
        copy(cx.pool, frame, packet.transport, &out, head.len(), len);
        let bytes = cx.pool.bytes_mut(&out);
        bytes[head.len()] = reply;
        fill_icmp_checksum(bytes, head.len());
        // The asker learns of a failure by silence.
        let _ = self.send_packet(cx, out, way);
    }

    /// The interface that a link-local peer is behind.
    fn link_of(&self, peer: IpAddr, arrival: Arrival) -> Option<IfId> {
        let link_local = matches!(peer, IpAddr::V6(v6) if v6.is_unicast_link_local());
        Some(arrival.iface).filter(|_| link_local && !arrival.looped)
    }

    /// An error about a packet of ours.
    fn error_input(&mut self, cx: &mut Cx<'_>, arrival: Arrival, frame: Frame, packet: &Packet) {
        let message = &cx.pool.bytes(&frame)[packet.transport..packet.len];
        let (kind, code) = (message[0], message[1]);
        let rest = [message[4], message[5], message[6], message[7]];
        let Some(quote) = parse_quote(&message[8..], packet.source.is_ipv4()) else {
            cx.drop(frame, arrival.iface, DropReason::HeaderMalformed);
            return;
        };
        let v4 = packet.source.is_ipv4();
        let converted = if v4 {
            convert_v4(kind, code)
        } else {
            convert_v6(kind, code)
        };
        let too_big = if v4 {
            (kind, code) == (3, 4)
        } else {
            kind == 2
        };
        let mtu = too_big.then(|| {
            let stated = if v4 {
                u32::from(u16::from_be_bytes([rest[2], rest[3]]))
            } else {
                u32::from_be_bytes(rest)
            };
            let known = self.pmtus.learn(cx.now, quote.destination, stated);
            u16::try_from(known).unwrap_or(u16::MAX)
        });
        if let Some((errno, hard)) = converted {
            let report = Report {
                errno,
                hard,
                from: packet.source,
                icmp: (kind, code),
                mtu,
            };
            self.report(cx, arrival, &quote, &report);
        }
        cx.delivered(frame, arrival.iface);
    }

    fn report(&mut self, cx: &mut Cx<'_>, arrival: Arrival, quote: &Quote, report: &Report) {
        let word = |at: usize| u16::from_be_bytes([quote.upper[at], quote.upper[at + 1]]);
        let scope = self
            .link_of(quote.destination, arrival)
            .map_or(0, |dev| dev.0);
        let ports = Ports {
            local: SocketAddr::new(quote.source, word(0)),
            remote: with_scope(SocketAddr::new(quote.destination, word(2)), scope),
        };
        match quote.protocol {
            IpProtocol::Udp => self.udp_error(cx, ports, report),
            IpProtocol::Tcp => {
                let [.., a, b, c, d] = quote.upper;
                let kind = match report.mtu {
                    Some(mtu) => IcmpKind::FragmentationNeeded { mtu },
                    None if report.hard => IcmpKind::HardUnreachable(report.errno),
                    None => IcmpKind::Soft(report.errno),
                };
                let seq = u32::from_be_bytes([a, b, c, d]);
                self.tcp_error(cx, ports, seq, kind);
            }
            IpProtocol::Icmp if quote.upper[0] == 8 => {
                self.ping_error(
                    cx,
                    quote.source,
                    quote.destination,
                    (word(4), word(6)),
                    report,
                );
            }
            IpProtocol::Icmpv6 if quote.upper[0] == 128 => {
                self.ping_error(
                    cx,
                    quote.source,
                    quote.destination,
                    (word(4), word(6)),
                    report,
                );
            }
            _ => {}
        }
    }
}

/// `addr` with the interface of a link-local peer.
pub(super) fn with_scope(addr: SocketAddr, scope: u32) -> SocketAddr {
    match addr {
        SocketAddr::V6(mut v6) if v6.ip().is_unicast_link_local() => {
            v6.set_scope_id(scope);
            SocketAddr::V6(v6)
        }
        other => other,
    }
}

/// Reads the quoted packet, which is usually cut off; later fragments name no socket.
fn parse_quote(bytes: &[u8], v4: bool) -> Option<Quote> {
    if v4 {
        let header = usize::from(bytes.first()? & 15) * 4;
        let upper = bytes.get(header..header + 8)?;
        if bytes[0] >> 4 != 4 || header < 20 || bytes[6] & 0x1f != 0 || bytes[7] != 0 {
            return None;
        }
        let address =
            |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
        return Some(Quote {
            source: address(12).into(),
            destination: address(16).into(),
            protocol: IpProtocol::from(bytes[9]),
            upper: upper.try_into().ok()?,
        });
    }
    if bytes.len() < 48 || bytes[0] >> 4 != 6 {
        return None;
    }
    let (mut next, mut at) = (bytes[6], 40);
    while matches!(next, 0 | 43 | 44 | 60) {
        let header = bytes.get(at..at + 8)?;
        if next == 44 && (header[2] != 0 || header[3] & 0xf8 != 0) {
            return None;
        }
        let size = if next == 44 {
            8
        } else {
            8 + usize::from(header[1]) * 8
        };
        next = header[0];
        at += size;
    }
    let address = |at: usize| {
        let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
        Some(Ipv6Addr::from(octets))
    };
    Some(Quote {
        source: address(8)?.into(),
        destination: address(24)?.into(),
        protocol: IpProtocol::from(next),
        upper: bytes.get(at..at + 8)?.try_into().ok()?,
    })
}

/// The error and whether it is hard, for ICMP.
const fn convert_v4(kind: u8, code: u8) -> Option<(Errno, bool)> {
    Some(match (kind, code) {
        (3, 0 | 11) => (Errno::NetUnreach, false),
        (3, 1 | 12) => (Errno::HostUnreach, false),
        (3, 2) => (Errno::NoProtoOpt, true),
        (3, 3) => (Errno::ConnRefused, true),
        (3, 4) => (Errno::MsgSize, false),
        (3, 5) => (Errno::NotSupported, false),
        (3, 6 | 9) => (Errno::NetUnreach, true),
        (3, 7) => (Errno::HostDown, true),
        (3, 8) => (Errno::NoNet, true),
        (3, 10 | 13 | 14 | 15) => (Errno::HostUnreach, true),
        (11, _) => (Errno::HostUnreach, false),
        (12, _) => (Errno::Proto, true),
        _ => return None,
    })
}

/// The error and whether it is hard, for ICMPv6.
const fn convert_v6(kind: u8, code: u8) -> Option<(Errno, bool)> {
    Some(match (kind, code) {
        (1, 0) => (Errno::NetUnreach, false),
        (1, 1 | 5 | 6) => (Errno::Access, true),
        (1, 2 | 3) => (Errno::HostUnreach, false),
        (1, 4) => (Errno::ConnRefused, true),
        (2, _) => (Errno::MsgSize, false),
        (3, _) => (Errno::HostUnreach, false),
        (4, _) => (Errno::Proto, true),
        _ => return None,
    })
}
