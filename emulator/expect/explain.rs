//! Why an expectation does not hold, by the same mechanism as `vethlab why`: the calls that were made are the ways of
//! its question, and steps, reason, causes and changes come from there. Here is only what a sentence claims beyond that.

use core::net::IpAddr;

use emulator_compose::{Images, Place, Project, Service};
use emulator_core::lab::Lab;
use emulator_model::{End, Transport};
use switch::verdict::Event;

use super::judge::{Judged, Pair, TRIALS_MAX, Trial, What};
use super::oracle::namespace;
use super::scene::{Door, Goal, Scene, protocol};
use crate::matrix::{self, Cell, How, Verdict, Way};
use crate::why::{About, Asked, Call, Cause, Change, Effect, Record, Told, Trip};

/// An explanation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Explained {
    /// One sentence.
    pub(crate) summary: String,
    /// The question and its ways, if a call was made.
    pub(crate) call: Option<Call>,
    /// What there is to say of it.
    pub(crate) told: Told,
}

/// What was seen while it was tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) record: &'a Record,
    pub(crate) events: &'a [Event],
}

/// Explains findings.
#[derive(Clone, Copy)]
pub(crate) struct Explain<'a, 'p> {
    pub(crate) judged: &'a Judged,
    pub(crate) scene: &'a Scene<'p>,
    pub(crate) images: &'a Images,
}

impl Explained {
    /// A sentence alone.
    pub(crate) fn new(summary: impl Into<String>) -> Self {
        let summary = summary.into();
        Self {
            told: Told {
                reason: summary.clone(),
                ..Told::default()
            },
            summary,
            call: None,
        }
    }

    fn causes(mut self, project: &Project, causes: Vec<(Place, String)>) -> Self {
        for (at, text) in causes {
            let cause = Cause::new(project, text, at);
            let new = cause.filter(|cause| !self.told.causes.contains(cause));
            self.told.causes.extend(new);
        }
        self
    }

    pub(crate) fn advice(mut self, text: impl Into<String>) -> Self {
        self.told.advice = Some(text.into());
        self
    }
}

impl<'p> Explain<'_, 'p> {
    /// Explains a finding; the steps of its call need the evidence.
    pub(crate) fn of(&self, what: &What, evidence: Option<Evidence<'_>>) -> Explained {
        match what.call() {
            Some((pair, trial)) => self.call(what, pair, trial, evidence),
            None => self.other(what),
        }
    }

    /// What would turn a finding, each tried: `turns` says whether the finding is gone with it.
    pub(crate) fn changes(
        &self,
        what: &What,
        turns: &mut dyn FnMut(&Project) -> bool,
    ) -> Vec<Change> {
        let Some((pair, trial)) = what.call() else {
            return Vec::new();
        };
        let cell = self.cell(pair);
        let way = trial.and_then(|trial| cell.ways.get(trial - pair.trials.start));
        let effect = match what {
            What::NotReached(_) => Effect::Opens,
            What::OtherSource(..) => Effect::Shows,
            _ => Effect::Closes,
        };
        let about = self.about(pair, &cell, way);
        about.tried(effect, &mut |project, _| turns(project))
    }

    const fn project(&self) -> &'p Project {
        self.scene.project
    }

    fn about<'b>(&'b self, pair: &'b Pair, cell: &'b Cell, way: Option<&'b Way>) -> About<'b> {
        let project = self.project();
        let from = pair.asker.service.as_deref();
        let (to, port) = match &pair.goal {
            Goal::Service(name, _, transport) => {
                let port = cell.port.zip(protocol(*transport));
                (project.service(name), port)
            }
            _ => (None, None),
        };
        About {
            project,
            images: self.images,
            asked: Asked::new(
                project,
                from.and_then(|name| project.service(name)),
                to,
                port,
            ),
            cell,
            way,
        }
    }

    fn call(
        &self,
        what: &What,
        pair: &Pair,
        trial: Option<usize>,
        evidence: Option<Evidence<'_>>,
    ) -> Explained {
        let mut cell = self.cell(pair);
        let at = trial.map(|trial| trial - pair.trials.start);
        if !matches!(what, What::NotReached(_)) && cell.verdict == Verdict::Closed {
            cell.verdict = Verdict::Open;
        }
        let way = at.and_then(|at| cell.ways.get(at));
        let trial = trial.and_then(|trial| self.judged.trials.get(trial));
        let trip = evidence
            .zip(trial)
            .zip(way)
            .and_then(|((evidence, trial), way)| {
                Some(Trip {
                    lab: evidence.lab,
                    project: self.project(),
                    ns: namespace(evidence.lab, &trial.from)?,
                    way,
                    record: evidence.record,
                    packets: evidence.record.between(trial.seen.frames.as_ref()?),
                    events: evidence.events,
                })
            });
        let told = self.about(pair, &cell, way).explained(trip.as_ref());
        let summary = match (what, trial) {
            (What::NotReached(_), _) => self.not_reached(pair, trial, &told),
            (What::OtherNetwork(_, _, wanted), Some(trial)) => {
                self.other_network(pair, trial, wanted)
            }
            (What::OtherSource(_, _, wanted), Some(trial)) => {
                self.other_source(pair, trial, wanted)
            }
            (What::OtherAnswers(..), Some(trial)) => self.other_answers(pair, trial),
            (_, Some(trial)) => self.reached(pair, trial),
            (_, None) => told.reason.clone(),
        };
        let explained = Explained {
            summary,
            call: None,
            told,
        };
        let explained = match (what, trial) {
            (What::OtherAnswers(..), Some(trial)) => {
                let alias = self.aliases(trial);
                let explained = explained.causes(self.project(), alias);
                explained.advice("give every service a name of its own")
            }
            (What::NotReached(_), Some(trial)) if self.is_stale(pair, trial) => {
                explained.advice("look the name up for each connection, not once")
            }
            _ => explained,
        };
        Explained {
            call: Some(Call { cell, way: at }),
            ..explained
        }
    }

    /// The calls of two as the ways of a question.
    fn cell(&self, pair: &Pair) -> Cell {
        let trials = &self.judged.trials[pair.trials.clone()];
        let lookup = pair.lookup.map(|at| &self.judged.lookups[at]);
        let published = trials.iter().find_map(|trial| match &trial.way.door {
            Door::Published(publication) => Some(publication.port),
            _ => None,
        });
        let (to, port, transport) = match &pair.goal {
            Goal::Service(name, port, transport) => {
                (name.clone(), published.unwrap_or(*port), *transport)
            }
            Goal::Name(name, port, transport) => (name.clone(), *port, *transport),
            Goal::Place(end, port, transport) => (end.to_string(), *port, *transport),
            Goal::Address(ip, port, transport) => (ip.to_string(), *port, *transport),
            Goal::Unknown(name) => (name.clone(), 0, Transport::Tcp),
        };
        let mut cell = Cell {
            from: self.scene.word(&pair.asker.end),
            to,
            port: (transport != Transport::Icmp).then_some(port),
            protocol: protocol(transport)
                .map_or("icmp", |p| p.as_str())
                .to_owned(),
            verdict: Verdict::Unknown,
            reason: None,
            name: lookup.map(|lookup| lookup.name.clone()),
            resolved: lookup.map(|lookup| lookup.got.clone()).unwrap_or_default(),
            ways: trials.iter().map(|trial| self.way(pair, trial)).collect(),
        };
        matrix::conclude(&mut cell);
        let is_service = matches!(pair.goal, Goal::Service(..));
        if cell.verdict == Verdict::Closed && pair.asker.service.is_none() && is_service {
            let mut doors = trials.iter().filter_map(|trial| match &trial.way.door {
                Door::Published(publication) => Some(publication.host_ip.is_loopback()),
                _ => None,
            });
            let lone = doors
                .next()
                .is_some_and(|first| first && doors.all(|other| other));
            let word = if lone {
                "loopback-only"
            } else {
                "not-published"
            };
            cell.reason = Some(word.to_owned());
        }
        cell
    }

    fn way(&self, pair: &Pair, trial: &Trial) -> Way {
        let scene = self.scene;
        let address = trial.way.to.ip();
        let gateways = scene.assigned.networks.iter();
        let mut gateways = gateways.filter(|network| network.gateways.contains(&address));
        let gateway = gateways.next().map(|network| scene.key_of(&network.name));
        let (how, network) = match &trial.way.door {
            Door::Named(_) => (
                How::Name,
                scene.network_of(address).map(|n| scene.key_of(n)),
            ),
            Door::Direct(network) => (How::Address, Some(scene.key_of(network))),
            Door::Routed(network, _) => (How::Route, Some(scene.key_of(network))),
            Door::Published(_) | Door::Host if address.is_loopback() => (How::Loopback, None),
            Door::Published(_) | Door::Host => match gateway {
                Some(key) => (How::Gateway, Some(key)),
                None => (How::Host, None),
            },
            Door::Loopback => (How::Shared, None),
            Door::Written => (How::Address, gateway),
        };
        let seen = &trial.seen;
        let open = seen.reach == emulator_model::Reach::Open;
        let reason = seen.why.clone().filter(|_| !open);
        let container = pair.asker.service.is_some();
        Way {
            how,
            at: trial.way.to,
            network: network.map(str::to_owned),
            ephemeral: false,
            open,
            sees: seen.source.map(|address| matrix::Seen {
                address,
                who: self.seen(pair, address),
            }),
            // The rule guards what is not published against everybody else; a container is elsewhere.
            reason: reason.map(|word| match word.as_str() {
                "not-published" if container => "no-common-network".to_owned(),
                _ => word,
            }),
            frames: seen.frames.as_ref().and_then(|range| {
                (range.start < range.end).then_some([range.start, range.end - 1])
            }),
        }
    }

    /// Whose address the server saw, in the words of a matrix.
    fn seen(&self, pair: &Pair, address: IpAddr) -> String {
        let scene = self.scene;
        let own = match &pair.asker.end {
            End::Container(name) => {
                let container = scene.assigned.container(name);
                let endpoints = container.map(|c| &scene.owner(c).endpoints);
                let mut endpoints = endpoints.into_iter().flatten();
                endpoints.any(|endpoint| endpoint.addresses().any(|own| own == address))
            }
            End::Lan => scene.machine.lan.contains(&address),
            End::Internet => scene.machine.internet_own.contains(&address),
            End::Host => scene.host_addresses(&pair.asker).contains(&address),
        };
        let mut gateways = scene.assigned.networks.iter();
        let gateway = gateways.find(|network| network.gateways.contains(&address));
        match gateway {
            _ if own || address.is_loopback() => "client".to_owned(),
            Some(network) => format!("gateway({})", scene.key_of(&network.name)),
            None if scene.machine.uplink.iter().any(|net| net.addr() == address) => {
                "host".to_owned()
            }
            None => "other".to_owned(),
        }
    }

    fn not_reached(&self, pair: &Pair, trial: Option<&Trial>, told: &Told) -> String {
        let (from, goal) = (self.scene.word(&pair.asker.end), &pair.goal);
        if let (Some(trial), Goal::Service(name, ..)) = (trial, goal)
            && self.is_stale(pair, trial)
        {
            let to = trial.way.to;
            return format!("{from} calls {to} for {name}, an address which {name} does not have");
        }
        format!("{from} does not reach {goal}: {}", inner(&told.reason))
    }

    /// The name gave an address that nobody of the target has: it was kept.
    fn is_stale(&self, pair: &Pair, trial: &Trial) -> bool {
        let (Goal::Service(name, ..), Door::Named(_)) = (&pair.goal, &trial.way.door) else {
            return false;
        };
        let holder = self.scene.assigned.holder(trial.way.to.ip());
        !holder.is_some_and(|holder| {
            let mut containers = self.scene.containers(name);
            containers.any(|container| self.scene.owner(container).name == holder.name)
        })
    }

    fn reached(&self, pair: &Pair, trial: &Trial) -> String {
        let (from, goal) = (self.scene.word(&pair.asker.end), &pair.goal);
        let at = match trial.transport {
            Transport::Icmp => trial.way.to.ip().to_string(),
            _ => trial.way.to.to_string(),
        };
        let network = self.scene.network_of(trial.way.to.ip());
        let network = network.map_or("a network", |network| self.scene.key_of(network));
        match &trial.way.door {
            Door::Published(_) => format!("{from} reaches {goal} at {at}, where it is published"),
            Door::Host => format!("{from} reaches {goal} at {at}, an address of the host"),
            Door::Loopback => format!("{from} reaches {goal}: they live in one namespace"),
            Door::Named(_) if matches!(goal, Goal::Service(..)) => {
                format!("{from} reaches {goal} by name, at {at} on {network}")
            }
            Door::Direct(_) => format!("{from} reaches {goal} at {at} on {network}"),
            Door::Routed(_, route) => format!(
                "{from} reaches {goal} at {at} on {network} via a route that it adds: {} via {}",
                route.to, route.via
            ),
            Door::Named(_) | Door::Written => format!("{from} reaches {goal} at {at}"),
        }
    }

    fn other_network(&self, pair: &Pair, trial: &Trial, wanted: &str) -> String {
        let (from, goal) = (self.scene.word(&trial.from), &pair.goal);
        let network = self.scene.network_of(trial.way.to.ip());
        let through = match (&trial.way.door, network) {
            (Door::Published(_) | Door::Host, _) | (_, None) => "an address of the host",
            (_, Some(network)) => self.scene.key_of(network),
        };
        format!("{from} reaches {goal} through {through} as well, not only {wanted}")
    }

    fn other_source(&self, pair: &Pair, trial: &Trial, wanted: &str) -> String {
        let seen = match trial.seen.source {
            Some(address) => self.who(address),
            None => "nothing".to_owned(),
        };
        let from = self.scene.word(&trial.from);
        format!("when {from} calls, {} sees {seen}, not {wanted}", pair.goal)
    }

    fn other_answers(&self, pair: &Pair, trial: &Trial) -> String {
        let from = self.scene.word(&trial.from);
        let whose = self.who(trial.way.to.ip());
        let name = match &trial.way.door {
            Door::Named(name) => name.as_str(),
            _ => "it",
        };
        format!(
            "when {from} asks for {}, the name {name} also leads to {whose}",
            pair.goal
        )
    }

    /// Who else has the name that was asked for.
    fn aliases(&self, trial: &Trial) -> Vec<(Place, String)> {
        let Door::Named(name) = &trial.way.door else {
            return Vec::new();
        };
        let services = self.project().services.iter();
        let aliases = services.flat_map(|service| {
            let aliases = service.networks.iter().flat_map(|member| &member.aliases);
            let same = aliases.filter(|alias| alias.value == *name);
            same.map(|alias| (alias.at, format!("{} has this alias", service.name)))
        });
        aliases.collect()
    }

    /// An address and whose it is.
    fn who(&self, address: IpAddr) -> String {
        let mut gateways = self.scene.assigned.networks.iter();
        let gateway = gateways
            .find(|network| network.gateways.contains(&address))
            .map(|network| format!("the gateway of {}", self.scene.key_of(&network.name)));
        let holder = self.scene.assigned.holder(address);
        let holder = holder.map(|c| self.scene.word(&End::Container(c.name.clone())));
        match gateway.or(holder) {
            Some(whose) => format!("{address} ({whose})"),
            None => address.to_string(),
        }
    }
}

/// A sentence in the middle of another.
fn inner(sentence: &str) -> String {
    let starts = ["A ", "Containers ", "Docker's ", "Nobody ", "The "];
    if !starts.iter().any(|start| sentence.starts_with(start)) {
        return sentence.to_owned();
    }
    let mut chars = sentence.chars();
    let first = chars.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

/// Findings that are about no call.
impl<'p> Explain<'_, 'p> {
    fn other(&self, what: &What) -> Explained {
        match what {
            What::NotListening { goal } => self.not_listening(goal),
            What::NotRunning { service } => self.not_running(service),
            What::NobodyAsks => Explained::new("there is no container that could ask")
                .advice("name services that run, or take the expectation out"),
            What::UnknownPort { service } => self.unknown_port(service),
            What::Resolves { lookup, wanted } => self.resolves(*lookup, wanted),
            What::NoSuchName { name } => Explained::new(format!("nobody knows the name {name}"))
                .advice("that it does not resolve says nothing; is it misspelt?"),
            _ => Explained::new(format!("it stands for more than {TRIALS_MAX} calls"))
                .advice("name fewer services at once"),
        }
    }

    fn at(&self, explained: Explained, service: Option<&Service>, text: &str) -> Explained {
        let causes = service.map(|service| (service.at, text.to_owned()));
        explained.causes(self.project(), causes.into_iter().collect())
    }

    fn not_listening(&self, goal: &Goal) -> Explained {
        let (Goal::Service(name, port, transport), project) = (goal, self.project()) else {
            return Explained::new(format!(
                "nobody answers {goal} even where nothing is in the way"
            ))
            .advice(
                "reached or not, that says nothing of the network: `host` and `lan` answer a ping, `internet` on 443 as well",
            );
        };
        let listens = self.scene.listens.get(name.as_str());
        let known: Vec<String> = listens
            .into_iter()
            .flatten()
            .map(|listen| match listen.protocol {
                emulator_compose::Protocol::Tcp => {
                    format!("{} ({})", listen.port, listen.known.word())
                }
                other => format!("{}/{other} ({})", listen.port, listen.known.word()),
            })
            .collect();
        let port = match transport {
            Transport::Tcp => port.to_string(),
            Transport::Udp => format!("\"{port}/udp\""),
            Transport::Icmp => return Explained::new(format!("{name} does not answer a ping")),
        };
        let explained = Explained::new(format!(
            "{name} is not known to listen on {}: it listens on {}",
            port.trim_matches('"'),
            list(&known)
        ));
        self.at(
            explained,
            project.service(name),
            "nothing here states that port",
        )
        .advice(format!(
            "if it does, say so: x-vethlab: {{listen: [{port}]}} (with all its other ports)"
        ))
    }

    fn not_running(&self, service: &str) -> Explained {
        let explained = Explained::new(match self.scene.failed.get(service) {
            Some(error) => format!("{service} does not start: {error}"),
            None => format!("{service} does not run then"),
        });
        self.at(explained, self.project().service(service), "this service")
    }

    fn unknown_port(&self, service: &str) -> Explained {
        let explained = Explained::new(format!("nobody states a port that {service} listens on"));
        let text = "no expose, ports, health check or known image";
        self.at(explained, self.project().service(service), text)
            .advice("say so: x-vethlab: {listen: [PORT]}")
    }

    fn resolves(&self, lookup: usize, wanted: &str) -> Explained {
        let lookup = &self.judged.lookups[lookup];
        let from = self.scene.word(&lookup.from);
        let got: Vec<String> = lookup
            .got
            .iter()
            .map(|&address| match self.scene.network_of(address) {
                Some(network) => format!("{address} on {}", self.scene.key_of(network)),
                None => address.to_string(),
            })
            .collect();
        let summary = format!("{} gives {from} {}, not {wanted}", lookup.name, list(&got));
        let client = match &lookup.from {
            End::Container(name) => self.scene.assigned.container(name),
            _ => None,
        };
        let client = client.and_then(|container| self.scene.service_of(container));
        let named = self.project().service(&lookup.name);
        let members = client.into_iter().chain(named).flat_map(|service| {
            let networks = service.networks.iter();
            networks.map(|member| (member.at, format!("{} is on {}", service.name, member.key)))
        });
        Explained::new(summary).causes(self.project(), members.collect())
    }
}

fn list(words: &[String]) -> String {
    match words {
        [] => "nothing".to_owned(),
        all => all.join(", "),
    }
}
