//! A compose project from the command line to a lab in which it runs.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use vethlab::capture::{CaptureTo, Known};
use vethlab::compose::{Images, MachineFile, Project};
use vethlab::core::docker::spec::Engine;
use vethlab::core::lab::Lab;
use vethlab::matrix::{Depth, Matrix, fill};
use vethlab::project::Up;
use vethlab::world::{Options, World};
use vethlab_cli::args::CaptureArgs;

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
    let project = vethlab::files::load(&texts(files)?, name, environment())
        .map_err(|errors| errors.to_string())?;
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

/// Starts a project in a world, and says what does not start.
///
/// # Errors
/// If a network cannot be made, with its place.
pub(crate) fn start<'p>(world: &mut World<'p>, project: &'p Project) -> Result<(), String> {
    let started = world.start(&[project]);
    started.map_err(|error| format!("vethlab: {error}"))?;
    let Some((_, running)) = world.first() else {
        return Ok(());
    };
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

/// The matrix of a project in a world of its own.
///
/// # Errors
/// If a network cannot be made, with its place.
pub(crate) fn tried(project: &Project, options: &Options) -> Result<Matrix, String> {
    let none = CaptureArgs::default();
    let matrix = tried_with(project, options, &none, Depth::Every, |_, _, _| ());
    matrix.map(|(matrix, ())| matrix)
}

/// The same with a capture, if there is to be one; `also` asks more of the lab before it ends.
///
/// # Errors
/// If a network cannot be made, with its place, or the capture cannot be written.
pub(crate) fn tried_with<T>(
    project: &Project,
    options: &Options,
    wanted: &CaptureArgs,
    depth: Depth,
    also: impl FnOnce(&mut Lab, &Up, &Images) -> T,
) -> Result<(Matrix, T), String> {
    let words = |error: &dyn core::fmt::Display| format!("vethlab: {error}");
    let world = World::empty(options);
    let mut world = world.map_err(|error| words(&error))?;
    let known = match &wanted.file {
        Some(_) if wanted.wish().has_names() => Some(known(project, options)?),
        _ => None,
    };
    let capture = capture(&mut world.lab, wanted, known.as_ref())
        .map_err(|error| format!("vethlab: {error}"))?;
    start(&mut world, project)?;
    let images = world.images().clone();
    let World { mut lab, up, .. } = world;
    let up = up.into_iter().next().map(|(_, up)| up).unwrap_or_default();
    let terminal = io::stderr().is_terminal();
    let progress = |lab: &mut Lab, done, all| {
        if terminal {
            eprint!("\r\x1b[K{done}/{all} rows");
        }
        capture
            .as_ref()
            .map_or(Ok(()), |capture| capture.drain(lab))
    };
    let filled = fill(
        &mut lab,
        project,
        &up,
        &images,
        depth,
        options.seed,
        progress,
    );
    if terminal {
        eprint!("\r\x1b[K");
    }
    let matrix = filled.map_err(|error| words(&error))?;
    let also = also(&mut lab, &up, &images);
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
fn known(project: &Project, options: &Options) -> Result<Known, String> {
    let world = World::with(project, options).map_err(|error| format!("vethlab: {error}"))?;
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
