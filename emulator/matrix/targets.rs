//! What can be asked for: the addresses, ports and openings of each service, and the host's own addresses.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::{BTreeMap, BTreeSet};

use emulator_compose::{Images, Known, Project, Service, listens};
use emulator_core::docker::container::Container;
use emulator_core::docker::spec::{HostPort, Port};
use emulator_core::id::NsId;
use emulator_core::lab::Lab;

use super::{Addressed, Carrier, Listening, Member, label};
use crate::project::{Up, proto};

/// A published port of a service as it was allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Opening {
    pub(super) host_ip: IpAddr,
    pub(super) host_port: u16,
    pub(super) ephemeral: bool,
}

impl Opening {
    /// Whether it is open at an address of the host.
    pub(super) fn is_at(&self, address: IpAddr) -> bool {
        self.host_ip.is_ipv4() == address.is_ipv4()
            && (self.host_ip.is_unspecified() || self.host_ip == address)
    }
}

/// A service that is asked for.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The service.
    pub(super) service: String,
    /// How the matrix calls it.
    pub(super) label: String,
    /// Its running containers.
    pub(super) containers: Vec<String>,
    /// Their namespaces.
    pub(super) namespaces: BTreeSet<NsId>,
    pub(super) listening: Vec<(Port, Listening)>,
    pub(super) addresses: Vec<Addressed>,
    pub(super) openings: BTreeMap<Port, BTreeSet<Opening>>,
}

/// The services of which a container runs.
pub(super) fn targets(lab: &Lab, members: &[Member<'_>], images: &Images) -> Vec<Target> {
    let mut tenants: BTreeMap<NsId, Vec<&Container>> = BTreeMap::new();
    for container in lab.docker().containers() {
        if let Some(ns) = container.ns {
            tenants.entry(ns).or_default().push(container);
        }
    }
    let all = members.iter().flat_map(|member| {
        let services = member.project.services.iter();
        services.map(move |service| (member, service))
    });
    all.map(|(member, service)| {
        let listening = listening(member.project, service, images);
        let target = target(lab, members, member.up, service, listening, &tenants);
        Target {
            label: member.label(&service.name),
            ..target
        }
    })
    .filter(|target| !target.namespaces.is_empty())
    .collect()
}

fn target(
    lab: &Lab,
    members: &[Member<'_>],
    up: &Up,
    service: &Service,
    listening: Vec<(Port, Listening)>,
    tenants: &BTreeMap<NsId, Vec<&Container>>,
) -> Target {
    let running = up.running(&service.name);
    let containers: Vec<String> = running.map(|started| started.container.clone()).collect();
    let mut target = Target {
        service: service.name.clone(),
        label: label(&service.name),
        namespaces: BTreeSet::new(),
        listening,
        addresses: Vec::new(),
        openings: BTreeMap::new(),
        containers,
    };
    for name in &target.containers.clone() {
        let Some(ns) = lab.namespace(name) else {
            continue;
        };
        if !target.namespaces.insert(ns) {
            continue;
        }
        if ns == lab.places().host {
            open_on_host(&mut target);
            continue;
        }
        // Those who share a namespace share its addresses and what is published of it.
        for tenant in tenants.get(&ns).into_iter().flatten() {
            target.addresses.extend(addresses(members, tenant));
            openings(lab, tenant, &mut target.openings);
        }
    }
    target
}

/// A process in the host's namespace listens at all the host's addresses.
fn open_on_host(target: &mut Target) {
    let any = [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ];
    for &(port, _) in &target.listening {
        let openings = target.openings.entry(port).or_default();
        openings.extend(any.map(|host_ip| Opening {
            host_ip,
            host_port: port.number,
            ephemeral: false,
        }));
    }
}

fn openings(lab: &Lab, container: &Container, openings: &mut BTreeMap<Port, BTreeSet<Opening>>) {
    for published in lab.published(&container.id) {
        // In routed mode no port of the host is bound.
        if published.host_port == 0 {
            continue;
        }
        let asked = container
            .spec
            .ports
            .iter()
            .any(|binding| match binding.host_port {
                HostPort::Ephemeral => false,
                HostPort::Exact(port) => port == published.host_port,
                HostPort::Range(first, last) => (first..=last).contains(&published.host_port),
            });
        openings.entry(published.port).or_default().insert(Opening {
            host_ip: published.host_ip,
            host_port: published.host_port,
            ephemeral: !asked,
        });
    }
}

/// The addresses of a container, by network.
pub(super) fn addresses(members: &[Member<'_>], container: &Container) -> Vec<Addressed> {
    let endpoints = container.endpoints().flat_map(|endpoint| {
        let key = key(members, &endpoint.network_name);
        endpoint.addresses().map(move |net| Addressed {
            network: Some(key.clone()),
            address: net.addr(),
        })
    });
    endpoints.collect()
}

/// The key of a network in the file; its name if it is not of the file, or several projects may call it
/// differently.
fn key(members: &[Member<'_>], name: &str) -> String {
    let known = match members {
        [one] => one
            .project
            .networks
            .iter()
            .find(|network| network.name == name),
        _ => None,
    };
    known.map_or_else(|| name.to_owned(), |network| network.key.clone())
}

/// What a service is known to listen on, each port once, and its addresses if they are not all.
fn listening(project: &Project, service: &Service, images: &Images) -> Vec<(Port, Listening)> {
    let mut all: Vec<(Port, Listening)> = Vec::new();
    for listen in listens(service, images) {
        let port = Port {
            number: listen.port,
            proto: proto(listen.protocol),
        };
        if let Some((_, known)) = all.iter_mut().find(|(other, _)| *other == port) {
            known.addresses.extend(listen.address);
            continue;
        }
        let at = match &listen.known {
            Known::Image(pattern) => {
                let entries = images.entries().iter();
                let mut entries = entries.filter(|entry| entry.pattern == *pattern);
                entries.next().map(|entry| entry.source.clone())
            }
            known => known.place().map(|at| project.locate(at)),
        };
        let listening = Listening {
            port: listen.port,
            protocol: listen.protocol.as_str().to_owned(),
            addresses: listen.address.into_iter().collect(),
            known: listen.known.word().to_owned(),
            at,
        };
        all.push((port, listening));
    }
    all
}

/// The networks that exist, those of Docker too if they have an address.
pub(super) fn carriers(lab: &Lab, members: &[Member<'_>]) -> Vec<Carrier> {
    lab.docker()
        .networks()
        .map(|network| Carrier {
            key: key(members, network.name()),
            name: network.name().to_owned(),
            internal: network.internal,
            subnets: network
                .leases
                .iter()
                .map(|lease| lease.subnet.to_string())
                .collect(),
            gateways: [false, true]
                .into_iter()
                .filter_map(|v6| network.gateway(v6))
                // A gateway that is no address of the host is another machine's.
                .filter(|&gateway| host_has(lab, gateway))
                .collect(),
        })
        .collect()
}

fn host_has(lab: &Lab, address: IpAddr) -> bool {
    let host = lab.net().ns(lab.places().host);
    host.is_some_and(|host| {
        host.ifaces()
            .any(|iface| iface.addrs.iter().any(|own| own.net.addr() == address))
    })
}

/// The addresses of a place, link-local ones and loopback left out.
pub(super) fn place_addresses(lab: &Lab, ns: NsId) -> Vec<IpAddr> {
    let Some(netns) = lab.net().ns(ns) else {
        return Vec::new();
    };
    let all = netns
        .ifaces()
        .flat_map(|iface| iface.addrs.iter().map(|own| own.net.addr()));
    all.filter(|address| {
        let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        !address.is_loopback() && !link_local
    })
    .collect()
}
