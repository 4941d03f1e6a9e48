//! Each form of one report against its golden file, and what must hold of any text that is put in.

use std::fs;
use std::path::PathBuf;

use super::*;

fn entry(line: u32, text: &str, status: Status, summary: &str, details: &str) -> Entry {
    Entry {
        at: At {
            file: "shop/compose.yaml".to_owned(),
            line,
            column: 9,
        },
        text: text.to_owned(),
        status,
        summary: summary.to_owned(),
        details: details.to_owned(),
        why: None,
        fingerprint: String::new(),
        known: false,
    }
}

fn sample() -> Report {
    let mut shop = Project {
        label: "shop/compose.yaml".to_owned(),
        name: "shop".to_owned(),
        engine: "29".to_owned(),
        seed: 0,
        entries: vec![
            entry(3, "web -> db:5432 allow", Status::Pass, "", ""),
            entry(
                4,
                "outside -> db:5432 deny",
                Status::Fail,
                "lan reaches db by 192.0.2.2:5432 & more",
                "lan reaches <db>\n  by 192.0.2.2:5432, published at\n  12 | \"5432:5432\"\n",
            ),
            entry(
                5,
                "lan -> cache:1 deny",
                Status::Vacuous,
                "cache does not listen",
                "100% #no\n",
            ),
            entry(
                6,
                "web -> x:80 allow",
                Status::Unknown,
                "no port of x is known",
                "",
            ),
            entry(
                7,
                "a -> b:1 deny",
                Status::Fail,
                "a reaches b",
                "a reaches b\n",
            ),
            entry(
                7,
                "a -> b:1 deny",
                Status::Fail,
                "a reaches b",
                "a reaches b\n",
            ),
            entry(
                8,
                "a -> c:1 deny",
                Status::Bug,
                "they differ",
                "packets: open, model: silent\n",
            ),
        ],
        notes: vec![Note {
            at: At {
                file: "shop/compose.yaml".to_owned(),
                line: 30,
                column: 5,
            },
            text: "web dials redis:6379: no such name".to_owned(),
        }],
        error: None,
        error_at: None,
    };
    shop.fingerprint();
    let broken = Project {
        label: "b,r:oken/compose.yaml".to_owned(),
        error: Some("error: services.web: prots\n --> 3:5".to_owned()),
        error_at: Some(At {
            file: "broken/compose.yaml".to_owned(),
            line: 3,
            column: 5,
        }),
        ..Project::default()
    };
    let empty = Project {
        label: "empty/compose.yaml".to_owned(),
        name: "empty".to_owned(),
        engine: "29".to_owned(),
        ..Project::default()
    };
    let mut report = Report {
        projects: vec![shop, broken, empty],
        gone: Vec::new(),
    };
    let known = [
        baseline::Known {
            project: "shop/compose.yaml".to_owned(),
            expectation: "a -> b:1 deny".to_owned(),
            fingerprint: report.projects[0].entries[4].fingerprint.clone(),
        },
        baseline::Known {
            project: "shop/compose.yaml".to_owned(),
            expectation: "mended -> long:1 deny".to_owned(),
            fingerprint: "0".repeat(16),
        },
    ];
    baseline::apply(&mut report, &known);
    report
}

fn golden(name: &str, seen: &str) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/report");
    let path = folder.join(name);
    if std::env::var_os("VETHLAB_BLESS").is_some() {
        fs::create_dir_all(&folder).unwrap();
        fs::write(&path, seen).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert!(seen == wanted, "{name} differs:\n{seen}");
}

#[test]
fn every_form_is_as_it_was() {
    let report = sample();
    for (name, form) in [
        ("people.txt", Form::People),
        ("report.json", Form::Json),
        ("junit.xml", Form::Junit),
        ("github.txt", Form::Github),
        ("codequality.json", Form::CodeQuality),
        ("report.tap", Form::Tap),
        ("report.md", Form::Markdown),
    ] {
        golden(name, &report.write(form));
    }
}

#[test]
fn fingerprints_follow_project_and_sentence_only() {
    let report = sample();
    let prints: Vec<&str> = report
        .entries()
        .map(|(_, e)| e.fingerprint.as_str())
        .collect();
    let mut once = prints.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), prints.len(), "{prints:?}");
    let mut moved = sample();
    let project = &mut moved.projects[0];
    for entry in &mut project.entries {
        entry.at.line += 10;
        entry.status = Status::Pass;
    }
    project.fingerprint();
    let again: Vec<&str> = moved
        .entries()
        .map(|(_, e)| e.fingerprint.as_str())
        .collect();
    assert_eq!(again, prints);
}

#[test]
fn only_what_is_new_fails() {
    let mut report = sample();
    assert_eq!((report.failures(), report.gone.len()), (4, 1));
    let known = baseline::of(&report);
    assert_eq!(known.len(), 4, "not the bug, not the unknown one");
    let text = baseline::write(&known);
    assert_eq!(baseline::read(&text).unwrap(), known);
    baseline::apply(&mut report, &known);
    assert_eq!((report.failures(), report.gone.len()), (1, 0), "the bug");
    assert_eq!(baseline::read(&baseline::write(&[])).unwrap(), []);
    for bad in ["", "{}", "{\"version\": 2, \"known\": []}", "[1]"] {
        assert!(baseline::read(bad).is_err(), "{bad}");
    }
}

/// A well-formed document has its tags closed in order, and no bare `&` or `<` in between.
fn well_formed(xml: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find('<') {
        for (at, _) in rest[..start].match_indices('&') {
            let entity = rest[at..].split(';').next().unwrap();
            assert!(
                ["&amp", "&lt", "&gt", "&quot", "&#13"].contains(&entity),
                "{entity}"
            );
        }
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.starts_with('?') && !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap());
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty());
}

#[test]
fn hostile_text_stays_inside() {
    let mut report = sample();
    let hostile = "\u{1b}[31m]]>\u{0}<a b=\"c\">&\n::error::x\n  ...\n# `|`````\r%0A";
    for entry in &mut report.projects[0].entries {
        entry.text = hostile.to_owned();
        entry.summary = hostile.to_owned();
        entry.details = hostile.to_owned();
    }
    report.projects[0].label = hostile.to_owned();
    report.projects[1].error = Some(hostile.to_owned());
    let junit = report.write(Form::Junit);
    well_formed(&junit);
    assert!(!junit.contains(['\u{0}', '\u{1b}']));
    for line in report.write(Form::Github).lines() {
        let ends = line.ends_with("failed");
        assert!(
            line.starts_with("::") && !line.starts_with("::error::") || ends,
            "{line}"
        );
    }
    let tap = report.write(Form::Tap);
    let points = tap
        .lines()
        .filter(|line| line.starts_with("ok") || line.starts_with("not ok"));
    assert_eq!(points.count(), 8);
    assert_eq!(tap.lines().filter(|line| *line == "  ...").count(), 5);
    for form in [Form::Json, Form::CodeQuality] {
        let value: serde_json::Value = serde_json::from_str(&report.write(form)).unwrap();
        assert!(!value.is_null());
    }
}
