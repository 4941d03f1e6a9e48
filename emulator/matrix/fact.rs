//! One thing that is so: who reaches what. Its text is a line's beginning in a lock file.

use core::fmt;
use core::str::FromStr;

use serde::{Serialize, Serializer};

use super::PLACES;

/// `FROM -> TO:PORT`, `FROM -> TO:PORT/udp`, or `FROM -> TO/icmp` where a ping says it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fact {
    /// Who reaches.
    pub from: String,
    /// Who is reached.
    pub to: String,
    /// The port; none for a ping.
    pub port: Option<u16>,
    /// `tcp`, `udp` or `icmp`.
    pub protocol: String,
}

impl Fact {
    /// It is reached from the host, from another machine on its segment, or from the internet: exposure.
    #[must_use]
    pub fn is_exposure(&self) -> bool {
        PLACES.contains(&self.from.as_str()) && !PLACES.contains(&self.to.as_str())
    }

    /// What is reached, as it is written.
    #[must_use]
    pub fn target(&self) -> String {
        match (self.port, self.protocol.as_str()) {
            (Some(port), "tcp") => format!("{}:{port}", self.to),
            (Some(port), protocol) => format!("{}:{port}/{protocol}", self.to),
            (None, protocol) => format!("{}/{protocol}", self.to),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.from, self.target())
    }
}

impl Serialize for Fact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("Fact", 4)?;
        fields.serialize_field("from", &self.from)?;
        fields.serialize_field("to", &self.to)?;
        fields.serialize_field("port", &self.port)?;
        fields.serialize_field("protocol", &self.protocol)?;
        fields.end()
    }
}

impl FromStr for Fact {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, target) = text
            .split_once(" -> ")
            .ok_or_else(|| format!("{text:?} is not `FROM -> TO:PORT`"))?;
        let bad = |what: &str| format!("{what} in {text:?}");
        let (to, port, protocol) = if let Some(to) = target.strip_suffix("/icmp") {
            (to, None, "icmp")
        } else {
            let (to, port) = target.rsplit_once(':').ok_or_else(|| bad("no port"))?;
            let (port, protocol) = match port.split_once('/') {
                None => (port, "tcp"),
                Some((port, "udp")) => (port, "udp"),
                Some(_) => return Err(bad("a protocol that is neither udp nor icmp")),
            };
            let number: u16 = port.parse().map_err(|_| bad("no port"))?;
            // `+80` and `080` parse as well, and would be a second name of the same fact.
            if number.to_string() != port {
                return Err(bad("no port"));
            }
            (to, Some(number), protocol)
        };
        for end in [from, to] {
            // `service/` of a service that is named like a place; of a host's, the key of its project.
            let (key, name) = end.split_once('/').unwrap_or(("service", end));
            if [key, name].iter().any(|part| !is_name(part)) {
                return Err(bad("no name of a service or place"));
            }
        }
        Ok(Self {
            from: from.to_owned(),
            to: to.to_owned(),
            port,
            protocol: protocol.to_owned(),
        })
    }
}

fn is_name(part: &str) -> bool {
    !part.is_empty() && part.chars().all(is_plain)
}

/// What the names of services are made of.
pub(super) const fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_back() {
        for text in [
            "vote -> redis:6379",
            "lan -> turn:3478/udp",
            "internet -> service/host:80",
            "edge/proxy -> blog/db:3306",
            "a_b.c-d -> worker/icmp",
        ] {
            assert_eq!(text.parse::<Fact>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "a -> ",
            "a -> b",
            "a -> b:0x1",
            "a -> b:+80",
            "a -> b:080",
            "a -> b:70000",
            "a -> b:80/sctp",
            "a b -> c:80",
            "a -> b/c/d:80",
            "a -> /b:80",
            "a/ -> b:80",
            " -> c:80",
            "<<<<<<< HEAD",
        ] {
            assert!(bad.parse::<Fact>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn exposure_is_what_places_reach() {
        let is = |text: &str| text.parse::<Fact>().unwrap().is_exposure();
        assert!(is("lan -> db:5432") && is("host -> service/host:80"));
        assert!(!is("db -> internet:443") && !is("a -> b:80") && !is("lan -> host/icmp"));
    }
}
