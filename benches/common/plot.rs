//! Plots as SVG: lines through medians, with bars from the least to the most; both axes logarithmic.
//!
//! The text depends on the points alone. Colours are told apart by those who see few.

use std::fmt::Write as _;

use super::{Spread, si};

/// Which picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plot {
    /// Bytes of a frame, frames a second.
    FrameSize,
    /// Ports of a bridge, frames a second.
    Ports,
    /// Open connections of a namespace, things a second that do not concern them, drawn as the time of each.
    Sockets,
    /// Containers of a lab, seconds until all are up.
    Containers,
}

pub(crate) const PLOTS: [Plot; 4] = [
    Plot::FrameSize,
    Plot::Ports,
    Plot::Sockets,
    Plot::Containers,
];

/// The lines of a plot, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Lines(Vec<(String, Vec<(f64, Spread)>)>);

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
/// The rectangle of the axes: left, right, top, bottom.
const FRAME: (f64, f64, f64, f64) = (86.0, 520.0, 44.0, 380.0);
const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#333333",
];

impl Lines {
    pub(crate) fn add(&mut self, line: &str, x: f64, y: Spread) {
        let at = self.0.iter().position(|(name, _)| name == line);
        let at = at.unwrap_or_else(|| {
            self.0.push((line.to_owned(), Vec::new()));
            self.0.len() - 1
        });
        let points = &mut self.0[at].1;
        points.push((x, y));
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
}

/// A logarithmic axis from one power of ten (or a fraction of it) to another, in pixels.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min).log10();
        let high = values.fold(f64::NEG_INFINITY, f64::max).log10();
        // A tenth of a decade of air, and at least a whole decade, so that noise is not drawn large.
        let air = ((1.0 - (high - low)) / 2.0).max(0.1);
        Self {
            low: low - air,
            high: high + air,
            from,
            to,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let part = (value.log10() - self.low) / (self.high - self.low);
        self.from + part * (self.to - self.from)
    }

    /// Values to be named: 1, 2 and 5 of each decade, or 1 alone where there are many decades.
    fn marks(&self) -> Vec<f64> {
        let steps: &[f64] = if self.high - self.low > 3.0 {
            &[1.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let decades = self.low.floor() as i32..=self.high.ceil() as i32;
        decades
            .flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)))
            .filter(|mark| (self.low..=self.high).contains(&mark.log10()))
            .collect()
    }
}

/// A mark's name: `20 M`.
fn name(mark: f64) -> String {
    let text = si(mark);
    let (digits, prefix) = text.split_once(' ').unwrap_or((&text, ""));
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{digits} {prefix}").trim_end().to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

impl Plot {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::FrameSize => "Frame size and rate",
            Self::Ports => "Ports of a bridge and rate",
            Self::Sockets => "Open connections and the cost of a request and of a poll",
            Self::Containers => "Containers and start time",
        }
    }

    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::FrameSize => "frame-size.svg",
            Self::Ports => "ports.svg",
            Self::Sockets => "sockets.svg",
            Self::Containers => "containers.svg",
        }
    }

    fn axes(self) -> (&'static str, &'static str) {
        match self {
            Self::FrameSize => ("bytes of a frame", "frames a second"),
            Self::Ports => ("ports", "frames a second"),
            Self::Sockets => ("open connections in each namespace", "seconds each"),
            Self::Containers => ("containers", "seconds until all are up"),
        }
    }

    /// What is drawn of a figure.
    fn drawn(self, y: Spread) -> Spread {
        match self {
            Self::Sockets => Spread {
                median: 1.0 / y.median,
                least: 1.0 / y.most,
                most: 1.0 / y.least,
            },
            _ => y,
        }
    }

    /// The picture.
    pub(crate) fn svg(self, lines: &Lines) -> String {
        let drawn: Vec<(&str, Vec<(f64, Spread)>)> = lines
            .0
            .iter()
            .map(|(name, points)| {
                let points = points.iter().map(|&(x, y)| (x, self.drawn(y)));
                (name.as_str(), points.collect())
            })
            .collect();
        let all = || drawn.iter().flat_map(|(_, points)| points.iter());
        let (left, right, top, bottom) = FRAME;
        let x = Axis::over(all().map(|(x, _)| *x), left, right);
        let y = Axis::over(all().flat_map(|(_, y)| [y.least, y.most]), bottom, top);
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
             <text x=\"{left}\" y=\"26\" font-size=\"17\">{}</text>\n",
            self.title()
        );
        self.scales(&x, &y, &mut text);
        for (at, (name, points)) in drawn.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            line(&x, &y, points, colour, &mut text);
            let row = top + 14.0 + 22.0 * at as f64;
            let _infallible = writeln!(
                text,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{row:.1}\">{}</text>",
                right + 18.0,
                row - 4.5,
                right + 28.0,
                escaped(name)
            );
        }
        text.push_str("</svg>\n");
        text
    }

    fn scales(self, x: &Axis, y: &Axis, text: &mut String) {
        let (left, right, top, bottom) = FRAME;
        let (x_name, y_name) = self.axes();
        for mark in x.marks() {
            let at = x.at(mark);
            let _infallible = writeln!(
                text,
                "<path d=\"M{at:.1} {top}V{bottom}\" stroke=\"#ddd\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                name(mark)
            );
        }
        for mark in y.marks() {
            let at = y.at(mark);
            let _infallible = writeln!(
                text,
                "<path d=\"M{left} {at:.1}H{right}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                at + 4.5,
                name(mark)
            );
        }
        let (middle, centre) = ((left + right) / 2.0, (top + bottom) / 2.0);
        let _infallible = writeln!(
            text,
            "<path d=\"M{left} {top}V{bottom}H{right}\" stroke=\"black\" fill=\"none\"/>\n\
             <text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{x_name}</text>\n\
             <text transform=\"translate(22 {centre:.1}) rotate(-90)\" \
             text-anchor=\"middle\">{y_name}</text>",
            bottom + 44.0
        );
    }
}

/// A line through the medians, and a bar at each.
fn line(x: &Axis, y: &Axis, points: &[(f64, Spread)], colour: &str, text: &mut String) {
    let through: Vec<String> = points
        .iter()
        .map(|(at, figures)| format!("{:.1},{:.1}", x.at(*at), y.at(figures.median)))
        .collect();
    let _infallible = writeln!(
        text,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        through.join(" ")
    );
    for (at, figures) in points {
        let _infallible = writeln!(
            text,
            "<path d=\"M{0:.1} {1:.1}V{2:.1}\" stroke=\"{colour}\"/>\
             <circle cx=\"{0:.1}\" cy=\"{3:.1}\" r=\"4\" fill=\"{colour}\"/>",
            x.at(*at),
            y.at(figures.least),
            y.at(figures.most),
            y.at(figures.median)
        );
    }
}
