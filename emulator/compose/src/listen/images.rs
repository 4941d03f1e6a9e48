//! The table of well-known images: which ports they listen on when nobody configures another one,
//! and where that is said.
//!
//! The table is `data/images.yaml`; a file of the same form extends it, and its entries go first.
//!
//! ```yaml
//! - image: rabbitmq:*management*
//!   listen: [5672, 15672]
//!   source: https://example.com/its/Dockerfile
//! ```
//!
//! `image` is a repository as it stands in a compose file, without `docker.io/` and `library/`; with
//! `:` a tag must match too. `*` stands for any text. The first entry that matches counts.

use super::{Known, Listen, stated};
use crate::error::{Errors, Fault};
use crate::node::{Node, Place, Value};
use crate::vethlab;
use crate::yaml;

/// The table that comes with vethlab.
const BUILTIN: &str = include_str!("../../data/images.yaml");

const KEYS: [&str; 3] = ["image", "listen", "source"];

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Which images it is about.
    pub pattern: String,
    /// What they listen on; each is known by [`Known::Image`].
    pub listen: Vec<Listen>,
    /// Where that is said: an address on the web, or what the user wrote.
    pub source: String,
}

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    entries: Vec<Image>,
}

impl Images {
    /// The table that comes with vethlab.
    #[must_use]
    pub fn builtin() -> Self {
        let entries = plain(BUILTIN).or_else(|| read(BUILTIN).ok());
        Self {
            entries: entries.unwrap_or_default(),
        }
    }

    /// Puts the entries of `text`, a file by the name of `file`, before those that there are.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn extend(&mut self, file: &str, text: &str) -> Result<(), Errors> {
        let mut entries = read(text).map_err(|fault| Errors(vec![fault.in_text(file, text)]))?;
        entries.append(&mut self.entries);
        self.entries = entries;
        Ok(())
    }

    /// The entries, in the order in which they are tried.
    #[must_use]
    pub fn entries(&self) -> &[Image] {
        &self.entries
    }

    /// The entry for an image as a compose file names it.
    #[must_use]
    pub fn find(&self, image: &str) -> Option<&Image> {
        let (repository, tag) = parts(image);
        let bare = without_registry(repository);
        let first = |text: &str| text.bytes().next();
        let firsts = [first(repository), first(bare), Some(b'*'), Some(b':')];
        // Most patterns do not even begin alike.
        let near = |entry: &&Image| firsts.contains(&first(&entry.pattern));
        self.entries.iter().filter(near).find(|entry| {
            let (pattern, tags) = entry
                .pattern
                .split_once(':')
                .unwrap_or((&entry.pattern, "*"));
            (fits(pattern, repository) || fits(pattern, bare)) && fits(tags, tag)
        })
    }
}

fn read(text: &str) -> Result<Vec<Image>, Fault> {
    let roots = yaml::parse(text, 0)?;
    let items = roots.iter().flat_map(Node::items);
    if let Some(root) = roots
        .iter()
        .find(|root| !matches!(root.value, Value::List(_)))
    {
        return Err(Fault::invalid(root.at, "a table of images must be a list"));
    }
    items.map(entry).collect()
}

/// Reads a table that is written as plainly as the one that comes with vethlab, three lines an entry; `None` if it is
/// not. To read that one as YAML would take longer than most projects do.
fn plain(text: &str) -> Option<Vec<Image>> {
    let mut entries = Vec::new();
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    while let Some(line) = lines.next() {
        let pattern = line.strip_prefix("- image: \"")?.strip_suffix('"')?;
        let listen = lines.next()?.strip_prefix("  listen: [")?;
        let words = listen.strip_suffix(']')?.split(", ");
        let words = words.filter(|word| !word.is_empty());
        let words = words.map(|word| Node::string(word.trim_matches('"'), Place::default()));
        let listen = Node::new(Value::List(words.collect()), Place::default());
        let source = lines.next()?.strip_prefix("  source: ")?;
        entries.push(image(pattern.to_owned(), &listen, source.to_owned()).ok()?);
    }
    Some(entries)
}

fn entry(node: &Node) -> Result<Image, Fault> {
    vethlab::keys(node, &KEYS, "an entry of the table")?;
    let text = |key: &str| node.get(key).and_then(Node::text).unwrap_or_default();
    let pattern = text("image");
    if pattern.is_empty() {
        return Err(Fault::invalid(
            node.at,
            "an entry of the table needs `image`",
        ));
    }
    let Some(listen) = node.get("listen") else {
        return Err(Fault::invalid(
            node.at,
            "an entry of the table needs `listen`",
        ));
    };
    image(pattern, listen, text("source"))
}

fn image(pattern: String, listen: &Node, source: String) -> Result<Image, Fault> {
    let mut listen = stated(listen)?;
    for listen in &mut listen {
        listen.known = Known::Image(pattern.clone());
    }
    Ok(Image {
        pattern,
        listen,
        source,
    })
}

/// Repository and tag of an image's name; the tag is `latest` if there is none.
fn parts(image: &str) -> (&str, &str) {
    let name = image.split('@').next().unwrap_or_default();
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let (repository, tag) = match name[slash..].find(':') {
        Some(colon) => (&name[..slash + colon], &name[slash + colon + 1..]),
        None => (name, "latest"),
    };
    let repository = ["index.docker.io/", "docker.io/"]
        .iter()
        .find_map(|prefix| repository.strip_prefix(prefix))
        .unwrap_or(repository);
    (
        repository.strip_prefix("library/").unwrap_or(repository),
        tag,
    )
}

/// The repository on whatever registry mirrors it.
fn without_registry(repository: &str) -> &str {
    let Some((host, rest)) = repository.split_once('/') else {
        return repository;
    };
    if !host.contains(['.', ':']) && host != "localhost" {
        return repository;
    }
    let rest = rest.strip_prefix("docker/").unwrap_or(rest);
    rest.strip_prefix("library/").unwrap_or(rest)
}

/// Whether `text` is what `pattern` says, `*` standing for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, wanted) in [
            ("redis", "redis", true),
            ("redis", "redis2", false),
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "ab", false),
            ("*-management*", "3-management-alpine", true),
            ("a*b*c", "axbxbc", true),
            ("ab*ab", "ab", false),
        ] {
            assert_eq!(fits(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn names_of_images() {
        let table = Images::builtin();
        let pattern = |image: &str| table.find(image).map(|entry| entry.pattern.as_str());
        for image in [
            "postgres",
            "postgres:16-alpine",
            "docker.io/library/postgres:16@sha256:abc",
            "library/postgres",
            "mirror.example.com:5000/library/postgres:16",
            "public.ecr.aws/docker/library/postgres",
        ] {
            assert_eq!(pattern(image), Some("postgres"), "{image}");
        }
        for image in [
            "",
            "me/postgres",
            "ghcr.io/me/postgres",
            "postgres-exporter",
        ] {
            assert_ne!(pattern(image), Some("postgres"), "{image}");
        }
    }

    #[test]
    fn the_table_is_sound() {
        let entries = read(BUILTIN).unwrap();
        assert_eq!(
            plain(BUILTIN).as_ref(),
            Some(&entries),
            "it is read as it is written"
        );
        assert!(
            entries
                .iter()
                .all(|entry| entry.source.starts_with("https://"))
        );
        for (i, entry) in entries.iter().enumerate() {
            let same = |other: &&Image| other.pattern == entry.pattern;
            assert!(
                entries[..i].iter().find(same).is_none(),
                "{}",
                entry.pattern
            );
        }
    }

    #[test]
    fn patterns_that_begin_with_any_text_or_with_a_tag() {
        let mut table = Images::default();
        table
            .extend(
                "mine.yaml",
                "- {image: '*/own', listen: 1}\n- {image: ':nightly', listen: 2}\n",
            )
            .unwrap();
        let port = |image: &str| table.find(image).map(|entry| entry.listen[0].port);
        assert_eq!(port("me/own"), Some(1));
        assert_eq!(port(":nightly"), Some(2));
        assert_eq!(port("own"), None);
    }

    #[test]
    fn what_is_not_written_plainly_is_read_as_yaml() {
        for text in [
            "- image: redis\n  listen: [1]\n  source: x\n",
            "- image: \"redis\"\n  listen: 1\n  source: x\n",
            "- image: \"redis\"\n  listen: [1]\n",
        ] {
            assert_eq!(plain(text), None, "{text}");
            assert!(read(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_users_table_goes_first() {
        let mut table = Images::builtin();
        table
            .extend("mine.yaml", "- {image: redis, listen: 7000}\n")
            .unwrap();
        let redis = table.find("redis:7").unwrap();
        assert_eq!(redis.listen[0].port, 7000);
        let errors = table
            .extend("mine.yaml", "- {image: redis, lisen: 1}\n")
            .unwrap_err();
        assert_eq!(
            errors.0[0].one_line(),
            "mine.yaml:1:18: an entry of the table has no key \"lisen\""
        );
        assert_eq!(errors.0[0].hint.as_deref(), Some("did you mean `listen`?"));
    }
}
