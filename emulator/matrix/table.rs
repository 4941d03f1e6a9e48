//! The matrix as text for people: a grid, then what the grid cannot say.

use super::Matrix;
use super::grid::{Entry, doors, marks, names, ports, reasons, routes};

/// A grid that is wider is cut into blocks of columns.
const WIDTH: usize = 118;

/// The matrix as text.
#[must_use]
pub fn render(matrix: &Matrix) -> String {
    let mut text = format!(
        "project {}, engine {}, seed {}\n",
        matrix.project, matrix.engine, matrix.seed
    );
    grid(matrix, &mut text);
    text.push_str(
        "\n80 answers, 53u by UDP; 80* only at a published port; 80+ only by an added route; ? no port is\n\
         stated, an address answers a ping; - nothing answers\n",
    );
    list(
        &mut text,
        "PUBLISHED",
        "VIA",
        "TO WHOM",
        &doors(matrix, false),
    );
    list(
        &mut text,
        "SIDE DOOR",
        "VIA",
        "TO WHOM",
        &doors(matrix, true),
    );
    list(&mut text, "BY A ROUTE", "VIA", "TO WHOM", &routes(matrix));
    list(&mut text, "CLOSED", "WHY", "TO WHOM", &reasons(matrix));
    known(matrix, &mut text);
    for (name, error) in &matrix.failed {
        text.push_str(&format!("\n{name} does not run: {error}\n"));
    }
    text
}

fn grid(matrix: &Matrix, text: &mut String) {
    let marks: Vec<Vec<String>> = marks(matrix)
        .iter()
        .map(|row| row.iter().map(super::grid::Mark::text).collect())
        .collect();
    let ends: Vec<&str> = matrix.ends.iter().map(|end| end.name.as_str()).collect();
    let first = ends.iter().map(|name| name.len()).max().unwrap_or(0).max(4);
    let widths: Vec<usize> = (0..ends.len())
        .map(|column| {
            let marks = marks.iter().map(|row| row[column].chars().count());
            marks.max().unwrap_or(0).max(ends[column].len())
        })
        .collect();
    let mut column = 0;
    while column < ends.len() {
        let from = column;
        let mut width = first;
        while column < ends.len() && (column == from || width + 2 + widths[column] <= WIDTH) {
            width += 2 + widths[column];
            column += 1;
        }
        text.push('\n');
        let mut line = |name: &str, cells: &dyn Fn(usize) -> String| {
            let mut line = format!("{name:first$}");
            for (at, width) in widths.iter().enumerate().take(column).skip(from) {
                line.push_str(&format!("  {:width$}", cells(at)));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        };
        line("FROM", &|at| ends[at].to_owned());
        for (row, name) in ends.iter().enumerate() {
            line(name, &|at| marks[row][at].clone());
        }
    }
}

fn list(text: &mut String, title: &str, what: &str, from: &str, entries: &[Entry]) {
    if entries.is_empty() {
        return;
    }
    let rows: Vec<[String; 3]> = entries
        .iter()
        .map(|entry| {
            [
                names(&entry.targets),
                entry.what.clone(),
                names(&entry.from),
            ]
        })
        .collect();
    text.push('\n');
    columns(text, [title, what, from], &rows);
}

fn known(matrix: &Matrix, text: &mut String) {
    let mut rows = Vec::new();
    for end in matrix.ends.iter().filter(|end| end.service) {
        if end.ports.is_empty() {
            rows.push([end.name.clone(), "nobody states a port".to_owned()]);
        }
        rows.extend(ports(end).into_iter().map(|(port, known)| [port, known]));
    }
    text.push('\n');
    columns(text, ["PORT", "KNOWN BY"], &rows);
}

/// Rows in columns, without blanks at the end of a line.
pub(crate) fn columns<const N: usize>(text: &mut String, head: [&str; N], rows: &[[String; N]]) {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut line = |cells: [&str; N]| {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(head);
    for row in rows {
        line(row.each_ref().map(String::as_str));
    }
}
