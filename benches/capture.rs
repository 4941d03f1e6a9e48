//! What does it cost to look? Bulk TCP with a capture of the whole lab, beside the same without.
//!
//! API: as "tcp"; `Lab::capture_start` once per bridge crossing, `Lab::capture_to` a sink that counts. Every frame
//! 1514 B, full checksums. The anchor is the same without a capture.

use crate::common::{Report, Row};
use crate::tcp::{Ours, Stream, bits};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vethlab::core::net::{CaptureAt, CaptureSink};

/// A sink that counts bytes.
#[derive(Clone, Debug, Default)]
struct Counter(Arc<AtomicU64>);

impl CaptureSink for Counter {
    fn take(&mut self, bytes: &mut Vec<u8>) {
        self.0.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
}

pub(crate) fn run(report: &mut Report) {
    report.about(
        "bulk as in \"tcp\", every frame 1514 B with full checksums; Lab::capture_start once per bridge crossing, \
         Lab::capture_to a sink that counts",
    );
    let stream = Stream::new();
    let (mut seen, mut unseen) = (Ours::new(true), Ours::new(true));
    let counter = Counter::default();
    seen.lab().capture_start(CaptureAt::Crossing);
    seen.lab().capture_to(Box::new(counter.clone()));
    let mut carried = 0;
    Row::rate("bulk, captured", "bit/s")
        .with("256 KiB buffers")
        .ratio(0.4)
        .against(
            report,
            ("with a capture", |rounds| {
                bits(rounds, || {
                    let bytes = seen.bulk(&stream);
                    carried += bytes;
                    bytes
                })
            }),
            ("without", |rounds| bits(rounds, || unseen.bulk(&stream))),
        );
    seen.lab().capture_flush();
    let captured = counter.0.load(Ordering::Relaxed);
    assert!(
        captured > carried,
        "{captured} B of capture for {carried} B"
    );
}
