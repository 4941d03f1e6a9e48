//! Engines of connections that are over, for the next ones: their buffers need not be made anew.
//!
//! An engine's buffers are most of what a short connection would cost: asked of the allocator, cleared and
//! given back. The last one left is the first one taken, while the processor's caches still have what
//! was touched of it. A lab has one such store for all of its namespaces.

use core::net::SocketAddr;

use switch::Time;

use super::brief::Brief;
use super::conn::{Conn, Origin};
use super::engine::{Setup, TcpEngine};
use super::machine::Machine;
use super::smol::Smol;

/// Bytes of buffers that a lab keeps of connections that are over: sixteen engines of default size.
pub const SPARE_BYTES: usize = 2 * 1024 * 1024;
/// Connections, and brief ones, whose memory is kept, and the most that a brief one may hold.
const BRIEFS: usize = 64;
const BRIEF_ROOM: usize = 16 * 1024;

/// The engines, the last one left at the end.
#[derive(Debug, Default)]
pub struct Spares {
    #[allow(clippy::vec_box, reason = "they move from connection to connection")]
    engines: Vec<Box<Smol>>,
    #[allow(clippy::vec_box, reason = "likewise")]
    rooms: Vec<Box<Conn>>,
    bytes: usize,
    #[allow(clippy::vec_box, reason = "likewise")]
    briefs: Vec<Box<Brief>>,
}

impl Spares {
    /// Bytes of the buffers that wait here, at most [`SPARE_BYTES`].
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// An engine with buffers as asked for.
    pub(super) fn engine(&mut self, setup: &Setup) -> Box<Smol> {
        let fitting = self.engines.iter().rposition(|engine| engine.fits(setup));
        let Some(at) = fitting else {
            return Box::new(Smol::new(setup));
        };
        let mut engine = self.engines.remove(at);
        self.bytes -= engine.buffer_bytes();
        engine.renew(setup);
        engine
    }

    /// What a brief connection needs, which will send a SYN with the number `isn`.
    pub(super) fn brief(
        &mut self,
        setup: &Setup,
        local: SocketAddr,
        remote: SocketAddr,
        isn: u32,
    ) -> Box<Brief> {
        Brief::begin(self.briefs.pop(), setup, local, remote, isn)
    }

    /// A connection whose handshake starts at `now` with the initial sequence number `isn`.
    #[inline]
    pub(super) fn conn(
        &mut self,
        now: Time,
        isn: u32,
        engine: Machine,
        origin: &Origin<'_>,
    ) -> Box<Conn> {
        match self.rooms.pop() {
            Some(mut room) => {
                // Known to be gone, so that the new one is made in its place.
                room.engine = None;
                *room = Conn::new(now, isn, engine, origin);
                room
            }
            None => Box::new(Conn::new(now, isn, engine, origin)),
        }
    }

    /// Keeps the place of one that is over, whose engine is elsewhere.
    #[inline]
    pub(super) fn keep_room(&mut self, conn: Box<Conn>) {
        if self.rooms.len() < BRIEFS {
            self.rooms.push(conn);
        }
    }

    /// Keeps an engine; the one that has been here longest goes when there are too many.
    #[inline]
    pub(super) fn keep(&mut self, machine: Option<Machine>) {
        match machine {
            Some(Machine::Engine(engine)) => self.keep_engine(engine),
            Some(Machine::Brief(brief))
                if self.briefs.len() < BRIEFS && brief.room() <= BRIEF_ROOM =>
            {
                self.briefs.push(brief);
            }
            Some(Machine::Brief(_)) | None => {}
        }
    }

    #[inline(never)]
    fn keep_engine(&mut self, engine: Box<Smol>) {
        let bytes = engine.buffer_bytes();
        if bytes > SPARE_BYTES || engine.is_worn() {
            return;
        }
        while self.bytes + bytes > SPARE_BYTES {
            self.bytes -= self.engines.remove(0).buffer_bytes();
        }
        self.bytes += bytes;
        self.engines.push(engine);
    }
}
