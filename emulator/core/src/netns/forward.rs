//! Routing packets of others: RFC 1812 §5, RFC 8200 §3, after Linux's `ip_forward.c`.
//!
//! The order is Linux's: route, hop limit, MTU, FORWARD, then out. Link-local IPv6 and group addresses
//! stay on their link; link-local IPv4 is forwarded, as Linux does it. Left out: redirects, which would only
//! shorten paths, and source routes.

use core::net::IpAddr;

use switch::verdict::{DropReason, What};
use switch::wire::{Packet, updated};
use switch::{Frame, IfId};

use super::fib::RouteKind;
use super::fragment::wire_len;
use super::hook::{Crossing, Exit, Hook, Passed};
use super::icmp::Complaint;
use super::output::{Way, frame_count};
use super::{Arrival, Cx, Netns};

impl Netns {
    /// Passes on a packet that is not for this namespace.
    pub(super) fn forward(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: Arrival,
        frame: Frame,
        packet: &Packet,
    ) {
        let way = match self.may_forward(cx, arrival, &frame, packet) {
            Ok(way) => way,
            Err((reason, complaint)) => {
                if let Some(complaint) = complaint {
                    self.complain(cx, &frame, complaint, Some(arrival));
                }
                cx.drop(frame, arrival.iface, reason);
                return;
            }
        };
        let crossing = self.crossing(cx, &arrival, &frame, packet);
        decrement(cx.pool.bytes_mut(&frame));
        let (input, output) = (Some(arrival.iface), Some(way.dev));
        let Some(frame) = self.run_hook(cx, Hook::Forward, frame, input, output) else {
            return;
        };
        cx.event(&frame, arrival.iface, What::Forwarded(way.dev));
        // What becomes of it now is its fate; there is nobody to tell.
        let packet = Packet {
            hop_limit: packet.hop_limit - 1,
            ..*packet
        };
        let sent = self.finish_output(cx, frame, &packet, &way, input, arrival.fragment);
        if let (Some(crossing), Ok(())) = (crossing, sent) {
            self.keep(&crossing, &way);
        }
    }

    /// What of a packet to forward the firewall may know already. `None` if it has to be looked at.
    fn crossing(
        &self,
        cx: &Cx<'_>,
        arrival: &Arrival,
        frame: &Frame,
        packet: &Packet,
    ) -> Option<Crossing> {
        let plain = arrival.unicast
            && !arrival.looped
            && arrival.fragment == 0
            && packet.fragment.is_none()
            && packet.source.is_ipv4()
            && self.forwarding
            && self.tracks();
        plain.then(|| Crossing {
            input: arrival.iface,
            csum_partial: cx.pool.meta(frame).csum_partial,
            frames: frame_count(cx, frame).0 as u32,
            wire_len: wire_len(cx.pool, frame, packet),
            routes: self.change(),
            addresses: Some(self.addresses_change()),
        })
    }

    /// Passes a packet on at once if its flow is known. Else gives it back: it goes from hook to hook.
    pub(super) fn express(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: &Arrival,
        frame: Frame,
        packet: &Packet,
    ) -> Option<Frame> {
        #[cfg(test)]
        if self.takes_long_way {
            return Some(frame);
        }
        let Some(crossing) = self.crossing(cx, arrival, &frame, packet) else {
            return Some(frame);
        };
        let Some(hooks) = self.netfilter.as_mut() else {
            return Some(frame);
        };
        let bytes = cx.pool.bytes_mut(&frame);
        let Some(passed) = hooks.run_routed(cx.now, bytes, &crossing) else {
            return Some(frame);
        };
        decrement(bytes);
        let output = passed.exit.output;
        tell_onward(cx, cx.pool.meta(&frame).id, arrival.iface, &passed);
        self.neighbour_send(cx, frame, &Way::onward(output, passed.exit.next_hop));
        None
    }

    /// Lets the firewall know where a flow goes whose packet has just been passed on.
    fn keep(&mut self, crossing: &Crossing, way: &Way) {
        let mtu = self.ifaces.get(way.dev).map(|iface| iface.mtu as usize);
        if let (Some(hooks), Some(mtu)) = (self.netfilter.as_mut(), mtu) {
            let exit = Exit {
                output: way.dev,
                next_hop: way.hop,
                mtu,
            };
            hooks.keep_routed(crossing, exit);
        }
    }

    fn may_forward(
        &mut self,
        cx: &Cx<'_>,
        arrival: Arrival,
        frame: &Frame,
        packet: &Packet,
    ) -> Result<Way, (DropReason, Option<Complaint>)> {
        if !arrival.unicast {
            return Err((DropReason::NotForUs, None));
        }
        if !self.forwarding {
            return Err((DropReason::NotForwarding, None));
        }
        if packet.source.is_unspecified() {
            return Err((DropReason::Martian, None));
        }
        if link_local_v6(packet.source) || link_local_v6(packet.destination) {
            return Err((DropReason::NoRoute, Some(Complaint::BeyondScope)));
        }
        let way = self
            .route_to(packet.destination, None)
            .ok()
            .filter(|way| way.kind == RouteKind::Unicast)
            .ok_or((DropReason::NoRoute, Some(Complaint::NetUnreachable)))?;
        if packet.hop_limit <= 1 {
            return Err((DropReason::HopLimit, Some(Complaint::HopLimit)));
        }
        let mtu = self
            .ifaces
            .get(way.dev)
            .map_or(0, |iface| iface.mtu as usize);
        let len = match arrival.fragment {
            0 => wire_len(cx.pool, frame, packet),
            largest => largest,
        };
        if len > mtu && packet.dont_fragment {
            let complaint = Complaint::TooBig { mtu: mtu as u32 };
            return Err((DropReason::FragmentationNeeded, Some(complaint)));
        }
        Ok(way)
    }
}

fn link_local_v6(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Reports what became of a packet of this number that came in at `input`.
#[inline]
pub(super) fn tell_onward(cx: &mut Cx<'_>, number: u64, input: IfId, passed: &Passed) {
    let (now, output) = (cx.now, passed.exit.output);
    let is_told = cx.trace.is_listening() || cx.trace.is_capturing();
    if !is_told {
        return;
    }
    if !passed.is_as_it_was()
        && let Some(rewrite) = passed.prerouting()
    {
        cx.trace.event(now, number, input, What::Rewritten(rewrite));
    }
    cx.trace.event(now, number, input, What::Forwarded(output));
    if !passed.is_as_it_was()
        && let Some(rewrite) = passed.postrouting()
    {
        cx.trace
            .event(now, number, output, What::Rewritten(rewrite));
    }
}

/// Takes one from the time to live, and mends the header checksum by the difference.
pub(super) fn decrement(bytes: &mut [u8]) {
    if bytes[0] >> 4 == 6 {
        bytes[7] -= 1;
        return;
    }
    let word = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let old = word(bytes, 8);
    bytes[8] -= 1;
    let check = updated(word(bytes, 10), old, word(bytes, 8));
    bytes[10..12].copy_from_slice(&check.to_be_bytes());
}
