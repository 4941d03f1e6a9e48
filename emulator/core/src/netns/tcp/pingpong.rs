//! Ping-pong: small messages that are answered at once pass smoltcp by.
//!
//! Named after Linux's `inet_csk_enter_pingpong_mode`. In an exchange of requests and responses each segment is
//! short, in order, acknowledges all that was sent before and is read before the answer goes. Then smoltcp would
//! only move its numbers along, so that the engine does this itself: what was heard and what was said last are kept
//! here, and forgotten when they are read and acknowledged, with the bytes counted that smoltcp has not seen. Its
//! sequence numbers are behind the true ones by these. Whatever is not so plain first has smoltcp
//! [catch up](Smol::catch_up): it is given what was heard and said, at the times at which that was, and is
//! then where it would have been. A message longer than a segment [follows](super::turn) without that.
//!
//! What leaves is byte by byte what smoltcp would have sent, its header being the last one that it wrote.
//! Tests run the same traffic both ways. Begins when a connection has sent more data than a short one does.

use core::ops::Range;
use core::time::Duration;

use smoltcp::phy::{Device, DeviceCapabilities, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::time::Instant;
use switch::Time;

use super::clock::{ceiling, instant};
use super::conn::ACK_DELAY;
use super::device::capabilities;
use super::emit::Emitter;
use super::engine::Next;
use super::express::MIN_RTO;
use super::held::Heard;
use super::paths::{PathIx, Shared};
use super::rtt::Rtt;
use super::segment::{ACK, FIN, PSH, RST, SYN, after};
use super::smol::Smol;

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

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(<[u8]>::first_chunk);
    word.map_or(0, |word| u32::from_be_bytes(*word))
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(word) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *word = value.to_be_bytes();
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

    /// The headers of a segment of so much data, maybe the last there is.
    pub(super) fn saying(&self, hops: u8, count: usize, is_last: bool) -> [u8; HEADERS] {
        let mut head = self.bare(self.expected, hops);
        head[2..4].copy_from_slice(&((HEADERS + count) as u16).to_be_bytes());
        head[33] = if is_last { ACK | PSH } else { ACK };
        head
    }

    /// A segment from the other side that acknowledges all before `ack` and tells this window.
    pub(super) fn acknowledging(&self, ack: u32, field: u16) -> [u8; HEADERS] {
        let mut packet = self.answering(HEADERS);
        put(&mut packet, 24, self.expected);
        put(&mut packet, 28, ack);
        packet[33] = ACK;
        packet[34..36].copy_from_slice(&field.to_be_bytes());
        packet
    }

    /// So many bytes more that came are past smoltcp.
    pub(super) const fn pass(&mut self, count: u32) {
        self.come_past = self.come_past.wrapping_add(count);
    }

    /// The headers of a segment without data that acknowledges all before `ack`.
    pub(super) fn bare(&self, ack: u32, hops: u8) -> [u8; HEADERS] {
        let mut head = self.head;
        head[8] = hops;
        head[2..4].copy_from_slice(&(HEADERS as u16).to_be_bytes());
        head[24..28].copy_from_slice(&self.next.to_be_bytes());
        head[28..32].copy_from_slice(&ack.to_be_bytes());
        head[33] = ACK;
        head
    }

    /// A segment that brings `data` from the number `seq` on and nothing else that is new.
    pub(super) fn incoming(&self, seq: u32, data: &[u8]) -> Vec<u8> {
        let mut packet = Vec::with_capacity(HEADERS + data.len());
        packet.extend_from_slice(&self.answering(HEADERS + data.len()));
        put(&mut packet, 24, seq);
        put(&mut packet, 28, self.next);
        packet.extend_from_slice(data);
        packet
    }

    /// The headers of a packet of `len` bytes from the other side, but for its numbers.
    fn answering(&self, len: usize) -> [u8; HEADERS] {
        let mut head = self.head;
        head[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        head[12..16].copy_from_slice(&self.head[16..20]);
        head[16..20].copy_from_slice(&self.head[12..16]);
        head[20..22].copy_from_slice(&self.head[22..24]);
        head[22..24].copy_from_slice(&self.head[20..22]);
        head[33] = ACK | PSH;
        head[34..36].copy_from_slice(&self.window.unwrap_or(0).to_be_bytes());
        head
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

    /// Moves a packet that smoltcp wrote to the true numbers, and notes what it says; `field` is the window field that
    /// smoltcp had in it.
    pub(super) fn wrote(&mut self, packet: &mut [u8], field: u16) {
        // A probe of one byte leaves no trace in smoltcp.
        let is_plain =
            |head: &&[u8; HEADERS]| head[32] == 0x50 && head[33] & (FIN | SYN | RST | ACK) == ACK;
        let head = packet.first_chunk().filter(is_plain);
        let head = head.filter(|_| packet.len() != HEADERS + 1);
        self.told = head.map(|head| (word(head, 28), field));
        if (self.sent_past | self.come_past) != 0 {
            self.lift(packet);
        }
        let Some(head) = packet.first_chunk::<HEADERS>() else {
            return;
        };
        let flags = head[33];
        let data = packet.len() - HEADERS;
        if flags & SYN != 0 {
            let end = word(head, 24).wrapping_add(1);
            self.rtt.open(self.now, end);
        }
        if self.since.is_none() && (data > 0 || flags & SYN != 0) {
            self.since = Some(self.now);
        }
        self.is_current = head[32] == 0x50 && flags & (FIN | SYN | RST | ACK) == ACK;
        if !self.is_current {
            return;
        }
        self.head = *head;
        self.expected = word(head, 28);
        let seq = word(head, 24);
        let end = seq.wrapping_add(data as u32);
        // smoltcp does not time what asks for a closed window.
        if data > 1 || data == 1 && self.field() > 0 {
            self.sends(seq, end);
        }
        if self.sent == 0 || after(end, self.next) {
            self.next = end;
        }
        if data > 0 {
            self.sent = (self.sent + 1).min(AFTER);
        }
    }

    /// smoltcp sends data, maybe again.
    fn sends(&mut self, seq: u32, end: u32) {
        if self.sent > 0 && after(self.next, seq) {
            self.rtt.set_timed(None);
        }
        if self.sent == 0 || after(end, self.next) {
            self.rtt.send(self.now, end);
        }
    }

    fn lift(&self, packet: &mut [u8]) {
        let (seq, ack) = (word(packet, 24), word(packet, 28));
        put(packet, 24, seq.wrapping_add(self.sent_past));
        put(packet, 28, ack.wrapping_add(self.come_past));
        if let Some(edges) = option(packet, KIND_SACK) {
            for at in edges.step_by(4) {
                let edge = word(packet, at);
                put(packet, at, edge.wrapping_add(self.come_past));
            }
        }
    }

    /// Moves a packet that came to smoltcp's numbers.
    pub(super) fn lower(&mut self, packet: &mut [u8]) {
        if (self.sent_past | self.come_past) != 0 {
            let (seq, ack) = (word(packet, 24), word(packet, 28));
            put(packet, 24, seq.wrapping_sub(self.come_past));
            put(packet, 28, ack.wrapping_sub(self.sent_past));
        }
    }

    /// smoltcp took a packet in: so many bytes were waiting to be acknowledged and to be read, and are now. It `opened` the
    /// connection.
    pub(super) fn took(
        &mut self,
        packet: &[u8],
        before: (usize, usize),
        now: (usize, usize),
        opened: bool,
    ) {
        let header = packet.get(32).map_or(0, |byte| usize::from(byte >> 4) * 4);
        let flags = packet.get(33).copied().unwrap_or_default();
        if opened || now.0 < before.0 {
            let ack = word(packet, 28).wrapping_add(self.sent_past);
            self.rtt.hear(self.now, ack);
        }
        if let Some(since) = self.since {
            self.is_off |= now.0 <= before.0 && self.now.since(since) > PROMPT;
            self.since = self.since.filter(|_| now.0 > 0);
        }
        if flags & SYN != 0 {
            return;
        }
        let len = (word(packet, 0) & 0xffff) as usize;
        let data = len.saturating_sub(20 + header);
        let grown = now.1.wrapping_sub(before.1);
        self.is_off |= grown != data;
        // A probe of a closed window begins with the first byte that is missing, and what comes again before it.
        let seq = word(packet, 24);
        let is_late = self.told.is_some_and(|(ack, _)| !after(seq, ack));
        self.has_gap |= grown != data && !is_late;
        if is_late && data > 0 && grown == 0 {
            // Refused whatever its window is.
            return;
        }
        self.is_current &= data == 0 && now.1 == 0;
        let is_sure = now.0 < before.0 || grown > 0;
        self.field = (word(packet, 32) & 0xffff) as u16;
        self.widest = self.widest.max(self.field);
        self.window = is_sure.then_some(self.field);
    }

    /// smoltcp took this SYN, which opens the connection. It looks at no other ones.
    pub(super) fn meet(&mut self, packet: &[u8]) {
        let said = option(packet, KIND_MSS).and_then(|at| packet.get(at)?.first_chunk());
        match said.map(|mss| u16::from_be_bytes(*mss)) {
            None | Some(0) => {}
            Some(mss) => self.mss = mss.max(MIN_MSS),
        }
        let shift = option(packet, KIND_SCALE).and_then(|at| packet.get(at)?.first().copied());
        self.peer_shift = shift.unwrap_or(0).min(MAX_SHIFT);
        self.syn_window = (word(packet, 32) & 0xffff) as u16;
        self.field = self.syn_window >> self.peer_shift;
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

/// Where the data of a TCP option stands in an IPv4 packet without options of its own.
pub(super) fn option(packet: &[u8], wanted: u8) -> Option<Range<usize>> {
    let header = usize::from(packet.get(32)? >> 4) * 4;
    let end = packet.len().min(20 + header);
    let mut at = HEADERS;
    while at + 1 < end {
        let kind = packet[at];
        let len = usize::from(packet[at + 1]);
        match kind {
            0 => return None,
            1 => at += 1,
            _ if len < 2 || at + len > end => return None,
            _ if kind == wanted => return Some(at + 2..at + len),
            _ => at += len,
        }
    }
    None
}

impl Smol {
    /// Begins with a message of `len` bytes, if smoltcp is at rest. An acknowledgement that it owes goes with the
    /// message, when that leaves: it writes one that stays here.
    pub(super) fn begin(
        &mut self,
        shared: &mut Shared,
        path: PathIx,
        now: Time,
        len: usize,
    ) -> bool {
        let turn = &self.pingpong;
        if turn.is_off || turn.sent < AFTER || !turn.fits(len) || !is_at_rest(self.socket()) {
            return false;
        }
        if !turn.rtt.is_short() {
            return false;
        }
        let is_owing = self.owes && !self.pingpong.is_current;
        self.pingpong.is_owing = is_owing;
        self.pingpong.is_on = is_owing || self.refresh(shared, path, now);
        self.pingpong.is_on
    }

    /// Sends what is to be said, and with it what is owed; whether it can.
    pub(super) fn speak(
        &mut self,
        shared: &mut Shared,
        path: PathIx,
        now: Time,
        out: &mut Emitter<'_>,
    ) -> bool {
        let mtu = shared.mtu(path);
        if self.pingpong.is_owing {
            if HEADERS + self.pingpong.said.len() > mtu || !self.owe_nothing(shared, path, now) {
                return false;
            }
            self.pingpong.is_owing = false;
        }
        self.pingpong.speak(now, mtu, out)
    }

    /// What is owed goes with the next segment; whether the headers of that are known.
    pub(super) fn owe_nothing(&mut self, shared: &mut Shared, path: PathIx, now: Time) -> bool {
        if self.held.is_on() {
            self.forget_held();
            return true;
        }
        self.refresh(shared, path, now)
    }

    /// Has smoltcp, at rest, write an acknowledgement that it owes, to go with data; whether the headers of that are known.
    fn refresh(&mut self, shared: &mut Shared, path: PathIx, now: Time) -> bool {
        if !self.pingpong.is_current {
            let mut void = Void::default();
            self.call();
            let at = instant(now + ACK_DELAY);
            let _sent = shared.iface(path).poll_egress(at, &mut void, &mut self.set);
            if void.len > 0 {
                let packet = &mut void.bytes[..void.len];
                let field = self.window().tell(packet);
                self.pingpong.wrote(packet, field);
                self.owes = false;
            }
        }
        self.pingpong.is_current && self.pingpong.head[33] & (FIN | SYN | RST) == 0
    }

    /// Ends: smoltcp learns of what it has not seen and what is not over.
    #[cold]
    #[inline(never)]
    pub(super) fn catch_up(&mut self, shared: &mut Shared, path: PathIx) {
        self.call();
        self.pingpong.is_on = false;
        if self.held.is_on() {
            self.hand_over(shared, path, &[]);
        }
        let Self {
            set,
            pingpong,
            owes,
            put_at,
            ..
        } = self;
        pingpong.told = None;
        *owes |= !pingpong.heard.is_empty();
        let iface = shared.iface(path);
        let mut packet = [0; HEADERS + LIMIT];
        let mut void = Void::default();
        if !pingpong.heard.is_empty() {
            let len = pingpong.packet_heard(&mut packet);
            void.packet = Some(&packet[..len]);
            iface.poll_ingress_single(instant(pingpong.heard_at), &mut void, set);
            let socket = set.get_mut::<Socket<'static>>(self.handle);
            let mut left = pingpong.read;
            while left > 0 && socket.can_recv() {
                let taken = socket.recv(|bytes| (left.min(bytes.len()), left.min(bytes.len())));
                left -= taken.unwrap_or(left);
            }
            pingpong.is_current &= pingpong.is_answered;
        }
        if !pingpong.said.is_empty() {
            let socket = set.get_mut::<Socket<'static>>(self.handle);
            let taken = socket.send_slice(&pingpong.said);
            debug_assert_eq!(taken, Ok(pingpong.said.len()));
            *put_at = pingpong.said.len();
            if let Some(at) = pingpong.said_at {
                pingpong.since = Some(at);
                pingpong.rtt.send(at, pingpong.next);
                iface.poll_egress(instant(at), &mut void, set);
                debug_assert_eq!(void.len, HEADERS + pingpong.said.len());
            }
        }
        pingpong.is_owing = false;
        pingpong.heard.clear();
        pingpong.read = 0;
        pingpong.said.clear();
        pingpong.said_at = None;
    }
}

/// It has nothing to send, to give or to acknowledge.
pub(super) fn is_at_rest(socket: &Socket<'static>) -> bool {
    is_alone(socket) && socket.send_queue() == 0
}

/// The same, but for what it has to send.
pub(super) fn is_alone(socket: &Socket<'static>) -> bool {
    socket.state() == State::Established && socket.recv_queue() == 0 && socket.ack_delay().is_some()
}

/// A device that gives one packet and keeps what is sent.
struct Void<'a> {
    packet: Option<&'a [u8]>,
    bytes: [u8; HEADERS + LIMIT],
    len: usize,
}

impl Default for Void<'_> {
    fn default() -> Self {
        Self {
            packet: None,
            bytes: [0; HEADERS + LIMIT],
            len: 0,
        }
    }
}

struct Given<'a>(&'a [u8]);
struct Kept<'a>(&'a mut [u8; HEADERS + LIMIT], &'a mut usize);

impl RxToken for Given<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for Kept<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        match self.0.get_mut(..len) {
            Some(bytes) => {
                *self.1 = len;
                f(bytes)
            }
            None => f(&mut vec![0; len]),
        }
    }
}

impl Device for Void<'_> {
    type RxToken<'t>
        = Given<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Kept<'t>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(Given<'_>, Kept<'_>)> {
        let packet = self.packet.take()?;
        Some((Given(packet), Kept(&mut self.bytes, &mut self.len)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Kept<'_>> {
        Some(Kept(&mut self.bytes, &mut self.len))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities(usize::from(u16::MAX), 0)
    }
}
