//! `include`: other projects whose services, networks, volumes, secrets and configs become ours.
//!
//! An included project has its own folder and its own `.env`; what both define is merged, ours over
//! theirs.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::error::{ErrorKind, Fault};
use crate::load::{Loader, Scope, add_missing};
use crate::merge;
use crate::node::{Entry, Node, Place, Value};
use crate::source;

/// How deep includes may go.
const MAX_INCLUDES: usize = 32;

/// The sections that are taken over.
const SECTIONS: [&str; 6] = [
    "services", "volumes", "networks", "secrets", "configs", "models",
];

/// One entry of `include`.
struct Include {
    paths: Vec<(String, Place)>,
    directory: Option<String>,
    env_files: Option<Vec<(String, Place)>>,
    at: Place,
}

impl Loader<'_> {
    /// Takes over what `root`, the document at `path`, includes.
    pub(crate) fn include(
        &mut self,
        root: &mut Node,
        path: &str,
        scope: &Scope,
    ) -> Result<(), Fault> {
        let Some(list) = root.remove("include") else {
            return Ok(());
        };
        let items = match list.value {
            Value::List(items) => items,
            Value::Null => return Ok(()),
            _ => return Err(Fault::invalid(list.at, "`include` must be a list")),
        };
        let mut trail = scope.included.clone();
        trail.push(path.to_owned());
        for item in items {
            let include = read(&item)?;
            let imported = self.included(include, scope, &trail)?;
            import(root, imported)?;
        }
        Ok(())
    }

    fn included(
        &mut self,
        include: Include,
        scope: &Scope,
        trail: &[String],
    ) -> Result<Node, Fault> {
        let mut paths = Vec::new();
        for (path, at) in &include.paths {
            if source::is_remote(path) {
                let text = format!("include: {path} is remote and not fetched");
                return Err(Fault::new(ErrorKind::NotUnderstood, *at, text));
            }
            paths.push((source::join(&scope.dir, path), *at));
        }
        let Some((first, at)) = paths.first().cloned() else {
            return Err(Fault::invalid(include.at, "include: no path"));
        };
        if trail.contains(&first) {
            let rest = trail[1..].iter().chain([&first]);
            let lines: String = rest.map(|path| format!("\n include {path}")).collect();
            let text = format!("include cycle detected:\n{}{lines}", trail[0]);
            return Err(Fault::new(ErrorKind::Cycle, at, text));
        }
        if trail.len() > MAX_INCLUDES {
            let text = format!("includes are nested deeper than {MAX_INCLUDES}");
            return Err(Fault::new(ErrorKind::TooLarge, at, text));
        }
        let dir = match &include.directory {
            Some(dir) => source::join(&scope.dir, dir),
            None => source::parent(&first).to_owned(),
        };
        let env = self.included_env(&include, scope, &dir)?;
        let inner = Scope {
            dir,
            env,
            included: trail.to_vec(),
        };
        let mut documents = Vec::new();
        for (path, at) in &paths {
            documents.extend(self.documents(path, Some(*at))?);
        }
        self.model(documents, &inner)
    }

    fn included_env(
        &mut self,
        include: &Include,
        scope: &Scope,
        dir: &str,
    ) -> Result<BTreeMap<String, String>, Fault> {
        let mut env = scope.env.clone();
        let Some(files) = &include.env_files else {
            let path = source::join(dir, ".env");
            let values = self.env_file(&path, &env, Some(include.at))?;
            add_missing(&mut env, values.unwrap_or_default());
            return Ok(env);
        };
        let mut below = BTreeMap::new();
        for (path, at) in files.iter().filter(|(path, _)| path != "/dev/null") {
            let path = source::join(&scope.dir, path);
            let values = self.env_file(&path, &env, Some(*at))?.ok_or_else(|| {
                let text = format!("stat {path}: no such file or directory");
                Fault::new(ErrorKind::Read, *at, text)
            })?;
            below.extend(values);
        }
        add_missing(&mut env, below);
        Ok(env)
    }
}

fn read(item: &Node) -> Result<Include, Fault> {
    let at = item.at;
    let mut include = Include {
        paths: Vec::new(),
        directory: None,
        env_files: None,
        at,
    };
    if let Some(path) = item.as_str() {
        include.paths.push((path.to_owned(), at));
        return Ok(include);
    }
    if !matches!(item.value, Value::Map(_)) {
        return Err(Fault::invalid(at, "include must be a string"));
    }
    for Entry { key, key_at, node } in item.entries() {
        match key.as_str() {
            "path" => include.paths = texts(node, "include.path")?,
            "env_file" => include.env_files = Some(texts(node, "include.env_file")?),
            "project_directory" => {
                let Some(dir) = node.as_str() else {
                    let text = "include.project_directory must be a string";
                    return Err(Fault::invalid(node.at, text));
                };
                include.directory = Some(dir.to_owned()).filter(|dir| !dir.is_empty());
            }
            _ => {
                let text = format!("include additional properties '{key}' not allowed");
                return Err(Fault::invalid(*key_at, text));
            }
        }
    }
    Ok(include)
}

fn texts(node: &Node, name: &str) -> Result<Vec<(String, Place)>, Fault> {
    let one = |node: &Node| match node.as_str() {
        Some(text) => Ok((text.to_owned(), node.at)),
        None => Err(Fault::invalid(node.at, format!("{name} must be a string"))),
    };
    match &node.value {
        Value::List(items) => items.iter().map(one).collect(),
        _ => Ok(vec![one(node)?]),
    }
}

/// Puts the sections of `imported` into `root`.
fn import(root: &mut Node, mut imported: Node) -> Result<(), Fault> {
    for section in SECTIONS {
        let Some(theirs) = imported.remove(section) else {
            continue;
        };
        if theirs.is_null() {
            continue;
        }
        let Value::Map(entries) = &mut root.value else {
            continue;
        };
        let index = entries.iter().position(|entry| entry.key == section);
        let Some(entry) = index.and_then(|index| entries.get_mut(index)) else {
            entries.push(Entry {
                key: section.to_owned(),
                key_at: theirs.at,
                node: theirs,
            });
            continue;
        };
        let at = entry.node.at;
        let ours = core::mem::replace(&mut entry.node, Node::new(Value::Null, at));
        entry.node = import_section(ours, theirs, section)?;
    }
    Ok(())
}

/// Our entries in their order, merged over theirs, then what only they have.
fn import_section(ours: Node, theirs: Node, section: &str) -> Result<Node, Fault> {
    if ours.is_null() {
        return Ok(theirs);
    }
    let (at, tag) = (ours.at, ours.tag);
    let (Value::Map(ours), Value::Map(theirs)) = (ours.value, theirs.value) else {
        return Err(Fault::invalid(at, format!("{section} must be a mapping")));
    };
    let pair = |entry: Entry| (entry.key.clone(), Some(entry));
    let mut theirs: IndexMap<String, Option<Entry>> = theirs.into_iter().map(pair).collect();
    let mut entries = Vec::new();
    for mut entry in ours {
        if let Some(base) = theirs.get_mut(&entry.key).and_then(Option::take) {
            let mut path = vec![section.to_owned(), entry.key.clone()];
            entry.node = merge::merge(base.node, entry.node, &mut path)?;
        }
        entries.push(entry);
    }
    entries.extend(theirs.into_values().flatten());
    let value = Value::Map(entries);
    Ok(Node { value, at, tag })
}
