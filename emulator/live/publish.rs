//! The published ports of a project, on real sockets.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::RangeInclusive;
use std::io;

use emulator_compose::{Project, Published, Service};
use emulator_core::docker::spec::{Engine, Listening, Port, Proto};
use emulator_core::lab::Lab;
use emulator_host::means::Means;
use emulator_host::publish::{Gate, Target, TcpPort, UdpPort, UdpSocket, asked, real};
use emulator_host::runtime::Runtime;
use serde::Serialize;

use super::Trouble;
use crate::project::{Up, proto};
use crate::world::{Options, listening};

/// How often a port that is free for both families is looked for.
const TRIES: usize = 16;

/// How ports are published on the real machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publishing {
    /// Not at all.
    pub off: bool,
    /// The addresses, one of each family at most, on which ports are bound that the project does not publish
    /// on loopback; on loopback too if there is none.
    pub on: Vec<IpAddr>,
}

/// A port that is bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// Where a real client connects to.
    pub real: SocketAddr,
    /// Where it is published on the lab's host.
    pub host: SocketAddr,
    /// The container.
    pub container: String,
    /// The container's port: `80/tcp`.
    pub port: String,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}:{}", self.real, self.container, self.port)
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(Gate),
    Udp(UdpSocket),
}

impl Socket {
    fn bind(protocol: Proto, addr: SocketAddr) -> io::Result<Self> {
        match protocol {
            Proto::Udp => UdpSocket::bind(addr).map(Self::Udp),
            _ => Gate::bind(addr).map(Self::Tcp),
        }
    }

    fn addr(&self) -> SocketAddr {
        match self {
            Self::Tcp(gate) => gate.addr(),
            Self::Udp(socket) => socket.addr(),
        }
    }
}

/// The sockets of a project, bound and not attached yet.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    sockets: Vec<(Socket, Target)>,
    /// What is bound.
    pub(super) bound: Vec<Bound>,
    /// What is not, in a sentence each.
    pub(super) unbound: Vec<String>,
}

/// How ports are published, and in whose words it is told that one is taken.
#[derive(Clone, Copy)]
struct How<'a> {
    publishing: &'a Publishing,
    engine: Engine,
}

/// A port of a container, on one address of the lab's host or on one of each family.
struct Wanted {
    port: Port,
    host: Vec<(SocketAddr, SocketAddr)>,
}

impl Sockets {
    /// Binds what the project publishes.
    ///
    /// # Errors
    /// [`Trouble::Port`] in Docker's words: it is taken, or not allowed.
    pub(super) fn bind(
        lab: &Lab,
        project: &Project,
        up: &Up,
        options: &Options,
        publishing: &Publishing,
    ) -> Result<Self, Trouble> {
        let mut sockets = Self::default();
        if publishing.off {
            return Ok(sockets);
        }
        let how = How {
            publishing,
            engine: options.daemon.engine,
        };
        for started in &up.containers {
            let Some(service) = project.service(&started.service) else {
                continue;
            };
            if lab.namespace(&started.container) == Some(lab.places().host) {
                let listens = listening(service, &options.images);
                sockets.on_host(lab, &started.container, &listens, how);
                continue;
            }
            for wanted in wanted(lab, &started.container) {
                sockets
                    .add(lab, &started.container, service, &wanted, how)
                    .map_err(|sentence| refused(project, service, &wanted, sentence))?;
            }
        }
        Ok(sockets)
    }

    /// What a container in the host's network listens on is there on this machine as well, under the same number. A
    /// port that cannot be had is no obstacle, as the container itself has it.
    fn on_host(&mut self, lab: &Lab, container: &str, listens: &[Listening], how: How<'_>) {
        for listening in listens {
            let (port, number) = (listening.port, listening.port.number);
            if port.proto == Proto::Sctp {
                continue;
            }
            let all = [
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            ];
            let addresses = listening
                .address
                .as_ref()
                .map_or(&all[..], core::slice::from_ref);
            for address in addresses {
                let at = SocketAddr::new(real(*address, &how.publishing.on), number);
                let inside = SocketAddr::new(asked(*address), number);
                let host = SocketAddr::new(*address, number);
                match Socket::bind(port.proto, at) {
                    Ok(socket) => {
                        let ns = lab.places().host;
                        let target = Target {
                            host: ns,
                            to: inside,
                            container: ns,
                            port: inside,
                        };
                        self.keep(socket, target, container, host, port);
                    }
                    Err(error) if at.is_ipv6() && has_no_ipv6(&error) => {}
                    Err(error) => {
                        let why = sentence(Engine::V29, at, port.proto, &error);
                        self.unbound.push(format!(
                            "{container}:{port} in the host's network is not reached from here: {why}"
                        ));
                    }
                }
            }
        }
    }

    fn keep(
        &mut self,
        socket: Socket,
        target: Target,
        container: &str,
        host: SocketAddr,
        port: Port,
    ) {
        self.bound.push(Bound {
            real: socket.addr(),
            host,
            container: container.to_owned(),
            port: port.to_string(),
        });
        self.sockets.push((socket, target));
    }

    fn add(
        &mut self,
        lab: &Lab,
        container: &str,
        service: &Service,
        wanted: &Wanted,
        how: How<'_>,
    ) -> Result<(), String> {
        let Some(ns) = lab.namespace(container) else {
            return Ok(());
        };
        if wanted.port.proto == Proto::Sctp {
            let sentence = format!("{container}:{} is not published: no SCTP here", wanted.port);
            self.unbound.push(sentence);
            return Ok(());
        }
        let given = wanted.host.first().map_or(0, |(host, _)| host.port());
        let numbers = match declared(service, wanted).map(|port| port.published) {
            Some(Published::Ephemeral) => 0..=0,
            // The next one that is free here, as Docker takes the next one that is free there.
            Some(Published::Range(first, last)) => first..=last,
            _ => given..=given,
        };
        let made = self.together(container, wanted, how, numbers)?;
        for (socket, host, port) in made {
            let target = Target {
                host: lab.places().host,
                to: SocketAddr::new(asked(host.ip()), host.port()),
                container: ns,
                port,
            };
            self.keep(socket, target, container, host, wanted.port);
        }
        Ok(())
    }

    /// The sockets of one port, all with the same number: the first of these that is free, 0 for any.
    fn together(
        &mut self,
        container: &str,
        wanted: &Wanted,
        how: How<'_>,
        numbers: RangeInclusive<u16>,
    ) -> Result<Vec<(Socket, SocketAddr, SocketAddr)>, String> {
        let tries = if *numbers.start() == 0 { TRIES } else { 1 };
        let mut taken = None;
        'next: for first in numbers.flat_map(|number| core::iter::repeat_n(number, tries)) {
            let mut number = first;
            let mut made = Vec::new();
            let mut absent = Vec::new();
            for &(host, port) in &wanted.host {
                let at = SocketAddr::new(real(host.ip(), &how.publishing.on), number);
                match Socket::bind(wanted.port.proto, at) {
                    Ok(socket) => {
                        number = socket.addr().port();
                        made.push((socket, host, port));
                    }
                    Err(error) if host.is_ipv6() && has_no_ipv6(&error) => {
                        absent.push(format!(
                            "{container}:{} is not published on {at}: this machine has no such \
                             address ({error})",
                            wanted.port
                        ));
                    }
                    Err(error) => {
                        let why = sentence(how.engine, at, wanted.port.proto, &error);
                        if error.kind() != io::ErrorKind::AddrInUse {
                            return Err(why);
                        }
                        taken = Some(why);
                        continue 'next;
                    }
                }
            }
            self.unbound.extend(absent);
            return Ok(made);
        }
        Err(taken.unwrap_or_default())
    }

    /// Attaches what was bound.
    pub(super) fn attach(self, runtime: &mut Runtime, means: &Means) -> io::Result<()> {
        for (socket, target) in self.sockets {
            let means = means.clone();
            match socket {
                Socket::Tcp(gate) => {
                    runtime.attach(|cx| TcpPort::new(cx, gate, target, means))?;
                }
                Socket::Udp(socket) => {
                    runtime.attach(|cx| UdpPort::new(cx, socket, target, means))?;
                }
            }
        }
        Ok(())
    }
}

/// What a container publishes, one entry for both families of a port.
fn wanted(lab: &Lab, container: &str) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    for published in lab.published(container) {
        // In routed mode there is no port of the host.
        if published.host_port == 0 {
            continue;
        }
        let host = SocketAddr::new(published.host_ip, published.host_port);
        let port = SocketAddr::new(published.container_ip, published.port.number);
        let same = all.iter_mut().find(|wanted| {
            let other = |(at, _): &(SocketAddr, SocketAddr)| {
                at.port() == host.port() && at.is_ipv4() != host.is_ipv4()
            };
            wanted.port == published.port && wanted.host.len() == 1 && wanted.host.iter().all(other)
        });
        match same {
            Some(wanted) => wanted.host.push((host, port)),
            None => all.push(Wanted {
                port: published.port,
                host: vec![(host, port)],
            }),
        }
    }
    all
}

/// The line of the file that publishes a port.
fn declared<'a>(service: &'a Service, wanted: &Wanted) -> Option<&'a emulator_compose::Port> {
    let number = wanted.host.first().map_or(0, |(host, _)| host.port());
    let fits = |port: &&emulator_compose::Port| {
        port.target == wanted.port.number && proto(port.protocol) == wanted.port.proto
    };
    let exact = |port: &&emulator_compose::Port| match port.published {
        Published::Exact(exact) => exact == number,
        Published::Range(first, last) => (first..=last).contains(&number),
        Published::Ephemeral => false,
    };
    let mut fitting = service.ports.iter().filter(fits);
    let all = service.ports.iter().filter(fits);
    let loose = |port: &&emulator_compose::Port| port.published == Published::Ephemeral;
    fitting.find(exact).or_else(|| all.into_iter().find(loose))
}

fn has_no_ipv6(error: &io::Error) -> bool {
    // EAFNOSUPPORT, EADDRNOTAVAIL.
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(97)
}

fn sentence(engine: Engine, at: SocketAddr, proto: Proto, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "address already in use".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied: ports below net.ipv4.ip_unprivileged_port_start need \
             CAP_NET_BIND_SERVICE; publish another one, or use --no-publish"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "cannot assign requested address".to_owned(),
        _ => error.to_string(),
    };
    match engine {
        Engine::V29 => format!("failed to bind host port {at}/{proto}: {why}"),
        Engine::V20_10 => {
            let family = if at.is_ipv4() { 4 } else { 6 };
            format!("Error starting userland proxy: listen {proto}{family} {at}: bind: {why}")
        }
    }
}

fn refused(project: &Project, service: &Service, wanted: &Wanted, sentence: String) -> Trouble {
    let at = declared(service, wanted).map_or(service.at, |port| port.at);
    Trouble::Port {
        place: project.locate(at),
        service: format!("{}.ports", service.name),
        sentence,
    }
}
