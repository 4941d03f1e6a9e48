//! `sed`: `s`, `d`, `p` and `q` with one address.
//!
//! Models POSIX `sed` with `-n`, `-e`, `-E`/`-r`; addresses are a line number, `$` or `/pattern/`.
//! Leaves out address ranges, the hold space, labels and files written.

use super::regex::{Regex, Syntax};

#[derive(Debug)]
struct Command {
    address: Option<Address>,
    action: Action,
}

#[derive(Debug)]
enum Address {
    Line(usize),
    Last,
    Pattern(Regex),
}

#[derive(Debug)]
enum Action {
    Delete,
    Print,
    Quit,
    Substitute {
        pattern: Regex,
        replacement: Vec<char>,
        /// Which match is replaced first.
        nth: usize,
        all: bool,
        print: bool,
    },
}

/// Runs `sed` with these options and scripts over `input`.
///
/// # Errors
/// What it does not understand, as `sed` begins its messages.
pub(super) fn run(
    scripts: &[String],
    quiet: bool,
    extended: bool,
    input: &str,
) -> Result<String, String> {
    let syntax = if extended {
        Syntax::Extended
    } else {
        Syntax::Basic
    };
    let mut commands = Vec::new();
    for script in scripts {
        commands.extend(parse(script, syntax)?);
    }
    let mut out = String::new();
    let mut lines = input.lines().enumerate().peekable();
    while let Some((i, line)) = lines.next() {
        let is_last = lines.peek().is_none();
        let mut space: Vec<char> = line.chars().collect();
        let (mut deleted, mut quit) = (false, false);
        for command in &commands {
            if !applies(command, i + 1, is_last, &space) {
                continue;
            }
            match &command.action {
                Action::Delete => deleted = true,
                Action::Print => print(&mut out, &space),
                Action::Quit => quit = true,
                Action::Substitute {
                    pattern,
                    replacement,
                    nth,
                    all,
                    print: and_print,
                } => {
                    if let Some(new) = substitute(pattern, replacement, *nth, *all, &space) {
                        space = new;
                        if *and_print {
                            print(&mut out, &space);
                        }
                    }
                }
            }
            if deleted || quit {
                break;
            }
        }
        if !quiet && !deleted {
            print(&mut out, &space);
        }
        if quit {
            break;
        }
    }
    Ok(out)
}

fn print(out: &mut String, space: &[char]) {
    out.extend(space);
    out.push('\n');
}

fn applies(command: &Command, line: usize, is_last: bool, space: &[char]) -> bool {
    match &command.address {
        None => true,
        Some(Address::Line(n)) => *n == line,
        Some(Address::Last) => is_last,
        Some(Address::Pattern(pattern)) => pattern.find(space, 0).is_some(),
    }
}

fn substitute(
    pattern: &Regex,
    replacement: &[char],
    nth: usize,
    all: bool,
    space: &[char],
) -> Option<Vec<char>> {
    let mut out = Vec::new();
    let (mut at, mut count, mut changed) = (0, 0, false);
    while let Some(captures) = pattern.find(space, at) {
        let Some((start, end)) = captures[0] else {
            break;
        };
        out.extend_from_slice(&space[at..start]);
        count += 1;
        if count >= nth {
            changed = true;
            let mut chars = replacement.iter().copied();
            while let Some(c) = chars.next() {
                let group = match c {
                    '&' => Some(0),
                    '\\' => match chars.next() {
                        Some(digit @ '0'..='9') => Some(digit as usize - '0' as usize),
                        Some('n') => {
                            out.push('\n');
                            None
                        }
                        Some('t') => {
                            out.push('\t');
                            None
                        }
                        Some(other) => {
                            out.push(other);
                            None
                        }
                        None => None,
                    },
                    c => {
                        out.push(c);
                        None
                    }
                };
                if let Some((from, to)) = group.and_then(|group| captures[group]) {
                    out.extend_from_slice(&space[from..to]);
                }
            }
        } else {
            out.extend_from_slice(&space[start..end]);
        }
        at = end;
        if start == end {
            out.extend(space.get(end));
            at += 1;
        }
        if at > space.len() || changed && !all {
            break;
        }
    }
    out.extend(space.get(at..).unwrap_or_default());
    changed.then_some(out)
}

fn parse(script: &str, syntax: Syntax) -> Result<Vec<Command>, String> {
    let chars: Vec<char> = script.chars().collect();
    let mut at = 0;
    let mut commands = Vec::new();
    loop {
        while chars
            .get(at)
            .is_some_and(|c| c.is_whitespace() || *c == ';')
        {
            at += 1;
        }
        if at >= chars.len() {
            return Ok(commands);
        }
        let address = address(&chars, &mut at, syntax)?;
        while chars.get(at) == Some(&' ') {
            at += 1;
        }
        let action = match chars.get(at) {
            Some('d') => Action::Delete,
            Some('p') => Action::Print,
            Some('q') => Action::Quit,
            Some('s') => {
                at += 1;
                let action = substitution(&chars, &mut at, syntax)?;
                commands.push(Command { address, action });
                continue;
            }
            Some(',') => {
                return Err("sed: address ranges are not supported in transcripts".to_owned());
            }
            Some(c) => return Err(format!("sed: unsupported command {c}")),
            None => return Err("sed: missing command".to_owned()),
        };
        at += 1;
        commands.push(Command { address, action });
    }
}

fn address(chars: &[char], at: &mut usize, syntax: Syntax) -> Result<Option<Address>, String> {
    match chars.get(*at) {
        Some('$') => {
            *at += 1;
            Ok(Some(Address::Last))
        }
        Some('/') => {
            *at += 1;
            let pattern: String = until(chars, at, '/', true)?.iter().collect();
            Ok(Some(Address::Pattern(regex(&pattern, syntax, false)?)))
        }
        Some(c) if c.is_ascii_digit() => {
            let mut line = 0_usize;
            while let Some(digit) = chars.get(*at).and_then(|c| c.to_digit(10)) {
                line = line.saturating_mul(10).saturating_add(digit as usize);
                *at += 1;
            }
            Ok(Some(Address::Line(line)))
        }
        _ => Ok(None),
    }
}

fn regex(pattern: &str, syntax: Syntax, fold: bool) -> Result<Regex, String> {
    Regex::new(pattern, syntax, fold).map_err(|message| format!("sed: {message}"))
}

fn substitution(chars: &[char], at: &mut usize, syntax: Syntax) -> Result<Action, String> {
    let unterminated = || "sed: unmatched delimiter in 's' command".to_owned();
    let delimiter = *chars.get(*at).ok_or_else(unterminated)?;
    *at += 1;
    let pattern: String = until(chars, at, delimiter, true)?.iter().collect();
    let replacement = until(chars, at, delimiter, false)?;
    let (mut all, mut print, mut fold, mut nth) = (false, false, false, 1);
    while let Some(c) = chars.get(*at) {
        match c {
            'g' => all = true,
            'p' => print = true,
            'i' | 'I' => fold = true,
            '1'..='9' => nth = *c as usize - '0' as usize,
            _ => break,
        }
        *at += 1;
    }
    Ok(Action::Substitute {
        pattern: regex(&pattern, syntax, fold)?,
        replacement,
        nth,
        all,
        print,
    })
}

/// The text up to an unescaped delimiter, which is taken too.
fn until(
    chars: &[char],
    at: &mut usize,
    delimiter: char,
    pattern: bool,
) -> Result<Vec<char>, String> {
    let mut text = Vec::new();
    let mut in_set = false;
    while let Some(c) = chars.get(*at).copied() {
        *at += 1;
        match c {
            '\\' => match chars.get(*at).copied() {
                Some(next) if next == delimiter => {
                    text.push(next);
                    *at += 1;
                }
                Some(next) => {
                    text.extend(['\\', next]);
                    *at += 1;
                }
                None => break,
            },
            '[' if pattern => {
                in_set = true;
                text.push(c);
            }
            ']' if in_set => {
                in_set = false;
                text.push(c);
            }
            c if c == delimiter && !in_set => return Ok(text),
            c => text.push(c),
        }
    }
    Err(format!("sed: unmatched '{delimiter}'"))
}
