//! Cutting and putting together.

use switch::verdict::DropReason;
use switch::{IfId, Time};

use super::rig::World;
use crate::app::{Family, SockKind};
use crate::netns::*;

#[test]
fn a_large_datagram_is_cut_and_put_together() {
    for (to, bind) in [("10.0.0.2:7", "0.0.0.0:7"), ("[fd00::2]:7", "[::]:7")] {
        for len in [1473, 5000, 65_507] {
            let mut world = World::pair(1500);
            let server = world.udp(1, bind);
            let client = world.udp(0, &bind.replace(":7", ":0").replace("[:0]", "[::]"));
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            world.send(0, client, &payload, to).unwrap();
            assert_eq!(world.recv(1, server).unwrap().0, payload, "{to} {len}");
            for (packet, bytes) in world.packets(0) {
                assert!(packet.fragment.is_some() && bytes.len() <= 1500 && !bytes.is_empty());
            }
            assert_eq!(world.ns[1].deadline(), None);
            world.end();
        }
    }
}

#[test]
fn a_large_ping_comes_back() {
    for to in ["10.0.2.2:1", "[fd02::2]:1"] {
        let mut world = World::routed(1400);
        let ping = world.ping(0, to.starts_with('['));
        world.send(0, ping, &[9; 4000], to).unwrap();
        if to.starts_with('[') {
            // A router does not cut IPv6.
            assert_eq!(world.drops(DropReason::FragmentationNeeded), 2);
            assert_eq!(world.recv(0, ping).unwrap_err(), Errno::MsgSize);
            while world.ns[0].recv_error(ping).is_some() {}
            world.send(0, ping, &[9; 4000], to).unwrap();
        }
        assert_eq!(world.recv(0, ping).unwrap().0, [9; 4000], "{to}");
        world.advance(Time::from_secs(90));
        world.end();
    }
}

/// The frames of a datagram that 0 sends to 1, kept from arriving.
fn caught(world: &mut World, to: &str, len: usize) -> Vec<Vec<u8>> {
    let v6 = to.starts_with('[');
    let ping = world.ping(0, v6);
    world.send(0, ping, b"", to).unwrap();
    let family = if v6 { Family::V6 } else { Family::V4 };
    let sock = world.ns[0].socket(SockKind::Udp, family).unwrap();
    world.cut.push((0, IfId(2)));
    let before = world.seen.len();
    world.send(0, sock, &vec![7; len], to).unwrap();
    world.cut.clear();
    world.seen[before..]
        .iter()
        .map(|(_, bytes)| bytes.clone())
        .collect()
}

fn inject(world: &mut World, bytes: &[u8]) {
    let frame = world.pool.from_bytes(bytes).unwrap();
    world.with(1, |ns, cx| ns.input(cx, IfId(3), frame));
}

#[test]
fn any_order_will_do_and_repetitions_do_no_harm() {
    for (to, bind) in [("10.0.0.2:7", "0.0.0.0:7"), ("[fd00::2]:7", "[::]:7")] {
        let mut world = World::pair(1500);
        let server = world.udp(1, bind);
        let frames = caught(&mut world, to, 4000);
        assert_eq!(frames.len(), 3);
        for i in [2, 0, 0, 2, 1] {
            inject(&mut world, &frames[i]);
        }
        assert_eq!(world.recv(1, server).unwrap().0, [7; 4000]);
        assert_eq!(world.drops(DropReason::FragmentOverlap), 2);
        world.end();
    }
}

#[test]
fn an_overlap_kills_the_datagram() {
    let mut world = World::pair(1500);
    let server = world.udp(1, "0.0.0.0:7");
    let frames = caught(&mut world, "10.0.0.2:7", 4000);
    inject(&mut world, &frames[0]);
    let mut over = frames[1].clone();
    // One unit of eight bytes earlier.
    over[21] -= 1;
    switch::wire::fill_header_checksum(&mut over[14..34]);
    inject(&mut world, &over);
    assert_eq!(world.drops(DropReason::FragmentOverlap), 2);
    inject(&mut world, &frames[2]);
    world.advance(Time::from_secs(40));
    assert_eq!(world.drops(DropReason::FragmentTimeout), 1);
    assert_eq!(world.recv(1, server).unwrap_err(), Errno::WouldBlock);
    world.end();
}

#[test]
fn missing_fragments_are_waited_for_and_reported() {
    for (to, wait, icmp) in [("10.0.0.2:7", 30, [11, 1]), ("[fd00::2]:7", 60, [3, 1])] {
        for first in [true, false] {
            let mut world = World::pair(1500);
            let frames = caught(&mut world, to, 4000);
            inject(&mut world, &frames[usize::from(!first)]);
            let before = world.packets(1).len();
            world.advance(Time::from_millis(wait * 1000 - 1));
            assert_eq!(world.drops(DropReason::FragmentTimeout), 0);
            world.advance(Time::from_secs(wait));
            assert_eq!(world.drops(DropReason::FragmentTimeout), 1);
            // Only who has the header can say what is missing.
            let errors = &world.packets(1)[before..];
            assert_eq!(errors.len(), usize::from(first));
            for (packet, bytes) in errors {
                assert_eq!(bytes[packet.transport..packet.transport + 2], icmp);
            }
            assert_eq!(
                world.ns[1]
                    .deadline()
                    .filter(|at| *at > world.now + neigh::DELAY),
                None
            );
            world.end();
        }
    }
}

#[test]
fn reassembly_is_bounded() {
    let mut world = World::pair(1500);
    let frames = caught(&mut world, "10.0.0.2:7", 4000);
    for id in 0..reassembly::DATAGRAMS as u16 + 10 {
        let mut frame = frames[0].clone();
        frame[18..20].copy_from_slice(&id.to_be_bytes());
        switch::wire::fill_header_checksum(&mut frame[14..34]);
        inject(&mut world, &frame);
    }
    assert_eq!(world.drops(DropReason::FragmentQueueFull), 10);
    world.advance(Time::from_secs(31));
    assert_eq!(
        world.drops(DropReason::FragmentTimeout),
        reassembly::DATAGRAMS as u64
    );
    world.end();
}

#[test]
fn a_router_with_rules_puts_together_and_cuts_again() {
    for (to, bind) in [("10.0.2.2:7", "0.0.0.0:7"), ("[fd02::2]:7", "[::]:7")] {
        let mut world = World::routed(1500);
        world.ns[1].netfilter = Some(Box::new(super::rig::Witness::default()));
        let server = world.udp(2, bind);
        let family = if to.starts_with('[') {
            Family::V6
        } else {
            Family::V4
        };
        let sock = world.ns[0].socket(SockKind::Udp, family).unwrap();
        world.send(0, sock, &[3; 4000], to).unwrap();
        assert_eq!(world.recv(2, server).unwrap().0, [3; 4000]);
        // The hooks saw one packet, not three.
        let seen = format!("{:?}", world.ns[1].netfilter);
        assert_eq!(seen.matches("Forward").count(), 1, "{seen}");
        let forwarded = world.packets(1);
        assert_eq!(forwarded.len(), 3);
        assert!(forwarded.iter().all(|(p, _)| p.fragment.is_some()));
        world.end();
    }
}
