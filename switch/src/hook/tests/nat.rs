//! Masquerade, publishing, hairpin, loopback, and the ports that connections get.

use super::packets::{ACK, Built, RST, SYN, echo, tcp, udp};
use super::*;

const T0: Time = Time::ZERO;

fn ends(packet: &Built) -> (String, String) {
    packet.ends()
}

fn pair(source: &str, destination: &str) -> (String, String) {
    (source.into(), destination.into())
}

#[test]
fn masquerade_out_and_back_in_both_families() {
    for (inside, outside, host) in [
        ("172.17.0.2:40000", "198.51.100.7:80", "192.0.2.2:40000"),
        (
            "[fd00::2]:40000",
            "[2001:db8:ffff::7]:80",
            "[2001:db8:0:1::2]:40000",
        ),
    ] {
        let mut nf = masquerading(Limits::default());
        let mut syn = tcp(inside, outside, SYN);
        forward(&mut nf, T0, &mut syn, BRIDGE, UPLINK).unwrap();
        assert_eq!(ends(&syn), pair(host, outside));
        let mut answer = tcp(outside, host, SYN | ACK);
        forward(&mut nf, T0, &mut answer, UPLINK, BRIDGE).unwrap();
        assert_eq!(ends(&answer), pair(outside, inside));
        let mut ack = tcp(inside, outside, ACK);
        forward(&mut nf, T0, &mut ack, BRIDGE, UPLINK).unwrap();
        assert_eq!(ends(&ack), pair(host, outside));
        assert_eq!(nf.conntrack.len(), 1);
    }
}

#[test]
fn the_rule_is_asked_once_a_connection() {
    let mut nf = masquerading(Limits::default());
    let asked = ChainId::base(Family::V4, Table::Nat, Hook::Postrouting).unwrap();
    for _ in 0..5 {
        let mut packet = udp("172.17.0.2:5000", "198.51.100.7:53");
        forward(&mut nf, T0, &mut packet, BRIDGE, UPLINK).unwrap();
    }
    let listed = nf.rules.save(Family::V4, Table::Nat, &|_| "br".into());
    assert!(nf.rules.chain(asked).is_some_and(|chain| !chain.is_empty()));
    assert!(listed.contains(&"-A POSTROUTING -s 172.17.0.0/16 ! -o br -j MASQUERADE".into()));
    let counts = nf
        .rules
        .list(Family::V4, Table::Nat, true, &|_| "br".into());
    assert!(counts.contains("    1    33 MASQUERADE"), "{counts}");
}

#[test]
fn a_rewrite_is_reported_where_it_happens() {
    let mut nf = masquerading(Limits::default());
    let mut packet = udp("172.17.0.2:5000", "198.51.100.7:53");
    let before = path(Some(BRIDGE), None);
    let first = nf.run(
        T0,
        Hook::Prerouting,
        &mut packet.bytes,
        false,
        &before,
        &Host,
    );
    assert_eq!(first.rewrite, None);
    let after = path(None, Some(UPLINK));
    let last = nf.run(
        T0,
        Hook::Postrouting,
        &mut packet.bytes,
        false,
        &after,
        &Host,
    );
    assert_eq!(
        last.rewrite.unwrap().to_string(),
        "source 172.17.0.2:5000 → 192.0.2.2:5000"
    );
}

#[test]
fn a_second_holder_of_a_port_gets_one_of_the_same_class() {
    for (port, expected) in [(40_000, 1024), (600, 601), (700, 600), (80, 1)] {
        let mut nf = masquerading(Limits::default());
        let mut got = Vec::new();
        for host in 2..4 {
            let source = format!("172.17.0.{host}:{port}");
            let mut packet = udp(&source, "198.51.100.7:53");
            forward(&mut nf, T0, &mut packet, BRIDGE, UPLINK).unwrap();
            got.push(packet.source().port());
        }
        assert_eq!(got, [port, expected]);
    }
}

#[test]
fn a_translated_source_looks_the_same_to_all_its_peers() {
    let mut nf = masquerading(Limits::default());
    let mut one = udp("172.17.0.2:5000", "198.51.100.7:53");
    let mut two = udp("172.17.0.3:5000", "198.51.100.7:53");
    let mut other_peer = udp("172.17.0.3:5000", "198.51.100.8:53");
    for packet in [&mut one, &mut two, &mut other_peer] {
        forward(&mut nf, T0, packet, BRIDGE, UPLINK).unwrap();
    }
    assert_eq!(two.source().port(), 1024);
    assert_eq!(other_peer.source(), two.source());
}

#[test]
fn a_port_of_the_hosts_own_is_not_used_twice() {
    let mut nf = masquerading(Limits::default());
    let mut own = udp("192.0.2.2:5000", "198.51.100.7:53");
    send(&mut nf, T0, &mut own, UPLINK).unwrap();
    let mut container = udp("172.17.0.2:5000", "198.51.100.7:53");
    forward(&mut nf, T0, &mut container, BRIDGE, UPLINK).unwrap();
    assert_eq!(own.source().port(), 5000);
    assert_ne!(container.source().port(), 5000);
    // And the other way round: the host has to give way.
    let mut container = udp("172.17.0.2:6000", "198.51.100.7:53");
    forward(&mut nf, T0, &mut container, BRIDGE, UPLINK).unwrap();
    let mut own = udp("192.0.2.2:6000", "198.51.100.7:53");
    send(&mut nf, T0, &mut own, UPLINK).unwrap();
    assert_eq!(container.source().port(), 6000);
    assert_ne!(own.source().port(), 6000);
    let back = own.source().to_string();
    let mut answer = udp("198.51.100.7:53", &back);
    deliver(&mut nf, T0, &mut answer, UPLINK).unwrap();
    assert_eq!(answer.destination().to_string(), "192.0.2.2:6000");
}

#[test]
fn echo_identifiers_are_translated_like_ports() {
    for (inside, other, outside, host) in [
        ("172.17.0.2", "172.17.0.3", "198.51.100.7", "192.0.2.2"),
        ("fd00::2", "fd00::3", "2001:db8:ffff::7", "2001:db8:0:1::2"),
    ] {
        let mut nf = masquerading(Limits::default());
        let mut one = echo(inside, outside, 7, false);
        let mut two = echo(other, outside, 7, false);
        forward(&mut nf, T0, &mut one, BRIDGE, UPLINK).unwrap();
        forward(&mut nf, T0, &mut two, BRIDGE, UPLINK).unwrap();
        assert_eq!((one.id(), two.id()), (7, 0));
        let mut answer = echo(outside, host, 0, true);
        forward(&mut nf, T0, &mut answer, UPLINK, BRIDGE).unwrap();
        assert_eq!(answer.id(), 7);
        assert_eq!(answer.packet().destination, ip(other));
    }
}

#[test]
fn a_published_port_is_reached_and_answers_from_the_host() {
    for (client, host, server) in [
        ("192.0.2.9:40000", "192.0.2.2:8080", "172.17.0.2:80"),
        (
            "[2001:db8:0:1::9]:40000",
            "[2001:db8:0:1::2]:8080",
            "[fd00::2]:80",
        ),
    ] {
        let mut nf = masquerading(Limits::default());
        publish(&mut nf);
        let mut syn = tcp(client, host, SYN);
        forward(&mut nf, T0, &mut syn, UPLINK, BRIDGE).unwrap();
        assert_eq!(ends(&syn), pair(client, server));
        let mut answer = tcp(server, client, SYN | ACK);
        forward(&mut nf, T0, &mut answer, BRIDGE, UPLINK).unwrap();
        assert_eq!(
            ends(&answer),
            pair(host, client),
            "not masqueraded: it is an answer"
        );
    }
}

#[test]
fn the_host_reaches_a_published_port_of_its_own_address() {
    let mut nf = masquerading(Limits::default());
    publish(&mut nf);
    let mut syn = tcp("192.0.2.2:40000", "192.0.2.2:8080", SYN);
    send(&mut nf, T0, &mut syn, BRIDGE).unwrap();
    assert_eq!(ends(&syn), pair("192.0.2.2:40000", "172.17.0.2:80"));
    let mut answer = tcp("172.17.0.2:80", "192.0.2.2:40000", SYN | ACK);
    deliver(&mut nf, T0, &mut answer, BRIDGE).unwrap();
    assert_eq!(ends(&answer), pair("192.0.2.2:8080", "192.0.2.2:40000"));
}

#[test]
fn hairpin_to_itself_comes_from_the_gateway() {
    let mut nf = masquerading(Limits::default());
    publish(&mut nf);
    let itself = Match {
        source: Some(net("172.17.0.2/32")),
        destination: Some(net("172.17.0.2/32")),
        ..Match::default()
    };
    add(
        &mut nf,
        Family::V4,
        Table::Nat,
        Hook::Postrouting,
        itself,
        Action::Masquerade,
    );
    let mut syn = tcp("172.17.0.2:40000", "192.0.2.2:8080", SYN);
    forward(&mut nf, T0, &mut syn, BRIDGE, BRIDGE).unwrap();
    assert_eq!(ends(&syn), pair("172.17.0.1:40000", "172.17.0.2:80"));
    let mut answer = tcp("172.17.0.2:80", "172.17.0.1:40000", SYN | ACK);
    forward(&mut nf, T0, &mut answer, BRIDGE, BRIDGE).unwrap();
    assert_eq!(ends(&answer), pair("192.0.2.2:8080", "172.17.0.2:40000"));
    let mut ack = tcp("172.17.0.2:40000", "192.0.2.2:8080", ACK);
    forward(&mut nf, T0, &mut ack, BRIDGE, BRIDGE).unwrap();
    assert_eq!(ends(&ack), pair("172.17.0.1:40000", "172.17.0.2:80"));
}

/// A host process talks to the bridge's address: over lo, and masqueraded on the way.
#[test]
fn traffic_to_itself_is_translated_once() {
    let mut nf = masquerading(Limits::default());
    let mut syn = tcp("172.17.0.1:40000", "172.17.0.1:7777", SYN);
    send(&mut nf, T0, &mut syn, LO).unwrap();
    deliver(&mut nf, T0, &mut syn, LO).unwrap();
    assert_eq!(ends(&syn), pair("192.0.2.2:40000", "172.17.0.1:7777"));
    let mut answer = tcp("172.17.0.1:7777", "192.0.2.2:40000", SYN | ACK);
    send(&mut nf, T0, &mut answer, LO).unwrap();
    deliver(&mut nf, T0, &mut answer, LO).unwrap();
    assert_eq!(ends(&answer), pair("172.17.0.1:7777", "172.17.0.1:40000"));
    assert_eq!(nf.conntrack.len(), 1);
}

/// A port of 127.0.0.11 that is redirected to another port of it, as Docker does inside a sandbox.
#[test]
fn a_redirection_over_lo_answers_from_the_old_port() {
    let mut nf = Netfilter::default();
    let matches = Match {
        destination: Some(net("127.0.0.11/32")),
        protocol: Some(17),
        destination_port: Some(53),
        ..Match::default()
    };
    let to = Action::Dnat(ip("127.0.0.11"), Some(45_000));
    add(&mut nf, Family::V4, Table::Nat, Hook::Output, matches, to);
    for _ in 0..2 {
        let mut query = udp("127.0.0.1:5000", "127.0.0.11:53");
        send(&mut nf, T0, &mut query, LO).unwrap();
        deliver(&mut nf, T0, &mut query, LO).unwrap();
        assert_eq!(ends(&query), pair("127.0.0.1:5000", "127.0.0.11:45000"));
        let mut answer = udp("127.0.0.11:45000", "127.0.0.1:5000");
        send(&mut nf, T0, &mut answer, LO).unwrap();
        deliver(&mut nf, T0, &mut answer, LO).unwrap();
        assert_eq!(ends(&answer), pair("127.0.0.11:53", "127.0.0.1:5000"));
    }
    assert_eq!(nf.conntrack.len(), 1);
}

/// A client that uses one port towards the published and the direct address of a server.
#[test]
fn a_direct_connection_gives_way_to_a_published_one() {
    let mut nf = masquerading(Limits::default());
    publish(&mut nf);
    let mut published = tcp("192.0.2.9:40000", "192.0.2.2:8080", SYN);
    forward(&mut nf, T0, &mut published, UPLINK, BRIDGE).unwrap();
    let mut direct = tcp("192.0.2.9:40000", "172.17.0.2:80", SYN);
    forward(&mut nf, T0, &mut direct, UPLINK, BRIDGE).unwrap();
    assert_ne!(direct.source(), published.source());
}

#[test]
fn protocols_without_ports_run_out_at_once() {
    let mut nf = masquerading(Limits::default());
    let mut tunnel = |source: &str| {
        let mut packet = packets::packet(ip(source), ip("198.51.100.7"), 47, &[0; 8]);
        forward(&mut nf, T0, &mut packet, BRIDGE, UPLINK).map(|()| packet.packet().source)
    };
    assert_eq!(tunnel("172.17.0.2"), Ok(ip("192.0.2.2")));
    assert_eq!(tunnel("172.17.0.3"), Err(DropReason::NatPortsExhausted));
}

#[test]
fn all_ports_of_a_class_can_be_used_and_no_more() {
    let mut nf = masquerading(Limits::default());
    let mut seen = std::collections::BTreeSet::new();
    for at in 0..511u32 {
        let source = format!("172.17.{}.{}:80", 1 + at / 250, 1 + at % 250);
        let mut packet = udp(&source, "198.51.100.7:53");
        forward(&mut nf, T0, &mut packet, BRIDGE, UPLINK).unwrap();
        let port = packet.source().port();
        assert!((1..=511).contains(&port) && seen.insert(port), "{port}");
    }
    let mut packet = udp("172.17.9.9:80", "198.51.100.7:53");
    let result = forward(&mut nf, T0, &mut packet, BRIDGE, UPLINK);
    assert_eq!(result, Err(DropReason::NatPortsExhausted));
    // Another peer is another matter, and time frees the ports.
    let mut packet = udp("172.17.9.9:80", "198.51.100.8:53");
    forward(&mut nf, T0, &mut packet, BRIDGE, UPLINK).unwrap();
    let mut packet = udp("172.17.9.9:80", "198.51.100.7:53");
    forward(&mut nf, Time::from_secs(30), &mut packet, BRIDGE, UPLINK).unwrap();
}

#[test]
fn an_interface_without_address_cannot_masquerade() {
    let mut nf = masquerading(Limits::default());
    let mut packet = udp("172.17.0.2:5000", "198.51.100.7:53");
    let result = forward(&mut nf, T0, &mut packet, BRIDGE, IfId(9));
    assert_eq!(result, Err(DropReason::NatNoAddress));
    assert!(nf.conntrack.is_empty());
}

#[test]
fn a_udp_packet_without_checksum_stays_without() {
    let mut nf = masquerading(Limits::default());
    let mut packet = udp("172.17.0.2:5000", "198.51.100.7:53");
    packet.bytes[26..28].fill(0);
    forward(&mut nf, T0, &mut packet, BRIDGE, UPLINK).unwrap();
    assert_eq!(packet.bytes[26..28], [0, 0]);
    assert_eq!(packet.source().to_string(), "192.0.2.2:5000");
}

#[test]
fn partial_checksums_stay_partial_and_unset_ones_unset() {
    let mut nf = masquerading(Limits::default());
    // A second holder of port 40000, so that the port changes too.
    let mut first = tcp("172.17.0.3:40000", "198.51.100.7:80", SYN);
    forward(&mut nf, T0, &mut first, BRIDGE, UPLINK).unwrap();
    for unset in [false, true] {
        let mut packet = tcp("172.17.0.2:40000", "198.51.100.7:80", SYN);
        let parsed = packet.packet();
        let len = parsed.len - parsed.transport;
        let pseudo = |packet: &Packet| {
            crate::wire::pseudo_sum(packet.source, packet.destination, packet.protocol, len)
        };
        let field = if unset { 0 } else { pseudo(&parsed) };
        packet.bytes[36..38].copy_from_slice(&field.to_be_bytes());
        let hooks = [
            (Hook::Prerouting, path(Some(BRIDGE), None)),
            (Hook::Postrouting, path(None, Some(UPLINK))),
        ];
        for (hook, path) in &hooks {
            let outcome = nf.run(T0, *hook, &mut packet.bytes, true, path, &Host);
            assert_eq!(outcome.verdict, Verdict::Accept);
        }
        assert_eq!(packet.source().to_string(), "192.0.2.2:1024");
        let expected = if unset { 0 } else { pseudo(&packet.packet()) };
        assert_eq!(packet.bytes[36..38], expected.to_be_bytes());
    }
}

#[test]
fn a_refused_connection_leaves_nothing_behind() {
    let mut nf = masquerading(Limits::default());
    let mut syn = tcp("172.17.0.2:40000", "198.51.100.7:81", SYN);
    forward(&mut nf, T0, &mut syn, BRIDGE, UPLINK).unwrap();
    let mut refused = tcp("198.51.100.7:81", "192.0.2.2:40000", RST | ACK);
    forward(&mut nf, T0, &mut refused, UPLINK, BRIDGE).unwrap();
    assert_eq!(refused.destination().to_string(), "172.17.0.2:40000");
    assert!(nf.conntrack.list(T0).is_empty());
}

/// Three first packets take turns at each hook.
#[test]
fn packets_may_overtake_each_other_between_hooks() {
    let mut nf = masquerading(Limits::default());
    publish(&mut nf);
    let mut packets: Vec<Built> = (0..3)
        .map(|at| tcp(&format!("192.0.2.9:{}", 40_000 + at), "192.0.2.2:8080", SYN))
        .collect();
    for (hook, path) in [
        (Hook::Prerouting, path(Some(UPLINK), None)),
        (Hook::Forward, path(Some(UPLINK), Some(BRIDGE))),
        (Hook::Postrouting, path(None, Some(BRIDGE))),
    ] {
        for packet in &mut packets {
            let outcome = nf.run(T0, hook, &mut packet.bytes, false, &path, &Host);
            assert_eq!(outcome.verdict, Verdict::Accept);
        }
    }
    assert_eq!(nf.conntrack.len(), 3);
    for at in 0..3 {
        let client = format!("192.0.2.9:{}", 40_000 + at);
        let mut answer = tcp("172.17.0.2:80", &client, SYN | ACK);
        forward(&mut nf, T0, &mut answer, BRIDGE, UPLINK).unwrap();
        assert_eq!(answer.source().to_string(), "192.0.2.2:8080");
    }
}
