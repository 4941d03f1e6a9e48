//! A project that is up, or the projects of a host: their world in real time, and a desk that answers for it.
//!
//! What `vethlab up` is, without a command line. [`Live::start`] claims the name, makes the networks, starts
//! the services on a lab of their own, puts that on a [`Runtime`], and listens on the control socket. Ways of attaching
//! are added to [`Live::runtime`] before [`Live::run`]. The projects of a host are seen as one, whose services
//! are called `KEY/SERVICE`.
//!
//! A service runs what is known of it: the tools and servers that the lab has where its image and command name
//! one (`httpd -f`, `ping db`, nginx's page), else a stand-in that listens on its ports: it answers HTTP with a
//! page that says which container and port it is, and sends anything else back.

mod ask;
mod capture;
mod desk;
mod egress;
mod guests;
mod logs;
mod notices;
mod publish;
mod reach;
mod row;
mod screen;
mod taps;

use std::io;

use emulator_compose::{Images, Project, Service};
use emulator_core::docker::Error;
use emulator_core::docker::spec::{Listening, Port, Proto};
use emulator_core::lab::StandIns;
use emulator_core::tools;
use emulator_host::attach::Tally;
use emulator_host::control::{Claim, Claimed, Place, Server};
use emulator_host::limits::{Descriptors, raise_descriptors};
use emulator_host::means::Means;
use emulator_host::runtime::{Runtime, Stop};
use emulator_host::signals::Signals;

pub use egress::EgressWish;
pub use emulator_host::control;
pub use publish::{Bound, Publishing};
pub use reach::{Door, ProxyWish};
pub use row::{Address, PublishedPort, Row};
pub use screen::Screen;
pub use taps::{Tap, TapWish};

use crate::project::{Started, Up};
use crate::together::Together;
use crate::world::{Options, World, listening};
use ask::Asks;
use desk::Desk;
use egress::Left;
use notices::Notices;
use publish::Sockets;
use reach::Reach;
use taps::Taps;

/// Why a project does not come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is up already, as this process.
    Up(Option<u32>),
    /// A network of it cannot be made.
    Network {
        /// Where it stands.
        place: String,
        /// Its key under `networks`; its name in the engine, of a host's.
        key: String,
        /// Docker's words.
        sentence: String,
    },
    /// A published port cannot be bound.
    Port {
        /// Where it stands: `compose.yaml:7:9`.
        place: String,
        /// The key under `services`: `web.ports`.
        service: String,
        /// Docker's words.
        sentence: String,
    },
    /// Anything else: a sentence.
    Other(String),
}

/// A project that is up.
#[derive(Debug)]
pub struct Live {
    runtime: Runtime,
    project: &'static Project,
    up: Up,
    descriptors: Descriptors,
    means: Means,
    bound: Vec<Bound>,
    unbound: Vec<String>,
    doors: Vec<Door>,
    taps: Vec<Tap>,
}

/// How a project comes up.
#[derive(Debug, Default)]
pub struct Wishes {
    /// How its ports are published.
    pub publishing: Publishing,
    /// Proxies into its namespaces, besides those that its files ask for.
    pub proxies: Vec<ProxyWish>,
    /// TAPs of this machine that are put on its networks.
    pub taps: Vec<TapWish>,
    /// What may leave the lab.
    pub egress: EgressWish,
    /// Where the lines of its programs go.
    pub screen: Option<Screen>,
    /// Where it is said what people should know.
    pub notices: Option<Screen>,
}

impl Live {
    /// Starts a project, or those of a host.
    ///
    /// # Errors
    /// See [`Trouble`]. Containers that do not start are no error: [`Live::rows`] has them.
    pub fn start(
        together: Together,
        options: &Options,
        place: &Place,
        wishes: Wishes,
    ) -> Result<Self, Trouble> {
        let claim = place.claim(&together.name).map_err(|why| match why {
            Claimed::Up(process) => Trouble::Up(process),
            Claimed::Error(sentence) => Trouble::Other(sentence),
        })?;
        let descriptors = raise_descriptors();
        // They are the only ones in the life of the process, and needed until its end.
        let together: &'static Together = Box::leak(Box::new(together));
        let joined = together.joined();
        let project: &'static Project = match joined {
            Some(joined) => &*Box::leak(Box::new(joined.project)),
            None => &together.projects[0].1,
        };
        let all: Vec<&Project> = together.projects.iter().map(|(_, own)| own).collect();
        let mut world = World::empty_with(options, StandIns::Serve)
            .map_err(|e| Trouble::Other(e.to_string()))?;
        world
            .start_with(&all, |_, _| false, runs)
            .map_err(|error| Trouble::Other(error.to_string()))?;
        let mut up = as_one(together, &world)?;
        let mut lab = world.lab;
        let sockets = Sockets::bind(&lab, project, &up, options, &wishes.publishing)?;
        let reach = Reach::bind(&lab, project, &up, &options.images, &wishes.proxies)?;
        let taps = Taps::open(&mut lab, project, &mut up, &wishes.taps).map_err(Trouble::Other)?;
        let notices = Notices::new(wishes.notices);
        let voice = notices.clone();
        let means = Means::new(descriptors.now, move |sentence| voice.say(sentence));
        let left = wishes.egress.left();
        let mut doors = reach.doors.clone();
        doors.extend(Door::way_out(&wishes.egress.rules));
        let mut live = Self {
            runtime: Runtime::new(lab).map_err(|error| Trouble::Other(error.to_string()))?,
            project,
            up,
            descriptors,
            means,
            bound: sockets.bound.clone(),
            unbound: sockets.unbound.clone(),
            doors,
            taps: taps.taps.clone(),
        };
        let tallies = taps.tallies();
        let egress = wishes.egress;
        let told = (notices, left.clone());
        live.attach(together, options, claim, wishes.screen, tallies, told)
            .and_then(|()| egress.attach(&mut live.runtime, left.as_ref(), &live.means))
            .and_then(|()| reach.attach(&mut live.runtime, &live.means))
            .and_then(|()| sockets.attach(&mut live.runtime, &live.means))
            .and_then(|()| taps.attach(&mut live.runtime, &live.means))
            .map_err(|error| Trouble::Other(error.to_string()))?;
        Ok(live)
    }

    fn attach(
        &mut self,
        together: &'static Together,
        options: &Options,
        claim: Claim,
        screen: Option<Screen>,
        taps: Vec<(String, Tally)>,
        told: (Notices, Option<Left>),
    ) -> io::Result<()> {
        self.runtime.attach(Signals::new)?;
        let place = (self.project, self.up.clone(), self.bound.clone());
        self.runtime.attach(|cx| {
            let asks = Asks::new(together, options.clone());
            told.0.hear(cx.waker());
            let desk = Desk::new(cx, place, asks, taps, screen, told);
            Server::new(cx, claim, desk)
        })?;
        Ok(())
    }

    /// The runtime, to attach things to. They end before the control socket does.
    pub const fn runtime(&mut self) -> &mut Runtime {
        &mut self.runtime
    }

    /// The project, or those of the host as one.
    #[must_use]
    pub const fn project(&self) -> &Project {
        self.project
    }

    /// What became of its services.
    #[must_use]
    pub const fn up(&self) -> &Up {
        &self.up
    }

    /// How many descriptors there may be.
    #[must_use]
    pub const fn descriptors(&self) -> Descriptors {
        self.descriptors
    }

    /// What all that is attached has in common.
    #[must_use]
    pub const fn means(&self) -> &Means {
        &self.means
    }

    /// The published ports that real clients reach.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// Where real servers and real clients are tied to services.
    #[must_use]
    pub fn doors(&self) -> &[Door] {
        &self.doors
    }

    /// The TAPs on its networks.
    #[must_use]
    pub fn taps(&self) -> &[Tap] {
        &self.taps
    }

    /// The published ports that they do not reach, in a sentence each.
    #[must_use]
    pub fn unbound(&self) -> &[String] {
        &self.unbound
    }

    /// Its containers as they are now.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        row::rows(self.runtime.lab(), &self.up, &self.bound)
    }

    /// Runs until a signal comes or `down` is asked for, and ends everything in order.
    ///
    /// # Errors
    /// If the kernel refuses to wait.
    pub fn run(self) -> io::Result<Stop> {
        self.runtime.run()
    }
}

/// What became of all services, in the order of their projects.
fn as_one(together: &Together, world: &World<'_>) -> Result<Up, Trouble> {
    let mut one = Up::default();
    for (key, project) in &together.projects {
        let Some(up) = world.up_of(project) else {
            continue;
        };
        if let Some((network, error)) = up.networks.first() {
            return Err(no_network(key.is_some(), project, network, error));
        }
        one.containers.extend(up.containers.iter().map(|started| {
            let service = match key {
                Some(key) => format!("{key}/{}", started.service),
                None => started.service.clone(),
            };
            Started {
                service,
                ..started.clone()
            }
        }));
    }
    Ok(one)
}

fn no_network(hosted: bool, project: &Project, key: &str, error: &Error) -> Trouble {
    let network = project.network(key);
    let subnet = network.and_then(|network| network.ipam.first());
    let at = subnet.map(|subnet| subnet.at);
    let at = at.or_else(|| network.map(|network| network.at));
    let name = network
        .filter(|_| hosted)
        .map_or(key, |network| &network.name);
    Trouble::Network {
        place: at.map_or_else(String::new, |at| project.locate(at)),
        key: name.to_owned(),
        sentence: error.to_string(),
    }
}

/// What a service runs: `None` for what its image and command say, where the lab has that and it listens on
/// everything that the service is known to listen on.
fn runs(service: &Service, images: &Images) -> Option<Vec<Listening>> {
    let known = listening(service, images);
    if !service.vethlab.upstream.is_empty() {
        let fronts = reach::fronts(service, &known);
        let other = |socket: &Listening| {
            socket.port.proto != Proto::Tcp
                || !fronts.iter().any(|(port, _)| *port == socket.port.number)
        };
        return Some(known.into_iter().filter(other).collect());
    }
    let image = service.image.as_ref().map_or("", |image| &image.value);
    let command = service.command.as_ref().map_or(&[][..], |at| &at.value);
    let last = image.rsplit('/').next().unwrap_or(image);
    let enough = match last.split([':', '@']).next().unwrap_or(last) {
        "alpine" | "busybox" | "netshoot" | "ubuntu" => tools::spawn(command).is_ok(),
        "http" | "httpd" | "nginx" => {
            let web = Port {
                number: 80,
                proto: Proto::Tcp,
            };
            let declared = crate::project::listens(service);
            let served = |socket: &Listening| {
                socket.address.is_none() && (socket.port == web || declared.contains(&socket.port))
            };
            known.iter().all(served)
        }
        _ => false,
    };
    (!enough).then_some(known)
}
