//! Segments that no engine writes: a connection's headers are a pattern into which numbers are filled.
//!
//! Addresses, ports and most of the IP header stay the same from segment to segment, and so do their parts of the
//! checksums, which are summed once (RFC 1071: the order of the words does not matter). What leaves is byte by byte
//! what [`Emitter::finish`] makes of the same segment, which those of IPv6 still pass.

use core::net::SocketAddr;

use switch::wire;

use super::emit::{Emitter, Marks};
use super::paths::{LOCAL, REMOTE};
use super::segment::{ACK, FIN, RST, SYN, after};

/// Headers of IPv4 and TCP without options.
pub(super) const HEADERS: usize = 40;
/// Where the time to live stands.
const HOPS: usize = 8;

/// Headers of a connection's segments, but for lengths, ID, numbers, flags, window and checksums, which are 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    bytes: [u8; HEADERS],
    /// The sums of the IP header and of the pseudo-header as far as they are known.
    header: u32,
    pseudo: u32,
}

/// What such a segment says, in the wire's numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Says {
    pub(super) seq: u32,
    /// 0 unless [`ACK`] is set.
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
}

/// The sum of the 16-bit words of `bytes`.
fn words(bytes: &[u8]) -> u32 {
    let pairs = bytes.chunks_exact(2);
    pairs
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum()
}

/// A sum of a few 16-bit words as one.
const fn folded(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + sum) as u16
}

impl Head {
    /// Headers of segments between these ends. The engine's IPv4 stands in for IPv6.
    pub(super) fn new(local: SocketAddr, remote: SocketAddr, hops: u8) -> Self {
        let mut bytes = [0; HEADERS];
        bytes[..10].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 0, 6]);
        let (source, destination) = match (local, remote) {
            (SocketAddr::V4(local), SocketAddr::V4(remote)) => (*local.ip(), *remote.ip()),
            _ => (LOCAL, REMOTE),
        };
        bytes[12..16].copy_from_slice(&source.octets());
        bytes[16..20].copy_from_slice(&destination.octets());
        bytes[20..22].copy_from_slice(&local.port().to_be_bytes());
        bytes[22..24].copy_from_slice(&remote.port().to_be_bytes());
        let mut head = Self {
            bytes,
            header: 0,
            pseudo: words(&bytes[12..20]) + 6,
        };
        head.set_hop_limit(hops);
        head
    }

    /// The headers.
    pub(super) const fn bytes(&self) -> &[u8; HEADERS] {
        &self.bytes
    }

    /// Sets the time to live; 0 counts as 1.
    pub(super) fn set_hop_limit(&mut self, hops: u8) {
        self.bytes[HOPS] = hops.max(1);
        self.header = words(&self.bytes[..20]);
    }

    /// The headers of a segment of so many bytes with its header, the IP header's checksum filled.
    #[inline]
    fn filled(&self, says: Says, len: usize, ip_id: u16) -> [u8; HEADERS] {
        let mut head = self.bytes;
        let whole = (20 + len) as u16;
        let check = !folded(self.header + u32::from(whole) + u32::from(ip_id));
        head[2..4].copy_from_slice(&whole.to_be_bytes());
        head[4..6].copy_from_slice(&ip_id.to_be_bytes());
        head[10..12].copy_from_slice(&check.to_be_bytes());
        head[24..28].copy_from_slice(&says.seq.to_be_bytes());
        head[28..32].copy_from_slice(&says.ack.to_be_bytes());
        head[33] = says.flags;
        head[34..36].copy_from_slice(&says.window.to_be_bytes());
        head
    }

    /// The sum of the pseudo-header of a segment of so many bytes.
    #[inline]
    const fn pseudo(&self, len: usize) -> u16 {
        folded(self.pseudo + len as u32)
    }
}

/// Copies between slices of one length. Few bytes are copied here, by their two ends: a call takes longer than that.
#[inline(always)]
fn copy(to: &mut [u8], from: &[u8]) {
    match from.len() {
        0 => {}
        1 => to[0] = from[0],
        4..8 => copy_ends::<4>(to, from),
        8..=16 => copy_ends::<8>(to, from),
        _ => to.copy_from_slice(from),
    }
}

/// Copies the first and the last `N` bytes.
#[inline(always)]
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk()) {
        *to = *from;
    }
}

impl Marks {
    /// Notes a segment with so much data that is sent.
    #[inline]
    fn send(&mut self, says: Says, data: usize) {
        let Says { seq, flags, .. } = says;
        if flags & SYN != 0 {
            self.shift = Some(self.isn.wrapping_sub(seq));
            self.syns = self.syns.saturating_add(1);
        }
        self.again |= seq != self.sent;
        if flags & ACK != 0 {
            self.acking = says.ack;
        }
        self.window = says.window;
        let control = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let end = seq.wrapping_add(data as u32 + control);
        if after(end, self.sent) {
            self.sent = end;
        }
    }
}

impl Emitter<'_> {
    /// A segment that no engine wrote. Of options come whole words. With no buffer left it is lost, as on a full
    /// ring.
    #[inline]
    pub(super) fn plain(&mut self, head: &Head, says: Says, options: &[u8], data: &[u8]) {
        if self.v6.is_some() {
            return self.plain_v6(head, says, options, data);
        }
        let len = HEADERS - 20 + options.len() + data.len();
        let Some(frame) = self.pool.alloc(20 + len) else {
            self.counters.out_of_frames += 1;
            return;
        };
        let partial = self.stamp.partial;
        let (meta, bytes) = self.pool.parts_mut(&frame);
        meta.csum_partial = partial;
        meta.written = true;
        if let Some((start, rest)) = bytes.split_first_chunk_mut::<HEADERS>()
            && let Some((space, body)) = rest.split_at_mut_checked(options.len())
        {
            *start = head.filled(says, len, self.stamp.ip_id);
            start[32] = ((HEADERS - 20 + options.len()) << 2) as u8;
            copy(space, options);
            copy(body, data);
            let mut check = head.pseudo(len);
            if !partial {
                check = !wire::add(check, wire::sum(&bytes[20..]));
            }
            bytes[36..38].copy_from_slice(&check.to_be_bytes());
        }
        self.stamp.ip_id = self.stamp.ip_id.wrapping_add(1);
        self.counters.segments_out += 1;
        if says.flags & RST == 0 {
            self.marks.send(says, data.len());
        } else {
            self.counters.resets_out += 1;
        }
        self.out.push_back(frame);
    }

    #[inline(never)]
    fn plain_v6(&mut self, head: &Head, says: Says, options: &[u8], data: &[u8]) {
        let len = HEADERS - 20 + options.len() + data.len();
        let Some(frame) = self.pool.alloc(40 + len) else {
            self.counters.out_of_frames += 1;
            return;
        };
        let bytes = &mut self.pool.bytes_mut(&frame)[20..];
        if let Some((start, rest)) = bytes.split_first_chunk_mut::<HEADERS>() {
            *start = head.filled(says, len, 0);
            start[32] = ((HEADERS - 20 + options.len()) << 2) as u8;
            rest[..options.len()].copy_from_slice(options);
            rest[options.len()..].copy_from_slice(data);
        }
        self.finish(frame, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::tcp::Counters;
    use crate::netns::tcp::emit::Stamp;
    use std::collections::VecDeque;
    use switch::{Pool, Rng};

    /// A segment from the pattern is the one that is read back, marked and summed whole.
    #[test]
    fn as_if_it_was_finished() {
        let mut rng = Rng::new(11);
        for round in 0..2_000_u32 {
            let addr = |rng: &mut Rng| {
                let port = 1 + rng.below(65_535) as u16;
                SocketAddr::from((rng.next_u32().to_be_bytes(), port))
            };
            let (local, remote) = (addr(&mut rng), addr(&mut rng));
            let head = Head::new(local, remote, rng.next_u32() as u8);
            let flags = [SYN, SYN | ACK, ACK, ACK | FIN, RST | ACK][round as usize % 5];
            let says = Says {
                seq: rng.next_u32(),
                ack: if flags & ACK != 0 { rng.next_u32() } else { 0 },
                flags,
                window: rng.next_u32() as u16,
            };
            let options: Vec<u8> = (0..4 * rng.below(4)).map(|byte| byte as u8).collect();
            let data: Vec<u8> = (0..rng.below(40)).map(|byte| byte as u8).collect();
            let partial = rng.below(2) == 0;
            let stamp = Stamp {
                ip_id: rng.next_u32() as u16,
                partial,
            };
            let mut pool = Pool::default();
            let mut made = Vec::new();
            for finished in [false, true] {
                let (mut stamp, mut counters) = (stamp, Counters::default());
                let (mut out, mut marks) = (VecDeque::new(), Marks::new(says.seq));
                let mut emitter = Emitter {
                    pool: &mut pool,
                    out: &mut out,
                    stamp: &mut stamp,
                    counters: &mut counters,
                    marks: &mut marks,
                    v6: None,
                    open: None,
                };
                if finished {
                    let len = 20 + options.len() + data.len();
                    let mut bytes = head.filled(says, len, 0).to_vec();
                    bytes[32] = ((20 + options.len()) << 2) as u8;
                    bytes.extend_from_slice(&options);
                    bytes.extend_from_slice(&data);
                    emitter.copy(&bytes);
                } else {
                    emitter.plain(&head, says, &options, &data);
                }
                let frame = out.pop_front().expect("a segment");
                let meta = pool.meta(&frame);
                let meta = (meta.csum_partial, meta.gso_size, meta.written);
                let bytes = pool.bytes(&frame).to_vec();
                pool.free(frame);
                if flags & RST != 0 {
                    // Nothing follows a reset.
                    marks = Marks::new(says.seq);
                }
                made.push((bytes, meta, counters, stamp.ip_id, format!("{marks:?}")));
            }
            assert_eq!(made[0], made[1], "{says:?}");
        }
    }
}
