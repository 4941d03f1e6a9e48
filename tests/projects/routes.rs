//! `lan` with a route to the containers' networks through the host: the model against packets.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeSet;

use emulator_compose::Protocol;
use emulator_core::docker::DaemonConfig;
use ipnet::IpNet;
use vethlab::assigned::{assigned, engine};
use vethlab::model::{Model, Transport};
use vethlab::world::{Options, World};

use super::run::{scene_with, tree};
use super::scene::{Asking, Scene, outcome_text};
use proptest::strategy::ValueTree as _;

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
    // One on an ipvlan asks for its neighbour with the address that was called, and does not get the answer, which is
    // for the MAC that all there share: it depends on whether it hears that neighbour ask for somebody else. Left out.
    let networks = scene.project.networks.iter();
    let ipvlans: BTreeSet<&str> = networks
        .filter(|net| {
            net.driver
                .as_ref()
                .is_some_and(|driver| driver.value == "ipvlan")
        })
        .map(|net| net.name.as_str())
        .collect();
    let running = scene.assigned.containers.iter().filter(|c| c.running);
    let running = running.filter(|c| {
        let mut on = c.endpoints.iter();
        !on.any(|endpoint| ipvlans.contains(endpoint.network.as_str()))
    });
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
pub(crate) fn differences(scene: &mut Scene) -> (usize, usize, Vec<String>) {
    let (mut asked, mut open, mut wrong) = (0, 0, Vec::new());
    let lan = scene.lab.places().lan;
    let (routes, targets) = (routes(scene), targets(scene));
    let model = Model::new(
        &[&scene.project],
        &scene.assigned,
        engine(&scene.lab),
        &scene.machine,
    );
    let mut asking = Asking::new(&mut scene.lab);
    for (to, transport) in targets {
        let Some((subnet, via)) = routes.iter().find(|(net, _)| net.contains(&to.ip())) else {
            continue;
        };
        let outcome = model.reach_by_route(to, transport);
        let computed = outcome_text(&outcome, transport);
        asking.lab.route_add(lan, *subnet, *via).unwrap();
        let seen = asking.call(lan, to, transport);
        asking.lab.route_del(lan, *subnet, *via).unwrap();
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

/// On both engines, with `allow-direct-routing` and without, with each policy of the FORWARD chain.
#[test]
fn an_added_route_reaches_what_the_model_says() {
    for number in 1..=100 {
        let plan = tree(number).current();
        let direct = number % 2 == 0;
        let daemon = DaemonConfig {
            allow_direct_routing: direct,
            forward_drop: number % 3 != 0,
            ..plan.daemon.config(plan.engine)
        };
        if let Some(mut scene) = scene_with(&plan, daemon) {
            let (_, _, wrong) = differences(&mut scene);
            assert!(
                wrong.is_empty(),
                "project {number}, {:?}, direct {direct}, {:?}\n{}\n{}",
                plan.engine,
                plan.events,
                plan.compose(),
                wrong.join("\n")
            );
        }
    }
}

/// Docker's rules one by one, as its documentation has them.
#[test]
fn what_the_engines_let_in() {
    use emulator_core::docker::spec::Engine::{V20_10, V29};
    use emulator_core::id::NsId;
    let text = |mode: &str| {
        let option = match mode {
            "trusted" => {
                "com.docker.network.bridge.trusted_host_interfaces: 'br-a:eth0'".to_owned()
            }
            mode => format!("com.docker.network.bridge.gateway_mode_ipv4: {mode}"),
        };
        format!(
            "name: p\nservices:\n  web: {{image: example/web, ports: ['8080:80'], networks: [n]}}\n  \
             local: {{image: example/web, ports: ['127.0.0.1:8081:80'], networks: [n]}}\n  \
             inner: {{image: example/web, x-vethlab: {{listen: [80]}}, networks: [n]}}\nnetworks:\n  n: {{driver_opts: {{{option}}}}}\n"
        )
    };
    let cases = [
        (V20_10, "nat", false, [true, true, false]),
        (V29, "nat", false, [false, false, false]),
        (V29, "nat", true, [true, true, false]),
        (V29, "nat-unprotected", false, [true, true, true]),
        (V29, "routed", false, [true, true, false]),
        (V29, "trusted", false, [true, true, false]),
    ];
    for (engine, mode, direct, expected) in cases {
        let text = text(mode);
        let daemon = DaemonConfig {
            allow_direct_routing: direct,
            ..DaemonConfig::new(engine, NsId::default())
        };
        let project = emulator_compose::load_str(&text).unwrap();
        let options = Options {
            daemon,
            ..Options::new(1, engine)
        };
        let world = World::with(&project, &options).unwrap();
        let (assigned, lab) = (assigned(&world.lab), world.lab);
        let mut scene = Scene::new(project, lab, assigned);
        for (service, expected) in ["web", "local", "inner"].into_iter().zip(expected) {
            let container = scene.assigned.container(&format!("p-{service}-1")).unwrap();
            let address = container.endpoints[0].address(false).unwrap();
            let to = SocketAddr::new(address, 80);
            let model = Model::new(
                &[&scene.project],
                &scene.assigned,
                vethlab::assigned::engine(&scene.lab),
                &scene.machine,
            );
            let outcome = model.reach_by_route(to, Transport::Tcp);
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
