//! Frames are conserved: what hosts send over links into a bridge is delivered or dies with a reason,
//! in both forwarding modes, and no ring, table or pool passes its bound.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use switch::bridge::{Bridge, Decision, Flags, Limits, PortId};
use switch::frame::PoolLimits;
use switch::link::{Link, Mode, Side};
use switch::trace::Trace;
use switch::wire::EthernetAddress;
use switch::{DropReason, Frame, IfId, Pool, Time};

const HOSTS: u32 = 5;
const RING: usize = 4;
const ADDRESSES: usize = 6;
const BRIDGE: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0xff]);
const BRIDGE_IF: IfId = IfId(100);

#[derive(Clone, Debug)]
enum Step {
    /// A host sends a frame from one address to another.
    Send {
        host: u32,
        to: u8,
        from: u8,
        gso: bool,
    },
    /// A host sends bytes.
    Noise {
        host: u32,
        bytes: Vec<u8>,
    },
    /// The bridge's own interface sends.
    Output {
        to: u8,
    },
    /// A bridge works off up to so many frames of each port.
    Forward {
        budget: usize,
    },
    /// A host reads up to so many frames.
    Read {
        host: u32,
        budget: usize,
    },
    Port {
        port: u32,
        up: bool,
        isolated: bool,
        hairpin: bool,
    },
    End {
        host: u32,
        up: bool,
    },
    Wait {
        secs: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let host = 0..HOSTS;
    prop_oneof![
        8 => (host.clone(), 0_u8..9, 0_u8..9, prop::bool::weighted(0.1))
            .prop_map(|(host, to, from, gso)| Step::Send { host, to, from, gso }),
        1 => (host.clone(), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(host, bytes)| Step::Noise { host, bytes }),
        1 => (0_u8..9).prop_map(|to| Step::Output { to }),
        4 => (0_usize..6).prop_map(|budget| Step::Forward { budget }),
        3 => (host.clone(), 0_usize..6).prop_map(|(host, budget)| Step::Read { host, budget }),
        1 => (host.clone(), any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(port, up, isolated, hairpin)| Step::Port { port, up, isolated, hairpin }),
        1 => (host, any::<bool>()).prop_map(|(host, up)| Step::End { host, up }),
        1 => (0_u64..200).prop_map(|secs| Step::Wait { secs }),
    ]
}

/// 0 is broadcast, 1 a group, 2 the bridge, the others stations.
fn mac(number: u8) -> EthernetAddress {
    match number {
        0 => EthernetAddress::BROADCAST,
        1 => EthernetAddress([0x33, 0x33, 0, 0, 0, 1]),
        2 => BRIDGE,
        _ => EthernetAddress([2, 0, 0, 0, 0, number]),
    }
}

/// Hosts on side A of their links, the bridge on side B.
struct World {
    now: Time,
    pool: Pool,
    trace: Trace,
    bridge: Bridge,
    links: Vec<Link>,
    /// Frames put into the world, and copies that floods made of them.
    born: u64,
    delivered: u64,
}

impl World {
    fn new(mode: Mode) -> Self {
        let limits = Limits {
            ports: HOSTS as usize,
            addresses: ADDRESSES,
        };
        let mut bridge = Bridge::new(BRIDGE_IF, BRIDGE, limits);
        let mut links = Vec::new();
        for host in 0..HOSTS {
            let address = EthernetAddress([0x0a, 0, 0, 0, 0, host as u8]);
            bridge
                .add_port(Time::ZERO, IfId(host), address)
                .expect("there is room");
            links.push(Link::new(mode, RING));
        }
        assert!(bridge.add_port(Time::ZERO, IfId(99), mac(9)).is_err());
        let pool = Pool::new(PoolLimits {
            small: 24,
            large: 2,
        });
        Self {
            now: Time::ZERO,
            pool,
            trace: Trace::default(),
            bridge,
            links,
            born: 0,
            delivered: 0,
        }
    }

    fn carry(&mut self, link: u32, from: Side, frame: Frame) {
        let carried = self.links[link as usize].carry(&mut self.pool, from, frame);
        if let Err((frame, reason)) = carried {
            self.die(frame, IfId(link), reason);
        }
    }

    fn die(&mut self, frame: Frame, place: IfId, reason: DropReason) {
        self.trace
            .drop(self.now, &mut self.pool, frame, place, reason);
    }

    fn send(&mut self, host: u32, bytes: &[u8], gso_size: u16) {
        let Some(frame) = self.pool.from_bytes(bytes) else {
            return;
        };
        self.pool.meta_mut(&frame).gso_size = gso_size;
        self.born += 1;
        self.carry(host, Side::A, frame);
    }

    fn output(&mut self, to: u8) {
        let Some(frame) = self.pool.from_bytes(&ether(mac(to), BRIDGE)) else {
            return;
        };
        self.born += 1;
        let decision = self.bridge.output(self.now, self.pool.bytes(&frame));
        self.obey(decision, None, frame);
    }

    fn forward(&mut self, budget: usize) {
        for host in 0..HOSTS {
            for turn in 0..budget {
                if turn % 2 == 1 {
                    self.forward_run(host);
                } else {
                    self.forward_one(host);
                }
            }
        }
    }

    fn forward_one(&mut self, host: u32) {
        let Some(frame) = self.links[host as usize].receive(Side::B) else {
            return;
        };
        let meta = self.pool.meta(&frame);
        let bytes = self.pool.bytes(&frame);
        let port = PortId(host);
        let decision = self
            .bridge
            .input_super(self.now, port, bytes, meta.gso_size);
        self.obey(decision, Some(port), frame);
    }

    /// Moves the frames that wait first at a port and have one header together, if that is the same as
    /// moving each.
    fn forward_run(&mut self, host: u32) {
        let waiting = self.links[host as usize].front(Side::B);
        let Some(first) = waiting.first() else { return };
        let head = |frame: &Frame| self.pool.bytes(frame).get(..14);
        let of_run = |frame: &&Frame| {
            self.pool.meta(frame).gso_size == 0
                && head(frame).is_some_and(|it| Some(it) == head(first))
        };
        let run: Vec<_> = waiting.iter().take_while(of_run).collect();
        let lengths: Vec<usize> = run.iter().map(|frame| self.pool.len(frame)).collect();
        let (Some(&first_len), Some(&longest)) = (lengths.first(), lengths.iter().max()) else {
            return self.forward_one(host);
        };
        let (count, bytes) = (lengths.len(), lengths.iter().sum::<usize>() as u64);
        let bytes_of_first = self.pool.bytes(first);
        let decision = self.bridge.input(self.now, PortId(host), bytes_of_first);
        let Decision::Port(to) = decision else {
            if let Some(frame) = self.links[host as usize].receive(Side::B) {
                self.obey(decision, Some(PortId(host)), frame);
            }
            return;
        };
        let clear = to.0 != host
            && self.bridge.is_settled()
            && self.links[to.0 as usize].is_clear(&self.pool, Side::B, count, longest);
        if !clear {
            if let Some(frame) = self.links[host as usize].receive(Side::B) {
                self.obey(decision, Some(PortId(host)), frame);
            }
            return;
        }
        let others = (count as u64 - 1, bytes - first_len as u64);
        self.bridge.input_again(PortId(host), decision, others);
        let frames: Vec<Frame> = self.links[host as usize]
            .receive_run(Side::B, count)
            .collect();
        let wire = (count as u64, bytes);
        self.links[to.0 as usize].carry_run(&mut self.pool, Side::B, frames.into_iter(), wire);
    }

    fn obey(&mut self, decision: Decision, from: Option<PortId>, frame: Frame) {
        match decision {
            Decision::Drop(reason) => self.die(frame, BRIDGE_IF, reason),
            Decision::Local => self.deliver(frame),
            Decision::Port(port) => self.carry(port.0, Side::B, frame),
            Decision::Flood { local } => {
                let mut after = None;
                while let Some(port) = self.bridge.next_flood_port(from, after) {
                    after = Some(port);
                    self.born += 1;
                    let share = self.pool.share(&frame);
                    self.carry(port.0, Side::B, share);
                }
                if local {
                    self.deliver(frame);
                } else {
                    self.born -= 1;
                    self.pool.free(frame);
                }
            }
        }
    }

    fn deliver(&mut self, frame: Frame) {
        self.delivered += 1;
        self.pool.free(frame);
    }

    fn read(&mut self, host: u32, budget: usize) {
        for _ in 0..budget {
            let Some(frame) = self.links[host as usize].receive(Side::A) else {
                break;
            };
            // A stack writes into what it reads; in move mode the frame may be shared.
            match self.pool.unshare(frame) {
                Some(frame) => {
                    self.pool.bytes_mut(&frame).fill(0xee);
                    self.deliver(frame);
                }
                None => self.trace.drops.count(DropReason::PoolEmpty),
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send {
                host,
                to,
                from,
                gso,
            } => {
                let mut bytes = ether(mac(to), mac(from));
                if gso {
                    bytes.resize(4000, 0);
                }
                self.send(host, &bytes, if gso { 1448 } else { 0 });
            }
            Step::Noise { host, bytes } => self.send(host, &bytes, 0),
            Step::Output { to } => self.output(to),
            Step::Forward { budget } => self.forward(budget),
            Step::Read { host, budget } => self.read(host, budget),
            Step::Port {
                port,
                up,
                isolated,
                hairpin,
            } => {
                let flags = Flags {
                    isolated,
                    hairpin,
                    ..Flags::default()
                };
                self.bridge.set_port_flags(PortId(port), flags);
                self.bridge.set_port_up(PortId(port), up);
            }
            Step::End { host, up } => self.links[host as usize].set_up(Side::A, up),
            Step::Wait { secs } => self.now += core::time::Duration::from_secs(secs),
        }
    }

    fn waiting(&self) -> usize {
        self.links
            .iter()
            .map(|link| link.waiting(Side::A) + link.waiting(Side::B))
            .sum()
    }

    fn check(&self) {
        for link in &self.links {
            assert!(link.waiting(Side::A) <= RING && link.waiting(Side::B) <= RING);
        }
        assert!(self.bridge.fdb().learned() <= ADDRESSES);
        assert!(self.pool.in_use() <= 26);
        let dead = self.trace.drops.total();
        let waiting = self.waiting() as u64;
        assert_eq!(
            self.born,
            self.delivered + dead + waiting,
            "{:?}",
            self.drops()
        );
    }

    fn drops(&self) -> BTreeMap<DropReason, u64> {
        self.trace.drops.iter().collect()
    }

    /// Takes the links down with what waits in them.
    fn end(&mut self) {
        for link in 0..HOSTS {
            for side in [Side::A, Side::B] {
                let left: Vec<_> = self.links[link as usize].drain(side).collect();
                for frame in left {
                    self.die(frame, IfId(link), DropReason::InterfaceDown);
                }
            }
        }
    }
}

fn ether(destination: EthernetAddress, source: EthernetAddress) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&destination.0);
    frame[6..12].copy_from_slice(&source.0);
    frame[12..14].copy_from_slice(&[8, 0]);
    frame
}

fn run(mode: Mode, steps: &[Step]) -> World {
    let mut world = World::new(mode);
    for step in steps {
        world.step(step.clone());
        world.check();
    }
    world.end();
    world.check();
    assert_eq!(world.waiting(), 0);
    assert_eq!(world.pool.in_use(), 0, "a frame was lost");
    for link in &world.links {
        for side in [Side::A, Side::B] {
            let (sent, received) = (link.counters(side), link.counters(side.peer()));
            assert_eq!(sent.tx_frames, received.rx_frames);
            assert_eq!(sent.tx_bytes, received.rx_bytes);
        }
    }
    world
}

proptest! {
    #[test]
    fn frames_are_conserved(steps in prop::collection::vec(step(), 1..200)) {
        for mode in [Mode::Copy, Mode::Move] {
            run(mode, &steps);
        }
    }

    #[test]
    fn the_same_steps_end_the_same(steps in prop::collection::vec(step(), 1..100)) {
        let (one, two) = (run(Mode::Copy, &steps), run(Mode::Copy, &steps));
        prop_assert_eq!(one.delivered, two.delivered);
        prop_assert_eq!(one.drops(), two.drops());
        prop_assert_eq!(one.bridge.fdb().entries(one.now), two.bridge.fdb().entries(two.now));
    }
}

/// The property above would hold if nothing ever arrived.
#[test]
fn a_quiet_world_delivers_everything() {
    for mode in [Mode::Copy, Mode::Move] {
        let mut steps = Vec::new();
        for host in 0..HOSTS {
            let from = 3 + host as u8;
            steps.push(Step::Send {
                host,
                to: 0,
                from,
                gso: false,
            });
            steps.push(Step::Forward { budget: 6 });
            steps.extend((0..HOSTS).map(|host| Step::Read { host, budget: 6 }));
        }
        for host in 0..HOSTS {
            let (to, from) = (3 + (host as u8 + 1) % 5, 3 + host as u8);
            steps.push(Step::Send {
                host,
                to,
                from,
                gso: true,
            });
            steps.push(Step::Forward { budget: 6 });
            steps.extend((0..HOSTS).map(|host| Step::Read { host, budget: 6 }));
        }
        let world = run(mode, &steps);
        assert_eq!(world.drops(), BTreeMap::new());
        assert_eq!(
            world.delivered,
            5 * 5 + 5,
            "five floods to four hosts and up, five unicasts"
        );
    }
}

/// The steps above lead to every way in which a frame can die between two stacks.
#[test]
fn random_steps_reach_every_fate() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let steps = prop::collection::vec(step(), 4000..4001)
        .new_tree(&mut runner)
        .expect("a list of steps")
        .current();
    let world = run(Mode::Copy, &steps);
    for reason in [
        DropReason::BridgeIsolated,
        DropReason::BridgePortDown,
        DropReason::BridgeSamePort,
        DropReason::BridgeSourceMulticast,
        DropReason::InterfaceDown,
        DropReason::PoolEmpty,
        DropReason::RingFull,
        DropReason::Truncated,
    ] {
        assert!(
            world.trace.drops.of(reason) > 0,
            "{reason}: {:?}",
            world.drops()
        );
    }
    assert!(world.bridge.fdb().refused() > 0 && world.bridge.counters().moved > 0);
    assert!(world.delivered > 100);
}
