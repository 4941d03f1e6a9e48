//! The bridge driver: from a network's options to a bridge and its rules.
//!
//! Models `libnetwork/drivers/bridge` (`parseNetworkOptions`, `CreateNetwork`, the conflict checks).

use core::net::IpAddr;

use ipnet::IpNet;

use super::engine::{Docker, World};
use super::error::{Error, Kind};
use super::ids;
use super::ipam::bits;
use super::network::{Base, Lease, Network};
use super::options::{self, BridgeOptions};
use super::plumb::{BridgePlan, GatewayMode, NetworkRules};
use super::spec::Engine;
use crate::id::IfId;

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, message)
}

fn forbidden(message: impl Into<String>) -> Error {
    Error::new(Kind::Forbidden, message)
}

impl Docker {
    pub(super) fn build_bridge(
        &mut self,
        world: &mut World<'_>,
        network: &mut Network,
    ) -> Result<(), Error> {
        let engine = self.config.engine;
        let options = BridgeOptions::parse(&network.spec.options, engine, network.internal)?;
        options::announce(&network.spec.options)?;
        check_subnets(network)?;
        check_default_gateways(network)?;
        let name = match &options.name {
            Some(name) => name.clone(),
            None => format!("br-{}", ids::short(&network.id)),
        };
        self.check_bridge_conflicts(network, &name)?;
        self.add_bridge(world, network, name, options);
        Ok(())
    }

    pub(super) fn add_bridge(
        &mut self,
        world: &mut World<'_>,
        network: &mut Network,
        name: String,
        mut options: BridgeOptions,
    ) {
        let routes = world.plumb.host_routes();
        let over = |lease: &Lease| {
            routes
                .iter()
                .any(|route| bits::overlap(route, &lease.subnet))
        };
        options.crowded = network.leases.iter().any(over);
        let mut mac = self.ids.mac(&["bridge:", network.name()]);
        if self.config.engine == Engine::V20_10 {
            (mac[0], mac[1]) = (0x02, 0x42);
        }
        network.mtu = options.mtu;
        let plan = BridgePlan {
            name: name.clone(),
            network: network.name().to_owned(),
            mac,
            mtu: options.mtu,
            addresses: bridge_addresses(network, &options),
            filtered: true,
        };
        let (id, iface) = world.plumb.bridge_add(&plan);
        let rules = self.rules(world, network, &options, iface);
        world.plumb.rules_set(network.key, &rules);
        self.trust(world, &name);
        network.base = Base::Bridge {
            id,
            iface,
            name,
            options: Box::new(options),
        };
    }

    /// The rules of networks that trust the interface of that name, which is there now.
    fn trust(&self, world: &mut World<'_>, name: &str) {
        for network in self.networks() {
            let Base::Bridge { iface, options, .. } = &network.base else {
                continue;
            };
            if options.trusted.iter().any(|trusted| trusted == name) {
                let rules = self.rules(world, network, options, *iface);
                world.plumb.rules_set(network.key, &rules);
            }
        }
    }

    fn rules(
        &self,
        world: &World<'_>,
        network: &Network,
        options: &BridgeOptions,
        bridge: IfId,
    ) -> NetworkRules {
        let trusted = options.trusted.iter();
        NetworkRules {
            engine: self.config.engine,
            bridge,
            subnet_v4: network.subnet_v4(),
            subnet_v6: network.subnet_v6(),
            icc: options.icc,
            internal: network.internal,
            gateway_mode_v4: options.mode_v4,
            gateway_mode_v6: options.mode_v6,
            masquerade: options.masquerade,
            host_ipv4: options.host_v4,
            host_ipv6: options.host_v6,
            userland_proxy: self.config.userland_proxy,
            allow_direct_routing: self.config.allow_direct_routing,
            trusted: trusted
                .filter_map(|name| world.plumb.host_iface(name))
                .filter(|&iface| iface != bridge)
                .collect(),
            crowded: options.crowded,
            filter_v6: self.config.ip6tables,
        }
    }

    fn check_bridge_conflicts(&self, network: &Network, name: &str) -> Result<(), Error> {
        for other in self.networks() {
            let Base::Bridge { name: theirs, .. } = &other.base else {
                continue;
            };
            let why = if theirs == name {
                "same bridge name"
            } else if overlapping(network, other, false) {
                "overlapping IPv4"
            } else if overlapping(network, other, true) {
                "overlapping IPv6"
            } else {
                continue;
            };
            return Err(forbidden(format!(
                "cannot create network {} ({name}): conflicts with network {} ({theirs}): networks have {why}",
                network.id, other.id
            )));
        }
        Ok(())
    }
}

fn check_subnets(network: &Network) -> Result<(), Error> {
    for v6 in [false, true] {
        if network.leases_of(v6).count() > 1 {
            return Err(forbidden("bridge driver doesn't support multiple subnets"));
        }
    }
    if let Some(net) = network.subnet_v6() {
        let link_local =
            ipnet::Ipv6Net::new_assert(core::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 64);
        let clash = bits::overlap(&IpNet::V6(net), &IpNet::V6(link_local));
        if clash && net != link_local {
            return Err(invalid(format!(
                "'{net}' clashes with the Link-Local prefix 'fe80::/64'"
            )));
        }
    }
    Ok(())
}

pub(super) fn check_default_gateways(network: &Network) -> Result<(), Error> {
    let magic = |lease: &Lease| {
        lease
            .aux
            .iter()
            .any(|(name, _)| name == "DefaultGatewayIPv4" || name == "DefaultGatewayIPv6")
    };
    if network.internal && network.leases.iter().any(magic) {
        return Err(forbidden(
            "no gateway can be set on an internal bridge network",
        ));
    }
    for lease in &network.leases {
        for (name, ip) in &lease.aux {
            let magic = name.starts_with("DefaultGatewayIPv");
            if magic && !lease.subnet.contains(ip) {
                return Err(invalid("default gateway ip must be part of the network"));
            }
        }
    }
    Ok(())
}

fn overlapping(a: &Network, b: &Network, v6: bool) -> bool {
    a.leases_of(v6).any(|mine| {
        b.leases_of(v6)
            .any(|their| bits::overlap(&mine.subnet, &their.subnet))
    })
}

fn bridge_addresses(network: &Network, options: &BridgeOptions) -> Vec<IpNet> {
    network
        .leases
        .iter()
        .filter_map(|lease| {
            let v6 = bits::is_v6(&lease.subnet);
            let mode = if v6 { options.mode_v6 } else { options.mode_v4 };
            let bare = mode == GatewayMode::Isolated || (!v6 && options.inhibit_v4);
            let gateway: IpAddr = lease.gateway.filter(|_| !bare)?;
            IpNet::new(gateway, lease.subnet.prefix_len()).ok()
        })
        .collect()
}
