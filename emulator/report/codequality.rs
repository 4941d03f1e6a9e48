//! GitLab's code quality report: an array of issues, each with a fingerprint that stays the same as long as project
//! and sentence do. What the baseline has is left out: GitLab compares with the target branch by itself.

use serde::Serialize;

use super::{Report, Status};

#[derive(Serialize)]
struct Issue<'a> {
    description: String,
    check_name: String,
    fingerprint: &'a str,
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

/// Writes it.
#[must_use]
pub fn write(report: &Report) -> String {
    let failed = report
        .entries()
        .filter(|(_, entry)| entry.status != Status::Pass && !entry.known);
    let issues: Vec<Issue<'_>> = failed
        .map(|(_, entry)| Issue {
            description: format!("{}: {}", entry.text, entry.summary),
            check_name: format!("vethlab-{}", entry.status),
            fingerprint: &entry.fingerprint,
            severity: severity(entry.status),
            location: Location {
                path: entry.at.file.strip_prefix("./").unwrap_or(&entry.at.file),
                lines: Lines {
                    begin: entry.at.line.max(1),
                },
            },
        })
        .collect();
    super::pretty(&issues)
}
