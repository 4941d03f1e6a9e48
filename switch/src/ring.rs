//! A bounded first-in first-out queue of frames: one direction of a veth pair.
//!
//! It holds handles of four bytes, not bytes of frames. A few wait inside the ring itself, so that a link
//! with little on it is one line of the cache a way; when there are more, all of them move to memory that
//! is taken then and grows by doubling. A ring that runs empty begins again at its first place: what was
//! long once does not walk through its memory ever after.

use core::slice;

use crate::frame::Frame;

/// Frames that wait inside the ring.
const FEW: usize = 5;

/// A queue of at most `bound` frames; the bound is the caller's, so that two rings can share one.
#[derive(Debug)]
pub struct Ring {
    /// Where frames wait while [`Self::crowded`] is not set.
    few: [Frame; FEW],
    /// Where they wait if it is. Kept for the next crowd.
    many: Option<Box<Many>>,
    /// The place of the frame that waits longest.
    head: u32,
    /// The place behind the last one.
    end: u32,
    crowded: bool,
}

#[derive(Debug, Default)]
struct Many(Vec<Frame>);

/// The frames that wait in a ring.
#[derive(Debug)]
pub struct Waiting<'a> {
    frames: slice::IterMut<'a, Frame>,
    head: &'a mut u32,
}

/// A frame in its place.
#[derive(Debug)]
pub struct Held<'a>(&'a mut Frame);

impl Held<'_> {
    /// The frame, to be looked at.
    #[inline(always)]
    pub const fn frame(&self) -> &Frame {
        self.0
    }

    /// Takes it.
    #[inline(always)]
    pub const fn take(self) -> Frame {
        self.0.take()
    }
}

/// Frames that wait no more, to be taken out of their places.
#[derive(Debug)]
#[must_use = "frames that are left there are lost to their pool"]
pub struct Taken<'a>(slice::IterMut<'a, Frame>);

impl<'a> Taken<'a> {
    /// The places of those that are there.
    #[inline]
    pub(crate) fn places(self) -> &'a mut [Frame] {
        self.0.into_slice()
    }
}

impl Iterator for Taken<'_> {
    type Item = Frame;

    #[inline]
    fn next(&mut self) -> Option<Frame> {
        self.0.next().map(Frame::take)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Taken<'_> {}

impl Waiting<'_> {
    /// Those that were not taken, the longest first.
    #[inline]
    pub fn frames(&self) -> &[Frame] {
        self.frames.as_slice()
    }

    /// Takes the frame that waits longest.
    #[inline]
    pub fn take(&mut self) -> Option<Frame> {
        let frame = self.frames.next()?.take();
        *self.head += 1;
        Some(frame)
    }

    /// Shows the frames that wait, at most `most`, to `go`, until that leaves one in its place; how many it took.
    #[inline(always)]
    pub fn take_while(&mut self, most: usize, mut go: impl FnMut(Held<'_>) -> bool) -> usize {
        let all = core::mem::take(&mut self.frames).into_slice();
        let most = most.min(all.len());
        let mut places = all[..most].iter_mut();
        let mut stayed = 0;
        for place in places.by_ref() {
            if !go(Held(place)) {
                stayed = 1;
                break;
            }
        }
        let count = most - places.len() - stayed;
        *self.head += count as u32;
        self.frames = all.get_mut(count..).unwrap_or_default().iter_mut();
        count
    }

    /// Takes the `count` frames that wait longest, or all if there are fewer.
    #[inline]
    pub fn take_run(&mut self, count: usize) -> impl ExactSizeIterator<Item = Frame> + '_ {
        let all = core::mem::take(&mut self.frames).into_slice();
        let (taken, left) = all.split_at_mut(count.min(all.len()));
        *self.head += taken.len() as u32;
        self.frames = left.iter_mut();
        taken.iter_mut().map(Frame::take)
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self::new()
    }
}

impl Ring {
    /// An empty ring that owns no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            few: [Frame::NOTHING; FEW],
            many: None,
            head: 0,
            end: 0,
            crowded: false,
        }
    }

    /// Puts `frame` at the end unless `bound` frames wait already: then it comes back.
    ///
    /// # Errors
    /// The frame itself, when the ring is full.
    #[inline]
    pub fn push(&mut self, frame: Frame, bound: usize) -> Result<(), Frame> {
        if self.len() >= bound {
            return Err(frame);
        }
        self.put(frame);
        Ok(())
    }

    /// Puts `frame` at the end. The caller has seen that there is room.
    #[inline]
    pub fn put(&mut self, frame: Frame) {
        if self.is_empty() {
            self.few[0] = frame;
            (self.head, self.end, self.crowded) = (0, 1, false);
            return;
        }
        match self.few.get_mut(self.end as usize) {
            Some(place) if !self.crowded => {
                *place = frame;
                self.end += 1;
            }
            _ => self.crowd(1).push(frame),
        }
    }

    /// Takes the frame that waits longest.
    #[inline]
    pub fn pop(&mut self) -> Option<Frame> {
        let head = self.head as usize;
        if self.head == self.end {
            return None;
        }
        let frame = self.places().get_mut(head)?.take();
        self.head += 1;
        Some(frame)
    }

    /// Takes the frame that waits, if it is the only one since the ring was empty last.
    #[inline(always)]
    pub fn pop_only(&mut self) -> Option<Frame> {
        if (self.head, self.end, self.crowded) != (0, 1, false) {
            return None;
        }
        self.head = 1;
        Some(self.few[0].take())
    }

    /// The frames that wait, the longest first.
    #[inline]
    pub fn front(&self) -> &[Frame] {
        let places = match &self.many {
            Some(many) if self.crowded => &many.0[..],
            _ => &self.few[..],
        };
        places
            .get(self.head as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// Takes the `count` frames that wait longest, or all if there are fewer.
    #[inline]
    pub fn pop_run(&mut self, count: usize) -> Taken<'_> {
        let head = self.head as usize;
        let count = count.min(self.len());
        self.head += count as u32;
        Taken(self.places()[head..head + count].iter_mut())
    }

    /// The frames that wait, to be looked at and taken one after the other.
    #[inline]
    pub fn waiting(&mut self) -> Waiting<'_> {
        let (head, end) = (self.head as usize, self.end as usize);
        let places = match &mut self.many {
            Some(many) if self.crowded => &mut many.0[..],
            _ => &mut self.few[..],
        };
        Waiting {
            frames: places.get_mut(head..end).unwrap_or_default().iter_mut(),
            head: &mut self.head,
        }
    }

    /// Puts frames at the end, unless there would be more than `bound`.
    #[inline]
    pub fn push_run(&mut self, frames: impl ExactSizeIterator<Item = Frame>, bound: usize) -> bool {
        let count = frames.len();
        if self.len() + count > bound {
            return false;
        }
        self.rewind();
        let end = self.end as usize;
        match self.few.get_mut(end..end + count) {
            Some(places) if !self.crowded => {
                for (place, frame) in places.iter_mut().zip(frames) {
                    *place = frame;
                }
                self.end += count as u32;
            }
            _ => self.crowd(count).extend(frames),
        }
        true
    }

    /// Where frames wait now.
    #[inline]
    fn places(&mut self) -> &mut [Frame] {
        match &mut self.many {
            Some(many) if self.crowded => &mut many.0,
            _ => &mut self.few,
        }
    }

    /// An empty ring begins at its first place.
    #[inline]
    fn rewind(&mut self) {
        if self.head == self.end {
            (self.head, self.end, self.crowded) = (0, 0, false);
        }
    }

    /// Where `count` more frames are about to be put; those that wait in the ring itself move there first. The
    /// places of frames that went are used again when half of the memory is of such.
    #[inline(never)]
    fn crowd(&mut self, count: usize) -> &mut Vec<Frame> {
        let many = &mut self.many.get_or_insert_default().0;
        let head = self.head as usize;
        if !self.crowded {
            many.clear();
            many.extend(
                self.few[head..self.end as usize]
                    .iter_mut()
                    .map(Frame::take),
            );
            (self.head, self.end) = (0, many.len() as u32);
            self.crowded = true;
        } else if many.len() + count > many.capacity() && head >= many.len() / 2 {
            many.drain(..head);
            (self.head, self.end) = (0, many.len() as u32);
        }
        self.end += count as u32;
        many
    }

    /// Number of frames that wait.
    #[must_use]
    #[inline]
    pub const fn len(&self) -> usize {
        (self.end - self.head) as usize
    }

    /// No frame waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.head == self.end
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::frame::Pool;
    use proptest::prelude::*;

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

    #[test]
    fn an_idle_ring_is_small() {
        assert!(size_of::<Ring>() <= 40, "{} bytes", size_of::<Ring>());
    }

    #[test]
    fn memory_is_bounded_when_a_ring_never_runs_empty() {
        let mut pool = Pool::default();
        let mut ring = Ring::new();
        for number in 0..10_000 {
            let frame = pool.alloc(1).unwrap();
            ring.push(frame, 64).unwrap();
            if number >= 40 {
                let frame = ring.pop().unwrap();
                pool.free(frame);
            }
        }
        assert_eq!(ring.len(), 40);
        assert!(ring.many.unwrap().0.capacity() <= 256);
    }

    proptest! {
        /// The same as a plain queue, whatever is put in and taken out one by one or together.
        #[test]
        fn it_is_a_queue(steps in prop::collection::vec((0_u8..4, 0_usize..12), 0..200), bound in 1_usize..20) {
            let mut pool = Pool::default();
            let mut ring = Ring::new();
            let mut plain = VecDeque::new();
            for (what, count) in steps {
                match what {
                    0 => {
                        let frame = pool.alloc(1).unwrap();
                        let id = pool.meta(&frame).id;
                        match ring.push(frame, bound) {
                            Ok(()) => plain.push_back(id),
                            Err(frame) => {
                                prop_assert_eq!(plain.len(), bound);
                                pool.free(frame);
                            }
                        }
                    }
                    1 => {
                        let frames: Vec<Frame> = (0..count).map(|_| pool.alloc(1).unwrap()).collect();
                        let ids: Vec<u64> = frames.iter().map(|frame| pool.meta(frame).id).collect();
                        let fits = ring.push_run(frames.into_iter(), bound);
                        prop_assert_eq!(fits, plain.len() + count <= bound);
                        plain.extend(ids.into_iter().filter(|_| fits));
                    }
                    2 => {
                        let only = ring.pop_only();
                        prop_assert!(only.is_none() || plain.len() == 1);
                        let frame = only.or_else(|| ring.pop());
                        prop_assert_eq!(frame.as_ref().map(|frame| pool.meta(frame).id), plain.pop_front());
                        frame.into_iter().for_each(|frame| pool.free(frame));
                    }
                    _ => {
                        let taken: Vec<Frame> = if count % 2 == 0 {
                            ring.pop_run(count).collect()
                        } else {
                            let mut waiting = ring.waiting();
                            let mut taken: Vec<Frame> = waiting.take().into_iter().collect();
                            let few = waiting.frames().len().min(count / 3);
                            waiting.take_while(count, |held| {
                                let goes = taken.len() <= few;
                                if goes {
                                    taken.push(held.take());
                                }
                                goes
                            });
                            taken.extend(waiting.take_run(count / 2));
                            prop_assert_eq!(waiting.frames().len() + taken.len(), plain.len());
                            taken.extend(waiting.take_run(count.saturating_sub(taken.len())));
                            taken
                        };
                        prop_assert_eq!(taken.len(), count.min(plain.len()));
                        for frame in taken {
                            prop_assert_eq!(Some(pool.meta(&frame).id), plain.pop_front());
                            pool.free(frame);
                        }
                    }
                }
                prop_assert_eq!(ring.len(), plain.len());
                let front: Vec<u64> = ring.front().iter().map(|frame| pool.meta(frame).id).collect();
                prop_assert!(plain.iter().eq(&front));
            }
        }
    }
}
