//! What does a frame cost from veth through docker0 to veth?
//!
//! API: `Net::raw_send_burst` on one container's eth0, `Lab::poll`, `Net::raw_recv_burst` on another's or
//! `Net::raw_recv_each` on those of many others, or where a row says so `raw_send` and `raw_recv`, a call a frame.
//! On: docker0's rules (the frames are UDP packets of one connection a pair and pass prerouting, forward and
//! postrouting), counters, the stream of events (drained every burst). The receiver compares every byte and counts.
//! Bursts of 64 frames, virtual time moving on by a microsecond each.
//!
//! The anchor makes the same pooled copies (in *copy* mode one a veth pair, the first of the bytes that the
//! sender holds; in *move* mode only that one) from a pool of the same kind, with the same comparison, and
//! nothing else.
//!
//! Frames of IPv6 stand beside those of IPv4.
//!
//! With a thousand containers on docker0 each in turn sends a burst to the next. Harder: every frame of a burst goes to
//! another port and another MAC, in another connection: in bursts of 64 from one port, read by one call at 64 others, and
//! a frame at a time, each from another port and MAC as well. And one container broadcasts to all others; what they get is
//! counted, not what was sent. All stand beside the two-port rate: bursts that one call sends and one call reads, or a
//! call a frame.

mod crowd;
mod frames;
mod wire;

use self::crowd::Crowd;
use self::wire::Bare;
pub(crate) use self::wire::Wire;
use crate::common::lab::{Host, quiet};
use crate::common::{Plot, Report, Row};
use switch::link::Mode;
use vethlab::core::lab::{Input, Lab, LabConfig, Output};
use vethlab::core::net::NetConfig;

/// Frames of a burst.
const BURST: usize = 64;
/// Containers on docker0 in the rows with many ports.
const MANY: usize = 1000;

/// How frames get into the lab and out of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// One call for a burst.
    Burst,
    /// A call a frame.
    Single,
}

impl Entry {
    /// What follows the name of a row.
    const fn words(self) -> &'static str {
        match self {
            Self::Burst => "",
            Self::Single => ", raw_send and raw_recv a frame",
        }
    }
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

/// A frame from `b` that answers a datagram of `a`, so that its connection is established and both stations are known.
fn answer(lab: &mut Lab, a: Host, b: Host, answer: &[u8]) {
    lab.net_mut().raw_send(b.eth0, answer).expect("sent");
    quiet(lab);
    let back = lab.net_mut().raw_recv(a.eth0, |bytes| bytes == answer);
    assert_eq!(back, Some(true));
}

fn two_ports(report: &mut Report, mode: Mode, len: usize, entry: Entry) {
    let mut wire = Wire::new(mode, len, 1, entry);
    let mut bare = Bare::new(&wire, mode);
    let mut row = Row::rate(format!("{len} B, {mode:?}{}", entry.words()), "frame/s");
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
    wire.check();
}

/// Frames of IPv6 beside those of IPv4.
fn of_ipv6(report: &mut Report, mode: Mode) {
    let mut wire = Wire::v6(mode, 64, 1, Entry::Burst);
    let mut narrow = Wire::new(mode, 64, 1, Entry::Burst);
    Row::rate(format!("64 B of IPv6, {mode:?}"), "frame/s").against(
        report,
        ("veth-docker0-veth", |rounds| wire.rate(rounds)),
        ("the same of IPv4", |rounds| narrow.rate(rounds)),
    );
    wire.check();
}

fn many_ports(report: &mut Report, mode: Mode, ports: usize, entry: Entry) {
    let mut crowd = Crowd::new(mode, ports, entry);
    let mut two = Wire::new(mode, 64, 1, entry);
    let (to, two_named) = match entry {
        Entry::Burst => ("every frame to another", "two ports"),
        Entry::Single => ("every frame another pair", "two ports, a call a frame"),
    };
    let name = format!("64 B, {mode:?}, {ports} ports, {to}{}", entry.words());
    let mut row = Row::rate(name, "frame/s");
    if entry == Entry::Burst {
        row = row.point(Plot::Ports, ports as f64, format!("{mode:?}"));
    }
    if entry == Entry::Burst && ports == MANY {
        row = row
            .ratio(0.6)
            .at(Plot::Ports, 2.0)
            .anchor_point(format!("{mode:?}"));
    }
    row.against(
        report,
        ("so many ports", |rounds| crowd.rate(rounds)),
        (two_named, |rounds| two.rate(rounds)),
    );
    if entry == Entry::Burst && ports == MANY {
        let mut flows = Wire::new(mode, 64, BURST as u16, entry);
        Row::rate(
            format!("64 B, {mode:?}, {ports} ports, flows alike"),
            "frame/s",
        )
        .against(
            report,
            ("so many ports", |rounds| crowd.rate(rounds)),
            ("two ports, 64 connections in turn", |rounds| {
                flows.rate(rounds)
            }),
        );
    }
    crowd.check();
    if entry == Entry::Single && ports == MANY {
        let name = format!("64 B, {mode:?}, broadcast to {ports} ports, deliveries");
        Row::rate(name, "frame/s").ratio(0.6).against(
            report,
            ("so many ports", |rounds| crowd.broadcast_rate(rounds)),
            (two_named, |rounds| two.rate(rounds)),
        );
    }
}

/// Bursts of many pairs in turn.
fn many_pairs(report: &mut Report, mode: Mode) {
    let mut many = Wire::many(mode, 64, MANY);
    let mut two = Wire::new(mode, 64, 1, Entry::Burst);
    let name = format!("64 B, {mode:?}, {MANY} ports, every burst another pair");
    Row::rate(name, "frame/s").ratio(0.6).against(
        report,
        ("so many ports", |rounds| many.rate(rounds)),
        ("two ports", |rounds| two.rate(rounds)),
    );
    many.check();
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
        of_ipv6(report, mode);
        many_pairs(report, mode);
        for ports in [100, 300, MANY] {
            many_ports(report, mode, ports, Entry::Burst);
        }
        many_ports(report, mode, MANY, Entry::Single);
    }
}

/// Turns of a crowd, to be looked at.
pub(crate) fn crowd(mode: Mode, entry: Entry, turns: u64) -> u64 {
    let mut crowd = Crowd::new(mode, MANY, entry);
    (0..turns).map(|_| crowd.burst()).sum()
}
