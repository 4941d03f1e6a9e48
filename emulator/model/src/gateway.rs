//! Which network a container's default route leads to.
//!
//! The first in this order: the higher `gw_priority` (28.0), one that is not internal, one with
//! gateways of both families before one with one, then the name. 29 looks for each family by itself;
//! 20.10 takes the first with an IPv4 gateway for both.

use core::cmp::Reverse;
use core::net::IpAddr;

use crate::engine::{Carrier, Mode, Net, Port};
use crate::machine::Engine;
use crate::rules::{Rule, Rules};

/// The way out of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Through this address.
    Via(IpAddr),
    /// Straight out of the interface.
    Direct,
    /// It counts as a way out, but nobody said which gateway the segment has, and no route is set (29).
    Unset,
}

impl Net<'_> {
    /// The way out of the network in a family, if it has one.
    pub(crate) fn way(&self, engine: Engine, v6: bool) -> Option<Way> {
        let here = |address: &&IpAddr| address.is_ipv6() == v6;
        let gateway = self.gateways.iter().find(here).copied();
        let given = self.default_gateways.iter().find(here).copied();
        let has = || {
            let mut subnets = self.subnets.iter();
            subnets.any(|subnet| subnet.addr().is_ipv6() == v6)
        };
        match self.carrier {
            Carrier::Bridge if self.mode(v6) == Mode::Isolated => None,
            Carrier::Bridge if self.internal && engine == Engine::V29 => None,
            Carrier::Bridge => given.or(gateway).map(Way::Via),
            Carrier::Uplink | Carrier::UplinkRouted | Carrier::Own if self.internal => None,
            // The driver calls it internal; whoever orders networks does not know.
            Carrier::Own if self.alone && engine == Engine::V29 => None,
            _ if self.routed => has().then_some(Way::Direct),
            Carrier::Uplink | Carrier::UplinkRouted | Carrier::Own => {
                has().then(|| gateway.map_or(Way::Unset, Way::Via))
            }
        }
    }
}

pub(crate) struct Chooser<'n, 'a> {
    pub(crate) nets: &'n [Net<'a>],
    pub(crate) engine: Engine,
    pub(crate) rules: Rules,
}

impl Chooser<'_, '_> {
    pub(crate) fn way(&self, port: &Port, v6: bool) -> Option<Way> {
        port.address(v6)?;
        self.nets[port.net].way(self.engine, v6)
    }

    /// In the order in which the way out is looked for.
    pub(crate) fn sort(&self, ports: &mut [Port]) {
        if !self.rules.has(Rule::Gateway) {
            return;
        }
        ports.sort_by_key(|port| {
            let net = &self.nets[port.net];
            let priority = match self.engine {
                Engine::V20_10 => 0,
                Engine::V29 => port.priority,
            };
            let families = [false, true].map(|v6| self.way(port, v6).is_some());
            let gateways = families.into_iter().filter(|&has| has).count();
            (Reverse(priority), net.internal, Reverse(gateways), net.name)
        });
    }

    /// For IPv4 and for IPv6.
    pub(crate) fn ways(&self, ports: &[Port]) -> [Option<usize>; 2] {
        let first = |v6: bool| ports.iter().position(|port| self.way(port, v6).is_some());
        match self.engine {
            Engine::V29 => [first(false), first(true)],
            Engine::V20_10 => {
                let chosen = first(false);
                let both = chosen.filter(|&at| self.way(&ports[at], true).is_some());
                [chosen, both]
            }
        }
    }
}
