//! Other stacks in user space, as constants: they are not built here.
//!
//! gVisor's netstack as Debian packages it (20221219, Go 1.19): two stacks in one process joined by its
//! in-memory link (`link/pipe`), on two processors of an EPYC (Zen 4) with 2 virtual processors under
//! Linux 6.18, measured on 23 November 2026: bulk 1.59 Gbit/s (1.27..1.81) at MTU 1500 and 7.45 (7.1..8.3) at
//! 65,521; request and response of 1 B 27 to 36 thousand a second. On another machine the ratio says nothing.

use crate::common::{Report, Row, rate};
use crate::tcp::{Ours, Stream, bits};

const BULK_1500: f64 = 1.59e9;
const BULK_65521: f64 = 7.45e9;
/// The best of its rounds.
const REQUESTS: f64 = 36e3;

pub(crate) fn run(report: &mut Report) {
    report.about(
        "the lab's TCP as in \"tcp\" beside gVisor's netstack over link/pipe: constants, measured on an EPYC \
         (Zen 4) with 2 virtual processors; no bridge, rules or counters there",
    );
    let stream = Stream::new();
    let mut ours = Ours::new(true);
    Row::rate("gVisor: bulk, MTU 1500, checksums", "bit/s")
        .with("256 KiB buffers, read in place")
        .ratio(10.0)
        .against_constant(
            report,
            ("lab, send and recv_with", |rounds| {
                bits(rounds, || ours.bulk(&stream))
            }),
            ("gVisor, MTU 1500, constant", BULK_1500),
        );
    let mut ours = Ours::new(false);
    Row::rate("gVisor: bulk, lab's default offloads", "bit/s")
        .with("256 KiB buffers, read in place")
        .ratio(10.0)
        .against_constant(
            report,
            ("lab, send and recv_with", |rounds| {
                bits(rounds, || ours.bulk(&stream))
            }),
            ("gVisor, MTU 65,521, constant", BULK_65521),
        );
    let mut ours = Ours::new(true);
    Row::rate("gVisor: request and response of 1 B", "/s")
        .with("256 KiB buffers")
        .ratio(20.0)
        .against_constant(
            report,
            ("lab", |rounds| rate(rounds, || ours.request(7))),
            ("gVisor, constant", REQUESTS),
        );
}
