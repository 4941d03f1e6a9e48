//! Do labs in one process get in each other's way?
//!
//! A thousand small labs, as in `start`, on one thread, against a thousand on each of two threads at once. Nothing
//! is shared, so that two processors do twice the work; the allocator is the system's.

use std::time::Instant;

use crate::common::{Report, Row, rounds};
use crate::start::small;

/// Labs of one round and thread.
const LABS: usize = 1_000;

/// Labs a second on so many threads.
fn rate(threads: usize, labs: usize) -> f64 {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..labs).for_each(|_| small()));
        }
    });
    (threads * labs) as f64 / begun.elapsed().as_secs_f64()
}

pub(crate) fn run(report: &mut Report) {
    report.about("1 network, 2 containers, a connection, 1 kB each way, all dropped");
    let rounds = rounds();
    let labs = if rounds.count == 1 { 50 } else { LABS };
    Row::rate("labs on two threads", "lab/s")
        .ratio(1.8)
        .against(
            report,
            ("two threads", |_| rate(2, labs)),
            ("one thread", |_| rate(1, labs)),
        );
}
