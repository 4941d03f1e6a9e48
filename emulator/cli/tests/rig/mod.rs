//! The binary as the tests of several verbs run it: in the project's folder, with an empty environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `vethlab` with these arguments.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vethlab"));
    command.args(args).current_dir(root()).env_clear();
    command
}

/// What came of it.
pub(crate) fn vethlab(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// Both of its outputs as text.
pub(crate) fn texts(output: &Output) -> (String, String) {
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}
