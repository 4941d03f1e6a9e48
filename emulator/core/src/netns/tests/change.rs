//! What is done to frames that were seen, before they come once more.

use proptest::prelude::*;
use switch::wire::{Packet, fill_header_checksum, fill_transport_checksum};

/// What is done to a frame at a byte.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Xor(u8),
    /// The same, and its checksums are right.
    Rightly(u8),
    Cut,
    /// Its IP header gets options, in IPv6 in a header of their own; the byte does not matter, here and below.
    Options,
    /// So many bytes follow what it says, as they do to the shortest frames of a real wire.
    Pad(usize),
}

/// RFC 8200 §4.6.
const DESTINATION_OPTIONS: u8 = 60;

pub(super) fn alter(bytes: &mut Vec<u8>, byte: usize, change: Change) {
    if bytes.is_empty() {
        // Cut before.
        return;
    }
    let at = byte % bytes.len();
    match change {
        Change::Xor(bits) => bytes[at] ^= bits,
        Change::Cut => bytes.truncate(at),
        Change::Options => add_options(bytes),
        Change::Pad(count) => bytes.resize(bytes.len() + count, 0),
        Change::Rightly(bits) => {
            bytes[at] ^= bits;
            seal(bytes);
        }
    }
}

/// Makes the checksums of a frame right, if it has any.
pub(super) fn seal(frame: &mut [u8]) {
    let Some(packet) = frame.get_mut(14..).filter(|bytes| bytes.len() >= 40) else {
        return;
    };
    if packet[0] == 0x45 {
        fill_header_checksum(packet);
    }
    if let Ok(parsed) = Packet::parse(packet)
        && parsed.fragment.is_none()
        && packet.len() >= parsed.transport + 20
    {
        fill_transport_checksum(packet, &parsed);
    }
}

/// The IPv4 header in a frame is a word longer, that of IPv6 followed by one of nothing but padding.
fn add_options(frame: &mut Vec<u8>) {
    let Some(packet) = frame.get_mut(14..).filter(|packet| packet.len() > 40) else {
        return;
    };
    match packet[0] {
        0x45 => {
            let len = u16::from_be_bytes([packet[2], packet[3]]) + 4;
            packet[2..4].copy_from_slice(&len.to_be_bytes());
            packet[0] = 0x46;
            frame.splice(34..34, [1, 1, 1, 0]);
            fill_header_checksum(&mut frame[14..]);
        }
        0x60 => {
            let len = u16::from_be_bytes([packet[4], packet[5]]) + 8;
            packet[4..6].copy_from_slice(&len.to_be_bytes());
            let next = core::mem::replace(&mut packet[6], DESTINATION_OPTIONS);
            frame.splice(54..54, [next, 0, 1, 4, 0, 0, 0, 0]);
        }
        _ => {}
    }
}

pub(super) fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => any::<u8>().prop_map(Change::Xor),
        4 => any::<u8>().prop_map(Change::Rightly),
        2 => Just(Change::Cut),
        2 => (1_usize..40).prop_map(Change::Pad),
        2 => Just(Change::Options),
    ]
}
