//! Listeners and their queues.

use super::*;
use crate::netns::tcp::segment::{ACK, FIN, RST, SYN};
use crate::netns::tcp::{PortUse, TcpState};

fn client(n: usize) -> String {
    format!("10.0.0.1:{}", 40_000 + n)
}

/// Linux: `backlog` + 1 connections are taken; the rest believe that they are connected, because their
/// last ACK is dropped, until a place is free.
#[test]
fn the_backlog_holds_one_more_than_asked_for() {
    let mut rig = Rig::new();
    let listener = rig.listen(V4[1], 2);
    let ids: Vec<TcpId> = (0..5).map(|n| rig.connect(&client(n), V4[1])).collect();
    rig.run_for(Duration::from_millis(10));
    for id in &ids {
        assert_eq!(rig.tcp(A).state(*id), TcpState::Established);
    }
    let sockets = rig.tcp(B).sockets();
    assert_eq!((sockets[0].recv_queue, sockets[0].send_queue), (3, 2));
    let waiting = sockets.iter().filter(|s| s.state == TcpState::SynReceived);
    assert_eq!(waiting.count(), 2);
    assert_eq!(rig.ends[B].refused, [DropReason::SynQueueFull; 2]);
    for _ in 0..3 {
        rig.tcp(B).accept(listener).unwrap();
    }
    assert_eq!(rig.tcp(B).accept(listener), Err(Errno::WouldBlock));
    // The SYN-ACK is repeated after a second, and the answer to it finds room.
    rig.run_for(Duration::from_secs(1));
    for _ in 0..2 {
        rig.tcp(B).accept(listener).unwrap();
    }
}

#[test]
fn a_full_accept_queue_drops_syns_without_a_word() {
    let mut rig = Rig::new();
    let listener = rig.listen(V4[1], 0);
    rig.connect(&client(0), V4[1]);
    rig.run_for(Duration::from_millis(1));
    let late = rig.connect(&client(1), V4[1]);
    rig.run_for(Duration::from_millis(1));
    assert_eq!(rig.tcp(A).state(late), TcpState::SynSent);
    assert_eq!(rig.ends[B].refused, [DropReason::SynQueueFull]);
    assert_eq!(rig.tcp(B).counters().resets_out, 0);
    rig.tcp(B).accept(listener).unwrap();
    rig.run_for(Duration::from_secs(1));
    assert_eq!(rig.tcp(A).state(late), TcpState::Established);
}

/// A flood of SYNs that nobody follows up takes no more than the SYN queue, for 63 s at most.
#[test]
fn a_syn_flood_is_bounded_and_forgotten() {
    let mut rig = Rig::new();
    rig.listen(V4[1], 4);
    rig.wire = Box::new(|sent| if sent.from == A { vec![DELAY] } else { vec![] });
    let ids: Vec<TcpId> = (0..300).map(|n| rig.connect(&client(n), V4[1])).collect();
    rig.run_for(Duration::from_millis(1));
    assert_eq!(rig.tcp(B).connections(), 128);
    for id in ids {
        rig.close(A, id);
    }
    rig.run_until(Time::from_secs(64));
    assert_eq!(rig.tcp(B).connections(), 0);
    let first = address(&client(0));
    let answers: Vec<u64> = rig
        .log
        .iter()
        .filter(|s| s.from == B && s.segment.remote == address(V4[1]) && s.segment.local == first)
        .map(|s| s.at.as_millis() / 1000)
        .collect();
    assert_eq!(answers, [0, 1, 3, 7, 15, 31]);
    rig.close_listener_and_check();
}

#[test]
fn a_repeated_syn_makes_no_second_connection() {
    let mut rig = Rig::new();
    let listener = rig.listen(V4[1], 8);
    rig.wire = Box::new(|sent| {
        if sent.segment.has(SYN) {
            vec![DELAY, DELAY * 2, DELAY * 5]
        } else {
            vec![DELAY * 20]
        }
    });
    let a = rig.connect(V4[0], V4[1]);
    rig.run_for(Duration::from_millis(10));
    assert_eq!(rig.tcp(B).connections(), 1);
    let (b, _) = rig.tcp(B).accept(listener).unwrap();
    assert_eq!(rig.tcp(B).accept(listener), Err(Errno::WouldBlock));
    rig.send(A, a, b"one").unwrap();
    rig.run_for(Duration::from_millis(10));
    assert_eq!(rig.recv(B, b).unwrap(), b"one");
}

#[test]
fn a_reset_in_syn_received_frees_the_place() {
    let mut rig = Rig::new();
    rig.listen(V4[1], 8);
    let a = rig.connect(V4[0], V4[1]);
    rig.flush();
    let syn = rig.log[0].segment;
    rig.run_until(Time::ZERO + DELAY);
    assert_eq!(rig.tcp(B).connections(), 1);
    // The client is gone when the SYN-ACK arrives.
    rig.close(A, a);
    rig.run_for(Duration::from_millis(1));
    assert_eq!(rig.tcp(B).connections(), 0);
    let reset = rig.log.last().unwrap().segment;
    assert_eq!((reset.flags, reset.seq), (RST, syn.seq.wrapping_add(1)));
    rig.close_listener_and_check();
}

/// As Linux and unlike some: a connection whose client has closed already is still accepted.
#[test]
fn a_connection_that_was_closed_early_is_accepted() {
    let mut rig = Rig::new();
    let listener = rig.listen(V4[1], 8);
    let a = rig.connect(V4[0], V4[1]);
    rig.run_for(Duration::from_millis(1));
    rig.send(A, a, b"bye").unwrap();
    rig.close(A, a);
    rig.run_for(Duration::from_millis(1));
    let (b, _) = rig.tcp(B).accept(listener).unwrap();
    assert_eq!(rig.tcp(B).state(b), TcpState::CloseWait);
    assert_eq!(rig.recv(B, b).unwrap(), b"bye");
    assert_eq!(rig.recv(B, b).unwrap(), b"");
}

#[test]
fn a_connection_that_was_reset_early_is_accepted_with_its_error() {
    let mut rig = Rig::new();
    let listener = rig.listen(V4[1], 8);
    let a = rig.connect(V4[0], V4[1]);
    rig.run_for(Duration::from_millis(1));
    rig.with(A, |tcp, cx| tcp.abort(cx, a));
    rig.run_for(Duration::from_millis(1));
    let (b, from) = rig.tcp(B).accept(listener).unwrap();
    assert_eq!(from, address(V4[0]));
    assert_eq!(rig.recv(B, b), Err(Errno::ConnReset));
    rig.close(B, b);
    rig.close_listener_and_check();
}

#[test]
fn closing_a_listener_resets_who_was_not_accepted() {
    let mut rig = Rig::new();
    let listener = rig.listen(V4[1], 8);
    let a = rig.connect(V4[0], V4[1]);
    rig.run_for(Duration::from_millis(1));
    rig.close(B, listener);
    rig.run_for(Duration::from_millis(1));
    assert_eq!(rig.recv(A, a), Err(Errno::ConnReset));
    assert_eq!(rig.tcp(B).accept(listener), Err(Errno::BadFd));
    rig.close(A, a);
    rig.assert_empty();
}

#[test]
fn the_wildcard_of_ipv6_takes_ipv4() {
    let mut rig = Rig::new();
    let listener = rig.listen("[::]:80", 8);
    let a4 = rig.connect(V4[0], V4[1]);
    let a6 = rig.connect(V6[0], V6[1]);
    rig.run_for(Duration::from_millis(1));
    assert_eq!(rig.tcp(A).state(a4), TcpState::Established);
    assert_eq!(rig.tcp(A).state(a6), TcpState::Established);
    let (b, from) = rig.tcp(B).accept(listener).unwrap();
    assert_eq!(
        (from, rig.tcp(B).local_addr(b)),
        (address(V4[0]), Some(address(V4[1])))
    );
}

#[test]
fn ports_in_use_are_told_apart() {
    let mut rig = Rig::new();
    let any = "0.0.0.0".parse().unwrap();
    let here = address(V4[1]).ip();
    assert_eq!(rig.tcp(B).in_use(any, 80), PortUse::Free);
    let (a, b) = rig.pair(V4);
    assert_eq!(rig.tcp(B).in_use(any, 80), PortUse::Listening);
    let listener = rig.tcp(B).sockets()[0].id.unwrap();
    rig.close(B, listener);
    let any6 = "::".parse().unwrap();
    for address in [here, any, any6] {
        assert_eq!(rig.tcp(B).in_use(address, 80), PortUse::Connected);
        assert_eq!(rig.tcp(B).in_use(address, 81), PortUse::Free);
    }
    assert_eq!(rig.tcp(B).in_use([10, 0, 0, 9].into(), 80), PortUse::Free);
    rig.close(B, b);
    rig.run_for(Duration::from_millis(1));
    rig.close(A, a);
    rig.run_for(Duration::from_millis(1));
    for address in [here, any, any6] {
        assert_eq!(rig.tcp(B).in_use(address, 80), PortUse::TimeWait);
        assert_eq!(rig.tcp(B).in_use(address, 81), PortUse::Free);
    }
    assert_eq!(rig.tcp(B).in_use([10, 0, 0, 9].into(), 80), PortUse::Free);
    rig.run_for(Duration::from_secs(61));
    assert_eq!(rig.tcp(B).in_use(any, 80), PortUse::Free);
}

#[test]
fn the_same_address_is_listened_on_once() {
    let mut rig = Rig::new();
    let id = rig.listen(V4[1], 1);
    let with = TcpOptions::default();
    let again = rig.tcp(B).listen(address(V4[1]), 1, &with);
    assert_eq!(again, Err(Errno::AddrInUse));
    rig.close(B, id);
    assert!(rig.tcp(B).listen(address(V4[1]), 1, &with).is_ok());
}

#[test]
fn odd_segments_for_a_listener() {
    let (gone, odd) = (DropReason::NoConnection, DropReason::TcpRejected);
    for (flags, answered, reason) in [
        (ACK, true, gone),
        (FIN | ACK, true, gone),
        (SYN | ACK, true, gone),
        (RST, false, gone),
        (RST | ACK, false, gone),
        (FIN, false, gone),
        (SYN | FIN, false, odd),
    ] {
        let mut rig = Rig::new();
        rig.listen(V4[1], 1);
        let bare = crate::netns::tcp::segment::Bare {
            local: address(V4[0]),
            remote: address(V4[1]),
            seq: 1,
            ack: 77,
            flags,
            window: 0,
            hop_limit: 64,
        };
        let frame = bare.emit(&mut rig.pool).unwrap();
        rig.pool.meta_mut(&frame).csum_partial = true;
        rig.deliver(B, frame);
        assert_eq!(rig.ends[B].refused, [reason]);
        rig.flush();
        assert_eq!(rig.log.len(), usize::from(answered));
        if answered {
            assert_eq!(
                (rig.log[0].segment.flags, rig.log[0].segment.seq),
                (RST, 77)
            );
        }
    }
}

impl Rig {
    /// Closes the first listener of the server; nothing may be left then.
    fn close_listener_and_check(&mut self) {
        let listener = self.tcp(B).sockets()[0].id.unwrap();
        self.close(B, listener);
        let open: Vec<TcpId> = self.tcp(A).sockets().iter().filter_map(|s| s.id).collect();
        for id in open {
            self.close(A, id);
        }
        self.run_for(Duration::from_secs(200));
        self.assert_empty();
    }
}
