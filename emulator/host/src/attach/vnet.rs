//! The header that virtio devices put in front of a frame: what it leaves to a later edge.
//!
//! After `struct virtio_net_hdr` of Linux's `virtio_net.h`, 10 bytes in the order of the machine, as TAPs
//! (`IFF_VNET_HDR`) and packet sockets (`PACKET_VNET_HDR`) have it.

use emulator_core::net::Offload;
use emulator_core::switch::wire::{Ether, Packet, checksum_offset};

/// Its length.
pub(super) const LEN: usize = 10;

const NEEDS_CSUM: u8 = 1;
const TCP_V4: u8 = 1;
const TCP_V6: u8 = 4;
const UDP_L4: u8 = 5;
/// The congestion bits of a super-segment are kept by whoever cuts it.
const ECN: u8 = 0x80;

/// What a header leaves to a later edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// What the lab carries.
    To(Offload),
    /// It is several datagrams of so many bytes.
    Datagrams(u16),
    /// What the lab does not carry: other super-frames, other checksums.
    Unknown,
}

/// Reads the header of a frame.
pub(super) fn parse(header: [u8; LEN], frame: &[u8]) -> Left {
    let [flags, kind, ..] = header;
    let word = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let gso_size = match kind & !ECN {
        0 => 0,
        TCP_V4 | TCP_V6 if word(4) > 0 => word(4),
        UDP_L4 => return Left::Datagrams(word(4)),
        _ => return Left::Unknown,
    };
    let csum_partial = flags & NEEDS_CSUM != 0;
    if csum_partial {
        // Where the checksum is has to be where it is in the packet.
        let place = checksum(frame).map(|(start, offset, _)| (start, offset));
        if place != Some((word(6), word(8))) {
            return Left::Unknown;
        }
    }
    Left::To(Offload {
        gso_size,
        csum_partial,
    })
}

/// Where the checksum of a frame begins, where in that part it stands, and whether the frame is IPv6.
fn checksum(frame: &[u8]) -> Option<(u16, u16, bool)> {
    let ether = Ether::parse(frame).ok()?;
    let packet = Packet::parse(&frame[ether.payload..]).ok()?;
    let offset = checksum_offset(packet.protocol)?;
    let start = ether.payload + packet.transport;
    let fits = packet.fragment.is_none() && start + offset + 2 <= frame.len();
    fits.then(|| (start as u16, offset as u16, packet.source.is_ipv6()))
}

/// The header of a frame.
pub(super) fn header(frame: &[u8], offload: Offload) -> [u8; LEN] {
    let mut header = [0; LEN];
    if offload == Offload::default() {
        return header;
    }
    let Some((start, offset, v6)) = checksum(frame) else {
        return header;
    };
    header[0] = NEEDS_CSUM;
    header[6..8].copy_from_slice(&start.to_ne_bytes());
    header[8..10].copy_from_slice(&offset.to_ne_bytes());
    // Only TCP has super-segments here, and its header says how long it is.
    if offload.gso_size > 0
        && let Some(words) = frame.get(usize::from(start) + 12)
    {
        header[1] = if v6 { TCP_V6 } else { TCP_V4 };
        let length = start + u16::from(words >> 4) * 4;
        header[2..4].copy_from_slice(&length.to_ne_bytes());
        header[4..6].copy_from_slice(&offload.gso_size.to_ne_bytes());
    }
    header
}
