//! `vethlab diff` as a person runs it: files, folders, lock files, git revisions, engines.

mod rig;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rig::{command, ran, says_in as says};

const OLD: &str = "\
services:
  web: {image: example/web, ports: ['8080:80'], networks: [front]}
  db: {image: example/db, expose: ['5432'], networks: [back]}
  job: {image: example/job, networks: [front, back]}
networks: {front: {}, back: {}}
";

/// The database is published, the job left the front.
fn new() -> String {
    OLD.replace("expose: ['5432']", "ports: ['5432:5432']")
        .replace("[front, back]", "[back]")
}

/// A folder with the old and the new project.
fn scratch(test: &str) -> PathBuf {
    let files = [("old/compose.yaml", OLD), ("new/compose.yaml", &new())];
    rig::folder("diff", test, &files)
}

#[test]
fn what_a_change_opens_and_closes() {
    let folder = scratch("files");
    let out = says(&folder, &["diff", "old/compose.yaml", "new"], 0);
    let (exposure, inside) = out.split_once("\nGAINED").unwrap();
    assert!(exposure.contains("EXPOSURE GAINED (3)"), "{out}");
    assert!(exposure.contains("+ internet, lan -> db:5432 = "), "{out}");
    assert!(exposure.contains("(before: not-published)"), "{out}");
    // The way around over the host is a side door, and the only one that is left to the job.
    assert!(
        inside.contains("+ web -> db:5432 = gateway:5432 sees"),
        "{out}"
    );
    assert!(
        inside.contains("~ job -> web:80: -[name on front]"),
        "{out}"
    );
    assert_eq!(
        says(&folder, &["diff", "old", "new/compose.yaml"], 0)
            .replace("old\n", "old/compose.yaml\n")
            .replace("new/compose.yaml\n", "new\n"),
        out
    );

    let same = says(&folder, &["diff", "--fail-on", "any", "new", "new"], 0);
    assert!(same.contains("nothing opens, closes or moves"), "{same}");
    for (kind, old, new, code) in [
        ("new-exposure", "old", "new", 1),
        ("new-exposure", "new", "old", 0),
        ("gained", "new", "old", 1),
        ("lost", "new", "old", 1),
        ("any", "old", "new", 1),
    ] {
        says(&folder, &["diff", "--fail-on", kind, old, new], code);
    }
}

#[test]
fn formats_say_the_same() {
    let folder = scratch("formats");
    let out = says(&folder, &["diff", "--format", "json", "old", "new"], 0);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let gained = json["exposure"]["gained"].as_array().unwrap();
    let fact = serde_json::json!({"from": "lan", "to": "db", "port": 5432, "protocol": "tcp"});
    assert!(gained.iter().any(|gained| gained["fact"] == fact), "{out}");
    let markdown = says(&folder, &["diff", "--format", "markdown", "old", "new"], 0);
    assert!(
        markdown.contains("| gained | lan -> db:5432 |"),
        "{markdown}"
    );
    assert_eq!(
        markdown.matches("| gained |").count(),
        gained.len() + json["inside"]["gained"].as_array().unwrap().len()
    );
}

#[test]
fn a_lock_file_is_a_side() {
    let folder = scratch("lock");
    says(
        &folder,
        &["matrix", "--update", "old.lock", "old/compose.yaml"],
        0,
    );
    let out = says(
        &folder,
        &["diff", "--fail-on", "new-exposure", "old.lock", "new"],
        1,
    );
    assert!(out.contains("EXPOSURE GAINED (3)"), "{out}");
    let out = says(&folder, &["diff", "--fail-on", "any", "old.lock", "old"], 0);
    assert!(out.contains("nothing opens"), "{out}");
    fs::write(
        folder.join("bad.lock"),
        "# vethlab matrix, format 2\n=======\n",
    )
    .unwrap();
    let err = says(&folder, &["diff", "bad.lock", "old"], 2);
    assert!(err.contains("bad.lock:2:"), "{err}");
}

/// What an upgrade closes: a machine of the segment that adds a route to a container's network.
#[test]
fn an_upgrade_closes_the_way_by_a_route() {
    let folder = scratch("route");
    let compose = "name: p\nservices:\n  web: {image: nginx, ports: ['8080:80']}\n  \
                   db: {image: postgres, ports: ['127.0.0.1:5432:5432']}\n  cache: {image: redis}\n";
    fs::write(folder.join("compose.yaml"), compose).unwrap();
    let out = says(
        &folder,
        &["diff", "--engine", "20.10..29", "compose.yaml"],
        0,
    );
    assert!(
        out.contains("- lan -> db:5432 = route on default (now: loopback-only)\n"),
        "{out}"
    );
    assert!(
        out.contains("~ lan -> web:80: -[route on default]\n"),
        "{out}"
    );
    assert!(!out.contains("cache"), "{out}");
    // A lock file that was written before such ways were tried says nothing of them, and that is said.
    let lock = "# vethlab matrix, format 1\nengine 20.10\n";
    fs::write(folder.join("old.lock"), lock).unwrap();
    let args = [
        "diff",
        "--engine",
        "20.10..20.10",
        "old.lock",
        "compose.yaml",
    ];
    let output = command(&args).current_dir(&folder).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        out.contains("lan -> web:80") && !out.contains("route on"),
        "{out}"
    );
    assert!(
        err.contains("old.lock: ways of lan by an added route"),
        "{err}"
    );
}

fn git(folder: &Path, args: &[&str]) -> bool {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@example.com",
            "-c",
            "commit.gpgsign=false",
        ])
        .args(args)
        .current_dir(folder)
        .output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn revisions_are_read_without_being_checked_out() {
    let folder = scratch("git");
    let app = folder.join("app");
    fs::create_dir_all(app.join("deploy")).unwrap();
    let compose = app.join("deploy/compose.yaml");
    // What is included and what is extended is that of the revision; `.env` is in none.
    let text = |port: u16| {
        OLD.replace("'8080:80'", &format!("'{port}:80', '${{SIDE}}:81'"))
            .replace("services:\n", "include: [../more.yaml]\nservices:\n")
    };
    fs::write(&compose, text(8080)).unwrap();
    fs::write(
        app.join("more.yaml"),
        "services: {more: {image: example/more, ports: ['9000:9000']}}\n",
    )
    .unwrap();
    fs::write(app.join(".gitignore"), ".env\n").unwrap();
    fs::write(app.join("deploy/.env"), "SIDE=8181\n").unwrap();
    let made = git(&app, &["init", "-q", "-b", "main"])
        && git(&app, &["add", "."])
        && git(&app, &["commit", "-qm", "old"]);
    if !made {
        eprintln!("SKIPPED: git is not here, or makes no commit");
        return;
    }
    fs::write(&compose, text(8081)).unwrap();
    fs::write(
        app.join("more.yaml"),
        "services: {more: {image: example/more, ports: ['9001:9000']}}\n",
    )
    .unwrap();
    let deploy = app.join("deploy");
    for args in [
        &["diff", "main"][..],
        &["diff", "HEAD:deploy/compose.yaml", "compose.yaml"],
        &["diff", "HEAD:./compose.yaml"],
        &["diff", "HEAD:deploy", "."],
        &["diff", "-f", "compose.yaml", "HEAD"],
    ] {
        let out = says(&deploy, args, 0);
        assert!(
            out.contains("-[host:8080 sees client]") && out.contains("+[host:8081 sees client]"),
            "{args:?}: {out}"
        );
        assert!(out.contains("+[host:9001 sees client]"), "{args:?}: {out}");
        // The variable is the same on both sides: it is read from disk, and that is said.
        assert!(
            !out.contains("81/tcp") && !out.contains("8181"),
            "{args:?}: {out}"
        );
        let (_, _, err) = ran(&deploy, args);
        assert!(err.contains(".env is ignored by git"), "{args:?}: {err}");
    }
    assert!(git(&app, &["commit", "-qam", "new"]));
    let out = says(
        &app,
        &[
            "diff",
            "HEAD~1:deploy/compose.yaml",
            "HEAD:deploy/compose.yaml",
        ],
        0,
    );
    assert!(out.contains("+[host:8081 sees client]"), "{out}");
    for (args, word) in [
        (&["diff", "nosuch"][..], "no revision"),
        (&["diff", "HEAD:nosuch.yaml"], "no such path"),
        (&["diff", "HEAD:more.yaml", "--output=x"], "--output"),
        (&["diff", "HEAD"], "no compose.yaml"),
        (&["diff", "deploy/compose.yaml"], "compared with what"),
    ] {
        let err = says(&app, args, 2);
        assert!(err.contains(word), "{args:?}: {err}");
    }
}

#[test]
fn without_git_that_is_said() {
    let folder = scratch("no-git");
    let output = Command::new(env!("CARGO_BIN_EXE_vethlab"))
        .args(["diff", "main"])
        .current_dir(&folder)
        .env_clear()
        .env("PATH", folder.join("old"))
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(
        err.contains("`git` program, which is not to be found"),
        "{err}"
    );
}

#[test]
fn an_upgrade_of_the_engine() {
    let folder = scratch("engine");
    let six = "services:
  web: {image: example/web, ports: ['8080:80'], networks: [six]}
networks: {six: {enable_ipv6: true, ipam: {config: [{subnet: 'fd00:1::/64'}]}}}
";
    fs::write(folder.join("six.yaml"), six).unwrap();
    // IPv6 was the proxy's alone before, and nothing was masqueraded.
    let out = says(&folder, &["diff", "--engine", "20.10..29", "six.yaml"], 0);
    assert!(out.contains("engine 20.10 -> 29\n"), "{out}");
    assert!(
        out.contains(
            "~ internet -> web:80: -[host6:8080 sees gateway(six)] +[host6:8080 sees client]\n"
        ),
        "{out}"
    );
    // Nor was it filtered: a route was all that it took.
    assert!(
        out.contains(
            "~ lan -> web:80: -[host6:8080 sees gateway(six)] -[route on six] -[route6 on six] +["
        ),
        "{out}"
    );
    assert!(out.contains("~ web -> internet:443: +[name6]\n"), "{out}");
    let back = says(&folder, &["diff", "--engine", "29..20.10", "six.yaml"], 0);
    assert!(back.contains("~ web -> internet:443: -[name6]\n"), "{back}");
    let err = says(&folder, &["diff", "--engine", "19..29", "old"], 2);
    assert!(err.contains("19"), "{err}");
}

#[test]
fn help_has_examples_and_exit_codes() {
    let out = says(Path::new("."), &["diff", "--help"], 0);
    assert!(
        out.contains("Examples:") && out.contains("Exit codes:"),
        "{out}"
    );
}
