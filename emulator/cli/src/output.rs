//! What a command wrote, in the order in which it wrote it, and how it ended.

/// Where a piece of output went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// The most that one command may write, in bytes. What comes after is cut.
pub const LIMIT: usize = 4 << 20;

/// A command's output and exit code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The pieces, in the order in which they were written.
    pub parts: Vec<(Stream, String)>,
    /// The exit code.
    pub code: u8,
}

impl Output {
    /// A success that wrote `text` to standard output.
    pub fn out(text: impl Into<String>) -> Self {
        let mut output = Self::default();
        output.push(Stream::Out, text);
        output
    }

    /// A failure with exit code `code` that wrote `text` to standard error.
    pub fn err(text: impl Into<String>, code: u8) -> Self {
        let mut output = Self {
            parts: Vec::new(),
            code,
        };
        output.push(Stream::Err, text);
        output
    }

    /// Adds a piece, up to [`LIMIT`] in all.
    pub fn push(&mut self, stream: Stream, text: impl Into<String>) {
        let mut text = text.into();
        let room = LIMIT.saturating_sub(self.len());
        if text.len() > room {
            let mut end = room;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
        }
        if text.is_empty() {
            return;
        }
        match self.parts.last_mut() {
            Some((last, old)) if *last == stream => old.push_str(&text),
            _ => self.parts.push((stream, text)),
        }
    }

    /// Adds what another command wrote after this one and takes its exit code.
    pub fn append(&mut self, other: Self) {
        for (stream, text) in other.parts {
            self.push(stream, text);
        }
        self.code = other.code;
    }

    /// Bytes written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|(_, text)| text.len()).sum()
    }

    /// Nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// What went to standard output.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.only(Stream::Out)
    }

    /// What went to standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.only(Stream::Err)
    }

    /// Both, in the order written, as a terminal shows them.
    #[must_use]
    pub fn text(&self) -> String {
        self.parts.iter().map(|(_, text)| text.as_str()).collect()
    }

    fn only(&self, wanted: Stream) -> String {
        let parts = self.parts.iter().filter(|(stream, _)| *stream == wanted);
        parts.map(|(_, text)| text.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_of_both_streams() {
        let mut output = Output::out("a\n");
        output.push(Stream::Err, "b\n");
        output.push(Stream::Out, "c\n");
        assert_eq!(output.text(), "a\nb\nc\n");
        assert_eq!(output.stdout(), "a\nc\n");
        assert_eq!(output.stderr(), "b\n");
    }

    #[test]
    fn cuts_at_the_limit_on_a_character() {
        let output = Output::out("é".repeat(LIMIT / 2 + 10));
        assert_eq!(output.len(), LIMIT);
        let mut odd = Output::out("x");
        odd.push(Stream::Out, "é".repeat(LIMIT));
        assert_eq!(odd.len(), LIMIT - 1);
    }
}
