//! Which connection a segment belongs to: a table of slots, looked up by the addresses of what is in them.
//!
//! An entry is a number; the addresses stand once, where the connection is. The table is never walked.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use hashbrown::HashTable;

use super::slots::Slots;

/// Both ends of a connection, as a key. IPv4 stands in as IPv4-mapped IPv6, which no wire carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C, packed(4))]
pub(in crate::netns) struct Tuple {
    local: (u64, u64),
    remote: (u64, u64),
    ports: u32,
}

/// The low half of `::ffff:0:0/96`.
const MAPPED: u64 = 0xffff << 32;
/// Odd numbers without a pattern (the fractional parts of π and e).
const MIX: [u64; 2] = [0x243f_6a88_85a3_08d3, 0xb7e1_5162_8aed_2a6b];

const fn bits(address: IpAddr) -> (u64, u64) {
    match address {
        IpAddr::V4(v4) => (0, MAPPED | v4.to_bits() as u64),
        IpAddr::V6(v6) => ((v6.to_bits() >> 64) as u64, v6.to_bits() as u64),
    }
}

fn address((high, low): (u64, u64)) -> IpAddr {
    let v6 = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

/// Two numbers as one in which each bit of both counts.
#[inline]
const fn folded(a: u64, b: u64) -> u64 {
    let product = (a as u128) * (b as u128);
    product as u64 ^ (product >> 64) as u64
}

impl Tuple {
    /// The key of a connection.
    pub(super) const fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            local: bits(local.ip()),
            remote: bits(remote.ip()),
            ports: (local.port() as u32) << 16 | remote.port() as u32,
        }
    }

    /// The key that an IPv4 segment with these addresses and ports, its source's first, is looked up by.
    pub(super) const fn incoming(addresses: u64, ports: u32) -> Self {
        Self {
            local: (0, MAPPED | (addresses as u32) as u64),
            remote: (0, MAPPED | addresses >> 32),
            ports: ports.rotate_left(16),
        }
    }

    /// The same of an IPv6 segment, by the words of its addresses.
    pub(super) const fn incoming_v6([a, b, c, d]: [u64; 4], ports: u32) -> Self {
        Self {
            local: (c, d),
            remote: (a, b),
            ports: ports.rotate_left(16),
        }
    }

    /// Our port.
    #[inline]
    pub(super) const fn port(&self) -> u16 {
        (self.ports >> 16) as u16
    }

    /// Both are the same but for our port.
    #[inline]
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        let ends = |tuple: &Self| (tuple.local, tuple.remote, tuple.ports as u16);
        ends(self) == ends(other)
    }

    /// Our end.
    pub(super) fn local(&self) -> SocketAddr {
        SocketAddr::new(address(self.local), (self.ports >> 16) as u16)
    }

    /// The other end.
    pub(super) fn remote(&self) -> SocketAddr {
        SocketAddr::new(address(self.remote), self.ports as u16)
    }

    /// A number that is another one for most keys.
    #[inline]
    pub(super) const fn mixed(&self) -> u64 {
        let networks = folded(self.local.0 ^ MIX[0], self.remote.0 ^ MIX[1]);
        let hosts = self.local.1 ^ self.remote.1.rotate_left(32);
        folded(networks ^ hosts, self.ports as u64 ^ MIX[0])
    }
}

/// The connections of a namespace by address.
#[derive(Debug, Default)]
pub(super) struct Demux {
    conns: HashTable<u32>,
}

impl Demux {
    /// The slot of the connection between these ends.
    #[inline]
    pub(super) fn get(&self, slots: &Slots, tuple: &Tuple) -> Option<u32> {
        let is_it = |slot: &u32| slots.tuple(*slot) == Some(*tuple);
        self.conns.find(tuple.mixed(), is_it).copied()
    }

    /// Connections in the table.
    pub(super) fn len(&self) -> usize {
        self.conns.len()
    }

    /// Enters the connection in `slot`, which has these ends and no other one has.
    pub(super) fn insert(&mut self, slots: &Slots, tuple: &Tuple, slot: u32) {
        debug_assert_eq!(slots.tuple(slot), Some(*tuple));
        let mixed = |slot: &u32| slots.tuple(*slot).map_or(0, |tuple| tuple.mixed());
        self.conns.insert_unique(tuple.mixed(), slot, mixed);
    }

    /// Takes the connection in `slot` out, which has these ends.
    pub(super) fn remove(&mut self, tuple: &Tuple, slot: u32) {
        if let Ok(found) = self.conns.find_entry(tuple.mixed(), |at| *at == slot) {
            found.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_tuple_gives_its_ends_back() {
        for (local, remote) in [
            ("10.0.0.1:80", "10.0.0.2:65535"),
            ("[2001:db8::1]:1", "[fe80::2]:2"),
        ] {
            let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
            let tuple = Tuple::new(local, remote);
            assert_eq!((tuple.local(), tuple.remote()), (local, remote));
        }
    }

    #[test]
    fn a_segment_is_looked_up_by_its_own_ends() {
        let tuple = Tuple::new(
            "10.0.0.1:80".parse().unwrap(),
            "10.0.0.2:4000".parse().unwrap(),
        );
        let found = Tuple::incoming(0x0a00_0002_0a00_0001, 4000 << 16 | 80);
        assert_eq!(found, tuple);
        let (local, remote) = ("[fd00::1]:80", "[2001:db8::2]:4000");
        let tuple = Tuple::new(local.parse().unwrap(), remote.parse().unwrap());
        let words = [0x2001_0db8 << 32, 2, 0xfd00 << 48, 1];
        assert_eq!(Tuple::incoming_v6(words, 4000 << 16 | 80), tuple);
    }

    /// Tables look at the lowest bits and at the highest seven.
    #[test]
    fn neighbours_are_far_apart() {
        for host in ["10.0.0.", "2001:db8::"] {
            let (mut low, mut high) = (BTreeSet::new(), BTreeSet::new());
            for n in 0..4096_u32 {
                let ends = (format!("{host}1"), format!("{host}{}", n % 16));
                let end = |ip: &str, port: u32| SocketAddr::new(ip.parse().unwrap(), port as u16);
                let tuple = Tuple::new(end(&ends.0, 80), end(&ends.1, 32_768 + n / 16));
                low.insert(tuple.mixed() & 0xfff);
                high.insert(tuple.mixed() >> 57);
            }
            // Thrown at random, 4,096 of 4,096 meet 2,589 places.
            assert!(low.len() > 2_400, "{host} {}", low.len());
            assert_eq!(high.len(), 128, "{host}");
        }
    }
}
