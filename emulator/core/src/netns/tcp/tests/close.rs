//! How connections end: half-close, resets, orphans, TIME_WAIT, keepalive.

use super::unsent::Forged;
use super::*;
use crate::netns::tcp::conn::ACK_DELAY;
use crate::netns::tcp::demux::Tuple;
use crate::netns::tcp::segment::{ACK, Bare, FIN, RST, SYN};
use crate::netns::tcp::timewait::{MAX_ENTRIES, Rest, TIME_WAIT};
use crate::netns::tcp::{MAX_UNANSWERED, TcpState};

const MS: Duration = Duration::from_millis(1);

fn resets(rig: &Rig, end: usize) -> usize {
    rig.times(end, |segment| segment.has(RST)).len()
}

#[test]
fn each_half_closes_by_itself() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V4);
    rig.send(A, a, b"question").unwrap();
    rig.shut(A, a).unwrap();
    assert_eq!(rig.shut(A, a), Ok(()));
    assert_eq!(rig.send(A, a, b"more"), Err(Errno::Pipe));
    rig.run_for(20 * MS);
    assert_eq!(rig.tcp(A).state(a), TcpState::FinWait2);
    assert_eq!(rig.recv(B, b).unwrap(), b"question");
    assert_eq!(rig.recv(B, b).unwrap(), b"");
    // Nothing closes it for us: the other half is open for as long as it likes.
    rig.run_for(Duration::from_secs(3600));
    assert_eq!(rig.send(B, b, b"answer"), Ok(6));
    rig.close(B, b);
    rig.run_for(20 * MS);
    assert_eq!(rig.recv(A, a).unwrap(), b"answer");
    assert_eq!(rig.recv(A, a).unwrap(), b"");
    assert!(rig.tcp(A).ready(a).hup);
    assert_eq!(rig.tcp(A).time_waits(), 1);
    assert_eq!((resets(&rig, A), resets(&rig, B)), (0, 0));
}

#[test]
fn closing_with_unread_data_resets() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V4);
    rig.send(A, a, b"never read").unwrap();
    rig.run_for(20 * MS);
    rig.close(B, b);
    rig.run_for(MS);
    assert_eq!((resets(&rig, A), resets(&rig, B)), (0, 1));
    assert_eq!(rig.send(A, a, b"x"), Err(Errno::ConnReset));
    assert_eq!(rig.send(A, a, b"x"), Err(Errno::Pipe));
    assert_eq!((rig.tcp(B).connections(), rig.tcp(B).time_waits()), (0, 0));
}

#[test]
fn data_for_a_closed_socket_resets() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V4);
    rig.close(B, b);
    rig.run_for(20 * MS);
    assert_eq!(rig.tcp(A).state(a), TcpState::CloseWait);
    rig.send(A, a, b"too late").unwrap();
    rig.run_for(20 * MS);
    assert_eq!(resets(&rig, B), 1);
    // Linux: a reset in CLOSE_WAIT is EPIPE.
    assert_eq!(rig.tcp(A).take_error(a), Some(Errno::Pipe));
    assert_eq!(rig.tcp(B).time_waits(), 0);
}

#[test]
fn data_that_crosses_a_fin_resets() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V4);
    rig.close(B, b);
    rig.send(A, a, b"crossing").unwrap();
    rig.run_for(20 * MS);
    // One answers the data, one the acknowledgement of the FIN.
    assert_eq!(resets(&rig, B), 2);
    assert_eq!(rig.tcp(B).connections() + rig.tcp(B).time_waits(), 0);
}

#[test]
fn what_came_before_a_reset_can_be_read() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V4);
    rig.send(A, a, b"last words").unwrap();
    rig.run_for(20 * MS);
    rig.with(A, |tcp, cx| tcp.abort(cx, a));
    rig.run_for(MS);
    let held = rig.tcp(B).buffer_bytes();
    assert!(held > 0);
    assert_eq!(rig.recv(B, b).unwrap(), b"last words");
    assert_eq!(rig.tcp(B).buffer_bytes(), 0);
    assert_eq!(rig.recv(B, b), Err(Errno::ConnReset));
    assert_eq!(rig.recv(B, b).unwrap(), b"");
}

#[test]
fn linger_zero_resets() {
    let mut rig = Rig::new();
    let options = TcpOptions {
        linger_zero: true,
        ..TcpOptions::default()
    };
    let (a, b) = rig.pair_with(V4, &options);
    rig.close(A, a);
    rig.run_for(MS);
    assert_eq!(resets(&rig, A), 1);
    assert_eq!(rig.recv(B, b), Err(Errno::ConnReset));
}

/// The data is still delivered after `close`, then the FIN; 60 s later nothing is left.
#[test]
fn an_orphan_delivers_its_data() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V4);
    let data = pattern(16 * 1024);
    assert_eq!(rig.send(A, a, &data), Ok(data.len()));
    rig.close(A, a);
    assert_eq!(rig.send(A, a, b"x"), Err(Errno::BadFd));
    let mut got = Vec::new();
    rig.run_with(Time::from_secs(1), |rig| {
        while let Ok(bytes) = rig.recv(B, b)
            && !bytes.is_empty()
        {
            got.extend(bytes);
        }
    });
    assert_eq!(got, data);
    rig.close(B, b);
    rig.run_for(MS);
    assert_eq!(rig.tcp(A).buffer_bytes() + rig.tcp(B).buffer_bytes(), 0);
    assert_eq!(rig.tcp(A).time_waits(), 1);
    rig.run_for(TIME_WAIT);
    assert_eq!(rig.tcp(A).time_waits(), 0);
}

#[test]
fn an_orphan_in_fin_wait_2_holds_nothing_and_ends() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V4);
    rig.close(A, a);
    rig.run_for(20 * MS);
    assert_eq!((rig.tcp(A).connections(), rig.tcp(A).time_waits()), (0, 1));
    assert_eq!(rig.tcp(A).buffer_bytes(), 0);
    assert_eq!(rig.tcp(A).sockets()[0].state, TcpState::FinWait2);
    rig.run_for(Duration::from_secs(61));
    assert_eq!(rig.tcp(A).time_waits(), 0);
    // The other side learns of it when it speaks.
    rig.send(B, b, b"hello?").unwrap();
    rig.run_for(MS);
    assert_eq!(rig.tcp(B).take_error(b), Some(Errno::Pipe));
}

#[test]
fn an_orphan_gives_up_sooner_than_a_socket() {
    let mut rig = Rig::new();
    let (a, _) = rig.pair(V4);
    rig.wire = Box::new(nothing);
    rig.send(A, a, b"lost").unwrap();
    rig.close(A, a);
    let start = rig.now;
    rig.run_until(start + Duration::from_secs(102));
    assert_eq!(rig.tcp(A).connections(), 1);
    rig.run_until(start + Duration::from_secs(103));
    assert_eq!((rig.tcp(A).connections(), rig.tcp(A).time_waits()), (0, 0));
    assert_eq!(resets(&rig, A), 0);
}

/// `tcp_out_of_resources`: a peer that leaves the ends of its connections unacknowledged holds no more memory than so.
#[test]
fn only_so_many_orphans_wait_for_an_answer() {
    const MORE: usize = 60;
    let mut rig = Rig::new();
    let listener = rig.listen(V4[1], MAX_UNANSWERED + MORE);
    for port in 0..MAX_UNANSWERED + MORE {
        rig.connect(&format!("10.0.0.1:{}", 10_000 + port), V4[1]);
    }
    rig.run_for(20 * MS);
    // From now on it says nothing any more.
    rig.wire = Box::new(nothing);
    for number in 0..MAX_UNANSWERED + MORE {
        let (sock, _) = rig.tcp(B).accept(listener).unwrap();
        if number % 2 == 0 {
            rig.send(B, sock, b"never heard").unwrap();
        }
        rig.close(B, sock);
    }
    // All of them have said it once: none is in the way.
    rig.run_for(500 * MS);
    assert_eq!(rig.tcp(B).connections(), MAX_UNANSWERED + MORE);
    assert_eq!(rig.tcp(B).counters().orphans_reset, 0);
    rig.run_for(Duration::from_secs(2));
    assert_eq!(rig.tcp(B).connections(), MAX_UNANSWERED);
    assert_eq!(rig.tcp(B).counters().orphans_reset, MORE as u64);
    assert_eq!(resets(&rig, B), MORE);
    assert!(rig.tcp(B).buffer_bytes() <= 66 << 20);
    // Those give up in their time, and there is room for others again.
    rig.run_for(Duration::from_secs(103));
    assert_eq!(rig.tcp(B).connections(), 0);
    rig.wire = Box::new(all);
    rig.connect("10.0.0.1:50000", V4[1]);
    rig.run_for(20 * MS);
    rig.wire = Box::new(nothing);
    let (sock, _) = rig.tcp(B).accept(listener).unwrap();
    rig.close(B, sock);
    rig.run_for(Duration::from_secs(2));
    assert_eq!(rig.tcp(B).connections(), 1);
}

/// An orphan whose peer answers, however many there are, is not in question.
#[test]
fn answered_orphans_are_not_counted() {
    let mut rig = Rig::new();
    let listener = rig.listen(V4[1], 2 * MAX_UNANSWERED);
    for port in 0..2 * MAX_UNANSWERED {
        rig.connect(&format!("10.0.0.1:{}", 10_000 + port), V4[1]);
    }
    rig.run_for(20 * MS);
    for _ in 0..2 * MAX_UNANSWERED {
        let (sock, _) = rig.tcp(B).accept(listener).unwrap();
        rig.send(B, sock, &pattern(20_000)).unwrap();
        rig.close(B, sock);
    }
    rig.run_for(Duration::from_secs(5));
    assert_eq!(rig.tcp(B).counters().orphans_reset, 0);
    assert_eq!(resets(&rig, B), 0);
    assert_eq!(rig.tcp(B).time_waits(), 2 * MAX_UNANSWERED);
}

/// `tcp_retries2` 15 is 924.6 s.
#[test]
fn data_that_nobody_acknowledges_times_out() {
    for (soft, want) in [
        (None, Errno::TimedOut),
        (Some(Errno::HostUnreach), Errno::HostUnreach),
    ] {
        let mut rig = Rig::new();
        let (a, _) = rig.pair(V4);
        rig.wire = Box::new(nothing);
        rig.send(A, a, b"lost").unwrap();
        rig.flush();
        let start = rig.now;
        if let Some(errno) = soft {
            let (local, remote) = (address(V4[0]), address(V4[1]));
            rig.with(A, |tcp, cx| tcp.route_failed(cx, local, remote, errno));
        }
        rig.run_until(start + Duration::from_secs(924));
        assert_eq!(rig.tcp(A).state(a), TcpState::Established);
        rig.run_until(start + Duration::from_secs(925));
        assert_eq!(rig.recv(A, a), Err(want));
        assert_eq!(resets(&rig, A), 0);
    }
}

#[test]
fn time_wait_acknowledges_a_repeated_fin() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V4);
    rig.close(A, a);
    rig.run_for(20 * MS);
    // The last ACK is lost, so that the FIN comes again.
    let mut lost = false;
    rig.wire = Box::new(move |sent| {
        if sent.from == A && !core::mem::replace(&mut lost, true) {
            return vec![];
        }
        vec![DELAY]
    });
    rig.close(B, b);
    rig.run_for(20 * MS);
    assert_eq!(rig.tcp(A).time_waits(), 1);
    assert_eq!(rig.tcp(B).connections(), 1);
    rig.run_for(Duration::from_secs(2));
    assert_eq!(rig.times(B, |segment| segment.has(FIN)).len(), 2);
    assert_eq!(rig.tcp(B).connections(), 0);
    let deadline = rig.tcp(A).deadline().unwrap();
    assert!(deadline >= Time::from_secs(61), "{deadline}");
}

#[test]
fn both_ends_may_close_at_once() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V6);
    rig.close(A, a);
    rig.close(B, b);
    rig.run_for(20 * MS);
    for end in [A, B] {
        assert_eq!(
            (rig.tcp(end).connections(), rig.tcp(end).time_waits()),
            (0, 1)
        );
        assert_eq!(
            rig.tcp(end).sockets().last().unwrap().state,
            TcpState::TimeWait
        );
    }
}

/// The server closed first and has the old connection in TIME_WAIT: the same addresses connect again
/// at once.
#[test]
fn the_same_addresses_connect_again_at_once() {
    let mut rig = Rig::new();
    let (mut a, mut b) = rig.pair(V4);
    let listener = rig.tcp(B).sockets()[0].id.unwrap();
    for _ in 0..5 {
        rig.close(B, b);
        rig.run_for(MS);
        rig.close(A, a);
        rig.run_for(MS);
        let by_b = |rig: &Rig, flag| {
            let mut sent = rig.log.iter().rev().filter(|sent| sent.from == B);
            sent.find(|sent| sent.segment.has(flag)).unwrap().segment
        };
        let last = by_b(&rig, FIN).end();
        assert_eq!((rig.tcp(A).time_waits(), rig.tcp(B).time_waits()), (0, 1));
        a = rig.connect(V4[0], V4[1]);
        rig.run_for(MS);
        assert_eq!(rig.tcp(A).state(a), TcpState::Established);
        // Past whatever of the old connection may still be under way.
        assert_eq!(by_b(&rig, SYN).seq, last.wrapping_add(65_537));
        b = rig.tcp(B).accept(listener).unwrap().0;
        rig.send(A, a, b"again").unwrap();
        rig.run_for(MS);
        assert_eq!(rig.recv(B, b).unwrap(), b"again");
    }
    let own = TcpOptions::default();
    rig.close(A, a);
    rig.run_for(MS);
    rig.close(B, b);
    rig.run_for(MS);
    assert_eq!(
        rig.connect_with(V4[0], V4[1], &own),
        Err(Errno::AddrNotAvail)
    );
}

#[test]
fn keepalive_finds_a_dead_peer() {
    let mut rig = Rig::new();
    let options = TcpOptions {
        keepalive: Some((Duration::from_secs(10), Duration::from_secs(2), 3)),
        ..TcpOptions::default()
    };
    let (a, b) = rig.pair(V4);
    rig.set_option(A, a, SockOpt::KeepAlive(options.keepalive))
        .unwrap();
    let opened = rig.tcp(B).state(b);
    rig.run_until(Time::from_secs(100));
    let probes = rig.times(A, |segment| segment.flags == ACK).len();
    assert!((9..=11).contains(&probes), "{probes} probes");
    assert_eq!(rig.tcp(B).state(b), opened);
    rig.wire = Box::new(nothing);
    let start = rig.now;
    let before = rig.log.len();
    rig.run_until(start + Duration::from_secs(20));
    assert_eq!(rig.recv(A, a), Err(Errno::TimedOut));
    let flags: Vec<u8> = rig.log[before..].iter().map(|s| s.segment.flags).collect();
    assert_eq!(flags, [ACK, ACK, ACK, RST | ACK]);
    let times: Vec<Time> = rig.log[before..].iter().map(|s| s.at).collect();
    for pair in times.windows(2) {
        assert_eq!(pair[1] - pair[0], Duration::from_secs(2));
    }
}

/// The first probe of a connection that has been silent for longer than the idle time goes at once, the others an
/// interval apart, counted from it; whoever answers stays.
#[test]
fn keepalive_of_a_connection_that_has_long_been_idle() {
    let mut rig = Rig::new();
    let (a, _) = rig.pair(V4);
    rig.run_until(Time::from_secs(100));
    let (before, set) = (rig.log.len(), rig.now);
    let keepalive = Some((Duration::from_secs(4), Duration::from_secs(2), 2));
    let option = SockOpt::KeepAlive(keepalive);
    rig.set_option(A, a, option).unwrap();
    rig.run_for(Duration::from_secs(7));
    assert_eq!(rig.tcp(A).state(a), TcpState::Established);
    let seconds = |rig: &Rig, from: usize, set: Time| -> Vec<u64> {
        let probes = rig.log[from..].iter().filter(|sent| sent.from == A);
        probes.map(|sent| (sent.at - set).as_secs()).collect()
    };
    assert_eq!(seconds(&rig, before, set), [0, 4]);
    // Nobody answers any more, and the option is set again between two probes: that one goes at once as well.
    rig.wire = Box::new(nothing);
    rig.run_for(Duration::from_secs(2));
    let (before, set) = (rig.log.len(), rig.now);
    rig.set_option(A, a, option).unwrap();
    rig.run_for(Duration::from_secs(5));
    assert_eq!(seconds(&rig, before, set), [0, 2]);
    assert_eq!(rig.recv(A, a), Err(Errno::TimedOut));
}

#[test]
fn an_idle_connection_has_no_timer() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V4);
    rig.send(A, a, b"x").unwrap();
    rig.run_for(Duration::from_secs(5));
    rig.recv(B, b).unwrap();
    rig.run_for(Duration::from_secs(5));
    assert_eq!(rig.next(), None);
    rig.run_for(Duration::from_secs(10_000));
    assert_eq!(rig.tcp(A).state(a), TcpState::Established);
}

#[test]
fn a_crash_of_the_engine_is_one_connections_reset() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V4);
    let listener = rig.tcp(B).sockets()[0].id.unwrap();
    let other = rig.connect("10.0.0.1:40001", V4[1]);
    rig.run_for(MS);
    let (other_b, _) = rig.tcp(B).accept(listener).unwrap();
    rig.tcp(A).crashed(a.slot);
    assert_eq!(rig.tcp(A).counters().engine_panics, 1);
    rig.run_for(MS);
    assert_eq!(rig.recv(A, a), Err(Errno::ConnReset));
    assert_eq!(rig.recv(B, b), Err(Errno::ConnReset));
    rig.send(A, other, b"alive").unwrap();
    rig.run_for(MS);
    assert_eq!(rig.recv(B, other_b).unwrap(), b"alive");
    let caught = crate::netns::tcp::run::guarded(|| panic!("sequence arithmetic"));
    assert_eq!(caught, None::<()>);
}

/// A SYN crosses ours, then comes the reset that ours was answered with, too old to count: what is left
/// when the program gives up is gone.
#[test]
fn closing_while_both_ends_open_leaves_nothing() {
    let mut rig = Rig::new();
    rig.wire = Box::new(nothing);
    let a = rig.connect(V4[0], V4[1]);
    rig.flush();
    let ours = rig.log.last().unwrap().segment;
    let syn = Bare {
        local: ours.local,
        remote: ours.remote,
        seq: 108,
        ack: 0,
        flags: SYN,
        window: 2000,
        hop_limit: 64,
    };
    let reset = Bare {
        seq: 0,
        ack: ours.end(),
        flags: RST | ACK,
        ..syn
    };
    for bare in [syn, reset] {
        let frame = bare.emit(&mut rig.pool).unwrap();
        rig.pool.meta_mut(&frame).csum_partial = true;
        rig.deliver(A, frame);
        rig.flush();
        assert_eq!(rig.tcp(A).state(a), TcpState::SynReceived);
    }
    rig.close(A, a);
    rig.run_for(Duration::from_secs(2_000));
    rig.assert_empty();
}

/// RFC 5961 §4: a SYN with FIN and all the right numbers is answered and changes nothing.
#[test]
fn a_syn_into_a_closing_connection_is_not_believed() {
    let mut rig = Rig::new();
    let (a, _) = rig.pair(V4);
    rig.wire = Box::new(nothing);
    rig.close(A, a);
    rig.flush();
    let fin = rig.log.last().unwrap().segment;
    let forged = Bare {
        local: fin.local,
        remote: fin.remote,
        seq: fin.ack,
        ack: fin.end(),
        flags: SYN | FIN | ACK,
        window: 1000,
        hop_limit: 64,
    };
    let frame = forged.emit(&mut rig.pool).unwrap();
    rig.pool.meta_mut(&frame).csum_partial = true;
    rig.deliver(A, frame);
    rig.flush();
    let answer = rig.log.last().unwrap().segment;
    assert_eq!((answer.flags, answer.seq), (ACK, fin.end()));
    rig.run_for(Duration::from_secs(2_000));
    assert_eq!(rig.tcp(A).connections(), 0);
    assert_eq!(rig.tcp(A).deadline(), None);
}

/// Linux, seen on its loopback: the FIN of who closes in turn carries the acknowledgement; who does not acknowledges it
/// once, a little later, as data (after 40 ms there).
#[test]
fn a_fin_is_acknowledged_with_the_next_one_or_a_little_later() {
    for has_engines in [false, true] {
        for closes in [true, false] {
            let mut rig = Rig::new();
            let (a, b) = rig.pair(V4);
            if has_engines {
                for _ in 0..2 {
                    assert_eq!(rig.send(A, a, &[7; 3000]), Ok(3000));
                    rig.run_for(50 * MS);
                    assert_eq!(rig.recv(B, b).unwrap().len(), 3000);
                }
            }
            let before = rig.log.len();
            let flags = |rig: &Rig| {
                let sent = rig.log[before..].iter();
                sent.map(|sent| sent.segment.flags).collect::<Vec<_>>()
            };
            rig.close(A, a);
            rig.run_for(5 * MS);
            assert_eq!(rig.tcp(B).state(b), TcpState::CloseWait);
            assert_eq!(flags(&rig), [FIN | ACK]);
            if closes {
                rig.close(B, b);
                rig.run_for(5 * MS);
                assert_eq!(flags(&rig), [FIN | ACK, FIN | ACK, ACK]);
            } else {
                rig.run_for(ACK_DELAY - 5 * MS);
                assert_eq!(flags(&rig), [FIN | ACK]);
                rig.run_for(5 * MS);
                assert_eq!(flags(&rig), [FIN | ACK, ACK]);
            }
            let before = flags(&rig);
            rig.run_for(Duration::from_secs(5));
            assert_eq!(flags(&rig), before);
        }
    }
}

/// As Linux beyond `tcp_max_tw_buckets`: an orphan in FIN_WAIT_2 is forgotten at once, and the other side's FIN is a
/// segment for a connection that the listener does not have.
#[test]
fn a_fin_for_an_orphan_that_found_no_place_is_reset() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V4);
    for n in 0..MAX_ENTRIES {
        let other = ([10, 1, (n >> 8) as u8, n as u8], 9).into();
        let rest = Rest {
            send_next: 0,
            recv_next: 0,
            window: 0,
            hop_limit: 64,
            half: false,
        };
        let tuple = Tuple::new(address(V4[1]), other);
        assert!(rig.tcp(B).waits.insert(Time::ZERO, tuple, rest));
    }
    rig.close(B, b);
    rig.run_for(ACK_DELAY + Duration::from_millis(1));
    assert_eq!(rig.tcp(A).state(a), TcpState::CloseWait);
    assert_eq!(rig.tcp(B).connections(), 0);
    assert_eq!(rig.tcp(B).counters().time_wait_overflows, 1);
    rig.close(A, a);
    rig.run_for(Duration::from_millis(1));
    assert_eq!(rig.ends[B].refused, [DropReason::NoConnection]);
    assert_eq!(rig.times(B, |segment| segment.has(RST)).len(), 1);
    assert_eq!((rig.tcp(A).connections(), rig.tcp(A).time_waits()), (0, 0));
}

/// What Linux 6.18 was seen to do with segments that go on behind the other side's end, in each state that this leaves.
#[test]
fn nothing_comes_behind_the_end() {
    let states = [TcpState::CloseWait, TcpState::LastAck, TcpState::Closing];
    for (at, state) in [A, B]
        .into_iter()
        .flat_map(|at| states.map(|state| (at, state)))
    {
        for (ends, len) in [(V4, 0), (V4, 20_000), (V6, 0), (V6, 20_000)] {
            let ended = || {
                let mut forged = Forged::at(at, ends, len, &TcpOptions::default());
                let id = forged.id();
                if state == TcpState::Closing {
                    forged.rig.shut(at, id).unwrap();
                    forged.rig.flush();
                }
                forged.give(ACK | FIN, 0, u16::MAX, &[]);
                if state == TcpState::LastAck {
                    forged.rig.shut(at, id).unwrap();
                }
                forged.rig.run_for(Duration::from_millis(20));
                assert_eq!(forged.rig.recv(at, id), Ok(Vec::new()));
                assert_eq!(forged.state(), state);
                forged.next.seq = forged.next.seq.wrapping_add(1);
                forged.sent();
                forged
            };
            for (flags, gap, data) in [
                (ACK, 0, &b"data"[..]),
                (ACK | FIN, 0, b"data"),
                (ACK | FIN, 0, b""),
                (ACK, 10, b"data"),
            ] {
                let mut forged = ended();
                forged.next.seq = forged.next.seq.wrapping_add(gap);
                forged.give(flags, 0, u16::MAX, data);
                forged.rig.run_for(Duration::from_millis(20));
                assert_eq!(forged.sent(), [], "{state:?} {flags} {gap}");
                let id = forged.id();
                assert_eq!(forged.rig.recv(at, id), Ok(Vec::new()));
                assert_eq!(forged.state(), state);
            }
            // What it acknowledges is.
            if state != TcpState::CloseWait {
                let mut forged = ended();
                forged.give(ACK, 1, u16::MAX, b"data");
                assert_ne!(forged.state(), state);
            }
            // What begins in front of the end and goes on behind it ends the connection.
            let mut forged = ended();
            forged.next.seq = forged.next.seq.wrapping_sub(1);
            forged.give(ACK, 0, u16::MAX, b"data");
            let sent = forged.sent();
            assert!(matches!(sent[..], [(flags, ..)] if flags & RST > 0));
            let (id, error) = match state {
                TcpState::CloseWait => (forged.id(), Errno::Pipe),
                _ => (forged.id(), Errno::ConnReset),
            };
            assert_eq!(forged.rig.tcp(at).take_error(id), Some(error));
            assert_eq!(forged.state(), TcpState::Closed);
        }
    }
}
