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

use switch::verdict::{Rewrite, Verdict, What};
use switch::wire::Packet;
use switch::{Frame, IfId, Time};

use super::fib::Fib;
use super::iface::Ifaces;
use super::output::frame_count;
use super::{Cx, LO, Netns, select};

/// A place on a packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// It arrived, nothing is decided.
    Prerouting,
    /// It is for this namespace.
    Input,
    /// It is for somebody else.
    Forward,
    /// It was made here.
    Output,
    /// It leaves.
    Postrouting,
}

/// Where a packet comes from and goes to, as far as the hook can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The interface that it came in by.
    pub input: Option<IfId>,
    /// The interface that it goes out by.
    pub output: Option<IfId>,
    /// It crosses a bridge and is not routed: both are the bridge's own interface.
    pub bridged: bool,
}

/// What rules ask of the namespace.
pub trait Env {
    /// Whether `addr` is one of the namespace's own (`-m addrtype --dst-type LOCAL`).
    fn is_local(&self, addr: IpAddr) -> bool;
    /// The address that a masqueraded packet to `destination` gets when it leaves by `output`.
    fn source_for(&self, output: IfId, destination: IpAddr) -> Option<IpAddr>;
}

/// What a hook decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    /// Whether it goes on.
    pub verdict: Verdict,
    /// What was rewritten.
    pub rewrite: Option<Rewrite>,
}

/// A firewall with connection tracking and address translation.
pub trait Hooks: fmt::Debug {
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
}

struct View<'a> {
    ifaces: &'a Ifaces,
    fib: &'a Fib,
}

impl Env for View<'_> {
    fn is_local(&self, addr: IpAddr) -> bool {
        self.fib.is_local(addr)
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
    /// There are rules to run.
    pub(super) fn tracks(&self) -> bool {
        self.netfilter
            .as_ref()
            .is_some_and(|hooks| !hooks.is_empty())
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

    /// Runs `hook` over an IP packet that crosses `bridge` and is not routed, as br_netfilter does.
    /// The frame starts at the IP header, is nobody else's and no fragment. `None` if it died there.
    #[must_use]
    pub fn bridged(
        &mut self,
        cx: &mut Cx<'_>,
        hook: Hook,
        frame: Frame,
        bridge: IfId,
    ) -> Option<Frame> {
        let path = Path {
            input: Some(bridge),
            output: Some(bridge),
            bridged: true,
        };
        self.run_path(cx, hook, frame, &path)
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
        if let Some(rewrite) = outcome.rewrite {
            cx.trace
                .event(cx.now, meta.id, place, What::Rewritten(rewrite));
        }
        match outcome.verdict {
            Verdict::Accept => Some(frame),
            Verdict::Drop(reason) => {
                cx.trace.drop(cx.now, cx.pool, frame, place, reason);
                None
            }
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
