//! Two TCP layers back to back, a wire that loses, doubles, reorders and forges, and programs that do
//! anything at any time.
//!
//! Promises: nothing panics, not even inside of the engine; every packet sent is well formed with right
//! checksums; unless something was forged, what is received is what was sent, in order; once everything
//! is closed and silent, no frame, connection, buffer or timer is left.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use emulator_core::app::SockOpt;
use emulator_core::netns::Errno;
use emulator_core::netns::tcp::{Congestion, IcmpKind, Spares, Tcp, TcpCx, TcpId, TcpOptions};
use switch::wire::{IpProtocol, Packet, header_checksum_ok, transport_checksum_ok};
use switch::{Frame, Pool, Time};

use super::Script;

/// Packets under way at most; the oldest is lost.
const WIRE: usize = 128;
/// Sockets opened in one run.
const SOCKETS: usize = 64;
/// Turns until everything that is closed has to be gone.
const TURNS: usize = 200_000;

struct End {
    tcp: Tcp,
    out: Vec<Frame>,
    wakes: Vec<TcpId>,
    open: Vec<TcpId>,
    /// The last header that it sent: addresses and numbers that a forger would know.
    last: Vec<u8>,
}

struct World {
    now: Time,
    mtu: usize,
    pool: Pool,
    spares: Spares,
    ends: [End; 2],
    /// To which end, what.
    wire: VecDeque<(usize, Frame)>,
    /// Bytes sent and received by each socket.
    moved: BTreeMap<(usize, TcpId), (usize, usize)>,
    port: u16,
    forged: bool,
}

/// Runs one input.
pub fn tcp(data: &[u8]) {
    let mut script = Script(data);
    let mut world = World::new(script.u8());
    while let Some(step) = script.next() {
        world.step(step, &mut script);
        world.flush();
    }
    world.end();
}

/// The byte at a place of every stream.
const fn pattern(at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

fn address(end: usize, v6: bool, port: u16) -> SocketAddr {
    let last = end as u8 + 1;
    if v6 {
        let ip = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last));
        return SocketAddr::from((ip, port));
    }
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, last), port))
}

impl World {
    fn new(bits: u8) -> Self {
        let end = |seed| {
            let mut tcp = Tcp::new(seed);
            tcp.set_offload(bits & 1 != 0);
            tcp.set_partial_checksums(bits & 2 != 0);
            End {
                tcp,
                out: Vec::new(),
                wakes: Vec::new(),
                open: Vec::new(),
                last: Vec::new(),
            }
        };
        let mtu = [1500, 576, 1280, 9000][usize::from(bits >> 2 & 3)];
        Self {
            now: Time::ZERO,
            mtu,
            pool: Pool::default(),
            spares: Spares::default(),
            ends: [end(1), end(2)],
            wire: VecDeque::new(),
            moved: BTreeMap::new(),
            port: 40_000,
            forged: false,
        }
    }

    fn with<R>(&mut self, end: usize, call: impl FnOnce(&mut Tcp, &mut TcpCx<'_>) -> R) -> R {
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

    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        let end = usize::from(step >> 7);
        match step & 0x1f {
            0 | 1 => self.connect(end, script),
            2 => self.listen(end, script),
            3 => self.accept(end),
            4 | 5 => self.send(end, script),
            6 | 7 => self.receive(end, script),
            8 => {
                if let Some(id) = self.pick(end, script.u8()) {
                    let _: Result<(), Errno> = self.with(end, |tcp, cx| tcp.shutdown_write(cx, id));
                }
            }
            9 => self.close(end, script),
            10 => {
                if let Some(id) = self.pick(end, script.u8()) {
                    self.with(end, |tcp, cx| tcp.abort(cx, id));
                }
            }
            11 => self.option(end, script),
            12 => self.wait(Duration::from_millis(u64::from(script.u16()))),
            13..=18 => self.deliver(1 + usize::from(script.below(32))),
            19 => self.lose(),
            20 => self.double(),
            21 => {
                let turns = usize::from(script.u8());
                self.wire.rotate_left(turns % self.wire.len().max(1));
            }
            22 => self.spoil(script),
            23 => self.inject(end, script.block()),
            24..=26 => self.forge(end, script),
            27 => self.report(end, script),
            28 => self.wait(Duration::from_secs(u64::from(script.u8()))),
            29 => self.look(end),
            _ => self.deliver(WIRE),
        }
    }

    fn pick(&self, end: usize, number: u8) -> Option<TcpId> {
        let open = &self.ends[end].open;
        open.get(usize::from(number) % open.len().max(1)).copied()
    }

    fn options(script: &mut Script<'_>) -> TcpOptions {
        let bits = script.u8();
        TcpOptions {
            recv_buffer: if bits & 1 == 0 {
                16_384
            } else {
                usize::from(script.u16())
            },
            send_buffer: if bits & 2 == 0 {
                16_384
            } else {
                usize::from(script.u16())
            },
            nodelay: bits & 4 != 0,
            linger_zero: bits & 8 != 0,
            v6_only: bits & 16 != 0,
            keepalive: (bits & 32 != 0)
                .then(|| (Duration::from_secs(9), Duration::from_secs(2), 3)),
            congestion: match bits >> 6 {
                0 => Congestion::None,
                1 => Congestion::Reno,
                _ => Congestion::Cubic,
            },
            ..TcpOptions::default()
        }
    }

    fn connect(&mut self, end: usize, script: &mut Script<'_>) {
        let (bits, options) = (script.u8(), Self::options(script));
        if self.ends[end].open.len() >= SOCKETS {
            return;
        }
        let v6 = bits & 1 != 0;
        let local = address(end, v6, self.port);
        self.port += 1;
        let remote = address(1 - end, v6, 80 + u16::from(bits >> 1 & 1));
        let mtu = self.mtu;
        let id = self.with(end, |tcp, cx| tcp.connect(cx, local, remote, mtu, &options));
        self.ends[end].open.push(id.expect("a fresh port connects"));
    }

    fn listen(&mut self, end: usize, script: &mut Script<'_>) {
        let (bits, options) = (script.u8(), Self::options(script));
        let port = 80 + u16::from(bits >> 1 & 1);
        let local = match bits >> 2 & 3 {
            0 => address(end, bits & 1 != 0, port),
            1 => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
            _ => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        };
        let backlog = usize::from(bits >> 4);
        let tcp = &mut self.ends[end].tcp;
        if let Ok(id) = tcp.listen(local, backlog, &options) {
            self.ends[end].open.push(id);
        }
    }

    fn accept(&mut self, end: usize) {
        let end = &mut self.ends[end];
        for listener in end.open.clone() {
            if end.open.len() < SOCKETS
                && let Ok((id, _)) = end.tcp.accept(listener)
            {
                end.open.push(id);
            }
        }
    }

    fn send(&mut self, end: usize, script: &mut Script<'_>) {
        let Some(id) = self.pick(end, script.u8()) else {
            return;
        };
        let (sent, _) = self.moved.entry((end, id)).or_default();
        let len = usize::from(script.u16());
        let bytes: Vec<u8> = (*sent..*sent + len).map(pattern).collect();
        let when = (&mut self.pool, self.now);
        if let Ok(taken) = self.ends[end].tcp.send(when, id, &bytes) {
            assert!(taken <= len);
            *sent += taken;
        }
    }

    fn receive(&mut self, end: usize, script: &mut Script<'_>) {
        let Some(id) = self.pick(end, script.u8()) else {
            return;
        };
        let mut buffer = vec![0; usize::from(script.u16())];
        if let Ok(len) = self.ends[end].tcp.recv(&mut self.pool, id, &mut buffer) {
            let (_, received) = self.moved.entry((end, id)).or_default();
            let same = buffer[..len]
                .iter()
                .zip(*received..)
                .all(|(&byte, at)| byte == pattern(at));
            assert!(same || self.forged, "other bytes than were sent");
            *received += len;
        }
    }

    fn close(&mut self, end: usize, script: &mut Script<'_>) {
        let Some(id) = self.pick(end, script.u8()) else {
            return;
        };
        self.with(end, |tcp, cx| tcp.close(cx, id));
        self.ends[end].open.retain(|&open| open != id);
        let none = self.ends[end].tcp.recv(&mut self.pool, id, &mut [0; 8]);
        assert_eq!(none, Err(Errno::BadFd));
    }

    fn option(&mut self, end: usize, script: &mut Script<'_>) {
        let Some(id) = self.pick(end, script.u8()) else {
            return;
        };
        let bits = script.u8();
        let on = bits & 0x80 != 0;
        let secs = |n: u8| Duration::from_secs(u64::from(n));
        let option = match bits % 8 {
            0 => SockOpt::KeepAlive(on.then(|| (secs(script.u8()), secs(script.u8()), 2))),
            1 => SockOpt::NoDelay(on),
            2 => SockOpt::RecvBuffer(usize::from(script.u16())),
            3 => SockOpt::SendBuffer(usize::from(script.u16())),
            4 => SockOpt::HopLimit(script.u8()),
            5 => SockOpt::V6Only(on),
            6 => SockOpt::LingerZero(on),
            _ => SockOpt::ReuseAddr(on),
        };
        let _: Result<(), Errno> = self.ends[end].tcp.set_option(self.now, id, option);
    }

    /// Asks everything that can be asked.
    fn look(&self, end: usize) {
        let end = &self.ends[end];
        for socket in end.tcp.sockets() {
            assert!(socket.local.port() != 0);
            if let Some(id) = socket.id {
                assert_eq!(end.tcp.state(id), socket.state);
                assert_eq!(end.tcp.local_addr(id), Some(socket.local));
                assert_eq!(end.tcp.peer_addr(id), socket.remote);
            }
        }
        for &id in &end.open {
            let ready = end.tcp.ready(id);
            assert!(!ready.hup || ready.readable || ready.error || ready.writable);
        }
    }

    fn wait(&mut self, span: Duration) {
        let until = self.now + span;
        for _ in 0..TURNS {
            let deadlines = self.ends.iter().filter_map(|end| end.tcp.deadline());
            let Some(next) = deadlines.min().filter(|&next| next <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            self.fire();
        }
        panic!("timers without an end");
    }

    fn fire(&mut self) {
        for end in 0..2 {
            let due = self.ends[end].tcp.deadline();
            if due.is_some_and(|at| at <= self.now) {
                self.with(end, |tcp, cx| tcp.fire(cx));
            }
        }
        self.flush();
    }

    /// Puts on the wire what both ends have to send.
    fn flush(&mut self) {
        for _ in 0..TURNS {
            let mut more = false;
            for end in 0..2 {
                more |= self.with(end, |tcp, cx| tcp.poll(cx));
                while !self.ends[end].out.is_empty() {
                    let frame = self.ends[end].out.remove(0);
                    more = true;
                    self.check(&frame);
                    self.ends[end].last = self.pool.bytes(&frame)[..40].to_vec();
                    self.put(1 - end, frame);
                }
                self.ends[end].wakes.clear();
            }
            if !more {
                return;
            }
        }
        panic!("sending without an end");
    }

    /// A packet that was sent is one that a wire can carry.
    fn check(&self, frame: &Frame) {
        let (bytes, meta) = (self.pool.bytes(frame), self.pool.meta(frame));
        let packet = Packet::parse(bytes).expect("a packet");
        let whole = (IpProtocol::Tcp, bytes.len());
        assert_eq!((packet.protocol, packet.len), whole, "{bytes:02x?}");
        assert!(packet.dont_fragment && packet.hop_limit > 0);
        assert!(packet.source.is_ipv6() || header_checksum_ok(bytes));
        assert!(meta.csum_partial || transport_checksum_ok(bytes, &packet));
        // Every path of IPv6 carries 1280 bytes (RFC 8200 §5).
        let least = if packet.source.is_ipv6() { 1280 } else { 0 };
        let (len, mtu) = (bytes.len(), self.mtu.max(least));
        assert!(
            meta.gso_size > 0 || len <= mtu,
            "{len} bytes on a path of {mtu}"
        );
    }

    fn put(&mut self, to: usize, frame: Frame) {
        self.wire.push_back((to, frame));
        if self.wire.len() > WIRE {
            self.lose();
        }
    }

    fn lose(&mut self) {
        if let Some((_, frame)) = self.wire.pop_front() {
            self.pool.free(frame);
        }
    }

    fn double(&mut self) {
        let Some((to, frame)) = self.wire.front() else {
            return;
        };
        if let Some(copy) = self.pool.copy(frame) {
            self.put(*to, copy);
        }
    }

    fn deliver(&mut self, count: usize) {
        for _ in 0..count {
            let Some((to, frame)) = self.wire.pop_front() else {
                return;
            };
            self.input(to, frame);
            self.flush();
        }
    }

    fn input(&mut self, to: usize, frame: Frame) {
        let packet = Packet::parse(self.pool.bytes(&frame));
        let Some(packet) = packet
            .ok()
            .filter(|packet| packet.protocol == IpProtocol::Tcp)
        else {
            self.pool.free(frame);
            return;
        };
        if let Err((frame, _)) = self.with(to, |tcp, cx| tcp.input(cx, frame, &packet)) {
            self.pool.free(frame);
        }
    }

    /// Changes a byte of the next packet, in a copy, because its sender may have to send it again, and says that its checksum is
    /// still right.
    fn spoil(&mut self, script: &mut Script<'_>) {
        let (at, with) = (usize::from(script.u16()), script.u8());
        let Some((_, frame)) = self.wire.front_mut() else {
            return;
        };
        let Some(copy) = self.pool.copy(frame) else {
            return;
        };
        self.pool.free(core::mem::replace(frame, copy));
        let bytes = self.pool.bytes_mut(frame);
        let len = bytes.len();
        bytes[at % len] ^= with;
        self.pool.meta_mut(frame).csum_partial = true;
        self.forged = true;
    }

    fn inject(&mut self, to: usize, bytes: &[u8]) {
        if let Some(frame) = self.pool.from_bytes(bytes) {
            self.pool.meta_mut(&frame).csum_partial = true;
            self.forged = true;
            self.input(to, frame);
        }
    }

    /// A segment with numbers near those of the last one that the other end sent.
    fn forge(&mut self, to: usize, script: &mut Script<'_>) {
        let mut bytes = self.ends[1 - to].last.clone();
        let flags = script.u8();
        let near = |script: &mut Script<'_>| match flags & 0xc0 {
            0xc0 => script.u32(),
            0x80 => script.u16() as i16 as u32,
            _ => i32::from(script.u8() as i8) as u32,
        };
        let (seq, ack, window) = (near(script), near(script), script.u16());
        let options = script.below(11);
        let options = script.take(usize::from(options) * 4);
        let data = usize::from(script.u8());
        if bytes.first() != Some(&0x45) {
            return;
        }
        for (at, by) in [(24, seq), (28, ack)] {
            let old = u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            bytes[at..at + 4].copy_from_slice(&old.wrapping_add(by).to_be_bytes());
        }
        bytes.extend_from_slice(&options[..options.len() / 4 * 4]);
        bytes[32] = ((bytes.len() - 20) as u8 / 4) << 4;
        bytes[33] = flags & 0x3f;
        bytes[34..36].copy_from_slice(&window.to_be_bytes());
        bytes.resize(bytes.len() + data, 0x55);
        let len = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        self.inject(to, &bytes);
    }

    /// An error from the path about a segment of ours.
    fn report(&mut self, end: usize, script: &mut Script<'_>) {
        let bits = script.u8();
        let sockets = self.ends[end].tcp.sockets();
        let Some(socket) = sockets.get(usize::from(script.u8()) % sockets.len().max(1)) else {
            return;
        };
        let Some(remote) = socket.remote else { return };
        let seq = match self.ends[end].last.get(24..28) {
            Some(seq) if bits & 8 == 0 => u32::from_be_bytes([seq[0], seq[1], seq[2], seq[3]]),
            _ => script.u32(),
        };
        let error = match bits & 3 {
            0 => IcmpKind::HardUnreachable(Errno::ConnRefused),
            1 => IcmpKind::Soft(Errno::HostUnreach),
            _ => IcmpKind::FragmentationNeeded { mtu: script.u16() },
        };
        let local = socket.local;
        self.with(end, |tcp, cx| match bits & 4 {
            0 => tcp.icmp_error(cx, local, remote, seq, error),
            _ => tcp.route_failed(cx, local, remote, Errno::HostUnreach),
        });
    }

    fn end(&mut self) {
        while !self.wire.is_empty() {
            self.lose();
        }
        for end in 0..2 {
            for id in core::mem::take(&mut self.ends[end].open) {
                self.with(end, |tcp, cx| tcp.close(cx, id));
            }
        }
        self.flush();
        self.wait(Duration::from_secs(100_000));
        while !self.wire.is_empty() {
            self.lose();
        }
        assert_eq!(self.pool.in_use(), 0, "frames were lost");
        for End { tcp, .. } in &self.ends {
            assert_eq!(tcp.connections(), 0, "{:?}", tcp.sockets());
            assert_eq!((tcp.time_waits(), tcp.buffer_bytes()), (0, 0));
            assert_eq!(tcp.deadline(), None);
            assert_eq!(tcp.counters().engine_panics, 0);
        }
    }
}
