//! What a rule sees: a project with the questions that several rules ask of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use emulator_compose::{
    Dial, Images, MachineFile, Network, NetworkMode, Place, Port, Project, Published, Service,
    ServiceNetwork, dials, listens,
};

use super::finding::Level;
use super::loaded::Loaded;
use super::pools::bridge;
use super::run::Options;

/// The projects of one host.
#[derive(Debug)]
pub(super) struct Host<'a> {
    pub(super) views: Vec<View<'a>>,
    pub(super) machine: &'a MachineFile,
}

/// One project.
#[derive(Debug)]
pub(super) struct View<'a> {
    /// Which of the projects it is.
    pub(super) index: usize,
    pub(super) project: &'a Project,
    /// What its services dial.
    pub(super) dials: Vec<Dial>,
    pub(super) machine: &'a MachineFile,
    /// Who has a name, in lower case, on some network.
    names: BTreeMap<String, Vec<&'a Service>>,
    /// Who is known to listen on a port.
    listeners: BTreeMap<u16, Vec<&'a Service>>,
    /// The names, in lower case, that services of the host's other projects have, by network.
    others: BTreeMap<&'a str, BTreeSet<String>>,
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

impl<'a> Host<'a> {
    /// Every host by name, then each project that is on none.
    pub(super) fn of_all(projects: &'a [Loaded], options: &'a Options) -> Vec<Self> {
        let names: BTreeSet<&str> = projects
            .iter()
            .flat_map(|loaded| loaded.hosts.iter().map(String::as_str))
            .collect();
        let mut hosts = Vec::new();
        for name in names {
            let machine = options.machines.get(name).unwrap_or(&options.machine);
            let views = projects.iter().enumerate();
            let views = views.filter(|(_, loaded)| loaded.hosts.iter().any(|host| host == name));
            let mut views: Vec<View<'_>> = views
                .map(|(index, loaded)| View::new(index, loaded, machine, &options.images))
                .collect();
            introduce(&mut views);
            hosts.push(Self { views, machine });
        }
        let alone = projects.iter().enumerate();
        let alone = alone.filter(|(_, loaded)| loaded.hosts.is_empty());
        hosts.extend(alone.map(|(index, loaded)| Self {
            views: vec![View::new(index, loaded, &options.machine, &options.images)],
            machine: &options.machine,
        }));
        hosts
    }
}

/// Tells each project the names that the others have on networks that both are on.
fn introduce(views: &mut [View<'_>]) {
    for at in 0..views.len() {
        let mut others: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        let apart = views.iter().enumerate().filter(|(other, _)| *other != at);
        for (_, view) in apart {
            for service in &view.project.services {
                for member in &service.networks {
                    let network = view.project.network(&member.key);
                    let name = network.map(|network| network.name.as_str());
                    let is_own = |name: &&str| {
                        let mut own = views[at].project.networks.iter();
                        own.any(|network| network.name == **name)
                    };
                    if let Some(name) = name.filter(is_own) {
                        let names = view.names(service, member).into_iter();
                        let names = names.map(|(name, _, _)| name);
                        others.entry(name).or_default().extend(names);
                    }
                }
            }
        }
        views[at].others = others;
    }
}

impl<'a> View<'a> {
    fn new(index: usize, loaded: &'a Loaded, machine: &'a MachineFile, images: &'a Images) -> Self {
        let mut view = Self {
            index,
            project: &loaded.project,
            dials: dials(&loaded.project, images),
            machine,
            names: BTreeMap::new(),
            listeners: BTreeMap::new(),
            others: BTreeMap::new(),
        };
        for service in &view.project.services {
            for name in view.all_names(service) {
                view.names.entry(name).or_default().push(service);
            }
            let ports = listens(service, images).into_iter();
            let ports: BTreeSet<u16> = ports.map(|listen| listen.port).collect();
            for port in ports {
                view.listeners.entry(port).or_default().push(service);
            }
        }
        view
    }

    /// Every name that a service has anywhere. One without networks of its own has its own name only.
    fn all_names(&self, service: &Service) -> BTreeSet<String> {
        let nowhere = ServiceNetwork::default();
        let members = service.networks.iter();
        let members = members.chain(service.networks.is_empty().then_some(&nowhere));
        members
            .flat_map(|member| self.names(service, member))
            .map(|(name, _, _)| name)
            .collect()
    }

    /// Who has this name, in lower case, on some network.
    pub(super) fn named(&self, name: &str) -> &[&'a Service] {
        self.names.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a service of another project of the host has this name, in lower case, on a network of `from`.
    pub(super) fn is_of_another(&self, from: &Service, name: &str) -> bool {
        let mut networks = self.networks(from).into_iter();
        networks.any(|network| {
            let names = self.others.get(network.name.as_str());
            names.is_some_and(|names| names.contains(name))
        })
    }

    /// Who is known to listen on this port.
    pub(super) fn listeners(&self, port: u16) -> &[&'a Service] {
        self.listeners.get(&port).map_or(&[], Vec::as_slice)
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
    pub(super) fn owner<'s>(&self, service: &'s Service) -> &'s Service
    where
        'a: 's,
    {
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
    pub(super) fn networks(&self, service: &Service) -> Vec<&'a Network> {
        let members = self.owner(service).networks.iter();
        members
            .filter_map(|member| self.project.network(&member.key))
            .collect()
    }

    /// Whether two services have a network in common, or the same namespace.
    pub(super) fn share(&self, a: &Service, b: &Service) -> bool {
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
        let daemon = &self.machine.daemon;
        let of_networks = daemon.default_network_opts.get("bridge");
        let of_networks = of_networks.and_then(|options| parse(options.get(key)?));
        of_network
            .or(of_networks)
            .or(daemon.ip)
            .filter(|ip| !ip.is_unspecified())
    }

    /// The ports that are published at this port of the host.
    pub(super) fn published(
        &self,
        number: u16,
    ) -> impl Iterator<Item = (&'a Service, &'a Port)> + use<'a, '_> {
        let services = self.project.services.iter();
        services
            .filter(|service| self.publishes(service))
            .flat_map(|service| service.ports.iter().map(move |port| (service, port)))
            .filter(move |(_, port)| port.published == Published::Exact(number))
    }

    /// Every name that a service has on a network that it is on, in lower case as they are compared, and
    /// whether it was asked for as an alias.
    pub(super) fn names(
        &self,
        service: &Service,
        member: &ServiceNetwork,
    ) -> Vec<(String, Place, bool)> {
        let mut names = vec![(service.name.clone(), service.at, false)];
        let aliases = member.aliases.iter();
        names.extend(aliases.map(|alias| (alias.value.clone(), alias.at, true)));
        if let Some(name) = &service.container_name {
            names.push((name.value.clone(), name.at, false));
        } else {
            // A service may have very many containers; the first ones stand for all.
            let containers = (1..=service.replicas.min(4))
                .map(|number| self.project.container_name(service, number));
            names.extend(containers.map(|name| (name, service.at, false)));
        }
        if let Some(name) = &service.hostname {
            names.push((name.value.clone(), name.at, false));
        }
        for name in &mut names {
            name.0 = name.0.to_lowercase();
        }
        names
    }

    /// Whether an address is the host's, seen from a container: docker0's, or a gateway that is written.
    pub(super) fn is_gateway(&self, ip: IpAddr) -> bool {
        let IpAddr::V4(v4) = ip else { return false };
        let bridge = bridge(self.machine);
        let docker0 = bridge.and_then(|net| net.hosts().next()) == Some(v4);
        let mut entries = self
            .project
            .networks
            .iter()
            .flat_map(|network| &network.ipam);
        let mut interfaces = self.machine.interfaces.iter();
        docker0
            || entries.any(|entry| {
                entry
                    .gateway
                    .as_ref()
                    .and_then(|gateway| gateway.parse().ok())
                    == Some(ip)
            })
            || interfaces.any(|interface| interface.addresses.iter().any(|net| net.addr() == ip))
    }

    /// Whether a service is for a swarm, whose published ports are not one host's.
    pub(super) fn is_swarm(&self, service: &Service) -> bool {
        let overlay = |network: &&Network| {
            let driver = network.driver.as_ref();
            driver.is_some_and(|driver| driver.value == "overlay")
        };
        self.networks(service).iter().any(overlay)
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
