//! Workflow commands of GitHub Actions: an annotation for each expectation that does not pass, an error if it makes
//! the run fail, else a notice. The last line says how the run went.

use super::{At, Report, Status, count};

/// Writes it.
#[must_use]
pub fn write(report: &Report) -> String {
    let mut out = String::new();
    for project in &report.projects {
        if let Some(error) = &project.error {
            let at = project.error_at.clone().unwrap_or_else(|| At {
                file: project.label.clone(),
                ..At::default()
            });
            out.push_str(&command("error", &at, "vethlab", error));
        }
        for entry in project.entries.iter().filter(|e| e.status != Status::Pass) {
            let level = if entry.fails() { "error" } else { "notice" };
            let title = format!("{}: {}", entry.status, entry.text);
            let text = if entry.known {
                format!("In the baseline: {}", entry.summary)
            } else if entry.details.is_empty() {
                entry.summary.clone()
            } else {
                entry.details.clone()
            };
            out.push_str(&command(level, &entry.at, &title, &text));
        }
        for note in &project.notes {
            out.push_str(&command("warning", &note.at, "vethlab", &note.text));
        }
    }
    let (all, failed) = (report.entries().count(), report.failures());
    out.push_str(&format!("{}, {failed} failed\n", count(all, "expectation")));
    out
}

fn command(level: &str, at: &At, title: &str, text: &str) -> String {
    let (file, title, text) = (property(&at.file), property(title), message(text));
    match at.line {
        0 => format!("::{level} file={file},title={title}::{text}\n"),
        line => format!(
            "::{level} file={file},line={line},col={},title={title}::{text}\n",
            at.column
        ),
    }
}

/// What follows `::` is one line.
fn message(text: &str) -> String {
    text.trim_end()
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// In a property colons and commas part things, too.
fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}
