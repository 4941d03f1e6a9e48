//! Making and unmaking namespaces, veth pairs, bridges and children of the uplink.
//!
//! What goes away gives its frames back: a ring is drained, a bridge forgets the port's stations, a
//! namespace closes its sockets without a word on the wire, as a killed container's do.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use ipnet::IpNet;
use switch::bridge::{Bridge, Limits};
use switch::link::{Link, Side};
use switch::wire::EthernetAddress;
use switch::{DropReason, Time};

use super::courses::Courses;
use super::hops::Hops;
use super::{BridgeSlot, ChildKind, Net, Plug, Reader, Socket};
use crate::id::{BridgeId, IfId, LinkId, NsId};
use crate::netns::{
    Errno, IfaceConfig, IfaceKind, LO, Netns, Peer, Room, link_local, link_local_shared,
};

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
    /// IPv6 is on.
    pub ipv6: bool,
}

impl Net {
    /// Makes a namespace with a loopback interface.
    pub fn ns_add(&mut self, name: &str) -> NsId {
        self.ns_add_for(name, Room::CONTAINER)
    }

    /// The same with room for what it will have.
    pub(crate) fn ns_add_for(&mut self, name: &str, room: Room) -> NsId {
        let ns = NsId(self.namespaces.len() as u32);
        let rng = self.rng.stream_of(&["ns:", name]);
        self.namespaces
            .push(Some(Box::new(Netns::with_room(ns, name, rng, room))));
        self.marked_ns.push(false);
        ns
    }

    /// Takes a namespace away with all its interfaces and sockets.
    pub fn ns_remove(&mut self, ns: NsId) {
        let Some(netns) = self.ns(ns) else { return };
        let ifaces: Vec<IfId> = netns
            .ifaces()
            .map(|iface| iface.id)
            .filter(|&id| id != LO)
            .collect();
        for iface in ifaces {
            self.iface_remove(iface);
        }
        self.with_ns(ns, |netns, cx| netns.clear(cx));
        self.alarms.set(ns.0, Time::MAX);
        self.namespaces[ns.0 as usize] = None;
    }

    fn socket_add(&mut self, ns: NsId, plug: Plug) -> IfId {
        let iface = IfId(self.sockets.len() as u32);
        self.sockets.push(Socket {
            ns,
            plug,
            reader: Reader::Stack,
            marked: false,
        });
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
                let ns = self.ns_add_for("wires", super::WIRES);
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
            Plug::Bridge(_) | Plug::Child { .. } | Plug::Nothing | Plug::Segment(_) => None,
        }
    }

    /// Makes a veth pair, both ends up. The first end gets the lower number.
    pub fn veth_add(&mut self, a: &VethPlan<'_>, b: &VethPlan<'_>) -> (IfId, IfId) {
        let link = Link::new(self.config.mode, self.config.ring);
        let link_id = match self.free_links.pop() {
            Some(id) => {
                self.links[id.0 as usize] = link;
                id
            }
            None => {
                self.links.push(link);
                LinkId(self.links.len() as u32 - 1)
            }
        };
        let (first, second) = (
            IfId(self.sockets.len() as u32),
            IfId(self.sockets.len() as u32 + 1),
        );
        self.socket_add(
            a.ns,
            Plug::Veth {
                link: link_id,
                side: Side::A,
                peer: second,
            },
        );
        self.socket_add(
            b.ns,
            Plug::Veth {
                link: link_id,
                side: Side::B,
                peer: first,
            },
        );
        for (plan, id, (other, at)) in [(a, first, (second, b.ns)), (b, second, (first, a.ns))] {
            let netnsid = (at != plan.ns).then_some(0);
            self.iface_make(plan, id, IfaceKind::Veth, Some(Peer { id: other, netnsid }));
        }
        (first, second)
    }

    /// Adds an interface to its namespace and takes it up.
    fn iface_make(&mut self, plan: &VethPlan<'_>, id: IfId, kind: IfaceKind, peer: Option<Peer>) {
        self.iface_make_as(plan, link_local(plan.mac.0), id, kind, peer);
    }

    /// The same with a link-local address `own`.
    fn iface_make_as(
        &mut self,
        plan: &VethPlan<'_>,
        own: Ipv6Addr,
        id: IfId,
        kind: IfaceKind,
        peer: Option<Peer>,
    ) {
        let config = IfaceConfig {
            id,
            name: plan.name.to_owned(),
            mac: plan.mac.0,
            mtu: plan.mtu,
            kind,
            peer,
            master: None,
            ipv6: plan.ipv6,
        };
        self.with_ns(plan.ns, |netns, cx| {
            // Names are checked by whoever draws them; numbers are new.
            let mut made = netns
                .iface_add(config)
                .and_then(|()| netns.iface_up(cx, id, true));
            if plan.ipv6 {
                let address = IpNet::new_assert(own.into(), 64);
                made = made.and_then(|()| netns.addr_add(id, address));
            }
            debug_assert_eq!(made, Ok(()), "interface {} of {}", id.0, netns.name());
        });
        if plan.ipv6 {
            self.capture_name(plan.ns, own.into());
        }
        // A bridge is watched once it is there.
        if kind != IfaceKind::Bridge {
            self.watch(id);
        }
    }

    /// Makes a bridge. With an owner it has an interface in that namespace, which is up; without one it
    /// is a segment outside the host. `about` is the network's name, for captures.
    pub fn bridge_add(
        &mut self,
        owner: Option<(NsId, &str)>,
        about: &str,
        mac: EthernetAddress,
        mtu: u32,
    ) -> (BridgeId, IfId) {
        let id = BridgeId(self.bridges.len() as u32);
        let iface = match owner {
            Some((ns, name)) => {
                let iface = self.socket_add(ns, Plug::Bridge(id));
                let plan = VethPlan {
                    ns,
                    name,
                    mac,
                    mtu,
                    ipv6: true,
                };
                self.iface_make(&plan, iface, IfaceKind::Bridge, None);
                iface
            }
            None => {
                let wires = self.wires();
                self.socket_add(wires, Plug::Segment(id))
            }
        };
        let limits = Limits {
            ports: self.config.bridge_ports,
            addresses: self.config.bridge_addresses,
        };
        let bridge = Bridge::new(iface, mac, limits);
        self.bridges.push(Some(Box::new(BridgeSlot {
            bridge,
            owner: owner.map(|(ns, _)| ns),
            about: about.to_owned(),
            far: false,
            filtered: true,
            courses: Courses::default(),
            wide: Courses::default(),
            hops: Hops::default(),
        })));
        self.watch(iface);
        (id, iface)
    }

    /// How many bridges were ever made: their numbers are below that.
    #[must_use]
    pub const fn bridge_numbers(&self) -> usize {
        self.bridges.len()
    }

    /// Marks a segment whose frames have all crossed a nearer segment unchanged: a capture at
    /// crossings leaves it out.
    pub fn segment_far(&mut self, id: BridgeId) {
        if let Some(slot) = self.bridges.get_mut(id.0 as usize).and_then(Option::as_mut) {
            slot.far = true;
        }
    }

    /// What the bridge forwards is kept from its owner's firewall.
    pub fn bridge_unfiltered(&mut self, id: BridgeId) {
        if let Some(slot) = self.bridges.get_mut(id.0 as usize).and_then(Option::as_mut) {
            slot.filtered = false;
        }
    }

    /// The bridge, if it is still there.
    #[must_use]
    pub fn bridge(&self, id: BridgeId) -> Option<&Bridge> {
        self.bridges
            .get(id.0 as usize)?
            .as_ref()
            .map(|slot| &slot.bridge)
    }

    /// Takes a bridge and its interface away; its ports become ordinary interfaces.
    pub fn bridge_remove(&mut self, id: BridgeId) {
        let Some(slot) = self.bridges.get_mut(id.0 as usize).and_then(Option::take) else {
            return;
        };
        for (_, port) in slot.bridge.ports() {
            let iface = port.interface;
            self.set_reader(iface, Reader::Stack);
            if let Some(ns) = slot.owner {
                self.with_ns(ns, |netns, _| netns.iface_master(iface, None));
            }
        }
        if slot.owner.is_some() {
            self.iface_remove(slot.bridge.interface());
        }
    }

    /// Makes `iface`, whose own address is `mac`, a port of the bridge.
    ///
    /// # Errors
    /// `exchange full` when the bridge has all the ports that it takes.
    pub fn port_add(
        &mut self,
        id: BridgeId,
        iface: IfId,
        mac: EthernetAddress,
    ) -> Result<(), String> {
        let now = self.now;
        let slot = self
            .bridges
            .get_mut(id.0 as usize)
            .and_then(Option::as_mut)
            .ok_or("no such device")?;
        let port = slot
            .bridge
            .add_port(now, iface, mac)
            .map_err(|full| full.to_string())?;
        let (owner, own) = (slot.owner, slot.bridge.interface());
        self.set_reader(iface, Reader::Port { bridge: id, port });
        if let Some(ns) = owner {
            self.with_ns(ns, |netns, _| netns.iface_master(iface, Some(own)));
        }
        Ok(())
    }

    /// Makes a macvlan or ipvlan interface on top of `parent`.
    pub fn child_add(&mut self, parent: IfId, kind: ChildKind, plan: &VethPlan<'_>) -> IfId {
        let iface = self.socket_add(plan.ns, Plug::Child { parent });
        self.children.add(iface, parent, kind, plan.mac, plan.ns);
        let (shown, own) = match kind {
            ChildKind::Macvlan(_) => (IfaceKind::Macvlan, link_local(plan.mac.0)),
            ChildKind::Ipvlan(..) => {
                let shown = match kind.is_routed() {
                    true => IfaceKind::IpvlanRouted,
                    false => IfaceKind::Ipvlan,
                };
                let number = self.children.number();
                (shown, link_local_shared(plan.mac.0, number))
            }
        };
        self.iface_make_as(
            plan,
            own,
            iface,
            shown,
            Some(Peer {
                id: parent,
                netnsid: Some(0),
            }),
        );
        iface
    }

    /// Takes an interface away, and the other end if it is a veth. Frames under way die.
    pub fn iface_remove(&mut self, iface: IfId) {
        let Some(socket) = self.sockets.get(iface.0 as usize).copied() else {
            return;
        };
        self.unplug(iface, socket);
        if let Plug::Veth { link, peer, .. } = socket.plug {
            let other = self.sockets[peer.0 as usize];
            self.unplug(peer, other);
            let mut gone = core::mem::replace(&mut self.links[link.0 as usize], Link::gone());
            for side in [Side::A, Side::B] {
                while let Some(frame) = gone.receive(side) {
                    self.trace.drop(
                        self.now,
                        &mut self.pool,
                        frame,
                        iface,
                        DropReason::InterfaceDown,
                    );
                }
            }
            self.free_links.push(link);
        }
        for frame in self.children.remove(iface) {
            self.trace.drop(
                self.now,
                &mut self.pool,
                frame,
                iface,
                DropReason::InterfaceDown,
            );
        }
    }

    fn unplug(&mut self, iface: IfId, socket: Socket) {
        if let Reader::Port { bridge, port } = socket.reader
            && let Some(slot) = self.bridges[bridge.0 as usize].as_mut()
        {
            slot.bridge.remove_port(port);
        }
        self.set_reader(iface, Reader::Stack);
        self.sockets[iface.0 as usize].plug = Plug::Nothing;
        // The segment's own number is no interface of a namespace.
        let _absent = self.with_ns(socket.ns, |netns, cx| netns.iface_remove(cx, iface));
    }

    /// Gives an interface an address, and the route that comes with it.
    ///
    /// # Errors
    /// As `ip addr add`.
    pub fn addr_add(&mut self, iface: IfId, address: IpNet) -> Result<(), Errno> {
        let ns = self.ns_of(iface).ok_or(Errno::NoDev)?;
        let added = self
            .with_ns(ns, |netns, _| netns.addr_add(iface, address))
            .unwrap_or(Err(Errno::NoDev));
        if added.is_ok() {
            self.capture_name(ns, address.addr());
        }
        added
    }

    /// Announces the addresses of an interface `count` times, `interval` apart.
    pub fn announce(&mut self, iface: IfId, count: u32, interval: Duration) {
        let Some(ns) = self.ns_of(iface) else { return };
        self.with_ns(ns, |netns, cx| {
            let addresses: Vec<IpAddr> = netns
                .iface(iface)
                .map(|iface| {
                    iface
                        .addrs
                        .iter()
                        .map(|address| address.net.addr())
                        .collect()
                })
                .unwrap_or_default();
            for address in addresses {
                netns.announce(cx, iface, address, count, interval);
            }
        });
    }
}
