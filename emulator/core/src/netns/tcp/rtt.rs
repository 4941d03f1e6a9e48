//! Round-trip times: what smoltcp has measured, and what passed it by.
//!
//! smoltcp times one segment at a time and keeps the two averages of RFC 6298 in whole milliseconds, which it rounds up. So a
//! time that is about as long as those before leaves them as they are: smoltcp need not learn of it. A few others are kept for it to
//! [measure later](super::smol::Smol::measure), since its retransmission timeout, should it ever grow, comes from all that there
//! were.

use core::ops::Range;

use switch::Time;

use super::segment::after;

/// A time so much shorter than the smoothed one leaves that as it is, rounded up.
const EIGHTHS: u32 = 7;
/// The same for the variation.
const QUARTERS: u32 = 3;
/// Times that are kept.
const MOST: usize = 16;

/// The smoothed time and its variation.
type Averages = (u32, u32);

/// A connection's round-trip times. Numbers are those of the wire, but for the initial sequence number's shift.
#[derive(Debug, Default)]
pub(super) struct Rtt {
    /// Our SYN has been sent.
    is_open: bool,
    /// If anything has been measured.
    averages: Option<Averages>,
    /// Times that leave these as they are.
    usual: Range<u32>,
    /// When the segment was sent that is timed, and the number behind it.
    timed: Option<(Time, u32)>,
    /// Times that smoltcp has not measured, so many, and its averages without these.
    kept: ([u8; MOST], usize),
    seen: Option<Averages>,
}

/// As smoltcp measures: in milliseconds that have passed, by a clock of microseconds.
#[inline]
fn span(from: Time, to: Time) -> u32 {
    if from == to {
        return 0;
    }
    let (from, to) = (
        from.as_nanos().div_ceil(1_000),
        to.as_nanos().div_ceil(1_000),
    );
    (to.saturating_sub(from) / 1_000) as u32
}

/// With one more time.
fn averaged(averages: Option<Averages>, time: u32) -> Averages {
    let Some((smooth, variation)) = averages else {
        return (time, time / 2);
    };
    (
        (EIGHTHS * smooth + time).div_ceil(EIGHTHS + 1),
        (QUARTERS * variation + smooth.abs_diff(time)).div_ceil(QUARTERS + 1),
    )
}

/// Times that leave the averages as they are.
fn usual((smooth, variation): Averages) -> Range<u32> {
    let least = smooth.saturating_sub(variation.min(EIGHTHS));
    least..(smooth + 1).saturating_sub(variation.saturating_sub(QUARTERS))
}

impl Rtt {
    /// Nothing has been timed.
    pub(super) const fn is_new(&self) -> bool {
        !self.is_open
    }

    /// Our SYN is sent, maybe again, after which the number is `end`.
    pub(super) fn open(&mut self, now: Time, end: u32) {
        self.timed = (!self.is_open).then_some((now, end));
        self.is_open = true;
    }

    /// An acknowledgement at once changes nothing.
    pub(super) fn is_short(&self) -> bool {
        self.usual.contains(&0)
    }

    /// Some acknowledgements change nothing.
    pub(super) fn is_even(&self) -> bool {
        !self.usual.is_empty()
    }

    /// When what is acknowledged at this time was sent, if that changes nothing.
    pub(super) const fn before(&self, at: Time) -> Time {
        Self::earlier(at, self.usual.start)
    }

    /// So many milliseconds earlier.
    pub(super) const fn earlier(at: Time, time: u32) -> Time {
        Time::from_nanos(at.as_nanos().saturating_sub(time as u64 * 1_000_000))
    }

    /// What is timed.
    pub(super) const fn timed(&self) -> Option<(Time, u32)> {
        self.timed
    }

    pub(super) const fn set_timed(&mut self, timed: Option<(Time, u32)>) {
        self.timed = timed;
    }

    /// A segment that ends in front of `end` is sent for the first time.
    #[inline]
    pub(super) const fn send(&mut self, now: Time, end: u32) {
        if self.timed.is_none() {
            self.timed = Some((now, end));
        }
    }

    /// When what is timed was sent, if all up to `ack` is acknowledged and that ends it.
    #[inline]
    pub(super) fn ended(&self, ack: u32) -> Option<Time> {
        let (at, end) = self.timed?;
        (!after(end, ack)).then_some(at)
    }

    /// An acknowledgement of all up to `ack` changes nothing, or may be kept.
    #[inline]
    pub(super) fn passes(&self, now: Time, ack: u32, may_keep: bool) -> bool {
        let Some(at) = self.ended(ack) else {
            return true;
        };
        let time = span(at, now);
        self.usual.contains(&time) || may_keep && self.has_room(time)
    }

    /// Another time may be kept, some times being usual after that as well.
    #[cold]
    fn has_room(&self, time: u32) -> bool {
        let is_even = !usual(averaged(self.averages, time)).is_empty();
        self.kept.1 < MOST && time <= u8::MAX.into() && is_even
    }

    /// All up to `ack` is acknowledged, which [passes](Self::passes).
    #[inline]
    pub(super) fn pass(&mut self, now: Time, ack: u32) {
        if let Some(at) = self.ended(ack) {
            self.timed = None;
            let time = span(at, now);
            if !self.usual.contains(&time) {
                self.keep(time);
            }
        }
    }

    #[cold]
    fn keep(&mut self, time: u32) {
        let (times, count) = &mut self.kept;
        if *count == 0 {
            self.seen = self.averages;
        }
        times[*count] = time as u8;
        *count += 1;
        self.average(time);
    }

    fn average(&mut self, time: u32) {
        let averages = averaged(self.averages, time);
        self.usual = usual(averages);
        self.averages = Some(averages);
    }

    /// smoltcp hears that all up to `ack` is acknowledged.
    pub(super) fn hear(&mut self, now: Time, ack: u32) {
        if let Some(at) = self.ended(ack) {
            self.timed = None;
            self.average(span(at, now));
        }
    }

    /// Times are kept.
    pub(super) const fn keeps(&self) -> bool {
        self.kept.1 > 0
    }

    /// The times that were kept, which smoltcp measures now.
    pub(super) fn give(&mut self) -> impl Iterator<Item = u32> + use<> {
        let (times, count) = core::mem::take(&mut self.kept);
        if count > 0 {
            self.averages = self.seen;
        }
        times.into_iter().take(count).map(u32::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_changes_nothing() {
        for averages in (0..60).flat_map(|smooth| (0..60).map(move |variation| (smooth, variation)))
        {
            for time in 0..150 {
                let changes = averaged(Some(averages), time) != averages;
                assert_eq!(
                    usual(averages).contains(&time),
                    !changes,
                    "{averages:?} {time}"
                );
            }
        }
    }

    /// RFC 6298 §3 (Karn's algorithm).
    #[test]
    fn a_syn_that_is_sent_again_is_not_timed() {
        let mut rtt = Rtt::default();
        rtt.open(Time::ZERO, 1);
        rtt.open(Time::from_secs(1), 1);
        rtt.hear(Time::from_secs(1), 1);
        assert_eq!((rtt.averages, rtt.timed()), (None, None));
        rtt.send(Time::from_secs(1), 2);
        rtt.hear(Time::from_millis(1010), 2);
        assert_eq!(rtt.averages, Some((10, 5)));
    }

    #[test]
    fn what_is_unusual_is_kept_for_smoltcp() {
        let at = Time::from_millis;
        let mut rtt = Rtt::default();
        rtt.send(at(0), 1);
        rtt.hear(at(0), 1);
        assert!(rtt.is_short() && !rtt.keeps());
        let mut unusual = Vec::new();
        for time in [4, 20].into_iter().cycle() {
            rtt.send(at(100), 2);
            rtt.send(at(101), 3);
            assert_eq!(rtt.timed(), Some((at(100), 2)));
            assert!(
                rtt.passes(at(100 + time), 1, false),
                "that is not acknowledged"
            );
            let is_usual = rtt.passes(at(100 + time), 2, false);
            if !rtt.passes(at(100 + time), 2, true) {
                break;
            }
            rtt.pass(at(100 + time), 2);
            if !is_usual {
                unusual.push(time as u32);
            }
        }
        let averages = rtt.averages;
        rtt.set_timed(None);
        let times: Vec<_> = rtt.give().collect();
        assert_eq!(times, unusual);
        assert_eq!(times.len(), MOST);
        assert_eq!(rtt.averages, Some((0, 0)));
        for time in times {
            rtt.send(at(0), 1);
            rtt.hear(at(time.into()), 1);
        }
        assert_eq!(rtt.averages, averages);
    }
}
