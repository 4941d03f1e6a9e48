//! macvlan and ipvlan interfaces: children on top of the host's uplink.
//!
//! After Linux's `drivers/net/macvlan.c` and `drivers/net/ipvlan`: children of one parent reach the segment,
//! never the parent's own stack, and as their mode says each other. A macvlan child has its own MAC; an
//! ipvlan child shares the parent's and is told apart by its addresses.
//!
//! ```text
//! macvlan bridge            siblings in that mode straight, others by the wire
//! macvlan private, vepa     everything by the wire, which gives nothing back to where it came from
//! ipvlan l2                 siblings straight; private: not at all; vepa: by the wire
//! ipvlan l3, l3s            siblings by address; all else by the routes of the parent's namespace that lead out
//!                           of the parent. Nobody asks for neighbours, nothing to all comes or goes.
//! ```
//! An interface has children of one of the two only: whoever makes them sees to that.
//! What comes for an l3s child passes PREROUTING and INPUT of the parent's namespace. Left out: macvlan's source mode;
//! a passthru child does not take the parent's own frames away.

use std::collections::{BTreeMap, VecDeque};

use core::net::IpAddr;
use switch::verdict::What;
use switch::wire::{Ether, EthernetAddress, EthernetProtocol, Packet};
use switch::{DropReason, Frame};

use super::Net;
use crate::id::{IfId, NsId};

/// Frames that wait for one child.
const QUEUE: usize = 1024;

/// How a child shares its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildKind {
    /// By MAC.
    Macvlan(MacvlanMode),
    /// By address.
    Ipvlan(IpvlanMode, IpvlanFlag),
}

/// Whom a macvlan child reaches besides the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MacvlanMode {
    /// Its siblings.
    #[default]
    Bridge,
    /// Nobody: it is the only child.
    Passthru,
    /// Nobody, whatever the wire gives back.
    Private,
    /// Nobody but by the wire.
    Vepa,
}

/// On which layer ipvlan children are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpvlanMode {
    /// They have neighbours.
    #[default]
    L2,
    /// The parent's namespace routes for them.
    L3,
    /// And its rules see what comes for them.
    L3s,
}

/// Whom an ipvlan child reaches besides the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpvlanFlag {
    /// Its siblings.
    #[default]
    Bridge,
    /// Nobody.
    Private,
    /// Nobody but by the wire.
    Vepa,
}

impl ChildKind {
    /// It has no neighbours.
    pub(crate) const fn is_routed(self) -> bool {
        matches!(self, Self::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s, _))
    }

    /// It is told apart by address.
    const fn shares_mac(self) -> bool {
        matches!(self, Self::Ipvlan(..))
    }

    /// What it sends may go to that sibling without the wire.
    fn reaches(self, sibling: Self) -> bool {
        let bridge = Self::Macvlan(MacvlanMode::Bridge);
        match self {
            Self::Macvlan(_) => self == bridge && sibling == bridge,
            Self::Ipvlan(_, flag) => flag == IpvlanFlag::Bridge,
        }
    }

    /// What it sends to all goes to that sibling too.
    fn is_heard_by(self, sibling: Self) -> bool {
        let all = match self {
            Self::Macvlan(_) => self.reaches(sibling),
            Self::Ipvlan(..) => true,
        };
        all && !sibling.is_routed()
    }
}

#[derive(Debug)]
struct Child {
    parent: IfId,
    kind: ChildKind,
    mac: EthernetAddress,
    ns: NsId,
    queue: VecDeque<Frame>,
}

/// The children of all interfaces.
#[derive(Debug, Default)]
pub(crate) struct Children {
    by_id: BTreeMap<IfId, Child>,
    /// The number of the last one that shares a MAC.
    last: u16,
}

impl Children {
    pub(crate) fn add(
        &mut self,
        iface: IfId,
        parent: IfId,
        kind: ChildKind,
        mac: EthernetAddress,
        ns: NsId,
    ) {
        self.by_id.insert(
            iface,
            Child {
                parent,
                kind,
                mac,
                ns,
                queue: VecDeque::new(),
            },
        );
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// A number for one that shares a MAC: not 0, and nobody's who was made lately.
    pub(crate) const fn number(&mut self) -> u16 {
        self.last = if self.last >= 0xfffd {
            1
        } else {
            self.last + 1
        };
        self.last
    }

    pub(crate) fn remove(&mut self, iface: IfId) -> VecDeque<Frame> {
        self.by_id
            .remove(&iface)
            .map(|child| child.queue)
            .unwrap_or_default()
    }

    pub(crate) fn take(&mut self, iface: IfId) -> Option<Frame> {
        self.by_id.get_mut(&iface)?.queue.pop_front()
    }

    fn of(&self, parent: IfId) -> impl Iterator<Item = (IfId, &Child)> {
        self.by_id
            .iter()
            .filter(move |(_, child)| child.parent == parent)
            .map(|(&id, child)| (id, child))
    }
}

/// The address that an IP packet or an ARP or ND question is for.
fn target(bytes: &[u8], ether: &Ether) -> Option<IpAddr> {
    let payload = bytes.get(ether.payload..)?;
    match ether.protocol {
        EthernetProtocol::Arp => {
            let octets: [u8; 4] = payload.get(24..28)?.try_into().ok()?;
            Some(octets.into())
        }
        EthernetProtocol::Ipv4 | EthernetProtocol::Ipv6 => {
            Packet::parse(payload).ok().map(|packet| packet.destination)
        }
        EthernetProtocol::Unknown(_) => None,
    }
}

impl Net {
    /// Somebody shares that interface.
    pub(crate) fn has_children(&self, parent: IfId) -> bool {
        self.children.of(parent).next().is_some()
    }

    fn child_has(&self, child: &Child, id: IfId, address: IpAddr) -> bool {
        self.ns(child.ns)
            .and_then(|netns| netns.iface(id))
            .is_some_and(|iface| iface.has(address))
    }

    /// The child of `parent` that a unicast frame is for, or a copy to each if it is for a group.
    /// Returns the frame if it is for the parent's stack (too).
    #[inline]
    pub(super) fn child_input(&mut self, parent: IfId, frame: Frame) -> Option<Frame> {
        if self.children.is_empty() {
            return Some(frame);
        }
        self.child_take(parent, frame)
    }

    #[inline(never)]
    fn child_take(&mut self, parent: IfId, frame: Frame) -> Option<Frame> {
        let Ok(ether) = Ether::parse(self.pool.bytes(&frame)) else {
            return Some(frame);
        };
        if !ether.destination.is_unicast() {
            self.give_every_child(parent, |_, child| !child.kind.is_routed(), &frame);
            return Some(frame);
        }
        let Some((child, kind)) = self.child_for(parent, None, &ether, &frame) else {
            return Some(frame);
        };
        let guarded = matches!(kind, ChildKind::Ipvlan(IpvlanMode::L3s, _));
        let frame = match guarded {
            true => self.past_parent(parent, &ether, frame)?,
            false => frame,
        };
        self.give_child(child, frame);
        None
    }

    /// Through the hooks of the parent's namespace by which a packet of its own comes in.
    fn past_parent(&mut self, parent: IfId, ether: &Ether, frame: Frame) -> Option<Frame> {
        let ns = self.sockets.get(parent.0 as usize)?.ns;
        let header = ether.payload;
        // What a bridge flooded is others' too.
        let frame = (self.trace).own(self.now, &mut self.pool, frame, parent)?;
        self.pool.pull(&frame, header);
        let frame = self.with_ns(ns, |netns, cx| netns.admit_for_child(cx, parent, frame))??;
        self.pool.push(&frame, header);
        Some(frame)
    }

    fn child_for(
        &self,
        parent: IfId,
        except: Option<IfId>,
        ether: &Ether,
        frame: &Frame,
    ) -> Option<(IfId, ChildKind)> {
        let address = target(self.pool.bytes(frame), ether);
        self.children
            .of(parent)
            .filter(|(id, _)| Some(*id) != except)
            .find(|(id, child)| {
                child.mac == ether.destination
                    && (!child.kind.shares_mac()
                        || address.is_some_and(|address| self.child_has(child, *id, address)))
            })
            .map(|(id, child)| (id, child.kind))
    }

    fn give_every_child(
        &mut self,
        parent: IfId,
        hears: impl Fn(IfId, &Child) -> bool,
        frame: &Frame,
    ) {
        let all: Vec<IfId> = self
            .children
            .of(parent)
            .filter(|(id, child)| hears(*id, child))
            .map(|(id, _)| id)
            .collect();
        for id in all {
            match self.pool.copy(frame) {
                Some(copy) => self.give_child(id, copy),
                None => {
                    self.trace.drops.count(DropReason::PoolEmpty);
                    let what = What::Dropped(DropReason::PoolEmpty);
                    self.trace
                        .event(self.now, self.pool.meta(frame).id, id, what);
                }
            }
        }
    }

    fn give_child(&mut self, id: IfId, frame: Frame) {
        let full = self
            .children
            .by_id
            .get(&id)
            .is_none_or(|child| child.queue.len() >= QUEUE);
        if full {
            self.trace
                .drop(self.now, &mut self.pool, frame, id, DropReason::RingFull);
            return;
        }
        if let Some(child) = self.children.by_id.get_mut(&id) {
            child.queue.push_back(frame);
        }
        self.mark(id);
    }

    /// A child sends: to its siblings if it is for them, else out of the parent's wire.
    pub(super) fn child_output(&mut self, child: IfId, parent: IfId, frame: Frame) {
        let Ok(ether) = Ether::parse(self.pool.bytes(&frame)) else {
            self.trace.drop(
                self.now,
                &mut self.pool,
                frame,
                child,
                DropReason::Truncated,
            );
            return;
        };
        let Some(kind) = self.children.by_id.get(&child).map(|child| child.kind) else {
            return self.carry(parent, frame);
        };
        if kind.is_routed() {
            return self.child_routes(child, parent, kind, &ether, frame);
        }
        if !ether.destination.is_unicast() {
            let hears = |id, sibling: &Child| id != child && kind.is_heard_by(sibling.kind);
            self.give_every_child(parent, hears, &frame);
            self.carry(parent, frame);
            return;
        }
        let sibling = self.child_for(parent, Some(child), &ether, &frame);
        match (sibling, kind) {
            (Some((sibling, other)), _) if kind.reaches(other) => self.give_child(sibling, frame),
            (Some(_), ChildKind::Ipvlan(_, IpvlanFlag::Private)) => self.lose(child, frame),
            _ => self.carry(parent, frame),
        }
    }

    /// A child without neighbours sends: to the sibling that has the address, else as the parent's namespace does.
    fn child_routes(
        &mut self,
        child: IfId,
        parent: IfId,
        kind: ChildKind,
        ether: &Ether,
        frame: Frame,
    ) {
        let to = target(self.pool.bytes(&frame), ether);
        let is_ip = matches!(
            ether.protocol,
            EthernetProtocol::Ipv4 | EthernetProtocol::Ipv6
        );
        let Some(to) = to.filter(|to| is_ip && !to.is_multicast()) else {
            return self.lose(child, frame);
        };
        let ChildKind::Ipvlan(_, flag) = kind else {
            return;
        };
        let sibling = self
            .children
            .of(parent)
            .find(|(id, other)| {
                *id != child && other.kind.is_routed() && self.child_has(other, *id, to)
            })
            .map(|(id, _)| id);
        match (sibling, flag) {
            (Some(sibling), IpvlanFlag::Bridge) => self.give_child(sibling, frame),
            (Some(_), IpvlanFlag::Private) => self.lose(child, frame),
            _ => {
                let Some(ns) = self.sockets.get(parent.0 as usize).map(|socket| socket.ns) else {
                    return self.lose(child, frame);
                };
                self.pool.pull(&frame, ether.payload);
                let _sent = self.with_ns(ns, |netns, cx| netns.send_for_child(cx, parent, frame));
            }
        }
    }

    /// What a child sends goes nowhere.
    fn lose(&mut self, child: IfId, frame: Frame) {
        self.trace
            .drop(self.now, &mut self.pool, frame, child, DropReason::NoRoute);
    }
}
