//! A compose project from the command line to a lab in which it runs.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use vethlab::capture::{CaptureTo, Known};
use vethlab::compose::{
    At, CONFIG_NAME, Config, Images, Joined, MachineFile, Project, Run, Source, near,
};
use vethlab::core::docker::spec::Engine;
use vethlab::core::lab::Lab;
use vethlab::files::Disk;
use vethlab::matrix::{Depth, Matrix, Member, fill_together};
use vethlab::project::Up;
use vethlab::world::{Options, World};
use vethlab_cli::args::CaptureArgs;

use super::outside;

/// The longest description of a machine that is read, in bytes.
const MACHINE_MAX: usize = 16 << 20;

/// The environment as far as it is text.
pub(crate) fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Paths as text, as compose files name each other.
///
/// # Errors
/// One line for people.
pub(crate) fn texts(files: &[PathBuf]) -> Result<Vec<String>, String> {
    let files = files.iter().map(|file| {
        let text = file.to_str().map(str::to_owned);
        text.ok_or_else(|| format!("vethlab: {}: not UTF-8", file.display()))
    });
    files.collect()
}

/// Loads a project from disk and prints its warnings.
///
/// # Errors
/// Everything that is wrong with the files.
pub(crate) fn load(files: &[PathBuf], name: Option<&str>) -> Result<Project, String> {
    let name = name.map(str::to_owned);
    let loaded = vethlab::files::load_with(vethlab::compose::Options {
        files: texts(files)?,
        project_name: name,
        env: environment(),
        allow_outside: outside::allowed(),
        ..Default::default()
    });
    let project = loaded.map_err(|errors| errors.to_string())?;
    warn(&project);
    Ok(project)
}

/// Prints what compose warns of.
pub(crate) fn warn(project: &Project) {
    for warning in &project.warnings {
        let place = warning
            .at
            .map_or_else(String::new, |at| format!("{}: ", project.locate(at)));
        eprintln!("{place}warning: {}", warning.message);
    }
}

/// Projects that one world is asked about: one by itself, or those of a host.
#[derive(Debug)]
pub(crate) struct Together {
    /// A name for all of them.
    pub(crate) name: String,
    /// Each with what tells its services apart from those of the others.
    pub(crate) projects: Vec<(Option<String>, Project)>,
    /// The file of the machine and its text, if one is named.
    host: Option<(String, String)>,
    /// Further tables of images, likewise.
    images: Vec<(String, String)>,
}

impl Together {
    /// What files on the command line mean: those of one project, or a vethlab.yaml, and `on` which of its hosts.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub(crate) fn load(
        files: &[PathBuf],
        name: Option<&str>,
        on: Option<&str>,
    ) -> Result<Self, String> {
        match (files, on) {
            ([file], _) if file.file_name().is_some_and(|name| name == CONFIG_NAME) => {
                let name = texts(core::slice::from_ref(file))?.remove(0);
                Self::configured(&mut Disk, &name, on)
            }
            (_, Some(_)) => Err(format!("vethlab: --on goes with a {CONFIG_NAME}")),
            (files, None) => {
                let project = load(files, name)?;
                Ok(Self::alone(project))
            }
        }
    }

    /// A project by itself.
    pub(crate) fn alone(project: Project) -> Self {
        Self {
            name: project.name.clone(),
            projects: vec![(None, project)],
            host: None,
            images: Vec::new(),
        }
    }

    /// The projects of a host of a vethlab.yaml, or one that runs by itself.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub(crate) fn configured(
        source: &mut dyn Source,
        name: &str,
        on: Option<&str>,
    ) -> Result<Self, String> {
        let words = |errors: vethlab::compose::Errors| errors.to_string();
        let config = Config::load(source, name).map_err(words)?;
        let folder = Path::new(name).parent().and_then(Path::to_str);
        outside::check(source, &config, folder.unwrap_or_default())?;
        let runs = config.runs(source);
        let chosen = chosen(&config, &runs, on)?;
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
            let files = &run.options.files;
            let options = vethlab::compose::Options {
                env: environment(),
                project_directory: files.first().and_then(|file| folder_of(file)),
                after: projects
                    .last()
                    .map_or_else(Vec::new, |(_, own)| own.files.clone()),
                allow_outside: outside::allowed(),
                ..run.options.clone()
            };
            let project = vethlab::compose::load(source, &options).map_err(words)?;
            warn(&project);
            projects.push((host.map(|_| run.label.clone()), project));
        }
        let machine = host
            .and_then(|host| host.host.as_ref())
            .or(config.host.as_ref());
        let mut text = |at: &At<String>| match source.read(&at.value) {
            Ok(text) => Ok((at.value.clone(), text)),
            Err(error) => Err(format!("vethlab: {}: {error}", at.value)),
        };
        Ok(Self {
            name: match chosen.is_empty() {
                true => projects[0].1.name.clone(),
                false => chosen.to_owned(),
            },
            projects,
            host: machine.map(&mut text).transpose()?,
            images: config.images.iter().map(text).collect::<Result<_, _>>()?,
        })
    }

    /// The projects as one, if they are those of a host.
    pub(crate) fn joined(&self) -> Option<Joined> {
        let members = self.projects.iter();
        let members = members.map(|(key, project)| Some((key.as_deref()?, project)));
        let members: Option<Vec<(&str, &Project)>> = members.collect();
        Some(Joined::new(&self.name, &members?))
    }

    /// The projects, to be started.
    pub(crate) fn members(&self) -> Vec<(Option<&str>, &Project)> {
        let members = self.projects.iter();
        members
            .map(|(key, project)| (key.as_deref(), project))
            .collect()
    }

    /// What their world is made with; `host` goes before the file that they name themselves.
    ///
    /// # Errors
    /// What is wrong with the file of the machine, or a table of images, with its place.
    pub(crate) fn options(
        &self,
        seed: u64,
        engine: Engine,
        host: Option<&Path>,
    ) -> Result<Options, String> {
        let words = |errors: vethlab::compose::Errors| errors.to_string();
        let mut options = options(seed, engine, host)?;
        if let (Some((name, text)), None) = (&self.host, host) {
            options.machine(&MachineFile::parse(name, text).map_err(words)?);
        }
        for (name, text) in &self.images {
            options.images.extend(name, text).map_err(words)?;
        }
        Ok(options)
    }
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

/// Starts projects in a world, and says what does not start.
///
/// # Errors
/// If a network cannot be made, with its place.
pub(crate) fn start<'p>(world: &mut World<'p>, projects: &[&'p Project]) -> Result<(), String> {
    let started = world.start(projects);
    started.map_err(|error| format!("vethlab: {error}"))?;
    for (project, running) in &world.up {
        came_up(project, running)?;
    }
    Ok(())
}

fn came_up(project: &Project, running: &Up) -> Result<(), String> {
    if let Some((key, error)) = running.networks.first() {
        let network = project.network(key);
        let subnet = network
            .and_then(|network| network.ipam.first())
            .map(|subnet| subnet.at);
        let at = subnet.or_else(|| network.map(|network| network.at));
        let place = at.map_or_else(String::new, |at| format!("{}: ", project.locate(at)));
        return Err(format!("{place}networks.{key}: {error}"));
    }
    for started in &running.containers {
        if let (Some(error), Some(service)) = (&started.error, project.service(&started.service)) {
            eprintln!(
                "{}: {} does not start: {error}",
                project.locate(service.at),
                started.container
            );
        }
    }
    Ok(())
}

/// What a world is made with: the engine, and the machine if a file describes it.
///
/// # Errors
/// What is wrong with the file, with its place.
pub(crate) fn options(seed: u64, engine: Engine, host: Option<&Path>) -> Result<Options, String> {
    let mut options = Options::new(seed, engine);
    if let Some(path) = host {
        options.machine(&machine(path)?);
    }
    Ok(options)
}

/// The description of a machine.
///
/// # Errors
/// What is wrong with the file, with its place.
pub(crate) fn machine(path: &Path) -> Result<MachineFile, String> {
    let text = super::read(path, MACHINE_MAX)?;
    let file = MachineFile::parse(&path.display().to_string(), &text);
    file.map_err(|errors| errors.to_string())
}

/// The matrix of projects in a world of their own.
///
/// # Errors
/// If a network cannot be made, with its place.
pub(crate) fn tried(asked: &Together, options: &Options) -> Result<Matrix, String> {
    let (none, depth) = (CaptureArgs::default(), Depth::Every);
    let projects = asked.members();
    let matrix = tried_with(&asked.name, &projects, options, &none, depth, |_, _, _| ());
    matrix.map(|(matrix, ())| matrix)
}

/// The same with a capture, if there is to be one; `also` asks more of the lab
/// before it ends.
///
/// # Errors
/// If a network cannot be made, with its place, or the capture cannot be written.
pub(crate) fn tried_with<T>(
    name: &str,
    projects: &[(Option<&str>, &Project)],
    options: &Options,
    wanted: &CaptureArgs,
    depth: Depth,
    also: impl FnOnce(&mut Lab, &[Member<'_>], &Images) -> T,
) -> Result<(Matrix, T), String> {
    let words = |error: &dyn core::fmt::Display| format!("vethlab: {error}");
    let world = World::empty(options);
    let mut world = world.map_err(|error| words(&error))?;
    let all: Vec<&Project> = projects.iter().map(|(_, project)| *project).collect();
    let known = match &wanted.file {
        Some(_) if wanted.wish().has_names() => Some(known(&all, options)?),
        _ => None,
    };
    let capture = capture(&mut world.lab, wanted, known.as_ref())
        .map_err(|error| format!("vethlab: {error}"))?;
    start(&mut world, &all)?;
    let images = world.images().clone();
    let World { mut lab, up, .. } = world;
    // In the order in which they are named, whoever had to be started first.
    let members: Vec<Member<'_>> = projects
        .iter()
        .filter_map(|&(key, project)| {
            let (_, up) = up.iter().find(|(own, _)| core::ptr::eq(*own, project))?;
            Some(Member { key, project, up })
        })
        .collect();
    let terminal = io::stderr().is_terminal();
    let progress = |lab: &mut Lab, done, all| {
        if terminal {
            eprint!("\r\x1b[K{done}/{all} rows");
        }
        capture
            .as_ref()
            .map_or(Ok(()), |capture| capture.drain(lab))
    };
    let filled = fill_together(
        &mut lab,
        name,
        &members,
        &images,
        depth,
        options.seed,
        progress,
    );
    if terminal {
        eprint!("\r\x1b[K");
    }
    let matrix = filled.map_err(|error| words(&error))?;
    let also = also(&mut lab, &members, &images);
    if let Some(capture) = capture {
        capture.finish(&mut lab).map_err(|error| words(&error))?;
    }
    Ok((matrix, also))
}

/// Starts the capture that the arguments ask for, if they do.
///
/// # Errors
/// One line for people: what is wrong with the arguments, or what the file system says.
pub(crate) fn capture(
    lab: &mut Lab,
    args: &CaptureArgs,
    known: Option<&Known>,
) -> Result<Option<CaptureTo>, String> {
    let Some(path) = &args.file else {
        return Ok(None);
    };
    let spec = args.wish().spec(known)?;
    let ring = args.bounds.ring()?;
    let started = CaptureTo::start(lab, path, spec, ring);
    let started = started.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Some(started))
}

/// The names that there will be when the project is up: those of the same project with the same seed elsewhere,
/// since a capture begins before it.
fn known(projects: &[&Project], options: &Options) -> Result<Known, String> {
    let words = |error| format!("vethlab: {error}");
    let mut world = World::empty(options).map_err(words)?;
    world.start(projects).map_err(words)?;
    let up: Vec<(&Project, &Up)> = world
        .up
        .iter()
        .map(|(project, up)| (*project, up))
        .collect();
    Ok(Known::of(&world.lab, &up))
}

/// The absolute path of the folder that a file is in, whether it is there or not: relative paths start
/// there, and its name is the project's if nobody gives one.
pub(crate) fn folder_of(file: &str) -> Option<String> {
    let file = std::path::absolute(file).ok()?;
    let folder = file.parent()?;
    let folder = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    folder.to_str().map(str::to_owned)
}

/// Writes to standard output; whoever stops reading has seen enough.
///
/// # Errors
/// One line for people.
pub(crate) fn print(text: &str) -> Result<(), String> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("vethlab: standard output: {error}"))
        }
        _ => Ok(()),
    }
}
