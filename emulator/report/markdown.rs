//! A table of what does not pass, and one line for each project: for a job's summary or a comment.

use core::fmt::Write;

use super::{Report, Status, people};

/// Writes it.
#[must_use]
pub fn write(report: &Report) -> String {
    let mut out = String::from("| | project | result |\n|---|---|---|\n");
    for project in &report.projects {
        let sign = match (&project.error, project.failures()) {
            (Some(_), _) => "🚫",
            (None, 0) => "✅",
            _ => "❌",
        };
        let label = code(&project.label);
        // Writing to a text does not fail.
        let _fine = writeln!(out, "| {sign} | {label} | {} |", people::tally(project));
    }
    let failed: Vec<_> = report
        .entries()
        .filter(|(_, entry)| entry.status != Status::Pass)
        .collect();
    if !failed.is_empty() {
        out.push_str("\n| | expectation | place | why |\n|---|---|---|---|\n");
    }
    for (_, entry) in &failed {
        let status = if entry.known {
            "known".to_owned()
        } else {
            entry.status.to_string()
        };
        let _fine = writeln!(
            out,
            "| {status} | {} | {} | {} |",
            code(&entry.text),
            code(&entry.at.to_string()),
            cell(&entry.summary)
        );
    }
    for (_, entry) in failed.iter().filter(|(_, entry)| entry.fails()) {
        let text = cell(&entry.text);
        let _fine = write!(
            out,
            "\n<details><summary>{text}</summary>\n\n````text\n{}\n````\n\n</details>\n",
            entry.details.trim_end().replace("````", "```")
        );
    }
    for project in &report.projects {
        if let Some(error) = &project.error {
            let error = error.trim_end().replace("````", "```");
            let _fine = write!(
                out,
                "\n{}\n\n````text\n{error}\n````\n",
                code(&project.label)
            );
        }
        for note in &project.notes {
            let at = note.at.to_string();
            let _fine = write!(out, "\n- {}: {}", code(&at), cell(&note.text));
        }
        if !project.notes.is_empty() {
            out.push('\n');
        }
    }
    if !report.gone.is_empty() {
        out.push_str("\nNo longer in need of the baseline:\n\n");
    }
    for known in &report.gone {
        let _fine = writeln!(
            out,
            "- {}: {}",
            code(&known.project),
            code(&known.expectation)
        );
    }
    out
}

/// Text in a table: no bars, no line breaks, no tags.
fn cell(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('|', "\\|")
        .replace('\n', " ")
}

/// The same as code: backticks would end it.
fn code(text: &str) -> String {
    let text = text.replace('|', "\\|").replace('\n', " ");
    match text.contains('`') {
        true => format!("`` {text} ``"),
        false => format!("`{text}`"),
    }
}
