//! The matrix as a picture: the grid, a colour for each kind of mark, the whole of a mark in its title.

use core::fmt::Write as _;

use super::facts::{fact, ways};
use super::grid::{Mark, marks, pairs};
use super::{Cell, End, Matrix};

/// Heights and widths, in pixels. A letter of 11 pixels is about six wide.
const ROW: usize = 24;
const LETTER: usize = 7;
const WIDEST: usize = 12;
const NARROWEST: usize = 4;
const MARGIN: usize = 16;
const TITLE: usize = 44;
/// The legend's second column, and what the whole of it takes.
const COLUMN: usize = 260;
const LEGEND: usize = 620;

/// What is in the cells, and how it looks: class, fill, legend.
const KINDS: [(&str, &str, &str); 7] = [
    ("open", "#cfe8d4", "answers at its own address"),
    ("side", "#fbd99b", "side door: only at a published port"),
    ("out", "#f5b8ae", "published: reached from outside"),
    (
        "ping",
        "#e3e9f2",
        "no port is stated, an address answers a ping",
    ),
    ("route", "#f7dcec", "only by a route that lan adds"),
    ("none", "#f6f6f6", "nothing answers"),
    ("same", "#d9d9d9", "itself"),
];

/// The matrix as SVG.
#[must_use]
pub fn render(matrix: &Matrix) -> String {
    let (marks, pairs) = (marks(matrix), pairs(matrix));
    let ends: Vec<&str> = matrix.ends.iter().map(|end| end.name.as_str()).collect();
    let longest = ends
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0);
    let left = MARGIN + longest * LETTER + 8;
    // Names of columns stand at an angle of 45 degrees.
    let slope = longest * LETTER * 3 / 4;
    let top = TITLE + slope + 10;
    let widths: Vec<usize> = (0..ends.len())
        .map(|column| {
            let letters = marks.iter().map(|row| row[column].text().chars().count());
            letters.max().unwrap_or(0).clamp(NARROWEST, WIDEST) * LETTER + 8
        })
        .collect();
    let grid: usize = widths.iter().sum();
    let width = (left + grid + slope + MARGIN).max(LEGEND);
    let bottom = top + ends.len() * ROW;
    let height = bottom + 20 + KINDS.len().div_ceil(2) * 20 + MARGIN;
    let mut svg = Svg(String::new());
    svg.line(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"11\" \
         fill=\"#222\">"
    ));
    let title = escaped(&format!("Who reaches whom in {}", matrix.project));
    svg.line(format_args!("<title>{title}</title>"));
    svg.line(format_args!(
        "<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>"
    ));
    svg.line(format_args!(
        "<text x=\"{MARGIN}\" y=\"24\" font-size=\"15\" font-weight=\"bold\">{title}</text>"
    ));
    svg.line(format_args!(
        "<text x=\"{MARGIN}\" y=\"40\" fill=\"#666\">rows reach columns, engine {}</text>",
        escaped(&matrix.engine)
    ));
    let mut x = left;
    for (name, width) in ends.iter().zip(&widths) {
        let (middle, y) = (x + width / 2, top - 6);
        svg.line(format_args!(
            "<text x=\"{middle}\" y=\"{y}\" transform=\"rotate(-45 {middle} {y})\">{}</text>",
            escaped(name)
        ));
        x += width;
    }
    for (row, name) in ends.iter().enumerate() {
        let y = top + row * ROW;
        svg.line(format_args!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            left - 6,
            y + 16,
            escaped(name)
        ));
        let mut x = left;
        for (column, width) in widths.iter().enumerate() {
            let ends = [&matrix.ends[row], &matrix.ends[column]];
            let (mark, cells) = (&marks[row][column], &pairs[row][column]);
            svg.cell(ends, mark, cells, [x, y, *width]);
            x += width;
        }
    }
    legend(&mut svg, bottom + 20);
    svg.0.push_str("</svg>\n");
    svg.0
}

fn legend(svg: &mut Svg, top: usize) {
    for (at, (_, fill, what)) in KINDS.iter().enumerate() {
        let (x, y) = (MARGIN + at % 2 * COLUMN, top + at / 2 * 20);
        svg.line(format_args!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"14\" height=\"14\" fill=\"{fill}\" stroke=\"#bbb\"/>\
             <text x=\"{}\" y=\"{}\">{what}</text>",
            x + 20,
            y + 11
        ));
    }
}

struct Svg(String);

impl Svg {
    fn line(&mut self, line: core::fmt::Arguments<'_>) {
        // A text takes everything that it is given.
        let _never = writeln!(self.0, "{line}");
    }

    fn cell(
        &mut self,
        [from, to]: [&End; 2],
        mark: &Mark,
        cells: &[&Cell],
        [x, y, width]: [usize; 3],
    ) {
        let class = if mark.same {
            "same"
        } else if !mark.open.is_empty() {
            "open"
        } else if !mark.doors.is_empty() && !from.service {
            "out"
        } else if !mark.doors.is_empty() {
            "side"
        } else if !mark.routes.is_empty() {
            "route"
        } else if mark.unknown == Some(true) {
            "ping"
        } else {
            "none"
        };
        let fill = KINDS
            .iter()
            .find(|kind| kind.0 == class)
            .map_or("#fff", |kind| kind.1);
        let text = if mark.same {
            String::new()
        } else {
            mark.text()
        };
        let mut shown: String = text.chars().take(width / LETTER).collect();
        if shown.len() < text.len() {
            shown.pop();
            shown.push('…');
        }
        let mut title = format!("{} to {}", from.name, to.name);
        for cell in cells {
            let ways: Vec<String> = ways(cell).into_iter().collect();
            let said = match &cell.reason {
                Some(reason) if ways.is_empty() => reason.clone(),
                _ => ways.join("; "),
            };
            title.push_str(&format!("\n{}: {said}", fact(cell).target()));
        }
        self.line(format_args!(
            "<g><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{ROW}\" \
             fill=\"{fill}\" stroke=\"#fff\"/><text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text></g>",
            escaped(&title),
            x + width / 2,
            y + 16,
            escaped(&shown)
        ));
    }
}

/// A text in which nothing is markup; what XML does not take is left out.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push('\n'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}
