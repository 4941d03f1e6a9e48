//! What is said of a command: its usage line, its help, and that it was used wrongly.
//!
//! Models docker/cli 20.10 and 29. Both use the same usage lines; what they print around them differs.

use vethlab::core::docker::spec::Engine;

use super::command::Failure;
use super::flags::Flag;
pub(super) use super::tables::COMMANDS;

/// How many arguments a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// None.
    Zero,
    /// This many.
    Exactly(usize),
    /// This many or more.
    AtLeast(usize),
    /// From the first to the second.
    Between(usize, usize),
}

/// A command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// The name after `docker`.
    pub(super) path: &'static str,
    /// What follows the name in the usage line.
    pub(super) line: &'static str,
    /// What it does.
    pub(super) short: &'static str,
    /// Its arguments.
    pub(super) count: Count,
    /// Flags may stand between arguments.
    pub(super) interspersed: bool,
    /// Its flags.
    pub(super) flags: &'static [Flag],
}

impl Usage {
    /// `docker network create [OPTIONS] NETWORK`; `command` is the name as it was typed.
    fn use_line(&self, command: &str) -> String {
        format!("docker {command} {}", self.line)
    }

    /// Says that the number of arguments is wrong, if it is.
    pub(super) fn check(&self, command: &str, given: usize, engine: Engine) -> Result<(), Failure> {
        let fits = match self.count {
            Count::Zero => given == 0,
            Count::Exactly(n) => given == n,
            Count::AtLeast(n) => given >= n,
            Count::Between(a, b) => (a..=b).contains(&given),
        };
        if fits {
            return Ok(());
        }
        let old = engine == Engine::V20_10;
        let wants = match self.count {
            Count::Zero => "accepts no arguments".to_owned(),
            Count::Exactly(n) if old => format!("requires exactly {}", arguments(n)),
            Count::Exactly(n) => format!("requires {}", arguments(n)),
            Count::AtLeast(n) => format!("requires at least {}", arguments(n)),
            Count::Between(a, b) => format!("requires at least {a} and at most {}", arguments(b)),
        };
        let line = self.use_line(command);
        let message = if old {
            format!(
                "\"docker {command}\" {wants}.\nSee 'docker {command} --help'.\n\nUsage:  {line}\n\n{}",
                self.short
            )
        } else {
            let word = if matches!(self.count, Count::AtLeast(_)) {
                "See"
            } else {
                "Run"
            };
            format!(
                "docker: 'docker {command}' {wants}\n\nUsage:  {line}\n\n{word} 'docker {command} --help' for more information"
            )
        };
        Err(Failure { message, code: 1 })
    }

    /// Says that a flag is wrong.
    pub(super) fn flag_error(&self, command: &str, error: &str, engine: Engine) -> Failure {
        let message = if engine == Engine::V20_10 {
            format!("{error}\nSee 'docker {command} --help'.")
        } else {
            format!(
                "{error}\n\nUsage:  {}\n\nRun 'docker {command} --help' for more information",
                self.use_line(command)
            )
        };
        Failure { message, code: 125 }
    }

    /// `--help`: the usage line, what the command does and the flags that are understood here.
    pub(super) fn help(&self, command: &str, engine: Engine) -> String {
        let mut text = format!("\nUsage:  {}\n\n{}\n", self.use_line(command), self.short);
        let mut flags = self
            .flags
            .iter()
            .filter(|flag| !flag.ignored && (!flag.newer || engine != Engine::V20_10))
            .peekable();
        if flags.peek().is_some() {
            text.push_str("\nOptions:\n");
        }
        for flag in flags {
            let short = flag
                .short
                .map_or_else(|| "    ".to_owned(), |c| format!("-{c}, "));
            text.push_str(&format!("  {short}--{}\n", flag.long));
        }
        text
    }
}

fn arguments(n: usize) -> String {
    format!("{n} argument{}", if n == 1 { "" } else { "s" })
}

/// What a group of commands prints when no command of it is named: `docker network`.
pub(super) fn group_help(group: &str, short: &str) -> String {
    let mut text = format!("Usage:  docker {group} COMMAND\n\n{short}\n\nCommands:\n");
    let prefix = format!("{group} ");
    let commands: Vec<_> = COMMANDS
        .iter()
        .filter_map(|usage| {
            usage
                .path
                .strip_prefix(&prefix)
                .map(|name| (name, usage.short))
        })
        .collect();
    let width = commands
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0)
        .max(10);
    for (name, short) in commands {
        text.push_str(&format!("  {name:width$}  {short}\n"));
    }
    text.push_str(&format!(
        "\nRun 'docker {group} COMMAND --help' for more information on a command."
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_flags_are_in_order_and_unique() {
        let paths: Vec<_> = COMMANDS.iter().map(|usage| usage.path).collect();
        let mut sorted = paths.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(paths, sorted);
        for usage in COMMANDS {
            let longs: Vec<_> = usage.flags.iter().map(|flag| flag.long).collect();
            let mut sorted = longs.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(longs, sorted, "{}", usage.path);
            let mut shorts: Vec<_> = usage.flags.iter().filter_map(|flag| flag.short).collect();
            let count = shorts.len();
            shorts.sort_unstable();
            shorts.dedup();
            assert_eq!(count, shorts.len(), "{}", usage.path);
        }
    }
}
