//! Docker's model: networks, containers, endpoints, addresses, ports and names.
//!
//! Pure bookkeeping. What has to happen on the wires goes through [`plumb::Plumb`], as the daemon goes
//! through netlink and the firewall.

pub mod error;
pub mod plumb;
pub mod rules;
pub mod spec;

pub use error::Error;
