//! Packets on their way out: route, OUTPUT, POSTROUTING, cut, neighbour, frame.
//!
//! After Linux's `ip_output.c` and `ip6_output.c`. A packet for an address of the namespace goes to the
//! queue of `lo` and never to a wire. A hook that changes the destination makes it routed again.

use core::net::{IpAddr, Ipv4Addr};

use switch::verdict::{DropReason, What};
use switch::wire::{ETHER_LEN, Ether, EthernetAddress, EthernetProtocol, Packet};
use switch::{Frame, IfId};

use super::addr::{BROADCAST, Mac, group_mac};
use super::fib::{Route, RouteKind};
use super::fragment::{Cut, fill_checksum, headers_len, wire_len};
use super::hook::Hook;
use super::icmp::Complaint;
use super::neigh::{Answer, Due};
use super::timers::Timer;
use super::{BACKLOG, Cx, Errno, LO, Netns, select};

/// Where a packet goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) dev: IfId,
    /// The station to hand it to, or the group.
    pub(super) hop: IpAddr,
    pub(super) kind: RouteKind,
    /// The source that the route prefers.
    source: Option<IpAddr>,
}

impl Way {
    /// To this namespace itself.
    pub(super) const fn local(lo: IfId, destination: IpAddr) -> Self {
        Self {
            dev: lo,
            hop: destination,
            kind: RouteKind::Local,
            source: Some(destination),
        }
    }

    /// To a station on a link.
    pub(super) const fn onward(dev: IfId, hop: IpAddr) -> Self {
        Self {
            dev,
            hop,
            kind: RouteKind::Unicast,
            source: None,
        }
    }
}

impl Netns {
    /// The way to `destination` by the tables, out of `dev` if that is given.
    pub(super) fn find_way(&self, destination: IpAddr, dev: Option<IfId>) -> Result<Way, Errno> {
        let way = |dev, hop, kind, source| Way {
            dev,
            hop,
            kind,
            source,
        };
        if let Some(route) = self.local_route(destination, dev) {
            return Ok(match route.kind {
                RouteKind::Broadcast => way(route.dev, destination, route.kind, route.src),
                _ => {
                    let source = route.src.unwrap_or(destination);
                    way(LO, destination, RouteKind::Local, Some(source))
                }
            });
        }
        let route = self.fib.lookup(destination, dev);
        let kind = if destination.is_multicast() {
            RouteKind::Multicast
        } else if destination == IpAddr::V4(Ipv4Addr::BROADCAST) {
            RouteKind::Broadcast
        } else {
            RouteKind::Unicast
        };
        if kind != RouteKind::Unicast {
            let first = || {
                self.ifaces
                    .iter()
                    .find(|iface| iface.up && !iface.is_loopback() && iface.master.is_none())
                    .map(|iface| iface.id)
                    .filter(|_| destination.is_ipv6())
            };
            let out = dev
                .or_else(|| route.map(|route| route.dev))
                .or_else(first)
                .ok_or(Errno::NetUnreach)?;
            return Ok(way(out, destination, kind, None));
        }
        let route = route.ok_or_else(|| self.no_route(destination))?;
        let hop = route.via.unwrap_or(destination);
        Ok(way(route.dev, hop, kind, route.src))
    }

    /// Why there is no way to `destination`. Linux picks an IPv6 source before it looks at the route, so
    /// without any IPv6 address that is what fails (`ip6_dst_lookup_tail`).
    fn no_route(&self, destination: IpAddr) -> Errno {
        let has_v6 = || {
            self.ifaces
                .iter()
                .any(|iface| iface.addrs.iter().any(|addr| addr.net.addr().is_ipv6()))
        };
        if destination.is_ipv6() && !has_v6() {
            Errno::AddrNotAvail
        } else {
            Errno::NetUnreach
        }
    }

    /// The route of `local` to `addr`. A link-local address is one of this interface only: another one
    /// may have the same.
    pub(super) fn local_route(&self, addr: IpAddr, dev: Option<IfId>) -> Option<Route> {
        let route = self.fib.local(addr)?;
        let link_local = matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let elsewhere = link_local
            && dev.is_some_and(|dev| !self.ifaces.get(dev).is_some_and(|iface| iface.has(addr)));
        (!elsewhere).then_some(route)
    }

    /// The source for packets that take this way.
    pub(super) fn source_for(&self, way: &Way, destination: IpAddr) -> Option<IpAddr> {
        way.source
            .filter(|source| source.is_ipv4() == destination.is_ipv4())
            .or_else(|| select::source(&self.ifaces, way.dev, way.hop, destination))
    }

    /// The MTU of the way to `destination`, as far as it is known.
    pub(super) fn mtu(&self, cx: &Cx<'_>, way: &Way, destination: IpAddr) -> usize {
        let mtu = self.ifaces.get(way.dev).map_or(0, |iface| iface.mtu);
        if way.kind == RouteKind::Local {
            return mtu as usize;
        }
        self.pmtus.limit(cx.now, destination, mtu) as usize
    }

    /// The next IPv4 identification.
    pub(super) const fn next_ip_id(&mut self) -> u16 {
        self.ip_id = self.ip_id.wrapping_add(1);
        self.ip_id
    }

    /// Sends a packet that was made here. What happens to it behind the hooks is its fate and no error.
    pub(super) fn send_packet(
        &mut self,
        cx: &mut Cx<'_>,
        frame: Frame,
        way: Way,
    ) -> Result<(), Errno> {
        match Packet::parse(cx.pool.bytes(&frame)) {
            Ok(packet) => self.send_read(cx, frame, &packet, &way),
            Err(reason) => {
                cx.drop(frame, way.dev, reason);
                Err(Errno::Invalid)
            }
        }
    }

    /// The same for one whose header has been read.
    pub(super) fn send_read(
        &mut self,
        cx: &mut Cx<'_>,
        frame: Frame,
        packet: &Packet,
        way: &Way,
    ) -> Result<(), Errno> {
        debug_assert_eq!(Packet::parse(cx.pool.bytes(&frame)).as_ref(), Ok(packet));
        cx.event(&frame, way.dev, What::Sent);
        if self.tracks() {
            return self.send_tracked(cx, frame, packet, way);
        }
        if matches!(way.kind, RouteKind::Broadcast | RouteKind::Multicast) {
            self.loop_copy(cx, &frame, way);
        }
        self.finish_output(cx, frame, packet, way, None, 0)
    }

    fn send_tracked(
        &mut self,
        cx: &mut Cx<'_>,
        frame: Frame,
        packet: &Packet,
        way: &Way,
    ) -> Result<(), Errno> {
        let frame = self
            .run_hook(cx, Hook::Output, frame, None, Some(way.dev))
            .ok_or(Errno::Perm)?;
        let after = packet.readdressed(cx.pool.bytes(&frame));
        let mut way = *way;
        if after.destination != packet.destination {
            way = match self.route_to(after.destination, None) {
                Ok(way) => way,
                Err(errno) => {
                    cx.drop(frame, way.dev, DropReason::NoRoute);
                    return Err(errno);
                }
            };
        }
        if matches!(way.kind, RouteKind::Broadcast | RouteKind::Multicast) {
            self.loop_copy(cx, &frame, &way);
        }
        self.finish_output(cx, frame, &after, &way, None, 0)
    }

    /// A broadcast is also for its sender, a group packet if the interface is a member.
    fn loop_copy(&mut self, cx: &mut Cx<'_>, frame: &Frame, way: &Way) {
        let ours = way.kind == RouteKind::Broadcast
            || self
                .ifaces
                .get(way.dev)
                .is_some_and(|iface| iface.is_member(way.hop));
        if ours && let Some(copy) = cx.pool.copy(frame) {
            cx.event(&copy, LO, What::Sent);
            self.loop_back(cx, way.dev, copy);
        }
    }

    /// Puts a packet on the queue of `lo`, to arrive by `iface`.
    pub(super) fn loop_back(&mut self, cx: &mut Cx<'_>, iface: IfId, frame: Frame) {
        if self.backlog.len() >= BACKLOG {
            cx.drop(frame, iface, DropReason::RingFull);
            return;
        }
        if iface == LO
            && let Some(lo) = self.ifaces.counted(LO)
        {
            let bytes = (cx.pool.len(&frame) + ETHER_LEN) as u64;
            for counters in [&mut lo.tx, &mut lo.rx] {
                counters.packets += 1;
                counters.bytes += bytes;
            }
        }
        self.backlog.push_back((iface, frame));
    }

    /// POSTROUTING and what follows. `input` is where a forwarded packet came from, `fragment` the
    /// size of its largest fragment if it was reassembled here.
    pub(super) fn finish_output(
        &mut self,
        cx: &mut Cx<'_>,
        frame: Frame,
        packet: &Packet,
        way: &Way,
        input: Option<IfId>,
        fragment: usize,
    ) -> Result<(), Errno> {
        let frame = if self.tracks() {
            self.run_hook(cx, Hook::Postrouting, frame, input, Some(way.dev))
                .ok_or(Errno::Perm)?
        } else {
            frame
        };
        if way.dev == LO {
            self.loop_back(cx, LO, frame);
            return Ok(());
        }
        // The source may be another one now; of what follows nothing asks for it.
        let mut mtu = if input.is_none() {
            self.mtu(cx, way, packet.destination)
        } else {
            self.ifaces
                .get(way.dev)
                .map_or(0, |iface| iface.mtu as usize)
        };
        if fragment > 0 {
            mtu = mtu.min(fragment);
        }
        if wire_len(cx.pool, &frame, packet) <= mtu {
            self.neighbour_send(cx, frame, way);
            return Ok(());
        }
        let refused = packet.source.is_ipv4() && packet.dont_fragment && fragment == 0;
        if refused || cx.pool.meta(&frame).gso_size > 0 {
            let complaint = Complaint::TooBig { mtu: mtu as u32 };
            self.complain(cx, &frame, complaint, None);
            cx.drop(frame, way.dev, DropReason::FragmentationNeeded);
            return Err(Errno::MsgSize);
        }
        let packet = packet.readdressed(cx.pool.bytes(&frame));
        self.send_cut(cx, frame, &packet, mtu, way)
    }

    fn send_cut(
        &mut self,
        cx: &mut Cx<'_>,
        frame: Frame,
        packet: &Packet,
        mtu: usize,
        way: &Way,
    ) -> Result<(), Errno> {
        let id = self.rng.next_u32();
        let Some(mut cut) = Cut::new(cx.pool, &frame, packet, mtu, id) else {
            cx.drop(frame, way.dev, DropReason::FragmentationNeeded);
            return Err(Errno::MsgSize);
        };
        let number = cx.pool.meta(&frame).id;
        let mut first = true;
        while let Some(fragment) = cut.next(cx.pool, &frame) {
            let Ok(fragment) = fragment else {
                cx.drop(frame, way.dev, DropReason::PoolEmpty);
                return Err(Errno::NoBufs);
            };
            // The first fragment goes on as the packet itself; the others are new.
            if core::mem::take(&mut first) {
                cx.pool.meta_mut(&fragment).id = number;
            } else {
                cx.event(&fragment, way.dev, What::Sent);
            }
            self.neighbour_send(cx, fragment, way);
        }
        cx.pool.free(frame);
        Ok(())
    }

    /// Finds the MAC of the next hop and sends, or lets the packet wait for it.
    pub(super) fn neighbour_send(&mut self, cx: &mut Cx<'_>, frame: Frame, way: &Way) {
        let mac = match way.kind {
            RouteKind::Broadcast => Some(BROADCAST),
            RouteKind::Multicast => Some(group_mac(way.hop)),
            RouteKind::Local | RouteKind::Unicast => None,
        };
        if let Some(mac) = mac {
            self.transmit_packet(cx, way.dev, frame, mac);
            return;
        }
        let without = self
            .ifaces
            .get(way.dev)
            .filter(|iface| !iface.has_neighbours());
        if let Some(mac) = without.map(|iface| iface.mac) {
            self.transmit_packet(cx, way.dev, frame, mac);
            return;
        }
        let key = (way.dev, way.hop);
        let (answer, timer) = self.neighbours.send(cx.now, key, frame);
        if let Some(at) = timer {
            self.timers.arm(at, Timer::Neighbour(key.0, key.1));
        }
        match answer {
            Answer::Mac(mac, frame) => self.transmit_packet(cx, way.dev, frame, mac),
            Answer::Wait { ask, oldest } => {
                if let Some(oldest) = oldest {
                    cx.drop(oldest, way.dev, DropReason::NeighbourQueueFull);
                }
                if ask {
                    self.solicit(cx, key, None);
                }
            }
            Answer::Full(frame) => cx.drop(frame, way.dev, DropReason::NeighbourTableFull),
        }
    }

    /// Asks who has an address: everybody, or the station that had it. The question comes from the
    /// source of the packet that waits, if that is ours.
    fn solicit(&mut self, cx: &mut Cx<'_>, key: (IfId, IpAddr), known: Option<Mac>) {
        let asker = self
            .neighbours
            .waiting(key)
            .and_then(|frame| Packet::parse(cx.pool.bytes(frame)).ok())
            .map(|packet| packet.source)
            .filter(|source| self.fib.is_local(*source));
        match (key.1, asker) {
            (IpAddr::V4(addr), asker) => {
                let asker = asker.or_else(|| self.select_source(key.0, addr.into()));
                self.arp_ask(cx, key.0, addr, asker, known);
            }
            (IpAddr::V6(addr), asker) => self.nd_ask(cx, key.0, addr, asker, known),
        }
    }

    /// A neighbour's timer fired.
    pub(super) fn neighbour_due(&mut self, cx: &mut Cx<'_>, iface: IfId, addr: IpAddr) {
        let key = (iface, addr);
        let (due, timer) = self.neighbours.due(cx.now, key);
        if let Some(at) = timer {
            self.timers.arm(at, Timer::Neighbour(iface, addr));
        }
        match due {
            Due::Ask => self.solicit(cx, key, None),
            Due::Probe(mac) => self.solicit(cx, key, Some(mac)),
            Due::Dead(queue) => {
                for frame in queue {
                    self.complain(cx, &frame, Complaint::HostUnreachable, None);
                    cx.drop(frame, iface, DropReason::NeighbourFailed);
                }
            }
            Due::Nothing => {}
        }
    }

    /// Puts the Ethernet header in front of an IP packet and sends it.
    #[inline]
    pub(super) fn transmit_packet(&mut self, cx: &mut Cx<'_>, dev: IfId, frame: Frame, mac: Mac) {
        let protocol = match cx.pool.bytes(&frame).first().map(|byte| byte >> 4) {
            Some(4) => EthernetProtocol::Ipv4,
            _ => EthernetProtocol::Ipv6,
        };
        if !self.offload
            && cx.pool.meta(&frame).csum_partial
            && let Ok(packet) = Packet::parse(cx.pool.bytes(&frame))
        {
            fill_checksum(cx.pool, &frame, &packet);
        }
        self.transmit(cx, dev, frame, mac, protocol);
    }

    /// Sends a frame out of `dev`.
    #[inline]
    pub(super) fn transmit(
        &mut self,
        cx: &mut Cx<'_>,
        dev: IfId,
        frame: Frame,
        mac: Mac,
        protocol: EthernetProtocol,
    ) {
        let Some(iface) = self.ifaces.counted(dev).filter(|iface| iface.up) else {
            cx.drop(frame, dev, DropReason::InterfaceDown);
            return;
        };
        let (packets, bytes) = frame_count(cx, &frame);
        iface.tx.packets += packets;
        iface.tx.bytes += bytes;
        cx.pool.push(&frame, ETHER_LEN);
        Ether::emit(
            cx.pool.bytes_mut(&frame),
            EthernetAddress(mac),
            EthernetAddress(iface.mac),
            protocol,
        );
        cx.tx.push((dev, frame));
    }
}

/// How many frames a packet stands for on a wire, and their bytes.
#[inline(always)]
pub(super) fn frame_count(cx: &Cx<'_>, frame: &Frame) -> (u64, u64) {
    let len = cx.pool.len(frame);
    match usize::from(cx.pool.meta(frame).gso_size) {
        0 => (1, (len + ETHER_LEN) as u64),
        gso => super_count(cx, frame, len, gso),
    }
}

/// The same for a super-segment.
fn super_count(cx: &Cx<'_>, frame: &Frame, len: usize, gso: usize) -> (u64, u64) {
    let headers = match Packet::parse(cx.pool.bytes(frame)) {
        Ok(packet) => headers_len(cx.pool.bytes(frame), &packet),
        Err(_) => return (1, (len + ETHER_LEN) as u64),
    };
    let payload = len.saturating_sub(headers);
    let frames = payload.div_ceil(gso).max(1);
    (
        frames as u64,
        (payload + frames * (headers + ETHER_LEN)) as u64,
    )
}
