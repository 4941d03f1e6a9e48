//! Packets as enhanced packet blocks, laid out where they wait to be drained.
//!
//! After draft-ietf-opsawg-pcapng, section 4.3: little-endian, the packet's bytes behind a header of 28,
//! padded to a multiple of four, then the options, then the block's length again. A packet is written
//! into the buffer itself ([`Open::begin`]), so that a frame is cut and summed where it stays, and no
//! byte is moved twice. `pcap-file` lays out the rarer blocks, and the tests compare with it.

/// A block's bytes before its packet.
const HEAD: usize = 28;
const BLOCK_TYPE: u32 = 6;
const COMMENT: u16 = 1;
const FLAGS: u16 = 2;
const DROP_COUNT: u16 = 4;
const PACKET_ID: u16 = 5;
/// A block's bytes besides its packet and its comment, at most: head, options, padding, length.
pub(super) const OVERHEAD: usize = 128;

/// What is said of a packet besides its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct About<'a> {
    /// `epb_flags`.
    pub(super) flags: u32,
    /// Packets of the interface lost before this one; 0 is not written.
    pub(super) lost: u64,
    /// `epb_packetid`.
    pub(super) id: Option<u64>,
    /// Written without its control characters, cut to `comment_max` bytes.
    pub(super) comment: Option<&'a str>,
    pub(super) comment_max: usize,
}

/// A block whose packet is being written behind the end of a buffer.
#[derive(Debug)]
pub(super) struct Open {
    start: usize,
}

impl Open {
    /// Begins a block: the packet's bytes are pushed next, then [`Open::end`] is called. `wall` is the
    /// wall clock in nanoseconds.
    #[inline]
    pub(super) fn begin(buffer: &mut Vec<u8>, interface: u32, wall: u64) -> Self {
        let start = buffer.len();
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&BLOCK_TYPE.to_le_bytes());
        head[8..12].copy_from_slice(&interface.to_le_bytes());
        head[12..16].copy_from_slice(&((wall >> 32) as u32).to_le_bytes());
        head[16..20].copy_from_slice(&(wall as u32).to_le_bytes());
        buffer.extend_from_slice(&head);
        Self { start }
    }

    /// Ends the block. Of the packet `snaplen` bytes are kept; 0 keeps all.
    #[inline]
    pub(super) fn end(self, buffer: &mut Vec<u8>, snaplen: usize, about: About<'_>) {
        let data = self.start + HEAD;
        let original = buffer.len() - data;
        let kept = if snaplen == 0 {
            original
        } else {
            original.min(snaplen)
        };
        buffer.truncate(data + kept);
        pad(buffer, kept);
        options(buffer, about);
        let total = (buffer.len() + 4 - self.start) as u32;
        buffer.extend_from_slice(&total.to_le_bytes());
        let head = &mut buffer[self.start..data];
        head[4..8].copy_from_slice(&total.to_le_bytes());
        head[20..24].copy_from_slice(&(kept as u32).to_le_bytes());
        head[24..28].copy_from_slice(&(original as u32).to_le_bytes());
    }
}

#[inline]
fn pad(buffer: &mut Vec<u8>, written: usize) {
    buffer.extend_from_slice(&[0; 3][..written.wrapping_neg() % 4]);
}

#[inline]
fn option(buffer: &mut Vec<u8>, code: u16, value: &[u8]) {
    buffer.extend_from_slice(&code.to_le_bytes());
    buffer.extend_from_slice(&(value.len() as u16).to_le_bytes());
    buffer.extend_from_slice(value);
    pad(buffer, value.len());
}

#[inline]
fn options(buffer: &mut Vec<u8>, about: About<'_>) {
    option(buffer, FLAGS, &about.flags.to_le_bytes());
    if about.lost > 0 {
        option(buffer, DROP_COUNT, &about.lost.to_le_bytes());
    }
    if let Some(id) = about.id {
        option(buffer, PACKET_ID, &id.to_le_bytes());
    }
    if let Some(text) = about.comment {
        comment(buffer, text, about.comment_max);
    }
    // opt_endofopt
    buffer.extend_from_slice(&[0; 4]);
}

fn comment(buffer: &mut Vec<u8>, text: &str, max: usize) {
    buffer.extend_from_slice(&COMMENT.to_le_bytes());
    let length_at = buffer.len();
    buffer.extend_from_slice(&[0; 2]);
    let mut utf8 = [0; 4];
    for c in text.chars().filter(|c| !c.is_control()) {
        let bytes = c.encode_utf8(&mut utf8).as_bytes();
        if buffer.len() - length_at - 2 + bytes.len() > max {
            break;
        }
        buffer.extend_from_slice(bytes);
    }
    let length = buffer.len() - length_at - 2;
    buffer[length_at..length_at + 2].copy_from_slice(&(length as u16).to_le_bytes());
    pad(buffer, length);
}
