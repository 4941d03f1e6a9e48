//! What the rules said, for the next packet that is the same to them.
//!
//! A walk through a chain depends on nothing but what rules can ask: addresses, interfaces, protocol, state, and
//! ports as far as some rule names them. So packets of a thousand short connections to one service share
//! one answer, and so do those of a connection that goes on. An answer holds until a rule changes,
//! and one that asked for the namespace's own addresses until those change.

use core::net::IpAddr;

use super::rule::{Facts, Match, State};
use super::{ChainId, Target, Trail};
use crate::verdict::IfId;

/// Answers of a namespace.
const REMEMBERED: usize = 1024;
/// So many at first.
const REMEMBERED_FIRST: usize = 32;

/// What a packet is to the rules of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    chain: ChainId,
    source: IpAddr,
    destination: IpAddr,
    /// Those that no rule names are one to the rules.
    ports: (Option<u16>, Option<u16>),
    protocol: u8,
    state: State,
    bridged: bool,
    input: Option<IfId>,
    output: Option<IfId>,
}

impl Key {
    fn hash(&self) -> u64 {
        let address = |address: IpAddr| match address {
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            IpAddr::V6(v6) => (v6.to_bits() as u64).rotate_left(17) ^ (v6.to_bits() >> 64) as u64,
        };
        let port = |port: Option<u16>| u64::from(port.unwrap_or(0));
        let iface = |iface: Option<IfId>| u64::from(iface.map_or(0, |iface| iface.0));
        let ends = address(self.source) << 32 ^ address(self.destination);
        let rest = port(self.ports.0)
            ^ port(self.ports.1) << 16
            ^ u64::from(self.chain.0) << 32
            ^ (self.state as u64) << 40
            ^ u64::from(self.protocol) << 48
            ^ iface(self.input) << 13
            ^ iface(self.output) << 26;
        let mixed = ends.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ rest;
        mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Its place among so many: a power of two.
    fn place(&self, places: usize) -> usize {
        (self.hash() >> 40) as usize & places.wrapping_sub(1)
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

    fn named(&self, port: u16) -> Option<u16> {
        let word = self.named.get(usize::from(port) / 64)?;
        (word & 1 << (port % 64) != 0).then_some(port)
    }

    /// What a packet is to `chain`.
    pub(super) fn key(&self, chain: ChainId, facts: &Facts) -> Key {
        let ports = match facts.ports {
            Some((source, destination)) => (self.named(source), self.named(destination)),
            None => (None, None),
        };
        Key {
            chain,
            source: facts.source,
            destination: facts.destination,
            ports,
            protocol: facts.protocol,
            state: facts.state,
            bridged: facts.bridged,
            input: facts.input,
            output: facts.output,
        }
    }

    /// The answer for `key`, if it holds with these rules and addresses.
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
