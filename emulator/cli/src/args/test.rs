//! The arguments of `vethlab test`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use vethlab::report::Form;

use super::EngineArg;

const EXAMPLES: &str = "\
Examples:
  vethlab test
      try the expectations of every project below this folder, one line each
  vethlab test -f compose.yaml -f compose.prod.yaml
      of one project of two files, the later laid over the earlier
  vethlab test --engine 20.10 --format junit --output report.xml shop/
      as Docker 20.10, for a CI server
  vethlab test --baseline known.json --update-baseline
      let pass what fails now; later runs with --baseline fail on what is new

Exit codes:
  0  every expectation holds, or is unknown, or is in the baseline
  1  an expectation fails, or says nothing, or packets and model differ
  2  bad input, with file, line and column";

/// `vethlab test`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct TestArgs {
    /// A folder whose projects are found and run, a compose file, or a vethlab.yaml; this folder if none is given
    #[arg(value_name = "PATH", conflicts_with_all = ["files", "config"])]
    pub paths: Vec<PathBuf>,
    /// The compose files of one project; later ones override earlier ones; - is standard input
    #[arg(
        short = 'f',
        long = "file",
        value_name = "FILE",
        conflicts_with = "config"
    )]
    pub files: Vec<PathBuf>,
    /// The projects that this vethlab.yaml lists
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The project's name
    #[arg(short = 'p', long, value_name = "NAME", requires = "files")]
    pub project_name: Option<String>,
    /// Files of variables, instead of .env
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Profiles that are active
    #[arg(long, value_name = "NAME")]
    pub profile: Vec<String>,
    /// The Docker engine that is modelled; what the project says, else the newest, if not given
    #[arg(long, value_enum)]
    pub engine: Option<EngineArg>,
    /// The machine: daemon.json, routes, addresses, MTU
    #[arg(long, value_name = "FILE")]
    pub host: Option<PathBuf>,
    /// A table of images and their ports, before the one that is built in
    #[arg(long, value_name = "FILE")]
    pub images: Vec<PathBuf>,
    /// Draw ids, MACs and shuffles from this seed; the same seed gives the same bytes
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = TestFormat::Text)]
    pub format: TestFormat,
    /// Write the report to this file, and a summary for people to standard output
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Let pass the failures that this file lists
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Write what fails now into the baseline
    #[arg(long, requires = "baseline")]
    pub update_baseline: bool,
    /// Write the captures of what fails into this folder
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TestFormat {
    /// For people
    Text,
    /// Everything, for machines
    Json,
    /// XML for Jenkins and GitLab
    Junit,
    /// Annotations of a GitHub workflow
    Github,
    /// GitLab's code quality report
    Codequality,
    /// Test Anything Protocol 14
    Tap,
    /// A table for a comment or a job's summary
    Markdown,
}

impl From<TestFormat> for Form {
    fn from(format: TestFormat) -> Self {
        match format {
            TestFormat::Text => Self::People,
            TestFormat::Json => Self::Json,
            TestFormat::Junit => Self::Junit,
            TestFormat::Github => Self::Github,
            TestFormat::Codequality => Self::CodeQuality,
            TestFormat::Tap => Self::Tap,
            TestFormat::Markdown => Self::Markdown,
        }
    }
}
