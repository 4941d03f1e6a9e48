//! Passages: the way of a flow through the hooks, kept by those who know the rest of its way, and packets that go along it.

use super::super::Netfilter;
use super::lanes::Lane;
use super::run::Run;
use crate::conntrack::{ConnRef, Direction};
use crate::filter::Counter;
use crate::time::Time;

/// The way of a flow through the hooks that is known, to be kept by those who know the rest of its way. It holds until
/// [`Netfilter::passages`] changes.
#[derive(Clone, Copy, Debug)]
pub struct Passage {
    pub(super) conn: ConnRef,
    /// Its way through the rules: there are no more than [`WAYS`](crate::filter::WAYS).
    pub(super) way: u16,
    pub(super) direction: Direction,
    /// Its packets are those of a connection that was answered.
    pub(super) answered: bool,
}

/// Packets that went the same way through the rules and are not counted at their rules yet: by
/// [`Netfilter::count`], before anything else happens there.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct Tally {
    way: u32,
    packets: u32,
    bytes: u64,
}

impl Netfilter {
    /// The same for packets of nothing but data whose way is known and [holds](Self::passages): in a connection that is open
    /// and as it was.
    #[inline]
    pub fn pass_along(
        &mut self,
        now: Time,
        run: &Run,
        passage: &Passage,
        tally: &mut Tally,
    ) -> bool {
        self.pass_open(now, (run.packets, run.weight), passage, tally)
    }

    /// The same for so many packets of as many bytes each, which are frames.
    #[inline]
    pub fn pass_many(
        &mut self,
        now: Time,
        (packets, len): (u32, u64),
        passage: &Passage,
        tally: &mut Tally,
    ) -> bool {
        let weight = Counter {
            packets: u64::from(packets),
            bytes: u64::from(packets) * len,
        };
        self.pass_open(now, (packets, weight), passage, tally)
    }

    /// The same for one packet of `len` bytes, which is one frame.
    #[inline(always)]
    pub fn pass_one(&mut self, now: Time, len: u16, passage: &Passage, tally: &mut Tally) -> bool {
        let Some(conn) = self.conntrack.conn_mut(passage.conn) else {
            return false;
        };
        let weight = Counter {
            packets: 1,
            bytes: u64::from(len),
        };
        // A new one's packets are not answers.
        let is_as_it_was = passage.answered == conn.seen_reply;
        if !is_as_it_was || !conn.live_on(now) {
            return self.pass_open(now, (1, weight), passage, tally);
        }
        // No TCP connection that lives on is over, so nothing else misplaces it.
        if conn.expires < conn.queued {
            self.conntrack.settle(passage.conn);
        }
        self.tally(tally, u32::from(passage.way), weight);
        true
    }

    #[inline(never)]
    fn pass_open(
        &mut self,
        now: Time,
        (packets, weight): (u32, Counter),
        passage: &Passage,
        tally: &mut Tally,
    ) -> bool {
        let Some(conn) = self.conntrack.conn_mut(passage.conn) else {
            return false;
        };
        let answered = passage.direction == Direction::Reply || conn.seen_reply;
        let holds = conn.is_open() && !conn.is_expired(now) && answered == passage.answered;
        if !holds {
            return false;
        }
        let was_assured = conn.assured;
        conn.advance_open(now, passage.direction);
        if packets > 1 {
            conn.advance_open(now, passage.direction);
        }
        if conn.is_misplaced() || conn.assured != was_assured {
            self.conntrack.settle(passage.conn);
        }
        self.tally(tally, u32::from(passage.way), weight);
        true
    }

    #[inline]
    pub(super) fn tally(&mut self, tally: &mut Tally, way: u32, weight: Counter) {
        if way != tally.way {
            self.count(tally);
            tally.way = way;
        }
        tally.packets += weight.packets as u32;
        tally.bytes += weight.bytes;
    }

    /// The way of packets that have just passed and are nothing but data, if more are to be expected.
    #[must_use]
    #[inline]
    pub fn passage(&self, run: &Run) -> Option<Passage> {
        let lane = self.lanes.of(&run.first.key, self.rules.change());
        lane.filter(|_| run.first.is_data()).map(Lane::passage)
    }

    /// Two numbers of which one changes when the [passages](Passage) that were given hold no longer.
    #[must_use]
    #[inline]
    pub const fn passages(&self) -> (u64, u32) {
        (self.rules.change(), self.lanes.epoch)
    }

    /// Counts at the rules what passed lanes; nothing is left in the tally.
    #[inline(never)]
    pub fn count(&mut self, tally: &mut Tally) {
        let weight = Counter {
            packets: u64::from(core::mem::take(&mut tally.packets)),
            bytes: core::mem::take(&mut tally.bytes),
        };
        if weight.packets > 0 {
            self.rules.count_way(tally.way, weight);
        }
    }
}
