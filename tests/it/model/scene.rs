//! A project that runs, and every question that there is to ask of it, asked both ways: of the model, and by packets.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeSet;

use emulator_compose::{Project, Protocol};
use emulator_core::docker::spec::{Listening, Port, Proto};
use emulator_core::id::NsId;
use emulator_core::lab::Lab;
use emulator_core::lab::probe::{Answer, Question};
use emulator_core::netns::Errno;
use emulator_core::tools::Probe;
use vethlab::assigned::{engine, machine};
use vethlab::model::{
    Assigned, Container, End, Kind, Machine, Model, Outcome, Reach, Reply, Socket, Transport,
};

/// Addresses that nobody has.
const NOBODY: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(172, 18, 99, 99)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x99)),
];
/// Long enough for a neighbour request to fail.
const LIMIT: Duration = Duration::from_secs(5);
/// Between questions, so that no limit on ICMP errors is met.
const PAUSE: Duration = Duration::from_secs(2);
/// A port where nobody listens.
const CLOSED: u16 = 65_001;
/// What `host` and `lan` listen on.
const OWN: u16 = 90;

/// A project that runs, and what was assigned to it.
pub(crate) struct Scene {
    pub(crate) project: Project,
    pub(crate) lab: Lab,
    pub(crate) assigned: Assigned,
    pub(crate) machine: Machine,
}

impl Scene {
    /// Takes over a lab in which the project runs; `host` and `lan` get a program too.
    pub(crate) fn new(project: Project, mut lab: Lab, mut assigned: Assigned) -> Self {
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
        Self {
            project,
            lab,
            assigned,
            machine,
        }
    }

    /// The containers that run, those left out that only hold an address so that nobody gets it again.
    fn running(&self) -> impl Iterator<Item = &Container> {
        let all = self.assigned.containers.iter();
        all.filter(|container| container.running && container.service.is_some())
    }

    pub(crate) fn ends(&self) -> Vec<End> {
        let mut ends: Vec<End> = self
            .running()
            .map(|container| End::Container(container.name.clone()))
            .collect();
        ends.extend([End::Host, End::Lan, End::Internet]);
        ends
    }

    /// What is listened on in the namespaces that `here` picks, and a port where nobody listens.
    fn listened(&self, here: impl Fn(&End) -> bool) -> BTreeSet<(u16, bool)> {
        let sockets = self.assigned.sockets.iter();
        let ports = sockets
            .filter(|socket| here(&socket.at))
            .map(|socket| (socket.port, socket.protocol == Protocol::Udp));
        ports.chain([(CLOSED, false), (CLOSED, true)]).collect()
    }

    /// Every address and port that there is something to ask about.
    pub(crate) fn targets(&self) -> Vec<(SocketAddr, Transport)> {
        let mut targets = Vec::new();
        let mut add = |address: IpAddr, ports: &BTreeSet<(u16, bool)>| {
            targets.push((SocketAddr::new(address, 0), Transport::Icmp));
            for &(port, udp) in ports {
                let transport = if udp { Transport::Udp } else { Transport::Tcp };
                targets.push((SocketAddr::new(address, port), transport));
            }
        };
        let ns = |end: &End| match end {
            End::Container(name) => self.lab.namespace(name),
            End::Host => Some(self.lab.places().host),
            End::Lan | End::Internet => None,
        };
        for container in self.running() {
            // Whoever joined it listens there too.
            let own = self.lab.namespace(&container.name);
            let mut inner = self.listened(|at| ns(at) == own);
            inner.extend(
                container
                    .published
                    .iter()
                    .map(|p| (p.port, p.protocol == Protocol::Udp)),
            );
            let mut endpoints = container.endpoints.iter();
            // What listens elsewhere is closed here, as an example.
            inner.extend(
                self.assigned
                    .sockets
                    .first()
                    .map(|socket| (socket.port, false)),
            );
            for address in endpoints.by_ref().flat_map(|endpoint| endpoint.addresses()) {
                add(address, &inner);
            }
        }
        let published = self
            .running()
            .flat_map(|container| &container.published)
            .filter(|publication| publication.host_port != 0)
            .map(|publication| (publication.host_port, publication.protocol == Protocol::Udp));
        let mut doors = self.listened(|at| ns(at) == Some(self.lab.places().host));
        doors.extend(published);
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

    /// Every question, both ways: how many, and those whose answers differ, until there are `enough`.
    pub(crate) fn differences(&mut self, enough: usize) -> (usize, Vec<String>) {
        let (ends, targets, names) = (self.ends(), self.targets(), self.all_names());
        let model = Model::new(
            &[&self.project],
            &self.assigned,
            engine(&self.lab),
            &self.machine,
        );
        let mut asking = Asking::new(&mut self.lab);
        let mut asked = 0;
        let mut wrong = Vec::new();
        for from in ends {
            let Some(ns) = asking.ns(&from) else { continue };
            for &(to, transport) in &targets {
                if wrong.len() >= enough {
                    return (asked, wrong);
                }
                let outcome = model.reach(&from, to, transport);
                let computed = outcome_text(&outcome, transport);
                let seen = asking.call(ns, to, transport);
                asked += 1;
                if computed != seen {
                    wrong.push(format!(
                        "{from} -> {to} {transport:?}: computed {computed}, packets {seen} ({:?} {:?})",
                        outcome.reason, outcome.via
                    ));
                }
            }
            if matches!(from, End::Container(_)) {
                for name in &names {
                    let computed = model.resolve(&from, name);
                    asked += 1;
                    wrong.extend(asking.name(&model, &self.machine, &from, name, &computed));
                }
            }
        }
        (asked, wrong)
    }

    /// Every name that there is something to ask about.
    pub(crate) fn all_names(&self) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = [
            "shared",
            "other",
            "far-one",
            "gate",
            "far",
            "localhost",
            "no-such-name",
        ]
        .map(str::to_owned)
        .into();
        let with_service = |container: &&Container| container.service.is_some();
        for container in self.assigned.containers.iter().filter(with_service) {
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
}

/// The lab while it is asked.
pub(crate) struct Asking<'l> {
    pub(crate) lab: &'l mut Lab,
    /// Somebody may have been told of the last call that it came to nothing.
    told: bool,
}

impl<'l> Asking<'l> {
    pub(crate) const fn new(lab: &'l mut Lab) -> Self {
        Self { lab, told: false }
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

    pub(crate) fn call(&mut self, from: NsId, to: SocketAddr, transport: Transport) -> String {
        let question = match transport {
            Transport::Icmp => Question::Ping(to.ip()),
            Transport::Tcp => Question::Tcp(to, b""),
            Transport::Udp => Question::Udp(to, b"?"),
        };
        if self.told {
            self.lab.run_for(PAUSE);
        }
        let answer = self.lab.probe(from, &question, LIMIT);
        self.told = !matches!(answer, Answer::Open(_));
        match answer {
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

    /// Asks for a name; what is wrong with the answer.
    fn name(
        &mut self,
        model: &Model<'_>,
        machine: &Machine,
        from: &End,
        name: &str,
        computed: &[IpAddr],
    ) -> Option<String> {
        let ns = self.ns(from)?;
        let mut seen = self.lab.lookup(ns, name);
        seen.sort();
        // The router's resolver knows every name of a domain that exists.
        let forwarded = |kind| matches!(model.lookup(from, name, kind), Reply::Upstream(_));
        let upstream = computed.is_empty()
            && name.ends_with(".example")
            && (forwarded(Kind::A) || forwarded(Kind::Aaaa));
        let outside = |ip: &IpAddr| machine.internet.iter().any(|net| net.contains(ip));
        let same = if upstream {
            !seen.is_empty() && seen.iter().all(outside)
        } else {
            seen == computed
        };
        (!same).then(|| {
            format!(
                "{from} asks {name}: computed {computed:?} (upstream {upstream}), packets {seen:?}"
            )
        })
    }
}

pub(crate) fn outcome_text(outcome: &Outcome, transport: Transport) -> String {
    let word = match outcome.reach {
        Reach::Open if transport == Transport::Icmp => "ok",
        // The internet's web servers do not say who called.
        Reach::Open if outcome.by == Some(End::Internet) => "open",
        Reach::Open => match outcome.source {
            Some(source) => return format!("open src {source}"),
            // Accepted, but nobody reads.
            None => "open",
        },
        Reach::Refused => "refused",
        Reach::Closed => "closed",
        Reach::Timeout => "timeout",
        Reach::NetUnreachable => "net-unreachable",
        Reach::HostUnreachable => "host-unreachable",
        Reach::NoAddress => "no-address",
    };
    word.to_owned()
}
