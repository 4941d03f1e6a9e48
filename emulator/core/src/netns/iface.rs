//! Interfaces of a namespace: names, MACs, MTUs, addresses, counters, group memberships.
//!
//! After `struct net_device` and `ip link`/`ip addr`. An address brings its routes with it as in Linux:
//! itself and its broadcast into the table `local`, its network into `main` while the interface is up.
//! When the first address of a network goes, the next one takes its place (as with the sysctl
//! `promote_secondaries`). Left out: duplicate address detection, address lifetimes, labels.

use core::hash::BuildHasher;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use ipnet::IpNet;
use switch::IfId;

use super::addr::{ALL_NODES, ALL_SYSTEMS, Mac, Scope, broadcast_of, solicited_node};
use super::errno::Errno;
use super::fib::{Fib, Route, RouteKind, RouteProto};

/// The loopback interface of every namespace: its index is 1, as in Linux.
pub const LO: IfId = IfId(1);

/// What kind of interface it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IfaceKind {
    /// The interface of a bridge itself.
    Bridge,
    /// A physical card (the host's uplink).
    Ethernet,
    /// An ipvlan: shares its parent's MAC.
    Ipvlan,
    /// An ipvlan in one of its L3 modes: it has no neighbours (`NOARP`).
    IpvlanRouted,
    /// `lo`.
    Loopback,
    /// A macvlan.
    Macvlan,
    /// One end of a veth pair.
    Veth,
}

/// How an interface is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfaceConfig {
    /// Its number, unique in the lab (1 is every namespace's `lo`).
    pub id: IfId,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Its MAC.
    pub mac: Mac,
    /// Its MTU in bytes, Ethernet header not counted.
    pub mtu: u32,
    /// Its kind.
    pub kind: IfaceKind,
    /// The other end of a veth pair or the parent of a macvlan: `eth0@if7`.
    pub peer: Option<Peer>,
    /// The bridge that it is a port of. Its frames go there and not to this namespace.
    pub master: Option<IfId>,
    /// IPv6 is on (`disable_ipv6` is 0).
    pub ipv6: bool,
}

/// What an interface hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub id: IfId,
    /// It is in another namespace, which `ip link` calls by this number (`link-netnsid`).
    pub netnsid: Option<u32>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addr {
    /// The address with the length of its network.
    pub net: IpNet,
    /// Another address of the same network is before it.
    pub secondary: bool,
}

impl Addr {
    /// How far it reaches.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::of(self.net.addr())
    }

    /// Its broadcast address, as Docker and `ip addr add … brd +` set it.
    #[must_use]
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        if self.scope() == Scope::Host {
            return None;
        }
        broadcast_of(self.net)
    }
}

/// What went in and out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames; a super-segment counts as the frames that it stands for.
    pub packets: u64,
    /// Bytes with the Ethernet header.
    pub bytes: u64,
}

/// An interface.
#[derive(Clone, Debug)]
pub struct Iface {
    /// Its number.
    pub id: IfId,
    /// Its name.
    pub name: String,
    /// Its MAC.
    pub mac: Mac,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its kind.
    pub kind: IfaceKind,
    /// What it hangs on.
    pub peer: Option<Peer>,
    /// The bridge that it is a port of.
    pub master: Option<IfId>,
    /// IPv6 is on.
    pub ipv6: bool,
    /// Addresses of 127.0.0.0/8 are routed here like any others (`route_localnet`). Off at first.
    pub route_localnet: bool,
    /// It is up.
    pub up: bool,
    /// Its addresses, in the order of `ip addr`.
    pub addrs: Vec<Addr>,
    /// Received.
    pub rx: Counters,
    /// Sent.
    pub tx: Counters,
    /// Groups that sockets joined, and how often.
    groups: Box<[(IpAddr, u32)]>,
}

impl Iface {
    /// It asks for neighbours, and answers; else everything goes to its own MAC.
    #[must_use]
    pub fn has_neighbours(&self) -> bool {
        self.kind != IfaceKind::IpvlanRouted
    }

    pub(super) fn new(config: IfaceConfig) -> Self {
        Self {
            id: config.id,
            name: config.name,
            mac: config.mac,
            mtu: config.mtu,
            kind: config.kind,
            peer: config.peer,
            master: config.master,
            ipv6: config.ipv6,
            route_localnet: false,
            up: false,
            addrs: Vec::new(),
            rx: Counters::default(),
            tx: Counters::default(),
            groups: Box::default(),
        }
    }

    /// It is `lo`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.kind == IfaceKind::Loopback
    }

    /// Whether packets to this group are taken in: all-systems and all-nodes, the solicited-node
    /// groups of its addresses, and what sockets joined.
    #[must_use]
    pub fn is_member(&self, group: IpAddr) -> bool {
        let solicited = |v6: Ipv6Addr| {
            self.addrs.iter().any(|a| match a.net.addr() {
                IpAddr::V6(own) => solicited_node(own) == v6,
                IpAddr::V4(_) => false,
            })
        };
        self.groups.iter().any(|&(joined, _)| joined == group)
            || match group {
                IpAddr::V4(v4) => v4 == ALL_SYSTEMS,
                IpAddr::V6(v6) => v6 == ALL_NODES || solicited(v6),
            }
    }

    /// The groups that sockets joined.
    pub fn groups(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.groups.iter().map(|&(group, _)| group)
    }

    pub(super) fn join(&mut self, group: IpAddr) {
        match self.groups.iter_mut().find(|(joined, _)| *joined == group) {
            Some((_, users)) => *users += 1,
            None => self.change_groups(|groups| groups.push((group, 1))),
        }
    }

    pub(super) fn leave(&mut self, group: IpAddr) {
        if let Some((_, users)) = self.groups.iter_mut().find(|(joined, _)| *joined == group) {
            *users -= 1;
        }
        self.change_groups(|groups| groups.retain(|&(_, users)| users > 0));
    }

    fn change_groups(&mut self, change: impl FnOnce(&mut Vec<(IpAddr, u32)>)) {
        let mut groups = core::mem::take(&mut self.groups).into_vec();
        change(&mut groups);
        self.groups = groups.into_boxed_slice();
    }

    /// Whether it has exactly this address.
    #[must_use]
    pub fn has(&self, addr: IpAddr) -> bool {
        self.addrs.iter().any(|a| a.net.addr() == addr)
    }
}

/// The interfaces of a namespace, by number.
#[derive(Debug, Default)]
pub struct Ifaces {
    list: Vec<Iface>,
    /// The same by name, once there are many.
    names: HashTable<IfId>,
    change: u64,
}

/// So few interfaces are looked through one by one.
const FEW: usize = 4;
/// From so many on they are found by name without looking through them.
const MANY: usize = 32;

fn hash(name: &str) -> u64 {
    FixedState::default().hash_one(name)
}

impl Ifaces {
    pub(super) fn with_room(number: usize) -> Self {
        Self {
            list: Vec::with_capacity(number),
            ..Self::default()
        }
    }

    #[inline]
    fn index(&self, id: IfId) -> Option<usize> {
        if self.list.len() <= FEW {
            return self.list.iter().position(|iface| iface.id == id);
        }
        self.list.binary_search_by_key(&id, |iface| iface.id).ok()
    }

    /// Where an interface stands among them, until one of them changes.
    #[inline]
    pub(super) fn place(&self, id: IfId) -> Option<usize> {
        self.index(id)
    }

    /// The interface that stands there, to count what passes it.
    #[inline]
    pub(super) fn counted_at(&mut self, place: usize) -> Option<&mut Iface> {
        self.list.get_mut(place)
    }

    /// A number that changes whenever an interface may have changed, counters aside.
    pub(super) const fn change(&self) -> u64 {
        self.change
    }

    /// The interface with this number.
    #[must_use]
    #[inline]
    pub fn get(&self, id: IfId) -> Option<&Iface> {
        self.index(id).map(|at| &self.list[at])
    }

    /// The interface, to change.
    pub(super) fn get_mut(&mut self, id: IfId) -> Option<&mut Iface> {
        self.change += 1;
        self.index(id).map(|at| &mut self.list[at])
    }

    /// The interface, to count what passes it.
    #[inline]
    pub(super) fn counted(&mut self, id: IfId) -> Option<&mut Iface> {
        self.index(id).map(|at| &mut self.list[at])
    }

    /// The interface with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Iface> {
        if self.names.is_empty() {
            return self.list.iter().find(|iface| iface.name == name);
        }
        let named = |id: &IfId| self.get(*id).is_some_and(|iface| iface.name == name);
        self.get(*self.names.find(hash(name), named)?)
    }

    /// Gives an interface another name, which is free.
    pub(super) fn rename(&mut self, id: IfId, name: &str) -> Result<(), Errno> {
        self.unname(id);
        let iface = self.get_mut(id).ok_or(Errno::NoDev)?;
        name.clone_into(&mut iface.name);
        self.name(id);
        Ok(())
    }

    fn unname(&mut self, id: IfId) {
        if let Some(iface) = self.index(id).map(|at| &self.list[at])
            && let Ok(entry) = self
                .names
                .find_entry(hash(&iface.name), |other| *other == id)
        {
            entry.remove();
        }
    }

    /// Enters an interface by its name, or all of them when there are many for the first time.
    fn name(&mut self, id: IfId) {
        let Self { list, names, .. } = self;
        let at = |id: &IfId| list.binary_search_by_key(id, |iface| iface.id);
        let hashed = |id: &IfId| at(id).map_or(0, |at| hash(&list[at].name));
        if !names.is_empty() {
            names.insert_unique(hashed(&id), id, hashed);
        } else if list.len() >= MANY {
            for iface in list.iter() {
                names.insert_unique(hash(&iface.name), iface.id, hashed);
            }
        }
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Iface> {
        self.list.iter()
    }

    pub(super) fn add(&mut self, iface: Iface) -> Result<(), Errno> {
        if self.named(&iface.name).is_some() {
            return Err(Errno::Exist);
        }
        match self.list.binary_search_by_key(&iface.id, |other| other.id) {
            Ok(_) => Err(Errno::Exist),
            Err(at) => {
                self.change += 1;
                let id = iface.id;
                if self.list.len() < FEW {
                    self.list.reserve_exact(1);
                }
                self.list.insert(at, iface);
                self.name(id);
                Ok(())
            }
        }
    }

    pub(super) fn remove(&mut self, id: IfId) -> Option<Iface> {
        self.change += 1;
        self.unname(id);
        self.index(id).map(|at| self.list.remove(at))
    }
}

/// The routes that an address brings into `local`.
fn local_routes(id: IfId, net: IpNet) -> impl Iterator<Item = Route> {
    let one = |addr: IpAddr, kind| Route {
        kind,
        proto: RouteProto::Kernel,
        metric: 0,
        src: Some(net.addr()),
        ..Route::on_link(IpNet::from(addr), id)
    };
    let loopback = net.addr().is_loopback() && net.addr().is_ipv4();
    let own = if loopback {
        Route {
            dst: net.trunc(),
            ..one(net.addr(), RouteKind::Local)
        }
    } else {
        one(net.addr(), RouteKind::Local)
    };
    let broadcast = broadcast_of(net).filter(|_| !loopback);
    [
        Some(own),
        broadcast.map(|addr| one(addr.into(), RouteKind::Broadcast)),
    ]
    .into_iter()
    .flatten()
}

/// The route that the first address of a network brings into `main`.
fn connected_route(id: IfId, net: IpNet) -> Option<Route> {
    let host = net.prefix_len() == net.max_prefix_len();
    if net.addr().is_loopback() || (host && net.addr().is_ipv4()) {
        return None;
    }
    Some(Route {
        proto: RouteProto::Kernel,
        metric: if net.addr().is_ipv6() { 256 } else { 0 },
        src: net.addr().is_ipv4().then(|| net.addr()),
        ..Route::on_link(net, id)
    })
}

fn install_connected(fib: &mut Fib, iface: &Iface) {
    if !iface.up {
        return;
    }
    for addr in iface.addrs.iter().filter(|a| !a.secondary) {
        if let Some(route) = connected_route(iface.id, addr.net) {
            fib.append(route);
        }
    }
}

/// Gives `iface` an address and its routes.
pub(super) fn addr_add(fib: &mut Fib, iface: &mut Iface, net: IpNet) -> Result<(), Errno> {
    if iface.has(net.addr()) {
        return Err(Errno::Exist);
    }
    let secondary = iface
        .addrs
        .iter()
        .any(|a| net.addr().is_ipv4() && a.net.trunc() == net.trunc());
    if iface.addrs.len() == iface.addrs.capacity() {
        let more = match (iface.kind, iface.addrs.is_empty()) {
            (IfaceKind::Loopback, true) => 2,
            // The address that it forms itself, and two more.
            (_, true) if iface.ipv6 => 3,
            _ => 1,
        };
        iface.addrs.reserve_exact(more);
    }
    iface.addrs.push(Addr { net, secondary });
    for route in local_routes(iface.id, net) {
        fib.append(route);
    }
    if fib.has_lost() {
        install_connected(fib, iface);
    } else if iface.up
        && !secondary
        && let Some(route) = connected_route(iface.id, net)
    {
        // Those of the addresses before it are there.
        fib.append(route);
    }
    Ok(())
}

/// Takes an address and what only it brought.
pub(super) fn addr_del(fib: &mut Fib, iface: &mut Iface, addr: IpAddr) -> Result<(), Errno> {
    let at = iface
        .addrs
        .iter()
        .position(|a| a.net.addr() == addr)
        .ok_or(Errno::AddrNotAvail)?;
    let gone = iface.addrs.remove(at);
    for route in local_routes(iface.id, gone.net) {
        fib.remove_exact(&route);
    }
    if let Some(route) = connected_route(iface.id, gone.net).filter(|_| !gone.secondary) {
        fib.remove_exact(&route);
        let next = iface
            .addrs
            .iter_mut()
            .find(|a| a.net.trunc() == gone.net.trunc());
        if let Some(next) = next {
            next.secondary = false;
        }
        install_connected(fib, iface);
    }
    Ok(())
}

/// Takes an interface up or down. Down, the routes of `main` through it go and do not come back by
/// themselves, except those of its addresses.
pub(super) fn set_up(fib: &mut Fib, iface: &mut Iface, up: bool) {
    if iface.up == up {
        return;
    }
    iface.up = up;
    if up {
        install_connected(fib, iface);
    } else {
        fib.remove_dev(iface.id, true);
    }
}
