//! Frames that are taken at once against frames that wait in rings.
//!
//! In virtual time a frame that has crossed a veth pair is taken in at once where its mark would be the next anyway. Work
//! in bounded pieces, and with a capture, knows no such frames. So labs in which the same programs run, each driven
//! its way, have to tell the same in the same order: events, outputs, what calls return, counters and connections.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use emulator_core::app::{Family, SockKind, SockOpt, Sys};
use emulator_core::docker::spec::{ContainerSpec, HostPort, Port, PortBinding, Proto};
use emulator_core::id::{NsId, SockId};
use emulator_core::lab::{Input, Lab, LabConfig, Output};
use emulator_core::net::{CaptureAt, NetConfig};
use proptest::prelude::*;
use switch::link::Mode;
use switch::verdict::Event;

/// Containers on docker0; the last place is another machine, which asks for what they publish.
const BOXES: usize = 3;
const PORT: u16 = 80;

#[derive(Clone, Debug)]
enum Step {
    /// A place opens a connection to a box, or to its published port.
    Connect(usize, usize),
    /// One end of a connection sends so much, or takes what it has.
    Send(usize, bool, usize),
    Take(usize, bool),
    /// One end ends, with a reset or in order.
    Close(usize, bool, bool),
    /// A datagram.
    Datagram(usize, usize, usize),
    Settle,
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let (place, which) = (0..=BOXES, 0usize..64);
    prop_oneof![
        4 => (place.clone(), 0..BOXES).prop_map(|(from, to)| Step::Connect(from, to)),
        5 => (which.clone(), any::<bool>(), prop_oneof![1usize..100, 1usize..40_000])
            .prop_map(|(at, end, len)| Step::Send(at, end, len)),
        4 => (which.clone(), any::<bool>()).prop_map(|(at, end)| Step::Take(at, end)),
        2 => (which, any::<bool>(), any::<bool>()).prop_map(|(at, end, reset)| Step::Close(at, end, reset)),
        2 => (place, 0..BOXES, 1usize..3000).prop_map(|(from, to, len)| Step::Datagram(from, to, len)),
        8 => Just(Step::Settle),
        1 => prop_oneof![1u64..300, 1_000u64..70_000].prop_map(Step::Wait),
    ]
}

/// How a lab is driven.
#[derive(Clone, Copy, Debug)]
enum Drive {
    Whole,
    Pieces(u32),
    Captured,
}

struct World {
    lab: Lab,
    drive: Drive,
    boxes: Vec<NsId>,
    listeners: Vec<SockId>,
    datagrams: Vec<SockId>,
    pairs: Vec<[Option<(NsId, SockId)>; 2]>,
    events: Vec<Event>,
    said: Vec<String>,
}

fn published(number: usize) -> u16 {
    8000 + number as u16
}

impl World {
    fn new(mode: Mode, drive: Drive) -> Self {
        let mut lab = Lab::new(LabConfig {
            net: NetConfig {
                mode,
                ..NetConfig::default()
            },
            ..LabConfig::default()
        })
        .unwrap();
        lab.net_mut().trace.listen(true);
        for number in 0..BOXES {
            let name = format!("box{number}");
            lab.create(ContainerSpec {
                name: Some(name.clone()),
                image: "busybox".to_owned(),
                network_mode: "bridge".to_owned(),
                ports: vec![PortBinding {
                    port: Port {
                        number: PORT,
                        proto: Proto::Tcp,
                    },
                    host_ip: None,
                    host_port: HostPort::Exact(published(number)),
                }],
                ..ContainerSpec::default()
            })
            .unwrap();
            lab.start(&name).unwrap();
        }
        let boxes: Vec<NsId> = (0..BOXES)
            .map(|number| lab.namespace(&format!("box{number}")).unwrap())
            .collect();
        let mut world = Self {
            lab,
            drive,
            boxes,
            listeners: Vec::new(),
            datagrams: Vec::new(),
            pairs: Vec::new(),
            events: Vec::new(),
            said: Vec::new(),
        };
        if matches!(drive, Drive::Captured) {
            world.lab.capture_start(CaptureAt::All);
        }
        for number in 0..BOXES {
            let mut sys = world.lab.sys(world.boxes[number]);
            let listener = sys.socket(SockKind::Tcp, Family::V4).unwrap();
            sys.bind(listener, (Ipv4Addr::UNSPECIFIED, PORT).into())
                .unwrap();
            sys.listen(listener, 3).unwrap();
            let datagram = sys.socket(SockKind::Udp, Family::V4).unwrap();
            sys.bind(datagram, (Ipv4Addr::UNSPECIFIED, PORT).into())
                .unwrap();
            world.listeners.push(listener);
            world.datagrams.push(datagram);
        }
        world.settle();
        world
    }

    fn place(&self, number: usize) -> NsId {
        let lan = self.lab.places().lan;
        self.boxes.get(number).copied().unwrap_or(lan)
    }

    fn address(&self, from: usize, to: usize) -> SocketAddr {
        let at = |ns, iface| {
            let netns = self.lab.net().ns(ns).unwrap();
            let mut addresses = netns.iface_named(iface).unwrap().addrs.iter();
            addresses.find_map(|at| Some(at.net.addr()).filter(IpAddr::is_ipv4))
        };
        if from < BOXES {
            return (at(self.boxes[to], "eth0").unwrap(), PORT).into();
        }
        let places = self.lab.places();
        let host = self.lab.net().ns(places.host).unwrap();
        let uplink = host.iface(places.uplink).unwrap().name.to_string();
        (at(places.host, &uplink).unwrap(), published(to)).into()
    }

    fn settle(&mut self) {
        self.settle_by(self.drive);
    }

    fn settle_by(&mut self, drive: Drive) {
        loop {
            let output = match drive {
                Drive::Whole | Drive::Captured => Some(self.lab.poll()),
                Drive::Pieces(marks) => self.lab.poll_within(marks),
            };
            match output {
                None | Some(Output::Captured(_)) => {}
                Some(Output::Idle(_)) => break,
                Some(output) => self.said.push(format!("{output:?}")),
            }
        }
        self.events.extend(self.lab.net_mut().trace.drain());
        for number in 0..BOXES {
            while let Ok((sock, from)) = self
                .lab
                .sys(self.boxes[number])
                .accept(self.listeners[number])
            {
                self.said
                    .push(format!("{number} accepts {sock:?} of {from}"));
                let open = |pair: &&mut [Option<_>; 2]| pair[1].is_none();
                if let Some(pair) = self.pairs.iter_mut().rev().find(open) {
                    pair[1] = Some((self.boxes[number], sock));
                }
            }
            let mut bytes = [0; 4096];
            while let Ok(heard) = self
                .lab
                .sys(self.boxes[number])
                .recv_from(self.datagrams[number], &mut bytes)
            {
                self.said.push(format!("{number} hears {heard:?}"));
            }
        }
    }

    fn end(&self, which: usize, end: bool) -> Option<(NsId, SockId)> {
        let pair = self.pairs.get(which % self.pairs.len().max(1))?;
        pair[usize::from(end)]
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Connect(from, to) => {
                let (ns, at) = (self.place(from), self.address(from, to));
                let mut sys = self.lab.sys(ns);
                let sock = sys.socket(SockKind::Tcp, Family::V4).unwrap();
                let begun = sys.connect(sock, at);
                self.said.push(format!("{begun:?}"));
                self.pairs.push([Some((ns, sock)), None]);
            }
            Step::Send(which, end, len) => {
                if let Some((ns, sock)) = self.end(which, end) {
                    let sent = self.lab.sys(ns).send(sock, &vec![which as u8; len]);
                    self.said.push(format!("sent {sent:?}"));
                }
            }
            Step::Take(which, end) => {
                if let Some((ns, sock)) = self.end(which, end) {
                    let mut bytes = vec![0; 50_000];
                    let taken = self.lab.sys(ns).recv(sock, &mut bytes);
                    let sum: u64 = bytes.iter().map(|&byte| u64::from(byte)).sum();
                    self.said.push(format!("taken {taken:?} {sum}"));
                }
            }
            Step::Close(which, end, reset) => {
                let pairs = self.pairs.len().max(1);
                let held = self.pairs.get_mut(which % pairs);
                if let Some((ns, sock)) = held.and_then(|pair| pair[usize::from(end)].take()) {
                    let mut sys = self.lab.sys(ns);
                    if reset {
                        sys.set(sock, SockOpt::LingerZero(true)).unwrap();
                    }
                    sys.close(sock);
                }
            }
            Step::Datagram(from, to, len) => {
                let at = SocketAddr::new(self.address(from, to).ip(), PORT);
                let mut sys = self.lab.sys(self.place(from));
                let sock = sys.socket(SockKind::Udp, Family::V4).unwrap();
                let sent = sys.send_to(sock, &vec![7; len], at);
                self.said.push(format!("{sent:?}"));
                self.lab.sys(self.place(from)).close(sock);
            }
            Step::Settle => self.settle(),
            Step::Wait(millis) => {
                // In pieces timers do not wait for frames.
                self.settle();
                let end = self.lab.now() + Duration::from_millis(millis);
                while let Some(next) = self.lab.deadline().filter(|next| *next < end) {
                    self.lab.handle(next, Input::Tick);
                    self.settle_by(Drive::Whole);
                }
                self.lab.handle(end, Input::Tick);
                self.settle_by(Drive::Whole);
            }
        }
    }

    /// What can be looked at.
    fn state(&self) -> String {
        let net = self.lab.net();
        let links: Vec<_> = net
            .links()
            .map(|link| {
                [switch::link::Side::A, switch::link::Side::B].map(|side| link.counters(side))
            })
            .collect();
        let bridges: Vec<_> = net.bridges().map(|bridge| *bridge.counters()).collect();
        let firewall = net.ns(self.lab.places().host).unwrap().firewall().unwrap();
        let connections: Vec<_> = firewall
            .conntrack
            .list(net.now())
            .iter()
            .map(|conn| conn.line(net.now()).to_string())
            .collect();
        format!(
            "{links:?} {bridges:?} {connections:?} {:?}",
            net.trace.drops
        )
    }
}

/// The first place where two lists differ, and what is there.
fn differ<'a, T: PartialEq>(one: &'a [T], other: &'a [T]) -> Option<(usize, [Option<&'a T>; 2])> {
    let at = (0..one.len().max(other.len())).find(|&at| one.get(at) != other.get(at))?;
    Some((at, [one.get(at), other.get(at)]))
}

fn compare(mode: Mode, steps: &[Step]) -> World {
    let drives = [Drive::Whole, Drive::Pieces(u32::MAX), Drive::Captured];
    let mut worlds = drives.map(|drive| World::new(mode, drive));
    for step in steps {
        let [whole, others @ ..] = &mut worlds;
        whole.step(step);
        for other in others {
            other.step(step);
            let drive = other.drive;
            assert_eq!(differ(&other.said, &whole.said), None, "{drive:?}");
            assert_eq!(differ(&other.events, &whole.events), None, "{drive:?}");
            assert_eq!(other.state(), whole.state(), "{drive:?}");
        }
    }
    let [whole, ..] = worlds;
    whole
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn at_once_is_as_from_rings(steps in prop::collection::vec(any_step(), 1..50), moved: bool) {
        compare(if moved { Mode::Move } else { Mode::Copy }, &steps);
    }
}

/// A short connection from each place to each box, to their ends.
#[test]
fn short_connections_of_everybody() {
    let mut steps = Vec::new();
    for (from, to) in (0..=BOXES).flat_map(|from| (0..BOXES).map(move |to| (from, to))) {
        let which = from * BOXES + to;
        steps.extend([
            Step::Connect(from, to),
            Step::Settle,
            Step::Send(which, false, 1),
            Step::Settle,
            Step::Take(which, true),
            Step::Send(which, true, 2000),
            Step::Settle,
            Step::Take(which, false),
            Step::Close(which, from > to, from % 2 == 0),
            Step::Settle,
            Step::Close(which, from <= to, false),
            Step::Settle,
            Step::Wait(20),
        ]);
    }
    steps.push(Step::Wait(70_000));
    let world = compare(Mode::Copy, &steps);
    let taken = |len: usize| {
        world
            .said
            .iter()
            .filter(|said| said.starts_with(&format!("taken Ok({len})")))
            .count()
    };
    assert_eq!((taken(1), taken(2000)), (12, 12), "{:#?}", world.said);
}
