//! Choosing subnets: the pools that networks without `--subnet` come from, and who has what.
//!
//! Models `libnetwork/ipams/defaultipam/address_space.go` and `libnetwork/ipamutils` of Docker 29, and
//! what they replaced in 27.0: Docker 20.10 walks the list of all predefined subnets round and round,
//! so that the subnet freed last is the last one to come back.
//!
//! Kept from both: with an `--ip-range` the overlap check is skipped (moby issue 46756).

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::bits;
use super::runs::Runs;
use crate::docker::spec::Engine;

/// A part of the address space that is handed out in subnets of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPool {
    /// The whole.
    pub base: IpNet,
    /// The prefix length of each subnet; not shorter than the base's.
    pub size: u8,
}

/// Docker's IPv4 pools: 31 subnets.
#[must_use]
pub fn default_pools() -> Vec<AddressPool> {
    let v4 = |a, b, len, size| AddressPool {
        base: IpNet::V4(ipnet::Ipv4Net::new_assert(
            core::net::Ipv4Addr::new(a, b, 0, 0),
            len,
        )),
        size,
    };
    vec![
        v4(172, 17, 16, 16),
        v4(172, 18, 16, 16),
        v4(172, 19, 16, 16),
        v4(172, 20, 14, 16),
        v4(172, 24, 14, 16),
        v4(172, 28, 14, 16),
        v4(192, 168, 16, 20),
    ]
}

/// Why there is no subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolError {
    /// The subnet is taken, wholly or partly.
    Overlap,
    /// No pool has room.
    NoMoreSubnets,
}

/// Why there is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// It is taken.
    InUse,
    /// It is not in the subnet.
    OutOfRange,
    /// All are taken.
    NoneLeft,
}

/// One subnet that is in use.
#[derive(Clone, Debug, Default)]
struct Subnet {
    taken: Runs,
    /// The `--ip-range`s in it.
    ranges: BTreeSet<IpNet>,
    /// Taken without an `--ip-range`.
    whole: bool,
}

/// The subnets of one address family.
#[derive(Clone, Debug)]
pub struct Space {
    v6: bool,
    engine: Engine,
    predefined: Vec<AddressPool>,
    /// By first number and prefix length.
    subnets: BTreeMap<(u128, u8), Subnet>,
    /// Docker 20.10: where in the list of all predefined subnets the next search starts.
    cursor: u128,
}

/// So few subnets are looked through one by one.
const FEW: usize = 8;

fn key(net: &IpNet) -> (u128, u8) {
    (bits::number(net.network()), net.prefix_len())
}

impl Space {
    /// An empty space. Of overlapping pools the shorter prefix stays.
    #[must_use]
    pub fn new(engine: Engine, v6: bool, pools: &[AddressPool]) -> Self {
        let mut sorted: Vec<AddressPool> = pools
            .iter()
            .filter(|pool| bits::is_v6(&pool.base) == v6)
            .map(|pool| AddressPool {
                base: pool.base.trunc(),
                size: pool.size.max(pool.base.prefix_len()),
            })
            .collect();
        sorted.sort_by_key(|pool| key(&pool.base));
        let mut predefined: Vec<AddressPool> = Vec::new();
        for pool in sorted {
            if !predefined
                .last()
                .is_some_and(|last| bits::overlap(&last.base, &pool.base))
            {
                predefined.push(pool);
            }
        }
        Self {
            v6,
            engine,
            predefined,
            subnets: BTreeMap::new(),
            cursor: 0,
        }
    }

    /// Takes `subnet`, or a part of it for a network with an `--ip-range`.
    ///
    /// # Errors
    /// [`PoolError::Overlap`]; with a range only if the same subnet and range are taken.
    pub fn take(&mut self, subnet: IpNet, range: Option<IpNet>) -> Result<(), PoolError> {
        match range {
            None => {
                if self.overlapping(&subnet).is_some() {
                    return Err(PoolError::Overlap);
                }
                self.insert(subnet).whole = true;
            }
            Some(range) => {
                let entry = self.insert(subnet);
                if !entry.ranges.insert(range) {
                    return Err(PoolError::Overlap);
                }
            }
        }
        Ok(())
    }

    /// Adds a pool where there is none.
    pub(super) fn add_pool(&mut self, pool: AddressPool) {
        self.predefined.push(pool);
    }

    /// Takes the first free subnet of the predefined pools that meets none of `reserved`. `size` asks
    /// for another prefix length than the pools' own.
    ///
    /// # Errors
    /// [`PoolError::NoMoreSubnets`].
    pub fn take_predefined(
        &mut self,
        reserved: &[IpNet],
        size: Option<u8>,
    ) -> Result<IpNet, PoolError> {
        let found = match self.engine {
            Engine::V20_10 => self.next_round(reserved),
            Engine::V29 => self.lowest_gap(reserved, size),
        };
        let subnet = found.ok_or(PoolError::NoMoreSubnets)?;
        self.insert(subnet).whole = true;
        Ok(subnet)
    }

    /// Gives a subnet, or the part of it, back.
    pub fn give_back(&mut self, subnet: IpNet, range: Option<IpNet>) {
        let Some(entry) = self.subnets.get_mut(&key(&subnet)) else {
            return;
        };
        match range {
            Some(range) => {
                entry.ranges.remove(&range);
            }
            None => entry.whole = false,
        }
        if !entry.whole && entry.ranges.is_empty() {
            self.subnets.remove(&key(&subnet));
        }
    }

    /// Takes an address of `subnet`: `wanted`, or the lowest free one of the range or subnet.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn take_address(
        &mut self,
        subnet: IpNet,
        range: Option<IpNet>,
        wanted: Option<core::net::IpAddr>,
    ) -> Result<core::net::IpAddr, AddressError> {
        let v6 = self.v6;
        let entry = self
            .subnets
            .get_mut(&key(&subnet))
            .ok_or(AddressError::OutOfRange)?;
        if let Some(addr) = wanted {
            if !subnet.contains(&addr) {
                return Err(AddressError::OutOfRange);
            }
            return if entry.taken.insert(bits::number(addr)) {
                Ok(addr)
            } else {
                Err(AddressError::InUse)
            };
        }
        let (from, to) = bits::span(range.unwrap_or(subnet));
        let free = entry
            .taken
            .first_free(from, to)
            .ok_or(AddressError::NoneLeft)?;
        entry.taken.insert(free);
        Ok(bits::address(v6, free))
    }

    /// Gives an address back.
    pub fn free_address(&mut self, subnet: IpNet, addr: core::net::IpAddr) {
        if let Some(entry) = self.subnets.get_mut(&key(&subnet)) {
            entry.taken.remove(bits::number(addr));
        }
    }

    /// How many addresses of a subnet are taken, the reserved ones counted in, and how many are left
    /// to hand out in the range (or the subnet).
    #[must_use]
    pub fn status(&self, subnet: IpNet, range: Option<IpNet>) -> (u128, u128) {
        let Some(entry) = self.subnets.get(&key(&subnet)) else {
            return (0, 0);
        };
        let (first, last) = bits::span(subnet);
        let (from, to) = bits::span(range.unwrap_or(subnet));
        let left = (to - from + 1).saturating_sub(entry.taken.count(from, to));
        (entry.taken.count(first, last), left)
    }

    /// A subnet in use that shares an address with `net`.
    #[must_use]
    pub fn overlapping(&self, net: &IpNet) -> Option<IpNet> {
        let (first, last) = bits::span(*net);
        let inside = self.subnets.range((first, 0)..=(last, u8::MAX)).next();
        if let Some((&(n, len), _)) = inside {
            return bits::subnet(self.v6, n, len);
        }
        if self.subnets.len() < FEW {
            let all = self.subnets.keys();
            let around = all.filter(|(n, len)| *len < net.prefix_len() && *n <= first);
            let nets = around.filter_map(|&(n, len)| bits::subnet(self.v6, n, len));
            let holding = nets.filter(|around| around.contains(net));
            return holding.min_by_key(IpNet::prefix_len);
        }
        (0..net.prefix_len())
            .filter_map(|len| bits::subnet(self.v6, first, len))
            .map(|around| around.trunc())
            .find(|around| self.subnets.contains_key(&key(around)))
    }

    fn insert(&mut self, subnet: IpNet) -> &mut Subnet {
        let v6 = self.v6;
        self.subnets.entry(key(&subnet)).or_insert_with(|| {
            let mut entry = Subnet::default();
            let (first, last) = bits::span(subnet);
            // The network's own address and, in IPv4, the broadcast; IPv6 keeps the subnet-router
            // anycast address only. A /31 and a /32 have neither (RFC 3021).
            if v6 || subnet.prefix_len() < 31 {
                entry.taken.insert(first);
            }
            if !v6 && subnet.prefix_len() < 31 {
                entry.taken.insert(last);
            }
            entry
        })
    }

    /// Docker 29: the first gap of the size, pool by pool.
    fn lowest_gap(&self, reserved: &[IpNet], size: Option<u8>) -> Option<IpNet> {
        self.predefined.iter().find_map(|pool| {
            let size = match size {
                Some(size) if size < pool.base.prefix_len() => return None,
                Some(size) => size,
                None => pool.size,
            };
            self.gap_in(pool.base, size, reserved)
        })
    }

    fn gap_in(&self, base: IpNet, size: u8, reserved: &[IpNet]) -> Option<IpNet> {
        let (mut at, end) = bits::span(base);
        let step = bits::step(self.v6, size);
        loop {
            let candidate = bits::subnet(self.v6, at, size)?;
            let blocker = self.blocker(&candidate, reserved);
            let Some(blocker) = blocker else {
                return Some(candidate);
            };
            // On behind what is in the way, at the next multiple of the size.
            let behind = bits::span(blocker).1.max(bits::span(candidate).1);
            let next = behind.checked_add(1)?;
            let ahead = next.checked_next_multiple_of(step)?;
            if ahead > end {
                return None;
            }
            at = ahead;
        }
    }

    fn blocker(&self, candidate: &IpNet, reserved: &[IpNet]) -> Option<IpNet> {
        self.overlapping(candidate).or_else(|| {
            reserved
                .iter()
                .find(|net| bits::is_v6(net) == self.v6 && bits::overlap(net, candidate))
                .copied()
        })
    }

    /// Docker 20.10: the next free one of the list, from where the last search ended.
    fn next_round(&mut self, reserved: &[IpNet]) -> Option<IpNet> {
        let counts: Vec<u128> = self
            .predefined
            .iter()
            .map(|pool| bits::split(pool.base.prefix_len(), pool.size))
            .collect();
        let total = counts.iter().fold(0u128, |sum, n| sum.saturating_add(*n));
        let start = if self.cursor < total { self.cursor } else { 0 };
        let mut i = 0;
        while i < total {
            let index = if i < total - start {
                start + i
            } else {
                i - (total - start)
            };
            let (candidate, left) = self.nth(&counts, index)?;
            let Some(blocker) = self.blocker(&candidate, reserved) else {
                self.cursor = index + 1;
                return Some(candidate);
            };
            // On behind what is in the way, but not beyond this pool.
            let step = bits::step(self.v6, candidate.prefix_len());
            let behind = bits::span(blocker).1.max(bits::span(candidate).1);
            let skip = ((behind - bits::span(candidate).0) / step + 1).min(left);
            let skip = if index < start {
                skip
            } else {
                skip.min(total - index)
            };
            i += skip;
        }
        None
    }

    /// The subnet at `index` of the list, and how many follow it in its pool, itself counted in.
    fn nth(&self, counts: &[u128], mut index: u128) -> Option<(IpNet, u128)> {
        for (pool, &count) in self.predefined.iter().zip(counts) {
            if index < count {
                let offset = index.checked_mul(bits::step(self.v6, pool.size))?;
                let first = bits::number(pool.base.network()).checked_add(offset)?;
                let subnet = bits::subnet(self.v6, first, pool.size)?;
                return Some((subnet, count - index));
            }
            index -= count;
        }
        None
    }
}
