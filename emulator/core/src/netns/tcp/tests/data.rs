//! Data: whole and in order, over every kind of wire; and what idle sockets cost.

use super::*;
use crate::netns::tcp::segment::{ACK, Bare};
use crate::netns::tcp::{Congestion, RECV_BUFFER, SEND_BUFFER, TcpState};

/// Sends `data` from A to B, reading as it comes, until B sees the end. Both are closed then.
fn transfer(rig: &mut Rig, a: TcpId, b: TcpId, data: &[u8], until: Time) {
    let (mut at, mut got, mut done) = (0, Vec::new(), false);
    rig.run_with(until, |rig| {
        while at < data.len()
            && let Ok(taken) = rig.send(A, a, &data[at..])
        {
            at += taken;
            if at == data.len() {
                rig.shut(A, a).unwrap();
            }
        }
        while !done && let Ok(bytes) = rig.recv(B, b) {
            done = bytes.is_empty();
            got.extend(bytes);
        }
    });
    assert_eq!(at, data.len(), "not all was sent");
    assert!(done, "{} of {} bytes at {}", got.len(), data.len(), rig.now);
    assert!(got == data, "the data is not what was sent");
    rig.close(A, a);
    rig.close(B, b);
}

#[test]
fn a_mebibyte_arrives_whole_over_both_families() {
    let data = pattern(1 << 20);
    for ends in [V4, V6] {
        for (delay, mtu) in [
            (Duration::ZERO, 1500),
            (DELAY, 1500),
            (DELAY, 65_536),
            (DELAY, 9000),
        ] {
            let mut rig = Rig::new();
            rig.mtu = mtu;
            rig.wire = Box::new(move |_| vec![delay]);
            let (a, b) = rig.pair(ends);
            let start = rig.now;
            transfer(&mut rig, a, b, &data, start + Duration::from_secs(1));
            let largest = rig.log.iter().map(|sent| sent.len).max().unwrap();
            assert!(largest <= mtu);
            let last = rig.log.last().unwrap().at - start;
            // 32 send buffers there and back, and no stall of an acknowledgement between them.
            assert!(last < Duration::from_millis(50), "{last:?} at MTU {mtu}");
            rig.run_for(Duration::from_secs(121));
            let listener = rig.tcp(B).sockets()[0].id.unwrap();
            rig.close(B, listener);
            rig.assert_empty();
        }
    }
}

/// Read in place, some of what is shown at a time, a stream is the same, and its window opens.
#[test]
fn bytes_are_read_where_they_lie() {
    let data = pattern(1 << 20);
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V4);
    let (mut at, mut got, mut take) = (0, Vec::new(), 1);
    rig.run_with(rig.now + Duration::from_secs(20), |rig| {
        while at < data.len()
            && let Ok(taken) = rig.send(A, a, &data[at..])
        {
            at += taken;
        }
        let mut look = |bytes: &[u8]| {
            assert!(!bytes.is_empty());
            take = take * 7 % 20_011;
            let taken = bytes.len().min(take);
            got.extend_from_slice(&bytes[..taken]);
            taken
        };
        while rig
            .with(B, |tcp, cx| tcp.recv_with(cx.pool, b, &mut look))
            .is_ok()
        {}
    });
    assert!(got == data, "{} bytes", got.len());
    let nothing = &mut |_: &[u8]| 0;
    let none = rig.with(B, |tcp, cx| tcp.recv_with(cx.pool, b, nothing));
    assert_eq!(none, Err(Errno::WouldBlock));
    rig.send(A, a, b"left alone").unwrap();
    rig.run_for(Duration::from_millis(1));
    assert_eq!(
        rig.with(B, |tcp, cx| tcp.recv_with(cx.pool, b, nothing)),
        Ok(0)
    );
    assert_eq!(rig.recv(B, b), Ok(b"left alone".to_vec()));
    rig.shut(A, a).unwrap();
    rig.run_for(Duration::from_millis(1));
    assert_eq!(
        rig.with(B, |tcp, cx| tcp
            .recv_with(cx.pool, b, &mut |_| panic!("at the end"))),
        Ok(0)
    );
    rig.close(A, a);
    rig.close(B, b);
}

#[test]
fn large_buffers_fill_a_long_path() {
    let mut rig = Rig::new();
    let options = TcpOptions {
        recv_buffer: 1 << 20,
        send_buffer: 1 << 20,
        ..TcpOptions::default()
    };
    rig.wire = Box::new(|_| vec![Duration::from_millis(10)]);
    let listener = rig.tcp(B).listen(address(V4[1]), 1, &options).unwrap();
    let a = rig.connect_with(V4[0], V4[1], &options).unwrap();
    rig.run_for(Duration::from_millis(40));
    let (b, _) = rig.tcp(B).accept(listener).unwrap();
    // More than a connection says without them.
    rig.send(A, a, &pattern(10_000)).unwrap();
    rig.run_for(Duration::from_millis(40));
    assert_eq!(rig.recv(B, b).unwrap(), pattern(10_000));
    assert_eq!(rig.tcp(A).buffer_bytes(), 2 << 20);
    let data = pattern(1 << 20);
    let start = rig.now;
    transfer(&mut rig, a, b, &data, start + Duration::from_millis(200));
}

#[test]
fn requests_and_answers_do_not_wait_for_timers() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V4);
    let start = rig.now;
    for n in 0..100_u8 {
        rig.send(A, a, &[n; 64]).unwrap();
        rig.run_for(DELAY);
        assert_eq!(rig.recv(B, b).unwrap(), [n; 64]);
        rig.send(B, b, &[n; 64]).unwrap();
        rig.run_for(DELAY);
        assert_eq!(rig.recv(A, a).unwrap(), [n; 64]);
    }
    assert_eq!(rig.now - start, DELAY * 200);
    // Every segment carries data and an acknowledgement: three for the handshake, one each way.
    assert_eq!(rig.log.len(), 203);
}

#[test]
fn nagle_gathers_and_nodelay_does_not() {
    for (nodelay, want) in [(false, 2), (true, 10)] {
        let mut rig = Rig::new();
        let options = TcpOptions {
            nodelay,
            ..TcpOptions::default()
        };
        let (a, b) = rig.pair_with(V4, &options);
        let before = rig.log.len();
        for n in 0..10 {
            rig.send(A, a, &[n]).unwrap();
            rig.flush();
        }
        rig.run_for(Duration::from_secs(1));
        assert_eq!(rig.recv(B, b).unwrap().len(), 10);
        let sent = rig.log[before..].iter().filter(|s| s.segment.payload > 0);
        assert_eq!(sent.count(), want);
    }
}

#[test]
fn a_reader_that_stops_stops_the_sender() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V4);
    let mut taken = 0;
    rig.run_with(Time::from_secs(30), |rig| {
        while let Ok(n) = rig.send(A, a, &[7; 4096]) {
            taken += n;
        }
    });
    assert_eq!(taken, SEND_BUFFER + RECV_BUFFER);
    assert!(!rig.tcp(A).ready(a).writable);
    rig.ends[A].wakes.clear();
    // Longer than any limit on silence: the peer answers the probes.
    rig.run_until(Time::from_secs(5_000));
    assert_eq!(rig.tcp(A).state(a), TcpState::Established);
    while let Ok(bytes) = rig.recv(B, b)
        && !bytes.is_empty()
    {
        rig.run_for(Duration::from_secs(1));
    }
    assert!(rig.ends[A].wakes.contains(&a));
    assert!(rig.tcp(A).ready(a).writable);
}

#[test]
fn one_lost_segment_is_sent_again() {
    for congestion in [Congestion::None, Congestion::Reno, Congestion::Cubic] {
        let mut rig = Rig::new();
        let options = TcpOptions {
            congestion,
            ..TcpOptions::default()
        };
        let (a, b) = rig.pair_with(V4, &options);
        let mut count = 0;
        rig.wire = Box::new(move |sent| {
            count += u32::from(sent.segment.payload > 0);
            if count == 10 && sent.segment.payload > 0 {
                vec![]
            } else {
                vec![DELAY]
            }
        });
        let start = rig.now;
        let until = start + Duration::from_secs(10);
        transfer(&mut rig, a, b, &pattern(100_000), until);
        let again = rig
            .log
            .iter()
            .filter(|s| s.from == A && s.segment.payload > 0);
        assert!(again.count() >= 100_000 / 1460 + 2);
    }
}

#[test]
fn loss_doubling_and_reordering_leave_the_data_whole() {
    for seed in 0..6 {
        let mut rig = Rig::new();
        let (a, b) = rig.pair(if seed % 2 == 0 { V4 } else { V6 });
        let mut chance = switch::Rng::new(seed);
        rig.wire = Box::new(move |_| match chance.below(20) {
            0 => vec![],
            1 => vec![DELAY, DELAY * 3],
            2 | 3 => vec![DELAY * (1 + chance.below(50))],
            _ => vec![DELAY],
        });
        let until = rig.now + Duration::from_secs(3000);
        transfer(&mut rig, a, b, &pattern(200_000), until);
        rig.run_for(Duration::from_secs(1200));
        let listener = rig.tcp(B).sockets()[0].id.unwrap();
        rig.close(B, listener);
        rig.assert_empty();
    }
}

/// 10,000 idle connections: a busy one costs what it costs alone, and nothing is due.
#[test]
fn idle_sockets_cost_nothing() {
    let work = |idle: usize| {
        let mut rig = Rig::new();
        let small = TcpOptions {
            recv_buffer: 0,
            send_buffer: 0,
            ..TcpOptions::default()
        };
        let listener = rig.tcp(B).listen(address(V4[1]), 4096, &small).unwrap();
        let mut pair = None;
        for n in 0..=idle {
            let local = format!("10.{}.{}.1:{}", n >> 8 & 255, n & 255, 1024 + n % 50_000);
            let a = rig.connect_with(&local, V4[1], &small).unwrap();
            rig.run_for(DELAY * 3);
            pair = Some((a, rig.tcp(B).accept(listener).unwrap().0));
        }
        let (a, b) = pair.unwrap();
        rig.run_for(Duration::from_secs(1));
        assert_eq!(rig.next(), None);
        let before = (*rig.tcp(A).counters(), *rig.tcp(B).counters());
        for _ in 0..50 {
            rig.send(A, a, b"ping").unwrap();
            rig.run_for(DELAY);
            rig.recv(B, b).unwrap();
            rig.send(B, b, b"pong").unwrap();
            rig.run_for(DELAY);
            rig.recv(A, a).unwrap();
        }
        rig.run_for(Duration::from_secs(1));
        let runs = rig.tcp(A).counters().engine_runs - before.0.engine_runs;
        runs + rig.tcp(B).counters().engine_runs - before.1.engine_runs
    };
    assert_eq!(work(0), work(10_000));
}

#[test]
fn super_segments_and_partial_checksums_are_marked() {
    for (ends, header) in [(V4, 20), (V6, 40)] {
        let mut rig = Rig::new();
        for end in [A, B] {
            rig.tcp(end).set_offload(true);
            rig.tcp(end).set_partial_checksums(true);
        }
        let options = TcpOptions {
            recv_buffer: 256 * 1024,
            send_buffer: 256 * 1024,
            ..TcpOptions::default()
        };
        let (a, b) = rig.pair_with(ends, &options);
        let data = pattern(200_000);
        rig.send(A, a, &data).unwrap();
        rig.with(A, |tcp, cx| tcp.poll(cx));
        let mut largest = 0;
        while let Some(frame) = first(&mut rig.ends[A].out) {
            let (meta, len) = (rig.pool.meta(&frame), rig.pool.len(&frame));
            largest = largest.max(len);
            assert!(meta.csum_partial);
            let size = if len > 1500 { 1480 - header } else { 0 };
            assert_eq!(usize::from(meta.gso_size), size);
            let packet = Packet::parse(rig.pool.bytes(&frame)).unwrap();
            let mut bytes = rig.pool.bytes(&frame).to_vec();
            assert!(!switch::wire::transport_checksum_ok(&bytes, &packet));
            // An edge completes the sum that is in the field.
            let check = !switch::wire::sum(&bytes[header..]);
            bytes[header + 16..header + 18].copy_from_slice(&check.to_be_bytes());
            assert!(switch::wire::transport_checksum_ok(&bytes, &packet));
            rig.deliver(B, frame);
        }
        assert!((65_000..=65_535).contains(&largest));
        let mut got = Vec::new();
        rig.run_with(Time::from_secs(5), |rig| {
            while let Ok(bytes) = rig.recv(B, b) {
                got.extend(bytes);
            }
        });
        assert!(got == data);
    }
}

/// A lone super-segment is several segments: its acknowledgement does not wait.
#[test]
fn a_super_segment_is_acknowledged_at_once() {
    for ends in [V4, V6] {
        let mut rig = Rig::new();
        rig.tcp(A).set_offload(true);
        let (a, b) = rig.pair(ends);
        for size in [1, 5000, 1, 3000] {
            let start = rig.now;
            rig.send(A, a, &pattern(size)).unwrap();
            rig.run_for(Duration::from_millis(50));
            let heard = rig.log.iter().rev().find(|sent| sent.from == B).unwrap();
            let waited = heard.at.since(start);
            assert_eq!(
                waited < Duration::from_millis(1),
                size > 1,
                "{size}: {waited:?}"
            );
            assert_eq!(rig.recv(B, b).unwrap().len(), size);
        }
    }
}

/// Super-segments would starve under a window that counts segments.
#[test]
fn congestion_control_sends_single_segments() {
    let mut rig = Rig::new();
    rig.tcp(A).set_offload(true);
    let options = TcpOptions {
        congestion: Congestion::Cubic,
        ..TcpOptions::default()
    };
    let (a, b) = rig.pair_with(V4, &options);
    rig.send(A, a, &pattern(20_000)).unwrap();
    rig.run_for(Duration::from_secs(1));
    assert!(rig.log.iter().all(|sent| sent.len <= 1500));
    assert_eq!(rig.recv(B, b).unwrap(), pattern(20_000));
}

/// The size of segments follows when it is switched on and off under an open connection.
#[test]
fn offload_may_change() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V6);
    for on in [false, true, false] {
        rig.tcp(A).set_offload(on);
        let start = rig.log.len();
        rig.send(A, a, &pattern(10_000)).unwrap();
        rig.run_for(Duration::from_millis(50));
        let longest = rig.log[start..].iter().map(|sent| sent.len).max();
        assert_eq!(longest.is_some_and(|len| len > 1500), on);
        assert_eq!(rig.recv(B, b).unwrap(), pattern(10_000));
    }
}

/// An acknowledgement from B to A that repeats the last one, with this window.
fn repeat_ack(rig: &mut Rig, window: u16) {
    let last = rig.log.iter().rev().find(|sent| sent.from == B).unwrap();
    let bare = Bare {
        local: last.segment.remote,
        remote: last.segment.local,
        seq: last.segment.end(),
        ack: last.segment.ack,
        flags: ACK,
        window,
        hop_limit: 64,
    };
    let frame = bare.emit(&mut rig.pool).unwrap();
    rig.pool.meta_mut(&frame).csum_partial = true;
    rig.deliver(A, frame);
}

/// A FIN that comes again behind data that is known already still ends the stream.
#[test]
fn a_fin_behind_known_data_is_taken() {
    for ends in [V4, V6] {
        let mut rig = Rig::new();
        let (a, b) = rig.pair(ends);
        rig.send(A, a, b"known").unwrap();
        rig.run_for(DELAY);
        rig.wire = Box::new(nothing);
        assert_eq!(rig.recv(B, b).unwrap(), b"known");
        rig.shut(A, a).unwrap();
        rig.run_for(Duration::from_millis(900));
        assert_eq!(rig.recv(B, b), Err(Errno::WouldBlock));
        rig.wire = Box::new(all);
        rig.run_for(Duration::from_millis(500));
        let again = rig.log.iter().rev().find(|sent| sent.from == A).unwrap();
        assert_eq!(again.segment.payload, 5, "the retransmission carries both");
        assert_eq!(rig.recv(B, b).unwrap(), b"");
        assert_eq!(rig.tcp(A).state(a), TcpState::FinWait2);
    }
}

#[test]
fn repeated_acknowledgements_do_not_stop_a_fin() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V4);
    rig.send(A, a, b"x").unwrap();
    rig.run_for(Duration::from_millis(20));
    rig.wire = Box::new(nothing);
    rig.shut(A, a).unwrap();
    rig.run_for(DELAY);
    for _ in 0..5 {
        repeat_ack(&mut rig, 16_384);
        rig.flush();
    }
    rig.wire = Box::new(all);
    rig.run_for(Duration::from_millis(1_500));
    assert_eq!(rig.tcp(A).state(a), TcpState::FinWait2);
    assert_eq!(rig.recv(B, b).unwrap(), b"x");
    assert_eq!(rig.recv(B, b).unwrap(), b"");
}

#[test]
fn a_stale_closed_window_does_not_stop_the_data() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V4);
    rig.send(A, a, b"x").unwrap();
    rig.run_for(Duration::from_millis(20));
    assert_eq!(rig.recv(B, b).unwrap(), b"x");
    rig.wire = Box::new(nothing);
    rig.send(A, a, b"y").unwrap();
    rig.flush();
    repeat_ack(&mut rig, 0);
    rig.run_for(Duration::from_millis(500));
    rig.wire = Box::new(all);
    rig.run_for(Duration::from_secs(4));
    assert_eq!(rig.recv(B, b).unwrap(), b"y");
    rig.run_for(Duration::from_secs(1));
    assert_eq!(rig.next(), None);
}
