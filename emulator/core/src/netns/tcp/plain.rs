//! Plain segments: what stands in a frame whose headers are as those of most are, in either version of IP.

use core::fmt::Debug;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use switch::wire::{self, ETHER_LEN, IpProtocol, Packet};

use super::conn::Conn;
use super::demux::Tuple;
use super::held::Heard;
use super::input::stand_in;
use super::segment::{ACK, SYN, Segment};
use super::told::{HEADER, Told};
use crate::app::Family;

/// Flags that make a segment more than data: FIN, SYN, RST, URG.
const EVENTFUL: u8 = 0x27;
const TCP: u8 = 6;

/// Whose a segment is, and what else is different from one version of IP to the other.
pub(in crate::netns) trait Between: Copy + Debug + Eq {
    const FAMILY: Family;
    /// The type of its frames.
    const TYPE: [u8; 2];
    /// Bytes of an IP header without options.
    const HEADER: usize;

    /// Source and destination as they stand in it.
    type Addresses: Copy + Debug + Eq;

    fn addresses(&self) -> Self::Addresses;

    fn ports(&self) -> u32;

    /// The segment in the frame `bytes`, if that is for `mac`, untagged, of this version, and nothing stands between the headers of
    /// IP and TCP.
    fn read(bytes: &[u8], mac: [u8; 6]) -> Option<Plain<Self>>;

    /// Those of the segments that come in for `conn`.
    fn are_of(&self, conn: &Conn) -> bool;

    /// What they are looked up by, and where that was found last.
    fn tuple(&self) -> Tuple;

    fn place(&self) -> usize;

    /// The packet `bytes`, whose segment has so many.
    fn packet(&self, bytes: &[u8], segment: usize) -> Packet;

    /// The IP header of the packet `bytes` is right as far as a sum tells.
    fn has_sound_header(bytes: &[u8]) -> bool;

    /// The sum of the pseudo-header of a segment of so many bytes.
    fn pseudo(&self, len: usize) -> u16;

    /// The packet `bytes` as engines take it in, which see IPv4.
    fn for_engine(bytes: &mut [u8]) -> &mut [u8];

    /// The addresses of what an engine of this connection writes, unless it writes them itself.
    fn written(conn: &Conn) -> Option<(Ipv6Addr, Ipv6Addr)>;
}

/// The addresses and ports of a segment as they stand in it: source, then destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::netns) struct Ends {
    pub(super) addresses: u64,
    pub(super) ports: u32,
}

/// The same of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::netns) struct EndsV6 {
    addresses: [u8; 32],
    ports: u32,
}

/// A segment in an untagged frame, right behind an IP header without options, not fragmented.
#[derive(Clone, Copy, Debug)]
pub(in crate::netns) struct Plain<E = Ends> {
    pub(super) ends: E,
    pub(super) told: Told,
    /// Bytes of the packet.
    pub(super) len: usize,
}

impl<E: Between> Plain<E> {
    /// What it says.
    #[inline]
    pub(super) const fn told(&self) -> &Told {
        &self.told
    }

    /// The TCP segment in its frame `bytes`, which is [long enough](Between::read).
    #[inline]
    pub(super) fn segment<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[ETHER_LEN + E::HEADER..ETHER_LEN + self.len]
    }

    /// The packet in its frame `bytes`, and what that says to a listener.
    pub(super) fn opening(&self, bytes: &[u8]) -> (Packet, Segment) {
        let Self { ends, told, len } = self;
        let packet = ends.packet(&bytes[ETHER_LEN..], len - E::HEADER);
        let ports = ends.ports();
        let segment = Segment {
            local: SocketAddr::new(packet.destination, ports as u16),
            remote: SocketAddr::new(packet.source, (ports >> 16) as u16),
            seq: told.seq,
            ack: told.ack,
            flags: told.flags & 0x3f,
            window: told.window,
            payload: u32::from(told.payload),
        };
        (packet, segment)
    }

    /// What it says to a stream whose acknowledgements are off by `shift`.
    #[inline]
    pub(super) fn heard(&self, burst: bool, room: usize, shift: Option<u32>) -> Heard {
        let Self { told, .. } = self;
        Heard {
            seq: told.seq,
            ack: told.ack.wrapping_sub(shift.unwrap_or(0)),
            window: told.window,
            flags: told.flags,
            header: usize::from(told.header),
            len: usize::from(told.payload),
            burst,
            room,
        }
    }

    /// It has no flag but ACK and PSH.
    #[inline]
    pub(super) const fn is_data(&self) -> bool {
        self.told.flags & (EVENTFUL | ACK) == ACK
    }

    /// It is a SYN, with or without an acknowledgement.
    #[inline]
    pub(in crate::netns) const fn has_syn(&self) -> bool {
        self.told.flags & SYN != 0
    }

    /// Source and destination.
    #[inline]
    pub(in crate::netns) fn addresses(&self) -> E::Addresses {
        self.ends.addresses()
    }

    /// Source, destination and ports are these.
    #[inline]
    pub(super) fn is_of(&self, ends: &E) -> bool {
        self.ends == *ends
    }

    /// Where the segment ends in its frame.
    #[inline]
    pub(super) const fn end(&self) -> usize {
        ETHER_LEN + self.len
    }

    /// Whether the checksums of the frame `bytes` are right, the segment's only unless it is `partial`.
    #[inline(always)]
    pub(super) fn is_sound(&self, bytes: &[u8], partial: bool) -> bool {
        E::has_sound_header(&bytes[ETHER_LEN..]) && (partial || self.is_whole(bytes))
    }

    /// Out of the way of those whose checksum is partial.
    #[inline(never)]
    fn is_whole(&self, bytes: &[u8]) -> bool {
        let segment = self.segment(bytes);
        let pseudo = self.ends.pseudo(segment.len());
        wire::add(pseudo, wire::sum(segment)) == 0xffff
    }
}

impl Between for Ends {
    const FAMILY: Family = Family::V4;
    const TYPE: [u8; 2] = [0x08, 0x00];
    const HEADER: usize = 20;

    type Addresses = u64;

    #[inline]
    fn addresses(&self) -> u64 {
        self.addresses
    }

    #[inline]
    fn ports(&self) -> u32 {
        self.ports
    }

    #[inline]
    fn read(bytes: &[u8], mac: [u8; 6]) -> Option<Plain> {
        let head: &[u8; ETHER_LEN + 20 + HEADER] = bytes.first_chunk()?;
        let half = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        // IPv4, no options; no fragment; TCP.
        let is_whole = head[12..14] == Self::TYPE && head[14] == 0x45 && half(20) & 0x3fff == 0;
        if head[..6] != mac || !is_whole || head[23] != TCP {
            return None;
        }
        let len = usize::from(half(16));
        let header = usize::from(head[46] >> 4) * 4;
        let is_there = header >= 20 && 20 + header <= len && ETHER_LEN + len <= bytes.len();
        if !is_there {
            return None;
        }
        Some(Plain {
            ends: Self {
                addresses: u64::from(word(26)) << 32 | u64::from(word(30)),
                ports: word(34),
            },
            told: Told {
                seq: word(38),
                ack: word(42),
                window: half(48),
                flags: head[47],
                header: header as u8,
                payload: (len - 20 - header) as u16,
            },
            len,
        })
    }

    #[inline]
    fn are_of(&self, conn: &Conn) -> bool {
        conn.incoming == *self
    }

    #[inline]
    fn tuple(&self) -> Tuple {
        Tuple::incoming(self.addresses, self.ports)
    }

    #[inline]
    fn place(&self) -> usize {
        let mixed =
            (self.addresses ^ (self.ports as u64) << 16).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 60) as usize
    }

    #[inline]
    fn packet(&self, bytes: &[u8], segment: usize) -> Packet {
        let (source, destination) = self.both();
        Packet {
            source,
            destination,
            protocol: IpProtocol::Tcp,
            transport: Self::HEADER,
            len: Self::HEADER + segment,
            hop_limit: bytes[8],
            fragment: None,
            dont_fragment: bytes[6] & 0x40 != 0,
        }
    }

    #[inline(always)]
    fn has_sound_header(bytes: &[u8]) -> bool {
        bytes.first_chunk().is_some_and(wire::plain_header_ok)
    }

    #[inline]
    fn pseudo(&self, len: usize) -> u16 {
        let (source, destination) = self.both();
        wire::pseudo_sum(source, destination, IpProtocol::Tcp, len)
    }

    #[inline(always)]
    fn for_engine(bytes: &mut [u8]) -> &mut [u8] {
        bytes
    }

    #[inline(always)]
    fn written(_conn: &Conn) -> Option<(Ipv6Addr, Ipv6Addr)> {
        None
    }
}

impl Ends {
    /// Those of the segments that come in to `local`; none of IPv6.
    pub(super) const fn of(local: SocketAddr, remote: SocketAddr) -> Self {
        match (remote, local) {
            (SocketAddr::V4(source), SocketAddr::V4(destination)) => Self {
                addresses: (source.ip().to_bits() as u64) << 32 | destination.ip().to_bits() as u64,
                ports: (source.port() as u32) << 16 | destination.port() as u32,
            },
            _ => Self {
                addresses: 0,
                ports: 0,
            },
        }
    }

    #[inline(always)]
    fn both(&self) -> (IpAddr, IpAddr) {
        let address = |bits| Ipv4Addr::from_bits(bits).into();
        (
            address((self.addresses >> 32) as u32),
            address(self.addresses as u32),
        )
    }
}

impl Between for EndsV6 {
    const FAMILY: Family = Family::V6;
    const TYPE: [u8; 2] = [0x86, 0xdd];
    const HEADER: usize = 40;

    type Addresses = [u8; 32];

    #[inline]
    fn addresses(&self) -> [u8; 32] {
        self.addresses
    }

    #[inline]
    fn ports(&self) -> u32 {
        self.ports
    }

    #[inline]
    fn read(bytes: &[u8], mac: [u8; 6]) -> Option<Plain<Self>> {
        let head: &[u8; ETHER_LEN + 40 + HEADER] = bytes.first_chunk()?;
        let half = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        // IPv6; TCP right behind its header. Nothing here looks at traffic class, flow label and hop limit.
        let is_plain = head[12..14] == Self::TYPE && head[14] >> 4 == 6 && head[20] == TCP;
        if head[..6] != mac || !is_plain {
            return None;
        }
        let segment = usize::from(half(18));
        let (len, header) = (40 + segment, usize::from(head[66] >> 4) * 4);
        let is_there = header >= 20 && header <= segment && ETHER_LEN + len <= bytes.len();
        if !is_there {
            return None;
        }
        Some(Plain {
            ends: Self {
                addresses: *head[22..].first_chunk()?,
                ports: word(54),
            },
            told: Told {
                seq: word(58),
                ack: word(62),
                window: half(68),
                flags: head[67],
                header: header as u8,
                payload: (segment - header) as u16,
            },
            len,
        })
    }

    #[inline]
    fn are_of(&self, conn: &Conn) -> bool {
        let (SocketAddr::V6(local), SocketAddr::V6(remote)) = (&conn.local, &conn.remote) else {
            return false;
        };
        self.ports == u32::from(remote.port()) << 16 | u32::from(local.port())
            && self.addresses[..16] == remote.ip().octets()
            && self.addresses[16..] == local.ip().octets()
    }

    #[inline]
    fn tuple(&self) -> Tuple {
        Tuple::incoming_v6(self.words(), self.ports)
    }

    #[inline]
    fn place(&self) -> usize {
        let [_, source, _, destination] = self.words();
        let ends = source ^ destination.rotate_left(32) ^ u64::from(self.ports) << 16;
        (ends.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize
    }

    #[inline]
    fn packet(&self, bytes: &[u8], segment: usize) -> Packet {
        let (source, destination) = self.both();
        Packet {
            source,
            destination,
            protocol: IpProtocol::Tcp,
            transport: Self::HEADER,
            len: Self::HEADER + segment,
            hop_limit: bytes[7],
            fragment: None,
            dont_fragment: true,
        }
    }

    #[inline(always)]
    fn has_sound_header(_bytes: &[u8]) -> bool {
        true
    }

    #[inline]
    fn pseudo(&self, len: usize) -> u16 {
        let (source, destination) = self.both();
        wire::pseudo_sum(source, destination, IpProtocol::Tcp, len)
    }

    #[inline]
    fn for_engine(bytes: &mut [u8]) -> &mut [u8] {
        stand_in(bytes, Self::HEADER)
    }

    #[inline]
    fn written(conn: &Conn) -> Option<(Ipv6Addr, Ipv6Addr)> {
        conn.v6()
    }
}

impl EndsV6 {
    #[inline]
    fn both(&self) -> (IpAddr, IpAddr) {
        let [a, b, c, d] = self.words();
        let address = |high, low| {
            let bits = u128::from(high) << 64 | u128::from(low);
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        };
        (address(a, b), address(c, d))
    }

    #[inline]
    fn words(&self) -> [u64; 4] {
        let mut words = [0; 4];
        let (all, _) = self.addresses.as_chunks();
        for (word, bytes) in words.iter_mut().zip(all) {
            *word = u64::from_be_bytes(*bytes);
        }
        words
    }
}
