//! The same questions to the Linux kernel, veth-bridge-veth between two of its namespaces.
//!
//! Skipped aloud where namespaces are not permitted. The ends are plain blocking sockets in two processes; where
//! they run is said in each row. The kernel has no firewall here (but the DNAT rule of the published port), default
//! buffers, no counters beyond its own; it may use both processors, the lab is one thread in virtual time that never
//! sleeps. So a row answers "which is faster to use", not "whose code is better".
//!
//! Where the kernel's client has a core, the lab's rounds are on that, whichever the scheduler would wake the lab's thread
//! on: both sides have the same one, and neither begins on a core that slept through the other's round.

mod agent;
mod datagrams;
mod namespaces;

use switch::link::Mode;

pub(crate) use agent::{AGENT, agent};
use agent::{Cores, Work};
use namespaces::{Kernel, Setup};
pub(crate) use namespaces::{holder, inside, shell};

use crate::calls::{self, Calls, End, Way};
use crate::common::cores::{self, pin};
use crate::common::{Plot, Report, Rounds, Row, rate, rounds};
use crate::forward::{Entry, Wire};
use crate::tcp::{Ours, Stream, bits};
use crate::udp::Flow;

pub(crate) fn run(report: &mut Report) {
    report.about(
        "the lab as in \"forward\", \"tcp\" and \"udp\" beside the Linux kernel's veth-bridge-veth between two namespaces: \
         blocking sockets in two processes, default buffers, no rules",
    );
    match Kernel::new(Setup::Default) {
        Err(why) => report.skip("all rows", &why),
        Ok(kernel) => {
            // The first connection waits for the link.
            kernel.measure(Work::Request, Cores::Any, rounds());
            frames(report, &kernel);
            streams(report, &kernel);
            requests(report, &kernel);
            connections(report, &kernel);
            udp(report, &kernel);
            drop(kernel);
            full_frames(report);
            published(report);
        }
    }
}

/// Runs on the core of the kernel's client while it measures; what is started later may run on all of them again.
fn beside(mut work: impl FnMut(Rounds) -> f64) -> impl FnMut(Rounds) -> f64 {
    move |rounds| {
        let cores = cores::Cores::here();
        pin(cores.first);
        let figure = work(rounds);
        cores.free();
        figure
    }
}

/// L2: frames of a packet socket.
fn frames(report: &mut Report, kernel: &Kernel) {
    for (mode, len, work, least) in [
        (Mode::Copy, 64, Work::Frames64, 100.0),
        (Mode::Copy, 1514, Work::Frames1514, 40.0),
    ] {
        let mut wire = Wire::new(mode, len, 1, Entry::Burst);
        Row::rate(format!("frames of {len} B, {mode:?}"), "frame/s")
            .ratio(least)
            .at(Plot::FrameSize, len as f64)
            .anchor_point("kernel")
            .against(
                report,
                (
                    "lab, raw_send_burst and raw_recv_burst",
                    beside(|rounds| wire.rate(rounds)),
                ),
                ("kernel, two cores, sendmmsg", |rounds| {
                    kernel.measure(work, Cores::Two, rounds)
                }),
            );
    }
}

/// One stream with what veth offers by default.
fn streams(report: &mut Report, kernel: &Kernel) {
    let stream = Stream::new();
    for (mode, least) in [(Mode::Copy, 4.0), (Mode::Move, 6.0)] {
        let mut ours = Ours::in_mode(mode, false);
        Row::rate(format!("bulk, default offloads, {mode:?}"), "bit/s")
            .with("256 KiB buffers of the lab's sockets, read in place")
            .ratio(least)
            .against(
                report,
                ("lab, send and recv_with", |rounds| {
                    bits(rounds, || ours.bulk(&stream))
                }),
                ("kernel, any core", |rounds| {
                    kernel.measure(Work::Bulk, Cores::Any, rounds)
                }),
            );
    }
}

/// One stream of frames as they are on a wire, at both.
fn full_frames(report: &mut Report) {
    let name = "bulk, every frame 1514 B, full checksums";
    let kernel = match Kernel::new(Setup::NoOffloads) {
        Ok(kernel) => kernel,
        Err(why) => return report.skip(name, &why),
    };
    let stream = Stream::new();
    let mut ours = Ours::new(true);
    Row::rate(name, "bit/s")
        .with("offloads off at both, 256 KiB buffers of the lab's sockets, read in place")
        .ratio(6.0)
        .against(
            report,
            ("lab, send and recv_with", |rounds| {
                bits(rounds, || ours.bulk(&stream))
            }),
            ("kernel, any core", |rounds| {
                kernel.measure(Work::Bulk, Cores::Any, rounds)
            }),
        );
}

fn requests(report: &mut Report, kernel: &Kernel) {
    for (cores, word) in [(Cores::One, "one core"), (Cores::Two, "two cores")] {
        let mut ours = Ours::new(false);
        let mut row = Row::rate(
            format!("request and response of 1 B, kernel on {word}"),
            "/s",
        );
        if cores == Cores::One {
            row = row.ratio(20.0);
        }
        row.against(
            report,
            ("lab", beside(|rounds| rate(rounds, || ours.request(7)))),
            ("kernel", |rounds| {
                kernel.measure(Work::Request, cores, rounds)
            }),
        );
    }
}

/// Short connections, each beside the kernel on one core, where a wake-up is cheapest, and on two.
fn connections(report: &mut Report, kernel: &Kernel) {
    for (end, work, word) in [
        (End::Reset, Work::Call, "reset"),
        (End::Fin, Work::CallFin, "FIN"),
    ] {
        let name = format!("connect, 1 B each way, {word}");
        calls(report, &name, (Way::Neighbour, end), (kernel, work), 30.0);
    }
}

/// Through a published port, from another machine.
fn published(report: &mut Report) {
    let name = "connect through a published port, 1 B each way, reset";
    match Kernel::new(Setup::Published) {
        Ok(kernel) => {
            let work = (&kernel, Work::PublishedCall);
            calls(report, name, (Way::Published, End::Reset), work, 20.0);
        }
        Err(why) => report.skip(name, &why),
    }
}

fn calls(
    report: &mut Report,
    name: &str,
    (way, end): (Way, End),
    (kernel, work): (&Kernel, Work),
    least: f64,
) {
    for (cores, place) in [(Cores::Two, "two cores"), (Cores::One, "one core")] {
        let mut ours = Calls::new(way, end);
        let row = Row::rate(format!("{name}, kernel on {place}"), "/s").with(calls::WITH);
        let row = match cores {
            Cores::Two => row.ratio(least),
            Cores::One | Cores::Any => row,
        };
        row.against(
            report,
            ("lab", beside(|rounds| rate(rounds, || ours.call()))),
            ("kernel", |rounds| kernel.measure(work, cores, rounds)),
        );
    }
}

fn udp(report: &mut Report, kernel: &Kernel) {
    for (name, mut flow, least) in [
        ("datagrams of 22 B, bridge", Flow::bridged(), 20.0),
        ("datagrams of 22 B, masquerade", Flow::masqueraded(), 12.0),
    ] {
        Row::rate(name, "datagram/s").ratio(least).against(
            report,
            ("lab", beside(|rounds| rate(rounds, || flow.there()))),
            ("kernel bridge, two cores", |rounds| {
                kernel.measure(Work::Datagrams, Cores::Two, rounds)
            }),
        );
    }
}
