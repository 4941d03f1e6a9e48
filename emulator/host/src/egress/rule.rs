//! What may leave the lab: rules as people write them.
//!
//! ```text
//! RULE   = "all" | TARGET [":" PORTS] ["/" PROTO]
//! TARGET = ADDRESS | CIDR | NAME | "*." NAME | "localhost"      (IPv6 with ports in brackets)
//! PORTS  = PORT | FIRST "-" LAST | several of them with commas
//! PROTO  = "tcp" | "udp" | "ping"
//! ```

use core::fmt;
use core::net::{IpAddr, Ipv6Addr};
use core::str::FromStr;

use ipnet::IpNet;

use super::special::{self, Special};

/// Labels of a name may be so long together (RFC 1035 §2.3.4).
const NAME: usize = 253;

/// What somebody wants to do with an address outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proto {
    /// To connect.
    Tcp,
    /// To send a datagram.
    Udp,
    /// To send an echo request.
    Ping,
}

impl Proto {
    const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Ping => "ping",
        }
    }
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// Everybody but those who have to be named.
    All,
    /// The real machine's loopback.
    Localhost,
    Net(IpNet),
    /// A name, in lower case, and whether all names below it are meant and not itself.
    Name(String, bool),
}

/// A line of the list of what may leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    target: Target,
    /// First and last of each range; all if empty.
    ports: Vec<(u16, u16)>,
    proto: Option<Proto>,
}

impl Rule {
    /// Whether it is about an address, of which `names` tells whether it was learned for a name.
    pub(super) fn targets(
        &self,
        to: IpAddr,
        special: Option<Special>,
        names: &dyn Fn(&Self) -> bool,
    ) -> bool {
        match &self.target {
            Target::All => special.is_none(),
            Target::Localhost => to.is_loopback(),
            Target::Net(net) => {
                net.contains(&to) && special.is_none_or(|it| it.is_named_by(*net, to))
            }
            Target::Name(..) => special.is_none() && names(self),
        }
    }

    /// Whether it allows this to whom it is about.
    pub(super) fn covers(&self, proto: Proto, port: u16) -> bool {
        if self.proto.is_some_and(|own| own != proto) {
            return false;
        }
        let within = |&(first, last): &(u16, u16)| (first..=last).contains(&port);
        self.ports.is_empty() || (proto != Proto::Ping && self.ports.iter().any(within))
    }

    /// Whether it is about a name, which is in lower case and has no dot at its end.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        match &self.target {
            Target::Name(own, false) => own == name,
            Target::Name(own, true) => name
                .strip_suffix(own.as_str())
                .and_then(|front| front.strip_suffix('.'))
                .is_some_and(|front| !front.is_empty()),
            _ => false,
        }
    }

    /// Whether it opens the real machine's loopback, of IPv4 and of IPv6.
    #[must_use]
    pub fn opens_loopback(&self, v6: bool) -> bool {
        match &self.target {
            Target::Localhost => true,
            Target::Net(net) => net.addr().is_loopback() && net.addr().is_ipv6() == v6,
            _ => false,
        }
    }

    /// Whether it is about addresses out there, whatever they are called.
    pub(super) fn is_by_address(&self) -> bool {
        match &self.target {
            Target::All => true,
            Target::Net(net) => !net.addr().is_loopback(),
            Target::Localhost | Target::Name(..) => false,
        }
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(SYNTAX.to_owned());
        }
        let (text, proto) = proto(text)?;
        let (target, ports) = split(text)?;
        let ports = match ports {
            Some(ports) => self::ports(ports)?,
            None => Vec::new(),
        };
        if proto == Some(Proto::Ping) && !ports.is_empty() {
            return Err(format!(
                "{text:?}: ping has no ports; leave {:?} away",
                text.rsplit(':').next().unwrap_or_default()
            ));
        }
        Ok(Self {
            target: self::target(target)?,
            ports,
            proto,
        })
    }
}

/// What is said of an empty rule.
const SYNTAX: &str = "write all, or an address, a network or a name, with ports if not all are meant: \
                      api.example.com:443, *.example.com, 10.0.0.0/8:80,8000-8099, [2001:db8::1]:53/udp";

fn proto(text: &str) -> Result<(&str, Option<Proto>), String> {
    let Some((front, word)) = text.rsplit_once('/') else {
        return Ok((text, None));
    };
    let all = [Proto::Tcp, Proto::Udp, Proto::Ping];
    if let Some(proto) = all.into_iter().find(|proto| proto.word() == word) {
        return Ok((front, Some(proto)));
    }
    // The length of a prefix, perhaps with a bracket or ports behind.
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok((text, None));
    }
    if word == "icmp" {
        return Err(format!("{text:?}: write /ping"));
    }
    Err(format!(
        "{text:?}: behind the slash stands tcp, udp, ping or the length of a prefix, not {word:?}"
    ))
}

/// Target and ports.
fn split(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, rest) = rest
            .split_once(']')
            .ok_or_else(|| format!("{text:?} has no closing bracket"))?;
        if !inside.contains(':') {
            return Err(format!("{text:?}: brackets are for IPv6 addresses"));
        }
        return match rest.strip_prefix(':') {
            Some(ports) => Ok((inside, Some(ports))),
            None if rest.is_empty() => Ok((inside, None)),
            None => Err(format!("{text:?}: behind the bracket stands :PORT")),
        };
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Ok((text, None)),
        Some((target, ports)) => Ok((target, Some(ports))),
        None => Ok((text, None)),
    }
}

fn ports(text: &str) -> Result<Vec<(u16, u16)>, String> {
    let number = |word: &str| match word.parse::<u16>() {
        Ok(number) if number > 0 && word.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        _ => Err(format!(
            "{word:?} is no port: write 1 to 65535, 80,443 or 8000-8099"
        )),
    };
    let range = |word: &str| match word.split_once('-') {
        Some((first, last)) => {
            let range = (number(first)?, number(last)?);
            if range.0 > range.1 {
                return Err(format!(
                    "{word:?} ends before it begins: write {last}-{first}"
                ));
            }
            Ok(range)
        }
        None => number(word).map(|port| (port, port)),
    };
    text.split(',').map(range).collect()
}

fn target(text: &str) -> Result<Target, String> {
    match text {
        "all" => return Ok(Target::All),
        "localhost" => return Ok(Target::Localhost),
        "*" => {
            return Err(
                "\"*\" stands in front of a name, as in *.example.com; write all for everything"
                    .to_owned(),
            );
        }
        _ => {}
    }
    if text.contains('/') {
        let net: IpNet = text
            .parse()
            .map_err(|_| format!("{text:?} is no network: write 10.0.0.0/8 or 2001:db8::/32"))?;
        return address(net.trunc(), text);
    }
    if let Ok(addr) = text.parse::<IpAddr>() {
        return address(IpNet::from(addr), text);
    }
    if text.contains(':') {
        return Err(format!(
            "{text:?} is no IPv6 address; with a port write [2001:db8::1]:443"
        ));
    }
    name(text)
}

fn address(net: IpNet, text: &str) -> Result<Target, String> {
    if let Some(why) = special::never(net) {
        return Err(format!("{text:?}: {why} cannot be reached through egress"));
    }
    if net.addr().is_loopback() {
        let first = net.addr() == IpAddr::from([127, 0, 0, 0])
            || net.addr() == IpAddr::from([127, 0, 0, 1]);
        if !first && net.addr() != IpAddr::V6(Ipv6Addr::LOCALHOST) {
            return Err(format!(
                "{text:?}: of the loopback addresses, 127.0.0.1 and ::1 can be reached"
            ));
        }
    }
    Ok(Target::Net(net))
}

fn name(text: &str) -> Result<Target, String> {
    let lower = text.trim_end_matches('.').to_ascii_lowercase();
    let (name, below) = match lower.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (lower.as_str(), false),
    };
    if name.contains('*') {
        return Err(format!(
            "{text:?}: \"*\" stands in front only, as in *.example.com"
        ));
    }
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.chars().all(letter);
    if name.len() > NAME || !name.split('.').all(label) {
        return Err(format!("{text:?} is no address and no name of a machine"));
    }
    if name
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return Err(format!("{text:?} is no IPv4 address"));
    }
    Ok(Target::Name(name.to_owned(), below))
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = match &self.target {
            Target::All => "all".to_owned(),
            Target::Localhost => "localhost".to_owned(),
            Target::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().to_string(),
            Target::Net(net) => net.to_string(),
            Target::Name(name, true) => format!("*.{name}"),
            Target::Name(name, false) => name.clone(),
        };
        let range = |&(first, last): &(u16, u16)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        };
        let ports: Vec<String> = self.ports.iter().map(range).collect();
        match (ports.is_empty(), target.contains(':')) {
            (true, _) => write!(f, "{target}")?,
            (false, true) => write!(f, "[{target}]:{}", ports.join(","))?,
            (false, false) => write!(f, "{target}:{}", ports.join(","))?,
        }
        match self.proto {
            Some(proto) => write!(f, "/{proto}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    #[test]
    fn rules_are_read_and_said_the_same() {
        for text in [
            "all",
            "all:443/tcp",
            "localhost:5432",
            "10.0.0.0/8",
            "10.0.0.0/8:80,443,8000-8099/tcp",
            "192.0.2.7/ping",
            "192.0.2.7:53/udp",
            "2001:db8::/32",
            "2001:db8::1",
            "[2001:db8::1]:443",
            "[2001:db8::/32]:443/tcp",
            "api.example.com:443",
            "*.example.com",
            "169.254.169.254:80",
            "127.0.0.1:8080",
        ] {
            assert_eq!(rule(text).to_string(), text);
        }
        assert_eq!(
            rule("API.Example.COM.:443").to_string(),
            "api.example.com:443"
        );
        assert_eq!(rule("10.1.2.3/8").to_string(), "10.0.0.0/8");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, said) in [
            ("", "write all, or"),
            ("*", "write all for everything"),
            ("api.*.com", "in front only"),
            ("10.0.0.0/33", "is no network"),
            ("10.0.0.256", "is no IPv4 address"),
            ("10.0.0.1:0", "is no port"),
            ("10.0.0.1:+5", "is no port"),
            ("10.0.0.1:90-80", "write 80-90"),
            ("10.0.0.1:80/ping", "ping has no ports"),
            ("10.0.0.1/icmp", "write /ping"),
            ("10.0.0.1/sctp", "tcp, udp, ping"),
            ("[2001:db8::1:443", "closing bracket"),
            ("[10.0.0.1]:443", "brackets are for IPv6"),
            ("2001:db8::1:zz", "[2001:db8::1]:443"),
            ("224.0.0.0/4", "cannot be reached"),
            ("127.0.0.5", "127.0.0.1 and ::1"),
            ("a..b", "no name of a machine"),
        ] {
            let error = text.parse::<Rule>().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_star_stands_for_names_below() {
        let below = rule("*.example.com");
        assert!(below.names("a.example.com") && below.names("a.b.example.com"));
        assert!(
            !below.names("example.com")
                && !below.names("badexample.com")
                && !below.names(".example.com")
        );
        assert!(rule("example.com").names("example.com"));
        assert!(!rule("example.com").names("a.example.com"));
    }

    #[test]
    fn ports_are_for_connections_and_datagrams() {
        let web = rule("10.0.0.0/8:80,8000-8099");
        assert!(web.covers(Proto::Tcp, 80) && web.covers(Proto::Udp, 8050));
        assert!(!web.covers(Proto::Tcp, 81) && !web.covers(Proto::Ping, 0));
        assert!(rule("10.0.0.1/ping").covers(Proto::Ping, 0));
        assert!(!rule("10.0.0.1/ping").covers(Proto::Tcp, 80));
    }
}
