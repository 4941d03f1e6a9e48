//! A report as text for people and as commands for GitHub's log.

use core::fmt::Write as _;

use emulator_compose::Picture;

use super::finding::{Finding, Level, Report, Spot};

/// For people: each finding with its lines underlined and a fix, and a sum.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        one(&mut out, finding);
        out.push('\n');
    }
    out.push_str(&sum(report));
    out
}

/// Writing to a string cannot fail.
fn one(out: &mut String, finding: &Finding) {
    let Finding {
        rule,
        level,
        message,
        ..
    } = finding;
    let _ = writeln!(out, "{level}[{rule}]: {message}");
    let mut gutter = 1;
    for spot in &finding.places {
        let picture = picture(spot);
        if !spot.note.is_empty() {
            let _ = writeln!(out, "{:gutter$} = {}:", "", spot.note);
        }
        gutter = picture.gutter();
        let _ = writeln!(out, "{picture}");
    }
    if let Some(fix) = &finding.fix {
        let _ = writeln!(out, "{:gutter$} = fix: {fix}", "");
    }
}

fn picture(spot: &Spot) -> Picture<'_> {
    Picture {
        file: &spot.file,
        line: spot.line,
        column: spot.column,
        length: spot.length,
        source_line: &spot.source_line,
    }
}

/// `1 error, 2 warnings, 1 note; 3 more are allowed`; empty if there is nothing to count.
fn sum(report: &Report) -> String {
    let counts = Level::ALL.into_iter().rev().filter_map(|level| {
        let count = report.count(level);
        let plural = if count == 1 { "" } else { "s" };
        (count > 0).then(|| format!("{count} {level}{plural}"))
    });
    let counts: Vec<String> = counts.collect();
    let allowed = match report.allowed {
        0 => String::new(),
        1 => "1 more is allowed".to_owned(),
        count => format!("{count} more are allowed"),
    };
    let parts: Vec<String> = [counts.join(", "), allowed]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    match parts.is_empty() {
        true => String::new(),
        false => parts.join("; ") + "\n",
    }
}

/// Workflow commands: GitHub shows each at its line of the change.
#[must_use]
pub fn github(report: &Report) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        let Some(spot) = finding.places.first() else {
            continue;
        };
        let command = match finding.level {
            Level::Note => "notice",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        let fix = finding.fix.as_ref().map(|fix| format!("\nfix: {fix}"));
        let message = format!("{}{}", finding.message, fix.unwrap_or_default());
        let _ = writeln!(
            out,
            "::{command} file={},line={},col={},endColumn={},title={}::{}",
            property(&spot.file),
            spot.line,
            spot.column,
            spot.column + spot.length,
            property(finding.rule),
            data(&message)
        );
    }
    out
}

/// The text of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
