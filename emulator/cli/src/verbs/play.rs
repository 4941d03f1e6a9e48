//! `vethlab play`: each transcript in a lab of its own.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use vethlab_cli::args::{Format, LabArgs, PlayArgs};
use vethlab_cli::docker::Daemon;
use vethlab_cli::play::{MAX_TEXT, Played, Step, bless, json, parse, play, text};

use super::{BAD_INPUT, read};

/// A lab that a transcript is typed into.
pub(crate) trait Lab: Daemon {
    /// Ends it; what was captured is written.
    fn finish(self: Box<Self>) -> Result<(), String>;
}

/// Makes the lab of a transcript.
pub(crate) type Start = fn(&LabArgs) -> Result<Box<dyn Lab>, String>;

/// Plays every file.
pub(crate) fn run(args: &PlayArgs, start: Start) -> ExitCode {
    if args.lab.capture.file.is_some() && args.files.len() > 1 {
        eprintln!("vethlab: --capture takes one transcript at a time");
        return ExitCode::from(BAD_INPUT);
    }
    let mut differs = false;
    for file in &args.files {
        match one(args, file, start) {
            Ok(same) => differs |= !same,
            Err(message) => {
                eprintln!("vethlab: {message}");
                return ExitCode::from(BAD_INPUT);
            }
        }
    }
    ExitCode::from(u8::from(differs))
}

/// Plays one file; whether it is as expected.
fn one(args: &PlayArgs, file: &Path, start: Start) -> Result<bool, String> {
    let page = read(file, MAX_TEXT)?;
    let shown = file.display().to_string();
    let transcript = parse(&page).map_err(|error| format!("{shown}:{error}"))?;
    let mut lab = start(&args.lab)?;
    let mut progress = Progress::new();
    let daemon: &mut dyn Daemon = &mut *lab;
    let played = play(&transcript, daemon, &mut |step| progress.show(&shown, step));
    progress.clear();
    lab.finish()?;
    if args.bless {
        let blessed = bless(&page, &played);
        if blessed != page {
            fs::write(file, blessed).map_err(|error| format!("{shown}: {error}"))?;
        }
    }
    report(args.format, &shown, &played)?;
    // Output can be blessed, an exit code cannot.
    let failed = |step: &&Played| step.failed() && !(args.bless && step.seen_differs());
    Ok(played.iter().filter(failed).count() == 0)
}

fn report(format: Format, file: &str, played: &[Played]) -> Result<(), String> {
    let text = match format {
        Format::Json => json(file, played) + "\n",
        Format::Text => {
            for step in played {
                for note in &step.notes {
                    eprintln!(
                        "{file}:{}: {note} does not touch the network: ignored",
                        step.step.line
                    );
                }
            }
            text(file, played)
        }
    };
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        // Whoever reads has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("standard output: {error}"))
        }
        _ => Ok(()),
    }
}

/// A line that follows the play, on a terminal only.
struct Progress {
    shown: bool,
    terminal: bool,
}

impl Progress {
    fn new() -> Self {
        Self {
            shown: false,
            terminal: io::stderr().is_terminal(),
        }
    }

    fn show(&mut self, file: &str, step: &Step) {
        if self.terminal {
            let line: String = format!("{file}:{} {}", step.line, step.command);
            let line: String = line.chars().filter(|c| !c.is_control()).take(78).collect();
            eprint!("\r\x1b[K{line}");
            self.shown = true;
        }
    }

    fn clear(&mut self) {
        if core::mem::take(&mut self.shown) {
            eprint!("\r\x1b[K");
        }
    }
}
