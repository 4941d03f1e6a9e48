//! A whole lab in both families under strain, driven its short ways, its long ones, and in pieces: all tell the same, and
//! it recovers.
//!
//! A wire between two networks loses, delays, repeats, reorders and spoils what crosses it; tables, rings and buffers are
//! small; datagrams are cut; many flows want the same few ports; containers and networks come and go in between.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use switch::conntrack::{Conntrack, Limits};
use switch::filter::{self, Action, ChainId, Match, Rule, RuleId, Table};
use switch::frame::PoolLimits;
use switch::hook::Hook;
use switch::link::{Mode, Side};
use switch::segment::{cut, fill_checksums};
use switch::verdict::Event;

use crate::app::{Family, SockKind, SockOpt, Sys};
use crate::docker::spec::{
    ContainerSpec, EndpointSpec, HostPort, NetworkSpec, Port, PortBinding, Proto,
};
use crate::id::{NsId, SockId};
use crate::lab::{Input, Lab, LabConfig, Output};
use crate::net::{CaptureAt, NetConfig, Offload};
use crate::netns::*;
use ipnet::IpNet;

/// Containers that publish their ports, and the networks that they are in.
const BOXES: [(&str, &str); 3] = [("box0", "front"), ("box1", "front"), ("box2", "back")];
/// The ends of the wire, and the networks that they are in.
const ENDS: [(&str, &str); 2] = [("end0", "front"), ("end1", "back")];
const PORT: u16 = 80;

#[derive(Clone, Debug)]
enum Step {
    /// A place connects to an address of this family.
    Connect(usize, usize, Family),
    Send(usize, bool, usize),
    Take(usize, bool),
    Shut(usize, bool),
    Close(usize, bool, bool),
    /// A datagram of so many bytes that may be cut on its way, or not.
    Datagram(usize, usize, Family, usize, bool),
    /// An echo request likewise.
    Ping(usize, usize, Family, usize),
    /// A datagram of each box from each of so many ports, the lowest ones.
    Swarm(usize, Family, u16),
    /// So many connections are begun, and reset.
    Calls(usize, usize, Family, usize),
    Wire(Wire),
    Settle,
    Wait(u64),
    Verb(Verb, usize),
    /// A rule that drops what is for a port comes or goes.
    Rule(Family, u16),
}

/// What the wire does to one frame in so many, never where that is nought, how long it takes, and whether it carries
/// super-segments and partial checksums.
#[derive(Clone, Copy, Debug, Default)]
struct Wire {
    loses: u8,
    repeats: u8,
    swaps: u8,
    spoils: u8,
    millis: u16,
    whole: bool,
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    Leave,
    Join,
    Restart,
    Kill,
    Start,
    Pause(bool),
    Forget,
    Mac(u8),
    Mtu(u32),
    /// Of the bridge.
    BridgeMtu(u32),
    Down(bool),
    Forward(bool),
}

/// What there is little of.
#[derive(Clone, Copy, Debug)]
struct Setting {
    mode: Mode,
    ring: usize,
    addresses: usize,
    connections: usize,
    buffers: PoolLimits,
}

/// How a lab is driven.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Drive {
    Short,
    /// No namespace takes short ways, and bridges look at each frame.
    Long,
    Pieces,
}

/// One end of a connection: its socket, how much it has sent and taken.
#[derive(Clone, Copy, Debug)]
struct End {
    ns: NsId,
    sock: SockId,
    sent: usize,
    taken: usize,
}

struct World {
    lab: Lab,
    drive: Drive,
    listeners: BTreeMap<usize, (NsId, [SockId; 2])>,
    pairs: Vec<[Option<End>; 2]>,
    pings: Vec<(NsId, SockId)>,
    rules: BTreeMap<(Family, u16), RuleId>,
    wire: Wire,
    chance: u64,
    /// What is on the wire, by when it arrives and where.
    under_way: BTreeMap<(Time, u64), (usize, Vec<u8>, Offload)>,
    carried: u64,
    events: Vec<Event>,
    said: Vec<String>,
}

fn container(name: &str, network: &str, number: Option<usize>) -> ContainerSpec {
    let binding = |(number, proto)| PortBinding {
        port: Port {
            number: PORT,
            proto,
        },
        host_ip: None,
        host_port: HostPort::Exact(published(number)),
    };
    let ports = number
        .into_iter()
        .flat_map(|number| [(number, Proto::Tcp), (number, Proto::Udp)]);
    ContainerSpec {
        name: Some(name.to_owned()),
        image: "busybox".to_owned(),
        network_mode: network.to_owned(),
        ports: ports.map(binding).collect(),
        ..ContainerSpec::default()
    }
}

/// Else what the wire brings from one bridge to the other would be direct access from another interface.
fn unprotected(is_front: bool) -> BTreeMap<String, String> {
    let option = |family| {
        let key = format!("com.docker.network.bridge.gateway_mode_{family}");
        (key, "nat-unprotected".to_owned())
    };
    let families = is_front.then_some(["ipv4", "ipv6"]);
    families.into_iter().flatten().map(option).collect()
}

fn published(number: usize) -> u16 {
    8000 + number as u16
}

/// The byte of a stream at a place.
fn byte(at: usize) -> u8 {
    (at * 7 + at / 251) as u8
}

/// An address of this family that is known beyond its link.
fn of_family(address: &IpAddr, family: Family) -> bool {
    match address {
        IpAddr::V4(_) => family == Family::V4,
        IpAddr::V6(v6) => family == Family::V6 && !v6.is_unicast_link_local(),
    }
}

impl World {
    fn new(setting: Setting, drive: Drive) -> Self {
        let mut lab = Lab::new(LabConfig {
            net: NetConfig {
                mode: setting.mode,
                ring: setting.ring,
                bridge_addresses: setting.addresses,
                pool: setting.buffers,
                ..NetConfig::default()
            },
            ..LabConfig::default()
        })
        .unwrap();
        lab.net_mut().trace.listen(true);
        let host = lab.places().host;
        lab.net_mut().with_ns(host, |netns, _| {
            netns.firewall_mut().unwrap().conntrack = Conntrack::new(Limits {
                connections: setting.connections,
            });
        });
        for name in ["front", "back"] {
            let spec = NetworkSpec {
                name: name.to_owned(),
                ipv6: Some(true),
                options: unprotected(name == "front"),
                ..NetworkSpec::default()
            };
            lab.network_create(spec).unwrap();
        }
        let boxes = BOXES.iter().enumerate();
        let boxes = boxes.map(|(at, (name, network))| (*name, *network, Some(at)));
        let ends = ENDS.map(|(name, network)| (name, network, None));
        for (name, network, number) in boxes.chain(ends) {
            lab.create(container(name, network, number)).unwrap();
            lab.start(name).unwrap();
        }
        if drive == Drive::Long {
            lab.capture_start(CaptureAt::All);
        }
        let mut world = Self {
            lab,
            drive,
            listeners: BTreeMap::new(),
            pairs: Vec::new(),
            pings: Vec::new(),
            rules: BTreeMap::new(),
            wire: Wire::default(),
            chance: 1,
            under_way: BTreeMap::new(),
            carried: 0,
            events: Vec::new(),
            said: Vec::new(),
        };
        for (name, _) in ENDS {
            let ns = world.lab.namespace(name).unwrap();
            let (eth0, _) = world.eth0(ns).unwrap();
            world.lab.net_mut().raw(eth0, true);
        }
        (0..=BOXES.len()).for_each(|at| world.serve(at));
        world.settle();
        world
    }

    fn eth0(&self, ns: NsId) -> Option<(IfId, Vec<IpAddr>)> {
        let netns = self.lab.net().ns(ns)?;
        let iface = netns.ifaces().find(|iface| !iface.is_loopback())?;
        let addresses = iface.addrs.iter().map(|at| at.net.addr());
        Some((iface.id, addresses.collect()))
    }

    /// Boxes, then another machine, then the host.
    fn place(&self, at: usize) -> Option<NsId> {
        let places = self.lab.places();
        match BOXES.get(at) {
            Some((name, _)) => self.lab.namespace(name),
            None if at == BOXES.len() => Some(places.lan),
            None => Some(places.host),
        }
    }

    /// The address of the last box behind the wire.
    fn far(&self, family: Family) -> IpAddr {
        let host = self.lab.net().ns(self.lab.places().host).unwrap();
        let bridge = self.bridge("front");
        let addresses = host.iface(bridge).unwrap().addrs.iter();
        let mut gateways = addresses.map(|at| at.net.addr());
        let gateway = gateways.find(|at| of_family(at, family));
        match gateway.unwrap() {
            IpAddr::V4(v4) => {
                let [a, b, ..] = v4.octets();
                Ipv4Addr::new(a, b, 0, 200).into()
            }
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64 | 0x200).into(),
        }
    }

    fn bridge(&self, network: &str) -> IfId {
        let id = self.lab.network_id(network).unwrap();
        let name = format!("br-{}", &id[..12]);
        let host = self.lab.net().ns(self.lab.places().host).unwrap();
        host.iface_named(&name).unwrap().id
    }

    /// Boxes, what they publish, the last box behind the wire, then another machine.
    fn address(&self, at: usize, family: Family) -> SocketAddr {
        let count = BOXES.len();
        let of = |ns: Option<NsId>| {
            let addresses = ns.and_then(|ns| self.eth0(ns)).map(|eth0| eth0.1);
            let mut addresses = addresses.unwrap_or_default().into_iter();
            let nowhere = match family {
                Family::V4 => Ipv4Addr::new(172, 18, 0, 99).into(),
                Family::V6 => Ipv6Addr::LOCALHOST.into(),
            };
            addresses
                .find(|at| of_family(at, family))
                .unwrap_or(nowhere)
        };
        if at < count {
            return (of(self.place(at)), PORT).into();
        }
        if at < 2 * count {
            let places = self.lab.places();
            let host = self.lab.net().ns(places.host).unwrap();
            let uplink = host.iface(places.uplink).unwrap().addrs.iter();
            let mut addresses = uplink.map(|at| at.net.addr());
            let address = addresses.find(|at| of_family(at, family)).unwrap();
            return (address, published(at - count)).into();
        }
        match at - 2 * count {
            0 => (self.far(family), PORT).into(),
            _ => (of(self.place(count)), PORT).into(),
        }
    }

    /// A place listens, and the last box has its second addresses.
    fn serve(&mut self, at: usize) {
        let Some(ns) = self.place(at) else { return };
        self.mark_long();
        if at == BOXES.len() - 1
            && let Some((eth0, _)) = self.eth0(ns)
        {
            for family in [Family::V4, Family::V6] {
                let prefix = if family == Family::V4 { 16 } else { 64 };
                let far = IpNet::new(self.far(family), prefix).unwrap();
                let done = self.lab.net_mut().addr_add(eth0, far);
                self.said.push(format!("{done:?}"));
            }
        }
        let mut sys = self.lab.sys(ns);
        let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT));
        let listener = sys.socket(SockKind::Tcp, Family::V6).unwrap();
        let datagrams = sys.socket(SockKind::Udp, Family::V6).unwrap();
        let listens = sys
            .bind(listener, all)
            .and_then(|()| sys.listen(listener, 3))
            .and_then(|()| sys.set(datagrams, SockOpt::DontFragment(false)))
            .and_then(|()| sys.bind(datagrams, all));
        if listens.is_ok() {
            self.listeners.insert(at, (ns, [listener, datagrams]));
        }
    }

    fn mark_long(&mut self) {
        let (long, net) = (self.drive == Drive::Long, self.lab.net_mut());
        let all: Vec<NsId> = net.all_ns().map(Netns::id).collect();
        for ns in all {
            net.with_ns(ns, |netns, _| {
                netns.takes_long_way = long;
                netns.streams.tcp(netns.offload).0.takes_long_way = long;
            });
        }
    }

    fn settle(&mut self) {
        self.settle_by(self.drive);
    }

    fn settle_by(&mut self, drive: Drive) {
        for _ in 0..30 {
            loop {
                // In pieces timers do not wait for frames.
                let is_due = self.lab.deadline().is_some_and(|at| at <= self.lab.now());
                let output = match drive {
                    Drive::Pieces if !is_due => self.lab.poll_within(u32::MAX),
                    _ => Some(self.lab.poll()),
                };
                match output {
                    Some(Output::Idle(_)) => break,
                    None | Some(Output::Captured(_)) => {}
                    Some(output) => self.said.push(format!("{output:?}")),
                }
            }
            self.lab.net_mut().capture_take();
            self.events.extend(self.lab.net_mut().trace.drain());
            self.accept();
            let (answered, carried) = (self.answer(), self.carry());
            if !answered && !carried {
                return;
            }
        }
    }

    fn accept(&mut self) {
        for (ns, [listener, _]) in self.listeners.clone().into_values() {
            while let Ok((sock, from)) = self.lab.sys(ns).accept(listener) {
                self.said.push(format!("{ns:?} accepts {sock:?} of {from}"));
                let end = Some(End::new(ns, sock));
                let mut open = self.pairs.iter_mut().rev();
                match open.find(|pair| pair[1].is_none()) {
                    Some(pair) => pair[1] = end,
                    None => self.pairs.push([None, end]),
                }
            }
        }
    }

    /// Who is sent a datagram of an odd length sends it back.
    fn answer(&mut self) -> bool {
        let mut answered = false;
        let mut bytes = vec![0; 70_000];
        for (ns, [_, datagrams]) in self.listeners.clone().into_values() {
            while let Ok(heard) = self.lab.sys(ns).recv_from(datagrams, &mut bytes) {
                self.said.push(format!("{ns:?} hears {heard:?}"));
                assert!(bytes[..heard.len].iter().all(|byte| *byte == 7));
                if heard.len % 2 == 1 {
                    let mut sys = self.lab.sys(ns);
                    let sent = sys.send_from(datagrams, &bytes[..heard.len], heard.from, heard.to);
                    self.said.push(format!("{sent:?}"));
                    answered = true;
                }
            }
        }
        answered
    }

    /// A number below `most`, always the same ones.
    fn chance(&mut self, most: u64) -> u64 {
        self.chance = self
            .chance
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(1);
        (self.chance >> 33) % most
    }

    fn happens(&mut self, one_in: u8) -> bool {
        one_in > 0 && self.chance(one_in.into()) == 0
    }

    /// What came to the ends of the wire that concerns the address behind it goes on its way, and what has come
    /// arrives; whether something arrived.
    fn carry(&mut self) -> bool {
        let ends = ENDS.map(|(name, _)| {
            let ns = self.lab.namespace(name).unwrap();
            self.eth0(ns).unwrap().0
        });
        let far = [Family::V4, Family::V6].map(|family| match self.far(family) {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        });
        for (side, end) in ends.into_iter().enumerate() {
            let mut frames = Vec::new();
            let (net, whole) = (self.lab.net_mut(), self.wire.whole);
            let mut look = |bytes: &[u8], offload: Offload| {
                let mut bytes = bytes.to_vec();
                if whole {
                    return frames.push((bytes, offload));
                }
                if offload.csum_partial {
                    fill_checksums(&mut bytes);
                }
                cut(&bytes, offload.gso_size, |piece| {
                    frames.push((piece.to_vec(), Offload::default()));
                });
            };
            while net.raw_recv_offload(end, &mut look).is_some() {}
            for (frame, offload) in frames {
                let head = &frame[..frame.len().min(100)];
                let concerns = |far: &Vec<u8>| head.windows(far.len()).any(|at| at == far);
                if far.iter().any(concerns) {
                    self.send_on(1 - side, frame, offload);
                }
            }
        }
        let now = self.lab.now();
        let mut arrived = false;
        while let Some(first) = self.under_way.first_entry().filter(|at| at.key().0 <= now) {
            let (side, frame, offload) = first.remove();
            let net = self.lab.net_mut();
            let sent = net.raw_send_offload(ends[side], &frame, offload);
            self.said.push(format!("{sent:?}"));
            arrived = true;
        }
        arrived
    }

    fn send_on(&mut self, side: usize, mut frame: Vec<u8>, offload: Offload) {
        let wire = self.wire;
        if self.happens(wire.loses) {
            return;
        }
        if self.happens(wire.spoils) && !offload.csum_partial {
            let at = self.chance(frame.len() as u64) as usize;
            frame[at] ^= 1 << self.chance(8);
        }
        let mut at = self.lab.now() + Duration::from_millis(wire.millis.into());
        for _ in 0..1 + u8::from(self.happens(wire.repeats)) {
            if self.happens(wire.swaps) {
                let late = 1 + self.chance(20);
                at += Duration::from_millis(late);
            }
            self.carried += 1;
            self.under_way
                .insert((at, self.carried), (side, frame.clone(), offload));
        }
    }

    fn wait(&mut self, millis: u64) {
        self.settle();
        let end = self.lab.now() + Duration::from_millis(millis);
        loop {
            let arrives = self.under_way.first_key_value().map(|((at, _), _)| *at);
            let next = self.lab.deadline().into_iter().chain(arrives).min();
            let Some(next) = next.filter(|next| *next < end) else {
                break;
            };
            self.lab.handle(next.max(self.lab.now()), Input::Tick);
            self.settle_by(Drive::Short);
        }
        self.lab.handle(end, Input::Tick);
        self.settle_by(Drive::Short);
    }

    fn end(&self, which: usize, end: bool) -> Option<End> {
        let pair = self.pairs.get(which % self.pairs.len().max(1))?;
        pair[usize::from(end)].filter(|end| self.lab.net().ns(end.ns).is_some())
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Connect(from, to, family) => {
                self.connect(from, to, family);
            }
            Step::Send(which, end, _)
            | Step::Take(which, end)
            | Step::Shut(which, end)
            | Step::Close(which, end, _) => {
                if let Some(held) = self.end(which, end) {
                    let after = self.ask(step, held);
                    let pairs = self.pairs.len();
                    self.pairs[which % pairs][usize::from(end)] = after;
                }
            }
            Step::Datagram(from, to, family, len, cut) => {
                self.datagram(from, to, family, 0, (len, cut));
            }
            Step::Swarm(to, family, count) => {
                for port in 1..=count {
                    (0..BOXES.len())
                        .for_each(|from| self.datagram(from, to, family, port, (8, true)));
                    if port % 16 == 1 {
                        self.settle();
                    }
                }
            }
            Step::Ping(from, to, family, len) => self.ping(from, to, family, len),
            Step::Calls(from, to, family, count) => {
                for _ in 0..count {
                    if let Some((ns, sock)) = self.connect(from, to, family) {
                        self.settle();
                        let mut sys = self.lab.sys(ns);
                        let _set = sys.set(sock, SockOpt::LingerZero(true));
                        sys.close(sock);
                        self.pairs
                            .pop_if(|pair| pair[0].is_some_and(|end| end.sock == sock));
                    }
                }
            }
            Step::Wire(wire) => self.wire = wire,
            Step::Settle => self.settle(),
            Step::Wait(millis) => self.wait(millis),
            Step::Verb(verb, at) => self.verb(verb, at),
            Step::Rule(family, port) => self.rule(family, port),
        }
        self.mark_long();
        self.events.extend(self.lab.net_mut().trace.drain());
    }

    fn connect(&mut self, from: usize, to: usize, family: Family) -> Option<(NsId, SockId)> {
        let (ns, to) = (self.place(from)?, self.address(to, family));
        let mut sys = self.lab.sys(ns);
        let sock = sys.socket(SockKind::Tcp, family).unwrap();
        let begun = sys.connect(sock, to);
        self.said
            .push(format!("{begun:?} {:?}", sys.local_addr(sock)));
        self.pairs.push([Some(End::new(ns, sock)), None]);
        Some((ns, sock))
    }

    fn ask(&mut self, step: &Step, mut end: End) -> Option<End> {
        let mut sys = self.lab.sys(end.ns);
        match *step {
            Step::Send(_, _, len) => {
                let bytes: Vec<u8> = (end.sent..end.sent + len).map(byte).collect();
                let sent = sys.send(end.sock, &bytes);
                end.sent += sent.unwrap_or(0);
                self.said.push(format!("{sent:?}"));
            }
            Step::Take(..) => {
                let mut bytes = vec![0; 60_000];
                let taken = sys.recv(end.sock, &mut bytes);
                let expected = (end.taken..).map(byte);
                let taken_bytes = &bytes[..taken.unwrap_or(0)];
                assert!(
                    taken_bytes
                        .iter()
                        .copied()
                        .eq(expected.take(taken_bytes.len()))
                );
                end.taken += taken_bytes.len();
                self.said.push(format!("{taken:?}"));
            }
            Step::Shut(..) => {
                let shut = sys.shutdown(end.sock);
                self.said.push(format!("{shut:?}"));
            }
            _ => {
                if matches!(step, Step::Close(_, _, true)) {
                    let _set = sys.set(end.sock, SockOpt::LingerZero(true));
                }
                sys.close(end.sock);
                return None;
            }
        }
        Some(end)
    }

    fn datagram(
        &mut self,
        from: usize,
        to: usize,
        family: Family,
        port: u16,
        (len, cut): (usize, bool),
    ) {
        let Some(ns) = self.place(from) else { return };
        let to = self.address(to, family);
        let mut sys = self.lab.sys(ns);
        let sock = sys.socket(SockKind::Udp, family).unwrap();
        let any: IpAddr = match family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let sent = sys
            .set(sock, SockOpt::DontFragment(!cut))
            .and_then(|()| {
                if port == 0 {
                    Ok(())
                } else {
                    sys.bind(sock, (any, port).into())
                }
            })
            .and_then(|()| sys.send_to(sock, &vec![7; len], to));
        self.said.push(format!("{sent:?}"));
        self.lab.sys(ns).close(sock);
    }

    fn ping(&mut self, from: usize, to: usize, family: Family, len: usize) {
        let Some(ns) = self.place(from) else { return };
        let to = self.address(to, family).ip();
        let mut sys = self.lab.sys(ns);
        let sock = sys.socket(SockKind::Ping, family).unwrap();
        let sent = sys
            .set(sock, SockOpt::DontFragment(false))
            .and_then(|()| sys.connect(sock, (to, 0).into()))
            .and_then(|()| sys.send(sock, &vec![7; len]));
        self.said.push(format!("{sent:?}"));
        self.pings.push((ns, sock));
        if self.pings.len() > 2 {
            self.hear_ping();
        }
    }

    fn hear_ping(&mut self) {
        let (ns, sock) = self.pings.remove(0);
        if self.lab.net().ns(ns).is_none() {
            return;
        }
        let mut sys = self.lab.sys(ns);
        let heard = sys.recv_from(sock, &mut [0; 70_000]);
        let error = sys.take_error(sock);
        sys.close(sock);
        self.said.push(format!("{heard:?} {error:?}"));
    }

    fn rule(&mut self, family: Family, port: u16) {
        let before = self.rules.remove(&(family, port));
        let of_rule = match family {
            Family::V4 => filter::Family::V4,
            Family::V6 => filter::Family::V6,
        };
        let host = self.lab.places().host;
        let added = self.lab.net_mut().with_ns(host, |netns, _| {
            let rules = &mut netns.firewall_mut().unwrap().rules;
            if let Some(before) = before {
                rules.remove(before);
                return None;
            }
            let forward = ChainId::base(of_rule, Table::Filter, Hook::Forward)?;
            let matches = Match {
                destination_port: Some(port),
                ..Match::default()
            };
            let rule = Rule {
                matches,
                action: Action::Drop(DropReason::Filtered),
                origin: "test".into(),
            };
            rules.add(forward, i64::MIN, rule)
        });
        if let Some(id) = added.flatten() {
            self.rules.insert((family, port), id);
        }
    }

    fn verb(&mut self, verb: Verb, at: usize) {
        let (name, network) = BOXES[at];
        let host = self.lab.places().host;
        let addresses = [Family::V4, Family::V6].map(|family| self.address(at, family).ip());
        let done = match verb {
            Verb::Leave => self.lab.network_disconnect(network, name, false),
            Verb::Join => (self.lab).network_connect(network, name, EndpointSpec::default()),
            Verb::Restart => self.lab.restart(name),
            Verb::Kill => self.lab.kill(name),
            Verb::Start => self.lab.start(name),
            Verb::Pause(true) => self.lab.pause(name),
            Verb::Pause(false) => self.lab.unpause(name),
            _ => Ok(()),
        };
        if done.is_ok() && matches!(verb, Verb::Join | Verb::Restart | Verb::Start) {
            self.serve(at);
        }
        self.said.push(format!("{done:?}"));
        let bridge = self.bridge(network);
        let done = self.lab.net_mut().with_ns(host, |netns, _| match verb {
            Verb::Forward(on) => {
                netns.set_forwarding(on);
                Ok(())
            }
            Verb::BridgeMtu(mtu) => netns.iface_mtu(bridge, mtu),
            Verb::Forget => {
                let firewall = netns.firewall_mut().unwrap();
                for address in addresses {
                    firewall.conntrack.flush_where(address);
                }
                Ok(())
            }
            _ => Ok(()),
        });
        self.said.push(format!("{done:?}"));
        let Some(ns) = self.place(at) else { return };
        let Some((eth0, _)) = self.eth0(ns) else {
            return;
        };
        let done = self.lab.net_mut().with_ns(ns, |netns, cx| match verb {
            Verb::Mac(last) => netns.iface_mac(eth0, [2, 0, 0, 0, 1, last]),
            Verb::Mtu(mtu) => netns.iface_mtu(eth0, mtu),
            Verb::Down(down) => netns.iface_up(cx, eth0, !down),
            _ => Ok(()),
        });
        self.said.push(format!("{done:?}"));
    }

    /// What can be looked at.
    fn state(&self) -> Vec<String> {
        let net = self.lab.net();
        let now = net.now();
        let mut state = vec![format!("{:?}", net.trace.drops)];
        let host = net.ns(self.lab.places().host).unwrap();
        let firewall = host.firewall().unwrap();
        let line =
            |conn: &&switch::conntrack::Conn| format!("{} {:?}", conn.line(now), conn.expires);
        state.extend(firewall.conntrack.list(now).iter().map(line));
        let names = |iface: IfId| iface.0.to_string();
        for family in [filter::Family::V4, filter::Family::V6] {
            for table in [Table::Raw, Table::Nat, Table::Filter] {
                state.push(firewall.rules.list(family, table, true, &names));
            }
        }
        for bridge in net.bridges() {
            state.push(format!(
                "{:?} {:?}",
                bridge.counters(),
                bridge.fdb().entries(now)
            ));
        }
        for link in net.links() {
            state.push(format!(
                "{:?}",
                [Side::A, Side::B].map(|side| link.counters(side))
            ));
        }
        for netns in net.all_ns() {
            let ifaces = netns
                .ifaces()
                .map(|iface| (&iface.name, iface.rx, iface.tx));
            state.extend(ifaces.map(|iface| format!("{} {iface:?}", netns.name())));
            state.push(format!("{:?}", netns.neighbours(now).collect::<Vec<_>>()));
            state.push(format!("{:?}", netns.sockets()));
        }
        state
    }

    /// All that strains it ends, and time passes.
    fn heal(&mut self) {
        self.wire = Wire::default();
        for (family, port) in self.rules.clone().into_keys() {
            self.rule(family, port);
        }
        for at in 0..BOXES.len() {
            for verb in [
                Verb::Pause(false),
                Verb::Start,
                Verb::Join,
                // An interface that was down has no default route, and no address of IPv6.
                Verb::Restart,
                Verb::BridgeMtu(1500),
                Verb::Forward(true),
            ] {
                self.verb(verb, at);
            }
        }
        self.mark_long();
        for (ns, sock) in self
            .pairs
            .drain(..)
            .flatten()
            .flatten()
            .map(|end| (end.ns, end.sock))
        {
            if self.lab.net().ns(ns).is_some() {
                self.lab.sys(ns).close(sock);
            }
        }
        while !self.pings.is_empty() {
            self.hear_ping();
        }
        self.wait(700_000);
    }

    /// Each family carries a stream to its end, over a bridge, through a published port and over the wire.
    fn recovers(&mut self, setting: Setting) {
        const LEN: usize = 30_000;
        let count = BOXES.len();
        for (from, to) in [
            (0, 1),
            (count, count + 2),
            (1, 2 * count),
            (2, 2 * count + 1),
        ] {
            for family in [Family::V4, Family::V6] {
                self.pairs.clear();
                self.connect(from, to, family);
                self.wait(30_000);
                assert!(
                    self.end(0, true).is_some(),
                    "{from} to {to} {family:?} {setting:?}"
                );
                for _ in 0..100 {
                    let (sent, taken) = match (self.end(0, false), self.end(0, true)) {
                        (Some(one), Some(other)) => (one.sent, other.taken),
                        _ => panic!(),
                    };
                    if taken == LEN {
                        break;
                    }
                    self.step(&Step::Send(0, false, (LEN - sent).min(5_000)));
                    self.wait(700);
                    self.step(&Step::Take(0, true));
                }
                let taken = self.end(0, true).unwrap().taken;
                assert_eq!(taken, LEN, "{from} to {to} {family:?} {setting:?}");
                for end in [false, true] {
                    self.step(&Step::Close(0, end, end));
                }
                self.wait(130_000);
            }
        }
    }

    /// Everything goes, and no buffer is left.
    fn finish(&mut self) {
        for (name, _) in BOXES.into_iter().chain(ENDS) {
            if BOXES.iter().all(|(other, _)| *other != name) {
                let ns = self.lab.namespace(name).unwrap();
                let eth0 = self.eth0(ns).unwrap().0;
                while self.lab.net_mut().raw_recv(eth0, |_| ()).is_some() {}
            }
            self.lab.remove(name, true).unwrap();
        }
        let end = self.lab.now() + Duration::from_secs(400);
        self.lab.run_until(end);
        self.events.extend(self.lab.net_mut().trace.drain());
        assert_eq!(
            self.lab.net().pool.in_use(),
            0,
            "{:?}: frames were kept",
            self.drive
        );
    }
}

impl End {
    const fn new(ns: NsId, sock: SockId) -> Self {
        Self {
            ns,
            sock,
            sent: 0,
            taken: 0,
        }
    }
}

fn any_family() -> impl Strategy<Value = Family> + Clone {
    prop::sample::select(vec![Family::V4, Family::V6])
}

fn any_verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        1 => Just(Verb::Leave),
        2 => Just(Verb::Join),
        1 => Just(Verb::Restart),
        1 => Just(Verb::Kill),
        2 => Just(Verb::Start),
        1 => any::<bool>().prop_map(Verb::Pause),
        2 => Just(Verb::Forget),
        1 => any::<u8>().prop_map(Verb::Mac),
        2 => (1280_u32..1501).prop_map(Verb::Mtu),
        1 => (576_u32..1501).prop_map(Verb::Mtu),
        1 => (576_u32..1501).prop_map(Verb::BridgeMtu),
        1 => any::<bool>().prop_map(Verb::Down),
        1 => any::<bool>().prop_map(Verb::Forward),
    ]
}

fn any_wire() -> impl Strategy<Value = Wire> {
    let one_in = || prop_oneof![3 => Just(0_u8), 2 => 2_u8..30];
    let millis = prop_oneof![3 => Just(0_u16), 1 => 1_u16..400];
    (
        one_in(),
        one_in(),
        one_in(),
        one_in(),
        millis,
        any::<bool>(),
    )
        .prop_map(|(loses, repeats, swaps, spoils, millis, whole)| Wire {
            loses,
            repeats,
            swaps,
            spoils,
            millis,
            whole,
        })
}

fn any_step() -> impl Strategy<Value = Step> {
    let places = 0..=BOXES.len() + 1;
    let to = prop_oneof![3 => 0..2 * BOXES.len() + 2, 2 => Just(2 * BOXES.len())];
    let flow = (places, to, any_family());
    let swarmed = prop_oneof![0..2 * BOXES.len() + 2, Just(2 * BOXES.len() + 1)];
    let which = 0_usize..64;
    let len = prop_oneof![1_usize..100, 1_usize..20_000];
    let whole = prop_oneof![0_usize..100, 1_200_usize..1_500, 1_usize..9_000];
    let wait = prop_oneof![4 => 1_u64..300, 1 => 300_u64..70_000];
    prop_oneof![
        6 => flow.clone().prop_map(|(from, to, family)| Step::Connect(from, to, family)),
        8 => (which.clone(), any::<bool>(), len).prop_map(|(at, end, len)| Step::Send(at, end, len)),
        6 => (which.clone(), any::<bool>()).prop_map(|(at, end)| Step::Take(at, end)),
        1 => (which.clone(), any::<bool>()).prop_map(|(at, end)| Step::Shut(at, end)),
        3 => (which, any::<bool>(), any::<bool>())
            .prop_map(|(at, end, reset)| Step::Close(at, end, reset)),
        3 => (flow.clone(), whole.clone(), any::<bool>())
            .prop_map(|((from, to, family), len, cut)| Step::Datagram(from, to, family, len, cut)),
        2 => (flow.clone(), whole)
            .prop_map(|((from, to, family), len)| Step::Ping(from, to, family, len)),
        1 => (swarmed, any_family(), prop_oneof![1_u16..40, 260_u16..400])
            .prop_map(|(to, family, count)| Step::Swarm(to, family, count)),
        1 => (flow, 1_usize..12)
            .prop_map(|((from, to, family), count)| Step::Calls(from, to, family, count)),
        3 => any_wire().prop_map(Step::Wire),
        8 => Just(Step::Settle),
        3 => wait.prop_map(Step::Wait),
        2 => (any_verb(), 0..BOXES.len()).prop_map(|(verb, at)| Step::Verb(verb, at)),
        1 => (any_family(), prop::sample::select(vec![80_u16, 8000]))
            .prop_map(|(family, port)| Step::Rule(family, port)),
    ]
}

fn any_setting() -> impl Strategy<Value = Setting> {
    (
        prop::sample::select(vec![Mode::Copy, Mode::Move]),
        prop::sample::select(vec![8_usize, 64, 1024]),
        prop::sample::select(vec![3_usize, 65_536]),
        prop::sample::select(vec![5_usize, 60, 262_144]),
    )
        .prop_map(|(mode, ring, addresses, connections)| Setting {
            mode,
            ring,
            addresses,
            connections,
            buffers: PoolLimits::default(),
        })
}

fn compare(setting: Setting, steps: &[Step], drives: &[Drive]) -> Result<(), TestCaseError> {
    let mut worlds: Vec<World> = drives
        .iter()
        .map(|drive| World::new(setting, *drive))
        .collect();
    let alike = |worlds: &[World], step: &dyn core::fmt::Debug| {
        for other in &worlds[1..] {
            let (one, drive) = (&worlds[0], other.drive);
            differ(&one.said, &other.said, format!("{drive:?} said {step:?}"))?;
            differ(
                &one.events,
                &other.events,
                format!("{drive:?} events {step:?}"),
            )?;
            differ(
                &one.state(),
                &other.state(),
                format!("{drive:?} state {step:?}"),
            )?;
        }
        Ok::<_, TestCaseError>(())
    };
    for step in steps {
        worlds.iter_mut().for_each(|world| world.step(step));
        alike(&worlds, step)?;
    }
    worlds.iter_mut().for_each(World::heal);
    alike(&worlds, &"heal")?;
    worlds.iter_mut().for_each(|world| world.recovers(setting));
    alike(&worlds, &"recovers")?;
    worlds.iter_mut().for_each(World::finish);
    Ok(())
}

/// The first place where two lists differ is none.
fn differ<T: PartialEq + core::fmt::Debug>(
    one: &[T],
    other: &[T],
    context: String,
) -> Result<(), TestCaseError> {
    let at = (0..one.len().max(other.len())).find(|&at| one.get(at) != other.get(at));
    if let Some(at) = at {
        let from = at.saturating_sub(3);
        let some =
            |list: &[T]| format!("{:#?}", list.iter().skip(from).take(6).collect::<Vec<_>>());
        prop_assert!(
            false,
            "{} at {}: {} {}",
            context,
            at,
            some(one),
            some(other)
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 25,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..ProptestConfig::default() })]

    #[test]
    fn under_strain_all_ways_tell_the_same(
        setting in any_setting(),
        steps in vec(any_step(), 1..60),
    ) {
        compare(setting, &steps, &[Drive::Short, Drive::Long, Drive::Pieces])?;
    }

    /// A short way keeps buffers that a long one gives back, so that these are compared with nothing but themselves.
    #[test]
    fn with_few_buffers_it_recovers(
        setting in any_setting(),
        small in prop::sample::select(vec![40_usize, 100, 400]),
        large in prop::sample::select(vec![2_usize, 20, 400]),
        steps in vec(any_step(), 1..60),
    ) {
        let setting = Setting { buffers: PoolLimits { small, large }, ..setting };
        compare(setting, &steps, &[Drive::Short])?;
    }
}

/// What finds no buffer is not on the wire, and a reset later says so, whatever the engine believes.
#[test]
fn a_reset_after_an_end_that_found_no_buffer() {
    let setting = Setting {
        mode: Mode::Copy,
        ring: 8,
        addresses: 3,
        connections: 5,
        buffers: PoolLimits {
            small: 40,
            large: 2,
        },
    };
    let mut steps = vec![
        Step::Connect(0, 3, Family::V6),
        Step::Settle,
        Step::Connect(0, 0, Family::V4),
    ];
    steps.extend((0..38).map(|_| Step::Datagram(0, 1, Family::V4, 8, true)));
    steps.extend([
        Step::Close(2, true, false),
        Step::Connect(0, 0, Family::V4),
        Step::Send(15, false, 1),
        Step::Settle,
    ]);
    assert!(compare(setting, &steps, &[Drive::Short]).is_ok());
}

/// The steps lead to what strains a lab.
#[test]
fn random_steps_meet_what_they_are_for() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut drops = BTreeMap::new();
    let (mut accepted, mut heard) = (0, 0);
    for (connections, ring) in [(5, 8), (60, 1024), (262_144, 1024), (262_144, 64)] {
        let setting = Setting {
            mode: Mode::Copy,
            ring,
            addresses: 3,
            connections,
            buffers: PoolLimits::default(),
        };
        let steps = vec(any_step(), 300..301).new_tree(&mut runner).unwrap();
        let mut world = World::new(setting, Drive::Short);
        steps.current().iter().for_each(|step| world.step(step));
        for (reason, count) in world.lab.net().trace.drops.iter() {
            *drops.entry(reason).or_insert(0) += count;
        }
        let of = |word: &str| world.said.iter().filter(|said| said.contains(word)).count();
        accepted += of("accepts");
        heard += of("hears");
    }
    for reason in [
        DropReason::ChecksumBad,
        DropReason::ConntrackFull,
        DropReason::Filtered,
        DropReason::FragmentationNeeded,
        DropReason::InterfaceDown,
        DropReason::NatPortsExhausted,
        DropReason::NeighbourFailed,
        DropReason::NoRoute,
        DropReason::NotForwarding,
        DropReason::RingFull,
    ] {
        assert!(drops.contains_key(&reason), "{reason:?}: {drops:?}");
    }
    assert!(accepted > 20 && heard > 200, "{accepted} {heard}");
}
