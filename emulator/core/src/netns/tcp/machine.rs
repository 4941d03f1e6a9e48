//! A connection's state machine: the brief one while that will do, an engine afterwards.

use switch::{Pool, Time};

use super::brief::Brief;
use super::clock::ceiling;
use super::emit::Marks;
use super::engine::{Next, TcpEngine, TcpState};
use super::paths::{PathIx, Shared};
use super::smol::Smol;

/// The machine of a connection.
#[derive(Debug)]
pub(super) enum Machine {
    /// The connection has been too plain for an engine.
    Brief(Box<Brief>),
    /// An engine.
    Engine(Box<Smol>),
}

impl Machine {
    /// The state.
    #[inline]
    pub(super) fn state(&self) -> TcpState {
        match self {
            Self::Brief(brief) => brief.glance().state,
            Self::Engine(engine) => engine.state(),
        }
    }

    /// Bytes received and not read.
    #[inline]
    pub(super) fn recv_queue(&self) -> usize {
        match self {
            Self::Brief(brief) => brief.glance().recv_queue,
            Self::Engine(engine) => engine.recv_queue(),
        }
    }

    /// Bytes given and not acknowledged.
    #[inline]
    pub(super) fn send_queue(&self) -> usize {
        match self {
            Self::Brief(brief) => brief.glance().send_queue,
            Self::Engine(engine) => engine.send_queue(),
        }
    }

    /// Bytes of the receive buffer, made or not.
    #[inline]
    pub(super) fn recv_capacity(&self) -> usize {
        match self {
            Self::Brief(brief) => brief.setup().recv_buffer,
            Self::Engine(engine) => engine.recv_capacity(),
        }
    }

    /// Bytes of the send buffer, made or not.
    #[inline]
    pub(super) fn send_capacity(&self) -> usize {
        match self {
            Self::Brief(brief) => brief.setup().send_buffer,
            Self::Engine(engine) => engine.send_capacity(),
        }
    }

    /// The largest window that the other side told, in bytes.
    pub(super) fn widest(&self) -> u32 {
        match self {
            Self::Brief(brief) => brief.widest(),
            Self::Engine(engine) => engine.pingpong.widest(),
        }
    }

    /// Bytes of both buffers together, or of what stands in for them.
    pub(super) fn buffer_bytes(&self) -> usize {
        match self {
            Self::Brief(brief) => brief.bytes(),
            Self::Engine(engine) => engine.buffer_bytes(),
        }
    }

    /// When there is something to send.
    #[inline]
    pub(super) fn next(&self, shared: &mut Shared, path: PathIx, now: Time) -> Next {
        match self {
            Self::Brief(brief) => brief.next(ceiling(now)),
            Self::Engine(engine) => engine.next(shared, path, now),
        }
    }

    /// Takes data to send; how many bytes.
    #[inline]
    pub(super) fn send(
        &mut self,
        shared: &mut Shared,
        path: PathIx,
        pool: &mut Pool,
        when: (Time, &Marks, usize),
        bytes: &[u8],
    ) -> usize {
        match self {
            Self::Brief(brief) => brief.send(shared.mtu(path), bytes),
            Self::Engine(engine) => engine.send(shared, path, pool, when, bytes),
        }
    }

    /// Gives received data; how many bytes.
    #[inline]
    pub(super) fn recv(&mut self, pool: &mut Pool, buffer: &mut [u8]) -> usize {
        match self {
            Self::Brief(brief) => brief.recv(buffer),
            Self::Engine(engine) => engine.recv(pool, buffer),
        }
    }

    /// Shows received data, or the first part of it, and takes what `look` says; how many bytes.
    #[inline]
    pub(super) fn recv_with(
        &mut self,
        pool: &mut Pool,
        look: &mut dyn FnMut(&[u8]) -> usize,
    ) -> usize {
        match self {
            Self::Brief(brief) => brief.recv_with(look),
            Self::Engine(engine) => engine.recv_with(pool, look),
        }
    }

    /// Closes our half behind the data that is queued.
    pub(super) fn shutdown(&mut self, shared: &mut Shared, path: PathIx) {
        match self {
            Self::Brief(brief) => brief.shutdown(),
            Self::Engine(engine) => engine.shutdown(shared, path),
        }
    }

    /// Switches Nagle's rule off or on.
    pub(super) fn set_nodelay(&mut self, on: bool) {
        match self {
            Self::Brief(brief) => brief.set_nodelay(on),
            Self::Engine(engine) => engine.set_nodelay(on),
        }
    }

    /// Sets the time to live or hop limit; 0 counts as 1.
    pub(super) fn set_hop_limit(&mut self, hops: u8) {
        match self {
            Self::Brief(brief) => brief.set_hop_limit(hops),
            Self::Engine(engine) => engine.set_hop_limit(hops),
        }
    }
}
