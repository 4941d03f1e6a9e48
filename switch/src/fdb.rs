//! The forwarding database of a bridge: which address is behind which port.
//!
//! After Linux's `net/bridge/br_fdb.c`: an address is learned from every frame that it sends, moves
//! when it is seen at another port, and is forgotten 300 s after it was last seen. Ageing is checked
//! when an entry is looked up; entries that nobody asks for are swept a few at a time when others
//! are learned, so no timer runs. Differences: the table is bounded (Linux bounds it on request), a
//! full table does not learn and counts that; and a static entry does not move, as with `sticky`.
//!
//! In front of the table hints remember where recent addresses stand, one for each few entries. A hint is
//! checked against the entry before it counts, so nothing has to be undone when entries move or go.

use core::time::Duration;

use foldhash::fast::FixedState;
use indexmap::IndexMap;

use crate::time::Time;
use crate::wire::EthernetAddress;

/// How long a learned address is remembered (`ageing_time`, IEEE 802.1D §7.9.2).
pub const AGEING: Duration = Duration::from_secs(300);
/// Learned addresses that a table holds unless the lab says otherwise. A flood of made-up addresses
/// costs about 3 MiB a bridge.
pub const LIMIT: usize = 65_536;

/// Hints of a table with few entries.
const HINTS: usize = 16;
/// Room for the entries of a bridge with few stations.
const FEW: usize = 4;
/// Hints of a table with many, 16 KiB.
const MANY_HINTS: usize = 4096;
/// Addresses of which it is kept in mind that they were just learned.
const LAST: usize = 2;
/// Entries looked at for age when an address is learned.
const SWEEP: usize = 2;
/// The same when the table is full.
const SWEEP_FULL: usize = 16;
const MAC_BITS: u32 = 48;

/// A port of a bridge: a small number, the lowest free one when the port is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u32);

/// Why an entry is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Seen as the source of a frame. Ages, moves, goes when its port goes down.
    Learned,
    /// An address of the bridge or of one of its ports: frames for it go up (`permanent`).
    Local,
    /// Put there by hand. Does not age or move (`static sticky`).
    Static,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    used: Time,
    /// [`NO_PORT`] for the bridge itself.
    port: PortId,
    kind: Kind,
}

/// No port has this number: a bridge has fewer.
const NO_PORT: PortId = PortId(u32::MAX);

impl Slot {
    fn new(used: Time, port: Option<PortId>, kind: Kind) -> Self {
        Self {
            used,
            port: port.unwrap_or(NO_PORT),
            kind,
        }
    }

    #[inline]
    const fn is_old(&self, now: Time, ageing: u64) -> bool {
        let age = now.as_nanos().saturating_sub(self.used.as_nanos());
        age >= ageing && matches!(self.kind, Kind::Learned)
    }

    #[inline]
    fn port(&self) -> Option<PortId> {
        (self.port != NO_PORT).then_some(self.port)
    }
}

/// An entry as `bridge fdb` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The address.
    pub address: EthernetAddress,
    /// The VLAN that it is known in; 0 in a bridge that does not filter by VLAN.
    pub vlan: u16,
    /// The port that it is behind; none for the bridge's own address.
    pub port: Option<PortId>,
    /// Why it is there.
    pub kind: Kind,
    /// How long ago it was last seen (since it was added, if it was not learned).
    pub age: Duration,
}

/// What seeing a source address did to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learning {
    /// A new entry.
    Added,
    /// It was behind this other port until now.
    Moved(PortId),
    /// Seen again where it was.
    Known,
    /// The entry is local or static and stays as it is.
    Fixed,
    /// The table is full.
    Refused,
}

/// A bounded table of addresses. An empty one owns no memory besides this value.
#[derive(Debug)]
pub struct Fdb {
    entries: IndexMap<u64, Slot, FixedState>,
    /// As many as a power of two; none before there is an entry.
    hints: Vec<u32>,
    /// Nanoseconds.
    ageing: u64,
    limit: usize,
    cursor: usize,
    /// Entries that are not learned.
    fixed: usize,
    refused: u64,
    /// Goes up when something else is changed than what is new, or by the age of entries.
    change: u64,
    /// Addresses that were learned last, when and where, if they were not changed since: they teach nothing again.
    last: [Seen; LAST],
}

/// An address, when it was learned, and at which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    key: u64,
    at: Time,
    port: PortId,
}

impl Seen {
    /// Nothing: no bridge has this port.
    const NOTHING: Self = Self {
        key: 0,
        at: Time::ZERO,
        port: NO_PORT,
    };
}

const fn nanos(span: Duration) -> u64 {
    let nanos = span.as_nanos();
    if nanos > u64::MAX as u128 {
        return u64::MAX;
    }
    nanos as u64
}

/// An address as the low 48 bits of a number, first byte highest. The data path passes addresses
/// like this: six single bytes would go through memory on every call.
pub(crate) const fn bits(address: EthernetAddress) -> u64 {
    let [a, b, c, d, e, f] = address.0;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// The address that [`bits`] made a number of; what is above 48 bits is left out.
pub(crate) const fn address(bits: u64) -> EthernetAddress {
    let [_, _, mac @ ..] = bits.to_be_bytes();
    EthernetAddress(mac)
}

const fn key(vlan: u16, address: EthernetAddress) -> u64 {
    (vlan as u64) << MAC_BITS | bits(address)
}

impl Fdb {
    /// An empty table that learns at most `limit` addresses and forgets them after [`AGEING`].
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            entries: IndexMap::with_capacity_and_hasher(FEW, FixedState::default()),
            hints: Vec::new(),
            ageing: nanos(AGEING),
            limit: limit.min(u32::MAX as usize),
            cursor: 0,
            fixed: 0,
            refused: 0,
            change: 0,
            last: [Seen::NOTHING; LAST],
        }
    }

    /// Changes how long a learned address is remembered.
    pub const fn set_ageing(&mut self, ageing: Duration) {
        self.ageing = nanos(ageing);
        self.changed();
    }

    /// What is learned is known for a time.
    pub(crate) const fn remembers(&self) -> bool {
        self.ageing > 0
    }

    /// A number that changes when a look-up may be answered differently from before, unless that is because an
    /// entry is new or too old.
    pub(crate) const fn change(&self) -> u64 {
        self.change
    }

    /// The address in `key` was just learned at this port.
    #[inline(always)]
    fn is_last(&self, now: Time, key: u64, port: PortId) -> bool {
        self.last.contains(&Seen { key, at: now, port })
    }

    const fn changed(&mut self) {
        self.last = [Seen::NOTHING; LAST];
        self.change += 1;
    }

    #[inline]
    const fn is_old(&self, now: Time, slot: &Slot) -> bool {
        slot.is_old(now, self.ageing)
    }

    fn find(&mut self, key: u64) -> Option<usize> {
        if let Some((index, _)) = self.hinted(key) {
            return Some(index);
        }
        let index = self.entries.get_index_of(&key)?;
        let place = self.hint(key);
        if let Some([first, second]) = self.hints.get_mut(place..place + 2) {
            *second = core::mem::replace(first, index as u32);
        }
        Some(index)
    }

    /// The entry of an address and where it stands, if one of its two hints says so.
    #[inline]
    fn hinted(&self, key: u64) -> Option<(usize, &Slot)> {
        let places: &[u32; 2] = self.hints.get(self.hint(key)..)?.first_chunk()?;
        places.iter().find_map(|&hint| {
            let (&found, slot) = self.entries.get_index(hint as usize)?;
            (found == key).then_some((hint as usize, slot))
        })
    }

    /// The first of the two hints of an address.
    #[inline]
    const fn hint(&self, key: u64) -> usize {
        let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        mixed as usize & self.hints.len().wrapping_sub(2)
    }

    /// Takes as many hints as the table has use for, at least four for each entry up to [`MANY_HINTS`].
    fn fit_hints(&mut self) {
        let wanted = (self.entries.len() * 4).clamp(HINTS, MANY_HINTS);
        if self.hints.len() < wanted {
            let count = (wanted * 2).next_power_of_two().min(MANY_HINTS);
            self.hints = vec![0; count];
        }
    }

    /// `address` was the source of a frame that came in at `port`.
    pub fn learn(
        &mut self,
        now: Time,
        vlan: u16,
        address: EthernetAddress,
        port: PortId,
    ) -> Learning {
        self.learn_key(now, key(vlan, address), port)
    }

    /// [`Self::learn`] in VLAN 0, or in the VLAN that stands above the address in `key`.
    #[inline]
    pub(crate) fn learn_key(&mut self, now: Time, key: u64, port: PortId) -> Learning {
        if self.is_last(now, key, port) {
            return Learning::Known;
        }
        self.learn_anew(now, key, port)
    }

    /// The address in `key` was a source at `port` again: true if that is known. Else nothing has happened, and
    /// [`Self::learn_key`] wants to know.
    #[inline(always)]
    pub(crate) fn renew_key(&mut self, now: Time, key: u64, port: PortId) -> bool {
        if self.is_last(now, key, port) {
            return true;
        }
        self.renew_anew(now, key, port)
    }

    #[inline(never)]
    fn renew_anew(&mut self, now: Time, key: u64, port: PortId) -> bool {
        let ageing = self.ageing;
        let Some((index, slot)) = self.hinted(key) else {
            return false;
        };
        if slot.port != port || slot.kind != Kind::Learned || slot.is_old(now, ageing) {
            return false;
        }
        if let Some((_, slot)) = self.entries.get_index_mut(index) {
            slot.used = now;
        }
        if ageing > 0 {
            let seen = Seen { key, at: now, port };
            self.last = [seen, self.last[0]];
        }
        true
    }

    /// When the address in `key` is too old to be looked up as now, if it is not seen again.
    pub(crate) fn old_at(&self, key: u64) -> Option<Time> {
        let slot = self.entries.get(&key)?;
        Some(match slot.kind {
            Kind::Learned => slot.used + Duration::from_nanos(self.ageing),
            Kind::Local | Kind::Static => Time::MAX,
        })
    }

    fn learn_anew(&mut self, now: Time, key: u64, port: PortId) -> Learning {
        self.last = [Seen::NOTHING; LAST];
        let Some(index) = self.find(key) else {
            return self.add(now, key, port);
        };
        let ageing = self.ageing;
        let Some((_, slot)) = self.entries.get_index_mut(index) else {
            return self.add(now, key, port);
        };
        let is_old = slot.is_old(now, ageing);
        if slot.kind != Kind::Learned {
            return Learning::Fixed;
        }
        slot.used = now;
        let before = core::mem::replace(&mut slot.port, port);
        if is_old {
            Learning::Added
        } else if before != port {
            self.change += 1;
            Learning::Moved(before)
        } else {
            if self.ageing > 0 {
                self.last[0] = Seen { key, at: now, port };
            }
            Learning::Known
        }
    }

    fn add(&mut self, now: Time, key: u64, port: PortId) -> Learning {
        let sweep = if self.is_full() { SWEEP_FULL } else { SWEEP };
        self.sweep(now, sweep);
        if self.is_full() {
            self.refused += 1;
            return Learning::Refused;
        }
        self.entries
            .insert(key, Slot::new(now, Some(port), Kind::Learned));
        self.fit_hints();
        Learning::Added
    }

    fn is_full(&self) -> bool {
        self.learned() >= self.limit
    }

    /// Looks at `count` entries behind the last sweep's and forgets the old ones.
    fn sweep(&mut self, now: Time, count: usize) {
        for _ in 0..count {
            match self.entries.get_index(self.cursor) {
                Some((_, slot)) if self.is_old(now, slot) => {
                    self.entries.swap_remove_index(self.cursor);
                }
                Some(_) => self.cursor += 1,
                None => self.cursor = 0,
            }
        }
    }

    /// Where `address` is: the kind of entry and its port. An old entry is forgotten here.
    pub fn lookup(
        &mut self,
        now: Time,
        vlan: u16,
        address: EthernetAddress,
    ) -> Option<(Kind, Option<PortId>)> {
        self.lookup_key(now, key(vlan, address))
    }

    /// [`Self::lookup`] in VLAN 0, or in the VLAN that stands above the address in `key`.
    #[inline]
    pub(crate) fn lookup_key(&mut self, now: Time, key: u64) -> Option<(Kind, Option<PortId>)> {
        self.known(now, key).or_else(|| self.look_up(now, key))
    }

    /// The same, if a hint says so.
    #[inline]
    pub(crate) fn known(&self, now: Time, key: u64) -> Option<(Kind, Option<PortId>)> {
        let (_, slot) = self.hinted(key)?;
        (!self.is_old(now, slot)).then_some((slot.kind, slot.port()))
    }

    fn look_up(&mut self, now: Time, key: u64) -> Option<(Kind, Option<PortId>)> {
        let index = self.find(key)?;
        let slot = self.entries[index];
        if self.is_old(now, &slot) {
            self.entries.swap_remove_index(index);
            return None;
        }
        Some((slot.kind, slot.port()))
    }

    /// Adds an address of the bridge itself (`port` is `None`) or of a port. It replaces what was
    /// known of the address; the limit is for learned ones.
    pub fn insert_local(
        &mut self,
        now: Time,
        vlan: u16,
        address: EthernetAddress,
        port: Option<PortId>,
    ) {
        self.insert(now, key(vlan, address), port, Kind::Local);
    }

    /// Adds an entry by hand (`bridge fdb add`). It replaces what was known of the address.
    pub fn insert_static(&mut self, now: Time, vlan: u16, address: EthernetAddress, port: PortId) {
        self.insert(now, key(vlan, address), Some(port), Kind::Static);
    }

    fn insert(&mut self, now: Time, key: u64, port: Option<PortId>, kind: Kind) {
        self.changed();
        let before = self.entries.insert(key, Slot::new(now, port, kind));
        if before.is_none_or(|slot| slot.kind == Kind::Learned) {
            self.fixed += 1;
        }
        self.fit_hints();
    }

    /// Removes an entry of any kind; says whether there was one.
    pub fn remove(&mut self, vlan: u16, address: EthernetAddress) -> bool {
        self.changed();
        let removed = self.entries.swap_remove(&key(vlan, address));
        if removed.is_some_and(|slot| slot.kind != Kind::Learned) {
            self.fixed -= 1;
        }
        removed.is_some()
    }

    /// Forgets all that was learned. O(entries).
    pub fn flush(&mut self) {
        self.changed();
        self.entries.retain(|_, slot| slot.kind != Kind::Learned);
    }

    /// Forgets what was learned at `port`, as when it goes down. O(entries).
    pub fn flush_port(&mut self, port: PortId) {
        self.changed();
        self.entries
            .retain(|_, slot| slot.port != port || slot.kind != Kind::Learned);
    }

    /// Removes every entry of `port`, as when it leaves the bridge. O(entries).
    pub fn remove_port(&mut self, port: PortId) {
        self.flush_port(port);
        let before = self.entries.len();
        self.entries.retain(|_, slot| slot.port != port);
        self.fixed -= before - self.entries.len();
    }

    /// Number of entries of all kinds, old ones that were not swept yet included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Number of learned entries, never above the limit.
    #[must_use]
    pub fn learned(&self) -> usize {
        self.entries.len() - self.fixed
    }

    /// There is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Addresses that were not learned because the table was full.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// The entries that count at `now`, by port (the bridge's own first), then VLAN and address.
    #[must_use]
    pub fn entries(&self, now: Time) -> Vec<Entry> {
        let live = |slot: &Slot| !self.is_old(now, slot);
        let mut entries: Vec<_> = self.entries.iter().filter(|(_, slot)| live(slot)).collect();
        entries.sort_unstable_by_key(|&(&key, slot)| (slot.port(), key));
        entries
            .into_iter()
            .map(|(&key, slot)| Entry {
                address: address(key),
                vlan: (key >> MAC_BITS) as u16,
                port: slot.port(),
                kind: slot.kind,
                age: now.since(slot.used),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const P1: PortId = PortId(1);
    const P2: PortId = PortId(2);

    fn mac(last: u16) -> EthernetAddress {
        let [a, b] = last.to_be_bytes();
        EthernetAddress([2, 0x42, 0xac, 0x11, a, b])
    }

    fn at(secs: u64) -> Time {
        Time::from_secs(secs)
    }

    fn port_of(fdb: &mut Fdb, now: Time, address: EthernetAddress) -> Option<PortId> {
        fdb.lookup(now, 0, address).and_then(|(_, port)| port)
    }

    #[test]
    fn a_station_is_learned_and_moves() {
        let mut fdb = Fdb::new(LIMIT);
        assert!(fdb.is_empty());
        assert_eq!(port_of(&mut fdb, at(0), mac(1)), None);
        assert_eq!(fdb.learn(at(0), 0, mac(1), P1), Learning::Added);
        assert_eq!(fdb.learn(at(1), 0, mac(1), P1), Learning::Known);
        assert_eq!(port_of(&mut fdb, at(1), mac(1)), Some(P1));
        assert_eq!(fdb.learn(at(2), 0, mac(1), P2), Learning::Moved(P1));
        assert_eq!(port_of(&mut fdb, at(2), mac(1)), Some(P2));
        assert_eq!(fdb.len(), 1);
    }

    #[test]
    fn vlans_are_apart() {
        let mut fdb = Fdb::new(LIMIT);
        fdb.learn(at(0), 7, mac(1), P1);
        assert_eq!(port_of(&mut fdb, at(0), mac(1)), None);
        assert_eq!(
            fdb.lookup(at(0), 7, mac(1)),
            Some((Kind::Learned, Some(P1)))
        );
    }

    /// `has_expired` in Linux: `updated + ageing_time <= now`.
    #[test]
    fn it_is_forgotten_at_exactly_300_s() {
        let mut fdb = Fdb::new(LIMIT);
        fdb.learn(at(10), 0, mac(1), P1);
        let last = Time::from_nanos(at(310).as_nanos() - 1);
        assert_eq!(port_of(&mut fdb, last, mac(1)), Some(P1));
        assert_eq!(fdb.entries(last).len(), 1);
        assert!(fdb.entries(at(310)).is_empty());
        assert_eq!(port_of(&mut fdb, at(310), mac(1)), None);
        assert!(fdb.is_empty());

        fdb.learn(at(400), 0, mac(1), P1);
        fdb.learn(at(600), 0, mac(1), P1);
        assert_eq!(port_of(&mut fdb, at(899), mac(1)), Some(P1));
        assert_eq!(fdb.learn(at(900), 0, mac(1), P2), Learning::Added);
    }

    #[test]
    fn a_full_table_learns_only_when_others_are_old() {
        let mut fdb = Fdb::new(2);
        fdb.learn(at(0), 0, mac(1), P1);
        fdb.learn(at(100), 0, mac(2), P1);
        assert_eq!(fdb.learn(at(200), 0, mac(3), P1), Learning::Refused);
        assert_eq!((fdb.len(), fdb.refused()), (2, 1));
        assert_eq!(fdb.learn(at(250), 0, mac(2), P2), Learning::Moved(P1));
        assert_eq!(fdb.learn(at(300), 0, mac(3), P1), Learning::Added);
        assert_eq!(port_of(&mut fdb, at(300), mac(1)), None);
        assert_eq!(port_of(&mut fdb, at(300), mac(2)), Some(P2));
        assert_eq!(port_of(&mut fdb, at(300), mac(3)), Some(P1));
        assert_eq!(fdb.len(), 2);
    }

    #[test]
    fn learning_sweeps_what_nobody_asks_for() {
        let mut fdb = Fdb::new(LIMIT);
        for last in 0..100 {
            fdb.learn(at(0), 0, mac(last), P1);
        }
        for last in 100..250 {
            fdb.learn(at(300), 0, mac(last), P1);
        }
        assert_eq!(fdb.len(), 150);
    }

    #[test]
    fn local_and_static_entries_stay() {
        let mut fdb = Fdb::new(0);
        fdb.insert_local(at(0), 0, mac(1), None);
        fdb.insert_static(at(0), 0, mac(2), P1);
        fdb.insert_static(at(0), 0, mac(2), P1);
        assert_eq!((fdb.len(), fdb.learned()), (2, 0));
        assert_eq!(fdb.learn(at(1), 0, mac(1), P2), Learning::Fixed);
        assert_eq!(fdb.learn(at(1), 0, mac(2), P2), Learning::Fixed);
        assert_eq!(fdb.lookup(at(9999), 0, mac(1)), Some((Kind::Local, None)));
        assert_eq!(
            fdb.lookup(at(9999), 0, mac(2)),
            Some((Kind::Static, Some(P1)))
        );
        fdb.flush_port(P1);
        assert_eq!(fdb.len(), 2);
        fdb.remove_port(P1);
        assert_eq!(fdb.len(), 1);
        assert!(fdb.remove(0, mac(1)) && !fdb.remove(0, mac(1)));
        assert_eq!(fdb.learned(), 0);
    }

    #[test]
    fn fixed_entries_leave_the_limit_to_learned_ones() {
        let mut fdb = Fdb::new(2);
        fdb.learn(at(0), 0, mac(1), P1);
        for last in 1..6 {
            fdb.insert_local(at(0), 0, mac(last), Some(P2));
        }
        assert_eq!(fdb.learn(at(0), 0, mac(11), P1), Learning::Added);
        assert_eq!(fdb.learn(at(0), 0, mac(12), P1), Learning::Added);
        assert_eq!(fdb.learn(at(0), 0, mac(13), P1), Learning::Refused);
        assert_eq!((fdb.len(), fdb.learned()), (7, 2));
        fdb.remove_port(P2);
        assert_eq!((fdb.len(), fdb.learned()), (2, 2));
        fdb.flush();
        assert!(fdb.is_empty());
    }

    #[test]
    fn a_port_is_flushed_alone_and_the_list_is_in_order() {
        let mut fdb = Fdb::new(LIMIT);
        fdb.insert_local(at(0), 0, mac(99), None);
        for (last, port) in [(5, P2), (4, P1), (3, P2), (1, P1)] {
            fdb.learn(at(1), 0, mac(last), port);
        }
        let order = |fdb: &Fdb| -> Vec<_> {
            fdb.entries(at(3))
                .iter()
                .map(|entry| (entry.port.map(|port| port.0), entry.address.0[5]))
                .collect()
        };
        assert_eq!(
            order(&fdb),
            [
                (None, 99),
                (Some(1), 1),
                (Some(1), 4),
                (Some(2), 3),
                (Some(2), 5)
            ]
        );
        assert_eq!(fdb.entries(at(3))[1].age, Duration::from_secs(2));
        fdb.flush_port(P1);
        assert_eq!(order(&fdb), [(None, 99), (Some(2), 3), (Some(2), 5)]);
    }

    #[test]
    fn an_idle_table_is_small() {
        assert!(size_of::<Fdb>() <= 256, "{} bytes", size_of::<Fdb>());
    }

    proptest! {
        /// Against a plain map that is swept completely before every step.
        #[test]
        fn it_agrees_with_a_plain_map(steps in proptest::collection::vec((0_u16..40, 0_u32..3, 0_u64..120, 0_u8..8), 1..400)) {
            let mut fdb = Fdb::new(LIMIT);
            let mut plain = std::collections::BTreeMap::new();
            let mut now = Time::ZERO;
            for (last, port, wait, what) in steps {
                now += Duration::from_secs(wait);
                plain.retain(|_, &mut (_, seen): &mut (PortId, Time)| now.since(seen) < AGEING);
                match what {
                    0 => {
                        fdb.flush_port(PortId(port));
                        plain.retain(|_, &mut (at, _)| at != PortId(port));
                    }
                    1..4 => {
                        fdb.learn(now, 0, mac(last), PortId(port));
                        plain.insert(last, (PortId(port), now));
                    }
                    _ => {}
                }
                let expected = plain.get(&last).map(|&(port, _)| port);
                prop_assert_eq!(port_of(&mut fdb, now, mac(last)), expected);
                prop_assert_eq!(fdb.entries(now).len(), plain.len());
            }
        }

        #[test]
        fn the_limit_is_never_passed(steps in proptest::collection::vec((0_u16..500, 0_u64..40), 1..300), limit in 0_usize..20) {
            let mut fdb = Fdb::new(limit);
            let mut now = Time::ZERO;
            let mut refused = 0;
            for (last, wait) in steps {
                now += Duration::from_secs(wait);
                refused += u64::from(fdb.learn(now, 0, mac(last), P1) == Learning::Refused);
                prop_assert!(fdb.len() <= limit);
            }
            prop_assert_eq!(fdb.refused(), refused);
        }
    }
}
