//! Text as a `vethlab.yaml`, as a machine and as a table of images.
//!
//! Promises: each is read or refused with a place; a config that was read names projects that can be loaded
//! or refused; a table finds an image or none.

use std::collections::BTreeMap;

use emulator_compose::{Config, Images, MachineFile, load};

use super::compose::{check_errors, check_project};

const SHOP: &str = "services: {web: {image: i, networks: [n]}, db: {image: postgres, networks: [n]}}\nnetworks: {n: }\n";

/// Runs one input.
pub fn settings(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    config(text);
    match MachineFile::parse("machine.yaml", text) {
        Ok(machine) => assert!(machine.uplink_mtu().is_none_or(|mtu| mtu >= 68)),
        Err(errors) => check_errors(&errors),
    }
    let mut images = Images::builtin();
    match images.extend("images.yaml", text) {
        Ok(()) => {
            for entry in images.entries().iter().take(20) {
                let found = images.find(&entry.pattern);
                assert!(found.is_none_or(|found| images.entries().contains(found)));
            }
        }
        Err(errors) => check_errors(&errors),
    }
}

fn config(text: &str) {
    let parsed = Config::parse("shop/vethlab.yaml", text);
    assert_eq!(parsed, Config::parse("shop/vethlab.yaml", text));
    let config = match parsed {
        Ok(config) => config,
        Err(errors) => return check_errors(&errors),
    };
    let mut files = BTreeMap::from([
        ("shop/vethlab.yaml".to_owned(), text.to_owned()),
        ("shop/compose.yaml".to_owned(), SHOP.to_owned()),
    ]);
    for run in config.runs(&mut files).into_iter().take(8) {
        match load(&mut files, &run.options) {
            Ok(project) => check_project(&project),
            Err(errors) => check_errors(&errors),
        }
    }
}
