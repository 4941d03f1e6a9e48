//! How connections come about, and how they fail to.

use super::*;
use crate::netns::tcp::segment::{ACK, Bare, RST, SYN};
use crate::netns::tcp::{IcmpKind, TcpState};

const fn is_syn(segment: &Segment) -> bool {
    segment.has(SYN) && !segment.has(ACK)
}

#[test]
fn three_segments_open_a_connection() {
    for ends in [V4, V6] {
        let mut rig = Rig::new();
        let (a, b) = rig.pair(ends);
        let flags: Vec<u8> = rig.log.iter().map(|sent| sent.segment.flags).collect();
        assert_eq!(flags, [SYN, SYN | ACK, ACK]);
        assert_eq!(rig.tcp(A).state(a), TcpState::Established);
        assert_eq!(rig.tcp(A).peer_addr(a), Some(address(ends[1])));
        assert_eq!(rig.tcp(B).local_addr(b), Some(address(ends[1])));
        assert_eq!(rig.tcp(B).peer_addr(b), Some(address(ends[0])));
        assert_eq!(rig.tcp(A).take_error(a), None);
    }
}

/// RFC 9293 §3.7.1: the MTU less 40 or 60 bytes. 65,495 is what Linux announces on its loopback.
#[test]
fn the_announced_segment_size_follows_the_mtu() {
    for (ends, mtu, want) in [
        (V4, 1500, 1460),
        (V6, 1500, 1440),
        (V4, 65_536, 65_495),
        (V6, 65_536, 65_476),
    ] {
        let mut rig = Rig::new();
        rig.mtu = mtu;
        let mut seen = Vec::new();
        rig.tcp(B)
            .listen(address(ends[1]), 1, &TcpOptions::default())
            .unwrap();
        rig.connect(ends[0], ends[1]);
        for end in [A, B] {
            rig.with(end, |tcp, cx| tcp.poll(cx));
            let frame = first(&mut rig.ends[end].out).unwrap();
            let bytes = rig.pool.bytes(&frame);
            let options = if ends == V4 { 40 } else { 60 };
            // smoltcp writes the segment size first: kind 2, length 4.
            assert_eq!(bytes[options..options + 2], [2, 4]);
            seen.push(u16::from_be_bytes([bytes[options + 2], bytes[options + 3]]));
            rig.deliver(1 - end, frame);
        }
        assert_eq!(seen, [want, want]);
    }
}

/// A SYN that comes again says nothing new, here not that windows are not scaled: as much is sent as the first one's sender has
/// room for.
#[test]
fn a_second_syn_is_not_met() {
    for ends in [V4, V6] {
        let mut rig = Rig::new();
        let options = TcpOptions {
            send_buffer: 128 * 1024,
            nodelay: true,
            ..TcpOptions::default()
        };
        let listener = rig.tcp(B).listen(address(ends[1]), 8, &options).unwrap();
        let a = rig.connect(ends[0], ends[1]);
        rig.run_for(DELAY);
        let syn = rig.log[0].segment;
        let again = Bare {
            local: syn.remote,
            remote: syn.local,
            seq: syn.seq,
            ack: 0,
            flags: SYN,
            window: syn.window,
            hop_limit: 64,
        };
        let frame = again.emit(&mut rig.pool).unwrap();
        rig.pool.meta_mut(&frame).csum_partial = true;
        rig.deliver(B, frame);
        rig.run_for(Duration::from_millis(5));
        let (b, _) = rig.tcp(B).accept(listener).unwrap();
        for _ in 0..4 {
            rig.send(B, b, b"hello").unwrap();
            rig.run_for(Duration::from_millis(50));
            assert_eq!(rig.recv(A, a).unwrap(), b"hello");
        }
        rig.wire = Box::new(nothing);
        rig.log.clear();
        assert_eq!(rig.send(B, b, &pattern(90_000)), Ok(90_000));
        rig.flush();
        let sent = rig.log.iter().map(|sent| sent.segment.payload);
        assert_eq!(sent.sum::<u32>(), 90_000);
    }
}

#[test]
fn a_reset_refuses() {
    for ends in [V4, V6] {
        let mut rig = Rig::new();
        let a = rig.connect(ends[0], ends[1]);
        rig.run_for(Duration::from_millis(1));
        assert_eq!(rig.ends[B].refused, [DropReason::NoSocket]);
        let reset = rig.log[1].segment;
        assert_eq!((reset.flags, reset.seq), (RST | ACK, 0));
        assert!(rig.ends[A].wakes.contains(&a));
        let ready = rig.tcp(A).ready(a);
        assert!(ready.error && ready.hup && ready.writable && ready.readable);
        assert_eq!(rig.tcp(A).take_error(a), Some(Errno::ConnRefused));
        assert_eq!(rig.recv(A, a), Ok(vec![]));
        assert_eq!(rig.send(A, a, b"x"), Err(Errno::Pipe));
        rig.close(A, a);
        let none = rig.with(A, |tcp, cx| tcp.recv(cx.pool, a, &mut [0]));
        assert_eq!(none, Err(Errno::BadFd));
        rig.assert_empty();
    }
}

/// `tcp_syn_retries` 6: the seventh SYN waits 64 s.
#[test]
fn silence_times_out_when_linux_does() {
    let mut rig = Rig::new();
    rig.wire = Box::new(nothing);
    // Not a whole microsecond: no timer may be early.
    rig.now = Time::from_nanos(1_001);
    let start = rig.now;
    let a = rig.connect(V4[0], V4[1]);
    rig.run_until(Time::from_nanos(127_000_001_000));
    assert_eq!(rig.tcp(A).state(a), TcpState::SynSent);
    assert_eq!(rig.send(A, a, b"x"), Err(Errno::WouldBlock));
    rig.run_until(Time::from_nanos(127_000_001_001));
    let syns = rig.times(A, is_syn);
    for (at, seconds) in syns.iter().zip([0, 1, 3, 7, 15, 31, 63]) {
        let late = at.since(start + Duration::from_secs(seconds));
        assert!(*at >= start + Duration::from_secs(seconds), "early: {at}");
        assert!(late < Duration::from_micros(1), "late: {at}");
    }
    assert_eq!((syns.len(), rig.log.len()), (7, 7));
    assert_eq!(rig.recv(A, a), Err(Errno::TimedOut));
    assert_eq!(rig.tcp(A).counters().timeouts, 1);
    rig.close(A, a);
    rig.assert_empty();
}

/// Who calls somebody who does not answer says it again, and holds no buffers meanwhile.
#[test]
fn a_call_without_an_answer_holds_no_buffers() {
    let mut rig = Rig::new();
    rig.wire = Box::new(nothing);
    for port in 0..100 {
        rig.connect(&format!("10.0.0.1:{}", 10_000 + port), V4[1]);
    }
    rig.run_until(Time::from_secs(100));
    assert_eq!(rig.times(A, is_syn).len(), 700);
    assert_eq!(rig.tcp(A).connections(), 100);
    assert_eq!(rig.tcp(A).buffer_bytes(), 0);
}

#[test]
fn a_lost_syn_costs_a_second() {
    let mut rig = Rig::new();
    let mut first = true;
    rig.wire = Box::new(move |_| {
        let lost = core::mem::take(&mut first);
        if lost { vec![] } else { vec![DELAY] }
    });
    let listener = rig.listen(V4[1], 1);
    let a = rig.connect(V4[0], V4[1]);
    rig.run_until(Time::from_millis(1_001));
    assert_eq!(rig.tcp(A).state(a), TcpState::Established);
    assert!(rig.tcp(B).accept(listener).is_ok());
}

#[test]
fn a_closed_socket_sends_no_more_syns_and_no_reset() {
    let mut rig = Rig::new();
    rig.wire = Box::new(nothing);
    let a = rig.connect(V4[0], V4[1]);
    rig.close(A, a);
    rig.run_until(Time::from_secs(200));
    assert_eq!(rig.log.len(), 1);
    rig.assert_empty();
}

/// RFC 9293 §3.5, figure 8.
#[test]
fn both_ends_may_open_at_once() {
    let mut rig = Rig::new();
    let a = rig.connect(V4[0], V4[1]);
    let (local, remote) = (address(V4[1]), address(V4[0]));
    let b = rig
        .with(B, |tcp, cx| {
            tcp.connect(cx, local, remote, 1500, &TcpOptions::default())
        })
        .unwrap();
    rig.run_for(Duration::from_secs(2));
    assert_eq!(rig.tcp(A).state(a), TcpState::Established);
    assert_eq!(rig.tcp(B).state(b), TcpState::Established);
    rig.send(A, a, b"both").unwrap();
    rig.run_for(Duration::from_millis(1));
    assert_eq!(rig.recv(B, b).unwrap(), b"both");
    rig.close(A, a);
    rig.close(B, b);
    rig.run_for(Duration::from_secs(120));
    rig.assert_empty();
}

#[test]
fn a_socket_may_connect_to_itself() {
    let mut rig = Rig::new();
    let here = address("127.0.0.1:5000");
    let a = rig
        .with(A, |tcp, cx| {
            tcp.connect(cx, here, here, 65_536, &TcpOptions::default())
        })
        .unwrap();
    for _ in 0..10 {
        rig.with(A, |tcp, cx| tcp.poll(cx));
        while let Some(frame) = first(&mut rig.ends[A].out) {
            rig.deliver(A, frame);
        }
    }
    assert_eq!(rig.tcp(A).state(a), TcpState::Established);
    rig.send(A, a, b"me").unwrap();
    rig.with(A, |tcp, cx| tcp.poll(cx));
    let frame = first(&mut rig.ends[A].out).unwrap();
    rig.deliver(A, frame);
    assert_eq!(rig.recv(A, a).unwrap(), b"me");
}

#[test]
fn what_cannot_be_connected_is_said_at_once() {
    let mut rig = Rig::new();
    let with = TcpOptions::default();
    for (local, remote, errno) in [
        ("10.0.0.1:0", V4[1], Errno::Invalid),
        (V4[0], "10.0.0.2:0", Errno::Invalid),
        (V4[0], "0.0.0.0:80", Errno::Invalid),
        (V4[0], V6[1], Errno::Invalid),
        (V4[0], "224.0.0.1:80", Errno::NetUnreach),
    ] {
        assert_eq!(rig.connect_with(local, remote, &with), Err(errno));
    }
    rig.connect(V4[0], V4[1]);
    let again = rig.connect_with(V4[0], V4[1], &with);
    assert_eq!(again, Err(Errno::AddrNotAvail));
}

#[test]
fn path_errors_end_a_connect() {
    for (kind, errno) in [
        (
            IcmpKind::HardUnreachable(Errno::ConnRefused),
            Errno::ConnRefused,
        ),
        (IcmpKind::Soft(Errno::HostUnreach), Errno::HostUnreach),
        (IcmpKind::Soft(Errno::NetUnreach), Errno::NetUnreach),
    ] {
        let mut rig = Rig::new();
        rig.wire = Box::new(nothing);
        let a = rig.connect(V4[0], V4[1]);
        rig.flush();
        let seq = rig.log[0].segment.seq;
        let (local, remote) = (address(V4[0]), address(V4[1]));
        // A quote of something that was never sent changes nothing.
        rig.with(A, |tcp, cx| {
            tcp.icmp_error(cx, local, remote, seq.wrapping_sub(5), kind);
        });
        assert_eq!(rig.tcp(A).state(a), TcpState::SynSent);
        rig.with(A, |tcp, cx| tcp.icmp_error(cx, local, remote, seq, kind));
        assert!(rig.tcp(A).ready(a).error);
        assert_eq!(rig.tcp(A).take_error(a), Some(errno));
        rig.close(A, a);
        rig.assert_empty();
    }
}

#[test]
fn a_dead_neighbour_ends_a_connect() {
    let mut rig = Rig::new();
    rig.wire = Box::new(nothing);
    let a = rig.connect(V4[0], V4[1]);
    let (local, remote) = (address(V4[0]), address(V4[1]));
    rig.with(A, |tcp, cx| {
        tcp.route_failed(cx, local, remote, Errno::HostUnreach);
    });
    assert_eq!(rig.recv(A, a), Err(Errno::HostUnreach));
}

/// RFC 6528: the same addresses get later numbers later, other addresses other numbers.
#[test]
fn initial_numbers_move_with_the_clock_and_the_addresses() {
    let isn = |at: Time, local: &str| {
        let mut rig = Rig::new();
        rig.now = at;
        rig.connect(local, V4[1]);
        rig.flush();
        rig.log[0].segment.seq
    };
    let first = isn(Time::ZERO, V4[0]);
    assert_eq!(isn(Time::ZERO, V4[0]), first);
    let tick = isn(Time::from_nanos(64_000), V4[0]);
    assert_eq!(tick, first.wrapping_add(1000));
    assert_ne!(isn(Time::ZERO, "10.0.0.1:40001"), first);
}
