//! `vethlab test` as a person runs it: which projects it finds, how it exits, what it writes beside its report.

mod rig;

use std::fs;
use std::path::{Path, PathBuf};

const HOLDS: &str = "\
x-vethlab: {expect: ['web -> db:5432 allow', 'outside -> db:5432 deny']}
services:
  web: {image: x, ports: ['8080:80']}
  db: {image: x, expose: [5432]}
";
const FAILS: &str = "\
x-vethlab:
  expect:
    - web -> db:5432 deny
services:
  web: {image: x}
  db: {image: x, expose: [5432]}
";

fn folder(test: &str, files: &[(&str, &str)]) -> PathBuf {
    rig::folder("test-verb", test, files)
}

fn vethlab(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    rig::ran(folder, &[&["test"], args].concat())
}

#[test]
fn every_project_below_is_found_and_run() {
    let at = folder(
        "found",
        &[
            ("a/compose.yaml", HOLDS),
            ("b/deep/docker-compose.yml", HOLDS),
            (
                "b/deep/docker-compose.override.yml",
                "services: {web: {expose: [81]}}\n",
            ),
            (".git/compose.yaml", "nonsense"),
            ("node_modules/x/compose.yaml", "nonsense"),
            (
                "c/vethlab.yaml",
                "files: [x.yaml]\nexpect: ['web -> db:5432 allow']\n",
            ),
            (
                "c/x.yaml",
                "services: {web: {image: x}, db: {image: x, expose: [5432]}}\n",
            ),
        ],
    );
    let (code, out, err) = vethlab(&at, &[]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(
        out,
        "\
ok    a/compose.yaml: 2 passed
ok    b/deep/docker-compose.yml: 2 passed
ok    c/x.yaml: 1 passed

3 projects, 5 expectations: 0 failed in 0 projects
"
    );
}

#[test]
fn the_examples_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (code, out, err) = vethlab(&root, &["examples", "tests/data/fifty"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let lines = out.lines().take_while(|line| !line.is_empty());
    for line in lines {
        let held = line.starts_with("ok    ") && line.ends_with(" passed");
        assert!(held || line.starts_with("  note: "), "{out}");
    }
}

#[test]
fn what_fails_is_one_and_what_cannot_be_read_is_two() {
    let at = folder(
        "codes",
        &[("bad.yaml", "services: {a: 1}\n"), ("fails.yaml", FAILS)],
    );
    let (code, out, _) = vethlab(&at, &["fails.yaml"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("web reaches db:5432 by name"), "{out}");
    assert!(out.contains("--> fails.yaml:3:7"), "{out}");
    let (code, out, _) = vethlab(&at, &["bad.yaml"]);
    assert_eq!(code, Some(2), "{out}");
    assert!(out.contains("bad.yaml:1:"), "{out}");
    for args in [
        &["nowhere"][..],
        &["--config", "nowhere.yaml"],
        &["--host", "nowhere", "fails.yaml"],
    ] {
        assert_eq!(vethlab(&at, args).0, Some(2), "{args:?}");
    }
    let empty = folder("empty", &[("readme", "")]);
    assert_eq!(vethlab(&empty, &[]).0, Some(2));
    let unknown = HOLDS.replace("web -> db:5432", "wbe -> db:5432");
    let at = folder("unknown", &[("compose.yaml", &unknown)]);
    let (code, out, _) = vethlab(&at, &[]);
    assert_eq!(code, Some(2));
    assert!(
        out.contains("wbe") && out.contains("did you mean `web`"),
        "{out}"
    );
}

#[test]
fn a_baseline_lets_pass_what_is_known() {
    let at = folder("baseline", &[("compose.yaml", FAILS)]);
    let known = ["--baseline", "known.json"];
    assert_eq!(vethlab(&at, &known).0, Some(2), "there is none yet");
    let (code, out, _) = vethlab(&at, &["--baseline", "known.json", "--update-baseline"]);
    assert_eq!(code, Some(0), "{out}");
    assert_eq!(vethlab(&at, &known).0, Some(0));
    let more = FAILS.replace("    - web", "    - db -> web/icmp deny\n    - web");
    fs::write(at.join("compose.yaml"), more).unwrap();
    let (code, out, _) = vethlab(&at, &known);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("1 in the baseline"), "{out}");
    fs::write(at.join("compose.yaml"), FAILS.replace("deny", "allow")).unwrap();
    let (code, out, _) = vethlab(&at, &known);
    assert_eq!(code, Some(0));
    assert!(
        out.contains("no longer in need of the baseline:\n  compose.yaml: web -> db:5432 deny")
    );
}

#[test]
fn reports_and_captures_are_written() {
    let at = folder("written", &[("compose.yaml", FAILS)]);
    let args = ["--format", "junit", "-o", "report.xml", "--keep", "frames"];
    let (code, out, err) = vethlab(&at, &args);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        out.starts_with("FAIL  compose.yaml: 0 passed, 1 failed"),
        "{out}"
    );
    let report = fs::read_to_string(at.join("report.xml")).unwrap();
    assert!(report.contains("<testsuite name=\"compose.yaml\" tests=\"1\" failures=\"1\""));
    let capture = fs::read(at.join("frames/compose-yaml.pcapng")).unwrap();
    assert_eq!(capture[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
}

#[test]
fn projects_of_a_host_share_ports_and_networks() {
    let at = folder(
        "hosts",
        &[
            (
                "vethlab.yaml",
                "\
projects:
  proxy: {name: proxy, files: [proxy.yaml]}
  app:
    name: app
    files: [app.yaml]
    expect: ['web resolves proxy', 'outside -> web:8080 allow']
  other: {files: [other.yaml], engine: '20.10', expect: ['a -> b allow'], variants: {v: {}}}
hosts:
  edge: {projects: [app, proxy]}
",
            ),
            (
                "proxy.yaml",
                "services: {proxy: {image: x, networks: [front]}}\nnetworks: {front: {name: front}}\n",
            ),
            (
                "app.yaml",
                "services: {web: {image: x, ports: ['8080:80'], networks: [front]}}\nnetworks: {front: {external: true}}\n",
            ),
            (
                "other.yaml",
                "services: {a: {image: x}, b: {image: x, expose: [1]}}\n",
            ),
        ],
    );
    let (code, out, err) = vethlab(&at, &[]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(
        out,
        "\
ok    app on edge: 2 passed
ok    proxy on edge: no expectations
ok    other: 1 passed
ok    other/v: 1 passed

4 projects, 4 expectations: 0 failed in 0 projects
"
    );
    let text = fs::read_to_string(at.join("vethlab.yaml")).unwrap();
    fs::write(
        at.join("vethlab.yaml"),
        text.replace("name: proxy", "name: app"),
    )
    .unwrap();
    let (code, _, err) = vethlab(&at, &[]);
    assert_eq!(code, Some(2));
    assert!(err.contains("two projects are named app"), "{err}");
}

/// What is expected of the projects of a host together: both verdicts, events, and failures that show lines of both.
#[test]
fn what_spans_the_projects_of_a_host() {
    let config = |expect: &str| {
        format!(
            "projects: {{infra: {{files: i.yaml, name: base}}, app: {{files: a.yaml}}}}\nhosts:\n  one:\n    projects: [app, infra]\n    groups: {{stores: [infra/db]}}\n    expect:\n{expect}"
        )
    };
    let holds = "      - app/web -> infra/db:5432 allow via data
      - only app/web -> stores
      - app/cron, outside -> stores deny
      - infra/db -> app/web:80 allow after recreate app/web moved
      - app/web does not resolve db after down infra/db
      - app/web -> infra/db:5432 deny after recreate infra/db moved resolve once
      - host -> app/web:8080 allow
      - app/cron -> app/web:80 allow via app_default
";
    let at = folder(
        "spans",
        &[
            ("vethlab.yaml", &config(holds)),
            (
                "i.yaml",
                "services:\n  db: {image: x, expose: [5432], networks: [store]}\nnetworks: {store: {name: data}}\n",
            ),
            (
                "a.yaml",
                "name: app\nservices:\n  web: {image: x, ports: ['8080:80'], networks: [default, data]}\n  cron: {image: x}\nnetworks: {data: {external: true}}\n",
            ),
        ],
    );
    let (code, out, err) = vethlab(&at, &[]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("ok    one: 8 passed"), "{out}");
    fs::write(
        at.join("vethlab.yaml"),
        config("      - app/web -> infra/db deny\n      - app/cron -> infra/db:5432 allow\n"),
    )
    .unwrap();
    let (code, out, err) = vethlab(&at, &[]);
    assert_eq!(code, Some(1), "{out}{err}");
    for text in [
        "app/web reaches infra/db:5432 by name",
        "app/cron does not reach infra/db:5432",
        "vethlab.yaml:7:9",
        "i.yaml:2:",
        "a.yaml:3:",
    ] {
        assert!(out.contains(text), "no {text:?} in\n{out}");
    }
    fs::write(
        at.join("vethlab.yaml"),
        config("      - web -> infra/db deny\n"),
    )
    .unwrap();
    let (code, out, err) = vethlab(&at, &[]);
    assert_eq!(code, Some(2), "{out}{err}");
    assert!(
        out.contains("vethlab.yaml:7:9") && out.contains("`app/web`"),
        "{out}{err}"
    );
}

#[test]
fn a_machine_of_its_own_counts() {
    let text = HOLDS.replace("expect: [", "expect: ['outside -> web:8080 deny', ");
    let at = folder(
        "machine",
        &[
            ("compose.yaml", &text),
            ("machine.yaml", "daemon: {ip: 127.0.0.1}\n"),
        ],
    );
    assert_eq!(vethlab(&at, &[]).0, Some(1));
    let (code, out, _) = vethlab(&at, &["--host", "machine.yaml"]);
    assert_eq!(code, Some(0), "{out}");
}

/// Of whom nobody answers, that says nothing of the network, whether he should be reached or not.
#[test]
fn an_address_of_nobody_is_no_reason() {
    let file = "services: {web: {image: nginx}}\nx-vethlab: {expect: ['web -> 1.1.1.1:443 allow', 'web -> 1.1.1.1:443 deny']}\n";
    let folder = rig::folder("test_verb", "nobody", &[("compose.yaml", file)]);
    let out = rig::says_in(&folder, &["test"], 1);
    let advice = "fix: reached or not, that says nothing of the network: `host` and `lan` answer a ping, `internet` on 443 as well\n";
    assert_eq!(out.matches(advice).count(), 2, "{out}");
}
