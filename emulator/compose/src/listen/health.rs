//! Ports that a service's health check asks of the service itself.

use std::collections::BTreeSet;

use crate::dial::command;
use crate::model::Service;
use crate::node::Place;

/// The names of the machine itself.
const LOCAL: [&str; 5] = ["localhost", "127.0.0.1", "::1", "0.0.0.0", "ip6-localhost"];

/// The ports, each once, in the order in which they stand.
pub(super) fn ports(service: &Service) -> Vec<(u16, Place)> {
    let Some(check) = &service.healthcheck else {
        return Vec::new();
    };
    let (Some(at), false) = (check.at, check.disable) else {
        return Vec::new();
    };
    if check.test.first().is_none_or(|first| first == "NONE") {
        return Vec::new();
    }
    let own = own_names(service);
    let words = command::words(&check.test[1..]);
    let dials = command::dials(&words, &own).into_iter();
    let mut seen = BTreeSet::new();
    dials
        .filter(|found| own.contains(&found.host))
        .filter_map(|found| found.port)
        .filter(|&port| seen.insert(port))
        .map(|port| (port, at))
        .collect()
}

fn own_names(service: &Service) -> BTreeSet<String> {
    let mut own: BTreeSet<String> = LOCAL.map(str::to_owned).into();
    own.insert(service.name.clone());
    own.extend(service.hostname.iter().map(|name| name.value.clone()));
    own.extend(service.container_name.iter().map(|name| name.value.clone()));
    own
}
