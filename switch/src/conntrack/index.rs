//! Which connection a tuple belongs to.
//!
//! Tuples of IPv4 are two words, as a header has them, and have a table of their own: they are most of what is asked
//! for, and everything about two words is cheap.

use core::hash::{Hash, Hasher};
use core::net::IpAddr;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{Direction, Tuple};

/// Slots and directions by tuple.
#[derive(Debug, Default)]
pub(super) struct Index {
    v4: HashMap<Words, Place, FixedState>,
    others: HashMap<Tuple, Place, FixedState>,
}

/// A tuple of IPv4: protocol and source; destination and ports, source first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Words([u64; 2]);

/// A slot, and whether the tuple is that of answers, in the lowest bit.
#[derive(Clone, Copy, Debug)]
struct Place(u32);

impl Hash for Words {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from(self.0[0]) << 64 | u128::from(self.0[1]));
    }
}

impl Words {
    #[inline]
    const fn of(tuple: &Tuple) -> Option<Self> {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (tuple.source, tuple.destination)
        else {
            return None;
        };
        let ports = (tuple.source_port as u64) << 16 | tuple.destination_port as u64;
        Some(Self([
            (tuple.protocol as u64) << 48 | source.to_bits() as u64,
            (destination.to_bits() as u64) << 32 | ports,
        ]))
    }
}

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

    #[inline]
    const fn direction(self) -> Direction {
        match self.0 & 1 {
            0 => Direction::Original,
            _ => Direction::Reply,
        }
    }
}

impl Index {
    /// The connection of a tuple, and which of its two that is.
    #[inline]
    pub(super) fn of(&self, tuple: &Tuple) -> Option<(u32, Direction)> {
        let place = match Words::of(tuple) {
            Some(words) => self.v4.get(&words),
            None => self.others.get(tuple),
        };
        place.map(|place| (place.slot(), place.direction()))
    }

    /// The same for a tuple of IPv4 as a header has it.
    #[inline]
    pub(super) fn of_words(&self, words: [u64; 2]) -> Option<(u32, Direction)> {
        let place = self.v4.get(&Words(words))?;
        Some((place.slot(), place.direction()))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.others.len()
    }

    /// The tuple belongs to this connection from now on.
    pub(super) fn insert(&mut self, tuple: &Tuple, slot: u32, direction: Direction) {
        let place = Place::of(slot, direction);
        match Words::of(tuple) {
            Some(words) => self.v4.insert(words, place),
            None => self.others.insert(*tuple, place),
        };
    }

    /// The tuple does not belong to this connection any more, if it did.
    pub(super) fn remove(&mut self, tuple: &Tuple, slot: u32) {
        if self.of(tuple).is_some_and(|(held, _)| held == slot) {
            match Words::of(tuple) {
                Some(words) => self.v4.remove(&words),
                None => self.others.remove(tuple),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::super::tuple::TCP;
    use super::*;

    fn tuple(source: IpAddr, destination: IpAddr) -> Tuple {
        Tuple {
            source,
            destination,
            protocol: TCP,
            source_port: 40_000,
            destination_port: 80,
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
        let mut index = Index::default();
        for (slot, tuple) in (0..).zip(&all) {
            assert_eq!(index.of(tuple), None);
            index.insert(tuple, slot, Direction::Original);
        }
        for (slot, tuple) in (0..).zip(&all) {
            assert_eq!(index.of(tuple), Some((slot, Direction::Original)));
            index.insert(tuple, slot + 100, Direction::Reply);
            index.remove(tuple, slot);
            assert_eq!(index.of(tuple), Some((slot + 100, Direction::Reply)));
            index.remove(tuple, slot + 100);
            assert_eq!(index.of(tuple), None);
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
        index.insert(&v4, 7, Direction::Reply);
        assert_eq!(index.of_words(words), Some((7, Direction::Reply)));
    }
}
