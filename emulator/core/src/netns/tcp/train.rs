//! Trains: segments of one stream that came in one behind the other.
//!
//! Behind a segment whose frame [waits for its reader](super::held) others mostly follow that will, as many as the peer's window
//! lets through. For those it is known whose they are, that the connection is in the queue of those to run, and
//! what their acknowledgement says: they are read, checked and put with the others. The first that is
//! anything else stays where it is.

use switch::ring::{self, Waiting};
use switch::{Pool, Time};

use super::conn::Owner;
use super::emit::Reply;
use super::engine::{TcpEngine, TcpState};
use super::held::Kept;
use super::machine::Machine;
use super::plain::{Between, Plain};
use super::smol::Smol;
use super::{Tcp, TcpCx};
use crate::app::Family;

/// A stream whose segments come in.
struct Train<'a, E> {
    now: Time,
    /// Of the interface that they came in by.
    mac: [u8; 6],
    ends: E,
    shift: Option<u32>,
    pool: &'a mut Pool,
    engine: &'a mut Smol,
    reply: &'a mut Reply,
    /// The last that was taken.
    last: Option<Plain<E>>,
}

impl<E: Between> Train<'_, E> {
    /// Takes the frame of the next segment: its number and its bytes. `None`, and nothing has happened, if something is
    /// to be looked at.
    #[inline(always)]
    fn take(&mut self, place: ring::Held<'_>) -> Option<(u64, usize)> {
        let room = Pool::room_of(place.frame());
        if !self.pool.is_roomy() {
            return None;
        }
        let (meta, bytes) = self.pool.view_unique(place.frame())?;
        let segment = E::read(bytes, self.mac)?;
        let is_next = segment.is_of(&self.ends) && meta.gso_size == 0;
        if !is_next || !segment.is_sound(bytes, meta.csum_partial) {
            return None;
        }
        let len = bytes.len();
        let heard = segment.heard(false, room, self.shift);
        let Kept::Waits(new) = self.engine.keep(self.now, &heard, self.reply) else {
            return None;
        };
        let end = segment.end();
        self.engine.held.push(place.take(), end - new, end);
        self.last = Some(segment);
        Some((meta.id, len))
    }
}

impl Tcp {
    /// The last segment may be the first of a train of this family. Said once.
    #[inline(always)]
    pub(in crate::netns) const fn leads_train(&mut self) -> Option<Family> {
        self.leads_train.take()
    }

    /// Takes frames that wait, at most `most`, as far as they carry a stream on between these `addresses` whose last segment
    /// waits for its reader; how many. `tell` is told the number and the bytes of each.
    pub(in crate::netns) fn input_train<E: Between>(
        &mut self,
        cx: &mut TcpCx<'_>,
        waiting: &mut Waiting<'_>,
        most: usize,
        (mac, addresses): ([u8; 6], E::Addresses),
        mut tell: impl FnMut(u64, usize),
    ) -> usize {
        let first = waiting.frames().first();
        let first = first.filter(|frame| cx.pool.meta(frame).gso_size == 0);
        let Some(first) = first.and_then(|frame| E::read(cx.pool.bytes(frame), mac)) else {
            return 0;
        };
        let slot = self.find_plain(&first);
        let Some((slot, conn)) = slot.and_then(|slot| Some((slot, self.slots.conn_at(slot)?)))
        else {
            return 0;
        };
        let is_open = conn.queued && matches!(conn.owner, Owner::App);
        let engine = match &mut conn.engine {
            Some(Machine::Engine(engine)) if engine.held.is_owing() && !engine.queue.is_on() => {
                engine
            }
            _ => return 0,
        };
        let is_open = is_open && engine.glance().state == TcpState::Established;
        if !is_open || first.addresses() != addresses {
            return 0;
        }
        let mut train = Train {
            now: cx.now,
            mac,
            ends: first.ends,
            shift: conn.marks.shift,
            pool: cx.pool,
            engine,
            reply: &mut self.reply,
            last: None,
        };
        let count = waiting.take_while(most, |place| {
            train
                .take(place)
                .map(|(number, len)| tell(number, len))
                .is_some()
        });
        let Some(last) = train.last else {
            return 0;
        };
        #[cfg(test)]
        {
            self.on_trains += count;
        }
        // What they acknowledge is the same, and known.
        conn.acknowledged(
            cx.now,
            last.told().ack,
            last.told().window,
            TcpState::Established,
        );
        (conn.heard, conn.probes) = (cx.now, 0);
        self.now = cx.now;
        self.counters.segments_in += count as u64;
        self.counters.engine_runs += count as u64;
        cx.wake(self.slots.id(slot));
        count
    }
}
