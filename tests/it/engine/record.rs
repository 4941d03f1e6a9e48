//! A recorded topology: its compose file and what the engine did with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use emulator_compose::{Naming, Options, Project};
use serde_json::Value;

/// One record.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) compose: String,
    pub(crate) json: Value,
}

/// The records of a folder, by name.
pub(crate) fn load(folder: &Path) -> Vec<Record> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".yml").map(str::to_owned))
        .collect();
    names.sort();
    names
        .into_iter()
        .map(|name| Record {
            compose: fs::read_to_string(folder.join(format!("{name}.yml"))).unwrap(),
            json: serde_json::from_str(
                &fs::read_to_string(folder.join(format!("{name}.json"))).unwrap(),
            )
            .unwrap(),
            name,
        })
        .collect()
}

impl Record {
    /// The texts of an array.
    pub(crate) fn texts(value: &Value) -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect()
    }

    /// The paths whose value differed between two runs of the engine.
    pub(crate) fn unstable(&self, path: &str) -> bool {
        Self::texts(&self.json["unstable"])
            .iter()
            .any(|unstable| path.starts_with(unstable.as_str()) || unstable == path)
    }

    /// The project of its compose file, as docker-compose 1.29 names things.
    pub(crate) fn project(&self) -> Result<Project, String> {
        let mut files = BTreeMap::from([("compose.yml".to_owned(), self.compose.clone())]);
        let options = Options {
            files: vec!["compose.yml".to_owned()],
            project_name: Some(self.name.clone()),
            naming: Naming::V1,
            ..Options::default()
        };
        emulator_compose::load(&mut files, &options).map_err(|errors| errors.to_string())
    }
}
