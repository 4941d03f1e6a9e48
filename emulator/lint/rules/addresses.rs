//! `static-in-dynamic` and `pool-exhausted`: who gets which address of a subnet, and whether there are
//! enough.
//!
//! The engine hands out the lowest free address. So a fixed one is at risk exactly if the containers
//! without one could reach up to it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use emulator_compose::{Network, Place, Service, ServiceNetwork, Subnet};
use ipnet::{IpNet, Ipv4Net};

use crate::lint::pools::Walk;
use crate::lint::view::{Draft, Host, View};

/// The IPv4 addresses of a network that are handed out.
struct Range {
    subnet: Ipv4Net,
    /// What unfixed addresses come from: `ip_range`, else the subnet.
    from: Ipv4Net,
    /// Addresses that no container gets: the gateway and the auxiliary ones.
    reserved: BTreeSet<Ipv4Addr>,
}

impl Range {
    fn of(network: &Network) -> Option<(Self, &Subnet)> {
        let entries = network.ipam.iter();
        let mut ranges = entries.filter_map(|entry| Some((Self::of_entry(entry)?, entry)));
        ranges.next()
    }

    /// With nothing reserved.
    fn bare(entry: &Subnet) -> Option<Self> {
        let subnet = ipv4(entry.subnet.as_ref()?)?;
        let from = entry.ip_range.as_ref().and_then(|range| ipv4(range));
        Some(Self {
            subnet,
            from: from.unwrap_or(subnet),
            reserved: BTreeSet::new(),
        })
    }

    fn of_entry(entry: &Subnet) -> Option<Self> {
        let mut range = Self::bare(entry)?;
        let gateway = entry.gateway.as_ref();
        let gateway = gateway.and_then(|gateway| gateway.parse().ok());
        let gateway = gateway.or_else(|| implied_gateway(entry));
        let fixed = entry.aux_addresses.values();
        let fixed = fixed.filter_map(|address| address.parse().ok());
        range.reserved = fixed.chain(gateway).collect();
        Some(range)
    }

    /// What may be handed out, from the lowest on.
    fn free(&self) -> impl Iterator<Item = Ipv4Addr> {
        let (first, last) = (
            u32::from(self.from.network()),
            u32::from(self.from.broadcast()),
        );
        let ends = self.subnet.prefix_len() < 31;
        let is_end = move |address: &Ipv4Addr| {
            ends && (*address == self.subnet.network() || *address == self.subnet.broadcast())
        };
        (first..=last)
            .map(Ipv4Addr::from)
            .filter(move |address| !is_end(address) && !self.reserved.contains(address))
    }
}

fn ipv4(text: &str) -> Option<Ipv4Net> {
    match text.parse::<IpNet>().ok()? {
        IpNet::V4(net) => Some(net),
        IpNet::V6(_) => None,
    }
}

/// The gateway of a network's IPv4 subnet where none is written: the lowest address that is handed out.
pub(super) fn implied_gateway(entry: &Subnet) -> Option<Ipv4Addr> {
    Range::bare(entry)?.free().next()
}

/// The members of a network.
pub(super) fn members<'a>(view: &View<'a>, key: &str) -> Vec<(&'a Service, &'a ServiceNetwork)> {
    let services = view.project.services.iter();
    services
        .flat_map(|service| service.networks.iter().map(move |member| (service, member)))
        .filter(|(_, member)| member.key == key)
        .collect()
}

fn fixed(member: &ServiceNetwork) -> Option<(Ipv4Addr, Place)> {
    let text = member.ipv4_address.as_ref()?;
    Some((text.parse().ok()?, text.at))
}

/// How many containers take an address from the pool.
fn unfixed(members: &[(&Service, &ServiceNetwork)]) -> usize {
    let members = members.iter();
    members
        .filter(|(_, member)| fixed(member).is_none())
        .map(|(service, _)| service.replicas as usize)
        .sum()
}

/// A fixed address that a container without one may get first.
pub(in crate::lint) fn static_in_dynamic(view: &View<'_>, out: &mut Vec<Draft>) {
    for network in &view.project.networks {
        let Some((range, _)) = Range::of(network) else {
            continue;
        };
        let members = members(view, &network.key);
        let count = unfixed(&members);
        if count == 0 {
            continue;
        }
        let taken: BTreeSet<Ipv4Addr> = members
            .iter()
            .filter_map(|(_, member)| Some(fixed(member)?.0))
            .collect();
        // While all fixed ones are down, those below the address are free as well.
        let reached: BTreeSet<Ipv4Addr> = range.free().take(count + taken.len()).collect();
        for (service, member) in &members {
            let Some((address, at)) = fixed(member) else {
                continue;
            };
            let below = taken
                .iter()
                .filter(|taken| reached.contains(taken) && **taken < address);
            let limit = count + below.count();
            let at_risk = reached
                .iter()
                .take(limit)
                .any(|reached| *reached == address);
            if !at_risk {
                continue;
            }
            let other = members.iter().find(|(_, member)| fixed(member).is_none());
            let other = other.map_or("another container", |(service, _)| service.name.as_str());
            let message = format!(
                "{address} of {} is among the lowest free addresses of {}: {other} gets it if it starts first",
                service.name, network.key
            );
            out.push(view.service(service, at, message).fix(
                "give the network an `ip_range` that leaves the address out, or take one far above the number of containers",
            ));
        }
    }
}

/// More containers than addresses, or more networks than the pools have.
pub(in crate::lint) fn exhausted(host: &Host<'_>, out: &mut Vec<Draft>) {
    for view in &host.views {
        for network in &view.project.networks {
            full_subnet(view, network, out);
        }
    }
    full_pools(host, out);
}

fn full_subnet(view: &View<'_>, network: &Network, out: &mut Vec<Draft>) {
    let Some((range, entry)) = Range::of(network) else {
        return;
    };
    let members = members(view, &network.key);
    let inside = members.iter().filter_map(|(_, member)| fixed(member));
    let inside = inside.filter(|(address, _)| range.from.contains(address));
    let wanted = unfixed(&members) + inside.count();
    let there = range.free().take(wanted).count();
    if wanted <= there {
        return;
    }
    let message = format!(
        "{} has {there} addresses for {wanted} containers: the last ones do not start",
        network.key
    );
    let at = entry.ip_range.as_ref().or(entry.subnet.as_ref());
    let at = at.map_or(entry.at, |text| text.at);
    out.push(
        view.network(network, at, message)
            .fix("take a shorter prefix; the network, the gateway and the broadcast address are no container's"),
    );
}

fn full_pools(host: &Host<'_>, out: &mut Vec<Draft>) {
    let explicit = made(host).filter_map(|(_, network)| Some(Range::of(network)?.0.subnet));
    let mut walk = Walk::new(host.machine, explicit);
    let mut given = 0;
    for (view, network) in made(host).filter(|(_, network)| from_pools(network)) {
        if walk.next().is_some() {
            given += 1;
            continue;
        }
        let message = format!(
            "the address pools have room for {given} networks beside docker0: {} is not made",
            network.key
        );
        out.push(view.network(network, network.at, message).fix(
            "give networks a small `subnet` each, or set `default-address-pools` in daemon.json",
        ));
        return;
    }
}

/// The networks that the projects of a host make, each once.
fn made<'a>(host: &'a Host<'_>) -> impl Iterator<Item = (&'a View<'a>, &'a Network)> {
    let mut seen = BTreeSet::new();
    let networks = host.views.iter().flat_map(|view| {
        let networks = view.project.networks.iter();
        networks.map(move |network| (view, network))
    });
    networks.filter(move |(_, network)| {
        network.used && !network.external && seen.insert(network.name.as_str())
    })
}

/// Whether the engine chooses the network's IPv4 subnet.
pub(super) fn from_pools(network: &Network) -> bool {
    let driver = network.driver.as_ref().map(|driver| driver.value.as_str());
    network.enable_ipv4 != Some(false)
        && matches!(
            driver,
            None | Some("bridge" | "default" | "macvlan" | "ipvlan")
        )
        && network.ipam.iter().all(|entry| {
            let subnet = entry.subnet.as_ref();
            subnet.is_none_or(|subnet| ipv4(subnet).is_none())
        })
}
