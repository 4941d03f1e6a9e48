//! Packets for the tests, built byte by byte, with checksums that are verified independently.

use core::net::{IpAddr, SocketAddr};

use crate::wire::{self, IpProtocol, Packet};

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const ACK: u8 = 0x10;

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A packet as bytes.
#[derive(Clone, Debug)]
pub(super) struct Built {
    pub(super) bytes: Vec<u8>,
}

/// A packet around `upper`, with its checksums.
pub(super) fn packet(source: IpAddr, destination: IpAddr, protocol: u8, upper: &[u8]) -> Built {
    let mut bytes = match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut header = vec![0; 20];
            header[0] = 0x45;
            header[2..4].copy_from_slice(&(20 + upper.len() as u16).to_be_bytes());
            header[8] = 64;
            header[9] = protocol;
            header[12..16].copy_from_slice(&from.octets());
            header[16..20].copy_from_slice(&to.octets());
            wire::fill_header_checksum(&mut header);
            header
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut header = vec![0; 40];
            header[0] = 0x60;
            header[4..6].copy_from_slice(&(upper.len() as u16).to_be_bytes());
            header[6] = protocol;
            header[7] = 64;
            header[8..24].copy_from_slice(&from.octets());
            header[24..40].copy_from_slice(&to.octets());
            header
        }
        _ => panic!("two families in one packet"),
    };
    bytes.extend_from_slice(upper);
    let mut built = Built { bytes };
    built.fill();
    built
}

fn ends(source: &str, destination: &str) -> (SocketAddr, SocketAddr) {
    (source.parse().unwrap(), destination.parse().unwrap())
}

pub(super) fn tcp(source: &str, destination: &str, flags: u8) -> Built {
    let (from, to) = ends(source, destination);
    let mut upper = vec![0; 24];
    upper[0..2].copy_from_slice(&from.port().to_be_bytes());
    upper[2..4].copy_from_slice(&to.port().to_be_bytes());
    upper[12] = 0x50;
    upper[13] = flags;
    upper[20..24].copy_from_slice(b"data");
    packet(from.ip(), to.ip(), 6, &upper)
}

pub(super) fn udp(source: &str, destination: &str) -> Built {
    let (from, to) = ends(source, destination);
    let mut upper = vec![0; 13];
    upper[0..2].copy_from_slice(&from.port().to_be_bytes());
    upper[2..4].copy_from_slice(&to.port().to_be_bytes());
    upper[5] = 13;
    upper[8..13].copy_from_slice(b"hello");
    packet(from.ip(), to.ip(), 17, &upper)
}

/// An echo request, or a reply.
pub(super) fn echo(source: &str, destination: &str, id: u16, reply: bool) -> Built {
    let (source, destination) = (ip(source), ip(destination));
    let mut upper = vec![0; 16];
    upper[0] = match (source.is_ipv4(), reply) {
        (true, false) => 8,
        (true, true) => 0,
        (false, false) => 128,
        (false, true) => 129,
    };
    upper[4..6].copy_from_slice(&id.to_be_bytes());
    upper[7] = 1;
    let protocol = if source.is_ipv4() { 1 } else { 58 };
    packet(source, destination, protocol, &upper)
}

/// An ICMP error from `source` to `destination` that quotes `about` bytes of a packet.
pub(super) fn error(source: &str, destination: &str, quoted: &[u8]) -> Built {
    let (source, destination) = (ip(source), ip(destination));
    let mut upper = vec![0; 8];
    // Time exceeded.
    upper[0] = if source.is_ipv4() { 11 } else { 3 };
    upper.extend_from_slice(quoted);
    let protocol = if source.is_ipv4() { 1 } else { 58 };
    packet(source, destination, protocol, &upper)
}

impl Built {
    pub(super) fn packet(&self) -> Packet {
        Packet::parse(&self.bytes).unwrap()
    }

    pub(super) fn source(&self) -> SocketAddr {
        let packet = self.packet();
        SocketAddr::new(packet.source, self.ports().0)
    }

    pub(super) fn destination(&self) -> SocketAddr {
        let packet = self.packet();
        SocketAddr::new(packet.destination, self.ports().1)
    }

    fn ports(&self) -> (u16, u16) {
        self.packet().ports(&self.bytes).unwrap_or((0, 0))
    }

    /// The identifier of an ICMP query.
    pub(super) fn id(&self) -> u16 {
        let at = self.packet().transport + 4;
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    pub(super) fn ends(&self) -> (String, String) {
        (self.source().to_string(), self.destination().to_string())
    }

    fn fill(&mut self) {
        let packet = self.packet();
        if packet.protocol == IpProtocol::Icmp {
            let upper = &mut self.bytes[packet.transport..packet.len];
            upper[2..4].fill(0);
            let check = !wire::sum(upper);
            upper[2..4].copy_from_slice(&check.to_be_bytes());
        }
        wire::fill_transport_checksum(&mut self.bytes, &packet);
    }

    /// Every checksum is right.
    pub(super) fn check(&self) {
        let packet = self.packet();
        if packet.source.is_ipv4() {
            assert!(wire::header_checksum_ok(&self.bytes), "network checksum");
        }
        if packet.protocol == IpProtocol::Icmp {
            let upper = &self.bytes[packet.transport..packet.len];
            assert_eq!(wire::sum(upper), 0xffff, "ICMP checksum");
        }
        let right = wire::transport_checksum_ok(&self.bytes, &packet);
        assert!(right, "transport checksum");
    }

    /// The packet that this ICMP error quotes, whole if the quote is.
    pub(super) fn quoted(&self) -> Self {
        let at = self.packet().transport + 8;
        Self {
            bytes: self.bytes[at..].to_vec(),
        }
    }
}
