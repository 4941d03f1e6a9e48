//! `vethlab lint` as a person and as a CI job run it.

mod rig;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

const OPEN: &str = "services:\n  web:\n    image: nginx\n    ports: ['80:80']\n";
const STORE: &str = "services:\n  db:\n    image: postgres\n    ports: ['5432:5432']\n";
const QUIET: &str = "services:\n  web:\n    image: nginx\n";

fn folder(test: &str, files: &[(&str, &str)]) -> PathBuf {
    rig::folder("lint", test, files)
}

fn lint(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    rig::ran(folder, &[&["lint"], args].concat())
}

#[test]
fn exit_codes() {
    let here = folder(
        "exit",
        &[
            ("quiet.yaml", QUIET),
            ("open.yaml", OPEN),
            ("store.yaml", STORE),
            ("bad.yaml", "services: []\n"),
        ],
    );
    let code = |args: &[&str]| lint(&here, args).0;
    assert_eq!(code(&["quiet.yaml"]), Some(0));
    assert_eq!(code(&["open.yaml"]), Some(0));
    assert_eq!(code(&["open.yaml", "--fail-on", "note"]), Some(1));
    assert_eq!(code(&["store.yaml"]), Some(1));
    assert_eq!(code(&["store.yaml", "--fail-on", "error"]), Some(0));
    assert_eq!(
        code(&["store.yaml", "--allow", "publish-data-store"]),
        Some(0)
    );
    assert_eq!(code(&["store.yaml", "--rule", "links"]), Some(0));
    assert_eq!(
        code(&["open.yaml", "--level", "publish-all=error"]),
        Some(1)
    );
    assert_eq!(code(&["bad.yaml"]), Some(2));
    assert_eq!(code(&["store.yaml", "bad.yaml"]), Some(2));
    assert_eq!(code(&["none.yaml"]), Some(2));
    assert_eq!(code(&["store.yaml", "--rule", "link"]), Some(2));
    assert_eq!(code(&["store.yaml", "--host", "none.json"]), Some(2));
    let (_, out, err) = lint(&here, &["store.yaml", "bad.yaml"]);
    assert!(out.contains("warning[publish-data-store]"), "{out}");
    assert!(err.contains("bad.yaml:1:11"), "{err}");
}

#[test]
fn every_project_below_the_folder() {
    let here = folder(
        "below",
        &[
            ("a/compose.yaml", OPEN),
            (
                "a/compose.override.yaml",
                "services: {web: {ports: ['81:80']}}\n",
            ),
            ("b/c/docker-compose.yml", STORE),
            (".hidden/compose.yaml", OPEN),
            ("node_modules/x/compose.yaml", OPEN),
        ],
    );
    let (code, out, err) = lint(&here, &[]);
    assert_eq!((code, err.as_str()), (Some(1), ""));
    let places: Vec<&str> = out
        .lines()
        .filter_map(|line| line.trim().strip_prefix("--> "))
        .collect();
    assert_eq!(
        places,
        [
            "a/compose.override.yaml:1:26",
            "a/compose.override.yaml:1:26",
            "a/compose.yaml:4:13",
            "a/compose.yaml:4:13",
            "b/c/docker-compose.yml:4:13"
        ]
    );
    assert!(out.ends_with("\n2 warnings, 2 notes\n"), "{out}");
    // The folder itself may be named.
    assert_eq!(lint(&here, &["a"]).1.matches("-->").count(), 4);
    assert_eq!(lint(&here, &["b"]).1.matches("-->").count(), 1);
    let empty = folder("empty", &[("x.txt", "")]);
    assert_eq!(lint(&empty, &[]).0, Some(2));
}

#[test]
fn several_files_of_one_project_and_several_projects_of_one_host() {
    let here = folder(
        "several",
        &[
            ("a.yaml", OPEN),
            ("b.yaml", "services: {web: {ports: ['127.0.0.1:80:80']}}\n"),
            ("c.yaml", OPEN),
        ],
    );
    let own = ["--rule", "publish-duplicate"];
    let found = |args: &[&str]| {
        let args: Vec<&str> = args.iter().chain(&own).copied().collect();
        lint(&here, &args).1.matches("error[").count()
    };
    assert_eq!(found(&["-f", "a.yaml", "-f", "b.yaml"]), 1);
    assert_eq!(found(&["a.yaml", "c.yaml"]), 0);
    assert_eq!(found(&["--together", "a.yaml", "c.yaml"]), 1);
}

#[test]
fn a_machine_from_a_file() {
    let here = folder(
        "machine",
        &[("a.yaml", QUIET), ("m.json", "{\"mtu\": 1420}")],
    );
    assert_eq!(lint(&here, &["a.yaml"]).0, Some(0));
    let (code, out, _) = lint(&here, &["a.yaml", "--host", "m.json"]);
    assert_eq!(code, Some(1));
    assert!(out.starts_with("warning[mtu-over-uplink]"), "{out}");
}

/// `ip -j addr` alone tells the uplink, if one interface only can be it; what the engine made is none.
#[test]
fn the_uplinks_mtu_from_addresses_alone() {
    let lo =
        r#"{"ifname": "lo", "mtu": 1280, "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}]}"#;
    let docker = r#"{"ifname": "docker0", "mtu": 1280, "addr_info": [{"local": "172.17.0.1", "prefixlen": 16}]}"#;
    let wg = |mtu: u16| {
        format!(
            r#"{{"ifname": "wg0", "mtu": {mtu}, "addr_info": [{{"local": "10.8.0.2", "prefixlen": 24}}]}}"#
        )
    };
    let here = folder("addresses", &[("a.yaml", QUIET)]);
    for (mtu, code) in [(1420, 1), (1500, 0), (9000, 0)] {
        let addresses = format!(r#"{{"addresses": [{lo}, {docker}, {}]}}"#, wg(mtu));
        fs::write(here.join("m.json"), addresses).unwrap();
        let (seen, out, err) = lint(&here, &["a.yaml", "--host", "m.json"]);
        assert_eq!(seen, Some(code), "{mtu}: {out}{err}");
        let said = out.contains(&format!(
            "the MTU of default is 1500, the uplink's is {mtu}"
        ));
        assert_eq!(said, code == 1, "{mtu}: {out}");
    }
}

#[test]
fn the_rules_and_their_page() {
    let here = folder("rules", &[]);
    fs::create_dir_all(&here).unwrap();
    let (code, out, _) = lint(&here, &["--list"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("\npublish-all "), "{out}");
    let (_, json, _) = lint(&here, &["--list", "--format", "json"]);
    let rules: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(rules.len(), out.lines().count());
    for rule in &rules {
        let id = rule["id"].as_str().unwrap();
        let (code, page, _) = lint(&here, &["--explain", id]);
        assert_eq!(code, Some(0));
        assert!(page.starts_with(&format!("## {id}\n")), "{page}");
    }
}

/// What the schema of SARIF 2.1.0 requires of the objects that are used, and what code scanners read.
#[test]
fn sarif_has_what_its_schema_requires() {
    let here = folder("sarif", &[("a.yaml", OPEN), ("b.yaml", STORE)]);
    let (code, out, _) = lint(
        &here,
        &["--together", "a.yaml", "b.yaml", "--format", "sarif"],
    );
    assert_eq!(code, Some(1));
    let log: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(log["version"], "2.1.0");
    assert!(
        log["$schema"]
            .as_str()
            .unwrap()
            .ends_with("sarif-schema-2.1.0.json")
    );
    let runs = log["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1);
    let driver = &runs[0]["tool"]["driver"];
    assert_eq!(driver["name"], "vethlab");
    assert_eq!(runs[0]["columnKind"], "unicodeCodePoints");
    let rules = driver["rules"].as_array().unwrap();
    for rule in rules {
        let id = rule["id"].as_str().unwrap();
        for text in [
            &rule["shortDescription"]["text"],
            &rule["help"]["text"],
            &rule["help"]["markdown"],
        ] {
            assert!(!text.as_str().unwrap().is_empty(), "{id}");
        }
        // The page is in `help`; an address that leads nowhere is not said.
        let uri = rule.get("helpUri").map(|uri| uri.as_str().unwrap());
        assert!(uri.is_none_or(|uri| uri.starts_with("https://") && uri.ends_with(id)));
        let level = rule["defaultConfiguration"]["level"].as_str().unwrap();
        assert!(["note", "warning", "error"].contains(&level));
    }
    let results = runs[0]["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(result["ruleId"], rules[index]["id"]);
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let prints = result["partialFingerprints"].as_object().unwrap();
        assert_eq!(prints["vethlab/v1"].as_str().unwrap().len(), 16);
        let place = &result["locations"][0]["physicalLocation"];
        assert!(
            place["artifactLocation"]["uri"]
                .as_str()
                .unwrap()
                .ends_with(".yaml")
        );
        let number = |key: &str| place["region"][key].as_u64().unwrap();
        assert_eq!((number("startLine"), number("startColumn")), (4, 13));
        assert!(number("endColumn") > number("startColumn"));
    }
}

#[test]
fn for_machines_and_for_github() {
    let here = folder("formats", &[("a.yaml", OPEN)]);
    let (_, out, _) = lint(&here, &["a.yaml", "--format", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    let finding = &report["findings"][0];
    assert_eq!(finding["rule"], "publish-all");
    assert_eq!(finding["level"], "note");
    assert_eq!(finding["subject"], "services.web");
    assert_eq!(finding["places"][0]["file"], "a.yaml");
    assert_eq!(report["allowed"], 0);
    let (_, out, _) = lint(&here, &["a.yaml", "--format", "github"]);
    assert!(
        out.starts_with("::notice file=a.yaml,line=4,col=13,endColumn=20,title=publish-all::"),
        "{out}"
    );
}

#[test]
fn the_projects_and_hosts_of_vethlab_yaml() {
    let config = "\
projects:
  shop: {files: [shop/compose.yaml]}
  blog: {files: [blog/compose.yaml]}
  other: {files: [other/compose.yaml]}
hosts:
  edge: {projects: [shop, blog], host: edge.json}
";
    let here = folder(
        "config",
        &[
            ("vethlab.yaml", config),
            ("edge.json", "{\"mtu\": 1420}"),
            ("shop/compose.yaml", OPEN),
            ("blog/compose.yaml", OPEN),
            ("other/compose.yaml", OPEN),
        ],
    );
    for args in [&[][..], &["."], &["vethlab.yaml"]] {
        let (code, out, err) = lint(&here, args);
        assert_eq!((code, err.as_str()), (Some(1), ""), "{args:?}");
        let count = |rule: &str| out.matches(rule).count();
        assert_eq!(count("error[publish-duplicate]"), 1, "{out}");
        assert_eq!(count("warning[mtu-over-uplink]"), 2, "{out}");
        assert_eq!(count("note[publish-all]"), 3, "{out}");
    }
}
