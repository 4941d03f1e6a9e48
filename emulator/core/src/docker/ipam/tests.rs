//! Rows of `docker-networking.md` §9 and moby's own address tables that concern subnets and addresses.

use proptest::prelude::*;

use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|t| net(t)).collect()
}

fn pool(text: &str) -> AddressPool {
    let (base, size) = text.split_once(':').unwrap();
    AddressPool {
        base: net(base),
        size: size.parse().unwrap(),
    }
}

/// A case: what the engine has, what the host has, from which pools, and what comes next.
type Row<'a> = (
    &'a str,
    &'a [&'a str],
    &'a [&'a str],
    &'a [&'a str],
    Option<&'a str>,
);

#[test]
fn dynamic_pools() {
    let rows: &[Row<'_>] = &[
        (
            "4",
            &["192.168.255.0/24"],
            &[],
            &["192.168.0.0/16:24"],
            Some("192.168.0.0/24"),
        ),
        (
            "5",
            &[],
            &["10.0.0.0/7"],
            &["10.0.0.0/8:24", "192.168.0.0/16:24"],
            Some("192.168.0.0/24"),
        ),
        (
            "6",
            &[
                "192.168.0.0/24",
                "192.168.1.0/24",
                "192.168.2.0/23",
                "192.168.4.3/30",
            ],
            &[],
            &["192.168.0.0/16:24"],
            Some("192.168.5.0/24"),
        ),
        ("first", &[], &[], &["10.0.0.0/8:8"], Some("10.0.0.0/8")),
        ("full", &["10.0.0.0/8"], &[], &["10.0.0.0/8:8"], None),
        (
            "around",
            &["10.0.0.0/7"],
            &[],
            &["10.0.0.0/8:16", "20.0.0.0/8:16"],
            Some("20.0.0.0/16"),
        ),
        (
            "last one",
            &["192.168.0.0/17"],
            &["192.168.128.0/18"],
            &["192.168.0.0/16:18"],
            Some("192.168.192.0/18"),
        ),
        (
            "no room for the size",
            &["192.168.128.0/17"],
            &[],
            &["192.168.0.0/16:16"],
            None,
        ),
        (
            "both ends taken",
            &["10.0.0.0/24", "10.0.3.0/24"],
            &[],
            &["10.0.0.0/22:23"],
            None,
        ),
        (
            "overlapping pools",
            &[],
            &[],
            &["10.1.0.0/16:16", "10.0.0.0/8:24"],
            Some("10.0.0.0/24"),
        ),
    ];
    for (case, taken, reserved, pools, expected) in rows {
        let pools: Vec<_> = pools.iter().map(|p| pool(p)).collect();
        let mut ipam = Ipam::new(Engine::V29, &pools, None);
        for subnet in nets(taken) {
            ipam.take(subnet.trunc(), None).unwrap();
        }
        let got = ipam.take_predefined(false, &nets(reserved), None);
        assert_eq!(got.ok(), expected.map(net), "case {case}");
    }
}

#[test]
fn the_default_pools_hold_31_subnets() {
    for engine in [Engine::V29, Engine::V20_10] {
        let mut ipam = Ipam::new(engine, &default_pools(), None);
        let all: Vec<_> = core::iter::from_fn(|| ipam.take_predefined(false, &[], None).ok())
            .map(|n| n.to_string())
            .collect();
        assert_eq!(all.len(), 31, "case 2, {engine:?}");
        assert_eq!(all[0], "172.17.0.0/16", "case 1");
        assert_eq!(all[14], "172.31.0.0/16");
        assert_eq!(all[15], "192.168.0.0/20");
        assert_eq!(all[30], "192.168.240.0/20");
    }
}

#[test]
fn a_freed_subnet_comes_back_at_once_since_27_and_last_in_20_10() {
    for (engine, again) in [
        (Engine::V29, "172.18.0.0/16"),
        (Engine::V20_10, "172.20.0.0/16"),
    ] {
        let mut ipam = Ipam::new(engine, &default_pools(), None);
        for _ in 0..3 {
            ipam.take_predefined(false, &[], None).unwrap();
        }
        ipam.give_back(net("172.18.0.0/16"), None);
        let next = ipam.take_predefined(false, &[], None).unwrap();
        assert_eq!(next, net(again), "case 3, {engine:?}");
    }
}

#[test]
fn a_preferred_size_splits_the_pools_anew() {
    let mut ipam = Ipam::new(Engine::V29, &default_pools(), None);
    assert_eq!(
        ipam.take_predefined(false, &[], Some(24)),
        Ok(net("172.17.0.0/24"))
    );
    assert_eq!(
        ipam.take_predefined(false, &[], None),
        Ok(net("172.18.0.0/16"))
    );
    assert_eq!(
        ipam.take_predefined(false, &[], Some(25)),
        Ok(net("172.17.1.0/25"))
    );
    // Too big for a /16, but not for a /14.
    assert_eq!(
        ipam.take_predefined(false, &[], Some(14)),
        Ok(net("172.20.0.0/14"))
    );
}

#[test]
fn ipv6_networks_come_from_the_hosts_own_48() {
    let mut ipam = Ipam::new(Engine::V29, &default_pools(), Some("host"));
    let first = ipam.take_predefined(true, &[], None).unwrap();
    let second = ipam.take_predefined(true, &[], None).unwrap();
    assert!(net("fd00::/8").contains(&first), "case 17");
    assert_eq!((first.prefix_len(), second.prefix_len()), (64, 64));
    assert_eq!(
        ipam.take_address(first, None, None).unwrap(),
        bits::address(true, bits::number(first.network()) + 1)
    );
    let mut old = Ipam::new(Engine::V20_10, &default_pools(), Some("host"));
    assert_eq!(
        old.take_predefined(true, &[], None),
        Err(PoolError::NoMoreSubnets)
    );
}

#[test]
fn explicit_subnets_must_not_overlap_but_ranges_may() {
    let mut ipam = Ipam::new(Engine::V29, &default_pools(), None);
    ipam.take(net("192.168.0.0/16"), None).unwrap();
    let inside = net("192.168.128.0/17");
    assert_eq!(ipam.take(inside, None), Err(PoolError::Overlap), "case 9");
    assert_eq!(ipam.take(net("192.0.0.0/8"), None), Err(PoolError::Overlap));
    // moby issue 46756: with a range nobody checks.
    let range = Some(net("192.168.129.0/24"));
    assert_eq!(ipam.take(inside, range), Ok(()));
    assert_eq!(ipam.take(inside, range), Err(PoolError::Overlap));
    assert_eq!(ipam.take(inside, Some(net("192.168.130.0/24"))), Ok(()));
    ipam.give_back(inside, range);
    ipam.give_back(inside, Some(net("192.168.130.0/24")));
    ipam.give_back(net("192.168.0.0/16"), None);
    assert_eq!(ipam.take(inside, None), Ok(()));
}

#[test]
fn addresses_are_the_lowest_free() {
    let rows: &[(&str, &str, usize, &str, bool)] = &[
        // subnet, how many to ask for, the last of them, is one more refused?
        ("11", "192.168.59.0/24", 254, "192.168.59.254", true),
        ("12", "192.168.0.0/16", 256, "192.168.1.0", false),
        ("12", "192.168.0.0/16", 255, "192.168.0.255", false),
        ("13", "192.168.0.2/31", 2, "192.168.0.3", true),
        ("/32", "192.168.0.2/32", 1, "192.168.0.2", true),
        ("v6", "fd00::/126", 3, "fd00::3", true),
    ];
    for (case, subnet, count, last, full) in rows {
        let mut ipam = Ipam::new(Engine::V29, &[], None);
        ipam.take(net(subnet), None).unwrap();
        let mut got = None;
        for _ in 0..*count {
            got = Some(ipam.take_address(net(subnet), None, None).unwrap());
        }
        assert_eq!(got, Some(last.parse().unwrap()), "case {case}");
        let more = ipam.take_address(net(subnet), None, None);
        assert_eq!(more == Err(AddressError::NoneLeft), *full, "case {case}");
    }
}

#[test]
fn a_range_gives_its_first_and_last_address_too() {
    let mut ipam = Ipam::new(Engine::V29, &[], None);
    let (subnet, range) = (net("10.2.0.0/16"), Some(net("10.2.2.0/24")));
    ipam.take(subnet, range).unwrap();
    let mut ask = |wanted: Option<&str>| {
        ipam.take_address(subnet, range, wanted.map(|w| w.parse().unwrap()))
            .map(|a| a.to_string())
    };
    assert_eq!(ask(Some("10.2.2.1")).unwrap(), "10.2.2.1", "case 14");
    assert_eq!(ask(None).unwrap(), "10.2.2.0", "case 14");
    assert_eq!(ask(None).unwrap(), "10.2.2.2", "case 14");
    assert_eq!(ask(Some("10.2.2.2")), Err(AddressError::InUse));
    assert_eq!(ask(Some("10.2.9.9")).unwrap(), "10.2.9.9");
    assert_eq!(ask(Some("10.3.0.1")), Err(AddressError::OutOfRange));
    ipam.free_address(subnet, "10.2.2.0".parse().unwrap());
    let again = ipam.take_address(subnet, range, None).unwrap();
    assert_eq!(again.to_string(), "10.2.2.0", "case 14");
}

#[test]
fn status_counts_reserved_addresses() {
    let mut ipam = Ipam::new(Engine::V29, &[], None);
    let (subnet, range) = (net("10.9.0.0/24"), Some(net("10.9.0.64/31")));
    ipam.take(subnet, range).unwrap();
    for wanted in ["10.9.0.1", "10.9.0.65", "10.9.0.128"] {
        ipam.take_address(subnet, range, Some(wanted.parse().unwrap()))
            .unwrap();
    }
    assert_eq!(ipam.status(subnet, range), (5, 1), "case 15");
    ipam.take_address(subnet, range, None).unwrap();
    assert_eq!(ipam.status(subnet, range), (6, 0), "case 15");
    ipam.take_address(subnet, range, Some("10.9.0.129".parse().unwrap()))
        .unwrap();
    assert_eq!(ipam.status(subnet, range), (7, 0), "case 15");
}

proptest! {
    /// Subnets in use never overlap as long as nobody asks with a range; what is given back can be
    /// had again.
    #[test]
    fn pools_never_overlap(
        ops in prop::collection::vec((0u8..3, 0u32..64, 18u8..30), 1..60),
        old: bool,
    ) {
        let engine = if old { Engine::V20_10 } else { Engine::V29 };
        let mut ipam = Ipam::new(engine, &[pool("10.0.0.0/18:24")], None);
        let mut held: Vec<IpNet> = Vec::new();
        for (op, place, len) in ops {
            match op {
                0 => {
                    let subnet = bits::subnet(false, 0x0a00_0000 + u128::from(place) * 64, len).unwrap().trunc();
                    let free = !held.iter().any(|h| bits::overlap(h, &subnet));
                    prop_assert_eq!(ipam.take(subnet, None).is_ok(), free);
                    if free { held.push(subnet); }
                }
                1 => if let Ok(subnet) = ipam.take_predefined(false, &[], None) {
                    prop_assert!(!held.iter().any(|h| bits::overlap(h, &subnet)));
                    held.push(subnet);
                } else {
                    let room = (0..64).any(|i| {
                        let s = bits::subnet(false, 0x0a00_0000 + i * 256, 24).unwrap();
                        !held.iter().any(|h| bits::overlap(h, &s))
                    });
                    prop_assert!(!room, "refused though a /24 is free");
                },
                _ => if !held.is_empty() {
                    let subnet = held.swap_remove(place as usize % held.len());
                    ipam.give_back(subnet, None);
                },
            }
        }
    }
}
