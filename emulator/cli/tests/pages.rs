//! The tutorial and the page of keys, typed: every `$ vethlab …` of its console blocks is run in a folder with the files that the page
//! shows, and prints what stands below it. `VETHLAB_BLESS=1` writes what was printed into the page.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What may stand under `x-vethlab` and in a `vethlab.yaml`, but for the keys of networks.
const KEYS: [&str; 16] = [
    "allow", "dial", "engine", "env_file", "expect", "files", "host", "hosts", "images", "listen",
    "name", "profiles", "projects", "upstream", "variants", "groups",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn typed(folder: &Path, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_vethlab"))
        .args(&words)
        .current_dir(folder)
        .env_clear()
        .output()
        .unwrap();
    assert_ne!(output.status.code(), Some(2), "{line}: {output:?}");
    let mut text = String::from_utf8(output.stdout).unwrap();
    text.push_str(&String::from_utf8(output.stderr).unwrap());
    text
}

/// Writes what a `<!-- file: NAME -->` announces.
fn write(folder: &Path, name: &str, lines: &[&str]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

/// The page with what its commands print, and how many were typed.
fn played(page: &str, folder: &Path) -> (String, usize) {
    let mut out = String::new();
    let mut commands = 0;
    let mut lines = page.lines();
    let mut file = None;
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        if let Some(name) = line.strip_prefix("<!-- file: ") {
            file = Some(name.trim_end_matches(" -->").to_owned());
        }
        let Some(kind) = line.strip_prefix("```").filter(|kind| !kind.is_empty()) else {
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if kind == "console" {
            for command in block.iter().filter(|line| line.starts_with("$ ")) {
                let said = typed(folder, command.trim_start_matches("$ "));
                out.push_str(&format!("{command}\n{}\n", said.trim_end()));
                commands += 1;
            }
        } else {
            out.push_str(&(block.join("\n") + "\n"));
            if let Some(name) = file.take() {
                write(folder, &name, &block);
            }
        }
        out.push_str("```\n");
    }
    (out, commands)
}

fn prints_what_it_says(page: &str, least: usize) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(page);
    let _gone = fs::remove_dir_all(&folder);
    // A work tree of its own, wherever the target directory is.
    write(&folder, ".git/HEAD", &[]);
    let path = root().join("docs").join(page);
    let text = fs::read_to_string(&path).unwrap();
    let (out, commands) = played(&text, &folder);
    assert!(commands >= least, "{commands}");
    if std::env::var_os("VETHLAB_BLESS").is_some() {
        fs::write(&path, &out).unwrap();
    }
    assert_eq!(out, fs::read_to_string(&path).unwrap());
}

#[test]
fn the_tutorial_prints_what_it_says() {
    prints_what_it_says("tutorial.md", 7);
}

/// Its keys are all that there are, and every expectation of it holds.
#[test]
fn the_page_of_keys_prints_what_it_says() {
    prints_what_it_says("x-vethlab.md", 7);
    let text = fs::read_to_string(root().join("docs/x-vethlab.md")).unwrap();
    assert!(!text.contains("\n  fail"), "{text}");
    for key in KEYS {
        assert!(text.contains(&format!("`{key}`")), "{key}");
    }
}

/// The keys that the page lists are those that are printed.
#[test]
fn json_has_the_keys_of_the_page() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages-json");
    fs::create_dir_all(&folder).unwrap();
    // A dial that does not get through, a service that does not start, something of everything.
    let old = "services:\n  web: {image: nginx, ports: ['80:80'], environment: {DB: 'tcp://db:5432'}}\n  late: {image: nginx, ports: ['80:80']}\n  db: {image: postgres, networks: [back]}\nnetworks: {back: {}}\nx-vethlab: {expect: [lan -> web:80 allow]}\n";
    fs::write(folder.join("old.yaml"), old).unwrap();
    let new = "services:\n  web: {image: nginx}\n  db: {image: postgres}\n";
    fs::write(folder.join("new.yaml"), new).unwrap();
    let lines = [
        ("check", "vethlab check old.yaml"),
        ("matrix", "vethlab matrix old.yaml"),
        ("why", "vethlab why old.yaml lan web"),
        ("diff", "vethlab diff old.yaml new.yaml"),
        ("lint", "vethlab lint old.yaml"),
        ("test", "vethlab test old.yaml"),
        ("doctor", "vethlab doctor"),
    ];
    let page = fs::read_to_string(root().join("docs/ci.md")).unwrap();
    for (verb, line) in lines {
        let words = line.split_whitespace().skip(1);
        let output = Command::new(env!("CARGO_BIN_EXE_vethlab"))
            .args(words)
            .args(["--format", "json"])
            .current_dir(&folder)
            .output()
            .unwrap();
        let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let row = page
            .lines()
            .find(|row| row.starts_with(&format!("| `{verb}` | ")))
            .unwrap();
        let cell = row.split('|').nth(2).unwrap();
        let listed: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        let seen: Vec<&String> = printed.as_object().unwrap().keys().collect();
        assert_eq!(listed, seen, "{verb}");
    }
}
