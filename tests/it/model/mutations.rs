//! Whether anybody notices: each rule of the model is turned off in turn, and each kind of rule of the
//! Lab's firewall is taken out of a lab that runs. Both have to show.

use core::net::{IpAddr, Ipv4Addr};

use emulator_compose::Service;
use emulator_core::docker::DaemonConfig;
use emulator_core::docker::spec::{Engine, Listening, Port, Proto};
use emulator_core::id::NsId;
use emulator_core::lab::{Lab, LabConfig};
use switch::filter::RuleId;
use vethlab::assigned::{assigned, engine};
use vethlab::model::{Model, Rule, Rules};
use vethlab::project;

use super::records;
use super::scene::{Scene, outcome_text};

/// A project with something of everything.
pub(super) const EVERYTHING: &str = "name: p
services:
  a:
    image: probe
    networks: {n: {aliases: [shared]}}
    ports: ['8001:101', '8002:102/udp', '127.0.0.1:8003:103', '8004:104']
  b:
    image: probe
    networks: {n: {aliases: [shared]}, m: {aliases: [shared], gw_priority: 1}}
    ports: ['8010:110']
  c: {image: probe, networks: [m], expose: ['120'], extra_hosts: ['far:203.0.113.9', 'a:203.0.113.8']}
  d: {image: probe, networks: [quiet]}
  e: {image: probe, networks: [quiet], ports: ['8040:140']}
  f: {image: probe, networks: [inner], expose: ['150']}
  g: {image: probe, networks: [n, inner], ports: ['8060:160']}
  h: {image: probe, network_mode: bridge, expose: ['170'], ports: ['8070:171']}
  i: {image: probe, network_mode: bridge, links: [h]}
  j: {image: probe, network_mode: 'service:a'}
  k: {image: probe, network_mode: host, expose: ['200']}
  r: {image: probe, networks: [routed], ports: ['8080:210']}
  u: {image: probe, networks: [bare]}
  v: {image: probe, networks: [v6], ports: ['8090:220']}
  w: {image: probe, networks: [w6]}
networks:
  n: {}
  m: {}
  inner: {internal: true}
  quiet: {driver_opts: {com.docker.network.bridge.enable_icc: 'false'}}
  routed: {driver_opts: {com.docker.network.bridge.gateway_mode_ipv4: routed}}
  bare: {driver_opts: {com.docker.network.bridge.enable_ip_masquerade: 'false'}}
  v6: {enable_ipv6: true, ipam: {config: [{subnet: 10.1.0.0/24}, {subnet: 'fd00:1::/64'}]}}
  w6: {enable_ipv6: true, ipam: {config: [{subnet: 10.2.0.0/24}, {subnet: 'fd00:2::/64'}]}}
";

/// Everything that is known, at every address; but 103 on loopback, and nobody behind 104. Who has joined
/// another may not say what he listens on.
pub(super) fn listens(service: &Service) -> Option<Vec<Listening>> {
    let joined = (service.name == "j").then_some(Port {
        number: 190,
        proto: Proto::Tcp,
    });
    let ports = project::listens(service).into_iter();
    let known = ports.filter(|port| port.number != 104);
    Some(
        known
            .chain(joined)
            .map(|port| Listening {
                address: (port.number == 103).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                port,
            })
            .collect(),
    )
}

fn scene(engine: Engine, userland_proxy: bool) -> Scene {
    let project = emulator_compose::load_str(EVERYTHING).unwrap();
    let daemon = DaemonConfig {
        icc: false,
        userland_proxy,
        ..DaemonConfig::new(engine, NsId::default())
    };
    let mut lab = Lab::new(LabConfig {
        seed: 1,
        daemon,
        ..LabConfig::default()
    })
    .unwrap();
    let up = project::up_with(&mut lab, &project, listens);
    assert!(up.networks.is_empty(), "{:?}", up.networks);
    let assigned = assigned(&lab);
    let scene = Scene::new(project, lab, assigned);
    for container in &scene.assigned.containers {
        assert!(container.running, "{} does not run", container.name);
    }
    scene
}

const KINDS: [(Engine, bool); 4] = [
    (Engine::V20_10, true),
    (Engine::V20_10, false),
    (Engine::V29, true),
    (Engine::V29, false),
];

#[test]
fn the_two_agree_on_a_project_with_everything() {
    for (engine, proxy) in KINDS {
        let (asked, wrong) = scene(engine, proxy).differences(usize::MAX);
        assert!(asked > 5_000, "only {asked} questions");
        assert!(
            wrong.is_empty(),
            "{engine:?}, userland proxy {proxy}: {} of {asked}:\n{}",
            wrong.len(),
            wrong[..wrong.len().min(60)].join("\n")
        );
    }
}

/// The first question whose answer depends on a rule of the model.
fn first_to_notice(scene: &Scene, rule: Rule) -> Option<String> {
    let model = |rules| {
        Model::with_rules(
            &[&scene.project],
            &scene.assigned,
            engine(&scene.lab),
            &scene.machine,
            rules,
        )
    };
    let (whole, less) = (model(Rules::ALL), model(Rules::without(rule)));
    for from in scene.ends() {
        for (to, transport) in scene.targets() {
            let texts =
                [&whole, &less].map(|m| outcome_text(&m.reach(&from, to, transport), transport));
            if texts[0] != texts[1] {
                return Some(format!(
                    "{from} -> {to} {transport:?}: {}, without the rule {}",
                    texts[0], texts[1]
                ));
            }
        }
        for name in scene.all_names() {
            let found = [&whole, &less].map(|model| model.resolve(&from, &name));
            if found[0] != found[1] {
                return Some(format!(
                    "{from} asks {name}: {:?}, without the rule {:?}",
                    found[0], found[1]
                ));
            }
        }
    }
    None
}

/// Rules that no packet shows in the world that is around a lab: there nobody but the host has a route to
/// the addresses of containers. The records' other machine has one.
const RECORDED: &[Rule] = &[Rule::Entry];

/// On a project on which model and packets agree in all, so that packets would tell; or in a record.
#[test]
fn every_rule_of_the_model_matters() {
    let scenes = KINDS.map(|(engine, proxy)| scene(engine, proxy));
    for &rule in Rule::ALL {
        if RECORDED.contains(&rule) {
            let wrong = records::wrong_with(Rules::without(rule));
            assert!(!wrong.is_empty(), "no record notices that {rule:?} is off");
            continue;
        }
        let noticed = scenes.iter().find_map(|scene| first_to_notice(scene, rule));
        assert!(noticed.is_some(), "nobody notices that {rule:?} is off");
    }
}

/// Takes the firewall's rules of a kind away; how many there were.
fn without(scene: &mut Scene, word: &str) -> usize {
    let host = scene.lab.places().host;
    let removed = scene.lab.net_mut().with_ns(host, |netns, _| {
        let Some(firewall) = netns.firewall_mut() else {
            return 0;
        };
        let all = firewall.rules.all();
        let kind: Vec<RuleId> = all
            .filter(|(_, rule)| {
                let about = rule.origin.network.map_or("", |_| rule.origin.word);
                about.starts_with(word)
            })
            .map(|(id, _)| id)
            .collect();
        for &rule in &kind {
            firewall.rules.remove(rule);
        }
        kind.len()
    });
    removed.unwrap_or(0)
}

/// Kinds of rules as their origin calls them, and for which engine with or without proxy they are there.
/// `DROP REMOTE LOOPBACK` is not here: the host takes nothing for its loopback from elsewhere anyway.
const LAB: &[(&str, Engine, bool)] = &[
    ("ICC", Engine::V20_10, true),
    ("ICC", Engine::V29, true),
    ("LINK", Engine::V20_10, true),
    ("LINK", Engine::V29, true),
    ("INTERNAL NETWORK", Engine::V20_10, true),
    ("INTERNAL NETWORK", Engine::V29, true),
    ("ISOLATION", Engine::V20_10, true),
    ("UNPUBLISHED PORT DROP", Engine::V29, true),
    ("OUTGOING", Engine::V20_10, true),
    ("OUTGOING", Engine::V29, true),
    ("ESTABLISHED", Engine::V20_10, true),
    ("ESTABLISHED", Engine::V29, true),
    ("PUBLISHED PORT", Engine::V20_10, true),
    ("PUBLISHED PORT", Engine::V29, true),
    ("DNAT", Engine::V20_10, true),
    ("DNAT", Engine::V29, true),
    ("SKIP DNAT", Engine::V20_10, true),
    ("MASQUERADE", Engine::V20_10, true),
    ("MASQUERADE", Engine::V29, true),
    ("MASQUERADE FROM HOST", Engine::V20_10, false),
    ("MASQUERADE FROM HOST", Engine::V29, false),
    ("MASQ TO OWN PORT", Engine::V20_10, false),
    ("MASQ TO OWN PORT", Engine::V29, false),
    ("DROP DIRECT ACCESS", Engine::V29, true),
    ("BRIDGE ADDRESS", Engine::V29, true),
    ("ICMP", Engine::V29, true),
];

#[test]
fn every_kind_of_firewall_rule_matters() {
    for &(word, engine, proxy) in LAB {
        let mut scene = scene(engine, proxy);
        let removed = without(&mut scene, word);
        assert!(removed > 0, "{engine:?} has no rule {word}");
        let (asked, wrong) = scene.differences(1);
        assert!(
            !wrong.is_empty(),
            "{engine:?}, userland proxy {proxy}: nobody notices that {word} is gone ({asked} asked)"
        );
    }
}
