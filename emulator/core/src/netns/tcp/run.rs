//! What follows: transitions, the queue of connections to run, and timers.

use core::panic::AssertUnwindSafe;

use switch::Time;

use super::conn::{Conn, Overdue, Owner, Seen};
use super::emit::{Emitter, Stamp, send_bare};
use super::engine::{Congestion, Next, TcpEngine, TcpState};
use super::head::{Says, say};
use super::machine::Machine;
use super::over::conn_is_held;
use super::segment::{ACK, FIN, RST, SYN, is_bare_ack};
use super::{Counters, MAX_UNANSWERED, Tcp, TcpCx, TcpId};
use crate::netns::Errno;

/// Packets that may wait in `out` before [`Tcp::poll`] stops.
const OUT_LIMIT: usize = 64;
/// Segments that one connection sends before the next one has its turn.
const QUANTUM: usize = 16;

/// Runs a piece of an engine's work; `None` if it panicked.
pub(super) fn guarded<R>(work: impl FnOnce() -> R) -> Option<R> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).ok()
}

impl Tcp {
    /// Sends what connections have to send, in turns. Whether more remains: because `cx.out` holds many
    /// packets already, or because there were many connections. To be called again once `cx.out` has
    /// been emptied.
    pub fn poll(&mut self, cx: &mut TcpCx<'_>) -> bool {
        self.now = cx.now;
        if !self.strays.is_empty() || !self.lost.is_empty() {
            self.clear(cx);
        }
        while cx.out.len() < OUT_LIMIT {
            let Some(slot) = self.dirty.pop_front() else {
                return !self.lost.is_empty();
            };
            if let Some(conn) = self.slots.conn_at(slot)
                && core::mem::take(&mut conn.queued)
                && conn.mapped
            {
                self.run(cx, slot);
            }
        }
        self.pending()
    }

    /// Resets connections whose engines panicked, and gives back what they left: also before the namespace goes.
    #[cold]
    pub fn clear(&mut self, cx: &mut TcpCx<'_>) {
        for frame in self.strays.drain(..) {
            cx.pool.free(frame);
        }
        for claim in self.claims.drain(..) {
            cx.pool.give_up(claim);
        }
        for (id, bare) in core::mem::take(&mut self.lost) {
            send_bare(&bare, cx.pool, cx.out, &mut self.stamp, &mut self.counters);
            cx.wake(id);
        }
    }

    /// Does what is due by `cx.now`; [`poll`](Self::poll) then sends what follows from it.
    pub fn fire(&mut self, cx: &mut TcpCx<'_>) {
        self.now = cx.now;
        self.waits.expire(cx.now);
        while let Some(slot) = self.timers.pop(cx.now) {
            let Some(conn) = self.slots.conn_at(slot) else {
                continue;
            };
            conn.armed = Time::MAX;
            if conn.is_unanswered(cx.now) && !self.admit_unanswered(slot) {
                self.counters.orphans_reset += 1;
                self.reset(cx, slot);
                continue;
            }
            let Some(conn) = self.slots.conn_at(slot) else {
                continue;
            };
            conn.marks.again |= conn.waits() || conn.send_queue() > 0;
            match conn.overdue(cx.now) {
                None => self.touch(cx.now, slot),
                Some(Overdue::Silence) => {
                    let error = conn.soft_error.unwrap_or(Errno::TimedOut);
                    self.counters.timeouts += 1;
                    self.over(cx, slot, Some(error));
                }
                Some(Overdue::KeepAlive) => {
                    let error = conn.soft_error.unwrap_or(Errno::TimedOut);
                    self.counters.timeouts += 1;
                    self.last_word(cx, slot);
                    self.over(cx, slot, Some(error));
                }
                Some(overdue @ (Overdue::Probe | Overdue::Window)) => {
                    if overdue == Overdue::Probe {
                        conn.probed(cx.now);
                    } else {
                        conn.asked = conn.asked.saturating_add(1);
                        conn.ask_at = None;
                    }
                    let probe = conn.question(overdue);
                    let (stamp, counters) = (&mut self.stamp, &mut self.counters);
                    send_bare(&probe, cx.pool, cx.out, stamp, counters);
                    self.touch(cx.now, slot);
                }
            }
        }
    }

    /// Counts a connection among the unanswered orphans; false if there are too many (`tcp_out_of_resources`).
    fn admit_unanswered(&mut self, slot: u32) -> bool {
        let Some(conn) = self.slots.conn_at(slot).filter(|conn| !conn.unanswered) else {
            return true;
        };
        let has_room = self.unanswered < MAX_UNANSWERED;
        conn.unanswered = has_room;
        self.unanswered += usize::from(has_room);
        has_room
    }

    /// Queues a connection to be run.
    pub(super) fn mark(&mut self, slot: u32) {
        if let Some(conn) = self.slots.conn_at(slot)
            && !conn.queued
        {
            conn.queued = true;
            self.dirty.push_back(slot);
        }
    }

    /// Lets a connection say what it has to, at once as Linux does, unless it waits for its turn anyway.
    #[inline]
    pub(super) fn run_now(&mut self, cx: &mut TcpCx<'_>, slot: u32) {
        if self.slots.conn_at(slot).is_some_and(|conn| !conn.queued) {
            self.run(cx, slot);
        }
    }

    /// Lets a connection send.
    #[inline(always)]
    pub(super) fn run(&mut self, cx: &mut TcpCx<'_>, slot: u32) {
        let conn = self.slots.conn_at(slot);
        let is_brief = conn.is_some_and(|conn| conn.is_brief());
        let is_done = is_brief && (self.run_brief(cx, slot) || !self.catch_up(cx, slot));
        if !is_done {
            self.run_engine(cx, slot);
        }
    }

    /// Lets an engine send.
    fn run_engine(&mut self, cx: &mut TcpCx<'_>, slot: u32) {
        let Some(conn) = self.slots.conn_at(slot) else {
            return;
        };
        let (before, v6, now) = (conn.seen(), conn.v6(), cx.now);
        if conn.armed <= now {
            conn.marks.again |= conn.waits() || conn.send_queue() > 0;
        }
        let is_open =
            before.state == TcpState::Established && conn.owner == Owner::App && !conn.write_shut;
        let is_stream = is_open && conn.options.congestion == Congestion::None;
        let Some(Machine::Engine(engine)) = &mut conn.engine else {
            return;
        };
        let (stamp, counters) = (&mut self.stamp, &mut self.counters);
        let mut emitter = Emitter::new(cx, stamp, counters, &mut conn.marks, v6);
        let (shared, path) = (&mut self.shared, conn.path);
        let mut runs = 0;
        let last = guarded(|| {
            loop {
                let dry = !engine.output(shared, path, now, &mut emitter);
                runs += usize::from(!dry);
                if is_open && !dry && emitter.marks.is_all_sent(engine.send_queue()) {
                    return None;
                }
                let is_full = runs >= QUANTUM || emitter.out.len() >= OUT_LIMIT;
                if is_stream && !dry && !is_full {
                    // To send nothing says as much as to be asked.
                    continue;
                }
                let next = engine.next(shared, path, now);
                runs += usize::from(dry && !(is_stream && runs > 0 && next != Next::Now));
                if next != Next::Now || dry || is_full {
                    return Some((next, dry));
                }
            }
        });
        emitter.recover();
        self.counters.engine_runs += runs as u64;
        let Some(last) = last else {
            self.crashed(slot);
            return;
        };
        if conn.stalled.is_none() && conn.waits() {
            conn.stalled = Some(cx.now);
        }
        if last.is_none() && conn.rests(cx.now) {
            if conn.finds_room() {
                cx.wake(self.slots.id(slot));
            }
            return self.certify(cx.now, slot);
        }
        if self.transit(cx, slot, before, 0) {
            match last {
                Some((next, dry)) => self.plan(cx.now, slot, next, dry),
                None => self.touch(cx.now, slot),
            }
        }
    }

    /// Lets a brief connection send, which it does once or not at all, and its state stays as it is; whether it is
    /// brief still.
    #[inline(never)]
    fn run_brief(&mut self, cx: &mut TcpCx<'_>, slot: u32) -> bool {
        let Some(conn) = self.slots.conn_at(slot) else {
            return false;
        };
        let Some(Machine::Brief(brief)) = &mut conn.engine else {
            return false;
        };
        let clock = self.clock.at(cx.now);
        if brief.needs_engine(clock) {
            return false;
        }
        let state = brief.glance().state;
        if conn.armed <= cx.now {
            let queued = brief.glance().send_queue;
            let waits = conn.marks.outstanding() || state.waits_for_fin();
            conn.marks.again |= waits || queued > 0;
        }
        let output = brief.output((cx.now, clock));
        let (next, queued) = (brief.next(clock), brief.glance().send_queue);
        let has_sent = output.is_some();
        if let Some((says, data)) = output {
            let shared = (&mut self.stamp, &mut self.counters);
            if says.flags & SYN == 0 {
                say(cx, shared, conn, says, &[], data);
            } else {
                let mtu = self.shared.mtu(conn.path);
                say_syn(cx, shared, conn, says, mtu);
            }
        }
        self.counters.engine_runs += 1;
        let waits = conn.marks.outstanding() || state.waits_for_fin();
        if conn.stalled.is_none() && waits {
            conn.stalled = Some(cx.now);
        }
        let is_open =
            state == TcpState::Established && conn.owner == Owner::App && !conn.write_shut;
        let rests = has_sent && is_open && conn.rests(cx.now);
        let is_news = conn.finds_room() && conn.owner == Owner::App;
        if rests {
            self.certify(cx.now, slot);
        } else {
            match conn.planned(cx.now, (next, !has_sent), state, queued) {
                Some(at) => self.timers.set(slot, &mut conn.armed, at),
                None => self.mark(slot),
            }
        }
        if is_news {
            cx.wake(self.slots.id(slot));
        }
        true
    }

    /// Has an engine take over a connection that was brief so far, or what waits in frames; whether the connection is
    /// still there.
    #[cold]
    #[inline(never)]
    pub(super) fn catch_up(&mut self, cx: &mut TcpCx<'_>, slot: u32) -> bool {
        let Some(conn) = self.slots.conn_at(slot) else {
            return false;
        };
        let Some(Machine::Brief(brief)) = &conn.engine else {
            let id = self.slots.id(slot);
            return self.part(cx, id);
        };
        let mut engine = cx.spares.engine(brief.setup());
        let (shared, path, ends) = (&mut self.shared, conn.path, (conn.local, conn.remote));
        let Some(shift) = guarded(|| brief.replay(&mut engine, shared, path, ends)) else {
            self.crashed(slot);
            return false;
        };
        conn.marks.shift = shift;
        let brief = conn.engine.replace(Machine::Engine(engine));
        cx.spares.keep(brief);
        true
    }

    /// After an engine was given a segment with these flags, none if they are not known, and so much data: what
    /// changed, and when it wants to run.
    pub(super) fn settle(
        &mut self,
        cx: &mut TcpCx<'_>,
        slot: u32,
        before: Seen,
        flags: u8,
        payload: u32,
    ) {
        if !self.transit(cx, slot, before, flags) {
            return;
        }
        let Some(conn) = self.slots.conn_at(slot) else {
            return;
        };
        match (before.state, conn.state()) {
            // A SYN-ACK is acknowledged at once.
            (TcpState::SynSent, TcpState::Established) => self.run_now(cx, slot),
            (TcpState::SynReceived, TcpState::Established)
                if is_bare_ack(flags, payload) && conn.rests(cx.now) =>
            {
                self.certify(cx.now, slot);
            }
            _ => self.touch(cx.now, slot),
        }
    }

    /// Acts on a change of state; whether the connection goes on.
    fn transit(&mut self, cx: &mut TcpCx<'_>, slot: u32, before: Seen, flags: u8) -> bool {
        let id = self.slots.id(slot);
        let Some(conn) = self.slots.conn_at(slot) else {
            return false;
        };
        let state = conn.state();
        if state == TcpState::Established && before.state == state && conn.owner == Owner::App {
            if conn.finds_room() || conn.recv_queue() > before.recv_queue {
                cx.wake(id);
            }
            return true;
        }
        let has = |flag| flags & flag != 0;
        match state {
            // A listener's connection was reset before it was one.
            TcpState::Listen => {
                self.over(cx, slot, None);
                return false;
            }
            TcpState::Closed => {
                let error = has(RST).then(|| reset_error(before.state));
                self.over(cx, slot, error);
                return false;
            }
            _ => {}
        }
        let closing = matches!(
            state,
            TcpState::CloseWait | TcpState::Closing | TcpState::LastAck | TcpState::TimeWait
        );
        let ended = closing && !conn.ended && has(FIN);
        conn.ended |= ended;
        if state == TcpState::TimeWait || state == TcpState::FinWait2 && conn.owner == Owner::Nobody
        {
            self.answer_fin(cx, slot);
            if conn_is_held(self, slot) {
                cx.wake(id);
            }
            self.rest(cx, slot, state == TcpState::FinWait2);
            return false;
        }
        if let Owner::Embryo(listener) = conn.owner
            && !state.opening()
        {
            self.promote(cx, slot, listener);
            return true;
        }
        let news = before.state != state || ended || conn.recv_queue() > before.recv_queue;
        if (conn.finds_room() || news) && conn.owner == Owner::App {
            cx.wake(id);
        }
        true
    }

    /// A handshake is complete: into the accept queue.
    pub(super) fn promote(&mut self, cx: &mut TcpCx<'_>, slot: u32, listener: TcpId) {
        if let Some(conn) = self.slots.conn_at(slot) {
            conn.owner = Owner::Queue(listener);
        }
        if let Some(queues) = self.slots.listener_mut(listener) {
            queues.embryos -= 1;
            queues.ready.push_back(slot);
            cx.wake(listener);
        }
    }

    /// Asks an engine when it wants to run, unless it will be run anyway.
    pub(super) fn touch(&mut self, now: Time, slot: u32) {
        let Some(conn) = self.slots.conn_at(slot) else {
            return;
        };
        let Some(engine) = conn.engine.as_ref().filter(|_| !conn.queued) else {
            return;
        };
        let (shared, path) = (&mut self.shared, conn.path);
        match guarded(|| engine.next(shared, path, now)) {
            Some(next) => self.plan(now, slot, next, false),
            None => self.crashed(slot),
        }
    }

    /// Queues or arms a connection whose engine wants to run `next`. `dry`: it has just been run and had
    /// nothing to send.
    fn plan(&mut self, now: Time, slot: u32, next: Next, dry: bool) {
        if let Some(conn) = self.slots.conn_at(slot) {
            let (state, queued) = (conn.state(), conn.send_queue());
            match conn.planned(now, (next, dry), state, queued) {
                Some(at) => self.timers.set(slot, &mut conn.armed, at),
                None => self.mark(slot),
            }
        }
    }
}

/// Sends a SYN, or a SYN-ACK, for packets of `mtu` bytes.
#[inline(never)]
fn say_syn(
    cx: &mut TcpCx<'_>,
    shared: (&mut Stamp, &mut Counters),
    conn: &mut Conn,
    says: Says,
    mtu: usize,
) {
    if let Some(Machine::Brief(brief)) = &conn.engine {
        let (offer, len) = brief.offer(mtu, says.flags & ACK != 0);
        say(cx, shared, conn, says, &offer[..len], 0);
    }
}

/// What a reset means in a state (Linux: `tcp_reset`).
pub(super) const fn reset_error(state: TcpState) -> Errno {
    match state {
        TcpState::SynSent => Errno::ConnRefused,
        TcpState::CloseWait => Errno::Pipe,
        _ => Errno::ConnReset,
    }
}
