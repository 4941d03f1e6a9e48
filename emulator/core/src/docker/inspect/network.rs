//! `docker network inspect`.

use std::collections::BTreeMap;

use switch::Time;

use super::time::rfc3339;
use crate::docker::engine::Docker;
use crate::docker::error::Error;
use crate::docker::json::Value;
use crate::docker::network::{Network, is_user_defined};
use crate::docker::options::show_mac;
use crate::docker::spec::Engine;

/// A subnet as `inspect` shows it; empty texts are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubnetInspect {
    /// The subnet, as it was written.
    pub subnet: String,
    /// `--ip-range`.
    pub ip_range: String,
    /// The gateway, if it was stated or the subnet was chosen by Docker.
    pub gateway: String,
    /// Reserved addresses.
    pub aux_addresses: BTreeMap<String, String>,
}

/// The address management of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpamInspect {
    /// `default`.
    pub driver: String,
    /// `--ipam-opt`; `None` for the predefined networks.
    pub options: Option<BTreeMap<String, String>>,
    /// The subnets, IPv4 first.
    pub config: Vec<SubnetInspect>,
}

/// How full a subnet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetStatus {
    /// The subnet.
    pub subnet: String,
    /// Addresses in use: the network's own, broadcast, gateway and reserved ones counted in.
    pub in_use: u128,
    /// Addresses that a container can still be given by itself.
    pub available: u128,
}

/// A container on a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its endpoint's id.
    pub endpoint_id: String,
    /// Its MAC, empty without an interface.
    pub mac: String,
    /// Its IPv4 address with the subnet's length, empty if it has none.
    pub ipv4: String,
    /// The same for IPv6.
    pub ipv6: String,
}

/// A network as `docker network inspect` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkInspect {
    /// Which engine's answer it is.
    pub engine: Engine,
    /// The name.
    pub name: String,
    /// The id.
    pub id: String,
    /// When it was made.
    pub created: Time,
    /// `bridge`, `host`, `null`, `macvlan`, `ipvlan`.
    pub driver: String,
    /// It has IPv4.
    pub enable_ipv4: bool,
    /// It has IPv6.
    pub enable_ipv6: bool,
    /// Addresses.
    pub ipam: IpamInspect,
    /// No way in or out.
    pub internal: bool,
    /// `--attachable`.
    pub attachable: bool,
    /// The configuration network that it was made from; empty if none.
    pub config_from: String,
    /// It is a configuration network.
    pub config_only: bool,
    /// The containers that run, by id.
    pub containers: Vec<Member>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// How full its subnets are.
    pub status: Vec<SubnetStatus>,
}

impl Docker {
    /// A network as `docker network inspect` shows it.
    ///
    /// # Errors
    /// If there is no such network.
    pub fn network_inspect(&self, text: &str) -> Result<NetworkInspect, Error> {
        let network = self.network(text)?;
        let own = is_user_defined(network.name());
        let mut containers: Vec<Member> = network
            .endpoints
            .iter()
            .filter_map(|(endpoint, container)| self.member(*endpoint, *container))
            .collect();
        containers.sort_by(|a, b| a.id.cmp(&b.id));
        let driver = match network.spec.ipam_driver.as_str() {
            "" => "default",
            other => other,
        };
        Ok(NetworkInspect {
            engine: self.engine(),
            name: network.name().to_owned(),
            id: network.id.as_ref().to_owned(),
            created: network.created,
            driver: network.driver.name().to_owned(),
            enable_ipv4: network.ipv4,
            enable_ipv6: network.ipv6,
            ipam: IpamInspect {
                driver: driver.to_owned(),
                options: own.then(|| network.spec.ipam_options.clone()),
                config: self.subnets(network),
            },
            internal: network.internal,
            attachable: network.spec.attachable,
            config_from: network.spec.config_from.clone().unwrap_or_default(),
            config_only: network.spec.config_only,
            containers,
            options: network.spec.options.clone(),
            labels: network.spec.labels.clone(),
            status: self.subnet_status(network),
        })
    }

    fn member(&self, endpoint: u32, container: u32) -> Option<Member> {
        let container = self.containers.get(container)?;
        let endpoint = container.endpoint_by_key(endpoint)?;
        Some(Member {
            id: container.id.as_ref().to_owned(),
            name: container.name.clone(),
            endpoint_id: endpoint.id.to_string(),
            mac: endpoint.mac.map_or_else(String::new, show_mac),
            ipv4: endpoint.v4.map_or_else(String::new, |n| n.to_string()),
            ipv6: endpoint.v6.map_or_else(String::new, |n| n.to_string()),
        })
    }

    /// What was stated, as it was written; what Docker chose where nothing was.
    fn subnets(&self, network: &Network) -> Vec<SubnetInspect> {
        let mut out = Vec::new();
        for v6 in [false, true] {
            let stated: Vec<SubnetInspect> = network
                .spec
                .ipam
                .iter()
                .filter(|c| !c.subnet.is_empty() && c.subnet.contains(':') == v6)
                .filter(|_| network.leases_of(v6).all(|l| l.asked.is_some()))
                .map(|c| SubnetInspect {
                    subnet: c.subnet.clone(),
                    ip_range: c.ip_range.clone(),
                    gateway: c.gateway.clone(),
                    aux_addresses: c.aux_addresses.clone(),
                })
                .collect();
            if !stated.is_empty() {
                out.extend(stated);
                continue;
            }
            // 20.10 chooses docker0's subnet by another way, which leaves the gateway out.
            let bare = self.engine() == Engine::V20_10 && !is_user_defined(network.name());
            out.extend(network.leases_of(v6).map(|lease| {
                SubnetInspect {
                    subnet: lease.subnet.to_string(),
                    gateway: lease
                        .gateway
                        .filter(|_| !bare)
                        .map_or_else(String::new, |ip| ip.to_string()),
                    ..SubnetInspect::default()
                }
            }));
        }
        out
    }

    fn subnet_status(&self, network: &Network) -> Vec<SubnetStatus> {
        network
            .leases
            .iter()
            .map(|lease| {
                let (in_use, available) = self.ipam.status(lease.subnet, lease.range);
                SubnetStatus {
                    subnet: lease.subnet.to_string(),
                    in_use,
                    available,
                }
            })
            .collect()
    }
}

fn number(n: u128) -> Value {
    Value::Number(i64::try_from(n).unwrap_or(i64::MAX))
}

impl SubnetInspect {
    fn to_value(&self) -> Value {
        let mut fields = vec![("Subnet", Value::from(&self.subnet))];
        if !self.ip_range.is_empty() {
            fields.push(("IPRange", Value::from(&self.ip_range)));
        }
        if !self.gateway.is_empty() {
            fields.push(("Gateway", Value::from(&self.gateway)));
        }
        if !self.aux_addresses.is_empty() {
            fields.push(("AuxiliaryAddresses", Value::map(&self.aux_addresses)));
        }
        Value::object(fields)
    }
}

impl IpamInspect {
    fn to_value(&self, engine: Engine) -> Value {
        let config: Vec<Value> = self.config.iter().map(SubnetInspect::to_value).collect();
        let config = if config.is_empty() && engine == Engine::V29 {
            Value::Null
        } else {
            Value::Array(config)
        };
        Value::object([
            ("Driver", Value::from(&self.driver)),
            (
                "Options",
                self.options.as_ref().map_or(Value::Null, Value::map),
            ),
            ("Config", config),
        ])
    }
}

impl NetworkInspect {
    fn containers_value(&self) -> Value {
        Value::object(self.containers.iter().map(|m| {
            let fields = [
                ("Name", Value::from(&m.name)),
                ("EndpointID", Value::from(&m.endpoint_id)),
                ("MacAddress", Value::from(&m.mac)),
                ("IPv4Address", Value::from(&m.ipv4)),
                ("IPv6Address", Value::from(&m.ipv6)),
            ];
            (m.id.clone(), Value::object(fields))
        }))
    }

    fn status_value(&self) -> Value {
        let subnets = self.status.iter().map(|s| {
            let fields = [
                ("IPsInUse", number(s.in_use)),
                ("DynamicIPsAvailable", number(s.available)),
            ];
            (s.subnet.clone(), Value::object(fields))
        });
        let subnets = Value::object(subnets);
        Value::object([("IPAM", Value::object([("Subnets", subnets)]))])
    }

    /// In the engine's order.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let new = self.engine == Engine::V29;
        let mut fields = vec![
            ("Name", Value::from(&self.name)),
            ("Id", Value::from(&self.id)),
            ("Created", Value::from(rfc3339(self.created))),
            ("Scope", Value::from("local")),
            ("Driver", Value::from(&self.driver)),
        ];
        if new {
            fields.push(("EnableIPv4", Value::from(self.enable_ipv4)));
        }
        fields.extend([
            ("EnableIPv6", Value::from(self.enable_ipv6)),
            ("IPAM", self.ipam.to_value(self.engine)),
            ("Internal", Value::from(self.internal)),
            ("Attachable", Value::from(self.attachable)),
            ("Ingress", Value::from(false)),
            (
                "ConfigFrom",
                Value::object([("Network", Value::from(&self.config_from))]),
            ),
            ("ConfigOnly", Value::from(self.config_only)),
        ]);
        let options = ("Options", Value::map(&self.options));
        let labels = ("Labels", Value::map(&self.labels));
        let containers = ("Containers", self.containers_value());
        if new {
            fields.extend([options, labels, containers]);
            if !self.status.is_empty() {
                fields.push(("Status", self.status_value()));
            }
        } else {
            fields.extend([containers, options, labels]);
        }
        Value::object(fields)
    }
}
