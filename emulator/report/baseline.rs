//! Failures that are known and let pass: only what is new makes a run fail.
//!
//! The file is JSON, sorted, one entry a line, so that a change of it reads well.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Report, Status};

/// A failure that is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The project, as the report calls it.
    pub project: String,
    /// The sentence.
    pub expectation: String,
    /// The fingerprint, by which it is found.
    pub fingerprint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    known: Vec<Known>,
}

const VERSION: u32 = 1;

/// Reads a baseline.
///
/// # Errors
/// One line for people, with line and column.
pub fn read(text: &str) -> Result<Vec<Known>, String> {
    let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if file.version != VERSION {
        return Err(format!("version {} is not known", file.version));
    }
    Ok(file.known)
}

/// What a baseline of this report says: everything that fails now.
#[must_use]
pub fn of(report: &Report) -> Vec<Known> {
    let mut known: Vec<Known> = report
        .entries()
        .filter(|(_, entry)| may_be_known(entry.status))
        .map(|(project, entry)| Known {
            project: project.label.clone(),
            expectation: entry.text.clone(),
            fingerprint: entry.fingerprint.clone(),
        })
        .collect();
    known.sort();
    known
}

/// A bug of vethlab's own is never let pass.
const fn may_be_known(status: Status) -> bool {
    matches!(status, Status::Fail | Status::Vacuous)
}

/// Writes a baseline.
#[must_use]
pub fn write(known: &[Known]) -> String {
    if known.is_empty() {
        return format!("{{\"version\": {VERSION}, \"known\": []}}\n");
    }
    let lines: Vec<String> = known
        .iter()
        .map(|known| format!("  {}", serde_json::to_string(known).unwrap_or_default()))
        .collect();
    format!(
        "{{\"version\": {VERSION}, \"known\": [\n{}\n]}}\n",
        lines.join(",\n")
    )
}

/// Marks the failures of `report` that are known, and notes which entries no longer apply.
pub fn apply(report: &mut Report, known: &[Known]) {
    let by: BTreeMap<&str, &Known> = known
        .iter()
        .map(|known| (known.fingerprint.as_str(), known))
        .collect();
    let mut met = BTreeSet::new();
    for project in &mut report.projects {
        for entry in &mut project.entries {
            if may_be_known(entry.status) && by.contains_key(entry.fingerprint.as_str()) {
                entry.known = true;
                met.insert(entry.fingerprint.clone());
            }
        }
    }
    let gone = by
        .values()
        .filter(|known| !met.contains(&known.fingerprint));
    report.gone = gone.map(|&known| known.clone()).collect();
    report.gone.sort();
}
