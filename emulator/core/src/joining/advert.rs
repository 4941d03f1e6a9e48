//! Router advertisements: what a machine needs to make itself an IPv6 address (RFC 4861 §4.2 and §6, RFC 4862, DNS server
//! by RFC 8106).
//!
//! Left out: DHCPv6 (the M and O flags are off), route preferences, reachability times of its own.

use core::net::Ipv6Addr;
use core::time::Duration;

use super::segment::V6;

/// How often it is said unasked (RFC 4861 §6.2.1: MaxRtrAdvInterval's default).
pub const INTERVAL: Duration = Duration::from_secs(600);
/// How long a router and a DNS server are believed in: three times that.
const LIFETIME: u32 = 1_800;
/// The prefix is good as long as it is said (RFC 4861 §6.2.1: AdvValidLifetime and AdvPreferredLifetime).
const VALID: u32 = 2_592_000;
const PREFERRED: u32 = 604_800;

const SOLICIT: u8 = 133;
const ADVERT: u8 = 134;
/// The source's MAC.
const SOURCE_MAC: u8 = 1;
const PREFIX: u8 = 3;
const MTU: u8 = 5;
const RDNSS: u8 = 25;
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;

/// Whether an ICMPv6 message, its checksum right, is a router solicitation to be answered (RFC 4861 §6.1.1).
#[must_use]
pub fn is_solicitation(message: &[u8], source: Ipv6Addr, hop_limit: u8) -> bool {
    let [SOLICIT, 0, _, _, _, _, _, _, options @ ..] = message else {
        return false;
    };
    if hop_limit != 255 {
        return false;
    }
    let mut rest = options;
    while let [kind, words, ..] = *rest {
        let length = usize::from(words) * 8;
        if length == 0 || (kind == SOURCE_MAC && source.is_unspecified()) {
            return false;
        }
        let Some(next) = rest.get(length..) else {
            return false;
        };
        rest = next;
    }
    rest.is_empty()
}

/// The advertisement of a router, its checksum zero.
#[must_use]
pub fn advert(mac: [u8; 6], mtu: u16, net: &V6) -> Vec<u8> {
    let lifetime = if net.router { LIFETIME as u16 } else { 0 };
    let mut bytes = vec![ADVERT, 0, 0, 0, 64, 0];
    bytes.extend_from_slice(&lifetime.to_be_bytes());
    // Reachable time and retransmit timer: not ours to say.
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[SOURCE_MAC, 1]);
    bytes.extend_from_slice(&mac);
    bytes.extend_from_slice(&[MTU, 1, 0, 0]);
    bytes.extend_from_slice(&u32::from(mtu).to_be_bytes());
    let length = net.prefix.prefix_len();
    // Only an interface identifier of 64 bits makes an address with it (RFC 4862 §5.5.3 d).
    let flags = ON_LINK | if length == 64 { AUTONOMOUS } else { 0 };
    bytes.extend_from_slice(&[PREFIX, 4, length, flags]);
    bytes.extend_from_slice(&VALID.to_be_bytes());
    bytes.extend_from_slice(&PREFERRED.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&net.prefix.network().octets());
    if let Some(dns) = net.dns {
        bytes.extend_from_slice(&[RDNSS, 3, 0, 0]);
        bytes.extend_from_slice(&LIFETIME.to_be_bytes());
        bytes.extend_from_slice(&dns.octets());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

    #[test]
    fn solicitations_are_checked_as_6_1_1_says() {
        let bare = [SOLICIT, 0, 0, 0, 0, 0, 0, 0];
        let with_mac = [&bare[..], &[SOURCE_MAC, 1, 2, 0, 0, 0, 0, 1]].concat();
        assert!(is_solicitation(&bare, LOCAL, 255));
        assert!(is_solicitation(&bare, Ipv6Addr::UNSPECIFIED, 255));
        assert!(is_solicitation(&with_mac, LOCAL, 255));
        assert!(!is_solicitation(&with_mac, Ipv6Addr::UNSPECIFIED, 255));
        assert!(!is_solicitation(&bare, LOCAL, 254), "it came over a router");
        assert!(!is_solicitation(&bare[..7], LOCAL, 255));
        assert!(!is_solicitation(&with_mac[..15], LOCAL, 255), "cut short");
        let code = [SOLICIT, 1, 0, 0, 0, 0, 0, 0];
        assert!(!is_solicitation(&code, LOCAL, 255));
        let empty = [&bare[..], &[SOURCE_MAC, 0, 2, 0, 0, 0, 0, 1]].concat();
        assert!(!is_solicitation(&empty, LOCAL, 255));
    }

    #[test]
    fn the_fields_are_where_4_2_and_4_6_have_them() {
        let net = V6 {
            prefix: "fd00:1::/64".parse().unwrap(),
            link_local: LOCAL,
            router: true,
            dns: Some("fd00:1::1".parse().unwrap()),
        };
        let bytes = advert([2, 0, 0, 0, 0, 1], 1500, &net);
        assert_eq!(bytes.len(), 16 + 8 + 8 + 32 + 24);
        assert_eq!(bytes[..8], [134, 0, 0, 0, 64, 0, 7, 8]);
        assert_eq!(bytes[16..24], [1, 1, 2, 0, 0, 0, 0, 1]);
        assert_eq!(bytes[24..32], [5, 1, 0, 0, 0, 0, 5, 220]);
        assert_eq!(bytes[32..36], [3, 4, 64, 0xc0]);
        assert_eq!(bytes[48..52], [0xfd, 0, 0, 1]);
        assert_eq!(bytes[64..72], [25, 3, 0, 0, 0, 0, 7, 8]);
        let inner = V6 {
            prefix: "fd00:1::/80".parse().unwrap(),
            router: false,
            dns: None,
            ..net
        };
        let bytes = advert([2, 0, 0, 0, 0, 1], 1500, &inner);
        assert_eq!(bytes.len(), 64);
        assert_eq!(bytes[6..8], [0, 0], "no way out");
        assert_eq!(bytes[34..36], [80, 0x80], "no address can be made of it");
    }
}
