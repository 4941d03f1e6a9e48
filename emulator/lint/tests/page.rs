//! `docs/rules.md` is complete, and its examples do what they say.

use std::collections::BTreeSet;

use super::{loaded, machine};
use crate::lint::loaded::Loaded;
use crate::lint::page::{explain, heading, sections};
use crate::lint::rule::RULES;
use crate::lint::run::{Options, lint};

/// A fenced block: its words, and its text.
fn blocks(section: &str) -> Vec<(Vec<&str>, String)> {
    let mut out = Vec::new();
    let mut lines = section.lines();
    while let Some(line) = lines.next() {
        let Some(words) = line.strip_prefix("```") else {
            continue;
        };
        let text: String = lines
            .by_ref()
            .take_while(|line| *line != "```")
            .map(|line| format!("{line}\n"))
            .collect();
        out.push((words.split(' ').collect(), text));
    }
    out
}

/// The project of a section's `bad` or `good` blocks, and the machine.
fn example(section: &str, kind: &str) -> (Vec<Loaded>, Options) {
    let mut files = Vec::new();
    let mut options = Options::default();
    for (words, text) in blocks(section) {
        match words.as_slice() {
            ["yaml", which] if *which == kind => files.push(("compose.yaml", text)),
            ["yaml", which, name] if *which == kind => files.push((*name, text)),
            ["json", "host", which] if *which == kind => options.machine = machine(&text),
            _ => {}
        }
    }
    let texts: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let loaded = Loaded::from_texts(&texts);
    let loaded = loaded.unwrap_or_else(|errors| panic!("{}: {errors}", heading(section)));
    (vec![loaded], options)
}

fn found(section: &str, kind: &str) -> Vec<String> {
    let (projects, options) = example(section, kind);
    let report = lint(&projects, &options);
    report
        .findings
        .iter()
        .map(|finding| format!("{} {}", finding.rule, finding.level))
        .collect()
}

#[test]
fn every_rule_has_a_section_in_the_same_order() {
    let headings: Vec<&str> = sections().map(heading).collect();
    let mut ids: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
    ids.push("Figures");
    assert_eq!(headings, ids);
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(unique.len(), ids.len());
    for rule in RULES {
        let section = explain(rule.id).unwrap();
        let level = format!("**{}** · ", rule.level);
        let second = section.lines().nth(2).unwrap();
        assert!(second.starts_with(&level), "{}: {second}", rule.id);
    }
}

#[test]
fn the_first_example_is_found_and_the_second_is_not() {
    for section in sections().filter(|section| heading(section) != "Figures") {
        let id = heading(section);
        let is_own = |line: &&String| line.starts_with(&format!("{id} "));
        let bad = found(section, "bad");
        assert!(bad.iter().any(|line| is_own(&line)), "{id}: {bad:?}");
        let good = found(section, "good");
        assert_eq!(good.iter().find(is_own), None, "{id}");
    }
}

#[test]
fn the_files_of_the_examples_folder_have_no_errors() {
    for name in ["shop", "turn-server", "voting-app"] {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
        let path = format!("{path}/{name}/compose.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        let report = lint(&[loaded(&text)], &Options::default());
        assert_eq!(report.count(crate::lint::Level::Error), 0, "{name}");
    }
}
