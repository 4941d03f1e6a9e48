//! Chance with a fixed output: xoshiro256++ seeded by SplitMix64 (Blackman and Vigna, 2019).
//!
//! Written here and not taken from a crate because a seed in a bug report has to replay for years.
//! Each use draws from its own stream, named by a label (`rng.stream("mac:web")`), so that one more
//! container reshuffles nobody.

/// A random stream. The same seed and label give the same numbers on every platform and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    seed: u64,
    state: [u64; 4],
}

const fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The name of a stream as a number (FNV-1a, 64 bits): two labels with the same number name the same stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label(u64);

impl Label {
    /// These parts, one behind the other.
    #[must_use]
    pub fn of(parts: &[&str]) -> Self {
        Self(0xcbf2_9ce4_8422_2325).and_all(parts)
    }

    /// It with these parts behind it.
    #[must_use]
    pub fn and_all(self, parts: &[&str]) -> Self {
        parts.iter().fold(self, |label, part| label.and(part))
    }

    /// It with this part behind it.
    #[must_use]
    pub fn and(self, part: &str) -> Self {
        Self(part.bytes().fold(self.0, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }
}

impl Rng {
    /// The root stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut mix = seed;
        let state = core::array::from_fn(|_| split_mix(&mut mix));
        Self { seed, state }
    }

    /// The stream called `label` under this one's seed. Drawing from either leaves the other alone.
    #[must_use]
    pub fn stream(&self, label: &str) -> Self {
        self.stream_of(&[label])
    }

    /// The stream whose label is these parts, one behind the other.
    #[must_use]
    pub fn stream_of(&self, parts: &[&str]) -> Self {
        self.stream_by(Label::of(parts))
    }

    /// The same for a label that was put together before.
    #[must_use]
    pub fn stream_by(&self, label: Label) -> Self {
        let mut mix = self.seed ^ label.0;
        Self::new(split_mix(&mut mix))
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// A number below `bound` by multiply and shift; 0 if `bound` is 0. Bias is below 2⁻³².
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.next_u32()) * u64::from(bound)) >> 32) as u32
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// Shuffles `items` (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(u32::try_from(i + 1).unwrap_or(u32::MAX)) as usize;
            items.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_mix_has_the_published_values() {
        // The first outputs for seed 1234567 as printed in the reference's test vectors.
        let mut state = 1_234_567;
        assert_eq!(split_mix(&mut state), 6_457_827_717_110_365_317);
        assert_eq!(split_mix(&mut state), 3_203_168_211_198_807_973);
    }

    #[test]
    fn streams_do_not_disturb_each_other() {
        let root = Rng::new(7);
        let mut web = root.stream("mac:web");
        let first = web.next_u64();
        let mut other = root.stream("mac:db");
        other.next_u64();
        assert_eq!(root.stream("mac:web").next_u64(), first);
        assert_ne!(other.next_u64(), first);
    }

    #[test]
    fn below_stays_below() {
        let mut rng = Rng::new(1);
        assert!((0..10_000).all(|_| rng.below(7) < 7));
        assert_eq!(rng.below(0), 0);
    }
}
