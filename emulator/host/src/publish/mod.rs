//! Published ports on real sockets.
//!
//! A port that the lab's Docker publishes is bound on the real machine as well, on loopback unless somebody says
//! otherwise. A real client's connection becomes one of the lab: a socket in the namespace of the lab's host that
//! connects to the published address, as a process there would, so that docker-proxy or DNAT carry it by
//! Docker's rules.
//!
//! A TCP port is bound from the start, so that nobody else takes it, but listens only while the container's port does: a
//! closed port refuses. If the lab's connect fails all the same (filtered, a backlog that is full), the client was
//! accepted already and is reset. A UDP port is always open; a datagram that the lab refuses is lost, as
//! docker-proxy loses it.

mod gate;
mod tcp;
mod udp;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use emulator_core::id::NsId;

pub use gate::Gate;
pub use tcp::TcpPort;
pub(crate) use tcp::dial;
pub use udp::{CLIENTS, IDLE, UdpPort, UdpSocket};

/// Where a port of the lab is, and how a client gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The namespace of the lab's host, where a client is.
    pub host: NsId,
    /// What it connects to.
    pub to: SocketAddr,
    /// The container's namespace.
    pub container: NsId,
    /// Its address and port.
    pub port: SocketAddr,
}

/// Where a published address is bound on the real machine: an address of loopback as it is; any other on the address
/// of its family in `on`, on loopback if there is none.
#[must_use]
pub fn real(published: IpAddr, on: &[IpAddr]) -> IpAddr {
    if published.is_loopback() {
        return published;
    }
    let other = on.iter().find(|on| on.is_ipv4() == published.is_ipv4());
    other
        .copied()
        .unwrap_or_else(|| loopback(published.is_ipv6()))
}

/// What a client in the lab connects to for a published address: loopback for all addresses.
#[must_use]
pub fn asked(published: IpAddr) -> IpAddr {
    if published.is_unspecified() {
        loopback(published.is_ipv6())
    } else {
        published
    }
}

const fn loopback(v6: bool) -> IpAddr {
    if v6 {
        IpAddr::V6(Ipv6Addr::LOCALHOST)
    } else {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    }
}
