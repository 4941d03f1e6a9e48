//! Super-datagrams: several datagrams of UDP in one, as `UDP_SEGMENT` has the kernel pass them on. The lab carries
//! none, so they are cut where they come in.
//!
//! After Linux's `__udp_gso_segment`: every datagram has the headers of the whole with its own lengths, IPv4
//! identification (one more each) and checksums.

use emulator_core::switch::segment::fill_checksums;
use emulator_core::switch::wire::{Ether, IpProtocol, Packet};

/// The header of a datagram.
const UDP: usize = 8;
/// Datagrams that the kernel puts into one at most (`UDP_MAX_SEGMENTS`).
const MOST: usize = 128;

/// A super-datagram that is being cut. The frame itself is its reader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SuperDatagram {
    /// Where the packet, the datagram and its payload begin, and where that ends.
    network: usize,
    transport: usize,
    end: usize,
    v4: bool,
    size: usize,
    next: usize,
}

impl SuperDatagram {
    /// Of a frame with datagrams of `size` bytes; `None` if there are none in it, or more than the kernel makes.
    pub(super) fn of(frame: &[u8], size: u16) -> Option<Self> {
        let ether = Ether::parse(frame).ok()?;
        let packet = Packet::parse(frame.get(ether.payload..)?).ok()?;
        let transport = ether.payload + packet.transport;
        let end = ether.payload + packet.len;
        let payload = end.checked_sub(transport + UDP)?;
        let fits = packet.protocol == IpProtocol::Udp
            && packet.fragment.is_none()
            && size > 0
            && payload > 0
            && payload.div_ceil(usize::from(size)) <= MOST;
        fits.then_some(Self {
            network: ether.payload,
            transport,
            end,
            v4: packet.source.is_ipv4(),
            size: usize::from(size),
            next: 0,
        })
    }

    /// Writes the next datagram's frame over what `out` holds. False: there are no more.
    pub(super) fn cut(&mut self, frame: &[u8], out: &mut Vec<u8>) -> bool {
        let payload = self.transport + UDP;
        let from = payload + self.next * self.size;
        if from >= self.end {
            return false;
        }
        let to = self.end.min(from + self.size);
        out.clear();
        out.extend_from_slice(&frame[..payload]);
        out.extend_from_slice(&frame[from..to]);
        let length = (out.len() - self.network) as u16;
        let header = &mut out[self.network..];
        if self.v4 {
            let id = u16::from_be_bytes([header[4], header[5]]).wrapping_add(self.next as u16);
            header[2..4].copy_from_slice(&length.to_be_bytes());
            header[4..6].copy_from_slice(&id.to_be_bytes());
        } else {
            header[4..6].copy_from_slice(&(length - 40).to_be_bytes());
        }
        let length = (UDP + to - from) as u16;
        out[self.transport + 4..self.transport + 6].copy_from_slice(&length.to_be_bytes());
        fill_checksums(out);
        self.next += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emulator_core::switch::wire::{header_checksum_ok, transport_checksum_ok};

    fn frame(v6: bool, payload: usize) -> Vec<u8> {
        let mut frame = vec![2; 12];
        let udp = UDP + payload;
        if v6 {
            frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend_from_slice(&(udp as u16).to_be_bytes());
            frame.extend_from_slice(&[17, 64]);
            frame.extend_from_slice(&[0xfd; 32]);
        } else {
            frame.extend_from_slice(&[8, 0, 0x45, 0]);
            frame.extend_from_slice(&((20 + udp) as u16).to_be_bytes());
            frame.extend_from_slice(&[0xff, 0xff, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        }
        frame.extend_from_slice(&[0x10, 0, 0x20, 0]);
        frame.extend_from_slice(&(udp as u16).to_be_bytes());
        frame.extend_from_slice(&[0, 0]);
        frame.extend((0..payload).map(|at| (at * 7) as u8));
        frame
    }

    #[test]
    fn each_piece_is_a_datagram() {
        for (v6, payload, size, count) in [
            (false, 10_000, 1_472, 7),
            (true, 4_356, 1_452, 3),
            (false, 1, 1_472, 1),
            (true, 128, 1, 128),
        ] {
            let whole = frame(v6, payload);
            let mut datagram = SuperDatagram::of(&whole, size).unwrap();
            let (mut out, mut together, mut pieces) = (Vec::new(), Vec::new(), 0);
            while datagram.cut(&whole, &mut out) {
                let bytes = &out[14..];
                let packet = Packet::parse(bytes).unwrap();
                assert_eq!(packet.len, bytes.len());
                assert!(transport_checksum_ok(bytes, &packet));
                if !v6 {
                    assert!(header_checksum_ok(bytes));
                    let id = u16::from_be_bytes([bytes[4], bytes[5]]);
                    assert_eq!(id, 0xffff_u16.wrapping_add(pieces));
                }
                assert_eq!(packet.ports(bytes), Some((0x1000, 0x2000)));
                let udp = &bytes[packet.transport..];
                assert_eq!(usize::from(u16::from_be_bytes([udp[4], udp[5]])), udp.len());
                together.extend_from_slice(&udp[UDP..]);
                pieces += 1;
            }
            assert_eq!(pieces, count);
            assert_eq!(together, whole[whole.len() - payload..]);
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let whole = frame(false, 1_000);
        assert_eq!(SuperDatagram::of(&whole, 0), None);
        assert_eq!(
            SuperDatagram::of(&whole, 7),
            None,
            "more than the kernel makes"
        );
        assert_eq!(SuperDatagram::of(&frame(false, 0), 100), None);
        assert_eq!(SuperDatagram::of(&whole[..40], 100), None);
        assert_eq!(SuperDatagram::of(&[], 100), None);
        let mut tcp = whole.clone();
        tcp[23] = 6;
        assert_eq!(SuperDatagram::of(&tcp, 100), None);
    }

    proptest::proptest! {
        #[test]
        fn any_frame_is_survived(at in 0_usize..60, value: u8, v6: bool, keep in 0_usize..400, size: u16) {
            let mut bytes = frame(v6, 300);
            bytes[at] = value;
            bytes.truncate(keep);
            let mut out = Vec::new();
            if let Some(mut datagram) = SuperDatagram::of(&bytes, size) {
                while datagram.cut(&bytes, &mut out) {}
            }
        }
    }
}
