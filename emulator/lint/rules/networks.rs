//! `unused-network`, `links` and `half-ipv6`: what is said of networks and has no effect, or half of it.

use emulator_compose::{Network, NetworkMode};
use ipnet::IpNet;

use crate::lint::finding::Level;
use crate::lint::view::{Draft, View};

/// A network that no service is on. With services left out by their profiles nobody can tell.
pub(in crate::lint) fn unused(view: &View<'_>, out: &mut Vec<Draft>) {
    if !view.project.inactive.is_empty() {
        return;
    }
    let networks = view.project.networks.iter();
    // The default network may be configured for services that come with other files.
    for network in networks.filter(|network| !network.used && network.key != "default") {
        let message = format!("no service is on {}: it is not made", network.key);
        out.push(
            view.network(network, network.at, message)
                .fix("take it away, or put the services on it that were meant to be"),
        );
    }
}

/// Links between services of networks with names.
pub(in crate::lint) fn links(view: &View<'_>, out: &mut Vec<Draft>) {
    for service in &view.project.services {
        if service.network_mode != NetworkMode::Networks {
            continue;
        }
        let Some(first) = service.links.first() else {
            continue;
        };
        let renamed = service.links.iter().find(|link| link.alias != link.target);
        let fix = match renamed {
            Some(link) => format!(
                "use the service's name, or give {} the alias {} on the network; write `depends_on` for the order",
                link.target, link.alias
            ),
            None => "take `links` away: services of a network know each other by name; write `depends_on` for the order".to_owned(),
        };
        let message = format!(
            "{} has `links`, which join no network and give no name that is not there already",
            service.name
        );
        let message = match renamed {
            Some(link) => format!(
                "{} has `links`, which join no network: {} is a name for it alone",
                service.name, link.alias
            ),
            None => message,
        };
        out.push(view.service(service, first.at, message).fix(fix));
    }
}

fn has_ipv6_subnet(network: &Network) -> bool {
    let subnets = network
        .ipam
        .iter()
        .filter_map(|entry| entry.subnet.as_ref());
    subnets
        .filter_map(|subnet| subnet.parse().ok())
        .any(|subnet: IpNet| matches!(subnet, IpNet::V6(_)))
}

/// IPv6 subnets and addresses on networks without IPv6.
pub(in crate::lint) fn half_ipv6(view: &View<'_>, out: &mut Vec<Draft>) {
    for network in &view.project.networks {
        let off = network.enable_ipv6 != Some(true) && !network.external;
        let subnets = network
            .ipam
            .iter()
            .filter_map(|entry| entry.subnet.as_ref());
        let subnet = subnets
            .filter(|subnet| matches!(subnet.parse(), Ok(IpNet::V6(_))))
            .find(|_| off);
        if let Some(subnet) = subnet {
            let message = format!(
                "{} has the subnet {} and no IPv6: without `enable_ipv6` it is ignored",
                network.key, subnet.value
            );
            out.push(
                view.network(network, subnet.at, message)
                    .fix("write `enable_ipv6: true`, or take the subnet away"),
            );
        }
    }
    for service in &view.project.services {
        for member in &service.networks {
            let (Some(address), Some(network)) =
                (&member.ipv6_address, view.project.network(&member.key))
            else {
                continue;
            };
            if network.external {
                continue;
            }
            if network.enable_ipv6 != Some(true) {
                let message = format!(
                    "{} has the address {} on {}, which has no IPv6",
                    service.name, address.value, network.key
                );
                let fix = match has_ipv6_subnet(network) {
                    true => "write `enable_ipv6: true` at the network",
                    false => "write `enable_ipv6: true` and an IPv6 `subnet` at the network",
                };
                out.push(
                    view.service(service, address.at, message)
                        .level(Level::Error)
                        .fix(fix),
                );
            }
        }
    }
}
