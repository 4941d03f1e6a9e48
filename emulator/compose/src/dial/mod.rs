//! What a service dials, as far as its files say.
//!
//! Left out: what a program reads from files of its own.

use crate::listen::{Images, listens};
use crate::model::{Project, Protocol, Service};
use crate::node::Place;

/// A host, and a port if one is known, that a service dials as its files say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Who dials.
    pub service: String,
    /// Whom: a name, or an address as text.
    pub host: String,
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

/// Every dial of the project, by service, each (host, port, protocol) of a service once.
#[must_use]
pub fn dials(project: &Project, images: &Images) -> Vec<Dial> {
    let mut out = Vec::new();
    for service in &project.services {
        let mut dials = Vec::new();
        waits(project, service, images, &mut dials);
        for dial in dials {
            let same = |other: &Dial| {
                (&other.service, &other.host, other.port, other.protocol)
                    == (&dial.service, &dial.host, dial.port, dial.protocol)
            };
            if !out.iter().any(same) {
                out.push(dial);
            }
        }
    }
    out
}

/// `links` and `depends_on`: who waits for another service mostly talks to it.
fn waits(project: &Project, service: &Service, images: &Images, out: &mut Vec<Dial>) {
    let links = service
        .links
        .iter()
        .map(|link| (&link.target, &link.alias, link.at, DialIn::Link));
    let written = |at| !service.links.iter().any(|link| link.at == at);
    let depends = service
        .depends_on
        .iter()
        .filter(|on| written(on.at) && Some(on.at) != service.network_mode_at)
        .map(|on| (&on.service, &on.service, on.at, DialIn::DependsOn));
    for (target, host, at, how) in links.chain(depends) {
        let Some(target) = project.service(target) else {
            continue;
        };
        for listen in listens(target, images) {
            out.push(Dial {
                service: service.name.clone(),
                host: host.clone(),
                port: Some(listen.port),
                protocol: listen.protocol,
                at,
                how: how.clone(),
                text: host.clone(),
            });
        }
    }
}
