//! What the copies of this binary do inside the kernel's namespaces: plain blocking sockets.
//!
//! A server thread is told by the first two bytes of a connection what to do and where to run.

use core::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::datagrams;
use super::namespaces::{HOST, SERVER};
use crate::tcp::Stream;

/// Set for the copy of this binary that runs inside a namespace: what it does there.
pub(crate) const AGENT: &str = "VETHLAB_BENCH_AGENT";
const CHUNK: usize = 64 * 1024;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Bits a second of one stream.
    Bulk,
    /// Requests of 1 B a second on one connection.
    Request,
    /// Connections a second with 1 B each way, ended by a reset.
    Call,
    /// The same, ended by FIN from both sides.
    CallFin,
    /// As [`Self::Call`], through the published port.
    PublishedCall,
    /// Datagrams of 22 B a second that arrive.
    Datagrams,
    /// Frames of 64 B a second that arrive.
    Frames64,
    /// Frames of 1514 B a second that arrive.
    Frames1514,
}

/// The works and their letters.
const WORKS: [(Work, char); 8] = [
    (Work::Bulk, 'b'),
    (Work::Request, 'r'),
    (Work::Call, 'c'),
    (Work::CallFin, 'f'),
    (Work::PublishedCall, 'p'),
    (Work::Datagrams, 'u'),
    (Work::Frames64, 's'),
    (Work::Frames1514, 'l'),
];

/// Where client and server run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cores {
    /// Where the kernel puts them.
    Any,
    /// Both on the first.
    One,
    /// The client on the first, the server on the second; on the same where there is one.
    Two,
}

const CORES: [(Cores, char); 3] = [(Cores::Any, 'a'), (Cores::One, '1'), (Cores::Two, '2')];

impl Work {
    fn letter(self) -> char {
        WORKS
            .iter()
            .find(|(work, _)| *work == self)
            .expect("all are there")
            .1
    }
}

impl Cores {
    fn letter(self) -> char {
        CORES
            .iter()
            .find(|(cores, _)| *cores == self)
            .expect("all are there")
            .1
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.letter().fmt(f)
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.letter().fmt(f)
    }
}

fn letter<T: Copy>(known: &[(T, char)], letter: char) -> T {
    let found = known.iter().find(|(_, of)| *of == letter);
    found
        .unwrap_or_else(|| panic!("no work is called {letter}"))
        .0
}

/// Keeps this thread on the core with this number among those that are ours; if there is none, where it is.
fn pin(number: usize) {
    let ours = sched_getaffinity(None).expect("it can be asked");
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| ours.is_set(*core));
    if let Some(core) = cores.nth(number) {
        let mut set = CpuSet::new();
        set.set(core);
        sched_setaffinity(None, &set).expect("this core is ours");
    }
}

/// What a copy inside a namespace does.
pub(crate) fn agent(text: &str) {
    if text == "serve" {
        return serve();
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let &[work, cores, span] = words.as_slice() else {
        panic!("a work, its cores and its time, not {text}");
    };
    let first = |word: &str| word.chars().next().expect("a letter");
    let (work, cores) = (letter(&WORKS, first(work)), letter(&CORES, first(cores)));
    let span = Duration::from_micros(span.parse().expect("microseconds"));
    if cores != Cores::Any {
        pin(0);
    }
    println!("{}", measured(work, cores, span));
}

fn measured(work: Work, cores: Cores, span: Duration) -> f64 {
    let call_port = if cores == Cores::Two { 5002 } else { 5001 };
    let address = |ip: &str, port: u16| -> SocketAddr {
        SocketAddr::new(ip.parse().expect("an address"), port)
    };
    match work {
        Work::Call => calls(address(SERVER, call_port), span, true),
        Work::CallFin => calls(address(SERVER, call_port), span, false),
        Work::PublishedCall => calls(address(HOST, 8001), span, true),
        Work::Bulk | Work::Request | Work::Datagrams | Work::Frames64 | Work::Frames1514 => {
            let mut stream = reach(address(SERVER, 5000));
            let told = [work.letter() as u8, cores.letter() as u8];
            stream.write_all(&told).expect("sent");
            match work {
                Work::Bulk => send(&mut stream, span),
                Work::Request => repeat(span, || request(&mut stream)),
                Work::Frames64 => datagrams::send_frames(&mut stream, 64, span),
                Work::Frames1514 => datagrams::send_frames(&mut stream, 1514, span),
                _ => datagrams::send_datagrams(&mut stream, span),
            }
        }
    }
}

/// The first connection; a link takes a moment to come up.
fn reach(server: SocketAddr) -> TcpStream {
    let stream = (0..100).find_map(|_| {
        let stream = TcpStream::connect(server).ok();
        if stream.is_none() {
            std::thread::sleep(Duration::from_millis(50));
        }
        stream
    });
    let stream = stream.expect("a connection");
    stream.set_nodelay(true).expect("an option");
    stream
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

fn calls(server: SocketAddr, span: Duration, reset: bool) -> f64 {
    drop(reach(server));
    repeat(span, || {
        let mut call = TcpStream::connect(server).expect("a connection");
        request(&mut call);
        if reset {
            let linger = rustix::net::sockopt::set_socket_linger(&call, Some(Duration::ZERO));
            linger.expect("an option");
        }
    })
}

/// Bits a second that the server says it got, compared byte by byte.
fn send(stream: &mut TcpStream, span: Duration) -> f64 {
    let content = Stream::new();
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
    let listen = |port: u16| TcpListener::bind((SERVER, port)).expect("it listens");
    let control = listen(5000);
    for (core, port) in [(0, 5001), (1, 5002)] {
        let listener = listen(port);
        std::thread::spawn(move || answer_calls(&listener, core));
    }
    println!("ready");
    for stream in control.incoming() {
        let Ok(stream) = stream else { return };
        std::thread::spawn(move || serve_one(stream));
    }
}

/// Takes one connection after the other, without a thread for each.
fn answer_calls(listener: &TcpListener, core: usize) {
    pin(core);
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {
            // Until the client's reset or FIN.
            let _ended = stream.read(&mut byte);
        }
    }
}

fn serve_one(mut stream: TcpStream) {
    let mut told = [0; 2];
    if stream.set_nodelay(true).is_err() || stream.read_exact(&mut told).is_err() {
        return;
    }
    match letter(&CORES, told[1].into()) {
        Cores::Any => {}
        Cores::One => pin(0),
        Cores::Two => pin(1),
    }
    match letter(&WORKS, told[0].into()) {
        Work::Bulk => receive(&mut stream),
        Work::Datagrams => datagrams::receive_datagrams(&mut stream),
        Work::Frames64 => datagrams::receive_frames(&mut stream, 64),
        Work::Frames1514 => datagrams::receive_frames(&mut stream, 1514),
        _ => echo(&mut stream),
    }
}

fn echo(stream: &mut TcpStream) {
    let mut buffer = [0; 256];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

fn receive(stream: &mut TcpStream) {
    let mut buffer = vec![0; CHUNK];
    let content = Stream::new();
    let mut heard = 0_u64;
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if !content.is(heard, &buffer[..count]) {
            return;
        }
        heard += count as u64;
    }
    // If the client is gone, it has said why.
    let _told = stream.write_all(&heard.to_be_bytes());
}
