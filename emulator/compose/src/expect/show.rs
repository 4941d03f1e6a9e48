//! An expectation as the sentence that says it: reading it again gives the same.

use core::fmt::{self, Display, Formatter};

use super::names::is_place;
use super::{Claim, Event, Expectation, Party, Probe, Sees, Target, Verdict, Whom};
use crate::naming;

/// Things with commas between.
struct List<'a, T>(&'a [T]);

impl<T: Display> Display for List<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}

/// A name of a service or network, in quotes if it would be read as something else.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = self.0;
        let address = name.parse::<core::net::IpAddr>().is_ok();
        // Of a host's: `PROJECT/SERVICE`. What ends in `/icmp` is a ping.
        let plain = match name.split_once('/') {
            Some((key, service)) => {
                naming::is_key(key) && naming::is_key(service) && service != "icmp"
            }
            None => naming::is_key(name),
        };
        if !plain || is_place(name) || address || name == "only" {
            return write!(f, "\"{name}\"");
        }
        f.write_str(name)
    }
}

impl Display for Party {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Host => f.write_str("host"),
            Self::Internet => f.write_str("internet"),
            Self::Lan => f.write_str("lan"),
            Self::Service(name) => Name(name).fmt(f),
        }
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.whom {
            Whom::Address(address @ core::net::IpAddr::V6(_)) => write!(f, "[{address}]")?,
            Whom::Address(address) => address.fmt(f)?,
            Whom::Name(name) => f.write_str(name)?,
            Whom::Party(party) => party.fmt(f)?,
        }
        match self.probe {
            Probe::Icmp => f.write_str("/icmp"),
            Probe::Known => Ok(()),
            Probe::Tcp(port) => write!(f, ":{port}"),
            Probe::Udp(port) => write!(f, ":{port}/udp"),
        }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

impl Display for Sees {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Client => f.write_str("client"),
            Self::Gateway => f.write_str("gateway"),
        }
    }
}

impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeforeUp(service) => write!(f, "before {} is up", Name(service)),
            Self::Down(service) => write!(f, "after down {}", Name(service)),
            Self::Recreate(service) => write!(f, "after recreate {}", Name(service)),
            Self::RecreateMoved(service) => write!(f, "after recreate {} moved", Name(service)),
        }
    }
}

impl Display for Claim {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only { from, to } => write!(f, "only {} -> {}", List(from), List(to)),
            Self::Reach {
                from,
                to,
                verdict,
                via,
                sees,
            } => {
                write!(f, "{} -> {} {verdict}", List(from), List(to))?;
                if let Some(network) = via {
                    write!(f, " via {}", Name(network))?;
                }
                match sees {
                    Some(sees) => write!(f, " sees {sees}"),
                    None => Ok(()),
                }
            }
            Self::Resolves {
                from,
                name,
                count,
                on,
            } => {
                match count {
                    Some(0) => write!(f, "{} does not resolve {name}", List(from))?,
                    None => write!(f, "{} resolves {name}", List(from))?,
                    Some(1) => write!(f, "{} resolves {name} to 1 address", List(from))?,
                    Some(n) => write!(f, "{} resolves {name} to {n} addresses", List(from))?,
                }
                match on {
                    Some(network) => write!(f, " on {}", Name(network)),
                    None => Ok(()),
                }
            }
        }
    }
}

/// The sentence that says it, whatever `text` says.
impl Display for Expectation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.claim.fmt(f)?;
        for event in &self.when {
            write!(f, " {event}")?;
        }
        if self.resolve_once {
            f.write_str(" resolve once")?;
        }
        Ok(())
    }
}
