//! The real-time loop: one thread that owns a lab and everything that is attached to it.
//!
//! ```text
//!   wait (epoll, until the lab or an alarm is due) ─► time ─► ready descriptors ─► alarms ─► a quantum of lab work ─┐
//!     ▲                                                                                                            │
//!     └────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! An [`Attachment`] is one thing that ties the lab to the real world: a published port, a proxy, a TAP, the control
//! socket. It is a state machine that is called when one of its descriptors, lab sockets, programs or its alarm
//! has something, does what can be done without waiting, and returns. All that it may touch is in its [`Cx`]. It knows the
//! lab and its socket calls, and nothing of compose files or of other attachments.
//!
//! What one writes to add a way of attaching:
//!
//! ```
//! use std::net::UdpSocket;
//! use emulator_host::reactor::{Events, Interest};
//! use emulator_host::runtime::{Attachment, Cx};
//!
//! #[derive(Debug)]
//! struct Echo(UdpSocket);
//!
//! impl Echo {
//!     fn new(cx: &mut Cx<'_>, socket: UdpSocket) -> std::io::Result<Self> {
//!         socket.set_nonblocking(true)?;
//!         cx.watch(&socket, 0, Interest::READ)?;
//!         Ok(Self(socket))
//!     }
//! }
//!
//! impl Attachment for Echo {
//!     fn ready(&mut self, _cx: &mut Cx<'_>, _key: u64, _events: Events) {
//!         let mut bytes = [0; 2048];
//!         // Bounded: others wait. What is left is told again, as epoll is level-triggered here.
//!         for _ in 0..64 {
//!             let Ok((count, from)) = self.0.recv_from(&mut bytes) else { break };
//!             let _lost = self.0.send_to(&bytes[..count], from);
//!         }
//!     }
//! }
//! ```
//!
//! and starts with `runtime.attach(|cx| Echo::new(cx, socket))`. The rules:
//!
//! - **Never block**, and never work longer than about a millisecond in one call. What blocks is done by a thread that
//!   answers through a bounded channel and [`Cx::waker`].
//! - **Nothing periodic.** A timer is set ([`Cx::wake_at`]) only while something waits for it: an idle lab sleeps.
//! - **Interest follows room.** A descriptor is watched for reading only while the lab takes what is read
//!   ([`Cx::rewatch`] costs nothing if nothing changes), so that both sides slow each other down.
//! - **A lab socket has an owner** ([`Cx::own`]): only then its readiness is told. [`Cx::close`] closes it and forgets
//!   the owner. As in the core, a call says [`WouldBlock`](emulator_core::netns::Errno::WouldBlock) and readiness is
//!   told later; it is told on every change, so it may be told in vain.
//! - **Whoever takes a watch gives it back** before its descriptor is closed.
//!
//! Time is the lab's ([`Cx::now`]), so that it stands still with the lab when the process does ([`crate::clock`]). It
//! goes on after each piece of work, or after each mark of the lab while somebody measures ([`Cx::time`]).

mod cx;

use core::fmt;
use std::io;
use std::time::{Duration, Instant};

use emulator_core::id::{AppId, CaptureId, IfId, SockId};
use emulator_core::lab::{Input, Lab, Output};
use emulator_core::switch::Time;

use crate::clock::Clock;
use crate::reactor::Events;

use cx::Core;
pub use cx::{AttachmentId, Cx};

/// How long the lab works before descriptors are looked at again.
const QUANTUM: Duration = Duration::from_millis(1);
/// Marks of the lab that are worked off between two looks at the clock.
const MARKS: u32 = 32;
/// Outputs of the lab that are told between two looks at the clock.
const TOLD: u32 = 16;

/// One way in which the lab and the real world meet. See the [module](self) for the rules.
///
/// `key` is what the attachment itself said when it began to watch or own the thing.
pub trait Attachment: fmt::Debug {
    /// A descriptor that it watches is ready.
    fn ready(&mut self, cx: &mut Cx<'_>, key: u64, events: Events) {
        let _ = (cx, key, events);
    }

    /// The readiness of a lab socket that it owns has changed.
    fn lab_ready(&mut self, cx: &mut Cx<'_>, key: u64, sock: SockId) {
        let _ = (cx, key, sock);
    }

    /// Frames wait for a raw interface that it owns; told again only after a read that found none left.
    fn frames(&mut self, cx: &mut Cx<'_>, key: u64, iface: IfId) {
        let _ = (cx, key, iface);
    }

    /// Bytes of a capture that it owns wait; told again only after they were drained.
    fn captured(&mut self, cx: &mut Cx<'_>, key: u64, capture: CaptureId) {
        let _ = (cx, key, capture);
    }

    /// A program that it owns has printed something; told again only after that was taken.
    fn printed(&mut self, cx: &mut Cx<'_>, key: u64, app: AppId) {
        let _ = (cx, key, app);
    }

    /// A program that it owns has ended; what it printed can still be taken until [`Cx::end_app`].
    fn exited(&mut self, cx: &mut Cx<'_>, key: u64, app: AppId, code: u8) {
        let _ = (cx, key, app, code);
    }

    /// Its alarm has come.
    fn alarm(&mut self, cx: &mut Cx<'_>) {
        let _ = cx;
    }

    /// Another thread rang its [`Waker`](crate::reactor::Waker).
    fn woken(&mut self, cx: &mut Cx<'_>) {
        let _ = cx;
    }

    /// It is to end: what it started, it ends. Its lab sockets and programs are closed after this, its watches
    /// forgotten, and it is dropped.
    fn end(&mut self, cx: &mut Cx<'_>) {
        let _ = cx;
    }
}

/// Why a runtime stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// This signal came.
    Signal(i32),
    /// Somebody asked for it.
    Asked,
}

/// A lab in real time. However it ends, its attachments are ended, the last first.
#[derive(Debug)]
pub struct Runtime {
    lab: Lab,
    clock: Clock,
    core: Core,
    /// The lab has nothing to do before [`Self::due`].
    idle: bool,
    /// When the lab or an alarm wants to run.
    due: Option<Time>,
}

impl Runtime {
    /// Puts a lab on the wall clock: its time goes on from where it is.
    ///
    /// # Errors
    /// If the process has no descriptors left, or the kernel is older than 5.11.
    pub fn new(lab: Lab) -> io::Result<Self> {
        let now = lab.now();
        Ok(Self {
            clock: Clock::new(now),
            core: Core::new()?,
            lab,
            idle: false,
            due: Some(now),
        })
    }

    /// The lab.
    #[must_use]
    pub const fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The lab, before it runs.
    pub const fn lab_mut(&mut self) -> &mut Lab {
        &mut self.lab
    }

    /// Attaches what `make` makes. They end in reverse order.
    ///
    /// # Errors
    /// That of `make`; what it watched and owned is given up.
    pub fn attach<A: Attachment + 'static, E>(
        &mut self,
        make: impl FnOnce(&mut Cx<'_>) -> Result<A, E>,
    ) -> Result<AttachmentId, E> {
        self.core.attach(&mut self.lab, make)
    }

    /// Runs until somebody stops it ([`Cx::stop`]), then ends all attachments.
    ///
    /// # Errors
    /// If the kernel refuses to wait.
    pub fn run(mut self) -> io::Result<Stop> {
        loop {
            if let Some(stop) = self.core.stopped() {
                return Ok(stop);
            }
            self.turn()?;
        }
    }

    /// Waits until there is something to do, and does it, at most for a quantum.
    ///
    /// # Errors
    /// If the kernel refuses to wait.
    pub fn turn(&mut self) -> io::Result<()> {
        let timeout = if self.idle {
            let due = self.due;
            due.map(|at| at.since(self.clock.now(due)))
        } else {
            Some(Duration::ZERO)
        };
        self.core.reactor.wait(timeout)?;
        let now = self.clock.now(self.due);
        self.lab.handle(now, Input::Tick);
        if self.core.has_captures() {
            self.core.set_epoch(&mut self.lab, self.clock.epoch());
        }
        self.core.tell_events(&mut self.lab);
        self.core.tell_alarms(&mut self.lab);
        self.idle = self.work();
        self.due = if self.idle {
            let alarm = self.core.alarms.first().map(|(at, _)| at);
            [self.lab.deadline(), alarm].into_iter().flatten().min()
        } else {
            Some(self.clock.last())
        };
        Ok(())
    }

    /// Works for a quantum at most; true if nothing is left to do now. Time goes on with every look at the clock.
    fn work(&mut self) -> bool {
        let end = Instant::now() + QUANTUM;
        let mut told = 0;
        loop {
            let (marks, most) = if self.core.is_timed() {
                (1, 1)
            } else {
                (MARKS, TOLD)
            };
            match self.lab.poll_within(marks) {
                Some(Output::Idle(_)) => return true,
                Some(output) => {
                    self.core.tell(&mut self.lab, output);
                    told += 1;
                    if told % most != 0 {
                        continue;
                    }
                }
                None => {}
            }
            let now = self.clock.now(Some(self.clock.last()));
            self.lab.handle(now, Input::Tick);
            if self.core.is_stopping() || Instant::now() >= end {
                return false;
            }
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.core.end_all(&mut self.lab);
    }
}
