//! The steps of one way, in the order in which a packet meets them: name, route, neighbour, the frame's way
//! over veth pairs and bridges, address translation, filter, the program's socket.
//!
//! What was decided is read from the capture (frames, translations, drops) and from the namespaces' own
//! tables (routes, neighbours); nothing is concluded from the project.

use core::net::{IpAddr, SocketAddr};

use emulator_core::id::NsId;
use emulator_core::lab::Lab;
use emulator_core::netns::Route;
use serde::Serialize;
use switch::wire::{EthernetAddress, IpProtocol};

use super::record::{Carried, Seen};
use crate::matrix::Way;

/// What a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A name was looked up.
    Name,
    /// Where the asker's routing table sends it.
    Route,
    /// Whose MAC address the next hop has.
    Neighbour,
    /// The places that the first frame passed.
    Frame,
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
            Self::Route => "route",
            Self::Neighbour => "neighbour",
            Self::Frame => "frame",
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
    /// The capture's packets that show it, by the numbers that Wireshark gives them.
    pub frames: Vec<usize>,
}

impl Step {
    pub(super) fn new(kind: Kind, text: String, frames: Vec<usize>) -> Self {
        Self { kind, text, frames }
    }
}

/// Of one way: who asks, and what was seen while it did.
#[derive(Debug)]
pub(super) struct Trip<'a> {
    pub(super) lab: &'a Lab,
    /// The asker's namespace.
    pub(super) ns: NsId,
    pub(super) way: &'a Way,
    pub(super) packets: &'a [Seen],
}

impl Trip<'_> {
    /// The steps from the route to the last place that the first packet reached.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let address = self.way.at.ip();
        steps.push(self.route(address));
        steps.extend(self.neighbour(address));
        let first = self.first();
        if let Some(frame) = first {
            steps.extend(self.travel(frame));
        }
        steps.extend(self.proxy(first));
        steps
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
        if self.is_local(address) {
            return None;
        }
        let route = self.best(address)?;
        let hop = route.via.unwrap_or(address);
        let netns = self.lab.net().ns(self.ns)?;
        let known = netns
            .neighbours(self.lab.now())
            .find(|neighbour| neighbour.addr == hop && neighbour.iface == route.dev)?;
        let about = |seen: &&Seen| match seen.what {
            Carried::Arp { target, .. } | Carried::Neighbour { target, .. } => target == hop,
            _ => false,
        };
        let asked: Vec<&Seen> = self.packets.iter().filter(about).collect();
        let text = match known.mac {
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

    /// The first packet's frame.
    fn first(&self) -> Option<u64> {
        let is = |seen: &&Seen| matches!(seen.what, Carried::Ip { to, .. } if self.is_target(to));
        self.packets.iter().find(is).map(|seen| seen.frame)
    }

    fn is_target(&self, to: SocketAddr) -> bool {
        to.ip() == self.way.at.ip() && (self.way.at.port() == 0 || to.port() == self.way.at.port())
    }

    /// The places of a frame, its translations, and its end if it was dropped.
    fn travel(&self, frame: u64) -> Vec<Step> {
        let seen: Vec<&Seen> = self
            .packets
            .iter()
            .filter(|seen| seen.frame == frame)
            .collect();
        let alive: Vec<&Seen> = seen
            .iter()
            .copied()
            .filter(|seen| dropped(seen).is_none())
            .collect();
        let mut places: Vec<&str> = alive.iter().map(|seen| seen.interface.as_str()).collect();
        places.dedup();
        let mut steps = vec![Step::new(
            Kind::Frame,
            places.join(" → "),
            alive.iter().map(|seen| seen.number).collect(),
        )];
        for seen in &alive {
            if let Some(comment) = &seen.comment {
                let text = comment.trim_start_matches("rewritten: ").to_owned();
                steps.push(Step::new(Kind::Nat, text, vec![seen.number]));
            }
        }
        match seen.iter().find_map(|seen| Some((dropped(seen)?, seen))) {
            Some((why, seen)) => {
                let (reason, rewrite) = match why.split_once("; rewritten: ") {
                    Some((reason, rewrite)) => (reason, Some(rewrite)),
                    None => (why, None),
                };
                if let Some(rewrite) = rewrite {
                    steps.push(Step::new(Kind::Nat, rewrite.to_owned(), vec![seen.number]));
                }
                let text = format!("dropped at {}: {reason}", seen.interface);
                steps.push(Step::new(Kind::Filter, text, vec![seen.number]));
            }
            None if self.way.open => {
                steps.push(Step::new(
                    Kind::Filter,
                    "no rule drops it".to_owned(),
                    Vec::new(),
                ));
            }
            None => {}
        }
        steps
    }

    /// A connection that the host itself made meanwhile: docker-proxy's.
    fn proxy(&self, first: Option<u64>) -> Option<Step> {
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
        let seen = self.packets.iter().find(dials)?;
        let Carried::Ip { from, to, .. } = seen.what else {
            return None;
        };
        let frames: Vec<usize> = self
            .packets
            .iter()
            .filter(|other| other.frame == seen.frame)
            .map(|other| other.number)
            .collect();
        let text = format!("docker-proxy takes it and dials {to} as {}", from.ip());
        Some(Step::new(Kind::Proxy, text, frames))
    }
}

/// Why a frame died there, if it did.
fn dropped(seen: &Seen) -> Option<&str> {
    seen.comment.as_deref()?.strip_prefix("dropped: ")
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
