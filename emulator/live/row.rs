//! What `ps` tells of a container.

use core::net::{IpAddr, SocketAddr};

use emulator_core::docker::container::State;
use emulator_core::lab::Lab;
use serde::Serialize;

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
}

/// The containers of a project, in the order in which they were started.
pub(super) fn rows(lab: &Lab, up: &Up) -> Vec<Row> {
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
        let ports = lab.published(&started.container).into_iter();
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
            ports: ports
                .filter(|port| port.host_port != 0)
                .map(|port| PublishedPort {
                    host: SocketAddr::new(port.host_ip, port.host_port),
                    port: port.port.to_string(),
                })
                .collect(),
        }
    });
    rows.collect()
}
