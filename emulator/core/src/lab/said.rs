//! Which rule decided on a packet, as Docker wrote it: for whoever asks why.

use core::net::IpAddr;

use switch::filter::{Family, Judgement, Ruling, Table};
use switch::hook::Hook;
use switch::verdict::{DropReason, Event, IfId};

use super::Lab;
use crate::docker::rules::said::{DockerRule, docker_rule};
use crate::netns::Netns;

/// A rule in the words of iptables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The hook that the packet was at.
    pub hook: Hook,
    /// The table.
    pub table: Table,
    /// What was decided.
    pub ruling: Ruling,
    /// The command that makes the rule, such as `iptables -t nat -A DOCKER …`; a policy is `iptables -P CHAIN …`.
    pub line: String,
    /// What the rule is for, in capitals, as moby's comments call it; empty for a policy.
    pub word: String,
}

impl Lab {
    /// Starts or stops to tell events with the decisions of all rules there are
    /// ([`What::Judged`](switch::verdict::What::Judged)). They are taken by [`Lab::events`].
    pub fn explain(&mut self, on: bool) {
        let all: Vec<_> = self.net.all_ns().map(Netns::id).collect();
        for ns in all {
            self.net.with_hooks(ns, |netns, _| {
                if let Some(firewall) = netns.netfilter_mut() {
                    firewall.rules.keep_judgements(on);
                }
            });
        }
        self.net.trace.listen(on);
    }

    /// The events since the last call, in order; none unless somebody [listens](Lab::explain).
    pub fn events(&mut self) -> Vec<Event> {
        self.net.trace.take()
    }

    /// The rule behind a judgement on a packet to `destination` at `place`. `None` if it is gone.
    #[must_use]
    pub fn said(&self, place: IfId, judgement: &Judgement, destination: IpAddr) -> Option<Said> {
        let mut all = self.net.all_ns();
        let netns = all.find(|netns| netns.iface(place).is_some() && netns.firewall().is_some())?;
        let rules = &netns.firewall()?.rules;
        let names = |iface: IfId| {
            let iface = netns.iface(iface);
            iface.map_or_else(|| "?".to_owned(), |iface| iface.name.clone())
        };
        let mut said = Said {
            hook: judgement.hook,
            table: judgement.table,
            ruling: judgement.ruling,
            line: String::new(),
            word: String::new(),
        };
        let Some(rule) = judgement.rule.or(judgement.returned) else {
            let word = match judgement.ruling {
                Ruling::Drop(_) => "DROP",
                _ => "ACCEPT",
            };
            let line = format!("-P {} {word}", judgement.hook.word());
            said.line = command(judgement.family, judgement.table, &line);
            return Some(said);
        };
        let (held, _) = rules.rule(rule)?;
        said.word = held.origin.word.to_owned();
        let is_container = self.holds(destination);
        let line = match docker_rule(held, destination, is_container) {
            DockerRule::Itself => rules.written(rule, &names)?,
            DockerRule::Raw(rule) => {
                said.hook = Hook::Prerouting;
                said.table = Table::Raw;
                said.ruling = Ruling::Drop(DropReason::FilteredDirect);
                said.word = "DROP DIRECT ACCESS".to_owned();
                let base = switch::filter::ChainId::base(judgement.family, Table::Raw, said.hook)?;
                rules.as_written(base, &rule, &names)?
            }
        };
        said.line = command(judgement.family, said.table, &line);
        Some(said)
    }

    /// Whether an address is a running container's.
    fn holds(&self, address: IpAddr) -> bool {
        let mut containers = self.docker.containers();
        containers.any(|container| {
            let mut endpoints = container.endpoints();
            endpoints.any(|endpoint| endpoint.addresses().any(|own| own.addr() == address))
        })
    }
}

fn command(family: Family, table: Table, line: &str) -> String {
    let tool = match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    };
    match table {
        Table::Filter => format!("{tool} {line}"),
        other => format!("{tool} -t {} {line}", other.word()),
    }
}
