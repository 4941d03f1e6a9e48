//! Projects that one world is asked about: one by itself, or those of a host of a `vethlab.yaml`, which share
//! ports, pools and external networks. Services are called `KEY/SERVICE` there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use emulator_compose::{
    At, Config, Errors, Joined, MachineFile, Options as Load, Project, Run, Source, near,
};
use emulator_core::docker::spec::Engine;

use crate::files::folder_of;
use crate::world::Options;

/// How a `vethlab.yaml` and what it names are read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The environment: goes before `.env`.
    pub env: BTreeMap<String, String>,
    /// Whether the texts may name files outside of the project.
    pub allow_outside: bool,
    /// Another name for the project, or for the projects of a host together.
    pub name: Option<String>,
}

/// One project, or those of a host.
#[derive(Clone, Debug)]
pub struct Together {
    /// A name for all of them.
    pub name: String,
    /// Each with what tells its services apart from those of the others.
    pub projects: Vec<(Option<String>, Project)>,
    /// The `vethlab.yaml` and the host there, if they are those of one.
    host: Option<(Config, String)>,
    /// The file of the machine and its text, if one is named.
    machine: Option<(String, String)>,
    /// Further tables of images, likewise.
    images: Vec<(String, String)>,
}

impl Together {
    /// A project by itself.
    #[must_use]
    pub fn alone(project: Project) -> Self {
        Self {
            name: project.name.clone(),
            projects: vec![(None, project)],
            host: None,
            machine: None,
            images: Vec::new(),
        }
    }

    /// The projects of the host `on` of the `vethlab.yaml` at `file`, or one that runs by itself; without `on` the
    /// only ones that there are.
    ///
    /// # Errors
    /// Everything that is wrong with the files, or that there are several.
    pub fn configured(
        source: &mut dyn Source,
        file: &str,
        on: Option<&str>,
        reading: &Reading,
    ) -> Result<Self, String> {
        let words = |errors: Errors| errors.to_string();
        let config = Config::load(source, file).map_err(words)?;
        let folder = Path::new(file).parent().and_then(Path::to_str);
        if !reading.allow_outside {
            within(source, &config, folder.unwrap_or_default())?;
        }
        let runs = config.runs(source);
        let chosen = chosen(&config, &runs, on)?.to_owned();
        let host = config.hosts.iter().find(|host| host.name == chosen);
        let members: Vec<&Run> = match host {
            Some(host) => {
                let keys = host.projects.iter();
                keys.filter_map(|key| runs.iter().find(|run| run.label == key.value))
                    .collect()
            }
            None => runs.iter().filter(|run| run.label == chosen).collect(),
        };
        let mut projects: Vec<(Option<String>, Project)> = Vec::new();
        for run in members {
            let mut options = options(run, &projects, reading);
            if host.is_none() && reading.name.is_some() {
                options.project_name.clone_from(&reading.name);
            }
            let project = emulator_compose::load(source, &options).map_err(words)?;
            projects.push((host.map(|_| run.label.clone()), project));
        }
        if let Some(twice) = named_twice(&projects) {
            return Err(format!(
                "vethlab: {file}: two projects are named {twice} on one host"
            ));
        }
        let machine = host
            .and_then(|host| host.host.as_ref())
            .or(config.host.as_ref());
        let mut text = |at: &At<String>| match source.read(&at.value) {
            Ok(text) => Ok((at.value.clone(), text)),
            Err(error) => Err(format!("vethlab: {}: {error}", at.value)),
        };
        let (machine, images) = (
            machine.map(&mut text).transpose()?,
            config.images.iter().map(text).collect::<Result<_, _>>()?,
        );
        let name = match (host, &reading.name) {
            (Some(_), Some(name)) => name.clone(),
            (Some(host), None) => host.name.clone(),
            (None, _) => projects[0].1.name.clone(),
        };
        let host = host.map(|host| host.name.clone());
        Ok(Self {
            name,
            projects,
            host: host.map(|host| (config, host)),
            machine,
            images,
        })
    }

    /// The projects as one, if they are those of a host.
    #[must_use]
    pub fn joined(&self) -> Option<Joined> {
        self.host.as_ref()?;
        Some(Joined::new(&self.name, &self.keyed()))
    }

    /// The same with what the `vethlab.yaml` expects of the host.
    ///
    /// # Errors
    /// What is wrong with its groups and sentences, with the place.
    pub fn expected(&self, source: &mut dyn Source) -> Result<Option<Joined>, Errors> {
        let Some((config, host)) = &self.host else {
            return Ok(None);
        };
        Joined::load(source, config, host, &self.keyed()).map(Some)
    }

    fn keyed(&self) -> Vec<(&str, &Project)> {
        let members = self.projects.iter();
        let members = members.filter_map(|(key, project)| Some((key.as_deref()?, project)));
        members.collect()
    }

    /// The projects, to be started.
    #[must_use]
    pub fn members(&self) -> Vec<(Option<&str>, &Project)> {
        let members = self.projects.iter();
        members
            .map(|(key, project)| (key.as_deref(), project))
            .collect()
    }

    /// The engine: `given`, else what the files say, else the newest.
    #[must_use]
    pub fn engine(&self, given: Option<Engine>) -> Engine {
        let mut stated = self.projects.iter();
        let stated = stated.find_map(|(_, project)| project.vethlab.engine.as_ref());
        match (given, stated.map(|engine| engine.value.as_str())) {
            (Some(engine), _) => engine,
            (None, Some("20.10")) => Engine::V20_10,
            (None, _) => Engine::V29,
        }
    }

    /// What their world is made with: the machine and the images that the `vethlab.yaml` names are in it, `machine`
    /// goes before its own.
    ///
    /// # Errors
    /// What is wrong with the file of the machine, or a table of images, with its place.
    pub fn options(
        &self,
        seed: u64,
        engine: Option<Engine>,
        machine: Option<&MachineFile>,
    ) -> Result<Options, String> {
        let words = |errors: Errors| errors.to_string();
        let mut options = Options::new(seed, self.engine(engine));
        match (machine, &self.machine) {
            (Some(machine), _) => options.machine(machine),
            (None, Some((name, text))) => {
                options.machine(&MachineFile::parse(name, text).map_err(words)?);
            }
            (None, None) => {}
        }
        for (name, text) in &self.images {
            options.images.extend(name, text).map_err(words)?;
        }
        Ok(options)
    }
}

/// How a run is loaded after `before`, those that are on the same host.
fn options(run: &Run, before: &[(Option<String>, Project)], reading: &Reading) -> Load {
    let first = run.options.files.first();
    Load {
        env: reading.env.clone(),
        project_directory: first.and_then(|file| folder_of(file)),
        after: before
            .last()
            .map_or_else(Vec::new, |(_, own)| own.files.clone()),
        allow_outside: reading.allow_outside,
        ..run.options.clone()
    }
}

/// Refuses a `vethlab.yaml` in `folder` that names a machine or a table of images outside of its project.
///
/// # Errors
/// Which file, and where it is named.
pub fn within(source: &mut dyn Source, config: &Config, folder: &str) -> Result<(), String> {
    let hosts = config.hosts.iter().filter_map(|host| host.host.as_ref());
    for named in config.images.iter().chain(&config.host).chain(hosts) {
        let (path, at) = (&named.value, named.at);
        if let Some(root) = source.outside(folder, path) {
            let (file, line, column) = (&config.file, at.line, at.column);
            return Err(format!(
                "{file}:{line}:{column}: open {path}: outside of {root}, and not read\nhint: --allow-outside lets a vethlab.yaml name any file"
            ));
        }
    }
    Ok(())
}

fn named_twice(projects: &[(Option<String>, Project)]) -> Option<&str> {
    let mut names = BTreeSet::new();
    let mut all = projects.iter().map(|(_, project)| project.name.as_str());
    all.find(|name| !names.insert(*name))
}

/// The host or project that `on` names, or the only one that there is.
fn chosen<'c>(config: &'c Config, runs: &'c [Run], on: Option<&'c str>) -> Result<&'c str, String> {
    let hosted = |label: &str| {
        let mut all = config.hosts.iter().flat_map(|host| &host.projects);
        all.any(|key| key.value == label)
    };
    let alone = runs.iter().map(|run| run.label.as_str());
    let hosts = config.hosts.iter().map(|host| host.name.as_str());
    let known: Vec<&str> = hosts.chain(alone.filter(|label| !hosted(label))).collect();
    let name = &config.file;
    match (on, known.as_slice()) {
        (Some(on), _) if known.contains(&on) => Ok(on),
        (None, &[one]) => Ok(one),
        (Some(on), _) => {
            let near = near(on, known.iter().copied());
            let hint = near.map_or_else(
                || format!("there are: {}", known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            Err(format!(
                "vethlab: {name}: no host or project {on:?}\nhint: {hint}"
            ))
        }
        (None, _) => {
            let known = known.join(", ");
            Err(format!(
                "vethlab: {name}: which of its hosts?\nhint: say --on with one of: {known}"
            ))
        }
    }
}
