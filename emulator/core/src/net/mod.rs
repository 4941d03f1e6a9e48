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
mod input;
mod lone;
mod overhear;
mod raw;
mod row;
mod run;
mod send;
mod topology;
mod version;
mod watch;
mod work;

use std::collections::VecDeque;

use switch::agenda::Agenda;
use switch::bridge::PortId;
use switch::frame::PoolLimits;
use switch::link::{Link, Mode, Side};
use switch::trace::Trace;
use switch::{Frame, Pool, Rng, Time};

use crate::id::{AppId, BridgeId, IfId, LinkId, NsId, SockId};
use crate::netns::tcp::Spares;
use crate::netns::{Cx, Netns, Room};

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

    /// From now on this is who reads what arrives at an interface.
    fn set_reader(&mut self, iface: IfId, reader: Reader) {
        let socket = &mut self.sockets[iface.0 as usize];
        socket.reader = reader;
        if let Plug::Veth { link, side, .. } = socket.plug {
            self.links[link.0 as usize].set_quiet(side, reader == Reader::Raw);
        }
    }
}
