//! `side-door`: what is published on every address of the host is open to every container of the host as
//! well, whatever networks they are on: they ask their gateway, or the host.

use std::collections::{BTreeMap, BTreeSet};

use emulator_compose::{NetworkMode, Service};

use crate::lint::known::inner;
use crate::lint::reach::{NAMED, first_of};
use crate::lint::view::{Draft, View, entries};

pub(in crate::lint) fn check(view: &View<'_>, out: &mut Vec<Draft>) {
    if !is_divided(view) {
        return;
    }
    let members = Members::of(view);
    // Services on the same networks have the same strangers.
    let mut known: BTreeMap<BTreeSet<&str>, Strangers<'_>> = BTreeMap::new();
    let services = view.project.services.iter();
    for service in services.filter(|service| view.publishes(service)) {
        let strangers = known
            .entry(keys(service))
            .or_insert_with_key(|keys| members.strangers(keys));
        if strangers.count == 0 {
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
                first_of(&strangers.first, strangers.count),
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

/// The networks that a service is on.
fn keys(service: &Service) -> BTreeSet<&str> {
    let members = service.networks.iter();
    members.map(|member| member.key.as_str()).collect()
}

/// Who is on networks with a way out, and on which.
#[derive(Debug)]
struct Members<'a> {
    all: Vec<&'a Service>,
    /// By position, in the order of the file.
    of: BTreeMap<&'a str, Vec<usize>>,
}

/// Services that are on networks with a way out, and on none of some others.
#[derive(Debug)]
struct Strangers<'a> {
    count: usize,
    first: Vec<&'a Service>,
}

impl<'a> Members<'a> {
    fn of(view: &View<'a>) -> Self {
        let services = view.project.services.iter();
        let all: Vec<&Service> = services
            .filter(|service| service.network_mode == NetworkMode::Networks)
            .filter(|service| view.publishes(service))
            .collect();
        let mut of: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, service) in all.iter().enumerate() {
            for key in keys(service) {
                of.entry(key).or_default().push(at);
            }
        }
        Self { all, of }
    }

    /// Those who are on none of these networks.
    fn strangers(&self, keys: &BTreeSet<&str>) -> Strangers<'a> {
        let mut near = vec![false; self.all.len()];
        for &at in keys.iter().filter_map(|key| self.of.get(key)).flatten() {
            near[at] = true;
        }
        let apart = || near.iter().zip(&self.all).filter(|(near, _)| !**near);
        Strangers {
            count: apart().count(),
            first: apart().map(|(_, service)| *service).take(NAMED).collect(),
        }
    }
}
