//! `publish-internal`, `publish-host-mode` and `publish-scaled`: ports that are published where that
//! opens nothing, or only once.

use emulator_compose::{NetworkMode, Published};

use crate::lint::finding::Level;
use crate::lint::view::{Draft, View, entries};

/// All networks of the service are internal.
pub(in crate::lint) fn internal(view: &View<'_>, out: &mut Vec<Draft>) {
    for service in &view.project.services {
        let only_internal = service.network_mode == NetworkMode::Networks
            && !service.networks.is_empty()
            && !view.publishes(service);
        if !only_internal {
            continue;
        }
        for entry in entries(service) {
            let message = format!(
                "{} publishes port {} and is on internal networks only: nothing is opened",
                service.name, entry[0].target
            );
            out.push(
                view.service(service, entry[0].at, message)
                    .fix("put it on a network that is not internal as well, or take the port away"),
            );
        }
    }
}

/// The service's containers have no network of their own.
pub(in crate::lint) fn host_mode(view: &View<'_>, out: &mut Vec<Draft>) {
    for service in &view.project.services {
        let (level, why, fix) = match &service.network_mode {
            NetworkMode::Host => (
                Level::Warning,
                "is on the host's network: `ports` is ignored, every port that it listens on is open".to_owned(),
                "take `ports` away; what it listens on is set in the program",
            ),
            NetworkMode::None => (
                Level::Warning,
                "has no network: `ports` opens nothing".to_owned(),
                "take `ports` away, or `network_mode: none`",
            ),
            NetworkMode::Service(other) => (
                Level::Error,
                format!("lives in the network of {other}: with `ports` it does not start"),
                "publish the port at the service that owns the network",
            ),
            NetworkMode::Container(other) => (
                Level::Error,
                format!("lives in the network of the container {other}: with `ports` it does not start"),
                "publish the port at the container that owns the network",
            ),
            NetworkMode::Networks | NetworkMode::Bridge | NetworkMode::Named(_) => continue,
        };
        let entries = entries(service);
        let Some(first) = entries.first() else {
            continue;
        };
        let message = format!("{} {why}", service.name);
        let mut draft = view.service(service, first[0].at, message).level(level);
        if let Some(at) = service.network_mode_at {
            draft = draft.and(view, at, "because of this");
        }
        out.push(draft.fix(fix));
    }
}

/// A service of several containers publishes a port, or fewer ports than there are containers.
pub(in crate::lint) fn scaled(view: &View<'_>, out: &mut Vec<Draft>) {
    let services = view.project.services.iter();
    for service in services.filter(|service| {
        service.replicas > 1 && view.publishes(service) && !view.is_swarm(service)
    }) {
        for entry in entries(service) {
            let room = match entry[0].published {
                Published::Exact(_) => 1,
                Published::Range(a, b) => u32::from(b - a) + 1,
                Published::Ephemeral => continue,
            };
            if room >= service.replicas {
                continue;
            }
            let ports = match room {
                1 => "one port".to_owned(),
                room => format!("{room} ports"),
            };
            let message = format!(
                "{} has {} containers and publishes {ports} of the host",
                service.name, service.replicas
            );
            out.push(view.service(service, entry[0].at, message).fix(format!(
                "leave the host's port away (`{}`), give a range of {} ports, or publish a proxy in front of them",
                entry[0].target, service.replicas
            )));
        }
    }
}
