//! The same seed gives the same bytes, and watching a run does not change it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use emulator_core::net::CaptureAt;
use switch::link::Mode;

use crate::scenes::{How, Left, SCENES};

/// Compares what two runs left, shortly: the bytes themselves would fill the screen.
fn assert_same(name: &str, one: &Left, two: &Left) {
    assert_eq!(one.printed, two.printed, "{name}");
    assert_eq!(one.drops, two.drops, "{name}");
    assert_eq!(one.end, two.end, "{name}");
    for (first, second) in one.events.iter().zip(&two.events) {
        assert_eq!(first, second, "{name}");
    }
    assert_eq!(one.events.len(), two.events.len(), "{name}");
    assert!(one.pcap == two.pcap, "{name}: the captures differ");
}

#[test]
fn a_scene_played_twice_is_the_same() {
    for scene in SCENES {
        for capture in [CaptureAt::Crossing, CaptureAt::All] {
            let how = How {
                capture: Some(capture),
                ..How::default()
            };
            let (one, two) = (scene.run(how), scene.run(how));
            assert!(!one.events.is_empty() && !one.pcap.is_empty());
            assert_same(scene.name, &one, &two);
        }
    }
}

#[test]
fn another_seed_is_another_run() {
    for scene in SCENES {
        let other = How {
            seed: 2,
            ..How::default()
        };
        let (one, two) = (scene.run(How::default()), scene.run(other));
        assert!(one.pcap != two.pcap, "{}", scene.name);
    }
}

#[test]
fn watching_changes_nothing() {
    for scene in SCENES {
        let plain = scene.run(How::default());
        for capture in [None, Some(CaptureAt::All)] {
            for listen in [false, true] {
                let mut seen = scene.run(How {
                    capture,
                    listen,
                    ..How::default()
                });
                assert_eq!(seen.events.is_empty(), !listen);
                assert_eq!(seen.pcap.is_empty(), capture.is_none());
                if !listen {
                    seen.events.clone_from(&plain.events);
                }
                seen.pcap.clone_from(&plain.pcap);
                assert_same(scene.name, &plain, &seen);
            }
        }
    }
}

/// Whether a veth copies frames or hands them on is a question of speed only.
#[test]
fn copying_and_moving_are_the_same_run() {
    for scene in SCENES {
        let moved = How {
            mode: Mode::Move,
            ..How::default()
        };
        assert_same(scene.name, &scene.run(How::default()), &scene.run(moved));
    }
}

/// For `tests/determinism.sh`, which compares what two processes print here.
#[test]
#[ignore = "it only prints; tests/determinism.sh compares"]
fn print_what_the_scenes_leave() {
    for scene in SCENES {
        for seed in [1, 7] {
            let left = scene.run(How {
                seed,
                capture: Some(CaptureAt::All),
                ..How::default()
            });
            let mut hash = DefaultHasher::new();
            for event in &left.events {
                event.to_string().hash(&mut hash);
            }
            (&left.printed, &left.pcap, left.end).hash(&mut hash);
            println!("run {} {seed} {:016x}", scene.name, hash.finish());
        }
    }
}
