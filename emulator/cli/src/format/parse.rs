//! The tree of a template.
//!
//! Models `text/template/parse/parse.go` as far as [`super`] says. Depth is bounded, since templates
//! come from the command line and from files.

use super::lex::{self, Piece, Token, error};
use super::{Error, funcs};

/// The deepest nesting of actions and parentheses.
const MAX_DEPTH: usize = 64;

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Text to copy.
    Text(String),
    /// `{{pipeline}}`
    Print(Pipeline),
    /// `{{if}}`, with the branches taken and not taken.
    If(Pipeline, Vec<Self>, Vec<Self>),
    /// `{{with}}`
    With(Pipeline, Vec<Self>, Vec<Self>),
    /// `{{range}}`
    Range(Pipeline, Vec<Self>, Vec<Self>),
    /// `{{break}}`
    Break,
    /// `{{continue}}`
    Continue,
}

/// `$x, $y := command | command`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pipeline {
    /// Variables that take the value.
    pub(super) variables: Vec<String>,
    /// `:=` rather than `=`.
    pub(super) declares: bool,
    /// The commands.
    pub(super) commands: Vec<Command>,
}

/// An operand and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// The function or value, then the arguments.
    pub(super) operands: Vec<Operand>,
}

/// An operand with its place in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operand {
    /// Byte offset of its first and past its last character.
    pub(super) span: (usize, usize),
    /// What it is.
    pub(super) term: Term,
    /// `.A.B` behind it, with the offset of each.
    pub(super) fields: Vec<(usize, String)>,
}

/// What an operand is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Term {
    Dot,
    Nil,
    Bool(bool),
    Number(i64),
    Text(String),
    Variable(String),
    Function(String),
    Pipeline(Pipeline),
}

/// How a list of nodes ended.
enum Stop {
    Source,
    End,
    Else(Vec<(usize, Token)>),
}

struct Parser<'a> {
    source: &'a str,
    pieces: std::vec::IntoIter<Piece>,
    /// Variables in scope; the first is `$`.
    variables: Vec<String>,
    loops: usize,
    depth: usize,
}

/// Reads a template.
pub(super) fn parse(source: &str) -> Result<Vec<Node>, Error> {
    let mut parser = Parser {
        source,
        pieces: lex::pieces(source)?.into_iter(),
        variables: vec![String::new()],
        loops: 0,
        depth: 0,
    };
    let (nodes, end) = parser.list()?;
    match end {
        Stop::Source => Ok(nodes),
        Stop::End => Err(parser.error(source.len(), "unexpected {{end}}")),
        Stop::Else(_) => Err(parser.error(source.len(), "unexpected {{else}}")),
    }
}

impl Parser<'_> {
    fn error(&self, offset: usize, message: impl AsRef<str>) -> Error {
        error(self.source, offset, message)
    }

    fn list(&mut self) -> Result<(Vec<Node>, Stop), Error> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            match piece {
                Piece::Text(text) => nodes.push(Node::Text(text)),
                Piece::Action(mut tokens) => {
                    while matches!(tokens.last(), Some((_, Token::Space))) {
                        tokens.pop();
                    }
                    let skip = usize::from(matches!(tokens.first(), Some((_, Token::Space))));
                    tokens.drain(..skip);
                    let keyword = match tokens.first() {
                        Some((_, Token::Word(word))) => word.clone(),
                        _ => String::new(),
                    };
                    match keyword.as_str() {
                        "end" => return Ok((nodes, Stop::End)),
                        "else" => {
                            tokens.drain(..1);
                            return Ok((nodes, Stop::Else(tokens)));
                        }
                        _ => nodes.push(self.action(&keyword, tokens)?),
                    }
                }
            }
        }
        Ok((nodes, Stop::Source))
    }

    fn action(&mut self, keyword: &str, mut tokens: Vec<(usize, Token)>) -> Result<Node, Error> {
        let offset = tokens.first().map_or(0, |(at, _)| *at);
        match keyword {
            "if" | "with" | "range" => {
                tokens.drain(..1);
                self.control(keyword, offset, &tokens)
            }
            "break" | "continue" if tokens.len() == 1 => {
                if self.loops == 0 {
                    return Err(
                        self.error(offset, format!("{{{{{keyword}}}}} outside {{{{range}}}}"))
                    );
                }
                Ok(if keyword == "break" {
                    Node::Break
                } else {
                    Node::Continue
                })
            }
            "define" | "template" | "block" => {
                let message = format!("{{{{{keyword}}}}} is not supported in --format");
                Err(self.error(offset, message))
            }
            _ => {
                if tokens.is_empty() {
                    return Err(self.error(self.source.len(), "missing value for command"));
                }
                Ok(Node::Print(self.whole_pipeline("command", &tokens)?))
            }
        }
    }

    fn control(
        &mut self,
        keyword: &str,
        offset: usize,
        tokens: &[(usize, Token)],
    ) -> Result<Node, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(offset, "nested too deeply"));
        }
        let scope = self.variables.len();
        let pipeline = self.whole_pipeline(keyword, tokens)?;
        let is_range = keyword == "range";
        self.loops += usize::from(is_range);
        let (body, end) = self.list()?;
        self.loops -= usize::from(is_range);
        let otherwise = match end {
            Stop::Source => return Err(self.error(self.source.len(), "unexpected EOF")),
            Stop::End => Vec::new(),
            Stop::Else(tokens) => self.otherwise(keyword, offset, &tokens)?,
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(match keyword {
            "if" => Node::If(pipeline, body, otherwise),
            "with" => Node::With(pipeline, body, otherwise),
            _ => Node::Range(pipeline, body, otherwise),
        })
    }

    /// What follows `{{else}}`, or `{{else if …}}` as a nested node that shares its end.
    fn otherwise(
        &mut self,
        keyword: &str,
        offset: usize,
        tokens: &[(usize, Token)],
    ) -> Result<Vec<Node>, Error> {
        let tokens = match tokens {
            [(_, Token::Space), rest @ ..] => rest,
            all => all,
        };
        match tokens {
            [] => match self.list()? {
                (nodes, Stop::End) => Ok(nodes),
                (_, Stop::Else(_)) => Err(self.error(offset, "expected end; found {{else}}")),
                (_, Stop::Source) => Err(self.error(self.source.len(), "unexpected EOF")),
            },
            [(at, Token::Word(word)), rest @ ..] if word == keyword && keyword != "range" => {
                Ok(vec![self.control(keyword, *at, rest)?])
            }
            [(at, _), ..] => Err(self.error(*at, "unexpected token in {{else}}")),
        }
    }

    /// A pipeline that takes all of `tokens`.
    fn whole_pipeline(
        &mut self,
        context: &str,
        tokens: &[(usize, Token)],
    ) -> Result<Pipeline, Error> {
        let mut at = 0;
        let pipeline = self.pipeline(context, tokens, &mut at, true)?;
        match tokens.get(at) {
            None => Ok(pipeline),
            Some((offset, token)) => {
                Err(self.error(*offset, format!("unexpected {} in {context}", show(token))))
            }
        }
    }

    fn pipeline(
        &mut self,
        context: &str,
        tokens: &[(usize, Token)],
        at: &mut usize,
        outermost: bool,
    ) -> Result<Pipeline, Error> {
        let (variables, declares) = if outermost {
            self.declaration(context, tokens, at)?
        } else {
            (Vec::new(), false)
        };
        let mut pipeline = Pipeline {
            declares,
            ..Pipeline::default()
        };
        loop {
            let command = self.command(tokens, at)?;
            if command.operands.is_empty() {
                let offset = tokens.get(*at).map_or(self.source.len(), |(o, _)| *o);
                return Err(self.error(offset, format!("missing value for {context}")));
            }
            self.check_command(
                &command,
                !pipeline.commands.is_empty(),
                pipeline.commands.len(),
            )?;
            pipeline.commands.push(command);
            match tokens.get(*at) {
                Some((_, Token::Pipe)) => *at += 1,
                _ => break,
            }
        }
        if declares {
            self.variables.extend(variables.iter().cloned());
        }
        pipeline.variables = variables;
        Ok(pipeline)
    }

    /// `$x :=`, `$x =` or, in a range, `$k, $v :=` at the head of a pipeline.
    fn declaration(
        &mut self,
        context: &str,
        tokens: &[(usize, Token)],
        at: &mut usize,
    ) -> Result<(Vec<String>, bool), Error> {
        let mut i = *at;
        let mut names = Vec::new();
        let skip = |i: &mut usize| {
            while matches!(tokens.get(*i), Some((_, Token::Space))) {
                *i += 1;
            }
        };
        loop {
            skip(&mut i);
            let Some((_, Token::Variable(name))) = tokens.get(i) else {
                return Ok((Vec::new(), false));
            };
            names.push(name.clone());
            i += 1;
            skip(&mut i);
            match tokens.get(i) {
                Some((_, Token::Comma)) if context == "range" && names.len() < 2 => i += 1,
                Some((_, Token::Declare)) => {
                    *at = i + 1;
                    return Ok((names, true));
                }
                Some((offset, Token::Assign)) => {
                    for name in &names {
                        self.known(*offset, name)?;
                    }
                    *at = i + 1;
                    return Ok((names, false));
                }
                _ => return Ok((Vec::new(), false)),
            }
        }
    }

    fn known(&self, offset: usize, name: &str) -> Result<(), Error> {
        if self.variables.iter().any(|known| known == name) {
            Ok(())
        } else {
            Err(self.error(offset, format!("undefined variable \"${name}\"")))
        }
    }

    /// Only a function may have arguments, and only a function may take a pipeline's value.
    fn check_command(&self, command: &Command, piped: bool, index: usize) -> Result<(), Error> {
        let first = &command.operands[0];
        let callable = matches!(first.term, Term::Function(_)) && first.fields.is_empty();
        let method = !first.fields.is_empty();
        if piped && !callable && !method {
            let message = format!("non executable command in pipeline stage {}", index + 1);
            return Err(self.error(first.span.0, message));
        }
        Ok(())
    }

    fn command(&mut self, tokens: &[(usize, Token)], at: &mut usize) -> Result<Command, Error> {
        let mut operands = Vec::new();
        loop {
            while matches!(tokens.get(*at), Some((_, Token::Space))) {
                *at += 1;
            }
            match tokens.get(*at) {
                None | Some((_, Token::Pipe | Token::Close)) => break,
                Some(_) => operands.push(self.operand(tokens, at)?),
            }
            match tokens.get(*at) {
                None | Some((_, Token::Pipe | Token::Close | Token::Space)) => {}
                Some((offset, token)) => {
                    return Err(
                        self.error(*offset, format!("unexpected {} in operand", show(token)))
                    );
                }
            }
        }
        Ok(Command { operands })
    }

    fn operand(&mut self, tokens: &[(usize, Token)], at: &mut usize) -> Result<Operand, Error> {
        let (start, token) = &tokens[*at];
        *at += 1;
        let mut fields = Vec::new();
        let term = match token {
            Token::Dot => Term::Dot,
            Token::Field(name) => {
                fields.push((*start, name.clone()));
                Term::Dot
            }
            Token::Variable(name) => {
                self.known(*start, name)?;
                Term::Variable(name.clone())
            }
            Token::Number(n) => Term::Number(*n),
            Token::Text(text) => Term::Text(text.clone()),
            Token::Word(word) => self.word(*start, word)?,
            Token::Open => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(self.error(*start, "nested too deeply"));
                }
                let inner = self.pipeline("parenthesized pipeline", tokens, at, false)?;
                self.depth -= 1;
                // The lexer has made sure that the parenthesis is closed.
                *at += 1;
                Term::Pipeline(inner)
            }
            other => {
                return Err(self.error(*start, format!("unexpected {} in operand", show(other))));
            }
        };
        while let Some((offset, Token::Field(name))) = tokens.get(*at) {
            fields.push((*offset, name.clone()));
            *at += 1;
        }
        let end = tokens
            .get(*at)
            .map_or_else(|| self.action_end(*start), |(offset, _)| *offset);
        Ok(Operand {
            span: (*start, end),
            term,
            fields,
        })
    }

    fn action_end(&self, start: usize) -> usize {
        let rest = &self.source[start..];
        start
            + rest.find("}}").map_or(rest.len(), |end| {
                rest[..end].trim_end_matches('-').trim_end().len()
            })
    }

    fn word(&self, offset: usize, word: &str) -> Result<Term, Error> {
        match word {
            "true" => Ok(Term::Bool(true)),
            "false" => Ok(Term::Bool(false)),
            "nil" => Ok(Term::Nil),
            name if funcs::exists(name) => Ok(Term::Function(name.to_owned())),
            name => Err(self.error(offset, format!("function {name:?} not defined"))),
        }
    }
}

fn show(token: &Token) -> String {
    match token {
        Token::Pipe => "\"|\"".to_owned(),
        Token::Open => "\"(\"".to_owned(),
        Token::Close => "\")\"".to_owned(),
        Token::Declare => "\":=\"".to_owned(),
        Token::Assign => "\"=\"".to_owned(),
        Token::Comma => "\",\"".to_owned(),
        Token::Space => "\" \"".to_owned(),
        Token::Dot => "\".\"".to_owned(),
        Token::Field(name) => format!("<.{name}>"),
        Token::Variable(name) => format!("\"${name}\""),
        Token::Word(word) => format!("<{word}>"),
        Token::Text(text) => format!("{text:?}"),
        Token::Number(n) => format!("\"{n}\""),
    }
}
