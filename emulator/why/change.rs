//! What would open or close a way: small edits of the project. Each is tried in a world of its own before
//! it is told, so that no advice is given that does not do what it says.

use core::net::IpAddr;

use emulator_compose::{
    At, Images, Known, Listen, Network, NetworkMode, Place, Port, Project, Protocol, Published,
    Service, ServiceNetwork, listens,
};
use serde::Serialize;

/// Every IPv4 address of the host.
const ANY_V4: &str = "0.0.0.0";

/// Docker's option for inter-container communication.
pub(super) const ICC: &str = "com.docker.network.bridge.enable_icc";

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// What was closed is open afterwards.
    Opens,
    /// What was open is closed afterwards.
    Closes,
    /// The server sees the address that it should.
    Shows,
}

/// A change of the compose file that was tried and does what is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it does.
    pub effect: Effect,
    /// What to write.
    pub what: String,
    /// Where: `file:line:column`.
    pub at: String,
}

/// An edit of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// A service joins a network.
    Join(String, String),
    /// A service is on this network instead of what its `network_mode` says.
    Mode(String, String),
    /// A service leaves a network.
    Leave(String, String),
    /// A port is published on every address of the host.
    Publish(String, u16, Protocol),
    /// A published port is not published any more.
    Unpublish(String, u16, Protocol),
    /// A published port is bound to this address; `None` is every one.
    Bind(String, u16, Protocol, Option<&'static str>),
    /// A network is internal, or not.
    Internal(String, bool),
    /// Containers of a network may talk to each other.
    Icc(String),
    /// A network has IPv6 too.
    Ipv6(String),
    /// A program listens on every address.
    Everywhere(String, u16, Protocol),
    /// A program listens on a port, and the file says so.
    State(String, u16, Protocol),
}

impl Edit {
    /// The project with it.
    pub(super) fn apply(&self, project: &Project, images: &Images) -> Project {
        let mut project = frozen(project, images);
        match self {
            Self::Join(service, network) => join(&mut project, service, network),
            Self::Mode(service, network) => {
                of(&mut project, service, |service| {
                    service.network_mode = NetworkMode::Networks;
                    service.networks.clear();
                });
                if project.network(network).is_none() {
                    project.networks.push(implicit(&project.name));
                }
                join(&mut project, service, network);
            }
            Self::Leave(service, network) => {
                of(&mut project, service, |service| {
                    service.networks.retain(|member| member.key != *network);
                });
            }
            Self::Publish(service, port, protocol) => of(&mut project, service, |service| {
                service.ports.push(published(service.at, *port, *protocol));
            }),
            Self::Unpublish(service, port, protocol) => of(&mut project, service, |service| {
                service.ports.retain(|own| !is(own, *port, *protocol));
            }),
            Self::Bind(service, port, protocol, address) => of(&mut project, service, |service| {
                let ports = service.ports.iter_mut();
                for own in ports.filter(|own| is(own, *port, *protocol)) {
                    own.host_ip = address.map(str::to_owned);
                }
            }),
            Self::Internal(network, internal) => {
                on(&mut project, network, |network| {
                    network.internal = *internal
                });
            }
            Self::Icc(network) => on(&mut project, network, |network| {
                network.driver_opts.shift_remove(ICC);
            }),
            Self::Ipv6(network) => on(&mut project, network, |network| {
                network.enable_ipv6 = Some(true);
            }),
            Self::Everywhere(service, port, protocol) | Self::State(service, port, protocol) => {
                of(&mut project, service, |service| {
                    let at = service.at;
                    let all = service.vethlab.listen.get_or_insert_default();
                    all.retain(|listen| (listen.port, listen.protocol) != (*port, *protocol));
                    all.push(Listen {
                        address: None,
                        port: *port,
                        protocol: *protocol,
                        known: Known::Stated(at),
                    });
                })
            }
        }
        project
    }

    /// What to write, for people.
    pub(super) fn what(&self, project: &Project) -> String {
        let written = |port: u16, protocol: Protocol| match protocol {
            Protocol::Tcp => format!("{port}"),
            other => format!("{port}/{other}"),
        };
        match self {
            // Of a host's: the project may call the network differently, or not have it yet.
            Self::Join(service, network) if service.contains('/') => {
                format!(
                    "put {service} on {network}: the network with `name: {network}` in its project"
                )
            }
            Self::Leave(service, network) if service.contains('/') => {
                format!("take {service} off {network}")
            }
            Self::Join(service, network) => {
                let lone = project.service(service).is_some_and(is_implicit);
                let list = if lone {
                    format!("[default, {network}]")
                } else {
                    format!("- {network}")
                };
                format!("put {service} on {network}: `{list}` under its `networks:`")
            }
            Self::Mode(service, network) => {
                let mode = project.service(service).map(|own| mode(&own.network_mode));
                let mode = mode.unwrap_or_default();
                format!(
                    "put {service} on {network}: `networks: [{network}]` in the place of `network_mode: {mode}`"
                )
            }
            Self::Leave(service, network) => {
                format!("take {service} off {network}: no `{network}` under its `networks:`")
            }
            Self::Publish(service, port, protocol) => format!(
                "publish it: `\"{port}:{}\"` under `ports:` of {service}; every machine that reaches this host can then use it",
                written(*port, *protocol)
            ),
            Self::Unpublish(service, port, protocol) => format!(
                "do not publish {} of {service}: no line for it under `ports:`",
                written(*port, *protocol)
            ),
            Self::Bind(service, port, protocol, Some(ANY_V4)) => format!(
                "publish {} of {service} over IPv4 alone: write `{ANY_V4}:` before it",
                written(*port, *protocol)
            ),
            Self::Bind(service, port, protocol, Some(address)) => format!(
                "publish {} of {service} for this host alone: write `{address}:` before it",
                written(*port, *protocol)
            ),
            Self::Bind(service, port, protocol, None) => format!(
                "publish {} of {service} on every address: no address before it",
                written(*port, *protocol)
            ),
            Self::Internal(network, false) => {
                format!("let {network} have a way out: no `internal: true`")
            }
            Self::Internal(network, true) => {
                let written = written_of(project, network, "internal: true");
                format!("{written} for {network}")
            }
            Self::Icc(network) => {
                format!("let containers of {network} talk to each other: no `{ICC}: \"false\"`")
            }
            Self::Ipv6(network) => {
                let written = written_of(project, network, "enable_ipv6: true");
                format!("give {network} IPv6, so that no docker-proxy stands between: {written}")
            }
            Self::State(service, port, protocol) => format!(
                "if {service} listens on {0}, say so: `x-vethlab: {{listen: [{0}]}}`, with all its other ports",
                match protocol {
                    Protocol::Tcp => written(*port, *protocol),
                    _ => format!("\"{}\"", written(*port, *protocol)),
                }
            ),
            Self::Everywhere(service, port, protocol) => format!(
                "let {service} listen on 0.0.0.0:{}, not on one address alone",
                written(*port, *protocol)
            ),
        }
    }

    /// Where.
    pub(super) fn at(&self, project: &Project) -> Option<Place> {
        let service = |name: &String| project.service(name);
        match self {
            Self::Join(name, _) => service(name).map(|service| {
                let last = service.networks.last().map(|member| member.at);
                last.filter(|at| *at != Place::default())
                    .unwrap_or(service.at)
            }),
            Self::Publish(name, ..) => {
                service(name).map(|service| service.ports.last().map_or(service.at, |port| port.at))
            }
            Self::Mode(name, _) => {
                service(name).map(|service| service.network_mode_at.unwrap_or(service.at))
            }
            Self::Leave(name, network) => service(name).map(|service| {
                let member = service
                    .networks
                    .iter()
                    .find(|member| member.key == *network);
                member.map_or(service.at, |member| member.at)
            }),
            Self::Unpublish(name, port, protocol) | Self::Bind(name, port, protocol, _) => {
                service(name).map(|service| {
                    let own = service.ports.iter().find(|own| is(own, *port, *protocol));
                    own.map_or(service.at, |own| own.at)
                })
            }
            Self::Everywhere(name, ..) | Self::State(name, ..) => {
                service(name).map(|service| service.at)
            }
            Self::Internal(key, _) | Self::Ipv6(key) => {
                project.network(key).map(|network| network.at)
            }
            Self::Icc(key) => project.network(key).map(|network| {
                network
                    .driver_opts
                    .get(ICC)
                    .map_or(network.at, |value| value.at)
            }),
        }
    }
}

/// A setting of a network: where no file writes the network, with all that has to be written.
fn written_of(project: &Project, key: &str, setting: &str) -> String {
    let at = project.network(key).map(|network| network.at);
    let mut services = project.services.iter();
    match services.any(|service| Some(service.at) == at) {
        true => format!("`networks: {{{key}: {{{setting}}}}}`"),
        false => format!("`{setting}`"),
    }
}

/// A copy in which every program listens where it does now, whatever else is changed.
fn frozen(project: &Project, images: &Images) -> Project {
    let mut project = project.clone();
    for service in &mut project.services {
        service.vethlab.listen = Some(listens(service, images));
    }
    project
}

/// The service names no network: it is on the implicit one.
fn is_implicit(service: &Service) -> bool {
    service
        .networks
        .iter()
        .all(|member| member.at == service.at || member.at == Place::default())
}

fn of(project: &mut Project, name: &str, edit: impl FnOnce(&mut Service)) {
    if let Some(service) = project
        .services
        .iter_mut()
        .find(|service| service.name == name)
    {
        edit(service);
    }
}

fn on(project: &mut Project, key: &str, edit: impl FnOnce(&mut Network)) {
    if let Some(network) = project
        .networks
        .iter_mut()
        .find(|network| network.key == key)
    {
        edit(network);
    }
}

fn join(project: &mut Project, service: &str, key: &str) {
    of(project, service, |service| {
        service.networks.push(ServiceNetwork {
            key: key.to_owned(),
            ..ServiceNetwork::default()
        });
    });
    on(project, key, |network| network.used = true);
}

/// A mode as it is written.
pub(super) fn mode(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::Networks => String::new(),
        NetworkMode::Bridge => "bridge".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Service(name) => format!("service:{name}"),
        NetworkMode::Container(name) => format!("container:{name}"),
        NetworkMode::Named(name) => name.clone(),
    }
}

/// The network that a service is on which names none.
fn implicit(project: &str) -> Network {
    Network {
        key: "default".to_owned(),
        name: format!("{project}_default"),
        ..Network::default()
    }
}

fn published(at: Place, port: u16, protocol: Protocol) -> Port {
    Port {
        at,
        target: port,
        protocol,
        published: Published::Exact(port),
        host_ip: None,
        mode: "ingress".to_owned(),
        name: None,
        app_protocol: None,
    }
}

fn is(own: &Port, port: u16, protocol: Protocol) -> bool {
    own.target == port && own.protocol == protocol
}

/// Who asks for what, as far as an edit can change it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// The asker, if it is a service; a place otherwise.
    pub(crate) from: Option<&'a Service>,
    /// The target, likewise.
    pub(crate) to: Option<&'a Service>,
    /// Whose namespace the asker lives in: mostly its own.
    pub(crate) from_home: Option<&'a Service>,
    /// The target's, likewise.
    pub(crate) to_home: Option<&'a Service>,
    /// Its port; none for a ping.
    pub(crate) port: Option<(u16, Protocol)>,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(
        project: &'a Project,
        from: Option<&'a Service>,
        to: Option<&'a Service>,
        port: Option<(u16, Protocol)>,
    ) -> Self {
        Self {
            from,
            to,
            from_home: from.map(|service| home(project, service)),
            to_home: to.map(|service| home(project, service)),
            port,
        }
    }
}

/// The service whose namespace a service lives in, which has the networks and the published ports of both.
fn home<'a>(project: &'a Project, service: &'a Service) -> &'a Service {
    let mut home = service;
    // Each step is another service, or somebody joins in a circle, which the loader refuses.
    for _ in 0..project.services.len() {
        let provider = match &home.network_mode {
            NetworkMode::Service(name) => project.service(name),
            NetworkMode::Container(name) => {
                let mut services = project.services.iter();
                services.find(|other| project.container_name(other, 1) == *name)
            }
            _ => None,
        };
        match provider {
            Some(provider) => home = provider,
            None => break,
        }
    }
    home
}

/// What might open it, the smallest first.
pub(super) fn openers(project: &Project, asked: Asked<'_>, images: &Images) -> Vec<Edit> {
    let mut edits = Vec::new();
    if let (Some(to), Some((port, protocol))) = (asked.to, asked.port) {
        let all = listens(to, images);
        let is = |listen: &&Listen| (listen.port, listen.protocol) == (port, protocol);
        let bound = |listen: &Listen| {
            let address: Option<IpAddr> = listen.address;
            address.is_some_and(|address| !address.is_unspecified())
        };
        let mut own = all.iter().filter(is).peekable();
        if own.peek().is_none() {
            edits.push(Edit::State(to.name.clone(), port, protocol));
        } else if own.any(bound) {
            edits.push(Edit::Everywhere(to.name.clone(), port, protocol));
        }
    }
    let icc_off = project.networks.iter();
    let icc_off = icc_off.filter(|network| network.driver_opts.get(ICC).is_some_and(is_off));
    edits.extend(icc_off.map(|network| Edit::Icc(network.key.clone())));
    match (asked.from_home, asked.to_home) {
        (Some(from), Some(to)) => {
            joins(from, to, &mut edits);
            joins(to, from, &mut edits);
        }
        (None, Some(to)) => edits.extend(
            asked
                .port
                .and_then(|(port, protocol)| publish(to, port, protocol)),
        ),
        (_, None) => {}
    }
    if let Some(home) = asked.from_home.or(asked.to_home)
        && (asked.from.is_none() || asked.to.is_none())
        && !on_networks(home)
    {
        let network = project.networks.iter().find(|network| !network.internal);
        let key = network.map_or("default", |network| network.key.as_str());
        edits.push(Edit::Mode(home.name.clone(), key.to_owned()));
    }
    let internal = project.networks.iter().filter(|network| network.internal);
    edits.extend(internal.map(|network| Edit::Internal(network.key.clone(), false)));
    edits
}

/// It is on networks of the project, or could be by naming them.
fn on_networks(service: &Service) -> bool {
    service.network_mode == NetworkMode::Networks
}

/// `who` joins each network of `other` that it is not on.
fn joins(who: &Service, other: &Service, edits: &mut Vec<Edit>) {
    for member in other.networks.iter().filter(|_| on_networks(other)) {
        let (name, key) = (who.name.clone(), member.key.clone());
        match who.network_mode {
            NetworkMode::Networks if is_on(who, &key) => {}
            NetworkMode::Networks => edits.push(Edit::Join(name, key)),
            _ => edits.push(Edit::Mode(name, key)),
        }
    }
}

fn is_on(service: &Service, key: &str) -> bool {
    service.networks.iter().any(|own| own.key == key)
}

fn publish(to: &Service, port: u16, protocol: Protocol) -> Option<Edit> {
    match to.ports.iter().find(|own| is(own, port, protocol)) {
        Some(own) => own
            .host_ip
            .is_some()
            .then(|| Edit::Bind(to.name.clone(), port, protocol, None)),
        None => Some(Edit::Publish(to.name.clone(), port, protocol)),
    }
}

/// What might close it, the smallest first.
pub(super) fn closers(project: &Project, asked: Asked<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    if let (Some(to), Some((port, protocol))) = (asked.to_home, asked.port)
        && let Some(own) = to.ports.iter().find(|own| is(own, port, protocol))
    {
        let host_ip = own.host_ip.as_deref();
        if !host_ip.is_some_and(|ip| ip.starts_with("127.")) {
            let bind = Edit::Bind(to.name.clone(), port, protocol, Some("127.0.0.1"));
            edits.push(bind);
        }
        edits.push(Edit::Unpublish(to.name.clone(), port, protocol));
    }
    if let (Some(from), Some(to)) = (asked.from_home, asked.to_home) {
        for member in from.networks.iter().filter(|member| is_on(to, &member.key)) {
            for who in [from, to] {
                if who.networks.len() > 1 {
                    edits.push(Edit::Leave(who.name.clone(), member.key.clone()));
                }
            }
        }
    }
    // What has no way out has no way in.
    let end = asked.to_home.or(asked.from_home);
    for network in &project.networks {
        let touched = end.is_some_and(|service| is_on(service, &network.key));
        if touched && !network.internal && !network.external {
            edits.push(Edit::Internal(network.key.clone(), true));
        }
    }
    for home in [asked.from_home, asked.to_home].into_iter().flatten() {
        let network = project.networks.iter().find(|network| !network.internal);
        if home.network_mode == NetworkMode::Host {
            let key = network.map_or("default", |network| network.key.as_str());
            edits.push(Edit::Mode(home.name.clone(), key.to_owned()));
        }
    }
    edits
}

/// What might let the server see another address: nothing of docker-proxy's between, which carries what comes over IPv6
/// to a network that has none; or a network in common.
pub(super) fn showers(project: &Project, asked: Asked<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    if let (Some(to), Some((port, protocol))) = (asked.to_home, asked.port) {
        for member in &to.networks {
            let network = project.network(&member.key);
            if network.is_some_and(|own| own.enable_ipv6 != Some(true) && !own.external) {
                edits.push(Edit::Ipv6(member.key.clone()));
            }
        }
        let own = to.ports.iter().find(|own| is(own, port, protocol));
        if own.is_some_and(|own| own.host_ip.is_none()) {
            let bind = Edit::Bind(to.name.clone(), port, protocol, Some(ANY_V4));
            edits.push(bind);
        }
    }
    if let (Some(from), Some(to)) = (asked.from_home, asked.to_home) {
        joins(from, to, &mut edits);
        joins(to, from, &mut edits);
    }
    edits
}

fn is_off(value: &At<String>) -> bool {
    matches!(
        value.value.as_str(),
        "false" | "0" | "f" | "F" | "False" | "FALSE"
    )
}
