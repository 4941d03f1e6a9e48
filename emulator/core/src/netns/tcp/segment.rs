//! A TCP header as the demultiplexer reads it, and segments without data that need no connection.
//!
//! After RFC 9293 §3.1 and §3.10.7. Options are left to the engine of the connection.

use core::net::{IpAddr, SocketAddr};

use switch::verdict::DropReason;
use switch::wire::{self, IpProtocol, Packet};
use switch::{Frame, Pool};

/// FIN.
pub(super) const FIN: u8 = 0x01;
/// SYN.
pub(super) const SYN: u8 = 0x02;
/// RST.
pub(super) const RST: u8 = 0x04;
/// PSH.
pub(super) const PSH: u8 = 0x08;
/// ACK.
pub(super) const ACK: u8 = 0x10;

/// Length of a TCP header without options.
const HEADER: usize = 20;

/// `a` is later than `b` in sequence space.
pub(super) const fn after(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) < 0
}

/// A segment's header, in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::netns) struct Segment {
    /// The address that it is for.
    pub(super) local: SocketAddr,
    /// The address that it came from.
    pub(super) remote: SocketAddr,
    /// Sequence number.
    pub(super) seq: u32,
    /// Acknowledgement number; without meaning unless [`ACK`] is set.
    pub(super) ack: u32,
    /// The control bits.
    pub(super) flags: u8,
    /// The window field, not scaled.
    pub(super) window: u16,
    /// Bytes of data.
    pub(super) payload: u32,
}

/// A segment with these flags and so much data acknowledges and does nothing else.
pub(super) const fn is_bare_ack(flags: u8, payload: u32) -> bool {
    flags & (ACK | SYN | FIN | RST) == ACK && payload == 0
}

impl Segment {
    /// Reads the TCP header of the IP packet `bytes`.
    pub(super) fn parse(bytes: &[u8], packet: &Packet) -> Result<Self, DropReason> {
        if packet.fragment.is_some() {
            return Err(DropReason::HeaderMalformed);
        }
        let segment = bytes
            .get(packet.transport..packet.len)
            .ok_or(DropReason::Truncated)?;
        if segment.len() < HEADER {
            return Err(DropReason::Truncated);
        }
        let header = usize::from(segment[12] >> 4) * 4;
        if header < HEADER || header > segment.len() {
            return Err(DropReason::HeaderMalformed);
        }
        let half = |at: usize| u16::from_be_bytes([segment[at], segment[at + 1]]);
        let word = |at: usize| {
            u32::from_be_bytes([
                segment[at],
                segment[at + 1],
                segment[at + 2],
                segment[at + 3],
            ])
        };
        Ok(Self {
            local: SocketAddr::new(packet.destination, half(2)),
            remote: SocketAddr::new(packet.source, half(0)),
            seq: word(4),
            ack: word(8),
            flags: segment[13] & 0x3f,
            window: half(14),
            payload: (segment.len() - header) as u32,
        })
    }

    /// Whether the options of a SYN, the IP packet `bytes`, offer to scale windows (RFC 7323 §2.2).
    pub(super) fn scales(bytes: &[u8], packet: &Packet) -> bool {
        let Some(segment) = bytes.get(packet.transport..packet.len) else {
            return false;
        };
        let header = segment.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
        let mut options = segment.get(HEADER..header).unwrap_or(&[]);
        while let [kind, rest @ ..] = options {
            options = match (kind, rest) {
                (0, _) => return false,
                (1, _) => rest,
                (3, _) => return true,
                (_, [len, ..]) if *len >= 2 => rest.get(usize::from(*len) - 1..).unwrap_or(&[]),
                _ => return false,
            };
        }
        false
    }

    /// All of `flags` are set.
    pub(super) const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// The sequence number behind the segment: data, SYN and FIN count.
    pub(super) const fn end(&self) -> u32 {
        let control = (self.has(SYN) as u32) + (self.has(FIN) as u32);
        self.seq.wrapping_add(self.payload).wrapping_add(control)
    }

    /// What answers a segment that belongs to no connection (RFC 9293 §3.10.7.1); a reset has no
    /// answer.
    pub(super) const fn reset(&self) -> Option<Bare> {
        if self.has(RST) {
            return None;
        }
        let (seq, ack, flags) = if self.has(ACK) {
            (self.ack, 0, RST)
        } else {
            (0, self.end(), RST | ACK)
        };
        Some(Bare {
            local: self.local,
            remote: self.remote,
            seq,
            ack,
            flags,
            window: 0,
            hop_limit: 64,
        })
    }
}

/// A segment without data and options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bare {
    /// Source.
    pub(super) local: SocketAddr,
    /// Destination.
    pub(super) remote: SocketAddr,
    /// Sequence number.
    pub(super) seq: u32,
    /// Acknowledgement number; 0 unless [`ACK`] is set.
    pub(super) ack: u32,
    /// The control bits.
    pub(super) flags: u8,
    /// The window field, as it goes on the wire.
    pub(super) window: u16,
    /// Time to live or hop limit.
    pub(super) hop_limit: u8,
}

impl Bare {
    /// The segment as an IP packet, checksums left out; `None` if the pool is empty or the families
    /// differ.
    pub(super) fn emit(&self, pool: &mut Pool) -> Option<Frame> {
        let frame = match (self.local.ip(), self.remote.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let frame = pool.alloc(20 + HEADER)?;
                let bytes = pool.bytes_mut(&frame);
                bytes[..12].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0x40, 0, 0, 6, 0, 0]);
                bytes[8] = self.hop_limit;
                bytes[12..16].copy_from_slice(&source.octets());
                bytes[16..20].copy_from_slice(&destination.octets());
                self.write(&mut bytes[20..]);
                frame
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let frame = pool.alloc(40 + HEADER)?;
                let bytes = pool.bytes_mut(&frame);
                bytes[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 20, 6, self.hop_limit]);
                bytes[8..24].copy_from_slice(&source.octets());
                bytes[24..40].copy_from_slice(&destination.octets());
                self.write(&mut bytes[40..]);
                frame
            }
            _ => return None,
        };
        Some(frame)
    }

    fn write(&self, header: &mut [u8]) {
        header[0..2].copy_from_slice(&self.local.port().to_be_bytes());
        header[2..4].copy_from_slice(&self.remote.port().to_be_bytes());
        header[4..8].copy_from_slice(&self.seq.to_be_bytes());
        header[8..12].copy_from_slice(&self.ack.to_be_bytes());
        header[12] = (HEADER as u8 / 4) << 4;
        header[13] = self.flags;
        header[14..16].copy_from_slice(&self.window.to_be_bytes());
        header[16..20].fill(0);
    }
}

/// Writes the checksum of the TCP segment that starts at `transport` of the IP packet `bytes`: in
/// full, or the pseudo-header sum alone if `partial`.
pub(super) fn write_checksum(bytes: &mut [u8], transport: usize, partial: bool) {
    let segment = bytes.len() - transport;
    let pseudo = match bytes[12..].first_chunk::<8>() {
        Some(ends) if transport == 20 => {
            let rest = wire::add(segment as u16, u16::from(u8::from(IpProtocol::Tcp)));
            let ends = u64::from_be_bytes(*ends);
            let half = |at: u32| (ends >> at) as u16;
            let (source, destination) =
                (wire::add(half(48), half(32)), wire::add(half(16), half(0)));
            wire::add(wire::add(source, destination), rest)
        }
        _ => {
            let [source, destination] = [8, 24].map(|at| {
                let bytes = bytes[at..].first_chunk::<16>();
                IpAddr::from(bytes.copied().unwrap_or_default())
            });
            wire::pseudo_sum(source, destination, IpProtocol::Tcp, segment)
        }
    };
    let segment = &mut bytes[transport..];
    segment[16..18].fill(0);
    let check = if partial {
        pseudo
    } else {
        !wire::add(pseudo, wire::sum(segment))
    };
    segment[16..18].copy_from_slice(&check.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(local: &str, remote: &str) -> Bare {
        Bare {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            seq: 7,
            ack: 9,
            flags: SYN | ACK,
            window: 512,
            hop_limit: 64,
        }
    }

    #[test]
    fn a_bare_segment_reads_back_with_good_checksums() {
        for (local, remote, at) in [
            ("10.0.0.1:80", "10.0.0.2:4000", 20),
            ("[2001:db8::1]:80", "[2001:db8::2]:4000", 40),
        ] {
            let mut pool = Pool::default();
            let sent = bare(local, remote);
            let frame = sent.emit(&mut pool).unwrap();
            write_checksum(pool.bytes_mut(&frame), at, false);
            let packet = Packet::parse(pool.bytes(&frame)).unwrap();
            assert!(wire::transport_checksum_ok(pool.bytes(&frame), &packet));
            let read = Segment::parse(pool.bytes(&frame), &packet).unwrap();
            assert_eq!((read.remote, read.local), (sent.local, sent.remote));
            assert_eq!((read.seq, read.ack, read.window), (7, 9, 512));
            assert_eq!(read.end(), 8);
            pool.free(frame);
        }
    }

    #[test]
    fn short_headers_are_refused() {
        let mut pool = Pool::default();
        let frame = bare("10.0.0.1:1", "10.0.0.2:2").emit(&mut pool).unwrap();
        let whole = pool.bytes(&frame).to_vec();
        let packet = Packet::parse(&whole).unwrap();
        for (field, reason) in [
            (0x40, DropReason::HeaderMalformed),
            (0x60, DropReason::HeaderMalformed),
        ] {
            let mut bytes = whole.clone();
            bytes[32] = field;
            assert_eq!(Segment::parse(&bytes, &packet), Err(reason));
        }
        let short = Packet { len: 39, ..packet };
        assert_eq!(Segment::parse(&whole, &short), Err(DropReason::Truncated));
        pool.free(frame);
    }

    /// RFC 9293 §3.10.7.1.
    #[test]
    fn resets_follow_the_rules_for_closed() {
        let segment = Segment {
            local: "10.0.0.1:80".parse().unwrap(),
            remote: "10.0.0.2:4000".parse().unwrap(),
            seq: u32::MAX,
            ack: 55,
            flags: SYN,
            window: 0,
            payload: 3,
        };
        let reset = segment.reset().unwrap();
        assert_eq!((reset.seq, reset.ack, reset.flags), (0, 3, RST | ACK));
        let acked = Segment {
            flags: ACK,
            ..segment
        };
        let reset = acked.reset().unwrap();
        assert_eq!((reset.seq, reset.ack, reset.flags), (55, 0, RST));
        let rst = Segment {
            flags: RST | ACK,
            ..segment
        };
        assert_eq!(rst.reset(), None);
    }

    #[test]
    fn sequence_space_wraps() {
        assert!(after(0, u32::MAX) && !after(u32::MAX, 0) && !after(5, 5));
    }
}
