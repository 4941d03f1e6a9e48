//! Arbitrary bytes: nothing panics, no buffer is lost, and the same bytes have the same outcome.

use proptest::collection::vec;
use proptest::prelude::*;
use switch::{IfId, Time};

use super::rig::{Witness, World, ip};
use crate::app::{Family, SockKind, SockOpt};

/// A world with open sockets, rules and a router.
fn world() -> World {
    let mut world = World::routed(1300);
    world.ns[1].netfilter = Some(Box::new(Witness::default()));
    for ns in 0..3 {
        world.udp(ns, "[::]:7");
        world.ping(ns, false);
        world.ping(ns, true);
    }
    let sock = world.ns[1].socket(SockKind::Udp, Family::V6).unwrap();
    world.set(1, sock, SockOpt::Join(ip("ff02::fb"))).unwrap();
    world
}

/// Frames that get past the first checks: the right MAC, a type of ours, a plausible header.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let header = prop_oneof![
        Just((0x0806_u16, vec![0, 1, 8, 0, 6, 4, 0, 1])),
        Just((0x0800, vec![0x45, 0])),
        Just((0x86dd, vec![0x60, 0, 0, 0])),
        (any::<u16>(), Just(Vec::new())),
    ];
    (header, any::<bool>(), 0_u8..=8, vec(any::<u8>(), 0..200)).prop_map(
        |((protocol, head), group, kind, mut body)| {
            if protocol == 0x86dd && body.len() > 40 {
                let len = (body.len() + head.len() - 40) as u16;
                body[..2].copy_from_slice(&len.to_be_bytes());
                body[2] = [0, 6, 17, 43, 44, 58, 59, 60, 132][usize::from(kind)];
                let ours = [0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
                body[20..36].copy_from_slice(&ours);
            }
            let mut frame = if group {
                vec![0xff; 6]
            } else {
                vec![2, 0x42, 0, 0, 1, 3]
            };
            frame.extend([2, 0x42, 0, 0, 0, 2]);
            frame.extend(protocol.to_be_bytes());
            frame.extend(head);
            frame.extend(body);
            if protocol == 0x0800 && frame.len() >= 34 {
                let len = (frame.len() - 14) as u16;
                frame[16..18].copy_from_slice(&len.to_be_bytes());
                frame[23] = [1, 1, 2, 6, 6, 17, 17, 58, 132][usize::from(kind)];
                frame[26..30].copy_from_slice(&[10, 0, 1, 2]);
                frame[30..34].copy_from_slice(&[10, 0, 1 + (kind & 1), 1]);
                if frame[14] & 0x0f <= 5 {
                    switch::wire::fill_header_checksum(&mut frame[14..34]);
                }
            }
            fill(&mut frame);
            frame
        },
    )
}

/// Right transport checksums for most, so that the bytes behind them are looked at.
fn fill(frame: &mut [u8]) {
    let Some(bytes) = frame.get_mut(14..) else {
        return;
    };
    let Ok(packet) = switch::wire::Packet::parse(bytes) else {
        return;
    };
    switch::wire::fill_transport_checksum(bytes, &packet);
    if u8::from(packet.protocol) == 1 && packet.len >= packet.transport + 4 {
        let message = &mut bytes[packet.transport..packet.len];
        message[2..4].fill(0);
        let check = !switch::wire::sum(message);
        message[2..4].copy_from_slice(&check.to_be_bytes());
    }
}

fn play(frames: &[Vec<u8>]) -> (Vec<Vec<u8>>, String) {
    let mut world = world();
    for (i, bytes) in frames.iter().enumerate() {
        let frame = world.pool.from_bytes(bytes).unwrap();
        world.with(1, |ns, cx| ns.input(cx, IfId(3), frame));
        world.advance(Time::from_millis(100 * i as u64));
    }
    world.advance(Time::from_secs(200));
    let seen = world.seen.iter().map(|(_, bytes)| bytes.clone()).collect();
    let drops = format!("{:?}", world.trace.drops);
    world.end();
    (seen, drops)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_frames_do_no_harm(frames in vec(frame(), 1..12)) {
        let first = play(&frames);
        prop_assert_eq!(first, play(&frames));
    }

    #[test]
    fn noise_does_no_harm(frames in vec(vec(any::<u8>(), 0..80), 1..20)) {
        play(&frames);
    }
}
