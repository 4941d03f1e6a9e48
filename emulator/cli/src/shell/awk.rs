//! `awk`: `PATTERN {print FIELD, …}`.
//!
//! Models the programs that pick columns: an optional `/pattern/`, `NR==N`, `NR>N` or
//! `$N=="text"`, and one `print` of `$N`, `$NF`, `NR`, `NF` and texts. Leaves out everything else.

use super::regex::{Regex, Syntax};

enum Pattern {
    Always,
    Regex(Regex),
    /// Left side, whether it must be equal, greater (1), less (-1) or unequal (2), right side.
    Compare(Item, &'static str, String),
}

enum Item {
    Field(usize),
    LastField,
    Lines,
    Fields,
    Text(String),
    /// Between two items: the output field separator.
    Comma,
}

/// Runs an `awk` program over `input`; fields are cut at `separator`, or at white space.
///
/// # Errors
/// What it does not understand.
pub(super) fn run(program: &str, separator: Option<&str>, input: &str) -> Result<String, String> {
    let unsupported = || format!("awk: `{program}` is not supported in transcripts");
    let program = program.trim();
    let (pattern, action) = match program.find('{') {
        // Braces inside a pattern's slashes are part of it.
        Some(open)
            if !program.starts_with('/')
                || program[1..].find('/').is_some_and(|end| end < open) =>
        {
            let body = program[open + 1..]
                .strip_suffix('}')
                .ok_or_else(unsupported)?;
            (program[..open].trim(), body.trim())
        }
        _ => (program, "print"),
    };
    let pattern = parse_pattern(pattern).ok_or_else(unsupported)?;
    let action = action.trim_end_matches(';').trim();
    let items = action.strip_prefix("print").ok_or_else(unsupported)?;
    if items.starts_with(|c: char| c.is_alphanumeric()) {
        return Err(unsupported());
    }
    let items = parse_items(items).ok_or_else(unsupported)?;
    let mut out = String::new();
    for (i, line) in input.lines().enumerate() {
        let fields: Vec<&str> = match separator {
            Some(separator) if !separator.is_empty() => line.split(separator).collect(),
            _ => line.split_whitespace().collect(),
        };
        let record = Record {
            number: i + 1,
            line,
            fields: &fields,
        };
        if !record.matches(&pattern) {
            continue;
        }
        if items.is_empty() {
            out.push_str(line);
        }
        for item in &items {
            out.push_str(&record.value(item));
        }
        out.push('\n');
    }
    Ok(out)
}

struct Record<'a> {
    number: usize,
    line: &'a str,
    fields: &'a [&'a str],
}

impl Record<'_> {
    fn matches(&self, pattern: &Pattern) -> bool {
        match pattern {
            Pattern::Always => true,
            Pattern::Regex(regex) => regex.is_match(self.line),
            Pattern::Compare(item, operator, right) => {
                let left = self.value(item);
                let order = match (left.parse::<i64>(), right.parse::<i64>()) {
                    (Ok(a), Ok(b)) => a.cmp(&b),
                    _ => left.as_str().cmp(right.as_str()),
                };
                match *operator {
                    "==" => order.is_eq(),
                    "!=" => order.is_ne(),
                    ">=" => order.is_ge(),
                    "<=" => order.is_le(),
                    ">" => order.is_gt(),
                    _ => order.is_lt(),
                }
            }
        }
    }

    fn value(&self, item: &Item) -> String {
        match item {
            Item::Field(0) => self.line.to_owned(),
            Item::Field(n) => self
                .fields
                .get(n - 1)
                .copied()
                .unwrap_or_default()
                .to_owned(),
            Item::LastField => self.fields.last().copied().unwrap_or_default().to_owned(),
            Item::Lines => self.number.to_string(),
            Item::Fields => self.fields.len().to_string(),
            Item::Text(text) => text.clone(),
            Item::Comma => " ".to_owned(),
        }
    }
}

fn parse_pattern(text: &str) -> Option<Pattern> {
    if text.is_empty() {
        return Some(Pattern::Always);
    }
    if let Some(rest) = text.strip_prefix('/') {
        let pattern = rest.strip_suffix('/')?.replace("\\/", "/");
        return Regex::new(&pattern, Syntax::Extended, false)
            .ok()
            .map(Pattern::Regex);
    }
    let (left, operator, right) = ["==", "!=", ">=", "<=", ">", "<"]
        .iter()
        .find_map(|op| text.split_once(op).map(|(a, b)| (a, *op, b)))?;
    let mut left = parse_items(left.trim())?;
    let left = if left.len() == 1 {
        left.pop()?
    } else {
        return None;
    };
    let right = right.trim();
    let right = match right.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => right,
    };
    Some(Pattern::Compare(left, operator, right.to_owned()))
}

fn parse_items(text: &str) -> Option<Vec<Item>> {
    let mut items = Vec::new();
    let mut rest = text.trim();
    while let Some(c) = rest.chars().next() {
        match c {
            ' ' | '\t' => rest = rest.trim_start(),
            ',' => {
                items.push(Item::Comma);
                rest = &rest[1..];
            }
            '"' => {
                let end = rest[1..].find('"')?;
                let text = rest[1..=end].replace("\\t", "\t").replace("\\n", "\n");
                items.push(Item::Text(text));
                rest = &rest[end + 2..];
            }
            '$' => {
                rest = &rest[1..];
                if let Some(after) = rest.strip_prefix("NF") {
                    items.push(Item::LastField);
                    rest = after;
                    continue;
                }
                let end = rest
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(rest.len());
                items.push(Item::Field(rest[..end].parse().ok()?));
                rest = &rest[end..];
            }
            'N' => {
                let (item, after) = match rest.strip_prefix("NR") {
                    Some(after) => (Item::Lines, after),
                    None => (Item::Fields, rest.strip_prefix("NF")?),
                };
                items.push(item);
                rest = after;
            }
            _ => return None,
        }
    }
    Some(items)
}
