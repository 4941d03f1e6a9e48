//! Opening a TAP that others use as well: one that is there, or, as root, a new one.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;

use super::frames::Frames;
use super::sys;

/// Where TAPs come from.
const TUN: &str = "/dev/net/tun";
/// Bytes of a name, without the zero behind it.
const NAME: usize = 15;

/// How a TAP is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opener {
    /// With a virtio header in front of each frame: checksums stay partial and super-segments cross whole.
    #[default]
    Own,
    /// By the `tun-tap` crate: frames as wires carry them.
    Plain,
}

/// Opens the TAP `name`. Where it is not there, only root may make it; it is gone then with its descriptor.
///
/// # Errors
/// A sentence that says what is missing and how it is had.
pub fn open(name: &str, opener: Opener) -> Result<Frames, String> {
    let odd = |byte: u8| !byte.is_ascii_graphic() || matches!(byte, b'/' | b':' | b'%');
    if name.is_empty() || name.len() > NAME || name.bytes().any(odd) {
        return Err(format!(
            "{name:?} is no name of an interface: 1 to {NAME} letters, digits, - and _"
        ));
    }
    is_built(opener)?;
    let opened = match opener {
        Opener::Own => own(name).map(|fd| (fd, true)),
        Opener::Plain => plain(name).map(|fd| (fd, false)),
    };
    opened
        .and_then(|(fd, vnet)| Frames::new(fd, vnet))
        .map_err(|error| refused(name, &error))
}

/// Whether this build has an opener.
pub(super) fn is_built(opener: Opener) -> Result<(), String> {
    if opener == Opener::Own || cfg!(feature = "tap") {
        return Ok(());
    }
    Err("this vethlab was built without the feature tap: its own opener is the only one".to_owned())
}

fn own(name: &str) -> io::Result<OwnedFd> {
    let tun = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(TUN)?;
    let tun = OwnedFd::from(tun);
    sys::tap(&tun, name)?;
    Ok(tun)
}

#[cfg(feature = "tap")]
fn plain(name: &str) -> io::Result<OwnedFd> {
    let made = tun_tap::Iface::without_packet_info(name, tun_tap::Mode::Tap);
    made.and_then(|tap| sys::duplicate(&tap))
}

#[cfg(not(feature = "tap"))]
fn plain(_: &str) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

fn refused(name: &str, error: &io::Error) -> String {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => {
            format!("{name}: this machine has no {TUN} ({error}); published ports work without")
        }
        Some(Errno::ACCESS) => {
            format!(
                "{name}: {TUN} may not be opened ({error}); as root `chmod 666 {TUN}`, or run as root"
            )
        }
        Some(Errno::PERM) => format!(
            "{name} is not yours ({error}): as root `ip tuntap add dev {name} mode tap user $USER` makes it so, once; \
             `vethlab attach` works without"
        ),
        Some(Errno::BUSY) => format!("{name} is in use by another process ({error})"),
        Some(Errno::INVAL) => {
            format!("{name} is there, but no TAP of a single queue ({error})")
        }
        _ => format!("{name}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_would_change_are_refused() {
        for name in [
            "",
            "sixteen-letters-",
            "tap/0",
            "tap 0",
            "tap%d",
            "tap\0",
            "täp",
        ] {
            let error = open(name, Opener::Own).unwrap_err();
            assert!(error.contains("no name of an interface"), "{error}");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        use rustix::io::Errno;
        let told = |errno: Errno| refused("tap0", &errno.into());
        assert!(told(Errno::PERM).contains("ip tuntap add dev tap0 mode tap user"));
        assert!(told(Errno::BUSY).contains("another process"));
        assert!(told(Errno::ACCESS).contains("/dev/net/tun"));
    }
}
