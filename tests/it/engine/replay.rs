//! Builds a recorded topology in a lab: the daemon's flags, the file, the commands before and after.

use std::collections::BTreeSet;

use emulator_compose::Project;
use emulator_core::app::{App, Family, SockKind, SockOpt, Step, Sys};
use emulator_core::docker::DaemonConfig;
use emulator_core::docker::spec::Engine;
use emulator_core::id::{NsId, SockId};
use emulator_core::lab::outside::Outside;
use emulator_core::lab::{Lab, LabConfig};
use serde_json::Value;
use vethlab::project::{Up, up};

use super::record::Record;

/// A record's topology as it runs in a lab.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) lab: Lab,
    /// The project, or why it was refused.
    pub(crate) project: Result<Project, String>,
    pub(crate) up: Up,
    /// What the commands before and after said: exit code, output, errors.
    pub(crate) commands: Vec<(i32, String, String)>,
}

/// Answers on some ports with its name and the address that it sees, as the recorder's process did.
#[derive(Debug)]
struct Oracle {
    name: String,
    tcp: Vec<u16>,
    udp: Vec<u16>,
    listeners: Vec<SockId>,
    sockets: Vec<SockId>,
    started: bool,
}

impl Oracle {
    fn start(&mut self, sys: &mut dyn Sys) {
        for family in [Family::V4, Family::V6] {
            let any: core::net::IpAddr = match family {
                Family::V4 => core::net::Ipv4Addr::UNSPECIFIED.into(),
                Family::V6 => core::net::Ipv6Addr::UNSPECIFIED.into(),
            };
            for &port in &self.tcp {
                let Ok(sock) = sys.socket(SockKind::Tcp, family) else {
                    continue;
                };
                let opened = sys
                    .set(sock, SockOpt::V6Only(true))
                    .and_then(|()| sys.bind(sock, (any, port).into()))
                    .and_then(|()| sys.listen(sock, 64));
                // A port that docker-proxy holds is not to be had; the recorder met the same.
                match opened {
                    Ok(()) => self.listeners.push(sock),
                    Err(_) => sys.close(sock),
                }
            }
            for &port in &self.udp {
                let Ok(sock) = sys.socket(SockKind::Udp, family) else {
                    continue;
                };
                let opened = sys
                    .set(sock, SockOpt::V6Only(true))
                    .and_then(|()| sys.bind(sock, (any, port).into()));
                match opened {
                    Ok(()) => self.sockets.push(sock),
                    Err(_) => sys.close(sock),
                }
            }
        }
    }
}

impl App for Oracle {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        if !self.started {
            self.started = true;
            self.start(sys);
        }
        for &listener in &self.listeners {
            while let Ok((sock, peer)) = sys.accept(listener) {
                let _ = sys.send(sock, format!("{} {}\n", self.name, peer.ip()).as_bytes());
                sys.close(sock);
            }
        }
        let mut buffer = [0; 2048];
        for &sock in &self.sockets {
            while let Ok(got) = sys.recv_from(sock, &mut buffer) {
                let _ = sys.send_to(
                    sock,
                    format!("{} {}\n", self.name, got.from.ip()).as_bytes(),
                    got.from,
                );
            }
        }
        Step::Wait
    }

    fn name(&self) -> &str {
        "oracle"
    }
}

pub(crate) fn replay(record: &Record, engine: Engine) -> Replayed {
    let resolver = record.json["uplink"]["dns_upstream"]
        .as_str()
        .unwrap_or("192.0.2.1")
        .parse()
        .unwrap();
    let lab = Lab::new(LabConfig {
        seed: 1,
        daemon: daemon(record, engine, resolver),
        outside: Outside::Recorded { resolver },
        run_images: false,
        ..LabConfig::default()
    })
    .unwrap();
    let mut replayed = Replayed {
        lab,
        project: Err(String::new()),
        up: Up::default(),
        commands: Vec::new(),
    };
    replayed.run_all(record, "pre");
    replayed.project = record.project();
    if let Ok(project) = replayed.project.clone() {
        replayed.up = up(&mut replayed.lab, &project);
    }
    replayed.run_all(record, "post");
    replayed.listen(record);
    replayed
}

fn daemon(record: &Record, engine: Engine, resolver: core::net::IpAddr) -> DaemonConfig {
    let mut daemon = DaemonConfig {
        resolv_conf: format!("nameserver {resolver}\n"),
        // The recorder's own.
        hosts: "127.0.0.1 localhost\n127.0.0.1 runsc\n127.0.0.1 vm\n".to_owned(),
        ..DaemonConfig::new(engine, NsId::default())
    };
    let flags = Record::texts(&record.json["daemon_flags"]);
    let mut flags = flags.iter().map(String::as_str);
    while let Some(flag) = flags.next() {
        match flag {
            "--icc=false" => daemon.icc = false,
            "--ip-masq=false" => daemon.ip_masq = false,
            "--userland-proxy=false" => daemon.userland_proxy = false,
            "--bip" => daemon.bip = flags.next().map(|bip| bip.parse().unwrap()),
            "--default-address-pool" => {
                let (base, size) = flags.next().and_then(|pool| pool.split_once(',')).unwrap();
                let base = base.trim_start_matches("base=").parse().unwrap();
                let size = size.trim_start_matches("size=").parse().unwrap();
                daemon
                    .default_address_pools
                    .push(emulator_core::docker::ipam::AddressPool { base, size });
            }
            other => panic!("a recorded daemon flag that nobody reads: {other}"),
        }
    }
    daemon
}

impl Replayed {
    fn run_all(&mut self, record: &Record, which: &str) {
        for command in record.json[which].as_array().into_iter().flatten() {
            let line = command["cmd"].as_str().unwrap_or_default();
            self.commands.push(super::shell::run(&mut self.lab, line));
        }
    }

    /// Starts, in each namespace, what the recorder had listening there.
    fn listen(&mut self, record: &Record) {
        for (name, netns) in record.json["netns"].as_object().into_iter().flatten() {
            let Some(ns) = self.ns(name) else { continue };
            if name == "outside" {
                self.spawn(ns, name, vec![80], vec![5353]);
                continue;
            }
            let (mut tcp, mut udp) = (BTreeSet::new(), BTreeSet::new());
            for listen in Record::texts(&netns["listen"]) {
                let Some((address, proto)) = listen.rsplit_once('/') else {
                    continue;
                };
                let Some(port) = address
                    .rsplit_once(':')
                    .and_then(|(_, port)| port.parse().ok())
                else {
                    continue;
                };
                if proto == "tcp" {
                    tcp.insert(port)
                } else {
                    udp.insert(port)
                };
            }
            self.spawn(
                ns,
                name,
                tcp.into_iter().collect(),
                udp.into_iter().collect(),
            );
        }
        self.lab.settle();
    }

    fn spawn(&mut self, ns: NsId, name: &str, tcp: Vec<u16>, udp: Vec<u16>) {
        let oracle = Oracle {
            name: name.to_owned(),
            tcp,
            udp,
            listeners: Vec::new(),
            sockets: Vec::new(),
            started: false,
        };
        self.lab.spawn(ns, Box::new(oracle));
    }

    /// The namespace that a record calls `name`.
    pub(crate) fn ns(&self, name: &str) -> Option<NsId> {
        match name {
            "host" => Some(self.lab.places().host),
            "outside" => Some(self.lab.places().lan),
            container => self.lab.namespace(container),
        }
    }

    /// The host port behind which a container's port is published at `host` ("0.0.0.0:32768"): the
    /// recorded one if it is taken, else (an ephemeral one) the one that was drawn.
    pub(crate) fn host_port(&self, container: &str, port: &str, host: &str) -> Option<u16> {
        let (address, number) = host.rsplit_once(':')?;
        let address: core::net::IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
        let number: u16 = number.parse().ok()?;
        let published = self.lab.published(container);
        let mut fitting = published
            .iter()
            .filter(|published| published.port.to_string() == port && published.host_ip == address);
        let first = fitting.clone().next()?.host_port;
        Some(
            fitting
                .find(|published| published.host_port == number)
                .map_or(first, |published| published.host_port),
        )
    }

    /// `text` with the record's placeholders for ids filled in.
    pub(crate) fn fill_ids(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('<') {
            out.push_str(before);
            let Some((inside, tail)) = after.split_once('>') else {
                out.push('<');
                rest = after;
                continue;
            };
            match self.id(inside) {
                Some(id) => out.push_str(&id),
                None => {
                    out.push('<');
                    out.push_str(inside);
                    out.push('>');
                }
            }
            rest = tail;
        }
        out.push_str(rest);
        out
    }

    fn id(&self, inside: &str) -> Option<String> {
        let (kind, name) = inside.split_once(':')?;
        let id = match kind {
            "cid" | "cid64" => self.lab.container_id(name)?,
            "nid" | "nid64" => self.lab.network_id(name)?,
            _ => return None,
        };
        Some(if kind.ends_with("64") {
            id
        } else {
            id.chars().take(12).collect()
        })
    }
}

/// The part of a JSON array's entries that has `name`.
pub(crate) fn named<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list.as_array()?
        .iter()
        .find(|entry| entry["name"].as_str() == Some(name))
}
