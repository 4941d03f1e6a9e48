//! The attachment of a published TCP port.

use std::io;
use std::os::fd::OwnedFd;

use emulator_core::app::{Family, SockKind, SockOpt, Sys};
use emulator_core::id::SockId;
use emulator_core::netns::Errno;
use emulator_core::switch::Time;

use super::{Gate, Target};
use crate::held::Held;
use crate::means::{AGAIN, Means, Share};
use crate::reactor::{Events, Interest, Watch};
use crate::runtime::{Attachment, Cx};
use crate::splice::{self, Course, Opening, Splice};

/// The listener's key, and that of the watch of the container's port.
const GATE: u64 = 0;
const PORT: u64 = 1;
/// The first connection's.
const FIRST: u64 = 2;
/// Connections that are taken in one round.
const ROUND: usize = 64;

/// A published TCP port.
#[derive(Debug)]
pub struct TcpPort {
    gate: Gate,
    /// While it listens and takes more.
    watch: Option<Watch>,
    target: Target,
    means: Means,
    connections: Held<Splice>,
    /// Nothing is accepted for want of a descriptor; that was said.
    starved: bool,
}

impl TcpPort {
    /// Publishes a port of the lab on a gate.
    ///
    /// # Errors
    /// If the container's namespace takes no sockets, or the process has no descriptors left.
    pub fn new(cx: &mut Cx<'_>, gate: Gate, target: Target, means: Means) -> io::Result<Self> {
        let mut sys = cx.lab.sys(target.container);
        let port = sys
            .listen_watch()
            .map_err(|errno| io::Error::other(errno.to_string()))?;
        cx.own(port, PORT);
        let mut published = Self {
            gate,
            watch: None,
            target,
            means,
            connections: Held::from(FIRST),
            starved: false,
        };
        published.look(cx)?;
        Ok(published)
    }

    /// Listens if the container's port does.
    fn look(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        let ns = cx.lab.net().ns(self.target.container);
        let listens = ns.is_some_and(|ns| ns.listens(self.target.port));
        if listens == self.gate.is_open() {
            return Ok(());
        }
        if listens {
            self.gate.open()?;
            self.take(cx)
        } else {
            self.leave(cx);
            self.gate.close();
            Ok(())
        }
    }

    /// Takes connections.
    fn take(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        if self.watch.is_none() && self.gate.is_open() {
            self.watch = Some(cx.watch(&self.gate, GATE, Interest::READ)?);
        }
        Ok(())
    }

    /// Leaves them waiting.
    fn leave(&mut self, cx: &mut Cx<'_>) {
        if let Some(watch) = self.watch.take() {
            cx.unwatch(watch, &self.gate);
        }
    }

    fn accept(&mut self, cx: &mut Cx<'_>) {
        for _ in 0..ROUND {
            let Some(share) = self.means.take() else {
                let most = self.means.most();
                let why = format!("{most} connections, as many as there are descriptors for");
                return self.starve(cx, &why);
            };
            match self.gate.accept() {
                Ok(fd) => self.serve(cx, fd, share),
                Err(error) if splice::is_starved(&error) => {
                    return self.starve(cx, &error.to_string());
                }
                // None is left, or it is gone already.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {}
            }
        }
        self.starved = false;
    }

    /// Leaves connections waiting until there is a descriptor again, and says so, once.
    fn starve(&mut self, cx: &mut Cx<'_>, why: &str) {
        self.leave(cx);
        cx.wake_at(cx.now() + AGAIN);
        if !core::mem::replace(&mut self.starved, true) {
            let addr = self.gate.addr();
            self.means
                .say(&format!("{addr}: clients wait until others end ({why})"));
        }
    }

    fn serve(&mut self, cx: &mut Cx<'_>, fd: OwnedFd, share: Share) {
        match self.dial(cx, &fd) {
            Ok((sock, watch)) => {
                let splice = Splice::new(fd, watch, sock, Opening::Lab);
                self.connections.insert(splice, share);
            }
            // The lab's host has no route there, or no port left: the client is told as if it were refused.
            Err(_) => splice::reset(&fd),
        }
    }

    /// Begins to connect in the lab.
    fn dial(&self, cx: &mut Cx<'_>, fd: &OwnedFd) -> Result<(SockId, Watch), Errno> {
        let key = self.connections.next();
        let Target { host, to, .. } = self.target;
        let sock = dial(cx, host, to, key)?;
        match cx.watch(fd, key, Splice::interest(Opening::Lab)) {
            Ok(watch) => Ok((sock, watch)),
            Err(_) => {
                cx.close(sock);
                Err(Errno::NoBufs)
            }
        }
    }

    fn step(
        &mut self,
        cx: &mut Cx<'_>,
        key: u64,
        act: impl FnOnce(&mut Splice, &mut Cx<'_>) -> Course,
    ) {
        if self.connections.step(cx, key, act) {
            self.resume(cx);
        }
    }

    /// A descriptor may be free again.
    fn resume(&mut self, cx: &mut Cx<'_>) {
        if self.starved && self.take(cx).is_err() {
            cx.wake_at(cx.now() + AGAIN);
        }
    }
}

/// A stream from `ns` that begins to connect to `to`, owned with `key`.
pub(crate) fn dial(
    cx: &mut Cx<'_>,
    ns: emulator_core::id::NsId,
    to: core::net::SocketAddr,
    key: u64,
) -> Result<SockId, Errno> {
    let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
    let mut sys = cx.lab.sys(ns);
    let sock = sys.socket(SockKind::Tcp, family)?;
    let begun = sys
        .set(sock, SockOpt::NoDelay(true))
        .and_then(|()| sys.connect(sock, to));
    match begun {
        Ok(()) | Err(Errno::InProgress) => {
            cx.own(sock, key);
            Ok(sock)
        }
        Err(errno) => {
            sys.close(sock);
            Err(errno)
        }
    }
}

impl Attachment for TcpPort {
    fn ready(&mut self, cx: &mut Cx<'_>, key: u64, events: Events) {
        if key == GATE {
            self.accept(cx);
        } else {
            self.step(cx, key, |splice, cx| splice.ready(cx, events));
        }
    }

    fn lab_ready(&mut self, cx: &mut Cx<'_>, key: u64, _sock: SockId) {
        if key == PORT {
            if let Err(error) = self.look(cx) {
                let addr = self.gate.addr();
                self.means
                    .say(&format!("{addr} cannot be listened on: {error}"));
            }
        } else {
            self.step(cx, key, Splice::lab_ready);
        }
    }

    fn alarm(&mut self, cx: &mut Cx<'_>) {
        cx.wake_at(Time::MAX);
        self.resume(cx);
    }
}
