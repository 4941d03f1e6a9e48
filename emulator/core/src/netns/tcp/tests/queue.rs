//! Streams that are written into frames, beside the same through smoltcp's buffer.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What is done at an end, or to the wire.
#[derive(Clone, Debug)]
enum Step {
    /// It gives so much, in so many writes.
    Send {
        end: usize,
        len: usize,
        times: usize,
    },
    /// It reads so much.
    Read {
        end: usize,
        len: usize,
    },
    /// Time goes on, by microseconds; 0 lets be done what is to be done now.
    Wait(u64),
    /// The next segments, so many after so many, are lost.
    Lose(usize, usize),
    /// Each segment is under way for so long, at least.
    Delay(u64),
    NoDelay(bool),
    Shut(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let len = || prop_oneof![4 => 4_000_usize..140_000, 1 => 1_usize..4_000];
    prop_oneof![
        6 => (0_usize..5, len(), 1_usize..4)
            .prop_map(|(end, len, times)| Step::Send { end: end / 4, len, times }),
        5 => (0_usize..5, len()).prop_map(|(end, len)| Step::Read { end: 1 - end / 4, len }),
        4 => prop_oneof![Just(0_u64), 0_u64..500, 0_u64..20_000, 0_u64..3_000_000].prop_map(Step::Wait),
        1 => (0_usize..12, 1_usize..4).prop_map(|(after, count)| Step::Lose(after, count)),
        1 => prop_oneof![Just(0_u64), 1_u64..400, 1_u64..30_000].prop_map(Step::Delay),
        1 => any::<bool>().prop_map(Step::NoDelay),
        1 => prop_oneof![9 => Just(Step::Wait(100)), 1 => (0_usize..2).prop_map(Step::Shut)],
    ]
}

#[derive(Clone, Debug)]
struct Kind {
    /// Data goes from A to B and some is lost, or it goes both ways. Both at once would have acknowledgements that are late
    /// and believed, and smoltcp's retransmission timeout depend on all that it has measured before.
    lossy: bool,
    offload: bool,
    mtu: usize,
    buffers: (usize, usize),
    v6: bool,
}

fn kind() -> impl Strategy<Value = Kind> {
    let buffer = || {
        prop_oneof![
            Just(16 * 1024_usize),
            Just(96 * 1024_usize),
            Just(256 * 1024_usize),
            5_000_usize..300_000,
        ]
    };
    (
        any::<bool>(),
        any::<bool>(),
        prop_oneof![3 => Just(1500_usize), 1 => 600_usize..9000],
        (buffer(), buffer()),
        prop_oneof![9 => Just(false), 1 => Just(true)],
    )
        .prop_map(|(lossy, offload, mtu, buffers, v6)| Kind {
            lossy,
            offload,
            mtu,
            buffers,
            v6,
        })
}

/// What the ends saw.
#[derive(Debug, PartialEq)]
struct Seen {
    log: Vec<Sent>,
    got: [Vec<u8>; 2],
    calls: Vec<Result<usize, Errno>>,
}

/// What was seen, and whether frames were queued at the end of any step.
fn streamed(kind: &Kind, steps: &[Step], long: bool) -> (Seen, bool) {
    let mut rig = Rig::new();
    rig.mtu = kind.mtu;
    for end in [A, B] {
        rig.tcp(end).takes_long_way = long;
        rig.tcp(end).set_offload(kind.offload);
        rig.tcp(end).set_partial_checksums(kind.offload);
    }
    let options = TcpOptions {
        send_buffer: kind.buffers.0,
        recv_buffer: kind.buffers.1,
        ..TcpOptions::default()
    };
    let (a, b) = rig.pair_with(if kind.v6 { V6 } else { V4 }, &options);
    let ids = [a, b];
    // More than a connection says without an engine.
    for end in [A, B] {
        rig.send(end, ids[end], &pattern(9000)).unwrap();
        rig.run_for(Duration::from_millis(40));
        let _ = rig.recv(1 - end, ids[1 - end]);
        rig.run_for(Duration::from_millis(40));
    }
    let (mut got, mut calls, mut is_queued) = ([Vec::new(), Vec::new()], Vec::new(), false);
    let mut delay = Duration::ZERO;
    rig.wire = Box::new(move |_| vec![delay]);
    for step in steps {
        match *step {
            Step::Send { end: B, .. } | Step::Read { end: A, .. } if kind.lossy => {}
            Step::Delay(_) if kind.lossy => {}
            Step::Lose(..) if !kind.lossy => {}
            Step::Send { end, len, times } => {
                for time in 0..times {
                    calls.push(rig.send(end, ids[end], &pattern(len + time)));
                }
                is_queued |= rig.tcp(end).queues_frames(ids[end]);
            }
            Step::Read { end, len } => {
                let mut buffer = vec![0; len];
                let count = rig.with(end, |tcp, cx| tcp.recv(cx.pool, ids[end], &mut buffer));
                calls.push(count);
                got[end].extend_from_slice(&buffer[..count.unwrap_or(0)]);
                rig.flush();
            }
            Step::Wait(span) => rig.run_for(Duration::from_micros(span)),
            Step::Lose(after, count) => {
                let mut seen = 0;
                rig.wire = Box::new(move |sent| {
                    seen += usize::from(sent.segment.payload > 0);
                    let is_lost =
                        sent.segment.payload > 0 && (after..after + count).contains(&(seen - 1));
                    Vec::from_iter((!is_lost).then_some(delay))
                });
            }
            Step::Delay(span) => {
                // No segment overtakes another.
                delay = delay.max(Duration::from_micros(span));
                rig.wire = Box::new(move |_| vec![delay]);
            }
            Step::NoDelay(on) => {
                let option = SockOpt::NoDelay(on);
                let _ = rig.set_option(A, a, option);
            }
            Step::Shut(end) => {
                let _ = rig.shut(end, ids[end]);
            }
        }
    }
    for end in [A, B] {
        rig.close(end, ids[end]);
    }
    rig.run_for(Duration::from_secs(200));
    assert_eq!(rig.pool.in_use(), 0, "frames were lost");
    let log = rig.log;
    (Seen { log, got, calls }, is_queued)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sent_is_the_same(kind in kind(), steps in vec(step(), 1..40)) {
        let (queued, through) = (streamed(&kind, &steps, false).0, streamed(&kind, &steps, true).0);
        prop_assert_eq!(queued.calls, through.calls);
        for (ours, theirs) in queued.log.iter().zip(&through.log) {
            prop_assert_eq!(ours, theirs);
        }
        prop_assert_eq!(queued.log.len(), through.log.len());
        prop_assert!(queued.got == through.got);
    }
}

/// Or the comparison would compare nothing.
#[test]
fn streams_are_written_into_frames() {
    let kind = Kind {
        lossy: false,
        offload: true,
        mtu: 1500,
        buffers: (256 * 1024, 256 * 1024),
        v6: false,
    };
    let step = Step::Send {
        end: A,
        len: 100_000,
        times: 2,
    };
    for (offload, v6) in [(true, false), (false, false), (true, true), (false, true)] {
        let kind = Kind {
            offload,
            v6,
            ..kind
        };
        assert!(streamed(&kind, core::slice::from_ref(&step), false).1);
        assert!(!streamed(&kind, core::slice::from_ref(&step), true).1);
    }
}

/// Bytes that a stream's queue copied into frames in turns that fill its buffer, but not the peer's window, by writes of
/// this length.
fn copied(ends: [&str; 2], offload: bool, len: usize, turns: usize) -> Option<usize> {
    let mut rig = Rig::new();
    for end in [A, B] {
        rig.tcp(end).set_offload(offload);
        rig.tcp(end).set_partial_checksums(offload);
    }
    let options = TcpOptions {
        send_buffer: 256 * 1024,
        recv_buffer: 512 * 1024,
        ..TcpOptions::default()
    };
    let (a, b) = rig.pair_with(ends, &options);
    rig.send(A, a, &pattern(9000)).unwrap();
    rig.run_for(Duration::from_millis(40));
    for _ in 0..turns {
        let began = rig.send(A, a, &pattern(len.max(4_096)));
        assert!(began.is_ok());
        while rig.send(A, a, &pattern(len)).is_ok() {}
        rig.run_for(Duration::from_millis(1));
        while rig.recv(B, b).is_ok() {}
        rig.run_for(Duration::from_millis(40));
    }
    rig.tcp(A).bytes_copied(a)
}

#[test]
fn what_is_written_is_in_the_frame_that_carries_it() {
    for (ends, offload) in [(V4, true), (V4, false), (V6, true), (V6, false)] {
        for len in [4_096, 8_192, 16_384, 65_536, 100_000, 300_000] {
            let copied = copied(ends, offload, len, 8);
            assert_eq!(copied, Some(0), "writes of {len} bytes, {ends:?} {offload}");
        }
        // Behind a first write of 4,096 bytes.
        let copied = copied(ends, offload, 100, 8);
        assert_eq!(copied, Some(0), "short writes, {ends:?} {offload}");
    }
}

/// RFC 9293 §3.8.6.1: the first probe of a closed window is sent when it has been closed for a retransmission timeout, here
/// since there has been something to send.
#[test]
fn a_closed_window_is_asked_for_after_a_while() {
    for long in [false, true] {
        let mut rig = Rig::new();
        rig.tcp(A).takes_long_way = long;
        let options = TcpOptions {
            recv_buffer: 16 * 1024,
            ..TcpOptions::default()
        };
        let (a, _) = rig.pair_with(V4, &options);
        rig.send(A, a, &pattern(9000)).unwrap();
        rig.run_for(Duration::from_secs(5));
        rig.send(A, a, &pattern(7384)).unwrap();
        rig.run_for(Duration::from_secs(5));
        let (start, sent) = (rig.now, rig.log.len());
        assert_eq!(rig.log[sent - 1].segment.window, 0);
        rig.send(A, a, &pattern(5000)).unwrap();
        assert_eq!(rig.tcp(A).queues_frames(a), !long);
        rig.run_for(Duration::from_secs(5));
        let probes = rig.log[sent..].iter().filter(|sent| sent.from == A);
        let probes: Vec<_> = probes
            .map(|sent| (sent.at - start, sent.segment.payload))
            .collect();
        let seconds = Duration::from_secs;
        assert_eq!(probes, [(seconds(1), 1), (seconds(3), 1)]);
    }
}
