//! For people: one line for each project, and the whole text of each failure under it.

use core::fmt::Write;

use super::{Project, Report, Status, count};

/// Writes it.
#[must_use]
pub fn write(report: &Report) -> String {
    let mut out = String::new();
    for project in &report.projects {
        one(&mut out, project);
    }
    if !report.gone.is_empty() {
        out.push_str("no longer in need of the baseline:\n");
    }
    // Writing to a text does not fail.
    for known in &report.gone {
        let _fine = writeln!(out, "  {}: {}", known.project, known.expectation);
    }
    if report.projects.len() > 1 {
        let failed = report
            .projects
            .iter()
            .filter(|project| project.failures() > 0);
        let broken = report.projects.iter().filter(|p| p.error.is_some()).count();
        let _fine = write!(
            out,
            "\n{}, {}: {} failed in {}",
            count(report.projects.len(), "project"),
            count(report.entries().count(), "expectation"),
            report.failures(),
            count(failed.count(), "project"),
        );
        if broken > 0 {
            let _fine = write!(out, ", {broken} could not be read");
        }
        out.push('\n');
    }
    out
}

fn one(out: &mut String, project: &Project) {
    let word = match (&project.error, project.failures()) {
        (Some(_), _) => "ERROR",
        (None, 0) => "ok   ",
        _ => "FAIL ",
    };
    let _fine = writeln!(out, "{word} {}: {}", project.label, tally(project));
    if let Some(error) = &project.error {
        indented(out, error);
    }
    for note in &project.notes {
        let _fine = writeln!(out, "  note: {}: {}", note.at, note.text);
    }
    for entry in project.entries.iter().filter(|e| e.status != Status::Pass) {
        if entry.fails() {
            let _fine = writeln!(out, "\n  {}: {}", entry.status, entry.text);
            indented(out, &entry.details);
        } else {
            let why = if entry.known {
                "in the baseline"
            } else {
                &entry.summary
            };
            let _fine = writeln!(
                out,
                "  {}: {}: {} ({why})",
                entry.status, entry.at, entry.text
            );
        }
    }
    if project.failures() > 0 {
        out.push('\n');
    }
}

fn indented(out: &mut String, text: &str) {
    for line in text.trim_end().lines() {
        let _fine = writeln!(out, "{}", format!("    {line}").trim_end());
    }
}

/// `6 passed, 1 failed`.
pub(super) fn tally(project: &Project) -> String {
    if project.error.is_some() {
        return "cannot be read".to_owned();
    }
    if project.entries.is_empty() {
        return "no expectations".to_owned();
    }
    let words = [
        (Status::Pass, "passed"),
        (Status::Fail, "failed"),
        (Status::Vacuous, "vacuous"),
        (Status::Unknown, "unknown"),
        (Status::Bug, "where packets and model differ"),
    ];
    let mut parts: Vec<String> = words
        .iter()
        .map(|&(status, word)| (project.count(status), word))
        .filter(|&(n, word)| n > 0 || word == "passed")
        .map(|(n, word)| format!("{n} {word}"))
        .collect();
    if project.known() > 0 {
        parts.push(format!("{} in the baseline", project.known()));
    }
    parts.join(", ")
}
