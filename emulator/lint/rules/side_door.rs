//! `side-door`: what is published on every address of the host is open to every container of the host as
//! well, whatever networks they are on: they ask their gateway, or the host.

use emulator_compose::{NetworkMode, Service};

use crate::lint::known::inner;
use crate::lint::reach::who;
use crate::lint::view::{Draft, View, entries};

pub(in crate::lint) fn check(view: &View<'_>, out: &mut Vec<Draft>) {
    if !is_divided(view) {
        return;
    }
    let services = view.project.services.iter();
    for service in services.filter(|service| view.publishes(service)) {
        let strangers: Vec<&Service> = strangers(view, service);
        if strangers.is_empty() {
            continue;
        }
        let image = service.image.as_ref().map(|image| image.value.as_str());
        for entry in entries(service) {
            let port = entry[0];
            let loopback = view.bound(service, port).is_some_and(|ip| ip.is_loopback());
            if loopback || inner(image, port.target).is_none() {
                continue;
            }
            let message = format!(
                "{} shares no network with {}, and its published port {} lets them in by way of the host",
                service.name,
                who(&strangers),
                port.target
            );
            out.push(view.service(service, port.at, message).fix(
                "publish it on 127.0.0.1: that address of the host is reached by no container",
            ));
        }
    }
}

/// The author put services on different networks.
fn is_divided(view: &View<'_>) -> bool {
    let used = view.project.networks.iter().filter(|network| network.used);
    used.count() > 1
}

/// Services that are on networks with a way out, and on none of this one's.
fn strangers<'a>(view: &View<'a>, service: &'a Service) -> Vec<&'a Service> {
    let services = view.project.services.iter();
    services
        .filter(|other| other.network_mode == NetworkMode::Networks)
        .filter(|other| view.publishes(other) && !view.share(service, other))
        .collect()
}
