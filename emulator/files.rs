//! Compose files from disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use emulator_compose::{Errors, MAX_FILE_BYTES, Options, Project, ReadError, Source};

/// The file system as a source of compose files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Source for Disk {
    fn read(&mut self, path: &str) -> Result<String, ReadError> {
        let other = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => ReadError::NotFound,
            _ => ReadError::Other(error.to_string()),
        };
        if fs::metadata(path).map_err(other)?.is_dir() {
            return Err(ReadError::Other("is a directory".to_owned()));
        }
        let mut bytes = Vec::new();
        // One byte more than allowed tells a file that is too large from one that just fits.
        let limit = MAX_FILE_BYTES as u64 + 1;
        File::open(path)
            .map_err(other)?
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(other)?;
        if bytes.len() > MAX_FILE_BYTES {
            return Err(ReadError::TooLarge);
        }
        String::from_utf8(bytes).map_err(|_| ReadError::NotUtf8)
    }
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

/// The same with options of every kind. The project's folder is that of the first file if none is given.
///
/// # Errors
/// As [`load`].
pub fn load_with(mut options: Options) -> Result<Project, Errors> {
    if options.project_directory.is_none() {
        let first = options.files.first();
        options.project_directory = first.and_then(|file| absolute_folder(Path::new(file)));
    }
    emulator_compose::load(&mut Disk, &options)
}

/// The absolute path of the folder that a file is in: relative paths start there, and its name is the
/// project's if nobody gives one.
fn absolute_folder(file: &Path) -> Option<String> {
    let file = fs::canonicalize(file).ok()?;
    file.parent()?.to_str().map(str::to_owned)
}
