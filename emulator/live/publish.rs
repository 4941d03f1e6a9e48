//! The published ports of a project, on real sockets.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use std::io;

use emulator_compose::{Project, Published, Service};
use emulator_core::docker::spec::{Port, Proto};
use emulator_core::lab::Lab;
use emulator_host::means::Means;
use emulator_host::publish::{Gate, Target, TcpPort, UdpPort, UdpSocket, asked, real};
use emulator_host::runtime::Runtime;
use serde::Serialize;

use super::Trouble;
use crate::project::{Up, proto};

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
        publishing: &Publishing,
    ) -> Result<Self, Trouble> {
        let mut sockets = Self::default();
        if publishing.off {
            return Ok(sockets);
        }
        for started in &up.containers {
            let Some(service) = project.service(&started.service) else {
                continue;
            };
            for wanted in wanted(lab, &started.container) {
                sockets
                    .add(lab, &started.container, service, &wanted, publishing)
                    .map_err(|sentence| refused(project, service, &wanted, sentence))?;
            }
        }
        Ok(sockets)
    }

    fn add(
        &mut self,
        lab: &Lab,
        container: &str,
        service: &Service,
        wanted: &Wanted,
        publishing: &Publishing,
    ) -> Result<(), String> {
        let Some(ns) = lab.namespace(container) else {
            return Ok(());
        };
        if wanted.port.proto == Proto::Sctp {
            let sentence = format!("{container}:{} is not published: no SCTP here", wanted.port);
            self.unbound.push(sentence);
            return Ok(());
        }
        let first = match declared(service, wanted).map(|port| port.published) {
            Some(Published::Ephemeral) => 0,
            _ => wanted.host.first().map_or(0, |(host, _)| host.port()),
        };
        let made = self.together(container, wanted, publishing, first)?;
        for (socket, host, port) in made {
            self.bound.push(Bound {
                real: socket.addr(),
                host,
                container: container.to_owned(),
                port: wanted.port.to_string(),
            });
            let target = Target {
                host: lab.places().host,
                to: SocketAddr::new(asked(host.ip()), host.port()),
                container: ns,
                port,
            };
            self.sockets.push((socket, target));
        }
        Ok(())
    }

    /// The sockets of one port, all with the same number.
    fn together(
        &mut self,
        container: &str,
        wanted: &Wanted,
        publishing: &Publishing,
        first: u16,
    ) -> Result<Vec<(Socket, SocketAddr, SocketAddr)>, String> {
        let proto = wanted.port.proto;
        let mut attempt = 0;
        'again: loop {
            attempt += 1;
            let mut number = first;
            let mut made = Vec::new();
            let mut absent = Vec::new();
            for &(host, port) in &wanted.host {
                let at = SocketAddr::new(real(host.ip(), &publishing.on), number);
                match Socket::bind(proto, at) {
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
                    Err(error)
                        if first == 0
                            && error.kind() == io::ErrorKind::AddrInUse
                            && attempt < TRIES =>
                    {
                        continue 'again;
                    }
                    Err(error) => return Err(sentence(at, proto, &error)),
                }
            }
            self.unbound.extend(absent);
            return Ok(made);
        }
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

fn sentence(at: SocketAddr, proto: Proto, error: &io::Error) -> String {
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
    format!("failed to bind host port {at}/{proto}: {why}")
}

fn refused(project: &Project, service: &Service, wanted: &Wanted, sentence: String) -> Trouble {
    let at = declared(service, wanted).map_or(service.at, |port| port.at);
    Trouble::Port {
        place: project.locate(at),
        service: format!("{}.ports", service.name),
        sentence,
    }
}
