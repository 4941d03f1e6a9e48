//! Acknowledgements of what was not sent, as Linux 6.18 was seen to take them: dropped with all that is in the segment, and
//! answered every half a second at most.

use super::*;
use crate::app::SockOpt;
use crate::netns::tcp::engine::TcpState;
use crate::netns::tcp::segment::{ACK, Bare, FIN, PSH, RST};

/// A connection whose other end says only what is made up here.
pub(super) struct Forged {
    pub(super) rig: Rig,
    pub(super) a: TcpId,
    pub(super) b: TcpId,
    /// The end that is ours, and the numbers of the other one's next segment.
    pub(super) end: usize,
    pub(super) next: Bare,
    /// What its windows are scaled by.
    shift: u8,
}

impl Forged {
    /// An end that called, after so many bytes, which were acknowledged.
    fn new(ends: [&str; 2], len: usize) -> Self {
        Self::at(A, ends, len, &TcpOptions::default())
    }

    /// The same at either end, both with these options.
    pub(super) fn at(end: usize, ends: [&str; 2], len: usize, options: &TcpOptions) -> Self {
        let mut rig = Rig::new();
        let (a, b) = rig.pair_with(ends, options);
        let (ids, other) = ([a, b], 1 - end);
        let (data, mut left) = (pattern(len), len);
        while left > 0 {
            left -= rig.send(end, ids[end], &data[..left]).unwrap();
            rig.run_for(Duration::from_millis(50));
            while rig.recv(other, ids[other]).is_ok() {}
            rig.run_for(Duration::from_millis(50));
        }
        rig.wire = Box::new(nothing);
        let conn = rig.tcp(end).slots.conn(ids[end]).unwrap();
        let next = Bare {
            local: address(ends[other]),
            remote: address(ends[end]),
            seq: conn.recv_next(),
            ack: conn.marks.sent,
            flags: ACK,
            window: u16::MAX,
            hop_limit: 64,
        };
        let shift = rig.tcp(other).slots.conn(ids[other]).unwrap().shift;
        rig.log.clear();
        Self {
            rig,
            a,
            b,
            end,
            next,
            shift,
        }
    }

    /// Our socket.
    pub(super) const fn id(&self) -> TcpId {
        if self.end == A { self.a } else { self.b }
    }

    /// The other end acknowledges all before `ack` bytes behind what it last had.
    fn say(&mut self, ack: u32, window: u16) {
        self.give(ACK, ack, window, &[]);
    }

    pub(super) fn give(&mut self, flags: u8, ack: u32, window: u16, data: &[u8]) {
        let Self { rig, next, end, .. } = self;
        let bare = Bare {
            ack: next.ack.wrapping_add(ack),
            flags,
            window: window >> self.shift,
            ..*next
        };
        let frame = bare.emit(&mut rig.pool).unwrap();
        let mut bytes = rig.pool.bytes(&frame).to_vec();
        rig.pool.free(frame);
        bytes.extend_from_slice(data);
        let at = if bytes[0] >> 4 == 4 { 2 } else { 4 };
        let len = u16::from_be_bytes([bytes[at], bytes[at + 1]]) + data.len() as u16;
        bytes[at..at + 2].copy_from_slice(&len.to_be_bytes());
        let frame = rig.pool.from_bytes(&bytes).unwrap();
        rig.pool.meta_mut(&frame).csum_partial = true;
        rig.deliver(*end, frame);
        rig.flush();
    }

    pub(super) fn state(&self) -> TcpState {
        self.rig.ends[self.end].tcp.state(self.id())
    }

    fn queued(&self) -> usize {
        let slots = &self.rig.ends[self.end].tcp.slots;
        slots.conn(self.id()).unwrap().send_queue()
    }

    /// What was sent since the last time: flags, number, how much.
    pub(super) fn sent(&mut self) -> Vec<(u8, u32, u32)> {
        let first = self.next.ack;
        let log = core::mem::take(&mut self.rig.log);
        let sent = log.iter().filter(|sent| sent.from == self.end);
        let sent = sent.map(|sent| &sent.segment);
        sent.map(|sent| (sent.flags, sent.seq.wrapping_sub(first), sent.payload))
            .collect()
    }

    /// The other end is itself again.
    fn mend(&mut self) {
        self.rig.wire = Box::new(all);
        self.rig.run_for(Duration::from_secs(100));
    }
}

/// Short connections, and those with an engine, in both families.
fn each(mut check: impl FnMut(Forged)) {
    for ends in [V4, V6] {
        for len in [0, 20_000] {
            check(Forged::new(ends, len));
        }
    }
}

#[test]
fn data_behind_a_closed_window_is_not_lost() {
    each(|mut forged| {
        forged.say(0, 0);
        let data = pattern(3_000);
        let (a, b) = (forged.a, forged.b);
        forged.rig.send(A, a, &data).unwrap();
        forged.rig.flush();
        assert_eq!(forged.sent(), []);
        forged.say(1_000, 5_000);
        assert_eq!(forged.sent(), [(ACK, 0, 0)]);
        forged.say(3_000, 0);
        assert_eq!(forged.queued(), 3_000);
        assert_eq!(forged.rig.ends[A].refused, [DropReason::TcpAckUnsent; 2]);
        // Now some is sent, and acknowledged with what follows it.
        forged.say(0, 1_000);
        assert_eq!(forged.sent(), [(ACK, 0, 1_000)]);
        forged.say(1_001, 5_000);
        assert_eq!((forged.sent(), forged.queued()), (vec![], 3_000));
        forged.mend();
        assert_eq!(forged.rig.recv(B, b).unwrap(), data);
        assert_eq!(forged.queued(), 0);
    });
}

#[test]
fn a_fin_behind_a_closed_window_is_not_lost() {
    each(|mut forged| {
        forged.say(0, 0);
        let data = pattern(100);
        let (a, b) = (forged.a, forged.b);
        forged.rig.send(A, a, &data).unwrap();
        forged.rig.shut(A, a).unwrap();
        forged.rig.flush();
        for ack in [101, 102, 100, 1] {
            forged.say(ack, 0);
            assert_eq!(forged.state(), TcpState::FinWait1);
            assert_eq!(forged.queued(), 100);
        }
        assert_eq!(forged.sent(), [(ACK, 0, 0)]);
        forged.say(0, 50);
        assert_eq!(forged.sent(), [(ACK, 0, 50)]);
        forged.say(101, 50);
        assert_eq!(forged.state(), TcpState::FinWait1);
        forged.mend();
        assert_eq!(forged.rig.recv(B, b).unwrap(), data);
        assert_eq!(forged.rig.tcp(B).state(b), TcpState::CloseWait);
        assert_eq!(forged.state(), TcpState::FinWait2);
    });
}

#[test]
fn what_comes_with_it_is_dropped() {
    each(|mut forged| {
        forged.give(ACK | PSH, 5, 10, b"hello");
        forged.give(ACK | FIN, 5, 10, &[]);
        assert_eq!(forged.state(), TcpState::Established);
        let a = forged.a;
        assert_eq!(forged.rig.recv(A, a), Err(Errno::WouldBlock));
        assert_eq!(forged.sent(), [(ACK, 0, 0)]);
        // As does Linux: a reset has only to have the right number.
        forged.give(ACK | RST, 5, 10, &[]);
        assert_eq!(forged.state(), TcpState::Closed);
        assert_eq!(forged.sent(), []);
    });
}

#[test]
fn it_is_answered_every_half_a_second_at_most() {
    each(|mut forged| {
        let second = Duration::from_millis(500);
        for (times, wait) in [(3, second), (1, second / 2), (1, second / 2), (2, second)] {
            for by in 0..times {
                forged.say(1 + by, 1000);
            }
            forged.rig.run_for(wait);
        }
        assert_eq!(forged.sent(), [(ACK, 0, 0); 3]);
        let counters = forged.rig.tcp(A).counters();
        assert_eq!((counters.challenges, counters.challenges_skipped), (3, 4));
    });
}

#[test]
fn one_behind_our_fin_is_no_acknowledgement_of_it() {
    each(|mut forged| {
        let a = forged.a;
        forged.rig.shut(A, a).unwrap();
        forged.rig.flush();
        assert_eq!(forged.sent(), [(ACK | FIN, 0, 0)]);
        forged.say(2, 1000);
        assert_eq!(
            (forged.state(), forged.sent()),
            (TcpState::FinWait1, vec![(ACK, 1, 0)])
        );
        forged.say(1, 1000);
        assert_eq!(
            (forged.state(), forged.sent()),
            (TcpState::FinWait2, vec![])
        );
        forged.rig.run_for(Duration::from_secs(1));
        forged.say(2, 1000);
        assert_eq!(
            (forged.state(), forged.sent()),
            (TcpState::FinWait2, vec![(ACK, 1, 0)])
        );
    });
}

/// smoltcp forgets what it has sent when a timer runs out, and is acknowledged all the same.
#[test]
fn what_was_sent_before_a_timeout_may_be_acknowledged() {
    each(|mut forged| {
        let a = forged.a;
        forged.say(0, 5_000);
        let option = SockOpt::NoDelay(true);
        forged.rig.set_option(A, a, option).unwrap();
        forged.rig.send(A, a, &pattern(5_000)).unwrap();
        forged.rig.flush();
        forged.say(0, 1_000);
        forged.rig.run_for(Duration::from_millis(1_500));
        assert_eq!(forged.sent().last(), Some(&(ACK, 0, 1_000)));
        forged.say(5_001, 5_000);
        assert_eq!(forged.queued(), 5_000);
        forged.say(5_000, 5_000);
        assert_eq!(forged.queued(), 0);
        // A closed window is asked for with a byte.
        forged.say(5_000, 0);
        forged.rig.send(A, a, &pattern(5_000)).unwrap();
        forged.rig.run_for(Duration::from_millis(1_500));
        let probe = (ACK, 5_000, 1);
        assert_eq!(forged.sent().last(), Some(&probe));
        forged.say(5_002, 0);
        assert_eq!(forged.queued(), 5_000);
        forged.say(5_001, 0);
        assert_eq!(forged.queued(), 4_999);
    });
}
