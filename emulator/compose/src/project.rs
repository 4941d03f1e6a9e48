//! The checked tree as a [`Project`]: profiles, the implicit network, what refers to what.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{self, ConfigPart};
use crate::error::{ErrorKind, Fault};
use crate::expect::{self, Names};
use crate::load::{Loader, Scope};
use crate::model::{Naming, Network, NetworkMode, Project, Service, ServiceNetwork, Unset};
use crate::mounts;
use crate::near;
use crate::network;
use crate::node::{At, Entry, Node, Place, Value};
use crate::order;
use crate::read;
use crate::service::{self, PortCount};
use crate::vethlab::{self, Vethlab};

/// How many containers a project may have.
pub const MAX_CONTAINERS: u32 = 65_536;

/// The network that services join when they name none.
const DEFAULT: &str = "default";

/// What the caller wants of the project.
pub(crate) struct Wanted<'w> {
    pub(crate) name: String,
    pub(crate) naming: Naming,
    pub(crate) profiles: Vec<String>,
    pub(crate) config: Option<&'w ConfigPart>,
}

/// Makes the project. Several things that are wrong are told together.
pub(crate) fn build(
    loader: &mut Loader<'_>,
    root: &Node,
    wanted: Wanted<'_>,
    scope: &Scope,
) -> Result<Project, Vec<Fault>> {
    let name = &wanted.name;
    let mut faults = Vec::new();
    let entries = |key: &str| root.get(key).map_or(&[][..], Node::entries);
    faults.extend(mounts::check_sources(root).err());
    let mut networks = Vec::new();
    for entry in entries("networks") {
        match network::read(entry, name, &mut loader.warnings) {
            Ok(network) => networks.push(network),
            Err(fault) => faults.push(fault),
        }
    }
    let mut services = Vec::new();
    let mut inactive = Vec::new();
    let mut ports = PortCount {
        spread: 0,
        repeated: wanted.naming == Naming::V1,
    };
    for entry in entries("services") {
        match one_service(loader, root, entry, scope, &wanted.profiles, &mut ports) {
            Ok(Some(service)) => services.push(service),
            Ok(None) => inactive.push(entry.key.clone()),
            Err(fault) => faults.push(fault),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let root_services = entries("services");
    let everyone = default_users(root_services);
    add_default(&mut networks, everyone, name);
    join_default(&mut services, &networks);
    check(&services, &inactive, &networks)?;
    let used: BTreeSet<&str> = services
        .iter()
        .flat_map(|service| service.networks.iter().map(|member| member.key.as_str()))
        .collect();
    for network in &mut networks {
        network.used = used.contains(network.key.as_str());
    }
    let mut project = Project {
        name: wanted.name,
        naming: wanted.naming,
        files: loader.file_names(),
        services,
        inactive,
        networks,
        warnings: core::mem::take(&mut loader.warnings),
        unset: unset(loader),
        vethlab: Vethlab::default(),
    };
    vethlab(loader, root, wanted.config, &mut project)?;
    // The file of the last part may have been read just now.
    project.files = loader.file_names();
    Ok(project)
}

/// The project's `x-vethlab`, then its part of `vethlab.yaml`.
fn vethlab(
    loader: &mut Loader<'_>,
    root: &Node,
    config: Option<&ConfigPart>,
    project: &mut Project,
) -> Result<(), Vec<Fault>> {
    let one = |fault| vec![fault];
    let own = root.get(vethlab::KEY).filter(|node| !node.is_null());
    if let Some(own) = own {
        project.vethlab = vethlab::project(own).map_err(one)?;
    }
    let document = match config {
        None => None,
        Some(part) => loader.documents(&part.file, None).map_err(one)?.pop(),
    };
    let mut layers: Vec<&Node> = own.into_iter().collect();
    if let (Some(document), Some(part)) = (&document, config) {
        layers.extend(config::layers(&document.root, part).map_err(one)?);
    }
    let services: BTreeSet<&str> = project.services.iter().map(|s| s.name.as_str()).collect();
    for layer in &layers {
        if let Some(engine) = vethlab::engine(layer).map_err(one)? {
            project.vethlab.engine = Some(engine);
        }
        if let Some(groups) = layer.get("groups").filter(|node| !node.is_null()) {
            vethlab::groups(groups, &services, &mut project.vethlab.groups).map_err(one)?;
        }
    }
    let (mut expect, mut faults) = (Vec::new(), Vec::new());
    let mut room = expect::MAX_PARTIES;
    let names = Names::new(project);
    let within = |at, text: &str, part: &_| loader.within(at, text, part);
    let lists = layers.iter().filter_map(|layer| layer.get("expect"));
    for list in lists.filter(|node| !node.is_null()) {
        match expect::list(list, &names, &within, &mut room) {
            Ok(list) => expect.extend(list),
            Err(found) => faults.extend(found),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    project.vethlab.expect = expect;
    Ok(())
}

/// Where variables had no value, each once: a file that is needed twice is substituted twice.
fn unset(loader: &mut Loader<'_>) -> Vec<Unset> {
    let mut unset = core::mem::take(&mut loader.unset);
    let mut seen = BTreeSet::new();
    unset.retain(|unset| seen.insert((unset.at, unset.name.clone())));
    unset
}

/// A service, unless its profiles leave it out.
fn one_service(
    loader: &mut Loader<'_>,
    root: &Node,
    entry: &Entry,
    scope: &Scope,
    profiles: &[String],
    ports: &mut PortCount,
) -> Result<Option<Service>, Fault> {
    let own = read::texts(&entry.node, "profiles");
    let active = |own: &str| {
        profiles
            .iter()
            .any(|profile| profile == "*" || profile == own)
    };
    if !own.is_empty() && !own.iter().any(|own| active(own)) {
        return Ok(None);
    }
    mounts::check_service(root, entry)?;
    let mut service = service::read(entry, ports)?;
    environment(loader, &entry.node, scope, &mut service)?;
    Ok(Some(service))
}

/// `environment` over the `env_file`s.
fn environment(
    loader: &mut Loader<'_>,
    node: &Node,
    scope: &Scope,
    service: &mut Service,
) -> Result<(), Fault> {
    let single = node.get("env_file").map(core::slice::from_ref);
    let files = match node.get("env_file").map(|node| &node.value) {
        Some(Value::List(items)) => items.as_slice(),
        _ => single.unwrap_or_default(),
    };
    for file in files {
        let path = file
            .text()
            .or_else(|| file.get("path").and_then(Node::text));
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            continue;
        };
        let required = file.get("required").map(|node| &node.value) != Some(&Value::Bool(false));
        match loader.env_file(&path, &scope.env, Some(file.at))? {
            Some(values) => {
                let values = values.into_iter();
                let values = values.map(|(key, value)| (key, Some(At::new(value, file.at))));
                service.environment.extend(values);
            }
            None if required => {
                let message =
                    format!("env file {path} not found: stat {path}: no such file or directory");
                return Err(Fault::new(ErrorKind::Read, file.at, message)
                    .hint("`{path: …, required: false}` goes on without it"));
            }
            None => {}
        }
    }
    for (key, pair) in read::pairs(node, "environment") {
        let value = pair.value.or_else(|| scope.env.get(&key).cloned());
        let value = value.map(|value| At::new(value, pair.at));
        service.environment.insert(key, value);
    }
    Ok(())
}

/// Where a service, active or not, is on the `default` network, if one is.
fn default_users(services: &[Entry]) -> Option<Place> {
    let user = services.iter().find(|entry| {
        let node = &entry.node;
        if node.get("network_mode").is_some() {
            return false;
        }
        let Some(networks) = node.get("networks") else {
            return true;
        };
        let named = read::named(networks);
        named.is_empty() || named.iter().any(|(key, _)| key.value == DEFAULT)
    });
    user.map(|entry| entry.key_at)
}

fn add_default(networks: &mut Vec<Network>, user: Option<Place>, project: &str) {
    let there = networks.iter().any(|network| network.key == DEFAULT);
    if let Some(at) = user.filter(|_| !there) {
        networks.push(Network {
            key: DEFAULT.to_owned(),
            at,
            name: format!("{project}_{DEFAULT}"),
            ..Network::default()
        });
    }
}

/// Services that name no network join `default`. With an empty `network_mode` they do so only if
/// it is there: else they are on no network if the project has none, or on the default bridge.
fn join_default(services: &mut [Service], networks: &[Network]) {
    let there = networks.iter().any(|network| network.key == DEFAULT);
    for service in services {
        if service.network_mode != NetworkMode::Networks || !service.networks.is_empty() {
            continue;
        }
        if there {
            service.networks.push(ServiceNetwork {
                key: DEFAULT.to_owned(),
                at: service.at,
                ..ServiceNetwork::default()
            });
        } else if networks.is_empty() {
            service.network_mode = NetworkMode::None;
        } else {
            service.network_mode = NetworkMode::Bridge;
        }
    }
}

/// What compose checks once all services are known.
fn check(
    services: &[Service],
    inactive: &[String],
    networks: &[Network],
) -> Result<(), Vec<Fault>> {
    let keys: BTreeSet<&str> = networks
        .iter()
        .map(|network| network.key.as_str())
        .collect();
    let by_name = services
        .iter()
        .map(|service| (service.name.as_str(), service));
    let by_name: BTreeMap<&str, &Service> = by_name.collect();
    let inactive: BTreeSet<&str> = inactive.iter().map(String::as_str).collect();
    let mut faults = Vec::new();
    for service in services {
        if let Err(fault) = check_one(service, &keys, &by_name, &inactive) {
            faults.push(fault);
        }
    }
    if let Err(fault) = check_size(services) {
        faults.push(fault);
    }
    if faults.is_empty()
        && let Err(fault) = order::check(services)
    {
        faults.push(fault);
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(faults)
}

fn check_one(
    service: &Service,
    networks: &BTreeSet<&str>,
    services: &BTreeMap<&str, &Service>,
    inactive: &BTreeSet<&str>,
) -> Result<(), Fault> {
    let name = &service.name;
    if service.image.is_none() && !service.build {
        let text = format!(
            "service {name:?} has neither an image nor a build context specified: invalid compose project"
        );
        return Err(Fault::invalid(service.at, text));
    }
    let missing = |key: &str| !networks.contains(key);
    if let Some(member) = service.networks.iter().find(|member| missing(&member.key)) {
        let text = format!(
            "service {name:?} refers to undefined network {}: invalid compose project",
            member.key
        );
        let mut fault = Fault::new(ErrorKind::Undefined, member.at, text);
        fault.hint = near::hint(&member.key, networks.iter().copied());
        return Err(fault);
    }
    let undefined = |other: &str, at, text| {
        let mut fault = Fault::new(ErrorKind::Undefined, at, text);
        fault.hint = match inactive.contains(other) {
            true => Some(format!(
                "none of the profiles of {other} is active: `--profile NAME`, or COMPOSE_PROFILES, has them so"
            )),
            false => near::hint(other, services.keys().copied()),
        };
        Err(fault)
    };
    if let (NetworkMode::Service(other), Some(at)) =
        (&service.network_mode, service.network_mode_at)
        && !services.contains_key(other.as_str())
    {
        let text = format!("service {other:?} not found for network_mode 'service:{other}'");
        return undefined(other, at, text);
    }
    for dependency in &service.depends_on {
        let other = &dependency.service;
        let there = services.contains_key(other.as_str());
        let left_out = !dependency.required && inactive.contains(other.as_str());
        if !there && !left_out {
            let text = format!(
                "service {name:?} depends on undefined service {other:?}: invalid compose project"
            );
            return undefined(other, dependency.at, text);
        }
    }
    Ok(())
}

fn check_size(services: &[Service]) -> Result<(), Fault> {
    let mut total: u32 = 0;
    for service in services {
        total = total.saturating_add(service.replicas);
        if total > MAX_CONTAINERS {
            let text = format!("the project has more than {MAX_CONTAINERS} containers");
            return Err(Fault::new(ErrorKind::TooLarge, service.at, text));
        }
    }
    Ok(())
}
