//! Docker's firewall: the rules that the daemon keeps in the host's namespace, edited as networks and
//! published ports come and go.
//!
//! After moby's bridge driver with its iptables backend, for two engines: `v20` as the records of
//! Docker 20.10 have them rule by rule, `v29` as Docker 29 has them (the same verdicts as its nftables
//! backend). Per family; a network without a subnet of a family has no rules of it, and a daemon that does
//! not filter IPv6 has none at all there. An edit costs the rules that it changes, not those that there are.
//!
//! Left out: the daemon's own rules for swarm and overlay, and the SCTP checksum rule (no SCTP is carried).

mod base;
pub mod said;
mod side;
#[cfg(test)]
mod tests;
mod v20;
mod v29;

use core::net::IpAddr;
use std::collections::BTreeMap;

use ipnet::IpNet;
use switch::filter::{Action, ChainId, Family, Match, Origin, Rule, RuleId};
use switch::hook::Netfilter;

use self::side::{Side, link_rules};
use super::plumb::{LinkRule, NetworkRules, Published};
use super::spec::{Engine, Port};
use crate::id::IfId;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// A rule that is about to be added.
#[derive(Clone, Debug)]
struct Planned {
    chain: ChainId,
    rank: i64,
    matches: Match,
    action: Action,
    /// What the rule is for, as moby's comments call it.
    word: &'static str,
    /// Several ports may ask for this rule: it is there once.
    shared: Option<Shared>,
}

impl Planned {
    const fn new(chain: ChainId, rank: i64, matches: Match, action: Action) -> Self {
        Self {
            chain,
            rank,
            matches,
            action,
            word: "",
            shared: None,
        }
    }

    const fn called(self, word: &'static str) -> Self {
        Self { word, ..self }
    }

    const fn shared(self, shared: Shared) -> Self {
        Self {
            shared: Some(shared),
            ..self
        }
    }
}

/// What rules that several ports share are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shared {
    /// The container's port is open.
    Accept(IpAddr, Port),
    /// The container reaches its own published port.
    OwnPort(IpAddr, Port),
    /// The container is not reached past the host.
    Direct(IpAddr),
}

/// The chains of one family.
#[derive(Clone, Debug)]
enum Chains {
    V20(v20::Chains),
    V29(v29::Chains),
}

/// What a published port or a link has added.
#[derive(Clone, Copy, Debug)]
enum Added {
    Own(RuleId),
    Shared(Shared),
}

#[derive(Clone, Debug)]
struct Network {
    order: i64,
    rules: NetworkRules,
    added: Vec<RuleId>,
    shared: BTreeMap<Shared, (RuleId, u32)>,
    published: BTreeMap<IfId, (Vec<Published>, Vec<Added>)>,
    links: (Vec<LinkRule>, Vec<RuleId>),
    guarded: BTreeMap<IfId, (Vec<IpAddr>, Vec<RuleId>)>,
}

/// Docker's rules in one [`Netfilter`].
#[derive(Debug)]
pub struct DockerRules {
    lo: IfId,
    /// The daemon sets the policy of FORWARD to DROP.
    forward_drop: bool,
    chains: [Option<Chains>; 2],
    networks: BTreeMap<u32, Network>,
    orders: i64,
}

impl DockerRules {
    /// No rules yet; `lo` is the host's loopback interface. `forward_drop`: the daemon sets the policy of FORWARD
    /// to DROP, as it does where it turns forwarding on.
    #[must_use]
    pub const fn new(lo: IfId, forward_drop: bool) -> Self {
        Self {
            lo,
            forward_drop,
            chains: [None, None],
            networks: BTreeMap::new(),
            orders: 0,
        }
    }

    /// Sets the rules of a network. Again for the same one: replaces them, with those of its published
    /// ports and links; its place among the networks stays. The first network brings the daemon's
    /// chains along, and with them the FORWARD policy.
    pub fn network_set(&mut self, nf: &mut Netfilter, network: u32, rules: &NetworkRules) {
        let before = self.networks.remove(&network);
        let order = before.as_ref().map_or_else(
            || {
                self.orders += 1;
                self.orders
            },
            |before| before.order,
        );
        let mut new = Network {
            order,
            rules: rules.clone(),
            added: Vec::new(),
            shared: BTreeMap::new(),
            published: BTreeMap::new(),
            links: (Vec::new(), Vec::new()),
            guarded: BTreeMap::new(),
        };
        for family in FAMILIES {
            let Some(side) = self.side(&new, family) else {
                continue;
            };
            let chains = self.install(nf, family, rules);
            let planned = match &chains {
                Chains::V20(chains) => v20::network(chains, &side),
                Chains::V29(chains) => v29::network(chains, &side),
            };
            new.added.reserve_exact(planned.len());
            let rules = planned.into_iter();
            (new.added).extend(rules.filter_map(|rule| add(nf, network, rule)));
        }
        self.networks.insert(network, new);
        let Some(before) = before else { return };
        clear(nf, &before);
        for (endpoint, (ports, _)) in &before.published {
            self.publish(nf, network, *endpoint, ports);
        }
        self.links_set(nf, network, &before.links.0);
        for (endpoint, (addresses, _)) in &before.guarded {
            self.guard(nf, network, *endpoint, addresses);
        }
    }

    /// Adds the rules that Docker 29 has for each address of a container, which are needed where another interface
    /// than the bridge may lead there: what comes from elsewhere is dropped before it is routed.
    pub fn guard(&mut self, nf: &mut Netfilter, network: u32, endpoint: IfId, own: &[IpAddr]) {
        let Some(held) = self.networks.get(&network) else {
            return;
        };
        let planned = own.iter().flat_map(|&address| {
            let family = Family::of(address);
            match (self.side(held, family), &self.chains[family as usize]) {
                (Some(side), Some(Chains::V29(chains))) => v29::guard(chains, &side, address),
                _ => Vec::new(),
            }
        });
        let added: Vec<RuleId> = planned
            .filter_map(|planned| add(nf, network, planned))
            .collect();
        if let Some(held) = self.networks.get_mut(&network) {
            held.guarded.insert(endpoint, (own.to_vec(), added));
        }
    }

    /// Takes away what [`guard`](Self::guard) added.
    pub fn unguard(&mut self, nf: &mut Netfilter, network: u32, endpoint: IfId) {
        let held = self.networks.get_mut(&network);
        let guarded = held.and_then(|held| held.guarded.remove(&endpoint));
        for rule in guarded.into_iter().flat_map(|(_, added)| added) {
            nf.rules.remove(rule);
        }
    }

    /// Takes the rules of a network away, with those of its published ports and links.
    pub fn network_remove(&mut self, nf: &mut Netfilter, network: u32) {
        if let Some(gone) = self.networks.remove(&network) {
            clear(nf, &gone);
        }
    }

    /// Adds the rules of published ports of an endpoint, in the order given. Ports whose host and
    /// container addresses are of two families have none: docker-proxy alone carries them. Without effect
    /// on an internal network, and on one that was not set.
    pub fn publish(
        &mut self,
        nf: &mut Netfilter,
        network: u32,
        endpoint: IfId,
        ports: &[Published],
    ) {
        let mut added = Vec::new();
        for port in ports {
            for planned in self.plan_port(network, port) {
                added.extend(self.add_shared(nf, network, planned));
            }
        }
        if let Some(held) = self.networks.get_mut(&network) {
            let entry = held.published.entry(endpoint).or_default();
            entry.0.extend_from_slice(ports);
            entry.1.extend(added);
        }
    }

    /// Takes away what [`publish`](Self::publish) added for this endpoint, and forgets the connections
    /// of its addresses.
    pub fn unpublish(&mut self, nf: &mut Netfilter, network: u32, endpoint: IfId) {
        let Some(held) = self.networks.get_mut(&network) else {
            return;
        };
        let Some((mut ports, added)) = held.published.remove(&endpoint) else {
            return;
        };
        for added in added {
            held.drop_added(nf, added);
        }
        ports.sort_unstable_by_key(|port| port.container_ip);
        ports.dedup_by_key(|port| port.container_ip);
        for port in ports {
            nf.conntrack.flush_where(port.container_ip);
        }
    }

    /// Sets the links of a network: who may talk to whom although ICC is off. Replaces those that
    /// were set before; one that is named twice counts once.
    pub fn links_set(&mut self, nf: &mut Netfilter, network: u32, links: &[LinkRule]) {
        let Some(held) = self.networks.get_mut(&network) else {
            return;
        };
        for rule in held.links.1.drain(..) {
            nf.rules.remove(rule);
        }
        let chain = match &self.chains[0] {
            Some(Chains::V20(chains)) => chains.docker,
            Some(Chains::V29(chains)) => chains.docker,
            None => return,
        };
        let bridge = held.rules.bridge;
        let mut distinct: Vec<&LinkRule> = Vec::new();
        for link in links {
            if !distinct.contains(&link) {
                distinct.push(link);
            }
        }
        let rules = distinct
            .into_iter()
            .flat_map(|link| link_rules(chain, bridge, link))
            .filter_map(|planned| add(nf, network, planned))
            .collect();
        held.links = (links.to_vec(), rules);
    }

    /// One family's part of a network, if it has one.
    fn side<'a>(&self, network: &'a Network, family: Family) -> Option<Side<'a>> {
        let rules = &network.rules;
        let subnet = match family {
            Family::V4 => IpNet::from(rules.subnet_v4?),
            Family::V6 if !rules.filter_v6 => return None,
            Family::V6 => IpNet::from(rules.subnet_v6?),
        };
        Some(Side {
            family,
            subnet,
            network: rules,
            order: network.order,
            lo: self.lo,
        })
    }

    /// The chains of a family, made when the first network needs them.
    fn install(&mut self, nf: &mut Netfilter, family: Family, rules: &NetworkRules) -> Chains {
        let forward_drop = self.forward_drop;
        self.chains[family as usize]
            .get_or_insert_with(|| match rules.engine {
                Engine::V20_10 => {
                    Chains::V20(v20::install(nf, family, rules.userland_proxy, forward_drop))
                }
                Engine::V29 => {
                    Chains::V29(v29::install(nf, family, rules.userland_proxy, forward_drop))
                }
            })
            .clone()
    }

    fn plan_port(&self, network: u32, port: &Published) -> Vec<Planned> {
        let family = Family::of(port.container_ip);
        let Some(held) = self.networks.get(&network) else {
            return Vec::new();
        };
        if Family::of(port.host_ip) != family || held.rules.internal {
            return Vec::new();
        }
        let Some(side) = self.side(held, family) else {
            return Vec::new();
        };
        match &self.chains[family as usize] {
            Some(Chains::V20(chains)) => v20::port(chains, &side, port),
            Some(Chains::V29(chains)) => v29::port(chains, &side, port),
            None => Vec::new(),
        }
    }

    fn add_shared(&mut self, nf: &mut Netfilter, network: u32, planned: Planned) -> Option<Added> {
        let held = self.networks.get_mut(&network)?;
        let Some(shared) = planned.shared else {
            return add(nf, network, planned).map(Added::Own);
        };
        if let Some((_, users)) = held.shared.get_mut(&shared) {
            *users += 1;
        } else {
            let rule = add(nf, network, planned)?;
            held.shared.insert(shared, (rule, 1));
        }
        Some(Added::Shared(shared))
    }
}

impl Network {
    fn drop_added(&mut self, nf: &mut Netfilter, added: Added) {
        match added {
            Added::Own(rule) => {
                nf.rules.remove(rule);
            }
            Added::Shared(shared) => {
                let Some((rule, users)) = self.shared.get_mut(&shared) else {
                    return;
                };
                *users -= 1;
                if *users == 0 {
                    nf.rules.remove(*rule);
                    self.shared.remove(&shared);
                }
            }
        }
    }
}

fn add(nf: &mut Netfilter, network: u32, planned: Planned) -> Option<RuleId> {
    let rule = Rule {
        matches: planned.matches,
        action: planned.action,
        origin: Origin {
            network: Some(network),
            word: planned.word,
        },
    };
    nf.rules.add(planned.chain, planned.rank, rule)
}

/// Takes all rules of a network away.
fn clear(nf: &mut Netfilter, network: &Network) {
    let published = network.published.values().flat_map(|(_, added)| added);
    let own = published.filter_map(|added| match added {
        Added::Own(rule) => Some(rule),
        Added::Shared(_) => None,
    });
    let shared = network.shared.values().map(|(rule, _)| rule);
    for &rule in network
        .added
        .iter()
        .chain(own)
        .chain(shared)
        .chain(&network.links.1)
        .chain(network.guarded.values().flat_map(|(_, added)| added))
    {
        nf.rules.remove(rule);
    }
}
