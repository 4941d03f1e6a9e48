//! Held: a stream is read where it came, from its frames.
//!
//! After Linux's receive queue, whose buffers are those that the device filled. While super-segments or full frames come in
//! order and nothing goes the other way, smoltcp would copy what is in them into its buffer, move its numbers along and acknowledge.
//! Here the frames themselves wait for the reader, and acknowledgements and windows are told as smoltcp would. Its
//! sequence numbers are behind the true ones by what has been read, as [ping-pong](super::pingpong) keeps them.
//! Whatever else happens first has smoltcp [take over](Smol::part): it is given what waits to be read, told what was
//! said last, and is then where it would have been. What leaves is byte by byte what smoltcp would have
//! sent. Tests run the same traffic both ways.

use std::collections::VecDeque;

use switch::frame::{LARGE, SMALL};
use switch::{Frame, Pool, Time, copy};

use super::clock::ceiling;
use super::conn::ACK_DELAY;
use super::emit::{Emitter, Reply};
use super::engine::{Next, TcpEngine, TcpState};
use super::machine::Machine;
use super::paths::{PathIx, Shared};
use super::pingpong::HEADERS;
use super::run::guarded;
use super::segment::{ACK, PSH};
use super::smol::Smol;
use super::{Tcp, TcpCx, TcpId};

/// Bytes of the buffers of frames that wait for a reader; with more, smoltcp's buffer takes them all.
const MOST: usize = 16 * LARGE;
/// Full frames that smoltcp takes first, and how many a super-segment counts for.
const AFTER: u8 = 32;
const BURST: u8 = 8;
/// Bytes of a packet that make a frame a full one: it wastes no more than half of its buffer.
const FULL: usize = SMALL / 2;
/// Fewer bytes than these in a frame are shown together with those that follow, up to so many at once.
const FEW: usize = 4_096;
const TOGETHER: usize = 32 * 1024;
/// Bytes of data in one of the segments that smoltcp is given at the end.
const PIECE: usize = 60_000;

/// The time to live of what smoltcp answers at once.
const REPLY_HOPS: u8 = 64;

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// smoltcp has to take it.
    Not,
    /// It acknowledged what waits for that.
    Heeded,
    /// Its frame waits for the reader in place of its last so many bytes, and is to be [given](Held::push).
    Waits(usize),
    /// It found the window closed and is to be answered.
    Refused,
}

/// A segment of a stream, as its header has it, but for the initial sequence number's shift in the acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) window: u16,
    pub(super) flags: u8,
    /// Bytes of the TCP header.
    pub(super) header: usize,
    /// Bytes of data.
    pub(super) len: usize,
    /// It is a super-segment.
    pub(super) burst: bool,
    /// Bytes of the buffer that it came in.
    pub(super) room: usize,
}

/// Data in a frame.
#[derive(Debug)]
struct Parcel {
    frame: Frame,
    start: usize,
    end: usize,
}

impl Parcel {
    const fn len(&self) -> usize {
        self.end - self.start
    }

    fn bytes<'a>(&self, pool: &'a Pool) -> &'a [u8] {
        &pool.bytes(&self.frame)[self.start..self.end]
    }
}

/// What was acknowledged last, and the window field that smoltcp had for it.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    ack: u32,
    field: u16,
    at: Time,
    /// It was said here, and so much was unread then.
    unread: Option<usize>,
}

/// Data that has not been acknowledged: the first segment of it, and when the last one came.
#[derive(Clone, Copy, Debug)]
struct Owed {
    len: usize,
    at: Time,
    burst: bool,
    last_at: Time,
    /// When it is acknowledged; at once if there is no time.
    due: Option<Time>,
}

/// The frames that wait. Numbers are those of the wire, but for the initial sequence number's shift.
#[derive(Debug, Default)]
pub(super) struct Held {
    is_on: bool,
    /// Full frames that smoltcp took since it was given data to send, up to [`AFTER`].
    streak: u8,
    parcels: VecDeque<Parcel>,
    /// Bytes in them, and of their buffers.
    unread: usize,
    room: usize,
    /// The next number to come.
    expected: u32,
    said: Said,
    owed: Option<Owed>,
    /// Bytes that smoltcp has not seen and that had been read when something was said last, and those read since.
    past: u32,
    read: usize,
}

impl Held {
    #[inline]
    pub(super) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Frames wait, or may once smoltcp is at rest.
    #[inline]
    pub(super) const fn is_eager(&self) -> bool {
        self.is_on || self.streak >= AFTER
    }

    /// Frames wait, of which the last is not acknowledged.
    #[inline]
    pub(super) const fn is_owing(&self) -> bool {
        self.is_on && self.owed.is_some()
    }

    /// Bytes to read.
    #[inline]
    pub(super) const fn unread(&self) -> usize {
        self.unread
    }

    /// A packet came to smoltcp.
    pub(super) fn count(&mut self, len: usize, is_burst: bool) {
        let weight = if is_burst {
            BURST
        } else {
            u8::from(len >= FULL)
        };
        self.streak = (self.streak + weight).min(AFTER);
    }

    /// Data was given to be sent.
    #[inline]
    pub(super) const fn turn(&mut self) {
        self.streak = 0;
    }

    /// This was acknowledged last, and nothing waits.
    fn begin(&mut self, (ack, field): (u32, u16)) {
        (self.past, self.read, self.unread, self.owed) = (0, 0, 0, None);
        self.expected = ack;
        self.said = Said {
            ack,
            field,
            ..Said::default()
        };
    }

    /// After that came a message of `len` bytes, at this time, which has been read and is not acknowledged.
    pub(super) fn owe(&mut self, said: (u32, u16), (len, at): (usize, Time)) {
        self.begin(said);
        (self.is_on, self.read) = (true, len);
        self.expected = self.expected.wrapping_add(len as u32);
        self.owed = Some(Owed {
            len,
            at,
            burst: false,
            last_at: at,
            due: Some(ceiling(at) + ACK_DELAY),
        });
    }

    /// All has been read, and nothing is to be said of it any more: the next number to come, and how many bytes smoltcp has not
    /// seen.
    pub(super) fn forget(&mut self) -> (u32, u32) {
        debug_assert!(self.is_on && self.unread == 0 && self.parcels.is_empty());
        (self.is_on, self.owed) = (false, None);
        (self.expected, self.past.wrapping_add(self.read as u32))
    }

    /// Takes the frame of a segment that was [kept](Smol::keep), whose data is there.
    pub(super) fn push(&mut self, frame: Frame, start: usize, end: usize) {
        self.room += Pool::room_of(&frame);
        self.parcels.push_back(Parcel { frame, start, end });
    }

    /// Shows `look` the first bytes that wait, and takes as many as it says.
    pub(super) fn recv_with(
        &mut self,
        pool: &mut Pool,
        look: &mut dyn FnMut(&[u8]) -> usize,
    ) -> usize {
        let Some(first) = self.parcels.front() else {
            return 0;
        };
        let count = if first.len() >= FEW || self.parcels.len() == 1 {
            look(first.bytes(pool)).min(first.len())
        } else {
            let bytes = self.together(pool);
            look(&bytes).min(bytes.len())
        };
        self.take(pool, count);
        count
    }

    /// A copy of the first bytes that wait: whoever looks may have a call to make for each look.
    fn together(&self, pool: &Pool) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(TOGETHER.min(self.unread));
        for parcel in &self.parcels {
            if bytes.len() + parcel.len() > TOGETHER {
                break;
            }
            bytes.extend_from_slice(parcel.bytes(pool));
        }
        bytes
    }

    /// So many of the first bytes were read.
    fn take(&mut self, pool: &mut Pool, count: usize) {
        self.unread -= count;
        self.read += count;
        let mut left = count;
        while let Some(first) = self.parcels.front_mut() {
            let taken = left.min(first.len());
            first.start += taken;
            left -= taken;
            if first.len() > 0 {
                return;
            }
            if let Some(parcel) = self.parcels.pop_front() {
                self.room -= Pool::room_of(&parcel.frame);
                pool.free(parcel.frame);
            }
        }
    }

    /// Gives the bytes that wait, as many as `buffer` takes; how many.
    pub(super) fn recv(&mut self, pool: &mut Pool, buffer: &mut [u8]) -> usize {
        let mut given = 0;
        for parcel in &self.parcels {
            let count = parcel.len().min(buffer.len() - given);
            copy(
                &mut buffer[given..given + count],
                &parcel.bytes(pool)[..count],
            );
            given += count;
            if given == buffer.len() {
                break;
            }
        }
        self.take(pool, given);
        given
    }

    /// Gives the frames up.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Frame> + '_ {
        self.is_on = false;
        (self.unread, self.room) = (0, 0);
        self.parcels.drain(..).map(|parcel| parcel.frame)
    }

    /// Frames that wait.
    #[cfg(test)]
    pub(super) fn frames(&self) -> usize {
        self.parcels.len()
    }

    /// As new, for another connection.
    pub(super) fn reset(&mut self) {
        debug_assert!(self.parcels.is_empty(), "frames without a reader");
        let mut parcels = core::mem::take(&mut self.parcels);
        parcels.clear();
        *self = Self {
            parcels,
            ..Self::default()
        };
    }
}

impl Smol {
    /// What is to be done with a segment. It is noted if it is kept, or its answer written.
    #[inline]
    pub(super) fn keep(&mut self, now: Time, heard: &Heard, reply: &mut Reply) -> Kept {
        let is_plain = heard.flags & !PSH == ACK && heard.header == 20 && heard.len > 0;
        // An answer is about to leave.
        let is_answering = self.held.is_on && self.pingpong.is_on();
        if !is_plain || is_answering || !self.held.is_on && !self.may_hold(now, heard) {
            return Kept::Not;
        }
        let (capacity, held) = (self.recv_capacity(), &mut self.held);
        let edge = (held.said.ack).wrapping_add(u32::from(held.said.field) << self.shift);
        let room = edge.wrapping_sub(held.expected) as usize;
        // A probe may have brought the first of it.
        let known = held.expected.wrapping_sub(heard.seq) as usize;
        let new = heard.len.saturating_sub(known);
        let fits = new <= room && held.unread + new <= capacity && held.room + heard.room <= MOST;
        let is_next = new > 0 && self.pingpong.awaits(heard.ack, heard.window);
        if room == 0 && known == 0 && is_next && held.is_on && held.owed.is_none() {
            self.refuse(now, reply);
            return Kept::Refused;
        }
        if !fits || !is_next {
            return Kept::Not;
        }
        self.pingpong.yield_turn();
        held.is_on = true;
        held.expected = held.expected.wrapping_add(new as u32);
        held.unread += new;
        let mss = u32::from(self.pingpong.mss());
        let is_much = held.expected.wrapping_sub(held.said.ack) > mss;
        match &mut held.owed {
            Some(owed) => {
                owed.last_at = now;
                if is_much {
                    owed.due = None;
                }
            }
            None => {
                let delay = if heard.burst {
                    core::time::Duration::ZERO
                } else {
                    ACK_DELAY
                };
                held.owed = Some(Owed {
                    len: new,
                    at: now,
                    burst: heard.burst,
                    last_at: now,
                    due: Some(ceiling(now) + delay),
                });
            }
        }
        Kept::Waits(new)
    }

    /// Answers what asks for a closed window.
    #[cold]
    fn refuse(&mut self, now: Time, reply: &mut Reply) {
        let mut head = self.pingpong.bare(self.held.expected, REPLY_HOPS);
        self.window().tell(&mut head);
        reply.write(HEADERS, |packet| packet.copy_from_slice(&head));
        self.said(now);
    }

    /// smoltcp is at rest, or a super-segment answers a message that passed it by, and what it said last is known.
    fn may_hold(&mut self, now: Time, heard: &Heard) -> bool {
        let may = match self.pingpong.is_on() {
            true => heard.burst && !self.owes && self.pingpong.awaits_message(now),
            false => self.held.is_eager() && self.is_at_rest(),
        };
        let Some(said) = self.pingpong.told().filter(|_| may) else {
            return false;
        };
        self.held.begin(said);
        true
    }

    /// The window field that smoltcp would send.
    pub(super) fn field(&self) -> u16 {
        let room = self.ring_capacity() - self.held.unread;
        u16::try_from(room >> self.shift).unwrap_or(u16::MAX)
    }

    /// The window has opened far enough to be told.
    fn has_opened(&self) -> bool {
        let (held, field) = (&self.held, self.field());
        let edge = (held.said.ack).wrapping_add(u32::from(held.said.field) << self.shift);
        let known = edge.wrapping_sub(held.expected) >> self.shift;
        field > 0 && u32::from(field / 2) >= known.min(u32::from(u16::MAX))
    }

    /// When there is something to say.
    pub(super) fn next_said(&self, now: Time) -> Next {
        if self.has_opened() {
            return Next::Now;
        }
        match self.held.owed.map(|owed| owed.due) {
            None => Next::Never,
            Some(Some(at)) if at > ceiling(now) => Next::At(at),
            Some(_) => Next::Now,
        }
    }

    /// Acknowledges what came or tells the window, if either is due; whether it did.
    pub(super) fn say(&mut self, now: Time, out: &mut Emitter<'_>) -> bool {
        let due = self.held.owed.map(|owed| owed.due);
        let is_due = due.is_some_and(|at| at.is_none_or(|at| at <= ceiling(now)));
        if !is_due && !self.has_opened() {
            return false;
        }
        let mut head = self.pingpong.bare(self.held.expected, self.hop_limit());
        self.window().tell(&mut head);
        out.segment(HEADERS, 0, |packet| packet.copy_from_slice(&head));
        self.said(now);
        true
    }

    /// All that came has been acknowledged, and the window told.
    fn said(&mut self, now: Time) {
        let field = self.field();
        let held = &mut self.held;
        held.past = held.past.wrapping_add(held.read as u32);
        (held.read, held.owed) = (0, None);
        held.said = Said {
            ack: held.expected,
            field,
            at: now,
            unread: Some(held.unread),
        };
    }

    /// Ends: smoltcp is given what waits and told what was said.
    pub(super) fn part(&mut self, shared: &mut Shared, path: PathIx, pool: &mut Pool) {
        let mut unread = Vec::with_capacity(self.held.unread);
        for parcel in self.held.parcels.drain(..) {
            unread.extend_from_slice(&pool.bytes(&parcel.frame)[parcel.start..parcel.end]);
            pool.free(parcel.frame);
        }
        self.hand_over(shared, path, &unread);
    }

    /// The same with what waits.
    #[cold]
    #[inline(never)]
    pub(super) fn hand_over(&mut self, shared: &mut Shared, path: PathIx, unread: &[u8]) {
        let held = &mut self.held;
        debug_assert!(held.parcels.is_empty() && held.unread == unread.len());
        let (said, owed, past, read) = (held.said, held.owed.take(), held.past, held.read);
        let came = held.expected.wrapping_sub(said.ack) as usize;
        // What has been read is nobody's any more: any bytes will do.
        let mut bytes = vec![0; read];
        bytes.extend_from_slice(unread);
        (held.is_on, held.unread, held.room, held.streak) = (false, 0, 0, 0);
        let repeats = self.repeats();
        let mut seq = said.ack.wrapping_sub(said.unread.unwrap_or(0) as u32);
        let mut rest = &bytes[..];
        if let Some(unread) = said.unread {
            // A byte that has been read, for smoltcp to acknowledge with all of its window.
            self.pingpong.pass(past.wrapping_sub(1));
            self.feed(shared, path, (seq.wrapping_sub(1), said.at, true), &[0]);
            self.skip(1);
            self.say_unseen(shared, path, said.at);
            let (first, others) = rest.split_at(unread);
            if unread > 0 {
                self.feed(shared, path, (seq, said.at, true), first);
                self.say_unseen(shared, path, said.at);
            }
            (seq, rest) = (said.ack, others);
        }
        debug_assert_eq!(rest.len(), came);
        if let Some(owed) = owed {
            let (first, others) = rest.split_at(owed.len);
            self.feed(shared, path, (seq, owed.at, owed.burst), first);
            seq = seq.wrapping_add(first.len() as u32);
            self.feed(shared, path, (seq, owed.last_at, true), others);
        }
        self.skip(read);
        self.set_repeats(repeats);
        debug_assert_eq!(self.state(), TcpState::Established);
    }

    /// Has smoltcp acknowledge what it was given, which was said before.
    fn say_unseen(&mut self, shared: &mut Shared, path: PathIx, at: Time) {
        let told = self.output_unseen(shared, path, at);
        debug_assert!(told.is_some(), "smoltcp has nothing to say");
    }

    /// Gives smoltcp data from the number `seq` on, in super-segments if it was one.
    fn feed(
        &mut self,
        shared: &mut Shared,
        path: PathIx,
        (seq, at, burst): (u32, Time, bool),
        bytes: &[u8],
    ) {
        let mut reply = Reply::new();
        let mut seq = seq;
        for piece in bytes.chunks(PIECE) {
            let mut packet = self.pingpong.incoming(seq, piece);
            self.input(shared, path, at, &mut packet, burst, &mut reply);
            debug_assert!(reply.take().is_empty(), "an answer that was not sent");
            seq = seq.wrapping_add(piece.len() as u32);
        }
    }
}

impl Tcp {
    /// Has smoltcp take over what waits in frames, to be read or to be acknowledged, if any do; whether the connection is still there.
    pub(super) fn part(&mut self, cx: &mut TcpCx<'_>, id: TcpId) -> bool {
        let Some(conn) = self.slots.conn_mut(id) else {
            return false;
        };
        let Some(Machine::Engine(engine)) = &mut conn.engine else {
            return true;
        };
        if !engine.held.is_on() && !engine.queue.is_on() {
            return true;
        }
        let (shared, path) = (&mut self.shared, conn.path);
        let sound = guarded(|| engine.take_over(shared, path, cx.pool));
        if sound.is_none() {
            self.crashed(id.slot);
        }
        sound.is_some()
    }

    /// Puts what a connection that is over has left where the next one finds it.
    #[inline]
    pub(super) fn retire(cx: &mut TcpCx<'_>, mut machine: Option<Machine>) {
        if let Some(Machine::Engine(engine)) = &mut machine {
            for frame in engine.held.drain() {
                cx.pool.free(frame);
            }
            engine.queue.clear(cx.pool);
        }
        cx.spares.keep(machine);
    }
}
