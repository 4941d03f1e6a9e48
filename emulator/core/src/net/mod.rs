//! The data plane: namespaces, links and bridges, and the worklist that moves frames between them.
//!
//! One rule: *whoever fills a ring marks its reader*. `Net::step` takes the next mark in FIFO order,
//! does a bounded amount of work there, and returns; nothing is called back, nothing recurses.
//!
//! ```text
//!   Netns::poll ─► tx ─► transmit ─► Link ring ─► mark ─► receive ─► Netns::input   (a stack's end)
//!                                                            └─────► Bridge::input  (a bridge's port)
//! ```
//!
//! What is left out: time (an argument), applications (the Lab's), Docker (the model's).

mod bridging;
mod child;
mod courses;
mod crossing;
mod each;
mod hand;
mod hops;
mod lone;
mod overhear;
mod raw;
mod row;
mod run;
mod topology;
mod version;
mod watch;

use std::collections::VecDeque;

use switch::agenda::Agenda;
use switch::bridge::PortId;
use switch::frame::PoolLimits;
use switch::link::{Link, Mode, Side};
use switch::trace::Trace;
use switch::verdict::What;
use switch::{DropReason, Frame, Pool, Rng, Time};

use crate::id::{AppId, BridgeId, IfId, LinkId, NsId, SockId};
use crate::netns::tcp::Spares;
use crate::netns::{Cx, Netns, Room, first, only};

pub use child::{ChildKind, IpvlanFlag, IpvlanMode, MacvlanMode};
pub use raw::Offload;
pub use topology::VethPlan;
pub use watch::{
    CAPTURES, CaptureAt, CaptureSink, CaptureSpec, Place, Places, TooManyCaptures, Watchable,
};

/// Room for what every lab has: the interfaces of nobody's bridges.
const WIRES: Room = Room {
    ifaces: 6,
    v4: 0,
    v6: 0,
};
/// And namespaces, interfaces, veth pairs, bridges.
const NAMESPACES: usize = 8;
const INTERFACES: usize = 24;
const PAIRS: usize = 8;
const BRIDGES: usize = 4;

/// Frames that one mark may move before others get their turn.
const QUANTUM: usize = 64;

/// What the worklist holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// The receive ring of this interface has frames.
    Receive(IfId),
    /// This namespace has something to send or to time out.
    Poll(NsId),
    /// This application has something to do.
    Run(AppId),
}

/// How far [`Net::work`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worked {
    /// Something was done, and perhaps more is to do.
    Something,
    /// It is this application's turn.
    Till(AppId),
    /// There was nothing to do.
    Nothing,
}

/// What an interface is plugged into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plug {
    /// Nothing: loopback, or an interface that is gone.
    Nothing,
    /// One end of a veth pair.
    Veth {
        link: LinkId,
        side: Side,
        peer: IfId,
    },
    /// A bridge's own interface.
    Bridge(BridgeId),
    /// A macvlan or ipvlan interface on top of this one.
    Child { parent: IfId },
    /// A bridge that is nobody's; the interface only gives it a number.
    Segment(BridgeId),
}

/// Who reads what arrives at an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// The stack of its namespace.
    Stack,
    /// A bridge, as this port.
    Port { bridge: BridgeId, port: PortId },
    /// Nobody: frames wait in the ring for [`Net::raw_recv`].
    Raw,
    /// Nobody, and the lab's user is told that they wait ([`Net::raw_tell`]).
    Told,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Socket {
    pub(crate) ns: NsId,
    pub(crate) plug: Plug,
    pub(crate) reader: Reader,
    pub(crate) marked: bool,
}

/// A bridge and where it belongs.
#[derive(Debug)]
pub(crate) struct BridgeSlot {
    pub(crate) bridge: switch::bridge::Bridge,
    /// The namespace that it belongs to; `None` for a segment outside the host, which is nobody's.
    pub(crate) owner: Option<NsId>,
    /// What captures say about it: the name of the network or segment.
    pub(crate) about: String,
    /// A frame that crosses it has crossed a nearer segment as it is.
    pub(crate) far: bool,
    /// Its owner's firewall sees what it forwards.
    pub(crate) filtered: bool,
    /// The ways of flows that go on.
    courses: courses::Courses<version::V4>,
    /// Those for frames of IPv6.
    wide: courses::Courses<version::V6>,
    /// Those between its stations.
    hops: hops::Hops,
}

/// How a data plane is made.
#[derive(Clone, Copy, Debug)]
pub struct NetConfig {
    /// Whether a veth copies frames or passes them on.
    pub mode: Mode,
    /// Frames that one direction of a veth holds.
    pub ring: usize,
    /// Ports that a bridge takes: 1,023 as Linux does, unless lifted.
    pub bridge_ports: usize,
    /// Addresses that a bridge learns.
    pub bridge_addresses: usize,
    /// Buffers.
    pub pool: PoolLimits,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            mode: Mode::Copy,
            ring: 1024,
            bridge_ports: switch::bridge::PORTS,
            bridge_addresses: switch::fdb::LIMIT,
            pool: PoolLimits::default(),
        }
    }
}

/// Marks the reader of an interface whose ring got a frame. Where nobody reads there is nothing to do.
#[inline]
fn mark(sockets: &mut [Socket], work: &mut VecDeque<Work>, iface: IfId) {
    let socket = &mut sockets[iface.0 as usize];
    if !socket.marked && socket.reader != Reader::Raw {
        socket.marked = true;
        work.push_back(Work::Receive(iface));
    }
}

/// Number 1 is every namespace's `lo`; no frame gets here from one.
fn lo() -> Vec<Socket> {
    let unplugged = Socket {
        ns: NsId(0),
        plug: Plug::Nothing,
        reader: Reader::Stack,
        marked: true,
    };
    let mut sockets = Vec::with_capacity(INTERFACES);
    sockets.extend([unplugged; 2]);
    sockets
}

/// The namespaces of a lab and the wires between them.
#[derive(Debug)]
pub struct Net {
    pub(crate) now: Time,
    /// Every frame buffer of the lab.
    pub pool: Pool,
    /// Events, counters of drops, and the capture.
    pub trace: Trace,
    pub(crate) config: NetConfig,
    pub(crate) rng: Rng,
    namespaces: Vec<Option<Box<Netns>>>,
    marked_ns: Vec<bool>,
    pub(crate) sockets: Vec<Socket>,
    pub(crate) links: Vec<Link>,
    free_links: Vec<LinkId>,
    pub(crate) bridges: Vec<Option<Box<BridgeSlot>>>,
    pub(crate) children: child::Children,
    taps: watch::Taps,
    pub(crate) wires: Option<NsId>,
    work: VecDeque<Work>,
    hand: hand::Hand,
    /// When namespaces want to run, by number.
    alarms: Agenda,
    pub(crate) tx: Vec<(IfId, Frame)>,
    /// Those of them that go first, the next one last.
    going: Vec<(IfId, Frame)>,
    pub(crate) wakes: Vec<SockId>,
    spares: Spares,
    /// Frames of a burst that is being sent; empty in between.
    burst: switch::frame::Burst,
    /// Raw interfaces that frames wait for and whose user has not been told yet.
    told: Vec<IfId>,
}

impl Net {
    /// An empty data plane that draws chance from `rng`.
    #[must_use]
    pub fn new(config: NetConfig, rng: Rng) -> Self {
        Self {
            now: Time::ZERO,
            pool: Pool::new(config.pool),
            trace: Trace::default(),
            config,
            rng,
            namespaces: Vec::with_capacity(NAMESPACES),
            marked_ns: Vec::with_capacity(NAMESPACES),
            sockets: lo(),
            links: Vec::with_capacity(PAIRS),
            free_links: Vec::new(),
            bridges: Vec::with_capacity(BRIDGES),
            children: child::Children::default(),
            taps: watch::Taps::default(),
            wires: None,
            work: VecDeque::new(),
            hand: hand::Hand::default(),
            alarms: Agenda::default(),
            tx: Vec::new(),
            going: Vec::new(),
            wakes: Vec::new(),
            spares: Spares::default(),
            burst: switch::frame::Burst::default(),
            told: Vec::new(),
        }
    }

    /// Every veth pair, to look at.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(|link| !link.is_gone())
    }

    /// Every bridge, to look at.
    pub fn bridges(&self) -> impl Iterator<Item = &switch::bridge::Bridge> {
        self.bridges
            .iter()
            .filter_map(|slot| slot.as_deref().map(|slot| &slot.bridge))
    }

    /// Now.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// The namespace, if it is still there.
    #[must_use]
    pub fn ns(&self, ns: NsId) -> Option<&Netns> {
        self.namespaces.get(ns.0 as usize)?.as_deref()
    }

    /// The namespace of an interface, `lo` left out.
    #[must_use]
    pub fn owner(&self, iface: IfId) -> Option<&Netns> {
        let netns = self.ns(self.sockets.get(iface.0 as usize)?.ns)?;
        let owns = iface != crate::netns::LO && netns.iface(iface).is_some();
        owns.then_some(netns)
    }

    /// Every namespace, in the order in which they were made.
    pub fn all_ns(&self) -> impl Iterator<Item = &Netns> {
        self.namespaces.iter().filter_map(Option::as_deref)
    }

    /// Calls `act` on a namespace and sends what that produced. `None` if it is gone.
    pub fn with_ns<T>(
        &mut self,
        ns: NsId,
        act: impl FnOnce(&mut Netns, &mut Cx<'_>) -> T,
    ) -> Option<T> {
        let result = self.with_hooks(ns, act)?;
        self.after(ns);
        Some(result)
    }

    /// The same for a system call; `absent` is what it comes to if the namespace is gone. A result is not wrapped up: to
    /// copy one that has just been written costs more than most calls do.
    #[inline]
    pub(crate) fn call<T>(
        &mut self,
        ns: NsId,
        absent: T,
        act: impl FnOnce(&mut Netns, &mut Cx<'_>) -> T,
    ) -> T {
        let Some(Some(netns)) = self.namespaces.get_mut(ns.0 as usize) else {
            return absent;
        };
        let mut cx = Cx {
            now: self.now,
            pool: &mut self.pool,
            trace: &mut self.trace,
            tx: &mut self.tx,
            wakes: &mut self.wakes,
            spares: &mut self.spares,
        };
        let result = act(netns, &mut cx);
        self.after(ns);
        result
    }

    /// The namespace, if it is still there, for what sends nothing and sets no timer.
    pub(crate) fn ns_mut(&mut self, ns: NsId) -> Option<&mut Netns> {
        self.namespaces.get_mut(ns.0 as usize)?.as_deref_mut()
    }

    /// Calls `act`, which sends nothing and sets no timer, on a namespace: the hooks.
    pub(crate) fn with_hooks<T>(
        &mut self,
        ns: NsId,
        act: impl FnOnce(&mut Netns, &mut Cx<'_>) -> T,
    ) -> Option<T> {
        let slot = self.namespaces.get_mut(ns.0 as usize)?;
        let netns = slot.as_mut()?;
        let mut cx = Cx {
            now: self.now,
            pool: &mut self.pool,
            trace: &mut self.trace,
            tx: &mut self.tx,
            wakes: &mut self.wakes,
            spares: &mut self.spares,
        };
        Some(act(netns, &mut cx))
    }

    /// After a namespace ran: send its frames, and note when it wants to run again.
    #[inline(always)]
    fn after(&mut self, ns: NsId) {
        if !(self.tx.is_empty() & self.going.is_empty()) {
            self.send_all();
        }
        let Some(netns) = self.namespaces[ns.0 as usize].as_deref() else {
            return;
        };
        let (alarm, has_work) = (netns.alarm(), netns.has_work());
        if has_work || netns.noted != alarm {
            self.note(ns, alarm, has_work);
        }
    }

    /// Out of the way of those whom nothing has changed for.
    #[inline(never)]
    fn note(&mut self, ns: NsId, alarm: Time, has_work: bool) {
        if has_work {
            self.mark_ns(ns);
        }
        if let Some(Some(netns)) = self.namespaces.get_mut(ns.0 as usize)
            && netns.noted != alarm
        {
            netns.noted = alarm;
            self.alarms.set(ns.0, alarm);
        }
    }

    #[inline(never)]
    fn send_all(&mut self) {
        // Mostly there is one.
        if let Some((iface, frame)) = only(&mut self.tx, &self.going) {
            if let Err(frame) = self.send_last(iface, frame) {
                self.transmit(iface, frame);
            }
            if self.tx.is_empty() {
                return;
            }
        }
        while let Some((iface, frame)) = first(&mut self.tx, &mut self.going) {
            self.transmit(iface, frame);
        }
    }

    /// An ordinary frame, behind which no other waits, leaves through `iface`. It comes back, and nothing has happened, if that
    /// is no end of a veth pair whose way is clear.
    #[inline(always)]
    fn send_last(&mut self, iface: IfId, frame: Frame) -> Result<(), Frame> {
        let Plug::Veth { link, side, peer } = self.sockets[iface.0 as usize].plug else {
            return Err(frame);
        };
        if self.trace.is_capturing() {
            return Err(frame);
        }
        self.cross(link, side, peer, frame, |trace, now, number| {
            trace.one(now, number, iface, What::Sent);
        })
    }

    /// An ordinary frame crosses a veth pair from this side if the way is clear, after `tell` has been given its number. It comes
    /// back, and nothing has happened, if not.
    #[inline(always)]
    fn cross(
        &mut self,
        link: LinkId,
        side: Side,
        peer: IfId,
        frame: Frame,
        tell: impl FnOnce(&mut Trace, Time, u64),
    ) -> Result<(), Frame> {
        let Some((number, bytes)) = self.pool.ordinary(&frame) else {
            return Err(frame);
        };
        let len = bytes.len();
        let Some(mut way) = self.links[link.0 as usize].clear(side, len) else {
            return Err(frame);
        };
        tell(&mut self.trace, self.now, number);
        let frame = way.cross(&mut self.pool, frame, len as u64);
        let (hand, sockets, work) = (&mut self.hand, &mut self.sockets, &mut self.work);
        hand::arrive(hand, sockets, work, way, (peer, frame));
        Ok(())
    }

    #[inline]
    pub(crate) fn mark(&mut self, iface: IfId) {
        mark(&mut self.sockets, &mut self.work, iface);
    }

    /// From now on this is who reads what arrives at an interface.
    fn set_reader(&mut self, iface: IfId, reader: Reader) {
        let socket = &mut self.sockets[iface.0 as usize];
        socket.reader = reader;
        if let Plug::Veth { link, side, .. } = socket.plug {
            self.links[link.0 as usize].set_quiet(side, reader == Reader::Raw);
        }
    }

    fn mark_ns(&mut self, ns: NsId) {
        let marked = &mut self.marked_ns[ns.0 as usize];
        if !*marked {
            *marked = true;
            self.work.push_back(Work::Poll(ns));
        }
    }

    /// Puts an application on the worklist.
    pub(crate) fn mark_app(&mut self, app: AppId) {
        self.work.push_back(Work::Run(app));
    }

    /// Whether anything is marked.
    pub(crate) fn has_work(&self) -> bool {
        !self.work.is_empty()
    }

    /// Does the work of marks until there is none, an application is next, a socket is to be told of, or
    /// a capture may have to be emptied.
    #[inline]
    pub(crate) fn work(&mut self) -> Worked {
        match self.work.pop_front() {
            Some(work) => self.work_from(work),
            None => Worked::Nothing,
        }
    }

    /// The same for at most `marks` marks, which are counted down: real time has others to look after.
    pub(crate) fn work_within(&mut self, marks: &mut u32) -> Worked {
        let all = *marks;
        while *marks > 0 {
            let Some(work) = self.work.pop_front() else {
                // What was done may have something to tell.
                return match *marks == all {
                    true => Worked::Nothing,
                    false => Worked::Something,
                };
            };
            *marks -= 1;
            match work {
                Work::Receive(iface) => self.receive(iface),
                Work::Poll(ns) => {
                    self.marked_ns[ns.0 as usize] = false;
                    self.with_ns(ns, |netns, cx| netns.poll(cx));
                }
                Work::Run(app) => return Worked::Till(app),
            }
            if !self.wakes.is_empty() || self.trace.is_capturing() {
                break;
            }
        }
        Worked::Something
    }

    /// Out of the way of those who ask and find nothing.
    #[inline(never)]
    fn work_from(&mut self, work: Work) -> Worked {
        self.hand = hand::Hand::Open;
        let worked = self.work_on(work);
        self.hand = hand::Hand::Closed;
        worked
    }

    #[inline(always)]
    fn work_on(&mut self, mut work: Work) -> Worked {
        loop {
            match work {
                Work::Receive(iface) => self.receive(iface),
                Work::Poll(ns) => {
                    self.marked_ns[ns.0 as usize] = false;
                    self.with_ns(ns, |netns, cx| netns.poll(cx));
                }
                Work::Run(app) => return Worked::Till(app),
            }
            loop {
                if !self.wakes.is_empty() || self.trace.is_capturing() {
                    self.put_down();
                    return Worked::Something;
                }
                match self.take_hand() {
                    Some((iface, frame)) => self.take_in(iface, frame),
                    None => break,
                }
            }
            work = match self.work.pop_front() {
                Some(work) => work,
                None => return Worked::Something,
            };
        }
    }

    /// Whether there may be something to tell: of sockets, raw interfaces, captures.
    #[inline]
    pub(crate) const fn has_news(&self) -> bool {
        !self.wakes.is_empty() | !self.told.is_empty() | self.trace.is_capturing()
    }

    /// The sockets whose readiness changed since the last call.
    pub(crate) fn take_wakes(&mut self) -> Option<SockId> {
        self.wakes.pop()
    }

    /// The socket whose readiness changed, if that is all that there is to tell.
    #[inline]
    pub(crate) fn only_wake(&self) -> Option<SockId> {
        match self.wakes[..] {
            [sock] if self.told.is_empty() && !self.trace.is_capturing() => Some(sock),
            _ => None,
        }
    }

    /// When the next namespace wants to run.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.alarms.first().map(|(at, _)| at)
    }

    /// Moves time to `now`. Time never goes back.
    pub(crate) fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// Runs the timers of the first namespace that has any due; false if none has. One after the other, each when
    /// the frames of the last have arrived: a thousand announcements of one moment are not under way at once.
    #[inline]
    pub(crate) fn fire_next(&mut self) -> bool {
        let is_due = (self.alarms.first()).is_some_and(|(at, _)| at <= self.now);
        is_due && self.fire_first()
    }

    #[inline(never)]
    fn fire_first(&mut self) -> bool {
        let Some(ns) = self.alarms.pop(self.now) else {
            return false;
        };
        self.with_ns(NsId(ns), |netns, cx| {
            netns.noted = Time::MAX;
            netns.fire(cx);
        });
        true
    }

    /// Takes up to a quantum of frames from an interface's receive ring.
    fn receive(&mut self, iface: IfId) {
        let socket = &mut self.sockets[iface.0 as usize];
        socket.marked = false;
        let Socket {
            ns, plug, reader, ..
        } = *socket;
        match (reader, plug) {
            (Reader::Raw, _) => {}
            (Reader::Told, _) => self.raw_arrived(iface),
            (Reader::Port { bridge, port }, Plug::Veth { link, side, .. }) => {
                self.receive_at_ports(run::Inlet {
                    bridge,
                    port,
                    iface,
                    link,
                    side,
                });
            }
            _ => self.receive_each(ns, iface, plug, reader),
        }
    }

    #[inline(never)]
    fn receive_each(&mut self, ns: NsId, iface: IfId, plug: Plug, reader: Reader) {
        let mut left = QUANTUM;
        while left > 0 {
            let Some(frame) = self.take_received(iface, plug) else {
                return;
            };
            left -= 1;
            match reader {
                Reader::Port { bridge, port } => self.bridge_input(bridge, port, iface, frame),
                Reader::Stack | Reader::Raw | Reader::Told => {
                    self.stack_input(ns, iface, frame);
                    left -= self.receive_train(ns, iface, plug, left);
                }
            }
        }
        self.mark(iface);
    }

    /// Takes frames that carry on what one that was just taken is a part of, at most `most`; how many.
    #[inline]
    fn receive_train(&mut self, ns: NsId, iface: IfId, plug: Plug, most: usize) -> usize {
        let netns = self
            .namespaces
            .get_mut(ns.0 as usize)
            .and_then(Option::as_mut);
        let family = netns.and_then(|ns| ns.leads_train());
        let (Some(family), Plug::Veth { link, side, .. }) = (family, plug) else {
            return 0;
        };
        let way = &mut self.links[link.0 as usize];
        let is_plain = !self.trace.is_capturing() && self.children.is_empty();
        if most == 0 || way.waiting(side) == 0 || !is_plain {
            return 0;
        }
        let mut ring = way.take_ring(side);
        let count = self.with_hooks(ns, |netns, cx| {
            netns.train_input(cx, iface, family, &mut ring.waiting(), most)
        });
        self.links[link.0 as usize].put_ring(side, ring);
        self.after(ns);
        count.unwrap_or(0)
    }

    #[inline]
    fn take_received(&mut self, iface: IfId, plug: Plug) -> Option<Frame> {
        match plug {
            Plug::Veth { link, side, .. } => self.links[link.0 as usize].receive(side),
            Plug::Child { .. } => self.children.take(iface),
            Plug::Bridge(_) | Plug::Nothing | Plug::Segment(_) => None,
        }
    }

    /// A frame for the stack of `ns`, or for what sits on top of its interface.
    #[inline(always)]
    pub(crate) fn stack_input(&mut self, ns: NsId, iface: IfId, frame: Frame) {
        self.trace.frame(
            self.now,
            &self.pool,
            &frame,
            iface,
            switch::capture::Direction::In,
        );
        let Some(frame) = self.child_input(iface, frame) else {
            return;
        };
        self.take_up(ns, iface, frame);
    }

    pub(crate) fn host_input(&mut self, ns: NsId, iface: IfId, frame: Frame) {
        self.take_up(ns, iface, frame);
    }

    #[inline(always)]
    fn take_up(&mut self, ns: NsId, iface: IfId, frame: Frame) {
        let Some(Some(netns)) = self.namespaces.get_mut(ns.0 as usize) else {
            self.trace.drop(
                self.now,
                &mut self.pool,
                frame,
                iface,
                DropReason::InterfaceDown,
            );
            return;
        };
        let mut cx = Cx {
            now: self.now,
            pool: &mut self.pool,
            trace: &mut self.trace,
            tx: &mut self.tx,
            wakes: &mut self.wakes,
            spares: &mut self.spares,
        };
        netns.input(&mut cx, iface, frame);
        self.after(ns);
    }

    /// A frame leaves through `iface`.
    #[inline(never)]
    pub(crate) fn transmit(&mut self, iface: IfId, frame: Frame) {
        self.trace
            .event(self.now, self.pool.meta(&frame).id, iface, What::Sent);
        match self.sockets[iface.0 as usize].plug {
            Plug::Veth { link, side, peer } => self.carry_over(iface, link, side, peer, frame),
            Plug::Bridge(bridge) => self.bridge_output(bridge, iface, frame),
            Plug::Child { parent } => self.child_output(iface, parent, frame),
            Plug::Nothing | Plug::Segment(_) => {
                self.trace.drop(
                    self.now,
                    &mut self.pool,
                    frame,
                    iface,
                    DropReason::InterfaceDown,
                );
            }
        }
    }

    /// A frame goes into the veth pair at its end `iface`, and its reader is marked.
    pub(crate) fn carry(&mut self, iface: IfId, frame: Frame) {
        let Plug::Veth { link, side, peer } = self.sockets[iface.0 as usize].plug else {
            self.trace.drop(
                self.now,
                &mut self.pool,
                frame,
                iface,
                DropReason::InterfaceDown,
            );
            return;
        };
        self.carry_over(iface, link, side, peer, frame);
    }

    /// The same for a frame of a flood that its receivers only read, so that one buffer serves them all.
    pub(super) fn carry_shared(&mut self, iface: IfId, frame: Frame) {
        let Plug::Veth { link, side, peer } = self.sockets[iface.0 as usize].plug else {
            return self.carry(iface, frame);
        };
        let out = switch::capture::Direction::Out;
        self.trace.frame(self.now, &self.pool, &frame, iface, out);
        let len = self.pool.len(&frame);
        let Some(mut way) = self.links[link.0 as usize].clear(side, len) else {
            return self.carry_by(iface, link, side, peer, frame);
        };
        way.cross_shared(len as u64);
        hand::arrive(
            &mut self.hand,
            &mut self.sockets,
            &mut self.work,
            way,
            (peer, frame),
        );
    }

    #[inline(always)]
    fn carry_over(&mut self, iface: IfId, link: LinkId, side: Side, peer: IfId, frame: Frame) {
        self.trace.frame(
            self.now,
            &self.pool,
            &frame,
            iface,
            switch::capture::Direction::Out,
        );
        if let Err(frame) = self.cross(link, side, peer, frame, |_, _, _| ()) {
            self.carry_by(iface, link, side, peer, frame);
        }
    }

    /// The same for a super-segment, or what does not get through.
    #[inline(never)]
    fn carry_by(&mut self, iface: IfId, link: LinkId, side: Side, peer: IfId, frame: Frame) {
        if self.links[link.0 as usize].is_gone() {
            let reason = DropReason::InterfaceDown;
            return (self.trace).drop(self.now, &mut self.pool, frame, iface, reason);
        }
        // The ring has to be as it would be without a frame at hand.
        self.put_down();
        match self.links[link.0 as usize].carry(&mut self.pool, side, frame) {
            Ok(()) => self.mark(peer),
            Err((frame, reason)) => {
                self.trace
                    .drop(self.now, &mut self.pool, frame, peer, reason);
            }
        }
    }
}
