//! YAML text → [`Node`] trees: the only file that knows the YAML parser.
//!
//! Works on parser events, not through serde: so every key and value keeps its own place, a quoted
//! `"80"` is told from a plain `80`, and anchors are expanded under our own budget. Aliases are
//! copied where they stand, merge keys (`<<`) are resolved with the explicit keys winning, and
//! duplicate keys are errors. Several documents in one file are several trees.
//!
//! Bounds: [`MAX_DEPTH`] open collections, [`MAX_NODES`] nodes and [`MAX_BYTES`] bytes of text
//! after expansion.

use std::collections::BTreeMap;

use serde_saphyr::granit_parser::{self as parser, Event, Marker, Parser, ScalarStyle, Span};

use crate::error::{ErrorKind, Fault};
use crate::node::{Entry, Node, Place, Tag, Value};
use crate::scalar;

/// How many collections may be open at once.
pub const MAX_DEPTH: usize = 96;
/// How many nodes a file may have, aliases expanded.
pub const MAX_NODES: usize = 200_000;
/// How many bytes of text a file may have, aliases expanded.
pub const MAX_BYTES: usize = 32 << 20;

/// The documents of a text. `file` goes into every place.
pub(crate) fn parse(text: &str, file: u32) -> Result<Vec<Node>, Fault> {
    let mut composer = Composer {
        file,
        nodes: 0,
        bytes: 0,
        stack: Vec::new(),
        anchors: BTreeMap::new(),
        done: None,
        documents: Vec::new(),
    };
    let mut parser = Parser::new_from_str_with_options(text, options());
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => composer.event(event, span)?,
            Err(error) => return Err(scan_fault(&error, file)),
        }
    }
    Ok(composer.documents)
}

fn options() -> parser::Options {
    let mut options = parser::Options::default();
    options.block_scalar_eof_without_line_feed = true;
    options.emit_unresolved_aliases = true;
    options.emit_comments = false;
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    options
}

fn scan_fault(error: &parser::ScanError, file: u32) -> Fault {
    let at = place(file, error.marker(), 1);
    let text = error.info();
    let kind = match error.kind() {
        parser::ErrorKind::RecursionLimitExceeded => ErrorKind::TooLarge,
        _ => ErrorKind::Yaml,
    };
    let fault = Fault::new(kind, at, format!("yaml: {text}"));
    if text.contains("tabs disallowed") {
        return fault.hint("YAML indents with spaces");
    }
    fault
}

fn place(file: u32, at: &Marker, length: usize) -> Place {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Place {
        file,
        line: number(at.line().max(1)),
        column: number(at.col().saturating_add(1)),
        length: number(length.max(1)),
    }
}

/// A collection that is still open.
enum Open {
    List(Vec<Node>),
    /// The entries so far, and the key that waits for its value.
    Map(Vec<Entry>, Option<(String, Place)>),
}

struct Frame {
    open: Open,
    at: Place,
    tag: Option<Tag>,
    anchor: usize,
}

struct Anchored {
    node: Node,
    count: usize,
    bytes: usize,
}

struct Composer {
    file: u32,
    nodes: usize,
    bytes: usize,
    stack: Vec<Frame>,
    anchors: BTreeMap<usize, Anchored>,
    done: Option<Node>,
    documents: Vec<Node>,
}

impl Composer {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let at = self.place(&span);
        match event {
            Event::DocumentStart(..) => {
                self.anchors.clear();
                self.done = None;
            }
            Event::DocumentEnd => self.documents.extend(self.done.take()),
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(1, text.len(), at)?;
                let tag = tag.as_deref();
                let value = scalar_value(&text, style, tag);
                let mut node = Node::new(value, at);
                node.tag = compose_tag(tag);
                self.keep(anchor, &node);
                self.push(node)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(Open::List(Vec::new()), at, anchor, tag.as_deref())?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.open(Open::Map(Vec::new(), None), at, anchor, tag.as_deref())?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(id) => self.alias(id, at)?,
            Event::UnresolvedAlias(name) => {
                let text = format!("yaml: unknown anchor '{name}' referenced");
                return Err(Fault::new(ErrorKind::Yaml, at, text));
            }
            _ => {}
        }
        Ok(())
    }

    fn place(&self, span: &Span) -> Place {
        let one_line = span.start.line() == span.end.line();
        let length = if one_line { span.len() } else { 1 };
        place(self.file, &span.start, length)
    }

    fn spend(&mut self, nodes: usize, bytes: usize, at: Place) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.nodes > MAX_NODES {
            let text = format!("compose file exceeds maximum node visit limit ({MAX_NODES})");
            return Err(Fault::new(ErrorKind::TooLarge, at, text));
        }
        if self.bytes > MAX_BYTES {
            let text = format!("compose file exceeds {MAX_BYTES} bytes after expansion");
            return Err(Fault::new(ErrorKind::TooLarge, at, text));
        }
        Ok(())
    }

    fn keep(&mut self, anchor: usize, node: &Node) {
        if anchor != 0 {
            let kept = Anchored {
                count: node.count(),
                bytes: node.bytes(),
                node: node.clone(),
            };
            self.anchors.insert(anchor, kept);
        }
    }

    fn open(
        &mut self,
        open: Open,
        at: Place,
        anchor: usize,
        tag: Option<&parser::Tag>,
    ) -> Result<(), Fault> {
        self.spend(1, 0, at)?;
        if self.stack.len() >= MAX_DEPTH {
            let text = format!("yaml: nesting is deeper than {MAX_DEPTH} collections");
            return Err(Fault::new(ErrorKind::TooLarge, at, text));
        }
        self.stack.push(Frame {
            open,
            at: Place { length: 1, ..at },
            tag: compose_tag(tag),
            anchor,
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        let value = match frame.open {
            Open::List(items) => Value::List(items),
            Open::Map(entries, _) => Value::Map(resolve_merges(entries)?),
        };
        let node = Node {
            value,
            at: frame.at,
            tag: frame.tag,
        };
        if frame.anchor != 0 {
            // The copy is work of its own: anchors inside anchors must not make it quadratic.
            let (count, bytes) = (node.count(), node.bytes());
            self.spend(count, bytes, node.at)?;
            self.keep(frame.anchor, &node);
        }
        self.push(node)
    }

    fn alias(&mut self, id: usize, at: Place) -> Result<(), Fault> {
        let Some(anchored) = self.anchors.get(&id) else {
            let text = "yaml: an anchor refers to itself";
            return Err(Fault::new(ErrorKind::Yaml, at, text));
        };
        let (count, bytes) = (anchored.count, anchored.bytes);
        self.spend(count, bytes, at)?;
        let Some(node) = self.anchors.get(&id).map(|anchored| anchored.node.clone()) else {
            return Ok(());
        };
        self.push(node)
    }

    /// Puts a finished node where it belongs: into the open collection, or out as the document.
    fn push(&mut self, node: Node) -> Result<(), Fault> {
        let Some(frame) = self.stack.last_mut() else {
            self.done = Some(node);
            return Ok(());
        };
        match &mut frame.open {
            Open::List(items) => items.push(node),
            Open::Map(entries, waiting) => match waiting.take() {
                Some((key, key_at)) => entries.push(Entry { key, key_at, node }),
                None => *waiting = Some(key_of(node)?),
            },
        }
        Ok(())
    }
}

fn key_of(node: Node) -> Result<(String, Place), Fault> {
    match node.value {
        Value::Null => Ok(("null".to_owned(), node.at)),
        _ => match node.text() {
            Some(text) => Ok((text, node.at)),
            None => {
                let text = "yaml: a list or a mapping cannot be a mapping key";
                Err(Fault::new(ErrorKind::Yaml, node.at, text))
            }
        },
    }
}

fn compose_tag(tag: Option<&parser::Tag>) -> Option<Tag> {
    match tag?.parts() {
        ("!", "override") => Some(Tag::Override),
        ("!", "reset") => Some(Tag::Reset),
        _ => None,
    }
}

fn scalar_value(text: &str, style: ScalarStyle, tag: Option<&parser::Tag>) -> Value {
    let plain = style == ScalarStyle::Plain;
    let typed = |value: Value| match (plain, value) {
        (true, value) => value,
        (false, _) => Value::Str(text.to_owned()),
    };
    let Some(tag) = tag else {
        return typed(scalar::resolve(text));
    };
    match tag.core_suffix() {
        Some("null") => Value::Null,
        Some("bool" | "int" | "float") => scalar::resolve(text),
        Some(_) => Value::Str(text.to_owned()),
        None if compose_tag(Some(tag)).is_some() => typed(scalar::resolve(text)),
        None => Value::Str(text.to_owned()),
    }
}

/// Checks for duplicate keys and puts the merged keys of `<<` in its place. Explicit keys win
/// wherever they stand; of several merged maps the first wins.
fn resolve_merges(entries: Vec<Entry>) -> Result<Vec<Entry>, Fault> {
    let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
    let mut merges = false;
    for entry in &entries {
        merges |= entry.key == "<<";
        if let Some(first) = seen.insert(&entry.key, entry.key_at) {
            let text = format!(
                "line {}: mapping key {:?} already defined at line {}",
                entry.key_at.line, entry.key, first.line
            );
            return Err(Fault::new(ErrorKind::Yaml, entry.key_at, text));
        }
    }
    if !merges {
        return Ok(entries);
    }
    let explicit: Vec<String> = seen.keys().map(|&key| key.to_owned()).collect();
    let mut taken: BTreeMap<String, ()> = explicit.into_iter().map(|key| (key, ())).collect();
    let mut out = Vec::with_capacity(entries.len());
    for entry in entries {
        if entry.key == "<<" {
            merge_into(entry.node, &mut taken, &mut out)?;
        } else {
            out.push(entry);
        }
    }
    Ok(out)
}

fn merge_into(
    node: Node,
    taken: &mut BTreeMap<String, ()>,
    out: &mut Vec<Entry>,
) -> Result<(), Fault> {
    let at = node.at;
    let maps = match node.value {
        Value::Map(_) => vec![node],
        Value::List(items) => items,
        _ => return Err(merge_fault(at)),
    };
    for map in maps {
        let Value::Map(entries) = map.value else {
            return Err(merge_fault(map.at));
        };
        for entry in entries {
            if taken.insert(entry.key.clone(), ()).is_none() {
                out.push(entry);
            }
        }
    }
    Ok(())
}

fn merge_fault(at: Place) -> Fault {
    let text = "yaml: map merge requires map or sequence of maps as the value";
    Fault::new(ErrorKind::Yaml, at, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Node {
        parse(text, 0).unwrap().remove(0)
    }

    fn at(node: &Node) -> (u32, u32, u32) {
        (node.at.line, node.at.column, node.at.length)
    }

    #[test]
    fn places_are_exact() {
        let root = one("a:\n  - x: 'é'\n    yy: 80\n");
        let item = &root.get("a").unwrap().items()[0];
        assert_eq!(at(item.get("x").unwrap()), (2, 8, 3));
        assert_eq!(at(item.get("yy").unwrap()), (3, 9, 2));
        let key = item.entry("yy").unwrap().key_at;
        assert_eq!((key.line, key.column, key.length), (3, 5, 2));
    }

    #[test]
    fn quoted_numbers_stay_text() {
        let root = one("[80, \"80\", '80', !!str 80, !!int \"80\", !x 80]");
        let values: Vec<&Value> = root.items().iter().map(|node| &node.value).collect();
        let text = || Value::Str("80".into());
        let number = Value::Int(80);
        assert_eq!(
            values,
            [&number, &text(), &text(), &text(), &number, &text()]
        );
    }

    #[test]
    fn merge_keys_fill_in_and_explicit_keys_win() {
        let root = one("x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  a: 3\n");
        let z: Vec<(&str, &Value)> = root
            .get("z")
            .unwrap()
            .entries()
            .iter()
            .map(|entry| (entry.key.as_str(), &entry.node.value))
            .collect();
        assert_eq!(
            z,
            [
                ("b", &Value::Int(1)),
                ("c", &Value::Int(2)),
                ("a", &Value::Int(3))
            ]
        );
    }

    #[test]
    fn a_merge_of_a_merge() {
        let root = one("a: &a {k: 1}\nb: &b\n  <<: *a\n  l: 2\nc:\n  <<: *b\n");
        assert_eq!(
            root.get("c").unwrap().get("k").unwrap().value,
            Value::Int(1)
        );
    }

    #[test]
    fn duplicate_keys_are_told_with_both_lines() {
        let fault = parse("a: 1\nb: 2\na: 3\n", 0).unwrap_err();
        assert_eq!(
            fault.message,
            "line 3: mapping key \"a\" already defined at line 1"
        );
        assert_eq!(fault.at.map(|at| (at.line, at.column)), Some((3, 1)));
    }

    #[test]
    fn tags_of_compose() {
        let root = one("a: !reset null\nb: !override [1]\n");
        assert_eq!(root.get("a").unwrap().tag, Some(Tag::Reset));
        assert_eq!(root.get("b").unwrap().tag, Some(Tag::Override));
    }

    #[test]
    fn an_alias_bomb_is_stopped() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            let item = format!("*a{}", i - 1);
            text.push_str(&format!("a{i}: &a{i} [{}]\n", vec![item; 9].join(", ")));
        }
        let fault = parse(&text, 0).unwrap_err();
        assert_eq!(fault.kind, ErrorKind::TooLarge);
    }

    #[test]
    fn a_text_bomb_is_stopped() {
        let mut text = format!("a: &a {}\nb:\n", "x".repeat(1 << 20));
        text.push_str(&"  - *a\n".repeat(100));
        assert_eq!(parse(&text, 0).unwrap_err().kind, ErrorKind::TooLarge);
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        for text in [
            "[".repeat(100_000),
            "{a: ".repeat(100_000),
            "- ".repeat(100_000),
        ] {
            assert_eq!(parse(&text, 0).unwrap_err().kind, ErrorKind::TooLarge);
        }
        let mut block = String::new();
        for depth in 0..3000 {
            block.push_str(&format!("{}a:\n", " ".repeat(depth)));
        }
        assert_eq!(parse(&block, 0).unwrap_err().kind, ErrorKind::TooLarge);
    }

    #[test]
    fn an_anchor_inside_itself_is_an_error() {
        for text in ["a: &a [*a]\n", "a: *nowhere\n"] {
            assert_eq!(parse(text, 0).unwrap_err().kind, ErrorKind::Yaml);
        }
    }

    #[test]
    fn several_documents() {
        assert_eq!(parse("a: 1\n---\nb: 2\n", 0).unwrap().len(), 2);
        assert!(parse("", 0).unwrap().is_empty());
        assert!(parse("# nothing\n", 0).unwrap().is_empty());
    }
}
