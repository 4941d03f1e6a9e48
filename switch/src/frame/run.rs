//! Many frames one after the other: what is the same for all of them is looked at once.

use core::iter::FusedIterator;

use super::{Class, Frame, HEADROOM, Pool, SMALL};
use crate::ring::Taken;

/// Frames that were made one after the other, to be sent together.
#[derive(Debug, Default)]
pub struct Burst {
    /// In order.
    pub frames: Vec<Frame>,
    /// Bytes of all.
    pub bytes: u64,
    /// Those of the longest.
    pub longest: usize,
}

impl Pool {
    /// Makes a frame of each of `sources`, at most `most` in all. False if there was no buffer for one: its bytes were
    /// taken, and it was not made.
    #[inline]
    pub fn fill<'a>(
        &mut self,
        burst: &mut Burst,
        most: usize,
        sources: &mut impl FusedIterator<Item = &'a [u8]>,
    ) -> bool {
        loop {
            let next = match self.fill_free(burst, most, sources) {
                None if burst.frames.len() < most => sources.next(),
                odd => odd,
            };
            let Some(bytes) = next else {
                return true;
            };
            let Some(frame) = self.from_bytes(bytes) else {
                return false;
            };
            burst.frames.push(frame);
            burst.bytes += bytes.len() as u64;
            burst.longest = burst.longest.max(bytes.len());
        }
    }

    /// The same as far as small buffers are free. Bytes that were taken, if no such buffer holds them.
    #[inline(always)]
    fn fill_free<'a>(
        &mut self,
        burst: &mut Burst,
        most: usize,
        sources: &mut impl FusedIterator<Item = &'a [u8]>,
    ) -> Option<&'a [u8]> {
        let Class { buffers, free, .. } = &mut self.small;
        let room = most - burst.frames.len();
        let next = &free[free.len().saturating_sub(room)..];
        let (mut bytes, mut longest, mut number) = (0, 0, self.next_id);
        let mut odd = None;
        for &index in next.iter().rev() {
            let Some(source) = sources.next() else {
                break;
            };
            if source.len() > SMALL - HEADROOM {
                odd = Some(source);
                break;
            }
            buffers[index as usize].fill(number, source);
            bytes += source.len();
            longest = longest.max(source.len());
            number += 1;
        }
        let count = (number - self.next_id) as usize;
        self.next_id = number;
        burst.bytes += bytes as u64;
        burst.longest = burst.longest.max(longest);
        let taken = free.drain(free.len() - count..);
        burst.frames.extend(taken.rev().map(Frame));
        odd
    }

    /// [`Self::consume`] for many. How many they were.
    #[inline]
    pub fn consume_run(&mut self, frames: Taken<'_>, mut look: impl FnMut(&[u8])) -> usize {
        let (frames, mut done) = (frames.places(), 0);
        while done < frames.len() {
            done += self.small.consume_unique(&mut frames[done..], &mut look);
            if let Some(odd) = frames.get_mut(done) {
                self.consume(odd.take(), &mut look);
                done += 1;
            }
        }
        frames.len()
    }
}

impl<const SIZE: usize> Class<SIZE> {
    /// Shows the bytes of frames to `look` and gives them back, as long as they are nobody else's and of this class. How
    /// many they were.
    #[inline(always)]
    fn consume_unique(&mut self, frames: &mut [Frame], mut look: impl FnMut(&[u8])) -> usize {
        let buffers = &mut self.buffers[..];
        let mut rest = frames.iter();
        // One of another class is beyond all of this.
        while let Some(frame) = rest.as_slice().first()
            && let Some(buffer) = buffers.get_mut(frame.0 as usize)
            && buffer.slot.refs == 1
        {
            buffer.slot.refs = 0;
            look(buffer.view().1);
            rest.next();
        }
        let count = frames.len() - rest.len();
        let given = frames[..count].iter_mut();
        self.free.extend(given.map(|frame| frame.take().0));
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{LARGE, PoolLimits};
    use crate::ring::Ring;

    const LIMITS: PoolLimits = PoolLimits { small: 6, large: 2 };

    /// A pool of which three small buffers and a large one were in use.
    fn used() -> Pool {
        let mut pool = Pool::new(LIMITS);
        let frames = [1, 2, 3, LARGE - HEADROOM].map(|len| pool.alloc(len).unwrap());
        frames.into_iter().for_each(|frame| pool.free(frame));
        pool
    }

    #[test]
    fn many_are_made_as_one_after_the_other() {
        let lengths = [64, SMALL, 1, SMALL - HEADROOM, SMALL, 60, 61, 62, 63, 64];
        let bytes = lengths.map(|len: usize| vec![len as u8; len]);
        for most in 0..=bytes.len() {
            let (mut pool, mut other) = (used(), used());
            let (mut burst, mut sources) = (Burst::default(), bytes.iter().map(Vec::as_slice));
            let all = pool.fill(&mut burst, most, &mut sources);
            let plain = bytes[..most].iter();
            let plain: Vec<Frame> = plain.map_while(|bytes| other.from_bytes(bytes)).collect();
            assert_eq!((all, &burst.frames), (plain.len() == most, &plain));
            assert_eq!(sources.len(), bytes.len() - most.min(plain.len() + 1));
            for (frame, bytes) in plain.iter().zip(&bytes) {
                assert_eq!(pool.bytes(frame), &bytes[..]);
                assert_eq!(pool.meta(frame), other.meta(frame));
            }
            let made = &lengths[..plain.len()];
            assert_eq!(burst.bytes, made.iter().sum::<usize>() as u64);
            assert_eq!(burst.longest, made.iter().copied().max().unwrap_or(0));
        }
    }

    #[test]
    fn shared_and_large_ones_are_shown_and_given_back_in_order() {
        let mut pool = Pool::default();
        let mut ring = Ring::new();
        let lengths = [64, 65, SMALL, 66, 67, SMALL, 68];
        let mut shared = Vec::new();
        for (at, len) in lengths.into_iter().enumerate() {
            let frame = pool.from_bytes(&vec![at as u8; len]).unwrap();
            if at % 3 == 1 {
                shared.push(pool.share(&frame));
            }
            ring.push(frame, lengths.len()).unwrap();
        }
        let mut seen = Vec::new();
        let look = |bytes: &[u8]| seen.push((bytes[0] as usize, bytes.len()));
        assert_eq!(pool.consume_run(ring.pop_run(lengths.len()), look), 7);
        assert_eq!(seen, lengths.into_iter().enumerate().collect::<Vec<_>>());
        assert_eq!(pool.in_use(), shared.len());
        shared.into_iter().for_each(|frame| pool.free(frame));
        assert_eq!(pool.in_use(), 0);
    }
}
