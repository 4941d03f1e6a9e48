//! What was different: for people, for machines, and written back into the page.

use super::compare::{Edit, align};
use super::diff::hunks;
use super::parse::{Prompt, Step, looks_like_prompt};
use super::player::{Outcome, Played};
use crate::docker::Place;
use crate::format::Value;
use crate::format::json::{Html, compact};

/// The differences as a unified diff, one for each step that failed.
#[must_use]
pub fn text(file: &str, played: &[Played]) -> String {
    let mut out = String::new();
    for step in played.iter().filter(|step| step.failed()) {
        let line = step.step.line;
        out.push_str(&format!("{file}:{line}: {}\n", typed(&step.step)));
        if let Outcome::Code(wanted) = step.outcome {
            out.push_str(&format!("exit code {}, expected {wanted}\n", step.code));
        } else {
            let first = step.step.place.start + 1;
            out.push_str(&format!("--- {file}:{first} expected\n+++ seen\n"));
            out.push_str(&hunks(&step.step.expected, &step.seen, first));
        }
        out.push('\n');
    }
    out
}

/// The command behind its prompt.
fn typed(step: &Step) -> String {
    let prompt = match step.prompt {
        Prompt::Host(Place::Host) => "$",
        Prompt::Host(Place::Lan) => "lan$",
        Prompt::Host(Place::Internet) => "internet$",
        Prompt::Inside => "#",
    };
    format!("{prompt} {}", step.command.replace('\n', "\n> "))
}

/// The same for machines: one object on one line.
#[must_use]
pub fn json(file: &str, played: &[Played]) -> String {
    let number = |n: usize| Value::Number(i64::try_from(n).unwrap_or(i64::MAX));
    let count =
        |wanted: &dyn Fn(&Played) -> bool| number(played.iter().filter(|p| wanted(p)).count());
    let failures = played.iter().filter(|step| step.failed()).map(|step| {
        let mut fields = vec![
            ("line", number(step.step.line)),
            ("command", step.step.command.as_str().into()),
            ("expected", Value::list(step.step.expected.iter().cloned())),
            ("seen", Value::list(step.seen.iter().cloned())),
            ("exit", Value::Number(step.code.into())),
        ];
        if let Outcome::Code(wanted) = step.outcome {
            fields.push(("expected_exit", Value::Number(wanted.into())));
        }
        Value::object(fields)
    });
    let notes = played.iter().flat_map(|step| {
        step.notes.iter().map(move |note| {
            Value::object([
                ("line", number(step.step.line)),
                ("ignored", note.as_str().into()),
            ])
        })
    });
    let report = Value::object([
        ("file", Value::from(file)),
        ("commands", number(played.len())),
        ("skipped", count(&|step| step.outcome == Outcome::Skipped)),
        ("differences", Value::Array(failures.collect())),
        ("notes", Value::Array(notes.collect())),
    ]);
    compact(&report, Html::Plain)
}

/// The page with what was seen in the place of what was expected. Lines that still fit keep their
/// wildcards.
#[must_use]
pub fn bless(text: &str, played: &[Played]) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let mut push = |line: &str| {
        out.push_str(line);
        out.push('\n');
    };
    for step in played
        .iter()
        .filter(|step| step.outcome == Outcome::Different)
    {
        let place = step.step.place.clone();
        for line in lines.get(at..place.start).unwrap_or_default() {
            push(line);
        }
        for line in blessed(step) {
            let indent = if line.is_empty() { 0 } else { step.indent };
            push(&format!("{}{line}", " ".repeat(indent)));
        }
        at = place.end;
    }
    for line in lines.get(at..).unwrap_or_default() {
        push(line);
    }
    if !text.ends_with('\n') {
        out.pop();
    }
    out
}

fn blessed(step: &Played) -> Vec<String> {
    let expected = &step.step.expected;
    let mut lines = Vec::new();
    for edit in align(expected, &step.seen) {
        match edit {
            Edit::Same(i, _) | Edit::Any(i, ..) => lines.push(expected[i].clone()),
            Edit::Extra(j) => lines.push(guarded(&step.seen[j])),
            Edit::Missing(_) => {}
        }
    }
    lines
}

/// A line that would be read as a prompt or as the end of the block, with a wildcard in front.
fn guarded(line: &str) -> String {
    let fence = line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~");
    if !fence && !looks_like_prompt(line) {
        return line.to_owned();
    }
    let special = line.find(['$', '#', '`', '~']).unwrap_or(0);
    format!("[..]{}", &line[special + 1..])
}
