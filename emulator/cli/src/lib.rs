//! The vethlab command: Docker's command line as data, its output formats, and transcripts.

pub mod args;
pub mod docker;
pub mod engine;
pub mod format;
pub mod output;
pub mod play;
pub mod shell;
