//! Who a name leads to, as far as the files tell: the resolver's records, links, `extra_hosts`.

use std::net::IpAddr;

use emulator_compose::{NetworkMode, Service};

use super::view::View;

/// How many services are named in a message.
pub(super) const NAMED: usize = 4;

/// Whom a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    /// These services, over a network that they share with who asks.
    Services(Vec<&'a Service>),
    /// These services have the name, on networks on which who asks is not.
    Apart(Vec<&'a Service>),
    /// The host.
    Host,
    /// Who asks itself.
    Itself,
    /// A name that somebody outside has, or another project of the host, or an address.
    Outside,
    /// A name without a dot that nobody has.
    Nobody,
}

/// Whom `host` leads to, asked by `from`.
pub(super) fn answer<'a>(view: &View<'a>, from: &'a Service, host: &str) -> Answer<'a> {
    if host == "localhost" {
        return Answer::Itself;
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return match ip {
            ip if ip.is_loopback() => Answer::Itself,
            ip if view.is_gateway(ip) => Answer::Host,
            _ => Answer::Outside,
        };
    }
    // Hosts files and names belong to the container whose namespace it is.
    let owner = view.owner(from);
    if let Some(extra) = extra_host(owner, host) {
        return extra;
    }
    let linked = owner.links.iter().find(|link| link.alias == host);
    if let Some(target) = linked.and_then(|link| view.project.service(&link.target)) {
        return reached(view, owner, vec![target]);
    }
    if owner.external_links.iter().any(|link| link.alias == host) {
        return Answer::Outside;
    }
    let lower = host.to_lowercase();
    let short = short(view, owner, &lower);
    let mut named = view.named(&lower).to_vec();
    if short != lower {
        named.extend(view.named(short));
    }
    match named.is_empty() {
        false => reached(view, owner, named),
        true if host == "host.docker.internal" => Answer::Nobody,
        true if view.is_of_another(owner, &lower) => Answer::Outside,
        // Left out by its profiles, where not all could be active.
        true if view.project.inactive.contains(&lower) => Answer::Outside,
        true if host.contains('.') || host.contains('$') => Answer::Outside,
        true => Answer::Nobody,
    }
}

/// Those of the services that `from` is on a network with; if none, all of them, apart.
fn reached<'a>(view: &View<'a>, from: &'a Service, named: Vec<&'a Service>) -> Answer<'a> {
    let legacy = from.network_mode == NetworkMode::Bridge;
    let near: Vec<&Service> = named
        .iter()
        .copied()
        .filter(|other| {
            // On the default bridge links are the only names.
            let linked = from.links.iter().any(|link| link.target == other.name);
            match (legacy, &other.network_mode) {
                (true, NetworkMode::Bridge) => linked,
                _ => view.share(from, other),
            }
        })
        .collect();
    match near.is_empty() {
        true => Answer::Apart(named),
        false => Answer::Services(near),
    }
}

/// `extra_hosts` of the container.
fn extra_host<'a>(owner: &Service, host: &str) -> Option<Answer<'a>> {
    let extra = owner.extra_hosts.iter().find(|extra| extra.host == host)?;
    let to_host = extra.addresses.iter().any(|to| to == "host-gateway");
    let loopback = |to: &String| to.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    Some(match to_host {
        true => Answer::Host,
        false if extra.addresses.iter().any(loopback) => Answer::Itself,
        false => Answer::Outside,
    })
}

/// A name without the name of a network that stands behind it.
fn short<'n>(view: &View<'_>, from: &Service, name: &'n str) -> &'n str {
    let networks = view.networks(from);
    let cut = networks.iter().find_map(|network| {
        let head = name.strip_suffix(network.name.to_lowercase().as_str())?;
        head.strip_suffix('.')
    });
    cut.unwrap_or(name)
}

/// `a, b, c and 2 more`.
pub(super) fn who(services: &[&Service]) -> String {
    first_of(services, services.len())
}

/// The same of a list that has `count` services, of which these are the first.
pub(super) fn first_of(first: &[&Service], count: usize) -> String {
    let named: Vec<&str> = first
        .iter()
        .take(NAMED)
        .map(|service| service.name.as_str())
        .collect();
    match count - named.len() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
