//! Acknowledgements of less than what was acknowledged before, as Linux 6.18 was seen to take them: what else is in the segment
//! is taken, but for its window, unless they are too old (RFC 5961 §5.2).

use super::unsent::Forged;
use super::*;
use crate::netns::tcp::engine::TcpState;
use crate::netns::tcp::segment::{ACK, FIN, PSH, RST};

/// Bytes that were acknowledged.
const ACKED: usize = 20_000;

/// Both ends, in both families.
fn each_after(len: usize, recv_buffer: usize, mut check: impl FnMut(Forged)) {
    let options = TcpOptions {
        recv_buffer,
        ..TcpOptions::default()
    };
    for end in [A, B] {
        for ends in [V4, V6] {
            check(Forged::at(end, ends, len, &options));
        }
    }
}

fn each(check: impl FnMut(Forged)) {
    each_after(ACKED, 96 * 1024, check);
}

/// Ages that are believed: of a byte, of half of what was acknowledged and of all of that.
fn ages(forged: &Forged) -> [u32; 3] {
    let most = ACKED as u32 + u32::from(forged.end == A);
    [1, most / 2, most]
}

impl Forged {
    fn say_old(&mut self, flags: u8, age: u32, window: u16, data: &[u8]) {
        self.give(flags, age.wrapping_neg(), window, data);
    }

    fn read(&mut self) -> Result<Vec<u8>, Errno> {
        let (end, id) = (self.end, self.id());
        self.rig.recv(end, id)
    }

    fn write(&mut self, len: usize) {
        let (end, id) = (self.end, self.id());
        self.rig.send(end, id, &pattern(len)).unwrap();
        self.rig.flush();
    }

    fn shut(&mut self) {
        let (end, id) = (self.end, self.id());
        self.rig.shut(end, id).unwrap();
        self.rig.flush();
    }

    fn refused(&mut self) -> Vec<DropReason> {
        core::mem::take(&mut self.rig.ends[self.end].refused)
    }

    /// What is acknowledged, counted from the other end's next number.
    fn told(&mut self) -> u32 {
        self.rig.run_for(Duration::from_millis(20));
        let log = core::mem::take(&mut self.rig.log);
        let last = log.iter().rev().find(|sent| sent.from == self.end).unwrap();
        last.segment.ack.wrapping_sub(self.next.seq)
    }
}

#[test]
fn data_is_taken_and_acknowledged() {
    each(|mut forged| {
        for age in ages(&forged) {
            forged.say_old(ACK | PSH, age, 10, b"hello");
            assert_eq!((forged.told(), forged.read()), (5, Ok(b"hello".to_vec())));
            forged.next.seq = forged.next.seq.wrapping_add(5);
        }
        assert_eq!(forged.refused(), []);
    });
}

#[test]
fn data_out_of_order_is_kept() {
    each(|mut forged| {
        for age in ages(&forged) {
            let seq = forged.next.seq;
            forged.next.seq = seq.wrapping_add(5);
            forged.say_old(ACK, age, 10, b"world");
            assert_eq!(forged.sent(), [(ACK, 0, 0)]);
            assert_eq!(forged.read(), Err(Errno::WouldBlock));
            forged.next.seq = seq;
            forged.say_old(ACK, age, 10, b"hello");
            forged.next.seq = seq.wrapping_add(10);
            assert_eq!(
                (forged.told(), forged.read()),
                (0, Ok(b"helloworld".to_vec()))
            );
        }
    });
}

/// Of segments that stand in front of what came as well, only the new part is there.
#[test]
fn what_came_before_is_left_out() {
    each(|mut forged| {
        forged.give(ACK, 0, u16::MAX, b"hello");
        assert_eq!(forged.read().unwrap(), b"hello");
        forged.say_old(ACK, 1, 10, b"hello");
        assert_eq!((forged.told(), forged.read()), (5, Err(Errno::WouldBlock)));
        forged.say_old(ACK, 1, 10, b"helloworld");
        assert_eq!((forged.told(), forged.read()), (10, Ok(b"world".to_vec())));
    });
}

#[test]
fn a_fin_is_taken() {
    for data in [&b""[..], b"bye"] {
        each(|mut forged| {
            let age = ages(&forged)[1];
            forged.say_old(ACK | FIN, age, 10, data);
            assert_eq!(forged.told(), data.len() as u32 + 1);
            assert_eq!(forged.state(), TcpState::CloseWait);
            if !data.is_empty() {
                assert_eq!(forged.read().unwrap(), data);
            }
            assert_eq!(forged.read(), Ok(Vec::new()));
        });
    }
}

/// Nor is it a repeat of the last one.
#[test]
fn its_window_is_not_believed() {
    each(|mut forged| {
        let (age, v6) = (ages(&forged)[0], forged.next.local.is_ipv6());
        let full = if v6 { 1_440 } else { 1_460 };
        forged.give(ACK, 0, 3 * full, &[]);
        forged.write(2 * usize::from(full));
        let sent = forged.sent();
        assert_eq!(
            sent.iter().map(|sent| sent.2).sum::<u32>(),
            2 * u32::from(full)
        );
        for window in [0, 10, u16::MAX] {
            for _ in 0..4 {
                forged.say_old(ACK, age, window, &[]);
            }
            assert_eq!(forged.sent(), []);
            forged.say_old(ACK, age, window, b"x");
            forged.next.seq = forged.next.seq.wrapping_add(1);
        }
        // The window is what it was.
        forged.write(10_000);
        let sent = forged.sent();
        let sent: Vec<_> = sent.iter().filter(|sent| sent.2 > 0).collect();
        assert_eq!(sent, [&(ACK, 2 * u32::from(full), full.into())]);
    });
}

#[test]
fn one_that_is_too_old_is_answered_and_dropped() {
    each(|mut forged| {
        let age = ages(&forged)[2] + 1;
        let (data, far) = (&b"hello"[..], forged.next.seq.wrapping_add(5));
        for (seq, flags, data) in [
            (forged.next.seq, ACK, data),
            (far, ACK, data),
            (forged.next.seq, ACK | FIN, data),
            (forged.next.seq, ACK | FIN, &[]),
            (forged.next.seq, ACK, &[]),
        ] {
            forged.rig.run_for(Duration::from_millis(500));
            forged.next.seq = seq;
            forged.say_old(flags, age, 10, data);
            assert_eq!(forged.sent(), [(ACK, 0, 0)]);
            assert_eq!(forged.refused(), [DropReason::TcpAckOld]);
        }
        forged.say_old(ACK, age, 10, b"hello");
        assert_eq!(forged.sent(), []);
        assert_eq!(forged.read(), Err(Errno::WouldBlock));
        assert_eq!(forged.state(), TcpState::Established);
        let counters = *forged.rig.tcp(forged.end).counters();
        assert_eq!((counters.challenges, counters.challenges_skipped), (5, 1));
        // As does Linux: a reset has only to have the right number.
        forged.say_old(ACK | RST, age, 10, &[]);
        assert_eq!(forged.state(), TcpState::Closed);
    });
}

/// Nobody has seen a number of ours that could be acknowledged but, if we called, that of our SYN.
#[test]
fn at_first_none_is_old_enough() {
    each_after(0, 96 * 1024, |mut forged| {
        let most = u32::from(forged.end == A);
        forged.say_old(ACK, most + 1, 10, b"hello");
        assert_eq!(forged.refused(), [DropReason::TcpAckOld]);
        forged.say_old(ACK, most, 10, b"hello");
        assert_eq!(forged.read().unwrap(), b"hello");
    });
}

#[test]
fn none_is_older_than_the_largest_window() {
    each_after(ACKED, 4_096, |mut forged| {
        forged.say_old(ACK, 4_097, 10, b"hello");
        assert_eq!(forged.refused(), [DropReason::TcpAckOld]);
        forged.say_old(ACK, 4_096, 10, b"hello");
        assert_eq!(forged.read().unwrap(), b"hello");
        // Larger ones, one behind the other.
        forged.next.seq = forged.next.seq.wrapping_add(5);
        for window in [5_000, 6_000, 100] {
            forged.give(ACK, 0, window, &[]);
        }
        forged.say_old(ACK, 6_001, 10, b"hello");
        assert_eq!(forged.refused(), [DropReason::TcpAckOld]);
        forged.say_old(ACK, 6_000, 10, b"hello");
        assert_eq!(forged.read().unwrap(), b"hello");
    });
}

/// In what state our FIN leaves it.
#[test]
fn it_is_the_same_in_every_state() {
    let states = [
        TcpState::FinWait1,
        TcpState::FinWait2,
        TcpState::CloseWait,
        TcpState::LastAck,
        TcpState::Closing,
    ];
    for state in states {
        for (flags, data) in [(ACK, &b""[..]), (ACK, b"data"), (ACK | FIN, b"")] {
            each(|mut forged| {
                let is_ended = !matches!(state, TcpState::FinWait1 | TcpState::FinWait2);
                if matches!(state, TcpState::CloseWait | TcpState::LastAck) {
                    forged.give(ACK | FIN, 0, u16::MAX, &[]);
                }
                if state != TcpState::CloseWait {
                    forged.shut();
                }
                if state == TcpState::Closing {
                    forged.give(ACK | FIN, 0, u16::MAX, &[]);
                }
                if state == TcpState::FinWait2 {
                    forged.next.ack = forged.next.ack.wrapping_add(1);
                    forged.give(ACK, 0, u16::MAX, &[]);
                }
                assert_eq!(forged.state(), state);
                forged.next.seq = forged.next.seq.wrapping_add(u32::from(is_ended));
                forged.rig.run_for(Duration::from_millis(20));
                forged.sent();
                let age = ages(&forged)[1];
                forged.say_old(flags, age, 0, data);
                forged.rig.run_for(Duration::from_millis(20));
                let (is_fin, is_new) = (flags & FIN > 0, flags & FIN > 0 || !data.is_empty());
                let answers = usize::from(is_new && !is_ended);
                let sent = forged.sent();
                assert_eq!(sent.len(), answers, "{state:?} {flags} {sent:?}");
                let then = match state {
                    TcpState::FinWait1 if is_fin => TcpState::Closing,
                    TcpState::FinWait2 if is_fin => TcpState::TimeWait,
                    _ => state,
                };
                if then != TcpState::TimeWait {
                    assert_eq!(forged.state(), then, "{state:?} {flags}");
                }
                if !is_ended && !data.is_empty() {
                    assert_eq!(forged.read().unwrap(), data);
                }
                assert_eq!(forged.refused(), []);
            });
        }
    }
}
