//! The lanes of a namespace, and what its rules said of packets that have none.

use foldhash::fast::FixedState;
use indexmap::IndexSet;

use super::super::like::{Answers, Like};
use super::passage::Passage;
use super::plain::Key;
use crate::conntrack::{ConnRef, Direction};
use crate::filter::{State, Trail};

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
    /// Which of the [`Lanes::trails`] it takes.
    pub(super) trail: u32,
    /// When it was opened, in changes of the rules.
    pub(super) epoch: u32,
}

/// What the rules said of a first packet that nothing translates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    /// In the nat table, before routing and behind it.
    pub(super) nat: [Trail; 2],
    /// Which of the [`Lanes::trails`].
    pub(super) trail: u32,
    /// The state of the namespace's addresses, if they were asked for.
    pub(super) addresses: Option<u64>,
}

/// The lanes of a namespace, by key.
#[derive(Debug, Default)]
pub(in crate::hook) struct Lanes {
    pub(super) list: Vec<Option<Lane>>,
    /// What they said of packets without a lane: the number of a trail.
    said: Answers<u32>,
    /// What they said of first packets.
    pub(super) openings: Answers<Opening>,
    /// What they said about the rules that packets meet: few, however many packets there are.
    pub(super) trails: IndexSet<Trail, FixedState>,
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
    #[inline]
    pub(super) fn of(&self, key: &Key, rules: u64) -> Option<&Lane> {
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

    /// These rules said this of packets like this one.
    pub(super) fn say(&mut self, like: Like, trail: Trail, rules: u64) -> u32 {
        let trail = self.number(trail, rules);
        self.said.keep(like, u64::from(self.epoch), trail);
        trail
    }

    /// The number of a trail under these rules. With others, or with more trails than lanes, a new epoch
    /// begins: all lanes are closed.
    fn number(&mut self, trail: Trail, rules: u64) -> u32 {
        if self.rules != rules || self.trails.len() >= LANES {
            self.rules = rules;
            self.trails.clear();
            self.epoch = self.epoch.wrapping_add(1);
            if self.epoch == 0 {
                self.list.fill(None);
                (self.said, self.openings) = (Answers::default(), Answers::default());
            }
        }
        self.trails.insert_full(trail).0 as u32
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
            trail: self.trail as u16,
            direction: self.direction,
            state: self.state,
        }
    }
}
