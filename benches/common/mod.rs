//! Rows of a benchmark: two things measured in turn, in one run, and the ratio between them.
//!
//! These machines are shared and noisy, so an absolute figure means little: ours and its anchor run
//! A B A B …, and the ratio is taken pair by pair. Printed: median (min..max) of each, and of the ratio.
//! `--smoke` runs one short round of each, to see that it works.

pub(crate) mod lab;

use std::time::{Duration, Instant};

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds {
    /// Counted rounds.
    pub(crate) count: usize,
    /// The least time that one measurement takes.
    pub(crate) at_least: Duration,
}

/// Five rounds of 200 ms, or one short one with `--smoke`.
pub(crate) fn rounds() -> Rounds {
    if std::env::args().any(|arg| arg == "--smoke") {
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
pub(crate) fn spread(figures: &[f64]) -> (f64, f64, f64) {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    (
        sorted[sorted.len() / 2],
        sorted[0],
        sorted[sorted.len() - 1],
    )
}

/// A figure with a prefix: `12.3 M`.
pub(crate) fn si(figure: f64) -> String {
    match figure {
        f if f >= 1e9 => format!("{:.2} G", f / 1e9),
        f if f >= 1e6 => format!("{:.2} M", f / 1e6),
        f if f >= 1e3 => format!("{:.2} k", f / 1e3),
        f if f >= 1.0 || f == 0.0 => format!("{f:.2} "),
        f if f >= 1e-3 => format!("{:.2} m", f * 1e3),
        f if f >= 1e-6 => format!("{:.2} µ", f * 1e6),
        f => format!("{:.2} n", f * 1e9),
    }
}

fn show(figures: &[f64], unit: &str) -> String {
    let (median, least, most) = spread(figures);
    format!(
        "{}{unit} ({}..{})",
        si(median),
        si(least).trim_end(),
        si(most).trim_end()
    )
}

/// Measures `ours` and `anchor` in turn and prints the row.
pub(crate) fn compare(
    name: &str,
    unit: &str,
    (ours_name, mut ours): (&str, impl FnMut(Rounds) -> f64),
    (anchor_name, mut anchor): (&str, impl FnMut(Rounds) -> f64),
) {
    let rounds = rounds();
    let (mut a, mut b, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds.count {
        a.push(ours(rounds));
        b.push(anchor(rounds));
        ratio.push(a[a.len() - 1] / b[b.len() - 1]);
    }
    let (median, least, most) = spread(&ratio);
    println!("{name}");
    println!("  {ours_name:<28} {}", show(&a, unit));
    println!("  {anchor_name:<28} {}", show(&b, unit));
    println!("  ratio                        {median:.3} ({least:.3}..{most:.3})");
}
