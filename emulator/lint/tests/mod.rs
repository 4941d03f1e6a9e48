//! Tests of the rules: the page's examples, and what the page has no room for.

mod addresses;
mod allowing;
mod dials;
mod figures;
mod page;
mod rules;

use emulator_compose::MachineFile;

use super::finding::{Finding, Report};
use super::loaded::Loaded;
use super::run::{Options, lint};

/// What is found in one file.
fn look(text: &str) -> Report {
    lint(&[loaded(text)], &Options::default())
}

fn loaded(text: &str) -> Loaded {
    Loaded::from_text(text).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

/// A machine from its file.
fn machine(text: &str) -> MachineFile {
    MachineFile::parse("machine.json", text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// `line rule level` of each finding.
fn lines(report: &Report) -> Vec<String> {
    let line = |finding: &Finding| {
        format!(
            "{} {} {}",
            finding.places[0].line, finding.rule, finding.level
        )
    };
    report.findings.iter().map(line).collect()
}

/// Those of one rule.
fn of(report: &Report, rule: &str) -> Vec<String> {
    let findings = report.findings.iter();
    findings
        .filter(|finding| finding.rule == rule)
        .map(|finding| finding.message.clone())
        .collect()
}
