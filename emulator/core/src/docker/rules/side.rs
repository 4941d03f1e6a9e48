//! The traffic that Docker's rules speak of, as conditions: into a network, out of it, to a published
//! port. What both engines share.

use core::net::IpAddr;

use ipnet::IpNet;
use switch::filter::{Action, ChainId, Family, IfMatch, Match, NetMatch};

use super::Planned;
use crate::docker::plumb::{LinkRule, NetworkRules, Published};
use crate::docker::spec::Proto;
use crate::id::IfId;

/// The rank of what the daemon inserts: in front of what it appends.
const INSERTED: i64 = 1 << 40;
/// The rank of what the daemon appends.
pub(super) const APPENDED: i64 = 1 << 41;
/// The rank of what stays last.
pub(super) const LAST: i64 = i64::MAX;
/// Ranks that each network has for itself.
const STRETCH: i64 = 16;

/// One family's part of a network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side<'a> {
    pub(super) family: Family,
    pub(super) subnet: IpNet,
    pub(super) network: &'a NetworkRules,
    /// How many networks came before it.
    pub(super) order: i64,
    /// The loopback interface.
    pub(super) lo: IfId,
}

/// The two rules of a legacy link: questions to the port, and answers from it.
pub(super) fn link_rules(chain: ChainId, bridge: IfId, link: &LinkRule) -> [Planned; 2] {
    let inside = Match {
        input: IfMatch::Is(bridge),
        output: IfMatch::Is(bridge),
        protocol: Some(number(link.port.proto)),
        ..Match::default()
    };
    let (client, server) = (link.client.into(), link.server.into());
    let ask = Match {
        source: Some(NetMatch::host(client)),
        destination: Some(NetMatch::host(server)),
        destination_port: Some(link.port.number),
        ..inside
    };
    let answer = Match {
        source: Some(NetMatch::host(server)),
        destination: Some(NetMatch::host(client)),
        source_port: Some(link.port.number),
        ..inside
    };
    [ask, answer].map(|matches| Planned::new(chain, 0, matches, Action::Accept).called("LINK"))
}

/// A protocol's number.
pub(super) const fn number(proto: Proto) -> u8 {
    match proto {
        Proto::Tcp => 6,
        Proto::Udp => 17,
        Proto::Sctp => 132,
    }
}

impl Side<'_> {
    /// The place of an inserted rule of this network: the newest network stands first.
    pub(super) const fn inserted(&self, at: i64) -> i64 {
        INSERTED - self.order * STRETCH + at
    }

    /// The place of an appended rule of this network: the oldest network stands first.
    pub(super) const fn appended(&self, at: i64) -> i64 {
        APPENDED + self.order * STRETCH + at
    }

    pub(super) fn bridge_in(&self) -> Match {
        Match {
            input: IfMatch::Is(self.network.bridge),
            ..Match::default()
        }
    }

    pub(super) fn bridge_out(&self) -> Match {
        Match {
            output: IfMatch::Is(self.network.bridge),
            ..Match::default()
        }
    }

    /// From the network to another interface.
    pub(super) fn leaving(&self) -> Match {
        Match {
            output: IfMatch::IsNot(self.network.bridge),
            ..self.bridge_in()
        }
    }

    /// From another interface to the network.
    pub(super) fn entering(&self) -> Match {
        Match {
            input: IfMatch::IsNot(self.network.bridge),
            ..self.bridge_out()
        }
    }

    /// From a member to a member.
    pub(super) fn between(&self) -> Match {
        Match {
            output: IfMatch::Is(self.network.bridge),
            ..self.bridge_in()
        }
    }

    /// From the network's addresses out of another interface.
    pub(super) fn outgoing(&self) -> Match {
        Match {
            source: Some(NetMatch::inside(self.subnet)),
            output: IfMatch::IsNot(self.network.bridge),
            ..Match::default()
        }
    }

    /// From the host itself to the network.
    pub(super) fn of_host(&self) -> Match {
        Match {
            source_local: true,
            ..self.bridge_out()
        }
    }

    /// Into the network from an address that is not of it. IPv6 neighbour discovery is such, and stays
    /// on the bridge.
    pub(super) fn foreign_in(&self) -> Match {
        let way = match self.family {
            Family::V4 => self.bridge_out(),
            Family::V6 => self.entering(),
        };
        Match {
            source: Some(NetMatch::outside(self.subnet)),
            ..way
        }
    }

    /// Out of the network to an address that is not of it; likewise.
    pub(super) fn foreign_out(&self) -> Match {
        let way = match self.family {
            Family::V4 => self.bridge_in(),
            Family::V6 => self.leaving(),
        };
        Match {
            destination: Some(NetMatch::outside(self.subnet)),
            ..way
        }
    }

    /// How sources are translated: to the given address, or the interface's.
    pub(super) fn source_nat(&self) -> Action {
        let address = match self.family {
            Family::V4 => self.network.host_ipv4.map(IpAddr::from),
            Family::V6 => self.network.host_ipv6.map(IpAddr::from),
        };
        address.map_or(Action::Masquerade, Action::Snat)
    }
}

/// The traffic to a published port on the host's side.
pub(super) fn to_host(side: &Side<'_>, port: &Published) -> Match {
    let bridge = side.network.bridge;
    Match {
        input: if side.network.userland_proxy {
            IfMatch::IsNot(bridge)
        } else {
            IfMatch::Any
        },
        destination: (!port.host_ip.is_unspecified()).then(|| NetMatch::host(port.host_ip)),
        protocol: Some(number(port.port.proto)),
        destination_port: Some(port.host_port),
        ..Match::default()
    }
}

/// The traffic to a published port on the container's side, from elsewhere.
pub(super) fn to_container(side: &Side<'_>, port: &Published) -> Match {
    Match {
        destination: Some(NetMatch::host(port.container_ip)),
        protocol: Some(number(port.port.proto)),
        destination_port: Some(port.port.number),
        ..side.entering()
    }
}

/// The traffic of a container to a published port of its own.
pub(super) fn to_itself(port: &Published) -> Match {
    Match {
        source: Some(NetMatch::host(port.container_ip)),
        destination: Some(NetMatch::host(port.container_ip)),
        protocol: Some(number(port.port.proto)),
        destination_port: Some(port.port.number),
        ..Match::default()
    }
}
