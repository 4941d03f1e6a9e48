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

mod buffer;
mod claim;
mod run;

use crate::copy::copy;

use self::buffer::{Buffer, Class, Slot, copy_bytes};
pub use self::claim::Claim;
pub use self::run::Burst;

/// Bytes kept free in front of a new frame, for an Ethernet header and a VLAN tag.
pub const HEADROOM: usize = 32;
/// Capacity of a small buffer, headroom included.
pub const SMALL: usize = 2048;
/// Capacity of a large buffer, headroom included.
pub const LARGE: usize = 66 * 1024;

const CLASS: u32 = 1 << 31;
/// Among the owners of a frame: somebody has a [`Claim`] to its bytes.
const CLAIM: u32 = 1 << 31;

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
    /// The bytes were just written from what a socket holds, which is the copy that the first wire makes.
    pub written: bool,
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

/// The small buffers of a pool, to read.
#[derive(Clone, Copy, Debug)]
pub struct Small<'a>(&'a [Buffer<SMALL>]);

/// The buffers of a lab.
#[derive(Debug)]
pub struct Pool {
    small: Class<SMALL>,
    large: Class<LARGE>,
    next_id: u64,
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
            small: Class::new(limits.small),
            large: Class::new(limits.large),
            next_id: 1,
        }
    }

    #[inline]
    fn slot(&self, frame: &Frame) -> &Slot {
        let index = frame.index();
        if frame.is_large() {
            &self.large.buffers[index].slot
        } else {
            &self.small.buffers[index].slot
        }
    }

    #[inline(always)]
    fn slot_mut(&mut self, frame: &Frame) -> &mut Slot {
        let index = frame.index();
        if frame.is_large() {
            &mut self.large.buffers[index].slot
        } else {
            &mut self.small.buffers[index].slot
        }
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
        if HEADROOM + len <= SMALL
            && let Some(index) = self.small.free.pop()
        {
            self.small.buffers[index as usize].slot = Slot::new(self.next_id, len);
            self.next_id += 1;
            return Some(Frame(index));
        }
        self.alloc_anew(len)
    }

    /// The same, and what is known of it and its bytes, both to be written.
    #[inline(always)]
    pub fn alloc_parts(&mut self, len: usize) -> Option<(Frame, &mut Meta, &mut [u8])> {
        let index = match HEADROOM + len <= SMALL {
            true => self.small.free.pop(),
            false => None,
        };
        let Some(index) = index else {
            return self.alloc_parts_anew(len);
        };
        let Buffer { slot, bytes } = &mut self.small.buffers[index as usize];
        *slot = Slot::new(self.next_id, len);
        self.next_id += 1;
        let bytes = bytes[HEADROOM..].get_mut(..len)?;
        Some((Frame(index), &mut slot.meta, bytes))
    }

    #[inline(never)]
    fn alloc_parts_anew(&mut self, len: usize) -> Option<(Frame, &mut Meta, &mut [u8])> {
        let frame = self.alloc_anew(len)?;
        let (meta, bytes) = self.parts_mut(&frame);
        Some((frame, meta, bytes))
    }

    #[inline(never)]
    fn alloc_anew(&mut self, len: usize) -> Option<Frame> {
        let frame = self.take(len)?;
        let id = self.next_id;
        self.next_id += 1;
        *self.slot_mut(&frame) = Slot::new(id, len);
        Some(frame)
    }

    /// A frame that holds `bytes`.
    #[inline]
    pub fn from_bytes(&mut self, bytes: &[u8]) -> Option<Frame> {
        if bytes.len() > SMALL - HEADROOM {
            return self.take_large(bytes);
        }
        let index = self.small.take()?;
        self.small.fill(index as usize, self.next_id, bytes);
        self.next_id += 1;
        Some(Frame(index))
    }

    #[inline(never)]
    fn take_large(&mut self, bytes: &[u8]) -> Option<Frame> {
        let frame = self.alloc(bytes.len())?;
        copy(self.bytes_mut(&frame), bytes);
        Some(frame)
    }

    /// Gives `frame` back.
    #[inline]
    pub fn free(&mut self, frame: Frame) {
        if frame.is_large() {
            self.large.release(frame.index());
        } else {
            self.small.release(frame.index());
        }
    }

    /// Shows the bytes of `frame` to `look` and gives it back.
    #[inline(always)]
    pub fn consume<T>(&mut self, frame: Frame, look: impl FnOnce(&[u8]) -> T) -> T {
        if frame.is_large() {
            self.large.consume(frame.index(), look)
        } else {
            self.small.consume(frame.index(), look)
        }
    }

    /// The bytes of `frame`.
    #[must_use]
    #[inline]
    pub fn bytes(&self, frame: &Frame) -> &[u8] {
        if frame.is_large() {
            self.large.bytes(frame.index())
        } else {
            self.small.bytes(frame.index())
        }
    }

    /// The bytes of `frame`, to write. A frame that is [shared](Self::share) has to be
    /// [made unique](Self::unshare) first.
    #[inline]
    pub fn bytes_mut(&mut self, frame: &Frame) -> &mut [u8] {
        if frame.is_large() {
            self.large.buffers[frame.index()].parts_mut().1
        } else {
            self.small.buffers[frame.index()].parts_mut().1
        }
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

    /// What is known of `frame`, and its bytes.
    #[must_use]
    #[inline(always)]
    pub fn view(&self, frame: &Frame) -> (Meta, &[u8]) {
        let index = frame.index();
        if frame.is_large() {
            self.large.buffers[index].view()
        } else {
            self.small.buffers[index].view()
        }
    }

    /// The number and the bytes of an ordinary frame in a small buffer, if there is room for a copy of it. `None` of
    /// others, of which nothing is said.
    #[must_use]
    #[inline(always)]
    pub fn ordinary(&self, frame: &Frame) -> Option<(u64, &[u8])> {
        if frame.is_large() || !self.small.has_one() {
            return None;
        }
        let (meta, bytes) = self.small.buffers[frame.index()].view();
        (meta.gso_size == 0).then_some((meta.id, bytes))
    }

    /// Its small buffers, for those who read many frames.
    #[must_use]
    #[inline(always)]
    pub fn small(&self) -> Small<'_> {
        Small(&self.small.buffers)
    }

    /// What is known of `frame`, to change.
    #[inline]
    pub fn meta_mut(&mut self, frame: &Frame) -> &mut Meta {
        &mut self.slot_mut(frame).meta
    }

    /// What is known of `frame` and its bytes, both to change. One that is [shared](Self::share) has to be
    /// [made unique](Self::unshare) first.
    #[inline]
    pub fn parts_mut(&mut self, frame: &Frame) -> (&mut Meta, &mut [u8]) {
        let index = frame.index();
        if frame.is_large() {
            self.large.buffers[index].parts_mut()
        } else {
            self.small.buffers[index].parts_mut()
        }
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
        let copy = self.take(self.len(frame))?;
        let (source, target) = (frame.index(), copy.index());
        match (frame.is_large(), copy.is_large()) {
            (false, false) => self.small.duplicate(source, target),
            (false, true) => {
                // Headers in its headroom have made it too long for a small one.
                let from = &self.small.buffers[source];
                let to = &mut self.large.buffers[target];
                to.slot = from.slot.copied();
                copy_bytes(to.parts_mut().1, from.view().1);
            }
            (true, true) => self.large.duplicate(source, target),
            (true, false) => {
                // A large buffer whose frame shrank: its copy fits a small one.
                let from = &self.large.buffers[source];
                let to = &mut self.small.buffers[target];
                to.slot = from.slot.copied();
                copy_bytes(to.parts_mut().1, from.view().1);
            }
        }
        Some(copy)
    }

    /// What a copy over a wire does: copies `frame` into another buffer and gives it back. One that was just
    /// [written](Meta::written), and is nobody else's, is that copy itself.
    ///
    /// # Errors
    /// The frame itself, when there is no other buffer.
    #[inline(always)]
    pub fn renew(&mut self, frame: Frame) -> Result<Frame, Frame> {
        let slot = self.slot_mut(&frame);
        if slot.meta.written {
            slot.meta.written = false;
            if slot.is_unique() {
                return Ok(frame);
            }
        }
        self.renew_by_copy(frame)
    }

    #[inline]
    fn renew_by_copy(&mut self, frame: Frame) -> Result<Frame, Frame> {
        if !frame.is_large()
            && let Some(copy) = self.small.exchange_short(frame.index())
        {
            return Ok(Frame(copy));
        }
        self.renew_other(frame)
    }

    /// The same for frames that are not short, or shared, or find no free buffer.
    #[inline(never)]
    fn renew_other(&mut self, frame: Frame) -> Result<Frame, Frame> {
        if frame.is_large() || HEADROOM + self.len(&frame) > SMALL {
            return match self.copy(&frame) {
                Some(copy) => {
                    self.free(frame);
                    Ok(copy)
                }
                None => Err(frame),
            };
        }
        match self.small.exchange(frame.index()) {
            Some(copy) => Ok(Frame(copy)),
            None => Err(frame),
        }
    }

    /// A second owner of the same bytes, for flooding without copies. Both give it back.
    #[inline]
    pub fn share(&mut self, frame: &Frame) -> Frame {
        self.slot_mut(frame).refs += 1;
        Frame(frame.0)
    }

    /// What is known of `frame`, and its bytes to write, if nobody [shares](Self::share) it.
    #[inline(always)]
    pub fn view_unique(&mut self, frame: &Frame) -> Option<(Meta, &mut [u8])> {
        let index = frame.index();
        if frame.is_large() {
            self.large.buffers[index].view_unique()
        } else {
            self.small.buffers[index].view_unique()
        }
    }

    /// Shows `write` what is known of `frame`, its bytes and the `N` of its headroom before them, which are the first of the
    /// frame if it says so; whether it does. It is not asked if there is less headroom. Of a frame that is
    /// [shared](Self::share) nothing may be written.
    #[inline(always)]
    pub fn put_before<const N: usize>(
        &mut self,
        frame: &Frame,
        write: impl FnOnce(Meta, &[u8], &mut [u8; N]) -> bool,
    ) -> bool {
        let index = frame.index();
        let (slot, bytes): (&mut Slot, &mut [u8]) = if frame.is_large() {
            let Buffer { slot, bytes } = &mut self.large.buffers[index];
            (slot, bytes)
        } else {
            let Buffer { slot, bytes } = &mut self.small.buffers[index];
            (slot, bytes)
        };
        let (start, len) = (slot.start, slot.len);
        let Some((room, bytes)) = bytes.split_at_mut_checked(start as usize) else {
            return false;
        };
        let (Some(room), Some(bytes)) = (room.last_chunk_mut(), bytes.get(..len as usize)) else {
            return false;
        };
        if !write(slot.meta, bytes, room) {
            return false;
        }
        (slot.start, slot.len) = (start - N as u32, len + N as u32);
        true
    }

    /// `frame` with bytes of its own: itself if nobody shares it, else a copy (or `None` at the
    /// limit; the share is given back either way).
    #[inline]
    pub fn unshare(&mut self, frame: Frame) -> Option<Frame> {
        if self.slot(&frame).is_unique() {
            return Some(frame);
        }
        let copy = self.copy(&frame);
        self.free(frame);
        copy
    }

    /// Whether `count` frames of any length find a buffer each.
    #[must_use]
    pub const fn has_room(&self, count: usize) -> bool {
        self.small.has_room(count) && self.large.has_room(count)
    }

    /// Three quarters of the buffers of each class are free: some may wait for a while.
    #[must_use]
    #[inline]
    pub const fn is_roomy(&self) -> bool {
        self.small.in_use() <= self.small.limit / 4 && self.large.in_use() <= self.large.limit / 4
    }

    /// Bytes of the buffer that `frame` is in.
    #[must_use]
    #[inline]
    pub const fn room_of(frame: &Frame) -> usize {
        if frame.is_large() { LARGE } else { SMALL }
    }

    /// Buffers that somebody owns now: 0 when a lab is at rest.
    #[must_use]
    pub const fn in_use(&self) -> usize {
        self.small.in_use() + self.large.in_use()
    }
}

impl<'a> Small<'a> {
    /// The number of an ordinary frame in a small buffer, its length, and the `N` bytes from its start, which may go on behind
    /// its end. `None` of others, of which nothing is said.
    #[must_use]
    #[inline(always)]
    pub fn ordinary<const N: usize>(&self, frame: &Frame) -> Option<(u64, u32, &'a [u8; N])> {
        // No small buffer has the number of a large one.
        let Buffer { slot, bytes } = self.0.get(frame.0 as usize)?;
        let start = slot.start as usize;
        let head = bytes.get(start..start + N)?.first_chunk()?;
        (slot.meta.gso_size == 0).then_some((slot.meta.id, slot.len, head))
    }
}

impl Frame {
    /// What stands in places where no frame is. No buffer has this number.
    pub(crate) const NOTHING: Self = Self(u32::MAX);

    /// Takes the frame out of its place.
    #[inline]
    pub(crate) const fn take(&mut self) -> Self {
        core::mem::replace(self, Self::NOTHING)
    }

    #[inline]
    const fn index(&self) -> usize {
        (self.0 & !CLASS) as usize
    }

    #[inline]
    const fn is_large(&self) -> bool {
        self.0 & CLASS != 0
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
