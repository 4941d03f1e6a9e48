//! Transcripts: a Markdown page whose `console` blocks are typed into a lab and compared.
//!
//! A fenced block with the word `console` holds commands and, below each, what it should print:
//! `$ ` is the Docker host (`lan$ ` and `internet$ ` are the other machines), `/ # ` or `# ` a shell in a
//! container that `docker run -it`, `docker exec -it` or `docker attach` has opened. `[..]` stands for
//! anything within a line, a line `...` for any lines. Words after `console` change the block: `ignore`
//! (run, do not compare), `skip`, `exit=N` (the last command's code), `engine=20.10`.

pub mod compare;
pub mod diff;
pub mod report;

mod parse;
mod player;
mod session;

pub use parse::{Attributes, Block, MAX_TEXT, ParseError, Prompt, Step, Transcript, parse};
pub use player::{Outcome, Played, play};
pub use report::{bless, json, text};

#[cfg(test)]
mod tests;
