//! What is learned from a packet that has passed the hooks one by one.

use super::super::like::Like;
use super::super::{Netfilter, Path};
use super::lanes::Opening;
use super::plain::Plain;
use super::{FORWARD, NAT, RAW, bridged_like};
use crate::filter::{ChainId, Facts, State, Target, Trail};

impl Netfilter {
    /// A packet has just passed the hooks: so will all that are like it, if every hook will say the same.
    pub(super) fn learn(&mut self, plain: &Plain, path: &Path, addresses: Option<u64>) {
        if self.rules.keeps_judgements() {
            return;
        }
        let Some(known) = self.last.as_ref().map(|last| last.known) else {
            return;
        };
        let Some(at) = known.conn else { return };
        let conn = self.conntrack.conn(at);
        let is_settled = conn.is_some_and(|conn| conn.confirmed && !conn.is_translated());
        if !is_settled || known.state == State::Related {
            return;
        }
        let like = bridged_like(&self.rules, &plain.key, known.state);
        let said = self.lanes.said_of(&like, self.rules.change());
        let Some(way) = said.or_else(|| self.learn_way(plain, path, like, known.state)) else {
            return;
        };
        if known.state == State::New {
            self.learn_opening(plain, path, like, way, addresses);
        }
        let of = (at, known.direction, known.state);
        if plain.is_data() && self.goes_on(of) {
            self.open(plain, of, way);
        }
    }

    fn learn_way(&mut self, plain: &Plain, path: &Path, like: Like, state: State) -> Option<u32> {
        let way = self.said_way(&plain.facts(path), path, state, (RAW, FORWARD))?;
        self.lanes.say(like, way, self.rules.change());
        Some(way)
    }

    /// The way of a packet of a known connection through these chains, raw and forward, of which `raw` are the facts
    /// before the connection is known.
    pub(super) fn said_way(
        &mut self,
        raw: &Facts,
        path: &Path,
        state: State,
        (first, second): (Option<ChainId>, Option<ChainId>),
    ) -> Option<u32> {
        let (first, second) = (first?, second?);
        let forward = Facts {
            output: path.output,
            state,
            ..*raw
        };
        // They will say the same of the next one like it.
        if !self.rules.lets_pass(first, raw) {
            return None;
        }
        let trail = self.rules.trail_of(second, &forward)?;
        Some(self.rules.way(&[(first, Trail::POLICY), (second, trail)]))
    }

    /// It may have been the first of its connection, and have been shown to the nat table as well.
    fn learn_opening(
        &mut self,
        plain: &Plain,
        path: &Path,
        like: Like,
        way: u32,
        addresses: Option<u64>,
    ) {
        let facts = Facts {
            output: path.output,
            state: State::New,
            ..plain.facts(path)
        };
        let said = |chain: Option<ChainId>| self.rules.said_with(chain?, &facts, addresses);
        let [
            Some((Target::Accept, before)),
            Some((Target::Accept, behind)),
        ] = NAT.map(said)
        else {
            return;
        };
        let [Some(first), Some(second)] = NAT else {
            return;
        };
        let nat = [(first, before), (second, behind)];
        let Some(first) = self.rules.longer_way(way, nat) else {
            return;
        };
        let asks = before.asks_addresses() || behind.asks_addresses();
        let opening = Opening {
            first,
            way,
            addresses: addresses.filter(|_| asks),
        };
        self.lanes
            .openings
            .keep(like, u64::from(self.lanes.epoch), opening);
    }
}
