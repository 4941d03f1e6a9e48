//! `publish-data-store` and `publish-all`: ports that are open on every address of the host, in front of
//! its firewall.

use emulator_compose::{Port, Protocol, Published, Service};

use crate::lint::known;
use crate::lint::view::{Draft, View, entries};

/// A data store's port that is open on every address, written `0.0.0.0` or not.
pub(in crate::lint) fn data_store(view: &View<'_>, out: &mut Vec<Draft>) {
    for (service, entry) in open_entries(view) {
        let Some((store, port)) = store_of(service, &entry) else {
            continue;
        };
        let Written { host, target } = written(&entry);
        let (loopback, _) = addresses(view, service);
        let message = format!(
            "{} ({store}) is open on port {port} to every machine that reaches this host",
            service.name
        );
        out.push(
            view.service(service, entry[0].at, message)
                .fix(format!(
                    "services of a common network reach it without `ports`; for this machine alone write `{loopback}:{host}:{target}`"
                )),
        );
    }
}

/// Loopback and every address, as they open something for a service: what is written for IPv4 opens nothing of a
/// container that has none.
fn addresses(view: &View<'_>, service: &Service) -> (&'static str, &'static str) {
    let members = service.networks.iter();
    let mut networks = members
        .filter_map(|member| view.project.network(&member.key))
        .peekable();
    let has_no_v4 =
        networks.peek().is_some() && networks.all(|network| network.enable_ipv4 == Some(false));
    match has_no_v4 {
        true => ("[::1]", "[::]"),
        false => ("127.0.0.1", "0.0.0.0"),
    }
}

/// A port of anything else, where no address is written.
pub(in crate::lint) fn all(view: &View<'_>, out: &mut Vec<Draft>) {
    for (service, entry) in open_entries(view) {
        if entry[0].host_ip.is_some() || store_of(service, &entry).is_some() {
            continue;
        }
        let Written { host, target } = written(&entry);
        let (loopback, every) = addresses(view, service);
        let shown = match host.is_empty() {
            true => target.clone(),
            false => format!("{host}:{target}"),
        };
        let message = format!(
            "{shown} of {} is published on every address of the host, in front of its firewall",
            service.name
        );
        out.push(
            view.service(service, entry[0].at, message)
                .fix(format!(
                    "write the address: `{loopback}:{host}:{target}` for this machine alone, `{every}:{host}:{target}` for everybody"
                )),
        );
    }
}

/// Every entry of `ports` that opens something on every address.
fn open_entries<'a>(view: &View<'a>) -> Vec<(&'a Service, Vec<&'a Port>)> {
    let services = view.project.services.iter();
    services
        .filter(|service| view.publishes(service))
        .flat_map(|service| {
            entries(service)
                .into_iter()
                .map(move |entry| (service, entry))
        })
        .filter(|(service, entry)| view.bound(service, entry[0]).is_none())
        .collect()
}

/// The data store of an entry. Of them, memcached alone answers by UDP.
fn store_of<'a>(service: &'a Service, entry: &[&Port]) -> Option<(&'a str, u16)> {
    let image = service.image.as_ref().map(|image| image.value.as_str());
    entry
        .iter()
        .filter(|port| port.protocol == Protocol::Tcp || port.target == 11211)
        .find_map(|port| Some((known::data_store(image, port.target)?, port.target)))
}

/// An entry of `ports` as its author writes it.
struct Written {
    host: String,
    target: String,
}

fn written(entry: &[&Port]) -> Written {
    let (first, last) = (entry[0], entry[entry.len() - 1]);
    let range = |a: u16, b: u16| match a == b {
        true => a.to_string(),
        false => format!("{a}-{b}"),
    };
    let host = match (first.published, last.published) {
        (Published::Exact(a), Published::Exact(b)) => range(a, b),
        (Published::Range(a, b), _) => range(a, b),
        _ => String::new(),
    };
    let mut target = range(first.target, last.target);
    if first.protocol != Protocol::Tcp {
        target.push('/');
        target.push_str(first.protocol.as_str());
    }
    Written { host, target }
}
