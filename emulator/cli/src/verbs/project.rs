//! A compose project from the command line to a lab in which it runs.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use vethlab::capture::{CaptureTo, Known};
use vethlab::compose::{
    CONFIG_NAME, FILE_NAMES, Images, MachineFile, OVERRIDE_NAMES, Project, Source,
};
use vethlab::core::docker::spec::Engine;
use vethlab::core::lab::Lab;
use vethlab::files::Disk;
use vethlab::matrix::{Depth, Matrix, Member, fill_together};
use vethlab::project::Up;
use vethlab::together::{Reading, Together};
use vethlab::world::{Options, World};
use vethlab_cli::args::{CaptureArgs, EngineArg, LoadArgs};

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

/// The files of variables that stand in the place of `.env`, if there are any.
///
/// # Errors
/// One line for people.
pub(crate) fn env_files(how: &LoadArgs) -> Result<Option<Vec<String>>, String> {
    let given = (!how.env_file.is_empty()).then(|| texts(&how.env_file));
    given.transpose()
}

/// A vethlab.yaml says itself how its projects are loaded.
///
/// # Errors
/// One line for people, if the command line says it as well.
pub(crate) fn refuse_for_config(file: &str, how: &LoadArgs) -> Result<(), String> {
    if how.profile.is_empty() && how.env_file.is_empty() {
        return Ok(());
    }
    Err(format!(
        "vethlab: {file}: has `profiles` and `env_file` of its own; --profile and --env-file go with compose files"
    ))
}

/// Loads a project from disk.
fn load(files: &[PathBuf], how: &LoadArgs, name: Option<&str>) -> Result<Together, String> {
    let name = name.map(str::to_owned);
    let loaded = vethlab::files::load_with(vethlab::compose::Options {
        files: texts(files)?,
        project_name: name,
        env: environment(),
        env_files: env_files(how)?,
        profiles: how.profile.clone(),
        allow_outside: outside::allowed(),
        ..Default::default()
    });
    loaded
        .map(Together::alone)
        .map_err(|errors| errors.to_string())
}

/// Prints what compose warns of.
pub(crate) fn warn(together: &Together) {
    for (_, project) in &together.projects {
        for warning in &project.warnings {
            let place = warning
                .at
                .map_or_else(String::new, |at| format!("{}: ", project.locate(at)));
            eprintln!("{place}warning: {}", warning.message);
        }
    }
}

/// The files that are given, or those of the folder that is given or of this one: its compose files, or the vethlab.yaml
/// that says which there are, if a host is asked for or nothing else is there.
///
/// # Errors
/// One line for people, if there are none.
pub(crate) fn files(given: &[PathBuf], on: Option<&str>) -> Result<Vec<PathBuf>, String> {
    let folder = match given {
        [] => Path::new(""),
        [folder] if folder == Path::new(".") => Path::new(""),
        [folder] if folder.is_dir() => folder,
        _ => return Ok(given.to_vec()),
    };
    let config = folder.join(CONFIG_NAME);
    if on.is_some() {
        return Ok(vec![config]);
    }
    let first = |names: &[&str]| {
        let mut there = names.iter().map(|name| folder.join(name));
        there.find(|file| file.is_file())
    };
    let Some(file) = first(&FILE_NAMES) else {
        if config.is_file() {
            return Ok(vec![config]);
        }
        let which = match folder.as_os_str().is_empty() {
            true => "this folder".to_owned(),
            false => folder.display().to_string(),
        };
        return Err(format!(
            "vethlab: no compose file in {which} ({}, {CONFIG_NAME})",
            FILE_NAMES.join(", ")
        ));
    };
    Ok([Some(file), first(&OVERRIDE_NAMES)]
        .into_iter()
        .flatten()
        .collect())
}

/// What files on the command line mean: those of one project, or a vethlab.yaml, and `on` which of its hosts. Prints
/// warnings.
///
/// # Errors
/// Everything that is wrong with the files.
pub(crate) fn together(
    files: &[PathBuf],
    how: &LoadArgs,
    name: Option<&str>,
    on: Option<&str>,
) -> Result<Together, String> {
    let together = quietly(files, how, name, on)?;
    warn(&together);
    Ok(together)
}

/// The same without the warnings.
///
/// # Errors
/// As [`together`].
pub(crate) fn quietly(
    files: &[PathBuf],
    how: &LoadArgs,
    name: Option<&str>,
    on: Option<&str>,
) -> Result<Together, String> {
    let files = self::files(files, on)?;
    match (files.as_slice(), on) {
        ([file], _) if is_config(file) => {
            let file = texts(core::slice::from_ref(file))?.remove(0);
            refuse_for_config(&file, how)?;
            configured(&mut Disk, &file, name, on)
        }
        (files, _) if files.iter().any(|file| is_config(file)) => Err(format!(
            "vethlab: a {CONFIG_NAME} stands alone: it names its files itself"
        )),
        (_, Some(_)) => Err(format!("vethlab: --on goes with a {CONFIG_NAME}")),
        (files, None) => load(files, how, name),
    }
}

pub(crate) fn is_config(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == CONFIG_NAME)
}

/// The projects of a host of a vethlab.yaml, or one that runs by itself.
///
/// # Errors
/// Everything that is wrong with the files.
pub(crate) fn configured(
    source: &mut dyn Source,
    file: &str,
    name: Option<&str>,
    on: Option<&str>,
) -> Result<Together, String> {
    let reading = Reading {
        env: environment(),
        allow_outside: outside::allowed(),
        name: name.map(str::to_owned),
    };
    Together::configured(source, file, on, &reading)
}

/// What the world of projects is made with; `host` goes before the file of a machine that they name themselves.
///
/// # Errors
/// What is wrong with the file of the machine, or a table of images, with its place.
pub(crate) fn options(
    asked: &Together,
    seed: u64,
    engine: Option<EngineArg>,
    host: Option<&Path>,
) -> Result<Options, String> {
    let machine = host.map(machine).transpose()?;
    asked.options(seed, engine.map(Engine::from), machine.as_ref())
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
    let asked = filled.map(|matrix| (matrix, also(&mut lab, &members, &images)));
    // What stopped the capture stopped the rows; it says why when it ends.
    if let Some(capture) = capture {
        let path = wanted
            .file
            .as_deref()
            .unwrap_or_else(|| Path::new(""))
            .display();
        let finished = capture.finish(&mut lab);
        finished.map_err(|error| words(&format!("{path}: {error}")))?;
    }
    asked.map_err(|error| words(&error))
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
