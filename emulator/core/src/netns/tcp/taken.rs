//! Which ports of ours are taken between the same other ends, and by which entries: to choose a free one, and to give one
//! back, reads and writes a bit.

use super::demux::Tuple;

/// Words with a bit for each port.
const WORDS: usize = 1 << 10;

/// The ports that are taken between two addresses and with one port of theirs.
#[derive(Debug)]
pub(super) struct Taken {
    /// One of those that this is about.
    ends: Tuple,
    ports: [u64; WORDS],
    /// By port, if that is taken; memory is there for the ports of a word once one of them was.
    numbers: Vec<Option<Box<[u16; 64]>>>,
    len: usize,
}

/// The word of a port, and its bit there.
const fn place(tuple: &Tuple) -> (usize, u64) {
    let port = tuple.port();
    ((port >> 6) as usize, 1 << (port & 63))
}

/// Where the number of a port stands among those of its word.
const fn column(tuple: &Tuple) -> usize {
    (tuple.port() & 63) as usize
}

impl Taken {
    /// For those that differ from `ends` in nothing but our port; none is taken.
    pub(super) fn new(ends: &Tuple) -> Box<Self> {
        Box::new(Self {
            ends: *ends,
            ports: [0; WORDS],
            numbers: vec![None; WORDS],
            len: 0,
        })
    }

    /// How many are taken.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Whether this is about `tuple`.
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

    /// The number of the entry that has a covered tuple.
    #[inline]
    pub(super) fn number(&self, tuple: &Tuple) -> Option<u16> {
        let numbers = self.numbers[place(tuple).0].as_ref()?;
        self.has(tuple).then_some(numbers[column(tuple)])
    }

    /// This entry has a covered tuple.
    #[inline]
    pub(super) fn enter(&mut self, tuple: &Tuple, number: u16) {
        let (word, bit) = place(tuple);
        self.len += usize::from(self.ports[word] & bit == 0);
        self.ports[word] |= bit;
        let numbers = self.numbers[word].get_or_insert_with(|| Box::new([0; 64]));
        numbers[column(tuple)] = number;
    }

    /// No entry has a covered tuple any more that one had.
    #[inline]
    pub(super) fn remove(&mut self, tuple: &Tuple) {
        let (word, bit) = place(tuple);
        debug_assert!(self.ports[word] & bit != 0);
        self.ports[word] &= !bit;
        self.len -= 1;
    }
}
