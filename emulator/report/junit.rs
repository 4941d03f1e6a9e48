//! JUnit's XML as Jenkins' schema has it (xunit-plugin, `junit-10.xsd`): a suite for each project, a case for each
//! expectation. What is unknown, or known to the baseline, is skipped; what could not be run, or is a bug of vethlab,
//! is an error. The place of an expectation is in the text of its failure: a case has no attribute for it there.

use core::fmt::Write;

use super::{Entry, Project, Report, Status};

/// Writes it.
#[must_use]
pub fn write(report: &Report) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let suites: Vec<Counts> = report.projects.iter().map(Counts::of).collect();
    let all = suites.iter().fold(Counts::default(), Counts::plus);
    line(
        &mut out,
        format_args!("<testsuites name=\"vethlab\" {all}>"),
    );
    for (project, counts) in report.projects.iter().zip(&suites) {
        suite(&mut out, project, counts);
    }
    line(&mut out, format_args!("</testsuites>"));
    out
}

fn line(out: &mut String, text: core::fmt::Arguments<'_>) {
    // Writing to a text does not fail.
    let _fine = writeln!(out, "{text}");
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

impl Counts {
    fn of(project: &Project) -> Self {
        let mut counts = Self::default();
        for entry in &project.entries {
            counts.tests += 1;
            match outcome(entry) {
                Outcome::Passed => {}
                Outcome::Failed => counts.failures += 1,
                Outcome::Error => counts.errors += 1,
                Outcome::Skipped => counts.skipped += 1,
            }
        }
        if project.error.is_some() {
            counts.tests += 1;
            counts.errors += 1;
        }
        counts
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            tests: self.tests + other.tests,
            failures: self.failures + other.failures,
            errors: self.errors + other.errors,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl core::fmt::Display for Counts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "tests=\"{}\" failures=\"{}\" errors=\"{}\"",
            self.tests, self.failures, self.errors
        )
    }
}

enum Outcome {
    Passed,
    Failed,
    Error,
    Skipped,
}

const fn outcome(entry: &Entry) -> Outcome {
    match entry.status {
        Status::Pass => Outcome::Passed,
        Status::Unknown => Outcome::Skipped,
        _ if entry.known => Outcome::Skipped,
        Status::Fail | Status::Vacuous => Outcome::Failed,
        Status::Bug => Outcome::Error,
    }
}

fn suite(out: &mut String, project: &Project, counts: &Counts) {
    let name = attribute(&project.label);
    let skipped = counts.skipped;
    let file = project.entries.first().map(|entry| entry.at.file.as_str());
    let file = attribute(file.unwrap_or(&project.label));
    line(
        out,
        format_args!(
            "  <testsuite name=\"{name}\" {counts} skipped=\"{skipped}\" file=\"{file}\">"
        ),
    );
    for entry in &project.entries {
        case(out, &name, entry);
    }
    if let Some(error) = &project.error {
        let first = attribute(error.lines().next().unwrap_or_default());
        line(
            out,
            format_args!("    <testcase name=\"load\" classname=\"{name}\">"),
        );
        let text = text(error);
        line(
            out,
            format_args!("      <error message=\"{first}\" type=\"input\">{text}</error>"),
        );
        line(out, format_args!("    </testcase>"));
    }
    if !project.notes.is_empty() {
        let notes = project.notes.iter();
        let notes: String = notes
            .map(|note| format!("{}: {}\n", note.at, note.text))
            .collect();
        line(
            out,
            format_args!("    <system-out>{}</system-out>", text(&notes)),
        );
    }
    line(out, format_args!("  </testsuite>"));
}

fn case(out: &mut String, suite: &str, entry: &Entry) {
    let name = attribute(&entry.text);
    let open = format!("    <testcase name=\"{name}\" classname=\"{suite}\"");
    let (summary, kind) = (attribute(&entry.summary), entry.status.word());
    let inner = match outcome(entry) {
        Outcome::Passed => return line(out, format_args!("{open}/>")),
        Outcome::Skipped if entry.known => {
            "      <skipped message=\"in the baseline\"/>".to_owned()
        }
        Outcome::Skipped => format!("      <skipped message=\"{summary}\"/>"),
        outcome => {
            let tag = if matches!(outcome, Outcome::Error) {
                "error"
            } else {
                "failure"
            };
            let details = text(&entry.details);
            format!("      <{tag} message=\"{summary}\" type=\"{kind}\">{details}</{tag}>")
        }
    };
    line(out, format_args!("{open}>"));
    line(out, format_args!("{inner}"));
    line(out, format_args!("    </testcase>"));
}

/// Whether XML 1.0 has the character at all.
const fn is_character(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn escaped(text: &str, breaks: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' if !breaks => out.push(' '),
            '\r' => out.push_str("&#13;"),
            c if is_character(c) => out.push(c),
            _ => out.push('\u{fffd}'),
        }
    }
    out
}

/// In an attribute line breaks are blanks.
fn attribute(text: &str) -> String {
    escaped(text, false)
}

fn text(text: &str) -> String {
    escaped(text, true)
}
