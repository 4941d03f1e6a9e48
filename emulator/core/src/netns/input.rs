//! Packets on their way in: frame, checks, PREROUTING, route, INPUT, protocol.
//!
//! After Linux's `ip_input.c`, `ip6_input.c` and the martian checks of `route.c` (`rp_filter` 0,
//! `accept_local` 0, `route_localnet` 0).

use core::net::IpAddr;

use switch::verdict::DropReason;
use switch::wire::{ETHER_LEN, Ether, EthernetProtocol, IpProtocol, Packet, header_checksum_ok};
use switch::{Frame, IfId};

use super::addr::{martian_destination, martian_source};
use super::dst::Inward;
use super::fib::RouteKind;
use super::hook::Hook;
use super::icmp::Complaint;
use super::output::frame_count;
use super::reassembly::{Joined, Key};
use super::timers::Timer;
use super::{Arrival, Cx, Iface, LO, Netns};

impl Netns {
    /// An Ethernet frame arrived at an interface.
    pub fn input(&mut self, cx: &mut Cx<'_>, id: IfId, frame: Frame) {
        if let Some(frame) = self.early_input(cx, id, frame)
            && let Some(frame) = self.onward(cx, id, frame)
        {
            self.full_input(cx, id, frame);
        }
    }

    /// The same for whatever it is, out of the way of those that are early.
    #[inline(never)]
    fn full_input(&mut self, cx: &mut Cx<'_>, id: IfId, frame: Frame) {
        let Some(iface) = self.ifaces.counted(id).filter(|iface| iface.up) else {
            cx.drop(frame, id, DropReason::InterfaceDown);
            return;
        };
        let (payload, protocol, unicast) = match admit(iface, cx.pool.bytes(&frame)) {
            Ok(accepted) => accepted,
            Err(reason) => {
                cx.drop(frame, id, reason);
                return;
            }
        };
        let arrival = Arrival {
            iface: id,
            unicast,
            looped: false,
            broadcast: false,
            fragment: 0,
        };
        if protocol == EthernetProtocol::Arp {
            iface.rx.packets += 1;
            iface.rx.bytes += (cx.pool.len(&frame) - payload + ETHER_LEN) as u64;
            self.arp_input(cx, arrival, frame, payload);
            return;
        }
        if protocol == EthernetProtocol::Ipv6 {
            return self.wide_input(cx, arrival, frame, payload);
        }
        let Some(frame) = cx.unshare(frame, id) else {
            return;
        };
        cx.pool.pull(&frame, payload);
        let (packets, bytes) = frame_count(cx, &frame);
        iface.rx.packets += packets;
        iface.rx.bytes += bytes;
        match protocol {
            EthernetProtocol::Ipv4 => self.ip_input(cx, arrival, frame, 4),
            _ => cx.drop(frame, id, DropReason::UnknownEtherType),
        }
    }

    /// The same for a frame of IPv6, whose packet is behind so many bytes.
    #[inline(never)]
    fn wide_input(&mut self, cx: &mut Cx<'_>, arrival: Arrival, frame: Frame, payload: usize) {
        let id = arrival.iface;
        let Some(frame) = cx.unshare(frame, id) else {
            return;
        };
        cx.pool.pull(&frame, payload);
        let (packets, bytes) = frame_count(cx, &frame);
        if let Some(iface) = self.ifaces.counted(id) {
            iface.rx.packets += packets;
            iface.rx.bytes += bytes;
        }
        self.ip_input(cx, arrival, frame, 6);
    }

    /// A packet came back over `lo` (or as the copy of a broadcast that went out of `iface`).
    pub(super) fn arrive_looped(&mut self, cx: &mut Cx<'_>, iface: IfId, frame: Frame) {
        let version = cx.pool.bytes(&frame).first().map_or(0, |byte| byte >> 4);
        let arrival = Arrival {
            iface,
            unicast: iface == LO,
            looped: true,
            broadcast: false,
            fragment: 0,
        };
        self.ip_input(cx, arrival, frame, version);
    }

    /// An IP packet arrived; the frame starts at its header and is nobody else's.
    fn ip_input(&mut self, cx: &mut Cx<'_>, arrival: Arrival, frame: Frame, version: u8) {
        let packet = match self.check(cx, arrival, &frame, version) {
            Ok(packet) => packet,
            Err(reason) => {
                cx.drop(frame, arrival.iface, reason);
                return;
            }
        };
        cx.pool.truncate(&frame, packet.len);
        if self.tracks() {
            self.track_input(cx, arrival, frame, &packet);
        } else {
            self.route_input(cx, arrival, frame, &packet);
        }
    }

    /// PREROUTING and what follows.
    fn track_input(&mut self, cx: &mut Cx<'_>, arrival: Arrival, frame: Frame, packet: &Packet) {
        let Some(frame) = self.express(cx, &arrival, frame, packet) else {
            return;
        };
        let Some((arrival, frame, packet)) = self.whole(cx, arrival, frame, packet) else {
            return;
        };
        let Some(frame) = self.run_hook(cx, Hook::Prerouting, frame, Some(arrival.iface), None)
        else {
            return;
        };
        let packet = packet.readdressed(cx.pool.bytes(&frame));
        self.route_input(cx, arrival, frame, &packet);
    }

    #[inline]
    fn check(
        &self,
        cx: &Cx<'_>,
        arrival: Arrival,
        frame: &Frame,
        version: u8,
    ) -> Result<Packet, DropReason> {
        let bytes = cx.pool.bytes(frame);
        let packet = Packet::parse(bytes)?;
        if bytes[0] >> 4 != version {
            return Err(DropReason::HeaderMalformed);
        }
        if version == 4 && !arrival.looped && !header_checksum_ok(bytes) {
            return Err(DropReason::ChecksumBad);
        }
        let v6_off = |id: IfId| !self.ifaces.get(id).is_some_and(|iface| iface.ipv6);
        if version == 6 && v6_off(arrival.iface) {
            return Err(DropReason::Ipv6Disabled);
        }
        Ok(packet)
    }

    /// Decides where a packet goes: here, on, or nowhere.
    fn route_input(&mut self, cx: &mut Cx<'_>, arrival: Arrival, frame: Frame, packet: &Packet) {
        let inward = self.judge(&arrival, packet);
        if inward == Inward::Martian {
            cx.drop(frame, arrival.iface, DropReason::Martian);
            return;
        }
        if packet.destination.is_multicast() {
            let member = self
                .ifaces
                .get(arrival.iface)
                .is_some_and(|iface| iface.is_member(packet.destination));
            if member {
                self.local_input(cx, arrival, frame, packet);
            } else {
                cx.drop(frame, arrival.iface, DropReason::NotForUs);
            }
            return;
        }
        match inward {
            Inward::Local => self.local_input(cx, arrival, frame, packet),
            Inward::Broadcast => {
                let arrival = Arrival {
                    broadcast: true,
                    ..arrival
                };
                self.local_input(cx, arrival, frame, packet);
            }
            _ if arrival.looped => cx.drop(frame, arrival.iface, DropReason::NoRoute),
            _ if self.divert.is_some() => self.local_input(cx, arrival, frame, packet),
            _ => self.forward(cx, arrival, frame, packet),
        }
    }

    /// What a packet is to this namespace by its tables. A group counts as foreign.
    pub(super) fn find_inward(&self, arrival: &Arrival, packet: &Packet) -> Inward {
        if !arrival.looped && self.is_martian(arrival.iface, packet) {
            return Inward::Martian;
        }
        if is_limited_broadcast(packet.destination) {
            return Inward::Broadcast;
        }
        let dev = (!arrival.looped).then_some(arrival.iface);
        match self.local_route(packet.destination, dev) {
            Some(route) if route.kind == RouteKind::Broadcast => Inward::Broadcast,
            Some(_) => Inward::Local,
            None => Inward::Foreign,
        }
    }

    /// RFC 1812 §5.3.7. An address of ours as the source is one too, in IPv4.
    fn is_martian(&self, iface: IfId, packet: &Packet) -> bool {
        let IpAddr::V4(source) = packet.source else {
            return martian_source(packet.source) || martian_destination(packet.destination);
        };
        let to_all = is_limited_broadcast(packet.destination);
        let localnet = self
            .ifaces
            .get(iface)
            .is_some_and(|iface| iface.route_localnet);
        if localnet && (source.is_loopback() || packet.destination.is_loopback()) {
            return false;
        }
        martian_source(packet.source)
            || martian_destination(packet.destination)
            || (source.is_unspecified() && !to_all)
            || self.fib.local(packet.source).is_some()
    }

    /// A packet is for this namespace.
    fn local_input(&mut self, cx: &mut Cx<'_>, arrival: Arrival, frame: Frame, packet: &Packet) {
        if packet.fragment.is_none() && !self.tracks() {
            self.deliver(cx, arrival, frame, packet);
            return;
        }
        let Some((arrival, frame, packet)) = self.whole(cx, arrival, frame, packet) else {
            return;
        };
        let Some(frame) = self.run_hook(cx, Hook::Input, frame, Some(arrival.iface), None) else {
            return;
        };
        let packet = packet.readdressed(cx.pool.bytes(&frame));
        self.deliver(cx, arrival, frame, &packet);
    }

    /// Hands a packet to its protocol.
    fn deliver(&mut self, cx: &mut Cx<'_>, arrival: Arrival, frame: Frame, packet: &Packet) {
        let mut frame = frame;
        if self.divert.is_some() {
            match self.divert_input(cx, arrival, frame, packet) {
                Some(passed) => frame = passed,
                None => return,
            }
        }
        match (packet.protocol, packet.source.is_ipv4()) {
            (IpProtocol::Icmp, true) => self.icmp_input(cx, arrival, frame, packet),
            (IpProtocol::Icmpv6, false) => self.icmpv6_input(cx, arrival, frame, packet),
            (IpProtocol::Tcp, _) => self.tcp_input(cx, arrival, frame, packet),
            (IpProtocol::Udp, _) => self.udp_input(cx, arrival, frame, packet),
            (IpProtocol::Igmp, true) | (IpProtocol::Ipv6NoNxt, false) => {
                cx.delivered(frame, arrival.iface);
            }
            _ => {
                let complaint = Complaint::ProtocolUnreachable;
                self.complain(cx, &frame, complaint, Some(arrival));
                cx.drop(frame, arrival.iface, DropReason::NoProtocol);
            }
        }
    }

    /// A packet that is no fragment: itself, or what its fragments made, read anew. `None` while some
    /// are missing.
    fn whole(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: Arrival,
        frame: Frame,
        packet: &Packet,
    ) -> Option<(Arrival, Frame, Packet)> {
        if packet.fragment.is_none() {
            return Some((arrival, frame, *packet));
        }
        let (arrival, frame) = self.reassemble(cx, arrival, frame, packet)?;
        match Packet::parse(cx.pool.bytes(&frame)) {
            Ok(packet) => Some((arrival, frame, packet)),
            Err(reason) => {
                cx.drop(frame, arrival.iface, reason);
                None
            }
        }
    }

    /// Puts a fragment to its fellows. `None` while some are missing.
    fn reassemble(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: Arrival,
        frame: Frame,
        packet: &Packet,
    ) -> Option<(Arrival, Frame)> {
        let id = arrival.iface;
        let reassembly = self.reassembly.get_or_insert_default();
        let (joined, key) = reassembly.add(cx.now, cx.pool, frame, packet, id);
        match joined {
            Joined::Waits(timer) => {
                if let Some(at) = timer {
                    self.timers.arm(at, Timer::Reassembly(key));
                }
                None
            }
            Joined::Whole(whole, pieces, largest, deadline) => {
                self.timers.cancel(deadline, Timer::Reassembly(key));
                // The first fragment lives on in the whole packet.
                let number = cx.pool.meta(&whole).id;
                for piece in pieces {
                    if cx.pool.meta(&piece).id == number {
                        cx.pool.free(piece);
                    } else {
                        cx.delivered(piece, id);
                    }
                }
                let arrival = Arrival {
                    fragment: largest,
                    ..arrival
                };
                Some((arrival, whole))
            }
            Joined::Dead(frames, reason, timer) => {
                if let Some(at) = timer {
                    self.timers.cancel(at, Timer::Reassembly(key));
                }
                for frame in frames {
                    cx.drop(frame, id, reason);
                }
                None
            }
        }
    }

    /// A datagram's fragments did not come in time.
    pub(super) fn reassembly_due(&mut self, cx: &mut Cx<'_>, key: Key) {
        let waiting = self.reassembly.as_mut();
        let Some(datagram) = waiting.and_then(|waiting| waiting.take(key)) else {
            return;
        };
        let iface = datagram.iface;
        let (first, rest) = datagram.split();
        if let Some(first) = first {
            let arrival = Arrival {
                iface,
                unicast: true,
                looped: false,
                broadcast: false,
                fragment: 0,
            };
            self.complain(cx, &first, Complaint::ReassemblyTimeout, Some(arrival));
            cx.drop(first, iface, DropReason::FragmentTimeout);
        }
        for frame in rest {
            cx.drop(frame, iface, DropReason::FragmentTimeout);
        }
    }

    /// Whether `addr` is a broadcast address, of a link or of all.
    pub(super) fn is_broadcast(&self, addr: IpAddr) -> bool {
        is_limited_broadcast(addr)
            || self
                .fib
                .local(addr)
                .is_some_and(|route| route.kind == RouteKind::Broadcast)
    }
}

/// Whether a frame is for the station of `iface`; where its payload starts and what that is.
#[inline]
fn admit(iface: &Iface, frame: &[u8]) -> Result<(usize, EthernetProtocol, bool), DropReason> {
    let ether = Ether::parse(frame)?;
    // A tag with number 0 carries a priority only; any other VLAN has no interface here.
    let tagged = ether.vlan.is_some_and(|vlan| vlan != 0) || ether.payload > 18;
    let unicast = ether.destination.0 == iface.mac;
    let group = ether.destination.0[0] & 1 != 0;
    if tagged || !(unicast || group) {
        return Err(DropReason::NotForUs);
    }
    Ok((ether.payload, ether.protocol, unicast))
}

fn is_limited_broadcast(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V4(v4) if v4.is_broadcast())
}
