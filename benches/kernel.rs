//! The same questions to the Linux kernel: TCP bulk, request and response, and connect, between two of
//! its namespaces with a bridge between them (veth, bridge, veth; the third namespace).
//!
//! Made without privilege by `unshare -Urn`; the ends are copies of this binary with plain blocking
//! sockets. Skipped aloud where that is not permitted. The kernel's figures are with its default offloads
//! (segmentation and checksum), the sockets' default buffers, on as many processors as it likes; the lab's with
//! one frame a segment, checksums, one thread. They answer "which is faster to use", not "whose code is better".

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Report, Rounds, Row, rounds};
use crate::tcp::{Calls, Ours, Stream};

/// Set for the copy of this binary that runs inside a namespace: what it does there.
pub(crate) const AGENT: &str = "VETHLAB_BENCH_AGENT";
const CHUNK: usize = 64 * 1024;
const SERVER: &str = "10.9.0.2:5000";

/// The kernel's namespaces: client, server, and the one with the bridge.
struct Kernel {
    holders: Vec<Child>,
    server: Option<Child>,
}

impl Drop for Kernel {
    fn drop(&mut self) {
        for child in self.server.iter_mut().chain(&mut self.holders) {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

fn inside(pid: u32) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--preserve-credentials", "-U", "-n", "-t", &pid.to_string()]);
    command
}

fn holder(mut command: Command) -> Result<Child, String> {
    let mut child = command
        .args(["sh", "-c", "echo up; exec sleep 600"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut line = String::new();
    let read = BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line);
    if read.is_ok() && line == "up\n" {
        return Ok(child);
    }
    let _gone = child.kill();
    let _reaped = child.wait();
    Err("a namespace cannot be made here".to_owned())
}

fn ip(pid: u32, line: &str) -> Result<(), String> {
    let status = inside(pid)
        .arg("ip")
        .args(line.split_whitespace())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!("`ip {line}` does not work here")),
    }
}

impl Kernel {
    fn new() -> Result<Self, String> {
        let mut first = Command::new("unshare");
        first.arg("-Urn");
        let mut kernel = Self {
            holders: vec![holder(first)?],
            server: None,
        };
        let bridge = kernel.holders[0].id();
        ip(bridge, "link add br0 type bridge")?;
        ip(bridge, "link set br0 up")?;
        for host in 1..=2 {
            let mut command = inside(bridge);
            command.args(["unshare", "-n"]);
            kernel.holders.push(holder(command)?);
            let pid = kernel.holders[host].id();
            let add = format!("link add v{host} type veth peer name eth0 netns {pid}");
            ip(bridge, &add)?;
            ip(bridge, &format!("link set v{host} master br0 up"))?;
            ip(pid, "link set lo up")?;
            ip(pid, &format!("addr add 10.9.0.{host}/24 dev eth0"))?;
            ip(pid, "link set eth0 up")?;
        }
        let (mut server, mut lines) = kernel.agent(2, "serve")?;
        let mut line = String::new();
        if lines.read_line(&mut line).is_err() || line != "ready\n" {
            let _gone = server.kill();
            let _reaped = server.wait();
            return Err("a program cannot be run in a namespace here".to_owned());
        }
        kernel.server = Some(server);
        Ok(kernel)
    }

    fn agent(
        &self,
        host: usize,
        work: &str,
    ) -> Result<(Child, BufReader<std::process::ChildStdout>), String> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut child = inside(self.holders[host].id())
            .arg(own)
            .env(AGENT, work)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Ok((child, lines))
    }

    /// What the client's copy measured.
    fn measure(&self, work: &str, rounds: Rounds) -> f64 {
        let work = format!("{work} {}", rounds.at_least.as_micros());
        let (mut child, mut lines) = self.agent(1, &work).expect("it ran before");
        let mut line = String::new();
        lines.read_line(&mut line).expect("a figure");
        let _reaped = child.wait();
        line.trim().parse().expect("a figure")
    }
}

/// What a copy inside a namespace does.
pub(crate) fn agent(work: &str) {
    let mut words = work.split_whitespace();
    let (kind, span) = (words.next().unwrap_or_default(), words.next());
    if kind == "serve" {
        return serve();
    }
    let span = Duration::from_micros(span.and_then(|text| text.parse().ok()).unwrap_or(1));
    let server: SocketAddr = SERVER.parse().expect("an address");
    // A link takes a moment to come up.
    let mut first = (0..100).find_map(|_| {
        let stream = TcpStream::connect(server).ok();
        if stream.is_none() {
            std::thread::sleep(Duration::from_millis(50));
        }
        stream
    });
    let stream = first.as_mut().expect("a connection");
    stream.set_nodelay(true).expect("an option");
    let figure = match kind {
        "bulk" => send(stream, span),
        "rr" => {
            stream.write_all(b"r").expect("sent");
            repeat(span, || request(stream))
        }
        _ => {
            stream.write_all(b"r").expect("sent");
            repeat(span, || {
                let mut call = TcpStream::connect(server).expect("a connection");
                call.set_nodelay(true).expect("an option");
                call.write_all(b"r").expect("sent");
                request(&mut call);
                let linger = rustix::net::sockopt::set_socket_linger(&call, Some(Duration::ZERO));
                linger.expect("an option");
            })
        }
    };
    println!("{figure}");
}

fn repeat(span: Duration, mut act: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let mut count = 0_u64;
    while begun.elapsed() < span {
        act();
        count += 1;
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

fn request(stream: &mut TcpStream) {
    let mut heard = [0];
    stream.write_all(&[7]).expect("sent");
    stream.read_exact(&mut heard).expect("an answer");
    assert_eq!(heard, [7]);
}

/// Bits a second that the server says it got, compared byte by byte.
fn send(stream: &mut TcpStream, span: Duration) -> f64 {
    let content = Stream::new();
    stream.write_all(b"b").expect("sent");
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < span {
        sent += stream.write(content.at(sent, CHUNK)).expect("sent") as u64;
    }
    stream.shutdown(std::net::Shutdown::Write).expect("shut");
    let mut heard = [0; 8];
    stream.read_exact(&mut heard).expect("a count");
    assert_eq!(u64::from_be_bytes(heard), sent);
    8.0 * sent as f64 / begun.elapsed().as_secs_f64()
}

fn serve() {
    let listener = TcpListener::bind(SERVER).expect("it listens");
    println!("ready");
    for stream in listener.incoming() {
        let Ok(stream) = stream else { return };
        std::thread::spawn(move || serve_one(stream));
    }
}

fn serve_one(mut stream: TcpStream) {
    let mut kind = [0];
    if stream.set_nodelay(true).is_err() || stream.read_exact(&mut kind).is_err() {
        return;
    }
    let mut buffer = vec![0; CHUNK];
    if kind == *b"r" {
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
        return;
    }
    let content = Stream::new();
    let mut heard = 0_u64;
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if buffer[..count] != *content.at(heard, count) {
            return;
        }
        heard += count as u64;
    }
    // If the client is gone, it has said why.
    let _told = stream.write_all(&heard.to_be_bytes());
}

pub(crate) fn run(report: &mut Report) {
    report.about(
        "the lab's TCP beside the Linux kernel's, veth-bridge-veth between two namespaces; lab: as in \
         \"tcp\", with checksums; kernel: default offloads and buffers, blocking sockets, no rules",
    );
    let kernel = match Kernel::new() {
        Ok(kernel) => kernel,
        Err(why) => {
            return report.skip("all rows", &why);
        }
    };
    // The first connection waits for the link.
    kernel.measure("rr", rounds());
    let stream = Stream::new();
    let mut ours = Ours::new(true);
    Row::rate("bulk", "bit/s").against(
        report,
        ("lab", |rounds| {
            crate::tcp::bits(rounds, || ours.bulk(&stream))
        }),
        ("kernel", |rounds| kernel.measure("bulk", rounds)),
    );
    let mut ours = Ours::new(true);
    Row::rate("request and response of 1 B", "/s").against(
        report,
        ("lab", |rounds| {
            crate::common::rate(rounds, || ours.request(7))
        }),
        ("kernel", |rounds| kernel.measure("rr", rounds)),
    );
    let mut calls = Calls::new();
    Row::rate("connect, 1 B each way, reset", "/s").against(
        report,
        ("lab", |rounds| {
            crate::common::rate(rounds, || calls.call(9))
        }),
        ("kernel", |rounds| kernel.measure("call", rounds)),
    );
}
