//! Chains: rules in order, found by what they name.
//!
//! A chain of a host with many networks has several rules for each of them, and a packet touches two
//! networks at most. So a rule stands in one bucket, under the most telling thing that it names
//! (destination host, destination port, outgoing interface, incoming interface, source network), and
//! a packet looks only into the buckets that it could match, merged in the chain's order. What
//! `nftables` does by verdict maps that the author writes, the chain does by itself.

use core::net::IpAddr;
use std::borrow::Cow;
use std::collections::BTreeMap;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ipnet::IpNet;

use super::rule::{Counter, Facts, IfMatch, Match};
use super::{Family, Table};
use crate::hook::Hook;
use crate::verdict::{IfId, Verdict};

/// Source networks of more lengths than this are looked at one by one.
const PREFIXES: usize = 8;
/// Buckets that one packet can look into: the rest, host, port, two interfaces, the prefixes.
const BUCKETS: usize = 5 + PREFIXES;

/// Where a rule stands in its chain: by rank, then in the order of adding.
pub(super) type Place = (i64, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    place: Place,
    rule: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Host(IpAddr),
    Port(u16),
    Output(IfId),
    Input(IfId),
    Source(IpNet),
}

/// A chain of rules.
#[derive(Debug)]
pub struct Chain {
    pub(super) name: Cow<'static, str>,
    pub(super) family: Family,
    pub(super) table: Table,
    /// The hook that it is called from, and what becomes of packets that no rule decides on.
    pub(super) base: Option<(Hook, Verdict)>,
    /// What the policy decided on, without what the ways hold.
    pub(super) passed: Counter,
    pub(super) references: u32,
    pub(super) order: BTreeMap<Place, u32>,
    buckets: HashMap<Key, Vec<Entry>, FixedState>,
    rest: Vec<Entry>,
    /// How many rules stand under each kind of key, sources left out.
    kinds: [u32; 4],
    /// The prefix lengths of sources, with the number of rules of each.
    prefixes: Vec<(u8, u32)>,
}

impl Chain {
    pub(super) fn new(
        name: Cow<'static, str>,
        family: Family,
        table: Table,
        base: Option<(Hook, Verdict)>,
    ) -> Self {
        Self {
            name,
            family,
            table,
            base,
            passed: Counter::default(),
            references: 0,
            order: BTreeMap::new(),
            buckets: HashMap::default(),
            rest: Vec::new(),
            kinds: [0; 4],
            prefixes: Vec::new(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// It has no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn insert(&mut self, place: Place, rule: u32, matches: &Match) {
        self.order.insert(place, rule);
        let entry = Entry { place, rule };
        let bucket = match self.key(matches) {
            Some(key) => {
                self.count(key, true);
                self.buckets.entry(key).or_default()
            }
            None => &mut self.rest,
        };
        let at = bucket.partition_point(|other| other.place < place);
        bucket.insert(at, entry);
    }

    pub(super) fn remove(&mut self, place: Place, matches: &Match) {
        if self.order.remove(&place).is_none() {
            return;
        }
        // A source network may stand among the rest, if there were too many lengths when it came.
        if let Some(key) = key_of(matches)
            && let Some(bucket) = self.buckets.get_mut(&key)
            && let Ok(at) = bucket.binary_search_by_key(&place, |entry| entry.place)
        {
            bucket.remove(at);
            if bucket.is_empty() {
                self.buckets.remove(&key);
            }
            self.count(key, false);
        } else if let Ok(at) = self.rest.binary_search_by_key(&place, |entry| entry.place) {
            self.rest.remove(at);
        }
    }

    /// The key to put a new rule under.
    fn key(&self, matches: &Match) -> Option<Key> {
        let key = key_of(matches)?;
        if let Key::Source(net) = key {
            let known = self
                .prefixes
                .iter()
                .any(|&(len, _)| len == net.prefix_len());
            if !known && self.prefixes.len() >= PREFIXES {
                return None;
            }
        }
        Some(key)
    }

    fn count(&mut self, key: Key, more: bool) {
        let step = |count: &mut u32| *count = if more { *count + 1 } else { *count - 1 };
        match key {
            Key::Host(_) => step(&mut self.kinds[0]),
            Key::Port(_) => step(&mut self.kinds[1]),
            Key::Output(_) => step(&mut self.kinds[2]),
            Key::Input(_) => step(&mut self.kinds[3]),
            Key::Source(net) => {
                let len = net.prefix_len();
                if let Some(at) = self.prefixes.iter().position(|prefix| prefix.0 == len) {
                    step(&mut self.prefixes[at].1);
                    if self.prefixes[at].1 == 0 {
                        self.prefixes.remove(at);
                    }
                } else {
                    self.prefixes.push((len, 1));
                }
            }
        }
    }

    /// The rules that a packet could match, in order.
    pub(super) fn candidates(&self, facts: &Facts) -> Candidates<'_> {
        let mut candidates = Candidates {
            buckets: [&[]; BUCKETS],
            used: 0,
        };
        candidates.add(&self.rest);
        if self.kinds[0] > 0 {
            candidates.look(&self.buckets, Key::Host(facts.destination));
        }
        if self.kinds[1] > 0
            && let Some((_, port)) = facts.ports
        {
            candidates.look(&self.buckets, Key::Port(port));
        }
        if self.kinds[2] > 0
            && let Some(output) = facts.output
        {
            candidates.look(&self.buckets, Key::Output(output));
        }
        if self.kinds[3] > 0
            && let Some(input) = facts.input
        {
            candidates.look(&self.buckets, Key::Input(input));
        }
        for &(len, _) in &self.prefixes {
            if let Ok(net) = IpNet::new(facts.source, len) {
                candidates.look(&self.buckets, Key::Source(net.trunc()));
            }
        }
        candidates
    }
}

/// The most telling thing that a rule names.
fn key_of(matches: &Match) -> Option<Key> {
    if let Some(net) = matches.destination
        && !net.not
        && net.net.prefix_len() == net.net.max_prefix_len()
    {
        return Some(Key::Host(net.net.addr()));
    }
    if let Some(port) = matches.destination_port {
        return Some(Key::Port(port));
    }
    if let IfMatch::Is(output) = matches.output {
        return Some(Key::Output(output));
    }
    if let IfMatch::Is(input) = matches.input {
        return Some(Key::Input(input));
    }
    match matches.source {
        Some(net) if !net.not => Some(Key::Source(net.net.trunc())),
        _ => None,
    }
}

/// The rules of some buckets, merged.
#[derive(Debug)]
pub(super) struct Candidates<'a> {
    buckets: [&'a [Entry]; BUCKETS],
    used: usize,
}

impl<'a> Candidates<'a> {
    fn add(&mut self, bucket: &'a [Entry]) {
        if !bucket.is_empty() && self.used < BUCKETS {
            self.buckets[self.used] = bucket;
            self.used += 1;
        }
    }

    fn look(&mut self, buckets: &'a HashMap<Key, Vec<Entry>, FixedState>, key: Key) {
        if let Some(bucket) = buckets.get(&key) {
            self.add(bucket);
        }
    }
}

impl Iterator for Candidates<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let mut best: Option<(usize, Place)> = None;
        for (at, bucket) in self.buckets[..self.used].iter().enumerate() {
            if let Some(entry) = bucket.first()
                && best.is_none_or(|(_, place)| entry.place < place)
            {
                best = Some((at, entry.place));
            }
        }
        let (at, _) = best?;
        let (first, others) = self.buckets[at].split_first()?;
        self.buckets[at] = others;
        Some(first.rule)
    }
}
