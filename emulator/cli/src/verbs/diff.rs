//! `vethlab diff`: what a change opens, closes and moves.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use vethlab::compose::{CONFIG_NAME, FILE_NAMES, OVERRIDE_NAMES, Options, Source};
use vethlab::diff::{self, Diff, Side};
use vethlab::files::{Disk, folder_of};
use vethlab::matrix::{json, lock};
use vethlab::revision::Revision;
use vethlab::together::Together;
use vethlab_cli::args::{DiffArgs, DiffFormat, EngineArg, FailOn};

use super::BAD_INPUT;
use super::project;

/// Runs the verb.
pub(crate) fn run(args: &DiffArgs) -> ExitCode {
    match compare(args) {
        Ok(diff) if fails(args, &diff) => ExitCode::from(1),
        Ok(_) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{}", message.trim_end());
            ExitCode::from(BAD_INPUT)
        }
    }
}

fn compare(args: &DiffArgs) -> Result<Diff, String> {
    let old = Origin::of(&args.old)?;
    let engines = args
        .engine
        .map_or((None, None), |(old, new)| (Some(old), Some(new)));
    let new = match &args.new {
        Some(new) => Origin::of(new)?,
        None if engines.0 != engines.1 => old.clone(),
        None => old.on_disk().ok_or_else(|| {
            format!(
                "vethlab: {} is compared with what?\nhint: give NEW, a git revision for OLD, or --engine OLD..NEW",
                args.old
            )
        })?,
    };
    let diff = diff::compare(&old.side(args, engines.0)?, &new.side(args, engines.1)?);
    let text = match args.format {
        DiffFormat::Text => diff::text::render(&diff, diff::text::CHANGE),
        DiffFormat::Json => json::render(&diff),
        DiffFormat::Markdown => diff::markdown::render(&diff),
    };
    project::print(&text)?;
    Ok(diff)
}

fn fails(args: &DiffArgs, diff: &Diff) -> bool {
    args.fail_on.iter().any(|fail_on| match fail_on {
        FailOn::NewExposure => !diff.exposure.gained.is_empty(),
        FailOn::Gained => !(diff.exposure.gained.is_empty() && diff.inside.gained.is_empty()),
        FailOn::Lost => !(diff.exposure.lost.is_empty() && diff.inside.lost.is_empty()),
        FailOn::Any => !diff.is_empty(),
    })
}

/// Where a side comes from.
#[derive(Clone, Debug)]
struct Origin {
    title: String,
    /// The revision, if it is not the disk.
    revision: Option<Revision>,
    /// A file or a folder.
    path: String,
    folder: bool,
}

impl Origin {
    /// What `text` means: what is on disk goes before what git knows.
    fn of(text: &str) -> Result<Self, String> {
        let origin = |revision, path: &str, folder| Self {
            title: text.to_owned(),
            revision,
            path: path.to_owned(),
            folder,
        };
        if let Ok(there) = fs::metadata(text) {
            return Ok(origin(None, text, there.is_dir()));
        }
        let (name, path) = match text.split_once(':') {
            Some((name, path)) if !name.is_empty() => (name, Some(path)),
            _ => (text, None),
        };
        let revision = Revision::open(Path::new("."), name).map_err(|error| {
            format!("vethlab: {text}: there is no such file or folder, and as a revision: {error}")
        })?;
        // As `git show` has it: from the repository's top, or from here if it begins with a dot.
        let path = match path {
            None => ".".to_owned(),
            Some(path) if path.starts_with("./") || path.starts_with("../") => path.to_owned(),
            Some(path) => revision.top().join(path).to_string_lossy().into_owned(),
        };
        let folder = revision.folder_at(&path);
        let folder =
            folder.ok_or_else(|| format!("vethlab: {text}: the revision has no such path"))?;
        Ok(origin(Some(revision), &path, folder))
    }

    /// The same path on disk, of a revision.
    fn on_disk(&self) -> Option<Self> {
        self.revision.as_ref()?;
        Some(Self {
            title: self.path.clone(),
            revision: None,
            ..self.clone()
        })
    }

    /// Loads the side, and tries it unless it is a lock file.
    fn side(mut self, args: &DiffArgs, engine: Option<EngineArg>) -> Result<Side, String> {
        let files = self.files(args)?;
        if let [file] = files.as_slice()
            && let Ok(text) = self.read(file)
            && lock::is_lock(&text)
        {
            let facts = lock::read(&text).map_err(|error| format!("{}:{error}", self.title))?;
            if !facts.routes {
                let update = "`vethlab matrix --update`";
                eprintln!("{}", lock::without_routes(&self.title, update));
            }
            return Ok(Side::locked(self.title, facts));
        }
        let asked = self.load(files, args).map_err(|error| {
            let revision = self.revision.is_some();
            let title = if revision {
                format!("at {}:\n", self.title)
            } else {
                String::new()
            };
            title + &error
        })?;
        for file in self.revision.iter().flat_map(Revision::ignored) {
            eprintln!("{}: {file} is ignored by git: taken from disk", self.title);
        }
        project::warn(&asked);
        let options = project::options(&asked, args.seed, engine, args.host.as_deref())?;
        let matrix = project::tried(&asked, &options)?;
        Ok(Side::of(self.title, matrix))
    }

    fn read(&mut self, file: &str) -> Result<String, vethlab::compose::ReadError> {
        match &mut self.revision {
            Some(revision) => revision.read(file),
            None => Disk.read(file),
        }
    }

    /// The files of the project: the one that was named, or those of the folder.
    fn files(&mut self, args: &DiffArgs) -> Result<Vec<String>, String> {
        if !self.folder {
            return Ok(vec![self.path.clone()]);
        }
        if !args.files.is_empty() {
            return project::texts(&args.files);
        }
        let within = |name: &&str| match self.path.as_str() {
            "." => (*name).to_owned(),
            path => format!("{}/{name}", path.trim_end_matches('/')),
        };
        if args.on.is_some() {
            return Ok(vec![within(&CONFIG_NAME)]);
        }
        let first = |names: &[&str]| {
            let mut paths = names.iter().map(within);
            paths.find(|path| match &self.revision {
                Some(revision) => revision.folder_at(path) == Some(false),
                None => fs::metadata(path).is_ok_and(|there| there.is_file()),
            })
        };
        let base = first(&FILE_NAMES).ok_or_else(|| {
            format!(
                "vethlab: {}: no {} there\nhint: name the files with -f",
                self.title,
                FILE_NAMES.join(", ")
            )
        })?;
        Ok([Some(base), first(&OVERRIDE_NAMES)]
            .into_iter()
            .flatten()
            .collect())
    }

    fn load(&mut self, files: Vec<String>, args: &DiffArgs) -> Result<Together, String> {
        let source: &mut dyn Source = match &mut self.revision {
            Some(revision) => revision,
            None => &mut Disk,
        };
        if let [file] = files.as_slice()
            && Path::new(file)
                .file_name()
                .is_some_and(|name| name == CONFIG_NAME)
        {
            project::refuse_for_config(file, &args.load)?;
            return project::configured(
                source,
                file,
                args.project_name.as_deref(),
                args.on.as_deref(),
            );
        }
        let options = Options {
            project_directory: files.first().and_then(|file| folder_of(file)),
            files,
            project_name: args.project_name.clone(),
            profiles: args.load.profile.clone(),
            env_files: project::env_files(&args.load)?,
            env: project::environment(),
            allow_outside: super::outside::allowed(),
            ..Options::default()
        };
        let project = vethlab::compose::load(source, &options);
        project
            .map(Together::alone)
            .map_err(|errors| errors.to_string())
    }
}
