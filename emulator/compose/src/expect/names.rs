//! The names that a sentence about a project may use.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::Party;
use crate::model::Project;
use crate::vethlab::Group;

/// The words for those that are no service.
const PLACES: [&str; 5] = ["any", "host", "internet", "lan", "outside"];

/// Whether a word stands for a place, or for every container.
pub(crate) fn is_place(word: &str) -> bool {
    PLACES.contains(&word)
}

/// What a place's word stands for.
pub(crate) fn place(word: &str) -> Option<&'static [Party]> {
    match word {
        "any" => Some(&[Party::Any]),
        "host" => Some(&[Party::Host]),
        "internet" => Some(&[Party::Internet]),
        "lan" => Some(&[Party::Lan]),
        "outside" => Some(&[Party::Lan, Party::Internet]),
        _ => None,
    }
}

/// The names of one project.
#[derive(Debug)]
pub(crate) struct Names<'p> {
    pub(crate) services: BTreeSet<&'p str>,
    /// Services that no active profile takes in.
    pub(crate) inactive: BTreeSet<&'p str>,
    pub(crate) groups: &'p IndexMap<String, Group>,
    pub(crate) networks: BTreeSet<&'p str>,
    /// Aliases, names of containers and hosts, links, extra hosts.
    pub(crate) hosts: BTreeSet<String>,
}

impl<'p> Names<'p> {
    pub(crate) fn new(project: &'p Project) -> Self {
        Self {
            services: project.services.iter().map(|s| s.name.as_str()).collect(),
            inactive: project.inactive.iter().map(String::as_str).collect(),
            groups: &project.vethlab.groups,
            networks: project.networks.iter().map(|n| n.key.as_str()).collect(),
            hosts: hosts(project),
        }
    }

    /// All names that may stand where a party may.
    pub(crate) fn parties(&self) -> impl Iterator<Item = &str> {
        let groups = self.groups.keys().map(String::as_str);
        self.services.iter().copied().chain(groups).chain(PLACES)
    }
}

/// The names that the project gives something, beside its services.
pub(crate) fn hosts(project: &Project) -> BTreeSet<String> {
    let mut hosts = BTreeSet::new();
    for service in &project.services {
        let aliases = service.networks.iter().flat_map(|network| &network.aliases);
        hosts.extend(aliases.map(|alias| alias.value.clone()));
        // Many replicas have many names; the first few are enough to be recognised.
        for number in 1..=service.replicas.min(64) {
            hosts.insert(project.container_name(service, number));
        }
        hosts.extend(service.hostname.iter().map(|name| name.value.clone()));
        let links = service.links.iter().chain(&service.external_links);
        hosts.extend(links.map(|link| link.alias.clone()));
        hosts.extend(service.extra_hosts.iter().map(|extra| extra.host.clone()));
    }
    hosts
}
