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
        sender(self.words[0], self.words[1])
    }

    /// Bytes of the packet in each of its frames.
    #[must_use]
    #[inline(always)]
    pub const fn packet(&self) -> u16 {
        let [high, low, ..] = self.words[2].to_ne_bytes();
        u16::from_be_bytes([high, low])
    }
}

/// Bytes of a frame of IPv6 that are looked at, in whole words.
const WIDE_HEAD: usize = 72;

/// Which bits of them are the same in frames of a shape: of a datagram, of a segment, as in [`MASKS`]. They end before the
/// shortest such frame.
static WIDE_MASKS: [[u64; WIDE_HEAD / 8]; 2] = [
    wide_mask([0xff; 2], [0; 2]),
    wide_mask([0; 2], [0xff, 0x37]),
];

/// Addresses and type; version; length and protocol; addresses, ports and `length` behind them; what stands at the
/// `offset` of a segment's data and behind it.
const fn wide_mask(length: [u8; 2], offset: [u8; 2]) -> [u64; WIDE_HEAD / 8] {
    [
        !0,
        u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf0, 0]),
        u64::from_ne_bytes([0, 0, 0xff, 0xff, 0xff, 0, 0xff, 0xff]),
        !0,
        !0,
        !0,
        !0,
        u64::from_ne_bytes([0xff, 0xff, length[0], length[1], 0, 0, 0, 0]),
        u64::from_ne_bytes([0, 0, offset[0], offset[1], 0, 0, 0, 0]),
    ]
}

/// The [`Shape`] of frames of IPv6. What may differ: traffic class, flow label, hop limit, checksums, and of a segment its
/// numbers, window and PSH.
#[derive(Clone, Copy, Debug)]
pub struct WideShape {
    words: [u64; WIDE_HEAD / 8],
    len: u32,
    is_segment: bool,
}

impl WideShape {
    /// Bytes of a frame that tell its shape, as far as it has them.
    pub const HEAD: usize = WIDE_HEAD;

    /// The shape of no frame: none is so long.
    pub const NONE: Self = Self {
        words: [0; WIDE_HEAD / 8],
        len: u32::MAX,
        is_segment: false,
    };

    /// The shape of an untagged `frame` whose packet is one that [`Wide::of`](super::Wide::of) takes and that is nothing but
    /// data.
    #[must_use]
    #[inline]
    pub fn of(frame: &[u8]) -> Option<Self> {
        let mut head = [0; WIDE_HEAD];
        let known = frame.len().min(WIDE_HEAD);
        head[..known].copy_from_slice(&frame[..known]);
        Some(Self {
            words: wide_words(&head),
            len: u32::try_from(frame.len()).ok()?,
            is_segment: frame.get(ETHER_LEN + 6) != Some(&UDP),
        })
    }

    /// Whether a frame of `len` bytes is of this shape, of which `head` are the first: what is behind the end of a shorter
    /// one does not matter.
    #[must_use]
    #[inline(always)]
    pub fn is_of_head(&self, len: u32, head: &[u8; WIDE_HEAD]) -> bool {
        let words = wide_words(head);
        let masks = &WIDE_MASKS[usize::from(self.is_segment)];
        let mut differing = 0;
        for at in 0..words.len() {
            differing |= (words[at] ^ self.words[at]) & masks[at];
        }
        len == self.len && differing == 0
    }

    /// The source address of its frames and their type, as they stand in memory.
    #[must_use]
    #[inline(always)]
    pub const fn sender(&self) -> u64 {
        sender(self.words[0], self.words[1])
    }

    /// Bytes of the packet in each of its frames.
    #[must_use]
    #[inline(always)]
    pub const fn packet(&self) -> u16 {
        let [_, _, high, low, ..] = self.words[2].to_ne_bytes();
        // Of a frame of less than 64 KiB with another header before this one.
        u16::from_be_bytes([high, low]).wrapping_add(40)
    }
}

/// As they stand in memory.
#[inline(always)]
fn wide_words(head: &[u8; WIDE_HEAD]) -> [u64; WIDE_HEAD / 8] {
    let (words, _) = head.as_chunks();
    let mut read = [0; WIDE_HEAD / 8];
    for (read, word) in read.iter_mut().zip(words) {
        *read = u64::from_ne_bytes(*word);
    }
    read
}

/// The source address and the type in the first two words of a frame, as they stand in memory.
#[inline(always)]
const fn sender(first: u64, second: u64) -> u64 {
    let [.., a, b] = first.to_ne_bytes();
    let [c, d, e, f, kind @ .., _, _] = second.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, kind[0], kind[1]])
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
