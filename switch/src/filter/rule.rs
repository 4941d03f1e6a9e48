//! One rule: what it matches, what it does, where it comes from.
//!
//! After iptables: interfaces, addresses, protocol, ports, `-m conntrack --ctstate`, `-m addrtype`,
//! `-m physdev --physdev-is-bridged`; targets ACCEPT, DROP, RETURN, a chain, DNAT, SNAT, MASQUERADE.
//! Left out: every other match and target (REJECT, marks, sets, limits, logs).

use core::net::IpAddr;

use ipnet::IpNet;

use super::ChainId;
use crate::verdict::{DropReason, IfId};

/// A condition on an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfMatch {
    /// Any interface, or none.
    #[default]
    Any,
    /// This interface.
    Is(IfId),
    /// Another interface, or none.
    IsNot(IfId),
}

impl IfMatch {
    /// Whether `iface` is meant.
    #[must_use]
    pub fn holds(self, iface: Option<IfId>) -> bool {
        match self {
            Self::Any => true,
            Self::Is(wanted) => iface == Some(wanted),
            Self::IsNot(other) => iface != Some(other),
        }
    }
}

/// A condition on an address: inside a network, or outside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetMatch {
    /// The network.
    pub net: IpNet,
    /// Outside is meant.
    pub not: bool,
}

impl NetMatch {
    /// Inside `net`.
    #[must_use]
    pub const fn inside(net: IpNet) -> Self {
        Self { net, not: false }
    }

    /// Outside of `net`.
    #[must_use]
    pub const fn outside(net: IpNet) -> Self {
        Self { net, not: true }
    }

    /// This one address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self::inside(IpNet::from(address))
    }

    /// Whether `address` is meant.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        self.net.contains(&address) != self.not
    }
}

/// What a packet is to the connection it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It starts one, or none has been answered yet.
    New,
    /// It belongs to an answered one.
    Established,
    /// It is an ICMP error about one.
    Related,
    /// It belongs to none and cannot start one.
    Invalid,
    /// It is not tracked (neighbour discovery).
    Untracked,
}

/// A set of states, as after `--ctstate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct States(u8);

impl States {
    /// No condition.
    pub const ANY: Self = Self(0);
    /// `RELATED,ESTABLISHED`.
    pub const ANSWERS: Self = Self::of(&[State::Related, State::Established]);

    /// The set of these states.
    #[must_use]
    pub const fn of(states: &[State]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < states.len() {
            bits |= 1 << states[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    /// Whether `state` is meant.
    #[must_use]
    pub const fn holds(self, state: State) -> bool {
        self.0 == 0 || self.0 & 1 << state as u8 != 0
    }

    /// There is no condition.
    #[must_use]
    pub const fn is_any(self) -> bool {
        self.0 == 0
    }

    /// The words of the set, as `iptables-save` orders them.
    pub(super) fn words(self) -> String {
        let order = [
            (State::Invalid, "INVALID"),
            (State::New, "NEW"),
            (State::Related, "RELATED"),
            (State::Established, "ESTABLISHED"),
            (State::Untracked, "UNTRACKED"),
        ];
        let words: Vec<&str> = order
            .iter()
            .filter(|(state, _)| self.holds(*state))
            .map(|&(_, word)| word)
            .collect();
        words.join(",")
    }
}

/// The conditions of a rule; all of them have to hold. The default matches every packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// The interface that it came in by (the bridge for bridged packets).
    pub input: IfMatch,
    /// The interface that it goes out by.
    pub output: IfMatch,
    /// Source address.
    pub source: Option<NetMatch>,
    /// Destination address.
    pub destination: Option<NetMatch>,
    /// Protocol number.
    pub protocol: Option<u8>,
    /// Source port.
    pub source_port: Option<u16>,
    /// Destination port.
    pub destination_port: Option<u16>,
    /// Connection states.
    pub states: States,
    /// The source is an address of this namespace (`addrtype --src-type LOCAL`).
    pub source_local: bool,
    /// The destination is an address of this namespace (`addrtype --dst-type LOCAL`).
    pub destination_local: bool,
    /// It is being bridged, or it is not.
    pub bridged: Option<bool>,
}

/// What a rule does with a packet that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The packet passes this table at this hook.
    Accept,
    /// It dies.
    Drop(DropReason),
    /// Back to the calling chain; to the policy at the end of a base chain.
    Return,
    /// On with the rules of this chain, and back if none decides.
    Jump(ChainId),
    /// The connection goes to this address, and this port if there is one (nat table).
    Dnat(IpAddr, Option<u16>),
    /// The connection comes from this address (nat table).
    Snat(IpAddr),
    /// The connection comes from the outgoing interface's address (nat table).
    Masquerade,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its conditions.
    pub matches: Match,
    /// What it does.
    pub action: Action,
    /// Whose rule it is, for people who ask why.
    pub origin: Origin,
}

/// Whose rule it is, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The network that it is there for, by its number.
    pub network: Option<u32>,
    /// What it is for; without a network, who made it.
    pub word: &'static str,
}

impl From<&'static str> for Origin {
    fn from(word: &'static str) -> Self {
        Self {
            network: None,
            word,
        }
    }
}

/// How often a rule matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets; a super-segment counts as the frames that it stands for.
    pub packets: u64,
    /// Bytes, from the network header on.
    pub bytes: u64,
}

/// What the rules may ask about a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) ports: Option<(u16, u16)>,
    pub(crate) input: Option<IfId>,
    pub(crate) output: Option<IfId>,
    pub(crate) bridged: bool,
    pub(crate) state: State,
    pub(crate) weight: Counter,
}

impl Match {
    /// The answer depends on which addresses the namespace has.
    pub(crate) const fn asks_addresses(&self) -> bool {
        self.source_local || self.destination_local
    }

    /// Whether all conditions hold.
    pub(crate) fn holds(&self, facts: &Facts, is_local: &dyn Fn(IpAddr) -> bool) -> bool {
        let port = |wanted: Option<u16>, port: Option<u16>| wanted.is_none() || wanted == port;
        self.input.holds(facts.input)
            && self.output.holds(facts.output)
            && self.states.holds(facts.state)
            && self.protocol.is_none_or(|wanted| wanted == facts.protocol)
            && port(self.source_port, facts.ports.map(|ports| ports.0))
            && port(self.destination_port, facts.ports.map(|ports| ports.1))
            && self.source.is_none_or(|net| net.holds(facts.source))
            && self
                .destination
                .is_none_or(|net| net.holds(facts.destination))
            && self.bridged.is_none_or(|wanted| wanted == facts.bridged)
            && (!self.source_local || is_local(facts.source))
            && (!self.destination_local || is_local(facts.destination))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_interface_is_another_one() {
        let docker0 = IfId(3);
        assert!(!IfMatch::Is(docker0).holds(None));
        assert!(IfMatch::IsNot(docker0).holds(None));
        assert!(!IfMatch::IsNot(docker0).holds(Some(docker0)));
        assert!(IfMatch::Any.holds(None));
    }

    #[test]
    fn states_in_the_order_of_iptables() {
        assert_eq!(States::ANSWERS.words(), "RELATED,ESTABLISHED");
        assert!(!States::ANSWERS.holds(State::New));
        assert!(States::ANY.holds(State::Untracked));
    }

    #[test]
    fn a_network_and_its_outside() {
        let net: IpNet = "172.18.0.0/16".parse().unwrap();
        let inside = IpAddr::from([172, 18, 0, 3]);
        assert!(NetMatch::inside(net).holds(inside));
        assert!(!NetMatch::outside(net).holds(inside));
        assert!(NetMatch::outside(net).holds(IpAddr::from([10, 0, 0, 1])));
    }
}
