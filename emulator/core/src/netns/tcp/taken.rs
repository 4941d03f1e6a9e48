//! Which ports of ours are taken between the same other ends: a bit for each, so that to choose one reads nothing else.

use super::demux::Tuple;

/// Words with a bit for each port.
const WORDS: usize = 1 << 10;

/// The ports that are taken between two addresses and with one port of theirs.
#[derive(Debug)]
pub(super) struct Taken {
    /// One of those that this is about.
    ends: Tuple,
    ports: [u64; WORDS],
    count: u32,
}

/// The word of a port, and its bit there.
const fn place(tuple: &Tuple) -> (usize, u64) {
    let port = tuple.port();
    ((port >> 6) as usize, 1 << (port & 63))
}

impl Taken {
    /// For those that differ from `ends` in nothing but our port: the ports that they have in `all`.
    pub(super) fn new(ends: &Tuple, all: impl Iterator<Item = Tuple>) -> Box<Self> {
        let mut taken = Box::new(Self {
            ends: *ends,
            ports: [0; WORDS],
            count: 0,
        });
        for tuple in all.filter(|tuple| tuple.is_beside(ends)) {
            taken.enter(&tuple);
        }
        taken
    }

    /// Whether it says of `tuple` if it is taken.
    #[inline]
    pub(super) fn covers(&self, tuple: &Tuple) -> bool {
        self.ends.is_beside(tuple)
    }

    /// Whether a covered tuple is taken.
    #[inline]
    pub(super) const fn has(&self, tuple: &Tuple) -> bool {
        let (word, bit) = place(tuple);
        self.ports[word] & bit != 0
    }

    /// A covered tuple is taken.
    #[inline]
    pub(super) const fn enter(&mut self, tuple: &Tuple) {
        let (word, bit) = place(tuple);
        self.count += (self.ports[word] & bit == 0) as u32;
        self.ports[word] |= bit;
    }

    /// A covered tuple is not taken any more; whether none is.
    #[inline]
    pub(super) const fn remove(&mut self, tuple: &Tuple) -> bool {
        let (word, bit) = place(tuple);
        self.count -= (self.ports[word] & bit != 0) as u32;
        self.ports[word] &= !bit;
        self.count == 0
    }
}
