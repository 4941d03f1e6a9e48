//! A world to ask questions of: one machine with Docker, the projects that run on it, and their listeners.
//!
//! Every container runs a stand-in that listens on exactly what its service is known to listen on, at the
//! addresses that are known, and tells each caller the address that it sees. External networks that no
//! project of the world makes are those of somebody else: here they are made, empty.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeSet;

use emulator_compose::{Project, Service};
use emulator_core::docker::spec::{Engine, Listening, Proto};
use emulator_core::docker::{DaemonConfig, Error};
use emulator_core::id::NsId;
use emulator_core::lab::probe::{Answer, Question};
use emulator_core::lab::{Lab, LabConfig};

use crate::project::{self, Up};

/// How long a program may take to answer from its own namespace, in virtual time.
const LOCAL_LIMIT: Duration = Duration::from_secs(1);

/// What a world is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// All chance comes from here.
    pub seed: u64,
    /// The daemon; which engine it is among other things.
    pub daemon: DaemonConfig,
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
}

impl<'p> World<'p> {
    /// A machine without projects: the place to start a capture.
    ///
    /// # Errors
    /// If the daemon's configuration makes no sense, in Docker's words.
    pub fn empty(options: &Options) -> Result<Self, Error> {
        let config = LabConfig {
            seed: options.seed,
            daemon: options.daemon.clone(),
            ..LabConfig::default()
        };
        Ok(Self {
            lab: Lab::new(config)?,
            up: Vec::new(),
            stand_ins: Vec::new(),
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
        let made: BTreeSet<&str> = projects.iter().flat_map(|project| makes(project)).collect();
        for network in projects.iter().flat_map(|project| &project.networks) {
            let wanted = network.external && network.used && !made.contains(network.name.as_str());
            if wanted && self.lab.docker().network(&network.name).is_err() {
                self.lab
                    .network_create(project::external_network(network))?;
                self.stand_ins.push(network.name.clone());
            }
        }
        for project in in_order(projects) {
            let up = project::up_with(&mut self.lab, project, |service| Some(listening(service)));
            self.up.push((project, up));
        }
        Ok(())
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
pub fn listening(service: &Service) -> Vec<Listening> {
    let ports = project::listens(service).into_iter();
    ports
        .map(|port| Listening {
            address: None,
            port,
        })
        .collect()
}
