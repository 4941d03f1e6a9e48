//! `--host FILE` of the verbs that build a world: the machine's own addresses are asked, and what is wrong with the
//! file is told with its place.

mod rig;

use std::fs;
use std::path::{Path, PathBuf};

use rig::{texts, vethlab};

const PROJECT: &str = "services:
  web: {image: nginx, ports: ['8080:80'], networks: [front]}
  db: {image: postgres, ports: ['10.99.1.2:5432:5432'], networks: [back]}
networks: {front: {}, back: {}}
";
const MACHINE: &str = r#"{
  "routes": [{"dst": "default", "gateway": "10.20.30.254", "dev": "ens3"}, {"dst": "172.18.0.0/16", "dev": "tun0"}],
  "addresses": [
    {"ifname": "ens3", "mtu": 1400, "addr_info": [{"local": "10.20.30.40", "prefixlen": 24}]},
    {"ifname": "tun0", "mtu": 1420, "addr_info": [{"local": "10.99.1.2", "prefixlen": 16}]}]}"#;

fn scratch(test: &str, machine: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("host")
        .join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("compose.yaml"), PROJECT).unwrap();
    fs::write(folder.join("machine.json"), machine).unwrap();
    folder
}

fn says(args: &[&str], folder: &Path, host: bool, code: i32) -> String {
    let [file, machine] = ["compose.yaml", "machine.json"].map(|name| folder.join(name));
    let (file, machine) = (file.to_str().unwrap(), machine.to_str().unwrap());
    let mut all: Vec<&str> = args
        .iter()
        .map(|&arg| if arg == "FILE" { file } else { arg })
        .collect();
    if host {
        all.extend(["--host", machine]);
    }
    let output = vethlab(&all);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {out}{err}");
    out + &err
}

#[test]
fn the_machines_addresses_are_asked() {
    let folder = scratch("asked", MACHINE);
    let check = says(&["check", "FILE"], &folder, true, 0);
    assert!(check.contains("host 10.20.30.40:8080"), "{check}");
    assert!(!check.contains("192.0.2.2"), "{check}");
    let matrix = says(&["matrix", "FILE", "--format", "json"], &folder, true, 0);
    // Published at the VPN's address: whoever has no way there does not reach it.
    assert!(matrix.contains("10.99.1.2:5432"), "{matrix}");
    // The host is on 172.18.0.0/16 already, so the engine begins one later.
    assert!(
        !matrix.contains("172.18.0.2") && matrix.contains("172.19.0.2"),
        "{matrix}"
    );
    let why = says(&["why", "FILE", "internet", "web:80"], &folder, true, 0);
    assert!(why.contains("10.20.30.40:8080"), "{why}");
    let opened = says(&["diff", "FILE", "FILE"], &folder, true, 0);
    assert!(!opened.contains("10.20"), "{opened}");
    let expected =
        "x-vethlab: {expect: [host -> db:5432 allow, web -> db:5432 allow, lan -> db:5432 deny]}\n";
    fs::write(folder.join("compose.yaml"), format!("{expected}{PROJECT}")).unwrap();
    let test = says(&["test", "FILE"], &folder, true, 1);
    // By name: the published port is a door that nobody asked for.
    assert!(test.contains("web -> db:5432"), "{test}");
}

/// Without the machine nobody has that address, and Docker says so.
#[test]
fn an_address_of_another_machine_cannot_be_bound() {
    let folder = scratch("bound", "{}");
    let check = says(&["check", "FILE"], &folder, false, 0);
    assert!(check.contains("cannot assign requested address"), "{check}");
}

#[test]
fn what_is_wrong_with_the_file_has_a_place() {
    let machine = "uplink: ens4\naddresses:\n  - {ifname: ens3}\n";
    let folder = scratch("wrong", machine);
    for verb in [
        &["check", "FILE"][..],
        &["matrix", "FILE"],
        &["why", "FILE", "web", "db"],
        &["diff", "FILE", "FILE"],
        &["test", "FILE"],
        &["lint", "FILE"],
    ] {
        let said = says(verb, &folder, true, 2);
        assert!(said.contains("machine.json:1:9"), "{said}");
        assert!(said.contains("no interface \"ens4\""), "{said}");
        assert!(said.contains("ens3"), "{said}");
    }
}
