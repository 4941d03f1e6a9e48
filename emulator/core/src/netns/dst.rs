//! What the tables said of the addresses used last, after Linux's destination cache.
//!
//! Where a packet goes follows from interfaces, addresses and routes alone, so an answer holds until one of
//! those changes: they count their changes, and an answer of another count is none. Each place holds one
//! answer, the latest; a miss costs a look into the tables and nothing else. What ages (neighbours,
//! path MTUs) is not kept here. Memory is taken with the first packet: 16 places in a host, 256 in
//! a router.

use core::net::IpAddr;

use switch::IfId;
use switch::wire::Packet;

use super::output::Way;
use super::{Arrival, Errno, Netns};

/// Places of a namespace that does not forward.
const HOST: usize = 16;
/// Places of one that does.
const ROUTER: usize = 256;

/// What a packet that came in is to this namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inward {
    /// It is for one of its addresses.
    Local,
    /// It is for all stations of a link, this one too.
    Broadcast,
    /// It is for somebody else.
    Foreign,
    /// No wire may carry it.
    Martian,
}

/// Which packets share an [`Inward`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inbound {
    iface: IfId,
    looped: bool,
    source: IpAddr,
    destination: IpAddr,
}

/// What answers are kept by.
pub(super) trait Key: Copy + Eq {
    /// A number that is different for most keys.
    fn mixed(&self) -> u64;
}

fn low(addr: &IpAddr) -> u64 {
    match addr {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() as u64 ^ (v6.to_bits() >> 64) as u64,
    }
}

impl Key for IpAddr {
    #[inline]
    fn mixed(&self) -> u64 {
        low(self)
    }
}

impl Key for Inbound {
    #[inline]
    fn mixed(&self) -> u64 {
        low(&self.source) ^ low(&self.destination).rotate_left(32) ^ u64::from(self.iface.0)
    }
}

#[derive(Clone, Copy, Debug)]
struct Kept<K, V> {
    change: u64,
    key: K,
    value: V,
}

/// The answers to one kind of question.
#[derive(Debug)]
pub(super) struct Kepts<K, V>(Vec<Option<Kept<K, V>>>);

impl<K, V> Default for Kepts<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Key, V: Copy> Kepts<K, V> {
    #[inline]
    fn place(&self, key: &K) -> usize {
        let mixed = key.mixed().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 56) as usize & self.0.len().wrapping_sub(1)
    }

    /// The answer for `key`, if nothing changed since.
    #[inline]
    fn find(&self, change: u64, key: &K) -> Option<V> {
        let kept = self.0.get(self.place(key))?.as_ref()?;
        (kept.change == change && kept.key == *key).then_some(kept.value)
    }

    /// Keeps an answer in one of `places`.
    fn keep(&mut self, places: usize, change: u64, key: K, value: V) {
        if self.0.len() < places {
            self.0.clear();
            self.0.resize(places, None);
        }
        let at = self.place(&key);
        self.0[at] = Some(Kept { change, key, value });
    }
}

/// The caches of a namespace.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    outward: Kepts<IpAddr, Way>,
    inward: Kepts<Inbound, Inward>,
}

impl Netns {
    /// A number that changes with every interface, address and route.
    pub(super) const fn change(&self) -> u64 {
        self.ifaces.change() + self.fib.change()
    }

    const fn places(&self) -> usize {
        if self.forwarding { ROUTER } else { HOST }
    }

    /// The way to `destination`, out of `dev` if that is given.
    #[inline]
    pub(super) fn route_to(
        &mut self,
        destination: IpAddr,
        dev: Option<IfId>,
    ) -> Result<Way, Errno> {
        let change = self.change();
        if dev.is_none()
            && let Some(way) = self.destinations.outward.find(change, &destination)
        {
            debug_assert_eq!(self.find_way(destination, None), Ok(way));
            return Ok(way);
        }
        let way = self.find_way(destination, dev)?;
        if dev.is_none() {
            let places = self.places();
            let outward = &mut self.destinations.outward;
            outward.keep(places, change, destination, way);
        }
        Ok(way)
    }

    /// What a packet for no group is to this namespace.
    #[inline]
    pub(super) fn judge(&mut self, arrival: &Arrival, packet: &Packet) -> Inward {
        let inbound = Inbound {
            iface: arrival.iface,
            looped: arrival.looped,
            source: packet.source,
            destination: packet.destination,
        };
        let change = self.change();
        if let Some(known) = self.destinations.inward.find(change, &inbound) {
            debug_assert_eq!(self.find_inward(arrival, packet), known);
            return known;
        }
        let inward = self.find_inward(arrival, packet);
        let places = self.places();
        self.destinations
            .inward
            .keep(places, change, inbound, inward);
        inward
    }
}
