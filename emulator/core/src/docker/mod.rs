//! Docker's model: networks, containers, endpoints, addresses, ports and names.
//!
//! Pure bookkeeping. What has to happen on the wires goes through [`plumb::Plumb`], as the daemon goes
//! through netlink and the firewall.

mod bridge;
pub mod config;
pub mod container;
pub mod endpoint;
pub mod engine;
pub mod error;
mod files;
pub mod hosts;
pub mod ids;
pub mod inspect;
pub mod ipam;
pub mod json;
mod leases;
pub mod links;
pub mod names;
pub mod network;
pub mod options;
pub mod order;
pub mod plumb;
pub mod ports;
mod predefined;
mod publish;
pub mod resolv;
pub mod rules;
pub mod sandbox;
pub mod settings;
pub mod spec;
mod table;
pub mod validate;
pub mod verbs;
mod vlan;

pub use config::DaemonConfig;
pub use engine::{Created, Docker, World};
pub use error::Error;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
