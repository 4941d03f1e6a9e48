//! The passive description of a project: what its files say about containers and networks.
//!
//! Everything is as written, after substitution and merging; nothing is allocated, no default of
//! the engine is filled in. Addresses, names and ports were read once, so their syntax is right;
//! whether they fit together (an address in its subnet, subnets that do not overlap) is for the
//! engine to say. Each item has its [`Place`].

use indexmap::IndexMap;

use crate::error::Warning;
use crate::node::{At, Place};
use crate::vethlab::{ServiceVethlab, Vethlab};

/// A project: the services that are to run and the networks of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The project's name: lower case letters, digits, `_` and `-`.
    pub name: String,
    /// Which compose names the containers.
    pub naming: Naming,
    /// The files that were read, by [`Place::file`].
    pub files: Vec<String>,
    /// The services whose profiles are active, in file order (extended and included ones where
    /// they first appear).
    pub services: Vec<Service>,
    /// The services that were left out because none of their profiles is active.
    pub inactive: Vec<String>,
    /// The networks of the file, in file order; the implicit `default` last if a service uses it.
    pub networks: Vec<Network>,
    /// What compose warns of.
    pub warnings: Vec<Warning>,
    /// `x-vethlab` of the files, and what `vethlab.yaml` says of the project.
    pub vethlab: Vethlab,
    /// Where a variable without a value became a blank string, at most [`crate::MAX_UNSET`].
    pub unset: Vec<Unset>,
}

/// A variable without a value, in a text of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unset {
    /// The variable.
    pub name: String,
    /// The keys that lead to the text, `[]` for an item of a list.
    pub path: Vec<String>,
    /// Where the text stands.
    pub at: Place,
}

/// Which compose it is: they differ in how containers are named and in repeated ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// docker-compose 1.29: `project_service_1`; each entry of `ports` is a binding of its own.
    V1,
    /// compose 2: `project-service-1`; an entry that another one repeats is dropped.
    #[default]
    V2,
}

impl Project {
    /// The service of this name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// The network with this key in the file.
    #[must_use]
    pub fn network(&self, key: &str) -> Option<&Network> {
        self.networks.iter().find(|network| network.key == key)
    }

    /// The name of a service's `number`th container, counted from 1.
    #[must_use]
    pub fn container_name(&self, service: &Service, number: u32) -> String {
        if let Some(name) = &service.container_name {
            return name.value.clone();
        }
        let (project, service) = (&self.name, &service.name);
        match self.naming {
            Naming::V1 => format!("{project}_{service}_{number}"),
            Naming::V2 => format!("{project}-{service}-{number}"),
        }
    }

    /// `file:line:column` of a place, for messages.
    #[must_use]
    pub fn locate(&self, at: Place) -> String {
        let file = self.files.get(at.file as usize).map_or("", String::as_str);
        format!("{file}:{}:{}", at.line, at.column)
    }
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its key in the file.
    pub name: String,
    /// Where its key stands.
    pub at: Place,
    /// How many containers: `scale`, else `deploy.replicas`, else 1.
    pub replicas: u32,
    /// `container_name`.
    pub container_name: Option<At<String>>,
    /// `image`.
    pub image: Option<At<String>>,
    /// There is a `build` section.
    pub build: bool,
    /// `command`, a text form split into words; `None` leaves it to the image.
    pub command: Option<At<Vec<String>>>,
    /// `entrypoint`, likewise.
    pub entrypoint: Option<At<Vec<String>>>,
    /// `hostname`.
    pub hostname: Option<At<String>>,
    /// `domainname`.
    pub domainname: Option<At<String>>,
    /// `mac_address` of the service: goes to [`Service::primary_network`].
    pub mac_address: Option<At<String>>,
    /// Which network namespace its containers live in.
    pub network_mode: NetworkMode,
    /// Where `network_mode` stands, if it does.
    pub network_mode_at: Option<Place>,
    /// The networks it joins, in file order. Empty unless the mode is [`NetworkMode::Networks`].
    pub networks: Vec<ServiceNetwork>,
    /// Published ports, ranges of container ports spread out.
    pub ports: Vec<Port>,
    /// `expose`: known to be listened on, opens nothing.
    pub expose: Vec<Expose>,
    /// `links`: to services of the project.
    pub links: Vec<Link>,
    /// `external_links`: to containers by name.
    pub external_links: Vec<Link>,
    /// `extra_hosts`.
    pub extra_hosts: Vec<ExtraHost>,
    /// `dns`: addresses of name servers.
    pub dns: Vec<At<String>>,
    /// `dns_search`.
    pub dns_search: Vec<At<String>>,
    /// `dns_opt`.
    pub dns_opt: Vec<At<String>>,
    /// `sysctls`, in file order.
    pub sysctls: IndexMap<String, At<String>>,
    /// `environment` over the `env_file`s; `None` is a variable that has no value anywhere. What
    /// comes from a file of variables has its line there.
    pub environment: IndexMap<String, Option<At<String>>>,
    /// `labels` that have a value, in file order.
    pub labels: IndexMap<String, At<String>>,
    /// `deploy.labels` that have a value, in file order: those of a swarm's service, which its proxies read.
    pub deploy_labels: IndexMap<String, At<String>>,
    /// `healthcheck`.
    pub healthcheck: Option<Healthcheck>,
    /// `profiles`.
    pub profiles: Vec<String>,
    /// What must be started before it, in file order: `depends_on`, then what `links`,
    /// `network_mode: service:` (likewise `ipc`, `pid`, `uts`, `cgroup`) and `volumes_from` add.
    pub depends_on: Vec<Dependency>,
    /// Its `x-vethlab`.
    pub vethlab: ServiceVethlab,
}

impl Service {
    /// The network that the container is created on: the first of [`Service::joins`].
    #[must_use]
    pub fn primary_network(&self) -> Option<&ServiceNetwork> {
        self.joins().first().copied()
    }

    /// The networks in the order of joining: highest `priority` first, then by key.
    #[must_use]
    pub fn joins(&self) -> Vec<&ServiceNetwork> {
        let mut networks: Vec<&ServiceNetwork> = self.networks.iter().collect();
        networks.sort_by(|a, b| b.priority.cmp(&a.priority).then(a.key.cmp(&b.key)));
        networks
    }
}

/// Which network namespace a service's containers live in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NetworkMode {
    /// Its own one, on the project's networks.
    #[default]
    Networks,
    /// Its own one, on the engine's default bridge.
    Bridge,
    /// The host's.
    Host,
    /// Its own one, with loopback only.
    None,
    /// That of this service's first container.
    Service(String),
    /// That of this container, by name or id.
    Container(String),
    /// Its own one, on a network of the engine by that name.
    Named(String),
}

/// A service's membership of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceNetwork {
    /// The network's key.
    pub key: String,
    /// Where the key stands.
    pub at: Place,
    /// `aliases`.
    pub aliases: Vec<At<String>>,
    /// `ipv4_address`.
    pub ipv4_address: Option<At<String>>,
    /// `ipv6_address`.
    pub ipv6_address: Option<At<String>>,
    /// `link_local_ips`.
    pub link_local_ips: Vec<At<String>>,
    /// `mac_address`.
    pub mac_address: Option<At<String>>,
    /// `interface_name`.
    pub interface_name: Option<At<String>>,
    /// `driver_opts` of the endpoint.
    pub driver_opts: IndexMap<String, At<String>>,
    /// `priority`: which network is primary, nothing else.
    pub priority: i64,
    /// `gw_priority`: which network's gateway is the default route, highest first.
    pub gw_priority: i64,
}

/// A transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl core::fmt::Display for Protocol {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The host's side of a published port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Published {
    /// Any free one.
    #[default]
    Ephemeral,
    /// This one.
    Exact(u16),
    /// Any free one of these, ends included.
    Range(u16, u16),
}

/// One published port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Where it stands.
    pub at: Place,
    /// The container's port.
    pub target: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The host's port.
    pub published: Published,
    /// The host's address, as an address that parses; `None` is the engine's default.
    pub host_ip: Option<String>,
    /// `ingress` or `host`; the same outside a swarm.
    pub mode: String,
    /// `name` of the long form.
    pub name: Option<String>,
    /// `app_protocol` of the long form.
    pub app_protocol: Option<String>,
}

/// Ports that a service listens on without publishing them, ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expose {
    /// Where it stands.
    pub at: Place,
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// A link: `target[:alias]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it stands.
    pub at: Place,
    /// A service, or for external links a container.
    pub target: String,
    /// The name under which the target is known; the target's own if none was given.
    pub alias: String,
}

/// One name of `extra_hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraHost {
    /// Where it stands.
    pub at: Place,
    /// The name.
    pub host: String,
    /// Addresses, without brackets, or `host-gateway`. An empty one, as from a variable that is not
    /// set, is kept: the engine refuses it.
    pub addresses: Vec<String>,
}

/// `healthcheck`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Healthcheck {
    /// `test`: the first word is `CMD`, `CMD-SHELL` or `NONE`. Empty leaves it to the image.
    pub test: Vec<String>,
    /// Where `test` stands, if it does.
    pub at: Option<Place>,
    /// `disable`.
    pub disable: bool,
}

/// When a dependency is satisfied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// It runs.
    #[default]
    Started,
    /// Its health check succeeds.
    Healthy,
    /// It has ended with exit code 0.
    Completed,
}

/// Something that must be started first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Where it is asked for.
    pub at: Place,
    /// The service.
    pub service: String,
    /// When it counts as there.
    pub condition: Condition,
    /// False: a service that no active profile takes in is no error.
    pub required: bool,
}

/// A network of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Its key in the file.
    pub key: String,
    /// Where the key stands; of the implicit `default`, the first service that uses it.
    pub at: Place,
    /// Its name in the engine: `name` as written, else the key if external, else
    /// `<project>_<key>`.
    pub name: String,
    /// It must be there already, looked up by name.
    pub external: bool,
    /// Of an external network: its `x-vethlab` says what it is, in the keys of other networks.
    pub described: bool,
    /// A running service is on it: compose makes only those.
    pub used: bool,
    /// `driver`; the engine's default is `bridge`.
    pub driver: Option<At<String>>,
    /// `driver_opts`, in file order.
    pub driver_opts: IndexMap<String, At<String>>,
    /// `internal`.
    pub internal: bool,
    /// `attachable`.
    pub attachable: bool,
    /// `enable_ipv4`; `None` is the engine's default, on.
    pub enable_ipv4: Option<bool>,
    /// `enable_ipv6`; `None` is the engine's default, off.
    pub enable_ipv6: Option<bool>,
    /// `ipam.driver`.
    pub ipam_driver: Option<At<String>>,
    /// `ipam.options`.
    pub ipam_options: IndexMap<String, At<String>>,
    /// `ipam.config`, one entry a subnet.
    pub ipam: Vec<Subnet>,
    /// `labels`, in file order.
    pub labels: IndexMap<String, String>,
}

/// One entry of `ipam.config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subnet {
    /// Where it stands.
    pub at: Place,
    /// `subnet`.
    pub subnet: Option<At<String>>,
    /// `ip_range`.
    pub ip_range: Option<At<String>>,
    /// `gateway`.
    pub gateway: Option<At<String>>,
    /// `aux_addresses`, in file order.
    pub aux_addresses: IndexMap<String, At<String>>,
}
