//! Everything, for machines: `{version, passed, failed, …, projects: […]}`.

use serde::Serialize;

use super::{Report, Status};

/// The version of the form: a field that changes its meaning changes it.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    passed: usize,
    failed: usize,
    vacuous: usize,
    unknown: usize,
    bugs: usize,
    known: usize,
    #[serde(flatten)]
    report: &'a Report,
}

/// Writes it.
#[must_use]
pub fn write(report: &Report) -> String {
    let count = |status| report.projects.iter().map(|p| p.count(status)).sum();
    let document = Document {
        version: VERSION,
        passed: count(Status::Pass),
        failed: count(Status::Fail),
        vacuous: count(Status::Vacuous),
        unknown: count(Status::Unknown),
        bugs: count(Status::Bug),
        known: report.projects.iter().map(super::Project::known).sum(),
        report,
    };
    super::pretty(&document)
}
