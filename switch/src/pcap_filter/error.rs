//! What is wrong with a filter expression, and where.

use core::fmt;

/// Why an expression is no filter: in tcpdump's own words where it has them, with the place, and what could
/// stand there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// The place in the expression: characters from its start, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What could stand there, if that is known.
    pub expected: Option<&'static str>,
}

impl FilterError {
    pub(super) fn new(column: usize, message: impl Into<String>) -> Self {
        Self {
            column,
            message: message.into(),
            expected: None,
        }
    }

    /// tcpdump's only words for what the grammar does not know.
    pub(super) fn syntax(column: usize, expected: &'static str) -> Self {
        Self {
            column,
            message: "syntax error".into(),
            expected: Some(expected),
        }
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)?;
        match self.expected {
            Some(expected) => write!(f, "; expected {expected}"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for FilterError {}
