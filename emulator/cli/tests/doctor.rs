//! `vethlab doctor` as a real process: what it finds is so, and nothing is left.
#![cfg(target_os = "linux")]

mod rig;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rig::{command, texts};

/// How long something may take that takes no time.
const LIMIT: Duration = Duration::from_secs(60);

/// A folder for control sockets that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let name = format!("vethlab-doctor-{}-{test}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _gone = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// A way: its name, whether it works, why, and what does instead.
type Way = (String, bool, String, Option<String>);

/// Whether projects can be brought up, and every way.
fn ways(text: &str) -> (bool, Vec<Way>) {
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    let list = value["ways"].as_array().unwrap().iter().map(|way| {
        let text = |key: &str| way[key].as_str().map(str::to_owned);
        (
            text("way").unwrap(),
            way["works"].as_bool().unwrap(),
            text("why").unwrap(),
            text("instead"),
        )
    });
    (value["up"].as_bool().unwrap(), list.collect())
}

fn interfaces() -> Vec<String> {
    let all = fs::read_dir("/sys/class/net").unwrap();
    let mut names: Vec<String> = all
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn it_finds_what_works_and_leaves_nothing() {
    if !rig::loopback() {
        return;
    }
    let scratch = Scratch::new("here");
    let before = interfaces();
    let run = |args: &[&str]| {
        let output = command(&[&["doctor"], args].concat())
            .env("XDG_RUNTIME_DIR", &scratch.0)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .output()
            .unwrap();
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(0), "{out}{err}");
        out
    };
    let (up, ways) = ways(&run(&["--format", "json"]));
    assert!(up);
    let of = |name: &str| ways.iter().find(|way| way.0 == name).unwrap();
    for name in [
        "real-time",
        "control-socket",
        "published-tcp",
        "published-udp",
        "proxy",
        "upstream",
        "capture",
    ] {
        assert!(of(name).1, "{:?}", of(name));
    }
    // It agrees with whoever tries it by another way.
    let unshared = Command::new("unshare").args(["-Urn", "true"]).status();
    let veth = Command::new("unshare")
        .args(["-Urn", "ip", "link", "add", "type", "veth"])
        .status();
    if veth.is_ok_and(|status| status.success()) {
        assert!(of("attach-user-veth").1, "{:?}", of("attach-user-veth"));
    } else if unshared.is_ok_and(|status| !status.success()) {
        let way = of("attach-user-veth");
        assert!(!way.1 && way.2.contains("user namespaces"), "{way:?}");
    }
    for (name, works, why, instead) in &ways {
        assert!(!why.is_empty() && !why.contains('\n'), "{name}: {why}");
        assert_eq!(instead.is_none(), *works, "{name}");
    }
    let table = run(&[]);
    assert!(table.starts_with("WAY "), "{table}");
    assert_eq!(table.lines().count(), ways.len() + 1, "{table}");
    // Others' may come and go meanwhile.
    let begin = Instant::now();
    while let Some(name) = interfaces().iter().find(|name| !before.contains(name)) {
        assert!(begin.elapsed() < LIMIT, "{name} is left");
        std::thread::sleep(Duration::from_millis(20));
    }
    let left: Vec<_> = fs::read_dir(scratch.0.join("vethlab")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn where_loopback_is_down_it_says_so() {
    let scratch = Scratch::new("down");
    let program = env!("CARGO_BIN_EXE_vethlab");
    let possible = Command::new("unshare").args(["-Urn", "true"]).status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no user namespace here");
        return;
    }
    let output = Command::new("unshare")
        .args(["-Urn", program, "doctor", "--format", "json"])
        .env("XDG_RUNTIME_DIR", &scratch.0)
        .output()
        .unwrap();
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    let (up, ways) = ways(&out);
    assert!(!up);
    for name in ["published-tcp", "egress-tcp"] {
        let way = ways.iter().find(|way| way.0 == name).unwrap();
        assert!(!way.1 && way.3.is_some(), "{way:?}");
    }
    // Who is root there may make a TAP where `ip` may.
    let tap = ["-Urn", "ip", "tuntap", "add", "dev", "tap0", "mode", "tap"];
    if let Ok(output) = Command::new("unshare").args(tap).output() {
        for name in ["tap", "plain-tap"] {
            let way = ways.iter().find(|way| way.0 == name).unwrap();
            assert_eq!(way.1, output.status.success(), "{way:?}");
        }
    }
}

#[test]
fn an_unknown_trial_is_refused() {
    let output = rig::vethlab(&["doctor", "--try", "luck"]);
    assert_eq!(output.status.code(), Some(2));
}
