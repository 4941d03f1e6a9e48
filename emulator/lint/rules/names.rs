//! `real-domain` and `underscore-name`: names that mean something else to others.

use std::collections::BTreeSet;

use emulator_compose::{NetworkMode, Place, Service};

use crate::lint::view::{Draft, View};

/// Last labels of names that nobody registers: reserved, or used inside houses and clusters.
const PRIVATE: &[&str] = &[
    "arpa",
    "cluster",
    "corp",
    "docker",
    "dev-only",
    "domain",
    "example",
    "home",
    "host",
    "intern",
    "internal",
    "intra",
    "intranet",
    "invalid",
    "lab",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "loc",
    "mail",
    "onion",
    "private",
    "svc",
    "test",
    "tld",
    "vm",
];

/// Names that stand for others in documents.
const EXAMPLES: &[&str] = &["example.com", "example.net", "example.org", "example.edu"];

/// A name with dots that somebody may have registered.
pub(in crate::lint) fn real_domain(view: &View<'_>, out: &mut Vec<Draft>) {
    for service in &view.project.services {
        if service.network_mode != NetworkMode::Networks {
            continue;
        }
        let mut seen = BTreeSet::new();
        for (name, at, what) in dotted(service) {
            if !is_public(&name) || !seen.insert(name.clone()) {
                continue;
            }
            let message = format!(
                "the {what} {name} is a name of the public DNS: containers of its networks get {}'s address for it",
                service.name
            );
            out.push(view.service(service, at, message).fix(
                "where that is not meant, take a name without a dot, or one below .internal or .test",
            ));
        }
    }
}

/// Every name of a service that has a dot.
fn dotted(service: &Service) -> Vec<(String, Place, &'static str)> {
    let mut names = vec![(service.name.clone(), service.at, "service name")];
    if let Some(name) = &service.container_name {
        names.push((name.value.clone(), name.at, "container name"));
    }
    if let Some(name) = &service.hostname {
        names.push((name.value.clone(), name.at, "host name"));
    }
    for member in &service.networks {
        let aliases = member.aliases.iter();
        names.extend(aliases.map(|alias| (alias.value.clone(), alias.at, "alias")));
    }
    names.retain(|(name, _, _)| name.contains('.'));
    names
}

fn is_public(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_lowercase();
    let labels: Vec<&str> = name.split('.').collect();
    let Some(last) = labels.last() else {
        return false;
    };
    let is_label = |label: &&str| !label.is_empty() && !label.contains('_');
    let letters = last.len() >= 2 && last.bytes().all(|byte| byte.is_ascii_alphabetic());
    let example = EXAMPLES.iter().any(|example| {
        name == *example
            || name
                .strip_suffix(example)
                .is_some_and(|head| head.ends_with('.'))
    });
    labels.len() > 1
        && labels.iter().all(is_label)
        && letters
        && !PRIVATE.contains(last)
        && !example
}

/// A service name with an underscore that others may put into a URL.
pub(in crate::lint) fn underscore(view: &View<'_>, out: &mut Vec<Draft>) {
    for service in &view.project.services {
        if !service.name.contains('_') || !is_met(view, service) {
            continue;
        }
        let better = service.name.replace('_', "-");
        let message = format!(
            "{} is no host name: programs that check the host of a URL or of a request refuse the underscore",
            service.name
        );
        out.push(view.service(service, service.at, message).fix(format!(
            "call it {better}, or give it that alias on its networks"
        )));
    }
}

/// Others are on a network with it, and it has no alias that is a host name.
fn is_met(view: &View<'_>, service: &Service) -> bool {
    let others = view.project.services.iter();
    let mut others = others.filter(|other| other.name != service.name);
    let named = service.networks.iter().any(|member| {
        let mut aliases = member.aliases.iter();
        aliases.any(|alias| !alias.contains('_'))
    });
    let plain = |name: &str| !name.contains('_');
    let named = named
        || service
            .container_name
            .as_ref()
            .is_some_and(|name| plain(name))
        || service.hostname.as_ref().is_some_and(|name| plain(name));
    let listens = !service.ports.is_empty() || !service.expose.is_empty();
    service.network_mode == NetworkMode::Networks
        && listens
        && !named
        && others.any(|other| view.share(service, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_public() {
        for name in ["api.stripe.com", "a.dev", "Mail.Firma.de."] {
            assert!(is_public(name), "{name}");
        }
        for name in [
            "db",
            "db.internal",
            "mail.example.com",
            "example.org",
            "web.1",
            "kafka_1.default",
            "a..com",
            "10.0.0.1",
            "shop.localhost",
        ] {
            assert!(!is_public(name), "{name}");
        }
    }
}
