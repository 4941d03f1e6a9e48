//! `vethlab why` and `vethlab watch` as a person runs them, and the examples' own expectations.

mod rig;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rig::{command, root, says, texts, vethlab};

fn scratch(test: &str) -> PathBuf {
    rig::folder("why", test, &[])
}

/// A question to an example: its name, who asks whom, and the exit code.
const QUESTIONS: [(&str, &str, &str, i32); 10] = [
    ("voting-app", "vote", "db:5432", 0),
    ("voting-app", "lan", "db", 1),
    ("voting-app", "internet", "vote", 0),
    ("voting-app", "internet", "result:9229", 1),
    ("voting-app", "db", "internet", 0),
    ("shop", "catalog", "orders-db", 1),
    ("shop", "catalog-db", "internet", 1),
    ("turn-server", "internet", "turn:3478/udp", 0),
    ("loopback", "admin", "api", 1),
    ("loopback", "host", "admin:8080", 0),
];

/// Steps, reason, causes, ways and changes are what is committed; `VETHLAB_BLESS=1` writes it.
#[test]
fn the_examples_are_explained_as_before() {
    for (name, from, to, code) in QUESTIONS {
        let file = format!("examples/{name}/compose.yaml");
        let out = says(&["why", &file, from, to], code);
        let plain = to.replace([':', '/'], "-");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/golden/why/{name}.{from}.{plain}.txt"));
        if std::env::var_os("VETHLAB_BLESS").is_some() {
            fs::create_dir_all(golden.parent().unwrap()).unwrap();
            fs::write(&golden, &out).unwrap();
        }
        let kept = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(out, kept, "{}", golden.display());
    }
}

const RULES: &str = "\
services:
  web: {image: nginx, ports: ['8080:80'], networks: {front: {ipv4_address: 172.30.1.10}}}
  peer: {image: nginx, networks: {front: {ipv4_address: 172.30.1.11}}}
  own: {image: nginx, ports: ['127.0.0.1:9091:80'], networks: {other: {ipv4_address: 172.30.2.10}}}
  lone: {image: redis, networks: {other: {ipv4_address: 172.30.2.11}}}
  db: {image: postgres, networks: {back: {ipv4_address: 172.30.3.10}}}
  quiet: {image: nginx, networks: {noicc: {ipv4_address: 172.30.4.10}}}
  silent: {image: nginx, networks: {noicc: {ipv4_address: 172.30.4.11}}}
networks:
  front: {ipam: {config: [{subnet: 172.30.1.0/24}]}, driver_opts: {com.docker.network.bridge.name: front}}
  other: {ipam: {config: [{subnet: 172.30.2.0/24}]}, driver_opts: {com.docker.network.bridge.name: other}}
  back: {internal: true, ipam: {config: [{subnet: 172.30.3.0/24}]}, driver_opts: {com.docker.network.bridge.name: back}}
  noicc:
    ipam: {config: [{subnet: 172.30.4.0/24}]}
    driver_opts: {com.docker.network.bridge.name: noicc, com.docker.network.bridge.enable_icc: 'false'}
";

/// Who asks whom, and the rules that decide, by engine: hook and command, in the order in which they are met.
const DECIDED: [(&str, &str, &[&str], &[&str]); 7] = [
    (
        "internet",
        "web",
        &[
            "PREROUTING: iptables -t nat -A DOCKER ! -i front -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.30.1.10:80",
            "FORWARD: iptables -A DOCKER -d 172.30.1.10/32 ! -i front -o front -p tcp -m tcp --dport 80 -j ACCEPT",
        ],
        &[
            "PREROUTING: iptables -t nat -A DOCKER ! -i front -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.30.1.10:80",
            "FORWARD: iptables -A DOCKER -d 172.30.1.10/32 ! -i front -o front -p tcp -m tcp --dport 80 -j ACCEPT",
        ],
    ),
    (
        "peer",
        "web",
        &["FORWARD: iptables -A FORWARD -i front -o front -j ACCEPT"],
        &["FORWARD: iptables -A DOCKER-FORWARD -i front -j ACCEPT"],
    ),
    (
        "peer",
        "internet",
        &[
            "FORWARD: iptables -A FORWARD -i front ! -o front -j ACCEPT",
            "POSTROUTING: iptables -t nat -A POSTROUTING -s 172.30.1.0/24 ! -o front -j MASQUERADE",
        ],
        &[
            "FORWARD: iptables -A DOCKER-FORWARD -i front -j ACCEPT",
            "POSTROUTING: iptables -t nat -A POSTROUTING -s 172.30.1.0/24 ! -o front -j MASQUERADE",
        ],
    ),
    (
        "peer",
        "lone",
        &["FORWARD: iptables -A DOCKER-ISOLATION-STAGE-2 -o other -j DROP"],
        &["PREROUTING: iptables -t raw -A PREROUTING -d 172.30.2.11/32 ! -i other -j DROP"],
    ),
    (
        "peer",
        "own",
        &["FORWARD: iptables -A DOCKER-ISOLATION-STAGE-2 -o other -j DROP"],
        &["PREROUTING: iptables -t raw -A PREROUTING -d 172.30.2.10/32 ! -i other -j DROP"],
    ),
    (
        "peer",
        "db",
        &["FORWARD: iptables -A DOCKER-ISOLATION-STAGE-1 ! -s 172.30.3.0/24 -o back -j DROP"],
        &["FORWARD: iptables -A DOCKER-INTERNAL ! -s 172.30.3.0/24 -o back -j DROP"],
    ),
    (
        "quiet",
        "silent",
        &["FORWARD: iptables -A FORWARD -i noicc -o noicc -j DROP"],
        &["FORWARD: iptables -A DOCKER-FORWARD -i noicc -o noicc -j DROP"],
    ),
];

/// The rule that accepted, rewrote or dropped, as that engine has it.
#[test]
fn each_hook_names_its_rule() {
    let folder = scratch("rules");
    let file = folder.join("compose.yaml");
    fs::write(&file, RULES).unwrap();
    let path = file.to_str().unwrap();
    for (from, to, old, new) in DECIDED {
        for (engine, wanted) in [("20.10", old), ("29", new)] {
            let output = vethlab(&["why", path, from, to, "--engine", engine]);
            let (out, err) = texts(&output);
            let hooks = ["PREROUTING: ", "FORWARD: ", "POSTROUTING: "];
            let said: Vec<&str> = out
                .lines()
                .map(str::trim_start)
                .filter(|line| hooks.iter().any(|hook| line.starts_with(hook)))
                .collect();
            assert_eq!(said, wanted, "{engine}: {from} {to}\n{out}{err}");
        }
    }
}

/// Of a program in another's namespace the provider is spoken of.
#[test]
fn a_joined_namespace_has_the_networks_of_its_provider() {
    let folder = scratch("joined");
    let file = folder.join("compose.yaml");
    let path = file.to_str().unwrap();
    let services = |vpn: &str| {
        format!(
            "services:\n  vpn: {{image: x, networks: [{vpn}]}}\n  app: {{image: nginx, network_mode: 'service:vpn'}}\n  \
             web: {{image: nginx, networks: [front]}}\n  none: {{image: nginx, network_mode: none}}\n  \
             local: {{image: nginx, network_mode: host}}\nnetworks: {{front: , back: }}\n"
        )
    };
    fs::write(&file, services("back")).unwrap();
    let closed = says(&["why", path, "web", "app"], 1);
    assert!(
        closed.contains("web is on front, app (in the namespace of vpn) on back: they share no network; and app has no name of its own, call vpn."),
        "{closed}"
    );
    assert!(closed.contains("- put vpn on front: "), "{closed}");
    assert!(!closed.contains("put app"), "{closed}");
    let out = says(&["why", path, "app", "web"], 1);
    assert!(out.contains("- put vpn on front: "), "{out}");
    let lan = says(&["why", path, "lan", "app"], 1);
    assert!(lan.contains("`\"80:80\"` under `ports:` of vpn"), "{lan}");
    let none = says(&["why", path, "web", "none"], 1);
    assert!(
        none.contains("none is on no network (`network_mode: none`)."),
        "{none}"
    );
    assert!(
        none.contains(
            "- put none on front: `networks: [front]` in the place of `network_mode: none`"
        ),
        "{none}"
    );
    let host = says(&["why", path, "web", "local"], 0);
    assert!(
        host.starts_with("web → local:80: yes, but not by its name"),
        "{host}"
    );
    assert!(
        host.contains("`networks: [front]` in the place of `network_mode: host`"),
        "{host}"
    );
    fs::write(&file, services("front, back")).unwrap();
    let open = says(&["why", path, "web", "app"], 0);
    assert!(
        open.starts_with("web → app:80: yes, but not by its name"),
        "{open}"
    );
    assert!(open.contains("- take vpn off front"), "{open}");
}

/// What is said to open or close something does.
#[test]
fn a_change_that_is_told_does_what_it_says() {
    let folder = scratch("change");
    let file = folder.join("compose.yaml");
    let path = file.to_str().unwrap();
    let services = |web: &str, db: &str| {
        format!(
            "services:\n  web: {{image: x, networks: [{web}]}}\n  db: {{image: postgres, networks: [{db}]}}\n\
             networks: {{front: , back: }}\n"
        )
    };
    fs::write(&file, services("front", "back")).unwrap();
    let closed = says(&["why", path, "web", "db"], 1);
    assert!(closed.contains("they share no network."), "{closed}");
    assert!(closed.contains("- put web on back: `- back`"), "{closed}");
    fs::write(&file, services("front, back", "back")).unwrap();
    let open = says(&["why", path, "web", "db"], 0);
    assert!(open.contains("- take web off back"), "{open}");
    fs::write(&file, services("front", "back")).unwrap();
    says(&["why", path, "web", "db"], 1);
}

/// The numbers of the frames are those of the capture that is written.
#[test]
fn frames_are_those_of_the_capture() {
    let folder = scratch("frames");
    let capture = folder.join("why.pcapng");
    let capture = capture.to_str().unwrap();
    let file = "examples/voting-app/compose.yaml";
    let args = [
        "why",
        "--capture",
        capture,
        "--format",
        "json",
        file,
        "vote",
        "db:5432",
    ];
    let told: serde_json::Value = serde_json::from_str(&says(&args, 0)).unwrap();
    let steps = told["steps"].as_array().unwrap();
    let frames = |kind: &str| -> Vec<String> {
        let step = steps.iter().find(|step| step["kind"] == kind).unwrap();
        let numbers = step["frames"].as_array().unwrap().iter();
        numbers.map(ToString::to_string).collect()
    };
    let Ok(tshark) = Command::new("tshark")
        .arg("-v")
        .stdout(Stdio::null())
        .status()
    else {
        // Straight to the terminal: the test runner keeps the output of a test that passes.
        let mut terminal = std::io::stderr().lock();
        writeln!(
            terminal,
            "SKIPPED: tshark is not here: frame numbers are not compared"
        )
        .unwrap();
        return;
    };
    assert!(tshark.success());
    let numbers = |filter: &str| -> Vec<String> {
        let args = [
            "-r",
            capture,
            "-n",
            "-Y",
            filter,
            "-T",
            "fields",
            "-e",
            "frame.number",
        ];
        let listed = Command::new("tshark").args(args).output().unwrap();
        let text = String::from_utf8(listed.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    };
    assert_eq!(
        frames("frame"),
        numbers("tcp.flags == 2 && tcp.dstport == 5432")
    );
    let asked =
        numbers("arp.opcode == 1 && arp.dst.proto_ipv4 == 172.19.0.4 && !arp.isannouncement");
    assert_eq!(frames("neighbour")[0], asked[0]);
}

#[test]
fn bad_questions_are_refused() {
    let file = "examples/voting-app/compose.yaml";
    for (args, words) in [
        (
            vec!["why", file, "vote", "dv"],
            "no service \"dv\"; there are vote,",
        ),
        (
            vec!["why", file, "vote", "db:0"],
            "a port is a number from 1 to 65535",
        ),
        (
            vec!["why", file, "vote", "db:5/sctp"],
            "\"sctp\" is no protocol",
        ),
        (
            vec!["why", "examples/none.yaml", "a", "b"],
            "examples/none.yaml",
        ),
    ] {
        let output = vethlab(&args);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {err}");
        assert!(err.contains(words), "{err}");
    }
}

/// Everything that the examples claim of themselves holds.
#[test]
fn the_examples_hold() {
    let out = says(&["test", "examples"], 0);
    let last = out.lines().last().unwrap();
    assert!(last.ends_with("0 failed in 0 projects"), "{out}");
    let folders = fs::read_dir(root().join("examples")).unwrap().count();
    assert!(folders >= 10, "{folders}");
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let tested = out.lines().any(|line| {
            line.contains(&format!("examples/{name}/")) && !line.contains("no expectations")
        });
        assert!(tested, "{name} claims nothing: {out}");
    }
}

/// A change of a file is a run more.
#[test]
fn a_changed_file_is_tried_again() {
    let folder = scratch("watch");
    let file = folder.join("compose.yaml");
    let project = |verdict: &str| {
        format!(
            "x-vethlab: {{expect: [\"a -> b:80 {verdict}\"]}}\nservices:\n  a: {{image: x}}\n  \
             b: {{image: x, expose: [80]}}\n"
        )
    };
    fs::write(&file, project("allow")).unwrap();
    let path = folder.to_str().unwrap();
    let mut watch = command(&["watch", "--runs", "2", path])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut out = lines.next().unwrap().unwrap();
    // The first run has looked at the file: from here on it is a change, and it is never seen half written.
    let other = folder.join("other");
    fs::write(&other, project("deny")).unwrap();
    fs::rename(&other, &file).unwrap();
    for line in lines {
        out.push_str(&line.unwrap());
    }
    let code = watch.wait().unwrap();
    assert!(
        out.contains("1 passed") && out.contains("fail: a -> b:80 deny"),
        "{out}"
    );
    assert_eq!(code.code(), Some(1));
}

/// What comes for the host itself passes INPUT, where Docker has no rule; what goes over its loopback is not translated.
#[test]
fn the_hosts_own_hooks_are_spoken_of() {
    let folder = scratch("host");
    let file = folder.join("compose.yaml");
    fs::write(&file, RULES).unwrap();
    let path = file.to_str().unwrap();
    for engine in ["20.10", "29"] {
        let own = says(&["why", path, "host", "own:80", "--engine", engine], 0);
        let steps = [
            "frame     lo, which is not in the capture",
            "nat       not translated: Docker's rule leaves the host's loopback out, so docker-proxy takes it",
            "OUTPUT: iptables -t nat -P OUTPUT ACCEPT",
            "filter    accepted: Docker has no rule for what reaches the host itself",
            "INPUT: iptables -P INPUT ACCEPT",
            "proxy     docker-proxy takes it and dials 172.30.2.10:80",
        ];
        let mut rest = own.as_str();
        for step in steps {
            let at = rest.find(step);
            let at = at.unwrap_or_else(|| panic!("{engine}: no {step:?} in its place in\n{own}"));
            rest = &rest[at..];
        }
        let ping = says(&["why", path, "peer", "host", "--engine", engine], 0);
        assert!(ping.contains("INPUT: iptables -P INPUT ACCEPT"), "{ping}");
        let through = says(&["why", path, "peer", "internet", "--engine", engine], 0);
        assert!(!through.contains("INPUT"), "{through}");
    }
}

/// How long packets may be is told where it is not what Ethernet has, and where it becomes less on the way.
#[test]
fn the_mtu_is_spoken_of() {
    let folder = scratch("mtu");
    let file = folder.join("compose.yaml");
    let mtu = "driver_opts: {com.docker.network.driver.mtu: '1400'}";
    fs::write(
        &file,
        format!("services:\n  web: {{image: nginx, ports: ['8080:80'], networks: [small]}}\n  peer: {{image: nginx, networks: [small, wide]}}\n  own: {{image: nginx, networks: [wide]}}\nnetworks: {{small: {{{mtu}}}, wide: {{}}}}\n"),
    )
    .unwrap();
    let path = file.to_str().unwrap();
    let within = says(&["why", path, "peer", "web"], 0);
    assert!(
        within.contains("mtu       up to 1400 bytes at once, all the way"),
        "{within}"
    );
    let into = says(&["why", path, "lan", "web"], 0);
    assert!(
        into.contains("mtu       lan:eth0 sends up to 1500 bytes at once, "),
        "{into}"
    );
    assert!(
        into.contains(" carries 1400: longer packets pass only if ICMP"),
        "{into}"
    );
    let usual = says(&["why", path, "peer", "own"], 0);
    assert!(!usual.contains(" mtu "), "{usual}");
}

/// A setting of the network that no file writes is told with all that has to be written.
#[test]
fn a_change_of_the_implicit_network_is_written_whole() {
    let folder = scratch("implicit");
    let file = folder.join("compose.yaml");
    fs::write(&file, "services: {app: {image: x}}\n").unwrap();
    let said = says(&["why", file.to_str().unwrap(), "app", "internet"], 0);
    assert!(
        said.contains("- `networks: {default: {internal: true}}` for default\n"),
        "{said}"
    );
}

const ELSEWHERE: &str = "\
services:
  hole: {image: pihole/pihole, networks: {home: {ipv4_address: 192.168.1.53}}}
  bare: {image: nginx, networks: [bare]}
networks:
  home: {driver: macvlan, driver_opts: {parent: eth0}, ipam: {config: [{subnet: 192.168.1.0/24, gateway: 192.168.1.1}]}}
  bare: {driver_opts: {com.docker.network.bridge.enable_ip_masquerade: 'false'}}
";

/// What ends at a router that is not there is told of the router, and of the machine that is assumed; an answer that
/// died, of where it did.
#[test]
fn what_is_not_answered_is_told_by_its_cause() {
    let folder = scratch("elsewhere");
    let file = folder.join("compose.yaml");
    fs::write(&file, ELSEWHERE).unwrap();
    let why = |from: &str, to: &str| says(&["why", file.to_str().unwrap(), from, to], 1);
    let home = "home is a macvlan on 192.168.1.0/24, where the machine (192.0.2.2) is not; `--host` describes yours";
    let out = why("hole", "internet");
    let silent = "\nNobody answers for 192.168.1.1, by which hole goes to 198.51.100.54: ";
    assert!(out.contains(&format!("{silent}{home}.\n")), "{out}");
    let out = why("lan", "hole:53");
    let unpublished = "\nhole does not publish 53, and lan has no other way to it: ";
    assert!(out.contains(&format!("{unpublished}{home}.\n")), "{out}");
    let out = why("bare", "internet");
    let lost = "\nIt arrives, and the answer dies at gateway:eth1: no route to host of 172.18.0.2, which nothing masquerades.\n";
    assert!(out.contains(lost), "{out}");
    let machine = folder.join("machine.yaml");
    fs::write(
        &machine,
        "uplink: eth0\naddresses: [{ifname: eth0, addr_info: [{family: inet, local: 192.168.1.5, prefixlen: 24}]}]\nroutes: [{dst: default, gateway: 192.168.1.1, dev: eth0}]\n",
    )
    .unwrap();
    let (file, machine) = (file.to_str().unwrap(), machine.to_str().unwrap());
    for (from, to) in [("hole", "internet"), ("lan", "hole:53")] {
        says(&["why", "--host", machine, file, from, to], 0);
    }
}
