//! `docker inspect` of a container.

use std::collections::BTreeMap;

use switch::Time;

use super::time::rfc3339;
use crate::docker::container::{Container, Mode, Place, State};
use crate::docker::engine::Docker;
use crate::docker::error::Error;
use crate::docker::ids;
use crate::docker::json::Value;
use crate::docker::network::is_user_defined;
use crate::docker::options::show_mac;
use crate::docker::spec::{ContainerSpec, Engine, HostPort, PortBinding};

/// Container ports with the host addresses and ports behind which they are; `None` is declared only.
pub type PortMap = BTreeMap<String, Option<Vec<(String, String)>>>;

/// A container's place in a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointInspect {
    /// `--ip`, `--ip6` and link-local addresses; `None` if the client sent nothing.
    pub ipam_config: Option<(String, String, Vec<String>)>,
    /// `--link`.
    pub links: Vec<String>,
    /// `--alias`; in Docker 20.10 also the short id and the hostname.
    pub aliases: Vec<String>,
    /// `--driver-opt`; `None` if the client sent nothing.
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// `--gw-priority`.
    pub gw_priority: i64,
    /// The network's id.
    pub network_id: String,
    /// The endpoint's id. This and what follows is empty or 0 while the container does not run.
    pub endpoint_id: String,
    /// The way out for IPv4.
    pub gateway: String,
    /// The IPv4 address.
    pub ip_address: String,
    /// The MAC.
    pub mac_address: String,
    /// The IPv4 subnet's length.
    pub ip_prefix_len: u8,
    /// The way out for IPv6.
    pub ipv6_gateway: String,
    /// The IPv6 address.
    pub global_ipv6_address: String,
    /// The IPv6 subnet's length.
    pub global_ipv6_prefix_len: u8,
    /// The names in the embedded DNS.
    pub dns_names: Vec<String>,
}

/// `NetworkSettings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSettings {
    /// The sandbox's id, empty while the container does not run.
    pub sandbox_id: String,
    /// Its path.
    pub sandbox_key: String,
    /// Ports as they were allocated.
    pub ports: PortMap,
    /// Networks by name.
    pub networks: BTreeMap<String, EndpointInspect>,
}

/// A container as `docker inspect` shows it, as far as its network goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerInspect {
    /// Which engine's answer it is.
    pub engine: Engine,
    /// The id.
    pub id: String,
    /// When it was made.
    pub created: Time,
    /// The name, with the slash.
    pub name: String,
    /// Where it is in its life.
    pub state: State,
    /// Its exit code.
    pub exit_code: i32,
    /// Why its last start failed.
    pub error: String,
    /// When it was started last.
    pub started: Option<Time>,
    /// When it ended last.
    pub finished: Option<Time>,
    /// The hostname.
    pub hostname: String,
    /// The domain name.
    pub domainname: String,
    /// `HostConfig.NetworkMode`.
    pub network_mode: String,
    /// `HostConfig.Links`: `/child:/parent/alias`.
    pub links: Vec<String>,
    /// `HostConfig.PortBindings`.
    pub port_bindings: PortMap,
    /// `Config.ExposedPorts`.
    pub exposed_ports: Vec<String>,
    /// What it was asked to be.
    pub spec: ContainerSpec,
    /// Its network.
    pub network_settings: NetworkSettings,
}

impl Docker {
    /// A container as `docker inspect` shows it.
    ///
    /// # Errors
    /// If there is no such container.
    pub fn inspect(&self, text: &str) -> Result<ContainerInspect, Error> {
        let c = self.container(text)?;
        let links = c.links.iter().filter_map(|link| {
            let child = self.containers.get(link.child)?;
            Some(format!("/{}:/{}/{}", child.name, c.name, link.alias))
        });
        let mut exposed: Vec<String> = c.exposed().iter().map(ToString::to_string).collect();
        exposed.sort();
        Ok(ContainerInspect {
            engine: self.engine(),
            id: c.id.as_ref().to_owned(),
            created: c.created,
            name: format!("/{}", c.name),
            state: c.state,
            exit_code: c.exit_code(),
            error: c.error.clone(),
            started: c.started,
            finished: c.finished,
            hostname: c.hostname.clone(),
            domainname: c.domainname.clone(),
            network_mode: self.network_mode(c),
            links: links.collect(),
            port_bindings: asked_ports(&c.spec.ports),
            exposed_ports: exposed,
            spec: ContainerSpec::clone(&c.spec),
            network_settings: self.network_settings(c),
        })
    }

    /// A joined container shows the id of the one that it joined.
    fn network_mode(&self, c: &Container) -> String {
        match &c.mode {
            Mode::Container(name) => match self.container(name) {
                Ok(other) => format!("container:{}", other.id),
                Err(_) => c.mode.text(),
            },
            mode => mode.text(),
        }
    }

    fn network_settings(&self, c: &Container) -> NetworkSettings {
        let sandbox_id = c
            .sandbox
            .as_ref()
            .map_or_else(String::new, |s| s.id.to_string());
        let run = match self.engine() {
            Engine::V20_10 => "/run",
            Engine::V29 => "/var/run",
        };
        let key = match (sandbox_id.as_str(), &c.mode) {
            ("", _) => String::new(),
            (_, Mode::Host) => format!("{run}/docker/netns/default"),
            (id, _) => format!("{run}/docker/netns/{}", ids::short(id)),
        };
        NetworkSettings {
            sandbox_id: sandbox_id.to_owned(),
            sandbox_key: key,
            ports: self.port_map(c),
            networks: c
                .networks
                .iter()
                .map(|(name, place)| (name.clone(), self.endpoint_inspect(c, name, place)))
                .collect(),
        }
    }

    /// The ports of a container as they were allocated; what is declared only is there too as soon as
    /// an endpoint publishes.
    #[must_use]
    pub fn port_map(&self, c: &Container) -> PortMap {
        let mut map = PortMap::new();
        let mut publishes = false;
        for groups in c.endpoints().filter_map(|e| e.published.as_ref()) {
            publishes = true;
            for group in groups {
                for p in group.published() {
                    let port = if p.host_port == 0 {
                        String::new()
                    } else {
                        p.host_port.to_string()
                    };
                    map.entry(p.port.to_string())
                        .or_default()
                        .get_or_insert_default()
                        .push((p.host_ip.to_string(), port));
                }
            }
        }
        if publishes {
            for port in c.exposed() {
                map.entry(port.to_string()).or_default();
            }
        }
        map
    }

    fn endpoint_inspect(&self, c: &Container, name: &str, place: &Place) -> EndpointInspect {
        let spec = &place.spec;
        let given =
            !(spec.ipv4.is_empty() && spec.ipv6.is_empty() && spec.link_local_ips.is_empty());
        let endpoint = place.endpoint.as_ref();
        let text = |v: Option<String>| v.unwrap_or_default();
        let way = |way: Option<crate::docker::network::Way>| {
            text(way.and_then(|w| w.address()).map(|ip| ip.to_string()))
        };
        let v4 = endpoint.and_then(|e| e.v4);
        let v6 = endpoint.and_then(|e| e.v6);
        let user = is_user_defined(name);
        EndpointInspect {
            ipam_config: (given || place.by_connect).then(|| {
                (
                    spec.ipv4.clone(),
                    spec.ipv6.clone(),
                    spec.link_local_ips.clone(),
                )
            }),
            links: spec.links.clone(),
            aliases: self.shown_aliases(c, name, place),
            driver_opts: (place.by_connect || !spec.driver_opts.is_empty())
                .then(|| spec.driver_opts.clone()),
            gw_priority: spec.gw_priority,
            network_id: place.network_id.as_ref().to_owned(),
            endpoint_id: text(endpoint.map(|e| e.id.to_string())),
            gateway: way(endpoint.and_then(|e| e.way_v4)),
            ip_address: text(v4.map(|n| n.addr().to_string())),
            mac_address: match endpoint.and_then(|e| e.mac) {
                Some(mac) => show_mac(mac),
                None => String::new(),
            },
            ip_prefix_len: v4.map_or(0, |n| n.prefix_len()),
            ipv6_gateway: way(endpoint.and_then(|e| e.way_v6)),
            global_ipv6_address: text(v6.map(|n| n.addr().to_string())),
            global_ipv6_prefix_len: v6.map_or(0, |n| n.prefix_len()),
            dns_names: if user && endpoint.is_some() {
                self.dns_names(c, name)
            } else {
                Vec::new()
            },
        }
    }

    /// 20.10 writes the short id and the hostname among the aliases as soon as it tries to connect.
    fn shown_aliases(&self, c: &Container, name: &str, place: &Place) -> Vec<String> {
        let mut aliases = place.spec.aliases.clone();
        let tried = place.by_connect || c.started.is_some() || !c.error.is_empty();
        if self.engine() == Engine::V20_10 && is_user_defined(name) && tried {
            for own in [ids::short(&c.id), &c.hostname] {
                if !own.is_empty() && !aliases.iter().any(|a| a == own) {
                    aliases.push(own.to_owned());
                }
            }
        }
        aliases
    }
}

fn asked_ports(bindings: &[PortBinding]) -> PortMap {
    let mut map = PortMap::new();
    for binding in bindings {
        let ip = binding
            .host_ip
            .map_or_else(String::new, |ip| ip.to_string());
        let port = match binding.host_port {
            HostPort::Ephemeral => String::new(),
            HostPort::Exact(port) => port.to_string(),
            HostPort::Range(from, to) => format!("{from}-{to}"),
        };
        map.entry(binding.port.to_string())
            .or_default()
            .get_or_insert_default()
            .push((ip, port));
    }
    map
}

fn ports_value(ports: &PortMap) -> Value {
    Value::object(ports.iter().map(|(port, hosts)| {
        let hosts = hosts.as_ref().map_or(Value::Null, |hosts| {
            Value::Array(
                hosts
                    .iter()
                    .map(|(ip, port)| {
                        Value::object([
                            ("HostIp", Value::from(ip)),
                            ("HostPort", Value::from(port)),
                        ])
                    })
                    .collect(),
            )
        });
        (port.clone(), hosts)
    }))
}

impl EndpointInspect {
    fn ipam_value(&self) -> Value {
        let Some((v4, v6, local)) = &self.ipam_config else {
            return Value::Null;
        };
        let mut fields = Vec::new();
        if !v4.is_empty() {
            fields.push(("IPv4Address", Value::from(v4)));
        }
        if !v6.is_empty() {
            fields.push(("IPv6Address", Value::from(v6)));
        }
        if !local.is_empty() {
            fields.push(("LinkLocalIPs", Value::list(local)));
        }
        Value::object(fields)
    }

    /// In the engine's order.
    #[must_use]
    pub fn to_value(&self, engine: Engine) -> Value {
        let opts = self.driver_opts.as_ref().map_or(Value::Null, Value::map);
        let mac = ("MacAddress", Value::from(&self.mac_address));
        let mut fields = vec![
            ("IPAMConfig", self.ipam_value()),
            ("Links", Value::list_or_null(&self.links)),
            ("Aliases", Value::list_or_null(&self.aliases)),
        ];
        if engine == Engine::V29 {
            fields.push(("DriverOpts", opts.clone()));
            fields.push(("GwPriority", Value::from(self.gw_priority)));
        }
        fields.extend([
            ("NetworkID", Value::from(&self.network_id)),
            ("EndpointID", Value::from(&self.endpoint_id)),
            ("Gateway", Value::from(&self.gateway)),
            ("IPAddress", Value::from(&self.ip_address)),
        ]);
        if engine == Engine::V29 {
            fields.push(mac.clone());
        }
        fields.extend([
            ("IPPrefixLen", Value::from(i64::from(self.ip_prefix_len))),
            ("IPv6Gateway", Value::from(&self.ipv6_gateway)),
            ("GlobalIPv6Address", Value::from(&self.global_ipv6_address)),
            (
                "GlobalIPv6PrefixLen",
                Value::from(i64::from(self.global_ipv6_prefix_len)),
            ),
        ]);
        if engine == Engine::V29 {
            fields.push(("DNSNames", Value::list_or_null(&self.dns_names)));
        } else {
            fields.extend([mac, ("DriverOpts", opts)]);
        }
        Value::object(fields)
    }
}

impl NetworkSettings {
    /// In the engine's order; Docker 20.10 repeats the default bridge's endpoint at the top.
    #[must_use]
    pub fn to_value(&self, engine: Engine) -> Value {
        let networks = self
            .networks
            .iter()
            .map(|(name, e)| (name.clone(), e.to_value(engine)));
        let networks = ("Networks", Value::object(networks));
        let id = ("SandboxID", Value::from(&self.sandbox_id));
        let key = ("SandboxKey", Value::from(&self.sandbox_key));
        let ports = ("Ports", ports_value(&self.ports));
        if engine == Engine::V29 {
            return Value::object([id, key, ports, networks]);
        }
        let bridge = self.networks.get("bridge");
        let text =
            |get: fn(&EndpointInspect) -> &String| Value::from(bridge.map_or("", |e| get(e)));
        let number =
            |get: fn(&EndpointInspect) -> u8| Value::from(i64::from(bridge.map_or(0, get)));
        Value::object([
            ("Bridge", Value::from("")),
            id,
            ("HairpinMode", Value::from(false)),
            ("LinkLocalIPv6Address", Value::from("")),
            ("LinkLocalIPv6PrefixLen", Value::from(0)),
            ports,
            key,
            ("SecondaryIPAddresses", Value::Null),
            ("SecondaryIPv6Addresses", Value::Null),
            ("EndpointID", text(|e| &e.endpoint_id)),
            ("Gateway", text(|e| &e.gateway)),
            ("GlobalIPv6Address", text(|e| &e.global_ipv6_address)),
            ("GlobalIPv6PrefixLen", number(|e| e.global_ipv6_prefix_len)),
            ("IPAddress", text(|e| &e.ip_address)),
            ("IPPrefixLen", number(|e| e.ip_prefix_len)),
            ("IPv6Gateway", text(|e| &e.ipv6_gateway)),
            ("MacAddress", text(|e| &e.mac_address)),
            networks,
        ])
    }
}

impl ContainerInspect {
    fn state_value(&self) -> Value {
        let at = |time: Option<Time>| {
            Value::from(time.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), rfc3339))
        };
        Value::object([
            ("Status", Value::from(self.state.word())),
            ("Running", Value::from(self.state.is_running())),
            ("Paused", Value::from(self.state == State::Paused)),
            ("Restarting", Value::from(false)),
            ("OOMKilled", Value::from(false)),
            ("Dead", Value::from(false)),
            ("ExitCode", Value::from(i64::from(self.exit_code))),
            ("Error", Value::from(&self.error)),
            ("StartedAt", at(self.started)),
            ("FinishedAt", at(self.finished)),
        ])
    }

    fn host_config_value(&self) -> Value {
        let spec = &self.spec;
        let list = |items: &[String]| match self.engine {
            Engine::V20_10 if !items.is_empty() => Value::list(items),
            Engine::V20_10 => Value::Array(Vec::new()),
            Engine::V29 => Value::list_or_null(items),
        };
        Value::object([
            ("NetworkMode", Value::from(&self.network_mode)),
            ("PortBindings", ports_value(&self.port_bindings)),
            ("AutoRemove", Value::from(spec.auto_remove)),
            ("Dns", list(&spec.dns)),
            ("DnsOptions", list(&spec.dns_options)),
            ("DnsSearch", list(&spec.dns_search)),
            ("ExtraHosts", Value::list_or_null(&spec.extra_hosts)),
            ("Links", Value::list_or_null(&self.links)),
            ("PublishAllPorts", Value::from(spec.publish_all)),
        ])
    }

    fn config_value(&self) -> Value {
        let spec = &self.spec;
        let mut fields = vec![
            ("Hostname", Value::from(&self.hostname)),
            ("Domainname", Value::from(&self.domainname)),
        ];
        if !self.exposed_ports.is_empty() {
            let ports = self
                .exposed_ports
                .iter()
                .map(|p| (p.clone(), Value::Object(Vec::new())));
            fields.push(("ExposedPorts", Value::object(ports)));
        }
        fields.extend([
            ("Env", Value::list_or_null(&spec.env)),
            ("Cmd", Value::list_or_null(&spec.command)),
            ("Image", Value::from(&spec.image)),
            ("Labels", Value::map(&spec.labels)),
        ]);
        Value::object(fields)
    }

    /// In the engine's order.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let path = self.spec.command.first().map_or("", String::as_str);
        let args = self.spec.command.get(1..).unwrap_or_default();
        Value::object([
            ("Id", Value::from(&self.id)),
            ("Created", Value::from(rfc3339(self.created))),
            ("Path", Value::from(path)),
            ("Args", Value::list(args)),
            ("State", self.state_value()),
            ("Image", Value::from(&self.spec.image)),
            ("Name", Value::from(&self.name)),
            ("RestartCount", Value::from(0)),
            ("HostConfig", self.host_config_value()),
            ("Config", self.config_value()),
            (
                "NetworkSettings",
                self.network_settings.to_value(self.engine),
            ),
        ])
    }
}
