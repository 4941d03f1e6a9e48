//! One tree over another: several files, documents of a file, `extends`, `include`.
//!
//! The rules are compose's: maps merge key by key, lists are appended, scalars are replaced; some
//! attributes have rules of their own (below). `!override` replaces instead, `!reset` removes;
//! both stay in the result until [`strip`], because a tree may be merged more than once.

use crate::error::{ErrorKind, Fault};
use crate::node::{Entry, Node, Tag, Value};

/// How many subnets a network may have when files are merged.
const MAX_SUBNETS: usize = 2048;

/// How two values of an attribute become one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Maps by key, lists appended, anything else replaced.
    Plain,
    /// The later value.
    Replace,
    /// `K=V` lists: a map is written as one first.
    Sequence,
    /// A map of names: a list is read as its keys.
    Names,
    /// A map of dependencies: a list is read as its keys with the default condition.
    Dependencies,
    /// `ipam.config`: entries of the same subnet merge.
    Subnets,
    /// A text stands for its `context`.
    Build,
    /// Of another driver: replaced.
    Logging,
}

fn rule(path: &[&str]) -> Rule {
    match path {
        ["services", _, rest @ ..] => service_rule(rest),
        ["networks", _, "ipam", "config"] => Rule::Subnets,
        ["networks" | "volumes", _, "labels"] => Rule::Sequence,
        _ => Rule::Plain,
    }
}

fn service_rule(path: &[&str]) -> Rule {
    match path {
        ["command" | "entrypoint"] | ["healthcheck", "test"] | ["ulimits", _] => Rule::Replace,
        ["annotations" | "dns" | "dns_opt" | "dns_search" | "env_file" | "environment"]
        | ["extra_hosts" | "label_file" | "labels" | "sysctls" | "tmpfs"]
        | [
            "build",
            "additional_contexts" | "args" | "extra_hosts" | "labels",
        ]
        | ["deploy", "labels"] => Rule::Sequence,
        ["models" | "networks"] => Rule::Names,
        ["depends_on"] => Rule::Dependencies,
        ["build"] => Rule::Build,
        ["logging"] => Rule::Logging,
        _ => Rule::Plain,
    }
}

/// `over` laid over `base`. `path` is where both stand in the file.
pub(crate) fn merge(base: Node, over: Node, path: &mut Vec<String>) -> Result<Node, Fault> {
    if over.tag.is_some() || base.tag == Some(Tag::Reset) {
        return Ok(over);
    }
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    let rule = rule(&parts);
    if rule == Rule::Replace {
        return Ok(over);
    }
    if over.is_null() && !matches!(rule, Rule::Sequence | Rule::Names | Rule::Dependencies) {
        return Ok(base);
    }
    if base.is_null() {
        return Ok(over);
    }
    match rule {
        Rule::Plain | Rule::Replace => plain(base, over, path),
        Rule::Sequence => Ok(append(sequence(base), sequence(over))),
        Rule::Names => plain(names(base, false), names(over, false), path),
        Rule::Dependencies => plain(names(base, true), names(over, true), path),
        Rule::Subnets => subnets(base, over, path),
        Rule::Build => plain(build(base), build(over), path),
        Rule::Logging => logging(base, over, path),
    }
}

fn plain(base: Node, over: Node, path: &mut Vec<String>) -> Result<Node, Fault> {
    let (at, tag) = (over.at, base.tag);
    let value = match (base.value, over.value) {
        (Value::Map(base), Value::Map(over)) => Value::Map(maps(base, over, path)?),
        (Value::List(mut base), Value::List(over)) => {
            base.extend(over);
            Value::List(base)
        }
        (Value::Map(_), Value::Null) | (Value::List(_), Value::Null) => {
            // Only for the rules that read null as empty.
            return Ok(Node::new(Value::Null, at));
        }
        (Value::Map(_) | Value::List(_), _) => {
            let text = format!("cannot override {}", path.join("."));
            return Err(Fault::invalid(at, text));
        }
        (_, value) => value,
    };
    Ok(Node { value, at, tag })
}

fn maps(base: Vec<Entry>, over: Vec<Entry>, path: &mut Vec<String>) -> Result<Vec<Entry>, Fault> {
    let mut out: indexmap::IndexMap<String, Entry> = base
        .into_iter()
        .map(|entry| (entry.key.clone(), entry))
        .collect();
    for entry in over {
        let Some(slot) = out.get_mut(&entry.key) else {
            out.insert(entry.key.clone(), entry);
            continue;
        };
        path.push(entry.key);
        let at = slot.node.at;
        let old = core::mem::replace(&mut slot.node, Node::new(Value::Null, at));
        slot.node = merge(old, entry.node, path)?;
        slot.key_at = entry.key_at;
        path.pop();
    }
    Ok(out.into_values().collect())
}

fn append(mut base: Node, over: Node) -> Node {
    let at = over.at;
    match (&mut base.value, over.value) {
        (Value::List(items), Value::List(more)) => items.extend(more),
        (_, value) => base.value = value,
    }
    base.at = at;
    base
}

/// A map as a list of `K=V`, a text as a list of one.
fn sequence(node: Node) -> Node {
    let (at, tag) = (node.at, node.tag);
    let items = match node.value {
        Value::Map(entries) => entries.into_iter().flat_map(pairs).collect(),
        Value::List(items) => items,
        Value::Str(text) => vec![Node::string(text, at)],
        _ => Vec::new(),
    };
    let value = Value::List(items);
    Node { value, at, tag }
}

fn pairs(entry: Entry) -> Vec<Node> {
    let Entry { key, key_at, node } = entry;
    match &node.value {
        Value::Null => vec![Node::string(key, key_at)],
        Value::List(items) => items
            .iter()
            .filter_map(|item| Some(Node::string(format!("{key}={}", item.text()?), item.at)))
            .collect(),
        _ => {
            let text = node.text().unwrap_or_default();
            vec![Node::string(format!("{key}={text}"), key_at)]
        }
    }
}

/// A list of names as a map with those keys.
fn names(node: Node, dependency: bool) -> Node {
    let Node { value, at, tag } = node;
    let Value::List(items) = value else {
        return Node { value, at, tag };
    };
    let mut entries: Vec<Entry> = Vec::new();
    for item in items {
        let Some(key) = item.text() else { continue };
        let key_at = item.at;
        let value = match dependency {
            false => Value::Null,
            true => Value::Map(vec![
                field("condition", Value::Str("service_started".into()), &item),
                field("required", Value::Bool(true), &item),
            ]),
        };
        let node = Node::new(value, key_at);
        entries.push(Entry { key, key_at, node });
    }
    let value = Value::Map(entries);
    Node { value, at, tag }
}

fn field(key: &str, value: Value, like: &Node) -> Entry {
    Entry {
        key: key.to_owned(),
        key_at: like.at,
        node: Node::new(value, like.at),
    }
}

fn build(node: Node) -> Node {
    let Some(context) = node.as_str().map(str::to_owned) else {
        return node;
    };
    let value = Value::Map(vec![field("context", Value::Str(context), &node)]);
    Node { value, ..node }
}

fn logging(base: Node, over: Node, path: &mut Vec<String>) -> Result<Node, Fault> {
    let driver = |node: &Node| node.get("driver").and_then(Node::text);
    match (driver(&base), driver(&over)) {
        (Some(a), Some(b)) if a != b => Ok(over),
        _ => plain(base, over, path),
    }
}

fn subnets(base: Node, over: Node, path: &mut Vec<String>) -> Result<Node, Fault> {
    let (at, tag) = (over.at, base.tag);
    let (Value::List(mut items), Value::List(more)) = (base.value, over.value) else {
        let text = format!("{}: must be a list", path.join("."));
        return Err(Fault::invalid(at, text));
    };
    if items.len().saturating_add(more.len()) > MAX_SUBNETS {
        let text = format!("{}: more than {MAX_SUBNETS} subnets", path.join("."));
        return Err(Fault::new(ErrorKind::TooLarge, at, text));
    }
    let subnet = |node: &Node| node.get("subnet").and_then(Node::text);
    for entry in more {
        let same = items.iter().position(|item| subnet(item) == subnet(&entry));
        match same {
            Some(index) => {
                let old = items.remove(index);
                items.insert(index, plain(old, entry, path)?);
            }
            None => items.push(entry),
        }
    }
    let value = Value::List(items);
    Ok(Node { value, at, tag })
}

/// Takes out what `!reset` marks and forgets the marks.
pub(crate) fn strip(node: &mut Node) {
    node.tag = None;
    match &mut node.value {
        Value::List(items) => {
            items.retain(|item| item.tag != Some(Tag::Reset));
            items.iter_mut().for_each(strip);
        }
        Value::Map(entries) => {
            entries.retain(|entry| entry.node.tag != Some(Tag::Reset));
            entries.iter_mut().for_each(|entry| strip(&mut entry.node));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn merged(base: &str, over: &str) -> String {
        let one = |text: &str| parse(text, 0).unwrap().remove(0);
        let mut node = merge(one(base), one(over), &mut Vec::new()).unwrap();
        strip(&mut node);
        show(&node)
    }

    fn show(node: &Node) -> String {
        match &node.value {
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(show).collect();
                format!("[{}]", items.join(" "))
            }
            Value::Map(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|entry| format!("{}:{}", entry.key, show(&entry.node)))
                    .collect();
                format!("{{{}}}", entries.join(" "))
            }
            _ => node.text().unwrap_or_else(|| "-".to_owned()),
        }
    }

    fn service(base: &str, over: &str) -> String {
        let wrap = |text: &str| format!("services: {{a: {{{text}}}}}");
        let text = merged(&wrap(base), &wrap(over));
        let inner = text.strip_prefix("{services:{a:{").unwrap();
        inner.strip_suffix("}}}").unwrap().to_owned()
    }

    #[test]
    fn rules_of_a_service() {
        let cases = [
            ("image: x", "image: y", "image:y"),
            ("ports: [80]", "ports: [81]", "ports:[80 81]"),
            ("ports: [80]", "ports: !override [81]", "ports:[81]"),
            ("image: x, ports: [80]", "ports: !reset []", "image:x"),
            ("command: [a, b]", "command: [c]", "command:[c]"),
            (
                "environment: {A: 1}",
                "environment: [A=2, B=3]",
                "environment:[A=1 A=2 B=3]",
            ),
            ("dns: 1.1.1.1", "dns: [8.8.8.8]", "dns:[1.1.1.1 8.8.8.8]"),
            (
                "networks: [x]",
                "networks: {y: {aliases: [z]}}",
                "networks:{x:- y:{aliases:[z]}}",
            ),
            (
                "depends_on: [x]",
                "depends_on: {x: {condition: service_healthy}}",
                "depends_on:{x:{condition:service_healthy required:true}}",
            ),
            (
                "healthcheck: {test: [CMD, a], retries: 1}",
                "healthcheck: {test: [NONE]}",
                "healthcheck:{test:[NONE] retries:1}",
            ),
            (
                "build: .",
                "build: {dockerfile: D}",
                "build:{context:. dockerfile:D}",
            ),
            ("image: x", "image: null", "image:x"),
            (
                "extra_hosts: {h: 1.1.1.1}",
                "extra_hosts: ['i=2.2.2.2']",
                "extra_hosts:[h=1.1.1.1 i=2.2.2.2]",
            ),
        ];
        for (base, over, wanted) in cases {
            assert_eq!(service(base, over), wanted, "{base} + {over}");
        }
    }

    #[test]
    fn subnets_merge_by_subnet() {
        let base = "networks: {n: {ipam: {config: [{subnet: a}, {subnet: b}]}}}";
        let over = "networks: {n: {ipam: {config: [{subnet: b, gateway: g}, {subnet: c}]}}}";
        assert_eq!(
            merged(base, over),
            "{networks:{n:{ipam:{config:[{subnet:a} {subnet:b gateway:g} {subnet:c}]}}}}"
        );
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let one = |text: &str| parse(text, 0).unwrap().remove(0);
        let base = one("services: {a: {ports: [80]}}");
        let over = one("services: {a: {ports: x}}");
        let fault = merge(base, over, &mut Vec::new()).unwrap_err();
        assert_eq!(fault.message, "cannot override services.a.ports");
    }
}
