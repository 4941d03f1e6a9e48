//! Whatever the verbs do: nobody shares an address, nothing leaks, and the same seed gives the same ids.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::docker::config::DaemonConfig;
use crate::docker::spec::Engine;
use crate::docker::testing::{HOST, Host};

#[derive(Clone, Copy, Debug)]
enum Op {
    Connect(u8, u8),
    Disconnect(u8, u8),
    NetRemove(u8),
    NetCreate(u8),
    Remove(u8),
    Run(u8, u8),
    Start(u8),
    Stop(u8),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let (c, n) = (0u8..6, 0u8..4);
    let op = prop_oneof![
        (c.clone(), n.clone()).prop_map(|(c, n)| Op::Connect(c, n)),
        (c.clone(), n.clone()).prop_map(|(c, n)| Op::Disconnect(c, n)),
        n.clone().prop_map(Op::NetRemove),
        n.clone().prop_map(Op::NetCreate),
        c.clone().prop_map(Op::Remove),
        (c.clone(), n).prop_map(|(c, n)| Op::Run(c, n)),
        c.clone().prop_map(Op::Start),
        c.prop_map(Op::Stop),
    ];
    prop::collection::vec(op, 0..40)
}

/// Small subnets, so that they run out; one internal, one with IPv6, one with a range.
const FLAGS: [&str; 4] = [
    "subnet=10.0.0.0/29",
    "internal subnet=10.0.1.0/29",
    "ipv6 subnet=10.0.2.0/29 subnet=fd00::/125",
    "subnet=10.0.3.0/28 range=10.0.3.8/30",
];

fn act(host: &mut Host, op: Op) {
    let (net, name) = (|n: u8| format!("net{n}"), |c: u8| format!("c{c}"));
    // Refusals are part of it.
    let _ = match op {
        Op::Connect(c, n) => host.connect(&net(n), &name(c), "").is_ok(),
        Op::Disconnect(c, n) => host.disconnect(&net(n), &name(c)).is_ok(),
        Op::NetRemove(n) => host.net_rm(&net(n)).is_ok(),
        Op::NetCreate(n) => host.net(&net(n), FLAGS[usize::from(n)]).is_ok(),
        Op::Remove(c) => host.act(|d, w| d.remove(w, &name(c), true)).is_ok(),
        Op::Run(c, n) => {
            let flags = format!("net=net{n} p={}-{}:80 p=81", 8000, 8003);
            host.run(&name(c), &flags).is_ok()
        }
        Op::Start(c) => host.start(&name(c)).is_ok(),
        Op::Stop(c) => host.act(|d, w| d.stop(w, &name(c), 0)).is_ok(),
    };
}

fn check(host: &Host) {
    let mut seen = BTreeSet::new();
    for (to, addr) in host.kernel.addresses() {
        assert!(seen.insert((format!("{to:?}"), addr)), "{addr} twice");
    }
    let mut ports = BTreeSet::new();
    for p in host.kernel.published.values().flatten() {
        assert!(
            ports.insert((p.host_ip, p.host_port, p.port.proto)),
            "{p:?} twice"
        );
    }
    // A running container with a way out has its route, and its ports are open.
    for c in host.docker.containers().filter(|c| c.state.is_running()) {
        let way = c.endpoints().any(|e| e.way_v4.is_some());
        assert_eq!(host.ways(&c.name).0 != "-", way, "{}", c.name);
        let view = host
            .zones
            .views
            .get(&crate::docker::names::SandboxKey(c.key));
        assert_eq!(view.map_or(0, |v| v.networks.len()), c.endpoints().count());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn nobody_shares_and_nothing_leaks(ops in ops(), old: bool) {
        let engine = if old { Engine::V20_10 } else { Engine::V29 };
        let mut host = Host::new(engine);
        for op in ops {
            act(&mut host, op);
            check(&host);
        }
        for c in 0..6 {
            act(&mut host, Op::Remove(c));
        }
        prop_assert!(host.kernel.spaces.is_empty() && host.kernel.published.is_empty());
        prop_assert!(host.zones.endpoints.is_empty() && host.zones.views.is_empty());
        prop_assert!(host.docker.ports.is_empty());
        for n in 0..4 {
            act(&mut host, Op::NetRemove(n));
        }
        prop_assert_eq!(host.kernel.bridges.len(), 1, "docker0");
        // Every address can be had again.
        for n in 0u8..4 {
            host.net(&format!("net{n}"), FLAGS[usize::from(n)]).unwrap();
        }
        for c in 0..5 {
            host.run(&format!("c{c}"), "net=net0").unwrap();
        }
        prop_assert!(host.run("c5", "net=net0").unwrap_err().contains("no available IPv4 addresses on this network's address pools: net0 ("));
    }

    #[test]
    fn the_same_seed_gives_the_same(ops in ops()) {
        let mut a = Host::new(Engine::V29);
        let mut b = Host::new(Engine::V29);
        for op in ops {
            act(&mut a, op);
            act(&mut b, op);
        }
        prop_assert_eq!(format!("{:?}", a.kernel), format!("{:?}", b.kernel));
        prop_assert_eq!(format!("{:?}", a.docker), format!("{:?}", b.docker));
    }
}

#[test]
fn a_flat_network_of_thousands() {
    let mut config = DaemonConfig::new(Engine::V29, HOST);
    config.bridge_ports = None;
    let mut host = Host::with(config);
    host.net("n", "subnet=10.0.0.0/12").unwrap();
    for i in 0..2000 {
        host.run(&format!("c{i}"), "net=n").unwrap();
    }
    assert_eq!(host.ip("c1999", "n"), "10.0.7.209");
}
