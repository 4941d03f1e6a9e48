//! The model against packets: random projects, every question asked both ways.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeSet;

use emulator_compose::{Project, Protocol};
use emulator_core::docker::DaemonConfig;
use emulator_core::docker::spec::{Engine, Listening, Port, Proto};
use emulator_core::id::NsId;
use emulator_core::lab::probe::{Answer, Question};
use emulator_core::lab::{Lab, LabConfig};
use emulator_core::netns::Errno;
use emulator_core::tools::Probe;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use vethlab::assigned::{assigned, engine, machine};
use vethlab::model::{
    Assigned, End, Kind, Machine, Model, Outcome, Reach, Reply, Socket, Transport,
};
use vethlab::project::up_with;

use super::plan::{NOBODY, Plan, plan};

/// Long enough for a neighbour request to fail.
const LIMIT: Duration = Duration::from_secs(5);
/// Between questions, so that no limit on ICMP errors is met.
const PAUSE: Duration = Duration::from_secs(2);
/// A port where nobody listens.
const CLOSED: u16 = 65_001;
/// What `host` and `lan` listen on.
const OWN: u16 = 90;

/// A project that runs, and what was assigned to it.
pub(super) struct Scene {
    pub(super) project: Project,
    pub(super) lab: Lab,
    pub(super) assigned: Assigned,
    pub(super) machine: Machine,
    pub(super) text: String,
}

impl Scene {
    /// `None` if the engine refuses the networks.
    pub(super) fn new(plan: &Plan) -> Option<Self> {
        Self::with(plan, daemon(plan))
    }

    pub(super) fn with(plan: &Plan, daemon: DaemonConfig) -> Option<Self> {
        let text = plan.compose();
        let project =
            emulator_compose::load_str(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        let listens = |service: &emulator_compose::Service| {
            let (index, service) = plan.service(&service.name)?;
            Some(service.listening(index))
        };
        Self::of(project, text, daemon, listens)
    }

    pub(super) fn of(
        project: Project,
        text: String,
        daemon: DaemonConfig,
        listens: impl Fn(&emulator_compose::Service) -> Option<Vec<Listening>>,
    ) -> Option<Self> {
        let config = LabConfig {
            seed: 1,
            daemon,
            ..LabConfig::default()
        };
        Self::on(project, text, config, listens)
    }

    pub(super) fn on(
        project: Project,
        text: String,
        config: LabConfig,
        listens: impl Fn(&emulator_compose::Service) -> Option<Vec<Listening>>,
    ) -> Option<Self> {
        let mut lab = Lab::new(config).unwrap();
        let up = up_with(&mut lab, &project, listens);
        if !up.networks.is_empty() {
            return None;
        }
        let mut assigned = assigned(&lab);
        let places = [(lab.places().host, End::Host), (lab.places().lan, End::Lan)];
        for (ns, at) in places {
            let both = [Proto::Tcp, Proto::Udp].map(|proto| Listening {
                address: None,
                port: Port { number: OWN, proto },
            });
            lab.spawn(ns, Box::new(Probe::on(both.to_vec())));
            assigned
                .sockets
                .extend([Protocol::Tcp, Protocol::Udp].map(|protocol| Socket {
                    at: at.clone(),
                    address: None,
                    port: OWN,
                    protocol,
                }));
        }
        lab.settle();
        let machine = machine(&lab);
        Some(Self {
            project,
            lab,
            assigned,
            machine,
            text,
        })
    }

    pub(super) fn model(&self) -> Model<'_> {
        Model::new(
            &[&self.project],
            &self.assigned,
            engine(&self.lab),
            &self.machine,
        )
    }

    fn ns(&self, end: &End) -> Option<NsId> {
        let places = self.lab.places();
        match end {
            End::Container(name) => self.lab.namespace(name),
            End::Host => Some(places.host),
            End::Lan => Some(places.lan),
            End::Internet => Some(places.internet),
        }
    }

    pub(super) fn ends(&self) -> Vec<End> {
        let running = self.assigned.containers.iter().filter(|c| c.running);
        let mut ends: Vec<End> = running
            .map(|container| End::Container(container.name.clone()))
            .collect();
        ends.extend([End::Host, End::Lan, End::Internet]);
        ends
    }

    /// Every address and port that there is something to ask about.
    pub(super) fn targets(&self) -> Vec<(SocketAddr, Transport)> {
        let mut targets = Vec::new();
        let mut add = |address: IpAddr, ports: &BTreeSet<(u16, bool)>| {
            targets.push((SocketAddr::new(address, 0), Transport::Icmp));
            for &(port, udp) in ports {
                let transport = if udp { Transport::Udp } else { Transport::Tcp };
                targets.push((SocketAddr::new(address, port), transport));
            }
        };
        let closed = [(CLOSED, false), (CLOSED, true)];
        let of = |sockets: &mut dyn Iterator<Item = &Socket>| -> BTreeSet<(u16, bool)> {
            let ports = sockets.map(|socket| (socket.port, socket.protocol == Protocol::Udp));
            ports.chain(closed).collect()
        };
        let running = || self.assigned.containers.iter().filter(|c| c.running);
        // On a container's own address: all that anybody listens on, since whoever joined it is there too.
        let all = of(&mut self.assigned.sockets.iter());
        let silent = running()
            .flat_map(|container| &container.published)
            .map(|publication| (publication.port, publication.protocol == Protocol::Udp));
        let inner: BTreeSet<(u16, bool)> = all.iter().copied().chain(silent).collect();
        for container in running() {
            for address in container
                .endpoints
                .iter()
                .flat_map(|endpoint| endpoint.addresses())
            {
                add(address, &inner);
            }
        }
        let published = running()
            .flat_map(|container| &container.published)
            .filter(|publication| publication.host_port != 0)
            .map(|publication| (publication.host_port, publication.protocol == Protocol::Udp));
        let doors: BTreeSet<(u16, bool)> = published.chain(all.iter().copied()).collect();
        let mut of_host: BTreeSet<IpAddr> =
            self.machine.uplink.iter().map(|net| net.addr()).collect();
        of_host.extend(self.machine.others.iter().map(|net| net.addr()));
        of_host.extend(self.assigned.networks.iter().flat_map(|net| &net.gateways));
        of_host.insert(Ipv4Addr::LOCALHOST.into());
        of_host.insert(Ipv6Addr::LOCALHOST.into());
        for address in of_host {
            add(address, &doors);
        }
        let own = BTreeSet::from([(OWN, false), (OWN, true), (CLOSED, false)]);
        for &address in &self.machine.lan {
            add(address, &own);
        }
        let web = BTreeSet::from([(80, false), (CLOSED, false)]);
        add(Ipv4Addr::new(198, 51, 100, 7).into(), &web);
        add(
            Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 7).into(),
            &web,
        );
        for address in NOBODY {
            add(address, &BTreeSet::from([(CLOSED, false)]));
        }
        targets
    }

    pub(super) fn ask(&mut self, from: NsId, to: SocketAddr, transport: Transport) -> String {
        let question = match transport {
            Transport::Icmp => Question::Ping(to.ip()),
            Transport::Tcp => Question::Tcp(to, b""),
            Transport::Udp => Question::Udp(to, b"?"),
        };
        self.lab.run_for(PAUSE);
        match self.lab.probe(from, &question, LIMIT) {
            Answer::Open(_) if transport == Transport::Icmp => "ok".to_owned(),
            Answer::Open(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                match text.trim().parse::<IpAddr>() {
                    Ok(source) => format!("open src {}", source.to_canonical()),
                    Err(_) => "open".to_owned(),
                }
            }
            Answer::Closed => "closed".to_owned(),
            Answer::Timeout | Answer::Failed(Errno::TimedOut) => "timeout".to_owned(),
            Answer::Failed(Errno::ConnRefused) => "refused".to_owned(),
            Answer::Failed(Errno::NetUnreach) => "net-unreachable".to_owned(),
            Answer::Failed(Errno::HostUnreach) => "host-unreachable".to_owned(),
            Answer::Failed(Errno::AddrNotAvail) => "no-address".to_owned(),
            Answer::Failed(other) => other.code().to_owned(),
        }
    }

    /// Every question, both ways; those whose answers differ, until there are `enough`.
    pub(super) fn differences(&mut self, enough: usize) -> (usize, Vec<String>) {
        let mut asked = 0;
        let mut wrong = Vec::new();
        let targets = self.targets();
        for from in self.ends() {
            let Some(ns) = self.ns(&from) else { continue };
            for &(to, transport) in &targets {
                if wrong.len() >= enough {
                    return (asked, wrong);
                }
                let outcome = self.model().reach(&from, to, transport);
                let computed = outcome_text(&outcome, transport);
                let seen = self.ask(ns, to, transport);
                asked += 1;
                if computed != seen {
                    wrong.push(format!(
                        "{from} -> {to} {transport:?}: computed {computed}, packets {seen} ({:?} {:?})",
                        outcome.reason, outcome.via
                    ));
                }
            }
            if matches!(from, End::Container(_)) {
                asked += self.names(&from, ns, &mut wrong);
            }
        }
        (asked, wrong)
    }

    /// Every name that there is something to ask about.
    pub(super) fn all_names(&self) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = [
            "shared",
            "other",
            "gate",
            "far",
            "localhost",
            "no-such-name",
        ]
        .map(str::to_owned)
        .into();
        for container in &self.assigned.containers {
            names.insert(container.name.clone());
            names.insert(container.id.clone());
            names.extend(container.service.clone());
            let short = container.name.trim_start_matches("p-");
            names.insert(short.to_owned());
            for network in &self.assigned.networks {
                names.insert(format!("{}.{}", container.name, network.name));
            }
        }
        for index in 0..4 {
            names.insert(format!("alias{index}"));
            names.insert(format!("host{index}.example"));
            names.insert(format!("host{index}"));
        }
        names
    }

    fn names(&mut self, from: &End, ns: NsId, wrong: &mut Vec<String>) -> usize {
        let names = self.all_names();
        let count = names.len();
        for name in names {
            let model = self.model();
            let computed = model.resolve(from, &name);
            let forwarded = |kind| matches!(model.lookup(from, &name, kind), Reply::Upstream(_));
            // The router's resolver knows every name of a domain that exists.
            let upstream = computed.is_empty()
                && name.ends_with(".example")
                && (forwarded(Kind::A) || forwarded(Kind::Aaaa));
            let mut seen = self.lab.lookup(ns, &name);
            seen.sort();
            let same = if upstream {
                let internet = &self.machine.internet;
                !seen.is_empty()
                    && seen
                        .iter()
                        .all(|ip| internet.iter().any(|net| net.contains(ip)))
            } else {
                seen == computed
            };
            if !same {
                wrong.push(format!(
                    "{from} asks {name}: computed {computed:?} (upstream {upstream}), packets {seen:?}"
                ));
            }
        }
        count
    }
}

pub(super) fn outcome_text(outcome: &Outcome, transport: Transport) -> String {
    let word = match outcome.reach {
        Reach::Open if transport == Transport::Icmp => "ok",
        // The internet's web servers do not say who called.
        Reach::Open if outcome.by == Some(End::Internet) => "open",
        Reach::Open => {
            let source = outcome.source.map(|ip| ip.to_string()).unwrap_or_default();
            return format!("open src {source}");
        }
        Reach::Refused => "refused",
        Reach::Closed => "closed",
        Reach::Timeout => "timeout",
        Reach::NetUnreachable => "net-unreachable",
        Reach::HostUnreachable => "host-unreachable",
        Reach::NoAddress => "no-address",
    };
    word.to_owned()
}

pub(super) fn daemon(plan: &Plan) -> DaemonConfig {
    let drawn = plan.daemon;
    let base = DaemonConfig::new(plan.engine, NsId::default());
    DaemonConfig {
        icc: drawn.icc,
        ip_masq: drawn.ip_masq,
        userland_proxy: drawn.userland_proxy,
        ip6tables: base.ip6tables && drawn.ip6tables,
        ip: drawn.loopback.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ipv6: drawn.ipv6,
        fixed_cidr_v6: drawn.ipv6.then(|| "fd00:ffff::/64".parse().unwrap()),
        ..base
    }
}

/// What a disagreement is reported with.
fn report(plan: &Plan, scene: &Scene, wrong: &[String]) -> String {
    let engine = match plan.engine {
        Engine::V20_10 => "20.10",
        Engine::V29 => "29",
    };
    let containers: Vec<String> = scene
        .assigned
        .containers
        .iter()
        .map(|c| {
            let on = c.endpoints.iter().map(|e| {
                let addresses: Vec<String> = e.addresses().map(|a| a.to_string()).collect();
                format!("{} {}", e.network, addresses.join(" "))
            });
            let open = c
                .published
                .iter()
                .map(|p| format!("{}:{}->{}/{}", p.host_ip, p.host_port, p.port, p.protocol));
            format!(
                "{} {:?} {:?}",
                c.name,
                on.collect::<Vec<_>>(),
                open.collect::<Vec<_>>()
            )
        })
        .collect();
    format!(
        "engine {engine}, {:?}\n{}\n{}\n{} differences:\n{}",
        plan.daemon,
        scene.text,
        containers.join("\n"),
        wrong.len(),
        wrong[..wrong.len().min(40)].join("\n")
    )
}

/// How many projects: `VETHLAB_PROJECTS`, other ones in each run; else as many as do not hold a test run
/// up, always the same.
fn config() -> ProptestConfig {
    let said = std::env::var("VETHLAB_PROJECTS").ok();
    let said: Option<u32> = said.and_then(|count| count.parse().ok());
    let usual = if cfg!(debug_assertions) { 100 } else { 1_000 };
    ProptestConfig {
        cases: said.unwrap_or(usual),
        rng_seed: said.map_or(RngSeed::Fixed(1), |_| RngSeed::Random),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Prints each kind of disagreement that many projects show, with the smallest project that shows it.
#[test]
#[ignore = "a tool: shows many disagreements at once"]
fn hunt() {
    use proptest::strategy::ValueTree as _;
    use std::collections::BTreeMap;
    let mut runner = proptest::test_runner::TestRunner::new(config());
    let mut kinds: BTreeMap<String, (usize, String, String)> = BTreeMap::new();
    let (mut asked, mut refused, mut bad) = (0, 0, 0);
    for _ in 0..config().cases {
        let plan = plan().new_tree(&mut runner).unwrap().current();
        let Some(mut scene) = Scene::new(&plan) else {
            refused += 1;
            continue;
        };
        let (count, wrong) = scene.differences(usize::MAX);
        asked += count;
        bad += usize::from(!wrong.is_empty());
        for line in &wrong {
            let kind = kind_of(&plan, line);
            let text = report(&plan, &scene, core::slice::from_ref(line));
            let entry = kinds
                .entry(kind)
                .or_insert_with(|| (0, line.clone(), text.clone()));
            entry.0 += 1;
            if text.len() < entry.2.len() {
                entry.2 = text;
            }
        }
    }
    println!("asked {asked}, refused {refused}, {bad} disagree");
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, (count, ..))| core::cmp::Reverse(*count));
    for (kind, (count, ..)) in &kinds {
        println!("{count:>6} {kind}");
    }
    for (kind, (count, _, text)) in kinds.iter().take(25) {
        println!("===== {count} {kind}\n{text}");
    }
}

/// A disagreement without its names and numbers.
fn kind_of(plan: &Plan, line: &str) -> String {
    let plain: String = line
        .split_whitespace()
        .map(|line_word| {
            let word = line_word.trim_matches(['[', ']', ',']);
            let socket = line_word
                .parse::<SocketAddr>()
                .map(|s| s.ip())
                .or_else(|_| word.parse());
            match socket {
                Ok(IpAddr::V4(v4)) if v4.is_loopback() => "lo4".to_owned(),
                Ok(IpAddr::V4(v4)) if v4.octets()[0] == 192 => "up4".to_owned(),
                Ok(IpAddr::V4(v4)) if v4.octets()[3] == 1 => "gw4".to_owned(),
                Ok(IpAddr::V4(_)) => "in4".to_owned(),
                Ok(IpAddr::V6(v6)) if v6.is_loopback() => "lo6".to_owned(),
                Ok(IpAddr::V6(v6)) if v6.segments()[0] == 0x2001 => "up6".to_owned(),
                Ok(IpAddr::V6(v6)) if v6.segments()[7] == 1 => "gw6".to_owned(),
                Ok(IpAddr::V6(_)) => "in6".to_owned(),
                Err(_) if word.starts_with("p-s") => "ctr".to_owned(),
                Err(_) if word.starts_with("Network(") => "Network)".to_owned(),
                Err(_) => word.to_owned(),
            }
        })
        .collect::<Vec<_>>()
        .join(" ");
    format!("{:?} {plain}", plan.engine)
}

#[test]
fn what_the_model_says_packets_do() {
    proptest!(config(), |(plan in plan())| {
        if let Some(mut scene) = Scene::new(&plan) {
            let (_, wrong) = scene.differences(usize::MAX);
            prop_assert!(wrong.is_empty(), "{}", report(&plan, &scene, &wrong));
        }
    });
}
