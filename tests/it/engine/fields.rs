//! The recorded fields: what the commands said, networks, containers, files, interfaces, routes.

use std::collections::BTreeSet;

use emulator_core::docker::spec::Engine;
use emulator_core::netns::{Netns, Route, RouteProto};
use serde_json::Value;

use super::Tally;
use super::cells::Place;
use super::record::Record;
use super::replay::Replayed;

pub(crate) fn compare(record: &Record, engine: Engine, replayed: &Replayed) -> Tally {
    let mut tally = Tally::default();
    let mut check = |kind: &'static str, from: &str, to: &str, expected: &str, seen: &str| {
        let place = Place {
            record,
            kind,
            from,
            to: to.to_owned(),
            what: "",
        };
        tally.check(engine, &place, expected, seen);
    };
    up(record, replayed, &mut check);
    commands(record, replayed, &mut check);
    networks(record, replayed, &mut check);
    containers(record, replayed, &mut check);
    namespaces(record, replayed, &mut check);
    tally
}

/// Where a value stands, what was recorded, what is seen.
type Check<'a> = dyn FnMut(&'static str, &str, &str, &str, &str) + 'a;

fn up(record: &Record, replayed: &Replayed, check: &mut Check<'_>) {
    let failed = replayed.project.is_err() || !replayed.up.is_complete();
    let rc = record.json["up"]["rc"].as_i64().unwrap_or(0);
    check("up", "", "rc", &(rc != 0).to_string(), &failed.to_string());
    for start in record.json["start"].as_array().into_iter().flatten() {
        let service = start["service"].as_str().unwrap_or_default();
        let number = start["number"].as_u64().unwrap_or(1);
        let started = replayed
            .up
            .containers
            .iter()
            .find(|started| started.service == service && u64::from(started.number) == number);
        let expected = if start["rc"].as_i64() == Some(0) {
            String::new()
        } else {
            last_words(&start["stderr"])
        };
        let seen = match started {
            None => "not started".to_owned(),
            Some(started) => started
                .error
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        };
        check(
            "start",
            service,
            &number.to_string(),
            &generic(&expected),
            &generic(&seen),
        );
    }
}

/// The daemon's words in what docker-compose printed: `ERROR: for NAME  Cannot start service NAME: WORDS`.
fn last_words(stderr: &Value) -> String {
    let lines = Record::texts(stderr);
    let line = lines
        .iter()
        .rev()
        .find(|line| line.contains("ERROR"))
        .cloned()
        .unwrap_or_else(|| lines.join(" "));
    let words = [
        "Cannot start service ",
        "Cannot create container for service ",
    ]
    .iter()
    .find_map(|prefix| line.split_once(prefix))
    .and_then(|(_, rest)| rest.split_once(": "))
    .map_or(line.as_str(), |(_, words)| words);
    words.trim().to_owned()
}

/// A text with its ids made alike.
fn generic(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('>') else {
            break;
        };
        out.push_str("ID");
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    out.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| {
            word.len() >= 12
                && word
                    .chars()
                    .all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase())
        })
        .map(str::to_owned)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .fold(out.clone(), |text, id| text.replace(&id, "ID"))
}

fn commands(record: &Record, replayed: &Replayed, check: &mut Check<'_>) {
    let recorded = ["pre", "post"]
        .into_iter()
        .flat_map(|which| record.json[which].as_array().into_iter().flatten());
    for (command, (code, stdout, stderr)) in recorded.zip(&replayed.commands) {
        let line = command["cmd"].as_str().unwrap_or_default();
        let expected = format!(
            "{} {} {}",
            command["rc"],
            generic(command["stdout"].as_str().unwrap_or_default().trim()),
            generic(command["stderr"].as_str().unwrap_or_default().trim())
        );
        let seen = format!(
            "{code} {} {}",
            generic(stdout.trim()),
            generic(stderr.trim())
        );
        check("command", line, "", &expected, &seen);
    }
}

fn networks(record: &Record, replayed: &Replayed, check: &mut Check<'_>) {
    for network in record.json["networks"].as_array().into_iter().flatten() {
        let name = network["name"].as_str().unwrap_or_default();
        let seen = replayed.lab.docker().network(name);
        let Ok(seen) = seen else {
            check("network", name, "", "there", "not there");
            continue;
        };
        check(
            "network",
            name,
            "internal",
            &network["internal"].to_string(),
            &seen.internal.to_string(),
        );
        check(
            "network",
            name,
            "ipv6",
            &network["ipv6"].to_string(),
            &seen.ipv6.to_string(),
        );
        let mut expected: Vec<String> = network["ipam"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|config| format!("{} {}", text(&config["Subnet"]), text(&config["IPRange"])))
            .collect();
        expected.sort();
        let shown = replayed.lab.docker().network_inspect(name);
        let mut subnets: Vec<String> = shown
            .iter()
            .flat_map(|shown| &shown.ipam.config)
            .map(|config| format!("{} {}", config.subnet, config.ip_range))
            .collect();
        subnets.sort();
        check(
            "network",
            name,
            "ipam",
            &expected.join(", "),
            &subnets.join(", "),
        );
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn containers(record: &Record, replayed: &Replayed, check: &mut Check<'_>) {
    for recorded in record.json["containers"].as_array().into_iter().flatten() {
        let name = text(&recorded["name"]);
        let Ok(container) = replayed.lab.docker().container(name) else {
            check("container", name, "", "there", "not there");
            continue;
        };
        check(
            "container",
            name,
            "state",
            text(&recorded["state"]),
            container.state.word(),
        );
        for (network, expected) in recorded["networks"].as_object().into_iter().flatten() {
            let endpoint = container
                .networks
                .get(network)
                .and_then(|place| place.endpoint.as_ref());
            let Some(endpoint) = endpoint else {
                let was = if text(&expected["ip"]).is_empty() {
                    "not there"
                } else {
                    "there"
                };
                check("endpoint", name, network, was, "not there");
                continue;
            };
            let v4 = endpoint
                .v4
                .map(|v4| v4.addr().to_string())
                .unwrap_or_default();
            check(
                "endpoint",
                name,
                &format!("{network} ip"),
                text(&expected["ip"]),
                &v4,
            );
            let v6 = endpoint
                .v6
                .map(|v6| v6.addr().to_string())
                .unwrap_or_default();
            check(
                "endpoint",
                name,
                &format!("{network} ip6"),
                text(&expected["ip6"]),
                &v6,
            );
            let mac = endpoint
                .mac
                .map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":"))
                .unwrap_or_default();
            check(
                "endpoint",
                name,
                &format!("{network} mac"),
                text(&expected["mac"]),
                &mac,
            );
            let way = |way: Option<emulator_core::docker::network::Way>| {
                way.and_then(|way| way.address())
                    .map(|address| address.to_string())
                    .unwrap_or_default()
            };
            check(
                "endpoint",
                name,
                &format!("{network} gateway"),
                text(&expected["gateway"]),
                &way(endpoint.way_v4),
            );
        }
        files(replayed, recorded, name, check);
        ports(replayed, recorded, name, check);
    }
}

fn files(replayed: &Replayed, recorded: &Value, name: &str, check: &mut Check<'_>) {
    let docker = replayed.lab.docker();
    if !recorded["etc_hosts"].is_null() {
        let mut expected: Vec<String> = Record::texts(&recorded["etc_hosts"])
            .iter()
            .map(|line| replayed.fill_ids(line))
            .collect();
        let hosts = docker.hosts_file(name).unwrap_or_default().to_owned();
        let mut seen: Vec<String> = hosts.lines().map(str::to_owned).collect();
        // Lines of a container on several networks come in any order.
        expected.sort();
        seen.sort();
        check("hosts", name, "", &expected.join("|"), &seen.join("|"));
    }
    if !recorded["resolv_conf"].is_null() {
        let expected = Record::texts(&recorded["resolv_conf"]).join("|");
        let seen = docker
            .resolv_conf(name)
            .unwrap_or_default()
            .lines()
            .collect::<Vec<_>>()
            .join("|");
        check("resolv.conf", name, "", &expected, &seen);
    }
}

fn ports(replayed: &Replayed, recorded: &Value, name: &str, check: &mut Check<'_>) {
    let asked = &recorded["port_bindings"];
    for (port, bindings) in recorded["ports"].as_object().into_iter().flatten() {
        // Which ephemeral port is drawn is chance.
        let ephemeral = asked[port].as_array().is_some_and(|asked| {
            asked.iter().any(|binding| {
                ["", "0"].contains(&text(&binding["HostPort"]))
                    || text(&binding["HostPort"]).contains('-')
            })
        });
        let mut expected: Vec<String> = bindings
            .as_array()
            .into_iter()
            .flatten()
            .map(|binding| {
                let number = if ephemeral {
                    "any"
                } else {
                    text(&binding["HostPort"])
                };
                format!("{} {number}", text(&binding["HostIp"]))
            })
            .collect();
        let mut seen: Vec<String> = replayed
            .lab
            .published(name)
            .iter()
            .filter(|published| published.port.to_string() == *port)
            .map(|published| {
                let number = if ephemeral {
                    "any".to_owned()
                } else {
                    published.host_port.to_string()
                };
                format!("{} {number}", published.host_ip)
            })
            .collect();
        expected.sort();
        seen.sort();
        check("ports", name, port, &expected.join(", "), &seen.join(", "));
    }
}

fn namespaces(record: &Record, replayed: &Replayed, check: &mut Check<'_>) {
    for (name, recorded) in record.json["netns"].as_object().into_iter().flatten() {
        let Some(netns) = replayed.ns(name).and_then(|ns| replayed.lab.net().ns(ns)) else {
            check("netns", name, "", "there", "not there");
            continue;
        };
        for (interface, expected) in recorded["if"].as_object().into_iter().flatten() {
            let filled = replayed.fill_ids(interface);
            // A bridge is named by the first 12 digits of its network's id.
            let Some(iface) = netns.iface_named(&filled) else {
                check("interface", name, interface, "there", "not there");
                continue;
            };
            let mut addresses: Vec<String> = iface
                .addrs
                .iter()
                .map(|address| address.net.to_string())
                .filter(|address| !address.starts_with("fe80"))
                .collect();
            let mut recorded = Record::texts(&expected["addr"]);
            recorded.sort();
            addresses.sort();
            check(
                "interface",
                name,
                &format!("{interface} addresses"),
                &recorded.join(" "),
                &addresses.join(" "),
            );
            check(
                "interface",
                name,
                &format!("{interface} mtu"),
                &expected["mtu"].to_string(),
                &iface.mtu.to_string(),
            );
        }
        for (field, v6) in [("route4", false), ("route6", true)] {
            let mut expected: Vec<String> = Record::texts(&recorded[field])
                .iter()
                .map(|route| replayed.fill_ids(route.trim()))
                .collect();
            let mut seen: Vec<String> = netns
                .routes(v6)
                .iter()
                .filter(|route| !is_link_local(route))
                .map(|route| route_text(netns, route))
                .collect();
            expected.sort();
            seen.sort();
            check("routes", name, field, &expected.join("|"), &seen.join("|"));
        }
    }
}

fn is_link_local(route: &Route) -> bool {
    route.dst.to_string().starts_with("fe80")
}

/// As `ip route` prints it.
fn route_text(netns: &Netns, route: &Route) -> String {
    let mut text = if route.is_default() {
        "default".to_owned()
    } else {
        route.dst.to_string()
    };
    if let Some(via) = route.via {
        text.push_str(&format!(" via {via}"));
    }
    let dev = netns
        .iface(route.dev)
        .map_or("?", |iface| iface.name.as_str());
    text.push_str(&format!(" dev {dev}"));
    if route.proto == RouteProto::Kernel {
        text.push_str(" proto kernel");
    }
    match route.dst {
        ipnet::IpNet::V4(_) => {
            if route.via.is_none() {
                text.push_str(" scope link");
            }
            if let Some(source) = route.src {
                text.push_str(&format!(" src {source}"));
            }
        }
        ipnet::IpNet::V6(_) => text.push_str(&format!(" metric {} pref medium", route.metric)),
    }
    text
}
