//! Worlds: listeners stand exactly where they are said to, projects find each other's networks.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;

use emulator_compose::{Options as Load, Project};
use emulator_core::docker::spec::{Listening, Port, Proto};
use emulator_core::lab::probe::{Answer, Question};
use emulator_core::netns::Errno;
use vethlab::project::up_with;
use vethlab::world::{Options, World};

fn project(name: &str, text: &str) -> Project {
    let mut files = BTreeMap::from([("compose.yaml".to_owned(), text.to_owned())]);
    let options = Load {
        files: vec!["compose.yaml".to_owned()],
        project_name: Some(name.to_owned()),
        ..Load::default()
    };
    emulator_compose::load(&mut files, &options).unwrap()
}

const fn tcp(number: u16) -> Port {
    Port {
        number,
        proto: Proto::Tcp,
    }
}

fn ask(world: &mut World<'_>, from: &str, to: SocketAddr) -> Answer {
    let ns = world.lab.namespace(from).unwrap();
    world
        .lab
        .probe(ns, &Question::Tcp(to, b""), Duration::from_secs(5))
}

/// 127.0.0.1:3000 refuses from another container and answers in its own; another socket tells the caller's
/// address.
#[test]
fn listeners_stand_at_their_addresses() {
    let project = project(
        "p",
        "services: {a: {image: busybox}, b: {image: nginx, command: sh}}",
    );
    let loopback = Listening {
        address: Some(Ipv4Addr::LOCALHOST.into()),
        port: tcp(3000),
    };
    let every = Listening {
        address: None,
        port: tcp(4000),
    };
    let mut world = World::empty(&Options::default()).unwrap();
    let up = up_with(&mut world.lab, &project, |service| {
        Some(match service.name.as_str() {
            "b" => vec![loopback, every],
            _ => Vec::new(),
        })
    });
    assert!(up.is_complete(), "{up:?}");
    assert!(world.answers("p-b-1", loopback) && world.answers("p-b-1", every));
    assert!(!world.answers("p-a-1", every), "nobody listens in a");
    assert!(!world.answers("nobody", every));
    let b: IpAddr = "172.18.0.3".parse().unwrap();
    let refused = Answer::Failed(Errno::ConnRefused);
    assert_eq!(ask(&mut world, "p-a-1", SocketAddr::new(b, 3000)), refused);
    let seen = Answer::Open(b"172.18.0.2\n".to_vec());
    assert_eq!(ask(&mut world, "p-a-1", SocketAddr::new(b, 4000)), seen);
    let port = SocketAddr::new(b, 80);
    assert_eq!(ask(&mut world, "p-a-1", port), refused, "no image runs");
}

/// The project that makes a network comes before the one that expects it, however they are given; a network of
/// nobody's is made empty.
#[test]
fn projects_share_their_networks() {
    let web = project(
        "web",
        "services: {web: {image: x, expose: [80], networks: [front, lost]}}
networks: {front: {external: true, name: proxy_front}, lost: {external: true}}",
    );
    let proxy = project(
        "proxy",
        "services: {proxy: {image: x, networks: [front]}}
networks: {front: {}}",
    );
    let mut world = World::empty(&Options::default()).unwrap();
    world.start(&[&web, &proxy]).unwrap();
    assert_eq!(world.stand_ins, ["lost"]);
    let names: Vec<_> = world.up.iter().map(|(project, _)| &project.name).collect();
    assert_eq!(names, ["proxy", "web"]);
    assert!(world.up.iter().all(|(_, up)| up.is_complete()));
    let proxy = world.lab.namespace("proxy-proxy-1").unwrap();
    let web = world.lab.lookup(proxy, "web")[0];
    let seen = ask(&mut world, "proxy-proxy-1", SocketAddr::new(web, 80));
    assert!(matches!(seen, Answer::Open(_)), "{seen:?}");
}

/// A network that somebody else makes is made as the file says that it is.
#[test]
fn an_external_network_is_what_the_file_says() {
    let project = project(
        "p",
        "services: {a: {image: x, expose: [80], networks: [n]}, b: {image: x, networks: [n]}}
networks:
  n:
    external: true
    name: sealed
    x-vethlab:
      internal: true
      driver_opts: {com.docker.network.bridge.enable_icc: 'false'}
      ipam: {config: [{subnet: 10.5.0.0/24}]}",
    );
    let mut world = World::empty(&Options::default()).unwrap();
    world.start(&[&project]).unwrap();
    assert_eq!(world.stand_ins, ["sealed"]);
    let network = world.lab.docker().network("sealed").unwrap();
    assert!(network.internal && network.spec.labels.is_empty());
    let a: IpAddr = "10.5.0.2".parse().unwrap();
    let ns = world.lab.namespace("p-a-1").unwrap();
    assert!(world.lab.net().ns(ns).unwrap().is_local(a));
    assert_eq!(
        ask(&mut world, "p-b-1", SocketAddr::new(a, 80)),
        Answer::Timeout
    );
}

/// `s1` stays behind in a namespace without interfaces when `s0` is made anew, and whoever joins it then is there too.
#[test]
fn who_joins_one_that_lost_its_network_has_none() {
    let text = "services:
  s0: {image: probe}
  s1: {image: probe, network_mode: 'service:s0'}
  s2: {image: probe, network_mode: 'service:s1'}
";
    let project = project("p", text);
    for first in ["s0", "s2"] {
        let mut world = World::with(&project, &Options::default()).unwrap();
        let running = |world: &World<'_>| {
            let assigned = world.assigned();
            ["p-s0-1", "p-s1-1", "p-s2-1"].map(|name| assigned.container(name).unwrap().running)
        };
        assert_eq!(running(&world), [true; 3]);
        world.recreate(&project, first, false);
        assert_eq!(running(&world), [true, first != "s0", first != "s0"]);
        world.recreate(&project, "s2", false);
        assert_eq!(running(&world), [true, first != "s0", first != "s0"]);
        world.recreate(&project, "s1", false);
        world.recreate(&project, "s2", false);
        assert_eq!(running(&world), [true; 3], "mended in order");
    }
}

/// Compose asks for an external network by its name: one whose id begins so is another.
#[test]
fn an_external_network_is_not_a_part_of_an_id() {
    for digit in "0123456789abcdef".chars() {
        let file = format!(
            "services: {{web: {{image: x, expose: ['80'], networks: [n]}}}}\nnetworks: {{n: {{external: true, name: '{digit}'}}}}"
        );
        let project = project("p", &file);
        let world = World::with(&project, &Options::default()).unwrap();
        assert_eq!(world.stand_ins, [digit.to_string()]);
        assert!(world.first().unwrap().1.is_complete(), "{digit}");
    }
}
