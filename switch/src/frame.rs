//! Frames and the pool that they live in.
//!
//! A [`Frame`] is an index into a [`Pool`], moved from owner to owner and given back by hand:
//! buffers are reused last in, first out, so that a busy lab stays inside the second-level cache.
//! There are two classes of buffer: 2 KiB for what a wire can carry, and 66 KiB for super-segments.
//! Bytes are not cleared between uses; whoever allocates writes all that it claims.
//!
//! A super-segment (`gso_size` is not 0) stands for the frames into which a wire edge cuts it, and a
//! partial checksum (`csum_partial`) is one that the edge fills in: Linux's `CHECKSUM_PARTIAL`, with
//! the pseudo-header sum already in the field.

/// Bytes kept free in front of a new frame, for an Ethernet header and a VLAN tag.
pub const HEADROOM: usize = 64;
/// Capacity of a small buffer, headroom included.
pub const SMALL: usize = 2048;
/// Capacity of a large buffer, headroom included.
pub const LARGE: usize = 66 * 1024;

const CLASS: u32 = 1 << 31;
/// A line of the cache.
const LINE: usize = 64;

/// A frame in a [`Pool`]: owned by one place at a time, given back with [`Pool::free`].
///
/// There is no `Drop`: the pool is not reachable from here. [`Pool::in_use`] finds what was lost.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a frame that is not passed on has to be given back to its pool"]
pub struct Frame(u32);

/// What is known of a frame besides its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The frame's number in the lab, the same for every copy of it: ties events together.
    pub id: u64,
    /// Payload bytes per wire frame if this is a super-segment; 0 if it is an ordinary frame.
    pub gso_size: u16,
    /// The transport checksum holds the pseudo-header sum only and is filled at a real edge.
    pub csum_partial: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    meta: Meta,
    start: u32,
    len: u32,
    refs: u32,
}

#[derive(Debug)]
struct Class {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// From one buffer to the next: a cache line more than a buffer, so that the heads of frames do not
    /// all fall into the same few sets of the first-level cache.
    stride: usize,
    limit: usize,
}

/// How many buffers of each class a pool may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// 2 KiB buffers.
    pub small: usize,
    /// 66 KiB buffers.
    pub large: usize,
}

impl Default for PoolLimits {
    /// 256 MiB of small and 264 MiB of large buffers; memory is taken only as frames need it.
    fn default() -> Self {
        Self {
            small: 128 * 1024,
            large: 4 * 1024,
        }
    }
}

/// The buffers of a lab.
#[derive(Debug)]
pub struct Pool {
    small: Class,
    large: Class,
    next_id: u64,
}

impl Class {
    const fn new(size: usize, limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            stride: size + LINE,
            limit,
        }
    }

    #[inline]
    fn take(&mut self) -> Option<u32> {
        if let Some(index) = self.free.pop() {
            return Some(index);
        }
        let index = self.slots.len();
        if index >= self.limit {
            return None;
        }
        self.bytes.resize((index + 1) * self.stride, 0);
        self.slots.push(Slot::default());
        u32::try_from(index).ok()
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(PoolLimits::default())
    }
}

impl Pool {
    /// An empty pool that never holds more than `limits`.
    #[must_use]
    pub const fn new(limits: PoolLimits) -> Self {
        Self {
            small: Class::new(SMALL, limits.small),
            large: Class::new(LARGE, limits.large),
            next_id: 1,
        }
    }

    #[inline]
    fn class(&self, frame: &Frame) -> (&Class, usize) {
        if frame.0 & CLASS == 0 {
            (&self.small, frame.0 as usize)
        } else {
            (&self.large, (frame.0 & !CLASS) as usize)
        }
    }

    #[inline]
    fn class_mut(&mut self, frame: &Frame) -> (&mut Class, usize) {
        if frame.0 & CLASS == 0 {
            (&mut self.small, frame.0 as usize)
        } else {
            (&mut self.large, (frame.0 & !CLASS) as usize)
        }
    }

    #[inline]
    fn slot(&self, frame: &Frame) -> &Slot {
        let (class, index) = self.class(frame);
        &class.slots[index]
    }

    #[inline]
    fn slot_mut(&mut self, frame: &Frame) -> &mut Slot {
        let (class, index) = self.class_mut(frame);
        &mut class.slots[index]
    }

    #[inline]
    fn take(&mut self, len: usize) -> Option<Frame> {
        if HEADROOM + len <= SMALL {
            self.small.take().map(Frame)
        } else if HEADROOM + len <= LARGE {
            self.large.take().map(|index| Frame(index | CLASS))
        } else {
            None
        }
    }

    /// A frame of `len` bytes with a new number and [`HEADROOM`] in front of it, or `None` when the
    /// pool is at its limit or `len` is more than a large buffer holds. The bytes are whatever the
    /// buffer held before.
    #[inline]
    pub fn alloc(&mut self, len: usize) -> Option<Frame> {
        let frame = self.take(len)?;
        let id = self.next_id;
        self.next_id += 1;
        *self.slot_mut(&frame) = Slot {
            meta: Meta {
                id,
                ..Meta::default()
            },
            start: HEADROOM as u32,
            len: len as u32,
            refs: 1,
        };
        Some(frame)
    }

    /// A frame that holds `bytes`.
    #[inline]
    pub fn from_bytes(&mut self, bytes: &[u8]) -> Option<Frame> {
        let frame = self.alloc(bytes.len())?;
        self.bytes_mut(&frame).copy_from_slice(bytes);
        Some(frame)
    }

    /// Gives `frame` back.
    #[inline]
    pub fn free(&mut self, frame: Frame) {
        let (class, index) = self.class_mut(&frame);
        let slot = &mut class.slots[index];
        debug_assert!(slot.refs > 0, "frame given back twice");
        slot.refs -= 1;
        if slot.refs == 0 {
            class.free.push(index as u32);
        }
    }

    /// The bytes of `frame`.
    #[must_use]
    #[inline]
    pub fn bytes(&self, frame: &Frame) -> &[u8] {
        let (class, index) = self.class(frame);
        let slot = &class.slots[index];
        let start = index * class.stride + slot.start as usize;
        &class.bytes[start..start + slot.len as usize]
    }

    /// The bytes of `frame`, to write. A frame that is [shared](Self::share) has to be
    /// [made unique](Self::unshare) first.
    #[inline]
    pub fn bytes_mut(&mut self, frame: &Frame) -> &mut [u8] {
        let (class, index) = self.class_mut(frame);
        let slot = class.slots[index];
        debug_assert_eq!(slot.refs, 1, "a shared frame is not written");
        let start = index * class.stride + slot.start as usize;
        &mut class.bytes[start..start + slot.len as usize]
    }

    /// Number of bytes in `frame`.
    #[must_use]
    #[inline]
    pub fn len(&self, frame: &Frame) -> usize {
        self.slot(frame).len as usize
    }

    /// What is known of `frame`.
    #[must_use]
    #[inline]
    pub fn meta(&self, frame: &Frame) -> Meta {
        self.slot(frame).meta
    }

    /// What is known of `frame`, to change.
    #[inline]
    pub fn meta_mut(&mut self, frame: &Frame) -> &mut Meta {
        &mut self.slot_mut(frame).meta
    }

    /// Takes `count` bytes off the front (at most all of them).
    #[inline]
    pub fn pull(&mut self, frame: &Frame, count: usize) {
        let slot = self.slot_mut(frame);
        let count = (count as u32).min(slot.len);
        slot.start += count;
        slot.len -= count;
    }

    /// Puts `count` bytes of headroom in front of the bytes, unwritten.
    ///
    /// # Panics
    /// If there is less headroom than that: new frames have [`HEADROOM`].
    #[inline]
    pub fn push(&mut self, frame: &Frame, count: usize) {
        let slot = self.slot_mut(frame);
        assert!(
            slot.start as usize >= count,
            "no headroom for {count} bytes"
        );
        slot.start -= count as u32;
        slot.len += count as u32;
    }

    /// Cuts the frame to its first `len` bytes; longer than it is has no effect.
    pub fn truncate(&mut self, frame: &Frame, len: usize) {
        let slot = self.slot_mut(frame);
        slot.len = slot.len.min(len as u32);
    }

    /// A second frame with the same bytes, number and marks, or `None` at the limit.
    #[inline]
    pub fn copy(&mut self, frame: &Frame) -> Option<Frame> {
        let from = *self.slot(frame);
        let copy = self.take(from.len as usize)?;
        *self.slot_mut(&copy) = Slot {
            meta: from.meta,
            start: HEADROOM as u32,
            len: from.len,
            refs: 1,
        };
        let len = from.len as usize;
        let (source_large, target_large) = (frame.0 & CLASS != 0, copy.0 & CLASS != 0);
        let source = (frame.0 & !CLASS) as usize;
        let target = (copy.0 & !CLASS) as usize;
        if source_large == target_large {
            let class = if source_large {
                &mut self.large
            } else {
                &mut self.small
            };
            let at = source * class.stride + from.start as usize;
            class
                .bytes
                .copy_within(at..at + len, target * class.stride + HEADROOM);
        } else {
            // A large buffer whose frame shrank: its copy fits a small one.
            let at = source * self.large.stride + from.start as usize;
            let to = target * self.small.stride + HEADROOM;
            self.small.bytes[to..to + len].copy_from_slice(&self.large.bytes[at..at + len]);
        }
        Some(copy)
    }

    /// A second owner of the same bytes, for flooding without copies. Both give it back.
    #[inline]
    pub fn share(&mut self, frame: &Frame) -> Frame {
        self.slot_mut(frame).refs += 1;
        Frame(frame.0)
    }

    /// `frame` with bytes of its own: itself if nobody shares it, else a copy (or `None` at the
    /// limit; the share is given back either way).
    #[inline]
    pub fn unshare(&mut self, frame: Frame) -> Option<Frame> {
        if self.slot(&frame).refs == 1 {
            return Some(frame);
        }
        let copy = self.copy(&frame);
        self.free(frame);
        copy
    }

    /// Buffers that somebody owns now: 0 when a lab is at rest.
    #[must_use]
    pub const fn in_use(&self) -> usize {
        self.small.slots.len() - self.small.free.len() + self.large.slots.len()
            - self.large.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_reused_last_in_first_out() {
        let mut pool = Pool::default();
        let a = pool.from_bytes(b"a").unwrap();
        let b = pool.from_bytes(b"b").unwrap();
        let index = b.0;
        pool.free(a);
        pool.free(b);
        let c = pool.alloc(1).unwrap();
        assert_eq!(c.0, index);
        pool.free(c);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn a_copy_has_the_bytes_and_the_number() {
        let mut pool = Pool::default();
        for len in [1, SMALL - HEADROOM, SMALL, LARGE - HEADROOM] {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let a = pool.from_bytes(&bytes).unwrap();
            pool.meta_mut(&a).gso_size = 1448;
            let b = pool.copy(&a).unwrap();
            assert_eq!(pool.bytes(&b), bytes);
            assert_eq!(pool.meta(&b), pool.meta(&a));
            pool.truncate(&a, 1);
            let short = pool.copy(&a).unwrap();
            assert_eq!(pool.bytes(&short), &bytes[..1]);
            for frame in [a, b, short] {
                pool.free(frame);
            }
        }
        assert!(pool.alloc(LARGE).is_none());
    }

    #[test]
    fn the_limit_holds() {
        let mut pool = Pool::new(PoolLimits { small: 1, large: 0 });
        let only = pool.alloc(10).unwrap();
        assert!(pool.alloc(10).is_none());
        assert!(pool.alloc(SMALL).is_none());
        assert!(pool.copy(&only).is_none());
        pool.free(only);
    }

    #[test]
    fn sharing_ends_in_a_copy() {
        let mut pool = Pool::default();
        let a = pool.from_bytes(b"flood").unwrap();
        let b = pool.share(&a);
        let b = pool.unshare(b).unwrap();
        assert_ne!(a.0, b.0);
        pool.bytes_mut(&b)[0] = b'F';
        assert_eq!(pool.bytes(&a), b"flood");
        pool.free(a);
        pool.free(b);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn headers_go_on_and_off() {
        let mut pool = Pool::default();
        let a = pool.from_bytes(b"ip").unwrap();
        pool.push(&a, 3);
        pool.bytes_mut(&a)[..3].copy_from_slice(b"eth");
        assert_eq!(pool.bytes(&a), b"ethip");
        pool.pull(&a, 3);
        assert_eq!(pool.bytes(&a), b"ip");
        pool.free(a);
    }
}
