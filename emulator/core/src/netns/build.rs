//! Writing IP headers (RFC 791 §3.1, RFC 8200 §3).

use core::net::IpAddr;

use switch::wire::{IpProtocol, Packet, fill_header_checksum};
use switch::{Frame, Pool};

/// What an IP header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: IpProtocol,
    pub(super) hop_limit: u8,
    pub(super) dont_fragment: bool,
    /// IPv4 only.
    pub(super) id: u16,
    /// Type of service or traffic class.
    pub(super) tos: u8,
}

impl Head {
    /// Length of the header: 20 or 40.
    pub(super) const fn len(&self) -> usize {
        if self.source.is_ipv4() { 20 } else { 40 }
    }

    /// A packet with this header and room for `upper` bytes behind it, about to be written.
    #[inline]
    pub(super) fn packet(&self, pool: &mut Pool, upper: usize) -> Option<Frame> {
        let frame = pool.alloc(self.len() + upper)?;
        let (meta, bytes) = pool.parts_mut(&frame);
        meta.written = true;
        self.emit(bytes);
        Some(frame)
    }

    /// How a packet with this header and `upper` bytes behind it reads.
    pub(super) fn read(&self, upper: usize) -> Packet {
        Packet {
            source: self.source,
            destination: self.destination,
            protocol: self.protocol,
            transport: self.len(),
            len: self.len() + upper,
            hop_limit: self.hop_limit,
            fragment: None,
            dont_fragment: self.dont_fragment || self.source.is_ipv6(),
        }
    }

    /// Writes the header to the front of `bytes`, whose rest is the upper packet.
    #[inline]
    fn emit(&self, bytes: &mut [u8]) {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                bytes[0] = 0x45;
                bytes[1] = self.tos;
                let len = bytes.len() as u16;
                bytes[2..4].copy_from_slice(&len.to_be_bytes());
                bytes[4..6].copy_from_slice(&self.id.to_be_bytes());
                bytes[6] = if self.dont_fragment { 0x40 } else { 0 };
                bytes[7] = 0;
                bytes[8] = self.hop_limit;
                bytes[9] = self.protocol.into();
                bytes[12..16].copy_from_slice(&source.octets());
                bytes[16..20].copy_from_slice(&destination.octets());
                fill_header_checksum(bytes);
            }
            (source, destination) => {
                let len = (bytes.len() - 40) as u16;
                bytes[0] = 0x60 | self.tos >> 4;
                bytes[1] = self.tos << 4;
                bytes[2..4].fill(0);
                bytes[4..6].copy_from_slice(&len.to_be_bytes());
                bytes[6] = self.protocol.into();
                bytes[7] = self.hop_limit;
                bytes[8..24].copy_from_slice(&octets(source));
                bytes[24..40].copy_from_slice(&octets(destination));
            }
        }
    }
}

fn octets(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}
