//! The kernel's interfaces that no safe binding offers: the only unsafe code of the project.
#![expect(unsafe_code, reason = "what no safe binding offers")]
#![deny(unsafe_op_in_unsafe_fn)]

use core::net::IpAddr;
use std::io;
use std::mem;
#[cfg(feature = "tap")]
use std::os::fd::BorrowedFd;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::mount::{MountFlags, mount};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// `TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6`: partial checksums and super-segments of TCP cross as they are.
const OFFLOADS: libc::c_uint = 0x01 | 0x02 | 0x04;
/// `PACKET_VNET_HDR`.
const PACKET_VNET_HDR: libc::c_int = 15;
/// `PACKET_IGNORE_OUTGOING`.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

fn checked(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Leaves namespaces. Of the caller's thread only: it has to be the only one.
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    if flags.contains(UnshareFlags::FILES) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: what makes it unsafe is a table of descriptors of one's own, which is refused above.
    unsafe { unshare_unsafe(flags) }.map_err(io::Error::from)
}

/// Makes an open `/dev/net/tun` the TAP `name`, whose frames have a virtio header of 10 bytes in front.
pub(super) fn tap(tun: &OwnedFd, name: &str) -> io::Result<()> {
    // SAFETY: `ifreq` is a struct of integers and a union of such, for which zero is a value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // The last byte stays 0.
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags =
        (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
    let fd = tun.as_raw_fd();
    // SAFETY: the descriptor is open, and the kernel reads and writes one `ifreq`, which lives till after the call.
    checked(unsafe { libc::ioctl(fd, libc::TUNSETIFF, &raw mut request) })?;
    let size: libc::c_int = super::vnet::LEN as libc::c_int;
    // SAFETY: the kernel reads one int, which lives till after the call.
    checked(unsafe { libc::ioctl(fd, libc::TUNSETVNETHDRSZ, &raw const size) })?;
    // SAFETY: the argument is a number, no address.
    checked(unsafe { libc::ioctl(fd, libc::TUNSETOFFLOAD, libc::c_ulong::from(OFFLOADS)) })
}

/// Has a packet socket see the frames that arrive at an interface, each with a virtio header of 10 bytes in front.
pub(super) fn bind_packet(socket: impl AsFd, interface: u32) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    for option in [PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING] {
        let on: libc::c_int = 1;
        // SAFETY: the kernel reads one int of the size that is stated, which lives till after the call.
        checked(unsafe {
            libc::setsockopt(
                fd,
                libc::SOL_PACKET,
                option,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        })?;
    }
    // SAFETY: `sockaddr_ll` is a struct of integers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as libc::c_ushort;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = interface as libc::c_int;
    // SAFETY: the kernel reads an address of the size that is stated, which lives till after the call.
    checked(unsafe {
        libc::bind(
            fd,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    })
}

/// Has a socket say what the path to its peer answers, besides what the peer itself does (`IP_RECVERR`).
pub(crate) fn hear_path_errors(socket: impl AsFd, v6: bool) -> io::Result<()> {
    let (level, option) = if v6 {
        (libc::SOL_IPV6, libc::IPV6_RECVERR)
    } else {
        (libc::SOL_IP, libc::IP_RECVERR)
    };
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads one int of the size that is stated, which lives till after the call.
    checked(unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })
}

/// An error of the path, as a socket that [hears](hear_path_errors) them queues it.
#[derive(Debug)]
pub(crate) struct PathError {
    /// What a send or a receive would have said.
    pub(crate) error: io::Error,
    /// Type and code of the message of ICMP or ICMPv6, and who sent it. `None`: this machine says so.
    pub(crate) icmp: Option<(u8, u8, IpAddr)>,
}

/// Takes the next error of the path off a socket's queue. The front of what the socket had sent goes into `quoted`: of a
/// datagram its payload, of an echo request all.
pub(crate) fn path_error(socket: impl AsFd, quoted: &mut [u8]) -> Option<PathError> {
    let mut control = [0_u64; 32];
    let mut part = libc::iovec {
        iov_base: quoted.as_mut_ptr().cast(),
        iov_len: quoted.len(),
    };
    // SAFETY: `msghdr` is a struct of integers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    let fd = socket.as_fd().as_raw_fd();
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: the kernel writes into the two buffers, no more than the lengths that are stated; both live till after the call.
    if unsafe { libc::recvmsg(fd, &raw mut message, flags) } < 0 {
        return None;
    }
    // SAFETY: the kernel has filled `control`, which is aligned for it, with as much as `msg_controllen` says.
    let first = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    if first.is_null() {
        return Some(queued(&[]));
    }
    // SAFETY: `first` is not null, so that there is a header in `control`.
    let (data, length) = unsafe { (libc::CMSG_DATA(first), (*first).cmsg_len as usize) };
    let begin = data.addr() - control.as_ptr().addr();
    let head = data.addr() - first.addr();
    let bytes: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let end = (begin + length.saturating_sub(head)).min(bytes.len());
    Some(queued(bytes.get(begin..end).unwrap_or_default()))
}

/// Reads a `sock_extended_err` and the address behind it.
fn queued(bytes: &[u8]) -> PathError {
    const ICMP: u8 = 2;
    const ICMP6: u8 = 3;
    let number = bytes
        .first_chunk::<4>()
        .map_or(0, |it| i32::from_ne_bytes(*it));
    let family = bytes
        .get(16..18)
        .map_or(0, |it| i32::from(u16::from_ne_bytes([it[0], it[1]])));
    let by = match family {
        libc::AF_INET => bytes
            .get(20..24)
            .and_then(|it| Some(IpAddr::from(*it.first_chunk::<4>()?))),
        libc::AF_INET6 => bytes
            .get(24..40)
            .and_then(|it| Some(IpAddr::from(*it.first_chunk::<16>()?))),
        _ => None,
    };
    let icmp = match (bytes.get(4..7), by) {
        (Some(&[ICMP | ICMP6, kind, code]), Some(by)) => Some((kind, code, by)),
        _ => None,
    };
    PathError {
        error: io::Error::from_raw_os_error(number),
        icmp,
    }
}

/// Has the process of a command be the first of a PID namespace that was left for: it sees the `/proc` of that, where one
/// may be mounted, ends when this process does, however that ends, and inherits `lifeline` and the standard streams.
pub(super) fn as_first(command: &mut Command, lifeline: impl AsFd) {
    let lifeline = lifeline.as_fd().as_raw_fd();
    let prepare = move || {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        // Where it may not be mounted, the numbers there are those outside.
        let _outer = mount(c"proc", c"/proc", c"proc", flags, None);
        set_parent_process_death_signal(Some(Signal::KILL))?;
        on_exec_close_rest()?;
        // SAFETY: the call changes a flag of a number, which is a descriptor or is refused.
        checked(unsafe { libc::fcntl(lifeline, libc::F_SETFD, 0) })
    };
    // SAFETY: between fork and exec it makes system calls with constant arguments and allocates nothing.
    unsafe { command.pre_exec(prepare) };
}

/// Has the program of a command inherit no descriptors but the standard streams.
pub(crate) fn close_rest(command: &mut Command) {
    // SAFETY: between fork and exec it makes one system call and allocates nothing.
    unsafe { command.pre_exec(on_exec_close_rest) };
}

/// Every descriptor but the standard streams is closed at the next exec; until then whoever uses one still has it.
fn on_exec_close_rest() -> io::Result<()> {
    // SAFETY: it only sets a flag on this process's descriptors, which takes effect at exec, when nobody is left
    // who uses one.
    let closed = unsafe {
        // By its number, as musl has no function for it.
        libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    match closed {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Another descriptor of what `tap` has open, which is gone with the last of them.
#[cfg(feature = "tap")]
pub(super) fn duplicate(tap: &impl AsRawFd) -> io::Result<OwnedFd> {
    // SAFETY: `tap` keeps it open till after the call.
    unsafe { BorrowedFd::borrow_raw(tap.as_raw_fd()) }.try_clone_to_owned()
}

/// A descriptor that this process was started with.
pub(super) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the call reads a flag of a number, which is a descriptor or is refused.
    checked(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    // SAFETY: it is open, and was passed by whoever started this process for this one use.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
