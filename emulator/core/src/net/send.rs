//! What a namespace sends leaves its interface, and goes into the ring of whom the wire leads to.

use switch::link::Side;
use switch::trace::Trace;
use switch::verdict::What;
use switch::{DropReason, Frame, Time};

use super::{Net, Plug, hand};
use crate::id::{IfId, LinkId, NsId};
use crate::netns::{first, only};

impl Net {
    /// After a namespace ran: send its frames, and note when it wants to run again.
    #[inline(always)]
    pub(super) fn after(&mut self, ns: NsId) {
        if !(self.tx.is_empty() & self.going.is_empty()) {
            self.send_all();
        }
        let Some(netns) = self.namespaces[ns.0 as usize].as_deref() else {
            return;
        };
        let (alarm, has_work) = (netns.alarm(), netns.has_work());
        if has_work || netns.noted != alarm {
            self.note(ns, alarm, has_work);
        }
    }

    /// Out of the way of those whom nothing has changed for.
    #[inline(never)]
    fn note(&mut self, ns: NsId, alarm: Time, has_work: bool) {
        if has_work {
            self.mark_ns(ns);
        }
        if let Some(Some(netns)) = self.namespaces.get_mut(ns.0 as usize)
            && netns.noted != alarm
        {
            netns.noted = alarm;
            self.alarms.set(ns.0, alarm);
        }
    }

    #[inline(never)]
    fn send_all(&mut self) {
        // Mostly there is one.
        if let Some((iface, frame)) = only(&mut self.tx, &self.going) {
            if let Err(frame) = self.send_last(iface, frame) {
                self.transmit(iface, frame);
            }
            if self.tx.is_empty() {
                return;
            }
        }
        while let Some((iface, frame)) = first(&mut self.tx, &mut self.going) {
            self.transmit(iface, frame);
        }
    }

    /// An ordinary frame, behind which no other waits, leaves through `iface`. It comes back, and nothing has happened, if that
    /// is no end of a veth pair whose way is clear.
    #[inline(always)]
    fn send_last(&mut self, iface: IfId, frame: Frame) -> Result<(), Frame> {
        let Plug::Veth { link, side, peer } = self.sockets[iface.0 as usize].plug else {
            return Err(frame);
        };
        if self.trace.is_capturing() {
            return Err(frame);
        }
        self.cross(link, side, peer, frame, |trace, now, number| {
            trace.one(now, number, iface, What::Sent);
        })
    }

    /// An ordinary frame crosses a veth pair from this side if the way is clear, after `tell` has been given its number. It comes
    /// back, and nothing has happened, if not.
    #[inline(always)]
    fn cross(
        &mut self,
        link: LinkId,
        side: Side,
        peer: IfId,
        frame: Frame,
        tell: impl FnOnce(&mut Trace, Time, u64),
    ) -> Result<(), Frame> {
        let Some((number, bytes)) = self.pool.ordinary(&frame) else {
            return Err(frame);
        };
        let len = bytes.len();
        let Some(mut way) = self.links[link.0 as usize].clear(side, len) else {
            return Err(frame);
        };
        tell(&mut self.trace, self.now, number);
        let frame = way.cross(&mut self.pool, frame, len as u64);
        let (hand, sockets, work) = (&mut self.hand, &mut self.sockets, &mut self.work);
        hand::arrive(hand, sockets, work, way, (peer, frame));
        Ok(())
    }

    /// A frame leaves through `iface`.
    #[inline(never)]
    pub(crate) fn transmit(&mut self, iface: IfId, frame: Frame) {
        self.trace
            .event(self.now, self.pool.meta(&frame).id, iface, What::Sent);
        match self.sockets[iface.0 as usize].plug {
            Plug::Veth { link, side, peer } => self.carry_over(iface, link, side, peer, frame),
            Plug::Bridge(bridge) => self.bridge_output(bridge, iface, frame),
            Plug::Child { parent } => self.child_output(iface, parent, frame),
            Plug::Nothing | Plug::Segment(_) => {
                self.trace.drop(
                    self.now,
                    &mut self.pool,
                    frame,
                    iface,
                    DropReason::InterfaceDown,
                );
            }
        }
    }

    /// A frame goes into the veth pair at its end `iface`, and its reader is marked.
    pub(crate) fn carry(&mut self, iface: IfId, frame: Frame) {
        let Plug::Veth { link, side, peer } = self.sockets[iface.0 as usize].plug else {
            self.trace.drop(
                self.now,
                &mut self.pool,
                frame,
                iface,
                DropReason::InterfaceDown,
            );
            return;
        };
        self.carry_over(iface, link, side, peer, frame);
    }

    /// The same for a frame of a flood that its receivers only read, so that one buffer serves them all.
    pub(super) fn carry_shared(&mut self, iface: IfId, frame: Frame) {
        let Plug::Veth { link, side, peer } = self.sockets[iface.0 as usize].plug else {
            return self.carry(iface, frame);
        };
        let out = switch::capture::Direction::Out;
        self.trace.frame(self.now, &self.pool, &frame, iface, out);
        let len = self.pool.len(&frame);
        let Some(mut way) = self.links[link.0 as usize].clear(side, len) else {
            return self.carry_by(iface, link, side, peer, frame);
        };
        way.cross_shared(len as u64);
        hand::arrive(
            &mut self.hand,
            &mut self.sockets,
            &mut self.work,
            way,
            (peer, frame),
        );
    }

    #[inline(always)]
    fn carry_over(&mut self, iface: IfId, link: LinkId, side: Side, peer: IfId, frame: Frame) {
        self.trace.frame(
            self.now,
            &self.pool,
            &frame,
            iface,
            switch::capture::Direction::Out,
        );
        if let Err(frame) = self.cross(link, side, peer, frame, |_, _, _| ()) {
            self.carry_by(iface, link, side, peer, frame);
        }
    }

    /// The same for a super-segment, or what does not get through.
    #[inline(never)]
    fn carry_by(&mut self, iface: IfId, link: LinkId, side: Side, peer: IfId, frame: Frame) {
        if self.links[link.0 as usize].is_gone() {
            let reason = DropReason::InterfaceDown;
            return (self.trace).drop(self.now, &mut self.pool, frame, iface, reason);
        }
        // The ring has to be as it would be without a frame at hand.
        self.put_down();
        match self.links[link.0 as usize].carry(&mut self.pool, side, frame) {
            Ok(()) => self.mark(peer),
            Err((frame, reason)) => {
                self.trace
                    .drop(self.now, &mut self.pool, frame, peer, reason);
            }
        }
    }
}
