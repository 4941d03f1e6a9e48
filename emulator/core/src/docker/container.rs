//! A container, as far as its network goes: what it was asked to be, its state, its places in networks.

use indexmap::IndexMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use switch::Time;

use super::endpoint::Endpoint;
use super::error::{Error, Kind};
use super::hosts::HostsFile;
use super::ids::Id;
use super::links::LegacyLink;
use super::network::is_user_defined;
use super::resolv::ResolvConf;
use super::spec::{ContainerSpec, EndpointSpec, HostPort, Port, PortBinding};
use super::table::Entry;
use crate::id::NsId;

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Made, never started (or its start failed).
    Created,
    /// It has ended with this code.
    Exited(i32),
    /// Running, but held.
    Paused,
    /// Running.
    Running,
}

impl State {
    /// As `docker ps --filter status=` calls it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Exited(_) => "exited",
            Self::Paused => "paused",
            Self::Running => "running",
        }
    }

    /// Whether its namespace is there.
    #[must_use]
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// Whose namespace a container lives in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its own, on the default bridge.
    Bridge,
    /// Another container's, as it was written.
    Container(String),
    /// The host's.
    Host,
    /// Its own, with loopback only.
    None,
    /// Its own, on a user-defined network.
    User(String),
}

impl Mode {
    /// Reads `--network`.
    ///
    /// # Errors
    /// `invalid network mode: invalid container format container:<name|id>`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(match text {
            "" | "default" | "bridge" => Self::Bridge,
            "host" => Self::Host,
            "none" => Self::None,
            "container" | "container:" => {
                return Err(Error::new(
                    Kind::Invalid,
                    "invalid network mode: invalid container format container:<name|id>",
                ));
            }
            _ => match text.strip_prefix("container:") {
                Some(name) => Self::Container(name.to_owned()),
                None => Self::User(text.to_owned()),
            },
        })
    }

    /// As `inspect` shows it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Bridge => "bridge".to_owned(),
            Self::Container(name) => format!("container:{name}"),
            Self::Host => "host".to_owned(),
            Self::None => "none".to_owned(),
            Self::User(name) => name.clone(),
        }
    }

    /// The network that it names, if any.
    #[must_use]
    pub fn network(&self) -> Option<&str> {
        match self {
            Self::Bridge => Some("bridge"),
            Self::Container(_) => None,
            Self::Host => Some("host"),
            Self::None => Some("none"),
            Self::User(name) => Some(name),
        }
    }
}

/// A container's place in a network: what was asked for, and the endpoint while it runs.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// What was asked for; mostly nothing, which all share.
    pub spec: Arc<EndpointSpec>,
    /// The network's id, once the container was in it.
    pub network_id: Arc<str>,
    /// It came by `network connect`.
    pub by_connect: bool,
    /// The endpoint.
    pub endpoint: Option<Endpoint>,
}

/// The files that Docker puts into a container. They outlive a stop.
#[derive(Clone, Debug)]
pub struct Files {
    /// `/etc/hosts`.
    pub hosts: HostsFile,
    /// `/etc/resolv.conf`.
    pub resolv: Arc<ResolvConf>,
}

/// What a running container has of its own: its namespace and the way out of it.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// 64 hexadecimal digits.
    pub id: Id,
    /// It has been on a user-defined network, so 127.0.0.11 answers.
    pub resolver: bool,
    /// The endpoint that is the way out for IPv4.
    pub way_v4: Option<u32>,
    /// The same for IPv6.
    pub way_v6: Option<u32>,
    /// The container may have IPv6 addresses.
    pub v6: bool,
    /// `::1` is on its loopback interface.
    pub loopback_v6: bool,
}

/// A container.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its number in the lab.
    pub key: u32,
    /// Its id.
    pub id: Arc<str>,
    /// Its name, without the slash.
    pub name: String,
    /// It was given its name.
    pub named: bool,
    /// What it was asked to be. Those that were asked the same, names aside, share it.
    pub spec: Arc<ContainerSpec>,
    /// Whose namespace it lives in.
    pub mode: Mode,
    /// When it was made.
    pub created: Time,
    /// When it was started last.
    pub started: Option<Time>,
    /// When it ended last.
    pub finished: Option<Time>,
    /// Where it is in its life.
    pub state: State,
    /// Why its last start failed; empty if it did not.
    pub error: String,
    /// Its hostname.
    pub hostname: String,
    /// Its domain name.
    pub domainname: String,
    /// Its places in networks, by the network's name, in the order in which they came.
    pub networks: IndexMap<String, Place>,
    /// Its links on the default bridge.
    pub links: Vec<LegacyLink>,
    /// Its namespace while it runs.
    pub ns: Option<NsId>,
    /// What is its own of that namespace.
    pub sandbox: Option<Sandbox>,
    /// Its files.
    pub files: Option<Files>,
    /// The container whose namespace it joined.
    pub joined: Option<u32>,
}

impl Entry for Container {
    fn id(&self) -> &Arc<str> {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
}

impl Container {
    /// Its endpoints, in the order in which they came.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.networks.values().filter_map(|p| p.endpoint.as_ref())
    }

    /// The endpoint of that number.
    #[must_use]
    pub fn endpoint_by_key(&self, key: u32) -> Option<&Endpoint> {
        self.endpoints().find(|e| e.key == key)
    }

    pub(super) fn endpoint_mut(&mut self, key: u32) -> Option<&mut Endpoint> {
        self.networks
            .values_mut()
            .filter_map(|p| p.endpoint.as_mut())
            .find(|e| e.key == key)
    }

    /// What is published: `-p`, and `-P` for what is exposed and not published yet. Nothing in the
    /// host's namespace.
    #[must_use]
    pub fn bindings(&self) -> Vec<PortBinding> {
        if self.mode == Mode::Host {
            return Vec::new();
        }
        let mut out = self.spec.ports.clone();
        if self.spec.publish_all {
            for port in self.exposed() {
                if !self.spec.ports.iter().any(|b| b.port == port) {
                    out.push(PortBinding {
                        port,
                        host_ip: None,
                        host_port: HostPort::Ephemeral,
                    });
                }
            }
        }
        out
    }

    /// The ports that it declares: exposed and published ones.
    #[must_use]
    pub fn exposed(&self) -> BTreeSet<Port> {
        let published = self.spec.ports.iter().map(|b| b.port);
        self.spec.expose.iter().copied().chain(published).collect()
    }

    /// Whether IPv6 is switched off in it (`net.ipv6.conf.all.disable_ipv6=1`).
    #[must_use]
    pub fn v6_off(&self) -> bool {
        let on = |key: &str| self.spec.sysctls.get(key).is_some_and(|v| v.trim() == "1");
        on("net.ipv6.conf.all.disable_ipv6") || on("net.ipv6.conf.default.disable_ipv6")
    }

    /// Whether it is on a user-defined network.
    #[must_use]
    pub fn is_on_user_network(&self) -> bool {
        self.networks.keys().any(|name| is_user_defined(name))
    }

    /// Its exit code: 0 while it runs, 128 after a start that failed.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self.state {
            State::Exited(code) => code,
            State::Created if !self.error.is_empty() => 128,
            _ => 0,
        }
    }
}
