//! The sockets of a namespace: what one holds, and how a listing shows it.
//!
//! After `socket(7)`, `ip(7)`, `udp(7)`, `tcp(7)` and Linux's ping sockets. The table is in `table.rs`, binding
//! and addressing in `name.rs`, the system calls in `call.rs`. Left out: `SO_REUSEPORT`, `SO_BINDTODEVICE`,
//! control messages beyond those that [`crate::app::Received`] has.

mod call;
mod name;
mod table;

use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;

use switch::{Frame, IfId};

use super::Errno;
use super::icmp_input::Report;
use super::output::Way;
use super::resend::Headers;
use super::tcp::{TcpId, TcpOptions, TcpState};
use crate::app::{Family, PathError, SockKind};

pub use name::{PORT_FIRST, PORT_LAST};
pub use table::SOCKETS;
pub(in crate::netns) use table::Sockets;

/// `net.core.rmem_default`: what a datagram socket's queue may weigh.
pub const RECV_DEFAULT: usize = 212_992;
/// Errors kept for `recv_error`.
const ERRORS: usize = 64;

/// The two ends of a flow, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::netns) struct Ports {
    pub(in crate::netns) local: SocketAddr,
    pub(in crate::netns) remote: SocketAddr,
}

/// A datagram that waits in a socket. The frame holds the payload only.
#[derive(Debug)]
pub(in crate::netns) struct Datagram {
    pub(in crate::netns) frame: Frame,
    pub(in crate::netns) from: SocketAddr,
    pub(in crate::netns) to: IpAddr,
    pub(in crate::netns) hop_limit: u8,
    /// What it counts against the receive buffer.
    pub(in crate::netns) weight: usize,
}

/// What the destination that was used last came to (Linux's `sk_dst_cache`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::netns) struct Prepared {
    /// Of which state of the tables that holds.
    pub(in crate::netns) change: u64,
    /// What was asked for.
    pub(in crate::netns) asked: SocketAddr,
    pub(in crate::netns) to: SocketAddr,
    pub(in crate::netns) way: Way,
    pub(in crate::netns) source: IpAddr,
    /// Of a datagram that went there.
    pub(in crate::netns) headers: Option<Headers>,
}

/// A socket.
#[derive(Debug)]
pub(in crate::netns) struct Socket {
    pub(in crate::netns) kind: SockKind,
    pub(in crate::netns) family: Family,
    /// A service of the sandbox: not listed, and no user's bind to a wildcard meets it.
    pub(in crate::netns) internal: bool,
    /// The name; for ping sockets the port is the identifier.
    pub(in crate::netns) local: Option<SocketAddr>,
    /// The port of the name is its own, not its listener's.
    holds_port: bool,
    pub(in crate::netns) peer: Option<SocketAddr>,
    pub(in crate::netns) broadcast: bool,
    pub(in crate::netns) reuse: bool,
    pub(in crate::netns) v6_only: bool,
    pub(in crate::netns) recv_err: bool,
    pub(in crate::netns) dont_fragment: bool,
    pub(in crate::netns) hop_limit: Option<u8>,
    pub(in crate::netns) shut: bool,
    pub(in crate::netns) sequence: u16,
    /// Nothing after the name or an option changed.
    pub(in crate::netns) prepared: Option<Box<Prepared>>,
    recv_limit: usize,
    groups: Vec<(IfId, IpAddr)>,
    queue: VecDeque<Datagram>,
    weight: usize,
    error: Option<Errno>,
    errors: VecDeque<PathError>,
    pub(in crate::netns) tcp: Option<TcpId>,
    pub(in crate::netns) listening: bool,
    pub(in crate::netns) tcp_options: TcpOptions,
}

impl Socket {
    fn new(kind: SockKind, family: Family) -> Self {
        Self {
            kind,
            family,
            internal: false,
            local: None,
            holds_port: false,
            peer: None,
            broadcast: false,
            reuse: false,
            v6_only: false,
            recv_err: false,
            dont_fragment: false,
            hop_limit: None,
            shut: false,
            sequence: 0,
            prepared: None,
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

    /// Makes a closed one new where it stands, which nothing waits in any more.
    fn renew(&mut self, kind: SockKind, family: Family) {
        debug_assert!(self.queue.is_empty() && self.groups.is_empty());
        let Self {
            kind: kind_of,
            family: family_of,
            internal,
            local,
            holds_port,
            peer,
            broadcast,
            reuse,
            v6_only,
            recv_err,
            dont_fragment,
            hop_limit,
            shut,
            sequence,
            prepared,
            recv_limit,
            groups: _,
            queue: _,
            weight,
            error,
            errors,
            tcp,
            listening,
            tcp_options,
        } = self;
        (*kind_of, *family_of) = (kind, family);
        (*local, *peer, *tcp, *hop_limit) = (None, None, None, None);
        (*error, *prepared) = (None, None);
        for flag in [internal, holds_port, broadcast, reuse, v6_only] {
            *flag = false;
        }
        for flag in [recv_err, dont_fragment, shut, listening] {
            *flag = false;
        }
        (*sequence, *weight, *recv_limit) = (0, 0, RECV_DEFAULT);
        errors.clear();
        *tcp_options = TcpOptions::default();
    }

    /// Whether packets to `addr` are for this socket's address.
    pub(in crate::netns) fn takes(&self, addr: IpAddr) -> bool {
        let Some(local) = self.local else {
            return false;
        };
        match local.ip() {
            IpAddr::V4(own) => addr.is_ipv4() && (own.is_unspecified() || IpAddr::V4(own) == addr),
            IpAddr::V6(own) if own.is_unspecified() => addr.is_ipv6() || !self.v6_only,
            IpAddr::V6(own) => IpAddr::V6(own) == addr,
        }
    }

    /// Room for a datagram of this weight. The first one always finds room.
    pub(in crate::netns) fn has_room(&self, weight: usize) -> bool {
        self.queue.is_empty() || self.weight + weight <= self.recv_limit
    }

    pub(in crate::netns) fn push(&mut self, datagram: Datagram) {
        self.weight += datagram.weight;
        self.queue.push_back(datagram);
    }

    /// What `to` came to when it was used last, if the tables are still in this state and nothing else has
    /// to be told to the caller first.
    #[inline]
    pub(in crate::netns) fn prepared_for(&self, change: u64, to: SocketAddr) -> Option<&Prepared> {
        let known = self.prepared.as_deref()?;
        let same = known.change == change && known.asked == to;
        (same && self.error.is_none() && !self.shut).then_some(known)
    }

    pub(in crate::netns) fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }

    /// Notes an error from the path. True if the application has to be woken.
    pub(in crate::netns) fn fail(&mut self, report: &Report, to: SocketAddr) -> bool {
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
