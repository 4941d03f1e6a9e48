//! Cases of `address-refused`, `subnet-invalid` and `health-none` beyond the page's examples.

use super::rules::services;
use super::{lines, loaded, look, of};
use crate::world::{Options, World};

/// On a network with this one entry of `ipam.config`.
fn at(address: &str, entry: &str) -> Vec<String> {
    let fixed = format!("networks: {{n: {{ipv4_address: {address}}}}}");
    let rest = format!("networks: {{n: {{ipam: {{config: [{entry}]}}}}}}\n");
    let text = services(&[("a", fixed.as_str())], &rest);
    of(&look(&text), "address-refused")
}

#[test]
fn addresses_that_a_network_never_gives() {
    let subnet = "{subnet: 10.89.0.0/24, aux_addresses: {router: 10.89.0.9}}";
    for (address, whose) in [
        ("10.89.0.0", "that of the subnet itself"),
        ("10.89.0.1", "the gateway's"),
        ("10.89.0.9", "reserved as router by `aux_addresses`"),
        ("10.89.0.255", "the broadcast address"),
    ] {
        let said = format!("a does not start: {address} is {whose} on n, so it is already in use");
        assert_eq!(at(address, subnet), [said]);
    }
    assert_eq!(at("10.89.0.2", subnet), Vec::<String>::new());
    let outside = "a does not start: no subnet of n (10.89.0.0/24) contains 10.88.0.2";
    assert_eq!(at("10.88.0.2", subnet), [outside]);
    // A written gateway frees the first address; a range moves an unwritten one.
    let written = "{subnet: 10.89.0.0/24, gateway: 10.89.0.7}";
    assert_eq!(at("10.89.0.1", written), Vec::<String>::new());
    assert_eq!(at("10.89.0.7", written).len(), 1);
    let range = "{subnet: 10.89.0.0/24, ip_range: 10.89.0.64/26}";
    assert_eq!(at("10.89.0.1", range), Vec::<String>::new());
    assert_eq!(at("10.89.0.64", range).len(), 1);
    // All of a /31 are hosts, of which the gateway is one.
    let pair = "{subnet: 10.89.0.0/31}";
    assert_eq!(at("10.89.0.0", pair).len(), 1);
    assert_eq!(at("10.89.0.1", pair), Vec::<String>::new());
}

#[test]
fn the_engine_refuses_those_addresses_too() {
    for (address, entry) in [
        ("10.89.0.0", "{subnet: 10.89.0.0/24}"),
        ("10.89.0.1", "{subnet: 10.89.0.0/24}"),
        ("10.89.0.2", "{subnet: 10.89.0.0/24}"),
        ("10.89.0.255", "{subnet: 10.89.0.0/24}"),
        ("10.89.1.0", "{subnet: 10.89.0.0/24}"),
        ("10.89.0.0", "{subnet: 10.89.0.0/31}"),
        ("10.89.0.1", "{subnet: 10.89.0.0/31}"),
        (
            "10.89.0.64",
            "{subnet: 10.89.0.0/24, ip_range: 10.89.0.64/26}",
        ),
        (
            "10.89.0.1",
            "{subnet: 10.89.0.0/24, ip_range: 10.89.0.64/26}",
        ),
    ] {
        let fixed = format!("networks: {{n: {{ipv4_address: {address}}}}}");
        let rest = format!("networks: {{n: {{ipam: {{config: [{entry}]}}}}}}\n");
        let text = services(&[("a", fixed.as_str())], &rest);
        let project = loaded(&text).project;
        let world = World::with(&project, &Options::default()).expect("a world");
        let starts = world.up[0].1.is_complete();
        assert_eq!(starts, at(address, entry).is_empty(), "{address} {entry}");
    }
}

#[test]
fn an_address_for_two() {
    let two = |first: &str, second: &str| {
        let rest = "networks: {n: {ipam: {config: [{subnet: 10.89.0.0/24}]}}}\n";
        let text = services(&[("a", first), ("b", second)], rest);
        of(&look(&text), "address-refused")
    };
    let fixed = "networks: {n: {ipv4_address: 10.89.0.5}}";
    let both =
        "a and b both want 10.89.0.5: the second one does not start, the address is already in use";
    assert_eq!(two(fixed, fixed), [both]);
    let none = Vec::<String>::new();
    assert_eq!(two(fixed, "networks: {n: {ipv4_address: 10.89.0.6}}"), none);
    let (x, y) = (
        format!("{fixed}, profiles: [x]"),
        format!("{fixed}, profiles: [y]"),
    );
    assert_eq!(two(&x, &y), none);
    let scaled = format!("{fixed}, scale: 2");
    let one = "b has 2 containers and one address, 10.89.0.5: only one of them starts";
    assert_eq!(two("scale: 1", &scaled), [one]);
}

#[test]
fn an_address_on_a_network_whose_subnet_nobody_knows() {
    let on = |network: &str| {
        let fixed = "networks: {n: {ipv4_address: 172.18.0.5}}";
        let text = services(
            &[("a", fixed)],
            &format!("networks: {{n: {{{network}}}}}\n"),
        );
        lines(&look(&text))
    };
    assert_eq!(on(""), ["2 address-refused warning"]);
    let any = "ipam: {config: [{subnet: 0.0.0.0/24}]}";
    assert_eq!(on(any), ["2 address-refused warning"]);
    assert_eq!(on("external: true"), Vec::<String>::new());
    assert_eq!(on("driver: overlay"), Vec::<String>::new());
}

#[test]
fn subnets_that_no_network_is_made_with() {
    let with = |entry: &str| {
        let rest = format!("networks: {{n: {{ipam: {{config: [{entry}]}}}}}}\n");
        of(
            &look(&services(&[("a", "networks: [n]")], &rest)),
            "subnet-invalid",
        )
    };
    assert_eq!(
        with("{subnet: 10.89.0.1/24, gateway: 10.88.0.1}"),
        [
            "n is not made: invalid subnet 10.89.0.1/24: it should be 10.89.0.0/24; invalid gateway 10.88.0.1: parent subnet 10.89.0.1/24 doesn't contain this address"
        ]
    );
    assert_eq!(
        with("{subnet: 10.89.0.0/24}, {gateway: 10.89.0.1}"),
        ["n is not made: invalid subnet : invalid CIDR block notation"]
    );
    assert_eq!(with("{subnet: 10.89.0.0/24}"), Vec::<String>::new());
    // Of a family that the network has not.
    assert_eq!(
        with("{subnet: 10.89.0.0/24}, {subnet: 'fd00::1/64'}"),
        Vec::<String>::new()
    );
}

#[test]
fn who_waits_for_a_health_that_is_never_told() {
    let with = |image: &str, health: &str| {
        let text = format!(
            "services:\n  web:\n    image: nginx\n    depends_on: {{db: {{condition: service_healthy}}}}\n  db:\n    {image}\n{health}"
        );
        let found = lines(&look(&text));
        let found = found
            .into_iter()
            .filter(|line| line.contains("health-none"));
        found.collect::<Vec<_>>()
    };
    let off = "    healthcheck: {disable: true}\n";
    assert_eq!(with("image: acme/db", off), ["4 health-none error"]);
    let none = "    healthcheck: {test: [NONE]}\n";
    assert_eq!(with("image: acme/db", none), ["4 health-none error"]);
    assert_eq!(with("image: postgres", ""), ["4 health-none warning"]);
    let nothing = Vec::<String>::new();
    assert_eq!(with("image: acme/db", ""), nothing);
    assert_eq!(with("image: postgres\n    build: .", ""), nothing);
    let test = "    healthcheck: {test: pg_isready}\n";
    assert_eq!(with("image: postgres", test), nothing);
}
