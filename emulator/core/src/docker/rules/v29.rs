//! The rules of Docker 29, in the chains of its iptables backend.
//!
//! Networks are not kept apart by name: what enters a bridge from another interface is dropped unless it
//! is an answer or goes to a published port. A container with published ports is moreover out of reach
//! for packets that were addressed to it directly from another interface (raw table), and a port on a
//! loopback address for those that did not come over lo. Gateway modes per family: `nat`; `nat-unprotected`
//! opens everything; `routed` translates nothing, opens published ports and ICMP; `isolated` networks
//! are internal. `allow-direct-routing` takes the raw table's rules for containers' own addresses away,
//! `trusted_host_interfaces` accepts there what came by one of them.
//!
//! The raw rule of a container without published ports is left out where its network is masqueraded and trusts
//! no interface: the end of its network's rules drops the same packets.

use core::net::IpAddr;

use switch::filter::{Action, ChainId, Family, IfMatch, Match, NetMatch, States, Table};
use switch::hook::{Hook, Netfilter};
use switch::{DropReason, Verdict};

use super::base::{base, install_rule, nat_jumps};
use super::side::{APPENDED, Side, number, to_container, to_host, to_itself};
use super::{Planned, Shared};
use crate::docker::plumb::{GatewayMode, Published};

/// What the rule against packets to containers' own addresses is called.
pub(super) const DIRECT: &str = "DROP DIRECT ACCESS";
/// What the end of a network's rules is called where Docker has the other one as well.
pub(super) const UNPUBLISHED_NAT: &str = "UNPUBLISHED PORT DROP, NAT";

/// Rules of a network of the usual kind.
const USUAL: usize = 5;

/// The chains of one family.
#[derive(Clone, Debug)]
pub(super) struct Chains {
    raw: ChainId,
    /// Opened ports and links, then each network's end.
    pub(super) docker: ChainId,
    bridge: ChainId,
    ct: ChainId,
    forward: ChainId,
    internal: ChainId,
    postrouting: ChainId,
    nat_docker: ChainId,
}

/// Makes the daemon's chains.
pub(super) fn install(
    nf: &mut Netfilter,
    family: Family,
    userland_proxy: bool,
    forward_drop: bool,
) -> Chains {
    let rules = &mut nf.rules;
    let hook = base(family, Table::Filter, Hook::Forward);
    let chains = Chains {
        raw: base(family, Table::Raw, Hook::Prerouting),
        docker: rules.add_chain(family, Table::Filter, "DOCKER"),
        bridge: rules.add_chain(family, Table::Filter, "DOCKER-BRIDGE"),
        ct: rules.add_chain(family, Table::Filter, "DOCKER-CT"),
        forward: rules.add_chain(family, Table::Filter, "DOCKER-FORWARD"),
        internal: rules.add_chain(family, Table::Filter, "DOCKER-INTERNAL"),
        postrouting: base(family, Table::Nat, Hook::Postrouting),
        nat_docker: rules.add_chain(family, Table::Nat, "DOCKER"),
    };
    let user = rules.add_chain(family, Table::Filter, "DOCKER-USER");
    if forward_drop {
        rules.set_policy(hook, Verdict::Drop(DropReason::FilteredUnpublished));
    }
    for (chain, rank, to) in [
        (hook, 0, user),
        (hook, 1, chains.forward),
        (chains.forward, 0, chains.ct),
        (chains.forward, 1, chains.internal),
        (chains.forward, 2, chains.bridge),
    ] {
        install_rule(nf, chain, rank, Match::default(), Action::Jump(to));
    }
    nat_jumps(nf, family, chains.nat_docker, userland_proxy);
    chains
}

impl Side<'_> {
    const fn mode(&self) -> GatewayMode {
        match self.family {
            Family::V4 => self.network.gateway_mode_v4,
            Family::V6 => self.network.gateway_mode_v6,
        }
    }

    /// What comes from elsewhere to a container's own address is dropped (raw table).
    fn is_guarded(&self) -> bool {
        self.mode() == GatewayMode::Nat && !self.network.allow_direct_routing
    }

    /// No packet leaves or enters it.
    fn is_closed(&self) -> bool {
        self.network.internal || self.mode() == GatewayMode::Isolated
    }
}

/// The rules of a network.
pub(super) fn network(chains: &Chains, side: &Side<'_>) -> Vec<Planned> {
    if side.is_closed() {
        return closed(chains, side);
    }
    let answers = Match {
        states: States::ANSWERS,
        ..side.bridge_out()
    };
    let place = side.appended(0);
    let published = Action::Jump(chains.docker);
    let mut planned = Vec::with_capacity(USUAL);
    planned.extend([
        Planned::new(chains.ct, place, answers, Action::Accept).called("ESTABLISHED"),
        Planned::new(chains.bridge, place, side.bridge_out(), published).called("PUBLISHED"),
    ]);
    end(chains, side, &mut planned);
    outgoing(chains, side, &mut planned);
    translation(chains, side, &mut planned);
    planned.extend(own_addresses(chains, side));
    planned
}

/// Answers to containers of a network that is not masqueraded come to their own addresses, from another
/// interface: they are dropped like everything that does, unless that interface is trusted. One rule a network
/// stands for moby's one a container.
fn own_addresses(chains: &Chains, side: &Side<'_>) -> Vec<Planned> {
    let trusted = &side.network.trusted;
    let needed = !side.network.masquerade || !trusted.is_empty();
    if !side.is_guarded() || !needed || side.network.crowded {
        return Vec::new();
    }
    let direct = Match {
        destination: Some(NetMatch::inside(side.subnet)),
        input: IfMatch::IsNot(side.network.bridge),
        ..Match::default()
    };
    let host = Match {
        destination_local: true,
        ..direct
    };
    let drop = Action::Drop(DropReason::FilteredDirect);
    let rule = |at, matches, action| Planned::new(chains.raw, side.appended(at), matches, action);
    let mut planned = vec![rule(0, host, Action::Accept).called("BRIDGE ADDRESS")];
    planned.extend(trusted.iter().map(|&iface| {
        let input = IfMatch::Is(iface);
        rule(1, Match { input, ..direct }, Action::Accept).called("TRUSTED INTERFACE")
    }));
    planned.push(rule(2, direct, drop).called(DIRECT));
    planned
}

fn closed(chains: &Chains, side: &Side<'_>) -> Vec<Planned> {
    let drop = Action::Drop(DropReason::FilteredInternal);
    let rule = |at, matches, word| {
        Planned::new(chains.internal, side.inserted(at), matches, drop).called(word)
    };
    let icc = if side.network.icc {
        Action::Accept
    } else {
        Action::Drop(DropReason::FilteredIcc)
    };
    vec![
        rule(0, side.foreign_in(), "INTERNAL NETWORK INGRESS"),
        rule(1, side.foreign_out(), "INTERNAL NETWORK EGRESS"),
        Planned::new(chains.forward, side.appended(0), side.between(), icc).called("ICC"),
    ]
}

/// What becomes of packets into the network that no published port let in.
fn end(chains: &Chains, side: &Side<'_>, planned: &mut Vec<Planned>) {
    if side.mode() == GatewayMode::Routed {
        let icmp = Match {
            protocol: Some(if side.family == Family::V4 { 1 } else { 58 }),
            ..side.bridge_out()
        };
        let rule = Planned::new(chains.docker, side.appended(0), icmp, Action::Accept);
        planned.push(rule.called("ICMP"));
    }
    let (action, word) = if side.mode() == GatewayMode::NatUnprotected {
        (Action::Accept, "UNPROTECTED")
    } else {
        let drop = Action::Drop(DropReason::FilteredUnpublished);
        match side.mode() {
            GatewayMode::Nat if side.network.trusted.is_empty() => (drop, UNPUBLISHED_NAT),
            _ => (drop, "UNPUBLISHED PORT DROP"),
        }
    };
    let rule = Planned::new(chains.docker, side.appended(1), side.entering(), action);
    planned.push(rule.called(word));
}

fn outgoing(chains: &Chains, side: &Side<'_>, planned: &mut Vec<Planned>) {
    let rule = |at, matches, action, word| {
        Planned::new(chains.forward, side.appended(at), matches, action).called(word)
    };
    if side.network.icc {
        planned.push(rule(0, side.bridge_in(), Action::Accept, "OUTGOING"));
        return;
    }
    let drop = Action::Drop(DropReason::FilteredIcc);
    planned.push(rule(0, side.leaving(), Action::Accept, "OUTGOING"));
    planned.push(rule(1, side.between(), drop, "ICC"));
}

fn translation(chains: &Chains, side: &Side<'_>, planned: &mut Vec<Planned>) {
    let network = side.network;
    let nat = |at, matches, word| {
        let action = side.source_nat();
        Planned::new(chains.postrouting, side.inserted(at), matches, action).called(word)
    };
    if side.mode() == GatewayMode::Routed {
        return;
    }
    if !network.userland_proxy {
        planned.push(nat(0, side.of_host(), "MASQUERADE FROM HOST"));
    }
    if network.masquerade {
        planned.push(nat(1, side.outgoing(), "MASQUERADE"));
    }
}

/// The rules of a published port.
pub(super) fn port(chains: &Chains, side: &Side<'_>, port: &Published) -> Vec<Planned> {
    if side.is_closed() {
        return Vec::new();
    }
    let (container, mode) = (port.container_ip, side.mode());
    let mut planned = Vec::new();
    if mode != GatewayMode::NatUnprotected {
        let open = to_container(side, port);
        let rule = Planned::new(chains.docker, 0, open, Action::Accept);
        let shared = Shared::Accept(container, port.port);
        planned.push(rule.called("PUBLISHED PORT").shared(shared));
    }
    if mode == GatewayMode::Routed || port.host_port == 0 {
        return planned;
    }
    let to = Action::Dnat(container, Some(port.port.number));
    planned.push(Planned::new(chains.nat_docker, 0, to_host(side, port), to).called("DNAT"));
    if !side.network.userland_proxy {
        let itself = to_itself(port);
        let rule = Planned::new(chains.postrouting, APPENDED, itself, Action::Masquerade);
        let shared = Shared::OwnPort(container, port.port);
        planned.push(rule.called("MASQ TO OWN PORT").shared(shared));
    }
    planned.extend(raw(chains, side, port));
    planned
}

/// The rule against packets to a container's own address that come from elsewhere, wherever they lead.
pub(super) fn guard(chains: &Chains, side: &Side<'_>, address: IpAddr) -> Vec<Planned> {
    if !side.is_guarded() || side.is_closed() {
        return Vec::new();
    }
    let from = |input| Match {
        destination: Some(NetMatch::host(address)),
        input,
        ..Match::default()
    };
    let trusted = side.network.trusted.iter();
    let mut planned: Vec<Planned> = trusted
        .map(|&iface| Planned::new(chains.raw, 0, from(IfMatch::Is(iface)), Action::Accept))
        .collect();
    let drop = Action::Drop(DropReason::FilteredDirect);
    let direct = from(IfMatch::IsNot(side.network.bridge));
    planned.push(Planned::new(chains.raw, 0, direct, drop).called(DIRECT));
    planned
}

/// What is dropped before anything is tracked.
fn raw(chains: &Chains, side: &Side<'_>, port: &Published) -> Vec<Planned> {
    let drop = Action::Drop(DropReason::FilteredDirect);
    let mut planned = Vec::new();
    // Where an interface is trusted, the network has one rule for all of them.
    if side.is_guarded() && side.network.trusted.is_empty() {
        let direct = Match {
            destination: Some(NetMatch::host(port.container_ip)),
            input: IfMatch::IsNot(side.network.bridge),
            ..Match::default()
        };
        let rule = Planned::new(chains.raw, 0, direct, drop).called(DIRECT);
        planned.push(rule.shared(Shared::Direct(port.container_ip)));
    }
    if port.host_ip.is_loopback() {
        let remote = Match {
            destination: Some(NetMatch::host(port.host_ip)),
            input: IfMatch::IsNot(side.lo),
            protocol: Some(number(port.port.proto)),
            destination_port: Some(port.host_port),
            ..Match::default()
        };
        let rule = Planned::new(chains.raw, 0, remote, drop);
        planned.push(rule.called("DROP REMOTE LOOPBACK"));
    }
    planned
}
