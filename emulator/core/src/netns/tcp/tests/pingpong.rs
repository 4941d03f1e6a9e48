//! Short messages that pass smoltcp by, beside the same through it.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What the two ends do, and what the wire does to each segment meanwhile.
#[derive(Clone, Debug)]
struct Turn {
    from: usize,
    times: usize,
    len: usize,
    wait: u64,
    /// Segments from here on, so many of them, are lost.
    lost: (usize, usize),
    /// Each is under way for so long.
    delay: u64,
}

fn turn() -> impl Strategy<Value = Turn> {
    (
        0_usize..2,
        1_usize..8,
        prop_oneof![3 => 1_usize..60, 2 => 1_usize..3000, 1 => 1400_usize..1500],
        prop_oneof![3 => Just(0_u64), 1 => 0_u64..20_000, 1 => 0_u64..3_000_000],
        prop_oneof![3 => Just((0, 0)), 1 => (0_usize..8, 1_usize..3)],
        prop_oneof![4 => Just(0_u64), 1 => 1_u64..500],
    )
        .prop_map(|(from, times, len, wait, lost, delay)| Turn {
            from,
            times,
            len,
            wait,
            lost,
            delay,
        })
}

/// Everything that was sent and received, and whether ping-pong was played at the end of any turn.
fn played(
    ends: [&str; 2],
    turns: &[Turn],
    (options, mtu, offload): (&TcpOptions, usize, bool),
    long: bool,
) -> (Vec<Sent>, Vec<u8>, bool) {
    let mut rig = Rig::new();
    rig.mtu = mtu;
    for end in [A, B] {
        rig.tcp(end).takes_long_way = long;
        rig.tcp(end).set_offload(offload);
    }
    let (a, b) = rig.pair_with(ends, options);
    let ids = [a, b];
    let (mut got, mut is_played) = (Vec::new(), false);
    for turn in turns {
        let (mut seen, turn_) = (0, turn.clone());
        rig.wire = Box::new(move |_| {
            seen += 1;
            let (first, count) = turn_.lost;
            let is_lost = (first..first + count).contains(&(seen - 1));
            let delay = Duration::from_micros(turn_.delay);
            Vec::from_iter((!is_lost).then_some(delay))
        });
        for step in 0..2 * turn.times {
            let from = (turn.from + step) % 2;
            let _ = rig.send(from, ids[from], &pattern(turn.len));
            let until = rig.now + Duration::from_micros(2 * turn.delay);
            rig.run_until(until);
            got.extend(rig.recv(1 - from, ids[1 - from]).unwrap_or_default());
            is_played |= rig.tcp(from).plays_pingpong(ids[from]);
        }
        rig.run_for(Duration::from_micros(turn.wait));
    }
    rig.wire = Box::new(all);
    rig.close(A, a);
    rig.run_for(Duration::from_secs(200));
    (rig.log, got, is_played)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sent_is_the_same(
        turns in vec(turn(), 1..12),
        v6 in any::<bool>(),
        recv_buffer in prop_oneof![Just(96 * 1024_usize), 2304_usize..5000],
        send_buffer in prop_oneof![Just(64 * 1024_usize), 2304_usize..5000],
        nodelay in any::<bool>(),
        mtu in prop_oneof![2 => Just(1500_usize), 1 => 576_usize..1500],
        offload in any::<bool>(),
    ) {
        let ends = if v6 { V6 } else { V4 };
        let options = TcpOptions { recv_buffer, send_buffer, nodelay, ..TcpOptions::default() };
        let path = (&options, mtu.max(if v6 { 1280 } else { 0 }), offload);
        let (past, through) = (played(ends, &turns, path, false), played(ends, &turns, path, true));
        prop_assert_eq!(past.0, through.0);
        prop_assert_eq!(past.1, through.1);
    }
}

/// Or the comparison would compare nothing.
#[test]
fn short_answers_pass_smoltcp_by() {
    let turn = Turn {
        from: A,
        times: 8,
        len: 1,
        wait: 0,
        lost: (0, 0),
        delay: 0,
    };
    for ends in [V4, V6] {
        let path = (&TcpOptions::default(), 1500, true);
        assert!(played(ends, core::slice::from_ref(&turn), path, false).2);
        assert!(!played(ends, core::slice::from_ref(&turn), path, true).2);
    }
}

/// A segment from a write queue is acknowledged after a millisecond, which smoltcp measures when it takes over. Its retransmission
/// timeout depends on that once an acknowledgement is very late.
#[test]
fn a_round_trip_time_that_passed_smoltcp_by_is_not_forgotten() {
    let turn = |from, times, len, wait, lost, delay| Turn {
        from,
        times,
        len,
        wait,
        lost,
        delay,
    };
    let turns = [
        turn(B, 1, 1, 0, (0, 0), 0),
        turn(A, 1, 2651, 640, (0, 0), 0),
        turn(B, 5, 1468, 0, (3, 1), 180),
        turn(A, 1, 1, 996_760, (4, 1), 0),
    ];
    let options = TcpOptions {
        recv_buffer: 2953,
        ..TcpOptions::default()
    };
    let path = (&options, 1500, false);
    let (past, through) = (
        played(V4, &turns, path, false),
        played(V4, &turns, path, true),
    );
    assert_eq!(past.0, through.0);
    let again = |sent: &Sent| sent.from == B && sent.at >= Time::from_secs(2);
    let again = past.0.into_iter().find(again).unwrap();
    assert_eq!(again.at, Time::from_millis(2132));
}
