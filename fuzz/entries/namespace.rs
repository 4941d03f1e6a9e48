//! Frames into a router with two networks, IPv4 and IPv6, sockets of all kinds and a firewall that
//! masquerades and publishes; programs send, receive and close meanwhile, and time passes.
//!
//! Promises: nothing panics; work ends; every frame sent is a whole Ethernet frame no longer than its
//! interface's MTU, with right checksums; once the namespace is cleared, no frame is left.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::collections::VecDeque;

use emulator_core::app::{Family, SockKind, SockOpt};
use emulator_core::id::{NsId, SockId};
use emulator_core::netns::tcp::Spares;
use emulator_core::netns::{Cx, IfaceConfig, IfaceKind, Netns, Route};
use switch::filter::{self, Action, ChainId, IfMatch, Match, Rule, Table};
use switch::hook::Hook;
use switch::trace::Trace;
use switch::wire::{
    ETHER_LEN, Ether, EthernetProtocol, Packet, fill_header_checksum, fill_transport_checksum,
    header_checksum_ok,
};
use switch::{Frame, IfId, Pool, Rng, Time};

use super::Script;

const INSIDE: IfId = IfId(2);
const OUTSIDE: IfId = IfId(3);
const MTU: [u32; 2] = [1500, 1280];
/// Sockets that are open at once.
const SOCKETS: usize = 24;
/// Turns of one step.
const TURNS: usize = 100_000;

pub(super) struct World {
    now: Time,
    pool: Pool,
    trace: Trace,
    tx: Vec<(IfId, Frame)>,
    wakes: Vec<SockId>,
    spares: Spares,
    ns: Netns,
    open: Vec<SockId>,
    /// The last frames that were sent, to be answered.
    sent: VecDeque<(IfId, Vec<u8>)>,
    /// The largest MTU that each interface has had: what waits for its neighbour goes out as it was cut.
    widest: [u32; MTU.len()],
}

/// Runs one input.
pub fn namespace(data: &[u8]) {
    let mut script = Script(data);
    let mut world = World::new(script.u8());
    while let Some(step) = script.next() {
        world.step(step, &mut script);
        world.drain();
    }
    world.end();
}

fn mac(iface: IfId, own: bool) -> [u8; 6] {
    [2, 0x42, 0, 0, u8::from(own), iface.0 as u8]
}

pub(super) fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

/// An address of the world: its own, its neighbours', groups, broadcasts, and others.
pub(super) fn address(script: &mut Script<'_>) -> IpAddr {
    match script.below(20) {
        0 | 1 => Ipv4Addr::new(172, 17, 0, 1).into(),
        2 => Ipv4Addr::new(192, 0, 2, 2).into(),
        3 | 4 => Ipv4Addr::new(172, 17, 0, 2).into(),
        5 => Ipv4Addr::new(192, 0, 2, 1).into(),
        6 => Ipv4Addr::new(198, 51, 100, script.u8()).into(),
        7 => Ipv4Addr::BROADCAST.into(),
        8 => Ipv4Addr::new(172, 17, 255, 255).into(),
        9 => Ipv4Addr::new(224, 0, 0, script.u8()).into(),
        10 => Ipv4Addr::LOCALHOST.into(),
        11 => Ipv4Addr::from(script.u32()).into(),
        12 | 13 => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1 + u16::from(script.below(3))).into(),
        14 => Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, u16::from(script.u8())).into(),
        15 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, u16::from(script.u8())).into(),
        16 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, u16::from(script.below(3))).into(),
        17 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0x42, 0xff, 0xfe00, u16::from(script.u8())).into(),
        18 => Ipv6Addr::LOCALHOST.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    }
}

pub(super) fn port(script: &mut Script<'_>) -> u16 {
    [0, 53, 80, 8080, 40_000, 32_768, 65_535, 7][usize::from(script.below(8))]
}

impl World {
    pub(super) fn new(bits: u8) -> Self {
        let mut world = Self {
            now: Time::ZERO,
            pool: Pool::default(),
            trace: Trace::default(),
            tx: Vec::new(),
            wakes: Vec::new(),
            spares: Spares::default(),
            ns: Netns::new(NsId(0), "router", Rng::new(7)),
            open: Vec::new(),
            sent: VecDeque::new(),
            widest: MTU,
        };
        world.trace.listen(bits & 1 != 0);
        world.ns.set_forwarding(bits & 2 == 0);
        world.ns.icmp_limited = bits & 4 != 0;
        world.ns.offload = bits & 8 != 0;
        world.iface(INSIDE, "docker0", &["172.17.0.1/16", "fd00::1/64"]);
        world.iface(OUTSIDE, "eth0", &["192.0.2.2/24", "2001:db8:0:1::2/64"]);
        for via in ["192.0.2.1", "2001:db8:0:1::1"] {
            let via = via.parse().expect("an address");
            let route = Route::default_via(via, OUTSIDE);
            world.ns.route_add(route).expect("a new route");
        }
        if bits & 0x10 != 0 {
            world.firewall();
        }
        world.servers();
        world
    }

    fn iface(&mut self, id: IfId, name: &str, addresses: &[&str]) {
        let config = IfaceConfig {
            id,
            name: name.to_owned(),
            mac: mac(id, true),
            mtu: MTU[(id.0 - 2) as usize],
            kind: IfaceKind::Ethernet,
            peer: None,
            master: None,
            ipv6: true,
        };
        self.ns.iface_add(config).expect("a new interface");
        self.with(|ns, cx| ns.iface_up(cx, id, true))
            .expect("it is there");
        for address in addresses {
            let net = address.parse().expect("an address");
            self.ns.addr_add(id, net).expect("a new address");
        }
    }

    /// Masquerade out of eth0; port 8080 leads to port 80 of 172.17.0.2 and fd00::2.
    fn firewall(&mut self) {
        let to: [(filter::Family, IpAddr); 2] = [
            (filter::Family::V4, Ipv4Addr::new(172, 17, 0, 2).into()),
            (
                filter::Family::V6,
                Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2).into(),
            ),
        ];
        for (family, container) in to {
            let masquerade = Match {
                output: IfMatch::Is(OUTSIDE),
                ..Match::default()
            };
            let publish = Match {
                destination_port: Some(8080),
                destination_local: true,
                ..Match::default()
            };
            let dnat = Action::Dnat(container, Some(80));
            for (hook, matches, action) in [
                (Hook::Postrouting, masquerade, Action::Masquerade),
                (Hook::Prerouting, publish, dnat),
                (Hook::Output, publish, dnat),
            ] {
                let chain = ChainId::base(family, Table::Nat, hook).expect("a base chain");
                let rule = Rule {
                    matches,
                    action,
                    origin: "fuzz".into(),
                };
                let firewall = self.ns.firewall_mut().expect("the rules are ours");
                firewall.rules.add(chain, 0, rule);
            }
        }
    }

    /// A TCP listener on 80, a UDP socket on 53 and a ping socket in both families.
    fn servers(&mut self) {
        for family in [Family::V4, Family::V6] {
            let any: IpAddr = match family {
                Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
                Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
            };
            for (kind, port) in [
                (SockKind::Tcp, 80),
                (SockKind::Udp, 53),
                (SockKind::Ping, 7),
            ] {
                let sock = self.ns.socket(kind, family).expect("a socket");
                let v6_only = self.with(|ns, cx| ns.set(cx, sock, SockOpt::V6Only(true)));
                v6_only.expect("an option");
                self.ns.bind(sock, at(any, port)).expect("a free port");
                if kind == SockKind::Tcp {
                    self.with(|ns, cx| ns.listen(cx, sock, 4))
                        .expect("a listener");
                }
                self.open.push(sock);
            }
        }
    }

    pub(super) fn with<R>(&mut self, call: impl FnOnce(&mut Netns, &mut Cx<'_>) -> R) -> R {
        let mut cx = Cx {
            now: self.now,
            pool: &mut self.pool,
            trace: &mut self.trace,
            tx: &mut self.tx,
            wakes: &mut self.wakes,
            spares: &mut self.spares,
        };
        call(&mut self.ns, &mut cx)
    }

    pub(super) fn step(&mut self, step: u8, script: &mut Script<'_>) {
        let iface = if step & 0x80 == 0 { INSIDE } else { OUTSIDE };
        match step & 0x1f {
            0 => self.input(iface, script.block(), step & 0x40 != 0),
            1..=9 => self.packet(iface, script),
            10..=12 => self.answer(script),
            13 => self.arp(iface, script),
            14..=16 => self.pass(Duration::from_millis(u64::from(script.u16()))),
            17 => self.pass(Duration::from_secs(u64::from(script.u16()))),
            18 | 19 => self.open(script),
            20 => {
                self.with(|ns, cx| ns.iface_up(cx, iface, step & 0x40 == 0))
                    .expect("it is there");
            }
            21 => {
                let mtu = u32::from(script.u16());
                let set = self.ns.iface_mtu(iface, mtu);
                assert_eq!(set.is_ok(), mtu >= 68);
                let widest = &mut self.widest[(iface.0 - 2) as usize];
                *widest = mtu.max(*widest);
            }
            22 => {
                let (addr, left) = (address(script), u32::from(script.below(4)));
                let interval = Duration::from_millis(100);
                self.with(|ns, cx| ns.announce(cx, iface, addr, left, interval));
            }
            _ => self.call(step, script),
        }
    }

    /// Bytes as a frame; with `fix`, for us and with right checksums.
    fn input(&mut self, iface: IfId, bytes: &[u8], fix: bool) {
        let mut bytes = bytes.to_vec();
        if fix && bytes.len() >= ETHER_LEN {
            bytes[..6].copy_from_slice(&mac(iface, true));
            let ip = &mut bytes[ETHER_LEN..];
            if let Ok(packet) = Packet::parse(ip) {
                if packet.source.is_ipv4() {
                    fill_header_checksum(ip);
                }
                fill_transport_checksum(ip, &packet);
            }
        }
        if let Some(frame) = self.pool.from_bytes(&bytes) {
            self.with(|ns, cx| ns.input(cx, iface, frame));
        }
    }

    /// A packet between two addresses of the world with a body of the script's.
    fn packet(&mut self, iface: IfId, script: &mut Script<'_>) {
        let (source, destination) = (address(script), address(script));
        let protocol = [1, 6, 17, 58, 44, 132, 2, script.u8()][usize::from(script.below(8))];
        let (ports, bits) = ([port(script), port(script)], script.u8());
        let (id, fragment) = (script.u8(), script.u16());
        let mut body = Vec::new();
        if bits & 1 != 0 {
            body.extend_from_slice(&ports.map(u16::to_be_bytes).concat());
        }
        body.extend_from_slice(script.block());
        if bits & 2 != 0 {
            body.resize(body.len() + usize::from(bits) * 4, id);
        }
        if protocol == 17 && body.len() >= 8 && bits & 4 != 0 {
            let len = (body.len() as u16).to_be_bytes();
            body[4..6].copy_from_slice(&len);
        }
        let mut frame = Vec::from(mac(iface, true));
        frame.extend_from_slice(&mac(iface, false));
        match (source, destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let len = ((20 + body.len()) as u16).to_be_bytes();
                let fragment = if bits & 8 == 0 {
                    [0; 2]
                } else {
                    fragment.to_be_bytes()
                };
                let ttl = if bits & 16 == 0 { 64 } else { id & 3 };
                frame.extend_from_slice(&[8, 0, 0x45, 0, len[0], len[1], 0, id]);
                frame.extend_from_slice(&[fragment[0], fragment[1], ttl, protocol, 0, 0]);
                frame.extend_from_slice(&from.octets());
                frame.extend_from_slice(&to.octets());
            }
            _ => {
                let [from, to] = [source, destination].map(|address| match address {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                    IpAddr::V6(v6) => v6,
                });
                let next = if bits & 8 == 0 { protocol } else { 44 };
                let hops = if bits & 16 == 0 { 255 } else { id & 3 };
                let extra = if next == 44 { 8 } else { 0 };
                let len = ((body.len() + extra) as u16).to_be_bytes();
                frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, len[0], len[1], next, hops]);
                frame.extend_from_slice(&from.octets());
                frame.extend_from_slice(&to.octets());
                if next == 44 {
                    let [high, low] = fragment.to_be_bytes();
                    frame.extend_from_slice(&[protocol, 0, high, low, 0, 0, 0, id]);
                }
            }
        }
        frame.extend_from_slice(&body);
        self.input(iface, &frame, bits & 32 == 0);
    }

    /// One of the last frames comes back: addresses turned round, some bytes changed.
    fn answer(&mut self, script: &mut Script<'_>) {
        let (number, bits) = (script.u8(), script.u8());
        let count = self.sent.len();
        let Some((iface, mut bytes)) = self.sent.get(usize::from(number) % count.max(1)).cloned()
        else {
            return;
        };
        let turn = |bytes: &mut [u8], at: usize, len: usize| {
            if bytes.len() >= at + 2 * len {
                let (first, second) = bytes[at..at + 2 * len].split_at_mut(len);
                first.swap_with_slice(second);
            }
        };
        bytes[6..12].copy_from_slice(&mac(iface, false));
        match (bytes[12], bytes.get(ETHER_LEN).map_or(0, |byte| byte >> 4)) {
            // An ARP request is answered by whom it asks.
            (8, 0) => {
                turn(&mut bytes, 22, 10);
                bytes[21] = 2;
                bytes[22..28].copy_from_slice(&mac(iface, false));
            }
            (8, _) => {
                turn(&mut bytes, 26, 4);
                turn(&mut bytes, 34, 2);
            }
            _ => {
                turn(&mut bytes, 22, 16);
                turn(&mut bytes, 54, 2);
            }
        }
        for _ in 0..bits & 7 {
            let (at, with) = (usize::from(script.u16()), script.u8());
            let len = bytes.len();
            bytes[at % len] = with;
        }
        self.input(iface, &bytes, bits & 8 == 0);
    }

    fn arp(&mut self, iface: IfId, script: &mut Script<'_>) {
        let mut bytes = vec![0xff; 6];
        bytes.extend_from_slice(&mac(iface, false));
        bytes.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1 + script.below(3)]);
        for own in [false, script.flag()] {
            bytes.extend_from_slice(&mac(iface, own));
            match address(script) {
                IpAddr::V4(v4) => bytes.extend_from_slice(&v4.octets()),
                IpAddr::V6(_) => bytes.extend_from_slice(&[0; 4]),
            }
        }
        self.input(iface, &bytes, false);
    }

    fn open(&mut self, script: &mut Script<'_>) {
        if self.open.len() >= SOCKETS {
            return;
        }
        let bits = script.u8();
        let kind = [SockKind::Tcp, SockKind::Udp, SockKind::Ping][usize::from(bits % 3)];
        let family = if bits & 0x10 == 0 {
            Family::V4
        } else {
            Family::V6
        };
        let sock = self.ns.socket(kind, family).expect("there is room");
        self.open.push(sock);
        if bits & 0x20 != 0 {
            let _ = self.ns.bind(sock, at(address(script), port(script)));
        }
        if bits & 0x40 != 0 {
            let to = at(address(script), port(script));
            let _ = self.with(|ns, cx| ns.connect(cx, sock, to));
        }
    }

    /// A program's call on one of its sockets, whatever comes of it.
    fn call(&mut self, step: u8, script: &mut Script<'_>) {
        let number = usize::from(script.u8()) % self.open.len().max(1);
        let Some(&sock) = self.open.get(number) else {
            return;
        };
        match step & 0x1f {
            23 | 24 => {
                let (to, len) = (at(address(script), port(script)), usize::from(script.u16()));
                let bytes = vec![8; len];
                let sent = self.with(|ns, cx| match step & 0x40 {
                    0 => ns.send_to(cx, sock, &bytes, to),
                    _ => ns.send(cx, sock, &bytes),
                });
                assert!(sent.is_ok_and(|sent| sent <= len) || sent.is_err());
            }
            25 => {
                let mut buffer = vec![0; usize::from(script.u16())];
                let got = self.with(|ns, cx| match step & 0x40 {
                    0 => ns.recv_from(cx, sock, &mut buffer).map(|got| got.len),
                    _ => ns.recv(cx, sock, &mut buffer),
                });
                assert!(got.is_err() || got.is_ok_and(|got| got <= buffer.len()));
            }
            26 => {
                if let Ok((accepted, _)) = self.with(|ns, cx| ns.accept(cx, sock)) {
                    self.open.push(accepted);
                }
            }
            27 => {
                let _ = self.with(|ns, cx| ns.shutdown(cx, sock));
            }
            28 => {
                let _ = (self.ns.take_error(sock), self.ns.recv_error(sock));
                let _ = (self.ns.ready(sock), self.ns.local_addr(sock));
                assert!(self.ns.sockets().len() <= SOCKETS + 64);
            }
            29 => {
                let on = step & 0x40 != 0;
                let option = match script.below(7) {
                    0 => SockOpt::Broadcast(on),
                    1 => SockOpt::DontFragment(on),
                    2 => SockOpt::RecvErr(on),
                    3 => SockOpt::Join(address(script)),
                    4 => SockOpt::HopLimit(script.u8()),
                    5 => SockOpt::RecvBuffer(usize::from(script.u16())),
                    _ => SockOpt::ReuseAddr(on),
                };
                let _ = self.with(|ns, cx| ns.set(cx, sock, option));
            }
            30 => {
                let to = at(address(script), port(script));
                let _ = self.with(|ns, cx| ns.connect(cx, sock, to));
            }
            _ => {
                self.open.swap_remove(number);
                self.with(|ns, cx| ns.close(cx, sock));
            }
        }
    }

    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        for _ in 0..TURNS {
            let Some(next) = self.ns.deadline().filter(|&next| next <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            self.with(|ns, cx| ns.fire(cx));
            self.drain();
        }
        panic!("timers without an end");
    }

    /// Lets the namespace finish, and takes what it sends.
    pub(super) fn drain(&mut self) {
        let mut more = true;
        for _ in 0..TURNS {
            more = self.with(|ns, cx| ns.poll(cx));
            while !self.tx.is_empty() {
                let (iface, frame) = self.tx.remove(0);
                self.check(iface, &frame);
                let bytes = self.pool.bytes(&frame).to_vec();
                self.pool.free(frame);
                self.sent.push_back((iface, bytes));
            }
            self.sent.drain(..self.sent.len().saturating_sub(16));
            self.wakes.clear();
            if !more {
                break;
            }
        }
        assert!(!more, "work without an end");
        self.trace.take();
    }

    fn check(&self, iface: IfId, frame: &Frame) {
        let (bytes, meta) = (self.pool.bytes(frame), self.pool.meta(frame));
        let ether = Ether::parse(bytes).expect("a header");
        let known = self.ns.iface(iface).expect("an interface");
        assert!(known.up);
        assert_eq!(ether.source.0, known.mac);
        let body = &bytes[ether.payload..];
        if ether.protocol == EthernetProtocol::Arp {
            assert_eq!(body.len(), 28);
            return;
        }
        let packet = Packet::parse(body).expect("a packet");
        let v6 = ether.protocol == EthernetProtocol::Ipv6;
        assert_eq!(packet.source.is_ipv6(), v6);
        assert_eq!(packet.len, body.len());
        assert!(v6 || header_checksum_ok(body), "{body:02x?}");
        let limit = self.widest[(iface.0 - 2) as usize].max(if v6 { 1280 } else { 68 }) as usize;
        let fits = meta.gso_size > 0 || body.len() <= limit;
        assert!(
            fits,
            "{} bytes at an MTU of {limit}: {body:02x?}",
            body.len()
        );
    }

    pub(super) fn end(&mut self) {
        self.pass(Duration::from_secs(60));
        self.with(Netns::clear);
        for (_, frame) in self.tx.drain(..) {
            self.pool.free(frame);
        }
        assert_eq!(self.pool.in_use(), 0, "a frame was lost");
    }
}
