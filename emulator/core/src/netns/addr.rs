//! Kinds of addresses, and what follows from them: scopes, group MACs, martians.
//!
//! After `include/net/ipv6.h`, `include/linux/inetdevice.h` and RFC 1112 §6.4, RFC 2464 §7, RFC 4291.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A MAC address.
pub type Mac = [u8; 6];

/// The broadcast MAC.
pub const BROADCAST: Mac = [0xff; 6];

/// `ff02::1`.
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// `224.0.0.1`.
pub(super) const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

/// How far an address reaches. IPv6 names them in RFC 4291 §2.7; `ip addr` prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// This machine.
    Host,
    /// This link.
    Link,
    /// Everywhere.
    Global,
}

impl Scope {
    /// The scope of a unicast or group address.
    #[must_use]
    pub fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(v4) if v4.is_loopback() => Self::Host,
            IpAddr::V4(v4) if v4.is_link_local() => Self::Link,
            IpAddr::V6(v6) if v6.is_loopback() => Self::Host,
            IpAddr::V6(v6) if v6.is_unicast_link_local() => Self::Link,
            IpAddr::V6(v6) if v6.is_multicast() => match v6.octets()[1] & 0x0f {
                0 | 1 => Self::Host,
                2 => Self::Link,
                _ => Self::Global,
            },
            _ => Self::Global,
        }
    }

    /// The word that `ip` prints.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Link => "link",
            Self::Global => "global",
        }
    }
}

/// The group MAC that carries an IP group.
pub(super) fn group_mac(group: IpAddr) -> Mac {
    match group {
        IpAddr::V4(v4) => {
            let [_, b, c, d] = v4.octets();
            [0x01, 0x00, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            [0x33, 0x33, a, b, c, d]
        }
    }
}

/// The solicited-node group of an address (RFC 4291 §2.7.1).
pub(super) fn solicited_node(addr: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = addr.octets();
    Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(a),
        u16::from(b) << 8 | u16::from(c),
    )
}

/// The link-local address that an interface with this MAC forms (RFC 4291 appendix A).
#[must_use]
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.map(u16::from);
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        (a ^ 2) << 8 | b,
        c << 8 | 0xff,
        0xfe00 | d,
        e << 8 | f,
    )
}

/// That of one of several interfaces that share a MAC, each with its number (`dev_id` of Linux): the number
/// stands in the middle, and the address counts as local.
#[must_use]
pub fn link_local_shared(mac: Mac, number: u16) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.map(u16::from);
    let [high, low] = number.to_be_bytes().map(u16::from);
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        a << 8 | b,
        c << 8 | high,
        low << 8 | d,
        e << 8 | f,
    )
}

/// The address as a number, left-aligned, so that prefixes of both families compare alike.
pub(super) fn bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The first `len` bits of a left-aligned number.
pub(super) const fn masked(bits: u128, len: u8) -> u128 {
    match len {
        0 => 0,
        128.. => bits,
        _ => bits & (u128::MAX << (128 - len)),
    }
}

/// The directed broadcast address of an IPv4 network that has one (not /31 and /32).
pub(super) fn broadcast_of(net: IpNet) -> Option<Ipv4Addr> {
    match net {
        IpNet::V4(v4) if v4.prefix_len() < 31 => Some(v4.broadcast()),
        _ => None,
    }
}

/// No packet from a wire may have this source (RFC 1812 §5.3.7, RFC 4291 §2.5).
pub(super) fn martian_source(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_multicast()
                || v4.is_broadcast()
                || (v4.octets()[0] == 0 && !v4.is_unspecified())
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_multicast(),
    }
}

/// No packet from a wire may have this destination.
pub(super) fn martian_destination(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => v4.is_loopback() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_their_macs() {
        let v4 = IpAddr::from([224, 128, 0, 251]);
        assert_eq!(group_mac(v4), [0x01, 0, 0x5e, 0, 0, 251]);
        let node = solicited_node("2001:db8::abcd:1234".parse().unwrap());
        assert_eq!(node.to_string(), "ff02::1:ffcd:1234");
        assert_eq!(group_mac(node.into()), [0x33, 0x33, 0xff, 0xcd, 0x12, 0x34]);
    }

    /// RFC 4291 appendix A: 34-56-78-9A-BC-DE gives 36-56-78-FF-FE-9A-BC-DE.
    #[test]
    fn the_interface_identifier_of_the_rfc() {
        let addr = link_local([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]);
        assert_eq!(addr.to_string(), "fe80::3656:78ff:fe9a:bcde");
        let addr = link_local_shared([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde], 1);
        assert_eq!(addr.to_string(), "fe80::3456:7800:19a:bcde");
    }

    #[test]
    fn masks_cut() {
        let addr = bits(IpAddr::from([172, 17, 255, 3]));
        assert_eq!(masked(addr, 16), bits(IpAddr::from([172, 17, 0, 0])));
        assert_eq!((masked(addr, 0), masked(addr, 128)), (0, addr));
    }
}
