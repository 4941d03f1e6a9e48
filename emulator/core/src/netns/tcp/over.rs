//! Ends: a connection's last word, what stays of it, and who is told.

use switch::Time;

use super::conn::{Conn, Owner};
use super::emit::{Emitter, Stamp, send_bare};
use super::engine::TcpEngine;
use super::head::{Says, say};
use super::machine::Machine;
use super::run::guarded;
use super::segment::{ACK, Bare, RST};
use super::slots::Tenant;
use super::timewait::Rest;
use super::{Tcp, TcpCx};
use crate::netns::Errno;

/// What the owner of a connection that is over keeps of it.
enum Keeps {
    Nothing,
    All,
    /// All but this, which serves the next ones.
    But(Machine),
}

impl Tcp {
    /// Segments no longer find the connection.
    fn unmap(&mut self, slot: u32) {
        if let Some(conn) = self.slots.conn_at(slot)
            && conn.mapped
        {
            conn.mapped = false;
            self.demux.remove(&conn.tuple(), slot);
            self.timers.set(slot, &mut conn.armed, Time::MAX);
        }
    }

    /// Forgets a connection without a word.
    pub(super) fn release(&mut self, cx: &mut TcpCx<'_>, slot: u32) {
        self.unmap(slot);
        self.give_up(cx, slot);
    }

    /// Empties the slot of an unmapped connection; what was in it serves the next ones.
    fn give_up(&mut self, cx: &mut TcpCx<'_>, slot: u32) {
        if let Some(mut conn) = self.vacate(slot) {
            Self::retire(cx, conn.engine.take());
            cx.spares.keep_room(conn);
        }
    }

    /// Empties a slot.
    #[inline]
    fn vacate(&mut self, slot: u32) -> Option<Box<Conn>> {
        match self.slots.remove(slot)? {
            Tenant::Conn(conn) => {
                self.unanswered -= usize::from(conn.unanswered);
                Some(conn)
            }
            Tenant::Listener(_) => None,
        }
    }

    /// Sends the connection's reset. The engine is asked what its number is before the connection is open, and
    /// unless it is sure what is on the wire.
    pub(super) fn last_word(&mut self, cx: &mut TcpCx<'_>, slot: u32) {
        let conn = self.slots.conn_at(slot);
        let Some(conn) = conn.filter(|conn| conn.mapped && conn.engine.is_some()) else {
            return;
        };
        let is_certain = conn.marks.is_all_sent(conn.send_queue());
        if !is_certain || conn.state().opening() {
            self.engine_reset(cx, slot);
            return;
        }
        let (seq, ack, window) = (conn.marks.sent, conn.recv_next(), conn.window());
        let stamp = self.stamp;
        if conn.is_brief() {
            let says = Says {
                seq,
                ack,
                flags: RST | ACK,
                window,
            };
            let shared = (&mut self.stamp, &mut self.counters);
            say(cx, shared, conn, says, &[], 0);
        } else {
            let reset = Bare {
                window,
                ..conn.bare(seq, RST)
            };
            send_bare(&reset, cx.pool, cx.out, &mut self.stamp, &mut self.counters);
        }
        // An engine believes sent what found no buffer, and its number may be beyond what the peer waits for.
        if cfg!(debug_assertions) && self.counters.out_of_frames == 0 {
            self.compare_reset(cx, slot, stamp);
        }
    }

    /// Has the engine send its reset.
    fn engine_reset(&mut self, cx: &mut TcpCx<'_>, slot: u32) {
        if !self.catch_up(cx, slot) {
            return;
        }
        let Some(conn) = self.slots.conn_at(slot) else {
            return;
        };
        let (now, v6) = (cx.now, conn.v6());
        let Some(Machine::Engine(engine)) = &mut conn.engine else {
            return;
        };
        let (stamp, counters) = (&mut self.stamp, &mut self.counters);
        let mut emitter = Emitter::new(cx, stamp, counters, &mut conn.marks, v6);
        let (shared, path) = (&mut self.shared, conn.path);
        let sound = guarded(|| {
            engine.abort(shared, path);
            engine.output(shared, path, now, &mut emitter);
        });
        emitter.recover();
        if sound.is_none() {
            conn.engine = None;
        }
    }

    /// The engine would have sent the reset that has just been sent with this stamp.
    fn compare_reset(&mut self, cx: &mut TcpCx<'_>, slot: u32, stamp: Stamp) {
        let (sent, counters) = (cx.out.pop(), self.counters);
        let after = core::mem::replace(&mut self.stamp, stamp);
        self.engine_reset(cx, slot);
        (self.stamp, self.counters) = (after, counters);
        if let (Some(sent), Some(asked)) = (&sent, cx.out.pop()) {
            assert_eq!(cx.pool.bytes(sent), cx.pool.bytes(&asked), "a reset");
            cx.pool.free(asked);
        }
        cx.out.extend(sent);
    }

    /// Ends a connection with a reset and forgets it.
    pub(super) fn reset(&mut self, cx: &mut TcpCx<'_>, slot: u32) {
        self.last_word(cx, slot);
        self.release(cx, slot);
    }

    /// The connection is over. Who holds it finds `error`, what was received, or the end.
    pub(super) fn over(&mut self, cx: &mut TcpCx<'_>, slot: u32, error: Option<Errno>) {
        self.unmap(slot);
        if conn_is_held(self, slot) {
            cx.wake(self.slots.id(slot));
        }
        self.leave(cx, slot, error);
    }

    /// Takes an unmapped connection to where its owner will find it; what is not needed of it any more serves the next ones.
    fn leave(&mut self, cx: &mut TcpCx<'_>, slot: u32, error: Option<Errno>) {
        match self.keep_for_owner(slot, error) {
            Keeps::Nothing => self.give_up(cx, slot),
            Keeps::All => {}
            Keeps::But(machine) => Self::retire(cx, Some(machine)),
        }
    }

    /// What the owner of an unmapped connection keeps of it.
    fn keep_for_owner(&mut self, slot: u32, error: Option<Errno>) -> Keeps {
        let Some(conn) = self.slots.conn_at(slot) else {
            return Keeps::All;
        };
        match conn.owner {
            Owner::Nobody => Keeps::Nothing,
            Owner::Embryo(listener) => {
                if let Some(queues) = self.slots.listener_mut(listener) {
                    queues.embryos -= 1;
                }
                Keeps::Nothing
            }
            Owner::App | Owner::Queue(_) => {
                conn.error = error.or(conn.error);
                let all_read = conn.recv_queue() == 0;
                let machine = conn.engine.take_if(|_| all_read);
                machine.map_or(Keeps::All, Keeps::But)
            }
        }
    }

    /// The engine panicked: the connection ends as if it had been reset, and the other side gets a
    /// reset with the next [`poll`](Self::poll).
    pub(super) fn crashed(&mut self, slot: u32) {
        self.counters.engine_panics += 1;
        let id = self.slots.id(slot);
        self.unmap(slot);
        let Some(conn) = self.slots.conn_at(slot) else {
            return;
        };
        let last = conn.bare(conn.marks.sent, RST);
        if let Some(Machine::Engine(mut engine)) = conn.engine.take() {
            self.strays.extend(engine.held.drain());
            engine.queue.scatter(&mut self.strays, &mut self.claims);
        }
        self.lost.push((id, last));
        if matches!(
            self.keep_for_owner(slot, Some(Errno::ConnReset)),
            Keeps::Nothing
        ) {
            self.vacate(slot);
        }
    }

    /// Acknowledges the other side's FIN if that has not been done.
    pub(super) fn answer_fin(&mut self, cx: &mut TcpCx<'_>, slot: u32) {
        let Some(conn) = self.slots.conn_at(slot) else {
            return;
        };
        let ack = conn.recv_next();
        if !conn.ended || conn.marks.acking == ack {
            return;
        }
        let seq = conn.marks.acked;
        let (stamp, counters) = (&mut self.stamp, &mut self.counters);
        if conn.is_brief() {
            let says = Says {
                seq,
                ack,
                flags: ACK,
                // Nothing more will come.
                window: conn.marks.window,
            };
            say(cx, (stamp, counters), conn, says, &[], 0);
        } else {
            let answer = conn.bare(seq, ACK);
            send_bare(&answer, cx.pool, cx.out, stamp, counters);
        }
    }

    /// Leaves an entry in TIME_WAIT, or in FIN_WAIT_2 if `half`, in place of the connection.
    pub(super) fn rest(&mut self, cx: &mut TcpCx<'_>, slot: u32, half: bool) {
        let Some(conn) = self.slots.conn_at(slot) else {
            return;
        };
        let tuple = conn.tuple();
        let rest = Rest {
            send_next: conn.marks.acked,
            recv_next: conn.recv_next(),
            window: conn.marks.window,
            hop_limit: conn.options.hop_limit,
            half,
        };
        self.unmap(slot);
        if !self.waits.insert(self.now, tuple, rest) {
            self.counters.time_wait_overflows += 1;
        }
        self.leave(cx, slot, None);
    }
}

/// An application has the connection's socket.
pub(super) fn conn_is_held(tcp: &mut Tcp, slot: u32) -> bool {
    let conn = tcp.slots.conn_at(slot);
    conn.is_some_and(|conn| conn.owner == Owner::App)
}
