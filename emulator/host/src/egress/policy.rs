//! Who may go where: the rules, the names that were learned, and a word about whoever may not.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::collections::BTreeSet;
use std::rc::Rc;

use emulator_core::switch::Time;

use super::names::Names;
use super::special::Special;
use super::{Proto, Rule};
use crate::means::Means;

/// Where containers find the real machine's loopback, under the name that Docker Desktop gave it.
pub const HOST_NAME: &str = "host.docker.internal";
/// Its address, that of Docker Desktop.
pub const HOST_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 65, 254);
/// The same in IPv6.
pub const HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfdc4, 0xf303, 0x9324, 0, 0, 0, 0, 0x254);

/// Refusals that are told one by one; others are counted only.
const TOLD: usize = 64;

/// What was let out and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were opened outside.
    pub connections: u64,
    /// Flows of datagrams.
    pub datagrams: u64,
    /// Series of echo requests.
    pub pings: u64,
    /// Questions that the real resolver was asked.
    pub questions: u64,
    /// Connections, datagrams, echo requests and questions that no rule allows.
    pub denied: u64,
}

/// What all parts of egress share.
#[derive(Clone)]
pub(super) struct Policy {
    rules: Rc<[Rule]>,
    pub(super) names: Rc<RefCell<Names>>,
    told: Rc<RefCell<BTreeSet<String>>>,
    counts: Rc<Cell<Counts>>,
    pub(super) means: Means,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

impl Policy {
    pub(super) fn new(rules: Vec<Rule>, counts: Rc<Cell<Counts>>, means: Means) -> Self {
        Self {
            rules: rules.into(),
            names: Rc::default(),
            told: Rc::default(),
            counts,
            means,
        }
    }

    /// Where an address of the lab is in the real world.
    pub(super) fn real(&self, address: IpAddr) -> IpAddr {
        let opens = |v6| self.rules.iter().any(|rule| rule.opens_loopback(v6));
        match address {
            IpAddr::V4(HOST_V4) if opens(false) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(HOST_V6) if opens(true) => Ipv6Addr::LOCALHOST.into(),
            other => other,
        }
    }

    /// Where containers find the real loopback, of IPv4 or IPv6, if a rule opens it.
    pub(super) fn host(&self, v6: bool) -> Option<IpAddr> {
        let opens = self.rules.iter().any(|rule| rule.opens_loopback(v6));
        let host = if v6 { HOST_V6.into() } else { HOST_V4.into() };
        opens.then_some(host)
    }

    /// Whether this may go to a real address (port 0 for ping). If not, that is counted and told.
    pub(super) fn allows(&self, now: Time, proto: Proto, to: SocketAddr) -> bool {
        let special = Special::of(to.ip());
        let allowed = {
            let names = self.names.borrow();
            let learned = |rule: &Rule| names.of(now, to.ip()).any(|name| rule.names(name));
            let mut rules = self.rules.iter();
            rules.any(|rule| {
                rule.covers(proto, to.port()) && rule.targets(to.ip(), special, &learned)
            })
        };
        if !allowed {
            let place = match proto {
                Proto::Ping => to.ip().to_string(),
                _ => to.to_string(),
            };
            let why = special.map_or_else(
                || "no --egress rule allows it".to_owned(),
                |special| format!("{} has to be named by a rule", special.words()),
            );
            self.deny(format!("{place}/{proto}"), &why);
        }
        allowed
    }

    /// Whether the real resolver may be asked for a name, which is in lower case. If not, that is counted and told.
    pub(super) fn asks(&self, name: &str) -> bool {
        let mut rules = self.rules.iter();
        let asks = rules.any(|rule| rule.is_by_address() || rule.names(name));
        if !asks {
            self.deny(format!("the name {name}"), "no --egress rule is about it");
        }
        asks
    }

    fn deny(&self, what: String, why: &str) {
        self.count(|counts| counts.denied += 1);
        let mut told = self.told.borrow_mut();
        if told.len() >= TOLD || told.contains(&what) {
            return;
        }
        self.means.say(&format!("egress denied: {what}: {why}"));
        told.insert(what);
        if told.len() == TOLD {
            self.means
                .say("egress denied: others are counted and not told any more");
        }
    }

    pub(super) fn count(&self, add: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        add(&mut counts);
        self.counts.set(counts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &[&str]) -> Policy {
        let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        Policy::new(rules, Rc::default(), Means::new(None, |_| {}))
    }

    fn allows(policy: &Policy, proto: Proto, to: &str) -> bool {
        policy.allows(Time::ZERO, proto, to.parse().unwrap())
    }

    #[test]
    fn only_what_a_rule_allows() {
        let policy = policy(&["198.51.100.0/24:80", "203.0.113.5/udp"]);
        assert!(allows(&policy, Proto::Tcp, "198.51.100.9:80"));
        assert!(!allows(&policy, Proto::Tcp, "198.51.100.9:81"));
        assert!(!allows(&policy, Proto::Tcp, "203.0.113.5:80"));
        assert!(allows(&policy, Proto::Udp, "203.0.113.5:80"));
        assert_eq!(policy.counts.get().denied, 2);
        assert!(!allows(
            &Policy::new(Vec::new(), Rc::default(), policy.means),
            Proto::Tcp,
            "203.0.113.5:80"
        ));
    }

    #[test]
    fn all_is_not_everything() {
        let policy = policy(&["all"]);
        assert!(allows(&policy, Proto::Tcp, "203.0.113.5:443"));
        for special in [
            "127.0.0.1:80",
            "169.254.169.254:80",
            "[fe80::1]:80",
            "[fd00:ec2::254]:80",
            "[::1]:80",
        ] {
            assert!(!allows(&policy, Proto::Tcp, special), "{special}");
        }
        assert_eq!(policy.real(HOST_V4.into()), IpAddr::from(HOST_V4));
    }

    #[test]
    fn a_name_allows_what_was_learned_and_nothing_special() {
        let policy = policy(&["*.example.com:443"]);
        assert!(policy.asks("a.example.com") && !policy.asks("example.org"));
        assert!(!allows(&policy, Proto::Tcp, "203.0.113.5:443"));
        for address in ["203.0.113.5", "127.0.0.1", "169.254.169.254"] {
            policy.names.borrow_mut().learn(
                Time::ZERO,
                "a.example.com",
                address.parse().unwrap(),
                5,
            );
        }
        assert!(allows(&policy, Proto::Tcp, "203.0.113.5:443"));
        assert!(!allows(&policy, Proto::Tcp, "203.0.113.5:80"));
        assert!(
            !allows(&policy, Proto::Tcp, "127.0.0.1:443")
                && !allows(&policy, Proto::Tcp, "169.254.169.254:443")
        );
    }

    #[test]
    fn the_loopback_is_found_where_a_rule_names_it() {
        let policy = policy(&["127.0.0.1:8080"]);
        assert_eq!(policy.real(HOST_V4.into()), IpAddr::from([127, 0, 0, 1]));
        assert_eq!(policy.real(HOST_V6.into()), IpAddr::from(HOST_V6));
        assert!(
            allows(&policy, Proto::Tcp, "127.0.0.1:8080")
                && !allows(&policy, Proto::Tcp, "127.0.0.1:22")
        );
        assert!(!policy.asks("example.com"));
    }
}
