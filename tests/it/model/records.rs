//! The model against the recorded engine: what it computes from a record's compose file and the addresses
//! that the engine assigned has to be equal in every cell; no packet is sent.

use core::net::{IpAddr, SocketAddr};

use emulator_compose::Protocol;
use ipnet::IpNet;
use serde_json::Value;
use vethlab::model::{
    Assigned, Container, End, Endpoint, Engine, Kind, Machine, Model, Network, Outcome,
    Publication, Reach, Reply, Rules, Socket, Transport,
};

use crate::engine::cells::{cell_text, dns_text, entries};
use crate::engine::record::Record;
use crate::engine::{handmade, others};
use crate::rig::{say, skip};

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn protocol(name: &str) -> Protocol {
    match name {
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => Protocol::Tcp,
    }
}

/// `80/tcp`.
fn port(text: &str) -> (u16, Protocol) {
    let (number, proto) = text.split_once('/').unwrap_or((text, "tcp"));
    (number.parse().unwrap(), protocol(proto))
}

fn end(name: &str) -> End {
    match name {
        "host" => End::Host,
        "outside" => End::Lan,
        container => End::Container(container.to_owned()),
    }
}

/// What the engine assigned, as the record says.
fn assigned(record: &Record) -> Assigned {
    let json = &record.json;
    let network = |network: &Value| {
        let interface = &json["netns"]["host"]["if"][text(&network["bridge"])];
        let own = Record::texts(&interface["addr"]);
        Network {
            name: text(&network["name"]).to_owned(),
            subnets: list(&network["ipam"])
                .filter_map(|config| text(&config["Subnet"]).parse().ok())
                .collect(),
            gateways: own
                .iter()
                .filter_map(|address| address.parse::<IpNet>().ok())
                .map(|address| address.addr())
                .collect(),
            interface: Some(text(&network["bridge"]).to_owned()),
        }
    };
    let bridges = list(&json["networks"]).filter(|network| text(&network["driver"]) == "bridge");
    let mut sockets = Vec::new();
    for (name, netns) in entries(&json["netns"]) {
        for listen in Record::texts(&netns["listen"]) {
            let (address, proto) = listen.rsplit_once('/').unwrap();
            let address: SocketAddr = address.parse().unwrap();
            sockets.push(Socket {
                at: end(name),
                address: Some(address.ip()),
                port: address.port(),
                protocol: protocol(proto),
            });
        }
    }
    // What the recorder's other machine serves is not listed there.
    for (port, protocol) in [
        (80, Protocol::Tcp),
        (5353, Protocol::Udp),
        (53, Protocol::Udp),
    ] {
        sockets.push(Socket {
            at: End::Lan,
            address: None,
            port,
            protocol,
        });
    }
    // A resolver on the host's loopback is the recorder's as well.
    if let Ok(resolver) = text(&json["uplink"]["dns_upstream"]).parse::<IpAddr>()
        && resolver.is_loopback()
    {
        sockets.push(Socket {
            at: End::Host,
            address: Some(resolver),
            port: 53,
            protocol: Protocol::Udp,
        });
    }
    Assigned {
        networks: bridges.map(network).collect(),
        containers: list(&json["containers"])
            .map(|recorded| container(json, recorded))
            .collect(),
        gone: Vec::new(),
        sockets,
    }
}

fn container(json: &Value, recorded: &Value) -> Container {
    let name = text(&recorded["name"]);
    let number = name.rsplit_once('_').and_then(|(_, n)| n.parse().ok());
    let service = text(&recorded["service"]);
    let endpoints = entries(&recorded["networks"])
        .filter(|(_, place)| !text(&place["ip"]).is_empty())
        .map(|(network, place)| Endpoint {
            network: network.to_owned(),
            v4: text(&place["ip"]).parse().ok(),
            v6: text(&place["ip6"]).parse().ok(),
            aliases: late_aliases(json, network, name),
        });
    let mut published = Vec::new();
    for (key, bindings) in entries(&recorded["ports"]) {
        let (port, protocol) = port(key);
        published.extend(list(bindings).map(|binding| Publication {
            host_ip: text(&binding["HostIp"]).parse().unwrap(),
            host_port: text(&binding["HostPort"]).parse().unwrap(),
            port,
            protocol,
        }));
    }
    Container {
        name: name.to_owned(),
        id: format!("<cid:{name}>"),
        project: Some(text(&json["topology"]).to_owned()),
        service: (!service.is_empty()).then(|| service.to_owned()),
        number: number.unwrap_or(1),
        made: 0,
        running: ["running", "paused"].contains(&text(&recorded["state"])),
        endpoints: endpoints.collect(),
        published,
    }
}

/// Aliases that a `docker network connect` gave when the project was up.
fn late_aliases(json: &Value, network: &str, container: &str) -> Vec<String> {
    list(&json["post"])
        .filter_map(|command| {
            let words: Vec<&str> = text(&command["cmd"]).split_whitespace().collect();
            match *words {
                ["docker", "network", "connect", "--alias", alias, net, name]
                    if net == network && name == container =>
                {
                    Some(alias.to_owned())
                }
                _ => None,
            }
        })
        .collect()
}

fn machine(record: &Record) -> Machine {
    let uplink = &record.json["uplink"];
    let net = |key: &str| text(&uplink[key]).parse::<IpNet>().unwrap();
    let flags = Record::texts(&record.json["daemon_flags"]);
    let off = |flag: &str| flags.iter().any(|given| given == flag);
    Machine {
        icc: !off("--icc=false"),
        ip_masq: !off("--ip-masq=false"),
        userland_proxy: !off("--userland-proxy=false"),
        resolvers: vec![text(&uplink["dns_upstream"]).parse().unwrap()],
        uplink: vec![net("host")],
        router: vec![net("outside").addr()],
        lan: vec![net("outside").addr()],
        lan_through_host: true,
        leads_out: [true, false],
        ..Machine::new(Engine::V20_10)
    }
}

/// As the record's cell would be written.
fn outcome_text(outcome: &Outcome, transport: Transport, owner: &str) -> String {
    let word = match outcome.reach {
        Reach::Open if transport == Transport::Icmp => "ok",
        Reach::Open => {
            let source = outcome.source.map(|ip| ip.to_string()).unwrap_or_default();
            let by = match outcome.by.as_ref().unwrap() {
                End::Lan => "outside".to_owned(),
                end => end.to_string(),
            };
            let owner = if owner.starts_with("gateway:") {
                "host"
            } else {
                owner
            };
            let by = if by == owner {
                String::new()
            } else {
                format!(" by {by}")
            };
            return format!("open src {source}{by}");
        }
        Reach::Refused => "refused",
        Reach::Closed => "accepted-then-closed",
        // Who asks in vain for a neighbour is told after three seconds; the recorder waited half as long.
        Reach::Timeout | Reach::HostUnreachable => "timeout",
        Reach::NetUnreachable => "net-unreachable",
        Reach::NoAddress => "EADDRNOTAVAIL",
    };
    word.to_owned()
}

/// As the recorded answer would be written. What the engine does not know the recorder's resolver does.
fn reply_text(reply: &Reply, name: &str, kind: Kind) -> String {
    match reply {
        Reply::Addresses(addresses) => {
            let mut texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            texts.sort();
            format!("NOERROR {} ttl 600", texts.join(" "))
        }
        Reply::Name(name) => format!("NOERROR {name} ttl 600"),
        Reply::Nothing => "NOERROR".to_owned(),
        Reply::Upstream(_) => match (name, kind) {
            ("up.example", Kind::A) => "NOERROR 198.51.100.7 ttl 60 aa",
            ("up.example", _) => "NOERROR aa",
            ("7.100.51.198.in-addr.arpa", Kind::Ptr) => "NOERROR up.example. ttl 60 aa",
            _ => "NXDOMAIN aa",
        }
        .to_owned(),
        Reply::NoUpstream => "timeout".to_owned(),
        Reply::Unreachable(outcome) => outcome_text(outcome, Transport::Udp, ""),
    }
}

#[derive(Debug, Default)]
struct Count {
    equal: usize,
    unstable: usize,
    wrong: Vec<String>,
}

impl Count {
    fn check(
        &mut self,
        place: String,
        recorded: &str,
        computed: &str,
        outcome: impl core::fmt::Debug,
    ) {
        if recorded == computed {
            self.equal += 1;
        } else {
            self.wrong.push(format!(
                "{place}: recorded {recorded}, computed {computed} ({outcome:?})"
            ));
        }
    }
}

fn compare(record: &Record, rules: Rules, count: &mut Count) {
    let Ok(project) = record.project() else {
        return;
    };
    let (assigned, machine) = (assigned(record), machine(record));
    let model = Model::with_rules(&[&project], &assigned, Engine::V20_10, &machine, rules);
    for (from, questions) in entries(&record.json["dns"]) {
        for (question, recorded) in entries(questions) {
            let (name, kind) = question.rsplit_once(' ').unwrap();
            let kind = match kind {
                "AAAA" => Kind::Aaaa,
                "PTR" => Kind::Ptr,
                "MX" => Kind::Mx,
                _ => Kind::A,
            };
            let reply = model.lookup(&end(from), name, kind);
            let place = format!("{} dns {from} {question}", record.name);
            let computed = reply_text(&reply, name, kind);
            count.check(place, &dns_text(recorded), &computed, &reply);
        }
    }
    let closed = record.json["ports_used"]["closed"]
        .as_u64()
        .unwrap_or(65_001) as u16;
    for (from, targets) in entries(&record.json["reach"]) {
        for (target, probes) in entries(targets) {
            let (owner, address) = target.rsplit_once(' ').unwrap();
            for (what, recorded) in entries(probes) {
                if record.unstable(&format!("/reach/{from}/{target}/{what}")) {
                    count.unstable += 1;
                    continue;
                }
                let (transport, port) = match what.split_once('/') {
                    Some(("udp", port)) => (Transport::Udp, port.parse().unwrap()),
                    Some((_, port)) => (Transport::Tcp, port.parse().unwrap()),
                    None if what == "ping" => (Transport::Icmp, 0),
                    None => (Transport::Tcp, closed),
                };
                let to = SocketAddr::new(address.parse().unwrap(), port);
                let outcome = model.reach(&end(from), to, transport);
                let place = format!("{} reach {from} -> {target} {what}", record.name);
                let computed = outcome_text(&outcome, transport, owner);
                count.check(place, &cell_text(recorded, owner), &computed, &outcome);
            }
        }
    }
    for (opening, askers) in entries(&record.json["published"]) {
        let (host, container) = opening.split_once("->").unwrap();
        let (owner, inner) = container.rsplit_once(' ').unwrap();
        let host_port: u16 = host.rsplit_once(':').unwrap().1.parse().unwrap();
        let transport = match port(inner).1 {
            Protocol::Udp => Transport::Udp,
            _ => Transport::Tcp,
        };
        for (from, targets) in entries(askers) {
            for (target, recorded) in entries(targets) {
                if record.unstable(&format!("/published/{opening}/{from}/{target}/r")) {
                    count.unstable += 1;
                    continue;
                }
                let address = target
                    .rsplit_once(' ')
                    .map_or(target, |(_, address)| address);
                let to = SocketAddr::new(address.parse().unwrap(), host_port);
                let outcome = model.reach(&end(from), to, transport);
                let place = format!("{} published {from} -> {opening} at {target}", record.name);
                let computed = outcome_text(&outcome, transport, owner);
                count.check(place, &cell_text(recorded, owner), &computed, &outcome);
            }
        }
    }
}

fn run(records: &[Record], what: &str) {
    let mut count = Count::default();
    for record in records {
        compare(record, Rules::ALL, &mut count);
    }
    let (equal, wrong) = (count.equal, &count.wrong);
    say(&format!(
        "the model, {what}: {equal} cells equal, {} wrong, {} unstable in the record",
        wrong.len(),
        count.unstable
    ));
    assert!(
        wrong.is_empty(),
        "{} cells differ, the first ones:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(60)].join("\n")
    );
    assert!(equal > 5_000, "only {equal} cells were compared");
}

/// Cells of the handmade records that differ when some rules are off.
pub(super) fn wrong_with(rules: Rules) -> Vec<String> {
    let mut count = Count::default();
    for record in &handmade() {
        compare(record, rules, &mut count);
    }
    count.wrong
}

#[test]
fn handmade_records() {
    run(&handmade(), "handmade records");
}

#[test]
fn records_of_real_files() {
    match others() {
        Some(records) => run(&records, "records of real files"),
        None => {
            skip("the corpus is not here: the model is not compared with records of real files")
        }
    }
}
