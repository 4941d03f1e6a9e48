//! The machine of a `--host FILE` as a world has it: the daemon's settings, and the uplink with its addresses,
//! its router and its MTU.

use core::net::IpAddr;

use emulator_compose::{HostInterface, MachineFile, is_engines};
use emulator_core::docker::DaemonConfig;
use emulator_core::docker::ipam::AddressPool;
use emulator_core::lab::outside::{Outside, Uplink};
use ipnet::IpNet;

use crate::world::Options;

/// The name of the loopback interface, whose further addresses are the host's too.
const LOOPBACK: &str = "lo";

impl Options {
    /// Takes over what the file of a machine says of its daemon, its uplink and the networks that it is on.
    pub fn machine(&mut self, file: &MachineFile) {
        daemon(&mut self.daemon, file);
        let kept = file.daemon.ip_forward_no_drop == Some(true);
        self.daemon.forward_drop = file.forward_drop.unwrap_or(!kept);
        let uplink = uplink(file);
        if let Some(resolver) = uplink.router().first() {
            self.daemon.resolv_conf = format!("nameserver {resolver}\n");
        }
        self.outside = Outside::Uplink(Box::new(uplink));
    }
}

fn daemon(daemon: &mut DaemonConfig, file: &MachineFile) {
    let said = &file.daemon;
    let v4 = |net: IpNet| match net {
        IpNet::V4(net) => Some(net),
        IpNet::V6(_) => None,
    };
    let v6 = |net: IpNet| match net {
        IpNet::V6(net) => Some(net),
        IpNet::V4(_) => None,
    };
    let pools = said.default_address_pools.iter();
    daemon.default_address_pools = pools
        .map(|pool| AddressPool {
            base: pool.base,
            size: pool.size,
        })
        .collect();
    daemon.bip = said.bip.and_then(v4);
    daemon.bip6 = said.bip6.and_then(v6);
    daemon.fixed_cidr = said.fixed_cidr.and_then(v4);
    daemon.fixed_cidr_v6 = said.fixed_cidr_v6.and_then(v6);
    daemon.default_gateways.clone_from(&said.default_gateways);
    daemon.host_gateway_ips.clone_from(&said.host_gateway_ips);
    daemon.dns = said.dns.iter().map(ToString::to_string).collect();
    daemon.dns_search.clone_from(&said.dns_search);
    daemon.dns_options.clone_from(&said.dns_opts);
    daemon.ip = said.ip;
    let set = |to: &mut bool, said: Option<bool>| *to = said.unwrap_or(*to);
    set(&mut daemon.icc, said.icc);
    set(&mut daemon.ip_masq, said.ip_masq);
    set(&mut daemon.ip6tables, said.ip6tables);
    set(&mut daemon.ipv6, said.ipv6);
    set(&mut daemon.userland_proxy, said.userland_proxy);
    set(&mut daemon.allow_direct_routing, said.allow_direct_routing);
    daemon.mtu = said.mtu.unwrap_or(daemon.mtu);
    let options = said.default_network_opts.iter();
    daemon.default_network_options = options
        .map(|(driver, options)| (driver.clone(), options.clone().into_iter().collect()))
        .collect();
    let own = |interface: Option<&String>| !interface.is_some_and(|name| is_engines(name));
    let on_link = file.routes.iter().filter(|route| route.gateway.is_none());
    let routed = on_link.filter(|route| own(route.interface.as_ref()));
    daemon.host_networks = routed.filter_map(|route| route.destination).collect();
}

/// The uplink: what the file says of it, else that of every lab.
fn uplink(file: &MachineFile) -> Uplink {
    let mut uplink = Uplink::default();
    let name = file.uplink();
    // A bridge of the engine's leads nowhere by itself.
    let own = name.filter(|name| *name != LOOPBACK && !is_engines(name));
    if let Some(name) = own {
        uplink.name = name.to_owned();
    }
    uplink.mtu = file.uplink_mtu().unwrap_or(uplink.mtu);
    let addresses = own.map_or_else(Vec::new, |name| addresses(file, name));
    if !addresses.is_empty() {
        uplink.addresses = addresses;
        (uplink.gateways, uplink.leads_out) = gateways(file, &uplink.name);
    }
    let mut others: Vec<(String, Vec<IpNet>)> = Vec::new();
    for other in &file.interfaces {
        let name = if other.name == LOOPBACK {
            "dummy0"
        } else {
            other.name.as_str()
        };
        if name != uplink.name && !is_engines(name) && other.global().next().is_some() {
            match others.iter_mut().find(|(known, _)| known == name) {
                Some((_, own)) => own.extend(other.global()),
                None => others.push((name.to_owned(), other.global().collect())),
            }
        }
    }
    uplink.others = others;
    uplink
}

/// The addresses of an interface: those that are listed, else the sources of its own routes.
fn addresses(file: &MachineFile, name: &str) -> Vec<IpNet> {
    let listed = file.interfaces.iter().filter(|own| own.name == name);
    let listed: Vec<IpNet> = listed.flat_map(HostInterface::global).collect();
    if !listed.is_empty() {
        return listed;
    }
    let routes = file.routes.iter();
    let own = routes.filter(|route| route.interface.as_deref() == Some(name));
    let sources = own.filter_map(|route| {
        let destination = route.destination.filter(|_| route.gateway.is_none())?;
        IpNet::new(route.source?, destination.prefix_len()).ok()
    });
    sources.collect()
}

/// The next hops of the default routes by an interface, and in which families there is a default route. Of a
/// family without any route nothing is known: `ip -j route` says nothing of IPv6.
fn gateways(file: &MachineFile, name: &str) -> (Vec<IpAddr>, [bool; 2]) {
    let mut gateways = Vec::new();
    let leads_out = [false, true].map(|v6| {
        let of_family = file.routes.iter().filter(|route| route.is_ipv6() == v6);
        let by = |own: &str| own == name;
        let defaults = of_family.clone().filter(|route| {
            route.destination.is_none() && route.interface.as_deref().is_none_or(by)
        });
        let best = defaults.min_by_key(|route| route.metric);
        gateways.extend(best.and_then(|route| route.gateway));
        best.is_some() || of_family.count() == 0
    });
    (gateways, leads_out)
}
