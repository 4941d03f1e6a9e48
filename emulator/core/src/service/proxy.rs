//! docker-proxy: an application in the host's namespace for each published port.
//!
//! After moby `cmd/docker-proxy`: it accepts first and dials the container then, so a client of a port
//! without a listener sees its connection accepted and closed. TCP half-close is passed on; a UDP
//! flow ends after 90 s of silence; a UDP datagram is at most 65,507 bytes. SCTP is not carried.

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
    pending: Vec<u8>,
    sent: usize,
    read_eof: bool,
    wrote_eof: bool,
}

impl Flow {
    /// Moves what can be moved from one socket to the other; `Err` if either is broken.
    fn pump(&mut self, sys: &mut dyn Sys, from: SockId, to: SockId) -> Result<(), Errno> {
        loop {
            while self.sent < self.pending.len() {
                match sys.send(to, &self.pending[self.sent..]) {
                    Ok(count) => self.sent += count,
                    Err(Errno::WouldBlock) => return Ok(()),
                    Err(errno) => return Err(errno),
                }
            }
            if self.read_eof {
                if !self.wrote_eof {
                    self.wrote_eof = true;
                    sys.shutdown(to)?;
                }
                return Ok(());
            }
            self.pending.resize(CHUNK, 0);
            self.sent = 0;
            let got = sys.recv(from, &mut self.pending);
            self.pending.truncate(got.unwrap_or(0));
            match got {
                Ok(0) => self.read_eof = true,
                Ok(_) => {}
                Err(Errno::WouldBlock) => {
                    self.pending = Vec::new();
                    return Ok(());
                }
                Err(errno) => return Err(errno),
            }
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
    fn run(&mut self, sys: &mut dyn Sys) -> bool {
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
        let moved = self
            .up
            .pump(sys, self.client, self.server)
            .and_then(|()| self.down.pump(sys, self.server, self.client));
        moved.is_ok() && !(self.up.wrote_eof && self.down.wrote_eof)
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
}

impl TcpProxy {
    /// A proxy on `listener`, which listens already.
    #[must_use]
    pub const fn new(listener: SockId, target: SocketAddr) -> Self {
        Self {
            listener,
            target,
            splices: Vec::new(),
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
            if self.splices[at].run(sys) {
                at += 1;
            } else {
                self.splices.swap_remove(at).close(sys);
            }
        }
        Step::Wait
    }

    fn name(&self) -> &str {
        "docker-proxy"
    }
}

/// The proxy of one published UDP port.
#[derive(Debug)]
pub struct UdpProxy {
    socket: SockId,
    target: SocketAddr,
    flows: BTreeMap<SocketAddr, (SockId, Time)>,
}

impl UdpProxy {
    /// A proxy on `socket`, which is bound already.
    #[must_use]
    pub const fn new(socket: SockId, target: SocketAddr) -> Self {
        Self {
            socket,
            target,
            flows: BTreeMap::new(),
        }
    }

    fn flow(&mut self, sys: &mut dyn Sys, client: SocketAddr) -> Result<SockId, Errno> {
        if let Some((sock, _)) = self.flows.get(&client) {
            return Ok(*sock);
        }
        if self.flows.len() >= MAX_FLOWS {
            return Err(Errno::NoBufs);
        }
        let sock = sys.socket(SockKind::Udp, family(&self.target))?;
        if let Err(errno) = sys.connect(sock, self.target) {
            sys.close(sock);
            return Err(errno);
        }
        self.flows.insert(client, (sock, sys.now()));
        Ok(sock)
    }
}

impl App for UdpProxy {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        let mut buffer = vec![0; 65_507];
        while let Ok(got) = sys.recv_from(self.socket, &mut buffer) {
            if let Ok(sock) = self.flow(sys, got.from) {
                let _refused = sys.send(sock, &buffer[..got.len]);
                if let Some(flow) = self.flows.get_mut(&got.from) {
                    flow.1 = sys.now();
                }
            }
        }
        let now = sys.now();
        let mut over = Vec::new();
        for (&client, (sock, last)) in &mut self.flows {
            loop {
                match sys.recv(*sock, &mut buffer) {
                    Ok(count) => {
                        *last = now;
                        let _lost = sys.send_to(self.socket, &buffer[..count], client);
                    }
                    // An error from the path ends nothing: the proxy waits for the next datagram.
                    Err(Errno::WouldBlock) => break,
                    Err(_) => {}
                }
            }
            if now.since(*last) >= UDP_IDLE {
                over.push(client);
            }
        }
        for client in over {
            if let Some((sock, _)) = self.flows.remove(&client) {
                sys.close(sock);
            }
        }
        let next = self.flows.values().map(|&(_, last)| last + UDP_IDLE).min();
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
