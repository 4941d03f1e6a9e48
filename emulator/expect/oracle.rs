//! Whom the questions are put to: the packets of a lab, or the model. Both answer in the same words.

use core::net::{IpAddr, SocketAddr};
use core::ops::Range;
use core::time::Duration;
use std::collections::BTreeMap;

use emulator_core::id::NsId;
use emulator_core::lab::Lab;
use emulator_core::lab::probe::{Answer, Question};
use emulator_core::netns::Errno;
use emulator_model::{End, Kind, Model, Outcome, Reach, Reply, Transport};
use switch::DropReason;

use super::scene::Route;
use crate::matrix::probe::asked;
use crate::why::Frames;

/// How long a call may take before it is silence, in virtual time.
const LIMIT: Duration = Duration::from_secs(5);

/// Between calls that came to nothing, in virtual time: what tells of such calls is limited to one a second.
const PAUSE: Duration = Duration::from_secs(2);

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What the caller saw.
    pub(crate) reach: Reach,
    /// The caller's address as the server told it.
    pub(crate) source: Option<IpAddr>,
    /// A word for why it is not open.
    pub(crate) why: Option<String>,
    /// The frames of it in the capture, counted from 1.
    pub(crate) frames: Option<Range<u64>>,
}

/// Someone who answers questions about a network.
pub(crate) trait Oracle {
    /// What a name gives, IPv4 first, ascending; `None` if that is not for this oracle to say.
    fn lookup(&mut self, from: &End, name: &str) -> Option<Vec<IpAddr>>;
    /// What comes of a call.
    fn reach(&mut self, from: &End, to: SocketAddr, transport: Transport) -> Seen;
    /// What comes of a call from `lan`, which has that route.
    fn reach_by_route(&mut self, route: Route, to: SocketAddr, transport: Transport) -> Seen;
}

/// The packets of a lab. A question that is asked again has the same answer, so it is not sent again.
pub(crate) struct Packets<'w> {
    lab: &'w mut Lab,
    frames: Option<&'w Frames>,
    lookups: BTreeMap<(End, String), Vec<IpAddr>>,
    calls: BTreeMap<(End, SocketAddr, u8), Seen>,
    /// From `lan` by an added route.
    routed: BTreeMap<(SocketAddr, u8), Seen>,
    /// Somebody may have been told of the last call that it came to nothing.
    told: bool,
}

impl<'w> Packets<'w> {
    pub(crate) const fn new(lab: &'w mut Lab, frames: Option<&'w Frames>) -> Self {
        Self {
            lab,
            frames,
            lookups: BTreeMap::new(),
            calls: BTreeMap::new(),
            routed: BTreeMap::new(),
            told: false,
        }
    }

    /// The names that were looked up so far.
    pub(crate) const fn known(&self) -> &BTreeMap<(End, String), Vec<IpAddr>> {
        &self.lookups
    }

    /// Asks everything again from here on.
    pub(crate) fn forget(&mut self) {
        self.lookups.clear();
        self.calls.clear();
        self.routed.clear();
    }

    fn ask(&mut self, from: &End, to: SocketAddr, transport: Transport) -> Seen {
        let Some(ns) = namespace(self.lab, from) else {
            return Seen {
                reach: Reach::NetUnreachable,
                source: None,
                why: Some("not-running".to_owned()),
                frames: None,
            };
        };
        let question = match transport {
            Transport::Tcp => Question::Tcp(to, b""),
            Transport::Udp => Question::Udp(to, b"?"),
            Transport::Icmp => Question::Ping(to.ip()),
        };
        if core::mem::take(&mut self.told) {
            self.lab.run_for(PAUSE);
        }
        let first = self.frames.map(|frames| frames.count(self.lab));
        let (answer, dropped) = asked(self.lab, ns, &question, LIMIT);
        let frames = self.frames.zip(first).map(|(frames, first)| {
            let last = frames.count(self.lab);
            first + 1..last + 1
        });
        let reach = reach(&answer);
        self.told = reach != Reach::Open;
        let source = match &answer {
            Answer::Open(bytes) if transport != Transport::Icmp => address(bytes),
            _ => None,
        };
        let why = (reach != Reach::Open).then(|| word(reach, dropped).to_owned());
        Seen {
            reach,
            source,
            why,
            frames,
        }
    }
}

/// The namespace of an end, if it is there.
pub(crate) fn namespace(lab: &Lab, end: &End) -> Option<NsId> {
    let places = lab.places();
    let ns = match end {
        End::Container(name) => lab.namespace(name)?,
        End::Host => places.host,
        End::Lan => places.lan,
        End::Internet => places.internet,
    };
    lab.net().ns(ns).map(|_| ns)
}

/// The address in a stand-in's answer.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    core::str::from_utf8(bytes).ok()?.trim_end().parse().ok()
}

const fn reach(answer: &Answer) -> Reach {
    match answer {
        Answer::Open(_) => Reach::Open,
        Answer::Closed => Reach::Closed,
        Answer::Failed(Errno::ConnRefused | Errno::ConnReset) => Reach::Refused,
        Answer::Failed(Errno::NetUnreach) => Reach::NetUnreachable,
        Answer::Failed(Errno::HostUnreach) => Reach::HostUnreachable,
        Answer::Failed(Errno::AddrNotAvail) => Reach::NoAddress,
        Answer::Failed(_) | Answer::Timeout => Reach::Timeout,
    }
}

/// Why it is not open, as far as the caller and the counters of dropped frames know.
const fn word(reach: Reach, dropped: Option<DropReason>) -> &'static str {
    match (reach, dropped) {
        (Reach::Timeout, Some(DropReason::FilteredIcc)) => "icc-off",
        (Reach::Timeout, Some(DropReason::FilteredInternal)) => "internal",
        (Reach::Timeout, Some(DropReason::FilteredIsolation)) => "isolated",
        (Reach::Timeout, Some(DropReason::FilteredUnpublished)) => "not-published",
        (Reach::Timeout, Some(DropReason::FilteredDirect)) => "direct-access",
        (Reach::Timeout, Some(DropReason::Filtered)) => "filtered",
        (Reach::Timeout, _) => "timeout",
        (Reach::Refused, _) => "refused",
        (Reach::Closed, _) => "closed",
        (Reach::NetUnreachable, _) => "net-unreachable",
        (Reach::HostUnreachable, _) => "host-unreachable",
        (Reach::NoAddress, _) => "no-address",
        (Reach::Open, _) => "open",
    }
}

/// IPv4 first, ascending, each once.
fn sorted(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_by_key(|address| (address.is_ipv6(), *address));
    addresses.dedup();
    addresses
}

impl Oracle for Packets<'_> {
    fn lookup(&mut self, from: &End, name: &str) -> Option<Vec<IpAddr>> {
        let key = (from.clone(), name.to_owned());
        if let Some(known) = self.lookups.get(&key) {
            return Some(known.clone());
        }
        let got = match namespace(self.lab, from) {
            Some(ns) => sorted(self.lab.lookup(ns, name)),
            None => Vec::new(),
        };
        self.lookups.insert(key, got.clone());
        Some(got)
    }

    fn reach(&mut self, from: &End, to: SocketAddr, transport: Transport) -> Seen {
        let key = (from.clone(), to, transport as u8);
        if let Some(known) = self.calls.get(&key) {
            return known.clone();
        }
        let seen = self.ask(from, to, transport);
        self.calls.insert(key, seen.clone());
        seen
    }

    fn reach_by_route(&mut self, route: Route, to: SocketAddr, transport: Transport) -> Seen {
        let key = (to, transport as u8);
        if let Some(known) = self.routed.get(&key) {
            return known.clone();
        }
        let lan = self.lab.places().lan;
        let added = self.lab.route_add(lan, route.to, route.via).is_ok();
        let seen = self.ask(&End::Lan, to, transport);
        if added {
            // It is there, so it can be taken away.
            let _gone = self.lab.route_del(lan, route.to, route.via);
        }
        self.routed.insert(key, seen.clone());
        seen
    }
}

/// The model.
pub(crate) struct Rules<'m, 'a>(pub(crate) &'m Model<'a>);

impl Oracle for Rules<'_, '_> {
    fn lookup(&mut self, from: &End, name: &str) -> Option<Vec<IpAddr>> {
        let found = self.0.resolve(from, name);
        if !found.is_empty() {
            return Some(sorted(found));
        }
        // What the engine does not know it forwards; what the world then says is not the model's. It has an answer
        // for names with a dot only.
        let kinds = [Kind::A, Kind::Aaaa];
        let forwards = kinds
            .iter()
            .any(|&kind| matches!(self.0.lookup(from, name, kind), Reply::Upstream(_)));
        (!forwards || !name.contains('.')).then(Vec::new)
    }

    fn reach(&mut self, from: &End, to: SocketAddr, transport: Transport) -> Seen {
        computed(&self.0.reach(from, to, transport))
    }

    fn reach_by_route(&mut self, _route: Route, to: SocketAddr, transport: Transport) -> Seen {
        computed(&self.0.reach_by_route(to, transport))
    }
}

fn computed(outcome: &Outcome) -> Seen {
    Seen {
        reach: outcome.reach,
        source: outcome.source.filter(|_| outcome.is_open()),
        why: outcome.reason.map(|reason| reason.as_str().to_owned()),
        frames: None,
    }
}
