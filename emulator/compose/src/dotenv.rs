//! `.env` files: `KEY=value` lines as compose reads them.
//!
//! `export` in front, `KEY: value`, comments, single quotes (as they are), double quotes (escapes
//! and variables), several lines inside quotes, variables in plain values. A bare `KEY` takes its
//! value from the environment. Left out: octal escapes (`\0101`), which stay as written.

use std::collections::BTreeMap;

use crate::template::{self, TemplateError};

/// How many bytes the values of one file may have.
const MAX_VALUES: usize = 16 << 20;

/// What is wrong, and in which line (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DotenvError {
    pub(crate) line: u32,
    pub(crate) message: String,
}

/// Reads `text`. Variables are looked up in `env` first, then among the lines above.
pub(crate) fn parse(
    text: &str,
    env: &BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, DotenvError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Dotenv {
        text,
        rest: text,
        env,
        values: BTreeMap::new(),
        order: Vec::new(),
        bytes: 0,
    };
    while parser.skip_blank() {
        parser.statement()?;
    }
    let Dotenv { values, order, .. } = parser;
    let pair = |key: String| values.get(&key).cloned().map(|value| (key, value));
    Ok(order.into_iter().filter_map(pair).collect())
}

struct Dotenv<'a> {
    text: &'a str,
    rest: &'a str,
    env: &'a BTreeMap<String, String>,
    values: BTreeMap<String, String>,
    order: Vec<String>,
    /// Bytes of all values so far.
    bytes: usize,
}

impl Dotenv<'_> {
    fn error(&self, at: &str, message: impl Into<String>) -> DotenvError {
        let offset = self.text.len().saturating_sub(at.len());
        let lines = self.text.as_bytes()[..offset].iter();
        let line = 1 + lines.filter(|&&c| c == b'\n').count();
        DotenvError {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            message: message.into(),
        }
    }

    /// Goes to the next statement; false at the end.
    fn skip_blank(&mut self) -> bool {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with('#') {
                return !self.rest.is_empty();
            }
            self.rest = self.rest.find('\n').map_or("", |at| &self.rest[at..]);
        }
    }

    fn statement(&mut self) -> Result<(), DotenvError> {
        let start = self.rest;
        let exported = start
            .strip_prefix("export")
            .filter(|rest| rest.starts_with([' ', '\t']));
        let text = exported.map_or(start, str::trim_start);
        let end = text.find(['=', ':', '\n']).unwrap_or(text.len());
        let key = text[..end].trim_end();
        self.check_key(start, text, key)?;
        let bare = !text[end..].starts_with(['=', ':']);
        if bare {
            self.rest = &text[end..];
            return match self.env.get(key).cloned() {
                Some(value) => self.set(start, key, value),
                None => Ok(()),
            };
        }
        let after = text[end + 1..].trim_start_matches([' ', '\t', '\r', '\u{b}', '\u{c}']);
        let value = self.value(after)?;
        self.set(start, key, value)
    }

    fn check_key(&self, at: &str, text: &str, key: &str) -> Result<(), DotenvError> {
        let fits = |c: char| c.is_alphanumeric() || "_.-[] \t".contains(c);
        if let Some(c) = key.chars().find(|&c| !fits(c)) {
            let line = text.lines().next().unwrap_or(text);
            let message = format!(
                "unexpected character {:?} in variable name {line:?}",
                c.to_string()
            );
            return Err(self.error(at, message));
        }
        if key.contains(char::is_whitespace) {
            return Err(self.error(at, "key cannot contain a space"));
        }
        Ok(())
    }

    fn set(&mut self, at: &str, key: &str, value: String) -> Result<(), DotenvError> {
        self.bytes = self.bytes.saturating_add(value.len());
        if self.bytes > MAX_VALUES {
            let message = format!("the values have more than {MAX_VALUES} bytes");
            return Err(self.error(at, message));
        }
        if self.values.insert(key.to_owned(), value).is_none() {
            self.order.push(key.to_owned());
        }
        Ok(())
    }

    /// Reads a value and moves behind it.
    fn value(&mut self, text: &str) -> Result<String, DotenvError> {
        let offset = self.text.len() - text.len();
        let here = &self.text[offset..];
        match here.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let (raw, length) = quoted(here, quote).ok_or_else(|| {
                    let line = here.lines().next().unwrap_or(here);
                    self.error(here, format!("unterminated quoted value {line}"))
                })?;
                self.rest = &here[length..];
                if quote == '\'' {
                    return Ok(raw);
                }
                self.expand(&unescape(&raw), here)
            }
            _ => {
                let end = here.find('\n').unwrap_or(here.len());
                self.rest = &here[end..];
                let line = &here[..end];
                let line = line.find(" #").map_or(line, |at| &line[..at]);
                self.expand(line.trim_end(), here)
            }
        }
    }

    fn expand(&self, text: &str, at: &str) -> Result<String, DotenvError> {
        let lookup = |name: &str| {
            let value = self.env.get(name).or_else(|| self.values.get(name));
            value.cloned()
        };
        template::substitute(text, &lookup, &mut |_| {}).map_err(|error| {
            let message = match error {
                TemplateError::Invalid => format!("Invalid template: {text:?}"),
                TemplateError::Required { name, reason } => {
                    format!("required variable {name} is missing a value: {reason}")
                }
                TemplateError::TooLarge => "the value grows too large".to_owned(),
            };
            self.error(at, message)
        })
    }
}

/// The text between quotes and the length with both quotes. `\` keeps its meaning for later,
/// except before the quote.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return Some((out, at + 1));
        }
        if c == '\\' && !escaped {
            escaped = true;
            continue;
        }
        if escaped && c != quote {
            out.push('\\');
        }
        escaped = false;
        out.push(c);
    }
    None
}

/// The escapes of a double-quoted value. `\$` becomes `$$`, which substitution makes a dollar.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let known = chars.peek().copied().and_then(escape);
        match known {
            Some(text) => {
                chars.next();
                out.push_str(text);
            }
            None => out.push('\\'),
        }
    }
    out
}

const fn escape(c: char) -> Option<&'static str> {
    Some(match c {
        'a' => "\u{7}",
        'b' => "\u{8}",
        'f' => "\u{c}",
        'n' => "\n",
        'r' => "\r",
        't' => "\t",
        'v' => "\u{b}",
        '$' => "$$",
        '"' => "\"",
        '\\' => "\\",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> BTreeMap<String, String> {
        let env = BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]);
        parse(text, &env).unwrap().into_iter().collect()
    }

    #[test]
    fn values() {
        let cases = [
            ("A=1", "1"),
            ("A = 1 ", "1"),
            ("export A=1", "1"),
            ("A: 1", "1"),
            ("A=", ""),
            ("A=1 # note", "1"),
            ("A=1#2", "1#2"),
            ("# A=2\n\nA=1\r\n", "1"),
            ("A='x # $HOME \\n'", "x # $HOME \\n"),
            ("A=\"x\\ty\"", "x\ty"),
            ("A=\"$HOME/b\" # note", "/root/b"),
            ("A=\"\\$HOME\"", "$HOME"),
            ("A=$$HOME", "$HOME"),
            ("A=\"two\nlines\"", "two\nlines"),
            ("A=\"say \\\"hi\\\"\"", "say \"hi\""),
            ("B=1\nA=${B}2", "12"),
            ("A=${B:-3}", "3"),
            ("A=a=b", "a=b"),
            ("A=first\nA=second", "second"),
            ("\u{feff}A=1", "1"),
        ];
        for (text, wanted) in cases {
            assert_eq!(
                read(text).get("A").map(String::as_str),
                Some(wanted),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_bare_name_is_inherited() {
        let values = read("HOME\nNOPE\nB=1");
        assert_eq!(values.get("HOME").map(String::as_str), Some("/root"));
        assert!(!values.contains_key("NOPE"));
        assert!(values.contains_key("B"));
    }

    #[test]
    fn errors_name_the_line() {
        let env = BTreeMap::new();
        let cases = [
            ("A=1\nB+C=2\n", 2, "unexpected character \"+\""),
            ("A=1\n\nlong key=2\n", 3, "key cannot contain a space"),
            ("A=\"open\n", 1, "unterminated quoted value"),
            (
                "A=1\nB=${C:?no}\n",
                2,
                "required variable C is missing a value: no",
            ),
        ];
        for (text, line, message) in cases {
            let error = parse(text, &env).unwrap_err();
            assert_eq!(error.line, line, "{text:?}");
            assert!(error.message.contains(message), "{}", error.message);
        }
    }
}
