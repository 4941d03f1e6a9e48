//! What a path reports: unreachable, time exceeded, too big.

use switch::verdict::DropReason;
use switch::{IfId, Time};

use super::rig::{World, at, ip};
use crate::app::{Family, SockKind, SockOpt};
use crate::netns::*;

#[test]
fn a_router_tells_who_let_the_packet_die() {
    for (to, router, icmp) in [
        ("10.0.2.2:1", "10.0.1.1", (11, 0)),
        ("[fd02::2]:1", "fd01::1", (3, 0)),
    ] {
        let mut world = World::routed(1500);
        let ping = world.ping(0, to.starts_with('['));
        world.set(0, ping, SockOpt::HopLimit(1)).unwrap();
        world.send(0, ping, b"probe", to).unwrap();
        let error = world.ns[0].recv_error(ping).unwrap();
        assert_eq!((error.errno, error.icmp), (Errno::HostUnreach, icmp));
        assert_eq!((error.from, error.to), (ip(router), at(to)));
        assert_eq!(world.drops(DropReason::HopLimit), 1);
        world.set(0, ping, SockOpt::HopLimit(2)).unwrap();
        world.send(0, ping, b"probe", to).unwrap();
        let (_, got) = world.recv(0, ping).unwrap();
        assert_eq!((got.from.ip(), got.hop_limit), (at(to).ip(), 63));
        world.end();
    }
}

#[test]
fn a_router_without_a_route_says_so() {
    for (to, router, icmp) in [
        ("192.0.2.9:1", "10.0.1.1", (3, 0)),
        ("[2001:db8::9]:1", "fd01::1", (1, 0)),
    ] {
        let mut world = World::routed(1500);
        let ping = world.ping(0, to.starts_with('['));
        world.send(0, ping, b"", to).unwrap();
        let error = world.ns[0].recv_error(ping).unwrap();
        assert_eq!(
            (error.errno, error.from, error.icmp),
            (Errno::NetUnreach, ip(router), icmp)
        );
        assert_eq!(world.drops(DropReason::NoRoute), 1);
        world.end();
    }
}

#[test]
fn a_router_waits_three_seconds_for_a_dead_host() {
    for (to, router, icmp) in [
        ("10.0.2.9:1", "10.0.1.1", (3, 1)),
        ("[fd02::9]:1", "fd01::1", (1, 3)),
    ] {
        let mut world = World::routed(1500);
        let ping = world.ping(0, to.starts_with('['));
        world.send(0, ping, b"", to).unwrap();
        world.advance(Time::from_millis(2_999));
        assert_eq!(world.ns[0].recv_error(ping), None);
        world.advance(Time::from_millis(3_001));
        let error = world.ns[0].recv_error(ping).unwrap();
        assert_eq!(
            (error.errno, error.from, error.icmp),
            (Errno::HostUnreach, ip(router), icmp)
        );
        world.end();
    }
}

#[test]
fn forwarding_is_off_unless_asked_for() {
    let mut world = World::routed(1500);
    world.ns[1].set_forwarding(false);
    let ping = world.ping(0, false);
    world.send(0, ping, b"", "10.0.2.2:1").unwrap();
    assert_eq!(world.drops(DropReason::NotForwarding), 1);
    assert!(!world.ns[0].ready(ping).readable);
    world.end();
}

#[test]
fn a_refused_port_behind_a_router() {
    for to in ["10.0.2.2:9", "[fd02::2]:9"] {
        let mut world = World::routed(1500);
        let family = if at(to).is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        let sock = world.ns[0].socket(SockKind::Udp, family).unwrap();
        world
            .with(0, |ns, cx| ns.connect(cx, sock, at(to)))
            .unwrap();
        world.with(0, |ns, cx| ns.send(cx, sock, b"x")).unwrap();
        assert_eq!(world.ns[0].take_error(sock), Some(Errno::ConnRefused));
        world.end();
    }
}

#[test]
fn an_error_quotes_and_is_signed_as_linux_does() {
    let mut world = World::routed(1500);
    let sock = world.udp(0, "0.0.0.0:4000");
    world.send(0, sock, &[0x55; 1000], "10.0.2.2:9").unwrap();
    let packets = world.packets(2);
    let (packet, bytes) = packets[0];
    assert_eq!((packet.len, bytes[1], packet.hop_limit), (576, 0xc0, 64));
    assert_eq!(bytes[20..22], [3, 3]);
    // The quoted datagram has its checksum, though it was left to the edge.
    let quoted = &bytes[28..];
    let sent = world.packets(0)[0].1;
    assert_eq!(quoted[20..28], sent[20..28]);
    assert_eq!(switch::wire::sum(&bytes[20..]), 0xffff);
    world.end();
}

#[test]
fn errors_are_limited_in_rate() {
    let mut world = World::routed(1500);
    let sock = world.udp(0, "0.0.0.0:0");
    let port_unreachable = |world: &World| world.packets(2).len();
    for _ in 0..20 {
        world.send(0, sock, b"x", "10.0.2.2:9").unwrap();
    }
    assert_eq!(port_unreachable(&world), 6);
    world.advance(Time::from_secs(1));
    world.send(0, sock, b"x", "10.0.2.2:9").unwrap();
    assert_eq!(port_unreachable(&world), 7);
    world.ns[2].icmp_limited = false;
    for _ in 0..20 {
        world.send(0, sock, b"x", "10.0.2.2:9").unwrap();
    }
    assert_eq!(port_unreachable(&world), 27);
    world.end();
}

#[test]
fn a_narrow_path_is_learned() {
    for (to, overhead, icmp) in [("10.0.2.2:7", 28, (3, 4)), ("[fd02::2]:7", 48, (2, 0))] {
        let mut world = World::routed(1300);
        let server = world.udp(2, "[::]:7");
        let family = if at(to).is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        let sock = world.ns[0].socket(SockKind::Udp, family).unwrap();
        world.set(0, sock, SockOpt::RecvErr(true)).unwrap();
        world.send(0, sock, &[1; 1400], to).unwrap();
        assert_eq!(world.drops(DropReason::FragmentationNeeded), 1);
        let error = world.ns[0].recv_error(sock).unwrap();
        assert_eq!(
            (error.errno, error.icmp, error.mtu),
            (Errno::MsgSize, icmp, Some(1300))
        );
        // Now the sender cuts for itself.
        world.send(0, sock, &[1; 1400], to).unwrap();
        assert_eq!(world.recv(2, server).unwrap().0, [1; 1400]);
        world.set(0, sock, SockOpt::DontFragment(true)).unwrap();
        let over = vec![1; 1300 - overhead + 1];
        assert_eq!(world.send(0, sock, &over, to), Err(Errno::MsgSize));
        world.send(0, sock, &over[1..], to).unwrap();
        assert_eq!(world.recv(2, server).unwrap().0.len(), 1300 - overhead);
        world.end();
    }
}

#[test]
fn no_errors_about_broadcasts_and_errors() {
    let mut world = World::pair(1500);
    let sock = world.udp(0, "0.0.0.0:0");
    world.set(0, sock, SockOpt::Broadcast(true)).unwrap();
    world.send(0, sock, b"x", "10.0.0.255:9").unwrap();
    assert!(world.packets(1).is_empty());
    // An error about a packet that nobody sent is taken in and no more.
    let mut other = World::pair(1500);
    let sock = other.udp(1, "0.0.0.0:0");
    other.send(1, sock, b"x", "10.0.0.1:9").unwrap();
    let error = other
        .seen
        .iter()
        .rev()
        .find(|((ns, _), _)| *ns == 0)
        .unwrap()
        .1
        .clone();
    other.with(1, |ns, cx| ns.close(cx, sock));
    let before = other.seen.len();
    let frame = other.pool.from_bytes(&error).unwrap();
    other.with(1, |ns, cx| ns.input(cx, IfId(3), frame));
    assert_eq!(other.seen.len(), before);
    world.end();
    other.end();
}

#[test]
fn an_unknown_protocol_is_unreachable() {
    for (to, icmp) in [("10.0.0.2:1", [3, 2]), ("[fd00::2]:1", [4, 1])] {
        let mut world = World::pair(1500);
        let ping = world.ping(0, to.starts_with('['));
        world.send(0, ping, b"x", to).unwrap();
        let mut frame = world
            .seen
            .iter()
            .find(|(_, bytes)| bytes.len() > 14 + 48 || bytes[23] == 1)
            .map(|(_, bytes)| bytes.clone())
            .unwrap_or_default();
        let v6 = to.starts_with('[');
        if v6 {
            frame = world
                .seen
                .iter()
                .map(|(_, bytes)| bytes.clone())
                .find(|bytes| bytes[54] == 128)
                .unwrap();
            frame[20] = 132;
        } else {
            frame[23] = 132;
            switch::wire::fill_header_checksum(&mut frame[14..]);
        }
        let frame = world.pool.from_bytes(&frame).unwrap();
        world.with(1, |ns, cx| ns.input(cx, IfId(3), frame));
        assert_eq!(world.drops(DropReason::NoProtocol), 1);
        let packets = world.packets(1);
        let (packet, bytes) = packets.last().unwrap();
        assert_eq!(bytes[packet.transport..packet.transport + 2], icmp);
        if v6 {
            // The pointer names the next-header field.
            assert_eq!(bytes[44..48], [0, 0, 0, 6]);
        }
        world.end();
    }
}
