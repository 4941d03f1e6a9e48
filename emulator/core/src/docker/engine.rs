//! The daemon: its networks, containers, addresses and ports, and how they are found.

use core::fmt;
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use switch::{Rng, Time};

use super::config::DaemonConfig;
use super::container::Container;
use super::error::{Error, Kind};
use super::ids::Ids;
use super::ipam::Ipam;
use super::names::Names;
use super::network::Network;
use super::plumb::{LinkRule, Plumb};
use super::ports::PortAllocator;
use super::resolv::{ResolvConf, Use};
use super::spec::{ContainerSpec, EndpointSpec, Engine};
use super::table::{Missing, Table};
use crate::id::NsId;

/// What a verb acts on besides the model itself.
pub struct World<'a> {
    /// The kernel's side.
    pub plumb: &'a mut dyn Plumb,
    /// The embedded DNS.
    pub names: &'a mut dyn Names,
    /// Now.
    pub now: Time,
}

impl fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// Something was made: its id, and what Docker warns of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Warnings, one a line.
    pub warnings: Vec<String>,
}

/// Docker's model. It knows no frame; what has to happen on the wires goes through [`World::plumb`].
#[derive(Clone, Debug)]
pub struct Docker {
    pub(super) config: DaemonConfig,
    pub(super) ids: Ids,
    pub(super) ipam: Ipam,
    pub(super) ports: PortAllocator,
    pub(super) networks: Table<Network>,
    pub(super) containers: Table<Container>,
    pub(super) next_endpoint: u32,
    /// Containers with links of docker0.
    pub(super) linked: BTreeSet<u32>,
    /// How many containers run in a namespace.
    pub(super) inhabitants: BTreeMap<NsId, u32>,
    /// What links of docker0 open, as it was last set.
    pub(super) link_rules: Vec<LinkRule>,
    /// What the last container was asked to be.
    pub(super) asked: Arc<ContainerSpec>,
    /// What an endpoint is asked to be mostly: nothing.
    pub(super) plain: Arc<EndpointSpec>,
    /// The resolv.conf of containers that ask for nothing of their own: for which use, whether in the host's
    /// namespace.
    pub(super) resolv: Vec<((Use, bool), Arc<ResolvConf>)>,
}

impl Docker {
    /// A daemon with its three networks: `bridge` (docker0), `host` and `none`.
    ///
    /// # Errors
    /// If the configuration of docker0 makes no sense, in the words of `network create`.
    pub fn new(config: DaemonConfig, rng: Rng, world: &mut World<'_>) -> Result<Self, Error> {
        let (pools, ula) = (&config.default_address_pools, Some(&*config.host_id));
        let mut docker = Self {
            ipam: Ipam::new(config.engine, pools, ula),
            ports: PortAllocator::new(
                config.engine,
                config.ephemeral_ports,
                &config.reserved_ports,
            ),
            ids: Ids::new(rng),
            networks: Table::default(),
            containers: Table::default(),
            next_endpoint: 0,
            linked: BTreeSet::new(),
            inhabitants: BTreeMap::new(),
            link_rules: Vec::new(),
            asked: Arc::default(),
            plain: Arc::default(),
            resolv: Vec::new(),
            config,
        };
        docker.predefined_networks(world)?;
        Ok(docker)
    }

    /// Which engine is modelled.
    #[must_use]
    pub const fn engine(&self) -> Engine {
        self.config.engine
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &DaemonConfig {
        &self.config
    }

    /// A network's number by id, name or unique prefix of an id.
    ///
    /// # Errors
    /// `network X not found`, `network X is ambiguous (N matches found based on ID prefix)`.
    pub fn network_key(&self, text: &str) -> Result<u32, Error> {
        self.networks.find(text).map_err(|missing| match missing {
            Missing::None => Error::new(Kind::NotFound, format!("network {text} not found")),
            Missing::Ambiguous(n) => Error::new(
                Kind::Invalid,
                format!("network {text} is ambiguous ({n} matches found based on ID prefix)"),
            ),
        })
    }

    /// A network by id, name or unique prefix of an id.
    ///
    /// # Errors
    /// As [`Self::network_key`].
    pub fn network(&self, text: &str) -> Result<&Network, Error> {
        let key = self.network_key(text)?;
        self.networks.get(key).ok_or_else(|| missing_network(text))
    }

    /// A container's number by id, name (with or without the slash) or unique prefix of an id.
    ///
    /// # Errors
    /// `No such container: X`, `Multiple IDs found with provided prefix: X`.
    pub fn container_key(&self, text: &str) -> Result<u32, Error> {
        let name = text.strip_prefix('/').unwrap_or(text);
        self.containers.find(name).map_err(|missing| match missing {
            Missing::None => Error::new(Kind::NotFound, format!("No such container: {text}")),
            Missing::Ambiguous(_) => Error::new(
                Kind::Invalid,
                format!("Multiple IDs found with provided prefix: {text}"),
            ),
        })
    }

    /// A container by its number.
    #[must_use]
    pub fn container_by_key(&self, key: u32) -> Option<&Container> {
        self.containers.get(key)
    }

    /// A container by id, name or unique prefix of an id.
    ///
    /// # Errors
    /// As [`Self::container_key`].
    pub fn container(&self, text: &str) -> Result<&Container, Error> {
        let key = self.container_key(text)?;
        self.containers
            .get(key)
            .ok_or_else(|| Error::new(Kind::NotFound, format!("No such container: {text}")))
    }

    /// All networks, in the order in which they were made.
    pub fn networks(&self) -> impl Iterator<Item = &Network> {
        self.networks.iter().map(|(_, network)| network)
    }

    /// All containers, in the order in which they were made.
    pub fn containers(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().map(|(_, container)| container)
    }

    /// What `host-gateway` stands for: the configured addresses, or docker0's own.
    #[must_use]
    pub fn host_gateway(&self) -> Vec<IpAddr> {
        if !self.config.host_gateway_ips.is_empty() {
            return self.config.host_gateway_ips.clone();
        }
        let Some(bridge) = self
            .networks
            .by_name("bridge")
            .and_then(|key| self.networks.get(key))
        else {
            return Vec::new();
        };
        [bridge.gateway(false), bridge.gateway(true)]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Runs `act` on a container that is taken out of the table meanwhile, and on the model.
    pub(super) fn with_container<T>(
        &mut self,
        key: u32,
        act: impl FnOnce(&mut Self, &mut Container) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Some(mut container) = self.containers.lift(key) else {
            return Err(Error::new(Kind::NotFound, "No such container"));
        };
        let result = act(self, &mut container);
        self.containers.settle(key, container);
        result
    }
}

fn missing_network(text: &str) -> Error {
    Error::new(Kind::NotFound, format!("network {text} not found"))
}
