//! The arguments of `vethlab watch`.

use clap::Args;

use super::test::TestArgs;

const EXAMPLES: &str = "\
Examples:
  vethlab watch
      try the expectations of every project below this folder, and again whenever a file changes
  vethlab watch -f compose.yaml -f compose.dev.yaml
      of one project

It ends with Ctrl-C, or after --runs N.

Exit codes:
  those of `vethlab test`, of the last run";

/// `vethlab watch`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct WatchArgs {
    /// Stop after so many runs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub runs: Option<u64>,
    /// What is tried.
    #[command(flatten)]
    pub test: TestArgs,
}
