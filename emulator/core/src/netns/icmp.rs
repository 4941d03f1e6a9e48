//! ICMP and ICMPv6 errors that a namespace sends: RFC 792, RFC 1122 §3.2.2, RFC 1812 §4.3, RFC 4443 §2.4.
//!
//! Rates as Linux: 1,000 a second with bursts of 50 for all together, and for one destination 1 a second
//! with bursts of 6 for what the rate mask names (unreachable, time exceeded, parameter problem; not
//! "fragmentation needed" nor "packet too big"); over `lo` there is no limit. An IPv4 error quotes up
//! to 576 bytes in all, an IPv6 one up to 1,280. Its source is the address that the packet was sent to if
//! that is ours, else that of the way back (`icmp_errors_use_inbound_ifaddr` 0).

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use switch::wire::{IpProtocol, Packet, fill_header_checksum, fill_transport_checksum, sum};
use switch::{Frame, Time};

use super::build::Head;
use super::fragment::{copy, fill_checksum, wire_len};
use super::output::Way;
use super::{Arrival, Cx, LO, Netns};

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Complaint {
    /// Its source is good on its link only.
    BeyondScope,
    /// Its hop limit ran out.
    HopLimit,
    /// Its next station does not answer.
    HostUnreachable,
    /// There is no route.
    NetUnreachable,
    /// Nobody listens on its port.
    PortUnreachable,
    /// A firewall forbids it.
    Prohibited,
    /// Nobody speaks its protocol.
    ProtocolUnreachable,
    /// Its other fragments did not come.
    ReassemblyTimeout,
    /// It is larger than this and may not be cut.
    TooBig { mtu: u32 },
}

impl Complaint {
    /// Type, code and the four bytes behind the checksum. `next` is where the protocol number of an
    /// IPv6 packet stands.
    fn v4(self) -> (u8, u8, u32) {
        match self {
            Self::NetUnreachable | Self::BeyondScope => (3, 0, 0),
            Self::HostUnreachable => (3, 1, 0),
            Self::ProtocolUnreachable => (3, 2, 0),
            Self::PortUnreachable => (3, 3, 0),
            Self::TooBig { mtu } => (3, 4, mtu.min(0xffff)),
            Self::Prohibited => (3, 13, 0),
            Self::HopLimit => (11, 0, 0),
            Self::ReassemblyTimeout => (11, 1, 0),
        }
    }

    fn v6(self, next: u32) -> (u8, u8, u32) {
        match self {
            Self::NetUnreachable => (1, 0, 0),
            Self::Prohibited => (1, 1, 0),
            Self::BeyondScope => (1, 2, 0),
            Self::HostUnreachable => (1, 3, 0),
            Self::PortUnreachable => (1, 4, 0),
            Self::TooBig { mtu } => (2, 0, mtu),
            Self::HopLimit => (3, 0, 0),
            Self::ReassemblyTimeout => (3, 1, 0),
            Self::ProtocolUnreachable => (4, 1, next),
        }
    }
}

/// Destinations whose rate is remembered.
const DESTINATIONS: usize = 1024;

/// The rates of the errors of a namespace.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// All together: credit in thousandths of a message, and when it was counted. `None` is full.
    all: Option<(u64, Time)>,
    /// By destination: the credit as a span of time, and when it was counted.
    each: BTreeMap<IpAddr, (Duration, Time)>,
}

impl Limits {
    /// One message of any kind: 1,000 a second, 50 at once.
    fn global(&mut self, now: Time) -> bool {
        const BURST: u64 = 50_000;
        let credit = self.all.map_or(BURST, |(credit, at)| {
            let gained = u64::try_from(now.since(at).as_micros()).unwrap_or(u64::MAX);
            credit.saturating_add(gained).min(BURST)
        });
        let allowed = credit >= 1000;
        self.all = Some((if allowed { credit - 1000 } else { credit }, now));
        allowed
    }

    /// One message to `destination`: one each `every`, 6 at once.
    fn to(&mut self, now: Time, destination: IpAddr, every: Duration) -> bool {
        let full = every * 6;
        let known = self.each.get(&destination);
        let credit = known.map_or(full, |&(credit, at)| (credit + now.since(at)).min(full));
        let allowed = credit >= every;
        if self.each.len() >= DESTINATIONS && known.is_none() {
            // The one counted longest ago has the most credit: forgetting it costs least.
            let oldest = self.each.iter().min_by_key(|(_, entry)| entry.1);
            if let Some(oldest) = oldest.map(|(addr, _)| *addr) {
                self.each.remove(&oldest);
            }
        }
        let left = if allowed { credit - every } else { credit };
        self.each.insert(destination, (left, now));
        allowed
    }
}

impl Netns {
    /// Tells the sender of `frame`, a packet nobody else shares, what is wrong with it; if the rules
    /// allow it.
    pub(super) fn complain(
        &mut self,
        cx: &mut Cx<'_>,
        frame: &Frame,
        complaint: Complaint,
        arrival: Option<Arrival>,
    ) {
        self.complain_by(cx, frame, complaint, arrival, None);
    }

    /// The same in the name of somebody else, who has limits of his own.
    pub(super) fn complain_by(
        &mut self,
        cx: &mut Cx<'_>,
        frame: &Frame,
        complaint: Complaint,
        arrival: Option<Arrival>,
        by: Option<IpAddr>,
    ) {
        let Ok(packet) = Packet::parse(cx.pool.bytes(frame)) else {
            return;
        };
        if !self.may_complain(cx, frame, &packet, complaint, arrival) {
            return;
        }
        let link_local = matches!(packet.source, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let dev = arrival.map(|arrival| arrival.iface).filter(|_| link_local);
        let Ok(way) = self.route_to(packet.source, dev) else {
            return;
        };
        let ours = self.fib.is_local(packet.destination) || self.stands_for_all(complaint);
        let by = by.filter(|by| by.is_ipv4() == packet.source.is_ipv4());
        let source = match by {
            Some(by) => Some(by),
            None if ours => Some(packet.destination),
            None => self.source_for(&way, packet.source),
        };
        let Some(source) =
            source.filter(|_| by.is_some() || self.within_rate(cx.now, &packet, complaint, &way))
        else {
            return;
        };
        if cx.pool.meta(frame).gso_size > 0 {
            if let Some(first) = first_segment(cx, frame, &packet) {
                self.send_error(cx, &first, source, complaint, way);
                cx.pool.free(first);
            }
            return;
        }
        fill_checksum(cx.pool, frame, &packet);
        self.send_error(cx, frame, source, complaint, way);
    }

    /// RFC 1122 §3.2.2 and RFC 4443 §2.4 (e): no errors about errors, about later fragments, about what
    /// went to more than one station or came from none.
    fn may_complain(
        &self,
        cx: &Cx<'_>,
        frame: &Frame,
        packet: &Packet,
        complaint: Complaint,
        arrival: Option<Arrival>,
    ) -> bool {
        let too_big = matches!(complaint, Complaint::TooBig { .. }) && packet.source.is_ipv6();
        let to_many = packet.destination.is_multicast()
            || self.is_broadcast(packet.destination)
            || arrival.is_some_and(|arrival| !arrival.unicast);
        let from_none = packet.source.is_unspecified()
            || packet.source.is_multicast()
            || self.is_broadcast(packet.source);
        if packet.is_later_fragment() || (to_many && !too_big) || from_none {
            return false;
        }
        let kind = cx.pool.bytes(frame).get(packet.transport).copied();
        match (packet.protocol, kind) {
            (IpProtocol::Icmp, kind) => !matches!(kind, None | Some(3 | 4 | 5 | 11 | 12)),
            (IpProtocol::Icmpv6, kind) => kind.is_some_and(|kind| kind >= 128 && kind != 137),
            _ => true,
        }
    }

    fn within_rate(&mut self, now: Time, packet: &Packet, complaint: Complaint, way: &Way) -> bool {
        let free = matches!(complaint, Complaint::TooBig { .. });
        if !self.icmp_limited || way.dev == LO || free {
            return true;
        }
        let every = match packet.source {
            IpAddr::V4(_) => Duration::from_secs(1),
            // Wider routes get more: a 16th of a second behind the default route.
            IpAddr::V6(_) => {
                let route = self.fib.lookup(packet.source, Some(way.dev));
                let len = route.map_or(128, |route| route.dst.prefix_len());
                Duration::from_secs(1) / (1 << ((128 - u32::from(len)) >> 5))
            }
        };
        let limits = self.limits.get_or_insert_default();
        limits.global(now) && limits.to(now, packet.source, every)
    }

    fn send_error(
        &mut self,
        cx: &mut Cx<'_>,
        quoted: &Frame,
        source: IpAddr,
        complaint: Complaint,
        way: Way,
    ) {
        let bytes = cx.pool.bytes(quoted);
        let Ok(packet) = Packet::parse(bytes) else {
            return;
        };
        let v4 = packet.source.is_ipv4();
        let (kind, code, rest) = if v4 {
            complaint.v4()
        } else {
            complaint.v6(next_header_at(bytes, &packet))
        };
        let head = Head {
            source,
            destination: packet.source,
            protocol: if v4 {
                IpProtocol::Icmp
            } else {
                IpProtocol::Icmpv6
            },
            hop_limit: 64,
            dont_fragment: false,
            id: self.next_ip_id(),
            // Precedence "internetwork control", RFC 1812 §4.3.2.5.
            tos: if v4 { bytes[1] & 0x1e | 0xc0 } else { 0 },
        };
        let limit = if v4 { 576 } else { 1280 };
        let quote = packet.len.min(limit - head.len() - 8);
        let Some(frame) = head.packet(cx.pool, 8 + quote) else {
            return;
        };
        let at = head.len();
        copy(cx.pool, quoted, 0, &frame, at + 8, quote);
        let bytes = cx.pool.bytes_mut(&frame);
        bytes[at..at + 4].copy_from_slice(&[kind, code, 0, 0]);
        bytes[at + 4..at + 8].copy_from_slice(&rest.to_be_bytes());
        fill_icmp_checksum(bytes, at);
        // An error that cannot be sent is not replaced by another.
        let _ = self.send_packet(cx, frame, way);
    }
}

/// Writes the checksum of the ICMP or ICMPv6 message at `at`.
pub(super) fn fill_icmp_checksum(bytes: &mut [u8], at: usize) {
    if bytes[0] >> 4 == 6 {
        if let Ok(packet) = Packet::parse(bytes) {
            fill_transport_checksum(bytes, &packet);
        }
        return;
    }
    bytes[at + 2..at + 4].fill(0);
    let check = !sum(&bytes[at..]);
    bytes[at + 2..at + 4].copy_from_slice(&check.to_be_bytes());
}

/// Where in an IPv6 packet the number of its upper protocol stands.
fn next_header_at(bytes: &[u8], packet: &Packet) -> u32 {
    let (mut field, mut at) = (6, 40);
    while at < packet.transport {
        let size = if bytes[field] == 44 {
            8
        } else {
            8 + usize::from(bytes[at + 1]) * 8
        };
        field = at;
        at += size;
    }
    field as u32
}

/// The first frame that a super-segment stands for, with its checksum filled.
fn first_segment(cx: &mut Cx<'_>, frame: &Frame, packet: &Packet) -> Option<Frame> {
    let len = wire_len(cx.pool, frame, packet);
    let first = cx.pool.alloc(len)?;
    copy(cx.pool, frame, 0, &first, 0, len);
    let bytes = cx.pool.bytes_mut(&first);
    if packet.source.is_ipv4() {
        bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        fill_header_checksum(bytes);
    } else {
        bytes[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
    }
    if len < packet.len {
        // FIN and PSH are the last frame's.
        bytes[packet.transport + 13] &= !0x09;
    }
    let packet = Packet { len, ..*packet };
    fill_transport_checksum(bytes, &packet);
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_destination_gets_six_at_once_and_then_one_a_second() {
        let mut limits = Limits::default();
        let addr = IpAddr::from([10, 0, 0, 1]);
        let second = Duration::from_secs(1);
        let burst = (0..10)
            .filter(|_| limits.to(Time::ZERO, addr, second))
            .count();
        assert_eq!(burst, 6);
        assert!(!limits.to(Time::from_millis(999), addr, second));
        assert!(limits.to(Time::from_millis(1000), addr, second));
        assert!(!limits.to(Time::from_millis(1001), addr, second));
    }

    #[test]
    fn all_together_get_fifty_at_once_and_then_one_a_millisecond() {
        let mut limits = Limits::default();
        assert_eq!((0..99).filter(|_| limits.global(Time::ZERO)).count(), 50);
        assert!(!limits.global(Time::from_micros(999)));
        assert!(limits.global(Time::from_micros(1000)));
    }

    #[test]
    fn remembered_destinations_are_bounded() {
        let mut limits = Limits::default();
        for i in 0..2 * DESTINATIONS as u32 {
            let addr = core::net::Ipv4Addr::from(i).into();
            limits.to(Time::from_nanos(u64::from(i)), addr, Duration::from_secs(1));
        }
        assert_eq!(limits.each.len(), DESTINATIONS);
    }
}
