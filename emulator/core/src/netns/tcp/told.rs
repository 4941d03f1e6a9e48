//! What a segment says to a brief connection.

/// smoltcp takes a larger shift for this one (RFC 7323 §2.3).
const MAX_SHIFT: u8 = 14;

/// Bytes of a TCP header without options.
pub(super) const HEADER: usize = 20;

/// What the header of a segment that came says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) window: u16,
    /// The byte of the control bits.
    pub(super) flags: u8,
    /// Bytes of the TCP header, at least 20.
    pub(super) header: u8,
    /// Bytes of data.
    pub(super) payload: u16,
}

impl Told {
    /// All of `flags` are set.
    pub(super) const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// The options of the TCP segment that says this.
    pub(super) fn options<'a>(&self, segment: &'a [u8]) -> &'a [u8] {
        &segment[HEADER..usize::from(self.header)]
    }

    /// Its data.
    #[inline]
    pub(super) fn data<'a>(&self, segment: &'a [u8]) -> &'a [u8] {
        &segment[usize::from(self.header)..]
    }
}

/// What a SYN says of its sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) mss: Option<u16>,
    pub(super) shift: Option<u8>,
    pub(super) sack: bool,
}

impl Offer {
    /// Reads the options of a SYN; `None` if one of them is unknown or malformed.
    pub(super) fn read(options: &[u8]) -> Option<Self> {
        // As our own namespaces write them.
        if let [2, 4, high, low, 3, 3, shift, 4, 2, 0, 0, 0] = *options {
            return Some(Self {
                mss: Some(u16::from_be_bytes([high, low])),
                shift: Some(shift.min(MAX_SHIFT)),
                sack: true,
            });
        }
        Self::read_each(options)
    }

    fn read_each(mut options: &[u8]) -> Option<Self> {
        let mut offer = Self::default();
        loop {
            options = match options {
                [] | [0, ..] => return Some(offer),
                [1, rest @ ..] => rest,
                [2, 4, high, low, rest @ ..] => {
                    offer.mss = Some(u16::from_be_bytes([*high, *low]));
                    rest
                }
                [3, 3, shift, rest @ ..] => {
                    offer.shift = Some((*shift).min(MAX_SHIFT));
                    rest
                }
                [4, 2, rest @ ..] => {
                    offer.sack = true;
                    rest
                }
                [8, 10, rest @ ..] => rest.get(8..)?,
                _ => return None,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_options_are_read_as_any_others() {
        let usual = [2, 4, 5, 0xb4, 3, 3, 7, 4, 2, 0, 0, 0];
        assert_eq!(Offer::read(&usual), Offer::read_each(&usual));
        assert_eq!(Offer::read(&usual).and_then(|offer| offer.mss), Some(1460));
        for at in 0..usual.len() {
            for byte in 0..=255 {
                let mut options = usual;
                options[at] = byte;
                assert_eq!(Offer::read(&options), Offer::read_each(&options));
                assert_eq!(
                    Offer::read(&options[..at]),
                    Offer::read_each(&options[..at])
                );
            }
        }
    }
}
