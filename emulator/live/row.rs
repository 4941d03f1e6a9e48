//! What `ps` tells of a container.

use core::net::{IpAddr, SocketAddr};

use emulator_core::docker::container::State;
use emulator_core::lab::Lab;
use serde::Serialize;

use super::Bound;
use crate::project::Up;

/// A container of a project that is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its service.
    pub service: String,
    /// `running`, `exited`, or `failed` if it did not start.
    pub state: String,
    /// Its exit code, if it has ended.
    pub exit: Option<i32>,
    /// Why it did not start, in Docker's words.
    pub error: Option<String>,
    /// Its addresses, network by network.
    pub addresses: Vec<Address>,
    /// Its published ports, as the engine allocated them.
    pub ports: Vec<PublishedPort>,
}

/// An address of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Address {
    /// The network, by its name in the engine.
    pub network: String,
    /// The address.
    pub address: IpAddr,
}

/// A published port of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublishedPort {
    /// Where it is published on the lab's host.
    pub host: SocketAddr,
    /// The container's port: `80/tcp`.
    pub port: String,
    /// Where a real client finds it; `None` if it is not published on this machine.
    pub real: Option<SocketAddr>,
}

/// The containers of a project, in the order in which they were started.
pub(super) fn rows(lab: &Lab, up: &Up, bound: &[Bound]) -> Vec<Row> {
    let rows = up.containers.iter().map(|started| {
        let found = lab.docker().container(&started.container).ok();
        let state = found.map(|container| container.state);
        let endpoints = found
            .into_iter()
            .flat_map(|container| container.endpoints());
        let addresses = endpoints.flat_map(|endpoint| {
            let network = &endpoint.network_name;
            endpoint.addresses().map(move |net| Address {
                network: network.clone(),
                address: net.addr(),
            })
        });
        let allocated = lab.published(&started.container).into_iter();
        let allocated = allocated.filter(|port| port.host_port != 0).map(|port| {
            let host = SocketAddr::new(port.host_ip, port.host_port);
            (host, port.port.to_string())
        });
        let mine = bound
            .iter()
            .filter(|bound| bound.container == started.container);
        let mut ports: Vec<PublishedPort> = allocated
            .map(|(host, port)| PublishedPort {
                real: mine
                    .clone()
                    .find(|bound| bound.host == host && bound.port == port)
                    .map(|bound| bound.real),
                host,
                port,
            })
            .collect();
        // In the host's network nothing is published, and all is there.
        for bound in mine {
            let known = |port: &PublishedPort| port.host == bound.host && port.port == bound.port;
            if !ports.iter().any(known) {
                ports.push(PublishedPort {
                    host: bound.host,
                    port: bound.port.clone(),
                    real: Some(bound.real),
                });
            }
        }
        Row {
            name: started.container.clone(),
            service: started.service.clone(),
            state: match (&started.error, state) {
                (Some(_), _) | (None, None) => "failed",
                (None, Some(state)) => state.word(),
            }
            .to_owned(),
            exit: match state {
                Some(State::Exited(code)) => Some(code),
                _ => None,
            },
            error: started.error.as_ref().map(ToString::to_string),
            addresses: addresses.collect(),
            ports,
        }
    });
    rows.collect()
}
