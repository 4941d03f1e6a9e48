//! The shape of a frame: all of it that a bridge and its hooks look at, to tell others like it in few steps.
//!
//! A frame of the shape of the first frame of a run is as long, has the same addresses and ports, and is as sound a packet. What
//! may differ: type of service, number, DF, time to live, checksums, and of a segment its numbers, window and PSH.

use crate::conntrack::tuple::UDP;
use crate::wire::ETHER_LEN;

/// Bytes of a frame that are looked at: to the flags of a segment. Shorter frames have no shape.
const HEAD: usize = ETHER_LEN + 34;

/// What a frame begins with, as it stands in memory.
type Words = [u64; HEAD / 8];

/// Which bits of the words are the same in frames of a shape.
#[repr(align(64))]
struct Mask(Words);

/// Those of a datagram: addresses and type; version and length; MF and offset; protocol; addresses, ports and length. Those
/// of a segment: the same to its ports, the length of its header, and the flags without PSH.
static MASKS: [Mask; 2] = [
    Mask([
        !0,
        u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]),
        u64::from_ne_bytes([0xff, 0xff, 0, 0, 0x3f, 0xff, 0, 0xff]),
        u64::from_ne_bytes([0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        !0,
        0,
    ]),
    Mask([
        !0,
        u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]),
        u64::from_ne_bytes([0xff, 0xff, 0, 0, 0x3f, 0xff, 0, 0xff]),
        u64::from_ne_bytes([0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]),
        u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0xff, 0x37]),
    ]),
];

/// What frames of a run have in common.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    words: Words,
    len: u32,
    is_segment: bool,
}

impl Shape {
    /// Bytes of a frame that tell its shape.
    pub const HEAD: usize = HEAD;

    /// The shape of no frame: none is so long.
    pub const NONE: Self = Self {
        words: [0; 6],
        len: u32::MAX,
        is_segment: false,
    };

    /// The shape of an untagged `frame` whose packet is one that [`Run::of`](super::Run::of) takes and that is nothing but data.
    #[must_use]
    #[inline]
    pub fn of(frame: &[u8]) -> Option<Self> {
        let is_segment = frame.get(ETHER_LEN + 9) != Some(&UDP);
        Some(Self {
            words: words(frame.first_chunk()?),
            len: u32::try_from(frame.len()).ok()?,
            is_segment,
        })
    }

    /// Whether another frame is of this shape.
    #[must_use]
    #[inline(always)]
    pub fn is_of(&self, frame: &[u8]) -> bool {
        frame.len() == self.len as usize && frame.first_chunk().is_some_and(|head| self.has(head))
    }

    /// Whether a frame of `len` bytes is, of which `head` are the first: what is behind the end of a shorter one does not
    /// matter.
    #[must_use]
    #[inline(always)]
    pub fn is_of_head(&self, len: u32, head: &[u8; HEAD]) -> bool {
        // No frame shorter than that has a shape.
        len == self.len && self.has(head)
    }

    #[inline(always)]
    fn has(&self, head: &[u8; HEAD]) -> bool {
        let words = words(head);
        let Mask(masks) = &MASKS[usize::from(self.is_segment)];
        let mut differing = 0;
        // From the back: so they are read in pairs that have masks of their own.
        for at in (0..words.len()).rev() {
            differing |= (words[at] ^ self.words[at]) & masks[at];
        }
        differing == 0
    }

    /// The source address of its frames and their type, as they stand in memory.
    #[must_use]
    #[inline(always)]
    pub const fn sender(&self) -> u64 {
        let [.., a, b] = self.words[0].to_ne_bytes();
        let [c, d, e, f, kind @ .., _, _] = self.words[1].to_ne_bytes();
        u64::from_ne_bytes([a, b, c, d, e, f, kind[0], kind[1]])
    }

    /// Bytes of the packet in each of its frames.
    #[must_use]
    #[inline(always)]
    pub const fn packet(&self) -> u16 {
        let [high, low, ..] = self.words[2].to_ne_bytes();
        u16::from_be_bytes([high, low])
    }
}

/// As they stand in memory.
#[inline(always)]
fn words(head: &[u8; HEAD]) -> Words {
    let (words, _) = head.as_chunks();
    let mut read = [0; HEAD / 8];
    for (read, word) in read.iter_mut().zip(words) {
        *read = u64::from_ne_bytes(*word);
    }
    read
}
