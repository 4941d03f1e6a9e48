//! Two namespaces on one wire, by the short ways or the long one, and what happens to them.

use core::time::Duration;

use proptest::prelude::*;
use switch::verdict::Event;

use super::change::{Change, alter};
use super::rig::{Witness, World, at, net};
use super::turns::Turns;
use crate::app::{Family, Ready, SockKind, SockOpt};
use crate::id::SockId;
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

pub(super) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
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
    pub(super) fn with_offload(long: bool, buffer: usize, offload: bool) -> Self {
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

    pub(super) fn state(&self) -> String {
        let each = self.world.ns.iter().map(|netns| {
            let counted: Vec<_> = netns.ifaces().map(|iface| (iface.rx, iface.tx)).collect();
            let neighbours: Vec<_> = netns.neighbours(self.world.now).collect();
            let tcp = netns.streams.tcp.as_ref().map(|tcp| *tcp.counters());
            format!("{counted:?} {:?} {neighbours:?} {tcp:?}\n", netns.sockets())
        });
        format!("{}{:?}", each.collect::<String>(), self.world.trace.drops)
    }
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

pub(super) fn frames_held(netns: &Netns) -> usize {
    let tcp = netns.streams.tcp.as_ref();
    tcp.map_or(0, |tcp| tcp.frames_held())
}
