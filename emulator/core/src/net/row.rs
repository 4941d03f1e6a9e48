//! Rows: frames of a burst that go the same way, counted together.

use switch::frame::Meta;
use switch::hook::{Run, Shape};
use switch::wire::ETHER_LEN;
use switch::{Frame, Pool};

use super::version::Figure;
use crate::id::IfId;

pub(super) const IPV4: [u8; 2] = [0x08, 0x00];
pub(super) const IPV6: [u8; 2] = [0x86, 0xdd];

/// The type of what is in a frame.
#[inline(always)]
pub(super) fn kind(bytes: &[u8]) -> Option<&[u8; 2]> {
    bytes.get(ETHER_LEN - 2..)?.first_chunk()
}

/// Ordinary frames with the same Ethernet header.
pub(super) struct Row {
    pub(super) count: u32,
    pub(super) bytes: u64,
    pub(super) longest: usize,
    pub(super) first: u64,
    /// Their numbers follow each other.
    pub(super) in_order: bool,
    /// The packets in them, if the bridge's hooks want to know of them.
    pub(super) packets: Option<Run>,
}

impl Row {
    /// A row of one frame; `None` if it goes alone. With hooks on the bridge `guarded` by, it is a packet
    /// of a flow, which are of IPv4.
    #[inline]
    pub(super) fn of(meta: Meta, bytes: &[u8], guarded: Option<IfId>) -> Option<Self> {
        let (head, payload) = bytes.split_first_chunk::<ETHER_LEN>()?;
        if meta.gso_size != 0 {
            return None;
        }
        let packets = match (guarded, [head[12], head[13]]) {
            (Some(bridge), IPV4) => Some(Run::of(payload, bridge, 1)?),
            (Some(_), IPV6) => return None,
            _ => None,
        };
        Some(Self {
            count: 1,
            bytes: bytes.len() as u64,
            longest: bytes.len(),
            first: meta.id,
            in_order: true,
            packets,
        })
    }

    /// A row of `first`, whose shape is given, and all of `others` that look the same to all on their way. `None` if there are
    /// none, or it goes alone. Its packets are not read.
    #[inline]
    pub(super) fn alike<F: Figure>(
        pool: &Pool,
        first: &Frame,
        shape: &F,
        others: &[Frame],
    ) -> Option<Self> {
        let (number, len, _) = F::head(&pool.small(), first)?;
        let (count, in_order) = alike(pool, shape, number + 1, others);
        let count = count as u32 + 1;
        (count > 1).then_some(Self {
            count,
            bytes: u64::from(count) * u64::from(len),
            longest: len as usize,
            first: number,
            in_order,
            packets: None,
        })
    }

    /// Adds the frames of `waiting` behind its first, whose bytes are `bytes`, that go the way of that one.
    #[inline]
    pub(super) fn extend(&mut self, pool: &Pool, bytes: &[u8], waiting: &[Frame]) {
        if let Some(second) = waiting.get(1)
            && self.packets.as_ref().is_none_or(Run::may_grow)
            && let Some(head) = header(bytes)
            && header(pool.bytes(second)) == Some(head)
        {
            let like = self.extend_alike(pool, bytes, &waiting[1..]);
            self.extend_by(pool, head, &waiting[1 + like..]);
        }
    }

    /// Adds frames of packets that look the same to all on their way; how many.
    fn extend_alike(&mut self, pool: &Pool, bytes: &[u8], others: &[Frame]) -> usize {
        let Some(shape) = self.packets.as_ref().and_then(|_| Shape::of(bytes)) else {
            return 0;
        };
        let (count, in_order) = alike(pool, &shape, self.first + 1, others);
        self.in_order = in_order;
        self.count += count as u32;
        self.bytes += (count * bytes.len()) as u64;
        if let Some(packets) = &mut self.packets {
            packets.add_alike(count as u32);
        }
        count
    }

    fn extend_by(&mut self, pool: &Pool, head: [u64; 2], others: &[Frame]) {
        let (mut count, mut length, mut longest, mut packet_bytes) = (0, 0, self.longest, 0);
        let mut gaps = 0;
        let next = self.first + u64::from(self.count);
        for (number, frame) in (next..).zip(others) {
            let (next, bytes) = pool.view(frame);
            if header(bytes) != Some(head) || next.gso_size != 0 {
                break;
            }
            if let Some(packets) = &self.packets {
                let Some(len) = packets.length_of(&bytes[ETHER_LEN..]) else {
                    break;
                };
                packet_bytes += len;
            }
            gaps |= next.id ^ number;
            count += 1;
            length += bytes.len();
            longest = longest.max(bytes.len());
        }
        self.in_order &= gaps == 0;
        self.count += count;
        self.bytes += length as u64;
        self.longest = longest;
        if let Some(packets) = &mut self.packets {
            packets.add(count, packet_bytes);
        }
    }
}

/// How many of the first frames are of this shape, and whether their numbers follow each other from `next` on. Never
/// inlined: what it needs stays in registers then.
#[inline(never)]
fn alike<F: Figure>(pool: &Pool, shape: &F, next: u64, frames: &[Frame]) -> (usize, bool) {
    let (small, mut gaps) = (pool.small(), 0);
    let is_alike = |&(frame, next): &(&Frame, u64)| {
        let Some((number, len, head)) = F::head(&small, frame) else {
            return false;
        };
        let is_alike = shape.is_of_head(len, head);
        if is_alike {
            gaps |= number ^ next;
        }
        is_alike
    };
    let count = frames.iter().zip(next..).take_while(is_alike).count();
    (count, gaps == 0)
}

/// What tells flows apart: the Ethernet header, and of an IPv4 packet without options protocol, addresses and ports. Other
/// frames may differ here and be of one flow all the same.
#[inline]
pub(super) fn flow(bytes: &[u8]) -> Option<([u64; 2], [u64; 2])> {
    let packet = bytes.get(ETHER_LEN + 8..)?;
    let (protocol, rest) = packet.split_first_chunk()?;
    let same = u64::from_ne_bytes([0, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    let source = u64::from_ne_bytes(*protocol) & same;
    let rest = u64::from_ne_bytes(*rest.first_chunk()?);
    Some((header(bytes)?, [source, rest]))
}

/// The Ethernet header of a frame: 14 bytes in two words that overlap.
#[inline]
fn header(bytes: &[u8]) -> Option<[u64; 2]> {
    let bytes = bytes.first_chunk::<ETHER_LEN>()?;
    let (first, last) = (bytes.first_chunk()?, bytes.last_chunk()?);
    Some([u64::from_ne_bytes(*first), u64::from_ne_bytes(*last)])
}
