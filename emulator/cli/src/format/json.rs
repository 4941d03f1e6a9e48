//! JSON as Go's `encoding/json` writes it.
//!
//! `docker inspect` indents the engine's own bytes, in which `<`, `>` and `&` are escaped;
//! the template function `json` leaves those three as they are.

use core::fmt::Write;

use super::Value;

/// Whether `<`, `>` and `&` are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Html {
    /// Written as `\u003c`, `\u003e` and `\u0026`: the engine's answers.
    Escaped,
    /// Written as they are: the template function.
    Plain,
}

/// On one line without spaces.
#[must_use]
pub fn compact(value: &Value, html: Html) -> String {
    let mut out = String::new();
    write_compact(&mut out, value, html);
    out
}

/// Over several lines, four spaces for each depth, as `docker inspect` prints it.
#[must_use]
pub fn pretty(value: &Value) -> String {
    let mut out = String::new();
    write_pretty(&mut out, value, 0);
    out
}

fn write_compact(out: &mut String, value: &Value, html: Html) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
        Value::Number(n) => {
            let _ = write!(out, "{n}");
        }
        Value::String(text) => quote(out, text, html),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_compact(out, item, html);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (i, (key, value)) in fields.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                quote(out, key, html);
                out.push(':');
                write_compact(out, value, html);
            }
            out.push('}');
        }
    }
}

fn write_pretty(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                new_line(out, i > 0, depth + 1);
                write_pretty(out, item, depth + 1);
            }
            new_line(out, false, depth);
            out.push(']');
        }
        Value::Object(fields) if !fields.is_empty() => {
            out.push('{');
            for (i, (key, value)) in fields.iter().enumerate() {
                new_line(out, i > 0, depth + 1);
                quote(out, key, Html::Escaped);
                out.push_str(": ");
                write_pretty(out, value, depth + 1);
            }
            new_line(out, false, depth);
            out.push('}');
        }
        other => write_compact(out, other, Html::Escaped),
    }
}

fn new_line(out: &mut String, comma: bool, depth: usize) {
    if comma {
        out.push(',');
    }
    out.push('\n');
    for _ in 0..depth {
        out.push_str("    ");
    }
}

/// Writes `text` as a JSON string.
pub fn quote(out: &mut String, text: &str, html: Html) {
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
            '<' | '>' | '&' if html == Html::Plain => out.push(c),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Value {
        Value::object([
            ("Name", Value::from("a<b>\n")),
            ("Empty", Value::Object(Vec::new())),
            ("None", Value::Array(Vec::new())),
            ("List", Value::list(["x"])),
            ("Number", Value::Number(-3)),
            ("Nil", Value::Null),
        ])
    }

    #[test]
    fn compact_as_the_template_function_writes_it() {
        assert_eq!(
            compact(&sample(), Html::Plain),
            r#"{"Name":"a<b>\n","Empty":{},"None":[],"List":["x"],"Number":-3,"Nil":null}"#
        );
    }

    #[test]
    fn pretty_as_inspect_prints_it() {
        let text = pretty(&Value::Array(vec![sample()]));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "[");
        assert_eq!(lines[1], "    {");
        assert_eq!(lines[2], r#"        "Name": "a\u003cb\u003e\n","#);
        assert_eq!(lines[3], r#"        "Empty": {},"#);
        assert_eq!(lines[4], r#"        "None": [],"#);
        assert_eq!(lines[5], r#"        "List": ["#);
        assert_eq!(lines[6], r#"            "x""#);
        assert_eq!(lines.last(), Some(&"]"));
    }
}
