//! A difference as text for people.

use std::collections::{BTreeMap, BTreeSet};

use super::{Changes, Diff};
use crate::matrix::fact::Fact;
use crate::matrix::grid::names;

/// What the lists are called: gained, lost and moved facts.
pub type Words = [&'static str; 3];

/// Between two projects.
pub const CHANGE: Words = ["GAINED", "LOST", "MOVED"];

/// Since a lock file was written.
pub const SINCE: Words = ["OPENED", "CLOSED", "MOVED"];

/// The difference as text; what nothing is said of has no heading.
#[must_use]
pub fn render(diff: &Diff, words: Words) -> String {
    let mut text = format!("--- {}\n+++ {}\n", diff.old, diff.new);
    if let Some((old, new)) = &diff.engines {
        text.push_str(&format!("engine {old} -> {new}\n"));
    }
    if diff.is_empty() {
        text.push_str("\nnothing opens, closes or moves\n");
    }
    part(
        &mut text,
        words.map(|word| format!("EXPOSURE {word}")),
        &diff.exposure,
    );
    part(&mut text, words.map(str::to_owned), &diff.inside);
    if !diff.addresses.is_empty() {
        text.push_str("\nADDRESSES\n");
        for moved in &diff.addresses {
            let [old, new] = [&moved.old, &moved.new].map(|addresses| {
                let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                texts.join(" ")
            });
            text.push_str(&format!(
                "~ {} on {}: {old} -> {new}\n",
                moved.service, moved.network
            ));
        }
    }
    text
}

fn part(text: &mut String, [gained, lost, moved]: [String; 3], changes: &Changes) {
    let list = |text: &mut String, title: String, sign, lines: Vec<(&Fact, String)>| {
        if !lines.is_empty() {
            text.push_str(&format!("\n{title} ({})\n", lines.len()));
        }
        for (from, target, said) in folded(&lines) {
            text.push_str(&format!("{sign} {} -> {target}{said}\n", names(&from)));
        }
    };
    let because = |word: &str, why: &Option<String>| {
        let why = why.as_ref().map(|why| format!(" ({word}: {why})"));
        why.unwrap_or_default()
    };
    let lines = changes.gained.iter().map(|gained| {
        let before = because("before", &gained.before);
        (&gained.fact, format!(" = {}{before}", joined(&gained.ways)))
    });
    list(text, gained, '+', lines.collect());
    let lines = changes.lost.iter().map(|lost| {
        let now = because("now", &lost.now);
        (&lost.fact, format!(" = {}{now}", joined(&lost.ways)))
    });
    list(text, lost, '-', lines.collect());
    let lines = changes.moved.iter().map(|moved| {
        let ways = signed(&moved.gone, &moved.came);
        (&moved.fact, format!(": {ways}"))
    });
    list(text, moved, '~', lines.collect());
}

/// Facts of which the same is said of one target in one line, in the order of the first of each.
fn folded(lines: &[(&Fact, String)]) -> Vec<(Vec<String>, String, String)> {
    let mut folded: Vec<(Vec<String>, String, String)> = Vec::new();
    let mut known: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for (fact, said) in lines {
        let target = fact.target();
        let at = *known.entry((target.clone(), said)).or_insert_with(|| {
            folded.push((Vec::new(), target, said.clone()));
            folded.len() - 1
        });
        folded[at].0.push(fact.from.clone());
    }
    folded
}

/// Ways as a lock file has them.
pub(super) fn joined(ways: &BTreeSet<String>) -> String {
    let ways: Vec<&str> = ways.iter().map(String::as_str).collect();
    ways.join("; ")
}

/// What went and what came, each with its sign.
pub(super) fn signed(gone: &BTreeSet<String>, came: &BTreeSet<String>) -> String {
    let gone = gone.iter().map(|way| format!("-[{way}]"));
    let came = came.iter().map(|way| format!("+[{way}]"));
    gone.chain(came).collect::<Vec<_>>().join(" ")
}
