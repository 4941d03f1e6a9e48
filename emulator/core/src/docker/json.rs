//! An ordered JSON value, as `docker inspect` prints it.
//!
//! Models what Go's `encoding/json` writes: the fields of a struct in their order, four spaces of
//! indentation, and its escapes (`<`, `>`, `&`, U+2028 and U+2029 too). Leaves out fractions, which no
//! answer of the network verbs holds, and reading.

use core::fmt::{self, Write};

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    String(String),
    /// A list.
    Array(Vec<Self>),
    /// Names and values in the order of the struct; of a map, in the order of its keys.
    Object(Vec<(String, Self)>),
}

impl Value {
    /// The value of a field of an object.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text of a string value.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// An object of the given fields.
    pub fn object<K: Into<String>>(fields: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Object(fields.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }

    /// A map of texts, in the order of its keys.
    pub fn map<'a>(entries: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        Self::object(entries.into_iter().map(|(k, v)| (k.clone(), Self::from(v))))
    }

    /// A list of texts.
    pub fn list<'a>(items: impl IntoIterator<Item = &'a String>) -> Self {
        Self::Array(items.into_iter().map(Self::from).collect())
    }

    /// A list of texts; `null` if it is empty, as Go prints a nil slice.
    #[must_use]
    pub fn list_or_null(items: &[String]) -> Self {
        if items.is_empty() {
            Self::Null
        } else {
            Self::list(items)
        }
    }

    /// The value over several lines, four spaces for each depth, as `docker inspect` prints it.
    #[must_use]
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        self.write_pretty(&mut out, 0);
        out
    }

    fn write_pretty(&self, out: &mut String, depth: usize) {
        match self {
            Self::Array(items) if !items.is_empty() => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    line(out, i, depth + 1);
                    item.write_pretty(out, depth + 1);
                }
                close(out, depth, ']');
            }
            Self::Object(fields) if !fields.is_empty() => {
                out.push('{');
                for (i, (key, value)) in fields.iter().enumerate() {
                    line(out, i, depth + 1);
                    quote(out, key);
                    out.push_str(": ");
                    value.write_pretty(out, depth + 1);
                }
                close(out, depth, '}');
            }
            _ => self.write_compact(out),
        }
    }

    fn write_compact(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
            Self::Number(n) => out.push_str(&n.to_string()),
            Self::String(text) => quote(out, text),
            Self::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write_compact(out);
                }
                out.push(']');
            }
            Self::Object(fields) => {
                out.push('{');
                for (i, (key, value)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    quote(out, key);
                    out.push(':');
                    value.write_compact(out);
                }
                out.push('}');
            }
        }
    }
}

/// On one line without spaces, as `{{json .}}` prints it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write_compact(&mut out);
        f.write_str(&out)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::String(text.clone())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::Number(n)
    }
}

fn line(out: &mut String, index: usize, depth: usize) {
    if index > 0 {
        out.push(',');
    }
    out.push('\n');
    indent(out, depth);
}

fn close(out: &mut String, depth: usize, bracket: char) {
    out.push('\n');
    indent(out, depth);
    out.push(bracket);
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("    ");
    }
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_docker_inspect_does() {
        let value = Value::object([
            ("Name", Value::from("web")),
            ("Options", Value::Object(Vec::new())),
            (
                "Config",
                Value::Array(vec![Value::object([("Subnet", Value::from("10.0.0.0/8"))])]),
            ),
            ("Internal", Value::from(false)),
            ("Size", Value::from(-3)),
            ("Links", Value::Null),
        ]);
        assert_eq!(
            value.pretty(),
            "{\n    \"Name\": \"web\",\n    \"Options\": {},\n    \"Config\": [\n        {\n            \"Subnet\": \"10.0.0.0/8\"\n        }\n    ],\n    \"Internal\": false,\n    \"Size\": -3,\n    \"Links\": null\n}"
        );
        assert_eq!(
            value.to_string(),
            "{\"Name\":\"web\",\"Options\":{},\"Config\":[{\"Subnet\":\"10.0.0.0/8\"}],\"Internal\":false,\"Size\":-3,\"Links\":null}"
        );
        assert_eq!(value.field("Name").and_then(Value::as_str), Some("web"));
    }

    #[test]
    fn escapes_as_go_does() {
        assert_eq!(
            Value::from("a<b>&\"\\\n\u{1}\u{2028}é").to_string(),
            "\"a\\u003cb\\u003e\\u0026\\\"\\\\\\n\\u0001\\u2028é\""
        );
    }
}
