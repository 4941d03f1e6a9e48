//! What was drawn when a project came up: ids, addresses, host ports. Plain data; everything that
//! follows from it by rule (names, routes, translation, filters) is the model's to compute.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use emulator_compose::Protocol;
use ipnet::IpNet;

use crate::outcome::End;

/// Projects as they are up together, and the engine's own networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assigned {
    /// Every network of the engine, those of no project (`bridge` among them) as well.
    pub networks: Vec<Network>,
    /// Every container, those that did not start as well.
    pub containers: Vec<Container>,
    /// Containers that were removed, as they were last.
    pub gone: Vec<Container>,
    /// Who listens where.
    pub sockets: Vec<Socket>,
}

impl Assigned {
    /// The container of that name.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers
            .iter()
            .find(|container| container.name == name)
    }

    /// The containers of a project's service that run, in the order in which they were made.
    pub fn running<'a>(
        &'a self,
        project: &'a str,
        service: &'a str,
    ) -> impl Iterator<Item = &'a Container> {
        self.containers.iter().filter(move |container| {
            container.running
                && container.project.as_deref() == Some(project)
                && container.service.as_deref() == Some(service)
        })
    }

    /// The container that has an address on some network.
    #[must_use]
    pub fn holder(&self, address: IpAddr) -> Option<&Container> {
        self.containers.iter().find(|container| {
            let mut endpoints = container.endpoints.iter();
            endpoints.any(|endpoint| endpoint.addresses().any(|own| own == address))
        })
    }
}

/// A network as it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Its name in the engine.
    pub name: String,
    /// Its subnets, at most one a family on a bridge.
    pub subnets: Vec<IpNet>,
    /// Its gateways: on a bridge the host's own addresses there.
    pub gateways: Vec<IpAddr>,
    /// The name of the host's interface on it, if it is a bridge.
    pub interface: Option<String>,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// The first twelve digits of its id, which are a name too.
    pub id: String,
    /// The project that it is of, by name.
    pub project: Option<String>,
    /// The service of that project.
    pub service: Option<String>,
    /// Which of the service's containers, from 1.
    pub number: u32,
    /// When it was made: of two containers of one name the later has the higher.
    pub made: u32,
    /// It was started and did not end.
    pub running: bool,
    /// Its places in networks while it runs.
    pub endpoints: Vec<Endpoint>,
    /// Its published ports as they were allotted.
    pub published: Vec<Publication>,
}

/// A container's place in a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The network's name in the engine.
    pub network: String,
    /// Its IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Addr>,
    /// Names given besides those of the project's file, as `docker network connect --alias` gives them.
    pub aliases: Vec<String>,
}

impl Endpoint {
    /// Its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.map(IpAddr::V4);
        v4.into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// Its address in a family.
    #[must_use]
    pub fn address(&self, v6: bool) -> Option<IpAddr> {
        self.addresses().find(|address| address.is_ipv6() == v6)
    }
}

/// A published port as it was allotted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The host's address; unspecified is every address of its family.
    pub host_ip: IpAddr,
    /// The host's port; 0 where none is bound because the network is routed.
    pub host_port: u16,
    /// The container's port.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// Somebody listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Who.
    pub at: End,
    /// The address that it is bound to; none is every address of both families, an unspecified one
    /// every address of its family.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl Socket {
    /// Whether what is sent to `address` and `port` is for this socket, as far as its own binding says.
    pub(crate) fn takes(&self, address: IpAddr, port: u16, protocol: Protocol) -> bool {
        self.is_for(port, protocol)
            && self.address.is_none_or(|bound| {
                bound == address || (bound.is_unspecified() && bound.is_ipv4() == address.is_ipv4())
            })
    }

    /// The same without the address.
    pub(crate) fn is_for(&self, port: u16, protocol: Protocol) -> bool {
        self.port == port && self.protocol == protocol
    }
}
