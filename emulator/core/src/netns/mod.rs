//! A network namespace: interfaces, neighbours, routes, hooks, and the sockets above them.
//!
//! ```text
//!            sockets: TCP  UDP  ping
//!        OUTPUT │            ▲ INPUT
//!   ┌───────────▼────────────┴───────────┐
//!   │  fib: local, main     reassembly   │◀──┐ lo: a queue, never a wire
//!   └──┬─────────── FORWARD ──────────▲──┘───┘
//!      │ POSTROUTING       PREROUTING │
//!      ▼ cut, neighbour               │ checks
//!   Ethernet frames out        Ethernet frames in
//! ```
//!
//! After Linux's `net/ipv4` and `net/ipv6` down to the details that a program or a capture can see. All
//! entry points take what they may touch in a [`Cx`]; nothing is called back. After any of them the
//! owner calls [`Netns::poll`] until it returns false: packets over `lo` wait for it.
//!
//! Left out: policy routing, multicast routing and IGMP/MLD reports (bridges flood groups), router
//! advertisements, redirects, IPv6 flow labels, raw sockets, IP options beyond carrying them, IPsec.

pub mod addr;
mod announce;
mod arp;
mod build;
mod child;
pub mod divert;
mod dst;
mod early;
pub mod errno;
pub mod fib;
mod forward;
mod fragment;
pub mod hook;
mod icmp;
mod icmp_input;
pub mod iface;
mod input;
mod nd;
pub mod neigh;
mod onward;
mod output;
mod ping;
mod pmtu;
pub mod print;
mod reassembly;
mod resend;
mod select;
pub mod socket;
mod stream;
pub mod tcp;
#[cfg(test)]
mod tests;
mod timers;
mod udp;

use core::net::IpAddr;
use std::collections::VecDeque;

use ipnet::IpNet;
use switch::verdict::{DropReason, What};
use switch::{Frame, IfId, Pool, Rng, Time};

use crate::id::{NsId, SockId};

pub use addr::{Mac, Scope, link_local, link_local_shared};
pub(crate) use arp::Question;
pub use divert::{Asked, HeldId, Ruling, Unreachable};
pub use errno::Errno;
pub use fib::{Route, RouteKind, RouteProto};
pub use hook::{Hook, Hooks};
pub use iface::{Iface, IfaceConfig, IfaceKind, LO, Peer};
pub use neigh::{Neighbour, Nud};
pub use socket::{SockState, SocketInfo};

use announce::Announcement;
use dst::Destinations;
use early::Early;
use fib::Fib;
use icmp::Limits;
use iface::Ifaces;
use neigh::Neighbours;
use pmtu::PathMtus;
use reassembly::Reassembly;
use socket::Sockets;
use stream::Streams;
use timers::{Timer, Timers};

/// MTU of `lo`.
pub const LO_MTU: u32 = 65_536;
/// Packets that may wait on `lo` (`netdev_max_backlog`).
pub const BACKLOG: usize = 1000;
/// Packets of `lo` that one [`Netns::poll`] takes.
const QUANTUM: usize = 64;

/// Takes out what is alone in a list, with nothing before it in `rest`.
#[inline(always)]
pub(crate) fn only<T>(list: &mut Vec<T>, rest: &[T]) -> Option<T> {
    match rest.is_empty() && list.len() == 1 {
        true => list.pop(),
        false => None,
    }
}

/// Takes out the first of a list. Those behind it come to `rest`, the next one last, and go before others that come to the
/// list meanwhile.
#[inline(never)]
pub(crate) fn first<T>(list: &mut Vec<T>, rest: &mut Vec<T>) -> Option<T> {
    if rest.is_empty() {
        core::mem::swap(list, rest);
        rest.reverse();
    }
    rest.pop()
}

/// What a namespace may touch while it works.
#[derive(Debug)]
pub struct Cx<'a> {
    /// Now.
    pub now: Time,
    /// Where frames live.
    pub pool: &'a mut Pool,
    /// Where fates are told.
    pub trace: &'a mut switch::trace::Trace,
    /// Ethernet frames for the interfaces of this namespace, in order.
    pub tx: &'a mut Vec<(IfId, Frame)>,
    /// Sockets whose readiness may have changed; one may be named twice.
    pub wakes: &'a mut Vec<SockId>,
    /// What ended TCP connections leave to the next ones.
    pub spares: &'a mut tcp::Spares,
}

impl Cx<'_> {
    fn drop(&mut self, frame: Frame, place: IfId, reason: DropReason) {
        self.trace.drop(self.now, self.pool, frame, place, reason);
    }

    fn event(&mut self, frame: &Frame, place: IfId, what: What) {
        let id = self.pool.meta(frame).id;
        self.trace.event(self.now, id, place, what);
    }

    /// `frame` with bytes of its own; where there is no buffer for them it is dropped.
    fn unshare(&mut self, frame: Frame, place: IfId) -> Option<Frame> {
        self.trace.own(self.now, self.pool, frame, place)
    }

    /// The stack consumed `frame`.
    fn delivered(&mut self, frame: Frame, place: IfId) {
        self.event(&frame, place, What::Delivered);
        self.pool.free(frame);
    }
}

/// How a packet came in.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    iface: IfId,
    /// The frame was for our MAC and not for a group.
    unicast: bool,
    /// The namespace sent it itself, over `lo` or as a copy of a broadcast.
    looped: bool,
    /// It is for all stations of a link.
    broadcast: bool,
    /// If it was reassembled on the way in: the size of its largest fragment, else 0.
    fragment: usize,
}

/// What a namespace has room for at once; it may have more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Interfaces, `lo` included.
    pub(crate) ifaces: usize,
    /// Those of them that have an IPv4 address, without `lo`.
    pub(crate) v4: usize,
    /// Those that have IPv6 addresses.
    pub(crate) v6: usize,
}

impl Room {
    /// A container on one IPv4 network.
    pub(crate) const CONTAINER: Self = Self {
        ifaces: 2,
        v4: 1,
        v6: 0,
    };
}

/// A namespace.
#[derive(Debug)]
pub struct Netns {
    id: NsId,
    name: String,
    rng: Rng,
    ifaces: Ifaces,
    fib: Fib,
    destinations: Destinations,
    /// Made when the first segment of a connection comes or goes.
    early: Option<Box<Early>>,
    /// No segment is early and no packet goes on without being asked about, to compare.
    #[cfg(test)]
    takes_long_way: bool,
    neighbours: Neighbours,
    timers: Timers,
    /// When the one who runs it will do so, the end of time if never: kept here to be compared after each call.
    pub(crate) noted: Time,
    backlog: VecDeque<(IfId, Frame)>,
    /// Made when the first fragment comes.
    reassembly: Option<Box<Reassembly>>,
    announcements: Vec<Announcement>,
    /// Made when the first error is sent.
    limits: Option<Box<Limits>>,
    pmtus: PathMtus,
    sockets: Sockets,
    streams: Streams,
    /// Sockets that become ready when somebody begins or ceases to listen.
    watches: Vec<SockId>,
    forwarding: bool,
    /// Open where packets for others are taken in.
    divert: Option<Box<divert::Diversion>>,
    ip_id: u16,
    /// The firewall; `None` where there are no rules.
    netfilter: Option<Box<dyn Hooks>>,
    /// Leave checksums to real edges and send TCP in super-segments, as Linux does on veth
    /// (`tx-checksumming`, `tx-tcp-segmentation`, `tx-tcp6-segmentation`). On at first; open connections
    /// follow.
    pub offload: bool,
    /// Limit the rate of ICMP errors as Linux does (`icmp_ratelimit`, `icmp_msgs_per_sec`). On at
    /// first.
    pub icmp_limited: bool,
}

impl Netns {
    /// A namespace with `lo` up and nothing else.
    #[must_use]
    pub fn new(id: NsId, name: &str, rng: Rng) -> Self {
        Self::with_room(id, name, rng, Room::CONTAINER)
    }

    /// The same with room for what it will have.
    pub(crate) fn with_room(id: NsId, name: &str, rng: Rng, room: Room) -> Self {
        let mut own = rng.stream("netns");
        let mut netns = Self {
            id,
            name: name.to_owned(),
            ifaces: Ifaces::with_room(room.ifaces),
            fib: Fib::with_room(room),
            destinations: Destinations::default(),
            early: None,
            #[cfg(test)]
            takes_long_way: false,
            neighbours: Neighbours::new(own.next_u32()),
            timers: Timers::default(),
            noted: Time::MAX,
            backlog: VecDeque::new(),
            reassembly: None,
            announcements: Vec::new(),
            limits: None,
            pmtus: PathMtus::default(),
            sockets: Sockets::default(),
            streams: Streams::new(own.next_u64()),
            watches: Vec::new(),
            forwarding: false,
            divert: None,
            ip_id: own.next_u32() as u16,
            rng: own,
            netfilter: None,
            offload: true,
            icmp_limited: true,
        };
        netns.add_lo();
        netns
    }

    fn add_lo(&mut self) {
        let mut lo = Iface::new(IfaceConfig {
            id: LO,
            name: "lo".to_owned(),
            mac: [0; 6],
            mtu: LO_MTU,
            kind: IfaceKind::Loopback,
            peer: None,
            master: None,
            ipv6: true,
        });
        lo.up = true;
        let v4 = IpNet::new_assert([127, 0, 0, 1].into(), 8);
        let v6 = IpNet::new_assert(core::net::Ipv6Addr::LOCALHOST.into(), 128);
        for net in [v4, v6] {
            // A new interface has no addresses that these could repeat.
            let _ = iface::addr_add(&mut self.fib, &mut lo, net);
        }
        let _ = self.ifaces.add(lo);
    }

    /// Its number.
    #[must_use]
    pub const fn id(&self) -> NsId {
        self.id
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Turns forwarding on or off, for both families.
    pub const fn set_forwarding(&mut self, on: bool) {
        self.forwarding = on;
    }

    /// Whether it forwards.
    #[must_use]
    pub const fn forwarding(&self) -> bool {
        self.forwarding
    }

    // Interfaces.

    /// Adds an interface, down and without addresses.
    ///
    /// # Errors
    /// [`Errno::Exist`] if the name or the number is taken.
    pub fn iface_add(&mut self, config: IfaceConfig) -> Result<(), Errno> {
        self.ifaces.add(Iface::new(config))
    }

    /// Takes an interface away with its addresses, routes, neighbours and waiting packets.
    ///
    /// # Errors
    /// [`Errno::NoDev`] if there is none; [`Errno::NotSupported`] for `lo`.
    pub fn iface_remove(&mut self, cx: &mut Cx<'_>, id: IfId) -> Result<(), Errno> {
        if id == LO {
            return Err(Errno::NotSupported);
        }
        self.ifaces.remove(id).ok_or(Errno::NoDev)?;
        self.fib.remove_dev(id, false);
        self.forget_neighbours(cx, id);
        self.announcements.retain(|a| a.iface != id);
        Ok(())
    }

    /// Takes an interface up or down. Down, its routes and neighbours go; its addresses stay.
    ///
    /// # Errors
    /// [`Errno::NoDev`] if there is none.
    pub fn iface_up(&mut self, cx: &mut Cx<'_>, id: IfId, up: bool) -> Result<(), Errno> {
        let iface = self.ifaces.get_mut(id).ok_or(Errno::NoDev)?;
        iface::set_up(&mut self.fib, iface, up);
        if !up {
            self.forget_neighbours(cx, id);
        }
        Ok(())
    }

    /// Sets the MTU in bytes.
    ///
    /// # Errors
    /// [`Errno::NoDev`]; [`Errno::Invalid`] below 68 (RFC 791) and above 65,536.
    pub fn iface_mtu(&mut self, id: IfId, mtu: u32) -> Result<(), Errno> {
        let iface = self.ifaces.get_mut(id).ok_or(Errno::NoDev)?;
        if !(68..=LO_MTU).contains(&mtu) {
            return Err(Errno::Invalid);
        }
        iface.mtu = mtu;
        Ok(())
    }

    /// Sets the MAC.
    ///
    /// # Errors
    /// [`Errno::NoDev`]; [`Errno::AddrNotAvail`] for a group or all-zero MAC.
    pub fn iface_mac(&mut self, id: IfId, mac: Mac) -> Result<(), Errno> {
        let iface = self.ifaces.get_mut(id).ok_or(Errno::NoDev)?;
        if mac[0] & 1 != 0 || mac == [0; 6] {
            return Err(Errno::AddrNotAvail);
        }
        iface.mac = mac;
        Ok(())
    }

    /// Renames an interface.
    ///
    /// # Errors
    /// [`Errno::NoDev`]; [`Errno::Exist`] if the name is taken; [`Errno::Invalid`] if it is empty,
    /// longer than 15 bytes, `.`, `..`, or has a slash, a colon or a space in it.
    pub fn iface_rename(&mut self, id: IfId, name: &str) -> Result<(), Errno> {
        let odd = |c: char| c == '/' || c == ':' || c.is_whitespace();
        if name.is_empty() || name.len() > 15 || matches!(name, "." | "..") || name.contains(odd) {
            return Err(Errno::Invalid);
        }
        if self.ifaces.named(name).is_some_and(|other| other.id != id) {
            return Err(Errno::Exist);
        }
        self.ifaces.rename(id, name)
    }

    /// Sets `net.ipv4.conf.IFACE.route_localnet`.
    ///
    /// # Errors
    /// [`Errno::NoDev`].
    pub fn iface_route_localnet(&mut self, id: IfId, on: bool) -> Result<(), Errno> {
        self.ifaces.get_mut(id).ok_or(Errno::NoDev)?.route_localnet = on;
        Ok(())
    }

    /// Makes an interface the port of a bridge, or takes it off.
    ///
    /// # Errors
    /// [`Errno::NoDev`].
    pub fn iface_master(&mut self, id: IfId, master: Option<IfId>) -> Result<(), Errno> {
        self.ifaces.get_mut(id).ok_or(Errno::NoDev)?.master = master;
        Ok(())
    }

    /// Turns IPv6 on or off at an interface (`disable_ipv6`). Off, its IPv6 addresses go.
    ///
    /// # Errors
    /// [`Errno::NoDev`].
    pub fn iface_ipv6(&mut self, id: IfId, on: bool) -> Result<(), Errno> {
        let iface = self.ifaces.get_mut(id).ok_or(Errno::NoDev)?;
        iface.ipv6 = on;
        let gone: Vec<IpAddr> = iface.addrs.iter().map(|a| a.net.addr()).collect();
        for addr in gone.into_iter().filter(|addr| !on && addr.is_ipv6()) {
            iface::addr_del(&mut self.fib, iface, addr)?;
        }
        Ok(())
    }

    /// The interfaces, by number.
    pub fn ifaces(&self) -> impl Iterator<Item = &Iface> {
        self.ifaces.iter()
    }

    /// An interface by its number.
    #[must_use]
    pub fn iface(&self, id: IfId) -> Option<&Iface> {
        self.ifaces.get(id)
    }

    /// An interface by its name.
    #[must_use]
    pub fn iface_named(&self, name: &str) -> Option<&Iface> {
        self.ifaces.named(name)
    }

    // Addresses and routes.

    /// Gives an interface an address; its routes come with it.
    ///
    /// # Errors
    /// [`Errno::NoDev`]; [`Errno::Exist`] if it has the address; [`Errno::Perm`] for an IPv6 address
    /// where IPv6 is off (Linux's answer).
    pub fn addr_add(&mut self, id: IfId, net: IpNet) -> Result<(), Errno> {
        let iface = self.ifaces.get_mut(id).ok_or(Errno::NoDev)?;
        if net.addr().is_ipv6() && !iface.ipv6 {
            return Err(Errno::Perm);
        }
        iface::addr_add(&mut self.fib, iface, net)
    }

    /// Takes an address away, and the routes that came with it.
    ///
    /// # Errors
    /// [`Errno::NoDev`]; [`Errno::AddrNotAvail`] if it does not have it.
    pub fn addr_del(&mut self, id: IfId, addr: IpAddr) -> Result<(), Errno> {
        let iface = self.ifaces.get_mut(id).ok_or(Errno::NoDev)?;
        iface::addr_del(&mut self.fib, iface, addr)
    }

    /// Adds a route.
    ///
    /// # Errors
    /// [`Errno::NoDev`] if the interface is not there; [`Errno::NetUnreach`] if it is down or the gateway
    /// is not on a link; [`Errno::Exist`] if there is such a route.
    pub fn route_add(&mut self, route: Route) -> Result<(), Errno> {
        let iface = self.ifaces.get(route.dev).ok_or(Errno::NoDev)?;
        if !iface.up {
            return Err(Errno::NetUnreach);
        }
        if let Some(via) = route.via {
            let on_link = Scope::of(via) == Scope::Link
                || self
                    .fib
                    .lookup(via, Some(route.dev))
                    .is_some_and(|way| way.via.is_none());
            if !on_link || self.fib.is_local(via) {
                return Err(Errno::NetUnreach);
            }
        }
        self.fib.add(route)
    }

    /// Takes away the first route with this destination and, where given, this gateway and interface.
    ///
    /// # Errors
    /// [`Errno::NoProcess`] if there is none.
    pub fn route_del(
        &mut self,
        dst: IpNet,
        via: Option<IpAddr>,
        dev: Option<IfId>,
    ) -> Result<(), Errno> {
        self.fib.remove(dst, via, dev)
    }

    /// The routes of `main` of one family, in the order of `ip route`.
    #[must_use]
    pub fn routes(&self, v6: bool) -> Vec<Route> {
        self.fib.main(v6)
    }

    /// The same in the order in which they are kept.
    pub(crate) fn routes_kept(&self, v6: bool) -> impl Iterator<Item = Route> {
        self.fib.main_kept(v6)
    }

    /// The routes of `local` of one family (`ip route show table local`).
    pub fn local_routes(&self, v6: bool) -> impl Iterator<Item = Route> {
        self.fib.local_routes(v6)
    }

    /// Whether `addr` is an address of this namespace.
    #[must_use]
    pub fn is_local(&self, addr: IpAddr) -> bool {
        self.fib.is_local(addr)
    }

    /// The route that a packet to `addr` takes (`ip route get`); `None` if it is unreachable, or an address
    /// of this namespace.
    #[must_use]
    pub fn route_get(&self, addr: IpAddr) -> Option<Route> {
        if self.is_local(addr) {
            return None;
        }
        self.fib.lookup(addr, None)
    }

    /// The source for packets to `dst` that leave by `output`: what MASQUERADE writes.
    #[must_use]
    pub fn select_source(&self, output: IfId, dst: IpAddr) -> Option<IpAddr> {
        let next_hop = self
            .fib
            .lookup(dst, Some(output))
            .and_then(|route| route.via);
        select::source(&self.ifaces, output, next_hop.unwrap_or(dst), dst)
    }

    /// The neighbours by interface and address.
    pub fn neighbours(&self, now: Time) -> impl Iterator<Item = Neighbour> + '_ {
        self.neighbours.list(now)
    }

    fn forget_neighbours(&mut self, cx: &mut Cx<'_>, id: IfId) {
        for ((iface, addr), queue, deadline) in self.neighbours.flush(id) {
            self.timers.cancel(deadline, Timer::Neighbour(iface, addr));
            for frame in queue {
                cx.drop(frame, iface, DropReason::InterfaceDown);
            }
        }
    }

    // Time.

    /// Does what waits: packets over `lo` and what TCP has to send, a bounded amount. True if more
    /// remains.
    pub fn poll(&mut self, cx: &mut Cx<'_>) -> bool {
        for _ in 0..QUANTUM {
            let Some((iface, frame)) = self.backlog.pop_front() else {
                break;
            };
            self.arrive_looped(cx, iface, frame);
        }
        let streams = self.stream_poll(cx);
        streams || !self.backlog.is_empty()
    }

    /// Whether [`Netns::poll`] has something to do.
    #[must_use]
    #[inline]
    pub fn has_work(&self) -> bool {
        !self.backlog.is_empty() || self.streams.has_work()
    }

    /// When [`Netns::fire`] has something to do; `None` while the namespace is at rest.
    #[must_use]
    #[inline]
    pub fn deadline(&self) -> Option<Time> {
        let at = self.alarm();
        (at != Time::MAX).then_some(at)
    }

    /// The same; the end of time while it is at rest.
    #[inline]
    pub(crate) fn alarm(&self) -> Time {
        self.timers.next().min(self.streams.alarm())
    }

    /// Does what is due.
    pub fn fire(&mut self, cx: &mut Cx<'_>) {
        while let Some(timer) = self.timers.pop(cx.now) {
            match timer {
                Timer::Announce(iface, addr) => self.announce_due(cx, iface, addr),
                Timer::Neighbour(iface, addr) => self.neighbour_due(cx, iface, addr),
                Timer::Reassembly(key) => self.reassembly_due(cx, key),
            }
        }
        self.stream_fire(cx);
    }

    /// Gives back every frame that the namespace holds, before it goes away.
    pub fn clear(&mut self, cx: &mut Cx<'_>) {
        // First: what the sockets still send waits below.
        self.close_all(cx);
        self.stream_clear(cx);
        let ids: Vec<IfId> = self.ifaces.iter().map(|iface| iface.id).collect();
        for id in ids {
            self.forget_neighbours(cx, id);
        }
        for (iface, frame) in core::mem::take(&mut self.backlog) {
            cx.drop(frame, iface, DropReason::InterfaceDown);
        }
        let waiting = self.reassembly.take();
        for frame in waiting.into_iter().flat_map(|mut waiting| waiting.clear()) {
            cx.drop(frame, LO, DropReason::InterfaceDown);
        }
        self.timers = Timers::default();
    }
}
