//! What a capture says of one question: its packets, read back, each with the number that Wireshark shows.
//!
//! The capture stands at every interface, so a frame is there once at each place of its way and has the same
//! id at all of them; drops and translations stand beside it as comments.

use core::net::{IpAddr, SocketAddr};
use core::ops::Range;
use std::collections::BTreeMap;

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::{Block, PcapNgParser};
use switch::wire::{Ether, EthernetProtocol, IpProtocol, Packet as Header};

/// `epb_packetid`: the frame's number, the same wherever the frame is seen.
const PACKET_ID: u16 = 5;

/// A packet of the capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Its number in the file, from 1, as Wireshark counts.
    pub(super) number: usize,
    /// The interface, such as `shop-web-1:eth0`; a bridge has its own name.
    pub(super) interface: String,
    /// The frame, the same at all places.
    pub(super) frame: u64,
    /// What became of it there: a drop or a translation.
    pub(super) comment: Option<String>,
    /// The station that it is for.
    pub(super) mac: [u8; 6],
    /// What it carries.
    pub(super) what: Carried,
}

impl Seen {
    /// It died there.
    pub(super) fn is_dropped(&self) -> bool {
        let comment = self.comment.as_deref();
        comment.is_some_and(|comment| comment.starts_with("dropped: "))
    }
}

/// A capture, read.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Its packets, in order.
    packets: Vec<Seen>,
    /// Its bridges, each with the name of its network.
    pub(super) networks: BTreeMap<String, String>,
}

impl Record {
    /// The packets of these numbers.
    pub(crate) fn between(&self, numbers: &Range<u64>) -> &[Seen] {
        let at = |number: u64| (number.saturating_sub(1) as usize).min(self.packets.len());
        let (from, to) = (at(numbers.start), at(numbers.end));
        self.packets.get(from..to).unwrap_or_default()
    }
}

/// What a frame carries, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// ARP, with the address that it is about; an announcement is about the sender's own.
    Arp {
        /// Who has it?
        target: IpAddr,
        /// It asks.
        request: bool,
    },
    /// Neighbour discovery, likewise.
    Neighbour {
        /// Who has it?
        target: IpAddr,
        /// It asks.
        request: bool,
    },
    /// IP: from where to where; the ports are 0 where there are none.
    Ip {
        /// The source.
        from: SocketAddr,
        /// The destination.
        to: SocketAddr,
        /// TCP, UDP, ICMP, …
        protocol: IpProtocol,
    },
    /// Something else.
    Other,
}

/// Reads a capture, as far as it can be read.
pub(crate) fn read(bytes: &[u8]) -> Record {
    let mut record = Record::default();
    let Ok((mut rest, mut parser)) = PcapNgParser::new(bytes) else {
        return record;
    };
    let mut interfaces: Vec<String> = Vec::new();
    while !rest.is_empty() {
        let Ok((after, block)) = parser.next_block(rest) else {
            break;
        };
        rest = after;
        match block {
            Block::InterfaceDescription(interface) => {
                let (mut name, mut about) = (String::new(), String::new());
                for option in &interface.options {
                    match option {
                        InterfaceDescriptionOption::IfName(text) => name = text.to_string(),
                        InterfaceDescriptionOption::IfDescription(text) => about = text.to_string(),
                        _ => {}
                    }
                }
                if let Some(network) = about.strip_prefix("network ") {
                    record.networks.insert(name.clone(), network.to_owned());
                }
                interfaces.push(name);
            }
            Block::EnhancedPacket(packet) => {
                let name = interfaces.get(packet.interface_id as usize);
                let number = record.packets.len() + 1;
                let name = name.cloned().unwrap_or_default();
                record.packets.push(seen(number, name, &packet));
            }
            _ => {}
        }
    }
    record
}

fn seen(number: usize, interface: String, packet: &EnhancedPacketBlock<'_>) -> Seen {
    let mut frame = 0;
    let mut comment = None;
    for option in &packet.options {
        let EnhancedPacketOption::Common(option) = option else {
            continue;
        };
        match option {
            CommonOption::Comment(text) => comment = Some(text.to_string()),
            CommonOption::Unknown(unknown) if unknown.code == PACKET_ID => {
                frame = id(&unknown.value);
            }
            _ => {}
        }
    }
    Seen {
        number,
        interface,
        frame,
        comment,
        mac: packet.data.first_chunk().copied().unwrap_or_default(),
        what: carried(&packet.data),
    }
}

fn id(value: &[u8]) -> u64 {
    value
        .first_chunk::<8>()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn carried(bytes: &[u8]) -> Carried {
    let Ok(ether) = Ether::parse(bytes) else {
        return Carried::Other;
    };
    let payload = &bytes[ether.payload.min(bytes.len())..];
    match ether.protocol {
        EthernetProtocol::Arp => arp(payload),
        EthernetProtocol::Ipv4 | EthernetProtocol::Ipv6 => ip(payload),
        EthernetProtocol::Unknown(_) => Carried::Other,
    }
}

/// ARP for IPv4 over Ethernet (RFC 826): operation at 6, target address at 24.
fn arp(payload: &[u8]) -> Carried {
    let (Some(operation), Some(target)) = (payload.get(6..8), payload.get(24..28)) else {
        return Carried::Other;
    };
    let target: [u8; 4] = target.try_into().unwrap_or_default();
    let target = IpAddr::from(target);
    let request = operation == [0, 1];
    Carried::Arp { target, request }
}

fn ip(payload: &[u8]) -> Carried {
    let Ok(header) = Header::parse(payload) else {
        return Carried::Other;
    };
    if header.protocol == IpProtocol::Icmpv6 {
        let body = payload.get(header.transport..).unwrap_or_default();
        // RFC 4861: 135 asks, 136 answers, the target at 8.
        if let (Some(&kind @ (135 | 136)), Some(target)) = (body.first(), body.get(8..24)) {
            let target: [u8; 16] = target.try_into().unwrap_or_default();
            let target = IpAddr::from(target);
            let request = kind == 135;
            return Carried::Neighbour { target, request };
        }
    }
    let (source, destination) = header.ports(payload).unwrap_or_default();
    Carried::Ip {
        from: SocketAddr::new(header.source, source),
        to: SocketAddr::new(header.destination, destination),
        protocol: header.protocol,
    }
}
