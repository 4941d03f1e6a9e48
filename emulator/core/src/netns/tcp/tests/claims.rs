//! Frames of write queues: they come back however a connection ends, and what finds none goes on later.

use proptest::prelude::*;
use switch::frame::PoolLimits;

use super::*;
use crate::app::SockOpt;
use crate::netns::tcp::IcmpKind;

/// Longer than any connection waits for an answer.
const LONG: Duration = Duration::from_secs(1_200);
const MS: Duration = Duration::from_millis(1);

/// Where the frames of a stream are when it ends.
#[derive(Clone, Copy, Debug)]
enum Where {
    /// Not sent yet.
    Here,
    UnderWay,
    Lost,
    /// Some are the reader's, who does not read, and the rest waits for the window.
    There,
}

const PLACES: [Where; 4] = [Where::Here, Where::UnderWay, Where::Lost, Where::There];

fn ends(number: usize) -> [String; 2] {
    let port = 30_000 + number;
    [format!("10.0.0.1:{port}"), format!("10.0.0.2:{port}")]
}

/// A connection with an engine at each end, and the listener that it came by.
fn open(rig: &mut Rig, number: usize, options: &TcpOptions) -> (TcpId, TcpId, TcpId) {
    let [local, remote] = ends(number);
    let (a, b) = rig.pair_with([&local, &remote], options);
    for (end, id) in [(A, a), (B, b)] {
        rig.send(end, id, &pattern(9000)).unwrap();
        rig.run_for(MS * 40);
        assert_eq!(rig.recv(1 - end, [a, b][1 - end]).unwrap(), pattern(9000));
        rig.run_for(MS * 40);
    }
    let remote = address(&remote);
    let sockets = rig.tcp(B).sockets();
    let listener = sockets
        .iter()
        .find(|socket| socket.local == remote && socket.remote.is_none());
    (a, b, listener.unwrap().id.unwrap())
}

/// Has A write a stream until its queue is full.
fn write(rig: &mut Rig, a: TcpId, place: Where) {
    rig.wire = match place {
        Where::Here | Where::There => Box::new(all),
        Where::UnderWay => Box::new(|_| vec![MS * 10]),
        Where::Lost => Box::new(nothing),
    };
    for round in 0..20 {
        let _taken = rig.send(A, a, &pattern(20_000 + round));
        if matches!(place, Where::There) {
            rig.run_for(MS);
        }
    }
    if matches!(place, Where::UnderWay | Where::Lost) {
        rig.flush();
    }
    assert!(rig.tcp(A).queues_frames(a), "{place:?}");
    assert!(rig.pool.in_use() > 0);
}

fn report(rig: &mut Rig, end: usize, error: IcmpKind) {
    let ours = rig.log.iter().rev().find(|sent| sent.from == end);
    let segment = ours.unwrap().segment;
    let (local, remote, seq) = (segment.remote, segment.local, segment.seq);
    rig.with(end, |tcp, cx| tcp.icmp_error(cx, local, remote, seq, error));
}

type Ending = fn(&mut Rig, TcpId, TcpId);

/// What may happen to it, and how many engines panic.
const ENDINGS: [(&str, Ending, u64); 17] = [
    (
        "aborted",
        |rig, a, _| rig.with(A, |tcp, cx| tcp.abort(cx, a)),
        0,
    ),
    (
        "aborted there",
        |rig, _, b| rig.with(B, |tcp, cx| tcp.abort(cx, b)),
        0,
    ),
    ("closed", |rig, a, _| rig.close(A, a), 0),
    ("closed there", |rig, _, b| rig.close(B, b), 0),
    (
        "closed by both",
        |rig, a, b| {
            rig.close(A, a);
            rig.close(B, b);
        },
        0,
    ),
    (
        "closed at once",
        |rig, a, _| {
            rig.set_option(A, a, SockOpt::LingerZero(true)).unwrap();
            rig.close(A, a);
        },
        0,
    ),
    ("shut", |rig, a, _| rig.shut(A, a).unwrap(), 0),
    ("shut there", |rig, _, b| rig.shut(B, b).unwrap(), 0),
    (
        "answered",
        |rig, _, b| {
            let _taken = rig.send(B, b, &pattern(30_000));
            rig.run_for(MS * 50);
        },
        0,
    ),
    ("silence", |rig, _, _| rig.wire = Box::new(nothing), 0),
    (
        "silence for an orphan",
        |rig, a, _| {
            rig.close(A, a);
            rig.wire = Box::new(nothing);
        },
        0,
    ),
    (
        "refused on the way",
        |rig, _, _| {
            report(rig, A, IcmpKind::HardUnreachable(Errno::ConnRefused));
            rig.wire = Box::new(nothing);
        },
        0,
    ),
    (
        "unreachable",
        |rig, _, _| {
            report(rig, A, IcmpKind::Soft(Errno::HostUnreach));
            rig.wire = Box::new(nothing);
        },
        0,
    ),
    (
        "too long",
        |rig, _, _| report(rig, A, IcmpKind::FragmentationNeeded { mtu: 800 }),
        0,
    ),
    ("crashed", |rig, a, _| rig.tcp(A).crashed(a.slot), 1),
    ("crashed there", |rig, _, b| rig.tcp(B).crashed(b.slot), 1),
    (
        "cut otherwise",
        |rig, _, _| {
            let offload = rig.tcp(A).offload();
            rig.tcp(A).set_offload(!offload);
            rig.run_for(MS * 20);
            rig.tcp(A).set_offload(offload);
        },
        0,
    ),
];

/// One after the other in the same namespaces, so that each has the engine of one that ended otherwise.
#[test]
fn no_frame_is_lost_however_a_stream_ends() {
    for offload in [false, true] {
        for place in PLACES {
            let (mut rig, mut panics) = (Rig::new(), 0);
            for end in [A, B] {
                rig.tcp(end).set_offload(offload);
                rig.tcp(end).set_partial_checksums(offload);
            }
            for (number, (name, ending, panic)) in ENDINGS.iter().enumerate() {
                rig.wire = Box::new(all);
                let (a, b, listener) = open(&mut rig, number, &TcpOptions::default());
                write(&mut rig, a, place);
                ending(&mut rig, a, b);
                rig.run_for(LONG);
                for (end, id) in [(A, a), (B, b), (B, listener)] {
                    rig.close(end, id);
                }
                rig.wire = Box::new(all);
                rig.run_for(LONG);
                assert_eq!(rig.pool.in_use(), 0, "{name}, {place:?}");
                rig.assert_empty();
                panics += panic;
                let caught = [A, B].map(|end| rig.tcp(end).counters().engine_panics);
                assert_eq!(caught[A] + caught[B], panics, "{name}, {place:?}");
            }
        }
    }
}

#[test]
fn no_frame_is_lost_when_a_listener_closes_before_it_accepts() {
    for place in PLACES {
        let mut rig = Rig::new();
        let listener = rig.listen(V4[1], 8);
        let locals = ["10.0.0.1:40000", "10.0.0.1:40001", "10.0.0.1:40002"];
        let conns = locals.map(|local| rig.connect(local, V4[1]));
        rig.run_for(MS * 5);
        for a in conns {
            rig.wire = Box::new(all);
            rig.send(A, a, &pattern(9000)).unwrap();
            rig.run_for(MS * 100);
            write(&mut rig, a, place);
        }
        rig.close(B, listener);
        rig.wire = Box::new(all);
        rig.run_for(Duration::from_secs(5));
        for a in conns {
            assert_eq!(rig.recv(A, a), Err(Errno::ConnReset), "{place:?}");
            rig.close(A, a);
        }
        rig.assert_empty();
    }
}

/// What a connection leaves whose engine panicked is given back later, and the namespace may be gone by then.
#[test]
fn no_frame_is_lost_when_a_namespace_goes_after_a_panic() {
    for place in PLACES {
        let mut rig = Rig::new();
        let (a, b, listener) = open(&mut rig, 0, &TcpOptions::default());
        write(&mut rig, a, place);
        for (end, id) in [(A, a), (B, b)] {
            rig.tcp(end).crashed(id.slot);
        }
        for (end, id) in [(A, a), (B, b), (B, listener)] {
            rig.close(end, id);
        }
        for end in [A, B] {
            rig.with(end, |tcp, cx| tcp.clear(cx));
            while let Some(frame) = first(&mut rig.ends[end].out) {
                rig.pool.free(frame);
            }
        }
        for (_, frame) in core::mem::take(&mut rig.under_way).into_values() {
            rig.pool.free(frame);
        }
        assert_eq!(rig.pool.in_use(), 0, "{place:?}");
    }
}

/// A stream from A to B, who reads what comes.
#[derive(Debug)]
struct Passing {
    ends: (TcpId, TcpId),
    bytes: Vec<u8>,
    sent: usize,
    got: usize,
}

impl Passing {
    fn new(ends: (TcpId, TcpId), len: usize) -> Self {
        Self {
            ends,
            bytes: pattern(len),
            sent: 0,
            got: 0,
        }
    }

    /// Both go on each millisecond, until `until` or all has passed.
    fn go_on(&mut self, rig: &mut Rig, until: Time) {
        let (a, b) = self.ends;
        while self.got < self.bytes.len() && rig.now < until {
            self.sent += rig.send(A, a, &self.bytes[self.sent..]).unwrap_or(0);
            rig.run_for(MS);
            while let Ok(part) = rig.recv(B, b) {
                let known = &self.bytes[self.got..][..part.len()];
                assert!(part == known, "other bytes behind {}", self.got);
                self.got += part.len();
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Scarce {
    limits: PoolLimits,
    offload: bool,
    mtu: usize,
    /// Who else has buffers, small ones and large ones, and for how many milliseconds.
    others: Vec<(usize, usize, u64)>,
}

fn scarce() -> impl Strategy<Value = Scarce> {
    // A window's worth of frames finds buffers, or it would be sent again and again.
    let limits = (120_usize..400, 64_usize..256);
    let mtu = prop_oneof![Just(1500_usize), 600_usize..9000];
    let other = (0_usize..400, 0_usize..256, 1_u64..30);
    let others = proptest::collection::vec(other, 0..12);
    (limits, any::<bool>(), mtu, others).prop_map(|((small, large), offload, mtu, others)| Scarce {
        limits: PoolLimits { small, large },
        offload,
        mtu,
        others,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// A buffer may be missing at any place: when data is written, cut, carried or kept for the reader.
    #[test]
    fn a_stream_goes_on_when_there_are_buffers_again(scarce in scarce()) {
        let mut rig = Rig::new();
        rig.mtu = scarce.mtu;
        for end in [A, B] {
            rig.tcp(end).set_offload(scarce.offload);
        }
        let options = TcpOptions {
            send_buffer: 200_000,
            ..TcpOptions::default()
        };
        let (a, b, listener) = open(&mut rig, 0, &options);
        prop_assert_eq!(rig.pool.in_use(), 0);
        rig.pool = Pool::new(scarce.limits);
        let mut passing = Passing::new((a, b), 1_000_000);
        for (small, large, millis) in &scarce.others {
            let small = core::iter::repeat_n(10, *small);
            let lens = small.chain(core::iter::repeat_n(5_000, *large));
            let taken: Vec<Frame> = lens.filter_map(|len| rig.pool.alloc(len)).collect();
            let until = rig.now + MS * *millis as u32;
            passing.go_on(&mut rig, until);
            taken.into_iter().for_each(|frame| rig.pool.free(frame));
        }
        let until = rig.now + LONG;
        passing.go_on(&mut rig, until);
        prop_assert_eq!(passing.got, passing.bytes.len());
        for (end, id) in [(A, a), (B, b), (B, listener)] {
            rig.close(end, id);
        }
        rig.run_for(LONG);
        prop_assert_eq!(rig.tcp(A).counters().engine_panics + rig.tcp(B).counters().engine_panics, 0);
        rig.assert_empty();
    }
}

const FEW: PoolLimits = PoolLimits {
    small: 400,
    large: 64,
};

/// The segments of a stream of A's beside many that nobody acknowledges, or reads.
fn beside(others: usize, are_lost: bool, offload: bool) -> Vec<(Time, Segment)> {
    let mut rig = Rig::new();
    for end in [A, B] {
        rig.tcp(end).set_offload(offload);
    }
    let full = TcpOptions {
        send_buffer: 64 * 1024,
        recv_buffer: 16 * 1024,
        ..TcpOptions::default()
    };
    let (a, b, _) = open(&mut rig, 0, &TcpOptions::default());
    let others: Vec<_> = (1..=others)
        .map(|number| open(&mut rig, number, &full))
        .collect();
    rig.run_for(Duration::from_secs(1));
    assert_eq!(rig.pool.in_use(), 0);
    rig.pool = Pool::new(FEW);
    if are_lost {
        rig.wire = Box::new(|sent| {
            let ports = [sent.segment.local.port(), sent.segment.remote.port()];
            Vec::from_iter((ports == [30_000; 2]).then_some(DELAY))
        });
    }
    let start = Time::from_secs(200);
    rig.run_until(start);
    for (a, ..) in &others {
        let taken = rig.send(A, *a, &pattern(64 * 1024)).unwrap();
        assert_eq!(taken, 64 * 1024, "what has no frame is smoltcp's");
    }
    rig.run_for(MS * 10);
    // A quarter, what came to it last, and what is read at once.
    assert!(rig.pool.in_use() <= FEW.small / 4 + FEW.large / 4 + 2);
    let (mut passing, begun) = (Passing::new((a, b), 1_000_000), rig.log.len());
    passing.go_on(&mut rig, start + MS * 900);
    assert_eq!(passing.got, passing.bytes.len(), "{} others", others.len());
    let ours = rig.log[begun..]
        .iter()
        .filter(|sent| sent.segment.local.port() == 30_000 && sent.segment.remote.port() == 30_000);
    let ours = ours.map(|sent| (sent.at, sent.segment)).collect();
    // What is not acknowledged in time is smoltcp's to send again.
    rig.run_for(Duration::from_secs(3));
    let held = rig.tcp(B).frames_held();
    assert_eq!((rig.pool.in_use(), are_lost && held > 0), (held, false));
    ours
}

/// Frames that wait leave most of a pool to others, who send as if they were alone.
#[test]
fn streams_that_stand_still_starve_nobody() {
    for offload in [false, true] {
        let alone = beside(0, true, offload);
        for are_lost in [true, false] {
            assert_eq!(
                beside(60, are_lost, offload),
                alone,
                "{are_lost}, {offload}"
            );
        }
    }
}
