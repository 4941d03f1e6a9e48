//! Writing an address and a port into a packet, with every checksum that covers them.
//!
//! After Linux `nf_nat_proto` and RFC 1624: sums are mended by the difference, so whatever else a packet
//! holds stays as it is, and a wrong checksum stays wrong. A checksum that is not there stays away: UDP's
//! zero, and an unset field of a partial checksum. A partial checksum is the sum of the pseudo header, so
//! only addresses change it. SCTP's CRC covers no address, and its ports are never translated.

use core::net::IpAddr;

use crate::conntrack::tuple::{ICMP, ICMPV6, TCP, UDP};
use crate::wire::{Packet, add, address_sum, updated};

/// An end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Destination,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }
}

/// How a packet's transport checksum stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// Computed.
    Full,
    /// The sum of the pseudo header, or nothing at all (0).
    Partial,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Where a family's network header keeps an address.
const fn address_at(side: Side, v4: bool) -> usize {
    match (side, v4) {
        (Side::Source, true) => 12,
        (Side::Destination, true) => 16,
        (Side::Source, false) => 8,
        (Side::Destination, false) => 24,
    }
}

/// Writes `address` into the network header that starts at `network`. Returns the sums of the address
/// before and after, and the words of the header checksum before and after (0 in IPv6). The families are
/// the same, the caller sees to it.
pub(crate) fn address(bytes: &mut [u8], network: usize, side: Side, address: IpAddr) -> Change {
    let header = &mut bytes[network..];
    let at = address_at(side, address.is_ipv4());
    let new = address_sum(address);
    let old = match address {
        IpAddr::V4(v4) => {
            let old = crate::wire::sum(&header[at..at + 4]);
            header[at..at + 4].copy_from_slice(&v4.octets());
            old
        }
        IpAddr::V6(v6) => {
            let old = crate::wire::sum(&header[at..at + 16]);
            header[at..at + 16].copy_from_slice(&v6.octets());
            old
        }
    };
    let mut change = Change {
        old,
        new,
        header_old: 0,
        header_new: 0,
    };
    if address.is_ipv4() {
        change.header_old = u16_at(header, 10);
        change.header_new = updated(change.header_old, old, new);
        put(header, 10, change.header_new);
    }
    change
}

/// What writing an address changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// The folded sum of the address before.
    pub(crate) old: u16,
    /// The folded sum of the address after.
    pub(crate) new: u16,
    /// The header checksum before.
    pub(crate) header_old: u16,
    /// The header checksum after.
    pub(crate) header_new: u16,
}

/// The field of a transport header that stands for the flow at `side`, from the header's start.
pub(crate) const fn port_at(protocol: u8, side: Side) -> Option<usize> {
    match (protocol, side) {
        (TCP | UDP, Side::Source) => Some(0),
        (TCP | UDP, Side::Destination) => Some(2),
        (ICMP | ICMPV6, _) => Some(4),
        _ => None,
    }
}

/// Where a transport header keeps its checksum, and whether that covers the addresses.
pub(crate) const fn sum_at(protocol: u8) -> Option<(usize, bool)> {
    match protocol {
        TCP => Some((16, true)),
        UDP => Some((6, true)),
        ICMP => Some((2, false)),
        ICMPV6 => Some((2, true)),
        _ => None,
    }
}

/// Writes address and port of one end into a whole packet. `port` is a port or an ICMP identifier;
/// protocols that have neither leave it.
pub(crate) fn end(
    bytes: &mut [u8],
    packet: &Packet,
    side: Side,
    to: (IpAddr, u16),
    checksum: Checksum,
) {
    let protocol = u8::from(packet.protocol);
    let change = address(bytes, 0, side, to.0);
    let upper = &mut bytes[packet.transport..packet.len];
    let mut old_port = 0;
    if let Some(at) = port_at(protocol, side) {
        old_port = u16_at(upper, at);
        put(upper, at, to.1);
    }
    let Some((at, with_addresses)) = sum_at(protocol) else {
        return;
    };
    let mut field = u16_at(upper, at);
    let unset = field == 0 && (protocol == UDP || checksum == Checksum::Partial);
    if unset {
        return;
    }
    if checksum == Checksum::Partial && with_addresses {
        field = add(add(field, !change.old), change.new);
    } else {
        if with_addresses {
            field = updated(field, change.old, change.new);
        }
        if port_at(protocol, side).is_some() {
            field = updated(field, old_port, to.1);
        }
        if field == 0 && protocol == UDP {
            field = 0xffff;
        }
    }
    put(upper, at, field);
}
