//! Runs: frames that wait at a port of a bridge one behind the other and go the same way.
//!
//! The frames of a burst mostly share their addresses. At one moment a bridge decides about all of them as
//! about the first, and so do the hooks ([`switch::hook::Run`]): the port shows them the first, has the
//! others counted along, and moves them together. Nothing else differs from frame by frame. What is not
//! sure to be the same for all (super-segments, captures, full rings, whatever the hooks have to see) goes
//! one by one.

use std::collections::VecDeque;

use switch::bridge::{Bridge, Decision, PortId};
use switch::frame::Meta;
use switch::hook::{Netfilter, Run, Tally};
use switch::link::{Link, Side};
use switch::ring::Waiting;
use switch::trace::Trace;
use switch::verdict::What;
use switch::wire::ETHER_LEN;
use switch::{Frame, Pool, Time};

use super::{Net, Plug, QUANTUM, Reader, Socket, Work, mark};
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
    #[inline]
    fn of(meta: Meta, bytes: &[u8], guarded: Option<IfId>) -> Option<Self> {
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
            longest: bytes.len(),
            first: meta.id,
            in_order: true,
            packets,
        })
    }

    /// Adds the frames of `waiting` behind its first, whose bytes are `bytes`, that go the way of that one.
    #[inline]
    fn extend(&mut self, pool: &Pool, bytes: &[u8], waiting: &[Frame]) {
        if let Some(second) = waiting.get(1)
            && self.packets.as_ref().is_none_or(Run::may_grow)
            && let Some(head) = header(bytes)
            && header(pool.bytes(second)) == Some(head)
        {
            self.extend_by(pool, head, &waiting[1..]);
        }
    }

    fn extend_by(&mut self, pool: &Pool, head: [u64; 2], others: &[Frame]) {
        let (mut count, mut length, mut longest, mut packet_bytes) = (0, 0, self.longest, 0);
        let mut gaps = 0;
        for (number, frame) in (self.first + 1..).zip(others) {
            let (next, bytes) = pool.view(frame);
            if header(bytes) != Some(head) || next.gso_size != 0 {
                break;
            }
            if let Some(packets) = &self.packets {
                let Some(len) = packets.length_of(&bytes[ETHER_LEN..]) else {
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

/// The Ethernet header of a frame: 14 bytes in two words that overlap.
#[inline]
fn header(bytes: &[u8]) -> Option<[u64; 2]> {
    let bytes = bytes.first_chunk::<ETHER_LEN>()?;
    let (first, last) = (bytes.first_chunk()?, bytes.last_chunk()?);
    Some([u64::from_ne_bytes(*first), u64::from_ne_bytes(*last)])
}

/// What comes next at a port, behind the rows that were moved.
enum Next {
    /// No frame waits, or enough were moved.
    Nothing,
    /// A frame that goes alone.
    Alone,
    /// The same, and what the bridge decided about it.
    Decided(Decision),
    /// So many frames that go to this port one by one: some of them will not get through.
    Each(PortId, u32),
}

impl Net {
    /// Takes up to a quantum of frames from a port, and so from each other port of the bridge whose mark is
    /// next. Never inlined: it needs a large frame of the stack, which a poll with nothing to do would pay for.
    #[inline(never)]
    pub(super) fn receive_at_ports(&mut self, first: Inlet) {
        let (mut inlet, mut left) = (first, QUANTUM);
        loop {
            let next = if self.trace.is_capturing() {
                Next::Alone
            } else {
                self.port_rows(&mut inlet, &mut left)
            };
            let moved = self.port_next(&inlet, next);
            if moved == 0 {
                return;
            }
            left = left.saturating_sub(moved);
            if left == 0 {
                return self.mark(inlet.iface);
            }
        }
    }

    fn port_next(&mut self, inlet: &Inlet, next: Next) -> usize {
        let count = match next {
            Next::Nothing => 0,
            Next::Alone | Next::Decided(_) => 1,
            Next::Each(_, count) => count as usize,
        };
        for moved in 0..count {
            let Some(frame) = self.inlet_receive(inlet) else {
                return moved;
            };
            match next {
                Next::Decided(decision) => {
                    self.bridge_obey(inlet.bridge, inlet.port, frame, decision);
                }
                Next::Each(to, _) => self.bridge_send(inlet.bridge, to, frame),
                Next::Nothing | Next::Alone => {
                    self.bridge_input(inlet.bridge, inlet.port, inlet.iface, frame);
                }
            }
        }
        count
    }

    fn inlet_receive(&mut self, inlet: &Inlet) -> Option<Frame> {
        let link = self.links[inlet.link.0 as usize].as_mut()?;
        link.receive(inlet.side)
    }

    /// Moves frames row by row, at most `left` at the port and a quantum at each whose mark is next, until one
    /// has to go alone: from the port that is `inlet` then, where `left` more may go.
    fn port_rows(&mut self, inlet: &mut Inlet, left: &mut usize) -> Next {
        let Some(slot) = self.bridges[inlet.bridge.0 as usize].as_deref_mut() else {
            return Next::Alone;
        };
        let owner = slot.owner.map(|ns| ns.0 as usize);
        let mut owner = owner.and_then(|ns| self.namespaces.get_mut(ns)?.as_deref_mut());
        let guarded = owner.as_ref().is_some_and(|owner| owner.tracks());
        let addresses = owner.as_ref().map(|owner| owner.addresses_change());
        let guard = owner
            .as_mut()
            .filter(|_| guarded)
            .and_then(|owner| owner.netfilter_mut());
        if guard.is_some() != guarded {
            return Next::Alone;
        }
        let is_quiet = self.wakes.is_empty();
        let mut crossing = Crossing {
            now: self.now,
            own: slot.bridge.interface(),
            bridge: &mut slot.bridge,
            guard,
            tally: Tally::default(),
            addresses,
            passed: (0, 0),
            pool: &mut self.pool,
            trace: &mut self.trace,
            links: &mut self.links,
            sockets: &mut self.sockets,
            work: &mut self.work,
        };
        let next = loop {
            let next = crossing.port(inlet, left);
            if !matches!(next, Next::Nothing) {
                break next;
            }
            if *left == 0 {
                mark(crossing.sockets, crossing.work, inlet.iface);
            }
            // Who is to be woken comes first, as behind every mark.
            let Some(following) = is_quiet.then(|| crossing.next_port(inlet.bridge)).flatten()
            else {
                break Next::Nothing;
            };
            (*inlet, *left) = (following, QUANTUM);
        };
        crossing.end();
        next
    }
}

/// A bridge at work, and all that its frames touch on their way.
struct Crossing<'a> {
    now: Time,
    own: IfId,
    bridge: &'a mut Bridge,
    /// The hooks that packets meet.
    guard: Option<&'a mut Netfilter>,
    /// What passed the hooks and is not counted there yet.
    tally: Tally,
    /// What the hooks' answers may depend on.
    addresses: Option<u64>,
    /// Frames and bytes from this port that were forwarded and are not counted at the bridge yet.
    passed: (u64, u64),
    pool: &'a mut Pool,
    trace: &'a mut Trace,
    links: &'a mut [Option<Box<Link>>],
    sockets: &'a mut [Socket],
    work: &'a mut VecDeque<Work>,
}

impl Crossing<'_> {
    /// Moves frames that wait at a port, at most `left`.
    #[inline]
    fn port(&mut self, inlet: &Inlet, left: &mut usize) -> Next {
        // Not in its place meanwhile: through a hairpin or a loop frames would meet those that wait.
        let Some(mut source) = self.links[inlet.link.0 as usize].take() else {
            return Next::Nothing;
        };
        let mut waiting = source.waiting_for(inlet.side);
        let next = loop {
            if *left == 0 {
                break Next::Nothing;
            }
            match self.row(inlet, &mut waiting, *left) {
                Ok(count) => *left -= count as usize,
                Err(next) => break next,
            }
        };
        self.links[inlet.link.0 as usize] = Some(source);
        let passed = core::mem::take(&mut self.passed);
        // Whichever port they went to.
        self.bridge
            .account(inlet.port, Decision::Port(inlet.port), passed);
        next
    }

    /// The port of this bridge whose mark is next, if that is what is next.
    #[inline]
    fn next_port(&mut self, own: BridgeId) -> Option<Inlet> {
        let Some(&Work::Receive(iface)) = self.work.front() else {
            return None;
        };
        let socket = &mut self.sockets[iface.0 as usize];
        let (Reader::Port { bridge, port }, Plug::Veth { link, side, .. }) =
            (socket.reader, socket.plug)
        else {
            return None;
        };
        if bridge != own {
            return None;
        }
        socket.marked = false;
        self.work.pop_front();
        Some(Inlet {
            bridge,
            port,
            iface,
            link,
            side,
        })
    }

    /// Moves the next row, of at most `most` frames.
    #[inline]
    fn row(&mut self, inlet: &Inlet, source: &mut Waiting<'_>, most: usize) -> Result<u32, Next> {
        let waiting = source.frames();
        let waiting = &waiting[..most.min(waiting.len())];
        let Some(first) = waiting.first() else {
            return Err(Next::Nothing);
        };
        let (meta, bytes) = self.pool.view(first);
        let guarded = self.guard.is_some().then_some(self.own);
        let Some(mut row) = Row::of(meta, bytes, guarded) else {
            return Err(Next::Alone);
        };
        let decision = self.bridge.judge(self.now, inlet.port, bytes);
        if self.bridge.learned().is_some() {
            let what = What::Learned(inlet.iface);
            self.trace.event(self.now, row.first, self.own, what);
        }
        let Decision::Port(to) = decision else {
            return self.alone(inlet, decision, bytes.len());
        };
        let len = bytes.len();
        // Only now: what the stack takes comes one by one, and others would be looked at each time.
        row.extend(self.pool, bytes, waiting);
        self.forward(inlet, source, to, len, &row)
    }

    /// The next frame goes alone, as the bridge decided.
    #[cold]
    fn alone(&mut self, inlet: &Inlet, decision: Decision, len: usize) -> Result<u32, Next> {
        self.bridge.account(inlet.port, decision, (1, len as u64));
        Err(Next::Decided(decision))
    }

    /// Forwards a row to the port that the bridge chose for its first frame, of `len` bytes.
    #[inline]
    fn forward(
        &mut self,
        inlet: &Inlet,
        source: &mut Waiting<'_>,
        to: PortId,
        len: usize,
        row: &Row,
    ) -> Result<u32, Next> {
        let Some(iface) = self.bridge.port(to).map(|port| port.interface) else {
            return self.alone(inlet, Decision::Port(to), len);
        };
        let Plug::Veth { link, side, peer } = self.sockets[iface.0 as usize].plug else {
            return self.alone(inlet, Decision::Port(to), len);
        };
        if link == inlet.link || (row.count > 1 && !self.bridge.is_settled()) {
            return self.alone(inlet, Decision::Port(to), len);
        }
        if let Some(packets) = &row.packets
            && let Some(guard) = &mut self.guard
            && !guard.pass_bridged(self.now, packets, self.addresses, &mut self.tally)
        {
            return self.alone(inlet, Decision::Port(to), len);
        }
        self.passed.0 += u64::from(row.count);
        self.passed.1 += row.bytes;
        let Some(target) = self.links[link.0 as usize].as_deref_mut() else {
            return Err(Next::Each(to, row.count));
        };
        if !target.is_clear(self.pool, side, row.count as usize, row.longest) {
            return Err(Next::Each(to, row.count));
        }
        let what = What::Forwarded(iface);
        if row.in_order {
            self.trace
                .events(self.now, row.first, row.count, iface, what);
        } else {
            for frame in &source.frames()[..row.count as usize] {
                let number = self.pool.meta(frame).id;
                self.trace.event(self.now, number, iface, what);
            }
        }
        if row.count == 1 {
            if let Some(frame) = source.take() {
                target.carry_one(self.pool, side, frame, row.bytes);
            }
        } else {
            let frames = source.take_run(row.count as usize);
            let weight = (u64::from(row.count), row.bytes);
            target.carry_run(self.pool, side, frames, weight);
        }
        mark(self.sockets, self.work, peer);
        Ok(row.count)
    }

    /// Counts what passed the hooks.
    fn end(mut self) {
        if let Some(guard) = self.guard {
            guard.count(&mut self.tally);
        }
    }
}
