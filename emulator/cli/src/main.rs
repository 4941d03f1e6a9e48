//! The vethlab binary.

mod verbs;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use vethlab_cli::args::{Cli, LabArgs, Verb};
use vethlab_cli::engine::LabEngine;

use verbs::play::Lab;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => return told(&said),
    };
    verbs::outside::allow(cli.allow_outside);
    match cli.verb {
        Verb::Check(args) => verbs::check::run(&args),
        Verb::Init(args) => verbs::init::run(&args),
        Verb::Lint(args) => verbs::lint::run(&args),
        Verb::Diff(args) => verbs::diff::run(&args),
        Verb::Matrix(args) => verbs::matrix::run(&args),
        Verb::Watch(args) => verbs::watch::run(&args),
        Verb::Why(args) => verbs::why::run(&args),
        #[cfg(target_os = "linux")]
        Verb::Up(args) => verbs::up::run(&args),
        #[cfg(target_os = "linux")]
        Verb::Down(args) => verbs::desk::down(&args),
        #[cfg(target_os = "linux")]
        Verb::Ps(args) => verbs::desk::ps(&args),
        #[cfg(target_os = "linux")]
        Verb::Logs(args) => verbs::desk::logs(&args),
        #[cfg(target_os = "linux")]
        Verb::Exec(args) => verbs::desk::exec(&args),
        #[cfg(target_os = "linux")]
        Verb::Attach(args) => verbs::attach::run(&args),
        #[cfg(target_os = "linux")]
        Verb::Doctor(args) => verbs::doctor::run(&args),
        #[cfg(target_os = "linux")]
        Verb::Capture(args) => verbs::capture::run(&args),
        #[cfg(target_os = "linux")]
        Verb::Extcap(args) => verbs::extcap::run(&args),
        #[cfg(not(target_os = "linux"))]
        Verb::Up(_)
        | Verb::Attach(_)
        | Verb::Doctor(_)
        | Verb::Down(_)
        | Verb::Ps(_)
        | Verb::Logs(_)
        | Verb::Exec(_)
        | Verb::Capture(_)
        | Verb::Extcap(_) => {
            eprintln!("vethlab: real time needs Linux; `check`, `test`, `why` and `play` run here");
            ExitCode::from(verbs::BAD_INPUT)
        }
        Verb::Play(args) => verbs::play::run(&args, start),
        Verb::Test(args) => verbs::test::run(&args),
        Verb::Completions(args) => verbs::pages::completions(&args),
        Verb::Man(args) => verbs::pages::man(&args),
    }
}

/// Prints what is wrong with the arguments; help and the version, which were asked for, may not fit where they go.
fn told(said: &clap::Error) -> ExitCode {
    match said.print().and_then(|()| io::stdout().flush()) {
        Err(error) if !said.use_stderr() && error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("vethlab: standard output: {error}");
            ExitCode::from(verbs::BAD_INPUT)
        }
        _ => ExitCode::from(u8::try_from(said.exit_code()).unwrap_or(verbs::BAD_INPUT)),
    }
}

/// Makes the lab of a transcript.
fn start(args: &LabArgs) -> Result<Box<dyn Lab>, String> {
    let mut lab = verbs::lab(args)?;
    let capture = verbs::project::capture(&mut lab, &args.capture, None)?;
    Ok(Box::new(LabEngine::new(lab, capture)))
}

impl Lab for LabEngine {
    fn finish(self: Box<Self>) -> Result<(), String> {
        (*self).finish().map_err(|error| error.to_string())
    }
}
