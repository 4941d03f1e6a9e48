//! The shape of a frame: all of it that a bridge and its hooks look at, to tell others like it in few steps.
//!
//! A frame of the shape of the first frame of a run is as long, has the same addresses and ports, and is as sound a packet. What
//! may differ: type of service, number, DF, time to live, checksums, and of a segment its numbers, window and PSH.

use super::lane::SOURCE_MASK;
use crate::conntrack::tuple::UDP;
use crate::wire::ETHER_LEN;

/// Bytes of a frame that are looked at: to the flags of a segment. Shorter frames have no shape.
const HEAD: usize = ETHER_LEN + 34;
/// Of the first eight bytes of a packet: version, length, MF and offset.
const LENGTH_MASK: u64 = 0xff00_ffff_0000_3fff;
/// Of the first eight bytes of a datagram: ports and length.
const DATAGRAM_MASK: u64 = 0xffff_ffff_ffff_0000;
/// Of the eight bytes up to the flags of a segment: the length of its header, and the flags without PSH.
const FLAGS_MASK: u64 = 0xff37;

/// The words of a frame's head, masked: its addresses and type in two that overlap, the packet's length, its source, its
/// destination, then what a datagram or a segment begins with.
type Words = [u64; 6];

/// What frames of a run have in common.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    words: Words,
    len: u32,
    is_segment: bool,
}

impl Shape {
    /// The shape of no frame.
    pub const NONE: Self = Self {
        words: [0; 6],
        len: 0,
        is_segment: false,
    };

    /// The shape of an untagged `frame` whose packet is one that [`Run::of`](super::Run::of) takes and that is nothing but data.
    #[must_use]
    #[inline]
    pub fn of(frame: &[u8]) -> Option<Self> {
        let is_segment = frame.get(ETHER_LEN + 9) != Some(&UDP);
        Some(Self {
            words: words(frame, is_segment)?,
            len: u32::try_from(frame.len()).ok()?,
            is_segment,
        })
    }

    /// Whether another frame is of this shape.
    #[must_use]
    #[inline(always)]
    pub fn is_of(&self, frame: &[u8]) -> bool {
        let Some(words) = words(frame, self.is_segment) else {
            return false;
        };
        let differing = |at: usize| words[at] ^ self.words[at];
        let addresses = differing(0) | differing(1) | differing(3) | differing(4);
        (addresses | differing(2) | differing(5)) == 0 && frame.len() == self.len as usize
    }

    /// The source address of its frames and their type, as they stand in memory.
    #[must_use]
    #[inline(always)]
    pub const fn sender(&self) -> u64 {
        self.words[1]
    }

    /// Bytes of the packet in each of its frames.
    #[must_use]
    #[inline(always)]
    pub const fn packet(&self) -> u16 {
        (u64::from_be(self.words[2]) >> 32) as u16
    }
}

/// As they stand in memory.
#[inline(always)]
fn words(frame: &[u8], is_segment: bool) -> Option<Words> {
    let head: &[u8; HEAD] = frame.first_chunk()?;
    let begin = match is_segment {
        false => word(head, 34) & DATAGRAM_MASK.to_be(),
        true => word(head, 40) & FLAGS_MASK.to_be(),
    };
    Some([
        word(head, 0),
        word(head, 6),
        word(head, 14) & LENGTH_MASK.to_be(),
        word(head, 22) & SOURCE_MASK.to_be(),
        word(head, 30),
        begin,
    ])
}

#[inline(always)]
fn word(head: &[u8; HEAD], at: usize) -> u64 {
    let bytes = head[at..].first_chunk();
    bytes.map_or(0, |&bytes| u64::from_ne_bytes(bytes))
}
