//! `ip addr`, `ip link`, `ip route`, `ip neigh`.

use core::fmt::Write as _;

use switch::Time;

use super::{Dialect, Only, carrier, mac, name_of, queue_len};
use crate::netns::addr::Scope;
use crate::netns::fib::{RouteKind, RouteProto};
use crate::netns::iface::{Addr, Iface, IfaceKind};
use crate::netns::{Neighbour, Netns, Route};

/// `ip addr`, of one interface if `dev` is given (`ip addr show dev DEV`).
#[must_use]
pub fn ip_addr(netns: &Netns, dialect: Dialect, only: Only, dev: Option<&str>) -> String {
    let mut out = String::new();
    for iface in selected(netns, dev) {
        let has = iface
            .addrs
            .iter()
            .any(|a| only.takes(a.net.addr().is_ipv6()));
        if only != Only::Both && !has {
            continue;
        }
        link(&mut out, netns, iface, dialect, "");
        if only == Only::Both {
            link_layer(&mut out, iface, dialect);
        }
        for addr in addrs(iface, only) {
            let _ = writeln!(out, "    {}", inet(iface, addr, dialect));
            out.push_str("       valid_lft forever preferred_lft forever\n");
        }
    }
    out
}

/// `ip -o addr`: one line an address.
#[must_use]
pub fn ip_addr_oneline(netns: &Netns, dialect: Dialect, only: Only, dev: Option<&str>) -> String {
    let mut out = String::new();
    for iface in selected(netns, dev) {
        for addr in addrs(iface, only) {
            let _ = writeln!(
                out,
                "{}: {}    {}\\       valid_lft forever preferred_lft forever",
                iface.id.0,
                iface.name,
                inet(iface, addr, dialect)
            );
        }
    }
    out
}

/// `ip link`, of one interface if `dev` is given.
#[must_use]
pub fn ip_link(netns: &Netns, dialect: Dialect, dev: Option<&str>) -> String {
    let mut out = String::new();
    for iface in selected(netns, dev) {
        link(&mut out, netns, iface, dialect, "mode DEFAULT ");
        link_layer(&mut out, iface, dialect);
    }
    out
}

fn selected<'a>(netns: &'a Netns, dev: Option<&'a str>) -> impl Iterator<Item = &'a Iface> {
    netns
        .ifaces()
        .filter(move |iface| dev.is_none_or(|dev| iface.name == dev))
}

fn addrs(iface: &Iface, only: Only) -> impl Iterator<Item = &Addr> {
    let of = |v6: bool| {
        iface
            .addrs
            .iter()
            .filter(move |a| a.net.addr().is_ipv6() == v6 && only.takes(v6))
    };
    of(false).chain(of(true))
}

/// The first line of an interface.
fn link(out: &mut String, netns: &Netns, iface: &Iface, dialect: Dialect, mode: &str) {
    let carrier = carrier(netns, iface);
    let peer = match iface.peer {
        Some(peer) if peer.netnsid.is_some() => format!("@if{}", peer.id.0),
        Some(peer) => format!("@{}", name_of(netns, peer.id)),
        None => String::new(),
    };
    let mut flags = Vec::new();
    if iface.up && !carrier {
        flags.push("NO-CARRIER");
    }
    if iface.is_loopback() {
        flags.push("LOOPBACK");
    } else {
        flags.extend(["BROADCAST", "MULTICAST"]);
    }
    if iface.up {
        flags.push("UP");
        if carrier {
            flags.push("LOWER_UP");
        }
    }
    // busybox knows nothing of other namespaces and takes the peer for down.
    let far = iface.peer.is_some_and(|peer| peer.netnsid.is_some());
    if far && dialect == Dialect::Busybox {
        flags.push("M-DOWN");
    }
    let qdisc = match iface.kind {
        _ if !iface.up => "noop",
        IfaceKind::Ethernet => "fq_codel",
        _ => "noqueue",
    };
    let master = iface
        .master
        .map_or_else(String::new, |id| format!("master {} ", name_of(netns, id)));
    let state = match iface.kind {
        _ if !iface.up || !carrier => "DOWN",
        IfaceKind::Loopback => "UNKNOWN",
        _ => "UP",
    };
    let _ = write!(
        out,
        "{}: {}{peer}: <{}> mtu {} qdisc {qdisc} {master}state {state} ",
        iface.id.0,
        iface.name,
        flags.join(","),
        iface.mtu
    );
    if dialect == Dialect::Full {
        let _ = write!(out, "{mode}group default ");
    }
    if queue_len(iface) > 0 {
        let _ = write!(out, "qlen {}", queue_len(iface));
    }
    out.push('\n');
}

/// The second line: the MAC.
fn link_layer(out: &mut String, iface: &Iface, dialect: Dialect) {
    let (kind, all) = if iface.is_loopback() {
        ("loopback", [0; 6])
    } else {
        ("ether", [0xff; 6])
    };
    let _ = write!(out, "    link/{kind} {} brd {}", mac(iface.mac), mac(all));
    if let (Dialect::Full, Some(id)) = (dialect, iface.peer.and_then(|peer| peer.netnsid)) {
        let _ = write!(out, " link-netnsid {id}");
    }
    out.push('\n');
}

/// An address without its lifetime.
fn inet(iface: &Iface, addr: &Addr, dialect: Dialect) -> String {
    let scope = addr.scope();
    if addr.net.addr().is_ipv4() {
        let broadcast = addr
            .broadcast()
            .map_or_else(String::new, |brd| format!("brd {brd} "));
        let secondary = if addr.secondary { "secondary " } else { "" };
        let (net, word, name) = (addr.net, scope.word(), &iface.name);
        return format!("inet {net} {broadcast}scope {word} {secondary}{name}");
    }
    // Docker's addresses skip duplicate address detection; the kernel's own do not say so.
    let flags = match (scope, dialect) {
        (Scope::Global, Dialect::Full) => "nodad ",
        (Scope::Global, Dialect::Busybox) => "flags 02 ",
        _ => "",
    };
    format!("inet6 {} scope {} {flags}", addr.net, scope.word())
}

/// `ip route`, or `ip -6 route`.
#[must_use]
pub fn ip_route(netns: &Netns, dialect: Dialect, v6: bool) -> String {
    let mut out = String::new();
    for route in netns.routes(v6) {
        let _ = match (dialect, v6) {
            (Dialect::Busybox, _) => writeln!(out, "{}", busybox_route(netns, &route)),
            (Dialect::Full, false) => writeln!(out, "{}", full_route(netns, &route)),
            (Dialect::Full, true) => {
                writeln!(out, "{}pref medium", full_route(netns, &route))
            }
        };
    }
    out
}

fn route_head(netns: &Netns, route: &Route) -> String {
    let to = match route.dst {
        _ if route.is_default() => "default".to_owned(),
        dst if dst.prefix_len() == dst.max_prefix_len() => dst.addr().to_string(),
        dst => dst.to_string(),
    };
    let kind = match route.kind {
        RouteKind::Broadcast => "broadcast ",
        RouteKind::Local => "local ",
        RouteKind::Multicast => "multicast ",
        RouteKind::Unicast => "",
    };
    let via = route
        .via
        .map_or_else(String::new, |via| format!("via {via} "));
    format!("{kind}{to} {via}dev {} ", name_of(netns, route.dev))
}

/// On-link IPv4 routes have scope link, local ones scope host.
fn route_scope(route: &Route) -> &'static str {
    match route.kind {
        _ if route.dst.addr().is_ipv6() => "",
        RouteKind::Local => "scope host ",
        RouteKind::Broadcast => "scope link ",
        RouteKind::Multicast | RouteKind::Unicast if route.via.is_none() => "scope link ",
        RouteKind::Multicast | RouteKind::Unicast => "",
    }
}

fn busybox_route(netns: &Netns, route: &Route) -> String {
    let mut line = route_head(netns, route);
    line.push_str(route_scope(route));
    if let Some(source) = route.src {
        let _ = write!(line, " src {source} ");
    }
    if route.metric > 0 {
        let _ = write!(line, " metric {} ", route.metric);
    }
    line
}

fn full_route(netns: &Netns, route: &Route) -> String {
    let mut line = route_head(netns, route);
    line.push_str(match route.proto {
        RouteProto::Boot => "",
        RouteProto::Kernel => "proto kernel ",
        RouteProto::Static => "proto static ",
    });
    line.push_str(route_scope(route));
    if let Some(source) = route.src {
        let _ = write!(line, "src {source} ");
    }
    if route.metric > 0 {
        let _ = write!(line, "metric {} ", route.metric);
    }
    line
}

/// `ip neigh`.
#[must_use]
pub fn ip_neigh(netns: &Netns, now: Time, dialect: Dialect, only: Only) -> String {
    let mut out = String::new();
    for v6 in [false, true] {
        for neighbour in netns.neighbours(now) {
            if neighbour.addr.is_ipv6() == v6 && only.takes(v6) {
                let line = neighbour_line(netns, now, &neighbour, dialect);
                let _ = writeln!(out, "{line}");
            }
        }
    }
    out
}

fn neighbour_line(netns: &Netns, now: Time, neighbour: &Neighbour, dialect: Dialect) -> String {
    let mut line = format!(
        "{} dev {} ",
        neighbour.addr,
        name_of(netns, neighbour.iface)
    );
    let lladdr = neighbour
        .mac
        .map(|address| format!("lladdr {}", mac(address)));
    let state = neighbour.state.word();
    if dialect == Dialect::Full {
        let router = neighbour.router.then_some("router");
        for part in lladdr.as_deref().into_iter().chain(router) {
            let _ = write!(line, "{part} ");
        }
        let _ = write!(line, "{state} ");
        return line;
    }
    line.push_str(&lladdr.unwrap_or_default());
    if neighbour.router {
        line.push_str(" router");
    }
    let [used, confirmed, updated] = neighbour.times.map(|at| now.since(at).as_secs());
    let probes = neighbour.probes;
    let _ = write!(
        line,
        " used {used}/{confirmed}/{updated} probes {probes} {state}"
    );
    line
}
