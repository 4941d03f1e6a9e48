//! What a record says about who is where, for judging a difference.

use core::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde_json::Value;

use super::record::Record;
use super::replay::named;

/// A record, asked for facts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a>(pub(super) &'a Record);

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl<'a> Facts<'a> {
    fn container(self, name: &str) -> Option<&'a Value> {
        named(&self.0.json["containers"], name)
    }

    fn network(self, name: &str) -> &'a Value {
        named(&self.0.json["networks"], name).unwrap_or(&Value::Null)
    }

    /// It is a container.
    pub(super) fn is_container(self, name: &str) -> bool {
        self.container(name).is_some()
    }

    /// The networks on which a container has an address, each with that address.
    pub(super) fn networks_of(self, name: &str) -> Vec<(&'a str, Ipv4Addr)> {
        let networks = self.container(name).map(|found| &found["networks"]);
        networks
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(network, place)| {
                Some((network.as_str(), text(&place["ip"]).parse().ok()?))
            })
            .collect()
    }

    pub(super) fn is_internal(self, network: &str) -> bool {
        self.network(network)["internal"].as_bool() == Some(true)
    }

    /// A container on internal networks and on no other.
    pub(super) fn internal_only(self, name: &str) -> bool {
        let networks = self.networks_of(name);
        !networks.is_empty()
            && networks
                .iter()
                .all(|(network, _)| self.is_internal(network))
    }

    pub(super) fn option(self, network: &str, option: &str) -> &'a str {
        text(&self.network(network)["options"][option])
    }

    /// A network of the container does not masquerade.
    pub(super) fn is_bare(self, name: &str) -> bool {
        self.networks_of(name).iter().any(|(network, _)| {
            self.option(network, "com.docker.network.bridge.enable_ip_masquerade") == "false"
        })
    }

    fn subnets(self, network: &str) -> impl Iterator<Item = IpNet> {
        let configs = self.network(network)["ipam"].as_array();
        configs
            .into_iter()
            .flatten()
            .filter_map(|config| text(&config["Subnet"]).parse().ok())
    }

    /// An address is in a subnet of one of the container's networks.
    pub(super) fn on_link(self, name: &str, address: IpAddr) -> bool {
        self.networks_of(name).iter().any(|(network, _)| {
            self.subnets(network)
                .any(|subnet| subnet.contains(&address))
        })
    }

    /// The same for the networks that it would be on if it ran.
    pub(super) fn may_be_on_link(self, name: &str, address: IpAddr) -> bool {
        let networks = self.container(name).map(|found| &found["networks"]);
        networks
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .any(|(network, _)| {
                self.subnets(network)
                    .any(|subnet| subnet.contains(&address))
            })
    }

    /// `running`, `created`, …
    pub(super) fn state(self, name: &str) -> &'a str {
        self.container(name)
            .map_or("", |found| text(&found["state"]))
    }

    /// Two containers share a network.
    pub(super) fn share_a_network(self, one: &str, other: &str) -> bool {
        let others = self.networks_of(other);
        one == other
            || self
                .networks_of(one)
                .iter()
                .any(|(network, _)| others.iter().any(|(other, _)| other == network))
    }

    /// The first address of the subnets of a container's networks, where the bridge is.
    pub(super) fn gateways(self, name: &str) -> Vec<String> {
        let networks = self.container(name).map(|found| &found["networks"]);
        networks
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(_, place)| text(&place["gateway"]).to_owned())
            .collect()
    }

    /// A container's port (`80/tcp`) is published, at any address of the host.
    pub(super) fn is_published(self, name: &str, port: &str) -> bool {
        self.container(name)
            .and_then(|found| found["ports"][port].as_array())
            .is_some_and(|bindings| !bindings.is_empty())
    }

    pub(super) fn proxy_is_off(self) -> bool {
        Record::texts(&self.0.json["daemon_flags"])
            .iter()
            .any(|flag| flag == "--userland-proxy=false")
    }

    /// The host's file names a resolver on the host's loopback.
    pub(super) fn resolver_on_loopback(self) -> bool {
        text(&self.0.json["uplink"]["dns_upstream"])
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
    }

    /// A network of the container has a default gateway that is not the bridge.
    pub(super) fn gateway_is_another(self, name: &str) -> bool {
        self.networks_of(name).iter().any(|(network, _)| {
            let configs = self.network(network)["ipam"].as_array();
            configs.into_iter().flatten().any(|config| {
                !config["AuxiliaryAddresses"]["DefaultGatewayIPv4"].is_null()
                    || !config["AuxAddress"]["DefaultGatewayIPv4"].is_null()
            })
        })
    }

    /// The static address (network, container, address) that was refused because the network's subnet
    /// had not been stated.
    pub(super) fn refused_static(self) -> Option<(&'a str, &'a str, Ipv4Addr)> {
        let commands = self.0.json["post"].as_array()?;
        commands
            .iter()
            .filter(|command| {
                text(&command["stderr"]).contains(
                    "user specified IP address is supported only when connecting to networks with user configured subnets",
                )
            })
            .find_map(|command| {
                let words: Vec<&str> = text(&command["cmd"]).split_whitespace().collect();
                match *words {
                    ["docker", "network", "connect", "--ip", ip, network, container] => {
                        Some((network, container, ip.parse().ok()?))
                    }
                    _ => None,
                }
            })
    }
}
