//! The sum of many bytes for a checksum (RFC 1071), written so that a compiler does it in vectors.
//!
//! A lane of 32 bits holds the sum of its words as it wraps round, another that of their upper halves: the sum of
//! the lower halves follows from the two. That is an addition, a shift and an addition for every vector, where the halves
//! apart take two more.

/// Words of 32 bits that are added side by side.
const LANES: usize = 8;
/// Bytes in which no lane overflows, and many more than a frame has.
const BLOCK: usize = 1 << 16;
/// With fewer bytes it costs more to begin and to end than the lanes save.
const FEW: usize = 128;
/// Bytes that are summed word by word: a loop over more of them at once has more to begin and to end.
const SHORT: usize = 64;

/// One's complement sum of `bytes` folded to 16 bits, not complemented.
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
    if bytes.len() <= SHORT {
        return words(bytes);
    }
    if bytes.len() < FEW {
        return smoltcp::wire::checksum::data(bytes);
    }
    // In the machine's order of bytes, as RFC 1071 (2.B) allows.
    let total = bytes.chunks(BLOCK).map(halves).sum();
    u16::from_be(crate::wire::folded(total))
}

/// The sum of few bytes, word by word.
fn words(bytes: &[u8]) -> u16 {
    let word_of = |bytes: [u8; 4]| u64::from(u32::from_be_bytes(bytes));
    let (words, rest) = bytes.as_chunks::<4>();
    let sum: u64 = words.iter().map(|word| word_of(*word)).sum();
    let rest = match *rest {
        [a] => [a, 0, 0, 0],
        [a, b] => [a, b, 0, 0],
        [a, b, c] => [a, b, c, 0],
        _ => [0; 4],
    };
    crate::wire::folded(sum + word_of(rest))
}

/// The sum of the halves of the words of a block, in the machine's order of bytes.
fn halves(block: &[u8]) -> u64 {
    let (rows, rest) = block.as_chunks::<{ 4 * LANES }>();
    let (mut all, mut upper) = ([0_u32; LANES], [0_u32; LANES]);
    for row in rows {
        let (words, _) = row.as_chunks::<4>();
        for lane in 0..LANES {
            let word = u32::from_ne_bytes(words[lane]);
            all[lane] = all[lane].wrapping_add(word);
            upper[lane] += word >> 16;
        }
    }
    let lanes = all.iter().zip(upper).map(|(all, upper)| {
        let lower = all.wrapping_sub(upper << 16);
        u64::from(lower) + u64::from(upper)
    });
    let rest = smoltcp::wire::checksum::data(rest);
    lanes.sum::<u64>() + u64::from(rest.to_be())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of every length, at every alignment, of noise and of nothing but ones and nothing but zeros.
    #[test]
    fn lanes_add_up_to_what_words_do() {
        let mut rng = crate::Rng::new(11);
        let mut noise = vec![0; 2 * BLOCK + 200];
        rng.fill(&mut noise);
        let (ones, zeros) = (vec![0xff; noise.len()], vec![0; noise.len()]);
        let long = [BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 129, 2 * BLOCK + 129];
        for bytes in [&noise, &ones, &zeros] {
            for len in (0..2_000).chain(long) {
                let at = len % 17;
                let bytes = &bytes[at..at + len];
                // The plain sum holds in 32 bits up to here.
                let plain = bytes.chunks(BLOCK).fold(0, |sum, block| {
                    crate::wire::add(sum, smoltcp::wire::checksum::data(block))
                });
                assert_eq!(sum(bytes), plain, "{len} bytes from {at} on");
            }
        }
    }
}
