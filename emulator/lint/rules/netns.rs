//! `netns-provider`: a container that joined another one's network namespace keeps the old one when that
//! is made anew, and is then alone.

use emulator_compose::NetworkMode;

use crate::lint::finding::Level;
use crate::lint::view::{Draft, View};

pub(in crate::lint) fn check(view: &View<'_>, out: &mut Vec<Draft>) {
    for service in &view.project.services {
        let Some(at) = service.network_mode_at else {
            continue;
        };
        let draft = match &service.network_mode {
            NetworkMode::Service(other) => {
                let message = format!(
                    "{} lives in the network of {other}: when that container is made anew by anything but compose, it is cut off until it is made anew too",
                    service.name
                );
                view.service(service, at, message).level(Level::Note).fix(format!(
                    "a health check that reaches out through {other} tells; recreate both together (`docker compose up -d`)"
                ))
            }
            NetworkMode::Container(other) => {
                let message = format!(
                    "{} lives in the network of the container {other}, which compose does not know: when that is made anew, it is cut off",
                    service.name
                );
                view.service(service, at, message).fix(
                    "put both into one project and write `network_mode: service:NAME`: compose recreates both",
                )
            }
            _ => continue,
        };
        out.push(draft);
    }
}
