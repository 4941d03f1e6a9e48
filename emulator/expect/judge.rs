//! An expectation put to an oracle: the questions, the answers, and what follows from them.
//!
//! One judge for packets and model, so that the two differ in their answers only. A container asks by name, and
//! takes whichever address answers; whoever has no names asks where the port is published. That something is
//! forbidden is tried by every way there is: by name, at each of the target's addresses, at its published ports.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::Range;
use std::collections::BTreeMap;

use emulator_compose::{Claim, Event, Expectation, NetworkMode, Party, Sees, Target, Verdict};
use emulator_model::{End, Reach, Transport};

use super::oracle::{Oracle, Seen};
use super::scene::{Asker, Door, Goal, INTERNET_NAME, Scene, Way};
use crate::report::Status;

/// How many calls one expectation may stand for, about.
pub(crate) const TRIALS_MAX: usize = 1 << 20;

/// The addresses that each end got for each name before something happened.
pub(crate) type Kept = BTreeMap<(End, String), Vec<IpAddr>>;

/// A name that was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lookup {
    pub(crate) from: End,
    pub(crate) name: String,
    pub(crate) got: Vec<IpAddr>,
}

/// A call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(crate) from: End,
    pub(crate) way: Way,
    pub(crate) transport: Transport,
    pub(crate) seen: Seen,
}

/// Why an expectation does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Somebody should get there and does not, by any of these calls.
    NotReached {
        asker: Asker,
        goal: Goal,
        lookup: Option<usize>,
        trials: Range<usize>,
    },
    /// Somebody should not get there and does, by this call.
    Reached {
        asker: Asker,
        goal: Goal,
        trial: usize,
    },
    /// It works, but not through that network only.
    OtherNetwork {
        goal: Goal,
        wanted: String,
        trial: usize,
    },
    /// It works, but the server sees another address.
    OtherSource {
        goal: Goal,
        wanted: String,
        trial: usize,
    },
    /// The name also leads to somebody else.
    OtherAnswers { goal: Goal, trial: usize },
    /// The target's program does not take calls in its own namespace.
    NotListening { goal: Goal },
    /// A service has no container that runs.
    NotRunning { service: String },
    /// There is nobody who could ask.
    NobodyAsks,
    /// Nobody states a port of this service.
    UnknownPort { service: String },
    /// A name gives something else.
    Resolves { lookup: usize, wanted: String },
    /// A name that nobody has.
    NoSuchName { name: String },
    /// It stands for more calls than are made.
    TooMuch,
}

impl What {
    /// The call that it is about.
    pub(crate) fn trial(&self) -> Option<usize> {
        match self {
            Self::Reached { trial, .. }
            | Self::OtherNetwork { trial, .. }
            | Self::OtherSource { trial, .. }
            | Self::OtherAnswers { trial, .. } => Some(*trial),
            Self::NotReached { trials, .. } => trials.clone().next(),
            _ => None,
        }
    }

    /// Who asks.
    pub(crate) fn asker<'a>(&'a self, judged: &'a Judged) -> Option<&'a End> {
        match self {
            Self::NotReached { asker, .. } | Self::Reached { asker, .. } => Some(&asker.end),
            Self::Resolves { lookup, .. } => judged.lookups.get(*lookup).map(|lookup| &lookup.from),
            _ => judged.trials.get(self.trial()?).map(|trial| &trial.from),
        }
    }
}

/// A finding and what it makes of the expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) status: Status,
    pub(crate) what: What,
}

/// An expectation as one oracle sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) findings: Vec<Finding>,
    pub(crate) lookups: Vec<Lookup>,
    pub(crate) trials: Vec<Trial>,
}

impl Judged {
    /// The worst of what was found.
    pub(crate) fn status(&self) -> Status {
        let worst = [Status::Fail, Status::Vacuous, Status::Unknown];
        worst
            .into_iter()
            .find(|&status| self.findings.iter().any(|finding| finding.status == status))
            .unwrap_or(Status::Pass)
    }

    /// The first finding of the worst kind.
    pub(crate) fn worst(&self) -> Option<&Finding> {
        let status = self.status();
        self.findings
            .iter()
            .find(|finding| finding.status == status)
    }
}

/// Puts an expectation to an oracle. `others` answers for names that are not the oracle's to tell; `kept` are the
/// answers from before the events, for clients that keep theirs.
pub(crate) fn judge(
    expectation: &Expectation,
    scene: &Scene<'_>,
    oracle: &mut dyn Oracle,
    kept: &Kept,
    others: &Kept,
) -> Judged {
    let mut judge = Judge {
        scene,
        oracle,
        kept: expectation.resolve_once.then_some(kept),
        others,
        events: &expectation.when,
        asked: 0,
        out: Judged::default(),
    };
    judge.claim(&expectation.claim);
    if judge.asked == 0 && judge.out.findings.is_empty() {
        judge.find(Status::Vacuous, What::NobodyAsks);
    }
    judge.out
}

struct Judge<'a, 'p> {
    scene: &'a Scene<'p>,
    oracle: &'a mut dyn Oracle,
    kept: Option<&'a Kept>,
    others: &'a Kept,
    events: &'a [Event],
    /// How many pairs, or names, were tried.
    asked: usize,
    out: Judged,
}

/// What an allowed call has to be besides open.
#[derive(Clone, Copy)]
struct Terms<'a> {
    via: Option<&'a str>,
    sees: Option<Sees>,
}

impl Judge<'_, '_> {
    fn find(&mut self, status: Status, what: What) {
        let finding = Finding { status, what };
        if !self.out.findings.contains(&finding) {
            self.out.findings.push(finding);
        }
    }

    fn claim(&mut self, claim: &Claim) {
        let open = Terms {
            via: None,
            sees: None,
        };
        match claim {
            Claim::Reach {
                from,
                to,
                verdict,
                via,
                sees,
            } => {
                let terms = Terms {
                    via: via.as_deref(),
                    sees: *sees,
                };
                for goal in self.goals(to) {
                    for party in from {
                        let any = *party == Party::Any;
                        let verdict = (*verdict == Verdict::Allow).then_some(terms);
                        self.party(party, &goal, verdict, any);
                    }
                }
            }
            Claim::Only { from, to } => {
                for goal in self.goals(to) {
                    for party in from {
                        self.party(party, &goal, Some(open), false);
                    }
                    for party in self.all_but(from) {
                        self.party(&party, &goal, None, true);
                    }
                }
            }
            Claim::Resolves {
                from,
                name,
                count,
                on,
            } => {
                for party in from {
                    for asker in self.scene.askers(party) {
                        self.resolves(&asker, name, *count, on.as_deref());
                    }
                }
            }
        }
    }

    fn goals(&self, to: &[Target]) -> Vec<Goal> {
        to.iter()
            .flat_map(|target| self.scene.goals(target))
            .collect()
    }

    /// The services and places that are none of these; the host, and who lives in its namespace, is left out.
    fn all_but(&self, from: &[Party]) -> Vec<Party> {
        let services = self.scene.project.services.iter();
        let services = services.filter(|service| service.network_mode != NetworkMode::Host);
        let containers = services.map(|service| Party::Service(service.name.clone()));
        let every = from.contains(&Party::Any);
        containers
            .filter(|_| !every)
            .chain([Party::Lan, Party::Internet])
            .filter(|party| !from.contains(party))
            .collect()
    }

    /// `terms`: it is allowed, on these; else it is forbidden. `others`: the target's own containers, and services
    /// that do not run, are not meant.
    fn party(&mut self, party: &Party, goal: &Goal, terms: Option<Terms<'_>>, others: bool) {
        if let Goal::Unknown(service) = goal {
            self.find(
                Status::Unknown,
                What::UnknownPort {
                    service: service.clone(),
                },
            );
            return;
        }
        let own = match goal {
            Goal::Service(service, ..) => Some(service.as_str()),
            _ => None,
        };
        let mut askers = self.scene.askers(party);
        if others {
            askers.retain(|asker| {
                self.runs(asker) && (own.is_none() || asker.service.as_deref() != own)
            });
        } else if let Party::Service(service) = party
            && !askers.iter().any(|asker| self.runs(asker))
        {
            let status = if terms.is_some() {
                Status::Fail
            } else {
                Status::Vacuous
            };
            let service = service.clone();
            self.find(status, What::NotRunning { service });
            return;
        }
        askers.retain(|asker| self.runs(asker));
        for asker in &askers {
            if self.out.trials.len() >= TRIALS_MAX {
                return self.find(Status::Fail, What::TooMuch);
            }
            self.asked += 1;
            match terms {
                Some(terms) => self.allowed(asker, goal, terms),
                None => self.forbidden(asker, goal),
            }
        }
    }

    fn runs(&self, asker: &Asker) -> bool {
        match &asker.end {
            End::Container(name) => {
                let container = self.scene.assigned.container(name);
                container.is_some_and(|container| container.running)
            }
            _ => true,
        }
    }

    fn allowed(&mut self, asker: &Asker, goal: &Goal, terms: Terms<'_>) {
        let (lookup, ways) = self.usual_ways(asker, goal);
        let trials = self.try_all(asker, goal, &ways);
        let open: Vec<usize> = trials.clone().filter(|&at| self.is_open(at)).collect();
        let Some(&first) = open.first() else {
            let what = match self.target(goal) {
                Some(missing) => missing,
                None => What::NotReached {
                    asker: asker.clone(),
                    goal: goal.clone(),
                    lookup,
                    trials,
                },
            };
            return self.find(Status::Fail, what);
        };
        for &trial in &open {
            if self.is_somebody_elses(trial, goal) {
                let goal = goal.clone();
                self.find(Status::Fail, What::OtherAnswers { goal, trial });
            }
            if let Some(wanted) = terms.via
                && !self.is_on(trial, wanted)
            {
                let (goal, wanted) = (goal.clone(), wanted.to_owned());
                self.find(
                    Status::Fail,
                    What::OtherNetwork {
                        goal,
                        wanted,
                        trial,
                    },
                );
            }
        }
        if let Some(sees) = terms.sees
            && let Some(wanted) = self.sees_other(asker, goal, sees, first)
        {
            let goal = goal.clone();
            self.find(
                Status::Fail,
                What::OtherSource {
                    goal,
                    wanted,
                    trial: first,
                },
            );
        }
    }

    fn forbidden(&mut self, asker: &Asker, goal: &Goal) {
        let ways = self.every_way(asker, goal);
        let trials = self.try_all(asker, goal, &ways);
        let open: Vec<usize> = trials.filter(|&at| self.is_open(at)).collect();
        for &trial in &open {
            let (asker, goal) = (asker.clone(), goal.clone());
            self.find(Status::Fail, What::Reached { asker, goal, trial });
        }
        if open.is_empty()
            && let Some(missing) = self.target(goal)
        {
            self.find(Status::Vacuous, missing);
        }
    }

    fn is_open(&self, trial: usize) -> bool {
        self.out.trials[trial].seen.reach == Reach::Open
    }

    fn try_all(&mut self, asker: &Asker, goal: &Goal, ways: &[Way]) -> Range<usize> {
        let transport = goal.transport();
        let first = self.out.trials.len();
        for way in ways {
            let seen = self.oracle.reach(&asker.end, way.to, transport);
            self.out.trials.push(Trial {
                from: asker.end.clone(),
                way: way.clone(),
                transport,
                seen,
            });
        }
        first..self.out.trials.len()
    }

    /// Whom a name leads to now, or led to before the events for who keeps what it got.
    fn look_up(&mut self, asker: &Asker, name: &str) -> usize {
        let key = (asker.end.clone(), name.to_owned());
        let mut events = self.events.iter();
        let renewed = events.any(|event| asker.service.as_deref() == Some(event.service()));
        let kept = self
            .kept
            .filter(|_| !renewed)
            .and_then(|kept| kept.get(&key));
        let got = match kept {
            Some(got) => got.clone(),
            None => match self.oracle.lookup(&asker.end, name) {
                Some(got) => got,
                None => self.others.get(&key).cloned().unwrap_or_default(),
            },
        };
        self.out.lookups.push(Lookup {
            from: asker.end.clone(),
            name: name.to_owned(),
            got,
        });
        self.out.lookups.len() - 1
    }

    fn named(&mut self, asker: &Asker, name: &str, ports: &[u16]) -> (usize, Vec<Way>) {
        let lookup = self.look_up(asker, name);
        let got = &self.out.lookups[lookup].got;
        let ways = got.iter().flat_map(|&address| {
            ports.iter().map(move |&port| Way {
                to: SocketAddr::new(address, port),
                door: Door::Named(name.to_owned()),
            })
        });
        (lookup, ways.collect())
    }

    /// The ways that a client takes that wants to get there.
    fn usual_ways(&mut self, asker: &Asker, goal: &Goal) -> (Option<usize>, Vec<Way>) {
        let container = matches!(asker.end, End::Container(_));
        match goal {
            Goal::Service(service, asked, transport) => {
                let ports = self.scene.ports(asker, service, *asked, *transport);
                let mut ways: Vec<Way> = ports
                    .iter()
                    .flat_map(|&port| self.scene.ways(asker, service, port, *transport))
                    .collect();
                if container {
                    ways.retain(|way| matches!(way.door, Door::Loopback | Door::Host));
                    let (lookup, mut named) = self.named(asker, service, &ports);
                    named.append(&mut ways);
                    return (Some(lookup), named);
                }
                let is_door = |way: &Way| matches!(way.door, Door::Published(_) | Door::Host);
                if asker.end != End::Host && ways.iter().any(is_door) {
                    ways.retain(is_door);
                }
                (None, ways)
            }
            Goal::Place(End::Internet, port, _) if container || asker.end == End::Host => {
                let (lookup, ways) = self.named(asker, INTERNET_NAME, &[*port]);
                (Some(lookup), ways)
            }
            Goal::Name(name, port, _) if container || asker.end == End::Host => {
                let (lookup, ways) = self.named(asker, name, &[*port]);
                (Some(lookup), ways)
            }
            _ => (None, self.other_ways(asker, goal)),
        }
    }

    /// Every way there is.
    fn every_way(&mut self, asker: &Asker, goal: &Goal) -> Vec<Way> {
        let container = matches!(asker.end, End::Container(_));
        let mut ways = match goal {
            Goal::Service(service, asked, transport) => {
                let ports = self.scene.ports(asker, service, *asked, *transport);
                let mut ways = Vec::new();
                if container {
                    ways = self.named(asker, service, &ports).1;
                    // A client that keeps what it got knows of no other address.
                    if self.kept.is_some() {
                        return ways;
                    }
                }
                for port in ports {
                    ways.extend(self.scene.ways(asker, service, port, *transport));
                }
                ways
            }
            _ => {
                let mut ways = self.usual_ways(asker, goal).1;
                ways.extend(self.other_ways(asker, goal));
                ways
            }
        };
        let mut seen = Vec::new();
        ways.retain(|way| {
            let new = !seen.contains(&way.to);
            seen.push(way.to);
            new
        });
        ways
    }

    /// The ways to what is no service, names left out.
    fn other_ways(&mut self, asker: &Asker, goal: &Goal) -> Vec<Way> {
        let written = |address: IpAddr, port: u16| Way {
            to: SocketAddr::new(address, port),
            door: Door::Written,
        };
        match goal {
            Goal::Place(place, port, _) => self.scene.place_ways(asker, place, *port),
            Goal::Address(address, port, _) => vec![written(*address, *port)],
            Goal::Name(name, port, _) => {
                let got = self.holders(name);
                got.iter().map(|&address| written(address, *port)).collect()
            }
            Goal::Service(..) | Goal::Unknown(_) => Vec::new(),
        }
    }

    /// What a name gives to anybody of the project, or to the host.
    fn holders(&mut self, name: &str) -> Vec<IpAddr> {
        let mut ends: Vec<End> = self
            .scene
            .askers(&Party::Any)
            .into_iter()
            .map(|asker| asker.end)
            .collect();
        ends.push(End::Host);
        let mut all: Vec<IpAddr> = Vec::new();
        for end in ends {
            let got = match self.oracle.lookup(&end, name) {
                Some(got) => got,
                None => {
                    let key = (end, name.to_owned());
                    self.others.get(&key).cloned().unwrap_or_default()
                }
            };
            all.extend(got);
        }
        all.sort_by_key(|address| (address.is_ipv6(), *address));
        all.dedup();
        all
    }

    /// What is wrong with a target itself: nobody runs, or its program does not take calls where nothing is in the
    /// way. Asked in this very run.
    fn target(&mut self, goal: &Goal) -> Option<What> {
        let listening = match goal {
            Goal::Service(service, asked, transport) => {
                let containers: Vec<String> = self
                    .scene
                    .containers(service)
                    .filter(|container| container.running)
                    .map(|container| container.name.clone())
                    .collect();
                if containers.is_empty() {
                    let service = service.clone();
                    return Some(What::NotRunning { service });
                }
                // As everybody means it who is no container, or as containers do.
                let host = Asker {
                    end: End::Host,
                    service: None,
                };
                let mut ports = self.scene.ports(&host, service, *asked, *transport);
                ports.push(*asked);
                containers.iter().all(|name| {
                    let end = End::Container(name.clone());
                    ports
                        .iter()
                        .any(|&port| self.takes(&end, service, port, *transport))
                })
            }
            Goal::Place(place, port, transport) => self.takes_at(place, None, *port, *transport),
            Goal::Address(address, port, transport) => self.held(*address, *port, *transport),
            Goal::Name(name, port, transport) => {
                let all = self.holders(name);
                if all.is_empty() {
                    let name = name.clone();
                    return Some(What::NoSuchName { name });
                }
                all.into_iter()
                    .all(|address| self.held(address, *port, *transport))
            }
            Goal::Unknown(_) => true,
        };
        (!listening).then(|| What::NotListening { goal: goal.clone() })
    }

    /// Whether a container's program answers on one of its sockets of that port in its own namespace.
    fn takes(&mut self, end: &End, service: &str, port: u16, transport: Transport) -> bool {
        let sockets = self.scene.sockets(service, port, transport);
        let addresses: Vec<Option<IpAddr>> = sockets.iter().map(|socket| socket.address).collect();
        if transport == Transport::Icmp {
            return self.takes_at(end, None, port, transport);
        }
        addresses
            .into_iter()
            .any(|address| self.takes_at(end, address, port, transport))
    }

    fn takes_at(
        &mut self,
        end: &End,
        address: Option<IpAddr>,
        port: u16,
        transport: Transport,
    ) -> bool {
        let own = match address {
            Some(IpAddr::V6(any)) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            Some(bound) if !bound.is_unspecified() => bound,
            _ => Ipv4Addr::LOCALHOST.into(),
        };
        let seen = self
            .oracle
            .reach(end, SocketAddr::new(own, port), transport);
        seen.reach == Reach::Open
    }

    /// Whether whoever has an address answers there when it asks itself.
    fn held(&mut self, address: IpAddr, port: u16, transport: Transport) -> bool {
        let end = match self.scene.assigned.holder(address) {
            Some(container) => End::Container(container.name.clone()),
            None if self.scene.machine.lan.contains(&address) => End::Lan,
            None if self
                .scene
                .machine
                .internet
                .iter()
                .any(|net| net.contains(&address)) =>
            {
                End::Internet
            }
            None => End::Host,
        };
        let seen = self
            .oracle
            .reach(&end, SocketAddr::new(address, port), transport);
        seen.reach == Reach::Open
    }

    /// The name gave an address of somebody who is not meant.
    fn is_somebody_elses(&self, trial: usize, goal: &Goal) -> bool {
        let (Goal::Service(service, ..), way) = (goal, &self.out.trials[trial].way) else {
            return false;
        };
        if !matches!(way.door, Door::Named(_)) {
            return false;
        }
        let Some(holder) = self.scene.assigned.holder(way.to.ip()) else {
            return true;
        };
        !self
            .scene
            .containers(service)
            .any(|target| self.scene.owner(target).name == holder.name)
    }

    /// Whether a call went over the network with this key.
    fn is_on(&self, trial: usize, key: &str) -> bool {
        let way = &self.out.trials[trial].way;
        let direct = matches!(way.door, Door::Named(_) | Door::Direct(_) | Door::Written);
        let network = self.scene.network_of(way.to.ip());
        direct && network.is_some_and(|network| self.scene.key_of(network) == key)
    }

    /// What the server should see, if it sees something else.
    fn sees_other(&self, asker: &Asker, goal: &Goal, sees: Sees, trial: usize) -> Option<String> {
        let source = self.out.trials[trial].seen.source;
        let scene = self.scene;
        let (wanted, fits) = match sees {
            Sees::Address(address) => (address.to_string(), source == Some(address)),
            Sees::Client => {
                let own: Vec<IpAddr> = match &asker.end {
                    End::Container(name) => {
                        let container = scene.assigned.container(name);
                        let endpoints = container.map(|c| &scene.owner(c).endpoints);
                        let endpoints = endpoints.into_iter().flatten();
                        endpoints
                            .flat_map(|endpoint| endpoint.addresses())
                            .collect()
                    }
                    End::Lan => scene.machine.lan.clone(),
                    End::Internet => scene.machine.internet_own.clone(),
                    End::Host => scene.host_addresses(asker),
                };
                let fits = source.is_some_and(|source| own.contains(&source));
                ("the client".to_owned(), fits)
            }
            Sees::Gateway => {
                let own = match goal {
                    Goal::Service(service, ..) => service.as_str(),
                    _ => "",
                };
                let networks: Vec<&str> = scene
                    .containers(own)
                    .flat_map(|target| &scene.owner(target).endpoints)
                    .map(|endpoint| endpoint.network.as_str())
                    .collect();
                let gateways = scene
                    .assigned
                    .networks
                    .iter()
                    .filter(|network| networks.contains(&network.name.as_str()))
                    .flat_map(|network| &network.gateways);
                let fits = gateways.copied().any(|gateway| source == Some(gateway));
                ("a gateway".to_owned(), fits)
            }
        };
        (!fits).then_some(wanted)
    }

    fn resolves(&mut self, asker: &Asker, name: &str, count: Option<u32>, on: Option<&str>) {
        if !self.runs(asker) {
            let service = asker.service.clone().unwrap_or_default();
            let status = if count == Some(0) {
                Status::Vacuous
            } else {
                Status::Fail
            };
            return self.find(status, What::NotRunning { service });
        }
        self.asked += 1;
        let lookup = self.look_up(asker, name);
        let got = self.out.lookups[lookup].got.clone();
        let is_on = |address: &IpAddr| {
            on.is_none_or(|key| {
                let network = self.scene.network_of(*address);
                network.is_some_and(|network| self.scene.key_of(network) == key)
            })
        };
        let fitting = got.iter().filter(|address| is_on(address)).count();
        let fits = match count {
            Some(0) => fitting == 0,
            Some(n) => got.len() == n as usize && fitting == got.len(),
            None => !got.is_empty() && fitting == got.len(),
        };
        if !fits {
            let number = match count {
                Some(0) => "no address".to_owned(),
                Some(1) => "1 address".to_owned(),
                Some(n) => format!("{n} addresses"),
                None => "an address".to_owned(),
            };
            let wanted = match on {
                Some(on) => format!("{number} on {on}"),
                None => number,
            };
            return self.find(Status::Fail, What::Resolves { lookup, wanted });
        }
        // Who is down, or not up yet, has no name for anybody.
        let away = |event: &Event| matches!(event, Event::Down(_) | Event::BeforeUp(_));
        let away = self.events.iter().any(away);
        if count == Some(0) && on.is_none() && !away && self.holders(name).is_empty() {
            let name = name.to_owned();
            self.find(Status::Vacuous, What::NoSuchName { name });
        }
    }
}

impl Goal {
    const fn transport(&self) -> Transport {
        match self {
            Self::Service(_, _, transport)
            | Self::Place(_, _, transport)
            | Self::Address(_, _, transport)
            | Self::Name(_, _, transport) => *transport,
            Self::Unknown(_) => Transport::Tcp,
        }
    }
}
