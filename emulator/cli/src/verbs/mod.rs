//! The verbs of `vethlab`: the part that reads and writes files.

#[cfg(target_os = "linux")]
pub(crate) mod attach;
#[cfg(target_os = "linux")]
pub(crate) mod capture;
pub(crate) mod check;
#[cfg(target_os = "linux")]
pub(crate) mod desk;
pub(crate) mod diff;
#[cfg(target_os = "linux")]
pub(crate) mod doctor;
#[cfg(target_os = "linux")]
pub(crate) mod extcap;
pub(crate) mod init;
pub(crate) mod lint;
pub(crate) mod matrix;
pub(crate) mod outside;
pub(crate) mod play;
pub(crate) mod project;
pub(crate) mod test;
#[cfg(target_os = "linux")]
pub(crate) mod up;
pub(crate) mod watch;
pub(crate) mod why;

use std::fs;
use std::path::Path;

use vethlab::core::docker::DaemonConfig;
use vethlab::core::docker::spec::Engine;
use vethlab::core::id::NsId;
use vethlab::core::lab::{Lab, LabConfig};
use vethlab_cli::args::LabArgs;

/// Bad input: the exit code that says so.
pub(crate) const BAD_INPUT: u8 = 2;

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// One line for people, with the file's name, and line and column where it is not UTF-8.
pub(crate) fn read(path: &Path, limit: usize) -> Result<String, String> {
    let shown = path.display();
    let length = fs::metadata(path)
        .map_err(|error| format!("{shown}: {error}"))?
        .len();
    if length > limit as u64 {
        return Err(format!("{shown}: longer than {limit} bytes"));
    }
    let bytes = fs::read(path).map_err(|error| format!("{shown}: {error}"))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|&&b| b == b'\n').count();
        let start = valid
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |at| at + 1);
        let column = 1 + String::from_utf8_lossy(&valid[start..]).chars().count();
        format!("{shown}:{line}:{column}: not UTF-8")
    })
}

/// The lab that the arguments ask for.
///
/// # Errors
/// One line for people.
pub(crate) fn lab(args: &LabArgs) -> Result<Lab, String> {
    let engine = args.engine.map_or_else(Engine::default, Engine::from);
    let config = LabConfig {
        seed: args.seed,
        daemon: DaemonConfig::new(engine, NsId::default()),
        ..LabConfig::default()
    };
    Lab::new(config).map_err(|error| format!("vethlab: {error}"))
}
