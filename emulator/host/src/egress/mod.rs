//! The way out of the lab: what containers send to the internet, by sockets of the real machine.
//!
//! A packet leaves by the lab's uplink as it would on a Docker host, after masquerade. The machine that is the internet
//! ([`Lab::open_internet`]) holds whatever opens something until it has been asked for in the real world:
//!
//! - **TCP**: the real connection first, then the container's answer. A real connection lets the SYN in, a refusal is a
//!   reset, an error of the path is ICMP, a time that runs out is silence. Open connections are tied together as those of
//!   published ports are: backpressure, half-close, resets.
//! - **UDP and ping**: a real socket for each flow, forgotten after the times of Linux's conntrack. Errors come back as ICMP.
//! - **DNS**: what the embedded DNS asks upstream goes to the real machine's resolvers ([`Resolver`]); the addresses
//!   in their answers are what a rule about a name allows.
//!
//! Nothing leaves but what a [`Rule`] allows; what is denied is dropped as a firewall drops it, counted, and told. Loopback,
//! link-local and metadata addresses and those of the real machine have to be named. The real loopback is found
//! at [`HOST_NAME`]. All tables are bounded.
//!
//! [`Lab::open_internet`]: emulator_core::lab::Lab::open_internet

mod alarms;
mod dns;
mod flows;
mod names;
mod policy;
mod real;
mod rule;
mod special;
mod stub;
mod tcp;

use core::cell::Cell;
use std::io;
use std::rc::Rc;

use emulator_core::app::{SockOpt, Sys};
use emulator_core::id::{NsId, SockId};
use emulator_core::netns::{Asked, HeldId, Ruling};

pub use dns::{QUESTIONS, Resolver};
pub use flows::{ANSWERED, DATAGRAMS, PINGS, UNANSWERED};
pub use policy::{Counts, HOST_NAME, HOST_V4, HOST_V6};
pub use real::pings;
pub use rule::{Proto, Rule};
pub use tcp::DIALS;

use crate::means::Means;
use crate::reactor::Events;
use crate::runtime::{Attachment, Cx};
use crate::splice::ON_THE_WAY;
use alarms::Alarms;
use flows::Flows;
use policy::Policy;
use tcp::Tcp;

/// The key of the way out itself.
const WAY: u64 = 0;
/// Those of connections and of flows, with their numbers.
const TCP: u64 = 1 << 32;
const FLOW: u64 = 2 << 32;
/// Packets that are decided on in one call.
const ROUND: usize = 64;

/// The way out.
#[derive(Debug)]
pub struct Egress {
    ns: NsId,
    sock: SockId,
    policy: Policy,
    tcp: Tcp,
    flows: Flows,
    alarms: Alarms,
    counts: Rc<Cell<Counts>>,
}

impl Egress {
    /// Opens the way out for what `rules` allow, and has `resolver` asked for names. `counts` tells what passes.
    ///
    /// # Errors
    /// If the lab has no internet, or the way out is open already.
    pub fn new(
        cx: &mut Cx<'_>,
        rules: Vec<Rule>,
        resolver: Resolver,
        counts: Rc<Cell<Counts>>,
        means: Means,
    ) -> io::Result<Self> {
        let other = |errno: emulator_core::netns::Errno| io::Error::other(errno.to_string());
        let sock = cx.lab.open_internet().map_err(other)?;
        let sized = SockOpt::SendBuffer(ON_THE_WAY);
        cx.lab.sys(sock.ns).set(sock, sized).map_err(other)?;
        cx.own(sock, WAY);
        let policy = Policy::new(rules, Rc::clone(&counts), means);
        let gateway = cx.lab.places().gateway;
        let names = policy.clone();
        cx.attach(|cx| dns::Dns::new(cx, gateway, resolver, names).map_err(other))?;
        Ok(Self {
            ns: sock.ns,
            sock,
            policy,
            tcp: Tcp::new(sock.ns),
            flows: Flows::new(sock.ns),
            alarms: Alarms::default(),
            counts,
        })
    }

    /// What passed so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts.get()
    }

    /// Connections and flows that are there now.
    #[must_use]
    pub fn open(&self) -> (usize, usize) {
        (self.tcp.len(), self.flows.len())
    }

    /// Decides on packets that wait.
    fn turn(&mut self, cx: &mut Cx<'_>) {
        for _ in 0..ROUND {
            if !self.decide(cx) {
                return;
            }
        }
        // Others have their turn before the rest.
        let now = cx.now();
        self.alarms.set(cx, now, WAY);
    }

    /// Decides on a packet that waits; false if none does.
    fn decide(&mut self, cx: &mut Cx<'_>) -> bool {
        enum Fresh {
            Connection(core::net::SocketAddr, core::net::SocketAddr),
            Message(flows::Key, Vec<u8>, Vec<u8>),
        }
        let look = |held: HeldId, asked: Asked<'_>| {
            let fresh = match asked {
                Asked::Connection { from, to } => Some(Fresh::Connection(from, to)),
                other => flows::message(&other)
                    .map(|(key, bytes, packet)| Fresh::Message(key, bytes, packet)),
            };
            (held, fresh)
        };
        let net = cx.lab.net_mut();
        let shown = net.with_ns(self.ns, |netns, cx| netns.diverted(cx, look));
        let Some((held, fresh)) = shown.flatten() else {
            return false;
        };
        let Self {
            policy,
            alarms,
            tcp,
            flows,
            ..
        } = self;
        match fresh {
            Some(Fresh::Connection(from, to)) => tcp.asked(cx, policy, alarms, held, (from, to)),
            Some(Fresh::Message(key, bytes, packet)) => {
                flows.asked(cx, policy, alarms, held, (key, bytes, packet));
            }
            None => rule(cx, self.ns, held, Ruling::Accept),
        }
        true
    }
}

/// Tells the lab what becomes of a packet.
fn rule(cx: &mut Cx<'_>, ns: NsId, held: HeldId, ruling: Ruling) {
    cx.lab
        .net_mut()
        .with_ns(ns, |netns, cx| netns.rule(cx, held, ruling));
}

impl Attachment for Egress {
    fn ready(&mut self, cx: &mut Cx<'_>, key: u64, events: Events) {
        let number = key as u32;
        match key & !u64::from(u32::MAX) {
            TCP => self
                .tcp
                .ready(cx, &self.policy, &mut self.alarms, number, events),
            FLOW => self.flows.ready(cx, number, events),
            _ => {}
        }
    }

    fn lab_ready(&mut self, cx: &mut Cx<'_>, key: u64, _sock: SockId) {
        if key != WAY {
            return self.tcp.lab_ready(cx, key as u32);
        }
        self.tcp.accept(cx, &mut self.alarms, self.sock);
        self.turn(cx);
    }

    fn alarm(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let mut again = false;
        while let Some(key) = self.alarms.pop(now) {
            let number = key as u32;
            match key & !u64::from(u32::MAX) {
                TCP => self.tcp.due(cx, &mut self.alarms, number),
                FLOW => self.flows.due(cx, &mut self.alarms, number),
                _ => again = true,
            }
        }
        self.alarms.wake(cx);
        if again {
            self.turn(cx);
        }
    }
}
