//! The names of a lab that is up, as captures know them: services, containers, places, networks.

use core::net::IpAddr;
use std::collections::BTreeMap;

use emulator_compose::Project;
use emulator_core::lab::Lab;
use emulator_core::net::{Place, Watchable};
use ipnet::IpNet;
use switch::pcap_filter::Names;

use crate::project::Up;

/// Interfaces that an error lists, at most.
const LISTED: usize = 40;

/// What names mean in a lab, now.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// By the name of a namespace or of a service: addresses.
    hosts: BTreeMap<String, Vec<IpAddr>>,
    /// By the name of a service: its containers.
    services: BTreeMap<String, Vec<String>>,
    /// By the name of a network in the engine or in its file: the name in the engine.
    networks: BTreeMap<String, String>,
    /// By the name of a network in the engine: its subnets.
    subnets: BTreeMap<String, Vec<IpNet>>,
    /// By the name of a network in the engine: the link that it may share with others.
    tags: BTreeMap<String, String>,
    watchable: Vec<Watchable>,
}

impl Known {
    /// The names of a lab and of the projects that are up in it.
    #[must_use]
    pub fn of(lab: &Lab, projects: &[(&Project, &Up)]) -> Self {
        let mut known = Self {
            watchable: lab.net().watchable(),
            ..Self::default()
        };
        for netns in lab.net().all_ns() {
            let addresses = netns.ifaces().flat_map(|iface| &iface.addrs);
            let addresses = addresses.map(|address| address.net.addr());
            let addresses = addresses.filter(|address| !address.is_loopback());
            known
                .hosts
                .insert(netns.name().to_owned(), addresses.collect());
        }
        for network in lab.docker().networks() {
            let four = network.subnet_v4().map(IpNet::V4);
            let six = network.subnet_v6().map(IpNet::V6);
            let subnets = four.into_iter().chain(six).collect();
            let name = network.name().to_owned();
            if let Some(tag) = network.tag() {
                known.tags.insert(name.clone(), tag.to_owned());
            }
            known.networks.insert(name.clone(), name.clone());
            known.subnets.insert(name, subnets);
        }
        for (project, up) in projects {
            known.project(project, up);
        }
        known
    }

    fn project(&mut self, project: &Project, up: &Up) {
        for started in &up.containers {
            let addresses = self.hosts.get(&started.container).cloned();
            let containers = self.services.entry(started.service.clone()).or_default();
            containers.push(started.container.clone());
            let all = self.hosts.entry(started.service.clone()).or_default();
            all.extend(addresses.unwrap_or_default());
        }
        for network in &project.networks {
            let is_there = self.subnets.contains_key(&network.name);
            if is_there && !self.networks.contains_key(&network.key) {
                self.networks
                    .insert(network.key.clone(), network.name.clone());
            }
        }
    }

    /// Everything that can be looked at.
    #[must_use]
    pub fn watchable(&self) -> &[Watchable] {
        &self.watchable
    }

    /// The shortest name of a place that is understood: a service's where it has one container, a network's as its file has it.
    #[must_use]
    pub fn short(&self, of: &Watchable) -> String {
        let short = match (&of.place.namespace, &of.network) {
            (Some(namespace), _) => {
                let mut services = self.services.iter();
                let only = services.find(|(_, containers)| containers[..] == [namespace.clone()]);
                only.map(|(service, _)| format!("{service}:{}", of.place.name))
            }
            (None, Some(network)) => {
                let mut networks = self.networks.iter();
                let key = networks.find(|(key, name)| *name == network && *key != network);
                Some(key.map_or(network, |(key, _)| key).clone())
            }
            (None, None) => None,
        };
        let understood = |name: &String| {
            let meant = self.places(name);
            meant.is_ok_and(|meant| meant.len() == 1 && of.is(&meant[0]))
        };
        short
            .filter(understood)
            .unwrap_or_else(|| of.place.to_string())
    }

    /// The places that somebody asks for: not the host's ends of veth pairs, and not the wires of the world outside.
    pub fn shown(&self) -> impl Iterator<Item = &Watchable> {
        self.watchable
            .iter()
            .filter(|it| match it.place.namespace.as_deref() {
                Some("host") => !it.place.name.starts_with("veth"),
                Some("wires") => false,
                _ => true,
            })
    }

    /// The places that a name means: `web:eth0`, `web` for all of its interfaces, a network, a bridge.
    ///
    /// # Errors
    /// One sentence if there is none, with those that there are.
    pub fn places(&self, name: &str) -> Result<Vec<Place>, String> {
        let (of, interface) = name.split_once(':').unwrap_or((name, Place::ANY));
        let namespaces = match self.services.get(of) {
            Some(containers) => containers.clone(),
            None => vec![of.to_owned()],
        };
        let mut places: Vec<Place> = namespaces
            .into_iter()
            .map(|namespace| Place {
                namespace: Some(namespace),
                name: interface.to_owned(),
            })
            .collect();
        if of == name {
            let name = self.networks.get(name).map_or(name, String::as_str);
            let name = self.tags.get(name).map_or(name, String::as_str);
            places.push(Place {
                namespace: None,
                name: name.to_owned(),
            });
        }
        places.retain(|place| self.watchable.iter().any(|known| known.is(place)));
        // A service and a network may have the same name: the service was meant, as it comes first.
        if places.iter().any(|place| place.namespace.is_some()) {
            places.retain(|place| place.namespace.is_some());
        }
        if places.is_empty() {
            return Err(self.nowhere(name));
        }
        Ok(places)
    }

    fn nowhere(&self, name: &str) -> String {
        let mut shown: Vec<String> = self.shown().map(|it| self.short(it)).collect();
        let more = shown.len().saturating_sub(LISTED);
        shown.truncate(LISTED);
        let mut shown = shown.join(", ");
        if more > 0 {
            shown.push_str(&format!(" and {more} more"));
        }
        format!("{name}: no such interface; there are any, {shown}")
    }
}

impl Names for Known {
    fn host(&self, name: &str) -> Vec<IpAddr> {
        self.hosts.get(name).cloned().unwrap_or_default()
    }

    fn network(&self, name: &str) -> Vec<IpNet> {
        let name = self.networks.get(name).map_or(name, String::as_str);
        self.subnets.get(name).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use emulator_core::docker::spec::{IpamConfig, NetworkSpec};
    use emulator_core::lab::LabConfig;

    use super::*;

    /// Networks that share a link are looked at there, by the name of each.
    #[test]
    fn networks_with_one_tag() {
        let mut lab = Lab::new(LabConfig::default()).unwrap();
        for (name, subnet) in [("one", "10.8.1.0/24"), ("other", "10.8.2.0/24")] {
            let subnet = IpamConfig {
                subnet: subnet.to_owned(),
                ..IpamConfig::default()
            };
            lab.network_create(NetworkSpec {
                name: name.to_owned(),
                driver: "macvlan".to_owned(),
                options: [("parent".to_owned(), "eth0.10".to_owned())].into(),
                ipam: vec![subnet],
                ..NetworkSpec::default()
            })
            .unwrap();
        }
        for removed in [None, Some("one")] {
            if let Some(name) = removed {
                lab.network_remove(name).unwrap();
            }
            let known = Known::of(&lab, &[]);
            let link = Place {
                namespace: None,
                name: "eth0.10".to_owned(),
            };
            assert_eq!(known.places("other"), Ok(vec![link.clone()]));
            assert_eq!(known.places("eth0.10"), Ok(vec![link]));
            assert_eq!(known.places("one").is_err(), removed.is_some());
        }
    }
}
