//! Bytes from outside: nothing panics, nothing leaks, and a run repeats itself.

use proptest::prelude::*;
use switch::wire;

use super::*;
use crate::netns::tcp::TcpState;
use crate::netns::tcp::segment::Bare;

/// Everything that is open is closed and forgotten in the end.
fn drain(rig: &mut Rig) {
    rig.wire = Box::new(nothing);
    for end in [A, B] {
        let open: Vec<TcpId> = rig.tcp(end).sockets().iter().filter_map(|s| s.id).collect();
        for id in open {
            rig.close(end, id);
        }
        let dead = rig.ends[end].wakes.clone();
        for id in dead {
            rig.close(end, id);
        }
    }
    rig.run_for(Duration::from_secs(2_000));
    rig.assert_empty();
}

fn inject(rig: &mut Rig, to: usize, bytes: &[u8]) {
    if let Some(frame) = rig.pool.from_bytes(bytes) {
        rig.pool.meta_mut(&frame).csum_partial = true;
        rig.deliver(to, frame);
    }
    rig.flush();
}

/// A segment near what the connection expects: flags, distances from the true numbers, window, data.
type Odd = (u8, i32, i32, u16, u8);

fn odd_segment(rig: &mut Rig, odd: Odd, options: &[u8]) -> Vec<u8> {
    let last = rig.log.iter().rev().find(|sent| sent.from == A);
    let (seq, ack) = last.map_or((0, 0), |sent| (sent.segment.end(), sent.segment.ack));
    let (flags, seq_off, ack_off, window, data) = odd;
    let bare = Bare {
        local: address(V4[0]),
        remote: address(V4[1]),
        seq: seq.wrapping_add_signed(seq_off),
        ack: ack.wrapping_add_signed(ack_off),
        flags: flags & 0x3f,
        window,
        hop_limit: 64,
    };
    let frame = bare.emit(&mut rig.pool).unwrap();
    let mut bytes = rig.pool.bytes(&frame).to_vec();
    rig.pool.free(frame);
    let words = options.len() / 4;
    bytes.extend(&options[..words * 4]);
    bytes[32] = ((5 + words) as u8) << 4;
    bytes.extend(core::iter::repeat_n(0x55, usize::from(data)));
    let len = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&len.to_be_bytes());
    bytes
}

fn near() -> impl Strategy<Value = i32> {
    prop_oneof![
        4 => -3..3_i32,
        2 => -20_000..20_000_i32,
        1 => any::<i32>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn arbitrary_packets_do_no_harm(
        packets in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..120), 1..20),
    ) {
        let mut rig = Rig::new();
        rig.pair(V4);
        for mut bytes in packets {
            inject(&mut rig, B, &bytes);
            if bytes.len() >= 40 {
                // Once more as something that is a TCP packet for the listener's port.
                bytes[0] = 0x45;
                let len = bytes.len() as u16;
                bytes[2..4].copy_from_slice(&len.to_be_bytes());
                bytes[6..8].fill(0);
                bytes[9] = 6;
                bytes[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
                bytes[22..24].copy_from_slice(&80_u16.to_be_bytes());
                inject(&mut rig, B, &bytes);
            }
        }
        prop_assert_eq!(rig.tcp(B).counters().engine_panics, 0);
        drain(&mut rig);
    }

    #[test]
    fn odd_segments_in_every_state_do_no_harm(
        state in 0..6_usize,
        odd in proptest::collection::vec(
            (any::<u8>(), near(), near(), any::<u16>(), any::<u8>(),
             proptest::collection::vec(any::<u8>(), 0..40)), 1..30),
    ) {
        let mut rig = Rig::new();
        if state == 0 {
            rig.listen(V4[1], 2);
            rig.connect(V4[0], V4[1]);
            rig.wire = Box::new(|sent| if sent.from == A { vec![DELAY] } else { vec![] });
            rig.run_for(DELAY * 2);
        } else {
            let (a, b) = rig.pair(V4);
            rig.send(B, b, &[1; 9000]).unwrap();
            match state {
                2 => rig.shut(B, b).unwrap(),
                3 => rig.close(B, b),
                4 => rig.shut(A, a).unwrap(),
                5 => {
                    rig.shut(A, a).unwrap();
                    rig.run_for(DELAY * 10);
                    rig.close(B, b);
                }
                _ => {}
            }
            rig.run_for(DELAY * 3);
        }
        for (flags, seq, ack, window, data, options) in odd {
            let bytes = odd_segment(&mut rig, (flags, seq, ack, window, data), &options);
            inject(&mut rig, B, &bytes);
            rig.run_for(DELAY * 2);
        }
        prop_assert_eq!(rig.tcp(B).counters().engine_panics, 0);
        drain(&mut rig);
    }

    #[test]
    fn any_loss_and_order_leaves_the_data_whole(
        seed in any::<u64>(),
        loss in 0..15_u32,
        len in 1..40_000_usize,
    ) {
        let mut rig = Rig::new();
        let (a, b) = rig.pair(V4);
        let mut chance = switch::Rng::new(seed);
        rig.wire = Box::new(move |_| {
            if chance.below(100) < loss {
                return vec![];
            }
            vec![DELAY * (1 + chance.below(20))]
        });
        let data = pattern(len);
        let (mut at, mut got) = (0, Vec::new());
        rig.run_with(Time::from_secs(900), |rig| {
            while at < data.len() && let Ok(taken) = rig.send(A, a, &data[at..]) {
                at += taken;
            }
            while let Ok(bytes) = rig.recv(B, b) {
                got.extend(bytes);
            }
        });
        prop_assert!(got == data, "{} of {len} bytes", got.len());
        drain(&mut rig);
    }
}

#[test]
fn broken_segments_are_refused_by_name() {
    let mut rig = Rig::new();
    rig.listen(V4[1], 1);
    rig.connect(V4[0], V4[1]);
    let syn = first(&mut rig.ends[A].out).unwrap();
    let good = rig.pool.bytes(&syn).to_vec();
    rig.pool.free(syn);
    for (change, reason) in [
        ((24, 0xff), DropReason::ChecksumBad),
        ((16, 224), DropReason::Martian),
        ((12, 224), DropReason::Martian),
        ((32, 0x10), DropReason::HeaderMalformed),
        ((6, 0x20), DropReason::HeaderMalformed),
    ] {
        let mut bytes = good.clone();
        bytes[change.0] ^= change.1;
        let frame = rig.pool.from_bytes(&bytes).unwrap();
        rig.deliver(B, frame);
        assert_eq!(rig.ends[B].refused.pop(), Some(reason), "{change:?}");
    }
    assert_eq!(rig.tcp(B).connections(), 0);
    let packet = Packet::parse(&good).unwrap();
    assert!(wire::transport_checksum_ok(&good, &packet));
}

/// Two runs of the same thing put the same bytes on the wire at the same times.
#[test]
fn a_run_repeats_itself() {
    let run = || {
        let mut rig = Rig::new();
        let (a, b) = rig.pair(V6);
        let mut chance = switch::Rng::new(3);
        rig.wire = Box::new(move |_| vec![DELAY * chance.below(9)]);
        rig.send(A, a, &pattern(16_000)).unwrap();
        rig.run_for(Duration::from_secs(3));
        rig.close(B, b);
        rig.run_for(Duration::from_secs(3));
        rig.log
    };
    assert_eq!(run(), run());
}

/// A peer that breaks every rule of the window is not believed.
#[test]
fn an_acknowledgement_of_the_future_is_not_believed() {
    let mut rig = Rig::new();
    let (_, b) = rig.pair(V4);
    rig.send(B, b, b"here").unwrap();
    let bytes = odd_segment(&mut rig, (0x10, 0, 100_000, 100, 0), &[]);
    inject(&mut rig, B, &bytes);
    assert_eq!(rig.tcp(B).state(b), TcpState::Established);
    assert_eq!(rig.tcp(B).sockets()[1].send_queue, 4);
}
