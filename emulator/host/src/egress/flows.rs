//! Datagrams and echo requests that leave: each flow has a real socket of its own, for as long as Linux would
//! remember it.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;

use emulator_core::id::NsId;
use emulator_core::netns::{Asked, HeldId, Ruling, Unreachable};
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
    /// Where that is in the real world.
    outside: IpAddr,
    /// How far its socket sends.
    hops: u8,
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
        let hops = hops(&packet);
        if flow.hops != hops && real::set_hops(&flow.fd, key.2.is_ipv6(), hops).is_ok() {
            flow.hops = hops;
        }
        let mut sent = send(&flow.fd, &bytes);
        // What a send says first is what became of an earlier one.
        if sent.is_err() && hear(cx, self.ns, flow) {
            sent = send(&flow.fd, &bytes);
        }
        flow.last = packet;
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
            outside: outside.ip(),
            hops: 0,
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
        if events.error
            && let Some(flow) = self.flows.at(number)
        {
            hear(cx, self.ns, flow);
        }
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
                    // What is not in the queue as well is said of the last one.
                    if !hear(cx, self.ns, flow)
                        && let Some(why) = real::unreachable(&error.into())
                    {
                        complain(cx, self.ns, (&flow.last, why, None));
                    }
                }
            }
        }
        self.buffer = buffer;
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

/// Tells who sent it what was said outside of what left; false if nothing was.
fn hear(cx: &mut Cx<'_>, ns: NsId, flow: &Flow) -> bool {
    let (proto, _, to) = flow.key;
    let mut heard = false;
    for _ in 0..ROUND {
        let Some(told) = real::told(&flow.fd) else {
            break;
        };
        heard = true;
        let Some(why) = told.why else { continue };
        let by = told
            .by
            .map(|by| if by == flow.outside { to.ip() } else { by });
        if proto == Proto::Ping {
            let packet = with_sequence(&flow.last, told.sequence);
            complain(cx, ns, (&packet, why, by));
        } else {
            complain(cx, ns, (&flow.last, why, by));
        }
    }
    heard
}

/// How far a packet may go from here.
fn hops(packet: &[u8]) -> u8 {
    let at = if packet.first().is_some_and(|first| first >> 4 == 6) {
        7
    } else {
        8
    };
    packet.get(at).copied().unwrap_or(64).max(1)
}

/// The echo request of a series that has this sequence number, of the front of another.
fn with_sequence(packet: &[u8], sequence: u16) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let at = match packet.first() {
        Some(first) if first >> 4 == 4 => usize::from(first & 15) * 4,
        _ if packet.get(6) == Some(&58) => 40,
        // Behind other headers it stays what it was.
        _ => return packet,
    };
    let Some(echo) = packet.get_mut(at..at + ECHO) else {
        return packet;
    };
    // RFC 1624: the sum without what stood there, with what stands there.
    let word = |at: usize| u32::from(u16::from_be_bytes([echo[at], echo[at + 1]]));
    let sum = (word(2) ^ 0xffff) + (word(6) ^ 0xffff) + u32::from(sequence);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    echo[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    echo[6..8].copy_from_slice(&sequence.to_be_bytes());
    packet
}

fn complain(cx: &mut Cx<'_>, ns: NsId, (packet, why, by): (&[u8], Unreachable, Option<IpAddr>)) {
    cx.lab
        .net_mut()
        .with_ns(ns, |netns, cx| netns.complain_of(cx, packet, why, by));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_request_of_a_series_has_its_checksum() {
        let sum = |bytes: &[u8]| {
            let words = bytes.chunks_exact(2);
            let sum: u32 = words
                .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])))
                .sum();
            let sum = (sum & 0xffff) + (sum >> 16);
            (sum & 0xffff) + (sum >> 16)
        };
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet[8] = 7;
        packet.extend_from_slice(&[8, 0, 0, 0, 0x12, 0x34, 0, 1, b'a', b'b']);
        let check = 0xffff - sum(&packet[20..]) as u16;
        packet[22..24].copy_from_slice(&check.to_be_bytes());
        assert_eq!(hops(&packet), 7);
        for sequence in [0, 1, 2, 0x1234, 0xffff] {
            let other = with_sequence(&packet, sequence);
            assert_eq!(other[26..28], sequence.to_be_bytes());
            assert_eq!(sum(&other[20..]), 0xffff, "{sequence}");
            assert_eq!((&other[..22], &other[28..]), (&packet[..22], &packet[28..]));
        }
        for len in 0..packet.len() {
            assert_eq!(with_sequence(&packet[..len], 5).len(), len);
            hops(&packet[..len]);
        }
    }
}
