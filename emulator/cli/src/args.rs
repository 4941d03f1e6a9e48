//! The arguments of `vethlab`.
//!
//! Exit codes: 0 everything ran (and matches), 1 there are differences, 2 bad input.

mod attach;
mod capture;
mod capturing;
mod diff;
mod doctor;
pub mod init;
pub mod lint;
mod matrix;
mod pages;
pub mod test;
mod up;
mod watch;
mod why;

pub use attach::AttachArgs;
pub use capture::{Bounds, CaptureArgs, CaptureAt};
pub use capturing::{CapturingArgs, ExtcapArgs};
pub use diff::{DiffArgs, DiffFormat, FailOn};
pub use doctor::DoctorArgs;
pub use matrix::{MatrixArgs, MatrixFormat};
pub use pages::{CompletionsArgs, ManArgs};
pub use up::{DownArgs, ExecArgs, FollowArgs, LogsArgs, PsArgs, UpArgs, WhichArgs};
pub use watch::WatchArgs;
pub use why::WhyArgs;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use vethlab::core::docker::spec::Engine;

const EXAMPLES: &str = "\
Examples:
  vethlab check
      who reaches whom in this folder's compose project, and why not
  vethlab why web db:5432
      one pair, step by step, with what would change it
  vethlab test
      the expectations of every project below this folder, for CI
  vethlab up -d
      the project in real time, in the background

`vethlab COMMAND --help` has more of each.

Exit codes:
  0  everything ran, and is as expected
  1  there are differences
  2  bad input: a file that cannot be read, a wrong argument";

const PLAY_EXAMPLES: &str = "\
Examples:
  vethlab play lesson.md
      type the lesson's console blocks into a lab; exit 1 with a diff if something differs
  vethlab play --bless lesson.md
      write what was seen into the page; lines that still fit keep their [..]
  vethlab play --engine 20.10 --seed 7 --capture lesson.pcapng lesson.md
      as Docker 20.10, with other MACs and ids, and every frame for Wireshark

Exit codes:
  0  the transcript is as expected (or was blessed)
  1  there are differences
  2  bad input: a file that cannot be read, a block that is never closed";

const CHECK_EXAMPLES: &str = "\
Examples:
  vethlab check
      start every service of this folder's project, and print who reaches whom, and why not
  vethlab check -p shop --format json compose.yaml compose.override.yaml
      the same for a project of two files, for machines
  docker compose config | vethlab check -
      a project that another program writes
  vethlab check --capture shop.pcapng --capture-at all compose.yaml
      with every frame at every point of its way
  vethlab check -i db --capture db.pcapng --capture-filter 'port 5432' compose.yaml
      what crosses the interfaces of db, as far as it passes a filter in tcpdump's language
  vethlab check --on server vethlab.yaml
      of the projects that run together on a host: services are PROJECT/SERVICE

Exit codes:
  0  it ran
  2  bad input, with file, line and column";

/// Docker's network inside one process.
#[derive(Debug, Parser)]
#[command(name = "vethlab", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// Let the files of a project name files outside of its git work tree, or of its folder if it is in
    /// none, as compose does; otherwise such files are not read
    #[arg(long, global = true)]
    pub allow_outside: bool,
}

/// What `vethlab` does.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Say who reaches whom in a compose project, and why not
    Check(CheckArgs),
    /// Make a vethlab.yaml of what a compose project dials
    Init(init::InitArgs),
    /// Say what in compose files will not work, or is open to more than meant
    Lint(lint::LintArgs),
    /// Try every way between services and places, and hold the answer as a lock file
    Matrix(MatrixArgs),
    /// Say what a change of a project opens, closes and moves
    Diff(DiffArgs),
    /// Say step by step why one service reaches another, or why not
    Why(WhyArgs),
    /// Keep a project running in real time
    Up(UpArgs),
    /// End a project that is up
    Down(DownArgs),
    /// List the containers of a project that is up
    Ps(PsArgs),
    /// Print what the programs of a project that is up wrote
    Logs(LogsArgs),
    /// Run a tool in a container of a project that is up
    Exec(ExecArgs),
    /// Capture what a project that is up does, into Wireshark, tshark or a file
    Capture(CapturingArgs),
    /// Be Wireshark's plug-in for projects that are up
    Extcap(ExtcapArgs),
    /// Run a real program on a network of a project that is up
    Attach(AttachArgs),
    /// Say which ways of attaching work on this machine, and why the others do not
    Doctor(DoctorArgs),
    /// Type the commands of a Markdown transcript into a lab and compare what they print
    Play(PlayArgs),
    /// Try what is expected of the networks of compose projects
    Test(test::TestArgs),
    /// Try what is expected again whenever a file changes
    Watch(WatchArgs),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
    /// Print a page for `man`, or write one for each verb
    Man(ManArgs),
}

/// What every lab is started with.
#[derive(Args, Clone, Debug)]
pub struct LabArgs {
    /// Draw ids, MACs and shuffles from this seed; the same seed gives the same bytes
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// The Docker engine that is modelled: what a compose file says if not given, else 29
    #[arg(long, value_enum)]
    pub engine: Option<EngineArg>,
    /// The capture.
    #[command(flatten)]
    pub capture: CaptureArgs,
}

/// The compose files of a project.
#[derive(Args, Clone, Debug)]
pub struct ComposeArgs {
    /// The compose files, later ones laid over earlier ones (- is standard input), or a vethlab.yaml, or a folder; this
    /// folder if none
    #[arg(value_name = "COMPOSE")]
    pub named: Vec<PathBuf>,
    /// A compose file, as `docker compose` is told of it; before those without -f
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub flagged: Vec<PathBuf>,
    /// How they are loaded.
    #[command(flatten)]
    pub load: LoadArgs,
}

impl ComposeArgs {
    /// The files, in the order in which they are laid over one another.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.flagged.iter().chain(&self.named).cloned().collect()
    }
}

/// How compose files are loaded.
#[derive(Args, Clone, Debug, Default)]
pub struct LoadArgs {
    /// A profile that is active, may be repeated; if none is given, COMPOSE_PROFILES says
    #[arg(long, value_name = "NAME")]
    pub profile: Vec<String>,
    /// A file of variables in the place of .env, may be repeated
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
}

/// `vethlab play`.
#[derive(Args, Clone, Debug)]
#[command(after_help = PLAY_EXAMPLES)]
pub struct PlayArgs {
    /// The transcripts; each is played in a lab of its own
    #[arg(required = true, value_name = "FILE.md")]
    pub files: Vec<PathBuf>,
    /// Write what was seen into the files
    #[arg(long)]
    pub bless: bool,
    /// How differences are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// The lab.
    #[command(flatten)]
    pub lab: LabArgs,
}

/// `vethlab check`.
#[derive(Args, Clone, Debug)]
#[command(after_help = CHECK_EXAMPLES)]
pub struct CheckArgs {
    /// The files.
    #[command(flatten)]
    pub compose: ComposeArgs,
    /// The project's name; the file's own name or its directory's if not given
    #[arg(short = 'p', long, value_name = "NAME")]
    pub project_name: Option<String>,
    /// Of a vethlab.yaml: the host whose projects are meant, or a project that runs by itself
    #[arg(long, value_name = "NAME")]
    pub on: Option<String>,
    /// The machine: its daemon.json, routes, addresses, uplink MTU
    #[arg(long, value_name = "FILE")]
    pub host: Option<PathBuf>,
    /// How the matrix is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// The lab.
    #[command(flatten)]
    pub lab: LabArgs,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For machines
    Json,
}

/// The engine, as `--engine` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineArg {
    /// Docker 20.10
    #[value(name = "20.10")]
    V20_10,
    /// Docker 29
    #[value(name = "29")]
    V29,
}

impl From<EngineArg> for Engine {
    fn from(engine: EngineArg) -> Self {
        match engine {
            EngineArg::V20_10 => Self::V20_10,
            EngineArg::V29 => Self::V29,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds() {
        Cli::command().debug_assert();
    }

    /// What stands below the options is not wrapped anew on a screen of a hundred columns.
    #[test]
    fn examples_fit_the_screen() {
        for verb in Cli::command().get_subcommands() {
            let after = verb.get_after_help().map(ToString::to_string);
            for line in after.unwrap_or_default().lines() {
                let length = line.chars().count();
                assert!(length <= 100, "{}: {length}: {line}", verb.get_name());
            }
        }
    }

    #[test]
    fn lines() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        let cli =
            parse("vethlab play --bless --seed 7 --engine 20.10 --capture o.pcapng a.md").unwrap();
        let Verb::Play(args) = cli.verb else { panic!() };
        assert!(args.bless && args.lab.seed == 7);
        assert_eq!(args.lab.engine.map(Engine::from), Some(Engine::V20_10));
        let cli =
            parse("vethlab check -p shop --format json --capture o --capture-at all a.yaml b.yaml")
                .unwrap();
        let Verb::Check(args) = cli.verb else {
            panic!()
        };
        assert_eq!(
            (args.compose.files().len(), args.format, args.lab.capture.at),
            (2, Format::Json, CaptureAt::All)
        );
        assert_eq!(args.project_name.as_deref(), Some("shop"));
        let cli =
            parse("vethlab check -f a.yaml -f b.yaml --profile x --profile y --env-file e c.yaml");
        let Verb::Check(args) = cli.unwrap().verb else {
            panic!()
        };
        let files = ["a.yaml", "b.yaml", "c.yaml"].map(PathBuf::from);
        assert_eq!(args.compose.files(), files);
        assert_eq!(args.compose.load.profile, ["x", "y"]);
        for bad in [
            "vethlab",
            "vethlab play",
            "vethlab check --capture-at all a.yaml",
            "vethlab check -i web:eth0 a.yaml",
            "vethlab check --capture o -i web --capture-at all a.yaml",
            "vethlab check --capture o --ring-seconds 5 a.yaml",
            "vethlab play --engine 19 a.md",
            "vethlab play --seed x a.md",
        ] {
            assert_eq!(parse(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
    }
}
