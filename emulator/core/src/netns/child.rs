//! What an ipvlan child of one of our interfaces sends and gets in its L3 modes.
//!
//! After Linux's `ipvlan_process_outbound` and `ipvlan_l3s.c`: a packet of the child leaves as one that was made
//! here, by the routes that lead out of the parent; in mode L3S one for the child comes in by PREROUTING and INPUT.

use switch::verdict::DropReason;
use switch::wire::Packet;
use switch::{Frame, IfId};

use super::fib::RouteKind;
use super::hook::Hook;
use super::output::Way;
use super::{Cx, LO, Netns};

impl Netns {
    /// Sends a packet of a child of `parent`; the frame starts at its header.
    pub(crate) fn send_for_child(&mut self, cx: &mut Cx<'_>, parent: IfId, frame: Frame) {
        let packet = match Packet::parse(cx.pool.bytes(&frame)) {
            Ok(packet) => packet,
            Err(reason) => return cx.drop(frame, parent, reason),
        };
        let destination = packet.destination;
        // The addresses of other interfaces are not found: routes count that lead out of the parent.
        let own = self
            .ifaces
            .get(parent)
            .is_some_and(|iface| iface.has(destination));
        let way = match self.fib.lookup(destination, Some(parent)) {
            _ if own => Way::local(LO, destination),
            Some(route) if route.kind == RouteKind::Unicast => {
                Way::onward(parent, route.via.unwrap_or(destination))
            }
            _ => return cx.drop(frame, parent, DropReason::NoRoute),
        };
        // What becomes of it is its fate; the child is not told.
        let _sent = self.send_read(cx, frame, &packet, &way);
    }

    /// What the rules leave of a packet that comes by `parent` for a child in mode L3S.
    pub(crate) fn admit_for_child(
        &mut self,
        cx: &mut Cx<'_>,
        parent: IfId,
        frame: Frame,
    ) -> Option<Frame> {
        if !self.tracks() {
            return Some(frame);
        }
        let frame = self.run_hook(cx, Hook::Prerouting, frame, Some(parent), None)?;
        self.run_hook(cx, Hook::Input, frame, Some(parent), None)
    }
}
