//! Sockets of the real machine, and what its errors mean to who is in the lab.

use core::net::{IpAddr, SocketAddr};
use std::io;
use std::os::fd::OwnedFd;

use emulator_core::netns::{Ruling, Unreachable};
use emulator_core::switch::DropReason;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SocketFlags, SocketType, ipproto,
};

use super::Proto;
use crate::attach::sys::hear_path_errors;

/// A socket of this kind that is connected to `to`, or about to be.
pub(super) fn connect(proto: Proto, to: SocketAddr) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (kind, protocol) = match (proto, to.ip()) {
        (Proto::Tcp, _) => (SocketType::STREAM, None),
        (Proto::Udp, _) => (SocketType::DGRAM, None),
        (Proto::Ping, IpAddr::V4(_)) => (SocketType::DGRAM, Some(ipproto::ICMP)),
        (Proto::Ping, IpAddr::V6(_)) => (SocketType::DGRAM, Some(ipproto::ICMPV6)),
    };
    let fd = rustix::net::socket_with(family, kind, flags, protocol)?;
    if proto == Proto::Tcp {
        rustix::net::sockopt::set_tcp_nodelay(&fd, true)?;
    } else {
        hear_path_errors(&fd, to.is_ipv6())?;
    }
    match rustix::net::connect(&fd, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(fd),
        Err(errno) => Err(errno.into()),
    }
}

/// Forgets what is queued of errors of the path, of which the socket has said the last: it would be ready for ever.
pub(super) fn forget_path_errors(fd: &OwnedFd) {
    let mut control = RecvAncillaryBuffer::new(&mut []);
    let flags = RecvFlags::ERRQUEUE | RecvFlags::DONTWAIT;
    while rustix::net::recvmsg(fd, &mut [], &mut control, flags).is_ok() {}
}

/// Whether this machine lets this user ping, by IPv4 or IPv6 alike.
#[must_use]
pub fn pings() -> bool {
    let flags = SocketFlags::CLOEXEC;
    let kind = SocketType::DGRAM;
    rustix::net::socket_with(AddressFamily::INET, kind, flags, Some(ipproto::ICMP)).is_ok()
}

/// What becomes of a packet for which the real machine said this.
pub(super) fn ruling(error: &io::Error) -> Ruling {
    match unreachable(error) {
        Some(Unreachable::Port) => Ruling::Reset,
        Some(why) => Ruling::Unreachable(why),
        // A time that ran out, a black hole.
        None => Ruling::Drop(DropReason::EgressPending),
    }
}

/// Why somebody is unreachable, if that is what it says.
pub(super) fn unreachable(error: &io::Error) -> Option<Unreachable> {
    match Errno::from_io_error(error)? {
        Errno::CONNREFUSED | Errno::CONNRESET => Some(Unreachable::Port),
        Errno::NETUNREACH | Errno::NETDOWN | Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT => {
            Some(Unreachable::Network)
        }
        Errno::HOSTUNREACH | Errno::HOSTDOWN => Some(Unreachable::Host),
        Errno::ACCESS | Errno::PERM => Some(Unreachable::Prohibited),
        _ => None,
    }
}
