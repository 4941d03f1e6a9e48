//! Super-segments: how many frames one stands for, and cutting it into them.
//!
//! After Linux's `tcp_gso_segment` and `inet_gso_segment`: every piece has the headers of the whole
//! with its own sequence number, lengths, IPv4 identification (one more each) and checksums; PSH and
//! FIN stay on the last piece only, CWR on the first only. TCP over IPv4 and IPv6 behind Ethernet,
//! with tags and extension headers. Left out: UDP segmentation, tunnels, IPv6 jumbograms.

use smoltcp::wire::IpProtocol;

use crate::wire::{Ether, Packet, fill_header_checksum, fill_transport_checksum};

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// Where the parts of a TCP frame are, in bytes from its start.
#[derive(Clone, Copy, Debug)]
struct Layout {
    network: usize,
    transport: usize,
    payload: usize,
    end: usize,
    packet: Packet,
}

impl Layout {
    fn of(frame: &[u8]) -> Option<Self> {
        let ether = Ether::parse(frame).ok()?;
        let bytes = frame.get(ether.payload..)?;
        let packet = Packet::parse(bytes).ok()?;
        if packet.protocol != IpProtocol::Tcp || packet.fragment.is_some() {
            return None;
        }
        let offset = usize::from(bytes.get(packet.transport + 12)? >> 4) * 4;
        let payload = packet.transport + offset;
        if offset < 20 || payload > packet.len {
            return None;
        }
        Some(Self {
            network: ether.payload,
            transport: ether.payload + packet.transport,
            payload: ether.payload + payload,
            end: ether.payload + packet.len,
            packet,
        })
    }
}

/// Frames that a super-segment of `len` bytes stands for, `header_len` of them headers that every
/// frame repeats. An ordinary frame (`gso_size` 0) is one.
#[must_use]
pub const fn frame_count(len: usize, gso_size: u16, header_len: usize) -> u64 {
    if gso_size == 0 || len <= header_len {
        return 1;
    }
    (len - header_len).div_ceil(gso_size as usize) as u64
}

/// Frames, and bytes in all of them, that `frame` stands for on a wire. What is not a TCP frame is
/// one frame of its own length.
#[must_use]
#[inline]
pub fn wire_size(frame: &[u8], gso_size: u16) -> (u64, u64) {
    if gso_size == 0 {
        return (1, frame.len() as u64);
    }
    super_size(frame, gso_size)
}

fn super_size(frame: &[u8], gso_size: u16) -> (u64, u64) {
    let Some(layout) = Layout::of(frame) else {
        return (1, frame.len() as u64);
    };
    let count = frame_count(layout.end, gso_size, layout.payload);
    let repeated = (count - 1) * layout.payload as u64;
    (count, layout.end as u64 + repeated)
}

/// The frames that a super-segment stands for, in order.
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    frame: &'a [u8],
    /// `None` if the frame is emitted once, as it is.
    layout: Option<Layout>,
    step: usize,
    count: u64,
    next: u64,
}

/// One of them, not written yet.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    frame: &'a [u8],
    layout: Option<Layout>,
    index: u64,
    /// Which part of the payload: from where to where.
    from: usize,
    to: usize,
    is_last: bool,
}

/// Cuts `frame` into frames of at most `gso_size` bytes of payload. A `gso_size` of 0 and anything but an
/// unfragmented TCP frame is one piece, as it is. Padding behind the packet is left out.
#[must_use]
pub fn pieces(frame: &[u8], gso_size: u16) -> Pieces<'_> {
    let layout = Layout::of(frame).filter(|_| gso_size > 0);
    let count = layout.map_or(1, |layout| {
        frame_count(layout.end, gso_size, layout.payload)
    });
    Pieces {
        frame,
        layout,
        step: usize::from(gso_size),
        count,
        next: 0,
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let index = self.next;
        if index == self.count {
            return None;
        }
        self.next += 1;
        let payload = self.layout.map_or(0, |layout| layout.end - layout.payload);
        let from = index as usize * self.step;
        Some(Piece {
            frame: self.frame,
            layout: self.layout,
            index,
            from,
            to: payload.min(from + self.step),
            is_last: self.next == self.count,
        })
    }
}

impl Piece<'_> {
    /// Length of the frame that it is on a wire.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        self.layout.map_or(self.frame.len(), |layout| {
            layout.payload + self.to - self.from
        })
    }

    /// Writes the frame behind what `out` holds, its checksums in full whatever the whole held.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let Some(layout) = &self.layout else {
            out.extend_from_slice(self.frame);
            return;
        };
        let start = out.len();
        out.extend_from_slice(&self.frame[..layout.payload]);
        out.extend_from_slice(&self.frame[layout.payload + self.from..layout.payload + self.to]);
        let piece = &mut out[start..];
        self.write_headers(piece, layout);
        let bytes = &mut piece[layout.network..];
        let packet = Packet {
            len: bytes.len(),
            ..layout.packet
        };
        fill(bytes, &packet);
    }

    fn write_headers(&self, piece: &mut [u8], layout: &Layout) {
        let len = piece.len() - layout.network;
        let header = &mut piece[layout.network..];
        if layout.packet.source.is_ipv4() {
            header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            let id = u16::from_be_bytes([header[4], header[5]]).wrapping_add(self.index as u16);
            header[4..6].copy_from_slice(&id.to_be_bytes());
        } else {
            header[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
        }
        let tcp = &mut piece[layout.transport..];
        let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
        let sequence = sequence.wrapping_add(self.from as u32);
        tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
        if !self.is_last {
            tcp[13] &= !(FIN | PSH);
        }
        if self.index > 0 {
            tcp[13] &= !CWR;
        }
    }
}

/// Gives each of the [`pieces`] of `frame` to `emit`, written, and says how many they were. Takes one buffer
/// of the size of a piece for the whole cut.
pub fn cut(frame: &[u8], gso_size: u16, mut emit: impl FnMut(&[u8])) -> u64 {
    let pieces = pieces(frame, gso_size);
    let count = pieces.count;
    let mut bytes = Vec::new();
    for piece in pieces {
        bytes.clear();
        piece.append_to(&mut bytes);
        emit(&bytes);
    }
    count
}

/// Writes the IPv4 header checksum and the transport checksum of `frame`, as a wire edge does for a
/// partial checksum. What cannot be read stays as it is.
pub fn fill_checksums(frame: &mut [u8]) {
    let Ok(ether) = Ether::parse(frame) else {
        return;
    };
    let Some(bytes) = frame.get_mut(ether.payload..) else {
        return;
    };
    let Ok(packet) = Packet::parse(bytes) else {
        return;
    };
    fill(bytes, &packet);
}

fn fill(bytes: &mut [u8], packet: &Packet) {
    if packet.source.is_ipv4() {
        fill_header_checksum(bytes);
    }
    fill_transport_checksum(bytes, packet);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{EthernetAddress, EthernetProtocol};
    use proptest::prelude::*;
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{
        IpAddress, Ipv4Address, Ipv4Packet, Ipv4Repr, Ipv6Address, Ipv6Packet, Ipv6Repr,
        TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
    };

    const V4: (IpAddress, IpAddress) = (
        IpAddress::Ipv4(Ipv4Address::new(172, 17, 0, 2)),
        IpAddress::Ipv4(Ipv4Address::new(172, 17, 0, 3)),
    );
    const V6: (IpAddress, IpAddress) = (
        IpAddress::Ipv6(Ipv6Address::new(0xfd00, 0, 0, 0, 0, 0, 0, 2)),
        IpAddress::Ipv6(Ipv6Address::new(0xfd00, 0, 0, 0, 0, 0, 0, 3)),
    );

    fn super_segment(addresses: (IpAddress, IpAddress), payload: &[u8], tagged: bool) -> Vec<u8> {
        let tcp = TcpRepr {
            src_port: 40_000,
            dst_port: 80,
            control: TcpControl::Psh,
            seq_number: TcpSeqNumber(-100),
            ack_number: Some(TcpSeqNumber(7)),
            window_len: 512,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload,
        };
        let checksums = ChecksumCapabilities::ignored();
        let mut frame = vec![0; if tagged { 18 } else { 14 }];
        let protocol = match addresses {
            (IpAddress::Ipv4(src_addr), IpAddress::Ipv4(dst_addr)) => {
                let ip = Ipv4Repr {
                    src_addr,
                    dst_addr,
                    next_header: IpProtocol::Tcp,
                    payload_len: tcp.buffer_len(),
                    hop_limit: 64,
                };
                let at = frame.len();
                frame.resize(at + 20 + tcp.buffer_len(), 0);
                ip.emit(&mut Ipv4Packet::new_unchecked(&mut frame[at..]), &checksums);
                frame[at + 4..at + 6].copy_from_slice(&0xffff_u16.to_be_bytes());
                EthernetProtocol::Ipv4
            }
            (IpAddress::Ipv6(src_addr), IpAddress::Ipv6(dst_addr)) => {
                let ip = Ipv6Repr {
                    src_addr,
                    dst_addr,
                    next_header: IpProtocol::Tcp,
                    payload_len: tcp.buffer_len(),
                    hop_limit: 64,
                };
                let at = frame.len();
                frame.resize(at + 40 + tcp.buffer_len(), 0);
                ip.emit(&mut Ipv6Packet::new_unchecked(&mut frame[at..]));
                EthernetProtocol::Ipv6
            }
            _ => unreachable!("one family"),
        };
        let at = frame.len() - tcp.buffer_len();
        tcp.emit(
            &mut TcpPacket::new_unchecked(&mut frame[at..]),
            &addresses.0,
            &addresses.1,
            &checksums,
        );
        frame[at + 13] |= FIN | CWR;
        Ether::emit(
            &mut frame,
            EthernetAddress([2, 0, 0, 0, 0, 3]),
            EthernetAddress([2, 0, 0, 0, 0, 2]),
            protocol,
        );
        if tagged {
            frame[12..18].copy_from_slice(&[0x81, 0, 0, 7, 0, 0]);
            frame[16..18].copy_from_slice(&u16::from(protocol).to_be_bytes());
        }
        frame
    }

    fn check(addresses: (IpAddress, IpAddress), len: usize, gso_size: u16, tagged: bool) {
        let payload: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
        let frame = super_segment(addresses, &payload, tagged);
        let network = if tagged { 18 } else { 14 };
        let mut pieces = Vec::new();
        let count = cut(&frame, gso_size, |piece| pieces.push(piece.to_vec()));
        assert_eq!(count as usize, pieces.len());
        assert_eq!(pieces.len(), len.div_ceil(usize::from(gso_size)).max(1));
        let bytes: usize = pieces.iter().map(Vec::len).sum();
        assert_eq!(wire_size(&frame, gso_size), (count, bytes as u64));

        let mut together = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            assert_eq!(piece[..network], frame[..network]);
            let ip = &piece[network..];
            let upper = match addresses {
                (IpAddress::Ipv4(_), _) => {
                    let packet = Ipv4Packet::new_checked(ip).unwrap();
                    assert!(packet.verify_checksum());
                    assert_eq!(usize::from(packet.total_len()), ip.len());
                    assert_eq!(packet.ident(), 0xffff_u16.wrapping_add(index as u16));
                    packet.payload()
                }
                (IpAddress::Ipv6(_), _) => {
                    let packet = Ipv6Packet::new_checked(ip).unwrap();
                    assert_eq!(packet.total_len(), ip.len());
                    packet.payload()
                }
            };
            let tcp = TcpPacket::new_checked(upper).unwrap();
            assert!(tcp.verify_checksum(&addresses.0, &addresses.1));
            assert_eq!(
                tcp.seq_number(),
                TcpSeqNumber(-100) + index * usize::from(gso_size)
            );
            assert_eq!((tcp.ack(), tcp.ack_number()), (true, TcpSeqNumber(7)));
            let is_last = index + 1 == pieces.len();
            assert_eq!((tcp.psh(), tcp.fin()), (is_last, is_last));
            assert_eq!(tcp.cwr(), index == 0);
            assert!(tcp.payload().len() <= usize::from(gso_size));
            together.extend_from_slice(tcp.payload());
        }
        assert_eq!(together, payload);
    }

    #[test]
    fn pieces_are_whole_frames_of_both_families() {
        for addresses in [V4, V6] {
            for tagged in [false, true] {
                check(addresses, 10_000, 1448, tagged);
                check(addresses, 1448 * 3, 1448, tagged);
                check(addresses, 1449, 1448, tagged);
                check(addresses, 1, 1448, tagged);
                check(addresses, 0, 1448, tagged);
            }
        }
    }

    #[test]
    fn what_is_no_tcp_frame_stays_as_it_is() {
        let frame = super_segment(V4, b"abc", false);
        let mut fragment = frame.clone();
        fragment[14 + 6] |= 0x20;
        for (bytes, gso_size) in [(&frame[..], 0), (&frame[..40], 1), (&[], 1), (&fragment, 1)] {
            let mut seen = Vec::new();
            assert_eq!(cut(bytes, gso_size, |piece| seen.push(piece.to_vec())), 1);
            assert_eq!(seen, [bytes.to_vec()]);
            assert_eq!(wire_size(bytes, gso_size), (1, bytes.len() as u64));
        }
    }

    #[test]
    fn counts() {
        assert_eq!(frame_count(1514, 0, 66), 1);
        assert_eq!(frame_count(66 + 1448 * 2, 1448, 66), 2);
        assert_eq!(frame_count(66 + 1448 * 2 + 1, 1448, 66), 3);
        assert_eq!(frame_count(66, 1448, 66), 1);
        assert_eq!(frame_count(3, 1448, 66), 1);
    }

    proptest! {
        #[test]
        fn any_length_is_cut_whole(len in 0_usize..20_000, gso_size in 1_u16..4000, v6: bool, tagged: bool) {
            check(if v6 { V6 } else { V4 }, len, gso_size.max(len as u16 / 200 + 1), tagged);
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), gso_size: u16) {
            let mut total = 0;
            let count = cut(&bytes, gso_size, |piece| total += piece.len() as u64);
            prop_assert_eq!(wire_size(&bytes, gso_size).0, count);
            prop_assert!(total >= 1 || bytes.is_empty());
            let mut copy = bytes.clone();
            fill_checksums(&mut copy);
        }

        /// Headers that are nearly right reach further than noise does.
        #[test]
        fn a_damaged_frame_is_survived(at in 0_usize..90, value: u8, v6: bool, keep in 0_usize..200, gso_size in 0_u16..64) {
            let mut frame = super_segment(if v6 { V6 } else { V4 }, &[9; 100], false);
            let at = at % frame.len();
            frame[at] = value;
            frame.truncate(keep.max(1));
            let count = cut(&frame, gso_size, |_| {});
            prop_assert_eq!(wire_size(&frame, gso_size).0, count);
            fill_checksums(&mut frame);
        }
    }
}
