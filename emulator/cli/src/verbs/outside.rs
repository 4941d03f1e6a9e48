//! Whether the files of a project may name files outside of it: said once on the command line, the same for
//! every load of the process.

use std::sync::OnceLock;

use vethlab::compose::{Config, Source};

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
    if allowed() {
        return Ok(());
    }
    let hosts = config.hosts.iter().filter_map(|host| host.host.as_ref());
    for named in config.images.iter().chain(&config.host).chain(hosts) {
        let (path, at) = (&named.value, named.at);
        if let Some(root) = source.outside(folder, path) {
            let (file, line, column) = (&config.file, at.line, at.column);
            return Err(format!(
                "{file}:{line}:{column}: open {path}: outside of {root}, and not read\nhint: --allow-outside lets a vethlab.yaml name any file"
            ));
        }
    }
    Ok(())
}
