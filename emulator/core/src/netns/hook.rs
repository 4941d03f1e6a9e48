//! The five hooks of netfilter, as a namespace calls them.
//!
//! ```text
//!  wire ─ PREROUTING ─ route ─ FORWARD ─ POSTROUTING ─ wire
//!                        │                   │
//!                      INPUT              OUTPUT
//!                        └──── sockets ───────┘
//! ```
//!
//! A namespace without rules has no [`Hooks`] and pays one comparison per hook. IPv4 and IPv6
//! fragments are put together before the first hook and cut again after the last, as nf_defrag does.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

pub use switch::hook::{Crossing, Env, Exit, Hook, Netfilter, Outcome, Passed, Path, Run, Tally};

use switch::filter::Judgement;
use switch::verdict::{Verdict, What};
use switch::wire::Packet;
use switch::{Frame, IfId, Time};

use super::fib::Fib;
use super::iface::Ifaces;
use super::output::frame_count;
use super::{Cx, LO, Netns, select};

/// What runs at the hooks: a [`Netfilter`], or in tests whatever wants to see them.
pub trait Hooks: fmt::Debug + Send {
    /// There is nothing to do at any hook: packets are not tracked.
    fn is_empty(&self) -> bool;

    /// Runs one hook over the IP packet `bytes`, which stands for `frames` frames, rewriting it in
    /// place. With `csum_partial` the transport checksum holds the pseudo-header sum only.
    #[expect(clippy::too_many_arguments, reason = "what a hook is told of a packet")]
    fn run_for(
        &mut self,
        now: Time,
        hook: Hook,
        bytes: &mut [u8],
        csum_partial: bool,
        path: &Path,
        env: &dyn Env,
        frames: u32,
    ) -> Outcome;

    /// Runs prerouting, forward and postrouting over a packet that crosses the bridge whose interface is
    /// `bridge`, as br_netfilter does.
    fn run_bridged(
        &mut self,
        now: Time,
        bytes: &mut [u8],
        csum_partial: bool,
        bridge: IfId,
        env: &dyn Env,
        frames: u32,
    ) -> Outcome {
        let path = Path {
            input: Some(bridge),
            output: Some(bridge),
            bridged: true,
        };
        let mut all = Outcome::ACCEPT;
        for hook in [Hook::Prerouting, Hook::Forward, Hook::Postrouting] {
            let outcome = self.run_for(now, hook, bytes, csum_partial, &path, env, frames);
            all.verdict = outcome.verdict;
            all.rewrite = outcome.rewrite.or(all.rewrite);
            if outcome.verdict != Verdict::Accept {
                break;
            }
        }
        all
    }

    /// Runs prerouting, forward and postrouting over a packet to forward, if all of that is known
    /// already; else nothing happens.
    fn run_routed(
        &mut self,
        _now: Time,
        _bytes: &mut [u8],
        _crossing: &Crossing,
    ) -> Option<Passed> {
        None
    }

    /// The packet that `run_routed` was asked for last passed its hooks and leaves by `exit`.
    fn keep_routed(&mut self, _crossing: &Crossing, _exit: Exit) {}

    /// What the rules said since it was last asked for, if somebody wants to know.
    fn judgements(&mut self) -> Vec<Judgement> {
        Vec::new()
    }

    /// The firewall, to look at.
    fn netfilter(&self) -> Option<&Netfilter> {
        None
    }

    /// The firewall, to change.
    fn netfilter_mut(&mut self) -> Option<&mut Netfilter> {
        None
    }
}

impl Hooks for Netfilter {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn run_for(
        &mut self,
        now: Time,
        hook: Hook,
        bytes: &mut [u8],
        csum_partial: bool,
        path: &Path,
        env: &dyn Env,
        frames: u32,
    ) -> Outcome {
        self.run_for(now, hook, bytes, csum_partial, path, env, frames)
    }

    fn run_bridged(
        &mut self,
        now: Time,
        bytes: &mut [u8],
        csum_partial: bool,
        bridge: IfId,
        env: &dyn Env,
        frames: u32,
    ) -> Outcome {
        self.run_bridged(now, bytes, csum_partial, bridge, env, frames)
    }

    fn run_routed(&mut self, now: Time, bytes: &mut [u8], crossing: &Crossing) -> Option<Passed> {
        self.run_routed(now, bytes, crossing)
    }

    fn keep_routed(&mut self, crossing: &Crossing, exit: Exit) {
        self.keep_routed(crossing, exit);
    }

    fn judgements(&mut self) -> Vec<Judgement> {
        self.rules.take_judgements()
    }

    fn netfilter(&self) -> Option<&Netfilter> {
        Some(self)
    }

    fn netfilter_mut(&mut self) -> Option<&mut Netfilter> {
        Some(self)
    }
}

struct View<'a> {
    ifaces: &'a Ifaces,
    fib: &'a Fib,
}

impl Env for View<'_> {
    fn is_local(&self, addr: IpAddr) -> bool {
        self.fib.is_local(addr)
    }

    fn change(&self) -> Option<u64> {
        Some(self.fib.change())
    }

    fn source_for(&self, output: IfId, destination: IpAddr) -> Option<IpAddr> {
        let next_hop = self
            .fib
            .lookup(destination, Some(output))
            .and_then(|route| route.via)
            .filter(|via| via.is_ipv4() == destination.is_ipv4())
            .unwrap_or(destination);
        select::source(self.ifaces, output, next_hop, destination)
    }
}

impl Netns {
    /// The firewall, if there is one.
    #[must_use]
    pub fn firewall(&self) -> Option<&Netfilter> {
        self.netfilter.as_deref().and_then(Hooks::netfilter)
    }

    /// The firewall, made empty if there was none.
    pub fn firewall_mut(&mut self) -> Option<&mut Netfilter> {
        let hooks = self
            .netfilter
            .get_or_insert_with(|| Box::new(Netfilter::default()));
        hooks.netfilter_mut()
    }

    /// There are rules to run.
    #[must_use]
    pub fn tracks(&self) -> bool {
        self.netfilter
            .as_ref()
            .is_some_and(|hooks| !hooks.is_empty())
    }

    /// A number that changes with the addresses that rules may ask for.
    pub(crate) const fn addresses_change(&self) -> u64 {
        self.fib.change()
    }

    /// The firewall, if there is one, to change.
    pub(crate) fn netfilter_mut(&mut self) -> Option<&mut Netfilter> {
        self.netfilter.as_deref_mut().and_then(Hooks::netfilter_mut)
    }

    /// The firewall that packets meet, if they meet any. `None` if something else stands at the hooks.
    #[inline]
    pub(crate) fn guard(&mut self) -> Option<Option<&mut Netfilter>> {
        let Some(hooks) = self.netfilter.as_deref_mut() else {
            return Some(None);
        };
        let firewall = hooks.netfilter_mut()?;
        Some((!firewall.is_empty()).then_some(firewall))
    }

    /// Runs `hook` over an unshared packet; `None` if it died there.
    pub(super) fn run_hook(
        &mut self,
        cx: &mut Cx<'_>,
        hook: Hook,
        frame: Frame,
        input: Option<IfId>,
        output: Option<IfId>,
    ) -> Option<Frame> {
        let path = Path {
            input,
            output,
            bridged: false,
        };
        self.run_path(cx, hook, frame, &path)
    }

    /// Runs the hooks over an IP packet that crosses `bridge` and is not routed, as br_netfilter does.
    /// The frame starts at the IP header, is nobody else's and no fragment. `None` if it died there.
    #[must_use]
    pub fn bridged(&mut self, cx: &mut Cx<'_>, frame: Frame, bridge: IfId) -> Option<Frame> {
        let Self {
            netfilter,
            ifaces,
            fib,
            ..
        } = self;
        let Some(hooks) = netfilter.as_mut().filter(|hooks| !hooks.is_empty()) else {
            return Some(frame);
        };
        let meta = cx.pool.meta(&frame);
        let frames = frame_count(cx, &frame).0 as u32;
        let bytes = cx.pool.bytes_mut(&frame);
        let env = View { ifaces, fib };
        let outcome = hooks.run_bridged(cx.now, bytes, meta.csum_partial, bridge, &env, frames);
        if cx.trace.is_listening() {
            tell(cx, &frame, bridge, hooks.judgements());
        }
        conclude(cx, frame, bridge, outcome)
    }

    fn run_path(
        &mut self,
        cx: &mut Cx<'_>,
        hook: Hook,
        frame: Frame,
        path: &Path,
    ) -> Option<Frame> {
        let Self {
            netfilter,
            ifaces,
            fib,
            ..
        } = self;
        let Some(hooks) = netfilter.as_mut().filter(|hooks| !hooks.is_empty()) else {
            return Some(frame);
        };
        let meta = cx.pool.meta(&frame);
        let frames = frame_count(cx, &frame).0 as u32;
        let bytes = cx.pool.bytes_mut(&frame);
        let env = View { ifaces, fib };
        let partial = meta.csum_partial;
        let outcome = hooks.run_for(cx.now, hook, bytes, partial, path, &env, frames);
        let place = path.output.or(path.input).unwrap_or(LO);
        if cx.trace.is_listening() {
            tell(cx, &frame, place, hooks.judgements());
        }
        conclude(cx, frame, place, outcome)
    }
}

/// Reports what the rules said.
fn tell(cx: &mut Cx<'_>, frame: &Frame, place: IfId, judgements: Vec<Judgement>) {
    let id = cx.pool.meta(frame).id;
    for judgement in judgements {
        cx.trace.judged(cx.now, id, place, judgement);
    }
}

/// What a hook decided takes effect; `None` if the frame died.
fn conclude(cx: &mut Cx<'_>, frame: Frame, place: IfId, outcome: Outcome) -> Option<Frame> {
    if let Some(rewrite) = outcome.rewrite {
        let id = cx.pool.meta(&frame).id;
        cx.trace.event(cx.now, id, place, What::Rewritten(rewrite));
    }
    match outcome.verdict {
        Verdict::Accept => Some(frame),
        Verdict::Drop(reason) => {
            cx.trace.drop(cx.now, cx.pool, frame, place, reason);
            None
        }
    }
}

/// Source and destination of a packet with their ports, 0 where there are none.
pub(super) fn endpoints(bytes: &[u8], packet: &Packet) -> (SocketAddr, SocketAddr) {
    let (source, destination) = packet.ports(bytes).unwrap_or((0, 0));
    (
        SocketAddr::new(packet.source, source),
        SocketAddr::new(packet.destination, destination),
    )
}
