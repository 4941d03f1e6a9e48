//! The arguments of `vethlab diff`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{EngineArg, LoadArgs};

const EXAMPLES: &str = "\
Examples:
  vethlab diff old/compose.yaml new/compose.yaml
      say what the change opens, closes and moves: exposure to the outside first
  vethlab diff main
      the project in this folder, as it was at the git revision `main` and as it is on disk
  vethlab diff --fail-on new-exposure HEAD~1:compose.yaml HEAD:compose.yaml
      between two git revisions; exit 1 if something more is reachable from outside
  vethlab diff --format markdown compose.lock compose.yaml
      since the lock file was written, for a comment on a pull request
  vethlab diff --on server main:vethlab.yaml vethlab.yaml
      of the projects that run together on a host: services are PROJECT/SERVICE
  vethlab diff --engine 20.10..29 compose.yaml
      what an upgrade of the engine opens and closes

OLD and NEW may be a compose file, a vethlab.yaml, a folder with one, a lock file of `vethlab
matrix`, a git revision (its project in this folder), or REVISION:PATH as `git show` takes it.

Exit codes:
  0  it ran, and nothing is there that --fail-on names
  1  something is
  2  bad input: a file that is refused, a revision that is not there, no `git`";

/// `vethlab diff`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DiffArgs {
    /// What it was: a file, a folder, a git revision
    #[arg(value_name = "OLD")]
    pub old: String,
    /// What it is; of a git revision that stands alone, its files on disk
    #[arg(value_name = "NEW")]
    pub new: Option<String>,
    /// The compose files of a folder or revision, from this folder; later ones override earlier ones
    #[arg(short = 'f', long = "file", value_name = "COMPOSE")]
    pub files: Vec<PathBuf>,
    /// How they are loaded.
    #[command(flatten)]
    pub load: LoadArgs,
    /// The project's name
    #[arg(short = 'p', long, value_name = "NAME")]
    pub project_name: Option<String>,
    /// Of a vethlab.yaml, the folder's or one that is named: the host whose projects are meant, or a project
    #[arg(long, value_name = "NAME")]
    pub on: Option<String>,
    /// The machine: its daemon.json, routes, addresses, uplink MTU
    #[arg(long, value_name = "FILE")]
    pub host: Option<PathBuf>,
    /// How the difference is printed
    #[arg(long, value_enum, default_value_t = DiffFormat::Text)]
    pub format: DiffFormat,
    /// Exit with 1 if there is something of this kind
    #[arg(long, value_enum, value_name = "KIND")]
    pub fail_on: Vec<FailOn>,
    /// The Docker engine that is modelled, or OLD..NEW; what the files say if not given, else 29
    #[arg(long, value_parser = engines, value_name = "ENGINE")]
    pub engine: Option<(EngineArg, EngineArg)>,
    /// Draw ids, MACs and shuffles from this seed
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
}

/// How a difference is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DiffFormat {
    /// For people
    Text,
    /// For machines
    Json,
    /// For a comment on a pull request
    Markdown,
}

/// What makes the exit code 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Something is reachable from outside that was not
    NewExposure,
    /// Something is reachable that was not, from outside or inside
    Gained,
    /// Something is not reachable any more
    Lost,
    /// Anything
    Any,
}

/// `29`, or `20.10..29`.
fn engines(text: &str) -> Result<(EngineArg, EngineArg), String> {
    let one = |text: &str| EngineArg::from_str(text, false);
    match text.split_once("..") {
        Some((old, new)) => Ok((one(old)?, one(new)?)),
        None => one(text).map(|engine| (engine, engine)),
    }
}
