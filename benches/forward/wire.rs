//! Bursts of one pair of containers on docker0, or of many pairs in turn, and the copies alone as their anchor.

use super::crowd::many_on_docker0;
use super::frames::{Burst, Datagram, FIRST, PORT, datagram, datagram_v6};
use super::{BURST, Entry, answer, config, settle, tick};
use crate::common::lab::{Host, assert_tracked, events, on_docker0};
use crate::common::{Rounds, rate};
use switch::Pool;
use switch::link::Mode;
use vethlab::core::lab::Lab;
use vethlab::core::net::Net;

/// Two containers on docker0, of whom the first sends to the second.
struct Pair {
    a: Host,
    b: Host,
    /// A frame from the one to the other.
    frame: Vec<u8>,
}

/// Containers on docker0, of whom a pair has its turn.
pub(crate) struct Wire {
    lab: Lab,
    pairs: Vec<Pair>,
    /// The pair that is next.
    turn: usize,
    /// What is sent, addressed anew if another pair has its turn.
    burst: Burst,
    entry: Entry,
}

impl Wire {
    /// Frames of `len` bytes between two containers, of so many connections in turn.
    pub(crate) fn new(mode: Mode, len: usize, flows: u16, entry: Entry) -> Self {
        let (mut lab, hosts) = on_docker0(config(mode), 2);
        let (a, b) = (hosts[0], hosts[1]);
        for host in [a, b] {
            lab.net_mut().raw(host.eth0, true);
        }
        let burst = Burst::new(a, b, len, flows);
        let mut wire = Self::of(lab, vec![Pair::new(a, b, len)], burst, entry);
        wire.burst();
        wire.answer(flows, datagram);
        wire
    }

    /// The same with frames of IPv6.
    pub(crate) fn v6(mode: Mode, len: usize, flows: u16, entry: Entry) -> Self {
        let mut wire = Self::new(mode, len, 1, entry);
        let pair = &wire.pairs[0];
        wire.burst = Burst::v6(pair.a, pair.b, len, flows);
        wire.burst();
        wire.answer(flows, datagram_v6);
        wire
    }

    /// So many containers, each of which sends a burst to the next when it is its turn.
    pub(super) fn many(mode: Mode, len: usize, ports: usize) -> Self {
        let (lab, hosts) = many_on_docker0(mode, ports);
        let next = hosts.iter().cycle().skip(1);
        let pairs = hosts.iter().zip(next);
        let pairs: Vec<Pair> = pairs.map(|(&a, &b)| Pair::new(a, b, len)).collect();
        let burst = Burst::new(pairs[0].a, pairs[0].b, len, 1);
        let mut wire = Self::of(lab, pairs, burst, Entry::Burst);
        for _ in 0..ports {
            wire.burst();
        }
        wire.answer(1, datagram);
        wire
    }

    fn of(lab: Lab, pairs: Vec<Pair>, burst: Burst, entry: Entry) -> Self {
        Self {
            lab,
            pairs,
            turn: 0,
            burst,
            entry,
        }
    }

    /// Every connection is answered once.
    fn answer(&mut self, flows: u16, datagram: Datagram) {
        for pair in &self.pairs {
            let (a, b) = (pair.a, pair.b);
            for flow in 0..flows {
                let frame = datagram((b, PORT), (a, FIRST + flow), self.burst.len);
                answer(&mut self.lab, a, b, &frame);
            }
        }
    }

    /// The next pair's burst.
    pub(crate) fn burst(&mut self) -> u64 {
        tick(&mut self.lab);
        let turn = self.turn;
        self.turn = (turn + 1) % self.pairs.len();
        let pair = &self.pairs[turn];
        if self.pairs.len() > 1 {
            self.burst.address(&pair.frame);
        }
        self.burst.renew();
        pair.send(self.lab.net_mut(), self.entry, &self.burst);
        settle(&mut self.lab);
        pair.receive(self.lab.net_mut(), self.entry, &self.burst);
        // At least: sent, forwarded.
        assert!(events(&mut self.lab) >= 2 * BURST as u64);
        BURST as u64
    }

    pub(crate) fn rate(&mut self, rounds: Rounds) -> f64 {
        rate(rounds, || (0..16).map(|_| self.burst()).sum())
    }

    /// Its connections are tracked, and no frame was lost.
    pub(super) fn check(&self) {
        assert_tracked(&self.lab, self.pairs.len());
        assert_eq!(self.lab.net().pool.in_use(), 0, "a frame was lost");
    }
}

impl Pair {
    fn new(a: Host, b: Host, len: usize) -> Self {
        let frame = datagram((a, FIRST), (b, PORT), len);
        Self { a, b, frame }
    }

    fn send(&self, net: &mut Net, entry: Entry, burst: &Burst) {
        match entry {
            Entry::Burst => {
                let sent = net.raw_send_burst(self.a.eth0, burst.frames());
                assert_eq!(sent, Ok(BURST));
            }
            Entry::Single => {
                for frame in burst.frames() {
                    net.raw_send(self.a.eth0, frame).expect("sent");
                }
            }
        }
    }

    fn receive(&self, net: &mut Net, entry: Entry, burst: &Burst) {
        let mut expected = burst.frames();
        let mut same = true;
        let mut look = |bytes: &[u8]| same &= expected.next() == Some(bytes);
        match entry {
            Entry::Burst => {
                net.raw_recv_burst(self.b.eth0, usize::MAX, look);
            }
            Entry::Single => while net.raw_recv(self.b.eth0, &mut look).is_some() {},
        }
        assert!(same, "a frame is not as it was sent");
        assert_eq!(expected.next(), None, "a frame did not arrive");
    }
}

/// The copies alone.
pub(super) struct Bare {
    pool: Pool,
    burst: Burst,
    /// Behind the first, from the sender's bytes.
    copies: u32,
    held: Vec<switch::Frame>,
}

impl Bare {
    pub(super) fn new(like: &Wire, mode: Mode) -> Self {
        let pair = &like.pairs[0];
        Self {
            pool: Pool::default(),
            burst: Burst::new(pair.a, pair.b, like.burst.len, 1),
            copies: match mode {
                Mode::Copy => 1,
                Mode::Move => 0,
            },
            held: Vec::with_capacity(BURST),
        }
    }

    fn burst(&mut self) -> u64 {
        self.burst.renew();
        for frame in self.burst.frames() {
            self.held
                .push(self.pool.from_bytes(frame).expect("a buffer"));
        }
        for _ in 0..self.copies {
            for frame in &mut self.held {
                let copy = self.pool.copy(frame).expect("a buffer");
                self.pool.free(std::mem::replace(frame, copy));
            }
        }
        let mut same = true;
        for (frame, expected) in self.held.drain(..).zip(self.burst.frames()) {
            same &= self.pool.bytes(&frame) == expected;
            self.pool.free(frame);
        }
        assert!(same);
        BURST as u64
    }

    pub(super) fn rate(&mut self, rounds: Rounds) -> f64 {
        rate(rounds, || (0..16).map(|_| self.burst()).sum())
    }
}
