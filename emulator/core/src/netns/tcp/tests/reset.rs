//! Resets, as Linux 6.18 was seen to take them: one with the number that is next ends a connection, whatever else it says; others
//! are answered if they are in the window (RFC 5961 §3.2).

use super::unsent::Forged;
use super::*;
use crate::netns::tcp::engine::TcpState;
use crate::netns::tcp::segment::{ACK, Bare, FIN, PSH, RST, SYN};

/// URG.
const URG: u8 = 0x20;
/// What a reset may say beside that.
const BESIDE: [u8; 8] = [
    0,
    ACK,
    SYN,
    SYN | ACK,
    FIN,
    FIN | ACK,
    SYN | FIN | ACK,
    URG | PSH | SYN | FIN | ACK,
];

/// Short connections, and those with an engine, both ends and both families, and with each flag and data beside a reset.
fn each(mut check: impl FnMut(Forged, u8, &[u8])) {
    for (end, ends) in [(A, V4), (A, V6), (B, V4), (B, V6)] {
        for len in [0, 20_000] {
            for beside in BESIDE {
                for data in [&b""[..], b"hello"] {
                    let forged = Forged::at(end, ends, len, &TcpOptions::default());
                    check(forged, RST | beside, data);
                }
            }
        }
    }
}

impl Forged {
    /// A reset so far from the next number.
    fn reset(&mut self, flags: u8, by: i32, data: &[u8]) {
        let seq = self.next.seq;
        self.next.seq = seq.wrapping_add_signed(by);
        self.give(flags, 0, u16::MAX, data);
        self.next.seq = seq;
    }

    fn error(&mut self) -> Option<Errno> {
        let (end, id) = (self.end, self.id());
        self.rig.recv(end, id).err()
    }
}

#[test]
fn with_the_next_number_it_ends_the_connection() {
    each(|mut forged, flags, data| {
        forged.reset(flags, 0, data);
        assert_eq!(forged.state(), TcpState::Closed, "{flags:#x}");
        assert_eq!(forged.sent(), []);
        assert_eq!(forged.error(), Some(Errno::ConnReset));
    });
}

#[test]
fn in_the_window_it_is_answered() {
    each(|mut forged, flags, data| {
        for by in [1, 100, 40_000] {
            forged.reset(flags, by, data);
            assert_eq!(forged.sent(), [(ACK, 0, 0)], "{flags:#x} {by}");
            forged.rig.run_for(Duration::from_millis(500));
        }
        assert_eq!(forged.state(), TcpState::Established);
        assert_eq!(forged.error(), Some(Errno::WouldBlock));
        forged.reset(RST, 0, &[]);
        assert_eq!(forged.state(), TcpState::Closed);
    });
}

#[test]
fn outside_of_it_it_is_not() {
    each(|mut forged, flags, data| {
        for by in [-10, -20_000, 20_000_000] {
            forged.reset(flags, by, data);
            assert_eq!(forged.sent(), [], "{flags:#x} {by}");
        }
        // Where it ends counts.
        let is_near = flags & (SYN | FIN) != 0 || !data.is_empty();
        forged.reset(flags, -1, data);
        assert_eq!(forged.sent().len(), usize::from(is_near), "{flags:#x}");
        assert_eq!(forged.state(), TcpState::Established);
    });
}

/// One that is not believed acknowledges nothing, nor does anything else outside of the window: what was lost is sent again, though
/// data comes with an older acknowledgement.
#[test]
fn what_is_not_believed_acknowledges_nothing() {
    let resets = [RST | ACK, RST | SYN | ACK, RST | FIN | ACK];
    let others = [ACK, ACK | PSH, ACK | FIN];
    let all = resets.into_iter().chain(others);
    for (flags, data) in all.flat_map(|flags| [&b""[..], b"hello"].map(|data| (flags, data))) {
        for by in [-50, 10_000_000] {
            for len in [0, 20_000] {
                let mut forged = Forged::at(A, V4, len, &TcpOptions::default());
                let a = forged.a;
                forged.rig.send(A, a, &pattern(1_000)).unwrap();
                forged.rig.flush();
                let seq = forged.next.seq;
                forged.next.seq = seq.wrapping_add_signed(by);
                forged.give(flags, 1_000, u16::MAX, data);
                forged.next.seq = seq;
                forged.give(ACK | PSH, 50, u16::MAX, b"hello");
                forged.sent();
                forged.rig.run_for(Duration::from_secs(2));
                let again = forged.sent().last().copied();
                let what = format!("{flags:#x} {data:?} {by} {len}");
                assert_eq!(again, Some((ACK | PSH, 50, 950)), "{what}");
            }
        }
    }
}

/// Where a window ends that another segment may have closed: one that goes on behind that is none, whatever its number is.
#[test]
fn it_ends_where_the_window_does() {
    let options = TcpOptions {
        recv_buffer: 4_096,
        ..TcpOptions::default()
    };
    for (room, is_closed) in [(4_096, false), (0, true)] {
        let opened = || {
            let mut forged = Forged::at(A, V4, 0, &options);
            for part in pattern(4_096 - room).chunks(1_024) {
                forged.give(ACK, 0, u16::MAX, part);
                forged.next.seq = forged.next.seq.wrapping_add(1_024);
            }
            forged.rig.run_for(Duration::from_millis(20));
            forged.sent();
            forged
        };
        let mut forged = opened();
        for (flags, by, data) in [(0, 1, &b""[..]), (FIN, 0, b""), (0, 0, b"h"), (SYN, 0, b"")] {
            forged.reset(RST | ACK | flags, room as i32 + by, data);
            assert_eq!(forged.sent(), [], "{flags:#x} {by}");
        }
        assert_eq!(forged.state(), TcpState::Established);
        forged.reset(RST | ACK, room as i32, &[]);
        let answers = usize::from(!is_closed);
        assert_eq!(forged.sent().len(), answers);
        assert_eq!(forged.state() == TcpState::Closed, is_closed);
        let mut forged = opened();
        forged.reset(RST | ACK | FIN, 0, &[7; 4_095][..room.saturating_sub(1)]);
        assert_eq!(forged.state() == TcpState::Closed, !is_closed);
    }
}

/// It refuses who calls, if it acknowledges the SYN.
#[test]
fn it_refuses_a_call() {
    for beside in BESIDE {
        let mut rig = Rig::new();
        rig.wire = Box::new(nothing);
        let a = rig.connect(V4[0], V4[1]);
        rig.flush();
        let ours = rig.log.last().unwrap().segment;
        let reset = Bare {
            local: ours.local,
            remote: ours.remote,
            seq: 108,
            ack: ours.end(),
            flags: RST | beside,
            window: 2000,
            hop_limit: 64,
        };
        let frame = reset.emit(&mut rig.pool).unwrap();
        rig.pool.meta_mut(&frame).csum_partial = true;
        rig.deliver(A, frame);
        rig.flush();
        let refused = (TcpState::Closed, Err(Errno::ConnRefused));
        let seen = (rig.tcp(A).state(a), rig.recv(A, a));
        assert_eq!(seen == refused, beside & ACK != 0, "{beside:#x} {seen:?}");
    }
}
