//! The Lab: the data plane, Docker's model, the outside world and the applications, as one machine.
//!
//! One contract: [`Lab::handle`] an input at a time, then drain [`Lab::poll`] until it says
//! [`Output::Idle`]. Virtual time is a loop that jumps to the time that `Idle` names; real time is
//! the same loop asleep until then. Docker's verbs (in [`verbs`]) and socket calls ([`Lab::sys`])
//! are the only other mutators.

pub mod apps;
mod egress;
pub mod outside;
pub mod plumbing;
pub mod probe;
pub mod routes;
pub mod said;
mod uplink;
pub mod verbs;

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use dns::zone::Zones;
use switch::capture::Limits;
use switch::{Rng, Time};

use crate::app::App;
use crate::docker::spec::Engine;
use crate::docker::{DaemonConfig, Docker, Error, World};
use crate::id::{AppId, CaptureId, IfId, NsId, SockId};
use crate::net::{CaptureAt, CaptureSink, Net, NetConfig, Worked};

use apps::Apps;
use outside::{Outside, Places};
use plumbing::Plumbing;

/// Namespaces whose timers one [`Lab::poll_within`] runs before anything else.
const TIMERS: usize = 16;

/// How a lab is made.
#[derive(Clone, Debug)]
pub struct LabConfig {
    /// All chance comes from here.
    pub seed: u64,
    /// The data plane.
    pub net: NetConfig,
    /// The Docker daemon.
    pub daemon: DaemonConfig,
    /// What is around the host.
    pub outside: Outside,
    /// Containers run what their images say; off, they are only there.
    pub run_images: bool,
    /// What runs where nothing is known of the image but its ports.
    pub stand_ins: StandIns,
}

/// What stands for programs of which only the ports are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StandIns {
    /// [`Probe`](crate::tools::Probe): tells each caller the address that it sees, unasked.
    #[default]
    Tell,
    /// [`StandIn`](crate::tools::StandIn): answers HTTP with a page, sends anything else back.
    Serve,
}

impl Default for LabConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            net: NetConfig::default(),
            // The host's namespace is filled in when there is one.
            daemon: DaemonConfig::new(Engine::default(), NsId::default()),
            outside: Outside::default(),
            run_images: true,
            stand_ins: StandIns::default(),
        }
    }
}

/// What a lab is told.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// It is now this time.
    Tick,
}

/// What a lab tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// An application that [`Lab::spawn`] started has ended with this code.
    Exited(AppId, u8),
    /// An application whose output is told of ([`Lab::tell_output`]) has printed something: once, until it is
    /// taken.
    Printed(AppId),
    /// Bytes of a capture wait whose user wants to be told ([`Net::capture_tell`]): once, until they are drained.
    Captured(CaptureId),
    /// The readiness of a socket that no application owns has changed.
    Ready(SockId),
    /// Frames wait for a raw interface whose user wants to be told ([`Net::raw_tell`]): once, until a read
    /// finds none left.
    Frames(IfId),
    /// Nothing more happens before this time (`None`: ever).
    Idle(Option<Time>),
}

/// Docker's network inside one process.
#[derive(Debug)]
pub struct Lab {
    pub(crate) net: Net,
    pub(crate) apps: Apps,
    pub(crate) docker: Docker,
    pub(crate) zones: Zones,
    pub(crate) plumbing: Plumbing,
    pub(crate) places: Places,
    pub(crate) sandboxes: verbs::Sandboxes,
    pub(crate) run_images: bool,
    pub(crate) stand_ins: StandIns,
    outputs: VecDeque<Output>,
}

impl Lab {
    /// A host with Docker on it, no containers, and the outside around it.
    ///
    /// # Errors
    /// If the daemon's configuration makes no sense, in Docker's words.
    pub fn new(config: LabConfig) -> Result<Self, Error> {
        let rng = Rng::new(config.seed);
        let mut net = Net::new(config.net, rng.stream("net"));
        let mut apps = Apps::new(rng.stream("apps"));
        let places = outside::build(&mut net, &mut apps, &config.outside, &rng);
        let daemon = DaemonConfig {
            host_ns: places.host,
            ..config.daemon
        };
        let mut plumbing = Plumbing::new(places.host, places.uplink, &daemon, &rng);
        let mut zones = Zones::default();
        let docker = {
            let mut hands = plumbing::Hands {
                net: &mut net,
                apps: &mut apps,
                state: &mut plumbing,
            };
            let mut names = plumbing::NamesIn {
                zones: &mut zones,
                engine: daemon.engine,
            };
            let mut world = World {
                plumb: &mut hands,
                names: &mut names,
                now: Time::ZERO,
            };
            Docker::new(daemon, rng.stream("docker"), &mut world)?
        };
        let mut lab = Self {
            net,
            apps,
            docker,
            zones,
            plumbing,
            places,
            sandboxes: verbs::Sandboxes::default(),
            run_images: config.run_images,
            stand_ins: config.stand_ins,
            outputs: VecDeque::new(),
        };
        lab.settle();
        Ok(lab)
    }

    /// Now.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.net.now()
    }

    /// The data plane, to look at.
    #[must_use]
    pub const fn net(&self) -> &Net {
        &self.net
    }

    /// The data plane, for what no verb does: captures, events, faults.
    pub const fn net_mut(&mut self) -> &mut Net {
        &mut self.net
    }

    /// The namespaces that are not containers.
    #[must_use]
    pub const fn places(&self) -> &Places {
        &self.places
    }

    /// Takes an input. Time that goes back counts as now.
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Tick => self.net.advance(now),
        }
    }

    /// Works until there is something to tell.
    pub fn poll(&mut self) -> Output {
        if self.has_news() {
            if let Some(sock) = self.only_wake() {
                return Output::Ready(sock);
            }
            if let Some(output) = self.collect_news() {
                return output;
            }
        } else if !self.net.has_work() {
            let next = self.deadline();
            if next.is_none_or(|at| at > self.net.now()) {
                return Output::Idle(next);
            }
        }
        self.poll_busy()
    }

    /// The same after what there was to tell. Out of the way of those who ask and find nothing.
    #[inline(never)]
    fn poll_busy(&mut self) -> Output {
        loop {
            match self.net.work() {
                Worked::Something => {}
                Worked::Till(app) => self.run_app(app),
                Worked::Nothing if self.net.fire_next() || self.apps.fire(&mut self.net) => {}
                Worked::Nothing => return Output::Idle(self.deadline()),
            }
            if !self.has_news() {
                continue;
            }
            // Written where it is read: an output that is handed on is copied in other widths than it was written.
            if let Some(sock) = self.only_wake() {
                return Output::Ready(sock);
            }
            if let Some(output) = self.collect_news() {
                return output;
            }
        }
    }

    /// The same in real time, where there are descriptors to look after as well: does the work of at most `marks`
    /// marks. `None`: there may be more to do. Timers that are due do not wait for the rest to be done, as
    /// they may where time stands still meanwhile.
    pub fn poll_within(&mut self, mut marks: u32) -> Option<Output> {
        for _ in 0..TIMERS {
            if !self.net.fire_next() {
                break;
            }
        }
        self.apps.fire(&mut self.net);
        loop {
            if let Some(output) = self.news() {
                return Some(output);
            }
            match self.net.work_within(&mut marks) {
                Worked::Something if marks == 0 => return None,
                Worked::Something => {}
                Worked::Till(app) => self.run_app(app),
                Worked::Nothing if self.net.fire_next() || self.apps.fire(&mut self.net) => {}
                Worked::Nothing => return Some(Output::Idle(self.deadline())),
            }
        }
    }

    /// The next thing to tell.
    #[inline]
    fn news(&mut self) -> Option<Output> {
        if !self.has_news() {
            return None;
        }
        if let Some(sock) = self.only_wake() {
            return Some(Output::Ready(sock));
        }
        self.collect_news()
    }

    /// Whether there may be something to tell. One question: almost always there is nothing.
    #[inline]
    fn has_news(&self) -> bool {
        !self.outputs.is_empty() | self.net.has_news() | self.apps.has_printed()
    }

    /// Out of the way of those who ask and find nothing.
    #[inline(never)]
    fn collect_news(&mut self) -> Option<Output> {
        self.net.capture_step();
        while let Some(iface) = self.net.take_told() {
            self.outputs.push_back(Output::Frames(iface));
        }
        self.collect_printed();
        while let Some(capture) = self.net.take_captured() {
            self.outputs.push_back(Output::Captured(capture));
        }
        while let Some(sock) = self.net.take_wakes() {
            match self.apps.owner(sock) {
                Some(app) => self.apps.wake(&mut self.net, app, sock),
                None => {
                    if self.outputs.back() != Some(&Output::Ready(sock)) {
                        self.outputs.push_back(Output::Ready(sock));
                    }
                }
            }
        }
        self.outputs.pop_front()
    }

    /// The socket that has become ready, if nobody owns it and there is nothing else to tell.
    #[inline]
    fn only_wake(&mut self) -> Option<SockId> {
        let is_all = self.outputs.is_empty() && !self.apps.has_printed();
        let sock = self.net.only_wake().filter(|_| is_all)?;
        if self.apps.owner(sock).is_some() {
            return None;
        }
        self.net.wakes.clear();
        Some(sock)
    }

    fn collect_printed(&mut self) {
        for app in self.apps.take_printed() {
            self.outputs.push_back(Output::Printed(app));
        }
    }

    /// Out of the way of those who ask and find nothing.
    #[inline(never)]
    fn run_app(&mut self, app: AppId) {
        if let Some(code) = self.apps.run(
            app,
            &mut self.net,
            &self.zones,
            &self.docker,
            &self.sandboxes,
        ) {
            self.collect_printed();
            self.outputs.push_back(Output::Exited(app, code));
        }
    }

    /// When something happens next if nobody does anything.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        match (self.net.deadline(), self.apps.deadline()) {
            (Some(net), Some(apps)) => Some(net.min(apps)),
            (net, apps) => net.or(apps),
        }
    }

    /// Works off what can be done now, without letting time pass; what it tells is kept for
    /// [`Lab::poll`].
    pub fn settle(&mut self) {
        let mut kept = Vec::new();
        loop {
            match self.poll() {
                Output::Idle(_) => break,
                output => kept.push(output),
            }
        }
        self.put_back(kept);
    }

    /// Keeps what was told for [`Lab::poll`], before what has not been told yet. A socket is ready once,
    /// however often it was said, so that this does not grow with time.
    fn put_back(&mut self, told: Vec<Output>) {
        let mut ready = BTreeSet::new();
        let later = core::mem::take(&mut self.outputs);
        self.outputs = told
            .into_iter()
            .chain(later)
            .filter(|output| match output {
                Output::Ready(sock) => ready.insert(*sock),
                // Each is told once, until it is seen to.
                Output::Captured(_)
                | Output::Exited(..)
                | Output::Frames(_)
                | Output::Idle(_)
                | Output::Printed(_) => true,
            })
            .collect();
    }

    /// Nothing more is told of a socket that is closed.
    fn forget_ready(&mut self, sock: SockId) {
        self.outputs.retain(|output| *output != Output::Ready(sock));
    }

    /// Virtual time: runs everything that happens until `until`, which is now then.
    pub fn run_until(&mut self, until: Time) -> Vec<Output> {
        self.run_while(until, |_, _| true)
    }

    /// The same for a span.
    pub fn run_for(&mut self, span: Duration) -> Vec<Output> {
        self.run_until(self.now() + span)
    }

    /// Virtual time until `until`, or until `go_on` says no to an output.
    pub fn run_while(
        &mut self,
        until: Time,
        mut go_on: impl FnMut(&Self, &Output) -> bool,
    ) -> Vec<Output> {
        let mut told = Vec::new();
        loop {
            match self.poll() {
                Output::Idle(next) => {
                    let next = next.unwrap_or(Time::MAX).min(until);
                    self.handle(next, Input::Tick);
                    if next == until
                        && self.deadline().is_none_or(|at| at > until)
                        && !self.net.has_work()
                    {
                        return told;
                    }
                }
                output => {
                    let more = go_on(self, &output);
                    told.push(output);
                    if !more {
                        return told;
                    }
                }
            }
        }
    }

    /// Starts a capture of the whole lab.
    pub fn capture_start(&mut self, at: CaptureAt) {
        self.net.capture_start(at, Limits::default());
    }

    /// Hands what is captured to `sink` as it comes: virtual time waits for it, and nothing is lost.
    pub fn capture_to(&mut self, sink: Box<dyn CaptureSink>) {
        self.net.capture_to(sink);
    }

    /// Hands everything that waits to the sink now.
    pub fn capture_flush(&mut self) {
        self.net.capture_flush();
    }

    /// The pcapng bytes since the last call, without a sink. What is not taken in time is lost, counted and said so in
    /// the capture ([`Limits::buffer`]).
    pub fn capture_take(&mut self) -> Vec<u8> {
        self.net.capture_take()
    }

    /// Ends the capture.
    pub fn capture_finish(&mut self) {
        self.net.capture_finish();
    }

    /// Starts an application in a namespace.
    pub fn spawn(&mut self, ns: NsId, app: Box<dyn App>) -> AppId {
        self.apps.spawn(&mut self.net, ns, app)
    }

    /// What an application printed since the last call, piece by piece in the order in which it came; true
    /// is standard error. What is no text is replaced (U+FFFD).
    pub fn take_output(&mut self, app: AppId) -> Vec<(bool, String)> {
        self.apps.take_output(app)
    }

    /// The same as it was written: bytes that need not be text.
    pub fn take_bytes(&mut self, app: AppId) -> Vec<(bool, Vec<u8>)> {
        self.apps.take_bytes(app)
    }

    /// Has it told when an application prints ([`Output::Printed`]), or not any more. What it prints from then on
    /// is bounded by what has not been taken yet, not by what it printed in its life.
    pub fn tell_output(&mut self, app: AppId, on: bool) {
        self.apps.tell_output(app, on);
    }

    /// Ends an application and forgets it.
    pub fn end_app(&mut self, app: AppId) {
        self.apps.kill(&mut self.net, app);
    }

    /// Runs until `app` ends, at most for `limit` of virtual time; its exit code, `None` if it did
    /// not end.
    pub fn run_app_for(&mut self, app: AppId, limit: Duration) -> Option<u8> {
        if let Some(code) = self.apps.exit_code(app) {
            self.outputs
                .retain(|output| !matches!(output, Output::Exited(id, _) if *id == app));
            return Some(code);
        }
        let until = self.now() + limit;
        let mut code = None;
        let told = self.run_while(until, |_, output| match *output {
            Output::Exited(id, with) if id == app => {
                code = Some(with);
                false
            }
            _ => true,
        });
        let others = told
            .into_iter()
            .filter(|output| !matches!(output, Output::Exited(id, _) if *id == app));
        self.put_back(others.collect());
        code
    }
}
