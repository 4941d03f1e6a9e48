//! GitLab's code quality report: an array of issues, each with a fingerprint that stays the same as long as project
//! and sentence do. What the baseline has is left out: GitLab compares with the target branch by itself.

use std::borrow::Cow;

use serde::Serialize;

use super::{Report, Status};

#[derive(Serialize)]
struct Issue<'a> {
    description: String,
    check_name: String,
    fingerprint: Cow<'a, str>,
    severity: &'static str,
    location: Location<'a>,
}

#[derive(Serialize)]
struct Location<'a> {
    path: &'a str,
    lines: Lines,
}

#[derive(Serialize)]
struct Lines {
    begin: u32,
}

/// GitLab's words: info, minor, major, critical, blocker.
const fn severity(status: Status) -> &'static str {
    match status {
        Status::Pass | Status::Unknown => "info",
        Status::Vacuous => "minor",
        Status::Fail => "major",
        Status::Bug => "critical",
    }
}

/// Projects that could not be run.
fn refused(report: &Report) -> impl Iterator<Item = Issue<'_>> {
    let projects = report.projects.iter();
    projects.filter_map(|project| {
        let error = project.error.as_ref()?;
        let first = error.lines().next().unwrap_or_default();
        let at = project.error_at.as_ref();
        let path = at.map_or(&project.label, |at| &at.file);
        Some(Issue {
            description: first.trim_start_matches("error: ").to_owned(),
            check_name: "vethlab-input".to_owned(),
            fingerprint: Cow::Owned(super::fingerprint(&project.label, first, 0)),
            severity: "blocker",
            location: Location {
                path: path.strip_prefix("./").unwrap_or(path),
                lines: Lines {
                    begin: at.map_or(1, |at| at.line.max(1)),
                },
            },
        })
    })
}

/// Writes it.
#[must_use]
pub fn write(report: &Report) -> String {
    let failed = report
        .entries()
        .filter(|(_, entry)| entry.status != Status::Pass && !entry.known);
    let failed = failed.map(|(_, entry)| Issue {
        description: format!("{}: {}", entry.text, entry.summary),
        check_name: format!("vethlab-{}", entry.status),
        fingerprint: Cow::Borrowed(&entry.fingerprint),
        severity: severity(entry.status),
        location: Location {
            path: entry.at.file.strip_prefix("./").unwrap_or(&entry.at.file),
            lines: Lines {
                begin: entry.at.line.max(1),
            },
        },
    });
    let issues: Vec<Issue<'_>> = refused(report).chain(failed).collect();
    super::pretty(&issues)
}
