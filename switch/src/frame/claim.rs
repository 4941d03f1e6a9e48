//! Frames that go their way while somebody keeps a claim to their bytes, as those who may have to send them again.

use super::{CLAIM, CLASS, Class, Frame, LARGE, Pool, SMALL, Slot};
use crate::copy::copy;

/// A right to some bytes of a frame that has gone its way: they stay until it is [given up](Pool::give_up), also when the
/// frame has been freed. The frame does not know of it, and is as unique as it was: whoever has it may put headers
/// on and off and write them, and is trusted not to write what is behind them. Builds with assertions see that they did not.
#[derive(Debug)]
#[must_use = "a claim has to be given up"]
pub struct Claim {
    pub(super) frame: u32,
    start: u32,
    len: u32,
    #[cfg(debug_assertions)]
    digest: u64,
}

/// A number that changes when any of `bytes` does.
#[cfg(debug_assertions)]
fn digest(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    let mix =
        |mixed: u64, word: u64| (mixed.rotate_left(7) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (&mut words).fold(0, |mixed, word| {
        mix(
            mixed,
            word.first_chunk()
                .map_or(0, |word| u64::from_le_bytes(*word)),
        )
    });
    (words.remainder().iter()).fold(mixed, |mixed, byte| mix(mixed, u64::from(*byte)))
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
        let (from, len) = (slot.start + start as u32, slot.len - start as u32);
        Claim {
            frame: frame.0,
            start: from,
            len,
            #[cfg(debug_assertions)]
            digest: digest(&self.bytes(frame)[start..]),
        }
    }

    /// The bytes of a claim.
    #[must_use]
    pub fn claimed(&self, claim: &Claim) -> &[u8] {
        let bytes = self.bytes_of(claim);
        #[cfg(debug_assertions)]
        assert_eq!(digest(bytes), claim.digest, "claimed bytes were written");
        bytes
    }

    fn bytes_of(&self, claim: &Claim) -> &[u8] {
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
        if cfg!(debug_assertions) {
            let _untouched = self.claimed(&claim);
        }
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
