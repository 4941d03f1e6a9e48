//! Runs: frames that wait at a port of a bridge one behind the other and go the same way.
//!
//! The frames of a burst mostly share their addresses. At one moment a bridge decides about all of them as
//! about the first, and so do the hooks ([`switch::hook::Run`]): the port shows them the first, has the
//! others counted along, and moves them together. Nothing else differs from frame by frame. A flow that goes on
//! is not asked about at all while its course holds (see [`courses`](super::courses)). What is not
//! sure to be the same for all (super-segments, captures, full rings, whatever the hooks have to see) goes
//! one by one.

use switch::Frame;
use switch::bridge::{Decision, PortId};
use switch::hook::Tally;
use switch::link::Side;

use super::crossing::Crossing;
use super::{Net, QUANTUM, mark};
use crate::id::{BridgeId, IfId, LinkId};

/// A port of a bridge and the end of the veth pair that it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inlet {
    pub(super) bridge: BridgeId,
    pub(super) port: PortId,
    pub(super) iface: IfId,
    pub(super) link: LinkId,
    pub(super) side: Side,
}

/// What comes next at a port, behind the rows that were moved.
pub(super) enum Next {
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
    /// next.
    #[inline(always)]
    pub(super) fn receive_at_ports(&mut self, first: Inlet) {
        let link = &mut self.links[first.link.0 as usize];
        if link.waiting(first.side) == 1
            && let Some(frame) = link.receive(first.side)
        {
            return self.receive_lone(first, frame);
        }
        self.receive_rows(first);
    }

    /// Takes a frame that came in at a port where no other waits. Never inlined: it needs a large frame of the stack,
    /// which a poll with nothing to do would pay for.
    #[inline(never)]
    pub(super) fn receive_lone(&mut self, inlet: Inlet, frame: Frame) {
        if let Err(frame) = self.lone(&inlet, frame)
            && let Err(frame) = self.lone_wide(&inlet, frame)
        {
            self.links[inlet.link.0 as usize].wait(inlet.side, frame);
            self.receive_rows(inlet);
        }
    }

    #[inline(never)]
    fn receive_rows(&mut self, first: Inlet) {
        let (mut inlet, mut left) = (first, QUANTUM);
        loop {
            let next = if self.trace.is_capturing() {
                Next::Alone
            } else {
                self.port_rows(&mut inlet, &mut left)
            };
            let moved = self.port_next(&inlet, next);
            // It comes before what the next rows find marked.
            self.put_down();
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
        self.links[inlet.link.0 as usize].receive(inlet.side)
    }

    /// Moves frames row by row, at most `left` at the port and a quantum at each whose mark is next, until one
    /// has to go alone: from the port that is `inlet` then, where `left` more may go.
    fn port_rows(&mut self, inlet: &mut Inlet, left: &mut usize) -> Next {
        let Some(slot) = self.bridges[inlet.bridge.0 as usize].as_deref_mut() else {
            return Next::Alone;
        };
        let owner = slot.owner.filter(|_| slot.filtered);
        let owner = owner.and_then(|ns| self.namespaces.get_mut(ns.0 as usize)?.as_deref_mut());
        let addresses = owner.as_ref().map(|owner| owner.addresses_change());
        let guard = match owner {
            None => None,
            Some(owner) => match owner.guard() {
                Some(guard) => guard,
                None => return Next::Alone,
            },
        };
        let is_quiet = self.wakes.is_empty();
        let mut crossing = Crossing {
            now: self.now,
            own: slot.bridge.interface(),
            bridge: &mut slot.bridge,
            courses: &mut slot.courses,
            wide: &mut slot.wide,
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
        crossing.renew_courses();
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
