//! Frames into the ports of a bridge, and out of its own interface, while ports come, go and change.
//!
//! Promises: every frame gets one decision and is counted under it once; nothing leaves through a port
//! that is down, gone, isolated from the source, or the source itself without hairpin; a flood names a
//! port once, in order; what is learned is the source of that frame; the table keeps its bound.

use core::time::Duration;

use switch::bridge::{Bridge, Decision, Flags, Limits, PortId};
use switch::segment;
use switch::wire::{ETHER_LEN, EthernetAddress};
use switch::{IfId, Time};

use super::Script;

const PORTS: u8 = 6;
const ADDRESSES: usize = 4;
const OWN: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0xff]);

struct World {
    bridge: Bridge,
    now: Time,
    /// Frames that were put in, super-segments as the frames that they stand for.
    frames: u64,
}

/// Runs one input.
pub fn bridge(data: &[u8]) {
    let mut script = Script(data);
    let limits = Limits {
        ports: usize::from(PORTS),
        addresses: ADDRESSES,
    };
    let mut world = World {
        bridge: Bridge::new(IfId(100), OWN, limits),
        now: Time::ZERO,
        frames: 0,
    };
    for number in 0..3 {
        world.add_port(number);
    }
    while let Some(step) = script.next() {
        world.step(step, &mut script);
        world.check();
    }
}

impl World {
    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        match step % 12 {
            0..=3 => self.input(script),
            4 => self.output(script),
            5 => self.add_port(script.u8()),
            6 => {
                let port = PortId(u32::from(script.below(PORTS + 1)));
                let known = self.bridge.port(port).is_some();
                assert_eq!(self.bridge.remove_port(port).is_some(), known);
            }
            7 => {
                let port = PortId(u32::from(script.below(PORTS)));
                self.bridge.set_port_up(port, script.flag());
            }
            8 => {
                let port = PortId(u32::from(script.below(PORTS)));
                let bits = script.u8();
                let flags = Flags {
                    hairpin: bits & 1 != 0,
                    isolated: bits & 2 != 0,
                    learning: bits & 4 == 0,
                };
                self.bridge.set_port_flags(port, flags);
            }
            9 => self.now += Duration::from_secs(u64::from(script.u16())),
            10 => self.bridge.set_up(script.flag()),
            _ => self.table(script),
        }
    }

    fn add_port(&mut self, number: u8) {
        let before = self.bridge.port_count();
        let address = EthernetAddress([0x0a, 0, 0, 0, 0, number]);
        let added = self
            .bridge
            .add_port(self.now, IfId(u32::from(number)), address);
        assert_eq!(added.is_ok(), before < usize::from(PORTS));
    }

    /// Changes to the table by hand.
    fn table(&mut self, script: &mut Script<'_>) {
        let address = address(script);
        let port = PortId(u32::from(script.below(PORTS)));
        match script.below(4) {
            0 if self.bridge.port(port).is_some() => {
                let fdb = self.bridge.fdb_mut();
                fdb.insert_static(self.now, 0, address, port);
            }
            1 => {
                self.bridge.fdb_mut().remove(0, address);
            }
            2 if address.is_unicast() => self.bridge.set_address(self.now, address),
            _ => {
                let ageing = Duration::from_secs(u64::from(script.u16()));
                self.bridge.set_ageing(ageing);
            }
        }
    }

    fn input(&mut self, script: &mut Script<'_>) {
        let port = PortId(u32::from(script.below(PORTS)));
        let (frame, gso_size) = frame(script);
        let decision = self.bridge.input_super(self.now, port, &frame, gso_size);
        self.frames += segment::wire_size(&frame, gso_size).0;
        if let Some(learned) = self.bridge.learned() {
            assert_eq!(learned.port, port);
            assert_eq!(learned.address.0, frame[6..12]);
            assert!(learned.address.is_unicast());
            assert_ne!(learned.moved_from, Some(port));
        }
        if frame.len() < ETHER_LEN {
            assert!(matches!(decision, Decision::Drop(_)));
        }
        if self.bridge.is_settled() && frame.len() % 3 == 0 {
            self.input_again(port, decision, &frame, gso_size);
        }
        self.obey(decision, Some(port));
    }

    /// The same frame again, counted along and then shown: it has to be decided as it was, teach nothing
    /// and be counted alike.
    fn input_again(&mut self, port: PortId, decision: Decision, frame: &[u8], gso_size: u16) {
        let (frames, bytes) = segment::wire_size(frame, gso_size);
        let count = |bridge: &Bridge| {
            let port = bridge.port(port).map(|port| port.counters);
            (*bridge.counters(), port.unwrap_or_default())
        };
        let first = count(&self.bridge);
        self.bridge.input_again(port, decision, (frames, bytes));
        let second = count(&self.bridge);
        let again = self.bridge.input_super(self.now, port, frame, gso_size);
        assert_eq!(again, decision);
        assert_eq!(self.bridge.learned(), None);
        let third = count(&self.bridge);
        for (one, two, three) in [
            (first.0.received, second.0.received, third.0.received),
            (first.0.forwarded, second.0.forwarded, third.0.forwarded),
            (first.0.flooded, second.0.flooded, third.0.flooded),
            (first.0.local, second.0.local, third.0.local),
            (first.0.dropped, second.0.dropped, third.0.dropped),
            (first.0.moved, second.0.moved, third.0.moved),
            (first.1.frames, second.1.frames, third.1.frames),
            (first.1.bytes, second.1.bytes, third.1.bytes),
            (first.1.dropped, second.1.dropped, third.1.dropped),
        ] {
            assert_eq!(two - one, three - two);
        }
        self.frames += 2 * frames;
    }

    fn output(&mut self, script: &mut Script<'_>) {
        let (frame, gso_size) = frame(script);
        let decision = self.bridge.output_super(self.now, &frame, gso_size);
        self.frames += segment::wire_size(&frame, gso_size).0;
        assert_ne!(decision, Decision::Local, "the bridge sends to itself");
        self.obey(decision, None);
    }

    /// Looks at where a frame would go.
    fn obey(&self, decision: Decision, from: Option<PortId>) {
        match decision {
            Decision::Drop(_) | Decision::Local => {}
            Decision::Port(port) => self.may_leave(from, port),
            Decision::Flood { local } => {
                let ports: Vec<PortId> = self.bridge.flood_ports(from).collect();
                assert!(local || !ports.is_empty(), "a flood to nowhere");
                assert!(ports.is_sorted_by(|a, b| a < b));
                for port in ports {
                    self.may_leave(from, port);
                }
            }
        }
    }

    fn may_leave(&self, from: Option<PortId>, to: PortId) {
        let target = self.bridge.port(to).expect("the port is there");
        assert!(target.up);
        let Some(from) = from else { return };
        let source = self.bridge.port(from).expect("frames come from ports");
        assert!(source.up);
        assert!(from != to || target.flags.hairpin, "back to where it came");
        assert!(!(source.flags.isolated && target.flags.isolated));
    }

    fn check(&self) {
        let bridge = &self.bridge;
        assert!(bridge.port_count() <= usize::from(PORTS));
        assert_eq!(bridge.ports().count(), bridge.port_count());
        assert!(bridge.fdb().learned() <= ADDRESSES);
        assert!(bridge.fdb().entries(self.now).len() <= bridge.fdb().len());
        let counters = bridge.counters();
        assert_eq!(counters.received + counters.sent, self.frames);
        // A flood may count as local too; nothing else counts twice.
        let once = counters.forwarded + counters.flooded + counters.dropped;
        assert!(once <= self.frames && once + counters.local >= self.frames);
    }
}

/// A frame between two of a few addresses, or bytes as they come; and its segment size.
fn frame(script: &mut Script<'_>) -> (Vec<u8>, u16) {
    let kind = script.u8();
    let gso_size = if kind & 2 == 0 { 0 } else { script.u16() };
    if kind & 1 == 1 {
        return (script.block().to_vec(), gso_size);
    }
    let mut frame = Vec::new();
    frame.extend_from_slice(&address(script).0);
    frame.extend_from_slice(&address(script).0);
    frame.extend_from_slice(&[8, 0]);
    frame.extend_from_slice(script.block());
    (frame, gso_size)
}

fn address(script: &mut Script<'_>) -> EthernetAddress {
    match script.below(16) {
        0 => EthernetAddress::BROADCAST,
        1 => EthernetAddress([0x33, 0x33, 0, 0, 0, 1]),
        2 => OWN,
        3 => EthernetAddress([0; 6]),
        4 => EthernetAddress([0x01, 0x80, 0xc2, 0, 0, script.u8()]),
        5 => EthernetAddress([0x0a, 0, 0, 0, 0, script.below(PORTS)]),
        station => EthernetAddress([2, 0, 0, 0, 0, station]),
    }
}
