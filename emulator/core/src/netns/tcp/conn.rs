//! One connection: its engine, and what the layer above the engine knows of it.
//!
//! The limits on silence are Linux's defaults: `tcp_syn_retries` 6 and `tcp_synack_retries` 5 (the last
//! wait included), `tcp_retries2` 15 and `tcp_orphan_retries` 8 as the times that those counts stand for
//! with Linux's smallest retransmission timeout.

use core::net::{Ipv6Addr, SocketAddr};
use core::time::Duration;

use switch::Time;

use super::TcpId;
use super::demux::Tuple;
use super::emit::Marks;
use super::engine::{Next, Setup, TcpState};
use super::express::MIN_RTO;
use super::machine::Machine;
use super::options::{MAX_BUFFER, MIN_BUFFER, TcpOptions};
use super::paths::PathIx;
use super::plain::Ends;
use super::segment::{ACK, Bare, FIN, Segment, after};
use crate::app::Ready;
use crate::netns::Errno;

/// SYNs at 0, 1, 3, 7, 15, 31 and 63 s; the call fails at 127 s.
const CONNECT_GIVES_UP: Duration = Duration::from_secs(127);
const CONNECT_SYNS: u8 = 7;
/// SYN-ACKs at 0, 1, 3, 7, 15 and 31 s; forgotten at 63 s.
const ACCEPT_GIVES_UP: Duration = Duration::from_secs(63);
const ACCEPT_SYNS: u8 = 6;
/// Fifteen retransmissions from 200 ms on, doubling up to 120 s.
const DATA_GIVES_UP: Duration = Duration::from_millis(924_600);
/// Eight of them.
const ORPHAN_GIVES_UP: Duration = Duration::from_millis(102_200);
/// The longest time between two attempts (smoltcp's too; Linux: 120 s).
const MAX_WAIT: Duration = Duration::from_secs(60);
/// How long an acknowledgement waits for data to ride on. Linux has 40 ms, and none at the start of a
/// connection; 10 ms is between the two, and a second segment is acknowledged at once.
pub(super) const ACK_DELAY: Duration = Duration::from_millis(10);
/// An engine that says "now" and then sends nothing is asked again after this time.
const AGAIN: Duration = Duration::from_millis(1);
/// From this MTU on a window holds few segments, and waiting for a second one would stall the sender.
pub(super) const LARGE_MTU: usize = 16 * 1024;

/// Who holds a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// An application.
    App,
    /// This listener's SYN queue.
    Embryo(TcpId),
    /// This listener's accept queue.
    Queue(TcpId),
    /// Nobody: closed, with data or a FIN still to be acknowledged.
    Nobody,
}

/// A connection.
#[derive(Debug)]
pub(in crate::netns) struct Conn {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// What segments that come in are known by.
    pub(super) incoming: Ends,
    /// `None` once it is over and everything has been read.
    pub(super) engine: Option<Machine>,
    pub(super) path: PathIx,
    /// Largest packet of the path.
    pub(super) mtu: usize,
    pub(super) marks: Marks,
    pub(super) owner: Owner,
    pub(super) options: TcpOptions,
    /// The other side's initial sequence number.
    pub(super) peer_isn: u32,
    /// What our window fields are scaled by (RFC 7323).
    pub(super) shift: u8,
    /// Bytes that the application has read, modulo 2³².
    pub(super) read: u32,
    /// The other side's FIN has come, behind all of its data.
    pub(super) ended: bool,
    /// Waits in `SO_ERROR`.
    pub(super) error: Option<Errno>,
    /// What the path last complained of.
    pub(super) soft_error: Option<Errno>,
    /// Our half is closed.
    pub(super) write_shut: bool,
    /// The application ran into a full send buffer.
    pub(super) want_write: bool,
    /// Segments still find it; otherwise it is over.
    pub(super) mapped: bool,
    /// It is in the queue of those to run.
    pub(super) queued: bool,
    /// We opened it.
    pub(super) called: bool,
    /// When the handshake started.
    pub(super) opened: Time,
    /// When a segment last came in.
    pub(super) heard: Time,
    /// Keepalive probes since then.
    pub(super) probes: u32,
    /// No keepalive probe before this: an interval after the last one.
    pub(super) next_probe: Time,
    /// Since when the other side has acknowledged nothing although something is outstanding.
    pub(super) stalled: Option<Time>,
    /// When the other side is asked for its window, because the engine waits for nothing.
    pub(super) ask_at: Option<Time>,
    /// Times that it has been asked without an answer that helped.
    pub(super) asked: u8,
    /// When a segment that is not believed may be answered again.
    pub(super) challenges_at: Time,
    /// The time that it is armed for, the end of time if it is not.
    pub(super) armed: Time,
    /// It counts as an [unanswered orphan](super::MAX_UNANSWERED).
    pub(super) unanswered: bool,
}

/// How a connection comes about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) path: PathIx,
    pub(super) mtu: usize,
    pub(super) owner: Owner,
    pub(super) options: &'a TcpOptions,
}

/// What an application can see of a connection, to be compared before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) state: TcpState,
    pub(super) recv_queue: usize,
}

/// A limit on silence was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Nobody answered; nothing is sent.
    Silence,
    /// Nobody answered the keepalive probes; a reset is sent.
    KeepAlive,
    /// The next keepalive probe is to be sent.
    Probe,
    /// The other side is to be asked for its window.
    Window,
}

/// What windows of a buffer of this size are scaled by, if they are (RFC 7323).
pub(super) const fn window_shift(recv_buffer: usize) -> u8 {
    let bits = usize::BITS - recv_buffer.leading_zeros();
    bits.saturating_sub(16) as u8
}

/// What an engine for these options and this MTU is made with.
pub(super) fn setup(options: &TcpOptions, mtu: usize) -> Setup {
    let small = mtu < LARGE_MTU;
    let recv_buffer = options.recv_buffer.clamp(MIN_BUFFER, MAX_BUFFER);
    Setup {
        // More than the largest window is of no use.
        recv_buffer: recv_buffer.min(usize::from(u16::MAX) << window_shift(recv_buffer)),
        send_buffer: options.send_buffer.clamp(MIN_BUFFER, MAX_BUFFER),
        nodelay: options.nodelay,
        hop_limit: options.hop_limit,
        ack_delay: small.then_some(ACK_DELAY),
        congestion: options.congestion,
    }
}

impl Conn {
    /// A connection whose handshake starts at `now` with the initial sequence number `isn`.
    #[inline(always)]
    pub(super) fn new(now: Time, isn: u32, engine: Machine, origin: &Origin<'_>) -> Self {
        Self {
            local: origin.local,
            remote: origin.remote,
            incoming: Ends::of(origin.local, origin.remote),
            engine: Some(engine),
            path: origin.path,
            mtu: origin.mtu,
            marks: Marks::new(isn),
            owner: origin.owner,
            options: *origin.options,
            peer_isn: 0,
            shift: 0,
            read: 0,
            ended: false,
            error: None,
            soft_error: None,
            write_shut: false,
            want_write: false,
            mapped: true,
            queued: false,
            called: matches!(origin.owner, Owner::App),
            opened: now,
            heard: now,
            probes: 0,
            next_probe: Time::ZERO,
            stalled: None,
            ask_at: None,
            asked: 0,
            challenges_at: Time::ZERO,
            armed: Time::MAX,
            unanswered: false,
        }
    }

    /// Both addresses if they are IPv6.
    pub(super) const fn v6(&self) -> Option<(Ipv6Addr, Ipv6Addr)> {
        match (self.local, self.remote) {
            (SocketAddr::V6(local), SocketAddr::V6(remote)) => Some((*local.ip(), *remote.ip())),
            _ => None,
        }
    }

    /// The key that segments find it by.
    pub(super) const fn tuple(&self) -> Tuple {
        match self.incoming.ports {
            0 => Tuple::new(self.local, self.remote),
            ports => Tuple::incoming(self.incoming.addresses, ports),
        }
    }

    /// It has no engine yet.
    #[inline]
    pub(super) const fn is_brief(&self) -> bool {
        matches!(self.engine, Some(Machine::Brief(_)))
    }

    /// The state that a listing shows.
    pub(super) fn state(&self) -> TcpState {
        match &self.engine {
            Some(engine) if self.mapped => engine.state(),
            _ => TcpState::Closed,
        }
    }

    /// Bytes to read.
    pub(super) fn recv_queue(&self) -> usize {
        self.engine.as_ref().map_or(0, Machine::recv_queue)
    }

    /// Bytes not acknowledged.
    pub(super) fn send_queue(&self) -> usize {
        match &self.engine {
            Some(engine) if self.mapped => engine.send_queue(),
            _ => 0,
        }
    }

    /// What an application sees.
    pub(super) fn seen(&self) -> Seen {
        Seen {
            state: self.state(),
            recv_queue: self.recv_queue(),
        }
    }

    /// Notes what the other side's SYN says.
    pub(super) fn meet(&mut self, peer_isn: u32, scales: bool) {
        self.peer_isn = peer_isn;
        let capacity = self.engine.as_ref().map_or(0, Machine::recv_capacity);
        self.shift = if scales { window_shift(capacity) } else { 0 };
    }

    /// The window field that the engine would send now.
    pub(super) fn window(&self) -> u16 {
        let room = |engine: &Machine| engine.recv_capacity().saturating_sub(engine.recv_queue());
        let room = self.engine.as_ref().map_or(0, room) >> self.shift;
        room.min(usize::from(u16::MAX)) as u16
    }

    /// Reading may have opened the window far enough to be told: to twice of what the other side knows
    /// of, or more (Linux: `tcp_cleanup_rbuf`).
    #[inline]
    pub(super) fn window_opened(&self) -> bool {
        let engine = self.engine.as_ref();
        engine.is_some_and(|engine| {
            self.window_opened_to(engine.recv_capacity(), engine.recv_queue())
        })
    }

    /// The same if that is the receive buffer, and so much waits in it.
    #[inline]
    pub(super) fn window_opened_to(&self, capacity: usize, queued: usize) -> bool {
        // The engine may know of a little more room than it tells of, and is asked rather once more.
        let spare = (1 << window_shift(capacity)) - 1;
        let room = (capacity + spare).saturating_sub(queued);
        (room >> self.shift) / 2 >= self.known_room(queued) >> self.shift
    }

    /// How much the other side knows that it may send, if so much waits to be read.
    #[inline]
    fn known_room(&self, queued: usize) -> usize {
        let edge = (self.marks.acking).wrapping_add(u32::from(self.marks.window) << self.shift);
        let left = edge.wrapping_sub(self.recv_next_after(queued)) as i32;
        usize::try_from(left).unwrap_or(0)
    }

    /// A third of the send buffer is free (`sk_stream_is_writeable`).
    pub(super) fn has_room(&self) -> bool {
        self.engine.as_ref().is_none_or(|engine| {
            let queued = engine.send_queue();
            engine.send_capacity() - queued >= queued / 2
        })
    }

    /// The application waits to write, and there is room again.
    #[inline]
    pub(super) fn finds_room(&mut self) -> bool {
        let found = self.want_write && self.has_room();
        self.want_write &= !found;
        found
    }

    /// What `poll(2)` says.
    pub(super) fn ready(&self) -> Ready {
        let over = !self.mapped;
        let error = self.error.is_some();
        let ended = self.ended;
        let open = !self.state().opening();
        Ready {
            readable: over || error || ended || self.recv_queue() > 0,
            writable: over || error || (open && (self.write_shut || self.has_room())),
            hup: over || (ended && self.write_shut),
            error,
        }
    }

    /// The next sequence number that the other side will use (`RCV.NXT`).
    pub(super) fn recv_next(&self) -> u32 {
        self.recv_next_after(self.recv_queue())
    }

    /// The same if so much waits to be read.
    #[inline]
    fn recv_next_after(&self, queued: usize) -> u32 {
        let data = self.read.wrapping_add(queued as u32);
        let control = 1 + u32::from(self.ended);
        self.peer_isn.wrapping_add(data).wrapping_add(control)
    }

    /// How old an acknowledgement may be to be believed: by no more than the largest window that was told, and than what has
    /// been acknowledged (RFC 5961 §5.2), modulo 2³². As Linux counts it, our SYN is a part of that if we called.
    pub(super) fn ack_reach(&self) -> u32 {
        let acked = self.marks.acked.wrapping_sub(self.marks.isn);
        let acked = acked.wrapping_sub(u32::from(!self.called));
        acked.min(self.engine.as_ref().map_or(0, Machine::widest))
    }

    /// How much more the other side knows that it may send.
    pub(super) fn room_told(&self) -> u32 {
        self.known_room(self.recv_queue()) as u32
    }

    /// The other side is alive.
    pub(super) const fn hear_sign(&mut self, now: Time) {
        self.heard = now;
        self.probes = 0;
    }

    /// Notes what the header of an incoming segment says, once the engine has had it.
    pub(super) fn hear(&mut self, now: Time, segment: &Segment) {
        self.hear_sign(now);
        if segment.has(ACK) {
            self.acknowledged(now, segment.ack, segment.window, self.state());
        }
    }

    /// The other side has had everything before `ack`, after which the engine is in this state.
    #[inline(always)]
    pub(super) fn acknowledged(&mut self, now: Time, ack: u32, window: u16, state: TcpState) {
        let marks = &mut self.marks;
        let possible = !after(marks.acked, ack) && !after(ack, marks.sent);
        marks.again &= ack != marks.sent;
        marks.again |= window == 0;
        if !possible {
            return;
        }
        let progress = ack != marks.acked;
        marks.acked = ack;
        // A peer that answers with a closed window is alive; nobody waits for an orphan's peer though.
        let patient = window == 0 && self.owner != Owner::Nobody;
        if progress || patient {
            let waits = marks.outstanding() || state.waits_for_fin();
            self.stalled = waits.then_some(now);
        }
    }

    /// SYNs that it may send.
    const fn syns_allowed(&self) -> u8 {
        match self.owner {
            Owner::Embryo(_) => ACCEPT_SYNS,
            _ => CONNECT_SYNS,
        }
    }

    /// When it is to be run or looked at, the end of time if never, when its engine wants to run `next`, in this state
    /// and with so many bytes that are not acknowledged. `dry`: it has just been run and had nothing to send. `None`: at once.
    #[inline(always)]
    pub(super) fn planned(
        &mut self,
        now: Time,
        (next, dry): (Next, bool),
        state: TcpState,
        queued: usize,
    ) -> Option<Time> {
        self.watch(now, next, state, queued);
        let opening = state.opening();
        let engine_at = match self.wanted(next, opening) {
            Next::Never => Time::MAX,
            Next::At(at) => at,
            Next::Now if dry => now + AGAIN,
            Next::Now => return None,
        };
        Some(engine_at.min(self.limit(opening)))
    }

    /// When the engine wants to be run. Once all SYNs are sent it has to wait for the end.
    const fn wanted(&self, next: Next, opening: bool) -> Next {
        if opening && self.marks.syns >= self.syns_allowed() {
            Next::Never
        } else {
            next
        }
    }

    #[inline]
    fn silence_ends(&self, opening: bool) -> Option<Time> {
        if opening {
            return Some(match self.owner {
                Owner::Embryo(_) => self.opened + ACCEPT_GIVES_UP,
                _ => self.opened + CONNECT_GIVES_UP,
            });
        }
        let since = self.stalled?;
        Some(match self.owner {
            Owner::Nobody => since + ORPHAN_GIVES_UP,
            _ => since + DATA_GIVES_UP,
        })
    }

    /// When the next keepalive probe, or the end after the last one, is due (`tcp_keepalive_timer`).
    fn keepalive_at(&self, opening: bool) -> Option<Time> {
        let (idle, ..) = self.options.keepalive?;
        let quiet = !opening && !self.marks.outstanding();
        quiet.then(|| (self.heard + idle).max(self.next_probe))
    }

    /// A keepalive probe is sent.
    pub(super) fn probed(&mut self, now: Time) {
        let interval = self.options.keepalive.map(|(_, interval, _)| interval);
        self.probes += 1;
        self.next_probe = now + interval.unwrap_or_default();
    }

    /// Nobody holds it, and the other side has left what was sent unacknowledged for so long that it is sent again.
    pub(super) fn is_unanswered(&self, now: Time) -> bool {
        let since = self.stalled.filter(|_| self.owner == Owner::Nobody);
        since.is_some_and(|since| now.since(since) >= MIN_RTO)
    }

    /// Something sent has not been acknowledged. An acknowledgement of our FIN that the engine did not
    /// believe counts as none.
    pub(super) fn waits(&self) -> bool {
        self.marks.outstanding() || self.state().waits_for_fin()
    }

    /// Nothing but our FIN has not been acknowledged of what was sent.
    pub(super) fn only_fin_waits(&self, state: TcpState) -> bool {
        state.waits_for_fin() && self.send_queue() == 0 && self.marks.outstanding()
    }

    /// What asks the other side where it is: no data, one before the first number that it has not acknowledged. An engine
    /// without a timer sends no FIN again, so that this is one then.
    pub(super) fn question(&self, overdue: Overdue) -> Bare {
        let una = self.marks.acked;
        match overdue == Overdue::Window && self.only_fin_waits(self.state()) {
            true => self.bare(una, FIN),
            false => self.bare(una.wrapping_sub(1), ACK),
        }
    }

    /// The engine has data and no timer. smoltcp 0.14 gets there when an old acknowledgement that
    /// closes the window overtakes a newer one: its retransmission timer runs out against the closed
    /// window and no probe is started. The probe that Linux sends (no data, one before the first
    /// unacknowledged number) makes the other side say its window again. Or a window that had closed in front of what
    /// was under way opens, which stops its timer: the third answer to a probe has it send that again.
    #[inline]
    fn watch(&mut self, now: Time, next: Next, state: TcpState, queued: usize) {
        let waits = || self.marks.outstanding() || state.waits_for_fin();
        let stuck = next == Next::Never && (waits() || queued > 0);
        if !stuck || state.opening() {
            self.ask_at = None;
            self.asked = 0;
        } else if self.ask_at.is_none() {
            let wait = Duration::from_secs(1 << self.asked.min(6));
            self.ask_at = Some(now + wait.min(MAX_WAIT));
            self.stalled = self.stalled.or(Some(now));
        }
    }

    /// The first of this layer's own limits, the end of time if there is none.
    #[inline]
    fn limit(&self, opening: bool) -> Time {
        let mut first = self.silence_ends(opening).unwrap_or(Time::MAX);
        if let Some(at) = self.keepalive_at(opening) {
            first = first.min(at);
        }
        if let Some(at) = self.ask_at {
            first = first.min(at);
        }
        first
    }

    /// Which limit has been reached.
    pub(super) fn overdue(&self, now: Time) -> Option<Overdue> {
        let opening = self.state().opening();
        if self.silence_ends(opening).is_some_and(|at| at <= now) {
            return Some(Overdue::Silence);
        }
        if self.ask_at.is_some_and(|at| at <= now) {
            return Some(Overdue::Window);
        }
        let due = self.keepalive_at(opening).is_some_and(|at| at <= now);
        let (_, _, count) = self.options.keepalive?;
        due.then_some(if self.probes >= count {
            Overdue::KeepAlive
        } else {
            Overdue::Probe
        })
    }

    /// A segment without data: what is sent when the engine is not asked.
    pub(super) fn bare(&self, seq: u32, flags: u8) -> Bare {
        // No more than the engine has told, which it refuses; after a FIN nothing more will come.
        let window = if self.ended {
            self.marks.window
        } else {
            let known = self.known_room(self.recv_queue()) >> self.shift;
            self.window().min(u16::try_from(known).unwrap_or(u16::MAX))
        };
        Bare {
            local: self.local,
            remote: self.remote,
            seq,
            ack: self.recv_next(),
            flags: flags | ACK,
            window,
            hop_limit: self.options.hop_limit,
        }
    }
}
