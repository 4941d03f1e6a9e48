//! What a machine that joins a network has to know of it.

use core::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// A network, as its router and its servers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The MAC from which answers come.
    pub mac: [u8; 6],
    /// The MTU in bytes.
    pub mtu: u16,
    /// IPv4, if the network has it.
    pub v4: Option<V4>,
    /// IPv6, if the network has it.
    pub v6: Option<V6>,
}

/// Its IPv4 side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V4 {
    /// The subnet.
    pub net: Ipv4Net,
    /// The address of the DHCP server.
    pub server: Ipv4Addr,
    /// The default router, if there is a way out.
    pub router: Option<Ipv4Addr>,
    /// The DNS server.
    pub dns: Option<Ipv4Addr>,
    /// The domain in which short names are looked up; empty without one.
    pub domain: String,
}

/// Its IPv6 side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V6 {
    /// The prefix; machines make themselves an address in it if it is one of 64 bits.
    pub prefix: Ipv6Net,
    /// The router's address on the link.
    pub link_local: Ipv6Addr,
    /// It is a default router: there is a way out.
    pub router: bool,
    /// The DNS server.
    pub dns: Option<Ipv6Addr>,
}
