//! `pool-overlap`: subnets that overlap each other, docker0, what the engine gives out by itself, or a
//! route of the host such as a VPN's.

use std::collections::BTreeSet;

use emulator_compose::{HostRoute, Network, Place};
use ipnet::{IpNet, Ipv4Net};

use super::addresses::from_pools;
use crate::lint::finding::Level;
use crate::lint::pools::{Walk, bridge, overlap, routes};
use crate::lint::view::{Draft, Host, View};

/// How many networks without a subnet a host may well have.
const EARLY: usize = 16;

/// A subnet that is written in a file.
struct Stated<'a> {
    view: &'a View<'a>,
    network: &'a Network,
    subnet: Ipv4Net,
    at: Place,
}

pub(in crate::lint) fn check(host: &Host<'_>, out: &mut Vec<Draft>) {
    let stated = stated(host);
    for (index, second) in stated.iter().enumerate() {
        let others = stated[..index].iter();
        let mut others = others.filter(|first| first.network.name != second.network.name);
        if let Some(first) = others.find(|first| overlap(first.subnet, second.subnet)) {
            out.push(both(first, second));
            continue;
        }
        alone(host, second, out);
    }
    chosen(host, &stated, out);
}

fn stated<'a>(host: &'a Host<'_>) -> Vec<Stated<'a>> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for view in &host.views {
        let networks = view.project.networks.iter();
        for network in
            networks.filter(|network| !network.external && network.used && !is_parents(network))
        {
            if !seen.insert(&network.name) {
                continue;
            }
            for text in network
                .ipam
                .iter()
                .filter_map(|entry| entry.subnet.as_ref())
            {
                if let Ok(IpNet::V4(subnet)) = text.parse::<IpNet>()
                    // `0.0.0.0/24` asks for one out of the pools.
                    && !subnet.network().is_unspecified()
                {
                    out.push(Stated {
                        view,
                        network,
                        subnet,
                        at: text.at,
                    });
                }
            }
        }
    }
    out
}

/// ` by tun0`, if the interface is known.
fn by(route: &HostRoute) -> String {
    let interface = route.interface.as_ref();
    interface.map_or_else(String::new, |name| format!(" by {name}"))
}

/// A macvlan's or ipvlan's subnet is that of the interface it sits on.
fn is_parents(network: &Network) -> bool {
    let driver = network.driver.as_ref().map(|driver| driver.value.as_str());
    matches!(driver, Some("macvlan" | "ipvlan"))
}

fn both(first: &Stated<'_>, second: &Stated<'_>) -> Draft {
    let message = format!(
        "{} of {} overlaps {} of {}: the second one is not made",
        second.subnet, second.network.key, first.subnet, first.network.key
    );
    second
        .view
        .network(second.network, second.at, message)
        .and(first.view, first.at, "overlaps this")
        .fix("take prefixes that have no address in common")
}

/// One subnet against what is on the host.
fn alone(host: &Host<'_>, stated: &Stated<'_>, out: &mut Vec<Draft>) {
    let machine = host.machine;
    let (key, subnet) = (&stated.network.key, stated.subnet);
    let draft = |message: String| stated.view.network(stated.network, stated.at, message);
    if let Some(bridge) = bridge(machine).filter(|bridge| overlap(*bridge, subnet)) {
        let message = format!("{subnet} of {key} overlaps docker0's {bridge}: it is not made");
        out.push(
            draft(message).fix("take a prefix outside the engine's pools, such as 10.89.0.0/24"),
        );
        return;
    }
    if let Some((route, to)) = routes(machine).find(|(_, to)| overlap(*to, subnet)) {
        let message = format!(
            "{subnet} of {key} overlaps the host's route {to}{}: what is behind it is cut off while the network is there",
            by(route)
        );
        out.push(
            draft(message)
                .level(Level::Warning)
                .fix("take a prefix that the host has no route for"),
        );
        return;
    }
    let mut walk = Walk::new(machine, []);
    let mut early = core::iter::from_fn(|| walk.next()).take(EARLY);
    if early.any(|given| overlap(given, subnet)) {
        let message = format!(
            "{subnet} of {key} is among the first that networks without a subnet get: it is not made while one of them has it"
        );
        out.push(draft(message).level(Level::Note).fix(
            "take a prefix outside the pools, such as 10.89.0.0/24, or let the engine choose",
        ));
    }
}

/// A subnet that the engine will choose, against routes that it does not look at.
fn chosen(host: &Host<'_>, stated: &[Stated<'_>], out: &mut Vec<Draft>) {
    let machine = host.machine;
    if machine.routes.is_empty() {
        return;
    }
    let mut walk = Walk::new(machine, stated.iter().map(|stated| stated.subnet));
    let mut seen = BTreeSet::new();
    for view in &host.views {
        let networks = view.project.networks.iter();
        let networks = networks.filter(|network| network.used && !network.external);
        for network in networks.filter(|network| from_pools(network)) {
            if !seen.insert(&network.name) {
                continue;
            }
            let Some(subnet) = walk.next() else { return };
            let Some((route, to)) = routes(machine).find(|(_, to)| overlap(*to, subnet)) else {
                continue;
            };
            let message = format!(
                "{} gets {subnet}, which overlaps the host's route {to}{}",
                network.key,
                by(route)
            );
            out.push(view.network(network, network.at, message).level(Level::Warning).fix(
                "give it a `subnet` that the host has no route for, or set `default-address-pools` in daemon.json",
            ));
        }
    }
}
