//! Making and unmaking namespaces, veth pairs, bridges and children of the uplink.
//!
//! What goes away gives its frames back: a ring is drained, a bridge forgets the port's stations, a
//! namespace closes its sockets without a word on the wire, as a killed container's do.

use std::collections::BTreeMap;

use core::time::Duration;
use ipnet::IpNet;
use switch::bridge::Bridge;
use switch::link::{Link, Side};
use switch::wire::EthernetAddress;
use switch::{DropReason, Time};

use super::{BridgeSlot, ChildKind, Net, Plug, Reader, Socket};
use crate::id::{BridgeId, IfId, LinkId, NsId};
use crate::netns::{IfaceConfig, IfaceKind, Netns};

/// One end of a veth pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VethPlan<'a> {
    /// The namespace that it lives in.
    pub ns: NsId,
    /// Its name there.
    pub name: &'a str,
    /// Its MAC.
    pub mac: EthernetAddress,
    /// Its MTU.
    pub mtu: u32,
}

impl Net {
    /// Makes a namespace with a loopback interface.
    pub fn ns_add(&mut self, name: &str) -> NsId {
        let ns = NsId(self.namespaces.len() as u32);
        let lo = self.socket_add(ns, Plug::Nothing);
        let rng = self.rng.stream(&format!("ns:{name}"));
        self.namespaces.push(Some(Box::new(Netns::new(ns, name, lo, rng))));
        self.marked_ns.push(false);
        self.alarms.push(Time::MAX);
        ns
    }

    /// Takes a namespace away with all its interfaces and sockets.
    pub fn ns_remove(&mut self, ns: NsId) {
        let Some(netns) = self.ns(ns) else { return };
        for iface in netns.iface_ids() {
            self.iface_remove(iface);
        }
        self.with_ns(ns, |netns, cx| netns.clear(cx));
        let alarm = core::mem::replace(&mut self.alarms[ns.0 as usize], Time::MAX);
        self.timers.remove(&(alarm, ns));
        self.namespaces[ns.0 as usize] = None;
    }

    fn socket_add(&mut self, ns: NsId, plug: Plug) -> IfId {
        let iface = IfId(self.sockets.len() as u32);
        self.sockets.push(Socket { ns, plug, reader: Reader::Stack, marked: false });
        iface
    }

    /// The number that the next interface gets.
    #[must_use]
    pub const fn next_iface(&self) -> IfId {
        IfId(self.sockets.len() as u32)
    }

    /// The namespace in which ports of nobody's bridges live. It has no addresses.
    pub(crate) fn wires(&mut self) -> NsId {
        match self.wires {
            Some(ns) => ns,
            None => {
                let ns = self.ns_add("wires");
                self.wires = Some(ns);
                ns
            }
        }
    }

    /// The namespace that an interface lives in.
    #[must_use]
    pub fn ns_of(&self, iface: IfId) -> Option<NsId> {
        self.sockets.get(iface.0 as usize).map(|socket| socket.ns)
    }

    /// The other end of a veth pair.
    #[must_use]
    pub fn peer(&self, iface: IfId) -> Option<IfId> {
        match self.sockets.get(iface.0 as usize)?.plug {
            Plug::Veth { peer, .. } => Some(peer),
            Plug::Bridge(_) | Plug::Child { .. } | Plug::Nothing => None,
        }
    }

    /// Makes a veth pair, both ends up. The first end gets the lower number.
    pub fn veth_add(&mut self, a: &VethPlan<'_>, b: &VethPlan<'_>) -> (IfId, IfId) {
        let link = Box::new(Link::new(self.config.mode, self.config.ring));
        let link_id = match self.free_links.pop() {
            Some(id) => {
                self.links[id.0 as usize] = Some(link);
                id
            }
            None => {
                self.links.push(Some(link));
                LinkId(self.links.len() as u32 - 1)
            }
        };
        let (first, second) = (IfId(self.sockets.len() as u32), IfId(self.sockets.len() as u32 + 1));
        self.socket_add(a.ns, Plug::Veth { link: link_id, side: Side::A, peer: second });
        self.socket_add(b.ns, Plug::Veth { link: link_id, side: Side::B, peer: first });
        for (plan, id, peer) in [(a, first, second), (b, second, first)] {
            let config = IfaceConfig {
                id,
                name: plan.name.to_owned(),
                mac: plan.mac,
                mtu: plan.mtu,
                kind: IfaceKind::Veth { peer },
            };
            self.with_ns(plan.ns, |netns, cx| netns.iface_add(cx, config));
        }
        (first, second)
    }

    /// Makes a bridge. With an owner it has an interface in that namespace, which is up.
    pub fn bridge_add(&mut self, owner: Option<(NsId, &str)>, mac: EthernetAddress, mtu: u32) -> (BridgeId, Option<IfId>) {
        let id = BridgeId(self.bridges.len() as u32);
        let owner = owner.map(|(ns, name)| {
            let iface = self.socket_add(ns, Plug::Bridge(id));
            let config =
                IfaceConfig { id: iface, name: name.to_owned(), mac, mtu, kind: IfaceKind::Bridge };
            self.with_ns(ns, |netns, cx| netns.iface_add(cx, config));
            (ns, iface)
        });
        let bridge = Bridge::new(owner.map(|_| mac), self.config.bridge_ports);
        self.bridges.push(Some(Box::new(BridgeSlot { bridge, owner, ports: BTreeMap::new() })));
        (id, owner.map(|(_, iface)| iface))
    }

    /// Takes a bridge and its interface away; its ports become ordinary interfaces.
    pub fn bridge_remove(&mut self, id: BridgeId) {
        let Some(slot) = self.bridges.get_mut(id.0 as usize).and_then(Option::take) else { return };
        for iface in slot.ports.into_values() {
            self.sockets[iface.0 as usize].reader = Reader::Stack;
        }
        if let Some((_, iface)) = slot.owner {
            self.iface_remove(iface);
        }
    }

    /// Makes `iface` a port of the bridge.
    ///
    /// # Errors
    /// `exchange full` when the bridge has all the ports that it takes.
    pub fn port_add(&mut self, id: BridgeId, iface: IfId) -> Result<(), String> {
        let slot = self.bridges[id.0 as usize].as_mut().ok_or("no such device")?;
        let port = slot.bridge.port_add(iface).map_err(|_| "exchange full")?;
        slot.ports.insert(port, iface);
        let master = slot.owner;
        self.sockets[iface.0 as usize].reader = Reader::Port { bridge: id, port };
        if let Some((ns, own)) = master {
            self.with_ns(ns, |netns, _| netns.iface_enslave(iface, Some(own)));
        }
        Ok(())
    }

    /// Makes a macvlan or ipvlan interface on top of `parent`.
    pub fn child_add(&mut self, parent: IfId, kind: ChildKind, plan: &VethPlan<'_>) -> IfId {
        let iface = self.socket_add(plan.ns, Plug::Child { parent });
        let config = IfaceConfig {
            id: iface,
            name: plan.name.to_owned(),
            mac: plan.mac,
            mtu: plan.mtu,
            kind: IfaceKind::Child { parent },
        };
        self.children.add(iface, parent, kind, plan.mac, plan.ns);
        self.with_ns(plan.ns, |netns, cx| netns.iface_add(cx, config));
        iface
    }

    /// Takes an interface away, and the other end if it is a veth. Frames under way die.
    pub fn iface_remove(&mut self, iface: IfId) {
        let Some(socket) = self.sockets.get(iface.0 as usize).copied() else { return };
        self.unplug(iface, socket);
        if let Plug::Veth { link, peer, .. } = socket.plug {
            let other = self.sockets[peer.0 as usize];
            self.unplug(peer, other);
            if let Some(mut link) = self.links[link.0 as usize].take() {
                for side in [Side::A, Side::B] {
                    while let Some(frame) = link.receive(side) {
                        self.trace.drop(self.now, &mut self.pool, frame, iface, DropReason::InterfaceDown);
                    }
                }
            }
            self.free_links.push(link);
        }
        for frame in self.children.remove(iface) {
            self.trace.drop(self.now, &mut self.pool, frame, iface, DropReason::InterfaceDown);
        }
    }

    fn unplug(&mut self, iface: IfId, socket: Socket) {
        if let Reader::Port { bridge, port } = socket.reader {
            if let Some(slot) = self.bridges[bridge.0 as usize].as_mut() {
                slot.bridge.port_remove(port);
                slot.ports.remove(&port);
            }
        }
        let slot = &mut self.sockets[iface.0 as usize];
        slot.plug = Plug::Nothing;
        slot.reader = Reader::Stack;
        self.with_ns(socket.ns, |netns, cx| netns.iface_remove(cx, iface));
    }

    /// Gives an interface an address, and the route that comes with it.
    pub fn addr_add(&mut self, iface: IfId, address: IpNet) {
        let ns = self.sockets[iface.0 as usize].ns;
        self.with_ns(ns, |netns, cx| netns.addr_add(cx, iface, address));
    }

    /// Announces the addresses of an interface `count` times, `interval` apart.
    pub fn announce(&mut self, iface: IfId, count: u32, interval: Duration) {
        let ns = self.sockets[iface.0 as usize].ns;
        self.with_ns(ns, |netns, cx| netns.announce(cx, iface, count, interval));
    }
}
