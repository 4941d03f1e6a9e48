//! Addresses and subnets as numbers: both families in 128 bits.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The number of an address within its family.
#[must_use]
pub fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The address of a number; for IPv4 the low 32 bits count.
#[must_use]
pub fn address(v6: bool, n: u128) -> IpAddr {
    if v6 {
        IpAddr::V6(Ipv6Addr::from(n))
    } else {
        IpAddr::V4(Ipv4Addr::from(n as u32))
    }
}

/// The first and last number of a subnet.
#[must_use]
pub fn span(net: IpNet) -> (u128, u128) {
    (number(net.network()), number(net.broadcast()))
}

/// The subnet of `len` bits that starts at `n`; `None` if `len` is too long for the family.
#[must_use]
pub fn subnet(v6: bool, n: u128, len: u8) -> Option<IpNet> {
    match address(v6, n) {
        IpAddr::V4(a) => Ipv4Net::new(a, len).ok().map(IpNet::V4),
        IpAddr::V6(a) => Ipv6Net::new(a, len).ok().map(IpNet::V6),
    }
}

/// Whether the net is of IPv6.
#[must_use]
pub const fn is_v6(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(_))
}

/// Whether two subnets share an address.
#[must_use]
pub fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// How many subnets of `size` bits a net of `len` bits holds; 0 if `size` is shorter.
#[must_use]
pub const fn split(len: u8, size: u8) -> u128 {
    match size.checked_sub(len) {
        Some(bits) if bits < 128 => 1 << bits,
        Some(_) => u128::MAX,
        None => 0,
    }
}

/// How many numbers a subnet of `size` bits has; saturates at 2¹²⁸ − 1.
#[must_use]
pub const fn step(v6: bool, size: u8) -> u128 {
    let width: u8 = if v6 { 128 } else { 32 };
    match width.checked_sub(size) {
        Some(bits) if bits < 128 => 1 << bits,
        Some(_) => u128::MAX,
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_subnets() {
        let net: IpNet = "192.168.0.0/16".parse().unwrap();
        assert_eq!(span(net), (0xc0a8_0000, 0xc0a8_ffff));
        assert_eq!(split(16, 20), 16);
        assert_eq!(split(20, 16), 0);
        assert_eq!(step(false, 20), 4096);
        assert_eq!(step(true, 0), u128::MAX);
        assert_eq!(
            subnet(false, 0xc0a8_1000, 20).unwrap().to_string(),
            "192.168.16.0/20"
        );
        assert_eq!(subnet(false, 0, 33), None);
        assert!(overlap(&net, &"192.168.4.0/30".parse().unwrap()));
        assert!(!overlap(&net, &"192.169.0.0/16".parse().unwrap()));
        assert!(!overlap(&"::/0".parse().unwrap(), &net));
    }
}
