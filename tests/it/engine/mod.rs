//! The truth table of a real Docker engine, replayed: each recorded topology is built in a lab and every
//! recorded field and probe cell is compared.
//!
//! With the engine "20.10" everything has to be equal, but for what the records' index calls unordered
//! or unstable. With "29" a difference is accepted only under a name: one of the differences that the
//! index or the version gates list. The handmade records are in the project; the others are read from
//! the corpus where it is.

mod accept;
pub(crate) mod cells;
mod exposure;
mod facts;
mod fields;
pub(crate) mod record;
mod replay;
mod shell;

use std::path::Path;

use emulator_core::docker::spec::Engine;

use crate::rig::{corpus, root, skip};
use record::Record;

/// What became of the comparisons of one or more records.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) equal: usize,
    /// Under which names differences were accepted, and how often.
    pub(crate) accepted: std::collections::BTreeMap<&'static str, usize>,
    /// Cells whose answer differed between two runs of the engine, so that nothing can be said of them.
    pub(crate) unstable: usize,
    /// What differs for no known reason.
    pub(crate) wrong: Vec<String>,
}

impl Tally {
    pub(crate) fn check(
        &mut self,
        engine: Engine,
        place: &cells::Place<'_>,
        expected: &str,
        seen: &str,
    ) {
        if expected == seen {
            self.equal += 1;
            return;
        }
        match accept::accepted(engine, place, expected, seen) {
            Some(name) => *self.accepted.entry(name).or_default() += 1,
            None => self
                .wrong
                .push(format!("{place}: recorded {expected}, seen {seen}")),
        }
    }

    fn merge(&mut self, other: Self) {
        self.equal += other.equal;
        self.unstable += other.unstable;
        for (name, count) in other.accepted {
            *self.accepted.entry(name).or_default() += count;
        }
        self.wrong.extend(other.wrong);
    }

    fn report(&self, what: &str) {
        let accepted: usize = self.accepted.values().sum();
        let line = format!(
            "{what}: {} equal, {accepted} accepted, {} wrong, {} unstable in the record",
            self.equal,
            self.wrong.len(),
            self.unstable
        );
        crate::rig::say(&line);
        for (name, count) in &self.accepted {
            crate::rig::say(&format!("    accepted {count:>6}  {name}"));
        }
    }
}

fn run(records: &[Record], engine: Engine, what: &str) {
    let (mut cells, mut fields) = (Tally::default(), Tally::default());
    for record in records {
        let mut replayed = replay::replay(record, engine);
        fields.merge(fields::compare(record, engine, &replayed));
        cells.merge(cells::compare(record, engine, &mut replayed));
    }
    cells.report(&format!("{what}, cells"));
    fields.report(&format!("{what}, fields"));
    let wrong: Vec<&str> = fields
        .wrong
        .iter()
        .chain(&cells.wrong)
        .map(String::as_str)
        .collect();
    if wrong.is_empty() {
        return;
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{what}.txt"));
    std::fs::write(&file, wrong.join("\n")).unwrap();
    panic!(
        "{} differences (all in {}), the first ones:\n{}",
        wrong.len(),
        file.display(),
        wrong[..wrong.len().min(100)].join("\n")
    );
}

pub(crate) fn handmade() -> Vec<Record> {
    record::load(&root().join("tests/data/engine"))
}

pub(crate) fn others() -> Option<Vec<Record>> {
    let records = record::load(&corpus()?.join("engine"));
    Some(
        records
            .into_iter()
            .filter(|record| record.name.starts_with('c'))
            .collect(),
    )
}

#[test]
fn handmade_records_as_20_10() {
    run(
        &handmade(),
        Engine::V20_10,
        "handmade records, engine 20.10",
    );
}

#[test]
fn handmade_records_as_29() {
    run(&handmade(), Engine::V29, "handmade records, engine 29");
}

#[test]
fn records_of_real_files_as_20_10() {
    match others() {
        Some(records) => run(
            &records,
            Engine::V20_10,
            "records of real files, engine 20.10",
        ),
        None => skip("the corpus is not here: records of real files are not replayed"),
    }
}

#[test]
fn records_of_real_files_as_29() {
    match others() {
        Some(records) => run(&records, Engine::V29, "records of real files, engine 29"),
        None => skip("the corpus is not here: records of real files are not replayed"),
    }
}
