//! The lines of a client, from bytes as they come. Pure: no descriptor, no clock.

use serde_json::Value;

use super::REQUEST;

/// Bytes that were read and not taken yet: less than a request, or a request and the beginning of the next.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// How many of them are known to hold no end of line.
    seen: usize,
}

impl Lines {
    /// Takes bytes. Nothing more is to be read while [`Lines::has_line`] or [`Lines::is_over`].
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn end(&mut self) -> Option<usize> {
        let end = self.bytes[self.seen..]
            .iter()
            .position(|byte| *byte == b'\n');
        match end {
            Some(end) => Some(self.seen + end),
            None => {
                self.seen = self.bytes.len();
                None
            }
        }
    }

    /// Whether a line is there.
    pub fn has_line(&mut self) -> bool {
        self.end().is_some()
    }

    /// Whether what is there is no line and longer than a request may be.
    pub fn is_over(&mut self) -> bool {
        self.bytes.len() >= REQUEST && !self.has_line()
    }

    /// The next line, without its end.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        let end = self.end()?;
        let rest = self.bytes.split_off(end + 1);
        let mut line = core::mem::replace(&mut self.bytes, rest);
        line.pop();
        self.seen = 0;
        Some(line)
    }
}

/// A request: an object with a `"verb"` that is text.
#[must_use]
pub fn request(line: &[u8]) -> Option<Value> {
    let request: Value = serde_json::from_slice(line).ok()?;
    request["verb"].is_string().then_some(request)
}
