//! Names: which ones a container has on its networks, and what its links call others.

use std::collections::BTreeMap;

use emulator_compose::{Naming, NetworkMode, Project, Service, ServiceNetwork};

use crate::assigned::{Container, Endpoint};
use crate::engine::{Model, Sandbox, dash};

/// Gives a container's endpoint its names.
pub(crate) struct Namer<'a> {
    pub(crate) container: &'a Container,
    pub(crate) of: Option<(&'a Project, &'a Service)>,
}

impl<'a> Namer<'a> {
    /// Its own name, its aliases there, its short id, its hostname; each once, as it was written.
    pub(crate) fn names(
        &self,
        endpoint: &Endpoint,
        member: Option<&ServiceNetwork>,
    ) -> Vec<String> {
        let mut names = vec![self.container.name.clone()];
        if let (Some((project, service)), Some(member)) = (self.of, member) {
            if project.naming == Naming::V2 {
                names.push(project.container_name(service, self.container.number));
            }
            names.push(service.name.clone());
            names.extend(member.aliases.iter().map(|alias| alias.value.clone()));
        }
        names.extend(endpoint.aliases.iter().cloned());
        names.push(self.container.id.clone());
        names.push(self.hostname());
        names.retain(|name| !name.is_empty());
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }

    fn hostname(&self) -> String {
        let given = self.of.and_then(|(_, service)| service.hostname.as_ref());
        given.map_or_else(|| self.container.id.clone(), |name| name.value.clone())
    }

    /// `links` as compose hands them on: the alias, the short container name and the whole one.
    pub(crate) fn links(&self) -> Vec<(String, String)> {
        let mut links = Vec::new();
        let Some((project, service)) = self.of else {
            return links;
        };
        for link in &service.links {
            let Some(target) = project.service(&link.target) else {
                continue;
            };
            let dash = dash(project.naming);
            // Also those that do not run: their names give nothing.
            for number in 1..=target.replicas {
                let name = project.container_name(target, number);
                links.push((link.alias.clone(), name.clone()));
                links.push((format!("{}{dash}{number}", link.target), name.clone()));
                links.push((name.clone(), name));
            }
        }
        for link in &service.external_links {
            links.push((link.alias.clone(), link.target.clone()));
        }
        links
    }
}

impl<'a> Model<'a> {
    /// The links of a container on the default bridge: the alias, and whose it is. They mean the containers
    /// that were there when it was made, also when those have gone and others have their names.
    pub(crate) fn legacy_links(&self, sandbox: &Sandbox<'a>) -> Vec<(String, &'a Container)> {
        let owner = sandbox.owner;
        let Some((service, project)) = sandbox.service.zip(owner.project.as_deref()) else {
            return Vec::new();
        };
        if service.network_mode != NetworkMode::Bridge {
            return Vec::new();
        }
        let mut known: BTreeMap<&str, &'a Container> = BTreeMap::new();
        let all = self.assigned.gone.iter().chain(&self.assigned.containers);
        for container in all.filter(|container| container.made <= owner.made) {
            let last = known.entry(&container.name).or_insert(container);
            if last.made <= container.made {
                *last = container;
            }
        }
        // An alias that is given twice is the last one's.
        let mut of_alias = BTreeMap::new();
        for link in &service.links {
            let targets = known.values().filter(|target| {
                target.project.as_deref() == Some(project)
                    && target.service.as_deref() == Some(link.target.as_str())
            });
            let mut targets: Vec<&'a Container> = targets.copied().collect();
            targets.sort_by_key(|target| target.number);
            for target in targets {
                let short = format!("{}{}{}", link.target, sandbox.dash, target.number);
                for alias in [short, link.alias.clone()] {
                    of_alias.insert(alias, target);
                }
            }
        }
        for link in &service.external_links {
            if let Some(target) = known.get(link.target.as_str()) {
                of_alias.insert(link.alias.clone(), target);
            }
        }
        of_alias.into_iter().collect()
    }
}

/// Its hostname, with and without domain.
pub(crate) fn own_names(service: Option<&Service>, container: &Container) -> Vec<String> {
    let given = service.and_then(|service| service.hostname.as_ref());
    let host = given.map_or(container.id.as_str(), |name| name.value.as_str());
    let mut names = vec![host.to_owned()];
    let domain = service.and_then(|service| service.domainname.as_ref());
    match (domain, host.split_once('.')) {
        (Some(domain), _) => names.push(format!("{host}.{}", domain.value)),
        (None, Some((short, _))) => names.push(short.to_owned()),
        (None, None) => {}
    }
    names
}
