//! `address-refused`: a fixed address that the network never gives: outside of its subnets, its own, or
//! somebody else's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use emulator_compose::{At, Network, Place, Service, Subnet};
use ipnet::IpNet;

use super::addresses::{implied_gateway, members};
use crate::lint::finding::Level;
use crate::lint::view::{Draft, View, together};

/// Options with which a bridge may have no gateway.
const MAY_LACK: [&str; 3] = [
    "com.docker.network.bridge.gateway_mode_ipv4",
    "com.docker.network.bridge.gateway_mode_ipv6",
    "com.docker.network.bridge.inhibit_ipv4",
];

/// A service's fixed address on a network.
struct Fixed<'a> {
    service: &'a Service,
    address: IpAddr,
    at: Place,
}

pub(in crate::lint) fn check(view: &View<'_>, out: &mut Vec<Draft>) {
    let networks = view.project.networks.iter();
    for network in networks.filter(|network| gives_addresses(network)) {
        let mut taken: BTreeMap<IpAddr, Vec<Fixed<'_>>> = BTreeMap::new();
        for fixed in fixed(view, network) {
            let found = unfit(view, network, &fixed)
                .or_else(|| reserved(view, network, &fixed))
                .or_else(|| twice(view, &fixed, taken.get(&fixed.address)));
            out.extend(found);
            taken.entry(fixed.address).or_default().push(fixed);
        }
    }
}

/// Whether the network is made here, by a driver that gives addresses out as the bridge does.
fn gives_addresses(network: &Network) -> bool {
    let driver = network.driver.as_ref().map(|driver| driver.value.as_str());
    let ipam = network.ipam_driver.as_ref();
    let drivers = [
        None,
        Some(""),
        Some("default"),
        Some("bridge"),
        Some("macvlan"),
        Some("ipvlan"),
    ];
    !network.external
        && drivers.contains(&driver)
        && ipam.is_none_or(|ipam| ipam.value == "default")
}

/// The fixed addresses of a network's members, of the families that it has.
fn fixed<'a>(view: &View<'a>, network: &'a Network) -> Vec<Fixed<'a>> {
    let has_v6 = network.enable_ipv6 == Some(true);
    let mut all = Vec::new();
    for (service, member) in members(view, &network.key) {
        let v6 = member.ipv6_address.as_ref().filter(|_| has_v6);
        for text in [member.ipv4_address.as_ref(), v6].into_iter().flatten() {
            if let Ok(address) = text.parse() {
                let at = text.at;
                all.push(Fixed {
                    service,
                    address,
                    at,
                });
            }
        }
    }
    all
}

/// A subnet that is stated: `0.0.0.0/24` asks for one of that size out of the pools.
fn net(text: &At<String>) -> Option<IpNet> {
    let net: IpNet = text.parse().ok()?;
    (!net.addr().is_unspecified()).then_some(net)
}

/// The entry of `ipam.config` whose subnet has the address.
fn entry_of(network: &Network, address: IpAddr) -> Option<&Subnet> {
    let mut entries = network.ipam.iter();
    entries.find(|entry| {
        let subnet = entry.subnet.as_ref().and_then(net);
        subnet.is_some_and(|subnet| subnet.contains(&address))
    })
}

/// The address is in none of the subnets, or nobody knows what subnet there will be.
fn unfit(view: &View<'_>, network: &Network, fixed: &Fixed<'_>) -> Option<Draft> {
    let Fixed {
        service,
        address,
        at,
    } = *fixed;
    if entry_of(network, address).is_some() {
        return None;
    }
    let subnets: Vec<String> = network
        .ipam
        .iter()
        .filter_map(|entry| net(entry.subnet.as_ref()?))
        .filter(|subnet| subnet.addr().is_ipv6() == address.is_ipv6())
        .map(|subnet| subnet.to_string())
        .collect();
    let (name, key) = (&service.name, &network.key);
    if subnets.is_empty() {
        let message = format!(
            "{name} wants {address} on {key}, whose subnet the engine chooses: whether the address is in it depends on what else is on the host"
        );
        let draft = view.service(service, at, message).level(Level::Warning);
        return Some(draft.fix("give the network a `subnet` that contains the address"));
    }
    let message = format!(
        "{name} does not start: no subnet of {key} ({}) contains {address}",
        subnets.join(", ")
    );
    Some(
        view.service(service, at, message)
            .fix("take an address of the subnet, or the subnet of the address"),
    )
}

/// The address is the network's own.
fn reserved(view: &View<'_>, network: &Network, fixed: &Fixed<'_>) -> Option<Draft> {
    let entry = entry_of(network, fixed.address)?;
    let subnet = net(entry.subnet.as_ref()?)?.trunc();
    let is = |text: &At<String>| text.parse() == Ok(fixed.address);
    let has_ends = subnet.max_prefix_len() - subnet.prefix_len() > 1;
    let aux = entry.aux_addresses.iter().find(|(_, text)| is(text));
    let whose = if entry.gateway.as_ref().is_some_and(is)
        || unwritten_gateway(network, entry) == Some(fixed.address)
    {
        "the gateway's".to_owned()
    } else if let Some((name, _)) = aux {
        format!("reserved as {name} by `aux_addresses`")
    } else if has_ends && subnet.network() == fixed.address {
        "that of the subnet itself".to_owned()
    } else if has_ends && fixed.address.is_ipv4() && subnet.broadcast() == fixed.address {
        "the broadcast address".to_owned()
    } else {
        return None;
    };
    let Fixed {
        service,
        address,
        at,
    } = *fixed;
    let message = format!(
        "{} does not start: {address} is {whose} on {}, so it is already in use",
        service.name, network.key
    );
    Some(
        view.service(service, at, message)
            .fix("take another address of the subnet"),
    )
}

/// The gateway's address where none is written, if it is sure that there is one.
fn unwritten_gateway(network: &Network, entry: &Subnet) -> Option<IpAddr> {
    let driver = network.driver.as_ref().map(|driver| driver.value.as_str());
    let is_bridge = matches!(driver, None | Some("" | "default" | "bridge"));
    let may_lack = MAY_LACK
        .iter()
        .any(|key| network.driver_opts.contains_key(*key));
    if !is_bridge || entry.gateway.is_some() || may_lack {
        return None;
    }
    match net(entry.subnet.as_ref()?)?.trunc() {
        IpNet::V4(_) => implied_gateway(entry).map(IpAddr::V4),
        IpNet::V6(_) if entry.ip_range.is_some() => None,
        IpNet::V6(subnet) => subnet.hosts().nth(1).map(IpAddr::V6),
    }
}

/// The address is another container's as well.
fn twice(view: &View<'_>, fixed: &Fixed<'_>, others: Option<&Vec<Fixed<'_>>>) -> Option<Draft> {
    let Fixed {
        service,
        address,
        at,
    } = *fixed;
    let other = others
        .into_iter()
        .flatten()
        .find(|other| together(other.service, service));
    if let Some(other) = other {
        let message = format!(
            "{} and {} both want {address}: the second one does not start, the address is already in use",
            other.service.name, service.name
        );
        let draft = view.service(service, at, message);
        return Some(
            draft
                .and(view, other.at, "wants it too")
                .fix("take another address for one of them"),
        );
    }
    if service.replicas < 2 {
        return None;
    }
    let message = format!(
        "{} has {} containers and one address, {address}: only one of them starts",
        service.name, service.replicas
    );
    Some(
        view.service(service, at, message)
            .fix("take the fixed address away, or one container"),
    )
}
