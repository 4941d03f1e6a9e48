//! `dial-unknown`, `dial-no-network`, `dial-default-bridge`, `dial-localhost` and `dial-host-loopback`: what
//! the files say that a service dials, and why nobody answers there.
//!
//! What is named in `depends_on` and `links` is no dial here: somebody may well wait for a service that
//! it never talks to.

use core::net::IpAddr;

use emulator_compose::{Dial, DialIn, NetworkMode, Service};

use crate::lint::finding::Level;
use crate::lint::reach::{Answer, answer, who};
use crate::lint::view::{Draft, View};

/// Dials of the programs themselves, each with the service that dials.
fn dialled<'v, 'a>(view: &'v View<'a>) -> Vec<(&'a Service, &'v Dial)> {
    let dials = view.dials.iter();
    dials
        .filter(|dial| {
            !matches!(
                dial.how,
                DialIn::DependsOn | DialIn::Link | DialIn::Label(_)
            )
        })
        .filter_map(|dial| Some((view.project.service(&dial.service)?, dial)))
        .collect()
}

/// `HOST:PORT`, and where it stands.
fn shown(dial: &Dial) -> String {
    let port = dial
        .port
        .map_or_else(String::new, |port| format!(":{port}"));
    let host = &dial.host;
    match &dial.how {
        DialIn::Environment(name) => format!("{host}{port} ({name})"),
        DialIn::Command => format!("{host}{port} (command)"),
        DialIn::Entrypoint => format!("{host}{port} (entrypoint)"),
        DialIn::Healthcheck => format!("{host}{port} (health check)"),
        DialIn::DependsOn | DialIn::Link | DialIn::Label(_) => format!("{host}{port}"),
    }
}

/// A name without a dot that nobody has.
pub(in crate::lint) fn unknown(view: &View<'_>, out: &mut Vec<Draft>) {
    for (service, dial) in dialled(view) {
        if answer(view, service, &dial.host) != Answer::Nobody {
            continue;
        }
        let desktop = dial.host == "host.docker.internal";
        let shares = view
            .networks(service)
            .iter()
            .any(|network| network.external);
        let (level, message, fix) = match (desktop, shares) {
            (true, _) => (
                Level::Warning,
                format!(
                    "{} dials {}: Docker Desktop alone knows that name",
                    service.name,
                    shown(dial)
                ),
                "write `extra_hosts: [\"host.docker.internal:host-gateway\"]`".to_owned(),
            ),
            (false, true) => (
                Level::Note,
                format!(
                    "{} dials {}: no service here has that name, so it must be one of another project",
                    service.name,
                    shown(dial)
                ),
                "let `vethlab lint --together` see the other project too".to_owned(),
            ),
            (false, false) => (
                Level::Warning,
                format!(
                    "{} dials {}: nobody on its networks has that name",
                    service.name,
                    shown(dial)
                ),
                near(view, &dial.host),
            ),
        };
        out.push(
            view.service(service, dial.at, message)
                .level(level)
                .fix(fix),
        );
    }
}

fn near(view: &View<'_>, host: &str) -> String {
    let names = view.project.services.iter();
    let names = names.map(|service| service.name.as_str());
    emulator_compose::near(host, names).map_or_else(
        || "write the name of a service, or give one this name as an alias".to_owned(),
        |name| format!("did you mean {name}?"),
    )
}

/// A name of a service with which the asker has no network in common.
pub(in crate::lint) fn no_network(view: &View<'_>, out: &mut Vec<Draft>) {
    for (service, dial) in dialled(view) {
        let Answer::Apart(others) = answer(view, service, &dial.host) else {
            continue;
        };
        if others.iter().any(|other| on_default_bridge(other)) || on_default_bridge(service) {
            continue;
        }
        let owner = view.owner(service);
        let (why, fix) = match owner.network_mode {
            NetworkMode::Host => (
                "is on the host's network, where names of containers are not known".to_owned(),
                format!(
                    "publish {}'s port on 127.0.0.1 and dial that, or put the service on a network",
                    who(&others)
                ),
            ),
            NetworkMode::None => (
                "has no network".to_owned(),
                "take `network_mode: none` away".to_owned(),
            ),
            _ => (
                format!(
                    "shares no network with {}: the name is not known there",
                    who(&others)
                ),
                "put both on a network".to_owned(),
            ),
        };
        let message = format!("{} dials {} and {why}", service.name, shown(dial));
        out.push(
            view.service(service, dial.at, message)
                .and(view, others[0].at, "is dialled")
                .fix(fix),
        );
    }
}

fn on_default_bridge(service: &Service) -> bool {
    service.network_mode == NetworkMode::Bridge
}

/// A name of a service, where one of the two is on the default bridge: it has no names.
pub(in crate::lint) fn default_bridge(view: &View<'_>, out: &mut Vec<Draft>) {
    for (service, dial) in dialled(view) {
        let Answer::Apart(others) = answer(view, service, &dial.host) else {
            continue;
        };
        let bridged = match others.iter().find(|other| on_default_bridge(other)) {
            _ if on_default_bridge(service) => service,
            Some(other) => *other,
            None => continue,
        };
        let message = format!(
            "{} dials {}, and {} is on the default bridge, where names are not known",
            service.name,
            shown(dial),
            bridged.name
        );
        let mut draft = view.service(service, dial.at, message);
        if let Some(at) = bridged.network_mode_at {
            draft = draft.and(view, at, "because of this");
        }
        out.push(
            draft.fix("take `network_mode: bridge` away: the project's own network has names"),
        );
    }
}

/// The container's own loopback address, at a port of another service.
pub(in crate::lint) fn localhost(view: &View<'_>, out: &mut Vec<Draft>) {
    for (service, dial) in dialled(view) {
        let Some(port) = dial.port.filter(|_| is_loopback(&dial.host)) else {
            continue;
        };
        let own = view.owner(service);
        // On the host's network, a port that is published there answers.
        let own_network = !matches!(
            own.network_mode,
            NetworkMode::Host | NetworkMode::Container(_)
        );
        let others = view.listeners(port);
        let here = |other: &&Service| view.owner(other).name == own.name;
        if !own_network
            || dial.how == DialIn::Healthcheck
            || others.is_empty()
            || others.iter().any(here)
            || for_browsers(view, dial, port)
        {
            continue;
        }
        let message = format!(
            "{} dials {}: that is the container itself, and {} listens on that port",
            service.name,
            shown(dial),
            who(others)
        );
        out.push(
            view.service(service, dial.at, message)
                .and(view, others[0].at, "listens on that port")
                .fix(format!("write {}:{port}", others[0].name)),
        );
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Parts of variables' names that are about the outside's view: what a browser or a client is told.
const OUTSIDE: [&str; 8] = [
    "BROWSER",
    "CLIENT",
    "FRONTEND",
    "ISSUER",
    "REACT_APP",
    "VITE",
    "VUE_APP",
    "WEB_",
];

/// An address that is meant for whoever sits at the host: a page at a published port, or a variable
/// that says so.
fn for_browsers(view: &View<'_>, dial: &Dial, port: u16) -> bool {
    let outside = match &dial.how {
        DialIn::Environment(name) => {
            let name = name.to_uppercase();
            OUTSIDE.iter().any(|part| name.contains(part))
        }
        _ => false,
    };
    let scheme = dial.text.split_once("://").map(|(scheme, _)| scheme);
    let page = matches!(scheme, Some("http" | "https" | "ws" | "wss"));
    outside || (page && view.published(port).next().is_some())
}

/// The host's address, at a port that is published on its loopback address only.
pub(in crate::lint) fn host_loopback(view: &View<'_>, out: &mut Vec<Draft>) {
    for (service, dial) in dialled(view) {
        let Some(port) = dial.port else { continue };
        let on_host = view.owner(service).network_mode == NetworkMode::Host;
        if on_host || answer(view, service, &dial.host) != Answer::Host {
            continue;
        }
        let published: Vec<_> = view.published(port).collect();
        let open = published.iter().any(|(other, port)| {
            let bound = view.bound(other, port);
            bound.is_none_or(|ip| !ip.is_loopback())
        });
        let Some((other, port)) = published.first().filter(|_| !open) else {
            continue;
        };
        let message = format!(
            "{} dials {}: {}'s port is published on the host's loopback address, which no container reaches",
            service.name,
            shown(dial),
            other.name
        );
        let fix = match view.share(service, other) {
            true => format!(
                "dial {}:{}, the network is the same",
                other.name, port.target
            ),
            false => "put both on a network and dial the service by its name".to_owned(),
        };
        out.push(
            view.service(service, dial.at, message)
                .and(view, port.at, "is published here")
                .fix(fix),
        );
    }
}
