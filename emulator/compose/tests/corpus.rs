//! Real compose files, where they lie: which of them load and which are refused, and why.
//!
//! The folder is `$VETHLAB_CORPUS`, or `../shared/corpus` beside the workspace; without it the
//! tests say so and pass. The refused files are pinned in `corpus-refused.txt`;
//! `VETHLAB_BLESS=1` writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use emulator_compose::{Naming, Options, ReadError, Source, load};

struct Folder;

impl Source for Folder {
    #[allow(clippy::disallowed_methods)]
    fn read(&mut self, path: &str) -> Result<String, ReadError> {
        let bytes = std::fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => ReadError::NotFound,
            _ => ReadError::Other(error.to_string()),
        })?;
        String::from_utf8(bytes).map_err(|_| ReadError::NotUtf8)
    }
}

#[allow(clippy::disallowed_methods)]
fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let dir = std::env::var("VETHLAB_CORPUS").map_or(beside, PathBuf::from);
    if dir.join("compose/index.csv").is_file() {
        return Some(dir);
    }
    eprintln!("skipped: no corpus in {}", dir.display());
    None
}

fn text_of(path: &Path) -> String {
    Folder.read(&path.to_string_lossy()).unwrap_or_default()
}

fn options(path: &Path) -> Options {
    Options {
        files: vec![path.to_string_lossy().into_owned()],
        ..Options::default()
    }
}

/// The main files of the corpus, in the order of the index.
fn main_files(dir: &Path) -> Vec<String> {
    let index = text_of(&dir.join("compose/index.csv"));
    let rows = index
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>());
    rows.filter(|row| row.get(1) == Some(&"main"))
        .map(|row| row[0].to_owned())
        .collect()
}

#[test]
#[allow(clippy::disallowed_methods)]
fn every_file_is_loaded_or_refused_by_name() {
    let Some(dir) = corpus() else { return };
    let files = main_files(&dir);
    let mut refused = String::new();
    let mut loaded = 0;
    for file in &files {
        let path = dir.join("compose").join(file);
        match load(&mut Folder, &options(&path)) {
            Ok(_) => loaded += 1,
            Err(errors) => {
                let first = errors.first().expect("an error");
                let place = format!("{}:{}", first.line, first.column);
                let message = first.message.replace('\n', " ");
                let message = message.replace(&format!("{}/", dir.join("compose").display()), "");
                refused.push_str(&format!(
                    "{file}\n    {place} {}: {message}\n",
                    first.kind.word()
                ));
            }
        }
    }
    println!("{loaded} of {} files load", files.len());
    let pinned = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus-refused.txt");
    if std::env::var("VETHLAB_BLESS").is_ok() {
        std::fs::write(&pinned, &refused).expect("written");
    }
    assert_eq!(files.len(), 199);
    assert!(loaded >= 170, "only {loaded} load");
    assert_eq!(refused, text_of(&pinned));
}

/// The projects of the engine records: they load, and their containers start in the order that
/// was recorded, under the recorded names.
#[test]
fn engine_records_load_and_start_in_the_recorded_order() {
    let Some(dir) = corpus() else { return };
    let mut checked = 0;
    for (name, record) in records(&dir) {
        let path = dir.join(format!("engine/{name}.yml"));
        let options = Options {
            project_name: Some(name.clone()),
            ..options(&path)
        };
        let recorded: Vec<(String, u64)> = record["start"]
            .as_array()
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .map(|start| {
                let service = start["service"].as_str().unwrap_or_default();
                (service.to_owned(), start["number"].as_u64().unwrap_or(0))
            })
            .collect();
        let project = match load(&mut Folder, &options) {
            Ok(project) => project,
            Err(errors) => {
                // The one file that compose itself refused.
                assert_eq!(name, "h50-unused-and-undefined", "{errors}");
                assert!(recorded.is_empty());
                checked += 1;
                continue;
            }
        };
        let order: Vec<(String, u64)> = project
            .start_order()
            .into_iter()
            .map(|(service, number)| (service.name.clone(), u64::from(number)))
            .collect();
        if !recorded.is_empty() {
            assert_eq!(order, recorded, "{name}");
        }
        let names: Vec<String> = project
            .start_order()
            .into_iter()
            .map(|(service, number)| project.container_name(service, number, Naming::V1))
            .collect();
        for container in record["containers"].as_array().into_iter().flatten() {
            let container = container["name"].as_str().unwrap_or_default();
            // Commands that the record ran afterwards start and rename some.
            if record["post"].to_string().contains(container) {
                continue;
            }
            assert!(
                names.iter().any(|name| name == container),
                "{name}: {container}"
            );
        }
        checked += 1;
    }
    println!("{checked} records");
    assert!(checked >= 70, "only {checked} records");
}

fn records(dir: &Path) -> BTreeMap<String, serde_json::Value> {
    let entries = std::fs::read_dir(dir.join("engine")).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let paths = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
    paths
        .filter_map(|path| {
            let name = path.file_stem()?.to_str()?.to_owned();
            let record = serde_json::from_str(&text_of(&path)).ok()?;
            Some((name, record))
        })
        .collect()
}
