//! What an attachment may touch, and who owns what.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use emulator_core::app::Sys;
use emulator_core::id::{AppId, CaptureId, IfId, SockId};
use emulator_core::lab::{Lab, Output};
use emulator_core::switch::Time;
use emulator_core::switch::agenda::Agenda;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{Attachment, Stop};
use crate::reactor::{Interest, Owner, Reactor, Waker, Watch};

/// How far a capture's clock may be from the wall clock.
const APART: Duration = Duration::from_millis(5);

/// An attachment's number. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttachmentId(u32);

/// Everything of a runtime but the lab and the clock.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) reactor: Reactor,
    pub(super) alarms: Agenda,
    /// By number; one that is being called is not in its place.
    attachments: Vec<Option<Box<dyn Attachment>>>,
    socks: HashMap<SockId, Owner, FixedState>,
    apps: BTreeMap<AppId, Owner>,
    ifaces: BTreeMap<IfId, Owner>,
    captures: BTreeMap<CaptureId, Owner>,
    /// What the captures take for the wall clock at the lab's zero; `None` if one of them has not been told.
    epoch: Option<Duration>,
    /// How many measure how long something takes in the lab.
    timed: u32,
    /// Those that are to end when their call returns.
    ending: Vec<u32>,
    stop: Option<Stop>,
}

impl Core {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            reactor: Reactor::new()?,
            alarms: Agenda::default(),
            attachments: Vec::new(),
            socks: HashMap::with_hasher(FixedState::default()),
            apps: BTreeMap::new(),
            ifaces: BTreeMap::new(),
            captures: BTreeMap::new(),
            epoch: None,
            timed: 0,
            ending: Vec::new(),
            stop: None,
        })
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    pub(super) const fn is_timed(&self) -> bool {
        self.timed > 0
    }

    pub(super) fn has_captures(&self) -> bool {
        !self.captures.is_empty()
    }

    /// Tells the captures what the wall clock said at the lab's zero, if that is news.
    pub(super) fn set_epoch(&mut self, lab: &mut Lab, epoch: Duration) {
        if self
            .epoch
            .is_some_and(|known| known.abs_diff(epoch) <= APART)
        {
            return;
        }
        self.epoch = Some(epoch);
        for capture in self.captures.keys() {
            lab.net_mut().capture_epoch(*capture, epoch);
        }
    }

    pub(super) fn stopped(&mut self) -> Option<Stop> {
        self.stop.take()
    }

    pub(super) fn attach<A: Attachment + 'static, E>(
        &mut self,
        lab: &mut Lab,
        make: impl FnOnce(&mut Cx<'_>) -> Result<A, E>,
    ) -> Result<AttachmentId, E> {
        let me = self.attachments.len() as u32;
        self.attachments.push(None);
        let mut cx = Cx {
            lab,
            core: self,
            me,
        };
        match make(&mut cx) {
            Ok(attachment) => {
                self.attachments[me as usize] = Some(Box::new(attachment));
                Ok(AttachmentId(me))
            }
            Err(error) => {
                self.forget(lab, me);
                Err(error)
            }
        }
    }

    /// Calls an attachment, if it is still there and not being called.
    fn call(&mut self, lab: &mut Lab, me: u32, act: impl FnOnce(&mut dyn Attachment, &mut Cx<'_>)) {
        let place = self.attachments.get_mut(me as usize);
        let Some(mut attachment) = place.and_then(Option::take) else {
            return;
        };
        let mut cx = Cx {
            lab,
            core: self,
            me,
        };
        act(&mut *attachment, &mut cx);
        self.attachments[me as usize] = Some(attachment);
        while let Some(ending) = self.ending.pop() {
            self.end(lab, ending);
        }
    }

    fn end(&mut self, lab: &mut Lab, me: u32) {
        let place = self.attachments.get_mut(me as usize);
        let Some(mut attachment) = place.and_then(Option::take) else {
            return;
        };
        let mut cx = Cx {
            lab,
            core: self,
            me,
        };
        attachment.end(&mut cx);
        self.forget(lab, me);
    }

    /// Gives up what an attachment watched and owned.
    fn forget(&mut self, lab: &mut Lab, me: u32) {
        self.alarms.set(me, Time::MAX);
        self.reactor.forget_all(me);
        self.socks.retain(|sock, owner| {
            let other = owner.attachment != me;
            if !other {
                lab.sys(sock.ns).close(*sock);
            }
            other
        });
        self.apps.retain(|app, owner| {
            let other = owner.attachment != me;
            if !other {
                lab.end_app(*app);
            }
            other
        });
        self.captures.retain(|capture, owner| {
            let other = owner.attachment != me;
            if !other {
                // Nobody is there who would take the rest.
                let _rest = lab.net_mut().capture_close(*capture);
            }
            other
        });
        self.ifaces.retain(|iface, owner| {
            let other = owner.attachment != me;
            if !other {
                lab.net_mut().raw_tell(*iface, false);
            }
            other
        });
    }

    pub(super) fn end_all(&mut self, lab: &mut Lab) {
        for me in (0..self.attachments.len() as u32).rev() {
            self.end(lab, me);
        }
    }

    pub(super) fn tell_events(&mut self, lab: &mut Lab) {
        for me in self.reactor.rung() {
            self.call(lab, me, |attachment, cx| attachment.woken(cx));
        }
        for index in 0..self.reactor.found() {
            if let Some((owner, events)) = self.reactor.event(index) {
                self.call(lab, owner.attachment, |attachment, cx| {
                    attachment.ready(cx, owner.key, events);
                });
            }
        }
    }

    pub(super) fn tell_alarms(&mut self, lab: &mut Lab) {
        let now = lab.now();
        // Each once: one that is set to now again has its turn in the next round.
        for _ in 0..self.alarms.len() {
            let Some(me) = self.alarms.pop(now) else {
                return;
            };
            self.call(lab, me, |attachment, cx| attachment.alarm(cx));
        }
    }

    /// Tells an output of the lab to its owner, if it has one.
    pub(super) fn tell(&mut self, lab: &mut Lab, output: Output) {
        match output {
            Output::Ready(sock) => {
                let owner = self.socks.get(&sock).copied();
                self.tell_owner(lab, owner, |it, cx, key| it.lab_ready(cx, key, sock));
            }
            Output::Frames(iface) => {
                let owner = self.ifaces.get(&iface).copied();
                self.tell_owner(lab, owner, |it, cx, key| it.frames(cx, key, iface));
            }
            Output::Captured(capture) => {
                let owner = self.captures.get(&capture).copied();
                self.tell_owner(lab, owner, |it, cx, key| it.captured(cx, key, capture));
            }
            Output::Printed(app) => {
                let owner = self.apps.get(&app).copied();
                self.tell_owner(lab, owner, |it, cx, key| it.printed(cx, key, app));
            }
            Output::Exited(app, code) => {
                let owner = self.apps.get(&app).copied();
                self.tell_owner(lab, owner, |it, cx, key| it.exited(cx, key, app, code));
            }
            Output::Idle(_) => {}
        }
    }

    fn tell_owner(
        &mut self,
        lab: &mut Lab,
        owner: Option<Owner>,
        tell: impl FnOnce(&mut dyn Attachment, &mut Cx<'_>, u64),
    ) {
        if let Some(Owner { attachment, key }) = owner {
            self.call(lab, attachment, |attachment, cx| tell(attachment, cx, key));
        }
    }
}

/// What an attachment may touch while it is called.
#[derive(Debug)]
pub struct Cx<'a> {
    /// The lab: its verbs, and `lab.sys(ns)` for the socket calls of a namespace.
    pub lab: &'a mut Lab,
    core: &'a mut Core,
    me: u32,
}

impl Cx<'_> {
    /// Now, in lab time.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.lab.now()
    }

    /// The attachment that is called.
    #[must_use]
    pub const fn me(&self) -> AttachmentId {
        AttachmentId(self.me)
    }

    const fn owner(&self, key: u64) -> Owner {
        Owner {
            attachment: self.me,
            key,
        }
    }

    /// Begins to watch a descriptor, which has to be non-blocking. `key` comes back with its events.
    ///
    /// # Errors
    /// What `epoll_ctl` says: a file that cannot be waited for, no memory.
    pub fn watch(&mut self, fd: impl AsFd, key: u64, interest: Interest) -> io::Result<Watch> {
        let owner = self.owner(key);
        self.core.reactor.watch(fd, owner, interest)
    }

    /// Changes what a descriptor is watched for; costs nothing if that is what it is watched for already.
    ///
    /// # Errors
    /// What `epoll_ctl` says; `ENOENT` if the watch was taken back.
    pub fn rewatch(&mut self, watch: Watch, fd: impl AsFd, interest: Interest) -> io::Result<()> {
        self.core.reactor.rewatch(watch, fd, interest)
    }

    /// Takes a watch back, before its descriptor is closed.
    pub fn unwatch(&mut self, watch: Watch, fd: impl AsFd) {
        self.core.reactor.unwatch(watch, fd);
    }

    /// Has the readiness of a lab socket told to this attachment.
    pub fn own(&mut self, sock: SockId, key: u64) {
        let owner = self.owner(key);
        self.core.socks.insert(sock, owner);
    }

    /// Closes a lab socket and forgets whose it was.
    pub fn close(&mut self, sock: SockId) {
        self.core.socks.remove(&sock);
        self.lab.sys(sock.ns).close(sock);
    }

    /// Has it told to this attachment when a program ([`Lab::spawn`]) prints and ends.
    pub fn own_app(&mut self, app: AppId, key: u64) {
        let owner = self.owner(key);
        self.core.apps.insert(app, owner);
        self.lab.tell_output(app, true);
    }

    /// Ends a program, if it has not ended, and forgets it.
    pub fn end_app(&mut self, app: AppId) {
        self.core.apps.remove(&app);
        self.lab.end_app(app);
    }

    /// Has it told to this attachment when frames wait for a raw interface
    /// ([`Net::raw`](emulator_core::net::Net::raw)).
    pub fn own_iface(&mut self, iface: IfId, key: u64) {
        let owner = self.owner(key);
        self.core.ifaces.insert(iface, owner);
        self.lab.net_mut().raw_tell(iface, true);
    }

    /// Has it told to this attachment when bytes of a capture wait
    /// ([`Net::capture_drain`](emulator_core::net::Net::capture_drain)).
    pub fn own_capture(&mut self, capture: CaptureId, key: u64) {
        let owner = self.owner(key);
        self.core.captures.insert(capture, owner);
        self.core.epoch = None;
        self.lab.net_mut().capture_tell(capture, true);
    }

    /// Ends a capture and forgets it; its last bytes.
    pub fn end_capture(&mut self, capture: CaptureId) -> Vec<u8> {
        self.core.captures.remove(&capture);
        self.lab.net_mut().capture_close(capture)
    }

    /// Somebody begins to measure how long things take in the lab, or has done: in between, time goes on with every mark
    /// of the lab, at the cost of a look at the clock each.
    pub const fn time(&mut self, on: bool) {
        self.core.timed = if on {
            self.core.timed.saturating_add(1)
        } else {
            self.core.timed.saturating_sub(1)
        };
    }

    /// Calls [`Attachment::alarm`] at `at`; a later call replaces it, [`Time::MAX`] clears it.
    pub fn wake_at(&mut self, at: Time) {
        self.core.alarms.set(self.me, at);
    }

    /// A bell that other threads ring for this attachment.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.core.reactor.waker(self.me)
    }

    /// Attaches something else, which ends before this does.
    ///
    /// # Errors
    /// As [`Runtime::attach`](super::Runtime::attach).
    pub fn attach<A: Attachment + 'static, E>(
        &mut self,
        make: impl FnOnce(&mut Cx<'_>) -> Result<A, E>,
    ) -> Result<AttachmentId, E> {
        self.core.attach(self.lab, make)
    }

    /// Ends an attachment; this one when its call returns.
    pub fn end(&mut self, attachment: AttachmentId) {
        if attachment.0 == self.me {
            self.core.ending.push(self.me);
        } else {
            self.core.end(self.lab, attachment.0);
        }
    }

    /// Stops the runtime: everything that is attached ends, the last first.
    pub fn stop(&mut self, why: Stop) {
        self.core.stop.get_or_insert(why);
    }
}
