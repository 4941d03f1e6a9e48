//! Files that a project names outside of itself: refused by every verb that loads, with the place and without a
//! byte of what is in them.

mod rig;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rig::{command, texts};

const SECRET: &str = "swordfish: [hunter2\nAWS_KEY=hunter3\n";
const COMMON: &str = "services: {base: {image: nginx}}\n";

/// A folder with a project in `p`, and beside it a secret and a file that many a project has there.
fn folder(name: &str, tree: Option<&str>) -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("vethlab-outside-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("p/sub")).unwrap();
    fs::write(folder.join("secret"), SECRET).unwrap();
    fs::write(folder.join("common.yaml"), COMMON).unwrap();
    if let Some(tree) = tree {
        fs::create_dir(folder.join(tree).join(".git")).unwrap();
    }
    symlink("../secret", folder.join("p/link")).unwrap();
    symlink("..", folder.join("p/up")).unwrap();
    fs::canonicalize(folder).unwrap()
}

fn vethlab(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = command(args).current_dir(folder).output().unwrap();
    let (out, err) = texts(&output);
    (output.status.code(), out, err)
}

fn refused(folder: &Path, args: &[&str]) -> String {
    let (code, out, err) = vethlab(folder, args);
    let all = out + &err;
    assert_eq!(code, Some(2), "{args:?}: {all}");
    assert!(all.contains("outside of"), "{args:?}: {all}");
    assert!(all.contains("--allow-outside"), "{args:?}: {all}");
    for word in ["swordfish", "hunter", "AWS_KEY"] {
        assert!(!all.contains(word), "{args:?}: {all}");
    }
    all
}

#[test]
fn every_way_of_naming_a_file_stops_at_the_project() {
    for (name, tree) in [("folder", None), ("tree", Some("p"))] {
        let here = folder(name, tree);
        let secret = here.join("secret").display().to_string();
        for line in [
            "include: [../secret]".to_owned(),
            format!("include: [{secret}]"),
            "include: [link]".to_owned(),
            "include: [up/secret]".to_owned(),
            "include: [{path: in.yaml, env_file: ../secret}]".to_owned(),
            "include: [{path: [in.yaml, ../secret]}]".to_owned(),
            "services: {a: {extends: {file: ../secret, service: a}}}".to_owned(),
            "services: {a: {image: i, env_file: ../secret}}".to_owned(),
            format!(
                "services: {{a: {{image: i, env_file: [{{path: {secret}, required: false}}]}}}}"
            ),
        ] {
            fs::write(here.join("p/in.yaml"), COMMON).unwrap();
            fs::write(here.join("p/compose.yaml"), format!("{line}\n")).unwrap();
            let said = refused(&here, &["check", "p/compose.yaml"]);
            assert!(said.contains("p/compose.yaml:1:"), "{line}: {said}");
            assert!(said.contains(&line), "the line is underlined: {said}");
        }
        fs::remove_dir_all(here).unwrap();
    }
}

#[test]
fn every_verb_that_loads_refuses() {
    let here = folder("verbs", None);
    fs::write(here.join("p/compose.yaml"), "include: [../secret]\n").unwrap();
    fs::write(here.join("good.yaml"), COMMON).unwrap();
    let file = "p/compose.yaml";
    for args in [
        &["check", file][..],
        &["matrix", file],
        &["why", file, "a", "b"],
        &["diff", "good.yaml", file],
        &["lint", file],
        &["init", file],
        &["test", file],
        &["watch", "--runs", "1", file],
        &["up", file],
        &["down", "-f", file],
    ] {
        refused(&here, args);
    }
    fs::remove_dir_all(here).unwrap();
}

#[test]
fn found_variables_and_listed_files_stop_there_too() {
    let here = folder("found", None);
    fs::write(here.join("p/compose.yaml"), COMMON).unwrap();
    symlink("../secret", here.join("p/.env")).unwrap();
    refused(&here, &["check", "p/compose.yaml"]);
    fs::remove_file(here.join("p/.env")).unwrap();
    for listed in [
        "files: [../secret]",
        "{files: [compose.yaml], env_file: ../secret}",
        "{files: [compose.yaml], images: [../secret]}",
        "{files: [compose.yaml], host: ../secret}",
    ] {
        fs::write(here.join("p/vethlab.yaml"), listed).unwrap();
        refused(&here, &["test", "p"]);
        refused(&here, &["lint", "p"]);
        refused(&here, &["check", "p/vethlab.yaml"]);
    }
    fs::remove_dir_all(here).unwrap();
}

#[test]
fn what_is_inside_or_allowed_or_given_by_hand_is_read() {
    let here = folder("allowed", None);
    let text = "include: [../common.yaml]\nservices: {a: {image: i}}\n";
    fs::write(here.join("p/compose.yaml"), text).unwrap();
    refused(&here, &["check", "p/compose.yaml"]);
    let file = here.join("p/compose.yaml").display().to_string();
    let allowed = rig::vethlab(&["check", "--allow-outside", &file]);
    assert_eq!(allowed.status.code(), Some(0), "{:?}", texts(&allowed));
    let (code, _, err) = vethlab(&here, &["lint", "p/compose.yaml", "--allow-outside"]);
    assert_eq!(code, Some(0), "{err}");
    // The work tree's other folders are the project's own.
    fs::write(here.join(".git"), "gitdir: elsewhere\n").unwrap();
    let (code, _, err) = vethlab(&here, &["check", "p/compose.yaml"]);
    assert_eq!(code, Some(0), "{err}");
    fs::remove_file(here.join(".git")).unwrap();
    // Whoever types a path means it.
    fs::write(here.join("p/compose.yaml"), "services: {a: {image: i}}\n").unwrap();
    let (code, _, err) = vethlab(
        &here.join("p"),
        &["check", "compose.yaml", "../common.yaml"],
    );
    assert_eq!(code, Some(0), "{err}");
    // A file that is not there is not there, wherever it would be.
    let text = "services: {a: {image: i, env_file: [{path: ../no, required: false}]}}\n";
    fs::write(here.join("p/compose.yaml"), text).unwrap();
    let (code, _, err) = vethlab(&here, &["check", "p/compose.yaml"]);
    assert_eq!(code, Some(0), "{err}");
    fs::remove_dir_all(here).unwrap();
}
