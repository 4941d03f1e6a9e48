//! Whether the files of a project may name files outside of it: said once on the command line, the same for
//! every load of the process.

use std::sync::OnceLock;

use vethlab::compose::{Config, Source};
use vethlab::together::within;

static ALLOWED: OnceLock<bool> = OnceLock::new();

/// Holds what the command line says.
pub(crate) fn allow(allowed: bool) {
    let _ = ALLOWED.set(allowed);
}

/// Whether they may.
pub(crate) fn allowed() -> bool {
    ALLOWED.get().copied().unwrap_or(false)
}

/// Refuses a `vethlab.yaml` in `folder` that names a machine or a table of images outside of its project.
///
/// # Errors
/// Which file, and where it is named.
pub(crate) fn check(source: &mut dyn Source, config: &Config, folder: &str) -> Result<(), String> {
    match allowed() {
        true => Ok(()),
        false => within(source, config, folder),
    }
}
