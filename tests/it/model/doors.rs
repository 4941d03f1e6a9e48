//! Host ports: who holds them, and from which address they answer.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use emulator_core::docker::spec::Engine;
use emulator_core::lab::probe::{Answer, Question};
use vethlab::assigned::{assigned, engine, machine};
use vethlab::model::{End, Model, Reach, Transport};
use vethlab::world::{Options, World};

fn up(text: &str, kind: Engine, proxy: bool) -> World<'static> {
    let project = Box::leak(Box::new(emulator_compose::load_str(text).unwrap()));
    let mut options = Options::new(1, kind);
    options.daemon.userland_proxy = proxy;
    World::with(project, &options).unwrap()
}

/// What packets and the model say of a call, which has to be the same.
fn call(world: &mut World<'_>, from: &End, to: SocketAddr, transport: Transport) -> Reach {
    let (project, _) = world.first().unwrap();
    let (assigned, machine) = (assigned(&world.lab), machine(&world.lab));
    let model = Model::new(&[project], &assigned, engine(&world.lab), &machine);
    let computed = model.reach(from, to, transport).reach;
    let ns = match from {
        End::Container(name) => world.lab.namespace(name).unwrap(),
        _ => world.lab.places().host,
    };
    let question = match transport {
        Transport::Udp => Question::Udp(to, b"?"),
        _ => Question::Tcp(to, b""),
    };
    let seen = match world.lab.probe(ns, &question, Duration::from_secs(5)) {
        Answer::Open(_) => Reach::Open,
        Answer::Closed => Reach::Closed,
        Answer::Timeout => Reach::Timeout,
        Answer::Failed(errno) => panic!("{errno:?}"),
    };
    assert_eq!(computed, seen, "{from} -> {to} {transport:?}");
    seen
}

/// The kernel gives a port of one address to nobody else while somebody has it on every address: neither
/// docker-proxy nor the daemon lets its sockets share (Go sets `SO_REUSEADDR` on streams only, and of two that
/// listen that helps none). 20.10 finds out by trying, and takes the next port.
#[test]
fn an_address_and_every_address_do_not_share_a_port() {
    for (kind, proxy) in [
        (Engine::V20_10, true),
        (Engine::V20_10, false),
        (Engine::V29, true),
        (Engine::V29, false),
    ] {
        for proto in ["tcp", "udp"] {
            let text = format!(
                "name: p
services:
  a: {{image: i, ports: ['100/{proto}']}}
  b: {{image: i, ports: ['192.0.2.2::100/{proto}']}}
"
            );
            let world = up(&text, kind, proxy);
            let port = |name: &str| world.lab.published(name)[0].host_port;
            let ports = (port("p-a-1"), port("p-b-1"));
            assert_eq!(ports, (32768, 32769), "{kind:?}, proxy {proxy}, {proto}");
        }
    }
}

/// docker-proxy's UDP socket is bound to every address. Since 28.0 it answers from the one that was asked
/// (`IP_PKTINFO`), before from the one of the way back, which a client that has asked another one does not
/// take.
#[test]
fn udp_is_answered_from_the_address_that_was_asked() {
    let text = "name: p
services: {a: {image: i, ports: ['5300:100/udp']}, b: {image: i}}
";
    for (kind, expected) in [(Engine::V20_10, Reach::Timeout), (Engine::V29, Reach::Open)] {
        let mut world = up(text, kind, true);
        let b = End::Container("p-b-1".into());
        let of = |text: &str| SocketAddr::new(text.parse::<IpAddr>().unwrap(), 5300);
        let own = call(&mut world, &b, of("172.18.0.1"), Transport::Udp);
        assert_eq!(own, Reach::Open, "{kind:?}, the bridge's own address");
        let uplink = call(&mut world, &b, of("192.0.2.2"), Transport::Udp);
        assert_eq!(uplink, expected, "{kind:?}, the uplink's address");
    }
}

/// Without the proxy the daemon holds the port, and a call that is not translated, such as the host's to
/// `::1`, meets its socket: in 20.10 the kernel accepts and nobody reads; in 29 a filter drops it.
#[test]
fn a_port_that_is_only_held() {
    let text = "name: p
services: {a: {image: i, ports: ['8000:100']}}
networks: {default: {enable_ipv6: true, ipam: {config: [{subnet: 10.1.0.0/24}, {subnet: 'fd00:1::/64'}]}}}
";
    for (kind, expected) in [(Engine::V20_10, Reach::Open), (Engine::V29, Reach::Timeout)] {
        let mut world = up(text, kind, false);
        let to = "[::1]:8000".parse().unwrap();
        let seen = call(&mut world, &End::Host, to, Transport::Tcp);
        assert_eq!(seen, expected, "{kind:?}");
    }
}
