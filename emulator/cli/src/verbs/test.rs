//! `vethlab test`: the expectations of projects, tried.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use vethlab::compose::{
    CONFIG_NAME, Config, FILE_NAMES, Images, Joined, OVERRIDE_NAMES, Options, Project,
};
use vethlab::core::docker::spec::Engine;
use vethlab::expect::{Bundle, Capture, Settings, run_host as try_out};
use vethlab::files::Disk;
use vethlab::report::{self, Form, Report, baseline};
use vethlab_cli::args::test::TestArgs;

use super::{BAD_INPUT, outside, project, read};

/// How deep folders are searched.
const DEPTH_MAX: usize = 32;
/// How many folders are looked into.
const FOLDERS_MAX: usize = 100_000;
/// The longest baseline that is read, in bytes.
const BASELINE_MAX: usize = 64 << 20;
/// The longest table of images that is read, in bytes.
const IMAGES_MAX: usize = 16 << 20;

/// Runs the expectations and says how it went.
pub(crate) fn run(args: &TestArgs) -> ExitCode {
    match test(args) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("{}", message.trim_end());
            ExitCode::from(BAD_INPUT)
        }
    }
}

/// Projects that run on one machine.
struct Machine {
    /// Each with its label.
    projects: Vec<(String, Options)>,
    /// The engine, for a project that names none.
    engine: Option<Engine>,
    /// The file that describes the machine.
    host: Option<PathBuf>,
    /// Further tables of images.
    images: Vec<PathBuf>,
    /// What is expected of the projects together, if something is.
    together: Option<Spanning>,
}

/// A host of a vethlab.yaml of which something is expected.
struct Spanning {
    label: String,
    config: Config,
    host: String,
    /// The keys of the projects, in their order.
    keys: Vec<String>,
}

fn test(args: &TestArgs) -> Result<ExitCode, String> {
    let machines = machines(args)?;
    if machines.is_empty() {
        let paths: Vec<String> = args
            .paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let which = match paths.is_empty() {
            true => "this folder".to_owned(),
            false => paths.join(", "),
        };
        return Err(format!("vethlab: no compose file in {which} or below"));
    }
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let builtin = Images::builtin();
    let (mut report, mut captures, mut bundles) = (Report::default(), Vec::new(), Vec::new());
    for machine in machines {
        let outcome = one(args, machine, &environment, &builtin)?;
        report.projects.extend(outcome.projects);
        captures.extend(outcome.captures);
        bundles.extend(outcome.bundles);
    }
    with_baseline(args, &mut report)?;
    if let Some(folder) = &args.keep {
        keep(folder, &captures)?;
    }
    attach(&bundles)?;
    write(args, &report)?;
    Ok(if report.is_bad_input() {
        ExitCode::from(BAD_INPUT)
    } else if report.failures() > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn one(
    args: &TestArgs,
    machine: Machine,
    environment: &BTreeMap<String, String>,
    builtin: &Images,
) -> Result<vethlab::expect::Outcome, String> {
    let mut images = builtin.clone();
    for path in args.images.iter().chain(&machine.images) {
        let text = read(path, IMAGES_MAX)?;
        let name = path.display().to_string();
        images
            .extend(&name, &text)
            .map_err(|errors| errors.to_string())?;
    }
    let host = args.host.as_ref().or(machine.host.as_ref());
    let host = host.map(|path| project::machine(path)).transpose()?;
    let mut loaded: Vec<(String, Project)> = Vec::new();
    let mut broken: Vec<report::Project> = Vec::new();
    for (label, options) in machine.projects {
        let before = loaded.last().filter(|_| machine.together.is_some());
        let options = Options {
            env: environment.clone(),
            // Sentences about all of them speak of lines of all of their files.
            after: before
                .map(|(_, project)| project.files.clone())
                .unwrap_or_default(),
            allow_outside: outside::allowed(),
            ..options
        };
        match vethlab::files::load_with(options) {
            Ok(project) => loaded.push((label, project)),
            Err(errors) => broken.push(report::Project::refused(&label, &errors)),
        }
    }
    let mut names = BTreeSet::new();
    if let Some((label, twice)) = loaded
        .iter()
        .find(|(_, project)| !names.insert(&project.name))
    {
        let name = &twice.name;
        return Err(format!(
            "vethlab: {label}: two projects are named {name} on one host"
        ));
    }
    let Some((_, first)) = loaded.first() else {
        return Ok(vethlab::expect::Outcome {
            projects: broken,
            ..Default::default()
        });
    };
    let engine = args.engine.map(Engine::from);
    let own = machine.engine.filter(|_| first.vethlab.engine.is_none());
    let engine = engine.or(own);
    let mut settings = Settings::of(first, args.seed, engine, images)?;
    settings.keep = args.keep.is_some();
    if let Some(host) = &host {
        settings.world.machine(host);
    }
    let projects: Vec<(String, &Project)> = loaded
        .iter()
        .map(|(label, project)| (label.clone(), project))
        .collect();
    let together = machine.together.as_ref().filter(|_| broken.is_empty());
    let joined = match together {
        None => None,
        Some(spanning) => {
            let keys = spanning.keys.iter().map(String::as_str);
            let members: Vec<(&str, &Project)> =
                keys.zip(loaded.iter().map(|(_, own)| own)).collect();
            let joined = Joined::load(&mut Disk, &spanning.config, &spanning.host, &members);
            match joined {
                Ok(joined) => Some((spanning.label.as_str(), joined)),
                Err(errors) => {
                    broken.push(report::Project::refused(&spanning.label, &errors));
                    None
                }
            }
        }
    };
    let joined = joined.as_ref().map(|(label, joined)| (*label, joined));
    let mut outcome = try_out(&projects, joined, &settings, &mut Disk);
    outcome.projects.extend(broken);
    Ok(outcome)
}

fn text(path: &Path) -> Result<String, String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("vethlab: {}: not UTF-8", path.display()))
}

fn texts(paths: &[PathBuf]) -> Result<Vec<String>, String> {
    paths.iter().map(|path| text(path)).collect()
}

/// What is to run.
fn machines(args: &TestArgs) -> Result<Vec<Machine>, String> {
    let env_files = (!args.env_file.is_empty())
        .then(|| texts(&args.env_file))
        .transpose()?;
    let alone = |files: Vec<String>| Machine {
        projects: vec![(
            files.first().cloned().unwrap_or_default(),
            Options {
                files,
                project_name: args.project_name.clone(),
                env_files: env_files.clone(),
                profiles: args.profile.clone(),
                ..Options::default()
            },
        )],
        engine: None,
        host: None,
        images: Vec::new(),
        together: None,
    };
    if !args.files.is_empty() {
        let files = texts(&args.files)?;
        let beside = beside(&args.files);
        // A vethlab.yaml beside the files speaks of them even if they are named.
        if let Some(path) = beside {
            return configured(&path, Some(&files), args);
        }
        return Ok(vec![alone(files)]);
    }
    if let Some(path) = &args.config {
        return configured(path, None, args);
    }
    let here = [PathBuf::from(".")];
    let paths = if args.paths.is_empty() {
        &here[..]
    } else {
        &args.paths
    };
    let mut machines = Vec::new();
    for path in paths {
        if path.file_name().is_some_and(|name| name == CONFIG_NAME) {
            machines.extend(configured(path, None, args)?);
        } else if path.is_dir() {
            let mut search = Search::default();
            search.folder(path, 0)?;
            for found in search.found {
                match found {
                    Found::Config(path) => machines.extend(configured(&path, None, args)?),
                    Found::Files(files) => machines.push(alone(texts(&files)?)),
                }
            }
        } else {
            machines.push(alone(vec![text(path)?]));
        }
    }
    Ok(machines)
}

/// The vethlab.yaml beside the first file, if it is about one project.
fn beside(files: &[PathBuf]) -> Option<PathBuf> {
    let path = files.first()?.with_file_name(CONFIG_NAME);
    let config = Config::load(&mut Disk, path.to_str()?).ok()?;
    let one = config.projects.len() == 1 && config.projects[0].key.is_none();
    (path.is_file() && one).then_some(path)
}

/// What a vethlab.yaml asks for: its hosts, and each project and variant that is on none. `files`: instead of those
/// that it names.
fn configured(
    path: &Path,
    files: Option<&Vec<String>>,
    args: &TestArgs,
) -> Result<Vec<Machine>, String> {
    let name = text(path)?;
    let config = Config::load(&mut Disk, &name).map_err(|errors| errors.to_string())?;
    let engine = config
        .engine
        .as_ref()
        .map(|engine| match engine.value.as_str() {
            "20.10" => Engine::V20_10,
            _ => Engine::V29,
        });
    let images: Vec<PathBuf> = config
        .images
        .iter()
        .map(|at| PathBuf::from(&at.value))
        .collect();
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    outside::check(&mut Disk, &config, &text(folder)?)?;
    let runs: Vec<(String, String, Options)> = config
        .runs(&mut Disk)
        .into_iter()
        .filter(|run| files.is_none() || run.label.is_empty())
        .map(|run| {
            let mut options = run.options;
            if let Some(files) = files {
                options.files.clone_from(files);
            }
            if args.project_name.is_some() {
                options.project_name.clone_from(&args.project_name);
            }
            if !args.profile.is_empty() {
                options.profiles.clone_from(&args.profile);
            }
            let first = options.files.first().cloned();
            let label = match (run.label.is_empty(), first) {
                (true, Some(file)) => file,
                _ => folder.join(&run.label).display().to_string(),
            };
            (run.label, label, options)
        })
        .collect();
    let machine = |projects, host: Option<&String>| Machine {
        projects,
        engine,
        host: host.map(PathBuf::from),
        images: images.clone(),
        together: None,
    };
    let own = config.host.as_ref().map(|at| &at.value);
    let mut together: BTreeSet<&str> = BTreeSet::new();
    let mut machines = Vec::new();
    for host in &config.hosts {
        let keys = host.projects.iter().map(|key| key.value.as_str());
        let members: Vec<(String, Options)> = keys
            .filter_map(|key| runs.iter().find(|(label, ..)| label == key))
            .map(|(key, label, options)| {
                together.insert(key);
                (format!("{label} on {}", host.name), options.clone())
            })
            .collect();
        let file = host.host.as_ref().map(|at| &at.value);
        let spanning = host.expects.then(|| Spanning {
            label: folder.join(&host.name).display().to_string(),
            config: config.clone(),
            host: host.name.clone(),
            keys: host.projects.iter().map(|key| key.value.clone()).collect(),
        });
        machines.push(Machine {
            together: spanning,
            ..machine(members, file.or(own))
        });
    }
    for (key, label, options) in &runs {
        if !together.contains(key.as_str()) {
            machines.push(machine(vec![(label.clone(), options.clone())], own));
        }
    }
    Ok(machines)
}

enum Found {
    Config(PathBuf),
    Files(Vec<PathBuf>),
}

/// The projects below a folder, in the order of their paths.
#[derive(Default)]
struct Search {
    found: Vec<Found>,
    folders: usize,
}

impl Search {
    fn folder(&mut self, folder: &Path, depth: usize) -> Result<(), String> {
        self.folders += 1;
        if depth > DEPTH_MAX || self.folders > FOLDERS_MAX {
            return Err(format!("vethlab: {}: too many folders", folder.display()));
        }
        let plain = |name: &str| match folder == Path::new(".") {
            true => PathBuf::from(name),
            false => folder.join(name),
        };
        let first = |names: &[&str]| {
            let mut paths = names.iter().map(|name| plain(name));
            paths.find(|path| path.is_file())
        };
        let config = plain(CONFIG_NAME);
        let mut several = false;
        if config.is_file() {
            let name = text(&config)?;
            let read = Config::load(&mut Disk, &name).map_err(|errors| errors.to_string())?;
            several = read.projects.iter().any(|project| project.key.is_some());
            self.found.push(Found::Config(config));
        } else if let Some(file) = first(&FILE_NAMES) {
            let mut files = vec![file];
            files.extend(first(&OVERRIDE_NAMES));
            self.found.push(Found::Files(files));
        }
        if several {
            // It says itself which projects there are.
            return Ok(());
        }
        let error = |error: io::Error| format!("vethlab: {}: {error}", folder.display());
        let mut below: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(folder).map_err(error)? {
            let entry = entry.map_err(error)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let skipped = name.starts_with('.') || ["node_modules", "target"].contains(&&*name);
            // Links are not followed: they lead in circles.
            if !skipped && entry.file_type().map_err(error)?.is_dir() {
                below.push(plain(&name));
            }
        }
        below.sort();
        below
            .iter()
            .try_for_each(|folder| self.folder(folder, depth + 1))
    }
}

fn with_baseline(args: &TestArgs, report: &mut Report) -> Result<(), String> {
    let Some(path) = &args.baseline else {
        return Ok(());
    };
    if args.update_baseline {
        let known = baseline::of(report);
        fs::write(path, baseline::write(&known))
            .map_err(|error| format!("vethlab: {}: {error}", path.display()))?;
        baseline::apply(report, &known);
        return Ok(());
    }
    let text = read(path, BASELINE_MAX)?;
    let known = baseline::read(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    baseline::apply(report, &known);
    Ok(())
}

fn keep(folder: &Path, captures: &[Capture]) -> Result<(), String> {
    let error = |error: io::Error| format!("vethlab: {}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(error)?;
    for capture in captures {
        fs::write(folder.join(&capture.name), &capture.bytes).map_err(error)?;
    }
    Ok(())
}

/// Writes the bundles of disagreements into folders of their own.
fn attach(bundles: &[Bundle]) -> Result<(), String> {
    for bundle in bundles {
        let folder = Path::new(&bundle.name);
        let error = |error: io::Error| format!("vethlab: {}: {error}", folder.display());
        fs::create_dir_all(folder).map_err(error)?;
        for (name, bytes) in &bundle.files {
            fs::write(folder.join(name), bytes).map_err(error)?;
        }
        eprintln!("a bug of vethlab: please attach {}", folder.display());
    }
    Ok(())
}

fn write(args: &TestArgs, report: &Report) -> Result<(), String> {
    let mut text = report.write(args.format.into());
    if let Some(path) = &args.output {
        fs::write(path, &text).map_err(|error| format!("vethlab: {}: {error}", path.display()))?;
        text = report.write(Form::People);
    }
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("vethlab: standard output: {error}"))
        }
        _ => Ok(()),
    }
}
