//! A compose project in a lab: its networks made, its services started, by Docker's verbs.
//!
//! What `docker compose up` does, one container at a time in dependency order, then file order, so
//! that addresses depend on no race. A service that fails to start is noted and the rest goes on.

use std::collections::{BTreeMap, BTreeSet};

use emulator_compose::{Naming, Network, NetworkMode, Project, Published, Service};
use emulator_core::docker::Error;
use emulator_core::docker::error::Kind;
use emulator_core::docker::spec::{
    ContainerSpec, EndpointSpec, HostPort, IpamConfig, Listening, NetworkSpec, Port, PortBinding,
    Proto,
};
use emulator_core::lab::Lab;

/// A container of a project that was started, or was to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The service.
    pub service: String,
    /// Which of its replicas, from 1.
    pub number: u32,
    /// The container's name.
    pub container: String,
    /// Why it does not run, in Docker's words.
    pub error: Option<Error>,
}

/// A project as it runs in a lab.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Up {
    /// Networks that could not be made, with Docker's words; nothing is started then.
    pub networks: Vec<(String, Error)>,
    /// Every container in the order in which they were started.
    pub containers: Vec<Started>,
}

impl Up {
    /// The containers of a service that run.
    pub fn running<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Started> {
        self.containers
            .iter()
            .filter(move |started| started.service == service && started.error.is_none())
    }

    /// Everything came up.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.networks.is_empty()
            && self
                .containers
                .iter()
                .all(|started| started.error.is_none())
    }
}

pub(crate) const fn proto(protocol: emulator_compose::Protocol) -> Proto {
    match protocol {
        emulator_compose::Protocol::Tcp => Proto::Tcp,
        emulator_compose::Protocol::Udp => Proto::Udp,
        emulator_compose::Protocol::Sctp => Proto::Sctp,
    }
}

fn texts<'a>(
    map: impl IntoIterator<Item = (&'a String, &'a emulator_compose::At<String>)>,
) -> BTreeMap<String, String> {
    map.into_iter()
        .map(|(key, value)| (key.clone(), value.value.clone()))
        .collect()
}

fn text(value: Option<&emulator_compose::At<String>>) -> String {
    value.map(|at| at.value.clone()).unwrap_or_default()
}

/// What `docker network create` is asked for.
fn network_spec(project: &Project, network: &Network) -> NetworkSpec {
    let mut labels: BTreeMap<String, String> = network
        .labels
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    labels.insert("com.docker.compose.network".to_owned(), network.key.clone());
    labels.insert(
        "com.docker.compose.project".to_owned(),
        project.name.clone(),
    );
    NetworkSpec {
        name: network.name.clone(),
        labels,
        ..spec(network)
    }
}

/// What a file says of a network, its name and labels left out.
pub(crate) fn spec(network: &Network) -> NetworkSpec {
    NetworkSpec {
        driver: text(network.driver.as_ref()),
        internal: network.internal,
        ipv4: network.enable_ipv4,
        ipv6: network.enable_ipv6,
        attachable: network.attachable,
        ipam_driver: text(network.ipam_driver.as_ref()),
        ipam_options: texts(&network.ipam_options),
        ipam: network
            .ipam
            .iter()
            .map(|subnet| IpamConfig {
                subnet: text(subnet.subnet.as_ref()),
                ip_range: text(subnet.ip_range.as_ref()),
                gateway: text(subnet.gateway.as_ref()),
                aux_addresses: texts(&subnet.aux_addresses),
            })
            .collect(),
        options: texts(&network.driver_opts),
        ..NetworkSpec::default()
    }
}

/// Every port that a service is known to listen on: published targets and `expose`, in order, once.
#[must_use]
pub fn listens(service: &Service) -> Vec<Port> {
    let published = service.ports.iter().map(|port| Port {
        number: port.target,
        proto: proto(port.protocol),
    });
    let exposed = service.expose.iter().flat_map(|expose| {
        (expose.first..=expose.last).map(|number| Port {
            number,
            proto: proto(expose.protocol),
        })
    });
    let mut seen = BTreeSet::new();
    published
        .chain(exposed)
        .filter(|port| seen.insert(*port))
        .collect()
}

/// The first container of a service, for `network_mode: service:` and links.
fn first_container(project: &Project, service: &str) -> String {
    project.service(service).map_or_else(
        || service.to_owned(),
        |service| project.container_name(service, 1),
    )
}

/// The links of a service's endpoint as compose writes them: the alias, and the container's own names.
fn links(project: &Project, service: &Service) -> Vec<String> {
    let mut links = Vec::new();
    for link in &service.links {
        let Some(target) = project.service(&link.target) else {
            continue;
        };
        for number in 1..=target.replicas {
            let container = project.container_name(target, number);
            let plain = match project.naming {
                Naming::V1 => format!("{}_{number}", target.name),
                Naming::V2 => format!("{}-{number}", target.name),
            };
            for alias in [link.alias.as_str(), plain.as_str(), container.as_str()] {
                links.push(format!("{container}:{alias}"));
            }
        }
    }
    links.extend(
        service
            .external_links
            .iter()
            .map(|link| format!("{}:{}", link.target, link.alias)),
    );
    let mut seen = BTreeSet::new();
    links.retain(|link| seen.insert(link.clone()));
    links
}

/// What `docker create` is asked for.
fn container_spec(
    project: &Project,
    service: &Service,
    number: u32,
    listens: Option<Vec<Listening>>,
) -> ContainerSpec {
    let links = links(project, service);
    let endpoint = |aliases: Vec<String>| EndpointSpec {
        aliases,
        links: links.clone(),
        ..EndpointSpec::default()
    };
    let mut endpoints: Vec<(String, EndpointSpec)> = Vec::new();
    let network_mode = match &service.network_mode {
        NetworkMode::Networks => {
            for member in &service.networks {
                let Some(network) = project.network(&member.key) else {
                    continue;
                };
                let mut aliases = vec![service.name.clone()];
                if project.naming == Naming::V2 {
                    aliases.insert(0, project.container_name(service, number));
                }
                aliases.extend(member.aliases.iter().map(|alias| alias.value.clone()));
                let mut driver_opts = texts(&member.driver_opts);
                if let Some(name) = &member.interface_name {
                    driver_opts.insert(
                        "com.docker.network.endpoint.ifname".to_owned(),
                        name.value.clone(),
                    );
                }
                endpoints.push((
                    network.name.clone(),
                    EndpointSpec {
                        ipv4: text(member.ipv4_address.as_ref()),
                        ipv6: text(member.ipv6_address.as_ref()),
                        link_local_ips: member
                            .link_local_ips
                            .iter()
                            .map(|ip| ip.value.clone())
                            .collect(),
                        mac_address: text(member.mac_address.as_ref()),
                        driver_opts,
                        gw_priority: member.gw_priority,
                        ..endpoint(aliases)
                    },
                ));
            }
            let primary = service
                .primary_network()
                .and_then(|member| project.network(&member.key));
            primary
                .map(|network| network.name.clone())
                .unwrap_or_default()
        }
        NetworkMode::Bridge => "bridge".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Service(target) => format!("container:{}", first_container(project, target)),
        NetworkMode::Container(target) => format!("container:{target}"),
        NetworkMode::Named(name) => name.clone(),
    };
    // On the default bridge links are the container's, not an endpoint's.
    let legacy = endpoints.is_empty() && !matches!(service.network_mode, NetworkMode::Named(_));
    ContainerSpec {
        name: Some(project.container_name(service, number)),
        image: text(service.image.as_ref()),
        listens,
        command: service
            .command
            .as_ref()
            .map(|words| words.value.clone())
            .unwrap_or_default(),
        hostname: service.hostname.as_ref().map(|at| at.value.clone()),
        domainname: service.domainname.as_ref().map(|at| at.value.clone()),
        network_mode,
        endpoints,
        ports: service
            .ports
            .iter()
            .map(|port| PortBinding {
                port: Port {
                    number: port.target,
                    proto: proto(port.protocol),
                },
                host_ip: port.host_ip.as_deref().and_then(|ip| ip.parse().ok()),
                host_port: match port.published {
                    Published::Ephemeral => HostPort::Ephemeral,
                    Published::Exact(port) => HostPort::Exact(port),
                    Published::Range(first, last) => HostPort::Range(first, last),
                },
            })
            .collect(),
        expose: service
            .expose
            .iter()
            .flat_map(|expose| {
                (expose.first..=expose.last).map(|number| Port {
                    number,
                    proto: proto(expose.protocol),
                })
            })
            .collect(),
        links: if legacy { links } else { Vec::new() },
        extra_hosts: service
            .extra_hosts
            .iter()
            .flat_map(|extra| {
                extra
                    .addresses
                    .iter()
                    .map(|address| format!("{}:{address}", extra.host))
            })
            .collect(),
        dns: service.dns.iter().map(|at| at.value.clone()).collect(),
        dns_search: service
            .dns_search
            .iter()
            .map(|at| at.value.clone())
            .collect(),
        dns_options: service.dns_opt.iter().map(|at| at.value.clone()).collect(),
        mac_address: service.mac_address.as_ref().map(|at| at.value.clone()),
        labels: BTreeMap::from([
            (
                "com.docker.compose.project".to_owned(),
                project.name.clone(),
            ),
            (
                "com.docker.compose.service".to_owned(),
                service.name.clone(),
            ),
            (
                "com.docker.compose.container-number".to_owned(),
                number.to_string(),
            ),
        ]),
        sysctls: texts(&service.sysctls),
        ..ContainerSpec::default()
    }
}

/// Makes the networks of `project` and starts its services in `lab`, where they run what their images say.
pub fn up(lab: &mut Lab, project: &Project) -> Up {
    up_with(lab, project, |_| None)
}

/// The same, with programs that listen on what `listens` says of their service.
pub fn up_with(
    lab: &mut Lab,
    project: &Project,
    listens: impl Fn(&Service) -> Option<Vec<Listening>>,
) -> Up {
    up_some(lab, project, listens, |_| true)
}

/// The same for some of its services.
pub(crate) fn up_some(
    lab: &mut Lab,
    project: &Project,
    listens: impl Fn(&Service) -> Option<Vec<Listening>>,
    wanted: impl Fn(&Service) -> bool,
) -> Up {
    let mut up = Up::default();
    for network in creation_order(project) {
        let made = if network.external {
            external(lab, network)
        } else {
            lab.network_create(network_spec(project, network))
                .map(|_| ())
        };
        if let Err(error) = made {
            up.networks.push((network.key.clone(), error));
            return up;
        }
    }
    let order = project.start_order().into_iter();
    for (service, number) in order.filter(|(service, _)| wanted(service)) {
        let started = start(lab, project, service, number, listens(service));
        up.containers.push(started);
    }
    lab.settle();
    up
}

/// Makes and starts one container of a service.
pub(crate) fn start(
    lab: &mut Lab,
    project: &Project,
    service: &Service,
    number: u32,
    listens: Option<Vec<Listening>>,
) -> Started {
    let spec = container_spec(project, service, number, listens);
    let container = spec.name.clone().unwrap_or_default();
    let error = lab.create(spec).and_then(|_| lab.start(&container)).err();
    Started {
        service: service.name.clone(),
        number,
        container,
        error,
    }
}

/// The networks that are used, in the order in which they are made: compose 1 goes through the services
/// and makes what each one needs; compose 2 makes them in any order, here in that of the file.
fn creation_order(project: &Project) -> Vec<&Network> {
    let used = project.networks.iter().filter(|network| network.used);
    if project.naming == Naming::V2 {
        return used.collect();
    }
    let members = project
        .services
        .iter()
        .flat_map(|service| &service.networks);
    let mut ordered: Vec<&Network> = Vec::new();
    for network in members
        .filter_map(|member| project.network(&member.key))
        .chain(used)
    {
        if !ordered.iter().any(|known| known.key == network.key) {
            ordered.push(network);
        }
    }
    ordered
}

/// A stand-in for a network that another project makes: its name, and what the file says of it; a bridge as
/// `docker network create NAME` makes it if it says nothing.
#[must_use]
pub fn external_network(network: &Network) -> NetworkSpec {
    NetworkSpec {
        name: network.name.clone(),
        ..spec(network)
    }
}

/// An external network has to be there already.
fn external(lab: &Lab, network: &Network) -> Result<(), Error> {
    if is_there(lab, &network.name) {
        return Ok(());
    }
    Err(Error::new(
        Kind::NotFound,
        format!(
            "network {} declared as external, but could not be found",
            network.name
        ),
    ))
}

/// Whether there is a network of this name or id: compose takes no part of an id, which the engine does.
pub(crate) fn is_there(lab: &Lab, name: &str) -> bool {
    let found = lab.docker().network(name);
    found.is_ok_and(|network| network.name() == name || *network.id == *name)
}
