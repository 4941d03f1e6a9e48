//! Docker's command line: its grammar as data, and what each command does to the engine.
//!
//! Models `docker network …`, `run`, `create`, `exec`, `attach`, `ps`, `port`, `inspect`, the verbs of a
//! container's life, `logs`, `wait`, `version` and `info`, with the flags and the words of the client
//! 20.10 or 29. Leaves out images, volumes, builds and swarms.

pub mod command;
pub mod daemon;
pub mod exec;
pub mod validate;

mod flags;
mod inspect;
mod network;
mod ps;
mod run;
mod start;
mod tables;
mod usage;
mod verbs;

pub use command::{Command, Failure, Parsed, Run, parse};
pub use daemon::{Created, Daemon, Filters, Place, PortRow, Process, State, Summary};
pub use exec::{Attached, Done, execute};
