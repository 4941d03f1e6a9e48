//! The committed fuzz corpora, replayed without a fuzzer: every input through its target's entry.

use std::fs;
use std::path::Path;

#[allow(
    unreachable_pub,
    reason = "the fuzz targets call them from another crate"
)]
#[path = "../../fuzz/entries/mod.rs"]
mod entries;

/// Runs every input of every target, and says which one failed.
#[test]
fn corpora_replay() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for &(target, entry) in entries::TARGETS {
        let inputs = inputs(&root.join(target));
        assert!(!inputs.is_empty(), "fuzz/corpus/{target} has no inputs");
        for (name, data) in &inputs {
            let run = std::panic::catch_unwind(|| entry(data));
            assert!(run.is_ok(), "fuzz/corpus/{target}/{name} breaks a promise");
        }
        println!("{target}: {} inputs", inputs.len());
    }
}

/// A corpus without a target would never be looked at.
#[test]
fn every_corpus_has_a_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for entry in fs::read_dir(root).expect("fuzz/corpus") {
        let name = entry.expect("a folder").file_name();
        let known = entries::TARGETS
            .iter()
            .any(|(target, _)| name.to_str() == Some(target));
        assert!(known, "fuzz/corpus/{} has no target", name.display());
    }
}

/// Names and bytes of a corpus, by name.
fn inputs(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut inputs: Vec<(String, Vec<u8>)> = entries
        .map(|entry| entry.expect("an entry of the folder"))
        .map(|entry| {
            let data = fs::read(entry.path()).expect("an input");
            (entry.file_name().to_string_lossy().into_owned(), data)
        })
        .collect();
    inputs.sort();
    inputs
}
