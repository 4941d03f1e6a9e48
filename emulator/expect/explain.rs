//! Why an expectation does not hold: one sentence, the lines of the files that cause it, and what would change it.
//!
//! This is the one place that turns a finding into an explanation; a longer one, step by step, begins here too.

use core::net::IpAddr;

use emulator_compose::{NetworkMode, Place, Project, Service};
use emulator_model::{End, Reach, Transport};

use super::judge::{Judged, TRIALS_MAX, Trial, What};
use super::scene::{Asker, Door, Goal, Scene};

/// An explanation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Explained {
    /// One sentence.
    pub(crate) summary: String,
    /// The lines that cause it, each with what it does.
    pub(crate) causes: Vec<(Place, String)>,
    /// What would change it.
    pub(crate) fix: Option<String>,
}

impl Explained {
    fn new(summary: impl Into<String>) -> Self {
        Self {
            summary: summary.into(),
            ..Self::default()
        }
    }

    fn cause(mut self, at: Place, text: impl Into<String>) -> Self {
        let cause = (at, text.into());
        if !self.causes.contains(&cause) {
            self.causes.push(cause);
        }
        self
    }

    fn causes(self, causes: impl IntoIterator<Item = (Place, String)>) -> Self {
        let mut all = self;
        for (at, text) in causes {
            all = all.cause(at, text);
        }
        all
    }

    fn fix(mut self, text: impl Into<String>) -> Self {
        self.fix = Some(text.into());
        self
    }
}

/// Explains a finding.
pub(crate) fn explain(what: &What, judged: &Judged, scene: &Scene<'_>) -> Explained {
    let explain = Explain { judged, scene };
    match what {
        What::NotReached {
            asker,
            goal,
            lookup,
            trials,
        } => explain.not_reached(asker, goal, *lookup, &judged.trials[trials.clone()]),
        What::Reached { asker, goal, trial } => explain.reached(asker, goal, *trial),
        What::OtherNetwork {
            goal,
            wanted,
            trial,
        } => explain.other_network(goal, wanted, *trial),
        What::OtherSource {
            goal,
            wanted,
            trial,
        } => explain.other_source(goal, wanted, *trial),
        What::OtherAnswers { goal, trial } => explain.other_answers(goal, *trial),
        What::NotListening { goal } => explain.not_listening(goal),
        What::NotRunning { service } => explain.not_running(service),
        What::NobodyAsks => Explained::new("there is no container that could ask")
            .fix("name services that run, or take the expectation out"),
        What::UnknownPort { service } => explain.unknown_port(service),
        What::Resolves { lookup, wanted } => explain.resolves(*lookup, wanted),
        What::NoSuchName { name } => Explained::new(format!("nobody knows the name {name}"))
            .fix("that it does not resolve says nothing; is it misspelt?"),
        What::TooMuch => Explained::new(format!("it stands for more than {TRIALS_MAX} calls"))
            .fix("name fewer services at once"),
    }
}

struct Explain<'a, 'p> {
    judged: &'a Judged,
    scene: &'a Scene<'p>,
}

fn networks(keys: &[String]) -> String {
    match keys {
        [] => "no network".to_owned(),
        keys => keys.join(", "),
    }
}

fn list(words: &[String]) -> String {
    match words {
        [] => "nothing".to_owned(),
        all => all.join(", "),
    }
}

impl<'p> Explain<'_, 'p> {
    const fn project(&self) -> &'p Project {
        self.scene.project
    }

    fn service(&self, asker: &Asker) -> Option<&'p Service> {
        self.project().service(asker.service.as_deref()?)
    }

    fn goal_service(&self, goal: &Goal) -> Option<&'p Service> {
        match goal {
            Goal::Service(name, ..) => self.project().service(name),
            _ => None,
        }
    }

    /// The keys of the networks that a service is on.
    fn networks(service: &Service) -> Vec<String> {
        let networks = service.networks.iter();
        networks.map(|network| network.key.clone()).collect()
    }

    /// The lines that say which networks a service is on.
    fn memberships(&self, service: &'p Service) -> Vec<(Place, String)> {
        let name = &service.name;
        let mode = |text: &str| {
            let at = service.network_mode_at.unwrap_or(service.at);
            vec![(at, format!("{name} {text}"))]
        };
        match &service.network_mode {
            NetworkMode::Networks => {}
            NetworkMode::Bridge => {
                return mode("is on the default bridge, where nobody has a name");
            }
            NetworkMode::Host => return mode("lives in the host's namespace"),
            NetworkMode::None => return mode("is on no network"),
            NetworkMode::Service(owner) => {
                return mode(&format!("lives in the namespace of {owner}"));
            }
            NetworkMode::Container(owner) => {
                return mode(&format!("lives in the namespace of container {owner}"));
            }
            NetworkMode::Named(network) => return mode(&format!("is on {network}")),
        }
        let networks = service.networks.iter();
        networks
            .map(|member| (member.at, format!("{name} is on {}", member.key)))
            .collect()
    }

    fn share_a_network(a: &Service, b: &Service) -> Option<String> {
        let mut keys = a.networks.iter().map(|member| &member.key);
        let shared = keys.find(|key| b.networks.iter().any(|other| other.key == **key));
        shared.cloned()
    }

    fn not_reached(
        &self,
        asker: &Asker,
        goal: &Goal,
        lookup: Option<usize>,
        trials: &[Trial],
    ) -> Explained {
        let from = self.scene.word(&asker.end);
        let (client, server) = (self.service(asker), self.goal_service(goal));
        if let Some(lookup) = lookup
            && self.judged.lookups[lookup].got.is_empty()
        {
            return self.no_name(&from, client, server, &self.judged.lookups[lookup].name);
        }
        let Some(trial) = trials.first() else {
            let explained = Explained::new(format!("{from} has no way to {goal}"));
            return match server {
                Some(server) => self.not_published(explained, server, goal),
                None => explained,
            };
        };
        self.failed_call(&from, goal, server, trial)
    }

    fn no_name(
        &self,
        from: &str,
        client: Option<&'p Service>,
        server: Option<&'p Service>,
        name: &str,
    ) -> Explained {
        let (Some(client), Some(server)) = (client, server) else {
            let explained = Explained::new(format!("the name {name} does not resolve for {from}"));
            return match client {
                Some(client) => explained.causes(self.internal(client)),
                None => explained,
            };
        };
        if let NetworkMode::Service(owner) = &server.network_mode {
            return Explained::new(format!("{name} has no name of its own"))
                .causes(self.memberships(server))
                .fix(format!("call it by the name of {owner}"));
        }
        if server.network_mode == NetworkMode::Host {
            return Explained::new(format!("{name} has no name: it is on no network of the project"))
                .causes(self.memberships(server))
                .fix("call the host, for example by extra_hosts: [\"host.docker.internal:host-gateway\"]");
        }
        let explained = Explained::new(format!("the name {name} does not resolve for {from}"));
        if Self::share_a_network(client, server).is_some() {
            return explained
                .causes(self.memberships(client))
                .causes(self.memberships(server));
        }
        let (own, others) = (Self::networks(client), Self::networks(server));
        let explained = Explained::new(format!(
            "{from} and {name} have no network in common: {from} is on {}, {name} on {}",
            networks(&own),
            networks(&others)
        ));
        let explained = explained
            .causes(self.memberships(client))
            .causes(self.memberships(server));
        match others.first() {
            Some(network) if client.network_mode == NetworkMode::Networks => {
                explained.fix(format!("put {from} on {network} as well"))
            }
            _ => explained.fix(format!(
                "put {from} and {name} on one network of the project"
            )),
        }
    }

    /// The internal networks that a service is on.
    fn internal(&self, service: &Service) -> Vec<(Place, String)> {
        let keys = service.networks.iter().map(|member| &member.key);
        keys.filter_map(|key| self.project().network(key))
            .filter(|network| network.internal)
            .map(|network| (network.at, format!("{} is internal", network.key)))
            .collect()
    }

    fn failed_call(
        &self,
        from: &str,
        goal: &Goal,
        server: Option<&'p Service>,
        trial: &Trial,
    ) -> Explained {
        let to = trial.way.to;
        let why = trial.seen.why.as_deref().unwrap_or("silence");
        let at = match trial.transport {
            Transport::Icmp => to.ip().to_string(),
            _ => to.to_string(),
        };
        let explained = Explained::new(match trial.seen.reach {
            Reach::Refused => format!("{from} is refused at {at}"),
            Reach::Closed => format!("{from} is let in at {at}, and nobody is behind it"),
            Reach::NetUnreachable => format!("{from} has no route to {at}"),
            Reach::HostUnreachable => format!("nobody answers {from} for {at}"),
            Reach::NoAddress => format!("{from} has no address to call {at} from"),
            Reach::Timeout | Reach::Open => format!("{from} hears nothing from {at} ({why})"),
        });
        let Some(server) = server else {
            return explained;
        };
        if let Door::Named(name) = &trial.way.door
            && !self.is_at(server, to.ip())
        {
            return Explained::new(format!(
                "{from} calls {at} for {name}, an address which {} does not have",
                server.name
            ))
            .fix("look the name up for each connection, not once");
        }
        match &trial.way.door {
            Door::Published(publication) if publication.host_ip.is_loopback() => {
                let at = self.scene.published_at(server, publication);
                explained
                    .causes(at.map(|at| (at, "published on loopback only".to_owned())))
                    .fix("leave the address out, or name the one that is to be reached")
            }
            Door::Named(_) | Door::Direct(_) if trial.seen.reach == Reach::Refused => {
                let bound = self.bound(server, to.port(), trial.transport);
                explained
                    .causes(bound)
                    .fix(format!("let {} listen on 0.0.0.0", server.name))
            }
            Door::Named(_) if why == "icc-off" => {
                let network = self.scene.network_of(to.ip()).map(|n| self.scene.key_of(n));
                let network = network.and_then(|key| self.project().network(key));
                let option = network.and_then(|network| {
                    network
                        .driver_opts
                        .get("com.docker.network.bridge.enable_icc")
                });
                explained
                    .causes(option.map(|option| {
                        let text = "containers of this network may not talk to each other";
                        (option.at, text.to_owned())
                    }))
                    .fix("take the option out")
            }
            Door::Direct(_) if !matches!(trial.from, End::Container(_)) => {
                self.not_published(explained, server, goal)
            }
            _ => explained.causes(self.memberships(server)),
        }
    }

    /// Whether one of a service's containers has an address.
    fn is_at(&self, service: &Service, address: IpAddr) -> bool {
        let holder = self.scene.assigned.holder(address);
        holder.is_some_and(|holder| {
            let mut containers = self.scene.containers(&service.name);
            containers.any(|container| self.scene.owner(container).name == holder.name)
        })
    }

    fn not_published(&self, explained: Explained, server: &'p Service, goal: &Goal) -> Explained {
        let port = match goal {
            Goal::Service(_, port, _) => *port,
            _ => 0,
        };
        let name = &server.name;
        explained
            .cause(server.at, format!("{name} does not publish {port}"))
            .fix(format!("publish it: ports: [\"{port}:{port}\"]"))
    }

    /// The lines that bind a port to an address.
    fn bound(&self, service: &Service, port: u16, t: Transport) -> Vec<(Place, String)> {
        let sockets = self.scene.sockets(&service.name, port, t).into_iter();
        sockets
            .filter_map(|socket| {
                let text = format!("{} listens on {} only", service.name, socket.address?);
                Some((socket.known.place().unwrap_or(service.at), text))
            })
            .collect()
    }

    fn reached(&self, asker: &Asker, goal: &Goal, trial: usize) -> Explained {
        let trial = &self.judged.trials[trial];
        let from = self.scene.word(&asker.end);
        let to = trial.way.to;
        let at = match trial.transport {
            Transport::Icmp => to.ip().to_string(),
            _ => to.to_string(),
        };
        let (client, server) = (self.service(asker), self.goal_service(goal));
        match (&trial.way.door, server) {
            (Door::Published(publication), Some(server)) => {
                let explained = Explained::new(format!(
                    "{from} reaches {goal} at {at}, where it is published"
                ));
                let place = self.scene.published_at(server, publication);
                let bound = match publication.host_ip {
                    ip if ip.is_unspecified() => "on every address of the host".to_owned(),
                    ip => format!("on {ip}"),
                };
                let explained =
                    explained.causes(place.map(|place| (place, format!("published {bound}"))));
                let (host, port) = (publication.host_port, publication.port);
                explained.fix(match asker.end {
                    End::Host => "take the port out of `ports`".to_owned(),
                    _ => format!(
                        "publish it for the host alone, \"127.0.0.1:{host}:{port}\", or not at all"
                    ),
                })
            }
            (Door::Host, Some(server)) => Explained::new(format!(
                "{from} reaches {goal} at {at}, an address of the host"
            ))
            .causes(self.memberships(server))
            .fix(format!("take {} off the host's network", server.name)),
            (Door::Loopback, Some(server)) => {
                Explained::new(format!("{from} and {} live in one namespace", server.name))
                    .causes(
                        client
                            .into_iter()
                            .flat_map(|client| self.memberships(client)),
                    )
                    .causes(self.memberships(server))
            }
            (Door::Named(_) | Door::Direct(_), Some(server)) => {
                let network = self.scene.network_of(to.ip()).map(|n| self.scene.key_of(n));
                let network = network.unwrap_or("a network").to_owned();
                let named = matches!(trial.way.door, Door::Named(_));
                let explained = match named {
                    true => format!("{from} reaches {goal} by name, at {at} on {network}"),
                    false => format!("{from} reaches {goal} at {at} on {network}"),
                };
                let is_on = |service: &&'p Service| {
                    service.networks.iter().any(|member| member.key == network)
                };
                let members = client.into_iter().chain([server]).filter(is_on);
                let lines = members.flat_map(|service| {
                    let members = service.networks.iter();
                    let on = members.filter(|member| member.key == network);
                    on.map(|member| (member.at, format!("{} is on {network}", service.name)))
                });
                let explained = Explained::new(explained).causes(lines.collect::<Vec<_>>());
                match client {
                    Some(client) if Self::share_a_network(client, server).is_some() => {
                        explained.fix(format!("take {from} or {} off {network}", server.name))
                    }
                    _ => explained,
                }
            }
            _ => self.reached_elsewhere(&from, goal, &at, client),
        }
    }

    /// What is no service of the project.
    fn reached_elsewhere(
        &self,
        from: &str,
        goal: &Goal,
        at: &str,
        client: Option<&'p Service>,
    ) -> Explained {
        let explained = Explained::new(format!("{from} reaches {goal} at {at}"));
        let Some(client) = client else {
            return explained;
        };
        let open = client.networks.iter().filter(|member| {
            let network = self.project().network(&member.key);
            network.is_some_and(|network| !network.internal)
        });
        let lines: Vec<(Place, String)> = open
            .map(|member| {
                let text = format!("{from} is on {}, which is not internal", member.key);
                (member.at, text)
            })
            .collect();
        let explained = explained.causes(lines);
        match goal {
            Goal::Place(End::Internet | End::Lan, ..) | Goal::Address(..) | Goal::Name(..) => {
                explained.fix("make every network that it is on `internal: true`")
            }
            _ => explained,
        }
    }

    fn other_network(&self, goal: &Goal, wanted: &str, trial: usize) -> Explained {
        let trial = &self.judged.trials[trial];
        let from = self.scene.word(&trial.from);
        let address = trial.way.to.ip();
        let network = self.scene.network_of(address).map(|n| self.scene.key_of(n));
        let through = match (&trial.way.door, network) {
            (Door::Published(_) | Door::Host, _) | (_, None) => "an address of the host".to_owned(),
            (_, Some(key)) => key.to_owned(),
        };
        let summary = format!("{from} reaches {goal} through {through} as well, not only {wanted}");
        let server = self.goal_service(goal);
        let members = server
            .into_iter()
            .flat_map(|service| self.memberships(service));
        Explained::new(summary)
            .causes(members.collect::<Vec<_>>())
            .fix(format!("take one of the two off {through}"))
    }

    fn other_source(&self, goal: &Goal, wanted: &str, trial: usize) -> Explained {
        let trial = &self.judged.trials[trial];
        let seen = match trial.seen.source {
            Some(address) => self.who(address),
            None => "nothing".to_owned(),
        };
        let from = self.scene.word(&trial.from);
        let explained = Explained::new(format!(
            "when {from} calls, {goal} sees {seen}, not {wanted}"
        ));
        match (&trial.way.door, self.goal_service(goal)) {
            (Door::Published(publication), Some(server)) => {
                let at = self.scene.published_at(server, publication);
                explained.causes(at.map(|at| (at, "published here".to_owned())))
            }
            _ => explained,
        }
    }

    /// An address and whose it is.
    fn who(&self, address: IpAddr) -> String {
        let gateways = self.scene.assigned.networks.iter();
        let gateway = gateways
            .filter(|network| network.gateways.contains(&address))
            .map(|network| format!("the gateway of {}", self.scene.key_of(&network.name)))
            .next();
        let holder = self.scene.assigned.holder(address);
        let holder = holder.map(|c| self.scene.word(&End::Container(c.name.clone())));
        match gateway.or(holder) {
            Some(whose) => format!("{address} ({whose})"),
            None => address.to_string(),
        }
    }

    fn other_answers(&self, goal: &Goal, trial: usize) -> Explained {
        let trial = &self.judged.trials[trial];
        let from = self.scene.word(&trial.from);
        let whose = self.who(trial.way.to.ip());
        let name = match &trial.way.door {
            Door::Named(name) => name.as_str(),
            _ => "it",
        };
        let explained = Explained::new(format!(
            "when {from} asks for {goal}, the name {name} also leads to {whose}"
        ));
        let services = self.project().services.iter();
        let alias = services.flat_map(|service| {
            let aliases = service.networks.iter().flat_map(|member| &member.aliases);
            let same = aliases.filter(|alias| alias.value == name);
            same.map(|alias| (alias.at, format!("{} has this alias", service.name)))
        });
        explained
            .causes(alias.collect::<Vec<_>>())
            .fix("give every service a name of its own")
    }

    fn not_listening(&self, goal: &Goal) -> Explained {
        let Some(server) = self.goal_service(goal) else {
            return Explained::new(format!(
                "nobody answers {goal} even where nothing is in the way"
            ))
            .fix("that it cannot be reached says nothing");
        };
        let name = &server.name;
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
        let port = match goal {
            Goal::Service(_, port, _) => port.to_string(),
            _ => String::new(),
        };
        Explained::new(format!(
            "{name} is not known to listen on {port}: it listens on {}",
            list(&known)
        ))
        .cause(server.at, "nothing here states that port")
        .fix(format!(
            "if it does, say so: x-vethlab: {{listen: [{port}]}} (with all its other ports)"
        ))
    }

    fn not_running(&self, service: &str) -> Explained {
        let explained = Explained::new(match self.scene.failed.get(service) {
            Some(error) => format!("{service} does not start: {error}"),
            None => format!("{service} does not run then"),
        });
        match self.project().service(service) {
            Some(service) => explained.cause(service.at, "this service"),
            None => explained,
        }
    }

    fn unknown_port(&self, service: &str) -> Explained {
        let explained = Explained::new(format!("nobody states a port that {service} listens on"));
        let explained = match self.project().service(service) {
            Some(service) => {
                explained.cause(service.at, "no expose, ports, health check or known image")
            }
            None => explained,
        };
        explained.fix("say so: x-vethlab: {listen: [PORT]}")
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
        let services = [self.project().service(&lookup.name)];
        let client = match &lookup.from {
            End::Container(name) => self.scene.assigned.container(name),
            _ => None,
        };
        let client = client.and_then(|container| self.scene.service_of(container));
        let members = client.into_iter().chain(services.into_iter().flatten());
        let lines: Vec<(Place, String)> = members.flat_map(|s| self.memberships(s)).collect();
        Explained::new(summary).causes(lines)
    }
}
