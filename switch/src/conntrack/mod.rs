//! The table of connections: which flow a packet belongs to, and since when.
//!
//! After Linux `nf_conntrack`: two tuples a connection in one hash, a state per protocol, a timer that
//! each packet winds up. There are no timers here: a connection that has run out is found dead
//! when somebody looks, and two of the longest dead are cleared away for each new one.
//!
//! The table is bounded ([`Limits::connections`]). When it is full a new connection takes the place of,
//! in this order: one that has run out; the oldest that is not assured (oldest made, not oldest
//! used); else its first packet is dropped with [`DropReason::ConntrackFull`].
//!
//! Left out: expectations and helpers, zones, events, accounting, TCP windows (see `tcp`).

mod conn;
mod index;
mod queue;
mod tcp;
#[cfg(test)]
mod tests;
pub(crate) mod tuple;
mod unassured;

use core::net::IpAddr;
use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

pub(crate) use conn::Advance;
pub use conn::{Conn, Line};
pub use tcp::TcpState;
pub(crate) use tuple::Flow;
pub use tuple::Tuple;

use index::Index;
use queue::{Place, Queue};
use unassured::Unassured;

use crate::time::Time;
use crate::verdict::DropReason;

/// How many first packets may be on their way through the hooks at once.
const IN_FLIGHT: usize = 8;
/// How many expired connections each new one clears away.
const SWEEP: usize = 2;
/// A table with no more slots than so many gives nothing back.
const ROOM: usize = 1024;
/// A table gives back what it does not need when it has so many times as many slots as connections.
const SPARSE: usize = 4;

/// Which way a packet of a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// As the first packet.
    Original,
    /// As the answers.
    Reply,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// Bounds of a namespace's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections (`nf_conntrack_max`).
    pub connections: usize,
}

impl Default for Limits {
    /// 262,144 connections, Linux's default on a machine of 4 GiB or more. Memory is taken only as
    /// connections come.
    fn default() -> Self {
        Self {
            connections: 262_144,
        }
    }
}

/// A connection of a [`Conntrack`]; worthless once the connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnRef {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl Default for ConnRef {
    /// Of no connection.
    fn default() -> Self {
        Self {
            slot: u32::MAX,
            generation: 0,
        }
    }
}

/// Two lines of the cache.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Slot {
    generation: u32,
    conn: Option<Conn>,
}

/// Where a source was translated to, so that its next connection goes there too.
type Source = (IpAddr, u16, u8);

/// The table of connections.
#[derive(Debug, Default)]
pub struct Conntrack {
    limits: Limits,
    slots: Vec<Slot>,
    /// The generation of a slot that was not there before: never one that a slot of its number has had.
    fresh: u32,
    free: Vec<u32>,
    index: Index,
    middles: HashMap<Tuple, u32, FixedState>,
    sources: HashMap<Source, u32, FixedState>,
    timers: Queue,
    unassured: Unassured,
    in_flight: VecDeque<ConnRef>,
    confirmed: usize,
    /// Those of them that stand under two tuples that are not each other's inverse.
    unlike: usize,
    next_number: u64,
    /// The connection in the table that a packet belonged to last: so does the next one, mostly.
    latest: ConnRef,
}

impl Conntrack {
    /// An empty table.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Connections in the table, those included that have run out but were not cleared away yet.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.confirmed
    }

    /// There is no connection.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.confirmed == 0
    }

    /// The live connections in the order in which they were made.
    #[must_use]
    pub fn list(&self, now: Time) -> Vec<&Conn> {
        let mut list: Vec<&Conn> = self
            .slots
            .iter()
            .filter_map(|slot| slot.conn.as_ref())
            .filter(|conn| conn.confirmed && !conn.is_expired(now))
            .collect();
        list.sort_unstable_by_key(|conn| conn.number);
        list
    }

    /// Forgets every connection that has `address` at one of its ends; returns how many.
    pub fn flush_where(&mut self, address: IpAddr) -> usize {
        let doomed: Vec<ConnRef> = (0u32..)
            .zip(&self.slots)
            .filter(|(_, slot)| {
                slot.conn
                    .as_ref()
                    .is_some_and(|conn| conn.concerns(address))
            })
            .map(|(slot, held)| ConnRef {
                slot,
                generation: held.generation,
            })
            .collect();
        for &conn in &doomed {
            self.remove(conn);
        }
        doomed.len()
    }

    pub(crate) fn conn(&self, at: ConnRef) -> Option<&Conn> {
        let slot = self.slots.get(at.slot as usize)?;
        if slot.generation != at.generation {
            return None;
        }
        slot.conn.as_ref()
    }

    #[inline]
    pub(crate) fn conn_mut(&mut self, at: ConnRef) -> Option<&mut Conn> {
        let slot = self.slots.get_mut(at.slot as usize)?;
        if slot.generation != at.generation {
            return None;
        }
        slot.conn.as_mut()
    }

    fn at(&self, slot: u32) -> ConnRef {
        ConnRef {
            slot,
            generation: self.slots[slot as usize].generation,
        }
    }

    /// The live connection that a packet with `tuple` belongs to as it comes off the wire. One that
    /// has run out is removed.
    pub(crate) fn find(&mut self, now: Time, tuple: &Tuple) -> Option<(ConnRef, Direction)> {
        let (slot, direction) = self.index.of(&self.slots, tuple)?;
        let at = self.at(slot);
        if self.conn(at).is_some_and(|conn| conn.is_expired(now)) {
            self.remove(at);
            return None;
        }
        Some((at, direction))
    }

    /// The same, live or not, for a packet of IPv4: its [flow](crate::hook::Run::flow).
    #[inline(always)]
    pub(crate) fn peek_words(
        &mut self,
        words: [u64; 2],
    ) -> Option<(ConnRef, Direction, &mut Conn)> {
        let latest = self.conn(self.latest);
        let direction = match latest.and_then(|conn| conn.direction_of(words)) {
            Some(direction) => direction,
            None => {
                let (slot, direction) = self.index.of_words(&self.slots, words)?;
                self.latest = self.at(slot);
                direction
            }
        };
        let conn = self
            .slots
            .get_mut(self.latest.slot as usize)?
            .conn
            .as_mut()?;
        Some((self.latest, direction, conn))
    }

    /// The connection of a packet with `tuple`, live or not.
    #[inline]
    pub(crate) fn peek(&self, tuple: &Tuple) -> Option<(ConnRef, Direction)> {
        let (slot, direction) = self.index.of(&self.slots, tuple)?;
        Some((self.at(slot), direction))
    }

    /// The connection of a packet that may have been translated already, in part or in full: on
    /// its way through the hooks, or coming back over the loopback interface.
    pub(crate) fn find_translated(
        &mut self,
        now: Time,
        tuple: &Tuple,
    ) -> Option<(ConnRef, Direction)> {
        let inverse = tuple.inverted();
        for &at in &self.in_flight {
            let Some(conn) = self.conn(at) else { continue };
            let is_middle = conn.middle() == Some(tuple);
            if conn.original() == *tuple || conn.reply() == inverse || is_middle {
                return Some((at, Direction::Original));
            }
        }
        if let Some(found) = self.find(now, tuple) {
            return Some(found);
        }
        if let Some((at, direction)) = self.find(now, &inverse) {
            return Some((at, direction.other()));
        }
        if let Some(&slot) = self.middles.get(tuple) {
            return Some((self.at(slot), Direction::Original));
        }
        let &slot = self.middles.get(&inverse)?;
        Some((self.at(slot), Direction::Reply))
    }

    /// A connection that `flow` starts, known only to its first packet until it is
    /// [confirmed](Self::confirm).
    ///
    /// # Errors
    /// `None` if the packet cannot start one, [`DropReason::ConntrackFull`].
    pub(crate) fn create(&mut self, now: Time, flow: &Flow) -> Result<Option<ConnRef>, DropReason> {
        let Some(conn) = Conn::start(now, self.next_number, flow) else {
            return Ok(None);
        };
        self.drop_in_flight(&flow.tuple);
        self.sweep(now);
        if !self.make_room(now) {
            return Err(DropReason::ConntrackFull);
        }
        self.next_number += 1;
        let slot = self.take_slot();
        self.slots[slot as usize].conn = Some(conn);
        let at = self.at(slot);
        self.in_flight.push_back(at);
        Ok(Some(at))
    }

    /// The connection that `flow` starts, in the table at once: nothing is known of its tuple, its source stays and
    /// its destination becomes `to`, if that is given. `None`, and nothing has happened, if it has to be looked at:
    /// the packet cannot start one, its answers belong to another connection, a first packet is on its way, or the
    /// table is full.
    pub(crate) fn enter_plain(
        &mut self,
        now: Time,
        flow: &Flow,
        to: Option<(IpAddr, u16)>,
    ) -> Option<ConnRef> {
        if self.confirmed >= self.limits.connections || !self.in_flight.is_empty() {
            return None;
        }
        let mut conn = Conn::start(now, self.next_number, flow)?;
        if let Some(to) = to {
            let mut reply = conn.reply();
            conn.destination_nat = (reply.source, reply.source_port) != to;
            (reply.source, reply.source_port) = to;
            conn.set_reply(reply);
        }
        // One whose tuples are each other's inverse would have been found by this one's tuple.
        let may_clash = to.is_some() || self.unlike > 0;
        if may_clash && self.index.of(&self.slots, &conn.reply()).is_some() {
            return None;
        }
        conn.source_done = true;
        conn.destination_done = true;
        self.sweep(now);
        let number = self.next_number;
        self.next_number += 1;
        let slot = self.take_slot();
        self.slots[slot as usize].conn = Some(conn);
        let at = self.at(slot);
        self.enter(now, at, number);
        Some(at)
    }

    fn take_slot(&mut self) -> u32 {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        self.slots.push(Slot {
            generation: self.fresh,
            conn: None,
        });
        (self.slots.len() - 1) as u32
    }

    /// Forgets a first packet with the same tuple that never arrived, and the oldest of too many.
    fn drop_in_flight(&mut self, tuple: &Tuple) {
        let same = self
            .in_flight
            .iter()
            .copied()
            .find(|&at| self.conn(at).is_none_or(|conn| conn.original() == *tuple));
        let oldest = self.in_flight.front().copied();
        let too_many = self.in_flight.len() >= IN_FLIGHT;
        if let Some(at) = same.or(if too_many { oldest } else { None }) {
            self.in_flight.retain(|&other| other != at);
            self.remove(at);
        }
    }

    fn sweep(&mut self, now: Time) {
        for _ in 0..SWEEP {
            if !self.remove_expired(now) {
                break;
            }
        }
        if self.slots.len() > ROOM && self.slots.len() > SPARSE * self.confirmed {
            self.shrink();
        }
    }

    /// Moves the connections together and gives the rest of the memory back. Whoever refers to one finds it gone, as after
    /// any removal, and looks for it again.
    #[cold]
    fn shrink(&mut self) {
        if !self.in_flight.is_empty() {
            return;
        }
        self.timers.tidy(|place| says(&self.slots, place));
        let generations = self.slots.iter().map(|slot| slot.generation);
        self.fresh = generations.max().unwrap_or_default().wrapping_add(1);
        let generation = self.fresh;
        let mut moved = vec![u32::MAX; self.slots.len()];
        let mut slots = Vec::with_capacity(self.confirmed.max(ROOM));
        for (held, moved) in self.slots.drain(..).zip(&mut moved) {
            if let Some(conn) = held.conn {
                *moved = slots.len() as u32;
                slots.push(Slot {
                    generation,
                    conn: Some(conn),
                });
            }
        }
        self.index = Index::default();
        (0..slots.len() as u32).for_each(|slot| self.index.insert(&slots, slot));
        (self.slots, self.free, self.latest) = (slots, Vec::new(), ConnRef::default());
        for slot in self.middles.values_mut().chain(self.sources.values_mut()) {
            *slot = moved[*slot as usize];
        }
        self.middles.shrink_to(ROOM);
        self.sources.shrink_to(ROOM);
        self.timers.renumber(&moved);
        self.unassured.renumber(&moved);
    }

    /// Removes one connection that has run out.
    fn remove_expired(&mut self, now: Time) -> bool {
        while let Some(place) = self.timers.due(now) {
            self.fetch_ahead();
            if !says(&self.slots, place) {
                continue;
            }
            let at = self.at(place.1);
            let Some(expires) = self.conn(at).map(|conn| conn.expires) else {
                continue;
            };
            if now >= expires {
                self.remove(at);
                return true;
            }
            self.queue(at, expires);
        }
        false
    }

    /// Has the memory of the connections that are looked at next come at once, where each would be waited for alone.
    #[inline]
    fn fetch_ahead(&mut self) {
        for slot in self.timers.ahead() {
            let held = self.slots.get(slot as usize);
            core::hint::black_box(held.map_or(0, |held| held.generation));
            // Its other line is written next: there the next connection stands.
            let conn = held.and_then(|held| held.conn.as_ref());
            core::hint::black_box(conn.map_or(0, |conn| conn.number));
        }
    }

    /// Puts a connection into the queue of timers at `when`.
    fn queue(&mut self, at: ConnRef, when: Time) {
        if let Some(conn) = self.conn_mut(at) {
            conn.queued = when;
            self.timers.put((when, at.slot));
        }
        if self.timers.is_cluttered(self.confirmed) {
            self.timers.tidy(|place| says(&self.slots, place));
        }
    }

    fn make_room(&mut self, now: Time) -> bool {
        if self.confirmed < self.limits.connections {
            return true;
        }
        if self.remove_expired(now) {
            return true;
        }
        let Some(slot) = self.unassured.oldest() else {
            return false;
        };
        self.remove(self.at(slot));
        true
    }

    /// Enters a connection into the table; a confirmed one stays as it is.
    ///
    /// # Errors
    /// [`DropReason::ConntrackInvalid`] if another connection has one of its tuples,
    /// [`DropReason::ConntrackFull`].
    pub(crate) fn confirm(&mut self, now: Time, at: ConnRef) -> Result<(), DropReason> {
        let Some(conn) = self.conn(at) else {
            return Err(DropReason::ConntrackInvalid);
        };
        if conn.confirmed {
            return Ok(());
        }
        let (original, reply, number) = (conn.original(), conn.reply(), conn.number);
        let clash = self.taken(now, &original, at) || self.taken(now, &reply, at);
        self.in_flight.retain(|&other| other != at);
        if clash {
            self.remove(at);
            return Err(DropReason::ConntrackInvalid);
        }
        if !self.make_room(now) {
            self.remove(at);
            return Err(DropReason::ConntrackFull);
        }
        self.enter(now, at, number);
        Ok(())
    }

    /// The number is not read from a connection that may have been written just now, to memory that is far away.
    fn enter(&mut self, now: Time, at: ConnRef, number: u64) {
        let Some(conn) = self.conn_mut(at) else {
            return;
        };
        conn.confirmed = true;
        conn.is_evictable = true;
        let is_unlike = !conn.is_its_inverse();
        let looked_at = conn.looked_at(now);
        let (middle, source) = (
            conn.middle().copied(),
            conn.source_nat.then(|| source_of(conn)),
        );
        self.index.insert(&self.slots, at.slot);
        if let Some(middle) = middle {
            self.middles.insert(middle, at.slot);
        }
        if let Some(source) = source {
            self.sources.insert(source, at.slot);
        }
        self.latest = at;
        self.unassured.insert(at.slot, number);
        self.confirmed += 1;
        self.unlike += usize::from(is_unlike);
        self.queue(at, looked_at);
    }

    /// Keeps the table's order right after a connection changed: its place in the queue [may be wrong](Conn::is_misplaced),
    /// and it may have become assured.
    pub(crate) fn settle(&mut self, at: ConnRef) {
        let Some(conn) = self.conn_mut(at) else {
            return;
        };
        if !conn.confirmed {
            return;
        }
        let is_evicted_no_more = conn.is_evictable && conn.assured;
        conn.is_evictable &= !conn.assured;
        let (expires, is_misplaced) = (conn.expires, conn.is_misplaced());
        if is_misplaced {
            self.queue(at, expires);
        }
        if is_evicted_no_more {
            self.unassured.remove(at.slot);
        }
    }

    /// Whether a live connection other than `but` has `tuple`.
    pub(crate) fn taken(&mut self, now: Time, tuple: &Tuple, but: ConnRef) -> bool {
        self.find(now, tuple).is_some_and(|(at, _)| at != but)
    }

    /// The newest live connection with this translated source.
    pub(crate) fn by_source(&self, now: Time, tuple: &Tuple) -> Option<&Conn> {
        let key = (tuple.source, tuple.source_port, tuple.protocol);
        let &slot = self.sources.get(&key)?;
        let conn = self.conn(self.at(slot))?;
        (!conn.is_expired(now)).then_some(conn)
    }

    /// Takes a connection out of the table. Indices that another connection has taken over stay.
    pub(crate) fn remove(&mut self, at: ConnRef) {
        let Some(slot) = self.slots.get_mut(at.slot as usize) else {
            return;
        };
        if slot.generation != at.generation {
            return;
        }
        let Some(conn) = slot.conn.as_ref() else {
            return;
        };
        if conn.confirmed {
            self.confirmed -= 1;
            self.unlike -= usize::from(!conn.is_its_inverse());
            self.index.remove(conn, at.slot);
            if conn.is_evictable {
                self.unassured.remove(at.slot);
            }
            if conn.source_nat {
                let source = source_of(conn);
                if self.sources.get(&source) == Some(&at.slot) {
                    self.sources.remove(&source);
                }
                if let Some(middle) = conn.middle()
                    && self.middles.get(middle) == Some(&at.slot)
                {
                    self.middles.remove(middle);
                }
            }
        }
        slot.conn = None;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(at.slot);
    }
}

/// A place in the queue is that of the connection in its slot.
fn says(slots: &[Slot], (at, slot): Place) -> bool {
    let conn = slots.get(slot as usize).and_then(|slot| slot.conn.as_ref());
    conn.is_some_and(|conn| conn.queued == at)
}

fn source_of(conn: &Conn) -> Source {
    let tuple = conn.original();
    (tuple.source, tuple.source_port, tuple.protocol)
}
