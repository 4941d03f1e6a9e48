//! The Test Anything Protocol, version 14: a point for each expectation, with the failure text in a YAML block.
//! What is unknown, or known to the baseline, is skipped.

use core::fmt::Write;

use super::{Entry, Report, Status};

/// Writes it.
#[must_use]
pub fn write(report: &Report) -> String {
    let mut out = String::from("TAP version 14\n");
    let errors = report.projects.iter().filter(|p| p.error.is_some()).count();
    let mut number = 0;
    // Writing to a text does not fail.
    let _fine = writeln!(out, "1..{}", report.entries().count() + errors);
    for project in &report.projects {
        if let Some(error) = &project.error {
            number += 1;
            let _fine = writeln!(out, "not ok {number} - {}: load", escaped(&project.label));
            block(&mut out, &[("message", error)]);
        }
        for note in &project.notes {
            let _fine = writeln!(out, "# {}: {}", note.at, note.text.replace('\n', " "));
        }
        for entry in &project.entries {
            number += 1;
            point(&mut out, number, &project.label, entry);
        }
    }
    out
}

fn point(out: &mut String, number: usize, label: &str, entry: &Entry) {
    let ok = if entry.fails() { "not ok" } else { "ok" };
    let directive = match entry.status {
        Status::Unknown => format!(" # SKIP {}", entry.summary.replace('\n', " ")),
        _ if entry.known => " # SKIP in the baseline".to_owned(),
        _ => String::new(),
    };
    let (label, text) = (escaped(label), escaped(&entry.text));
    let _fine = writeln!(out, "{ok} {number} - {label}: {text}{directive}");
    if entry.fails() {
        let at = entry.at.to_string();
        let rows = [
            ("message", &entry.summary),
            ("severity", &entry.status.word().to_owned()),
            ("at", &at),
            ("details", &entry.details),
        ];
        block(out, &rows);
    }
}

/// In a description `#` begins a directive and `\` escapes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('#', "\\#")
        .replace('\n', " ")
}

/// A YAML block: two blanks in front, every value a JSON string or a literal block.
fn block(out: &mut String, rows: &[(&str, &String)]) {
    out.push_str("  ---\n");
    for (key, value) in rows {
        if value.contains('\n') {
            let _fine = writeln!(out, "  {key}: |2");
            for line in value.lines() {
                let _fine = writeln!(out, "    {line}");
            }
        } else {
            let quoted = serde_json::to_string(value).unwrap_or_default();
            let _fine = writeln!(out, "  {key}: {quoted}");
        }
    }
    out.push_str("  ...\n");
}
