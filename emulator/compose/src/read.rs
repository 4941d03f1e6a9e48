//! Small readers that the typed view shares: texts, lists, maps and addresses out of a checked
//! tree.
//!
//! The schema has made sure of the types; what still does not fit is read as not given. A text
//! that is empty, as from a variable that is not set, counts as not given too.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::error::Fault;
use crate::node::{At, Node, Place, Value};

/// A scalar that is not empty.
pub(crate) fn text(node: &Node, key: &str) -> Option<At<String>> {
    let node = node.get(key)?;
    let text = node.text().filter(|text| !text.is_empty())?;
    Some(At::new(text, node.at))
}

/// A boolean, false if not given.
pub(crate) fn flag(node: &Node, key: &str) -> bool {
    maybe_flag(node, key).unwrap_or(false)
}

/// A boolean.
pub(crate) fn maybe_flag(node: &Node, key: &str) -> Option<bool> {
    match node.get(key)?.value {
        Value::Bool(value) => Some(value),
        _ => None,
    }
}

/// A whole number; fractions are cut off as compose's decoder does.
pub(crate) fn integer(node: &Node) -> Option<i64> {
    match &node.value {
        Value::Int(value) => Some(*value),
        #[allow(clippy::cast_possible_truncation)]
        Value::Float(value) if value.is_finite() => Some(*value as i64),
        Value::Str(text) => text.parse().ok(),
        _ => None,
    }
}

/// A text or a list of texts; empty ones are left out, of several that have the same part before
/// `=` the last one stays, in the first one's position.
pub(crate) fn texts(node: &Node, key: &str) -> Vec<At<String>> {
    let Some(node) = node.get(key) else {
        return Vec::new();
    };
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut out: Vec<At<String>> = Vec::new();
    let single = core::slice::from_ref(node);
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => single,
    };
    for item in items {
        let Some(text) = item.text().filter(|text| !text.is_empty()) else {
            continue;
        };
        let name = text.split('=').next().unwrap_or(&text).to_owned();
        let text = At::new(text, item.at);
        match seen.get(&name).and_then(|&index| out.get_mut(index)) {
            Some(slot) => *slot = text,
            None => {
                seen.insert(name, out.len());
                out.push(text);
            }
        }
    }
    out
}

/// What stands beside a key.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// Where the value stands; where there is none, the key.
    pub(crate) at: Place,
    /// The value; `None` is a key alone.
    pub(crate) value: Option<String>,
}

/// A map, or a list of `K=V`, in file order.
pub(crate) fn pairs(node: &Node, key: &str) -> IndexMap<String, Pair> {
    let Some(node) = node.get(key) else {
        return IndexMap::new();
    };
    let mut out = IndexMap::new();
    for entry in node.entries() {
        let pair = match entry.node.text() {
            Some(text) => Pair {
                at: entry.node.at,
                value: Some(text),
            },
            None => Pair {
                at: entry.key_at,
                value: None,
            },
        };
        out.insert(entry.key.clone(), pair);
    }
    for item in node.items() {
        let Some(text) = item.text() else { continue };
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text.as_str(), None),
        };
        out.insert(key.to_owned(), Pair { at: item.at, value });
    }
    out
}

/// The same, keys without a value left out.
pub(crate) fn options(node: &Node, key: &str) -> IndexMap<String, At<String>> {
    let pairs = pairs(node, key).into_iter();
    pairs
        .filter_map(|(key, pair)| Some((key, At::new(pair.value?, pair.at))))
        .collect()
}

/// The keys of a map, or the items of a list, with the values of the map.
pub(crate) fn named(node: &Node) -> Vec<(At<String>, Option<&Node>)> {
    let entries = node.entries().iter().map(|entry| {
        let key = At::new(entry.key.clone(), entry.key_at);
        (key, Some(&entry.node))
    });
    let items = node.items().iter().filter_map(|item| {
        let key = At::new(item.text()?, item.at);
        Some((key, None))
    });
    entries.chain(items).collect()
}

/// Says `message` of a text that is not what it should be.
pub(crate) fn check(
    text: Option<&At<String>>,
    fits: impl Fn(&str) -> bool,
    message: impl Fn(&str) -> String,
) -> Result<(), Fault> {
    match text {
        Some(text) if !fits(text) => Err(Fault::invalid(text.at, message(text))),
        _ => Ok(()),
    }
}

pub(crate) fn is_ipv4(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok()
}

pub(crate) fn is_ipv6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

pub(crate) fn is_ip(text: &str) -> bool {
    is_ipv4(text) || is_ipv6(text)
}

/// A 48-bit MAC: six pairs with `:` or `-`, or three groups of four with `.`.
pub(crate) fn is_mac(text: &str) -> bool {
    let groups = |separator: char, count: usize, width: usize| {
        let parts: Vec<&str> = text.split(separator).collect();
        let hex = |part: &&str| part.len() == width && part.bytes().all(|c| c.is_ascii_hexdigit());
        parts.len() == count && parts.iter().all(hex)
    };
    groups(':', 6, 2) || groups('-', 6, 2) || groups('.', 3, 4)
}

/// A command: a list as it is, a text split into words at blanks outside quotes.
///
/// # Errors
/// A quote that is not closed.
pub(crate) fn command(node: &Node, key: &str) -> Result<Option<At<Vec<String>>>, Fault> {
    let Some(node) = node.get(key).filter(|node| !node.is_null()) else {
        return Ok(None);
    };
    let Some(text) = node.as_str() else {
        let words = node.items().iter().filter_map(Node::text);
        return Ok(Some(At::new(words.collect(), node.at)));
    };
    match words(text) {
        Some(words) => Ok(Some(At::new(words, node.at))),
        None => Err(Fault::invalid(node.at, "invalid command line string")),
    }
}

fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().push(chars.next()?),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_into_words() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("a b  c", &["a", "b", "c"]),
            (
                "sh -c 'echo \"hi\" there'",
                &["sh", "-c", "echo \"hi\" there"],
            ),
            ("a\\ b \"c \\\" d\" ''", &["a b", "c \" d", ""]),
            ("x'y'z", &["xyz"]),
        ];
        for (text, wanted) in cases {
            assert_eq!(words(text).unwrap(), *wanted, "{text}");
        }
        assert_eq!(words("a 'b"), None);
    }

    #[test]
    fn macs() {
        for text in ["02:42:ac:11:00:02", "02-42-AC-11-00-02", "0242.ac11.0002"] {
            assert!(is_mac(text));
        }
        for text in [
            "",
            "02:42:ac:11:00",
            "02:42:ac:11:00:0g",
            "0242ac110002",
            "2:42:ac:11:0:2",
        ] {
            assert!(!is_mac(text));
        }
    }
}
