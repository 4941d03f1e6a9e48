//! Segments that are found early fare as they would on the long way.

use core::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use switch::verdict::Event;
use switch::wire::{Packet, fill_header_checksum, fill_transport_checksum};

use super::rig::{Witness, World, at, net};
use super::turns::Turns;
use crate::app::{Family, Ready, SockKind, SockOpt};
use crate::id::SockId;
use crate::netns::tcp::RECV_BUFFER;
use crate::netns::*;

/// What happens to two namespaces on one wire with a connection between them.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Send(usize, usize),
    Recv(usize, usize),
    /// One side asks so often, in so many bytes, and the other answers.
    Exchange(usize, usize, usize),
    /// One side sends so often, in so many bytes, and the other reads no more than so many of them each time.
    Stream(usize, usize, usize, usize),
    Turns(Turns),
    /// So many bytes at most are read in place.
    Look(usize, usize),
    Wait(u64),
    /// What this side sends is lost, or not.
    Cut(usize, bool),
    /// A frame that was seen comes once more, changed at this byte.
    Again(usize, usize, Change),
    Shutdown(usize),
    Close(usize),
    /// Closing will be by a reset.
    Linger(usize),
    /// One more connection, the one to go on with.
    Connect,
    Offload(usize, bool),
    /// An address of the family of the last connection, or the next, comes or goes.
    Address(usize, bool),
    Hooks(usize),
    /// The interface of this side takes packets of IPv6, or not.
    Ipv6(usize, bool),
    /// The address of the family of the last connection is one of this side's loopback interface as well.
    Loopback(usize),
    Neighbours(usize),
    /// Further connections are of this family.
    Family(bool),
    /// What this side sends waits on its way, or not any more.
    Late(usize, bool),
    /// One of those that wait arrives.
    Arrive(usize),
    /// So many of them arrive one right behind the other.
    Crowd(usize),
    /// The frame that waits in front of so many others comes before that once more, changed at this byte.
    Slip(usize, usize, Change),
    Mtu(usize, u32),
}

/// What is done to a frame at a byte.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Xor(u8),
    /// The same, and its checksums are right.
    Rightly(u8),
    Cut,
    /// Its IP header gets options, in IPv6 in a header of their own; the byte does not matter, here and below.
    Options,
    /// So many bytes follow what it says, as they do to the shortest frames of a real wire.
    Pad(usize),
}

/// RFC 8200 §4.6.
const DESTINATION_OPTIONS: u8 = 60;
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
const ADDRESSES: [[&str; 2]; 2] = [["10.0.0.1/24", "10.0.0.2/24"], ["fd00::1/64", "fd00::2/64"]];
const SERVERS: [&str; 2] = ["10.0.0.2:80", "[fd00::2]:80"];

pub(super) struct Side {
    pub(super) world: World,
    /// One of IPv4, one of IPv6.
    listeners: [SockId; 2],
    family: usize,
    option: SockOpt,
    pub(super) socks: [SockId; 2],
    /// Frames in the order in which they were told of. A build with assertions has an engine write resets that are
    /// only compared, and these have numbers too.
    frames: Vec<u64>,
}

pub(super) type Told = (Vec<Result<usize, Errno>>, Vec<u8>, [Ready; 2], Vec<Event>);

impl Side {
    pub(super) fn new(long: bool, buffer: usize) -> Self {
        Self::with_offload(long, buffer, true)
    }

    /// Without, every segment is a frame of its own.
    fn with_offload(long: bool, buffer: usize, offload: bool) -> Self {
        let mut world = World::pair(1500);
        world.trace.listen(true);
        for ns in 0..2 {
            world.ns[ns].takes_long_way = long;
            world.ns[ns].offload = offload;
            world.ns[ns].streams.tcp(offload).0.takes_long_way = long;
        }
        let option = SockOpt::RecvBuffer(buffer);
        let listeners = [0, 1].map(|family| {
            let server = world.ns[1].socket(SockKind::Tcp, FAMILIES[family]).unwrap();
            let set = world.with(1, |ns, cx| ns.set(cx, server, option));
            assert_eq!(set, Ok(()));
            world.ns[1].bind(server, at(SERVERS[family])).unwrap();
            world.with(1, |ns, cx| ns.listen(cx, server, 16)).unwrap();
            server
        });
        let mut side = Self {
            world,
            listeners,
            family: 0,
            socks: [listeners[0]; 2],
            option,
            frames: Vec::new(),
        };
        assert_eq!(side.connect(), [Err(Errno::InProgress), Ok(0)]);
        side
    }

    /// One more connection, and what both ends hear of it.
    fn connect(&mut self) -> [Result<usize, Errno>; 2] {
        let world = &mut self.world;
        let family = self.family;
        let client = world.ns[0].socket(SockKind::Tcp, FAMILIES[family]).unwrap();
        let option = self.option;
        let set = world.with(0, |ns, cx| ns.set(cx, client, option));
        assert_eq!(set, Ok(()));
        let to = at(SERVERS[family]);
        let called = world.with(0, |ns, cx| ns.connect(cx, client, to));
        let listener = self.listeners[family];
        let accepted = world.with(1, |ns, cx| ns.accept(cx, listener));
        self.socks[0] = client;
        if let Ok((conn, _)) = accepted {
            self.socks[1] = conn;
        }
        [called.map(|()| 0), accepted.map(|_| 0)]
    }

    pub(super) fn take(&mut self, step: &Step) -> Told {
        let (mut results, mut got) = (Vec::new(), Vec::new());
        let (world, socks) = (&mut self.world, self.socks);
        match *step {
            Step::Send(ns, len) => {
                let data: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
                results.push(world.with(ns, |ns_, cx| ns_.send(cx, socks[ns], &data)));
            }
            Step::Recv(ns, len) => {
                got.resize(len, 0);
                results.push(world.with(ns, |ns_, cx| ns_.recv(cx, socks[ns], &mut got)));
            }
            Step::Exchange(ns, times, len) => {
                for turn in 0..2 * times {
                    let (from, to) = ((ns + turn) % 2, (ns + turn + 1) % 2);
                    let data = vec![turn as u8; len];
                    results.push(world.with(from, |ns, cx| ns.send(cx, socks[from], &data)));
                    let mut heard = [0; 700];
                    let count = world.with(to, |ns, cx| ns.recv(cx, socks[to], &mut heard));
                    got.extend(&heard[..count.unwrap_or(0)]);
                    results.push(count);
                }
            }
            Step::Stream(from, times, len, most) => {
                for turn in 0..times {
                    let data: Vec<u8> = (0..len).map(|i| (i * 7 + turn) as u8).collect();
                    results.push(world.with(from, |ns, cx| ns.send(cx, socks[from], &data)));
                    let (to, mut heard) = (1 - from, vec![0; most]);
                    let count = world.with(to, |ns, cx| ns.recv(cx, socks[to], &mut heard));
                    got.extend(&heard[..count.unwrap_or(0)]);
                    results.push(count);
                }
            }
            Step::Turns(turns) => {
                for _ in 0..turns.times {
                    turns.take(world, socks, &mut results, &mut got);
                }
            }
            Step::Look(ns, most) => {
                let ended = world.with(ns, |ns_, cx| {
                    loop {
                        let left = most - got.len();
                        let mut look = |bytes: &[u8]| {
                            let taken = left.min(bytes.len());
                            got.extend_from_slice(&bytes[..taken]);
                            taken
                        };
                        match ns_.recv_with(cx, socks[ns], &mut look) {
                            Ok(0) => return Ok(0),
                            Ok(_) if got.len() == most => return Ok(most),
                            Ok(_) => {}
                            Err(errno) => return Err(errno),
                        }
                    }
                });
                results.push(ended);
            }
            Step::Wait(micros) => world.advance(world.now + Duration::from_micros(micros)),
            Step::Cut(ns, on) => {
                let end = (ns, IfId(2 + ns as u32));
                world.cut.retain(|cut| *cut != end);
                world.cut.extend(on.then_some(end));
            }
            Step::Again(back, byte, change) => {
                let Some(at) = world.seen.len().checked_sub(1 + back) else {
                    return self.told(results, got);
                };
                let ((ns, _), mut bytes) = world.seen[at].clone();
                alter(&mut bytes, byte, change);
                let frame = world.pool.from_bytes(&bytes).unwrap();
                let iface = IfId(3 - ns as u32);
                world.with(1 - ns, |ns, cx| ns.input(cx, iface, frame));
            }
            Step::Slip(back, byte, change) => world.slip(back, |bytes| alter(bytes, byte, change)),
            Step::Shutdown(ns) => {
                let done = world.with(ns, |ns_, cx| ns_.shutdown(cx, socks[ns]));
                results.push(done.map(|()| 0));
            }
            Step::Close(ns) => world.with(ns, |ns_, cx| ns_.close(cx, socks[ns])),
            Step::Linger(ns) => {
                let option = SockOpt::LingerZero(true);
                let done = world.with(ns, |ns_, cx| ns_.set(cx, socks[ns], option));
                results.push(done.map(|()| 0));
            }
            Step::Connect => results.extend(self.connect()),
            Step::Offload(ns, on) => world.ns[ns].offload = on,
            Step::Address(ns, on) => {
                let (dev, net) = (IfId(2 + ns as u32), net(ADDRESSES[self.family][ns]));
                let netns = &mut world.ns[ns];
                let done = if on {
                    netns.addr_add(dev, net)
                } else {
                    netns.addr_del(dev, net.addr())
                };
                results.push(done.map(|()| 0));
            }
            Step::Hooks(ns) => world.ns[ns].netfilter = Some(Box::new(Witness::default())),
            Step::Ipv6(ns, on) => {
                let done = world.ns[ns].iface_ipv6(IfId(2 + ns as u32), on);
                results.push(done.map(|()| 0));
            }
            Step::Loopback(ns) => {
                let alone = net(ADDRESSES[self.family][ns]).addr().into();
                let done = world.ns[ns].addr_add(LO, alone);
                results.push(done.map(|()| 0));
            }
            Step::Family(v6) => self.family = v6.into(),
            Step::Late(ns, on) => {
                let end = (ns, IfId(2 + ns as u32));
                world.late.retain(|late| *late != end);
                world.late.extend(on.then_some(end));
            }
            Step::Arrive(which) => world.arrive(which),
            Step::Crowd(most) => world.arrive_together(most),
            Step::Mtu(ns, mtu) => {
                let done = world.ns[ns].iface_mtu(IfId(2 + ns as u32), mtu);
                results.push(done.map(|()| 0));
            }
            Step::Neighbours(ns) => {
                let dev = IfId(2 + ns as u32);
                for up in [false, true] {
                    let _ = world.with(ns, |ns, cx| ns.iface_up(cx, dev, up));
                }
            }
        }
        self.told(results, got)
    }

    fn told(&mut self, results: Vec<Result<usize, Errno>>, got: Vec<u8>) -> Told {
        let ready = [0, 1].map(|ns| self.world.ns[ns].ready(self.socks[ns]));
        let mut events = self.world.trace.take();
        for event in &mut events {
            let at = self.frames.iter().position(|frame| *frame == event.frame);
            let at = at.unwrap_or_else(|| {
                self.frames.push(event.frame);
                self.frames.len() - 1
            });
            event.frame = at as u64;
        }
        (results, got, ready, events)
    }

    fn state(&self) -> String {
        let each = self.world.ns.iter().map(|netns| {
            let counted: Vec<_> = netns.ifaces().map(|iface| (iface.rx, iface.tx)).collect();
            let neighbours: Vec<_> = netns.neighbours(self.world.now).collect();
            let tcp = netns.streams.tcp.as_ref().map(|tcp| *tcp.counters());
            format!("{counted:?} {:?} {neighbours:?} {tcp:?}\n", netns.sockets())
        });
        format!("{}{:?}", each.collect::<String>(), self.world.trace.drops)
    }
}

fn alter(bytes: &mut Vec<u8>, byte: usize, change: Change) {
    if bytes.is_empty() {
        // Cut before.
        return;
    }
    let at = byte % bytes.len();
    match change {
        Change::Xor(bits) => bytes[at] ^= bits,
        Change::Cut => bytes.truncate(at),
        Change::Options => add_options(bytes),
        Change::Pad(count) => bytes.resize(bytes.len() + count, 0),
        Change::Rightly(bits) => {
            bytes[at] ^= bits;
            seal(bytes);
        }
    }
}

/// Makes the checksums of a frame right, if it has any.
fn seal(frame: &mut [u8]) {
    let Some(packet) = frame.get_mut(14..).filter(|bytes| bytes.len() >= 40) else {
        return;
    };
    if packet[0] == 0x45 {
        fill_header_checksum(packet);
    }
    if let Ok(parsed) = Packet::parse(packet)
        && parsed.fragment.is_none()
        && packet.len() >= parsed.transport + 20
    {
        fill_transport_checksum(packet, &parsed);
    }
}

/// The IPv4 header in a frame is a word longer, that of IPv6 followed by one of nothing but padding.
fn add_options(frame: &mut Vec<u8>) {
    let Some(packet) = frame.get_mut(14..).filter(|packet| packet.len() > 40) else {
        return;
    };
    match packet[0] {
        0x45 => {
            let len = u16::from_be_bytes([packet[2], packet[3]]) + 4;
            packet[2..4].copy_from_slice(&len.to_be_bytes());
            packet[0] = 0x46;
            frame.splice(34..34, [1, 1, 1, 0]);
            fill_header_checksum(&mut frame[14..]);
        }
        0x60 => {
            let len = u16::from_be_bytes([packet[4], packet[5]]) + 8;
            packet[4..6].copy_from_slice(&len.to_be_bytes());
            let next = core::mem::replace(&mut packet[6], DESTINATION_OPTIONS);
            frame.splice(54..54, [next, 0, 1, 4, 0, 0, 0, 0]);
        }
        _ => {}
    }
}

pub(super) fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => any::<u8>().prop_map(Change::Xor),
        4 => any::<u8>().prop_map(Change::Rightly),
        2 => Just(Change::Cut),
        2 => (1_usize..40).prop_map(Change::Pad),
        2 => Just(Change::Options),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let ns = 0_usize..2;
    prop_oneof![
        12 => (ns.clone(), 1_usize..6000).prop_map(|(ns, len)| Step::Send(ns, len)),
        8 => (ns.clone(), 1_usize..40).prop_map(|(ns, len)| Step::Send(ns, len)),
        12 => (ns.clone(), 1_usize..6, prop_oneof![1_usize..40, 1_usize..700])
            .prop_map(|(ns, times, len)| Step::Exchange(ns, times, len)),
        4 => (ns.clone(), 1_usize..10, 1_usize..40_000, prop_oneof![1_usize..20_000, Just(200_000)])
            .prop_map(|(ns, times, len, most)| Step::Stream(ns, times, len, most)),
        12 => (ns.clone(), 1_usize..9000).prop_map(|(ns, len)| Step::Recv(ns, len)),
        2 => (ns.clone(), 1_usize..100_000).prop_map(|(ns, len)| Step::Recv(ns, len)),
        4 => (0_u64..30_000).prop_map(Step::Wait),
        2 => (0_u64..3_000_000).prop_map(Step::Wait),
        2 => (ns.clone(), any::<bool>()).prop_map(|(ns, on)| Step::Cut(ns, on)),
        3 => (0_usize..4, 0_usize..80, change())
            .prop_map(|(back, byte, change)| Step::Again(back, byte, change)),
        1 => ns.clone().prop_map(Step::Shutdown),
        2 => ns.clone().prop_map(Step::Close),
        1 => ns.clone().prop_map(Step::Linger),
        2 => Just(Step::Connect),
        1 => (ns.clone(), any::<bool>()).prop_map(|(ns, on)| Step::Offload(ns, on)),
        1 => (ns.clone(), any::<bool>()).prop_map(|(ns, on)| Step::Address(ns, on)),
        1 => ns.clone().prop_map(Step::Hooks),
        1 => (ns.clone(), any::<bool>()).prop_map(|(ns, on)| Step::Ipv6(ns, on)),
        1 => ns.clone().prop_map(Step::Loopback),
        1 => ns.clone().prop_map(Step::Neighbours),
        1 => any::<bool>().prop_map(Step::Family),
        2 => (ns.clone(), any::<bool>()).prop_map(|(ns, on)| Step::Late(ns, on)),
        6 => (0_usize..8).prop_map(Step::Arrive),
        3 => (0_usize..12, prop_oneof![0_usize..80, 0_usize..1514], change())
            .prop_map(|(back, byte, change)| Step::Slip(back, byte, change)),
        6 => (2_usize..40).prop_map(Step::Crowd),
        1 => (ns, 1280_u32..1501).prop_map(|(ns, mtu)| Step::Mtu(ns, mtu)),
    ]
}

/// Streams above all, some of whose segments are lost.
fn flow() -> impl Strategy<Value = Step> {
    let ns = 0_usize..2;
    prop_oneof![
        12 => (ns.clone(), 1_usize..8, 1_usize..50_000, prop_oneof![1_usize..30_000, Just(200_000)])
            .prop_map(|(ns, times, len, most)| Step::Stream(ns, times, len, most)),
        6 => (ns.clone(), 1_usize..8, 1_usize..34, prop_oneof![1_usize..30_000, Just(200_000)])
            .prop_map(|(ns, times, full, most)| Step::Stream(ns, times, full * 1460, most)),
        3 => (ns.clone(), 1_usize..60_000).prop_map(|(ns, len)| Step::Send(ns, len)),
        3 => (ns.clone(), 1_usize..100_000).prop_map(|(ns, len)| Step::Recv(ns, len)),
        3 => (ns.clone(), 1_usize..100_000).prop_map(|(ns, most)| Step::Look(ns, most)),
        2 => (ns.clone(), 1_usize..3, 1_usize..700)
            .prop_map(|(ns, times, len)| Step::Exchange(ns, times, len)),
        2 => (0_u64..30_000).prop_map(Step::Wait),
        2 => (0_u64..3_000_000).prop_map(Step::Wait),
        3 => (ns.clone(), any::<bool>()).prop_map(|(ns, on)| Step::Cut(ns, on)),
        1 => (0_usize..4, 0_usize..80, change())
            .prop_map(|(back, byte, change)| Step::Again(back, byte, change)),
        1 => any::<bool>().prop_map(Step::Family),
        1 => Just(Step::Connect),
        2 => (ns.clone(), any::<bool>()).prop_map(|(ns, on)| Step::Late(ns, on)),
        6 => (0_usize..8).prop_map(Step::Arrive),
        3 => (0_usize..12, prop_oneof![0_usize..80, 0_usize..1514], change())
            .prop_map(|(back, byte, change)| Step::Slip(back, byte, change)),
        6 => (2_usize..40).prop_map(Step::Crowd),
        1 => (ns.clone(), 1280_u32..1501).prop_map(|(ns, mtu)| Step::Mtu(ns, mtu)),
        1 => ns.prop_map(Step::Shutdown),
    ]
}

/// The same steps are the same both ways.
pub(super) fn assert_alike(
    steps: &[Step],
    buffer: usize,
    offload: bool,
) -> Result<(), TestCaseError> {
    let mut early = Side::with_offload(false, buffer, offload);
    let mut late = Side::with_offload(true, buffer, offload);
    for step in steps {
        prop_assert_eq!(early.take(step), late.take(step), "{:?}", step);
        prop_assert_eq!(early.state(), late.state(), "{:?}", step);
    }
    prop_assert_eq!(&early.world.seen, &late.world.seen);
    prop_assert_eq!(&early.world.wakes, &late.world.wakes);
    let held: usize = early.world.ns.iter().map(frames_held).sum();
    let pool = &early.world.pool;
    let layers = early
        .world
        .ns
        .iter()
        .filter_map(|netns| netns.streams.tcp.as_ref());
    let queued: usize = layers.map(|tcp| tcp.frames_queued(pool)).sum();
    prop_assert_eq!(pool.in_use() - held - queued, late.world.pool.in_use());
    Ok(())
}

/// The steps, with a connection of this family to begin with.
pub(super) fn of(v6: bool, steps: &[Step]) -> Vec<Step> {
    let first = [Step::Family(true), Step::Connect];
    let first = if v6 { &first[..] } else { &[] };
    [first, steps].concat()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 800,
        ..ProptestConfig::default()
    })]

    #[test]
    fn early_is_as_late(
        v6: bool,
        steps in vec(step(), 1..60),
        buffer in prop_oneof![Just(RECV_BUFFER), 1_usize..3000],
    ) {
        assert_alike(&of(v6, &steps), buffer, true)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150,
        ..ProptestConfig::default()
    })]

    #[test]
    fn streams_are_as_late(
        v6: bool,
        steps in vec(flow(), 1..30),
        buffer in prop_oneof![Just(RECV_BUFFER), 20_000_usize..400_000],
    ) {
        assert_alike(&of(v6, &steps), buffer, true)?;
    }

    #[test]
    fn full_frames_are_as_late(
        v6: bool,
        steps in vec(flow(), 1..30),
        buffer in prop_oneof![Just(RECV_BUFFER), 20_000_usize..400_000],
    ) {
        assert_alike(&of(v6, &steps), buffer, false)?;
    }
}

pub(super) fn frames_held(netns: &Netns) -> usize {
    let tcp = netns.streams.tcp.as_ref();
    tcp.map_or(0, |tcp| tcp.frames_held())
}

/// Likewise, of frames without offload, which are shown together.
#[test]
fn full_frames_are_held() {
    for (v6, len) in [(false, 14_600), (true, 14_400)] {
        full_frames_of_a_family_are_held(v6, len);
    }
}

fn full_frames_of_a_family_are_held(v6: bool, len: usize) {
    let mut side = Side::with_offload(false, RECV_BUFFER, false);
    let stream = [Step::Stream(0, 4, len, 20_000), Step::Send(0, len)];
    for step in of(v6, &stream) {
        side.take(&step);
    }
    assert_eq!(frames_held(&side.world.ns[1]), 10);
    let sock = side.socks[1];
    let mut shown = 0;
    let taken = side.world.with(1, |ns, cx| {
        ns.recv_with(cx, sock, &mut |bytes| {
            shown = bytes.len();
            2_000
        })
    });
    assert_eq!((taken, shown), (Ok(2_000), len));
    assert_eq!(frames_held(&side.world.ns[1]), 9);
    side.take(&Step::Close(1));
    assert_eq!(side.world.pool.in_use(), 0);
}

/// Frames of a stream that arrive together are taken together, up to one that is something else.
#[test]
fn segments_are_taken_as_trains() {
    // A byte of data, a port, the number, the acknowledgement, a flag, the window.
    let bytes = [60, 35, 41, 45, 47, 48];
    // Version, class and flow, lengths, what follows, hop limit and addresses of IPv6, and those of IPv4.
    let headers = [(14..54).collect::<Vec<_>>(), (14..34).collect()];
    for (v6, headers) in [true, false].into_iter().zip(headers) {
        let behind = if v6 { 20 } else { 0 };
        let changes = bytes.into_iter().map(|byte| byte + behind).chain(headers);
        let rightly = changes.flat_map(|byte| [1, 0x10].map(|bit| (byte, Change::Rightly(bit))));
        let xor = [60, 50].map(|byte| (byte + behind, Change::Xor(1)));
        let odd = rightly.chain(xor).chain([(0, Change::Options)]);
        let odd = odd.map(|(byte, change)| Some(Step::Slip(4, byte, change)));
        odd.chain([None])
            .for_each(|odd| is_taken_as_a_train(v6, odd));
    }
}

/// A stream whose last frames come together, this one between them.
fn is_taken_as_a_train(v6: bool, odd: Option<Step>) {
    let len = if v6 { 14_400 } else { 14_600 };
    let stream = [
        Step::Stream(0, 4, len, 20_000),
        Step::Late(0, true),
        Step::Send(0, len),
    ];
    let rest = [Step::Crowd(64), Step::Recv(1, 20_000)];
    let steps: Vec<Step> = stream.into_iter().chain(odd).chain(rest).collect();
    let steps = of(v6, &steps);
    let mut side = Side::with_offload(false, RECV_BUFFER, false);
    for step in &steps {
        side.take(step);
    }
    // With the second an acknowledgement is due: from there on the connection waits to be run.
    let tcp = side.world.ns[1].streams.tcp.as_ref();
    assert!(tcp.is_some_and(|tcp| tcp.on_trains >= 3), "{steps:?}");
    let alike = assert_alike(&steps, RECV_BUFFER, false);
    assert!(alike.is_ok(), "{steps:?}: {alike:?}");
}

/// What comes again before it was acknowledged brings nothing.
#[test]
fn what_is_not_acknowledged_yet_is_not_taken_twice() {
    let steps = [
        Step::Stream(0, 3, 15_584, 16_568),
        Step::Again(0, 0, Change::Pad(1)),
    ];
    assert!(assert_alike(&steps, RECV_BUFFER, false).is_ok());
}

/// The first that a server says is a long write: what leaves is of IPv6, though smoltcp has never seen that.
#[test]
fn a_long_answer_over_ipv6_comes_whole() {
    for (asked, buffer) in [(666, 1), (2_880, RECV_BUFFER)] {
        let steps = [
            Step::Family(true),
            Step::Connect,
            Step::Send(0, asked),
            Step::Recv(1, asked),
            Step::Send(1, 4_096),
            Step::Recv(0, 5_000),
        ];
        let alike = assert_alike(&steps, buffer, true);
        assert!(alike.is_ok(), "{asked} {buffer}");
    }
}

/// A segment that opens and resets at once is nothing to smoltcp, and does not say what the other side's windows are scaled by.
#[test]
fn a_syn_that_resets_is_not_met() {
    for bits in [6, 54] {
        let again = Step::Again(0, 47, Change::Rightly(bits));
        let small = [
            Step::Stream(0, 1, 2_920, 1),
            again.clone(),
            Step::Stream(0, 2, 8_760, 1_704),
            Step::Stream(0, 2, 27_740, 1),
        ];
        let first = [
            again,
            Step::Stream(1, 3, 13_464, 7_895),
            Step::Stream(1, 2, 27_740, 1),
        ];
        for steps in [&small[..], &first] {
            for offload in [true, false] {
                let alike = assert_alike(steps, RECV_BUFFER, offload);
                assert!(alike.is_ok(), "{steps:?} {offload}");
            }
        }
    }
}

/// Segments to an address that is gone are not for this namespace any more, whoever they were for before.
#[test]
fn an_address_that_is_gone_takes_no_segments() {
    for family in [false, true] {
        for gone in [0, 1] {
            let steps = [
                Step::Family(family),
                Step::Connect,
                Step::Exchange(0, 3, 9),
                Step::Address(gone, false),
                Step::Send(0, 9),
                Step::Recv(1, 9),
                Step::Wait(3_000_000),
                Step::Address(gone, true),
                Step::Wait(30_000_000),
                Step::Recv(1, 9),
                Step::Exchange(1, 3, 9),
            ];
            assert!(
                assert_alike(&steps, RECV_BUFFER, true).is_ok(),
                "{family} {gone}"
            );
        }
    }
}

/// Nor are those of IPv6 to an interface that takes none any more: that of a request, those of a stream.
#[test]
fn an_interface_without_ipv6_takes_none_of_its_segments() {
    let request = [
        Step::Exchange(0, 8, 9),
        Step::Late(0, true),
        Step::Send(0, 9),
    ];
    let stream = [
        Step::Stream(0, 4, 14_400, 20_000),
        Step::Late(0, true),
        Step::Send(0, 14_400),
    ];
    for begun in [request, stream] {
        let off = [
            Step::Arrive(0),
            Step::Ipv6(1, false),
            Step::Crowd(64),
            Step::Recv(1, 20_000),
            Step::Ipv6(1, true),
            Step::Late(0, false),
            Step::Wait(3_000_000),
            Step::Recv(1, 20_000),
        ];
        for off in [&off[..], &off[1..]] {
            let steps = of(true, &[&[Step::Loopback(1)], &begun[..], off].concat());
            let alike = assert_alike(&steps, RECV_BUFFER, false);
            assert!(alike.is_ok(), "{steps:?}: {alike:?}");
        }
    }
}

/// A segment of IPv6 between the addresses that stand for those of a connection of IPv4 is nobody's.
#[test]
fn ends_that_stand_for_those_of_ipv4_are_nobodys() {
    let told = [false, true].map(|long| {
        let mut side = Side::new(long, RECV_BUFFER);
        side.take(&Step::Exchange(0, 8, 9));
        let done = side.world.ns[1].addr_add(IfId(3), net("::ffff:10.0.0.2/96"));
        assert_eq!(done, Ok(()));
        side.take(&Step::Cut(0, true));
        side.take(&Step::Send(0, 9));
        let narrow = side.world.seen.last().unwrap().1.clone();
        let frame = side.world.pool.from_bytes(&mapped(&narrow)).unwrap();
        side.world.with(1, |ns, cx| ns.input(cx, IfId(3), frame));
        let told = side.take(&Step::Recv(1, 9));
        assert_eq!(told.0, [Err(Errno::WouldBlock)]);
        (told, side.state())
    });
    assert_eq!(told[0], told[1]);
}

/// The frame of IPv4, without options, as one of IPv6 between mapped addresses.
fn mapped(narrow: &[u8]) -> Vec<u8> {
    let (head, segment) = (&narrow[..34], &narrow[34..]);
    let mut frame = [&head[..12], &[0x86, 0xdd, 0x60, 0, 0, 0, 0]].concat();
    frame.extend([segment.len() as u8, head[23], head[22]]);
    for address in [&head[26..30], &head[30..34]] {
        frame.extend([0; 10].into_iter().chain([0xff; 2]));
        frame.extend_from_slice(address);
    }
    frame.extend_from_slice(segment);
    seal(&mut frame);
    frame
}

/// Connections of one namespace over two interfaces: what leaves after a segment of the other goes its own way.
#[test]
fn segments_to_two_sides_leave_each_its_way() {
    for servers in [
        ["10.0.1.2:80", "10.0.2.2:80"],
        ["[fd01::2]:80", "[fd02::2]:80"],
    ] {
        let mut world = World::routed(1500);
        let conns = [0, 2].map(|ns| {
            let to = at(servers[ns / 2]);
            let family = FAMILIES[usize::from(to.is_ipv6())];
            let server = world.ns[ns].socket(SockKind::Tcp, family).unwrap();
            world.ns[ns].bind(server, to).unwrap();
            world.with(ns, |ns, cx| ns.listen(cx, server, 16)).unwrap();
            let client = world.ns[1].socket(SockKind::Tcp, family).unwrap();
            world.set(1, client, SockOpt::NoDelay(true)).unwrap();
            let called = world.with(1, |ns, cx| ns.connect(cx, client, to));
            assert_eq!(called, Err(Errno::InProgress));
            let accepted = world.with(ns, |ns, cx| ns.accept(cx, server));
            (ns, client, accepted.unwrap().0)
        });
        for round in 0..20_u8 {
            for (ns, client, conn) in conns {
                let sent = world.with(1, |ns, cx| ns.send(cx, client, &[round; 9]));
                assert_eq!(sent, Ok(9));
                let mut got = [0; 20];
                let count = world.with(ns, |ns, cx| ns.recv(cx, conn, &mut got));
                assert_eq!((count, &got[..9]), (Ok(9), &[round; 9][..]), "{ns}");
            }
        }
    }
}

/// The first that an engine of a server says is a long write, when it owes an acknowledgement: its numbers go on from those
/// of the handshake.
#[test]
fn a_long_answer_comes_whole() {
    let long = Step::Stream(1, 3, 16_000, 20_000);
    let small = [Step::Send(0, 577), Step::Recv(1, 577), long.clone()];
    // The SYN comes again.
    let again = Step::Again(3, 0, Change::Pad(1));
    let repeated = [
        Step::Send(0, 1),
        Step::Send(0, 1),
        again,
        Step::Recv(1, 2),
        long,
    ];
    for (steps, buffer) in [(&small[..], 1), (&repeated, RECV_BUFFER)] {
        for offload in [false, true] {
            let alike = assert_alike(steps, buffer, offload);
            assert!(alike.is_ok(), "{steps:?} {offload}");
        }
    }
}

/// After an acknowledgement in an answer to what was not in order, or fitted the window in part, smoltcp's next one is
/// not late.
#[test]
fn what_follows_an_answer_is_acknowledged_at_once() {
    let partly = [
        Step::Late(1, true),
        Step::Stream(1, 1, 1460, 1),
        Step::Late(1, false),
        Step::Stream(0, 6, 28_524, 11_080),
    ];
    let disordered = [
        Step::Stream(0, 1, 1, 1),
        Step::Exchange(1, 1, 1),
        Step::Late(1, true),
        Step::Stream(1, 3, 16_060, 1),
        Step::Stream(0, 4, 730, 1),
        Step::Arrive(1),
        Step::Arrive(0),
        Step::Arrive(0),
    ];
    let smaller = [
        Step::Exchange(1, 1, 1),
        Step::Mtu(1, 1283),
        Step::Stream(0, 3, 8761, 1),
        Step::Stream(1, 1, 4164, 1),
    ];
    for steps in [&partly[..], &disordered, &smaller] {
        for offload in [false, true] {
            let alike = assert_alike(steps, RECV_BUFFER, offload);
            assert!(alike.is_ok(), "{steps:?} {offload}");
        }
    }
}

/// What is due at the moment at which a segment comes goes with that: here the stream that was lost, when the neighbour has
/// answered for which the segment waited as long. The segment's own repeat then comes after it.
#[test]
fn what_is_due_goes_with_a_segment_of_that_moment() {
    let steps = [
        Step::Send(0, 1),
        Step::Send(0, 1),
        Step::Connect,
        Step::Neighbours(0),
        Step::Cut(1, true),
        Step::Stream(1, 3, 10_923, 1),
        Step::Exchange(0, 1, 1),
        Step::Cut(1, false),
        Step::Wait(1_000_000),
    ];
    assert!(assert_alike(&steps, RECV_BUFFER, true).is_ok());
}

/// Likewise.
#[test]
fn streams_are_held() {
    for v6 in [false, true] {
        streams_of_a_family_are_held(v6);
    }
}

fn streams_of_a_family_are_held(v6: bool) {
    let mut side = Side::new(false, RECV_BUFFER);
    for step in of(v6, &[]) {
        side.take(&step);
    }
    side.take(&Step::Stream(0, 8, 20_000, 20_000));
    side.take(&Step::Send(0, 20_000));
    assert_eq!(frames_held(&side.world.ns[1]), 1);
    // Something goes the other way: what waits is copied after all.
    side.take(&Step::Send(1, 1));
    assert_eq!(frames_held(&side.world.ns[1]), 0);
    side.take(&Step::Recv(1, 20_000));
    side.take(&Step::Stream(0, 8, 20_000, 20_000));
    side.take(&Step::Send(0, 20_000));
    assert_eq!(frames_held(&side.world.ns[1]), 1);
    side.take(&Step::Close(1));
    side.take(&Step::Close(0));
    assert_eq!(side.world.pool.in_use(), 0);
}

/// Or the comparison would compare nothing.
#[test]
fn segments_are_early() {
    for family in FAMILIES {
        let mut side = Side::new(false, RECV_BUFFER);
        let steps = of(
            family == Family::V6,
            &[Step::Send(0, 100), Step::Recv(1, 100)],
        );
        steps.iter().for_each(|step| drop(side.take(step)));
        for ns in &side.world.ns {
            let early = ns.early.as_deref().unwrap();
            assert!(early.knows(family), "{family:?}");
        }
        side.world.end();
    }
}

/// The bytes that follow a packet in the shortest frames of a real wire are counted as well.
#[test]
fn what_pads_a_frame_is_counted() {
    for v6 in [false, true] {
        let steps = [Step::Send(0, 100), Step::Again(0, 0, Change::Pad(6))];
        assert!(assert_alike(&of(v6, &steps), RECV_BUFFER, true).is_ok());
    }
}

/// The segment stands behind them: that of a request which is read already, and that which ends a connection.
#[test]
fn options_of_ip_are_passed_over() {
    let again = Step::Again(0, 0, Change::Options);
    let lost = |step| [Step::Cut(0, true), step, Step::Cut(0, false), again.clone()];
    for (times, step) in [
        (8, Step::Send(0, 20)),
        (8, Step::Shutdown(0)),
        (1, Step::Shutdown(0)),
    ] {
        let mut steps = vec![Step::Exchange(0, times, 20)];
        steps.extend(lost(step));
        steps.extend([Step::Recv(1, 100), Step::Wait(20_000)]);
        for v6 in [false, true] {
            let steps = of(v6, &steps);
            assert!(assert_alike(&steps, RECV_BUFFER, true).is_ok(), "{steps:?}");
        }
    }
}
