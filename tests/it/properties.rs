//! Random networks, random verbs, random traffic: what holds after every step and at the end.
//!
//! Verbs may be refused, frames may be lost; no address is ever had twice, no table outgrows its bound,
//! no tuple is translated for two flows, and every frame has an end that is told.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use emulator_core::app::{Family, SockKind, SockOpt, Sys};
use emulator_core::docker::spec::{ContainerSpec, EndpointSpec, NetworkSpec, Proto};
use emulator_core::id::{NsId, SockId};
use emulator_core::lab::probe::Question;
use emulator_core::lab::{Lab, LabConfig};
use emulator_core::net::{CaptureAt, NetConfig};
use emulator_core::netns::neigh;
use emulator_core::tools::Probe;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use switch::conntrack::{Conntrack, Limits};
use switch::frame::PoolLimits;
use switch::link::Mode;
use switch::verdict::{Event, What};

use crate::scenes::{Echo, publish};

const CONTAINERS: usize = 5;
const NETWORKS: usize = 3;
const LIMIT: Duration = Duration::from_millis(300);

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    NetworkCreate(usize),
    NetworkRemove(usize),
    /// Makes and starts a container, with a published port or without.
    Run(usize, Home, bool),
    Start(usize),
    Stop(usize),
    Restart(usize),
    Remove(usize),
    Pause(usize, bool),
    Connect(usize, usize),
    Disconnect(usize, usize),
    Ping(Who, Who),
    Tcp(Who, Who, u16),
    Udp(Who, Who, usize),
    /// From the same port of every container to the same port of `lan`, at once.
    Collide,
    /// Bytes out of a container's first interface, past its stack.
    Noise(usize, Vec<u8>),
    Lookup(usize, usize),
    Wait(u64),
}

#[derive(Clone, Copy, Debug)]
enum Home {
    Default,
    Network(usize),
    None,
    Host,
    Of(usize),
}

#[derive(Clone, Copy, Debug)]
enum Who {
    Container(usize),
    Host,
    Lan,
    Internet,
}

fn container() -> impl Strategy<Value = usize> {
    0..CONTAINERS
}

fn network() -> impl Strategy<Value = usize> {
    0..NETWORKS
}

fn home() -> impl Strategy<Value = Home> {
    prop_oneof![
        3 => Just(Home::Default),
        6 => network().prop_map(Home::Network),
        1 => Just(Home::None),
        1 => Just(Home::Host),
        1 => container().prop_map(Home::Of),
    ]
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        6 => container().prop_map(Who::Container),
        1 => Just(Who::Host),
        1 => Just(Who::Lan),
        1 => Just(Who::Internet),
    ]
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop::collection::vec(any::<u8>(), 0..120);
    // A broadcast, or a frame for nobody, with the type of what follows.
    let framed = (any::<bool>(), 0..4_usize, bytes.clone()).prop_map(|(group, kind, body)| {
        let mut frame = vec![if group { 0xff } else { 0x02 }; 6];
        frame.extend([2, 9, 9, 9, 9, 9]);
        frame.extend([[0x08, 0x00], [0x08, 0x06], [0x86, 0xdd], [0x88, 0xb5]][kind]);
        frame.extend(body);
        frame
    });
    prop_oneof![1 => bytes, 3 => framed]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => network().prop_map(Step::NetworkCreate),
        1 => network().prop_map(Step::NetworkRemove),
        6 => (container(), home(), any::<bool>()).prop_map(|(c, h, p)| Step::Run(c, h, p)),
        1 => container().prop_map(Step::Start),
        1 => container().prop_map(Step::Stop),
        1 => container().prop_map(Step::Restart),
        1 => container().prop_map(Step::Remove),
        1 => (container(), any::<bool>()).prop_map(|(c, on)| Step::Pause(c, on)),
        4 => (network(), container()).prop_map(|(n, c)| Step::Connect(n, c)),
        2 => (network(), container()).prop_map(|(n, c)| Step::Disconnect(n, c)),
        4 => (who(), who()).prop_map(|(a, b)| Step::Ping(a, b)),
        4 => (who(), who(), prop::sample::select(vec![80, 81, 8080]))
            .prop_map(|(a, b, port)| Step::Tcp(a, b, port)),
        3 => (who(), who(), prop::sample::select(vec![0, 40, 1472, 4000, 20_000]))
            .prop_map(|(a, b, len)| Step::Udp(a, b, len)),
        2 => Just(Step::Collide),
        2 => (container(), noise()).prop_map(|(c, bytes)| Step::Noise(c, bytes)),
        1 => (container(), container()).prop_map(|(a, b)| Step::Lookup(a, b)),
        1 => prop::sample::select(vec![1, 40, 400]).prop_map(Step::Wait),
    ]
}

/// The sizes of a world: some are so small that things are lost all the time.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    seed: u64,
    ring: usize,
    addresses: usize,
    connections: usize,
    buffers: usize,
    mode: Mode,
}

fn sizes() -> impl Strategy<Value = Sizes> {
    (
        0..4_u64,
        prop::sample::select(vec![2, 16, 1024]),
        prop::sample::select(vec![2, 65_536]),
        prop::sample::select(vec![3, 262_144]),
        prop::sample::select(vec![48, 131_072]),
        prop::sample::select(vec![Mode::Copy, Mode::Move]),
    )
        .prop_map(
            |(seed, ring, addresses, connections, buffers, mode)| Sizes {
                seed,
                ring,
                addresses,
                connections,
                buffers,
                mode,
            },
        )
}

struct World {
    lab: Lab,
    sizes: Sizes,
    events: Vec<Event>,
    answers: Vec<String>,
}

fn name(container: usize) -> String {
    format!("c{container}")
}

fn net_name(network: usize) -> String {
    format!("n{network}")
}

impl World {
    fn new(sizes: Sizes) -> Self {
        let mut config = LabConfig {
            seed: sizes.seed,
            ..LabConfig::default()
        };
        config.net = NetConfig {
            mode: sizes.mode,
            ring: sizes.ring,
            bridge_addresses: sizes.addresses,
            pool: PoolLimits {
                small: sizes.buffers,
                large: sizes.buffers,
            },
            ..NetConfig::default()
        };
        let mut lab = Lab::new(config).unwrap();
        let places = lab.places().clone();
        lab.net_mut().with_ns(places.host, |netns, _| {
            netns.firewall_mut().unwrap().conntrack = Conntrack::new(Limits {
                connections: sizes.connections,
            });
        });
        lab.spawn(places.lan, Box::new(Echo::new(7)));
        lab.net_mut().trace.listen(true);
        lab.settle();
        Self {
            lab,
            sizes,
            events: Vec::new(),
            answers: Vec::new(),
        }
    }

    fn ns(&self, who: Who) -> Option<NsId> {
        let places = self.lab.places();
        match who {
            Who::Container(at) => self.lab.namespace(&name(at)),
            Who::Host => Some(places.host),
            Who::Lan => Some(places.lan),
            Who::Internet => Some(places.internet),
        }
    }

    /// Every address of `who`, loopback left out.
    fn addresses(&self, who: Who) -> Vec<IpAddr> {
        if matches!(who, Who::Internet) {
            return vec![Ipv4Addr::new(198, 51, 100, 7).into()];
        }
        let netns = self.ns(who).and_then(|ns| self.lab.net().ns(ns));
        netns
            .into_iter()
            .flat_map(|netns| netns.ifaces())
            .flat_map(|iface| &iface.addrs)
            .map(|address| address.net.addr())
            .filter(|address| !address.is_loopback() && !link_local(*address))
            .collect()
    }

    fn ask(&mut self, from: Who, to: Who, question: impl Fn(IpAddr) -> Question<'static>) {
        let Some(ns) = self.ns(from) else { return };
        for address in self.addresses(to) {
            let answer = self.lab.probe(ns, &question(address), LIMIT);
            self.answers.push(format!("{from:?} {address} {answer:?}"));
        }
    }

    fn run(&mut self, at: usize, home: Home, published: bool) {
        let mode = match home {
            Home::Default => String::new(),
            Home::Network(network) => net_name(network),
            Home::None => "none".to_owned(),
            Home::Host => "host".to_owned(),
            Home::Of(other) => format!("container:{}", name(other)),
        };
        let port = u16::try_from(at).unwrap();
        let made = self.lab.create(ContainerSpec {
            name: Some(name(at)),
            image: "busybox".to_owned(),
            network_mode: mode,
            ports: published
                .then(|| publish(8080 + port % 2, 80, Proto::Tcp))
                .into_iter()
                .collect(),
            ..ContainerSpec::default()
        });
        let made = made.and_then(|_| self.lab.start(&name(at)));
        self.note(made.map_err(|error| error.to_string()));
        if let Some(ns) = self.lab.namespace(&name(at)) {
            self.lab.spawn(ns, Box::new(Probe::new(vec![80], vec![9])));
        }
    }

    fn note<T>(&mut self, result: Result<T, impl ToString>) {
        if let Err(error) = result {
            self.answers.push(error.to_string());
        }
    }

    fn shout(&mut self, ns: NsId, port: u16, to: SocketAddr, bytes: &[u8]) -> Option<SockId> {
        let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
        let mut sys = self.lab.sys(ns);
        let sock = sys.socket(SockKind::Udp, family).ok()?;
        let sent = sys
            .set(sock, SockOpt::DontFragment(false))
            .and_then(|()| {
                if port == 0 {
                    return Ok(());
                }
                sys.bind(sock, (Ipv4Addr::UNSPECIFIED, port).into())
            })
            .and_then(|()| sys.connect(sock, to))
            .and_then(|()| sys.send(sock, bytes));
        if sent.is_err() {
            sys.close(sock);
            return None;
        }
        Some(sock)
    }

    fn collide(&mut self) {
        let lan: SocketAddr = (Ipv4Addr::new(192, 0, 2, 9), 7).into();
        let spaces: BTreeSet<NsId> = (0..CONTAINERS)
            .filter_map(|at| self.lab.namespace(&name(at)))
            .collect();
        let socks: Vec<(NsId, SockId)> = spaces
            .into_iter()
            .filter_map(|ns| {
                let word = ns.0.to_string();
                Some((ns, self.shout(ns, 5555, lan, word.as_bytes())?))
            })
            .collect();
        self.lab.run_for(LIMIT);
        for (ns, sock) in socks {
            let mut buffer = [0; 64];
            let mut sys = self.lab.sys(ns);
            // An answer may be lost. A wrong one may come only where connections had to be forgotten.
            if let Ok(count) = sys.recv(sock, &mut buffer) {
                let own = buffer[..count] == *ns.0.to_string().as_bytes();
                assert!(own || self.sizes.connections < CONTAINERS);
                self.answers.push(format!("echo for {}", ns.0));
            }
            self.lab.sys(ns).close(sock);
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::NetworkCreate(at) => {
                let made = self.lab.network_create(NetworkSpec {
                    name: net_name(at),
                    internal: at == 2,
                    ipv6: Some(at == 1),
                    ..NetworkSpec::default()
                });
                self.note(made);
            }
            Step::NetworkRemove(at) => {
                let gone = self.lab.network_remove(&net_name(at));
                self.note(gone);
            }
            Step::Run(at, home, published) => self.run(at, home, published),
            Step::Start(at) => {
                let done = self.lab.start(&name(at));
                self.note(done);
            }
            Step::Stop(at) => {
                let done = self.lab.stop(&name(at));
                self.note(done);
            }
            Step::Restart(at) => {
                let done = self.lab.restart(&name(at));
                self.note(done);
            }
            Step::Remove(at) => {
                let done = self.lab.remove(&name(at), true);
                self.note(done);
            }
            Step::Pause(at, on) => {
                let done = if on {
                    self.lab.pause(&name(at))
                } else {
                    self.lab.unpause(&name(at))
                };
                self.note(done);
            }
            Step::Connect(network, at) => {
                let done = self.lab.network_connect(
                    &net_name(network),
                    &name(at),
                    EndpointSpec::default(),
                );
                self.note(done);
            }
            Step::Disconnect(network, at) => {
                let done = self
                    .lab
                    .network_disconnect(&net_name(network), &name(at), false);
                self.note(done);
            }
            Step::Ping(from, to) => self.ask(from, to, Question::Ping),
            Step::Tcp(from, to, port) => self.ask(from, to, |address| {
                Question::Tcp(SocketAddr::new(address, port), b"")
            }),
            Step::Udp(from, to, len) => {
                let Some(ns) = self.ns(from) else { return };
                for address in self.addresses(to) {
                    let bytes = vec![7; len];
                    let sock = self.shout(ns, 0, SocketAddr::new(address, 9), &bytes);
                    self.lab.run_for(LIMIT);
                    if let Some(sock) = sock {
                        self.lab.sys(ns).close(sock);
                    }
                }
            }
            Step::Collide => self.collide(),
            Step::Noise(at, ref bytes) => {
                let netns = self
                    .lab
                    .namespace(&name(at))
                    .filter(|ns| *ns != self.lab.places().host)
                    .and_then(|ns| self.lab.net().ns(ns));
                let iface = netns
                    .and_then(|netns| netns.iface_named("eth0"))
                    .map(|iface| iface.id);
                if let Some(iface) = iface {
                    let sent = self.lab.net_mut().raw_send(iface, bytes);
                    self.note(sent);
                }
            }
            Step::Lookup(from, to) => {
                if let Some(ns) = self.lab.namespace(&name(from)) {
                    let found = self.lab.lookup(ns, &name(to));
                    self.answers.push(format!("{found:?}"));
                }
            }
            Step::Wait(seconds) => {
                self.lab.run_for(Duration::from_secs(seconds));
            }
        }
        self.lab.settle();
        self.events.extend(self.lab.net_mut().trace.take());
        assert_eq!(self.lab.net().trace.lost_events(), 0);
    }

    fn check(&self) {
        self.no_address_twice();
        self.tables_within_bounds();
        self.no_tuple_twice();
    }

    fn no_address_twice(&self) {
        let mut owners: BTreeMap<IpAddr, String> = BTreeMap::new();
        for netns in self.lab.net().all_ns() {
            for iface in netns.ifaces() {
                for address in &iface.addrs {
                    let address = address.net.addr();
                    if address.is_loopback() || link_local(address) {
                        continue;
                    }
                    let owner = format!("{} {}", netns.name(), iface.name);
                    let before = owners.insert(address, owner.clone());
                    assert_eq!(before, None, "{address} is also that of {owner}");
                }
            }
        }
    }

    fn tables_within_bounds(&self) {
        let net = self.lab.net();
        for link in net.links() {
            for side in [switch::link::Side::A, switch::link::Side::B] {
                assert!(link.waiting(side) <= self.sizes.ring);
            }
        }
        for bridge in net.bridges() {
            assert!(bridge.fdb().learned() <= self.sizes.addresses);
        }
        assert!(net.pool.in_use() <= 2 * self.sizes.buffers);
        for netns in net.all_ns() {
            let neighbours = netns.neighbours(net.now()).count();
            assert!(neighbours <= neigh::TABLE_LIMIT);
            if let Some(firewall) = netns.firewall() {
                assert!(firewall.conntrack.len() <= self.sizes.connections);
            }
        }
    }

    /// Each tuple on the wire is that of one connection.
    fn no_tuple_twice(&self) {
        let net = self.lab.net();
        let Some(firewall) = net.ns(self.lab.places().host).and_then(|n| n.firewall()) else {
            return;
        };
        let mut seen = BTreeMap::new();
        for conn in firewall.conntrack.list(net.now()) {
            for tuple in [conn.original(), conn.reply()] {
                let before = seen.insert(format!("{tuple:?}"), conn.number);
                assert!(
                    before.is_none_or(|number| number == conn.number),
                    "{tuple:?} belongs to two connections"
                );
            }
        }
    }

    /// Every frame that was sent has an end that was told.
    fn every_frame_ended(&self) {
        let mut open: BTreeMap<u64, &Event> = BTreeMap::new();
        for event in &self.events {
            match event.what {
                What::Sent => {
                    open.insert(event.frame, event);
                }
                What::Delivered | What::Dropped(_) => {
                    open.remove(&event.frame);
                }
                What::Flooded
                | What::Forwarded(_)
                | What::Judged(_)
                | What::Learned(_)
                | What::Rewritten(_) => {}
            }
        }
        let lost: Vec<String> = open
            .values()
            .take(3)
            .flat_map(|sent| {
                self.events
                    .iter()
                    .filter(|event| event.frame == sent.frame)
                    .map(ToString::to_string)
            })
            .collect();
        assert!(open.is_empty(), "no end of {}: {lost:#?}", open.len());
    }

    /// Takes everything away and waits until nothing is under way.
    fn end(&mut self) {
        for at in 0..CONTAINERS {
            self.step(&Step::Remove(at));
        }
        for at in 0..NETWORKS {
            self.step(&Step::NetworkRemove(at));
        }
        self.step(&Step::Wait(400));
        self.check();
        self.every_frame_ended();
        assert_eq!(self.lab.net().pool.in_use(), 0, "frames were kept");
        assert_eq!(self.lab.docker().containers().count(), 0);
    }
}

const fn link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// What every world starts with, so that there is somebody to talk to.
fn furnished() -> Vec<Step> {
    let networks = (0..NETWORKS).map(Step::NetworkCreate);
    let homes = [
        Home::Default,
        Home::Network(0),
        Home::Network(0),
        Home::Network(1),
        Home::Network(2),
    ];
    let containers = homes.into_iter().enumerate();
    networks
        .chain(containers.map(|(at, home)| Step::Run(at, home, at % 2 == 0)))
        .collect()
}

fn play(sizes: Sizes, steps: &[Step], capture: bool) -> World {
    let mut world = World::new(sizes);
    if capture {
        world.lab.capture_start(CaptureAt::All);
    }
    for step in furnished().iter().chain(steps) {
        world.step(step);
        world.check();
    }
    world.end();
    world
}

proptest! {
    #![proptest_config(ProptestConfig {
        // 51, or a fifth of PROPTEST_CASES.
        cases: ProptestConfig::default().cases / 5,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_frames_end_and_addresses_are_had_once(
        sizes in sizes(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        play(sizes, &steps, false);
    }

    #[test]
    fn the_same_steps_leave_the_same_events(
        sizes in sizes(),
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let (one, two) = (play(sizes, &steps, false), play(sizes, &steps, true));
        prop_assert_eq!(&one.answers, &two.answers);
        prop_assert!(one.events == two.events);
        prop_assert_eq!(&one.lab.net().trace.drops, &two.lab.net().trace.drops);
    }
}

/// The properties above would hold of a world in which nothing happens.
#[test]
fn the_random_steps_reach_what_they_are_for() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut answers = Vec::new();
    let mut events = Vec::new();
    for _ in 0..12 {
        let steps = prop::collection::vec(step(), 40..41)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let sizes = Sizes {
            seed: 1,
            ring: 1024,
            addresses: 65_536,
            connections: 262_144,
            buffers: 131_072,
            mode: Mode::Copy,
        };
        let world = play(sizes, &steps, false);
        answers.extend(world.answers);
        events.extend(world.events);
    }
    let some = |word: &str| {
        answers
            .iter()
            .filter(|answer| answer.contains(word))
            .count()
    };
    for word in ["Open", "ConnRefused", "Timeout", "echo for", "172.1"] {
        assert!(
            some(word) > 3,
            "{word}: {} of {}",
            some(word),
            answers.len()
        );
    }
    let rewritten = events
        .iter()
        .filter(|event| matches!(event.what, What::Rewritten(_)))
        .count();
    assert!(rewritten > 20, "{rewritten} rewrites");
}
