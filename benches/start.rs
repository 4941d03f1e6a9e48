//! How long until a lab is up: the small one of a test, and one with many containers?
//!
//! API: `Lab::new`, `network_create` with a subnet, for each container `create` and `start`, `Lab::poll`
//! until nothing is left to do now, socket calls by `Lab::sys`. On: rules, counters, events, default buffers.
//! Checked: each container has its address; a sample finds neighbours by name (`Lab::lookup`) and pings them;
//! of the small lab each byte.
//!
//! *verbs* is the time until all are attached and their names are known. The gratuitous ARPs of the first
//! second are a figure of their own: those sent at the attachment, and those a second later.
//!
//! The anchor of the small lab is smoltcp alone: two interfaces and sockets, handshake, the same bytes, drop.

use std::net::SocketAddr;

use crate::bare::Pair;
use crate::common::lab::{container, host, lab, network, quiet, start};
use crate::common::many::{A_NETWORK, check, first_second, up};
use crate::common::{Plot, Report, Row, rate, rounds};
use vethlab::core::app::{Family, SockKind, Sys};
use vethlab::core::lab::LabConfig;
use vethlab::core::netns::Errno;

/// Bytes that each side of the small lab sends.
const BYTES: [u8; 1000] = {
    let mut bytes = [0; 1000];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = (at % 251) as u8;
        at += 1;
    }
    bytes
};

/// Buffers of bare smoltcp's sockets.
const BUFFER: usize = 16 * 1024;

/// One network, two containers, a connection, 1,000 bytes each way; all of it is gone at the end.
pub(crate) fn small() {
    let mut lab = lab(LabConfig::default());
    lab.network_create(network("net", "10.10.0.0/24"))
        .expect("a network");
    for name in ["web", "db"] {
        start(&mut lab, container(name, "busybox", "net")).expect("it starts");
    }
    let (a, b) = (host(&lab, "web"), host(&lab, "db"));
    let mut sys = lab.sys(b.ns);
    let listener = sys.socket(SockKind::Tcp, Family::V4).expect("a socket");
    let server = SocketAddr::from((b.v4, 80));
    sys.bind(listener, server).expect("it binds");
    sys.listen(listener, 16).expect("it listens");
    let mut sys = lab.sys(a.ns);
    let client = sys.socket(SockKind::Tcp, Family::V4).expect("a socket");
    assert_eq!(sys.connect(client, server), Err(Errno::InProgress));
    quiet(&mut lab);
    let (served, _) = lab.sys(b.ns).accept(listener).expect("a connection");
    for (from, by, to, at) in [(a, client, b, served), (b, served, a, client)] {
        assert_eq!(lab.sys(from.ns).send(by, &BYTES), Ok(BYTES.len()));
        quiet(&mut lab);
        let mut heard = [0; 1001];
        assert_eq!(lab.sys(to.ns).recv(at, &mut heard), Ok(BYTES.len()));
        assert!(heard[..1000] == BYTES);
    }
}

/// The same on smoltcp without anything around it.
fn bare() {
    let mut pair = Pair::connected(true, BUFFER);
    for host in [0, 1] {
        let sent = pair.socket(host).send_slice(&BYTES);
        assert_eq!(sent, Ok(BYTES.len()));
        let mut heard = [0; 1001];
        for _ in 0..2 {
            pair.turn();
        }
        assert_eq!(
            pair.socket(1 - host).recv_slice(&mut heard),
            Ok(BYTES.len())
        );
        assert!(heard[..1000] == BYTES);
    }
}

fn repeat(work: fn()) -> u64 {
    for _ in 0..8 {
        work();
    }
    8
}

/// The sizes with how many of them share a network, and the target of the verbs in seconds.
const SIZES: [(usize, usize, Option<f64>); 4] = [
    (100, A_NETWORK, None),
    (1_000, A_NETWORK, Some(0.010)),
    (1_000, 1_000, None),
    (10_000, A_NETWORK, Some(0.120)),
];
/// Takes its time: measured three times, and not in a smoke run.
const LARGE: (usize, usize, Option<f64>) = (100_000, A_NETWORK, Some(1.5));

fn many(
    report: &mut Report,
    (count, per, target): (usize, usize, Option<f64>),
    image: &str,
    often: usize,
) {
    let (mut verbs, mut at_once, mut later) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..often {
        let mut up = up(count, per, image);
        verbs.push(up.verbs);
        at_once.push(up.announced);
        later.push(first_second(&mut up.lab));
        check(&mut up.lab, count, per);
    }
    let name = format!("{count} of {image}, {per} a network");
    let mut row = Row::cost(format!("{name}: verbs"), "s");
    if per == A_NETWORK {
        row = row.point(Plot::Containers, count as f64, image);
    }
    if let Some(target) = target {
        row = row.reach(target);
    }
    row.record(report, ("attached and resolvable", &verbs), None);
    Row::cost(format!("{name}: announced"), "s").record(report, ("at once", &at_once), None);
    Row::cost(format!("{name}: announced again"), "s")
        .with("nobody listening to events")
        .record(report, ("after a second", &later), None);
}

pub(crate) fn run(report: &mut Report) {
    report.about(
        "Lab::new, network_create, create and start of each container, socket calls; on: rules, counters, \
         events, default buffers; dropped at the end",
    );
    Row::cost("1 network, 2 containers, a connection, 1 kB each way", "s")
        .reach(60e-6)
        .against(
            report,
            ("a lab", |rounds| 1.0 / rate(rounds, || repeat(small))),
            ("smoltcp alone", |rounds| {
                1.0 / rate(rounds, || repeat(bare))
            }),
        );
    let rounds = rounds();
    for size in SIZES {
        many(report, size, "busybox", rounds.count);
    }
    many(report, (1_000, A_NETWORK, None), "nginx", rounds.count);
    if rounds.count > 1 {
        many(report, LARGE, "busybox", 3);
    }
}
