//! What does a frame cost from veth through docker0 to veth?
//!
//! API: `Net::raw_send_burst` on one container's eth0, `Lab::poll`, `Net::raw_recv_burst` on another's, or
//! where a row says so `raw_send` and `raw_recv`, a call a frame. On: docker0's rules (the frames are UDP
//! packets of one connection a pair and pass prerouting, forward and postrouting), counters, the stream of
//! events (drained every burst). The receiver compares every byte and counts. Bursts of 64 frames, virtual
//! time moving on by a microsecond each.
//!
//! The anchor makes the same pooled copies (the sender's bytes into a buffer, one copy per veth pair in
//! *copy* mode) from a pool of the same kind, with the same comparison, and nothing else.
//!
//! With a thousand containers on docker0, each sends to the next, a frame at a time: every frame comes from
//! another port and another MAC and goes to another, in another connection. And one container broadcasts to
//! all others; what they get is counted, not what was sent. Both stand beside the two-port rate.

use crate::common::lab::{Host, assert_tracked, container, events, host, on_docker0, start};
use crate::common::{Plot, Report, Rounds, Row, rate};
use switch::Pool;
use switch::link::Mode;
use vethlab::core::lab::{Input, Lab, LabConfig, Output};
use vethlab::core::net::NetConfig;

const BURST: usize = 64;
/// Containers on docker0 in the rows with many ports.
const MANY: usize = 1000;
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

/// The frames of a burst, one behind the other.
struct Burst {
    bytes: Vec<u8>,
    len: usize,
    next: u64,
}

impl Burst {
    fn new(frame: &[u8]) -> Self {
        Self {
            bytes: frame.repeat(BURST),
            len: frame.len(),
            next: 0,
        }
    }

    /// Numbers the frames anew.
    fn renew(&mut self) {
        for frame in self.bytes.chunks_exact_mut(self.len) {
            number(frame, self.next);
            self.next += 1;
        }
    }

    fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.len)
    }
}

/// How frames get into the lab and out of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// One call for a burst.
    Burst,
    /// A call a frame.
    Single,
}

fn config(mode: Mode) -> LabConfig {
    LabConfig {
        net: NetConfig {
            mode,
            ..NetConfig::default()
        },
        ..LabConfig::default()
    }
}

/// Virtual time goes on a little.
fn tick(lab: &mut Lab) {
    let now = lab.now() + core::time::Duration::from_micros(1);
    lab.handle(now, Input::Tick);
}

fn settle(lab: &mut Lab) {
    while !matches!(lab.poll(), Output::Idle(_)) {}
}

/// An answer to a datagram, so that its connection is established and both stations are known.
fn answer(lab: &mut Lab, a: Host, b: Host, len: usize) {
    let mut answer = datagram(b, a, len);
    answer[34..38].copy_from_slice(&[0x10, 0x02, 0x10, 0x01]);
    lab.net_mut().raw_send(b.eth0, &answer).expect("sent");
    crate::common::lab::quiet(lab);
    let back = lab.net_mut().raw_recv(a.eth0, |bytes| bytes == answer);
    assert_eq!(back, Some(true));
}

/// Two containers on docker0.
pub(crate) struct Wire {
    lab: Lab,
    a: Host,
    b: Host,
    burst: Burst,
    entry: Entry,
}

impl Wire {
    pub(crate) fn new(mode: Mode, len: usize, entry: Entry) -> Self {
        let (mut lab, hosts) = on_docker0(config(mode), 2);
        let (a, b) = (hosts[0], hosts[1]);
        for host in [a, b] {
            lab.net_mut().raw(host.eth0, true);
        }
        let mut wire = Self {
            lab,
            a,
            b,
            burst: Burst::new(&datagram(a, b, len)),
            entry,
        };
        wire.burst();
        answer(&mut wire.lab, a, b, len);
        wire
    }

    pub(crate) fn burst(&mut self) -> u64 {
        tick(&mut self.lab);
        self.burst.renew();
        self.send();
        settle(&mut self.lab);
        self.receive();
        // At least: sent, forwarded.
        assert!(events(&mut self.lab) >= 2 * BURST as u64);
        BURST as u64
    }

    fn send(&mut self) {
        let net = self.lab.net_mut();
        match self.entry {
            Entry::Burst => {
                let sent = net.raw_send_burst(self.a.eth0, self.burst.frames());
                assert_eq!(sent, Ok(BURST));
            }
            Entry::Single => {
                for frame in self.burst.frames() {
                    net.raw_send(self.a.eth0, frame).expect("sent");
                }
            }
        }
    }

    fn receive(&mut self) {
        let net = self.lab.net_mut();
        let mut expected = self.burst.frames();
        let mut same = true;
        let mut look = |bytes: &[u8]| same &= expected.next() == Some(bytes);
        match self.entry {
            Entry::Burst => {
                net.raw_recv_burst(self.b.eth0, usize::MAX, look);
            }
            Entry::Single => while net.raw_recv(self.b.eth0, &mut look).is_some() {},
        }
        assert!(same, "a frame is not as it was sent");
        assert_eq!(expected.next(), None, "a frame did not arrive");
    }

    pub(crate) fn rate(&mut self, rounds: Rounds) -> f64 {
        rate(rounds, || (0..16).map(|_| self.burst()).sum())
    }
}

/// The copies alone.
struct Bare {
    pool: Pool,
    burst: Burst,
    copies: u32,
    held: Vec<switch::Frame>,
}

impl Bare {
    fn new(like: &Wire, mode: Mode) -> Self {
        Self {
            pool: Pool::default(),
            burst: Burst::new(&datagram(like.a, like.b, like.burst.len)),
            copies: match mode {
                Mode::Copy => 2,
                Mode::Move => 0,
            },
            held: Vec::with_capacity(BURST),
        }
    }

    fn burst(&mut self) -> u64 {
        self.burst.renew();
        for frame in self.burst.frames() {
            self.held
                .push(self.pool.from_bytes(frame).expect("a buffer"));
        }
        for _ in 0..self.copies {
            for frame in &mut self.held {
                let copy = self.pool.copy(frame).expect("a buffer");
                self.pool.free(std::mem::replace(frame, copy));
            }
        }
        let mut same = true;
        for (frame, expected) in self.held.drain(..).zip(self.burst.frames()) {
            same &= self.pool.bytes(&frame) == expected;
            self.pool.free(frame);
        }
        assert!(same);
        BURST as u64
    }

    fn rate(&mut self, rounds: Rounds) -> f64 {
        rate(rounds, || (0..16).map(|_| self.burst()).sum())
    }
}

/// Many containers on docker0.
struct Crowd {
    lab: Lab,
    hosts: Vec<Host>,
    /// What each sends to the next.
    frames: Vec<Vec<u8>>,
    /// Who is next to send.
    turn: usize,
    next: u64,
}

impl Crowd {
    fn new(mode: Mode, len: usize, ports: usize) -> Self {
        let mut lab = crate::common::lab::lab(config(mode));
        // Announcements to all: a million each.
        lab.net_mut().trace.listen(false);
        let names: Vec<String> = (0..ports).map(|at| format!("c{at}")).collect();
        for name in &names {
            start(&mut lab, container(name, "busybox", "")).expect("it starts");
        }
        lab.run_for(core::time::Duration::from_secs(5));
        settle(&mut lab);
        lab.net_mut().trace.listen(true);
        let hosts: Vec<Host> = names.iter().map(|name| host(&lab, name)).collect();
        for host in &hosts {
            lab.net_mut().raw(host.eth0, true);
        }
        let pairs = (0..ports).map(|at| (hosts[at], hosts[(at + 1) % ports]));
        let frames = pairs.map(|(a, b)| datagram(a, b, len)).collect();
        let mut crowd = Self {
            lab,
            hosts,
            frames,
            turn: 0,
            next: 0,
        };
        for _ in 0..=ports / BURST {
            crowd.burst();
        }
        for at in 0..ports {
            let (a, b) = (crowd.hosts[at], crowd.hosts[(at + 1) % ports]);
            answer(&mut crowd.lab, a, b, len);
        }
        crowd
    }

    /// A frame from each of the next containers to the one behind it.
    fn burst(&mut self) -> u64 {
        tick(&mut self.lab);
        let (turn, ports) = (self.turn, self.hosts.len());
        let senders = (0..BURST).map(move |at| (turn + at) % ports);
        self.turn = (self.turn + BURST) % ports;
        for at in senders.clone() {
            number(&mut self.frames[at], self.next);
            self.next += 1;
            let eth0 = self.hosts[at].eth0;
            let sent = self.lab.net_mut().raw_send(eth0, &self.frames[at]);
            sent.expect("sent");
        }
        settle(&mut self.lab);
        for at in senders {
            let expected = &self.frames[at];
            let eth0 = self.hosts[(at + 1) % ports].eth0;
            let same = self.lab.net_mut().raw_recv(eth0, |bytes| bytes == expected);
            assert_eq!(same, Some(true), "a frame is not as it was sent");
        }
        assert!(events(&mut self.lab) >= 2 * BURST as u64);
        BURST as u64
    }

    /// A frame to all.
    fn broadcast(&mut self) -> u64 {
        tick(&mut self.lab);
        let sender = self.hosts[0];
        let frame = &mut self.frames[0];
        frame[..6].fill(0xff);
        number(frame, self.next);
        self.next += 1;
        let net = self.lab.net_mut();
        net.raw_send(sender.eth0, frame).expect("sent");
        settle(&mut self.lab);
        let net = self.lab.net_mut();
        for host in &self.hosts[1..] {
            let same = net.raw_recv(host.eth0, |bytes| bytes == self.frames[0]);
            assert_eq!(same, Some(true), "a frame is not as it was sent");
        }
        // At least: sent, flooded, forwarded to each.
        let ports = self.hosts.len() as u64;
        assert!(events(&mut self.lab) > ports);
        ports - 1
    }

    fn pairs_rate(&mut self, rounds: Rounds) -> f64 {
        rate(rounds, || (0..16).map(|_| self.burst()).sum())
    }

    fn broadcast_rate(&mut self, rounds: Rounds) -> f64 {
        rate(rounds, || self.broadcast())
    }
}

fn two_ports(report: &mut Report, mode: Mode, len: usize, entry: Entry) {
    let mut wire = Wire::new(mode, len, entry);
    let mut bare = Bare::new(&wire, mode);
    let name = match entry {
        Entry::Burst => format!("{len} B, {mode:?}"),
        Entry::Single => format!("{len} B, {mode:?}, raw_send and raw_recv a frame"),
    };
    let mut row = Row::rate(name, "frame/s");
    if entry == Entry::Burst {
        row = row
            .point(Plot::FrameSize, len as f64, format!("{mode:?}"))
            .anchor_point(format!("{mode:?}, bare"));
    }
    match (entry, mode, len) {
        (Entry::Burst, Mode::Copy, 64) => row = row.reach(40e6),
        (Entry::Burst, Mode::Copy, 1514) => row = row.ratio(0.5),
        (Entry::Burst, Mode::Move, 64) => row = row.reach(80e6),
        _ => {}
    }
    row.against(
        report,
        ("veth-docker0-veth", |rounds| wire.rate(rounds)),
        ("the same pooled copies, bare", |rounds| bare.rate(rounds)),
    );
    assert_tracked(&wire.lab, 1);
    assert_eq!(wire.lab.net().pool.in_use(), 0, "a frame was lost");
}

fn many_ports(report: &mut Report, mode: Mode, ports: usize) {
    let mut crowd = Crowd::new(mode, 64, ports);
    let mut two = Wire::new(mode, 64, Entry::Single);
    let name = format!("64 B, {mode:?}, {ports} ports, every frame another pair");
    let mut row = Row::rate(name, "frame/s").point(Plot::Ports, ports as f64, format!("{mode:?}"));
    if ports == MANY {
        row = row
            .ratio(0.6)
            .at(Plot::Ports, 2.0)
            .anchor_point(format!("{mode:?}"));
    }
    row.against(
        report,
        ("so many ports", |rounds| crowd.pairs_rate(rounds)),
        ("two ports, a call a frame", |rounds| two.rate(rounds)),
    );
    assert_tracked(&crowd.lab, ports);
    if ports == MANY {
        let name = format!("64 B, {mode:?}, broadcast to {ports} ports, deliveries");
        Row::rate(name, "frame/s").ratio(0.6).against(
            report,
            ("so many ports", |rounds| crowd.broadcast_rate(rounds)),
            ("two ports, a call a frame", |rounds| two.rate(rounds)),
        );
    }
    assert_eq!(crowd.lab.net().pool.in_use(), 0, "a frame was lost");
}

pub(crate) fn run(report: &mut Report) {
    report.about(
        "raw_send_burst on eth0 of one container, docker0, raw_recv_burst on eth0 of another; \
         on: docker0's rules with connection tracking, counters, events; all bytes compared",
    );
    for mode in [Mode::Copy, Mode::Move] {
        for len in [64, 128, 256, 512, 1024, 1514] {
            two_ports(report, mode, len, Entry::Burst);
        }
        two_ports(report, mode, 64, Entry::Single);
        for ports in [100, 300, MANY] {
            many_ports(report, mode, ports);
        }
    }
}
