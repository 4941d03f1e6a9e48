//! What the TCP layer asks of a connection's state machine, so that the machine can be exchanged.
//!
//! The layer above finds the connection, keeps listeners, TIME_WAIT, orphans, keepalive and the
//! limits on retries; the engine has the sequence space, the windows, the buffers and retransmission.
//! An engine knows no address but its own two and sees whole IPv4 packets, in place of IPv6 ones too.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use switch::{Pool, Time};

use super::emit::{Emitter, Marks, Reply};

/// The state of a connection (RFC 9293 §3.3.2), with the names that `ss` and `netstat` print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TcpState {
    /// No connection.
    Closed,
    /// Waits for connections.
    Listen,
    /// Has sent a SYN.
    SynSent,
    /// Has had a SYN and answered it.
    SynReceived,
    /// Open both ways.
    Established,
    /// Our half is closed, not acknowledged.
    FinWait1,
    /// Our half is closed.
    FinWait2,
    /// The other half is closed.
    CloseWait,
    /// Both halves closed at once, ours not acknowledged.
    Closing,
    /// Both halves closed, theirs first, ours not acknowledged.
    LastAck,
    /// Waits until nothing of the connection can be under way.
    TimeWait,
}

impl TcpState {
    /// The name that `netstat` prints, such as `ESTABLISHED`.
    #[must_use]
    pub const fn netstat(self) -> &'static str {
        match self {
            Self::Closed => "CLOSE",
            Self::Listen => "LISTEN",
            Self::SynSent => "SYN_SENT",
            Self::SynReceived => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN_WAIT1",
            Self::FinWait2 => "FIN_WAIT2",
            Self::CloseWait => "CLOSE_WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
        }
    }

    /// The name that `ss` prints, such as `ESTAB`.
    #[must_use]
    pub const fn ss(self) -> &'static str {
        match self {
            Self::Closed => "UNCONN",
            Self::Listen => "LISTEN",
            Self::SynSent => "SYN-SENT",
            Self::SynReceived => "SYN-RECV",
            Self::Established => "ESTAB",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT",
        }
    }

    /// The handshake is under way.
    pub(super) const fn opening(self) -> bool {
        matches!(self, Self::SynSent | Self::SynReceived)
    }

    /// Our half is closed and the other side has not said that it knows.
    pub(super) const fn waits_for_fin(self) -> bool {
        matches!(self, Self::FinWait1 | Self::Closing | Self::LastAck)
    }
}

/// How fast a sender may go on a path that loses segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// As fast as the receiver's window lets it: right for links that lose nothing. The default.
    #[default]
    None,
    /// RFC 5681.
    Reno,
    /// RFC 9438.
    Cubic,
}

/// What an engine is made with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    /// Receive buffer in bytes.
    pub(super) recv_buffer: usize,
    /// Send buffer in bytes.
    pub(super) send_buffer: usize,
    /// Nagle's rule is off.
    pub(super) nodelay: bool,
    /// Time to live or hop limit, not 0.
    pub(super) hop_limit: u8,
    /// How long a lone segment's acknowledgement may wait; `None` not at all.
    pub(super) ack_delay: Option<Duration>,
    /// Congestion control.
    pub(super) congestion: Congestion,
}

/// When an engine wants [`TcpEngine::output`] next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// At once.
    Now,
    /// At this time.
    At(Time),
    /// When something comes in or is asked.
    Never,
}

/// What is looked at before and after each segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Glance {
    pub(super) state: TcpState,
    /// Bytes received and not read.
    pub(super) recv_queue: usize,
    /// Bytes given and not acknowledged.
    pub(super) send_queue: usize,
}

/// One connection's state machine.
///
/// Any of these may panic on a sequence of segments that the engine's authors did not think of; the
/// caller catches it and gives up that connection alone.
pub(super) trait TcpEngine: Sized + fmt::Debug {
    /// What the connections of a namespace have in common.
    type Shared: fmt::Debug;
    /// A path's segment size, made by the shared part.
    type Path: Copy + fmt::Debug + PartialEq;

    /// The path for packets of `mtu` bytes in the family of `local`, cut later if `offload`.
    fn path(shared: &mut Self::Shared, local: SocketAddr, mtu: usize, offload: bool) -> Self::Path;

    /// A state machine without a connection.
    fn new(setup: &Setup) -> Self;

    /// Whether it has the buffers that `setup` asks for.
    fn fits(&self, setup: &Setup) -> bool;

    /// Makes of one whose connection is over what [`new`](Self::new) would, but for the bytes in its buffers, which
    /// nobody sees. It has to [fit](Self::fits), and not to be [worn](Self::is_worn).
    fn renew(&mut self, setup: &Setup);

    /// Its connection left something behind that only a new one is free of.
    fn is_worn(&self) -> bool;

    /// Begins a connection that will send a SYN; whether it could.
    fn connect(
        &mut self,
        shared: &mut Self::Shared,
        path: Self::Path,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> bool;

    /// Waits for a SYN to `local`, to be given to [`input`](Self::input) at once; whether it can.
    fn listen(&mut self, local: SocketAddr) -> bool;

    /// Takes the packet `packet`, whose checksums are known to be good, and may write to it. A `burst` of several segments is
    /// acknowledged without delay. An answer that cannot wait goes to `reply`.
    fn input(
        &mut self,
        shared: &mut Self::Shared,
        path: Self::Path,
        now: Time,
        packet: &mut [u8],
        burst: bool,
        reply: &mut Reply,
    );

    /// Sends at most one segment; whether it did.
    fn output(
        &mut self,
        shared: &mut Self::Shared,
        path: Self::Path,
        now: Time,
        out: &mut Emitter<'_>,
    ) -> bool;

    /// Has a timer run out that does at this time; what is to be sent again then is sent with the next
    /// [`output`](Self::output).
    fn lapse(&mut self, shared: &mut Self::Shared, path: Self::Path, at: Time);

    /// When there is something to send.
    fn next(&self, shared: &mut Self::Shared, path: Self::Path, now: Time) -> Next;

    /// The state.
    fn state(&self) -> TcpState;
    /// The state and both queues.
    fn glance(&self) -> Glance;
    /// Takes data to send, in frames of `pool` perhaps; how many bytes. `when`: the time, what was sent, and
    /// what the headers on the wire are longer than the engine's.
    fn send(
        &mut self,
        shared: &mut Self::Shared,
        path: Self::Path,
        pool: &mut Pool,
        when: (Time, &Marks, usize),
        bytes: &[u8],
    ) -> usize;
    /// Gives received data; how many bytes.
    fn recv(&mut self, pool: &mut Pool, buffer: &mut [u8]) -> usize;
    /// Shows received data, or the first part of it, and takes what `look` says; how many bytes.
    fn recv_with(&mut self, pool: &mut Pool, look: &mut dyn FnMut(&[u8]) -> usize) -> usize;
    /// Closes our half behind the data that is queued.
    fn shutdown(&mut self, shared: &mut Self::Shared, path: Self::Path);
    /// Closes at once; the next [`output`](Self::output) is a reset.
    fn abort(&mut self, shared: &mut Self::Shared, path: Self::Path);
    /// Bytes received and not read.
    fn recv_queue(&self) -> usize;
    /// Bytes given and not acknowledged.
    fn send_queue(&self) -> usize;
    /// Bytes of both buffers together.
    fn buffer_bytes(&self) -> usize;
    /// Bytes of the receive buffer.
    fn recv_capacity(&self) -> usize;
    /// Bytes of the send buffer.
    fn send_capacity(&self) -> usize;
    /// Switches Nagle's rule off or on.
    fn set_nodelay(&mut self, on: bool);
    /// Sets the time to live or hop limit, not 0.
    fn set_hop_limit(&mut self, hops: u8);
}
