//! The clients of a control socket: what they have said, and what waits for them.

use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};

use super::answer::Part;
use super::lines::Lines;
use super::{BACKLOG, CLIENTS, DESCRIPTORS};
use crate::reactor::{Events, Interest, Watch};
use crate::runtime::Cx;

/// A client. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u64);

impl ClientId {
    /// The key under which a service may own what it does for a client.
    #[must_use]
    pub const fn key(self) -> u64 {
        self.0
    }

    /// The client of a key.
    #[must_use]
    pub const fn of(key: u64) -> Self {
        Self(key)
    }
}

#[derive(Debug)]
struct Slot {
    id: ClientId,
    stream: UnixStream,
    watch: Watch,
    /// Read, and not asked yet.
    input: Lines,
    /// That came with it.
    descriptors: Vec<OwnedFd>,
    /// To be written, from `written` on.
    output: Vec<u8>,
    written: usize,
    /// A request of it is being answered.
    busy: bool,
    /// It has ended its half: it asks nothing more.
    ended: bool,
    /// It is sent away when everything is written.
    leaving: bool,
}

/// What reading from a client came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A request.
    Request(Vec<u8>),
    /// Nothing whole yet, or it has to wait.
    Nothing,
    /// The client is gone.
    Gone,
}

/// The clients of a control socket.
#[derive(Debug, Default)]
pub struct Clients {
    slots: Vec<Slot>,
    next: u64,
}

impl Clients {
    pub(super) fn add(&mut self, cx: &mut Cx<'_>, stream: UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        if self.slots.len() >= CLIENTS {
            let line = format!(
                "{}\n",
                json!({"error": format!("{CLIENTS} clients are served already")})
            );
            // It fits into an empty buffer, or nobody reads it.
            let _lost = (&stream).write(line.as_bytes());
            return Ok(());
        }
        // 0 is the listener's.
        self.next += 1;
        let id = ClientId(self.next);
        let watch = cx.watch(&stream, id.0, Interest::READ)?;
        self.slots.push(Slot {
            id,
            stream,
            watch,
            input: Lines::default(),
            descriptors: Vec::new(),
            output: Vec::new(),
            written: 0,
            busy: false,
            ended: false,
            leaving: false,
        });
        Ok(())
    }

    fn place(&self, id: ClientId) -> Option<usize> {
        // In the order of their ids.
        self.slots.binary_search_by_key(&id, |slot| slot.id).ok()
    }

    /// Whether the client is still there.
    #[must_use]
    pub fn is_there(&self, id: ClientId) -> bool {
        self.place(id).is_some()
    }

    /// Whether more may be made for a client now. If not, [`Service::drained`](super::Service::drained) says when.
    #[must_use]
    pub fn has_room(&self, id: ClientId) -> bool {
        self.place(id)
            .is_some_and(|at| self.slots[at].waiting() < BACKLOG)
    }

    /// Nothing waits for a client whose request is not answered yet.
    pub(super) fn has_drained(&self, id: ClientId) -> bool {
        self.place(id).is_some_and(|at| {
            let slot = &self.slots[at];
            slot.busy && slot.waiting() == 0
        })
    }

    /// Takes the descriptors that came with the request of a client.
    pub fn take_descriptors(&mut self, id: ClientId) -> Vec<OwnedFd> {
        self.place(id).map_or_else(Vec::new, |at| {
            core::mem::take(&mut self.slots[at].descriptors)
        })
    }

    /// Sends bytes. Those of a client that is gone are lost.
    pub fn part(&mut self, cx: &mut Cx<'_>, id: ClientId, part: Part, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.send(cx, id, &[part.head(bytes.len()).as_bytes(), bytes], false);
        }
    }

    /// Sends a value for machines.
    pub fn value(&mut self, cx: &mut Cx<'_>, id: ClientId, value: &Value) {
        let line = format!("{}\n", json!({"value": value}));
        self.send(cx, id, &[line.as_bytes()], false);
    }

    /// Ends the answer: with an exit code.
    pub fn exit(&mut self, cx: &mut Cx<'_>, id: ClientId, code: u8) {
        let line = format!("{}\n", json!({"exit": code}));
        self.send(cx, id, &[line.as_bytes()], true);
    }

    /// Ends the answer: it cannot be given, for this reason.
    pub fn error(&mut self, cx: &mut Cx<'_>, id: ClientId, sentence: &str) {
        let line = format!("{}\n", json!({"error": sentence}));
        self.send(cx, id, &[line.as_bytes()], true);
    }

    /// Sends a client away when it has everything.
    pub(super) fn leave(&mut self, cx: &mut Cx<'_>, id: ClientId) {
        if let Some(at) = self.place(id) {
            self.slots[at].leaving = true;
            self.look(cx, at);
        }
    }

    fn send(&mut self, cx: &mut Cx<'_>, id: ClientId, pieces: &[&[u8]], ends: bool) {
        let Some(at) = self.place(id) else { return };
        let slot = &mut self.slots[at];
        for piece in pieces {
            slot.output.extend_from_slice(piece);
        }
        slot.busy &= !ends;
        // An error is found by the next event: the service may be in the middle of something.
        let _gone = slot.flush();
        self.look(cx, at);
    }

    /// Watches for what makes sense now.
    fn look(&mut self, cx: &mut Cx<'_>, at: usize) {
        let slot = &mut self.slots[at];
        let reads = !slot.busy && !slot.ended && !slot.leaving;
        // What is done is told by an event: a client that leaves or has more to ask can be written to at once.
        let asks = !slot.busy && (slot.leaving || slot.ended || slot.input.has_line());
        let writes = slot.waiting() > 0 || asks;
        // The watch is there as long as the client is.
        let _there = cx.rewatch(slot.watch, &slot.stream, Interest::of(reads, writes));
    }

    /// A client's stream is ready: writes what waits, reads what comes.
    pub(super) fn ready(&mut self, cx: &mut Cx<'_>, id: ClientId, events: Events) -> Heard {
        let Some(at) = self.place(id) else {
            return Heard::Nothing;
        };
        let slot = &mut self.slots[at];
        if events.hup || events.error || slot.flush().is_err() {
            return Heard::Gone;
        }
        if slot.waiting() == 0 && slot.leaving {
            return Heard::Gone;
        }
        if events.read && !slot.busy && !slot.ended && !slot.leaving && slot.read().is_err() {
            return Heard::Gone;
        }
        let heard = match slot.take_line() {
            Some(line) => {
                slot.busy = true;
                Heard::Request(line)
            }
            None if slot.ended && !slot.busy && slot.waiting() == 0 => return Heard::Gone,
            None => Heard::Nothing,
        };
        self.look(cx, at);
        heard
    }

    /// A request is longer than it may be.
    pub(super) fn is_over(&mut self, id: ClientId) -> bool {
        self.place(id).is_some_and(|at| {
            let slot = &mut self.slots[at];
            !slot.busy && slot.input.is_over()
        })
    }

    /// Forgets a client; true if a request of it was being answered.
    pub(super) fn remove(&mut self, cx: &mut Cx<'_>, id: ClientId) -> bool {
        let Some(at) = self.place(id) else {
            return false;
        };
        let slot = self.slots.remove(at);
        cx.unwatch(slot.watch, &slot.stream);
        slot.busy
    }

    /// Writes what still fits, at the end.
    pub(super) fn flush_all(&mut self) {
        for slot in &mut self.slots {
            let _lost = slot.flush();
        }
    }
}

impl Slot {
    fn waiting(&self) -> usize {
        self.output.len() - self.written
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.waiting() > 0 {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.written >= BACKLOG {
                        self.output.drain(..self.written);
                        self.written = 0;
                    }
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // An idle client holds nothing.
        self.output = Vec::new();
        self.written = 0;
        Ok(())
    }

    /// Reads what is there, up to a request and the beginning of the next.
    fn read(&mut self) -> io::Result<()> {
        let mut chunk = [0; 4096];
        while !self.input.is_over() && !self.input.has_line() {
            match self.receive(&mut chunk) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(count) => self.input.push(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Receives bytes, and the descriptors that come with them. What is more than a request may bring is closed.
    fn receive(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(
            &self.stream,
            &mut [IoSliceMut::new(chunk)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                let room = DESCRIPTORS - self.descriptors.len();
                self.descriptors.extend(descriptors.take(room));
            }
        }
        Ok(got.bytes)
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        if self.busy || self.leaving {
            return None;
        }
        self.input.take()
    }
}
