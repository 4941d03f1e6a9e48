//! Brief connections: those that open, exchange a message or two and close pass smoltcp by.
//!
//! Of such a connection smoltcp would do little: each segment comes once, in order and soon, and acknowledges all
//! that was sent before. Its part is known beforehand, so that it is played here, by a few numbers and without
//! buffers, and what happened is written down ([`Event`]). Whatever is not so plain first has an engine
//! [made](Brief::replay), which is told all of it at the times at which it was, and is then where it
//! would have been: after something was lost, came late or out of order, carried options, closed
//! both halves at once, did not fit into one segment, or when there was more of it than is written down here.
//! What leaves is byte by byte what smoltcp would have sent. Tests run the same traffic both ways.
//!
//! An idle connection holds no buffers until then.

use core::net::SocketAddr;
use core::time::Duration;

use switch::Time;

use super::conn::{ACK_DELAY, window_shift};
use super::engine::{Congestion, Glance, Next, Setup, TcpState};
use super::express::MIN_RTO;
use super::head::{HEADERS, Head, Says};
use super::segment::{ACK, FIN, PSH, RST, SYN};
use super::told::{Offer, Told};

/// Events that are written down, and one or two more.
const EVENTS: usize = 24;
/// Bytes of one segment, and of all of a direction.
const SEGMENT: usize = 1460;
const BYTES: usize = 4 * SEGMENT;
/// The longest options.
const OPTIONS: usize = 40;
/// What smoltcp believes of a peer that does not say (RFC 9293 §3.7.1), and the least that it believes.
const DEFAULT_MSS: u16 = 536;
const MIN_MSS: u16 = 48;
/// An acknowledgement that took longer could make the retransmission timeout longer than the shortest.
const PROMPT: Duration = Duration::from_millis(100);
/// smoltcp's longest time between two attempts.
const MAX_RTO: Duration = Duration::from_secs(60);
/// A time for what is due whenever it is asked for.
const AT_ONCE: Time = Time::ZERO;
/// The control bits that count.
const FLAGS: u8 = 0x3f;
const SYN_ACK: u8 = SYN | ACK;
const FIN_ACK: u8 = FIN | ACK;
const RST_ACK: u8 = RST | ACK;

/// Something that an engine would have been told, or have done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A segment came.
    In { at: Time, told: Told },
    /// A segment was sent.
    Out { at: Time },
    /// So many bytes were given to be sent.
    Send(usize),
    /// So many bytes were read.
    Recv(usize),
    /// Our half was closed.
    Shut,
}

/// The options of a SYN as they came, no longer than [`OPTIONS`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) bytes: [u8; OPTIONS],
    pub(super) len: usize,
}

/// A connection that smoltcp has not heard of.
#[derive(Debug)]
pub(super) struct Brief {
    setup: Setup,
    state: TcpState,
    /// Headers of a segment of ours, but for lengths and numbers.
    pub(super) head: Head,
    /// The number of our SYN.
    pub(super) isn: u32,
    /// The next number of ours, and the next one of theirs.
    next: u32,
    expected: u32,
    /// The other side's window in bytes, its scale, the largest segment that it takes, whether it takes SACK.
    window: usize,
    peer_shift: Option<u8>,
    mss: u16,
    sack: bool,
    /// What our windows are scaled by.
    shift: u8,
    /// SYN and FIN are to be sent.
    has_syn: bool,
    has_fin: bool,
    /// When something is to be acknowledged, [`AT_ONCE`] perhaps; here and below the end of time if never.
    answer_at: Time,
    /// When what is under way would be sent again, and since when it is.
    again_at: Time,
    since: Time,
    /// SYNs that were sent again.
    repeats: u32,
    /// All that was given to be sent: the last bytes not sent, those before them not acknowledged.
    pub(super) said: Vec<u8>,
    unsent: usize,
    in_flight: usize,
    /// All that came, and how much of it has been read.
    pub(super) heard: Vec<u8>,
    read: usize,
    /// More was given than one segment takes.
    is_outgrown: bool,
    pub(super) log: Vec<Event>,
    pub(super) options: Options,
}

impl Brief {
    /// Whether connections of this kind can be brief.
    pub(super) fn suits(setup: &Setup) -> bool {
        setup.congestion == Congestion::None
    }

    /// A connection that will send a SYN with the number `isn`.
    fn new(setup: &Setup, ends: (SocketAddr, SocketAddr), isn: u32) -> Self {
        Self {
            setup: *setup,
            state: TcpState::SynSent,
            head: Head::new(ends.0, ends.1, setup.hop_limit),
            isn,
            next: isn,
            expected: 0,
            window: 0,
            peer_shift: None,
            mss: DEFAULT_MSS,
            sack: false,
            shift: window_shift(setup.recv_buffer),
            has_syn: true,
            has_fin: false,
            answer_at: Time::MAX,
            again_at: Time::MAX,
            since: Time::MAX,
            repeats: 0,
            said: Vec::new(),
            unsent: 0,
            in_flight: 0,
            heard: Vec::new(),
            read: 0,
            is_outgrown: false,
            log: Vec::with_capacity(EVENTS + 2),
            options: Options {
                bytes: [0; OPTIONS],
                len: 0,
            },
        }
    }

    /// Makes what another one leaves as [new](Self::new), part by part: its lists and the room for options stay.
    fn renew(&mut self, setup: &Setup, ends: (SocketAddr, SocketAddr), isn: u32) {
        let Self {
            said,
            heard,
            log,
            options,
            ..
        } = self;
        said.clear();
        heard.clear();
        log.clear();
        options.len = 0;
        self.setup = *setup;
        self.state = TcpState::SynSent;
        self.head = Head::new(ends.0, ends.1, setup.hop_limit);
        (self.isn, self.next, self.expected) = (isn, isn, 0);
        (self.window, self.peer_shift) = (0, None);
        (self.mss, self.sack) = (DEFAULT_MSS, false);
        self.shift = window_shift(setup.recv_buffer);
        (self.has_syn, self.has_fin) = (true, false);
        (self.answer_at, self.again_at, self.since) = (Time::MAX, Time::MAX, Time::MAX);
        (self.repeats, self.unsent, self.in_flight) = (0, 0, 0);
        (self.read, self.is_outgrown) = (0, false);
    }

    /// As new, for another connection, that will send a SYN with the number `isn`.
    pub(super) fn begin(
        room: Option<Box<Self>>,
        setup: &Setup,
        local: SocketAddr,
        remote: SocketAddr,
        isn: u32,
    ) -> Box<Self> {
        let Some(mut brief) = room else {
            return Box::new(Self::new(setup, (local, remote), isn));
        };
        brief.renew(setup, (local, remote), isn);
        brief
    }

    /// Takes the SYN that opens a connection from the other side; whether it is a plain one.
    pub(super) fn accept(&mut self, now: Time, told: &Told, options: &[u8]) -> bool {
        let is_plain = told.flags & FLAGS == SYN && told.payload == 0;
        let Some(offer) = Offer::read(options).filter(|_| is_plain) else {
            return false;
        };
        self.meet(told, options, offer);
        self.log.push(Event::In {
            at: now,
            told: *told,
        });
        self.state = TcpState::SynReceived;
        true
    }

    /// Notes what the other side's SYN says.
    fn meet(&mut self, told: &Told, options: &[u8], offer: Offer) {
        if let Some(mss) = offer.mss.filter(|mss| *mss != 0) {
            self.mss = mss.max(MIN_MSS);
        }
        (self.peer_shift, self.sack) = (offer.shift, offer.sack);
        if offer.shift.is_none() {
            self.shift = 0;
        }
        self.window = usize::from(told.window);
        self.expected = told.seq.wrapping_add(1);
        self.options.len = options.len();
        self.options.bytes[..options.len()].copy_from_slice(options);
    }

    /// The other side scales its windows.
    pub(super) const fn scales(&self) -> bool {
        self.peer_shift.is_some()
    }

    /// The largest window that the other side told, in bytes.
    pub(super) fn widest(&self) -> u32 {
        let shift = u32::from(self.peer_shift.unwrap_or(0));
        let windows = self.log.iter().map(|event| match event {
            Event::In { told, .. } if told.has(SYN) => u32::from(told.window),
            Event::In { told, .. } => u32::from(told.window) << shift,
            _ => 0,
        });
        windows.max().unwrap_or(0)
    }

    /// All that was given has been sent.
    const fn is_all_sent(&self) -> bool {
        self.unsent == 0 && !self.has_fin && !self.has_syn
    }

    /// Bytes to read.
    const fn unread(&self) -> usize {
        self.heard.len() - self.read
    }

    fn is_prompt(&self, clock: Time) -> bool {
        clock <= self.since + PROMPT
    }

    /// There is room for so much data, and no acknowledgement is due for other.
    fn has_room(&self, payload: u16) -> bool {
        let payload = usize::from(payload);
        self.answer_at == Time::MAX
            && payload <= SEGMENT
            && self.heard.len() + payload <= BYTES
            && self.unread() + payload <= self.setup.recv_buffer / 4
    }

    /// Takes in the TCP segment that says this, if it is one that is plain in this state; whether it was. `clock` is the
    /// [time of engines](super::clock::ceiling), here and below.
    #[inline(always)]
    pub(super) fn hear(&mut self, (now, clock): (Time, Time), told: &Told, segment: &[u8]) -> bool {
        if self.is_outgrown || self.log.len() >= EVENTS {
            return false;
        }
        let flags = told.flags & FLAGS & !PSH;
        let is_next = told.seq == self.expected && told.header == 20;
        let is_all = told.ack == self.next && self.is_all_sent() && self.is_prompt(clock);
        let is_bare = told.payload == 0;
        let taken = match (self.state, flags) {
            (TcpState::SynSent, SYN_ACK) => {
                let options = told.options(segment);
                let offer = Offer::read(options).filter(|_| is_bare && is_all);
                if let Some(offer) = offer {
                    self.meet(told, options, offer);
                }
                offer.is_some()
            }
            (TcpState::SynSent, RST_ACK) => {
                told.header == 20 && is_bare && !self.has_syn && told.ack == self.next
            }
            (TcpState::SynReceived, ACK) => is_next && is_bare && is_all,
            (TcpState::SynReceived, RST | RST_ACK) => is_next && is_bare,
            (_, RST | RST_ACK) => self.state != TcpState::SynSent && is_next && is_bare,
            (TcpState::Established | TcpState::FinWait1 | TcpState::FinWait2, ACK | FIN_ACK) => {
                is_next && is_all && (is_bare || self.has_room(told.payload))
            }
            (TcpState::CloseWait | TcpState::LastAck, ACK) => is_next && is_all && is_bare,
            _ => false,
        };
        if taken {
            self.log.push(Event::In {
                at: now,
                told: *told,
            });
            self.advance(clock, flags, told, segment);
        }
        taken
    }

    /// What follows from a plain segment.
    #[inline(always)]
    fn advance(&mut self, clock: Time, flags: u8, told: &Told, segment: &[u8]) {
        if flags & RST != 0 {
            self.state = match self.state {
                TcpState::SynReceived => TcpState::Listen,
                _ => TcpState::Closed,
            };
            return;
        }
        (self.again_at, self.since, self.in_flight) = (Time::MAX, Time::MAX, 0);
        if flags == SYN_ACK {
            self.state = TcpState::Established;
            self.answer_at = AT_ONCE;
            return;
        }
        self.window = usize::from(told.window) << self.peer_shift.unwrap_or(0);
        let is_fin = flags & FIN != 0;
        self.state = match self.state {
            TcpState::SynReceived => TcpState::Established,
            TcpState::Established if is_fin => TcpState::CloseWait,
            TcpState::FinWait1 | TcpState::FinWait2 if is_fin => TcpState::TimeWait,
            TcpState::FinWait1 => TcpState::FinWait2,
            TcpState::LastAck => TcpState::Closed,
            state => state,
        };
        if is_fin && self.answer_at == Time::MAX {
            self.answer_at = match self.state {
                TcpState::CloseWait => clock + ACK_DELAY,
                _ => AT_ONCE,
            };
        }
        if told.payload > 0 {
            self.heard.extend_from_slice(told.data(segment));
            self.answer_at = (self.setup.ack_delay).map_or(AT_ONCE, |delay| clock + delay);
        }
        let taken = u32::from(told.payload) + u32::from(is_fin);
        self.expected = self.expected.wrapping_add(taken);
    }

    /// An engine has to take over before anything is sent at this time.
    #[inline]
    pub(super) fn needs_engine(&self, clock: Time) -> bool {
        self.is_outgrown
            || self.log.len() >= EVENTS
            || (self.is_overdue(clock) && !self.repeats_syn())
    }

    /// What is under way is to be sent again.
    fn is_overdue(&self, clock: Time) -> bool {
        self.again_at <= clock
    }

    /// Nothing but our first SYN is under way. To say that again takes no engine: who calls a server that accepts no
    /// more, or a host that is gone, holds no buffers.
    fn repeats_syn(&self) -> bool {
        self.state == TcpState::SynSent && !self.has_syn
    }

    /// What is to be sent, if there is something, and the bytes of data behind it: the last that were
    /// [said](Self::last_said). It counts as sent.
    #[inline(always)]
    pub(super) fn output(&mut self, (now, clock): (Time, Time)) -> Option<(Says, usize)> {
        if self.is_overdue(clock) && self.repeats_syn() {
            self.repeats += 1;
            (self.has_syn, self.next, self.again_at) = (true, self.isn, Time::MAX);
        }
        let flags = match (self.has_syn, self.state) {
            (true, TcpState::SynReceived) => SYN_ACK,
            (true, _) => SYN,
            _ if self.has_fin => FIN_ACK,
            _ if self.unsent > 0 => PSH | ACK,
            _ if self.answer_at <= clock => ACK,
            _ => return None,
        };
        let says = Says {
            seq: self.next,
            ack: if flags & ACK != 0 { self.expected } else { 0 },
            flags,
            window: self.window_field(flags),
        };
        let data = if self.has_syn { 0 } else { self.unsent };
        let control = u32::from(self.has_syn | self.has_fin);
        self.next = self.next.wrapping_add(data as u32 + control);
        if self.has_syn | self.has_fin || self.unsent > 0 {
            if self.again_at == Time::MAX {
                self.again_at = self.wait(clock);
            }
            self.since = self.since.min(clock);
            self.in_flight += self.unsent;
            (self.unsent, self.has_syn, self.has_fin) = (0, false, false);
        }
        self.answer_at = Time::MAX;
        self.log.push(Event::Out { at: now });
        Some((says, data))
    }

    /// Until when what is sent at this time waits for an answer before it is sent again.
    #[inline]
    fn wait(&self, clock: Time) -> Time {
        match self.repeats {
            0 => clock + MIN_RTO,
            more => clock + (MIN_RTO * (1 << more.min(6))).min(MAX_RTO),
        }
    }

    /// The last `data` bytes that were said.
    #[inline]
    pub(super) fn last_said(&self, data: usize) -> &[u8] {
        &self.said[self.said.len() - data..]
    }

    /// The window field of a segment; that of a SYN is not scaled.
    #[inline]
    fn window_field(&self, flags: u8) -> u16 {
        let room = match flags & SYN {
            0 => (self.setup.recv_buffer - self.unread()) >> self.shift,
            _ => self.setup.recv_buffer,
        };
        room.min(usize::from(u16::MAX)) as u16
    }

    /// The options of a SYN, or of a SYN-ACK if it is one, for packets of `mtu` bytes; how many bytes they are.
    pub(super) const fn offer(&self, mtu: usize, is_answer: bool) -> ([u8; 12], usize) {
        let [high, low] = ((mtu - HEADERS) as u16).to_be_bytes();
        let (scales, sacks) = (!is_answer || self.scales(), !is_answer || self.sack);
        match (scales, sacks) {
            (true, true) => ([2, 4, high, low, 3, 3, self.shift, 4, 2, 0, 0, 0], 12),
            (true, false) => ([2, 4, high, low, 3, 3, self.shift, 0, 0, 0, 0, 0], 8),
            (false, true) => ([2, 4, high, low, 4, 2, 0, 0, 0, 0, 0, 0], 8),
            (false, false) => ([2, 4, high, low, 0, 0, 0, 0, 0, 0, 0, 0], 4),
        }
    }

    /// When there is something to send.
    #[inline(always)]
    pub(super) fn next(&self, clock: Time) -> Next {
        let is_over = matches!(self.state, TcpState::Closed | TcpState::Listen);
        if is_over {
            return Next::Never;
        }
        if !self.is_all_sent() {
            return Next::Now;
        }
        match self.answer_at.min(self.again_at) {
            Time::MAX => Next::Never,
            at if at <= clock => Next::Now,
            at => Next::At(at),
        }
    }

    /// The state.
    #[inline]
    pub(super) const fn state(&self) -> TcpState {
        self.state
    }

    /// The state and both queues.
    pub(super) const fn glance(&self) -> Glance {
        Glance {
            state: self.state,
            recv_queue: self.unread(),
            send_queue: self.in_flight + self.unsent,
        }
    }

    /// Takes data to send in segments of packets of `mtu` bytes; how many bytes.
    pub(super) fn send(&mut self, mtu: usize, bytes: &[u8]) -> usize {
        if !matches!(self.state, TcpState::Established | TcpState::CloseWait) {
            return 0;
        }
        let queued = self.in_flight + self.unsent;
        let taken = bytes.len().min(self.setup.send_buffer - queued);
        let most = SEGMENT.min(usize::from(self.mss)).min(mtu - HEADERS);
        let is_plain = self.in_flight == 0
            && self.unsent + taken <= most.min(self.window)
            && self.said.len() + taken <= BYTES
            && taken == bytes.len();
        self.is_outgrown |= !is_plain;
        if taken > 0 {
            self.said.extend_from_slice(&bytes[..taken]);
            self.unsent += taken;
            match self.log.last_mut() {
                Some(Event::Send(before)) => *before += taken,
                _ => self.log.push(Event::Send(taken)),
            }
        }
        taken
    }

    /// Gives received data; how many bytes.
    pub(super) fn recv(&mut self, buffer: &mut [u8]) -> usize {
        let waiting = &self.heard[self.read..];
        let count = waiting.len().min(buffer.len());
        buffer[..count].copy_from_slice(&waiting[..count]);
        self.take(count);
        count
    }

    /// Shows received data and takes what `look` says; how many bytes.
    pub(super) fn recv_with(&mut self, look: &mut dyn FnMut(&[u8]) -> usize) -> usize {
        let waiting = &self.heard[self.read..];
        let count = look(waiting).min(waiting.len());
        self.take(count);
        count
    }

    fn take(&mut self, count: usize) {
        self.read += count;
        match self.log.last_mut() {
            _ if count == 0 => {}
            Some(Event::Recv(before)) => *before += count,
            _ => self.log.push(Event::Recv(count)),
        }
    }

    /// Closes our half behind the data that is queued.
    pub(super) fn shutdown(&mut self) {
        let state = match self.state {
            TcpState::Established => TcpState::FinWait1,
            TcpState::CloseWait => TcpState::LastAck,
            _ => return,
        };
        self.state = state;
        self.has_fin = true;
        self.log.push(Event::Shut);
    }

    /// What an engine would be made with.
    pub(super) const fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Switches Nagle's rule off or on; it means nothing while one segment is under way.
    pub(super) const fn set_nodelay(&mut self, on: bool) {
        self.setup.nodelay = on;
    }

    /// Sets the time to live of what is sent.
    pub(super) fn set_hop_limit(&mut self, hops: u8) {
        self.setup.hop_limit = hops;
        self.head.set_hop_limit(hops);
    }

    /// Bytes that were sent and that came.
    pub(super) const fn bytes(&self) -> usize {
        self.said.len() + self.heard.len()
    }

    /// Bytes that it has room for.
    pub(super) const fn room(&self) -> usize {
        self.said.capacity() + self.heard.capacity()
    }
}
