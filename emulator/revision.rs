//! Compose files as they were: a git revision as a source of files, read with the `git` program.
//!
//! What is read is what `git show REVISION:PATH` shows, so nothing is checked out and nothing is written.
//! Paths are those of the work tree. A file that git ignores (often `.env`) is in no revision and is read
//! from disk; [`Revision::ignored`] tells which.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use emulator_compose::{MAX_FILE_BYTES, ReadError, Source};

use crate::files::Disk;

/// A revision of a repository.
#[derive(Clone, Debug)]
pub struct Revision {
    commit: String,
    top: PathBuf,
    ignored: BTreeSet<String>,
}

impl Revision {
    /// The revision that `name` means in the repository of `folder`.
    ///
    /// # Errors
    /// One line for people: there is no `git`, the folder is in no repository, the name means nothing.
    pub fn open(folder: &Path, name: &str) -> Result<Self, String> {
        let top = git(folder, &["rev-parse", "--show-toplevel"]).map_err(|error| {
            error.for_people(&format!("{} is in no git repository", folder.display()))
        })?;
        let top = PathBuf::from(top.trim_end_matches('\n'));
        // Such a name would be taken for an option.
        let named = (!name.starts_with('-')).then(|| format!("{name}^{{commit}}"));
        let unknown = format!("{name:?} is no revision of {}", top.display());
        let commit = named.ok_or_else(|| unknown.clone()).and_then(|named| {
            git(folder, &["rev-parse", "--verify", "--quiet", &named])
                .map_err(|error| error.for_people(&unknown))
        })?;
        Ok(Self {
            commit: commit.trim().to_owned(),
            top,
            ignored: BTreeSet::new(),
        })
    }

    /// The repository's top folder.
    #[must_use]
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// The files that were read from disk because git ignores them.
    pub fn ignored(&self) -> impl Iterator<Item = &str> {
        self.ignored.iter().map(String::as_str)
    }

    /// Whether the revision has a file or folder at `path`: `Some(true)` for a folder.
    #[must_use]
    pub fn folder_at(&self, path: &str) -> Option<bool> {
        let inside = self.inside(path).ok()?;
        let object = format!("{}:{inside}", self.commit);
        let kind = git(&self.top, &["cat-file", "-t", &object]).ok()?;
        Some(kind.trim() == "tree")
    }

    /// A path as the revision has it: from the top, without dots.
    fn inside(&self, path: &str) -> Result<String, ReadError> {
        let outside = || ReadError::Other("outside of the git repository".to_owned());
        let here = std::env::current_dir().map_err(|error| ReadError::Other(error.to_string()))?;
        let path = tidy(&here.join(path));
        let inside = path.strip_prefix(&self.top).map_err(|_| outside())?;
        inside.to_str().map(str::to_owned).ok_or_else(outside)
    }

    fn blob(&self, inside: &str) -> io::Result<Option<Vec<u8>>> {
        let object = format!("{}:{inside}", self.commit);
        let mut child = Command::new("git")
            .args(["cat-file", "blob", &object])
            .current_dir(&self.top)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut bytes = Vec::new();
        if let Some(out) = child.stdout.take() {
            // One byte more than allowed tells a file that is too large from one that just fits.
            out.take(MAX_FILE_BYTES as u64 + 1)
                .read_to_end(&mut bytes)?;
        }
        // What is not read to the end is cut off here, and no success.
        let there = child.wait()?.success() || bytes.len() > MAX_FILE_BYTES;
        Ok(there.then_some(bytes))
    }

    fn is_ignored(&self, inside: &str) -> bool {
        git(&self.top, &["check-ignore", "--quiet", "--", inside]).is_ok()
    }
}

impl Source for Revision {
    fn read(&mut self, path: &str) -> Result<String, ReadError> {
        let inside = self.inside(path)?;
        let blob = self.blob(&inside);
        let Some(bytes) = blob.map_err(|error| ReadError::Other(error.to_string()))? else {
            if self.folder_at(path) == Some(true) {
                return Err(ReadError::Other("is a directory".to_owned()));
            }
            if !self.is_ignored(&inside) {
                return Err(ReadError::NotFound);
            }
            if Disk.outside(&self.top.to_string_lossy(), path).is_some() {
                let text = "outside of the git repository".to_owned();
                return Err(ReadError::Other(text));
            }
            let text = Disk.read(path)?;
            self.ignored.insert(path.to_owned());
            return Ok(text);
        };
        if bytes.len() > MAX_FILE_BYTES {
            return Err(ReadError::TooLarge);
        }
        String::from_utf8(bytes).map_err(|_| ReadError::NotUtf8)
    }
}

/// A path without `.` and `..`, as text: links are not followed.
fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

/// Why `git` gave no answer.
#[derive(Debug)]
enum GitError {
    /// It could not be run.
    Run(io::Error),
    /// It said no.
    No,
}

impl GitError {
    fn for_people(&self, no: &dyn Display) -> String {
        match self {
            Self::Run(error) if error.kind() == io::ErrorKind::NotFound => {
                "revisions are read with the `git` program, which is not to be found here"
                    .to_owned()
            }
            Self::Run(error) => format!("git: {error}"),
            Self::No => no.to_string(),
        }
    }
}

/// What `git` prints.
fn git(folder: &Path, args: &[&str]) -> Result<String, GitError> {
    let output = Command::new("git")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(GitError::Run)?;
    if !output.status.success() {
        return Err(GitError::No);
    }
    String::from_utf8(output.stdout).map_err(|_| GitError::No)
}
