//! The pieces of an answer, as both sides know them.

use serde_json::{Value, json};

/// Where bytes of an answer belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
    /// Neither: a file, such as a capture.
    Data,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Err => "err",
            Self::Data => "data",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Out, Self::Err, Self::Data]
            .into_iter()
            .find(|part| part.name() == name)
    }

    /// The line that goes before `bytes` bytes.
    #[must_use]
    pub fn head(self, bytes: usize) -> String {
        format!("{}\n", json!({"part": self.name(), "bytes": bytes}))
    }
}

/// A piece of an answer, or its end.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Bytes.
    Part(Part, Vec<u8>),
    /// A value for machines.
    Value(Value),
    /// The end: it could not be answered, for this reason.
    Error(String),
    /// The end: it was answered, with this exit code.
    Exit(u8),
}

/// What a line of an answer announces.
#[derive(Clone, Debug, PartialEq)]
pub enum Head {
    /// This many bytes follow.
    Bytes(Part, usize),
    /// It is all in the line.
    Whole(Answer),
}

impl Head {
    /// Reads a line; `None` if it is none of the protocol.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let object = value.as_object()?;
        if let Some(part) = object.get("part") {
            let part = Part::of(part.as_str()?)?;
            let bytes = usize::try_from(object.get("bytes")?.as_u64()?).ok()?;
            return Some(Self::Bytes(part, bytes));
        }
        if let Some(exit) = object.get("exit") {
            let code = u8::try_from(exit.as_u64()?).ok()?;
            return Some(Self::Whole(Answer::Exit(code)));
        }
        if let Some(error) = object.get("error") {
            return Some(Self::Whole(Answer::Error(error.as_str()?.to_owned())));
        }
        let value = object.get("value")?;
        Some(Self::Whole(Answer::Value(value.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written() {
        for part in [Part::Out, Part::Err, Part::Data] {
            let line = part.head(7);
            assert_eq!(Head::parse(line.trim_end()), Some(Head::Bytes(part, 7)));
        }
        let whole = |line: &str| match Head::parse(line) {
            Some(Head::Whole(answer)) => Some(answer),
            _ => None,
        };
        assert_eq!(whole(r#"{"exit":3}"#), Some(Answer::Exit(3)));
        assert_eq!(
            whole(r#"{"error":"no"}"#),
            Some(Answer::Error("no".to_owned()))
        );
        assert_eq!(whole(r#"{"value":[1]}"#), Some(Answer::Value(json!([1]))));
        for odd in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"exit":256}"#,
            r#"{"exit":-1}"#,
            r#"{"part":"x","bytes":1}"#,
            r#"{"part":"out"}"#,
        ] {
            assert_eq!(Head::parse(odd), None, "{odd}");
        }
    }
}
