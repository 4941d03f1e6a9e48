//! Many containers on docker0, every frame of a burst to another of them.

use super::frames::{FIRST, PORT, datagram, number};
use super::{BURST, Entry, answer, config, settle, tick};
use crate::common::lab::{Host, assert_tracked, container, events, host, lab, start};
use crate::common::{Rounds, rate};
use switch::link::Mode;
use vethlab::core::id::IfId;
use vethlab::core::lab::Lab;

/// Bytes of a frame.
const LEN: usize = 64;

/// Many containers on docker0.
pub(crate) struct Crowd {
    lab: Lab,
    hosts: Vec<Host>,
    entry: Entry,
    /// Who sends to whom, by number; a whole count of bursts.
    pairs: Vec<(usize, usize)>,
    /// Where each of them is received.
    readers: Vec<IfId>,
    /// The frame of each pair.
    frames: Vec<[u8; LEN]>,
    /// The pair that is next.
    turn: usize,
    next: u64,
}

impl Crowd {
    pub(crate) fn new(mode: Mode, ports: usize, entry: Entry) -> Self {
        let (lab, hosts) = many_on_docker0(mode, ports);
        let pairs: Vec<(usize, usize)> = (0..ports.next_multiple_of(BURST))
            .map(|at| match entry {
                // The whole burst from one of them.
                Entry::Burst => (at / BURST * BURST % ports, (at + 1) % ports),
                Entry::Single => (at % ports, (at + 1) % ports),
            })
            .collect();
        let frame = |&(a, b): &(usize, usize)| {
            let frame = datagram((hosts[a], FIRST), (hosts[b], PORT), LEN);
            frame.try_into().expect("it is so long")
        };
        let mut crowd = Self {
            readers: pairs.iter().map(|&(_, to)| hosts[to].eth0).collect(),
            frames: pairs.iter().map(frame).collect(),
            lab,
            hosts,
            entry,
            pairs,
            turn: 0,
            next: 0,
        };
        for _ in 0..crowd.pairs.len() / BURST {
            crowd.burst();
        }
        for &(a, b) in &crowd.pairs {
            let (a, b) = (crowd.hosts[a], crowd.hosts[b]);
            let frame = datagram((b, PORT), (a, FIRST), LEN);
            answer(&mut crowd.lab, a, b, &frame);
        }
        crowd
    }

    /// A frame from each of the next pairs.
    pub(crate) fn burst(&mut self) -> u64 {
        tick(&mut self.lab);
        let burst = self.turn..self.turn + BURST;
        self.turn = burst.end % self.pairs.len();
        for frame in &mut self.frames[burst.clone()] {
            number(frame, self.next);
            self.next += 1;
        }
        let pairs = &self.pairs[burst.clone()];
        let (readers, frames) = (&self.readers[burst.clone()], &self.frames[burst]);
        send(&mut self.lab, &self.hosts, self.entry, pairs, frames);
        settle(&mut self.lab);
        receive(&mut self.lab, self.entry, readers, frames);
        assert!(events(&mut self.lab) >= 2 * BURST as u64);
        BURST as u64
    }

    /// A frame to all.
    fn broadcast(&mut self) -> u64 {
        tick(&mut self.lab);
        let sender = self.hosts[0];
        let frame = &mut self.frames[0];
        frame[..6].fill(0xff);
        number(frame, self.next);
        self.next += 1;
        let net = self.lab.net_mut();
        net.raw_send(sender.eth0, frame).expect("sent");
        settle(&mut self.lab);
        let net = self.lab.net_mut();
        for host in &self.hosts[1..] {
            let same = net.raw_recv(host.eth0, |bytes| bytes == self.frames[0]);
            assert_eq!(same, Some(true), "a frame is not as it was sent");
        }
        // At least: sent, flooded, forwarded to each.
        let ports = self.hosts.len() as u64;
        assert!(events(&mut self.lab) > ports);
        ports - 1
    }

    pub(super) fn rate(&mut self, rounds: Rounds) -> f64 {
        rate(rounds, || (0..16).map(|_| self.burst()).sum())
    }

    pub(super) fn broadcast_rate(&mut self, rounds: Rounds) -> f64 {
        rate(rounds, || self.broadcast())
    }

    /// Every pair's connection is tracked, and no frame was lost.
    pub(super) fn check(&self) {
        assert_tracked(&self.lab, self.hosts.len());
        assert_eq!(self.lab.net().pool.in_use(), 0, "a frame was lost");
    }
}

/// So many containers on docker0, raw, whose announcements are over.
pub(super) fn many_on_docker0(mode: Mode, ports: usize) -> (Lab, Vec<Host>) {
    let mut lab = lab(config(mode));
    // Announcements to all: a million each.
    lab.net_mut().trace.listen(false);
    let names: Vec<String> = (0..ports).map(|at| format!("c{at}")).collect();
    for name in &names {
        start(&mut lab, container(name, "busybox", "")).expect("it starts");
    }
    lab.run_for(core::time::Duration::from_secs(5));
    settle(&mut lab);
    lab.net_mut().trace.listen(true);
    let hosts: Vec<Host> = names.iter().map(|name| host(&lab, name)).collect();
    for host in &hosts {
        lab.net_mut().raw(host.eth0, true);
    }
    (lab, hosts)
}

type Pairs<'a> = &'a [(usize, usize)];

fn send(lab: &mut Lab, hosts: &[Host], entry: Entry, pairs: Pairs<'_>, frames: &[[u8; LEN]]) {
    let net = lab.net_mut();
    match entry {
        Entry::Burst => {
            let from = hosts[pairs[0].0].eth0;
            let sent = net.raw_send_burst(from, frames.iter().map(|frame| &frame[..]));
            assert_eq!(sent, Ok(BURST));
        }
        Entry::Single => {
            for (&(from, _), frame) in pairs.iter().zip(frames) {
                net.raw_send(hosts[from].eth0, frame).expect("sent");
            }
        }
    }
}

fn receive(lab: &mut Lab, entry: Entry, readers: &[IfId], frames: &[[u8; LEN]]) {
    let net = lab.net_mut();
    let mut same = true;
    let mut expected = readers.iter().zip(frames);
    let mut look = |reader: IfId, bytes: &[u8]| {
        same &= (expected.next()).is_some_and(|(&to, frame)| to == reader && bytes == frame);
    };
    let arrived = match entry {
        Entry::Burst => net.raw_recv_each(readers.iter().copied(), usize::MAX, look),
        Entry::Single => (readers.iter())
            .filter_map(|&reader| net.raw_recv(reader, |bytes| look(reader, bytes)))
            .count(),
    };
    assert_eq!(arrived, frames.len(), "a frame did not arrive");
    assert!(same, "a frame is not as it was sent");
}
