//! What the rules said, for the next packet that is the same to them.
//!
//! A walk through a chain depends on nothing but what rules can ask: addresses, interfaces, protocol, state, and
//! ports as far as some rule names them. So packets of a thousand short connections to one service share
//! one answer, and so do those of a connection that goes on. An answer holds until a rule changes,
//! and one that asked for the namespace's own addresses until those change.

use core::net::IpAddr;

use super::rule::{Facts, Match};
use super::{ChainId, Target, Trail};
use crate::verdict::IfId;

/// Answers of a namespace.
const REMEMBERED: usize = 1024;
/// So many at first.
const REMEMBERED_FIRST: usize = 32;

/// What a packet is to the rules of a chain, packed: addresses, the small things, and the interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key([u64; 7]);

impl Key {
    /// Its place among so many: a power of two.
    #[inline]
    fn place(&self, places: usize) -> usize {
        let fold = |hash: u64, &word: &u64| {
            (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        let hash = self.0.iter().fold(0, fold);
        (hash >> 40) as usize & places.wrapping_sub(1)
    }
}

#[inline]
fn halves(address: IpAddr) -> (u64, u64) {
    match address {
        IpAddr::V4(v4) => (0, u64::from(v4.to_bits())),
        IpAddr::V6(v6) => ((v6.to_bits() >> 64) as u64, v6.to_bits() as u64),
    }
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) target: Target,
    pub(super) trail: Trail,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Key,
    rules: u64,
    /// The state of the namespace's addresses, if they were asked for.
    addresses: Option<u64>,
    answer: Answer,
}

/// The answers, and which ports any rule names or has named.
#[derive(Debug, Default)]
pub(super) struct Memory {
    entries: Vec<Option<Entry>>,
    named: Vec<u64>,
    /// Nothing is remembered.
    #[cfg(test)]
    pub(super) is_off: bool,
}

impl Memory {
    /// A rule came that asks for this.
    pub(super) fn name(&mut self, matches: &Match) {
        let ports = [matches.source_port, matches.destination_port];
        for port in ports.into_iter().flatten() {
            self.named.resize(1024, 0);
            self.named[usize::from(port) / 64] |= 1 << (port % 64);
        }
    }

    /// A port as the rules know it: those that none of them names are one.
    #[inline]
    pub(super) fn named(&self, port: u16) -> u64 {
        let word = self.named.get(usize::from(port) / 64);
        match word {
            Some(word) if word & 1 << (port % 64) != 0 => 1 << 16 | u64::from(port),
            _ => 0,
        }
    }

    /// What a packet is to `chain`.
    #[inline]
    pub(super) fn key(&self, chain: ChainId, facts: &Facts) -> Key {
        let (from, to) = match facts.ports {
            Some((from, to)) => (self.named(from), self.named(to)),
            None => (0, 0),
        };
        let (source, destination) = (halves(facts.source), halves(facts.destination));
        let iface = |iface: Option<IfId>| u64::from(iface.map_or(0, |iface| iface.0));
        let flags = [
            facts.bridged,
            facts.input.is_some(),
            facts.output.is_some(),
            facts.source.is_ipv4(),
            facts.destination.is_ipv4(),
        ];
        let flags =
            (flags.iter()).fold(facts.state as u64, |bits, &bit| bits << 1 | u64::from(bit));
        Key([
            source.0,
            source.1,
            destination.0,
            destination.1,
            from | to << 17 | u64::from(facts.protocol) << 34 | flags << 42,
            u64::from(chain.0),
            iface(facts.input) | iface(facts.output) << 32,
        ])
    }

    /// The answer for `key`, if it holds with these rules and addresses.
    #[inline]
    pub(super) fn recall(&self, key: &Key, rules: u64, addresses: Option<u64>) -> Option<&Answer> {
        let entry = self.entries.get(key.place(self.entries.len()))?.as_ref()?;
        let holds = entry.rules == rules
            && (entry.addresses.is_none() || entry.addresses == addresses)
            && entry.key == *key;
        holds.then_some(&entry.answer)
    }

    /// Keeps an answer. When it would take the place of one that holds, there are twice as many places and
    /// the others are asked for once more; up to [`REMEMBERED`].
    pub(super) fn keep(&mut self, key: Key, rules: u64, addresses: Option<u64>, answer: Answer) {
        #[cfg(test)]
        if self.is_off {
            return;
        }
        let places = self.entries.len();
        let held = self.entries.get(key.place(places)).copied();
        let more = match held {
            None => Some(REMEMBERED_FIRST),
            Some(Some(held)) if held.rules == rules && held.key != key => {
                (places < REMEMBERED).then_some(2 * places)
            }
            Some(_) => None,
        };
        if let Some(more) = more {
            self.entries.clear();
            self.entries.resize(more, None);
        }
        let at = key.place(self.entries.len());
        self.entries[at] = Some(Entry {
            key,
            rules,
            addresses,
            answer,
        });
    }
}
