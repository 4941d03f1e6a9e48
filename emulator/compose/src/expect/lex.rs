//! A sentence as words. `,` and `->` are words of their own; a name in double quotes is the first
//! part of its word and keeps what it holds.

use core::ops::Range;

use super::Wrong;
use crate::error::ErrorKind;

/// How long a sentence may be, in bytes.
pub(crate) const MAX_SENTENCE: usize = 4096;

/// A word and where it stands, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// The word; of `"a b":80` it is `a b`.
    pub(crate) text: String,
    /// What follows a quoted name, as `:80`.
    pub(crate) rest: String,
    /// It began with a quote.
    pub(crate) quoted: bool,
    pub(crate) range: Range<usize>,
}

impl Word {
    /// It is this keyword or sign.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text == keyword
    }
}

/// Cuts `text` into words.
pub(crate) fn words(text: &str) -> Result<Vec<Word>, Wrong> {
    if text.len() > MAX_SENTENCE {
        return Err(Wrong {
            kind: ErrorKind::TooLarge,
            range: 0..0,
            message: format!("an expectation has at most {MAX_SENTENCE} bytes"),
            hint: None,
        });
    }
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let word = word(text, at)?;
        at = word.range.end;
        words.push(word);
    }
    Ok(words)
}

fn word(text: &str, start: usize) -> Result<Word, Wrong> {
    let rest = &text[start..];
    let plain = |text: &str, len: usize| Word {
        text: text.to_owned(),
        rest: String::new(),
        quoted: false,
        range: start..start + len,
    };
    for sign in [",", "->"] {
        if rest.starts_with(sign) {
            return Ok(plain(sign, sign.len()));
        }
    }
    let Some(inner) = rest.strip_prefix('"') else {
        let len = end(rest);
        return Ok(plain(&rest[..len], len));
    };
    let Some(close) = inner.find('"') else {
        return Err(Wrong {
            kind: ErrorKind::Invalid,
            range: start..text.len(),
            message: "a quote is not closed".to_owned(),
            hint: None,
        });
    };
    let tail = &inner[close + 1..];
    let len = end(tail);
    Ok(Word {
        text: inner[..close].to_owned(),
        rest: tail[..len].to_owned(),
        quoted: true,
        range: start..start + close + 2 + len,
    })
}

/// Where a word ends.
fn end(text: &str) -> usize {
    let stop = text.find(|c: char| c.is_whitespace() || c == ',' || c == '"');
    let stop = stop.unwrap_or(text.len());
    text[..stop].find("->").unwrap_or(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_signs() {
        let words = words("a,b->\"any\":80 [::1]:53/udp  é").unwrap();
        let seen: Vec<(&str, &str, Range<usize>)> = words
            .iter()
            .map(|word| (word.text.as_str(), word.rest.as_str(), word.range.clone()))
            .collect();
        assert_eq!(
            seen,
            [
                ("a", "", 0..1),
                (",", "", 1..2),
                ("b", "", 2..3),
                ("->", "", 3..5),
                ("any", ":80", 5..13),
                ("[::1]:53/udp", "", 14..26),
                ("é", "", 28..30),
            ]
        );
        assert_eq!(super::words("a \"b").unwrap_err().range, 2..4);
    }
}
