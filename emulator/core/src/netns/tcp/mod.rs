//! The names of the TCP layer, so that the namespace compiles without it: every call fails.

use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;

use switch::verdict::DropReason;
use switch::wire::Packet;
use switch::{Frame, Pool, Time};

use super::Errno;
use crate::app::{Ready, SockOpt};

/// A stream of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TcpId {
    slot: u32,
    generation: u32,
}

/// What the TCP layer may touch.
#[derive(Debug)]
pub struct TcpCx<'a> {
    /// Now.
    pub now: Time,
    /// MTU of the interface that a segment came in by.
    pub mtu: usize,
    /// Where frames live.
    pub pool: &'a mut Pool,
    /// IP packets to route.
    pub out: &'a mut VecDeque<Frame>,
    /// Streams whose readiness may have changed.
    pub wakes: &'a mut Vec<TcpId>,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpState {
    /// Waits for connections.
    Listen,
    /// Open both ways.
    Established,
}

impl TcpState {
    /// The name that `netstat` prints.
    #[must_use]
    pub const fn netstat(self) -> &'static str {
        match self {
            Self::Listen => "LISTEN",
            Self::Established => "ESTABLISHED",
        }
    }

    /// The name that `ss` prints.
    #[must_use]
    pub const fn ss(self) -> &'static str {
        match self {
            Self::Listen => "LISTEN",
            Self::Established => "ESTAB",
        }
    }
}

/// Options of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {}

impl TcpOptions {
    /// Sets one option.
    ///
    /// # Errors
    /// None here.
    pub fn set(&mut self, _option: SockOpt) -> Result<(), Errno> {
        Ok(())
    }
}

/// One line of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSocket {
    /// The stream, if an application holds it.
    pub id: Option<TcpId>,
    /// Our address.
    pub local: SocketAddr,
    /// The other address.
    pub remote: Option<SocketAddr>,
    /// The state.
    pub state: TcpState,
    /// Bytes received and not read.
    pub recv_queue: usize,
    /// Bytes sent and not acknowledged.
    pub send_queue: usize,
}

/// What holds a local address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortUse {
    /// Nothing.
    Free,
    /// Connections in TIME_WAIT only.
    TimeWait,
    /// A connection.
    Connected,
    /// A listener.
    Listening,
}

/// What a path reported about a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpKind {
    /// Port or protocol unreachable.
    HardUnreachable(Errno),
    /// Network or host unreachable, time exceeded.
    Soft(Errno),
    /// The next hop carries no more than this many bytes.
    FragmentationNeeded {
        /// MTU of the next hop.
        mtu: u16,
    },
}

/// The TCP layer of a namespace.
#[derive(Debug)]
pub struct Tcp {}

#[expect(
    missing_docs,
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    reason = "names only"
)]
impl Tcp {
    pub const fn new(_seed: u64) -> Self {
        Self {}
    }
    pub const fn listen(
        &mut self,
        _: SocketAddr,
        _: usize,
        _: &TcpOptions,
    ) -> Result<TcpId, Errno> {
        Err(Errno::NotSupported)
    }
    pub const fn connect(
        &mut self,
        _: &mut TcpCx<'_>,
        _: SocketAddr,
        _: SocketAddr,
        _: usize,
        _: &TcpOptions,
    ) -> Result<TcpId, Errno> {
        Err(Errno::NotSupported)
    }
    pub const fn accept(&mut self, _: TcpId) -> Result<(TcpId, SocketAddr), Errno> {
        Err(Errno::NotSupported)
    }
    pub const fn set_partial_checksums(&mut self, _: bool) {}
    pub const fn route_failed(
        &mut self,
        _: &mut TcpCx<'_>,
        _: SocketAddr,
        _: SocketAddr,
        _: Errno,
    ) {
    }
    pub const fn send(&mut self, _: TcpId, _: &[u8]) -> Result<usize, Errno> {
        Err(Errno::NotSupported)
    }
    pub const fn recv(&mut self, _: TcpId, _: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::NotSupported)
    }
    pub const fn shutdown_write(&mut self, _: TcpId) -> Result<(), Errno> {
        Err(Errno::NotSupported)
    }
    pub const fn close(&mut self, _: &mut TcpCx<'_>, _: TcpId) {}
    pub const fn abort(&mut self, _: &mut TcpCx<'_>, _: TcpId) {}
    pub const fn set_option(&mut self, _: TcpId, _: SockOpt) -> Result<(), Errno> {
        Err(Errno::NotSupported)
    }
    pub const fn input(
        &mut self,
        _: &mut TcpCx<'_>,
        frame: Frame,
        _: &Packet,
    ) -> Result<(), (Frame, DropReason)> {
        Err((frame, DropReason::TcpRejected))
    }
    pub const fn icmp_error(
        &mut self,
        _: &mut TcpCx<'_>,
        _: SocketAddr,
        _: SocketAddr,
        _: u32,
        _: IcmpKind,
    ) {
    }
    pub const fn poll(&mut self, _: &mut TcpCx<'_>) -> bool {
        false
    }
    pub const fn deadline(&self) -> Option<Time> {
        None
    }
    pub const fn fire(&mut self, _: &mut TcpCx<'_>) {}
    pub const fn ready(&self, _: TcpId) -> Ready {
        Ready {
            readable: false,
            writable: false,
            hup: true,
            error: false,
        }
    }
    pub const fn take_error(&mut self, _: TcpId) -> Option<Errno> {
        None
    }
    pub const fn local_addr(&self, _: TcpId) -> Option<SocketAddr> {
        None
    }
    pub const fn peer_addr(&self, _: TcpId) -> Option<SocketAddr> {
        None
    }
    pub const fn sockets(&self) -> Vec<TcpSocket> {
        Vec::new()
    }
    pub const fn in_use(&self, _: IpAddr, _: u16) -> PortUse {
        PortUse::Free
    }
}
