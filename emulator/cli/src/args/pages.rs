//! The arguments of `vethlab completions` and `vethlab man`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

const COMPLETIONS: &str = "\
Examples:
  vethlab completions bash > ~/.local/share/bash-completion/completions/vethlab
      verbs and options by the tab key, from the next shell on
  vethlab completions zsh > \"${fpath[1]}/_vethlab\"
  vethlab completions fish > ~/.config/fish/completions/vethlab.fish

Exit codes:
  0  it was printed
  2  there is no such shell, or it could not be printed";

const MAN: &str = "\
Examples:
  vethlab man | man -l -
      the page of vethlab itself
  vethlab man ~/.local/share/man/man1
      write it there, and a page for each verb: `man vethlab-check`

Exit codes:
  0  it was printed or written
  2  it could not be";

/// `vethlab completions`.
#[derive(Args, Clone, Debug)]
#[command(after_help = COMPLETIONS)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// `vethlab man`.
#[derive(Args, Clone, Debug)]
#[command(after_help = MAN)]
pub struct ManArgs {
    /// Write all pages into this folder, which is made if it is not there
    #[arg(value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
}
