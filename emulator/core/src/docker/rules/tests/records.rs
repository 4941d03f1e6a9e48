//! The rules of recorded Docker 20.10 engines, line by line.
//!
//! A record says what was asked for (networks, containers, published ports) and what `iptables-save`
//! then printed. The order in which networks and ports came is taken from the print, everything else is
//! derived.

use std::path::PathBuf;

use serde_json::Value;
use switch::filter::Table;
use switch::hook::Netfilter;

use super::super::*;
use crate::docker::plumb::GatewayMode;
use crate::docker::spec::Proto;

#[allow(clippy::disallowed_methods)]
fn records() -> Vec<(String, Value)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/engine");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    files.sort();
    files
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_str(&text).unwrap())
        })
        .collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn printed(record: &Value, table: &str) -> Vec<String> {
    list(&record["iptables"], table)
        .iter()
        .filter_map(|line| Some(line.as_str()?.to_owned()))
        .collect()
}

/// The place of the first line that has `part`, to put things into the order of the print.
fn place(lines: &[String], part: &str) -> usize {
    lines
        .iter()
        .position(|line| line.contains(part))
        .unwrap_or(usize::MAX)
}

/// A record's bridge networks, oldest first.
fn networks(record: &Value) -> Vec<&Value> {
    let filter = printed(record, "filter");
    let stage: Vec<String> = filter
        .into_iter()
        .filter(|line| line.starts_with("-A DOCKER-ISOLATION-STAGE-1"))
        .collect();
    let mut networks: Vec<&Value> = list(record, "networks")
        .iter()
        .filter(|network| text(network, "driver") == "bridge")
        .collect();
    // Newest first in the print; the names end at a blank.
    networks.sort_by_key(|network| {
        let part = format!("{} ", text(network, "bridge"));
        core::cmp::Reverse(place(&stage, &part))
    });
    networks
}

fn network_rules(record: &Value, network: &Value, bridge: IfId) -> NetworkRules {
    let off = |option: &str| {
        let key = format!("com.docker.network.bridge.{option}");
        text(&network["options"], &key) == "false"
    };
    let subnets = list(network, "ipam")
        .iter()
        .map(|ipam| text(ipam, "Subnet"));
    let v4 = subnets.clone().find_map(|subnet| subnet.parse().ok());
    let v6 = subnets.clone().find_map(|subnet| subnet.parse().ok());
    NetworkRules {
        engine: Engine::V20_10,
        bridge,
        subnet_v4: v4,
        subnet_v6: v6,
        icc: !off("enable_icc"),
        internal: network["internal"] == true,
        gateway_mode_v4: GatewayMode::Nat,
        gateway_mode_v6: GatewayMode::Nat,
        masquerade: !off("enable_ip_masquerade"),
        host_ipv4: None,
        host_ipv6: None,
        userland_proxy: !list(record, "daemon_flags")
            .iter()
            .any(|flag| flag == "--userland-proxy=false"),
        allow_direct_routing: false,
        trusted: Vec::new(),
        crowded: false,
        filter_v6: false,
    }
}

fn port(text: &str) -> Port {
    let (number, proto) = text.split_once('/').unwrap();
    Port {
        number: number.parse().unwrap(),
        proto: match proto {
            "tcp" => Proto::Tcp,
            "udp" => Proto::Udp,
            other => panic!("{other}"),
        },
    }
}

/// Every published port with the network that it is on, in the order of the print.
fn published(record: &Value) -> Vec<(String, Published)> {
    let nat = printed(record, "nat");
    let mut all = Vec::new();
    for container in list(record, "containers") {
        let Some(ports) = container["ports"].as_object() else {
            continue;
        };
        for (inside, bindings) in ports {
            for binding in bindings.as_array().map_or(&[][..], Vec::as_slice) {
                let number = port(inside);
                let networks = container["networks"].as_object().unwrap();
                for (network, endpoint) in networks {
                    let Ok(container_ip) = text(endpoint, "ip").parse() else {
                        continue;
                    };
                    let published = Published {
                        host_ip: text(binding, "HostIp").parse().unwrap(),
                        host_port: text(binding, "HostPort").parse().unwrap(),
                        container_ip,
                        port: number,
                    };
                    let part = format!(
                        "-p {} -m {} --dport {} -j DNAT --to-destination {}:{}",
                        number.proto,
                        number.proto,
                        published.host_port,
                        container_ip,
                        number.number,
                    );
                    // Only one network, its gateway's, has the container's ports.
                    let place = place(&nat, &part);
                    if place < usize::MAX || published.host_ip.is_ipv6() {
                        all.push((place, network.clone(), published));
                    }
                }
            }
        }
    }
    all.sort_by_key(|(place, ..)| *place);
    all.into_iter()
        .map(|(_, network, published)| (network, published))
        .collect()
}

/// The legacy links of the default bridge.
fn links(record: &Value) -> Vec<LinkRule> {
    let containers = list(record, "containers");
    let v4 = |container: &Value| text(&container["networks"]["bridge"], "ip").parse().ok();
    let mut rules = Vec::new();
    for client in containers {
        for link in list(client, "links") {
            let name = link.as_str().unwrap().split(':').next().unwrap();
            let server = containers
                .iter()
                .find(|other| text(other, "name") == &name[1..]);
            let Some(server) = server else { continue };
            for exposed in list(server, "exposed") {
                if let (Some(client), Some(server)) = (v4(client), v4(server)) {
                    rules.push(LinkRule {
                        client,
                        server,
                        port: port(exposed.as_str().unwrap()),
                    });
                }
            }
        }
    }
    rules
}

fn rebuilt(record: &Value) -> (Netfilter, Vec<String>) {
    let mut nf = Netfilter::default();
    let mut docker = DockerRules::new(IfId(1), true);
    let mut names = vec![String::new(), "lo".to_owned()];
    let mut numbers = BTreeMap::new();
    for network in networks(record) {
        let number = names.len() as u32;
        names.push(text(network, "bridge").to_owned());
        numbers.insert(text(network, "name").to_owned(), number);
        let rules = network_rules(record, network, IfId(number));
        docker.network_set(&mut nf, number, &rules);
        // As the engine has it: links only matter where members may not talk anyway.
        if text(network, "name") == "bridge" && !rules.icc {
            docker.links_set(&mut nf, number, &links(record));
        }
    }
    for (at, (network, port)) in (1000..).zip(published(record)) {
        docker.publish(&mut nf, numbers[&network], IfId(at), &[port]);
    }
    (nf, names)
}

#[test]
fn recorded_engines_have_these_rules() {
    let records = records();
    let mut compared = 0;
    for (name, record) in &records {
        if !record["iptables"].is_object() {
            continue;
        }
        let (nf, names) = rebuilt(record);
        for (word, table) in [("filter", Table::Filter), ("nat", Table::Nat)] {
            let names = |iface: IfId| names[iface.0 as usize].clone();
            let ours: Vec<String> = nf
                .rules
                .save(Family::V4, table, &names)
                .iter()
                .filter(|line| *line != "COMMIT")
                .map(|line| line.split(" [").next().unwrap_or(line).to_owned())
                .collect();
            let theirs = printed(record, word);
            assert_eq!(ours, theirs, "{name}, table {word}");
            compared += theirs.len();
        }
    }
    if compared == 0 {
        println!("SKIPPED: no records of an engine under tests/data/engine");
    } else {
        println!("{compared} lines of {} records compared", records.len());
    }
}
