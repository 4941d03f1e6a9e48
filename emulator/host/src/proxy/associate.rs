//! SOCKS5 for datagrams (RFC 1928, `UDP ASSOCIATE`): a real client sends them to a port that is its own as long as its
//! connection lasts, each with its receiver before it; answers come back with their sender.
//!
//! Left out: fragments, which are dropped as the RFC allows. Only the client's address is heard, and once it has sent
//! something, only that port of it.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use emulator_core::app::{Family, SockKind, Sys};
use emulator_core::id::{AppId, NsId, SockId};
use emulator_core::netns::Errno;
use emulator_core::switch::Time;
use emulator_core::tools::Libc;
use emulator_core::tools::getent::Getent;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::heard::{self, datagram};
use super::joined::addresses;
use super::{DATAGRAMS, Host};
use crate::means::Share;
use crate::reactor::{Interest, Watch};
use crate::runtime::Cx;

/// Datagrams that are taken in one round.
const ROUND: usize = 64;
/// The largest datagram, its head included.
const DATAGRAM: usize = 65_535;
/// Names that are remembered.
const NAMES: usize = 64;
/// Datagrams that wait for a name.
const WAITING: usize = 8;
/// How long a name is taken for known.
const KNOWN: Duration = Duration::from_secs(30);
/// Errors of a lab socket that are passed over in one run.
const ERRORS: usize = 16;

/// The datagrams of a client.
#[derive(Debug)]
pub(super) struct Association {
    fd: OwnedFd,
    watch: Watch,
    _share: Share,
    ns: NsId,
    key: u64,
    /// Where the client is; the port as soon as it is known.
    client: (IpAddr, Option<u16>),
    /// In the lab, for each family.
    socks: [Option<SockId>; 2],
    names: BTreeMap<String, Name>,
}

#[derive(Debug)]
enum Name {
    /// It is looked up; what waits for that: the port, the bytes.
    Asked(AppId, Vec<(u16, Vec<u8>)>),
    /// Its address, if it has one, until it is asked for anew.
    Known(Option<IpAddr>, Time),
}

impl Association {
    /// Opens a port on the address `at` for a client; `port` is where it says that it sends from, 0 if it does not
    /// know.
    ///
    /// # Errors
    /// If the process has no descriptors left.
    pub(super) fn open(
        cx: &mut Cx<'_>,
        (at, client, port): (IpAddr, IpAddr, u16),
        ns: NsId,
        key: u64,
        share: Share,
    ) -> io::Result<(Self, SocketAddr)> {
        let family = if at.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
        rustix::net::bind(&fd, &SocketAddr::new(at, 0))?;
        let own = SocketAddr::try_from(rustix::net::getsockname(&fd)?)?;
        let watch = cx.watch(fd.as_fd(), key | DATAGRAMS, Interest::READ)?;
        let association = Self {
            fd,
            watch,
            _share: share,
            ns,
            key,
            client: (client, (port != 0).then_some(port)),
            socks: [None; 2],
            names: BTreeMap::new(),
        };
        Ok((association, own))
    }

    /// Takes what the client sends.
    pub(super) fn receive(&mut self, cx: &mut Cx<'_>) {
        let mut buffer = [0; DATAGRAM];
        for _ in 0..ROUND {
            let received = rustix::net::recvfrom(&self.fd, &mut buffer[..], RecvFlags::empty());
            let (len, from) = match received {
                Ok((len, _, from)) => (len, from),
                Err(rustix::io::Errno::AGAIN) => return,
                // An ICMP error about an answer.
                Err(_) => continue,
            };
            let from = from.and_then(|from| SocketAddr::try_from(from).ok());
            if !from.is_some_and(|from| self.is_client(from)) {
                continue;
            }
            if let Some((host, port, head)) = datagram(&buffer[..len]) {
                self.pass(cx, host, port, &buffer[head..len]);
            }
        }
    }

    fn is_client(&mut self, from: SocketAddr) -> bool {
        let (address, port) = self.client;
        if from.ip() != address || port.is_some_and(|port| port != from.port()) {
            return false;
        }
        self.client.1 = Some(from.port());
        true
    }

    fn pass(&mut self, cx: &mut Cx<'_>, host: Host, port: u16, bytes: &[u8]) {
        let name = match host {
            Host::Address(address) => return self.send(cx, SocketAddr::new(address, port), bytes),
            Host::Name(name) => name,
        };
        let now = cx.now();
        match self.names.get_mut(&name) {
            Some(Name::Known(address, until)) if *until > now => {
                if let Some(address) = *address {
                    self.send(cx, SocketAddr::new(address, port), bytes);
                }
            }
            Some(Name::Asked(_, waiting)) => {
                if waiting.len() < WAITING {
                    waiting.push((port, bytes.to_vec()));
                }
            }
            _ => self.ask(cx, name, (port, bytes.to_vec())),
        }
    }

    /// Looks a name up. With too many of them, the datagram is lost.
    fn ask(&mut self, cx: &mut Cx<'_>, name: String, first: (u16, Vec<u8>)) {
        if self.names.len() >= NAMES {
            let now = cx.now();
            self.names
                .retain(|_, name| !matches!(name, Name::Known(_, until) if *until <= now));
        }
        if self.names.len() < NAMES {
            let getent = Getent::new(name.clone(), Libc::Glibc);
            let app = cx.lab.spawn(self.ns, Box::new(getent));
            cx.own_app(app, self.key);
            self.names.insert(name, Name::Asked(app, vec![first]));
        }
    }

    /// A name was looked up.
    pub(super) fn resolved(&mut self, cx: &mut Cx<'_>, app: AppId) {
        let out = cx.lab.take_output(app);
        cx.end_app(app);
        let address = addresses(&out).next();
        let until = cx.now() + KNOWN;
        let asked = self
            .names
            .values_mut()
            .find(|name| matches!(name, Name::Asked(own, _) if *own == app));
        let known = Name::Known(address, until);
        let Some(Name::Asked(_, waiting)) = asked.map(|name| core::mem::replace(name, known))
        else {
            return;
        };
        for (port, bytes) in waiting {
            if let Some(address) = address {
                self.send(cx, SocketAddr::new(address, port), &bytes);
            }
        }
    }

    /// Sends a datagram in the lab; one that is refused is lost.
    fn send(&mut self, cx: &mut Cx<'_>, to: SocketAddr, bytes: &[u8]) {
        if let Ok(sock) = self.sock(cx, to) {
            let _lost = cx.lab.sys(sock.ns).send_to(sock, bytes, to);
        }
    }

    fn sock(&mut self, cx: &mut Cx<'_>, to: SocketAddr) -> Result<SockId, Errno> {
        let (place, family) = if to.is_ipv4() {
            (0, Family::V4)
        } else {
            (1, Family::V6)
        };
        if let Some(sock) = self.socks[place] {
            return Ok(sock);
        }
        let sock = cx.lab.sys(self.ns).socket(SockKind::Udp, family)?;
        cx.own(sock, self.key);
        self.socks[place] = Some(sock);
        Ok(sock)
    }

    /// Hands the client what the lab says to it. What finds no room is lost.
    pub(super) fn answer(&self, cx: &mut Cx<'_>, sock: SockId) {
        let (address, Some(port)) = self.client else {
            return;
        };
        let client = SocketAddr::new(address, port);
        let mut buffer = [0; DATAGRAM];
        let mut errors = 0;
        while errors < ERRORS {
            match cx.lab.sys(sock.ns).recv_from(sock, &mut buffer) {
                Ok(got) => {
                    let mut answer = vec![0; 3];
                    heard::put(&mut answer, got.from);
                    answer.extend_from_slice(&buffer[..got.len]);
                    let _lost =
                        rustix::net::sendto(&self.fd, &answer, SendFlags::NOSIGNAL, &client);
                }
                Err(Errno::WouldBlock) => return,
                // Somebody was told that nobody is there; SOCKS has no word for it.
                Err(_) => errors += 1,
            }
        }
    }

    pub(super) fn close(self, cx: &mut Cx<'_>) {
        cx.unwatch(self.watch, &self.fd);
        for sock in self.socks.into_iter().flatten() {
            cx.close(sock);
        }
        for name in self.names.into_values() {
            if let Name::Asked(app, _) = name {
                cx.end_app(app);
            }
        }
    }
}
