//! How often each rule finds something in real files, where they lie: the table in `docs/rules.md`.
//!
//! The folder is `$VETHLAB_CORPUS`, or `../shared/corpus` beside the workspace; without it the test says so
//! and passes. It runs when it is asked for, `cargo test -p vethlab --lib figures -- --ignored`, and
//! `VETHLAB_BLESS=1` writes the table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use emulator_compose::Options as Files;

use crate::files::Disk;
use crate::lint::loaded::Loaded;
use crate::lint::page::PAGE;
use crate::lint::rule::RULES;
use crate::lint::run::{Options, lint};

const START: &str = "<!-- figures -->\n";
const END: &str = "<!-- end of figures -->";

fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let dir = std::env::var("VETHLAB_CORPUS").map_or(beside, PathBuf::from);
    if dir.join("compose/index.csv").is_file() {
        return std::fs::canonicalize(dir.join("compose")).ok();
    }
    eprintln!("skipped: no corpus in {}", dir.display());
    None
}

fn load(dir: &Path, file: &str) -> Option<Loaded> {
    let options = Files {
        files: vec![dir.join(file).to_string_lossy().into_owned()],
        // Files of a repository name one another, and its `.git` is not in the corpus.
        allow_outside: true,
        ..Files::default()
    };
    Loaded::load(&mut Disk, &options).ok()
}

#[test]
#[ignore = "reads a corpus that is not part of the project"]
fn the_figures_of_the_page_are_those_of_the_corpus() {
    let Some(dir) = corpus() else { return };
    let index = std::fs::read_to_string(dir.join("index.csv")).unwrap();
    let rows = index
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>());
    let files: Vec<String> = rows
        .filter(|row| row.get(1) == Some(&"main"))
        .map(|row| row[0].to_owned())
        .collect();
    let projects: Vec<Loaded> = files.iter().filter_map(|file| load(&dir, file)).collect();
    let loaded = projects.len();
    assert!(loaded > 150, "{loaded} of {} files", files.len());
    // What a file says that several projects extend is said once.
    let mut found: BTreeMap<&str, (usize, BTreeSet<String>)> = BTreeMap::new();
    for finding in lint(&projects, &Options::default()).findings {
        let (count, places) = found.entry(finding.rule).or_default();
        *count += 1;
        places.insert(finding.places[0].file.clone());
    }
    let mut table = format!(
        "{loaded} of {} files load.\n\n| rule | findings | in files |\n|---|---:|---:|\n",
        files.len()
    );
    for rule in RULES {
        let (count, places) = found.remove(rule.id).unwrap_or_default();
        table.push_str(&format!("| {} | {count} | {} |\n", rule.id, places.len()));
    }
    let start = PAGE.find(START).unwrap() + START.len();
    let end = PAGE.find(END).unwrap();
    if std::env::var_os("VETHLAB_BLESS").is_some() {
        let page = format!("{}{table}{}", &PAGE[..start], &PAGE[end..]);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rules.md");
        std::fs::write(path, page).unwrap();
        return;
    }
    assert_eq!(&PAGE[start..end], table, "VETHLAB_BLESS=1 writes the table");
}
