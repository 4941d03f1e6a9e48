//! ARP (RFC 826): who has an IPv4 address on a link.
//!
//! After Linux's `arp.c` with its defaults: `arp_ignore` 0 answers for every address of the namespace on any
//! interface, `arp_announce` 0 asks with the waiting packet's own source, `arp_accept` 0 makes no entry
//! from what was not asked. A request for us teaches us its sender. Left out: proxy ARP, RARP.

use core::net::{IpAddr, Ipv4Addr};

use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetProtocol};
use switch::verdict::{DropReason, What};
use switch::{Frame, IfId};

use super::addr::{BROADCAST, Mac, martian_source};
use super::neigh::{Claim, Override};
use super::{Arrival, Cx, Iface, Netns};

/// Length of an ARP packet for Ethernet and IPv4.
const LEN: usize = 28;

impl Netns {
    /// An ARP packet arrived; the frame starts at it.
    pub(super) fn arp_input(&mut self, cx: &mut Cx<'_>, arrival: Arrival, frame: Frame) {
        let repr = ArpPacket::new_checked(cx.pool.bytes(&frame)).and_then(|p| ArpRepr::parse(&p));
        let Ok(ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: mac,
            source_protocol_addr: source,
            target_protocol_addr: target,
            ..
        }) = repr
        else {
            cx.drop(frame, arrival.iface, DropReason::HeaderMalformed);
            return;
        };
        if target.is_loopback() || target.is_multicast() || martian_source(source.into()) {
            cx.drop(frame, arrival.iface, DropReason::Martian);
            return;
        }
        if !self
            .ifaces
            .get(arrival.iface)
            .is_some_and(Iface::has_neighbours)
        {
            cx.drop(frame, arrival.iface, DropReason::UnknownEtherType);
            return;
        }
        let iface = arrival.iface;
        let request = operation == ArpOperation::Request;
        // Somebody else with one of our addresses: Linux does not argue.
        let ours = self.fib.is_local(source.into());
        let is_target = |target: Ipv4Addr| self.fib.is_local(target.into());
        let for_us = request
            && if target == source {
                ours
            } else {
                is_target(target)
            };
        if for_us && (source.is_unspecified() || !ours) {
            if !source.is_unspecified() {
                let claim = claim(mac.0, false, Override::Always, true);
                self.neighbour_heard(cx, iface, source, claim);
            }
            self.arp_reply(cx, iface, target, mac.0, source);
        } else if !source.is_unspecified() && !ours {
            let gratuitous = source == target;
            let asked = operation == ArpOperation::Reply && arrival.unicast;
            let when = if gratuitous {
                Override::Always
            } else {
                Override::Late
            };
            self.neighbour_heard(cx, iface, source, claim(mac.0, asked, when, false));
        }
        cx.delivered(frame, iface);
    }

    fn neighbour_heard(&mut self, cx: &mut Cx<'_>, iface: IfId, addr: Ipv4Addr, claim: Claim) {
        self.heard(cx, (iface, addr.into()), claim);
    }

    /// Asks who has `addr`: everybody, or the station that had it.
    pub(super) fn arp_ask(
        &mut self,
        cx: &mut Cx<'_>,
        iface: IfId,
        addr: Ipv4Addr,
        asker: Option<IpAddr>,
        known: Option<Mac>,
    ) {
        let source = match asker {
            Some(IpAddr::V4(source)) => source,
            _ => Ipv4Addr::UNSPECIFIED,
        };
        let to = known.unwrap_or(BROADCAST);
        self.arp_send(cx, iface, ArpOperation::Request, source, [0; 6], addr, to);
    }

    fn arp_reply(
        &mut self,
        cx: &mut Cx<'_>,
        iface: IfId,
        own: Ipv4Addr,
        mac: Mac,
        asker: Ipv4Addr,
    ) {
        self.arp_send(cx, iface, ArpOperation::Reply, own, mac, asker, mac);
    }

    /// Tells everybody on the link that `addr` is here: a request for it by itself, as Docker sends it.
    pub(super) fn arp_announce(&mut self, cx: &mut Cx<'_>, iface: IfId, addr: Ipv4Addr) {
        self.arp_send(
            cx,
            iface,
            ArpOperation::Request,
            addr,
            [0; 6],
            addr,
            BROADCAST,
        );
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of an ARP packet")]
    fn arp_send(
        &mut self,
        cx: &mut Cx<'_>,
        dev: IfId,
        operation: ArpOperation,
        source: Ipv4Addr,
        target_mac: Mac,
        target: Ipv4Addr,
        to: Mac,
    ) {
        let iface = self.ifaces.get(dev).filter(|iface| iface.has_neighbours());
        let (Some(iface), Some(frame)) = (iface, cx.pool.alloc(LEN)) else {
            return;
        };
        let repr = ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: EthernetAddress(iface.mac),
            source_protocol_addr: source,
            target_hardware_addr: EthernetAddress(target_mac),
            target_protocol_addr: target,
        };
        repr.emit(&mut ArpPacket::new_unchecked(cx.pool.bytes_mut(&frame)));
        cx.event(&frame, dev, What::Sent);
        self.transmit(cx, dev, frame, to, EthernetProtocol::Arp);
    }
}

const fn claim(mac: Mac, solicited: bool, overrides: Override, creates: bool) -> Claim {
    Claim {
        mac,
        solicited,
        overrides,
        creates,
        router: None,
    }
}
