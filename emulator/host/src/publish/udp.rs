//! The attachment of a published UDP port.
//!
//! Each real client is a socket of its own in the lab, so that a reply finds its client, until nothing has passed for a
//! while. As many clients as the port remembers keep others out until one of them is forgotten.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use emulator_core::app::{Family, SockKind, Sys};
use emulator_core::id::SockId;
use emulator_core::netns::Errno;
use emulator_core::switch::Time;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use super::Target;
use crate::means::Means;
use crate::places::Places;
use crate::reactor::{Events, Interest};
use crate::runtime::{Attachment, Cx};

/// How long a client is remembered without a datagram: what docker-proxy does.
pub const IDLE: Duration = Duration::from_secs(90);
/// Clients that a port remembers.
pub const CLIENTS: usize = 4096;
/// Datagrams that are taken in one round.
const ROUND: usize = 64;
/// Datagrams that wait for the socket to take more.
const WAITING: usize = 64;
/// The largest datagram.
const DATAGRAM: usize = 65_535;
/// The socket's key.
const SOCKET: u64 = 0;
/// The first client's.
const FIRST: u64 = 1;

/// A UDP port of the real machine.
#[derive(Debug)]
pub struct UdpSocket {
    fd: OwnedFd,
    addr: SocketAddr,
}

impl UdpSocket {
    /// Binds an address; port 0 takes a free one.
    ///
    /// # Errors
    /// What `bind(2)` says.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let family = if addr.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
        if addr.is_ipv6() {
            sockopt::set_ipv6_v6only(&fd, true)?;
        }
        rustix::net::bind(&fd, &addr)?;
        let addr = SocketAddr::try_from(rustix::net::getsockname(&fd)?)?;
        Ok(Self { fd, addr })
    }

    /// Where it is.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

#[derive(Debug)]
struct Client {
    addr: SocketAddr,
    sock: SockId,
    /// When it is forgotten if nothing passes.
    until: Time,
}

/// A published UDP port.
#[derive(Debug)]
pub struct UdpPort {
    socket: UdpSocket,
    watch: crate::reactor::Watch,
    target: Target,
    means: Means,
    clients: Places<Client>,
    numbers: HashMap<SocketAddr, u32, FixedState>,
    /// When to look at whom; a client that was heard of since has a later time of its own.
    ends: BTreeSet<(Time, u32)>,
    /// Replies that the socket has no room for.
    waiting: VecDeque<(SocketAddr, Vec<u8>)>,
    buffer: Vec<u8>,
    /// There were too many clients; that was said.
    full: bool,
    idle: Duration,
}

impl UdpPort {
    /// Publishes a port of the lab on a socket.
    ///
    /// # Errors
    /// If the process has no descriptors left.
    pub fn new(
        cx: &mut Cx<'_>,
        socket: UdpSocket,
        target: Target,
        means: Means,
    ) -> io::Result<Self> {
        let watch = cx.watch(socket.fd.as_fd(), SOCKET, Interest::READ)?;
        Ok(Self {
            socket,
            watch,
            target,
            means,
            clients: Places::default(),
            numbers: HashMap::with_hasher(FixedState::default()),
            ends: BTreeSet::new(),
            waiting: VecDeque::new(),
            buffer: Vec::new(),
            full: false,
            idle: IDLE,
        })
    }

    /// Forgets a client after another time than [`IDLE`].
    #[must_use]
    pub const fn forgetting(mut self, after: Duration) -> Self {
        self.idle = after;
        self
    }

    fn receive(&mut self, cx: &mut Cx<'_>) {
        let mut buffer = core::mem::take(&mut self.buffer);
        buffer.resize(DATAGRAM, 0);
        for _ in 0..ROUND {
            let received =
                rustix::net::recvfrom(&self.socket.fd, &mut buffer[..], RecvFlags::empty());
            let (len, from) = match received {
                Ok((len, _, from)) => (len, from),
                Err(rustix::io::Errno::AGAIN) => break,
                // An ICMP error about a reply: its client is gone, and others are not.
                Err(_) => continue,
            };
            let Some(from) = from.and_then(|from| SocketAddr::try_from(from).ok()) else {
                continue;
            };
            if let Some(sock) = self.client(cx, from) {
                // A datagram that is refused is lost.
                let _lost = cx.lab.sys(sock.ns).send(sock, &buffer[..len]);
            }
        }
        self.buffer = buffer;
    }

    /// The socket in the lab of a client.
    fn client(&mut self, cx: &mut Cx<'_>, from: SocketAddr) -> Option<SockId> {
        let until = cx.now() + self.idle;
        if let Some(&number) = self.numbers.get(&from) {
            let client = self.clients.at(number)?;
            client.until = until;
            return Some(client.sock);
        }
        if self.clients.len() >= CLIENTS {
            if !core::mem::replace(&mut self.full, true) {
                let addr = self.socket.addr;
                self.means.say(&format!(
                    "{addr}/udp: {CLIENTS} clients are remembered; others are not heard until \
                     one is silent for {} s",
                    self.idle.as_secs()
                ));
            }
            return None;
        }
        let number = self.clients.next();
        let sock = self.open(cx, FIRST + u64::from(number)).ok()?;
        self.clients.insert(Client {
            addr: from,
            sock,
            until,
        });
        self.numbers.insert(from, number);
        self.ends.insert((until, number));
        self.wake(cx);
        Some(sock)
    }

    fn open(&self, cx: &mut Cx<'_>, key: u64) -> Result<SockId, Errno> {
        let Target { host, to, .. } = self.target;
        let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
        let mut sys = cx.lab.sys(host);
        let sock = sys.socket(SockKind::Udp, family)?;
        if let Err(errno) = sys.connect(sock, to) {
            sys.close(sock);
            return Err(errno);
        }
        cx.own(sock, key);
        Ok(sock)
    }

    /// Hands a client what the lab says to it.
    fn reply(&mut self, cx: &mut Cx<'_>, number: u32) {
        let Some(client) = self.clients.at(number) else {
            return;
        };
        let idle = self.idle;
        let mut buffer = core::mem::take(&mut self.buffer);
        buffer.resize(DATAGRAM, 0);
        let mut sys = cx.lab.sys(client.sock.ns);
        loop {
            match sys.recv(client.sock, &mut buffer) {
                Ok(len) => {
                    client.until = sys.now() + idle;
                    let to = client.addr;
                    if !self.waiting.is_empty() || !send(&self.socket, &buffer[..len], to) {
                        // A queue that is full loses the datagram, as a socket does.
                        if self.waiting.len() < WAITING {
                            self.waiting.push_back((to, buffer[..len].to_vec()));
                        }
                    }
                }
                Err(Errno::WouldBlock) => break,
                // The lab's host was told that nobody is there. docker-proxy passes over it, too.
                Err(_) => {}
            }
        }
        self.buffer = buffer;
        self.interest(cx);
    }

    fn flush(&mut self, cx: &mut Cx<'_>) {
        while let Some((to, bytes)) = self.waiting.front() {
            if !send(&self.socket, bytes, *to) {
                break;
            }
            self.waiting.pop_front();
        }
        self.interest(cx);
    }

    fn interest(&self, cx: &mut Cx<'_>) {
        let interest = Interest::of(true, !self.waiting.is_empty());
        // A descriptor of ours that is watched can be watched for something else.
        let _told = cx.rewatch(self.watch, &self.socket.fd, interest);
    }

    fn wake(&self, cx: &mut Cx<'_>) {
        let next = self.ends.first().map_or(Time::MAX, |&(at, _)| at);
        cx.wake_at(next);
    }
}

/// Sends a datagram; false if there is no room for it now. What is refused is lost.
fn send(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) -> bool {
    let sent = rustix::net::sendto(&socket.fd, bytes, SendFlags::NOSIGNAL, &to);
    !matches!(sent, Err(rustix::io::Errno::AGAIN))
}

impl Attachment for UdpPort {
    fn ready(&mut self, cx: &mut Cx<'_>, _key: u64, events: Events) {
        if events.write {
            self.flush(cx);
        }
        if events.read || events.error {
            self.receive(cx);
        }
    }

    fn lab_ready(&mut self, cx: &mut Cx<'_>, key: u64, _sock: SockId) {
        self.reply(cx, (key - FIRST) as u32);
    }

    fn alarm(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        while let Some(&(at, number)) = self.ends.first()
            && at <= now
        {
            self.ends.pop_first();
            let Some(client) = self.clients.at(number) else {
                continue;
            };
            if client.until > now {
                self.ends.insert((client.until, number));
                continue;
            }
            if let Some(client) = self.clients.remove(number) {
                self.numbers.remove(&client.addr);
                cx.close(client.sock);
                self.full = false;
            }
        }
        if self.clients.len() == 0 {
            // An idle port has no buffer.
            self.buffer = Vec::new();
        }
        self.wake(cx);
    }
}
