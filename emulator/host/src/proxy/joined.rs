//! A client of a proxy: from its first byte to the two streams that are tied together.

use core::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use emulator_core::app::Sys;
use emulator_core::id::{AppId, NsId, SockId};
use emulator_core::netns::Errno;
use emulator_core::tools::Libc;
use emulator_core::tools::getent::Getent;
use rustix::net::{RecvFlags, SendFlags};

use super::Host;
use super::heard::{self, Heard, MOST, Wanted, Way, hear};
use crate::publish::dial;
use crate::reactor::{Events, Interest, Watch};
use crate::runtime::Cx;
use crate::splice::{Course, Opening, Splice};

/// Addresses of a name that are tried.
const TRIED: usize = 8;

/// Whether a client goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    On,
    Over,
}

impl From<Course> for Next {
    fn from(course: Course) -> Self {
        match course {
            Course::On => Self::On,
            Course::Over => Self::Over,
        }
    }
}

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    ns: NsId,
    key: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It says where it wants to go, or waits.
    Asks(Asks),
    /// It is there.
    Joined(Splice),
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
    pub(super) const fn new(fd: OwnedFd, watch: Watch, ns: NsId, key: u64) -> Self {
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
            state: State::Asks(asks),
        }
    }

    pub(super) fn ready(&mut self, cx: &mut Cx<'_>, events: Events) -> Next {
        match &mut self.state {
            State::Joined(splice) => splice.ready(cx, events).into(),
            State::Gone => Next::Over,
            State::Asks(_) if events.error || events.hup => Next::Over,
            State::Asks(asks) => {
                if !matches!(asks.stage, Stage::Hears) {
                    return Next::On;
                }
                match asks.read() {
                    Next::On => self.hear(cx),
                    Next::Over => Next::Over,
                }
            }
        }
    }

    fn hear(&mut self, cx: &mut Cx<'_>) -> Next {
        loop {
            let State::Asks(asks) = &mut self.state else {
                return Next::Over;
            };
            match hear(&asks.said, asks.greeted) {
                Heard::More => return Next::On,
                Heard::Say(taken, answer) => {
                    asks.said.drain(..taken);
                    asks.greeted = true;
                    if !say(&asks.fd, answer) {
                        return Next::Over;
                    }
                }
                Heard::Refuse(answer) => {
                    let _told = say(&asks.fd, answer);
                    return Next::Over;
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

    fn go(&mut self, cx: &mut Cx<'_>, wanted: Wanted) -> Next {
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
                Next::On
            }
        }
    }

    /// The name is looked up.
    pub(super) fn resolved(&mut self, cx: &mut Cx<'_>, app: AppId) -> Next {
        let out = cx.lab.take_output(app);
        cx.end_app(app);
        let State::Asks(asks) = &mut self.state else {
            return Next::On;
        };
        let stage = core::mem::replace(&mut asks.stage, Stage::Hears);
        let Stage::Resolves(_, wanted) = stage else {
            return Next::Over;
        };
        let lines = out.iter().flat_map(|(_, text)| text.lines());
        let addresses: Vec<IpAddr> = lines
            .filter_map(|line| line.split_whitespace().next()?.parse().ok())
            .take(TRIED)
            .collect();
        if addresses.is_empty() {
            refuse(&asks.fd, &wanted, None);
            return Next::Over;
        }
        self.open(cx, wanted, addresses)
    }

    /// Connects to the first of the addresses that takes it.
    fn open(&mut self, cx: &mut Cx<'_>, wanted: Wanted, mut others: Vec<IpAddr>) -> Next {
        let State::Asks(asks) = &mut self.state else {
            return Next::Over;
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
                    return Next::On;
                }
                Err(errno) => last = errno,
            }
        }
        refuse(&asks.fd, &wanted, Some(last));
        Next::Over
    }

    pub(super) fn lab_ready(&mut self, cx: &mut Cx<'_>) -> Next {
        let asks = match &mut self.state {
            State::Joined(splice) => return splice.lab_ready(cx).into(),
            State::Gone => return Next::Over,
            State::Asks(asks) => asks,
        };
        let Stage::Opens { sock, .. } = &asks.stage else {
            return Next::On;
        };
        let sock = *sock;
        let mut sys = cx.lab.sys(sock.ns);
        let ready = sys.ready(sock);
        if !ready.writable && !ready.error && !ready.hup {
            return Next::On;
        }
        let failed = sys.take_error(sock);
        let stage = core::mem::replace(&mut asks.stage, Stage::Hears);
        let Stage::Opens { wanted, others, .. } = stage else {
            return Next::Over;
        };
        if let Some(errno) = failed {
            cx.close(sock);
            if others.is_empty() {
                refuse(&asks.fd, &wanted, Some(errno));
                return Next::Over;
            }
            return self.open(cx, wanted, others);
        }
        self.join(cx, sock, &wanted)
    }

    /// Ties the streams together.
    fn join(&mut self, cx: &mut Cx<'_>, sock: SockId, wanted: &Wanted) -> Next {
        let State::Asks(asks) = core::mem::replace(&mut self.state, State::Gone) else {
            return Next::Over;
        };
        let first = match &wanted.way {
            Way::Forward(head) => head.clone(),
            Way::Socks | Way::Connect => Vec::new(),
        };
        let told = match wanted.way {
            Way::Socks => say(&asks.fd, &heard::SOCKS_DONE),
            Way::Connect => say(&asks.fd, heard::HTTP_DONE),
            Way::Forward(_) => true,
        };
        let bytes = [first, asks.said].concat();
        // A fresh stream has room for it.
        let taken = bytes.is_empty() || cx.lab.sys(sock.ns).send(sock, &bytes) == Ok(bytes.len());
        let mut splice = Splice::new(asks.fd, asks.watch, sock, Opening::None);
        let next = if told && taken {
            splice.go(cx, true).into()
        } else {
            Next::Over
        };
        self.state = State::Joined(splice);
        next
    }

    pub(super) fn close(self, cx: &mut Cx<'_>) {
        match self.state {
            State::Joined(splice) => splice.close(cx),
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

impl Asks {
    /// Reads what there is.
    fn read(&mut self) -> Next {
        let mut buffer = [0; 2048];
        loop {
            let room = (MOST - self.said.len().min(MOST)).min(buffer.len());
            if room == 0 {
                return Next::On;
            }
            match rustix::net::recv(&self.fd, &mut buffer[..room], RecvFlags::empty()) {
                Ok((0, _)) => return Next::Over,
                Ok((count, _)) => self.said.extend_from_slice(&buffer[..count]),
                Err(rustix::io::Errno::AGAIN) => return Next::On,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Next::Over,
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
        Way::Socks => say(
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
