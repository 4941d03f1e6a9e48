//! `health-localhost`: `localhost` has two addresses in a container, `::1` and 127.0.0.1, and the small
//! clients of health checks try the first one only. `health-none`: somebody waits for a health that is never told.

use emulator_compose::{Condition, Dependency, Service};

use crate::lint::finding::Level;
use crate::lint::known::has_no_health_check;
use crate::lint::view::{Draft, View};

/// Clients that try one address of a name, as the images of health checks have them: those of BusyBox.
const CLIENTS: [&str; 3] = ["wget", "nc", "telnet"];

pub(in crate::lint) fn localhost(view: &View<'_>, out: &mut Vec<Draft>) {
    for service in &view.project.services {
        let Some(health) = &service.healthcheck else {
            continue;
        };
        if health.disable || !has_ipv6_loopback(service) {
            continue;
        }
        let Some(client) = asks_localhost(&health.test) else {
            continue;
        };
        let at = health.at.unwrap_or(service.at);
        let message = format!(
            "the health check of {} asks `localhost` with {client}: BusyBox's tries ::1 alone, where a server on 0.0.0.0 is not",
            service.name
        );
        out.push(
            view.service(service, at, message)
                .fix("write 127.0.0.1 in the place of `localhost`"),
        );
    }
}

/// A dependency on the health of a service that has no health check.
pub(in crate::lint) fn none(view: &View<'_>, out: &mut Vec<Draft>) {
    for service in &view.project.services {
        let healthy = service.depends_on.iter();
        let healthy = healthy.filter(|on| on.condition == Condition::Healthy);
        out.extend(healthy.filter_map(|on| never_healthy(view, service, on)));
    }
}

fn never_healthy(view: &View<'_>, service: &Service, on: &Dependency) -> Option<Draft> {
    let other = view.project.service(&on.service)?;
    let (name, target) = (&service.name, &other.name);
    let is_off = |health: &&emulator_compose::Healthcheck| {
        health.disable || health.test.first().is_some_and(|word| word == "NONE")
    };
    let end = "the start ends with `has no healthcheck configured`";
    if let Some(health) = other.healthcheck.as_ref().filter(is_off) {
        let message =
            format!("{name} waits until {target} is healthy, whose health check is off: {end}");
        let draft = view
            .service(service, on.at, message)
            .and(view, health.at.unwrap_or(other.at), "is turned off here")
            .fix("wait for `service_started`, or take `disable` away");
        return Some(draft);
    }
    let image = other.image.as_ref().filter(|_| !other.build)?;
    let has_test = (other.healthcheck.as_ref()).is_some_and(|health| !health.test.is_empty());
    if has_test || !has_no_health_check(image) {
        return None;
    }
    let message = format!(
        "{name} waits until {target} is healthy, which has no health check, and neither has {}: {end}",
        image.value
    );
    let draft = view
        .service(service, on.at, message)
        .level(Level::Warning)
        .fix("write a `healthcheck` with a `test`, or wait for `service_started`");
    Some(draft)
}

/// Without IPv6 in the namespace, its hosts file has no `::1`.
fn has_ipv6_loopback(service: &Service) -> bool {
    let off = service.sysctls.get("net.ipv6.conf.all.disable_ipv6");
    off.is_none_or(|off| off.value != "1")
}

/// The client of a check that asks `localhost`.
fn asks_localhost(test: &[String]) -> Option<&'static str> {
    let text = test.join(" ");
    let mut words = text.split(|c: char| c.is_whitespace() || ";|&()'\"`".contains(c));
    let client = words.find_map(|word| {
        let program = word.rsplit('/').next().unwrap_or(word);
        CLIENTS.into_iter().find(|client| *client == program)
    })?;
    words.any(is_localhost).then_some(client)
}

/// `localhost`, alone, with a port, or in a URL.
fn is_localhost(word: &str) -> bool {
    let word = word.split_once("://").map_or(word, |(_, rest)| rest);
    let host = word.split(['/', '?']).next().unwrap_or(word);
    let host = host.rsplit('@').next().unwrap_or(host);
    host.split(':').next() == Some("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_localhost() {
        let client = |text: &str| asks_localhost(&[text.to_owned()]);
        assert_eq!(
            client("wget -q http://localhost:80/ || exit 1"),
            Some("wget")
        );
        assert_eq!(client("/usr/bin/wget --spider localhost"), Some("wget"));
        assert_eq!(client("sh -c 'nc -z localhost 80'"), Some("nc"));
        for text in [
            "curl -f http://localhost/",
            "wget http://127.0.0.1/localhost",
            "wget http://localhosting/",
            "echo localhost; wget http://db/",
        ] {
            assert_eq!(client(text), None, "{text}");
        }
    }
}
