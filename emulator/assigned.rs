//! What was drawn when a project came up in a lab, as plain data for the model: ids, addresses, host
//! ports, who listens. And the machine that the lab is, likewise.

use core::net::IpAddr;

use emulator_compose::{Project, Protocol};
use emulator_core::docker::container::Container;
use emulator_core::docker::network::Network;
use emulator_core::docker::spec::{Engine, Proto};
use emulator_core::id::NsId;
use emulator_core::lab::Lab;
use emulator_model::{Assigned, Endpoint, Machine, Publication, Socket};

use crate::project::{Up, listens};

const fn protocol(proto: Proto) -> Protocol {
    match proto {
        Proto::Tcp => Protocol::Tcp,
        Proto::Udp => Protocol::Udp,
        Proto::Sctp => Protocol::Sctp,
    }
}

/// The engine of a lab, as the model calls it.
#[must_use]
pub const fn engine(lab: &Lab) -> emulator_model::Engine {
    match lab.docker().engine() {
        Engine::V20_10 => emulator_model::Engine::V20_10,
        Engine::V29 => emulator_model::Engine::V29,
    }
}

/// What was assigned to everything that is in a lab with `project` up. Every container listens on the
/// ports that its service is known to listen on, at every address.
#[must_use]
pub fn assigned(lab: &Lab, project: &Project, up: &Up) -> Assigned {
    let docker = lab.docker();
    let containers: Vec<emulator_model::Container> = docker
        .containers()
        .map(|container| one_container(lab, up, container))
        .collect();
    let sockets = containers
        .iter()
        .filter(|container| container.running)
        .flat_map(|container| {
            let service = container.service.as_deref();
            let service = service.and_then(|service| project.service(service));
            let ports = service.map(listens).unwrap_or_default();
            ports.into_iter().map(|port| Socket {
                at: emulator_model::End::Container(container.name.clone()),
                address: None,
                port: port.number,
                protocol: protocol(port.proto),
            })
        })
        .collect();
    Assigned {
        networks: docker.networks().map(one_network).collect(),
        containers,
        sockets,
    }
}

fn one_network(network: &Network) -> emulator_model::Network {
    emulator_model::Network {
        name: network.name().to_owned(),
        subnets: network.leases.iter().map(|lease| lease.subnet).collect(),
        gateways: network
            .leases
            .iter()
            .filter_map(|lease| lease.gateway)
            .collect(),
    }
}

fn one_container(lab: &Lab, up: &Up, container: &Container) -> emulator_model::Container {
    let started = up
        .containers
        .iter()
        .find(|started| started.container == container.name);
    emulator_model::Container {
        name: container.name.clone(),
        id: container.id.chars().take(12).collect(),
        service: started.map(|started| started.service.clone()),
        number: started.map_or(1, |started| started.number),
        running: container.state.is_running(),
        endpoints: container
            .endpoints()
            .map(|endpoint| Endpoint {
                network: endpoint.network_name.clone(),
                v4: endpoint.v4.map(|net| net.addr()),
                v6: endpoint.v6.map(|net| net.addr()),
                aliases: Vec::new(),
            })
            .collect(),
        published: lab
            .published(&container.name)
            .iter()
            .map(|published| Publication {
                host_ip: published.host_ip,
                host_port: published.host_port,
                port: published.port.number,
                protocol: protocol(published.port.proto),
            })
            .collect(),
    }
}

/// The machine that a lab is: the daemon's settings, and what stands around the host.
#[must_use]
pub fn machine(lab: &Lab) -> Machine {
    let config = lab.docker().config();
    let places = lab.places();
    let own = |ns: NsId| addresses(lab, ns);
    let host = lab.net().ns(places.host);
    let router = host
        .into_iter()
        .flat_map(|netns| [false, true].map(|v6| netns.routes(v6)))
        .flatten()
        .filter(|route| route.is_default())
        .filter_map(|route| route.via)
        .collect();
    let standard = places.internet != places.lan;
    let uplink = host.and_then(|netns| netns.iface(places.uplink));
    Machine {
        icc: config.icc,
        ip_masq: config.ip_masq,
        userland_proxy: config.userland_proxy,
        ip6tables: config.ip6tables,
        dns: config.dns.iter().filter_map(|ip| ip.parse().ok()).collect(),
        resolvers: resolvers(&config.resolv_conf),
        host_gateway: config.host_gateway_ips.clone(),
        uplink: uplink
            .into_iter()
            .flat_map(|iface| iface.addrs.iter().map(|address| address.net))
            .filter(|net| is_global(net.addr()))
            .collect(),
        router,
        lan: own(places.lan),
        lan_through_host: !standard,
        internet: if standard {
            INTERNET.iter().filter_map(|net| net.parse().ok()).collect()
        } else {
            Vec::new()
        },
        internet_own: if standard {
            own(places.internet)
        } else {
            Vec::new()
        },
    }
}

/// The internet's prefixes, as `lab::outside` draws them.
const INTERNET: [&str; 2] = ["198.51.100.0/24", "2001:db8:ffff::/48"];

fn is_global(address: IpAddr) -> bool {
    let local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    !address.is_loopback() && !local
}

/// The addresses of a machine, loopback and link-local ones left out.
fn addresses(lab: &Lab, ns: NsId) -> Vec<IpAddr> {
    let netns = lab.net().ns(ns);
    let ifaces = netns.into_iter().flat_map(|netns| netns.ifaces());
    ifaces
        .flat_map(|iface| iface.addrs.iter().map(|address| address.net.addr()))
        .filter(|&address| is_global(address))
        .collect()
}

fn resolvers(resolv_conf: &str) -> Vec<IpAddr> {
    let lines = resolv_conf.lines();
    lines
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|address| address.trim().parse().ok())
        .collect()
}
