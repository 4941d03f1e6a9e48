//! The express lane: bridged packets whose way through the hooks is known.
//!
//! Between two members of a bridge every packet passes three hooks. Once a connection is in the table little is
//! decided there any more: no rule asks for anything but what many packets share, nothing is translated, and the
//! connection only has its state and its timer moved on. So what the rules said of one packet is repeated, counters
//! included, for all that are [the same to them](Like), and the connection is told of each. A flow that has had more
//! packets of data than a short connection has gets a lane, which spares it looking up either, until a rule or the
//! connection changes.
//!
//! Nothing changes but the cost: `the_lane_changes_nothing` runs the same packets both ways. TCP and UDP only, of IPv6
//! (see `wide`) known connections and no lanes; fragments and everything else take the hooks one by one.

mod lanes;
mod learn;
mod passage;
mod plain;
mod run;
mod wide;

use self::lanes::Lane;
use super::like::Like;
use super::{Env, Hook, Netfilter, Outcome, Path};
use crate::conntrack::{Conn, ConnRef, Conntrack, Direction, Flow};
use crate::filter::{ChainId, Family, Ruleset, State, Table};
use crate::time::Time;
use crate::verdict::{IfId, Verdict};

pub(super) use self::lanes::Lanes;
pub use self::passage::{Passage, Tally};
pub(super) use self::plain::{Key, Plain, plain};
#[cfg(test)]
pub(super) use self::plain::{TCP_KEY, UDP_KEY};
pub use self::run::{Datum, Run};
pub use self::wide::Wide;

pub(super) const RAW: Option<ChainId> = ChainId::base(Family::V4, Table::Raw, Hook::Prerouting);
pub(super) const NAT: [Option<ChainId>; 2] = [
    ChainId::base(Family::V4, Table::Nat, Hook::Prerouting),
    ChainId::base(Family::V4, Table::Nat, Hook::Postrouting),
];
pub(super) const FORWARD: Option<ChainId> = ChainId::base(Family::V4, Table::Filter, Hook::Forward);

impl Netfilter {
    /// Runs PREROUTING, FORWARD and POSTROUTING over a packet that `bridge` passes from one port to
    /// another: what [`run_for`](Self::run_for) does one by one.
    pub fn run_bridged(
        &mut self,
        now: Time,
        bytes: &mut [u8],
        csum_partial: bool,
        bridge: IfId,
        env: &dyn Env,
        frames: u32,
    ) -> Outcome {
        if self.is_empty() {
            return Outcome::ACCEPT;
        }
        let run = Run::of(bytes, bridge, u64::from(frames));
        let wide = match run {
            Some(_) => None,
            None => Wide::of(bytes, bridge, u64::from(frames)),
        };
        if let Some(run) = &run
            && self.pass_bridged(now, run, env.change())
        {
            return Outcome::ACCEPT;
        }
        if let Some(wide) = &wide
            && self.pass_wide(now, wide)
        {
            return Outcome::ACCEPT;
        }
        let path = Path {
            input: Some(bridge),
            output: Some(bridge),
            bridged: true,
        };
        let hooks = [Hook::Prerouting, Hook::Forward, Hook::Postrouting];
        let whole = self.run_hooks(now, &hooks, bytes, csum_partial, &path, env, frames);
        if (whole.verdict, whole.rewrite) == (Verdict::Accept, None) {
            if let Some(run) = run {
                self.learn(&run.first, &path, env.change());
            }
            if let Some(wide) = wide {
                self.learn_wide(&wide, &path);
            }
        }
        whole
    }

    #[cfg(test)]
    pub(super) fn lanes_used(&self) -> usize {
        self.lanes.list.iter().flatten().count()
    }

    /// Sends packets the way that is known: each passes the three hooks as it is, which is accounted for. `false`, and
    /// nothing has happened, if the hooks have to see them. `addresses` is what [`Env::change`] says.
    #[inline(always)]
    pub fn pass_bridged(&mut self, now: Time, run: &Run, addresses: Option<u64>) -> bool {
        let rules = self.rules.change();
        if run.first.is_data()
            && let Some(lane) = self.lanes.of(&run.first.key, rules)
        {
            let (way, of) = (lane.way, (lane.conn, lane.direction, lane.state));
            if advance(&mut self.conntrack, now, run, of) {
                self.rules.count_way(way, run.weight);
                return true;
            }
        }
        let Some(way) = self.pass_like(now, run, addresses) else {
            return false;
        };
        self.rules.count_way(way, run.weight);
        true
    }

    /// The way of packets without a lane, if rules have said it of others like them: all that a known connection needs is
    /// to be told.
    #[inline(always)]
    fn pass_like(&mut self, now: Time, run: &Run, addresses: Option<u64>) -> Option<u32> {
        let first = &run.first;
        let Some((at, direction, conn)) = self.conntrack.peek_words(first.key.flow) else {
            return self.pass_first(now, run, addresses, None);
        };
        if conn.is_translated() {
            return None;
        }
        if conn.is_expired(now) || conn.is_reopened_by(direction, first.flags) {
            return self.pass_first(now, run, addresses, Some(at));
        }
        let state = match direction {
            Direction::Original if !conn.seen_reply => State::New,
            _ => State::Established,
        };
        let (asked, answered) = ((first.key.input, self.lanes.epoch), conn.seen_reply);
        let rules = self.rules.change();
        let said = conn.said.of(asked, direction, answered);
        let way = match said.filter(|_| self.lanes.rules == rules) {
            Some(way) => way,
            None => {
                let like = bridged_like(&self.rules, &first.key, state);
                let way = self.lanes.said_of(&like, rules)?;
                conn.said.keep(asked, (direction, answered), way);
                way
            }
        };
        let is_unsettled = tell(conn, now, run, direction)?;
        let goes_on = first.is_data() && conn.goes_on(direction);
        if is_unsettled {
            self.conntrack.settle(at);
        }
        if goes_on {
            self.open(first, (at, direction, state), way);
        }
        Some(way)
    }

    /// The way of a packet that starts a connection, if the rules have said it of others like it. It takes the place
    /// of `former`, which is over.
    #[inline(never)]
    fn pass_first(
        &mut self,
        now: Time,
        run: &Run,
        addresses: Option<u64>,
        former: Option<ConnRef>,
    ) -> Option<u32> {
        let first = &run.first;
        let like = bridged_like(&self.rules, &first.key, State::New);
        let opening = *self.lanes.opening_of(&like, self.rules.change())?;
        let holds = opening.addresses.is_none() || opening.addresses == addresses;
        if !holds || run.packets != 1 {
            return None;
        }
        let flow = Flow {
            tuple: first.key.tuple(),
            flags: first.flags,
        };
        // Even if the hooks have to see the packet then: they would take it out too.
        if let Some(former) = former {
            self.conntrack.remove(former);
        }
        let at = self.conntrack.enter_plain(now, &flow, None)?;
        let of = (at, Direction::Original, State::New);
        if first.is_data() && self.goes_on(of) {
            self.open(first, of, opening.way);
        }
        Some(opening.first)
    }

    /// One more packet of data of a flow: whether more are to be expected.
    fn goes_on(&mut self, (at, direction, _): (ConnRef, Direction, State)) -> bool {
        let conn = self.conntrack.conn_mut(at);
        conn.is_some_and(|conn| conn.goes_on(direction))
    }

    /// Opens a lane for a flow that goes on.
    #[inline(never)]
    fn open(&mut self, plain: &Plain, of: (ConnRef, Direction, State), way: u32) {
        let (conn, direction, state) = of;
        self.lanes.open(Lane {
            key: plain.key,
            conn,
            direction,
            state,
            way,
            epoch: self.lanes.epoch,
        });
    }
}

/// What a packet that a bridge passes is to the rules.
#[inline(always)]
fn bridged_like(rules: &Ruleset, key: &Key, state: State) -> Like {
    let ports = rules.named(key.ports());
    Like::of(key, state, key.destination_bits(), ports)
}

/// Accounts for packets at their connection, if it is as it was.
#[inline(never)]
pub(super) fn advance(
    conntrack: &mut Conntrack,
    now: Time,
    run: &Run,
    (at, direction, state): (ConnRef, Direction, State),
) -> bool {
    let Some(conn) = conntrack.conn_mut(at) else {
        return false;
    };
    let answered = direction == Direction::Reply || conn.seen_reply;
    if answered != (state == State::Established) || conn.is_expired(now) {
        return false;
    }
    match tell(conn, now, run, direction) {
        None => return false,
        Some(true) => conntrack.settle(at),
        Some(false) => {}
    }
    true
}

/// Tells a living connection of its packets; whether its place in the table is to be [settled](Conntrack::settle).
/// `None` if they do more to it than to go on.
///
/// To a connection the second packet of a moment and every later one mean the same: whether there was
/// an answer, the state and the timer are then as they leave them. So two are enough.
#[inline(always)]
fn tell(conn: &mut Conn, now: Time, run: &Run, direction: Direction) -> Option<bool> {
    let flags = run.first.flags;
    let is_open = conn.is_open() && run.first.is_data();
    let was_assured = conn.assured;
    if is_open {
        conn.advance_open(now, direction);
        if run.packets > 1 {
            conn.advance_open(now, direction);
        }
    } else {
        for _ in 0..run.packets.min(2) {
            if !conn.advance_living(now, direction, flags) {
                return None;
            }
        }
    }
    Some(conn.is_misplaced() || conn.assured != was_assured)
}
