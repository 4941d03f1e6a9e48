//! The arguments of `vethlab init`.

use std::path::PathBuf;

use clap::Args;

const EXAMPLES: &str = "\
Examples:
  vethlab init compose.yaml
      print a vethlab.yaml that expects what the files say is dialled
  vethlab init --output vethlab.yaml compose.yaml compose.prod.yaml
      write it for a project of two files; a file that is there is kept, unless --force

Exit codes:
  0  it was printed or written
  2  bad input, with file, line and column; or the file is there already";

/// `vethlab init`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct InitArgs {
    /// The compose files; later ones are laid over earlier ones
    #[arg(required = true, value_name = "COMPOSE")]
    pub files: Vec<PathBuf>,
    /// Write to this file instead of the standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Overwrite the file
    #[arg(long, requires = "output")]
    pub force: bool,
}
