//! How late is what real time wants, while there is much to do?
//!
//! A lab on the wall clock ([`Runtime`]). An attachment sets its alarm again and again, up to 5 ms ahead, and notes how
//! much later it was called: while nothing else happens, while one container pours a stream into another as fast as
//! it can, and while a thousand timers of one moment are due each 10 ms. The kernel's own slack (50 µs for
//! this process) is in every figure.

use std::time::{Duration, Instant};

use vethlab::core::app::{App, Step, Sys};
use vethlab::core::id::SockId;
use vethlab::core::lab::{Lab, LabConfig};
use vethlab::core::switch::{Rng, Time};
use vethlab::host::runtime::{Attachment, Cx, Runtime, Stop};

use crate::common::lab::{connection, on_docker0};
use crate::common::{Report, Row, smoke};

/// Bytes of each socket's buffers.
const BUFFER: usize = 256 << 10;

/// An alarm that is set again and again.
#[derive(Debug)]
struct Late {
    rng: Rng,
    /// One moment on both clocks.
    start: (Instant, Time),
    due: Time,
    end: Time,
    late: std::sync::mpsc::Sender<f64>,
}

impl Late {
    fn set(&mut self, cx: &mut Cx<'_>) {
        let ahead = Duration::from_nanos(self.rng.next_u64() % 5_000_000);
        self.due = cx.now() + ahead;
        cx.wake_at(self.due);
    }
}

impl Attachment for Late {
    fn alarm(&mut self, cx: &mut Cx<'_>) {
        let now = self.start.1 + self.start.0.elapsed();
        // The receiver is there until the end.
        let _heard = self.late.send(now.since(self.due).as_secs_f64());
        if now >= self.end {
            return cx.stop(Stop::Asked);
        }
        self.set(cx);
    }
}

/// Moves bytes from one socket to the other, for ever.
#[derive(Debug)]
struct Endless {
    sock: SockId,
    sends: bool,
    buffer: Vec<u8>,
}

impl Attachment for Endless {
    fn lab_ready(&mut self, cx: &mut Cx<'_>, _key: u64, sock: SockId) {
        assert_eq!(sock, self.sock);
        let mut sys = cx.lab.sys(sock.ns);
        // As much as an attachment is to do in a call.
        for _ in 0..4 {
            let moved = if self.sends {
                sys.send(sock, &self.buffer)
            } else {
                sys.recv(sock, &mut self.buffer)
            };
            if moved.is_err() {
                return;
            }
        }
    }
}

/// Sleeps until the next multiple of 10 ms.
#[derive(Debug)]
struct Metronome;

impl App for Metronome {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        let beat = 10_000_000;
        let next = (sys.now().as_nanos() / beat + 1) * beat;
        sys.wake_at(Time::from_nanos(next));
        Step::Wait
    }

    fn name(&self) -> &str {
        "metronome"
    }
}

/// What is done besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    Nothing,
    Stream,
    Timers,
}

fn measure(load: Load) -> Vec<f64> {
    let (mut lab, hosts): (Lab, _) = on_docker0(LabConfig::default(), 2);
    let (a, b) = (hosts[0], hosts[1]);
    let ends = (load == Load::Stream).then(|| connection(&mut lab, a, b, BUFFER));
    if load == Load::Timers {
        for _ in 0..1000 {
            lab.spawn(a.ns, Box::new(Metronome));
        }
    }
    let start = (Instant::now(), lab.now());
    let mut runtime = Runtime::new(lab).expect("Linux 5.11");
    if let Some((client, server)) = ends {
        for (sock, sends) in [(client, true), (server, false)] {
            let attached = runtime.attach(|cx| {
                cx.own(sock, 0);
                let mut endless = Endless {
                    sock,
                    sends,
                    buffer: vec![0; 64 << 10],
                };
                endless.lab_ready(cx, 0, sock);
                Ok::<_, ()>(endless)
            });
            attached.expect("nothing that fails");
        }
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let span = Duration::from_millis(if smoke() { 20 } else { 3000 });
    let attached = runtime.attach(|cx| {
        let mut late = Late {
            rng: Rng::new(1),
            start,
            due: cx.now(),
            end: cx.now() + span,
            late: sender,
        };
        late.set(cx);
        Ok::<_, ()>(late)
    });
    attached.expect("nothing that fails");
    assert_eq!(runtime.run().expect("it waits"), Stop::Asked);
    receiver.into_iter().collect()
}

pub(crate) fn run(report: &mut Report) {
    report.about("a lab on the wall clock, Runtime; an attachment's alarm, up to 5 ms ahead, set again and again; the kernel's slack of 50 µs included");
    for (load, what, bound) in [
        (Load::Nothing, "alone", 1e-3),
        (Load::Stream, "beside a stream", 5e-3),
        (Load::Timers, "beside 1,000 timers each 10 ms", 5e-3),
    ] {
        let mut late = measure(load);
        late.sort_by(f64::total_cmp);
        let at = |part: f64| late[((late.len() - 1) as f64 * part) as usize];
        for (name, part, bound) in [
            ("median", 0.5, None),
            ("99 of 100", 0.99, Some(bound)),
            ("latest", 1.0, None),
        ] {
            let mut row = Row::cost(format!("an alarm {what}: how late, {name}"), "s");
            if let Some(bound) = bound {
                row = row.reach(bound);
            }
            row.record(report, ("measured", &[at(part)]), None);
        }
    }
}
