//! Which connection a tuple belongs to.
//!
//! A tuple and what answers it untranslated hash the same: such a connection stands in the table once and is found from
//! both sides, by what its slot holds. A translated one stands there twice. Tuples of IPv4 are two words, as a header
//! has them; everything about two words is cheap.

use core::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::tuple::{Words, bits};
use super::{Conn, Direction, Slot, Tuple};

/// Slots by tuple.
#[derive(Debug, Default)]
pub(super) struct Index(HashTable<Place>);

/// A slot, and whether it stands here for the tuple of its answers, in the lowest bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u32);

impl Place {
    /// There are fewer than 2³¹ slots.
    #[inline]
    const fn of(slot: u32, direction: Direction) -> Self {
        Self(slot << 1 | direction as u32)
    }

    #[inline]
    const fn slot(self) -> u32 {
        self.0 >> 1
    }

    /// The tuple for which it stands here.
    fn tuple(self, conn: &Conn) -> Tuple {
        match self.0 & 1 {
            0 => conn.original(),
            _ => conn.reply(),
        }
    }
}

#[inline]
fn held(slots: &[Slot], place: Place) -> Option<&Conn> {
    slots.get(place.slot() as usize)?.conn.as_ref()
}

/// Of a tuple of IPv4 and of its inverse, if they have ports.
#[inline]
fn hash_words([from, to]: Words) -> u64 {
    let source = from << 16 & 0xffff_ffff_0000 | to >> 16 & 0xffff;
    let destination = to >> 32 << 16 | to & 0xffff;
    let less = from >> 48 << 48 | source.min(destination);
    let mut hasher = FixedState::default().build_hasher();
    hasher.write_u128(u128::from(less) << 64 | u128::from(source.max(destination)));
    hasher.finish()
}

/// The same of any tuple.
#[inline]
fn hash(tuple: &Tuple) -> u64 {
    if let Some(words) = tuple.words() {
        return hash_words(words);
    }
    let source = (bits(tuple.source), tuple.source_port);
    let destination = (bits(tuple.destination), tuple.destination_port);
    let (less, more) = (source.min(destination), source.max(destination));
    let mut hasher = FixedState::default().build_hasher();
    hasher.write_u128(less.0);
    hasher.write_u128(more.0);
    let ports = u64::from(less.1) << 16 | u64::from(more.1);
    hasher.write_u64(u64::from(tuple.protocol) << 32 | ports);
    hasher.finish()
}

/// Of both tuples of a connection; of one, if the other's is the same. Of most one line of the cache says it.
#[inline]
fn hashes(conn: &Conn) -> (u64, Option<u64>) {
    match conn.own_words() {
        Some(words) => (hash_words(words), None),
        None => hashes_apart(conn),
    }
}

/// The same of one whose tuples are not each other's inverse.
#[inline(never)]
fn hashes_apart(conn: &Conn) -> (u64, Option<u64>) {
    let (original, reply) = match conn.words() {
        Some([original, reply]) => (hash_words(original), hash_words(reply)),
        None => (hash(&conn.original()), hash(&conn.reply())),
    };
    (original, (reply != original).then_some(reply))
}

impl Index {
    /// The connection of a tuple, and which of its two that is.
    #[inline]
    pub(super) fn of(&self, slots: &[Slot], tuple: &Tuple) -> Option<(u32, Direction)> {
        if let Some(words) = tuple.words() {
            return self.of_words(slots, words);
        }
        let mut found = None;
        self.0.find(hash(tuple), |&place| {
            let direction = held(slots, place).and_then(|conn| conn.direction_of_wide(tuple));
            found = direction.map(|direction| (place.slot(), direction));
            found.is_some()
        })?;
        found
    }

    /// The same for a tuple of IPv4 as a header has it.
    #[inline]
    pub(super) fn of_words(&self, slots: &[Slot], asked: Words) -> Option<(u32, Direction)> {
        let mut found = None;
        self.0.find(hash_words(asked), |&place| {
            let direction = held(slots, place).and_then(|conn| conn.direction_of(asked));
            found = direction.map(|direction| (place.slot(), direction));
            found.is_some()
        })?;
        found
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Both tuples of the connection in `slot` belong to it from now on. No other one has them.
    pub(super) fn insert(&mut self, slots: &[Slot], slot: u32) {
        let place = Place::of(slot, Direction::Original);
        let Some(conn) = held(slots, place) else {
            return;
        };
        let (original, reply) = hashes(conn);
        self.put(slots, original, place);
        if let Some(reply) = reply {
            self.put(slots, reply, Place::of(slot, Direction::Reply));
        }
    }

    fn put(&mut self, slots: &[Slot], hash: u64, place: Place) {
        let again =
            |place: &Place| held(slots, *place).map_or(0, |conn| self::hash(&place.tuple(conn)));
        self.0.insert_unique(hash, place, again);
    }

    /// The connection in `slot` has no tuples any more.
    pub(super) fn remove(&mut self, conn: &Conn, slot: u32) {
        let (original, reply) = hashes(conn);
        self.take(original, Place::of(slot, Direction::Original));
        if let Some(reply) = reply {
            self.take(reply, Place::of(slot, Direction::Reply));
        }
    }

    fn take(&mut self, hash: u64, place: Place) {
        if let Ok(found) = self.0.find_entry(hash, |&other| other == place) {
            found.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::super::tuple::{Flow, ICMP, TCP, UDP};
    use super::*;
    use crate::rng::Rng;
    use crate::time::Time;

    fn tuple(source: IpAddr, destination: IpAddr) -> Tuple {
        Tuple {
            source,
            destination,
            protocol: TCP,
            source_port: 40_000,
            destination_port: 80,
        }
    }

    fn slot(original: Tuple, reply: Tuple) -> Slot {
        let flow = Flow {
            tuple: Tuple {
                protocol: UDP,
                ..original
            },
            flags: 0,
        };
        let mut conn = Conn::start(Time::ZERO, 0, &flow).unwrap();
        conn.set_tuples(original, reply);
        conn.destination_nat = reply != original.inverted();
        Slot {
            generation: 0,
            conn: Some(conn),
        }
    }

    #[test]
    fn every_part_of_a_tuple_counts() {
        let (one, two) = (Ipv4Addr::new(172, 17, 0, 2), Ipv4Addr::new(172, 17, 0, 3));
        let v4 = tuple(one.into(), two.into());
        let v6 = tuple(Ipv6Addr::LOCALHOST.into(), Ipv6Addr::UNSPECIFIED.into());
        let mixed = tuple(one.into(), Ipv6Addr::LOCALHOST.into());
        let all = [
            v4,
            v6,
            mixed,
            v4.inverted(),
            v6.inverted(),
            Tuple { protocol: 17, ..v4 },
            Tuple {
                source_port: 1,
                ..v4
            },
            Tuple {
                destination_port: 1,
                ..v6
            },
        ];
        for (at, &original) in all.iter().enumerate() {
            let reply = Tuple {
                destination_port: 9,
                ..original.inverted()
            };
            let slots = [slot(original, reply)];
            let mut index = Index::default();
            index.insert(&slots, 0);
            for (other, asked) in all.iter().enumerate() {
                let found = (at == other).then_some((0, Direction::Original));
                assert_eq!(index.of(&slots, asked), found);
            }
            assert_eq!(index.of(&slots, &reply), Some((0, Direction::Reply)));
            index.remove(slots[0].conn.as_ref().unwrap(), 0);
            assert_eq!((index.of(&slots, &original), index.len()), (None, 0));
        }
    }

    /// As [`crate::hook::Run::flow`] has them.
    #[test]
    fn words_are_those_of_a_header() {
        let v4 = tuple(
            Ipv4Addr::new(172, 17, 0, 2).into(),
            Ipv4Addr::new(172, 17, 0, 3).into(),
        );
        let words = [6 << 48 | 0xac11_0002, 0xac11_0003 << 32 | 40_000 << 16 | 80];
        let mut index = Index::default();
        let slots = [slot(v4.inverted(), v4)];
        index.insert(&slots, 0);
        assert_eq!(index.of_words(&slots, words), Some((0, Direction::Reply)));
        assert_eq!(index.len(), 1, "both directions share a place");
    }

    /// Connections of few ends, some translated, some their own answer, come and go; every tuple is found where a plain list
    /// has it.
    #[test]
    fn as_a_list() {
        let mut rng = Rng::new(11);
        let mut index = Index::default();
        let mut slots: Vec<Slot> = (0..200).map(|_| Slot::default()).collect();
        let mut model: Vec<(Tuple, u32, Direction)> = Vec::new();
        let mut shared = 0;
        for _ in 0..40_000 {
            let at = rng.below(200);
            if let Some(conn) = slots[at as usize].conn.as_ref() {
                index.remove(conn, at);
                model.retain(|&(_, slot, _)| slot != at);
                slots[at as usize].conn = None;
            } else {
                let (original, reply) = (any(&mut rng), any(&mut rng));
                let reply = match rng.below(3) {
                    0 => reply,
                    _ => original.inverted(),
                };
                if model
                    .iter()
                    .any(|&(tuple, ..)| tuple == original || tuple == reply)
                {
                    continue;
                }
                shared += u32::from(hash(&original) == hash(&reply));
                slots[at as usize] = slot(original, reply);
                index.insert(&slots, at);
                model.push((original, at, Direction::Original));
                if reply != original {
                    model.push((reply, at, Direction::Reply));
                }
            }
            for _ in 0..3 {
                let asked = match rng.below(2) {
                    0 if !model.is_empty() => model[rng.below(model.len() as u32) as usize].0,
                    _ => any(&mut rng),
                };
                let mut found = model.iter().filter(|&&(tuple, ..)| tuple == asked);
                let found = found.next().map(|&(_, slot, direction)| (slot, direction));
                assert_eq!(index.of(&slots, &asked), found);
                if let Some(words) = asked.words() {
                    assert_eq!(index.of_words(&slots, words), found);
                }
            }
        }
        assert!(shared > 1_000 && model.len() > 20, "{shared}");
    }

    fn any(rng: &mut Rng) -> Tuple {
        let long = rng.below(4) == 0;
        let mut address = || match long {
            true => IpAddr::V6(Ipv6Addr::from_bits(rng.below(3).into())),
            false => IpAddr::V4(Ipv4Addr::from_bits(rng.below(3))),
        };
        let (source, destination) = (address(), address());
        let protocol = [TCP, UDP, ICMP][rng.below(3) as usize];
        Tuple {
            source,
            destination,
            protocol,
            source_port: 1 + rng.below(4) as u16,
            destination_port: match protocol {
                ICMP => [8 << 8, 0][rng.below(2) as usize],
                _ => 1 + rng.below(4) as u16,
            },
        }
    }
}
