//! `vethlab.yaml`: which projects there are, how their files are loaded, what is expected of them.
//!
//! For one project:
//!
//! ```yaml
//! files: [compose.yaml, compose.prod.yaml]  # else those that compose finds beside this file
//! env_file: prod.env                        # a path or a list
//! profiles: [debug]
//! name: shop                                # the project's name, as with `-p`
//! engine: "29"
//! images: my-images.yaml                    # more of the table of images: a path or a list
//! host: machine.yaml
//! groups: {data: [redis, db]}
//! expect:
//!   - worker -> data allow
//! variants:                                 # each a run of its own, over what stands above
//!   ci: {files: [compose.yaml, compose.ci.yaml], expect: [data -> internet deny]}
//! ```
//!
//! For several, with the same keys in each but `images` and `host`:
//!
//! ```yaml
//! projects:
//!   shop: {files: [shop/compose.yaml], expect: [web -> db:5432 allow]}
//!   blog: {files: [blog/compose.yaml]}
//! hosts:                                    # projects that run together on one machine
//!   edge:
//!     projects: [shop, blog]
//!     host: edge.yaml
//!     groups: {stores: [shop/db]}           # services are KEY/SERVICE here
//!     expect:
//!       - shop/web -> blog/ghost:2368 allow via web   # a network by its name in the engine
//! ```
//!
//! Paths start from the file's folder. Unknown keys are refused. Expectations and groups are read
//! with the project ([`crate::Options::config`]), which knows the names that they use.

use indexmap::IndexMap;

use crate::error::{ErrorKind, Errors, Fault};
use crate::load::{FILE_NAMES, OVERRIDE_NAMES, Options};
use crate::near;
use crate::node::{At, Entry, Node, Place, Value};
use crate::read;
use crate::source::{self, MAX_FILE_BYTES, ReadError, Source};
use crate::vethlab;
use crate::yaml;

/// The name under which it is found.
pub const CONFIG_NAME: &str = "vethlab.yaml";

/// How many projects, variants and hosts there may be.
const MAX_ITEMS: usize = 1024;

const PROJECT: [&str; 8] = [
    "engine", "env_file", "expect", "files", "groups", "name", "profiles", "variants",
];
const VARIANT: [&str; 7] = [
    "engine", "env_file", "expect", "files", "groups", "name", "profiles",
];
const ONE: [&str; 10] = [
    "engine", "env_file", "expect", "files", "groups", "host", "images", "name", "profiles",
    "variants",
];
const SEVERAL: [&str; 5] = ["engine", "host", "hosts", "images", "projects"];
const HOST: [&str; 4] = ["expect", "groups", "host", "projects"];

/// What a `vethlab.yaml` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Its path.
    pub file: String,
    /// `engine`, for projects that name none.
    pub engine: Option<At<String>>,
    /// `images`: paths of tables for [`crate::Images::extend`], joined to the file's folder.
    pub images: Vec<At<String>>,
    /// `host`: the path of a machine, likewise.
    pub host: Option<At<String>>,
    /// The projects, in file order; one without a name if the file is about one.
    pub projects: Vec<ConfigProject>,
    /// `hosts`, in file order.
    pub hosts: Vec<ConfigHost>,
}

/// A project of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigProject {
    /// Its key under `projects`; `None` if the file is about one.
    pub key: Option<At<String>>,
    /// How it is loaded.
    pub load: ConfigLoad,
    /// `variants` by name, in file order.
    pub variants: IndexMap<String, ConfigLoad>,
}

/// How a project is loaded. In a variant, what is `None` is as in the project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigLoad {
    /// `files`, joined to the folder.
    pub files: Option<Vec<At<String>>>,
    /// `env_file`, joined to the folder.
    pub env_files: Option<Vec<At<String>>>,
    /// `profiles`.
    pub profiles: Option<Vec<String>>,
    /// `name`.
    pub name: Option<At<String>>,
    /// `engine`.
    pub engine: Option<At<String>>,
}

/// Projects that run together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigHost {
    /// Its key.
    pub name: String,
    /// Where the key stands.
    pub at: Place,
    /// Keys of projects, in the order in which they are started.
    pub projects: Vec<At<String>>,
    /// `host`: the path of its machine, joined to the folder.
    pub host: Option<At<String>>,
    /// Something is expected of its projects together: see [`crate::Joined`].
    pub expects: bool,
}

/// The part of a `vethlab.yaml` that is about a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigPart {
    /// The file's path.
    pub file: String,
    /// The project's key, if it has one.
    pub project: Option<String>,
    /// The variant, if it is one.
    pub variant: Option<String>,
}

/// One load that the file asks for: a project, or a variant of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// `shop`, `shop/ci`, `ci`, or nothing: the project's key and the variant.
    pub label: String,
    /// How it is loaded; the environment is the caller's to add.
    pub options: Options,
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// What is wrong with it, or why it cannot be read.
    pub fn load(source: &mut dyn Source, path: &str) -> Result<Self, Errors> {
        let text = match source.read(path) {
            Ok(text) if text.len() > MAX_FILE_BYTES => Err(ReadError::TooLarge),
            other => other,
        };
        let text = text.map_err(|error| {
            let fault = Fault::bare(ErrorKind::Read, format!("open {path}: {error}"));
            Errors(vec![fault.in_text("", "")])
        })?;
        Self::parse(path, &text)
    }

    /// Reads the text of the file at `path`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(path: &str, text: &str) -> Result<Self, Errors> {
        let config = document(text).and_then(|root| read_root(&root, source::parent(path)));
        let config = config.map_err(|fault| Errors(vec![fault.in_text(path, text)]))?;
        let file = path.to_owned();
        Ok(Self { file, ..config })
    }

    /// Every load that it asks for: each project, then its variants. Files that are not named are
    /// looked for beside this file, as compose does.
    #[must_use]
    pub fn runs(&self, source: &mut dyn Source) -> Vec<Run> {
        let mut runs = Vec::new();
        for project in &self.projects {
            runs.push(self.run(source, project, None));
            for variant in project.variants.iter() {
                runs.push(self.run(source, project, Some(variant)));
            }
        }
        runs
    }

    fn run(
        &self,
        source: &mut dyn Source,
        project: &ConfigProject,
        variant: Option<(&String, &ConfigLoad)>,
    ) -> Run {
        let (base, over) = (&project.load, variant.map(|(_, load)| load));
        let texts = |list: &Vec<At<String>>| list.iter().map(|at| at.value.clone()).collect();
        let files = over.and_then(|over| over.files.as_ref());
        let files = files.or(base.files.as_ref()).map(texts);
        let env_files = over.and_then(|over| over.env_files.as_ref());
        let profiles = over.and_then(|over| over.profiles.as_ref());
        let name = over.and_then(|over| over.name.as_ref());
        let key = project.key.as_ref().map(|key| key.value.clone());
        let parts = [key.as_ref(), variant.map(|(name, _)| name)];
        let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        let env_files = env_files.or(base.env_files.as_ref()).map(texts);
        let named = files.iter().chain(&env_files).flatten().cloned();
        Run {
            label: parts.join("/"),
            options: Options {
                named: named.collect(),
                files: files.unwrap_or_else(|| found(source, source::parent(&self.file))),
                project_name: name.or(base.name.as_ref()).map(|name| name.value.clone()),
                env_files,
                profiles: profiles
                    .or(base.profiles.as_ref())
                    .cloned()
                    .unwrap_or_default(),
                config: Some(ConfigPart {
                    file: self.file.clone(),
                    project: key,
                    variant: variant.map(|(name, _)| name.clone()),
                }),
                ..Options::default()
            },
        }
    }
}

/// The files that compose finds in a folder: one, and the one that it lays over it.
fn found(source: &mut dyn Source, dir: &str) -> Vec<String> {
    let mut first = |names: &[&str]| {
        let paths = names.iter().map(|name| source::join(dir, name));
        let mut there = paths.filter(|path| source.read(path) != Err(ReadError::NotFound));
        there.next()
    };
    let Some(file) = first(&FILE_NAMES) else {
        return vec![source::join(dir, FILE_NAMES[0])];
    };
    let mut files = vec![file];
    files.extend(first(&OVERRIDE_NAMES));
    files
}

/// The one document of a text; an empty text is an empty map.
pub(crate) fn document(text: &str) -> Result<Node, Fault> {
    document_of(text, 0)
}

/// The same of the file with this number.
pub(crate) fn document_of(text: &str, file: u32) -> Result<Node, Fault> {
    let mut roots = yaml::parse(text, file)?;
    if let Some(second) = roots.get(1) {
        return Err(Fault::invalid(second.at, "one document is enough"));
    }
    match roots.pop() {
        Some(root) if !root.is_null() => Ok(root),
        _ => Ok(Node::new(Value::Map(Vec::new()), Place::default())),
    }
}

fn given<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    node.get(key).filter(|node| !node.is_null())
}

fn read_root(root: &Node, dir: &str) -> Result<Config, Fault> {
    let mut config = Config {
        engine: vethlab::engine(root)?,
        ..Config::default()
    };
    if let Some(projects) = given(root, "projects") {
        if let Some(entry) = misplaced(root) {
            let message = format!("{:?} belongs to one of the projects", entry.key);
            return Err(Fault::invalid(entry.key_at, message)
                .hint("put it under `projects`, below the project's name"));
        }
        vethlab::keys(root, &SEVERAL, CONFIG_NAME)?;
        for entry in entries(projects, "projects")? {
            config.projects.push(project(entry, dir)?);
        }
        if let Some(hosts) = given(root, "hosts") {
            config.hosts = read_hosts(hosts, dir, &config.projects)?;
        }
    } else {
        vethlab::keys(root, &ONE, CONFIG_NAME)?;
        config.projects.push(ConfigProject {
            key: None,
            load: how(root, dir)?,
            variants: variants(root, dir)?,
        });
    }
    config.images = paths(root, "images", dir)?.unwrap_or_default();
    config.host = path(root, "host", dir)?;
    Ok(config)
}

/// A key of a project that stands beside `projects`.
fn misplaced(root: &Node) -> Option<&Entry> {
    let mut entries = root.entries().iter();
    entries.find(|entry| {
        let key = entry.key.as_str();
        PROJECT.contains(&key) && !SEVERAL.contains(&key)
    })
}

/// The entries of a map of names.
fn entries<'n>(node: &'n Node, key: &str) -> Result<&'n [Entry], Fault> {
    match &node.value {
        Value::Map(entries) if entries.len() <= MAX_ITEMS => Ok(entries),
        Value::Map(_) => {
            let message = format!("{key} has more than {MAX_ITEMS} entries");
            Err(Fault::new(ErrorKind::TooLarge, node.at, message))
        }
        _ => Err(Fault::invalid(
            node.at,
            format!("{key} must be a mapping from names"),
        )),
    }
}

fn project(entry: &Entry, dir: &str) -> Result<ConfigProject, Fault> {
    let node = &entry.node;
    vethlab::keys(node, &PROJECT, "a project")?;
    if given(node, "files").is_none() {
        let message = format!("project {:?} names no files", entry.key);
        return Err(Fault::invalid(entry.key_at, message));
    }
    Ok(ConfigProject {
        key: Some(At::new(entry.key.clone(), entry.key_at)),
        load: how(node, dir)?,
        variants: variants(node, dir)?,
    })
}

fn variants(node: &Node, dir: &str) -> Result<IndexMap<String, ConfigLoad>, Fault> {
    let Some(node) = given(node, "variants") else {
        return Ok(IndexMap::new());
    };
    let variant = |entry: &Entry| {
        vethlab::keys(&entry.node, &VARIANT, "a variant")?;
        Ok((entry.key.clone(), how(&entry.node, dir)?))
    };
    entries(node, "variants")?.iter().map(variant).collect()
}

fn how(node: &Node, dir: &str) -> Result<ConfigLoad, Fault> {
    let files = paths(node, "files", dir)?;
    if let (Some([]), Some(node)) = (files.as_deref(), given(node, "files")) {
        return Err(Fault::invalid(node.at, "files is empty"));
    }
    let profiles = given(node, "profiles").map(|_| {
        let texts = read::texts(node, "profiles").into_iter();
        texts.map(|text| text.value).collect()
    });
    Ok(ConfigLoad {
        files,
        env_files: paths(node, "env_file", dir)?,
        profiles,
        name: read::text(node, "name"),
        engine: vethlab::engine(node)?,
    })
}

fn read_hosts(
    node: &Node,
    dir: &str,
    projects: &[ConfigProject],
) -> Result<Vec<ConfigHost>, Fault> {
    let keys: Vec<&str> = projects
        .iter()
        .filter_map(|project| project.key.as_ref())
        .map(|key| key.as_str())
        .collect();
    let mut hosts = Vec::new();
    for entry in entries(node, "hosts")? {
        vethlab::keys(&entry.node, &HOST, "a host")?;
        let members = read::texts(&entry.node, "projects");
        if members.is_empty() {
            let message = format!("host {:?} has no projects", entry.key);
            return Err(Fault::invalid(entry.key_at, message));
        }
        let missing = members.iter().find(|key| !keys.contains(&key.as_str()));
        if let Some(key) = missing {
            let message = format!("there is no project {:?}", key.value);
            let mut fault = Fault::new(ErrorKind::Undefined, key.at, message);
            fault.hint = near::hint(key, keys.iter().copied());
            return Err(fault);
        }
        hosts.push(ConfigHost {
            name: entry.key.clone(),
            at: entry.key_at,
            projects: members,
            host: path(&entry.node, "host", dir)?,
            expects: given(&entry.node, "expect").is_some(),
        });
    }
    Ok(hosts)
}

fn path(node: &Node, key: &str, dir: &str) -> Result<Option<At<String>>, Fault> {
    let Some(node) = given(node, key) else {
        return Ok(None);
    };
    match node.as_str().filter(|text| !text.is_empty()) {
        Some(text) => Ok(Some(At::new(source::join(dir, text), node.at))),
        None => Err(Fault::invalid(node.at, format!("{key} must be a path"))),
    }
}

fn paths(node: &Node, key: &str, dir: &str) -> Result<Option<Vec<At<String>>>, Fault> {
    let Some(node) = given(node, key) else {
        return Ok(None);
    };
    let single = core::slice::from_ref(node);
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => single,
    };
    let one = |item: &Node| match item.as_str().filter(|text| !text.is_empty()) {
        Some(text) => Ok(At::new(source::join(dir, text), item.at)),
        None => Err(Fault::invalid(
            item.at,
            format!("{key} must be a path or a list of paths"),
        )),
    };
    items.iter().map(one).collect::<Result<_, _>>().map(Some)
}

/// What the file at large, the project and the variant of a part say, in that order.
pub(crate) fn layers<'n>(root: &'n Node, part: &ConfigPart) -> Result<Vec<&'n Node>, Fault> {
    let mut layers = vec![root];
    let missing = |at, what: &str, name: &str| {
        Fault::new(
            ErrorKind::Undefined,
            at,
            format!("there is no {what} {name:?}"),
        )
    };
    let mut last = root;
    for (section, what, name) in [
        ("projects", "project", &part.project),
        ("variants", "variant", &part.variant),
    ] {
        let Some(name) = name else { continue };
        let section = given(last, section);
        let node = section.and_then(|node| given(node, name));
        last = node.ok_or_else(|| missing(root.at, what, name))?;
        layers.push(last);
    }
    Ok(layers)
}
