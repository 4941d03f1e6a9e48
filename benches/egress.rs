//! How fast do containers reach the real world?
//!
//! One stream between a program and a real server on this machine's loopback. Ours: an application in a container on docker0,
//! which goes by masquerade and the lab's gateway to a socket of the process, all in one thread. Beside it a process in a
//! network namespace behind slirp4netns, and one behind pasta, where they are installed; these have a kernel of their own
//! at one end. Bytes are counted and not compared.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Signal, set_parent_process_death_signal};
use vethlab::core::app::{App, Family, SockKind, SockOpt, Step, Sys};
use vethlab::core::id::SockId;
use vethlab::core::lab::LabConfig;
use vethlab::host::egress::{Egress, HOST_V4, Resolver};
use vethlab::host::means::Means;
use vethlab::host::reactor::Waker;
use vethlab::host::runtime::{Attachment, Cx, Runtime, Stop};

use crate::common::lab::on_docker0;
use crate::common::{Report, Rounds, Row};
use crate::tcp::bits;

/// Set for the process behind somebody else's network: `up` or `down`, and where to.
pub(crate) const CLIENT: &str = "VETHLAB_BENCH_EGRESS";
/// How long a stream may take to be there.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes that are read or written at a time.
const CHUNK: usize = 128 << 10;
/// Bytes that are counted together.
const BATCH: u64 = 4 << 20;

/// Which way the bytes go, seen from the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// The process behind somebody else's network.
pub(crate) fn client(work: &str) {
    // pasta, killed, leaves its command behind.
    set_parent_process_death_signal(Some(Signal::KILL)).expect("Linux has it");
    let (way, to) = work.split_once(' ').expect("a way and an address");
    let to: SocketAddr = to.parse().expect("an address");
    let begin = Instant::now();
    let mut stream = loop {
        match TcpStream::connect_timeout(&to, Duration::from_secs(1)) {
            Ok(stream) => break stream,
            Err(_) if begin.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => panic!("{to}: {error}"),
        }
    };
    let mut buffer = vec![7; CHUNK];
    // Until whoever measures is gone.
    if way == "up" {
        while stream.write_all(&buffer).is_ok() {}
    } else {
        while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
    }
}

/// The real end of a stream.
struct Server {
    stream: TcpStream,
    way: Way,
    buffer: Vec<u8>,
}

impl Server {
    /// `None` if nobody comes.
    fn accept(listener: &TcpListener, way: Way) -> Option<Self> {
        listener.set_nonblocking(true).expect("a listener of ours");
        let begin = Instant::now();
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(_) if begin.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5))
                }
                Err(_) => return None,
            }
        };
        stream.set_nonblocking(false).expect("a stream of ours");
        for timeout in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
            timeout(&stream, Some(PATIENCE)).expect("a stream of ours");
        }
        Some(Self {
            stream,
            way,
            buffer: vec![7; CHUNK],
        })
    }

    fn bits(&mut self, rounds: Rounds) -> f64 {
        bits(rounds, || {
            let mut moved = 0;
            while moved < BATCH {
                moved += match self.way {
                    Way::Up => self.stream.read(&mut self.buffer).expect("it pours"),
                    Way::Down => self.stream.write(&self.buffer).expect("it drinks"),
                } as u64;
            }
            moved
        })
    }
}

/// The application in the container.
#[derive(Debug)]
struct Client {
    to: SocketAddr,
    way: Way,
    sock: Option<SockId>,
    buffer: Vec<u8>,
}

impl App for Client {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        let sock = *self.sock.get_or_insert_with(|| {
            let sock = sys.socket(SockKind::Tcp, Family::V4).expect("a socket");
            sys.set(sock, SockOpt::SendBuffer(256 << 10))
                .expect("a size");
            sys.set(sock, SockOpt::RecvBuffer(256 << 10))
                .expect("a size");
            let _in_progress = sys.connect(sock, self.to);
            sock
        });
        if !sys.ready(sock).writable && self.way == Way::Up {
            return Step::Wait;
        }
        // As much as a program does before others have their turn.
        for _ in 0..4 {
            let moved = match self.way {
                Way::Up => sys.send(sock, &self.buffer),
                Way::Down => sys.recv(sock, &mut self.buffer),
            };
            if moved.is_err() {
                return Step::Wait;
            }
        }
        let now = sys.now();
        sys.wake_at(now);
        Step::Wait
    }

    fn name(&self) -> &str {
        "client"
    }
}

/// Stops when it is rung.
#[derive(Debug)]
struct Bell;

impl Attachment for Bell {
    fn woken(&mut self, cx: &mut Cx<'_>) {
        cx.stop(Stop::Asked);
    }
}

/// The lab on a thread of its own, until it is dropped.
struct Ours {
    server: Server,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Ours {
    fn new(way: Way) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let (told, heard) = channel();
        let thread = std::thread::spawn(move || {
            let (mut lab, hosts) = on_docker0(LabConfig::default(), 1);
            lab.net_mut().trace.listen(false);
            lab.spawn(
                hosts[0].ns,
                Box::new(Client {
                    to: (HOST_V4, port).into(),
                    way,
                    sock: None,
                    buffer: vec![7; CHUNK],
                }),
            );
            let mut runtime = Runtime::new(lab).expect("Linux 5.11");
            let rules = vec!["localhost".parse().expect("a rule")];
            let means = Means::new(None, |sentence| panic!("{sentence}"));
            runtime
                .attach(|cx| {
                    Egress::new(
                        cx,
                        rules,
                        Resolver::at(Vec::new()),
                        Default::default(),
                        means,
                    )
                })
                .expect("a way out");
            runtime
                .attach(|cx| {
                    told.send(cx.waker()).expect("it waits");
                    Ok::<_, ()>(Bell)
                })
                .expect("nothing that fails");
            runtime.run().expect("it runs");
        });
        let waker = heard.recv().expect("it comes up");
        let server = Server::accept(&listener, way).expect("the container comes");
        Self {
            server,
            waker,
            thread: Some(thread),
        }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it ends");
        }
    }
}

/// Somebody else's network with a process behind it, until it is dropped.
struct Theirs {
    server: Server,
    children: Vec<Child>,
}

impl Theirs {
    fn behind(
        way: Way,
        gateway: &str,
        start: impl FnOnce(&mut Command) -> Result<Vec<Child>, String>,
    ) -> Result<Self, String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let word = if way == Way::Up { "up" } else { "down" };
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command
            .env(CLIENT, format!("{word} {gateway}:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let children = start(&mut command)?;
        let mut theirs = Ends(children);
        match Server::accept(&listener, way) {
            Some(server) => Ok(Self {
                server,
                children: core::mem::take(&mut theirs.0),
            }),
            None => Err("it carries no connection to loopback here".to_owned()),
        }
    }

    fn slirp4netns(way: Way, mtu: u32) -> Result<Self, String> {
        Self::behind(way, "10.0.2.2", |client| {
            let words = |error: std::io::Error| error.to_string();
            let mut command = Command::new("unshare");
            command.args(["-Urn", "--kill-child"]);
            let inner = wrapped(command, client).spawn().map_err(words)?;
            let mut children = Ends(vec![inner]);
            let process = children.0[0].id().to_string();
            own_network(&process)?;
            let slirp = Command::new("slirp4netns")
                .args(["--configure", &format!("--mtu={mtu}"), &process, "tap0"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .map_err(|error| format!("slirp4netns: {error}"))?;
            children.0.push(slirp);
            Ok(core::mem::take(&mut children.0))
        })
    }

    fn pasta(way: Way, gateway: &str) -> Result<Self, String> {
        Self::behind(way, gateway, |client| {
            let mut command = Command::new("pasta");
            command.args(["--config-net", "-q", "-f"]);
            // It gives up what root has, and this program and /dev/net/tun are root's then.
            if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
                command.args(["--runas", "0"]);
            }
            command.arg("--");
            let pasta = wrapped(command, client).spawn();
            Ok(vec![pasta.map_err(|error| format!("pasta: {error}"))?])
        })
    }
}

/// `command` that runs `client`.
fn wrapped(mut command: Command, client: &Command) -> Command {
    command.arg(client.get_program());
    for (key, value) in client.get_envs() {
        if let Some(value) = value {
            command.env(key, value);
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Waits until a process has a network namespace of its own.
fn own_network(process: &str) -> Result<(), String> {
    let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net"));
    let own = of("self").map_err(|error| error.to_string())?;
    let begin = Instant::now();
    while of(process).is_ok_and(|its| its == own) {
        if begin.elapsed() > PATIENCE {
            return Err("a namespace cannot be made here".to_owned());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Processes that end with it.
struct Ends(Vec<Child>);

impl Drop for Ends {
    fn drop(&mut self) {
        for child in self.0.iter_mut().rev() {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        drop(Ends(core::mem::take(&mut self.children)));
    }
}

/// The next hop of this machine's default route, where pasta puts loopback.
fn gateway() -> Option<String> {
    let output = Command::new("ip")
        .args(["-4", "route", "show", "default"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut words = text.split_whitespace().skip_while(|word| *word != "via");
    words.nth(1).map(str::to_owned)
}

pub(crate) fn run(report: &mut Report) {
    report.about(
        "one TCP stream between a container on docker0, masquerade and connection tracking on, and a server on loopback by --egress; \
         256 KiB buffers of the container's socket; bytes counted, not compared",
    );
    for (way, word) in [(Way::Up, "out"), (Way::Down, "in")] {
        let name = format!("TCP bulk {word}, slirp4netns at MTU 1500");
        beside(report, &name, way, "slirp4netns", 3.0, || {
            Theirs::slirp4netns(way, 1500)
        });
    }
    for (way, word) in [(Way::Up, "out"), (Way::Down, "in")] {
        let name = format!("TCP bulk {word}, slirp4netns at MTU 65520");
        beside(report, &name, way, "slirp4netns, MTU 65520", 0.0, || {
            Theirs::slirp4netns(way, 65_520)
        });
    }
    for (way, word) in [(Way::Up, "out"), (Way::Down, "in")] {
        let name = format!("TCP bulk {word}, pasta");
        let gateway = gateway();
        beside(report, &name, way, "pasta", 0.0, || match gateway {
            Some(gateway) => Theirs::pasta(way, &gateway),
            None => Err(
                "this machine has no default route, so pasta has no address for loopback"
                    .to_owned(),
            ),
        });
    }
}

fn beside(
    report: &mut Report,
    name: &str,
    way: Way,
    anchor: &str,
    least: f64,
    theirs: impl FnOnce() -> Result<Theirs, String>,
) {
    let mut theirs = match theirs() {
        Ok(theirs) => theirs,
        Err(why) => return report.skip(name, &why),
    };
    let mut ours = Ours::new(way);
    let mut row = Row::rate(name, "bit/s");
    if least > 0.0 {
        row = row.ratio(least);
    }
    row.against(
        report,
        ("egress", |rounds| ours.server.bits(rounds)),
        (anchor, |rounds| theirs.server.bits(rounds)),
    );
}
