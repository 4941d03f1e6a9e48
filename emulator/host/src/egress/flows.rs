//! Datagrams and echo requests that leave: each flow has a real socket of its own, for as long as Linux would
//! remember it.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;

use emulator_core::id::NsId;
use emulator_core::netns::{Asked, HeldId, Ruling};
use emulator_core::switch::{DropReason, Time};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::alarms::Alarms;
use super::policy::Policy;
use super::{FLOW, Proto, real, rule};
use crate::means::Share;
use crate::places::Places;
use crate::reactor::{Events, Interest, Watch};
use crate::runtime::Cx;

/// Flows of datagrams at a time.
pub const DATAGRAMS: usize = 1024;
/// Series of echo requests at a time.
pub const PINGS: usize = 256;
/// How long a flow that nobody answered lasts, and one of pings (`nf_conntrack_udp_timeout`, `nf_conntrack_icmp_timeout`).
pub const UNANSWERED: Duration = Duration::from_secs(30);
/// How long one that was answered lasts (`nf_conntrack_udp_timeout_stream`).
pub const ANSWERED: Duration = Duration::from_secs(180);
/// Datagrams that are taken in one call.
const ROUND: usize = 64;
/// The largest datagram.
const DATAGRAM: usize = 65_535;
/// What an error quotes of a packet.
const QUOTE: usize = 1232;
/// Bytes of an echo message in front of its payload.
const ECHO: usize = 8;

/// What makes a flow: who in the lab, and to whom. Of a ping the ports are its identifier and 0.
pub(super) type Key = (Proto, SocketAddr, SocketAddr);

#[derive(Debug)]
struct Flow {
    fd: OwnedFd,
    watch: Watch,
    key: Key,
    until: Time,
    answered: bool,
    /// The front of the packet that was sent last.
    last: Vec<u8>,
    _share: Share,
}

impl Flow {
    /// How long it lasts without a datagram.
    const fn span(&self) -> Duration {
        match (self.key.0, self.answered) {
            (Proto::Udp, true) => ANSWERED,
            _ => UNANSWERED,
        }
    }
}

/// All flows.
#[derive(Debug)]
pub(super) struct Flows {
    ns: NsId,
    flows: Places<Flow>,
    numbers: HashMap<Key, u32, FixedState>,
    /// How many of them are pings.
    pings: usize,
    buffer: Vec<u8>,
    /// There were too many; that was said.
    full: bool,
}

/// What is to leave, as a real socket takes it.
pub(super) fn message(asked: &Asked<'_>) -> Option<(Key, Vec<u8>, Vec<u8>)> {
    let front = |packet: &[u8]| packet[..packet.len().min(QUOTE)].to_vec();
    match *asked {
        Asked::Connection { .. } => None,
        Asked::Datagram {
            from,
            to,
            payload,
            packet,
        } => Some(((Proto::Udp, from, to), payload.to_vec(), front(packet))),
        Asked::Echo {
            from,
            to,
            id,
            sequence,
            payload,
            packet,
        } => {
            let kind = if to.is_ipv4() { 8 } else { 128 };
            let mut bytes = Vec::with_capacity(ECHO + payload.len());
            bytes.extend_from_slice(&[kind, 0, 0, 0]);
            bytes.extend_from_slice(&id.to_be_bytes());
            bytes.extend_from_slice(&sequence.to_be_bytes());
            bytes.extend_from_slice(payload);
            let key = (
                Proto::Ping,
                SocketAddr::new(from, id),
                SocketAddr::new(to, 0),
            );
            Some((key, bytes, front(packet)))
        }
    }
}

impl Flows {
    pub(super) fn new(ns: NsId) -> Self {
        Self {
            ns,
            flows: Places::default(),
            numbers: HashMap::with_hasher(FixedState::default()),
            pings: 0,
            buffer: Vec::new(),
            full: false,
        }
    }

    /// A container sends something.
    pub(super) fn asked(
        &mut self,
        cx: &mut Cx<'_>,
        policy: &Policy,
        alarms: &mut Alarms,
        held: HeldId,
        (key, bytes, packet): (Key, Vec<u8>, Vec<u8>),
    ) {
        let number = match self.numbers.get(&key) {
            Some(&number) => number,
            None => match self.open(cx, policy, alarms, key) {
                Ok(number) => number,
                Err(ruling) => return rule(cx, self.ns, held, ruling),
            },
        };
        let Some(flow) = self.flows.at(number) else {
            return rule(cx, self.ns, held, Ruling::Accept);
        };
        flow.until = cx.now() + flow.span();
        // What a send says first is what became of an earlier one.
        let mut sent = send(&flow.fd, &bytes);
        let late = sent.as_ref().err().and_then(real::unreachable);
        if let Some(why) = late {
            let last = core::mem::take(&mut flow.last);
            complain(cx, self.ns, &last, why);
            sent = send(&flow.fd, &bytes);
        }
        if let Some(flow) = self.flows.at(number) {
            flow.last = packet;
        }
        let ruling = match sent.as_ref().map_err(real::unreachable) {
            Err(Some(why)) => Ruling::Unreachable(why),
            // A queue that is full loses it, as a router does.
            Ok(()) | Err(None) => Ruling::Accept,
        };
        rule(cx, self.ns, held, ruling);
    }

    fn open(
        &mut self,
        cx: &mut Cx<'_>,
        policy: &Policy,
        alarms: &mut Alarms,
        key: Key,
    ) -> Result<u32, Ruling> {
        let (proto, _, to) = key;
        let outside = SocketAddr::new(policy.real(to.ip()), to.port());
        if !policy.allows(cx.now(), proto, outside) {
            return Err(Ruling::Drop(DropReason::EgressDenied));
        }
        let room = match proto {
            Proto::Ping => self.pings < PINGS,
            _ => self.flows.len() - self.pings < DATAGRAMS,
        };
        let Some(share) = policy.means.take().filter(|_| room) else {
            if !core::mem::replace(&mut self.full, true) {
                policy.means.say("egress: datagrams and pings are lost until other flows end: there are as many as there may be");
            }
            return Err(Ruling::Drop(DropReason::SocketBufferFull));
        };
        let number = self.flows.next();
        let name = FLOW | u64::from(number);
        let opened = real::connect(proto, outside).and_then(|fd| {
            let watch = cx.watch(&fd, name, Interest::READ)?;
            Ok((fd, watch))
        });
        let (fd, watch) = opened.map_err(|error| refused(proto, &error))?;
        let until = cx.now() + UNANSWERED;
        self.flows.insert(Flow {
            fd,
            watch,
            key,
            until,
            answered: false,
            last: Vec::new(),
            _share: share,
        });
        self.numbers.insert(key, number);
        self.pings += usize::from(proto == Proto::Ping);
        alarms.set(cx, until, name);
        policy.count(|counts| match proto {
            Proto::Ping => counts.pings += 1,
            _ => counts.datagrams += 1,
        });
        Ok(number)
    }

    /// A real socket is ready.
    pub(super) fn ready(&mut self, cx: &mut Cx<'_>, number: u32, events: Events) {
        let mut buffer = core::mem::take(&mut self.buffer);
        buffer.resize(DATAGRAM, 0);
        for _ in 0..ROUND {
            let Some(flow) = self.flows.at(number) else {
                break;
            };
            match rustix::net::recv(&flow.fd, &mut buffer[..], RecvFlags::empty()) {
                Ok((len, _)) => {
                    flow.answered = true;
                    flow.until = cx.now() + flow.span();
                    let key = flow.key;
                    hand_in(cx, self.ns, key, &buffer[..len]);
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => {
                    let last = core::mem::take(&mut flow.last);
                    if let Some(why) = real::unreachable(&error.into()) {
                        complain(cx, self.ns, &last, why);
                    }
                }
            }
        }
        self.buffer = buffer;
        if events.error
            && let Some(flow) = self.flows.at(number)
        {
            real::forget_path_errors(&flow.fd);
        }
    }

    /// An alarm of a flow.
    pub(super) fn due(&mut self, cx: &mut Cx<'_>, alarms: &mut Alarms, number: u32) {
        let Some(flow) = self.flows.at(number) else {
            return;
        };
        if flow.until > cx.now() {
            let until = flow.until;
            return alarms.set(cx, until, FLOW | u64::from(number));
        }
        if let Some(flow) = self.flows.remove(number) {
            self.numbers.remove(&flow.key);
            self.pings -= usize::from(flow.key.0 == Proto::Ping);
            cx.unwatch(flow.watch, &flow.fd);
            self.full = false;
        }
        if self.flows.len() == 0 {
            // Where nothing flows there is no buffer.
            self.buffer = Vec::new();
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }
}

fn send(fd: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    rustix::net::send(fd, bytes, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// What is answered where no socket could be had.
fn refused(proto: Proto, error: &io::Error) -> Ruling {
    match real::unreachable(error) {
        // A ping socket that this user may not have, has been told of; nobody else forbids anything.
        Some(_) if proto == Proto::Ping && error.kind() == io::ErrorKind::PermissionDenied => {
            Ruling::Drop(DropReason::EgressDenied)
        }
        Some(why) => Ruling::Unreachable(why),
        None => Ruling::Drop(DropReason::EgressPending),
    }
}

fn complain(cx: &mut Cx<'_>, ns: NsId, packet: &[u8], why: emulator_core::netns::Unreachable) {
    cx.lab
        .net_mut()
        .with_ns(ns, |netns, cx| netns.complain_of(cx, packet, why));
}

/// Hands a container what came for it. What does not get there is lost.
fn hand_in(cx: &mut Cx<'_>, ns: NsId, (proto, client, server): Key, bytes: &[u8]) {
    let net = cx.lab.net_mut();
    if proto == Proto::Udp {
        net.with_ns(ns, |netns, cx| {
            let _lost = netns.datagram_as(cx, server, client, bytes);
        });
        return;
    }
    let reply: u8 = match server.ip() {
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => 129,
    };
    let Some((&[kind, _, _, _, _, _, high, low], payload)) = bytes.split_first_chunk::<ECHO>()
    else {
        return;
    };
    if kind != reply {
        return;
    }
    let sequence = u16::from_be_bytes([high, low]);
    net.with_ns(ns, |netns, cx| {
        let echo = (client.port(), sequence);
        let _lost = netns.echo_as(cx, server.ip(), client.ip(), echo, payload);
    });
}
