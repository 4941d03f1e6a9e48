//! The shell of a transcript: words, quotes, pipes and the text tools at their ends.
//!
//! Models what the tutorials of container networking use of POSIX `sh`: quotes, backslashes, `$VAR`,
//! `$(…)`, `VAR=…`, `|`, `&&`, `||`, `;`, `&`, `2>&1` and redirections to and from `/dev/null`;
//! `grep`, `sed`, `awk`, `cut`, `head`, `tail`, `sort`, `tr`, `uniq` and `wc` in pipes. Leaves out
//! loops, conditions, functions, here-documents, globs and files of its own: what it does not know it
//! refuses by name.

pub mod filter;
pub mod regex;

mod awk;
mod grep;
mod parse;
mod run;
mod sed;

pub use parse::{Script, parse};
pub use run::{Programs, Shell};

/// The longest script, in bytes.
pub const MAX_SCRIPT: usize = 64 << 10;

#[cfg(test)]
mod tests;
