//! From file names to a project: reads the files, finds the project's name and its variables, lays
//! the documents over one another, and hands the tree to validation and to the typed view.
//!
//! ```text
//! text → yaml → interpolate → include → extends → merge → schema → project
//! ```
//!
//! Left out: remote files (git, OCI), which are refused by name.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};

use crate::config::ConfigPart;
use crate::dotenv;
use crate::error::{Error, ErrorKind, Errors, Fault, MAX_ERRORS, Warning};
use crate::extends::Bases;
use crate::interpolate::Interpolation;
use crate::merge;
use crate::model::{Naming, Project, Unset};
use crate::naming;
use crate::node::{Node, Place, Tag, Value};
use crate::project;
use crate::schema;
use crate::source::{self, MAX_FILE_BYTES, ReadError, Source};
use crate::yaml;

/// Where the first file begins: the place of what an empty project lacks.
const FILE_START: Place = Place {
    file: 0,
    line: 1,
    column: 1,
    length: 1,
};
/// How many files one load may read.
pub const MAX_FILES: usize = 256;
/// How many nodes one load may make, of all files and of what `extends` copies.
const MAX_TOTAL_NODES: usize = 1_000_000;

/// How many YAML documents one load may lay over one another; a file counts each time that it is
/// needed.
pub const MAX_DOCUMENTS: usize = 256;
/// How many bytes of text one load may parse; a file counts each time that it is needed.
const MAX_PARSED: usize = 128 << 20;
/// How many bytes the variables of all env files may have, likewise.
const MAX_VARIABLES: usize = 32 << 20;

/// The names under which compose looks for a file, best first.
pub const FILE_NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];
/// The names of a file that compose lays over it if it is there, best first.
pub const OVERRIDE_NAMES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// What is loaded, and with which surroundings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The compose files, later ones laid over earlier ones (`-f`).
    pub files: Vec<String>,
    /// The project's name (`-p`): goes before `COMPOSE_PROJECT_NAME`, the file's `name` and the
    /// folder.
    pub project_name: Option<String>,
    /// The folder that relative paths start from, and whose name is the project's; the first
    /// file's folder if `None`. Give an absolute path where the folder's own name is to be known.
    pub project_directory: Option<String>,
    /// The environment: goes before `.env`.
    pub env: BTreeMap<String, String>,
    /// Files of variables (`--env-file`); `None` is `.env` in the project's folder, if it is there.
    pub env_files: Option<Vec<String>>,
    /// Which compose reads the files: its container names, and whether a port that is asked for
    /// twice is published once.
    pub naming: Naming,
    /// The active profiles (`--profile`); if empty, `COMPOSE_PROFILES` says.
    pub profiles: Vec<String>,
    /// The part of a `vethlab.yaml` whose groups and expectations are added.
    pub config: Option<ConfigPart>,
    /// The files of projects that are spoken of together with this one: they go before its own in
    /// [`Project::files`], so that a place is one of one file of theirs. They are not read.
    pub after: Vec<String>,
    /// Those of `files` and `env_files` that a `vethlab.yaml` names, and no person: they lie inside of
    /// the project that the `vethlab.yaml` is in.
    pub named: Vec<String>,
    /// Whether the texts may name files outside of the project ([`Source::outside`]).
    pub allow_outside: bool,
}

/// Loads a project.
///
/// # Errors
/// Everything that is wrong, as far as it can be told at once; never empty.
pub fn load(source: &mut dyn Source, options: &Options) -> Result<Project, Errors> {
    let mut loader = Loader {
        source,
        texts: before(options),
        fence: None,
        warnings: Vec::new(),
        warned: BTreeSet::new(),
        unset: Vec::new(),
        numbers: BTreeMap::new(),
        spent: 0,
        nodes: 0,
        documents: 0,
        parsed: 0,
        variables: 0,
    };
    match loader.run(options) {
        Ok(project) => Ok(project),
        Err(faults) => Err(loader.errors(faults)),
    }
}

/// Loads one text as `compose.yaml` of a project named `default`, without other files or variables.
///
/// # Errors
/// As [`load`].
pub fn load_str(text: &str) -> Result<Project, Errors> {
    let mut files = BTreeMap::from([("compose.yaml".to_owned(), text.to_owned())]);
    let options = Options {
        files: vec!["compose.yaml".to_owned()],
        project_directory: Some("default".to_owned()),
        ..Options::default()
    };
    let mut source = InFolder("default", &mut files);
    load(&mut source, &options)
}

/// A folder's files as if they lay in no folder.
struct InFolder<'a>(&'a str, &'a mut dyn Source);

impl Source for InFolder<'_> {
    fn read(&mut self, path: &str) -> Result<String, ReadError> {
        let path = path.strip_prefix(self.0).unwrap_or(path);
        self.1.read(path.trim_start_matches('/'))
    }

    fn outside(&mut self, folder: &str, path: &str) -> Option<String> {
        self.1.outside(folder, path)
    }
}

/// A document of a file, before anything was done to it.
pub(crate) struct Document {
    pub(crate) path: String,
    pub(crate) root: Node,
}

/// What the documents of one project, or of one included project, have in common.
pub(crate) struct Scope {
    /// The folder that relative paths start from.
    pub(crate) dir: String,
    pub(crate) env: BTreeMap<String, String>,
    /// The files that led here by `include`.
    pub(crate) included: Vec<String>,
}

struct Text {
    name: String,
    text: String,
}

pub(crate) struct Loader<'a> {
    source: &'a mut dyn Source,
    /// The project's folder, if what its texts name has to lie inside of the project.
    fence: Option<String>,
    texts: Vec<Text>,
    /// The numbers of the files by path: each is read once.
    numbers: BTreeMap<String, u32>,
    pub(crate) warnings: Vec<Warning>,
    warned: BTreeSet<String>,
    pub(crate) unset: Vec<Unset>,
    spent: usize,
    nodes: usize,
    documents: usize,
    parsed: usize,
    variables: usize,
}

impl Loader<'_> {
    fn run(&mut self, options: &Options) -> Result<Project, Vec<Fault>> {
        let one = |fault| vec![fault];
        let first = options.files.first().ok_or_else(|| {
            let text = "no configuration file provided: not found";
            vec![Fault::bare(ErrorKind::Read, text)]
        })?;
        let dir = match &options.project_directory {
            Some(dir) => source::join("", dir),
            None => source::parent(first).to_owned(),
        };
        self.fence = (!options.allow_outside).then(|| dir.clone());
        self.check_named(options).map_err(one)?;
        let mut documents = Vec::new();
        for path in &options.files {
            documents.extend(self.documents(path, None).map_err(one)?);
        }
        let env = self.environment(&dir, options).map_err(one)?;
        let mut scope = Scope {
            dir,
            env,
            included: Vec::new(),
        };
        let name = self.name(&documents, &scope, options).map_err(one)?;
        scope
            .env
            .insert(naming::PROJECT_VARIABLE.to_owned(), name.clone());
        let root = self.model(documents, &scope).map_err(one)?;
        if root.entries().is_empty() {
            return Err(one(Fault::invalid(FILE_START, "empty compose file")));
        }
        let faults = schema::validate(&root);
        if !faults.is_empty() {
            return Err(faults);
        }
        let wanted = project::Wanted {
            name,
            naming: options.naming,
            profiles: profiles(options, &scope.env),
            config: options.config.as_ref(),
        };
        project::build(self, &root, wanted, &scope)
    }

    /// The environment, and below it the variables of the env files.
    fn environment(
        &mut self,
        dir: &str,
        options: &Options,
    ) -> Result<BTreeMap<String, String>, Fault> {
        let mut env = options.env.clone();
        match &options.env_files {
            None => {
                let path = source::join(dir, ".env");
                self.check_inside(dir, &path, None)?;
                if let Some(values) = self.env_file(&path, &env, None)? {
                    add_missing(&mut env, values);
                }
            }
            Some(paths) => {
                let mut below = BTreeMap::new();
                for path in paths {
                    let values = self.env_file(path, &env, None)?.ok_or_else(|| {
                        let text = format!("couldn't find env file: {path}");
                        Fault::bare(ErrorKind::Read, text)
                    })?;
                    below.extend(values);
                }
                add_missing(&mut env, below);
            }
        }
        Ok(env)
    }

    /// The variables of a file; `None` if it is not there.
    pub(crate) fn env_file(
        &mut self,
        path: &str,
        env: &BTreeMap<String, String>,
        at: Option<Place>,
    ) -> Result<Option<Vec<(String, String)>>, Fault> {
        let Some(file) = self.read(path, at)? else {
            return Ok(None);
        };
        self.spend_text(file, at)?;
        let text = self.texts.get(file as usize).map_or("", |text| &text.text);
        let values = dotenv::parse(text, env).map_err(|error| {
            let at = Place {
                file,
                line: error.line,
                column: 1,
                length: 1,
            };
            let text = format!("failed to read {path}: {}", error.message);
            Fault::new(ErrorKind::Invalid, at, text)
        })?;
        let starts_well = |key: &str| !key.starts_with(|c: char| c.is_ascii_digit());
        let bytes: usize = values
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        self.variables = self.variables.saturating_add(bytes);
        if self.variables > MAX_VARIABLES {
            let text = format!("{path}: the variables have more than {MAX_VARIABLES} bytes");
            return Err(Fault::bare(ErrorKind::TooLarge, text));
        }
        let values = values.into_iter().filter(|(key, _)| starts_well(key));
        Ok(Some(values.collect()))
    }

    /// What a `vethlab.yaml` names lies inside of its project.
    fn check_named(&mut self, options: &Options) -> Result<(), Fault> {
        let Some(config) = options.config.as_ref().filter(|_| !options.allow_outside) else {
            return Ok(());
        };
        let paths = options
            .files
            .iter()
            .chain(options.env_files.iter().flatten());
        for path in paths.filter(|path| options.named.contains(path)) {
            self.check_inside(source::parent(&config.file), path, None)?;
        }
        Ok(())
    }

    /// Refuses a file outside of the project in `folder`, before a byte of it is read.
    fn check_inside(&mut self, folder: &str, path: &str, at: Option<Place>) -> Result<(), Fault> {
        if self.fence.is_none() {
            return Ok(());
        }
        let Some(root) = self.source.outside(folder, path) else {
            return Ok(());
        };
        let text = format!("open {path}: outside of {root}, and not read");
        let fault = match at {
            Some(at) => Fault::new(ErrorKind::Read, at, text),
            None => Fault::bare(ErrorKind::Read, text),
        };
        Err(fault.hint("--allow-outside lets a project name any file, as compose does"))
    }

    /// Reads a file and gives its number; `None` if it is not there. `at` is where a text names it; it
    /// has to lie inside of the project then.
    fn read(&mut self, path: &str, at: Option<Place>) -> Result<Option<u32>, Fault> {
        let fault = |kind, text: String| match at {
            Some(at) => Fault::new(kind, at, text),
            None => Fault::bare(kind, text),
        };
        if let Some(&number) = self.numbers.get(path) {
            return Ok(Some(number));
        }
        if self.numbers.len() >= MAX_FILES {
            let text = format!("{path}: more than {MAX_FILES} files");
            return Err(fault(ErrorKind::TooLarge, text));
        }
        if let Some(folder) = self.fence.clone().filter(|_| at.is_some()) {
            self.check_inside(&folder, path, at)?;
        }
        let text = match self.source.read(path) {
            Ok(text) if text.len() > MAX_FILE_BYTES => Err(ReadError::TooLarge),
            Err(ReadError::NotFound) => return Ok(None),
            other => other,
        };
        let text = text.map_err(|error| {
            let kind = match error {
                ReadError::TooLarge => ErrorKind::TooLarge,
                _ => ErrorKind::Read,
            };
            fault(kind, format!("open {path}: {error}"))
        })?;
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        let name = path.to_owned();
        self.numbers.insert(name.clone(), number);
        self.texts.push(Text { name, text });
        Ok(Some(number))
    }

    /// Accounts for the text of a file that is to be parsed.
    fn spend_text(&mut self, number: u32, at: Option<Place>) -> Result<(), Fault> {
        let length = self
            .texts
            .get(number as usize)
            .map_or(0, |text| text.text.len());
        self.parsed = self.parsed.saturating_add(length);
        if self.parsed <= MAX_PARSED {
            return Ok(());
        }
        let text = format!("the project's files have more than {MAX_PARSED} bytes");
        Err(match at {
            Some(at) => Fault::new(ErrorKind::TooLarge, at, text),
            None => Fault::bare(ErrorKind::TooLarge, text),
        })
    }

    /// The documents of a file. `at` is where the file is named, if a file names it.
    pub(crate) fn documents(
        &mut self,
        path: &str,
        at: Option<Place>,
    ) -> Result<Vec<Document>, Fault> {
        let number = self.read(path, at)?.ok_or_else(|| {
            let text = format!("open {path}: {}", ReadError::NotFound);
            match at {
                Some(at) => Fault::new(ErrorKind::Read, at, text),
                None => Fault::bare(ErrorKind::Read, text),
            }
        })?;
        let text = self
            .texts
            .get(number as usize)
            .map_or("", |text| &text.text);
        let roots = yaml::parse(text, number)?;
        self.documents = self.documents.saturating_add(roots.len().max(1));
        if self.documents > MAX_DOCUMENTS {
            let text = format!("{path}: more than {MAX_DOCUMENTS} documents");
            return Err(Fault::bare(ErrorKind::TooLarge, text));
        }
        for root in &roots {
            self.spend(root.count(), root.at)?;
        }
        let path = path.to_owned();
        let document = |root| Document {
            path: path.clone(),
            root,
        };
        Ok(roots.into_iter().map(document).collect())
    }

    fn name(
        &mut self,
        documents: &[Document],
        scope: &Scope,
        options: &Options,
    ) -> Result<String, Fault> {
        let from_env = scope.env.get(naming::PROJECT_VARIABLE);
        let given = options
            .project_name
            .as_ref()
            .or_else(|| from_env.filter(|name| !name.is_empty()));
        if let Some(name) = given {
            return naming::checked(name).map_err(|text| Fault::bare(ErrorKind::Invalid, text));
        }
        let named = |document: &Document| {
            let node = document.root.get("name")?;
            Some((node.text().filter(|name| !name.is_empty())?, node.at))
        };
        if let Some((text, at)) = documents.iter().filter_map(named).next_back() {
            let path = ["name".to_owned()];
            let text = self.interpolation(&scope.env).text(&text, at, &path)?;
            let name = naming::normalised(&text);
            if !name.is_empty() {
                return Ok(name);
            }
        }
        let name = naming::normalised(source::last_part(&scope.dir));
        if name.is_empty() {
            let text = "project name must not be empty";
            return Err(Fault::bare(ErrorKind::Invalid, text)
                .hint("name it with the file's `name` key or with COMPOSE_PROJECT_NAME"));
        }
        Ok(name)
    }

    pub(crate) fn interpolation<'s>(
        &'s mut self,
        env: &'s BTreeMap<String, String>,
    ) -> Interpolation<'s> {
        Interpolation {
            env,
            warnings: &mut self.warnings,
            warned: &mut self.warned,
            unset: &mut self.unset,
            spent: &mut self.spent,
        }
    }

    /// The documents as one tree, with everything included and extended.
    pub(crate) fn model(&mut self, documents: Vec<Document>, scope: &Scope) -> Result<Node, Fault> {
        let mut all = Node::new(Value::Map(Vec::new()), Place::default());
        for document in documents {
            let Document { path, root } = document;
            let mut root = self.prepared(root, &path, scope, &scope.dir)?;
            self.include(&mut root, &path, scope)?;
            self.extend(&mut root, &path, scope)?;
            let tagged = root.has_tags();
            all = merge::merge(all, root, &mut Vec::new())?;
            if tagged {
                merge::strip(&mut all);
            }
        }
        Ok(all)
    }

    fn extend(&mut self, root: &mut Node, path: &str, scope: &Scope) -> Result<(), Fault> {
        let Some(services) = root.get_mut("services") else {
            return Ok(());
        };
        let value = core::mem::replace(&mut services.value, Value::Null);
        let Value::Map(entries) = value else {
            services.value = value;
            return Ok(());
        };
        services.value = Value::Map(Bases::new(self, scope, path).apply(entries)?);
        Ok(())
    }

    /// A document with its variables substituted and its paths joined to `dir`.
    pub(crate) fn prepared(
        &mut self,
        mut root: Node,
        path: &str,
        scope: &Scope,
        dir: &str,
    ) -> Result<Node, Fault> {
        if !matches!(root.value, Value::Map(_)) {
            let text = "top-level object must be a mapping";
            return Err(Fault::invalid(root.at, text));
        }
        self.interpolation(&scope.env).run(&mut root)?;
        root.tag = root.tag.filter(|&tag| tag == Tag::Override);
        if let Some(version) = root.entry("version") {
            if version.node.as_str().is_none() {
                return Err(Fault::invalid(version.node.at, "version must be a string"));
            }
            let message = format!(
                "{path}: the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential confusion"
            );
            let at = Some(version.key_at);
            self.warnings.push(Warning { message, at });
            root.remove("version");
        }
        join_paths(&mut root, dir);
        Ok(root)
    }

    /// Accounts for the nodes of a file or a copy.
    pub(crate) fn spend(&mut self, nodes: usize, at: Place) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_TOTAL_NODES {
            let text = format!("the project has more than {MAX_TOTAL_NODES} nodes");
            return Err(Fault::new(ErrorKind::TooLarge, at, text));
        }
        Ok(())
    }

    /// The names of the files read so far, by number.
    pub(crate) fn file_names(&self) -> Vec<String> {
        self.texts.iter().map(|text| text.name.clone()).collect()
    }

    fn errors(&self, mut faults: Vec<Fault>) -> Errors {
        faults.truncate(MAX_ERRORS);
        Errors(faults.into_iter().map(|fault| self.error(fault)).collect())
    }

    fn error(&self, fault: Fault) -> Error {
        let text = fault.at.and_then(|at| self.texts.get(at.file as usize));
        let (name, text) = text.map_or(("", ""), |text| (&text.name, &text.text));
        fault.in_text(name, text)
    }

    /// Where a part of a scalar's text stands, if it stands there as the file has it; else where the
    /// scalar stands.
    pub(crate) fn within(&self, at: Place, scalar: &str, part: &Range<usize>) -> Place {
        let text = self.texts.get(at.file as usize);
        text.map_or(at, |text| within(&text.text, at, scalar, part))
    }
}

/// Where a part of a scalar stands in the text of its file, as [`Loader::within`].
pub(crate) fn within(text: &str, at: Place, scalar: &str, part: &Range<usize>) -> Place {
    let find = || {
        let line = text.lines().nth(at.line.checked_sub(1)? as usize)?;
        let skip = at.column.checked_sub(1)? as usize;
        let start = line.char_indices().nth(skip)?.0;
        let bare = line[start..].trim_start_matches(['\'', '"']);
        let quotes = line[start..].len() - bare.len();
        let before = scalar.get(..part.start)?;
        let inside = scalar.get(part.clone())?;
        if quotes > 1 || !bare.strip_prefix(before)?.starts_with(inside) {
            return None;
        }
        let count = |text: &str| u32::try_from(text.chars().count()).ok();
        let column = at.column + u32::try_from(quotes).ok()? + count(before)?;
        Some(Place {
            column,
            length: count(inside)?.max(1),
            ..at
        })
    };
    find().unwrap_or(at)
}

fn before(options: &Options) -> Vec<Text> {
    let names = options.after.iter().cloned();
    let text = |name| Text {
        name,
        text: String::new(),
    };
    names.map(text).collect()
}

fn profiles(options: &Options, env: &BTreeMap<String, String>) -> Vec<String> {
    if !options.profiles.is_empty() {
        return options.profiles.clone();
    }
    let names = env.get("COMPOSE_PROFILES").map_or("", String::as_str);
    let names = names.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Adds the variables that `env` does not have.
pub(crate) fn add_missing(
    env: &mut BTreeMap<String, String>,
    values: impl IntoIterator<Item = (String, String)>,
) {
    for (key, value) in values {
        env.entry(key).or_insert(value);
    }
}

/// Joins the paths that this crate follows to `dir`: `env_file` and `extends.file`.
fn join_paths(root: &mut Node, dir: &str) {
    let Some(services) = root.get_mut("services") else {
        return;
    };
    let Value::Map(entries) = &mut services.value else {
        return;
    };
    for entry in entries {
        if let Some(file) = entry
            .node
            .get_mut("extends")
            .and_then(|node| node.get_mut("file"))
        {
            join_path(file, dir);
        }
        if let Some(files) = entry.node.get_mut("env_file") {
            match &mut files.value {
                Value::List(items) => items.iter_mut().for_each(|item| join_path(item, dir)),
                _ => join_path(files, dir),
            }
        }
    }
}

fn join_path(node: &mut Node, dir: &str) {
    match &mut node.value {
        Value::Str(path) if !path.is_empty() && !source::is_remote(path) => {
            *path = source::join(dir, path);
        }
        Value::Map(_) => {
            if let Some(path) = node.get_mut("path") {
                join_path(path, dir);
            }
        }
        _ => {}
    }
}
