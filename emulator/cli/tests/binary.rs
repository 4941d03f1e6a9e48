//! The binary as a person runs it: what it prints, where errors point, how it exits.

mod rig;

use std::fs;
use std::path::{Path, PathBuf};

use rig::{texts, vethlab};

fn scratch(name: &str, bytes: &[u8]) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("binary");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The matrices of the examples are as committed; `VETHLAB_BLESS=1` writes them.
#[test]
fn the_examples_answer_as_before() {
    for name in ["voting-app", "turn-server", "shop"] {
        let file = format!("examples/{name}/compose.yaml");
        let output = vethlab(&["check", &file, "--format", "json"]);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(0), "{err}");
        let golden =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.json"));
        if std::env::var_os("VETHLAB_BLESS").is_some() {
            fs::write(&golden, &out).unwrap();
        }
        assert_eq!(
            out,
            fs::read_to_string(&golden).unwrap(),
            "{file} answers otherwise than {}",
            golden.display()
        );
        // Once more, and as text: the same run, the same bytes.
        assert_eq!(
            texts(&vethlab(&["check", &file, "--format", "json"])).0,
            out
        );
        assert!(
            texts(&vethlab(&["check", &file]))
                .0
                .starts_with(&format!("project {name}, seed 0\n"))
        );
    }
}

/// `-` is a compose file like any other, in the folder in which it is said; errors point into it.
#[test]
fn a_project_by_standard_input() {
    let file = rig::root().join("examples/shop/compose.yaml");
    let by_input = |args: &[&str], input: &Path| {
        let mut command = rig::command(args);
        let input = fs::File::open(input).unwrap();
        command.current_dir(file.parent().unwrap()).stdin(input);
        command.output().unwrap()
    };
    for verb in ["check", "matrix", "test", "lint"] {
        let named = rig::command(&[verb, "compose.yaml"])
            .current_dir(file.parent().unwrap())
            .output()
            .unwrap();
        let read = by_input(&[verb, "-"], &file);
        assert_eq!(read.status.code(), named.status.code(), "{verb}");
        let (out, err) = texts(&named);
        let anonymous = |text: &str| text.replace("compose.yaml", "-");
        assert_eq!(texts(&read), (anonymous(&out), anonymous(&err)), "{verb}");
    }
    let broken = scratch("by-input.yaml", b"services:\n  web:\n    ports: 80\n");
    let output = by_input(&["check", "-"], Path::new(&broken));
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains(" --> -:3:12\n"), "{err}");
    let output = by_input(&["watch", "-"], &file);
    assert_eq!(output.status.code(), Some(2));
    assert!(texts(&output).1.contains("standard input"));
}

#[test]
fn what_the_voting_app_allows() {
    let output = vethlab(&[
        "check",
        "examples/voting-app/compose.yaml",
        "--format",
        "json",
    ]);
    let matrix: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let cell = |from: &str, to: &str, port: u64| {
        let found = matrix["cells"]
            .as_array()
            .unwrap()
            .iter()
            .find(|cell| cell["from"] == from && cell["to"] == to && cell["port"] == port);
        found
            .unwrap_or_else(|| panic!("{from} → {to}:{port}"))
            .clone()
    };
    let by_name = cell("worker", "db", 5432);
    assert_eq!(by_name["connected"], true);
    assert_eq!(by_name["via"], "voting-app_back-tier");
    assert_eq!(cell("lan", "vote", 80)["via"], "host 192.0.2.2:5000");
    // Published on loopback: the host itself, and nobody else.
    assert_eq!(cell("host", "result", 9229)["connected"], true);
    assert_eq!(cell("lan", "result", 9229)["connected"], false);
    assert_eq!(cell("lan", "db", 5432)["reason"], "not-published");
}

/// What a service waits for and cannot reach is told with its place; what it reaches is not.
#[test]
fn dials_that_do_not_get_through() {
    let path = scratch(
        "dials.yaml",
        b"services:
  web: {image: example/web, networks: [front], depends_on: [db, cache]}
  cache: {image: example/cache, expose: ['6379'], networks: [front]}
  db: {image: example/db, expose: ['5432'], networks: [back]}
networks: {front: {}, back: {}}
",
    );
    let (out, err) = texts(&vethlab(&["check", &path]));
    let dials: Vec<&str> = out.split("\nDIALS").nth(1).unwrap().lines().collect();
    assert_eq!(dials.len(), 2, "{out}{err}");
    let words: Vec<&str> = dials[1].split_whitespace().collect();
    assert_eq!(
        words[..4],
        ["web", "db:5432", "no", "no-such-name"],
        "{out}"
    );
    assert!(
        dials[1].contains("depends_on ") && dials[1].contains("dials.yaml:2:"),
        "{out}"
    );
}

#[test]
fn bad_input_is_refused_with_its_place() {
    let deep = "[".repeat(100_000);
    let laughs = {
        let mut text = "x-a: &a [1,1,1,1,1,1,1,1,1]\n".to_owned();
        for (from, to) in
            ["ab", "bc", "cd", "de", "ef", "fg", "gh", "hi"].map(|pair| pair.split_at(1))
        {
            text.push_str(&format!(
                "x-{to}: &{to} [{}]\n",
                vec![format!("*{from}"); 9].join(",")
            ));
        }
        text + "services: {a: {image: x}}\n"
    };
    let cases: &[(&str, &[u8], &str)] = &[
        ("unknown-key.yaml", b"services:\n  web:\n    image: x\n    prots: [80]\n", ":4:5"),
        ("not-yaml.yaml", b"services: [\n", "not-yaml.yaml:"),
        ("latin.yaml", b"services: {caf\xe9: {image: x}}\n", "not UTF-8 at line 1, column 15"),
        ("address.yaml", b"services:\n  a:\n    image: x\n    networks: {n: {ipv4_address: 10.0.0.300}}\nnetworks: {n: {}}\n", ":4:"),
        ("deep.yaml", deep.as_bytes(), "deep.yaml:"),
        ("laughs.yaml", laughs.as_bytes(), "laughs.yaml:"),
    ];
    for (name, bytes, place) in cases {
        let path = scratch(name, bytes);
        let output = vethlab(&["check", &path]);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{name}: {err}");
        assert!(err.contains(place) && err.contains(name), "{name}: {err}");
        assert!(out.is_empty() && !err.contains("panicked"), "{name}: {err}");
    }
}

/// What an included file has wrong is told with the way to it from here, as that of the file itself.
#[test]
fn a_place_in_an_included_file_is_called_from_here() {
    let folder = rig::folder(
        "binary",
        "included",
        &[
            (
                "shop/compose.yaml",
                "include: [sub/x.yaml]\nservices: {a: {image: x}}\n",
            ),
            (
                "shop/sub/x.yaml",
                "services: {b: {image: x, ports: ['x:y']}}\n",
            ),
        ],
    );
    let err = rig::says_in(&folder, &["check", "shop"], 2);
    assert!(err.contains(" --> shop/sub/x.yaml:1:34\n"), "{err}");
}

#[test]
fn files_that_cannot_be_read() {
    for (args, word) in [
        (
            &["check", "no/such/compose.yaml"][..],
            "no/such/compose.yaml",
        ),
        (&["check", "examples"][..], "no compose file in examples"),
        (&["play", "no/such.md"][..], "no/such.md"),
        (
            &[
                "check",
                "examples/shop/compose.yaml",
                "--capture",
                "no/such/folder/x.pcapng",
            ][..],
            "no/such/folder",
        ),
        (&["check", "--engine", "19", "x"][..], "19"),
    ] {
        let output = vethlab(args);
        let (_, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {err}");
        assert!(err.contains(word), "{args:?}: {err}");
    }
}

#[test]
fn overlapping_subnets_are_refused_in_dockers_words() {
    let path = scratch(
        "overlap.yaml",
        b"services:\n  a: {image: x, networks: [m, n]}\nnetworks:\n  m: {ipam: {config: [{subnet: 10.0.0.0/16}]}}\n  n: {ipam: {config: [{subnet: 10.0.1.0/24}]}}\n",
    );
    let output = vethlab(&["check", &path]);
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(
        err.contains("Pool overlaps with other one on this address space")
            && err.contains("overlap.yaml:5"),
        "{err}"
    );
}

#[test]
fn a_transcript_that_differs_exits_with_1() {
    let page = b"```console\n$ docker network ls -q | wc -l\n4\n```\n";
    let path = scratch("differs.md", page);
    let output = vethlab(&["play", &path]);
    let (out, _) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(out.contains("-4") && out.contains("+3"), "{out}");
    let output = vethlab(&["play", "--bless", &path]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(vethlab(&["play", &path]).status.code(), Some(0));
}

#[test]
fn every_verb_has_help_with_an_example() {
    for verb in [
        "capture",
        "check",
        "completions",
        "diff",
        "doctor",
        "extcap",
        "init",
        "lint",
        "man",
        "matrix",
        "play",
        "test",
        "watch",
        "why",
    ] {
        let output = vethlab(&[verb, "--help"]);
        let (out, _) = texts(&output);
        assert_eq!(output.status.code(), Some(0));
        assert!(
            out.contains("Examples:") && out.contains("Exit codes:"),
            "{out}"
        );
    }
}

#[test]
fn shells_and_man_know_the_verbs() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = vethlab(&["completions", shell]);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(0), "{err}");
        assert!(
            out.contains("matrix") && out.contains("capture-filter"),
            "{shell}"
        );
    }
    let (out, _) = texts(&vethlab(&["man"]));
    assert!(
        out.starts_with(".ie") && out.contains("vethlab\\-check(1)"),
        "{out}"
    );
    let folder = rig::folder("binary", "man", &[]);
    rig::says_in(&folder, &["man", "pages/man1"], 0);
    let page = fs::read_to_string(folder.join("pages/man1/vethlab-check.1")).unwrap();
    for part in [
        "\n.SH EXAMPLES\n",
        "\n.SH EXIT STATUS\n",
        "vethlab check \\-p shop",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let pages = fs::read_dir(folder.join("pages/man1")).unwrap().count();
    let help = texts(&vethlab(&["--help"])).0;
    let verbs = help.split("Commands:\n").nth(1).unwrap();
    let verbs = verbs.lines().take_while(|line| !line.is_empty());
    // One of vethlab itself, none of `help`.
    assert_eq!(pages, verbs.count());
    let err = rig::says_in(&folder, &["man", "/dev/null/x"], 2);
    assert!(err.starts_with("vethlab: /dev/null/x: "), "{err}");
}

#[test]
fn init_prints_what_is_dialled_and_overwrites_nothing() {
    let file = "examples/voting-app/compose.yaml";
    let (out, _) = texts(&vethlab(&["init", file]));
    assert!(
        out.starts_with("files: [examples/voting-app/compose.yaml]\nexpect:\n"),
        "{out}"
    );
    assert!(out.contains("  - worker -> redis:6379 allow"), "{out}");
    let path = scratch("first.yaml", b"mine\n");
    let output = vethlab(&["init", "--output", &path, file]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        texts(&output)
            .1
            .contains("is there already; --force overwrites it")
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine\n");
    let output = vethlab(&["init", "--force", "--output", &path, file]);
    assert_eq!(output.status.code(), Some(0));
    // The files are called from where it is.
    let written = fs::read_to_string(&path).unwrap();
    let (first, rest) = written.split_once('\n').unwrap();
    assert!(
        first.contains("examples/voting-app/compose.yaml"),
        "{first}"
    );
    assert_eq!(Some(rest), out.split_once('\n').map(|(_, rest)| rest));
}

/// A capture of one interface and one filter, in files of which the last are kept.
#[test]
fn check_captures_what_is_asked_for() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("check-capture");
    let _first = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let compose = "examples/voting-app/compose.yaml";
    let size = |name: &str| fs::read(at(name)).map_or(0, |bytes| bytes.len());
    let all = at("all.pcapng");
    let plain = vethlab(&["check", "--capture", &all, compose]);
    let db = at("db.pcapng");
    let filter = "host db and tcp port postgresql";
    let args = [
        "check",
        "-i",
        "db:eth0",
        "--capture-filter",
        filter,
        "--capture",
        &db,
        compose,
    ];
    let asked = vethlab(&args);
    let (out, err) = texts(&asked);
    assert_eq!(asked.status.code(), Some(0), "{err}");
    assert_eq!(out, texts(&plain).0, "captured or not");
    assert!(size("db.pcapng") > 1000 && size("db.pcapng") * 4 < size("all.pcapng"));

    let ring = at("ring.pcapng");
    let args = ["check", "--capture", &ring, "--ring", "20kB:3", compose];
    assert_eq!(vethlab(&args).status.code(), Some(0));
    let mut files: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("ring"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 3, "{files:?}");
    for file in &files {
        let bytes = fs::read(at(file)).unwrap();
        assert_eq!(bytes[..4], [0x0a, 0x0d, 0x0d, 0x0a], "{file}");
        assert!((1000..=20_000).contains(&bytes.len()), "{file}");
    }
    for (args, words) in [
        (
            ["--capture-filter", "host dbx"],
            "column 6: unknown host 'dbx'",
        ),
        (["--capture-filter", "tcp porr 1"], "column 5: syntax error"),
        (
            ["-i", "db:eth7"],
            "db:eth7: no such interface; there are any, ",
        ),
        (["--ring", "5"], "5: not SIZE:FILES, such as 10MB:5"),
    ] {
        let output = vethlab(&["check", "--capture", &ring, args[0], args[1], compose]);
        let (_, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains(words), "{err}");
    }
}

/// Nobody has to name the compose files of the folder that he is in, as with compose itself; a folder will do.
#[test]
fn this_folders_project_if_none_is_named() {
    let files = [
        (
            "compose.yaml",
            "services: {web: {image: nginx, depends_on: [db]}, db: {image: postgres}}\n",
        ),
        (
            "compose.override.yaml",
            "services: {db: {expose: [5433]}}\n",
        ),
        ("empty/readme", ""),
        // A work tree of its own, wherever the target directory is.
        (".git/HEAD", ""),
        (
            "host/vethlab.yaml",
            "projects: {a: {files: ../compose.yaml, engine: '20.10'}}\nhosts: {one: {projects: [a]}}\n",
        ),
    ];
    let folder = rig::folder("binary", "this-folder", &files);
    let said = |args: &[&str], code: i32| rig::says_in(&folder, args, code);
    for verb in ["check", "matrix", "init"] {
        let here = said(&[verb], 0);
        assert!(here.contains("web") && !here.is_empty(), "{here}");
        assert_eq!(said(&[verb, "."], 0), here);
        let nothing = said(&[verb, "empty"], 2);
        assert!(
            nothing.contains("no compose file in empty (compose.yaml, "),
            "{nothing}"
        );
    }
    assert!(said(&["check"], 0).contains("db:5433"));
    let why = said(&["why", "web", "db:5433"], 0);
    assert!(why.starts_with("web → db:5433: yes"), "{why}");
    assert_eq!(
        said(&["why", ".", "web", "db:5433"], 0).lines().next(),
        why.lines().next()
    );
    let near = said(&["why", "wed", "db"], 2);
    assert!(near.contains("did you mean `web`?"), "{near}");
    for words in [&["why"][..], &["why", "web"]] {
        let none = said(words, 2);
        assert!(none.contains("`vethlab why web db:5432`"), "{none}");
    }
    let half = said(&["why", "compose.yaml", "web"], 2);
    assert!(half.contains("compose.yaml is a file: who asks"), "{half}");
    // What the files say of the engine counts wherever none is asked for.
    let told = said(&["matrix", "host"], 0);
    assert!(
        told.contains("one, engine 20.10") && told.contains("a/web"),
        "{told}"
    );
    let asked = said(&["matrix", "--engine", "29", "--on", "one", "host"], 0);
    assert!(asked.contains("engine 29"), "{asked}");
    let alone = said(&["check", "compose.yaml", "host/vethlab.yaml"], 2);
    assert!(alone.contains("stands alone"), "{alone}");
}

/// Files, profiles and variables are named as `docker compose` is told of them.
#[test]
fn files_profiles_and_variables_by_flags() {
    let folder = rig::folder(
        "binary",
        "flags",
        &[
            (
                "a.yaml",
                "services:\n  web: {image: nginx, ports: ['${PORT:-80}:80']}\n  tools: {extends: {file: base/b.yaml, service: base}, profiles: [debug]}\n",
            ),
            (
                "base/b.yaml",
                "services:\n  base:\n    image: x\n    expose: [81]\n    environment: {WEB: 'http://web:80'}\n",
            ),
            ("c.yaml", "services:\n  web: {expose: [82]}\n"),
            ("prod.env", "PORT=8080\n"),
            ("vethlab.yaml", "files: [a.yaml]\n"),
        ],
    );
    let flags = ["--profile", "debug", "--env-file", "prod.env"];
    for verb in ["check", "matrix"] {
        let files: [&[&str]; 3] = [
            &["-f", "a.yaml", "-f", "c.yaml"],
            &["a.yaml", "c.yaml"],
            &["c.yaml", "-f", "a.yaml"],
        ];
        for files in files {
            let out = rig::says_in(&folder, &[&[verb], files, &flags].concat(), 0);
            for seen in ["tools", "82", "8080"] {
                assert!(out.contains(seen), "{verb} {files:?}: {seen}: {out}");
            }
            let out = rig::says_in(&folder, &[&[verb], files].concat(), 0);
            assert!(!out.contains("tools") && !out.contains("8080"), "{out}");
        }
    }
    let why = [&["why", "a.yaml", "web", "tools:81"][..], &flags].concat();
    let out = rig::says_in(&folder, &why, 0);
    // What a file names is called by a way from here, as the file is.
    assert!(out.contains("(exposed, base/b.yaml:4:14)"), "{out}");
    let out = rig::says_in(
        &folder,
        &[&["init", "-f", "a.yaml"][..], &flags].concat(),
        0,
    );
    assert!(out.contains("tools -> web:80"), "{out}");
    let diff = ["diff", "base/b.yaml", "a.yaml"];
    let out = rig::says_in(&folder, &[&diff[..], &flags].concat(), 0);
    assert!(out.contains("tools") && out.contains("host:8080"), "{out}");
    let out = rig::says_in(&folder, &diff, 0);
    assert!(!out.contains("tools") && out.contains("host:80"), "{out}");
    let refused = "vethlab: vethlab.yaml: has `profiles` and `env_file` of its own; --profile and --env-file go with compose files\n";
    for verb in [
        &["check", "vethlab.yaml"][..],
        &["init", "vethlab.yaml"],
        &["diff", "vethlab.yaml", "a.yaml"],
    ] {
        let out = rig::says_in(&folder, &[verb, &flags].concat(), 2);
        assert_eq!(out, refused);
    }
}

/// What does not fit on the disk is told with its name, help too.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told() {
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let file = "examples/voting-app/compose.yaml";
    for args in [
        &["--help"][..],
        &["why", "--help"],
        &["--version"],
        &["check", file],
    ] {
        let output = rig::command(args).stdout(full()).output().unwrap();
        let (_, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let told = "vethlab: standard output: No space left on device";
        assert!(err.starts_with(told), "{args:?}: {err}");
    }
    let output = vethlab(&["check", file, "--capture", "/dev/full"]);
    assert_eq!(output.status.code(), Some(2));
    let (_, err) = texts(&output);
    let told = "vethlab: /dev/full: No space left on device";
    assert!(err.contains(told), "{err}");
}
