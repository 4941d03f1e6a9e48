//! The embedded DNS at 127.0.0.11 in a kernel namespace: what is asked there is asked in the lab's namespace.
//!
//! A query is a lab socket of its own until it is answered, a stream one as long as it lasts; each is bounded.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use emulator_core::app::{Family, SockKind, Sys};
use emulator_core::id::{NsId, SockId};
use emulator_core::netns::Errno;

use crate::reactor::{Events, Interest, Watch};
use crate::runtime::Cx;

const SERVER: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11)), 53);
const UDP: u64 = 1;
const TCP: u64 = 2;
/// The first stream's key.
const STREAMS: u64 = 3;
/// Queries that may wait for an answer; the oldest gives way.
const QUERIES: usize = 128;
/// Streams at a time.
const MOST_STREAMS: usize = 32;
/// Datagrams or connections that are taken in one call.
const ROUND: usize = 32;
/// Bytes that may wait in each direction of a stream.
const BACKLOG: usize = 64 << 10;

#[derive(Debug)]
struct Stream {
    real: TcpStream,
    watch: Watch,
    lab: SockId,
    query: Vec<u8>,
    answer: Vec<u8>,
    /// The real side has ended its half.
    ended: bool,
    /// The lab's side knows that.
    told: bool,
}

/// The sockets at 127.0.0.11:53 of a kernel namespace.
#[derive(Debug)]
pub(super) struct Dns {
    ns: NsId,
    udp: UdpSocket,
    tcp: TcpListener,
    /// Asked and not answered, the oldest first.
    asked: VecDeque<(SockId, SocketAddr)>,
    streams: BTreeMap<u64, Stream>,
    next: u64,
}

impl Dns {
    pub(super) fn new(
        cx: &mut Cx<'_>,
        ns: NsId,
        udp: UdpSocket,
        tcp: TcpListener,
    ) -> io::Result<Self> {
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        cx.watch(&udp, UDP, Interest::READ)?;
        cx.watch(&tcp, TCP, Interest::READ)?;
        Ok(Self {
            ns,
            udp,
            tcp,
            asked: VecDeque::new(),
            streams: BTreeMap::new(),
            next: STREAMS,
        })
    }

    pub(super) fn ready(&mut self, cx: &mut Cx<'_>, key: u64, events: Events) {
        match key {
            UDP => self.hear(cx),
            TCP => self.accept(cx),
            stream => self.turn(cx, stream, events.hup),
        }
    }

    pub(super) fn lab_ready(&mut self, cx: &mut Cx<'_>, key: u64, sock: SockId) {
        if key == UDP {
            self.answer(cx, sock);
        } else {
            self.turn(cx, key, false);
        }
    }

    fn hear(&mut self, cx: &mut Cx<'_>) {
        let mut bytes = [0; 4096];
        for _ in 0..ROUND {
            let Ok((count, from)) = self.udp.recv_from(&mut bytes) else {
                return;
            };
            if self.ask(cx, &bytes[..count], from).is_err() {
                // No room for it: who asked asks again.
                return;
            }
        }
    }

    fn ask(&mut self, cx: &mut Cx<'_>, query: &[u8], from: SocketAddr) -> Result<(), Errno> {
        if self.asked.len() >= QUERIES
            && let Some((oldest, _)) = self.asked.pop_front()
        {
            cx.close(oldest);
        }
        let mut sys = cx.lab.sys(self.ns);
        let sock = sys.socket(SockKind::Udp, Family::V4)?;
        let sent = sys
            .connect(sock, SERVER)
            .and_then(|()| sys.send(sock, query));
        if let Err(errno) = sent {
            sys.close(sock);
            return Err(errno);
        }
        cx.own(sock, UDP);
        self.asked.push_back((sock, from));
        Ok(())
    }

    fn answer(&mut self, cx: &mut Cx<'_>, sock: SockId) {
        let Some(at) = self.asked.iter().position(|(asked, _)| *asked == sock) else {
            return;
        };
        let mut bytes = [0; 4096];
        match cx.lab.sys(self.ns).recv(sock, &mut bytes) {
            Err(Errno::WouldBlock) => return,
            Ok(count) => {
                if let Some((_, to)) = self.asked.get(at) {
                    // Who asked may be gone.
                    let _gone = self.udp.send_to(&bytes[..count], to);
                }
            }
            Err(_) => {}
        }
        self.asked.remove(at);
        cx.close(sock);
    }

    fn accept(&mut self, cx: &mut Cx<'_>) {
        for _ in 0..ROUND {
            let Ok((real, _)) = self.tcp.accept() else {
                return;
            };
            // One too many, or one for which there is nothing left, is closed.
            if self.streams.len() < MOST_STREAMS {
                let _closed = self.open(cx, real);
            }
        }
    }

    fn open(&mut self, cx: &mut Cx<'_>, real: TcpStream) -> io::Result<()> {
        real.set_nonblocking(true)?;
        let mut sys = cx.lab.sys(self.ns);
        let none = |_| io::Error::from(io::ErrorKind::OutOfMemory);
        let lab = sys.socket(SockKind::Tcp, Family::V4).map_err(none)?;
        if !matches!(sys.connect(lab, SERVER), Ok(()) | Err(Errno::InProgress)) {
            sys.close(lab);
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let key = self.next;
        self.next += 1;
        cx.own(lab, key);
        let watch = match cx.watch(&real, key, Interest::READ) {
            Ok(watch) => watch,
            Err(error) => {
                cx.close(lab);
                return Err(error);
            }
        };
        let stream = Stream {
            real,
            watch,
            lab,
            query: Vec::new(),
            answer: Vec::new(),
            ended: false,
            told: false,
        };
        self.streams.insert(key, stream);
        Ok(())
    }

    /// Moves what can be moved in a stream, and ends it when either side has.
    fn turn(&mut self, cx: &mut Cx<'_>, key: u64, gone: bool) {
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        let goes_on = !gone && stream.carry(&mut cx.lab.sys(self.ns)).is_some();
        if goes_on {
            let reads = !stream.ended && stream.query.len() < BACKLOG;
            let interest = Interest::of(reads, !stream.answer.is_empty());
            // The watch is there as long as the stream is.
            let _there = cx.rewatch(stream.watch, &stream.real, interest);
            return;
        }
        if let Some(stream) = self.streams.remove(&key) {
            cx.unwatch(stream.watch, &stream.real);
            cx.close(stream.lab);
        }
    }
}

impl Stream {
    /// `None`: it is over.
    fn carry(&mut self, sys: &mut impl Sys) -> Option<()> {
        let mut chunk = [0; 4096];
        while !self.ended && self.query.len() < BACKLOG {
            match self.real.read(&mut chunk) {
                Ok(0) => self.ended = true,
                Ok(count) => self.query.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return None,
            }
        }
        while !self.query.is_empty() {
            match sys.send(self.lab, &self.query) {
                Ok(count) => drop(self.query.drain(..count)),
                Err(Errno::WouldBlock | Errno::InProgress) => break,
                Err(_) => return None,
            }
        }
        let mut over = false;
        while !over && self.answer.len() < BACKLOG {
            match sys.recv(self.lab, &mut chunk) {
                Ok(0) => over = true,
                Ok(count) => self.answer.extend_from_slice(&chunk[..count]),
                Err(Errno::WouldBlock | Errno::InProgress) => break,
                Err(_) => over = true,
            }
        }
        while !self.answer.is_empty() {
            match self.real.write(&self.answer) {
                Ok(count) => drop(self.answer.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return None,
            }
        }
        // The server closes when it has answered whoever asks nothing more.
        if self.ended && self.query.is_empty() && !self.told {
            self.told = sys.shutdown(self.lab).is_ok();
        }
        (!over || !self.answer.is_empty()).then_some(())
    }
}
