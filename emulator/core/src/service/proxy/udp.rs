//! docker-proxy of a UDP port: a socket to the container for each client.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use switch::Time;

use super::family;
use crate::app::{App, SockKind, Step, Sys};
use crate::id::SockId;
use crate::netns::Errno;

/// How long a UDP flow lives without a datagram.
pub const UDP_IDLE: Duration = Duration::from_secs(90);
/// The largest datagram.
const DATAGRAM: usize = 65_507;
/// UDP flows of one port.
const MAX_FLOWS: usize = 4096;

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
    /// Whose each socket to the container is.
    clients: HashMap<SockId, SocketAddr, FixedState>,
    /// When to look at whom; who was heard of since has a later time of its own.
    ends: BTreeSet<(Time, SocketAddr)>,
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
            clients: HashMap::with_hasher(FixedState::with_seed(0)),
            ends: BTreeSet::new(),
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
        self.clients.insert(sock, client);
        self.ends.insert((now + UDP_IDLE, client));
        Ok(sock)
    }

    /// Hands a client what the container says to it.
    fn answer(&mut self, sys: &mut dyn Sys, sock: SockId, buffer: &mut [u8]) {
        let Some(&client) = self.clients.get(&sock) else {
            return;
        };
        let Some(caller) = self.flows.get_mut(&client) else {
            return;
        };
        // An error from the path ends nothing: the proxy waits for the next datagram.
        let _passed_over = sys.take_error(sock);
        while let Ok(count) = sys.recv(sock, buffer) {
            caller.last = sys.now();
            let answer = &buffer[..count];
            let _lost = if self.as_asked {
                sys.send_from(self.socket, answer, client, caller.asked)
            } else {
                sys.send_to(self.socket, answer, client)
            };
        }
    }

    /// Ends the flows that were silent for long enough; when to look again.
    fn expire(&mut self, sys: &mut dyn Sys) -> Time {
        let now = sys.now();
        while let Some(&(at, client)) = self.ends.first() {
            if at > now {
                return at;
            }
            self.ends.pop_first();
            let Some(last) = self.flows.get(&client).map(|caller| caller.last) else {
                continue;
            };
            if now.since(last) < UDP_IDLE {
                self.ends.insert((last + UDP_IDLE, client));
            } else if let Some(caller) = self.flows.remove(&client) {
                self.clients.remove(&caller.server);
                sys.close(caller.server);
            }
        }
        Time::MAX
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
        while let Some(sock) = sys.next_ready() {
            self.answer(sys, sock, &mut buffer);
        }
        let next = self.expire(sys);
        if !self.flows.is_empty() {
            self.buffer = buffer;
        }
        sys.wake_at(next);
        Step::Wait
    }

    fn name(&self) -> &str {
        "docker-proxy"
    }
}
