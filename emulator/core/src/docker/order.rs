//! Which network is a container's way out: the order of its endpoints.
//!
//! Models `Endpoint.Less` of `libnetwork/sandbox.go`: higher `gw-priority` first (since 28.0), networks
//! with a way out before internal ones, those with a gateway in both families before those with one
//! before those with none, then by the network's name. The first endpoint that has a gateway of a
//! family is the way out for it. Neither the order of `connect` nor the interface's number counts.
//! Docker 20.10 knows no priority, and its IPv6 follows the way out of IPv4.

use core::cmp::{Ordering, Reverse};

use super::spec::Engine;

/// What the order asks of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank<'a> {
    /// `--gw-priority`.
    pub priority: i64,
    /// The network is internal.
    pub internal: bool,
    /// It has an IPv4 gateway.
    pub gateway_v4: bool,
    /// It has an IPv6 gateway.
    pub gateway_v6: bool,
    /// The network's name.
    pub name: &'a str,
}

impl Rank<'_> {
    /// Who comes first.
    #[must_use]
    pub fn compare(&self, other: &Self, engine: Engine) -> Ordering {
        let key = |rank: &Self| {
            let priority = match engine {
                Engine::V29 => rank.priority,
                Engine::V20_10 => 0,
            };
            let gateways = match engine {
                Engine::V29 => u8::from(rank.gateway_v4) + u8::from(rank.gateway_v6),
                Engine::V20_10 => u8::from(rank.gateway_v4) + 2 * u8::from(rank.gateway_v6),
            };
            (Reverse(priority), rank.internal, Reverse(gateways))
        };
        key(self)
            .cmp(&key(other))
            .then_with(|| self.name.cmp(other.name))
    }
}

/// The ways out for IPv4 and IPv6, as places in `ranks`.
#[must_use]
pub fn ways_out(ranks: &[Rank<'_>], engine: Engine) -> (Option<usize>, Option<usize>) {
    let mut order: Vec<usize> = (0..ranks.len()).collect();
    order.sort_by(|a, b| ranks[*a].compare(&ranks[*b], engine));
    let v4 = order.iter().copied().find(|i| ranks[*i].gateway_v4);
    let v6 = match engine {
        Engine::V29 => order.iter().copied().find(|i| ranks[*i].gateway_v6),
        Engine::V20_10 => v4.filter(|i| ranks[*i].gateway_v6),
    };
    (v4, v6)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn rank(name: &str, priority: i64, internal: bool, v4: bool, v6: bool) -> Rank<'_> {
        Rank {
            priority,
            internal,
            gateway_v4: v4,
            gateway_v6: v6,
            name,
        }
    }

    fn sorted<'a>(ranks: &[Rank<'a>], engine: Engine) -> Vec<&'a str> {
        let mut ranks = ranks.to_vec();
        ranks.sort_by(|a, b| a.compare(b, engine));
        ranks.iter().map(|r| r.name).collect()
    }

    #[test]
    fn case_28_equal_priority() {
        let ranks = [
            rank("internal", 0, true, false, false),
            rank("nw1", 0, false, true, false),
            rank("nw0", 0, false, true, false),
            rank("zdual", 0, false, true, true),
        ];
        for engine in [Engine::V29, Engine::V20_10] {
            assert_eq!(sorted(&ranks, engine), ["zdual", "nw0", "nw1", "internal"]);
        }
    }

    #[test]
    fn priority_counts_since_28() {
        let ranks = [
            rank("a", 10, false, true, false),
            rank("b", 100, false, true, false),
        ];
        assert_eq!(ways_out(&ranks, Engine::V29), (Some(1), None), "case 25");
        assert_eq!(ways_out(&ranks, Engine::V20_10), (Some(0), None));
        let ranks = [
            rank("m", 0, false, true, false),
            rank("a", -100, false, true, false),
        ];
        assert_eq!(ways_out(&ranks, Engine::V29), (Some(0), None), "case 26");
    }

    #[test]
    fn case_27_each_family_has_its_own() {
        let ranks = [
            rank("dual", 0, false, true, true),
            rank("v4", 1000, false, true, false),
        ];
        assert_eq!(ways_out(&ranks, Engine::V29), (Some(1), Some(0)));
        assert_eq!(ways_out(&ranks, Engine::V20_10), (Some(0), Some(0)));
    }

    #[test]
    fn internal_networks_differ_by_their_gateways() {
        // Docker 20.10 gives those of bridges one, not those of macvlan.
        let ranks = [
            rank("a", 0, true, false, false),
            rank("b", 0, true, true, false),
            rank("c", 0, true, true, true),
        ];
        for engine in [Engine::V29, Engine::V20_10] {
            assert_eq!(sorted(&ranks, engine), ["c", "b", "a"]);
        }
    }

    #[test]
    fn nobody_without_a_gateway() {
        let ranks = [rank("i", 0, true, false, false)];
        assert_eq!(ways_out(&ranks, Engine::V29), (None, None));
        // The recorded engine gives internal networks a gateway.
        let ranks = [rank("i", 0, true, true, false)];
        assert_eq!(ways_out(&ranks, Engine::V20_10), (Some(0), None));
    }
}
