//! `extends`: a service laid over another one, of the same file or of another.
//!
//! The other file is read with its own folder for relative paths; its `include`s do not count.
//! Everything is inherited, `depends_on`, `links` and networks too, so what they name must exist in
//! the extending project.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::error::{ErrorKind, Fault};
use crate::load::{Loader, Scope};
use crate::merge;
use crate::node::{Entry, Node, Place, Value};
use crate::source;

/// How long a chain of services that extend one another may be.
const MAX_CHAIN: usize = 64;

type Services = IndexMap<String, Entry>;

/// The services that may be extended while one document is worked on.
pub(crate) struct Bases<'l, 's> {
    loader: &'l mut Loader<'s>,
    scope: &'l Scope,
    /// The document's own path, for messages.
    path: String,
    /// Services by file; the document itself is `""`.
    files: BTreeMap<String, Services>,
    /// The services that are being worked on.
    chain: Vec<(String, String)>,
}

/// What an `extends` says.
struct Reference {
    service: String,
    file: Option<(String, Place)>,
    at: Place,
}

impl<'l, 's> Bases<'l, 's> {
    pub(crate) fn new(loader: &'l mut Loader<'s>, scope: &'l Scope, path: &str) -> Self {
        Self {
            loader,
            scope,
            path: path.to_owned(),
            files: BTreeMap::new(),
            chain: Vec::new(),
        }
    }

    /// Works out every `extends` among `entries`.
    pub(crate) fn apply(mut self, entries: Vec<Entry>) -> Result<Vec<Entry>, Fault> {
        let names: Vec<String> = entries.iter().map(|entry| entry.key.clone()).collect();
        self.files.insert(String::new(), by_name(entries));
        for name in &names {
            self.resolve("", name)?;
        }
        let services = self.files.remove("").unwrap_or_default();
        Ok(services.into_values().collect())
    }

    fn name_of<'f>(&'f self, file: &'f str) -> &'f str {
        if file.is_empty() { &self.path } else { file }
    }

    fn service(&mut self, file: &str, name: &str) -> Option<&mut Entry> {
        self.files.get_mut(file)?.get_mut(name)
    }

    /// Makes `name` of `file` a service without `extends`.
    fn resolve(&mut self, file: &str, name: &str) -> Result<(), Fault> {
        let Some(entry) = self.service(file, name) else {
            return Ok(());
        };
        let Some(extends) = entry.node.remove("extends") else {
            return Ok(());
        };
        let reference = reference(name, &extends)?;
        let step = (file.to_owned(), name.to_owned());
        self.chain.push(step);
        self.check_chain(reference.at)?;
        let base_file = match &reference.file {
            Some((path, at)) => {
                self.load(name, path, *at)?;
                path.clone()
            }
            None => file.to_owned(),
        };
        self.check_there(file, name, &base_file, &reference)?;
        self.check_circle(&base_file, &reference)?;
        self.resolve(&base_file, &reference.service)?;
        self.lay_over(file, name, &base_file, &reference)?;
        self.chain.pop();
        Ok(())
    }

    fn lay_over(
        &mut self,
        file: &str,
        name: &str,
        base_file: &str,
        reference: &Reference,
    ) -> Result<(), Fault> {
        let base = self.service(base_file, &reference.service);
        let Some(base) = base.map(|entry| &entry.node) else {
            return Ok(());
        };
        if base.is_null() {
            return Ok(());
        }
        let count = base.count();
        let mut base = base.clone();
        self.loader.spend(count, reference.at)?;
        merge::strip(&mut base);
        let Some(entry) = self.service(file, name) else {
            return Ok(());
        };
        let at = entry.node.at;
        let over = core::mem::replace(&mut entry.node, Node::new(Value::Null, at));
        let mut path = vec!["services".to_owned(), name.to_owned()];
        entry.node = merge::merge(base, over, &mut path)?;
        Ok(())
    }

    fn check_chain(&self, at: Place) -> Result<(), Fault> {
        if self.chain.len() > MAX_CHAIN {
            let text = format!("more than {MAX_CHAIN} services extend one another");
            return Err(Fault::new(ErrorKind::TooLarge, at, text));
        }
        Ok(())
    }

    fn check_there(
        &self,
        file: &str,
        name: &str,
        base_file: &str,
        reference: &Reference,
    ) -> Result<(), Fault> {
        let services = self.files.get(base_file);
        if services.is_some_and(|services| services.contains_key(&reference.service)) {
            return Ok(());
        }
        let (file, base) = (self.name_of(file), &reference.service);
        let mut text =
            format!("cannot extend service {name:?} in {file}: service {base:?} not found");
        if reference.file.is_some() {
            text.push_str(&format!(" in {base_file}"));
        }
        Err(Fault::new(ErrorKind::Undefined, reference.at, text))
    }

    fn check_circle(&self, base_file: &str, reference: &Reference) -> Result<(), Fault> {
        let same =
            |(file, name): &&(String, String)| file == base_file && *name == reference.service;
        if self.chain.iter().find(same).is_none() {
            return Ok(());
        }
        let mut text = String::from("Circular reference:");
        for (i, (file, name)) in self.chain.iter().enumerate() {
            let word = if i == 0 { "" } else { "extends " };
            text.push_str(&format!("\n  {word}{name} in {}", self.name_of(file)));
        }
        let file = self.name_of(base_file);
        text.push_str(&format!("\n  extends {} in {file}", reference.service));
        Err(Fault::new(ErrorKind::Cycle, reference.at, text))
    }

    /// Reads a file whose services are extended.
    fn load(&mut self, name: &str, path: &str, at: Place) -> Result<(), Fault> {
        if self.files.contains_key(path) {
            return Ok(());
        }
        if source::is_remote(path) {
            let text = format!("services.{name}.extends.file: {path} is remote and not fetched");
            return Err(Fault::new(ErrorKind::NotUnderstood, at, text));
        }
        let mut all = Node::new(Value::Map(Vec::new()), at);
        for document in self.loader.documents(path, Some(at))? {
            let dir = source::parent(path);
            let root = self.loader.prepared(document.root, path, self.scope, dir)?;
            all = merge::merge(all, root, &mut Vec::new())?;
        }
        let services = match all.remove("services").map(|node| node.value) {
            Some(Value::Map(entries)) => entries,
            other => {
                let why = match other {
                    None => "no services section",
                    Some(_) => "services must be a mapping",
                };
                let text = format!("cannot extend service {name:?} in {path}: {why}");
                return Err(Fault::new(ErrorKind::Undefined, at, text));
            }
        };
        self.files.insert(path.to_owned(), by_name(services));
        Ok(())
    }
}

fn by_name(entries: Vec<Entry>) -> Services {
    let pair = |entry: Entry| (entry.key.clone(), entry);
    entries.into_iter().map(pair).collect()
}

fn reference(name: &str, node: &Node) -> Result<Reference, Fault> {
    let at = node.at;
    if let Some(service) = node.as_str() {
        let (service, file) = (service.to_owned(), None);
        return Ok(Reference { service, file, at });
    }
    if !matches!(node.value, Value::Map(_)) {
        let text = format!("services.{name}.extends must be a string");
        return Err(Fault::invalid(at, text));
    }
    for entry in node.entries() {
        if !matches!(entry.key.as_str(), "service" | "file") {
            let key = &entry.key;
            let text = format!("services.{name}.extends additional properties '{key}' not allowed");
            return Err(Fault::invalid(entry.key_at, text));
        }
    }
    let service = node.get("service").and_then(Node::as_str);
    let Some(service) = service.map(str::to_owned) else {
        return Err(Fault::invalid(
            at,
            format!("extends.{name}.service is required"),
        ));
    };
    let at = node.get("service").map_or(at, |node| node.at);
    let file = match node.get("file") {
        None => None,
        Some(file) => match file.as_str() {
            Some(path) => Some((path.to_owned(), file.at)),
            None => {
                let text = format!("services.{name}.extends.file must be a string");
                return Err(Fault::invalid(file.at, text));
            }
        },
    };
    Ok(Reference { service, file, at })
}
