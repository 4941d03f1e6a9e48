//! Which host ports are taken, and the next free one of a range.
//!
//! Models `libnetwork/portallocator`. Each protocol and host address has its own set. In Docker 29 one
//! port is found for all addresses of a mapping at once, and an unspecified address is in conflict with
//! every other of its family; in Docker 20.10 each address is searched alone and such conflicts are
//! left to the bind that follows.

use core::net::IpAddr;
use std::collections::BTreeMap;

use crate::docker::spec::{Engine, Proto};

/// Why there is no port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortError {
    /// This one is taken already.
    Taken(IpAddr, u16),
    /// The whole range is.
    AllTaken,
}

/// The host ports in use.
#[derive(Clone, Debug)]
pub struct PortAllocator {
    engine: Engine,
    ephemeral: (u16, u16),
    reserved: Vec<(u16, u16)>,
    /// Users by protocol, port and address.
    taken: BTreeMap<(Proto, u16, IpAddr), u32>,
    /// Where the last search of a range ended.
    last: BTreeMap<(Proto, IpAddr, u16, u16), u16>,
}

impl PortAllocator {
    /// With no port taken. `ephemeral` is the range for mappings that name no port, both ends
    /// included, `reserved` is left out of it.
    #[must_use]
    pub fn new(engine: Engine, ephemeral: (u16, u16), reserved: &[(u16, u16)]) -> Self {
        Self {
            engine,
            ephemeral,
            reserved: reserved.to_vec(),
            taken: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }

    fn users(&self, proto: Proto, port: u16) -> impl Iterator<Item = IpAddr> + '_ {
        let (low, high) = (
            IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(core::net::Ipv6Addr::from(u128::MAX)),
        );
        self.taken
            .range((proto, port, low)..=(proto, port, high))
            .map(|((_, _, ip), _)| *ip)
    }

    fn conflicts(&self, proto: Proto, port: u16, ip: IpAddr) -> bool {
        self.users(proto, port).any(|user| {
            user == ip
                || (self.engine == Engine::V29
                    && user.is_ipv4() == ip.is_ipv4()
                    && (user.is_unspecified() || ip.is_unspecified()))
        })
    }

    /// Takes `port` on all of `ips`.
    ///
    /// # Errors
    /// [`PortError::Taken`] with the address that has it already.
    pub fn take(&mut self, ips: &[IpAddr], proto: Proto, port: u16) -> Result<(), PortError> {
        if let Some(ip) = ips.iter().find(|ip| self.conflicts(proto, port, **ip)) {
            return Err(PortError::Taken(*ip, port));
        }
        for ip in ips {
            *self.taken.entry((proto, port, *ip)).or_insert(0) += 1;
        }
        Ok(())
    }

    /// Takes the next port of `range` (of the ephemeral one if there is none) that is free on all of
    /// `ips`, going round from behind the last one that was handed out.
    ///
    /// # Errors
    /// [`PortError::AllTaken`].
    pub fn take_from(
        &mut self,
        ips: &[IpAddr],
        proto: Proto,
        range: Option<(u16, u16)>,
    ) -> Result<u16, PortError> {
        let (from, to) = range.unwrap_or(self.ephemeral);
        let Some(first) = ips.first() else {
            return Err(PortError::AllTaken);
        };
        let key = (proto, *first, from, to);
        let last = self.last.get(&key).copied().unwrap_or(to);
        let count = u32::from(to.saturating_sub(from)) + 1;
        for i in 1..=count {
            let offset = (u32::from(last.clamp(from, to)) - u32::from(from) + i) % count;
            let port = from.saturating_add(offset as u16);
            if range.is_none() && self.reserved.iter().any(|(a, b)| (*a..=*b).contains(&port)) {
                continue;
            }
            if self.take(ips, proto, port).is_ok() {
                self.last.insert(key, port);
                return Ok(port);
            }
        }
        Err(PortError::AllTaken)
    }

    /// Gives a port back.
    pub fn give_back(&mut self, ip: IpAddr, proto: Proto, port: u16) {
        if let Some(users) = self.taken.get_mut(&(proto, port, ip)) {
            *users -= 1;
            if *users == 0 {
                self.taken.remove(&(proto, port, ip));
            }
        }
    }

    /// Whether no port is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: IpAddr = IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED);
    const ANY6: IpAddr = IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED);
    const LO: IpAddr = IpAddr::V4(core::net::Ipv4Addr::LOCALHOST);

    fn ports(engine: Engine) -> PortAllocator {
        PortAllocator::new(engine, (32768, 32771), &[(32769, 32769)])
    }

    #[test]
    fn ephemeral_ports_go_round() {
        let mut p = ports(Engine::V29);
        let next = |p: &mut PortAllocator| p.take_from(&[ANY, ANY6], Proto::Tcp, None);
        assert_eq!(next(&mut p), Ok(32768), "case 61");
        assert_eq!(next(&mut p), Ok(32770), "32769 is reserved");
        p.give_back(ANY, Proto::Tcp, 32768);
        p.give_back(ANY6, Proto::Tcp, 32768);
        assert_eq!(next(&mut p), Ok(32771), "on from the last one");
        assert_eq!(next(&mut p), Ok(32768));
        assert_eq!(next(&mut p), Err(PortError::AllTaken));
        assert_eq!(
            p.take_from(&[ANY], Proto::Udp, None),
            Ok(32768),
            "udp is apart"
        );
    }

    #[test]
    fn the_unspecified_address_meets_all_of_its_family() {
        let mut p = ports(Engine::V29);
        assert_eq!(p.take(&[LO], Proto::Tcp, 80), Ok(()));
        assert_eq!(
            p.take(&[ANY], Proto::Tcp, 80),
            Err(PortError::Taken(ANY, 80))
        );
        assert_eq!(p.take(&[ANY6], Proto::Tcp, 80), Ok(()));
        assert_eq!(
            p.take(&[ANY6], Proto::Tcp, 80),
            Err(PortError::Taken(ANY6, 80))
        );
        p.give_back(LO, Proto::Tcp, 80);
        p.give_back(ANY6, Proto::Tcp, 80);
        assert!(p.is_empty());

        let mut old = ports(Engine::V20_10);
        assert_eq!(old.take(&[LO], Proto::Tcp, 80), Ok(()));
        assert_eq!(old.take(&[ANY], Proto::Tcp, 80), Ok(()), "left to the bind");
        assert_eq!(
            old.take(&[ANY], Proto::Tcp, 80),
            Err(PortError::Taken(ANY, 80))
        );
    }

    #[test]
    fn a_range_has_a_memory_of_its_own() {
        let mut p = ports(Engine::V29);
        let range = Some((9090, 9092));
        for expected in [9090, 9091, 9092] {
            assert_eq!(
                p.take_from(&[ANY], Proto::Tcp, range),
                Ok(expected),
                "case 58"
            );
        }
        assert_eq!(
            p.take_from(&[ANY], Proto::Tcp, range),
            Err(PortError::AllTaken),
            "case 58"
        );
        p.give_back(ANY, Proto::Tcp, 9091);
        assert_eq!(p.take_from(&[ANY], Proto::Tcp, range), Ok(9091), "case 58");
    }
}
