//! From a line of text to commands, pipes and words.
//!
//! Models the token and grammar rules of POSIX.1-2017 "Shell Command Language" 2.2, 2.3 and 2.10 as
//! far as [`super`] says.

use super::MAX_SCRIPT;

/// The deepest nesting of `$(…)`.
const MAX_DEPTH: usize = 8;

/// A list of pipelines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    pub(super) items: Vec<Item>,
}

impl Script {
    /// The words of a script that is one command and plain words only: nothing is left to expand,
    /// to pipe or to redirect.
    #[must_use]
    pub fn plain_words(&self) -> Option<Vec<String>> {
        let [item] = self.items.as_slice() else {
            return None;
        };
        let [command] = item.commands.as_slice() else {
            return None;
        };
        if !command.assigns.is_empty() || !command.redirects.is_empty() {
            return None;
        }
        command.words.iter().map(Word::plain).collect()
    }
}

impl Script {
    /// The words of the last command, with `x` for whatever is only known when it runs.
    #[must_use]
    pub fn rough_words(&self) -> Vec<String> {
        let command = self.items.last().and_then(|item| item.commands.last());
        let rough = |word: &Word| -> String {
            let piece = |piece: &Piece| match piece {
                Piece::Text { text, .. } => text.clone(),
                _ => "x".to_owned(),
            };
            word.0.iter().map(piece).collect()
        };
        command
            .map(|c| c.words.iter().map(rough).collect())
            .unwrap_or_default()
    }
}

/// A pipeline and how it is joined to the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) join: Join,
    pub(super) negated: bool,
    pub(super) background: bool,
    pub(super) commands: Vec<Simple>,
}

/// What decides whether a pipeline runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    Always,
    And,
    Or,
}

/// One command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Simple {
    pub(super) assigns: Vec<(String, Word)>,
    pub(super) words: Vec<Word>,
    pub(super) redirects: Vec<Redirect>,
}

/// Where a stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    ErrToOut,
    OutToErr,
    OutToNull,
    ErrToNull,
    InFromNull,
}

/// A word: pieces that are put together when it is expanded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word(pub(super) Vec<Piece>);

impl Word {
    fn plain(&self) -> Option<String> {
        let text = |piece: &Piece| match piece {
            Piece::Text { text, .. } => Some(text.clone()),
            _ => None,
        };
        self.0.iter().map(text).collect()
    }
}

/// A piece of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text { text: String, quoted: bool },
    Variable { name: String, quoted: bool },
    Output { script: Script, quoted: bool },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(Word),
    Op(&'static str),
    Redirect(Redirect),
}

/// Reads a script.
///
/// # Errors
/// In the words of `sh` where it has them (`sh: syntax error: …`), or what is not supported here.
pub fn parse(text: &str) -> Result<Script, String> {
    if text.len() > MAX_SCRIPT {
        return Err("sh: script is too long".to_owned());
    }
    parse_at(text, 0)
}

fn parse_at(text: &str, depth: usize) -> Result<Script, String> {
    if depth > MAX_DEPTH {
        return Err("sh: $(…) is nested too deeply".to_owned());
    }
    script(tokens(text, depth)?)
}

fn script(tokens: Vec<Token>) -> Result<Script, String> {
    let mut script = Script::default();
    let mut tokens = tokens.into_iter().peekable();
    let mut join = Join::Always;
    loop {
        while join == Join::Always && tokens.next_if(|t| matches!(t, Token::Op("\n"))).is_some() {}
        if tokens.peek().is_none() {
            if join != Join::Always {
                return Err("sh: syntax error: unexpected end of file".to_owned());
            }
            return Ok(script);
        }
        let mut item = pipeline(&mut tokens, join)?;
        join = Join::Always;
        match tokens.next() {
            None => {}
            Some(Token::Op("&&")) => join = Join::And,
            Some(Token::Op("||")) => join = Join::Or,
            Some(Token::Op("&")) => item.background = true,
            Some(Token::Op(_)) => {}
            Some(token) => return Err(unexpected(&token)),
        }
        script.items.push(item);
    }
}

type Tokens = core::iter::Peekable<std::vec::IntoIter<Token>>;

fn pipeline(tokens: &mut Tokens, join: Join) -> Result<Item, String> {
    let mut item = Item {
        join,
        negated: false,
        background: false,
        commands: Vec::new(),
    };
    let bang = |t: &Token| matches!(t, Token::Word(word) if word.plain().as_deref() == Some("!"));
    item.negated = tokens.next_if(bang).is_some();
    loop {
        let command = simple(tokens)?;
        item.commands.push(command);
        if tokens.next_if(|t| matches!(t, Token::Op("|"))).is_none() {
            return Ok(item);
        }
    }
}

fn simple(tokens: &mut Tokens) -> Result<Simple, String> {
    let mut command = Simple::default();
    while let Some(token) = tokens.next_if(|t| !matches!(t, Token::Op(_))) {
        match token {
            Token::Redirect(redirect) => command.redirects.push(redirect),
            Token::Word(word) => match assignment(&word) {
                Some(assign) if command.words.is_empty() => command.assigns.push(assign),
                _ => command.words.push(word),
            },
            Token::Op(_) => {}
        }
    }
    if command.words.is_empty() && command.assigns.is_empty() {
        return Err(match tokens.peek() {
            Some(token) => unexpected(token),
            None => "sh: syntax error: unexpected end of file".to_owned(),
        });
    }
    if let Some(word) = command.words.first().and_then(Word::plain)
        && is_unquoted(&command.words[0])
        && is_keyword(&word)
    {
        return Err(format!("sh: `{word}` is not supported in transcripts"));
    }
    Ok(command)
}

fn is_unquoted(word: &Word) -> bool {
    let unquoted = |piece: &Piece| matches!(piece, Piece::Text { quoted: false, .. });
    word.0.iter().all(unquoted)
}

fn is_keyword(word: &str) -> bool {
    matches!(
        word,
        "for" | "while" | "until" | "if" | "case" | "function" | "{" | "do" | "then" | "[["
    )
}

/// `NAME=value`, the name unquoted.
fn assignment(word: &Word) -> Option<(String, Word)> {
    let (first, rest) = word.0.split_first()?;
    let Piece::Text {
        text,
        quoted: false,
    } = first
    else {
        return None;
    };
    let (name, value) = text.split_once('=')?;
    let starts_well = name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic());
    if !starts_well || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
        return None;
    }
    let mut pieces = Vec::new();
    if !value.is_empty() {
        pieces.push(Piece::Text {
            text: value.to_owned(),
            quoted: false,
        });
    }
    pieces.extend(rest.iter().cloned());
    Some((name.to_owned(), Word(pieces)))
}

fn unexpected(token: &Token) -> String {
    match token {
        Token::Op("\n") => "sh: syntax error: unexpected newline".to_owned(),
        Token::Op(op) => format!("sh: syntax error: unexpected \"{op}\""),
        _ => "sh: syntax error: unexpected word".to_owned(),
    }
}

fn tokens(text: &str, depth: usize) -> Result<Vec<Token>, String> {
    let mut lexer = Lexer {
        text,
        at: 0,
        depth,
        tokens: Vec::new(),
    };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn run(&mut self) -> Result<(), String> {
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\r' => self.at += 1,
                '#' => self.at += self.rest().find('\n').unwrap_or_else(|| self.rest().len()),
                '\\' if self.rest().starts_with("\\\n") => self.at += 2,
                '\n' | ';' | '|' | '&' => self.operator()?,
                '>' | '<' | '0'..='9' if self.redirect()? => {}
                '(' | ')' => return Err(format!("sh: `{c}` is not supported in transcripts")),
                '`' => self.push_word()?,
                _ => self.push_word()?,
            }
        }
        Ok(())
    }

    fn operator(&mut self) -> Result<(), String> {
        if self.rest().starts_with("&>") {
            return self.redirect().map(|_| ());
        }
        let op = match self.rest() {
            rest if rest.starts_with("&&") => "&&",
            rest if rest.starts_with("||") => "||",
            rest if rest.starts_with(";;") => {
                return Err("sh: `;;` is not supported in transcripts".into());
            }
            rest if rest.starts_with("|&") => {
                self.at += 2;
                self.tokens.push(Token::Redirect(Redirect::ErrToOut));
                self.tokens.push(Token::Op("|"));
                return Ok(());
            }
            rest if rest.starts_with('|') => "|",
            rest if rest.starts_with('&') => "&",
            // Both end a command; what differs is only whether one must stand before it.
            rest if rest.starts_with(';') => ";",
            _ => "\n",
        };
        self.at += op.len();
        self.tokens.push(Token::Op(op));
        Ok(())
    }

    /// Takes a redirection, if one stands here.
    fn redirect(&mut self) -> Result<bool, String> {
        const FORMS: &[(&str, &[Redirect])] = &[
            ("2>&1", &[Redirect::ErrToOut]),
            ("1>&2", &[Redirect::OutToErr]),
            (">&2", &[Redirect::OutToErr]),
            ("&>/dev/null", &[Redirect::OutToNull, Redirect::ErrToNull]),
            ("2>/dev/null", &[Redirect::ErrToNull]),
            ("1>/dev/null", &[Redirect::OutToNull]),
            (">/dev/null", &[Redirect::OutToNull]),
            ("</dev/null", &[Redirect::InFromNull]),
        ];
        let rest = self.rest();
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        if !rest[digits..].starts_with(['>', '<']) && !rest.starts_with("&>") {
            return Ok(false);
        }
        // Spaces between the arrow and the file say nothing.
        let arrow = digits + rest[digits..].find(['>', '<']).unwrap_or(0) + 1;
        let (head, tail) = rest.split_at(arrow);
        let spaces = tail.len() - tail.trim_start_matches([' ', '\t']).len();
        let joined: String = format!("{head}{}", &tail[spaces..]);
        for (form, redirects) in FORMS {
            let Some(after) = joined.strip_prefix(form) else {
                continue;
            };
            if after.is_empty() || after.starts_with([' ', '\t', '\n', ';', '|', '&', ')']) {
                self.at += form.len() + spaces;
                let redirects = redirects.iter().map(|r| Token::Redirect(*r));
                self.tokens.extend(redirects);
                return Ok(true);
            }
        }
        let shown: String = joined
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .chars()
            .take(40)
            .collect();
        Err(format!(
            "sh: redirection `{shown}` is not supported in transcripts"
        ))
    }

    fn push_word(&mut self) -> Result<(), String> {
        let mut word = Word::default();
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\r' | '\n' | ';' | '|' | '&' | '<' | '>' | '(' | ')' => break,
                '\'' => self.single(&mut word)?,
                '"' => self.double(&mut word)?,
                '\\' => {
                    self.at += 1;
                    match self.bump() {
                        Some('\n') => {}
                        Some(c) => push(&mut word, c, true),
                        None => push(&mut word, '\\', true),
                    }
                }
                '$' | '`' => self.expansion(&mut word, false)?,
                c => {
                    self.at += c.len_utf8();
                    push(&mut word, c, false);
                }
            }
        }
        self.tokens.push(Token::Word(word));
        Ok(())
    }

    fn single(&mut self, word: &mut Word) -> Result<(), String> {
        self.at += 1;
        let Some(len) = self.rest().find('\'') else {
            return Err("sh: syntax error: unterminated quoted string".to_owned());
        };
        let text = self.rest()[..len].to_owned();
        self.at += len + 1;
        word.0.push(Piece::Text { text, quoted: true });
        Ok(())
    }

    fn double(&mut self, word: &mut Word) -> Result<(), String> {
        self.at += 1;
        // An empty pair of quotes is a word too.
        word.0.push(Piece::Text {
            text: String::new(),
            quoted: true,
        });
        loop {
            match self.peek() {
                None => return Err("sh: syntax error: unterminated quoted string".to_owned()),
                Some('"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some('$' | '`') => self.expansion(word, true)?,
                Some('\\') => {
                    self.at += 1;
                    match self.bump() {
                        Some(c @ ('"' | '\\' | '$' | '`')) => push(word, c, true),
                        Some('\n') => {}
                        Some(c) => {
                            push(word, '\\', true);
                            push(word, c, true);
                        }
                        None => {}
                    }
                }
                Some(c) => {
                    self.at += c.len_utf8();
                    push(word, c, true);
                }
            }
        }
    }

    fn expansion(&mut self, word: &mut Word, quoted: bool) -> Result<(), String> {
        if self.rest().starts_with('`') {
            let Some(len) = self.rest()[1..].find('`') else {
                return Err("sh: syntax error: EOF in backquote substitution".to_owned());
            };
            let script = parse_at(&self.rest()[1..=len], self.depth + 1)?;
            self.at += len + 2;
            word.0.push(Piece::Output { script, quoted });
            return Ok(());
        }
        if self.rest().starts_with("$((") {
            return Err("sh: `$((…))` is not supported in transcripts".to_owned());
        }
        if self.rest().starts_with("$(") {
            let len = closing(&self.rest()[2..])?;
            let script = parse_at(&self.rest()[2..2 + len], self.depth + 1)?;
            self.at += len + 3;
            word.0.push(Piece::Output { script, quoted });
            return Ok(());
        }
        let rest = &self.rest()[1..];
        let (name, len) = match rest.chars().next() {
            Some('{') => match rest.find('}') {
                Some(end) => (&rest[1..end], end + 1),
                None => return Err("sh: syntax error: missing '}'".to_owned()),
            },
            Some('?') => ("?", 1),
            _ => {
                let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
                let name = &rest[..end.unwrap_or(rest.len())];
                (name, name.len())
            }
        };
        if name.is_empty() {
            self.at += 1;
            push(word, '$', quoted);
            return Ok(());
        }
        let known = |c: char| c == '_' || c.is_ascii_alphanumeric();
        if name != "?" && !name.chars().all(known) {
            return Err(format!("sh: `${{{name}}}` is not supported in transcripts"));
        }
        let name = name.to_owned();
        self.at += 1 + len;
        word.0.push(Piece::Variable { name, quoted });
        Ok(())
    }
}

fn push(word: &mut Word, c: char, quoted: bool) {
    match word.0.last_mut() {
        Some(Piece::Text { text, quoted: last }) if *last == quoted => text.push(c),
        _ => word.0.push(Piece::Text {
            text: c.to_string(),
            quoted,
        }),
    }
}

/// The length of the text up to the parenthesis that closes `$(`.
fn closing(text: &str) -> Result<usize, String> {
    let mut depth = 1_usize;
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((i, c)) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                chars.next();
            }
            (c, Some(q)) if c == q => quote = None,
            (_, Some(_)) => {}
            ('\'' | '"', None) => quote = Some(c),
            ('(', None) => depth += 1,
            (')', None) => {
                depth -= 1;
                if depth == 0 {
                    return Ok(i);
                }
            }
            _ => {}
        }
    }
    Err("sh: syntax error: unterminated $(".to_owned())
}
