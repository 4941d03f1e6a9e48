//! The applications of a lab: who owns which socket, who runs next, what each one printed.
//!
//! An application is put on the worklist once, however many of its sockets call. Output is kept up
//! to a bound; what is more is cut and said so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use core::net::{IpAddr, SocketAddr};
use dns::resolver::ADDRESS;
use dns::zone::Zones;
use switch::{Rng, Time};

use super::verbs::Sandboxes;
use crate::app::{App, Family, PathError, Ready, Received, SockKind, SockOpt, Step, Sys};
use crate::docker::Docker;
use crate::id::{AppId, NsId, SockId};
use crate::net::Net;
use crate::netns::{Errno, Netns};
use crate::service::dns::DnsService;

/// Bytes of output kept of one application.
pub const OUTPUT_LIMIT: usize = 4 << 20;

/// Calls of sockets that are kept in any case before those are looked for that called twice.
const READY_MIN: usize = 64;

/// Bytes as text; what is none is replaced.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Where bytes are cut that are longer than `room`: not within a character, if they are text.
fn boundary(bytes: &[u8], room: usize) -> usize {
    if bytes.len() <= room {
        return bytes.len();
    }
    let goes_on = |at: &usize| bytes[*at] & 0xc0 == 0x80;
    let first = room.saturating_sub(3);
    (first..=room).rev().find(|at| !goes_on(at)).unwrap_or(room)
}

/// What runs.
#[derive(Debug)]
enum Program {
    /// An application that sees nothing but its namespace.
    App(Box<dyn App>),
    /// Docker's embedded DNS, which also sees the names.
    Dns(Box<DnsService>),
}

/// Whether somebody wants to know that an application has printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telling {
    /// Nobody does.
    Off,
    /// Of what it prints next.
    On,
    /// Of what has been told and not been taken.
    Told,
}

#[derive(Debug)]
struct Slot {
    program: Option<Program>,
    ns: NsId,
    marked: bool,
    /// Its container is paused: it is not run.
    held: bool,
    alarm: Time,
    exit: Option<u8>,
    output: Vec<(bool, Vec<u8>)>,
    /// Bytes of it that count against the limit.
    written: usize,
    telling: Telling,
    socks: BTreeSet<SockId>,
    /// Those that called since they were told, for an application that asks which.
    ready: Option<VecDeque<SockId>>,
    rng: Rng,
}

/// Which application holds a socket, by the socket's namespace and slot, with its generation.
#[derive(Debug, Default)]
struct Owners(Vec<Vec<Option<(u32, AppId)>>>);

impl Owners {
    #[inline]
    fn get(&self, sock: SockId) -> Option<AppId> {
        let slots = self.0.get(sock.ns.0 as usize)?;
        let (generation, app) = (*slots.get(sock.slot as usize)?)?;
        (generation == sock.generation).then_some(app)
    }

    fn insert(&mut self, sock: SockId, app: AppId) {
        let (ns, slot) = (sock.ns.0 as usize, sock.slot as usize);
        if ns >= self.0.len() {
            self.0.resize(ns + 1, Vec::new());
        }
        let slots = &mut self.0[ns];
        if slot >= slots.len() {
            slots.resize(slot + 1, None);
        }
        slots[slot] = Some((sock.generation, app));
    }

    #[inline]
    fn remove(&mut self, sock: SockId) {
        if self.get(sock).is_some() {
            self.0[sock.ns.0 as usize][sock.slot as usize] = None;
        }
    }

    /// Keeps nothing of a namespace in which nobody holds a socket.
    fn tidy(&mut self, ns: NsId) {
        if let Some(slots) = self.0.get_mut(ns.0 as usize)
            && slots.iter().all(Option::is_none)
        {
            *slots = Vec::new();
        }
    }
}

/// The applications of a lab.
#[derive(Debug)]
pub struct Apps {
    slots: BTreeMap<AppId, Slot>,
    owners: Owners,
    timers: BTreeSet<(Time, AppId)>,
    next: u32,
    rng: Rng,
    /// Those that printed and whose output is told of.
    printed: Vec<AppId>,
    /// Where the embedded DNS servers read into, one at a time.
    pub(crate) datagram: Vec<u8>,
}

impl Apps {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            slots: BTreeMap::new(),
            owners: Owners::default(),
            timers: BTreeSet::new(),
            next: 1,
            rng,
            printed: Vec::new(),
            datagram: Vec::new(),
        }
    }

    /// A number for an application that starts later, perhaps.
    pub(crate) const fn reserve(&mut self) -> AppId {
        let id = AppId(self.next);
        self.next += 1;
        id
    }

    fn insert(&mut self, id: AppId, ns: NsId, program: Option<Program>) {
        self.slots.insert(
            id,
            Slot {
                program,
                ns,
                marked: false,
                held: false,
                alarm: Time::MAX,
                exit: None,
                output: Vec::new(),
                written: 0,
                telling: Telling::Off,
                socks: BTreeSet::new(),
                ready: None,
                rng: self.rng.stream_of(&["app:", &id.0.to_string()]),
            },
        );
    }

    /// Starts an application in `ns`; it runs when the lab is polled.
    pub(crate) fn spawn(&mut self, net: &mut Net, ns: NsId, app: Box<dyn App>) -> AppId {
        let id = self.reserve();
        self.insert(id, ns, Some(Program::App(app)));
        self.mark(net, id);
        id
    }

    pub(crate) fn dns_mut(&mut self, app: AppId) -> Option<&mut DnsService> {
        match self.slots.get_mut(&app)?.program.as_mut()? {
            Program::Dns(service) => Some(service),
            Program::App(_) => None,
        }
    }

    /// Ends an application and closes its sockets, as a kill does.
    pub(crate) fn kill(&mut self, net: &mut Net, app: AppId) {
        let Some(slot) = self.slots.remove(&app) else {
            return;
        };
        self.timers.remove(&(slot.alarm, app));
        for sock in slot.socks {
            self.owners.remove(sock);
            net.with_ns(sock.ns, |netns, cx| netns.close(cx, sock));
        }
    }

    /// Ends every application of a namespace.
    pub(crate) fn kill_all(&mut self, net: &mut Net, ns: NsId) {
        let all: Vec<AppId> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.ns == ns)
            .map(|(&id, _)| id)
            .collect();
        for app in all {
            self.kill(net, app);
        }
        self.owners.tidy(ns);
    }

    /// Hands a socket that nobody owns to an application.
    pub(crate) fn give(&mut self, sock: SockId, app: AppId) {
        if let Some(slot) = self.slots.get_mut(&app) {
            slot.socks.insert(sock);
            self.owners.insert(sock, app);
        }
    }

    #[inline]
    pub(crate) fn owner(&self, sock: SockId) -> Option<AppId> {
        self.owners.get(sock)
    }

    pub(crate) fn mark(&mut self, net: &mut Net, app: AppId) {
        if let Some(slot) = self.slots.get_mut(&app)
            && !slot.marked
            && !slot.held
            && slot.exit.is_none()
        {
            slot.marked = true;
            net.mark_app(app);
        }
    }

    /// A socket of an application calls.
    pub(crate) fn wake(&mut self, net: &mut Net, app: AppId, sock: SockId) {
        if let Some(slot) = self.slots.get_mut(&app)
            && let Some(ready) = &mut slot.ready
            && ready.back() != Some(&sock)
        {
            // One that is held, or does not ask any more, hears of each socket once.
            if ready.len() >= READY_MIN + 2 * slot.socks.len() {
                let once: BTreeSet<SockId> = ready.drain(..).collect();
                ready.extend(once.intersection(&slot.socks));
            }
            ready.push_back(sock);
        }
        self.mark(net, app);
    }

    /// Holds applications, or lets them go on.
    pub(crate) fn hold(&mut self, net: &mut Net, all: &[AppId], held: bool) {
        for &app in all {
            if let Some(slot) = self.slots.get_mut(&app) {
                // The embedded DNS is the daemon's, not the container's.
                slot.held = held && matches!(slot.program, Some(Program::App(_)));
            }
            if !held {
                self.mark(net, app);
            }
        }
    }

    /// Marks the applications whose timers are due; false if none is.
    pub(crate) fn fire(&mut self, net: &mut Net) -> bool {
        let mut any = false;
        while let Some(&(at, app)) = self.timers.first() {
            if at > net.now() {
                break;
            }
            self.timers.pop_first();
            if let Some(slot) = self.slots.get_mut(&app) {
                slot.alarm = Time::MAX;
            }
            self.mark(net, app);
            any = true;
        }
        any
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// Runs an application; its exit code if that ended it.
    pub(crate) fn run(
        &mut self,
        app: AppId,
        net: &mut Net,
        zones: &Zones,
        docker: &Docker,
        sandboxes: &Sandboxes,
    ) -> Option<u8> {
        let slot = self.slots.get_mut(&app)?;
        slot.marked = false;
        if slot.held {
            return None;
        }
        let mut program = slot.program.take()?;
        let ns = slot.ns;
        let mut sys = LabSys {
            net,
            apps: self,
            docker,
            sandboxes,
            app,
            ns,
        };
        let step = match &mut program {
            Program::App(app) => app.run(&mut sys),
            Program::Dns(service) => service.run(&mut sys, zones),
        };
        // It may have been killed by what it did.
        let slot = self.slots.get_mut(&app)?;
        match step {
            Step::Wait => {
                slot.program = Some(program);
                None
            }
            Step::Exit(code) => {
                slot.exit = Some(code);
                let alarm = core::mem::replace(&mut slot.alarm, Time::MAX);
                self.timers.remove(&(alarm, app));
                let socks = core::mem::take(&mut slot.socks);
                for sock in socks {
                    self.owners.remove(sock);
                    net.with_ns(sock.ns, |netns, cx| netns.close(cx, sock));
                }
                Some(code)
            }
        }
    }

    /// The exit code of an application that has ended.
    #[must_use]
    pub fn exit_code(&self, app: AppId) -> Option<u8> {
        self.slots.get(&app)?.exit
    }

    /// What an application printed since the last call, in order; true is standard error.
    pub fn take_output(&mut self, app: AppId) -> Vec<(bool, String)> {
        let pieces = self.take_bytes(app).into_iter();
        pieces.map(|(error, bytes)| (error, text(bytes))).collect()
    }

    /// The same as it was written, which need not be text.
    pub fn take_bytes(&mut self, app: AppId) -> Vec<(bool, Vec<u8>)> {
        let Some(slot) = self.slots.get_mut(&app) else {
            return Vec::new();
        };
        if slot.telling != Telling::Off {
            slot.telling = Telling::On;
            slot.written = 0;
        }
        core::mem::take(&mut slot.output)
    }

    /// Has it told when an application prints, or not any more.
    pub(crate) fn tell_output(&mut self, app: AppId, on: bool) {
        let Some(slot) = self.slots.get_mut(&app) else {
            return;
        };
        slot.telling = match on {
            false => Telling::Off,
            true if slot.output.is_empty() => Telling::On,
            true => {
                self.printed.push(app);
                Telling::Told
            }
        };
    }

    /// Whether [`Self::take_printed`] has something to give.
    pub(crate) const fn has_printed(&self) -> bool {
        !self.printed.is_empty()
    }

    /// The applications that printed since the last call, each once until its output is taken.
    pub(crate) fn take_printed(&mut self) -> impl Iterator<Item = AppId> + '_ {
        self.printed.drain(..)
    }

    /// The applications of a namespace that have not ended, by number and name.
    pub fn running(&self, ns: NsId) -> impl Iterator<Item = (AppId, &str)> {
        self.slots
            .iter()
            .filter(move |(_, slot)| slot.ns == ns && slot.exit.is_none())
            .map(|(&id, slot)| {
                (
                    id,
                    match &slot.program {
                        Some(Program::App(app)) => app.name(),
                        Some(Program::Dns(_)) => "dockerd",
                        None => "",
                    },
                )
            })
    }
}

/// The system calls of one application (or of the lab's user, who owns what nobody else does).
#[derive(Debug)]
pub struct LabSys<'a> {
    pub(crate) net: &'a mut Net,
    pub(crate) apps: &'a mut Apps,
    pub(crate) docker: &'a Docker,
    pub(crate) sandboxes: &'a Sandboxes,
    /// `AppId(0)` is the lab's user.
    pub(crate) app: AppId,
    pub(crate) ns: NsId,
}

impl LabSys<'_> {
    /// A socket in another namespace than the application's own: Docker's DNS server asks the host's
    /// resolvers from the host's namespace.
    ///
    /// # Errors
    /// `ENOBUFS` when the namespace has all the sockets that it takes.
    pub fn socket_in(&mut self, ns: NsId, kind: SockKind, family: Family) -> Result<SockId, Errno> {
        let Some(netns) = self.net.ns_mut(ns) else {
            return Err(Errno::BadFd);
        };
        let sock = netns.socket(kind, family);
        if let Ok(sock) = sock {
            self.own(sock);
        }
        sock
    }

    /// A socket that becomes ready whenever somebody begins or ceases to listen on a TCP port of a namespace, and
    /// when the namespace goes. [`Netns::listens`] says how it is then.
    ///
    /// # Errors
    /// `ENOBUFS` when the namespace has all the sockets that it takes.
    pub fn listen_watch(&mut self) -> Result<SockId, Errno> {
        let watch = self.net.with_ns(self.ns, |netns, _| netns.listen_watch());
        let sock = watch.unwrap_or(Err(Errno::BadFd))?;
        self.own(sock);
        Ok(sock)
    }

    /// Binds a socket that listings do not show and that no other bind runs into.
    pub(crate) fn set_internal(&mut self, sock: SockId) {
        // The socket was made a moment ago.
        let _there = self
            .net
            .with_ns(sock.ns, |netns, _| netns.set_internal(sock));
    }

    /// The application itself; the lab's user is none.
    fn slot(&mut self) -> Option<&mut Slot> {
        match self.app {
            AppId(0) => None,
            app => self.apps.slots.get_mut(&app),
        }
    }

    fn own(&mut self, sock: SockId) {
        if let Some(slot) = self.slot() {
            slot.socks.insert(sock);
            self.apps.owners.insert(sock, self.app);
        }
    }

    /// The embedded DNS of a namespace starts when a socket there turns to it for the first time: until then
    /// nobody can tell, and an idle container has no sockets.
    fn wake_resolver(&mut self, ns: NsId, to: IpAddr) {
        if to.to_canonical() != ADDRESS {
            return;
        }
        let Some(app) = self.sandboxes.resolver(ns) else {
            return;
        };
        if self.apps.slots.contains_key(&app) {
            return;
        }
        let Some(service) = self.sandboxes.dns_service(ns, self.docker, &self.net.rng) else {
            return;
        };
        let mut service = Box::new(service);
        self.apps.insert(app, ns, None);
        let mut sys = LabSys {
            net: &mut *self.net,
            apps: &mut *self.apps,
            docker: self.docker,
            sandboxes: self.sandboxes,
            app,
            ns,
        };
        let started = service.start(&mut sys);
        if let Some(slot) = self.apps.slots.get_mut(&app) {
            match started {
                Ok(()) => slot.program = Some(Program::Dns(service)),
                Err(errno) => {
                    slot.exit = Some(1);
                    let text = format!("embedded DNS: {errno}\n");
                    slot.output.push((true, text.into_bytes()));
                }
            }
        }
    }

    fn call<T>(
        &mut self,
        sock: SockId,
        act: impl FnOnce(&mut Netns, &mut crate::netns::Cx<'_>) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        self.net.call(sock.ns, Err(Errno::BadFd), act)
    }

    fn write(&mut self, error: bool, bytes: &[u8]) {
        let Some(slot) = self.apps.slots.get_mut(&self.app) else {
            return;
        };
        let room = OUTPUT_LIMIT.saturating_sub(slot.written);
        if room == 0 {
            return;
        }
        if slot.telling == Telling::On {
            slot.telling = Telling::Told;
            self.apps.printed.push(self.app);
        }
        slot.written += bytes.len();
        let cut = boundary(bytes, room);
        if slot
            .output
            .last()
            .is_none_or(|(stream, _)| *stream != error)
        {
            slot.output.push((error, Vec::with_capacity(cut)));
        }
        if let Some((_, last)) = slot.output.last_mut() {
            last.extend_from_slice(&bytes[..cut]);
            if cut < bytes.len() {
                last.extend_from_slice(b"\n[output cut]\n");
            }
        }
    }
}

impl Sys for LabSys<'_> {
    fn now(&self) -> Time {
        self.net.now()
    }

    fn random(&mut self) -> u64 {
        match self.apps.slots.get_mut(&self.app) {
            Some(slot) => slot.rng.next_u64(),
            None => self.apps.rng.next_u64(),
        }
    }

    fn wake_at(&mut self, at: Time) {
        let Some(slot) = self.apps.slots.get_mut(&self.app) else {
            return;
        };
        if slot.alarm == at {
            return;
        }
        self.apps.timers.remove(&(slot.alarm, self.app));
        slot.alarm = at;
        if at != Time::MAX {
            self.apps.timers.insert((at, self.app));
        }
    }

    fn next_ready(&mut self) -> Option<SockId> {
        let slot = self.apps.slots.get_mut(&self.app)?;
        slot.ready.get_or_insert_default().pop_front()
    }

    fn socket(&mut self, kind: SockKind, family: Family) -> Result<SockId, Errno> {
        self.socket_in(self.ns, kind, family)
    }

    fn set(&mut self, sock: SockId, option: SockOpt) -> Result<(), Errno> {
        self.call(sock, |netns, cx| netns.set(cx, sock, option))
    }

    fn bind(&mut self, sock: SockId, addr: SocketAddr) -> Result<(), Errno> {
        self.wake_resolver(sock.ns, addr.ip());
        self.call(sock, |netns, _| netns.bind(sock, addr))
    }

    fn listen(&mut self, sock: SockId, backlog: usize) -> Result<(), Errno> {
        self.call(sock, |netns, cx| netns.listen(cx, sock, backlog))
    }

    fn accept(&mut self, sock: SockId) -> Result<(SockId, SocketAddr), Errno> {
        let accepted = self.call(sock, |netns, cx| netns.accept(cx, sock));
        if let Ok((conn, _)) = accepted {
            self.own(conn);
        }
        accepted
    }

    fn connect(&mut self, sock: SockId, addr: SocketAddr) -> Result<(), Errno> {
        self.wake_resolver(sock.ns, addr.ip());
        self.call(sock, |netns, cx| netns.connect(cx, sock, addr))
    }

    fn send(&mut self, sock: SockId, bytes: &[u8]) -> Result<usize, Errno> {
        self.call(sock, |netns, cx| netns.send(cx, sock, bytes))
    }

    fn send_to(&mut self, sock: SockId, bytes: &[u8], to: SocketAddr) -> Result<usize, Errno> {
        self.wake_resolver(sock.ns, to.ip());
        self.call(sock, |netns, cx| netns.send_to(cx, sock, bytes, to))
    }

    fn send_from(
        &mut self,
        sock: SockId,
        bytes: &[u8],
        to: SocketAddr,
        from: IpAddr,
    ) -> Result<usize, Errno> {
        self.call(sock, |netns, cx| netns.send_from(cx, sock, bytes, to, from))
    }

    fn recv(&mut self, sock: SockId, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.call(sock, |netns, cx| netns.recv(cx, sock, buffer))
    }

    fn send_room(&mut self, sock: SockId) -> Result<usize, Errno> {
        self.call(sock, |netns, _| netns.send_room(sock))
    }

    fn recv_with(
        &mut self,
        sock: SockId,
        look: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Result<usize, Errno> {
        self.call(sock, |netns, cx| netns.recv_with(cx, sock, look))
    }

    fn recv_from(&mut self, sock: SockId, buffer: &mut [u8]) -> Result<Received, Errno> {
        self.call(sock, |netns, cx| netns.recv_from(cx, sock, buffer))
    }

    fn recv_error(&mut self, sock: SockId) -> Option<PathError> {
        self.net
            .with_ns(sock.ns, |netns, _| netns.recv_error(sock))
            .flatten()
    }

    fn shutdown(&mut self, sock: SockId) -> Result<(), Errno> {
        self.call(sock, |netns, cx| netns.shutdown(cx, sock))
    }

    fn close(&mut self, sock: SockId) {
        if let Some(slot) = self.slot() {
            slot.socks.remove(&sock);
        }
        self.apps.owners.remove(sock);
        self.net.with_ns(sock.ns, |netns, cx| netns.close(cx, sock));
    }

    fn ready(&self, sock: SockId) -> Ready {
        self.net
            .ns(sock.ns)
            .map(|netns| netns.ready(sock))
            .unwrap_or_default()
    }

    fn take_error(&mut self, sock: SockId) -> Option<Errno> {
        self.net.ns_mut(sock.ns)?.take_error(sock)
    }

    fn local_addr(&self, sock: SockId) -> Option<SocketAddr> {
        self.net.ns(sock.ns)?.local_addr(sock)
    }

    fn peer_addr(&self, sock: SockId) -> Option<SocketAddr> {
        self.net.ns(sock.ns)?.peer_addr(sock)
    }

    fn print(&mut self, text: &str) {
        self.write(false, text.as_bytes());
    }

    fn print_bytes(&mut self, bytes: &[u8]) {
        self.write(false, bytes);
    }

    fn eprint(&mut self, text: &str) {
        self.write(true, text.as_bytes());
    }

    fn hostname(&self) -> String {
        self.sandboxes.hostname(self.ns, self.docker)
    }

    fn file(&self, path: &str) -> Option<String> {
        self.sandboxes.file(self.ns, path, self.docker)
    }

    fn netns(&self) -> &Netns {
        // An application runs only while its namespace is there.
        self.net
            .ns(self.ns)
            .unwrap_or_else(|| self.net.all_ns().next().expect("a lab has a host"))
    }
}
