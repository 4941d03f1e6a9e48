//! `alias-shared`: a name that two services answer to on one network; whoever asks gets the addresses of
//! both.

use std::collections::BTreeMap;

use emulator_compose::{NetworkMode, Place, Service};

use crate::lint::finding::Level;
use crate::lint::view::{Draft, Host, View, together};

/// A name on a network and who has it.
struct Holder<'a> {
    view: &'a View<'a>,
    service: &'a Service,
    at: Place,
    /// The name was asked for as an alias.
    alias: bool,
}

pub(in crate::lint) fn check(host: &Host<'_>, out: &mut Vec<Draft>) {
    let mut held: BTreeMap<(&str, String), Vec<Holder<'_>>> = BTreeMap::new();
    for view in &host.views {
        for service in &view.project.services {
            if service.network_mode != NetworkMode::Networks {
                continue;
            }
            for member in &service.networks {
                let Some(network) = view.project.network(&member.key) else {
                    continue;
                };
                for (name, at, alias) in view.names(service, member) {
                    let holders = held.entry((&network.name, name)).or_default();
                    let known = holders.iter().any(|holder| {
                        holder.view.index == view.index && holder.service.name == service.name
                    });
                    if !known {
                        holders.push(Holder {
                            view,
                            service,
                            at,
                            alias,
                        });
                    }
                }
            }
        }
    }
    for ((network, name), holders) in &held {
        let Some(first) = holders.first() else {
            continue;
        };
        let rest: Vec<&Holder<'_>> = holders[1..]
            .iter()
            .filter(|holder| together(first.service, holder.service))
            .collect();
        if let Some(second) = rest.first() {
            out.push(draft(network, name, first, second, &rest));
        }
    }
}

fn draft(
    network: &str,
    name: &str,
    first: &Holder<'_>,
    second: &Holder<'_>,
    rest: &[&Holder<'_>],
) -> Draft {
    let who = |holder: &Holder<'_>| match first.view.index == second.view.index {
        true => holder.service.name.clone(),
        false => format!("{} of {}", holder.service.name, holder.view.project.name),
    };
    let message = format!(
        "`{name}` is both {} and {} on network {network}: who asks gets the addresses of both",
        who(first),
        who(second)
    );
    // Two services that both ask for the name share it on purpose.
    let meant = first.alias && rest.iter().all(|holder| holder.alias);
    let level = if meant { Level::Note } else { Level::Warning };
    let mut draft = second
        .view
        .service(second.service, second.at, message)
        .level(level)
        .and(first.view, first.at, "has the name too");
    for holder in &rest[1..] {
        draft = draft.and(holder.view, holder.at, "has the name too");
    }
    draft.fix("give one of them another name, or a network of its own")
}
