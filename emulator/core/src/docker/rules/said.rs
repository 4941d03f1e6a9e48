//! Rules as Docker writes them, where one of ours stands for several of Docker's.
//!
//! Docker 29 has a rule in raw PREROUTING for each container. Here a network has one where it needs any (see
//! `v29`): a packet that came from elsewhere to a container's own address dies at the end of the network's
//! rules in the same namespace, or by one rule for all of the network's addresses.

use core::net::IpAddr;

use switch::filter::{IfMatch, Match, NetMatch, Rule};

use super::v29::{DIRECT, UNPUBLISHED_NAT};

/// What Docker has in the place of a rule.
#[derive(Clone, Debug)]
pub(crate) enum DockerRule {
    /// The same.
    Itself,
    /// This one, in raw PREROUTING.
    Raw(Rule),
}

/// Docker's rule for a packet to `destination` that `rule` decided on; `is_container`: a container has
/// that address.
pub(crate) fn docker_rule(rule: &Rule, destination: IpAddr, is_container: bool) -> DockerRule {
    let is = |word: &str| rule.origin.word.ends_with(word);
    let ends = (rule.matches.input, rule.matches.output);
    let ((IfMatch::IsNot(bridge), _) | (_, IfMatch::Is(bridge))) = ends else {
        return DockerRule::Itself;
    };
    if !is_container || !(is(DIRECT) || is(UNPUBLISHED_NAT)) {
        return DockerRule::Itself;
    }
    DockerRule::Raw(Rule {
        matches: Match {
            destination: Some(NetMatch::host(destination)),
            input: IfMatch::IsNot(bridge),
            ..Match::default()
        },
        ..rule.clone()
    })
}
