//! Expectations about a project, one sentence a line.
//!
//! Promises: a sentence is read or refused with a place inside it; what was read prints as a sentence that
//! reads as the same.

use emulator_compose::{Expectation, Project, load_str};

/// What the sentences are about.
const PROJECT: &str = "
x-vethlab: {groups: {data: [redis, db]}}
services:
  web: {image: i, networks: {front: {aliases: [www]}, back: }}
  redis: {image: i, networks: [back]}
  db: {image: i, networks: [back], container_name: the-db}
  host: {image: i, networks: [back]}
  only: {image: i, networks: [back]}
  10.0.0.1: {image: i, networks: [back]}
networks: {front: , back: }
";

/// Runs one input.
pub fn expect(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let Ok(project) = load_str(PROJECT) else {
        panic!("the project does not load");
    };
    for sentence in text.lines() {
        one(sentence, &project);
    }
}

fn one(sentence: &str, project: &Project) {
    match Expectation::parse(sentence, project) {
        Ok(read) => {
            let shown = read.to_string();
            let again = Expectation::parse(&shown, project);
            let again = again.unwrap_or_else(|error| panic!("{shown:?}: {error}"));
            assert_eq!(read.claim, again.claim, "{shown}");
            assert_eq!(read.when, again.when, "{shown}");
            assert_eq!(read.resolve_once, again.resolve_once, "{shown}");
            assert_eq!(shown, again.to_string());
        }
        Err(error) => {
            let last = error.column as usize + error.length as usize;
            assert!(error.column > 0 && error.length > 0 && !error.message.is_empty());
            assert!(last <= sentence.chars().count() + 2, "{error}");
        }
    }
}
