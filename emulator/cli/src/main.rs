//! The vethlab binary.

mod verbs;

use std::process::ExitCode;

use clap::Parser;
use vethlab_cli::args::{Cli, LabArgs, Verb};

use verbs::play::Lab;

fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Check(args) => verbs::check::run(&args),
        Verb::Play(args) => verbs::play::run(&args, start),
    }
}

/// Makes a lab.
fn start(_args: &LabArgs) -> Result<Box<dyn Lab>, String> {
    Err("this build has no lab".to_owned())
}
