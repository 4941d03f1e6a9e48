//! Packets that are one to all rules, and what is known of them.
//!
//! Rules ask for no more of a packet than its addresses, protocol and interfaces, the state of its connection, and
//! its ports as far as one of them names them. So the packets of a thousand short connections to one service
//! are alike, and what was found out about one of them holds for all until a rule changes.

use super::lane::Key;
use crate::filter::State;

/// Answers that are kept of each kind; two with the same place take turns.
const ANSWERS: usize = 1024;
/// So many at first: a power of two.
const FIRST_ANSWERS: usize = 16;

/// What packets have in common that are one to the rules: protocol, state and source; destination and the
/// interface that they came in by; the destination that rules see after translation; ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Like([u64; 4]);

impl Like {
    /// A packet with this key, of a connection in this state, bound for the address `to` in the end. `ports` are
    /// those that rules may ask for, as far as they are named.
    #[inline]
    pub(super) const fn of(key: &Key, state: State, to: u32, ports: u64) -> Self {
        Self([
            key.flow[0] | (state as u64) << 32,
            key.flow[1] >> 32 << 32 | key.input.0 as u64,
            to as u64,
            ports,
        ])
    }

    #[inline]
    fn place(&self, places: usize) -> usize {
        let fold = |hash: u64, &word: &u64| {
            (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        (self.0.iter().fold(0, fold) >> 40) as usize & places.wrapping_sub(1)
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    like: Like,
    epoch: u64,
    answer: T,
}

/// Answers by what packets have in common; one of another epoch is none.
#[derive(Debug)]
pub(super) struct Answers<T>(Vec<Option<Entry<T>>>);

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy> Answers<T> {
    /// The answer of this epoch.
    #[inline]
    pub(super) fn of(&self, like: &Like, epoch: u64) -> Option<&T> {
        let entry = self.0.get(like.place(self.0.len()))?.as_ref()?;
        (entry.epoch == epoch && entry.like == *like).then_some(&entry.answer)
    }

    /// Keeps an answer: in its place if that is free or of another epoch, else in a longer list, and in that of
    /// another once there are as many as there may be.
    pub(super) fn keep(&mut self, like: Like, epoch: u64, answer: T) {
        let places = self.0.len();
        let is_others = |held: &Entry<T>| held.epoch == epoch && held.like != like;
        let held = self.0.get(like.place(places));
        let more = match held {
            None => FIRST_ANSWERS,
            Some(Some(held)) if is_others(held) && places < ANSWERS => 4 * places,
            Some(_) => 0,
        };
        if more > 0 {
            let held = core::mem::replace(&mut self.0, vec![None; more]);
            let held = held
                .into_iter()
                .flatten()
                .filter(|held| held.epoch == epoch);
            for held in held {
                let at = held.like.place(more);
                self.0[at] = Some(held);
            }
        }
        let at = like.place(self.0.len());
        self.0[at] = Some(Entry {
            like,
            epoch,
            answer,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::lane::TCP_KEY;
    use super::*;

    #[test]
    fn the_latest_answer_is_always_there_and_there_is_a_bound() {
        let mut answers = Answers::default();
        let like = |ports| Like::of(&TCP_KEY, State::New, 7, ports);
        assert_eq!(answers.of(&like(0), 1), None);
        for ports in 0..4 * ANSWERS as u64 {
            answers.keep(like(ports), 1, ports);
            assert_eq!(answers.of(&like(ports), 1), Some(&ports));
            assert_eq!(answers.of(&like(ports), 2), None);
        }
        assert_eq!(answers.0.len(), ANSWERS);
        let other = Like::of(&TCP_KEY, State::Established, 7, 0);
        answers.keep(like(0), 2, 5);
        assert_eq!(
            (answers.of(&other, 2), answers.of(&like(0), 2)),
            (None, Some(&5))
        );
    }
}
