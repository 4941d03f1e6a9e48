//! Tuples: the one direction of a flow that identifies it, and how they are read from packets.
//!
//! After Linux `nf_conntrack_core` (`get_tuple`, `invert_tuple`) and `nf_conntrack_proto_icmp{,v6}`.
//! TCP and UDP have ports, ICMP queries an identifier with type and code; every other protocol (SCTP
//! too) is told apart by its addresses alone. Left out: zones, GRE keys, DCCP, UDP-Lite.
//!
//! Packets are read whole: Linux puts fragments together before its connection tracking, and so
//! does the namespace here before it runs its hooks. A fragment that comes all the same has no tuple.

use core::hash::{Hash, Hasher};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::{IpProtocol, Packet};

/// TCP.
pub(crate) const TCP: u8 = 6;
/// UDP.
pub(crate) const UDP: u8 = 17;
/// ICMP.
pub(crate) const ICMP: u8 = 1;
/// ICMPv6.
pub(crate) const ICMPV6: u8 = 58;

/// One direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Tuple {
    /// Source port; the identifier of an ICMP query in both directions; 0 where there is neither.
    pub source_port: u16,
    /// Destination port; type × 256 + code of an ICMP query; 0 where there is neither.
    pub destination_port: u16,
    /// Protocol number.
    pub protocol: u8,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
}

/// A tuple of IPv4, as a header has it: protocol and source; destination and ports, source first.
pub(crate) type Words = [u64; 2];

/// The words of no tuple.
pub(crate) const NO_WORDS: Words = [u64::MAX; 2];

/// The other way, of words with ports.
#[inline]
pub(crate) const fn inverted([from, to]: Words) -> Words {
    [
        from >> 48 << 48 | to >> 32,
        from << 32 | (to as u32).rotate_left(16) as u64,
    ]
}

impl Hash for Tuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if let (IpAddr::V4(from), IpAddr::V4(to)) = (self.source, self.destination) {
            state.write_u64(u64::from(from.to_bits()) << 32 | u64::from(to.to_bits()));
        } else {
            state.write_u128(bits(self.source));
            state.write_u128(bits(self.destination));
        }
        let ports = u64::from(self.source_port) << 16 | u64::from(self.destination_port);
        state.write_u64(u64::from(self.protocol) << 32 | ports);
    }
}

/// An address as that of IPv6 which stands for it.
pub(super) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl Tuple {
    /// `None` unless it is of IPv4.
    #[inline]
    pub(crate) const fn words(&self) -> Option<Words> {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (self.source, self.destination) else {
            return None;
        };
        let ports = (self.source_port as u64) << 16 | self.destination_port as u64;
        Some([
            (self.protocol as u64) << 48 | source.to_bits() as u64,
            (destination.to_bits() as u64) << 32 | ports,
        ])
    }

    /// The tuple of IPv4 with these words.
    #[inline]
    pub(crate) const fn of_words([from, to]: Words) -> Self {
        Self {
            source: IpAddr::V4(Ipv4Addr::from_bits(from as u32)),
            destination: IpAddr::V4(Ipv4Addr::from_bits((to >> 32) as u32)),
            protocol: (from >> 48) as u8,
            source_port: (to >> 16) as u16,
            destination_port: to as u16,
        }
    }

    /// The tuple of the answers to this one.
    #[must_use]
    pub const fn inverted(&self) -> Self {
        let (source_port, destination_port) = match self.protocol {
            ICMP | ICMPV6 => (
                self.source_port,
                answer(self.protocol, self.destination_port),
            ),
            _ => (self.destination_port, self.source_port),
        };
        Self {
            source: self.destination,
            destination: self.source,
            protocol: self.protocol,
            source_port,
            destination_port,
        }
    }

    /// It has an identifier instead of ports.
    #[must_use]
    pub const fn is_icmp(&self) -> bool {
        matches!(self.protocol, ICMP | ICMPV6)
    }

    /// It has ports.
    #[must_use]
    pub const fn has_ports(&self) -> bool {
        matches!(self.protocol, TCP | UDP)
    }
}

/// The type and code that answer an ICMP query (and the query for an answer). Others stay.
const fn answer(protocol: u8, kind: u16) -> u16 {
    let (kind, code) = ((kind >> 8) as u8, kind & 0xff);
    let kind = match (protocol, kind) {
        (ICMP, 8) => 0,
        (ICMP, 0) => 8,
        (ICMP, 13 | 15 | 17) | (ICMPV6, 128 | 139) => kind + 1,
        (ICMP, 14 | 16 | 18) | (ICMPV6, 129 | 140) => kind - 1,
        _ => kind,
    };
    (kind as u16) << 8 | code
}

/// What a packet is to the connection table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// It belongs to a flow, or starts one.
    Flow(Flow),
    /// An ICMP error about a packet of a flow: that packet is quoted.
    Error(Quote),
    /// Neighbour and multicast-listener discovery are never tracked.
    Untracked,
    /// Malformed above the network header, a fragment, or a message that belongs to no flow.
    Invalid,
}

/// A packet of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Its tuple.
    pub(crate) tuple: Tuple,
    /// The flags of a TCP segment (the low byte), 0 otherwise.
    pub(crate) flags: u8,
}

/// The packet that an ICMP error quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quote {
    /// The quoted packet's tuple, as it was where the error arose.
    pub(crate) tuple: Tuple,
    /// Where the quoted network header starts.
    pub(crate) network: usize,
    /// Where the quoted transport header starts.
    pub(crate) transport: usize,
    /// The error is a redirect.
    pub(crate) redirect: bool,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

/// Reads the packet that stands in `bytes`.
pub(crate) fn read(bytes: &[u8], packet: &Packet) -> Read {
    if packet.fragment.is_some() {
        return Read::Invalid;
    }
    let upper = &bytes[packet.transport..packet.len];
    let protocol = u8::from(packet.protocol);
    match packet.protocol {
        IpProtocol::Tcp => read_tcp(upper, packet),
        IpProtocol::Udp => read_udp(upper, packet),
        IpProtocol::Icmp if packet.source.is_ipv4() => read_icmp(bytes, packet),
        IpProtocol::Icmpv6 if packet.source.is_ipv6() => read_icmp(bytes, packet),
        _ => flow(packet, protocol, (0, 0), 0),
    }
}

const fn flow(packet: &Packet, protocol: u8, ports: (u16, u16), flags: u8) -> Read {
    Read::Flow(Flow {
        tuple: Tuple {
            source: packet.source,
            destination: packet.destination,
            protocol,
            source_port: ports.0,
            destination_port: ports.1,
        },
        flags,
    })
}

fn read_tcp(upper: &[u8], packet: &Packet) -> Read {
    if upper.len() < 20 {
        return Read::Invalid;
    }
    let header = usize::from(upper[12] >> 4) * 4;
    if header < 20 || header > upper.len() {
        return Read::Invalid;
    }
    let ports = (
        u16::from_be_bytes([upper[0], upper[1]]),
        u16::from_be_bytes([upper[2], upper[3]]),
    );
    flow(packet, TCP, ports, upper[13])
}

fn read_udp(upper: &[u8], packet: &Packet) -> Read {
    if upper.len() < 8 {
        return Read::Invalid;
    }
    let len = usize::from(u16::from_be_bytes([upper[4], upper[5]]));
    if len < 8 || len > upper.len() {
        return Read::Invalid;
    }
    let ports = (
        u16::from_be_bytes([upper[0], upper[1]]),
        u16::from_be_bytes([upper[2], upper[3]]),
    );
    flow(packet, UDP, ports, 0)
}

fn read_icmp(bytes: &[u8], packet: &Packet) -> Read {
    let upper = &bytes[packet.transport..packet.len];
    if upper.len() < 8 {
        return Read::Invalid;
    }
    let protocol = u8::from(packet.protocol);
    let (kind, code) = (upper[0], upper[1]);
    let is_error = match protocol {
        ICMP => matches!(kind, 3 | 4 | 5 | 11 | 12),
        _ => kind < 128,
    };
    if is_error {
        return read_quote(bytes, packet, protocol == ICMP && kind == 5)
            .map_or(Read::Invalid, Read::Error);
    }
    // MLD (130 to 132, 143) and ND (133 to 137).
    if protocol == ICMPV6 && matches!(kind, 130..=137 | 143) {
        return Read::Untracked;
    }
    if !is_query(protocol, kind) && !is_answer(protocol, kind) {
        return Read::Invalid;
    }
    let id = u16::from_be_bytes([upper[4], upper[5]]);
    let message = u16::from(kind) << 8 | u16::from(code);
    flow(packet, protocol, (id, message), 0)
}

/// Messages that may start an ICMP flow.
pub(crate) const fn is_query(protocol: u8, kind: u8) -> bool {
    matches!(
        (protocol, kind),
        (ICMP, 8 | 13 | 15 | 17) | (ICMPV6, 128 | 139)
    )
}

const fn is_answer(protocol: u8, kind: u8) -> bool {
    matches!(
        (protocol, kind),
        (ICMP, 0 | 14 | 16 | 18) | (ICMPV6, 129 | 140)
    )
}

/// Reads the packet that an ICMP error quotes: its headers up to the ports, whatever follows may be
/// missing.
fn read_quote(bytes: &[u8], packet: &Packet, redirect: bool) -> Option<Quote> {
    let network = packet.transport + 8;
    let quoted = bytes.get(network..packet.len)?;
    let (source, destination, protocol, header) = match (quoted.first()? >> 4, packet.source) {
        (4, IpAddr::V4(_)) => quoted_v4(quoted)?,
        (6, IpAddr::V6(_)) => quoted_v6(quoted)?,
        _ => return None,
    };
    let (source_port, destination_port) = match protocol {
        TCP | UDP => (u16_at(quoted, header)?, u16_at(quoted, header + 2)?),
        ICMP | ICMPV6 => {
            let kind = u16_at(quoted, header)?;
            let id = u16_at(quoted, header + 4)?;
            let number = (kind >> 8) as u8;
            if !is_query(protocol, number) && !is_answer(protocol, number) {
                return None;
            }
            (id, kind)
        }
        _ => (0, 0),
    };
    Some(Quote {
        tuple: Tuple {
            source,
            destination,
            protocol,
            source_port,
            destination_port,
        },
        network,
        transport: network + header,
        redirect,
    })
}

fn quoted_v4(quoted: &[u8]) -> Option<(IpAddr, IpAddr, u8, usize)> {
    let header = usize::from(quoted[0] & 0x0f) * 4;
    if header < 20 || quoted.len() < header || u16_at(quoted, 6)? & 0x1fff != 0 {
        return None;
    }
    let source = Ipv4Addr::new(quoted[12], quoted[13], quoted[14], quoted[15]);
    let destination = Ipv4Addr::new(quoted[16], quoted[17], quoted[18], quoted[19]);
    Some((source.into(), destination.into(), quoted[9], header))
}

fn quoted_v6(quoted: &[u8]) -> Option<(IpAddr, IpAddr, u8, usize)> {
    let address = |at: usize| {
        let octets: [u8; 16] = quoted.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::from(Ipv6Addr::from(octets)))
    };
    let (source, destination) = (address(8)?, address(24)?);
    let mut next = quoted[6];
    let mut header = 40;
    // Hop-by-hop 0, routing 43, fragment 44, destination options 60 (RFC 8200 §4).
    while matches!(next, 0 | 43 | 44 | 60) {
        if next == 44 && u16_at(quoted, header + 2)? & 0xfff8 != 0 {
            return None;
        }
        let size = if next == 44 {
            8
        } else {
            8 + usize::from(*quoted.get(header + 1)?) * 8
        };
        next = *quoted.get(header)?;
        header += size;
    }
    (header <= quoted.len()).then_some((source, destination, next, header))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(protocol: u8, source_port: u16, destination_port: u16) -> Tuple {
        Tuple {
            source: IpAddr::from([10, 0, 0, 1]),
            destination: IpAddr::from([10, 0, 0, 2]),
            protocol,
            source_port,
            destination_port,
        }
    }

    #[test]
    fn words_are_the_tuple() {
        let asked = tuple(TCP, 1024, 80);
        let words = asked.words().unwrap();
        assert_eq!(Tuple::of_words(words), asked);
        assert_eq!(Tuple::of_words(inverted(words)), asked.inverted());
        let v6 = Tuple {
            source: Ipv6Addr::LOCALHOST.into(),
            ..asked
        };
        assert_eq!(v6.words(), None);
    }

    #[test]
    fn an_answer_swaps_ends_and_ports() {
        let asked = tuple(TCP, 1024, 80);
        let answer = asked.inverted();
        assert_eq!(answer.source, asked.destination);
        assert_eq!((answer.source_port, answer.destination_port), (80, 1024));
        assert_eq!(answer.inverted(), asked);
    }

    #[test]
    fn an_echo_reply_keeps_the_identifier() {
        let answer = tuple(ICMP, 7, 8 << 8).inverted();
        assert_eq!((answer.source_port, answer.destination_port), (7, 0));
        assert_eq!(answer.inverted().destination_port, 8 << 8);
        assert_eq!(
            tuple(ICMPV6, 7, 128 << 8).inverted().destination_port,
            129 << 8
        );
    }

    #[test]
    fn discovery_is_not_tracked_and_odd_messages_are_invalid() {
        let mut bytes = vec![0; 48];
        bytes[0] = 0x60;
        bytes[5] = 8;
        bytes[6] = ICMPV6;
        bytes[7] = 255;
        for (kind, expected) in [
            (135, Read::Untracked),
            (143, Read::Untracked),
            (200, Read::Invalid),
            (1, Read::Invalid),
        ] {
            bytes[40] = kind;
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!(read(&bytes, &packet), expected, "type {kind}");
        }
    }
}
