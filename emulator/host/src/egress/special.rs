//! Addresses that nobody gets to by accident.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::net::UdpSocket;

use ipnet::IpNet;

/// Where clouds answer who a machine is, besides link-local addresses: Amazon and Google by IPv6, Alibaba, Oracle, Azure.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// Why an address has to be named to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Special {
    Loopback,
    LinkLocal,
    Metadata,
    /// An address of the real machine.
    Own,
    /// A group, a broadcast, or nobody's.
    Never,
}

impl Special {
    /// What it is, of `address`; `None` if it is like any other.
    pub(super) fn of(address: IpAddr) -> Option<Self> {
        if never(IpNet::from(address)).is_some() {
            return Some(Self::Never);
        }
        if address.is_loopback() {
            return Some(Self::Loopback);
        }
        let local = match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        if local {
            return Some(Self::LinkLocal);
        }
        if METADATA.contains(&address) {
            return Some(Self::Metadata);
        }
        if let Some(inside) = translated(address) {
            return Self::of(inside.into()).map(|_| Self::Never);
        }
        is_own(address).then_some(Self::Own)
    }

    /// For people.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "an address where clouds keep credentials",
            Self::Own => "an address of this machine",
            Self::Never => "no address of a machine",
        }
    }

    /// Whether a rule about `net` means `address`, and not just everything around it.
    pub(super) fn is_named_by(self, net: IpNet, address: IpAddr) -> bool {
        match self {
            Self::Never => false,
            Self::Loopback => net.addr().is_loopback(),
            Self::LinkLocal => Self::of(net.addr()) == Some(self) && net.prefix_len() >= 10,
            Self::Metadata | Self::Own => net == IpNet::from(address),
        }
    }
}

/// Why nobody in a network can be reached at all.
pub(super) fn never(net: IpNet) -> Option<&'static str> {
    match net {
        IpNet::V4(net) => {
            let first = net.network();
            let group = first.is_multicast() || (first.octets()[0] >= 240);
            let all = net.prefix_len() == 0;
            (group || (first.octets()[0] == 0 && !all)).then_some("this is no machine, and it")
        }
        IpNet::V6(net) => {
            let first = net.network();
            let mapped = first.to_ipv4_mapped().is_some() || first.is_unspecified();
            (first.is_multicast() || (mapped && net.prefix_len() > 0))
                .then_some("this is no machine, and it")
        }
    }
}

/// The IPv4 address in one of NAT64 (RFC 6052) or 6to4 (RFC 3056).
fn translated(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    match (a, b, [c, d, e, f]) {
        (0x64, 0xff9b, [0, 0, 0, 0]) => {
            Some(Ipv4Addr::from_bits(u32::from(g) << 16 | u32::from(h)))
        }
        (0x2002, ..) => Some(Ipv4Addr::from_bits(u32::from(b) << 16 | u32::from(c))),
        _ => None,
    }
}

/// Whether an address is the real machine's: what would be sent there would come from there. Nothing is sent.
pub(super) fn is_own(address: IpAddr) -> bool {
    let any: SocketAddr = match address {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let source = UdpSocket::bind(any).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Special> {
        Special::of(text.parse().unwrap())
    }

    fn named(net: &str, address: &str) -> bool {
        let address: IpAddr = address.parse().unwrap();
        let special = Special::of(address).unwrap();
        special.is_named_by(net.parse().unwrap(), address)
    }

    #[test]
    fn nobody_gets_there_by_accident() {
        assert_eq!(of("127.3.2.1"), Some(Special::Loopback));
        assert_eq!(of("::1"), Some(Special::Loopback));
        assert_eq!(of("169.254.169.254"), Some(Special::LinkLocal));
        assert_eq!(of("fe80::1"), Some(Special::LinkLocal));
        assert_eq!(of("fd00:ec2::254"), Some(Special::Metadata));
        for never in [
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "ff02::1",
            "::ffff:127.0.0.1",
        ] {
            assert_eq!(of(never), Some(Special::Never), "{never}");
        }
        for hidden in ["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::1"] {
            assert_eq!(of(hidden), Some(Special::Never), "{hidden}");
        }
        assert_eq!(of("203.0.113.80"), None);
        // Where loopback is down it is nobody's.
        let loopback = (Ipv4Addr::LOCALHOST, 9);
        let up = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|any| any.connect(loopback));
        assert_eq!(is_own(IpAddr::V4(Ipv4Addr::LOCALHOST)), up.is_ok());
    }

    #[test]
    fn wide_rules_do_not_name_them() {
        assert!(!named("0.0.0.0/0", "127.0.0.1") && !named("0.0.0.0/0", "169.254.169.254"));
        assert!(!named("::/0", "fe80::1") && !named("fd00::/8", "fd00:ec2::254"));
        assert!(named("127.0.0.0/8", "127.0.0.1") && named("169.254.0.0/16", "169.254.169.254"));
        assert!(named("fd00:ec2::254/128", "fd00:ec2::254") && named("fe80::/10", "fe80::1"));
    }
}
