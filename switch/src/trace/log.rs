//! Events that wait to be taken, in 32 bytes each or less.
//!
//! An [`Event`] is large for the sake of two kinds, address translations and judgements. Here they stand
//! aside, and what happens to frames with consecutive numbers at one place and moment, as when a burst
//! crosses a bridge, is one record for all of them.

use core::iter::FusedIterator;
use std::vec;

use crate::filter::Judgement;
use crate::time::Time;
use crate::verdict::{DropReason, Event, IfId, Rewrite, What};

/// Events that wait to be taken, at most; later ones are counted and left out.
pub const EVENTS: usize = 1 << 20;
/// Room for so many records is made at once, at least.
const RECORDS: usize = 32;

/// What happened. A translation stands among the [`Log::rewrites`], a judgement among the
/// [`Log::judgements`], in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Delivered,
    Dropped(DropReason),
    Flooded,
    Forwarded(IfId),
    Judged,
    Learned(IfId),
    Rewritten,
    Sent,
}

/// The same step of `count` frames with consecutive numbers.
#[derive(Clone, Copy, Debug)]
struct Record {
    at: Time,
    first: u64,
    count: u32,
    place: IfId,
    step: Step,
}

/// The events since they were last taken.
#[derive(Debug, Default)]
pub(super) struct Log {
    records: Vec<Record>,
    rewrites: Vec<Rewrite>,
    judgements: Vec<Judgement>,
    /// Events that the records stand for, beyond one each.
    more: usize,
    lost: u64,
}

impl Step {
    #[inline]
    pub(super) const fn of(what: What) -> Self {
        match what {
            What::Delivered => Self::Delivered,
            What::Dropped(reason) => Self::Dropped(reason),
            What::Flooded => Self::Flooded,
            What::Forwarded(to) => Self::Forwarded(to),
            What::Judged(_) => Self::Judged,
            What::Learned(behind) => Self::Learned(behind),
            What::Rewritten(_) => Self::Rewritten,
            What::Sent => Self::Sent,
        }
    }

    /// `None` of a translation and a judgement, which stand aside.
    #[inline]
    const fn what(self) -> Option<What> {
        Some(match self {
            Self::Delivered => What::Delivered,
            Self::Dropped(reason) => What::Dropped(reason),
            Self::Flooded => What::Flooded,
            Self::Forwarded(to) => What::Forwarded(to),
            Self::Learned(behind) => What::Learned(behind),
            Self::Sent => What::Sent,
            Self::Judged | Self::Rewritten => return None,
        })
    }
}

impl Log {
    /// Events that were left out.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// Takes note of the same step, other than a translation, of `count` frames.
    #[inline]
    pub(super) fn push(&mut self, at: Time, first: u64, count: u32, place: IfId, step: Step) {
        let count = self.admit(count);
        if count > 0 {
            self.record(at, first, count, place, step);
        }
    }

    /// The same of one frame, of which the next one's step is not known to be the same.
    #[inline(always)]
    pub(super) fn push_one(&mut self, at: Time, frame: u64, place: IfId, step: Step) {
        if !self.has_room(1) {
            self.lost += 1;
            return;
        }
        self.keep_one(at, frame, place, step);
    }

    /// The same where there is room for it.
    #[inline(always)]
    pub(super) fn keep_one(&mut self, at: Time, frame: u64, place: IfId, step: Step) {
        debug_assert!(self.has_room(1), "an event too many");
        self.records.push(Record {
            at,
            first: frame,
            count: 1,
            place,
            step,
        });
    }

    /// The same of a translation.
    pub(super) fn push_rewritten(
        &mut self,
        at: Time,
        first: u64,
        count: u32,
        place: IfId,
        rewrite: Rewrite,
    ) {
        let count = self.admit(count);
        self.rewrites
            .extend(core::iter::repeat_n(rewrite, count as usize));
        if count > 0 {
            self.record(at, first, count, place, Step::Rewritten);
        }
    }

    /// The same of a judgement on one frame.
    pub(super) fn push_judged(&mut self, at: Time, frame: u64, place: IfId, judgement: Judgement) {
        if self.admit(1) > 0 {
            self.judgements.push(judgement);
            self.record(at, frame, 1, place, Step::Judged);
        }
    }

    /// Events that the records stand for.
    #[inline]
    const fn waiting(&self) -> usize {
        self.records.len() + self.more
    }

    /// Whether there is room for so many more events.
    #[inline]
    pub(super) const fn has_room(&self, count: usize) -> bool {
        self.waiting() + count <= EVENTS
    }

    /// How many of `count` events there is room for; the others are lost.
    #[inline]
    fn admit(&mut self, count: u32) -> u32 {
        let room = EVENTS - self.waiting();
        if count as usize <= room {
            return count;
        }
        self.lost += u64::from(count) - room as u64;
        room as u32
    }

    /// The parts of the record come one by one: one that is put together elsewhere is read here in other widths than it was
    /// just written, which a processor waits for.
    #[inline(never)]
    fn record(&mut self, at: Time, first: u64, count: u32, place: IfId, step: Step) {
        if let Some(last) = self.records.last_mut()
            && last.is_followed_by(first, at, place, step)
        {
            last.count += count;
            self.more += count as usize;
            return;
        }
        self.more += count as usize - 1;
        // So that those who find room need not save what they hold.
        if self.records.len() == self.records.capacity() {
            return self.record_anew(at, first, count, place, step);
        }
        self.records.push(Record {
            at,
            first,
            count,
            place,
            step,
        });
    }

    #[cold]
    #[inline(never)]
    fn record_anew(&mut self, at: Time, first: u64, count: u32, place: IfId, step: Step) {
        self.records.reserve(RECORDS);
        self.records.push(Record {
            at,
            first,
            count,
            place,
            step,
        });
    }

    /// Where the next event will stand: how many records there are, and of how many frames the last one is.
    pub(super) fn end(&self) -> (usize, u32) {
        let last = self.records.last();
        (self.records.len(), last.map_or(0, |last| last.count))
    }

    /// What became of frames from `start` on, without translations and judgements.
    pub(super) fn fates(&self, start: (usize, u32)) -> impl Iterator<Item = Event> {
        let (records, frames) = start;
        // The last record may have grown since.
        let first = records.saturating_sub(1);
        let later = self.records.iter().enumerate().skip(first);
        later.flat_map(move |(at, record)| {
            let told = if at < records { frames } else { 0 };
            let what = record.step.what();
            (told..record.count).filter_map(move |more| {
                let frame = record.first.wrapping_add(u64::from(more));
                Some(record.told(frame, what?))
            })
        })
    }

    pub(super) fn drain(&mut self) -> Events<'_> {
        let left = self.waiting();
        self.more = 0;
        Events {
            records: self.records.drain(..),
            rewrites: self.rewrites.drain(..),
            judgements: self.judgements.drain(..),
            run: None,
            left,
        }
    }
}

impl Record {
    /// This says the same of the frames that come next. Never of more than [`EVENTS`] in all.
    #[inline]
    fn is_followed_by(&self, first: u64, at: Time, place: IfId, step: Step) -> bool {
        self.first.wrapping_add(u64::from(self.count)) == first
            && self.place == place
            && self.at == at
            && self.step == step
    }

    /// What the record says of `frame`; translations and judgements come in the order of the events.
    #[inline]
    fn event(
        &self,
        frame: u64,
        rewrites: &mut impl Iterator<Item = Rewrite>,
        judgements: &mut impl Iterator<Item = Judgement>,
    ) -> Option<Event> {
        let what = match self.step {
            Step::Judged => What::Judged(judgements.next()?),
            Step::Rewritten => What::Rewritten(rewrites.next()?),
            step => step.what()?,
        };
        Some(self.told(frame, what))
    }

    #[inline]
    const fn told(&self, frame: u64, what: What) -> Event {
        Event {
            at: self.at,
            frame,
            place: self.place,
            what,
        }
    }
}

/// Events in order, taken out of the [`Trace`](super::Trace); those not looked at are gone as well.
#[derive(Debug)]
pub struct Events<'a> {
    records: vec::Drain<'a, Record>,
    rewrites: vec::Drain<'a, Rewrite>,
    judgements: vec::Drain<'a, Judgement>,
    /// The record that is being told.
    run: Option<Record>,
    left: usize,
}

impl Iterator for Events<'_> {
    type Item = Event;

    #[inline]
    fn next(&mut self) -> Option<Event> {
        let mut run = match self.run.take() {
            Some(run) => run,
            None => self.records.next()?,
        };
        let event = run.event(run.first, &mut self.rewrites, &mut self.judgements)?;
        self.left -= 1;
        run.first = run.first.wrapping_add(1);
        run.count -= 1;
        if run.count > 0 {
            self.run = Some(run);
        }
        Some(event)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }

    fn count(self) -> usize {
        self.left
    }

    fn fold<T, F: FnMut(T, Event) -> T>(self, start: T, mut tell: F) -> T {
        let mut told = start;
        let (mut rewrites, mut judgements) = (self.rewrites, self.judgements);
        for run in self.run.into_iter().chain(self.records) {
            let frames = (0..u64::from(run.count)).map(|at| run.first.wrapping_add(at));
            let Some(what) = run.step.what() else {
                for frame in frames {
                    if let Some(event) = run.event(frame, &mut rewrites, &mut judgements) {
                        told = tell(told, event);
                    }
                }
                continue;
            };
            for frame in frames {
                told = tell(told, run.told(frame, what));
            }
        }
        told
    }
}

impl ExactSizeIterator for Events<'_> {}
impl FusedIterator for Events<'_> {}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use super::*;
    use crate::filter::{Family, Ruling, Table};
    use crate::hook::Hook;
    use proptest::prelude::*;

    fn push(log: &mut Log, at: Time, first: u64, count: u32, place: IfId, what: What) {
        match what {
            What::Rewritten(rewrite) => log.push_rewritten(at, first, count, place, rewrite),
            What::Judged(judgement) => {
                for frame in first..first + u64::from(count) {
                    log.push_judged(at, frame, place, judgement);
                }
            }
            other => log.push(at, first, count, place, Step::of(other)),
        }
    }

    /// From a mark on events are told without being taken, also where the last record went on growing.
    #[test]
    fn what_comes_after_a_mark_is_told() {
        let mut log = Log::default();
        let (now, place) = (Time::ZERO, IfId(3));
        assert_eq!(log.fates(log.end()).count(), 0);
        push(&mut log, now, 7, 2, place, What::Sent);
        let mark = log.end();
        assert_eq!(log.fates(mark).count(), 0);
        push(&mut log, now, 9, 1, place, What::Sent);
        let dropped = What::Dropped(DropReason::NoRoute);
        push(&mut log, now, 9, 1, place, dropped);
        let told: Vec<_> = log
            .fates(mark)
            .map(|event| (event.frame, event.what))
            .collect();
        assert_eq!(told, [(9, What::Sent), (9, dropped)]);
        assert_eq!(log.fates((0, 0)).count(), 4);
        assert_eq!(log.drain().count(), 4);
    }

    #[test]
    fn a_record_is_small() {
        assert!(size_of::<Record>() <= 32, "{} bytes", size_of::<Record>());
    }

    #[test]
    fn a_burst_is_one_record() {
        let mut log = Log::default();
        for frame in 5..69 {
            push(&mut log, Time::ZERO, frame, 1, IfId(2), What::Sent);
        }
        assert_eq!(log.records.len(), 1);
        let frames: Vec<u64> = log.drain().map(|event| event.frame).collect();
        assert_eq!(frames, (5..69).collect::<Vec<_>>());
    }

    #[test]
    fn the_bound_holds_and_what_is_lost_is_counted() {
        let mut log = Log::default();
        let half = (EVENTS / 2) as u32;
        push(&mut log, Time::ZERO, 1, half, IfId(2), What::Sent);
        push(&mut log, Time::ZERO, 1, half + 5, IfId(3), What::Sent);
        push(&mut log, Time::ZERO, 7, 1, IfId(4), What::Delivered);
        assert_eq!(log.lost(), 6);
        let events = log.drain();
        assert_eq!(events.len(), EVENTS);
        assert_eq!(
            events.filter(|event| event.place == IfId(3)).count(),
            EVENTS / 2
        );
        push(&mut log, Time::ZERO, 7, 1, IfId(4), What::Delivered);
        assert_eq!((log.drain().count(), log.lost()), (1, 6));
    }

    #[test]
    fn the_bound_holds_for_one_at_a_time() {
        let mut log = Log::default();
        let most = (EVENTS - 2) as u32;
        push(&mut log, Time::ZERO, 1, most, IfId(2), What::Sent);
        for frame in [3, 9] {
            assert!(log.has_room(1));
            log.push_one(Time::ZERO, frame, IfId(3), Step::Delivered);
        }
        assert!(!log.has_room(1));
        log.push_one(Time::ZERO, 4, IfId(3), Step::Delivered);
        push(&mut log, Time::ZERO, 5, 1, IfId(3), What::Delivered);
        assert_eq!(log.lost(), 2);
        let told: Vec<u64> = log
            .drain()
            .filter(|event| event.place == IfId(3))
            .map(|event| event.frame)
            .collect();
        assert_eq!(told, [3, 9]);
    }

    #[test]
    fn what_is_not_looked_at_is_gone() {
        let mut log = Log::default();
        push(&mut log, Time::ZERO, 1, 10, IfId(2), What::Sent);
        assert_eq!(log.drain().next().map(|event| event.frame), Some(1));
        assert_eq!(log.drain().next(), None);
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([172, 17, 0, 2], port))
    }

    fn any_judgement() -> impl Strategy<Value = Judgement> {
        (0_u16..2).prop_map(|port| Judgement {
            family: Family::V4,
            table: Table::Nat,
            hook: Hook::Prerouting,
            ruling: Ruling::Dnat([172, 17, 0, 2].into(), Some(port)),
            rule: None,
            returned: None,
        })
    }

    fn any_what() -> impl Strategy<Value = What> {
        prop_oneof![
            Just(What::Sent),
            Just(What::Delivered),
            Just(What::Flooded),
            Just(What::Dropped(DropReason::RingFull)),
            Just(What::Dropped(DropReason::Martian)),
            (0_u32..2).prop_map(|to| What::Forwarded(IfId(to))),
            (0_u32..2).prop_map(|to| What::Learned(IfId(to))),
            any_judgement().prop_map(What::Judged),
            (0_u16..2).prop_map(|port| What::Rewritten(Rewrite {
                from_source: address(1),
                from_destination: address(2),
                to_source: address(3),
                to_destination: address(port),
            })),
        ]
    }

    proptest! {
        /// One by one, in order.
        #[test]
        fn what_comes_out_went_in(
            steps in prop::collection::vec((0_u64..2, 0_u64..4, 1_u32..4, 0_u32..2, any_what()), 0..200),
            skip in 0_usize..10,
        ) {
            let (mut log, mut plain) = (Log::default(), Vec::new());
            for (at, frame, count, place, what) in steps {
                let (at, place) = (Time::from_secs(at), IfId(place));
                push(&mut log, at, frame, count, place, what);
                let frames = frame..frame + u64::from(count);
                plain.extend(frames.map(|frame| Event { at, frame, place, what }));
            }
            let told = log.drain();
            prop_assert_eq!(told.len(), plain.len());
            prop_assert_eq!(told.collect::<Vec<_>>(), plain.clone());
            // And the same when they are told all at once, from anywhere on; and taken down without a look at the last.
            for event in &plain {
                match Step::of(event.what) {
                    Step::Judged | Step::Rewritten => {
                        push(&mut log, event.at, event.frame, 1, event.place, event.what);
                    }
                    step => log.push_one(event.at, event.frame, event.place, step),
                }
            }
            let mut told = log.drain();
            let skipped = told.by_ref().take(skip).count().min(plain.len());
            let mut rest = Vec::new();
            told.for_each(|event| rest.push(event));
            prop_assert_eq!(&rest, &plain[skipped..]);
        }
    }
}
