//! smoltcp catches up: how ping-pong begins where smoltcp is at rest, and how that takes over what has passed it by.

use smoltcp::phy::{Device, DeviceCapabilities, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::time::Instant;
use switch::Time;

use super::{AFTER, HEADERS, LIMIT};
use crate::netns::tcp::clock::instant;
use crate::netns::tcp::conn::ACK_DELAY;
use crate::netns::tcp::device::capabilities;
use crate::netns::tcp::emit::Emitter;
use crate::netns::tcp::paths::{PathIx, Shared};
use crate::netns::tcp::segment::{FIN, RST, SYN};
use crate::netns::tcp::smol::Smol;

impl Smol {
    /// Begins with a message of `len` bytes, if smoltcp is at rest. An acknowledgement that it owes goes with the
    /// message, when that leaves: it writes one that stays here.
    pub(in crate::netns::tcp) fn begin(
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
    pub(in crate::netns::tcp) fn speak(
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
    pub(in crate::netns::tcp) fn owe_nothing(
        &mut self,
        shared: &mut Shared,
        path: PathIx,
        now: Time,
    ) -> bool {
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
    pub(in crate::netns::tcp) fn catch_up(&mut self, shared: &mut Shared, path: PathIx) {
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
pub(in crate::netns::tcp) fn is_at_rest(socket: &Socket<'static>) -> bool {
    is_alone(socket) && socket.send_queue() == 0
}

/// The same, but for what it has to send.
pub(in crate::netns::tcp) fn is_alone(socket: &Socket<'static>) -> bool {
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
