//! Names of sockets: binding, free ports, and what a destination means.
//!
//! 32768–60999 are given out (`ip_local_port_range`) from a random start in the namespace's own stream, then
//! upwards. Any port may be bound (Docker sets `ip_unprivileged_port_start` to 0).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use switch::IfId;

use super::{Prepared, Socket};
use crate::app::{Family, SockKind};
use crate::id::SockId;
use crate::netns::fib::RouteKind;
use crate::netns::output::Way;
use crate::netns::{Errno, LO, Netns, Scope};

/// The first port that is given out.
pub const PORT_FIRST: u16 = 32_768;
/// The last port that is given out.
pub const PORT_LAST: u16 = 60_999;

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
pub(in crate::netns) fn scope_of(addr: SocketAddr) -> Option<IfId> {
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
        self.sockets.name(sock, local)?;
        Ok(())
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
    pub(in crate::netns) fn autobind(&mut self, sock: SockId) -> Result<SocketAddr, Errno> {
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
    pub(in crate::netns) fn rename(
        &mut self,
        sock: SockId,
        local: SocketAddr,
    ) -> Result<&mut Socket, Errno> {
        self.sockets.name(sock, local)
    }

    /// Whether packets to `addr`, which may be an address of ours, go to all stations of a link.
    fn sends_to_all(&mut self, addr: IpAddr) -> bool {
        match self.route_to(addr, None) {
            Ok(way) => way.kind == RouteKind::Broadcast,
            Err(_) => self.is_broadcast(addr),
        }
    }

    /// A link-local destination of a connection or a ping has to name its interface.
    pub(in crate::netns) fn check_scope(&self, sock: SockId, to: SocketAddr) -> Result<(), Errno> {
        let link_local = matches!(to, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local());
        if !link_local || scope_of(to).is_some() {
            return Ok(());
        }
        let local = self.sockets.get(sock)?.local.and_then(scope_of);
        local.map(|_| ()).ok_or(Errno::Invalid)
    }

    /// The destination a call means, its way, and the source for it: kept with the socket until the
    /// tables or the socket change.
    pub(in crate::netns) fn prepare(
        &mut self,
        sock: SockId,
        asked: SocketAddr,
    ) -> Result<(SocketAddr, Way, IpAddr), Errno> {
        let change = self.change();
        let known = self.sockets.get(sock)?.prepared.as_deref();
        if let Some(known) = known
            && known.change == change
            && known.asked == asked
        {
            let prepared = (known.to, known.way, known.source);
            debug_assert_eq!(self.prepare_anew(sock, asked), Ok(prepared));
            return Ok(prepared);
        }
        let (to, way, source) = self.prepare_anew(sock, asked)?;
        let prepared = Prepared {
            change,
            asked,
            to,
            way,
            source,
            headers: None,
        };
        match &mut self.sockets.get_mut(sock)?.prepared {
            Some(known) => **known = prepared,
            none => *none = Some(Box::new(prepared)),
        }
        Ok((to, way, source))
    }

    /// The same for one datagram that leaves from `from`; nothing of it is kept.
    pub(in crate::netns) fn prepare_from(
        &mut self,
        sock: SockId,
        asked: SocketAddr,
        from: IpAddr,
    ) -> Result<(SocketAddr, Way, IpAddr), Errno> {
        let (to, way, _) = self.prepare_anew(sock, asked)?;
        if from.is_loopback() && way.dev != LO {
            return Err(Errno::Invalid);
        }
        Ok((to, way, from))
    }

    /// The same, and nothing is kept.
    pub(in crate::netns) fn prepare_anew(
        &mut self,
        sock: SockId,
        to: SocketAddr,
    ) -> Result<(SocketAddr, Way, IpAddr), Errno> {
        let socket = self.sockets.get(sock)?;
        let (local, may_broadcast) = (socket.local, socket.broadcast);
        let to = destination(to);
        match socket.family {
            Family::V4 if to.is_ipv6() => return Err(Errno::Invalid),
            Family::V6 if to.is_ipv4() && (socket.v6_only || socket.kind == SockKind::Ping) => {
                return Err(Errno::NetUnreach);
            }
            Family::V4 | Family::V6 => {}
        }
        let dev = scope_of(to).or_else(|| local.and_then(scope_of));
        let way = self.route_to(to.ip(), dev)?;
        if way.kind == RouteKind::Broadcast && !may_broadcast {
            return Err(Errno::Access);
        }
        let bound = local
            .map(|local| local.ip())
            .filter(|ip| !ip.is_unspecified() && !ip.is_multicast())
            .filter(|ip| !self.sends_to_all(*ip));
        let source = match bound {
            Some(bound) if bound.is_ipv4() != to.is_ipv4() => return Err(Errno::NetUnreach),
            Some(bound) if bound.is_loopback() && way.dev != LO => return Err(Errno::Invalid),
            Some(bound) => bound,
            None => self.source_for(&way, to.ip()).ok_or(Errno::AddrNotAvail)?,
        };
        Ok((to, way, source))
    }
}
