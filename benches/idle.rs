//! Does an idle socket cost anything while others work?
//!
//! API: socket calls by `Lab::sys`, `Lab::poll`. One request and response of 1 B over one connection between
//! two containers, while so many others are open between the same two and say nothing. On: docker0's rules
//! with connection tracking, counters, events.
//!
//! The anchor is the same with one connection in the namespaces.

use crate::common::lab::{Host, assert_tracked, connection_to, events, listener, on_docker0};
use crate::common::{Plot, Report, Rounds, Row, rate};
use vethlab::core::app::Sys;
use vethlab::core::id::SockId;
use vethlab::core::lab::{Input, Lab, LabConfig, Output};

/// Bytes of each socket's buffers.
const BUFFER: usize = 4096;

struct Crowd {
    lab: Lab,
    a: Host,
    b: Host,
    client: SockId,
    server: SockId,
}

impl Crowd {
    fn new(sockets: usize) -> Self {
        let (mut lab, hosts) = on_docker0(LabConfig::default(), 2);
        let (a, b) = (hosts[0], hosts[1]);
        let listener = listener(&mut lab, b, 80, BUFFER);
        let mut last = None;
        for _ in 0..sockets {
            last = Some(connection_to(&mut lab, a, (b, 80), listener, BUFFER));
        }
        assert_tracked(&lab, sockets);
        let (client, server) = last.expect("at least one");
        Self {
            lab,
            a,
            b,
            client,
            server,
        }
    }

    fn request(&mut self) -> u64 {
        let (a, b) = (self.a.ns, self.b.ns);
        for (from, by, to, at) in [
            (a, self.client, b, self.server),
            (b, self.server, a, self.client),
        ] {
            assert_eq!(self.lab.sys(from).send(by, &[7]), Ok(1));
            while !matches!(self.lab.poll(), Output::Idle(_)) {}
            let mut heard = [0; 2];
            assert_eq!(self.lab.sys(to).recv(at, &mut heard), Ok(1));
            assert_eq!(heard[0], 7);
        }
        assert!(events(&mut self.lab) >= 6);
        1
    }

    fn rate(&mut self, rounds: Rounds) -> f64 {
        rate(rounds, || (0..64).map(|_| self.request()).sum())
    }

    /// Time moves on and there is nothing to do.
    fn idle_polls(&mut self, rounds: Rounds) -> f64 {
        const POLLS: u64 = 1024;
        rate(rounds, || {
            for _ in 0..POLLS {
                let now = self.lab.now() + core::time::Duration::from_nanos(1);
                self.lab.handle(now, Input::Tick);
                assert!(matches!(self.lab.poll(), Output::Idle(_)));
            }
            POLLS
        })
    }
}

pub(crate) fn run(report: &mut Report) {
    report.about("request and response of 1 B among open connections; on: rules, counters, events");
    for sockets in [10, 100, 1_000, 10_000_u16] {
        let (mut one, mut many) = (Crowd::new(1), Crowd::new(sockets.into()));
        let mut row = Row::rate(format!("{sockets} connections in each namespace"), "/s").point(
            Plot::Sockets,
            f64::from(sockets),
            "among idle connections",
        );
        if sockets == 10_000 {
            row = row.ratio(0.85);
        }
        row.against(
            report,
            ("among them", |rounds| many.rate(rounds)),
            ("1 connection", |rounds| one.rate(rounds)),
        );
        Row::rate(format!("idle polls, {sockets} connections"), "poll/s")
            .point(
                Plot::Sockets,
                f64::from(sockets),
                "a poll with nothing to do",
            )
            .against(
                report,
                ("all idle", |rounds| many.idle_polls(rounds)),
                ("1 connection", |rounds| one.idle_polls(rounds)),
            );
    }
}
