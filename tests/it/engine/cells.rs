//! The probe cells: names asked, addresses tried, published ports dialled.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use emulator_core::docker::spec::Engine;
use emulator_core::id::NsId;
use emulator_core::lab::probe::{Answer, Question};
use emulator_core::netns::Errno;
use serde_json::Value;

use super::Tally;
use super::record::Record;
use super::replay::Replayed;

/// How long the recorder waited for a connection and for a name.
const CONNECT: Duration = Duration::from_millis(1400);
const NAME: Duration = Duration::from_millis(4600);
/// Between probes, so that no limit on ICMP errors is met and no neighbour is still being asked for.
const PAUSE: Duration = Duration::from_secs(4);

/// Where a value stands in a record.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) record: &'a Record,
    /// `dns`, `reach`, `published`, or the name of a field.
    pub(crate) kind: &'static str,
    /// Who asked.
    pub(crate) from: &'a str,
    /// Who was asked: the rest of the path.
    pub(crate) to: String,
    /// The probe: `ping`, `tcp/80`, `closed`, …
    pub(crate) what: &'a str,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} → {} {}",
            self.record.name, self.kind, self.from, self.to, self.what
        )
    }
}

pub(crate) fn compare(record: &Record, engine: Engine, replayed: &mut Replayed) -> Tally {
    let mut tally = Tally::default();
    dns(record, engine, replayed, &mut tally);
    reach(record, engine, replayed, &mut tally);
    published(record, engine, replayed, &mut tally);
    tally
}

pub(crate) fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value))
}

fn dns(record: &Record, engine: Engine, replayed: &mut Replayed, tally: &mut Tally) {
    for (from, questions) in entries(&record.json["dns"]) {
        let server = record.json["dns_server"][from]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        for (question, recorded) in entries(questions) {
            let place = Place {
                record,
                kind: "dns",
                from,
                to: question.to_owned(),
                what: "",
            };
            let expected = dns_text(recorded);
            let seen = match replayed.ns(from) {
                Some(ns) => ask_name(replayed, ns, &server, question),
                None => "no such container".to_owned(),
            };
            tally.check(engine, &place, &expected, &seen);
        }
    }
}

pub(crate) fn dns_text(recorded: &Value) -> String {
    let mut text = recorded["rcode"].as_str().unwrap_or_default().to_owned();
    let mut answers = Record::texts(&recorded["a"]);
    answers.sort();
    for answer in answers {
        text.push(' ');
        text.push_str(&answer);
    }
    if let Some(ttl) = recorded["ttl"].as_u64() {
        text.push_str(&format!(" ttl {ttl}"));
    }
    if recorded["aa"].as_bool() == Some(true) {
        text.push_str(" aa");
    }
    text
}

fn ask_name(replayed: &mut Replayed, ns: NsId, server: &str, question: &str) -> String {
    let (name, kind) = question.rsplit_once(' ').unwrap_or((question, "A"));
    let name = replayed.fill_ids(name);
    let qtype = match kind {
        "A" => 1,
        "PTR" => 12,
        "MX" => 15,
        "AAAA" => 28,
        other => panic!("a recorded question of type {other}"),
    };
    let Ok(query) = dns::Query::build(0x1234, &name, qtype) else {
        return "not a name".to_owned();
    };
    let Ok(server) = server.parse::<IpAddr>() else {
        return "no server".to_owned();
    };
    let to = SocketAddr::new(server, 53);
    replayed.lab.run_for(PAUSE);
    match replayed.lab.probe(ns, &Question::Udp(to, &query), NAME) {
        Answer::Open(bytes) => reply_text(&bytes),
        Answer::Timeout => "timeout".to_owned(),
        Answer::Failed(errno) => errno_text(errno),
        Answer::Closed => "closed".to_owned(),
    }
}

fn reply_text(bytes: &[u8]) -> String {
    let Ok(message) = dns::Message::parse(bytes) else {
        return "unreadable".to_owned();
    };
    let mut text = message.rcode.to_string();
    let mut answers: Vec<String> = message
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            dns::message::Data::Address(address) => Some(address.to_string()),
            dns::message::Data::Pointer(name) => Some(format!("{}.", name.trim_end_matches('.'))),
            dns::message::Data::Alias(_)
            | dns::message::Data::Exchange(..)
            | dns::message::Data::Other(_) => None,
        })
        .collect();
    answers.sort();
    for answer in &answers {
        text.push(' ');
        text.push_str(answer);
    }
    if let Some(record) = message.answers.first() {
        text.push_str(&format!(" ttl {}", record.ttl));
    }
    if message.authoritative {
        text.push_str(" aa");
    }
    text
}

fn errno_text(errno: Errno) -> String {
    match errno {
        Errno::ConnRefused => "refused".to_owned(),
        Errno::NetUnreach => "net-unreachable".to_owned(),
        Errno::HostUnreach => "host-unreachable".to_owned(),
        other => other.code().to_owned(),
    }
}

fn reach(record: &Record, engine: Engine, replayed: &mut Replayed, tally: &mut Tally) {
    for (from, targets) in entries(&record.json["reach"]) {
        for (target, probes) in entries(targets) {
            let (owner, address) = target.rsplit_once(' ').unwrap_or(("", target));
            for (what, recorded) in entries(probes) {
                let path = format!("/reach/{from}/{target}/{what}");
                if record.unstable(&path) {
                    tally.unstable += 1;
                    continue;
                }
                let place = Place {
                    record,
                    kind: "reach",
                    from,
                    to: target.to_owned(),
                    what,
                };
                let seen = match (replayed.ns(from), address.parse()) {
                    (Some(ns), Ok(address)) => {
                        try_address(record, replayed, ns, address, what, owner)
                    }
                    _ => "no such container".to_owned(),
                };
                tally.check(engine, &place, &cell_text(recorded, owner), &seen);
            }
        }
    }
}

/// `open src 172.18.0.1 by web`: `by` only if it is not who was asked.
pub(crate) fn cell_text(recorded: &Value, owner: &str) -> String {
    let mut text = recorded["r"].as_str().unwrap_or_default().to_owned();
    if let Some(source) = recorded["src"].as_str() {
        text.push_str(&format!(" src {source}"));
    }
    if let Some(by) = recorded["by"].as_str().filter(|by| *by != owner) {
        text.push_str(&format!(" by {by}"));
    }
    text
}

fn try_address(
    record: &Record,
    replayed: &mut Replayed,
    ns: NsId,
    address: IpAddr,
    what: &str,
    owner: &str,
) -> String {
    let question = match what.split_once('/') {
        None if what == "ping" => Question::Ping(address),
        None => {
            let closed = record.json["ports_used"]["closed"]
                .as_u64()
                .unwrap_or(65_001);
            Question::Tcp(SocketAddr::new(address, closed as u16), b"")
        }
        Some(("tcp", port)) => Question::Tcp(SocketAddr::new(address, port.parse().unwrap()), b""),
        Some((_, port)) => Question::Udp(SocketAddr::new(address, port.parse().unwrap()), b"?"),
    };
    replayed.lab.run_for(PAUSE);
    answer_text(
        &replayed.lab.probe(ns, &question, CONNECT),
        &question,
        owner,
    )
}

fn answer_text(answer: &Answer, question: &Question<'_>, owner: &str) -> String {
    match answer {
        Answer::Open(_) if matches!(question, Question::Ping(_)) => "ok".to_owned(),
        // Who answers says `name address`.
        Answer::Open(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            let text = text.trim();
            let (by, source) = text.split_once(' ').unwrap_or((text, ""));
            let mut seen = format!("open src {source}");
            // A bridge's own address is the host's.
            let owner = if owner.starts_with("gateway:") {
                "host"
            } else {
                owner
            };
            if by != owner {
                seen.push_str(&format!(" by {by}"));
            }
            seen
        }
        Answer::Closed => "accepted-then-closed".to_owned(),
        Answer::Failed(Errno::AddrNotAvail) => "EADDRNOTAVAIL".to_owned(),
        Answer::Failed(errno) => errno_text(*errno),
        Answer::Timeout => "timeout".to_owned(),
    }
}

fn published(record: &Record, engine: Engine, replayed: &mut Replayed, tally: &mut Tally) {
    for (opening, askers) in entries(&record.json["published"]) {
        // "0.0.0.0:8080->name 80/tcp"
        let (host, container) = opening.split_once("->").unwrap_or((opening, ""));
        let (owner, port) = container.rsplit_once(' ').unwrap_or((container, "80/tcp"));
        let host_port = replayed.host_port(owner, port, host);
        for (from, targets) in entries(askers) {
            for (target, recorded) in entries(targets) {
                let path = format!("/published/{opening}/{from}/{target}/r");
                if record.unstable(&path) {
                    tally.unstable += 1;
                    continue;
                }
                let place = Place {
                    record,
                    kind: "published",
                    from,
                    to: format!("{opening} at {target}"),
                    what: port,
                };
                let address = target
                    .rsplit_once(' ')
                    .map_or(target, |(_, address)| address);
                let seen = match (replayed.ns(from), address.parse::<IpAddr>(), host_port) {
                    (Some(ns), Ok(address), Some(host_port)) => {
                        let to = SocketAddr::new(address, host_port);
                        let question = if port.ends_with("/udp") {
                            Question::Udp(to, b"?")
                        } else {
                            Question::Tcp(to, b"")
                        };
                        replayed.lab.run_for(PAUSE);
                        answer_text(
                            &replayed.lab.probe(ns, &question, CONNECT),
                            &question,
                            owner,
                        )
                    }
                    (None, ..) => "no such container".to_owned(),
                    _ => "not published".to_owned(),
                };
                tally.check(engine, &place, &cell_text(recorded, owner), &seen);
            }
        }
    }
}
