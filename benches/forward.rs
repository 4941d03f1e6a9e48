//! What does a frame cost from veth through docker0 to veth?
//!
//! API: `Net::raw_send` on one container's eth0, `Lab::poll`, `Net::raw_recv` on another's. On: docker0's
//! rules (the frames are UDP packets of one connection and pass prerouting, forward and postrouting),
//! counters, the stream of events (drained every burst). The receiver compares every byte and counts.
//! Bursts of 64 frames, virtual time moving on by a microsecond each.
//!
//! The anchor makes the same pooled copies (the sender's bytes into a buffer, one copy per veth pair in
//! *copy* mode) from a pool of the same kind, with the same comparison, and nothing else.

use crate::common::lab::{Host, assert_tracked, events, on_docker0};
use crate::common::{Plot, Report, Rounds, Row, rate};
use switch::Pool;
use switch::link::Mode;
use vethlab::core::lab::{Input, Lab, LabConfig, Output};
use vethlab::core::net::NetConfig;

const BURST: u32 = 64;
/// Ethernet, IPv4 and UDP headers, without options.
const HEADERS: usize = 14 + 20 + 8;

/// A UDP datagram from `a` to `b` in a frame of `len` bytes.
fn datagram(a: Host, b: Host, len: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(len);
    frame.extend_from_slice(&b.mac);
    frame.extend_from_slice(&a.mac);
    frame.extend_from_slice(&[0x08, 0x00]);
    let total = (len - 14) as u16;
    frame.extend_from_slice(&[0x45, 0]);
    frame.extend_from_slice(&total.to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0]);
    frame.extend_from_slice(&a.v4);
    frame.extend_from_slice(&b.v4);
    let sum: u32 = frame[14..34]
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let sum = !(((sum & 0xffff) + (sum >> 16)) as u16);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame.extend_from_slice(&[0x10, 0x01, 0x10, 0x02]);
    frame.extend_from_slice(&(total - 20).to_be_bytes());
    // No checksum, as IPv4 allows.
    frame.extend_from_slice(&[0, 0]);
    frame.extend((HEADERS..len).map(|at| at as u8));
    frame
}

/// Writes the number of a frame into its payload.
fn number(frame: &mut [u8], number: u64) {
    frame[HEADERS..HEADERS + 8].copy_from_slice(&number.to_be_bytes());
}

pub(crate) struct Wire {
    lab: Lab,
    a: Host,
    b: Host,
    sent: Vec<u8>,
    expected: Vec<u8>,
    next: u64,
    heard: u64,
}

impl Wire {
    pub(crate) fn new(mode: Mode, len: usize) -> Self {
        let config = LabConfig {
            net: NetConfig {
                mode,
                ..NetConfig::default()
            },
            ..LabConfig::default()
        };
        let (mut lab, hosts) = on_docker0(config, 2);
        let (a, b) = (hosts[0], hosts[1]);
        for host in [a, b] {
            lab.net_mut().raw(host.eth0, true);
        }
        let mut wire = Self {
            lab,
            a,
            b,
            sent: datagram(a, b, len),
            expected: datagram(a, b, len),
            next: 0,
            heard: 0,
        };
        // An answer first, so that the connection is established and both stations are known.
        wire.burst();
        let mut answer = datagram(b, a, len);
        answer[34..38].copy_from_slice(&[0x10, 0x02, 0x10, 0x01]);
        wire.lab.net_mut().raw_send(b.eth0, &answer).expect("sent");
        crate::common::lab::quiet(&mut wire.lab);
        let back = wire.lab.net_mut().raw_recv(a.eth0, |bytes| bytes == answer);
        assert_eq!(back, Some(true));
        wire
    }

    pub(crate) fn burst(&mut self) -> u64 {
        let now = self.lab.now() + core::time::Duration::from_micros(1);
        self.lab.handle(now, Input::Tick);
        for _ in 0..BURST {
            number(&mut self.sent, self.next);
            self.next += 1;
            self.lab
                .net_mut()
                .raw_send(self.a.eth0, &self.sent)
                .expect("sent");
        }
        while !matches!(self.lab.poll(), Output::Idle(_)) {}
        let mut arrived = 0;
        loop {
            number(&mut self.expected, self.heard);
            let expected = &self.expected;
            match self
                .lab
                .net_mut()
                .raw_recv(self.b.eth0, |bytes| bytes == expected)
            {
                Some(same) => assert!(same, "frame {} is not as it was sent", self.heard),
                None => break,
            }
            self.heard += 1;
            arrived += 1;
        }
        assert_eq!(arrived, u64::from(BURST));
        // At least: sent, forwarded.
        assert!(events(&mut self.lab) >= 2 * u64::from(BURST));
        arrived
    }

    pub(crate) fn rate(&mut self, rounds: Rounds) -> f64 {
        rate(rounds, || (0..16).map(|_| self.burst()).sum())
    }
}

/// The copies alone.
struct Bare {
    pool: Pool,
    sent: Vec<u8>,
    expected: Vec<u8>,
    copies: u32,
    next: u64,
    held: Vec<switch::Frame>,
}

impl Bare {
    fn new(like: &Wire, mode: Mode) -> Self {
        Self {
            pool: Pool::default(),
            sent: like.sent.clone(),
            expected: like.expected.clone(),
            copies: match mode {
                Mode::Copy => 2,
                Mode::Move => 0,
            },
            next: 0,
            held: Vec::with_capacity(BURST as usize),
        }
    }

    fn burst(&mut self) -> u64 {
        for at in 0..u64::from(BURST) {
            number(&mut self.sent, self.next + at);
            self.held
                .push(self.pool.from_bytes(&self.sent).expect("a buffer"));
        }
        for _ in 0..self.copies {
            for frame in &mut self.held {
                let copy = self.pool.copy(frame).expect("a buffer");
                self.pool.free(std::mem::replace(frame, copy));
            }
        }
        for frame in self.held.drain(..) {
            number(&mut self.expected, self.next);
            assert!(self.pool.bytes(&frame) == self.expected);
            self.pool.free(frame);
            self.next += 1;
        }
        u64::from(BURST)
    }

    fn rate(&mut self, rounds: Rounds) -> f64 {
        rate(rounds, || (0..16).map(|_| self.burst()).sum())
    }
}

pub(crate) fn run(report: &mut Report) {
    report.about(
        "raw_send on eth0 of one container, docker0, raw_recv on eth0 of another; \
         on: docker0's rules with connection tracking, counters, events; all bytes compared",
    );
    for mode in [Mode::Copy, Mode::Move] {
        for len in [64, 1514] {
            let mut wire = Wire::new(mode, len);
            let mut bare = Bare::new(&wire, mode);
            let mut row = Row::rate(format!("{len} B, {mode:?}"), "frame/s")
                .point(Plot::FrameSize, len as f64, format!("{mode:?}"))
                .anchor_point(format!("{mode:?}, bare"));
            match (mode, len) {
                (Mode::Copy, 64) => row = row.reach(40e6),
                (Mode::Copy, _) => row = row.ratio(0.5),
                (Mode::Move, 64) => row = row.reach(80e6),
                (Mode::Move, _) => {}
            }
            row.against(
                report,
                ("veth-docker0-veth", |rounds| wire.rate(rounds)),
                ("the same pooled copies, bare", |rounds| bare.rate(rounds)),
            );
            assert_tracked(&wire.lab, 1);
            assert_eq!(wire.lab.net().pool.in_use(), 0, "a frame was lost");
        }
    }
}
