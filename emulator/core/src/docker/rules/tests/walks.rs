//! Who gets through, as which source: the tables of Docker's behaviour as walks through the hooks.

use super::world::{Fate, From, HOST, LAN, UPLINK, World, network};
use super::*;
use crate::docker::plumb::GatewayMode;
use crate::docker::spec::Proto;
use switch::DropReason;

fn to(container: &str, sees: &str) -> Fate {
    Fate::Container(container.parse().unwrap(), sees.parse().unwrap())
}

fn host(sees: &str) -> Fate {
    Fate::Host(sees.parse().unwrap())
}

fn out(sees: &str) -> Fate {
    Fate::Out(sees.parse().unwrap())
}

const DIRECT: Fate = Fate::Dropped(DropReason::FilteredDirect);
const UNPUBLISHED: Fate = Fate::Dropped(DropReason::FilteredUnpublished);
const ISOLATION: Fate = Fate::Dropped(DropReason::FilteredIsolation);
const INTERNAL: Fate = Fate::Dropped(DropReason::FilteredInternal);
const ICC: Fate = Fate::Dropped(DropReason::FilteredIcc);

/// Member .2 of network 2 publishes 8080 as 80, in both families.
fn published(engine: Engine, proxy: bool) -> World {
    let mut world = World::new(engine, proxy);
    world.set(1, network(1));
    world.set(2, network(2));
    world.publish(2, 2, &["0.0.0.0:8080->80", "[::]:8080->80"]);
    world
}

const NEIGHBOUR: From = From::Container(2, "172.18.0.3");
const SERVER: From = From::Container(2, "172.18.0.2");
const OTHER: From = From::Container(1, "172.17.0.2");
const NEIGHBOUR_6: From = From::Container(2, "fd00:0:0:2::3");
const OTHER_6: From = From::Container(1, "fd00:0:0:1::2");
const LAN_6: From = From::Wire("2001:db8:0:1::9");
const HOST_6: From = From::Host("2001:db8:0:1::2");
/// What the server is called when its port is published.
const S: &str = "172.18.0.2:80";
const S_6: &str = "[fd00:0:0:2::2]:80";

#[test]
fn published_ports_with_the_proxy() {
    for (from, dst, expected) in [
        (LAN, "192.0.2.2:8080", to(S, "192.0.2.9")),
        (From::Host("127.0.0.1"), "127.0.0.1:8080", host("127.0.0.1")),
        (HOST, "192.0.2.2:8080", to(S, "192.0.2.2")),
        (HOST, "172.18.0.1:8080", to(S, "192.0.2.2")),
        (NEIGHBOUR, "192.0.2.2:8080", host("172.18.0.3")),
        (NEIGHBOUR, "172.18.0.1:8080", host("172.18.0.3")),
        (SERVER, "192.0.2.2:8080", host("172.18.0.2")),
        (OTHER, "192.0.2.2:8080", to(S, "172.18.0.1")),
        (OTHER, "172.17.0.1:8080", to(S, "172.18.0.1")),
        (OTHER, "172.18.0.1:8080", to(S, "172.18.0.1")),
        (OTHER, "172.18.0.2:80", DIRECT),
        (OTHER, "172.18.0.3:80", UNPUBLISHED),
        (
            From::Host("172.18.0.1"),
            "172.18.0.2:81",
            to("172.18.0.2:81", "172.18.0.1"),
        ),
        (
            NEIGHBOUR,
            "172.18.0.2:81",
            to("172.18.0.2:81", "172.18.0.3"),
        ),
        (LAN, "192.0.2.2:22", host("192.0.2.9")),
        (OTHER, "172.18.0.1:22", host("172.17.0.2")),
        (OTHER, "198.51.100.7:80", out("192.0.2.2")),
        // IPv6.
        (LAN_6, "[2001:db8:0:1::2]:8080", to(S_6, "2001:db8:0:1::9")),
        (HOST_6, "[2001:db8:0:1::2]:8080", to(S_6, "2001:db8:0:1::2")),
        (From::Host("::1"), "[::1]:8080", host("::1")),
        (NEIGHBOUR_6, "[2001:db8:0:1::2]:8080", host("fd00:0:0:2::3")),
        (OTHER_6, "[2001:db8:0:1::2]:8080", to(S_6, "fd00:0:0:2::1")),
        (OTHER_6, "[fd00:0:0:2::2]:80", DIRECT),
        (OTHER_6, "[2001:db8:ffff::7]:80", out("2001:db8:0:1::2")),
    ] {
        let mut world = published(Engine::V29, true);
        assert_eq!(world.reach(from, dst), expected, "{from:?} → {dst}");
    }
}

#[test]
fn published_ports_without_the_proxy() {
    for (from, dst, expected) in [
        (LAN, "192.0.2.2:8080", to(S, "192.0.2.9")),
        (
            From::Host("127.0.0.1"),
            "127.0.0.1:8080",
            to(S, "172.18.0.1"),
        ),
        (HOST, "192.0.2.2:8080", to(S, "172.18.0.1")),
        (NEIGHBOUR, "192.0.2.2:8080", to(S, "172.18.0.3")),
        (NEIGHBOUR, "172.18.0.1:8080", to(S, "172.18.0.3")),
        (SERVER, "192.0.2.2:8080", to(S, "172.18.0.1")),
        (OTHER, "192.0.2.2:8080", to(S, "172.18.0.1")),
        (OTHER, "172.18.0.2:80", DIRECT),
        (LAN_6, "[2001:db8:0:1::2]:8080", to(S_6, "2001:db8:0:1::9")),
        (From::Host("::1"), "[::1]:8080", host("::1")),
        (HOST_6, "[2001:db8:0:1::2]:8080", to(S_6, "fd00:0:0:2::1")),
    ] {
        let mut world = published(Engine::V29, false);
        assert_eq!(world.reach(from, dst), expected, "{from:?} → {dst}");
    }
}

/// What another machine reaches of a container's own address: ping, published, unpublished.
#[test]
fn gateway_modes() {
    let open = |port| Fate::Container(format!("172.18.0.2:{port}").parse().unwrap(), ip(LAN));
    fn ip(from: From) -> IpAddr {
        let (From::Wire(text) | From::Host(text) | From::Container(_, text)) = from;
        text.parse().unwrap()
    }
    for (mode, ping, used, unused) in [
        (GatewayMode::Nat, DIRECT, DIRECT, DIRECT),
        (GatewayMode::NatUnprotected, open(0), open(80), open(81)),
        (GatewayMode::Routed, open(0), open(80), UNPUBLISHED),
    ] {
        let mut world = World::new(Engine::V29, true);
        world.set(1, network(1));
        let mut rules = network(2);
        rules.gateway_mode_v4 = mode;
        world.set(2, rules);
        let routed = mode == GatewayMode::Routed;
        let port = if routed {
            "0.0.0.0:0->80"
        } else {
            "0.0.0.0:8080->80"
        };
        world.publish(2, 2, &[port]);
        assert_eq!(world.ping(LAN, "172.18.0.2"), ping, "{mode:?}");
        assert_eq!(world.reach(LAN, "172.18.0.2:80"), used, "{mode:?}");
        assert_eq!(world.reach(LAN, "172.18.0.2:81"), unused, "{mode:?}");
        let by_host = if routed {
            host("192.0.2.9")
        } else {
            to(S, "192.0.2.9")
        };
        assert_eq!(world.reach(LAN, "192.0.2.2:8080"), by_host, "{mode:?}");
        let source = if routed { "172.18.0.2" } else { "192.0.2.2" };
        let outside = world.reach(SERVER, "198.51.100.7:80");
        assert_eq!(outside, out(source), "{mode:?}");
    }
}

/// What comes by a trusted interface goes to published ports of containers' own addresses, nothing else does.
#[test]
fn trusted_interfaces() {
    for masquerade in [true, false] {
        let mut world = World::new(Engine::V29, true);
        world.set(1, network(1));
        let mut rules = network(2);
        rules.trusted = vec![UPLINK];
        rules.masquerade = masquerade;
        world.set(2, rules);
        world.publish(2, 2, &["0.0.0.0:8080->80"]);
        assert_eq!(
            world.reach(LAN, "172.18.0.2:80"),
            to("172.18.0.2:80", "192.0.2.9")
        );
        assert_eq!(world.reach(LAN, "172.18.0.2:81"), UNPUBLISHED);
        assert_eq!(world.reach(OTHER, "172.18.0.2:80"), DIRECT);
        assert_eq!(world.reach(OTHER, "172.18.0.3:80"), DIRECT);
        assert_eq!(world.reach(OTHER, "172.18.0.1:22"), host("172.17.0.2"));
    }
}

/// Between a NAT and a routed network: there by ping and open port, not back.
#[test]
fn nat_and_routed_networks() {
    let mut world = World::new(Engine::V29, true);
    world.set(1, network(1));
    let mut routed = network(2);
    routed.gateway_mode_v4 = GatewayMode::Routed;
    world.set(2, routed);
    world.publish(1, 2, &["0.0.0.0:8081->80"]);
    world.publish(2, 2, &["0.0.0.0:0->80"]);
    let gateway = "172.18.0.1".parse().unwrap();
    let reached = world.ping(OTHER, "172.18.0.2");
    assert_eq!(
        reached,
        Fate::Container("172.18.0.2:0".parse().unwrap(), gateway)
    );
    assert_eq!(world.reach(OTHER, S), to(S, "172.18.0.1"));
    assert_eq!(world.reach(OTHER, "172.18.0.2:81"), UNPUBLISHED);
    assert_eq!(world.ping(SERVER, "172.17.0.2"), DIRECT);
    assert_eq!(world.reach(SERVER, "172.17.0.2:80"), DIRECT);
    assert_eq!(world.reach(SERVER, "172.17.0.2:81"), DIRECT);
}

#[test]
fn a_port_on_a_loopback_address() {
    let mut world = World::new(Engine::V29, true);
    world.set(1, network(1));
    world.set(2, network(2));
    world.publish(2, 2, &["127.0.0.2:8080->80"]);
    let own = From::Host("127.0.0.1");
    assert_eq!(world.reach(own, "127.0.0.2:8080"), host("127.0.0.1"));
    assert_eq!(world.reach(LAN, "127.0.0.2:8080"), DIRECT);
    assert_eq!(world.reach(OTHER, "127.0.0.2:8080"), DIRECT);
    assert_eq!(world.reach(LAN, "192.0.2.2:8080"), host("192.0.2.9"));
}

#[test]
fn internal_networks() {
    for engine in [Engine::V29, Engine::V20_10] {
        let mut world = World::new(engine, true);
        world.set(1, network(1));
        let mut internal = network(2);
        internal.internal = true;
        world.set(2, internal);
        world.publish(2, 2, &["0.0.0.0:8080->80"]);
        for (from, dst, expected) in [
            (NEIGHBOUR, S, to(S, "172.18.0.3")),
            (NEIGHBOUR, "172.18.0.1:22", host("172.18.0.3")),
            (NEIGHBOUR, "198.51.100.7:80", INTERNAL),
            (NEIGHBOUR, "172.17.0.2:80", INTERNAL),
            (OTHER, S, INTERNAL),
            (LAN, S, INTERNAL),
            (LAN, "192.0.2.2:8080", host("192.0.2.9")),
            (From::Host("172.18.0.1"), S, to(S, "172.18.0.1")),
        ] {
            let found = world.reach(from, dst);
            assert_eq!(found, expected, "{engine:?} {from:?} → {dst}");
        }
    }
}

#[test]
fn icc_off_and_links() {
    for engine in [Engine::V29, Engine::V20_10] {
        let mut world = World::new(engine, true);
        let mut quiet = network(2);
        quiet.icc = false;
        world.set(1, network(1));
        world.set(2, quiet);
        world.publish(2, 2, &["0.0.0.0:8080->80"]);
        assert_eq!(world.reach(NEIGHBOUR, S), ICC, "{engine:?}");
        assert_eq!(world.ping(NEIGHBOUR, "172.18.0.2"), ICC, "{engine:?}");
        let proxied = world.reach(NEIGHBOUR, "192.0.2.2:8080");
        assert_eq!(proxied, host("172.18.0.3"), "{engine:?}");
        assert_eq!(world.reach(LAN, "192.0.2.2:8080"), to(S, "192.0.2.9"));
        assert_eq!(world.reach(NEIGHBOUR, "198.51.100.7:80"), out("192.0.2.2"));
        world.links(2, &[(3, 2, 5432)]);
        let linked = "172.18.0.2:5432";
        assert_eq!(world.reach(NEIGHBOUR, linked), to(linked, "172.18.0.3"));
        assert_eq!(world.ping(NEIGHBOUR, "172.18.0.2"), ICC);
        assert_eq!(world.reach(SERVER, "172.18.0.3:5432"), ICC, "one way");
        world.links(2, &[]);
        assert_eq!(world.reach(NEIGHBOUR, linked), ICC);
    }
}

/// Docker 20.10 as the records have it (h03, h13, h36, h57).
#[test]
fn docker_20_10_with_the_proxy() {
    for (from, dst, expected) in [
        (LAN, "192.0.2.2:8080", to(S, "192.0.2.9")),
        (LAN, "172.18.0.1:8080", to(S, "192.0.2.9")),
        (LAN, S, to(S, "192.0.2.9")),
        (LAN, "172.18.0.2:81", UNPUBLISHED),
        (HOST, "192.0.2.2:8080", to(S, "192.0.2.2")),
        (From::Host("172.18.0.1"), "172.18.0.1:22", host("192.0.2.2")),
        (NEIGHBOUR, "192.0.2.2:8080", host("172.18.0.3")),
        (SERVER, "192.0.2.2:8080", host("172.18.0.2")),
        (OTHER, "192.0.2.2:8080", host("172.17.0.2")),
        (OTHER, "172.18.0.1:8080", host("172.17.0.2")),
        (OTHER, S, ISOLATION),
        (OTHER, "172.18.0.2:81", ISOLATION),
        (OTHER, "198.51.100.7:80", out("192.0.2.2")),
        // ip6tables is off: nothing is filtered or translated.
        (
            OTHER_6,
            "[fd00:0:0:2::2]:81",
            to("[fd00:0:0:2::2]:81", "fd00:0:0:1::2"),
        ),
        (
            LAN_6,
            "[fd00:0:0:2::2]:81",
            to("[fd00:0:0:2::2]:81", "2001:db8:0:1::9"),
        ),
        (LAN_6, "[2001:db8:0:1::2]:8080", host("2001:db8:0:1::9")),
    ] {
        let mut world = published(Engine::V20_10, true);
        assert_eq!(world.reach(from, dst), expected, "{from:?} → {dst}");
    }
}

#[test]
fn docker_20_10_without_the_proxy() {
    for (from, dst, expected) in [
        (LAN, "192.0.2.2:8080", to(S, "192.0.2.9")),
        (HOST, "192.0.2.2:8080", to(S, "172.18.0.1")),
        (
            From::Host("127.0.0.1"),
            "127.0.0.1:8080",
            to(S, "172.18.0.1"),
        ),
        (NEIGHBOUR, "192.0.2.2:8080", to(S, "172.18.0.3")),
        (SERVER, "192.0.2.2:8080", to(S, "172.18.0.1")),
        (OTHER, "192.0.2.2:8080", ISOLATION),
    ] {
        let mut world = published(Engine::V20_10, false);
        assert_eq!(world.reach(from, dst), expected, "{from:?} → {dst}");
    }
}

/// A member of an internal network is DNATed towards a published port and dropped on the way (h57).
#[test]
fn an_internal_client_of_a_published_port_in_20_10() {
    let mut world = published(Engine::V20_10, true);
    let mut internal = network(3);
    internal.internal = true;
    world.set(3, internal);
    let client = From::Container(3, "172.19.0.2");
    assert_eq!(world.reach(client, "192.0.2.2:8080"), INTERNAL);
    assert_eq!(world.reach(client, "172.18.0.1:22"), host("172.19.0.2"));
}

#[test]
fn masquerade_off_and_a_given_source() {
    for engine in [Engine::V29, Engine::V20_10] {
        let mut world = World::new(engine, true);
        let mut plain = network(1);
        plain.masquerade = false;
        world.set(1, plain);
        // The answer comes to the container's own address from another interface (raw PREROUTING, Docker 28).
        let fate = match engine {
            Engine::V29 => Fate::Unanswered(DropReason::FilteredDirect),
            Engine::V20_10 => out("172.17.0.2"),
        };
        assert_eq!(world.reach(OTHER, "198.51.100.7:80"), fate);
        let own = world.reach_one_way(OTHER, "198.51.100.7:80");
        assert_eq!(own, Ok("172.17.0.2".parse().unwrap()));
        let mut given = network(2);
        given.host_ipv4 = Some([192, 0, 2, 77].into());
        world.set(2, given);
        let mut bytes_out = |from| world.reach_one_way(from, "198.51.100.7:80");
        assert_eq!(bytes_out(SERVER), Ok("192.0.2.77".parse().unwrap()));
    }
}

/// A mapping between families is the proxy's business alone.
#[test]
fn ipv6_host_addresses_of_an_ipv4_container() {
    let mut world = World::new(Engine::V29, true);
    world.set(1, network(1));
    let before = all_saved(&world);
    let port = Published {
        host_ip: "::".parse().unwrap(),
        host_port: 8080,
        container_ip: "172.17.0.2".parse().unwrap(),
        port: Port {
            number: 80,
            proto: Proto::Tcp,
        },
    };
    world.rules.publish(&mut world.nf, 1, IfId(99), &[port]);
    assert_eq!(all_saved(&world), before);
    assert_eq!(
        world.reach(LAN_6, "[2001:db8:0:1::2]:8080"),
        host("2001:db8:0:1::9")
    );
}
