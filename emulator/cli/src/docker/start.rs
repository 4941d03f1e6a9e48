//! `docker run`, `create` and `start -a`: a container and its first process.
//!
//! Models the client's `runContainer`: the id is printed before the start, a refused start leaves the
//! container behind, and a foreground process is waited for. A shell as first process is this program's
//! own: its script runs line by line in the container.

use vethlab::core::docker::Error;
use vethlab::core::docker::spec::Engine;

use super::command::Run;
use super::daemon::{Daemon, Process};
use super::exec::{Attached, Done, Inside, ShellCall, daemon_error, running, shell_of};
use super::run;
use crate::output::{Output, Stream};
use crate::shell::{self, Programs, Shell};

fn warn(output: &mut Output, warnings: &[String]) {
    for warning in warnings {
        output.push(Stream::Err, format!("WARNING: {warning}\n"));
    }
}

/// Warns as the client does of resolvers that a container cannot reach.
fn warn_of_local_dns(output: &mut Output, dns: &[String]) {
    let local = dns
        .iter()
        .find(|dns| dns.starts_with("127.") || *dns == "::1");
    if let Some(dns) = local {
        warn(
            output,
            &[format!(
                "Localhost DNS setting (--dns={dns}) may fail in containers."
            )],
        );
    }
}

pub(super) fn create_only(daemon: &mut dyn Daemon, mut run: Run) -> Output {
    if let Err(failure) = run::ports(&mut run, daemon) {
        return Output::err(failure.message + "\n", failure.code);
    }
    let mut output = Output::default();
    warn_of_local_dns(&mut output, &run.spec.dns);
    match daemon.create(run.spec, &run.process) {
        Ok(created) => {
            warn(&mut output, &created.warnings);
            output.push(Stream::Out, created.id + "\n");
        }
        Err(error) => output.append(Output::err(daemon_error(&error) + "\n", 1)),
    }
    output
}

/// The exit code of a `run` that the engine refused.
fn refused(error: &Error) -> u8 {
    let message = &error.message;
    if message.contains("executable file not found")
        || message.contains("no such file or directory")
    {
        127
    } else if message.contains("permission denied") || message.contains("is a directory") {
        126
    } else {
        125
    }
}

pub(super) fn start_new(daemon: &mut dyn Daemon, mut run: Run, stdin: &str) -> Done {
    let engine = daemon.engine();
    if let Err(failure) = run::ports(&mut run, daemon) {
        return failure.into();
    }
    let mut output = Output::default();
    warn_of_local_dns(&mut output, &run.spec.dns);
    let Run {
        spec,
        process,
        detach,
        ..
    } = run;
    let created = match daemon.create(spec, &process) {
        Ok(created) => created,
        Err(error) => {
            let failure = run::failure("run", &daemon_error(&error), engine);
            output.append(Output::err(failure.message + "\n", refused(&error)));
            return output.into();
        }
    };
    warn(&mut output, &created.warnings);
    let id = created.id;
    if detach {
        output.push(Stream::Out, format!("{id}\n"));
    }
    if let Err(error) = daemon.start(&id) {
        let message = daemon_error(&error);
        let text = if engine == Engine::V20_10 {
            let message = message.strip_suffix('.').unwrap_or(&message);
            format!("docker: {message}.\n")
        } else {
            run::failure("run", &message, engine).message + "\n"
        };
        output.append(Output::err(text, refused(&error)));
        return output.into();
    }
    let done = if detach {
        begin(daemon, &id).into()
    } else {
        foreground(daemon, &id, &process.clone(), stdin, true)
    };
    output.append(done.output);
    Done {
        output,
        attached: done.attached,
    }
}

/// What a detached shell script does first. A script that only waits does nothing here.
fn begin(daemon: &mut dyn Daemon, id: &str) -> Output {
    let Ok((argv, process)) = daemon.first_process(id) else {
        return Output::default();
    };
    match shell_of(&argv) {
        Some(ShellCall::Interactive) if !process.interactive => {
            // Its input is at its end at once.
            let _ = daemon.exit(id, 0);
        }
        Some(ShellCall::Script(script)) => {
            // Loops and the like wait as the first process: the engine keeps it.
            if let Ok(script) = shell::parse(&script) {
                let mut started = Detached {
                    inside: Inside {
                        daemon,
                        container: id,
                    },
                };
                Shell::default().run(&script, &mut started, "");
            }
        }
        _ => {}
    }
    Output::default()
}

/// Programs of a detached script: servers stay, waiting is left to the first process.
struct Detached<'a> {
    inside: Inside<'a>,
}

impl Programs for Detached<'_> {
    fn run(&mut self, argv: &[String], stdin: &str) -> Output {
        let name = argv.first().map(String::as_str).unwrap_or_default();
        match name.rsplit('/').next().unwrap_or(name) {
            "sleep" | "tail" | "wait" => Output::default(),
            "curl" | "ifconfig" | "ip" | "ping" | "route" | "sysctl" | "wget" => {
                self.inside.run(argv, stdin)
            }
            _ => self.inside.spawn(argv),
        }
    }

    fn spawn(&mut self, argv: &[String]) -> Output {
        self.inside.spawn(argv)
    }
}

/// Waits for the first process of a container that was just started, or opens its shell.
pub(super) fn foreground(
    daemon: &mut dyn Daemon,
    id: &str,
    process: &Process,
    stdin: &str,
    by_run: bool,
) -> Done {
    let argv = match daemon.first_process(id) {
        Ok((argv, _)) => argv,
        Err(error) => return Output::err(daemon_error(&error) + "\n", 1).into(),
    };
    let stdin = if process.interactive { stdin } else { "" };
    match shell_of(&argv) {
        Some(ShellCall::Interactive) if process.interactive && process.tty && stdin.is_empty() => {
            Done {
                output: Output::default(),
                attached: Some(Attached {
                    container: id.to_owned(),
                    first: true,
                    by_run,
                }),
            }
        }
        Some(_) => {
            let mut inside = Inside {
                daemon,
                container: id,
            };
            let output = inside.run(&argv, stdin);
            match daemon.exit(id, output.code) {
                Ok(()) => output.into(),
                Err(error) => Output::err(daemon_error(&error) + "\n", 1).into(),
            }
        }
        None => match daemon.wait(id) {
            Ok(output) => output.into(),
            Err(error) => Output::err(daemon_error(&error) + "\n", 1).into(),
        },
    }
}

pub(super) fn start_attached(
    daemon: &mut dyn Daemon,
    containers: &[String],
    interactive: bool,
) -> Done {
    let [container] = containers else {
        let message = "you cannot start and attach multiple containers at once\n";
        return Output::err(message, 1).into();
    };
    let (id, _) = match running(daemon, container) {
        Ok(found) => found,
        Err(message) => return Output::err(message + "\n", 1).into(),
    };
    if let Err(error) = daemon.start(&id) {
        return Output::err(daemon_error(&error) + "\n", 1).into();
    }
    let mut process = match daemon.first_process(&id) {
        Ok((_, process)) => process,
        Err(error) => return Output::err(daemon_error(&error) + "\n", 1).into(),
    };
    process.interactive &= interactive;
    foreground(daemon, &id, &process, "", false)
}
