//! macvlan and ipvlan interfaces: children on top of the host's uplink.
//!
//! As in Linux (`drivers/net/macvlan.c` in bridge mode, `drivers/net/ipvlan` in L2 mode): children of
//! one parent reach each other and the segment, never the parent's own stack. A macvlan child has
//! its own MAC; an ipvlan child shares the parent's and is told apart by its addresses.
//! Left out: private, VEPA and passthru modes, and ipvlan's L3 modes.

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
    Macvlan,
    /// By address.
    Ipvlan,
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
    fn child_has(&self, child: &Child, id: IfId, address: IpAddr) -> bool {
        self.ns(child.ns)
            .and_then(|netns| netns.iface(id))
            .is_some_and(|iface| iface.has(address))
    }

    /// The child of `parent` that a unicast frame is for, or a copy to each if it is for a group.
    /// Returns the frame if it is for the parent's stack (too).
    #[inline]
    pub(super) fn child_input(&mut self, parent: IfId, frame: Frame) -> Option<Frame> {
        if self.children.by_id.is_empty() {
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
            self.give_every_child(parent, None, &frame);
            return Some(frame);
        }
        match self.child_for(parent, None, &ether, &frame) {
            Some(child) => {
                self.give_child(child, frame);
                None
            }
            None => Some(frame),
        }
    }

    fn child_for(
        &self,
        parent: IfId,
        except: Option<IfId>,
        ether: &Ether,
        frame: &Frame,
    ) -> Option<IfId> {
        let address = target(self.pool.bytes(frame), ether);
        self.children
            .of(parent)
            .filter(|(id, _)| Some(*id) != except)
            .find(|(id, child)| {
                child.mac == ether.destination
                    && (child.kind == ChildKind::Macvlan
                        || address.is_some_and(|address| self.child_has(child, *id, address)))
            })
            .map(|(id, _)| id)
    }

    fn give_every_child(&mut self, parent: IfId, except: Option<IfId>, frame: &Frame) {
        let all: Vec<IfId> = self
            .children
            .of(parent)
            .map(|(id, _)| id)
            .filter(|&id| Some(id) != except)
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
        if !ether.destination.is_unicast() {
            self.give_every_child(parent, Some(child), &frame);
            self.carry(parent, frame);
            return;
        }
        match self.child_for(parent, Some(child), &ether, &frame) {
            Some(sibling) => self.give_child(sibling, frame),
            None => self.carry(parent, frame),
        }
    }
}
