//! `publish-duplicate`: a port of the host that two bindings want, of one service, of two, or of two
//! projects of the host.

use std::collections::BTreeMap;
use std::net::IpAddr;

use emulator_compose::{Port, Protocol, Published, Service};

use crate::lint::finding::Level;
use crate::lint::view::{Draft, Host, View, entries, together};

struct Binding<'a> {
    view: &'a View<'a>,
    service: &'a Service,
    port: &'a Port,
}

pub(in crate::lint) fn check(host: &Host<'_>, out: &mut Vec<Draft>) {
    let mut bound: BTreeMap<(Protocol, u16), Vec<Binding<'_>>> = BTreeMap::new();
    for view in &host.views {
        let services = view.project.services.iter();
        for service in services.filter(|service| view.publishes(service)) {
            for port in &service.ports {
                let Published::Exact(number) = port.published else {
                    continue;
                };
                let binding = Binding {
                    view,
                    service,
                    port,
                };
                let slot = bound.entry((port.protocol, number)).or_default();
                if let Some(first) = slot.iter().find(|first| clash(first, &binding)) {
                    out.push(draft(first, &binding, number));
                } else {
                    slot.push(binding);
                }
            }
        }
    }
    for view in &host.views {
        added(view, out);
    }
}

/// A later file publishes a container's port at another port of the host: both are open, where the later
/// file was probably meant to move it.
fn added(view: &View<'_>, out: &mut Vec<Draft>) {
    let services = view.project.services.iter();
    for service in services.filter(|service| view.publishes(service)) {
        let entries = entries(service);
        for (index, later) in entries.iter().enumerate() {
            let earlier = entries[..index].iter().find(|earlier| {
                earlier[0].at.file != later[0].at.file
                    && earlier[0].published != later[0].published
                    && (earlier[0].target, earlier[0].protocol)
                        == (later[0].target, later[0].protocol)
            });
            let Some(earlier) = earlier else { continue };
            let message = format!(
                "port {} of {} is published once more: a later file adds to `ports`, what the earlier one publishes stays open",
                later[0].target, service.name
            );
            let draft = view.service(service, later[0].at, message);
            out.push(
                draft
                    .level(Level::Warning)
                    .and(view, earlier[0].at, "published here too")
                    .fix("`ports: !override` in the later file takes the place of what is there"),
            );
        }
    }
}

/// Whether both cannot be bound at once.
fn clash(a: &Binding<'_>, b: &Binding<'_>) -> bool {
    let bound = |binding: &Binding<'_>| binding.view.bound(binding.service, binding.port);
    let address = |binding: &Binding<'_>| address(bound(binding), binding.port);
    meet(address(a), address(b)) && together(a.service, b.service)
}

/// What a binding covers: of which family, if not both, and which address, if not every one.
fn address(bound: Option<IpAddr>, port: &Port) -> (Option<bool>, Option<IpAddr>) {
    match bound {
        Some(ip) => (Some(ip.is_ipv4()), Some(ip)),
        None => {
            let written = port.host_ip.as_deref();
            let ip = written.and_then(|ip| ip.parse::<IpAddr>().ok());
            (ip.map(|ip| ip.is_ipv4()), None)
        }
    }
}

fn meet(a: (Option<bool>, Option<IpAddr>), b: (Option<bool>, Option<IpAddr>)) -> bool {
    let differ = |a: Option<bool>, b: Option<bool>| matches!((a, b), (Some(a), Some(b)) if a != b);
    if differ(a.0, b.0) {
        return false;
    }
    match (a.1, b.1) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    }
}

fn draft(first: &Binding<'_>, second: &Binding<'_>, number: u16) -> Draft {
    let protocol = second.port.protocol;
    let (a, b) = (&first.service.name, &second.service.name);
    let one_project = first.view.index == second.view.index;
    let at = second.port.at;
    let message = match (one_project, a == b) {
        (true, true) => format!("port {number}/{protocol} of the host is published twice by {b}"),
        (true, false) => {
            format!("port {number}/{protocol} of the host is published by {b} and by {a}")
        }
        (false, _) => format!(
            "port {number}/{protocol} of the host is published by {b} of {} and by {a} of {}",
            second.view.project.name, first.view.project.name
        ),
    };
    let fix = match one_project && a == b && first.port.at.file != at.file {
        true => {
            "a later file adds to `ports`; `ports: !override` in it takes the place of what is there"
        }
        false => {
            "give one of them another port; whichever starts second fails with `port is already allocated`"
        }
    };
    second
        .view
        .service(second.service, at, message)
        .and(first.view, first.port.at, "first published here")
        .fix(fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_meet() {
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let any = (None, None);
        let any4 = (Some(true), None);
        let any6 = (Some(false), None);
        let loopback = (Some(true), ip("127.0.0.1"));
        let other = (Some(true), ip("192.0.2.2"));
        for (a, b, wanted) in [
            (any, any, true),
            (any, any6, true),
            (any4, any6, false),
            (any, loopback, true),
            (any6, loopback, false),
            (loopback, loopback, true),
            (loopback, other, false),
        ] {
            assert_eq!(meet(a, b), wanted, "{a:?} {b:?}");
            assert_eq!(meet(b, a), wanted, "{b:?} {a:?}");
        }
    }
}
