//! One tracked connection: its two tuples, its state, its timer, and how `conntrack -L` prints it.
//!
//! After Linux `nf_conn` and the protocol parts of `nf_conntrack`, with their default timeouts. Left
//! out: marks, labels, helpers (FTP and the like), accounting, secctx.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use super::Direction;
use super::tcp::{self, Segment, Step, TcpState};
use super::tuple::{Flow, ICMP, ICMPV6, NO_WORDS, TCP, Tuple, UDP, Words, inverted};
use crate::time::Time;
use crate::verdict::IfId;

/// UDP before an answer, or in its first two seconds (`nf_conntrack_udp_timeout`).
const UDP_ONCE: Duration = Duration::from_secs(30);
/// UDP that goes both ways for longer (`nf_conntrack_udp_timeout_stream`).
const UDP_STREAM: Duration = Duration::from_secs(120);
/// How long a UDP flow has to last to be a stream.
const UDP_STREAM_AFTER: Duration = Duration::from_secs(2);
/// ICMP queries (`nf_conntrack_icmp_timeout`, `nf_conntrack_icmpv6_timeout`).
const ICMP_QUERY: Duration = Duration::from_secs(30);
/// What is a long time until a connection that is over is forgotten: half of `TIME_WAIT`.
const LONG: Duration = Duration::from_secs(60);
/// Packets of data each way that a short connection has: a last ACK, a request or an answer, and what acknowledges
/// the other side's.
const SHORT: u8 = 4;
/// Every other protocol (`nf_conntrack_generic_timeout`).
const GENERIC: Duration = Duration::from_secs(600);

/// Bits of a time that are left out where there is room for 32 others: 17 milliseconds, and two years in all.
const COARSE: u32 = 24;

/// A connection as the table knows it. What is looked at of one that stands there comes first, on one line of the cache
/// in the table; what packets look at beside that on the next.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Conn {
    /// When it is forgotten, unless a packet comes before.
    pub expires: Time,
    /// The time of its place in the queue of timers: never later than `expires`.
    pub(crate) queued: Time,
    /// What few connections have.
    rare: Option<Box<Rare>>,
    /// The first packet's tuple, if it is of IPv4.
    original: Words,
    /// The TCP state; `None` for other protocols.
    pub tcp: Option<TcpState>,
    /// There was an answer.
    pub seen_reply: bool,
    /// It is worth keeping: not evicted for new connections.
    pub assured: bool,
    /// The source is translated.
    pub source_nat: bool,
    /// The destination is translated.
    pub destination_nat: bool,
    /// It is in the table; before that only its first packet knows of it.
    pub(crate) confirmed: bool,
    /// It is among those that a full table may forget.
    pub(crate) is_evictable: bool,
    /// Its first packet was sent by this namespace itself.
    pub(crate) local: bool,
    /// The rules for the source have been asked.
    pub(crate) source_done: bool,
    /// The rules for the destination have been asked.
    pub(crate) destination_done: bool,
    /// Packets of each direction that were nothing but data, as far as they were counted.
    data: [u8; 2],
    /// A UDP flow is no stream before this, in units of [`COARSE`].
    young: u32,
    /// It is one from here on.
    stream_at: Time,
    /// What was said of its packets last.
    pub(crate) said: Said,
    /// The tuple that answers come with, if it is of IPv4.
    reply: Words,
    /// Its number: the order in which connections were made.
    pub number: u64,
}

/// What few connections have, out of the way of the others.
#[derive(Clone, Debug, Default)]
struct Rare {
    /// Both tuples, if one is not of IPv4.
    wide: Option<[Tuple; 2]>,
    /// The original tuple between the two translations, if there are two.
    middle: Option<Tuple>,
}

/// What the hooks said last of packets of a connection, so that they need not be asked again: a number for each direction
/// and state, which means something to them in one of their epochs, where the packets came in by one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, packed(2))]
pub(crate) struct Said {
    input: u32,
    epoch: u32,
    answers: [u16; 3],
}

impl Said {
    const NOTHING: u16 = u16::MAX;

    /// Nothing yet.
    pub(crate) const NEW: Self = Self {
        answers: [Self::NOTHING; 3],
        input: 0,
        epoch: 0,
    };

    #[inline]
    const fn place(direction: Direction, answered: bool) -> usize {
        match (direction, answered) {
            (Direction::Original, false) => 0,
            (Direction::Original, true) => 1,
            (Direction::Reply, _) => 2,
        }
    }

    /// What was said of a packet in this direction, of a connection that was answered or not.
    #[inline]
    pub(crate) const fn of(
        &self,
        (input, epoch): (IfId, u32),
        direction: Direction,
        answered: bool,
    ) -> Option<u32> {
        let answer = self.answers[Self::place(direction, answered)];
        if answer == Self::NOTHING || self.input != input.0 || self.epoch != epoch {
            return None;
        }
        Some(answer as u32)
    }

    /// This was said of it. An answer above 65,534 is not kept.
    pub(crate) fn keep(
        &mut self,
        (input, epoch): (IfId, u32),
        (direction, answered): (Direction, bool),
        answer: u32,
    ) {
        if (self.input, self.epoch) != (input.0, epoch) {
            *self = Self {
                input: input.0,
                epoch,
                ..Self::NEW
            };
        }
        let answer = u16::try_from(answer).unwrap_or(Self::NOTHING);
        self.answers[Self::place(direction, answered)] = answer;
    }
}

/// What a packet means for its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advance {
    /// It goes on.
    Live,
    /// It ends with this packet (a connection refused).
    Over,
    /// The packet does not belong to it.
    Invalid,
    /// It was over; the packet starts a new one.
    Reopen,
}

impl Conn {
    #[cfg(test)]
    pub(super) const FIRST_LINE: usize = core::mem::offset_of!(Self, stream_at);

    /// The connection that `flow` starts, if it may start one.
    pub(crate) fn start(now: Time, number: u64, flow: &Flow) -> Option<Self> {
        let tuple = flow.tuple;
        let (tcp, timeout) = match tuple.protocol {
            TCP => {
                let state = tcp::first(Segment::of(flow.flags)?)?;
                let timeout = match state {
                    TcpState::Established => tcp::UNACKNOWLEDGED,
                    other => other.timeout(),
                };
                (Some(state), timeout)
            }
            UDP => (None, UDP_ONCE),
            ICMP | ICMPV6 => {
                let kind = (tuple.destination_port >> 8) as u8;
                if !super::tuple::is_query(tuple.protocol, kind) {
                    return None;
                }
                (None, ICMP_QUERY)
            }
            _ => (None, GENERIC),
        };
        let stream_at = now + UDP_STREAM_AFTER;
        let mut conn = Self {
            original: NO_WORDS,
            reply: NO_WORDS,
            rare: None,
            number,
            tcp,
            seen_reply: false,
            assured: false,
            source_nat: false,
            destination_nat: false,
            expires: now + timeout,
            confirmed: false,
            is_evictable: false,
            local: false,
            source_done: false,
            destination_done: false,
            queued: Time::MAX,
            young: u32::try_from(stream_at.as_nanos() >> COARSE).unwrap_or(u32::MAX),
            stream_at,
            said: Said::NEW,
            data: [0; 2],
        };
        match tuple.words() {
            Some(words) if tuple.has_ports() => {
                (conn.original, conn.reply) = (words, inverted(words));
            }
            _ => conn.set_tuples(tuple, tuple.inverted()),
        }
        Some(conn)
    }

    /// The first packet's tuple as it came.
    #[must_use]
    #[inline]
    pub fn original(&self) -> Tuple {
        match self.wide() {
            None => Tuple::of_words(self.original),
            Some(tuples) => tuples[0],
        }
    }

    /// The tuple that answers come with: the original's inverse after translation.
    #[must_use]
    #[inline]
    pub fn reply(&self) -> Tuple {
        match self.wide() {
            None => Tuple::of_words(self.reply),
            Some(tuples) => tuples[1],
        }
    }

    /// Answers come with another tuple.
    pub(crate) fn set_reply(&mut self, reply: Tuple) {
        match reply.words() {
            Some(words) if self.wide().is_none() => self.reply = words,
            _ => self.set_tuples(self.original(), reply),
        }
    }

    pub(super) fn set_tuples(&mut self, original: Tuple, reply: Tuple) {
        let both = (original.words(), reply.words());
        self.original = both.0.unwrap_or(NO_WORDS);
        self.reply = both.1.unwrap_or(NO_WORDS);
        let wide = match both {
            (Some(_), Some(_)) => None,
            _ => Some([original, reply]),
        };
        if wide.is_some() || self.rare.is_some() {
            self.rare.get_or_insert_default().wide = wide;
        }
    }

    /// Both tuples, if one is not of IPv4.
    #[inline]
    fn wide(&self) -> Option<&[Tuple; 2]> {
        self.rare.as_ref()?.wide.as_ref()
    }

    /// The original tuple between the two translations, if there are two.
    #[inline]
    pub(crate) fn middle(&self) -> Option<&Tuple> {
        self.rare.as_ref()?.middle.as_ref()
    }

    /// The same, to be set.
    pub(crate) fn set_middle(&mut self, middle: Option<Tuple>) {
        if middle.is_some() || self.rare.is_some() {
            self.rare.get_or_insert_default().middle = middle;
        }
    }

    /// Which of its tuples these words are.
    #[inline(always)]
    pub(super) fn direction_of(&self, words: Words) -> Option<Direction> {
        if self.original == words {
            return Some(Direction::Original);
        }
        let is_reply = match self.is_its_inverse() {
            true => self.original == inverted(words),
            false => self.reply == words,
        };
        is_reply.then_some(Direction::Reply)
    }

    /// Which of its tuples this one is, which is not of IPv4.
    #[inline]
    pub(super) fn direction_of_wide(&self, tuple: &Tuple) -> Option<Direction> {
        let [original, reply] = self.wide()?;
        if original == tuple {
            return Some(Direction::Original);
        }
        (reply == tuple).then_some(Direction::Reply)
    }

    /// Nothing translates it and it has ports: its tuples are each other's inverse.
    #[inline]
    pub(super) const fn is_its_inverse(&self) -> bool {
        let protocol = (self.original[0] >> 48) as u8;
        !self.source_nat && !self.destination_nat && matches!(protocol, TCP | UDP)
    }

    /// The words of its first tuple, if that and the other are [each other's inverse](Self::is_its_inverse).
    #[inline]
    pub(super) fn own_words(&self) -> Option<Words> {
        self.is_its_inverse().then_some(self.original)
    }

    /// The words of both tuples, if they are of IPv4.
    #[inline]
    pub(crate) fn words(&self) -> Option<[Words; 2]> {
        match self.wide() {
            None => Some([self.original, self.reply]),
            Some(_) => None,
        }
    }

    /// One more packet in `direction` that is nothing but data; whether there have been so many that more
    /// are to be expected.
    pub(crate) const fn goes_on(&mut self, direction: Direction) -> bool {
        let data = &mut self.data[direction as usize];
        *data = data.saturating_add(1);
        *data > SHORT
    }

    /// There [have been](Self::goes_on) so many.
    pub(crate) const fn has_gone_on(&self, direction: Direction) -> bool {
        self.data[direction as usize] > SHORT
    }

    /// One of its ends is translated, or it is not known yet whether.
    pub(crate) const fn is_translated(&self) -> bool {
        let is_mapped = self.source_done && self.destination_done;
        self.source_nat || self.destination_nat || !is_mapped
    }

    /// It is of UDP, or established: data and acknowledgements change nothing but its timer.
    #[inline]
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.tcp, None | Some(TcpState::Established))
    }

    /// [`Self::advance`] by a packet that neither ends it nor starts another. False, and nothing has happened, if it
    /// may do that or does not belong to it.
    #[inline(always)]
    pub(crate) fn advance_living(&mut self, now: Time, direction: Direction, flags: u8) -> bool {
        let Some(state) = self.tcp else {
            return self.advance(now, direction, flags) == Advance::Live;
        };
        let Some(segment) = Segment::of(flags) else {
            return false;
        };
        let is_refusal = segment == Segment::Rst && !self.seen_reply;
        match tcp::step(state, direction, segment) {
            Step::To(next) if !is_refusal => self.become_tcp(now, direction, state, next),
            Step::Ignore if !is_refusal => {}
            _ => return false,
        }
        self.seen_reply |= direction == Direction::Reply;
        true
    }

    /// [`Self::advance`] by a packet of nothing but data, in a connection that [is open](Self::is_open).
    #[inline(always)]
    pub(crate) fn advance_open(&mut self, now: Time, direction: Direction) {
        let is_answer = direction == Direction::Reply;
        if self.tcp.is_none() {
            self.advance_udp(now);
        } else if self.seen_reply || is_answer {
            self.expires = now + TcpState::Established.timeout();
            self.assured = true;
        } else {
            self.expires = now + tcp::UNACKNOWLEDGED;
        }
        self.seen_reply |= is_answer;
    }

    /// [`Self::advance_open`] by a packet that only has it live on: not the first answer, and it is assured already if
    /// the packet would make it so. False, and nothing has happened, if it is another, or the connection has run out.
    #[inline(always)]
    pub(crate) fn live_on(&mut self, now: Time) -> bool {
        let (expires, is_assured) = match self.tcp {
            // It is a stream since it was assured, or too young for one: so the second line need not be asked.
            None if self.assured => (now + UDP_STREAM, true),
            None => {
                let is_young = now.as_nanos() >> COARSE < u64::from(self.young);
                let is_once = !self.seen_reply || is_young || now <= self.stream_at;
                (now + UDP_ONCE, is_once)
            }
            Some(TcpState::Established) => {
                let expires = now + TcpState::Established.timeout();
                (expires, self.seen_reply && self.assured)
            }
            Some(_) => return false,
        };
        let lives = is_assured && !self.is_expired(now);
        if lives {
            self.expires = expires;
        }
        lives
    }

    /// Accounts for a packet of this connection in `direction`.
    #[inline]
    pub(crate) fn advance(&mut self, now: Time, direction: Direction, flags: u8) -> Advance {
        let advance = match self.protocol() {
            TCP => self.advance_tcp(now, direction, flags),
            UDP => {
                self.advance_udp(now);
                Advance::Live
            }
            ICMP | ICMPV6 => {
                self.expires = now + ICMP_QUERY;
                Advance::Live
            }
            _ => {
                self.expires = now + GENERIC;
                Advance::Live
            }
        };
        if direction == Direction::Reply && matches!(advance, Advance::Live | Advance::Over) {
            self.seen_reply = true;
        }
        advance
    }

    /// The packet that makes the answer known still counts as before it, as in Linux.
    #[inline(always)]
    fn advance_udp(&mut self, now: Time) {
        let stream = self.seen_reply && now > self.stream_at;
        self.assured |= stream;
        self.expires = now + if stream { UDP_STREAM } else { UDP_ONCE };
    }

    fn advance_tcp(&mut self, now: Time, direction: Direction, flags: u8) -> Advance {
        let (Some(state), Some(segment)) = (self.tcp, Segment::of(flags)) else {
            return Advance::Invalid;
        };
        let next = match tcp::step(state, direction, segment) {
            Step::To(next) => next,
            Step::Ignore => return Advance::Live,
            Step::Invalid => return Advance::Invalid,
            Step::Reopen => return Advance::Reopen,
        };
        if !self.seen_reply && segment == Segment::Rst {
            self.tcp = Some(next);
            self.expires = now;
            return Advance::Over;
        }
        self.become_tcp(now, direction, state, next);
        Advance::Live
    }

    /// A segment in `direction` has moved it from one state on to the next.
    #[inline(always)]
    fn become_tcp(&mut self, now: Time, direction: Direction, state: TcpState, next: TcpState) {
        self.tcp = Some(next);
        let answered = self.seen_reply || direction == Direction::Reply;
        self.expires = match next {
            TcpState::Established if !answered => now + tcp::UNACKNOWLEDGED,
            other => other.runs_out(now),
        };
        let opened = matches!(state, TcpState::SynRecv | TcpState::Established);
        self.assured |= answered && opened && next == TcpState::Established;
    }

    /// It is over, and a segment with these flags starts a new connection in its place.
    #[inline]
    pub(crate) fn is_reopened_by(&self, direction: Direction, flags: u8) -> bool {
        let Some(state @ (TcpState::TimeWait | TcpState::Close)) = self.tcp else {
            return false;
        };
        Segment::of(flags).is_some_and(|by| tcp::step(state, direction, by) == Step::Reopen)
    }

    /// When it is to be looked at first, no later than it runs out. That a TCP connection runs out sooner as it goes from
    /// state to state moves nothing then.
    #[inline]
    pub(crate) fn looked_at(&self, now: Time) -> Time {
        match self.tcp {
            Some(_) => self.expires.min(now + TcpState::Close.timeout()),
            None => self.expires,
        }
    }

    /// Its place in the queue of timers is later than it runs out; or it is over and will be for long, so that
    /// its place is best set now, when all that end do so in order.
    #[inline]
    pub(crate) fn is_misplaced(&self) -> bool {
        self.expires < self.queued
            || (self.tcp == Some(TcpState::TimeWait) && self.expires > self.queued + LONG)
    }

    /// Whether it has run out.
    #[must_use]
    #[inline]
    pub fn is_expired(&self, now: Time) -> bool {
        now >= self.expires
    }

    fn protocol(&self) -> u8 {
        self.original().protocol
    }

    /// Whether one of its ends, before or after translation, is `address`.
    #[must_use]
    pub fn concerns(&self, address: IpAddr) -> bool {
        [self.original(), self.reply()]
            .iter()
            .any(|tuple| tuple.source == address || tuple.destination == address)
    }

    /// The connection as `conntrack -L` prints it.
    #[must_use]
    pub const fn line(&self, now: Time) -> Line<'_> {
        Line { conn: self, now }
    }
}

/// Prints a connection in one line, like `conntrack -L`.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    conn: &'a Conn,
    now: Time,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conn = self.conn;
        let protocol = conn.protocol();
        let left = conn.expires.since(self.now).as_secs();
        write!(f, "{:<8} {protocol} {left} ", word(protocol))?;
        if let Some(state) = conn.tcp {
            write!(f, "{} ", state.word())?;
        }
        direction(f, &conn.original())?;
        if !conn.seen_reply {
            f.write_str("[UNREPLIED] ")?;
        }
        direction(f, &conn.reply())?;
        if conn.assured {
            f.write_str("[ASSURED] ")?;
        }
        f.write_str("mark=0 use=1")
    }
}

const fn word(protocol: u8) -> &'static str {
    match protocol {
        ICMP => "icmp",
        TCP => "tcp",
        UDP => "udp",
        ICMPV6 => "icmpv6",
        132 => "sctp",
        _ => "unknown",
    }
}

fn direction(f: &mut fmt::Formatter<'_>, tuple: &Tuple) -> fmt::Result {
    write!(f, "src={} dst={} ", tuple.source, tuple.destination)?;
    if tuple.has_ports() {
        write!(
            f,
            "sport={} dport={} ",
            tuple.source_port, tuple.destination_port
        )?;
    } else if tuple.is_icmp() {
        let (kind, code) = (tuple.destination_port >> 8, tuple.destination_port & 0xff);
        write!(f, "type={kind} code={code} id={} ", tuple.source_port)?;
    }
    Ok(())
}
