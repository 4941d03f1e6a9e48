//! A row: what is measured, beside which anchor, and what it shall reach.
//!
//! The ratio says how many times better ours is: ours by anchor where more is better, anchor by ours where less is.

use super::machine::Core;
use super::{Plot, Report, Rounds, Spread, rounds, si, smoke, spread};

/// So much of the time that a thread is ready to run it has to run, for its round to count.
const CALM: f64 = 0.97;
/// Times so many pairs of rounds as are wanted are tried.
const TRIES: usize = 4;

/// Whether more or less of the unit is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Better {
    More,
    Less,
}

/// What a row shall reach.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// So many times its anchor.
    Ratio(f64),
    /// So much of its unit.
    Value(f64),
}

/// Where a row stands in a plot.
#[derive(Clone, Debug)]
struct Point {
    plot: Plot,
    x: f64,
    ours: Option<String>,
    anchor: Option<String>,
}

/// What is about to be measured.
#[derive(Clone, Debug)]
#[must_use = "a row is measured by `against`, `against_constant` or `record`"]
pub(crate) struct Row {
    name: String,
    unit: &'static str,
    better: Better,
    targets: Vec<Target>,
    with: String,
    points: Vec<Point>,
}

/// What was measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) question: &'static str,
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// What is not default.
    pub(crate) with: String,
    pub(crate) ours: (String, Spread),
    pub(crate) anchor: Option<(String, Spread)>,
    pub(crate) ratio: Option<Spread>,
    /// Empty if none is set.
    pub(crate) target: String,
    /// Nothing if no target is set, or its anchor is missing.
    pub(crate) met: Option<bool>,
}

impl Row {
    /// A row of which more is better, like `frame/s`.
    pub(crate) fn rate(name: impl Into<String>, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            unit,
            better: Better::More,
            targets: Vec::new(),
            with: String::new(),
            points: Vec::new(),
        }
    }

    /// A row of which less is better, like `s` or `B`.
    pub(crate) fn cost(name: impl Into<String>, unit: &'static str) -> Self {
        Self {
            better: Better::Less,
            ..Self::rate(name, unit)
        }
    }

    /// It shall be so many times better than its anchor.
    pub(crate) fn ratio(mut self, at_least: f64) -> Self {
        self.targets.push(Target::Ratio(at_least));
        self
    }

    /// It shall reach so much of its unit: at least of a rate, at most of a cost.
    pub(crate) fn reach(mut self, value: f64) -> Self {
        self.targets.push(Target::Value(value));
        self
    }

    /// Configuration that is not the default.
    pub(crate) fn with(mut self, configuration: impl Into<String>) -> Self {
        self.with = configuration.into();
        self
    }

    /// It stands here in a plot, with what is named next.
    pub(crate) fn at(mut self, plot: Plot, x: f64) -> Self {
        self.points.push(Point {
            plot,
            x,
            ours: None,
            anchor: None,
        });
        self
    }

    /// Its figure is a point of this line of a plot.
    pub(crate) fn point(self, plot: Plot, x: f64, ours: impl Into<String>) -> Self {
        let mut row = self.at(plot, x);
        row.points.last_mut().expect("just pushed").ours = Some(ours.into());
        row
    }

    /// The anchor's figure is a point of this line of the plot named last.
    pub(crate) fn anchor_point(mut self, anchor: impl Into<String>) -> Self {
        let last = self.points.last_mut().expect("a place comes first");
        last.anchor = Some(anchor.into());
        self
    }

    /// Measures ours, which is all done by this thread, and its anchor in turn.
    pub(crate) fn against(
        self,
        report: &mut Report,
        (ours_name, mut ours): (&str, impl FnMut(Rounds) -> f64),
        anchor: (&str, impl FnMut(Rounds) -> f64),
    ) {
        let ours = |rounds| {
            let before = Core::now();
            let figure = ours(rounds);
            (figure, Core::share_since(before))
        };
        self.in_turn(report, (ours_name, ours), anchor);
    }

    /// Measures ours and its anchor in turn; with our figure comes the part of its time in which it had a core. A pair of
    /// rounds counts if it had one whenever it wanted one; on a machine that never leaves it alone those count in which
    /// it had one longest.
    pub(crate) fn in_turn(
        self,
        report: &mut Report,
        (ours_name, mut ours): (&str, impl FnMut(Rounds) -> (f64, f64)),
        (anchor_name, mut anchor): (&str, impl FnMut(Rounds) -> f64),
    ) {
        let rounds = rounds();
        let mut pairs = Vec::new();
        while pairs.len() < rounds.count * TRIES {
            let (ours, share) = ours(rounds);
            pairs.push((share, ours, anchor(rounds)));
            let calm = pairs.iter().filter(|pair| pair.0 >= CALM).count();
            if calm >= rounds.count || smoke() {
                break;
            }
        }
        pairs.sort_by(|one, other| other.0.total_cmp(&one.0));
        pairs.truncate(rounds.count);
        let share = pairs.iter().map(|pair| pair.0).fold(1.0, f64::min);
        if share < CALM {
            println!(
                "others took the core: ours had it for {:.0} % of a round",
                share * 100.0
            );
        }
        let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().map(|pair| (pair.1, pair.2)).unzip();
        self.record(report, (ours_name, &a), Some((anchor_name, &b)));
    }

    /// Measures ours beside a figure that is known from elsewhere.
    pub(crate) fn against_constant(
        self,
        report: &mut Report,
        ours: (&str, impl FnMut(Rounds) -> f64),
        (anchor_name, anchor): (&str, f64),
    ) {
        self.against(report, ours, (anchor_name, |_| anchor));
    }

    /// Takes what was measured, a figure a round; the anchor's were measured in turn with ours.
    pub(crate) fn record(
        self,
        report: &mut Report,
        (ours_name, ours): (&str, &[f64]),
        anchor: Option<(&str, &[f64])>,
    ) {
        let ratio = anchor.map(|(_, anchor)| {
            assert_eq!(ours.len(), anchor.len(), "rounds come in pairs");
            let pairs = ours.iter().zip(anchor);
            let ratios: Vec<f64> = pairs
                .map(|(ours, anchor)| match self.better {
                    Better::More => ours / anchor,
                    Better::Less => anchor / ours,
                })
                .collect();
            spread(&ratios)
        });
        let ours = spread(ours);
        let anchor = anchor.map(|(name, figures)| (name.to_owned(), spread(figures)));
        for point in &self.points {
            if let Some(line) = &point.ours {
                report.point(point.plot, line, point.x, ours);
            }
            if let (Some(line), Some((_, figures))) = (&point.anchor, &anchor) {
                report.point(point.plot, line, point.x, *figures);
            }
        }
        let measured = Measured {
            question: report.question(),
            target: self.target(),
            met: self.met(ours, ratio),
            name: self.name,
            unit: self.unit,
            with: self.with,
            ours: (ours_name.to_owned(), ours),
            anchor,
            ratio,
        };
        measured.print();
        report.push(measured);
    }

    fn target(&self) -> String {
        let sign = match self.better {
            Better::More => "≥",
            Better::Less => "≤",
        };
        let words: Vec<String> = self
            .targets
            .iter()
            .map(|target| match target {
                Target::Ratio(ratio) => format!("≥ {ratio} ×"),
                Target::Value(value) => format!("{sign} {}{}", si(*value), self.unit),
            })
            .collect();
        words.join(", ")
    }

    fn met(&self, ours: Spread, ratio: Option<Spread>) -> Option<bool> {
        let each = self.targets.iter().map(|target| match *target {
            Target::Ratio(least) => ratio.map(|ratio| ratio.median >= least),
            Target::Value(value) => Some(match self.better {
                Better::More => ours.median >= value,
                Better::Less => ours.median <= value,
            }),
        });
        let each: Option<Vec<bool>> = each.collect();
        each.filter(|each| !each.is_empty())
            .map(|each| each.iter().all(|met| *met))
    }
}

/// `12.3 Mframe/s (11.0 M..13.1 M)`.
pub(crate) fn shown(figures: Spread, unit: &str) -> String {
    format!(
        "{}{unit} ({}..{})",
        si(figures.median),
        si(figures.least).trim_end(),
        si(figures.most).trim_end()
    )
}

/// A ratio in digits that mean something.
pub(crate) fn times(ratio: Spread) -> String {
    let digits = if ratio.median < 10.0 { 3 } else { 1 };
    format!(
        "{:.digits$} ({:.digits$}..{:.digits$})",
        ratio.median, ratio.least, ratio.most
    )
}

impl Measured {
    /// `met`, `missed`, or nothing.
    pub(crate) fn verdict(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "",
        }
    }

    fn print(&self) {
        println!("{}", self.name);
        if !self.with.is_empty() {
            println!("  with {}", self.with);
        }
        println!("  {:<28} {}", self.ours.0, shown(self.ours.1, self.unit));
        if let (Some((name, figures)), Some(ratio)) = (&self.anchor, self.ratio) {
            println!("  {name:<28} {}", shown(*figures, self.unit));
            println!("  {:<28} {}", "ratio", times(ratio));
        }
        if !self.target.is_empty() {
            println!("  {:<28} {}: {}", "target", self.target, self.verdict());
        }
    }
}
