//! What does a name cost: an A query for another container's name to 127.0.0.11, over the stack?
//!
//! API: a connected UDP socket by `Lab::sys`, `Lab::poll`; the embedded DNS runs in the sandbox. On: rules,
//! counters, events. Each answer's id, counts and address are checked.
//!
//! The anchor is the same datagrams to and from a plain UDP socket on 127.0.0.1 that sends them back.

use core::net::SocketAddr;

use crate::common::lab::{Host, container, events, host, lab, network, quiet, start};
use crate::common::{Report, Rounds, Row, rate};
use vethlab::core::app::{Family, SockKind, Sys};
use vethlab::core::id::SockId;
use vethlab::core::lab::{Lab, LabConfig};

fn query(id: u16) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(b"\x02db\x00\x00\x01\x00\x01");
    bytes
}

pub(crate) struct Names {
    lab: Lab,
    web: Host,
    db: Host,
    sock: SockId,
    echo: SockId,
    to_echo: SockId,
    id: u16,
}

impl Names {
    pub(crate) fn new() -> Self {
        let mut lab = lab(LabConfig::default());
        lab.network_create(network("front", "10.10.0.0/24"))
            .expect("a network");
        for name in ["web", "db"] {
            start(&mut lab, container(name, "busybox", "front")).expect("it starts");
        }
        quiet(&mut lab);
        let (web, db) = (host(&lab, "web"), host(&lab, "db"));
        let mut sys = lab.sys(web.ns);
        let mut open = || sys.socket(SockKind::Udp, Family::V4).expect("a socket");
        let (sock, echo, to_echo) = (open(), open(), open());
        let dns = SocketAddr::from(([127, 0, 0, 11], 53));
        sys.connect(sock, dns).expect("it connects");
        let at = SocketAddr::from(([127, 0, 0, 1], 5353));
        sys.bind(echo, at).expect("it binds");
        sys.connect(to_echo, at).expect("it connects");
        Self {
            lab,
            web,
            db,
            sock,
            echo,
            to_echo,
            id: 0,
        }
    }

    pub(crate) fn resolve(&mut self) -> u64 {
        self.id = self.id.wrapping_add(1);
        let asked = query(self.id);
        let sent = self.lab.sys(self.web.ns).send(self.sock, &asked);
        assert_eq!(sent, Ok(asked.len()));
        quiet(&mut self.lab);
        let mut answer = [0; 512];
        let count = self.lab.sys(self.web.ns).recv(self.sock, &mut answer);
        let answer = &answer[..count.expect("an answer")];
        assert_eq!(answer[..2], self.id.to_be_bytes());
        assert_eq!(answer[6..8], [0, 1], "one record");
        assert_eq!(answer[answer.len() - 4..], self.db.v4);
        1
    }

    fn echoed(&mut self) -> u64 {
        self.id = self.id.wrapping_add(1);
        let asked = query(self.id);
        let mut buffer = [0; 512];
        let mut sys = self.lab.sys(self.web.ns);
        assert_eq!(sys.send(self.to_echo, &asked), Ok(asked.len()));
        quiet(&mut self.lab);
        let mut sys = self.lab.sys(self.web.ns);
        let heard = sys.recv_from(self.echo, &mut buffer).expect("a query");
        let sent = sys.send_to(self.echo, &buffer[..heard.len], heard.from);
        assert_eq!(sent, Ok(asked.len()));
        quiet(&mut self.lab);
        let count = self.lab.sys(self.web.ns).recv(self.to_echo, &mut buffer);
        assert_eq!(buffer[..count.expect("an answer")], asked);
        events(&mut self.lab);
        1
    }
}

pub(crate) fn run(report: &mut Report) {
    report.about(
        "A query for a container's name to 127.0.0.11 over UDP; on: rules, counters, events",
    );
    let (mut names, mut echo) = (Names::new(), Names::new());
    Row::rate("query and answer", "/s").reach(1e6).against(
        report,
        ("embedded DNS", |rounds: Rounds| {
            rate(rounds, || names.resolve())
        }),
        ("UDP echo on 127.0.0.1", |rounds: Rounds| {
            rate(rounds, || echo.echoed())
        }),
    );
}
