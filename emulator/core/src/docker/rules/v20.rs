//! The rules of Docker 20.10, as the recorded `iptables-save` of that engine has them.
//!
//! Networks are kept apart in two stages: whoever comes from one bridge and goes to another interface is
//! asked whether that is a bridge of Docker too. Unpublished ports die by the FORWARD policy. Towards
//! published ports a bridge's own members and all other networks are turned back from DNAT (`-i BRIDGE
//! -j RETURN`) to the proxy; a network without masquerade, or a daemon without proxy, has no such rule.

use switch::filter::{Action, ChainId, Family, Match, States, Table};
use switch::hook::{Hook, Netfilter};
use switch::{DropReason, Verdict};

use super::base::{base, install_rule, nat_jumps};
use super::side::{APPENDED, LAST, Side, to_container, to_host, to_itself};
use super::{Planned, Shared};
use crate::docker::plumb::Published;

/// The chains of one family.
#[derive(Clone, Debug)]
pub(super) struct Chains {
    forward: ChainId,
    /// Opened ports and links.
    pub(super) docker: ChainId,
    stage_1: ChainId,
    stage_2: ChainId,
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
    let chains = Chains {
        forward: base(family, Table::Filter, Hook::Forward),
        docker: rules.add_chain(family, Table::Filter, "DOCKER"),
        stage_1: rules.add_chain(family, Table::Filter, "DOCKER-ISOLATION-STAGE-1"),
        stage_2: rules.add_chain(family, Table::Filter, "DOCKER-ISOLATION-STAGE-2"),
        postrouting: base(family, Table::Nat, Hook::Postrouting),
        nat_docker: rules.add_chain(family, Table::Nat, "DOCKER"),
    };
    let user = rules.add_chain(family, Table::Filter, "DOCKER-USER");
    if forward_drop {
        rules.set_policy(
            chains.forward,
            Verdict::Drop(DropReason::FilteredUnpublished),
        );
    }
    let any = Match::default();
    for (chain, rank, action) in [
        (chains.forward, 0, Action::Jump(user)),
        (chains.forward, 1, Action::Jump(chains.stage_1)),
        (chains.stage_1, LAST, Action::Return),
        (chains.stage_2, LAST, Action::Return),
        (user, LAST, Action::Return),
    ] {
        install_rule(nf, chain, rank, any, action);
    }
    nat_jumps(nf, family, chains.nat_docker, userland_proxy);
    chains
}

/// The rules of a network.
pub(super) fn network(chains: &Chains, side: &Side<'_>) -> Vec<Planned> {
    let mut planned = if side.network.internal {
        internal(chains, side)
    } else {
        ordinary(chains, side)
    };
    let (place, action) = if side.network.icc {
        (side.inserted(3), Action::Accept)
    } else {
        (side.appended(0), Action::Drop(DropReason::FilteredIcc))
    };
    planned.push(Planned::new(chains.forward, place, side.between(), action).called("ICC"));
    planned
}

fn internal(chains: &Chains, side: &Side<'_>) -> Vec<Planned> {
    let drop = Action::Drop(DropReason::FilteredInternal);
    [
        (side.foreign_in(), "INTERNAL NETWORK INGRESS"),
        (side.foreign_out(), "INTERNAL NETWORK EGRESS"),
    ]
    .into_iter()
    .zip(0..)
    .map(|((matches, word), at)| {
        Planned::new(chains.stage_1, side.inserted(at), matches, drop).called(word)
    })
    .collect()
}

fn ordinary(chains: &Chains, side: &Side<'_>) -> Vec<Planned> {
    let answers = Match {
        states: States::ANSWERS,
        ..side.bridge_out()
    };
    let isolated = Action::Drop(DropReason::FilteredIsolation);
    let forward = |at, matches, action, word| {
        Planned::new(chains.forward, side.inserted(at), matches, action).called(word)
    };
    let stage = |chain, matches, action| {
        Planned::new(chain, side.inserted(0), matches, action).called("ISOLATION")
    };
    let published = Action::Jump(chains.docker);
    let mut planned = vec![
        forward(0, answers, Action::Accept, "ESTABLISHED"),
        forward(1, side.bridge_out(), published, "PUBLISHED"),
        forward(2, side.leaving(), Action::Accept, "OUTGOING"),
        stage(chains.stage_1, side.leaving(), Action::Jump(chains.stage_2)),
        stage(chains.stage_2, side.bridge_out(), isolated),
    ];
    planned.extend(translation(chains, side));
    planned
}

fn translation(chains: &Chains, side: &Side<'_>) -> Vec<Planned> {
    let network = side.network;
    let nat = |at, matches, word| {
        let action = side.source_nat();
        Planned::new(chains.postrouting, side.inserted(at), matches, action).called(word)
    };
    let mut planned = Vec::new();
    if !network.userland_proxy {
        planned.push(nat(0, side.of_host(), "MASQUERADE FROM HOST"));
    }
    if network.masquerade {
        planned.push(nat(1, side.outgoing(), "MASQUERADE"));
    }
    if network.masquerade && network.userland_proxy {
        let (place, matches) = (side.inserted(0), side.bridge_in());
        let skip = Planned::new(chains.nat_docker, place, matches, Action::Return);
        planned.push(skip.called("SKIP DNAT"));
    }
    planned
}

/// The rules of a published port.
pub(super) fn port(chains: &Chains, side: &Side<'_>, port: &Published) -> Vec<Planned> {
    let (container, number) = (port.container_ip, port.port);
    let to = Action::Dnat(container, Some(number.number));
    let open = to_container(side, port);
    vec![
        Planned::new(chains.nat_docker, APPENDED, to_host(side, port), to).called("DNAT"),
        Planned::new(chains.docker, 0, open, Action::Accept)
            .called("PUBLISHED PORT")
            .shared(Shared::Accept(container, number)),
        Planned::new(
            chains.postrouting,
            APPENDED,
            to_itself(port),
            Action::Masquerade,
        )
        .called("MASQ TO OWN PORT")
        .shared(Shared::OwnPort(container, number)),
    ]
}
