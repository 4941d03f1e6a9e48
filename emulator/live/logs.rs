//! What the programs of the services wrote: the last of it, line by line.

use std::collections::VecDeque;

use emulator_core::switch::Time;

/// Lines that are kept.
const LINES: usize = 10_000;
/// Bytes that are kept.
const BYTES: usize = 1 << 20;
/// Bytes of a line; a longer one is told as several.
const LINE: usize = 16 << 10;

/// In place of a container: a sentence of vethlab's own.
pub(super) const NOTICE: usize = usize::MAX;

/// A line that a program wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Which container, by its place in the project's start order.
    pub(super) container: usize,
    /// When, in lab time.
    pub(super) at: Time,
    /// To its standard error.
    pub(super) error: bool,
    /// Without its end.
    pub(super) text: String,
}

/// The last lines of all programs, in the order in which they were written.
#[derive(Debug, Default)]
pub(super) struct Logs {
    lines: VecDeque<Line>,
    bytes: usize,
    /// What has no end yet, by container: standard output, and standard error.
    open: Vec<[String; 2]>,
}

impl Logs {
    /// Takes a piece of output and returns how many lines are new: the last ones of [`Logs::lines`].
    pub(super) fn push(&mut self, container: usize, at: Time, error: bool, text: &str) -> usize {
        if self.open.len() <= container {
            self.open.resize_with(container + 1, Default::default);
        }
        let open = &mut self.open[container][usize::from(error)];
        open.push_str(text);
        let mut whole = Vec::new();
        while let Some(end) = open.find('\n').filter(|end| *end <= LINE).or_else(|| {
            let long = open.len() > LINE;
            long.then(|| open.floor_char_boundary(LINE))
        }) {
            let cut = usize::from(open.as_bytes()[end] == b'\n');
            let rest = open.split_off(end + cut);
            open.truncate(end);
            whole.push(core::mem::replace(open, rest));
        }
        let new = whole.len();
        for text in whole {
            self.add(Line {
                container,
                at,
                error,
                text,
            });
        }
        new
    }

    /// A program has ended: what it left without an end of line is a line.
    pub(super) fn close(&mut self, container: usize, at: Time) -> usize {
        let mut new = 0;
        for error in [false, true] {
            let open = self
                .open
                .get(container)
                .map(|open| &open[usize::from(error)]);
            if open.is_some_and(|open| !open.is_empty()) {
                new += self.push(container, at, error, "\n");
            }
        }
        new
    }

    /// Takes a sentence of vethlab's own: one new line.
    pub(super) fn notice(&mut self, at: Time, text: String) {
        self.add(Line {
            container: NOTICE,
            at,
            error: true,
            text,
        });
    }

    fn add(&mut self, line: Line) {
        self.bytes += line.text.len();
        self.lines.push_back(line);
        while self.lines.len() > LINES || self.bytes > BYTES {
            match self.lines.pop_front() {
                Some(old) => self.bytes -= old.text.len(),
                None => return,
            }
        }
    }

    /// The last `count` lines, oldest first.
    pub(super) fn last(&self, count: usize) -> impl Iterator<Item = &Line> {
        let first = self.lines.len().saturating_sub(count);
        self.lines.range(first..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines() {
        let mut logs = Logs::default();
        let at = Time::ZERO;
        assert_eq!(logs.push(1, at, false, "one\ntw"), 1);
        assert_eq!(logs.push(1, at, true, "error\n"), 1);
        assert_eq!(logs.push(1, at, false, "o\n\nrest"), 2);
        assert_eq!(logs.close(1, at), 1);
        assert_eq!(logs.close(0, at), 0);
        let texts: Vec<&str> = logs.last(10).map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["one", "error", "two", "", "rest"]);
    }

    #[test]
    fn they_are_bounded() {
        let mut logs = Logs::default();
        for _ in 0..3 * LINES {
            logs.push(0, Time::ZERO, false, "x\n");
        }
        assert_eq!(logs.last(usize::MAX).count(), LINES);
        let long = "é".repeat(LINE);
        assert_eq!(logs.push(0, Time::ZERO, false, &long), 1);
        for _ in 0..100 {
            logs.push(0, Time::ZERO, false, &long);
        }
        assert!(logs.bytes <= BYTES);
        assert!(logs.last(5).all(|line| line.text.len() <= LINE));
    }
}
