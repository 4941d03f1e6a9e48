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
    let files = [("compose.yaml", PROJECT), ("machine.json", machine)];
    rig::folder("host", test, &files)
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

/// The projects of a host are one world: services are told apart by their projects, and ports are shared.
#[test]
fn the_projects_of_a_host_together() {
    let config = "examples/two-projects/vethlab.yaml";
    let run = |args: &[&str], code: i32| {
        let output = vethlab(args);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {out}{err}");
        out + &err
    };
    let check = run(&["check", config], 0);
    assert!(check.contains("project server"), "{check}");
    // Both projects are on `web`; the database is on its own project's network alone.
    let row = |from: &str, to: &str| {
        let mut lines = check
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let found = lines.find(|words| words.starts_with(&[from, to]));
        found.unwrap_or_else(|| panic!("no {from} {to} in\n{check}"))[3].to_owned()
    };
    assert_eq!(row("edge/proxy", "blog/ghost:2368"), "yes");
    assert_eq!(row("blog/ghost", "edge/proxy:80"), "yes");
    assert_eq!(row("edge/proxy", "blog/db:3306"), "no");
    let matrix = run(&["matrix", "--on", "server", "--format", "csv", config], 0);
    assert!(
        matrix.contains("edge/proxy") && matrix.contains("blog/db"),
        "{matrix}"
    );
    let lock = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("together.lock");
    let _ = fs::remove_file(&lock);
    let lock = lock.to_str().unwrap();
    run(&["matrix", "--update", lock, config], 0);
    assert_eq!(run(&["matrix", "--check", lock, config], 0), "");
    let wrong = run(&["check", "--on", "sever", config], 2);
    assert!(
        wrong.contains("no host or project \"sever\"") && wrong.contains("`server`"),
        "{wrong}"
    );
    let wrong = run(
        &["check", "--on", "server", "examples/shop/compose.yaml"],
        2,
    );
    assert!(wrong.contains("--on goes with a vethlab.yaml"), "{wrong}");
}

/// `why` and `diff` of the projects of a host: steps, lines of each project's own files, changes that were tried.
#[test]
fn why_and_diff_of_the_projects_of_a_host() {
    let folder = scratch("spans", "{}");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let config =
        "projects: {a: {files: a.yaml}, b: {files: b.yaml}}\nhosts: {one: {projects: [b, a]}}\n";
    write("vethlab.yaml", config);
    let a = "name: first\nservices:\n  web: {image: x, networks: [front]}\nnetworks: {front: {name: front}}\n";
    write("a.yaml", a);
    let b = "name: second\nservices:\n  db: {image: x, expose: [5432], networks: [back]}\nnetworks: {back: {}, front: {external: true}}\n";
    write("b.yaml", b);
    let run = |args: &[&str], code: i32| {
        let output = vethlab(args);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {out}{err}");
        out + &err
    };
    let lock = path("one.lock");
    let config = path("vethlab.yaml");
    let _ = fs::remove_file(&lock);
    run(&["matrix", "--update", &lock, &config], 0);
    let why = run(&["why", "--on", "one", &config, "a/web", "b/db:5432"], 1);
    for text in [
        "a.yaml:3:",
        "b.yaml:3:",
        "a/web is on front",
        "b/db on second_back",
        "put a/web on second_back",
        "put b/db on front",
    ] {
        assert!(why.contains(text), "no {text:?} in\n{why}");
    }
    write("b.yaml", &b.replace("[back]", "[back, front]"));
    let why = run(&["why", &config, "a/web", "b/db"], 0);
    assert!(why.contains("take b/db off front"), "{why}");
    let diff = run(&["diff", "--fail-on", "gained", &lock, &config], 1);
    assert!(diff.contains("a/web -> b/db:5432"), "{diff}");
    run(
        &[
            "diff",
            "--on",
            "one",
            "--fail-on",
            "any",
            &path(""),
            &config,
        ],
        0,
    );
    let wrong = run(&["why", &config, "web", "b/db"], 2);
    assert!(
        wrong.contains("no service \"web\"") && wrong.contains("a/web"),
        "{wrong}"
    );
    let wrong = run(&["diff", "--on", "two", &config, &config], 2);
    assert!(wrong.contains("no host or project \"two\""), "{wrong}");
}

/// What the projects of a host take from each other, in Docker's words.
#[test]
fn ports_and_subnets_that_meet_on_a_host() {
    let folder = scratch("meet", "{}");
    let one = |name: &str, subnet: &str| {
        let text = format!(
            "name: {name}\nservices:\n  web: {{image: nginx, ports: ['80:80']}}\nnetworks:\n  default: {{ipam: {{config: [{{subnet: {subnet}}}]}}}}\n"
        );
        fs::write(folder.join(format!("{name}.yaml")), text).unwrap();
    };
    one("a", "10.1.0.0/16");
    one("b", "10.2.0.0/16");
    let config =
        "projects: {a: {files: a.yaml}, b: {files: b.yaml}}\nhosts: {one: {projects: [a, b]}}\n";
    fs::write(folder.join("vethlab.yaml"), config).unwrap();
    let config = folder.join("vethlab.yaml");
    let config = config.to_str().unwrap();
    let run = |code: i32| {
        let output = vethlab(&["check", config]);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{out}{err}");
        out + &err
    };
    let said = run(0);
    assert!(said.contains("b-web-1 does not start"), "{said}");
    assert!(
        said.contains("Bind for 0.0.0.0:80 failed: port is already allocated"),
        "{said}"
    );
    assert!(said.contains("b.yaml:3:3"), "{said}");
    one("b", "10.1.5.0/24");
    let said = run(2);
    assert!(said.contains("b.yaml:5:"), "{said}");
    assert!(
        said.contains("Pool overlaps with other one on this address space"),
        "{said}"
    );
}

/// What is expected of a host is read by `lint` too, and its projects' names are known to each other.
#[test]
fn lint_reads_what_is_expected_of_a_host() {
    let folder = scratch("lint", "{}");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    write(
        "a.yaml",
        "name: a\nservices: {web: {image: x, expose: [80]}}\n",
    );
    write(
        "b.yaml",
        "name: b\nservices: {db: {image: x, expose: [80]}}\n",
    );
    let config = |sentence: &str| {
        format!(
            "projects: {{a: {{files: a.yaml}}, b: {{files: b.yaml}}}}\nhosts:\n  one:\n    projects: [a, b]\n    expect:\n      - {sentence}\n"
        )
    };
    let run = |code: i32| {
        let output = vethlab(&["lint", folder.to_str().unwrap()]);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{out}{err}");
        out + &err
    };
    write("vethlab.yaml", &config("a/web -> b/db:80 deny"));
    run(0);
    write("vethlab.yaml", &config("a/web -> b/dbs:80 deny"));
    let said = run(2);
    assert!(said.contains("vethlab.yaml:6:18"), "{said}");
    assert!(said.contains("b/dbs") && said.contains("b/db"), "{said}");
    write("vethlab.yaml", &config("a/web ->"));
    assert!(run(2).contains("vethlab.yaml:6:"));
    // A project that does not load is told once, and nothing else of the host.
    write("b.yaml", "services: {db: {imag: x}}\n");
    let said = run(2);
    assert_eq!(
        said.matches("additional properties 'imag'").count(),
        1,
        "{said}"
    );
    assert!(!said.contains("vethlab.yaml:6"), "{said}");
}

/// A first vethlab.yaml of projects that run together, and what is missing under a host that is there.
#[test]
fn init_of_projects_together() {
    let folder = scratch("init", "{}");
    let run = |args: &[&str], code: i32| {
        let output = rig::command(args).current_dir(&folder).output().unwrap();
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {out}{err}");
        out + &err
    };
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    write(
        "edge.yaml",
        "name: edge\nservices: {proxy: {image: x, environment: {APP: 'http://ghost:2368'}, networks: [web]}}\nnetworks: {web: {name: web}}\n",
    );
    write(
        "blog.yaml",
        "name: blog\nservices: {ghost: {image: ghost, networks: [web]}}\nnetworks: {web: {external: true}}\n",
    );
    run(
        &[
            "init",
            "--together",
            "--output",
            "vethlab.yaml",
            "edge.yaml",
            "blog.yaml",
        ],
        0,
    );
    let tested = run(&["test"], 0);
    assert!(tested.contains("server"), "{tested}");
    let host = run(&["init", "--on", "server", "vethlab.yaml"], 0);
    assert!(
        host.starts_with("hosts:\n  server:\n    projects: [edge, blog]\n    expect:\n"),
        "{host}"
    );
    assert!(
        host.contains("- edge/proxy -> blog/ghost:2368 allow  # edge: edge.yaml:2 APP"),
        "{host}"
    );
    let own = run(
        &[
            "init",
            "--force",
            "--output",
            "vethlab.yaml",
            "vethlab.yaml",
        ],
        2,
    );
    assert!(own.contains("is what is read"), "{own}");
    // Files are named from where the file is written.
    fs::create_dir(folder.join("ci")).unwrap();
    run(&["init", "--output", "ci/vethlab.yaml", "edge.yaml"], 0);
    let written = fs::read_to_string(folder.join("ci/vethlab.yaml")).unwrap();
    assert!(written.contains("../edge.yaml"), "{written}");
    let twice = run(&["init", "--together", "edge.yaml", "edge.yaml"], 2);
    assert!(
        twice.contains("two projects are named edge on one host"),
        "{twice}"
    );
}
