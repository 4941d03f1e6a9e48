//! Names in filters: ports, protocols and Ethernet types that everybody knows, and hosts that a lab knows.
//!
//! The tables are the entries of `/etc/services` and `/etc/protocols` that networks of services meet; a
//! filter means the same on every machine.

use core::net::IpAddr;

use ipnet::IpNet;

/// What else a filter's names may mean.
pub trait Names {
    /// The addresses of the host of this name; none if there is none.
    fn host(&self, name: &str) -> Vec<IpAddr>;
    /// The addresses of the network of this name; none if there is none.
    fn network(&self, name: &str) -> Vec<IpNet>;
}

/// Nobody has a name.
impl Names for () {
    fn host(&self, _name: &str) -> Vec<IpAddr> {
        Vec::new()
    }

    fn network(&self, _name: &str) -> Vec<IpNet> {
        Vec::new()
    }
}

const TCP: u8 = 1;
const UDP: u8 = 2;
const BOTH: u8 = TCP | UDP;

const PORTS: &[(&str, u16, u8)] = &[
    ("amqp", 5672, TCP),
    ("amqps", 5671, TCP),
    ("bgp", 179, TCP),
    ("bootpc", 68, UDP),
    ("bootps", 67, UDP),
    ("daytime", 13, BOTH),
    ("dhcpv6-client", 546, UDP),
    ("dhcpv6-server", 547, UDP),
    ("discard", 9, BOTH),
    ("domain", 53, BOTH),
    ("domain-s", 853, BOTH),
    ("echo", 7, BOTH),
    ("ftp", 21, TCP),
    ("ftp-data", 20, TCP),
    ("ftps", 990, TCP),
    ("git", 9418, TCP),
    ("http", 80, TCP),
    ("http-alt", 8080, TCP),
    ("https", 443, BOTH),
    ("imap", 143, TCP),
    ("imap2", 143, TCP),
    ("imaps", 993, TCP),
    ("ipp", 631, TCP),
    ("ipsec-nat-t", 4500, UDP),
    ("isakmp", 500, UDP),
    ("kerberos", 88, BOTH),
    ("ldap", 389, BOTH),
    ("ldaps", 636, BOTH),
    ("mail", 25, TCP),
    ("mdns", 5353, UDP),
    ("microsoft-ds", 445, TCP),
    ("ms-sql-s", 1433, TCP),
    ("ms-wbt-server", 3389, TCP),
    ("mysql", 3306, TCP),
    ("netbios-dgm", 138, UDP),
    ("netbios-ns", 137, UDP),
    ("netbios-ssn", 139, TCP),
    ("nfs", 2049, BOTH),
    ("nntp", 119, TCP),
    ("ntp", 123, UDP),
    ("openvpn", 1194, BOTH),
    ("pop3", 110, TCP),
    ("pop3s", 995, TCP),
    ("postgres", 5432, TCP),
    ("postgresql", 5432, TCP),
    ("printer", 515, TCP),
    ("radius", 1812, BOTH),
    ("radius-acct", 1813, BOTH),
    ("redis", 6379, TCP),
    ("route", 520, UDP),
    ("rsync", 873, TCP),
    ("rtsp", 554, BOTH),
    ("sip", 5060, BOTH),
    ("sip-tls", 5061, BOTH),
    ("smtp", 25, TCP),
    ("snmp", 161, BOTH),
    ("snmp-trap", 162, BOTH),
    ("socks", 1080, TCP),
    ("ssh", 22, TCP),
    ("submission", 587, TCP),
    ("submissions", 465, TCP),
    ("sunrpc", 111, BOTH),
    ("syslog", 514, BOTH),
    ("syslog-tls", 6514, TCP),
    ("tacacs", 49, BOTH),
    ("telnet", 23, TCP),
    ("telnets", 992, TCP),
    ("tftp", 69, UDP),
    ("time", 37, BOTH),
    ("whois", 43, TCP),
    ("www", 80, TCP),
    ("x11", 6000, TCP),
    ("xmpp-client", 5222, TCP),
    ("xmpp-server", 5269, TCP),
    ("zabbix-agent", 10050, TCP),
    ("zabbix-trapper", 10051, TCP),
];

const PROTOCOLS: &[(&str, u8)] = &[
    ("ah", 51),
    ("dccp", 33),
    ("eigrp", 88),
    ("encap", 98),
    ("esp", 50),
    ("etherip", 97),
    ("gre", 47),
    ("hopopt", 0),
    ("icmp", 1),
    ("igmp", 2),
    ("ip", 0),
    ("ipcomp", 108),
    ("ipencap", 4),
    ("ipip", 94),
    ("ipv6", 41),
    ("ipv6-frag", 44),
    ("ipv6-icmp", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("ipv6-route", 43),
    ("isis", 124),
    ("l2tp", 115),
    ("ospf", 89),
    ("pim", 103),
    ("rsvp", 46),
    ("sctp", 132),
    ("tcp", 6),
    ("udp", 17),
    ("udplite", 136),
    ("vrrp", 112),
];

const ETHER_TYPES: &[(&str, u16)] = &[
    ("aarp", 0x80f3),
    ("arp", 0x0806),
    ("atalk", 0x809b),
    ("decnet", 0x6003),
    ("ip", 0x0800),
    ("ip6", 0x86dd),
    ("ipx", 0xe0),
    ("iso", 0xfe),
    ("lat", 0x6004),
    ("loopback", 0x9000),
    ("mopdl", 0x6001),
    ("moprc", 0x6002),
    ("netbeui", 0xf0),
    ("rarp", 0x8035),
    ("sca", 0x6007),
    ("stp", 0x42),
];

/// A port by its name, and the one protocol that it is a port of, unless it is one of several.
pub(super) fn port(name: &str) -> Option<(u16, Option<u8>)> {
    if let Ok(number) = name.parse::<u16>()
        && name.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Some((number, None));
    }
    let known = PORTS.binary_search_by_key(&name, |entry| entry.0).ok()?;
    let (_, port, of) = PORTS[known];
    let only = match of {
        TCP => Some(super::generate::TCP),
        UDP => Some(super::generate::UDP),
        _ => None,
    };
    Some((port, only))
}

/// A protocol above IP by its name.
pub(super) fn protocol(name: &str) -> Option<u8> {
    let known = PROTOCOLS.binary_search_by_key(&name, |entry| entry.0);
    known.ok().map(|known| PROTOCOLS[known].1)
}

/// An Ethernet type, or an LLC service access point, by its name.
pub(super) fn ether_type(name: &str) -> Option<u16> {
    let known = ETHER_TYPES.binary_search_by_key(&name, |entry| entry.0);
    known.ok().map(|known| ETHER_TYPES[known].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_order() {
        assert!(PORTS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(PROTOCOLS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(ETHER_TYPES.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(port("http"), Some((80, Some(6))));
        assert_eq!(port("domain"), Some((53, None)));
        assert_eq!(port("080"), Some((80, None)));
        assert_eq!(port("+80"), None);
    }
}
