//! Runs: frames that wait at a port of a bridge one behind the other and go the same way.
//!
//! The frames of a burst mostly share their addresses. At one moment a bridge decides about all of them as
//! about the first, and so do the hooks ([`switch::hook::Run`]): the port shows them the first, has the
//! others counted along, and moves them together. Nothing else differs from frame by frame. What is not
//! sure to be the same for all (super-segments, captures, full rings, whatever the hooks have to see) goes
//! one by one.

use switch::bridge::{Decision, PortId};
use switch::hook::Run;
use switch::link::Side;
use switch::verdict::What;
use switch::wire::ETHER_LEN;
use switch::{Frame, Pool};

use super::{Net, Plug};
use crate::id::{BridgeId, IfId, LinkId};

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// A port of a bridge and the end of the veth pair that it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inlet {
    pub(super) bridge: BridgeId,
    pub(super) port: PortId,
    pub(super) iface: IfId,
    pub(super) link: LinkId,
    pub(super) side: Side,
}

/// Ordinary frames with the same Ethernet header.
struct Row {
    count: u32,
    bytes: u64,
    first_len: u64,
    longest: usize,
    first: u64,
    /// Their numbers follow each other.
    in_order: bool,
    /// The packets in them, if the bridge's hooks want to know of them.
    packets: Option<Run>,
}

impl Row {
    /// A row of one frame; `None` if it goes alone. With hooks on the bridge `guarded` by, it is a packet
    /// of a flow.
    fn of(pool: &Pool, first: &Frame, guarded: Option<IfId>) -> Option<Self> {
        let (meta, bytes) = pool.view(first);
        let (head, payload) = bytes.split_first_chunk::<ETHER_LEN>()?;
        if meta.gso_size != 0 {
            return None;
        }
        let packets = match (guarded, [head[12], head[13]]) {
            (Some(bridge), IPV4 | IPV6) => Some(Run::of(payload, bridge, 1)?),
            _ => None,
        };
        Some(Self {
            count: 1,
            bytes: bytes.len() as u64,
            first_len: bytes.len() as u64,
            longest: bytes.len(),
            first: meta.id,
            in_order: true,
            packets,
        })
    }

    /// Adds the frames of `waiting` behind its first that go the way of that one.
    fn extend(&mut self, pool: &Pool, waiting: &[Frame]) {
        let Some((first, others)) = waiting.split_first() else {
            return;
        };
        let Some((head, _)) = pool.bytes(first).split_first_chunk::<ETHER_LEN>() else {
            return;
        };
        let (mut count, mut length, mut longest, mut packet_bytes) = (0, 0, self.longest, 0);
        let mut gaps = 0;
        for (number, frame) in (self.first + 1..).zip(others) {
            let (next, bytes) = pool.view(frame);
            let Some((same, payload)) = bytes.split_first_chunk::<ETHER_LEN>() else {
                break;
            };
            if same != head || next.gso_size != 0 {
                break;
            }
            if let Some(packets) = &self.packets {
                let Some(len) = packets.length_of(payload) else {
                    break;
                };
                packet_bytes += len;
            }
            gaps |= next.id ^ number;
            count += 1;
            length += bytes.len();
            longest = longest.max(bytes.len());
        }
        self.in_order = gaps == 0;
        self.count += count;
        self.bytes += length as u64;
        self.longest = longest;
        if let Some(packets) = &mut self.packets {
            packets.add(count, packet_bytes);
        }
    }
}

impl Net {
    /// Moves frames that wait at a port: a run of at most `most`, or one. Says how many; 0 if none waits.
    pub(super) fn port_receive(&mut self, inlet: &Inlet, most: usize) -> usize {
        if self.trace.capture.is_none()
            && let Some(moved) = self.port_run(inlet, most)
        {
            return moved;
        }
        let Some(frame) = self.inlet_receive(inlet) else {
            return 0;
        };
        self.bridge_input(inlet.bridge, inlet.port, inlet.iface, frame);
        1
    }

    fn inlet_receive(&mut self, inlet: &Inlet) -> Option<Frame> {
        let link = self.links[inlet.link.0 as usize].as_mut()?;
        link.receive(inlet.side)
    }

    fn port_run(&mut self, inlet: &Inlet, most: usize) -> Option<usize> {
        let guarded = self.guarded(inlet.bridge);
        let link = self.links[inlet.link.0 as usize].as_deref()?;
        let waiting = link.front(inlet.side);
        let waiting = &waiting[..most.min(waiting.len())];
        let first = waiting.first()?;
        let mut row = Row::of(&self.pool, first, guarded)?;
        let bytes = self.pool.bytes(first);
        let slot = self.bridges[inlet.bridge.0 as usize].as_mut()?;
        let own = slot.bridge.interface();
        let decision = slot.bridge.input(self.now, inlet.port, bytes);
        if slot.bridge.learned().is_some() {
            let what = What::Learned(inlet.iface);
            self.trace.event(self.now, row.first, own, what);
        }
        if let Decision::Port(to) = decision {
            // Only now: what the stack takes comes one by one, and others would be looked at each time.
            row.extend(&self.pool, waiting);
            if self.forward_row(inlet, to, &row) {
                return Some(row.count as usize);
            }
        }
        let frame = self.inlet_receive(inlet)?;
        self.bridge_obey(inlet.bridge, inlet.port, frame, decision);
        Some(1)
    }

    /// The interface of a bridge whose hooks see the packets that it forwards.
    fn guarded(&self, bridge: BridgeId) -> Option<IfId> {
        let slot = self.bridges[bridge.0 as usize].as_deref()?;
        let guard = self.ns(slot.owner?)?;
        guard.tracks().then(|| slot.bridge.interface())
    }

    /// Forwards a row to the port that the bridge chose for the first frame. `false`, and nothing has
    /// happened, if that one has to go alone.
    fn forward_row(&mut self, inlet: &Inlet, to: PortId, row: &Row) -> bool {
        let Some(slot) = self.bridges[inlet.bridge.0 as usize].as_mut() else {
            return false;
        };
        let Some(iface) = slot.bridge.port(to).map(|port| port.interface) else {
            return false;
        };
        let Plug::Veth { link, side, peer } = self.sockets[iface.0 as usize].plug else {
            return false;
        };
        // Through a hairpin or a loop the frames would meet those that wait.
        if link == inlet.link || (row.count > 1 && !slot.bridge.is_settled()) {
            return false;
        }
        if let Some(packets) = &row.packets {
            let guard = slot
                .owner
                .and_then(|ns| self.namespaces[ns.0 as usize].as_mut());
            if !guard.is_some_and(|guard| guard.pass_bridged(self.now, packets)) {
                return false;
            }
        }
        let others = (u64::from(row.count - 1), row.bytes - row.first_len);
        slot.bridge
            .input_again(inlet.port, Decision::Port(to), others);
        let links = [inlet.link.0 as usize, link.0 as usize];
        let Ok([Some(source), Some(target)]) = self.links.get_disjoint_mut(links) else {
            return self.forward_each(inlet, to, row.count);
        };
        if !target.is_clear(&self.pool, side, row.count as usize, row.longest) {
            return self.forward_each(inlet, to, row.count);
        }
        let what = What::Forwarded(iface);
        if row.in_order {
            self.trace
                .events(self.now, row.first, row.count, iface, what);
        } else {
            for frame in &source.front(inlet.side)[..row.count as usize] {
                let number = self.pool.meta(frame).id;
                self.trace.event(self.now, number, iface, what);
            }
        }
        let frames = source.receive_run(inlet.side, row.count as usize);
        let weight = (u64::from(row.count), row.bytes);
        target.carry_run(&mut self.pool, side, frames, weight);
        self.mark(peer);
        true
    }

    /// The same one by one: some of them will not get through.
    fn forward_each(&mut self, inlet: &Inlet, to: PortId, count: u32) -> bool {
        for _ in 0..count {
            if let Some(frame) = self.inlet_receive(inlet) {
                self.bridge_send(inlet.bridge, to, frame);
            }
        }
        true
    }
}
