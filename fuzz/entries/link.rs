//! Frames of any size through links of both modes, and super-segments cut at the end.
//!
//! Promises: what is sent waits, arrives, or comes back with a reason; rings and pool keep their bounds;
//! both ends count the same; a received frame has the bytes that were sent; the pieces of a cut are as
//! many and as long as [`segment::wire_size`] says, with right checksums and the payload in order.

use switch::frame::PoolLimits;
use switch::link::{Link, Mode, Side};
use switch::segment;
use switch::wire::{Ether, IpProtocol, Packet, header_checksum_ok, transport_checksum_ok};
use switch::{Frame, Pool};

use super::Script;

const RING: usize = 4;
const LIMITS: PoolLimits = PoolLimits { small: 8, large: 2 };

struct World {
    pool: Pool,
    link: Link,
    sent: u64,
    received: u64,
    refused: u64,
}

/// Runs one input, once in each mode.
pub fn link(data: &[u8]) {
    for mode in [Mode::Copy, Mode::Move] {
        let mut world = World {
            pool: Pool::new(LIMITS),
            link: Link::new(mode, RING),
            sent: 0,
            received: 0,
            refused: 0,
        };
        let mut script = Script(data);
        while let Some(step) = script.next() {
            world.step(step, &mut script);
            world.check();
        }
        world.end();
    }
}

impl World {
    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        let side = if step & 0x80 == 0 { Side::A } else { Side::B };
        match step % 8 {
            0..=2 => self.send(side, script),
            3 | 4 => self.receive(side),
            5 => self.link.set_up(side, script.flag()),
            6 => self.link.set_mtu(side, u32::from(script.u16())),
            _ if step & 0x40 != 0 => self.run(side, script),
            _ => self.flood(side, script),
        }
    }

    /// Frames of a burst: together if the way is clear, which has to mean that each gets through.
    fn run(&mut self, side: Side, script: &mut Script<'_>) {
        let mut frames = Vec::new();
        let (mut bytes, mut longest) = (0, 0);
        for _ in 0..script.below(4) {
            let block = script.block();
            if let Some(frame) = self.pool.from_bytes(block) {
                bytes += block.len() as u64;
                longest = longest.max(block.len());
                frames.push(frame);
            }
        }
        let count = frames.len();
        if !self.link.is_clear(&self.pool, side, count, longest) {
            frames.into_iter().for_each(|frame| self.carry(side, frame));
            return;
        }
        let before = self.link.waiting(side.peer());
        let wire = (count as u64, bytes);
        let frames = frames.into_iter();
        self.link.carry_run(&mut self.pool, side, frames, wire);
        self.sent += count as u64;
        assert_eq!(self.link.waiting(side.peer()), before + count);
        let shown = self.link.front(side.peer()).len();
        let taken = self.link.receive_run(side.peer(), shown.min(2));
        for frame in taken {
            self.received += 1;
            self.pool.free(frame);
        }
    }

    fn send(&mut self, side: Side, script: &mut Script<'_>) {
        let kind = script.u8();
        let gso_size = if kind & 1 == 0 { 0 } else { script.u16() };
        let mut bytes = Vec::from(script.block());
        if kind & 2 != 0 {
            bytes.resize(bytes.len() + usize::from(script.u16()), kind);
        }
        let Some(frame) = self.pool.from_bytes(&bytes) else {
            return;
        };
        self.pool.meta_mut(&frame).gso_size = gso_size;
        self.carry(side, frame);
    }

    /// Two shares of one frame, as a bridge makes them.
    fn flood(&mut self, side: Side, script: &mut Script<'_>) {
        let Some(frame) = self.pool.from_bytes(script.block()) else {
            return;
        };
        let share = self.pool.share(&frame);
        self.carry(side, share);
        self.carry(side, frame);
    }

    fn carry(&mut self, side: Side, frame: Frame) {
        self.sent += 1;
        let before = (self.pool.bytes(&frame).to_vec(), self.pool.meta(&frame));
        match self.link.carry(&mut self.pool, side, frame) {
            Ok(()) => {}
            Err((frame, _)) => {
                assert_eq!(self.pool.bytes(&frame), before.0);
                assert_eq!(self.pool.meta(&frame), before.1);
                self.refused += 1;
                self.pool.free(frame);
            }
        }
    }

    fn receive(&mut self, side: Side) {
        let Some(frame) = self.link.receive(side) else {
            return;
        };
        self.received += 1;
        cut(self.pool.bytes(&frame), self.pool.meta(&frame).gso_size);
        // A stack writes into what it reads; a shared frame has to become its own first.
        if let Some(frame) = self.pool.unshare(frame) {
            self.pool.bytes_mut(&frame).fill(0xee);
            self.pool.free(frame);
        }
    }

    fn check(&self) {
        let waiting = [Side::A, Side::B].map(|side| self.link.waiting(side));
        assert!(waiting.iter().all(|&frames| frames <= RING));
        let waiting = (waiting[0] + waiting[1]) as u64;
        assert_eq!(self.sent, self.received + self.refused + waiting);
        assert!(self.pool.in_use() <= LIMITS.small + LIMITS.large);
        for side in [Side::A, Side::B] {
            let (here, there) = (self.link.counters(side), self.link.counters(side.peer()));
            assert_eq!(here.tx_frames, there.rx_frames);
            assert_eq!(here.tx_bytes, there.rx_bytes);
        }
    }

    fn end(&mut self) {
        for side in [Side::A, Side::B] {
            let left: Vec<Frame> = self.link.drain(side).collect();
            self.refused += left.len() as u64;
            for frame in left {
                self.pool.free(frame);
            }
        }
        self.check();
        assert_eq!(self.pool.in_use(), 0, "a frame was lost");
    }
}

/// Cuts a frame and looks at the pieces.
fn cut(frame: &[u8], gso_size: u16) {
    let (mut count, mut bytes) = (0, 0);
    let mut payload: Vec<u8> = Vec::new();
    let told = segment::cut(frame, gso_size, |piece| {
        count += 1;
        bytes += piece.len() as u64;
        if let Some(data) = data_of(piece) {
            payload.extend_from_slice(&piece[data]);
        }
    });
    assert_eq!(segment::wire_size(frame, gso_size), (count, bytes));
    assert_eq!(told, count);
    if count == 1 {
        return;
    }
    let whole = data_of(frame).expect("only TCP is cut");
    assert_eq!(payload, frame[whole]);
    let mut pieces = Vec::new();
    segment::cut(frame, gso_size, |piece| pieces.push(piece.to_vec()));
    for piece in &pieces {
        let data = data_of(piece).expect("a piece is TCP too");
        assert!(!data.is_empty() && data.len() <= usize::from(gso_size));
        assert_eq!(data.end, piece.len());
        let ether = Ether::parse(piece).expect("a header");
        let bytes = &piece[ether.payload..];
        let packet = Packet::parse(bytes).expect("a packet");
        assert!(transport_checksum_ok(bytes, &packet));
        assert!(packet.source.is_ipv6() || header_checksum_ok(bytes));
    }
}

/// Where the data of a TCP frame is.
fn data_of(frame: &[u8]) -> Option<core::ops::Range<usize>> {
    let ether = Ether::parse(frame).ok()?;
    let bytes = frame.get(ether.payload..)?;
    let packet = Packet::parse(bytes).ok()?;
    if packet.protocol != IpProtocol::Tcp || packet.fragment.is_some() {
        return None;
    }
    let header = usize::from(bytes.get(packet.transport + 12)? >> 4) * 4;
    let from = ether.payload + packet.transport + header;
    let to = ether.payload + packet.len;
    (from <= to).then_some(from..to)
}
