//! TCP of one namespace: sockets, listeners, TIME_WAIT and timers above an exchangeable engine.
//!
//! Behaves as Linux does where a program or a capture can tell: how connects fail and when, backlog,
//! resets on unread data, half-close, orphans, keepalive (RFC 9293, RFC 1122 and Linux's defaults).
//! Each connection's state machine is a `TcpEngine` (`engine.rs`), today smoltcp's. A segment is
//! looked up by its addresses, given to its engine, and what follows goes through the queue of
//! connections to run, so that the cost is that of the active ones. Time, frames, output and wake-ups
//! are lent for each call in a [`TcpCx`].
//!
//! Left out: urgent data, TCP Fast Open, SYN cookies, timestamps, ECN, buffers that grow by themselves.

mod any;
mod brief;
mod call;
mod clock;
mod conn;
mod demux;
mod device;
mod emit;
mod engine;
mod express;
mod head;
mod hear;
mod held;
mod input;
mod listen;
mod machine;
mod options;
mod over;
mod path;
mod paths;
mod pingpong;
mod plain;
mod queue;
mod replay;
mod rtt;
mod run;
mod segment;
mod settle;
mod slots;
mod smol;
mod spare;
mod taken;
mod timers;
mod timewait;
mod told;
mod train;
mod turn;
mod write;

#[cfg(test)]
mod tests;

use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;

use switch::frame::Claim;
use switch::{Frame, Pool, Time};

use crate::app::Family;

pub use engine::{Congestion, TcpState};
pub(super) use express::Refusal;
pub(super) use input::has_odd_end;
pub use options::{
    Counters, IcmpKind, MAX_BUFFER, MIN_BUFFER, PortUse, RECV_BUFFER, SEND_BUFFER, TcpOptions,
    TcpSocket,
};
pub(super) use plain::{Between, Ends, EndsV6};
pub use spare::{SPARE_BYTES, Spares};

use demux::Demux;
use emit::{Reply, Stamp};
use engine::TcpEngine;
use express::Hints;
use listen::Listeners;
use segment::Bare;
use slots::{Slots, Tenant};
use timers::Timers;
use timewait::TimeWaits;

/// Connections of a namespace at a time; one more is `ENOBUFS`, or a SYN dropped.
pub const MAX_CONNECTIONS: usize = 65_536;

/// Connections of a namespace that no application holds any more, whose last bytes or FIN their peers leave unacknowledged:
/// each keeps its buffers for `tcp_orphan_retries`, so that a hostile peer could fill the memory with them. More of them are
/// reset, as Linux does beyond `tcp_max_orphans` when one has to send again (`tcp_out_of_resources`). With buffers of
/// the default size they hold 64 MiB.
pub const MAX_UNANSWERED: usize = 512;

/// A TCP socket of a namespace. A closed socket's slot comes back with another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TcpId {
    /// The slot.
    pub slot: u32,
    /// Which tenant of the slot.
    pub generation: u32,
}

/// What is lent to TCP for one call.
#[derive(Debug)]
pub struct TcpCx<'a> {
    /// Now; never less than in an earlier call.
    pub now: Time,
    /// MTU of the interface that a segment came in by: what a connection that it opens may send.
    /// [`Tcp::connect`] is told its own.
    pub mtu: usize,
    /// Where frames come from.
    pub pool: &'a mut Pool,
    /// Where packets go: they start at the IP header and have headroom in front.
    pub out: &'a mut Vec<Frame>,
    /// Sockets on which something happened, to be looked at with [`Tcp::ready`].
    pub wakes: &'a mut Vec<TcpId>,
    /// Engines of connections that are over.
    pub spares: &'a mut Spares,
}

impl TcpCx<'_> {
    #[inline(always)]
    fn wake(&mut self, id: TcpId) {
        if self.wakes.last() != Some(&id) {
            self.wakes.push(id);
        }
    }
}

/// The TCP layer of a namespace.
#[derive(Debug)]
pub struct Tcp {
    secret: u64,
    slots: Slots,
    demux: Demux,
    hints: Hints,
    waits: TimeWaits,
    listeners: Listeners,
    timers: Timers,
    dirty: VecDeque<u32>,
    shared: paths::Shared,
    stamp: Stamp,
    offload: bool,
    reply: Reply,
    /// Whose engine panicked outside of a call that could say so.
    lost: Vec<(TcpId, Bare)>,
    /// Frames that waited for the readers of these, or to be sent, and claims to those that were.
    strays: Vec<Frame>,
    claims: Vec<Claim>,
    /// Of [`MAX_UNANSWERED`].
    unanswered: usize,
    now: Time,
    clock: clock::Clock,
    counters: Counters,
    /// The frame of the last segment waits for its reader: [others](Self::input_train) may follow.
    leads_train: Option<Family>,
    /// No connection is brief or plays ping-pong, to compare.
    #[cfg(test)]
    pub(super) takes_long_way: bool,
    /// Segments that were taken together with the one before.
    #[cfg(test)]
    pub(super) on_trains: usize,
}

impl Tcp {
    /// An empty layer. Initial sequence numbers derive from `seed`, which differs from namespace to
    /// namespace.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = switch::Rng::new(seed).stream("tcp");
        Self {
            secret: rng.next_u64(),
            shared: paths::Shared::new(rng.next_u64()),
            stamp: Stamp {
                ip_id: rng.next_u32() as u16,
                partial: false,
            },
            slots: Slots::default(),
            demux: Demux::default(),
            hints: Hints::default(),
            waits: TimeWaits::default(),
            listeners: Listeners::default(),
            timers: Timers::default(),
            dirty: VecDeque::new(),
            offload: false,
            reply: Reply::new(),
            lost: Vec::new(),
            strays: Vec::new(),
            claims: Vec::new(),
            unanswered: 0,
            now: Time::ZERO,
            clock: clock::Clock::default(),
            counters: Counters::default(),
            leads_train: None,
            #[cfg(test)]
            takes_long_way: false,
            #[cfg(test)]
            on_trains: 0,
        }
    }

    /// Whether connections without congestion control send super-segments
    /// ([`switch::frame::Meta::gso_size`]). Off at first. They always have partial checksums.
    pub fn set_offload(&mut self, on: bool) {
        self.offload = on;
        let conns = self.slots.iter();
        let conns = conns.filter(|(_, tenant)| matches!(tenant, Tenant::Conn(_)));
        let slots: Vec<u32> = conns.map(|(id, _)| id.slot).collect();
        for slot in slots {
            self.repath(slot);
        }
    }

    /// Whether they do.
    pub(super) const fn offload(&self) -> bool {
        self.offload
    }

    /// The path of a connection from `local` over this MTU. Congestion control counts segments, and
    /// super-segments would starve under it.
    fn path(&mut self, local: SocketAddr, mtu: usize, options: &TcpOptions) -> paths::PathIx {
        let offload = self.offload && options.congestion == Congestion::None;
        smol::Smol::path(&mut self.shared, local, mtu, offload)
    }

    /// Whether a connection may do without an engine at first.
    fn may_be_brief(&self, setup: &engine::Setup) -> bool {
        #[cfg(test)]
        if self.takes_long_way {
            return false;
        }
        brief::Brief::suits(setup)
    }

    fn repath(&mut self, slot: u32) {
        if let Some(conn) = self.slots.conn_at(slot) {
            let (local, mtu, options) = (conn.local, conn.mtu, conn.options);
            let path = self.path(local, mtu, &options);
            if let Some(conn) = self.slots.conn_at(slot) {
                conn.path = path;
            }
        }
    }

    /// Whether checksums of what is sent are left partial ([`switch::frame::Meta::csum_partial`]). Off
    /// at first.
    pub const fn set_partial_checksums(&mut self, on: bool) {
        self.stamp.partial = on;
    }

    /// What has been done so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Connections that segments can still reach, TIME_WAIT not counted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.demux.len()
    }

    /// Entries in TIME_WAIT, and orphans that wait for the other side's FIN. They hold no buffers.
    #[must_use]
    pub fn time_waits(&self) -> usize {
        self.waits.len()
    }

    /// Bytes of all buffers together. Walks all sockets.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        let tenants = self.slots.iter();
        let sizes = tenants.map(|(_, tenant)| match tenant {
            Tenant::Conn(conn) => conn
                .engine
                .as_ref()
                .map_or(0, machine::Machine::buffer_bytes),
            Tenant::Listener(_) => 0,
        });
        sizes.sum()
    }

    /// Whether a SYN to `local` finds a listener.
    #[must_use]
    pub fn listens(&self, local: SocketAddr) -> bool {
        self.listeners.find(local).is_some()
    }

    /// All sockets as `ss -ta` shows them: listeners by port, then connections by slot, then TIME_WAIT
    /// by the time at which it ends.
    #[must_use]
    pub fn sockets(&self) -> Vec<TcpSocket> {
        let mut all: Vec<TcpSocket> = Vec::with_capacity(self.slots.len() + self.waits.len());
        for id in self.listeners.ids() {
            if let Some(listener) = self.slots.listener(id) {
                all.push(TcpSocket {
                    id: Some(id),
                    local: listener.local,
                    remote: None,
                    state: TcpState::Listen,
                    recv_queue: listener.ready.len(),
                    send_queue: listener.backlog,
                });
            }
        }
        for (id, tenant) in self.slots.iter() {
            if let Tenant::Conn(conn) = tenant
                && conn.mapped
            {
                all.push(TcpSocket {
                    id: (conn.owner != conn::Owner::Nobody).then_some(id),
                    local: conn.local,
                    remote: Some(conn.remote),
                    state: conn.state(),
                    recv_queue: conn.recv_queue(),
                    send_queue: conn.send_queue(),
                });
            }
        }
        all.extend(self.waits.iter().map(|(tuple, rest)| TcpSocket {
            id: None,
            local: tuple.local(),
            remote: Some(tuple.remote()),
            state: if rest.half {
                TcpState::FinWait2
            } else {
                TcpState::TimeWait
            },
            recv_queue: 0,
            send_queue: 0,
        }));
        all
    }

    /// What holds `port` of `address`, either of which may be a wildcard. Walks all connections: few sockets are
    /// bound, and many are connected, which asks nothing here.
    #[must_use]
    pub fn in_use(&self, address: IpAddr, port: u16) -> PortUse {
        let is_conn = |tenant: &Tenant| match tenant {
            Tenant::Conn(conn) => {
                let local = conn.local;
                conn.mapped && local.port() == port && options::overlap(address, local.ip())
            }
            Tenant::Listener(_) => false,
        };
        if self.listeners.holds(address, port) {
            PortUse::Listening
        } else if self.slots.iter().any(|(_, tenant)| is_conn(tenant)) {
            PortUse::Connected
        } else if self.waits.holds_port(address, port) {
            PortUse::TimeWait
        } else {
            PortUse::Free
        }
    }

    /// The state of a socket; [`TcpState::Closed`] of one that is not there.
    #[must_use]
    pub fn state(&self, id: TcpId) -> TcpState {
        if self.slots.listener(id).is_some() {
            return TcpState::Listen;
        }
        let conn = self.slots.conn(id);
        conn.map_or(TcpState::Closed, conn::Conn::state)
    }

    /// Our address.
    #[must_use]
    pub fn local_addr(&self, id: TcpId) -> Option<SocketAddr> {
        let conn = self.slots.conn(id).map(|conn| conn.local);
        conn.or_else(|| Some(self.slots.listener(id)?.local))
    }

    /// The other side's address; `None` for a listener and once the connection is over.
    #[must_use]
    pub fn peer_addr(&self, id: TcpId) -> Option<SocketAddr> {
        let conn = self.slots.conn(id)?;
        conn.mapped.then_some(conn.remote)
    }

    #[cfg(test)]
    fn plays_pingpong(&mut self, id: TcpId) -> bool {
        match self.slots.conn(id).and_then(|conn| conn.engine.as_ref()) {
            Some(machine::Machine::Engine(engine)) => engine.pingpong.is_on(),
            _ => false,
        }
    }

    /// Every engine panics.
    #[cfg(test)]
    pub(super) fn crash_all(&mut self) {
        let conns = self.slots.iter();
        let conns = conns.filter(|(_, tenant)| matches!(tenant, Tenant::Conn(_)));
        let slots: Vec<u32> = conns.map(|(id, _)| id.slot).collect();
        for slot in slots {
            self.crashed(slot);
        }
    }

    /// Times that smoltcp was called for connections that are there.
    #[cfg(test)]
    pub(super) fn smoltcp_calls(&self) -> usize {
        let engines = self.slots.iter().filter_map(|(_, tenant)| match tenant {
            Tenant::Conn(conn) => conn.engine.as_ref(),
            Tenant::Listener(_) => None,
        });
        let calls = engines.map(|engine| match engine {
            machine::Machine::Engine(engine) => engine.calls,
            machine::Machine::Brief(_) => 0,
        });
        calls.sum()
    }

    /// A stream is written into frames.
    #[cfg(test)]
    fn queues_frames(&mut self, id: TcpId) -> bool {
        match self.slots.conn(id).and_then(|conn| conn.engine.as_ref()) {
            Some(machine::Machine::Engine(engine)) => engine.queue.is_on(),
            _ => false,
        }
    }

    /// Bytes that a stream's write queue had to copy into frames, since it began.
    #[cfg(test)]
    fn bytes_copied(&mut self, id: TcpId) -> Option<usize> {
        match self.slots.conn(id)?.engine.as_ref()? {
            machine::Machine::Engine(engine) => engine.queue.is_on().then_some(engine.queue.copied),
            _ => None,
        }
    }

    /// Frames that wait for acknowledgements and are nobody else's.
    #[cfg(test)]
    pub(super) fn frames_queued(&self, pool: &Pool) -> usize {
        let engines = self.slots.iter().filter_map(|(_, tenant)| match tenant {
            Tenant::Conn(conn) => conn.engine.as_ref(),
            Tenant::Listener(_) => None,
        });
        let queued = engines.map(|engine| match engine {
            machine::Machine::Engine(engine) => engine.queue.frames(pool),
            machine::Machine::Brief(_) => 0,
        });
        queued.sum()
    }

    /// Frames that wait for readers.
    #[cfg(test)]
    pub(super) fn frames_held(&self) -> usize {
        let engines = self.slots.iter().filter_map(|(_, tenant)| match tenant {
            Tenant::Conn(conn) => conn.engine.as_ref(),
            Tenant::Listener(_) => None,
        });
        let held = engines.map(|engine| match engine {
            machine::Machine::Engine(engine) => engine.held.frames(),
            machine::Machine::Brief(_) => 0,
        });
        held.sum()
    }

    #[cfg(test)]
    fn is_brief(&self, id: TcpId) -> bool {
        let engine = self.slots.conn(id).and_then(|conn| conn.engine.as_ref());
        matches!(engine, Some(machine::Machine::Brief(_)))
    }

    /// When [`fire`](Self::fire) is due. May be early, never late.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let at = self.alarm();
        (at != Time::MAX).then_some(at)
    }

    /// The same; the end of time if never.
    #[inline]
    pub(super) fn alarm(&self) -> Time {
        self.timers.deadline().min(self.waits.deadline())
    }

    /// Whether [`poll`](Self::poll) has something to do.
    #[must_use]
    #[inline]
    pub fn pending(&self) -> bool {
        !self.dirty.is_empty() || !self.lost.is_empty()
    }
}
