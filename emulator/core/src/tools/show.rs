//! The seam between the programs that print a namespace's state and the state: what is asked for, as data.
//!
//! The argument vectors are read in `listing`; the tables are the namespace's own.

use core::net::IpAddr;

use switch::Time;

use crate::app::Family;
use crate::netns::Netns;
use crate::netns::print::{self, Dialect, NetstatFlags, Only};

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
/// The line for standard error; the program then exits with 1.
pub(super) fn text(netns: &Netns, now: Time, listing: &Listing) -> Result<String, String> {
    if let Some(name) = iface_of(listing).filter(|name| netns.iface_named(name).is_none()) {
        return Err(match listing {
            Listing::Ifconfig { .. } => {
                format!("{name}: error fetching interface information: Device not found\n")
            }
            Listing::Arp { .. } => format!("arp: {name}: No such device\n"),
            _ => format!("ip: can't find device '{name}'\n"),
        });
    }
    Ok(match listing {
        Listing::Arp { iface } => {
            of_iface(&print::arp(netns, now, Dialect::Busybox), iface.as_deref())
        }
        Listing::Ifconfig { iface, all } => {
            print::ifconfig(netns, Dialect::Busybox, *all, iface.as_deref())
        }
        Listing::IpAddr {
            iface,
            family,
            brief: true,
            ..
        } => brief(netns, iface.as_deref(), *family, false),
        Listing::IpAddr {
            iface,
            family,
            one_line: true,
            iproute2,
            ..
        } => print::ip_addr_oneline(netns, dialect(*iproute2), only(*family), iface.as_deref()),
        Listing::IpAddr {
            iface,
            family,
            iproute2,
            ..
        } => print::ip_addr(netns, dialect(*iproute2), only(*family), iface.as_deref()),
        Listing::IpLink {
            iface, brief: true, ..
        } => brief(netns, iface.as_deref(), None, true),
        Listing::IpLink {
            iface,
            one_line,
            iproute2,
            ..
        } => {
            let text = print::ip_link(netns, dialect(*iproute2), iface.as_deref());
            if *one_line {
                text.replace("\n    ", "\\    ")
            } else {
                text
            }
        }
        Listing::IpNeigh { iface, family } => {
            let text = print::ip_neigh(netns, now, Dialect::Busybox, only(*family));
            of_iface(&text, iface.as_deref())
        }
        Listing::IpRoute { family, iproute2 } => {
            print::ip_route(netns, dialect(*iproute2), *family == Family::V6)
        }
        Listing::IpRouteGet { address } => return route_get(netns, *address),
        Listing::Netstat(sockets) => print::netstat(netns, Dialect::Busybox, flags(sockets)),
        Listing::Route { netstat: true, .. } => print::netstat_routes(netns),
        Listing::Route { .. } => print::route(netns),
        Listing::Ss(sockets) => print::ss(netns, flags(sockets)),
    })
}

fn iface_of(listing: &Listing) -> Option<&str> {
    match listing {
        Listing::Arp { iface }
        | Listing::Ifconfig { iface, .. }
        | Listing::IpAddr { iface, .. }
        | Listing::IpLink { iface, .. }
        | Listing::IpNeigh { iface, .. } => iface.as_deref(),
        Listing::IpRoute { .. }
        | Listing::IpRouteGet { .. }
        | Listing::Netstat(_)
        | Listing::Route { .. }
        | Listing::Ss(_) => None,
    }
}

const fn dialect(iproute2: bool) -> Dialect {
    if iproute2 {
        Dialect::Full
    } else {
        Dialect::Busybox
    }
}

const fn only(family: Option<Family>) -> Only {
    match family {
        None => Only::Both,
        Some(Family::V4) => Only::V4,
        Some(Family::V6) => Only::V6,
    }
}

const fn flags(sockets: &Sockets) -> NetstatFlags {
    NetstatFlags {
        tcp: sockets.tcp,
        udp: sockets.udp,
        listening: sockets.listening,
        all: sockets.all,
    }
}

/// The lines that name an interface.
fn of_iface(text: &str, iface: Option<&str>) -> String {
    let Some(iface) = iface else {
        return text.to_owned();
    };
    let named = |line: &&str| line.split_whitespace().any(|word| word == iface);
    text.lines()
        .filter(named)
        .map(|line| format!("{line}\n"))
        .collect()
}

/// `ip -br`: name, state, then the MAC and flags of a link or the addresses.
fn brief(netns: &Netns, only: Option<&str>, family: Option<Family>, link: bool) -> String {
    let mut text = String::new();
    for iface in netns
        .ifaces()
        .filter(|iface| only.is_none_or(|name| name == iface.name))
    {
        let peer = iface
            .peer
            .map(|peer| format!("@if{}", peer.id.0))
            .unwrap_or_default();
        let state = match (iface.is_loopback(), iface.up) {
            (true, _) => "UNKNOWN",
            (false, true) => "UP",
            (false, false) => "DOWN",
        };
        let rest: Vec<String> = if link {
            let flags = if iface.is_loopback() {
                "<LOOPBACK,UP,LOWER_UP>"
            } else {
                "<BROADCAST,MULTICAST,UP,LOWER_UP>"
            };
            vec![print::mac(iface.mac), flags.to_owned()]
        } else {
            let fits = |v6: bool| family.is_none_or(|family| (family == Family::V6) == v6);
            let nets = iface.addrs.iter().map(|addr| addr.net);
            nets.filter(|net| fits(net.addr().is_ipv6()))
                .map(|net| net.to_string())
                .collect()
        };
        text.push_str(&format!(
            "{:<16} {state:<14} {} \n",
            format!("{}{peer}", iface.name),
            rest.join(" ")
        ));
    }
    text
}

/// `ip route get`: the way of a packet, and its source.
fn route_get(netns: &Netns, address: IpAddr) -> Result<String, String> {
    if netns.is_local(address) {
        return Ok(format!("local {address} dev lo  src {address} \n"));
    }
    let routes = netns.routes(address.is_ipv6());
    let best = routes
        .iter()
        .filter(|route| route.dst.contains(&address))
        .max_by_key(|route| route.dst.prefix_len());
    let Some(route) = best else {
        return Err("ip: RTNETLINK answers: Network unreachable\n".to_owned());
    };
    let via = route
        .via
        .map(|via| format!(" via {via}"))
        .unwrap_or_default();
    let dev = netns
        .iface(route.dev)
        .map_or("", |iface| iface.name.as_str());
    let source = netns
        .select_source(route.dev, address)
        .map(|source| format!("  src {source}"))
        .unwrap_or_default();
    Ok(format!("{address}{via} dev {dev}{source} \n"))
}
