//! A namespace's state as the tools of the field print it.
//!
//! Two dialects: busybox, whose tools the small images have, and iproute2 6.1 with net-tools 2.10, as hosts
//! and large images have them. Every function gives what the tool writes when its output is no
//! terminal, each line ended. Names of hosts and services are not looked up (`-n`).

mod ip;
mod net_tools;
mod ss;

pub use ip::{ip_addr, ip_addr_oneline, ip_link, ip_neigh, ip_route};
pub use net_tools::{NetstatFlags, arp, arp_table, ifconfig, netstat, netstat_routes, route};
pub use ss::ss;

use super::addr::Mac;
use super::iface::{Iface, IfaceKind};
use super::{IfId, Netns};

/// Whose output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// busybox.
    Busybox,
    /// iproute2 and net-tools.
    Full,
}

/// Which address family is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Only {
    /// Both.
    #[default]
    Both,
    /// `-4`.
    V4,
    /// `-6`.
    V6,
}

impl Only {
    const fn takes(self, v6: bool) -> bool {
        match self {
            Self::Both => true,
            Self::V4 => !v6,
            Self::V6 => v6,
        }
    }
}

/// A MAC with colons, in lower case.
#[must_use]
pub fn mac(mac: Mac) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

fn name_of(netns: &Netns, id: IfId) -> String {
    netns
        .iface(id)
        .map_or_else(|| format!("if{}", id.0), |iface| iface.name.clone())
}

/// A bridge without a port that is up has no carrier.
fn carrier(netns: &Netns, iface: &Iface) -> bool {
    iface.kind != IfaceKind::Bridge
        || netns
            .ifaces()
            .any(|port| port.master == Some(iface.id) && port.up)
}

/// `txqueuelen`: Docker makes its interfaces without a queue.
const fn queue_len(iface: &Iface) -> u32 {
    match iface.kind {
        IfaceKind::Ethernet | IfaceKind::Loopback => 1000,
        IfaceKind::Bridge
        | IfaceKind::Ipvlan
        | IfaceKind::IpvlanRouted
        | IfaceKind::Macvlan
        | IfaceKind::Veth => 0,
    }
}

#[cfg(test)]
mod tests;
