//! A proxy into a namespace of the lab: SOCKS5 and HTTP on one port, told apart by the first byte.
//!
//! A real client that knows a proxy (curl, a browser, a database client by `ALL_PROXY`) reaches whatever a process in
//! that namespace reaches. Names are looked up there, by that namespace's `/etc/hosts` and resolver, so that
//! `http://web` is the service `web`. Nobody is asked for a password: the port is bound on loopback.
//!
//! HTTP's `CONNECT` ties the streams together; any other request has to name its host (`GET http://web/ HTTP/1.1`), is
//! passed on with the path alone, and is the only one of its connection. SOCKS5 knows `CONNECT` and `UDP ASSOCIATE`
//! (in which fragments are dropped). Who has not said within [`PATIENCE`] where it wants to go is sent away.

mod associate;
pub mod heard;
mod joined;

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeSet;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use emulator_core::id::{AppId, NsId, SockId};
use emulator_core::switch::Time;

use crate::held::Held;
use crate::means::{AGAIN, Means, Share};
use crate::reactor::{Events, Interest, Watch};
use crate::runtime::{Attachment, Cx};
use crate::splice::{self, Course};
use joined::Client;

/// The listener's key.
const LISTENER: u64 = 0;
/// The first client's.
const FIRST: u64 = 1;
/// Marks the key of a client's socket for datagrams.
const DATAGRAMS: u64 = 1 << 62;
/// Connections that are taken in one round.
const ROUND: usize = 64;
/// How long a client may take to say where it wants to go.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A proxy.
pub struct Proxy {
    listener: TcpListener,
    addr: SocketAddr,
    watch: Option<Watch>,
    ns: NsId,
    means: Means,
    clients: Held<Client>,
    /// When to look at whom, whether he has said where he wants to go.
    late: BTreeSet<(Time, u64)>,
    patience: Duration,
    starved: bool,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("addr", &self.addr)
            .field("ns", &self.ns)
            .field("clients", &self.clients.len())
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// A proxy at a listener into a namespace.
    ///
    /// # Errors
    /// If the process has no descriptors left.
    pub fn new(cx: &mut Cx<'_>, listener: TcpListener, ns: NsId, means: Means) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let watch = Some(cx.watch(&listener, LISTENER, Interest::READ)?);
        Ok(Self {
            listener,
            addr,
            watch,
            ns,
            means,
            clients: Held::from(FIRST),
            late: BTreeSet::new(),
            patience: PATIENCE,
            starved: false,
        })
    }

    /// Waits for clients another time than [`PATIENCE`].
    #[must_use]
    pub const fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn accept(&mut self, cx: &mut Cx<'_>) {
        for _ in 0..ROUND {
            let Some(share) = self.means.take() else {
                return self.starve(cx, "as many connections as there are descriptors for");
            };
            match self.listener.accept() {
                Ok((stream, _)) => {
                    let set = stream
                        .set_nonblocking(true)
                        .and_then(|()| stream.set_nodelay(true));
                    if set.is_ok() {
                        self.serve(cx, stream.into(), share);
                    }
                }
                Err(error) if splice::is_starved(&error) => {
                    return self.starve(cx, &error.to_string());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // It is gone already.
                Err(_) => {}
            }
        }
        self.starved = false;
    }

    fn serve(&mut self, cx: &mut Cx<'_>, fd: OwnedFd, share: Share) {
        let key = self.clients.next();
        // Without a place among the watches it is closed, and the client sees that.
        if let Ok(watch) = cx.watch(&fd, key, Interest::READ) {
            let until = cx.now() + self.patience;
            let means = self.means.clone();
            let client = Client::new((fd, watch), self.ns, key, means, until);
            self.clients.insert(client, share);
            self.late.insert((until, key));
            if self.late.len() == 1 {
                self.wake(cx);
            }
        }
    }

    /// Looks again when the first client is late, or for descriptors.
    fn wake(&self, cx: &mut Cx<'_>) {
        let late = self.late.first().map_or(Time::MAX, |(at, _)| *at);
        let again = if self.watch.is_some() {
            Time::MAX
        } else {
            cx.now() + AGAIN
        };
        cx.wake_at(late.min(again));
    }

    fn starve(&mut self, cx: &mut Cx<'_>, why: &str) {
        if let Some(watch) = self.watch.take() {
            cx.unwatch(watch, &self.listener);
        }
        self.wake(cx);
        if !core::mem::replace(&mut self.starved, true) {
            let addr = self.addr;
            self.means
                .say(&format!("{addr}: clients wait until others end ({why})"));
        }
    }
}

impl Proxy {
    fn step(
        &mut self,
        cx: &mut Cx<'_>,
        key: u64,
        act: impl FnOnce(&mut Client, &mut Cx<'_>) -> Course,
    ) {
        let until = self.clients.at(key).map(|client| client.until());
        if self.clients.step(cx, key, act)
            && let Some(until) = until
        {
            self.late.remove(&(until, key));
        }
    }
}

impl Attachment for Proxy {
    fn ready(&mut self, cx: &mut Cx<'_>, key: u64, events: Events) {
        if key == LISTENER {
            self.accept(cx);
        } else if key & DATAGRAMS != 0 {
            if let Some(client) = self.clients.at(key & !DATAGRAMS) {
                client.datagrams(cx);
            }
        } else {
            self.step(cx, key, |client, cx| client.ready(cx, events));
        }
    }

    fn lab_ready(&mut self, cx: &mut Cx<'_>, key: u64, sock: SockId) {
        self.step(cx, key, |client, cx| client.lab_ready(cx, sock));
    }

    fn exited(&mut self, cx: &mut Cx<'_>, key: u64, app: AppId, _code: u8) {
        self.step(cx, key, |client, cx| client.resolved(cx, app));
    }

    fn alarm(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        while let Some(&(at, key)) = self.late.first()
            && at <= now
        {
            self.late.pop_first();
            self.step(cx, key, |client, _| client.late(now));
        }
        if self.watch.is_none() {
            self.watch = cx.watch(&self.listener, LISTENER, Interest::READ).ok();
        }
        self.wake(cx);
    }
}

/// A host as a client names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// By its address.
    Address(IpAddr),
    /// By a name, to be looked up in the namespace.
    Name(String),
}
