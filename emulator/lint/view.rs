//! What a rule sees: a project with the questions that several rules ask of it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use emulator_compose::{Network, NetworkMode, Place, Port, Project, Service};

use super::finding::Level;
use super::loaded::Loaded;
use super::run::Options;

/// The projects of one host.
#[derive(Debug)]
pub(super) struct Host<'a> {
    pub(super) views: &'a [View<'a>],
    pub(super) options: &'a Options,
}

/// One project.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// Which of the projects it is.
    pub(super) index: usize,
    pub(super) project: &'a Project,
    pub(super) options: &'a Options,
}

/// A finding before its places have been turned into file names and lines.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) message: String,
    pub(super) subject: String,
    /// Another level than the rule's.
    pub(super) level: Option<Level>,
    pub(super) fix: Option<String>,
    /// The project, the place in it, and what the place has to do with it.
    pub(super) places: Vec<(usize, Place, String)>,
}

impl Draft {
    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    pub(super) fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// Another place, with what it has to do with it.
    pub(super) fn and(mut self, view: &View<'_>, at: Place, note: impl Into<String>) -> Self {
        self.places.push((view.index, at, note.into()));
        self
    }
}

impl<'a> View<'a> {
    pub(super) fn of_all(projects: &'a [Loaded], options: &'a Options) -> Vec<Self> {
        let views = projects.iter().enumerate().map(|(index, loaded)| Self {
            index,
            project: &loaded.project,
            options,
        });
        views.collect()
    }

    /// A finding about a service.
    pub(super) fn service(&self, service: &Service, at: Place, message: String) -> Draft {
        self.draft(format!("services.{}", service.name), at, message)
    }

    /// A finding about a network.
    pub(super) fn network(&self, network: &Network, at: Place, message: String) -> Draft {
        self.draft(format!("networks.{}", network.key), at, message)
    }

    pub(super) fn draft(&self, subject: String, at: Place, message: String) -> Draft {
        Draft {
            message,
            subject,
            level: None,
            fix: None,
            places: vec![(self.index, at, String::new())],
        }
    }

    /// The service whose namespace a service's containers live in: itself, or the one it joins.
    pub(super) fn owner(&self, service: &'a Service) -> &'a Service {
        let mut owner = service;
        // Services cannot join each other in a circle: compose refuses that.
        for _ in 0..self.project.services.len() {
            match &owner.network_mode {
                NetworkMode::Service(name) => match self.project.service(name) {
                    Some(next) => owner = next,
                    None => break,
                },
                _ => break,
            }
        }
        owner
    }

    /// The networks that a service is on, by itself or by the service that it joins.
    pub(super) fn networks(&self, service: &'a Service) -> Vec<&'a Network> {
        let members = self.owner(service).networks.iter();
        members
            .filter_map(|member| self.project.network(&member.key))
            .collect()
    }

    /// Whether two services have a network in common, or the same namespace.
    pub(super) fn share(&self, a: &'a Service, b: &'a Service) -> bool {
        let (a, b) = (self.owner(a), self.owner(b));
        if a.name == b.name {
            return true;
        }
        let keys: BTreeSet<&str> = a
            .networks
            .iter()
            .map(|member| member.key.as_str())
            .collect();
        b.networks
            .iter()
            .any(|member| keys.contains(member.key.as_str()))
    }

    /// Whether a service's published ports open anything: its containers have a namespace of their own
    /// with a way out. What an external network is like nobody says here: it counts as one.
    pub(super) fn publishes(&self, service: &Service) -> bool {
        match service.network_mode {
            NetworkMode::Networks => service.networks.iter().any(|member| {
                self.project
                    .network(&member.key)
                    .is_some_and(|network| !network.internal)
            }),
            NetworkMode::Bridge | NetworkMode::Named(_) => true,
            NetworkMode::Host
            | NetworkMode::None
            | NetworkMode::Service(_)
            | NetworkMode::Container(_) => false,
        }
    }

    /// The host's address that a published port is bound to; `None` is every one.
    pub(super) fn bound(&self, service: &Service, port: &Port) -> Option<IpAddr> {
        let parse = |text: &str| text.parse::<IpAddr>().ok();
        if let Some(ip) = &port.host_ip {
            return parse(ip).filter(|ip| !ip.is_unspecified());
        }
        let key = "com.docker.network.bridge.host_binding_ipv4";
        let of_network = service.networks.iter().find_map(|member| {
            let options = &self.project.network(&member.key)?.driver_opts;
            parse(options.get(key)?)
        });
        let daemon = &self.options.machine.daemon;
        let of_networks = daemon.default_network_opts.get("bridge");
        let of_networks = of_networks.and_then(|options| parse(options.get(key)?));
        of_network
            .or(of_networks)
            .or(daemon.ip)
            .filter(|ip| !ip.is_unspecified())
    }

    /// Whether a service is for a swarm, whose published ports are not one host's.
    pub(super) fn is_swarm(&self, service: &'a Service) -> bool {
        let overlay = |network: &&Network| {
            let driver = network.driver.as_ref();
            driver.is_some_and(|driver| driver.value == "overlay")
        };
        self.networks(service).iter().any(overlay)
    }

    /// The containers that a service makes.
    pub(super) fn containers(&self, service: &Service) -> Vec<String> {
        (1..=service.replicas)
            .map(|number| self.project.container_name(service, number))
            .collect()
    }
}

/// The entries of a service's `ports`: ports that one entry spreads out stand together.
pub(super) fn entries(service: &Service) -> Vec<Vec<&Port>> {
    let mut entries: Vec<Vec<&Port>> = Vec::new();
    for port in &service.ports {
        match entries.last_mut() {
            Some(entry) if entry[0].at == port.at => entry.push(port),
            _ => entries.push(vec![port]),
        }
    }
    entries
}

/// Services whose profiles have none in common stand for each other; they do not run at once.
pub(super) fn together(a: &Service, b: &Service) -> bool {
    a.profiles.is_empty()
        || b.profiles.is_empty()
        || a.profiles
            .iter()
            .any(|profile| b.profiles.contains(profile))
}
