//! Frames that go their way while somebody keeps a claim to their bytes, as those who may have to send them again.

use super::{CLAIM, CLASS, Class, Frame, LARGE, Pool, SMALL, Slot};
use crate::copy::copy;

/// A right to some bytes of a frame that has gone its way: they stay until it is [given up](Pool::give_up), also when the
/// frame has been freed. The frame does not know of it, and is as unique as it was: whoever has it may put headers
/// on and off and write them, and is trusted not to write what is behind them.
#[derive(Debug)]
#[must_use = "a claim has to be given up"]
pub struct Claim {
    pub(super) frame: u32,
    start: u32,
    len: u32,
}

impl<const SIZE: usize> Class<SIZE> {
    /// Gives up the claim to a buffer.
    #[inline]
    fn give_up(&mut self, index: usize) {
        let slot = &mut self.buffers[index].slot;
        debug_assert!(slot.refs & CLAIM != 0, "claim given up twice");
        slot.refs &= !CLAIM;
        if slot.refs == 0 {
            self.free.push(index as u32);
        }
    }
}

impl Pool {
    /// A frame of `len` bytes as by [`alloc`](Self::alloc), but without a number, which it gets [later](Self::number).
    #[inline]
    pub fn reserve(&mut self, len: usize) -> Option<Frame> {
        let frame = self.take(len)?;
        *self.slot_mut(&frame) = Slot::new(0, len);
        Some(frame)
    }

    /// Gives a frame the next number.
    #[inline]
    pub fn number(&mut self, frame: &Frame) {
        self.slot_mut(frame).meta.id = self.next_id;
        self.next_id += 1;
    }

    /// A claim to the bytes of `frame` from `start` on. There may be one claim to a frame.
    #[inline]
    pub fn claim(&mut self, frame: &Frame, start: usize) -> Claim {
        let slot = self.slot_mut(frame);
        debug_assert!(slot.refs & CLAIM == 0 && start <= slot.len as usize);
        slot.refs |= CLAIM;
        Claim {
            frame: frame.0,
            start: slot.start + start as u32,
            len: slot.len - start as u32,
        }
    }

    /// The bytes of a claim.
    #[must_use]
    pub fn claimed(&self, claim: &Claim) -> &[u8] {
        let index = (claim.frame & !CLASS) as usize;
        let place = claim.start as usize..(claim.start + claim.len) as usize;
        match claim.frame & CLASS == 0 {
            true => &self.small.buffers[index].bytes[place],
            false => &self.large.buffers[index].bytes[place],
        }
    }

    /// Whether the frame of a claim is gone.
    #[must_use]
    pub fn is_last(&self, claim: &Claim) -> bool {
        self.slot(&Frame(claim.frame)).refs == CLAIM
    }

    /// Gives a claim up.
    #[inline]
    pub fn give_up(&mut self, claim: Claim) {
        let index = (claim.frame & !CLASS) as usize;
        match claim.frame & CLASS == 0 {
            true => self.small.give_up(index),
            false => self.large.give_up(index),
        }
    }

    /// Copies `count` bytes from `at` on in one frame to `to` in another, which nobody shares. Nothing happens where
    /// either has fewer.
    pub fn copy_part(
        &mut self,
        (from, at): (&Frame, usize),
        (target, to): (&Frame, usize),
        count: usize,
    ) {
        let Self { small, large, .. } = self;
        let (source, index) = (from.index(), target.index());
        let (from, into) = match (from.is_large(), target.is_large()) {
            (false, false) => match small.buffers.get_disjoint_mut([source, index]) {
                Ok([from, into]) => (from.view().1, into.parts_mut().1),
                Err(_) => return,
            },
            (true, true) => match large.buffers.get_disjoint_mut([source, index]) {
                Ok([from, into]) => (from.view().1, into.parts_mut().1),
                Err(_) => return,
            },
            (false, true) => (small.bytes(source), large.buffers[index].parts_mut().1),
            (true, false) => (large.bytes(source), small.buffers[index].parts_mut().1),
        };
        let (from, into) = (from.get(at..at + count), into.get_mut(to..to + count));
        if let (Some(from), Some(into)) = (from, into) {
            copy(into, from);
        }
    }

    /// The same of a claim's frame.
    #[must_use]
    #[inline]
    pub const fn room_of_claim(claim: &Claim) -> usize {
        if claim.frame & CLASS == 0 {
            SMALL
        } else {
            LARGE
        }
    }
}
