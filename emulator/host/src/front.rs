//! A real server as a service of the lab: a container's port is its front.
//!
//! The port listens in the container's namespace; each connection there becomes a real one to the server. If the
//! server does not take it, the lab's client is reset, having been accepted already.

use core::net::{Ipv6Addr, SocketAddr};
use std::io;
use std::os::fd::OwnedFd;

use emulator_core::app::{Family, SockKind, SockOpt, Sys};
use emulator_core::id::{NsId, SockId};
use emulator_core::netns::Errno;
use emulator_core::switch::Time;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::held::Held;
use crate::means::{AGAIN, Means};
use crate::reactor::Events;
use crate::runtime::{Attachment, Cx};
use crate::splice::{self, ON_THE_WAY, Opening, Splice};

/// The listener's key.
const LISTENER: u64 = 0;
/// The first connection's.
const FIRST: u64 = 1;
/// Connections that wait to be accepted.
const BACKLOG: usize = 4096;

/// The front of a real server.
#[derive(Debug)]
pub struct Front {
    listener: SockId,
    to: SocketAddr,
    means: Means,
    connections: Held<Splice>,
    starved: bool,
}

impl Front {
    /// Listens on a port of a namespace for a server at `to`.
    ///
    /// # Errors
    /// What the lab says: something else listens there.
    pub fn new(
        cx: &mut Cx<'_>,
        ns: NsId,
        port: u16,
        to: SocketAddr,
        means: Means,
    ) -> io::Result<Self> {
        let listener = listen(cx, ns, port).map_err(|errno| io::Error::other(errno.to_string()))?;
        cx.own(listener, LISTENER);
        Ok(Self {
            listener,
            to,
            means,
            connections: Held::from(FIRST),
            starved: false,
        })
    }

    fn accept(&mut self, cx: &mut Cx<'_>) {
        loop {
            let Some(share) = self.means.take() else {
                return self.starve(cx, "as many connections as there are descriptors for");
            };
            let listener = self.listener;
            let Ok((sock, _)) = cx.lab.sys(listener.ns).accept(listener) else {
                self.starved = false;
                return;
            };
            let key = self.connections.next();
            cx.own(sock, key);
            let watched = connect(self.to).and_then(|fd| {
                let watch = cx.watch(&fd, key, Splice::interest(Opening::Real))?;
                Ok((fd, watch))
            });
            match watched {
                Ok((fd, watch)) => {
                    let splice = Splice::new(fd, watch, sock, Opening::Real);
                    self.connections.insert(splice, share);
                }
                Err(error) => {
                    // It is closed in any case.
                    let _gone = cx.lab.sys(sock.ns).set(sock, SockOpt::LingerZero(true));
                    cx.close(sock);
                    if splice::is_starved(&error) {
                        return self.starve(cx, &error.to_string());
                    }
                }
            }
        }
    }

    fn starve(&mut self, cx: &mut Cx<'_>, why: &str) {
        cx.wake_at(cx.now() + AGAIN);
        if !core::mem::replace(&mut self.starved, true) {
            let to = self.to;
            self.means.say(&format!(
                "upstream {to}: clients wait until others end ({why})"
            ));
        }
    }
}

fn listen(cx: &mut Cx<'_>, ns: NsId, port: u16) -> Result<SockId, Errno> {
    let mut sys = cx.lab.sys(ns);
    let sock = sys.socket(SockKind::Tcp, Family::V6)?;
    let listens = sys
        .set(sock, SockOpt::ReuseAddr(true))
        .and_then(|()| sys.set(sock, SockOpt::NoDelay(true)))
        .and_then(|()| sys.set(sock, SockOpt::SendBuffer(ON_THE_WAY)))
        .and_then(|()| sys.bind(sock, (Ipv6Addr::UNSPECIFIED, port).into()))
        .and_then(|()| sys.listen(sock, BACKLOG));
    match listens {
        Ok(()) => Ok(sock),
        Err(errno) => {
            sys.close(sock);
            Err(errno)
        }
    }
}

/// Begins to connect to a real server.
fn connect(to: SocketAddr) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    match rustix::net::connect(&fd, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(fd),
        Err(errno) => Err(errno.into()),
    }
}

impl Attachment for Front {
    fn ready(&mut self, cx: &mut Cx<'_>, key: u64, events: Events) {
        self.connections
            .step(cx, key, |splice, cx| splice.ready(cx, events));
    }

    fn lab_ready(&mut self, cx: &mut Cx<'_>, key: u64, _sock: SockId) {
        if key == LISTENER {
            self.accept(cx);
        } else {
            self.connections.step(cx, key, Splice::lab_ready);
        }
    }

    fn alarm(&mut self, cx: &mut Cx<'_>) {
        cx.wake_at(Time::MAX);
        self.accept(cx);
    }
}
