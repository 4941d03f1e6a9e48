//! `vethlab watch`: `vethlab test`, again whenever a file changes.
//!
//! Files are looked at, not subscribed to, so that it works the same on every system and file system: YAML, JSON and
//! variables in the folders that are tested and below, hidden folders left out.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, SystemTime};

use vethlab::files::STDIN;
use vethlab_cli::args::WatchArgs;
use vethlab_cli::args::test::TestArgs;

use super::{BAD_INPUT, test};

/// How often files are looked at.
const PAUSE: Duration = Duration::from_millis(250);
/// How deep, and at how many files.
const DEPTH_MAX: usize = 32;
const FILES_MAX: usize = 100_000;

/// What is known of the files: when they changed last, and how long they are.
type Snapshot = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// Runs until it is ended.
pub(crate) fn run(args: &WatchArgs) -> ExitCode {
    let mut named = args.test.files.iter().chain(&args.test.paths);
    if named.any(|path| path.as_os_str() == STDIN) {
        eprintln!("vethlab: watch needs files: standard input can be read only once");
        return ExitCode::from(BAD_INPUT);
    }
    let mut run = 0;
    loop {
        // Taken before the run, so that a change meanwhile is seen.
        let before = snapshot(&args.test);
        if io::stdout().is_terminal() {
            print!("\x1b[2J\x1b[H");
        }
        let code = test::run(&args.test);
        run += 1;
        if args.runs == Some(run) {
            return code;
        }
        if io::stderr().is_terminal() {
            eprintln!("\nwatching {} files; Ctrl-C ends", before.len());
        }
        while snapshot(&args.test) == before {
            thread::sleep(PAUSE);
        }
    }
}

fn snapshot(args: &TestArgs) -> Snapshot {
    let mut seen = Snapshot::new();
    let named = args.files.iter().chain(&args.config).chain(&args.paths);
    let mut folders: Vec<PathBuf> = named
        .map(|path| match path.is_dir() {
            true => path.clone(),
            false => path.parent().unwrap_or(path).to_owned(),
        })
        .collect();
    if folders.is_empty() {
        folders.push(PathBuf::from("."));
    }
    for folder in folders {
        let folder = if folder.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            folder
        };
        look(&folder, 0, &mut seen);
    }
    for path in args.host.iter().chain(&args.images).chain(&args.env_file) {
        note(path, &mut seen);
    }
    seen
}

fn look(folder: &Path, depth: usize, seen: &mut Snapshot) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && depth < DEPTH_MAX && !name.starts_with('.') && name != "node_modules" {
            look(&path, depth + 1, seen);
        } else if !is_folder && matters(&name) && seen.len() < FILES_MAX {
            note(&path, seen);
        }
    }
}

/// A file of a kind that a project reads.
fn matters(name: &str) -> bool {
    let ends = [".yaml", ".yml", ".json", ".env"];
    ends.iter().any(|end| name.ends_with(end)) || name.starts_with(".env")
}

fn note(path: &Path, seen: &mut Snapshot) {
    if let Ok(about) = fs::metadata(path) {
        seen.insert(path.to_owned(), (about.modified().ok(), about.len()));
    }
}
