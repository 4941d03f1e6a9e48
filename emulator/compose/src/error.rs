//! What is wrong with a compose file, and where: a message, the offending line underlined, a hint.
//!
//! Messages are compose's own words where it has some. The text is the same on every machine: no
//! colour, no terminal width.

use core::fmt;

use crate::node::Place;
use crate::picture::Picture;

/// At most this many errors of one load are reported.
pub const MAX_ERRORS: usize = 50;

/// What kind of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Services wait for each other in a circle, or files include or extend each other so.
    Cycle,
    /// A `${…}` is malformed, required and missing, or not of the type that is needed there.
    Interpolation,
    /// The file says something that compose, or the engine behind it, refuses.
    Invalid,
    /// An attribute that affects the network and that this crate does not understand.
    NotUnderstood,
    /// A file cannot be read.
    Read,
    /// A bound was passed: size, depth, number of nodes, of files, of containers.
    TooLarge,
    /// Something refers to a service, network or file section that does not exist.
    Undefined,
    /// Not YAML.
    Yaml,
}

impl ErrorKind {
    /// The kind as a word for machines.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cycle => "cycle",
            Self::Interpolation => "interpolation",
            Self::Invalid => "invalid",
            Self::NotUnderstood => "not-understood",
            Self::Read => "read",
            Self::TooLarge => "too-large",
            Self::Undefined => "undefined",
            Self::Yaml => "yaml",
        }
    }
}

/// One error, with its place in the text of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind.
    pub kind: ErrorKind,
    /// What is wrong, in compose's words where it has some.
    pub message: String,
    /// The file's name as the caller gave it; empty if no file is concerned.
    pub file: String,
    /// The line, from 1; 0 if no line is concerned.
    pub line: u32,
    /// The column in characters, from 1; 0 if no line is concerned.
    pub column: u32,
    /// How many characters are underlined, at least 1.
    pub length: u32,
    /// The line's text, empty if there is none.
    pub source_line: String,
    /// What may help.
    pub hint: Option<String>,
}

impl Error {
    /// The error without the picture: `file:line:column: message`.
    #[must_use]
    pub fn one_line(&self) -> String {
        match (self.file.is_empty(), self.line) {
            (true, _) => self.message.clone(),
            (false, 0) => format!("{}: {}", self.file, self.message),
            (false, line) => {
                format!("{}:{line}:{}: {}", self.file, self.column, self.message)
            }
        }
    }

    fn picture(&self) -> Picture<'_> {
        Picture {
            file: &self.file,
            line: self.line,
            column: self.column,
            length: self.length,
            source_line: &self.source_line,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        let gutter = self.line.to_string().len();
        if self.line > 0 {
            write!(f, "\n{}", self.picture())?;
        } else if !self.file.is_empty() {
            write!(f, "\n{:gutter$}--> {}", "", self.file)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n{:gutter$} = hint: {hint}", "")?;
        }
        Ok(())
    }
}

impl core::error::Error for Error {}

/// All errors of one load, the first one first. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(pub Vec<Error>);

impl Errors {
    /// The first error, which is the one that compose would print.
    #[must_use]
    pub fn first(&self) -> Option<&Error> {
        self.0.first()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl core::error::Error for Errors {}

/// Something that compose says and goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What it says.
    pub message: String,
    /// Where, if it has a place.
    pub at: Option<Place>,
}

/// An error before its place has been turned into a file name and a line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    pub(crate) at: Option<Place>,
    pub(crate) hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(kind: ErrorKind, at: Place, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            at: Some(at),
            hint: None,
        }
    }

    pub(crate) fn bare(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            at: None,
            hint: None,
        }
    }

    pub(crate) fn invalid(at: Place, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, at, message)
    }

    /// As an error of the file `name` with this text; its own number of a file does not count.
    pub(crate) fn in_text(self, name: &str, text: &str) -> Error {
        let at = self.at.unwrap_or_default();
        let line = text.lines().nth(at.line.saturating_sub(1) as usize);
        let line = line.filter(|_| self.at.is_some());
        Error {
            kind: self.kind,
            message: self.message,
            file: name.to_owned(),
            line: at.line,
            column: at.column,
            length: at.length.max(1),
            source_line: line.unwrap_or_default().to_owned(),
            hint: self.hint,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: &str, column: u32, length: u32) -> Error {
        Error {
            kind: ErrorKind::Invalid,
            message: "no".into(),
            file: "compose.yaml".into(),
            line: 12,
            column,
            length,
            source_line: line.into(),
            hint: Some("yes".into()),
        }
    }

    #[test]
    fn the_line_is_underlined() {
        let text = error("    prots: []", 5, 5).to_string();
        assert_eq!(
            text,
            "error: no\n  --> compose.yaml:12:5\n   |\n12 |     prots: []\n   |     ^^^^^\n   = hint: yes"
        );
    }

    #[test]
    fn a_long_line_is_cropped_around_the_column() {
        let line = format!("{}X{}", "a".repeat(5000), "b".repeat(5000));
        let text = error(&line, 5001, 1).to_string();
        let lines: Vec<&str> = text.lines().collect();
        let shown = lines[3].find('X').unwrap();
        assert_eq!(lines[4].find('^').unwrap(), shown);
        assert!(lines[3].len() < 140);
    }

    #[test]
    fn a_column_past_the_end_still_has_a_mark() {
        assert!(error("ab", 40, 9).to_string().contains('^'));
    }

    #[test]
    fn one_line_form() {
        assert_eq!(error("x", 3, 1).one_line(), "compose.yaml:12:3: no");
    }
}
