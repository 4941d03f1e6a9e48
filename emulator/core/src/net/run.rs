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
use switch::ring::Waiting;
use switch::verdict::What;

use super::courses::Single;
use super::crossing::{Crossing, Known};
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
    /// next. Never inlined: it needs a large frame of the stack, which a poll with nothing to do would pay for.
    #[inline(never)]
    pub(super) fn receive_at_ports(&mut self, first: Inlet) {
        let link = self.links[first.link.0 as usize].as_deref();
        let is_alone = link.is_some_and(|link| link.waiting(first.side) == 1);
        if is_alone && self.follow_alone(&first) {
            return;
        }
        let (mut inlet, mut left, mut asked) = (first, QUANTUM, is_alone);
        loop {
            let next = if self.trace.is_capturing() {
                Next::Alone
            } else {
                self.port_rows(&mut inlet, &mut left, asked)
            };
            asked = false;
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

    /// Moves the one frame that waits at a port along the course of its flow: what [`Self::port_rows`] does, without
    /// looking out for others. False, and nothing has happened, if it has to be looked at.
    #[inline]
    fn follow_alone(&mut self, inlet: &Inlet) -> bool {
        let Some(mut source) = self.links[inlet.link.0 as usize].take() else {
            return false;
        };
        let follows = self.follow_from(inlet, &mut source.waiting_for(inlet.side));
        self.links[inlet.link.0 as usize] = Some(source);
        follows
    }

    #[inline]
    fn follow_from(&mut self, inlet: &Inlet, source: &mut Waiting<'_>) -> bool {
        let Some(slot) = self.bridges[inlet.bridge.0 as usize].as_deref_mut() else {
            return false;
        };
        let Some(frame) = source.frames().first() else {
            return false;
        };
        // What the stack takes has none.
        let is_local = (self.pool.bytes(frame)).starts_with(&slot.bridge.address().0);
        if is_local || self.trace.is_capturing() || !self.pool.has_room(1) {
            return false;
        }
        let Some(single) = Single::of(&self.pool, frame, inlet.iface) else {
            return false;
        };
        let owner = slot.owner.filter(|_| slot.filtered);
        let owner = owner.and_then(|ns| self.namespaces.get_mut(ns.0 as usize)?.as_deref_mut());
        let Some(guard) = owner.and_then(|owner| owner.guard()?) else {
            return false;
        };
        let (rules, lanes) = guard.passages();
        slot.courses.renew((slot.bridge.change(), rules, lanes));
        let Some(course) = slot.courses.of(self.now, &single.key) else {
            return false;
        };
        let mut tally = Tally::default();
        let mut known = Known {
            now: self.now,
            port: inlet.port,
            bridge: &mut slot.bridge,
            guard: &mut *guard,
            tally: &mut tally,
            links: &mut self.links,
            renewed: None,
        };
        let Some(way) = known.way(course, &single) else {
            return false;
        };
        if let Some(frame) = source.take() {
            way.carry(&mut self.pool, frame, single.len as u64);
        }
        let (out, peer) = (course.out, course.peer);
        guard.count(&mut tally);
        let weight = (1, single.len as u64);
        slot.bridge
            .account(inlet.port, Decision::Port(inlet.port), weight);
        let what = What::Forwarded(out);
        self.trace.event(self.now, single.number, out, what);
        self.mark(peer);
        true
    }

    /// Moves frames row by row, at most `left` at the port and a quantum at each whose mark is next, until one
    /// has to go alone: from the port that is `inlet` then, where `left` more may go. The first has no course if it
    /// was `asked` for that already.
    fn port_rows(&mut self, inlet: &mut Inlet, left: &mut usize, asked: bool) -> Next {
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
            asked,
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
