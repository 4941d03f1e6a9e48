//! What the files of a project say is dialled, dialled.
//!
//! Each host is looked up from the first container of the service, and each address tried until one
//! answers. What leads to the internet is looked up only: its servers are not known here.

use core::net::IpAddr;
use std::collections::BTreeMap;

use core::net::SocketAddr;
use emulator_compose::{Dial, DialIn, Images, Project, Protocol, dials};
use emulator_core::lab::Lab;
use emulator_core::lab::probe::{Answer, Question};
use serde::Serialize;

use crate::matrix::probe::{ask, word};
use crate::project::Up;

/// A dial and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dialled {
    /// Who dials.
    pub service: String,
    /// Whom.
    pub host: String,
    /// The port, if one is known.
    pub port: Option<u16>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// In what it stands: `environment DATABASE_URL`, `depends_on`, …
    pub within: String,
    /// `file:line:column`.
    pub at: String,
    /// What the host's name gave.
    pub resolved: Vec<IpAddr>,
    /// Whether it got through; nothing is known without a port, and of the internet.
    pub connected: Option<bool>,
    /// Why it did not, or why nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Dials everything that the files say is dialled, in file order. Services that do not run are left out.
pub fn dial(lab: &mut Lab, project: &Project, up: &Up, images: &Images) -> Vec<Dialled> {
    let mut looked_up: BTreeMap<(String, String), Vec<IpAddr>> = BTreeMap::new();
    let mut out = Vec::new();
    for dial in dials(project, images) {
        let Some(started) = up.running(&dial.service).next() else {
            continue;
        };
        let Some(ns) = lab.namespace(&started.container) else {
            continue;
        };
        let key = (dial.service.clone(), dial.host.clone());
        let resolved = looked_up.entry(key).or_insert_with(|| {
            let literal = dial.host.parse().map(|address| vec![address]);
            literal.unwrap_or_else(|_| lab.lookup(ns, &dial.host))
        });
        let resolved = resolved.clone();
        let (connected, reason) = outcome(lab, ns, &dial, &resolved);
        out.push(Dialled {
            at: project.locate(dial.at),
            within: within(&dial.how),
            protocol: dial.protocol.to_string(),
            service: dial.service,
            host: dial.host,
            port: dial.port,
            resolved,
            connected,
            reason,
        });
    }
    out
}

fn outcome(
    lab: &mut Lab,
    ns: emulator_core::id::NsId,
    dial: &Dial,
    resolved: &[IpAddr],
) -> (Option<bool>, Option<String>) {
    let because = |reason: &str| Some(reason.to_owned());
    if resolved.is_empty() {
        return (Some(false), because("no-such-name"));
    }
    let Some(port) = dial.port else {
        return (None, because("port-unknown"));
    };
    if resolved.iter().all(|&address| !is_here(lab, address)) {
        return (None, because("outside"));
    }
    let mut first = None;
    for &address in resolved {
        let to = SocketAddr::new(address, port);
        let question = match dial.protocol {
            Protocol::Tcp => Question::Tcp(to, b""),
            Protocol::Udp => Question::Udp(to, b"?"),
            Protocol::Sctp => return (None, because("sctp-not-carried")),
        };
        let (answer, dropped) = ask(lab, ns, &question);
        if matches!(answer, Answer::Open(_)) {
            return (Some(true), None);
        }
        first.get_or_insert_with(|| word(true, &answer, dropped));
    }
    (Some(false), first)
}

/// Whether an address is of this machine, its networks, or a loopback.
fn is_here(lab: &Lab, address: IpAddr) -> bool {
    let mut networks = lab.docker().networks();
    address.is_loopback()
        || lab.host_addresses().contains(&address)
        || networks.any(|network| network.lease_with(address).is_some())
}

fn within(how: &DialIn) -> String {
    match how {
        DialIn::Command => "command".to_owned(),
        DialIn::DependsOn => "depends_on".to_owned(),
        DialIn::Entrypoint => "entrypoint".to_owned(),
        DialIn::Environment(name) => format!("environment {name}"),
        DialIn::Healthcheck => "healthcheck".to_owned(),
        DialIn::Label(name) => format!("label {name}"),
        DialIn::Link => "links".to_owned(),
    }
}
