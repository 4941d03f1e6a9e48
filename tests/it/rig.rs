//! What the tests share.

use std::path::PathBuf;

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Says aloud that a test did not do its work, and why.
pub(crate) fn skip(why: &str) {
    // Straight to the terminal: the test runner keeps the output of a test that passes.
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED: {why}");
}

/// Whether this machine has a loopback that carries; says so if it has none.
#[cfg(target_os = "linux")]
pub(crate) fn loopback() -> bool {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    let there = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| TcpStream::connect(listener.local_addr()?))
        .is_ok();
    if !there {
        skip("no loopback here");
    }
    there
}

/// The corpus of other people's files and records, if it is beside the project.
pub(crate) fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("VETHLAB_CORPUS")
        .map_or_else(|| root().join("../shared/corpus"), PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// Prints a line past the test runner, which keeps the output of a test that passes.
pub(crate) fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
