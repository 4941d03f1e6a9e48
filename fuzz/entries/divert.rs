//! The router of `namespace` with its way out diverted: what it would forward waits until somebody has decided, and what
//! comes back is said in the name of others.
//!
//! Promises: those of `namespace`; a packet that waits is shown once, and what is shown of it stands in it; no more wait
//! than may; when the way is closed nothing waits.

use emulator_core::id::SockId;
use emulator_core::netns::{Asked, HeldId, Netns, Ruling, Unreachable};
use switch::verdict::DropReason;

use super::Script;
use super::namespace::{World, address, at, port};

/// Packets that may wait.
const HELD: usize = 1024;

struct Diverted {
    world: World,
    way: SockId,
    /// Those that were shown, the last at the end.
    shown: Vec<HeldId>,
    /// A packet that was shown.
    packet: Vec<u8>,
}

/// Runs one input.
pub fn divert(data: &[u8]) {
    let mut script = Script(data);
    // It forwards.
    let mut world = World::new(script.u8() & !2);
    let way = open(&mut world);
    let mut diverted = Diverted {
        world,
        way,
        shown: Vec::new(),
        packet: Vec::new(),
    };
    while let Some(step) = script.next() {
        if step & 0x20 == 0 {
            diverted.world.step(step, &mut script);
        } else {
            diverted.step(step, &mut script);
        }
        diverted.world.drain();
    }
    let way = diverted.way;
    diverted.world.with(|ns, cx| ns.close(cx, way));
    assert!(!diverted.show(), "it is closed");
    diverted.world.end();
}

fn open(world: &mut World) -> SockId {
    world.with(Netns::divert).expect("a way out")
}

fn ruling(script: &mut Script<'_>) -> Ruling {
    match script.below(8) {
        0..=2 => Ruling::Accept,
        3 => Ruling::Reset,
        4 => Ruling::Drop(DropReason::EgressDenied),
        5 => Ruling::Unreachable(Unreachable::Port),
        6 => Ruling::Unreachable(Unreachable::Host),
        _ => Ruling::Unreachable(Unreachable::Prohibited),
    }
}

impl Diverted {
    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        match step & 7 {
            0 | 1 => {
                self.show();
            }
            2 | 3 => {
                let number = usize::from(script.u8()) % self.shown.len().max(1);
                let ruling = ruling(script);
                if number < self.shown.len() {
                    // Some are decided on twice.
                    let id = match step & 0x40 {
                        0 => self.shown.swap_remove(number),
                        _ => self.shown[number],
                    };
                    self.world.with(|ns, cx| ns.rule(cx, id, ruling));
                }
            }
            4 => {
                let (from, to) = (address(script), address(script));
                let (from, to) = (at(from, port(script)), at(to, port(script)));
                let payload = vec![7; usize::from(script.u16())];
                let _lost = self
                    .world
                    .with(|ns, cx| ns.datagram_as(cx, from, to, &payload));
            }
            5 => {
                let (from, to) = (address(script), address(script));
                let (id, sequence) = (script.u16(), script.u16());
                let payload = script.block();
                let _lost = self
                    .world
                    .with(|ns, cx| ns.echo_as(cx, from, to, (id, sequence), payload));
            }
            6 => {
                // What was shown, or what nobody has sent.
                let packet = match step & 0x40 {
                    0 => self.packet.clone(),
                    _ => script.block().to_vec(),
                };
                let packet = &packet[..packet.len().min(1232)];
                let (why, by) = match step & 0x20 {
                    0 => (Unreachable::Host, None),
                    _ => (Unreachable::HopLimit, Some(address(script))),
                };
                self.world
                    .with(|ns, cx| ns.complain_of(cx, packet, why, by));
            }
            _ => self.accept_or_close(step),
        }
    }

    /// A connection that was let in comes out; or the way is closed and opened again.
    fn accept_or_close(&mut self, step: u8) {
        let way = self.way;
        if step & 0x40 == 0 {
            if let Ok((sock, _)) = self.world.with(|ns, cx| ns.accept(cx, way)) {
                self.world.with(|ns, cx| ns.close(cx, sock));
            }
            return;
        }
        self.world.with(|ns, cx| ns.close(cx, way));
        self.way = open(&mut self.world);
        self.shown.clear();
        assert!(!self.show(), "it is new");
    }

    /// Looks at the next packet that waits; false if none does.
    fn show(&mut self) -> bool {
        let shown = self.world.with(|ns, cx| {
            ns.diverted(cx, |id, asked| {
                let packet = match asked {
                    Asked::Connection { from, to } => {
                        assert_eq!(from.is_ipv4(), to.is_ipv4());
                        &[][..]
                    }
                    Asked::Datagram {
                        payload, packet, ..
                    }
                    | Asked::Echo {
                        payload, packet, ..
                    } => {
                        let end = packet.as_ptr_range().end;
                        assert!(payload.len() + 28 <= packet.len() && payload.as_ptr() <= end);
                        packet
                    }
                };
                (id, packet.to_vec())
            })
        });
        let Some((id, packet)) = shown else {
            return false;
        };
        assert!(!self.shown.contains(&id), "it was shown before");
        self.packet = packet;
        self.shown.push(id);
        self.shown.drain(..self.shown.len().saturating_sub(HELD));
        true
    }
}
