//! The buffers of a pool: one class of them, one of them, and what is known of the frame in it.

use core::fmt;
use core::ops::Range;

use super::{CLAIM, HEADROOM, Meta};
use crate::copy::copy;

/// A line of the cache.
const LINE: usize = 64;
/// Buffers for which memory is taken at once, at least.
const GROWTH: usize = 8;

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) meta: Meta,
    pub(super) start: u32,
    pub(super) len: u32,
    /// Its owners, and [`CLAIM`].
    pub(super) refs: u32,
}

/// What is known of one frame, and its memory: with the headroom a line of the cache, so that a new frame begins on the
/// next. By that line it is longer than what it may hold, so that the heads of frames do not all fall into the same few
/// sets of the first-level cache.
#[repr(C, align(64))]
pub(super) struct Buffer<const SIZE: usize> {
    pub(super) slot: Slot,
    pub(super) bytes: [u8; SIZE],
}

#[derive(Debug)]
pub(super) struct Class<const SIZE: usize> {
    pub(super) buffers: Vec<Buffer<SIZE>>,
    pub(super) free: Vec<u32>,
    pub(super) limit: usize,
}

impl<const SIZE: usize> fmt::Debug for Buffer<SIZE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SIZE} bytes")
    }
}

/// Copies between slices of one length. Short frames are copied here, by their two ends: a call to
/// `memmove` takes longer than that.
#[inline]
pub(super) fn copy_bytes(to: &mut [u8], from: &[u8]) {
    match from.len() {
        32..LINE => copy_ends::<32>(to, from),
        LINE..=128 => copy_ends::<LINE>(to, from),
        _ => copy(to, from),
    }
}

/// Copies the first and the last `N` bytes.
#[inline]
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk()) {
        *to = *from;
    }
    if from.len() > N
        && let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk())
    {
        *to = *from;
    }
}

impl<const SIZE: usize> Class<SIZE> {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            buffers: Vec::new(),
            free: Vec::new(),
            limit,
        }
    }

    #[inline]
    pub(super) fn take(&mut self) -> Option<u32> {
        match self.free.pop() {
            Some(index) => Some(index),
            None => self.grow(),
        }
    }

    #[cold]
    pub(super) fn grow(&mut self) -> Option<u32> {
        let index = self.buffers.len();
        if index >= self.limit {
            return None;
        }
        if index == self.buffers.capacity() {
            let more = index.max(GROWTH).min(self.limit - index);
            self.buffers.reserve_exact(more);
            self.free.reserve_exact(index + more);
        }
        self.buffers.push(Buffer {
            slot: Slot::EMPTY,
            bytes: [0; SIZE],
        });
        u32::try_from(index).ok()
    }

    pub(super) const fn in_use(&self) -> usize {
        self.buffers.len() - self.free.len()
    }

    pub(super) const fn has_room(&self, count: usize) -> bool {
        self.in_use() + count <= self.limit
    }

    /// What [`Self::has_room`] says of one.
    #[inline(always)]
    pub(super) const fn has_one(&self) -> bool {
        !self.free.is_empty() || self.buffers.len() < self.limit
    }

    #[inline]
    pub(super) fn bytes(&self, index: usize) -> &[u8] {
        self.buffers[index].view().1
    }

    /// Gives back one share of a buffer.
    #[inline]
    pub(super) fn release(&mut self, index: usize) {
        let slot = &mut self.buffers[index].slot;
        debug_assert!(slot.refs & !CLAIM > 0, "frame given back twice");
        slot.refs -= 1;
        if slot.refs == 0 {
            self.free.push(index as u32);
        }
    }

    /// [`Self::exchange`] of a short frame that is nobody else's, if a buffer is free; `None`, and nothing has happened, else.
    #[inline(always)]
    pub(super) fn exchange_short(&mut self, index: usize) -> Option<u32> {
        let last = self.free.last_mut()?;
        let both = (self.buffers).get_disjoint_mut([index, *last as usize]);
        let [source, target] = both.ok()?;
        if source.slot.refs != 1 || !target.copy_short(source) {
            return None;
        }
        source.slot.refs = 0;
        // The next buffer to be used is the one that this frame leaves.
        Some(core::mem::replace(last, index as u32))
    }

    /// Copies a frame into another buffer and gives its share of this one back.
    #[inline]
    pub(super) fn exchange(&mut self, index: usize) -> Option<u32> {
        if let Some(last) = self.free.last_mut()
            && let Ok([source, target]) = (self.buffers).get_disjoint_mut([index, *last as usize])
            && source.slot.refs == 1
        {
            target.copy_of(source);
            source.slot.refs = 0;
            return Some(core::mem::replace(last, index as u32));
        }
        let copy = self.take()?;
        self.duplicate(index, copy as usize);
        self.release(index);
        Some(copy)
    }

    #[inline(always)]
    pub(super) fn consume<T>(&mut self, index: usize, look: impl FnOnce(&[u8]) -> T) -> T {
        let buffer = &mut self.buffers[index];
        debug_assert!(buffer.slot.refs & !CLAIM > 0, "frame given back twice");
        buffer.slot.refs -= 1;
        let looked = look(buffer.view().1);
        if buffer.slot.refs == 0 {
            self.free.push(index as u32);
        }
        looked
    }

    /// Makes a buffer a new frame of these bytes, which fit.
    #[inline]
    pub(super) fn fill(&mut self, index: usize, id: u64, bytes: &[u8]) {
        self.buffers[index].fill(id, bytes);
    }

    /// Makes the buffer `target` a copy of the frame in `source`.
    #[inline]
    pub(super) fn duplicate(&mut self, source: usize, target: usize) {
        if let Ok([source, target]) = self.buffers.get_disjoint_mut([source, target]) {
            target.copy_of(source);
        }
    }
}

impl<const SIZE: usize> Buffer<SIZE> {
    #[inline(always)]
    pub(super) fn view(&self) -> (Meta, &[u8]) {
        (self.slot.meta, &self.bytes[self.slot.place()])
    }

    #[inline]
    pub(super) fn parts_mut(&mut self) -> (&mut Meta, &mut [u8]) {
        debug_assert!(self.slot.is_unique(), "a shared frame is not written");
        let bytes = &mut self.bytes[self.slot.place()];
        (&mut self.slot.meta, bytes)
    }

    #[inline(always)]
    pub(super) fn view_unique(&mut self) -> Option<(Meta, &mut [u8])> {
        let bytes = &mut self.bytes[self.slot.place()];
        (self.slot.is_unique()).then_some((self.slot.meta, bytes))
    }

    /// Becomes a new frame of these bytes, which fit.
    #[inline]
    pub(super) fn fill(&mut self, id: u64, bytes: &[u8]) {
        self.slot = Slot::new(id, bytes.len());
        copy_bytes(&mut self.bytes[HEADROOM..][..bytes.len()], bytes);
    }

    /// Becomes a copy of the frame in another buffer.
    #[inline]
    pub(super) fn copy_of(&mut self, from: &Self) {
        if !self.copy_short(from) {
            self.slot = from.slot.copied();
            let bytes = &from.bytes[from.slot.place()];
            copy(&mut self.bytes[HEADROOM..][..bytes.len()], bytes);
        }
    }

    /// The same if that is short, line by line: what is copied behind its end is nobody's. False, and nothing has happened,
    /// if it is not.
    #[inline(always)]
    pub(super) fn copy_short(&mut self, from: &Self) -> bool {
        let (len, start) = (from.slot.len as usize, from.slot.start as usize);
        let source = from.bytes.get(start..).and_then(<[u8]>::first_chunk);
        let target = self.bytes[HEADROOM..].first_chunk_mut();
        if len <= 2 * LINE
            && let (Some(source), Some(target)) = (source, target)
        {
            copy_line(target, source, 0);
            if len > LINE {
                copy_line(target, source, LINE);
            }
            self.slot = from.slot.copied();
            return true;
        }
        false
    }
}

#[inline(always)]
fn copy_line(to: &mut [u8; 2 * LINE], from: &[u8; 2 * LINE], at: usize) {
    if let (Some(to), Some(from)) = (
        to[at..].first_chunk_mut::<LINE>(),
        from[at..].first_chunk::<LINE>(),
    ) {
        *to = *from;
    }
}

impl Slot {
    /// That of a buffer without a frame.
    pub(super) const EMPTY: Self = Self {
        meta: Meta {
            id: 0,
            gso_size: 0,
            csum_partial: false,
            written: false,
        },
        start: 0,
        len: 0,
        refs: 0,
    };

    /// Where its frame's bytes are.
    #[inline(always)]
    pub(super) const fn place(&self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.len as usize
    }

    /// It has one owner.
    #[inline(always)]
    pub(super) const fn is_unique(&self) -> bool {
        self.refs & !CLAIM == 1
    }

    /// A slot for a new frame.
    #[inline]
    pub(super) const fn new(id: u64, len: usize) -> Self {
        Self {
            meta: Meta {
                id,
                gso_size: 0,
                csum_partial: false,
                written: false,
            },
            start: HEADROOM as u32,
            len: len as u32,
            refs: 1,
        }
    }

    /// A slot for a copy of this one's frame.
    #[inline]
    pub(super) const fn copied(self) -> Self {
        Self {
            meta: Meta {
                written: false,
                ..self.meta
            },
            start: HEADROOM as u32,
            refs: 1,
            ..self
        }
    }
}
