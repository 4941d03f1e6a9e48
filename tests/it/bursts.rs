//! Frames that cross a bridge together against frames that cross it one by one.
//!
//! A capture wants to see each frame, so with one running a bridge takes them one by one; and observing
//! never changes a run. So two labs that get the same bursts, one of them captured, have to say the same of
//! every frame, in the same order: events, drops, counters of ports, links and rules, connections and
//! their timers, stations, and what arrives.

use core::time::Duration;

use emulator_core::docker::spec::ContainerSpec;
use emulator_core::id::IfId;
use emulator_core::lab::{Input, Lab, LabConfig, Output};
use emulator_core::net::{CaptureAt, CaptureSpec, NetConfig};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use switch::DropReason;
use switch::filter::{Action, ChainId, Family, Match, Rule, RuleId, Table};
use switch::frame::PoolLimits;
use switch::hook::{Hook, Netfilter};
use switch::link::Mode;
use switch::pcap_filter::PcapFilter;
use switch::verdict::{Event, What};

const HOSTS: usize = 3;
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;
const SYN: u8 = 0x02;

/// What a frame holds.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// UDP between the ports of a flow.
    Udp(u8),
    /// TCP with these flags.
    Tcp(u8, u8),
    /// A UDP packet with a fault: its length, a fragment, an option.
    Odd(u8),
    /// Another protocol over Ethernet.
    Other,
    /// The same, with what would be `Udp` in it.
    Foreign(u8),
    /// As `Udp`, in a frame of IPv6.
    Misnamed(u8),
    /// UDP over IPv6 between the ports of a flow.
    Udp6(u8),
    /// TCP over IPv6 with these flags.
    Tcp6(u8, u8),
    /// The same, in a frame of another protocol, and of IPv4.
    Foreign6(u8),
    Misnamed6(u8),
    /// A UDP packet of IPv6 with a fault: its length, its datagram's length, another header before that.
    Odd6(u8),
    /// As `Udp`, in a VLAN.
    Tagged,
}

/// Equal frames but for their payload: to whom, from whose MAC, how many, how long.
#[derive(Clone, Copy, Debug)]
struct Part {
    to: u8,
    as_from: Option<u8>,
    kind: Kind,
    count: u8,
    len: u16,
}

#[derive(Clone, Debug)]
enum Step {
    /// A host sends a burst, in one call or a frame at a time.
    Send(usize, Vec<Part>, bool),
    /// The same in one call, a frame of each part in turn.
    Weave(usize, Vec<Part>),
    /// The same, frames of the parts in this order, some of them with a bit of their head turned round.
    Pick(usize, Vec<Part>, Vec<Pick>),
    /// What waits is done.
    Settle,
    /// A host takes so many frames.
    Read(usize, usize),
    /// These hosts do, one after the other: in one of two labs by one call, in the other a host at a time.
    ReadEach(Vec<usize>, usize, bool),
    Wait(u64),
    /// A rule that drops UDP to a port comes or goes.
    Rule(u16),
    /// The firewall forgets the connections of a host.
    Forget(usize),
}

/// Of which part a frame is; a byte of it and a bit of that.
type Pick = (usize, Option<(usize, u8)>);

fn any_kind() -> impl Strategy<Value = Kind> {
    let flags = prop::sample::select(vec![
        ACK,
        ACK,
        ACK | PSH,
        ACK | PSH,
        SYN,
        SYN | ACK,
        0x11,
        0x04,
    ]);
    prop_oneof![
        6 => (0u8..3).prop_map(Kind::Udp),
        6 => (0u8..2, flags.clone()).prop_map(|(flow, flags)| Kind::Tcp(flow, flags)),
        1 => (0u8..4).prop_map(Kind::Odd),
        6 => (0u8..3).prop_map(Kind::Udp6),
        6 => (0u8..2, flags).prop_map(|(flow, flags)| Kind::Tcp6(flow, flags)),
        1 => (0u8..6).prop_map(Kind::Odd6),
        1 => (0u8..3).prop_map(Kind::Foreign6),
        1 => (0u8..3).prop_map(Kind::Misnamed6),
        2 => Just(Kind::Other),
        2 => (0u8..3).prop_map(Kind::Foreign),
        1 => (0u8..3).prop_map(Kind::Misnamed),
        1 => Just(Kind::Tagged),
    ]
}

fn any_part() -> impl Strategy<Value = Part> {
    let to = prop_oneof![8 => 0u8..HOSTS as u8, 1 => 3u8..9];
    let as_from = prop_oneof![8 => Just(None), 2 => (0u8..9).prop_map(Some)];
    let count = prop_oneof![Just(1), 1u8..12];
    (to, as_from, any_kind(), count, 60u16..1600).prop_map(|(to, as_from, kind, count, len)| Part {
        to,
        as_from,
        kind,
        count,
        len,
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let host = 0..HOSTS;
    prop_oneof![
        6 => (host.clone(), prop::collection::vec(any_part(), 1..5), any::<bool>())
            .prop_map(|(host, parts, at_once)| Step::Send(host, parts, at_once)),
        4 => (host.clone(), prop::collection::vec(any_part(), 2..5))
            .prop_map(|(host, parts)| Step::Weave(host, parts)),
        4 => Just(Step::Settle),
        3 => (host, 0usize..40).prop_map(|(host, most)| Step::Read(host, most)),
        2 => (prop::collection::vec(0..HOSTS, 0..5), 0usize..40, any::<bool>())
            .prop_map(|(hosts, most, at_once)| Step::ReadEach(hosts, most, at_once)),
        1 => prop_oneof![0u64..40_000, 40_000u64..400_000].prop_map(Step::Wait),
        1 => (1000u16..1004).prop_map(Step::Rule),
        1 => (0..HOSTS).prop_map(Step::Forget),
    ]
}

struct World {
    lab: Lab,
    hosts: Vec<(IfId, [u8; 6], [u8; 4])>,
    sent: u8,
    events: Vec<Event>,
    heard: Vec<Vec<u8>>,
    rules: Vec<RuleId>,
}

impl World {
    fn new(net: NetConfig, captured: bool) -> Self {
        let config = LabConfig {
            net,
            ..LabConfig::default()
        };
        let mut lab = Lab::new(config).expect("a lab");
        let mut hosts = Vec::new();
        for name in ["web", "db", "app"] {
            let spec = ContainerSpec {
                name: Some(name.to_owned()),
                image: "busybox".to_owned(),
                ..ContainerSpec::default()
            };
            lab.create(spec).expect("created");
            lab.start(name).expect("started");
            let ns = lab.namespace(name).expect("it runs");
            let eth0 = lab.net().ns(ns).and_then(|ns| ns.iface_named("eth0"));
            let eth0 = eth0.expect("an eth0");
            let core::net::IpAddr::V4(v4) = eth0.addrs[0].net.addr() else {
                panic!("an IPv4 address first");
            };
            hosts.push((eth0.id, eth0.mac, v4.octets()));
        }
        lab.run_for(Duration::from_secs(5));
        let net = lab.net_mut();
        for &(eth0, ..) in &hosts {
            net.raw(eth0, true);
        }
        if captured {
            let limits = switch::capture::Limits::default();
            net.capture_start(CaptureAt::All, limits);
            for filter in ["tcp and not port 1", "len > 100"] {
                let spec = CaptureSpec {
                    filter: Some(PcapFilter::compile(filter, &()).expect("a filter")),
                    ..CaptureSpec::default()
                };
                net.capture_open(spec).expect("three captures");
            }
        }
        net.trace.listen(true);
        let mut world = Self {
            lab,
            hosts,
            sent: 0,
            events: Vec::new(),
            heard: Vec::new(),
            rules: Vec::new(),
        };
        world.open();
        world
    }

    /// TCP connections of both flows from each host to each.
    fn open(&mut self) {
        for (from, to) in [(0, 1), (0, 2), (1, 2)] {
            for flow in 0..2 {
                for (from, to, flags) in [(from, to, SYN), (to, from, SYN | ACK), (from, to, ACK)] {
                    for kind in [Kind::Tcp(flow, flags), Kind::Tcp6(flow, flags)] {
                        let part = Part {
                            to: to as u8,
                            as_from: None,
                            kind,
                            count: 1,
                            len: 60,
                        };
                        self.step(&Step::Send(from, vec![part], false));
                        self.step(&Step::Settle);
                        self.step(&Step::Read(to, 10));
                    }
                }
            }
        }
    }

    fn mac(&self, number: u8) -> [u8; 6] {
        match number {
            3 => [0xff; 6],
            4 => [0x33, 0x33, 0, 0, 0, 1],
            known if usize::from(known) < HOSTS => self.hosts[usize::from(known)].1,
            other => [2, 0, 0, 0, 0, other],
        }
    }

    fn frame(&mut self, from: usize, part: &Part) -> Vec<u8> {
        let source = part.as_from.unwrap_or(from as u8);
        let mut frame = [self.mac(part.to), self.mac(source)].concat();
        match part.kind {
            Kind::Other | Kind::Foreign(_) | Kind::Foreign6(_) => {
                frame.extend_from_slice(&[0x88, 0xb5])
            }
            Kind::Misnamed(_) | Kind::Udp6(_) | Kind::Tcp6(..) | Kind::Odd6(_) => {
                frame.extend_from_slice(&[0x86, 0xdd]);
            }
            Kind::Tagged => frame.extend_from_slice(&[0x81, 0, 0, 7, 8, 0]),
            _ => frame.extend_from_slice(&[8, 0]),
        }
        if !matches!(part.kind, Kind::Other) {
            let to = usize::from(part.to) % HOSTS;
            let make = match part.kind {
                Kind::Udp6(_)
                | Kind::Tcp6(..)
                | Kind::Odd6(_)
                | Kind::Foreign6(_)
                | Kind::Misnamed6(_) => packet_v6,
                _ => packet,
            };
            frame.extend_from_slice(&make(self.hosts[from].2, self.hosts[to].2, part));
        }
        self.sent = self.sent.wrapping_add(1);
        frame.resize(usize::from(part.len).max(frame.len()), self.sent);
        frame
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Send(host, parts, at_once) => {
                let parts = parts
                    .iter()
                    .flat_map(|part| core::iter::repeat_n(part, part.count.into()));
                self.send(*host, parts, *at_once);
            }
            Step::Weave(host, parts) => {
                let turns = parts.iter().map(|part| part.count).max().unwrap_or(0);
                let frames =
                    (0..turns).flat_map(|turn| parts.iter().filter(move |part| turn < part.count));
                self.send(*host, frames, true);
            }
            Step::Pick(host, parts, picks) => {
                let frames = picks.iter().map(|&(at, turned)| {
                    let mut frame = self.frame(*host, &parts[at % parts.len()]);
                    if let Some((at, bit)) = turned {
                        let at = at % frame.len();
                        frame[at] ^= 1 << bit;
                    }
                    frame
                });
                let frames = frames.collect();
                self.send_frames(*host, frames, true);
            }
            Step::Settle => while !matches!(self.lab.poll(), Output::Idle(_)) {},
            Step::Read(host, most) => {
                let eth0 = self.hosts[*host].0;
                let heard = &mut self.heard;
                self.lab
                    .net_mut()
                    .raw_recv_burst(eth0, *most, |bytes| heard.push(bytes.to_vec()));
            }
            Step::ReadEach(hosts, most, at_once) => {
                let ends: Vec<IfId> = hosts.iter().map(|&host| self.hosts[host].0).collect();
                let at_once = *at_once != self.lab.net().trace.is_capturing();
                self.read_each(&ends, *most, at_once);
            }
            Step::Wait(milliseconds) => {
                let now = self.lab.now() + Duration::from_millis(*milliseconds);
                self.lab.handle(now, Input::Tick);
            }
            Step::Rule(port) => self.rule(*port),
            Step::Forget(host) => {
                let v4 = self.hosts[*host].2;
                self.with_firewall(|firewall| {
                    firewall.conntrack.flush_where(v4.into());
                    firewall.conntrack.flush_where(wide(v4).into());
                });
            }
        }
        self.lab.net_mut().capture_take();
        let told = self.lab.net_mut().trace.drain();
        self.events.extend(told);
    }

    fn read_each(&mut self, ends: &[IfId], most: usize, at_once: bool) {
        let (net, heard) = (self.lab.net_mut(), &mut self.heard);
        let mut hear = |end: IfId, bytes: &[u8]| {
            heard.push(end.0.to_be_bytes().to_vec());
            heard.push(bytes.to_vec());
        };
        let count = if at_once {
            net.raw_recv_each(ends.iter().copied(), most, hear)
        } else {
            let mut read = |&end| net.raw_recv_burst(end, most, |bytes| hear(end, bytes));
            ends.iter().map(&mut read).sum()
        };
        heard.push(count.to_be_bytes().to_vec());
    }

    fn with_firewall<T>(&mut self, act: impl FnOnce(&mut Netfilter) -> T) -> T {
        let host = self.lab.places().host;
        let net = self.lab.net_mut();
        net.with_ns(host, |netns, _| {
            act(netns.firewall_mut().expect("a firewall"))
        })
        .expect("the host")
    }

    fn rule(&mut self, port: u16) {
        let before = core::mem::take(&mut self.rules);
        self.rules = self.with_firewall(|firewall| {
            if !before.is_empty() {
                for rule in before {
                    assert!(firewall.rules.remove(rule));
                }
                return Vec::new();
            }
            let add = |family: Family| {
                let forward = ChainId::base(family, Table::Filter, Hook::Forward)?;
                let matches = Match {
                    destination_port: Some(port),
                    ..Match::default()
                };
                let rule = Rule {
                    matches,
                    action: Action::Drop(DropReason::Filtered),
                    origin: "test".into(),
                };
                firewall.rules.add(forward, i64::MIN, rule)
            };
            [Family::V4, Family::V6]
                .into_iter()
                .filter_map(add)
                .collect()
        });
    }

    fn send<'a>(&mut self, host: usize, frames: impl Iterator<Item = &'a Part>, at_once: bool) {
        let frames = frames.map(|part| self.frame(host, part)).collect();
        self.send_frames(host, frames, at_once);
    }

    fn send_frames(&mut self, host: usize, frames: Vec<Vec<u8>>, at_once: bool) {
        let eth0 = self.hosts[host].0;
        let net = self.lab.net_mut();
        if at_once {
            let _all = net.raw_send_burst(eth0, frames.iter().map(Vec::as_slice));
        } else {
            for frame in &frames {
                if net.raw_send(eth0, frame).is_err() {
                    break;
                }
            }
        }
    }

    /// All that can be seen from outside.
    fn state(&self) -> Vec<String> {
        let net = self.lab.net();
        let host = net.ns(self.lab.places().host).expect("the host");
        let firewall = host.firewall().expect("a firewall");
        let now = net.now();
        let mut state = Vec::new();
        for conn in firewall.conntrack.list(now) {
            state.push(format!("{} {:?}", conn.line(now), conn.expires));
        }
        for family in [Family::V4, Family::V6] {
            for table in [Table::Raw, Table::Nat, Table::Filter] {
                let names = |iface: IfId| iface.0.to_string();
                state.push(firewall.rules.list(family, table, true, &names));
            }
        }
        for bridge in net.bridges() {
            state.push(format!("{:?}", bridge.counters()));
            state.push(format!("{:?}", bridge.fdb().entries(now)));
            state.push(format!("{}", bridge.fdb().refused()));
            state.extend(bridge.ports().map(|(_, port)| format!("{port:?}")));
        }
        for link in net.links() {
            for side in [switch::link::Side::A, switch::link::Side::B] {
                state.push(format!("{:?}", link.counters(side)));
            }
        }
        state.push(format!("{:?}", net.trace.drops));
        state.push(format!("{}", net.pool.in_use()));
        state
    }
}

/// What is in a packet of this kind: its protocol, and the header of that with what little there is behind it.
fn upper(from: [u8; 4], to: [u8; 4], kind: Kind) -> (u8, Vec<u8>) {
    let (protocol, flow, mut upper) = match kind {
        Kind::Tcp(flow, flags) | Kind::Tcp6(flow, flags) => {
            let mut upper = [0; 20];
            upper[12] = 0x50;
            upper[13] = flags;
            (6, flow, upper.to_vec())
        }
        Kind::Udp(flow) | Kind::Foreign(flow) | Kind::Misnamed(flow) => (17, flow, vec![0; 26]),
        // The shortest that an Ethernet frame may hold.
        Kind::Udp6(flow) | Kind::Foreign6(flow) | Kind::Misnamed6(flow) => (17, flow, vec![0; 8]),
        _ => (17, 0, vec![0; 26]),
    };
    // The same ports whoever asks, so that answers come.
    let low = if from < to { 0 } else { 1 };
    let port = |end: u16| 1000 + u16::from(flow) * 2 + end;
    upper[0..2].copy_from_slice(&port(low).to_be_bytes());
    upper[2..4].copy_from_slice(&port(1 - low).to_be_bytes());
    if protocol == 17 {
        upper[5] = upper.len() as u8;
    }
    (protocol, upper)
}

fn packet(from: [u8; 4], to: [u8; 4], part: &Part) -> Vec<u8> {
    let (protocol, upper) = upper(from, to, part.kind);
    let total = (20 + upper.len()) as u16;
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet.extend_from_slice(&from);
    packet.extend_from_slice(&to);
    packet.extend_from_slice(&upper);
    match part.kind {
        Kind::Odd(0) => packet[2] = 0x40,
        Kind::Odd(1) => packet[6] = 0x20,
        Kind::Odd(2) => packet[0] = 0x46,
        Kind::Odd(_) => packet[24] = 0x40,
        _ => {}
    }
    packet
}

/// The address of a host in IPv6, which none of them minds to get packets for.
fn wide(v4: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = v4;
    [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
}

fn packet_v6(from: [u8; 4], to: [u8; 4], part: &Part) -> Vec<u8> {
    let (protocol, upper) = upper(from, to, part.kind);
    let mut packet = vec![0x60, 0, 0, 0, 0, upper.len() as u8, protocol, 64];
    packet.extend_from_slice(&wide(from));
    packet.extend_from_slice(&wide(to));
    packet.extend_from_slice(&upper);
    match part.kind {
        // Longer than it is, and datagrams too long and too short for it.
        Kind::Odd6(0) => packet[4] = 0x40,
        Kind::Odd6(1) => packet[44] = 0x40,
        Kind::Odd6(2) => packet[45] = 7,
        // Behind a header of options, a fragment's, and one that nobody knows.
        Kind::Odd6(3) => packet[6] = 60,
        Kind::Odd6(4) => packet[6] = 44,
        Kind::Odd6(_) => packet[6] = 253,
        _ => {}
    }
    packet
}

/// What there is little of.
#[derive(Clone, Copy, Debug)]
enum Tight {
    Nothing,
    /// Room in the rings and in the bridge's table.
    Rings,
    /// Buffers.
    Buffers,
}

fn config(mode: Mode, tight: Tight) -> NetConfig {
    let config = NetConfig {
        mode,
        ..NetConfig::default()
    };
    match tight {
        Tight::Nothing => config,
        Tight::Rings => NetConfig {
            ring: 16,
            bridge_addresses: 4,
            ..config
        },
        Tight::Buffers => NetConfig {
            pool: PoolLimits {
                small: 140,
                large: 140,
            },
            ..config
        },
    }
}

fn compare(config: NetConfig, steps: &[Step]) -> World {
    let (mut one_by_one, mut together) = (World::new(config, true), World::new(config, false));
    for step in steps {
        one_by_one.step(step);
        together.step(step);
        assert_eq!(one_by_one.events, together.events);
        assert_eq!(one_by_one.heard, together.heard);
        assert_eq!(one_by_one.state(), together.state());
    }
    together
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_burst_is_its_frames(
        steps in prop::collection::vec(any_step(), 1..60),
        moved: bool,
        tight in prop::sample::select(vec![Tight::Nothing, Tight::Rings, Tight::Buffers]),
    ) {
        let mode = if moved { Mode::Move } else { Mode::Copy };
        compare(config(mode, tight), &steps);
    }
}

/// Orders of six flows, and now and then a bit that is another.
fn any_picks() -> impl Strategy<Value = Vec<Pick>> {
    let turned = prop_oneof![
        9 => Just(None),
        1 => (0_usize..80, 0_u8..8).prop_map(Some),
    ];
    prop::collection::vec((0_usize..6, turned), 2..70)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    /// Flows that go on, in any order: whose course the next frame has was not so before, or it is of that flow and not
    /// quite like its last frame, or of another that is almost the same.
    #[test]
    fn flows_in_any_order_are_their_frames(
        bursts in prop::collection::vec((0..HOSTS, any_picks(), any::<bool>()), 1..12),
        lens in prop::collection::vec(prop::sample::select(vec![44_u16, 60, 61, 200]), 6),
        version in 0..3,
        moved: bool,
        tight in prop::sample::select(vec![Tight::Nothing, Tight::Rings, Tight::Buffers]),
    ) {
        let flows = |from: usize| {
            let others = (0..HOSTS).filter(move |&to| to != from);
            let kinds = match version {
                0 => [Kind::Udp(0), Kind::Tcp(0, ACK), Kind::Udp(1)],
                1 => [Kind::Udp6(0), Kind::Tcp6(0, ACK), Kind::Udp6(1)],
                _ => [Kind::Udp6(0), Kind::Tcp6(0, ACK), Kind::Udp(1)],
            };
            let flows = others.flat_map(move |to| kinds.map(|kind| (to as u8, kind)));
            let parts = flows.zip(&lens).map(|((to, kind), &len)| Part {
                to,
                as_from: None,
                kind,
                count: 8,
                len,
            });
            parts.collect::<Vec<_>>()
        };
        let read = || (0..HOSTS).map(|host| Step::Read(host, 1000));
        let mut steps = Vec::new();
        for from in [0, 1, 2, 0, 1, 2] {
            steps.extend([Step::Weave(from, flows(from)), Step::Settle]);
            steps.extend(read());
        }
        for (from, picks, settles) in bursts {
            steps.push(Step::Pick(from, flows(from), picks.clone()));
            if settles {
                // Once more, as it is expected now.
                steps.extend([Step::Settle, Step::Pick(from, flows(from), picks), Step::Settle]);
                steps.extend(read());
            }
        }
        steps.push(Step::Settle);
        let mode = if moved { Mode::Move } else { Mode::Copy };
        compare(config(mode, tight), &steps);
    }
}

/// What looks like a packet of a flow that goes on, in a frame that says it is something else, is not asked about as one.
#[test]
fn what_only_looks_like_a_packet_has_no_course() {
    let one = |kind| Part {
        to: 1,
        as_from: None,
        kind,
        count: 1,
        len: 60,
    };
    let answer = |kind| {
        let answer = Part { to: 0, ..one(kind) };
        Step::Send(1, vec![answer], false)
    };
    let mut steps = vec![answer(Kind::Udp(0)), answer(Kind::Udp6(0))];
    for kind in [
        Kind::Udp(0),
        Kind::Foreign(0),
        Kind::Udp(0),
        Kind::Misnamed(0),
        Kind::Udp(0),
        Kind::Foreign(0),
        Kind::Udp6(0),
        Kind::Foreign6(0),
        Kind::Udp6(0),
        Kind::Misnamed6(0),
        Kind::Udp6(0),
        Kind::Misnamed(0),
        Kind::Udp(0),
        Kind::Misnamed6(0),
    ] {
        for turn in 0..8 {
            let part = one(kind);
            let parts = match turn % 2 {
                0 => vec![part],
                _ => vec![part, one(Kind::Udp(1)), part],
            };
            steps.extend([Step::Send(0, parts, true), Step::Settle]);
        }
    }
    compare(config(Mode::Copy, Tight::Nothing), &steps);
}

/// Linux's bridge asks its firewall, and drops what is not of the version that the frame says (`br_validate_ipv4`,
/// `br_validate_ipv6`); so does a kernel in a namespace, with `bridge-nf-call-iptables` on.
#[test]
fn what_is_no_packet_of_its_type_does_not_cross() {
    let mut world = World::new(config(Mode::Copy, Tight::Nothing), false);
    let part = Part {
        to: 1,
        as_from: None,
        kind: Kind::Udp(0),
        count: 1,
        len: 60,
    };
    let good = world.frame(0, &part);
    let changed = |places: &[(usize, u8)]| {
        let mut frame = good.clone();
        places.iter().for_each(|&(at, byte)| frame[at] = byte);
        frame
    };
    let frames = [
        (good.clone(), true),
        (changed(&[(14, 0x65)]), false),
        (changed(&[(14, 0x35)]), false),
        (changed(&[(14, 0x44)]), false),
        (changed(&[(16, 1)]), false),
        (changed(&[(17, 10)]), false),
        (changed(&[(12, 0x86), (13, 0xdd)]), false),
        (changed(&[(12, 0x86), (13, 0xdd), (14, 0x35)]), false),
        (good[..14].to_vec(), false),
        // To a bridge these are no packets.
        (changed(&[(12, 0x88), (14, 0x65)]), true),
        (changed(&[(12, 0x81), (13, 0), (14, 0), (16, 8)]), true),
    ];
    // Alone and together.
    for count in [1, 3] {
        for (frame, crosses) in &frames {
            let (before, drops) = (world.heard.len(), world.lab.net().trace.drops.total());
            world.send_frames(0, vec![frame.clone(); count], true);
            world.step(&Step::Settle);
            world.step(&Step::Read(1, 10));
            let crossed = if *crosses { count } else { 0 };
            assert_eq!(world.heard.len() - before, crossed, "{count} {frame:x?}");
            let dropped = world.lab.net().trace.drops.total() - drops;
            assert_eq!(dropped, (count - crossed) as u64, "{count} {frame:x?}");
        }
    }
}

/// Flows to several hosts that take turns in one burst follow their courses together, up to a frame that may not: its ring
/// is full, its connection ran out, was forgotten or is answered for the first time, its destination was silent for too long
/// or is another flow's, the rules changed.
#[test]
fn flows_that_take_turns_are_their_frames() {
    for kinds in [
        [Kind::Udp(0), Kind::Tcp(0, ACK), Kind::Udp(1)],
        [Kind::Udp6(0), Kind::Tcp6(0, ACK), Kind::Udp6(1)],
        [Kind::Udp6(0), Kind::Udp(0), Kind::Udp6(1)],
    ] {
        flows_take_turns(kinds);
    }
}

fn flows_take_turns(kinds: [Kind; 3]) {
    let part = |to: u8, kind| Part {
        to,
        as_from: None,
        kind,
        count: 12,
        len: 60,
    };
    let woven = |from: usize| {
        let others = (0..HOSTS).filter(|&to| to != from);
        let parts = others.flat_map(|to| kinds.map(|kind| part(to as u8, kind)));
        Step::Weave(from, parts.collect())
    };
    let read = |most| (0..HOSTS).map(move |host| Step::Read(host, most));
    let mut steps = Vec::new();
    for wait in [0, 3_000, 40_000, 200_000, 301_000] {
        for turn in 0..6 {
            steps.extend((0..HOSTS).map(woven));
            steps.push(Step::Settle);
            steps.extend(read(if turn == 2 { 5 } else { 1000 }));
            match turn {
                3 => steps.push(Step::Forget(1)),
                4 => steps.push(Step::Rule(1002)),
                _ => {}
            }
        }
        // Only one of them speaks: what the others' stations are known by grows old.
        steps.extend([Step::Wait(wait), woven(0), Step::Settle]);
        steps.extend(read(1000));
    }
    for tight in [Tight::Nothing, Tight::Rings, Tight::Buffers] {
        for mode in [Mode::Copy, Mode::Move] {
            let world = compare(config(mode, tight), &steps);
            assert!(world.heard.len() > 1000, "{}", world.heard.len());
        }
    }
}

/// Far more flows than there are courses at first, so that they move and take each other's places.
#[test]
fn many_flows_are_their_frames() {
    for kind in [Kind::Udp, Kind::Udp6] {
        flows_are_their_frames(kind);
    }
}

fn flows_are_their_frames(kind: fn(u8) -> Kind) {
    let mut steps = Vec::new();
    for from in [0, 1, 2, 0, 2] {
        for flows in [0..90, 90..180, 180..255] {
            let others = (0..HOSTS as u8).filter(|&to| usize::from(to) != from);
            let parts = flows.flat_map(|flow| others.clone().map(move |to| (to, flow)));
            let parts = parts.map(|(to, flow)| Part {
                to,
                as_from: None,
                kind: kind(flow),
                count: 7,
                len: 60,
            });
            steps.extend([Step::Weave(from, parts.collect()), Step::Settle]);
            steps.extend((0..HOSTS).map(|host| Step::Read(host, 5000)));
        }
    }
    let world = compare(config(Mode::Move, Tight::Nothing), &steps);
    assert!(world.heard.len() > 10_000, "{}", world.heard.len());
}

/// The steps above lead to what a burst may meet.
#[test]
fn random_bursts_meet_everything() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let steps = prop::collection::vec(any_step(), 600..601)
        .new_tree(&mut runner)
        .expect("a list of steps")
        .current();
    let rings = compare(config(Mode::Copy, Tight::Rings), &steps);
    let buffers = compare(config(Mode::Copy, Tight::Buffers), &steps);
    let seen = |what: fn(&What) -> bool| rings.events.iter().any(|event| what(&event.what));
    for (seen, what) in [
        (seen(|what| matches!(what, What::Forwarded(_))), "forwarded"),
        (seen(|what| matches!(what, What::Flooded)), "flooded"),
        (seen(|what| matches!(what, What::Learned(_))), "learned"),
    ] {
        assert!(seen, "nothing was {what}");
    }
    for (world, reason) in [
        (&rings, DropReason::RingFull),
        (&buffers, DropReason::PoolEmpty),
        (&rings, DropReason::BridgeSamePort),
        (&rings, DropReason::FrameTooLong),
    ] {
        let drops = &world.lab.net().trace.drops;
        assert!(drops.of(reason) > 0, "{reason}: {drops:?}");
    }
    assert!(
        rings
            .lab
            .net()
            .bridges()
            .any(|bridge| bridge.fdb().refused() > 0)
    );
    assert!(
        buffers
            .lab
            .net()
            .bridges()
            .any(|bridge| bridge.counters().moved > 0)
    );
    assert!(rings.heard.len() > 100 && buffers.heard.len() > 100);
}
