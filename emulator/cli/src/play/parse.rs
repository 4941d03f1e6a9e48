//! From Markdown to steps: a prompt, a command, and the lines expected below it.
//!
//! Models CommonMark's fenced code blocks (0.31 §4.5) and the look of a terminal. Everything is bounded,
//! since transcripts come from anywhere.

use core::fmt;
use core::ops::Range;

use vethlab::core::docker::spec::Engine;

use super::session;
use crate::docker::Place;
use crate::shell;

/// The longest transcript, in bytes.
pub const MAX_TEXT: usize = 4 << 20;
/// The most commands.
const MAX_STEPS: usize = 10_000;

/// A transcript.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// Its `console` blocks.
    pub blocks: Vec<Block>,
}

/// A `console` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What stands after `console`.
    pub attributes: Attributes,
    /// How far the block is indented.
    pub indent: usize,
    /// Its commands.
    pub steps: Vec<Step>,
}

/// What changes how a block is played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Run it, compare nothing.
    pub ignore: bool,
    /// Do not run it.
    pub skip: bool,
    /// The exit code that the last command must have.
    pub exit: Option<u8>,
    /// Run it only with this engine.
    pub engine: Option<Engine>,
}

/// Where a command is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// `$ `, `lan$ `, `internet$ `.
    Host(Place),
    /// In the shell of a container.
    Inside,
}

/// A command and what it should print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The line of its prompt, from 1.
    pub line: usize,
    /// Where it is typed.
    pub prompt: Prompt,
    /// The command, continued lines put together.
    pub command: String,
    /// The expected lines, without indentation and without blank lines at the end.
    pub expected: Vec<String>,
    /// The lines of the file that they take, from 0.
    pub place: Range<usize>,
}

/// Why a transcript cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.message)
    }
}

impl core::error::Error for ParseError {}

fn error<T>(line: usize, message: impl Into<String>) -> Result<T, ParseError> {
    Err(ParseError {
        line: line + 1,
        message: message.into(),
    })
}

/// Reads a transcript.
///
/// # Errors
/// A block without an end, an unknown word after `console`, output before a command, a shell prompt
/// where no shell is open, too many commands or bytes.
pub fn parse(text: &str) -> Result<Transcript, ParseError> {
    if text.len() > MAX_TEXT {
        return error(0, format!("transcript is longer than {MAX_TEXT} bytes"));
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut reader = Reader {
        lines: &lines,
        shells: Vec::new(),
        steps: 0,
    };
    let mut transcript = Transcript::default();
    let mut at = 0;
    while at < lines.len() {
        let Some(fence) = fence(lines[at]) else {
            at += 1;
            continue;
        };
        let inside = |line: &&&str| !closes(line, &fence);
        let end = at + 1 + lines[at + 1..].iter().take_while(inside).count();
        let mut words = fence
            .info
            .split([' ', ',', '\t'])
            .filter(|word| !word.is_empty());
        if words.next() == Some("console") {
            if end == lines.len() {
                return error(at, "console block is never closed");
            }
            let attributes = attributes(at, words)?;
            let steps = if attributes.skip {
                Vec::new()
            } else {
                reader.block(at + 1..end, fence.indent)?
            };
            transcript.blocks.push(Block {
                attributes,
                indent: fence.indent,
                steps,
            });
        }
        at = end + 1;
    }
    Ok(transcript)
}

struct Fence<'a> {
    indent: usize,
    mark: char,
    length: usize,
    info: &'a str,
}

fn fence(line: &str) -> Option<Fence<'_>> {
    let bare = line.trim_start_matches(' ');
    let mark = bare.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = bare.chars().take_while(|c| *c == mark).count();
    let info = bare[length..].trim();
    if length < 3 || mark == '`' && info.contains('`') {
        return None;
    }
    Some(Fence {
        indent: line.len() - bare.len(),
        mark,
        length,
        info,
    })
}

fn closes(line: &str, open: &Fence<'_>) -> bool {
    fence(line).is_some_and(|close| {
        close.mark == open.mark && close.length >= open.length && close.info.is_empty()
    })
}

fn attributes<'a>(
    line: usize,
    words: impl Iterator<Item = &'a str>,
) -> Result<Attributes, ParseError> {
    let mut attributes = Attributes::default();
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("ignore", "") => attributes.ignore = true,
            ("skip", "") => attributes.skip = true,
            ("exit", code) => match code.parse() {
                Ok(code) => attributes.exit = Some(code),
                Err(_) => {
                    return error(
                        line,
                        format!("exit code `{code}` is not a number up to 255"),
                    );
                }
            },
            ("engine", name) => match engine(name) {
                Some(engine) => attributes.engine = Some(engine),
                None => return error(line, format!("unknown engine `{name}`: 20.10 or 29")),
            },
            _ => {
                return error(
                    line,
                    format!(
                        "unknown word `{word}` after `console`: ignore, skip, exit=N or engine=20.10|29"
                    ),
                );
            }
        }
    }
    Ok(attributes)
}

/// An engine by its version.
#[must_use]
pub(super) fn engine(name: &str) -> Option<Engine> {
    match name {
        "20.10" => Some(Engine::V20_10),
        "29" => Some(Engine::V29),
        _ => None,
    }
}

/// How the prompt of a shell in a container looks; the first one seen counts until the shell is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// `/ # `
    Slash,
    /// `# `
    Hash,
    /// `root@0123456789ab:/# `
    User,
}

struct Reader<'a> {
    lines: &'a [&'a str],
    /// Shells that are open, the innermost last, with their prompt once it was seen.
    shells: Vec<Option<Style>>,
    steps: usize,
}

impl Reader<'_> {
    fn block(&mut self, range: Range<usize>, indent: usize) -> Result<Vec<Step>, ParseError> {
        let mut steps: Vec<Step> = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let line = strip(self.lines[at], indent);
            let Some((prompt, command)) = self.prompt(at, line)? else {
                match steps.last_mut() {
                    Some(step) => step.expected.push(line.trim_end().to_owned()),
                    None if line.trim().is_empty() => {}
                    None => return error(at, "output before the first command of the block"),
                }
                at += 1;
                continue;
            };
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return error(at, format!("more than {MAX_STEPS} commands"));
            }
            let (command, next) = self.continued(command.to_owned(), at + 1..range.end, indent);
            self.track(prompt, &command);
            steps.push(Step {
                line: at + 1,
                prompt,
                command,
                expected: Vec::new(),
                place: next..next,
            });
            at = next;
        }
        for step in &mut steps {
            while step.expected.last().is_some_and(String::is_empty) {
                step.expected.pop();
            }
            step.place.end = step.place.start + step.expected.len();
        }
        Ok(steps)
    }

    /// Puts continued lines together; answers with the command and the line after it.
    fn continued(&self, mut command: String, rest: Range<usize>, indent: usize) -> (String, usize) {
        let mut next = rest.start;
        while next < rest.end {
            let line = strip(self.lines[next], indent);
            let backslashes = command.len() - command.trim_end_matches('\\').len();
            if backslashes % 2 == 1 {
                command.pop();
                command.push_str(line.strip_prefix("> ").unwrap_or(line).trim_start());
            } else if let Some(line) = line.strip_prefix("> ")
                && is_unfinished(&command)
            {
                command.push('\n');
                command.push_str(line);
            } else {
                break;
            }
            next += 1;
        }
        (command, next)
    }

    /// The prompt of a line and what is typed there.
    fn prompt<'b>(
        &mut self,
        at: usize,
        line: &'b str,
    ) -> Result<Option<(Prompt, &'b str)>, ParseError> {
        if let Some((word, command)) = line.split_once('$')
            && let Some(place) = Place::parse(word)
            && (command.is_empty() || command.starts_with(' '))
        {
            return Ok(Some((Prompt::Host(place), command.trim())));
        }
        let Some((style, command)) = inner_prompt(line) else {
            return Ok(None);
        };
        match self.shells.last_mut() {
            Some(known) if known.is_none_or(|known| known == style) => {
                *known = Some(style);
                Ok(Some((Prompt::Inside, command.trim())))
            }
            None if style == Style::Slash => error(at, "no shell of a container is open here"),
            _ => Ok(None),
        }
    }

    /// Follows the shells that open and close.
    fn track(&mut self, prompt: Prompt, command: &str) {
        match prompt {
            Prompt::Host(_) => {
                // A shell that was opened and never typed into did not open.
                if self.shells.last() == Some(&None) {
                    self.shells.pop();
                }
                if session::opens_shell(command) {
                    self.shells.push(None);
                }
            }
            Prompt::Inside => {
                let first = command.split_whitespace().next();
                if first == Some("exit") || session::key(command).is_some() {
                    self.shells.pop();
                }
            }
        }
    }
}

fn is_unfinished(command: &str) -> bool {
    matches!(shell::parse(command), Err(message) if message.contains("unterminated"))
}

/// The line without the indentation of its block.
fn strip(line: &str, indent: usize) -> &str {
    let spaces = line.len() - line.trim_start_matches(' ').len();
    &line[spaces.min(indent)..]
}

/// The prompt of a shell in a container, and what is typed behind it.
fn inner_prompt(line: &str) -> Option<(Style, &str)> {
    let (prompt, command) = match line.split_once('#') {
        Some((prompt, command)) if command.is_empty() || command.starts_with(' ') => {
            (prompt, command)
        }
        _ => return None,
    };
    let words = prompt.split_whitespace().count();
    let style = if prompt.is_empty() {
        Style::Hash
    } else if prompt.starts_with('/') && prompt.ends_with(' ') && words == 1 {
        Style::Slash
    } else if prompt.contains('@') && prompt.contains(':') && words == 1 && !prompt.ends_with(' ') {
        Style::User
    } else {
        return None;
    };
    Some((style, command))
}

/// Whether a line of output would be read as a prompt.
pub(super) fn looks_like_prompt(line: &str) -> bool {
    let host = line.split_once('$').is_some_and(|(word, rest)| {
        Place::parse(word).is_some() && (rest.is_empty() || rest.starts_with(' '))
    });
    host || inner_prompt(line).is_some_and(|(style, _)| style != Style::Hash)
}
