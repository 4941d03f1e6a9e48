//! What does a published port cost a real client, and what does `vethlab up` cost while nobody asks?
//!
//! The command itself is asked, as a process (`cargo build --release -p vethlab-cli` beside this bench): ten services,
//! real sockets on loopback, docker-proxy and docker0's rules between the port and the container. Servers in the
//! lab: a sink, and a stand-in that sends back what it hears. Checked: every byte that comes back.
//!
//! *Bulk*: a client writes 64 KiB at a time. The anchor is a plain splice: one thread between two loopback sockets, which
//! reads up to 64 KiB and writes it to a server, which another thread drains. *Round trip*: one byte to and fro; above
//! the same with an echo on a thread of this process. *Held*: connections that all have said something and are open.
//! Both sides of each pair have the same cores: the scheduler would put them in different places.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::cores::{Cores, pin, pin_process};
use crate::common::{Report, Row, rate, rounds, smoke};
use crate::projects::binary;

/// Bytes that a client writes at a time, and a splice reads.
const CHUNK: usize = 64 << 10;
/// Connections that are held.
const HELD: usize = 10_000;

fn compose(real: u16) -> String {
    let others: String = (0..7)
        .map(|number| format!("  s{number}: {{image: postgres}}\n"))
        .collect();
    format!(
        "name: bench\nservices:\n\
         \x20 sink: {{image: busybox, command: sink 9000, ports: ['127.0.0.1::9000']}}\n\
         \x20 echo: {{image: bench/echo, ports: ['127.0.0.1::7000'], x-vethlab: {{listen: [7000]}}}}\n\
         \x20 real: {{image: postgres, ports: ['127.0.0.1::5432'], x-vethlab: {{upstream: '127.0.0.1:{real}'}}}}\n\
         {others}"
    )
}

/// `vethlab up` in the background.
struct Up {
    binary: PathBuf,
    folder: PathBuf,
    process: u32,
    /// The real server behind it.
    sink: SocketAddr,
    published: Vec<(String, SocketAddr)>,
}

impl Up {
    fn start(binary: &Path, sink: SocketAddr) -> Self {
        let folder = std::env::temp_dir().join(format!("vl-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("compose.yaml"), compose(sink.port())).expect("a file");
        let mut up = Self {
            binary: binary.to_owned(),
            folder,
            process: 0,
            sink,
            published: Vec::new(),
        };
        let told = up.run(&["up", "-d", "--format", "json"]);
        let errors = String::from_utf8_lossy(&told.stderr);
        assert!(told.status.success(), "{errors}");
        let told: serde_json::Value = serde_json::from_slice(&told.stdout).expect("JSON");
        up.process = told["process"].as_u64().expect("a process") as u32;
        let bound = told["published"].as_array().expect("a list").iter();
        up.published = bound
            .map(|it| {
                let text = |key: &str| it[key].as_str().expect("text").to_owned();
                let real = text("real").parse().expect("an address");
                (text("container"), real)
            })
            .collect();
        up
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.binary);
        command.args(args).current_dir(&self.folder);
        command.env("XDG_RUNTIME_DIR", &self.folder);
        command.stdin(Stdio::null()).output().expect("it runs")
    }

    fn port(&self, service: &str) -> SocketAddr {
        let name = format!("bench-{service}-1");
        let found = self.published.iter().find(|(own, _)| *own == name);
        found.expect("it is published").1
    }

    /// Seconds of processor time so far, of all threads.
    fn spent(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process)).expect("it runs");
        let spent = tasks.flatten().map(|task| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let first = text.split(' ').next().and_then(|first| first.parse().ok());
            first.unwrap_or(0.0)
        });
        spent.sum::<f64>() / 1e9
    }

    /// Bytes of it that are in memory.
    fn resident(&self) -> f64 {
        let path = format!("/proc/{}/status", self.process);
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .and_then(|kib| kib.parse().ok())
            .expect("a size");
        kib * 1024.0
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _down = self.run(&["down"]);
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

fn client(to: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(to).expect("it listens");
    client.set_nodelay(true).expect("an option");
    let limit = Some(Duration::from_secs(30));
    client.set_read_timeout(limit).expect("an option");
    client.set_write_timeout(limit).expect("an option");
    client
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    let at = listener.local_addr().expect("an address");
    (listener, at)
}

/// A server that serves each client on a thread of its own.
fn server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let (listener, at) = listener();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(client));
        }
    });
    at
}

fn swallow(mut client: TcpStream) {
    let mut buffer = vec![0; CHUNK];
    while client.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

fn echo(mut client: TcpStream) {
    client.set_nodelay(true).expect("an option");
    let mut byte = [0];
    while client.read_exact(&mut byte).is_ok() && client.write_all(&byte).is_ok() {}
}

/// One thread between a client and a server, one way.
fn splice(mut client: TcpStream, to: SocketAddr) {
    let mut server = TcpStream::connect(to).expect("it listens");
    let mut buffer = vec![0; CHUNK];
    while let Ok(count) = client.read(&mut buffer) {
        if count == 0 || server.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

/// Client and real server on one core, whatever is between them on the other.
fn bulk(report: &mut Report, up: &Up, cores: Cores) {
    let sink = up.sink;
    let anchor = server(move |client| {
        pin(cores.second);
        splice(client, sink);
    });
    pin(cores.first);
    pin_process(up.process, cores.second);
    let chunk = vec![7; CHUNK];
    for (name, service, target) in [
        ("bulk to a server in the lab", "sink", Some(0.6)),
        ("bulk to a real server behind the lab", "real", None),
    ] {
        let (mut ours, mut plain) = (client(up.port(service)), client(anchor));
        let pour = |stream: &mut TcpStream| {
            rate(rounds(), || {
                stream.write_all(&chunk).expect("it takes more");
                CHUNK as u64
            })
        };
        let (ours, plain): (Vec<f64>, Vec<f64>) = (0..rounds().count)
            .map(|_| (pour(&mut ours), pour(&mut plain)))
            .unzip();
        let mut row = Row::rate(name, "B/s");
        if let Some(target) = target {
            row = row.ratio(target);
        }
        row.record(
            report,
            ("published", &ours),
            Some(("a plain splice", &plain)),
        );
    }
}

/// Seconds of a round trip, the median of many.
fn trip(stream: &mut TcpStream, trips: usize) -> f64 {
    let mut each: Vec<f64> = (0..trips)
        .map(|trip| {
            let (said, mut heard) = ([trip as u8], [0]);
            let begun = Instant::now();
            stream.write_all(&said).expect("it takes a byte");
            stream.read_exact(&mut heard).expect("it gives it back");
            assert_eq!(said, heard);
            begun.elapsed().as_secs_f64()
        })
        .collect();
    each.sort_by(f64::total_cmp);
    each[each.len() / 2]
}

/// Once with client and server on one core, once on two.
fn round_trips(report: &mut Report, name: &str, up: &Up, cores: Cores, target: Option<f64>) {
    pin(cores.first);
    round_trip(
        report,
        &format!("{name}, on one core"),
        up,
        cores.first,
        target,
    );
    let name = format!("{name}, on two cores");
    if cores.are_two() {
        round_trip(report, &name, up, cores.second, target);
    } else {
        report.skip(&format!("round trip of 1 B{name}"), "there is one");
    }
}

/// With the server, or `up`, on this core.
fn round_trip(report: &mut Report, name: &str, up: &Up, core: usize, target: Option<f64>) {
    pin_process(up.process, core);
    let echo = server(move |client| {
        pin(core);
        echo(client);
    });
    let (mut ours, mut plain) = (client(up.port("echo")), client(echo));
    let trips = if smoke() { 10 } else { 4000 };
    let pairs: Vec<(f64, f64)> = (0..rounds().count)
        .map(|_| (trip(&mut ours, trips), trip(&mut plain, trips)))
        .collect();
    let (ours, plain): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    Row::cost(format!("round trip of 1 B{name}"), "s").record(
        report,
        ("published", &ours),
        Some(("a plain echo", &plain)),
    );
    let above: Vec<f64> = pairs.iter().map(|(ours, plain)| ours - plain).collect();
    let mut row = Row::cost(format!("round trip of 1 B{name}: above a plain echo"), "s");
    if let Some(target) = target {
        row = row.reach(target);
    }
    row.record(report, ("published", &above), None);
}

fn held(report: &mut Report, up: &Up, cores: Cores) {
    let count = if smoke() { 100 } else { HELD };
    let before = up.resident();
    let mut clients: Vec<TcpStream> = (0..count).map(|_| client(up.port("echo"))).collect();
    for client in &mut clients {
        trip(client, 1);
    }
    let each = (up.resident() - before) / count as f64;
    Row::cost(format!("a held connection, one of {count}: resident"), "B").record(
        report,
        ("grown", &[each]),
        None,
    );
    round_trips(report, &format!(" beside {count} held"), up, cores, None);
    for client in &mut clients {
        trip(client, 1);
    }
}

fn idle(report: &mut Report, up: &Up) {
    let span = Duration::from_secs_f64(if smoke() { 0.05 } else { 60.0 });
    Row::cost("an idle project of ten services: resident", "B")
        .reach(20.0 * 1024.0 * 1024.0)
        .record(report, ("grown", &[up.resident()]), None);
    let (before, begun) = (up.spent(), Instant::now());
    thread::sleep(span);
    let share = (up.spent() - before) / begun.elapsed().as_secs_f64();
    Row::cost("an idle project: of one core, over a minute", "")
        .reach(0.001)
        .record(report, ("measured", &[share]), None);
}

pub(crate) fn run(report: &mut Report) {
    let Some(binary) = binary() else {
        let why = "the command is not built: cargo build --release -p vethlab-cli";
        report.skip("published ports", why);
        return;
    };
    // This process holds as many as the other one.
    vethlab::host::limits::raise_descriptors();
    report.about("vethlab up as a process; real clients on loopback; docker-proxy and docker0's rules on the way");
    let cores = Cores::here();
    let sink = server(move |client| {
        pin(cores.first);
        swallow(client);
    });
    let up = Up::start(&binary, sink);
    idle(report, &up);
    round_trips(report, "", &up, cores, Some(30e-6));
    bulk(report, &up, cores);
    held(report, &up, cores);
    cores.free();
}
