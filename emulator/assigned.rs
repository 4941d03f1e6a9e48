//! What was drawn when a project came up in a lab, as plain data for the model: ids, addresses, host
//! ports, who listens. And the machine that the lab is, likewise.

use core::net::IpAddr;

use emulator_compose::Protocol;
use emulator_core::docker::container::Container;
use emulator_core::docker::network::{Base, Network};
use emulator_core::docker::spec::{Engine, Listening, Proto};
use emulator_core::id::{IfId, NsId};
use emulator_core::lab::Lab;
use emulator_core::netns::Iface;
use emulator_model::{Assigned, End, Endpoint, Machine, Publication, Socket};
use ipnet::IpNet;

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

/// What was assigned to everything that is in a lab. Which service a container is of its labels say.
#[must_use]
pub fn assigned(lab: &Lab) -> Assigned {
    let docker = lab.docker();
    let running = docker
        .containers()
        .filter(|container| container.state.is_running());
    let mut sockets: Vec<Socket> = running.flat_map(listening).collect();
    if is_standard(lab) {
        sockets.extend([80, 443].map(|port| Socket {
            at: End::Internet,
            address: None,
            port,
            protocol: Protocol::Tcp,
        }));
    }
    Assigned {
        networks: docker
            .networks()
            .filter(|network| carries(network.name()))
            .map(one_network)
            .collect(),
        containers: docker
            .containers()
            .map(|container| one_container(lab, container))
            .collect(),
        gone: Vec::new(),
        sockets,
    }
}

/// What a container's program listens on: what it was told to, else the ports that it declares.
fn listening(container: &Container) -> Vec<Socket> {
    let told = container.spec.listens.clone();
    let sockets = told.unwrap_or_else(|| {
        let ports = container.exposed().into_iter();
        ports
            .map(|port| Listening {
                address: None,
                port,
            })
            .collect()
    });
    sockets
        .into_iter()
        .map(|Listening { address, port }| Socket {
            at: End::Container(container.name.clone()),
            address,
            port: port.number,
            protocol: protocol(port.proto),
        })
        .collect()
}

/// `host` and `none` are networks in name only.
fn carries(network: &str) -> bool {
    !matches!(network, "host" | "none")
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
        interface: match &network.base {
            Base::Bridge { name, .. } => Some(name.clone()),
            Base::Nothing | Base::Shared { .. } => None,
        },
    }
}

pub(crate) fn one_container(lab: &Lab, container: &Container) -> emulator_model::Container {
    let label = |name: &str| {
        let key = format!("com.docker.compose.{name}");
        container.spec.labels.get(&key).cloned()
    };
    let number = label("container-number").and_then(|number| number.parse().ok());
    emulator_model::Container {
        name: container.name.clone(),
        id: container.id.chars().take(12).collect(),
        project: label("project"),
        service: label("service"),
        number: number.unwrap_or(1),
        made: container.key,
        running: container.state.is_running(),
        endpoints: container
            .endpoints()
            .filter(|endpoint| carries(&endpoint.network_name))
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
    let defaults = |v6: bool| {
        let routes = host.into_iter().flat_map(move |netns| netns.routes(v6));
        routes.filter(|route| route.is_default())
    };
    let mut router: Vec<IpAddr> = [false, true]
        .into_iter()
        .flat_map(|v6| defaults(v6).filter_map(|route| route.via))
        .collect();
    let standard = is_standard(lab);
    if standard {
        let gateway = lab.net().ns(places.gateway).into_iter();
        let mut ifaces = gateway.flat_map(|netns| netns.ifaces());
        let near = ifaces.find(|iface| iface.name == "eth0");
        let own = near.into_iter().flat_map(global).map(|net| net.addr());
        let more: Vec<IpAddr> = own.filter(|own| !router.contains(own)).collect();
        router.extend(more);
    }
    let nets = |ifaces: &[IfId]| -> Vec<IpNet> {
        let ifaces = ifaces.iter().filter_map(|iface| host?.iface(*iface));
        ifaces.flat_map(global).collect()
    };
    Machine {
        icc: config.icc,
        ip_masq: config.ip_masq,
        userland_proxy: config.userland_proxy,
        allow_direct_routing: config.allow_direct_routing,
        forward_drop: config.forward_drop,
        ip6tables: config.ip6tables,
        dns: config.dns.iter().filter_map(|ip| ip.parse().ok()).collect(),
        resolvers: resolvers(&config.resolv_conf),
        hosts: hosts(&config.hosts),
        host_gateway: config.host_gateway_ips.clone(),
        network_options: config.default_network_options.clone(),
        uplink_name: host
            .and_then(|netns| netns.iface(places.uplink))
            .map(|iface| iface.name.clone()),
        uplink: nets(&[places.uplink]),
        others: nets(&places.others),
        router,
        leads_out: [false, true].map(|v6| defaults(v6).next().is_some()),
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

/// There is an internet; the recorded world has none.
fn is_standard(lab: &Lab) -> bool {
    lab.places().internet != lab.places().lan
}

/// The internet's prefixes, as `lab::outside` draws them.
const INTERNET: [&str; 2] = ["198.51.100.0/24", "2001:db8:ffff::/48"];

fn is_global(address: IpAddr) -> bool {
    let local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    !address.is_loopback() && !local
}

/// The addresses of an interface, link-local ones left out.
fn global(iface: &Iface) -> impl Iterator<Item = IpNet> {
    let own = iface.addrs.iter().map(|address| address.net);
    own.filter(|net| is_global(net.addr()))
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

fn hosts(text: &str) -> Vec<(IpAddr, String)> {
    let lines = text
        .lines()
        .filter_map(|line| line.split('#').next()?.split_once(char::is_whitespace));
    lines
        .filter_map(|(address, names)| Some((address.parse().ok()?, names)))
        .flat_map(|(address, names)| {
            names
                .split_whitespace()
                .map(move |name| (address, name.to_owned()))
        })
        .collect()
}

fn resolvers(resolv_conf: &str) -> Vec<IpAddr> {
    let lines = resolv_conf.lines();
    lines
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|address| address.trim().parse().ok())
        .collect()
}
