//! Carries out a script: expands words, joins pipes, runs programs.
//!
//! The commands of a pipe run one after the other, each with all that the one before it wrote: their
//! output is finite, since every program of the lab ends in virtual time.

use std::collections::BTreeMap;

use super::filter;
use super::parse::{Item, Join, Piece, Redirect, Script, Simple, Word};
use crate::output::{Output, Stream};

/// The most words that a command may expand to.
const MAX_WORDS: usize = 4096;
/// The most variables.
const MAX_VARIABLES: usize = 1024;

/// What a shell can start.
pub trait Programs {
    /// Runs a program until it ends.
    fn run(&mut self, argv: &[String], stdin: &str) -> Output;
    /// Starts a program and leaves it running.
    fn spawn(&mut self, argv: &[String]) -> Output;
}

/// A shell: its variables and the code of the last command.
#[derive(Clone, Debug, Default)]
pub struct Shell {
    variables: BTreeMap<String, String>,
    last: u8,
    left: Option<u8>,
    /// What `$(…)` wrote to standard error while words were expanded.
    spilt: String,
}

impl Shell {
    /// The code with which `exit` was called, if it was.
    #[must_use]
    pub const fn left(&self) -> Option<u8> {
        self.left
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: &str) {
        if self.variables.len() < MAX_VARIABLES || self.variables.contains_key(name) {
            self.variables.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Runs a script; `stdin` is what its first command reads.
    pub fn run(&mut self, script: &Script, programs: &mut dyn Programs, stdin: &str) -> Output {
        let mut output = Output {
            code: self.last,
            ..Output::default()
        };
        for item in &script.items {
            if self.left.is_some() {
                break;
            }
            let runs = match item.join {
                Join::Always => true,
                Join::And => self.last == 0,
                Join::Or => self.last != 0,
            };
            if !runs {
                continue;
            }
            let mut result = self.item(item, programs, stdin);
            if item.negated {
                result.code = u8::from(result.code == 0);
            }
            self.last = result.code;
            output.append(result);
        }
        output
    }

    fn item(&mut self, item: &Item, programs: &mut dyn Programs, stdin: &str) -> Output {
        if item.background {
            return self.background(item, programs);
        }
        let mut output = Output::default();
        let mut input = stdin.to_owned();
        let last = item.commands.len().saturating_sub(1);
        for (i, command) in item.commands.iter().enumerate() {
            let result = redirect(self.simple(command, programs, &input), &command.redirects);
            output.push(Stream::Err, core::mem::take(&mut self.spilt));
            if i == last {
                output.append(result);
                break;
            }
            input = result.stdout();
            output.push(Stream::Err, result.stderr());
        }
        output
    }

    fn background(&mut self, item: &Item, programs: &mut dyn Programs) -> Output {
        let [command] = item.commands.as_slice() else {
            return Output::err("sh: a pipe with `&` is not supported in transcripts\n", 2);
        };
        match self.expand_all(&command.words, programs) {
            Ok(argv) if argv.is_empty() => Output::default(),
            Ok(argv) => programs.spawn(&argv),
            Err(message) => Output::err(message + "\n", 2),
        }
    }

    fn simple(&mut self, command: &Simple, programs: &mut dyn Programs, stdin: &str) -> Output {
        let stdin = if command.redirects.contains(&Redirect::InFromNull) {
            ""
        } else {
            stdin
        };
        let mut code = 0;
        for (name, word) in &command.assigns {
            let (value, last) = self.expand_text(word, programs);
            code = last;
            self.set(name, &value);
        }
        let argv = match self.expand_all(&command.words, programs) {
            Ok(argv) => argv,
            Err(message) => return Output::err(message + "\n", 2),
        };
        let Some((name, arguments)) = argv.split_first() else {
            return Output {
                code,
                ..Output::default()
            };
        };
        match self.builtin(name, arguments) {
            Some(output) => output,
            None => {
                filter::run(&argv, stdin, programs).unwrap_or_else(|| programs.run(&argv, stdin))
            }
        }
    }

    fn builtin(&mut self, name: &str, arguments: &[String]) -> Option<Output> {
        match name {
            ":" | "true" | "cd" | "set" | "umask" => Some(Output::default()),
            "false" => Some(Output::err("", 1)),
            "exit" | "logout" => {
                let code = arguments.first().and_then(|code| code.parse::<i64>().ok());
                let code = code.map_or(self.last, |code| code.rem_euclid(256) as u8);
                self.left = Some(code);
                Some(Output {
                    code,
                    ..Output::default()
                })
            }
            "export" => {
                for argument in arguments {
                    if let Some((name, value)) = argument.split_once('=') {
                        self.set(name, value);
                    }
                }
                Some(Output::default())
            }
            "unset" => {
                for name in arguments {
                    self.variables.remove(name);
                }
                Some(Output::default())
            }
            "echo" => Some(Output::out(echo(arguments))),
            _ => None,
        }
    }

    fn expand_all(
        &mut self,
        words: &[Word],
        programs: &mut dyn Programs,
    ) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        for word in words {
            self.expand(word, programs, &mut all);
            if all.len() > MAX_WORDS {
                return Err("sh: argument list too long".to_owned());
            }
        }
        Ok(all)
    }

    /// Expands a word; what comes out of an unquoted `$…` is split at white space.
    fn expand(&mut self, word: &Word, programs: &mut dyn Programs, all: &mut Vec<String>) {
        let mut current: Option<String> = None;
        for piece in &word.0 {
            let (text, splits) = self.piece(piece, programs);
            if !splits {
                current.get_or_insert_default().push_str(&text);
                continue;
            }
            let starts_apart = text.starts_with(char::is_whitespace);
            let ends_apart = text.ends_with(char::is_whitespace);
            let mut fields = text.split_whitespace().peekable();
            if starts_apart {
                all.extend(current.take());
            }
            while let Some(field) = fields.next() {
                current.get_or_insert_default().push_str(field);
                if fields.peek().is_some() || ends_apart {
                    all.extend(current.take());
                }
            }
        }
        all.extend(current);
    }

    /// Expands a word to one text, and the code of the last `$(…)` in it.
    fn expand_text(&mut self, word: &Word, programs: &mut dyn Programs) -> (String, u8) {
        let before = core::mem::take(&mut self.last);
        let mut text = String::new();
        for piece in &word.0 {
            text.push_str(&self.piece(piece, programs).0);
        }
        let code = core::mem::replace(&mut self.last, before);
        (text, code)
    }

    fn piece(&mut self, piece: &Piece, programs: &mut dyn Programs) -> (String, bool) {
        match piece {
            Piece::Text { text, .. } => (text.clone(), false),
            Piece::Variable { name, quoted } if name == "?" => (self.last.to_string(), !quoted),
            Piece::Variable { name, quoted } => (
                self.variables.get(name).cloned().unwrap_or_default(),
                !quoted,
            ),
            Piece::Output { script, quoted } => {
                let mut inner = self.clone();
                let output = inner.run(script, programs, "");
                self.last = output.code;
                self.spilt.push_str(&output.stderr());
                let text = output.stdout();
                (text.trim_end_matches('\n').to_owned(), !quoted)
            }
        }
    }
}

fn redirect(output: Output, redirects: &[Redirect]) -> Output {
    let (mut out, mut err) = (Some(Stream::Out), Some(Stream::Err));
    for redirect in redirects {
        match redirect {
            Redirect::ErrToOut => err = out,
            Redirect::OutToErr => out = err,
            Redirect::OutToNull => out = None,
            Redirect::ErrToNull => err = None,
            Redirect::InFromNull => {}
        }
    }
    let mut result = Output {
        code: output.code,
        ..Output::default()
    };
    for (stream, text) in output.parts {
        let target = match stream {
            Stream::Out => out,
            Stream::Err => err,
        };
        if let Some(target) = target {
            result.push(target, text);
        }
    }
    result
}

/// `echo`, with `-n` and `-e`.
fn echo(arguments: &[String]) -> String {
    let (mut newline, mut escapes) = (true, false);
    let mut rest = arguments;
    while let [first, tail @ ..] = rest {
        match first.as_str() {
            "-n" => newline = false,
            "-e" => escapes = true,
            "-ne" | "-en" => (newline, escapes) = (false, true),
            _ => break,
        }
        rest = tail;
    }
    let mut text = rest.join(" ");
    if escapes {
        text = text
            .replace("\\n", "\n")
            .replace("\\t", "\t")
            .replace("\\r", "\r");
    }
    if newline {
        text.push('\n');
    }
    text
}
