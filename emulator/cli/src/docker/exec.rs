//! Carries out a command through the engine, and prints what Docker's client prints.
//!
//! A command that opens a shell (`run -it`, `exec -it`, `attach`) answers with [`Attached`]: what is
//! typed next goes there until the shell is left.

use vethlab::core::docker::Error;
use vethlab::core::docker::error::Kind;
use vethlab::core::docker::spec::Engine;

use super::command::{Command, Failure};
use super::daemon::{Daemon, State};
use super::{inspect, ps, start, verbs};
use crate::format::Value;
use crate::output::Output;
use crate::shell::{self, Programs, Shell};

/// A shell that a command has opened in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The container's id.
    pub container: String,
    /// The shell is the container's first process: leaving it stops the container.
    pub first: bool,
    /// `docker run` opened it; leaving it by its escape says nothing.
    pub by_run: bool,
}

/// What a command did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// What it printed and its exit code.
    pub output: Output,
    /// The shell that is open now.
    pub attached: Option<Attached>,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            output,
            attached: None,
        }
    }
}

impl From<Failure> for Done {
    fn from(failure: Failure) -> Self {
        Output::err(failure.message + "\n", failure.code).into()
    }
}

/// The line that the client prints for an engine's error.
pub(super) fn daemon_error(error: &Error) -> String {
    format!("Error response from daemon: {error}")
}

/// The same for a thing that was looked for by name: the older client has its own words.
pub(super) fn lookup_error(error: &Error, kind: &str, name: &str, engine: Engine) -> String {
    if engine == Engine::V20_10 && error.kind == Kind::NotFound {
        return format!("Error: No such {kind}: {name}");
    }
    daemon_error(error)
}

/// Carries out a command. `stdin` is what is piped into it.
pub fn execute(daemon: &mut dyn Daemon, command: Command, stdin: &str) -> Done {
    match command {
        Command::Attach { container } => attach(daemon, &container),
        Command::Create(run) => start::create_only(daemon, *run).into(),
        Command::Exec {
            container,
            argv,
            interactive,
            tty,
            detach,
        } => {
            let streams = Streams {
                interactive,
                tty,
                detach,
            };
            exec(daemon, &container, &argv, streams, stdin)
        }
        Command::Run(run) => start::start_new(daemon, *run, stdin),
        Command::Start {
            containers,
            attach,
            interactive,
        } if attach || interactive => start::start_attached(daemon, &containers, interactive),
        Command::Help(text) => Output::out(text).into(),
        Command::Inspect {
            names,
            format,
            kinds,
            verbose,
        } => inspect::inspect(daemon, &names, &format, kinds, verbose).into(),
        Command::NetworkLs {
            filters,
            format,
            quiet,
            no_trunc,
        } => ps::networks(daemon, &filters, &format, quiet, no_trunc).into(),
        Command::Ps {
            all,
            filters,
            format,
            quiet,
            no_trunc,
            last,
        } => {
            let list = ps::List {
                all,
                format: &format,
                quiet,
                no_trunc,
                last,
            };
            ps::containers(daemon, &filters, &list).into()
        }
        other => verbs::execute(daemon, other, stdin).into(),
    }
}

/// Programs of a container.
pub(super) struct Inside<'a> {
    pub(super) daemon: &'a mut dyn Daemon,
    pub(super) container: &'a str,
}

impl Programs for Inside<'_> {
    fn run(&mut self, argv: &[String], stdin: &str) -> Output {
        match self.nested(argv, stdin) {
            Some(output) => output,
            None => self
                .daemon
                .exec(self.container, argv, stdin)
                .unwrap_or_else(|error| Output::err(daemon_error(&error) + "\n", 1)),
        }
    }

    fn spawn(&mut self, argv: &[String]) -> Output {
        match self.daemon.spawn(self.container, argv) {
            Ok(()) => Output::default(),
            Err(error) => Output::err(daemon_error(&error) + "\n", 1),
        }
    }
}

impl Inside<'_> {
    /// A shell within the shell: `sh -c '…'`.
    fn nested(&mut self, argv: &[String], stdin: &str) -> Option<Output> {
        match shell_of(argv)? {
            ShellCall::Script(script) => Some(run_script(self, &script, stdin)),
            ShellCall::Interactive => Some(run_script(self, stdin, "")),
        }
    }
}

/// Runs a script in a container and answers with what it wrote.
pub fn run_inside(
    daemon: &mut dyn Daemon,
    container: &str,
    shell: &mut Shell,
    line: &str,
) -> Output {
    match shell::parse(line) {
        Ok(script) => shell.run(&script, &mut Inside { daemon, container }, ""),
        Err(message) => Output::err(message + "\n", 2),
    }
}

fn run_script(programs: &mut dyn Programs, script: &str, stdin: &str) -> Output {
    match shell::parse(script) {
        Ok(script) => Shell::default().run(&script, programs, stdin),
        Err(message) => Output::err(message + "\n", 2),
    }
}

/// How a shell is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShellCall {
    /// `sh -c SCRIPT`.
    Script(String),
    /// `sh`, which reads its standard input.
    Interactive,
}

/// Whether `argv` calls a shell, and how.
#[must_use]
pub fn shell_of(argv: &[String]) -> Option<ShellCall> {
    let (name, arguments) = argv.split_first()?;
    let name = name.rsplit('/').next().unwrap_or(name);
    if !matches!(name, "sh" | "ash" | "bash" | "dash" | "zsh") {
        return None;
    }
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let letters = argument.strip_prefix('-')?;
        if letters.contains('c') && !letters.starts_with('-') {
            return arguments
                .next()
                .map(|script| ShellCall::Script(script.clone()));
        }
    }
    Some(ShellCall::Interactive)
}

#[derive(Clone, Copy, Debug)]
struct Streams {
    interactive: bool,
    tty: bool,
    detach: bool,
}

/// The full id of a running container, or why nothing can run in it.
pub(super) fn running(daemon: &mut dyn Daemon, container: &str) -> Result<(String, Value), String> {
    let engine = daemon.engine();
    let value = daemon
        .inspect(container)
        .map_err(|error| lookup_error(&error, "container", container, engine))?;
    Ok((value.text_at(&["Id"]).to_owned(), value))
}

fn flag(value: &Value, path: &[&str]) -> bool {
    value.at(path).is_some_and(Value::truth)
}

fn exec(
    daemon: &mut dyn Daemon,
    container: &str,
    argv: &[String],
    streams: Streams,
    stdin: &str,
) -> Done {
    let (id, value) = match running(daemon, container) {
        Ok(found) => found,
        Err(message) => return Output::err(message + "\n", 1).into(),
    };
    let old = daemon.engine() == Engine::V20_10;
    let word = if old { "Container" } else { "container" };
    if !flag(&value, &["State", "Running"]) {
        let message = format!("Error response from daemon: {word} {id} is not running\n");
        return Output::err(message, 1).into();
    }
    if flag(&value, &["State", "Paused"]) {
        let message = format!(
            "Error response from daemon: {word} {container} is paused, unpause the container before exec\n"
        );
        return Output::err(message, 1).into();
    }
    if streams.detach {
        return Inside {
            daemon,
            container: &id,
        }
        .spawn(argv)
        .into();
    }
    let stdin = if streams.interactive { stdin } else { "" };
    match shell_of(argv) {
        Some(ShellCall::Interactive) if streams.interactive && streams.tty && stdin.is_empty() => {
            return Done {
                output: Output::default(),
                attached: Some(Attached {
                    container: id,
                    first: false,
                    by_run: false,
                }),
            };
        }
        Some(_) => {
            return Inside {
                daemon,
                container: &id,
            }
            .run(argv, stdin)
            .into();
        }
        None => {}
    }
    match daemon.exec(&id, argv, stdin) {
        Ok(output) if output.code == 127 && output.stdout().is_empty() => {
            not_found(argv, old).into()
        }
        Ok(output) => output.into(),
        Err(error) => Output::err(daemon_error(&error) + "\n", 1).into(),
    }
}

/// What the container runtime says of a program that is not there.
fn not_found(argv: &[String], old: bool) -> Output {
    let name = argv.first().map(String::as_str).unwrap_or_default();
    let message = format!(
        "OCI runtime exec failed: exec failed: unable to start container process: \
         exec: \"{name}\": executable file not found in $PATH: unknown\n"
    );
    Output::err(message, if old { 126 } else { 127 })
}

fn attach(daemon: &mut dyn Daemon, container: &str) -> Done {
    let (id, value) = match running(daemon, container) {
        Ok(found) => found,
        Err(message) => return Output::err(message + "\n", 1).into(),
    };
    let word = if daemon.engine() == Engine::V20_10 {
        "You cannot"
    } else {
        "cannot"
    };
    if !flag(&value, &["State", "Running"]) {
        let message = format!("{word} attach to a stopped container, start it first\n");
        return Output::err(message, 1).into();
    }
    if flag(&value, &["State", "Paused"]) {
        let message = format!("{word} attach to a paused container, unpause it first\n");
        return Output::err(message, 1).into();
    }
    let process = match daemon.first_process(&id) {
        Ok((_, process)) => process,
        Err(error) => return Output::err(daemon_error(&error) + "\n", 1).into(),
    };
    start::foreground(daemon, &id, &process, "", false)
}

/// The state as `docker ps` words it.
#[must_use]
pub fn status(state: State, since: core::time::Duration) -> String {
    let time = crate::format::text::human_duration(since);
    match state {
        State::Created => "Created".to_owned(),
        State::Exited(code) => format!("Exited ({code}) {time} ago"),
        State::Paused => format!("Up {time} (Paused)"),
        State::Running => format!("Up {time}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells() {
        let call = |line: &str| {
            let argv: Vec<String> = line.split('~').map(str::to_owned).collect();
            shell_of(&argv)
        };
        assert_eq!(call("/bin/sh"), Some(ShellCall::Interactive));
        assert_eq!(call("bash~-l"), Some(ShellCall::Interactive));
        assert_eq!(
            call("sh~-c~a && b"),
            Some(ShellCall::Script("a && b".into()))
        );
        assert_eq!(call("sh~-ec~a"), Some(ShellCall::Script("a".into())));
        assert_eq!(call("sh~script.sh"), None);
        assert_eq!(call("ping~x"), None);
    }
}
