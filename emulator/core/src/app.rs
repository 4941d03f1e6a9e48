//! Applications: state machines that run inside a namespace and see only its system calls.
//!
//! An application is run when one of its sockets becomes ready, when its timer fires, and once at its
//! start. It does what it can without waiting and returns; it is never called back from inside a call.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use switch::Time;

use crate::id::SockId;
use crate::netns::Errno;

/// What an application wants after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To be run again when a socket or the timer calls.
    Wait,
    /// To end with this exit code. Its sockets are closed.
    Exit(u8),
}

/// An application.
pub trait App: fmt::Debug + Send {
    /// Does what can be done now.
    fn run(&mut self, sys: &mut dyn Sys) -> Step;

    /// A word for `ps` and `netstat -p`, such as `httpd`.
    fn name(&self) -> &str;
}

/// The kind of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SockKind {
    /// `SOCK_STREAM`.
    Tcp,
    /// `SOCK_DGRAM`.
    Udp,
    /// `SOCK_DGRAM` with `IPPROTO_ICMP` or `IPPROTO_ICMPV6`: echo requests and their answers.
    Ping,
}

/// The address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6; bound to `::` it takes IPv4 as well unless [`SockOpt::V6Only`] is on (addresses of IPv4
    /// peers are then given as IPv4).
    V6,
}

/// An option of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SockOpt {
    /// `SO_BROADCAST`.
    Broadcast(bool),
    /// `SO_REUSEADDR`.
    ReuseAddr(bool),
    /// `SO_KEEPALIVE`, then `TCP_KEEPIDLE`, `TCP_KEEPINTVL` and `TCP_KEEPCNT`, in the order in which programs set them: the idle time
    /// counts from what was heard last. (Linux counts it from now if `SO_KEEPALIVE` is set last.)
    KeepAlive(Option<(Duration, Duration, u32)>),
    /// `TCP_NODELAY`.
    NoDelay(bool),
    /// `SO_RCVBUF` in bytes (as asked for, not doubled).
    RecvBuffer(usize),
    /// `SO_SNDBUF` in bytes (as asked for, not doubled).
    SendBuffer(usize),
    /// `IP_TTL` or `IPV6_UNICAST_HOPS`.
    HopLimit(u8),
    /// `IP_MTU_DISCOVER`: set DF (`IP_PMTUDISC_DO`) or let routers and this host cut.
    DontFragment(bool),
    /// `IPV6_V6ONLY`.
    V6Only(bool),
    /// `SO_LINGER` with 0 seconds: closing resets.
    LingerZero(bool),
    /// `SO_ATTACH_FILTER` with a program that passes nothing: a listener that no SYN reaches.
    Deaf(bool),
    /// `IP_ADD_MEMBERSHIP`.
    Join(IpAddr),
    /// `IP_RECVERR`: errors from the path are kept with their sender, see [`Sys::recv_error`].
    RecvErr(bool),
}

/// What a socket is ready for (`poll(2)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Data, a connection or the end of the stream can be taken.
    pub readable: bool,
    /// A connected stream takes data, or a connect has ended.
    pub writable: bool,
    /// Both halves are closed, or the connection is gone.
    pub hup: bool,
    /// An error waits in [`Sys::take_error`].
    pub error: bool,
}

/// A datagram's sender, and what `IP_RECVTTL` and `IP_PKTINFO` would tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes written to the buffer.
    pub len: usize,
    /// Who sent it (for ping sockets the port is the sequence number).
    pub from: SocketAddr,
    /// Which of our addresses it was for.
    pub to: IpAddr,
    /// Its time to live on arrival.
    pub hop_limit: u8,
}

/// An error from the path, as `MSG_ERRQUEUE` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathError {
    /// Which error.
    pub errno: Errno,
    /// The router or host that reported it.
    pub from: IpAddr,
    /// ICMP or ICMPv6 type and code.
    pub icmp: (u8, u8),
    /// Where the datagram in question was going (for ping sockets the port is the sequence number).
    pub to: SocketAddr,
    /// The MTU of the next hop, for "fragmentation needed" and "packet too big".
    pub mtu: Option<u16>,
}

/// The system calls of a namespace. None of them waits: what cannot be done now is
/// [`Errno::WouldBlock`] (or [`Errno::InProgress`] for a connect).
pub trait Sys {
    /// Now.
    fn now(&self) -> Time;
    /// A random number from this application's own stream.
    fn random(&mut self) -> u64;
    /// Runs the application again at `at`; a later call replaces it, [`Time::MAX`] clears it.
    fn wake_at(&mut self, at: Time);
    /// `epoll_wait(2)` with `EPOLLET`: the next of this application's sockets whose readiness has changed since it
    /// was told here, perhaps in vain. They are kept from the first call on, so whoever asks does so in every run
    /// until there are none left.
    fn next_ready(&mut self) -> Option<SockId>;

    /// `socket(2)`.
    fn socket(&mut self, kind: SockKind, family: Family) -> Result<SockId, Errno>;
    /// `setsockopt(2)`.
    fn set(&mut self, sock: SockId, option: SockOpt) -> Result<(), Errno>;
    /// `bind(2)`; port 0 takes a free one.
    fn bind(&mut self, sock: SockId, addr: SocketAddr) -> Result<(), Errno>;
    /// `listen(2)`.
    fn listen(&mut self, sock: SockId, backlog: usize) -> Result<(), Errno>;
    /// `accept(2)`.
    fn accept(&mut self, sock: SockId) -> Result<(SockId, SocketAddr), Errno>;
    /// `connect(2)`. A stream answers `InProgress`; when it becomes writable, [`Sys::take_error`]
    /// says how it went.
    fn connect(&mut self, sock: SockId, addr: SocketAddr) -> Result<(), Errno>;
    /// `send(2)`: bytes taken. On a ping socket the payload of an echo request.
    fn send(&mut self, sock: SockId, bytes: &[u8]) -> Result<usize, Errno>;
    /// Bytes that [`Sys::send`] takes of a stream now. 0: readiness is told when there is room worth a write (as
    /// `poll(2)` has it, a third of the buffer); what does not have to be read before that, can wait where it lies.
    fn send_room(&mut self, sock: SockId) -> Result<usize, Errno>;
    /// `sendto(2)`. On a ping socket the port is the sequence number.
    fn send_to(&mut self, sock: SockId, bytes: &[u8], to: SocketAddr) -> Result<usize, Errno>;
    /// `sendmsg(2)` on a datagram socket with `IP_PKTINFO`: from this address of ours.
    fn send_from(
        &mut self,
        sock: SockId,
        bytes: &[u8],
        to: SocketAddr,
        from: IpAddr,
    ) -> Result<usize, Errno>;
    /// `recv(2)`: bytes given; 0 is the end of a stream.
    fn recv(&mut self, sock: SockId, buffer: &mut [u8]) -> Result<usize, Errno>;
    /// Reads a stream where its bytes lie, without a copy: shows `look` those that wait, or the first of them,
    /// and takes as many as it says; how many. 0 without a look is the end of the stream.
    fn recv_with(
        &mut self,
        sock: SockId,
        look: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Result<usize, Errno>;
    /// `recvmsg(2)` on a datagram or ping socket.
    fn recv_from(&mut self, sock: SockId, buffer: &mut [u8]) -> Result<Received, Errno>;
    /// `recvmsg(MSG_ERRQUEUE)`.
    fn recv_error(&mut self, sock: SockId) -> Option<PathError>;
    /// `shutdown(SHUT_WR)`.
    fn shutdown(&mut self, sock: SockId) -> Result<(), Errno>;
    /// `close(2)`.
    fn close(&mut self, sock: SockId);
    /// `poll(2)`.
    fn ready(&self, sock: SockId) -> Ready;
    /// `getsockopt(SO_ERROR)`: the pending error, which is then cleared.
    fn take_error(&mut self, sock: SockId) -> Option<Errno>;
    /// `getsockname(2)`.
    fn local_addr(&self, sock: SockId) -> Option<SocketAddr>;
    /// `getpeername(2)`.
    fn peer_addr(&self, sock: SockId) -> Option<SocketAddr>;

    /// Writes to standard output.
    fn print(&mut self, text: &str);
    /// The same with bytes that need not be text.
    fn print_bytes(&mut self, bytes: &[u8]);
    /// Writes to standard error.
    fn eprint(&mut self, text: &str);
    /// `gethostname(2)`.
    fn hostname(&self) -> String;
    /// The text of a file of the sandbox: `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`.
    fn file(&self, path: &str) -> Option<String>;
    /// The namespace's state, to print (`ip`, `netstat`, `arp`, `route`).
    fn netns(&self) -> &crate::netns::Netns;
}
