//! The matrix as JSON: everything that was tried.

use serde::Serialize;

/// A value as JSON with two blanks for each level, a line's end behind it.
#[must_use]
pub fn render(value: &impl Serialize) -> String {
    // What is plain data with texts for keys has no way to fail.
    let text = serde_json::to_string_pretty(value);
    text.unwrap_or_else(|error| unreachable!("plain data: {error}")) + "\n"
}
