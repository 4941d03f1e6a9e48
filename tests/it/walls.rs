//! The walls between the crates hold: who may depend on whom, and what a pure crate may name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rig::{root, skip};

/// The pure crates, by folder.
const PURE: &[&str] = &[
    "switch",
    "dns",
    "emulator/core",
    "emulator/compose",
    "emulator/model",
];

/// Every crate and the crates of ours that it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("switch", &[]),
    ("dns", &[]),
    ("emulator/core", &["switch", "dns"]),
    ("emulator/compose", &[]),
    ("emulator/model", &["emulator-compose"]),
    ("emulator/host", &["emulator-core"]),
    ("emulator/cli", &["vethlab"]),
];

const OURS: &[&str] = &[
    "switch",
    "dns",
    "emulator-core",
    "emulator-compose",
    "emulator-model",
    "emulator-host",
    "vethlab",
];

#[test]
fn crates_depend_only_along_the_arrows() {
    for (folder, allowed) in ARROWS {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let dependencies = manifest
            .split("\n[")
            .find_map(|section| section.strip_prefix("dependencies]"))
            .unwrap_or_default();
        for name in dependencies
            .lines()
            .filter_map(|line| line.split(['.', ' ', '=']).next())
        {
            assert!(
                !OURS.contains(&name) || allowed.contains(&name),
                "{folder} may not depend on {name}"
            );
            assert!(
                !["tokio", "libc", "rustix", "tun-tap", "crossbeam-channel"].contains(&name)
                    || !PURE.contains(folder),
                "{folder} is pure and may not depend on {name}"
            );
        }
    }
}

#[test]
fn pure_crates_forbid_unsafe_code() {
    for folder in PURE {
        let lib = fs::read_to_string(root().join(folder).join("src/lib.rs")).unwrap();
        assert!(
            lib.contains("#![forbid(unsafe_code)]"),
            "{folder} has to forbid unsafe code"
        );
    }
}

/// What clippy says of `code` under the ban list of `folder`: whether it is refused, and its words.
fn judged(folder: &str, code: &str) -> Option<(bool, String)> {
    let scratch = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("wall-{}", folder.replace('/', "-")));
    fs::create_dir_all(&scratch).unwrap();
    let file = scratch.join("wall.rs");
    fs::write(&file, code).unwrap();
    let out = Command::new("clippy-driver")
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "lib",
            "--emit",
            "metadata",
        ])
        .args([
            "-D",
            "clippy::disallowed_methods",
            "-D",
            "clippy::disallowed_types",
        ])
        .arg("-o")
        .arg(scratch.join("wall.rmeta"))
        .arg(&file)
        .env("CLIPPY_CONF_DIR", root().join(folder))
        .output()
        .ok()?;
    Some((
        !out.status.success(),
        String::from_utf8_lossy(&out.stderr).into_owned(),
    ))
}

#[test]
fn a_clock_a_thread_a_file_a_socket_and_hash_order_are_refused() {
    let bricks = [
        "pub fn f() -> std::time::Instant { std::time::Instant::now() }",
        "pub fn f() -> std::time::SystemTime { std::time::SystemTime::now() }",
        "pub fn f() { std::thread::sleep(core::time::Duration::ZERO); }",
        "pub fn f() { let _ = std::thread::spawn(|| ()); }",
        "pub fn f() { let _ = std::fs::File::open(\"x\"); }",
        "pub fn f() { let _ = std::net::TcpStream::connect(\"x\"); }",
        "pub fn f() { let _ = std::net::UdpSocket::bind(\"x\"); }",
        "pub fn f() -> std::collections::HashMap<u8, u8> { Default::default() }",
        "pub fn f() -> std::rc::Rc<u8> { std::rc::Rc::new(1) }",
        "pub fn f() -> std::sync::Mutex<u8> { Default::default() }",
    ];
    for folder in PURE {
        for brick in bricks {
            let Some((refused, words)) = judged(folder, brick) else {
                return skip("clippy-driver is not here: the ban lists are not tried");
            };
            assert!(
                refused && words.contains("disallowed"),
                "{folder} lets through: {brick}\n{words}"
            );
        }
        let Some((refused, words)) = judged(folder, "pub fn f() -> u8 { 1 }") else {
            return;
        };
        assert!(!refused, "{folder} refuses plain code:\n{words}");
    }
}

#[test]
fn the_project_names_no_machine() {
    // A path of somebody's machine in a committed file would be wrong everywhere else.
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && !["target", ".git", "artifacts", "data"].contains(&name.as_str()) {
                folders.push(path);
            } else if is_text(&path) {
                let text = fs::read_to_string(&path).unwrap_or_default();
                let home = ["/ho", "me/"].concat();
                assert!(
                    !text.contains(&home),
                    "{} names a home folder",
                    path.display()
                );
            }
        }
    }
}

fn is_text(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["rs", "toml", "md", "sh", "yaml"]
            .iter()
            .any(|known| extension == *known)
    })
}
