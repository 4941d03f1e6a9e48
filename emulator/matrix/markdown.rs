//! The matrix as a Markdown page: the grid as a table, then the lists.

use super::Matrix;
use super::grid::{Entry, doors, marks, names, ports, reasons, routes};

/// The matrix as Markdown (tables as GitHub and GitLab have them).
#[must_use]
pub fn render(matrix: &Matrix) -> String {
    let mut text = format!(
        "### Who reaches whom in {}\n\nEngine {}, seed {}.\n\n",
        escaped(&matrix.project),
        matrix.engine,
        matrix.seed
    );
    let ends = matrix
        .ends
        .iter()
        .map(|end| format!("**{}**", escaped(&end.name)));
    let mut head = vec!["from \\ to".to_owned()];
    head.extend(ends.clone());
    line(&mut text, &head);
    line(&mut text, &vec!["---".to_owned(); head.len()]);
    for (name, row) in ends.zip(marks(matrix)) {
        let mut cells = vec![name];
        cells.extend(row.iter().map(|mark| escaped(&mark.text())));
        line(&mut text, &cells);
    }
    text.push_str(
        "\n`80` answers, `53u` by UDP; `80*` only at a published port; `80+` only by an added route; \
         `?` no port is stated, an address answers a ping; `-` nothing answers.\n",
    );
    list(
        &mut text,
        ["published", "via", "to whom"],
        &doors(matrix, false),
    );
    list(
        &mut text,
        ["side door", "via", "to whom"],
        &doors(matrix, true),
    );
    list(&mut text, ["by a route", "via", "to whom"], &routes(matrix));
    list(&mut text, ["closed", "why", "to whom"], &reasons(matrix));
    known(matrix, &mut text);
    for (name, error) in &matrix.failed {
        text.push_str(&format!(
            "\n{} does not run: {}\n",
            escaped(name),
            escaped(error)
        ));
    }
    text
}

fn list(text: &mut String, head: [&str; 3], entries: &[Entry]) {
    if entries.is_empty() {
        return;
    }
    text.push('\n');
    line(text, &head.map(str::to_owned));
    line(text, &["---", "---", "---"].map(str::to_owned));
    for entry in entries {
        let cells = [
            names(&entry.targets),
            entry.what.clone(),
            names(&entry.from),
        ];
        line(text, &cells.map(|cell| escaped(&cell)));
    }
}

fn known(matrix: &Matrix, text: &mut String) {
    text.push('\n');
    line(text, &["port", "known by"].map(str::to_owned));
    line(text, &["---", "---"].map(str::to_owned));
    for end in matrix.ends.iter().filter(|end| end.service) {
        if end.ports.is_empty() {
            line(
                text,
                &[escaped(&end.name), "nobody states a port".to_owned()],
            );
        }
        for (port, known) in ports(end) {
            line(text, &[escaped(&port), escaped(&known)]);
        }
    }
}

fn line(text: &mut String, cells: &[String]) {
    text.push_str(&format!("| {} |\n", cells.join(" | ")));
}

/// A text in which nothing is Markdown.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if matches!(
            c,
            '\\' | '`' | '*' | '_' | '|' | '<' | '[' | ']' | '&' | '~' | '#'
        ) {
            out.push('\\');
        }
        // A line of a table ends where the line ends.
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}
