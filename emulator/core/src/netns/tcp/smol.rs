//! [`TcpEngine`] on smoltcp: every connection is the only socket of its own `SocketSet`.
//!
//! smoltcp walks all sockets of a set for each packet; with one socket a set, the cost is that of the
//! connections that do something. Its interface is used without addresses and routes (`Medium::Ip`,
//! `any_ip`): it stands for a segment size and nothing else, so that a connection changes its segment
//! size by being run with another interface. Checksums are neither made nor verified here.
//!
//! smoltcp sees IPv4 only, whatever the wire carries: IPv6 headers are put on and taken off outside
//! (`emit.rs`, `input.rs`), and the interface of an IPv6 path is smaller by the difference. So one
//! mechanism sends super-segments in both families, Nagle's rule and delayed acknowledgements
//! with the true segment size included; smoltcp 0.14 itself would lose super-segments over IPv6.
//!
//! smoltcp rounds a window down to what its scale can say, from the number on that it acknowledges. So after an odd
//! number of bytes it takes back what it told before, and then refuses what the other side sends into it;
//! RFC 7323 §2.4 wants whatever was once in a told window to be taken. Here its receive buffer is longer by all that
//! rounding can take, and what is told leaves that out.
//!
//! smoltcp acknowledges a FIN at once. Linux lets that wait as for data (`tcp_fin` enters ping-pong mode), so that it goes
//! with the FIN of a program that closes in turn; so it is here.
//!
//! smoltcp asks for a closed window as soon as it has something to send. Linux waits for a retransmission timeout first
//! (`tcp_check_probe_timer`); so it is here, if there is nothing else to tell.
//!
//! Left as smoltcp has them: retransmission after at least 1 s (Linux: 200 ms), one SACK block sent and
//! none used, no timestamps, no ECN.

use core::net::SocketAddr;

use smoltcp::iface::{PollResult, SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::IpListenEndpoint;
use switch::{Pool, Time, copy};

use super::clock::{ceiling, instant, span, time};
use super::conn::{ACK_DELAY, window_shift};
use super::device::{Inbound, Outbound, Unseen, Window};
use super::emit::{Emitter, Marks, Reply};
use super::engine::{Congestion, Glance, Next, Setup, TcpEngine, TcpState};
use super::express::MIN_RTO;
use super::held::Held;
use super::paths::{LOCAL, PathIx, REMOTE, Shared, endpoint};
use super::pingpong::{HEADERS, KIND_SCALE, Pingpong, is_at_rest, option};
use super::queue::Queue;
use super::segment::{ACK, FIN};
use super::write::LEAST;

#[inline]
fn state(socket: &Socket<'static>) -> TcpState {
    match socket.state() {
        State::Closed => TcpState::Closed,
        State::Listen => TcpState::Listen,
        State::SynSent => TcpState::SynSent,
        State::SynReceived => TcpState::SynReceived,
        State::Established => TcpState::Established,
        State::FinWait1 => TcpState::FinWait1,
        State::FinWait2 => TcpState::FinWait2,
        State::CloseWait => TcpState::CloseWait,
        State::Closing => TcpState::Closing,
        State::LastAck => TcpState::LastAck,
        State::TimeWait => TcpState::TimeWait,
    }
}

/// smoltcp waits for a SYN, and looks at no other ones.
const fn awaits_syn(state: State) -> bool {
    matches!(state, State::Listen | State::SynSent)
}

/// An IPv4 packet of the engine's with a FIN and no data.
fn is_bare_fin(packet: &[u8]) -> bool {
    let Some(head) = packet.first_chunk::<HEADERS>() else {
        return false;
    };
    head[33] & FIN != 0 && packet.len() == 20 + usize::from(head[32] >> 4) * 4
}

/// An IPv4 packet of the other side's tells of no window.
fn closes_window(packet: &[u8]) -> bool {
    packet.get(34..36) == Some(&[0, 0])
}

/// Makes the headers of a packet of `len` bytes those of an acknowledgement that follows it.
fn end(head: &mut [u8; HEADERS], len: usize) {
    let fin = u32::from(head[33] & FIN);
    let data = len.saturating_sub(20 + usize::from(head[32] >> 4) * 4) as u32;
    let seq = u32::from_be_bytes([head[24], head[25], head[26], head[27]]);
    head[24..28].copy_from_slice(&seq.wrapping_add(data + fin).to_be_bytes());
    head[2..4].copy_from_slice(&(HEADERS as u16).to_be_bytes());
    (head[32], head[33]) = (0x50, ACK);
}

/// Bytes of smoltcp's receive buffer for a window of so many.
const fn ring(window: usize) -> usize {
    window + (1 << window_shift(window)) - 1
}

/// The window that there is a receive buffer of so many bytes for.
const fn told(ring: usize) -> usize {
    ring + 1 - (1 << window_shift(ring))
}

/// One connection.
#[derive(Debug)]
pub(super) struct Smol {
    pub(super) set: SocketSet<'static>,
    pub(super) handle: SocketHandle,
    pub(super) pingpong: Pingpong,
    pub(super) held: Held,
    pub(super) queue: Queue,
    /// Where in smoltcp's send buffer its data ends.
    pub(super) put_at: usize,
    /// What our windows are scaled by.
    pub(super) shift: u8,
    /// Acknowledgements that may have been repeats; see [`TcpEngine::is_worn`].
    repeats: u8,
    /// When the other side's FIN is acknowledged if nothing takes that along.
    fin_answer_at: Option<Time>,
    /// When the peer is asked for a window that was closed before there was anything to send.
    pub(super) asks_at: Option<Time>,
    /// Data came after what smoltcp sent last, answers aside: it may wait to acknowledge that.
    pub(super) owes: bool,
    /// Bytes that were copied into smoltcp's send buffer.
    #[cfg(test)]
    pub(super) copied: usize,
    /// Times that smoltcp was given a packet or asked for one.
    #[cfg(test)]
    pub(super) calls: usize,
}

impl Smol {
    fn set_up(&mut self, setup: &Setup) {
        self.pingpong.reset();
        self.held.reset();
        debug_assert!(!self.queue.is_on());
        self.shift = 0;
        self.fin_answer_at = None;
        self.asks_at = None;
        self.owes = false;
        if setup.congestion != Congestion::None {
            self.pingpong.forbid();
        }
        let socket = self.socket_mut();
        socket.set_nagle_enabled(!setup.nodelay);
        socket.set_hop_limit(Some(setup.hop_limit.max(1)));
        socket.set_ack_delay(setup.ack_delay.map(span));
        socket.set_congestion_control(match setup.congestion {
            Congestion::None => CongestionControl::None,
            Congestion::Reno => CongestionControl::Reno,
            Congestion::Cubic => CongestionControl::Cubic,
        });
    }

    pub(super) fn socket(&self) -> &Socket<'static> {
        self.set.get(self.handle)
    }

    /// The window that is told of.
    #[inline]
    pub(super) fn window(&self) -> Window {
        let socket = self.socket();
        let room = told(socket.recv_capacity()).saturating_sub(self.recv_queue());
        Window::new(room, self.shift)
    }

    /// Bytes of smoltcp's receive buffer.
    pub(super) fn ring_capacity(&self) -> usize {
        self.socket().recv_capacity()
    }

    /// The time to live of what is sent.
    pub(super) fn hop_limit(&self) -> u8 {
        self.socket().hop_limit().unwrap_or(64)
    }

    /// smoltcp is open and has nothing to send, to give or to acknowledge.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.pingpong.is_on() && !self.queue.is_on() && !self.owes && is_at_rest(self.socket())
    }

    pub(super) const fn repeats(&self) -> u8 {
        self.repeats
    }

    /// What smoltcp was given just now came before, and repeated nothing.
    pub(super) const fn set_repeats(&mut self, repeats: u8) {
        self.repeats = repeats;
    }

    fn socket_mut(&mut self) -> &mut Socket<'static> {
        self.set.get_mut(self.handle)
    }

    /// smoltcp has taken the first segment, which is a SYN or refuses ours.
    fn meet(&mut self, packet: &[u8]) {
        if option(packet, KIND_SCALE).is_some() {
            self.shift = window_shift(self.socket().recv_capacity());
        }
        self.pingpong.meet(packet);
    }

    /// As [`output`](TcpEngine::output), but what was sent was sent before; its sequence number.
    pub(super) fn output_unseen(
        &mut self,
        shared: &mut Shared,
        path: PathIx,
        now: Time,
    ) -> Option<u32> {
        self.fin_answer_at = None;
        self.call();
        self.pingpong.tell(now);
        let window = self.window();
        let mut device = Unseen(&mut self.pingpong, window, None);
        let iface = shared.iface(path);
        iface.poll_egress(instant(now), &mut device, &mut self.set);
        let seq = device.2;
        self.owes &= seq.is_none();
        if self.socket().recv_queue() > 0 {
            self.pingpong.outdate();
        }
        seq
    }

    /// smoltcp is called, which tests count.
    #[inline]
    pub(super) const fn call(&mut self) {
        #[cfg(test)]
        {
            self.calls += 1;
        }
    }

    /// smoltcp has something to send.
    fn is_due(&mut self, shared: &mut Shared, path: PathIx, now: Instant) -> bool {
        let at = shared.iface(path).poll_at(now, &self.set);
        at.is_some_and(|at| at <= now)
    }

    /// When the other side's FIN is acknowledged, if nothing else is to be sent.
    fn fin_waits(&self) -> Option<Time> {
        let alone = |socket: &Socket<'static>| {
            socket.state() == State::CloseWait && socket.send_queue() == 0
        };
        self.fin_answer_at.filter(|_| alone(self.socket()))
    }

    /// smoltcp would ask for a window now, and does nothing else.
    fn asks_later(&self, now: Time) -> Option<Time> {
        self.asks_at.filter(|at| {
            *at > ceiling(now)
                && self.pingpong.window_told() == Some(0)
                && self.pingpong.is_current()
                && self.socket().state() == State::Established
        })
    }

    /// All data or our FIN is acknowledged by this packet, which closes the window. smoltcp 0.14 goes on to ask for that if it
    /// did before, in FIN_WAIT_2 again and again at the same moment: it is told of a window in between.
    #[cold]
    fn stop_asking(&mut self, shared: &mut Shared, path: PathIx, now: Time, packet: &[u8]) {
        let may_ask = matches!(
            self.socket().state(),
            State::Established | State::CloseWait | State::FinWait2
        );
        let Some(mut head) = packet.first_chunk().copied().filter(|_| may_ask) else {
            return;
        };
        end(&mut head, packet.len());
        for window in [1, 0] {
            head[35] = window;
            let mut device = Inbound {
                packet: Some(&head),
                reply: &mut Reply::new(),
                mtu: 0,
                burst: 0,
            };
            shared
                .iface(path)
                .poll_ingress_single(instant(now), &mut device, &mut self.set);
        }
    }

    /// Takes data that was given before; how many bytes.
    pub(super) fn send_unseen(&mut self, bytes: &[u8]) -> usize {
        self.put(bytes)
    }

    /// Puts data into smoltcp's buffer, which ends in two places at most; how many bytes.
    fn put(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        if self.socket().send_queue() == 0 {
            self.put_at = 0;
        }
        for _ in 0..2 {
            let taken = self.socket_mut().send(|room| {
                let count = room.len().min(rest.len());
                copy(&mut room[..count], &rest[..count]);
                (count, count)
            });
            rest = &rest[taken.unwrap_or(0)..];
        }
        let taken = bytes.len() - rest.len();
        #[cfg(test)]
        {
            self.copied += taken;
        }
        self.put_at = (self.put_at + taken) % self.send_capacity();
        taken
    }

    /// Has smoltcp's empty buffer hold so many bytes, whatever they are.
    pub(super) fn put_blank(&mut self, count: usize) {
        let put = self.socket_mut().send(|room| (count, room.len()));
        debug_assert!(
            put.is_ok_and(|room| room >= count),
            "a buffer that is not empty"
        );
        self.put_at = count % self.send_capacity();
    }

    /// Gets data out of smoltcp's buffer, which begins in two places at most; how many bytes.
    fn get(&mut self, buffer: &mut [u8]) -> usize {
        let mut given = 0;
        for _ in 0..2 {
            let room = &mut buffer[given..];
            let taken = self.socket_mut().recv(|bytes| {
                let count = bytes.len().min(room.len());
                copy(&mut room[..count], &bytes[..count]);
                (count, count)
            });
            given += taken.unwrap_or(0);
        }
        given
    }

    /// So many received bytes were read before.
    pub(super) fn skip(&mut self, mut count: usize) {
        while count > 0 {
            let taken = self.socket_mut().recv(|bytes| {
                let taken = count.min(bytes.len());
                (taken, taken)
            });
            match taken {
                Ok(taken) if taken > 0 => count -= taken,
                _ => return,
            }
        }
    }
}

impl TcpEngine for Smol {
    type Shared = Shared;
    type Path = PathIx;

    fn path(shared: &mut Shared, local: SocketAddr, mtu: usize, offload: bool) -> PathIx {
        shared.path(local, mtu, offload)
    }

    fn new(setup: &Setup) -> Self {
        let socket = Socket::new(
            SocketBuffer::new(vec![0; ring(setup.recv_buffer)]),
            SocketBuffer::new(vec![0; setup.send_buffer]),
        );
        let storage: Vec<SocketStorage<'static>> = Vec::with_capacity(1);
        let mut set = SocketSet::new(storage);
        let handle = set.add(socket);
        let mut engine = Self {
            set,
            handle,
            pingpong: Pingpong::default(),
            held: Held::default(),
            queue: Queue::default(),
            put_at: 0,
            shift: 0,
            repeats: 0,
            fin_answer_at: None,
            asks_at: None,
            owes: false,
            #[cfg(test)]
            copied: 0,
            #[cfg(test)]
            calls: 0,
        };
        engine.set_up(setup);
        engine
    }

    fn fits(&self, setup: &Setup) -> bool {
        (self.recv_capacity(), self.send_capacity()) == (setup.recv_buffer, setup.send_buffer)
    }

    /// smoltcp clears a socket when it connects or listens, and leaves these behind: whether the other side
    /// has SACK, set again by its SYN; the number that it sent last, looked at only if something arrived out of
    /// order after that; its last acknowledgement, which no first one of a new connection can repeat, and how
    /// often it was repeated, set back by that first one.
    fn renew(&mut self, setup: &Setup) {
        debug_assert!(!self.is_worn());
        self.repeats = 0;
        self.socket_mut().abort();
        self.set_up(setup);
    }

    /// After a third repeated acknowledgement smoltcp may keep in mind to send something again.
    fn is_worn(&self) -> bool {
        self.repeats >= 3
    }

    fn connect(
        &mut self,
        shared: &mut Shared,
        path: PathIx,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> bool {
        let context = shared.iface(path).context();
        let (local, remote) = (endpoint(local, LOCAL), endpoint(remote, REMOTE));
        self.socket_mut().connect(context, remote, local).is_ok()
    }

    fn listen(&mut self, local: SocketAddr) -> bool {
        let local = IpListenEndpoint::from(endpoint(local, LOCAL));
        self.socket_mut().listen(local).is_ok()
    }

    fn input(
        &mut self,
        shared: &mut Shared,
        path: PathIx,
        now: Time,
        packet: &mut [u8],
        burst: bool,
        reply: &mut Reply,
    ) {
        if self.pingpong.is_on() {
            if !burst && self.pingpong.hear(now, packet) {
                return;
            }
            self.catch_up(shared, path);
        }
        debug_assert!(!self.held.is_on());
        self.call();
        self.held.count(packet.len(), burst);
        self.pingpong.tell(now);
        self.pingpong.lower(packet);
        // smoltcp would take it for one segment and have the acknowledgement wait for a second one.
        let delay = self.socket().ack_delay().filter(|_| burst);
        if delay.is_some() {
            self.socket_mut().set_ack_delay(Some(Duration::ZERO));
        }
        let queues = |socket: &Socket<'static>| (socket.send_queue(), socket.recv_queue());
        let before = queues(self.socket());
        let state = self.socket().state();
        let may_wait = state == State::Established
            && is_bare_fin(packet)
            && !self.is_due(shared, path, instant(now));
        let mut device = Inbound {
            packet: Some(packet),
            reply,
            mtu: 0,
            burst: 0,
        };
        shared
            .iface(path)
            .poll_ingress_single(instant(now), &mut device, &mut self.set);
        if awaits_syn(state) && !awaits_syn(self.socket().state()) {
            self.meet(packet);
        }
        if let Some(answer) = reply.bytes_mut() {
            let field = self.window().tell(answer);
            self.pingpong.wrote(answer, field);
            self.fin_answer_at = None;
        } else if may_wait && self.is_due(shared, path, instant(now)) {
            self.fin_answer_at = Some(ceiling(now) + ACK_DELAY);
        }
        let after = queues(self.socket());
        let has_ended = state == State::FinWait1 && self.socket().state() == State::FinWait2;
        if after.0 == 0 && (before.0 > 0 || has_ended) && closes_window(packet) {
            self.stop_asking(shared, path, now, packet);
        }
        self.owes |= after.1 > before.1;
        let opens = matches!(state, State::SynSent | State::SynReceived);
        let opened = opens && self.socket().state() == State::Established;
        self.pingpong.took(packet, before, after, opened);
        if after.0 == before.0 && (before.0 > 0 || self.state().waits_for_fin()) {
            self.repeats = self.repeats.saturating_add(1);
        }
        if delay.is_some() {
            self.socket_mut().set_ack_delay(delay);
        }
    }

    fn output(
        &mut self,
        shared: &mut Shared,
        path: PathIx,
        now: Time,
        out: &mut Emitter<'_>,
    ) -> bool {
        if self.pingpong.is_on() {
            if self.speak(shared, path, now, out) {
                return true;
            }
            if self.pingpong.next(now) != Next::Now {
                return false;
            }
            self.catch_up(shared, path);
        }
        if self.queue.is_on() {
            let is_known = !self.queue.is_owing || self.pay(shared, path, now);
            if is_known && !self.is_overdue(now) {
                return self.send_queued(shared, path, now, out);
            }
            self.settle(shared, path, out.pool);
        }
        if self.held.is_on() {
            return self.say(now, out);
        }
        if self.fin_waits().is_some_and(|at| ceiling(now) < at) {
            return false;
        }
        if self.asks_later(now).is_some() {
            return false;
        }
        self.fin_answer_at = None;
        self.asks_at = None;
        self.call();
        self.pingpong.tell(now);
        let window = self.window();
        let mut device = Outbound(out, &mut self.pingpong, window);
        let iface = shared.iface(path);
        let result = iface.poll_egress(instant(now), &mut device, &mut self.set);
        if self.socket().recv_queue() > 0 {
            self.pingpong.outdate();
        }
        let has_sent = result == PollResult::SocketStateChanged;
        self.owes &= !has_sent;
        has_sent
    }

    /// What would be sent at that time finds no room: so smoltcp measures no round-trip time from then on.
    fn lapse(&mut self, shared: &mut Shared, path: PathIx, at: Time) {
        let mut device = Inbound {
            packet: None,
            reply: &mut Reply::new(),
            mtu: 0,
            burst: 0,
        };
        let iface = shared.iface(path);
        iface.poll_egress(instant(at), &mut device, &mut self.set);
    }

    fn next(&self, shared: &mut Shared, path: PathIx, now: Time) -> Next {
        if self.pingpong.is_on() {
            return self.pingpong.next(now);
        }
        if self.queue.is_on() {
            return self.next_queued(shared, path, now);
        }
        if self.held.is_on() {
            return self.next_said(now);
        }
        if let Some(at) = self.fin_waits().filter(|at| ceiling(now) < *at) {
            return Next::At(at);
        }
        if let Some(at) = self.asks_later(now) {
            return Next::At(at);
        }
        let now = instant(now);
        match shared.iface(path).poll_at(now, &self.set) {
            None => Next::Never,
            Some(at) if at <= now => Next::Now,
            Some(at) => Next::At(time(at)),
        }
    }

    #[inline]
    fn state(&self) -> TcpState {
        if self.pingpong.is_on() {
            return TcpState::Established;
        }
        state(self.socket())
    }

    #[inline]
    fn glance(&self) -> Glance {
        if self.pingpong.is_on() {
            return Glance {
                state: TcpState::Established,
                recv_queue: self.pingpong.unread(),
                send_queue: self.pingpong.unacknowledged(),
            };
        }
        let socket = self.socket();
        Glance {
            state: state(socket),
            recv_queue: socket.recv_queue() + self.held.unread(),
            send_queue: match self.queue.is_on() {
                true => self.queue.queued(),
                false => socket.send_queue(),
            },
        }
    }

    fn send(
        &mut self,
        shared: &mut Shared,
        path: PathIx,
        pool: &mut Pool,
        when: (Time, &Marks, usize),
        bytes: &[u8],
    ) -> usize {
        self.held.turn();
        if self.held.is_on() && !self.queue.is_on() && !self.has_turn() {
            self.take_over(shared, path, pool);
        }
        let is_message = self.pingpong.is_message(bytes.len());
        let is_long = bytes.len() >= LEAST || !is_message && self.is_answering();
        if (self.queue.is_on() || is_long)
            && let Some(taken) = self.write((shared, path), pool, when, bytes)
        {
            return taken;
        }
        let (now, ..) = when;
        if self.held.is_on() && !self.pingpong.is_on() && !self.answer(bytes.len()) {
            self.part(shared, path, pool);
        }
        if self.pingpong.is_on() || self.begin(shared, path, now, bytes.len()) {
            if self.pingpong.say(bytes) {
                return bytes.len();
            }
            self.catch_up(shared, path);
        }
        let is_closed = self.pingpong.window_told() == Some(0);
        let asks = is_closed && self.socket().send_queue() == 0;
        let taken = self.put(bytes);
        if taken > 0 && asks {
            self.asks_at = Some(ceiling(now) + MIN_RTO);
        }
        taken
    }

    fn recv(&mut self, pool: &mut Pool, buffer: &mut [u8]) -> usize {
        if self.held.is_on() {
            return self.held.recv(pool, buffer);
        }
        if self.pingpong.is_on() {
            let waiting = self.pingpong.waiting();
            let count = waiting.len().min(buffer.len());
            buffer[..count].copy_from_slice(&waiting[..count]);
            self.pingpong.take(count);
            return count;
        }
        self.get(buffer)
    }

    fn recv_with(&mut self, pool: &mut Pool, look: &mut dyn FnMut(&[u8]) -> usize) -> usize {
        if self.held.is_on() {
            return self.held.recv_with(pool, look);
        }
        if self.pingpong.is_on() {
            let waiting = self.pingpong.waiting();
            let count = look(waiting).min(waiting.len());
            self.pingpong.take(count);
            return count;
        }
        let taken = self.socket_mut().recv(|bytes| {
            let taken = look(bytes).min(bytes.len());
            (taken, taken)
        });
        taken.unwrap_or(0)
    }

    fn shutdown(&mut self, shared: &mut Shared, path: PathIx) {
        debug_assert!(!self.queue.is_on());
        if self.pingpong.is_on() {
            self.catch_up(shared, path);
        }
        self.socket_mut().close();
    }

    fn abort(&mut self, shared: &mut Shared, path: PathIx) {
        debug_assert!(!self.queue.is_on());
        if self.pingpong.is_on() {
            self.catch_up(shared, path);
        }
        self.socket_mut().abort();
    }

    fn recv_queue(&self) -> usize {
        match self.pingpong.is_on() {
            true => self.pingpong.unread(),
            false => self.socket().recv_queue() + self.held.unread(),
        }
    }

    fn send_queue(&self) -> usize {
        match self.pingpong.is_on() {
            true => self.pingpong.unacknowledged(),
            false if self.queue.is_on() => self.queue.queued(),
            false => self.socket().send_queue(),
        }
    }

    fn buffer_bytes(&self) -> usize {
        self.recv_capacity() + self.send_capacity()
    }

    fn recv_capacity(&self) -> usize {
        told(self.socket().recv_capacity())
    }

    fn send_capacity(&self) -> usize {
        self.socket().send_capacity()
    }

    fn set_nodelay(&mut self, on: bool) {
        self.socket_mut().set_nagle_enabled(!on);
    }

    fn set_hop_limit(&mut self, hops: u8) {
        self.pingpong.set_hop_limit(hops.max(1));
        self.socket_mut().set_hop_limit(Some(hops.max(1)));
    }
}
