//! The language of the conformance cases: a line a verb, or a question with its answer.
//!
//! ```text
//! daemon icc=off                     the daemon's flags (first line only)
//! net n1 subnet=10.1.0.0/24          verbs: net, run, connect, disconnect, stop, start, restart, rm,
//! run c1 net=n1 p=8080:80              rmnet, serve (ports), names (a DNS server), route, wait
//! ! run c2 net=none p=x => text      a verb that fails, and a part of its message
//! let m = mac c1 eth0                a question's answer, later `$m`
//! ping c1 c2@n1 = ok                 a question and its answer (`!=`: any other)
//! ```
//!
//! `c@net` is the IPv4 address of a container on a network, `c@net/6` its IPv6 address, `gw@net` and
//! `gw@net/6` those of its bridge, `host`, `host/6`, `lan` and `internet` what their names say.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;

use emulator_core::docker::DaemonConfig;
use emulator_core::docker::ports::grammar::parse_port_spec;
use emulator_core::docker::spec::{ContainerSpec, EndpointSpec, Engine, IpamConfig, NetworkSpec};
use emulator_core::id::NsId;
use emulator_core::lab::probe::{Answer, Question};
use emulator_core::lab::{Lab, LabConfig};
use emulator_core::netns::{Errno, Route};
use emulator_core::service::resolver::ResolverApp;
use emulator_core::tools::Probe;

/// How long a question may take.
const LIMIT: Duration = Duration::from_secs(3);
/// A name takes longer: upstream servers have 4 s each.
const NAME_LIMIT: Duration = Duration::from_secs(20);

/// A lab and what was noted in it.
#[derive(Debug)]
struct Play {
    lab: Lab,
    notes: BTreeMap<String, String>,
    /// Frames that an interface had received when `heard` was asked last.
    heard: BTreeMap<String, u64>,
}

/// Plays a case; panics with its number and the line at the first answer that is another one.
pub(super) fn play(number: u32, script: &str) {
    let mut lines = script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .peekable();
    let flags = lines
        .next_if(|line| line.starts_with("daemon "))
        .unwrap_or_default();
    let mut play = Play {
        lab: Lab::new(LabConfig {
            seed: u64::from(number),
            daemon: daemon(flags),
            ..LabConfig::default()
        })
        .unwrap(),
        notes: BTreeMap::new(),
        heard: BTreeMap::new(),
    };
    for line in lines {
        if let Err(why) = play.line(line) {
            panic!("case {number}: {line}\n    {why}");
        }
    }
}

fn daemon(flags: &str) -> DaemonConfig {
    let mut daemon = DaemonConfig::new(Engine::V29, NsId::default());
    for flag in flags.split_whitespace().skip(1) {
        match flag {
            "icc=off" => daemon.icc = false,
            "proxy=off" => daemon.userland_proxy = false,
            "ipv6" => {
                daemon.ipv6 = true;
                daemon.fixed_cidr_v6 = Some("fd00:17::/64".parse().unwrap());
            }
            other => panic!("a flag that nobody reads: {other}"),
        }
    }
    daemon
}

fn parts<'a>(words: &'a [&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    words
        .iter()
        .map(|word| word.split_once('=').unwrap_or((word, "")))
}

fn network(name: &str, flags: &[&str]) -> NetworkSpec {
    let mut spec = NetworkSpec {
        name: name.into(),
        ..NetworkSpec::default()
    };
    for (key, value) in parts(flags) {
        match key {
            "internal" => spec.internal = true,
            "ipv6" => spec.ipv6 = Some(true),
            "v6only" => (spec.ipv4, spec.ipv6) = (Some(false), Some(true)),
            "subnet" => spec.ipam.push(IpamConfig {
                subnet: value.into(),
                ..IpamConfig::default()
            }),
            option if option.contains('.') => {
                spec.options.insert(option.into(), value.into());
            }
            "mode" => {
                let key = "com.docker.network.bridge.gateway_mode_ipv4";
                spec.options.insert(key.into(), value.into());
            }
            other => panic!("a flag that nobody reads: {other}"),
        }
    }
    spec
}

/// `n1,ip=…,prio=…`
fn endpoint(options: &str) -> EndpointSpec {
    let mut spec = EndpointSpec::default();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match key {
            "ip" => spec.ipv4 = value.into(),
            "ip6" => spec.ipv6 = value.into(),
            "mac" => spec.mac_address = value.into(),
            "alias" => spec.aliases.push(value.into()),
            "link" => spec.links.push(value.into()),
            "prio" => spec.gw_priority = value.parse().unwrap(),
            "ifname" => {
                let key = "com.docker.network.endpoint.ifname";
                spec.driver_opts.insert(key.into(), value.into());
            }
            other => panic!("an option that nobody reads: {other}"),
        }
    }
    spec
}

fn container(name: &str, flags: &[&str]) -> ContainerSpec {
    let mut spec = ContainerSpec {
        name: Some(name.into()),
        image: "busybox".into(),
        ..ContainerSpec::default()
    };
    for (key, value) in parts(flags) {
        match key {
            "net" => {
                let (network, options) = value.split_once(',').unwrap_or((value, ""));
                if spec.network_mode.is_empty() {
                    spec.network_mode = network.into();
                }
                if !network.starts_with("container:") && !["host", "none"].contains(&network) {
                    spec.endpoints.push((network.into(), endpoint(options)));
                }
            }
            "p" => spec.ports.extend(parse_port_spec(value).unwrap()),
            "link" => spec.links.push(value.into()),
            "dns" => spec.dns.push(value.into()),
            "host" => spec.extra_hosts.push(value.into()),
            "hostname" => spec.hostname = Some(value.into()),
            "mac" => spec.mac_address = Some(value.into()),
            "expose" => spec
                .expose
                .extend(emulator_core::docker::ports::grammar::parse_expose(value).unwrap()),
            other => panic!("a flag that nobody reads: {other}"),
        }
    }
    spec
}

fn errno(errno: Errno) -> String {
    match errno {
        Errno::ConnRefused => "refused".to_owned(),
        Errno::NetUnreach => "net-unreachable".to_owned(),
        Errno::HostUnreach => "host-unreachable".to_owned(),
        other => other.code().to_owned(),
    }
}

impl Play {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let mut line = line.to_owned();
        for (name, value) in &self.notes {
            line = line.replace(&format!("${name}"), value);
        }
        if let Some(rest) = line.strip_prefix("! ") {
            let (verb, text) = rest.split_once(" => ").ok_or("no => in the line")?;
            return match self.verb(verb) {
                Ok(()) => Err("it did not fail".to_owned()),
                Err(error) if error.contains(text) => Ok(()),
                Err(error) => Err(format!("it says: {error}")),
            };
        }
        if let Some(rest) = line.strip_prefix("let ") {
            let (name, question) = rest.split_once(" = ").ok_or("no = in the line")?;
            let answer = self.ask(question)?;
            self.notes.insert(name.to_owned(), answer);
            return Ok(());
        }
        if let Some((question, other)) = line.split_once(" != ") {
            let seen = self.ask(question)?;
            return if seen == other {
                Err(format!("seen {seen}"))
            } else {
                Ok(())
            };
        }
        let Some((question, expected)) = line.split_once(" = ") else {
            return self.verb(&line);
        };
        let seen = self.ask(question)?;
        if seen == expected {
            Ok(())
        } else {
            Err(format!("seen {seen}"))
        }
    }

    fn verb(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let lab = &mut self.lab;
        let done = match words.as_slice() {
            ["net", name, flags @ ..] => lab.network_create(network(name, flags)).map(|_| ()),
            ["run", name, flags @ ..] => lab
                .create(container(name, flags))
                .and_then(|_| lab.start(name)),
            ["connect", net, name] => lab.network_connect(net, name, EndpointSpec::default()),
            ["connect", net, name, options] => lab.network_connect(net, name, endpoint(options)),
            ["disconnect", net, name] => lab.network_disconnect(net, name, false),
            ["stop", name] => lab.stop(name),
            ["start", name] => lab.start(name),
            ["restart", name] => lab.restart(name),
            ["rm", name] => lab.remove(name, true),
            ["rmnet", name] => lab.network_remove(name),
            ["wait", seconds] => {
                lab.run_for(Duration::from_millis(
                    (seconds.parse::<f64>().unwrap() * 1000.0) as u64,
                ));
                Ok(())
            }
            ["serve", place, ports @ ..] => return self.serve(place, ports),
            // A DNS server that knows `up.example`.
            ["names", place] => {
                let ns = self.ns(place)?;
                let server = ResolverApp::new(dns::upstream::World::Recorded);
                self.lab.spawn(ns, Box::new(server));
                Ok(())
            }
            ["route", place, net, via] => return self.route(place, net, via),
            _ => return Err("no such verb".to_owned()),
        };
        self.lab.settle();
        done.map_err(|error| error.to_string())
    }

    fn serve(&mut self, place: &str, ports: &[&str]) -> Result<(), String> {
        let ns = self.ns(place)?;
        let of = |udp: bool| -> Vec<u16> {
            ports
                .iter()
                .filter(|port| port.ends_with("/udp") == udp)
                .map(|port| port.trim_end_matches("/udp").parse().unwrap())
                .collect()
        };
        self.lab
            .spawn(ns, Box::new(Probe::new(of(false), of(true))));
        self.lab.settle();
        Ok(())
    }

    /// `route lan 172.18.0.0/16 host`; `default` is the default route.
    fn route(&mut self, place: &str, net: &str, via: &str) -> Result<(), String> {
        let (ns, via) = (self.ns(place)?, self.address(via)?);
        let net = if net == "default" { "0.0.0.0/0" } else { net };
        let net = net.parse().map_err(|_| "no such network")?;
        let added = self.lab.net_mut().with_ns(ns, |netns, _| {
            let dev = netns
                .routes(false)
                .iter()
                .find(|route| route.via.is_none() && route.dst.contains(&via))
                .map(|route| route.dev)
                .ok_or(Errno::NetUnreach)?;
            netns.route_add(Route::through(net, via, dev))
        });
        match added {
            Some(Ok(())) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    fn ns(&self, name: &str) -> Result<NsId, String> {
        let places = self.lab.places();
        match name {
            "host" => Ok(places.host),
            "lan" => Ok(places.lan),
            "internet" => Ok(places.internet),
            name => self
                .lab
                .namespace(name)
                .ok_or_else(|| format!("{name} does not run")),
        }
    }

    fn address(&self, target: &str) -> Result<IpAddr, String> {
        let fixed = match target {
            "host" => "192.0.2.2",
            "host/6" => "2001:db8:0:1::2",
            "lan" => "192.0.2.9",
            "internet" => "198.51.100.7",
            other => other,
        };
        if let Ok(address) = fixed.trim_matches(['[', ']']).parse() {
            return Ok(address);
        }
        let (name, network) = target.split_once('@').ok_or("no such target")?;
        let (network, v6) = match network.strip_suffix("/6") {
            Some(network) => (network, true),
            None => (network, false),
        };
        let docker = self.lab.docker();
        if name == "gw" {
            let network = docker.network(network).map_err(|e| e.to_string())?;
            return network.gateway(v6).ok_or_else(|| "no gateway".to_owned());
        }
        let container = docker.container(name).map_err(|e| e.to_string())?;
        let endpoint = container
            .networks
            .get(network)
            .and_then(|place| place.endpoint.as_ref())
            .ok_or("not on that network")?;
        let own = if v6 {
            endpoint.v6.map(Into::into)
        } else {
            endpoint.v4.map(Into::into)
        };
        own.map(|net: ipnet::IpNet| net.addr())
            .ok_or_else(|| "no such address".to_owned())
    }

    fn socket(&self, target: &str) -> Result<SocketAddr, String> {
        let (target, port) = target.rsplit_once(':').ok_or("no port")?;
        let port = port.parse().map_err(|_| "no port")?;
        Ok(SocketAddr::new(self.address(target)?, port))
    }

    fn ask(&mut self, question: &str) -> Result<String, String> {
        let words: Vec<&str> = question.split_whitespace().collect();
        match *words.as_slice() {
            ["ping", from, to] => {
                let to = self.address(to)?;
                self.probe(from, &Question::Ping(to))
            }
            ["tcp", from, to] => {
                let to = self.socket(to)?;
                self.probe(from, &Question::Tcp(to, b""))
            }
            ["udp", from, to] => {
                let to = self.socket(to)?;
                self.probe(from, &Question::Udp(to, b"?"))
            }
            ["resolve", from, name] => {
                let ns = self.ns(from)?;
                Ok(self.addresses(ns, name))
            }
            ["dig", from, name, kind] => self.dig(from, name, kind),
            ["ip", target] => self.address(target).map(|address| address.to_string()),
            ["id", container] => {
                let id = self.lab.container_id(container).unwrap_or_default();
                Ok(id.chars().take(12).collect())
            }
            ["ports", container] => {
                let mut ports: Vec<String> = self
                    .lab
                    .published(container)
                    .iter()
                    .map(|port| format!("{}:{}->{}", port.host_ip, port.host_port, port.port))
                    .collect();
                ports.sort();
                Ok(ports.join(" "))
            }
            ["hosts", container, name] => self.hosts(container, name),
            ["gw", place] => self.gateway(place, false),
            ["gw6", place] => self.gateway(place, true),
            ["ifaces", place] => self.ifaces(place),
            [what, place, iface] if ["mac", "mtu", "heard"].contains(&what) => {
                self.iface(what, place, iface)
            }
            ["neigh", place, address] => self.neighbour(place, address),
            _ => Err("no such question".to_owned()),
        }
    }

    fn probe(&mut self, from: &str, question: &Question<'_>) -> Result<String, String> {
        let ns = self.ns(from)?;
        Ok(match self.lab.probe(ns, question, LIMIT) {
            Answer::Open(_) if matches!(question, Question::Ping(_)) => "ok".to_owned(),
            Answer::Open(bytes) => format!("open {}", String::from_utf8_lossy(&bytes).trim()),
            Answer::Closed => "closed".to_owned(),
            Answer::Failed(error) => errno(error),
            Answer::Timeout => "timeout".to_owned(),
        })
    }

    fn addresses(&mut self, ns: NsId, name: &str) -> String {
        let mut found: Vec<String> = self
            .lab
            .lookup(ns, name)
            .iter()
            .map(ToString::to_string)
            .collect();
        found.sort();
        if found.is_empty() {
            "-".to_owned()
        } else {
            found.join(" ")
        }
    }

    /// The answer of the embedded server: the response code and the addresses; `garbage` is no message.
    fn dig(&mut self, from: &str, name: &str, kind: &str) -> Result<String, String> {
        let ns = self.ns(from)?;
        let kind = match kind {
            "A" => 1,
            "MX" => 15,
            "AAAA" => 28,
            "garbage" => 0,
            _ => return Err("no such type".to_owned()),
        };
        let query = if kind == 0 {
            b"\x12\x34garbage".to_vec()
        } else {
            dns::Query::build(7, name, kind).map_err(|error| format!("{error:?}"))?
        };
        let server = SocketAddr::from(([127, 0, 0, 11], 53));
        let answer = self
            .lab
            .probe(ns, &Question::Udp(server, &query), NAME_LIMIT);
        let bytes = match answer {
            Answer::Open(bytes) => bytes,
            Answer::Failed(error) => return Ok(errno(error)),
            Answer::Timeout | Answer::Closed => return Ok("timeout".to_owned()),
        };
        let message = dns::Message::parse(&bytes).map_err(|error| format!("{error:?}"))?;
        let mut found: Vec<String> = message
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                dns::message::Data::Address(address) => Some(address.to_string()),
                _ => None,
            })
            .collect();
        found.sort();
        found.insert(0, message.rcode.to_string());
        Ok(found.join(" "))
    }

    /// The addresses that `/etc/hosts` gives a name, in the file's order.
    fn hosts(&self, container: &str, name: &str) -> Result<String, String> {
        let file = self.lab.docker().hosts_file(container);
        let file = file.map_err(|error| error.to_string())?;
        let lines = file.lines().filter_map(|line| {
            let (address, names) = line.split_once('\t')?;
            names.split(' ').any(|own| own == name).then_some(address)
        });
        Ok(lines.collect::<Vec<_>>().join(" "))
    }

    /// `172.18.0.1 eth0`
    fn gateway(&self, place: &str, v6: bool) -> Result<String, String> {
        let netns = self.lab.net().ns(self.ns(place)?).ok_or("no namespace")?;
        let routes = netns.routes(v6);
        let Some(route) = routes.iter().find(|route| route.is_default()) else {
            return Ok("-".to_owned());
        };
        let dev = netns.iface(route.dev).map_or("?", |iface| &iface.name);
        let via = route
            .via
            .map_or_else(|| "link".to_owned(), |via| via.to_string());
        Ok(format!("{via} {dev}"))
    }

    /// `eth0=172.18.0.2 eth1=172.19.0.2`
    fn ifaces(&self, place: &str) -> Result<String, String> {
        let netns = self.lab.net().ns(self.ns(place)?).ok_or("no namespace")?;
        let mut all: Vec<String> = netns
            .ifaces()
            .filter(|iface| !iface.is_loopback())
            .map(|iface| {
                let v4 = iface.addrs.iter().find(|own| own.net.addr().is_ipv4());
                let address = v4.map_or_else(|| "-".to_owned(), |own| own.net.addr().to_string());
                format!("{}={address}", iface.name)
            })
            .collect();
        all.sort();
        Ok(all.join(" "))
    }

    fn iface(&mut self, what: &str, place: &str, name: &str) -> Result<String, String> {
        let netns = self.lab.net().ns(self.ns(place)?).ok_or("no namespace")?;
        // The bridge of a network, by the network's name.
        let bridge = name.strip_prefix("br-").map(|network| {
            let id = self.lab.network_id(network).unwrap_or_default();
            format!("br-{}", id.get(..12).unwrap_or_default())
        });
        let iface = netns
            .iface_named(bridge.as_deref().unwrap_or(name))
            .ok_or("no such interface")?;
        Ok(match what {
            "mac" => iface.mac.map(|byte| format!("{byte:02x}")).join(":"),
            "mtu" => iface.mtu.to_string(),
            _ => {
                let now = iface.rx.packets;
                let before = self.heard.insert(format!("{place} {name}"), now);
                (now - before.unwrap_or(0)).to_string()
            }
        })
    }

    fn neighbour(&self, place: &str, address: &str) -> Result<String, String> {
        let (ns, address) = (self.ns(place)?, self.address(address)?);
        let netns = self.lab.net().ns(ns).ok_or("no namespace")?;
        let found = netns
            .neighbours(self.lab.now())
            .find(|neighbour| neighbour.addr == address)
            .and_then(|neighbour| neighbour.mac);
        Ok(found.map_or_else(
            || "-".to_owned(),
            |mac| mac.map(|byte| format!("{byte:02x}")).join(":"),
        ))
    }
}
