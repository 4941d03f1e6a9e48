//! The lanes of a namespace, and what its rules said of packets that have none.

use super::super::like::{Answers, Like};
use super::passage::Passage;
use super::plain::Key;
use crate::conntrack::{ConnRef, Direction};
use crate::filter::State;

/// Lanes of a namespace; those of flows with the same places take turns. Memory (a quarter of a MiB in
/// the end) is taken as flows go on.
pub(super) const LANES: usize = 4096;
/// So many at first: a power of two, a power of four less than [`LANES`].
const FIRST_LANES: usize = 64;
/// Places that a lane may have, one behind the other.
const PLACES: usize = 4;

/// A line of the cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Lane {
    pub(super) key: Key,
    pub(super) conn: ConnRef,
    pub(super) direction: Direction,
    pub(super) state: State,
    /// Its way through the rules.
    pub(super) way: u32,
    /// When it was opened, in changes of the rules.
    pub(super) epoch: u32,
}

/// What the rules said of a first packet that nothing translates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    /// Its way through them, the nat table included.
    pub(super) first: u32,
    /// The way of those behind it that are still before an answer.
    pub(super) way: u32,
    /// The state of the namespace's addresses, if they were asked for.
    pub(super) addresses: Option<u64>,
}

/// The lanes of a namespace, by key.
#[derive(Debug, Default)]
pub(in crate::hook) struct Lanes {
    pub(super) list: Vec<Option<Lane>>,
    /// The ways of packets without a lane.
    said: Answers<u32>,
    /// What they said of first packets.
    pub(super) openings: Answers<Opening>,
    /// The rules of this epoch, as [`crate::filter::Ruleset::change`] has it.
    pub(super) rules: u64,
    pub(super) epoch: u32,
}

impl Lanes {
    /// The first place of a flow among those that there are now.
    #[inline]
    const fn place(&self, key: &Key) -> usize {
        key.place() & self.list.len().wrapping_sub(PLACES)
    }

    /// The lane of a flow under these rules.
    #[inline(always)]
    pub(super) fn of(&self, key: &Key, rules: u64) -> Option<&Lane> {
        if self.list.is_empty() {
            return None;
        }
        let place = self.place(key);
        let places: &[_; PLACES] = self.list.get(place..)?.first_chunk()?;
        let lane = match &places[0] {
            Some(first) if first.key == *key => first,
            _ => places[1..].iter().flatten().find(|lane| lane.key == *key)?,
        };
        (self.rules == rules && lane.epoch == self.epoch).then_some(lane)
    }

    /// What these rules said of packets like this one.
    #[inline]
    pub(super) fn said_of(&self, like: &Like, rules: u64) -> Option<u32> {
        let said = self.said.of(like, u64::from(self.epoch)).copied();
        said.filter(|_| self.rules == rules)
    }

    /// What these rules said of first packets like this one.
    #[inline]
    pub(super) fn opening_of(&self, like: &Like, rules: u64) -> Option<&Opening> {
        let opening = self.openings.of(like, u64::from(self.epoch));
        opening.filter(|_| self.rules == rules)
    }

    /// This is the way of packets like this one under these rules.
    pub(super) fn say(&mut self, like: Like, way: u32, rules: u64) {
        self.renew(rules);
        self.said.keep(like, u64::from(self.epoch), way);
    }

    /// With other rules a new epoch begins: all lanes are closed.
    pub(super) fn renew(&mut self, rules: u64) {
        if self.rules != rules {
            self.rules = rules;
            self.epoch = self.epoch.wrapping_add(1);
            if self.epoch == 0 {
                self.list.fill(None);
                (self.said, self.openings) = (Answers::default(), Answers::default());
            }
        }
    }

    /// Opens a lane: in its flow's place if it had one before, else in the first that is free or closed
    /// by a change of the rules, else in that of another flow once there are as many as there may be.
    pub(super) fn open(&mut self, lane: Lane) {
        if self.list.is_empty() {
            self.list.resize(FIRST_LANES + PLACES - 1, None);
        }
        let lanes = self.list.len() + 1 - PLACES;
        let place = self.place(&lane.key);
        let places = &mut self.list[place..place + PLACES];
        let of_flow = |held: &Option<Lane>| held.as_ref().is_some_and(|held| held.key == lane.key);
        let is_free =
            |held: &Option<Lane>| held.as_ref().is_none_or(|held| held.epoch != lane.epoch);
        let at = places.iter().position(of_flow);
        let at = at.or_else(|| places.iter().position(is_free));
        if at.is_none() && lanes < LANES {
            self.grow(4 * lanes);
            return self.open(lane);
        }
        places[at.unwrap_or(0)] = Some(lane);
    }

    fn grow(&mut self, lanes: usize) {
        let fresh = vec![None; lanes + PLACES - 1];
        let held = core::mem::replace(&mut self.list, fresh);
        for lane in held.into_iter().flatten() {
            if lane.epoch == self.epoch {
                self.open(lane);
            }
        }
    }
}

impl Lane {
    #[inline]
    pub(super) const fn passage(&self) -> Passage {
        Passage {
            conn: self.conn,
            way: self.way as u16,
            direction: self.direction,
            answered: matches!(self.state, State::Established),
        }
    }
}
