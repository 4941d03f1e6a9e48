//! Copying many bytes.

/// Bytes copied by one call of the C library's `memcpy`: of more it copies by `rep movsb`, which AMD's processors do slowly
/// from many alignments.
const PIECE: usize = 2_048;

/// Copies between slices of one length, a piece at a time.
///
/// # Panics
/// If they are not of one length.
#[inline]
pub fn copy(to: &mut [u8], from: &[u8]) {
    if from.len() <= PIECE {
        to.copy_from_slice(from);
    } else {
        copy_pieces(to, from);
    }
}

#[inline(never)]
fn copy_pieces(to: &mut [u8], from: &[u8]) {
    assert_eq!(to.len(), from.len(), "slices of one length");
    for (to, from) in to.chunks_mut(PIECE).zip(from.chunks(PIECE)) {
        to.copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pieces_are_copied() {
        let from: Vec<u8> = (0..3 * PIECE).map(|at| (at % 251) as u8).collect();
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE - 1] {
            let mut to = vec![0xff; len];
            copy(&mut to, &from[..len]);
            assert_eq!(to, from[..len]);
        }
    }

    #[test]
    #[should_panic = "slices of one length"]
    fn lengths_are_the_same() {
        copy(&mut [0; PIECE + 1], &[0; PIECE + 2]);
    }
}
