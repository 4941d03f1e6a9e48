//! Docker's embedded DNS server as it stands in a container's namespace: 127.0.0.11, port 53.
//!
//! The logic is [`dns::Resolver`]; here are its sockets: one for UDP and one listener for TCP inside the
//! sandbox, and one for each query that is being forwarded, in the namespace from which that upstream
//! is asked. Docker's server listens on random ports behind a rewrite of port 53; here it has port 53
//! of 127.0.0.11 itself, hidden from listings, and nobody who binds 0.0.0.0:53 runs into it.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;

use dns::resolver::ADDRESS;
use dns::{Action, ForwardId, Resolver, Transmit, Transport, UpstreamFrom, Zones};
use switch::{Rng, Time};

use crate::app::{Family, SockKind, Step, Sys};
use crate::id::{NsId, SockId};
use crate::lab::apps::LabSys;
use crate::netns::Errno;

/// Clients that are served over TCP at once.
const MAX_STREAMS: usize = 256;
/// What is read of a query over UDP.
const LONGEST_QUERY: usize = 4096;
/// The largest datagram.
const DATAGRAM: usize = 65_535;

/// Who waits for a forwarded query.
#[derive(Clone, Copy, Debug)]
enum Client {
    Datagram(SocketAddr),
    Stream(SockId),
}

/// A stream of messages with two bytes of length before each.
#[derive(Debug, Default)]
struct Framing {
    inbox: Vec<u8>,
    outbox: Vec<u8>,
}

impl Framing {
    fn push(&mut self, message: &[u8]) {
        let len = u16::try_from(message.len()).unwrap_or(u16::MAX);
        self.outbox.extend_from_slice(&len.to_be_bytes());
        self.outbox.extend_from_slice(&message[..usize::from(len)]);
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let len = usize::from(u16::from_be_bytes(*self.inbox.first_chunk::<2>()?));
        (self.inbox.len() >= 2 + len).then(|| self.inbox.drain(..2 + len).skip(2).collect())
    }

    /// Sends what there is to send; `Err` if the stream is broken.
    fn flush(&mut self, sys: &mut dyn Sys, sock: SockId) -> Result<(), Errno> {
        while !self.outbox.is_empty() {
            match sys.send(sock, &self.outbox) {
                Ok(count) => drop(self.outbox.drain(..count)),
                Err(Errno::WouldBlock) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Reads some of what has come: whether there may be more, or how the stream ended.
    fn fill(&mut self, sys: &mut dyn Sys, sock: SockId) -> Result<Filled, Errno> {
        let mut buffer = [0; 4096];
        match sys.recv(sock, &mut buffer) {
            Ok(0) => Ok(Filled::End),
            Ok(count) => {
                self.inbox.extend_from_slice(&buffer[..count]);
                Ok(Filled::More)
            }
            Err(Errno::WouldBlock) => Ok(Filled::All),
            Err(errno) => Err(errno),
        }
    }
}

/// How far the reading of a stream came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filled {
    /// There may be more.
    More,
    /// Nothing more has come yet.
    All,
    /// The other side sends nothing more.
    End,
}

/// A query on its way to an upstream.
#[derive(Debug)]
struct Asking {
    sock: SockId,
    stream: Option<Framing>,
}

/// The embedded server of one sandbox.
#[derive(Debug)]
pub struct DnsService {
    /// The logic; configured again when the sandbox's networks change.
    pub(crate) resolver: Resolver,
    host: NsId,
    rng: Rng,
    udp: Option<SockId>,
    listener: Option<SockId>,
    streams: BTreeMap<SockId, Framing>,
    clients: BTreeMap<ForwardId, Client>,
    asking: BTreeMap<ForwardId, Asking>,
}

impl DnsService {
    /// A server with this logic; upstreams of the host's file are asked from `host`.
    #[must_use]
    pub const fn new(resolver: Resolver, host: NsId, rng: Rng) -> Self {
        Self {
            resolver,
            host,
            rng,
            udp: None,
            listener: None,
            streams: BTreeMap::new(),
            clients: BTreeMap::new(),
            asking: BTreeMap::new(),
        }
    }

    /// Opens its sockets.
    ///
    /// # Errors
    /// If the address is taken, or there is no room for more sockets.
    pub(crate) fn start(&mut self, sys: &mut LabSys<'_>) -> Result<(), Errno> {
        let addr = SocketAddr::from((ADDRESS, 53));
        let udp = sys.socket(SockKind::Udp, Family::V4)?;
        sys.set_internal(udp);
        sys.bind(udp, addr)?;
        let listener = sys.socket(SockKind::Tcp, Family::V4)?;
        sys.set_internal(listener);
        sys.bind(listener, addr)?;
        sys.listen(listener, 128)?;
        (self.udp, self.listener) = (Some(udp), Some(listener));
        Ok(())
    }

    /// Does what can be done now.
    pub(crate) fn run(&mut self, sys: &mut LabSys<'_>, zones: &Zones) -> Step {
        let now = sys.now().since(Time::ZERO);
        self.resolver.fire(now);
        self.serve_datagrams(sys, zones, now);
        self.serve_streams(sys, zones, now);
        self.hear_upstreams(sys, now);
        self.drain(sys, now);
        let deadline = self
            .resolver
            .deadline()
            .map_or(Time::MAX, |at| Time::ZERO + at);
        sys.wake_at(deadline);
        Step::Wait
    }

    fn query(
        &mut self,
        zones: &Zones,
        now: Duration,
        bytes: &[u8],
        transport: Transport,
    ) -> Action {
        let rng = &mut self.rng;
        let mut shuffle = |addresses: &mut [IpAddr]| rng.shuffle(addresses);
        self.resolver
            .handle_query(now, zones, bytes, transport, &mut shuffle)
    }

    fn serve_datagrams(&mut self, sys: &mut LabSys<'_>, zones: &Zones, now: Duration) {
        let Some(udp) = self.udp else { return };
        let mut buffer = borrow(sys);
        while let Ok(got) = sys.recv_from(udp, &mut buffer[..LONGEST_QUERY]) {
            match self.query(zones, now, &buffer[..got.len], Transport::Udp) {
                Action::Reply(reply) => {
                    // A client that is gone does not miss it.
                    let _gone = sys.send_to(udp, &reply, got.from);
                }
                Action::Forward(id) => drop(self.clients.insert(id, Client::Datagram(got.from))),
                Action::Ignore => {}
            }
        }
        sys.apps.datagram = buffer;
    }

    fn serve_streams(&mut self, sys: &mut LabSys<'_>, zones: &Zones, now: Duration) {
        let Some(listener) = self.listener else {
            return;
        };
        while let Ok((sock, _)) = sys.accept(listener) {
            if self.streams.len() < MAX_STREAMS {
                self.streams.insert(sock, Framing::default());
            } else {
                sys.close(sock);
            }
        }
        let all: Vec<SockId> = self.streams.keys().copied().collect();
        for sock in all {
            if !self.serve_stream(sys, zones, now, sock) {
                self.close_stream(sys, now, sock);
            }
        }
    }

    /// Whether the stream stays open.
    fn serve_stream(
        &mut self,
        sys: &mut LabSys<'_>,
        zones: &Zones,
        now: Duration,
        sock: SockId,
    ) -> bool {
        let open = loop {
            let Some(framing) = self.streams.get_mut(&sock) else {
                return false;
            };
            if framing.flush(sys, sock).is_err() {
                return false;
            }
            // Who asks without reading gets no further than this: it goes on when the socket takes more.
            if framing.outbox.len() > DATAGRAM {
                return true;
            }
            if let Some(query) = framing.next() {
                match self.query(zones, now, &query, Transport::Tcp) {
                    Action::Reply(reply) => {
                        if let Some(framing) = self.streams.get_mut(&sock) {
                            framing.push(&reply);
                        }
                    }
                    Action::Forward(id) => drop(self.clients.insert(id, Client::Stream(sock))),
                    Action::Ignore => return false,
                }
                continue;
            }
            match framing.fill(sys, sock) {
                Ok(Filled::More) => {}
                Ok(Filled::All) => break true,
                Ok(Filled::End) => break false,
                Err(_) => return false,
            }
        };
        let unsent = self
            .streams
            .get(&sock)
            .is_some_and(|framing| !framing.outbox.is_empty());
        let waits = self
            .clients
            .values()
            .any(|client| matches!(client, Client::Stream(of) if *of == sock));
        open || unsent || waits
    }

    fn close_stream(&mut self, sys: &mut LabSys<'_>, now: Duration, sock: SockId) {
        self.streams.remove(&sock);
        sys.close(sock);
        let gone: Vec<ForwardId> = self
            .clients
            .iter()
            .filter(|(_, client)| matches!(client, Client::Stream(of) if *of == sock))
            .map(|(&id, _)| id)
            .collect();
        for id in gone {
            self.clients.remove(&id);
            self.resolver.cancel(now, id);
            self.stop_asking(sys, id);
        }
    }

    fn stop_asking(&mut self, sys: &mut LabSys<'_>, id: ForwardId) {
        if let Some(asking) = self.asking.remove(&id) {
            sys.close(asking.sock);
        }
    }

    fn hear_upstreams(&mut self, sys: &mut LabSys<'_>, now: Duration) {
        let all: Vec<ForwardId> = self.asking.keys().copied().collect();
        for id in all {
            let Some(asking) = self.asking.get_mut(&id) else {
                continue;
            };
            let heard = match &mut asking.stream {
                Some(framing) => hear_stream(sys, asking.sock, framing),
                None => hear_datagram(sys, asking.sock),
            };
            match heard {
                Ok(Some(bytes)) => self.resolver.handle_upstream_reply(now, id, &bytes),
                Ok(None) => {}
                Err(_) => {
                    self.stop_asking(sys, id);
                    self.resolver.handle_upstream_error(now, id);
                }
            }
        }
    }

    /// Sends what the logic wants sent, until it wants nothing more.
    fn drain(&mut self, sys: &mut LabSys<'_>, now: Duration) {
        loop {
            if let Some(transmit) = self.resolver.poll_transmit() {
                let id = transmit.id;
                if self.ask(sys, transmit).is_err() {
                    self.resolver.handle_upstream_error(now, id);
                }
            } else if let Some((id, reply)) = self.resolver.poll_reply() {
                self.stop_asking(sys, id);
                self.answer(sys, id, reply);
            } else {
                return;
            }
        }
    }

    fn answer(&mut self, sys: &mut LabSys<'_>, id: ForwardId, reply: Option<Vec<u8>>) {
        let (Some(client), Some(reply)) = (self.clients.remove(&id), reply) else {
            return;
        };
        match client {
            Client::Datagram(to) => {
                if let Some(udp) = self.udp {
                    let _gone = sys.send_to(udp, &reply, to);
                }
            }
            Client::Stream(sock) => {
                if let Some(framing) = self.streams.get_mut(&sock) {
                    framing.push(&reply);
                    // What does not go now goes when the socket is writable again.
                    let _broken = framing.flush(sys, sock);
                }
            }
        }
    }

    fn ask(&mut self, sys: &mut LabSys<'_>, transmit: Transmit) -> Result<(), Errno> {
        self.stop_asking(sys, transmit.id);
        let from = match transmit.upstream.from {
            // A stack hears no answer at an interface that somebody else reads.
            UpstreamFrom::Container if sys.net.is_raw(sys.ns) => self.host,
            UpstreamFrom::Container => sys.ns,
            UpstreamFrom::Host => self.host,
        };
        let to = SocketAddr::new(transmit.upstream.address, 53);
        let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
        let (kind, mut stream) = match transmit.transport {
            Transport::Tcp => (SockKind::Tcp, Some(Framing::default())),
            Transport::Udp => (SockKind::Udp, None),
        };
        let sock = sys.socket_in(from, kind, family)?;
        let asked = match (sys.connect(sock, to), &mut stream) {
            (Ok(()) | Err(Errno::InProgress), Some(framing)) => {
                framing.push(&transmit.bytes);
                Ok(())
            }
            (Ok(()), None) => sys.send(sock, &transmit.bytes).map(|_| ()),
            (Err(errno), _) => Err(errno),
        };
        if let Err(errno) = asked {
            sys.close(sock);
            return Err(errno);
        }
        self.asking.insert(transmit.id, Asking { sock, stream });
        Ok(())
    }
}

fn hear_datagram(sys: &mut LabSys<'_>, sock: SockId) -> Result<Option<Vec<u8>>, Errno> {
    // Of many queries under way, few have an answer.
    if !sys.ready(sock).readable {
        return Ok(None);
    }
    let mut buffer = borrow(sys);
    let heard = match sys.recv(sock, &mut buffer) {
        Ok(count) => Ok(Some(buffer[..count].to_vec())),
        Err(Errno::WouldBlock) => Ok(None),
        Err(errno) => Err(errno),
    };
    sys.apps.datagram = buffer;
    heard
}

/// Room for a datagram, one for all servers of the lab: clearing it each time would cost more than an answer.
fn borrow(sys: &mut LabSys<'_>) -> Vec<u8> {
    let mut buffer = core::mem::take(&mut sys.apps.datagram);
    buffer.resize(DATAGRAM, 0);
    buffer
}

fn hear_stream(
    sys: &mut LabSys<'_>,
    sock: SockId,
    framing: &mut Framing,
) -> Result<Option<Vec<u8>>, Errno> {
    if let Some(errno) = sys.take_error(sock) {
        return Err(errno);
    }
    if !sys.ready(sock).writable && !sys.ready(sock).readable {
        return Ok(None);
    }
    framing.flush(sys, sock)?;
    loop {
        if let Some(message) = framing.next() {
            return Ok(Some(message));
        }
        match framing.fill(sys, sock)? {
            Filled::More => {}
            Filled::All => return Ok(None),
            Filled::End => return Err(Errno::ConnReset),
        }
    }
}
