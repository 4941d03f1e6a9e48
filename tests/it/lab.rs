//! The lab as its user drives it: what is told is not lost, services keep their bounds and do not stall,
//! what goes away gives back what it held.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use emulator_core::app::{Family, SockKind, Sys};
use emulator_core::docker::spec::{ContainerSpec, IpamConfig, NetworkSpec, Proto};
use emulator_core::id::{NsId, SockId};
use emulator_core::lab::probe::{Answer, Question};
use emulator_core::lab::{Lab, Output};
use emulator_core::net::CaptureAt;
use emulator_core::netns::Errno;
use emulator_core::netns::socket::{PORT_FIRST, PORT_LAST};
use emulator_core::tools;
use switch::DropReason;

use crate::scenes::{How, Stage, publish};

const HOST_PORT: u16 = 8080;
const SECOND: Duration = Duration::from_secs(1);
const QUIET: How = How {
    seed: 1,
    mode: switch::link::Mode::Copy,
    capture: None,
    listen: false,
};

fn stage() -> Stage {
    Stage::new(QUIET)
}

fn container(name: &str, network: &str) -> ContainerSpec {
    ContainerSpec {
        name: Some(name.to_owned()),
        image: "busybox".to_owned(),
        network_mode: network.to_owned(),
        ..ContainerSpec::default()
    }
}

fn tcp(lab: &mut Lab, ns: NsId) -> SockId {
    lab.sys(ns).socket(SockKind::Tcp, Family::V4).unwrap()
}

fn listen(lab: &mut Lab, ns: NsId, port: u16) -> SockId {
    let sock = tcp(lab, ns);
    let mut sys = lab.sys(ns);
    sys.bind(sock, (Ipv4Addr::UNSPECIFIED, port).into())
        .unwrap();
    sys.listen(sock, 16).unwrap();
    sock
}

fn connect(lab: &mut Lab, ns: NsId, to: SocketAddr) -> SockId {
    let sock = tcp(lab, ns);
    let begun = lab.sys(ns).connect(sock, to);
    assert!(
        matches!(begun, Ok(()) | Err(Errno::InProgress)),
        "{begun:?}"
    );
    lab.run_for(SECOND);
    assert_eq!(lab.sys(ns).take_error(sock), None);
    sock
}

const fn byte(at: usize) -> u8 {
    (at % 253) as u8
}

/// Sends `total` known bytes as fast as `from` takes them, while `to` reads no more than `sip` bytes every
/// 50 ms; then ends the sender's half. The reader has every byte once, and the end, and hardly ever finds less than it
/// takes.
fn stream(lab: &mut Lab, from: SockId, to: SockId, total: usize, sip: usize) {
    let bytes: Vec<u8> = (0..total).map(byte).collect();
    let (mut sent, mut got, mut shut) = (0, 0, false);
    let mut buffer = vec![0; sip];
    // A socket takes 32 KiB at a time.
    let sips = total / sip.min(32 * 1024);
    for _ in 0..sips + sips / 8 + 5 {
        while sent < total {
            match lab.sys(from.ns).send(from, &bytes[sent..]) {
                Ok(count) => sent += count,
                Err(errno) => {
                    assert_eq!(errno, Errno::WouldBlock);
                    break;
                }
            }
        }
        if sent == total && !shut {
            shut = true;
            lab.sys(from.ns).shutdown(from).unwrap();
        }
        match lab.sys(to.ns).recv(to, &mut buffer) {
            Ok(0) => {
                assert_eq!((sent, got), (total, total));
                return;
            }
            Ok(count) => {
                assert!((got..got + count).all(|at| buffer[at - got] == byte(at)));
                got += count;
            }
            Err(errno) => assert_eq!(errno, Errno::WouldBlock),
        }
        lab.run_for(Duration::from_millis(50));
    }
    panic!("stalled: {sent} sent, {got} of {total} read");
}

/// A container `web` whose port 80 is the host's 8080, and a connection to it through docker-proxy: the
/// client's end, the server's end.
fn proxied(stage: &mut Stage) -> (SockId, SockId) {
    stage.start(ContainerSpec {
        ports: vec![publish(HOST_PORT, 80, Proto::Tcp)],
        ..container("web", "bridge")
    });
    let (host, web) = (stage.ns("host"), stage.ns("web"));
    let listener = listen(&mut stage.lab, web, 80);
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, HOST_PORT));
    let client = connect(&mut stage.lab, host, to);
    let (server, peer) = stage.lab.sys(web).accept(listener).unwrap();
    // The proxy dials from the bridge's gateway.
    assert_eq!(peer.ip(), IpAddr::from([172, 17, 0, 1]));
    (client, server)
}

#[test]
fn the_proxy_waits_for_slow_readers_and_passes_each_end_on() {
    let mut stage = stage();
    let (client, server) = proxied(&mut stage);
    let lab = &mut stage.lab;
    stream(lab, client, server, 2 << 20, 32 * 1024);
    // The client's half is over; the other still carries.
    stream(lab, server, client, 2 << 20, 32 * 1024);
    for sock in [client, server] {
        lab.sys(sock.ns).close(sock);
    }
    lab.run_for(SECOND * 120);
    assert_eq!(lab.net().pool.in_use(), 0);
}

#[test]
fn the_server_may_end_its_half_first() {
    let mut stage = stage();
    let (client, server) = proxied(&mut stage);
    stream(&mut stage.lab, server, client, 300_000, 100_000);
    stream(&mut stage.lab, client, server, 300_000, 100_000);
}

/// As `io.Copy` in docker-proxy: what breaks one direction does not lose what the other one holds.
#[test]
fn what_a_server_said_before_it_reset_the_client_arrives() {
    let mut stage = stage();
    let (client, server) = proxied(&mut stage);
    let lab = &mut stage.lab;
    // Unread data makes the server's close a reset.
    lab.sys(client.ns).send(client, &[1; 1000]).unwrap();
    lab.run_for(SECOND);
    lab.sys(server.ns).send(server, b"too large").unwrap();
    lab.run_for(SECOND);
    lab.sys(server.ns).close(server);
    lab.run_for(SECOND);
    let mut buffer = [0; 64];
    assert_eq!(lab.sys(client.ns).recv(client, &mut buffer), Ok(9));
    assert_eq!(lab.sys(client.ns).recv(client, &mut buffer), Ok(0));
}

fn flat(stage: &mut Stage, driver: &str) {
    stage.network(NetworkSpec {
        name: "flat".to_owned(),
        driver: driver.to_owned(),
        options: [("parent".to_owned(), "eth0".to_owned())].into(),
        ipam: vec![IpamConfig {
            subnet: "192.0.2.0/24".to_owned(),
            ip_range: "192.0.2.128/28".to_owned(),
            gateway: "192.0.2.1".to_owned(),
            ..IpamConfig::default()
        }],
        ..NetworkSpec::default()
    });
    stage.start(container("box1", "flat"));
    stage.start(container("box2", "flat"));
}

#[test]
fn children_of_the_uplink_reach_each_other_and_the_segment_but_not_the_host() {
    for driver in ["macvlan", "ipvlan"] {
        let mut stage = stage();
        flat(&mut stage, driver);
        let (host, lan, a, b) = (
            [192, 0, 2, 2],
            [192, 0, 2, 9],
            [192, 0, 2, 128],
            [192, 0, 2, 129],
        );
        for (from, to, reached) in [
            ("box1", b, true),
            ("box2", a, true),
            ("box1", lan, true),
            ("lan", a, true),
            ("lan", b, true),
            ("box2", [198, 51, 100, 7], true),
            ("box1", host, false),
            ("host", a, false),
            ("host", b, false),
            ("host", lan, true),
        ] {
            let ns = stage.ns(from);
            let answer = stage.lab.probe(ns, &Question::Ping(to.into()), SECOND * 5);
            let open = matches!(answer, Answer::Open(_));
            assert_eq!(open, reached, "{driver}: {from} to {to:?}: {answer:?}");
        }
        stage.lab.remove("box1", true).unwrap();
        stage.lab.run_for(SECOND * 120);
        assert_eq!(stage.lab.net().pool.in_use(), 0, "{driver}");
    }
}

/// A bridge that does not know where an address is gives each of its ports the same bytes. The rules by which one of them
/// lets them in write into bytes of its own.
#[test]
fn what_is_flooded_is_the_same_for_all_beside_an_ipvlan_child() {
    for mode in [switch::link::Mode::Copy, switch::link::Mode::Move] {
        let mut stage = Stage::new(How { mode, ..QUIET });
        let options = [("parent", "eth0"), ("ipvlan_mode", "l3s")];
        stage.network(NetworkSpec {
            name: "flat".to_owned(),
            driver: "ipvlan".to_owned(),
            options: options
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ipam: vec![IpamConfig {
                subnet: "10.9.0.0/24".to_owned(),
                ..IpamConfig::default()
            }],
            ..NetworkSpec::default()
        });
        stage.start(container("box1", "flat"));
        // The segment has forgotten where the host is.
        stage.lab.run_for(SECOND * 400);
        let places = stage.lab.places();
        let (host, lan, gateway) = (places.host, places.lan, places.gateway);
        let box1 = stage.ns("box1");
        let net = stage.lab.net_mut();
        let at_segment = |ns: NsId| {
            let on = |iface: &emulator_core::netns::Iface| {
                let mut addrs = iface.addrs.iter();
                addrs.any(|at| at.net.contains(&IpAddr::from([192, 0, 2, 2])))
            };
            let iface = net
                .ns(ns)
                .unwrap()
                .ifaces()
                .find(|iface| on(iface))
                .unwrap();
            (iface.id, iface.mac)
        };
        let ((_, to), (sender, from), (other, _)) =
            (at_segment(host), at_segment(lan), at_segment(gateway));
        let child = net.ns(box1).unwrap().iface_named("eth0").unwrap();
        let child = child
            .addrs
            .iter()
            .find(|at| at.net.addr().is_ipv4())
            .unwrap()
            .net
            .addr();
        let IpAddr::V4(child) = child else {
            panic!("an address of another family")
        };
        let mut packet = vec![0x45, 0, 0, 28, 0, 7, 0, 0, 64, 1, 0, 0, 192, 0, 2, 9];
        packet.extend(child.octets());
        packet.extend([8, 0, 0xf7, 0xfd, 0, 1, 0, 1]);
        switch::wire::fill_header_checksum(&mut packet[..20]);
        let mut frame = [&to[..], &from, &[8, 0], &packet].concat();
        frame.resize(60, 0);
        net.raw(other, true);
        net.raw_send(sender, &frame).unwrap();
        stage.lab.run_for(SECOND);
        let net = stage.lab.net_mut();
        assert_eq!(net.raw_recv(other, <[u8]>::to_vec), Some(frame), "{mode:?}");
    }
}

#[test]
fn a_raw_interface_gives_its_frames_to_whoever_takes_them() {
    let mut stage = stage();
    stage.start(container("box1", "bridge"));
    stage.start(container("box2", "bridge"));
    let (a, b) = (stage.ns("box1"), stage.ns("box2"));
    let iface = |stage: &Stage, ns| {
        let netns = stage.lab.net().ns(ns).unwrap();
        netns.iface_named("eth0").unwrap().id
    };
    let (from, to) = (iface(&stage, a), iface(&stage, b));
    // Addresses are announced for a while.
    stage.lab.run_for(SECOND * 10);
    let net = stage.lab.net_mut();
    net.raw(to, true);
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    frame.resize(60, 7);
    net.raw_send(from, &frame).unwrap();
    stage.lab.run_for(SECOND);
    let net = stage.lab.net_mut();
    assert_eq!(net.raw_recv(to, <[u8]>::to_vec), Some(frame));
    assert_eq!(net.raw_recv(to, |_| ()), None);
    assert_eq!(net.raw_recv(from, |_| ()), None, "that one is its stack's");
    let never = net.next_iface();
    assert_eq!(
        net.raw_send(never, &[0; 60]),
        Err(DropReason::InterfaceDown)
    );
    // Given back, what waits is the stack's.
    let ping = Question::Ping([172, 17, 0, 3].into());
    assert_eq!(stage.lab.probe(a, &ping, SECOND), Answer::Timeout);
    stage.lab.net_mut().raw(to, false);
    assert!(matches!(
        stage.lab.probe(a, &ping, SECOND * 5),
        Answer::Open(_)
    ));
}

#[test]
fn a_container_that_goes_in_the_middle_of_a_transfer_leaves_no_frame() {
    let mut stage = stage();
    stage.start(container("box1", "bridge"));
    stage.start(container("box2", "bridge"));
    let (a, b) = (stage.ns("box1"), stage.ns("box2"));
    let lab = &mut stage.lab;
    let listener = listen(lab, b, 80);
    let client = connect(lab, a, SocketAddr::from(([172, 17, 0, 3], 80)));
    let (_server, _) = lab.sys(b).accept(listener).unwrap();
    while lab.sys(a).send(client, &[5; 4096]).is_ok() {}
    // No poll in between: segments are in the rings.
    lab.remove("box2", true).unwrap();
    assert!(lab.net().ns(b).is_none());
    lab.run_for(SECOND * 5);
    lab.remove("box1", true).unwrap();
    lab.run_for(SECOND * 300);
    assert_eq!(lab.net().pool.in_use(), 0);
}

type Happening = fn(&mut Lab, &str);

/// What may happen to a container.
const HAPPENINGS: [(&str, Happening); 8] = [
    ("removed", |lab, name| lab.remove(name, true).unwrap()),
    ("killed", |lab, name| lab.kill(name).unwrap()),
    ("stopped", |lab, name| lab.stop(name).unwrap()),
    ("restarted", |lab, name| lab.restart(name).unwrap()),
    ("paused", |lab, name| lab.pause(name).unwrap()),
    ("disconnected", |lab, name| {
        lab.network_disconnect("bridge", name, true).unwrap();
    }),
    ("unplugged", |lab, name| {
        let iface = eth0(lab, name);
        lab.net_mut().iface_remove(iface);
    }),
    ("down", |lab, name| {
        let (ns, iface) = (lab.namespace(name).unwrap(), eth0(lab, name));
        let down = lab
            .net_mut()
            .with_ns(ns, |netns, cx| netns.iface_up(cx, iface, false));
        down.unwrap().unwrap();
    }),
];

fn eth0(lab: &Lab, name: &str) -> switch::IfId {
    let netns = lab.net().ns(lab.namespace(name).unwrap()).unwrap();
    netns.iface_named("eth0").unwrap().id
}

/// The queue of the writer is full, and frames of it are in rings, or wait for the reader, or for a window.
#[test]
fn whatever_happens_to_a_stream_leaves_no_frame() {
    let turns =
        [switch::link::Mode::Copy, switch::link::Mode::Move].map(|mode| How { mode, ..QUIET });
    let spans = [0, 100, 20_000].map(Duration::from_micros);
    for ((what, happen), how) in HAPPENINGS
        .iter()
        .flat_map(|what| turns.map(|how| (what, how)))
    {
        for (victim, span) in ["box1", "box2"]
            .into_iter()
            .flat_map(|who| spans.map(|at| (who, at)))
        {
            let mut stage = Stage::new(how);
            stage.start(container("box1", "bridge"));
            stage.start(container("box2", "bridge"));
            let (a, b) = (stage.ns("box1"), stage.ns("box2"));
            let lab = &mut stage.lab;
            let listener = listen(lab, b, 80);
            let client = connect(lab, a, SocketAddr::from(([172, 17, 0, 3], 80)));
            let (server, _) = lab.sys(b).accept(listener).unwrap();
            for _ in 0..10 {
                while lab.sys(a).send(client, &[5; 9000]).is_ok() {}
                lab.run_for(span);
            }
            assert!(lab.net().pool.in_use() > 0);
            happen(lab, victim);
            lab.run_for(SECOND * 1_200);
            for sock in [client, server] {
                if lab.net().ns(sock.ns).is_some() {
                    lab.sys(sock.ns).close(sock);
                }
            }
            lab.run_for(SECOND * 1_200);
            assert_eq!(lab.net().pool.in_use(), 0, "{victim} {what} after {span:?}");
        }
    }
}

#[test]
fn what_is_told_during_a_probe_is_told_after_it() {
    let mut stage = stage();
    let lan = stage.ns("lan");
    let argv = ["sleep".to_owned(), "1".to_owned()];
    let lab = &mut stage.lab;
    let sleep = lab.spawn(lan, tools::spawn(&argv).unwrap());
    let nobody = Question::Udp(SocketAddr::from(([192, 0, 2, 77], 9)), b"?");
    let answer = lab.probe(lan, &nobody, SECOND * 2);
    assert!(!matches!(answer, Answer::Open(_)), "{answer:?}");
    assert_eq!(lab.poll(), Output::Exited(sleep, 0));
    assert!(matches!(lab.poll(), Output::Idle(_)));
}

/// Of its own address a socket may be given the very port that it connects to; Linux connects it to itself.
#[test]
fn a_probe_does_not_hear_itself() {
    let mut stage = stage();
    let lan = stage.ns("lan");
    let lab = &mut stage.lab;
    let free = [40_000, 40_001];
    for kind in [SockKind::Udp, SockKind::Tcp] {
        let mut sys = lab.sys(lan);
        for port in (PORT_FIRST..=PORT_LAST).filter(|port| !free.contains(port)) {
            let sock = sys.socket(kind, Family::V4).unwrap();
            sys.bind(sock, (Ipv4Addr::UNSPECIFIED, port).into())
                .unwrap();
        }
    }
    for port in free.repeat(8) {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        for question in [Question::Udp(to, b"?"), Question::Tcp(to, b"")] {
            assert_eq!(
                lab.probe(lan, &question, SECOND),
                Answer::Failed(Errno::ConnRefused),
                "{question:?}"
            );
        }
    }
}

/// A query for `box1` of type A, with a length before it.
fn query(number: u16) -> Vec<u8> {
    let mut message = number.to_be_bytes().to_vec();
    message.extend([
        1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, b'b', b'o', b'x', b'1', 0, 0, 1, 0, 1,
    ]);
    let mut framed = (message.len() as u16).to_be_bytes().to_vec();
    framed.extend(message);
    framed
}

#[test]
fn a_client_that_asks_long_before_it_reads_has_every_answer() {
    const QUERIES: u16 = 60_000;
    let mut stage = stage();
    stage.network(NetworkSpec {
        name: "front".to_owned(),
        ..NetworkSpec::default()
    });
    stage.start(container("box1", "front"));
    let a = stage.ns("box1");
    let lab = &mut stage.lab;
    let sock = connect(lab, a, SocketAddr::from(([127, 0, 0, 11], 53)));
    let bytes: Vec<u8> = (0..QUERIES).flat_map(query).collect();
    let (mut sent, mut heard) = (0, Vec::new());
    // Until neither side takes more.
    loop {
        let before = sent;
        while let Ok(count) = lab.sys(a).send(sock, &bytes[sent..]) {
            sent += count;
            if sent == bytes.len() {
                break;
            }
        }
        lab.run_for(SECOND);
        if sent == before {
            break;
        }
    }
    assert!(sent < bytes.len(), "the server took {sent} bytes unread");
    let mut buffer = [0; 65_536];
    for _ in 0..1000 {
        while sent < bytes.len() {
            match lab.sys(a).send(sock, &bytes[sent..]) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        while let Ok(count @ 1..) = lab.sys(a).recv(sock, &mut buffer) {
            heard.extend_from_slice(&buffer[..count]);
        }
        lab.run_for(Duration::from_millis(100));
    }
    let (mut rest, mut answers) = (&heard[..], 0);
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let (message, after) = after.split_at(usize::from(u16::from_be_bytes(*len)));
        assert_eq!(message[..2], (answers as u16).to_be_bytes());
        answers += 1;
        rest = after;
    }
    assert_eq!((sent, answers), (bytes.len(), usize::from(QUERIES)));
}

#[test]
fn a_capture_ends_and_another_begins() {
    let mut stage = stage();
    let host = stage.ns("host");
    let lab = &mut stage.lab;
    let ping = Question::Ping([192, 0, 2, 9].into());
    assert!(lab.capture_take().is_empty());
    let section = 0x0a0d_0d0a_u32.to_le_bytes();
    for _ in 0..2 {
        lab.capture_start(CaptureAt::Crossing);
        lab.probe(host, &ping, SECOND);
        lab.capture_finish();
        let bytes = lab.capture_take();
        assert_eq!(bytes[..4], section);
        lab.probe(host, &ping, SECOND);
        assert!(lab.capture_take().is_empty(), "it goes on after its end");
    }
}

#[test]
fn a_lab_goes_to_another_thread() {
    let mut lab = stage().lab;
    let host = lab.places().host;
    let ping = Question::Ping([192, 0, 2, 9].into());
    let answer = std::thread::spawn(move || lab.probe(host, &ping, SECOND));
    assert!(matches!(answer.join().unwrap(), Answer::Open(_)));
}

#[test]
fn many_containers_announce_themselves_without_a_loss_and_then_rest() {
    const MEMBERS: u32 = 400;
    let mut lab = stage().lab;
    let subnet = IpamConfig {
        subnet: "10.10.0.0/16".to_owned(),
        ..IpamConfig::default()
    };
    lab.network_create(NetworkSpec {
        name: "big".to_owned(),
        ipam: vec![subnet],
        ..NetworkSpec::default()
    })
    .unwrap();
    for number in 0..MEMBERS {
        let name = format!("c{number}");
        lab.create(container(&name, "big")).unwrap();
        lab.start(&name).unwrap();
        lab.settle();
    }
    lab.run_for(5 * SECOND);
    assert_eq!(lab.deadline(), None, "an idle container wakes nobody");
    // All are due at one moment: together they would be more frames than the pool has.
    assert_eq!(lab.net().trace.drops.total(), 0);
    for (asker, asked) in [("c0", "c399"), ("c399", "c7")] {
        let ns = lab.namespace(asker).unwrap();
        let found = lab.lookup(ns, asked);
        let [IpAddr::V4(address)] = found[..] else {
            panic!("{asked} is {found:?}");
        };
        assert_eq!(address.octets()[..2], [10, 10]);
        let answer = lab.probe(ns, &Question::Ping(address.into()), SECOND);
        assert!(matches!(answer, Answer::Open(_)), "{answer:?}");
    }
}

/// Nobody can tell that the embedded DNS starts when it is first asked: its address is taken before.
#[test]
fn the_address_of_the_embedded_dns_is_taken_before_anybody_asks() {
    let mut lab = stage().lab;
    lab.network_create(NetworkSpec {
        name: "net".to_owned(),
        ..NetworkSpec::default()
    })
    .unwrap();
    lab.create(container("web", "net")).unwrap();
    lab.start("web").unwrap();
    lab.settle();
    let ns = lab.namespace("web").unwrap();
    for kind in [SockKind::Tcp, SockKind::Udp] {
        let mut sys = lab.sys(ns);
        let sock = sys.socket(kind, Family::V4).unwrap();
        let bound = sys.bind(sock, (Ipv4Addr::new(127, 0, 0, 11), 53).into());
        assert_eq!(bound, Err(Errno::AddrInUse), "{kind:?}");
        assert_eq!(sys.bind(sock, (Ipv4Addr::UNSPECIFIED, 53).into()), Ok(()));
    }
    assert_eq!(lab.lookup(ns, "web").len(), 1);
}
