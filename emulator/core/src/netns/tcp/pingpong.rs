//! Ping-pong: small messages that are answered at once pass smoltcp by.
//!
//! Named after Linux's `inet_csk_enter_pingpong_mode`. In an exchange of requests and responses each segment is
//! short, in order, acknowledges all that was sent before and is read before the answer goes. Then smoltcp would
//! only move its numbers along, so that the engine does this itself: what was heard and what was said last are kept
//! here, and forgotten when they are read and acknowledged, with the bytes counted that smoltcp has not seen. Its
//! sequence numbers are behind the true ones by these. Whatever is not so plain first has smoltcp
//! [catch up](super::smol::Smol::catch_up): it is given what was heard and said, at the times at which that was, and is
//! then where it would have been. A message longer than a segment [follows](super::turn) without that.
//!
//! What leaves is byte by byte what smoltcp would have sent, its header being the last one that it wrote.
//! Tests run the same traffic both ways. Begins when a connection has sent more data than a short one does.

mod catch_up;
mod heads;

use core::time::Duration;

use switch::Time;

pub(super) use self::catch_up::{is_alone, is_at_rest};
pub(super) use self::heads::option;
use self::heads::{put, word};
use super::clock::ceiling;
use super::conn::ACK_DELAY;
use super::emit::Emitter;
use super::engine::Next;
use super::express::MIN_RTO;
use super::held::Heard;
use super::rtt::Rtt;
use super::segment::{ACK, PSH};

/// The longest message: that of a full segment on Ethernet.
const LIMIT: usize = 1460;
/// Headers of IPv4 and TCP without options.
pub(super) const HEADERS: usize = 40;
/// Segments with data that smoltcp sends first.
const AFTER: u8 = 4;
/// RFC 9293 §3.7.1: what a peer takes that does not say.
const DEFAULT_MSS: u16 = 536;
/// smoltcp believes in no less.
const MIN_MSS: u16 = 48;
/// An acknowledgement that took longer is not of what is quick enough to pass smoltcp by.
pub(super) const PROMPT: Duration = Duration::from_millis(100);
/// RFC 7323 §2.3.
const MAX_SHIFT: u8 = 14;
/// MSS, window scale and SACK options.
const KIND_MSS: u8 = 2;
pub(super) const KIND_SCALE: u8 = 3;
const KIND_SACK: u8 = 5;

/// A connection's ping-pong. Numbers are those of the wire, but for the initial sequence number's shift.
#[derive(Debug)]
pub(super) struct Pingpong {
    /// It is under way: smoltcp is open and has nothing to send, to give or to acknowledge but what is here.
    is_on: bool,
    /// smoltcp is to write what it owes before the first message goes: not sooner, since the window may close until then.
    is_owing: bool,
    /// Never on this connection.
    is_off: bool,
    /// smoltcp may have data that came out of order.
    has_gap: bool,
    /// `head` acknowledges all that smoltcp has had, with the window of an empty buffer.
    is_current: bool,
    /// Segments with data sent by smoltcp, up to [`AFTER`].
    sent: u8,
    /// The largest segment that the peer takes.
    mss: u16,
    /// Now, and since when something that smoltcp sent has not been acknowledged.
    now: Time,
    since: Option<Time>,
    pub(super) rtt: Rtt,
    /// The window field that smoltcp knows of, if that is sure, and what the peer's windows are scaled by.
    window: Option<u16>,
    peer_shift: u8,
    /// The window field that came last, the largest, and the window of the SYN, which is not scaled.
    field: u16,
    widest: u16,
    syn_window: u16,
    /// What smoltcp acknowledged last and the window field that it had for that, if both are sure; its number.
    told: Option<(u32, u16)>,
    /// The headers that smoltcp wrote last.
    head: [u8; HEADERS],
    /// What follows the last byte sent, and the last byte that came.
    next: u32,
    expected: u32,
    /// Bytes sent, and bytes that came, that smoltcp has not seen.
    sent_past: u32,
    come_past: u32,
    /// What came last, how much of it has been read, when it came, and whether it is acknowledged.
    heard: Vec<u8>,
    read: usize,
    heard_at: Time,
    is_answered: bool,
    /// What was sent last, or is to be sent if there is no time of it.
    said: Vec<u8>,
    said_at: Option<Time>,
}

impl Default for Pingpong {
    fn default() -> Self {
        Self {
            is_on: false,
            is_owing: false,
            is_off: false,
            has_gap: false,
            is_current: false,
            sent: 0,
            mss: DEFAULT_MSS,
            now: Time::ZERO,
            since: None,
            rtt: Rtt::default(),
            window: None,
            peer_shift: 0,
            field: 0,
            widest: 0,
            syn_window: 0,
            told: None,
            head: [0; HEADERS],
            next: 0,
            expected: 0,
            sent_past: 0,
            come_past: 0,
            heard: Vec::new(),
            read: 0,
            heard_at: Time::ZERO,
            is_answered: false,
            said: Vec::new(),
            said_at: None,
        }
    }
}

impl Pingpong {
    /// As new, for another connection.
    pub(super) fn reset(&mut self) {
        if self.sent == 0
            && !self.is_on
            && !self.is_off
            && !self.has_gap
            && self.told.is_none()
            && self.since.is_none()
            && self.rtt.is_new()
            && self.mss == DEFAULT_MSS
            && self.peer_shift == 0
            && self.syn_window == 0
        {
            return;
        }
        let (mut heard, mut said) = (
            core::mem::take(&mut self.heard),
            core::mem::take(&mut self.said),
        );
        heard.clear();
        said.clear();
        *self = Self {
            heard,
            said,
            ..Self::default()
        };
    }

    /// smoltcp is about to be called at this time.
    pub(super) const fn tell(&mut self, now: Time) {
        self.now = now;
    }

    /// The largest segment that the peer takes, as smoltcp has it.
    pub(super) const fn mss(&self) -> u16 {
        self.mss
    }

    /// What smoltcp acknowledged last, and the window field that it had for that; `None` if that is not sure, or if
    /// something that came was not in order.
    pub(super) fn told(&self) -> Option<(u32, u16)> {
        let (ack, field) = self.told.filter(|_| !self.has_gap)?;
        Some((ack.wrapping_add(self.come_past), field))
    }

    /// What smoltcp [told](Self::told), whether anything was in order or not; to be set back.
    pub(super) const fn told_last(&self) -> Option<(u32, u16)> {
        self.told
    }

    pub(super) const fn set_told_last(&mut self, told: Option<(u32, u16)>) {
        self.told = told;
    }

    /// smoltcp acknowledged all that came, and had this window field for that.
    pub(super) const fn set_told(&mut self, field: u16) {
        self.told = Some((self.expected.wrapping_sub(self.come_past), field));
    }

    /// A segment with this acknowledgement and window tells nothing new.
    pub(super) fn awaits(&self, ack: u32, window: u16) -> bool {
        ack == self.next && Some(window) == self.window
    }

    /// The window field that smoltcp knows of, if that is sure.
    pub(super) const fn window_told(&self) -> Option<u16> {
        self.window
    }

    /// The other side told this window.
    pub(super) fn set_window(&mut self, field: u16) {
        self.window = Some(field);
        self.widest = self.widest.max(field);
    }

    /// The window field that smoltcp knows of, or one that it may have refused after that.
    pub(super) fn field(&self) -> u16 {
        self.window.unwrap_or(self.field)
    }

    /// The largest window that the other side told, in bytes.
    pub(super) fn widest(&self) -> u32 {
        let scaled = u32::from(self.widest) << self.peer_shift;
        scaled.max(self.syn_window.into())
    }

    /// The largest window field, to be [set back](Self::set_widest) after one that was made up.
    pub(super) const fn widest_field(&self) -> u16 {
        self.widest
    }

    pub(super) const fn set_widest(&mut self, field: u16) {
        self.widest = field;
    }

    /// What the other side's windows are scaled by, as smoltcp has it.
    pub(super) const fn peer_shift(&self) -> u8 {
        self.peer_shift
    }

    /// What follows the last byte sent, and the last byte that came.
    pub(super) const fn ends(&self) -> (u32, u32) {
        (self.next, self.expected)
    }

    /// The last headers acknowledge all that came, whatever window they tell; whether that is known.
    pub(super) fn is_up_to_date(&mut self) -> bool {
        if let Some((ack, _)) = self.told.filter(|_| !self.is_current) {
            self.expected = ack.wrapping_add(self.come_past);
        }
        self.is_current || self.told.is_some()
    }

    /// `head` acknowledges all that smoltcp has had, with the window of an empty buffer.
    pub(super) const fn is_current(&self) -> bool {
        self.is_current
    }

    /// Since when something that smoltcp sent has not been acknowledged.
    pub(super) const fn since(&self) -> Option<Time> {
        self.since
    }

    /// The first of that was sent at this time.
    pub(super) const fn set_since(&mut self, at: Time) {
        self.since = Some(at);
    }

    /// Data may pass smoltcp by: nothing has been slow.
    pub(super) const fn may_stream(&self) -> bool {
        !self.is_off && !self.has_gap
    }

    /// What was sent ends here.
    pub(super) const fn sent_to(&mut self, next: u32) {
        self.next = next;
    }

    /// So many bytes more that were sent are past smoltcp.
    pub(super) const fn pass_sent(&mut self, count: u32) {
        self.sent_past = self.sent_past.wrapping_add(count);
    }

    /// So many bytes more that came are past smoltcp.
    pub(super) const fn pass(&mut self, count: u32) {
        self.come_past = self.come_past.wrapping_add(count);
    }

    /// Off for good.
    pub(super) const fn forbid(&mut self) {
        self.is_off = true;
        self.has_gap = true;
    }

    /// What smoltcp wrote last has the window of a buffer that is not empty.
    pub(super) const fn outdate(&mut self) {
        self.is_current = false;
    }

    #[inline]
    pub(super) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Bytes to read.
    pub(super) const fn unread(&self) -> usize {
        self.heard.len() - self.read
    }

    /// Bytes not acknowledged.
    pub(super) const fn unacknowledged(&self) -> usize {
        self.said.len()
    }

    /// The time to live of what is sent.
    pub(super) const fn set_hop_limit(&mut self, hops: u8) {
        self.head[8] = hops;
    }

    /// So many bytes fit into one segment that the peer has room for.
    fn fits(&self, len: usize) -> bool {
        let most = self.mss.min(self.window.unwrap_or(0));
        len <= LIMIT.min(usize::from(most))
    }

    /// So many bytes would be a message, with what is to be said already.
    pub(super) const fn is_message(&self, len: usize) -> bool {
        self.said.len() + len <= LIMIT
    }

    /// Takes a message to be sent with the next segment; whether it fits.
    pub(super) fn say(&mut self, bytes: &[u8]) -> bool {
        let is_first = self.said_at.is_none();
        let fits = is_first && self.fits(self.said.len() + bytes.len());
        if fits {
            self.said.extend_from_slice(bytes);
        }
        fits
    }

    /// Sends what is to be said; whether it can.
    fn speak(&mut self, now: Time, mtu: usize, out: &mut Emitter<'_>) -> bool {
        let len = HEADERS + self.said.len();
        if self.said_at.is_some() || self.said.is_empty() || self.unread() > 0 || len > mtu {
            return false;
        }
        out.segment(len, 0, |packet| {
            let Some((head, data)) = packet.split_first_chunk_mut::<HEADERS>() else {
                return;
            };
            *head = self.head;
            head[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            head[24..28].copy_from_slice(&self.next.to_be_bytes());
            head[28..32].copy_from_slice(&self.expected.to_be_bytes());
            head[33] = ACK | PSH;
            data.copy_from_slice(&self.said);
        });
        self.next = self.next.wrapping_add(self.said.len() as u32);
        self.said_at = Some(now);
        self.is_answered = true;
        self.forget_heard();
        true
    }

    /// What was sent is acknowledged.
    fn forget_said(&mut self) {
        if self.said_at.take().is_some() {
            self.sent_past = self.sent_past.wrapping_add(self.said.len() as u32);
            self.said.clear();
        }
    }

    /// What was read and answered is over.
    fn forget_heard(&mut self) {
        if self.is_answered && self.read == self.heard.len() {
            self.come_past = self.come_past.wrapping_add(self.read as u32);
            self.heard.clear();
            self.read = 0;
        }
    }

    /// Takes a packet in, if it is the next message and acknowledges all.
    pub(super) fn hear(&mut self, now: Time, packet: &[u8]) -> bool {
        let Some((head, data)) = packet.split_first_chunk::<HEADERS>() else {
            return false;
        };
        let half = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let is_next = head[0] == 0x45
            && usize::from(half(2)) == packet.len()
            && head[32] == 0x50
            && head[33] & !PSH == ACK
            && word(head, 24) == self.expected
            && word(head, 28) == self.next
            && Some(half(34)) == self.window;
        // Who reads what took half of the window tells of the new one at once.
        let window = usize::from(u16::from_be_bytes([self.head[34], self.head[35]]));
        let fits = !data.is_empty() && data.len() <= LIMIT && 2 * data.len() < window;
        let is_turn = self.heard.is_empty() && self.said_at.is_none_or(|at| at == now);
        if self.is_owing || !is_next || !fits || !is_turn {
            return false;
        }
        self.forget_said();
        self.heard.extend_from_slice(data);
        self.heard_at = now;
        self.is_answered = false;
        self.expected = self.expected.wrapping_add(data.len() as u32);
        true
    }

    /// Nothing waits to be read, and nothing that was sent to be acknowledged; what came can be said to be owed.
    /// smoltcp `owes` something itself.
    pub(super) fn has_turn(&self, owes: bool) -> bool {
        let is_known = !self.is_answered && !owes && self.told().is_some();
        let is_known = is_known || self.heard.is_empty();
        self.is_on && self.said_at.is_none() && self.unread() == 0 && is_known
    }

    /// What came last, if it is not acknowledged: its length, and when it came.
    pub(super) fn unanswered(&self) -> Option<(usize, Time)> {
        let is_owed = self.is_on && !self.heard.is_empty() && !self.is_answered;
        is_owed.then_some((self.heard.len(), self.heard_at))
    }

    /// A segment comes next, has data, and acknowledges all that was sent.
    pub(super) fn is_next(&self, heard: &Heard) -> bool {
        let is_plain = heard.flags & !PSH == ACK && heard.header == 20 && heard.len > 0;
        is_plain && heard.seq == self.expected && heard.ack == self.next && heard.window > 0
    }

    /// It may begin, what smoltcp said last being known.
    pub(super) fn may_enter(&self) -> bool {
        !self.is_on && self.is_current && self.sent == AFTER && self.told().is_some()
    }

    /// Begins, at rest, if answers at once are usual; whether it does.
    pub(super) fn enter(&mut self) -> bool {
        debug_assert!(self.heard.is_empty() && self.said.is_empty() && self.said_at.is_none());
        self.is_on = self.rtt.is_short();
        self.is_on
    }

    /// Begins with a message of `len` bytes that takes along what is owed otherwise; whether it can.
    pub(super) fn answer(&mut self, len: usize) -> bool {
        let may = self.sent == AFTER && self.fits(len) && self.rtt.is_short();
        (self.is_on, self.is_owing) = (may, may);
        may
    }

    /// Ends; what is to be said is returned.
    pub(super) fn leave(&mut self) -> Vec<u8> {
        (self.is_on, self.is_owing, self.read) = (false, false, 0);
        self.heard.clear();
        core::mem::take(&mut self.said)
    }

    /// Keeps the memory of what was to be said.
    pub(super) fn reuse(&mut self, mut said: Vec<u8>) {
        said.clear();
        self.said = said;
    }

    /// A segment that comes now would be the next message, and all that was sent is acknowledged by it.
    pub(super) fn awaits_message(&self, now: Time) -> bool {
        let is_sent = self.said_at.map_or(self.said.is_empty(), |at| at == now);
        self.is_on && !self.is_owing && self.heard.is_empty() && is_sent
    }

    /// All that was sent is acknowledged by a segment that goes elsewhere: ends.
    pub(super) fn yield_turn(&mut self) {
        self.forget_said();
        self.is_on = false;
    }

    /// So many bytes more that came are past smoltcp, which end here.
    pub(super) const fn come(&mut self, expected: u32, count: u32) {
        self.expected = expected;
        self.pass(count);
    }

    /// What came and was not read.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.heard[self.read..]
    }

    /// So many bytes were read.
    pub(super) fn take(&mut self, count: usize) {
        self.read += count;
        self.forget_heard();
    }

    /// When there is something to send.
    pub(super) fn next(&self, now: Time) -> Next {
        if !self.said.is_empty() && self.said_at.is_none() {
            return Next::Now;
        }
        let is_owed = !self.heard.is_empty() && !self.is_answered;
        let answer = is_owed.then(|| ceiling(self.heard_at) + ACK_DELAY);
        let again = self.said_at.map(|at| ceiling(at) + MIN_RTO);
        match answer.into_iter().chain(again).min() {
            None => Next::Never,
            Some(at) if at <= ceiling(now) => Next::Now,
            Some(at) => Next::At(at),
        }
    }

    /// The message that was heard as smoltcp would have got it.
    fn packet_heard(&self, packet: &mut [u8; HEADERS + LIMIT]) -> usize {
        let len = HEADERS + self.heard.len();
        let said = self.said_at.map_or(0, |_| self.said.len() as u32);
        packet[..HEADERS].copy_from_slice(&self.answering(len));
        let seq = self.expected.wrapping_sub(self.heard.len() as u32);
        put(packet, 24, seq.wrapping_sub(self.come_past));
        let ack = self.next.wrapping_sub(said);
        put(packet, 28, ack.wrapping_sub(self.sent_past));
        packet[HEADERS..len].copy_from_slice(&self.heard);
        len
    }
}
