//! Listeners: who takes a SYN, and the two queues that a connection passes through.
//!
//! As Linux does it: a SYN is dropped without a word while the accept queue is full, the queue holds
//! one more than the backlog, and a last ACK that finds it full is dropped as well, so that the
//! connection stays in SYN_RECV and is acknowledged again (`tcp_abort_on_overflow` is off).
//! SYN cookies are left out; in their place the SYN queue may be longer than the backlog.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::collections::{BTreeMap, VecDeque};

use super::TcpId;
use super::any::ANY;
use super::options::{TcpOptions, overlap};

/// `somaxconn`: a longer backlog is cut to this.
pub(super) const MAX_BACKLOG: usize = 4096;
/// Connections in SYN_RECV that a listener holds, whatever its backlog (`tcp_max_syn_backlog`).
const SYN_QUEUE: usize = 128;

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    /// Where it listens; the address may be a wildcard.
    pub(super) local: SocketAddr,
    /// As asked for, cut to [`MAX_BACKLOG`].
    pub(super) backlog: usize,
    /// The options of accepted connections.
    pub(super) options: TcpOptions,
    /// How many connections in SYN_RECV it has.
    pub(super) embryos: usize,
    /// Connections to accept, by slot.
    pub(super) ready: VecDeque<u32>,
}

impl Listener {
    /// A listener with empty queues.
    pub(super) fn new(local: SocketAddr, backlog: usize, options: TcpOptions) -> Self {
        Self {
            local,
            backlog: backlog.min(MAX_BACKLOG),
            options,
            embryos: 0,
            ready: VecDeque::new(),
        }
    }

    /// No more connections fit until one is accepted.
    pub(super) fn accept_full(&self) -> bool {
        self.ready.len() > self.backlog
    }

    /// No SYN is taken now.
    pub(super) fn syn_full(&self) -> bool {
        self.accept_full() || self.embryos >= SYN_QUEUE.max(self.backlog)
    }
}

/// Where a namespace listens, in order of port and address.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    table: BTreeMap<(u16, IpAddr), (TcpId, bool)>,
    /// The only one, if there is no other: asked for with each SYN, where few machines have more.
    only: Option<(u16, IpAddr, TcpId)>,
    /// Who takes what nobody else takes, when it is [admitted](super::Tcp::admit).
    pub(super) any: Option<TcpId>,
    pub(super) admits: bool,
}

impl Listeners {
    /// Whether `local` would take connections that another listener takes: the same address, or the
    /// wildcards of both families. A specific address beside a wildcard is no collision here.
    pub(super) fn collides(&self, local: SocketAddr, v6_only: bool) -> bool {
        let key = (local.port(), local.ip());
        let dual = |address: IpAddr| {
            let key = (local.port(), address);
            self.table.get(&key).is_some_and(|(_, v6_only)| !v6_only)
        };
        let v4_any = (local.port(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.table.contains_key(&key)
            || match local.ip() {
                IpAddr::V4(v4) => v4.is_unspecified() && dual(Ipv6Addr::UNSPECIFIED.into()),
                IpAddr::V6(v6) => {
                    v6.is_unspecified() && !v6_only && self.table.contains_key(&v4_any)
                }
            }
    }

    /// Enters a listener.
    pub(super) fn insert(&mut self, local: SocketAddr, v6_only: bool, id: TcpId) {
        self.table.insert((local.port(), local.ip()), (id, v6_only));
        self.single_out();
    }

    fn single_out(&mut self) {
        let first = self.table.first_key_value();
        let only = first.filter(|_| self.table.len() == 1);
        self.only = only.map(|(&(port, address), &(id, _))| (port, address, id));
    }

    /// Takes a listener out.
    pub(super) fn remove(&mut self, local: SocketAddr) {
        if local == ANY {
            self.any = None;
        }
        self.table.remove(&(local.port(), local.ip()));
        self.single_out();
    }

    /// Who takes a SYN to `local`: the specific address first, then the wildcard of its family, then
    /// for IPv4 the wildcard of IPv6, at last, while a segment is admitted, the listener for all.
    pub(super) fn find(&self, local: SocketAddr) -> Option<TcpId> {
        match self.only {
            Some((port, address, id)) if local.port() == port && local.ip() == address => Some(id),
            _ => self.find_among(local),
        }
    }

    fn find_among(&self, local: SocketAddr) -> Option<TcpId> {
        let at = |address: IpAddr| self.table.get(&(local.port(), address));
        let (specific, any6) = (at(local.ip()), || at(Ipv6Addr::UNSPECIFIED.into()));
        let found = match local.ip() {
            IpAddr::V6(_) => specific.or_else(any6),
            IpAddr::V4(_) => specific
                .or_else(|| at(Ipv4Addr::UNSPECIFIED.into()))
                .or_else(|| any6().filter(|(_, v6_only)| !v6_only)),
        };
        let any = self.any.filter(|_| self.admits);
        found.map(|(id, _)| *id).or(any)
    }

    /// The listeners in order of port and address.
    pub(super) fn ids(&self) -> impl Iterator<Item = TcpId> + '_ {
        self.table.values().map(|(id, _)| *id)
    }

    /// Whether anybody listens on `port` of `address`, either of which may be a wildcard.
    pub(super) fn holds(&self, address: IpAddr, port: u16) -> bool {
        let first = (port, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let last = (port, IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)));
        let mut on_port = self.table.range(first..=last);
        on_port.any(|((_, of), (_, v6_only))| {
            overlap(address, *of) && !(*v6_only && address.is_ipv4())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(slot: u32) -> TcpId {
        TcpId {
            slot,
            generation: 0,
        }
    }

    #[test]
    fn the_most_specific_listener_takes_the_syn() {
        let mut table = Listeners::default();
        for (slot, local) in ["[::]:80", "10.0.0.1:80", "[2001:db8::1]:80"]
            .iter()
            .enumerate()
        {
            let local = local.parse().unwrap();
            assert!(!table.collides(local, false));
            table.insert(local, false, id(slot as u32));
        }
        let find = |local: &str| table.find(local.parse().unwrap()).map(|id| id.slot);
        assert_eq!(find("10.0.0.1:80"), Some(1));
        assert_eq!(find("10.0.0.9:80"), Some(0));
        assert_eq!(find("[2001:db8::1]:80"), Some(2));
        assert_eq!(find("[2001:db8::9]:80"), Some(0));
        assert_eq!(find("10.0.0.1:81"), None);
    }

    #[test]
    fn wildcards_of_both_families_collide_unless_one_is_v6_only() {
        let (any4, any6) = ("0.0.0.0:80".parse().unwrap(), "[::]:80".parse().unwrap());
        let mut table = Listeners::default();
        table.insert(any4, false, id(0));
        assert!(table.collides(any6, false) && !table.collides(any6, true));
        assert!(table.holds(Ipv4Addr::LOCALHOST.into(), 80));

        let mut table = Listeners::default();
        table.insert(any6, true, id(0));
        assert!(!table.collides(any4, false));
        assert_eq!(table.find("10.0.0.1:80".parse().unwrap()), None);
        assert!(!table.holds(Ipv4Addr::LOCALHOST.into(), 80));
        assert!(table.holds(Ipv6Addr::LOCALHOST.into(), 80));
    }
}
