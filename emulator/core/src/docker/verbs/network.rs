//! `network create`, `network rm`, `network prune`.
//!
//! Models `daemon/network.go` and `libnetwork/controller.go` (`NewNetwork`).

use std::collections::BTreeMap;

use crate::docker::engine::{Created, Docker, World};
use crate::docker::error::{Error, Kind};
use crate::docker::ids;
use crate::docker::leases::Wants;
use crate::docker::names::NetKey;
use crate::docker::network::{Base, Driver, Network, is_user_defined};
use crate::docker::spec::{Engine, NetworkSpec};
use crate::docker::validate;
use crate::docker::verbs::list::NetworkFilters;

const NOT_A_MANAGER: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, message)
}

fn forbidden(message: impl Into<String>) -> Error {
    Error::new(Kind::Forbidden, message)
}

impl Docker {
    /// Makes a network.
    ///
    /// # Errors
    /// In Docker's words: a name that is taken or predefined, subnets that make no sense or overlap,
    /// pools that are used up, options that a driver does not understand, drivers that need a swarm.
    pub fn network_create(
        &mut self,
        world: &mut World<'_>,
        spec: NetworkSpec,
    ) -> Result<Created, Error> {
        self.check_network_name(&spec)?;
        let driver = self.check_driver(&spec)?;
        let spec = self.with_defaults(self.fill_in(spec)?, driver);
        let engine = self.config.engine;
        let v4 = engine == Engine::V20_10 || spec.ipv4.unwrap_or(true);
        let v6 = spec.ipv6.unwrap_or(false);
        // A configuration network is only read, but what it says has to be sound.
        let stated = validate::subnets(&spec, engine, v6)?;
        let id = self.ids.id("net", &spec.name);
        let mut network = Network {
            key: self.networks.next_key(),
            id: id.as_str().into(),
            created: world.now,
            driver,
            ipv4: v4,
            ipv6: v6,
            internal: spec.internal,
            leases: Vec::new(),
            base: Base::Nothing,
            mtu: 1500,
            endpoints: BTreeMap::new(),
            spec,
        };
        if network.spec.config_only {
            network.driver = Driver::Null;
        } else {
            self.build(world, &mut network, &stated)?;
        }
        self.networks.insert(network);
        Ok(Created {
            id,
            warnings: Vec::new(),
        })
    }

    /// The options of `default-network-opts`, where the network does not set them itself.
    fn with_defaults(&self, mut spec: NetworkSpec, driver: Driver) -> NetworkSpec {
        let config = &self.config;
        let defaults = config.default_network_options.get(driver.name());
        if config.engine == Engine::V29 && spec.config_from.is_none() {
            for (key, value) in defaults.into_iter().flatten() {
                let own = spec.options.entry(key.clone());
                own.or_insert_with(|| value.clone());
            }
        }
        spec
    }

    fn check_network_name(&self, spec: &NetworkSpec) -> Result<(), Error> {
        let name = &spec.name;
        if !is_user_defined(name) && !name.is_empty() && !name.starts_with("container:") {
            return Err(forbidden(format!(
                "operation is not permitted on predefined {name} network "
            )));
        }
        if name.trim().is_empty() && self.config.engine == Engine::V29 {
            return Err(invalid("invalid name: name is empty"));
        }
        if spec.driver == "overlay" || spec.ingress || spec.scope == "swarm" {
            return Err(Error::new(Kind::Unavailable, NOT_A_MANAGER));
        }
        // 20.10 looks the name up as a prefix of an id, which an empty one is of every id.
        if self.networks.by_name(name).is_some() || name.is_empty() {
            return Err(Error::new(
                Kind::Conflict,
                format!("network with name {name} already exists"),
            ));
        }
        Ok(())
    }

    fn check_driver(&self, spec: &NetworkSpec) -> Result<Driver, Error> {
        let driver = Driver::of(&spec.driver).ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("plugin {:?} not found", spec.driver),
            )
        })?;
        if matches!(driver, Driver::Host | Driver::Null) {
            return Err(forbidden(format!(
                "only one instance of {:?} network is allowed",
                driver.name()
            )));
        }
        if !matches!(spec.ipam_driver.as_str(), "" | "default" | "null") {
            return Err(Error::new(
                Kind::NotFound,
                format!("plugin {:?} not found", spec.ipam_driver),
            ));
        }
        Ok(driver)
    }

    /// Takes what a configuration network says into the one that is made from it.
    fn fill_in(&self, mut spec: NetworkSpec) -> Result<NetworkSpec, Error> {
        if spec.config_only && (spec.ingress || spec.internal || spec.attachable) {
            return Err(forbidden(
                "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.",
            ));
        }
        let Some(from) = spec.config_from.clone().filter(|name| !name.is_empty()) else {
            return Ok(spec);
        };
        if spec.config_only {
            return Err(forbidden(
                "a configuration network cannot depend on another configuration network",
            ));
        }
        let own = !spec.ipam.is_empty()
            || !spec.options.is_empty()
            || !spec.labels.is_empty()
            || !spec.ipam_options.is_empty()
            || spec.ipv6 == Some(true);
        if own {
            return Err(forbidden(
                "user specified configurations are not supported if the network depends on a configuration network",
            ));
        }
        let source = self
            .networks
            .by_name(&from)
            .and_then(|key| self.networks.get(key))
            .filter(|network| network.spec.config_only)
            .ok_or_else(|| {
                Error::new(
                    Kind::NotFound,
                    format!("configuration network {from:?} does not exist"),
                )
            })?;
        let config = &source.spec;
        spec.ipv4 = config.ipv4;
        spec.ipv6 = config.ipv6;
        spec.ipam.clone_from(&config.ipam);
        spec.ipam_driver.clone_from(&config.ipam_driver);
        spec.ipam_options.clone_from(&config.ipam_options);
        spec.options.clone_from(&config.options);
        spec.labels.clone_from(&config.labels);
        Ok(spec)
    }

    /// Takes the subnets and makes what carries the network.
    fn build(
        &mut self,
        world: &mut World<'_>,
        network: &mut Network,
        stated: &[validate::Subnet],
    ) -> Result<(), Error> {
        if !network.ipv4 && !network.ipv6 {
            return Err(invalid("IPv4 or IPv6 must be enabled"));
        }
        if network.spec.ipam_driver != "null" {
            let wants = self.wants(network, stated);
            network.leases = self.take_leases(world, wants)?;
        }
        let made = match network.driver {
            Driver::Bridge => self.build_bridge(world, network),
            _ => self.build_shared(world, network),
        };
        if let Err(error) = made {
            self.give_leases_back(&network.leases);
            return Err(error);
        }
        world.names.add_network(NetKey(network.key), network.name());
        Ok(())
    }

    fn wants<'a>(&self, network: &Network, subnets: &'a [validate::Subnet]) -> Wants<'a> {
        // Neither a bridge without addresses nor a shared interface needs a gateway of its own.
        let options = &network.spec.options;
        let isolated = |key: &str| {
            let mode = options.get(key).map(String::as_str);
            network.internal && mode == Some("isolated")
        };
        let inhibited = options
            .get("com.docker.network.bridge.inhibit_ipv4")
            .is_some_and(|v| matches!(v.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"));
        let (v4, v6) = match (network.driver, self.config.engine) {
            (_, Engine::V20_10) => (true, true),
            (Driver::Bridge, Engine::V29) => (
                !isolated("com.docker.network.bridge.gateway_mode_ipv4")
                    && (!inhibited || !network.internal),
                !isolated("com.docker.network.bridge.gateway_mode_ipv6"),
            ),
            (_, Engine::V29) => (false, false),
        };
        Wants {
            subnets,
            v4: network.ipv4,
            v6: network.ipv6,
            gateway_v4: v4,
            gateway_v6: v6,
        }
    }

    /// Takes a network away.
    ///
    /// # Errors
    /// `network X not found`, `X is a pre-defined network and cannot be removed`,
    /// `error while removing network: network X has active endpoints …`.
    pub fn network_remove(&mut self, world: &mut World<'_>, text: &str) -> Result<(), Error> {
        let key = self.network_key(text)?;
        let Some(network) = self.networks.get(key) else {
            return Ok(());
        };
        if !is_user_defined(network.name()) {
            return Err(forbidden(format!(
                "{} is a pre-defined network and cannot be removed",
                network.name()
            )));
        }
        self.check_unused(network)?;
        let Some(network) = self.networks.remove(key) else {
            return Ok(());
        };
        self.dismantle(world, &network);
        Ok(())
    }

    fn check_unused(&self, network: &Network) -> Result<(), Error> {
        let name = network.name();
        let depends = |n: &&Network| n.spec.config_from.as_deref() == Some(name);
        if network.spec.config_only && self.networks().any(|n| depends(&n)) {
            return Err(forbidden(format!(
                "configuration network {name:?} is in use"
            )));
        }
        if network.endpoints.is_empty() {
            return Ok(());
        }
        let text = match self.config.engine {
            Engine::V20_10 => format!(
                "error while removing network: network {name} id {} has active endpoints",
                network.id
            ),
            Engine::V29 => {
                let who: Vec<String> = network
                    .endpoints
                    .iter()
                    .filter_map(|(endpoint, container)| {
                        let container = self.containers.get(*container)?;
                        let endpoint = container.endpoint_by_key(*endpoint)?;
                        Some(format!(
                            "name:{:?} id:{:?}",
                            endpoint.name,
                            ids::short(&endpoint.id.to_string())
                        ))
                    })
                    .collect();
                format!(
                    "error while removing network: network {name} has active endpoints ({})",
                    who.join(", ")
                )
            }
        };
        Err(forbidden(text))
    }

    fn dismantle(&mut self, world: &mut World<'_>, network: &Network) {
        match &network.base {
            Base::Bridge { id, .. } => {
                world.plumb.rules_remove(network.key);
                world.plumb.bridge_remove(*id);
            }
            base => {
                let segment = base.segment().filter(|&id| !self.is_shared(id));
                if let Some(id) = segment {
                    world.plumb.bridge_remove(id);
                }
            }
        }
        if !network.spec.config_only {
            world.names.remove_network(NetKey(network.key));
        }
        self.give_leases_back(&network.leases);
    }

    /// Takes all user-defined networks away that no running container is on; returns their names.
    ///
    /// # Errors
    /// A filter that there is not.
    pub fn network_prune(
        &mut self,
        world: &mut World<'_>,
        filters: &NetworkFilters,
    ) -> Result<Vec<String>, Error> {
        filters.check_prune()?;
        let names: Vec<String> = self
            .networks()
            .filter(|n| is_user_defined(n.name()) && !n.spec.config_only && n.endpoints.is_empty())
            .filter(|n| filters.prunes(n, world.now))
            .map(|n| n.name().to_owned())
            .collect();
        let mut gone = Vec::new();
        for name in names {
            // One that turns out to be in use is left.
            if self.network_remove(world, &name).is_ok() {
                gone.push(name);
            }
        }
        Ok(gone)
    }
}
