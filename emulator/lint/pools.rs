//! The pools that networks without a subnet get one from, as the engine walks them: the first gap that
//! overlaps nothing.

use emulator_compose::{HostRoute, MachineFile, is_engines};
use ipnet::{IpNet, Ipv4Net};

/// The engine's own pools: the base and the length of the prefixes that are cut from it.
const DEFAULT: [(&str, u8); 7] = [
    ("172.17.0.0/16", 16),
    ("172.18.0.0/16", 16),
    ("172.19.0.0/16", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16),
    ("172.28.0.0/14", 16),
    ("192.168.0.0/16", 20),
];

/// The IPv4 pools of a machine.
fn pools(machine: &MachineFile) -> Vec<(Ipv4Net, u8)> {
    let given = machine.daemon.default_address_pools.iter();
    let given = given.filter_map(|pool| match pool.base {
        IpNet::V4(net) => Some((net, pool.size)),
        IpNet::V6(_) => None,
    });
    let given: Vec<(Ipv4Net, u8)> = given.collect();
    if !given.is_empty() {
        return given;
    }
    let own = DEFAULT.iter();
    own.filter_map(|&(net, size)| Some((net.parse().ok()?, size)))
        .collect()
}

/// docker0's subnet.
pub(super) fn bridge(machine: &MachineFile) -> Option<Ipv4Net> {
    if let Some(IpNet::V4(net)) = machine.daemon.bip {
        return Some(net.trunc());
    }
    let (base, size) = *pools(machine).first()?;
    Ipv4Net::new(base.network(), size).ok()
}

/// The machine's own IPv4 routes that lead somewhere: not the default route, not the engine's.
pub(super) fn routes(machine: &MachineFile) -> impl Iterator<Item = (&HostRoute, Ipv4Net)> {
    machine.routes.iter().filter_map(|route| {
        let own = route
            .interface
            .as_deref()
            .is_none_or(|name| !is_engines(name));
        match route.destination {
            Some(IpNet::V4(to)) if own && to.prefix_len() > 0 => Some((route, to)),
            _ => None,
        }
    })
}

/// Subnets are given out from the lowest gap on.
#[derive(Debug)]
pub(super) struct Walk {
    pools: Vec<(Ipv4Net, u8)>,
    taken: Vec<Ipv4Net>,
}

impl Walk {
    /// With docker0, the machine's routes without a gateway and `taken` already gone.
    pub(super) fn new(machine: &MachineFile, taken: impl IntoIterator<Item = Ipv4Net>) -> Self {
        let on_link = routes(machine).filter(|(route, _)| route.gateway.is_none());
        Self {
            pools: pools(machine),
            taken: bridge(machine)
                .into_iter()
                .chain(on_link.map(|(_, to)| to))
                .chain(taken)
                .collect(),
        }
    }

    /// The next subnet; `None` if the pools are used up.
    pub(super) fn next(&mut self) -> Option<Ipv4Net> {
        let free = self.pools.iter().find_map(|&(base, size)| {
            let mut subnets = base.subnets(size).ok()?;
            subnets.find(|subnet| !self.taken.iter().any(|taken| overlap(*taken, *subnet)))
        })?;
        self.taken.push(free);
        Some(free)
    }
}

/// Whether two prefixes have an address in common.
pub(super) fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn thirty_networks_beside_docker0() {
        let mut walk = Walk::new(&MachineFile::default(), []);
        let all: Vec<Ipv4Net> = core::iter::from_fn(|| walk.next()).take(100).collect();
        assert_eq!(all.len(), 30);
        assert_eq!(all[0], net("172.18.0.0/16"));
        assert_eq!(all[14], net("192.168.0.0/20"));
        assert_eq!(all[29], net("192.168.240.0/20"));
    }

    #[test]
    fn gaps_are_kept_clear_of_what_is_taken() {
        let mut walk = Walk::new(&MachineFile::default(), [net("172.18.5.0/24")]);
        assert_eq!(walk.next(), Some(net("172.19.0.0/16")));
        let daemon =
            r#"{"daemon": {"default-address-pools": [{"base": "10.9.0.0/16", "size": 24}]}}"#;
        let machine = MachineFile::parse("machine.json", daemon).unwrap();
        let mut walk = Walk::new(&machine, [net("10.9.1.0/25")]);
        assert_eq!(walk.next(), Some(net("10.9.2.0/24")));
    }
}
