//! DNS at a network's gateway, for machines that joined it from outside: they have no 127.0.0.11 of their own.
//!
//! As libvirt's networks have it, and Docker's have not: while a bare TAP is on a network, its gateway's address answers
//! on port 53, by UDP and TCP, what the embedded DNS says to the container that stands for the machine. A query is a
//! lab socket until it is answered, a stream two as long as it lasts; each is bounded.

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, VecDeque};

use emulator_core::app::{Family, SockKind, Sys};
use emulator_core::id::{NsId, SockId};
use emulator_core::netns::Errno;

use crate::runtime::Cx;

const PORT: u16 = 53;
const SERVER: SocketAddr =
    SocketAddr::new(IpAddr::V4(core::net::Ipv4Addr::new(127, 0, 0, 11)), PORT);
/// Queries that may wait for an answer; the oldest gives way.
const QUERIES: usize = 128;
/// Streams at a time.
const STREAMS: usize = 32;
/// Bytes that may wait in each direction of a stream.
const BACKLOG: usize = 64 << 10;

/// Asked, and not answered yet.
#[derive(Debug)]
struct Asked {
    sock: SockId,
    /// The socket at the gateway by which it came, and from whom.
    by: SockId,
    from: SocketAddr,
}

#[derive(Debug)]
struct Stream {
    asker: SockId,
    server: SockId,
    query: Vec<u8>,
    answer: Vec<u8>,
    /// The asker has ended its half; the server knows that.
    ended: bool,
    told: bool,
}

/// The sockets at port 53 of a gateway.
#[derive(Debug)]
pub(super) struct Gateway {
    udp: Vec<SockId>,
    tcp: Vec<SockId>,
    asked: VecDeque<Asked>,
    streams: BTreeMap<SockId, Stream>,
    /// The key of all sockets.
    key: u64,
}

impl Gateway {
    /// Binds the addresses of a gateway in the host's namespace.
    ///
    /// # Errors
    /// The address that is not to be had, and why.
    pub(super) fn new(
        cx: &mut Cx<'_>,
        host: NsId,
        addresses: &[IpAddr],
        key: u64,
    ) -> Result<Self, (IpAddr, Errno)> {
        let mut gateway = Self {
            udp: Vec::new(),
            tcp: Vec::new(),
            asked: VecDeque::new(),
            streams: BTreeMap::new(),
            key,
        };
        for &ip in addresses {
            if let Err(errno) = gateway.bind(cx, host, ip) {
                gateway.close(cx);
                return Err((ip, errno));
            }
        }
        Ok(gateway)
    }

    fn bind(&mut self, cx: &mut Cx<'_>, host: NsId, ip: IpAddr) -> Result<(), Errno> {
        let at = SocketAddr::new(ip, PORT);
        let family = if ip.is_ipv4() { Family::V4 } else { Family::V6 };
        for kind in [SockKind::Udp, SockKind::Tcp] {
            let mut sys = cx.lab.sys(host);
            let sock = sys.socket(kind, family)?;
            let bound = sys.bind(sock, at).and_then(|()| match kind {
                SockKind::Tcp => sys.listen(sock, STREAMS),
                _ => Ok(()),
            });
            if let Err(errno) = bound {
                sys.close(sock);
                return Err(errno);
            }
            cx.own(sock, self.key);
            match kind {
                SockKind::Tcp => self.tcp.push(sock),
                _ => self.udp.push(sock),
            }
        }
        Ok(())
    }

    /// A socket may be read or written. `place` says in whose namespace an address asks.
    pub(super) fn ready(&mut self, cx: &mut Cx<'_>, sock: SockId, place: impl Fn(IpAddr) -> NsId) {
        if self.udp.contains(&sock) {
            self.hear(cx, sock, place);
        } else if self.tcp.contains(&sock) {
            self.accept(cx, sock, place);
        } else if let Some(at) = self.asked.iter().position(|asked| asked.sock == sock) {
            self.answer(cx, at);
        } else {
            self.turn(cx, sock);
        }
    }

    fn hear(&mut self, cx: &mut Cx<'_>, by: SockId, place: impl Fn(IpAddr) -> NsId) {
        let mut bytes = [0; 4096];
        // All that its buffer held: what comes meanwhile waits for the lab's next turn.
        while let Ok(received) = cx.lab.sys(by.ns).recv_from(by, &mut bytes) {
            if self.asked.len() >= QUERIES
                && let Some(oldest) = self.asked.pop_front()
            {
                cx.close(oldest.sock);
            }
            let ns = place(received.from.ip());
            let mut sys = cx.lab.sys(ns);
            let Ok(sock) = sys.socket(SockKind::Udp, Family::V4) else {
                return;
            };
            let sent = sys
                .connect(sock, SERVER)
                .and_then(|()| sys.send(sock, &bytes[..received.len]));
            if sent.is_err() {
                sys.close(sock);
                continue;
            }
            cx.own(sock, self.key);
            let from = received.from;
            self.asked.push_back(Asked { sock, by, from });
        }
    }

    fn answer(&mut self, cx: &mut Cx<'_>, at: usize) {
        let Some(asked) = self.asked.get(at) else {
            return;
        };
        let mut bytes = [0; 4096];
        match cx.lab.sys(asked.sock.ns).recv(asked.sock, &mut bytes) {
            Err(Errno::WouldBlock) => return,
            Ok(count) => {
                let mut sys = cx.lab.sys(asked.by.ns);
                // Who asked may be gone.
                let _gone = sys.send_to(asked.by, &bytes[..count], asked.from);
            }
            Err(_) => {}
        }
        if let Some(asked) = self.asked.remove(at) {
            cx.close(asked.sock);
        }
    }

    fn accept(&mut self, cx: &mut Cx<'_>, by: SockId, place: impl Fn(IpAddr) -> NsId) {
        while let Ok((asker, from)) = cx.lab.sys(by.ns).accept(by) {
            if self.streams.len() >= STREAMS {
                cx.lab.sys(asker.ns).close(asker);
                continue;
            }
            let mut sys = cx.lab.sys(place(from.ip()));
            let server = sys.socket(SockKind::Tcp, Family::V4).and_then(|sock| {
                match sys.connect(sock, SERVER) {
                    Ok(()) | Err(Errno::InProgress) => Ok(sock),
                    Err(errno) => {
                        sys.close(sock);
                        Err(errno)
                    }
                }
            });
            let Ok(server) = server else {
                cx.lab.sys(asker.ns).close(asker);
                continue;
            };
            cx.own(asker, self.key);
            cx.own(server, self.key);
            let stream = Stream {
                asker,
                server,
                query: Vec::new(),
                answer: Vec::new(),
                ended: false,
                told: false,
            };
            self.streams.insert(asker, stream);
            self.turn(cx, asker);
        }
    }

    /// Moves what can be moved in the stream of a socket, and ends it when either side has.
    fn turn(&mut self, cx: &mut Cx<'_>, sock: SockId) {
        let found = self
            .streams
            .iter_mut()
            .find(|(asker, stream)| **asker == sock || stream.server == sock);
        let Some((&asker, stream)) = found else {
            return;
        };
        if stream.carry(cx).is_none()
            && let Some(stream) = self.streams.remove(&asker)
        {
            cx.close(stream.asker);
            cx.close(stream.server);
        }
    }

    /// Closes everything.
    pub(super) fn close(&mut self, cx: &mut Cx<'_>) {
        for sock in self.udp.drain(..).chain(self.tcp.drain(..)) {
            cx.close(sock);
        }
        for asked in self.asked.drain(..) {
            cx.close(asked.sock);
        }
        for (_, stream) in core::mem::take(&mut self.streams) {
            cx.close(stream.asker);
            cx.close(stream.server);
        }
    }
}

/// Reads a stream until its end, no more than there is room for. `None`: it is broken.
fn take(cx: &mut Cx<'_>, from: SockId, into: &mut Vec<u8>, ended: &mut bool) -> Option<()> {
    let mut chunk = [0; 4096];
    while !*ended && into.len() < BACKLOG {
        match cx.lab.sys(from.ns).recv(from, &mut chunk) {
            Ok(0) => *ended = true,
            Ok(count) => into.extend_from_slice(&chunk[..count]),
            Err(Errno::WouldBlock | Errno::InProgress) => break,
            Err(_) => return None,
        }
    }
    Some(())
}

fn give(cx: &mut Cx<'_>, to: SockId, bytes: &mut Vec<u8>) -> Option<()> {
    while !bytes.is_empty() {
        match cx.lab.sys(to.ns).send(to, bytes) {
            Ok(count) => drop(bytes.drain(..count)),
            Err(Errno::WouldBlock | Errno::InProgress) => break,
            Err(_) => return None,
        }
    }
    Some(())
}

impl Stream {
    /// `None`: it is over.
    fn carry(&mut self, cx: &mut Cx<'_>) -> Option<()> {
        take(cx, self.asker, &mut self.query, &mut self.ended)?;
        give(cx, self.server, &mut self.query)?;
        let mut over = false;
        over |= take(cx, self.server, &mut self.answer, &mut over).is_none();
        give(cx, self.asker, &mut self.answer)?;
        if self.ended && self.query.is_empty() && !self.told {
            self.told = cx.lab.sys(self.server.ns).shutdown(self.server).is_ok();
        }
        (!over || !self.answer.is_empty()).then_some(())
    }
}
