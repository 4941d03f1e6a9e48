//! A machine with a bridge beside its uplink, and one whose uplink is shared: ours beside the kernel's.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use emulator_core::docker::spec::Engine;
use emulator_core::lab::probe::{Answer, Question};
use vethlab::world::{Options, World};

use crate::rig::skip;

/// What a script prints in a namespace of its own; none where that cannot be had.
fn in_a_namespace(script: &str) -> Option<Vec<String>> {
    let mut command = Command::new("unshare");
    let output = command.args(["-Urn", "sh", "-c", script]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.iter().any(|line| line == "ready").then_some(lines)
}

/// A project's world, as its file says.
fn world(text: &str) -> World<'static> {
    let project =
        emulator_compose::load_str(text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    // The world of a test lives as long as the test.
    let project = Box::leak(Box::new(project));
    World::with(project, &Options::new(1, Engine::V29)).unwrap()
}

const ASKED: [&str; 6] = [
    "192.0.2.40",
    "192.0.2.90",
    "192.0.9.9",
    "2001:db8:0:1::40",
    "2001:db8:0:1:1::40",
    "2001:db8:0:9::40",
];

/// By which interface the kernel's host leads to each address.
fn kernel_leads(v4: &str, v6: &str) -> Option<Vec<String>> {
    let asked = ASKED.join(" ");
    let lines = in_a_namespace(&format!(
        "set -e
         ip link set lo up; ip link add eth0 type veth peer name far; ip link add bridge type bridge
         ip addr add 192.0.2.2/24 dev eth0; ip -6 addr add 2001:db8:0:1::2/64 dev eth0 nodad
         ip link set eth0 up; ip link set far up
         ip route add default via 192.0.2.1; ip -6 route add default via 2001:db8:0:1::1
         ip addr add 192.0.2.31/{v4} dev bridge; ip -6 addr add 2001:db8:0:1::31/{v6} dev bridge nodad
         ip link set bridge up; sleep 0.2; echo ready
         for to in {asked}; do ip -o route get $to | sed 's/.* dev \\([a-z0-9]*\\).*/\\1/'; done"
    ))?;
    Some(lines.into_iter().skip(1).collect())
}

/// A bridge whose subnet lies over the uplink's: the same, a part of it, more than it.
#[test]
fn the_longest_prefix_leads() {
    let cases = [
        ("192.0.2.0/24", "2001:db8:0:1::/64"),
        ("192.0.2.0/26", "2001:db8:0:1::/80"),
        ("192.0.0.0/16", "2001:db8::/48"),
    ];
    for (v4, v6) in cases {
        let world = world(&format!(
            "name: p\nservices: {{a: {{image: example/a, networks: [n]}}}}\nnetworks:\n  n:\n    enable_ipv6: true\n    \
             ipam: {{config: [{{subnet: {v4}, gateway: 192.0.2.31, ip_range: 192.0.2.32/28}}, \
             {{subnet: '{v6}', gateway: '2001:db8:0:1::31', ip_range: '2001:db8:0:1::30/124'}}]}}\n"
        ));
        let lab = &world.lab;
        let host = lab.net().ns(lab.places().host).unwrap();
        let ours = ASKED.map(|address| {
            let route = host.route_get(address.parse().unwrap()).unwrap();
            let name = &host.iface(route.dev).unwrap().name;
            if name == "eth0" { "eth0" } else { "bridge" }
        });
        let length = |subnet: &'static str| subnet.split_once('/').unwrap().1;
        match kernel_leads(length(v4), length(v6)) {
            Some(theirs) => assert_eq!(ours.to_vec(), theirs, "{v4} {v6}"),
            None => {
                skip("no user namespace or no iproute2: routes are not compared with the kernel")
            }
        }
    }
}

/// Who answers whose pings: two that share the uplink, another machine, the host.
const PAIRS: [(&str, &str); 5] = [
    ("a", "b"),
    ("a", "lan"),
    ("lan", "a"),
    ("a", "host"),
    ("host", "a"),
];

/// `ours` says for whom an answer is worth a longer wait than a machine with much to do takes.
fn kernel_pings(link: &str, ours: &[String]) -> Option<Vec<String>> {
    let pairs: Vec<String> = PAIRS
        .iter()
        .zip(ours)
        .map(|((from, to), ours)| {
            let wait = if ours == "yes" {
                "-c1 -w30"
            } else {
                "-c2 -i0.2 -W1"
            };
            format!("ask ${from} ${to}_ip {wait}")
        })
        .collect();
    let lines = in_a_namespace(&format!(
        "set -e; command -v ping >/dev/null
         space() {{ unshare -n sleep 600 & pid=$!
           while [ \"$(readlink /proc/$pid/ns/net)\" = \"$(readlink /proc/$$/ns/net)\" ]; do sleep 0.02; done; }}
         at() {{ p=$1; shift; nsenter -t $p -n \"$@\"; }}
         space; lan=$pid; space; a=$pid; space; b=$pid; host=$$
         trap 'kill $lan $a $b' EXIT
         a_ip=192.0.2.50; b_ip=192.0.2.51; lan_ip=192.0.2.9; host_ip=192.0.2.2
         ip link set lo up; ip link add u0 type veth peer name eth0 netns $lan
         ip addr add $host_ip/24 dev u0; ip link set u0 up
         at $lan ip addr add $lan_ip/24 dev eth0; at $lan ip link set eth0 up
         child() {{ ip link add link u0 name $1 type {link} || return 0; ip link set $1 netns $2
           at $2 ip addr add $3/24 dev $1; at $2 ip link set $1 up; at $2 ip link set lo up; }}
         ip link add link u0 name try type {link}; ip link del try
         child ca $a $a_ip; child cb $b $b_ip
         is_up() {{ at $1 ip link show dev $2 >/dev/null 2>&1 || return 0
           for try in $(seq 100); do if at $1 ip -br link show dev $2 | grep -q ' UP '; then return 0; fi; sleep 0.1; done; }}
         is_up $lan eth0; is_up $a ca; is_up $b cb; sleep 0.3; echo ready
         ask() {{ p=$1; ip=$2; shift 2; if nsenter -t $p -n ping $@ -q $ip >/dev/null 2>&1; then echo yes; else echo no; fi; }}
         {}",
        pairs.join("; ")
    ))?;
    Some(lines.into_iter().skip(1).collect())
}

fn our_pings(driver: &str, options: &str) -> Vec<String> {
    let mut world = world(&format!(
        "name: p\nservices:\n  a: {{image: example/a, networks: {{n: {{ipv4_address: 192.0.2.50}}}}}}\n  \
         b: {{image: example/b, networks: {{n: {{ipv4_address: 192.0.2.51}}}}}}\nnetworks:\n  n:\n    \
         driver: {driver}\n    driver_opts: {{parent: eth0, {options}}}\n    ipam: {{config: [{{subnet: 192.0.2.0/24}}]}}\n"
    ));
    let lab = &mut world.lab;
    let places = lab.places();
    let (lan, host) = (places.lan, places.host);
    let lan_ip: IpAddr = "192.0.2.9".parse().unwrap();
    assert!(lab.net().ns(lan).unwrap().is_local(lan_ip));
    let asked = PAIRS.iter().map(|(from, to)| {
        let from = match *from {
            "lan" => lan,
            "host" => host,
            name => lab.namespace(&format!("p-{name}-1")).unwrap(),
        };
        let to = match *to {
            "lan" => lan_ip,
            "host" => "192.0.2.2".parse().unwrap(),
            "a" => "192.0.2.50".parse().unwrap(),
            _ => "192.0.2.51".parse().unwrap(),
        };
        let answer = lab.probe(from, &Question::Ping(to), Duration::from_secs(5));
        let word = if matches!(answer, Answer::Open(_)) {
            "yes"
        } else {
            "no"
        };
        word.to_owned()
    });
    asked.collect()
}

#[test]
fn whoever_shares_the_uplink_hears_whom_the_kernel_lets_it() {
    let macvlan = ["bridge", "private", "vepa", "passthru"].map(|mode| {
        let (link, options) = (
            format!("macvlan mode {mode}"),
            format!("macvlan_mode: {mode}"),
        );
        ("macvlan", link, options)
    });
    let ipvlan = [
        ("l2", "bridge"),
        ("l2", "private"),
        ("l2", "vepa"),
        ("l3", "bridge"),
        ("l3", "private"),
        ("l3s", "bridge"),
    ];
    let ipvlan = ipvlan.map(|(mode, flag)| {
        let options = format!("ipvlan_mode: {mode}, ipvlan_flag: {flag}");
        ("ipvlan", format!("ipvlan mode {mode} {flag}"), options)
    });
    for (driver, link, options) in macvlan.into_iter().chain(ipvlan) {
        let ours = our_pings(driver, &options);
        match kernel_pings(&link, &ours) {
            Some(theirs) => assert_eq!(ours, theirs, "{link}: {PAIRS:?}"),
            None => skip(&format!(
                "the kernel makes no {link} here, or there is no ping: it is not compared with ours"
            )),
        }
    }
}
