//! What does it cost to look? Bulk TCP with a capture of the whole lab, beside the same without.
//!
//! API: as "tcp"; `Lab::capture_start` once per bridge crossing, `Lab::capture_take` each turn into a sink that
//! counts. Every frame 1514 B, full checksums. The anchor is the same without a capture.

use crate::common::{Report, Row};
use crate::tcp::{Ours, Stream, bits};
use vethlab::core::net::CaptureAt;

pub(crate) fn run(report: &mut Report) {
    report.about(
        "bulk as in \"tcp\", every frame 1514 B with full checksums; Lab::capture_start once per bridge crossing, \
         Lab::capture_take each turn into a sink that counts",
    );
    let stream = Stream::new();
    let (mut seen, mut unseen) = (Ours::new(true), Ours::new(true));
    seen.lab().capture_start(CaptureAt::Crossing);
    let (mut carried, mut captured) = (0, 0);
    Row::rate("bulk, captured", "bit/s")
        .with("256 KiB buffers")
        .ratio(0.4)
        .against(
            report,
            ("with a capture", |rounds| {
                bits(rounds, || {
                    let bytes = seen.bulk(&stream);
                    captured += seen.lab().capture_take().len() as u64;
                    carried += bytes;
                    bytes
                })
            }),
            ("without", |rounds| bits(rounds, || unseen.bulk(&stream))),
        );
    assert!(
        captured > carried,
        "{captured} B of capture for {carried} B"
    );
}
