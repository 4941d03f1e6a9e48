//! Namespaces on in-memory wires in virtual time.

use core::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use switch::ring::Ring;
use switch::trace::Trace;
use switch::verdict::DropReason;
use switch::wire::{Packet, fill_transport_checksum};
use switch::{Frame, IfId, Pool, Rng, Time};

use crate::app::{Family, Received, SockKind, SockOpt};
use crate::id::{NsId, SockId};
use crate::netns::*;

/// One end of a wire: the namespace's place in the world and its interface.
pub(super) type End = (usize, IfId);

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Time,
    pub(super) pool: Pool,
    pub(super) trace: Trace,
    pub(super) ns: Vec<Netns>,
    pub(super) wakes: Vec<SockId>,
    spares: tcp::Spares,
    tx: Vec<(IfId, Frame)>,
    wires: Vec<(End, End)>,
    /// What went over wires: sender, and a copy of the bytes.
    pub(super) seen: Vec<(End, Vec<u8>)>,
    /// Frames from these ends are lost.
    pub(super) cut: Vec<End>,
    /// Frames from these ends wait.
    pub(super) late: Vec<End>,
    waits: Vec<(End, Frame)>,
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(super) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            now: Time::ZERO,
            pool: Pool::default(),
            trace: Trace::default(),
            ns: Vec::new(),
            wakes: Vec::new(),
            spares: Default::default(),
            tx: Vec::new(),
            wires: Vec::new(),
            seen: Vec::new(),
            cut: Vec::new(),
            late: Vec::new(),
            waits: Vec::new(),
        }
    }

    /// A namespace more.
    pub(super) fn add(&mut self, name: &str) -> usize {
        let id = NsId(self.ns.len() as u32);
        self.ns.push(Netns::new(id, name, Rng::new(7).stream(name)));
        self.ns.len() - 1
    }

    /// An interface `eth<n>` with this number and these addresses.
    pub(super) fn iface(&mut self, ns: usize, id: u32, mtu: u32, addrs: &[&str]) -> IfId {
        let count = self.ns[ns].ifaces().count() - 1;
        let config = IfaceConfig {
            id: IfId(id),
            name: format!("eth{count}"),
            mac: [2, 0x42, 0, 0, ns as u8, id as u8],
            mtu,
            kind: IfaceKind::Veth,
            peer: None,
            master: None,
            ipv6: true,
        };
        self.ns[ns].iface_add(config).unwrap();
        self.with(ns, |ns, cx| ns.iface_up(cx, IfId(id), true))
            .unwrap();
        for addr in addrs {
            self.ns[ns].addr_add(IfId(id), net(addr)).unwrap();
        }
        IfId(id)
    }

    pub(super) fn wire(&mut self, a: End, b: End) {
        self.wires.push((a, b));
    }

    /// Two namespaces on one wire: 10.0.0.1 and 10.0.0.2, fd00::1 and fd00::2.
    pub(super) fn pair(mtu: u32) -> Self {
        let mut world = Self::new();
        let (a, b) = (world.add("a"), world.add("b"));
        let ia = world.iface(a, 2, mtu, &["10.0.0.1/24", "fd00::1/64"]);
        let ib = world.iface(b, 3, mtu, &["10.0.0.2/24", "fd00::2/64"]);
        world.wire((a, ia), (b, ib));
        world
    }

    /// A client (0) and a server (2) with a router (1) between them: 10.0.1.2 – 10.0.1.1, 10.0.2.1 –
    /// 10.0.2.2, likewise fd01:: and fd02::. The server's side has this MTU.
    pub(super) fn routed(mtu: u32) -> Self {
        let mut world = Self::new();
        let (client, router, server) = (
            world.add("client"),
            world.add("router"),
            world.add("server"),
        );
        let c = world.iface(client, 2, 1500, &["10.0.1.2/24", "fd01::2/64"]);
        let r1 = world.iface(router, 3, 1500, &["10.0.1.1/24", "fd01::1/64"]);
        let r2 = world.iface(router, 4, mtu, &["10.0.2.1/24", "fd02::1/64"]);
        let s = world.iface(server, 5, mtu, &["10.0.2.2/24", "fd02::2/64"]);
        world.wire((client, c), (router, r1));
        world.wire((router, r2), (server, s));
        world.ns[router].set_forwarding(true);
        for (ns, dev, via4, via6) in [
            (client, c, "10.0.1.1", "fd01::1"),
            (server, s, "10.0.2.1", "fd02::1"),
        ] {
            world.ns[ns]
                .route_add(Route::default_via(ip(via4), dev))
                .unwrap();
            world.ns[ns]
                .route_add(Route::default_via(ip(via6), dev))
                .unwrap();
        }
        world
    }

    /// Runs `call` in a namespace and puts what it sent on the wires.
    pub(super) fn with<R>(
        &mut self,
        ns: usize,
        call: impl FnOnce(&mut Netns, &mut Cx<'_>) -> R,
    ) -> R {
        let mut cx = Cx {
            now: self.now,
            pool: &mut self.pool,
            trace: &mut self.trace,
            tx: &mut self.tx,
            wakes: &mut self.wakes,
            spares: &mut self.spares,
        };
        let result = call(&mut self.ns[ns], &mut cx);
        while self.ns[ns].poll(&mut Cx {
            now: self.now,
            pool: &mut self.pool,
            trace: &mut self.trace,
            tx: &mut self.tx,
            wakes: &mut self.wakes,
            spares: &mut self.spares,
        }) {}
        let sent: Vec<(IfId, Frame)> = self.tx.drain(..).collect();
        for (iface, frame) in sent {
            self.carry((ns, iface), frame);
        }
        result
    }

    fn carry(&mut self, from: End, frame: Frame) {
        // What a capture would show: checksums filled.
        let mut bytes = self.pool.bytes(&frame).to_vec();
        if self.pool.meta(&frame).csum_partial
            && let Ok(packet) = Packet::parse(&bytes[14..])
        {
            fill_transport_checksum(&mut bytes[14..], &packet);
        }
        self.seen.push((from, bytes));
        let to = self.wires.iter().find_map(|&(a, b)| match from {
            _ if a == from => Some(b),
            _ if b == from => Some(a),
            _ => None,
        });
        match to.filter(|_| !self.cut.contains(&from)) {
            Some(to) if self.late.contains(&from) => self.waits.push((to, frame)),
            Some((ns, iface)) => self.with(ns, |ns, cx| ns.input(cx, iface, frame)),
            None => self.pool.free(frame),
        }
    }

    /// One of the frames that wait arrives.
    pub(super) fn arrive(&mut self, which: usize) {
        if !self.waits.is_empty() {
            let ((ns, iface), frame) = self.waits.remove(which % self.waits.len());
            self.with(ns, |ns, cx| ns.input(cx, iface, frame));
        }
    }

    /// The frames that wait, at most `most`, arrive where the first of them goes to, one right behind the other.
    pub(super) fn arrive_together(&mut self, most: usize) {
        let Some(&((to, iface), _)) = self.waits.first() else {
            return;
        };
        let mut ring = Ring::new();
        for (end, frame) in core::mem::take(&mut self.waits) {
            match end == (to, iface) && ring.len() < most {
                true => ring.put(frame),
                false => self.waits.push((end, frame)),
            }
        }
        self.with(to, |ns, cx| {
            while let Some(frame) = ring.pop() {
                ns.input(cx, iface, frame);
                for family in [Family::V4, Family::V6] {
                    ns.train_input(cx, iface, family, &mut ring.waiting(), most);
                }
            }
        });
        // Whom several segments wake in one go is named for each only on the long way.
        self.wakes.dedup();
    }

    /// A copy of the frame that waits in front of `back` others, changed, waits in front of it.
    pub(super) fn slip(&mut self, back: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let Some(place) = self.waits.len().checked_sub(1 + back) else {
            return;
        };
        let (to, frame) = &self.waits[place];
        let mut bytes = self.pool.bytes(frame).to_vec();
        change(&mut bytes);
        let waits = (*to, self.pool.from_bytes(&bytes));
        if let (to, Some(frame)) = waits {
            self.waits.insert(place, (to, frame));
        }
    }

    /// Lets time pass, firing what is due on the way.
    pub(super) fn advance(&mut self, to: Time) {
        loop {
            let next = (0..self.ns.len())
                .filter_map(|i| Some((self.ns[i].deadline()?, i)))
                .min();
            match next.filter(|&(at, _)| at <= to) {
                Some((at, ns)) => {
                    self.now = self.now.max(at);
                    self.with(ns, |ns, cx| ns.fire(cx));
                }
                None => break,
            }
        }
        self.now = to;
    }

    pub(super) fn udp(&mut self, ns: usize, bind: &str) -> SockId {
        let bind = at(bind);
        let family = if bind.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        let sock = self.ns[ns].socket(SockKind::Udp, family).unwrap();
        self.ns[ns].bind(sock, bind).unwrap();
        sock
    }

    pub(super) fn ping(&mut self, ns: usize, v6: bool) -> SockId {
        let family = if v6 { Family::V6 } else { Family::V4 };
        let sock = self.ns[ns].socket(SockKind::Ping, family).unwrap();
        self.set(ns, sock, SockOpt::RecvErr(true)).unwrap();
        sock
    }

    pub(super) fn set(&mut self, ns: usize, sock: SockId, option: SockOpt) -> Result<(), Errno> {
        self.with(ns, |ns, cx| ns.set(cx, sock, option))
    }

    pub(super) fn send(
        &mut self,
        ns: usize,
        sock: SockId,
        bytes: &[u8],
        to: &str,
    ) -> Result<usize, Errno> {
        let to = at(to);
        self.with(ns, |ns, cx| ns.send_to(cx, sock, bytes, to))
    }

    pub(super) fn recv(&mut self, ns: usize, sock: SockId) -> Result<(Vec<u8>, Received), Errno> {
        let mut buffer = vec![0; 65_536];
        let got = self.with(ns, |ns, cx| ns.recv_from(cx, sock, &mut buffer))?;
        buffer.truncate(got.len);
        Ok((buffer, got))
    }

    pub(super) fn drops(&self, reason: DropReason) -> u64 {
        self.trace.drops.of(reason)
    }

    /// Frames of this Ethernet type that went over wires.
    pub(super) fn count(&self, protocol: u16) -> usize {
        self.seen
            .iter()
            .filter(|(_, bytes)| bytes[12..14] == protocol.to_be_bytes())
            .count()
    }

    /// The IP packets that `from` put on a wire, each with the right checksums, neighbour discovery
    /// left out.
    pub(super) fn packets(&self, from: usize) -> Vec<(Packet, &[u8])> {
        self.seen
            .iter()
            .filter(|((ns, _), bytes)| *ns == from && bytes[12..14] != [8, 6])
            .map(|(_, bytes)| {
                let bytes = &bytes[14..];
                let packet = Packet::parse(bytes).unwrap();
                assert!(
                    switch::wire::transport_checksum_ok(bytes, &packet),
                    "{packet:?}"
                );
                assert!(packet.source.is_ipv6() || switch::wire::header_checksum_ok(bytes));
                (packet, bytes)
            })
            .filter(|(packet, bytes)| {
                u8::from(packet.protocol) != 58 || !matches!(bytes[packet.transport], 135 | 136)
            })
            .collect()
    }

    /// Closes everything; all buffers have to be back.
    pub(super) fn end(mut self) {
        self.waits
            .drain(..)
            .for_each(|(_, frame)| self.pool.free(frame));
        for ns in 0..self.ns.len() {
            self.with(ns, |ns, cx| ns.clear(cx));
        }
        assert_eq!(self.pool.in_use(), 0, "buffers lost");
    }
}

/// Hooks that let everything pass and write down what they saw.
#[derive(Debug, Default)]
pub(super) struct Witness {
    seen: Vec<(Hook, Option<IfId>, Option<IfId>)>,
}

impl Hooks for Witness {
    fn is_empty(&self) -> bool {
        false
    }

    fn run_for(
        &mut self,
        _now: Time,
        hook: Hook,
        _bytes: &mut [u8],
        _csum_partial: bool,
        path: &hook::Path,
        _env: &dyn hook::Env,
        _frames: u32,
    ) -> hook::Outcome {
        self.seen.push((hook, path.input, path.output));
        hook::Outcome {
            verdict: switch::Verdict::Accept,
            rewrite: None,
        }
    }
}
