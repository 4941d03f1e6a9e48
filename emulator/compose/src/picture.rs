//! A line of a file with the place in it underlined.
//!
//! The text is the same on every machine: no colour, no terminal width; a long line is cropped around
//! the place.

use core::fmt;

/// How much of a long line is shown, in characters.
const SHOWN: usize = 120;

/// A place in a file, to be shown: `--> file:line:column`, the line, and marks under the place.
///
/// ```
/// let picture = emulator_compose::Picture {
///     file: "compose.yaml",
///     line: 12,
///     column: 5,
///     length: 5,
///     source_line: "    prots: []",
/// };
/// assert_eq!(
///     picture.to_string(),
///     "  --> compose.yaml:12:5\n   |\n12 |     prots: []\n   |     ^^^^^"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture<'a> {
    /// The file's name.
    pub file: &'a str,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// How many characters are underlined, at least 1.
    pub length: u32,
    /// The line's text; empty if it is not known, and then only the place is shown.
    pub source_line: &'a str,
}

impl Picture<'_> {
    /// How many columns the line's number takes.
    #[must_use]
    pub fn gutter(&self) -> usize {
        self.line.to_string().len()
    }
}

impl fmt::Display for Picture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gutter = self.gutter();
        let Self {
            file, line, column, ..
        } = self;
        write!(f, "{:gutter$}--> {file}:{line}:{column}", "")?;
        if self.source_line.is_empty() {
            return Ok(());
        }
        let (text, start) = crop(self.source_line, self.column as usize);
        let under = (self.length.max(1) as usize)
            .min(text.chars().count().saturating_sub(start))
            .max(1);
        write!(f, "\n{:gutter$} |", "")?;
        write!(f, "\n{line} | {text}")?;
        write!(f, "\n{:gutter$} | {:start$}{}", "", "", "^".repeat(under))
    }
}

/// The part of a line around `column`, control characters blanked, and where the column is in it
/// (from 0).
fn crop(line: &str, column: usize) -> (String, usize) {
    let at = column.saturating_sub(1);
    let skip = at.saturating_sub(SHOWN / 2);
    let mut text: String = line.chars().skip(skip).take(SHOWN).map(plain).collect();
    text.truncate(text.trim_end().len());
    (text, at - skip)
}

fn plain(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}
