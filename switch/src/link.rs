//! A veth pair: what one end sends, the other end receives.
//!
//! After Linux's `drivers/net/veth.c`: two interfaces back to back, no latency, no rate, and the
//! checks of `is_skb_forwardable`: the receiver has to be up and the frame no longer than its MTU,
//! an Ethernet header and one tag. In Linux the buffer itself changes hands; the tutorials describe
//! a copy. Both are here as [`Mode`].
//!
//! ```text
//!   Side::A  carry ──▶ [ ring to B ] ──▶ receive  Side::B
//!            receive ◀── [ ring to A ] ◀── carry
//! ```
//!
//! Left out: XDP, NAPI and queues per core. Delay, loss and rate are not properties of a veth.

use core::fmt;

use crate::frame::{Frame, Pool};
use crate::ring::{Ring, Taken};
use crate::segment;
use crate::verdict::DropReason;
use crate::wire::ETHER_LEN;

/// Frames that wait in one direction unless the lab says otherwise.
pub const CAPACITY: usize = 1024;
/// The MTU of a new link.
pub const MTU: u32 = 1500;
/// What a frame may be longer than the MTU: its Ethernet header and one 802.1Q tag.
const OVERHEAD: usize = ETHER_LEN + 4;

/// How a frame crosses a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The sender's buffer is copied into a fresh one for the receiver, and freed. A sender that holds the
    /// bytes itself, as a socket does, has them copied once, to the receiver. A flooded frame may
    /// [cross shared](Clear::cross_shared).
    #[default]
    Copy,
    /// The buffer changes hands. A flooded frame stays shared until somebody has to write
    /// ([`Pool::unshare`]).
    Move,
}

/// An end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// One end.
    A,
    /// The other end.
    B,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What an end has seen, as `ip -s link` counts. A super-segment counts as the frames, and the
/// bytes, into which a wire edge would cut it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that arrived in this end's ring.
    pub rx_frames: u64,
    /// Their bytes, Ethernet headers included.
    pub rx_bytes: u64,
    /// Frames that arrived and were thrown away unread: [`Link::drain`].
    pub rx_dropped: u64,
    /// Frames that reached the other end's ring.
    pub tx_frames: u64,
    /// Their bytes, Ethernet headers included.
    pub tx_bytes: u64,
    /// Frames that this end could not send.
    pub tx_dropped: u64,
}

#[derive(Debug)]
struct End {
    mtu: u32,
    up: bool,
    /// What could not be sent to this end.
    refused: u64,
    /// What waited for it and was thrown away.
    drained: u64,
}

/// One way: a line of the cache, all that a frame touches that crosses. In this order, because two counters side by side
/// would be made a vector to count one frame.
#[derive(Debug)]
#[repr(C, align(64))]
struct Way {
    /// Frames that reached the ring: sent by one end, received by the other.
    frames: u64,
    ring: Ring,
    /// Their bytes.
    bytes: u64,
    /// The longest ordinary frame that the receiver takes.
    longest: u32,
    /// The ring's bound, as a power of two.
    bound: u8,
    mode: Mode,
    /// Both ends are up.
    open: bool,
    /// Nobody has to know that a frame waits.
    quiet: bool,
}

/// A way that [is clear](Link::clear) for a frame.
#[derive(Debug)]
pub struct Clear<'a>(&'a mut Way);

impl Clear<'_> {
    /// Sends the frame, of `len` bytes. The same as [`Link::carry`].
    #[inline(always)]
    pub fn carry(mut self, pool: &mut Pool, frame: Frame, len: u64) {
        let frame = self.cross(pool, frame, len);
        self.wait(frame);
    }

    /// The first half of it: the frame has crossed, and is the caller's, who lets it [wait](Self::wait) or has the
    /// receiver take it at once.
    #[inline(always)]
    pub fn cross(&mut self, pool: &mut Pool, frame: Frame, len: u64) -> Frame {
        self.0.count(1, len);
        match self.0.mode {
            Mode::Move => frame,
            Mode::Copy => pool.renew(frame).unwrap_or_else(|frame| frame),
        }
    }

    /// The same for one of a flood that its receivers only read: it stays [shared](Pool::share) in both modes.
    #[inline(always)]
    pub fn cross_shared(&mut self, len: u64) {
        self.0.count(1, len);
    }

    /// The second half: the frame waits for the receiver.
    #[inline(always)]
    pub fn wait(&mut self, frame: Frame) {
        self.0.ring.put(frame);
    }

    /// Nobody has to know that a frame waits: see [`Link::set_quiet`].
    #[inline(always)]
    #[must_use]
    pub const fn is_quiet(&self) -> bool {
        self.0.quiet
    }

    /// No frame waits for the receiver.
    #[inline(always)]
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.0.ring.is_empty()
    }
}

/// A veth pair with a bounded ring in each direction.
///
/// An idle link owns no memory besides this value, which is smaller than 200 bytes.
#[derive(Debug)]
pub struct Link {
    /// To side A, to side B.
    ways: [Way; 2],
    ends: [End; 2],
}

/// The bound of a way of no veth pair: no ring has so much room.
const GONE: u8 = u8::MAX;

impl Link {
    /// The place of a veth pair that is gone: nothing waits there, and no frame finds a way.
    #[must_use]
    pub const fn gone() -> Self {
        const fn end() -> End {
            End {
                mtu: 0,
                up: false,
                refused: 0,
                drained: 0,
            }
        }
        const fn way() -> Way {
            Way {
                ring: Ring::new(),
                frames: 0,
                bytes: 0,
                longest: 0,
                bound: GONE,
                mode: Mode::Move,
                open: false,
                quiet: false,
            }
        }
        Self {
            ways: [way(), way()],
            ends: [end(), end()],
        }
    }

    /// It [is gone](Self::gone).
    #[must_use]
    #[inline]
    pub const fn is_gone(&self) -> bool {
        self.ways[0].bound == GONE
    }

    /// A pair with both ends up and an MTU of 1500 that holds `capacity` frames a direction, rounded
    /// up to a power of two (at least 1, at most 2³¹).
    #[must_use]
    pub fn new(mode: Mode, capacity: usize) -> Self {
        let capacity = u32::try_from(capacity).unwrap_or(u32::MAX).min(1 << 31);
        let end = || End {
            mtu: MTU,
            up: true,
            refused: 0,
            drained: 0,
        };
        let way = || Way {
            ring: Ring::new(),
            frames: 0,
            bytes: 0,
            longest: longest(MTU),
            bound: capacity.next_power_of_two().trailing_zeros() as u8,
            mode,
            open: true,
            quiet: false,
        };
        Self {
            ways: [way(), way()],
            ends: [end(), end()],
        }
    }

    /// Sends `frame` from one end: it waits in the ring of the other.
    ///
    /// # Errors
    /// The frame, still the caller's, and why it did not cross: [`DropReason::InterfaceDown`] if
    /// either end is down, [`DropReason::FrameTooLong`] for the receiver's MTU (a super-segment has
    /// any length), [`DropReason::RingFull`], [`DropReason::PoolEmpty`] in [`Mode::Copy`].
    #[inline]
    pub fn carry(
        &mut self,
        pool: &mut Pool,
        from: Side,
        frame: Frame,
    ) -> Result<(), (Frame, DropReason)> {
        let gso_size = pool.meta(&frame).gso_size;
        let len = pool.len(&frame);
        let (frames, bytes) = if gso_size == 0 {
            (1, len as u64)
        } else {
            segment::wire_size(pool.bytes(&frame), gso_size)
        };
        let ordinary = if gso_size == 0 { len } else { 0 };
        let way = self.way_mut(from.peer());
        if !way.takes(ordinary, 1) {
            return Err((frame, self.refuse(from, ordinary, frames)));
        }
        let bound = way.bound();
        let received = match way.mode {
            Mode::Move => Ok(frame),
            Mode::Copy => pool.renew(frame),
        };
        match received.and_then(|frame| way.ring.push(frame, bound)) {
            Ok(()) => {
                way.count(frames, bytes);
                Ok(())
            }
            Err(frame) => {
                self.ends[from.peer() as usize].refused += frames;
                Err((frame, DropReason::PoolEmpty))
            }
        }
    }

    /// Counts frames, ordinary ones of at most `longest` bytes, that do not cross, and says why.
    #[cold]
    fn refuse(&mut self, from: Side, longest: usize, frames: u64) -> DropReason {
        let to = from.peer();
        self.ends[to as usize].refused += frames;
        let way = self.way(to);
        if !way.open {
            DropReason::InterfaceDown
        } else if longest > way.longest as usize {
            DropReason::FrameTooLong
        } else {
            DropReason::RingFull
        }
    }

    #[inline]
    const fn way(&self, to: Side) -> &Way {
        let [a, b] = &self.ways;
        match to {
            Side::A => a,
            Side::B => b,
        }
    }

    #[inline]
    const fn way_mut(&mut self, to: Side) -> &mut Way {
        let [a, b] = &mut self.ways;
        match to {
            Side::A => a,
            Side::B => b,
        }
    }

    /// Whether `count` frames, of which the ordinary ones have at most `longest` bytes, would all cross
    /// from one end to the other now.
    #[must_use]
    pub fn is_clear(&self, pool: &Pool, from: Side, count: usize, longest: usize) -> bool {
        let way = self.way(from.peer());
        way.takes(longest, count) && (way.mode == Mode::Move || pool.has_room(count))
    }

    /// Whether `count` ordinary frames of at most `len` bytes would cross from one end to the other now if, in
    /// [`Mode::Copy`], the pool had room for them.
    #[must_use]
    #[inline(always)]
    pub const fn takes(&self, from: Side, len: usize, count: usize) -> bool {
        self.way(from.peer()).takes(len, count)
    }

    /// The way from one end to the other for a frame that it [takes](Self::takes).
    #[inline(always)]
    pub const fn taking(&mut self, from: Side) -> Clear<'_> {
        Clear(self.way_mut(from.peer()))
    }

    /// Sends one ordinary frame, of `len` bytes, for which the way [is clear](Self::is_clear). The same as
    /// [`Self::carry`].
    #[inline]
    pub fn carry_one(&mut self, pool: &mut Pool, from: Side, frame: Frame, len: u64) {
        let frame = match self.mode() {
            Mode::Move => frame,
            Mode::Copy => pool.renew(frame).unwrap_or_else(|frame| frame),
        };
        self.hand_over(from, frame, len);
    }

    /// The same for a frame that was just filled from the bytes that its sender holds: that was the copy.
    #[inline]
    pub fn hand_over(&mut self, from: Side, frame: Frame, len: u64) {
        let way = self.way_mut(from.peer());
        let left = way.ring.push(frame, way.bound());
        debug_assert!(left.is_ok(), "the way was not clear");
        way.count(1, len);
    }

    /// [`Self::carry_run`] for frames that were just filled from the bytes that their sender holds.
    #[inline]
    pub fn hand_over_run(
        &mut self,
        from: Side,
        frames: impl ExactSizeIterator<Item = Frame>,
        (wire_frames, wire_bytes): (u64, u64),
    ) {
        let way = self.way_mut(from.peer());
        let all = way.ring.push_run(frames, way.bound());
        debug_assert!(all, "the way was not clear");
        way.count(wire_frames, wire_bytes);
    }

    /// Sends frames for which the way [is clear](Self::is_clear); on a wire they are `wire_frames` of
    /// `wire_bytes` in all. The same as [`Self::carry`] for each.
    #[inline]
    pub fn carry_run(
        &mut self,
        pool: &mut Pool,
        from: Side,
        frames: impl ExactSizeIterator<Item = Frame>,
        (wire_frames, wire_bytes): (u64, u64),
    ) {
        let way = self.way_mut(from.peer());
        let bound = way.bound();
        let all = match way.mode {
            Mode::Move => way.ring.push_run(frames, bound),
            Mode::Copy => way.ring.push_run(
                frames.map(|frame| pool.renew(frame).unwrap_or_else(|frame| frame)),
                bound,
            ),
        };
        debug_assert!(all, "the way was not clear");
        way.count(wire_frames, wire_bytes);
    }

    /// The way from one end to the other, if one ordinary frame of `len` bytes would cross now and, in [`Mode::Copy`], the
    /// pool has room for it.
    #[inline(always)]
    pub fn clear(&mut self, from: Side, len: usize) -> Option<Clear<'_>> {
        let way = self.way_mut(from.peer());
        way.takes_one(len).then_some(Clear(way))
    }

    /// The frames that wait for `side`, the longest first, to look at.
    #[inline]
    pub fn front(&self, side: Side) -> &[Frame] {
        self.way(side).ring.front()
    }

    /// The frames that wait for `side`, out of their place: [they come back](Self::put_ring) before others arrive.
    #[inline]
    #[must_use]
    pub fn take_ring(&mut self, side: Side) -> Ring {
        core::mem::take(&mut self.way_mut(side).ring)
    }

    /// The frames that are left of those that waited for `side`.
    #[inline]
    pub fn put_ring(&mut self, side: Side, ring: Ring) {
        let place = &mut self.way_mut(side).ring;
        debug_assert!(place.is_empty(), "frames arrived meanwhile");
        *place = ring;
    }

    /// Takes the `count` frames that have waited longest for `side`, or all if there are fewer.
    #[inline]
    pub fn receive_run(&mut self, side: Side, count: usize) -> Taken<'_> {
        self.way_mut(side).ring.pop_run(count)
    }

    /// Takes the frame that waits for `side`, if it is the only one since none did.
    #[inline(always)]
    pub fn receive_only(&mut self, side: Side) -> Option<Frame> {
        self.way_mut(side).ring.pop_only()
    }

    /// Takes the frame that has waited longest for `side`. In [`Mode::Move`] it may be shared, and so may one that
    /// [crossed shared](Clear::cross_shared): [`Pool::unshare`] it before writing.
    #[inline]
    pub fn receive(&mut self, side: Side) -> Option<Frame> {
        self.way_mut(side).ring.pop()
    }

    /// Has a frame that [crossed](Clear::cross) before wait for `side` behind those that do.
    pub fn wait(&mut self, side: Side, frame: Frame) {
        self.way_mut(side).ring.put(frame);
    }

    /// Number of frames that wait for `side`.
    #[must_use]
    pub fn waiting(&self, side: Side) -> usize {
        self.way(side).ring.len()
    }

    /// Takes the frames that wait for `side` when the end goes down or the link is removed, and
    /// counts each as one dropped there. The caller ends their lives (see [`crate::trace::Trace`]).
    pub fn drain(&mut self, side: Side) -> impl Iterator<Item = Frame> + '_ {
        let way = match side {
            Side::A => &mut self.ways[0],
            Side::B => &mut self.ways[1],
        };
        let end = &mut self.ends[side as usize];
        core::iter::from_fn(move || {
            let frame = way.ring.pop()?;
            end.drained += 1;
            Some(frame)
        })
    }

    /// Brings an end up or takes it down. Frames that wait stay; see [`Self::drain`].
    pub const fn set_up(&mut self, side: Side, up: bool) {
        self.ends[side as usize].up = up;
        let open = self.has_carrier();
        let [a, b] = &mut self.ways;
        (a.open, b.open) = (open, open);
    }

    /// Notes whether somebody looks by himself for what waits for `side`, so that nobody has to be told. Nothing is
    /// quiet at first.
    pub const fn set_quiet(&mut self, side: Side, quiet: bool) {
        self.way_mut(side).quiet = quiet;
    }

    /// Whether the end is up.
    #[must_use]
    pub const fn is_up(&self, side: Side) -> bool {
        self.ends[side as usize].up
    }

    /// Both ends are up: each sees a carrier (without one, Linux prints `NO-CARRIER`).
    #[must_use]
    pub const fn has_carrier(&self) -> bool {
        self.ends[0].up && self.ends[1].up
    }

    /// Sets the largest packet, in bytes, that the end takes in.
    pub const fn set_mtu(&mut self, side: Side, mtu: u32) {
        self.ends[side as usize].mtu = mtu;
        self.way_mut(side).longest = longest(mtu);
    }

    /// The largest packet, in bytes, that the end takes in.
    #[must_use]
    pub const fn mtu(&self, side: Side) -> u32 {
        self.ends[side as usize].mtu
    }

    /// What the end has seen.
    #[must_use]
    pub const fn counters(&self, side: Side) -> Counters {
        let (to, from) = (self.way(side), self.way(side.peer()));
        Counters {
            rx_frames: to.frames,
            rx_bytes: to.bytes,
            rx_dropped: self.ends[side as usize].drained,
            tx_frames: from.frames,
            tx_bytes: from.bytes,
            tx_dropped: self.ends[side.peer() as usize].refused,
        }
    }

    /// Frames that one direction holds at most.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.ways[0].bound()
    }

    /// How frames cross.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.ways[0].mode
    }
}

impl Way {
    /// Whether `count` frames, of which the ordinary ones have at most `longest` bytes, find their way.
    #[inline]
    const fn takes(&self, longest: usize, count: usize) -> bool {
        self.open && longest <= self.longest as usize && self.ring.len() + count <= self.bound()
    }

    /// The same of one ordinary frame of `len` bytes. A ring without frames has room for one, or the way is not open.
    #[inline(always)]
    const fn takes_one(&self, len: usize) -> bool {
        let has_room = self.ring.is_empty() || self.ring.len() < self.bound();
        self.open && len <= self.longest as usize && has_room
    }

    /// Frames that the ring holds at most.
    #[inline]
    const fn bound(&self) -> usize {
        1 << self.bound
    }

    #[inline]
    const fn count(&mut self, frames: u64, bytes: u64) {
        self.frames += frames;
        self.bytes += bytes;
    }
}

/// The longest frame for an interface of this MTU.
const fn longest(mtu: u32) -> u32 {
    mtu.saturating_add(OVERHEAD as u32)
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Copy => "copy",
            Self::Move => "move",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{PoolLimits, SMALL};

    fn pass(link: &mut Link, pool: &mut Pool, bytes: &[u8]) -> Result<(), DropReason> {
        let frame = pool.from_bytes(bytes).unwrap();
        link.carry(pool, Side::A, frame).map_err(|(frame, reason)| {
            pool.free(frame);
            reason
        })
    }

    #[test]
    fn an_idle_link_is_small() {
        assert!(size_of::<Link>() < 200, "{} bytes", size_of::<Link>());
    }

    #[test]
    fn copy_gives_another_buffer_and_move_the_same() {
        for mode in [Mode::Copy, Mode::Move] {
            let mut pool = Pool::default();
            let mut link = Link::new(mode, 4);
            let frame = pool.from_bytes(b"a frame of some bytes").unwrap();
            let id = pool.meta(&frame).id;
            let kept = pool.share(&frame);
            link.carry(&mut pool, Side::A, frame).unwrap();
            assert_eq!(link.waiting(Side::B), 1);
            assert!(link.receive(Side::A).is_none());
            let received = link.receive(Side::B).unwrap();
            assert_eq!(received == kept, mode == Mode::Move);
            assert_eq!(pool.bytes(&received), b"a frame of some bytes");
            assert_eq!(pool.meta(&received).id, id);
            pool.free(received);
            pool.free(kept);
            assert_eq!(pool.in_use(), 0);
        }
    }

    #[test]
    fn a_full_ring_and_an_empty_pool_refuse() {
        let mut pool = Pool::new(PoolLimits { small: 3, large: 0 });
        let mut link = Link::new(Mode::Copy, 2);
        pass(&mut link, &mut pool, b"one").unwrap();
        pass(&mut link, &mut pool, b"two").unwrap();
        assert_eq!(
            pass(&mut link, &mut pool, b"three"),
            Err(DropReason::RingFull)
        );
        link.drain(Side::B).for_each(|frame| pool.free(frame));
        assert_eq!(pool.in_use(), 0);
        assert_eq!(link.counters(Side::B).rx_dropped, 2);
        assert_eq!(link.counters(Side::A).tx_dropped, 1);

        let mut pool = Pool::new(PoolLimits { small: 1, large: 0 });
        assert_eq!(
            pass(&mut link, &mut pool, b"no buffer for a copy"),
            Err(DropReason::PoolEmpty)
        );
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn a_ring_out_of_its_place_comes_back_with_what_is_left() {
        let mut pool = Pool::default();
        let mut link = Link::new(Mode::Move, 64);
        for number in 0..9 {
            pass(&mut link, &mut pool, &[number]).unwrap();
        }
        let mut ring = link.take_ring(Side::B);
        assert_eq!((link.waiting(Side::B), ring.len()), (0, 9));
        for frame in ring.waiting().take_run(3) {
            pool.free(frame);
        }
        link.put_ring(Side::B, ring);
        assert_eq!(link.waiting(Side::B), 6);
        let next = link.receive(Side::B).unwrap();
        assert_eq!(pool.bytes(&next), [3]);
    }

    #[test]
    fn nothing_crosses_where_a_pair_is_gone() {
        let mut pool = Pool::default();
        let mut link = Link::gone();
        assert!(link.is_gone() && !Link::new(Mode::Copy, usize::MAX).is_gone());
        for side in [Side::A, Side::B] {
            assert!(!link.is_clear(&pool, side, 0, 0) && !link.takes(side, 0, 0));
            assert!(link.clear(side, 0).is_none() && link.receive(side).is_none());
        }
        assert_eq!(
            pass(&mut link, &mut pool, b"x"),
            Err(DropReason::InterfaceDown)
        );
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn both_ends_have_to_be_up() {
        let mut pool = Pool::default();
        for side in [Side::A, Side::B] {
            let mut link = Link::new(Mode::Move, CAPACITY);
            link.set_up(side, false);
            assert!(!link.has_carrier());
            assert_eq!(
                pass(&mut link, &mut pool, b"x"),
                Err(DropReason::InterfaceDown)
            );
            link.set_up(side, true);
            assert_eq!(pass(&mut link, &mut pool, b"x"), Ok(()));
            let left = link.receive(Side::B).unwrap();
            pool.free(left);
        }
        assert_eq!(pool.in_use(), 0);
    }

    /// `is_skb_forwardable`: MTU, 14 bytes of Ethernet and 4 of a tag, measured at the receiver.
    #[test]
    fn the_receivers_mtu_counts() {
        let mut pool = Pool::default();
        let mut link = Link::new(Mode::Copy, 8);
        link.set_mtu(Side::A, 100);
        assert_eq!(pass(&mut link, &mut pool, &[0; 1518]), Ok(()));
        assert_eq!(
            pass(&mut link, &mut pool, &[0; 1519]),
            Err(DropReason::FrameTooLong)
        );
        let large = pool.alloc(SMALL * 4).unwrap();
        pool.bytes_mut(&large).fill(0);
        pool.meta_mut(&large).gso_size = 1448;
        link.carry(&mut pool, Side::A, large).unwrap();
        for _ in 0..2 {
            let frame = link.receive(Side::B).unwrap();
            pool.free(frame);
        }
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn counters_agree_at_both_ends() {
        let mut pool = Pool::default();
        let mut link = Link::new(Mode::Copy, 8);
        pass(&mut link, &mut pool, &[0; 60]).unwrap();
        pass(&mut link, &mut pool, &[0; 40]).unwrap();
        let (a, b) = (link.counters(Side::A), link.counters(Side::B));
        assert_eq!((a.tx_frames, a.tx_bytes), (2, 100));
        assert_eq!((b.rx_frames, b.rx_bytes), (2, 100));
        assert_eq!((a.rx_frames, b.tx_frames), (0, 0));
    }

    #[test]
    fn capacity_is_a_power_of_two() {
        for (asked, given) in [(0, 1), (1, 1), (3, 4), (1024, 1024), (1025, 2048)] {
            assert_eq!(Link::new(Mode::Copy, asked).capacity(), given);
        }
    }
}
