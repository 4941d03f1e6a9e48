//! `network create`, `network rm`, `network prune`, and the three networks that are always there.
//!
//! Models `daemon/network.go`, `libnetwork/controller.go` (`NewNetwork`) and the checks of the bridge,
//! macvlan and ipvlan drivers.

use core::net::IpAddr;
use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::docker::engine::{Created, Docker, World};
use crate::docker::error::{Error, Kind};
use crate::docker::ids;
use crate::docker::ipam::bits;
use crate::docker::leases::Wants;
use crate::docker::names::NetKey;
use crate::docker::network::{Base, Driver, Lease, Network, is_user_defined};
use crate::docker::options::{self, BridgeOptions, VlanMode};
use crate::docker::plumb::{AttachTo, BridgePlan, GatewayMode, NetworkRules};
use crate::docker::spec::{Engine, IpamConfig, NetworkSpec};
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
        let spec = self.fill_in(spec)?;
        let engine = self.config.engine;
        let v4 = engine == Engine::V20_10 || spec.ipv4.unwrap_or(true);
        let v6 = spec.ipv6.unwrap_or(false);
        // A configuration network is only read, but what it says has to be sound.
        let stated = validate::subnets(&spec, engine, v6)?;
        let id = self.ids.id("net", &spec.name);
        let mut network = Network {
            key: self.networks.next_key(),
            id,
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
        let id = network.id.clone();
        self.networks.insert(network);
        Ok(Created {
            id,
            warnings: Vec::new(),
        })
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
                    && !(inhibited && network.internal),
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

    fn build_bridge(&mut self, world: &mut World<'_>, network: &mut Network) -> Result<(), Error> {
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

    fn add_bridge(
        &mut self,
        world: &mut World<'_>,
        network: &mut Network,
        name: String,
        options: BridgeOptions,
    ) {
        let mut mac = self.ids.mac(&format!("bridge:{}", network.name()));
        if self.config.engine == Engine::V20_10 {
            (mac[0], mac[1]) = (0x02, 0x42);
        }
        network.mtu = options.mtu;
        let plan = BridgePlan {
            name: name.clone(),
            mac,
            mtu: options.mtu,
            addresses: bridge_addresses(network, &options),
        };
        let (id, iface) = world.plumb.bridge_add(&plan);
        let rules = self.rules(network, &options, iface);
        world.plumb.rules_set(network.key, &rules);
        network.base = Base::Bridge {
            id,
            iface,
            name,
            options: Box::new(options),
        };
    }

    fn rules(
        &self,
        network: &Network,
        options: &BridgeOptions,
        bridge: crate::id::IfId,
    ) -> NetworkRules {
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

    fn build_shared(&mut self, world: &mut World<'_>, network: &mut Network) -> Result<(), Error> {
        let labels = network.spec.options.clone();
        let mode = match network.driver {
            Driver::Macvlan => options::macvlan_mode(&labels)?,
            _ => options::ipvlan_mode(&labels)?,
        };
        network.mtu = options::mtu(&labels)?;
        let parent = options::parent(&labels).map(str::to_owned);
        if let Some(parent) = &parent {
            self.check_parent(world, network, parent, mode)?;
        }
        let to = match (&parent, network.driver) {
            (Some(parent), Driver::Macvlan) if !parent.contains('.') => AttachTo::Macvlan,
            (Some(parent), _) if !parent.contains('.') => AttachTo::Ipvlan,
            _ => {
                // A dummy, or a tagged sub-interface: nobody else is on that VLAN of the uplink.
                let prefix = if network.driver == Driver::Macvlan {
                    "dm"
                } else {
                    "di"
                };
                let name = format!("{prefix}-{}", ids::short(&network.id));
                let plan = BridgePlan {
                    name: parent.clone().unwrap_or(name),
                    mac: self.ids.mac(&format!("bridge:{}", network.name())),
                    mtu: network.mtu,
                    addresses: Vec::new(),
                };
                AttachTo::Dummy(world.plumb.bridge_add(&plan).0)
            }
        };
        if parent.is_none() {
            network.internal = true;
        }
        network.base = Base::Shared { to, parent, mode };
        Ok(())
    }

    fn check_parent(
        &self,
        world: &World<'_>,
        network: &Network,
        parent: &str,
        mode: VlanMode,
    ) -> Result<(), Error> {
        if parent == "lo" {
            return Err(invalid(
                "loopback interface is not a valid parent link".to_owned(),
            ));
        }
        let host = world.plumb.iface_names(self.config.host_ns);
        let has = |name: &str| host.iter().any(|n| n == name);
        if !has(parent) {
            let (base, vlan) = parent.split_once('.').unwrap_or((parent, ""));
            if vlan.is_empty() {
                return Err(invalid(format!(
                    "invalid subinterface vlan name {parent}, example formatting is eth0.10"
                )));
            }
            if !has(base) || !vlan.parse::<u16>().is_ok_and(|v| (1..4095).contains(&v)) {
                return Err(invalid(format!(
                    "failed to find master interface {base} on the Docker host: Link not found"
                )));
            }
        }
        let passthru = |mode| mode == VlanMode::Macvlan { passthru: true };
        for other in self.networks() {
            let Base::Shared {
                parent: Some(theirs),
                mode: their_mode,
                ..
            } = &other.base
            else {
                continue;
            };
            let strict = self.config.engine == Engine::V20_10 && other.driver == network.driver;
            if theirs == parent && (strict || passthru(mode) || passthru(*their_mode)) {
                let prefix = if other.driver == Driver::Macvlan {
                    "dm"
                } else {
                    "di"
                };
                return Err(forbidden(format!(
                    "network {prefix}-{} is already using parent interface {parent}",
                    ids::short(&other.id)
                )));
            }
        }
        Ok(())
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
                            ids::short(&endpoint.id)
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
            Base::Shared {
                to: AttachTo::Dummy(id),
                ..
            } => world.plumb.bridge_remove(*id),
            _ => {}
        }
        if !network.spec.config_only {
            world.names.remove_network(NetKey(network.key));
        }
        self.give_leases_back(&network.leases);
    }

    /// Takes all user-defined networks away that no container is on; returns their names.
    ///
    /// # Errors
    /// A filter that there is not.
    pub fn network_prune(
        &mut self,
        world: &mut World<'_>,
        filters: &NetworkFilters,
    ) -> Result<Vec<String>, Error> {
        filters.check_prune()?;
        let in_use = |network: &Network| {
            !network.endpoints.is_empty()
                || self
                    .containers()
                    .any(|c| c.networks.contains_key(network.name()))
        };
        let names: Vec<String> = self
            .networks()
            .filter(|n| is_user_defined(n.name()) && !n.spec.config_only && !in_use(n))
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

    /// Makes `bridge`, `host` and `none`.
    pub(in crate::docker) fn predefined_networks(
        &mut self,
        world: &mut World<'_>,
    ) -> Result<(), Error> {
        for (name, driver) in [("none", Driver::Null), ("host", Driver::Host)] {
            let network = self.bare_network(world, name, driver);
            self.networks.insert(network);
        }
        let mut network = self.bare_network(world, "bridge", Driver::Bridge);
        network.ipv6 = self.config.ipv6;
        network.spec.ipv6 = Some(self.config.ipv6);
        network.spec.ipam = self.docker0_subnets();
        network.spec.options = self.docker0_options();
        let engine = self.config.engine;
        let stated = validate::subnets(&network.spec, engine, network.ipv6)?;
        let wants = Wants {
            subnets: &stated,
            v4: true,
            v6: network.ipv6,
            gateway_v4: true,
            gateway_v6: true,
        };
        network.leases = self.take_leases(world, wants)?;
        let mut options = BridgeOptions::parse(&network.spec.options, engine, false)?;
        // Without `ip`, each family's own "everywhere" is meant.
        if self.config.ip.is_none() {
            options.host_binding = None;
        }
        check_default_gateways(&network)?;
        self.add_bridge(world, &mut network, "docker0".to_owned(), options);
        self.networks.insert(network);
        Ok(())
    }

    fn bare_network(&mut self, world: &World<'_>, name: &str, driver: Driver) -> Network {
        Network {
            key: self.networks.next_key(),
            id: self.ids.id("net", name),
            created: world.now,
            driver,
            spec: NetworkSpec {
                name: name.to_owned(),
                ..NetworkSpec::default()
            },
            ipv4: true,
            ipv6: false,
            internal: false,
            leases: Vec::new(),
            base: Base::Nothing,
            mtu: 1500,
            endpoints: BTreeMap::new(),
        }
    }

    fn docker0_subnets(&self) -> Vec<IpamConfig> {
        let c = &self.config;
        let text = |net: Option<IpNet>| net.map_or_else(String::new, |n| n.trunc().to_string());
        let config = |bip: Option<IpNet>, fixed: Option<IpNet>, v6: bool| {
            let subnet = bip.or(fixed)?;
            let gateway = bip.map_or_else(String::new, |n| n.addr().to_string());
            let key = if v6 {
                "DefaultGatewayIPv6"
            } else {
                "DefaultGatewayIPv4"
            };
            Some(IpamConfig {
                subnet: text(Some(subnet)),
                ip_range: fixed
                    .filter(|f| f.trunc() != subnet.trunc())
                    .map_or_else(String::new, |f| text(Some(f))),
                gateway,
                aux_addresses: c
                    .default_gateways
                    .iter()
                    .filter(|ip| ip.is_ipv6() == v6)
                    .map(|ip| (key.to_owned(), ip.to_string()))
                    .collect(),
            })
        };
        [
            config(c.bip.map(IpNet::V4), c.fixed_cidr.map(IpNet::V4), false),
            config(c.bip6.map(IpNet::V6), c.fixed_cidr_v6.map(IpNet::V6), true),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn docker0_options(&self) -> BTreeMap<String, String> {
        let c = &self.config;
        let binding =
            c.ip.map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string());
        [
            (
                "com.docker.network.bridge.default_bridge",
                "true".to_owned(),
            ),
            ("com.docker.network.bridge.enable_icc", c.icc.to_string()),
            (
                "com.docker.network.bridge.enable_ip_masquerade",
                c.ip_masq.to_string(),
            ),
            ("com.docker.network.bridge.host_binding_ipv4", binding),
            ("com.docker.network.bridge.name", "docker0".to_owned()),
            ("com.docker.network.driver.mtu", c.mtu.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
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

fn check_default_gateways(network: &Network) -> Result<(), Error> {
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
