//! The ways in which a real program gets a network of the lab, tried one by one. Each trial is for a process of its own that
//! ends after it: what it made goes with it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process;

use rustix::process::{getegid, geteuid};
use rustix::thread::UnshareFlags;

use super::space::veth;
use super::sys;
use super::tap::{self, Opener};

/// The TAP that a trial makes.
const NAME: &str = "eth0";
/// `IFF_TAP` among the flags of a TUN or TAP interface.
const TAP: u32 = 0x0002;
/// `IFF_MULTI_QUEUE` there: neither opener takes one of those.
const MANY_QUEUES: u32 = 0x0100;

/// A way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A TAP in a network namespace that root makes.
    RootTap,
    /// A TAP of this machine: for root a new one, else one that belongs to this user.
    BareTap(Opener),
    /// A TAP in a user namespace.
    UserTap,
    /// A veth pair in a user namespace, with a packet socket at its other end.
    UserVeth,
}

impl Way {
    /// Tries it, and says how it is here.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn attempt(self) -> Result<String, String> {
        match self {
            Self::RootTap => {
                if !geteuid().is_root() {
                    return Err("this user is not root".to_owned());
                }
                let all = UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWUTS;
                sys::unshare(all).map_err(|error| {
                    format!(
                        "root makes no network namespace here ({error}): CAP_SYS_ADMIN is missing"
                    )
                })?;
                make_tap()?;
                Ok("a TAP in a network namespace of its own".to_owned())
            }
            Self::BareTap(opener) => bare_tap(opener),
            Self::UserTap => {
                enter_user_namespace()?;
                make_tap()?;
                Ok("a TAP in a user namespace of its own".to_owned())
            }
            Self::UserVeth => {
                enter_user_namespace()?;
                veth().map_err(|error| {
                    format!("no veth pair with a packet socket can be made there ({error})")
                })?;
                Ok("a veth pair in a user namespace, its frames by a packet socket".to_owned())
            }
        }
    }
}

fn enter_user_namespace() -> Result<(), String> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let all = UnshareFlags::NEWUSER | UnshareFlags::NEWNET;
    sys::unshare(all)
        .and_then(|()| fs::write("/proc/self/uid_map", format!("0 {user} 1")))
        .and_then(|()| fs::write("/proc/self/setgroups", "deny"))
        .and_then(|()| fs::write("/proc/self/gid_map", format!("0 {group} 1")))
        .map_err(|error| {
            format!(
                "user namespaces are closed to this user ({error}){}",
                hint()
            )
        })
}

/// Which setting closes them, if one does.
fn hint() -> String {
    let is = |name: &str, value: &str| {
        let text = fs::read_to_string(Path::new("/proc/sys").join(name));
        text.is_ok_and(|text| text.trim() == value)
    };
    let closing = [
        ("kernel/apparmor_restrict_unprivileged_userns", "1"),
        ("kernel/unprivileged_userns_clone", "0"),
        ("user/max_user_namespaces", "0"),
    ];
    let found = closing.into_iter().find(|(name, value)| is(name, value));
    found.map_or_else(
        || ": a container's seccomp profile, perhaps".to_owned(),
        |(name, value)| format!(": {}={value}", name.replace('/', ".")),
    )
}

fn open_tun() -> Result<OwnedFd, String> {
    let tun = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun");
    tun.map(OwnedFd::from)
        .map_err(|error| format!("/dev/net/tun cannot be opened ({error})"))
}

fn make_tap() -> Result<(), String> {
    let tun = open_tun()?;
    sys::tap(&tun, NAME).map_err(|error| format!("/dev/net/tun makes no TAP ({error})"))
}

/// Root makes one where `vethlab up` would, for a moment.
fn bare_tap(opener: Opener) -> Result<String, String> {
    tap::is_built(opener)?;
    if !geteuid().is_root() {
        return own_tap();
    }
    open_tun()?;
    let _gone = tap::open(&format!("vethlab-{}", process::id()), opener)?;
    Ok("root makes one where there is none".to_owned())
}

/// Whether there is a TAP of this user. It is not touched: somebody may be using it.
fn own_tap() -> Result<String, String> {
    open_tun()?;
    let user = geteuid().as_raw();
    let read = |iface: &Path, file: &str| {
        let text = fs::read_to_string(iface.join(file)).ok()?;
        Some(text.trim().to_owned())
    };
    let is_own = |iface: &Path| {
        let flags = read(iface, "tun_flags")?;
        let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok()?;
        let owner = read(iface, "owner")?.parse::<u32>().ok()?;
        (flags & (TAP | MANY_QUEUES) == TAP && owner == user).then_some(())
    };
    let all: io::Result<Vec<_>> = fs::read_dir("/sys/class/net").and_then(Iterator::collect);
    let mut all = all.unwrap_or_default().into_iter();
    if let Some(found) = all.find(|iface| is_own(&iface.path()).is_some()) {
        let name = found.file_name().to_string_lossy().into_owned();
        return Ok(format!("{name} belongs to this user"));
    }
    Err(format!(
        "no TAP belongs to this user: root makes one by `ip tuntap add dev tap0 mode tap user {user}`"
    ))
}
