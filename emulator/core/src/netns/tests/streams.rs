//! TCP through the namespace: sockets, ports, errors from the path.

use switch::Time;
use switch::verdict::DropReason;

use super::rig::{World, at};
use crate::app::{Family, SockKind, SockOpt, Sys};
use crate::docker::spec::ContainerSpec;
use crate::id::SockId;
use crate::lab::{Lab, LabConfig};
use crate::netns::*;

fn stream(world: &mut World, ns: usize, addr: &str) -> SockId {
    let family = if at(addr).is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    world.ns[ns].socket(SockKind::Tcp, family).unwrap()
}

fn listen(world: &mut World, ns: usize, addr: &str) -> SockId {
    let sock = stream(world, ns, addr);
    world.ns[ns].bind(sock, at(addr)).unwrap();
    world.with(ns, |ns, cx| ns.listen(cx, sock, 16)).unwrap();
    sock
}

fn connect(world: &mut World, ns: usize, addr: &str) -> SockId {
    let sock = stream(world, ns, addr);
    let result = world.with(ns, |ns, cx| ns.connect(cx, sock, at(addr)));
    assert_eq!(result, Err(Errno::InProgress));
    sock
}

#[test]
fn a_connection_carries_bytes_both_ways() {
    for (bind, to) in [
        ("0.0.0.0:80", "10.0.2.2:80"),
        ("[::]:80", "[fd02::2]:80"),
        ("[::]:80", "10.0.2.2:80"),
        ("10.0.2.2:80", "10.0.2.2:80"),
    ] {
        let mut world = World::routed(1400);
        let server = listen(&mut world, 2, bind);
        let client = connect(&mut world, 0, to);
        assert!(world.ns[0].ready(client).writable, "{to}");
        assert_eq!(world.ns[0].take_error(client), None);
        assert!(world.wakes.contains(&server) && world.wakes.contains(&client));
        let (conn, peer) = world.with(2, |ns, cx| ns.accept(cx, server)).unwrap();
        assert_eq!(world.ns[0].local_addr(client), Some(peer));
        assert_eq!(world.ns[2].peer_addr(conn), Some(peer));
        assert_eq!(world.ns[2].local_addr(conn), Some(at(to)));
        let data: Vec<u8> = (0..200_000_u32).map(|i| (i * 7) as u8).collect();
        let (mut sent, mut got) = (0, Vec::new());
        let mut buffer = [0; 4096];
        for round in 0..100_000 {
            match world.with(0, |ns, cx| ns.send(cx, client, &data[sent..])) {
                Ok(count) => sent += count,
                Err(errno) => assert_eq!(errno, Errno::WouldBlock),
            }
            match world.with(2, |ns, cx| ns.recv(cx, conn, &mut buffer)) {
                Ok(count) => got.extend_from_slice(&buffer[..count]),
                Err(errno) => assert_eq!(errno, Errno::WouldBlock),
            }
            if got.len() == data.len() {
                break;
            }
            if round % 10 == 9 {
                world.advance(world.now + core::time::Duration::from_millis(10));
            }
        }
        assert_eq!(got, data);
        world.with(0, |ns, cx| ns.close(cx, client));
        world.advance(world.now + core::time::Duration::from_millis(100));
        assert_eq!(
            world.with(2, |ns, cx| ns.recv(cx, conn, &mut buffer)),
            Ok(0)
        );
        world.with(2, |ns, cx| ns.close(cx, conn));
        world.advance(world.now + core::time::Duration::from_secs(120));
        let states: Vec<_> = world.ns[2].sockets().iter().map(|s| s.state).collect();
        assert_eq!(states, [SockState::Tcp(tcp::TcpState::Listen)]);
        assert!(world.ns[0].sockets().is_empty());
        world.packets(0);
        world.end();
    }
}

#[test]
fn nobody_listens() {
    for to in ["10.0.2.2:80", "[fd02::2]:80", "127.0.0.1:80", "[::1]:80"] {
        let mut world = World::routed(1500);
        let client = connect(&mut world, 0, to);
        assert_eq!(
            world.ns[0].take_error(client),
            Some(Errno::ConnRefused),
            "{to}"
        );
        world.end();
    }
}

#[test]
fn a_dead_host_is_unreachable_after_three_seconds() {
    for to in ["10.0.1.9:80", "[fd01::9]:80"] {
        let mut world = World::routed(1500);
        let client = connect(&mut world, 0, to);
        world.advance(Time::from_millis(2_999));
        assert_eq!(world.ns[0].take_error(client), None);
        world.advance(Time::from_secs(3));
        assert_eq!(world.ns[0].take_error(client), Some(Errno::HostUnreach));
        assert!(world.drops(DropReason::NeighbourFailed) >= 1);
        world.end();
    }
}

#[test]
fn no_route_fails_at_once_and_a_routers_word_soon() {
    let mut world = World::pair(1500);
    let sock = stream(&mut world, 0, "9.9.9.9:80");
    let result = world.with(0, |ns, cx| ns.connect(cx, sock, at("9.9.9.9:80")));
    assert_eq!(result, Err(Errno::NetUnreach));
    world.end();
    let mut world = World::routed(1500);
    let client = connect(&mut world, 0, "192.0.2.9:80");
    assert_eq!(world.ns[0].take_error(client), Some(Errno::NetUnreach));
    world.end();
}

#[test]
fn listeners_are_in_each_others_way_as_in_linux() {
    let mut world = World::pair(1500);
    listen(&mut world, 0, "10.0.0.1:80");
    let second = stream(&mut world, 0, "0.0.0.0:80");
    world.set(0, second, SockOpt::ReuseAddr(true)).unwrap();
    assert_eq!(
        world.ns[0].bind(second, at("0.0.0.0:80")),
        Err(Errno::AddrInUse)
    );
    assert_eq!(world.ns[0].bind(second, at("127.0.0.1:80")), Ok(()));
    let third = stream(&mut world, 0, "10.0.0.9:80");
    assert_eq!(
        world.ns[0].bind(third, at("10.0.0.9:80")),
        Err(Errno::AddrNotAvail)
    );
    world.end();
}

#[test]
fn a_service_listens_beside_a_wildcard_and_is_not_listed() {
    let mut world = World::pair(1500);
    let service = stream(&mut world, 0, "127.0.0.11:53");
    world.ns[0].set_internal(service).unwrap();
    world.ns[0].bind(service, at("127.0.0.11:53")).unwrap();
    world.with(0, |ns, cx| ns.listen(cx, service, 8)).unwrap();
    let user = listen(&mut world, 0, "0.0.0.0:53");
    connect(&mut world, 0, "127.0.0.11:53");
    assert!(world.with(0, |ns, cx| ns.accept(cx, service)).is_ok());
    assert_eq!(
        world.with(0, |ns, cx| ns.accept(cx, user)),
        Err(Errno::WouldBlock)
    );
    let listeners = world.ns[0]
        .sockets()
        .iter()
        .filter(|s| s.state == SockState::Tcp(tcp::TcpState::Listen))
        .count();
    assert_eq!(listeners, 1);
    world.end();
}

#[test]
fn a_port_comes_back_when_its_sockets_are_closed() {
    let mut world = World::pair(1500);
    let server = listen(&mut world, 1, "0.0.0.0:80");
    let client = connect(&mut world, 0, "10.0.0.2:80");
    let (conn, _) = world.with(1, |ns, cx| ns.accept(cx, server)).unwrap();
    world.with(1, |ns, cx| ns.close(cx, server));
    let again = stream(&mut world, 1, "0.0.0.0:80");
    assert_eq!(
        world.ns[1].bind(again, at("0.0.0.0:80")),
        Err(Errno::AddrInUse)
    );
    world.set(1, again, SockOpt::ReuseAddr(true)).unwrap();
    world.ns[1].bind(again, at("0.0.0.0:80")).unwrap();
    world.with(1, |ns, cx| ns.close(cx, conn));
    world.with(0, |ns, cx| ns.close(cx, client));
    world.end();
}

/// What a connection leaves whose engine panicked is given back when its namespace has its turn, or goes before that.
#[test]
fn a_namespace_that_goes_right_after_a_panic_leaves_no_frame() {
    let mut lab = Lab::new(LabConfig::default()).unwrap();
    let [a, b] = ["box1", "box2"].map(|name| {
        let spec = ContainerSpec {
            name: Some(name.to_owned()),
            image: "busybox".to_owned(),
            network_mode: "bridge".to_owned(),
            ..ContainerSpec::default()
        };
        lab.create(spec).unwrap();
        lab.start(name).unwrap();
        lab.namespace(name).unwrap()
    });
    let mut sys = lab.sys(b);
    let listener = sys.socket(SockKind::Tcp, Family::V4).unwrap();
    sys.bind(listener, at("0.0.0.0:80")).unwrap();
    sys.listen(listener, 1).unwrap();
    let client = lab.sys(a).socket(SockKind::Tcp, Family::V4).unwrap();
    let begun = lab.sys(a).connect(client, at("172.17.0.3:80"));
    assert_eq!(begun, Err(Errno::InProgress));
    lab.run_for(core::time::Duration::from_secs(1));
    for _ in 0..5 {
        while lab.sys(a).send(client, &[5; 9000]).is_ok() {}
        lab.run_for(core::time::Duration::from_micros(100));
    }
    assert!(lab.net().pool.in_use() > 0);
    let net = lab.net_mut();
    net.with_ns(a, |netns, _| netns.streams.tcp(netns.offload).0.crash_all());
    lab.remove("box1", true).unwrap();
    lab.run_for(core::time::Duration::from_secs(300));
    lab.remove("box2", true).unwrap();
    assert_eq!(lab.net().pool.in_use(), 0);
}
