//! A client of a proxy: from its first byte to the two streams that are tied together.

use core::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use emulator_core::app::Sys;
use emulator_core::id::{AppId, NsId, SockId};
use emulator_core::netns::Errno;
use emulator_core::switch::Time;
use emulator_core::tools::Libc;
use emulator_core::tools::getent::Getent;
use rustix::net::{RecvFlags, SendFlags};

use super::Host;
use super::associate::Association;
use super::heard::{self, Heard, MOST, Wanted, Way, hear};
use crate::held::Connection;
use crate::means::Means;
use crate::publish::dial;
use crate::reactor::{Events, Interest, Watch};
use crate::runtime::Cx;
use crate::splice::{Course, Opening, Splice};

/// Addresses of a name that are tried.
const TRIED: usize = 8;

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    ns: NsId,
    key: u64,
    means: Means,
    /// When it has said where it wants to go, or is sent away.
    until: Time,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It says where it wants to go, or waits.
    Asks(Asks),
    /// It is there.
    Joined(Splice),
    /// It sends datagrams as long as its connection lasts.
    Associated(OwnedFd, Watch, Association),
    /// It was closed.
    Gone,
}

#[derive(Debug)]
struct Asks {
    fd: OwnedFd,
    watch: Watch,
    said: Vec<u8>,
    greeted: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Hears,
    Resolves(AppId, Wanted),
    Opens {
        sock: SockId,
        wanted: Wanted,
        /// Tried if this one fails.
        others: Vec<IpAddr>,
    },
}

impl Client {
    pub(super) fn new(
        (fd, watch): (OwnedFd, Watch),
        ns: NsId,
        key: u64,
        means: Means,
        until: Time,
    ) -> Self {
        let asks = Asks {
            fd,
            watch,
            said: Vec::new(),
            greeted: false,
            stage: Stage::Hears,
        };
        Self {
            ns,
            key,
            means,
            until,
            state: State::Asks(asks),
        }
    }

    pub(super) const fn until(&self) -> Time {
        self.until
    }

    /// Sends it away if it has not said by now where it wants to go.
    pub(super) fn late(&self, now: Time) -> Course {
        match &self.state {
            State::Asks(asks) if matches!(asks.stage, Stage::Hears) && self.until <= now => {
                if asks.said.first().is_some_and(u8::is_ascii_alphabetic) {
                    let _told = say(&asks.fd, heard::HTTP_LATE);
                }
                Course::Over
            }
            _ => Course::On,
        }
    }

    /// Its socket for datagrams is ready.
    pub(super) fn datagrams(&mut self, cx: &mut Cx<'_>) {
        if let State::Associated(_, _, association) = &mut self.state {
            association.receive(cx);
        }
    }

    pub(super) fn ready(&mut self, cx: &mut Cx<'_>, events: Events) -> Course {
        match &mut self.state {
            State::Associated(fd, ..) => listen_on(fd, events),
            State::Joined(splice) => splice.ready(cx, events),
            State::Gone => Course::Over,
            State::Asks(_) if events.error || events.hup => Course::Over,
            State::Asks(asks) => {
                if !matches!(asks.stage, Stage::Hears) {
                    return Course::On;
                }
                match asks.read() {
                    Course::On => self.hear(cx),
                    Course::Over => Course::Over,
                }
            }
        }
    }

    fn hear(&mut self, cx: &mut Cx<'_>) -> Course {
        loop {
            let State::Asks(asks) = &mut self.state else {
                return Course::Over;
            };
            match hear(&asks.said, asks.greeted) {
                Heard::More => return Course::On,
                Heard::Say(taken, answer) => {
                    asks.said.drain(..taken);
                    asks.greeted = true;
                    if !say(&asks.fd, answer) {
                        return Course::Over;
                    }
                }
                Heard::Refuse(answer) => {
                    let _told = say(&asks.fd, answer);
                    return Course::Over;
                }
                Heard::Wanted(taken, wanted) => {
                    asks.said.drain(..taken);
                    // What it says before it is there can wait where it is.
                    let _told = cx.rewatch(asks.watch, &asks.fd, Interest::NONE);
                    return self.go(cx, wanted);
                }
            }
        }
    }

    fn go(&mut self, cx: &mut Cx<'_>, wanted: Wanted) -> Course {
        if wanted.way == Way::Associate {
            return self.associate(cx, &wanted);
        }
        match &wanted.host {
            Host::Address(address) => {
                let address = *address;
                self.open(cx, wanted, vec![address])
            }
            Host::Name(name) => {
                let getent = Getent::new(name.clone(), Libc::Glibc);
                let app = cx.lab.spawn(self.ns, Box::new(getent));
                cx.own_app(app, self.key);
                if let State::Asks(asks) = &mut self.state {
                    asks.stage = Stage::Resolves(app, wanted);
                }
                Course::On
            }
        }
    }

    /// Opens a port for its datagrams, on the address on which it found the proxy.
    fn associate(&mut self, cx: &mut Cx<'_>, wanted: &Wanted) -> Course {
        let State::Asks(asks) = &self.state else {
            return Course::Over;
        };
        let ends = ends(&asks.fd).map(|(own, client)| (own.ip(), client.ip(), wanted.port));
        let (Some(ends), Some(share)) = (ends, self.means.take()) else {
            refuse(&asks.fd, wanted, Some(Errno::NoBufs));
            return Course::Over;
        };
        let opened = Association::open(cx, ends, self.ns, self.key, share);
        let Ok((association, at)) = opened else {
            refuse(&asks.fd, wanted, Some(Errno::NoBufs));
            return Course::Over;
        };
        // Its end is the end of the association.
        let told = cx.rewatch(asks.watch, &asks.fd, Interest::READ).is_ok()
            && say(&asks.fd, &heard::socks_at(at));
        if let State::Asks(asks) = core::mem::replace(&mut self.state, State::Gone) {
            self.state = State::Associated(asks.fd, asks.watch, association);
        }
        if told { Course::On } else { Course::Over }
    }

    /// The name is looked up.
    pub(super) fn resolved(&mut self, cx: &mut Cx<'_>, app: AppId) -> Course {
        if let State::Associated(_, _, association) = &mut self.state {
            association.resolved(cx, app);
            return Course::On;
        }
        let out = cx.lab.take_output(app);
        cx.end_app(app);
        let State::Asks(asks) = &mut self.state else {
            return Course::On;
        };
        let stage = core::mem::replace(&mut asks.stage, Stage::Hears);
        let Stage::Resolves(_, wanted) = stage else {
            return Course::Over;
        };
        let addresses: Vec<IpAddr> = addresses(&out).take(TRIED).collect();
        if addresses.is_empty() {
            refuse(&asks.fd, &wanted, None);
            return Course::Over;
        }
        self.open(cx, wanted, addresses)
    }

    /// Connects to the first of the addresses that takes it.
    fn open(&mut self, cx: &mut Cx<'_>, wanted: Wanted, mut others: Vec<IpAddr>) -> Course {
        let State::Asks(asks) = &mut self.state else {
            return Course::Over;
        };
        let mut last = Errno::HostUnreach;
        while !others.is_empty() {
            let to = SocketAddr::new(others.remove(0), wanted.port);
            match dial(cx, self.ns, to, self.key) {
                Ok(sock) => {
                    asks.stage = Stage::Opens {
                        sock,
                        wanted,
                        others,
                    };
                    return Course::On;
                }
                Err(errno) => last = errno,
            }
        }
        refuse(&asks.fd, &wanted, Some(last));
        Course::Over
    }

    pub(super) fn lab_ready(&mut self, cx: &mut Cx<'_>, sock: SockId) -> Course {
        let asks = match &mut self.state {
            State::Joined(splice) => return splice.lab_ready(cx),
            State::Associated(_, _, association) => {
                association.answer(cx, sock);
                return Course::On;
            }
            State::Gone => return Course::Over,
            State::Asks(asks) => asks,
        };
        let Stage::Opens { sock, .. } = &asks.stage else {
            return Course::On;
        };
        let sock = *sock;
        let mut sys = cx.lab.sys(sock.ns);
        let ready = sys.ready(sock);
        if !ready.writable && !ready.error && !ready.hup {
            return Course::On;
        }
        let failed = sys.take_error(sock);
        let stage = core::mem::replace(&mut asks.stage, Stage::Hears);
        let Stage::Opens { wanted, others, .. } = stage else {
            return Course::Over;
        };
        if let Some(errno) = failed {
            cx.close(sock);
            if others.is_empty() {
                refuse(&asks.fd, &wanted, Some(errno));
                return Course::Over;
            }
            return self.open(cx, wanted, others);
        }
        self.join(cx, sock, &wanted)
    }

    /// Ties the streams together.
    fn join(&mut self, cx: &mut Cx<'_>, sock: SockId, wanted: &Wanted) -> Course {
        let State::Asks(asks) = core::mem::replace(&mut self.state, State::Gone) else {
            return Course::Over;
        };
        let first = match &wanted.way {
            Way::Forward(head) => head.clone(),
            Way::Socks | Way::Associate | Way::Connect => Vec::new(),
        };
        let told = match wanted.way {
            Way::Socks | Way::Associate => say(&asks.fd, &heard::SOCKS_DONE),
            Way::Connect => say(&asks.fd, heard::HTTP_DONE),
            Way::Forward(_) => true,
        };
        let bytes = [first, asks.said].concat();
        // A fresh stream has room for it.
        let taken = bytes.is_empty() || cx.lab.sys(sock.ns).send(sock, &bytes) == Ok(bytes.len());
        let mut splice = Splice::new(asks.fd, asks.watch, sock, Opening::None);
        let next = if told && taken {
            splice.go(cx, true)
        } else {
            Course::Over
        };
        self.state = State::Joined(splice);
        next
    }
}

impl Connection for Client {
    fn close(self, cx: &mut Cx<'_>) {
        match self.state {
            State::Joined(splice) => splice.close(cx),
            State::Associated(fd, watch, association) => {
                cx.unwatch(watch, &fd);
                association.close(cx);
            }
            State::Asks(asks) => {
                cx.unwatch(asks.watch, &asks.fd);
                match asks.stage {
                    Stage::Hears => {}
                    Stage::Resolves(app, _) => cx.end_app(app),
                    Stage::Opens { sock, .. } => cx.close(sock),
                }
            }
            State::Gone => {}
        }
    }
}

/// The addresses of both ends of a connection.
fn ends(fd: &OwnedFd) -> Option<(SocketAddr, SocketAddr)> {
    let own = SocketAddr::try_from(rustix::net::getsockname(fd).ok()?).ok()?;
    let client = SocketAddr::try_from(rustix::net::getpeername(fd).ok()??).ok()?;
    Some((own, client))
}

/// What a client says on the connection of its association is nothing; only its end counts.
fn listen_on(fd: &OwnedFd, events: Events) -> Course {
    if events.error || events.hup {
        return Course::Over;
    }
    match rustix::net::recv(fd, &mut [0; 2048], RecvFlags::empty()) {
        Ok((0, _)) => Course::Over,
        Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Course::On,
        Err(_) => Course::Over,
    }
}

/// The addresses that `getent ahosts` printed.
pub(super) fn addresses(out: &[(bool, String)]) -> impl Iterator<Item = IpAddr> + '_ {
    let lines = out.iter().flat_map(|(_, text)| text.lines());
    lines.filter_map(|line| line.split_whitespace().next()?.parse().ok())
}

impl Asks {
    /// Reads what there is.
    fn read(&mut self) -> Course {
        let mut buffer = [0; 2048];
        loop {
            let room = (MOST - self.said.len().min(MOST)).min(buffer.len());
            if room == 0 {
                return Course::On;
            }
            match rustix::net::recv(&self.fd, &mut buffer[..room], RecvFlags::empty()) {
                Ok((0, _)) => return Course::Over,
                Ok((count, _)) => self.said.extend_from_slice(&buffer[..count]),
                Err(rustix::io::Errno::AGAIN) => return Course::On,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Course::Over,
            }
        }
    }
}

/// Says a few bytes, for which a fresh stream has room; whether they were taken.
fn say(fd: &OwnedFd, bytes: &[u8]) -> bool {
    bytes.is_empty() || rustix::net::send(fd, bytes, SendFlags::NOSIGNAL) == Ok(bytes.len())
}

/// Says why nothing comes of it; `None`: the name is not known.
fn refuse(fd: &OwnedFd, wanted: &Wanted, errno: Option<Errno>) {
    let _told = match wanted.way {
        Way::Socks | Way::Associate => say(
            fd,
            &match errno {
                Some(Errno::ConnRefused) => heard::SOCKS_REFUSED,
                Some(Errno::NetUnreach) => heard::SOCKS_NET_UNREACHABLE,
                Some(Errno::HostUnreach) | None => heard::SOCKS_HOST_UNREACHABLE,
                Some(Errno::TimedOut) => heard::SOCKS_TIMEOUT,
                Some(_) => heard::SOCKS_FAILED,
            },
        ),
        Way::Connect | Way::Forward(_) => {
            let host = match &wanted.host {
                Host::Address(address) => address.to_string(),
                Host::Name(name) => name.clone(),
            };
            let why = errno.map_or("the name is not known there", Errno::text);
            let status = match errno {
                Some(Errno::TimedOut) => "504 Gateway Timeout",
                _ => "502 Bad Gateway",
            };
            let body = format!("{host}, port {}, in the lab: {why}\n", wanted.port);
            let head = format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            say(fd, (head + &body).as_bytes())
        }
    };
}
