//! DHCP messages (RFC 2131 §2, options of RFC 2132): read with every length checked, and written.
//!
//! Read: Ethernet clients without relays, options in the `sname` and `file` fields (option 52), long options in
//! several pieces (RFC 3396). Left out: BOOTP without options.

use core::net::Ipv4Addr;
use std::collections::BTreeMap;

/// `op` of who asks.
const REQUEST: u8 = 1;
/// `op` of who answers.
const REPLY: u8 = 2;
/// Where the fixed part ends, and what stands there.
const FIXED: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// The shortest message that every BOOTP relay and client takes.
const SHORTEST: usize = 300;
const BROADCAST: u16 = 0x8000;
const PAD: u8 = 0;
const END: u8 = 255;

/// The options that are spoken here, by their numbers in RFC 2132.
pub mod option {
    /// Subnet mask (3.3).
    pub const MASK: u8 = 1;
    /// Routers (3.5).
    pub const ROUTER: u8 = 3;
    /// Domain name servers (3.8).
    pub const DNS: u8 = 6;
    /// Host name (3.14).
    pub const HOST_NAME: u8 = 12;
    /// Domain name (3.17).
    pub const DOMAIN: u8 = 15;
    /// MTU of the interface (5.1).
    pub const MTU: u8 = 26;
    /// Broadcast address (5.3).
    pub const BROADCAST: u8 = 28;
    /// Requested IP address (9.1).
    pub const ADDRESS: u8 = 50;
    /// Lease time (9.2).
    pub const LEASE: u8 = 51;
    /// Which fields hold options as well (9.3).
    pub const OVERLOAD: u8 = 52;
    /// Message type (9.6).
    pub const KIND: u8 = 53;
    /// Server identifier (9.7).
    pub const SERVER: u8 = 54;
    /// Parameters that are asked for (9.8).
    pub const WANTED: u8 = 55;
    /// A sentence (9.9).
    pub const SENTENCE: u8 = 56;
    /// When to renew (9.11).
    pub const RENEW: u8 = 58;
    /// When to rebind (9.12).
    pub const REBIND: u8 = 59;
    /// Client identifier (9.14).
    pub const CLIENT: u8 = 61;
}

/// What a message is (RFC 2132 §9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Who has an address for me?
    Discover,
    /// I have this one.
    Offer,
    /// I take it, or: is it still mine?
    Request,
    /// Somebody has it already.
    Decline,
    /// It is yours.
    Ack,
    /// It is not.
    Nak,
    /// I need it no longer.
    Release,
    /// I have one; what else is there to know?
    Inform,
}

const KINDS: [Kind; 8] = [
    Kind::Discover,
    Kind::Offer,
    Kind::Request,
    Kind::Decline,
    Kind::Ack,
    Kind::Nak,
    Kind::Release,
    Kind::Inform,
];

impl Kind {
    fn of(number: u8) -> Option<Self> {
        KINDS.get(usize::from(number).checked_sub(1)?).copied()
    }

    fn number(self) -> u8 {
        1 + KINDS.iter().position(|kind| *kind == self).unwrap_or(0) as u8
    }
}

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The number that its answer repeats.
    pub xid: u32,
    /// The client cannot be reached under an address that it does not have yet.
    pub broadcast: bool,
    /// The client's address, if it can answer for one; else 0.0.0.0.
    pub ciaddr: Ipv4Addr,
    /// The relay that passed it on; 0.0.0.0 without one.
    pub giaddr: Ipv4Addr,
    /// The client's MAC.
    pub chaddr: [u8; 6],
    options: BTreeMap<u8, Vec<u8>>,
}

impl Message {
    /// Reads a message to a server. `None`: it is none, or not of an Ethernet station.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_at_checked(FIXED)?;
        let rest = rest.strip_prefix(&COOKIE)?;
        let [op, hardware, length, ..] = *fixed else {
            return None;
        };
        if (op, hardware, length) != (REQUEST, 1, 6) {
            return None;
        }
        let mut options = BTreeMap::new();
        read(rest, &mut options)?;
        let overload = options.get(&option::OVERLOAD).and_then(|it| it.first());
        let overload = overload.copied().unwrap_or(0);
        if overload & 1 != 0 {
            read(&fixed[108..FIXED], &mut options)?;
        }
        if overload & 2 != 0 {
            read(&fixed[44..108], &mut options)?;
        }
        let kind = match options.get(&option::KIND)?.as_slice() {
            [number] => Kind::of(*number)?,
            _ => return None,
        };
        let word = |at: usize| [fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]];
        Some(Self {
            kind,
            xid: u32::from_be_bytes(word(4)),
            broadcast: u16::from_be_bytes([fixed[10], fixed[11]]) & BROADCAST != 0,
            ciaddr: word(12).into(),
            giaddr: word(24).into(),
            chaddr: *fixed[28..].first_chunk()?,
            options,
        })
    }

    /// An option's bytes.
    #[must_use]
    pub fn option(&self, number: u8) -> Option<&[u8]> {
        self.options.get(&number).map(Vec::as_slice)
    }

    /// An option that is one address.
    #[must_use]
    pub fn address(&self, number: u8) -> Option<Ipv4Addr> {
        let bytes: [u8; 4] = self.option(number)?.try_into().ok()?;
        Some(bytes.into())
    }

    /// Who asks: what it calls itself, else its MAC (RFC 2131 §4.2).
    #[must_use]
    pub fn client(&self) -> Vec<u8> {
        match self.option(option::CLIENT) {
            Some(own) if own.len() >= 2 => own.to_vec(),
            _ => [&[1], &self.chaddr[..]].concat(),
        }
    }
}

/// Options one behind the other; what has a number twice is one option. `None`: one is cut short.
fn read(mut bytes: &[u8], options: &mut BTreeMap<u8, Vec<u8>>) -> Option<()> {
    while let [number, rest @ ..] = bytes {
        match *number {
            PAD => bytes = rest,
            END => return Some(()),
            number => {
                let (length, rest) = rest.split_first()?;
                let (value, rest) = rest.split_at_checked(usize::from(*length))?;
                options.entry(number).or_default().extend_from_slice(value);
                bytes = rest;
            }
        }
    }
    Some(())
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What it is.
    pub kind: Kind,
    /// The address that is given; 0.0.0.0 if none is.
    pub yiaddr: Ipv4Addr,
    /// The options behind the message type, in this order, each of at most 255 bytes.
    pub options: Vec<(u8, Vec<u8>)>,
}

impl Reply {
    /// Writes the answer to a message.
    #[must_use]
    pub fn to(&self, message: &Message) -> Vec<u8> {
        let mut bytes = vec![0; FIXED];
        bytes[..3].copy_from_slice(&[REPLY, 1, 6]);
        bytes[4..8].copy_from_slice(&message.xid.to_be_bytes());
        let flags = if message.broadcast { BROADCAST } else { 0 };
        bytes[10..12].copy_from_slice(&flags.to_be_bytes());
        // RFC 2131, table 3: the client's own address in an acknowledgement only.
        if self.kind == Kind::Ack {
            bytes[12..16].copy_from_slice(&message.ciaddr.octets());
        }
        bytes[16..20].copy_from_slice(&self.yiaddr.octets());
        bytes[28..34].copy_from_slice(&message.chaddr);
        bytes.extend_from_slice(&COOKIE);
        bytes.extend_from_slice(&[option::KIND, 1, self.kind.number()]);
        for (number, value) in &self.options {
            let value = &value[..value.len().min(255)];
            bytes.extend_from_slice(&[*number, value.len() as u8]);
            bytes.extend_from_slice(value);
        }
        bytes.push(END);
        bytes.resize(bytes.len().max(SHORTEST), PAD);
        bytes
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A client's message.
    pub(crate) fn message(kind: Kind, mac: u8, options: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; FIXED];
        bytes[..3].copy_from_slice(&[REQUEST, 1, 6]);
        bytes[4..8].copy_from_slice(&[1, 2, 3, 4]);
        bytes[28..34].copy_from_slice(&[2, 0, 0, 0, 0, mac]);
        bytes.extend_from_slice(&COOKIE);
        bytes.extend_from_slice(&[option::KIND, 1, kind.number()]);
        for (number, value) in options {
            bytes.extend_from_slice(&[*number, value.len() as u8]);
            bytes.extend_from_slice(value);
        }
        bytes.push(END);
        bytes
    }

    #[test]
    fn the_fields_are_where_figure_1_has_them() {
        let mut bytes = message(Kind::Request, 7, &[(option::ADDRESS, &[10, 0, 0, 9])]);
        bytes[10] = 0x80;
        bytes[12..16].copy_from_slice(&[10, 0, 0, 8]);
        let read = Message::parse(&bytes).unwrap();
        assert_eq!((read.kind, read.xid), (Kind::Request, 0x0102_0304));
        assert!(read.broadcast);
        assert_eq!(read.ciaddr, Ipv4Addr::new(10, 0, 0, 8));
        assert_eq!(read.chaddr, [2, 0, 0, 0, 0, 7]);
        assert_eq!(
            read.address(option::ADDRESS),
            Some(Ipv4Addr::new(10, 0, 0, 9))
        );
        assert_eq!(read.client(), [1, 2, 0, 0, 0, 0, 7]);
        let named = message(Kind::Request, 7, &[(option::CLIENT, b"\x00box")]);
        assert_eq!(Message::parse(&named).unwrap().client(), b"\x00box");
    }

    #[test]
    fn options_are_read_in_pieces_and_in_other_fields() {
        let pieces: [(u8, &[u8]); 3] = [
            (option::HOST_NAME, b"long"),
            (option::OVERLOAD, &[3]),
            (option::HOST_NAME, b"er"),
        ];
        let mut bytes = message(Kind::Discover, 1, &pieces);
        bytes[108..113].copy_from_slice(&[option::DOMAIN, 2, b'a', b'b', END]);
        bytes[44..51].copy_from_slice(&[option::ADDRESS, 4, 10, 0, 0, 9, END]);
        let read = Message::parse(&bytes).unwrap();
        assert_eq!(read.option(option::HOST_NAME), Some(&b"longer"[..]));
        assert_eq!(read.option(option::DOMAIN), Some(&b"ab"[..]));
        assert_eq!(
            read.address(option::ADDRESS),
            Some(Ipv4Addr::new(10, 0, 0, 9))
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        let good = message(Kind::Discover, 1, &[]);
        for (at, value) in [
            (0, 2),
            (1, 6),
            (2, 16),
            (236, 0),
            (242, 0),
            (242, 9),
            (241, 9),
        ] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(Message::parse(&bad), None, "byte {at}");
        }
        for length in 0..good.len() - 1 {
            assert_eq!(Message::parse(&good[..length]), None, "{length} bytes");
        }
        // Without an end, as some clients write it.
        assert!(Message::parse(&good[..good.len() - 1]).is_some());
    }

    #[test]
    fn an_answer_is_a_message_of_300_bytes_at_least() {
        let asked = Message::parse(&message(Kind::Request, 7, &[])).unwrap();
        let reply = Reply {
            kind: Kind::Ack,
            yiaddr: Ipv4Addr::new(10, 0, 0, 9),
            options: vec![(option::SERVER, vec![10, 0, 0, 1])],
        };
        let bytes = reply.to(&asked);
        assert_eq!(bytes.len(), SHORTEST);
        assert_eq!(bytes[..8], [2, 1, 6, 0, 1, 2, 3, 4]);
        assert_eq!(bytes[16..20], [10, 0, 0, 9]);
        assert_eq!(bytes[28..34], [2, 0, 0, 0, 0, 7]);
        assert_eq!(
            bytes[236..250],
            [99, 130, 83, 99, 53, 1, 5, 54, 4, 10, 0, 0, 1, 255]
        );
    }
}
