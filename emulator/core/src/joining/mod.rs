//! What tells a machine that joins a network from outside its addresses: DHCP on IPv4, router advertisements on IPv6.
//!
//! It stands at the edge where the machine's frames come in, so that nothing of it is seen on the network: a frame to
//! it is answered there and goes no further. A frame that is not is not looked at twice. Left out: DHCPv6; what comes in
//! fragments or behind options of IP.

mod advert;
mod leases;
mod message;
mod segment;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use switch::Time;
use switch::wire::{
    Ether, EthernetAddress, EthernetProtocol, IpProtocol, Packet, fill_header_checksum,
    fill_transport_checksum, transport_checksum_ok,
};

pub use advert::{INTERVAL, advert, is_solicitation};
pub use leases::{Answer, LEASE, Leases, MACHINES, OFFER};
pub use message::{Kind, Message, Reply, option};
pub use segment::{Segment, V4, V6};

const SERVER: u16 = 67;
const CLIENT: u16 = 68;
const ETHER: usize = 14;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// A frame that is longer is no message to us.
const LONGEST: usize = 2_048;

/// What becomes of a frame of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is for the network.
    Other,
    /// It was for us, and there is nothing to say.
    Nothing,
    /// It was for us, and this frame is the answer.
    Answer(Vec<u8>),
    /// It asks for an address, and none is left: [`Joining::add`] one and ask again.
    Wanting,
}

/// Answers the machines at one place of a network.
#[derive(Clone, Debug)]
pub struct Joining {
    segment: Segment,
    leases: Leases,
}

impl Joining {
    /// On a network; addresses are [added](Self::add).
    #[must_use]
    pub fn new(segment: Segment) -> Self {
        Self {
            segment,
            leases: Leases::default(),
        }
    }

    /// The network.
    #[must_use]
    pub const fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Adds an IPv4 address to those that are given, and the name that its machine has for others. False: there
    /// are [`MACHINES`] already.
    pub fn add(&mut self, ip: Ipv4Addr, name: &str) -> bool {
        self.leases.add(ip, name)
    }

    /// The name that belongs to an address.
    #[must_use]
    pub fn name_of(&self, ip: Ipv4Addr) -> Option<&str> {
        self.leases.name_of(ip)
    }

    /// Looks at a frame that comes in.
    pub fn hear(&mut self, now: Time, frame: &[u8]) -> Heard {
        // Nearly all are something else: a glance is enough.
        match frame {
            [_, _, _, _, _, _, _, _, _, _, _, _, 8, 0, 0x45, ..] if frame.get(23) == Some(&17) => {
                self.datagram(now, frame)
            }
            [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, ..] if frame.get(20) == Some(&58) => {
                self.solicited(frame)
            }
            _ => Heard::Other,
        }
    }

    fn datagram(&mut self, now: Time, frame: &[u8]) -> Heard {
        let Some((packet, bytes)) = packet(frame) else {
            return Heard::Other;
        };
        let Some(net) = &self.segment.v4 else {
            return Heard::Other;
        };
        let to = packet.destination;
        let ours = to == IpAddr::V4(Ipv4Addr::BROADCAST)
            || to == IpAddr::V4(net.server)
            || to == IpAddr::V4(net.net.broadcast());
        if packet.ports(bytes).map(|(_, port)| port) != Some(SERVER) || !ours {
            return Heard::Other;
        }
        let payload = bytes.get(packet.transport + 8..packet.len);
        let message = payload
            .filter(|_| transport_checksum_ok(bytes, &packet))
            .and_then(Message::parse);
        let Some(message) = message else {
            return Heard::Nothing;
        };
        match self.leases.answer(now, net, self.segment.mtu, &message) {
            Answer::Silence => Heard::Nothing,
            Answer::Wanting => Heard::Wanting,
            Answer::Reply(reply) => {
                let (mac, ip) = addressee(&message, &reply);
                let payload = reply.to(&message);
                let source = (self.segment.mac, net.server);
                Heard::Answer(datagram(source, (mac, ip), &payload))
            }
        }
    }

    fn solicited(&self, frame: &[u8]) -> Heard {
        let Some((packet, bytes)) = packet(frame) else {
            return Heard::Other;
        };
        let IpAddr::V6(source) = packet.source else {
            return Heard::Other;
        };
        let message = bytes.get(packet.transport..packet.len).unwrap_or_default();
        if message.first() != Some(&133) || packet.protocol != IpProtocol::Icmpv6 {
            return Heard::Other;
        }
        if !transport_checksum_ok(bytes, &packet)
            || !is_solicitation(message, source, packet.hop_limit)
        {
            return Heard::Nothing;
        }
        self.advertised().map_or(Heard::Nothing, Heard::Answer)
    }

    /// The frame of an advertisement to everybody, if the network has IPv6.
    #[must_use]
    pub fn advertised(&self) -> Option<Vec<u8>> {
        let net = self.segment.v6.as_ref()?;
        let message = advert(self.segment.mac, self.segment.mtu, net);
        let mut frame = vec![0; ETHER];
        frame.extend_from_slice(&[0x60, 0, 0, 0]);
        frame.extend_from_slice(&(message.len() as u16).to_be_bytes());
        frame.extend_from_slice(&[IpProtocol::Icmpv6.into(), 255]);
        frame.extend_from_slice(&net.link_local.octets());
        frame.extend_from_slice(&ALL_NODES.octets());
        frame.extend_from_slice(&message);
        let all = EthernetAddress([0x33, 0x33, 0, 0, 0, 1]);
        Ether::emit(
            &mut frame,
            all,
            EthernetAddress(self.segment.mac),
            EthernetProtocol::Ipv6,
        );
        filled(frame)
    }
}

/// The packet of a short frame, from the start of its IP header.
fn packet(frame: &[u8]) -> Option<(Packet, &[u8])> {
    let bytes = frame.get(ETHER..).filter(|_| frame.len() <= LONGEST)?;
    let packet = Packet::parse(bytes).ok()?;
    packet.fragment.is_none().then_some((packet, bytes))
}

/// Who is to get an answer (RFC 2131 §4.1).
fn addressee(message: &Message, reply: &Reply) -> ([u8; 6], Ipv4Addr) {
    let everybody = ([0xff; 6], Ipv4Addr::BROADCAST);
    if reply.kind == Kind::Nak {
        everybody
    } else if message.ciaddr != Ipv4Addr::UNSPECIFIED {
        (message.chaddr, message.ciaddr)
    } else if message.broadcast || reply.yiaddr == Ipv4Addr::UNSPECIFIED {
        everybody
    } else {
        (message.chaddr, reply.yiaddr)
    }
}

/// The frame of a datagram of the DHCP server.
fn datagram(
    (mac, source): ([u8; 6], Ipv4Addr),
    (to, destination): ([u8; 6], Ipv4Addr),
    payload: &[u8],
) -> Vec<u8> {
    let mut frame = vec![0; ETHER];
    let length = 8 + payload.len();
    frame.extend_from_slice(&[0x45, 0xc0]);
    frame.extend_from_slice(&((20 + length) as u16).to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0, 0, 64, IpProtocol::Udp.into(), 0, 0]);
    frame.extend_from_slice(&source.octets());
    frame.extend_from_slice(&destination.octets());
    for word in [SERVER, CLIENT, length as u16, 0] {
        frame.extend_from_slice(&word.to_be_bytes());
    }
    frame.extend_from_slice(payload);
    Ether::emit(
        &mut frame,
        EthernetAddress(to),
        EthernetAddress(mac),
        EthernetProtocol::Ipv4,
    );
    filled(frame).unwrap_or_default()
}

/// With its checksums.
fn filled(mut frame: Vec<u8>) -> Option<Vec<u8>> {
    let bytes = frame.get_mut(ETHER..)?;
    let packet = Packet::parse(bytes).ok()?;
    if packet.source.is_ipv4() {
        fill_header_checksum(bytes);
    }
    fill_transport_checksum(bytes, &packet);
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::message::tests::message;
    use super::*;
    use proptest::prelude::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const GUEST: [u8; 6] = [2, 0, 0, 0, 0, 7];

    fn joining() -> Joining {
        let mut joining = Joining::new(Segment {
            mac: MAC,
            mtu: 1500,
            v4: Some(V4 {
                net: "172.18.0.0/16".parse().unwrap(),
                server: Ipv4Addr::new(172, 18, 0, 1),
                router: Some(Ipv4Addr::new(172, 18, 0, 1)),
                dns: Some(Ipv4Addr::new(172, 18, 0, 1)),
                domain: "shop_front".to_owned(),
            }),
            v6: Some(V6 {
                prefix: "fd00:1::/64".parse().unwrap(),
                link_local: "fe80::1".parse().unwrap(),
                router: true,
                dns: Some("fd00:1::1".parse().unwrap()),
            }),
        });
        joining.add(Ipv4Addr::new(172, 18, 0, 4), "shop-tap0");
        joining
    }

    /// The frame of a message of a machine that has no address.
    fn from_nobody(payload: &[u8]) -> Vec<u8> {
        let nobody = (GUEST, Ipv4Addr::UNSPECIFIED);
        let mut frame = datagram(nobody, ([0xff; 6], Ipv4Addr::BROADCAST), payload);
        frame[34..38].copy_from_slice(&[0, 68, 0, 67]);
        frame[40..42].copy_from_slice(&[0, 0]);
        filled(frame).unwrap()
    }

    fn solicitation() -> Vec<u8> {
        let mut frame = vec![0; ETHER];
        frame.extend_from_slice(&[0x60, 0, 0, 0, 0, 8, 58, 255]);
        frame.extend_from_slice(&[0; 16]);
        frame.extend_from_slice(&Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2).octets());
        frame.extend_from_slice(&[133, 0, 0, 0, 0, 0, 0, 0]);
        let all = EthernetAddress([0x33, 0x33, 0, 0, 0, 2]);
        Ether::emit(
            &mut frame,
            all,
            EthernetAddress(GUEST),
            EthernetProtocol::Ipv6,
        );
        filled(frame).unwrap()
    }

    #[test]
    fn a_question_is_answered_to_whom_4_1_says() {
        let mut joining = joining();
        let discover = message(Kind::Discover, 7, &[]);
        let Heard::Answer(frame) = joining.hear(Time::ZERO, &from_nobody(&discover)) else {
            panic!("no answer");
        };
        // To the MAC of who asked, at the address that it will have.
        assert_eq!(frame[..6], GUEST);
        assert_eq!(frame[6..12], MAC);
        let packet = Packet::parse(&frame[ETHER..]).unwrap();
        assert_eq!(packet.destination, IpAddr::from([172, 18, 0, 4]));
        assert_eq!(packet.ports(&frame[ETHER..]), Some((67, 68)));
        assert!(transport_checksum_ok(&frame[ETHER..], &packet));
        // To everybody, if it cannot hear that yet.
        let mut deaf = discover;
        deaf[10] = 0x80;
        let Heard::Answer(frame) = joining.hear(Time::ZERO, &from_nobody(&deaf)) else {
            panic!("no answer");
        };
        assert_eq!(frame[..6], [0xff; 6]);
        assert_eq!(frame[30..34], [255; 4]);
        // A refusal as well.
        let wrong = message(Kind::Request, 7, &[(option::ADDRESS, &[10, 0, 0, 1])]);
        let Heard::Answer(frame) = joining.hear(Time::ZERO, &from_nobody(&wrong)) else {
            panic!("no answer");
        };
        assert_eq!(frame[..6], [0xff; 6]);
    }

    #[test]
    fn a_solicitation_is_answered_by_an_advertisement() {
        let mut joining = joining();
        let asked = solicitation();
        let Heard::Answer(frame) = joining.hear(Time::ZERO, &asked) else {
            panic!("no answer");
        };
        assert_eq!(Some(&frame), joining.advertised().as_ref());
        let packet = Packet::parse(&frame[ETHER..]).unwrap();
        assert_eq!((packet.hop_limit, frame[ETHER + 40]), (255, 134));
        assert!(transport_checksum_ok(&frame[ETHER..], &packet));
        let mut over_a_router = asked.clone();
        over_a_router[21] = 254;
        assert_eq!(joining.hear(Time::ZERO, &over_a_router), Heard::Nothing);
        let mut damaged = asked;
        damaged[57] ^= 1;
        assert_eq!(joining.hear(Time::ZERO, &damaged), Heard::Nothing);
    }

    #[test]
    fn the_rest_is_the_networks() {
        let mut joining = joining();
        let discover = from_nobody(&message(Kind::Discover, 7, &[]));
        // Another port, another address, a fragment.
        for (at, value) in [(37, 69), (33, 7), (20, 0x20)] {
            let mut other = discover.clone();
            other[at] = value;
            assert_eq!(joining.hear(Time::ZERO, &other), Heard::Other, "byte {at}");
        }
        let mut damaged = discover.clone();
        damaged[60] ^= 1;
        assert_eq!(joining.hear(Time::ZERO, &damaged), Heard::Nothing);
        // Where there is no IPv4, nobody answers for it.
        joining.segment.v4 = None;
        assert_eq!(joining.hear(Time::ZERO, &discover), Heard::Other);
        joining.segment.v6 = None;
        assert_eq!(joining.hear(Time::ZERO, &solicitation()), Heard::Nothing);
        assert_eq!(joining.advertised(), None);
    }

    proptest! {
        /// Nothing that comes in breaks it, or makes it give two machines one address.
        #[test]
        fn any_frame_is_survived(
            at in 0_usize..300, value: u8, keep in 0_usize..400, mac: u8, v6: bool,
        ) {
            let mut joining = joining();
            let mut frame = if v6 {
                solicitation()
            } else {
                from_nobody(&message(Kind::Discover, mac, &[(option::WANTED, &[1, 3, 6])]))
            };
            let at = at % frame.len();
            frame[at] = value;
            frame.truncate(keep);
            joining.hear(Time::ZERO, &frame);
        }
    }
}
