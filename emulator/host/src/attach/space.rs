//! The side that asks: network namespaces with an `eth0` whose frames are a descriptor's.

use core::net::IpAddr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ipnet::IpNet;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, unmount,
};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType};
use rustix::process::{getegid, geteuid};
use rustix::thread::UnshareFlags;

use super::netlink::Netlink;
use super::sys;

/// Its name inside.
const ETH0: &str = "eth0";
/// The other end of a veth pair, in a network namespace of its own.
const PORT: &str = "port";
/// Bytes that the other end takes: it never is the narrower one.
const PORT_MTU: u32 = 65_535;

/// Bytes that may wait at a packet socket, as far as `net.core.rmem_max` allows.
const ROOM: usize = 8 << 20;
/// Frames that may wait at a TAP, where a kernel has 500: what a program sends in 100 ms at 500 Mbit/s. The lab may have to
/// wait so long for a core, and the kernel does not make the sender wait.
const QUEUE: u32 = 4096;

/// What carries the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// A TAP, through `/dev/net/tun`.
    Tap,
    /// A veth pair, with a packet socket at its other end.
    Veth,
}

/// What `eth0` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eth0 {
    /// Its MAC.
    pub mac: [u8; 6],
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its addresses; without one of IPv6, IPv6 is off there.
    pub addresses: Vec<IpNet>,
    /// The gateways of its default routes.
    pub gateways: Vec<IpAddr>,
}

/// The files of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Its name of itself, without a newline.
    pub hostname: String,
    /// `/etc/hosts`.
    pub hosts: String,
    /// `/etc/resolv.conf`.
    pub resolv_conf: String,
}

/// Namespaces of one's own, with an `eth0` that is not up yet. The process is in them from then on, and those that
/// it starts.
#[derive(Debug)]
pub struct Space {
    means: Means,
    /// In a user namespace.
    is_user: bool,
    frames: OwnedFd,
    dns: Option<(UdpSocket, TcpListener)>,
    netlink: Netlink,
}

fn on<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}

impl Space {
    /// Leaves the namespaces of this process, which must have no other thread. As root they are plain ones; else, or
    /// where root may not, in a user namespace, in which the user is root if `as_root`, else who it is.
    ///
    /// # Errors
    /// A sentence that says what is missing and what works without it.
    pub fn enter(as_root: bool) -> Result<Self, String> {
        let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        if threads > 1 {
            return Err(format!(
                "a process of {threads} threads cannot leave its namespaces"
            ));
        }
        let all = UnshareFlags::NEWNET
            | UnshareFlags::NEWNS
            | UnshareFlags::NEWUTS
            | UnshareFlags::NEWPID;
        let is_user = !(geteuid().is_root() && sys::unshare(all).is_ok());
        if is_user {
            let (user, group) = (geteuid(), getegid());
            sys::unshare(all | UnshareFlags::NEWUSER).map_err(|error| closed(&error))?;
            let inner = |own: u32| if as_root { 0 } else { own };
            let (user, group) = (user.as_raw(), group.as_raw());
            fs::write("/proc/self/uid_map", format!("{} {user} 1", inner(user)))
                .and_then(|()| fs::write("/proc/self/setgroups", "deny"))
                .and_then(|()| {
                    fs::write("/proc/self/gid_map", format!("{} {group} 1", inner(group)))
                })
                .map_err(|error| closed(&error))?;
        }
        let tun = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open("/dev/net/tun");
        let tap = tun.ok().map(OwnedFd::from);
        let tap = tap.filter(|tun| sys::tap(tun, ETH0).is_ok());
        let (means, frames, netlink) = match tap {
            Some(tap) => (Means::Tap, tap, Netlink::new().map_err(on("netlink"))?),
            None => {
                let (frames, netlink) = veth().map_err(on("no veth pair could be made"))?;
                (Means::Veth, frames, netlink)
            }
        };
        let lo = netlink.index("lo").and_then(|lo| netlink.up(lo));
        lo.map_err(on("lo does not come up"))?;
        sysctl("net/ipv4/ip_unprivileged_port_start", "0");
        let group = getegid().as_raw();
        sysctl("net/ipv4/ping_group_range", &format!("{group} {group}"));
        let server = ("127.0.0.11", 53);
        let dns = UdpSocket::bind(server).and_then(|udp| Ok((udp, TcpListener::bind(server)?)));
        Ok(Self {
            means,
            is_user,
            frames,
            dns: dns.ok(),
            netlink,
        })
    }

    /// What carries the frames.
    #[must_use]
    pub const fn means(&self) -> Means {
        self.means
    }

    /// Whether it is a user namespace.
    #[must_use]
    pub const fn is_user(&self) -> bool {
        self.is_user
    }

    /// What is handed over: the frames of `eth0`, each with a virtio header in front, then the UDP and the TCP socket
    /// of 127.0.0.11:53.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.frames.as_fd()];
        if let Some((udp, tcp)) = &self.dns {
            all.extend([udp.as_fd(), tcp.as_fd()]);
        }
        all
    }

    /// Makes `eth0` what it is to be and brings it up, and gives the container's files to those that are started from
    /// now on. The descriptors are closed here: they are the other side's. Returns the files that could not be given.
    ///
    /// # Errors
    /// A sentence.
    pub fn configure(self, eth0: &Eth0, files: &Files) -> Result<Vec<&'static str>, String> {
        let link = &self.netlink;
        let index = link.index(ETH0).map_err(on("eth0"))?;
        link.set(index, eth0.mac, eth0.mtu)
            .map_err(on("eth0 does not take its MAC and MTU"))?;
        // What a kernel does not allow it has less of.
        let _less = link.queue(index, QUEUE);
        let v6 = eth0.addresses.iter().any(|net| net.addr().is_ipv6());
        sysctl("net/ipv6/conf/eth0/accept_ra", "0");
        sysctl(
            "net/ipv6/conf/eth0/disable_ipv6",
            if v6 { "0" } else { "1" },
        );
        link.up(index).map_err(on("eth0 does not come up"))?;
        for address in &eth0.addresses {
            link.address(index, *address)
                .map_err(on("eth0 does not take its address"))?;
        }
        for via in &eth0.gateways {
            link.default_route(index, *via)
                .map_err(on("no default route"))?;
        }
        // A name of another is no obstacle.
        let _named = rustix::system::sethostname(files.hostname.as_bytes());
        Ok(lay(files))
    }
}

fn closed(error: &io::Error) -> String {
    format!(
        "no namespaces here ({error}): it takes root, or user namespaces that are open to users (a container's default \
         seccomp profile closes them; so do kernel.apparmor_restrict_unprivileged_userns=1 and \
         user.max_user_namespaces=0); without, published ports on loopback work, so does `vethlab up --proxy web:127.0.0.1:1080` \
         for programs that know SOCKS5 or HTTP proxies, and `vethlab exec` runs the lab's own tools"
    )
}

/// Writes a setting of this network namespace. Where `/proc/sys` is not writable it stays as it is.
fn sysctl(name: &str, value: &str) {
    let _kept = fs::write(Path::new("/proc/sys").join(name), value);
}

/// A veth pair: one end becomes `eth0` of a new network namespace, into which this process goes; the other stays
/// behind in the old one, which lasts as long as the packet socket there does.
pub(super) fn veth() -> io::Result<(OwnedFd, Netlink)> {
    let behind = Netlink::new()?;
    behind.veth(PORT, ETH0, PORT_MTU)?;
    let (port, eth0) = (behind.index(PORT)?, behind.index(ETH0)?);
    // The port only carries: it has no stack of its own to speak with.
    sysctl("net/ipv6/conf/port/disable_ipv6", "1");
    sysctl("net/ipv4/conf/port/arp_ignore", "8");
    let all = (libc::ETH_P_ALL as u16).to_be();
    let socket = rustix::net::socket_with(
        AddressFamily::PACKET,
        SocketType::RAW,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        core::num::NonZeroU32::new(u32::from(all)).map(Protocol::from_raw),
    )?;
    // As much as there may be: what finds no room there is lost, as a veth pair does not wait.
    let _less = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, ROOM);
    sys::bind_packet(&socket, port)?;
    behind.up(port)?;
    sys::unshare(UnshareFlags::NEWNET)?;
    let here = File::open("/proc/self/ns/net")?;
    behind.give(eth0, here.as_fd())?;
    Ok((socket, Netlink::new()?))
}

/// Lays a container's files over those of this mount namespace; those that could not be are returned.
fn lay(files: &Files) -> Vec<&'static str> {
    let hostname = format!("{}\n", files.hostname);
    let all = [
        ("/etc/hosts", &files.hosts),
        ("/etc/resolv.conf", &files.resolv_conf),
        ("/etc/hostname", &hostname),
    ];
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    // They live in a file system of their own, which is nowhere to be seen but through them.
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let made = mount_change("/", private)
        .and_then(|()| mount("tmpfs", "/tmp", "tmpfs", flags, Some(c"mode=0755")));
    if made.is_err() {
        return all.map(|(path, _)| path).to_vec();
    }
    let mut left = Vec::new();
    for (place, text) in all {
        let own = Path::new("/tmp").join(place.trim_start_matches("/etc/"));
        let laid =
            fs::write(&own, text).and_then(|()| mount_bind(&own, place).map_err(io::Error::from));
        if laid.is_err() {
            left.push(place);
        }
    }
    if sys_of_here().is_err() {
        left.push("/sys");
    }
    let _there = unmount("/tmp", UnmountFlags::DETACH);
    left
}

/// Mounts the `/sys` of this network namespace, with the control groups that are in the one before.
fn sys_of_here() -> io::Result<()> {
    let (groups, kept) = ("/sys/fs/cgroup", "/tmp/cgroup");
    let kept = fs::create_dir(kept)
        .and_then(|()| mount_bind_recursive(groups, kept).map_err(io::Error::from))
        .is_ok()
        .then_some(kept);
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("sysfs", "/sys", "sysfs", flags, None)?;
    if let Some(kept) = kept {
        // Whoever wants to know of them has to do without, where that is refused.
        let _without = mount_bind_recursive(kept, groups);
    }
    Ok(())
}
