//! What all benches share: rounds, rates and medians; a row; the report of all rows; plots; the machine.
//!
//! These machines are shared and noisy, so an absolute figure means little: ours and its anchor run
//! A B A B …, and the ratio is taken pair by pair. Shown: median (least..most) of each, and of the ratio.
//! `--smoke` runs one short round of each, to see that it works.

pub(crate) mod alloc;
pub(crate) mod cores;
pub(crate) mod lab;
pub(crate) mod machine;
pub(crate) mod many;
pub(crate) mod plot;
pub(crate) mod report;
pub(crate) mod row;
pub(crate) mod table;

use std::time::{Duration, Instant};

pub(crate) use plot::Plot;
pub(crate) use report::Report;
pub(crate) use row::Row;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds {
    /// Counted rounds.
    pub(crate) count: usize,
    /// The least time that one measurement takes.
    pub(crate) at_least: Duration,
}

/// One short round is asked for.
pub(crate) fn smoke() -> bool {
    std::env::args().any(|arg| arg == "--smoke")
}

/// Five rounds of 200 ms, or one short one with `--smoke`.
pub(crate) fn rounds() -> Rounds {
    if smoke() {
        Rounds {
            count: 1,
            at_least: Duration::from_millis(5),
        }
    } else {
        Rounds {
            count: 5,
            at_least: Duration::from_millis(200),
        }
    }
}

/// Units of work a second: runs `work` (which returns how many units it did) until `at_least` passed.
pub(crate) fn rate(rounds: Rounds, mut work: impl FnMut() -> u64) -> f64 {
    let start = Instant::now();
    let mut units = 0;
    loop {
        units += work();
        let spent = start.elapsed();
        if spent >= rounds.at_least {
            return units as f64 / spent.as_secs_f64();
        }
    }
}

/// Median, least and most of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// Of at least one figure.
pub(crate) fn spread(figures: &[f64]) -> Spread {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    Spread {
        median: sorted[sorted.len() / 2],
        least: sorted[0],
        most: sorted[sorted.len() - 1],
    }
}

/// A figure with a prefix: `12.3 M`.
pub(crate) fn si(figure: f64) -> String {
    match figure.abs() {
        f if f >= 1e9 => format!("{:.2} G", figure / 1e9),
        f if f >= 1e6 => format!("{:.2} M", figure / 1e6),
        f if f >= 1e3 => format!("{:.2} k", figure / 1e3),
        f if f >= 1.0 || f == 0.0 => format!("{figure:.2} "),
        f if f >= 1e-3 => format!("{:.2} m", figure * 1e3),
        f if f >= 1e-6 => format!("{:.2} µ", figure * 1e6),
        _ => format!("{:.2} n", figure * 1e9),
    }
}
