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
pub(crate) mod pages;
pub(crate) mod play;
pub(crate) mod project;
pub(crate) mod test;
#[cfg(target_os = "linux")]
pub(crate) mod up;
pub(crate) mod watch;
pub(crate) mod why;

use std::fs::File;
use std::io::Read;
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
    let mut bytes = Vec::new();
    // What says that it has no length, as devices do, may have no end.
    File::open(path)
        .and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("{shown}: {error}"))?;
    if bytes.len() > limit {
        return Err(format!("{shown}: longer than {limit} bytes"));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel says of its own files that they have no length.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_is_read_no_further_than_allowed() {
        let path = Path::new("/proc/self/status");
        assert!(read(path, 1 << 20).unwrap().starts_with("Name:"));
        let error = read(path, 10).unwrap_err();
        assert_eq!(error, "/proc/self/status: longer than 10 bytes");
    }
}
