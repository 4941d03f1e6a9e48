//! A bounded first-in first-out queue of frames: one direction of a veth pair.
//!
//! It holds handles of four bytes, not bytes of frames. Memory is taken when the first frame
//! arrives and grows by doubling up to the bound, so that an idle ring owns none.

use std::collections::VecDeque;

use crate::frame::Frame;

/// A queue of at most `bound` frames; the bound is the caller's, so that two rings can share one.
#[derive(Debug, Default)]
pub struct Ring {
    frames: VecDeque<Frame>,
}

impl Ring {
    /// An empty ring that owns no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            frames: VecDeque::new(),
        }
    }

    /// Puts `frame` at the end unless `bound` frames wait already: then it comes back.
    ///
    /// # Errors
    /// The frame itself, when the ring is full.
    #[inline]
    pub fn push(&mut self, frame: Frame, bound: usize) -> Result<(), Frame> {
        if self.frames.len() >= bound {
            return Err(frame);
        }
        self.frames.push_back(frame);
        Ok(())
    }

    /// Takes the frame that waits longest.
    #[inline]
    pub fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front();
        if self.frames.is_empty() {
            // Back to the start of the memory, so that a ring that was long once stays in few cache lines.
            self.frames.clear();
        }
        frame
    }

    /// The frames that wait longest, as many as lie side by side: none only if none waits.
    #[inline]
    pub fn front(&self) -> &[Frame] {
        self.frames.as_slices().0
    }

    /// Takes the `count` frames that wait longest, or all if there are fewer.
    #[inline]
    pub fn pop_run(&mut self, count: usize) -> impl ExactSizeIterator<Item = Frame> + '_ {
        self.frames.drain(..count.min(self.frames.len()))
    }

    /// Puts frames at the end, unless there would be more than `bound`.
    #[inline]
    pub fn push_run(&mut self, frames: impl ExactSizeIterator<Item = Frame>, bound: usize) -> bool {
        let fits = self.frames.len() + frames.len() <= bound;
        if fits {
            self.frames.extend(frames);
        }
        fits
    }

    /// Number of frames that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// No frame waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Pool;

    #[test]
    fn first_in_is_first_out_and_the_bound_holds() {
        let mut pool = Pool::default();
        let mut ring = Ring::new();
        for byte in 0..3 {
            let frame = pool.from_bytes(&[byte]).unwrap();
            ring.push(frame, 3).unwrap();
        }
        let late = pool.from_bytes(&[3]).unwrap();
        let late = ring.push(late, 3).unwrap_err();
        pool.free(late);
        assert_eq!(ring.len(), 3);
        for byte in 0..3 {
            let frame = ring.pop().unwrap();
            assert_eq!(pool.bytes(&frame), [byte]);
            pool.free(frame);
        }
        assert!(ring.pop().is_none() && ring.is_empty());
        assert_eq!(pool.in_use(), 0);
    }
}
