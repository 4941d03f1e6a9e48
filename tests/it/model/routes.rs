//! `lan` with a route to the containers' networks through the host: the model against packets.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeSet;

use emulator_compose::Protocol;
use emulator_core::docker::DaemonConfig;
use ipnet::IpNet;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use vethlab::model::Transport;

use super::packets::{Scene, daemon, outcome_text};
use super::plan::plan;

/// A port where nobody listens.
const CLOSED: u16 = 65_001;

/// The networks of bridges, each with the host's address on the uplink that leads there.
fn routes(scene: &Scene) -> Vec<(IpNet, IpAddr)> {
    let host = scene.lab.net().ns(scene.lab.places().host).unwrap();
    let uplink = scene.lab.host_addresses();
    let networks = scene.assigned.networks.iter();
    let bridges = networks.filter(|net| net.gateways.iter().any(|&own| host.is_local(own)));
    let subnets = bridges.flat_map(|net| &net.subnets).filter_map(|subnet| {
        let v6 = subnet.addr().is_ipv6();
        let via = uplink.iter().find(|own| own.is_ipv6() == v6)?;
        Some((*subnet, *via))
    });
    subnets.collect()
}

/// Every address of a container on such a network, with what anybody listens on.
fn targets(scene: &Scene) -> Vec<(SocketAddr, Transport)> {
    let sockets = scene.assigned.sockets.iter();
    let mut ports: BTreeSet<(u16, bool)> = sockets
        .map(|socket| (socket.port, socket.protocol == Protocol::Udp))
        .collect();
    ports.extend([(CLOSED, false), (CLOSED, true)]);
    let running = scene.assigned.containers.iter().filter(|c| c.running);
    let addresses: BTreeSet<IpAddr> = running
        .flat_map(|container| &container.endpoints)
        .flat_map(|endpoint| endpoint.addresses())
        .collect();
    let mut targets = Vec::new();
    for address in addresses {
        targets.push((SocketAddr::new(address, 0), Transport::Icmp));
        targets.extend(ports.iter().map(|&(port, udp)| {
            let transport = if udp { Transport::Udp } else { Transport::Tcp };
            (SocketAddr::new(address, port), transport)
        }));
    }
    targets
}

/// What is asked, and what the two say of it where they differ.
fn differences(scene: &mut Scene) -> (usize, usize, Vec<String>) {
    let (mut asked, mut open, mut wrong) = (0, 0, Vec::new());
    let lan = scene.lab.places().lan;
    let routes = routes(scene);
    for (to, transport) in targets(scene) {
        let Some((subnet, via)) = routes.iter().find(|(net, _)| net.contains(&to.ip())) else {
            continue;
        };
        let outcome = scene.model().reach_by_route(to, transport);
        let computed = outcome_text(&outcome, transport);
        scene.lab.route_add(lan, *subnet, *via).unwrap();
        let seen = scene.ask(lan, to, transport);
        scene.lab.route_del(lan, *subnet, *via).unwrap();
        asked += 1;
        open += usize::from(outcome.is_open());
        if computed != seen {
            wrong.push(format!(
                "{to} {transport:?}: computed {computed} ({:?}), packets {seen}",
                outcome.reason
            ));
        }
    }
    (asked, open, wrong)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        rng_seed: RngSeed::Fixed(4),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// On both engines, with `allow-direct-routing` and without.
    #[test]
    fn an_added_route_reaches_what_the_model_says(plan in plan(), direct in any::<bool>()) {
        let daemon = DaemonConfig { allow_direct_routing: direct, ..daemon(&plan) };
        if let Some(mut scene) = Scene::with(&plan, daemon) {
            let (_, _, wrong) = differences(&mut scene);
            prop_assert!(
                wrong.is_empty(),
                "{:?}, direct {direct}\n{}\n{}",
                plan.engine,
                scene.text,
                wrong.join("\n")
            );
        }
    }
}

/// Docker's rules one by one, as its documentation has them.
#[test]
fn what_the_engines_let_in() {
    use emulator_core::docker::spec::Engine::{V20_10, V29};
    use emulator_core::docker::spec::{Listening, Port, Proto};
    use emulator_core::id::NsId;
    let text = |mode: &str| {
        let option = format!("com.docker.network.bridge.gateway_mode_ipv4: {mode}");
        format!(
            "name: p\nservices:\n  web: {{image: example/web, ports: ['8080:80'], networks: [n]}}\n  \
             local: {{image: example/web, ports: ['127.0.0.1:8081:80'], networks: [n]}}\n  \
             inner: {{image: example/web, networks: [n]}}\nnetworks:\n  n: {{driver_opts: {{{option}}}}}\n"
        )
    };
    let cases = [
        (V20_10, "nat", false, [true, true, false]),
        (V29, "nat", false, [false, false, false]),
        (V29, "nat", true, [true, true, false]),
        (V29, "nat-unprotected", false, [true, true, true]),
        (V29, "routed", false, [true, true, false]),
    ];
    for (engine, mode, direct, expected) in cases {
        let text = text(mode);
        let daemon = DaemonConfig {
            allow_direct_routing: direct,
            ..DaemonConfig::new(engine, NsId::default())
        };
        let project = emulator_compose::load_str(&text).unwrap();
        let port = Port {
            number: 80,
            proto: Proto::Tcp,
        };
        let listens = Listening {
            address: None,
            port,
        };
        let mut scene = Scene::of(project, text, daemon, |_| Some(vec![listens])).unwrap();
        // All listen: what the model needs to know is that they do.
        let sockets = scene
            .assigned
            .containers
            .iter()
            .map(|container| vethlab::model::Socket {
                at: vethlab::model::End::Container(container.name.clone()),
                address: None,
                port: 80,
                protocol: Protocol::Tcp,
            });
        let sockets: Vec<_> = sockets.collect();
        if !scene
            .assigned
            .sockets
            .iter()
            .any(|socket| socket.port == 80)
        {
            scene.assigned.sockets.extend(sockets);
        }
        for (service, expected) in ["web", "local", "inner"].into_iter().zip(expected) {
            let container = scene.assigned.container(&format!("p-{service}-1")).unwrap();
            let address = container.endpoints[0].address(false).unwrap();
            let to = SocketAddr::new(address, 80);
            let outcome = scene.model().reach_by_route(to, Transport::Tcp);
            assert_eq!(
                outcome.is_open(),
                expected,
                "{engine:?} {mode} {direct} {service}"
            );
        }
        let (asked, open, wrong) = differences(&mut scene);
        assert!(asked >= 9 && wrong.is_empty(), "{wrong:#?}");
        assert!(open >= expected.iter().filter(|open| **open).count());
    }
}
