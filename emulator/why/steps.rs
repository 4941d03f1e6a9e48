//! The steps of one way, in the order in which a packet meets them: name, route, neighbour, the frame's way
//! over veth pairs and bridges, address translation, filter, the program's socket.
//!
//! What was decided is read from the events (rules, bridge ports, translations, drops), from the capture (the places
//! of a frame, and its numbers) and from the namespaces' own tables (routes, neighbours); nothing is concluded
//! from the project.

use core::net::{IpAddr, SocketAddr};

use emulator_compose::Project;
use emulator_core::id::NsId;
use emulator_core::lab::Lab;
use emulator_core::netns::{LO, Route};
use serde::Serialize;
use switch::verdict::{Event, What};
use switch::wire::{EthernetAddress, IpProtocol};

use super::record::{Carried, Record, Seen};
use super::travel::Travel;
use crate::matrix::{How, Way};

/// What a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A name was looked up.
    Name,
    /// What the address is that was called.
    Address,
    /// Where the asker's routing table sends it.
    Route,
    /// Whose MAC address the next hop has.
    Neighbour,
    /// The places that the first frame passed.
    Frame,
    /// A bridge chose the port.
    Port,
    /// How long a packet may be.
    Mtu,
    /// An address was translated.
    Nat,
    /// A rule let it pass, or dropped it.
    Filter,
    /// docker-proxy took the connection and made one of its own.
    Proxy,
    /// The program's end.
    Socket,
}

impl Kind {
    /// The word for people and machines.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Address => "address",
            Self::Route => "route",
            Self::Neighbour => "neighbour",
            Self::Frame => "frame",
            Self::Port => "port",
            Self::Mtu => "mtu",
            Self::Nat => "nat",
            Self::Filter => "filter",
            Self::Proxy => "proxy",
            Self::Socket => "socket",
        }
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What it is about.
    pub kind: Kind,
    /// What happened, for people.
    pub text: String,
    /// The rule that decided it, as Docker writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// The capture's packets that show it, by the numbers that Wireshark gives them.
    pub frames: Vec<usize>,
}

/// A rule of the host's firewall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// The hook at which it was asked, such as `FORWARD`.
    pub hook: String,
    /// The command that makes it, such as `iptables -A DOCKER …`.
    pub line: String,
}

impl Step {
    pub(super) fn new(kind: Kind, text: String, frames: Vec<usize>) -> Self {
        Self {
            kind,
            text,
            rule: None,
            frames,
        }
    }

    pub(super) fn by(self, rule: Option<Rule>) -> Self {
        Self { rule, ..self }
    }
}

/// Of one way: who asks, and what was seen while it did.
#[derive(Debug)]
pub(crate) struct Trip<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) project: &'a Project,
    /// The asker's namespace.
    pub(crate) ns: NsId,
    pub(crate) way: &'a Way,
    /// The capture.
    pub(crate) record: &'a Record,
    /// Its packets of this way.
    pub(crate) packets: &'a [Seen],
    pub(crate) events: &'a [Event],
}

impl Trip<'_> {
    /// The steps from the route to the last place that a packet reached: the first one, and the answer to it
    /// if that is what was lost.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let address = self.way.at.ip();
        steps.push(self.route(address));
        steps.extend(self.neighbour(address));
        let first = self.first();
        if let Some(seen) = first {
            steps.extend(self.travel(seen.frame).steps(""));
            steps.extend(self.travel(seen.frame).narrow());
        } else if let Some(frame) = self.looped() {
            // A call that is translated on its way out leaves by another interface.
            if !self.packets.iter().any(|seen| seen.frame == frame) {
                let text = "lo, which is not in the capture".to_owned();
                steps.push(Step::new(Kind::Frame, text, Vec::new()));
            }
            steps.extend(self.travel(frame).steps(""));
        }
        let proxy = self.proxy(first.map(|seen| seen.frame));
        if let Some(seen) = proxy {
            steps.push(proxied(seen));
            steps.extend(self.travel(seen.frame).steps(""));
        }
        let asked: Vec<&Seen> = first.into_iter().chain(proxy).collect();
        if let Some(lost) = self.lost_answer(&asked) {
            steps.extend(self.travel(lost.frame).steps("the answer: "));
        }
        steps
    }

    const fn travel(&self, frame: u64) -> Travel<'_> {
        Travel { trip: self, frame }
    }

    fn route(&self, address: IpAddr) -> Step {
        let text = match (self.is_local(address), self.best(address)) {
            (true, _) => format!("{address} is an address of this namespace itself"),
            (_, None) => format!("no route to {address}"),
            (_, Some(route)) => self.route_text(&route),
        };
        Step::new(Kind::Route, text, Vec::new())
    }

    fn is_local(&self, address: IpAddr) -> bool {
        let netns = self.lab.net().ns(self.ns);
        netns.is_some_and(|netns| netns.is_local(address))
    }

    fn best(&self, address: IpAddr) -> Option<Route> {
        let netns = self.lab.net().ns(self.ns)?;
        netns.route_get(address)
    }

    fn route_text(&self, route: &Route) -> String {
        let netns = self.lab.net().ns(self.ns);
        let name = |dev| {
            let iface = netns.and_then(|netns| netns.iface(dev));
            iface.map_or_else(String::new, |iface| iface.name.clone())
        };
        let dev = name(route.dev);
        match route.via {
            Some(via) if route.is_default() => format!("default via {via} on {dev}"),
            Some(via) => format!("{} via {via} on {dev}", route.dst),
            None => format!("{} is on {dev}'s own link", route.dst),
        }
    }

    /// The MAC address of the next hop, and the packets that asked for it.
    fn neighbour(&self, address: IpAddr) -> Option<Step> {
        let (hop, mac) = self.hop(address)?;
        let about = |seen: &&Seen| match seen.what {
            Carried::Arp { target, .. } | Carried::Neighbour { target, .. } => target == hop,
            _ => false,
        };
        let asked: Vec<&Seen> = self.packets.iter().filter(about).collect();
        let text = match mac {
            Some(mac) => {
                let mac = EthernetAddress(mac).to_string().replace('-', ":");
                let before = if asked.is_empty() {
                    ", known from before"
                } else {
                    ""
                };
                format!("{hop} is at {mac}{before}")
            }
            None => format!("nobody answers for {hop}"),
        };
        Some(Step::new(Kind::Neighbour, text, once(&asked)))
    }

    /// Who is asked to take it on the way to `address`, and the MAC address if that is known.
    fn hop(&self, address: IpAddr) -> Option<(IpAddr, Option<[u8; 6]>)> {
        if self.is_local(address) {
            return None;
        }
        let route = self.best(address)?;
        let hop = route.via.unwrap_or(address);
        let netns = self.lab.net().ns(self.ns)?;
        let known = netns
            .neighbours(self.lab.now())
            .find(|neighbour| neighbour.addr == hop && neighbour.iface == route.dev)?;
        Some((hop, known.mac))
    }

    /// The address for which nobody answers, on the way of this one.
    pub(super) fn silent(&self) -> Option<IpAddr> {
        let (hop, mac) = self.hop(self.way.at.ip())?;
        mac.is_none().then_some(hop)
    }

    /// The answer, where it died.
    pub(super) fn died_answering(&self) -> Option<&Seen> {
        let first = self.first();
        let proxy = self.proxy(first.map(|seen| seen.frame));
        let asked: Vec<&Seen> = first.into_iter().chain(proxy).collect();
        let lost = self.lost_answer(&asked)?;
        let mut places = self.packets.iter();
        places.find(|seen| seen.frame == lost.frame && seen.is_dropped())
    }

    /// The first packet.
    fn first(&self) -> Option<&Seen> {
        let is = |seen: &&Seen| matches!(seen.what, Carried::Ip { to, .. } if self.is_target(to));
        self.packets.iter().find(is)
    }

    /// The frame that goes over loopback, if the call is one to an address of the namespace itself.
    fn looped(&self) -> Option<u64> {
        let mut events = self.events.iter();
        let sent = events.find(|event| event.place == LO && event.what == What::Sent);
        sent.filter(|_| self.is_local(self.way.at.ip()))
            .map(|event| event.frame)
    }

    /// The call is to the host's loopback, and docker-proxy made one of its own for it.
    pub(super) fn is_proxied(&self) -> bool {
        self.way.how == How::Loopback && self.proxy(None).is_some()
    }

    fn is_target(&self, to: SocketAddr) -> bool {
        to.ip() == self.way.at.ip() && (self.way.at.port() == 0 || to.port() == self.way.at.port())
    }

    /// A packet that died on its way back, if all that was asked arrived.
    fn lost_answer(&self, asked: &[&Seen]) -> Option<&Seen> {
        let dropped = |frame: u64| {
            let mut all = self.packets.iter().filter(|seen| seen.frame == frame);
            all.any(Seen::is_dropped)
        };
        if self.way.open || asked.is_empty() || asked.iter().any(|seen| dropped(seen.frame)) {
            return None;
        }
        let is_question = |seen: &Seen| {
            asked.iter().any(|asked| match (asked.what, seen.what) {
                (Carried::Ip { from, .. }, Carried::Ip { from: other, .. }) => from == other,
                _ => false,
            })
        };
        let is_answer =
            |seen: &&Seen| matches!(seen.what, Carried::Ip { .. }) && !is_question(seen);
        let mut answers = self.packets.iter().filter(is_answer);
        answers.find(|seen| dropped(seen.frame))
    }

    /// The first packet of a connection that the host itself made meanwhile: docker-proxy's.
    fn proxy(&self, first: Option<u64>) -> Option<&Seen> {
        let own = self.lab.net().ns(self.lab.places().host)?;
        let dials = |seen: &&Seen| {
            match seen.what {
            Carried::Ip { from, to, protocol } => {
                Some(seen.frame) != first
                    && matches!(protocol, IpProtocol::Tcp | IpProtocol::Udp)
                    && own.is_local(from.ip())
                    && !own.is_local(to.ip())
                    && !self.is_target(to)
                    && !self.packets.iter().any(|other| {
                        matches!(other.what, Carried::Ip { from: f, .. } if f == to && other.number < seen.number)
                    })
            }
            _ => false,
        }
        };
        self.packets.iter().find(dials)
    }
}

fn proxied(seen: &Seen) -> Step {
    let text = match seen.what {
        Carried::Ip { from, to, .. } => {
            format!("docker-proxy takes it and dials {to} as {}", from.ip())
        }
        _ => String::new(),
    };
    Step::new(Kind::Proxy, text, vec![seen.number])
}

/// One packet a frame: where it was seen first.
fn once(packets: &[&Seen]) -> Vec<usize> {
    let mut frames: Vec<u64> = Vec::new();
    let mut numbers = Vec::new();
    for seen in packets {
        if !frames.contains(&seen.frame) {
            frames.push(seen.frame);
            numbers.push(seen.number);
        }
    }
    numbers
}
