//! Frames from veth through the bridge to veth: what does one cost beside the bare copies of it?
//!
//! Sixteen hosts in pairs, bursts of 64 frames, learning and lookup for each. "bare" allocates a
//! buffer, copies it as often as *copy* mode does and frees it, without links or a bridge. Rounds are
//! interleaved; printed are the median of each and their ratio. Run with `cargo bench -p vethlab-switch`.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a bench measures the real clock"
)]

use std::hint::black_box;
use std::time::Instant;

use switch::bridge::{Bridge, Decision, Limits, PortId};
use switch::link::{CAPACITY, Link, Mode, Side};
use switch::wire::EthernetAddress;
use switch::{IfId, Pool, Time};

const HOSTS: u32 = 16;
const BURST: u32 = 64;
const BURSTS: u32 = 4000;
const ROUNDS: usize = 7;

fn mac(host: u32) -> EthernetAddress {
    EthernetAddress([2, 0x42, 0xac, 0x11, 0, host as u8])
}

struct World {
    pool: Pool,
    bridge: Bridge,
    links: Vec<Link>,
    frames: Vec<Vec<u8>>,
}

impl World {
    fn new(mode: Mode, len: usize) -> Self {
        let address = EthernetAddress([2, 0, 0, 0, 0, 1]);
        let mut bridge = Bridge::new(IfId(0), address, Limits::default());
        let mut links = Vec::new();
        let mut frames = Vec::new();
        for host in 0..HOSTS {
            let address = EthernetAddress([0x0a, 0, 0, 0, 0, host as u8]);
            bridge
                .add_port(Time::ZERO, IfId(host), address)
                .expect("there is room");
            links.push(Link::new(mode, CAPACITY));
            let mut frame = vec![0; len];
            frame[..6].copy_from_slice(&mac(host ^ 1).0);
            frame[6..12].copy_from_slice(&mac(host).0);
            let _ = bridge.input(Time::ZERO, PortId(host), &frame);
            frames.push(frame);
        }
        Self {
            pool: Pool::default(),
            bridge,
            links,
            frames,
        }
    }

    /// Host `host` sends a burst to its pair; the number that arrived.
    fn burst(&mut self, now: Time, host: u32) -> u64 {
        let pair = host ^ 1;
        for _ in 0..BURST {
            let frame = self.pool.alloc(self.frames[host as usize].len());
            let frame = frame.expect("a buffer");
            let header = &self.frames[host as usize][..14];
            self.pool.bytes_mut(&frame)[..14].copy_from_slice(header);
            let sent = self.links[host as usize].carry(&mut self.pool, Side::A, frame);
            sent.expect("there is room");
        }
        while let Some(frame) = self.links[host as usize].receive(Side::B) {
            let bytes = self.pool.bytes(&frame);
            let Decision::Port(to) = self.bridge.input(now, PortId(host), bytes) else {
                panic!("every station is known");
            };
            let sent = self.links[to.0 as usize].carry(&mut self.pool, Side::B, frame);
            sent.expect("there is room");
        }
        let mut arrived = 0;
        while let Some(frame) = self.links[pair as usize].receive(Side::A) {
            black_box(self.pool.bytes(&frame)[0]);
            self.pool.free(frame);
            arrived += 1;
        }
        arrived
    }
}

fn forward(world: &mut World) -> f64 {
    let start = Instant::now();
    let mut arrived = 0;
    for burst in 0..BURSTS {
        arrived += world.burst(Time::from_micros(u64::from(burst)), burst % HOSTS);
    }
    assert_eq!(arrived, u64::from(BURST * BURSTS));
    nanos_per_frame(start)
}

fn bare(pool: &mut Pool, len: usize) -> f64 {
    let start = Instant::now();
    let mut held = Vec::with_capacity(BURST as usize);
    for _ in 0..BURSTS {
        for _ in 0..BURST {
            let frame = pool.alloc(len).expect("a buffer");
            pool.bytes_mut(&frame)[..14].fill(1);
            let copy = pool.copy(&frame).expect("a buffer");
            pool.free(frame);
            held.push(copy);
        }
        for frame in &mut held {
            let copy = pool.copy(frame).expect("a buffer");
            pool.free(std::mem::replace(frame, copy));
        }
        for frame in held.drain(..) {
            black_box(pool.bytes(&frame)[0]);
            pool.free(frame);
        }
    }
    nanos_per_frame(start)
}

fn nanos_per_frame(start: Instant) -> f64 {
    start.elapsed().as_nanos() as f64 / f64::from(BURST * BURSTS)
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn main() {
    println!(
        "len   | copy ns (Mframes/s, GB/s) | move ns (Mframes/s) | bare copies ns | copy/bare"
    );
    for len in [64, 1514] {
        let (mut copy, mut moved) = (World::new(Mode::Copy, len), World::new(Mode::Move, len));
        let mut pool = Pool::default();
        let mut rounds = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            rounds[0].push(forward(&mut copy));
            rounds[1].push(forward(&mut moved));
            rounds[2].push(bare(&mut pool, len));
        }
        let [copy, moved, bare] = rounds.map(median);
        println!(
            "{len:5} | {copy:6.1} ({:5.1}, {:4.1}) | {moved:6.1} ({:5.1}) | {bare:6.1} | {:4.2}",
            1e3 / copy,
            len as f64 / copy,
            1e3 / moved,
            copy / bare,
        );
    }
}
