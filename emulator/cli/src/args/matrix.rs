//! The arguments of `vethlab matrix`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{ComposeArgs, LabArgs};

const EXAMPLES: &str = "\
Examples:
  vethlab matrix compose.yaml
      start every service, try every way between them, and print who reaches whom
  vethlab matrix --format svg compose.yaml > matrix.svg
      the same as a picture; mermaid and graphviz draw the networks, markdown is for pages, csv for
      spreadsheets, and json has everything that was tried
  vethlab matrix --update compose.lock compose.yaml
      write what is reachable into a lock file, to be committed beside the compose file
  vethlab matrix --check compose.lock compose.yaml
      say what opened, closed and moved since; exit 1 if something did

  vethlab matrix shop
      of the project that is up under this name, as it was loaded then: its files may have
      changed, and what runs is not touched

Exit codes:
  0  it ran; with --check: nothing differs
  1  with --check: something opened, closed or moved
  2  bad input: a compose file that is refused, a lock file that cannot be read";

/// `vethlab matrix`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct MatrixArgs {
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
    #[arg(long, value_enum, default_value_t = MatrixFormat::Text)]
    pub format: MatrixFormat,
    /// Compare with this lock file instead of printing the matrix
    #[arg(long, value_name = "FILE", conflicts_with_all = ["update", "format"])]
    pub check: Option<PathBuf>,
    /// Write this lock file instead of printing the matrix; one that cannot be read is left alone
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    pub update: Option<PathBuf>,
    /// The lab.
    #[command(flatten)]
    pub lab: LabArgs,
}

/// How a matrix is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MatrixFormat {
    /// For people
    Text,
    /// For machines: everything that was tried
    Json,
    /// A line for each pair and port
    Csv,
    /// A table for pages and pull requests
    Markdown,
    /// A flowchart that GitHub and GitLab draw
    Mermaid,
    /// A graph for `dot`
    Graphviz,
    /// A picture
    Svg,
}

impl MatrixFormat {
    /// As it is written on the command line.
    #[must_use]
    pub fn word(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}
