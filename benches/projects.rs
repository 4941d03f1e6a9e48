//! How long does the command take on a project, from the start of the process to its exit?
//!
//! Fifty services on ten networks (`tests/data/fifty`): `vethlab check` asks who reaches whom, every service of every
//! other, by packets; `vethlab test` tries fifty-five expectations, by packets and by the model, one of them in a world
//! of its own. On: everything that is on for a user. Checked: the exit code, and that all of them pass.
//!
//! The anchor is `docker-compose config` on the same file, which reads it and prints it, where that is installed: the
//! first one of `docker-compose` and `docker compose` that works. Version 1 knows no `name` in a file: it gets a copy
//! without that line. The command is the one beside this bench: `cargo build --release -p vethlab-cli`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::common::{Report, Row, rounds};

const FIFTY: &str = "tests/data/fifty/compose.yaml";

/// The command, if it was built beside this bench.
pub(crate) fn binary() -> Option<PathBuf> {
    let bench = std::env::current_exe().ok()?;
    let binary = bench.parent()?.parent()?.join("vethlab");
    binary.is_file().then_some(binary)
}

/// Seconds from start to exit; it has to succeed.
fn seconds(program: &Path, args: &[&str]) -> f64 {
    let begun = Instant::now();
    let status = Command::new(program)
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("it runs");
    let spent = begun.elapsed().as_secs_f64();
    assert!(status.success(), "{} {args:?}: {status}", program.display());
    spent
}

/// Where a copy of the file without its name is written.
fn nameless() -> Option<&'static str> {
    const COPY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench/nameless.yaml");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join(FIFTY)).ok()?;
    let rest: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("name:"))
        .collect();
    std::fs::create_dir_all(Path::new(COPY).parent()?).ok()?;
    std::fs::write(COPY, rest.join("\n")).ok()?;
    Some(COPY)
}

/// `docker-compose config`, if there is one that works.
fn compose() -> Option<(PathBuf, Vec<&'static str>)> {
    let nameless = nameless()?;
    let candidates = [
        ("docker-compose", vec!["-f", FIFTY, "config"]),
        ("docker", vec!["compose", "-f", FIFTY, "config"]),
        ("docker-compose", vec!["-f", nameless, "config"]),
    ];
    candidates.into_iter().find_map(|(program, args)| {
        let works = Command::new(program)
            .args(&args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        works.then(|| (PathBuf::from(program), args))
    })
}

pub(crate) fn run(report: &mut Report) {
    let Some(binary) = binary() else {
        let why = "the command is not built: cargo build --release -p vethlab-cli";
        report.skip("check and test of fifty services", why);
        return;
    };
    report.about("fifty services, ten networks, from the start of the process to its exit");
    let compose = compose();
    if compose.is_none() {
        report.skip("docker-compose config", "it is not installed");
    }
    for verb in ["check", "test"] {
        let row = Row::cost(format!("{verb}, fifty services"), "s").reach(0.1);
        let args = [verb, FIFTY];
        match &compose {
            Some((program, config)) => row.against(
                report,
                ("vethlab", |_| seconds(&binary, &args)),
                ("docker-compose config", |_| seconds(program, config)),
            ),
            None => {
                let figures: Vec<f64> = (0..rounds().count.max(5))
                    .map(|_| seconds(&binary, &args))
                    .collect();
                row.record(report, ("vethlab", &figures), None);
            }
        }
    }
}
