//! The lock file: the facts of a project, one to a line, to be committed beside it.
//!
//! ```text
//! # vethlab matrix, format 2
//! engine 29
//! lan -> vote:80 = host:5000 sees client
//! vote -> redis:6379 = name on back-tier
//! ```
//!
//! Lines are sorted; empty lines and those that begin with `#` mean nothing. What is not a fact is an
//! error with its line, so that a file with merge marks is not taken for a lock.
//!
//! Format 1 is the same without the ways of `lan` by an added route: it is read, and compared without them.

use core::fmt;
use std::collections::BTreeSet;

use super::facts::Facts;

/// The first line, and what tells that a file is a lock.
pub const HEAD: &str = "# vethlab matrix, format 2";

/// The first line of a lock file that lists no ways by an added route.
const WITHOUT_ROUTES: &str = "# vethlab matrix, format 1";

/// The longest lock file that is read, in bytes.
pub const MAX_BYTES: usize = 16 << 20;

/// What is wrong with a lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.message)
    }
}

impl core::error::Error for LockError {}

/// The text of a lock file.
#[must_use]
pub fn write(facts: &Facts) -> String {
    let head = if facts.routes { HEAD } else { WITHOUT_ROUTES };
    let mut text = format!("{head}\nengine {}\n", facts.engine);
    for (fact, ways) in &facts.open {
        let ways: Vec<&str> = ways.iter().map(String::as_str).collect();
        text.push_str(&format!("{fact} = {}\n", ways.join("; ")));
    }
    text
}

/// Whether a text says that it is a lock file.
#[must_use]
pub fn is_lock(text: &str) -> bool {
    text.starts_with("# vethlab matrix, format ")
}

/// What is said of a file that lists no ways by an added route; `update` is what lists them.
#[must_use]
pub fn without_routes(path: &str, update: &str) -> String {
    format!(
        "{path}: ways of lan by an added route are not in this file and not compared; {update} lists them"
    )
}

/// Reads a lock file.
///
/// # Errors
/// The first line that is wrong: no or another format's head, no engine, no fact, a fact that stands
/// there twice.
pub fn read(text: &str) -> Result<Facts, LockError> {
    let error = |line: usize, message: String| LockError { line, message };
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    let routes = match lines.next() {
        Some((_, HEAD)) => true,
        Some((_, WITHOUT_ROUTES)) => false,
        Some((_, line)) if is_lock(line) => {
            let message = format!("a format that this vethlab does not know; it knows {HEAD:?}");
            return Err(error(1, message));
        }
        _ => {
            return Err(error(
                1,
                format!("no lock file: the first line is not {HEAD:?}"),
            ));
        }
    };
    let mut facts = Facts {
        routes,
        ..Facts::default()
    };
    for (at, line) in lines {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(engine) = line.strip_prefix("engine ") {
            engine.clone_into(&mut facts.engine);
            continue;
        }
        let (fact, ways) = line
            .split_once(" = ")
            .ok_or_else(|| error(at, format!("{line:?} is not `FROM -> TO:PORT = WAYS`")))?;
        let fact = fact.parse().map_err(|message| error(at, message))?;
        let ways: BTreeSet<String> = ways.split("; ").map(str::to_owned).collect();
        if ways.iter().any(|way| way.trim().is_empty()) {
            return Err(error(at, format!("a way is missing in {line:?}")));
        }
        if facts.open.insert(fact, ways).is_some() {
            return Err(error(at, format!("{line:?}: this fact stands here twice")));
        }
    }
    if facts.engine.is_empty() {
        return Err(error(1, "no line `engine VERSION`".to_owned()));
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# vethlab matrix, format 2
engine 29
a -> b:80 = address on y; name on x
lan -> b:53/udp = host6:53 sees gateway(x); host:53 sees client; route on y
";

    /// A file of before stays what it says: it is not compared by what it could not list.
    #[test]
    fn a_file_of_the_first_format_lists_no_routes() {
        let facts = read(&TEXT.replace("format 2", "format 1")).unwrap();
        assert!(!facts.routes && read(TEXT).unwrap().routes);
        let kept = read(TEXT).unwrap().without_routes();
        let ways: Vec<usize> = kept.open.values().map(BTreeSet::len).collect();
        assert_eq!((kept.routes, ways), (false, vec![2, 2]));
        let alone = "# vethlab matrix, format 2\nengine 29\nlan -> b:80 = route6 on y sees other\n";
        assert_eq!(read(alone).unwrap().without_routes().open.len(), 0);
    }

    #[test]
    fn what_is_written_is_read() {
        let facts = read(TEXT).unwrap();
        assert_eq!(facts.open.len(), 2);
        let text = write(&facts);
        assert_eq!(read(&text).unwrap(), facts);
        assert_eq!(text, TEXT);
    }

    #[test]
    fn what_is_no_lock_is_refused_with_its_line() {
        for (text, line, word) in [
            ("", 1, "no lock file"),
            ("services: {}\n", 1, "no lock file"),
            ("# vethlab matrix, format 3\n", 1, "does not know"),
            ("# vethlab matrix, format 2\n", 1, "engine"),
            (&format!("{TEXT}<<<<<<< HEAD\n"), 5, "<<<"),
            (&format!("{TEXT}a -> b:80 = name on z\n"), 5, "twice"),
            (&format!("{TEXT}a -> c:80 = \n"), 5, "missing"),
            (&format!("{TEXT}a -> c = name\n"), 5, "no port"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
