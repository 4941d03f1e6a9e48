//! What a rule found: plain data, ready to be printed.

use core::fmt;
use core::str::FromStr;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Works, and may surprise: worth a look once.
    Note,
    /// Opens more than is needed, or fails on some machines or at some times.
    Warning,
    /// Does not work, on every machine.
    Error,
}

impl Level {
    /// All of them, the mildest first.
    pub const ALL: [Self; 3] = [Self::Note, Self::Warning, Self::Error];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|level| level.as_str() == text);
        known.ok_or_else(|| format!("{text:?} is not one of note, warning, error"))
    }
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spot {
    /// The file's name as it was given or as another file names it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// How many characters it spans on its line, at least 1.
    pub length: u32,
    /// The line's text.
    pub source_line: String,
    /// What this place has to do with it; empty for the first place of a finding.
    pub note: String,
}

/// Something that a rule found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's id.
    pub rule: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What is wrong, one line.
    pub message: String,
    /// Where: the first place is where to look, the others belong to it. Never empty.
    pub places: Vec<Spot>,
    /// What would mend it.
    pub fix: Option<String>,
    /// What it is about: `services.web`, `networks.back`; empty if it is about none of them.
    pub subject: String,
    /// The same for the same finding of a file in which other lines have changed; unique in a report.
    pub fingerprint: String,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// By file, line and column.
    pub findings: Vec<Finding>,
    /// How many more there were that a comment or `x-vethlab` allows.
    pub allowed: usize,
}

impl Report {
    /// The worst level that was found.
    #[must_use]
    pub fn worst(&self) -> Option<Level> {
        self.findings.iter().map(|finding| finding.level).max()
    }

    /// How many findings there are of a level.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        let findings = self.findings.iter();
        findings.filter(|finding| finding.level == level).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_read_back() {
        assert!(Level::Note < Level::Warning && Level::Warning < Level::Error);
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert!("fatal".parse::<Level>().is_err());
    }
}
