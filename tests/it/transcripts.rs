//! The transcripts of `tests/transcripts` hold, with any seed.

use std::fs;

use emulator_core::docker::DaemonConfig;
use emulator_core::docker::spec::Engine;
use emulator_core::id::NsId;
use emulator_core::lab::{Lab, LabConfig};
use vethlab_cli::engine::LabEngine;
use vethlab_cli::play;

use crate::rig::root;

fn play_all(seed: u64) {
    let mut played = 0;
    for entry in fs::read_dir(root().join("tests/transcripts")).unwrap() {
        let path = entry.unwrap().path();
        let shown = path.display().to_string();
        let page = fs::read_to_string(&path).unwrap();
        let transcript = play::parse(&page).unwrap_or_else(|error| panic!("{shown}:{error}"));
        let daemon = DaemonConfig::new(Engine::V29, NsId::default());
        let lab = Lab::new(LabConfig {
            seed,
            daemon,
            ..LabConfig::default()
        })
        .unwrap();
        let mut engine = LabEngine::new(lab, None);
        let steps = play::play(&transcript, &mut engine, &mut |_| {});
        assert!(
            steps.iter().all(|step| !step.failed()),
            "{}",
            play::text(&shown, &steps)
        );
        assert!(!steps.is_empty(), "{shown} has no commands");
        played += 1;
    }
    assert!(played >= 2, "the two transcripts are gone");
}

#[test]
fn with_seed_0() {
    play_all(0);
}

#[test]
fn with_another_seed() {
    play_all(0x5eed);
}
