//! What came of the expectations of some projects, as plain data, and the forms in which it is written.
//!
//! A form is a function from a [`Report`] to text, each in a file of its own. None holds a time of day or a
//! duration: the same run gives the same bytes.

pub mod baseline;
pub mod codequality;
pub mod github;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod people;
pub mod tap;

use core::fmt;

use emulator_compose::Errors;
use serde::Serialize;

use crate::why::Account;

/// What came of an expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// It forbids what could not have happened anyway, so it says nothing.
    Vacuous,
    /// Nobody states the port that it is about: neither pass nor fail.
    Unknown,
    /// The packets and the model do not agree: a bug of vethlab.
    Bug,
}

impl Status {
    /// As a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Vacuous => "vacuous",
            Self::Unknown => "unknown",
            Self::Bug => "bug",
        }
    }

    /// Whether it makes a run fail.
    #[must_use]
    pub const fn fails(self) -> bool {
        matches!(self, Self::Fail | Self::Vacuous | Self::Bug)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A place in a file. Line and column count from 1; 0 is no line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct At {
    /// The file's name as it was given.
    pub file: String,
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// One expectation and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Where it stands.
    pub at: At,
    /// As it was written.
    pub text: String,
    /// What came of it.
    pub status: Status,
    /// One line that says why it does not pass; empty if it does.
    pub summary: String,
    /// The whole failure text; empty if it passes.
    pub details: String,
    /// The same as data; none if it passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Box<Account>>,
    /// The same as long as project and sentence are the same.
    pub fingerprint: String,
    /// The baseline has it: it does not make the run fail.
    pub known: bool,
}

impl Entry {
    /// Whether it makes the run fail.
    #[must_use]
    pub const fn fails(&self) -> bool {
        self.status.fails() && !self.known
    }
}

/// Something worth saying that is no expectation: a service that does not start, a dial that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Where.
    pub at: At,
    /// What.
    pub text: String,
}

/// A project's part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Project {
    /// What it is called among others: its first file, and its variant if it has any.
    pub label: String,
    /// Its name.
    pub name: String,
    /// The engine: `20.10` or `29`.
    pub engine: String,
    /// The seed of the run.
    pub seed: u64,
    /// Its expectations, in the order of the files.
    pub entries: Vec<Entry>,
    /// What else there is to say.
    pub notes: Vec<Note>,
    /// Why it could not be run at all: bad input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Where the first thing that is wrong with it stands, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_at: Option<At>,
}

impl Project {
    /// One whose files are refused.
    #[must_use]
    pub fn refused(label: &str, errors: &Errors) -> Self {
        let first = errors.first().filter(|error| !error.file.is_empty());
        Self {
            label: label.to_owned(),
            error: Some(errors.to_string()),
            error_at: first.map(|error| At {
                file: error.file.clone(),
                line: error.line,
                column: error.column,
            }),
            ..Self::default()
        }
    }

    /// How many of its expectations have this status.
    #[must_use]
    pub fn count(&self, status: Status) -> usize {
        let entries = self.entries.iter();
        entries.filter(|entry| entry.status == status).count()
    }

    /// How many make the run fail.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.entries.iter().filter(|entry| entry.fails()).count()
    }

    /// How many of its failures the baseline has.
    #[must_use]
    pub fn known(&self) -> usize {
        self.entries.iter().filter(|entry| entry.known).count()
    }

    /// Gives every expectation its fingerprint. Sentences that stand twice are told apart by their order.
    pub fn fingerprint(&mut self) {
        for at in 0..self.entries.len() {
            let (before, rest) = self.entries.split_at_mut(at);
            let entry = &mut rest[0];
            let same = before.iter().filter(|other| other.text == entry.text);
            entry.fingerprint = fingerprint(&self.label, &entry.text, same.count());
        }
    }
}

/// Everything of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The projects, in the order in which they were run.
    pub projects: Vec<Project>,
    /// Entries of the baseline that no longer apply.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<baseline::Known>,
}

impl Report {
    /// Every expectation with its project.
    pub fn entries(&self) -> impl Iterator<Item = (&Project, &Entry)> {
        let projects = self.projects.iter();
        projects.flat_map(|project| project.entries.iter().map(move |entry| (project, entry)))
    }

    /// How many expectations make the run fail.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.projects.iter().map(Project::failures).sum()
    }

    /// Whether some project could not be run.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        self.projects.iter().any(|project| project.error.is_some())
    }
}

/// The forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// For people.
    #[default]
    People,
    /// Everything, for machines.
    Json,
    /// JUnit's XML, as Jenkins and GitLab read it.
    Junit,
    /// Commands of a GitHub workflow: annotations.
    Github,
    /// GitLab's code quality report.
    CodeQuality,
    /// The Test Anything Protocol, version 14.
    Tap,
    /// A table, for a comment or a job's summary.
    Markdown,
}

impl Report {
    /// Writes it in a form.
    #[must_use]
    pub fn write(&self, form: Form) -> String {
        match form {
            Form::People => people::write(self),
            Form::Json => json::write(self),
            Form::Junit => junit::write(self),
            Form::Github => github::write(self),
            Form::CodeQuality => codequality::write(self),
            Form::Tap => tap::write(self),
            Form::Markdown => markdown::write(self),
        }
    }
}

/// 64 bits of FNV-1a over what makes an expectation itself, as sixteen digits.
fn fingerprint(label: &str, text: &str, number: usize) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let number = number.to_string();
    for part in [label, text, &number] {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

/// JSON for machines that people can read.
fn pretty(value: &impl Serialize) -> String {
    // Nothing here has a map with keys that are no text, or fails to serialise.
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    text + "\n"
}

/// `n thing` or `n things`.
fn count(n: usize, thing: &str) -> String {
    match n {
        1 => format!("1 {thing}"),
        n => format!("{n} {thing}s"),
    }
}

#[cfg(test)]
mod tests;
