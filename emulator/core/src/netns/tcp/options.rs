//! What a TCP socket can be told: options, and what a listing shows of it.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::TcpId;
use super::engine::{Congestion, TcpState};
use crate::app::SockOpt;
use crate::netns::Errno;

/// Bytes that wait to be acknowledged unless an option asks for another size, taken when the handshake
/// starts: two segments of the largest MTU whose acknowledgements are delayed, so that no sender waits
/// for one. Linux starts at 16 KiB (`tcp_wmem`) and grows.
pub const SEND_BUFFER: usize = 32 * 1024;
/// Bytes that wait to be read unless an option asks for another size (Linux: 128 KiB at the start,
/// `tcp_rmem`). A sender with its own default buffer takes a third of the window at most, so that a
/// reader who keeps up need not tell the window anew.
pub const RECV_BUFFER: usize = 96 * 1024;
/// The smallest buffer that an option gets (Linux: `SOCK_MIN_RCVBUF`).
pub const MIN_BUFFER: usize = 2304;
/// The largest buffer that an option gets.
pub const MAX_BUFFER: usize = 4 * 1024 * 1024;

/// The options of a TCP socket. A listener's are those of the connections that it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// `SO_RCVBUF` in bytes, fixed when the handshake starts; cut to [`MIN_BUFFER`]..[`MAX_BUFFER`].
    pub recv_buffer: usize,
    /// `SO_SNDBUF` in bytes, likewise.
    pub send_buffer: usize,
    /// `TCP_NODELAY`.
    pub nodelay: bool,
    /// `SO_KEEPALIVE`: idle time, interval and count of probes.
    pub keepalive: Option<(Duration, Duration, u32)>,
    /// Time to live or hop limit; 0 counts as 1.
    pub hop_limit: u8,
    /// `SO_LINGER` with 0 seconds: closing resets.
    pub linger_zero: bool,
    /// `IPV6_V6ONLY`: a listener on `::` does not take IPv4.
    pub v6_only: bool,
    /// `SO_ATTACH_FILTER` with a program that passes nothing: no SYN is taken.
    pub deaf: bool,
    /// Congestion control, fixed when the handshake starts.
    pub congestion: Congestion,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            recv_buffer: RECV_BUFFER,
            send_buffer: SEND_BUFFER,
            nodelay: false,
            keepalive: None,
            hop_limit: 64,
            linger_zero: false,
            v6_only: false,
            deaf: false,
            congestion: Congestion::None,
        }
    }
}

impl TcpOptions {
    /// Sets one option. What means nothing for TCP is taken and ignored, as Linux does.
    ///
    /// # Errors
    /// [`Errno::NoProtoOpt`] for joining a group; [`Errno::Invalid`] for a hop limit of 0 and for
    /// keepalive times of 0.
    pub fn set(&mut self, option: SockOpt) -> Result<(), Errno> {
        match option {
            SockOpt::KeepAlive(Some((idle, interval, count)))
                if idle.is_zero() || interval.is_zero() || count == 0 =>
            {
                return Err(Errno::Invalid);
            }
            SockOpt::KeepAlive(keepalive) => self.keepalive = keepalive,
            SockOpt::NoDelay(on) => self.nodelay = on,
            SockOpt::RecvBuffer(size) => self.recv_buffer = size,
            SockOpt::SendBuffer(size) => self.send_buffer = size,
            SockOpt::HopLimit(0) => return Err(Errno::Invalid),
            SockOpt::HopLimit(hops) => self.hop_limit = hops,
            SockOpt::V6Only(on) => self.v6_only = on,
            SockOpt::LingerZero(on) => self.linger_zero = on,
            SockOpt::Deaf(on) => self.deaf = on,
            SockOpt::Join(_) => return Err(Errno::NoProtoOpt),
            SockOpt::Broadcast(_)
            | SockOpt::ReuseAddr(_)
            | SockOpt::DontFragment(_)
            | SockOpt::RecvErr(_) => {}
        }
        Ok(())
    }
}

/// One line of `ss -ta` or `netstat -ta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSocket {
    /// The socket; `None` for what no application holds any more (orphans, TIME_WAIT).
    pub id: Option<TcpId>,
    /// Our address.
    pub local: SocketAddr,
    /// The other address; `None` for a listener.
    pub remote: Option<SocketAddr>,
    /// The state.
    pub state: TcpState,
    /// Bytes received and not read; of a listener, connections to accept.
    pub recv_queue: usize,
    /// Bytes sent and not acknowledged; of a listener, its backlog.
    pub send_queue: usize,
}

/// What holds a local address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortUse {
    /// Nothing.
    Free,
    /// Connections in TIME_WAIT only: free for `SO_REUSEADDR`.
    TimeWait,
    /// A connection: free for `SO_REUSEADDR` on both sockets.
    Connected,
    /// A listener: taken.
    Listening,
}

/// What a path reported about a segment (RFC 792, RFC 4443), as Linux sorts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpKind {
    /// Port or protocol unreachable: fails a connect at once.
    HardUnreachable(Errno),
    /// Network or host unreachable, time exceeded: fails a connect at once; a connection remembers
    /// it for the day that it times out.
    Soft(Errno),
    /// The next hop carries no more than this many bytes.
    FragmentationNeeded {
        /// MTU of the next hop.
        mtu: u16,
    },
}

/// What the TCP layer of a namespace has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Segments taken in.
    pub segments_in: u64,
    /// Segments sent.
    pub segments_out: u64,
    /// Resets sent.
    pub resets_out: u64,
    /// Times that an engine was run, in or out: the work done.
    pub engine_runs: u64,
    /// Engines that panicked; each became a reset.
    pub engine_panics: u64,
    /// SYNs and last ACKs dropped because a listener's queue was full.
    pub listen_overflows: u64,
    /// Segments lost because no frame was left.
    pub out_of_frames: u64,
    /// Connections that skipped TIME_WAIT because the table was full.
    pub time_wait_overflows: u64,
    /// Connections that nobody held any more, reset because there were [too many](super::MAX_UNANSWERED) whose peers did
    /// not answer (`TCPAbortOnMemory`).
    pub orphans_reset: u64,
    /// Connections given up because nobody answered.
    pub timeouts: u64,
    /// Acknowledgements in place of belief in a segment (`TCPChallengeACK`).
    pub challenges: u64,
    /// Those not sent because one had been sent just before (`TCPACKSkippedChallenge`).
    pub challenges_skipped: u64,
}

/// `a` and `b` name the same address, or one of them stands for all. An IPv6 wildcard takes in IPv4.
pub(super) fn overlap(a: IpAddr, b: IpAddr) -> bool {
    let takes = |a: IpAddr, b: IpAddr| a.is_unspecified() && (a.is_ipv6() || b.is_ipv4());
    a == b || takes(a, b) || takes(b, a)
}
