//! Which connection a segment belongs to: a map of address pairs, and the local ports in use.
//!
//! The maps are looked up and never walked; under a port stand all addresses that hold it, because binding
//! to a wildcard asks for them.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::options::{PortUse, overlap};

/// Both ends of a connection, as a key. IPv4 stands in as IPv4-mapped IPv6, which no wire carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tuple {
    local: u128,
    remote: u128,
    ports: u32,
}

/// `::ffff:0:0/96`.
const MAPPED: u128 = 0xffff << 32;

const fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address(bits: u128) -> IpAddr {
    let v6 = Ipv6Addr::from_bits(bits);
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
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
            local: MAPPED | (addresses as u32) as u128,
            remote: MAPPED | (addresses >> 32) as u128,
            ports: ports.rotate_left(16),
        }
    }

    /// Our end.
    pub(super) fn local(&self) -> SocketAddr {
        SocketAddr::new(address(self.local), (self.ports >> 16) as u16)
    }

    /// The other end.
    pub(super) fn remote(&self) -> SocketAddr {
        SocketAddr::new(address(self.remote), self.ports as u16)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct PortCount {
    live: u32,
    waiting: u32,
}

impl PortCount {
    const fn is_used(&self) -> bool {
        self.live > 0 || self.waiting > 0
    }
}

/// What connections hold of a port: most have one of our addresses only.
#[derive(Clone, Debug)]
struct AtPort {
    first: (IpAddr, PortCount),
    others: Vec<(IpAddr, PortCount)>,
}

impl AtPort {
    fn iter(&self) -> impl Iterator<Item = &(IpAddr, PortCount)> {
        core::iter::once(&self.first).chain(&self.others)
    }

    /// The count of an address, from 0 on.
    fn count(&mut self, address: IpAddr) -> &mut PortCount {
        if self.first.0 == address {
            return &mut self.first.1;
        }
        let known = self.others.iter().position(|(of, _)| *of == address);
        let at = known.unwrap_or(self.others.len());
        if known.is_none() {
            self.others.push((address, PortCount::default()));
        }
        &mut self.others[at].1
    }

    /// Forgets addresses that nothing holds; whether none is left.
    fn tidy(&mut self) -> bool {
        self.others.retain(|(_, count)| count.is_used());
        if self.first.1.is_used() {
            return false;
        }
        match self.others.pop() {
            Some(other) => self.first = other,
            None => return true,
        }
        false
    }
}

/// The connections of a namespace by address, and the ports that they hold.
#[derive(Debug, Default)]
pub(super) struct Demux {
    conns: HashMap<Tuple, u32, FixedState>,
    ports: HashMap<u16, AtPort, FixedState>,
}

impl Demux {
    /// The slot of the connection between these ends.
    pub(super) fn get(&self, tuple: &Tuple) -> Option<u32> {
        self.conns.get(tuple).copied()
    }

    /// Connections in the map.
    pub(super) fn len(&self) -> usize {
        self.conns.len()
    }

    /// Enters the connection in `slot`.
    pub(super) fn insert(&mut self, tuple: Tuple, slot: u32) {
        self.conns.insert(tuple, slot);
        self.count(tuple).live += 1;
    }

    /// Takes a connection out.
    pub(super) fn remove(&mut self, tuple: &Tuple) {
        if self.conns.remove(tuple).is_some() {
            self.uncount(tuple, |count| count.live -= 1);
        }
    }

    /// The port of `tuple` is held by one more entry in TIME_WAIT.
    pub(super) fn wait(&mut self, tuple: &Tuple) {
        self.count(*tuple).waiting += 1;
    }

    /// An entry in TIME_WAIT is gone.
    pub(super) fn unwait(&mut self, tuple: &Tuple) {
        self.uncount(tuple, |count| count.waiting -= 1);
    }

    fn count(&mut self, tuple: Tuple) -> &mut PortCount {
        let local = tuple.local();
        let held = self.ports.entry(local.port()).or_insert_with(|| AtPort {
            first: (local.ip(), PortCount::default()),
            others: Vec::new(),
        });
        held.count(local.ip())
    }

    fn uncount(&mut self, tuple: &Tuple, change: impl FnOnce(&mut PortCount)) {
        let local = tuple.local();
        if let Some(held) = self.ports.get_mut(&local.port()) {
            let count = held.count(local.ip());
            change(count);
            if !count.is_used() && held.tidy() {
                self.ports.remove(&local.port());
            }
        }
    }

    /// What connections hold `port` of `address`, which may be a wildcard.
    pub(super) fn port_use(&self, address: IpAddr, port: u16) -> PortUse {
        let held = self.ports.get(&port).into_iter().flat_map(AtPort::iter);
        let held = held.filter(|(of, _)| overlap(address, *of));
        let uses = held.map(|(_, count)| {
            if count.live > 0 {
                PortUse::Connected
            } else {
                PortUse::TimeWait
            }
        });
        uses.max().unwrap_or(PortUse::Free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

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
    }

    #[test]
    fn ports_are_held_until_the_last_connection_goes() {
        let mut demux = Demux::default();
        let local = "10.0.0.1:80".parse().unwrap();
        let a = Tuple::new(local, "10.0.0.2:1".parse().unwrap());
        let b = Tuple::new(local, "10.0.0.2:2".parse().unwrap());
        demux.insert(a, 0);
        demux.insert(b, 1);
        let any4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let any6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        for address in [local.ip(), any4, any6] {
            assert_eq!(demux.port_use(address, 80), PortUse::Connected);
        }
        let other = IpAddr::from([10, 0, 0, 9]);
        assert_eq!(demux.port_use(other, 80), PortUse::Free);
        assert_eq!(demux.port_use(any4, 81), PortUse::Free);
        demux.remove(&a);
        demux.remove(&a);
        assert_eq!(demux.get(&b), Some(1));
        demux.remove(&b);
        demux.wait(&b);
        assert_eq!(demux.port_use(any4, 80), PortUse::TimeWait);
        demux.unwait(&b);
        assert_eq!(demux.port_use(any4, 80), PortUse::Free);
        assert!(demux.ports.is_empty());
    }
}
