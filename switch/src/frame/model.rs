//! A pool beside a plain model of one, whatever is done to both: buffers with bytes, owners and claims.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::ring::Ring;

/// What is done. A frame, and a claim, is named by its place among those that there are.
#[derive(Clone, Debug)]
enum Step {
    /// A new frame of so many bytes, made in one of several ways.
    Make(usize, u8),
    /// Frames of these lengths in one go, at most so many.
    Fill(Vec<usize>, usize),
    Free(usize),
    /// Shows the bytes of so many and gives them back, all at once if told so.
    Consume(usize, usize, bool),
    Share(usize),
    Unshare(usize),
    Copy(usize),
    /// Over a wire, as just written if told so.
    Renew(usize, bool),
    Push(usize, usize),
    Before(usize, bool),
    Pull(usize, usize),
    Truncate(usize, usize),
    /// Writes all that may be written.
    Write(usize),
    /// From one, where, to another, where, how many.
    Part(usize, usize, usize, usize, usize),
    Claim(usize, usize),
    GiveUp(usize),
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 1_usize..200,
        2 => SMALL - HEADROOM - 20..SMALL - HEADROOM + 3,
        1 => LARGE - HEADROOM - 3..LARGE - HEADROOM + 2,
        1 => SMALL..9_000,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let at = || 0_usize..16;
    prop_oneof![
        5 => (len(), 0_u8..4).prop_map(|(len, how)| Step::Make(len, how)),
        1 => (vec(len(), 0..6), 0_usize..6).prop_map(|(lens, most)| Step::Fill(lens, most)),
        4 => at().prop_map(Step::Free),
        2 => (at(), 1_usize..4, any::<bool>()).prop_map(|(at, count, run)| Step::Consume(at, count, run)),
        3 => at().prop_map(Step::Share),
        2 => at().prop_map(Step::Unshare),
        2 => at().prop_map(Step::Copy),
        5 => (at(), any::<bool>()).prop_map(|(at, written)| Step::Renew(at, written)),
        2 => (at(), 0_usize..20).prop_map(|(at, count)| Step::Push(at, count)),
        2 => (at(), any::<bool>()).prop_map(|(at, go)| Step::Before(at, go)),
        2 => (at(), 0_usize..60).prop_map(|(at, count)| Step::Pull(at, count)),
        1 => (at(), 0_usize..3_000).prop_map(|(at, len)| Step::Truncate(at, len)),
        4 => at().prop_map(Step::Write),
        1 => (at(), 0_usize..3_000, at(), 0_usize..3_000, 0_usize..5_000)
            .prop_map(|(from, start, to, place, count)| Step::Part(from, start, to, place, count)),
        6 => (at(), 0_usize..60).prop_map(|(at, start)| Step::Claim(at, start)),
        4 => at().prop_map(Step::GiveUp),
    ]
}

/// A buffer that somebody owns or has a claim to.
#[derive(Clone, Debug, Default)]
struct Plain {
    large: bool,
    /// What was behind the headroom at first, and the bytes in front of it that a frame begins before.
    bytes: Vec<u8>,
    headroom: usize,
    meta: Meta,
    owners: usize,
    /// Bytes of the frame behind which somebody has a claim, from the start of the buffer.
    claim: Option<usize>,
}

impl Plain {
    /// Whether what is in front of its frame may be written.
    fn has_open_front(&self) -> bool {
        self.owners == 1 && self.claim.is_none_or(|at| self.headroom <= at)
    }

    /// How many of the first bytes may be written.
    fn open(&self) -> usize {
        let claimed = self
            .claim
            .map_or(usize::MAX, |at| at.saturating_sub(self.headroom));
        claimed.min(self.bytes.len())
    }
}

#[derive(Debug)]
struct Beside {
    pool: Pool,
    limits: PoolLimits,
    buffers: BTreeMap<u32, Plain>,
    frames: Vec<(Frame, u32)>,
    claims: Vec<(Claim, u32, Vec<u8>)>,
    next_buffer: u32,
    next_id: u64,
    stamp: u8,
}

const fn is_large(len: usize) -> bool {
    HEADROOM + len > SMALL
}

impl Beside {
    fn new(limits: PoolLimits) -> Self {
        Self {
            pool: Pool::new(limits),
            limits,
            buffers: BTreeMap::new(),
            frames: Vec::new(),
            claims: Vec::new(),
            next_buffer: 0,
            next_id: 1,
            stamp: 0,
        }
    }

    /// Bytes that were not there before.
    fn pattern(&mut self, len: usize) -> Vec<u8> {
        self.stamp = self.stamp.wrapping_add(1);
        (0..len)
            .map(|at| (at as u8).wrapping_mul(7) ^ self.stamp)
            .collect()
    }

    /// Whether there is a buffer for so many bytes.
    fn has_buffer(&self, len: usize) -> bool {
        let large = is_large(len);
        let used = self
            .buffers
            .values()
            .filter(|plain| plain.large == large)
            .count();
        let limit = if large {
            self.limits.large
        } else {
            self.limits.small
        };
        used < limit && HEADROOM + len <= LARGE
    }

    fn pick(&self, at: usize) -> Option<usize> {
        (!self.frames.is_empty()).then(|| at % self.frames.len())
    }

    fn plain(&mut self, at: usize) -> &mut Plain {
        self.buffers.get_mut(&self.frames[at].1).unwrap()
    }

    /// A frame of the pool's is a new buffer of the model's.
    fn enter(&mut self, frame: Frame, bytes: Vec<u8>, meta: Meta) {
        let plain = Plain {
            large: is_large(bytes.len()),
            bytes,
            headroom: HEADROOM,
            meta,
            owners: 1,
            claim: None,
        };
        self.buffers.insert(self.next_buffer, plain);
        self.frames.push((frame, self.next_buffer));
        self.next_buffer += 1;
    }

    /// One owner less, or a claim.
    fn leave(&mut self, buffer: u32, owners: usize) {
        let plain = self.buffers.get_mut(&buffer).unwrap();
        plain.owners -= owners;
        if owners == 0 {
            plain.claim = None;
        }
        if plain.owners == 0 && plain.claim.is_none() {
            self.buffers.remove(&buffer);
        }
    }

    fn numbered(&mut self) -> Meta {
        let id = self.next_id;
        self.next_id += 1;
        Meta {
            id,
            ..Meta::default()
        }
    }

    fn make(&mut self, len: usize, how: u8) {
        let bytes = self.pattern(len);
        let has_buffer = self.has_buffer(len);
        let frame = match how {
            0 => self.pool.alloc(len),
            1 => self.pool.alloc_parts(len).map(|(frame, meta, room)| {
                assert_eq!((room.len(), meta.gso_size), (len, 0));
                frame
            }),
            2 => self.pool.from_bytes(&bytes),
            _ => self.pool.reserve(len),
        };
        assert_eq!(frame.is_some(), has_buffer);
        let Some(frame) = frame else { return };
        let mut meta = self.numbered();
        if how == 3 {
            assert_eq!(self.pool.meta(&frame).id, 0);
            self.pool.number(&frame);
        }
        if how != 2 {
            self.pool.bytes_mut(&frame).copy_from_slice(&bytes);
        }
        if len.is_multiple_of(3) {
            (meta.gso_size, meta.csum_partial) = (1448, true);
            *self.pool.meta_mut(&frame) = meta;
        }
        self.enter(frame, bytes, meta);
    }

    fn fill(&mut self, lens: &[usize], most: usize) {
        let sources: Vec<Vec<u8>> = lens.iter().map(|&len| self.pattern(len)).collect();
        let mut burst = Burst::default();
        let mut next = sources.iter().map(Vec::as_slice);
        let all = self.pool.fill(&mut burst, most, &mut next);
        let mut frames = burst.frames.into_iter();
        for (at, bytes) in sources.iter().take(most).enumerate() {
            if !self.has_buffer(bytes.len()) {
                assert!(
                    !all && frames.next().is_none(),
                    "{at} made without a buffer"
                );
                return;
            }
            let meta = self.numbered();
            self.enter(frames.next().unwrap(), bytes.clone(), meta);
        }
        assert!(all && frames.next().is_none());
    }

    fn consume(&mut self, at: usize, count: usize, run: bool) {
        let mut ring = Ring::new();
        let mut expected = Vec::new();
        for _ in 0..count {
            let Some(at) = self.pick(at) else { break };
            let (frame, buffer) = self.frames.remove(at);
            expected.push(self.buffers[&buffer].bytes.clone());
            self.leave(buffer, 1);
            ring.push(frame, count).unwrap();
        }
        let mut seen = Vec::new();
        if run {
            let look = |bytes: &[u8]| seen.push(bytes.to_vec());
            assert_eq!(
                self.pool.consume_run(ring.pop_run(count), look),
                expected.len()
            );
        } else {
            while let Some(frame) = ring.pop() {
                seen.push(self.pool.consume(frame, <[u8]>::to_vec));
            }
        }
        assert!(seen == expected);
    }

    /// What [`Pool::unshare`] does, or [`Pool::renew`].
    fn replace(&mut self, at: usize, renews: bool) {
        let (frame, buffer) = self.frames.remove(at);
        let plain = self.buffers[&buffer].clone();
        let number = frame.0;
        let stays = match renews {
            true => plain.meta.written && plain.owners == 1,
            false => plain.owners == 1,
        };
        let has_buffer = self.has_buffer(plain.bytes.len());
        let given = match renews {
            true => self.pool.renew(frame),
            false => self.pool.unshare(frame).ok_or(Frame::NOTHING),
        };
        if renews {
            self.buffers.get_mut(&buffer).unwrap().meta.written = false;
        }
        match given {
            Ok(frame) if stays => {
                assert_eq!(frame.0, number);
                self.frames.push((frame, buffer));
            }
            Ok(frame) => {
                assert!(has_buffer && frame.0 != number);
                let meta = Meta {
                    written: false,
                    ..plain.meta
                };
                self.enter(frame, plain.bytes, meta);
                self.leave(buffer, 1);
            }
            Err(frame) if renews => {
                assert!(!has_buffer && !stays && frame.0 == number);
                self.frames.push((frame, buffer));
            }
            Err(_) => {
                assert!(!has_buffer && !stays);
                self.leave(buffer, 1);
            }
        }
    }

    /// Puts something in front, by one of two ways.
    fn push(&mut self, at: usize, count: usize) {
        let front = self.pattern(count);
        let plain = self.plain(at);
        if !plain.has_open_front() || plain.headroom < count {
            return;
        }
        plain.headroom -= count;
        plain.bytes.splice(0..0, front.iter().copied());
        let frame = &self.frames[at].0;
        self.pool.push(frame, count);
        self.pool.bytes_mut(frame)[..count].copy_from_slice(&front);
    }

    fn before(&mut self, at: usize, go: bool) {
        let front = self.pattern(14);
        let plain = self.plain(at);
        if !plain.has_open_front() {
            return;
        }
        let goes = go && plain.headroom >= 14;
        let (meta, bytes) = (plain.meta, plain.bytes.clone());
        if goes {
            plain.headroom -= 14;
            plain.bytes.splice(0..0, front.iter().copied());
        }
        let write = |seen: Meta, shown: &[u8], room: &mut [u8; 14]| {
            assert!(seen == meta && shown == bytes);
            room.copy_from_slice(&front);
            go
        };
        assert_eq!(self.pool.put_before(&self.frames[at].0, write), goes);
    }

    fn write(&mut self, at: usize) {
        let (plain, frame) = (self.plain(at).clone(), &self.frames[at].0);
        let Some((meta, bytes)) = self.pool.view_unique(frame) else {
            return assert!(plain.owners > 1);
        };
        assert!(plain.owners == 1 && meta == plain.meta);
        let open = plain.open();
        bytes[..open].iter_mut().for_each(|byte| *byte ^= 0x55);
        (self.plain(at).bytes[..open].iter_mut()).for_each(|byte| *byte ^= 0x55);
    }

    fn part(&mut self, (from, start): (usize, usize), (to, place): (usize, usize), count: usize) {
        let source = self.plain(from).bytes.clone();
        let (same, target) = (self.frames[from].1 == self.frames[to].1, self.plain(to));
        let is_open = target.owners == 1 && place + count <= target.open();
        if same || !is_open && place + count <= target.bytes.len() {
            return;
        }
        if let (true, Some(part)) = (is_open, source.get(start..start + count)) {
            target.bytes[place..place + count].copy_from_slice(part);
        }
        if target.owners == 1 {
            let (from, to) = (&self.frames[from].0, &self.frames[to].0);
            self.pool.copy_part((from, start), (to, place), count);
        }
    }

    fn claim(&mut self, at: usize, start: usize) {
        let plain = self.plain(at);
        let start = start.min(plain.bytes.len());
        if plain.claim.is_some() {
            return;
        }
        plain.claim = Some(plain.headroom + start);
        let (bytes, buffer) = (plain.bytes[start..].to_vec(), self.frames[at].1);
        let claim = self.pool.claim(&self.frames[at].0, start);
        self.claims.push((claim, buffer, bytes));
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Make(len, how) => return self.make(len, how),
            Step::Fill(ref lens, most) => return self.fill(lens, most),
            Step::Consume(at, count, run) => return self.consume(at, count, run),
            Step::GiveUp(at) if !self.claims.is_empty() => {
                let (claim, buffer, _) = self.claims.remove(at % self.claims.len());
                self.pool.give_up(claim);
                return self.leave(buffer, 0);
            }
            Step::GiveUp(_) => return,
            _ => {}
        }
        let Some(pick) = self.pick(step.at()) else {
            return;
        };
        let alone = self.plain(pick).owners == 1;
        match *step {
            Step::Free(_) => {
                let (frame, buffer) = self.frames.remove(pick);
                self.pool.free(frame);
                self.leave(buffer, 1);
            }
            Step::Share(_) => {
                let share = self.pool.share(&self.frames[pick].0);
                self.plain(pick).owners += 1;
                self.frames.push((share, self.frames[pick].1));
            }
            Step::Unshare(_) => self.replace(pick, false),
            Step::Renew(_, written) => {
                self.plain(pick).meta.written = written;
                self.pool.meta_mut(&self.frames[pick].0).written = written;
                self.replace(pick, true);
            }
            Step::Copy(_) => {
                let plain = self.plain(pick).clone();
                let has_buffer = self.has_buffer(plain.bytes.len());
                let copy = self.pool.copy(&self.frames[pick].0);
                assert_eq!(copy.is_some(), has_buffer);
                if let Some(copy) = copy {
                    let meta = Meta {
                        written: false,
                        ..plain.meta
                    };
                    self.enter(copy, plain.bytes, meta);
                }
            }
            Step::Push(_, count) => self.push(pick, count),
            Step::Before(_, go) => self.before(pick, go),
            Step::Pull(_, count) if alone => {
                let plain = self.plain(pick);
                let count = count.min(plain.bytes.len());
                plain.headroom += count;
                plain.bytes.drain(..count);
                self.pool.pull(&self.frames[pick].0, count);
            }
            Step::Truncate(_, len) if alone => {
                self.plain(pick).bytes.truncate(len);
                self.pool.truncate(&self.frames[pick].0, len);
            }
            Step::Write(_) => self.write(pick),
            Step::Part(_, start, to, place, count) => {
                let to = to % self.frames.len();
                self.part((pick, start), (to, place), count);
            }
            Step::Claim(_, start) => self.claim(pick, start),
            _ => {}
        }
    }

    /// Pool and model say the same.
    fn compare(&self) {
        assert_eq!(self.pool.in_use(), self.buffers.len());
        for (frame, buffer) in &self.frames {
            let plain = &self.buffers[buffer];
            let (meta, bytes) = self.pool.view(frame);
            assert_eq!(meta, plain.meta);
            assert!(bytes == plain.bytes, "the bytes of {frame:?}");
            assert_eq!(Pool::room_of(frame) == LARGE, plain.large);
        }
        for (claim, buffer, bytes) in &self.claims {
            assert!(self.pool.claimed(claim) == bytes, "the bytes of {claim:?}");
            assert_eq!(self.pool.is_last(claim), self.buffers[buffer].owners == 0);
        }
    }
}

impl Step {
    /// The frame that it is about.
    const fn at(&self) -> usize {
        match *self {
            Self::Free(at)
            | Self::Share(at)
            | Self::Unshare(at)
            | Self::Copy(at)
            | Self::Renew(at, _)
            | Self::Push(at, _)
            | Self::Before(at, _)
            | Self::Pull(at, _)
            | Self::Truncate(at, _)
            | Self::Write(at)
            | Self::Part(at, ..)
            | Self::Claim(at, _) => at,
            Self::Make(..) | Self::Fill(..) | Self::Consume(..) | Self::GiveUp(_) => 0,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_pool_is_its_model(small in 1_usize..8, large in 0_usize..4, steps in vec(step(), 1..80)) {
        let mut both = Beside::new(PoolLimits { small, large });
        for step in &steps {
            both.step(step);
            both.compare();
        }
        for (frame, _) in both.frames.drain(..) {
            both.pool.free(frame);
        }
        assert_eq!(both.pool.in_use(), both.claims.len(), "each in a buffer of its own");
        for (claim, ..) in both.claims.drain(..) {
            both.pool.give_up(claim);
        }
        prop_assert_eq!(both.pool.in_use(), 0);
    }
}

/// Who writes what somebody has a claim to is found when that is looked at.
#[test]
#[cfg(debug_assertions)]
#[should_panic = "claimed bytes were written"]
fn a_claim_that_was_written_is_noticed() {
    let mut pool = Pool::default();
    let frame = pool.from_bytes(&[7; 100]).unwrap();
    let claim = pool.claim(&frame, 40);
    pool.bytes_mut(&frame)[99] = 8;
    pool.give_up(claim);
}
