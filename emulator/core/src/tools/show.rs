//! The seam between the programs that print a namespace's state and the state: what is asked for, as data.
//!
//! The argument vectors are read in `listing`; the tables are the namespace's own.

use core::net::IpAddr;

use crate::app::Family;
use crate::netns::Netns;

/// Which sockets `netstat` and `ss` are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// TCP ones.
    pub tcp: bool,
    /// UDP ones.
    pub udp: bool,
    /// Only those that listen.
    pub listening: bool,
    /// Those that listen as well.
    pub all: bool,
    /// With the program that owns each.
    pub programs: bool,
}

/// What a program is asked to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listing {
    /// `arp`: the IPv4 neighbours.
    Arp {
        /// Of this interface only.
        iface: Option<String>,
    },
    /// `ifconfig`.
    Ifconfig {
        /// Of this interface only.
        iface: Option<String>,
        /// Those that are down as well.
        all: bool,
    },
    /// `ip addr`.
    IpAddr {
        /// Of this interface only.
        iface: Option<String>,
        /// Of this family only.
        family: Option<Family>,
        /// `-o`: one line each.
        one_line: bool,
        /// `-br`.
        brief: bool,
        /// As iproute2 prints it, not busybox.
        iproute2: bool,
    },
    /// `ip link`.
    IpLink {
        /// Of this interface only.
        iface: Option<String>,
        /// `-o`: one line each.
        one_line: bool,
        /// `-br`.
        brief: bool,
        /// As iproute2 prints it, not busybox.
        iproute2: bool,
    },
    /// `ip neigh`.
    IpNeigh {
        /// Of this interface only.
        iface: Option<String>,
        /// Of this family only.
        family: Option<Family>,
    },
    /// `ip route`.
    IpRoute {
        /// Of this family.
        family: Family,
        /// As iproute2 prints it, not busybox.
        iproute2: bool,
    },
    /// `ip route get`.
    IpRouteGet {
        /// The route to this address.
        address: IpAddr,
    },
    /// `netstat`.
    Netstat(Sockets),
    /// `route`, and `netstat -r`.
    Route {
        /// Of this family.
        family: Family,
        /// `netstat`'s columns.
        netstat: bool,
    },
    /// `ss`.
    Ss(Sockets),
}

/// The text of a listing. The one place where programs and the namespace's printers meet.
///
/// # Errors
/// The line for standard error; the program then exits with 1. A [`Netns`] without printers refuses every
/// listing.
pub(super) fn text(_netns: &Netns, listing: &Listing) -> Result<String, String> {
    let program = program_of(listing);
    Err(format!(
        "{program}: this namespace cannot print its tables\n"
    ))
}

const fn program_of(listing: &Listing) -> &'static str {
    match listing {
        Listing::Arp { .. } => "arp",
        Listing::Ifconfig { .. } => "ifconfig",
        Listing::IpAddr { .. }
        | Listing::IpLink { .. }
        | Listing::IpNeigh { .. }
        | Listing::IpRoute { .. }
        | Listing::IpRouteGet { .. } => "ip",
        Listing::Netstat(_) | Listing::Route { netstat: true, .. } => "netstat",
        Listing::Route { .. } => "route",
        Listing::Ss(_) => "ss",
    }
}
