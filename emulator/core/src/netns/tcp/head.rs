//! Segments that no engine writes: a connection's headers are a pattern into which numbers are filled.
//!
//! Addresses, ports and most of the IP header stay the same from segment to segment, and so do their parts of the
//! checksums, which are summed once (RFC 1071: the order of the words does not matter). What leaves is byte by byte
//! what [`Emitter::finish`] makes of the same segment, which those of IPv6 still pass.

use core::net::SocketAddr;

use switch::wire;

use super::conn::Conn;
use super::emit::{Emitter, Marks, Stamp};
use super::machine::Machine;
use super::paths::{LOCAL, REMOTE};
use super::segment::{ACK, FIN, RST, SYN, after};
use super::{Counters, TcpCx};

/// Headers of IPv4 and TCP without options.
pub(super) const HEADERS: usize = 40;
/// Where in the second word the time to live stands, and in the second and the last one the checksums.
const HOPS: u32 = 56;
const CHECK: u32 = 32;
const SEGMENT_CHECK: u32 = 16;

/// Headers of a connection's segments, but for lengths, ID, numbers, flags, window and checksums, which are 0: the
/// first three of five words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// Version to fragment offset; time to live to source; destination and ports.
    words: [u64; 3],
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

/// The words of an IP header but for length, ID, time to live, protocol, checksum and addresses.
const START: u64 = 0x4500_0000_0000_4000;
const START_SUM: u32 = 0x4500 + 0x4000;
const PROTOCOL: u32 = 6;

/// The sum of the two 16-bit words of an address.
const fn sum_of(address: u32) -> u32 {
    (address >> 16) + (address & 0xffff)
}

/// A sum of a few 16-bit words as one.
const fn folded(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + sum) as u16
}

impl Head {
    /// Headers of segments between these ends. The engine's IPv4 stands in for IPv6.
    pub(super) fn new(local: SocketAddr, remote: SocketAddr, hops: u8) -> Self {
        let (source, destination) = match (local, remote) {
            (SocketAddr::V4(local), SocketAddr::V4(remote)) => (*local.ip(), *remote.ip()),
            _ => (LOCAL, REMOTE),
        };
        let (source, destination) = (source.to_bits(), destination.to_bits());
        let ports = u64::from(local.port()) << 16 | u64::from(remote.port());
        let mut head = Self {
            words: [
                START,
                u64::from(PROTOCOL) << 48 | u64::from(source),
                u64::from(destination) << 32 | ports,
            ],
            header: 0,
            pseudo: sum_of(source) + sum_of(destination) + PROTOCOL,
        };
        head.set_hop_limit(hops);
        head
    }

    /// The headers.
    pub(super) fn bytes(&self) -> [u8; HEADERS] {
        let [start, middle, ends] = self.words;
        written([start, middle, ends, 0, 0])
    }

    /// Sets the time to live; 0 counts as 1.
    pub(super) const fn set_hop_limit(&mut self, hops: u8) {
        let hops = if hops == 0 { 1 } else { hops };
        let middle = &mut self.words[1];
        *middle = *middle << 8 >> 8 | (hops as u64) << HOPS;
        // Addresses and protocol are in both.
        self.header = START_SUM + self.pseudo + ((hops as u32) << 8);
    }

    /// The headers of a segment of so many bytes with its header, whose checksum is `check` and which has so many
    /// bytes of options.
    #[inline(always)]
    fn filled(
        &self,
        says: Says,
        (options, len): (usize, usize),
        ip_id: u16,
        check: u16,
    ) -> [u8; HEADERS] {
        let [start, middle, ends] = self.words;
        let whole = (20 + len) as u16;
        let header_check = !folded(self.header + u32::from(whole) + u32::from(ip_id));
        let offset = ((HEADERS - 20 + options) << 2) as u8;
        written([
            start | u64::from(whole) << 32 | u64::from(ip_id) << 16,
            middle | u64::from(header_check) << CHECK,
            ends,
            u64::from(says.seq) << 32 | u64::from(says.ack),
            u64::from(u16::from_be_bytes([offset, says.flags])) << 48
                | u64::from(says.window) << 32
                | u64::from(check) << SEGMENT_CHECK,
        ])
    }

    /// The sum of the pseudo-header of a segment of so many bytes.
    #[inline]
    const fn pseudo(&self, len: usize) -> u16 {
        folded(self.pseudo + len as u32)
    }
}

/// Words as they stand on the wire.
#[inline(always)]
fn written(words: [u64; 5]) -> [u8; HEADERS] {
    let mut bytes = [0; HEADERS];
    let places = bytes.as_chunks_mut().0.iter_mut();
    for (place, word) in places.zip(words) {
        *place = word.to_be_bytes();
    }
    bytes
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
    #[inline(always)]
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
    /// A segment of IPv4 that no engine wrote. Of options come whole words. With no buffer left it is lost, as on a
    /// full ring.
    #[inline(always)]
    pub(super) fn plain(self, head: &Head, says: Says, options: &[u8], data: &[u8]) {
        debug_assert!(self.v6.is_none());
        let len = HEADERS - 20 + options.len() + data.len();
        let Some((frame, meta, bytes)) = self.pool.alloc_parts(20 + len) else {
            self.counters.out_of_frames += 1;
            return;
        };
        let Stamp { ip_id, partial } = *self.stamp;
        meta.csum_partial = partial;
        meta.written = true;
        if let Some((start, rest)) = bytes.split_first_chunk_mut::<HEADERS>()
            && let Some((space, body)) = rest.split_at_mut_checked(options.len())
        {
            let check = head.pseudo(len);
            *start = head.filled(says, (options.len(), len), ip_id, check);
            copy(space, options);
            copy(body, data);
            if !partial {
                summed(bytes);
            }
        }
        self.stamp.ip_id = ip_id.wrapping_add(1);
        self.counters.segments_out += 1;
        if says.flags & RST == 0 {
            self.marks.send(says, data.len());
        } else {
            self.counters.resets_out += 1;
        }
        self.out.push(frame);
    }

    /// The same of IPv6.
    #[inline(never)]
    fn plain_v6(mut self, head: &Head, says: Says, options: &[u8], data: &[u8]) {
        let len = HEADERS - 20 + options.len() + data.len();
        let Some(frame) = self.pool.alloc(40 + len) else {
            self.counters.out_of_frames += 1;
            return;
        };
        let bytes = &mut self.pool.bytes_mut(&frame)[20..];
        if let Some((start, rest)) = bytes.split_first_chunk_mut::<HEADERS>() {
            *start = head.filled(says, (options.len(), len), 0, 0);
            rest[..options.len()].copy_from_slice(options);
            rest[options.len()..].copy_from_slice(data);
        }
        self.finish(frame, 0);
    }
}

/// Sends a segment of the connection `conn`, which is brief, with `options` and the last bytes that it said.
#[inline(always)]
pub(super) fn say(
    cx: &mut TcpCx<'_>,
    (stamp, counters): (&mut Stamp, &mut Counters),
    conn: &mut Conn,
    says: Says,
    options: &[u8],
    data: usize,
) {
    let v6 = conn.v6();
    let Some(Machine::Brief(brief)) = &conn.engine else {
        return;
    };
    let (head, data) = (&brief.head, brief.last_said(data));
    let marks = &mut conn.marks;
    // Nothing of an emitter for IPv4 has to be in memory.
    match v6 {
        None => Emitter::new(cx, stamp, counters, marks, None).plain(head, says, options, data),
        Some(_) => Emitter::new(cx, stamp, counters, marks, v6).plain_v6(head, says, options, data),
    }
}

/// Makes a checksum that is partial whole.
#[inline(never)]
fn summed(bytes: &mut [u8]) {
    let check = !wire::sum(&bytes[20..]);
    bytes[36..38].copy_from_slice(&check.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
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
                let (mut out, mut marks) = (Vec::new(), Marks::new(says.seq));
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
                    let mut bytes = head.filled(says, (options.len(), len), 0, 0).to_vec();
                    bytes.extend_from_slice(&options);
                    bytes.extend_from_slice(&data);
                    emitter.copy(&bytes);
                } else {
                    emitter.plain(&head, says, &options, &data);
                }
                let frame = out.pop().expect("a segment");
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
