//! Asking names of the sandbox's resolver over its own UDP sockets: [`Resolve`] is `getaddrinfo`,
//! [`Ask`] one question of any type, as `dig` and reverse look-ups put it, over TCP if its answer was cut.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use dns::hosts::Hosts;
use dns::lookup::LookupError;
use dns::{Families, Lookup, Message, ResolvConf};
use switch::Time;

use super::Libc;
use super::by_stream::ByStream;
use crate::app::{Family, SockKind, Sys};
use crate::id::SockId;
use crate::netns::Errno;

/// The port of DNS.
pub(super) const PORT: u16 = 53;
/// Enough for any reply over UDP.
const REPLY_MAX: usize = 4096;

/// The family of an address.
pub(super) const fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

/// `0.0.0.0` or `::` with a port.
pub(super) const fn any(family: Family, port: u16) -> SocketAddr {
    match family {
        Family::V4 => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
        Family::V6 => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port),
    }
}

/// The first IPv4 address, else the first: busybox prefers IPv4.
pub(super) fn preferred(list: &[IpAddr]) -> Option<IpAddr> {
    let v4 = list.iter().find(|address| address.is_ipv4());
    v4.or_else(|| list.first()).copied()
}

/// The families that `-4` and `-6` leave.
pub(super) const fn families(only_v4: bool, only_v6: bool) -> Families {
    match (only_v4, only_v6) {
        (true, false) => Families::V4,
        (false, true) => Families::V6,
        _ => Families::Both,
    }
}

/// Now, as the dns crate counts it.
pub(super) fn since_start(now: Time) -> Duration {
    now.since(Time::ZERO)
}

/// The sandbox's resolv.conf.
pub(super) fn resolv_conf(sys: &dyn Sys) -> ResolvConf {
    ResolvConf::parse(&sys.file("/etc/resolv.conf").unwrap_or_default())
}

/// Datagram sockets, one a family, opened when they are needed.
#[derive(Debug, Default)]
struct Sockets {
    v4: Option<SockId>,
    v6: Option<SockId>,
}

impl Sockets {
    fn send(&mut self, sys: &mut dyn Sys, server: IpAddr, bytes: &[u8]) -> Result<(), Errno> {
        let family = family_of(server);
        let slot = match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        };
        let sock = match *slot {
            Some(sock) => sock,
            None => *slot.insert(sys.socket(SockKind::Udp, family)?),
        };
        sys.send_to(sock, bytes, SocketAddr::new(server, PORT))?;
        Ok(())
    }

    /// The next datagram, or an error that a socket was told of.
    fn receive(&self, sys: &mut dyn Sys, buffer: &mut [u8]) -> Option<Result<usize, Errno>> {
        for sock in [self.v4, self.v6].into_iter().flatten() {
            match sys.recv_from(sock, buffer) {
                Ok(received) if received.from.port() == PORT => return Some(Ok(received.len)),
                Ok(_) => return Some(Ok(0)),
                Err(Errno::WouldBlock) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }

    fn close(&mut self, sys: &mut dyn Sys) {
        for sock in [self.v4.take(), self.v6.take()].into_iter().flatten() {
            sys.close(sock);
        }
    }
}

/// A name being looked up.
#[derive(Debug)]
pub(super) struct Resolve {
    lookup: Lookup,
    sockets: Sockets,
}

impl Resolve {
    pub(super) fn new(sys: &mut dyn Sys, name: &str, families: Families, libc: Libc) -> Self {
        let hosts = sys.file("/etc/hosts").unwrap_or_default();
        let hosts = Hosts::of(&hosts);
        let conf = resolv_conf(sys);
        let id = sys.random() as u16;
        Self {
            lookup: Lookup::new(conf, &hosts, name, families, libc.flavour(), id),
            sockets: Sockets::default(),
        }
    }

    /// Goes on; `None` while it waits, with the timer set.
    pub(super) fn run(&mut self, sys: &mut dyn Sys) -> Option<Result<Vec<IpAddr>, LookupError>> {
        let now = since_start(sys.now());
        let mut buffer = [0; REPLY_MAX];
        self.lookup.fire(now);
        loop {
            while let Some((server, bytes)) = self.lookup.poll_transmit(now) {
                if self.sockets.send(sys, server, &bytes).is_err() {
                    self.lookup.unreachable(now);
                }
            }
            if let Some(result) = self.lookup.result() {
                let result = result.clone();
                self.sockets.close(sys);
                sys.wake_at(Time::MAX);
                return Some(result);
            }
            match self.sockets.receive(sys, &mut buffer) {
                Some(Ok(length)) => self.lookup.handle(now, &buffer[..length]),
                Some(Err(_)) => self.lookup.unreachable(now),
                None => break,
            }
        }
        let deadline = self.lookup.deadline();
        sys.wake_at(deadline.map_or(Time::MAX, |at| Time::ZERO + at));
        None
    }
}

/// How a question ended.
#[derive(Debug)]
pub(super) enum Answer {
    /// With this message.
    Message(Told),
    /// With silence from every server.
    Silence,
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) message: Message,
    /// Its bytes.
    pub(super) length: usize,
    pub(super) server: IpAddr,
    /// Over TCP, because the answer over UDP was cut.
    pub(super) by_stream: bool,
}

/// One question to the servers in turn.
#[derive(Debug)]
pub(super) struct Ask {
    servers: Vec<IpAddr>,
    bytes: Vec<u8>,
    timeout: Duration,
    left: u32,
    next: usize,
    deadline: Time,
    sockets: Sockets,
    /// The answer was cut, and this asks for the whole.
    stream: Option<ByStream>,
}

impl Ask {
    /// A question to `servers`, each asked `attempts` times; `None` if the name has no wire form.
    pub(super) fn new(
        sys: &mut dyn Sys,
        servers: Vec<IpAddr>,
        (name, kind): (&str, u16),
        timeout: Duration,
        attempts: u32,
    ) -> Option<Self> {
        let bytes = dns::Query::build(sys.random() as u16, name, kind).ok()?;
        let count = u32::try_from(servers.len()).unwrap_or(0);
        Some(Self {
            servers,
            bytes,
            timeout,
            left: attempts.saturating_mul(count),
            next: 0,
            deadline: Time::ZERO,
            sockets: Sockets::default(),
            stream: None,
        })
    }

    /// The PTR question for an address, to the sandbox's own servers.
    pub(super) fn reverse(sys: &mut dyn Sys, address: IpAddr) -> Option<Self> {
        let conf = resolv_conf(sys);
        let name = dns::name::reverse(address);
        let question = (name.as_str(), dns::message::qtype::PTR);
        let attempts = u32::from(conf.attempts);
        Self::new(sys, conf.nameservers, question, conf.timeout, attempts)
    }

    /// Goes on; `None` while it waits, with the timer set.
    pub(super) fn run(&mut self, sys: &mut dyn Sys) -> Option<Answer> {
        let told = match self.hear(sys) {
            Some(told) if told.message.truncated && !told.by_stream => {
                self.stream = ByStream::new(sys, told.server, &self.bytes).ok();
                self.deadline = match self.stream {
                    Some(_) => sys.now() + self.timeout,
                    None => Time::ZERO,
                };
                self.hear(sys)
            }
            heard => heard,
        };
        if let Some(told) = told {
            self.end(sys);
            return Some(Answer::Message(told));
        }
        while self.deadline <= sys.now() {
            if self.left == 0 {
                self.end(sys);
                return Some(Answer::Silence);
            }
            self.left -= 1;
            let server = self.servers[self.next % self.servers.len()];
            self.next += 1;
            self.hang_up(sys);
            if self.sockets.send(sys, server, &self.bytes).is_ok() {
                self.deadline = sys.now() + self.timeout;
            }
        }
        sys.wake_at(self.deadline);
        None
    }

    /// The answer, if it has come. Where there will be none the deadline has passed then.
    fn hear(&mut self, sys: &mut dyn Sys) -> Option<Told> {
        if let Some(stream) = &mut self.stream {
            return match stream.run(sys)? {
                Ok(bytes) => self.told(&bytes, true),
                Err(_) => {
                    self.deadline = Time::ZERO;
                    None
                }
            };
        }
        let mut buffer = [0; REPLY_MAX];
        while let Some(result) = self.sockets.receive(sys, &mut buffer) {
            match result {
                Ok(length) => {
                    if let Some(told) = self.told(&buffer[..length], false) {
                        return Some(told);
                    }
                }
                Err(_) => self.deadline = Time::ZERO,
            }
        }
        None
    }

    /// What a message says, if it answers the question.
    fn told(&self, bytes: &[u8], by_stream: bool) -> Option<Told> {
        let message = Message::parse(bytes).ok()?;
        let server = self.servers[(self.next + self.servers.len() - 1) % self.servers.len()];
        (Some(message.id) == dns::message::id_of(&self.bytes)).then_some(Told {
            message,
            length: bytes.len(),
            server,
            by_stream,
        })
    }

    fn hang_up(&mut self, sys: &mut dyn Sys) {
        if let Some(stream) = self.stream.take() {
            stream.close(sys);
        }
    }

    fn end(&mut self, sys: &mut dyn Sys) {
        self.hang_up(sys);
        self.sockets.close(sys);
        sys.wake_at(Time::MAX);
    }
}
