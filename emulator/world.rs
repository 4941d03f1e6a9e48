//! A world to ask questions of: one machine with Docker, the projects that run on it, and their listeners.
//!
//! Every container runs a stand-in that listens on exactly what its service is known to listen on, at the
//! addresses that are known, and tells each caller the address that it sees. External networks that no
//! project of the world makes are those of somebody else: here they are made, empty.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeSet;

use emulator_compose::{Images, Project, Protocol, Service};
use emulator_core::docker::container::Mode;
use emulator_core::docker::spec::{ContainerSpec, Engine, Listening, Port, Proto};
use emulator_core::docker::{DaemonConfig, Error};
use emulator_core::id::NsId;
use emulator_core::lab::outside::Outside;
use emulator_core::lab::probe::{Answer, Question};
use emulator_core::lab::{Lab, LabConfig, StandIns};
use emulator_model::Assigned;

use crate::project::{self, Started, Up};

/// How long a program may take to answer from its own namespace, in virtual time.
const LOCAL_LIMIT: Duration = Duration::from_secs(1);
/// How many containers may stand in the way of an address.
const HELD_MAX: u32 = 256;

/// What a world is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// All chance comes from here.
    pub seed: u64,
    /// The daemon; which engine it is among other things.
    pub daemon: DaemonConfig,
    /// What is around the machine.
    pub outside: Outside,
    /// What images listen on.
    pub images: Images,
}

impl Default for Options {
    fn default() -> Self {
        Self::new(0, Engine::default())
    }
}

impl Options {
    /// Docker's defaults.
    #[must_use]
    pub fn new(seed: u64, engine: Engine) -> Self {
        Self {
            seed,
            // The lab fills in the host's namespace when there is one.
            daemon: DaemonConfig::new(engine, NsId::default()),
            outside: Outside::default(),
            images: Images::builtin(),
        }
    }
}

/// A machine and the projects on it.
#[derive(Debug)]
pub struct World<'p> {
    /// The lab.
    pub lab: Lab,
    /// The projects, in the order in which they were started, and what became of them.
    pub up: Vec<(&'p Project, Up)>,
    /// The external networks that were made empty, by their names in the engine.
    pub stand_ins: Vec<String>,
    pub(crate) images: Images,
    /// Containers that hold an address so that nobody gets it again.
    held: u32,
    /// Containers whose namespace went with the container that they had joined.
    stranded: BTreeSet<String>,
    /// Containers that were removed, as they were last.
    gone: Vec<emulator_model::Container>,
}

impl<'p> World<'p> {
    /// A machine without projects: the place to start a capture.
    ///
    /// # Errors
    /// If the daemon's configuration makes no sense, in Docker's words.
    pub fn empty(options: &Options) -> Result<Self, Error> {
        Self::empty_with(options, StandIns::Tell)
    }

    /// The same; `stand_ins` run where nothing is known of an image but its ports.
    pub(crate) fn empty_with(options: &Options, stand_ins: StandIns) -> Result<Self, Error> {
        let config = LabConfig {
            seed: options.seed,
            daemon: options.daemon.clone(),
            outside: options.outside.clone(),
            stand_ins,
            ..LabConfig::default()
        };
        Ok(Self {
            lab: Lab::new(config)?,
            up: Vec::new(),
            stand_ins: Vec::new(),
            images: options.images.clone(),
            held: 0,
            stranded: BTreeSet::new(),
            gone: Vec::new(),
        })
    }

    /// A machine with one project on it.
    ///
    /// # Errors
    /// If the daemon's configuration makes no sense, or a stand-in for an external network cannot be made,
    /// in Docker's words. What fails in the project itself is in [`World::up`].
    pub fn with(project: &'p Project, options: &Options) -> Result<Self, Error> {
        let mut world = Self::empty(options)?;
        world.start(&[project])?;
        Ok(world)
    }

    /// Starts projects, those that make a network before those that expect it to be there.
    ///
    /// # Errors
    /// If a stand-in for an external network cannot be made. What fails in a project itself is in
    /// [`World::up`].
    pub fn start(&mut self, projects: &[&'p Project]) -> Result<(), Error> {
        self.start_but(projects, |_, _| false)
    }

    /// The same without the services that are `away`.
    ///
    /// # Errors
    /// As [`World::start`].
    pub fn start_but(
        &mut self,
        projects: &[&'p Project],
        away: impl Fn(&Project, &Service) -> bool,
    ) -> Result<(), Error> {
        let listens = |service: &Service, images: &Images| Some(listening(service, images));
        self.start_with(projects, away, listens)
    }

    /// The same with programs of the caller's choice: stand-ins that listen on these sockets, or `None` for what the
    /// image and the command say ([`ContainerSpec::listens`]).
    ///
    /// # Errors
    /// As [`World::start`].
    pub(crate) fn start_with(
        &mut self,
        projects: &[&'p Project],
        away: impl Fn(&Project, &Service) -> bool,
        listens: impl Fn(&Service, &Images) -> Option<Vec<Listening>>,
    ) -> Result<(), Error> {
        let made: BTreeSet<&str> = projects.iter().flat_map(|project| makes(project)).collect();
        for network in projects.iter().flat_map(|project| &project.networks) {
            let wanted = network.external && network.used && !made.contains(network.name.as_str());
            if wanted && !project::is_there(&self.lab, &network.name) {
                self.lab
                    .network_create(project::external_network(network))?;
                self.stand_ins.push(network.name.clone());
            }
        }
        for project in in_order(projects) {
            let images = &self.images;
            let up = project::up_some(
                &mut self.lab,
                project,
                |service| listens(service, images),
                |service| !away(project, service),
            );
            self.up.push((project, up));
        }
        Ok(())
    }

    /// The table of images.
    #[must_use]
    pub const fn images(&self) -> &Images {
        &self.images
    }

    /// What became of a project.
    #[must_use]
    pub fn up_of(&self, project: &Project) -> Option<&Up> {
        let mut all = self.up.iter();
        let own = all.find(|(other, _)| core::ptr::eq(*other, project));
        own.map(|(_, up)| up)
    }

    /// What was assigned to everything, for the model. Who lost its namespace does not run.
    #[must_use]
    pub fn assigned(&self) -> Assigned {
        let mut assigned = crate::assigned::assigned(&self.lab);
        assigned.gone.clone_from(&self.gone);
        for container in &mut assigned.containers {
            container.running &= !self.stranded.contains(&container.name);
        }
        assigned
    }

    /// Stops and removes the containers of a service.
    pub fn down(&mut self, project: &Project, service: &str) {
        let mut all = self.up.iter_mut();
        let Some((_, up)) = all.find(|(other, _)| core::ptr::eq(*other, project)) else {
            return;
        };
        let (gone, kept) = core::mem::take(&mut up.containers)
            .into_iter()
            .partition(|started| started.service == service);
        up.containers = kept;
        let gone: Vec<Started> = gone;
        for started in &gone {
            self.remove(&started.container);
        }
        self.lab.settle();
    }

    /// Removes a container. Those that live in its namespace stay behind in one without interfaces, unless it
    /// is the host's, or another one's that it has joined itself.
    fn remove(&mut self, container: &str) {
        let found = self.lab.docker().container(container);
        let mut lost: BTreeSet<u32> = BTreeSet::new();
        let own = found.as_ref().ok().filter(|found| found.mode != Mode::Host);
        lost.extend(
            own.filter(|found| found.joined.is_none())
                .map(|found| found.key),
        );
        let namespace = (!lost.is_empty())
            .then(|| self.lab.namespace(container))
            .flatten();
        if let Ok(found) = found {
            let last = crate::assigned::one_container(&self.lab, found);
            self.gone.push(last);
        }
        // In the order in which they were made: whom somebody has joined comes before him, unless that one has gone or
        // was made again since.
        for other in self.lab.docker().containers() {
            let within = || namespace.is_some() && self.lab.namespace(&other.name) == namespace;
            let joined = other.joined;
            if joined.is_some_and(|joined| lost.contains(&joined) || within()) {
                lost.insert(other.key);
                self.stranded.insert(other.name.clone());
            }
        }
        // It is there, or its start failed and it is not.
        let _gone = self.lab.remove(container, true);
    }

    /// Replaces the containers of a service by new ones. `moved`: none of them gets an address back that the old
    /// ones had, as far as the file leaves the choice to the engine.
    pub fn recreate(&mut self, project: &'p Project, service: &str, moved: bool) {
        let Some(service) = project.service(service) else {
            return;
        };
        let names = (1..=service.replicas).map(|number| project.container_name(service, number));
        let mut addresses: Vec<(String, IpAddr)> = Vec::new();
        for name in names {
            if let Ok(container) = self.lab.docker().container(&name) {
                addresses.extend(container.endpoints().flat_map(|endpoint| {
                    let own = endpoint.addresses().map(|net| net.addr());
                    own.map(|address| (endpoint.network_name.clone(), address))
                }));
            }
            self.remove(&name);
        }
        if moved {
            let stated = service.networks.iter();
            let stated: BTreeSet<&str> = stated
                .flat_map(|member| [&member.ipv4_address, &member.ipv6_address])
                .flatten()
                .map(|address| address.value.as_str())
                .collect();
            addresses.retain(|(_, address)| !stated.contains(address.to_string().as_str()));
            for (network, address) in &addresses {
                self.hold(network, *address);
            }
        }
        let mut again = Vec::new();
        for number in 1..=service.replicas {
            let listens = Some(listening(service, &self.images));
            again.push(project::start(
                &mut self.lab,
                project,
                service,
                number,
                listens,
            ));
        }
        self.lab.settle();
        let mut all = self.up.iter_mut();
        if let Some((_, up)) = all.find(|(other, _)| core::ptr::eq(*other, project)) {
            for started in again {
                let name = &started.container;
                self.stranded.remove(name);
                if joins(&self.lab, name, &self.stranded) {
                    self.stranded.insert(name.clone());
                }
                let old = up
                    .containers
                    .iter_mut()
                    .find(|old| old.container == started.container);
                match old {
                    Some(old) => *old = started,
                    None => up.containers.push(started),
                }
            }
        }
    }

    /// Gives an address to a container of nobody's: the lowest free one is given out first, so those below it
    /// are taken too.
    fn hold(&mut self, network: &str, address: IpAddr) {
        let taken = |lab: &Lab| {
            let mut containers = lab.docker().containers();
            containers.any(|container| {
                let mut endpoints = container.endpoints();
                endpoints.any(|endpoint| endpoint.addresses().any(|own| own.addr() == address))
            })
        };
        for _ in 0..HELD_MAX {
            if taken(&self.lab) {
                return;
            }
            self.held += 1;
            let name = format!("vethlab-holds-{}", self.held);
            let spec = ContainerSpec {
                name: Some(name.clone()),
                network_mode: network.to_owned(),
                listens: Some(Vec::new()),
                ..ContainerSpec::default()
            };
            if self
                .lab
                .create(spec)
                .and_then(|_| self.lab.start(&name))
                .is_err()
            {
                return;
            }
        }
    }

    /// The first project: the only one, mostly.
    #[must_use]
    pub fn first(&self) -> Option<(&'p Project, &Up)> {
        self.up.first().map(|(project, up)| (*project, up))
    }

    /// Whether the program of a container answers on one of its sockets when it is asked from its own
    /// namespace: nothing but the program itself is in the way then.
    pub fn answers(&mut self, container: &str, socket: Listening) -> bool {
        let Some(ns) = self.lab.namespace(container) else {
            return false;
        };
        let address = match socket.address {
            None => Ipv4Addr::LOCALHOST.into(),
            Some(IpAddr::V4(any)) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            Some(IpAddr::V6(any)) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            Some(address) => address,
        };
        let to = SocketAddr::new(address, socket.port.number);
        let question = match socket.port.proto {
            Proto::Tcp => Question::Tcp(to, b""),
            Proto::Udp => Question::Udp(to, b"?"),
            Proto::Sctp => return false,
        };
        matches!(self.lab.probe(ns, &question, LOCAL_LIMIT), Answer::Open(_))
    }
}

/// Whether a container lives in the namespace of one of `others`.
fn joins(lab: &Lab, container: &str, others: &BTreeSet<String>) -> bool {
    let docker = lab.docker();
    let mut joined = docker.container(container).ok().and_then(|own| own.joined);
    while let Some(key) = joined {
        let Some(other) = docker.containers().find(|other| other.key == key) else {
            return false;
        };
        if others.contains(&other.name) {
            return true;
        }
        joined = other.joined;
    }
    false
}

/// The networks that a project makes, by their names in the engine.
fn makes(project: &Project) -> impl Iterator<Item = &str> {
    let used = project.networks.iter().filter(|network| network.used);
    used.filter(|network| !network.external)
        .map(|network| network.name.as_str())
}

/// Those that make a network before those that expect it; otherwise as they are given. Projects that wait
/// for each other are started as they are given too: the engine then says what is missing.
fn in_order<'p>(projects: &[&'p Project]) -> Vec<&'p Project> {
    let mut waiting: Vec<&'p Project> = projects.to_vec();
    let mut ordered: Vec<&'p Project> = Vec::new();
    while !waiting.is_empty() {
        let ready = waiting.iter().position(|project| {
            let needs: BTreeSet<&str> = project
                .networks
                .iter()
                .filter(|network| network.external && network.used)
                .map(|network| network.name.as_str())
                .collect();
            let mut others = waiting
                .iter()
                .filter(|other| !core::ptr::eq(**other, *project));
            !others.any(|other| makes(other).any(|name| needs.contains(name)))
        });
        ordered.push(waiting.remove(ready.unwrap_or(0)));
    }
    ordered
}

/// The sockets that a service's program holds open.
#[must_use]
pub fn listening(service: &Service, images: &Images) -> Vec<Listening> {
    let listens = emulator_compose::listens(service, images).into_iter();
    listens
        .map(|listen| Listening {
            address: listen.address,
            port: Port {
                number: listen.port,
                proto: match listen.protocol {
                    Protocol::Tcp => Proto::Tcp,
                    Protocol::Udp => Proto::Udp,
                    Protocol::Sctp => Proto::Sctp,
                },
            },
        })
        .collect()
}
