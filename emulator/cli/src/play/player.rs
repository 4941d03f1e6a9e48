//! Types a transcript into a lab.
//!
//! One shell for each machine, a stack of shells in containers; all time is virtual. Comparing comes
//! after: a difference does not stop the play.

use core::time::Duration;
use std::collections::BTreeMap;

use super::compare;
use super::parse::{Block, Prompt, Step, Transcript};
use super::session::{Key, key};
use crate::docker::exec::{ShellCall, run_inside, shell_of};
use crate::docker::{Attached, Daemon, Place, execute, parse};
use crate::output::{Output, Stream};
use crate::shell::{self, Programs, Shell};

/// How a step went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As expected.
    Same,
    /// Other lines than expected.
    Different,
    /// Another exit code than the block's `exit=`.
    Code(u8),
    /// Run, not compared.
    Ignored,
    /// Not run.
    Skipped,
}

/// A step that was played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// The step.
    pub step: Step,
    /// The indentation of its block.
    pub indent: usize,
    /// What was seen, without white space at the ends of lines and blank lines at the end.
    pub seen: Vec<String>,
    /// The exit code.
    pub code: u8,
    /// How it went.
    pub outcome: Outcome,
    /// What was ignored: flags that do not touch the network.
    pub notes: Vec<String>,
}

impl Played {
    /// Whether it went otherwise than the transcript says.
    #[must_use]
    pub const fn failed(&self) -> bool {
        matches!(self.outcome, Outcome::Different | Outcome::Code(_))
    }

    /// Whether other lines than expected were seen.
    #[must_use]
    pub fn seen_differs(&self) -> bool {
        self.outcome == Outcome::Different
    }
}

/// Plays a transcript; `progress` hears of each step before it runs.
pub fn play(
    transcript: &Transcript,
    daemon: &mut dyn Daemon,
    progress: &mut dyn FnMut(&Step),
) -> Vec<Played> {
    let mut player = Player {
        daemon,
        machines: BTreeMap::new(),
        sessions: Vec::new(),
        notes: Vec::new(),
    };
    let mut played = Vec::new();
    for block in &transcript.blocks {
        let other = block
            .attributes
            .engine
            .is_some_and(|engine| engine != player.daemon.engine());
        let count = block.steps.len();
        for (i, step) in block.steps.iter().enumerate() {
            if other {
                played.push(finish(block, step, None, Vec::new(), false));
                continue;
            }
            progress(step);
            let output = player.step(step);
            let notes = core::mem::take(&mut player.notes);
            played.push(finish(block, step, Some(output), notes, i + 1 == count));
        }
    }
    played
}

fn finish(
    block: &Block,
    step: &Step,
    output: Option<Output>,
    notes: Vec<String>,
    last: bool,
) -> Played {
    let seen = output
        .as_ref()
        .map(|output| lines(&output.text()))
        .unwrap_or_default();
    let code = output.as_ref().map_or(0, |output| output.code);
    let wanted = block.attributes.exit.filter(|_| last);
    let outcome = match output {
        None => Outcome::Skipped,
        Some(_) if block.attributes.ignore => Outcome::Ignored,
        Some(_) if !compare::matches(&step.expected, &seen) => Outcome::Different,
        Some(_) => match wanted {
            Some(wanted) if wanted != code => Outcome::Code(wanted),
            _ => Outcome::Same,
        },
    };
    Played {
        step: step.clone(),
        indent: block.indent,
        seen,
        code,
        outcome,
        notes,
    }
}

fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// A shell that is open in a container.
struct Session {
    attached: Attached,
    shell: Shell,
}

struct Player<'a> {
    daemon: &'a mut dyn Daemon,
    machines: BTreeMap<Place, Shell>,
    sessions: Vec<Session>,
    notes: Vec<String>,
}

impl Player<'_> {
    fn step(&mut self, step: &Step) -> Output {
        match step.prompt {
            Prompt::Host(place) => self.host(place, &step.command),
            Prompt::Inside => self.inside(&step.command),
        }
    }

    fn host(&mut self, place: Place, line: &str) -> Output {
        let script = match shell::parse(line) {
            Ok(script) => script,
            Err(message) => return Output::err(message + "\n", 2),
        };
        let mut shell = self.machines.remove(&place).unwrap_or_default();
        let mut machine = Machine {
            daemon: &mut *self.daemon,
            place,
            attached: None,
            notes: &mut self.notes,
        };
        let output = shell.run(&script, &mut machine, "");
        if let Some(attached) = machine.attached {
            self.sessions.push(Session {
                attached,
                shell: Shell::default(),
            });
        }
        // Leaving the host's shell would end the transcript: a new one takes over.
        let left = shell.left().is_some();
        self.machines
            .insert(place, if left { Shell::default() } else { shell });
        output
    }

    fn inside(&mut self, line: &str) -> Output {
        let Some(mut session) = self.sessions.pop() else {
            return Output::err("vethlab: no shell of a container is open\n", 127);
        };
        match key(line) {
            Some(Key::Detach) => return detached(&session.attached),
            Some(Key::End) => return self.leave(&session.attached, 0),
            None => {}
        }
        let id = session.attached.container.clone();
        let mut output = run_inside(self.daemon, &id, &mut session.shell, line);
        match session.shell.left() {
            Some(code) => output.append(self.leave(&session.attached, code)),
            None => self.sessions.push(session),
        }
        output
    }

    /// The shell was left with `code`.
    fn leave(&mut self, attached: &Attached, code: u8) -> Output {
        let mut output = Output {
            code,
            ..Output::default()
        };
        if attached.first
            && let Err(error) = self.daemon.exit(&attached.container, code)
        {
            output.push(
                Stream::Err,
                format!("Error response from daemon: {error}\n"),
            );
            output.code = 1;
        }
        output
    }
}

/// What the client says when a shell is left running.
fn detached(attached: &Attached) -> Output {
    if attached.by_run {
        return Output::default();
    }
    Output::err("read escape sequence\n", 1)
}

/// The programs of a machine outside the containers.
struct Machine<'a> {
    daemon: &'a mut dyn Daemon,
    place: Place,
    attached: Option<Attached>,
    notes: &'a mut Vec<String>,
}

impl Programs for Machine<'_> {
    fn run(&mut self, argv: &[String], stdin: &str) -> Output {
        let Some(name) = argv.first() else {
            return Output::default();
        };
        match name.rsplit('/').next().unwrap_or(name) {
            "sudo" if argv.len() > 1 => self.run(&argv[1..], stdin),
            "docker" if self.place == Place::Host => self.docker(argv, stdin),
            "sleep" => self.sleep(&argv[1..]),
            "clear" => Output::default(),
            _ => match shell_of(argv) {
                Some(ShellCall::Script(script)) => self.script(&script, stdin),
                Some(ShellCall::Interactive) => self.script(stdin, ""),
                None => self.daemon.host(self.place, argv, stdin),
            },
        }
    }

    fn spawn(&mut self, argv: &[String]) -> Output {
        let is_docker = argv
            .first()
            .is_some_and(|name| name == "docker" || name == "sudo");
        if is_docker {
            return self.run(argv, "");
        }
        self.daemon.host_spawn(self.place, argv);
        Output::default()
    }
}

impl Machine<'_> {
    fn docker(&mut self, argv: &[String], stdin: &str) -> Output {
        let mut words = argv.to_vec();
        "docker".clone_into(&mut words[0]);
        match parse(&words, self.daemon.engine()) {
            Ok(parsed) => {
                self.notes.extend(parsed.ignored);
                let done = execute(self.daemon, parsed.command, stdin);
                if done.attached.is_some() {
                    self.attached = done.attached;
                }
                done.output
            }
            Err(failure) => Output::err(failure.message + "\n", failure.code),
        }
    }

    fn script(&mut self, script: &str, stdin: &str) -> Output {
        match shell::parse(script) {
            Ok(script) => Shell::default().run(&script, self, stdin),
            Err(message) => Output::err(message + "\n", 2),
        }
    }

    fn sleep(&mut self, times: &[String]) -> Output {
        let mut total = Duration::ZERO;
        for text in times {
            match duration(text) {
                Some(time) => total = total.saturating_add(time),
                None => return Output::err(format!("sleep: invalid time interval '{text}'\n"), 1),
            }
        }
        self.daemon.advance(total);
        Output::default()
    }
}

/// The longest `sleep`: a year.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// `1`, `0.5`, `2s`, `3m`, `1h`.
fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = match text.char_indices().last()? {
        (at, 's') => (&text[..at], 1),
        (at, 'm') => (&text[..at], 60),
        (at, 'h') => (&text[..at], 3600),
        (at, 'd') => (&text[..at], 86_400),
        _ => (text, 1),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !number(whole) || !number(part) || whole.is_empty() && part.is_empty() || part.len() > 9 {
        return None;
    }
    let seconds: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let nanos: u32 = format!("{part:0<9}").parse().ok()?;
    let time = Duration::new(seconds, nanos).checked_mul(unit)?;
    (time <= LONGEST).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(duration("1"), Some(Duration::from_secs(1)));
        assert_eq!(duration("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(duration(".5s"), Some(Duration::from_millis(500)));
        for bad in [
            "",
            "x",
            "s",
            "-1",
            "1.2.3",
            "99999999999999999999",
            "1e9",
            ".",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
