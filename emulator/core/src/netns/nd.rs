//! Neighbour discovery (RFC 4861): who has an IPv6 address on a link.
//!
//! Solicitations go to the solicited-node group, or to the neighbour itself when it is probed. Messages
//! with a hop limit other than 255 came over a router and are not believed (§6.1, §7.1). Only
//! addresses of the interface itself are answered for. Left out: duplicate address detection (Docker
//! adds its addresses with `nodad`), router discovery, redirects, proxies.

use core::net::{IpAddr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, Icmpv6Packet, Icmpv6Repr, NdiscNeighborFlags, NdiscRepr, RawHardwareAddress,
};
use switch::verdict::{DropReason, What};
use switch::wire::{IpProtocol, Packet};
use switch::{Frame, IfId};

use super::addr::{ALL_NODES, Mac, group_mac, solicited_node};
use super::build::Head;
use super::neigh::{Claim, Override};
use super::timers::Timer;
use super::{Arrival, Cx, Netns, Scope, select};

/// An advertisement as it is sent.
struct Advert {
    iface: IfId,
    target: Ipv6Addr,
    to: Ipv6Addr,
    mac: Mac,
    solicited: bool,
    /// It repeats our MAC. Who asked us alone knows it.
    lladdr: bool,
}

impl Netns {
    /// A neighbour solicitation or advertisement arrived, its checksum right; the frame starts at the
    /// IP header.
    pub(super) fn nd_input(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: Arrival,
        frame: Frame,
        packet: &Packet,
    ) {
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (packet.source, packet.destination)
        else {
            cx.drop(frame, arrival.iface, DropReason::HeaderMalformed);
            return;
        };
        let bytes = &cx.pool.bytes(&frame)[packet.transport..packet.len];
        let message = Icmpv6Packet::new_checked(bytes)
            .ok()
            .filter(|message| packet.hop_limit == 255 && message.msg_code() == 0)
            .and_then(|message| NdiscRepr::parse(&message).ok());
        match message {
            Some(NdiscRepr::NeighborSolicit {
                target_addr,
                lladdr,
            }) if !target_addr.is_multicast() => {
                let mac = lladdr.and_then(station);
                let group = destination.is_multicast();
                self.solicited(cx, arrival.iface, source, target_addr, (mac, group));
                cx.delivered(frame, arrival.iface);
            }
            Some(NdiscRepr::NeighborAdvert {
                flags,
                target_addr,
                lladdr,
            }) if !target_addr.is_multicast() && may_be(flags, destination) => {
                let mac = lladdr.and_then(station);
                self.advertised(cx, arrival.iface, target_addr, flags, mac);
                cx.delivered(frame, arrival.iface);
            }
            _ => cx.drop(frame, arrival.iface, DropReason::HeaderMalformed),
        }
    }

    /// Somebody asks for `target`, with his MAC if he gave it; a whole group if `group`.
    fn solicited(
        &mut self,
        cx: &mut Cx<'_>,
        iface: IfId,
        source: Ipv6Addr,
        target: Ipv6Addr,
        (mac, group): (Option<Mac>, bool),
    ) {
        let ours = |addr: Ipv6Addr| self.ifaces.get(iface).is_some_and(|i| i.has(addr.into()));
        if !ours(target) || ours(source) {
            return;
        }
        if source.is_unspecified() {
            let advert = Advert {
                iface,
                target,
                to: ALL_NODES,
                mac: group_mac(ALL_NODES.into()),
                solicited: false,
                lladdr: true,
            };
            self.nd_advertise(cx, &advert);
            return;
        }
        let key = (iface, source.into());
        if let Some(mac) = mac {
            let claim = Claim {
                mac,
                solicited: false,
                overrides: Override::Always,
                creates: true,
                router: None,
            };
            self.heard(cx, key, claim);
        }
        let Some(mac) = mac.or_else(|| self.neighbours.mac(key)) else {
            return;
        };
        let advert = Advert {
            iface,
            target,
            to: source,
            mac,
            solicited: true,
            lladdr: group,
        };
        self.nd_advertise(cx, &advert);
    }

    /// Somebody says that `target` is his.
    fn advertised(
        &mut self,
        cx: &mut Cx<'_>,
        iface: IfId,
        target: Ipv6Addr,
        flags: NdiscNeighborFlags,
        mac: Option<Mac>,
    ) {
        let ours = self.ifaces.get(iface).is_some_and(|i| i.has(target.into()));
        let key = (iface, target.into());
        // An answer to a probe need not repeat the MAC (§4.4).
        let Some(mac) = mac.or_else(|| self.neighbours.mac(key)).filter(|_| !ours) else {
            return;
        };
        let claim = Claim {
            mac,
            solicited: flags.contains(NdiscNeighborFlags::SOLICITED),
            overrides: if flags.contains(NdiscNeighborFlags::OVERRIDE) {
                Override::Always
            } else {
                Override::Never
            },
            creates: false,
            router: Some(flags.contains(NdiscNeighborFlags::ROUTER)),
        };
        self.heard(cx, key, claim);
    }

    /// A neighbour spoke: what waited for it goes out.
    pub(super) fn heard(&mut self, cx: &mut Cx<'_>, key: (IfId, IpAddr), claim: Claim) {
        let Some((queue, timer)) = self.neighbours.heard(cx.now, key, claim) else {
            return;
        };
        if let Some(at) = timer {
            self.timers.cancel(at, Timer::Neighbour(key.0, key.1));
        }
        for frame in queue {
            self.transmit_packet(cx, key.0, frame, claim.mac);
        }
    }

    /// Asks who has `addr`: its solicited-node group, or the station that had it.
    pub(super) fn nd_ask(
        &mut self,
        cx: &mut Cx<'_>,
        iface: IfId,
        addr: Ipv6Addr,
        asker: Option<IpAddr>,
        known: Option<Mac>,
    ) {
        let own = self.ifaces.get(iface).map(|i| i.mac);
        // Without a packet the link-local address asks, if there is one.
        let source = asker.or_else(|| {
            let near = self.ifaces.get(iface)?.addrs.iter();
            near.map(|a| a.net.addr())
                .find(|a| a.is_ipv6() && Scope::of(*a) == Scope::Link)
                .or_else(|| select::source(&self.ifaces, iface, addr.into(), addr.into()))
        });
        let (Some(own), Some(IpAddr::V6(source))) = (own, source) else {
            return;
        };
        let group = solicited_node(addr);
        let (to, mac) = match known {
            Some(mac) => (addr, mac),
            None => (group, group_mac(group.into())),
        };
        let repr = NdiscRepr::NeighborSolicit {
            target_addr: addr,
            lladdr: Some(EthernetAddress(own).into()),
        };
        self.nd_send(cx, iface, source, to, mac, repr);
    }

    /// Tells everybody on the link that `addr` is here.
    pub(super) fn nd_announce(&mut self, cx: &mut Cx<'_>, iface: IfId, addr: Ipv6Addr) {
        let advert = Advert {
            iface,
            target: addr,
            to: ALL_NODES,
            mac: group_mac(ALL_NODES.into()),
            solicited: false,
            lladdr: true,
        };
        self.nd_advertise(cx, &advert);
    }

    fn nd_advertise(&mut self, cx: &mut Cx<'_>, advert: &Advert) {
        let Some(own) = self.ifaces.get(advert.iface).map(|i| i.mac) else {
            return;
        };
        let mut flags = NdiscNeighborFlags::OVERRIDE;
        if advert.solicited {
            flags |= NdiscNeighborFlags::SOLICITED;
        }
        if self.forwarding {
            flags |= NdiscNeighborFlags::ROUTER;
        }
        let repr = NdiscRepr::NeighborAdvert {
            flags,
            target_addr: advert.target,
            lladdr: advert.lladdr.then(|| EthernetAddress(own).into()),
        };
        self.nd_send(cx, advert.iface, advert.target, advert.to, advert.mac, repr);
    }

    fn nd_send(
        &mut self,
        cx: &mut Cx<'_>,
        dev: IfId,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        mac: Mac,
        repr: NdiscRepr<'_>,
    ) {
        let head = Head {
            source: source.into(),
            destination: destination.into(),
            protocol: IpProtocol::Icmpv6,
            hop_limit: 255,
            dont_fragment: true,
            id: 0,
            tos: 0,
        };
        let repr = Icmpv6Repr::Ndisc(repr);
        let Some(frame) = head.packet(cx.pool, repr.buffer_len()) else {
            return;
        };
        let mut message = Icmpv6Packet::new_unchecked(&mut cx.pool.bytes_mut(&frame)[40..]);
        let checksums = ChecksumCapabilities::default();
        repr.emit(&source, &destination, &mut message, &checksums);
        cx.event(&frame, dev, What::Sent);
        self.transmit_packet(cx, dev, frame, mac);
    }
}

/// The MAC in a link-layer address option, if it is one of a station.
fn station(addr: RawHardwareAddress) -> Option<Mac> {
    let mac: Mac = addr.as_bytes().try_into().ok()?;
    (mac[0] & 1 == 0).then_some(mac)
}

/// An answer to a question goes to who asked, not to a group (RFC 4861 §7.1.2).
fn may_be(flags: NdiscNeighborFlags, destination: Ipv6Addr) -> bool {
    !flags.contains(NdiscNeighborFlags::SOLICITED) || !destination.is_multicast()
}
