//! Who is asked by whom, and by which ways: what an expectation's words stand for in a project that is up.
//!
//! Everything here is plain data: the project, what was assigned to it, what its services are known to listen on.
//! Packets and model are asked the same questions, which come from here.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::collections::BTreeMap;

use emulator_compose::{Joined, Listen, NetworkMode, Party, Probe, Project, Protocol, Service};
use emulator_compose::{Target, Whom};
use emulator_core::lab::Lab;
use emulator_core::lab::outside::INTERNET_V4;
use emulator_model::{Assigned, Container, End, Machine, Publication, Transport};
use ipnet::IpNet;

use crate::world::World;

/// A name of the internet that everybody who may go there resolves.
pub(crate) const INTERNET_NAME: &str = "example.com";
/// What is asked of the internet if no port is named.
const INTERNET_PORT: u16 = 443;

/// A project that is up.
#[derive(Debug)]
pub(crate) struct Scene<'p> {
    pub(crate) project: &'p Project,
    /// Which projects it is made of, if it is those of a host.
    pub(crate) joined: Option<&'p Joined>,
    pub(crate) assigned: Assigned,
    pub(crate) machine: Machine,
    /// Its services by name.
    services: BTreeMap<&'p str, &'p Service>,
    /// What each service is known to listen on.
    pub(crate) listens: BTreeMap<&'p str, Vec<Listen>>,
    /// Services that did not start, with the engine's words.
    pub(crate) failed: BTreeMap<String, String>,
    /// The routes through the host that `lan` may add.
    routes: Vec<Route>,
}

/// A route to a network of the host's through the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) to: IpNet,
    /// The host's address on the uplink.
    pub(crate) via: IpAddr,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asker {
    pub(crate) end: End,
    /// The service, if it is a container of the project.
    pub(crate) service: Option<String>,
}

/// One thing that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// A port of a service as the sentence names it: of a container, or as it is published.
    Service(String, u16, Transport),
    /// A service that nobody states a port of.
    Unknown(String),
    /// The host, `lan` or `internet`.
    Place(End, u16, Transport),
    Address(IpAddr, u16, Transport),
    Name(String, u16, Transport),
}

impl core::fmt::Display for Goal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (whom, port, transport) = match self {
            Self::Service(name, port, transport) | Self::Name(name, port, transport) => {
                (name.clone(), *port, *transport)
            }
            Self::Unknown(name) => return f.write_str(name),
            Self::Place(end, port, transport) => (end.to_string(), *port, *transport),
            Self::Address(IpAddr::V6(ip), port, transport) => {
                (format!("[{ip}]"), *port, *transport)
            }
            Self::Address(ip, port, transport) => (ip.to_string(), *port, *transport),
        };
        match transport {
            Transport::Tcp => write!(f, "{whom}:{port}"),
            Transport::Udp => write!(f, "{whom}:{port}/udp"),
            Transport::Icmp => write!(f, "{whom}/icmp"),
        }
    }
}

/// One address to try, and what it is to the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// The address. The port of a ping is 0.
    pub(crate) to: SocketAddr,
    /// How the asker comes to it.
    pub(crate) door: Door,
}

/// How an asker comes to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// A name gave it.
    Named(String),
    /// It is the target's own on this network (its name in the engine).
    Direct(String),
    /// The same, for whoever has added this route.
    Routed(String, Route),
    /// The target's port is published there.
    Published(Publication),
    /// The target lives in the host's namespace.
    Host,
    /// Asker and target live in one namespace.
    Loopback,
    /// The sentence names it, or the place that has it.
    Written,
}

/// The transport of a port's protocol; SCTP is not carried.
pub(crate) const fn transport(protocol: Protocol) -> Option<Transport> {
    match protocol {
        Protocol::Tcp => Some(Transport::Tcp),
        Protocol::Udp => Some(Transport::Udp),
        Protocol::Sctp => None,
    }
}

/// The protocol of a transport that has ports.
pub(crate) const fn protocol(transport: Transport) -> Option<Protocol> {
    match transport {
        Transport::Tcp => Some(Protocol::Tcp),
        Transport::Udp => Some(Protocol::Udp),
        Transport::Icmp => None,
    }
}

/// The name by which containers look a service up: of a host's projects without the project.
pub(crate) fn asked_for(service: &str) -> &str {
    service.rsplit('/').next().unwrap_or(service)
}

/// The networks on which the host has an address, each with its address on the uplink that leads there.
fn routes(lab: &Lab) -> Vec<Route> {
    let places = lab.places();
    let Some(host) = lab.net().ns(places.host) else {
        return Vec::new();
    };
    let uplink = lab.host_addresses();
    let leases = lab.docker().networks().flat_map(|network| &network.leases);
    let own = leases.filter(|lease| lease.gateway.is_some_and(|own| host.is_local(own)));
    let routes = own.filter_map(|lease| {
        let mut vias = uplink.iter().copied();
        let via = vias.find(|via| via.is_ipv4() == lease.subnet.addr().is_ipv4())?;
        Some(Route {
            to: lease.subnet,
            via,
        })
    });
    routes.collect()
}

impl<'p> Scene<'p> {
    /// What a world's project is now, or all of them, joined.
    pub(crate) fn of(world: &World<'p>, project: &'p Project, joined: Option<&'p Joined>) -> Self {
        let services = project.services.iter();
        let listens = services.map(|service| {
            let listens = emulator_compose::listens(service, world.images());
            (service.name.as_str(), listens)
        });
        let started = world.up.iter().flat_map(|(own, up)| {
            let containers = up.containers.iter();
            containers.map(move |started| (*own, started))
        });
        let failed = started.filter_map(|(own, started)| {
            let error = started.error.as_ref()?;
            let service = match joined {
                Some(joined) => joined.label(&own.name, &started.service)?,
                None => core::ptr::eq(own, project).then(|| started.service.clone())?,
            };
            Some((service, error.to_string()))
        });
        let mut by_name = BTreeMap::new();
        for service in &project.services {
            by_name.entry(service.name.as_str()).or_insert(service);
        }
        Self {
            project,
            joined,
            services: by_name,
            assigned: world.assigned(),
            machine: crate::assigned::machine(&world.lab),
            listens: listens.collect(),
            failed: failed.collect(),
            routes: routes(&world.lab),
        }
    }

    /// The containers of a service, those that do not run as well.
    pub(crate) fn containers<'s>(
        &'s self,
        service: &'s str,
    ) -> impl Iterator<Item = &'s Container> {
        let containers = self.assigned.containers.iter();
        let is_known = self.services.contains_key(service);
        containers.filter(move |container| is_known && self.is_of(container, service))
    }

    /// Whether a container is one of a service of this name.
    fn is_of(&self, container: &Container, name: &str) -> bool {
        let own = (container.project.as_deref(), container.service.as_deref());
        let (Some(project), Some(service)) = own else {
            return false;
        };
        match self.joined {
            Some(joined) => joined.label(project, service).as_deref() == Some(name),
            None => service == name && project == self.project.name,
        }
    }

    /// The service of a container, if it is one of this project's.
    pub(crate) fn service_of(&self, container: &Container) -> Option<&'p Service> {
        let (project, service) = (container.project.as_deref()?, container.service.as_deref()?);
        match self.joined {
            Some(joined) => {
                let label = joined.label(project, service)?;
                self.services.get(label.as_str()).copied()
            }
            None if project == self.project.name => self.services.get(service).copied(),
            None => None,
        }
    }

    fn asker(&self, container: &Container) -> Asker {
        Asker {
            end: End::Container(container.name.clone()),
            service: self
                .service_of(container)
                .map(|service| service.name.clone()),
        }
    }

    /// Those that a party stands for. A service that has no container stands for nobody.
    pub(crate) fn askers(&self, party: &Party) -> Vec<Asker> {
        let place = |end| vec![Asker { end, service: None }];
        match party {
            Party::Any => {
                let running = self.assigned.containers.iter().filter(|c| c.running);
                let own = running.filter(|c| self.service_of(c).is_some());
                own.map(|container| self.asker(container)).collect()
            }
            Party::Host => place(End::Host),
            Party::Lan => place(End::Lan),
            Party::Internet => place(End::Internet),
            Party::Service(service) => {
                let containers = self.containers(service);
                containers.map(|container| self.asker(container)).collect()
            }
        }
    }

    /// The things that a target stands for; none of SCTP.
    pub(crate) fn goals(&self, target: &Target) -> Vec<Goal> {
        let (port, transport) = match target.probe {
            Probe::Tcp(port) => (port, Transport::Tcp),
            Probe::Udp(port) => (port, Transport::Udp),
            Probe::Icmp => (0, Transport::Icmp),
            Probe::Known => return self.known_goals(&target.whom),
        };
        match &target.whom {
            Whom::Address(ip) => vec![Goal::Address(*ip, port, transport)],
            Whom::Name(name) => vec![Goal::Name(name.clone(), port, transport)],
            Whom::Party(Party::Service(name)) => vec![self.goal(name, port, transport)],
            Whom::Party(Party::Any) => {
                let services = self.project.services.iter();
                services
                    .map(|service| self.goal(&service.name, port, transport))
                    .collect()
            }
            Whom::Party(place) => self
                .askers(place)
                .into_iter()
                .map(|asker| Goal::Place(asker.end, port, transport))
                .collect(),
        }
    }

    fn goal(&self, service: &str, port: u16, transport: Transport) -> Goal {
        let stated = self.listens.get(service).is_some_and(|l| !l.is_empty())
            || self
                .project
                .service(service)
                .is_some_and(|s| s.vethlab.listen.is_some());
        if stated || transport == Transport::Icmp {
            Goal::Service(service.to_owned(), port, transport)
        } else {
            Goal::Unknown(service.to_owned())
        }
    }

    fn known_goals(&self, whom: &Whom) -> Vec<Goal> {
        let of = |service: &str| -> Vec<Goal> {
            let listens = self.listens.get(service).into_iter().flatten();
            let known: Vec<Goal> = listens
                .filter_map(|listen| {
                    let transport = transport(listen.protocol)?;
                    Some(Goal::Service(service.to_owned(), listen.port, transport))
                })
                .collect();
            match known.is_empty() {
                true => vec![Goal::Unknown(service.to_owned())],
                false => known,
            }
        };
        match whom {
            // Without a port there is nothing but a ping to send.
            Whom::Address(ip) => vec![Goal::Address(*ip, 0, Transport::Icmp)],
            Whom::Name(name) => vec![Goal::Name(name.clone(), 0, Transport::Icmp)],
            Whom::Party(Party::Service(service)) => of(service),
            Whom::Party(Party::Any) => {
                let services = self.project.services.iter();
                services.flat_map(|service| of(&service.name)).collect()
            }
            Whom::Party(Party::Internet) => {
                vec![Goal::Place(End::Internet, INTERNET_PORT, Transport::Tcp)]
            }
            Whom::Party(Party::Host) => vec![Goal::Place(End::Host, 0, Transport::Icmp)],
            Whom::Party(Party::Lan) => vec![Goal::Place(End::Lan, 0, Transport::Icmp)],
        }
    }

    /// Whether a container lives in the host's namespace.
    pub(crate) fn is_on_host(&self, container: &Container) -> bool {
        let owner = self.owner(container);
        let service = self.service_of(owner);
        service.is_some_and(|service| service.network_mode == NetworkMode::Host)
    }

    /// The container whose namespace a container lives in.
    pub(crate) fn owner<'s>(&'s self, container: &'s Container) -> &'s Container {
        let joined = match self
            .service_of(container)
            .map(|service| &service.network_mode)
        {
            Some(NetworkMode::Service(target)) => self
                .project
                .service(target)
                .map(|service| self.project.container_name(service, 1)),
            Some(NetworkMode::Container(name)) => Some(name.clone()),
            _ => None,
        };
        let owner = joined.and_then(|name| self.assigned.container(&name));
        owner.unwrap_or(container)
    }

    /// The ports of a service's containers that a sentence means: the published one of that number for those who
    /// are no containers, else the container's own.
    pub(crate) fn ports(&self, asker: &Asker, service: &str, port: u16, t: Transport) -> Vec<u16> {
        let mut ports: Vec<u16> = Vec::new();
        if !matches!(asker.end, End::Container(_)) {
            let published = self.containers(service).flat_map(|c| &c.published);
            let same = published.filter(|p| p.host_port == port && Some(p.protocol) == protocol(t));
            ports.extend(same.map(|publication| publication.port));
            ports.dedup();
        }
        if ports.is_empty() {
            ports.push(port);
        }
        ports
    }

    /// Every way to a service's port besides its name.
    pub(crate) fn ways(&self, asker: &Asker, service: &str, port: u16, t: Transport) -> Vec<Way> {
        let mut ways = Vec::new();
        for target in self.containers(service).filter(|c| c.running) {
            let owner = self.owner(target);
            if let End::Container(own) = &asker.end
                && let Some(own) = self.assigned.container(own)
                && (self.owner(own).name == owner.name
                    || (self.is_on_host(own) && self.is_on_host(target)))
            {
                let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
                ways.push(Way {
                    to,
                    door: Door::Loopback,
                });
            }
            if t != Transport::Icmp {
                self.doors(asker, target, port, t, &mut ways);
            }
            for endpoint in &owner.endpoints {
                ways.extend(endpoint.addresses().map(|address| Way {
                    to: SocketAddr::new(address, port),
                    door: Door::Direct(endpoint.network.clone()),
                }));
            }
        }
        let mut seen = Vec::new();
        ways.retain(|way| {
            let new = !seen.contains(&way.to);
            seen.push(way.to);
            new
        });
        ways
    }

    fn doors(
        &self,
        asker: &Asker,
        target: &Container,
        port: u16,
        t: Transport,
        ways: &mut Vec<Way>,
    ) {
        if self.is_on_host(target) {
            ways.extend(self.host_ways(asker, port, Door::Host));
        }
        let owner = self.owner(target);
        let published = owner.published.iter();
        let fits = published.filter(|p| p.port == port && Some(p.protocol) == protocol(t));
        for publication in fits.filter(|publication| publication.host_port != 0) {
            let door = Door::Published(*publication);
            let bound = publication.host_ip;
            let mut addresses = self.host_addresses(asker);
            // Who can go to an address of the host that is none of these can try it as well.
            let own_loopback = asker.end == End::Host || !bound.is_loopback();
            if !bound.is_unspecified() && !addresses.contains(&bound) && own_loopback {
                addresses.push(bound);
            }
            let fits = |address: &IpAddr| {
                bound.is_ipv4() == address.is_ipv4()
                    && (bound.is_unspecified() || bound == *address)
            };
            // That nobody is at the other addresses is worth trying, too: it is where one would look.
            let any_fits = addresses.iter().any(fits);
            ways.extend(
                addresses
                    .iter()
                    .filter(|address| !any_fits || fits(address))
                    .map(|&address| Way {
                        to: SocketAddr::new(address, publication.host_port),
                        door: door.clone(),
                    }),
            );
        }
    }

    fn host_ways(&self, asker: &Asker, port: u16, door: Door) -> Vec<Way> {
        let addresses = self.host_addresses(asker).into_iter();
        addresses
            .map(|address| Way {
                to: SocketAddr::new(address, port),
                door: door.clone(),
            })
            .collect()
    }

    /// The addresses by which an asker finds the host: of the uplink, and of the gateways of its networks.
    pub(crate) fn host_addresses(&self, asker: &Asker) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        if asker.end == End::Host {
            addresses.push(Ipv4Addr::LOCALHOST.into());
            addresses.push(Ipv6Addr::LOCALHOST.into());
        }
        addresses.extend(self.machine.uplink.iter().map(IpNet::addr));
        if let End::Container(name) = &asker.end
            && let Some(container) = self.assigned.container(name)
        {
            for endpoint in &self.owner(container).endpoints {
                let networks = self.assigned.networks.iter();
                let own = networks.filter(|network| network.name == endpoint.network);
                addresses.extend(own.flat_map(|network| network.gateways.iter().copied()));
            }
        }
        addresses
    }

    /// A way to a container's own address once more, for `lan` with a route to its network.
    pub(crate) fn routed(&self, way: &Way) -> Option<Way> {
        if !matches!(way.door, Door::Direct(_) | Door::Written) {
            return None;
        }
        let address = way.to.ip();
        let route = self
            .routes
            .iter()
            .find(|route| route.to.contains(&address))?;
        let network = self.network_of(address)?.to_owned();
        Some(Way {
            to: way.to,
            door: Door::Routed(network, *route),
        })
    }

    /// The ways to a place.
    pub(crate) fn place_ways(&self, asker: &Asker, place: &End, port: u16) -> Vec<Way> {
        let written = |address: IpAddr| Way {
            to: SocketAddr::new(address, port),
            door: Door::Written,
        };
        match place {
            End::Host => self.host_ways(asker, port, Door::Written),
            End::Lan => self.machine.lan.iter().copied().map(written).collect(),
            _ => vec![written(INTERNET_V4.into())],
        }
    }

    /// The key of a network that has this name in the engine; the name if it is none of the project's.
    pub(crate) fn key_of<'s>(&'s self, network: &'s str) -> &'s str {
        let mut networks = self.project.networks.iter();
        let own = networks.find(|own| own.name == network);
        own.map_or(network, |own| own.key.as_str())
    }

    /// The network that an address is on, by its name in the engine.
    pub(crate) fn network_of(&self, address: IpAddr) -> Option<&str> {
        let mut networks = self.assigned.networks.iter();
        let network = networks.find(|n| n.subnets.iter().any(|subnet| subnet.contains(&address)));
        network.map(|network| network.name.as_str())
    }

    /// The sockets of a service for a port.
    pub(crate) fn sockets(&self, service: &str, port: u16, t: Transport) -> Vec<&Listen> {
        let listens = self.listens.get(service).into_iter().flatten();
        listens
            .filter(|l| l.port == port && Some(l.protocol) == protocol(t))
            .collect()
    }

    /// A short name of an end: the service of a container that is its only one.
    pub(crate) fn word(&self, end: &End) -> String {
        let End::Container(name) = end else {
            return end.to_string();
        };
        let Some(service) = self
            .assigned
            .container(name)
            .and_then(|c| self.service_of(c))
        else {
            return name.clone();
        };
        match self.containers(&service.name).count() {
            1 => service.name.clone(),
            _ => name.clone(),
        }
    }
}
