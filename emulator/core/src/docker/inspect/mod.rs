//! What `docker inspect` and `docker network inspect` tell, as data.
//!
//! Plain structs, each with `to_value`, which gives the fields in the order and under the names of the
//! engine's own answer. Leaves out what has nothing to do with the network, such as mounts and limits.

mod container;
mod network;
mod time;

pub use container::{ContainerInspect, EndpointInspect, NetworkSettings, PortMap};
pub use network::{IpamInspect, Member, NetworkInspect, SubnetInspect, SubnetStatus};
pub use time::rfc3339;
