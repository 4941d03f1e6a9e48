//! The functions of a template: Go's built-in ones and those that Docker adds.
//!
//! Models `text/template/funcs.go` and Docker's `templates` package. Leaves out `call`, `html`, `js`
//! and `urlquery`. Errors are the part that Go puts after `error calling NAME: `.

use core::cmp::Ordering;

use super::json::{self, Html};
use super::{Value, gostring, printf};

/// Every function, in alphabetical order. `and` and `or` stop early, so the evaluator carries those
/// two out itself.
const NAMES: &[&str] = &[
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not",
    "or", "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper",
];

/// Whether there is a function of this name.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// The fewest and the most arguments of a function.
pub(super) fn arity(name: &str) -> (usize, usize) {
    match name {
        "json" | "len" | "lower" | "not" | "title" | "upper" => (1, 1),
        "split" | "join" | "truncate" | "ge" | "gt" | "le" | "lt" | "ne" => (2, 2),
        "pad" => (3, 3),
        "and" | "or" | "eq" | "index" | "printf" | "slice" => (1, usize::MAX),
        _ => (0, usize::MAX),
    }
}

/// Calls a function whose number of arguments is right.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, String> {
    match (name, arguments) {
        ("json", [value]) => Ok(json::compact(value, Html::Plain).into()),
        ("print", all) => Ok(print(all).into()),
        ("println", all) => Ok(println(all).into()),
        ("printf", [format, rest @ ..]) => Ok(printf::sprintf(string(format)?, rest).into()),
        ("len", [value]) => len(value),
        ("index", [value, keys @ ..]) => keys
            .iter()
            .try_fold(value.clone(), |at, key| index(&at, key)),
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("not", [value]) => Ok(Value::Bool(!value.truth())),
        ("eq", [first, others @ ..]) => eq(first, others),
        ("ne", [a, b]) => eq(a, core::slice::from_ref(b)).map(|v| Value::Bool(!v.truth())),
        ("lt", [a, b]) => order(a, b).map(|o| Value::Bool(o == Ordering::Less)),
        ("le", [a, b]) => order(a, b).map(|o| Value::Bool(o != Ordering::Greater)),
        ("gt", [a, b]) => order(a, b).map(|o| Value::Bool(o == Ordering::Greater)),
        ("ge", [a, b]) => order(a, b).map(|o| Value::Bool(o != Ordering::Less)),
        ("lower", [text]) => Ok(string(text)?.to_lowercase().into()),
        ("upper", [text]) => Ok(string(text)?.to_uppercase().into()),
        ("title", [text]) => Ok(title(string(text)?).into()),
        ("split", [text, separator]) => Ok(split(string(text)?, string(separator)?)),
        ("join", [items, separator]) => join(items, string(separator)?),
        ("pad", [text, before, after]) => pad(string(text)?, number(before)?, number(after)?),
        ("truncate", [text, length]) => truncate(string(text)?, number(length)?),
        _ => Err(format!(
            "no function {name} of {} arguments",
            arguments.len()
        )),
    }
}

fn string(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| {
        format!(
            "wrong type for value; expected string; got {}",
            value.go_type()
        )
    })
}

fn number(value: &Value) -> Result<usize, String> {
    match value {
        Value::Number(n) => usize::try_from(*n).map_err(|_| format!("negative number: {n}")),
        other => Err(format!(
            "wrong type for value; expected int; got {}",
            other.go_type()
        )),
    }
}

/// Go's `fmt.Sprint`: a space between two operands if neither is a text.
fn print(all: &[Value]) -> String {
    let mut out = String::new();
    for (i, value) in all.iter().enumerate() {
        let text = |v: &Value| matches!(v, Value::String(_));
        if i > 0 && !text(value) && !text(&all[i - 1]) {
            out.push(' ');
        }
        out.push_str(&gostring::print(value));
    }
    out
}

fn println(all: &[Value]) -> String {
    let all: Vec<_> = all.iter().map(gostring::print).collect();
    all.join(" ") + "\n"
}

fn len(value: &Value) -> Result<Value, String> {
    let len = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        Value::Null => return Err("len of nil pointer".to_owned()),
        other => return Err(format!("len of type {}", other.go_type())),
    };
    Ok(Value::Number(i64::try_from(len).unwrap_or(i64::MAX)))
}

fn index(value: &Value, key: &Value) -> Result<Value, String> {
    match (value, key) {
        (Value::Null, _) => Err("index of untyped nil".to_owned()),
        // A map without the key gives the zero value, which prints as no value.
        (Value::Object(_), Value::String(name)) => {
            Ok(value.field(name).cloned().unwrap_or_default())
        }
        (Value::Object(_), other) => Err(format!(
            "value has type {}; should be string",
            other.go_type()
        )),
        (Value::Array(items), Value::Number(n)) => usize::try_from(*n)
            .ok()
            .and_then(|n| items.get(n).cloned())
            .ok_or_else(|| format!("index out of range: {n}")),
        (Value::String(text), Value::Number(n)) => usize::try_from(*n)
            .ok()
            .and_then(|n| text.as_bytes().get(n))
            .map(|byte| Value::Number(i64::from(*byte)))
            .ok_or_else(|| format!("index out of range: {n}")),
        (Value::Array(_) | Value::String(_), key) => Err(format!(
            "cannot index slice/array with type {}",
            key.go_type()
        )),
        (other, _) => Err(format!("can't index item of type {}", other.go_type())),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, String> {
    let len = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        Value::Null => return Err("slice of untyped nil".to_owned()),
        other => return Err(format!("can't slice item of type {}", other.go_type())),
    };
    let start = bounds.first().map_or(Ok(0), number)?;
    let end = bounds.get(1).map_or(Ok(len), number)?;
    if start > len || end > len {
        return Err(format!("index out of range: {}", start.max(end)));
    }
    if start > end {
        return Err(format!("invalid slice index: {start} > {end}"));
    }
    match value {
        Value::String(text) => {
            let bytes = &text.as_bytes()[start..end];
            Ok(String::from_utf8_lossy(bytes).into_owned().into())
        }
        Value::Array(items) => Ok(Value::Array(items[start..end].to_vec())),
        _ => Ok(Value::Null),
    }
}

fn eq(first: &Value, others: &[Value]) -> Result<Value, String> {
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        match (first, other) {
            (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => {
                return Err("non-comparable types".to_owned());
            }
            (Value::Null, _) | (_, Value::Null) => {}
            (a, b) if core::mem::discriminant(a) != core::mem::discriminant(b) => {
                return Err("incompatible types for comparison".to_owned());
            }
            _ => {}
        }
        if first == other {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn order(a: &Value, b: &Value) -> Result<Ordering, String> {
    a.order(b).ok_or_else(|| match (a, b) {
        (Value::String(_) | Value::Number(_), Value::String(_) | Value::Number(_)) => {
            "incompatible types for comparison".to_owned()
        }
        _ => "invalid type for comparison".to_owned(),
    })
}

fn title(text: &str) -> String {
    let mut start = true;
    let up = |c: char| {
        let first = start && c.is_alphabetic();
        start = !c.is_alphanumeric() && c != '_' && c != '\'';
        if first {
            c.to_uppercase().to_string()
        } else {
            c.to_string()
        }
    };
    text.chars().map(up).collect()
}

fn split(text: &str, separator: &str) -> Value {
    if separator.is_empty() {
        return Value::list(text.chars().map(String::from));
    }
    Value::list(text.split(separator))
}

fn join(items: &Value, separator: &str) -> Result<Value, String> {
    let texts = match items {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().map(gostring::print).collect(),
        Value::Object(fields) => {
            let mut texts: Vec<_> = fields.iter().map(|(_, v)| gostring::print(v)).collect();
            texts.sort();
            texts
        }
        other => return Err(format!("expected slice, got {}", other.go_type())),
    };
    Ok(texts.join(separator).into())
}

fn pad(text: &str, before: usize, after: usize) -> Result<Value, String> {
    const LIMIT: usize = 1000;
    if before > LIMIT || after > LIMIT {
        return Err(format!("padding of more than {LIMIT} spaces"));
    }
    if text.is_empty() {
        return Ok("".into());
    }
    Ok(format!("{}{text}{}", " ".repeat(before), " ".repeat(after)).into())
}

fn truncate(text: &str, length: usize) -> Result<Value, String> {
    let end = length.min(text.len());
    Ok(String::from_utf8_lossy(&text.as_bytes()[..end])
        .into_owned()
        .into())
}
