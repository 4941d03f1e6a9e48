//! The kernel's interfaces that no safe binding offers: the only unsafe code of the project.
#![expect(unsafe_code, reason = "what no safe binding offers")]
#![deny(unsafe_op_in_unsafe_fn)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};
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

/// Has the program of a command killed when this process ends, however it ends.
pub(super) fn end_with_us(command: &mut Command) {
    let us = rustix::process::getpid();
    let tie = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // We may have ended before that was said.
        if getppid() == Some(us) {
            Ok(())
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    };
    // SAFETY: between fork and exec it makes two system calls and allocates nothing.
    unsafe { command.pre_exec(tie) };
}
