//! `vethlab lint`: what in compose files will not work, or is open to more than meant.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;
use vethlab::compose::{self, FILE_NAMES, MAX_FILE_BYTES, MachineFile, OVERRIDE_NAMES};
use vethlab::files::Disk;
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
    let mut bad = false;
    let mut projects = Vec::new();
    for files in projects_of(args)? {
        match load(args, &files) {
            Ok(loaded) => projects.push(loaded),
            Err(message) => {
                eprintln!("{message}\n");
                bad = true;
            }
        }
    }
    let options = options(args)?;
    let report = lint::lint(&projects, &options);
    print(&rendered(args.format, &report)?)?;
    let fails = report.worst().is_some_and(|worst| worst >= args.fail_on);
    Ok(if bad { BAD_INPUT } else { u8::from(fails) })
}

fn options(args: &LintArgs) -> Result<Options, String> {
    let mut options = Options {
        only: args.rule.clone(),
        without: args.allow.clone(),
        together: args.together,
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
        let text = super::read(path, MAX_FILE_BYTES)?;
        let machine = MachineFile::parse(&path.display().to_string(), &text);
        options.machine = machine.map_err(|errors| errors.to_string())?;
    }
    Ok(options)
}

/// The files of each project.
fn projects_of(args: &LintArgs) -> Result<Vec<Vec<PathBuf>>, String> {
    if !args.file.is_empty() {
        return Ok(vec![args.file.clone()]);
    }
    if args.projects.is_empty() {
        let mut found = Vec::new();
        below(Path::new("."), DEEP, &mut found);
        if found.is_empty() {
            return Err("vethlab: no compose file in this folder or below".to_owned());
        }
        return Ok(found);
    }
    let projects = args.projects.iter().map(|path| match path.is_dir() {
        false => Ok(vec![path.clone()]),
        true => in_folder(path).ok_or_else(|| {
            format!(
                "vethlab: {}: no compose file in this folder",
                path.display()
            )
        }),
    });
    projects.collect()
}

/// The files that compose takes in a folder.
fn in_folder(folder: &Path) -> Option<Vec<PathBuf>> {
    let there = |names: &[&str]| {
        let mut paths = names.iter().map(|name| folder.join(name));
        paths.find(|path| path.is_file())
    };
    let mut files = vec![there(&FILE_NAMES)?];
    files.extend(there(&OVERRIDE_NAMES));
    Some(files)
}

/// Every project below a folder, by name; hidden folders and those of other people's code are left out.
fn below(folder: &Path, deep: usize, found: &mut Vec<Vec<PathBuf>>) {
    found.extend(in_folder(folder));
    if deep == 0 {
        return;
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
        below(&folder, deep - 1, found);
    }
}

fn load(args: &LintArgs, files: &[PathBuf]) -> Result<Loaded, String> {
    let names = files.iter().map(|file| {
        let name = file.strip_prefix(".").unwrap_or(file).to_str();
        name.map(str::to_owned)
            .ok_or_else(|| format!("vethlab: {}: not UTF-8", file.display()))
    });
    let names: Vec<String> = names.collect::<Result<_, _>>()?;
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let options = compose::Options {
        project_name: args.project_name.clone(),
        project_directory: names.first().and_then(|file| folder(Path::new(file))),
        files: names,
        env: environment,
        env_files: (!args.env_file.is_empty()).then(|| args.env_file.clone()),
        profiles: args.profile.clone(),
        ..compose::Options::default()
    };
    let mut loaded = Loaded::load(&mut Disk, &options).map_err(|errors| errors.to_string())?;
    let here = std::env::current_dir().ok();
    if let Some(here) = here.as_deref().and_then(Path::to_str) {
        loaded.below(here);
    }
    Ok(loaded)
}

/// The absolute path of the folder that a file is in.
fn folder(file: &Path) -> Option<String> {
    let file = fs::canonicalize(file).ok()?;
    file.parent()?.to_str().map(str::to_owned)
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
