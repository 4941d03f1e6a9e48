//! Comparisons of numbers: `tcp[tcpflags] & tcp-syn != 0`, `ip[8] < 5`, `len > 1000`.
//!
//! All numbers are of 32 bits, without a sign, and wrap. What a field needs (that the packet is TCP at all)
//! is asked before anything is read; as in libpcap only the first field of a sum is asked for. `%` and `^`
//! take everything to their right, since libpcap's grammar gives them no precedence.

use super::error::FilterError;
use super::lex::{Key, Protocol, Token};
use super::parse::Parser;
use super::program::{Compare, Op, Part, REGISTERS, Read, Size};

/// The precedence of a sign with one operand, above all others.
const UNARY: u8 = 6;

/// A value that is on top now.
struct Value {
    /// What must be so before it can be read.
    before: Option<Part>,
    /// It is this number, as it was written.
    literal: Option<u32>,
}

impl Parser<'_> {
    /// Two numbers and how they are compared.
    pub(super) fn relation(&mut self) -> Result<Part, FilterError> {
        let from = self.made.program.steps();
        self.height = 0;
        let left = self.arithmetic(0)?;
        let (compare, is_reversed) = match self.peek() {
            Some(Token::Sign(">")) => (Compare::Greater, false),
            Some(Token::Sign(">=")) => (Compare::GreaterEqual, false),
            Some(Token::Sign("=")) => (Compare::Equal, false),
            Some(Token::Sign("<=")) => (Compare::Greater, true),
            Some(Token::Sign("<")) => (Compare::GreaterEqual, true),
            Some(Token::Sign("!=")) => (Compare::Equal, true),
            _ => return Err(self.wrong("a comparison: =, !=, <, >, <= or >=")),
        };
        let column = self.column();
        self.bump();
        let right = self.arithmetic(0)?;
        let read = Read::Relation(from, self.made.program.steps());
        let made = self.made.test(read, compare, 0);
        let mut part = made.map_err(|why| FilterError::new(column, why))?;
        if is_reversed {
            part = part.not();
        }
        let before = match (left.before, right.before) {
            (Some(left), Some(right)) => Some(self.made.and(left, right)),
            (left, right) => left.or(right),
        };
        Ok(match before {
            Some(before) => self.made.and(before, part),
            None => part,
        })
    }

    /// A sum of operators that bind more than `than`.
    fn arithmetic(&mut self, than: u8) -> Result<Value, FilterError> {
        self.deeper(|parser| {
            let mut left = parser.operand()?;
            while let Some((op, precedence)) = parser.operator() {
                let is_greedy = precedence == 0;
                if precedence <= than && !is_greedy {
                    break;
                }
                parser.bump();
                let column = parser.column();
                let right = parser.arithmetic(precedence)?;
                if let Some(message) = impossible(op, right.literal) {
                    return Err(FilterError::new(column, message));
                }
                parser.made.program.step(op);
                parser.height -= 1;
                left.literal = None;
            }
            Ok(left)
        })
    }

    /// The next operator and how much it binds; 0 takes everything to its right.
    fn operator(&self) -> Option<(Op, u8)> {
        let &Token::Sign(sign) = self.peek()? else {
            return None;
        };
        Some(match sign {
            "|" => (Op::Or, 1),
            "&" => (Op::And, 2),
            "<<" => (Op::ShiftLeft, 3),
            ">>" => (Op::ShiftRight, 3),
            "+" => (Op::Add, 4),
            "-" => (Op::Subtract, 4),
            "*" => (Op::Multiply, 5),
            "/" => (Op::Divide, 5),
            "%" => (Op::Modulo, 0),
            "^" => (Op::Xor, 0),
            _ => return None,
        })
    }

    fn operand(&mut self) -> Result<Value, FilterError> {
        match self.peek() {
            Some(&Token::Number(number)) => {
                self.push(Op::Number(number))?;
                self.bump();
                Ok(Value {
                    before: None,
                    literal: Some(number),
                })
            }
            Some(Token::Key(Key::Len)) => {
                self.push(Op::Length)?;
                self.bump();
                Ok(Value {
                    before: None,
                    literal: None,
                })
            }
            Some(Token::Sign("-")) => {
                self.bump();
                let value = self.arithmetic(UNARY)?;
                self.made.program.step(Op::Negate);
                Ok(Value {
                    before: value.before,
                    literal: None,
                })
            }
            Some(Token::Sign("(")) => {
                self.bump();
                let value = self.arithmetic(0)?;
                self.expect(")", "an operator or ')'")?;
                Ok(value)
            }
            Some(&Token::Protocol(protocol)) => {
                self.bump();
                self.field(protocol)
            }
            _ => Err(self.wrong("a number, 'len' or a field such as ip[8]")),
        }
    }

    /// One more value on top.
    fn push(&mut self, op: Op) -> Result<(), FilterError> {
        if self.height >= REGISTERS {
            let message = "out of registers needed to evaluate expression";
            return Err(FilterError::new(self.column(), message));
        }
        self.height += 1;
        self.made.program.step(op);
        Ok(())
    }

    /// `[index]` or `[index:size]` behind a protocol.
    fn field(&mut self, protocol: Protocol) -> Result<Value, FilterError> {
        let column = self.column();
        self.expect("[", "'[' and an offset")?;
        let index = self.arithmetic(0)?;
        let mut size = Size::One;
        if self.is_sign(":") {
            self.bump();
            size = match self.peek() {
                Some(Token::Number(1)) => Size::One,
                Some(Token::Number(2)) => Size::Two,
                Some(Token::Number(4)) => Size::Four,
                Some(Token::Number(_)) => {
                    let message = "data size must be 1, 2, or 4";
                    return Err(FilterError::new(self.column(), message));
                }
                _ => return Err(self.wrong("a size: 1, 2 or 4")),
            };
            self.bump();
        }
        self.expect("]", "an operator, ':' or ']'")?;
        let before = self.made.load(protocol, size, index.before);
        Ok(Value {
            before: before.map_err(|why| FilterError::new(column, why))?,
            literal: None,
        })
    }
}

/// Why no number comes of it.
fn impossible(op: Op, right: Option<u32>) -> Option<&'static str> {
    match (op, right?) {
        (Op::Divide, 0) => Some("division by zero"),
        (Op::Modulo, 0) => Some("modulus by zero"),
        (Op::ShiftLeft | Op::ShiftRight, 32..) => Some("shift by more than 31 bits"),
        _ => None,
    }
}
