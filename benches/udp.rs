//! What does a datagram of 22 B cost: through docker0, and through masquerade to another machine?
//!
//! API: connected UDP sockets, `send` and `recv` of `Lab::sys`, one call a datagram, 64 sent before
//! `Lab::poll`. On: docker0's rules with connection tracking, counters, the stream of events (drained every
//! turn); *copy* mode; checksums left partial, as veth has it by default. Every datagram holds its
//! number and has to arrive in its turn, every byte compared. The masquerade row counts both ways: the
//! machine on the uplink's segment answers each datagram to the address that it saw.
//!
//! The anchor is the same frames without sockets: raw Ethernet frames between the two containers.

use core::net::{IpAddr, SocketAddr};

use crate::common::lab::{Host, assert_tracked, events, on_docker0, quiet};
use crate::common::{Report, Rounds, Row, rate};
use vethlab::core::app::{Family, SockKind, Sys};
use vethlab::core::id::{NsId, SockId};
use vethlab::core::lab::{Lab, LabConfig, Output};
use vethlab::core::netns::Errno;

/// Bytes of a datagram.
const SIZE: usize = 22;
/// Datagrams that are sent before the lab works.
const BATCH: u64 = 64;

/// The datagram with this number.
fn datagram(number: u64) -> [u8; SIZE] {
    let mut bytes = [0x5a; SIZE];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[SIZE - 1] = number as u8;
    bytes
}

/// A lab with two sockets that know each other.
pub(crate) struct Flow {
    lab: Lab,
    client: (NsId, SockId),
    server: (NsId, SockId),
    number: u64,
}

fn bound(lab: &mut Lab, ns: NsId, at: SocketAddr) -> SockId {
    let mut sys = lab.sys(ns);
    let sock = sys.socket(SockKind::Udp, Family::V4).expect("a socket");
    sys.bind(sock, at).expect("it binds");
    sock
}

impl Flow {
    /// From one container to another.
    pub(crate) fn bridged() -> Self {
        let (mut lab, hosts) = on_docker0(LabConfig::default(), 2);
        let (from, to) = (hosts[0], hosts[1]);
        let server = bound(&mut lab, to.ns, SocketAddr::from((to.v4, 4000)));
        Self::to(lab, from, SocketAddr::from((to.v4, 4000)), (to.ns, server))
    }

    /// From a container to the machine on the uplink's segment.
    pub(crate) fn masqueraded() -> Self {
        let (mut lab, hosts) = on_docker0(LabConfig::default(), 1);
        let at = SocketAddr::from(([192, 0, 2, 9], 4000));
        let lan = lab.places().lan;
        let server = bound(&mut lab, lan, at);
        Self::to(lab, hosts[0], at, (lan, server))
    }

    fn to(mut lab: Lab, from: Host, at: SocketAddr, server: (NsId, SockId)) -> Self {
        let client = bound(&mut lab, from.ns, SocketAddr::from((from.v4, 4001)));
        lab.sys(from.ns).connect(client, at).expect("it connects");
        // The first datagram tells the server who asks.
        let sent = lab.sys(from.ns).send(client, b"hello");
        assert_eq!(sent, Ok(5));
        quiet(&mut lab);
        let heard = lab.sys(server.0).recv_from(server.1, &mut [0; SIZE]);
        let seen = heard.expect("a datagram").from;
        let translated = seen.ip() != IpAddr::from(from.v4);
        assert_eq!(translated, server.0 == lab.places().lan, "seen as {seen}");
        lab.sys(server.0)
            .connect(server.1, seen)
            .expect("it connects");
        assert_tracked(&lab, 1);
        Self {
            lab,
            client: (from.ns, client),
            server,
            number: 0,
        }
    }

    /// A batch from one end to the other.
    fn pass(&mut self, from: (NsId, SockId), to: (NsId, SockId)) -> u64 {
        let first = self.number;
        let mut sys = self.lab.sys(from.0);
        for number in first..first + BATCH {
            assert_eq!(sys.send(from.1, &datagram(number)), Ok(SIZE));
        }
        while !matches!(self.lab.poll(), Output::Idle(_)) {}
        let mut buffer = [0; SIZE + 1];
        let mut sys = self.lab.sys(to.0);
        for number in first..first + BATCH {
            assert_eq!(sys.recv(to.1, &mut buffer), Ok(SIZE));
            assert_eq!(buffer[..SIZE], datagram(number));
        }
        assert_eq!(sys.recv(to.1, &mut buffer), Err(Errno::WouldBlock));
        self.number += BATCH;
        // Sent, forwarded, delivered.
        assert!(events(&mut self.lab) >= 3 * BATCH);
        BATCH
    }

    /// A batch there; the datagrams that arrived.
    pub(crate) fn there(&mut self) -> u64 {
        self.pass(self.client, self.server)
    }

    /// A batch there and one back.
    pub(crate) fn both_ways(&mut self) -> u64 {
        self.pass(self.client, self.server) + self.pass(self.server, self.client)
    }
}

/// Frames of the datagrams' size between two containers, without sockets.
pub(crate) struct Raw {
    lab: Lab,
    from: Host,
    to: Host,
    frame: Vec<u8>,
}

impl Raw {
    pub(crate) fn new() -> Self {
        let (mut lab, hosts) = on_docker0(LabConfig::default(), 2);
        let (from, to) = (hosts[0], hosts[1]);
        lab.net_mut().raw(from.eth0, true);
        lab.net_mut().raw(to.eth0, true);
        let mut frame = [to.mac, from.mac].concat();
        frame.extend_from_slice(&[0x88, 0xb5]);
        frame.resize(14 + 28 + SIZE, 7);
        Self {
            lab,
            from,
            to,
            frame,
        }
    }

    pub(crate) fn turn(&mut self) -> u64 {
        for _ in 0..BATCH {
            let sent = self.lab.net_mut().raw_send(self.from.eth0, &self.frame);
            assert_eq!(sent, Ok(()));
        }
        while !matches!(self.lab.poll(), Output::Idle(_)) {}
        for _ in 0..BATCH {
            let same = |bytes: &[u8]| bytes == self.frame;
            let heard = self.lab.net_mut().raw_recv(self.to.eth0, same);
            assert_eq!(heard, Some(true));
        }
        events(&mut self.lab);
        BATCH
    }
}

pub(crate) fn run(report: &mut Report) {
    report.about(&format!(
        "socket calls by Lab::sys, datagrams of {SIZE} B, {BATCH} sent a turn, copy mode; \
         on: docker0's rules with connection tracking, counters, events; all compared"
    ));
    let (mut flow, mut raw) = (Flow::bridged(), Raw::new());
    Row::rate("docker0, one way", "datagrams/s").against(
        report,
        ("veth-docker0-veth", |rounds: Rounds| {
            rate(rounds, || flow.there())
        }),
        ("raw frames", |rounds| rate(rounds, || raw.turn())),
    );
    let mut flow = Flow::masqueraded();
    Row::rate("masquerade, both ways", "datagrams/s").against(
        report,
        ("container-host-lan", |rounds: Rounds| {
            rate(rounds, || flow.both_ways())
        }),
        ("raw frames", |rounds| rate(rounds, || raw.turn())),
    );
}
