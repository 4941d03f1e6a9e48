//! The grammar of filter expressions.
//!
//! As in libpcap's grammar `and` and `or` bind alike, from the left, and a value without qualifiers has
//! those of the value before it: `host a or b`, `port 80 or 443`, `src net (10.0.0.0/8 or 172.16.0.0/12)`.
//! Tests are made while the words are read, because `vlan` changes what is behind it.

use super::error::FilterError;
use super::generate::Generator;
use super::lex::{Key, Protocol, Token, Word};
use super::names::Names;
use super::program::{Compare, Part, Program, Read};

/// Parentheses, `not`s and brackets in each other, at most.
const DEPTH: usize = 100;

/// Which of a packet's two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Nothing was said: either.
    Any,
    Source,
    Destination,
    Either,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing was said: a host.
    Any,
    Host,
    Net,
    Port,
    PortRange,
    Proto,
}

/// What was said of a value before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Qualifiers {
    pub(super) protocol: Option<Protocol>,
    pub(super) direction: Direction,
    pub(super) kind: Kind,
}

/// A part, and the qualifiers that a bare value behind it has; none, and it is an error.
type Item = (Part, Option<Qualifiers>);
pub(super) type Parsed<T> = Result<T, FilterError>;

pub(super) struct Parser<'a> {
    pub(super) words: &'a [Word],
    /// The column behind the last word.
    end: usize,
    pub(super) at: usize,
    depth: usize,
    pub(super) names: &'a dyn Names,
    pub(super) made: Generator,
    /// Values that the relation that is read keeps.
    pub(super) height: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(words: &'a [Word], end: usize, names: &'a dyn Names) -> Self {
        Self {
            words,
            end,
            at: 0,
            depth: 0,
            names,
            made: Generator::default(),
            height: 0,
        }
    }

    /// Reads the whole expression.
    pub(super) fn program(mut self) -> Parsed<Program> {
        if !self.words.is_empty() {
            let (all, _) = self.expression(None)?;
            if self.peek().is_some() {
                return Err(self.wrong("'and', 'or' or the end"));
            }
            self.made.program.finish(&all);
        }
        Ok(self.made.program)
    }

    pub(super) fn peek(&self) -> Option<&'a Token> {
        self.ahead(0)
    }

    fn ahead(&self, by: usize) -> Option<&'a Token> {
        self.words.get(self.at + by).map(|word| &word.token)
    }

    pub(super) fn bump(&mut self) {
        self.at += 1;
    }

    pub(super) fn is_key(&self, key: Key) -> bool {
        self.peek() == Some(&Token::Key(key))
    }

    pub(super) fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(found)) if *found == sign)
    }

    /// Where the next word stands.
    pub(super) fn column(&self) -> usize {
        self.words.get(self.at).map_or(self.end, |word| word.column)
    }

    pub(super) fn wrong(&self, expected: &'static str) -> FilterError {
        FilterError::syntax(self.column(), expected)
    }

    pub(super) fn expect(&mut self, sign: &str, expected: &'static str) -> Parsed<()> {
        if !self.is_sign(sign) {
            return Err(self.wrong(expected));
        }
        self.bump();
        Ok(())
    }

    /// Goes one level down; `inner` reads what is there.
    pub(super) fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH {
            return Err(FilterError::new(
                self.column(),
                format!("nested more than {DEPTH} deep"),
            ));
        }
        self.depth += 1;
        let read = inner(self);
        self.depth -= 1;
        read
    }

    /// What went wrong with the words from `from` on.
    pub(super) fn refused(&self, from: usize, message: String) -> FilterError {
        let column = self.words.get(from).map_or(self.end, |word| word.column);
        FilterError::new(column, message)
    }

    /// `and` and `or`, from the left.
    fn expression(&mut self, before: Option<Qualifiers>) -> Parsed<Item> {
        let (mut left, mut qualifiers) = self.item(before)?;
        while let Some(&Token::Key(key @ (Key::And | Key::Or))) = self.peek() {
            self.bump();
            let (right, next) = self.item(qualifiers)?;
            left = self.join(key, left, right);
            qualifiers = next;
        }
        Ok((left, qualifiers))
    }

    pub(super) fn join(&mut self, key: Key, left: Part, right: Part) -> Part {
        if key == Key::And {
            self.made.and(left, right)
        } else {
            self.made.or(left, right)
        }
    }

    /// What stands between two `and`s: a primitive, or a bare value that has the qualifiers of `before`.
    fn item(&mut self, before: Option<Qualifiers>) -> Parsed<Item> {
        if self.begins_relation(self.at) {
            return Ok((self.relation()?, None));
        }
        match self.peek() {
            Some(Token::Key(Key::Not)) => self.deeper(|parser| {
                parser.bump();
                let (part, qualifiers) = parser.item(before)?;
                Ok((part.not(), qualifiers))
            }),
            Some(Token::Sign("(")) if !self.begins_value(self.at + 1) => {
                self.deeper(|parser| {
                    parser.bump();
                    let (part, _) = parser.expression(before)?;
                    parser.expect(")", "')'")?;
                    // What stands behind it goes on from what stood before it.
                    Ok((part, before))
                })
            }
            Some(Token::Key(Key::Less | Key::Greater | Key::Vlan)) => Ok((self.plain()?, None)),
            Some(Token::Key(Key::And | Key::Or | Key::Mask)) => {
                Err(self.wrong("a primitive, such as 'host', 'port' or 'tcp'"))
            }
            Some(Token::Key(_) | Token::Protocol(_)) => self.qualified(),
            _ => {
                let qualifiers = before
                    .ok_or_else(|| self.wrong("a primitive, such as 'host', 'port' or 'tcp'"))?;
                Ok((self.value(qualifiers)?, before))
            }
        }
    }

    /// `less`, `greater` and `vlan`.
    fn plain(&mut self) -> Parsed<Part> {
        let from = self.at;
        let key = self.peek();
        self.bump();
        if key == Some(&Token::Key(Key::Vlan)) {
            let vlan = self.number_in_parentheses();
            return self.made.vlan(vlan).map_err(|why| self.refused(from, why));
        }
        let Some(&Token::Number(length)) = self.peek() else {
            return Err(self.wrong("a length in bytes"));
        };
        self.bump();
        let made = if key == Some(&Token::Key(Key::Less)) {
            let longer = self.made.test(Read::Length, Compare::Greater, length);
            longer.map(Part::not)
        } else {
            self.made.test(Read::Length, Compare::GreaterEqual, length)
        };
        made.map_err(|why| self.refused(from, why))
    }

    /// A number, in any number of parentheses; nothing is read if there is none.
    fn number_in_parentheses(&mut self) -> Option<u32> {
        let (mut at, mut open) = (self.at, 0);
        loop {
            match &self.words.get(at)?.token {
                Token::Sign("(") => open += 1,
                Token::Number(number) => {
                    let closed = self.words.get(at + 1..at + 1 + open)?;
                    if closed.iter().any(|word| word.token != Token::Sign(")")) {
                        return None;
                    }
                    self.at = at + 1 + open;
                    return Some(*number);
                }
                _ => return None,
            }
            at += 1;
        }
    }

    /// Whether a bare value, in parentheses and behind `not` or not, stands at `at`.
    fn begins_value(&self, mut at: usize) -> bool {
        loop {
            if self.begins_relation(at) {
                return false;
            }
            match self.words.get(at).map(|word| &word.token) {
                Some(Token::Key(Key::Not) | Token::Sign("(")) => at += 1,
                Some(
                    Token::Name(_)
                    | Token::Dotted(_)
                    | Token::Ip6(_)
                    | Token::Mac(_)
                    | Token::Number(_),
                ) => return true,
                _ => return false,
            }
        }
    }

    /// Whether a comparison of numbers begins at `at`.
    fn begins_relation(&self, at: usize) -> bool {
        match self.words.get(at).map(|word| &word.token) {
            Some(Token::Number(_)) => self.is_operator(at + 1),
            Some(Token::Key(Key::Len) | Token::Sign("-")) => true,
            Some(Token::Protocol(_)) => {
                let next = self.words.get(at + 1).map(|word| &word.token);
                next == Some(&Token::Sign("["))
            }
            Some(Token::Sign("(")) => self
                .closing(at)
                .is_some_and(|closing| self.is_operator(closing + 1)),
            _ => false,
        }
    }

    fn is_operator(&self, at: usize) -> bool {
        matches!(
            self.words.get(at).map(|word| &word.token),
            Some(Token::Sign(
                "+" | "-"
                    | "*"
                    | "/"
                    | "%"
                    | "&"
                    | "|"
                    | "^"
                    | "<<"
                    | ">>"
                    | "<"
                    | ">"
                    | "<="
                    | ">="
                    | "="
                    | "!="
            ))
        )
    }

    /// The parenthesis that closes the one at `at`.
    fn closing(&self, at: usize) -> Option<usize> {
        let mut open = 0_usize;
        for (number, word) in self.words.iter().enumerate().skip(at) {
            match word.token {
                Token::Sign("(") => open += 1,
                Token::Sign(")") => open -= 1,
                _ => {}
            }
            if open == 0 {
                return Some(number);
            }
        }
        None
    }

    /// Qualifiers and what they qualify, or a protocol by itself.
    fn qualified(&mut self) -> Parsed<Item> {
        let from = self.at;
        let protocol = match self.peek() {
            Some(&Token::Protocol(protocol)) => {
                self.bump();
                Some(protocol)
            }
            _ => None,
        };
        for (key, is_broadcast) in [(Key::Broadcast, true), (Key::Multicast, false)] {
            if self.is_key(key) {
                self.bump();
                let made = if is_broadcast {
                    self.made.broadcast(protocol)
                } else {
                    self.made.multicast(protocol)
                };
                let part = made.map_err(|why| self.refused(from, why))?;
                return Ok((part, None));
            }
        }
        let direction = self.direction();
        let kind = self.kind(direction.is_some());
        match (protocol, direction, kind) {
            (Some(protocol), None, None) => {
                if !self.is_behind_primitive() {
                    return Err(self.wrong("a qualifier, 'and', 'or' or the end"));
                }
                let made = self.made.protocol(protocol);
                let part = made.map_err(|why| self.refused(from, why))?;
                Ok((part, None))
            }
            (None, None, None) => Err(self.wrong("a primitive, such as 'host', 'port' or 'tcp'")),
            _ => {
                let qualifiers = Qualifiers {
                    protocol,
                    direction: direction.unwrap_or(Direction::Any),
                    kind: kind.unwrap_or(Kind::Any),
                };
                let part = self.value(qualifiers)?;
                Ok((part, Some(qualifiers)))
            }
        }
    }

    /// Whether what comes next may stand behind a whole primitive.
    fn is_behind_primitive(&self) -> bool {
        matches!(
            self.peek(),
            None | Some(Token::Key(Key::And | Key::Or) | Token::Sign(")"))
        )
    }

    fn direction(&mut self) -> Option<Direction> {
        let (one, other, direction) = match self.peek()? {
            Token::Key(Key::Src) => (Key::Src, Key::Dst, Direction::Source),
            Token::Key(Key::Dst) => (Key::Dst, Key::Src, Direction::Destination),
            _ => return None,
        };
        debug_assert!(self.is_key(one), "as was just seen");
        self.bump();
        let joined = match (self.peek(), self.ahead(1)) {
            (Some(Token::Key(Key::Or)), Some(Token::Key(key))) if *key == other => {
                Some(Direction::Either)
            }
            (Some(Token::Key(Key::And)), Some(Token::Key(key))) if *key == other => {
                Some(Direction::Both)
            }
            _ => None,
        };
        if joined.is_some() {
            self.at += 2;
        }
        joined.or(Some(direction))
    }

    /// What kind of value comes next; a protocol has no direction.
    fn kind(&mut self, is_directed: bool) -> Option<Kind> {
        let kind = match self.peek()? {
            Token::Key(Key::Host) => Kind::Host,
            Token::Key(Key::Net) => Kind::Net,
            Token::Key(Key::Port) => Kind::Port,
            Token::Key(Key::PortRange) => Kind::PortRange,
            Token::Key(Key::Proto) if !is_directed => Kind::Proto,
            _ => return None,
        };
        self.bump();
        Some(kind)
    }
}
