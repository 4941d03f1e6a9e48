//! Segments that are found early fare as they would on the long way.

use proptest::collection::vec;
use proptest::prelude::*;

use super::change::{Change, change, seal};
use super::rig::{World, at, net};
use super::sides::{FAMILIES, Side, Step, assert_alike, frames_held, of};
use crate::app::{Family, SockKind, SockOpt};
use crate::netns::tcp::RECV_BUFFER;
use crate::netns::*;

fn step() -> impl Strategy<Value = Step> {
    let ns = 0_usize..2;
    prop_oneof![
        12 => (ns.clone(), 1_usize..6000).prop_map(|(ns, len)| Step::Send(ns, len)),
        8 => (ns.clone(), 1_usize..40).prop_map(|(ns, len)| Step::Send(ns, len)),
        12 => (ns.clone(), 1_usize..6, prop_oneof![1_usize..40, 1_usize..700])
            .prop_map(|(ns, times, len)| Step::Exchange(ns, times, len)),
        4 => (ns.clone(), 1_usize..10, 1_usize..40_000, prop_oneof![1_usize..20_000, Just(200_000)])
            .prop_map(|(ns, times, len, most)| Step::Stream(ns, times, len, most)),
        12 => (ns.clone(), 1_usize..9000).prop_map(|(ns, len)| Step::Recv(ns, len)),
        2 => (ns.clone(), 1_usize..100_000).prop_map(|(ns, len)| Step::Recv(ns, len)),
        4 => (0_u64..30_000).prop_map(Step::Wait),
        2 => (0_u64..3_000_000).prop_map(Step::Wait),
        2 => (ns.clone(), any::<bool>()).prop_map(|(ns, on)| Step::Cut(ns, on)),
        3 => (0_usize..4, 0_usize..80, change())
            .prop_map(|(back, byte, change)| Step::Again(back, byte, change)),
        1 => ns.clone().prop_map(Step::Shutdown),
        2 => ns.clone().prop_map(Step::Close),
        1 => ns.clone().prop_map(Step::Linger),
        2 => Just(Step::Connect),
        1 => (ns.clone(), any::<bool>()).prop_map(|(ns, on)| Step::Offload(ns, on)),
        1 => (ns.clone(), any::<bool>()).prop_map(|(ns, on)| Step::Address(ns, on)),
        1 => ns.clone().prop_map(Step::Hooks),
        1 => (ns.clone(), any::<bool>()).prop_map(|(ns, on)| Step::Ipv6(ns, on)),
        1 => ns.clone().prop_map(Step::Loopback),
        1 => ns.clone().prop_map(Step::Neighbours),
        1 => any::<bool>().prop_map(Step::Family),
        2 => (ns.clone(), any::<bool>()).prop_map(|(ns, on)| Step::Late(ns, on)),
        6 => (0_usize..8).prop_map(Step::Arrive),
        3 => (0_usize..12, prop_oneof![0_usize..80, 0_usize..1514], change())
            .prop_map(|(back, byte, change)| Step::Slip(back, byte, change)),
        6 => (2_usize..40).prop_map(Step::Crowd),
        1 => (ns, 1280_u32..1501).prop_map(|(ns, mtu)| Step::Mtu(ns, mtu)),
    ]
}

/// Streams above all, some of whose segments are lost.
fn flow() -> impl Strategy<Value = Step> {
    let ns = 0_usize..2;
    prop_oneof![
        12 => (ns.clone(), 1_usize..8, 1_usize..50_000, prop_oneof![1_usize..30_000, Just(200_000)])
            .prop_map(|(ns, times, len, most)| Step::Stream(ns, times, len, most)),
        6 => (ns.clone(), 1_usize..8, 1_usize..34, prop_oneof![1_usize..30_000, Just(200_000)])
            .prop_map(|(ns, times, full, most)| Step::Stream(ns, times, full * 1460, most)),
        3 => (ns.clone(), 1_usize..60_000).prop_map(|(ns, len)| Step::Send(ns, len)),
        3 => (ns.clone(), 1_usize..100_000).prop_map(|(ns, len)| Step::Recv(ns, len)),
        3 => (ns.clone(), 1_usize..100_000).prop_map(|(ns, most)| Step::Look(ns, most)),
        2 => (ns.clone(), 1_usize..3, 1_usize..700)
            .prop_map(|(ns, times, len)| Step::Exchange(ns, times, len)),
        2 => (0_u64..30_000).prop_map(Step::Wait),
        2 => (0_u64..3_000_000).prop_map(Step::Wait),
        3 => (ns.clone(), any::<bool>()).prop_map(|(ns, on)| Step::Cut(ns, on)),
        1 => (0_usize..4, 0_usize..80, change())
            .prop_map(|(back, byte, change)| Step::Again(back, byte, change)),
        1 => any::<bool>().prop_map(Step::Family),
        1 => Just(Step::Connect),
        2 => (ns.clone(), any::<bool>()).prop_map(|(ns, on)| Step::Late(ns, on)),
        6 => (0_usize..8).prop_map(Step::Arrive),
        3 => (0_usize..12, prop_oneof![0_usize..80, 0_usize..1514], change())
            .prop_map(|(back, byte, change)| Step::Slip(back, byte, change)),
        6 => (2_usize..40).prop_map(Step::Crowd),
        1 => (ns.clone(), 1280_u32..1501).prop_map(|(ns, mtu)| Step::Mtu(ns, mtu)),
        1 => ns.prop_map(Step::Shutdown),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 800,
        ..ProptestConfig::default()
    })]

    #[test]
    fn early_is_as_late(
        v6: bool,
        steps in vec(step(), 1..60),
        buffer in prop_oneof![Just(RECV_BUFFER), 1_usize..3000],
    ) {
        assert_alike(&of(v6, &steps), buffer, true)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150,
        ..ProptestConfig::default()
    })]

    #[test]
    fn streams_are_as_late(
        v6: bool,
        steps in vec(flow(), 1..30),
        buffer in prop_oneof![Just(RECV_BUFFER), 20_000_usize..400_000],
    ) {
        assert_alike(&of(v6, &steps), buffer, true)?;
    }

    #[test]
    fn full_frames_are_as_late(
        v6: bool,
        steps in vec(flow(), 1..30),
        buffer in prop_oneof![Just(RECV_BUFFER), 20_000_usize..400_000],
    ) {
        assert_alike(&of(v6, &steps), buffer, false)?;
    }
}

/// Likewise, of frames without offload, which are shown together.
#[test]
fn full_frames_are_held() {
    for (v6, len) in [(false, 14_600), (true, 14_400)] {
        full_frames_of_a_family_are_held(v6, len);
    }
}

fn full_frames_of_a_family_are_held(v6: bool, len: usize) {
    let mut side = Side::with_offload(false, RECV_BUFFER, false);
    let stream = [Step::Stream(0, 4, len, 20_000), Step::Send(0, len)];
    for step in of(v6, &stream) {
        side.take(&step);
    }
    assert_eq!(frames_held(&side.world.ns[1]), 10);
    let sock = side.socks[1];
    let mut shown = 0;
    let taken = side.world.with(1, |ns, cx| {
        ns.recv_with(cx, sock, &mut |bytes| {
            shown = bytes.len();
            2_000
        })
    });
    assert_eq!((taken, shown), (Ok(2_000), len));
    assert_eq!(frames_held(&side.world.ns[1]), 9);
    side.take(&Step::Close(1));
    assert_eq!(side.world.pool.in_use(), 0);
}

/// Frames of a stream that arrive together are taken together, up to one that is something else.
#[test]
fn segments_are_taken_as_trains() {
    // A byte of data, a port, the number, the acknowledgement, a flag, the window.
    let bytes = [60, 35, 41, 45, 47, 48];
    // Version, class and flow, lengths, what follows, hop limit and addresses of IPv6, and those of IPv4.
    let headers = [(14..54).collect::<Vec<_>>(), (14..34).collect()];
    for (v6, headers) in [true, false].into_iter().zip(headers) {
        let behind = if v6 { 20 } else { 0 };
        let changes = bytes.into_iter().map(|byte| byte + behind).chain(headers);
        let rightly = changes.flat_map(|byte| [1, 0x10].map(|bit| (byte, Change::Rightly(bit))));
        let xor = [60, 50].map(|byte| (byte + behind, Change::Xor(1)));
        let odd = rightly.chain(xor).chain([(0, Change::Options)]);
        let odd = odd.map(|(byte, change)| Some(Step::Slip(4, byte, change)));
        odd.chain([None])
            .for_each(|odd| is_taken_as_a_train(v6, odd));
    }
}

/// A stream whose last frames come together, this one between them.
fn is_taken_as_a_train(v6: bool, odd: Option<Step>) {
    let len = if v6 { 14_400 } else { 14_600 };
    let stream = [
        Step::Stream(0, 4, len, 20_000),
        Step::Late(0, true),
        Step::Send(0, len),
    ];
    let rest = [Step::Crowd(64), Step::Recv(1, 20_000)];
    let steps: Vec<Step> = stream.into_iter().chain(odd).chain(rest).collect();
    let steps = of(v6, &steps);
    let mut side = Side::with_offload(false, RECV_BUFFER, false);
    for step in &steps {
        side.take(step);
    }
    // With the second an acknowledgement is due: from there on the connection waits to be run.
    let tcp = side.world.ns[1].streams.tcp.as_ref();
    assert!(tcp.is_some_and(|tcp| tcp.on_trains >= 3), "{steps:?}");
    let alike = assert_alike(&steps, RECV_BUFFER, false);
    assert!(alike.is_ok(), "{steps:?}: {alike:?}");
}

/// What comes again before it was acknowledged brings nothing.
#[test]
fn what_is_not_acknowledged_yet_is_not_taken_twice() {
    let steps = [
        Step::Stream(0, 3, 15_584, 16_568),
        Step::Again(0, 0, Change::Pad(1)),
    ];
    assert!(assert_alike(&steps, RECV_BUFFER, false).is_ok());
}

/// The first that a server says is a long write: what leaves is of IPv6, though smoltcp has never seen that.
#[test]
fn a_long_answer_over_ipv6_comes_whole() {
    for (asked, buffer) in [(666, 1), (2_880, RECV_BUFFER)] {
        let steps = [
            Step::Family(true),
            Step::Connect,
            Step::Send(0, asked),
            Step::Recv(1, asked),
            Step::Send(1, 4_096),
            Step::Recv(0, 5_000),
        ];
        let alike = assert_alike(&steps, buffer, true);
        assert!(alike.is_ok(), "{asked} {buffer}");
    }
}

/// A segment that opens and resets at once is nothing to smoltcp, and does not say what the other side's windows are scaled by.
#[test]
fn a_syn_that_resets_is_not_met() {
    for bits in [6, 54] {
        let again = Step::Again(0, 47, Change::Rightly(bits));
        let small = [
            Step::Stream(0, 1, 2_920, 1),
            again.clone(),
            Step::Stream(0, 2, 8_760, 1_704),
            Step::Stream(0, 2, 27_740, 1),
        ];
        let first = [
            again,
            Step::Stream(1, 3, 13_464, 7_895),
            Step::Stream(1, 2, 27_740, 1),
        ];
        for steps in [&small[..], &first] {
            for offload in [true, false] {
                let alike = assert_alike(steps, RECV_BUFFER, offload);
                assert!(alike.is_ok(), "{steps:?} {offload}");
            }
        }
    }
}

/// Segments to an address that is gone are not for this namespace any more, whoever they were for before.
#[test]
fn an_address_that_is_gone_takes_no_segments() {
    for family in [false, true] {
        for gone in [0, 1] {
            let steps = [
                Step::Family(family),
                Step::Connect,
                Step::Exchange(0, 3, 9),
                Step::Address(gone, false),
                Step::Send(0, 9),
                Step::Recv(1, 9),
                Step::Wait(3_000_000),
                Step::Address(gone, true),
                Step::Wait(30_000_000),
                Step::Recv(1, 9),
                Step::Exchange(1, 3, 9),
            ];
            assert!(
                assert_alike(&steps, RECV_BUFFER, true).is_ok(),
                "{family} {gone}"
            );
        }
    }
}

/// Nor are those of IPv6 to an interface that takes none any more: that of a request, those of a stream.
#[test]
fn an_interface_without_ipv6_takes_none_of_its_segments() {
    let request = [
        Step::Exchange(0, 8, 9),
        Step::Late(0, true),
        Step::Send(0, 9),
    ];
    let stream = [
        Step::Stream(0, 4, 14_400, 20_000),
        Step::Late(0, true),
        Step::Send(0, 14_400),
    ];
    for begun in [request, stream] {
        let off = [
            Step::Arrive(0),
            Step::Ipv6(1, false),
            Step::Crowd(64),
            Step::Recv(1, 20_000),
            Step::Ipv6(1, true),
            Step::Late(0, false),
            Step::Wait(3_000_000),
            Step::Recv(1, 20_000),
        ];
        for off in [&off[..], &off[1..]] {
            let steps = of(true, &[&[Step::Loopback(1)], &begun[..], off].concat());
            let alike = assert_alike(&steps, RECV_BUFFER, false);
            assert!(alike.is_ok(), "{steps:?}: {alike:?}");
        }
    }
}

/// A segment of IPv6 between the addresses that stand for those of a connection of IPv4 is nobody's.
#[test]
fn ends_that_stand_for_those_of_ipv4_are_nobodys() {
    let told = [false, true].map(|long| {
        let mut side = Side::new(long, RECV_BUFFER);
        side.take(&Step::Exchange(0, 8, 9));
        let done = side.world.ns[1].addr_add(IfId(3), net("::ffff:10.0.0.2/96"));
        assert_eq!(done, Ok(()));
        side.take(&Step::Cut(0, true));
        side.take(&Step::Send(0, 9));
        let narrow = side.world.seen.last().unwrap().1.clone();
        let frame = side.world.pool.from_bytes(&mapped(&narrow)).unwrap();
        side.world.with(1, |ns, cx| ns.input(cx, IfId(3), frame));
        let told = side.take(&Step::Recv(1, 9));
        assert_eq!(told.0, [Err(Errno::WouldBlock)]);
        (told, side.state())
    });
    assert_eq!(told[0], told[1]);
}

/// The frame of IPv4, without options, as one of IPv6 between mapped addresses.
fn mapped(narrow: &[u8]) -> Vec<u8> {
    let (head, segment) = (&narrow[..34], &narrow[34..]);
    let mut frame = [&head[..12], &[0x86, 0xdd, 0x60, 0, 0, 0, 0]].concat();
    frame.extend([segment.len() as u8, head[23], head[22]]);
    for address in [&head[26..30], &head[30..34]] {
        frame.extend([0; 10].into_iter().chain([0xff; 2]));
        frame.extend_from_slice(address);
    }
    frame.extend_from_slice(segment);
    seal(&mut frame);
    frame
}

/// Connections of one namespace over two interfaces: what leaves after a segment of the other goes its own way.
#[test]
fn segments_to_two_sides_leave_each_its_way() {
    for servers in [
        ["10.0.1.2:80", "10.0.2.2:80"],
        ["[fd01::2]:80", "[fd02::2]:80"],
    ] {
        let mut world = World::routed(1500);
        let conns = [0, 2].map(|ns| {
            let to = at(servers[ns / 2]);
            let family = FAMILIES[usize::from(to.is_ipv6())];
            let server = world.ns[ns].socket(SockKind::Tcp, family).unwrap();
            world.ns[ns].bind(server, to).unwrap();
            world.with(ns, |ns, cx| ns.listen(cx, server, 16)).unwrap();
            let client = world.ns[1].socket(SockKind::Tcp, family).unwrap();
            world.set(1, client, SockOpt::NoDelay(true)).unwrap();
            let called = world.with(1, |ns, cx| ns.connect(cx, client, to));
            assert_eq!(called, Err(Errno::InProgress));
            let accepted = world.with(ns, |ns, cx| ns.accept(cx, server));
            (ns, client, accepted.unwrap().0)
        });
        for round in 0..20_u8 {
            for (ns, client, conn) in conns {
                let sent = world.with(1, |ns, cx| ns.send(cx, client, &[round; 9]));
                assert_eq!(sent, Ok(9));
                let mut got = [0; 20];
                let count = world.with(ns, |ns, cx| ns.recv(cx, conn, &mut got));
                assert_eq!((count, &got[..9]), (Ok(9), &[round; 9][..]), "{ns}");
            }
        }
    }
}

/// The first that an engine of a server says is a long write, when it owes an acknowledgement: its numbers go on from those
/// of the handshake.
#[test]
fn a_long_answer_comes_whole() {
    let long = Step::Stream(1, 3, 16_000, 20_000);
    let small = [Step::Send(0, 577), Step::Recv(1, 577), long.clone()];
    // The SYN comes again.
    let again = Step::Again(3, 0, Change::Pad(1));
    let repeated = [
        Step::Send(0, 1),
        Step::Send(0, 1),
        again,
        Step::Recv(1, 2),
        long,
    ];
    for (steps, buffer) in [(&small[..], 1), (&repeated, RECV_BUFFER)] {
        for offload in [false, true] {
            let alike = assert_alike(steps, buffer, offload);
            assert!(alike.is_ok(), "{steps:?} {offload}");
        }
    }
}

/// After an acknowledgement in an answer to what was not in order, or fitted the window in part, smoltcp's next one is
/// not late.
#[test]
fn what_follows_an_answer_is_acknowledged_at_once() {
    let partly = [
        Step::Late(1, true),
        Step::Stream(1, 1, 1460, 1),
        Step::Late(1, false),
        Step::Stream(0, 6, 28_524, 11_080),
    ];
    let disordered = [
        Step::Stream(0, 1, 1, 1),
        Step::Exchange(1, 1, 1),
        Step::Late(1, true),
        Step::Stream(1, 3, 16_060, 1),
        Step::Stream(0, 4, 730, 1),
        Step::Arrive(1),
        Step::Arrive(0),
        Step::Arrive(0),
    ];
    let smaller = [
        Step::Exchange(1, 1, 1),
        Step::Mtu(1, 1283),
        Step::Stream(0, 3, 8761, 1),
        Step::Stream(1, 1, 4164, 1),
    ];
    for steps in [&partly[..], &disordered, &smaller] {
        for offload in [false, true] {
            let alike = assert_alike(steps, RECV_BUFFER, offload);
            assert!(alike.is_ok(), "{steps:?} {offload}");
        }
    }
}

/// What is due at the moment at which a segment comes goes with that: here the stream that was lost, when the neighbour has
/// answered for which the segment waited as long. The segment's own repeat then comes after it.
#[test]
fn what_is_due_goes_with_a_segment_of_that_moment() {
    let steps = [
        Step::Send(0, 1),
        Step::Send(0, 1),
        Step::Connect,
        Step::Neighbours(0),
        Step::Cut(1, true),
        Step::Stream(1, 3, 10_923, 1),
        Step::Exchange(0, 1, 1),
        Step::Cut(1, false),
        Step::Wait(1_000_000),
    ];
    assert!(assert_alike(&steps, RECV_BUFFER, true).is_ok());
}

/// Likewise.
#[test]
fn streams_are_held() {
    for v6 in [false, true] {
        streams_of_a_family_are_held(v6);
    }
}

fn streams_of_a_family_are_held(v6: bool) {
    let mut side = Side::new(false, RECV_BUFFER);
    for step in of(v6, &[]) {
        side.take(&step);
    }
    side.take(&Step::Stream(0, 8, 20_000, 20_000));
    side.take(&Step::Send(0, 20_000));
    assert_eq!(frames_held(&side.world.ns[1]), 1);
    // Something goes the other way: what waits is copied after all.
    side.take(&Step::Send(1, 1));
    assert_eq!(frames_held(&side.world.ns[1]), 0);
    side.take(&Step::Recv(1, 20_000));
    side.take(&Step::Stream(0, 8, 20_000, 20_000));
    side.take(&Step::Send(0, 20_000));
    assert_eq!(frames_held(&side.world.ns[1]), 1);
    side.take(&Step::Close(1));
    side.take(&Step::Close(0));
    assert_eq!(side.world.pool.in_use(), 0);
}

/// Or the comparison would compare nothing.
#[test]
fn segments_are_early() {
    for family in FAMILIES {
        let mut side = Side::new(false, RECV_BUFFER);
        let steps = of(
            family == Family::V6,
            &[Step::Send(0, 100), Step::Recv(1, 100)],
        );
        steps.iter().for_each(|step| drop(side.take(step)));
        for ns in &side.world.ns {
            let early = ns.early.as_deref().unwrap();
            assert!(early.knows(family), "{family:?}");
        }
        side.world.end();
    }
}

/// The bytes that follow a packet in the shortest frames of a real wire are counted as well.
#[test]
fn what_pads_a_frame_is_counted() {
    for v6 in [false, true] {
        let steps = [Step::Send(0, 100), Step::Again(0, 0, Change::Pad(6))];
        assert!(assert_alike(&of(v6, &steps), RECV_BUFFER, true).is_ok());
    }
}

/// The segment stands behind them: that of a request which is read already, and that which ends a connection.
#[test]
fn options_of_ip_are_passed_over() {
    let again = Step::Again(0, 0, Change::Options);
    let lost = |step| [Step::Cut(0, true), step, Step::Cut(0, false), again.clone()];
    for (times, step) in [
        (8, Step::Send(0, 20)),
        (8, Step::Shutdown(0)),
        (1, Step::Shutdown(0)),
    ] {
        let mut steps = vec![Step::Exchange(0, times, 20)];
        steps.extend(lost(step));
        steps.extend([Step::Recv(1, 100), Step::Wait(20_000)]);
        for v6 in [false, true] {
            let steps = of(v6, &steps);
            assert!(assert_alike(&steps, RECV_BUFFER, true).is_ok(), "{steps:?}");
        }
    }
}
