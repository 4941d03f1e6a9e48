//! The arguments of `vethlab init`.

use std::path::PathBuf;

use clap::Args;

use super::ComposeArgs;

const EXAMPLES: &str = "\
Examples:
  vethlab init compose.yaml
      print a vethlab.yaml that expects what the files say is dialled
  vethlab init --output vethlab.yaml compose.yaml compose.prod.yaml
      write it for a project of two files; a file that is there is kept, unless --force
  vethlab init --profile dev
      of the project in this folder, with the services of a profile

  vethlab init --together edge/compose.yaml blog/compose.yaml
      for projects that run on one machine: each with its own dials, and what they dial of each
      other
  vethlab init --on server vethlab.yaml
      print what the projects of a host dial of each other, to be put under `hosts:`

Exit codes:
  0  it was printed or written
  2  bad input, with file, line and column; or the file is there already";

/// `vethlab init`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct InitArgs {
    /// The files.
    #[command(flatten)]
    pub compose: ComposeArgs,
    /// Each compose file, or folder, is a project of its own, and they run on one host
    #[arg(long, conflicts_with_all = ["on", "flagged"], requires = "named")]
    pub together: bool,
    /// Of a vethlab.yaml: the host whose projects are meant, or a project that runs by itself
    #[arg(long, value_name = "NAME")]
    pub on: Option<String>,
    /// Write to this file instead of the standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Overwrite the file
    #[arg(long, requires = "output")]
    pub force: bool,
}
