//! Several files of one project: `.env`, env files, includes, bases to extend, overrides.
//!
//! The input is text; a line `%% PATH` starts the file of that path. All files whose names end in
//! `.yaml` and hold no `/` are given as `-f`, in the order of the input. Promises as for one compose file.

use std::collections::BTreeMap;

use emulator_compose::{Naming, Options, load};

use super::compose::{check_errors, check_project};

/// Runs one input.
pub fn compose_files(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let (mut files, order) = unpack(text);
    let mut options = Options {
        files: order,
        project_directory: Some("/srv/shop".to_owned()),
        env: BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]),
        ..Options::default()
    };
    for naming in [Naming::V2, Naming::V1] {
        options.naming = naming;
        let loaded = load(&mut files, &options);
        match &loaded {
            Ok(project) => check_project(project),
            Err(errors) => check_errors(errors),
        }
        assert_eq!(loaded, load(&mut files, &options));
    }
}

/// The files by their full paths, and the compose files among them.
fn unpack(text: &str) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut files, mut order) = (BTreeMap::new(), Vec::new());
    let mut path = "/srv/shop/compose.yaml".to_owned();
    for line in text.split_inclusive('\n') {
        if let Some(name) = line.strip_prefix("%% ") {
            path = format!("/srv/shop/{}", name.trim());
            if path.ends_with(".yaml") && !name.contains('/') {
                order.push(path.clone());
            }
            continue;
        }
        files
            .entry(path.clone())
            .or_insert_with(String::new)
            .push_str(line);
    }
    if order.is_empty() {
        order.push("/srv/shop/compose.yaml".to_owned());
    }
    (files, order)
}
