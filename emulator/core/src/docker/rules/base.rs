//! What the daemon sets up once: how chains of the two engines hang on the hooks.

use core::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};
use switch::filter::{Action, ChainId, Family, Match, NetMatch, Rule, Table};
use switch::hook::{Hook, Netfilter};

/// A base chain that there is.
pub(super) fn base(family: Family, table: Table, hook: Hook) -> ChainId {
    ChainId::base(family, table, hook).expect("the table has this hook")
}

/// The jumps to the DOCKER chain of the nat table: from the wire, and from the host's own traffic, where
/// the loopback network is left to the proxy (in IPv6 always: nothing translates `::1`).
pub(super) fn nat_jumps(nf: &mut Netfilter, family: Family, to: ChainId, userland_proxy: bool) {
    let local = Match {
        destination_local: true,
        ..Match::default()
    };
    let loopback = match family {
        Family::V4 => IpNet::from(Ipv4Net::new_assert([127, 0, 0, 0].into(), 8)),
        Family::V6 => IpNet::from(IpAddr::from(Ipv6Addr::LOCALHOST)),
    };
    let excluded = userland_proxy || family == Family::V6;
    let own = Match {
        destination: excluded.then_some(NetMatch::outside(loopback)),
        ..local
    };
    for (hook, matches) in [(Hook::Prerouting, local), (Hook::Output, own)] {
        let chain = base(family, Table::Nat, hook);
        install_rule(nf, chain, 0, matches, Action::Jump(to));
    }
}

/// Adds a rule of the daemon's own.
pub(super) fn install_rule(
    nf: &mut Netfilter,
    chain: ChainId,
    rank: i64,
    matches: Match,
    action: Action,
) {
    let rule = Rule {
        matches,
        action,
        origin: "docker".into(),
    };
    nf.rules.add(chain, rank, rule);
}
