//! The way out with real servers on loopback: what passes, what waits, what is bounded.
#![cfg(target_os = "linux")]

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use emulator_core::app::{App, Family, SockKind, SockOpt, Step, Sys};
use emulator_core::docker::spec::ContainerSpec;
use emulator_core::id::SockId;
use emulator_core::lab::{Lab, LabConfig};
use emulator_core::netns::Errno;
use emulator_core::switch::DropReason;
use emulator_host::egress::{Counts, DIALS, Egress, HOST_V4, Resolver};
use emulator_host::means::Means;
use emulator_host::runtime::{Attachment, Cx, Runtime};

/// How long something may take that takes no time, or a SYN that is told again some times.
const LIMIT: Duration = Duration::from_secs(240);

/// What a container does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// Says as much as it is let.
    Pours,
    /// Reads.
    Reads,
    /// Resets when the connection is open.
    Resets,
}

#[derive(Clone, Debug, Default)]
struct Saw {
    open: usize,
    moved: usize,
    errors: Vec<Errno>,
}

/// A container's program with so many connections to one server.
#[derive(Debug)]
struct Client {
    to: SocketAddr,
    does: Does,
    count: usize,
    socks: Vec<(SockId, bool)>,
    saw: Arc<Mutex<Saw>>,
}

impl Client {
    fn turn(&self, sys: &mut dyn Sys, sock: SockId, saw: &mut Saw) -> bool {
        if self.does == Does::Resets {
            sys.set(sock, SockOpt::LingerZero(true)).unwrap();
            return false;
        }
        let mut buffer = [0; 4096];
        loop {
            let moved = if self.does == Does::Pours {
                for (at, byte) in buffer.iter_mut().enumerate() {
                    *byte = ((saw.moved + at) % 251) as u8;
                }
                sys.send(sock, &buffer)
            } else {
                sys.recv(sock, &mut buffer)
            };
            match moved {
                Ok(0) => return false,
                Ok(count) => saw.moved += count,
                Err(Errno::WouldBlock) => return true,
                Err(errno) => {
                    saw.errors.push(errno);
                    return false;
                }
            }
        }
    }
}

impl App for Client {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        let saw = Arc::clone(&self.saw);
        let mut saw = saw.lock().unwrap();
        if self.socks.is_empty() {
            for _ in 0..core::mem::take(&mut self.count) {
                let sock = sys.socket(SockKind::Tcp, Family::V4).unwrap();
                assert_eq!(sys.connect(sock, self.to), Err(Errno::InProgress));
                self.socks.push((sock, false));
            }
        }
        let mut socks = core::mem::take(&mut self.socks);
        socks.retain_mut(|(sock, open)| {
            let ready = sys.ready(*sock);
            if !*open {
                if let Some(errno) = sys.take_error(*sock) {
                    saw.errors.push(errno);
                    sys.close(*sock);
                    return false;
                }
                *open = ready.writable && !ready.hup;
                saw.open += usize::from(*open);
            }
            let on = !*open || self.turn(sys, *sock, &mut saw);
            if !on {
                sys.close(*sock);
            }
            on
        });
        self.socks = socks;
        Step::Wait
    }

    fn name(&self) -> &str {
        "client"
    }
}

/// A lab whose loopback rule leads to one server.
struct Rig {
    runtime: Runtime,
    saw: Arc<Mutex<Saw>>,
    counts: Rc<Cell<Counts>>,
    said: Rc<RefCell<Vec<String>>>,
}

impl Rig {
    fn new(server: &TcpListener, does: Does, count: usize) -> Self {
        let mut lab = Lab::new(LabConfig::default()).unwrap();
        lab.create(ContainerSpec {
            name: Some("web".to_owned()),
            image: "none".to_owned(),
            listens: Some(Vec::new()),
            network_mode: "bridge".to_owned(),
            ..ContainerSpec::default()
        })
        .unwrap();
        lab.start("web").unwrap();
        let saw = Arc::new(Mutex::new(Saw::default()));
        let ns = lab.namespace("web").unwrap();
        lab.spawn(
            ns,
            Box::new(Client {
                to: (HOST_V4, server.local_addr().unwrap().port()).into(),
                does,
                count,
                socks: Vec::new(),
                saw: Arc::clone(&saw),
            }),
        );
        let mut runtime = Runtime::new(lab).unwrap();
        let (counts, said) = (
            Rc::<Cell<Counts>>::default(),
            Rc::<RefCell<Vec<String>>>::default(),
        );
        let voice = Rc::clone(&said);
        let means = Means::new(Some(10_000), move |sentence| {
            voice.borrow_mut().push(sentence.to_owned());
        });
        let rules = vec!["127.0.0.1".parse().unwrap()];
        let told = Rc::clone(&counts);
        runtime
            .attach(|cx| Egress::new(cx, rules, Resolver::at(Vec::new()), told, means))
            .unwrap();
        runtime
            .attach(|cx| {
                cx.wake_at(cx.now());
                Ok::<_, ()>(Clock)
            })
            .unwrap();
        Self {
            runtime,
            saw,
            counts,
            said,
        }
    }

    fn saw(&self) -> Saw {
        self.saw.lock().unwrap().clone()
    }

    /// Runs until `done` says something.
    fn until<T>(&mut self, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            if let Some(result) = done(self) {
                return result;
            }
            assert!(
                begin.elapsed() < LIMIT,
                "nothing came of it: {:?}",
                self.saw()
            );
            self.runtime.turn().unwrap();
        }
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.runtime.lab().net().trace.drops.of(reason)
    }
}

/// Has the loop wake up again and again, so that a test can look.
#[derive(Debug)]
struct Clock;

impl Attachment for Clock {
    fn alarm(&mut self, cx: &mut Cx<'_>) {
        cx.wake_at(cx.now() + Duration::from_millis(2));
    }
}

/// `None`, said aloud, where this machine has no loopback that carries.
fn server() -> Option<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    if TcpStream::connect(listener.local_addr().unwrap()).is_err() {
        eprintln!("SKIPPED: no loopback here");
        return None;
    }
    listener.accept().unwrap();
    listener.set_nonblocking(true).unwrap();
    Some(listener)
}

fn accepted(listener: &TcpListener) -> Option<TcpStream> {
    let (stream, _) = listener.accept().ok()?;
    stream.set_nonblocking(true).unwrap();
    Some(stream)
}

fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
}

#[test]
fn a_reset_passes_from_the_server_to_the_container() {
    let Some(listener) = server() else { return };
    let mut rig = Rig::new(&listener, Does::Reads, 1);
    let stream = rig.until(|_| accepted(&listener));
    rig.until(|rig| (rig.saw().open == 1).then_some(()));
    reset(stream);
    rig.until(|rig| (rig.saw().errors == [Errno::ConnReset]).then_some(()));
    assert_eq!(rig.counts.get().connections, 1);
}

#[test]
fn a_reset_passes_from_the_container_to_the_server() {
    let Some(listener) = server() else { return };
    let mut rig = Rig::new(&listener, Does::Resets, 1);
    let mut stream = rig.until(|_| accepted(&listener));
    let error = rig.until(|_| match stream.read(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        other => Some(other),
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_server_that_reads_nothing_slows_the_container_down() {
    let Some(listener) = server() else { return };
    let mut rig = Rig::new(&listener, Does::Pours, 1);
    let mut stream = rig.until(|_| accepted(&listener));
    // It stops when nothing has room any more.
    let (mut last, mut calm) = (usize::MAX, 0);
    rig.until(|rig| {
        let moved = rig.saw().moved;
        calm = if moved == last && moved > 0 {
            calm + 1
        } else {
            0
        };
        last = moved;
        (calm > 50).then_some(())
    });
    assert!(last < 16 << 20, "{last} bytes are on their way");
    // Then everything comes, in order.
    let (mut read, mut buffer) = (0, vec![0; 65_536]);
    while read < last {
        let count = rig.until(|_| stream.read(&mut buffer).ok());
        assert!(count > 0);
        for (at, byte) in buffer[..count].iter().enumerate() {
            assert_eq!(usize::from(*byte), (read + at) % 251);
        }
        read += count;
    }
    rig.until(|rig| (rig.saw().moved > last).then_some(()));
}

#[test]
fn a_container_that_reads_nothing_slows_the_server_down() {
    let Some(listener) = server() else { return };
    // It resets nothing and reads nothing: it only connects.
    let mut rig = Rig::new(&listener, Does::Pours, 1);
    let mut stream = rig.until(|_| accepted(&listener));
    let mut written = 0;
    let mut full = 0;
    rig.until(|_| {
        match stream.write(&[7; 65_536]) {
            Ok(count) => {
                written += count;
                full = 0;
            }
            Err(_) => full += 1,
        }
        (full > 100).then_some(())
    });
    assert!(written < 32 << 20, "{written} bytes are on their way");
}

#[test]
fn dials_are_bounded_and_those_beyond_come_again() {
    // Who is not accepted here waits: its SYN is not answered while the queue is full.
    let Some(listener) = server() else { return };
    rustix::net::listen(&listener, 0).unwrap();
    let count = DIALS + 40;
    let mut rig = Rig::new(&listener, Does::Reads, count);
    rig.until(|rig| (rig.drops(DropReason::SynQueueFull) > 0).then_some(()));
    assert!(
        rig.saw().open < 10 && rig.saw().errors.is_empty(),
        "{:?}",
        rig.saw()
    );
    rig.until(|rig| (rig.said.borrow().len() == 1).then_some(()));
    assert!(
        rig.said.borrow()[0].contains("wait until others end"),
        "{:?}",
        rig.said
    );
    // The server has room now, and all of them get there in the end.
    rustix::net::listen(&listener, 4096).unwrap();
    let mut held = Vec::new();
    rig.until(|rig| {
        held.extend(accepted(&listener));
        (rig.saw().open == count).then_some(())
    });
    assert_eq!(rig.counts.get().connections, count as u64);
    assert!(rig.saw().errors.is_empty(), "{:?}", rig.saw());
}
