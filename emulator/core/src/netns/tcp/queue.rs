//! The write queue: what a stream sends is written into the frames that carry it.
//!
//! After Linux's `sk_write_queue`, whose buffers go to the device and stay until they are acknowledged. smoltcp would copy
//! what a program gives into its buffer, and from there into frames. Here it goes into frames at once, cut where
//! smoltcp would cut it, which is also where its buffer ends, and a [`Claim`] keeps their bytes. The window, Nagle's rule and
//! smoltcp's timer are looked at as it does. Its sequence numbers are behind the true ones by what has been acknowledged, as
//! [ping-pong](super::pingpong) keeps them. A write of some length [begins](super::write); whatever is not so plain
//! [ends](super::settle): smoltcp is then where it would have been. What leaves is byte by byte what it would have
//! sent. Tests run the same traffic both ways.
//!
//! smoltcp's round-trip times are [kept](super::rtt), and [short](PROMPT), so that its retransmission timeout is the shortest.
//!
//! Left out: connections with congestion control.

use std::collections::VecDeque;

use switch::frame::{Claim, HEADROOM, LARGE, SMALL};
use switch::{Frame, Pool, Time, copy};

use super::clock::ceiling;
use super::engine::Next;
use super::express::MIN_RTO;
use super::held::Heard;
use super::pingpong::PROMPT;
use super::segment::{ACK, PSH};

/// Bytes of buffers that one queue may hold; with more, smoltcp's buffer takes them all.
const MOST: usize = 16 * LARGE;

/// A store's frame: ours, or under way.
#[derive(Debug)]
enum Place {
    Ours(Frame),
    Sent(Claim),
}

/// Data in a frame, behind room for headers.
#[derive(Debug)]
struct Store {
    place: Place,
    len: usize,
    /// When the first of it was sent.
    sent_at: Time,
}

/// How smoltcp cuts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// Bytes of a full segment, and of the longest that may be sent in its place.
    pub(super) mss: usize,
    pub(super) most: usize,
    /// Nagle's rule holds.
    pub(super) waits: bool,
}

/// smoltcp's timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Timer {
    #[default]
    Idle,
    /// What is under way is sent again.
    Again(Time),
    /// The peer is asked for its window.
    Probe(Time),
}

impl Timer {
    /// When it runs out; the end of time if never.
    pub(super) const fn at(self) -> Time {
        match self {
            Self::Idle => Time::MAX,
            Self::Again(at) | Self::Probe(at) => at,
        }
    }
}

/// The data that is not acknowledged. Numbers are those of the wire, but for the initial sequence number's shift.
#[derive(Debug, Default)]
pub(super) struct Queue {
    is_on: bool,
    /// Bytes of headers in front of data.
    pub(super) front: usize,
    /// The first bytes, so many, are smoltcp's, which has sent them; and whether it has not heard yet that the byte before
    /// these is acknowledged.
    pub(super) others: usize,
    pub(super) lags: bool,
    stores: VecDeque<Store>,
    /// The first of the stores, so many, have been sent, and so many bytes of the next.
    sent: usize,
    cut: usize,
    /// The first byte of the first store.
    pub(super) base: u32,
    /// The first byte that is not acknowledged, not sent, not given (`SND.UNA`, `SND.NXT` and behind it).
    pub(super) una: u32,
    pub(super) next: u32,
    pub(super) end: u32,
    /// Bytes of smoltcp's send buffer, and where in it the first byte that is not acknowledged would be.
    pub(super) capacity: usize,
    pub(super) at: usize,
    /// The peer's window, the field that smoltcp had of it last, and what that is scaled by.
    pub(super) window: usize,
    pub(super) field: u16,
    pub(super) shift: u8,
    /// smoltcp is to write what it owes before anything is sent: not sooner, since the window may close until then.
    pub(super) is_owing: bool,
    /// What is sent here tells a larger window than smoltcp did last, and whether something was.
    pub(super) tells_more: bool,
    pub(super) has_spoken: bool,
    /// Bytes acknowledged since this began, modulo 2³², whether any were, when the last were, and whether none were
    /// since smoltcp's buffer would have been empty.
    pub(super) acked: u32,
    pub(super) has_acked: bool,
    pub(super) acked_at: Time,
    pub(super) is_fresh: bool,
    /// What was not sent then, and when that was gone on with if it is the rest of a store.
    acked_next: u32,
    rest_at: Time,
    /// When the window was opened again that the last of these had closed, which stops smoltcp's timer; when the last of these
    /// came if that had been stopped before.
    pub(super) opened_at: Option<Time>,
    pub(super) timer: Timer,
    /// Bytes of the stores' buffers.
    room: usize,
    /// Bytes of segments that were not sent in their stores' frames.
    #[cfg(test)]
    pub(super) copied: usize,
}

impl Store {
    fn frame(&self) -> Option<&Frame> {
        match &self.place {
            Place::Ours(frame) => Some(frame),
            Place::Sent(_) => None,
        }
    }

    fn room(&self) -> usize {
        match &self.place {
            Place::Ours(frame) => Pool::room_of(frame),
            Place::Sent(claim) => Pool::room_of_claim(claim),
        }
    }

    /// Its data, which so many bytes of headers are in front of.
    fn bytes<'a>(&self, pool: &'a Pool, front: usize) -> &'a [u8] {
        match &self.place {
            Place::Ours(frame) => &pool.bytes(frame)[front..front + self.len],
            Place::Sent(claim) => pool.claimed(claim),
        }
    }

    fn release(self, pool: &mut Pool) {
        match self.place {
            Place::Ours(frame) => pool.free(frame),
            Place::Sent(claim) => pool.give_up(claim),
        }
    }
}

impl Queue {
    #[inline]
    pub(super) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Bytes that are not acknowledged.
    #[inline]
    pub(super) const fn queued(&self) -> usize {
        self.end.wrapping_sub(self.una) as usize
    }

    /// Bytes of them that are under way.
    #[inline]
    pub(super) const fn flight(&self) -> usize {
        self.next.wrapping_sub(self.una) as usize
    }

    /// The byte so far behind the first, by no more than the buffer's length, would be here in smoltcp's buffer.
    #[inline]
    pub(super) const fn place(&self, offset: usize) -> usize {
        let place = self.at + offset;
        if place < self.capacity {
            place
        } else {
            place - self.capacity
        }
    }

    /// Bytes of the segment that smoltcp would send now; 0 for none.
    #[inline]
    pub(super) fn due(&self, cut: &Cut) -> usize {
        let (queued, flight) = (self.queued(), self.flight());
        let may = self.window.min(queued).saturating_sub(flight);
        if may == 0 || cut.waits && flight > 0 && may < cut.mss {
            return 0;
        }
        may.min(cut.most).min(self.capacity - self.place(flight))
    }

    /// Takes data, as much as there is room for; how many bytes. Fewer, if the pool has no more buffers. So many bytes `follow`
    /// at once.
    pub(super) fn write(
        &mut self,
        pool: &mut Pool,
        now: Time,
        cut: &Cut,
        (bytes, follow): (&[u8], usize),
    ) -> usize {
        if self.queued() == 0 {
            (self.at, self.is_fresh) = (0, true);
        }
        let taken = bytes.len().min(self.capacity - self.queued());
        if taken > 0 && self.window == 0 && self.timer == Timer::Idle {
            // smoltcp asks at once for a window that was closed before, with what else it has to tell.
            let has_news = self.tells_more && !self.has_spoken;
            self.timer = Timer::Probe(if has_news {
                Time::ZERO
            } else {
                ceiling(now) + MIN_RTO
            });
        }
        let mut rest = &bytes[..taken];
        // The end of a long write is in front of the next one.
        let is_short = self.queued() == self.flight() && taken + follow <= self.small_data();
        while !rest.is_empty() {
            let count = self.append(pool, rest);
            if count == 0 && !self.add(pool, cut, is_short) {
                break;
            }
            self.end = self.end.wrapping_add(count as u32);
            rest = &rest[count..];
        }
        taken - rest.len()
    }

    /// Bytes of data in a small buffer.
    const fn small_data(&self) -> usize {
        SMALL - HEADROOM - self.front
    }

    /// Puts bytes into the last store; how many.
    fn append(&mut self, pool: &mut Pool, bytes: &[u8]) -> usize {
        if self.sent == self.stores.len() {
            return 0;
        }
        let Some(Store {
            place: Place::Ours(frame),
            len,
            ..
        }) = self.stores.back_mut()
        else {
            return 0;
        };
        let room = &mut pool.bytes_mut(frame)[self.front + *len..];
        let count = bytes.len().min(room.len());
        copy(&mut room[..count], &bytes[..count]);
        *len += count;
        count
    }

    /// Bytes from the next that is given to the end of its segment, if all that waits is sent at once. smoltcp begins anew at
    /// the end of its buffer.
    fn until_cut(&self, cut: &Cut) -> usize {
        let (begin, at) = (self.place(self.flight()), self.place(self.queued()));
        let begun = if at < begin { at } else { at - begin };
        (cut.most - begun % cut.most).min(self.capacity - at)
    }

    /// Adds a store that ends where a segment would, or before if only a short one is asked for; whether there is a buffer.
    fn add(&mut self, pool: &mut Pool, cut: &Cut, is_short: bool) -> bool {
        let most = match is_short {
            true => self.until_cut(cut).min(self.small_data()),
            false => self.until_cut(cut),
        };
        if self.room >= MOST || !pool.is_roomy() {
            return false;
        }
        let Some(frame) = pool.reserve(self.front + most) else {
            return false;
        };
        if self.stores.is_empty() {
            self.base = self.end;
        }
        self.room += Pool::room_of(&frame);
        self.stores.push_back(Store {
            place: Place::Ours(frame),
            len: 0,
            sent_at: Time::ZERO,
        });
        true
    }

    /// Whether a segment is an acknowledgement, or tells a larger window, and smoltcp would do no more with it than is done
    /// here. `since`: when the first of what smoltcp has was sent. A window that closes in front of bytes of smoltcp's stops its
    /// timer, which is not done here.
    pub(super) fn takes(
        &self,
        now: Time,
        heard: &Heard,
        expected: u32,
        since: Option<Time>,
    ) -> bool {
        let is_plain = heard.flags & !PSH == ACK && heard.header == 20 && heard.len == 0;
        let (new, flight) = (heard.ack.wrapping_sub(self.una) as usize, self.flight());
        let first = self.stores.front().map(|first| first.sent_at);
        let oldest = if self.others > 0 { since } else { first };
        let is_prompt = flight == 0 || oldest.is_none_or(|at| now <= at + PROMPT);
        let is_news = new > 0 || usize::from(heard.window) << self.shift > self.window;
        let stops_timer = heard.window == 0 && self.others > 0;
        let is_known = is_news && is_prompt && !stops_timer;
        is_plain && heard.seq == expected && new <= flight && is_known
    }

    /// Whether all that was given is acknowledged, by this segment if not before, and nothing else is to be done.
    pub(super) fn ends_with(&self, now: Time, heard: &Heard) -> bool {
        let first = self.stores.front().map(|first| first.sent_at);
        let is_prompt = match self.timer {
            Timer::Idle => self.flight() == 0,
            Timer::Again(_) => first.is_some_and(|at| now <= at + PROMPT),
            Timer::Probe(_) => false,
        };
        let is_all = self.next == self.end && heard.ack == self.end;
        is_all && is_prompt && self.others == 0 && !self.is_owing
    }

    /// All is acknowledged, and no frame is left of it.
    pub(super) fn is_empty(&self) -> bool {
        self.queued() == 0 && self.stores.is_empty()
    }

    /// What was sent here told a larger window than smoltcp did last, and has come.
    pub(super) const fn tells(&self) -> bool {
        self.tells_more && self.has_acked && self.start() == self.next
    }

    /// Ends, all being acknowledged, and is to be [trimmed](Self::trim): how many bytes smoltcp has not seen.
    pub(super) const fn end(&mut self) -> u32 {
        let passed = self.acked.wrapping_add(self.flight() as u32);
        (self.is_on, self.una) = (false, self.end);
        passed
    }

    /// Takes it in.
    pub(super) fn hear(&mut self, now: Time, heard: &Heard) {
        let (new, flight) = (heard.ack.wrapping_sub(self.una) as usize, self.flight());
        let others = new.min(self.others);
        self.window = usize::from(heard.window) << self.shift;
        if new > 0 {
            (self.acked_at, self.acked_next) = (now, self.next);
            self.una = heard.ack;
            self.at = self.place(new);
            self.others -= others;
            self.acked = self.acked.wrapping_add((new - others) as u32);
            self.has_acked |= new > others;
            self.is_fresh = false;
            self.opened_at = None;
        }
        let again_at = ceiling(now) + MIN_RTO;
        self.timer = match self.timer {
            Timer::Again(_) if new > 0 && new == flight => Timer::Idle,
            Timer::Again(_) if new > 0 => Timer::Again(again_at),
            timer => timer,
        };
        let may_probe = new > 0 || self.timer == Timer::Idle;
        self.timer = match self.timer {
            _ if self.window == 0 && self.queued() > 0 && may_probe => Timer::Probe(again_at),
            Timer::Probe(_) if self.window > 0 => {
                self.opened_at = self.opened_at.or(Some(now));
                Timer::Idle
            }
            Timer::Probe(_) if self.queued() == 0 => Timer::Idle,
            timer => timer,
        };
        if new > 0 && self.timer == Timer::Idle && self.flight() > 0 {
            self.opened_at = Some(now);
        }
    }

    /// Gives up what has been acknowledged.
    pub(super) fn trim(&mut self, pool: &mut Pool) {
        while self.sent > 0
            && let Some(first) = self.stores.front()
            && self.una.wrapping_sub(self.base) as i32 >= first.len as i32
        {
            self.base = self.base.wrapping_add(first.len as u32);
            self.room -= first.room();
            self.sent -= 1;
            if let Some(first) = self.stores.pop_front() {
                first.release(pool);
            }
        }
    }

    /// Buffers that nobody else owns.
    #[cfg(test)]
    pub(super) fn frames(&self, pool: &Pool) -> usize {
        let is_alone = |store: &&Store| match &store.place {
            Place::Ours(_) => true,
            Place::Sent(claim) => pool.is_last(claim),
        };
        self.stores.iter().filter(is_alone).count()
    }

    /// Gives up all of a connection that is over, to where there is no pool.
    pub(super) fn scatter(&mut self, frames: &mut Vec<Frame>, claims: &mut Vec<Claim>) {
        self.is_on = false;
        self.room = 0;
        for store in self.stores.drain(..) {
            match store.place {
                Place::Ours(frame) => frames.push(frame),
                Place::Sent(claim) => claims.push(claim),
            }
        }
    }

    /// Begins anew, with nothing in it.
    pub(super) fn begin(&mut self, front: usize) {
        *self = Self {
            is_on: true,
            front,
            stores: core::mem::take(&mut self.stores),
            ..Self::default()
        };
    }

    /// Nothing has been sent from this number on that is not smoltcp's.
    pub(super) const fn begin_at(&mut self, next: u32, others: usize) {
        (self.base, self.next, self.end) = (next, next, next);
        (self.una, self.acked_next) = (next.wrapping_sub(others as u32), next);
        self.others = others;
    }

    /// The first byte, of which nothing has been sent, has this number.
    pub(super) fn go_on_from(&mut self, next: u32) {
        debug_assert!(self.flight() == 0 && self.sent == 0 && self.cut == 0);
        let queued = self.queued();
        self.begin_at(next, 0);
        self.end = next.wrapping_add(queued as u32);
    }

    /// Keeps the room for stores of one that is over.
    pub(super) fn keep(&mut self, other: Self) {
        self.stores = other.stores;
    }

    /// Gives all up, as of a connection that is over.
    pub(super) fn clear(&mut self, pool: &mut Pool) {
        self.is_on = false;
        self.room = 0;
        for store in self.stores.drain(..) {
            store.release(pool);
        }
    }

    /// The next `count` bytes are the next store as it is.
    pub(super) fn is_whole(&self, count: usize) -> bool {
        let next = self.stores.get(self.sent);
        self.cut == 0 && next.is_some_and(|store| store.len == count && store.frame().is_some())
    }

    /// Takes the frame of the next store, which is as long as its segment, for that to be sent.
    pub(super) fn take_whole(&mut self, pool: &mut Pool, now: Time) -> Option<Frame> {
        let store = self.stores.get_mut(self.sent)?;
        let Place::Ours(frame) = &store.place else {
            return None;
        };
        pool.truncate(frame, self.front + store.len);
        let claim = pool.claim(frame, self.front);
        store.sent_at = now;
        self.sent += 1;
        match core::mem::replace(&mut store.place, Place::Sent(claim)) {
            Place::Ours(frame) => Some(frame),
            Place::Sent(_) => None,
        }
    }

    /// Copies the next `count` bytes into a frame, behind its headers.
    pub(super) fn copy_next(
        &mut self,
        pool: &mut Pool,
        now: Time,
        count: usize,
        target: Option<&Frame>,
    ) {
        #[cfg(test)]
        {
            self.copied += count;
        }
        if self.cut > 0 && self.next == self.acked_next {
            self.rest_at = now;
        }
        let mut done = 0;
        while done < count
            && let Some(store) = self.stores.get_mut(self.sent)
        {
            let part = (store.len - self.cut).min(count - done);
            if let (Some(target), Some(frame)) = (target, store.frame()) {
                let (from, to) = (self.front + self.cut, self.front + done);
                pool.copy_part((frame, from), (target, to), part);
            }
            if self.cut == 0 {
                store.sent_at = now;
            }
            done += part;
            self.cut += part;
            if self.cut == store.len {
                (self.sent, self.cut) = (self.sent + 1, 0);
            }
        }
    }

    /// The first byte that is not acknowledged and not smoltcp's.
    pub(super) const fn start(&self) -> u32 {
        self.una.wrapping_add(self.others as u32)
    }

    /// Bytes from there on that had been sent when something was acknowledged last.
    pub(super) fn before(&self) -> usize {
        let before = self.acked_next.wrapping_sub(self.start()) as i32;
        usize::try_from(before).unwrap_or(0)
    }

    /// All from [there](Self::start) on, and of what of it has been sent: where each part ends, and when it was.
    pub(super) fn gather(&self, pool: &Pool) -> (Vec<u8>, Vec<(usize, Time)>) {
        let (mut bytes, mut sent) = (Vec::new(), Vec::new());
        let flight = self.next.wrapping_sub(self.start()) as usize;
        let before = self.before();
        let mut skipped = self.start().wrapping_sub(self.base) as usize;
        for store in &self.stores {
            let part = &store.bytes(pool, self.front)[skipped.min(store.len)..];
            skipped -= store.len - part.len();
            if !part.is_empty() && bytes.len() < flight {
                let end = flight.min(bytes.len() + part.len());
                if bytes.len() < before && before < end {
                    sent.extend([(before, store.sent_at), (end, self.rest_at)]);
                } else {
                    sent.push((end, store.sent_at));
                }
            }
            bytes.extend_from_slice(part);
        }
        (bytes, sent)
    }

    /// When there is something to do.
    pub(super) fn next(&self, now: Time, cut: &Cut) -> Next {
        match self.timer.at() {
            _ if self.due(cut) > 0 => Next::Now,
            Time::MAX => Next::Never,
            at if at <= ceiling(now) => Next::Now,
            at => Next::At(at),
        }
    }
}
