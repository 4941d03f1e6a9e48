//! The sockets of a namespace: the table, names, and the calls that are the same for all kinds.
//!
//! After `socket(7)`, `ip(7)`, `udp(7)`, `tcp(7)` and `icmp` ping sockets. Ports: 32768–60999 are given out
//! (`ip_local_port_range`) from a random start in the namespace's own stream, and any port may be bound
//! (Docker sets `ip_unprivileged_port_start` to 0). Left out: `SO_REUSEPORT`, `SO_BINDTODEVICE`, control
//! messages beyond those that [`crate::app::Received`] has.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use switch::{Frame, IfId};

use super::fib::RouteKind;
use super::icmp_input::Report;
use super::output::Way;
use super::tcp::{TcpId, TcpOptions, TcpState};
use super::{Cx, Errno, LO, Netns, Scope};
use crate::app::{Family, PathError, Ready, Received, SockKind, SockOpt};
use crate::id::{NsId, SockId};

/// Sockets of a namespace; more fail with `ENOBUFS`.
pub const SOCKETS: usize = 1 << 20;
/// The first port that is given out.
pub const PORT_FIRST: u16 = 32_768;
/// The last port that is given out.
pub const PORT_LAST: u16 = 60_999;
/// `net.core.rmem_default`: what a datagram socket's queue may weigh.
pub const RECV_DEFAULT: usize = 212_992;
/// `net.core.rmem_max`, before doubling.
const RECV_MAX: usize = 212_992;
/// Errors kept for `recv_error`.
const ERRORS: usize = 64;
/// Groups that one socket may join (`igmp_max_memberships`).
const GROUPS: usize = 20;

/// The two ends of a flow, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

/// A datagram that waits in a socket. The frame holds the payload only.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) frame: Frame,
    pub(super) from: SocketAddr,
    pub(super) to: IpAddr,
    pub(super) hop_limit: u8,
    /// What it counts against the receive buffer.
    pub(super) weight: usize,
}

/// A socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) kind: SockKind,
    pub(super) family: Family,
    /// A service of the sandbox: not listed, and no user's bind to a wildcard meets it.
    pub(super) internal: bool,
    /// The name; for ping sockets the port is the identifier.
    pub(super) local: Option<SocketAddr>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) broadcast: bool,
    pub(super) reuse: bool,
    pub(super) v6_only: bool,
    pub(super) recv_err: bool,
    pub(super) dont_fragment: bool,
    pub(super) hop_limit: Option<u8>,
    pub(super) shut: bool,
    pub(super) sequence: u16,
    recv_limit: usize,
    groups: Vec<(IfId, IpAddr)>,
    queue: VecDeque<Datagram>,
    weight: usize,
    error: Option<Errno>,
    errors: VecDeque<PathError>,
    pub(super) tcp: Option<TcpId>,
    pub(super) listening: bool,
    pub(super) tcp_options: TcpOptions,
}

impl Socket {
    fn new(kind: SockKind, family: Family) -> Self {
        Self {
            kind,
            family,
            internal: false,
            local: None,
            peer: None,
            broadcast: false,
            reuse: false,
            v6_only: false,
            recv_err: false,
            dont_fragment: false,
            hop_limit: None,
            shut: false,
            sequence: 0,
            recv_limit: RECV_DEFAULT,
            groups: Vec::new(),
            queue: VecDeque::new(),
            weight: 0,
            error: None,
            errors: VecDeque::new(),
            tcp: None,
            listening: false,
            tcp_options: TcpOptions::default(),
        }
    }

    /// Whether packets to `addr` are for this socket's address.
    pub(super) fn takes(&self, addr: IpAddr) -> bool {
        let Some(local) = self.local else {
            return false;
        };
        match local.ip() {
            IpAddr::V4(own) => addr.is_ipv4() && (own.is_unspecified() || IpAddr::V4(own) == addr),
            IpAddr::V6(own) if own.is_unspecified() => addr.is_ipv6() || !self.v6_only,
            IpAddr::V6(own) => IpAddr::V6(own) == addr,
        }
    }

    /// Room for a datagram of this weight. As in Linux the last one may go over the limit.
    pub(super) fn has_room(&self) -> bool {
        self.weight <= self.recv_limit
    }

    pub(super) fn push(&mut self, datagram: Datagram) {
        self.weight += datagram.weight;
        self.queue.push_back(datagram);
    }

    pub(super) fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }

    /// Notes an error from the path. True if the application has to be woken.
    pub(super) fn fail(&mut self, report: &Report, to: SocketAddr) -> bool {
        if self.recv_err {
            if self.errors.len() < ERRORS {
                self.errors.push_back(PathError {
                    errno: report.errno,
                    from: report.from,
                    icmp: report.icmp,
                    to,
                    mtu: report.mtu,
                });
            }
        } else if !report.hard || self.peer.is_none() {
            return false;
        }
        self.error = Some(report.errno);
        true
    }
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    socket: Option<Box<Socket>>,
}

/// Which sockets have a port, by kind.
type PortMap = HashMap<(SockKind, u16), Vec<u32>, FixedState>;

/// The socket table.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    slots: Vec<Slot>,
    free: Vec<u32>,
    ports: PortMap,
}

impl Sockets {
    fn insert(&mut self, ns: NsId, socket: Socket) -> Result<SockId, Errno> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < SOCKETS => {
                self.slots.push(Slot::default());
                self.slots.len() as u32 - 1
            }
            None => return Err(Errno::NoBufs),
        };
        let entry = &mut self.slots[slot as usize];
        entry.socket = Some(Box::new(socket));
        Ok(SockId {
            ns,
            slot,
            generation: entry.generation,
        })
    }

    fn remove(&mut self, id: SockId) -> Option<Box<Socket>> {
        let entry = self.slots.get_mut(id.slot as usize)?;
        if entry.generation != id.generation {
            return None;
        }
        let socket = entry.socket.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(id.slot);
        self.unname(id.slot, socket.kind, socket.local);
        Some(socket)
    }

    fn unname(&mut self, slot: u32, kind: SockKind, local: Option<SocketAddr>) {
        let Some(port) = local.map(|local| local.port()) else {
            return;
        };
        if let Some(slots) = self.ports.get_mut(&(kind, port)) {
            slots.retain(|&other| other != slot);
            if slots.is_empty() {
                self.ports.remove(&(kind, port));
            }
        }
    }

    pub(super) fn get(&self, id: SockId) -> Result<&Socket, Errno> {
        let entry = self.slots.get(id.slot as usize).ok_or(Errno::BadFd)?;
        if entry.generation != id.generation {
            return Err(Errno::BadFd);
        }
        entry.socket.as_deref().ok_or(Errno::BadFd)
    }

    pub(super) fn get_mut(&mut self, id: SockId) -> Result<&mut Socket, Errno> {
        let entry = self.slots.get_mut(id.slot as usize).ok_or(Errno::BadFd)?;
        if entry.generation != id.generation {
            return Err(Errno::BadFd);
        }
        entry.socket.as_deref_mut().ok_or(Errno::BadFd)
    }

    /// The sockets of a kind with this port, the latest bound last.
    pub(super) fn with_port(
        &self,
        kind: SockKind,
        port: u16,
    ) -> impl DoubleEndedIterator<Item = (u32, &Socket)> {
        self.ports
            .get(&(kind, port))
            .into_iter()
            .flatten()
            .filter_map(|&slot| Some((slot, self.slots[slot as usize].socket.as_deref()?)))
    }

    pub(super) fn id(&self, ns: NsId, slot: u32) -> SockId {
        SockId {
            ns,
            slot,
            generation: self.slots[slot as usize].generation,
        }
    }

    fn name(&mut self, id: SockId, local: SocketAddr) -> Result<(), Errno> {
        let socket = self.get_mut(id)?;
        let (kind, old) = (socket.kind, socket.local);
        socket.local = Some(local);
        if old.map(|old| old.port()) != Some(local.port()) {
            self.unname(id.slot, kind, old);
            self.ports
                .entry((kind, local.port()))
                .or_default()
                .push(id.slot);
        }
        Ok(())
    }

    fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.slots.iter().filter_map(|slot| slot.socket.as_deref())
    }
}

/// The state column of a socket listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SockState {
    /// A datagram socket without a peer.
    Unconnected,
    /// A datagram socket with one.
    Connected,
    /// A stream.
    Tcp(TcpState),
}

/// A line of `ss` or `netstat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketInfo {
    /// Its kind.
    pub kind: SockKind,
    /// Its family: a `::` socket that takes IPv4 too counts as IPv6.
    pub family: Family,
    /// It takes IPv6 only.
    pub v6_only: bool,
    /// Its state.
    pub state: SockState,
    /// Its name.
    pub local: SocketAddr,
    /// Its peer.
    pub peer: Option<SocketAddr>,
    /// Bytes received and not read; for a listener, connections to accept.
    pub recv_queue: usize,
    /// Bytes not acknowledged; for a listener, its backlog.
    pub send_queue: usize,
}

/// The unspecified address of a family with port 0.
const fn any(family: Family) -> SocketAddr {
    match family {
        Family::V4 => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        Family::V6 => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    }
}

/// Two names on one port are in each other's way.
fn overlap(a: (IpAddr, bool), b: (IpAddr, bool)) -> bool {
    let takes = |(a, v6_only): (IpAddr, bool), b: IpAddr| {
        a.is_unspecified() && (a.is_ipv4() == b.is_ipv4() || (a.is_ipv6() && !v6_only))
    };
    a.0 == b.0 || takes(a, b.0) || takes(b, a.0)
}

/// The interface that a link-local name is bound to.
pub(super) fn scope_of(addr: SocketAddr) -> Option<IfId> {
    match addr {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => Some(IfId(v6.scope_id())),
        _ => None,
    }
}

/// IPv4 in IPv6 clothes is IPv4; the unspecified address as a destination is this machine.
fn destination(addr: SocketAddr) -> SocketAddr {
    let port = addr.port();
    match addr.ip().to_canonical() {
        IpAddr::V4(v4) if v4.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
        IpAddr::V6(v6) if v6.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port),
        IpAddr::V4(v4) => SocketAddr::new(v4.into(), port),
        IpAddr::V6(_) => addr,
    }
}

impl Netns {
    /// `socket(2)`.
    ///
    /// # Errors
    /// [`Errno::NoBufs`] when the namespace has [`SOCKETS`].
    pub fn socket(&mut self, kind: SockKind, family: Family) -> Result<SockId, Errno> {
        self.sockets.insert(self.id, Socket::new(kind, family))
    }

    /// Marks a socket as a service of the sandbox, before it is bound: it is not listed, and its port
    /// stays free for wildcard binds of others.
    ///
    /// # Errors
    /// [`Errno::BadFd`].
    pub fn set_internal(&mut self, sock: SockId) -> Result<(), Errno> {
        self.sockets.get_mut(sock)?.internal = true;
        Ok(())
    }

    /// `setsockopt(2)`.
    ///
    /// # Errors
    /// [`Errno::BadFd`]; [`Errno::Invalid`] for values that make no sense; [`Errno::NoProtoOpt`] for options of
    /// other kinds; for [`SockOpt::Join`] also [`Errno::NoDev`] and [`Errno::AddrInUse`].
    pub fn set(&mut self, cx: &mut Cx<'_>, sock: SockId, option: SockOpt) -> Result<(), Errno> {
        if let SockOpt::Join(group) = option {
            return self.join(sock, group);
        }
        let socket = self.sockets.get_mut(sock)?;
        match option {
            SockOpt::Broadcast(on) => socket.broadcast = on,
            SockOpt::ReuseAddr(on) => socket.reuse = on,
            SockOpt::V6Only(_) if socket.local.is_some() => return Err(Errno::Invalid),
            SockOpt::V6Only(on) => socket.v6_only = on,
            SockOpt::RecvErr(on) => {
                socket.recv_err = on;
                if !on {
                    socket.errors.clear();
                }
            }
            SockOpt::DontFragment(on) => socket.dont_fragment = on,
            SockOpt::HopLimit(0) => return Err(Errno::Invalid),
            SockOpt::HopLimit(hops) => socket.hop_limit = Some(hops),
            SockOpt::RecvBuffer(bytes) => {
                socket.recv_limit = (bytes.min(RECV_MAX) * 2).max(2304);
            }
            SockOpt::KeepAlive(_)
            | SockOpt::NoDelay(_)
            | SockOpt::LingerZero(_)
            | SockOpt::SendBuffer(_)
            | SockOpt::Join(_) => {}
        }
        if socket.kind == SockKind::Tcp {
            socket.tcp_options.set(option)?;
            let id = socket.tcp;
            return self.stream_option(cx, id, option);
        }
        match option {
            SockOpt::NoDelay(_) => Err(Errno::NoProtoOpt),
            _ => Ok(()),
        }
    }

    fn join(&mut self, sock: SockId, group: IpAddr) -> Result<(), Errno> {
        let socket = self.sockets.get(sock)?;
        if socket.kind == SockKind::Tcp {
            return Err(Errno::NoProtoOpt);
        }
        if !group.is_multicast() {
            return Err(Errno::Invalid);
        }
        let dev = self.route_to(group, None).map_err(|_| Errno::NoDev)?.dev;
        let iface = self.ifaces.get_mut(dev).ok_or(Errno::NoDev)?;
        let socket = self.sockets.get_mut(sock)?;
        if socket.groups.contains(&(dev, group)) {
            return Err(Errno::AddrInUse);
        }
        if socket.groups.len() >= GROUPS {
            return Err(Errno::NoBufs);
        }
        socket.groups.push((dev, group));
        iface.join(group);
        Ok(())
    }

    /// `bind(2)`; port 0 takes a free one. For a ping socket the port is the identifier.
    ///
    /// # Errors
    /// [`Errno::Invalid`] if it is bound, of the other family, or link-local without an interface;
    /// [`Errno::AddrNotAvail`]; [`Errno::AddrInUse`].
    pub fn bind(&mut self, sock: SockId, addr: SocketAddr) -> Result<(), Errno> {
        let socket = self.sockets.get(sock)?;
        let wrong = match socket.family {
            Family::V4 => addr.is_ipv6(),
            Family::V6 => addr.is_ipv4() && (socket.v6_only || socket.kind == SockKind::Ping),
        };
        if wrong || socket.local.is_some() {
            return Err(Errno::Invalid);
        }
        self.check_local(addr, socket.kind)?;
        let local = self.free_name(sock, addr)?;
        self.sockets.name(sock, local)
    }

    fn check_local(&self, addr: SocketAddr, kind: SockKind) -> Result<(), Errno> {
        let ip = addr.ip();
        if ip.is_unspecified() {
            return Ok(());
        }
        let v6_link_local = ip.is_ipv6() && Scope::of(ip) == Scope::Link && !ip.is_multicast();
        if v6_link_local && scope_of(addr).is_none() {
            return Err(Errno::Invalid);
        }
        let to_many = ip.is_multicast() || self.is_broadcast(ip);
        let fine = if to_many {
            kind == SockKind::Udp
        } else {
            self.fib.is_local(ip)
        };
        if fine {
            Ok(())
        } else {
            Err(Errno::AddrNotAvail)
        }
    }

    /// `addr` if it is free for `sock`, with a port if it has none.
    fn free_name(&mut self, sock: SockId, addr: SocketAddr) -> Result<SocketAddr, Errno> {
        if addr.port() != 0 {
            return if self.name_is_free(sock, addr)? {
                Ok(addr)
            } else {
                Err(Errno::AddrInUse)
            };
        }
        let (first, span) = match self.sockets.get(sock)?.kind {
            SockKind::Ping => (1, u32::from(u16::MAX)),
            SockKind::Tcp | SockKind::Udp => (PORT_FIRST, u32::from(PORT_LAST - PORT_FIRST) + 1),
        };
        let start = self.rng.below(span);
        for i in 0..span {
            let mut candidate = addr;
            candidate.set_port(first + ((start + i) % span) as u16);
            if self.name_is_free(sock, candidate)? {
                return Ok(candidate);
            }
        }
        Err(Errno::AddrInUse)
    }

    fn name_is_free(&self, sock: SockId, addr: SocketAddr) -> Result<bool, Errno> {
        let socket = self.sockets.get(sock)?;
        let own = (addr.ip(), socket.v6_only);
        let clash = self
            .sockets
            .with_port(socket.kind, addr.port())
            .any(|(slot, other)| {
                let Some(local) = other.local.filter(|_| slot != sock.slot) else {
                    return false;
                };
                if socket.kind == SockKind::Ping {
                    return socket.family == other.family;
                }
                if socket.internal != other.internal {
                    return local.ip() == addr.ip();
                }
                let shared = socket.reuse && other.reuse && !other.listening;
                overlap(own, (local.ip(), other.v6_only)) && !shared
            });
        Ok(!clash && self.stream_port_free(socket, addr))
    }

    /// A name for a socket that sends without one.
    pub(super) fn autobind(&mut self, sock: SockId) -> Result<SocketAddr, Errno> {
        let socket = self.sockets.get(sock)?;
        if let Some(local) = socket.local {
            return Ok(local);
        }
        let local = self
            .free_name(sock, any(socket.family))
            .map_err(|_| Errno::WouldBlock)?;
        self.sockets.name(sock, local)?;
        Ok(local)
    }

    /// Gives a bound socket the address that it speaks from.
    pub(super) fn rename(&mut self, sock: SockId, local: SocketAddr) -> Result<(), Errno> {
        self.sockets.name(sock, local)
    }

    /// The destination a call means, its way, and the source for it.
    pub(super) fn prepare(
        &self,
        sock: SockId,
        to: SocketAddr,
    ) -> Result<(SocketAddr, Way, IpAddr), Errno> {
        let socket = self.sockets.get(sock)?;
        let to = destination(to);
        match socket.family {
            Family::V4 if to.is_ipv6() => return Err(Errno::Invalid),
            Family::V6 if to.is_ipv4() && (socket.v6_only || socket.kind == SockKind::Ping) => {
                return Err(Errno::NetUnreach);
            }
            Family::V4 | Family::V6 => {}
        }
        let scoped = match to {
            SocketAddr::V6(v6) => v6.ip().is_unicast_link_local(),
            SocketAddr::V4(_) => false,
        };
        let dev = scope_of(to).or_else(|| socket.local.and_then(scope_of));
        if scoped && dev.is_none() {
            return Err(Errno::Invalid);
        }
        let way = self.route_to(to.ip(), dev)?;
        if way.kind == RouteKind::Broadcast && !socket.broadcast {
            return Err(Errno::Access);
        }
        let bound = socket
            .local
            .map(|local| local.ip())
            .filter(|ip| !ip.is_unspecified() && !ip.is_multicast() && !self.is_broadcast(*ip));
        let source = match bound {
            Some(bound) if bound.is_ipv4() != to.is_ipv4() => return Err(Errno::NetUnreach),
            Some(bound) if bound.is_loopback() && way.dev != LO => return Err(Errno::Invalid),
            Some(bound) => bound,
            None => self.source_for(&way, to.ip()).ok_or(Errno::AddrNotAvail)?,
        };
        Ok((to, way, source))
    }

    /// `listen(2)`.
    ///
    /// # Errors
    /// [`Errno::NotSupported`] for other kinds than streams; [`Errno::AddrInUse`].
    pub fn listen(&mut self, cx: &mut Cx<'_>, sock: SockId, backlog: usize) -> Result<(), Errno> {
        match self.sockets.get(sock)?.kind {
            SockKind::Tcp => self.stream_listen(cx, sock, backlog),
            SockKind::Ping | SockKind::Udp => Err(Errno::NotSupported),
        }
    }

    /// `accept(2)`.
    ///
    /// # Errors
    /// [`Errno::WouldBlock`]; [`Errno::Invalid`] if it does not listen.
    pub fn accept(&mut self, cx: &mut Cx<'_>, sock: SockId) -> Result<(SockId, SocketAddr), Errno> {
        match self.sockets.get(sock)?.kind {
            SockKind::Tcp => self.stream_accept(cx, sock),
            SockKind::Ping | SockKind::Udp => Err(Errno::NotSupported),
        }
    }

    /// The slot for an accepted connection.
    pub(super) fn adopt(
        &mut self,
        listener: SockId,
        id: TcpId,
        ends: Ports,
    ) -> Result<SockId, Errno> {
        let parent = self.sockets.get(listener)?;
        let mut socket = Socket::new(SockKind::Tcp, parent.family);
        socket.internal = parent.internal;
        socket.reuse = parent.reuse;
        socket.v6_only = parent.v6_only;
        socket.tcp_options = parent.tcp_options;
        socket.tcp = Some(id);
        socket.peer = Some(ends.remote);
        let sock = self.sockets.insert(self.id, socket)?;
        // The name is the connection's: the port belongs to the listener.
        self.sockets.get_mut(sock)?.local = Some(ends.local);
        Ok(sock)
    }

    /// `connect(2)`. A stream answers [`Errno::InProgress`].
    ///
    /// # Errors
    /// [`Errno::NetUnreach`], [`Errno::AddrNotAvail`], [`Errno::Access`] for a broadcast without the
    /// option, [`Errno::Invalid`], and for streams [`Errno::IsConn`] and [`Errno::Already`].
    pub fn connect(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        addr: SocketAddr,
    ) -> Result<(), Errno> {
        if self.sockets.get(sock)?.kind == SockKind::Tcp {
            return self.stream_connect(cx, sock, addr);
        }
        let (to, _, source) = self.prepare(sock, addr)?;
        let mut local = self.autobind(sock)?;
        if local.ip().is_unspecified() {
            local = SocketAddr::new(source, local.port());
            self.rename(sock, local)?;
        }
        let socket = self.sockets.get_mut(sock)?;
        socket.peer = Some(to);
        socket.error = None;
        Ok(())
    }

    /// `send(2)`: bytes taken.
    ///
    /// # Errors
    /// As [`Netns::send_to`]; [`Errno::DestAddrReq`] without a peer.
    pub fn send(&mut self, cx: &mut Cx<'_>, sock: SockId, bytes: &[u8]) -> Result<usize, Errno> {
        let socket = self.sockets.get(sock)?;
        match (socket.kind, socket.peer) {
            (SockKind::Tcp, _) => self.stream_send(cx, sock, bytes),
            (SockKind::Udp, Some(peer)) => self.udp_send(cx, sock, bytes, peer),
            (SockKind::Ping, Some(mut peer)) => {
                let socket = self.sockets.get_mut(sock)?;
                peer.set_port(socket.sequence);
                socket.sequence = socket.sequence.wrapping_add(1);
                self.ping_send(cx, sock, bytes, peer)
            }
            (SockKind::Ping | SockKind::Udp, None) => Err(Errno::DestAddrReq),
        }
    }

    /// `sendto(2)`: bytes taken. On a ping socket the port is the sequence number.
    ///
    /// # Errors
    /// A pending error of the socket first; then [`Errno::NetUnreach`], [`Errno::Access`] for a broadcast
    /// without the option, [`Errno::MsgSize`], [`Errno::Perm`] if a filter drops it, [`Errno::NoBufs`].
    pub fn send_to(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Result<usize, Errno> {
        let socket = self.sockets.get(sock)?;
        match socket.kind {
            SockKind::Tcp if socket.tcp.is_none() => Err(Errno::Pipe),
            SockKind::Tcp => self.stream_send(cx, sock, bytes),
            SockKind::Udp if to.port() == 0 => Err(Errno::Invalid),
            SockKind::Udp => self.udp_send(cx, sock, bytes, to),
            SockKind::Ping => self.ping_send(cx, sock, bytes, to),
        }
    }

    /// `recv(2)`: bytes given. What does not fit of a datagram is lost.
    ///
    /// # Errors
    /// [`Errno::WouldBlock`], or the pending error of the socket.
    pub fn recv(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        buffer: &mut [u8],
    ) -> Result<usize, Errno> {
        if self.sockets.get(sock)?.kind == SockKind::Tcp {
            return self.stream_recv(cx, sock, buffer);
        }
        self.recv_from(cx, sock, buffer)
            .map(|received| received.len)
    }

    /// `recvmsg(2)` on a datagram or ping socket. What does not fit is lost.
    ///
    /// # Errors
    /// [`Errno::WouldBlock`], or the pending error of the socket; [`Errno::NotSupported`] on a stream.
    pub fn recv_from(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        buffer: &mut [u8],
    ) -> Result<Received, Errno> {
        let socket = self.sockets.get_mut(sock)?;
        if socket.kind == SockKind::Tcp {
            return Err(Errno::NotSupported);
        }
        if let Some(error) = socket.error.take() {
            return Err(error);
        }
        let datagram = socket.queue.pop_front().ok_or(Errno::WouldBlock)?;
        socket.weight -= datagram.weight;
        let bytes = cx.pool.bytes(&datagram.frame);
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        cx.pool.free(datagram.frame);
        Ok(Received {
            len,
            from: datagram.from,
            to: datagram.to,
            hop_limit: datagram.hop_limit,
        })
    }

    /// `recvmsg(MSG_ERRQUEUE)`: the oldest error with its sender. The pending error becomes the
    /// next one's.
    pub fn recv_error(&mut self, sock: SockId) -> Option<PathError> {
        let socket = self.sockets.get_mut(sock).ok()?;
        let error = socket.errors.pop_front()?;
        socket.error = socket.errors.front().map(|next| next.errno);
        Some(error)
    }

    /// `shutdown(SHUT_WR)`.
    ///
    /// # Errors
    /// [`Errno::NotConn`].
    pub fn shutdown(&mut self, cx: &mut Cx<'_>, sock: SockId) -> Result<(), Errno> {
        let socket = self.sockets.get_mut(sock)?;
        if socket.kind == SockKind::Tcp {
            return self.stream_shutdown(cx, sock);
        }
        if socket.peer.is_none() {
            return Err(Errno::NotConn);
        }
        socket.shut = true;
        Ok(())
    }

    /// `close(2)`. A socket that is closed already stays so.
    pub fn close(&mut self, cx: &mut Cx<'_>, sock: SockId) {
        let Some(socket) = self.sockets.remove(sock) else {
            return;
        };
        for (dev, group) in socket.groups {
            if let Some(iface) = self.ifaces.get_mut(dev) {
                iface.leave(group);
            }
        }
        for datagram in socket.queue {
            cx.pool.free(datagram.frame);
        }
        if let Some(id) = socket.tcp {
            self.stream_close(cx, id);
        }
    }

    /// Closes everything, before the namespace goes.
    pub(super) fn close_all(&mut self, cx: &mut Cx<'_>) {
        for slot in 0..self.sockets.slots.len() as u32 {
            let id = self.sockets.id(self.id, slot);
            self.close(cx, id);
        }
    }

    /// `poll(2)`. A closed socket is ready for nothing.
    #[must_use]
    pub fn ready(&self, sock: SockId) -> Ready {
        let Ok(socket) = self.sockets.get(sock) else {
            return Ready::default();
        };
        if socket.kind == SockKind::Tcp {
            return self.stream_ready(socket);
        }
        let error = socket.error.is_some() || !socket.errors.is_empty();
        Ready {
            readable: error || !socket.queue.is_empty(),
            writable: true,
            hup: false,
            error,
        }
    }

    /// `getsockopt(SO_ERROR)`: the pending error, which is then cleared.
    pub fn take_error(&mut self, sock: SockId) -> Option<Errno> {
        let socket = self.sockets.get_mut(sock).ok()?;
        match socket.tcp {
            Some(id) => self.stream_take_error(id),
            None => socket.take_error(),
        }
    }

    /// `getsockname(2)`; `None` before it has a name.
    #[must_use]
    pub fn local_addr(&self, sock: SockId) -> Option<SocketAddr> {
        self.sockets.get(sock).ok()?.local
    }

    /// `getpeername(2)`.
    #[must_use]
    pub fn peer_addr(&self, sock: SockId) -> Option<SocketAddr> {
        let socket = self.sockets.get(sock).ok()?;
        match socket.tcp {
            Some(id) if !socket.listening => self.stream_peer(id),
            _ => socket.peer,
        }
    }

    /// The sockets that have a name, as `ss` and `netstat` list them: those of the sandbox's own services
    /// left out. Streams come from TCP, so that connections without a socket are among them.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketInfo> {
        let mut list: Vec<SocketInfo> = self
            .sockets
            .iter()
            .filter(|socket| socket.kind != SockKind::Tcp && !socket.internal)
            .filter_map(|socket| {
                Some(SocketInfo {
                    kind: socket.kind,
                    family: socket.family,
                    v6_only: socket.v6_only,
                    state: if socket.peer.is_some() {
                        SockState::Connected
                    } else {
                        SockState::Unconnected
                    },
                    local: socket.local?,
                    peer: socket.peer,
                    recv_queue: socket.weight,
                    send_queue: 0,
                })
            })
            .collect();
        list.extend(self.stream_list());
        list
    }

    /// The TCP connections that belong to internal sockets.
    pub(super) fn internal_streams(&self) -> impl Iterator<Item = TcpId> + '_ {
        self.sockets
            .iter()
            .filter(|socket| socket.internal)
            .filter_map(|socket| socket.tcp)
    }
}
