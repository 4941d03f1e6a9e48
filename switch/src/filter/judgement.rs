//! What the rules said of a packet, for whoever asks why: the table, the hook and the rule that decided.
//!
//! Nobody asks, mostly: then a table that has rules costs one comparison more, and an express lane nothing.

use core::fmt;
use core::net::IpAddr;

use super::{Action, ChainId, Family, RuleId, Ruleset, Table, Target, Trail};
use crate::hook::Hook;
use crate::verdict::DropReason;

/// Judgements that wait to be taken, at most: a packet meets fewer tables between two hooks.
const WAITING: usize = 32;

/// What a table said of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It goes on.
    Accept,
    /// It dies.
    Drop(DropReason),
    /// Its connection goes elsewhere.
    Dnat(IpAddr, Option<u16>),
    /// Its connection comes from this address.
    Snat(IpAddr),
    /// Its connection comes from the outgoing interface's address.
    Masquerade,
}

/// One table's decision on one packet, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Which family's rules.
    pub family: Family,
    /// Which table of them.
    pub table: Table,
    /// At which hook.
    pub hook: Hook,
    /// What was decided.
    pub ruling: Ruling,
    /// The rule that decided; `None` is the policy of the hook's chain.
    pub rule: Option<RuleId>,
    /// Where no rule decided: the last one that sent the packet back (`RETURN`).
    pub returned: Option<RuleId>,
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, hook) = (self.table.word(), self.hook.word());
        match self.ruling {
            Ruling::Accept => write!(f, "{table} {hook} accepts"),
            Ruling::Drop(reason) => write!(f, "{table} {hook} drops: {reason}"),
            Ruling::Dnat(address, _) => write!(f, "{table} {hook} sends it to {address}"),
            Ruling::Snat(address) => write!(f, "{table} {hook} lets it come from {address}"),
            Ruling::Masquerade => write!(f, "{table} {hook} masquerades"),
        }
    }
}

impl Ruling {
    const fn of(target: Target) -> Self {
        match target {
            Target::Accept => Self::Accept,
            Target::Drop(reason) => Self::Drop(reason),
            Target::Dnat(address, port) => Self::Dnat(address, port),
            Target::Snat(address) => Self::Snat(address),
            Target::Masquerade => Self::Masquerade,
        }
    }
}

impl Ruleset {
    /// Starts or stops to keep judgements. Nothing else changes: what was remembered is asked for once more,
    /// and until it stops no express lane is opened.
    pub fn keep_judgements(&mut self, on: bool) {
        if on != self.judged.is_some() {
            self.judged = on.then(Vec::new);
            self.changes();
        }
    }

    /// Whether judgements are kept.
    #[must_use]
    pub const fn keeps_judgements(&self) -> bool {
        self.judged.is_some()
    }

    /// The judgements since the last call, in order. A table without rules has none.
    pub fn take_judgements(&mut self) -> Vec<Judgement> {
        self.judged
            .as_mut()
            .map(core::mem::take)
            .unwrap_or_default()
    }

    /// Out of the way of those who ask nothing.
    #[cold]
    pub(super) fn judge(&mut self, base: ChainId, target: Target, trail: &Trail) {
        let Some(chain) = self.chain(base) else {
            return;
        };
        let Some((hook, _)) = chain.base else { return };
        let (family, table) = (chain.family, chain.table);
        let rule = if trail.by_policy { None } else { self.last };
        let went_back = |&&slot: &&u32| {
            let placed = self.slots[slot as usize].placed.as_ref();
            placed.is_some_and(|placed| {
                placed.rule.action == Action::Return && placed.rule.matches != Default::default()
            })
        };
        let returned = trail.rules().iter().rev().find(went_back);
        let returned = returned.filter(|_| rule.is_none()).map(|&slot| RuleId {
            slot,
            generation: self.slots[slot as usize].generation,
        });
        let judgement = Judgement {
            family,
            table,
            hook,
            ruling: Ruling::of(target),
            rule,
            returned,
        };
        if let Some(judged) = self.judged.as_mut().filter(|held| held.len() < WAITING) {
            judged.push(judgement);
        }
    }
}
