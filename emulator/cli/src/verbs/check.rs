//! `vethlab check`: who reaches whom in a compose project.

use std::process::ExitCode;

use vethlab_cli::args::CheckArgs;

use super::{BAD_INPUT, read};

/// The longest compose file, in bytes.
const MAX_TEXT: usize = 16 << 20;

/// Checks a project. What has to happen between the files and the matrix is the lab's.
pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    for file in &args.files {
        if let Err(message) = read(file, MAX_TEXT) {
            eprintln!("vethlab: {message}");
            return ExitCode::from(BAD_INPUT);
        }
    }
    eprintln!("vethlab: this build has no lab");
    ExitCode::from(BAD_INPUT)
}
