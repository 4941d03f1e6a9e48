//! The frames of a burst: UDP packets between two containers, numbered, one behind the other.

use super::BURST;
use crate::common::lab::Host;

/// Ethernet, IPv4 and UDP headers, without options.
const HEADERS: usize = 14 + 20 + 8;
/// The same with IPv6.
const HEADERS_V6: usize = 14 + 40 + 8;
/// The port that datagrams go to.
pub(super) const PORT: u16 = 0x1002;
/// The first of the ports that they come from.
pub(super) const FIRST: u16 = 0x1003;

/// Makes a datagram from one end to another in a frame of so many bytes.
pub(super) type Datagram = fn((Host, u16), (Host, u16), usize) -> Vec<u8>;

/// A UDP datagram from `a` to `b` in a frame of `len` bytes, from one port to the other.
pub(super) fn datagram((a, from): (Host, u16), (b, to): (Host, u16), len: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(len);
    frame.extend_from_slice(&b.mac);
    frame.extend_from_slice(&a.mac);
    frame.extend_from_slice(&[0x08, 0x00]);
    let total = (len - 14) as u16;
    frame.extend_from_slice(&[0x45, 0]);
    frame.extend_from_slice(&total.to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0]);
    frame.extend_from_slice(&a.v4);
    frame.extend_from_slice(&b.v4);
    let sum: u32 = frame[14..34]
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let sum = !(((sum & 0xffff) + (sum >> 16)) as u16);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame.extend_from_slice(&from.to_be_bytes());
    frame.extend_from_slice(&to.to_be_bytes());
    frame.extend_from_slice(&(total - 20).to_be_bytes());
    // No checksum, as IPv4 allows.
    frame.extend_from_slice(&[0, 0]);
    frame.extend((HEADERS..len).map(|at| at as u8));
    frame
}

/// The same of IPv6, between addresses that end as those of IPv4.
pub(super) fn datagram_v6((a, from): (Host, u16), (b, to): (Host, u16), len: usize) -> Vec<u8> {
    let mut frame = [b.mac, a.mac].concat();
    frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0]);
    let datagram = ((len - 54) as u16).to_be_bytes();
    frame.extend_from_slice(&datagram);
    frame.extend_from_slice(&[17, 64]);
    for host in [a, b] {
        frame.extend_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend_from_slice(&host.v4);
    }
    for port in [from, to] {
        frame.extend_from_slice(&port.to_be_bytes());
    }
    frame.extend_from_slice(&datagram);
    // Nobody here looks at the checksum.
    frame.extend_from_slice(&[1, 1]);
    frame.extend((HEADERS_V6..len).map(|at| at as u8));
    frame
}

/// Writes the number of a frame into its payload.
pub(super) fn number(frame: &mut [u8], number: u64) {
    frame[HEADERS..HEADERS + 8].copy_from_slice(&number.to_be_bytes());
}

/// The same in a frame of IPv6, which may have room for the number's end only.
fn number_v6(frame: &mut [u8], number: u64) {
    let payload = &mut frame[HEADERS_V6..];
    let room = payload.len().min(8);
    payload[..room].copy_from_slice(&number.to_be_bytes()[8 - room..]);
}

/// The frames of a burst, one behind the other.
pub(super) struct Burst {
    bytes: Vec<u8>,
    pub(super) len: usize,
    is_v6: bool,
    next: u64,
}

impl Burst {
    /// Datagrams from `a` to `b` in frames of `len` bytes, of so many connections in turn.
    pub(super) fn new(a: Host, b: Host, len: usize, flows: u16) -> Self {
        let flows = (0..flows).cycle().take(BURST);
        let frames = flows.map(|flow| datagram((a, FIRST + flow), (b, PORT), len));
        Self {
            bytes: frames.collect::<Vec<_>>().concat(),
            len,
            is_v6: false,
            next: 0,
        }
    }

    /// The same of IPv6.
    pub(super) fn v6(a: Host, b: Host, len: usize, flows: u16) -> Self {
        let flows = (0..flows).cycle().take(BURST);
        let frames = flows.map(|flow| datagram_v6((a, FIRST + flow), (b, PORT), len));
        Self {
            bytes: frames.collect::<Vec<_>>().concat(),
            len,
            is_v6: true,
            next: 0,
        }
    }

    /// Gives all frames the headers of this one.
    pub(super) fn address(&mut self, like: &[u8]) {
        let headers: [u8; HEADERS] = like[..HEADERS].try_into().expect("it is so long");
        for frame in self.bytes.chunks_exact_mut(self.len) {
            frame[..HEADERS].copy_from_slice(&headers);
        }
    }

    /// Numbers the frames anew.
    pub(super) fn renew(&mut self) {
        for frame in self.bytes.chunks_exact_mut(self.len) {
            match self.is_v6 {
                true => number_v6(frame, self.next),
                false => number(frame, self.next),
            }
            self.next += 1;
        }
    }

    pub(super) fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.len)
    }
}
