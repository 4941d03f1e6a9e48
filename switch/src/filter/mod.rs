//! Rules on the five hooks: tables, chains, counters, and the walk of a packet through them.
//!
//! After Linux netfilter with the tables that Docker uses: raw before the tracking of connections, nat
//! for the first packet of each, filter for all. Each family has its own, as `iptables` and `ip6tables`.
//! Left out: the mangle and security tables, chains that call themselves (a call deeper than
//! [`DEPTH`] returns at once; Linux refuses such rules).
//!
//! Costs: a rule is added and removed in logarithmic time, and a packet looks only at rules that name its
//! own addresses, ports and interfaces (see `chain`). What the rules said is remembered for the next
//! packet that is the same to them (see `memory`); its counters go on.

mod chain;
mod judgement;
mod memory;
mod render;
mod rule;
#[cfg(test)]
mod tests;
mod ways;

use core::net::IpAddr;
use std::borrow::Cow;

pub use chain::Chain;
pub use judgement::{Judgement, Ruling};
use memory::{Answer, Memory};
pub(crate) use rule::Facts;
pub use rule::{Action, Counter, IfMatch, Match, NetMatch, Origin, Rule, State, States};
use ways::{Leg, Ways};

use crate::hook::Hook;
use crate::verdict::{DropReason, Verdict};

/// How deep chains may call chains.
pub const DEPTH: usize = 16;
/// Rules that one remembered answer may have passed.
const REMEMBERED_RULES: usize = 12;
/// Room for chains besides the base chains: those of a firewall of one family.
const CHAINS: usize = 8;
/// And for rules: those of a few networks.
const RULES: usize = 24;
/// Ways that are known at once; with more all are found out anew.
pub(crate) const WAYS: usize = 4096;

/// An address family: each has its own rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }
}

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Decides who may pass.
    Filter,
    /// Translates addresses; asked for the first packet of a connection only.
    Nat,
    /// Before connections are tracked.
    Raw,
}

/// The base chains of one family, in the order in which the tools print them.
const BASE: [(Table, Hook); 9] = [
    (Table::Raw, Hook::Prerouting),
    (Table::Raw, Hook::Output),
    (Table::Nat, Hook::Prerouting),
    (Table::Nat, Hook::Input),
    (Table::Nat, Hook::Output),
    (Table::Nat, Hook::Postrouting),
    (Table::Filter, Hook::Input),
    (Table::Filter, Hook::Forward),
    (Table::Filter, Hook::Output),
];

/// A chain of a [`Ruleset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(u32);

impl ChainId {
    /// The base chain of a table at a hook; `None` where a table has none.
    #[must_use]
    pub const fn base(family: Family, table: Table, hook: Hook) -> Option<Self> {
        let at = match (table, hook) {
            (Table::Raw, Hook::Prerouting) => 0,
            (Table::Raw, Hook::Output) => 1,
            (Table::Nat, Hook::Prerouting) => 2,
            (Table::Nat, Hook::Input) => 3,
            (Table::Nat, Hook::Output) => 4,
            (Table::Nat, Hook::Postrouting) => 5,
            (Table::Filter, Hook::Input) => 6,
            (Table::Filter, Hook::Forward) => 7,
            (Table::Filter, Hook::Output) => 8,
            (Table::Raw, _) | (Table::Nat, Hook::Forward) => return None,
            (Table::Filter, Hook::Prerouting | Hook::Postrouting) => return None,
        };
        Some(Self(family as u32 * BASE.len() as u32 + at))
    }
}

/// A rule of a [`Ruleset`]; worthless once the rule is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId {
    slot: u32,
    generation: u32,
}

#[derive(Debug)]
struct Placed {
    chain: ChainId,
    place: chain::Place,
    rule: Rule,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    counter: Counter,
    placed: Option<Placed>,
}

/// What the walk through a chain came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Accept,
    Drop(DropReason),
    Dnat(IpAddr, Option<u16>),
    Snat(IpAddr),
    Masquerade,
}

/// The addresses of a namespace, as far as rules ask for them.
pub(crate) struct Locals<'a> {
    /// Whether it has an address.
    pub(crate) is_local: &'a dyn Fn(IpAddr) -> bool,
    /// A number that changes with them; `None` if there is none.
    pub(crate) change: Option<u64>,
}

/// The rules that a packet matched on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Trail {
    rules: [u32; REMEMBERED_RULES],
    len: u8,
    /// There were more.
    is_cut: bool,
    /// A rule on the way asked which addresses the namespace has.
    asks_addresses: bool,
    /// No rule decided.
    by_policy: bool,
}

impl Trail {
    pub(crate) const NEW: Self = Self {
        rules: [0; REMEMBERED_RULES],
        len: 0,
        is_cut: false,
        asks_addresses: false,
        by_policy: false,
    };

    /// Through a chain of which no rule is asked.
    pub(crate) const POLICY: Self = Self {
        by_policy: true,
        ..Self::NEW
    };

    const fn push(&mut self, rule: u32) {
        if (self.len as usize) < REMEMBERED_RULES {
            self.rules[self.len as usize] = rule;
            self.len += 1;
        } else {
            self.is_cut = true;
        }
    }

    /// Whether it holds only as long as the namespace's addresses stay.
    pub(crate) const fn asks_addresses(&self) -> bool {
        self.asks_addresses
    }

    fn rules(&self) -> &[u32] {
        &self.rules[..usize::from(self.len)]
    }

    fn last(&self, slots: &[Slot]) -> Option<RuleId> {
        let &slot = self.rules().last()?;
        let generation = slots[slot as usize].generation;
        Some(RuleId { slot, generation })
    }
}

/// All tables of a namespace.
#[derive(Debug)]
pub struct Ruleset {
    chains: Vec<Option<Chain>>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    rules: usize,
    policies: usize,
    sequence: u64,
    change: u64,
    memory: Memory,
    ways: Ways,
    last: Option<RuleId>,
    /// What was said since it was last taken, while somebody wants to know.
    judged: Option<Vec<Judgement>>,
}

impl Default for Ruleset {
    fn default() -> Self {
        Self::new()
    }
}

impl Ruleset {
    /// Tables without rules; the policies are ACCEPT.
    #[must_use]
    pub fn new() -> Self {
        let mut chains = Vec::with_capacity(2 * BASE.len() + CHAINS);
        for family in [Family::V4, Family::V6] {
            chains.extend(BASE.iter().map(|&(table, hook)| {
                let base = Some((hook, Verdict::Accept));
                Some(Chain::new(hook.word().into(), family, table, base))
            }));
        }
        Self {
            chains,
            slots: Vec::with_capacity(RULES),
            free: Vec::new(),
            rules: 0,
            policies: 0,
            sequence: 0,
            change: 0,
            memory: Memory::default(),
            ways: Ways::default(),
            last: None,
            judged: None,
        }
    }

    /// There is no rule, and every policy is ACCEPT.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules == 0 && self.policies == 0
    }

    /// Sets what becomes of packets that no rule of a base chain decides on; without effect on
    /// other chains.
    pub fn set_policy(&mut self, chain: ChainId, verdict: Verdict) {
        self.changes();
        if let Some(Some(chain)) = self.chains.get_mut(chain.0 as usize)
            && let Some((_, policy)) = &mut chain.base
        {
            self.policies -= usize::from(*policy != Verdict::Accept);
            self.policies += usize::from(verdict != Verdict::Accept);
            *policy = verdict;
        }
    }

    /// Makes a chain for other chains to jump to.
    pub fn add_chain(
        &mut self,
        family: Family,
        table: Table,
        name: impl Into<Cow<'static, str>>,
    ) -> ChainId {
        self.chains
            .push(Some(Chain::new(name.into(), family, table, None)));
        ChainId((self.chains.len() - 1) as u32)
    }

    /// A chain.
    #[must_use]
    pub fn chain(&self, chain: ChainId) -> Option<&Chain> {
        self.chains.get(chain.0 as usize)?.as_ref()
    }

    /// Adds a rule behind those of its own and lower ranks, before those of higher ranks. Returns `None`
    /// if there is no such chain.
    pub fn add(&mut self, chain: ChainId, rank: i64, rule: Rule) -> Option<RuleId> {
        self.chain(chain)?;
        let place = (rank, self.sequence);
        self.sequence += 1;
        self.changes();
        self.memory.name(&rule.matches);
        self.rules += 1;
        if let Action::Jump(to) = rule.action {
            self.refer(to, true);
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(Slot::default());
                (self.slots.len() - 1) as u32
            }
        };
        if let Some(Some(chain)) = self.chains.get_mut(chain.0 as usize) {
            chain.insert(place, slot, &rule.matches);
        }
        let held = &mut self.slots[slot as usize];
        held.counter = Counter::default();
        held.placed = Some(Placed { chain, place, rule });
        Some(RuleId {
            slot,
            generation: held.generation,
        })
    }

    /// Takes a rule away; `false` if it is gone already.
    pub fn remove(&mut self, rule: RuleId) -> bool {
        let Some(held) = self.slots.get_mut(rule.slot as usize) else {
            return false;
        };
        if held.generation != rule.generation {
            return false;
        }
        let Some(placed) = held.placed.take() else {
            return false;
        };
        held.generation = held.generation.wrapping_add(1);
        self.free.push(rule.slot);
        self.rules -= 1;
        self.changes();
        if let Some(Some(chain)) = self.chains.get_mut(placed.chain.0 as usize) {
            chain.remove(placed.place, &placed.rule.matches);
        }
        if let Action::Jump(to) = placed.rule.action {
            self.refer(to, false);
        }
        true
    }

    fn refer(&mut self, to: ChainId, more: bool) {
        if let Some(Some(chain)) = self.chains.get_mut(to.0 as usize) {
            if more {
                chain.references += 1;
            } else {
                chain.references -= 1;
            }
        }
    }

    /// A rule and how often it matched.
    #[must_use]
    pub fn rule(&self, rule: RuleId) -> Option<(&Rule, Counter)> {
        let held = self.slots.get(rule.slot as usize)?;
        if held.generation != rule.generation {
            return None;
        }
        Some((&held.placed.as_ref()?.rule, self.counted(rule.slot)))
    }

    /// How many packets the policy of a chain decided on.
    #[must_use]
    pub fn passed(&self, chain: &Chain) -> Counter {
        let mut passed = chain.passed;
        let base = chain
            .base
            .and_then(|(hook, _)| ChainId::base(chain.family, chain.table, hook));
        if let Some(base) = base {
            passed.add(self.ways.of_policy(base));
        }
        passed
    }

    /// How often the rule in a slot matched.
    fn counted(&self, slot: u32) -> Counter {
        let mut counter = self.slots[slot as usize].counter;
        counter.add(self.ways.of_rule(slot));
        counter
    }

    /// Something of the rules is different from now on: what the ways hold is laid on the rules of before.
    fn changes(&mut self) {
        self.change += 1;
        for ((chain, trail), count) in core::mem::take(&mut self.ways).legs() {
            self.lay(*chain, trail, count);
        }
    }

    /// Every rule, in no meaningful order.
    pub fn all(&self) -> impl Iterator<Item = (RuleId, &Rule)> {
        self.slots.iter().enumerate().filter_map(|(at, slot)| {
            let id = RuleId {
                slot: at as u32,
                generation: slot.generation,
            };
            Some((id, &slot.placed.as_ref()?.rule))
        })
    }

    /// The chain that a rule stands in.
    #[must_use]
    pub fn chain_of(&self, rule: RuleId) -> Option<&Chain> {
        self.rule(rule)?;
        let placed = self.slots.get(rule.slot as usize)?.placed.as_ref()?;
        self.chain(placed.chain)
    }

    /// The rule that decided on the last packet at its last hook: what dropped it, if it was dropped.
    /// `None` if that was a policy, or no rule was asked.
    #[must_use]
    pub const fn last(&self) -> Option<RuleId> {
        self.last
    }

    pub(crate) const fn clear_last(&mut self) {
        self.last = None;
    }

    /// Asks a base chain. An empty one answers at once, and so does one that was asked the same before.
    pub(crate) fn ask(&mut self, chain: ChainId, facts: &Facts, locals: &Locals<'_>) -> Target {
        self.last = None;
        if self.chain(chain).is_none_or(Chain::is_empty) {
            return self.pass(chain, facts.weight);
        }
        let key = self.memory.key(chain, facts);
        if let Some(answer) = self.memory.recall(&key, self.change, locals.change) {
            let Answer { target, trail } = *answer;
            self.count_along(chain, &trail, facts.weight);
            if self.judged.is_some() {
                self.judge(chain, target, &trail);
            }
            return target;
        }
        let mut trail = Trail::NEW;
        let target = self.ask_along(chain, facts, locals, &mut trail);
        let addresses = locals.change.filter(|_| trail.asks_addresses);
        if !trail.is_cut && trail.asks_addresses == addresses.is_some() {
            let answer = Answer { target, trail };
            self.memory.keep(key, self.change, addresses, answer);
        }
        if self.judged.is_some() {
            self.judge(chain, target, &trail);
        }
        target
    }

    fn ask_along(
        &mut self,
        chain: ChainId,
        facts: &Facts,
        locals: &Locals<'_>,
        trail: &mut Trail,
    ) -> Target {
        let Some(Some(base)) = self.chains.get(chain.0 as usize) else {
            return Target::Accept;
        };
        let mut walk = Walk {
            chains: &self.chains,
            slots: &mut self.slots,
            facts,
            is_local: locals.is_local,
            trail,
        };
        if let Step::Decided(target, rule) = walk.through(base, 0) {
            self.last = Some(rule);
            return target;
        }
        trail.by_policy = true;
        self.pass(chain, facts.weight)
    }

    /// Lets the policy of a base chain decide.
    fn pass(&mut self, chain: ChainId, weight: Counter) -> Target {
        let Some(Some(base)) = self.chains.get_mut(chain.0 as usize) else {
            return Target::Accept;
        };
        base.passed.add(weight);
        match base.base {
            Some((_, Verdict::Drop(reason))) => Target::Drop(reason),
            _ => Target::Accept,
        }
    }
}

/// What the express lane of bridged packets asks (see [`crate::hook`]).
impl Ruleset {
    /// Every packet is shown to the rules anew.
    #[cfg(test)]
    pub(crate) const fn remember_nothing(&mut self) {
        self.memory.is_off = true;
    }

    /// A number that every change of a rule or policy changes.
    pub(crate) const fn change(&self) -> u64 {
        self.change
    }

    /// Two ports, as far as any rule names them.
    #[inline]
    pub(crate) fn named(&self, ports: u32) -> u64 {
        self.memory.named((ports >> 16) as u16) | self.memory.named(ports as u16) << 17
    }

    /// The way through `chain` that a packet took which was accepted, if all that are like it go the same
    /// way until a rule changes.
    pub(crate) fn trail_of(&self, chain: ChainId, facts: &Facts) -> Option<Trail> {
        let (target, trail) = self.said_with(chain, facts, None)?;
        (target == Target::Accept).then_some(trail)
    }

    /// What `chain` said of a packet and its way there, with the namespace's addresses in this state if a rule [asks
    /// for them](Trail::asks_addresses).
    pub(crate) fn said_with(
        &self,
        chain: ChainId,
        facts: &Facts,
        addresses: Option<u64>,
    ) -> Option<(Target, Trail)> {
        let base = self.chain(chain)?;
        if base.is_empty() && matches!(base.base, Some((_, Verdict::Accept))) {
            return Some((Target::Accept, Trail::POLICY));
        }
        let key = self.memory.key(chain, facts);
        let answer = self.memory.recall(&key, self.change, addresses)?;
        Some((answer.target, answer.trail))
    }

    /// Whether a base chain accepts the packet by its policy, and will for as long as no rule changes.
    pub(crate) fn lets_pass(&self, chain: ChainId, facts: &Facts) -> bool {
        let Some(chain) = self.chain(chain) else {
            return false;
        };
        let matched = chain.candidates(facts).any(|rule| {
            let placed = self.slots[rule as usize].placed.as_ref();
            placed.is_some_and(|placed| {
                let matches = &placed.rule.matches;
                matches.asks_addresses() || matches.holds(facts, &|_| false)
            })
        });
        !matched && matches!(chain.base, Some((_, Verdict::Accept)))
    }

    /// The number of a way through base chains, until [`Self::change`] says something else.
    pub(crate) fn way(&mut self, legs: &[Leg]) -> u32 {
        if self.ways.len() >= WAYS {
            self.changes();
        }
        self.ways.number(legs)
    }

    /// The number of a way that goes through two base chains more.
    pub(crate) fn longer_way(&mut self, way: u32, by: [Leg; 2]) -> Option<u32> {
        let legs = [self.ways.of(way)?, &by].concat();
        Some(self.way(&legs))
    }

    /// Counts packets that were accepted along a way.
    #[inline]
    pub(crate) fn count_way(&mut self, way: u32, weight: Counter) {
        self.last = None;
        self.ways.count(way, weight);
    }

    /// Counts a packet that goes the way of `trail` through `chain`.
    fn count_along(&mut self, chain: ChainId, trail: &Trail, weight: Counter) {
        self.lay(chain, trail, weight);
        self.last = match trail.by_policy {
            true => None,
            false => trail.last(&self.slots),
        };
    }

    fn lay(&mut self, chain: ChainId, trail: &Trail, weight: Counter) {
        for &rule in trail.rules() {
            self.slots[rule as usize].counter.add(weight);
        }
        if trail.by_policy {
            self.pass(chain, weight);
        }
    }
}

impl Counter {
    pub(crate) const fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

enum Step {
    Decided(Target, RuleId),
    Returned,
}

struct Walk<'a> {
    chains: &'a [Option<Chain>],
    slots: &'a mut [Slot],
    facts: &'a Facts,
    is_local: &'a dyn Fn(IpAddr) -> bool,
    trail: &'a mut Trail,
}

impl Walk<'_> {
    fn through(&mut self, chain: &Chain, depth: usize) -> Step {
        if chain.is_empty() {
            return Step::Returned;
        }
        for rule in chain.candidates(self.facts) {
            let held = &mut self.slots[rule as usize];
            let Some(placed) = &held.placed else { continue };
            self.trail.asks_addresses |= placed.rule.matches.asks_addresses();
            if !placed.rule.matches.holds(self.facts, self.is_local) {
                continue;
            }
            let action = placed.rule.action;
            let id = RuleId {
                slot: rule,
                generation: held.generation,
            };
            held.counter.add(self.facts.weight);
            self.trail.push(rule);
            let target = match action {
                Action::Accept => Target::Accept,
                Action::Drop(reason) => Target::Drop(reason),
                Action::Dnat(address, port) => Target::Dnat(address, port),
                Action::Snat(address) => Target::Snat(address),
                Action::Masquerade => Target::Masquerade,
                Action::Return => return Step::Returned,
                Action::Jump(to) => match self.jump(to, depth) {
                    Step::Returned => continue,
                    decided @ Step::Decided(..) => return decided,
                },
            };
            return Step::Decided(target, id);
        }
        Step::Returned
    }

    fn jump(&mut self, to: ChainId, depth: usize) -> Step {
        let chains = self.chains;
        match chains.get(to.0 as usize) {
            Some(Some(chain)) if depth < DEPTH => self.through(chain, depth + 1),
            _ => Step::Returned,
        }
    }
}
