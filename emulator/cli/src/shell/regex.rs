//! Regular expressions of `grep`, `sed` and `awk`.
//!
//! Models POSIX basic and extended expressions with GNU's `\w \W \s \S \b \< \> \+ \? \|`. Leaves out
//! back references inside the pattern. Where POSIX takes the longest of several alternatives, the
//! first one that fits is taken. A match visits each (instruction, place) once, so its time is bounded
//! by their product.

/// The longest pattern, in characters.
const MAX_PATTERN: usize = 1000;
/// The most instructions, after `{m,n}` has been written out.
const MAX_PROGRAM: usize = 20_000;
/// The most groups that are remembered.
const GROUPS: usize = 10;
/// The deepest nesting of groups.
const MAX_DEPTH: usize = 50;

/// How a pattern is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Basic: `\(`, `\{`, `\+`, `\?`, `\|` are special.
    Basic,
    /// Extended: `(`, `{`, `+`, `?`, `|` are special.
    Extended,
    /// No character is special.
    Fixed,
}

/// A pattern that could be read.
#[derive(Clone, Debug)]
pub struct Regex {
    program: Vec<Inst>,
    fold: bool,
}

/// Where the whole pattern and its groups match, in characters.
pub type Captures = [Option<(usize, usize)>; GROUPS];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Inst {
    Char(char),
    Any,
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    Split(usize, usize),
    Jump(usize),
    Save(usize),
    Start,
    End,
    Edge {
        start: bool,
        end: bool,
    },
    Match,
}

#[derive(Clone, Debug)]
enum Ast {
    Empty,
    One(Inst),
    Cat(Vec<Self>),
    Or(Box<Self>, Box<Self>),
    Repeat(Box<Self>, usize, Option<usize>),
    Group(usize, Box<Self>),
}

impl Regex {
    /// Reads a pattern; `fold` ignores case.
    ///
    /// # Errors
    /// What is wrong with it, as `grep` words it.
    pub fn new(pattern: &str, syntax: Syntax, fold: bool) -> Result<Self, String> {
        let chars: Vec<char> = pattern.chars().collect();
        if chars.len() > MAX_PATTERN {
            return Err("Regular expression too big".to_owned());
        }
        let ast = if syntax == Syntax::Fixed {
            Ast::Cat(chars.iter().map(|c| Ast::One(Inst::Char(*c))).collect())
        } else {
            let mut parser = Parser {
                chars: &chars,
                at: 0,
                syntax,
                groups: 0,
                depth: 0,
            };
            let ast = parser.alternatives()?;
            if parser.at < chars.len() {
                return Err("Unmatched ) or \\)".to_owned());
            }
            ast
        };
        let mut program = Vec::new();
        emit(&ast, &mut program)?;
        program.push(Inst::Match);
        Ok(Self { program, fold })
    }

    /// Whether the pattern matches somewhere in `text`.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        let chars: Vec<char> = text.chars().collect();
        self.find(&chars, 0).is_some()
    }

    /// The first match at or after `from`.
    #[must_use]
    pub fn find(&self, text: &[char], from: usize) -> Option<Captures> {
        // A state that failed once fails again from a later start.
        let mut seen = vec![false; self.program.len() * (text.len() + 1)];
        (from..=text.len()).find_map(|start| self.match_at(text, start, &mut seen))
    }

    fn match_at(&self, text: &[char], start: usize, seen: &mut [bool]) -> Option<Captures> {
        let mut stack = vec![(0, start, [None; 2 * GROUPS])];
        while let Some((mut pc, mut at, mut saved)) = stack.pop() {
            loop {
                let cell = pc * (text.len() + 1) + at;
                if core::mem::replace(&mut seen[cell], true) {
                    break;
                }
                match &self.program[pc] {
                    Inst::Match => return Some(captures(start, at, &saved)),
                    Inst::Jump(to) => pc = *to,
                    Inst::Split(first, second) => {
                        stack.push((*second, at, saved));
                        pc = *first;
                    }
                    Inst::Save(slot) => {
                        if let Some(place) = saved.get_mut(*slot) {
                            *place = Some(at);
                        }
                        pc += 1;
                    }
                    inst @ (Inst::Start | Inst::End | Inst::Edge { .. }) => {
                        if !stands(inst, text, at) {
                            break;
                        }
                        pc += 1;
                    }
                    inst => {
                        if !text.get(at).is_some_and(|c| self.takes(inst, *c)) {
                            break;
                        }
                        at += 1;
                        pc += 1;
                    }
                }
            }
        }
        None
    }

    fn takes(&self, inst: &Inst, c: char) -> bool {
        let one = |c: char| match inst {
            Inst::Any => true,
            Inst::Char(wanted) => *wanted == c,
            Inst::Set { ranges, .. } => ranges.iter().any(|(a, b)| (*a..=*b).contains(&c)),
            _ => false,
        };
        let mut found = one(c);
        if self.fold && !found {
            found = c.to_lowercase().any(one) || c.to_uppercase().any(one);
        }
        found != matches!(inst, Inst::Set { negated: true, .. })
    }
}

fn captures(start: usize, end: usize, saved: &[Option<usize>; 2 * GROUPS]) -> Captures {
    let mut captures: Captures = [None; GROUPS];
    captures[0] = Some((start, end));
    for (group, capture) in captures.iter_mut().enumerate().skip(1) {
        *capture = saved[2 * group].zip(saved[2 * group + 1]);
    }
    captures
}

/// Whether a place is what an anchor asks for.
fn stands(inst: &Inst, text: &[char], at: usize) -> bool {
    let word = |i: Option<usize>| {
        i.and_then(|i| text.get(i))
            .is_some_and(|c| *c == '_' || c.is_alphanumeric())
    };
    let (before, after) = (word(at.checked_sub(1)), word(Some(at)));
    match inst {
        Inst::Start => at == 0,
        Inst::End => at == text.len(),
        Inst::Edge { start, end } => *start && !before && after || *end && before && !after,
        _ => false,
    }
}

fn emit(ast: &Ast, program: &mut Vec<Inst>) -> Result<(), String> {
    if program.len() > MAX_PROGRAM {
        return Err("Regular expression too big".to_owned());
    }
    match ast {
        Ast::Empty => {}
        Ast::One(inst) => program.push(inst.clone()),
        Ast::Cat(all) => {
            for one in all {
                emit(one, program)?;
            }
        }
        Ast::Or(a, b) => {
            let split = program.len();
            program.push(Inst::Match);
            emit(a, program)?;
            let jump = program.len();
            program.push(Inst::Match);
            program[split] = Inst::Split(split + 1, program.len());
            emit(b, program)?;
            program[jump] = Inst::Jump(program.len());
        }
        Ast::Group(group, inner) => {
            program.push(Inst::Save(2 * group));
            emit(inner, program)?;
            program.push(Inst::Save(2 * group + 1));
        }
        Ast::Repeat(inner, least, most) => {
            for _ in 0..*least {
                emit(inner, program)?;
            }
            match most {
                None => {
                    let split = program.len();
                    program.push(Inst::Match);
                    emit(inner, program)?;
                    program.push(Inst::Jump(split));
                    program[split] = Inst::Split(split + 1, program.len());
                }
                Some(most) => {
                    let mut splits = Vec::new();
                    for _ in *least..*most {
                        splits.push(program.len());
                        program.push(Inst::Match);
                        emit(inner, program)?;
                    }
                    let end = program.len();
                    for split in splits {
                        program[split] = Inst::Split(split + 1, end);
                    }
                }
            }
        }
    }
    Ok(())
}

struct Parser<'a> {
    chars: &'a [char],
    at: usize,
    syntax: Syntax,
    groups: usize,
    depth: usize,
}

impl Parser<'_> {
    /// Whether the special sign `c` stands here, in the way this syntax writes it; its length.
    fn special(&self, c: char) -> Option<usize> {
        let here = self.chars.get(self.at)?;
        match self.syntax {
            Syntax::Extended => (*here == c).then_some(1),
            _ => (*here == '\\' && self.chars.get(self.at + 1) == Some(&c)).then_some(2),
        }
    }

    fn take(&mut self, c: char) -> bool {
        let len = self.special(c);
        self.at += len.unwrap_or(0);
        len.is_some()
    }

    fn alternatives(&mut self) -> Result<Ast, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("Regular expression too big".to_owned());
        }
        let mut ast = self.sequence()?;
        while self.take('|') {
            ast = Ast::Or(Box::new(ast), Box::new(self.sequence()?));
        }
        self.depth -= 1;
        Ok(ast)
    }

    fn sequence(&mut self) -> Result<Ast, String> {
        let mut all = Vec::new();
        while self.at < self.chars.len() && self.special('|').is_none() {
            if self.depth > 1 && self.special(')').is_some() {
                break;
            }
            if self.syntax == Syntax::Extended && self.depth == 1 && self.special(')').is_some() {
                return Err("Unmatched ) or \\)".to_owned());
            }
            let atom = self.atom(all.is_empty())?;
            let anchor = matches!(atom, Ast::One(Inst::Start));
            let atom = if anchor { atom } else { self.repeats(atom)? };
            all.push(atom);
        }
        Ok(match all.len() {
            0 => Ast::Empty,
            _ => Ast::Cat(all),
        })
    }

    fn repeats(&mut self, mut atom: Ast) -> Result<Ast, String> {
        loop {
            if self.chars.get(self.at) == Some(&'*') {
                self.at += 1;
                atom = Ast::Repeat(Box::new(atom), 0, None);
            } else if self.take('+') {
                atom = Ast::Repeat(Box::new(atom), 1, None);
            } else if self.take('?') {
                atom = Ast::Repeat(Box::new(atom), 0, Some(1));
            } else if self.take('{') {
                let (least, most) = self.bounds()?;
                atom = Ast::Repeat(Box::new(atom), least, most);
            } else {
                return Ok(atom);
            }
        }
    }

    fn bounds(&mut self) -> Result<(usize, Option<usize>), String> {
        let bad = || "Invalid content of \\{\\}".to_owned();
        let least = self.number();
        let mut most = least;
        if self.chars.get(self.at) == Some(&',') {
            self.at += 1;
            most = self.number();
        } else if least.is_none() {
            return Err(bad());
        }
        if !self.take('}') {
            return Err("Unmatched { or \\{".to_owned());
        }
        let least = least.unwrap_or(0);
        if least > 255 || most.is_some_and(|most| most > 255 || most < least) {
            return Err(bad());
        }
        Ok((least, most))
    }

    fn number(&mut self) -> Option<usize> {
        let mut value = None;
        while let Some(digit) = self.chars.get(self.at).and_then(|c| c.to_digit(10)) {
            let sum = value.unwrap_or(0_usize) * 10 + digit as usize;
            value = Some(sum.min(10_000));
            self.at += 1;
        }
        value
    }

    fn atom(&mut self, first: bool) -> Result<Ast, String> {
        if self.take('(') {
            self.groups += 1;
            let group = self.groups;
            let inner = self.alternatives()?;
            if !self.take(')') {
                return Err("Unmatched ( or \\(".to_owned());
            }
            return Ok(if group < GROUPS {
                Ast::Group(group, Box::new(inner))
            } else {
                inner
            });
        }
        let c = self.chars[self.at];
        self.at += 1;
        let last = self.at == self.chars.len()
            || self.special('|').is_some()
            || self.depth > 1 && self.special(')').is_some();
        Ok(match c {
            '.' => Ast::One(Inst::Any),
            '[' => self.set()?,
            '^' if first || self.syntax == Syntax::Extended => Ast::One(Inst::Start),
            '$' if last || self.syntax == Syntax::Extended => Ast::One(Inst::End),
            '\\' => {
                let Some(c) = self.chars.get(self.at).copied() else {
                    return Err("Trailing backslash".to_owned());
                };
                self.at += 1;
                escaped(c)
            }
            '*' | '+' | '?' if first && self.syntax == Syntax::Extended => {
                return Err("Invalid preceding regular expression".to_owned());
            }
            c => Ast::One(Inst::Char(c)),
        })
    }

    fn set(&mut self) -> Result<Ast, String> {
        let unmatched = || "Unmatched [, [^, [:, [., or [=".to_owned();
        let negated = self.chars.get(self.at) == Some(&'^');
        self.at += usize::from(negated);
        let mut ranges = Vec::new();
        let start = self.at;
        loop {
            let c = *self.chars.get(self.at).ok_or_else(unmatched)?;
            if c == ']' && self.at > start {
                self.at += 1;
                return Ok(Ast::One(Inst::Set { negated, ranges }));
            }
            if c == '[' && self.chars.get(self.at + 1) == Some(&':') {
                let rest = &self.chars[self.at + 2..];
                let end = rest
                    .windows(2)
                    .position(|pair| pair == [':', ']'])
                    .ok_or_else(unmatched)?;
                let name: String = rest[..end].iter().collect();
                ranges.extend_from_slice(class(&name)?);
                self.at += end + 4;
                continue;
            }
            let dash = self.chars.get(self.at + 1) == Some(&'-');
            match self.chars.get(self.at + 2) {
                Some(to) if dash && *to != ']' => {
                    if *to < c {
                        return Err("Invalid range end".to_owned());
                    }
                    ranges.push((c, *to));
                    self.at += 3;
                }
                _ => {
                    ranges.push((c, c));
                    self.at += 1;
                }
            }
        }
    }
}

fn class(name: &str) -> Result<&'static [(char, char)], String> {
    Ok(match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "blank" => &[(' ', ' '), ('\t', '\t')],
        "digit" => &[('0', '9')],
        "lower" => &[('a', 'z')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[(' ', ' '), ('\t', '\r')],
        "upper" => &[('A', 'Z')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return Err("Invalid character class name".to_owned()),
    })
}

fn escaped(c: char) -> Ast {
    const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
    const SPACE: &[(char, char)] = &[(' ', ' '), ('\t', '\r')];
    let set = |ranges: &[(char, char)], negated| {
        Ast::One(Inst::Set {
            negated,
            ranges: ranges.to_vec(),
        })
    };
    let edge = |start, end| Ast::One(Inst::Edge { start, end });
    match c {
        'w' => set(WORD, false),
        'W' => set(WORD, true),
        's' => set(SPACE, false),
        'S' => set(SPACE, true),
        'd' => set(&[('0', '9')], false),
        'b' => edge(true, true),
        '<' => edge(true, false),
        '>' => edge(false, true),
        'n' => Ast::One(Inst::Char('\n')),
        't' => Ast::One(Inst::Char('\t')),
        c => Ast::One(Inst::Char(c)),
    }
}
