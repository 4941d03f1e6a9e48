//! Two containers on docker0, and the copies alone as their anchor.

use super::frames::{Burst, FIRST, PORT, datagram, datagram_v6};
use super::{BURST, Entry, answer, config, settle, tick};
use crate::common::lab::{Host, assert_tracked, events, on_docker0};
use crate::common::{Rounds, rate};
use switch::Pool;
use switch::link::Mode;
use vethlab::core::lab::Lab;

/// Two containers on docker0.
pub(crate) struct Wire {
    lab: Lab,
    a: Host,
    b: Host,
    burst: Burst,
    entry: Entry,
}

impl Wire {
    /// Frames of `len` bytes, of so many connections in turn.
    pub(crate) fn new(mode: Mode, len: usize, flows: u16, entry: Entry) -> Self {
        let (mut lab, hosts) = on_docker0(config(mode), 2);
        let (a, b) = (hosts[0], hosts[1]);
        for host in [a, b] {
            lab.net_mut().raw(host.eth0, true);
        }
        let mut wire = Self {
            lab,
            a,
            b,
            burst: Burst::new(a, b, len, flows),
            entry,
        };
        wire.burst();
        for flow in 0..flows {
            let frame = datagram((b, PORT), (a, FIRST + flow), len);
            answer(&mut wire.lab, a, b, &frame);
        }
        wire
    }

    /// The same with frames of IPv6.
    pub(crate) fn v6(mode: Mode, len: usize, flows: u16, entry: Entry) -> Self {
        let mut wire = Self::new(mode, len, 1, entry);
        let (a, b) = (wire.a, wire.b);
        wire.burst = Burst::v6(a, b, len, flows);
        wire.burst();
        for flow in 0..flows {
            let frame = datagram_v6((b, PORT), (a, FIRST + flow), len);
            answer(&mut wire.lab, a, b, &frame);
        }
        wire
    }

    pub(crate) fn burst(&mut self) -> u64 {
        tick(&mut self.lab);
        self.burst.renew();
        self.send();
        settle(&mut self.lab);
        self.receive();
        // At least: sent, forwarded.
        assert!(events(&mut self.lab) >= 2 * BURST as u64);
        BURST as u64
    }

    fn send(&mut self) {
        let net = self.lab.net_mut();
        match self.entry {
            Entry::Burst => {
                let sent = net.raw_send_burst(self.a.eth0, self.burst.frames());
                assert_eq!(sent, Ok(BURST));
            }
            Entry::Single => {
                for frame in self.burst.frames() {
                    net.raw_send(self.a.eth0, frame).expect("sent");
                }
            }
        }
    }

    fn receive(&mut self) {
        let net = self.lab.net_mut();
        let mut expected = self.burst.frames();
        let mut same = true;
        let mut look = |bytes: &[u8]| same &= expected.next() == Some(bytes);
        match self.entry {
            Entry::Burst => {
                net.raw_recv_burst(self.b.eth0, usize::MAX, look);
            }
            Entry::Single => while net.raw_recv(self.b.eth0, &mut look).is_some() {},
        }
        assert!(same, "a frame is not as it was sent");
        assert_eq!(expected.next(), None, "a frame did not arrive");
    }

    pub(crate) fn rate(&mut self, rounds: Rounds) -> f64 {
        rate(rounds, || (0..16).map(|_| self.burst()).sum())
    }

    /// Its connection is tracked, and no frame was lost.
    pub(super) fn check(&self) {
        assert_tracked(&self.lab, 1);
        assert_eq!(self.lab.net().pool.in_use(), 0, "a frame was lost");
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
        Self {
            pool: Pool::default(),
            burst: Burst::new(like.a, like.b, like.burst.len, 1),
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
