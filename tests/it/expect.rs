//! Expectations, tried: each kind passes, fails, says nothing or is unknown where it should, with the lines that
//! cause it; packets and model agree.

use std::collections::BTreeMap;
use std::path::Path;

use emulator_compose::{Images, Options, Project};
use vethlab::core::docker::spec::Engine;
use vethlab::expect::{Outcome, Settings, Tested, run};
use vethlab::report::{Entry, Form, Report, Status};

const SHOP: &str = r#"
services:
  vote: {image: x, ports: ["8080:80"], networks: [front, back]}
  result:
    image: x
    ports:
      - "127.0.0.1:9229:9229"
      - "8081:80"
    networks: [front, back]
  worker: {image: x, networks: [back]}
  redis: {image: x, expose: [6379], networks: [back]}
  dns: {image: x, expose: [53/udp], networks: [back]}
  db: {image: x, expose: [5432], networks: [back, sealed]}
  admin: {image: x, expose: [80], networks: [other]}
  inner:
    image: x
    networks: [sealed]
    x-vethlab: {listen: ["127.0.0.1:3000", 4000]}
  apart: {image: x, expose: [80], networks: [quiet]}
  alone: {image: x, expose: [81], networks: [quiet]}
  twin: {image: x, expose: [7000], scale: 2, networks: [other]}
  side: {image: x, network_mode: "service:admin", x-vethlab: {listen: [90]}}
  onhost: {image: x, expose: [9999], network_mode: host}
networks:
  front: {}
  back: {}
  other: {}
  sealed: {internal: true}
  quiet: {driver_opts: {com.docker.network.bridge.enable_icc: "false"}}
"#;

fn load(text: &str) -> (Project, BTreeMap<String, String>) {
    let mut files = BTreeMap::from([("compose.yaml".to_owned(), text.to_owned())]);
    let options = Options {
        files: vec!["compose.yaml".to_owned()],
        project_name: Some("shop".to_owned()),
        ..Options::default()
    };
    let project = emulator_compose::load(&mut files, &options);
    let project = project.unwrap_or_else(|errors| panic!("{errors}"));
    (project, files)
}

fn outcome(services: &str, expect: &[&str], engine: Engine) -> Outcome {
    let list: String = expect
        .iter()
        .map(|text| format!("    - {text}\n"))
        .collect();
    let groups = "  groups: {data: [redis, db]}\n";
    let groups = if services == SHOP { groups } else { "" };
    let text = format!("x-vethlab:\n{groups}  expect:\n{list}{services}");
    let (project, mut files) = load(&text);
    let mut settings = Settings::of(&project, 0, Some(engine), Images::builtin()).unwrap();
    settings.keep = true;
    run(
        &[("shop/compose.yaml".to_owned(), &project)],
        &settings,
        &mut files,
    )
}

fn tried(services: &str, expect: &[&str]) -> Vec<Entry> {
    let mut projects = outcome(services, expect, Engine::V29).projects;
    let project = projects.remove(0);
    assert_eq!(project.error, None);
    project.entries
}

fn all(status: Status, cases: &[(&str, &str)]) {
    let sentences: Vec<&str> = cases.iter().map(|(sentence, _)| *sentence).collect();
    for (entry, (sentence, part)) in tried(SHOP, &sentences).iter().zip(cases) {
        assert_eq!(entry.status, status, "{sentence}: {}", entry.details);
        assert!(
            entry.details.contains(part),
            "{sentence}: no {part:?} in\n{}",
            entry.details
        );
    }
}

#[test]
fn what_holds() {
    let holds = [
        "vote -> redis:6379 allow via back",
        "vote -> dns:53/udp allow",
        "vote -> redis/icmp allow",
        "worker -> data allow",
        "worker -> data allow sees client",
        "outside -> vote:8080 allow sees client",
        "outside -> vote:80 allow",
        "host -> result:9229 allow",
        "lan, outside -> result:9229 deny",
        "lan, outside -> data deny",
        "inner -> internet deny",
        "vote -> internet allow",
        "inner -> lan deny",
        "vote resolves redis to 1 address on back",
        "vote resolves db to 1 address on back",
        "worker does not resolve admin",
        "admin resolves twin to 2 addresses on other",
        "admin -> twin allow",
        "vote -> redis:6379 allow after recreate redis",
        "vote -> redis:6379 allow after recreate redis moved",
        "vote -> redis:6379 allow after recreate redis resolve once",
        "vote -> redis:6379 deny after recreate redis moved resolve once",
        "vote does not resolve redis after down redis",
        "vote does not resolve redis before redis is up",
        "db -> inner:4000 allow",
        "db -> inner:3000 deny",
        "apart -> alone deny",
        "admin -> side:90 allow",
        "only vote, result, worker, redis, dns, inner -> db:5432",
        "admin -> onhost:9999 allow",
    ];
    let cases: Vec<(&str, &str)> = holds.iter().map(|&sentence| (sentence, "")).collect();
    all(Status::Pass, &cases);
}

#[test]
fn what_fails_and_why() {
    all(
        Status::Fail,
        &[
            ("worker -> admin allow", "they share no network"),
            ("outside -> db:5432 allow", "db does not publish 5432"),
            (
                "outside -> vote:8080 deny",
                "The port is published at 192.0.2.2:8080 of this host",
            ),
            ("admin -> vote:80 deny", "where it is published"),
            ("vote -> redis:6379 deny", "vote reaches redis:6379 by name"),
            ("only worker -> db:5432", "vote reaches db:5432"),
            ("vote -> redis:6379 allow via front", "through back"),
            ("outside -> vote:8080 allow sees gateway", "not a gateway"),
            (
                "outside -> result:9229 allow",
                "published at 127.0.0.1 of the host alone",
            ),
            ("db -> inner:3000 allow", "inner listens on 127.0.0.1 alone"),
            ("apart -> alone allow", "may not talk to each other"),
            ("worker -> side:90 allow", "call admin"),
            ("inner -> internet allow", "sealed is internal"),
            (
                "vote -> internet deny",
                "vote is on front, which is not internal",
            ),
            ("vote resolves redis to 2 addresses", "redis gives vote"),
            ("vote resolves db on sealed", "not an address on sealed"),
            ("worker resolves admin", "gives worker nothing"),
            (
                "vote -> redis:6379 allow before redis is up",
                "redis does not run then",
            ),
            (
                "vote -> redis:6379 allow after down redis",
                "redis does not run then",
            ),
            (
                "vote -> redis:6379 allow after recreate redis moved resolve once",
                "which redis does not have",
            ),
            ("vote -> redis:9 allow", "redis is not known to listen on 9"),
        ],
    );
}

/// Whoever is on the segment may add a route to a network. Docker 20.10 lets it in at what is published, on loopback
/// too; 29 does not.
#[test]
fn a_route_that_lan_adds() {
    let sentences = [
        "lan -> result:9229 deny",
        "internet -> result:9229 deny",
        "lan -> db:5432 deny",
    ];
    for (engine, first) in [(Engine::V20_10, Status::Fail), (Engine::V29, Status::Pass)] {
        let outcome = outcome(SHOP, &sentences, engine);
        let entries = &outcome.projects[0].entries;
        let statuses: Vec<Status> = entries.iter().map(|entry| entry.status).collect();
        assert_eq!(statuses, [first, Status::Pass, Status::Pass], "{engine:?}");
        let text = format!("{}\n{}", entries[0].summary, entries[0].details);
        let said = text.contains("via a route that it adds: 172.")
            && text.contains(".0.0/16 via 192.0.2.2");
        assert_eq!(said, first == Status::Fail, "{text}");
    }
}

#[test]
fn what_says_nothing() {
    all(
        Status::Vacuous,
        &[
            ("lan -> redis:9 deny", "redis is not known to listen on 9"),
            (
                "vote -> redis:6379 deny after down redis",
                "redis does not run then",
            ),
            ("vote -> host:1 deny", "nobody answers host:1"),
            ("vote -> internet:22 deny", "nobody answers internet:22"),
            ("vote -> 10.99.0.1:80 deny", "nobody answers 10.99.0.1:80"),
            (
                "vote does not resolve redsi.x",
                "nobody knows the name redsi.x",
            ),
        ],
    );
}

#[test]
fn what_nobody_knows() {
    all(
        Status::Unknown,
        &[
            (
                "vote -> worker allow",
                "nobody states a port that worker listens on",
            ),
            ("vote -> worker:80 deny", "x-vethlab: {listen: [PORT]}"),
        ],
    );
}

/// A failure names the line, the frames, and the capture in which they are; the capture is there.
#[test]
fn frames_are_named_and_kept() {
    let outcome = outcome(SHOP, &["vote -> redis:6379 deny"], Engine::V29);
    let details = &outcome.projects[0].entries[0].details;
    assert!(details.contains("--> compose.yaml:4:7"), "{details}");
    assert!(details.contains("frames "), "{details}");
    let capture = &outcome.captures[0];
    assert_eq!(capture.name, "shop-compose-yaml.pcapng");
    assert!(details.contains(&capture.name), "{details}");
    assert_eq!(capture.bytes[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    let frames = details.split("frames ").nth(1).unwrap();
    let last: usize = frames
        .split(['-', ' ', '\n', ']'])
        .nth(1)
        .and_then(|number| number.parse().ok())
        .unwrap();
    let packets = pcap_file::pcapng::PcapNgReader::new(&capture.bytes[..]);
    let mut packets = packets.unwrap();
    let mut seen = 0;
    while let Some(block) = packets.next_block() {
        let (block, _) = block.unwrap();
        seen += usize::from(matches!(block, pcap_file::pcapng::Block::EnhancedPacket(_)));
    }
    assert!(last > 1 && last <= seen, "{last} of {seen}: {details}");
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let expect = [
        "vote -> redis:6379 deny",
        "outside -> db:5432 allow",
        "any -> any deny",
    ];
    let report = || Report {
        projects: outcome(SHOP, &expect, Engine::V29).projects,
        gone: Vec::new(),
    };
    assert_eq!(report().write(Form::Json), report().write(Form::Json));
}

/// Whatever is claimed of whomever, packets and model say the same, whichever engine.
#[test]
fn packets_and_model_agree() {
    let expect = [
        "any -> any deny",
        "any, host, lan, internet -> any allow",
        "any -> host, lan, internet deny",
        "host, lan, internet -> any deny",
        "any -> any deny after recreate admin moved",
        "any -> any deny after down db",
        "any -> any deny before redis is up",
        "any -> any/icmp allow",
        "outside -> any/icmp deny",
    ];
    for engine in [Engine::V29, Engine::V20_10] {
        let outcome = outcome(SHOP, &expect, engine);
        for entry in &outcome.projects[0].entries {
            assert_ne!(entry.status, Status::Bug, "{engine:?}: {}", entry.details);
        }
    }
}

/// Whatever is claimed of other people's projects, packets and model say the same.
#[test]
fn the_corpus_agrees() {
    let Some(corpus) = crate::rig::corpus() else {
        return crate::rig::skip("no corpus beside the project");
    };
    let mut folders = vec![corpus.join("compose")];
    let (mut tried, mut calls) = (0, 0);
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.path()));
        for entry in entries {
            let path = entry.path();
            let name = path.to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".yaml") || name.ends_with(".yml") {
                // Files of a repository name one another, and its `.git` is not in the corpus.
                let loaded = vethlab::files::load_with(Options {
                    files: vec![name.clone()],
                    allow_outside: true,
                    ..Default::default()
                });
                let Ok(mut project) = loaded else { continue };
                let sentences = [
                    "any, host, lan, internet -> any deny",
                    "any -> host, lan, internet deny",
                ];
                project.vethlab.expect = sentences
                    .iter()
                    .map(|text| emulator_compose::Expectation::parse(text, &project).unwrap())
                    .collect();
                let settings = Settings::of(&project, 0, None, Images::builtin()).unwrap();
                let ran = run(
                    &[(name.clone(), &project)],
                    &settings,
                    &mut vethlab::files::Disk,
                );
                for entry in &ran.projects[0].entries {
                    assert_ne!(entry.status, Status::Bug, "{name}: {}", entry.details);
                    calls += entry.details.lines().count();
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 100 && calls > tried, "{tried} projects");
}

/// A name that two services share leads to both: an expectation about one of them says so.
#[test]
fn a_shared_alias_is_found() {
    let text = r"
services:
  web: {image: x}
  db: {image: x, expose: [5432]}
  old: {image: x, expose: [5432], networks: {default: {aliases: [db]}}}
";
    let entries = tried(text, &["web -> db:5432 allow"]);
    assert_eq!(entries[0].status, Status::Fail, "{}", entries[0].details);
    assert!(
        entries[0].details.contains("old has this alias"),
        "{}",
        entries[0].details
    );
}

/// A dial that leads nowhere is noted, and fails nothing.
#[test]
fn dials_are_noted() {
    let text = r"
services:
  web: {image: x, depends_on: [db], networks: [a]}
  db: {image: x, expose: [5432], networks: [b]}
networks: {a: {}, b: {}}
";
    let outcome = outcome(text, &["web -> db:5432 deny"], Engine::V29);
    let project = &outcome.projects[0];
    assert_eq!(project.entries[0].status, Status::Pass);
    let notes: Vec<&str> = project
        .notes
        .iter()
        .map(|note| note.text.as_str())
        .collect();
    assert_eq!(
        notes,
        ["web dials db:5432 (depends_on): the name does not resolve"]
    );
}

/// The projects of a host as a library: sentences that span them, what stands in the file, and what is wrong.
#[test]
fn a_host_is_held_to_its_expectations() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/two-projects/vethlab.yaml"
    );
    let server = Tested::load(file).unwrap();
    assert!(server.project().service("edge/proxy").is_some());
    server.assert_all();
    server.assert("edge/proxy -> blog/ghost:2368 allow via web");
    let failed = server
        .check("edge/proxy -> blog/db:3306 allow")
        .unwrap_err();
    assert!(
        failed.contains("edge/proxy does not reach blog/db:3306"),
        "{failed}"
    );
    assert!(
        failed.contains("fix (tried): put blog/db on web"),
        "{failed}"
    );
    let wrong = server.check("edge/proxy -> ghost:2368 allow").unwrap_err();
    assert!(wrong.contains("ghost"), "{wrong}");
    let wrong = Tested::load_host(file, "sever").unwrap_err();
    // As a test prints it that unwraps it.
    let wrong = format!("{wrong:?}");
    assert!(wrong.contains("no host or project \"sever\""), "{wrong}");
    assert!(wrong.contains("did you mean `server`?"), "{wrong}");
}

/// A capture of what fails, for a test in Rust as for `vethlab test`.
#[test]
fn a_failing_test_leaves_a_capture_where_it_is_asked_for() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/two-projects/vethlab.yaml"
    );
    let mut server = Tested::load(file).unwrap();
    let wrong = "lan -> edge/proxy:80 deny";
    let failed = server.check(wrong).unwrap_err();
    assert!(
        failed.contains(".pcapng, which is written after `Tested::keep_in`"),
        "{failed}"
    );
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("keep-in");
    let _none = std::fs::remove_dir_all(&folder);
    server.keep_in(&folder);
    server.assert("edge/proxy -> blog/ghost:2368 allow via web");
    assert!(!folder.exists(), "nothing failed");
    let failed = server.check(wrong).unwrap_err();
    let words = failed.split_whitespace();
    let name = words
        .map(|word| word.trim_end_matches([',', ':']))
        .find(|word| word.ends_with(".pcapng"));
    let bytes = std::fs::read(folder.join(name.unwrap())).unwrap();
    assert_eq!(bytes[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    server.keep_in("/dev/null/no");
    let failed = server.check(wrong).unwrap_err();
    assert!(failed.contains("/dev/null/no: "), "{failed}");
}

/// What would let the server see its client was tried, and nothing that only closes the port is told.
#[test]
fn a_fix_for_another_source_is_tried() {
    let text = "services:\n  web: {image: x, ports: ['[::]:8080:80'], networks: [front]}\nnetworks: {front: {}}\n";
    let entries = tried(text, &["lan -> web:8080 allow sees client"]);
    let details = &entries[0].details;
    assert!(details.contains("not the client"), "{details}");
    assert!(
        details.contains("fix (tried): give front IPv6, so that no docker-proxy stands between"),
        "{details}"
    );
    assert!(!details.contains("do not publish"), "{details}");
}

#[test]
fn failures_without_a_tried_fix_say_so() {
    let text = "services:\n  a: {image: x, networks: [one]}\n  b: {image: x, expose: [80], networks: [one, two]}\nnetworks: {one: {}, two: {}}\n";
    let entries = tried(text, &["a -> b:80 deny"; 17]);
    let details: Vec<&String> = entries.iter().map(|entry| &entry.details).collect();
    for had in &details[..16] {
        assert!(had.contains("fix (tried): take b off one"), "{had}");
        assert!(!had.contains("no fix was tried"), "{had}");
    }
    assert!(
        details[16].contains("no fix was tried: 16 failures of the same run had theirs"),
        "{}",
        details[16]
    );
}
