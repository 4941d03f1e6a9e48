//! `vethlab lint`: what in compose files will not work, or is open to more than meant.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;
use vethlab::compose::{
    self, CONFIG_NAME, Config, FILE_NAMES, MAX_FILE_BYTES, MachineFile, OVERRIDE_NAMES,
};
use vethlab::files::{Disk, folder_of};
use vethlab::lint::{self, Loaded, Options, RULES, Report};
use vethlab_cli::args::lint::{LevelArg, LintArgs, LintFormat};

use super::BAD_INPUT;

/// How deep below a folder projects are looked for.
const DEEP: usize = 8;

/// Looks at projects.
pub(crate) fn run(args: &LintArgs) -> ExitCode {
    match look(args) {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            eprintln!("{}", message.trim_end());
            ExitCode::from(BAD_INPUT)
        }
    }
}

fn look(args: &LintArgs) -> Result<u8, String> {
    if args.list {
        print(&list(args.format)?)?;
        return Ok(0);
    }
    if let Some(id) = &args.explain {
        print(&format!("{}\n", lint::explain(id).unwrap_or_default()))?;
        return Ok(0);
    }
    let mut options = options(args)?;
    let mut bad = false;
    let mut projects = Vec::new();
    let found = wanted(args, &mut options)?;
    for wanted in found.wanted {
        match load(&wanted.options) {
            Ok(mut loaded) => {
                loaded.hosts = wanted.hosts;
                if args.together {
                    loaded.hosts.push("together".to_owned());
                }
                projects.push(loaded);
            }
            Err(message) => {
                eprintln!("{message}\n");
                bad = true;
            }
        }
    }
    // Sentences about projects that do not load could not be read.
    let expecting = if bad { Vec::new() } else { found.expecting };
    for (file, host) in &expecting {
        if let Err(message) = expected(file, host) {
            eprintln!("{message}\n");
            bad = true;
        }
    }
    let report = lint::lint(&projects, &options);
    print(&rendered(args.format, &report)?)?;
    let fails = report.worst().is_some_and(|worst| worst >= args.fail_on);
    Ok(if bad { BAD_INPUT } else { u8::from(fails) })
}

/// Reads what a vethlab.yaml expects of the projects of a host together.
fn expected(file: &str, host: &str) -> Result<(), String> {
    let together = super::project::configured(&mut Disk, file, None, Some(host))?;
    let read = together.expected(&mut Disk);
    read.map(|_| ()).map_err(|errors| errors.to_string())
}

fn options(args: &LintArgs) -> Result<Options, String> {
    let mut options = Options {
        only: args.rule.clone(),
        without: args.allow.clone(),
        ..Options::default()
    };
    for level in &args.level {
        match level {
            LevelArg::Least(level) => options.least = Some(*level),
            LevelArg::Of(id, level) => {
                options.levels.insert(id.clone(), *level);
            }
        }
    }
    if let Some(path) = &args.host {
        options.machine = machine(path)?;
    }
    Ok(options)
}

fn machine(path: &Path) -> Result<MachineFile, String> {
    let text = super::read(path, MAX_FILE_BYTES)?;
    MachineFile::parse(&path.display().to_string(), &text).map_err(|errors| errors.to_string())
}

/// A project that is to be loaded.
struct Wanted {
    options: compose::Options,
    /// The hosts that it runs on.
    hosts: Vec<String>,
}

/// What is asked for.
#[derive(Default)]
struct Found {
    wanted: Vec<Wanted>,
    /// The hosts of a vethlab.yaml of which something is expected: the file and the host.
    expecting: Vec<(String, String)>,
}

impl Wanted {
    fn files(args: &LintArgs, files: &[PathBuf]) -> Result<Self, String> {
        let options = compose::Options {
            files: files
                .iter()
                .map(|file| name(file))
                .collect::<Result<_, _>>()?,
            project_name: args.project_name.clone(),
            env_files: (!args.env_file.is_empty()).then(|| args.env_file.clone()),
            profiles: args.profile.clone(),
            ..compose::Options::default()
        };
        let hosts = Vec::new();
        Ok(Self { options, hosts })
    }
}

/// Every project that is asked for.
fn wanted(args: &LintArgs, options: &mut Options) -> Result<Found, String> {
    let mut out = Found::default();
    if !args.file.is_empty() {
        out.wanted.push(Wanted::files(args, &args.file)?);
        return Ok(out);
    }
    if args.projects.is_empty() {
        below(args, Path::new("."), DEEP, options, &mut out)?;
        if out.wanted.is_empty() {
            return Err("vethlab: no compose file in this folder or below".to_owned());
        }
        return Ok(out);
    }
    for path in &args.projects {
        if path.is_dir() {
            let before = out.wanted.len();
            below(args, path, DEEP, options, &mut out)?;
            if out.wanted.len() == before {
                let shown = path.display();
                return Err(format!(
                    "vethlab: {shown}: no compose file in this folder or below"
                ));
            }
        } else if path.file_name().is_some_and(|name| name == CONFIG_NAME) {
            configured(path, options, &mut out)?;
        } else {
            let wanted = Wanted::files(args, std::slice::from_ref(path))?;
            out.wanted.push(wanted);
        }
    }
    Ok(out)
}

/// The projects of a `vethlab.yaml`, with the hosts that they run on.
fn configured(path: &Path, options: &mut Options, out: &mut Found) -> Result<(), String> {
    let config = Config::load(&mut Disk, &name(path)?).map_err(|errors| errors.to_string())?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    super::outside::check(&mut Disk, &config, &folder.to_string_lossy())?;
    for path in &config.images {
        let text = super::read(Path::new(&path.value), MAX_FILE_BYTES)?;
        let extended = options.images.extend(&path.value, &text);
        extended.map_err(|errors| errors.to_string())?;
    }
    if let Some(path) = &config.host
        && options.machine == MachineFile::default()
    {
        options.machine = machine(Path::new(&path.value))?;
    }
    for host in &config.hosts {
        if let Some(path) = &host.host {
            let machine = machine(Path::new(&path.value))?;
            options.machines.insert(host.name.clone(), machine);
        }
        if host.expects {
            out.expecting.push((config.file.clone(), host.name.clone()));
        }
    }
    for run in config.runs(&mut Disk) {
        let key = run
            .options
            .config
            .as_ref()
            .and_then(|part| part.project.clone());
        let hosts = config.hosts.iter().filter(|host| {
            let mut projects = host.projects.iter();
            projects.any(|project| Some(&project.value) == key.as_ref())
        });
        out.wanted.push(Wanted {
            options: run.options,
            hosts: hosts.map(|host| host.name.clone()).collect(),
        });
    }
    Ok(())
}

/// What `vethlab.yaml` names in a folder, or the files that compose takes there.
fn in_folder(
    args: &LintArgs,
    folder: &Path,
    options: &mut Options,
    out: &mut Found,
) -> Result<(), String> {
    let config = folder.join(CONFIG_NAME);
    if config.is_file() {
        return configured(&config, options, out);
    }
    let Some(files) = files_in(folder) else {
        return Ok(());
    };
    let wanted = Wanted::files(args, &files)?;
    // A `vethlab.yaml` above may have named it.
    let known = |other: &Wanted| other.options.files.first() == wanted.options.files.first();
    if !out.wanted.iter().any(known) {
        out.wanted.push(wanted);
    }
    Ok(())
}

/// The files that compose takes in a folder.
fn files_in(folder: &Path) -> Option<Vec<PathBuf>> {
    let there = |names: &[&str]| {
        let mut paths = names.iter().map(|name| folder.join(name));
        paths.find(|path| path.is_file())
    };
    let mut files = vec![there(&FILE_NAMES)?];
    files.extend(there(&OVERRIDE_NAMES));
    Some(files)
}

/// Every project below a folder, by name; hidden folders and those of other people's code are left out.
fn below(
    args: &LintArgs,
    folder: &Path,
    deep: usize,
    options: &mut Options,
    out: &mut Found,
) -> Result<(), String> {
    in_folder(args, folder, options, out)?;
    if deep == 0 {
        return Ok(());
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            !name.starts_with('.') && !["node_modules", "target", "vendor"].contains(&&*name)
        })
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    for folder in folders {
        below(args, &folder, deep - 1, options, out)?;
    }
    Ok(())
}

/// A path as the loader takes it.
fn name(path: &Path) -> Result<String, String> {
    let name = path.strip_prefix(".").unwrap_or(path).to_str();
    name.map(str::to_owned)
        .ok_or_else(|| format!("vethlab: {}: not UTF-8", path.display()))
}

fn load(options: &compose::Options) -> Result<Loaded, String> {
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let first = options.files.first();
    let options = compose::Options {
        project_directory: first.and_then(|file| folder_of(file)),
        env: environment,
        allow_outside: super::outside::allowed(),
        ..options.clone()
    };
    let mut loaded = Loaded::load(&mut Disk, &options).map_err(|errors| errors.to_string())?;
    let here = std::env::current_dir().ok();
    if let Some(here) = here.as_deref().and_then(Path::to_str) {
        loaded.below(here);
    }
    Ok(loaded)
}

fn list(format: LintFormat) -> Result<String, String> {
    if format == LintFormat::Json {
        let rules = RULES.iter().map(
            |rule| json!({"id": rule.id, "level": rule.level.as_str(), "summary": rule.summary}),
        );
        return pretty(&rules.collect::<Vec<_>>());
    }
    let width = RULES.iter().map(|rule| rule.id.len()).max().unwrap_or(0);
    let lines = RULES
        .iter()
        .map(|rule| format!("{:width$}  {:7}  {}\n", rule.id, rule.level, rule.summary));
    Ok(lines.collect())
}

fn rendered(format: LintFormat, report: &Report) -> Result<String, String> {
    match format {
        LintFormat::Text => Ok(lint::text(report)),
        LintFormat::Github => Ok(lint::github(report)),
        LintFormat::Json => pretty(report),
        LintFormat::Sarif => pretty(&lint::sarif(report)),
    }
}

fn pretty(value: &impl serde::Serialize) -> Result<String, String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| format!("vethlab: {error}"))?;
    Ok(text + "\n")
}

fn print(text: &str) -> Result<(), String> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("vethlab: standard output: {error}"))
        }
        _ => Ok(()),
    }
}
