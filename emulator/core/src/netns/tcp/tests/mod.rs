//! Two layers back to back in virtual time, with a wire between them that can delay, drop, double and
//! reorder.

mod brief;
mod bytes;
mod claims;
mod close;
mod data;
mod forged;
mod listen;
mod old;
mod open;
mod path;
mod pingpong;
mod queue;
mod reset;
mod slow;
mod spare;
mod unsent;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use switch::wire::Packet;
use switch::{DropReason, Frame, Pool, Time};

use super::segment::Segment;
use super::{Congestion, Spares, Tcp, TcpCx, TcpId, TcpOptions};
use crate::app::SockOpt;
use crate::netns::Errno;

/// The client's end and the server's end.
pub(super) const A: usize = 0;
pub(super) const B: usize = 1;

/// A segment on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) at: Time,
    pub(super) from: usize,
    pub(super) segment: Segment,
    pub(super) len: usize,
    /// The longest packet that an edge cuts it into.
    pub(super) cut: usize,
    /// Of all of its bytes.
    pub(super) hash: u64,
}

/// What the wire does with a segment: deliver it once for each delay.
pub(super) type Wire = Box<dyn FnMut(&Sent) -> Vec<Duration>>;

pub(super) struct End {
    pub(super) tcp: Tcp,
    pub(super) out: Vec<Frame>,
    pub(super) wakes: Vec<TcpId>,
    pub(super) refused: Vec<DropReason>,
}

pub(super) struct Rig {
    pub(super) now: Time,
    pub(super) pool: Pool,
    pub(super) ends: [End; 2],
    pub(super) wire: Wire,
    pub(super) log: Vec<Sent>,
    pub(super) mtu: usize,
    under_way: BTreeMap<(Time, u64), (usize, Frame)>,
    number: u64,
    pub(super) spares: Spares,
    /// No engine is used a second time.
    pub(super) afresh: bool,
}

/// How long a segment is under way unless the wire says otherwise.
pub(super) const DELAY: Duration = Duration::from_micros(50);

pub(super) const V4: [&str; 2] = ["10.0.0.1:40000", "10.0.0.2:80"];
pub(super) const V6: [&str; 2] = ["[2001:db8::1]:40000", "[2001:db8::2]:80"];

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn all(_: &Sent) -> Vec<Duration> {
    vec![DELAY]
}

pub(super) fn nothing(_: &Sent) -> Vec<Duration> {
    Vec::new()
}

/// A pattern that shows where bytes are missing or in the wrong place.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    let mut rng = switch::Rng::new(len as u64);
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    bytes
}

impl End {
    fn new(seed: u64) -> Self {
        Self {
            tcp: Tcp::new(seed),
            out: Vec::new(),
            wakes: Vec::new(),
            refused: Vec::new(),
        }
    }
}

/// Takes out the first of what an end has sent.
pub(super) fn first(out: &mut Vec<Frame>) -> Option<Frame> {
    (!out.is_empty()).then(|| out.remove(0))
}

impl Rig {
    pub(super) fn new() -> Self {
        Self {
            now: Time::ZERO,
            pool: Pool::default(),
            ends: [End::new(1), End::new(2)],
            wire: Box::new(all),
            log: Vec::new(),
            mtu: 1500,
            under_way: BTreeMap::new(),
            number: 0,
            spares: Spares::default(),
            afresh: false,
        }
    }

    /// `send(2)` at one end.
    pub(super) fn send(&mut self, end: usize, id: TcpId, bytes: &[u8]) -> Result<usize, Errno> {
        let when = (&mut self.pool, self.now);
        self.ends[end].tcp.send(when, id, bytes)
    }

    /// `shutdown(2)` at one end.
    pub(super) fn shut(&mut self, end: usize, id: TcpId) -> Result<(), Errno> {
        self.with(end, |tcp, cx| tcp.shutdown_write(cx, id))
    }

    /// Calls one end with everything lent.
    pub(super) fn with<R>(
        &mut self,
        end: usize,
        call: impl FnOnce(&mut Tcp, &mut TcpCx<'_>) -> R,
    ) -> R {
        if self.afresh {
            self.spares = Spares::default();
        }
        let end = &mut self.ends[end];
        let mut cx = TcpCx {
            now: self.now,
            mtu: self.mtu,
            pool: &mut self.pool,
            out: &mut end.out,
            wakes: &mut end.wakes,
            spares: &mut self.spares,
        };
        call(&mut end.tcp, &mut cx)
    }

    pub(super) fn tcp(&mut self, end: usize) -> &mut Tcp {
        &mut self.ends[end].tcp
    }

    pub(super) fn listen(&mut self, local: &str, backlog: usize) -> TcpId {
        let options = TcpOptions::default();
        self.tcp(B)
            .listen(address(local), backlog, &options)
            .unwrap()
    }

    pub(super) fn connect_with(
        &mut self,
        local: &str,
        remote: &str,
        options: &TcpOptions,
    ) -> Result<TcpId, Errno> {
        let mtu = self.mtu;
        let (local, remote) = (address(local), address(remote));
        self.with(A, |tcp, cx| tcp.connect(cx, local, remote, mtu, options))
    }

    pub(super) fn connect(&mut self, local: &str, remote: &str) -> TcpId {
        self.connect_with(local, remote, &TcpOptions::default())
            .unwrap()
    }

    /// A connection between the two, established: the ids at both ends.
    pub(super) fn pair(&mut self, ends: [&str; 2]) -> (TcpId, TcpId) {
        self.pair_with(ends, &TcpOptions::default())
    }

    pub(super) fn pair_with(&mut self, ends: [&str; 2], options: &TcpOptions) -> (TcpId, TcpId) {
        let listener = self.tcp(B).listen(address(ends[1]), 8, options).unwrap();
        let a = self.connect_with(ends[0], ends[1], options).unwrap();
        self.run_for(Duration::from_millis(5));
        let (b, from) = self.tcp(B).accept(listener).unwrap();
        assert_eq!(from, address(ends[0]));
        assert!(self.tcp(A).ready(a).writable);
        (a, b)
    }

    pub(super) fn close(&mut self, end: usize, id: TcpId) {
        self.with(end, |tcp, cx| tcp.close(cx, id));
    }

    pub(super) fn recv(&mut self, end: usize, id: TcpId) -> Result<Vec<u8>, Errno> {
        let mut buffer = vec![0; 64 * 1024];
        let len = self.with(end, |tcp, cx| tcp.recv(cx.pool, id, &mut buffer))?;
        buffer.truncate(len);
        Ok(buffer)
    }

    /// Puts on the wire what has been sent, and lets both ends finish what is to be done now.
    pub(super) fn flush(&mut self) {
        loop {
            let mut more = false;
            for end in [A, B] {
                more |= self.with(end, |tcp, cx| tcp.poll(cx));
                while let Some(frame) = first(&mut self.ends[end].out) {
                    more = true;
                    self.put(end, frame);
                }
            }
            if !more {
                return;
            }
        }
    }

    fn put(&mut self, from: usize, frame: Frame) {
        let bytes = self.pool.bytes(&frame);
        let packet = Packet::parse(bytes).unwrap();
        assert!(packet.dont_fragment && packet.len == bytes.len());
        if packet.source.is_ipv4() {
            assert!(switch::wire::header_checksum_ok(bytes));
        }
        let segment = Segment::parse(bytes, &packet).unwrap();
        let sent = Sent {
            at: self.now,
            from,
            segment,
            len: bytes.len(),
            hash: bytes.iter().fold(7, |hash: u64, &byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            }),
            cut: match usize::from(self.pool.meta(&frame).gso_size) {
                0 => bytes.len(),
                size => bytes.len() - segment.payload as usize + size,
            },
        };
        assert!(
            self.log.len() < 200_000,
            "no end of segments at {}",
            self.now
        );
        self.log.push(sent);
        let mut delays = (self.wire)(&sent).into_iter();
        let last = delays.next_back();
        for delay in delays {
            if let Some(copy) = self.pool.copy(&frame) {
                self.send_on(from, delay, copy);
            }
        }
        match last {
            // The other end gets the frame itself, which ours may have a claim to.
            Some(delay) => self.send_on(from, delay, frame),
            None => self.pool.free(frame),
        }
    }

    fn send_on(&mut self, from: usize, delay: Duration, frame: Frame) {
        self.number += 1;
        let key = (self.now + delay, self.number);
        self.under_way.insert(key, (1 - from, frame));
    }

    /// Gives a packet to an end.
    pub(super) fn deliver(&mut self, to: usize, frame: Frame) {
        let Ok(packet) = Packet::parse(self.pool.bytes(&frame)) else {
            self.pool.free(frame);
            return;
        };
        let result = self.with(to, |tcp, cx| tcp.input(cx, frame, &packet));
        if let Err((frame, reason)) = result {
            self.pool.free(frame);
            self.ends[to].refused.push(reason);
        }
    }

    /// The next time at which something happens.
    pub(super) fn next(&self) -> Option<Time> {
        let arrival = self.under_way.first_key_value().map(|((at, _), _)| *at);
        let timers = self.ends.iter().filter_map(|end| end.tcp.deadline());
        timers.chain(arrival).min()
    }

    pub(super) fn set_option(
        &mut self,
        end: usize,
        id: TcpId,
        option: SockOpt,
    ) -> Result<(), Errno> {
        let now = self.now;
        self.tcp(end).set_option(now, id, option)
    }

    /// Everything that happens up to `until`, `work` being done whenever something has.
    pub(super) fn run_with(&mut self, until: Time, mut work: impl FnMut(&mut Self)) {
        let mut steps = 0;
        loop {
            work(self);
            self.flush();
            let Some(next) = self.next().filter(|next| *next <= until) else {
                self.now = until;
                return;
            };
            assert!(next >= self.now, "time goes back");
            steps += 1;
            assert!(steps < 2_000_000, "no end in sight at {}", self.now);
            self.now = next;
            for end in [A, B] {
                if self.ends[end].tcp.deadline().is_some_and(|at| at <= next) {
                    self.with(end, |tcp, cx| tcp.fire(cx));
                }
            }
            while let Some(entry) = self.under_way.first_entry()
                && entry.key().0 <= next
            {
                let (to, frame) = entry.remove();
                self.deliver(to, frame);
            }
        }
    }

    pub(super) fn run_until(&mut self, until: Time) {
        self.run_with(until, |_| {});
    }

    pub(super) fn run_for(&mut self, span: Duration) {
        self.run_until(self.now + span);
    }

    /// Times at which `end` sent segments that `want` says yes to.
    pub(super) fn times(&self, end: usize, want: impl Fn(&Segment) -> bool) -> Vec<Time> {
        let sent = self.log.iter().filter(|sent| sent.from == end);
        let wanted = sent.filter(|sent| want(&sent.segment));
        wanted.map(|sent| sent.at).collect()
    }

    /// Nothing is left: no frame, no connection, no timer.
    pub(super) fn assert_empty(&mut self) {
        self.flush();
        assert_eq!(self.under_way.len(), 0);
        assert_eq!(self.pool.in_use(), 0, "frames were lost");
        for end in &self.ends {
            assert_eq!(end.tcp.connections(), 0, "{:?}", end.tcp.sockets());
            assert_eq!(end.tcp.time_waits(), 0);
            assert_eq!(end.tcp.buffer_bytes(), 0);
            assert_eq!(end.tcp.deadline(), None);
        }
    }
}
