//! The emulated outside's resolver: who answers what Docker does not know.
//!
//! Two worlds. [`World::Hashed`]: a name with a dot and a top-level domain that exists has an address that
//! its own text decides, in 198.51.100.0/24 (RFC 5737) and 2001:db8:ffff::/48 (RFC 3849); `nx.example`
//! and all below it do not exist. An address there has a PTR name below `outside.example`, which has that
//! address again. [`World::Recorded`]: what the recorded engine's resolver knew, `up.example` and
//! nothing else. Answers have AA set and a TTL of 60. Left out: delegation, SOA records, every other type
//! (they are NODATA where the name exists).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::message::{self, Fit, Malformed, Query, Rcode, Reply, qtype};
use crate::name;
use crate::resolver::Transport;

/// Time to live of every answer, in seconds.
pub const TTL: u32 = 60;
/// The only name of the recorded world.
pub const UP_NAME: &str = "up.example";
/// Its address.
pub const UP_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

const HOSTS: &str = ".outside.example";

/// Top-level domains that exist outside. Any other is refused with NXDOMAIN, so that a mistyped
/// `container.network` is not found outside by accident.
const TOP: &[&str] = &[
    "ai", "app", "arpa", "at", "au", "be", "biz", "blog", "br", "ca", "cc", "ch", "cloud", "cn",
    "co", "com", "cz", "de", "dev", "dk", "edu", "es", "eu", "example", "fi", "fr", "gov", "ie",
    "in", "info", "int", "io", "it", "jp", "kr", "me", "mil", "name", "net", "nl", "no", "nz",
    "online", "org", "page", "pl", "pt", "ru", "se", "sh", "shop", "site", "so", "tech", "to",
    "tv", "tw", "ua", "uk", "us", "xyz", "za",
];

/// What exists outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum World {
    /// Any dotted name of a known top-level domain.
    #[default]
    Hashed,
    /// `up.example` only.
    Recorded,
}

/// FNV-1a over the lower-cased text.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl World {
    /// The addresses of a name, IPv4 then IPv6; `None` if the name does not exist.
    #[must_use]
    pub fn addresses(self, name: &str) -> Option<(Ipv4Addr, Option<Ipv6Addr>)> {
        let name = name::trim(name);
        if self == Self::Recorded {
            return name::same(name, UP_NAME).then_some((UP_ADDRESS, None));
        }
        let lower = name.to_ascii_lowercase();
        let (_, top) = lower.rsplit_once('.')?;
        if lower == "nx.example" || lower.ends_with(".nx.example") || top == "arpa" {
            return None;
        }
        if let Some(host) = lower.strip_suffix(HOSTS) {
            let v4: Ipv4Addr = host.replace('-', ".").parse().ok()?;
            return is_outside(v4.into()).then_some((v4, None));
        }
        if TOP.binary_search(&top).is_err() {
            return None;
        }
        if name::same(&lower, UP_NAME) {
            return Some((UP_ADDRESS, Some(v6_of(7))));
        }
        let mix = hash(&lower);
        // .0, .7 (taken by up.example) and .255 are left out.
        let last = match 1 + (mix >> 32) % 253 {
            low @ ..7 => low,
            high => high + 1,
        };
        Some((Ipv4Addr::new(198, 51, 100, last as u8), Some(v6_of(mix))))
    }

    /// The PTR name of an address; `None` if it has none.
    #[must_use]
    pub fn name_of(self, address: IpAddr) -> Option<String> {
        match (self, address) {
            (_, IpAddr::V4(UP_ADDRESS)) => Some(UP_NAME.to_owned()),
            (Self::Hashed, IpAddr::V4(v4)) if is_outside(address) => {
                Some(format!("{}{HOSTS}", v4.to_string().replace('.', "-")))
            }
            _ => None,
        }
    }

    /// The reply to a query; `None` if it gets none.
    #[must_use]
    pub fn answer(self, bytes: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let query = match Query::parse(bytes) {
            Ok(query) => query,
            Err(Malformed::OpCode) => return message::refuse(bytes, Rcode::NotImp),
            Err(Malformed::IsResponse) => return None,
            Err(_) => return message::refuse(bytes, Rcode::FormErr),
        };
        let limit = match transport {
            Transport::Tcp => usize::from(u16::MAX),
            Transport::Udp => query.udp_limit(),
        };
        Some(self.reply(&query).finish(limit, Fit::Compress))
    }

    fn reply<'q>(self, query: &Query<'q>) -> Reply<'q> {
        let pointer = name::address_of(&query.name).and_then(|address| self.name_of(address));
        let addresses = self.addresses(&query.name);
        let rcode = if pointer.is_some() || addresses.is_some() {
            Rcode::NoError
        } else {
            Rcode::NxDomain
        };
        let mut reply = Reply::new(query, rcode)
            .authoritative()
            .recursion_available();
        let fits = match (query.qtype, addresses, pointer) {
            (qtype::A, Some((v4, _)), _) => {
                reply.address(TTL, v4.into());
                Ok(())
            }
            (qtype::AAAA, Some((_, Some(v6))), _) => {
                reply.address(TTL, v6.into());
                Ok(())
            }
            (qtype::PTR, _, Some(name)) => reply.pointer(TTL, &name),
            _ => Ok(()),
        };
        if fits.is_err() {
            return Reply::new(query, Rcode::ServFail);
        }
        reply
    }
}

fn v6_of(mix: u64) -> Ipv6Addr {
    let [a, b, c, d] = [48, 32, 16, 0].map(|shift| (mix >> shift) as u16);
    Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, a, b, c, d)
}

/// The address lies in the emulated internet.
#[must_use]
pub fn is_outside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[..3] == [198, 51, 100],
        IpAddr::V6(v6) => v6.segments()[..3] == [0x2001, 0xdb8, 0xffff],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Data, Message};

    fn ask(world: World, name: &str, kind: u16) -> Message {
        let query = Query::build(1, name, kind).expect("a query");
        let reply = world.answer(&query, Transport::Udp).expect("a reply");
        Message::parse(&reply).expect("a readable reply")
    }

    #[test]
    fn top_level_domains_are_sorted() {
        assert!(TOP.is_sorted());
    }

    /// `corpus` facts: `up.example` A and PTR with TTL 60 and AA, AAAA empty, all else NXDOMAIN with AA.
    #[test]
    fn the_recorded_world() {
        let up = ask(World::Recorded, "up.example", qtype::A);
        assert_eq!(
            (up.rcode, up.authoritative, up.answers[0].ttl),
            (Rcode::NoError, true, 60)
        );
        assert_eq!(up.addresses().collect::<Vec<_>>(), [IpAddr::V4(UP_ADDRESS)]);
        let none = ask(World::Recorded, "up.example", qtype::AAAA);
        assert_eq!(
            (none.rcode, none.authoritative, none.answers.len()),
            (Rcode::NoError, true, 0)
        );
        let ptr = ask(World::Recorded, "7.100.51.198.in-addr.arpa", qtype::PTR);
        assert_eq!(ptr.answers[0].data, Data::Pointer("up.example".to_owned()));
        for name in [
            "localhost",
            "no-such-name.example",
            "example",
            "1.0.17.172.in-addr.arpa",
        ] {
            for kind in [qtype::A, qtype::AAAA, qtype::PTR, qtype::MX] {
                let reply = ask(World::Recorded, name, kind);
                assert_eq!(
                    (reply.rcode, reply.authoritative),
                    (Rcode::NxDomain, true),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn the_hashed_world() {
        let first = ask(World::Hashed, "google.com", qtype::A);
        let again = ask(World::Hashed, "GOOGLE.com", qtype::A);
        assert_eq!(
            first.addresses().collect::<Vec<_>>(),
            again.addresses().collect::<Vec<_>>()
        );
        assert!(first.addresses().all(is_outside));
        let six = ask(World::Hashed, "google.com", qtype::AAAA);
        assert_eq!(six.answers.len(), 1);
        assert!(six.addresses().all(is_outside));
        for name in [
            "nx.example",
            "a.nx.example",
            "db",
            "db.app_default",
            "web.lab",
            "a.test",
            "x.arpa",
        ] {
            assert_eq!(
                ask(World::Hashed, name, qtype::A).rcode,
                Rcode::NxDomain,
                "{name}"
            );
        }
        let text = ask(World::Hashed, "google.com", qtype::TXT);
        assert_eq!((text.rcode, text.answers.len()), (Rcode::NoError, 0));
    }

    #[test]
    fn names_of_addresses_lead_back() {
        for last in 0..=255 {
            let address = Ipv4Addr::new(198, 51, 100, last);
            let name = World::Hashed.name_of(address.into()).expect("a name");
            let back = World::Hashed.addresses(&name).expect("an address");
            assert_eq!(back.0, address, "{name}");
        }
        assert_eq!(World::Hashed.name_of(IpAddr::from([192, 0, 2, 1])), None);
        assert_eq!(World::Hashed.addresses("1-2-3-4.outside.example"), None);
    }
}
