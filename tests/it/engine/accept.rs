//! Differences from the recorded engine that are right, each under the name by which the records' index
//! or the version gates list it, and each recognized by what it says: a difference of another kind in
//! the same place is not accepted.

use core::net::{IpAddr, Ipv4Addr};

use emulator_core::docker::spec::Engine;

use super::cells::Place;
use super::facts::{Facts, text};

const HOSTS: &str = "/etc/hosts: fe00:: and ff00::";
const HOSTS_LEFT: &str = "/etc/hosts: leaving a network deletes exactly its lines";
const RESOLV_CONF: &str = "resolv.conf: header and footer comments";
const MAC: &str = "MAC: random, locally administered (28.0)";
const INTERNAL: &str = "member of an internal network: no default route";
const NO_UPSTREAM: &str = "DNS: no upstream reachable is SERVFAIL";
const LEAK: &str = "DNS: host resolver on loopback, internal network: SERVFAIL (26.1)";
const HOST_ASKS: &str = "DNS: the host's resolvers are asked from the host (26.1)";
const STATIC: &str = "static IP on a network without a configured subnet (29.1)";
const START: &str = "start errors: failed to set up container networking";
const BIND: &str = "start errors: failed to bind host port";
const DIRECT: &str = "outside -> container address, published port: dropped (28.0)";
const NO_MASQUERADE: &str = "outside -> container address: answers too, without masquerade (28.0)";
const IP6TABLES: &str = "ipv6: ip6tables on by default (27.0)";
const LOOPBACK_6: &str = "ipv6: ::1 stays on lo";
const NO_PROXY: &str =
    "userland-proxy=false, client on another bridge -> published port: delivered";
const AS_ASKED: &str = "docker-proxy answers UDP from the address that was asked (28.0)";
const BETWEEN: &str = "isolation: stages gone, published ports are DNATed between bridges (29.0)";

/// The name under which a difference is accepted.
pub(super) fn accepted(
    engine: Engine,
    place: &Place<'_>,
    expected: &str,
    seen: &str,
) -> Option<&'static str> {
    match engine {
        Engine::V20_10 => None,
        Engine::V29 => current(place, expected, seen),
    }
}

fn current(place: &Place<'_>, expected: &str, seen: &str) -> Option<&'static str> {
    let facts = Facts(place.record);
    if let Some(name) = static_address(facts, place, expected, seen) {
        return Some(name);
    }
    match place.kind {
        "start" => start(expected, seen),
        "endpoint" => endpoint(facts, place, expected, seen),
        "hosts" => hosts(facts, place.from, expected, seen),
        "resolv.conf" => resolv_conf(facts, place.from, expected, seen),
        "interface" => (place.to == "lo addresses"
            && facts.is_container(place.from)
            && seen == format!("{expected} ::1/128"))
        .then_some(LOOPBACK_6),
        "routes" => (facts.internal_only(place.from) && seen == without_default(expected))
            .then_some(INTERNAL),
        "dns" => dns(facts, place, expected, seen),
        "reach" | "published" => packets(facts, place, expected, seen),
        _ => None,
    }
}

fn start(expected: &str, seen: &str) -> Option<&'static str> {
    let words = seen.strip_prefix("failed to set up container networking: ")?;
    if words == expected {
        return Some(START);
    }
    // `…: Error starting userland proxy: listen tcp4 A:P: bind: WHY` is now
    // `…: failed to bind host port A:P/tcp: WHY`.
    let (driver, rest) = expected.split_once("Error starting userland proxy: listen tcp4 ")?;
    let (address, why) = rest.split_once(": bind: ")?;
    (words == format!("{driver}failed to bind host port {address}/tcp: {why}")).then_some(BIND)
}

/// `02:42` and the address's bytes.
fn old_mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

fn is_local_unicast(mac: &str) -> bool {
    mac.len() == 17
        && mac
            .get(..2)
            .and_then(|first| u8::from_str_radix(first, 16).ok())
            .is_some_and(|first| first & 3 == 2)
}

fn endpoint(
    facts: Facts<'_>,
    place: &Place<'_>,
    expected: &str,
    seen: &str,
) -> Option<&'static str> {
    if let Some(network) = place.to.strip_suffix(" mac") {
        let own = facts.networks_of(place.from);
        let address = own.iter().find(|(name, _)| *name == network)?.1;
        return (expected == old_mac(address) && is_local_unicast(seen)).then_some(MAC);
    }
    let network = place.to.strip_suffix(" gateway")?;
    (facts.is_internal(network) && seen.is_empty()).then_some(INTERNAL)
}

/// A line with its IPv6 address as it is written now: `fe00::`, not `fe00::0`.
fn plain_address(line: &str) -> String {
    let (address, names) = line.split_once('\t').unwrap_or((line, ""));
    match address.parse::<IpAddr>() {
        Ok(address) => format!("{address}\t{names}"),
        Err(_) => line.to_owned(),
    }
}

fn hosts(facts: Facts<'_>, name: &str, expected: &str, seen: &str) -> Option<&'static str> {
    let mut lines: Vec<String> = expected.split('|').map(plain_address).collect();
    lines.sort();
    let expected = lines.join("|");
    if seen == expected {
        return Some(HOSTS);
    }
    // 20.10 deleted the lines of all networks when it left one, and none after a start that failed.
    let own: Vec<String> = facts
        .networks_of(name)
        .iter()
        .map(|(_, address)| format!("{address}\t"))
        .collect();
    let is_own = |line: &&str| own.iter().any(|own| line.starts_with(own.as_str()));
    let is_left = |line: &&str| {
        let address = line.split('\t').next().and_then(|ip| ip.parse().ok());
        address.is_some_and(|address| facts.may_be_on_link(name, address))
    };
    let rest = |text: &str| -> Vec<String> {
        text.split('|')
            .filter(|line| !is_own(line) && !is_left(line))
            .map(str::to_owned)
            .collect()
    };
    let listed: Vec<&str> = seen.split('|').filter(is_own).collect();
    let named = listed.iter().all(|line| {
        let names = line.split_once('\t').map_or("", |(_, names)| names);
        names.len() == 12 && names.chars().all(|c| c.is_ascii_hexdigit())
    });
    let none_before = !expected.split('|').any(|line| is_own(&line));
    let exact = none_before && named && listed.len() == own.len();
    (rest(seen) == rest(&expected) && exact).then_some(HOSTS_LEFT)
}

fn resolv_conf(facts: Facts<'_>, name: &str, expected: &str, seen: &str) -> Option<&'static str> {
    let body = |text: &str| -> Vec<String> {
        let mut lines: Vec<String> = text
            .split('|')
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect();
        // The search list came first, now the servers do.
        lines.sort();
        lines
    };
    if !seen.starts_with("# Generated by Docker Engine.") {
        return None;
    }
    if body(seen) == body(expected) {
        return Some(RESOLV_CONF);
    }
    // The start failed after the container had joined its networks; 20.10 joined them later.
    let own_resolver = ["nameserver 127.0.0.11", "options ndots:0"];
    (facts.state(name) == "created" && body(seen) == own_resolver).then_some(START)
}

fn without_default(routes: &str) -> String {
    routes
        .split('|')
        .filter(|route| !route.starts_with("default "))
        .collect::<Vec<_>>()
        .join("|")
}

fn dns(facts: Facts<'_>, place: &Place<'_>, expected: &str, seen: &str) -> Option<&'static str> {
    if seen == "SERVFAIL" && facts.internal_only(place.from) {
        return match expected {
            "timeout" => Some(NO_UPSTREAM),
            _ if facts.resolver_on_loopback() && expected.ends_with(" aa") => Some(LEAK),
            _ => None,
        };
    }
    // It asks outside itself, and the answers do not come back to it.
    if seen == "timeout" && expected.ends_with(" aa") && facts.is_bare(place.from) {
        let own = text(&place.record.json["dns_server"][place.from]);
        return (own != "127.0.0.11").then_some(NO_MASQUERADE);
    }
    // Its default route leads to a gateway that is not there; the host's route does not.
    (expected == "timeout" && seen.ends_with(" aa") && facts.gateway_is_another(place.from))
        .then_some(HOST_ASKS)
}

fn packets(
    facts: Facts<'_>,
    place: &Place<'_>,
    expected: &str,
    seen: &str,
) -> Option<&'static str> {
    let (target, address) = place.to.rsplit_once(' ')?;
    let address: IpAddr = address.parse().ok()?;
    if address.is_ipv6() {
        return ipv6(facts, place, address, expected, seen);
    }
    if facts.internal_only(place.from) && !facts.on_link(place.from, address) {
        return (seen == "net-unreachable").then_some(INTERNAL);
    }
    if place.kind == "published" {
        let (_, owner) = target.split_once("->")?;
        let (owner, rest) = owner.split_once(' ')?;
        return between(facts, place, owner, rest, expected, seen);
    }
    let was_open = expected.starts_with("open ");
    if place.from == "outside" && facts.is_container(target) {
        let port = match place.what.split_once('/') {
            Some((proto, number)) => format!("{number}/{proto}"),
            None => return None,
        };
        let published = facts.is_published(target, &port);
        return (was_open && seen == "timeout" && published).then_some(DIRECT);
    }
    (facts.is_bare(place.from) && target == "outside" && seen == "timeout").then_some(NO_MASQUERADE)
}

fn ipv6(
    facts: Facts<'_>,
    place: &Place<'_>,
    address: IpAddr,
    expected: &str,
    seen: &str,
) -> Option<&'static str> {
    if expected == "EADDRNOTAVAIL" {
        return (seen == "net-unreachable").then_some(LOOPBACK_6);
    }
    let owner = place.to.rsplit_once(' ')?.0;
    let across = facts.is_container(owner) && !facts.on_link(place.from, address);
    let got_through = expected == "ok" || expected == "refused" || expected.starts_with("open ");
    (across && place.from != "host" && got_through && seen == "timeout").then_some(IP6TABLES)
}

/// A container asks for a port that a container of another bridge publishes: through docker-proxy or
/// not at all before, by DNAT now.
fn between(
    facts: Facts<'_>,
    place: &Place<'_>,
    owner: &str,
    rest: &str,
    expected: &str,
    seen: &str,
) -> Option<&'static str> {
    if !facts.is_container(place.from) {
        return None;
    }
    let udp = rest.starts_with(|c: char| c.is_ascii_digit()) && place.what.ends_with("/udp");
    // docker-proxy calls from the bridge: the server sees its gateway.
    let from_gateway = || {
        let gateways = facts.gateways(owner);
        gateways
            .iter()
            .any(|gateway| seen == format!("open src {gateway}"))
    };
    if facts.share_a_network(place.from, owner) {
        let proxied = udp && expected == "timeout" && !facts.proxy_is_off();
        return (proxied && from_gateway()).then_some(AS_ASKED);
    }
    let before = match expected {
        "timeout" => udp || facts.proxy_is_off(),
        "accepted-then-closed" => !udp && !facts.proxy_is_off(),
        _ => false,
    };
    let arrived = seen == "refused" || from_gateway();
    let name = if facts.proxy_is_off() {
        NO_PROXY
    } else {
        BETWEEN
    };
    (before && arrived).then_some(name)
}

/// What follows from an address that was refused: the container had no network, now it has one.
fn static_address(
    facts: Facts<'_>,
    place: &Place<'_>,
    expected: &str,
    seen: &str,
) -> Option<&'static str> {
    let (network, container, address) = facts.refused_static()?;
    let from_it = place.from == container;
    let cut_off = ["timeout", "net-unreachable"].contains(&expected);
    let follows = match place.kind {
        "command" => {
            place.from.contains(&address.to_string())
                && expected.starts_with("1 ")
                && seen.starts_with("0 ")
        }
        "routes" => from_it && expected.is_empty() && seen.contains(&format!(" src {address}|")),
        "hosts" => from_it && seen.contains(&format!("|{address}\t")),
        "reach" | "published" => from_it && cut_off,
        "dns" if from_it => expected == "timeout",
        // Others find it by name.
        "dns" => {
            expected.starts_with("NXDOMAIN")
                && (seen.contains(&format!(" {address} "))
                    || seen.contains(&format!(" {container}.{network}. ")))
        }
        _ => false,
    };
    follows.then_some(STATIC)
}

/// A difference of another kind in the same place is not accepted.
#[test]
fn only_what_is_listed_is_accepted() {
    let records = super::handmade();
    let name = |short: &str, part: &str| part.replace("h_", &format!("{short}_"));
    let rows = [
        (
            "h02-internal",
            "endpoint",
            "h_in1_1",
            "h_back mac",
            "02:42:ac:12:00:02",
            "02:42:ac:12:00:03",
            Some(MAC),
        ),
        (
            "h02-internal",
            "endpoint",
            "h_in1_1",
            "h_back mac",
            "02:42:ac:12:00:02",
            "03:42:ac:12:00:03",
            None,
        ),
        (
            "h02-internal",
            "endpoint",
            "h_in1_1",
            "h_back ip",
            "172.18.0.2",
            "172.18.0.3",
            None,
        ),
        (
            "h02-internal",
            "endpoint",
            "h_in1_1",
            "h_back gateway",
            "172.18.0.1",
            "",
            Some(INTERNAL),
        ),
        (
            "h02-internal",
            "endpoint",
            "h_out_1",
            "h_front gateway",
            "172.19.0.1",
            "",
            None,
        ),
        (
            "h02-internal",
            "reach",
            "h_in1_1",
            "outside 192.0.2.1",
            "timeout",
            "net-unreachable",
            Some(INTERNAL),
        ),
        (
            "h02-internal",
            "reach",
            "h_in1_1",
            "outside 192.0.2.1",
            "timeout",
            "open src 172.18.0.2",
            None,
        ),
        (
            "h02-internal",
            "reach",
            "h_in1_1",
            "h_in2_1 172.18.0.3",
            "ok",
            "net-unreachable",
            None,
        ),
        (
            "h02-internal",
            "reach",
            "h_out_1",
            "outside 192.0.2.1",
            "ok",
            "net-unreachable",
            None,
        ),
        (
            "h02-internal",
            "dns",
            "h_in1_1",
            "no-such-name A",
            "timeout",
            "SERVFAIL",
            Some(NO_UPSTREAM),
        ),
        (
            "h02-internal",
            "dns",
            "h_out_1",
            "no-such-name A",
            "timeout",
            "SERVFAIL",
            None,
        ),
        (
            "h02-internal",
            "dns",
            "h_in1_1",
            "in2 A",
            "NOERROR 172.18.0.3 ttl 600",
            "SERVFAIL",
            None,
        ),
        (
            "h02-internal",
            "resolv.conf",
            "h_out_1",
            "",
            "nameserver 127.0.0.11",
            "# Generated by Docker Engine.|nameserver 127.0.0.12",
            None,
        ),
        (
            "h02-internal",
            "hosts",
            "h_out_1",
            "",
            "172.19.0.3\tx|fe00::0\ty",
            "172.19.0.3\tx|fe00::\ty",
            Some(HOSTS),
        ),
        (
            "h02-internal",
            "hosts",
            "h_out_1",
            "",
            "172.19.0.3\tx|fe00::0\ty",
            "172.19.0.3\tz|fe00::\ty",
            None,
        ),
        (
            "h26-udp-tcp-same-port",
            "published",
            "h_c_1",
            "0.0.0.0:6000->h_a_1 6000/udp at host 192.0.2.2",
            "timeout",
            "open src 172.18.0.1",
            Some(BETWEEN),
        ),
        (
            "h26-udp-tcp-same-port",
            "published",
            "h_c_1",
            "0.0.0.0:6000->h_a_1 6000/udp at host 192.0.2.2",
            "timeout",
            "open src 172.19.0.2",
            None,
        ),
        (
            "h26-udp-tcp-same-port",
            "published",
            "h_b_1",
            "0.0.0.0:6000->h_a_1 6000/udp at host 192.0.2.2",
            "timeout",
            "open src 172.18.0.1",
            Some(AS_ASKED),
        ),
        (
            "h26-udp-tcp-same-port",
            "published",
            "h_b_1",
            "0.0.0.0:6000->h_a_1 6000/udp at host 192.0.2.2",
            "timeout",
            "open src 172.18.0.9",
            None,
        ),
        (
            "h37-connect-live",
            "reach",
            "h_z_1",
            "outside 192.0.2.1",
            "timeout",
            "ok",
            None,
        ),
        (
            "h23-exhausted",
            "start",
            "b",
            "1",
            "no room",
            "failed to set up container networking: no room",
            Some(START),
        ),
        (
            "h23-exhausted",
            "start",
            "b",
            "1",
            "no room",
            "failed to set up container networking: other",
            None,
        ),
    ];
    for (short, kind, from, to, expected, seen, accept) in rows {
        let record = records.iter().find(|record| record.name == short).unwrap();
        let (from, to) = (name(short, from), name(short, to));
        let place = Place {
            record,
            kind,
            from: &from,
            to,
            what: if kind == "published" {
                "6000/udp"
            } else {
                "ping"
            },
        };
        let found = accepted(Engine::V29, &place, expected, seen);
        assert_eq!(found, accept, "{place}: {expected}, {seen}");
        assert_eq!(accepted(Engine::V20_10, &place, expected, seen), None);
    }
}
