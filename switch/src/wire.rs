//! Bytes on the wire: length-checked reading, and rewriting in place.
//!
//! [`Ether`] and [`Packet`] say where the headers of a frame are, found once and passed along. Rewrites
//! mend checksums by difference (RFC 1624), so that options, DSCP and IDs stay as they were; a
//! partial checksum (the pseudo-header sum, not complemented) is mended as such.
//! For building and reading the protocols themselves use [`smoltcp::wire`].

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::verdict::DropReason;

pub use crate::sum::sum;
pub use smoltcp::wire::{EthernetAddress, EthernetProtocol, IpProtocol};

/// Length of an Ethernet header without a tag.
pub const ETHER_LEN: usize = 14;

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn v4_at(bytes: &[u8], at: usize) -> IpAddr {
    Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]).into()
}

fn v6_at(bytes: &[u8], at: usize) -> IpAddr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[at..at + 16]);
    Ipv6Addr::from(octets).into()
}

/// An Ethernet header (IEEE 802.3, Ethernet II), with the VLAN tags in front of the payload counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ether {
    /// Destination.
    pub destination: EthernetAddress,
    /// Source.
    pub source: EthernetAddress,
    /// The type of the payload, behind any 802.1Q or 802.1ad tags.
    pub protocol: EthernetProtocol,
    /// Where the payload starts: 14, or 4 more for each tag.
    pub payload: usize,
    /// The outermost tag's VLAN number, if there is a tag.
    pub vlan: Option<u16>,
}

impl Ether {
    /// Reads the header at the start of `frame`.
    ///
    /// # Errors
    /// [`DropReason::Truncated`] if the frame is shorter than the header.
    #[inline]
    pub fn parse(frame: &[u8]) -> Result<Self, DropReason> {
        if frame.len() < ETHER_LEN {
            return Err(DropReason::Truncated);
        }
        let mut at = 12;
        let mut vlan = None;
        while matches!(u16_at(frame, at), 0x8100 | 0x88a8) {
            if frame.len() < at + 6 {
                return Err(DropReason::Truncated);
            }
            vlan = vlan.or_else(|| Some(u16_at(frame, at + 2) & 0x0fff));
            at += 4;
        }
        Ok(Self {
            destination: EthernetAddress::from_bytes(&frame[0..6]),
            source: EthernetAddress::from_bytes(&frame[6..12]),
            protocol: EthernetProtocol::from(u16_at(frame, at)),
            payload: at + 2,
            vlan,
        })
    }

    /// Writes an untagged header into the first 14 bytes of `frame`.
    ///
    /// # Panics
    /// If `frame` is shorter than that.
    pub fn emit(
        frame: &mut [u8],
        destination: EthernetAddress,
        source: EthernetAddress,
        protocol: EthernetProtocol,
    ) {
        frame[0..6].copy_from_slice(destination.as_bytes());
        frame[6..12].copy_from_slice(source.as_bytes());
        frame[12..14].copy_from_slice(&u16::from(protocol).to_be_bytes());
    }
}

/// Where things are in an IP packet, as far as hooks, routes and sockets ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// The upper protocol, behind any IPv6 extension headers.
    pub protocol: IpProtocol,
    /// Where the upper header starts.
    pub transport: usize,
    /// Length of the packet as its header states it; the bytes are at least that many.
    pub len: usize,
    /// Hop limit or time to live.
    pub hop_limit: u8,
    /// It is a fragment: offset in bytes, more to come, identification.
    pub fragment: Option<Fragment>,
    /// DF is set (always so in IPv6).
    pub dont_fragment: bool,
}

/// The fragment fields of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Offset of the payload in the datagram, in bytes.
    pub offset: usize,
    /// More fragments follow.
    pub more: bool,
    /// Which datagram it belongs to.
    pub id: u32,
}

impl Packet {
    /// Reads the network header at the start of `bytes`.
    ///
    /// # Errors
    /// [`DropReason::Truncated`] or [`DropReason::HeaderMalformed`]. Checksums are not looked at.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, DropReason> {
        match bytes.first().map(|byte| byte >> 4) {
            Some(4) => Self::parse_v4(bytes),
            Some(6) => Self::parse_v6(bytes),
            Some(_) => Err(DropReason::HeaderMalformed),
            None => Err(DropReason::Truncated),
        }
    }

    #[inline]
    fn parse_v4(bytes: &[u8]) -> Result<Self, DropReason> {
        if bytes.len() < 20 {
            return Err(DropReason::Truncated);
        }
        let transport = usize::from(bytes[0] & 0x0f) * 4;
        let len = usize::from(u16_at(bytes, 2));
        if transport < 20 || len < transport {
            return Err(DropReason::HeaderMalformed);
        }
        if bytes.len() < len {
            return Err(DropReason::Truncated);
        }
        let flags = u16_at(bytes, 6);
        let offset = usize::from(flags & 0x1fff) * 8;
        let more = flags & 0x2000 != 0;
        Ok(Self {
            source: v4_at(bytes, 12),
            destination: v4_at(bytes, 16),
            protocol: IpProtocol::from(bytes[9]),
            transport,
            len,
            hop_limit: bytes[8],
            fragment: (offset > 0 || more).then(|| Fragment {
                offset,
                more,
                id: u32::from(u16_at(bytes, 4)),
            }),
            dont_fragment: flags & 0x4000 != 0,
        })
    }

    fn parse_v6(bytes: &[u8]) -> Result<Self, DropReason> {
        if bytes.len() < 40 {
            return Err(DropReason::Truncated);
        }
        let len = 40 + usize::from(u16_at(bytes, 4));
        if bytes.len() < len {
            return Err(DropReason::Truncated);
        }
        let mut next = bytes[6];
        let mut at = 40;
        let mut fragment = None;
        // Hop-by-hop 0, routing 43, fragment 44, destination options 60 (RFC 8200 §4).
        while matches!(next, 0 | 43 | 44 | 60) {
            if len < at + 8 {
                return Err(DropReason::HeaderMalformed);
            }
            let size = if next == 44 {
                8
            } else {
                8 + usize::from(bytes[at + 1]) * 8
            };
            if len < at + size {
                return Err(DropReason::HeaderMalformed);
            }
            if next == 44 {
                let field = u16_at(bytes, at + 2);
                let id = u32::from_be_bytes([
                    bytes[at + 4],
                    bytes[at + 5],
                    bytes[at + 6],
                    bytes[at + 7],
                ]);
                fragment = Some(Fragment {
                    offset: usize::from(field & 0xfff8),
                    more: field & 1 != 0,
                    id,
                });
            }
            next = bytes[at];
            at += size;
            if fragment.is_some_and(|fragment| fragment.offset > 0) {
                break;
            }
        }
        Ok(Self {
            source: v6_at(bytes, 8),
            destination: v6_at(bytes, 24),
            protocol: IpProtocol::from(next),
            transport: at,
            len,
            hop_limit: bytes[7],
            fragment,
            dont_fragment: true,
        })
    }

    /// The same packet after its addresses may have been rewritten in `bytes`: nothing else of it is
    /// ever translated that stands here.
    #[must_use]
    #[inline]
    pub fn readdressed(&self, bytes: &[u8]) -> Self {
        let (source, destination) = match bytes.first().map(|byte| byte >> 4) {
            Some(4) if bytes.len() >= 20 => (v4_at(bytes, 12), v4_at(bytes, 16)),
            Some(6) if bytes.len() >= 40 => (v6_at(bytes, 8), v6_at(bytes, 24)),
            _ => return *self,
        };
        Self {
            source,
            destination,
            ..*self
        }
    }

    /// It is a fragment that has no upper header.
    #[must_use]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset > 0)
    }

    /// Source and destination port of a TCP, UDP or SCTP packet in `bytes`, if it has them.
    #[must_use]
    pub fn ports(&self, bytes: &[u8]) -> Option<(u16, u16)> {
        let has_ports = matches!(u8::from(self.protocol), 6 | 17 | 132);
        if !has_ports || self.is_later_fragment() || self.len < self.transport + 4 {
            return None;
        }
        Some((
            u16_at(bytes, self.transport),
            u16_at(bytes, self.transport + 2),
        ))
    }
}

/// Where a transport protocol keeps its checksum, from its header's start.
#[must_use]
pub fn checksum_offset(protocol: IpProtocol) -> Option<usize> {
    match protocol {
        IpProtocol::Tcp => Some(16),
        IpProtocol::Udp => Some(6),
        IpProtocol::Icmpv6 => Some(2),
        _ => None,
    }
}

/// One's complement sum of two folded sums.
#[must_use]
pub const fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u16
}

/// The checksum field after the covered bytes changed from `old` to `new` (RFC 1624, equation 3).
#[must_use]
pub const fn updated(field: u16, old: u16, new: u16) -> u16 {
    !add(add(!field, !old), new)
}

/// Folds a sum of 32-bit words to 16 bits.
#[inline]
pub(crate) const fn folded(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

/// The pseudo-header sum of an upper packet (RFC 793 §3.1, RFC 8200 §8.1), not complemented.
#[must_use]
#[inline]
pub fn pseudo_sum(source: IpAddr, destination: IpAddr, protocol: IpProtocol, len: usize) -> u16 {
    let addresses = words_of(source) + words_of(destination);
    folded(addresses + len as u64 + u64::from(u8::from(protocol)))
}

/// The sum of the 32-bit words of an address.
#[inline]
fn words_of(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            (0..4)
                .map(|word| u64::from((bits >> (32 * word)) as u32))
                .sum()
        }
    }
}

/// The folded sum of an address's bytes.
#[must_use]
#[inline]
pub fn address_sum(address: IpAddr) -> u16 {
    folded(words_of(address))
}

/// Writes the transport checksum of the IP packet `bytes` in full. Fragments and protocols without a
/// known checksum stay as they are.
pub fn fill_transport_checksum(bytes: &mut [u8], packet: &Packet) {
    let Some(offset) = checksum_offset(packet.protocol) else {
        return;
    };
    if packet.fragment.is_some() || packet.len < packet.transport + offset + 2 {
        return;
    }
    let upper = &mut bytes[packet.transport..packet.len];
    upper[offset..offset + 2].fill(0);
    let pseudo = pseudo_sum(
        packet.source,
        packet.destination,
        packet.protocol,
        upper.len(),
    );
    let mut check = !add(pseudo, sum(upper));
    if check == 0 && packet.protocol == IpProtocol::Udp {
        check = 0xffff;
    }
    upper[offset..offset + 2].copy_from_slice(&check.to_be_bytes());
}

/// Whether the transport checksum of the IP packet `bytes` is right, or is not there to be wrong
/// (UDP over IPv4 without one, fragments, other protocols).
#[must_use]
pub fn transport_checksum_ok(bytes: &[u8], packet: &Packet) -> bool {
    let Some(offset) = checksum_offset(packet.protocol) else {
        return true;
    };
    if packet.fragment.is_some() {
        return true;
    }
    if packet.len < packet.transport + offset + 2 {
        return false;
    }
    let upper = &bytes[packet.transport..packet.len];
    let field = u16_at(upper, offset);
    if packet.protocol == IpProtocol::Udp && field == 0 {
        return packet.source.is_ipv4();
    }
    let pseudo = pseudo_sum(
        packet.source,
        packet.destination,
        packet.protocol,
        upper.len(),
    );
    add(pseudo, sum(upper)) == 0xffff
}

/// The sum of the IPv4 header at the start of `bytes`. One without options is summed by words.
#[inline]
fn header_sum(bytes: &[u8]) -> u16 {
    match bytes.first_chunk() {
        Some(head) if head[0] & 0x0f == 5 => u16::from_be(plain_header_sum(head)),
        _ => sum(&bytes[..usize::from(bytes[0] & 0x0f) * 4]),
    }
}

/// The sum of a header without options in the machine's order of bytes, as RFC 1071 (2.B) allows.
#[inline(always)]
fn plain_header_sum(head: &[u8; 20]) -> u16 {
    let words = head.as_chunks().0.iter();
    folded(words.map(|word| u64::from(u32::from_ne_bytes(*word))).sum())
}

/// Whether the checksum of an IPv4 header without options is right.
#[must_use]
#[inline(always)]
pub fn plain_header_ok(head: &[u8; 20]) -> bool {
    plain_header_sum(head) == 0xffff
}

/// Writes the header checksum of the IPv4 packet `bytes`.
#[inline]
pub fn fill_header_checksum(bytes: &mut [u8]) {
    bytes[10..12].fill(0);
    let check = !header_sum(bytes);
    bytes[10..12].copy_from_slice(&check.to_be_bytes());
}

/// Whether the header checksum of the IPv4 packet `bytes` is right.
#[must_use]
#[inline]
pub fn header_checksum_ok(bytes: &[u8]) -> bool {
    header_sum(bytes) == 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1624 §4: the example where equation 2 of RFC 1141 goes wrong.
    #[test]
    fn the_example_of_rfc_1624() {
        assert_eq!(updated(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    /// Sums by words are the sums by bytes.
    #[test]
    fn sums_by_words_agree_with_those_by_bytes() {
        let mut rng = crate::Rng::new(7);
        for round in 0..2000 {
            let mut bytes = [0; 80];
            match round {
                0 => {}
                1 => bytes.fill(0xff),
                _ => rng.fill(&mut bytes),
            }
            bytes[0] = 0x45;
            for end in [20, round % 81] {
                let of = &bytes[end / 20..end];
                assert_eq!(sum(of), smoltcp::wire::checksum::data(of));
            }
            assert_eq!(header_sum(&bytes), sum(&bytes[..20]));
            let (source, destination) = (v6_at(&bytes, 1), v6_at(&bytes, 17));
            assert_eq!(address_sum(source), sum(&bytes[1..17]));
            let v4 = v4_at(&bytes, 20);
            assert_eq!(address_sum(v4), sum(&bytes[20..24]));
            let len = usize::from(u16_at(&bytes, 34));
            let tail = add(sum(&(len as u32).to_be_bytes()), 17);
            for (a, b) in [(source, destination), (v4, v4_at(&bytes, 28))] {
                let whole = add(add(address_sum(a), address_sum(b)), tail);
                assert_eq!(pseudo_sum(a, b, IpProtocol::Udp, len), whole);
            }
        }
    }

    fn udp_v4() -> Vec<u8> {
        let mut bytes = vec![0; 32];
        bytes[0] = 0x45;
        bytes[3] = 32;
        bytes[8] = 64;
        bytes[9] = 17;
        bytes[12..16].copy_from_slice(&[10, 0, 0, 1]);
        bytes[16..20].copy_from_slice(&[10, 0, 0, 2]);
        bytes[20..24].copy_from_slice(&[0, 53, 0, 99]);
        bytes[25] = 12;
        bytes[28..32].copy_from_slice(b"ping");
        bytes
    }

    #[test]
    fn a_udp_packet_is_read_and_summed() {
        let mut bytes = udp_v4();
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.source, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(packet.ports(&bytes), Some((53, 99)));
        fill_header_checksum(&mut bytes);
        fill_transport_checksum(&mut bytes, &packet);
        assert!(header_checksum_ok(&bytes) && transport_checksum_ok(&bytes, &packet));
        bytes[31] ^= 1;
        assert!(!transport_checksum_ok(&bytes, &packet));
    }

    #[test]
    fn short_and_odd_packets_are_refused() {
        let bytes = udp_v4();
        for len in 0..bytes.len() {
            assert_eq!(Packet::parse(&bytes[..len]), Err(DropReason::Truncated));
        }
        let mut small_header = bytes.clone();
        small_header[0] = 0x44;
        assert_eq!(
            Packet::parse(&small_header),
            Err(DropReason::HeaderMalformed)
        );
        assert_eq!(Packet::parse(&[0x15; 40]), Err(DropReason::HeaderMalformed));
    }

    #[test]
    fn tags_are_counted_in() {
        let mut frame = vec![0; 22];
        frame[12..14].copy_from_slice(&[0x81, 0]);
        frame[15] = 7;
        frame[16..18].copy_from_slice(&[8, 0]);
        let ether = Ether::parse(&frame).unwrap();
        assert_eq!((ether.vlan, ether.payload), (Some(7), 18));
        assert_eq!(ether.protocol, EthernetProtocol::Ipv4);
        assert_eq!(Ether::parse(&frame[..17]), Err(DropReason::Truncated));
    }
}
