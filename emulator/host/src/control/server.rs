//! The attachment that listens on a control socket and hands requests to a [`Service`].

use core::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use emulator_core::id::{AppId, CaptureId, SockId};
use rustix::net::sockopt::socket_peercred;
use rustix::process::getuid;
use serde_json::{Value, json};

use super::clients::Heard;
use super::lines::request;
use super::{Claim, ClientId, Clients, REQUEST};
use crate::reactor::{Events, Interest};
use crate::runtime::{Attachment, Cx};
use crate::splice::is_starved;

/// The listener's key; clients have their own.
const LISTENER: u64 = 0;
/// Connections that are taken in one round.
const ROUND: usize = 16;

/// What answers the requests. Everything that it owns in the lab or watches, it owns as part of the server, with
/// keys of its choice; a watch of its own has a key with the highest bit set, as the others are clients'.
pub trait Service: fmt::Debug {
    /// A client asks `request`, an object. The answer goes to [`Clients`], now or later, and ends with
    /// [`Clients::exit`] or [`Clients::error`].
    fn request(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, from: ClientId, request: &Value);

    /// A client has gone away before its request was answered: what is done for it, is not needed any more.
    fn gone(&mut self, cx: &mut Cx<'_>, client: ClientId) {
        let _ = (cx, client);
    }

    /// Everything that waited for a client has been written, and its request is not answered yet.
    fn drained(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, client: ClientId) {
        let _ = (cx, clients, client);
    }

    /// As [`Attachment::ready`], for a watch of the service.
    fn ready(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, key: u64, events: Events) {
        let _ = (cx, clients, key, events);
    }

    /// As [`Attachment::lab_ready`].
    fn lab_ready(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, key: u64, sock: SockId) {
        let _ = (cx, clients, key, sock);
    }

    /// As [`Attachment::captured`].
    fn captured(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, key: u64, capture: CaptureId) {
        let _ = (cx, clients, key, capture);
    }

    /// As [`Attachment::printed`].
    fn printed(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, key: u64, app: AppId) {
        let _ = (cx, clients, key, app);
    }

    /// As [`Attachment::exited`].
    fn exited(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, key: u64, app: AppId, code: u8) {
        let _ = (cx, clients, key, app, code);
    }

    /// As [`Attachment::alarm`].
    fn alarm(&mut self, cx: &mut Cx<'_>, clients: &mut Clients) {
        let _ = (cx, clients);
    }

    /// As [`Attachment::woken`].
    fn woken(&mut self, cx: &mut Cx<'_>, clients: &mut Clients) {
        let _ = (cx, clients);
    }

    /// The end: everything that was attached after the server has ended already. Who waits for that is answered.
    fn end(&mut self, cx: &mut Cx<'_>, clients: &mut Clients) {
        let _ = (cx, clients);
    }
}

/// A project's control socket. Attach it before everything that a client of `down` waits for.
#[derive(Debug)]
pub struct Server<S> {
    claim: Claim,
    clients: Clients,
    service: S,
    /// Given up for a moment to send a client away when there is no other descriptor left.
    spare: Option<OwnedFd>,
}

impl<S: Service> Server<S> {
    /// Listens on the socket of a claim.
    ///
    /// # Errors
    /// If the process has no descriptors left.
    pub fn new(cx: &mut Cx<'_>, claim: Claim, service: S) -> io::Result<Self> {
        cx.watch(&claim.listener, LISTENER, Interest::READ)?;
        Ok(Self {
            claim,
            clients: Clients::default(),
            service,
            spare: spare(),
        })
    }

    fn accept(&mut self, cx: &mut Cx<'_>) {
        for _ in 0..ROUND {
            let stream = match self.claim.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if is_starved(&error) => return self.send_away(),
                Err(_) => return,
            };
            // The folder keeps others out; root gets in, and is not asked.
            let same = socket_peercred(&stream).is_ok_and(|peer| peer.uid == getuid());
            if same {
                // Without a descriptor for it, it is closed, and the client sees that.
                let _closed = self.clients.add(cx, stream);
            }
        }
    }

    /// Tells a client that there are no descriptors left for it: it would be told of again and again otherwise.
    fn send_away(&mut self) {
        self.spare = None;
        if let Ok((mut stream, _)) = self.claim.listener.accept() {
            let line = json!({"error": "the project's process has no descriptor left; try again"});
            // It fits into an empty buffer, or nobody reads it.
            let _lost = stream.write(format!("{line}\n").as_bytes());
        }
        self.spare = spare();
    }

    fn serve(&mut self, cx: &mut Cx<'_>, client: ClientId, events: Events) {
        let waited = !self.clients.has_drained(client);
        match self.clients.ready(cx, client, events) {
            Heard::Gone => {
                if self.clients.remove(cx, client) {
                    self.service.gone(cx, client);
                }
            }
            Heard::Request(line) => self.asked(cx, client, &line),
            Heard::Nothing if self.clients.is_over(client) => {
                let sentence = format!("a request is at most {REQUEST} bytes long");
                self.clients.error(cx, client, &sentence);
                self.clients.leave(cx, client);
            }
            Heard::Nothing => {
                if waited && self.clients.has_drained(client) {
                    self.service.drained(cx, &mut self.clients, client);
                }
            }
        }
    }

    fn asked(&mut self, cx: &mut Cx<'_>, client: ClientId, line: &[u8]) {
        match request(line) {
            Some(request) => self
                .service
                .request(cx, &mut self.clients, client, &request),
            None => self.clients.error(
                cx,
                client,
                "a request is a line of JSON: an object with a \"verb\"",
            ),
        }
        // Those that nobody wanted are closed.
        drop(self.clients.take_descriptors(client));
    }
}

fn spare() -> Option<OwnedFd> {
    File::open("/dev/null").ok().map(OwnedFd::from)
}

impl<S: Service> Attachment for Server<S> {
    fn ready(&mut self, cx: &mut Cx<'_>, key: u64, events: Events) {
        match key {
            LISTENER => self.accept(cx),
            key if key >> 63 == 0 => self.serve(cx, ClientId::of(key), events),
            key => self.service.ready(cx, &mut self.clients, key, events),
        }
    }

    fn lab_ready(&mut self, cx: &mut Cx<'_>, key: u64, sock: SockId) {
        self.service.lab_ready(cx, &mut self.clients, key, sock);
    }

    fn captured(&mut self, cx: &mut Cx<'_>, key: u64, capture: CaptureId) {
        self.service.captured(cx, &mut self.clients, key, capture);
    }

    fn printed(&mut self, cx: &mut Cx<'_>, key: u64, app: AppId) {
        self.service.printed(cx, &mut self.clients, key, app);
    }

    fn exited(&mut self, cx: &mut Cx<'_>, key: u64, app: AppId, code: u8) {
        self.service.exited(cx, &mut self.clients, key, app, code);
    }

    fn alarm(&mut self, cx: &mut Cx<'_>) {
        self.service.alarm(cx, &mut self.clients);
    }

    fn woken(&mut self, cx: &mut Cx<'_>) {
        self.service.woken(cx, &mut self.clients);
    }

    fn end(&mut self, cx: &mut Cx<'_>) {
        self.service.end(cx, &mut self.clients);
        self.clients.flush_all();
    }
}
