//! Compose files from disk, and one from standard input.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use emulator_compose::{Errors, MAX_FILE_BYTES, Options, Project, ReadError, Source};

/// The name of a compose file that comes from standard input, as `docker compose -f -` has it.
pub const STDIN: &str = "-";

/// The file system as a source of compose files, and standard input as the one named [`STDIN`].
///
/// A project ends at its git work tree, or at its folder if that is in none; links are followed before
/// paths are compared. What the project's texts name beyond is not read: they may be a stranger's, and
/// errors quote the lines of the files that they are in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Source for Disk {
    fn read(&mut self, path: &str) -> Result<String, ReadError> {
        if path == STDIN {
            return standard_input();
        }
        if fs::metadata(path).map_err(read_error)?.is_dir() {
            return Err(ReadError::Other("is a directory".to_owned()));
        }
        text(File::open(path).map_err(read_error)?)
    }

    fn outside(&mut self, folder: &str, path: &str) -> Option<String> {
        // What is not there cannot be read either.
        let path = fs::canonicalize(path).ok()?;
        let root = root(Path::new(folder));
        (!path.starts_with(&root)).then(|| root.display().to_string())
    }
}

/// What came by standard input: it can be read only once, whoever asks for it again.
fn standard_input() -> Result<String, ReadError> {
    static READ: OnceLock<Result<String, ReadError>> = OnceLock::new();
    READ.get_or_init(|| text(io::stdin().lock())).clone()
}

fn text(from: impl Read) -> Result<String, ReadError> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too large from one that just fits.
    let limit = MAX_FILE_BYTES as u64 + 1;
    from.take(limit)
        .read_to_end(&mut bytes)
        .map_err(read_error)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(ReadError::TooLarge);
    }
    String::from_utf8(bytes).map_err(|error| not_utf8(error.as_bytes()))
}

fn read_error(error: io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::NotFound => ReadError::NotFound,
        _ => ReadError::Other(words(&error)),
    }
}

/// An error of the system in Docker's way: `permission denied`.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// Where a text ceases to be UTF-8.
fn not_utf8(bytes: &[u8]) -> ReadError {
    let valid = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let line = 1 + valid.matches('\n').count();
    let last = valid.rsplit('\n').next().unwrap_or_default();
    let column = 1 + last.chars().count();
    ReadError::Other(format!("not UTF-8 at line {line}, column {column}"))
}

/// The git work tree that a folder is in; the folder itself if it is in none.
fn root(folder: &Path) -> PathBuf {
    let here = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let folder = fs::canonicalize(here).unwrap_or_else(|_| folder.to_owned());
    let mut above = folder.ancestors();
    let tree = above.find(|folder| fs::symlink_metadata(folder.join(".git")).is_ok());
    tree.map(Path::to_owned).unwrap_or(folder)
}

/// Loads a project from files on disk.
///
/// # Errors
/// Everything that is wrong with them, each with its file, line and column.
pub fn load(
    files: &[String],
    project_name: Option<String>,
    environment: BTreeMap<String, String>,
) -> Result<Project, Errors> {
    load_with(Options {
        files: files.to_vec(),
        project_name,
        env: environment,
        ..Options::default()
    })
}

/// The same with options of every kind. The project's folder is that of the first file if none is given. Where that is
/// called by a relative path, so are the files that it names, if they are below this folder.
///
/// # Errors
/// As [`load`].
pub fn load_with(mut options: Options) -> Result<Project, Errors> {
    if options.project_directory.is_none() {
        let first = options.files.first();
        options.project_directory = first.and_then(|file| folder_of(file));
    }
    let mut loaded = emulator_compose::load(&mut Disk, &options);
    let mut named = options.files.iter().map(Path::new);
    if named.all(|file| file.is_relative()) {
        let here = std::env::current_dir().and_then(fs::canonicalize);
        let below = |file: &mut String| {
            let rest = here
                .as_ref()
                .ok()
                .and_then(|here| Path::new(file).strip_prefix(here).ok());
            if let Some(rest) = rest.and_then(Path::to_str) {
                *file = rest.to_owned();
            }
        };
        match &mut loaded {
            Ok(project) => project.files.iter_mut().for_each(below),
            Err(errors) => errors.0.iter_mut().for_each(|error| below(&mut error.file)),
        }
    }
    loaded
}

/// The absolute path of the folder that a file is in, whether it is there or not: relative paths start
/// there, and its name is the project's if nobody gives one. Standard input is in this one.
#[must_use]
pub fn folder_of(file: &str) -> Option<String> {
    let file = std::path::absolute(file).ok()?;
    let folder = file.parent()?;
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    folder.to_str().map(str::to_owned)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_in_dockers_way() {
        let denied = io::Error::from_raw_os_error(13);
        assert_eq!(words(&denied), "permission denied");
        let custom = io::Error::other("stream did not contain valid UTF-8");
        assert_eq!(words(&custom), "stream did not contain valid UTF-8");
    }
}
