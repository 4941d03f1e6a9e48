//! What a service dials, as far as its files say.
//!
//! Read are `environment` and the `env_file`s, `entrypoint`, `command`, `healthcheck`, `links`,
//! `depends_on`, and the labels of common proxies: URLs, pairs of host and port, lists of them,
//! connection strings, and what the usual clients of databases ask. Text is guessed at: what is
//! found is meant to be right rather than complete. Left out: what a program reads from files of its
//! own, and texts with variables that only the container's shell knows.

pub(crate) mod command;
mod environment;
mod find;
mod labels;

use core::net::IpAddr;
use std::collections::BTreeSet;

use indexmap::IndexMap;

use crate::expect;
use crate::listen::{self, Images};
use crate::model::{Healthcheck, Project, Protocol, Service};
use crate::node::Place;
use find::Found;

/// A host, and a port if one is known, that a service dials as its files say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Who dials.
    pub service: String,
    /// Whom: a name, or an address as text.
    pub host: String,
    /// Whom that means.
    pub to: DialTo,
    /// The port.
    pub port: Option<u16>,
    /// The protocol.
    pub protocol: Protocol,
    /// Where it stands.
    pub at: Place,
    /// In what.
    pub how: DialIn,
    /// The text that says so, as `redis://cache:6379/0`.
    pub text: String,
}

/// In what part of a service a dial stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialIn {
    /// `command`.
    Command,
    /// `depends_on`: the other service's known ports.
    DependsOn,
    /// `entrypoint`.
    Entrypoint,
    /// This variable of `environment` or of an `env_file`.
    Environment(String),
    /// `healthcheck`.
    Healthcheck,
    /// This label, by which a proxy dials the service that has it.
    Label(String),
    /// `links`.
    Link,
}

/// How many dials of one service are kept.
const MAX_DIALS: usize = 1024;
/// How many known ports of one service are dials of those that wait for it.
const MAX_PORTS_OF_ONE: usize = 64;

/// Every dial of the project, by service. Each (host, port, protocol) of a service stands once, and
/// once more if its health check asks it; of several texts that say the same the plainest counts. A
/// host without a port is left out if the same host stands there with one.
#[must_use]
pub fn dials(project: &Project, images: &Images) -> Vec<Dial> {
    let known = known(project);
    let mut names = known.clone();
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    let mut all: IndexMap<&str, Vec<Dial>> = IndexMap::new();
    for service in &project.services {
        let dials = all.entry(&service.name).or_default();
        texts(service, &known, &names, dials);
        waits(project, service, images, dials);
    }
    for dial in labels::dials(project, images) {
        if let Some(dials) = all.get_mut(dial.service.as_str()) {
            dials.push(dial);
        }
    }
    all.into_values().flat_map(once).collect()
}

/// Whom a dial means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialTo {
    /// A literal address that is not loopback.
    Address,
    /// The dialler's own machine.
    Loopback,
    /// A name with a dot that nothing in the project has: somebody beyond it.
    Outside,
    /// A name that the project gives to something: a service, an alias, a container, an extra host.
    Project,
    /// A name without a dot that nothing in the project has.
    Unknown,
}

impl DialTo {
    /// Whom a host means to a project that knows these names.
    fn of(host: &str, known: &BTreeSet<String>) -> Self {
        if let Ok(address) = host.parse::<IpAddr>() {
            return match address.is_loopback() {
                true => Self::Loopback,
                false => Self::Address,
            };
        }
        match (known.contains(host), host.contains('.')) {
            _ if host == "localhost" => Self::Loopback,
            (true, _) => Self::Project,
            (false, true) => Self::Outside,
            (false, false) => Self::Unknown,
        }
    }
}

/// The names that the project gives something, services that no profile takes in included.
fn known(project: &Project) -> BTreeSet<String> {
    let mut known = expect::hosts(project);
    let services = project.services.iter().map(|service| &service.name);
    known.extend(services.chain(&project.inactive).cloned());
    known
}

/// What stands in variables, commands and the health check. `names` are those that are `known` and
/// those of the machine itself.
fn texts(
    service: &Service,
    known: &BTreeSet<String>,
    names: &BTreeSet<String>,
    out: &mut Vec<Dial>,
) {
    let dial = |found: Found, at, how| Dial {
        service: service.name.clone(),
        to: DialTo::of(&found.host, known),
        host: found.host,
        port: found.port,
        protocol: found.protocol,
        at,
        how,
        text: found.text,
    };
    for (name, value, found) in environment::dials(&service.environment, known) {
        // Its own name is what it tells others, not what it dials.
        if found.host != service.name {
            out.push(dial(found, value.at, DialIn::Environment(name.to_owned())));
        }
    }
    let commands = [
        (&service.entrypoint, DialIn::Entrypoint),
        (&service.command, DialIn::Command),
    ];
    for (command, how) in commands {
        let Some(command) = command else { continue };
        let words = command::words(command);
        for found in command::dials(&words, names) {
            if found.host != service.name {
                out.push(dial(found, command.at, how.clone()));
            }
        }
    }
    if let Some(Healthcheck {
        test,
        at: Some(at),
        disable: false,
    }) = &service.healthcheck
        && test.first().is_some_and(|first| first != "NONE")
    {
        let words = command::words(&test[1..]);
        let found = command::dials(&words, names).into_iter();
        out.extend(found.map(|found| dial(found, *at, DialIn::Healthcheck)));
    }
}

/// Each dial once, within the bound.
fn once(dials: Vec<Dial>) -> Vec<Dial> {
    let ports: BTreeSet<String> = dials
        .iter()
        .filter(|dial| dial.port.is_some())
        .map(|dial| dial.host.clone())
        .collect();
    let mut seen = BTreeSet::new();
    // Nobody dials every address; it is listened on.
    let unspecified = |host: &str| {
        let address = host.parse::<IpAddr>();
        address.is_ok_and(|address| address.is_unspecified())
    };
    let dials = dials.into_iter().filter(|dial| !unspecified(&dial.host));
    let kept = dials.filter(|dial| {
        let check = dial.how == DialIn::Healthcheck;
        let key = (dial.host.clone(), dial.port, dial.protocol, check);
        (dial.port.is_some() || !ports.contains(&dial.host)) && seen.insert(key)
    });
    kept.take(MAX_DIALS).collect()
}

/// `links` and `depends_on`: who waits for another service mostly talks to it.
fn waits(project: &Project, service: &Service, images: &Images, out: &mut Vec<Dial>) {
    let links = service
        .links
        .iter()
        .map(|link| (&link.target, &link.alias, link.at, DialIn::Link));
    let linked: BTreeSet<Place> = service.links.iter().map(|link| link.at).collect();
    let written = |at| !linked.contains(&at);
    let depends = service
        .depends_on
        .iter()
        .filter(|on| written(on.at) && Some(on.at) != service.network_mode_at)
        .map(|on| (&on.service, &on.service, on.at, DialIn::DependsOn));
    for (target, host, at, how) in links.chain(depends) {
        let Some(target) = project.service(target) else {
            continue;
        };
        if out.len() > 4 * MAX_DIALS {
            return;
        }
        for listen in listen::known(target, images).take(MAX_PORTS_OF_ONE) {
            out.push(Dial {
                service: service.name.clone(),
                host: host.clone(),
                to: DialTo::Project,
                port: Some(listen.port),
                protocol: listen.protocol,
                at,
                how: how.clone(),
                text: host.clone(),
            });
        }
    }
}
