//! The model: the project and what was assigned, read once into networks and namespaces.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

use emulator_compose::{Naming, NetworkMode, Project, Service};
use ipnet::IpNet;

use crate::assigned::{Assigned, Container};
use crate::gateway;
use crate::machine::{Engine, Machine};
use crate::outcome::{End, Outcome, Reach, Reason, Transport, Via};
use crate::rules::{Rule, Rules};

/// The name of the default bridge.
pub(crate) const DEFAULT_BRIDGE: &str = "bridge";

/// How a bridge and what is around it are joined, in one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Translated, and nothing enters but by published ports.
    Nat,
    /// Translated on the way out; anything may enter.
    NatUnprotected,
    /// Not translated; published ports may be entered at the container's own address.
    Routed,
    /// The host has no address on it.
    Isolated,
}

/// What carries a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// A bridge of the host.
    Bridge,
    /// The uplink's segment: macvlan, ipvlan.
    Uplink,
    /// The same, without neighbours: ipvlan l3 and l3s.
    UplinkRouted,
    /// A segment that nobody else is on: macvlan and ipvlan without a parent, or on a VLAN.
    Own,
}

/// A network as the rules see it.
#[derive(Clone, Debug)]
pub(crate) struct Net<'a> {
    pub(crate) name: &'a str,
    pub(crate) carrier: Carrier,
    pub(crate) internal: bool,
    /// Macvlan or ipvlan without a parent.
    pub(crate) alone: bool,
    /// Its members do not hear each other: macvlan private, vepa and passthru, ipvlan private and vepa.
    pub(crate) apart: bool,
    /// Ipvlan on an interface of the host.
    shares_mac: bool,
    /// They have no neighbours, and a default route that needs no gateway: ipvlan l3 and l3s.
    pub(crate) routed: bool,
    pub(crate) icc: bool,
    pub(crate) masquerade: bool,
    /// For IPv4 and for IPv6.
    pub(crate) modes: [Mode; 2],
    pub(crate) subnets: &'a [IpNet],
    pub(crate) gateways: &'a [IpAddr],
    /// The host's interface, if it is a bridge.
    pub(crate) interface: Option<&'a str>,
    /// The host's interfaces by which containers' own addresses may be called (28.2).
    pub(crate) trusted: Vec<&'a str>,
    /// Where default routes lead if not to the gateway.
    pub(crate) default_gateways: Vec<IpAddr>,
}

impl Net<'_> {
    pub(crate) fn mode(&self, v6: bool) -> Mode {
        self.modes[usize::from(v6)]
    }

    /// ICMP, IPv6 neighbour discovery with it, passes the filter of a routed network before anything else
    /// is asked.
    pub(crate) fn lets_icmp_in(&self, v6: bool) -> bool {
        self.mode(v6) == Mode::Routed && !self.internal
    }

    pub(crate) fn is_bridge(&self) -> bool {
        self.carrier == Carrier::Bridge
    }

    /// Its members have the MAC of the interface that they share, and neighbours.
    pub(crate) const fn shares_mac(&self) -> bool {
        self.shares_mac && !self.routed
    }

    /// It is one of the engine's, not of a user: no names, its own links.
    pub(crate) fn is_default(&self) -> bool {
        self.name == DEFAULT_BRIDGE
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.subnets.iter().any(|subnet| subnet.contains(&address))
    }

    /// The host's address on the bridge.
    pub(crate) fn host_address(&self, v6: bool) -> Option<IpAddr> {
        let own = self.gateways.iter().copied();
        own.filter(|_| self.is_bridge() && self.mode(v6) != Mode::Isolated)
            .find(|address| address.is_ipv6() == v6)
    }
}

/// A place in a network.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    /// By position.
    pub(crate) net: usize,
    pub(crate) v4: Option<IpAddr>,
    pub(crate) v6: Option<IpAddr>,
    pub(crate) priority: i64,
    /// By which it is known on that network, its own name first.
    pub(crate) names: Vec<String>,
    /// Names that its container alone knows there: the alias and whose it is.
    pub(crate) links: Vec<(String, String)>,
}

impl Port {
    pub(crate) fn address(&self, v6: bool) -> Option<IpAddr> {
        if v6 { self.v6 } else { self.v4 }
    }

    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.address(address.is_ipv6()) == Some(address)
    }
}

/// A network namespace of a container, and of those that joined it.
#[derive(Clone, Debug)]
pub(crate) struct Sandbox<'a> {
    pub(crate) owner: &'a Container,
    pub(crate) service: Option<&'a Service>,
    /// Between a service's name and a container's number.
    pub(crate) dash: char,
    /// In the order in which the default route is chosen.
    pub(crate) ports: Vec<Port>,
    /// Which of them is the way out, for IPv4 and for IPv6.
    pub(crate) ways: [Option<usize>; 2],
    /// Whether that way is a route.
    pub(crate) routes: [bool; 2],
}

impl<'a> Sandbox<'a> {
    pub(crate) fn way(&self, v6: bool) -> Option<&Port> {
        self.ways[usize::from(v6)].and_then(|at| self.ports.get(at))
    }

    /// The way out if it is a route.
    pub(crate) fn route(&self, v6: bool) -> Option<&Port> {
        self.way(v6).filter(|_| self.routes[usize::from(v6)])
    }

    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.ports.iter().any(|port| port.has(address))
    }

    pub(crate) fn end(&self) -> End {
        End::Container(self.owner.name.clone())
    }
}

/// A network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    Host,
    Lan,
    Internet,
    /// By position.
    Sandbox(usize),
}

/// What must be reachable, and under which names, in projects that are up together.
#[derive(Clone, Debug)]
pub struct Model<'a> {
    pub(crate) projects: Vec<&'a Project>,
    pub(crate) assigned: &'a Assigned,
    pub(crate) machine: &'a Machine,
    pub(crate) engine: Engine,
    pub(crate) rules: Rules,
    pub(crate) nets: Vec<Net<'a>>,
    pub(crate) sandboxes: Vec<Sandbox<'a>>,
    sites: BTreeMap<&'a str, Site>,
}

impl<'a> Model<'a> {
    /// Reads what is asked for and what was assigned.
    #[must_use]
    pub fn new(
        projects: &[&'a Project],
        assigned: &'a Assigned,
        engine: Engine,
        machine: &'a Machine,
    ) -> Self {
        Self::with_rules(projects, assigned, engine, machine, Rules::ALL)
    }

    /// The same with some rules only.
    #[must_use]
    pub fn with_rules(
        projects: &[&'a Project],
        assigned: &'a Assigned,
        engine: Engine,
        machine: &'a Machine,
        rules: Rules,
    ) -> Self {
        let read = Reader {
            projects,
            assigned,
            engine,
            machine,
            rules,
        };
        let nets = read.nets();
        let mut sites = BTreeMap::new();
        let mut sandboxes = Vec::new();
        for container in assigned.containers.iter().filter(|c| c.running) {
            match read.namespace(container) {
                Namespace::Host => {
                    sites.insert(container.name.as_str(), Site::Host);
                }
                Namespace::Own => {
                    sites.insert(container.name.as_str(), Site::Sandbox(sandboxes.len()));
                    sandboxes.push(read.sandbox(container, &nets));
                }
                Namespace::Of(_) => {}
            }
        }
        // Who joins may be listed before whom it joins; nobody joins one that has joined.
        for container in assigned.containers.iter().filter(|c| c.running) {
            if let Namespace::Of(owner) = read.namespace(container)
                && let Some(site) = sites.get(owner.as_str()).copied()
            {
                sites.insert(container.name.as_str(), site);
            }
        }
        Self {
            projects: projects.to_vec(),
            assigned,
            machine,
            engine,
            rules,
            nets,
            sandboxes,
            sites,
        }
    }

    pub(crate) fn has(&self, rule: Rule) -> bool {
        self.rules.has(rule)
    }

    pub(crate) const fn is_old(&self) -> bool {
        matches!(self.engine, Engine::V20_10)
    }

    /// Where an end lives; a container that does not run lives nowhere.
    pub(crate) fn site(&self, end: &End) -> Option<Site> {
        match end {
            End::Container(name) => self.sites.get(name.as_str()).copied(),
            End::Host => Some(Site::Host),
            End::Lan => Some(Site::Lan),
            End::Internet => Some(Site::Internet),
        }
    }

    /// The network in whose subnet an address is.
    pub(crate) fn net_of(&self, address: IpAddr) -> Option<usize> {
        self.nets
            .iter()
            .position(|net| net.is_bridge() && net.contains(address))
    }

    /// The namespace that has an address on a network.
    pub(crate) fn holder(&self, net: usize, address: IpAddr) -> Option<usize> {
        self.sandboxes.iter().position(|sandbox| {
            let mut ports = sandbox.ports.iter();
            ports.any(|port| port.net == net && port.has(address))
        })
    }

    /// What comes of a call from one end to an address.
    #[must_use]
    pub fn reach(&self, from: &End, to: SocketAddr, transport: Transport) -> Outcome {
        let call = crate::call::Call {
            to: to.ip(),
            port: to.port(),
            transport,
        };
        match self.site(from) {
            None => Outcome::fails(Reach::NetUnreachable, Reason::NotRunning, Via::Loopback),
            Some(site) => self.call(site, &call),
        }
    }

    /// What comes of a call from [`End::Lan`] to a container's address, once that machine has a route to
    /// the container's network through the host.
    #[must_use]
    pub fn reach_by_route(&self, to: SocketAddr, transport: Transport) -> Outcome {
        self.call_by_route(&crate::call::Call {
            to: to.ip(),
            port: to.port(),
            transport,
        })
    }
}

/// What compose puts between a service's name and a container's number.
pub(crate) const fn dash(naming: Naming) -> char {
    match naming {
        Naming::V1 => '_',
        Naming::V2 => '-',
    }
}

/// Whose namespace it is that a service's container lives in, which stays also when those have gone who joined
/// it in between.
fn joined(project: &Project, target: &str) -> Namespace {
    let mut target = target;
    // Nobody waits for himself, but not everybody looked.
    for _ in 0..=project.services.len() {
        let Some(service) = project.service(target) else {
            return Namespace::Of(target.to_owned());
        };
        match &service.network_mode {
            NetworkMode::Host => return Namespace::Host,
            NetworkMode::Service(next) => target = next,
            _ => return Namespace::Of(project.container_name(service, 1)),
        }
    }
    Namespace::Own
}

enum Namespace {
    Own,
    Host,
    Of(String),
}

struct Reader<'p, 'a> {
    projects: &'p [&'a Project],
    assigned: &'a Assigned,
    engine: Engine,
    machine: &'a Machine,
    rules: Rules,
}

impl<'a> Reader<'_, 'a> {
    /// The service that a container is of, and its project.
    fn service(&self, container: &Container) -> Option<(&'a Project, &'a Service)> {
        let name = container.project.as_deref()?;
        let project = self.projects.iter().find(|project| project.name == name)?;
        let service = project.service(container.service.as_deref()?)?;
        Some((project, service))
    }

    fn nets(&self) -> Vec<Net<'a>> {
        self.assigned
            .networks
            .iter()
            .map(|network| self.net(network))
            .collect()
    }

    fn net(&self, assigned: &'a crate::assigned::Network) -> Net<'a> {
        let default = assigned.name == DEFAULT_BRIDGE;
        let of_name = || {
            let networks = self.projects.iter().flat_map(|project| &project.networks);
            networks.filter(|network| network.name == assigned.name)
        };
        // What somebody else makes of an external network is not known here, unless it is said: a plain bridge.
        let network = of_name()
            .find(|network| !network.external)
            .or_else(|| of_name().find(|network| network.described));
        let driver = network
            .or_else(|| of_name().next())
            .and_then(|network| network.driver.as_ref())
            .map_or("bridge", |driver| driver.value.as_str());
        let option = |key: &str| {
            let own = network?
                .driver_opts
                .get(key)
                .map(|value| value.value.as_str());
            own.or_else(|| self.default_option(driver, key))
        };
        let flag = |key: &str| match option(key) {
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Some(true),
            Some(_) => Some(false),
            None => None,
        };
        let parent = option("parent");
        let routed = driver == "ipvlan" && matches!(option("ipvlan_mode"), Some("l3" | "l3s"));
        let flag_of =
            |key| option(key).is_some_and(|mode| matches!(mode, "private" | "vepa" | "passthru"));
        let apart = match driver {
            "macvlan" => flag_of("macvlan_mode"),
            "ipvlan" => self.engine == Engine::V29 && flag_of("ipvlan_flag"),
            _ => false,
        };
        let carrier = match (driver, parent) {
            ("macvlan" | "ipvlan", None) => Carrier::Own,
            ("macvlan" | "ipvlan", Some(parent)) if parent.contains('.') => Carrier::Own,
            ("ipvlan", Some(_)) if routed => Carrier::UplinkRouted,
            ("macvlan" | "ipvlan", Some(_)) => Carrier::Uplink,
            _ => Carrier::Bridge,
        };
        let aux = network.into_iter().flat_map(|network| &network.ipam);
        let default_gateways = aux
            .flat_map(|subnet| &subnet.aux_addresses)
            .filter(|(name, _)| {
                matches!(name.as_str(), "DefaultGatewayIPv4" | "DefaultGatewayIPv6")
            })
            .filter_map(|(_, address)| address.value.parse().ok())
            .collect();
        let internal = network.is_some_and(|network| network.internal);
        let trusted = option("com.docker.network.bridge.trusted_host_interfaces");
        let trusted = trusted.into_iter().flat_map(|names| names.split(':'));
        Net {
            name: &assigned.name,
            carrier,
            internal: internal && self.rules.has(Rule::Internal),
            alone: carrier == Carrier::Own && parent.is_none(),
            apart,
            shares_mac: driver == "ipvlan" && carrier == Carrier::Uplink,
            routed,
            icc: if default {
                self.machine.icc
            } else {
                flag("com.docker.network.bridge.enable_icc").unwrap_or(true)
            },
            masquerade: if default {
                self.machine.ip_masq
            } else {
                flag("com.docker.network.bridge.enable_ip_masquerade").unwrap_or(true)
            },
            modes: [
                self.mode(option("com.docker.network.bridge.gateway_mode_ipv4")),
                self.mode(option("com.docker.network.bridge.gateway_mode_ipv6")),
            ],
            subnets: &assigned.subnets,
            gateways: &assigned.gateways,
            interface: assigned.interface.as_deref(),
            trusted: trusted.collect(),
            default_gateways,
        }
    }

    /// An option that a network of the project's does not set itself.
    fn default_option(&self, driver: &str, key: &str) -> Option<&'a str> {
        let options = self.machine.network_options.get(driver);
        let options = options.filter(|_| self.engine == Engine::V29)?;
        options.get(key).map(String::as_str)
    }

    /// 20.10 has no gateway modes.
    fn mode(&self, option: Option<&str>) -> Mode {
        match (self.engine, option) {
            (Engine::V29, Some("nat-unprotected")) => Mode::NatUnprotected,
            (Engine::V29, Some("routed")) => Mode::Routed,
            (Engine::V29, Some("isolated")) => Mode::Isolated,
            _ => Mode::Nat,
        }
    }

    fn namespace(&self, container: &Container) -> Namespace {
        let Some((project, service)) = self.service(container) else {
            return Namespace::Own;
        };
        match &service.network_mode {
            NetworkMode::Host => Namespace::Host,
            NetworkMode::Service(target) if self.rules.has(Rule::Joining) => {
                joined(project, target)
            }
            NetworkMode::Container(name) if self.rules.has(Rule::Joining) => {
                Namespace::Of(name.clone())
            }
            _ => Namespace::Own,
        }
    }

    fn sandbox(&self, container: &'a Container, nets: &[Net<'a>]) -> Sandbox<'a> {
        let of = self.service(container);
        let service = of.map(|(_, service)| service);
        let mut ports: Vec<Port> = container
            .endpoints
            .iter()
            .filter_map(|endpoint| {
                let net = nets.iter().position(|net| net.name == endpoint.network)?;
                let member = of.and_then(|(project, service)| {
                    service.networks.iter().find(|member| {
                        let network = project.network(&member.key);
                        network.is_some_and(|network| network.name == endpoint.network)
                    })
                });
                let namer = crate::names::Namer { container, of };
                Some(Port {
                    net,
                    v4: endpoint.v4.map(IpAddr::V4),
                    v6: endpoint.v6.map(IpAddr::V6),
                    priority: member.map_or(0, |member| member.gw_priority),
                    names: namer.names(endpoint, member),
                    links: if member.is_some() {
                        namer.links()
                    } else {
                        Vec::new()
                    },
                })
            })
            .collect();
        let chooser = gateway::Chooser {
            nets,
            engine: self.engine,
            rules: self.rules,
        };
        chooser.sort(&mut ports);
        let ways = chooser.ways(&ports);
        let routes = [false, true].map(|v6| {
            let way = ways[usize::from(v6)].and_then(|at| chooser.way(&ports[at], v6));
            way.is_some_and(|way| way != gateway::Way::Unset)
        });
        Sandbox {
            owner: container,
            service,
            dash: of.map_or('-', |(project, _)| dash(project.naming)),
            ports,
            ways,
            routes,
        }
    }
}
