//! Sockets of the real machine, and what its errors mean to who is in the lab.

use core::net::{IpAddr, SocketAddr};
use std::io;
use std::os::fd::OwnedFd;

use emulator_core::netns::{Ruling, Unreachable};
use emulator_core::switch::DropReason;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use super::Proto;
use crate::attach::sys::{hear_path_errors, path_error};

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
        sockopt::set_tcp_nodelay(&fd, true)?;
    } else {
        hear_path_errors(&fd, to.is_ipv6())?;
    }
    match rustix::net::connect(&fd, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(fd),
        Err(errno) => Err(errno.into()),
    }
}

/// How far what is sent from now on may go.
pub(super) fn set_hops(fd: &OwnedFd, v6: bool, hops: u8) -> io::Result<()> {
    if v6 {
        sockopt::set_ipv6_unicast_hops(fd, Some(hops))?;
    } else {
        sockopt::set_ip_ttl(fd, u32::from(hops))?;
    }
    Ok(())
}

/// What was said of something that a socket has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// `None`: nothing that its sender is told.
    pub(super) why: Option<Unreachable>,
    /// By whom, if by somebody else than this machine.
    pub(super) by: Option<IpAddr>,
    /// The sequence number, if it was an echo request.
    pub(super) sequence: u16,
}

/// What was said next of what this socket has sent, each once.
pub(super) fn told(fd: &OwnedFd) -> Option<Told> {
    let mut echo = [0; 8];
    let said = path_error(fd, &mut echo)?;
    let by = said.icmp.map(|(.., by)| by);
    let why = match (said.icmp, by.is_some_and(|by| by.is_ipv6())) {
        (Some((11, code, _)), false) | (Some((3, code, _)), true) => {
            // Fragments that did not come together are nobody's limit.
            (code == 0).then_some(Unreachable::HopLimit)
        }
        (Some((3, 9 | 10 | 13, _)), false) => Some(Unreachable::Prohibited),
        _ => unreachable(&said.error),
    };
    Some(Told {
        why,
        by: by.filter(|by| !by.is_loopback()),
        sequence: u16::from_be_bytes([echo[6], echo[7]]),
    })
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
