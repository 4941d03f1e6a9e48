//! Docker's model: networks, containers, endpoints, addresses, ports and names.
//!
//! Pure bookkeeping. What has to happen on the wires goes through [`plumb::Plumb`], as the daemon goes
//! through netlink and the firewall.

pub mod config;
pub mod error;
pub mod hosts;
pub mod ids;
pub mod ipam;
pub mod json;
pub mod names;
pub mod options;
pub mod order;
pub mod plumb;
pub mod ports;
pub mod resolv;
pub mod spec;

pub use config::DaemonConfig;
pub use error::Error;
