//! The projects of a host as one, for the sentences that span them: services are called `KEY/SERVICE`, networks by
//! their names in the engine.
//!
//! ```yaml
//! hosts:
//!   server:
//!     projects: [edge, blog]
//!     groups: {stores: [blog/db]}
//!     expect:
//!       - edge/proxy -> blog/ghost:2368 allow via web
//!       - edge/proxy -> stores deny
//! ```
//!
//! The key is the project's in `vethlab.yaml`; no service has a `/` in its name, so the last one ends the key.

use std::collections::BTreeSet;

use crate::config::{Config, document_of};
use crate::error::{ErrorKind, Errors, Fault};
use crate::expect::{self, Names};
use crate::load;
use crate::model::{Naming, Network, NetworkMode, Project, Service};
use crate::node::{At, Node};
use crate::source::{MAX_FILE_BYTES, ReadError, Source};
use crate::vethlab::{self, Vethlab};

/// Projects that run together, seen as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// All services and networks; the expectations are those of the host. Places are right if each project was
    /// loaded after the files of those before it ([`crate::Options::after`]).
    pub project: Project,
    /// Key and name of each project.
    members: Vec<(String, String)>,
}

impl Joined {
    /// Joins projects, each with its key, under the host's name.
    #[must_use]
    pub fn new(host: &str, members: &[(&str, &Project)]) -> Self {
        let mut project = Project {
            name: host.to_owned(),
            naming: Naming::default(),
            files: Vec::new(),
            services: Vec::new(),
            inactive: Vec::new(),
            networks: Vec::new(),
            warnings: Vec::new(),
            unset: Vec::new(),
            vethlab: Vethlab::default(),
        };
        for (key, member) in members {
            let services = member.services.iter();
            project
                .services
                .extend(services.map(|service| renamed(key, member, service)));
            let inactive = member.inactive.iter();
            project
                .inactive
                .extend(inactive.map(|name| format!("{key}/{name}")));
            for network in &member.networks {
                add(&mut project.networks, network);
            }
            if member.files.len() > project.files.len() {
                project.files.clone_from(&member.files);
            }
        }
        let names = members.iter();
        let names = names.map(|(key, member)| ((*key).to_owned(), member.name.clone()));
        Self {
            project,
            members: names.collect(),
        }
    }

    /// Joins projects and reads what `config` expects of the host.
    ///
    /// # Errors
    /// What is wrong with its groups and sentences, or why the file cannot be read.
    pub fn load(
        source: &mut dyn Source,
        config: &Config,
        host: &str,
        members: &[(&str, &Project)],
    ) -> Result<Self, Errors> {
        let mut joined = Self::new(host, members);
        let path = &config.file;
        let text = match source.read(path) {
            Ok(text) if text.len() > MAX_FILE_BYTES => Err(ReadError::TooLarge),
            other => other,
        };
        let text = text.map_err(|error| {
            let fault = Fault::bare(ErrorKind::Read, format!("open {path}: {error}"));
            Errors(vec![fault.in_text("", "")])
        })?;
        let file = u32::try_from(joined.project.files.len()).unwrap_or(u32::MAX);
        joined.project.files.push(path.clone());
        let read = document_of(&text, file).map_err(|fault| vec![fault]);
        let read = read.and_then(|root| joined.expectations(&root, host, &text));
        read.map_err(|faults| {
            let faults = faults.into_iter().take(crate::MAX_ERRORS);
            Errors(faults.map(|fault| fault.in_text(path, &text)).collect())
        })?;
        Ok(joined)
    }

    fn expectations(&mut self, root: &Node, host: &str, text: &str) -> Result<(), Vec<Fault>> {
        let given = |node: &'_ Node, key: &str| node.get(key).filter(|n| !n.is_null()).cloned();
        let node = given(root, "hosts").and_then(|hosts| given(&hosts, host));
        let Some(node) = node else {
            return Ok(());
        };
        if let Some(groups) = given(&node, "groups") {
            let services = self.project.services.iter();
            let services: BTreeSet<&str> = services.map(|s| s.name.as_str()).collect();
            let read = vethlab::groups(&groups, &services, &mut self.project.vethlab.groups);
            read.map_err(|fault| vec![fault])?;
        }
        if let Some(list) = given(&node, "expect") {
            let names = Names::new(&self.project);
            let within = |at, scalar: &str, part: &_| load::within(text, at, scalar, part);
            let mut room = expect::MAX_PARTIES;
            self.project.vethlab.expect = expect::list(&list, &names, &within, &mut room)?;
        }
        Ok(())
    }

    /// The key of the project by this name.
    #[must_use]
    pub fn key(&self, project: &str) -> Option<&str> {
        let mut members = self.members.iter();
        let own = members.find(|(_, name)| name == project);
        own.map(|(key, _)| key.as_str())
    }

    /// What a service of the project by this name is called.
    #[must_use]
    pub fn label(&self, project: &str, service: &str) -> Option<String> {
        Some(format!("{}/{service}", self.key(project)?))
    }

    /// The name of the project, and the service there.
    #[must_use]
    pub fn split<'a>(&'a self, label: &'a str) -> Option<(&'a str, &'a str)> {
        let (key, service) = label.rsplit_once('/')?;
        let (_, name) = self.members.iter().find(|(own, _)| own == key)?;
        Some((name, service))
    }
}

impl Joined {
    /// The projects again, of which `edited` is [`Joined::project`] with something changed; `members` are those that
    /// were joined. A network of another project is an external one to who joins it.
    #[must_use]
    pub fn apart(&self, edited: &Project, members: &[&Project]) -> Vec<Project> {
        let projects = members.iter().map(|member| {
            let mut own = (*member).clone();
            let key = self.key(&member.name).unwrap_or_default();
            for service in &mut own.services {
                if let Some(edited) = edited.service(&format!("{key}/{}", service.name)) {
                    restore(service, edited);
                }
            }
            for network in edited.networks.iter().filter(|network| network.used) {
                take_back(&mut own, network);
            }
            own
        });
        projects.collect()
    }
}

/// Makes a service what its edited other self is.
fn restore(service: &mut Service, edited: &Service) {
    let bare = |label: &str| label.rsplit('/').next().unwrap_or(label).to_owned();
    let mut own = edited.clone();
    own.name.clone_from(&service.name);
    own.container_name.clone_from(&service.container_name);
    for dependency in &mut own.depends_on {
        dependency.service = bare(&dependency.service);
    }
    if let NetworkMode::Service(other) = &edited.network_mode {
        own.network_mode = NetworkMode::Service(bare(other));
    }
    *service = own;
}

/// Makes a network of a project what it is when edited, and calls it by the project's own key again.
fn take_back(project: &mut Project, edited: &Network) {
    let mut services = project.services.iter();
    let joined = services.any(|service| {
        let mut networks = service.networks.iter();
        networks.any(|member| member.key == edited.name)
    });
    let own = project
        .networks
        .iter()
        .position(|own| own.name == edited.name);
    let at = match own {
        None if joined => {
            project.networks.push(Network {
                external: true,
                ..edited.clone()
            });
            project.networks.len() - 1
        }
        None => return,
        Some(at) => at,
    };
    let own = &mut project.networks[at];
    if !own.external {
        *own = Network {
            key: own.key.clone(),
            ..edited.clone()
        };
    }
    own.used |= joined;
    let key = own.key.clone();
    let members = project
        .services
        .iter_mut()
        .flat_map(|own| &mut own.networks);
    for member in members.filter(|member| member.key == edited.name) {
        member.key.clone_from(&key);
    }
}

fn renamed(key: &str, project: &Project, service: &Service) -> Service {
    let label = |name: &str| format!("{key}/{name}");
    let mut own = service.clone();
    own.name = label(&service.name);
    // The first container's: that is the one that others join.
    own.container_name = Some(At::new(project.container_name(service, 1), service.at));
    for member in &mut own.networks {
        if let Some(network) = project.network(&member.key) {
            member.key.clone_from(&network.name);
        }
    }
    for dependency in &mut own.depends_on {
        dependency.service = label(&dependency.service);
    }
    if let NetworkMode::Service(other) = &service.network_mode {
        own.network_mode = NetworkMode::Service(label(other));
    }
    own
}

/// Adds a network under its name in the engine. Of one that several name, the project counts that makes it.
fn add(networks: &mut Vec<Network>, network: &Network) {
    let own = Network {
        key: network.name.clone(),
        ..network.clone()
    };
    match networks.iter_mut().find(|other| other.name == own.name) {
        None => networks.push(own),
        Some(other) => {
            let used = other.used || own.used;
            if other.external && !own.external {
                *other = own;
            }
            other.used = used;
        }
    }
}
