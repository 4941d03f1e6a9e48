//! Real servers as services, and proxies into the project's namespaces.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use std::io;
use std::net::TcpListener;

use emulator_compose::{Images, Project, Service};
use emulator_core::docker::spec::{Listening, Proto};
use emulator_core::id::NsId;
use emulator_core::lab::Lab;
use emulator_host::egress::{HOST_NAME, HOST_V4, HOST_V6, Rule};
use emulator_host::front::Front;
use emulator_host::means::Means;
use emulator_host::proxy::Proxy;
use emulator_host::runtime::Runtime;
use serde::Serialize;

use super::Trouble;
use crate::project::Up;
use crate::world::listening;

/// A proxy that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyWish {
    /// A service (its first container that runs), a container, or `host`, `lan`, `internet`.
    pub place: String,
    /// Where real clients find it; port 0 is any.
    pub at: SocketAddr,
}

/// Where a real server or real clients are tied to a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// A container's port is the front of a real server.
    Upstream {
        /// The container.
        container: String,
        /// Its port.
        port: u16,
        /// The server.
        to: SocketAddr,
    },
    /// Real clients find a proxy into a namespace.
    Proxy {
        /// Where: SOCKS5 and HTTP.
        at: SocketAddr,
        /// Whose namespace.
        place: String,
    },
    /// Containers reach the real world.
    Egress {
        /// What they may reach.
        rules: Vec<String>,
        /// Where they find the real machine's loopback, if they may.
        loopback: Option<String>,
    },
}

impl Door {
    /// The way out, if anything may leave.
    pub(super) fn way_out(rules: &[Rule]) -> Option<Self> {
        let opens = |v6| rules.iter().any(|rule| rule.opens_loopback(v6));
        let loopback = [
            (false, IpAddr::from(HOST_V4)),
            (true, IpAddr::from(HOST_V6)),
        ]
        .into_iter()
        .filter(|(v6, _)| opens(*v6))
        .map(|(_, address)| address.to_string())
        .collect::<Vec<_>>();
        (!rules.is_empty()).then(|| Self::Egress {
            rules: rules.iter().map(ToString::to_string).collect(),
            loopback: (!loopback.is_empty())
                .then(|| format!("{HOST_NAME}, {}", loopback.join(", "))),
        })
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream {
                container,
                port,
                to,
            } => write!(f, "upstream {container}:{port}/tcp -> {to}"),
            Self::Proxy { at, place } => write!(f, "proxy {at} -> {place} (SOCKS5, HTTP)"),
            Self::Egress { rules, loopback } => {
                write!(f, "egress {}", rules.join(" "))?;
                match loopback {
                    Some(names) => write!(f, " (this machine's loopback is {names})"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// What is to be attached.
#[derive(Debug, Default)]
pub(super) struct Reach {
    fronts: Vec<(NsId, u16, SocketAddr)>,
    proxies: Vec<(TcpListener, NsId)>,
    pub(super) doors: Vec<Door>,
}

/// The ports of a service behind which there is a real server; `known` is what it is known to listen on.
pub(super) fn fronts(service: &Service, known: &[Listening]) -> Vec<(u16, SocketAddr)> {
    let mut ports = known
        .iter()
        .filter(|socket| socket.port.proto == Proto::Tcp)
        .map(|socket| socket.port.number);
    let only = ports.next().filter(|_| ports.next().is_none());
    let upstreams = service.vethlab.upstream.iter();
    upstreams
        .map(|upstream| {
            let port = upstream.port.or(only);
            (port.unwrap_or_else(|| upstream.to.port()), upstream.to)
        })
        .collect()
}

/// The namespace of a service's first container that runs, of a container, or of a place around the host.
fn place(lab: &Lab, up: &Up, name: &str) -> Option<NsId> {
    let mut named = up
        .containers
        .iter()
        .filter(|started| started.service == name || started.container == name)
        .peekable();
    if named.peek().is_some() {
        return named.find_map(|started| lab.namespace(&started.container));
    }
    let places = lab.places();
    match name {
        "host" => Some(places.host),
        "lan" => Some(places.lan),
        "internet" => Some(places.internet),
        _ => None,
    }
}

impl Reach {
    /// Binds the proxies and finds everybody's namespace.
    ///
    /// # Errors
    /// [`Trouble::Port`] if the file asks for a proxy where none can be bound; [`Trouble::Other`] for a wish.
    pub(super) fn bind(
        lab: &Lab,
        project: &Project,
        up: &Up,
        images: &Images,
        wishes: &[ProxyWish],
    ) -> Result<Self, Trouble> {
        let mut reach = Self::default();
        for started in &up.containers {
            let (Some(service), Some(ns)) = (
                project.service(&started.service),
                lab.namespace(&started.container),
            ) else {
                continue;
            };
            for (port, to) in fronts(service, &listening(service, images)) {
                reach.fronts.push((ns, port, to));
                let container = started.container.clone();
                reach.doors.push(Door::Upstream {
                    container,
                    port,
                    to,
                });
            }
            // One proxy for all replicas: it is in the network of the first.
            if started.number != 1 {
                continue;
            }
            for dial in &service.vethlab.dial {
                reach
                    .proxy(&started.container, dial.value, ns)
                    .map_err(|error| Trouble::Port {
                        place: project.locate(dial.at),
                        service: format!("{}.x-vethlab.dial", service.name),
                        sentence: format!("{}: {error}", dial.value),
                    })?;
            }
        }
        for wish in wishes {
            let place = place(lab, up, &wish.place).ok_or_else(|| {
                let sentence = format!(
                    "--proxy: {} has no service or container {} that runs",
                    project.name, wish.place
                );
                Trouble::Other(sentence)
            })?;
            reach
                .proxy(&wish.place, wish.at, place)
                .map_err(|error| Trouble::Other(format!("--proxy {}: {error}", wish.at)))?;
        }
        Ok(reach)
    }

    fn proxy(&mut self, place: &str, at: SocketAddr, ns: NsId) -> io::Result<()> {
        let listener = TcpListener::bind(at)?;
        self.doors.push(Door::Proxy {
            at: listener.local_addr()?,
            place: place.to_owned(),
        });
        self.proxies.push((listener, ns));
        Ok(())
    }

    pub(super) fn attach(self, runtime: &mut Runtime, means: &Means) -> io::Result<()> {
        for (ns, port, to) in self.fronts {
            let means = means.clone();
            runtime.attach(|cx| Front::new(cx, ns, port, to, means))?;
        }
        for (listener, ns) in self.proxies {
            let means = means.clone();
            runtime.attach(|cx| Proxy::new(cx, listener, ns, means))?;
        }
        Ok(())
    }
}
