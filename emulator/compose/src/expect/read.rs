//! Entries of a list of expectations, out of YAML.

use core::hash::Hash;
use core::ops::Range;

use indexmap::IndexSet;

use super::names::Names;
use super::parse;
use super::{Claim, Event, Expectation, Wrong};
use crate::error::{ErrorKind, Fault, MAX_ERRORS};
use crate::node::{Node, Place, Value};
use crate::vethlab;

/// How many expectations a project may have.
pub(crate) const MAX_EXPECTATIONS: usize = 10_000;

/// Where in a file a part of a scalar's text stands.
pub(crate) type Within<'w> = &'w dyn Fn(Place, &str, &Range<usize>) -> Place;

/// How many parties and targets all expectations of a project may name, groups spread out.
pub(crate) const MAX_PARTIES: usize = 200_000;

/// Reads a list of them. Several that are wrong are told together. `room` is how many parties and
/// targets they may name yet.
pub(crate) fn list(
    node: &Node,
    names: &Names<'_>,
    within: Within<'_>,
    room: &mut usize,
) -> Result<Vec<Expectation>, Vec<Fault>> {
    let single = core::slice::from_ref(node);
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => single,
    };
    if items.len() > MAX_EXPECTATIONS {
        let message = format!("more than {MAX_EXPECTATIONS} expectations");
        return Err(vec![Fault::new(ErrorKind::TooLarge, node.at, message)]);
    }
    let (mut out, mut faults) = (Vec::new(), Vec::new());
    for item in items {
        match entry(item, names, within) {
            Ok(expectation) => {
                let Some(left) = room.checked_sub(expectation.claim.names()) else {
                    let message = format!("the expectations name more than {MAX_PARTIES} parties");
                    return Err(vec![Fault::new(ErrorKind::TooLarge, item.at, message)]);
                };
                *room = left;
                out.push(expectation);
            }
            Err(fault) => faults.push(fault),
        }
        if faults.len() >= MAX_ERRORS {
            break;
        }
    }
    if faults.is_empty() {
        Ok(out)
    } else {
        Err(faults)
    }
}

/// Reads one entry.
fn entry(node: &Node, names: &Names<'_>, within: Within<'_>) -> Result<Expectation, Fault> {
    match &node.value {
        Value::Str(text) => {
            let read = parse::sentence(text, names);
            let expectation = read.map_err(|wrong| fault(node, text, wrong, within))?;
            Ok(Expectation {
                at: node.at,
                ..expectation
            })
        }
        Value::Map(_) => Map {
            node,
            names,
            within,
        }
        .read(),
        _ => {
            let message = "an expectation must be a sentence or a mapping";
            Err(Fault::invalid(node.at, message).hint("write one as `web -> db:5432 allow`"))
        }
    }
}

/// The keys of the map form.
const KEYS: [&str; 12] = [
    "addresses",
    "after",
    "before",
    "from",
    "on",
    "only",
    "resolve",
    "resolves",
    "sees",
    "to",
    "verdict",
    "via",
];

/// What a map of the form of one claim may hold beside the events.
const EVENTS: [&str; 3] = ["after", "before", "resolve"];

/// An expectation as a map.
struct Map<'m> {
    node: &'m Node,
    names: &'m Names<'m>,
    within: Within<'m>,
}

impl Map<'_> {
    fn read(&self) -> Result<Expectation, Fault> {
        vethlab::keys(self.node, &KEYS, "an expectation")?;
        let claim = if self.has("only") {
            self.of(&["only", "to"], "only")?;
            Claim::Only {
                from: self.each("only", parse::parties)?,
                to: self.each("to", parse::targets)?,
            }
        } else if self.has("resolves") {
            self.of(&["addresses", "from", "on", "resolves"], "resolves")?;
            Claim::Resolves {
                from: self.each("from", parse::parties)?,
                name: self.one("resolves", parse::name)?,
                count: self.count()?,
                on: self.maybe("on", parse::network)?,
            }
        } else {
            self.of(&["from", "sees", "to", "verdict", "via"], "from")?;
            Claim::Reach {
                from: self.each("from", parse::parties)?,
                to: self.each("to", parse::targets)?,
                verdict: self.one("verdict", parse::verdict)?,
                via: self.maybe("via", parse::network)?,
                sees: self.maybe("sees", parse::sees)?,
            }
        };
        let mut expectation = Expectation {
            at: self.node.at,
            text: String::new(),
            claim,
            when: self.events()?,
            resolve_once: self.resolve_once()?,
        };
        let check = parse::check(&expectation);
        check.map_err(|message| Fault::invalid(self.node.at, message))?;
        expectation.text = expectation.to_string();
        Ok(expectation)
    }

    fn get(&self, key: &str) -> Option<&Node> {
        self.node.get(key).filter(|node| !node.is_null())
    }

    fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Only these keys, and events, may stand beside `with`.
    fn of(&self, known: &[&str], with: &str) -> Result<(), Fault> {
        let fits = |key: &str| known.contains(&key) || EVENTS.contains(&key);
        match self.node.entries().iter().find(|entry| !fits(&entry.key)) {
            None => Ok(()),
            Some(entry) => {
                let message = format!("{:?} does not go with {with:?}", entry.key);
                Err(Fault::invalid(entry.key_at, message))
            }
        }
    }

    /// A text, or each of a list of texts, read by `read`.
    fn each<T: Eq + Hash>(
        &self,
        key: &str,
        read: fn(&str, &Names<'_>) -> Result<Vec<T>, Wrong>,
    ) -> Result<Vec<T>, Fault> {
        let node = self.needed(key)?;
        let single = core::slice::from_ref(node);
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => single,
        };
        let mut out = IndexSet::new();
        for item in items {
            out.extend(self.scalar(item, key, read)?);
        }
        if out.is_empty() {
            return Err(Fault::invalid(node.at, format!("{key:?} is empty")));
        }
        Ok(out.into_iter().collect())
    }

    fn scalar<T>(
        &self,
        node: &Node,
        key: &str,
        read: fn(&str, &Names<'_>) -> Result<T, Wrong>,
    ) -> Result<T, Fault> {
        let Some(text) = node.text() else {
            let message = format!("{key:?} must be a text");
            return Err(Fault::invalid(node.at, message));
        };
        read(&text, self.names).map_err(|wrong| fault(node, &text, wrong, self.within))
    }

    fn needed(&self, key: &str) -> Result<&Node, Fault> {
        self.get(key).ok_or_else(|| {
            let message = format!("an expectation needs {key:?}");
            Fault::invalid(self.node.at, message)
                .hint("write it as a sentence or as {from: web, to: \"db:5432\", verdict: allow}")
        })
    }

    fn one<T>(
        &self,
        key: &str,
        read: fn(&str, &Names<'_>) -> Result<T, Wrong>,
    ) -> Result<T, Fault> {
        self.scalar(self.needed(key)?, key, read)
    }

    fn maybe<T>(
        &self,
        key: &str,
        read: fn(&str, &Names<'_>) -> Result<T, Wrong>,
    ) -> Result<Option<T>, Fault> {
        self.get(key)
            .map(|node| self.scalar(node, key, read))
            .transpose()
    }

    fn count(&self) -> Result<Option<u32>, Fault> {
        let Some(node) = self.get("addresses") else {
            return Ok(None);
        };
        match node.value {
            Value::Int(count) => u32::try_from(count).ok(),
            _ => None,
        }
        .map(Some)
        .ok_or_else(|| Fault::invalid(node.at, "\"addresses\" must be a number of addresses"))
    }

    fn events(&self) -> Result<Vec<Event>, Fault> {
        let mut events = Vec::new();
        for entry in self.node.entries() {
            if entry.node.is_null() {
                continue;
            }
            match entry.key.as_str() {
                "after" => events.extend(self.each("after", parse::after)?),
                "before" => events.extend(self.each("before", parse::before)?),
                _ => {}
            }
        }
        Ok(events)
    }

    fn resolve_once(&self) -> Result<bool, Fault> {
        match self.get("resolve") {
            None => Ok(false),
            Some(node) if node.as_str() == Some("once") => Ok(true),
            Some(node) if node.as_str() == Some("always") => Ok(false),
            Some(node) => {
                let message = "\"resolve\" must be `once` or `always`";
                Err(Fault::invalid(node.at, message))
            }
        }
    }
}

fn fault(node: &Node, text: &str, wrong: Wrong, within: Within<'_>) -> Fault {
    let at = within(node.at, text, &wrong.range);
    let mut fault = Fault::new(wrong.kind, at, wrong.message);
    fault.hint = wrong.hint;
    fault
}
