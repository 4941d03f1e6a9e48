//! The way of one frame, decision by decision, in their order: the bridge's port, the rules at each hook, the
//! translations, and where it died if it did.

use core::net::IpAddr;

use emulator_core::lab::said::Said;
use emulator_core::netns::LO;
use switch::filter::{Ruling, Table};
use switch::hook::Hook;
use switch::verdict::{DropReason, Event, IfId, What};
use switch::wire::EthernetAddress;

use super::record::{Carried, Seen};
use super::steps::{Kind, Rule, Step, Trip};

/// What an interface sends at once unless somebody says otherwise.
const ETHERNET_MTU: u32 = 1500;

/// A frame of a trip.
#[derive(Clone, Copy, Debug)]
pub(super) struct Travel<'a> {
    pub(super) trip: &'a Trip<'a>,
    pub(super) frame: u64,
}

impl Travel<'_> {
    /// Its places, then what was decided there. `whose` stands before the places.
    pub(super) fn steps(&self, whose: &str) -> Vec<Step> {
        let alive: Vec<&Seen> = self.seen().filter(|seen| !seen.is_dropped()).collect();
        let mut steps = Vec::new();
        if !alive.is_empty() {
            let mut places: Vec<String> = alive
                .iter()
                .map(|seen| self.place(&seen.interface))
                .collect();
            places.dedup();
            let numbers = alive.iter().map(|seen| seen.number).collect();
            let text = format!("{whose}{}", places.join(" → "));
            steps.push(Step::new(Kind::Frame, text, numbers));
        }
        // Rules speak before what they decided takes effect.
        let (mut rewrites, mut drops): (Option<Rule>, Option<Said>) = (None, None);
        let mut received = false;
        let events: Vec<&Event> = self.events().collect();
        for (at, event) in events.iter().enumerate() {
            match event.what {
                What::Judged(_) => {
                    let Some(said) = self.said(event) else {
                        continue;
                    };
                    received |= said.hook == Hook::Input;
                    match said.ruling {
                        Ruling::Accept => steps.extend(self.accepted(&said, event.place)),
                        Ruling::Drop(_) => drops = Some(said),
                        _ => rewrites = Some(rule(&said)),
                    }
                }
                What::Rewritten(rewrite) => {
                    let numbers = self.numbers(event.place);
                    let step = Step::new(Kind::Nat, rewrite.to_string(), numbers);
                    steps.push(step.by(rewrites.take()));
                }
                What::Forwarded(port) if event.place == port => {
                    let mut before = events[..at].iter();
                    let flooded = before.any(|other| matches!(other.what, What::Flooded));
                    steps.extend(self.port(port, flooded));
                }
                What::Delivered if !received => steps.extend(self.received(event.place)),
                What::Dropped(reason) => {
                    if reason == DropReason::NoSocket && !received {
                        steps.extend(self.received(event.place));
                    }
                    steps.push(self.dropped(reason, event.place, &drops));
                }
                _ => {}
            }
        }
        steps
    }

    fn seen(&self) -> impl Iterator<Item = &Seen> {
        let packets = self.trip.packets.iter();
        packets.filter(|seen| seen.frame == self.frame)
    }

    fn events(&self) -> impl Iterator<Item = &Event> {
        let events = self.trip.events.iter();
        events.filter(|event| event.frame == self.frame)
    }

    /// A place as it is shown: a bridge with its network.
    fn place(&self, interface: &str) -> String {
        match self.trip.network(interface) {
            Some(network) => format!("{interface} ({network})"),
            None => interface.to_owned(),
        }
    }

    /// The rule behind a judgement. It saw the packet as it was then: behind the last translation.
    fn said(&self, event: &Event) -> Option<Said> {
        let What::Judged(judgement) = event.what else {
            return None;
        };
        let to = self.seen().find_map(|seen| match seen.what {
            Carried::Ip { to, .. } => Some(to.ip()),
            _ => None,
        });
        // What crosses loopback is not in the capture: it is the call itself.
        let called = (event.place == LO).then(|| self.trip.way.at.ip());
        let mut to = to.or(called)?;
        for earlier in self.events() {
            if core::ptr::eq(earlier, event) {
                break;
            }
            if let What::Rewritten(rewrite) = earlier.what {
                to = rewrite.to_destination.ip();
            }
        }
        self.trip.lab.said(event.place, &judgement, to)
    }

    /// What a rule that lets it pass is for. Most tables have nothing to say of most packets.
    fn accepted(&self, said: &Said, place: IfId) -> Option<Step> {
        let (kind, text) = match (said.table, said.word.as_str()) {
            (Table::Filter, "ESTABLISHED") => (Kind::Filter, "accepted: it answers"),
            (Table::Filter, "PUBLISHED PORT") => (Kind::Filter, "accepted: the port is published"),
            (Table::Filter, "OUTGOING") if self.is_bridged(place) => (
                Kind::Filter,
                "accepted: members of one network may talk to each other",
            ),
            (Table::Filter, "OUTGOING") => {
                (Kind::Filter, "accepted: what a network sends out may go")
            }
            (Table::Filter, "ICC") => (
                Kind::Filter,
                "accepted: members of one network may talk to each other",
            ),
            (Table::Filter, "LINK") => (Kind::Filter, "accepted: a link opens it"),
            (Table::Filter, "ICMP") => (Kind::Filter, "accepted: ICMP to a routed network"),
            (Table::Filter, "UNPROTECTED") => {
                (Kind::Filter, "accepted: the network is nat-unprotected")
            }
            (Table::Filter, "") => (Kind::Filter, "accepted: no rule decides"),
            (Table::Nat, "")
                if said.hook == Hook::Output && place == LO && self.trip.is_proxied() =>
            {
                (
                    Kind::Nat,
                    "not translated: Docker's rule leaves the host's loopback out, so docker-proxy takes it",
                )
            }
            (Table::Nat, "SKIP DNAT") => (
                Kind::Nat,
                "not translated: it comes from a network, so docker-proxy takes it",
            ),
            _ => return None,
        };
        let step = Step::new(kind, text.to_owned(), self.numbers(place));
        Some(step.by(Some(rule(said))))
    }

    /// What the host's own INPUT says of what came for the host itself, docker-proxy included: Docker has no rule there.
    fn received(&self, place: IfId) -> Option<Step> {
        let trip = self.trip;
        let host = trip.lab.places().host;
        let owner = match place {
            LO => trip.ns,
            _ => trip.lab.net().owner(place)?.id(),
        };
        let tool = match trip.way.at.ip() {
            IpAddr::V4(_) => "iptables",
            IpAddr::V6(_) => "ip6tables",
        };
        let text = "accepted: Docker has no rule for what reaches the host itself; a firewall of the host's would decide here";
        let step = Step::new(Kind::Filter, text.to_owned(), self.numbers(place));
        (owner == host).then(|| {
            step.by(Some(Rule {
                hook: Hook::Input.word().to_owned(),
                line: format!("{tool} -P INPUT ACCEPT"),
            }))
        })
    }

    /// What is carried on the way is less than what the asker sends at once: the narrowest place.
    pub(super) fn narrow(&self) -> Option<Step> {
        let net = self.trip.lab.net();
        let mut places: Vec<IfId> = Vec::new();
        for event in self.events() {
            places.push(event.place);
            if let What::Forwarded(to) = event.what {
                places.push(to);
            }
        }
        let mtu = |place: &IfId| Some(net.owner(*place)?.iface(*place)?.mtu);
        let known = places
            .iter()
            .filter_map(|place| Some((mtu(place)?, *place)));
        let known: Vec<(u32, IfId)> = known.collect();
        let (own, first) = *known.first()?;
        // The first of the narrowest.
        let (least, at) = *known.iter().min_by_key(|(mtu, _)| *mtu)?;
        let (first, at) = (self.trip.label(first), self.trip.label(at));
        let text = match (own > least, own == ETHERNET_MTU) {
            (true, _) => format!(
                "{first} sends up to {own} bytes at once, {at} carries {least}: longer packets pass only if ICMP \"fragmentation needed\" comes back"
            ),
            (false, true) => return None,
            (false, false) => format!("up to {own} bytes at once, all the way"),
        };
        Some(Step::new(Kind::Mtu, text, Vec::new()))
    }

    fn is_bridged(&self, place: IfId) -> bool {
        let mut seen = self.seen();
        let label = self.trip.label(place);
        seen.any(|seen| seen.interface == label)
            && self.trip.network(&label).is_some()
            && !self
                .events()
                .any(|event| matches!(event.what, What::Forwarded(to) if to != event.place))
    }

    /// The bridge of the host that sends it out of `port`.
    fn port(&self, port: IfId, flooded: bool) -> Option<Step> {
        let trip = self.trip;
        let host = trip.lab.net().ns(trip.lab.places().host)?;
        host.iface(port)?;
        let bridge = trip.lab.net().bridge(trip.lab.net().master(port)?)?;
        let name = self.place(&trip.label(bridge.interface()));
        let label = trip.label(port);
        let mac = self.seen().find(|seen| seen.interface == label);
        let mac = mac.map(|seen| EthernetAddress(seen.mac).to_string().replace('-', ":"));
        let text = match (flooded, mac) {
            (true, _) => format!("{name} does not know the port, and floods it: {label}"),
            (false, Some(mac)) => format!("{name} has {mac} behind {label}"),
            (false, None) => format!("{name} sends it to {label}"),
        };
        Some(Step::new(Kind::Port, text, self.numbers(port)))
    }

    /// Where it died, by which rule if by one.
    fn dropped(&self, reason: DropReason, place: IfId, by: &Option<Said>) -> Step {
        let label = self.trip.label(place);
        let numbers: Vec<usize> = self
            .seen()
            .filter(|seen| seen.is_dropped())
            .map(|seen| seen.number)
            .collect();
        let (kind, at) = match reason {
            DropReason::NoSocket => (Kind::Socket, label),
            DropReason::NoRoute | DropReason::NotForwarding => (Kind::Route, label),
            DropReason::NeighbourFailed => (Kind::Neighbour, label),
            _ => (Kind::Filter, self.place(&label)),
        };
        let reason = match by.as_ref().map(|said| said.ruling) {
            Some(Ruling::Drop(reason)) => reason,
            _ => reason,
        };
        let step = Step::new(kind, format!("dropped at {at}: {reason}"), numbers);
        step.by(by.as_ref().map(rule))
    }

    /// The numbers of its packets at an interface; the last before that if it is not seen there.
    fn numbers(&self, place: IfId) -> Vec<usize> {
        let label = self.trip.label(place);
        let there = self.seen().filter(|seen| seen.interface == label);
        let numbers: Vec<usize> = there.map(|seen| seen.number).collect();
        numbers.first().copied().into_iter().collect()
    }
}

fn rule(said: &Said) -> Rule {
    let hook: Hook = said.hook;
    Rule {
        hook: hook.word().to_owned(),
        line: said.line.clone(),
    }
}

impl Trip<'_> {
    /// An interface as the capture calls it.
    fn label(&self, place: IfId) -> String {
        let owner = self.lab.net().owner(place);
        let Some((netns, iface)) = owner.and_then(|netns| Some((netns, netns.iface(place)?)))
        else {
            return String::new();
        };
        match self.record.networks.contains_key(&iface.name) {
            true => iface.name.clone(),
            false => format!("{}:{}", netns.name(), iface.name),
        }
    }

    /// The network of a bridge: its key in the file, else its name.
    fn network(&self, bridge: &str) -> Option<&str> {
        let name = self.record.networks.get(bridge)?;
        let mut own = self.project.networks.iter();
        let own = own.find(|own| own.name == *name);
        Some(own.map_or(name.as_str(), |own| own.key.as_str()))
    }
}
