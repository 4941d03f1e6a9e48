//! docker-proxy: an application in the host's namespace for each published port.
//!
//! After moby `cmd/docker-proxy`: it accepts first and dials the container then, so a client of a port
//! without a listener sees its connection accepted and closed. Each direction of a connection ends on
//! its own, at the end of its stream or at an error of either side, and its end is passed on; when both
//! have ended, the connection is over. A UDP flow ends after 90 s of silence; a UDP datagram is at
//! most 65,507 bytes. SCTP is not carried.

mod tcp;
mod udp;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::app::Family;

pub use tcp::TcpProxy;
pub use udp::{UDP_IDLE, UdpProxy};

fn family(addr: &SocketAddr) -> Family {
    match addr.ip() {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

/// The unspecified address of a family, to bind every address.
#[must_use]
pub const fn any(v6: bool) -> IpAddr {
    if v6 {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    }
}
