//! Where control sockets are, and who may have one.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::process::getuid;

use super::client::Client;

/// Bytes of the path of a Unix socket (`sun_path` and its final zero).
const PATH: usize = 107;

/// The folder in which this user's control sockets are: `$XDG_RUNTIME_DIR/vethlab`, else `/tmp/vethlab-UID`.
#[must_use]
pub fn folder() -> PathBuf {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    match runtime.filter(|runtime| runtime.is_absolute() && runtime.is_dir()) {
        Some(runtime) => runtime.join("vethlab"),
        None => PathBuf::from(format!("/tmp/vethlab-{}", getuid().as_raw())),
    }
}

/// A folder of control sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    folder: PathBuf,
}

/// Why a project could not be claimed, or not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is up already, as this process.
    Up(Option<u32>),
    /// Anything else: a sentence.
    Error(String),
}

/// A project's name as far as it is the name of a file: what compose allows.
fn is_name(project: &str) -> bool {
    let mut bytes = project.bytes();
    let first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.next().is_some_and(first) && bytes.all(|byte| first(byte) || matches!(byte, b'-' | b'_'))
}

impl Place {
    /// This folder, which need not be there yet.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn file(&self, project: &str, what: &str) -> Result<PathBuf, String> {
        if !is_name(project) {
            return Err(format!(
                "{project:?} is no name of a project: lower-case letters, digits, - and _"
            ));
        }
        Ok(self.folder.join(format!("{project}.{what}")))
    }

    /// Makes the folder if it is not there, and sees that it is this user's alone.
    fn open(&self) -> Result<(), String> {
        let shown = self.folder.display();
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(format!("{shown}: {error}"));
            }
            _ => {}
        }
        self.check()
    }

    /// Sees that the folder is this user's alone.
    fn check(&self) -> Result<(), String> {
        let shown = self.folder.display();
        let found = fs::symlink_metadata(&self.folder).map_err(|e| format!("{shown}: {e}"))?;
        if !found.is_dir() {
            return Err(format!("{shown} is not a folder"));
        }
        if found.uid() != getuid().as_raw() {
            return Err(format!(
                "{shown} belongs to another user; set XDG_RUNTIME_DIR to a folder of your own"
            ));
        }
        if found.mode() & 0o077 != 0 {
            return Err(format!(
                "{shown} is open to others; `chmod 700 {shown}` closes it"
            ));
        }
        Ok(())
    }

    /// Claims a project's name for this process.
    ///
    /// # Errors
    /// If it is up already, or the folder is not what it should be.
    pub fn claim(&self, project: &str) -> Result<Claim, Claimed> {
        let words = |path: &Path, error: &dyn std::fmt::Display| {
            Claimed::Error(format!("{}: {error}", path.display()))
        };
        let lock = self.file(project, "lock").map_err(Claimed::Error)?;
        let socket = self.file(project, "sock").map_err(Claimed::Error)?;
        self.open().map_err(Claimed::Error)?;
        if socket.as_os_str().len() > PATH {
            return Err(Claimed::Error(format!(
                "{} is longer than the {PATH} bytes that the path of a socket may have; set XDG_RUNTIME_DIR to a \
                 shorter folder",
                socket.display()
            )));
        }
        let mut held = locked(&lock)?;
        held.set_len(0)
            .and_then(|()| write!(held, "{}", std::process::id()))
            .map_err(|error| words(&lock, &error))?;
        // It is ours, so a socket that stands there is nobody's.
        match fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(words(&socket, &error));
            }
            _ => {}
        }
        let listener = UnixListener::bind(&socket).map_err(|error| words(&socket, &error))?;
        listener
            .set_nonblocking(true)
            .map_err(|error| words(&socket, &error))?;
        Ok(Claim {
            listener,
            socket,
            lock,
            _held: held,
        })
    }

    /// Connects to a project.
    ///
    /// # Errors
    /// One sentence: none is up under this name, with the names of those that are, or what is wrong.
    pub fn connect(&self, project: &str) -> Result<Client, String> {
        self.find(project)?.ok_or_else(|| self.nobody(project))
    }

    /// The same; `None` if no project is up under this name.
    ///
    /// # Errors
    /// One sentence: the name is none, or the folder is not this user's alone.
    pub fn find(&self, project: &str) -> Result<Option<Client>, String> {
        let socket = self.file(project, "sock")?;
        if !self.folder.exists() {
            return Ok(None);
        }
        self.check()?;
        match UnixStream::connect(&socket) {
            Ok(stream) => Ok(Some(Client::new(stream))),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(format!("{}: {error}", socket.display())),
        }
    }

    fn nobody(&self, project: &str) -> String {
        let up = self.projects();
        let others = if up.is_empty() {
            "none is".to_owned()
        } else {
            format!("those that are: {}", up.join(", "))
        };
        format!("no project is up under the name {project}; {others}")
    }

    /// The projects that are up, by name.
    #[must_use]
    pub fn projects(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let names = entries.filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_suffix(".sock").map(str::to_owned)
        });
        let mut names: Vec<String> = names
            .filter(|name| self.find(name).is_ok_and(|found| found.is_some()))
            .collect();
        names.sort();
        names
    }
}

/// The lock file, locked.
fn locked(path: &Path) -> Result<File, Claimed> {
    let words =
        |error: &dyn std::fmt::Display| Claimed::Error(format!("{}: {error}", path.display()));
    loop {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|error| words(&error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let read = Read::by_ref(&mut file).take(32).read_to_string(&mut text);
                let process = read.ok().and_then(|_| text.trim().parse().ok());
                return Err(Claimed::Up(process));
            }
            Err(TryLockError::Error(error)) => return Err(words(&error)),
        }
        // Whoever had it may have taken the file away between our opening and our locking it.
        let same = match (file.metadata(), fs::symlink_metadata(path)) {
            (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
            _ => false,
        };
        if same {
            file.rewind().map_err(|error| words(&error))?;
            return Ok(file);
        }
    }
}

/// A project's name, held by this process. Given back when it is dropped: both files go.
#[derive(Debug)]
pub struct Claim {
    pub(super) listener: UnixListener,
    socket: PathBuf,
    lock: PathBuf,
    _held: File,
}

impl Claim {
    /// Where its socket is.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The socket first: while the lock is held, nobody makes a new one. What is gone already is gone.
        let _gone = fs::remove_file(&self.socket);
        let _gone = fs::remove_file(&self.lock);
    }
}
