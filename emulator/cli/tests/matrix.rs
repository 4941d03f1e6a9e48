//! `vethlab matrix` as a person runs it: what it prints, its lock file, how it exits.

mod rig;

use std::fs;
use std::path::{Path, PathBuf};

use rig::{says, texts, vethlab};

fn scratch(test: &str) -> PathBuf {
    rig::folder("matrix", test, &[])
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The examples say what is committed, in each format that people read; `VETHLAB_BLESS=1` writes it.
#[test]
fn the_examples_say_as_before() {
    for name in ["voting-app", "turn-server", "shop"] {
        let file = format!("examples/{name}/compose.yaml");
        for (format, end) in FORMATS {
            let out = says(&["matrix", &file, "--format", format], 0);
            let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(format!("tests/golden/matrix/{name}.{end}"));
            if std::env::var_os("VETHLAB_BLESS").is_some() {
                fs::create_dir_all(golden.parent().unwrap()).unwrap();
                fs::write(&golden, &out).unwrap();
            }
            let before = fs::read_to_string(&golden).unwrap();
            assert!(
                out == before,
                "{file} says otherwise than {}:\n{out}",
                golden.display()
            );
            // Once more: the same run, the same bytes.
            assert_eq!(says(&["matrix", &file, "--format", format], 0), out);
        }
    }
}

const FORMATS: [(&str, &str); 6] = [
    ("text", "txt"),
    ("markdown", "md"),
    ("csv", "csv"),
    ("mermaid", "mmd"),
    ("graphviz", "dot"),
    ("svg", "svg"),
];

#[test]
fn json_says_what_was_tried() {
    let out = says(
        &[
            "matrix",
            "examples/voting-app/compose.yaml",
            "--format",
            "json",
        ],
        0,
    );
    let matrix: serde_json::Value = serde_json::from_str(&out).unwrap();
    let cell = |from: &str, to: &str, port: u64| {
        let mut cells = matrix["cells"].as_array().unwrap().iter();
        let found =
            cells.find(|cell| cell["from"] == from && cell["to"] == to && cell["port"] == port);
        found
            .unwrap_or_else(|| panic!("{from} → {to}:{port}"))
            .clone()
    };
    assert_eq!(cell("worker", "db", 5432)["verdict"], "open");
    assert_eq!(cell("worker", "db", 5432)["ways"][0]["how"], "name");
    assert_eq!(cell("lan", "vote", 80)["verdict"], "door");
    assert_eq!(cell("lan", "db", 5432)["verdict"], "closed");
    assert_eq!(cell("lan", "db", 5432)["reason"], "not-published");
    assert_eq!(cell("lan", "result", 9229)["reason"], "loopback-only");
    let unknown = matrix["cells"].as_array().unwrap().iter();
    let mut unknown = unknown.filter(|cell| cell["to"] == "worker");
    assert!(unknown.all(|cell| cell["verdict"] == "unknown" && cell["port"].is_null()));
    let vote = &matrix["ends"][0]["ports"][0];
    assert_eq!(vote["known"], "published");
    assert_eq!(vote["at"], "examples/voting-app/compose.yaml:7:9");
}

const OLD: &str = "\
services:
  web: {image: example/web, ports: ['8080:80'], networks: [front]}
  db: {image: example/db, expose: ['5432'], networks: [back]}
  job: {image: example/job, networks: [front, back]}
networks: {front: {}, back: {}}
";

#[test]
fn a_lock_file_holds_what_is_open() {
    let folder = scratch("lock");
    let (compose, lock) = (folder.join("compose.yaml"), folder.join("compose.lock"));
    let (compose, lock) = (text(&compose), text(&lock));
    fs::write(compose, OLD).unwrap();
    assert_eq!(says(&["matrix", "--update", lock, compose], 0), "");
    assert_eq!(says(&["matrix", "--check", lock, compose], 0), "");
    let first = fs::read_to_string(lock).unwrap();
    assert!(
        first.contains("lan -> web:80 = host6:8080 sees gateway(front); host:8080 sees client\n")
    );
    let lines: Vec<&str> = first.lines().skip(2).collect();
    let mut sorted = lines.clone();
    sorted.sort_by_key(|line| line.split(" = ").next());
    sorted.dedup();
    assert_eq!(lines, sorted, "{first}");

    // The database is published: the file on disk says so, and `--check` with it.
    fs::write(
        compose,
        OLD.replace("expose: ['5432']", "ports: ['5432:5432']"),
    )
    .unwrap();
    let out = says(&["matrix", "--check", lock, compose], 1);
    assert!(
        out.contains("EXPOSURE OPENED (3)\n+ host -> db:5432 = "),
        "{out}"
    );
    assert!(
        out.contains(
            "\n+ internet, lan -> db:5432 = host6:5432 sees gateway(back); host:5432 sees client\n"
        ),
        "{out}"
    );
    assert!(out.contains("\n+ web -> db:5432 = gateway:5432"), "{out}");
    assert_eq!(
        fs::read_to_string(lock).unwrap(),
        first,
        "--check writes nothing"
    );
    assert_eq!(says(&["matrix", "--update", lock, compose], 0), "");
    assert_eq!(says(&["matrix", "--check", lock, compose], 0), "");

    // Back again: what had opened is closed.
    fs::write(compose, OLD).unwrap();
    let out = says(&["matrix", "--check", lock, compose], 1);
    assert!(
        out.contains("- internet, lan -> db:5432 = ") && out.contains("(now: not-published)"),
        "{out}"
    );
    // Another port of the host: the same fact by another way.
    says(&["matrix", "--update", lock, compose], 0);
    fs::write(compose, OLD.replace("8080:80", "8081:80")).unwrap();
    let out = says(&["matrix", "--check", lock, compose], 1);
    assert!(
        out.contains("~ internet, lan -> web:80: -[host6:8080 sees gateway(front)] -[host:8080 sees client] +[host6:8081 sees gateway(front)] +[host:8081 sees client]\n"),
        "{out}"
    );
    assert!(!out.contains("OPENED") && !out.contains("CLOSED"), "{out}");
}

#[test]
fn a_lock_file_that_cannot_be_read_is_never_written_over() {
    let folder = scratch("unreadable");
    let compose = folder.join("compose.yaml");
    let compose = text(&compose);
    fs::write(compose, OLD).unwrap();
    let good = folder.join("good.lock");
    says(&["matrix", "--update", text(&good), compose], 0);
    let good = fs::read_to_string(good).unwrap();
    let merge = format!("{good}<<<<<<< HEAD\n");
    let cases: [(&str, &[u8], &str); 5] = [
        ("other.lock", b"services: {}\n", ":1: no lock file"),
        ("merge.lock", merge.as_bytes(), "<<<<<<<"),
        (
            "next.lock",
            b"# vethlab matrix, format 3\n",
            "does not know",
        ),
        ("latin.lock", b"# vethlab matrix, format 1\n\xff\n", "UTF-8"),
        ("empty.lock", b"", "no lock file"),
    ];
    for (name, bytes, word) in cases {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        for verb in ["--update", "--check"] {
            let output = vethlab(&["matrix", verb, text(&path), compose]);
            let (out, err) = texts(&output);
            assert_eq!(output.status.code(), Some(2), "{name}: {err}");
            assert!(
                out.is_empty() && err.contains(word) && err.contains(name),
                "{name}: {err}"
            );
            assert_eq!(fs::read(&path).unwrap(), bytes, "{name} {verb}");
        }
    }
    // A file that is not there is nothing to compare with; a folder is no file.
    for (path, verb) in [
        (folder.join("none.lock"), "--check"),
        (folder.clone(), "--update"),
        (folder.join("no/such/folder.lock"), "--update"),
    ] {
        let output = vethlab(&["matrix", verb, text(&path), compose]);
        assert_eq!(output.status.code(), Some(2), "{}", texts(&output).1);
    }
    // Nothing else was left behind.
    let names = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(
        names
            .into_iter()
            .all(|name| !name.to_str().unwrap().ends_with(".new"))
    );
}

/// A file of format 1 is compared without what it could not list; writing it anew lists it.
#[test]
fn a_lock_file_of_before_stays_good() {
    let folder = scratch("before");
    let (compose, lock) = (folder.join("compose.yaml"), folder.join("network.lock"));
    let (compose, lock) = (text(&compose), text(&lock));
    fs::write(compose, OLD).unwrap();
    let args = ["matrix", "--engine", "20.10", "--update", lock, compose];
    says(&args, 0);
    let new = fs::read_to_string(lock).unwrap();
    assert!(new.contains("route on front"), "{new}");
    let kept: Vec<&str> = new.split("; route on front").collect();
    fs::write(lock, kept.concat().replace("format 2", "format 1")).unwrap();
    let output = vethlab(&["matrix", "--engine", "20.10", "--check", lock, compose]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert!(
        out.is_empty() && err.contains("by an added route"),
        "{out}{err}"
    );
    says(&args, 0);
    assert_eq!(fs::read_to_string(lock).unwrap(), new);
}

#[test]
fn help_has_examples_and_exit_codes() {
    let out = says(&["matrix", "--help"], 0);
    assert!(
        out.contains("Examples:") && out.contains("Exit codes:"),
        "{out}"
    );
}
