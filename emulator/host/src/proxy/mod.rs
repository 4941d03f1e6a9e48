//! A proxy into a namespace of the lab: SOCKS5 and HTTP on one port, told apart by the first byte.
//!
//! A real client that knows a proxy (curl, a browser, a database client by `ALL_PROXY`) reaches whatever a process in
//! that namespace reaches. Names are looked up there, by that namespace's `/etc/hosts` and resolver, so that
//! `http://web` is the service `web`. Nobody is asked for a password: the port is bound on loopback.
//!
//! HTTP's `CONNECT` ties the streams together; any other request has to name its host (`GET http://web/ HTTP/1.1`), is
//! passed on with the path alone, and is the only one of its connection. SOCKS5 knows `CONNECT`.

mod heard;
mod joined;

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use emulator_core::id::{AppId, NsId, SockId};
use emulator_core::switch::Time;

use crate::means::{AGAIN, Means, Share};
use crate::places::Places;
use crate::reactor::{Events, Interest, Watch};
use crate::runtime::{Attachment, Cx};
use crate::splice;
use joined::{Client, Next};

/// The listener's key.
const LISTENER: u64 = 0;
/// The first client's.
const FIRST: u64 = 1;
/// Connections that are taken in one round.
const ROUND: usize = 64;

/// A proxy.
pub struct Proxy {
    listener: TcpListener,
    addr: SocketAddr,
    watch: Option<Watch>,
    ns: NsId,
    means: Means,
    clients: Places<(Client, Share)>,
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
            clients: Places::default(),
            starved: false,
        })
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
        let key = FIRST + u64::from(self.clients.next());
        // Without a place among the watches it is closed, and the client sees that.
        if let Ok(watch) = cx.watch(&fd, key, Interest::READ) {
            let client = Client::new(fd, watch, self.ns, key);
            self.clients.insert((client, share));
        }
    }

    fn starve(&mut self, cx: &mut Cx<'_>, why: &str) {
        if let Some(watch) = self.watch.take() {
            cx.unwatch(watch, &self.listener);
        }
        cx.wake_at(cx.now() + AGAIN);
        if !core::mem::replace(&mut self.starved, true) {
            let addr = self.addr;
            self.means
                .say(&format!("{addr}: clients wait until others end ({why})"));
        }
    }

    fn step(
        &mut self,
        cx: &mut Cx<'_>,
        key: u64,
        act: impl FnOnce(&mut Client, &mut Cx<'_>) -> Next,
    ) {
        let number = (key - FIRST) as u32;
        let Some((client, _)) = self.clients.at(number) else {
            return;
        };
        if act(client, cx) == Next::Over
            && let Some((client, _share)) = self.clients.remove(number)
        {
            client.close(cx);
        }
    }
}

impl Attachment for Proxy {
    fn ready(&mut self, cx: &mut Cx<'_>, key: u64, events: Events) {
        if key == LISTENER {
            self.accept(cx);
        } else {
            self.step(cx, key, |client, cx| client.ready(cx, events));
        }
    }

    fn lab_ready(&mut self, cx: &mut Cx<'_>, key: u64, _sock: SockId) {
        self.step(cx, key, Client::lab_ready);
    }

    fn exited(&mut self, cx: &mut Cx<'_>, key: u64, app: AppId, _code: u8) {
        self.step(cx, key, |client, cx| client.resolved(cx, app));
    }

    fn alarm(&mut self, cx: &mut Cx<'_>) {
        cx.wake_at(Time::MAX);
        match cx.watch(&self.listener, LISTENER, Interest::READ) {
            Ok(watch) => self.watch = Some(watch),
            Err(_) => cx.wake_at(cx.now() + AGAIN),
        }
    }
}

/// A host as a client names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Address(IpAddr),
    Name(String),
}
