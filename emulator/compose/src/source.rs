//! Where file texts come from, and paths as text. The caller does the reading.
//!
//! Paths are joined and tidied as text, `/` between the parts; links are not followed and the
//! home directory is not known. A path may lead out of the project's folder (`../base.yaml`,
//! `/etc/x.env`), as compose lets it: where a project ends is the [`Source`]'s to know
//! ([`Source::outside`]), for the files may be a stranger's.

use core::fmt;
use std::collections::BTreeMap;

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 16 << 20;

/// Gives out the texts of files.
pub trait Source {
    /// The text of the file at `path`: a path of [`crate::Options::files`], or one that a file
    /// names, joined to that file's folder.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&mut self, path: &str) -> Result<String, ReadError>;

    /// Asked before a file is read that nobody but the project's texts names: the root of the project
    /// in `folder`, if `path` lies outside of it. Such a file is not read, unless
    /// [`crate::Options::allow_outside`] says so.
    fn outside(&mut self, folder: &str, path: &str) -> Option<String> {
        let _ = (folder, path);
        None
    }
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// There is none.
    NotFound,
    /// It is not UTF-8.
    NotUtf8,
    /// It is larger than [`MAX_FILE_BYTES`].
    TooLarge,
    /// Anything else, in words.
    Other(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such file or directory"),
            Self::NotUtf8 => f.write_str("not UTF-8"),
            Self::TooLarge => write!(f, "larger than {MAX_FILE_BYTES} bytes"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl core::error::Error for ReadError {}

/// Texts that are in memory already, by path.
impl Source for BTreeMap<String, String> {
    fn read(&mut self, path: &str) -> Result<String, ReadError> {
        self.get(path).cloned().ok_or(ReadError::NotFound)
    }
}

/// The folder of a path: empty for a bare name, `/` for a name in the root.
pub(crate) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) => "/",
        Some(at) => &path[..at],
        None => "",
    }
}

/// The last part of a path; empty if it is `.`, `..` or nothing.
pub(crate) fn last_part(path: &str) -> &str {
    let name = path.trim_end_matches('/').rsplit('/').next();
    match name {
        Some("." | "..") | None => "",
        Some(name) => name,
    }
}

/// `path` as seen from the folder `dir`, with `.` and `..` worked out.
pub(crate) fn join(dir: &str, path: &str) -> String {
    if path.starts_with('/') || dir.is_empty() {
        return tidy(path);
    }
    tidy(&format!("{dir}/{path}"))
}

fn tidy(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            name => parts.push(name),
        }
    }
    let joined = parts.join("/");
    if rooted { format!("/{joined}") } else { joined }
}

/// Whether compose would fetch the path from elsewhere: a git or OCI reference, or a URL.
pub(crate) fn is_remote(path: &str) -> bool {
    path.contains("://") || path.starts_with("git@") || path.starts_with("github.com/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let cases = [
            ("a/b", "c.yml", "a/b/c.yml"),
            ("a/b", "../c.yml", "a/c.yml"),
            ("a", "./../../c", "../c"),
            ("", "./c", "c"),
            ("/a", "../../c", "/c"),
            ("a", "/c/./d", "/c/d"),
        ];
        for (dir, path, joined) in cases {
            assert_eq!(join(dir, path), joined);
        }
        assert_eq!(parent("a/b/c"), "a/b");
        assert_eq!(parent("/c"), "/");
        assert_eq!(parent("c"), "");
        assert_eq!(last_part("/srv/Shop/"), "Shop");
        assert_eq!(last_part(".."), "");
    }
}
