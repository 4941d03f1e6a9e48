//! Frames through bridges: learn, look up, pass the owner's hooks, forward, flood.
//!
//! A bridge that belongs to a namespace with a firewall shows it the IP packets that it forwards, as
//! Linux's `br_netfilter` does: prerouting, forward and postrouting with the bridge as both
//! interfaces. ARP and other protocols pass; what is no packet of the version that its frame says is dropped. Left out:
//! fragments are not put together for the hooks of bridged packets; a later fragment passes as its own packet without
//! ports. The source of a frame that dies at PREROUTING has been learned, which Linux does behind that hook
//! (`br_handle_frame_finish`). A wrong header checksum, which Linux drops here and every stack does, is not looked for, since
//! that would be a dozen instructions in each frame that follows its course; nor is padding cut off.

use switch::bridge::{Decision, PortId};
use switch::capture::Direction;
use switch::verdict::What;
use switch::wire::{ETHER_LEN, Ether, EthernetProtocol};
use switch::{DropReason, Frame};

use super::courses::{Single, seen};
use super::lone::exit;
use super::row::{IPV6, kind};
use super::version::{V6, Version};
use super::{Net, Reader};
use crate::id::{BridgeId, IfId, NsId};
use crate::netns::Question;

impl Net {
    pub(super) fn bridge_drop(&mut self, frame: Frame, place: IfId, reason: DropReason) {
        self.trace
            .drop(self.now, &mut self.pool, frame, place, reason);
    }

    /// A frame arrived at `port`, whose interface in the owner's namespace is `iface`.
    pub(super) fn bridge_input(
        &mut self,
        bridge: BridgeId,
        port: PortId,
        iface: IfId,
        frame: Frame,
    ) {
        self.trace
            .frame(self.now, &self.pool, &frame, iface, Direction::In);
        let Some(slot) = self.bridges[bridge.0 as usize].as_mut() else {
            return self.bridge_drop(frame, iface, DropReason::InterfaceDown);
        };
        let own = slot.bridge.interface();
        let gso_size = self.pool.meta(&frame).gso_size;
        let decision = slot
            .bridge
            .input_super(self.now, port, self.pool.bytes(&frame), gso_size);
        if slot.bridge.learned().is_some() {
            self.trace.event(
                self.now,
                self.pool.meta(&frame).id,
                own,
                What::Learned(iface),
            );
        }
        self.bridge_obey(bridge, port, frame, decision);
    }

    /// Does with a frame from `port` what the bridge decided.
    pub(super) fn bridge_obey(
        &mut self,
        bridge: BridgeId,
        port: PortId,
        frame: Frame,
        decision: Decision,
    ) {
        let Some(slot) = self.bridges[bridge.0 as usize].as_ref() else {
            return self.bridge_drop(frame, IfId(0), DropReason::InterfaceDown);
        };
        let owner = slot.owner;
        let own = slot.bridge.interface();
        match decision {
            Decision::Drop(reason) => self.bridge_drop(frame, own, reason),
            Decision::Local => {
                self.trace
                    .frame(self.now, &self.pool, &frame, own, Direction::In);
                self.bridge_local(owner, frame, own);
            }
            Decision::Port(to) => {
                if let Some(frame) = self.bridge_hooks(bridge, frame) {
                    self.trace
                        .frame(self.now, &self.pool, &frame, own, Direction::In);
                    if kind(self.pool.bytes(&frame)) == Some(&IPV6) {
                        let _kept = self.keep_wide(bridge, (port, to), &frame);
                    }
                    self.bridge_send(bridge, to, frame);
                }
            }
            Decision::Flood { local } => {
                self.trace
                    .event(self.now, self.pool.meta(&frame).id, own, What::Flooded);
                // The stack's own copy meets the hooks of the namespace, not those of the bridge, and
                // comes last, so that an answer does not overtake the question.
                let copy = (local && owner.is_some()).then(|| self.bridge_copy(&frame, own));
                if let Some(frame) = self.bridge_hooks(bridge, frame) {
                    self.trace
                        .frame(self.now, &self.pool, &frame, own, Direction::In);
                    self.bridge_flood(bridge, Some(port), frame);
                }
                if let Some(copy) = copy.flatten() {
                    self.bridge_local(owner, copy, own);
                }
            }
        }
    }

    /// A packet of IPv6 has just passed the hooks and goes from one port to another: so will others, if its flow goes on.
    fn keep_wide(
        &mut self,
        bridge: BridgeId,
        (from, to): (PortId, PortId),
        frame: &Frame,
    ) -> Option<()> {
        let slot = self.bridges[bridge.0 as usize].as_deref_mut()?;
        let owner = slot.owner.filter(|_| slot.filtered)?;
        let owner = self.namespaces.get(owner.0 as usize)?.as_deref()?;
        let guard = owner.firewall()?;
        let bridge = &slot.bridge;
        let inlet = bridge.port(from)?.interface;
        let packet = self.pool.bytes(frame).get(ETHER_LEN..)?;
        let passage = V6::passage(guard, &V6::packet(packet, bridge.interface())?)?;
        let key = Single::<V6>::of(&self.pool, frame, inlet)?.key;
        let exit = exit(bridge, &self.sockets, to)?;
        if exit.peer == inlet || exit.out == inlet {
            return None;
        }
        let way = ((exit.out, exit.peer), (exit.link, exit.side));
        slot.wide.renew(seen(bridge, guard));
        slot.wide.found(key, passage, (bridge, from), way);
        Some(())
    }

    /// A copy for the stack, or `None` and a drop when there is no buffer for it.
    fn bridge_copy(&mut self, frame: &Frame, own: IfId) -> Option<Frame> {
        let copy = self.pool.copy(frame);
        if copy.is_none() {
            self.trace.drops.count(DropReason::PoolEmpty);
            let what = What::Dropped(DropReason::PoolEmpty);
            self.trace
                .event(self.now, self.pool.meta(frame).id, own, what);
        }
        copy
    }

    fn bridge_local(&mut self, owner: Option<NsId>, frame: Frame, own: IfId) {
        match owner {
            Some(ns) => self.host_input(ns, own, frame),
            None => self.bridge_drop(frame, own, DropReason::NotForUs),
        }
    }

    /// A frame from the bridge's own interface.
    pub(super) fn bridge_output(&mut self, bridge: BridgeId, iface: IfId, frame: Frame) {
        let Err(frame) = self.lone_output(bridge, iface, frame) else {
            return;
        };
        let Some(slot) = self.bridges[bridge.0 as usize].as_mut() else {
            return self.bridge_drop(frame, iface, DropReason::InterfaceDown);
        };
        let gso_size = self.pool.meta(&frame).gso_size;
        let decision = slot
            .bridge
            .output_super(self.now, self.pool.bytes(&frame), gso_size);
        match decision {
            Decision::Drop(reason) => self.bridge_drop(frame, iface, reason),
            Decision::Local => self.bridge_drop(frame, iface, DropReason::BridgeSamePort),
            Decision::Port(to) => {
                self.trace
                    .frame(self.now, &self.pool, &frame, iface, Direction::Out);
                self.bridge_send(bridge, to, frame);
            }
            Decision::Flood { .. } => {
                self.trace
                    .frame(self.now, &self.pool, &frame, iface, Direction::Out);
                self.bridge_flood(bridge, None, frame);
            }
        }
    }

    pub(super) fn bridge_send(&mut self, bridge: BridgeId, port: PortId, frame: Frame) {
        let iface = self.bridges[bridge.0 as usize]
            .as_ref()
            .and_then(|slot| slot.bridge.port(port))
            .map(|port| port.interface);
        match iface {
            Some(iface) => {
                self.trace.event(
                    self.now,
                    self.pool.meta(&frame).id,
                    iface,
                    What::Forwarded(iface),
                );
                self.carry(iface, frame);
            }
            None => self.bridge_drop(frame, IfId(0), DropReason::BridgePortDown),
        }
    }

    fn bridge_flood(&mut self, bridge: BridgeId, except: Option<PortId>, frame: Frame) {
        let (meta, bytes) = self.pool.view(&frame);
        let question = Question::read(bytes).filter(|_| meta.gso_size == 0);
        let is_calm = self.is_calm();
        let mut port = None;
        loop {
            let slot = self.bridges[bridge.0 as usize].as_ref();
            let next = slot.and_then(|slot| {
                let to = slot.bridge.next_flood_port(except, port)?;
                Some((to, slot.bridge.port(to)?.interface))
            });
            let Some((to, iface)) = next else { break };
            port = Some(to);
            if is_calm && question.is_some_and(|question| self.overheard(iface, &question)) {
                continue;
            }
            let share = self.pool.share(&frame);
            self.trace
                .event(self.now, meta.id, iface, What::Forwarded(iface));
            match question {
                Some(_) => self.carry_shared(iface, share),
                None => self.carry(iface, share),
            }
        }
        self.pool.free(frame);
    }

    /// Shows an IP packet to the hooks of the bridge's namespace; `None` if it died there.
    fn bridge_hooks(&mut self, bridge: BridgeId, frame: Frame) -> Option<Frame> {
        let Some(slot) = self.bridges[bridge.0 as usize].as_ref() else {
            return Some(frame);
        };
        let own = slot.bridge.interface();
        let Some(ns) = slot.owner.filter(|_| slot.filtered) else {
            return Some(frame);
        };
        let guarded = self.ns(ns).is_some_and(|netns| netns.tracks());
        if !guarded {
            return Some(frame);
        }
        let Ok(ether) = Ether::parse(self.pool.bytes(&frame)) else {
            return Some(frame);
        };
        let version = match ether.protocol {
            _ if ether.vlan.is_some() => return Some(frame),
            EthernetProtocol::Ipv4 => 4,
            EthernetProtocol::Ipv6 => 6,
            _ => return Some(frame),
        };
        let first = self.pool.bytes(&frame).get(ether.payload);
        if first.is_none_or(|first| first >> 4 != version) {
            self.bridge_drop(frame, own, DropReason::HeaderMalformed);
            return None;
        }
        let frame = (self.trace).own(self.now, &mut self.pool, frame, own)?;
        self.pool.pull(&frame, ether.payload);
        let frame = self.with_hooks(ns, |netns, cx| netns.bridged(cx, frame, own))??;
        // The header is still there, in front of the packet.
        self.pool.push(&frame, ether.payload);
        Some(frame)
    }

    /// Whether frames at `iface` are read by a bridge.
    #[must_use]
    pub fn master(&self, iface: IfId) -> Option<BridgeId> {
        match self.sockets.get(iface.0 as usize)?.reader {
            Reader::Port { bridge, .. } => Some(bridge),
            Reader::Raw | Reader::Stack | Reader::Told => None,
        }
    }
}
