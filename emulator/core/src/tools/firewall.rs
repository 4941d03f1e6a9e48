//! `iptables`, `ip6tables`, their `-save` and `conntrack -L`, where the Docker host is: what its rules and connections are.
//!
//! After iptables 1.8 and conntrack-tools 1.4.7. Numbers are never resolved (`-n`); rules are Docker's alone, so nothing changes them.

use switch::filter::{Family, Ruleset, Table};

use super::args::Failure;
use super::{Context, Start};
use crate::app::{App, Step, Sys};
use crate::id::IfId;
use crate::netns::Netns;

/// How rules are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    /// `-L`: tables for people.
    #[default]
    List,
    /// `-S`: the commands that make them.
    Commands,
    /// `iptables-save`.
    Save,
}

/// What a line asks of the rules.
#[derive(Debug, Default)]
struct Asked {
    form: Form,
    table: Option<Table>,
    chain: Option<String>,
    verbose: bool,
    numbered: bool,
}

#[derive(Debug)]
struct Rules {
    program: &'static str,
    family: Family,
    asked: Asked,
}

#[derive(Debug)]
struct Conntrack;

pub(super) fn starter(program: &str) -> Option<Start> {
    Some(match program {
        "conntrack" => conntrack,
        "ip6tables" => |argv, _| rules("ip6tables", argv),
        "ip6tables-save" => |argv, _| rules("ip6tables-save", argv),
        "iptables" => |argv, _| rules("iptables", argv),
        "iptables-save" => |argv, _| rules("iptables-save", argv),
        _ => return None,
    })
}

fn unknown(program: &str, word: &str) -> Failure {
    let text = format!("{program}: {word} is not known here\n");
    Failure { text, code: 2 }
}

fn rules(program: &'static str, argv: &[String]) -> Result<Box<dyn App>, Failure> {
    let asked = asked(argv, program.ends_with("-save")).map_err(|word| unknown(program, word))?;
    let family = if program.starts_with("ip6") {
        Family::V6
    } else {
        Family::V4
    };
    Ok(Box::new(Rules {
        program,
        family,
        asked,
    }))
}

fn table(word: &str) -> Option<Table> {
    match word {
        "filter" => Some(Table::Filter),
        "nat" => Some(Table::Nat),
        "raw" => Some(Table::Raw),
        _ => None,
    }
}

/// Reads `-t nat -nvL CHAIN`; `Err` is a word that is not known here.
fn asked(argv: &[String], save: bool) -> Result<Asked, &str> {
    let mut asked = Asked::default();
    if save {
        asked.form = Form::Save;
    }
    let mut words = argv.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "-t" | "--table" => {
                let name = words.next().unwrap_or_default();
                asked.table = Some(table(name).ok_or(name)?);
            }
            _ if save => return Err(word),
            "--list" | "--numeric" | "--wait" => {}
            "--list-rules" => asked.form = Form::Commands,
            "--line-numbers" => asked.numbered = true,
            "--verbose" => asked.verbose = true,
            _ if word.len() > 1 && word.starts_with('-') => {
                for flag in word[1..].chars() {
                    match flag {
                        'L' | 'n' | 'w' => {}
                        'S' => asked.form = Form::Commands,
                        'v' => asked.verbose = true,
                        _ => return Err(word),
                    }
                }
            }
            _ if asked.chain.is_none() => asked.chain = Some(word.to_owned()),
            _ => return Err(word),
        }
    }
    // The counters of commands are not shown.
    if asked.form == Form::Commands && asked.verbose {
        return Err("-v with -S");
    }
    Ok(asked)
}

/// The part of a listing that is about one chain.
fn only(text: &str, chain: &str) -> Option<String> {
    let title = format!("Chain {chain} (");
    text.split("\n\n")
        .find(|part| part.trim_start().starts_with(&title))
        .map(|part| format!("{}\n", part.trim_matches('\n')))
}

/// A listing with `--line-numbers`.
fn numbered(text: &str) -> String {
    let mut place = 0;
    let number = |line: &str| {
        place = if line.starts_with("Chain ") {
            0
        } else {
            place + 1
        };
        match place {
            0 => format!("{line}\n"),
            _ if line.is_empty() => "\n".to_owned(),
            1 => format!("num  {line}\n"),
            _ => format!("{:<4} {line}\n", place - 1),
        }
    };
    text.lines().map(number).collect()
}

/// The lines of `-S`, made of those of `iptables-save`.
fn commands(saved: &[String], chain: Option<&str>) -> Option<String> {
    let is_wanted = |name: &str| chain.is_none_or(|chain| chain == name);
    let command = |line: &String| {
        let (name, rest) = match line.strip_prefix(':') {
            Some(head) => head.split_once(' ')?,
            None => (line.strip_prefix("-A ")?.split(' ').next()?, ""),
        };
        let policy = rest.split(' ').next()?;
        is_wanted(name).then(|| match policy {
            "" => format!("{line}\n"),
            "-" => format!("-N {name}\n"),
            _ => format!("-P {name} {policy}\n"),
        })
    };
    let text: String = saved.iter().filter_map(command).collect();
    (!text.is_empty()).then_some(text)
}

impl Rules {
    /// The text; `None`: there is no such chain.
    fn text(&self, host: &Netns, rules: &Ruleset) -> Option<String> {
        let Asked {
            form,
            table,
            ref chain,
            verbose,
            numbered: is_numbered,
        } = self.asked;
        let names = |iface: IfId| {
            host.iface(iface)
                .map_or_else(|| format!("if{}", iface.0), |iface| iface.name.clone())
        };
        let one = table.unwrap_or(Table::Filter);
        match form {
            Form::Save => {
                let every = [Table::Raw, Table::Nat, Table::Filter];
                let wanted = every
                    .into_iter()
                    .filter(|it| table.is_none_or(|t| t == *it));
                let lines: Vec<String> = wanted
                    .flat_map(|table| rules.save(self.family, table, &names))
                    .collect();
                Some(lines.join("\n") + "\n")
            }
            Form::Commands => commands(&rules.save(self.family, one, &names), chain.as_deref()),
            Form::List => {
                let text = rules.list(self.family, one, verbose, &names);
                let text = match chain {
                    Some(chain) => only(&text, chain)?,
                    None => text,
                };
                Some(if is_numbered { numbered(&text) } else { text })
            }
        }
    }
}

impl App for Rules {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        let host = sys.netns();
        let Some(netfilter) = host.firewall() else {
            return Step::Exit(0);
        };
        match self.text(host, &netfilter.rules) {
            Some(text) => {
                sys.print(&text);
                Step::Exit(0)
            }
            None => {
                let program = self.program;
                sys.eprint(&format!("{program}: No chain/target/match by that name.\n"));
                Step::Exit(1)
            }
        }
    }

    fn name(&self) -> &str {
        self.program
    }
}

fn conntrack(argv: &[String], _: &Context) -> Result<Box<dyn App>, Failure> {
    let known = |word: &&String| matches!(word.as_str(), "-L" | "--dump" | "conntrack" | "-n");
    match argv.iter().find(|word| !known(word)) {
        Some(word) => Err(unknown("conntrack", word)),
        None => Ok(Box::new(Conntrack)),
    }
}

impl App for Conntrack {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        let now = sys.now();
        let Some(netfilter) = sys.netns().firewall() else {
            return Step::Exit(0);
        };
        let conns = netfilter.conntrack.list(now);
        let text: String = conns
            .iter()
            .map(|conn| format!("{}\n", conn.line(now)))
            .collect();
        let count = conns.len();
        sys.print(&text);
        sys.eprint(&format!(
            "conntrack v1.4.7 (conntrack-tools): {count} flow entries have been shown.\n"
        ));
        Step::Exit(0)
    }

    fn name(&self) -> &str {
        "conntrack"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn lines_are_read() {
        let argv = words("-t nat -nvL DOCKER --line-numbers");
        let list = asked(&argv, false).unwrap();
        assert_eq!((list.form, list.table), (Form::List, Some(Table::Nat)));
        assert_eq!(list.chain.as_deref(), Some("DOCKER"));
        assert!(list.verbose && list.numbered);
        let argv = words("-S FORWARD");
        let commands = asked(&argv, false).unwrap();
        assert_eq!((commands.form, commands.table), (Form::Commands, None));
        for (line, save, word) in [
            ("-A INPUT", false, "-A"),
            ("-t mangle", false, "mangle"),
            ("-L INPUT OUTPUT", false, "OUTPUT"),
            ("-vS", false, "-v with -S"),
            ("-n", true, "-n"),
            ("-t", false, ""),
        ] {
            let argv = words(line);
            assert_eq!(asked(&argv, save).map(|_| ()), Err(word), "{line}");
        }
    }

    #[test]
    fn commands_and_numbers() {
        let saved = words("*filter :INPUT_ACCEPT_[1:2] :DOCKER_-_[0:0] -A_INPUT_-j_DOCKER COMMIT");
        let saved: Vec<String> = saved.iter().map(|line| line.replace('_', " ")).collect();
        assert_eq!(
            commands(&saved, None).unwrap(),
            "-P INPUT ACCEPT\n-N DOCKER\n-A INPUT -j DOCKER\n"
        );
        assert_eq!(commands(&saved, Some("DOCKER")).unwrap(), "-N DOCKER\n");
        assert_eq!(commands(&saved, Some("NONE")), None);
        let text =
            "Chain A (policy ACCEPT)\ntarget\nDROP\nACCEPT\n\nChain B (0 references)\ntarget\n";
        assert_eq!(
            numbered(text),
            "Chain A (policy ACCEPT)\nnum  target\n1    DROP\n2    ACCEPT\n\nChain B (0 references)\nnum  target\n"
        );
    }
}
