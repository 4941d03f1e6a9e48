//! What primitives test, as libpcap's compiler has it for Ethernet frames.
//!
//! `vlan` moves everything that is behind it in the expression by the four bytes of a tag. A port is looked
//! for in the first fragment of an IPv4 packet and behind an IPv6 header without extension headers; a
//! protocol above IPv6 also behind a fragment header. What is tested first matters for frames that are cut
//! short, so the order is libpcap's.

use core::net::Ipv6Addr;

use super::lex::Protocol;
use super::parse::Direction;
use super::program::{Compare, Op, Part, Program, Read, Size, TESTS};

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const SCTP: u8 = 132;

const IPV4: u32 = 0x0800;
const ARP: u32 = 0x0806;
const RARP: u32 = 0x8035;
const IPV6: u32 = 0x86dd;
const ATALK: u32 = 0x809b;
const AARP: u32 = 0x80f3;
const IPX: u32 = 0x8137;
/// Tags of 802.1Q, of 802.1ad, and what came before it.
const TAGS: [u32; 3] = [0x8100, 0x88a8, 0x9100];
/// The largest length in an 802.3 header; above it stand Ethernet types.
const LENGTH_MAX: u32 = 1500;
/// Every bit.
const ALL: u32 = u32::MAX;

/// Why there is no test.
pub(super) type Refused = String;
type Made = Result<Part, Refused>;

/// Makes the tests of one expression.
#[derive(Debug)]
pub(super) struct Generator {
    pub(super) program: Program,
    /// Where the Ethernet type stands.
    link_type: u32,
    /// Where the network layer begins.
    network: u32,
}

impl Default for Generator {
    fn default() -> Self {
        Self {
            program: Program::default(),
            link_type: 12,
            network: 14,
        }
    }
}

impl Generator {
    pub(super) fn and(&mut self, left: Part, right: Part) -> Part {
        self.program.and(left, right)
    }

    pub(super) fn or(&mut self, left: Part, right: Part) -> Part {
        self.program.or(left, right)
    }

    pub(super) fn test(&mut self, read: Read, compare: Compare, against: u32) -> Made {
        let test = self.program.test(read, compare, against);
        test.ok_or_else(|| format!("expression is too complex: more than {TESTS} tests"))
    }

    fn equal(&mut self, offset: u32, size: Size, value: u32) -> Made {
        self.masked(offset, size, value, ALL)
    }

    fn masked(&mut self, offset: u32, size: Size, value: u32, mask: u32) -> Made {
        self.test(Read::At(offset, size, mask), Compare::Equal, value)
    }

    /// A field of the network header.
    fn network(&mut self, offset: u32, size: Size, value: u32) -> Made {
        self.equal(self.network + offset, size, value)
    }

    fn all_of(&mut self, parts: Vec<Part>) -> Made {
        let mut parts = parts.into_iter();
        let first = parts.next().ok_or("nothing to test")?;
        Ok(parts.fold(first, |all, part| self.and(all, part)))
    }

    fn any_of(&mut self, parts: Vec<Part>) -> Made {
        let mut parts = parts.into_iter();
        let first = parts.next().ok_or("nothing to test")?;
        Ok(parts.fold(first, |any, part| self.or(any, part)))
    }

    /// Frames of an Ethernet type, or of an LLC service access point.
    pub(super) fn link(&mut self, kind: u32) -> Made {
        match kind {
            0xfe | 0x06 | 0xf0 => {
                let short = self.short_frame()?;
                let points = self.equal(self.network, Size::Two, kind << 8 | kind)?;
                Ok(self.and(short, points))
            }
            0xe0 => self.ipx(),
            ATALK | AARP => {
                let own = self.equal(self.link_type, Size::Two, kind)?;
                let short = self.short_frame()?;
                let organization = if kind == ATALK { 0x08_0007 } else { 0 };
                let snap = self.snap(organization, kind)?;
                let wrapped = self.and(short, snap);
                Ok(self.or(own, wrapped))
            }
            kind if kind <= LENGTH_MAX => {
                let short = self.short_frame()?;
                let point = self.equal(self.link_type + 2, Size::One, kind)?;
                Ok(self.and(short, point))
            }
            kind => self.equal(self.link_type, Size::Two, kind),
        }
    }

    /// An 802.3 header: a length where Ethernet II has a type.
    fn short_frame(&mut self) -> Made {
        let read = Read::At(self.link_type, Size::Two, ALL);
        Ok(self.test(read, Compare::Greater, LENGTH_MAX)?.not())
    }

    /// The four ways of IPX: by type, in a SNAP header, by access point, and bare.
    fn ipx(&mut self) -> Made {
        let own = self.equal(self.link_type, Size::Two, IPX)?;
        let short = self.short_frame()?;
        let snap = self.snap(0, IPX)?;
        let point = self.equal(self.network, Size::One, 0xe0)?;
        let bare = self.equal(self.network, Size::Two, 0xffff)?;
        let inner = self.any_of(vec![snap, point, bare])?;
        let inner = self.and(short, inner);
        Ok(self.or(own, inner))
    }

    fn snap(&mut self, organization: u32, kind: u32) -> Made {
        let low = (organization & 0xffff) << 16 | kind;
        let last = self.equal(self.network + 4, Size::Four, low)?;
        let high = 0xaaaa_0300 | organization >> 16;
        let first = self.equal(self.network, Size::Four, high)?;
        Ok(self.and(last, first))
    }

    /// A protocol, as it stands by itself.
    pub(super) fn protocol(&mut self, protocol: Protocol) -> Made {
        let above = match protocol {
            Protocol::Ip => return self.link(IPV4),
            Protocol::Ip6 => return self.link(IPV6),
            Protocol::Arp => return self.link(ARP),
            Protocol::Rarp => return self.link(RARP),
            Protocol::Link => return Err("link layer applied in wrong context".into()),
            Protocol::Icmp => return self.above(Some(Protocol::Ip), ICMP.into()),
            Protocol::Igmp => return self.above(Some(Protocol::Ip), 2),
            Protocol::Igrp => return self.above(Some(Protocol::Ip), 9),
            Protocol::Vrrp | Protocol::Carp => return self.above(Some(Protocol::Ip), 112),
            Protocol::Icmp6 => return self.above(Some(Protocol::Ip6), 58),
            Protocol::Tcp => TCP,
            Protocol::Udp => UDP,
            Protocol::Sctp => SCTP,
            Protocol::Pim => 103,
            Protocol::Ah => 51,
            Protocol::Esp => 50,
        };
        self.above(None, above.into())
    }

    /// What `under` carries, or either IP: a protocol number, or an Ethernet type.
    pub(super) fn above(&mut self, under: Option<Protocol>, number: u32) -> Made {
        match under {
            None => {
                let ip = self.above(Some(Protocol::Ip), number)?;
                let ip6 = self.above(Some(Protocol::Ip6), number)?;
                Ok(self.or(ip, ip6))
            }
            Some(Protocol::Link) => self.link(number),
            Some(Protocol::Ip) => {
                let ip = self.link(IPV4)?;
                let number = self.network(9, Size::One, number)?;
                Ok(self.and(ip, number))
            }
            Some(Protocol::Ip6) => {
                let ip = self.link(IPV6)?;
                let next = self.network(6, Size::One, number)?;
                let fragment = self.network(6, Size::One, 44)?;
                let behind = self.network(40, Size::One, number)?;
                let behind = self.and(fragment, behind);
                let either = self.or(next, behind);
                Ok(self.and(ip, either))
            }
            Some(protocol @ (Protocol::Arp | Protocol::Rarp)) => {
                let name = protocol.name();
                Err(format!("{name} does not encapsulate another protocol"))
            }
            Some(protocol) => Err(format!("'{} proto' is bogus", protocol.name())),
        }
    }

    /// The same at the source, the destination, either or both.
    fn directed(
        &mut self,
        direction: Direction,
        mut at: impl FnMut(&mut Self, bool) -> Made,
    ) -> Made {
        match direction {
            Direction::Source => at(self, true),
            Direction::Destination => at(self, false),
            Direction::Any | Direction::Either => {
                let source = at(self, true)?;
                let destination = at(self, false)?;
                Ok(self.or(source, destination))
            }
            Direction::Both => {
                let source = at(self, true)?;
                let destination = at(self, false)?;
                Ok(self.and(source, destination))
            }
        }
    }

    /// An Ethernet address.
    pub(super) fn mac(&mut self, address: [u8; 6], direction: Direction) -> Made {
        let [a, b, c, d, e, f] = address;
        let high = u32::from(u16::from_be_bytes([a, b]));
        let low = u32::from_be_bytes([c, d, e, f]);
        self.directed(direction, |all, source| {
            let offset = if source { 6 } else { 0 };
            let low = all.equal(offset + 2, Size::Four, low)?;
            let high = all.equal(offset, Size::Two, high)?;
            Ok(all.and(low, high))
        })
    }

    /// An IPv4 address or network in the headers of IP, ARP or RARP, or of all three.
    pub(super) fn ip4(
        &mut self,
        protocol: Option<Protocol>,
        direction: Direction,
        (address, mask): (u32, u32),
        what: &str,
    ) -> Made {
        let (kind, source, destination) = match protocol {
            None => {
                let mut all = Vec::new();
                for protocol in [Protocol::Ip, Protocol::Arp, Protocol::Rarp] {
                    all.push(self.ip4(Some(protocol), direction, (address, mask), what)?);
                }
                return self.any_of(all);
            }
            Some(Protocol::Ip) => (IPV4, 12, 16),
            Some(Protocol::Arp) => (ARP, 14, 24),
            Some(Protocol::Rarp) => (RARP, 14, 24),
            Some(Protocol::Link) => {
                return Err(format!("link-layer modifier applied to {what}"));
            }
            Some(Protocol::Ip6) => return Err("'ip6' modifier applied to ip host".into()),
            Some(other) => {
                return Err(format!("'{}' modifier applied to {what}", other.name()));
            }
        };
        self.directed(direction, |all, is_source| {
            let offset = all.network + if is_source { source } else { destination };
            let kind = all.link(kind)?;
            let address = all.masked(offset, Size::Four, address, mask)?;
            Ok(all.and(kind, address))
        })
    }

    /// An IPv6 address or network.
    pub(super) fn ip6(
        &mut self,
        protocol: Option<Protocol>,
        direction: Direction,
        (address, mask): (Ipv6Addr, u128),
        what: &str,
    ) -> Made {
        match protocol {
            None | Some(Protocol::Ip6) => {}
            Some(Protocol::Link) => {
                return Err(format!("link-layer modifier applied to ip6 {what}"));
            }
            Some(other) => {
                return Err(format!("'{}' modifier applied to ip6 {what}", other.name()));
            }
        }
        self.directed(direction, |all, is_source| {
            let offset = all.network + if is_source { 8 } else { 24 };
            let mut parts = vec![all.link(IPV6)?];
            for word in 0..4 {
                let shift = 96 - 32 * word;
                let value = (address.to_bits() >> shift) as u32;
                let mask = (mask >> shift) as u32;
                parts.push(all.masked(offset + 4 * word, Size::Four, value, mask)?);
            }
            all.all_of(parts)
        })
    }

    /// Ports from the first to the last, of TCP, UDP and SCTP or of one of them, over IPv6 and IPv4.
    pub(super) fn ports(
        &mut self,
        above: Option<u8>,
        direction: Direction,
        (first, last): (u16, u16),
    ) -> Made {
        let ports = (first.min(last), first.max(last));
        let six = self.ports_over(true, above, direction, ports)?;
        let four = self.ports_over(false, above, direction, ports)?;
        Ok(self.or(six, four))
    }

    fn ports_over(
        &mut self,
        over_ip6: bool,
        above: Option<u8>,
        direction: Direction,
        ports: (u16, u16),
    ) -> Made {
        let ip = self.link(if over_ip6 { IPV6 } else { IPV4 })?;
        let all = [TCP, UDP, SCTP];
        let one = above.map(|above| [above]);
        let above = one.as_ref().map_or(&all[..], |one| &one[..]);
        let mut any = Vec::new();
        for &above in above {
            let field = if over_ip6 { 6 } else { 9 };
            let mut carried = self.network(field, Size::One, above.into())?;
            if !over_ip6 {
                let first = self.first_fragment()?;
                carried = self.and(carried, first);
            }
            let port = self.directed(direction, |all, is_source| {
                let offset = if is_source { 0 } else { 2 };
                all.port(over_ip6, offset, ports)
            })?;
            any.push(self.and(carried, port));
        }
        let any = self.any_of(any)?;
        Ok(self.and(ip, any))
    }

    fn port(&mut self, over_ip6: bool, offset: u32, (first, last): (u16, u16)) -> Made {
        let read = if over_ip6 {
            Read::At(self.network + 40 + offset, Size::Two, ALL)
        } else {
            Read::BehindIpv4(self.network, offset, Size::Two)
        };
        if first == last {
            return self.test(read, Compare::Equal, first.into());
        }
        let from = self.test(read, Compare::GreaterEqual, first.into())?;
        let to = self.test(read, Compare::Greater, last.into())?.not();
        Ok(self.and(from, to))
    }

    /// No IPv4 fragment, or the first.
    fn first_fragment(&mut self) -> Made {
        let read = Read::At(self.network + 6, Size::Two, ALL);
        Ok(self.test(read, Compare::AnyBit, 0x1fff)?.not())
    }

    /// Frames, or IP packets, for everybody. The netmask is not known, so that an IP broadcast is all ones
    /// or all zeros.
    pub(super) fn broadcast(&mut self, protocol: Option<Protocol>) -> Made {
        match protocol {
            None | Some(Protocol::Link) => self.mac([0xff; 6], Direction::Destination),
            Some(Protocol::Ip) => {
                let ip = self.link(IPV4)?;
                let zeros = self.network(16, Size::Four, 0)?;
                let ones = self.network(16, Size::Four, ALL)?;
                let either = self.or(zeros, ones);
                Ok(self.and(ip, either))
            }
            Some(_) => Err("only link-layer/IP broadcast filters supported".into()),
        }
    }

    /// Frames, or IP packets, for a group.
    pub(super) fn multicast(&mut self, protocol: Option<Protocol>) -> Made {
        match protocol {
            None | Some(Protocol::Link) => {
                self.test(Read::At(0, Size::One, ALL), Compare::AnyBit, 1)
            }
            Some(Protocol::Ip) => {
                let ip = self.link(IPV4)?;
                let read = Read::At(self.network + 16, Size::One, ALL);
                let group = self.test(read, Compare::GreaterEqual, 224)?;
                Ok(self.and(ip, group))
            }
            Some(Protocol::Ip6) => {
                let ip = self.link(IPV6)?;
                let group = self.network(24, Size::One, 255)?;
                Ok(self.and(ip, group))
            }
            Some(_) => Err("link-layer multicast filters supported only on \
                 ethernet/FDDI/token ring/ARCNET/802.11/ATM LANE/Fibre Channel"
                .into()),
        }
    }

    /// Frames with a tag, or with the tag of one VLAN; what comes later in the expression is behind it.
    pub(super) fn vlan(&mut self, vlan: Option<u32>) -> Made {
        let mut tags = Vec::new();
        for tag in TAGS {
            tags.push(self.link(tag)?);
        }
        let mut tagged = self.any_of(tags)?;
        if let Some(vlan) = vlan {
            if vlan > 0xfff {
                return Err(format!("VLAN tag {vlan} greater than maximum 4095"));
            }
            let number = self.masked(self.network, Size::Two, vlan, 0xfff)?;
            tagged = self.and(tagged, number);
        }
        self.link_type += 4;
        self.network += 4;
        Ok(tagged)
    }

    /// The step that replaces the index on top by what `protocol` has there, and what must be so before.
    /// `before` is what the index itself needs.
    pub(super) fn load(
        &mut self,
        protocol: Protocol,
        size: Size,
        before: Option<Part>,
    ) -> Result<Option<Part>, Refused> {
        let op = match protocol {
            Protocol::Link => {
                self.program.step(Op::Load(0, size));
                return Ok(before);
            }
            Protocol::Ip | Protocol::Ip6 | Protocol::Arp | Protocol::Rarp => {
                let own = self.protocol(protocol)?;
                self.program.step(Op::Load(self.network, size));
                return Ok(Some(self.behind(before, own)));
            }
            Protocol::Icmp6 => {
                let ip = self.link(IPV6)?;
                let ip = self.behind(before, ip);
                let next = self.network(6, Size::One, 58)?;
                self.program.step(Op::Load(self.network + 40, size));
                return Ok(Some(self.and(ip, next)));
            }
            Protocol::Ah | Protocol::Esp => return Err("unsupported index operation".into()),
            _ => Op::LoadBehindIpv4(self.network, size),
        };
        let ip = self.link(IPV4)?;
        let ip = match before {
            Some(before) => self.and(ip, before),
            None => ip,
        };
        let own = self.protocol(protocol)?;
        let first = self.first_fragment()?;
        let own = self.and(own, first);
        self.program.step(op);
        Ok(Some(self.and(ip, own)))
    }

    fn behind(&mut self, before: Option<Part>, part: Part) -> Part {
        match before {
            Some(before) => self.and(before, part),
            None => part,
        }
    }
}
