//! ARP, neighbour discovery, and which frames are taken in.

use core::time::Duration;

use switch::verdict::DropReason;
use switch::{IfId, Time};

use super::rig::{World, at, ip, net};
use crate::app::SockKind;
use crate::netns::neigh::QUEUE_LIMIT;
use crate::netns::*;

const ARP: u16 = 0x0806;

fn neighbour(world: &World, ns: usize, addr: &str) -> Option<Neighbour> {
    world.ns[ns]
        .neighbours(world.now)
        .find(|n| n.addr == ip(addr))
}

#[test]
fn one_question_and_one_answer_serve_both_sides() {
    for (to, from, protocol) in [
        ("10.0.0.2", "10.0.0.1", ARP),
        ("fd00::2", "fd00::1", 0x86dd),
    ] {
        let mut world = World::pair(1500);
        let ping = world.ping(0, to.contains(':'));
        let to_socket = format!(
            "{}:1",
            if to.contains(':') {
                format!("[{to}]")
            } else {
                to.to_owned()
            }
        );
        world.send(0, ping, b"hello", &to_socket).unwrap();
        let (bytes, got) = world.recv(0, ping).unwrap();
        assert_eq!(
            (bytes.as_slice(), got.from.ip(), got.hop_limit),
            (&b"hello"[..], ip(to), 64)
        );
        // Question, answer, and with IPv6 the echo and its reply too.
        assert_eq!(world.count(protocol), if protocol == ARP { 2 } else { 4 });
        assert_eq!(neighbour(&world, 0, to).unwrap().state, Nud::Reachable);
        assert_eq!(
            neighbour(&world, 1, from).unwrap().mac,
            Some([2, 0x42, 0, 0, 0, 2])
        );
        world.end();
    }
}

#[test]
fn a_solicitation_goes_to_the_group_of_its_target_with_hop_limit_255() {
    let mut world = World::pair(1500);
    let ping = world.ping(0, true);
    world.send(0, ping, b"", "[fd00::2]:1").unwrap();
    let frame = &world.seen[0].1;
    assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0, 0, 2]);
    assert_eq!(frame[21], 255);
    assert_eq!(
        frame[38..54],
        "ff02::1:ff00:2"
            .parse::<core::net::Ipv6Addr>()
            .unwrap()
            .octets()
    );
    world.end();
}

#[test]
fn nobody_answers_for_three_seconds() {
    for (to, errno_from) in [("10.0.0.9:1", "10.0.0.1"), ("[fd00::9]:1", "fd00::1")] {
        let mut world = World::pair(1500);
        let ping = world.ping(0, to.starts_with('['));
        world.send(0, ping, b"x", to).unwrap();
        world.advance(Time::from_millis(2_999));
        assert!(!world.ns[0].ready(ping).readable);
        world.advance(Time::from_secs(3));
        assert_eq!(world.recv(0, ping).unwrap_err(), Errno::HostUnreach);
        let error = world.ns[0].recv_error(ping).unwrap();
        assert_eq!(
            (error.errno, error.from),
            (Errno::HostUnreach, ip(errno_from))
        );
        assert_eq!(error.to, at(to));
        assert_eq!(world.drops(DropReason::NeighbourFailed), 1);
        assert_eq!(world.ns[0].deadline(), None);
        let asked = world.seen.iter().filter(|((ns, _), _)| *ns == 0).count();
        assert_eq!(asked, 3);
        world.end();
    }
}

#[test]
fn one_dead_neighbour_does_not_hold_up_another() {
    let mut world = World::pair(1500);
    let udp = world.udp(0, "0.0.0.0:0");
    for _ in 0..QUEUE_LIMIT + 3 {
        world.send(0, udp, b"x", "10.0.0.9:9").unwrap();
    }
    assert_eq!(world.drops(DropReason::NeighbourQueueFull), 3);
    let server = world.udp(1, "0.0.0.0:7");
    world.send(0, udp, b"alive", "10.0.0.2:7").unwrap();
    assert_eq!(world.recv(1, server).unwrap().0, b"alive");
    world.end();
}

#[test]
fn announcements_come_at_once_and_a_second_apart() {
    let mut world = World::pair(1500);
    for addr in ["10.0.0.1", "fd00::1"] {
        world.with(0, |ns, cx| {
            ns.announce(cx, IfId(2), ip(addr), 3, Duration::from_secs(1))
        });
    }
    assert_eq!(world.seen.len(), 2);
    world.advance(Time::from_secs(1));
    assert_eq!(world.seen.len(), 4);
    world.advance(Time::from_secs(9));
    assert_eq!(world.seen.len(), 6);
    let arp = &world.seen[0].1;
    // A broadcast request in which both addresses are the announced one.
    assert_eq!((&arp[..6], &arp[20..22]), (&[0xff; 6][..], &[0, 1][..]));
    assert_eq!(
        (&arp[28..32], &arp[38..42]),
        (&[10, 0, 0, 1][..], &[10, 0, 0, 1][..])
    );
    assert_eq!(world.ns[1].neighbours(world.now).count(), 0);
    world.end();
}

#[test]
fn an_announcement_moves_the_address_to_its_new_owner() {
    let mut world = World::pair(1500);
    let ping = world.ping(1, false);
    world.send(1, ping, b"", "10.0.0.1:1").unwrap();
    world.ns[0].iface_mac(IfId(2), [2, 9, 9, 9, 9, 9]).unwrap();
    world.with(0, |ns, cx| {
        ns.announce(cx, IfId(2), ip("10.0.0.1"), 1, Duration::ZERO)
    });
    let known = neighbour(&world, 1, "10.0.0.1").unwrap();
    assert_eq!(
        (known.mac, known.state),
        (Some([2, 9, 9, 9, 9, 9]), Nud::Stale)
    );
    world.end();
}

#[test]
fn a_stale_neighbour_is_probed_by_unicast() {
    let mut world = World::pair(1500);
    let ping = world.ping(0, false);
    world.send(0, ping, b"", "10.0.0.2:1").unwrap();
    world.advance(Time::from_secs(60));
    assert_eq!(neighbour(&world, 0, "10.0.0.2").unwrap().state, Nud::Stale);
    world.send(0, ping, b"", "10.0.0.2:2").unwrap();
    assert_eq!(neighbour(&world, 0, "10.0.0.2").unwrap().state, Nud::Delay);
    let before = world.seen.len();
    world.advance(Time::from_secs(66));
    assert_eq!(
        neighbour(&world, 0, "10.0.0.2").unwrap().state,
        Nud::Reachable
    );
    assert_eq!(world.seen[before].1[..6], [2, 0x42, 0, 0, 1, 3]);
    world.end();
}

fn inject(world: &mut World, ns: usize, iface: u32, bytes: &[u8]) {
    let frame = world.pool.from_bytes(bytes).unwrap();
    world.with(ns, |ns, cx| ns.input(cx, IfId(iface), frame));
}

#[test]
fn frames_for_others_and_odd_frames_die_by_name() {
    let mut world = World::pair(1500);
    let ping = world.ping(0, false);
    world.send(0, ping, b"", "10.0.0.2:1").unwrap();
    let echo = world.seen[2].1.clone();
    let mut other = echo.clone();
    other[5] ^= 0x40;
    inject(&mut world, 1, 3, &other);
    let mut tagged = echo.clone();
    tagged.splice(12..12, [0x81, 0, 0, 5]);
    inject(&mut world, 1, 3, &tagged);
    assert_eq!(world.drops(DropReason::NotForUs), 2);
    let mut odd = echo.clone();
    odd[12..14].copy_from_slice(&[0x88, 0xcc]);
    inject(&mut world, 1, 3, &odd);
    assert_eq!(world.drops(DropReason::UnknownEtherType), 1);
    let mut bad = echo.clone();
    bad[24] ^= 1;
    inject(&mut world, 1, 3, &bad);
    assert_eq!(world.drops(DropReason::ChecksumBad), 1);
    inject(&mut world, 1, 3, &echo[..10]);
    inject(&mut world, 1, 3, &echo[..30]);
    assert_eq!(world.drops(DropReason::Truncated), 2);
    inject(&mut world, 1, 99, &echo);
    assert_eq!(world.drops(DropReason::InterfaceDown), 1);
    // A priority tag is no VLAN.
    let before = world.seen.len();
    let mut priority = echo;
    priority.splice(12..12, [0x81, 0, 0xe0, 0]);
    inject(&mut world, 1, 3, &priority);
    assert_eq!(world.seen.len(), before + 1);
    world.end();
}

#[test]
fn martians_do_not_get_in() {
    let mut world = World::pair(1500);
    let ping = world.ping(0, false);
    world.send(0, ping, b"", "10.0.0.2:1").unwrap();
    let echo = world.seen[2].1.clone();
    // Sources: loopback, a group, 0/8, our own address; destination: loopback.
    for (at, addr) in [
        (26, [127, 0, 0, 1]),
        (26, [224, 0, 0, 1]),
        (26, [0, 1, 2, 3]),
        (26, [10, 0, 0, 2]),
        (30, [127, 0, 0, 1]),
    ] {
        let before = world.drops(DropReason::Martian);
        let mut frame = echo.clone();
        frame[at..at + 4].copy_from_slice(&addr);
        switch::wire::fill_header_checksum(&mut frame[14..]);
        inject(&mut world, 1, 3, &frame);
        assert_eq!(world.drops(DropReason::Martian), before + 1, "{addr:?}");
    }
    world.end();
}

#[test]
fn ipv6_is_off_where_it_is_off() {
    let mut world = World::pair(1500);
    let config = IfaceConfig {
        id: IfId(9),
        name: "eth1".to_owned(),
        mac: [2; 6],
        mtu: 1500,
        kind: IfaceKind::Veth,
        peer: None,
        master: None,
        ipv6: false,
    };
    world.ns[1].iface_add(config.clone()).unwrap();
    assert_eq!(world.ns[1].iface_add(config), Err(Errno::Exist));
    assert_eq!(
        world.ns[1].addr_add(IfId(9), net("fd00:9::1/64")),
        Err(Errno::Perm)
    );
    world
        .with(1, |ns, cx| ns.iface_up(cx, IfId(9), true))
        .unwrap();
    let ping = world.ping(0, true);
    world.send(0, ping, b"", "[fd00::2]:1").unwrap();
    let mut frame = world.seen[0].1.clone();
    frame[..6].copy_from_slice(&[2; 6]);
    inject(&mut world, 1, 9, &frame);
    assert_eq!(world.drops(DropReason::Ipv6Disabled), 1);
    world.ns[1].iface_ipv6(IfId(3), false).unwrap();
    assert!(!world.ns[1].is_local(ip("fd00::2")) && world.ns[1].is_local(ip("10.0.0.2")));
    assert!(world.ns[1].routes(true).is_empty());
    world.end();
}

#[test]
fn taking_an_interface_away_takes_all_that_hung_on_it() {
    let mut world = World::pair(1500);
    let udp = world.udp(0, "0.0.0.0:0");
    world.send(0, udp, b"x", "10.0.0.9:9").unwrap();
    world
        .with(0, |ns, cx| ns.iface_remove(cx, IfId(2)))
        .unwrap();
    assert_eq!(world.drops(DropReason::InterfaceDown), 1);
    assert_eq!(world.ns[0].deadline(), None);
    assert_eq!(world.ns[0].neighbours(world.now).count(), 0);
    assert!(world.ns[0].routes(false).is_empty() && !world.ns[0].is_local(ip("10.0.0.1")));
    assert_eq!(
        world.send(0, udp, b"x", "10.0.0.2:9"),
        Err(Errno::NetUnreach)
    );
    assert_eq!(world.pool.in_use(), 0);
    let kind = SockKind::Udp;
    assert_eq!(world.ns[0].sockets().first().unwrap().kind, kind);
    world.end();
}

#[test]
fn routes_follow_addresses_and_links() {
    let mut world = World::pair(1500);
    let ns = &mut world.ns[0];
    ns.route_add(Route::default_via(ip("10.0.0.2"), IfId(2)))
        .unwrap();
    let far = Route::default_via(ip("10.9.0.2"), IfId(2));
    assert_eq!(ns.route_add(far), Err(Errno::NetUnreach));
    ns.addr_add(IfId(2), net("10.0.0.7/24")).unwrap();
    assert!(ns.iface(IfId(2)).unwrap().addrs[2].secondary);
    assert_eq!(ns.routes(false).len(), 2);
    ns.addr_del(IfId(2), ip("10.0.0.1")).unwrap();
    assert_eq!(ns.routes(false)[1].src, Some(ip("10.0.0.7")));
    assert_eq!(
        ns.select_source(IfId(2), ip("9.9.9.9")),
        Some(ip("10.0.0.7"))
    );
    world
        .with(0, |ns, cx| ns.iface_up(cx, IfId(2), false))
        .unwrap();
    assert!(world.ns[0].routes(false).is_empty());
    world
        .with(0, |ns, cx| ns.iface_up(cx, IfId(2), true))
        .unwrap();
    // The connected route is back, the default route is not.
    assert_eq!(world.ns[0].routes(false).len(), 1);
    world.end();
}

#[test]
fn questions_come_from_the_source_of_what_waits() {
    let mut world = World::pair(1500);
    world.ns[0].addr_add(IfId(2), net("10.0.0.7/24")).unwrap();
    let second = world.udp(0, "10.0.0.7:0");
    world.send(0, second, b"x", "10.0.0.2:9").unwrap();
    assert_eq!(world.seen[0].1[28..32], [10, 0, 0, 7]);
    world.end();
}

#[test]
fn a_probe_comes_from_the_link_local_address_and_its_answer_is_short() {
    let mut world = World::pair(1500);
    world.ns[0].addr_add(IfId(2), net("fe80::1/64")).unwrap();
    let ping = world.ping(0, true);
    world.send(0, ping, b"", "[fd00::2]:1").unwrap();
    world.advance(Time::from_secs(60));
    world.send(0, ping, b"", "[fd00::2]:2").unwrap();
    let before = world.seen.len();
    world.advance(Time::from_secs(66));
    let [(_, question), (_, answer), ..] = &world.seen[before..] else {
        panic!("no probe");
    };
    assert_eq!(question[22..24], [0xfe, 0x80]);
    assert_eq!(answer.len(), 14 + 40 + 24);
    assert_eq!(
        neighbour(&world, 0, "fd00::2").unwrap().state,
        Nud::Reachable
    );
    world.end();
}
