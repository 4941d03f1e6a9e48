//! The binary as the tests of several verbs run it: in the project's folder or one of the test's own, with an empty
//! environment.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};

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

/// Whether this machine has a loopback that carries; says so if it has none.
pub(crate) fn loopback() -> bool {
    let there = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| TcpStream::connect(listener.local_addr()?))
        .is_ok();
    if !there {
        let _said = writeln!(std::io::stderr().lock(), "SKIPPED: no loopback here");
    }
    there
}

/// A port where nobody listens, and that the kernel gives nobody by itself: below those that it chooses from, if there are any.
pub(crate) fn unused_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let chosen = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = chosen.split_whitespace().next();
    let first: u16 = first.and_then(|first| first.parse().ok()).unwrap_or(32_768);
    // Test processes that run side by side begin at different ones.
    let begin = first.saturating_sub((std::process::id() % 8_000) as u16);
    for _ in 0..1_000 {
        let port = begin.saturating_sub(1 + TAKEN.fetch_add(1, Ordering::Relaxed));
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    // It chooses from all of them.
    let any = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    any.local_addr().unwrap().port()
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

/// What it printed, if it exits with this code.
pub(crate) fn says(args: &[&str], code: i32) -> String {
    printed(&mut command(args), code)
}

/// The same in a folder.
pub(crate) fn says_in(folder: &Path, args: &[&str], code: i32) -> String {
    printed(command(args).current_dir(folder), code)
}

/// Its standard output; its errors as well if it should fail on its input.
fn printed(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {out}{err}");
    if code == 2 { out + &err } else { out }
}

/// In a folder: the exit code, and what it printed to both outputs.
pub(crate) fn ran(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = command(args).current_dir(folder).output().unwrap();
    let (out, err) = texts(&output);
    (output.status.code(), out, err)
}

/// A folder of a verb's test with these files and nothing else.
pub(crate) fn folder(verb: &str, test: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(verb).join(test);
    let _first = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}
