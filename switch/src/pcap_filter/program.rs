//! A compiled filter: tests that each lead to the next one, to yes or to no.
//!
//! As in the classic BPF of libpcap, a test that reads behind the end of a frame ends the run with no,
//! whatever stands around it, `not` included; so does a division by zero. A test leads only forward in the
//! order in which they are asked, so a run ends; nothing is allocated.

/// Values that an arithmetic expression keeps at a time: the registers of classic BPF.
pub(super) const REGISTERS: usize = 16;
/// Tests of a filter, at most.
pub(super) const TESTS: usize = 8192;

/// The target of a test that ends the run with yes.
const YES: u32 = u32::MAX;
/// The target of a test that ends the run with no.
const NO: u32 = u32::MAX - 1;

/// How many bytes are read as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    One,
    Two,
    Four,
}

/// A step of an arithmetic expression, in postfix order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Number(u32),
    Length,
    /// The index on top becomes the bytes at this offset plus the index.
    Load(u32, Size),
    /// The same behind the IPv4 header at this offset.
    LoadBehindIpv4(u32, Size),
    Negate,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

/// What a test reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Bytes at an offset, and which bits of them.
    At(u32, Size, u32),
    /// Bytes at an offset behind the IPv4 header whose own offset comes first.
    BehindIpv4(u32, u32, Size),
    /// The length of the frame on the wire.
    Length,
    /// The left side of a relation; the right side is on top of it. Steps from, and up to.
    Relation(u32, u32),
}

/// How what was read compares with what it is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    Greater,
    GreaterEqual,
    /// Some bit is set in both.
    AnyBit,
}

impl Compare {
    const fn holds(self, left: u32, right: u32) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Greater => left > right,
            Self::GreaterEqual => left >= right,
            Self::AnyBit => left & right != 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Test {
    read: Read,
    compare: Compare,
    against: u32,
    yes: u32,
    no: u32,
}

/// A part of a program whose ways out lead nowhere yet: tests, and which of their two ways.
#[derive(Debug)]
pub(super) struct Part {
    first: u32,
    yes: Vec<(u32, bool)>,
    no: Vec<(u32, bool)>,
}

impl Part {
    /// Yes and no change places.
    pub(super) fn not(self) -> Self {
        Self {
            first: self.first,
            yes: self.no,
            no: self.yes,
        }
    }
}

/// A program; empty, it says yes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Program {
    tests: Vec<Test>,
    steps: Vec<Op>,
    first: u32,
}

impl Program {
    /// Adds a test; `None` if there are too many.
    pub(super) fn test(&mut self, read: Read, compare: Compare, against: u32) -> Option<Part> {
        let number = self.tests.len() as u32;
        if self.tests.len() >= TESTS {
            return None;
        }
        self.tests.push(Test {
            read,
            compare,
            against,
            yes: NO,
            no: NO,
        });
        Some(Part {
            first: number,
            yes: vec![(number, true)],
            no: vec![(number, false)],
        })
    }

    pub(super) fn and(&mut self, left: Part, mut right: Part) -> Part {
        self.lead(&left.yes, right.first);
        let mut no = left.no;
        no.append(&mut right.no);
        Part {
            first: left.first,
            yes: right.yes,
            no,
        }
    }

    pub(super) fn or(&mut self, left: Part, right: Part) -> Part {
        self.and(left.not(), right.not()).not()
    }

    fn lead(&mut self, ways: &[(u32, bool)], to: u32) {
        for &(test, way) in ways {
            let test = &mut self.tests[test as usize];
            *(if way { &mut test.yes } else { &mut test.no }) = to;
        }
    }

    /// The program is this part.
    pub(super) fn finish(&mut self, all: &Part) {
        self.first = all.first;
        self.lead(&all.yes, YES);
        self.lead(&all.no, NO);
    }

    /// Adds a step of an arithmetic expression.
    pub(super) fn step(&mut self, op: Op) {
        self.steps.push(op);
    }

    /// How many steps there are.
    pub(super) fn steps(&self) -> u32 {
        self.steps.len() as u32
    }

    /// Whether a frame passes of which `frame` is there and `length` bytes were on the wire.
    pub(super) fn run(&self, frame: &[u8], length: u32) -> bool {
        let mut next = if self.tests.is_empty() {
            YES
        } else {
            self.first
        };
        while let Some(test) = self.tests.get(next as usize) {
            let Some(holds) = self.holds(test, frame, length) else {
                return false;
            };
            next = if holds { test.yes } else { test.no };
        }
        next == YES
    }

    fn holds(&self, test: &Test, frame: &[u8], length: u32) -> Option<bool> {
        let (left, right) = match test.read {
            Read::At(offset, size, mask) => (load(frame, offset, size)? & mask, test.against),
            Read::BehindIpv4(network, offset, size) => {
                let at = network + offset + ipv4_header(frame, network)?;
                (load(frame, at, size)?, test.against)
            }
            Read::Length => (length, test.against),
            Read::Relation(from, to) => {
                let steps = self.steps.get(from as usize..to as usize)?;
                relation(steps, frame, length)?
            }
        };
        Some(test.compare.holds(left, right))
    }
}

/// The number at an offset; `None` behind the end.
fn load(frame: &[u8], offset: u32, size: Size) -> Option<u32> {
    let rest = frame.get(offset as usize..)?;
    Some(match size {
        Size::One => u32::from(*rest.first()?),
        Size::Two => u32::from(u16::from_be_bytes(*rest.first_chunk()?)),
        Size::Four => u32::from_be_bytes(*rest.first_chunk()?),
    })
}

/// How long the IPv4 header at `network` says that it is, in bytes.
fn ipv4_header(frame: &[u8], network: u32) -> Option<u32> {
    Some((load(frame, network, Size::One)? & 0xf) * 4)
}

/// Both sides of a relation.
fn relation(steps: &[Op], frame: &[u8], length: u32) -> Option<(u32, u32)> {
    let (mut stack, mut height) = ([0_u32; REGISTERS], 0_usize);
    for &op in steps {
        match op {
            Op::Number(_) | Op::Length => {
                *stack.get_mut(height)? = if let Op::Number(number) = op {
                    number
                } else {
                    length
                };
                height += 1;
            }
            Op::Load(..) | Op::LoadBehindIpv4(..) | Op::Negate => {
                let top = stack.get_mut(height.checked_sub(1)?)?;
                *top = unary(op, *top, frame)?;
            }
            _ => {
                height = height.checked_sub(1).filter(|&left| left > 0)?;
                stack[height - 1] = binary(op, stack[height - 1], stack[height])?;
            }
        }
    }
    (height == 2).then_some((stack[0], stack[1]))
}

fn unary(op: Op, top: u32, frame: &[u8]) -> Option<u32> {
    match op {
        Op::Load(base, size) => load(frame, base.checked_add(top)?, size),
        Op::LoadBehindIpv4(base, size) => {
            // An index may go back into the header.
            let at = top.wrapping_add(ipv4_header(frame, base)?);
            load(frame, base.checked_add(at)?, size)
        }
        _ => Some(top.wrapping_neg()),
    }
}

fn binary(op: Op, left: u32, right: u32) -> Option<u32> {
    Some(match op {
        Op::Add => left.wrapping_add(right),
        Op::Subtract => left.wrapping_sub(right),
        Op::Multiply => left.wrapping_mul(right),
        Op::Divide => left.checked_div(right)?,
        Op::Modulo => left.checked_rem(right)?,
        Op::And => left & right,
        Op::Or => left | right,
        Op::Xor => left ^ right,
        Op::ShiftLeft => left.checked_shl(right).unwrap_or(0),
        Op::ShiftRight => left.checked_shr(right).unwrap_or(0),
        Op::Number(_) | Op::Length | Op::Load(..) | Op::LoadBehindIpv4(..) | Op::Negate => {
            return None;
        }
    })
}
