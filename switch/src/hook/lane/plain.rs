//! Packets whose way may be known: what is read of them.

use core::net::{IpAddr, Ipv4Addr};

use super::super::Path;
use super::lanes::LANES;
use crate::conntrack::Tuple;
use crate::conntrack::tuple::{TCP, UDP};
use crate::filter::{Counter, Facts, State};
use crate::verdict::IfId;

/// What the packets of a flow in one direction have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hook) struct Key {
    /// As in the header: protocol and source address; destination address and ports, source first.
    pub(in crate::hook) flow: [u64; 2],
    /// The bridge, or where a routed packet came in.
    pub(in crate::hook) input: IfId,
}

impl Key {
    /// Source, then destination.
    pub(in crate::hook) const fn addresses(&self) -> u64 {
        self.flow[0] << 32 | self.flow[1] >> 32
    }

    /// Source, then destination.
    pub(in crate::hook) const fn ports(&self) -> u32 {
        self.flow[1] as u32
    }

    pub(in crate::hook) const fn destination_bits(&self) -> u32 {
        (self.flow[1] >> 32) as u32
    }

    const fn protocol(&self) -> u8 {
        (self.flow[0] >> 48) as u8
    }

    pub(in crate::hook) const fn is_udp(&self) -> bool {
        self.protocol() == UDP
    }

    fn source(&self) -> IpAddr {
        Ipv4Addr::from_bits(self.flow[0] as u32).into()
    }

    fn destination(&self) -> IpAddr {
        Ipv4Addr::from_bits((self.flow[1] >> 32) as u32).into()
    }

    pub(in crate::hook) fn tuple(&self) -> Tuple {
        Tuple {
            source: self.source(),
            destination: self.destination(),
            protocol: self.protocol(),
            source_port: (self.ports() >> 16) as u16,
            destination_port: self.ports() as u16,
        }
    }

    pub(in crate::hook) const fn place(&self) -> usize {
        let mixed = (self.addresses() ^ (self.ports() as u64) << 16 ^ self.protocol() as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 52) as usize % LANES
    }
}

/// Keys for tests of what is made of them.
#[cfg(test)]
pub(in crate::hook) const UDP_KEY: Key = Key {
    flow: [(UDP as u64) << 48 | 0xac11_0002, 0xcb00_7107_1388_0035],
    input: IfId(2),
};
#[cfg(test)]
pub(in crate::hook) const TCP_KEY: Key = Key {
    flow: [(TCP as u64) << 48 | 0xac11_0002, UDP_KEY.flow[1]],
    ..UDP_KEY
};

/// A packet whose way may be known.
#[derive(Clone, Copy, Debug)]
pub(in crate::hook) struct Plain {
    pub(in crate::hook) key: Key,
    pub(in crate::hook) flags: u8,
    pub(super) len: u32,
}

impl Plain {
    /// It is of UDP, or of TCP without any flag but ACK and PSH.
    #[inline]
    pub(in crate::hook) const fn is_data(&self) -> bool {
        self.key.is_udp() || is_data(self.flags)
    }

    /// What raw rules may ask: they come before the connection is known.
    pub(in crate::hook) fn facts(&self, path: &Path) -> Facts {
        Facts {
            source: self.key.source(),
            destination: self.key.destination(),
            protocol: self.key.protocol(),
            ports: Some(((self.key.ports() >> 16) as u16, self.key.ports() as u16)),
            input: path.input,
            output: None,
            bridged: path.bridged,
            state: State::Untracked,
            weight: Counter::default(),
        }
    }
}

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}

/// What an IPv4 header without options and fragmentation is known by: version and length, MF and offset.
const PLAIN: u64 = 0x4500_0000_0000_0000;
const PLAIN_MASK: u64 = 0xff00_0000_0000_3fff;
/// Protocol and source, without time to live and checksum.
const SOURCE_MASK: u64 = 0x00ff_0000_ffff_ffff;

/// The first 28 bytes of a packet, as far as they say whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// Protocol and source address; destination and ports.
    pub(super) flow: [u64; 2],
    /// Bytes of the packet, as it says.
    pub(super) len: usize,
    /// Bytes 24 and 25: the length of a UDP datagram.
    datagram: usize,
}

impl Head {
    #[inline(always)]
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; 28] = bytes.first_chunk()?;
        let (first, rest) = head.split_first_chunk::<8>()?;
        let (second, rest) = rest.split_first_chunk::<8>()?;
        let third = rest.first_chunk::<8>()?;
        let first = u64::from_be_bytes(*first);
        if first & PLAIN_MASK != PLAIN {
            return None;
        }
        Some(Self {
            flow: [
                u64::from_be_bytes(*second) & SOURCE_MASK,
                u64::from_be_bytes(*third),
            ],
            len: (first >> 32) as usize & 0xffff,
            datagram: u16_at(head, 24),
        })
    }

    pub(super) const fn protocol(&self) -> u8 {
        (self.flow[0] >> 48) as u8
    }

    #[inline(always)]
    pub(super) const fn is_sound_datagram(&self, bytes: &[u8]) -> bool {
        self.len <= bytes.len() && self.datagram >= 8 && self.len >= 20 + self.datagram
    }
}

/// The flags of a segment that is nothing but data or an acknowledgement.
#[inline]
pub(super) const fn is_data(flags: u8) -> bool {
    flags & 0x37 == 0x10
}

/// The length and the flags of a packet of UDP or TCP that is all there.
#[inline(always)]
pub(super) fn sound(bytes: &[u8], head: &Head) -> Option<(usize, u8)> {
    let len = head.len;
    if len > bytes.len() {
        return None;
    }
    match head.protocol() {
        UDP if head.is_sound_datagram(bytes) => Some((len, 0)),
        TCP => {
            let &offset = bytes.get(32)?;
            let &flags = bytes.get(33)?;
            let header = usize::from(offset >> 4) * 4;
            (header >= 20 && len >= 20 + header).then_some((len, flags))
        }
        _ => None,
    }
}

/// Reads a packet whose way may be known: IPv4 without options and fragmentation, and [`sound`].
#[inline(always)]
pub(in crate::hook) fn plain(bytes: &[u8], input: IfId) -> Option<Plain> {
    let head = Head::of(bytes)?;
    let (len, flags) = sound(bytes, &head)?;
    Some(Plain {
        key: Key {
            flow: head.flow,
            input,
        },
        flags,
        len: len as u32,
    })
}
