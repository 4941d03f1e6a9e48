//! The host's uplink as it is to be: its addresses, its gateways, its MTU, and who else is on its segment.
//!
//! A real machine is known by its own addresses only, so the others get some that fit: `lan` the tenth address
//! of the host's prefix, a gateway that nobody named the second, or the next ones that are free. A prefix
//! without room (a /31, a /32 of a cloud) has them beside it, reached by routes of their own.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::outside::{v4, v6};

/// Where `lan` would like to be in the host's prefix.
const LAN: u32 = 9;
/// Where a gateway is that nobody named.
const GATEWAY: u32 = 1;
/// How far beyond that a free address is looked for.
const SEARCH: u32 = 246;
/// The length of the prefix of link-local addresses.
const LINK_LOCAL: u8 = 64;
/// The least MTU with which an interface has IPv6, in bytes (RFC 8200 §5).
pub(crate) const IPV6_MTU: u32 = 1280;

/// The host's uplink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// The interface's name.
    pub name: String,
    /// The MTU of every interface on its segment, in bytes.
    pub mtu: u32,
    /// The host's addresses on it. Below an MTU of 1,280 those of IPv6 are left out, as Linux does.
    pub addresses: Vec<IpNet>,
    /// The next hops of the host's default routes, at most one a family, link-local ones too; a router that
    /// nobody named gets an address that is free.
    pub gateways: Vec<IpAddr>,
    /// Whether the host has a default route, for IPv4 and for IPv6.
    pub leads_out: [bool; 2],
    /// Addresses of the host on interfaces that lead nowhere here, such as a VPN's: the name of each and its
    /// addresses.
    pub others: Vec<(String, Vec<IpNet>)>,
}

impl Default for Uplink {
    fn default() -> Self {
        let addresses = [
            v4([192, 0, 2, 2], 24),
            v6([0x2001, 0xdb8, 0, 1, 0, 0, 0, 2], 64),
        ];
        let gateways = [
            v4([192, 0, 2, 1], 24),
            v6([0x2001, 0xdb8, 0, 1, 0, 0, 0, 1], 64),
        ];
        Self {
            name: "eth0".to_owned(),
            mtu: 1500,
            addresses: addresses.to_vec(),
            gateways: gateways.map(|gateway| gateway.addr()).to_vec(),
            leads_out: [true; 2],
            others: Vec::new(),
        }
    }
}

/// One family of the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Family {
    /// The host's addresses, the one that it calls the gateway from first.
    pub(crate) host: Vec<IpNet>,
    /// Another machine's.
    pub(crate) lan: IpNet,
    /// The router's.
    pub(crate) gateway: IpNet,
    /// Where the host's default route leads, if it has one: the router by this address.
    pub(crate) next_hop: Option<IpAddr>,
}

impl Family {
    /// All of the router's addresses.
    pub(crate) fn router(&self) -> Vec<IpNet> {
        let local = self.next_hop.filter(|hop| *hop != self.gateway.addr());
        let local = local.and_then(|hop| IpNet::new(hop, LINK_LOCAL).ok());
        core::iter::once(self.gateway).chain(local).collect()
    }

    /// The addresses of everybody.
    fn everybody(&self) -> impl Iterator<Item = IpNet> {
        let own = self.host.iter().copied();
        own.chain([self.lan, self.gateway])
    }

    /// Those that are not in one of these prefixes: each needs a route of its own.
    pub(crate) fn beside(&self, own: &[IpNet]) -> Vec<IpNet> {
        let others = self.everybody().map(|net| net.addr());
        others
            .filter(|address| !own.iter().any(|net| net.contains(address)))
            .map(IpNet::from)
            .collect()
    }
}

impl Uplink {
    /// The families that the host has addresses of, IPv4 first.
    pub(crate) fn families(&self) -> Vec<Family> {
        let families = [false, true].into_iter();
        families.filter_map(|v6| self.family(v6)).collect()
    }

    fn family(&self, v6: bool) -> Option<Family> {
        let fits = |address: &IpAddr| address.is_ipv6() == v6;
        let own = self.addresses.iter().copied();
        let mut host: Vec<IpNet> = own.filter(|net| fits(&net.addr())).collect();
        if v6 && self.mtu < IPV6_MTU {
            return None;
        }
        // A gateway of the host's own address is nobody else.
        let mut stated = self.gateways.iter().copied().filter(fits);
        let stated = stated.find(|gateway| host.iter().all(|net| net.addr() != *gateway));
        let local = stated.filter(|gateway| is_link_local(*gateway));
        let named = stated.filter(|gateway| !is_link_local(*gateway));
        if let Some(gateway) = named {
            host.sort_by_key(|net| !net.contains(&gateway));
        }
        let first = *host.first()?;
        let mut taken: Vec<IpAddr> = host.iter().map(IpNet::addr).collect();
        taken.extend(named);
        let others = self.others.iter().flat_map(|(_, nets)| nets);
        taken.extend(others.map(IpNet::addr));
        let lan = free(first, LAN, &taken);
        taken.push(lan.addr());
        let gateway = match named {
            Some(gateway) if first.contains(&gateway) => within(gateway, first),
            Some(gateway) => IpNet::from(gateway),
            None => free(first, GATEWAY, &taken),
        };
        let leads_out = self.leads_out[usize::from(v6)];
        Some(Family {
            host,
            lan,
            gateway,
            next_hop: leads_out.then(|| local.unwrap_or_else(|| gateway.addr())),
        })
    }

    /// The router's addresses on the segment, IPv4 first.
    #[must_use]
    pub fn router(&self) -> Vec<IpAddr> {
        let families = self.families();
        families
            .iter()
            .map(|family| family.gateway.addr())
            .collect()
    }
}

const fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// The address with the length of a prefix.
fn within(address: IpAddr, prefix: IpNet) -> IpNet {
    IpNet::new(address, prefix.prefix_len()).unwrap_or(prefix)
}

/// The first address of a prefix from its `from`th on that nobody has taken; beside the prefix if it has none.
fn free(prefix: IpNet, from: u32, taken: &[IpAddr]) -> IpNet {
    let fits = |address: &IpAddr| {
        let edge = prefix.network() == *address || prefix.broadcast() == *address;
        prefix.contains(address) && !edge && !taken.contains(address)
    };
    let mut inside = candidates(prefix.network(), from);
    if let Some(address) = inside.find(fits) {
        return within(address, prefix);
    }
    let length = if prefix.addr().is_ipv4() { 24 } else { 64 };
    let near = IpNet::new(prefix.addr(), length).unwrap_or(prefix);
    let mut beside = candidates(near.network(), from);
    let address = beside.find(|address| !prefix.contains(address) && !taken.contains(address));
    IpNet::from(address.unwrap_or_else(|| near.broadcast()))
}

/// The addresses from the `from`th of a network on, then those before it; the first is the router's.
fn candidates(network: IpAddr, from: u32) -> impl Iterator<Item = IpAddr> {
    (from..from + SEARCH)
        .chain(GATEWAY + 1..from)
        .map(move |number| match network {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().wrapping_add(number)).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().wrapping_add(number.into())).into(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uplink(addresses: &[&str], gateways: &[&str]) -> Uplink {
        Uplink {
            addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
            gateways: gateways.iter().map(|ip| ip.parse().unwrap()).collect(),
            leads_out: [true, !gateways.is_empty()],
            ..Uplink::default()
        }
    }

    fn drawn(addresses: &[&str], gateways: &[&str]) -> Vec<String> {
        let families = uplink(addresses, gateways).families().into_iter();
        let shown = families.map(|f| {
            let host: Vec<String> = f.host.iter().map(ToString::to_string).collect();
            let out = match f.next_hop {
                Some(hop) if hop != f.gateway.addr() => format!("by {hop}"),
                Some(_) => "out".to_owned(),
                None => "-".to_owned(),
            };
            format!(
                "{} lan {} gateway {} {out}",
                host.join(" "),
                f.lan,
                f.gateway
            )
        });
        shown.collect()
    }

    #[test]
    fn the_usual_segment() {
        assert_eq!(
            drawn(
                &["192.0.2.2/24", "2001:db8:0:1::2/64"],
                &["192.0.2.1", "2001:db8:0:1::1"]
            ),
            [
                "192.0.2.2/24 lan 192.0.2.9/24 gateway 192.0.2.1/24 out",
                "2001:db8:0:1::2/64 lan 2001:db8:0:1::9/64 gateway 2001:db8:0:1::1/64 out",
            ]
        );
    }

    #[test]
    fn others_get_what_is_free() {
        let own = ["10.0.0.9/24", "10.0.0.10/24"];
        assert_eq!(
            drawn(&own, &[]),
            ["10.0.0.9/24 10.0.0.10/24 lan 10.0.0.11/24 gateway 10.0.0.1/24 out"]
        );
        // The address beside the gateway calls it, and lan is there.
        assert_eq!(
            drawn(&["10.9.0.4/24", "10.0.0.4/28"], &["10.0.0.9"]),
            ["10.0.0.4/28 10.9.0.4/24 lan 10.0.0.10/28 gateway 10.0.0.9/28 out"]
        );
    }

    #[test]
    fn a_router_that_is_known_by_its_link_local_address() {
        assert_eq!(
            drawn(&["2001:db8:7::5/64"], &["fe80::1"]),
            ["2001:db8:7::5/64 lan 2001:db8:7::9/64 gateway 2001:db8:7::1/64 by fe80::1"]
        );
        assert_eq!(
            drawn(&["2001:db8:7::5/64"], &[]),
            ["2001:db8:7::5/64 lan 2001:db8:7::9/64 gateway 2001:db8:7::1/64 -"]
        );
    }

    #[test]
    fn a_prefix_without_room() {
        assert_eq!(
            drawn(&["10.128.0.2/32"], &["10.128.0.1"]),
            ["10.128.0.2/32 lan 10.128.0.9/32 gateway 10.128.0.1/32 out"]
        );
        assert_eq!(
            drawn(&["203.0.113.8/31"], &[]),
            ["203.0.113.8/31 lan 203.0.113.10/32 gateway 203.0.113.1/32 out"]
        );
        let families = uplink(&["10.128.0.2/32"], &["172.31.1.1"]).families();
        let beside: Vec<String> = families[0]
            .beside(&families[0].host)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(beside, ["10.128.0.9/32", "172.31.1.1/32"]);
    }

    #[test]
    fn a_small_mtu_has_no_ipv6() {
        let small = Uplink {
            mtu: 1279,
            ..Uplink::default()
        };
        assert_eq!(small.families().len(), 1);
        assert_eq!(Uplink::default().families().len(), 2);
    }
}
