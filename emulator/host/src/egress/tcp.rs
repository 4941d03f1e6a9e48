//! Connections that leave: the real one is opened first, and its outcome is the container's answer.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;

use emulator_core::app::{SockOpt, Sys};
use emulator_core::id::{NsId, SockId};
use emulator_core::netns::{HeldId, Ruling};
use emulator_core::switch::{DropReason, Time};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use rustix::net::sockopt;

use super::alarms::Alarms;
use super::policy::Policy;
use super::{Proto, TCP, real, rule};
use crate::means::Share;
use crate::places::Places;
use crate::reactor::{Events, Interest, Watch};
use crate::runtime::Cx;
use crate::splice::{self, Course, Opening, Splice};

/// Connections that are being opened at a time.
pub const DIALS: usize = 512;
/// Longer than Linux tries with its defaults (127 s).
const DIAL: Duration = Duration::from_secs(135);
/// How long a container may take for the last part of its handshake.
const HANDSHAKE: Duration = Duration::from_secs(75);

/// Who in the lab, and to whom.
type Ends = (SocketAddr, SocketAddr);

#[derive(Debug)]
enum Connection {
    /// The real one is being opened while the SYN waits (`None`: it is open, and the SYN was let in).
    Dial {
        fd: OwnedFd,
        watch: Watch,
        held: Option<HeldId>,
        ends: Ends,
        until: Time,
    },
    Open(Splice),
    /// Neither any more.
    Over,
}

#[derive(Debug)]
pub(super) struct Tcp {
    ns: NsId,
    connections: Places<(Connection, Share)>,
    /// Let in, and not open yet.
    entering: HashMap<Ends, u32, FixedState>,
    dials: usize,
    /// There were too many; that was said.
    full: bool,
}

impl Tcp {
    pub(super) fn new(ns: NsId) -> Self {
        Self {
            ns,
            connections: Places::default(),
            entering: HashMap::with_hasher(FixedState::default()),
            dials: 0,
            full: false,
        }
    }

    /// A container wants to be connected.
    pub(super) fn asked(
        &mut self,
        cx: &mut Cx<'_>,
        policy: &Policy,
        alarms: &mut Alarms,
        held: HeldId,
        (from, to): Ends,
    ) {
        let outside = SocketAddr::new(policy.real(to.ip()), to.port());
        if !policy.allows(cx.now(), Proto::Tcp, outside) {
            return rule(cx, self.ns, held, Ruling::Drop(DropReason::EgressDenied));
        }
        // It comes again, as to a server whose queue is full.
        let full = Ruling::Drop(DropReason::SynQueueFull);
        let share = policy.means.take().filter(|_| self.dials < DIALS);
        let Some(share) = share else {
            if !core::mem::replace(&mut self.full, true) {
                policy.means.say(
                    "egress: connections wait until others end: there are as many as there may be",
                );
            }
            return rule(cx, self.ns, held, full);
        };
        let key = TCP | u64::from(self.connections.next());
        let dialled = real::connect(Proto::Tcp, outside).and_then(|fd| {
            let watch = cx.watch(&fd, key, Splice::interest(Opening::Real))?;
            Ok((fd, watch))
        });
        match dialled {
            Ok((fd, watch)) => {
                let until = cx.now() + DIAL;
                alarms.set(cx, until, key);
                self.dials += 1;
                let dial = Connection::Dial {
                    fd,
                    watch,
                    held: Some(held),
                    ends: (from, to),
                    until,
                };
                self.connections.insert((dial, share));
            }
            Err(error) if splice::is_starved(&error) => rule(cx, self.ns, held, full),
            Err(error) => rule(cx, self.ns, held, real::ruling(&error)),
        }
    }

    /// A real connection is ready.
    pub(super) fn ready(
        &mut self,
        cx: &mut Cx<'_>,
        policy: &Policy,
        alarms: &mut Alarms,
        number: u32,
        events: Events,
    ) {
        let Some((connection, _)) = self.connections.at(number) else {
            return;
        };
        match connection {
            Connection::Over => {}
            Connection::Open(splice) => {
                if splice.ready(cx, events) == Course::Over {
                    self.end(cx, number);
                }
            }
            Connection::Dial {
                fd,
                watch,
                held,
                ends,
                until,
            } => {
                let Some(waits) = held.take() else {
                    // It waits for the container. If it is gone meanwhile, so is what the container is told of.
                    if events.hup || events.error {
                        self.fail(cx, alarms, number, Ruling::Reset);
                    }
                    return;
                };
                let outcome = sockopt::socket_error(&*fd).map_err(io::Error::from);
                match outcome.and_then(|outcome| outcome.map_err(io::Error::from)) {
                    Ok(()) => {
                        let ends = *ends;
                        let key = TCP | u64::from(number);
                        alarms.cancel(*until, key);
                        *until = cx.now() + HANDSHAKE;
                        alarms.set(cx, *until, key);
                        let _told = cx.rewatch(*watch, fd, Interest::NONE);
                        self.dials -= 1;
                        self.entering.insert(ends, number);
                        policy.count(|counts| counts.connections += 1);
                        rule(cx, self.ns, waits, Ruling::Accept);
                    }
                    Err(error) => {
                        *held = Some(waits);
                        let ruling = real::ruling(&error);
                        self.fail(cx, alarms, number, ruling);
                    }
                }
            }
        }
    }

    /// Connections that the lab has opened wait at the listener.
    pub(super) fn accept(&mut self, cx: &mut Cx<'_>, alarms: &mut Alarms, listener: SockId) {
        loop {
            let mut sys = cx.lab.sys(self.ns);
            let Ok((sock, from)) = sys.accept(listener) else {
                return;
            };
            let to = sys.local_addr(sock);
            let number = to.and_then(|to| self.entering.remove(&(from, to)));
            let Some(number) = number else {
                // Its real connection was given up.
                let _gone = sys.set(sock, SockOpt::LingerZero(true));
                sys.close(sock);
                continue;
            };
            self.open(cx, alarms, number, sock);
        }
    }

    fn open(&mut self, cx: &mut Cx<'_>, alarms: &mut Alarms, number: u32, sock: SockId) {
        let Some((connection, _)) = self.connections.at(number) else {
            return;
        };
        let key = TCP | u64::from(number);
        cx.own(sock, key);
        let Connection::Dial {
            fd, watch, until, ..
        } = core::mem::replace(connection, Connection::Over)
        else {
            return;
        };
        alarms.cancel(until, key);
        let mut splice = Splice::new(fd, watch, sock, Opening::None);
        let course = splice.go(cx, true);
        *connection = Connection::Open(splice);
        if course == Course::Over {
            self.end(cx, number);
        }
    }

    /// A connection of the lab is ready.
    pub(super) fn lab_ready(&mut self, cx: &mut Cx<'_>, number: u32) {
        if let Some((Connection::Open(splice), _)) = self.connections.at(number)
            && splice.lab_ready(cx) == Course::Over
        {
            self.end(cx, number);
        }
    }

    /// An alarm of a connection.
    pub(super) fn due(&mut self, cx: &mut Cx<'_>, alarms: &mut Alarms, number: u32) {
        if let Some((Connection::Dial { until, .. }, _)) = self.connections.at(number)
            && *until <= cx.now()
        {
            self.fail(cx, alarms, number, Ruling::Drop(DropReason::EgressPending));
        }
    }

    /// A connection could not be opened.
    fn fail(&mut self, cx: &mut Cx<'_>, alarms: &mut Alarms, number: u32, ruling: Ruling) {
        let dial = self.connections.remove(number);
        let Some((
            Connection::Dial {
                fd,
                watch,
                held,
                ends,
                until,
            },
            _share,
        )) = dial
        else {
            return;
        };
        alarms.cancel(until, TCP | u64::from(number));
        cx.unwatch(watch, &fd);
        match held {
            Some(held) => {
                self.dials -= 1;
                rule(cx, self.ns, held, ruling);
            }
            None => {
                splice::reset(&fd);
                self.entering.remove(&ends);
            }
        }
        self.full = false;
    }

    fn end(&mut self, cx: &mut Cx<'_>, number: u32) {
        if let Some((Connection::Open(splice), _share)) = self.connections.remove(number) {
            splice.close(cx);
            self.full = false;
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }
}
