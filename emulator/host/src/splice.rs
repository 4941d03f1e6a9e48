//! A real stream and a stream of the lab, tied together.
//!
//! What one gives the other takes; an end of stream is passed on as a half-close, a reset as a reset. Each direction
//! is slowed down by whoever takes its bytes: a descriptor is read only while the lab has room, the lab's bytes stay
//! where they lie until the descriptor takes them. A connection holds no buffer of ours.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use emulator_core::app::{SockOpt, Sys};
use emulator_core::id::SockId;
use emulator_core::netns::Errno;
use rustix::io::Errno as Real;
use rustix::net::{RecvFlags, SendFlags, Shutdown, sockopt};

use crate::reactor::{Events, Interest, Watch};
use crate::runtime::Cx;

/// Bytes that are read at a time: what a stream of the lab takes at once.
const CHUNK: usize = 32 << 10;

/// Bytes that a stream may have on their way to who may be outside, and needs a wake-up or two of other processes to answer:
/// with less in flight a stream waits more than it moves.
pub(crate) const ON_THE_WAY: usize = 256 << 10;

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// It does.
    On,
    /// It is over: [`Splice::close`].
    Over,
}

/// Which side's connect has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// The lab's.
    Lab,
    /// The real one.
    Real,
    /// Both are open.
    None,
}

/// Why a direction stopped for now.
enum Pumped {
    /// There is nothing more, or no room.
    Waits,
    /// Its end was passed on, or whoever takes it is gone.
    Ended,
    /// The lab's side is gone, and the real one is to be reset.
    LabGone,
    /// The real side is gone, and the lab's is to be reset.
    RealGone,
}

/// The connection.
#[derive(Debug)]
pub(crate) struct Splice {
    fd: OwnedFd,
    /// None once nothing more can be told of it.
    watch: Option<Watch>,
    sock: SockId,
    opening: Opening,
    /// The lab takes no more.
    waits: bool,
    /// The descriptor was told of meanwhile: it is not watched until the lab takes more. While the lab keeps up, the
    /// watch stays as it is.
    pressed: bool,
    up_ended: bool,
    down_ended: bool,
    /// The descriptor takes no more.
    full: bool,
}

impl Splice {
    /// Ties a descriptor, which is watched as `watch`, to a stream of the lab, which is owned.
    pub(crate) fn new(fd: OwnedFd, watch: Watch, sock: SockId, opening: Opening) -> Self {
        Self {
            fd,
            watch: Some(watch),
            sock,
            opening,
            waits: false,
            pressed: false,
            up_ended: false,
            down_ended: false,
            full: false,
        }
    }

    /// What a descriptor is watched for while a side opens.
    pub(crate) const fn interest(opening: Opening) -> Interest {
        match opening {
            // Only that it is gone already.
            Opening::Lab => Interest::NONE,
            Opening::Real => Interest::WRITE,
            Opening::None => Interest::READ,
        }
    }

    /// The descriptor is ready.
    pub(crate) fn ready(&mut self, cx: &mut Cx<'_>, events: Events) -> Course {
        if self.opening == Opening::Real && (events.write || events.hup || events.error) {
            if !matches!(sockopt::socket_error(&self.fd), Ok(Ok(()))) {
                return self.reset_lab(cx);
            }
            self.opening = Opening::None;
            return self.go(cx, true);
        }
        if events.error {
            return self.reset_lab(cx);
        }
        if events.hup {
            // Both halves are closed: what waits can be read, and it would be told again and again.
            self.unwatch(cx);
        }
        self.pressed = self.waits && events.read;
        match self.opening {
            Opening::None => self.go(cx, events.read || events.hup),
            _ => Course::On,
        }
    }

    /// The stream of the lab is ready.
    pub(crate) fn lab_ready(&mut self, cx: &mut Cx<'_>) -> Course {
        if self.opening == Opening::Lab {
            let mut sys = cx.lab.sys(self.sock.ns);
            let ready = sys.ready(self.sock);
            if !ready.writable && !ready.error && !ready.hup {
                return Course::On;
            }
            if sys.take_error(self.sock).is_some() {
                return self.reset_real();
            }
            self.opening = Opening::None;
            return self.go(cx, true);
        }
        if self.opening == Opening::Real {
            return Course::On;
        }
        if self.down_ended && cx.lab.sys(self.sock.ns).ready(self.sock).hup {
            // It ended its half before, and is gone now.
            return self.reset_real();
        }
        // A descriptor that has more says so itself, unless it waits for room here.
        self.go(cx, self.waits || self.watch.is_none())
    }

    /// Moves what can be moved.
    pub(crate) fn go(&mut self, cx: &mut Cx<'_>, read: bool) -> Course {
        if read && !self.up_ended {
            match self.up(cx) {
                Pumped::Waits => {}
                Pumped::Ended => self.up_ended = true,
                Pumped::LabGone => return self.reset_real(),
                Pumped::RealGone => return self.reset_lab(cx),
            }
        }
        if !self.down_ended {
            match self.down(cx) {
                Pumped::Waits => {}
                Pumped::Ended => self.down_ended = true,
                Pumped::LabGone => return self.reset_real(),
                Pumped::RealGone => return self.reset_lab(cx),
            }
        }
        if self.up_ended && self.down_ended {
            return Course::Over;
        }
        let held = self.waits && self.pressed;
        let interest = Interest::of(!self.up_ended && !held, self.full && !self.down_ended);
        if let Some(watch) = self.watch {
            // A descriptor of ours that is watched can be watched for something else.
            let _told = cx.rewatch(watch, &self.fd, interest);
        }
        Course::On
    }

    /// From the descriptor to the lab, as much as it has room for.
    fn up(&mut self, cx: &mut Cx<'_>) -> Pumped {
        let mut sys = cx.lab.sys(self.sock.ns);
        let mut buffer = [MaybeUninit::<u8>::uninit(); CHUNK];
        loop {
            let room = match sys.send_room(self.sock) {
                Ok(room) => room.min(CHUNK),
                // What it has said still goes the other way, with its end or its reset.
                Err(_) => return Pumped::Ended,
            };
            self.waits = room == 0;
            if self.waits {
                return Pumped::Waits;
            }
            let bytes = match rustix::net::recv(&self.fd, &mut buffer[..room], RecvFlags::empty()) {
                Ok(((bytes, _), _)) => bytes,
                Err(Real::AGAIN) => return Pumped::Waits,
                Err(Real::INTR) => continue,
                Err(_) => return Pumped::RealGone,
            };
            if bytes.is_empty() {
                // What is gone is told by the other direction.
                let _gone = sys.shutdown(self.sock);
                return Pumped::Ended;
            }
            // There was room for it. A connection that ended meanwhile says so the other way.
            let sent = sys.send(self.sock, bytes);
            debug_assert!(sent.is_err() || sent == Ok(bytes.len()), "{sent:?}");
            // Whoever has more is told of again.
            if bytes.len() < room && self.watch.is_some() {
                return Pumped::Waits;
            }
        }
    }

    /// From the lab to the descriptor, without a copy of ours.
    fn down(&mut self, cx: &mut Cx<'_>) -> Pumped {
        let mut sys = cx.lab.sys(self.sock.ns);
        let fd = &self.fd;
        loop {
            let mut looked = false;
            let mut stopped = None;
            let taken = sys.recv_with(self.sock, &mut |bytes| {
                looked = true;
                match rustix::net::send(fd, bytes, SendFlags::NOSIGNAL) {
                    Ok(count) => {
                        if count < bytes.len() {
                            stopped = Some(Real::AGAIN);
                        }
                        count
                    }
                    Err(error) => {
                        stopped = Some(error);
                        0
                    }
                }
            });
            self.full = stopped == Some(Real::AGAIN);
            match (taken, stopped) {
                (_, Some(Real::AGAIN)) => return Pumped::Waits,
                (_, None | Some(Real::INTR)) if looked => {}
                (_, Some(_)) => return Pumped::RealGone,
                (Ok(_), None) => {
                    let _gone = rustix::net::shutdown(fd, Shutdown::Write);
                    return Pumped::Ended;
                }
                (Err(Errno::WouldBlock), None) => return Pumped::Waits,
                (Err(_), None) => return Pumped::LabGone,
            }
        }
    }

    fn unwatch(&mut self, cx: &mut Cx<'_>) {
        if let Some(watch) = self.watch.take() {
            cx.unwatch(watch, &self.fd);
        }
    }

    fn reset_lab(&mut self, cx: &mut Cx<'_>) -> Course {
        // A stream that is gone cannot be reset any more.
        let _gone = cx
            .lab
            .sys(self.sock.ns)
            .set(self.sock, SockOpt::LingerZero(true));
        Course::Over
    }

    fn reset_real(&mut self) -> Course {
        reset(&self.fd);
        Course::Over
    }

    /// Closes both sides.
    pub(crate) fn close(mut self, cx: &mut Cx<'_>) {
        self.unwatch(cx);
        cx.close(self.sock);
    }
}

/// Has a stream reset when it is closed.
pub(crate) fn reset(fd: &OwnedFd) {
    // Whatever is wrong with it, it is closed all the same.
    let _gone = sockopt::set_socket_linger(fd, Some(Duration::ZERO));
}

/// Whether a call failed because there are no descriptors, or no memory, for now.
pub(crate) fn is_starved(error: &io::Error) -> bool {
    let code = error.raw_os_error().unwrap_or_default();
    [Real::MFILE, Real::NFILE, Real::NOBUFS, Real::NOMEM]
        .iter()
        .any(|errno| errno.raw_os_error() == code)
}
