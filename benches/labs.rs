//! Do labs in one process get in each other's way?
//!
//! A thousand small labs, as in `start`, on one thread, against a thousand on each of two threads at once. Nothing
//! is shared, so that two processors do twice the work; the allocator is the system's. The threads that work are not
//! the one that waits for them, so each says itself whether it had a core, and a pair of rounds counts if all had.

use std::cell::Cell;
use std::time::Instant;

use crate::common::machine::Core;
use crate::common::{Report, Row, rounds};
use crate::start::small;

/// Labs of one round and thread.
const LABS: usize = 1_000;

/// Labs a second on so many threads, and the least part of its time that one of them had a core.
fn round(threads: usize, labs: usize) -> (f64, f64) {
    let begun = Instant::now();
    let work = || {
        let before = Core::now();
        (0..labs).for_each(|_| small());
        Core::share_since(before)
    };
    let share = std::thread::scope(|scope| {
        let each: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let shares = each
            .into_iter()
            .map(|thread| thread.join().expect("it ran"));
        shares.fold(1.0, f64::min)
    });
    let rate = (threads * labs) as f64 / begun.elapsed().as_secs_f64();
    (rate, share)
}

pub(crate) fn run(report: &mut Report) {
    report.about("1 network, 2 containers, a connection, 1 kB each way, all dropped");
    let rounds = rounds();
    let labs = if rounds.count == 1 { 50 } else { LABS };
    // The anchor is ours as well: both need their cores.
    let single = Cell::new(0.0);
    let both = |_| {
        let (two, shared) = round(2, labs);
        let (one, alone) = round(1, labs);
        single.set(one);
        (two, shared.min(alone))
    };
    Row::rate("labs on two threads", "lab/s")
        .ratio(1.8)
        .in_turn(
            report,
            ("two threads", both),
            ("one thread", |_| single.get()),
        );
}
