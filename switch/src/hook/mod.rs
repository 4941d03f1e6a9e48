//! The firewall of a namespace: what happens to a packet at each of the five hooks.
//!
//! After Linux netfilter:
//!
//! ```text
//!           ┌ raw ─ track ─ nat destination ┐            ┌ filter ┐            ┌ nat source ─ confirm ┐
//!  wire ────▶          PREROUTING           ├─▶ route ───▶ FORWARD ├────────────▶     POSTROUTING      ├──▶ wire
//!           └───────────────────────────────┘     │      └────────┘         ▲  └──────────────────────┘
//!                                                 ▼                         │
//!                  ┌ filter ─ nat source ─ confirm ┐       ┌ raw ─ track ─ nat destination ─ filter ┐
//!                  │            INPUT              ├─ app ─▶              OUTPUT                    │
//! ```
//!
//! Contract with the namespace:
//! - whole packets only: fragments are put together before the hooks and cut again behind them, as Linux
//!   does where it tracks connections (one that comes all the same is of state INVALID and is never
//!   translated);
//! - a packet meets its hooks in the order above with no more than a few others in between;
//! - after OUTPUT and PREROUTING the destination may be another one: look at [`Outcome::rewrite`] and
//!   route (again);
//! - a packet that comes back over the loopback interface passes OUTPUT, POSTROUTING, PREROUTING, INPUT and
//!   stays in its connection: it is found by its translated tuple and neither counted nor mapped twice;
//! - bridged packets pass PREROUTING, FORWARD and POSTROUTING with the bridge's interface at both ends
//!   (`br_netfilter`).
//!
//! All three hooks of a bridged packet at once are [`Netfilter::run_bridged`]: much faster for flows that
//! go on (see `lane`). Those of a packet to forward are [`Netfilter::run_routed`] (see `routed`).
//!
//! A namespace without rules and connections does nothing at all here.

mod lane;
mod like;
mod routed;
mod shape;
#[cfg(test)]
mod tests;

use core::net::IpAddr;

pub use self::lane::{Datum, Passage, Run, Tally, Wide};
pub use self::routed::{Crossing, Exit, Passed};
pub use self::shape::{Shape, WideShape};

use crate::conntrack::tuple::{Quote, Read, read};
use crate::conntrack::{Advance, ConnRef, Conntrack, Direction, Flow, Limits, Tuple};
use crate::filter::{ChainId, Counter, Facts, Family, Locals, Ruleset, State, Table, Target};
use crate::nat::rewrite::{Checksum, Side};
use crate::nat::{self, Cursor};
use crate::time::Time;
use crate::verdict::{DropReason, IfId, Rewrite, Verdict};
use crate::wire::Packet;

/// A hook: where packets meet the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Came in, before routing.
    Prerouting,
    /// For this namespace.
    Input,
    /// Passing through.
    Forward,
    /// Sent by this namespace.
    Output,
    /// Going out, after routing.
    Postrouting,
}

impl Hook {
    /// The name of its base chains.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Input => "INPUT",
            Self::Forward => "FORWARD",
            Self::Output => "OUTPUT",
            Self::Postrouting => "POSTROUTING",
        }
    }
}

/// Where a packet is at a hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// The interface that it came in by; none for what the namespace sends itself.
    pub input: Option<IfId>,
    /// The interface that it goes out by; none before routing and for what stays here.
    pub output: Option<IfId>,
    /// It is bridged: both are the bridge's own interface.
    pub bridged: bool,
}

/// What the rules ask of the namespace.
pub trait Env {
    /// Whether `addr` is an address of this namespace (`addrtype LOCAL`), 127.0.0.0/8 included.
    fn is_local(&self, addr: IpAddr) -> bool;
    /// A number that changes whenever an address of this namespace may have; `None` if nobody counts.
    fn change(&self) -> Option<u64>;
    /// The address to masquerade with towards `destination` out of `output`: the interface's primary
    /// address, or, if it has none of a scope that reaches so far (the loopback interface), the first of
    /// another interface (`inet_select_addr`).
    fn source_for(&self, output: IfId, destination: IpAddr) -> Option<IpAddr>;
}

/// What became of a packet at a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it goes on.
    pub verdict: Verdict,
    /// How it was translated here, if it was.
    pub rewrite: Option<Rewrite>,
}

impl Outcome {
    /// It goes on as it is.
    pub const ACCEPT: Self = Self {
        verdict: Verdict::Accept,
        rewrite: None,
    };

    const fn drop(reason: DropReason) -> Self {
        Self {
            verdict: Verdict::Drop(reason),
            rewrite: None,
        }
    }
}

/// What is known of a packet's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    conn: Option<ConnRef>,
    direction: Direction,
    state: State,
}

impl Known {
    const fn none(state: State) -> Self {
        Self {
            conn: None,
            direction: Direction::Original,
            state,
        }
    }
}

/// The packet that was seen last: most meet their next hook at once.
#[derive(Clone, Copy, Debug)]
struct Last {
    tuple: Tuple,
    is_error: bool,
    known: Known,
}

/// A packet at a hook.
struct Visit<'a> {
    now: Time,
    hook: Hook,
    bytes: &'a mut [u8],
    packet: Packet,
    read: Read,
    checksum: Checksum,
    path: &'a Path,
    env: &'a dyn Env,
    frames: u32,
    rewrite: Option<Rewrite>,
}

/// The firewall of a namespace.
#[derive(Debug, Default)]
pub struct Netfilter {
    /// The connections.
    pub conntrack: Conntrack,
    /// The rules.
    pub rules: Ruleset,
    cursor: Cursor,
    last: Option<Last>,
    lanes: lane::Lanes,
    flows: routed::Flows,
}

impl Netfilter {
    /// A firewall without rules.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            conntrack: Conntrack::new(limits),
            ..Self::default()
        }
    }

    /// There is nothing to do: no rule, no connection.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.conntrack.is_empty()
    }

    /// Runs one hook over the IP packet that starts with `bytes`, and rewrites it in place.
    ///
    /// `csum_partial` says that the transport checksum field holds the sum of the pseudo header, or 0
    /// for nothing, instead of a checksum. Packets of other families pass.
    pub fn run(
        &mut self,
        now: Time,
        hook: Hook,
        bytes: &mut [u8],
        csum_partial: bool,
        path: &Path,
        env: &dyn Env,
    ) -> Outcome {
        self.run_for(now, hook, bytes, csum_partial, path, env, 1)
    }

    /// The same for a super-segment that stands for `frames` frames: so many it counts.
    #[allow(clippy::too_many_arguments)]
    pub fn run_for(
        &mut self,
        now: Time,
        hook: Hook,
        bytes: &mut [u8],
        csum_partial: bool,
        path: &Path,
        env: &dyn Env,
        frames: u32,
    ) -> Outcome {
        let hooks = [hook];
        self.run_hooks(now, &hooks, bytes, csum_partial, path, env, frames)
    }

    /// The same at several hooks, one after the other on one path.
    #[allow(clippy::too_many_arguments)]
    fn run_hooks(
        &mut self,
        now: Time,
        hooks: &[Hook],
        bytes: &mut [u8],
        csum_partial: bool,
        path: &Path,
        env: &dyn Env,
        frames: u32,
    ) -> Outcome {
        if self.is_empty() {
            return Outcome::ACCEPT;
        }
        self.rules.clear_last();
        if !matches!(bytes.first().map(|byte| byte >> 4), Some(4 | 6)) {
            return Outcome::ACCEPT;
        }
        let packet = match Packet::parse(bytes) {
            Ok(packet) => packet,
            Err(reason) => return Outcome::drop(reason),
        };
        let mut visit = Visit {
            now,
            hook: Hook::Prerouting,
            read: read(bytes, &packet),
            bytes,
            packet,
            checksum: if csum_partial {
                Checksum::Partial
            } else {
                Checksum::Full
            },
            path,
            env,
            frames,
            rewrite: None,
        };
        let mut rewrite = None;
        for &hook in hooks {
            if self.is_empty() {
                break;
            }
            self.rules.clear_last();
            visit.hook = hook;
            let verdict = self.visit(&mut visit);
            if let Err(reason) = verdict {
                return Outcome {
                    verdict: Verdict::Drop(reason),
                    rewrite,
                };
            }
            if let Some(change) = visit.rewrite.take() {
                rewrite = merged(rewrite, Some(change));
                visit.read = read(visit.bytes, &visit.packet);
            }
        }
        Outcome {
            verdict: Verdict::Accept,
            rewrite,
        }
    }

    fn visit(&mut self, visit: &mut Visit<'_>) -> Result<(), DropReason> {
        let known = match visit.hook {
            Hook::Prerouting | Hook::Output => {
                self.raw(visit)?;
                self.track(visit)?
            }
            _ => self.recall(visit),
        };
        let result = self.decide(visit, known);
        if result.is_err() {
            self.forget_unconfirmed(known);
        }
        result
    }

    /// The tables of the hook, in their order.
    fn decide(&mut self, visit: &mut Visit<'_>, known: Known) -> Result<(), DropReason> {
        match visit.hook {
            Hook::Prerouting => self.translate(visit, known, Side::Destination),
            Hook::Output => {
                self.translate(visit, known, Side::Destination)?;
                self.filter(visit, known)
            }
            Hook::Forward => self.filter(visit, known),
            Hook::Input => {
                self.filter(visit, known)?;
                self.translate(visit, known, Side::Source)?;
                self.confirm(visit, known)
            }
            Hook::Postrouting => {
                self.translate(visit, known, Side::Source)?;
                self.confirm(visit, known)
            }
        }
    }

    /// A dropped packet takes the connection that it would have started with it.
    fn forget_unconfirmed(&mut self, known: Known) {
        if let Some(at) = known.conn
            && known.state == State::New
            && self.conntrack.conn(at).is_some_and(|conn| !conn.confirmed)
        {
            self.conntrack.remove(at);
        }
    }

    fn raw(&mut self, visit: &Visit<'_>) -> Result<(), DropReason> {
        // The state is not known yet and no raw rule asks for it.
        let facts = visit.facts(State::Untracked);
        match self.ask(visit, Table::Raw, &facts) {
            Target::Drop(reason) => Err(reason),
            _ => Ok(()),
        }
    }

    fn ask(&mut self, visit: &Visit<'_>, table: Table, facts: &Facts) -> Target {
        let Some(chain) = visit.chain(table) else {
            return Target::Accept;
        };
        let locals = Locals {
            is_local: &|address| visit.env.is_local(address),
            change: visit.env.change(),
        };
        self.rules.ask(chain, facts, &locals)
    }

    fn filter(&mut self, visit: &Visit<'_>, known: Known) -> Result<(), DropReason> {
        let facts = visit.facts(known.state);
        match self.ask(visit, Table::Filter, &facts) {
            Target::Drop(reason) => Err(reason),
            _ => Ok(()),
        }
    }

    /// Finds the packet's connection, or makes it.
    fn track(&mut self, visit: &Visit<'_>) -> Result<Known, DropReason> {
        let (tuple, is_error, known) = match visit.read {
            Read::Flow(flow) => (flow.tuple, false, self.track_flow(visit, &flow)?),
            Read::Error(quote) => (quote.tuple, true, self.track_error(visit, &quote)),
            Read::Untracked => return Ok(Known::none(State::Untracked)),
            Read::Invalid => return Ok(Known::none(State::Invalid)),
        };
        self.last = Some(Last {
            tuple,
            is_error,
            known,
        });
        Ok(known)
    }

    fn track_flow(&mut self, visit: &Visit<'_>, flow: &Flow) -> Result<Known, DropReason> {
        let now = visit.now;
        if let Some((at, direction)) = self.find(visit, &flow.tuple) {
            match self.advance(visit, at, direction, flow.flags) {
                Advance::Live | Advance::Over => return Ok(self.known(at, direction)),
                Advance::Invalid => return Ok(Known::none(State::Invalid)),
                Advance::Reopen => self.conntrack.remove(at),
            }
        }
        let Some(at) = self.conntrack.create(now, flow)? else {
            return Ok(Known::none(State::Invalid));
        };
        if let Some(conn) = self.conntrack.conn_mut(at) {
            conn.local = visit.hook == Hook::Output;
        }
        Ok(self.known(at, Direction::Original))
    }

    /// The connection of a packet at its first hook. One that this namespace sent to itself may come
    /// with a tuple that was translated on the way.
    fn find(&mut self, visit: &Visit<'_>, tuple: &Tuple) -> Option<(ConnRef, Direction)> {
        if let Some(found) = self.conntrack.find(visit.now, tuple) {
            return Some(found);
        }
        if visit.may_be_looped() && visit.env.is_local(visit.packet.source) {
            return self.conntrack.find_translated(visit.now, tuple);
        }
        None
    }

    /// Accounts for a packet, unless it was accounted for on its way out to the loopback interface.
    fn advance(
        &mut self,
        visit: &Visit<'_>,
        at: ConnRef,
        direction: Direction,
        flags: u8,
    ) -> Advance {
        let Some(conn) = self.conntrack.conn_mut(at) else {
            return Advance::Invalid;
        };
        if conn.local && visit.may_be_looped() && visit.env.is_local(visit.packet.source) {
            return Advance::Live;
        }
        let was_assured = conn.assured;
        let advance = conn.advance(visit.now, direction, flags);
        if conn.is_misplaced() || conn.assured != was_assured {
            self.conntrack.settle(at);
        }
        advance
    }

    fn known(&self, at: ConnRef, direction: Direction) -> Known {
        let answered = self.conntrack.conn(at).is_some_and(|conn| conn.seen_reply);
        let state = match direction {
            Direction::Original if !answered => State::New,
            _ => State::Established,
        };
        Known {
            conn: Some(at),
            direction,
            state,
        }
    }

    /// The connection that an ICMP error is about. The error goes the way of an answer to the packet
    /// that it quotes, and has to go to that packet's sender.
    fn track_error(&mut self, visit: &Visit<'_>, quote: &Quote) -> Known {
        let back = quote.tuple.inverted();
        let mut found = self.conntrack.find(visit.now, &back);
        if let Some((at, direction)) = found {
            let expected = self.conntrack.conn(at).map(|conn| match direction {
                Direction::Original => conn.original().destination,
                Direction::Reply => conn.reply().destination,
            });
            if expected != Some(visit.packet.destination) {
                return Known::none(State::Invalid);
            }
        } else if visit.may_be_looped() && visit.env.is_local(visit.packet.source) {
            found = self.conntrack.find_translated(visit.now, &back);
        }
        found.map_or(Known::none(State::Invalid), |(at, direction)| Known {
            conn: Some(at),
            direction,
            state: State::Related,
        })
    }

    /// The connection of a packet at a later hook.
    fn recall(&mut self, visit: &Visit<'_>) -> Known {
        let (tuple, is_error) = match visit.read {
            Read::Flow(flow) => (flow.tuple, false),
            Read::Error(quote) => (quote.tuple, true),
            Read::Untracked => return Known::none(State::Untracked),
            Read::Invalid => return Known::none(State::Invalid),
        };
        if let Some(last) = &self.last
            && last.tuple == tuple
            && last.is_error == is_error
            && last
                .known
                .conn
                .is_none_or(|at| self.conntrack.conn(at).is_some())
        {
            return last.known;
        }
        let looked_for = if is_error { tuple.inverted() } else { tuple };
        let known = match self.conntrack.find_translated(visit.now, &looked_for) {
            None => Known::none(State::Invalid),
            Some((at, direction)) if is_error => Known {
                conn: Some(at),
                direction,
                state: State::Related,
            },
            Some((at, direction)) => self.known(at, direction),
        };
        self.last = Some(Last {
            tuple,
            is_error,
            known,
        });
        known
    }

    /// Maps the connection if this is its first packet here, and translates one end of the packet.
    fn translate(
        &mut self,
        visit: &mut Visit<'_>,
        known: Known,
        side: Side,
    ) -> Result<(), DropReason> {
        let Some(at) = known.conn else { return Ok(()) };
        let Some(conn) = self.conntrack.conn(at) else {
            return Ok(());
        };
        let mapped = match side {
            Side::Source => conn.source_done,
            Side::Destination => conn.destination_done,
        };
        if !mapped && known.state == State::New {
            self.map(visit, at, side)?;
        }
        let Some(conn) = self.conntrack.conn(at) else {
            return Ok(());
        };
        if !conn.source_nat && !conn.destination_nat {
            return Ok(());
        }
        let written = match visit.read {
            Read::Flow(flow) => nat::target(conn, known.direction, side).and_then(|to| {
                let bytes = &mut *visit.bytes;
                nat::rewrite_end(bytes, &visit.packet, &flow.tuple, side, to, visit.checksum)
            }),
            Read::Error(quote) => nat::rewrite_error(
                visit.bytes,
                &visit.packet,
                &quote,
                conn,
                known.direction,
                side,
                visit.checksum,
            )?,
            Read::Untracked | Read::Invalid => None,
        };
        if let Some((tuple, rewrite)) = written {
            visit.changed(rewrite);
            self.last = Some(Last {
                tuple,
                is_error: matches!(visit.read, Read::Error(_)),
                known,
            });
        }
        Ok(())
    }

    fn map(&mut self, visit: &Visit<'_>, at: ConnRef, side: Side) -> Result<(), DropReason> {
        let facts = visit.facts(State::New);
        let target = self.ask(visit, Table::Nat, &facts);
        if let Target::Drop(reason) = target {
            return Err(reason);
        }
        match side {
            Side::Destination => {
                let to = match target {
                    Target::Dnat(address, port) => Some((address, port)),
                    _ => None,
                };
                nat::set_destination(&mut self.conntrack, at, to);
                Ok(())
            }
            Side::Source => {
                let to = match target {
                    Target::Snat(address) => Some(address),
                    Target::Masquerade => Some(visit.masquerade()?),
                    _ => None,
                };
                nat::set_source(&mut self.conntrack, &mut self.cursor, visit.now, at, to)
            }
        }
    }

    fn confirm(&mut self, visit: &Visit<'_>, known: Known) -> Result<(), DropReason> {
        match known.conn {
            Some(at) if known.state == State::New => self.conntrack.confirm(visit.now, at),
            _ => Ok(()),
        }
    }
}

impl Visit<'_> {
    fn chain(&self, table: Table) -> Option<ChainId> {
        ChainId::base(Family::of(self.packet.source), table, self.hook)
    }

    fn facts(&self, state: State) -> Facts {
        let ports = match self.read {
            Read::Flow(flow) if flow.tuple.has_ports() => {
                Some((flow.tuple.source_port, flow.tuple.destination_port))
            }
            _ => self.packet.ports(self.bytes),
        };
        Facts {
            source: self.packet.source,
            destination: self.packet.destination,
            protocol: u8::from(self.packet.protocol),
            ports,
            input: self.path.input,
            output: self.path.output,
            bridged: self.path.bridged,
            state,
            weight: Counter {
                packets: u64::from(self.frames),
                bytes: self.packet.len as u64,
            },
        }
    }

    /// It may have been sent by this namespace to itself.
    fn may_be_looped(&self) -> bool {
        self.hook == Hook::Prerouting && !self.path.bridged
    }

    fn masquerade(&self) -> Result<IpAddr, DropReason> {
        let output = self.path.output.ok_or(DropReason::NatNoAddress)?;
        self.env
            .source_for(output, self.packet.destination)
            .ok_or(DropReason::NatNoAddress)
    }

    /// Takes note of a rewrite: later tables of this hook see the packet as it is now.
    fn changed(&mut self, rewrite: Rewrite) {
        self.packet.source = rewrite.to_source.ip();
        self.packet.destination = rewrite.to_destination.ip();
        if let Read::Flow(_) = self.read {
            self.read = read(self.bytes, &self.packet);
        }
        self.rewrite = Some(rewrite);
    }
}

/// Two rewrites of a packet, one after the other, as one.
fn merged(first: Option<Rewrite>, second: Option<Rewrite>) -> Option<Rewrite> {
    let (Some(first), Some(second)) = (first, second) else {
        return first.or(second);
    };
    Some(Rewrite {
        from_source: first.from_source,
        from_destination: first.from_destination,
        ..second
    })
}
