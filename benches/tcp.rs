//! What does TCP cost between two containers, through veth, docker0 and veth?
//!
//! API: socket calls by `Lab::sys`, `Lab::poll`. On: docker0's rules with connection tracking, counters,
//! the stream of events (drained every turn); *copy* mode; MTU 1500, every segment a frame of its own.
//! "checksums" fills and checks every one; "partial" leaves them to real edges, as veth does (the default).
//! The receiver compares every byte.
//!
//! The anchor is smoltcp alone: two interfaces back to back, the same buffers, checksums, MTU and writes.

use crate::bare::Pair;
use crate::common::lab::{
    Host, assert_tracked, checksums, connection, events, listener, on_docker0, wait,
};
use crate::common::{Report, Rounds, Row, rate};
use switch::link::Mode;
use vethlab::core::app::Sys;
use vethlab::core::id::SockId;
use vethlab::core::lab::{Lab, LabConfig, Output};
use vethlab::core::net::NetConfig;
use vethlab::core::netns::Errno;

/// Buffer of each socket in each direction.
const BUFFER: usize = 256 * 1024;
/// Bytes of one write and of one read.
const CHUNK: usize = 64 * 1024;
/// The stream repeats after a prime number of bytes.
const PERIOD: usize = 65_521;

/// The stream from any position on: `CHUNK` bytes of it.
pub(crate) struct Stream(Vec<u8>);

impl Stream {
    pub(crate) fn new() -> Self {
        Self(
            (0..PERIOD + CHUNK)
                .map(|at| {
                    ((at % PERIOD) as u32)
                        .wrapping_mul(2_654_435_761)
                        .to_be_bytes()[0]
                })
                .collect(),
        )
    }

    pub(crate) fn at(&self, position: u64, len: usize) -> &[u8] {
        let start = (position % PERIOD as u64) as usize;
        &self.0[start..start + len.min(CHUNK)]
    }
}

/// A connection between two containers.
pub(crate) struct Ours {
    lab: Lab,
    a: Host,
    b: Host,
    client: SockId,
    server: SockId,
    buffer: Vec<u8>,
    sent: u64,
    heard: u64,
}

impl Ours {
    /// In the default mode, *copy*.
    pub(crate) fn new(full: bool) -> Self {
        Self::in_mode(Mode::Copy, full)
    }

    pub(crate) fn in_mode(mode: Mode, full: bool) -> Self {
        let config = LabConfig {
            net: NetConfig {
                mode,
                ..NetConfig::default()
            },
            ..LabConfig::default()
        };
        let (mut lab, hosts) = on_docker0(config, 2);
        checksums(&mut lab, &hosts, full);
        let (a, b) = (hosts[0], hosts[1]);
        let (client, server) = connection(&mut lab, a, b, BUFFER);
        assert_tracked(&lab, 1);
        Self {
            lab,
            a,
            b,
            client,
            server,
            buffer: vec![0; CHUNK],
            sent: 0,
            heard: 0,
        }
    }

    pub(crate) fn lab(&mut self) -> &mut Lab {
        &mut self.lab
    }

    /// Writes what fits, moves it, reads and compares it; the bytes that arrived.
    pub(crate) fn bulk(&mut self, stream: &Stream) -> u64 {
        let before = self.heard;
        while let Ok(count) = self
            .lab
            .sys(self.a.ns)
            .send(self.client, stream.at(self.sent, CHUNK))
        {
            self.sent += count as u64;
        }
        let mut events = 0;
        while !matches!(self.lab.poll(), Output::Idle(_)) {}
        events += crate::common::lab::events(&mut self.lab);
        loop {
            let read = self.lab.sys(self.b.ns).recv(self.server, &mut self.buffer);
            match read {
                Ok(count) => {
                    let expected = stream.at(self.heard, count);
                    assert!(self.buffer[..count] == *expected, "at byte {}", self.heard);
                    self.heard += count as u64;
                }
                Err(error) => {
                    assert_eq!(error, Errno::WouldBlock);
                    break;
                }
            }
        }
        if self.heard == before {
            assert!(events > 0 || self.sent > self.heard);
            wait(&mut self.lab);
        }
        self.heard - before
    }

    /// One byte there and one back.
    pub(crate) fn request(&mut self, byte: u8) -> u64 {
        let (a, b) = (self.a.ns, self.b.ns);
        for (from, by, to, at) in [
            (a, self.client, b, self.server),
            (b, self.server, a, self.client),
        ] {
            assert_eq!(self.lab.sys(from).send(by, &[byte]), Ok(1));
            while !matches!(self.lab.poll(), Output::Idle(_)) {}
            let mut heard = [0; 2];
            assert_eq!(self.lab.sys(to).recv(at, &mut heard), Ok(1));
            assert_eq!(heard[0], byte);
        }
        // Two segments: sent, forwarded, delivered.
        assert!(events(&mut self.lab) >= 6);
        1
    }
}

/// A new connection, one byte each way, and a reset.
pub(crate) struct Calls {
    lab: Lab,
    a: Host,
    b: Host,
    listener: SockId,
}

impl Calls {
    pub(crate) fn new() -> Self {
        let (mut lab, hosts) = on_docker0(LabConfig::default(), 2);
        checksums(&mut lab, &hosts, true);
        let listener = listener(&mut lab, hosts[1], 80, 16 * 1024);
        Self {
            lab,
            a: hosts[0],
            b: hosts[1],
            listener,
        }
    }

    pub(crate) fn call(&mut self, byte: u8) -> u64 {
        let to = (self.b, 80);
        let (client, server) =
            crate::common::lab::connection_to(&mut self.lab, self.a, to, self.listener, 16 * 1024);
        let (a, b) = (self.a.ns, self.b.ns);
        for (from, by, to, at) in [(a, client, b, server), (b, server, a, client)] {
            assert_eq!(self.lab.sys(from).send(by, &[byte]), Ok(1));
            while !matches!(self.lab.poll(), Output::Idle(_)) {}
            let mut heard = [0; 2];
            assert_eq!(self.lab.sys(to).recv(at, &mut heard), Ok(1));
            assert_eq!(heard[0], byte);
        }
        let linger = vethlab::core::app::SockOpt::LingerZero(true);
        self.lab.sys(a).set(client, linger).expect("an option");
        self.lab.sys(a).close(client);
        while !matches!(self.lab.poll(), Output::Idle(_)) {}
        self.lab.sys(b).close(server);
        crate::common::lab::quiet(&mut self.lab);
        1
    }
}

fn bare_bulk(pair: &mut Pair, stream: &Stream, buffer: &mut [u8], at: &mut (u64, u64)) -> u64 {
    while pair.socket(0).can_send() {
        let sent = pair.socket(0).send_slice(stream.at(at.0, CHUNK));
        at.0 += sent.expect("open") as u64;
    }
    pair.turn();
    let before = at.1;
    while pair.socket(1).can_recv() {
        let count = pair.socket(1).recv_slice(buffer).expect("open");
        assert!(
            buffer[..count] == *stream.at(at.1, count),
            "at byte {}",
            at.1
        );
        at.1 += count as u64;
    }
    at.1 - before
}

fn bare_request(pair: &mut Pair, byte: u8) -> u64 {
    for (from, to) in [(0, 1), (1, 0)] {
        assert_eq!(pair.socket(from).send_slice(&[byte]), Ok(1));
        let mut heard = [0; 2];
        while !pair.socket(to).can_recv() {
            pair.turn();
        }
        assert_eq!(pair.socket(to).recv_slice(&mut heard), Ok(1));
        assert_eq!(heard[0], byte);
    }
    1
}

pub(crate) fn bits(rounds: Rounds, mut bytes: impl FnMut() -> u64) -> f64 {
    rate(rounds, || 8 * bytes())
}

pub(crate) fn run(report: &mut Report) {
    report.about(
        "socket calls by Lab::sys, two containers on docker0, copy mode, MTU 1500; \
         on: docker0's rules with connection tracking, counters, events; all bytes compared",
    );
    let stream = Stream::new();
    for (full, word) in [(true, "checksums"), (false, "partial checksums")] {
        let mut ours = Ours::new(full);
        let (mut pair, mut buffer, mut at) =
            (Pair::connected(full, BUFFER), vec![0; CHUNK], (0, 0));
        let row = Row::rate(format!("bulk, {word}"), "bit/s").with("256 KiB buffers");
        row.against(
            report,
            ("veth-docker0-veth", |rounds| {
                bits(rounds, || ours.bulk(&stream))
            }),
            ("smoltcp back to back", |rounds| {
                bits(rounds, || {
                    bare_bulk(&mut pair, &stream, &mut buffer, &mut at)
                })
            }),
        );
        let (mut ours, mut pair) = (Ours::new(full), Pair::connected(full, BUFFER));
        let mut byte = 0_u8;
        Row::rate(format!("request and response of 1 B, {word}"), "/s").against(
            report,
            ("veth-docker0-veth", |rounds| {
                rate(rounds, || {
                    byte = byte.wrapping_add(1);
                    ours.request(byte)
                })
            }),
            ("smoltcp back to back", |rounds| {
                rate(rounds, || bare_request(&mut pair, 7))
            }),
        );
    }
    let (mut calls, mut pair) = (Calls::new(), Pair::connected(true, BUFFER));
    Row::rate("connect, 1 B each way, reset; checksums", "/s").against(
        report,
        ("veth-docker0-veth", |rounds| rate(rounds, || calls.call(9))),
        ("smoltcp: the 1 B each way", |rounds| {
            rate(rounds, || bare_request(&mut pair, 7))
        }),
    );
}
