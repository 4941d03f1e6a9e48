//! docker-proxy: an application in the host's namespace for each published port.
//!
//! After moby `cmd/docker-proxy`: it accepts first and dials the container then, so a client of a port
//! without a listener sees its connection accepted and closed. Each direction of a connection ends on
//! its own, at the end of its stream or at an error of either side, and its end is passed on; when both
//! have ended, the connection is over. A UDP flow ends after 90 s of silence; a UDP datagram is at
//! most 65,507 bytes. SCTP is not carried.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;

use switch::Time;

use crate::app::{App, Family, SockKind, Step, Sys};
use crate::id::SockId;
use crate::netns::Errno;

/// How long a UDP flow lives without a datagram.
pub const UDP_IDLE: Duration = Duration::from_secs(90);
/// Bytes of one direction that are read ahead of the slower side.
const CHUNK: usize = 32 * 1024;
/// What a port keeps of its chunk when nobody is connected to it.
const KEPT: usize = 1024;
/// The largest datagram.
const DATAGRAM: usize = 65_507;
/// UDP flows of one port.
const MAX_FLOWS: usize = 4096;

fn family(addr: &SocketAddr) -> Family {
    match addr.ip() {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

/// One direction of a spliced connection.
#[derive(Debug, Default)]
struct Flow {
    /// Read, and not taken by the other side yet: at most a chunk.
    pending: Vec<u8>,
    read_eof: bool,
    ended: bool,
}

impl Flow {
    /// Moves what can be moved from one socket to the other, through `chunk`; `Err` if either is broken.
    fn pump(
        &mut self,
        sys: &mut dyn Sys,
        from: SockId,
        to: SockId,
        chunk: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        loop {
            while !self.pending.is_empty() {
                match sys.send(to, &self.pending) {
                    Ok(count) => drop(self.pending.drain(..count)),
                    // The other side calls when it takes more.
                    Err(Errno::WouldBlock) => return Ok(()),
                    Err(errno) => return Err(errno),
                }
            }
            if self.read_eof {
                self.ended = true;
                return sys.shutdown(to);
            }
            chunk.clear();
            let mut take = |bytes: &[u8]| {
                let count = bytes.len().min(CHUNK);
                chunk.extend_from_slice(&bytes[..count]);
                count
            };
            match sys.recv_with(from, &mut take) {
                Ok(0) => self.read_eof = true,
                Ok(_) => {
                    let sent = match sys.send(to, chunk) {
                        Ok(sent) => sent,
                        Err(Errno::WouldBlock) => 0,
                        Err(errno) => return Err(errno),
                    };
                    self.pending.extend_from_slice(&chunk[sent..]);
                }
                Err(Errno::WouldBlock) => {
                    // An idle connection holds nothing.
                    self.pending = Vec::new();
                    return Ok(());
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    /// The same; an error ends this direction, and the other side is told.
    fn run(&mut self, sys: &mut dyn Sys, from: SockId, to: SockId, chunk: &mut Vec<u8>) {
        if !self.ended && self.pump(sys, from, to, chunk).is_err() {
            self.ended = true;
            self.pending = Vec::new();
            let _gone = sys.shutdown(to);
        }
    }
}

#[derive(Debug)]
struct Splice {
    client: SockId,
    server: SockId,
    connected: bool,
    up: Flow,
    down: Flow,
}

impl Splice {
    /// Whether the connection goes on.
    fn run(&mut self, sys: &mut dyn Sys, chunk: &mut Vec<u8>) -> bool {
        if !self.connected {
            let ready = sys.ready(self.server);
            if !ready.writable && !ready.error && !ready.hup {
                return true;
            }
            if sys.take_error(self.server).is_some() {
                return false;
            }
            self.connected = true;
        }
        self.up.run(sys, self.client, self.server, chunk);
        self.down.run(sys, self.server, self.client, chunk);
        !(self.up.ended && self.down.ended)
    }

    fn close(self, sys: &mut dyn Sys) {
        sys.close(self.client);
        sys.close(self.server);
    }
}

/// The proxy of one published TCP port.
#[derive(Debug)]
pub struct TcpProxy {
    listener: SockId,
    target: SocketAddr,
    splices: Vec<Splice>,
    chunk: Vec<u8>,
}

impl TcpProxy {
    /// A proxy on `listener`, which listens already.
    #[must_use]
    pub const fn new(listener: SockId, target: SocketAddr) -> Self {
        Self {
            listener,
            target,
            splices: Vec::new(),
            chunk: Vec::new(),
        }
    }

    fn dial(&self, sys: &mut dyn Sys, client: SockId) -> Result<Splice, Errno> {
        let server = sys.socket(SockKind::Tcp, family(&self.target))?;
        match sys.connect(server, self.target) {
            Ok(()) | Err(Errno::InProgress) => Ok(Splice {
                client,
                server,
                connected: false,
                up: Flow::default(),
                down: Flow::default(),
            }),
            Err(errno) => {
                sys.close(server);
                Err(errno)
            }
        }
    }
}

impl App for TcpProxy {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        while let Ok((client, _)) = sys.accept(self.listener) {
            match self.dial(sys, client) {
                Ok(splice) => self.splices.push(splice),
                Err(_) => sys.close(client),
            }
        }
        let mut at = 0;
        while at < self.splices.len() {
            if self.splices[at].run(sys, &mut self.chunk) {
                at += 1;
            } else {
                self.splices.swap_remove(at).close(sys);
            }
        }
        if self.splices.is_empty() && self.chunk.capacity() > KEPT {
            self.chunk = Vec::new();
        }
        Step::Wait
    }

    fn name(&self) -> &str {
        "docker-proxy"
    }
}

/// One client of a UDP port.
#[derive(Debug)]
struct Caller {
    /// Connected to the container.
    server: SockId,
    /// Which of the host's addresses its first datagram was for.
    asked: IpAddr,
    /// Of the last datagram.
    last: Time,
}

/// The proxy of one published UDP port.
#[derive(Debug)]
pub struct UdpProxy {
    socket: SockId,
    target: SocketAddr,
    as_asked: bool,
    flows: BTreeMap<SocketAddr, Caller>,
    buffer: Vec<u8>,
}

impl UdpProxy {
    /// A proxy on `socket`, which is bound already. With `as_asked` it answers from the address that the
    /// client asked (since 28.0), else from the one that routing chooses.
    #[must_use]
    pub const fn new(socket: SockId, target: SocketAddr, as_asked: bool) -> Self {
        Self {
            socket,
            target,
            as_asked,
            flows: BTreeMap::new(),
            buffer: Vec::new(),
        }
    }

    fn flow(
        &mut self,
        sys: &mut dyn Sys,
        client: SocketAddr,
        asked: IpAddr,
    ) -> Result<SockId, Errno> {
        let now = sys.now();
        if let Some(caller) = self.flows.get_mut(&client) {
            caller.last = now;
            return Ok(caller.server);
        }
        if self.flows.len() >= MAX_FLOWS {
            return Err(Errno::NoBufs);
        }
        let sock = sys.socket(SockKind::Udp, family(&self.target))?;
        if let Err(errno) = sys.connect(sock, self.target) {
            sys.close(sock);
            return Err(errno);
        }
        let caller = Caller {
            server: sock,
            asked,
            last: now,
        };
        self.flows.insert(client, caller);
        Ok(sock)
    }
}

impl App for UdpProxy {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        // Of thousands of ports few are used: one that has heard nothing has no buffer.
        let ready = sys.ready(self.socket);
        if self.flows.is_empty() && !ready.readable && !ready.error {
            self.buffer = Vec::new();
            return Step::Wait;
        }
        let mut buffer = core::mem::take(&mut self.buffer);
        buffer.resize(DATAGRAM, 0);
        while let Ok(got) = sys.recv_from(self.socket, &mut buffer) {
            if let Ok(sock) = self.flow(sys, got.from, got.to) {
                let _refused = sys.send(sock, &buffer[..got.len]);
            }
        }
        let now = sys.now();
        let mut over = Vec::new();
        for (&client, caller) in &mut self.flows {
            // An error from the path ends nothing: the proxy waits for the next datagram.
            let _passed_over = sys.take_error(caller.server);
            while let Ok(count) = sys.recv(caller.server, &mut buffer) {
                caller.last = now;
                let answer = &buffer[..count];
                let _lost = if self.as_asked {
                    sys.send_from(self.socket, answer, client, caller.asked)
                } else {
                    sys.send_to(self.socket, answer, client)
                };
            }
            if now.since(caller.last) >= UDP_IDLE {
                over.push(client);
            }
        }
        for client in over {
            if let Some(caller) = self.flows.remove(&client) {
                sys.close(caller.server);
            }
        }
        if !self.flows.is_empty() {
            self.buffer = buffer;
        }
        let next = self.flows.values().map(|flow| flow.last + UDP_IDLE).min();
        sys.wake_at(next.unwrap_or(Time::MAX));
        Step::Wait
    }

    fn name(&self) -> &str {
        "docker-proxy"
    }
}

/// The unspecified address of a family, to bind every address.
#[must_use]
pub const fn any(v6: bool) -> IpAddr {
    if v6 {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    }
}
