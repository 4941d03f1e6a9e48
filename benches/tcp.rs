//! What does TCP cost between two containers, through veth, docker0 and veth?
//!
//! API: socket calls by `Lab::sys`, `Lab::poll`; streams are written by `send` and read in place by `recv_with`,
//! requests by `send` and `recv`. On: docker0's rules with connection tracking, counters,
//! the stream of events (drained every turn); *copy* mode; MTU 1500. "checksums" has every segment a frame of
//! its own, its checksum filled and checked; "offload" is the default, as veth has it: super-segments, and
//! checksums left to real edges.
//! The receiver compares every byte.
//!
//! The anchor is smoltcp alone: two interfaces back to back, the same buffers, checksums, MTU and writes.

use core::time::Duration;

use crate::bare::Pair;
use crate::calls::{self, Calls, End, Way};
use crate::common::lab::{
    assert_tracked, checksums, connection, connection_to, dial, events, host, listener,
    listener_at, on_docker0, on_six, quiet, v6_of, wait,
};
use crate::common::{Report, Rounds, Row, rate, smoke};
use switch::link::Mode;
use vethlab::core::app::{SockOpt, Sys};
use vethlab::core::id::{NsId, SockId};
use vethlab::core::lab::{Lab, LabConfig, Output};
use vethlab::core::net::NetConfig;
use vethlab::core::netns::Errno;

/// Buffer of each socket in each direction.
const BUFFER: usize = 256 * 1024;
/// Bytes of a question, and of its answer.
pub(crate) const EXCHANGE: (usize, usize) = (200, 10_000);
/// Bytes of one write and of one read.
const CHUNK: usize = 64 * 1024;
/// The stream repeats after a prime number of bytes: few, so that what is compared with stays in the first-level cache.
const PERIOD: usize = 4_093;

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

    /// Whether `bytes` are the stream from this position on.
    pub(crate) fn is(&self, position: u64, bytes: &[u8]) -> bool {
        let pieces = (position..).step_by(PERIOD).zip(bytes.chunks(PERIOD));
        pieces.fold(true, |same, (at, piece)| {
            same & (*piece == *self.at(at, piece.len()))
        })
    }
}

/// A connection between two containers.
pub(crate) struct Ours {
    lab: Lab,
    a: NsId,
    b: NsId,
    client: SockId,
    server: SockId,
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
        Self::between(lab, (a.ns, client), (b.ns, server))
    }

    /// Over IPv6, between two containers of a network of their own.
    pub(crate) fn over_v6(mode: Mode, full: bool) -> Self {
        let mut config = LabConfig::default();
        config.net.mode = mode;
        let mut lab = on_six(config);
        let hosts = ["web", "db"].map(|name| host(&lab, name));
        checksums(&mut lab, &hosts, full);
        let (a, b) = (hosts[0].ns, hosts[1].ns);
        let to = (v6_of(&lab, hosts[1]), 80).into();
        let listener = listener_at(&mut lab, b, to, BUFFER);
        let client = dial(&mut lab, a, to, BUFFER);
        let (server, _) = lab.sys(b).accept(listener).expect("a connection");
        assert_tracked(&lab, 1);
        Self::between(lab, (a, client), (b, server))
    }

    fn between(lab: Lab, (a, client): (NsId, SockId), (b, server): (NsId, SockId)) -> Self {
        Self {
            lab,
            a,
            b,
            client,
            server,
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
            .sys(self.a)
            .send(self.client, stream.at(self.sent, CHUNK))
        {
            self.sent += count as u64;
        }
        let mut events = 0;
        while !matches!(self.lab.poll(), Output::Idle(_)) {}
        events += crate::common::lab::events(&mut self.lab);
        loop {
            let heard = self.heard;
            let mut compare = |bytes: &[u8]| {
                assert!(stream.is(heard, bytes), "from byte {heard} on");
                bytes.len()
            };
            match self.lab.sys(self.b).recv_with(self.server, &mut compare) {
                Ok(count) => self.heard += count as u64,
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

    /// So many bytes there, and so many back when these have come, read in place; a turn.
    pub(crate) fn exchange(&mut self, stream: &Stream, (asked, answered): (usize, usize)) -> u64 {
        let (a, b) = (self.a, self.b);
        for (from, by, to, at, len) in [
            (a, self.client, b, self.server, asked),
            (b, self.server, a, self.client, answered),
        ] {
            assert_eq!(self.lab.sys(from).send(by, stream.at(0, len)), Ok(len));
            while !matches!(self.lab.poll(), Output::Idle(_)) {}
            let mut heard = 0;
            while heard < len {
                let mut compare = |bytes: &[u8]| {
                    assert!(stream.is(heard as u64, bytes), "from byte {heard} on");
                    bytes.len()
                };
                let count = self.lab.sys(to).recv_with(at, &mut compare);
                heard += count.expect("all has come");
            }
            assert_eq!(heard, len);
        }
        // A question and an answer, which is acknowledged: sent, forwarded, delivered.
        assert!(events(&mut self.lab) >= 9);
        1
    }

    /// One byte there and one back.
    pub(crate) fn request(&mut self, byte: u8) -> u64 {
        let (a, b) = (self.a, self.b);
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

/// Connections that say nothing but that they are alive.
struct Kept {
    lab: Lab,
}

impl Kept {
    const CONNECTIONS: u64 = 100;
    const EVERY: Duration = Duration::from_secs(15);

    fn new() -> Self {
        let (mut lab, hosts) = on_docker0(LabConfig::default(), 2);
        let (a, b) = (hosts[0], hosts[1]);
        let listener = listener(&mut lab, b, 80, 4096);
        let keep = SockOpt::KeepAlive(Some((Self::EVERY, Self::EVERY, 9)));
        for _ in 0..Self::CONNECTIONS {
            let (client, _) = connection_to(&mut lab, a, (b, 80), listener, 4096);
            lab.sys(a.ns).set(client, keep).expect("an option");
            lab.run_for(Duration::from_millis(149));
            quiet(&mut lab);
        }
        Self { lab }
    }

    /// A virtual day; the seconds that it took.
    fn day(&mut self) -> f64 {
        let start = std::time::Instant::now();
        let mut events = 0;
        for _ in 0..24 * 60 {
            self.lab.run_for(Duration::from_secs(60));
            events += quiet(&mut self.lab);
        }
        // A probe and its answer, each sent, forwarded and delivered.
        assert!(events >= Self::CONNECTIONS * 5_700 * 6, "{events}");
        start.elapsed().as_secs_f64()
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
        assert!(stream.is(at.1, &buffer[..count]), "from byte {} on", at.1);
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

fn bare_exchange(
    pair: &mut Pair,
    stream: &Stream,
    buffer: &mut [u8],
    (asked, answered): (usize, usize),
) -> u64 {
    for (from, to, len) in [(0, 1, asked), (1, 0, answered)] {
        assert_eq!(pair.socket(from).send_slice(stream.at(0, len)), Ok(len));
        let mut heard = 0;
        while heard < len {
            pair.turn();
            while pair.socket(to).can_recv() {
                let count = pair.socket(to).recv_slice(buffer).expect("open");
                let bytes = &buffer[..count];
                assert!(stream.is(heard as u64, bytes), "from byte {heard} on");
                heard += count;
            }
        }
        assert_eq!(heard, len);
    }
    1
}

fn bare_call(pair: &mut Pair) -> u64 {
    pair.reconnect(4096);
    bare_request(pair, 7);
    pair.socket(0).abort();
    pair.turn();
    assert!(!pair.socket(1).is_open(), "it was reset");
    1
}

pub(crate) fn bits(rounds: Rounds, mut bytes: impl FnMut() -> u64) -> f64 {
    rate(rounds, || 8 * bytes())
}

pub(crate) fn run(report: &mut Report) {
    report.about(
        "socket calls by Lab::sys (streams by send and recv_with, requests by send and recv), two containers on docker0, copy mode, MTU 1500; \
         on: docker0's rules with connection tracking, counters, events; all bytes compared",
    );
    let stream = Stream::new();
    bulk(report, &stream);
    for (full, word) in [(true, "checksums"), (false, "offload")] {
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
    requests_of_v6(report);
    exchanges(report, &stream);
    calls(report);
    kept(report);
}

/// Requests of IPv6 beside those of IPv4.
fn requests_of_v6(report: &mut Report) {
    let (mut v6, mut v4) = (Ours::over_v6(Mode::Copy, false), Ours::new(false));
    Row::rate("request and response of 1 B, offload, IPv6", "/s").against(
        report,
        ("veth-bridge-veth", |rounds| rate(rounds, || v6.request(7))),
        ("the same of IPv4", |rounds| rate(rounds, || v4.request(7))),
    );
}

/// What most requests are answered by is longer than a segment.
fn exchanges(report: &mut Report, stream: &Stream) {
    for (mode, word) in [(Mode::Copy, "copy"), (Mode::Move, "move")] {
        let (mut ours, mut pair) = (Ours::in_mode(mode, false), Pair::connected(false, BUFFER));
        let mut buffer = vec![0; CHUNK];
        Row::rate(format!("200 B asked, 10 kB answered, {word}"), "/s")
            .with("256 KiB buffers, read in place")
            .against(
                report,
                ("veth-docker0-veth", |rounds| {
                    rate(rounds, || ours.exchange(stream, EXCHANGE))
                }),
                ("smoltcp back to back", |rounds| {
                    rate(rounds, || {
                        bare_exchange(&mut pair, stream, &mut buffer, EXCHANGE)
                    })
                }),
            );
    }
}

/// Short connections. smoltcp's end by reset; it has no listener, so that each has new sockets at both ends.
fn calls(report: &mut Report) {
    for (way, end, name, path) in [
        (
            Way::Neighbour,
            End::Reset,
            "connect, 1 B each way, reset",
            "veth-docker0-veth",
        ),
        (
            Way::Neighbour,
            End::Fin,
            "connect, 1 B each way, FIN",
            "veth-docker0-veth",
        ),
        (
            Way::Published,
            End::Reset,
            "connect to a published port, 1 B each way, reset",
            "lan-host-docker0-veth",
        ),
    ] {
        short(report, name, (path, Calls::new(way, end)), calls::WITH);
    }
    let name = "connect, 1 B each way, FIN, 15,000 ends in TIME_WAIT";
    let calls = Calls::new(Way::Neighbour, End::Fin).crowded();
    short(report, name, ("veth-docker0-veth", calls), calls::CROWDED);
}

/// One row of short connections.
fn short(report: &mut Report, name: &str, (path, mut calls): (&str, Calls), with: &str) {
    let mut pair = Pair::connected(false, 4096);
    Row::rate(name, "/s").with(with).against(
        report,
        (path, |rounds| rate(rounds, || calls.call())),
        (
            "smoltcp back to back: connect, 1 B each way, reset",
            |rounds| rate(rounds, || bare_call(&mut pair)),
        ),
    );
}

/// One stream as fast as it goes.
fn bulk(report: &mut Report, stream: &Stream) {
    let rows = [
        (Mode::Copy, true, false, "bulk, checksums"),
        (Mode::Copy, false, false, "bulk, offload, copy"),
        (Mode::Move, false, false, "bulk, offload, move"),
        (Mode::Copy, false, true, "bulk, offload, IPv6, copy"),
        (Mode::Move, false, true, "bulk, offload, IPv6, move"),
    ];
    for (mode, full, v6, name) in rows {
        let mut ours = if v6 {
            Ours::over_v6(mode, full)
        } else {
            Ours::in_mode(mode, full)
        };
        let (mut pair, mut buffer, mut at) =
            (Pair::connected(full, BUFFER), vec![0; CHUNK], (0, 0));
        Row::rate(name, "bit/s")
            .with("256 KiB buffers, read in place")
            .against(
                report,
                ("veth-bridge-veth", |rounds| {
                    bits(rounds, || ours.bulk(stream))
                }),
                ("smoltcp back to back, 1500 B", |rounds| {
                    bits(rounds, || {
                        bare_bulk(&mut pair, stream, &mut buffer, &mut at)
                    })
                }),
            );
    }
}

/// A virtual day of keep-alives.
fn kept(report: &mut Report) {
    let mut kept = Kept::new();
    let days = if smoke() { 1 } else { 3 };
    let took: Vec<f64> = (0..days).map(|_| kept.day()).collect();
    Row::cost("a day of 100 connections with keep-alive every 15 s", "s")
        .reach(1.0)
        .record(report, ("veth-docker0-veth", &took), None);
}
