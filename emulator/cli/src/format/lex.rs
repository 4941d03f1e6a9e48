//! The tokens of a template: text, and what stands between `{{` and `}}`.
//!
//! Models `text/template/parse/lex.go`: trim markers (`{{- ` and ` -}}`), comments, strings in double
//! quotes and backquotes, characters, numbers, variables, fields. Errors name the line only, as Go's do.

use super::Error;

/// A token inside an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// `|`
    Pipe,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// `,`
    Comma,
    /// White space between operands.
    Space,
    /// `.`
    Dot,
    /// `.Name`
    Field(String),
    /// `$` or `$name`; the name without the dollar.
    Variable(String),
    /// A function, keyword, or `true`, `false`, `nil`.
    Word(String),
    /// A string, unquoted.
    Text(String),
    /// A whole number.
    Number(i64),
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text to copy.
    Text(String),
    /// What stands between the braces: tokens with their offsets in the source.
    Action(Vec<(usize, Token)>),
}

/// A parse error on the line of `offset`.
pub(super) fn error(source: &str, offset: usize, message: impl AsRef<str>) -> Error {
    let before = source.as_bytes().get(..offset).unwrap_or_default();
    let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
    Error(format!("template: :{line}: {}", message.as_ref()))
}

/// Cuts a template into pieces.
pub(super) fn pieces(source: &str) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut trim = false;
    while let Some(open) = source[at..].find("{{") {
        let mut text = &source[at..at + open];
        if trim {
            text = text.trim_start_matches(is_space);
        }
        let mut inside = at + open + 2;
        if marks_trim(&source[inside..]) {
            text = text.trim_end_matches(is_space);
            inside += 2;
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        let (end, trims) = if source[inside..].starts_with("/*") {
            comment(source, inside)?
        } else {
            let (tokens, end, trims) = action(source, inside)?;
            pieces.push(Piece::Action(tokens));
            (end, trims)
        };
        (at, trim) = (end, trims);
    }
    let mut text = &source[at..];
    if trim {
        text = text.trim_start_matches(is_space);
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
    Ok(pieces)
}

const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn marks_trim(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next() == Some('-') && chars.next().is_some_and(is_space)
}

/// The tokens of an action, where it ends, and whether it trims what follows.
type Action = (Vec<(usize, Token)>, usize, bool);

/// Where a comment ends, and whether it trims what follows.
fn comment(source: &str, start: usize) -> Result<(usize, bool), Error> {
    let Some(end) = source[start..].find("*/") else {
        return Err(error(source, start, "unclosed comment"));
    };
    let rest = &source[start + end + 2..];
    let after = start + end + 2;
    if rest.starts_with("}}") {
        return Ok((after + 2, false));
    }
    if rest.starts_with(is_space) && rest[1..].starts_with("-}}") {
        return Ok((after + 4, true));
    }
    Err(error(
        source,
        start,
        "comment ends before closing delimiter",
    ))
}

fn action(source: &str, start: usize) -> Result<Action, Error> {
    let mut tokens = Vec::new();
    let mut at = start;
    let mut depth = 0_usize;
    loop {
        let rest = &source[at..];
        if rest.starts_with(is_space) && rest[1..].starts_with("-}}") {
            balanced(source, at, depth)?;
            return Ok((tokens, at + 4, true));
        }
        if rest.starts_with("}}") {
            balanced(source, at, depth)?;
            return Ok((tokens, at + 2, false));
        }
        let Some(c) = rest.chars().next() else {
            return Err(error(source, start, "unclosed action"));
        };
        let (token, len) = match c {
            '|' => (Token::Pipe, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '=' => (Token::Assign, 1),
            ':' if rest.starts_with(":=") => (Token::Declare, 2),
            ':' => return Err(error(source, at, "expected :=")),
            c if is_space(c) => {
                let len = rest.find(|c| !is_space(c)).unwrap_or(rest.len());
                // The last space belongs to a trim marker, if one follows.
                let back = usize::from(len > 1 && rest[len..].starts_with("-}}"));
                (Token::Space, len - back)
            }
            '"' => quoted(source, at)?,
            '`' => raw(source, at)?,
            '\'' => character(source, at)?,
            '.' => field(rest),
            '$' => {
                let len = 1 + word_len(&rest[1..]);
                (Token::Variable(rest[1..len].to_owned()), len)
            }
            c if c == '+' || c == '-' || c.is_ascii_digit() => number(source, at)?,
            c if c == '_' || c.is_alphabetic() => {
                let len = word_len(rest);
                (Token::Word(rest[..len].to_owned()), len)
            }
            c => {
                let message = format!("unrecognized character in action: U+{:04X} {c:?}", c as u32);
                return Err(error(source, at, message));
            }
        };
        match token {
            Token::Open => depth += 1,
            Token::Close if depth == 0 => {
                return Err(error(source, at, "unexpected right paren"));
            }
            Token::Close => depth -= 1,
            _ => {}
        }
        tokens.push((at, token));
        at += len;
    }
}

fn balanced(source: &str, at: usize, depth: usize) -> Result<(), Error> {
    if depth == 0 {
        Ok(())
    } else {
        Err(error(source, at, "unclosed left paren"))
    }
}

fn word_len(text: &str) -> usize {
    let end = text.find(|c: char| c != '_' && !c.is_alphanumeric());
    end.unwrap_or(text.len())
}

fn field(rest: &str) -> (Token, usize) {
    let len = word_len(&rest[1..]);
    if len == 0 {
        (Token::Dot, 1)
    } else {
        (Token::Field(rest[1..=len].to_owned()), len + 1)
    }
}

fn number(source: &str, at: usize) -> Result<(Token, usize), Error> {
    let rest = &source[at..];
    let tail = &rest[1..];
    let end = tail.find(|c: char| c != '_' && c != '.' && !c.is_alphanumeric());
    let len = 1 + end.unwrap_or(tail.len());
    let text = &rest[..len];
    match text.parse::<i64>() {
        Ok(n) => Ok((Token::Number(n), len)),
        Err(_) => Err(error(source, at, format!("bad number syntax: {text:?}"))),
    }
}

fn quoted(source: &str, start: usize) -> Result<(Token, usize), Error> {
    let mut text = String::new();
    let mut chars = source[start + 1..].char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Text(text), i + 2)),
            '\n' => break,
            '\\' => match chars.next() {
                Some((_, escaped)) => text.push(unescape(source, start, escaped)?),
                None => break,
            },
            c => text.push(c),
        }
    }
    Err(error(source, start, "unterminated quoted string"))
}

fn unescape(source: &str, start: usize, c: char) -> Result<char, Error> {
    match c {
        'n' => Ok('\n'),
        't' => Ok('\t'),
        'r' => Ok('\r'),
        'a' => Ok('\u{7}'),
        'b' => Ok('\u{8}'),
        'f' => Ok('\u{c}'),
        'v' => Ok('\u{b}'),
        '\\' | '"' | '\'' => Ok(c),
        _ => Err(error(source, start, "invalid syntax")),
    }
}

fn raw(source: &str, start: usize) -> Result<(Token, usize), Error> {
    match source[start + 1..].find('`') {
        Some(len) => {
            let text = source[start + 1..start + 1 + len].to_owned();
            Ok((Token::Text(text), len + 2))
        }
        None => Err(error(source, start, "unterminated raw quoted string")),
    }
}

fn character(source: &str, start: usize) -> Result<(Token, usize), Error> {
    let mut chars = source[start + 1..].chars();
    let first = chars.next();
    let (c, len) = match first {
        Some('\\') => match chars.next() {
            Some(escaped) => (unescape(source, start, escaped)?, 1 + escaped.len_utf8()),
            None => return Err(error(source, start, "unterminated character constant")),
        },
        Some(c) if c != '\n' && c != '\'' => (c, c.len_utf8()),
        _ => return Err(error(source, start, "unterminated character constant")),
    };
    if chars.next() != Some('\'') {
        return Err(error(source, start, "unterminated character constant"));
    }
    Ok((Token::Number(i64::from(c as u32)), len + 2))
}
