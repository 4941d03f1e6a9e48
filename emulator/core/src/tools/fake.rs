//! A namespace made of tables, for the programs' own tests: names, ping replies, TCP servers and clients, and
//! a clock that jumps to the next thing that happens.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use dns::message::{Fit, Reply, qtype};
use dns::{Query, Rcode};
use switch::Time;

use super::{Context, Libc, spawn_in};
use crate::app::{App, Family, PathError, Ready, Received, SockKind, SockOpt, Step, Sys};
use crate::id::{NsId, SockId};
use crate::netns::{Errno, Netns};

/// How a TCP server of the outside behaves.
#[derive(Clone, Debug)]
pub(super) enum Server {
    /// It sends this when the client's request is complete (an empty line), and closes.
    Answers(&'static str),
    /// It sends this, and the connection breaks, or nothing more is heard.
    Stops(&'static str, Option<Errno>),
    /// The resolver, over TCP.
    Resolves,
    /// The connect ends so.
    Fails(Errno),
}

#[derive(Debug, Default)]
struct Sock {
    kind: Option<SockKind>,
    bound: Option<SocketAddr>,
    peer: Option<SocketAddr>,
    listening: bool,
    connected: bool,
    ttl: u8,
    error: Option<Errno>,
    /// What arrives, and when.
    datagrams: VecDeque<(Time, SocketAddr, Vec<u8>)>,
    errors: VecDeque<(Time, PathError)>,
    stream: VecDeque<u8>,
    ended: bool,
    /// What ends the stream instead.
    breaks: Option<Errno>,
    sent: Vec<u8>,
    closed: bool,
}

/// The namespace.
#[derive(Debug)]
pub(super) struct Fake {
    pub(super) now: Time,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) libc: Libc,
    pub(super) stdin: &'static str,
    pub(super) files: BTreeMap<&'static str, String>,
    names: BTreeMap<String, Vec<IpAddr>>,
    pings: BTreeMap<IpAddr, Duration>,
    unroutable: BTreeMap<IpAddr, Errno>,
    servers: BTreeMap<SocketAddr, Server>,
    /// Clients to come: when, to which port, from where, with what.
    clients: VecDeque<(Time, u16, SocketAddr, &'static str)>,
    udp_clients: VecDeque<(Time, u16, SocketAddr, &'static str)>,
    /// What each client got.
    pub(super) got: Vec<(SocketAddr, String)>,
    /// Routers on the way, by hop, for traceroute.
    pub(super) hops: Vec<IpAddr>,
    silent_dns: bool,
    wake: Time,
    socks: Vec<Sock>,
    /// How many of them [`Sys::next_ready`] has told in this run.
    told: usize,
    random: u64,
}

impl Default for Fake {
    fn default() -> Self {
        let files = BTreeMap::from([
            (
                "/etc/resolv.conf",
                "nameserver 127.0.0.11\noptions ndots:0\n".to_owned(),
            ),
            (
                "/etc/hosts",
                "127.0.0.1\tlocalhost\n172.18.0.2\tbox1\n".to_owned(),
            ),
            ("/etc/hostname", "box1\n".to_owned()),
        ]);
        Self {
            now: Time::ZERO,
            stdout: String::new(),
            stderr: String::new(),
            libc: Libc::Musl,
            stdin: "",
            files,
            names: BTreeMap::new(),
            pings: BTreeMap::new(),
            unroutable: BTreeMap::new(),
            servers: BTreeMap::new(),
            clients: VecDeque::new(),
            udp_clients: VecDeque::new(),
            got: Vec::new(),
            hops: Vec::new(),
            silent_dns: false,
            wake: Time::MAX,
            socks: Vec::new(),
            told: 0,
            random: 6,
        }
    }
}

impl Fake {
    /// A name that the resolver knows.
    pub(super) fn names(&mut self, name: &str, address: &str) {
        let list = self.names.entry(name.to_owned()).or_default();
        list.push(address.parse().expect("an address"));
    }

    /// The resolver says nothing.
    pub(super) fn silence_dns(&mut self) {
        self.silent_dns = true;
    }

    /// An address that answers pings after this time.
    pub(super) fn pings(&mut self, address: &str, after: Duration) {
        self.pings
            .insert(address.parse().expect("an address"), after);
    }

    /// Sending there fails.
    pub(super) fn unroutable(&mut self, address: &str, errno: Errno) {
        self.unroutable
            .insert(address.parse().expect("an address"), errno);
    }

    /// A TCP server.
    pub(super) fn serves(&mut self, address: &str, server: Server) {
        self.servers
            .insert(address.parse().expect("a socket address"), server);
    }

    /// A TCP client that connects to a port of ours, sends `text` and reads until the end.
    pub(super) fn client(&mut self, port: u16, from: &str, text: &'static str) {
        let from = from.parse().expect("a socket address");
        self.clients
            .push_back((Time::from_millis(10), port, from, text));
    }

    /// A UDP client that sends `text` to a port of ours.
    pub(super) fn udp_client(&mut self, port: u16, from: &str, text: &'static str) {
        let from = from.parse().expect("a socket address");
        self.udp_clients
            .push_back((Time::from_millis(10), port, from, text));
    }

    /// Runs a program to its end; its exit code.
    pub(super) fn run(&mut self, line: &str) -> u8 {
        self.run_until(line, Time::MAX).expect("it ends")
    }

    /// Runs a program until it ends or nothing more happens before `end`.
    pub(super) fn run_until(&mut self, line: &str, end: Time) -> Option<u8> {
        let argv: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let context = Context {
            libc: self.libc,
            iproute2: false,
            firewall: false,
            stdin: self.stdin.as_bytes().to_vec(),
        };
        self.run_app_until(spawn_in(&argv, &context).expect("a program"), end)
    }

    /// The same with a program that no line names.
    pub(super) fn run_app_until(&mut self, mut app: Box<dyn App>, end: Time) -> Option<u8> {
        for _ in 0..100_000 {
            if let Step::Exit(code) = app.run(self) {
                return Some(code);
            }
            let next = self.next();
            if next > end || next == Time::MAX {
                assert!(end < Time::MAX, "{} waits for ever", app.name());
                return None;
            }
            if self.wake <= next {
                self.wake = Time::MAX;
            }
            self.now = self.now.max(next);
            self.arrive();
        }
        panic!("{} spins", app.name());
    }

    /// When something happens next.
    fn next(&self) -> Time {
        let socks = self.socks.iter().filter(|sock| !sock.closed);
        let arrivals = socks.flat_map(|sock| {
            let datagrams = sock.datagrams.iter().map(|(at, ..)| *at);
            datagrams.chain(sock.errors.iter().map(|(at, _)| *at))
        });
        let clients = self.clients.iter().chain(&self.udp_clients);
        arrivals
            .chain(clients.map(|(at, ..)| *at))
            .chain([self.wake])
            .min()
            .unwrap_or(Time::MAX)
    }

    /// UDP clients whose time has come put their datagrams into our sockets.
    fn arrive(&mut self) {
        while let Some(&(at, port, from, text)) = self.udp_clients.front() {
            if at > self.now {
                return;
            }
            self.udp_clients.pop_front();
            let at_port = |sock: &&mut Sock| {
                sock.kind == Some(SockKind::Udp) && sock.bound.is_some_and(|own| own.port() == port)
            };
            let sock = self.socks.iter_mut().find(at_port).expect("a socket");
            sock.datagrams
                .push_back((at, from, text.as_bytes().to_vec()));
        }
    }

    fn sock(&mut self, id: SockId) -> &mut Sock {
        let sock = &mut self.socks[id.slot as usize];
        assert!(!sock.closed, "a closed socket is used");
        sock
    }

    fn dns_reply(&self, bytes: &[u8], limit: usize) -> Option<Vec<u8>> {
        if self.silent_dns {
            return None;
        }
        let query = Query::parse(bytes).expect("a query");
        let found = self.names.get(&query.name);
        let pointed = dns::name::address_of(&query.name).and_then(|address| {
            let mut all = self.names.iter();
            all.find(|(_, list)| list.contains(&address))
        });
        let known = found.is_some() || pointed.is_some();
        let rcode = if known {
            Rcode::NoError
        } else {
            Rcode::NxDomain
        };
        let mut reply = Reply::new(&query, rcode).recursion_available();
        let wanted = |address: &&IpAddr| match query.qtype {
            qtype::A => address.is_ipv4(),
            qtype::AAAA => address.is_ipv6(),
            _ => false,
        };
        for address in found.into_iter().flatten().filter(wanted) {
            reply.address(600, *address);
        }
        if let Some((name, _)) = pointed {
            reply.pointer(600, &format!("{name}.net")).expect("a name");
        }
        Some(reply.finish(limit, Fit::Compress))
    }

    /// What comes back for a datagram that was sent.
    fn respond(&mut self, id: SockId, bytes: &[u8], to: SocketAddr) {
        let now = self.now;
        let kind = self.sock(id).kind;
        let ttl = usize::from(self.sock(id).ttl);
        let hops = self.hops.clone();
        if let Some(&from) = hops.get(ttl.wrapping_sub(1)) {
            let last = from == to.ip();
            if last && kind == Some(SockKind::Ping) {
                let at = now + Duration::from_micros(500);
                self.sock(id).datagrams.push_back((at, to, bytes.to_vec()));
                return;
            }
            let error = PathError {
                errno: if last {
                    Errno::ConnRefused
                } else {
                    Errno::HostUnreach
                },
                from,
                icmp: if last { (3, 3) } else { (11, 0) },
                to,
                mtu: None,
            };
            let at = now + Duration::from_micros(500);
            self.sock(id).errors.push_back((at, error));
            return;
        }
        if kind == Some(SockKind::Ping) {
            if let Some(&after) = self.pings.get(&to.ip()) {
                let datagram = (now + after, to, bytes.to_vec());
                self.sock(id).datagrams.push_back(datagram);
            }
        } else if to.port() == 53
            && let Some(reply) = self.dns_reply(bytes, 512)
        {
            self.sock(id).datagrams.push_back((now, to, reply));
        }
    }

    fn client_got(&mut self, id: SockId, bytes: &[u8]) {
        let peer = self.sock(id).peer.expect("a peer");
        let text = String::from_utf8_lossy(bytes);
        match self.got.iter_mut().find(|(own, _)| *own == peer) {
            Some((_, got)) => got.push_str(&text),
            None => self.got.push((peer, text.into_owned())),
        }
    }
}

impl Sys for Fake {
    fn now(&self) -> Time {
        self.now
    }

    fn random(&mut self) -> u64 {
        self.random += 1;
        self.random
    }

    fn wake_at(&mut self, at: Time) {
        self.wake = at;
    }

    fn next_ready(&mut self) -> Option<SockId> {
        // Each open socket once a run, ready or not.
        loop {
            let slot = self.told;
            self.told += 1;
            let Some(sock) = self.socks.get(slot) else {
                self.told = 0;
                return None;
            };
            if !sock.closed {
                return Some(SockId {
                    ns: NsId(1),
                    slot: slot as u32,
                    generation: 0,
                });
            }
        }
    }

    fn socket(&mut self, kind: SockKind, _: Family) -> Result<SockId, Errno> {
        self.socks.push(Sock {
            kind: Some(kind),
            ..Sock::default()
        });
        Ok(SockId {
            ns: NsId(1),
            slot: self.socks.len() as u32 - 1,
            generation: 0,
        })
    }

    fn set(&mut self, sock: SockId, option: SockOpt) -> Result<(), Errno> {
        if let SockOpt::HopLimit(ttl) = option {
            self.sock(sock).ttl = ttl;
        }
        Ok(())
    }

    fn bind(&mut self, sock: SockId, addr: SocketAddr) -> Result<(), Errno> {
        let kind = self.sock(sock).kind;
        let taken = self.socks.iter().any(|other| {
            let same = other.bound.is_some_and(|own| own.port() == addr.port());
            !other.closed && other.kind == kind && addr.port() != 0 && same
        });
        if taken || addr.port() == 9 {
            return Err(Errno::AddrInUse);
        }
        self.sock(sock).bound = Some(addr);
        Ok(())
    }

    fn listen(&mut self, sock: SockId, _: usize) -> Result<(), Errno> {
        self.sock(sock).listening = true;
        Ok(())
    }

    fn accept(&mut self, sock: SockId) -> Result<(SockId, SocketAddr), Errno> {
        let port = self.sock(sock).bound.expect("a port").port();
        let now = self.now;
        let mut clients = self.clients.iter();
        let found = clients.position(|&(at, own, ..)| at <= now && own == port);
        let Some((_, _, from, text)) = found.and_then(|at| self.clients.remove(at)) else {
            return Err(Errno::WouldBlock);
        };
        let id = self.socket(SockKind::Tcp, Family::V4)?;
        let sock = self.sock(id);
        sock.peer = Some(from);
        sock.bound = Some(SocketAddr::from(([172, 18, 0, 2], port)));
        sock.connected = true;
        sock.stream = text.bytes().collect();
        sock.ended = true;
        Ok((id, from))
    }

    fn connect(&mut self, sock: SockId, addr: SocketAddr) -> Result<(), Errno> {
        if let Some(&errno) = self.unroutable.get(&addr.ip()) {
            return Err(errno);
        }
        let server = self.servers.get(&addr).cloned();
        let own = self.sock(sock);
        own.peer = Some(addr);
        if own.kind == Some(SockKind::Udp) {
            return Ok(());
        }
        match server {
            Some(Server::Answers(_) | Server::Stops(..) | Server::Resolves) => own.connected = true,
            Some(Server::Fails(errno)) => own.error = Some(errno),
            None => {}
        }
        Err(Errno::InProgress)
    }

    fn send(&mut self, sock: SockId, bytes: &[u8]) -> Result<usize, Errno> {
        let own = self.sock(sock);
        let Some(peer) = own.peer else {
            return Err(Errno::NotConn);
        };
        if own.kind != Some(SockKind::Tcp) {
            return self.send_to(sock, bytes, peer);
        }
        if !own.connected {
            return Err(Errno::WouldBlock);
        }
        own.sent.extend_from_slice(bytes);
        let whole = String::from_utf8_lossy(&own.sent).contains("\r\n\r\n");
        match self.servers.get(&peer) {
            Some(Server::Resolves) => {
                let asked = self.sock(sock).sent.get(2..).map(<[u8]>::to_vec);
                let reply = asked.and_then(|asked| self.dns_reply(&asked, 65_535));
                let reply = reply.unwrap_or_default();
                let own = self.sock(sock);
                own.stream.extend((reply.len() as u16).to_be_bytes());
                own.stream.extend(reply);
            }
            Some(&Server::Answers(text)) if whole => {
                let own = self.sock(sock);
                own.stream.extend(text.bytes());
                own.ended = true;
            }
            Some(&Server::Stops(text, errno)) if whole => {
                let own = self.sock(sock);
                own.stream.extend(text.bytes());
                own.breaks = errno;
            }
            Some(_) => {}
            None => self.client_got(sock, bytes),
        }
        Ok(bytes.len())
    }

    fn send_from(
        &mut self,
        sock: SockId,
        bytes: &[u8],
        to: SocketAddr,
        _: IpAddr,
    ) -> Result<usize, Errno> {
        self.send_to(sock, bytes, to)
    }

    fn send_to(&mut self, sock: SockId, bytes: &[u8], to: SocketAddr) -> Result<usize, Errno> {
        if let Some(&errno) = self.unroutable.get(&to.ip()) {
            return Err(errno);
        }
        let ours = self.sock(sock).bound.is_some_and(|own| own.port() != 0);
        if ours && self.sock(sock).kind == Some(SockKind::Udp) {
            self.got
                .push((to, String::from_utf8_lossy(bytes).into_owned()));
        }
        self.respond(sock, bytes, to);
        Ok(bytes.len())
    }

    fn recv(&mut self, sock: SockId, buffer: &mut [u8]) -> Result<usize, Errno> {
        let own = self.sock(sock);
        if own.kind != Some(SockKind::Tcp) {
            return self.recv_from(sock, buffer).map(|received| received.len);
        }
        let count = own.stream.len().min(buffer.len());
        if count == 0 && !own.ended {
            return Err(Errno::WouldBlock);
        }
        for slot in &mut buffer[..count] {
            *slot = own.stream.pop_front().unwrap_or(0);
        }
        Ok(count)
    }

    fn send_room(&mut self, _sock: SockId) -> Result<usize, Errno> {
        Ok(usize::MAX)
    }

    fn recv_with(
        &mut self,
        sock: SockId,
        look: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Result<usize, Errno> {
        let own = self.sock(sock);
        if own.stream.is_empty() {
            return match own.breaks {
                Some(errno) => Err(errno),
                None if own.ended => Ok(0),
                None => Err(Errno::WouldBlock),
            };
        }
        let taken = look(own.stream.make_contiguous());
        own.stream.drain(..taken);
        Ok(taken)
    }

    fn recv_from(&mut self, sock: SockId, buffer: &mut [u8]) -> Result<Received, Errno> {
        let now = self.now;
        let own = self.sock(sock);
        if own.datagrams.front().is_none_or(|(at, ..)| *at > now) {
            return Err(Errno::WouldBlock);
        }
        let (_, from, bytes) = own.datagrams.pop_front().expect("a datagram");
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        Ok(Received {
            len,
            from,
            to: IpAddr::from([172, 18, 0, 2]),
            hop_limit: 64,
        })
    }

    fn recv_error(&mut self, sock: SockId) -> Option<PathError> {
        let now = self.now;
        let own = self.sock(sock);
        if own.errors.front().is_some_and(|(at, _)| *at <= now) {
            return own.errors.pop_front().map(|(_, error)| error);
        }
        None
    }

    fn shutdown(&mut self, sock: SockId) -> Result<(), Errno> {
        let peer = self.sock(sock).peer;
        if let Some(Server::Answers(text)) = peer.and_then(|peer| self.servers.get(&peer)) {
            let text = *text;
            let own = self.sock(sock);
            if !own.ended {
                own.stream.extend(text.bytes());
                own.ended = true;
            }
        }
        Ok(())
    }

    fn close(&mut self, sock: SockId) {
        self.sock(sock).closed = true;
    }

    fn ready(&self, sock: SockId) -> Ready {
        let own = &self.socks[sock.slot as usize];
        let arrived = own
            .datagrams
            .front()
            .is_some_and(|(at, ..)| *at <= self.now);
        Ready {
            readable: arrived || !own.stream.is_empty() || own.ended,
            writable: own.connected || own.error.is_some(),
            hup: false,
            error: own.error.is_some(),
        }
    }

    fn take_error(&mut self, sock: SockId) -> Option<Errno> {
        self.sock(sock).error.take()
    }

    fn local_addr(&self, sock: SockId) -> Option<SocketAddr> {
        let own = &self.socks[sock.slot as usize];
        own.bound
            .or_else(|| Some(SocketAddr::from(([172, 18, 0, 2], 40_000))))
    }

    fn peer_addr(&self, sock: SockId) -> Option<SocketAddr> {
        self.socks[sock.slot as usize].peer
    }

    fn print(&mut self, text: &str) {
        self.stdout.push_str(text);
    }

    fn print_bytes(&mut self, bytes: &[u8]) {
        self.stdout.push_str(&String::from_utf8_lossy(bytes));
    }

    fn eprint(&mut self, text: &str) {
        self.stderr.push_str(text);
    }

    fn hostname(&self) -> String {
        "box1".to_owned()
    }

    fn file(&self, path: &str) -> Option<String> {
        self.files.get(path).cloned()
    }

    fn netns(&self) -> &Netns {
        panic!("this namespace has no state to print")
    }
}
