//! Values of filter expressions: numbers, addresses, networks, names and masks, with what was said of them
//! before.

use core::net::IpAddr;

use ipnet::IpNet;

use super::generate::{SCTP, TCP, UDP};
use super::lex::{Key, Protocol, Token};
use super::names;
use super::parse::{Kind, Parsed, Parser, Qualifiers};
use super::program::Part;

impl<'a> Parser<'a> {
    /// A value, or values in parentheses.
    pub(super) fn value(&mut self, qualifiers: Qualifiers) -> Parsed<Part> {
        if self.is_key(Key::Not) {
            return self.deeper(|parser| {
                parser.bump();
                Ok(parser.value(qualifiers)?.not())
            });
        }
        if self.is_sign("(") {
            return self.deeper(|parser| {
                parser.bump();
                let mut left = parser.value(qualifiers)?;
                while let Some(&Token::Key(key @ (Key::And | Key::Or))) = parser.peek() {
                    parser.bump();
                    let right = parser.value(qualifiers)?;
                    left = parser.join(key, left, right);
                }
                parser.expect(")", "'and', 'or' or ')'")?;
                Ok(left)
            });
        }
        let from = self.at;
        let made = match self.peek() {
            Some(Token::Number(number)) => {
                self.bump();
                self.number(*number, qualifiers)
            }
            Some(Token::Dotted(text)) => self.dotted(text, qualifiers)?,
            Some(Token::Ip6(_)) => self.ip6(qualifiers)?,
            Some(Token::Mac(address)) => {
                self.bump();
                self.mac(*address, qualifiers)
            }
            Some(Token::Name(name)) => {
                self.bump();
                self.name(name, qualifiers)
            }
            _ => return Err(self.wrong(wanted(qualifiers.kind))),
        };
        made.map_err(|why| self.refused(from, why))
    }

    /// A number by itself: a port, a protocol, or an address as one number.
    fn number(&mut self, number: u32, qualifiers: Qualifiers) -> Result<Part, String> {
        let Qualifiers {
            protocol,
            direction,
            kind,
        } = qualifiers;
        match kind {
            Kind::Any | Kind::Host | Kind::Net => {
                if protocol == Some(Protocol::Link) {
                    return Err("illegal link layer address".into());
                }
                let net = if kind == Kind::Net {
                    promoted(number, u32::MAX)
                } else {
                    (number, u32::MAX)
                };
                self.made.ip4(protocol, direction, net, what(kind))
            }
            Kind::Port | Kind::PortRange => {
                let above = above(qualifiers)?;
                let port = port(number)?;
                self.made.ports(above, direction, (port, port))
            }
            Kind::Proto => self.made.above(protocol, number),
        }
    }

    /// An IPv4 address or the beginning of one, perhaps with a mask.
    fn dotted(&mut self, text: &'a str, qualifiers: Qualifiers) -> Parsed<Result<Part, String>> {
        self.bump();
        let Some((address, bits)) = ip4(text) else {
            return Ok(Err(format!("invalid IPv4 address '{text}'")));
        };
        let masked = self.mask(text, address)?;
        let (mask, is_network) = match masked {
            Some(Ok(mask)) => (mask, true),
            Some(Err(why)) => return Ok(Err(why)),
            None => (left_bits(bits), false),
        };
        if is_network && qualifiers.kind != Kind::Net {
            return Ok(Err("Mask syntax for networks only".into()));
        }
        let applied = match qualifiers.kind {
            Kind::Port => Some("port"),
            Kind::PortRange => Some("portrange"),
            Kind::Proto => Some("proto"),
            Kind::Any | Kind::Host | Kind::Net => None,
        };
        if let Some(kind) = applied {
            return Ok(Err(format!("'{kind}' modifier applied to ip host")));
        }
        if qualifiers.protocol == Some(Protocol::Link) && !is_network {
            return Ok(Err("illegal link layer address".into()));
        }
        Ok(self.made.ip4(
            qualifiers.protocol,
            qualifiers.direction,
            (address, mask),
            what(qualifiers.kind),
        ))
    }

    /// `/24` or `mask 255.255.255.0` behind `address`, if it is there.
    fn mask(&mut self, text: &str, address: u32) -> Parsed<Option<Result<u32, String>>> {
        let (mask, written) = if self.is_sign("/") {
            self.bump();
            let Some(&Token::Number(length)) = self.peek() else {
                return Err(self.wrong("the length of the mask"));
            };
            self.bump();
            if length > 32 {
                return Ok(Some(Err("mask length must be <= 32".into())));
            }
            (left_bits(length), format!("{text}/{length}"))
        } else if self.is_key(Key::Mask) {
            self.bump();
            let Some(Token::Dotted(mask)) = self.peek() else {
                return Err(self.wrong("a mask, such as 255.255.255.0"));
            };
            self.bump();
            let Some((value, _)) = ip4(mask) else {
                return Ok(Some(Err(format!("invalid IPv4 address '{mask}'"))));
            };
            (value, format!("{text} mask {mask}"))
        } else {
            return Ok(None);
        };
        if address & !mask != 0 {
            return Ok(Some(Err(format!("non-network bits set in \"{written}\""))));
        }
        Ok(Some(Ok(mask)))
    }

    /// An IPv6 address, perhaps with a mask.
    fn ip6(&mut self, qualifiers: Qualifiers) -> Parsed<Result<Part, String>> {
        let word = &self.words[self.at];
        let &Token::Ip6(address) = &word.token else {
            return Err(self.wrong("an IPv6 address"));
        };
        self.bump();
        let mut length = 128;
        if self.is_sign("/") {
            self.bump();
            let Some(&Token::Number(bits)) = self.peek() else {
                return Err(self.wrong("the length of the mask"));
            };
            self.bump();
            length = bits;
        }
        if length > 128 {
            return Ok(Err("mask length must be <= 128".into()));
        }
        let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        if address.to_bits() & !mask != 0 {
            let text = &word.text;
            return Ok(Err(format!("non-network bits set in \"{text}/{length}\"")));
        }
        match qualifiers.kind {
            Kind::Any | Kind::Host if length != 128 => {
                return Ok(Err("Mask syntax for networks only".into()));
            }
            Kind::Any | Kind::Host | Kind::Net => {}
            Kind::Port | Kind::PortRange | Kind::Proto => {
                return Ok(Err("invalid qualifier against IPv6 address".into()));
            }
        }
        Ok(self.made.ip6(
            qualifiers.protocol,
            qualifiers.direction,
            (address, mask),
            what(qualifiers.kind),
        ))
    }

    fn mac(&mut self, address: [u8; 6], qualifiers: Qualifiers) -> Result<Part, String> {
        let is_ether = qualifiers.protocol == Some(Protocol::Link);
        if !is_ether || !matches!(qualifiers.kind, Kind::Any | Kind::Host) {
            return Err("ethernet address used in non-ether expression".into());
        }
        self.made.mac(address, qualifiers.direction)
    }

    fn name(&mut self, name: &str, qualifiers: Qualifiers) -> Result<Part, String> {
        let Qualifiers {
            protocol,
            direction,
            kind,
        } = qualifiers;
        match kind {
            Kind::Any | Kind::Host => self.host(name, qualifiers),
            Kind::Net => {
                let nets = self.names.network(name);
                if nets.is_empty() {
                    return Err(format!("unknown network '{name}'"));
                }
                self.nets(&nets, qualifiers, name)
            }
            Kind::Port => {
                let above = above(qualifiers)?;
                let Some((port, only)) = names::port(name) else {
                    return Err(format!("unknown port '{name}'"));
                };
                let above = agreed(above, only, &format!("port '{name}'"))?;
                self.made.ports(above, direction, (port, port))
            }
            Kind::PortRange => {
                let above = above(qualifiers)?;
                let ((first, last), only) =
                    range(name).ok_or_else(|| format!("unknown port in range '{name}'"))?;
                let above = agreed(above, only, &format!("port in range '{name}'"))?;
                let ports = (port(first)?, port(last)?);
                self.made.ports(above, direction, ports)
            }
            Kind::Proto => {
                let number = match protocol {
                    Some(Protocol::Link) => names::ether_type(name)
                        .map(u32::from)
                        .ok_or_else(|| format!("unknown ether proto '{name}'"))?,
                    None | Some(Protocol::Ip | Protocol::Ip6) => names::protocol(name)
                        .map(u32::from)
                        .ok_or_else(|| format!("unknown ip proto '{name}'"))?,
                    Some(_) => 0,
                };
                self.made.above(protocol, number)
            }
        }
    }

    fn host(&mut self, name: &str, qualifiers: Qualifiers) -> Result<Part, String> {
        if qualifiers.protocol == Some(Protocol::Link) {
            return Err(format!("unknown ether host '{name}'"));
        }
        let addresses = self.names.host(name);
        if addresses.is_empty() {
            return Err(format!("unknown host '{name}'"));
        }
        let nets: Vec<IpNet> = addresses.into_iter().map(IpNet::from).collect();
        self.nets(&nets, qualifiers, name)
    }

    /// Any of the networks that a name stands for, of the family that was asked for.
    fn nets(&mut self, nets: &[IpNet], qualifiers: Qualifiers, name: &str) -> Result<Part, String> {
        let Qualifiers {
            protocol,
            direction,
            kind,
        } = qualifiers;
        let mut any: Option<Part> = None;
        for net in nets {
            let part = match (net.network(), net.netmask(), protocol) {
                (IpAddr::V4(_), _, Some(Protocol::Ip6)) => continue,
                (IpAddr::V6(_), _, Some(Protocol::Ip)) => continue,
                (IpAddr::V4(address), IpAddr::V4(mask), _) => {
                    let net = (address.to_bits(), mask.to_bits());
                    self.made.ip4(protocol, direction, net, what(kind))?
                }
                (IpAddr::V6(address), IpAddr::V6(mask), _) => {
                    let net = (address, mask.to_bits());
                    self.made.ip6(protocol, direction, net, what(kind))?
                }
                _ => continue,
            };
            any = Some(match any {
                Some(before) => self.made.or(before, part),
                None => part,
            });
        }
        let what = what(kind);
        any.ok_or_else(|| format!("unknown {what} '{name}' for specified address family"))
    }
}

/// What a value may be.
const fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Any | Kind::Host => "an address or the name of a host",
        Kind::Net => "a network, such as 172.18.0.0/16",
        Kind::Port => "a port",
        Kind::PortRange => "two ports, such as 8000-8080",
        Kind::Proto => "the number of a protocol, or its name behind \\",
    }
}

const fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::Net => "net",
        _ => "host",
    }
}

/// The protocol that a port is asked for with.
fn above(qualifiers: Qualifiers) -> Result<Option<u8>, String> {
    match qualifiers.protocol {
        None => Ok(None),
        Some(Protocol::Tcp) => Ok(Some(TCP)),
        Some(Protocol::Udp) => Ok(Some(UDP)),
        Some(Protocol::Sctp) => Ok(Some(SCTP)),
        Some(_) if qualifiers.kind == Kind::Port => Err("illegal qualifier of 'port'".into()),
        Some(_) => Err("illegal qualifier of 'portrange'".into()),
    }
}

/// The protocol of a port that has a name.
fn agreed(asked: Option<u8>, only: Option<u8>, what: &str) -> Result<Option<u8>, String> {
    match (asked, only) {
        (Some(asked), Some(only)) if asked != only => {
            let only = if only == TCP { "tcp" } else { "udp" };
            Err(format!("{what} is {only}"))
        }
        (asked, only) => Ok(asked.or(only)),
    }
}

fn port(number: u32) -> Result<u16, String> {
    u16::try_from(number).map_err(|_| format!("illegal port number {number} > 65535"))
}

/// Two ports and the protocol that both are ports of. What stands behind two numbers is not looked at.
fn range(text: &str) -> Option<((u32, u32), Option<u8>)> {
    let (first, rest) = text.split_once('-')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    if let (Ok(first), Ok(last)) = (first.parse(), rest[..digits].parse()) {
        return Some(((first, last), None));
    }
    let (first, of_first) = names::port(first)?;
    let (last, of_last) = names::port(rest)?;
    let only = of_first.filter(|_| of_first == of_last);
    Some(((first.into(), last.into()), only))
}

/// The address that two to four numbers begin, and how many bits of it they are.
fn ip4(text: &str) -> Option<(u32, u32)> {
    let (mut address, mut bits) = (0, 0);
    for part in text.split('.') {
        let part: u32 = part.parse().ok().filter(|&part| part <= 255)?;
        address = address << 8 | part;
        bits += 8;
    }
    Some((address << (32 - bits), bits))
}

/// A network that one number begins: moved to the left until its first byte is not zero.
const fn promoted(mut number: u32, mut mask: u32) -> (u32, u32) {
    while number != 0 && number & 0xff00_0000 == 0 {
        number <<= 8;
        mask <<= 8;
    }
    (number, mask)
}

fn left_bits(bits: u32) -> u32 {
    u32::MAX.checked_shl(32 - bits).unwrap_or(0)
}
