//! Dials in variables. The variable's name tells an address that is dialled from one that is
//! listened on, published or shown to users.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use super::find::{self, Found};
use crate::node::At;

type Variables = IndexMap<String, Option<At<String>>>;

/// Words of a name that tell that the value is no address to dial: the service's own, one for
/// users' browsers, one that is compared and not called.
const NOT_DIALLED: [&str; 62] = [
    "ADVERTISE",
    "ADVERTISED",
    "ALLOW",
    "ALLOWED",
    "BIND",
    "CALLBACK",
    "CANONICAL",
    "COLOR",
    "CORS",
    "DESCRIPTION",
    "DOMAIN",
    "DOMAINS",
    "DRIVER",
    "EXTERNAL",
    "HEADER",
    "HEADERS",
    "IMAGE",
    "INTERFACE",
    "KEY",
    "LABEL",
    "LABELS",
    "LETSENCRYPT",
    "LISTEN",
    "LISTENER",
    "LISTENERS",
    "LOG",
    "LOGO",
    "MESSAGE",
    "MODE",
    "NAME",
    "NO",
    "ORIGIN",
    "ORIGINS",
    "PASS",
    "PASSWORD",
    "PATH",
    "PREFIX",
    "PUBLIC",
    "PUBLISHED",
    "REAL",
    "RECURSIVE",
    "REDIRECT",
    "REDIRECTION",
    "REFERER",
    "REFERERS",
    "REGEX",
    "SECRET",
    "SELF",
    "SITE",
    "TITLE",
    "TOKEN",
    "TRUSTED",
    "TYPE",
    "USER",
    "USERNAME",
    "VERSION",
    "VIRTUAL",
    "WEBROOT",
    "WEBSITE",
    "WHITELIST",
    "ZONE",
    "ZONES",
];

/// Names that are the service's own address as a whole.
const OWN: [&str; 14] = [
    "ADDR",
    "ADDRESS",
    "APP_URL",
    "ASPNETCORE_URLS",
    "BASE_URL",
    "GF_SERVER_ROOT_URL",
    "HOST",
    "HOSTNAME",
    "ROOT_URL",
    "SERVER_NAME",
    "SERVERURL",
    "SITE_URL",
    "URL",
    "WEB_URL",
];

/// Words of a name that tell that the value is one or more hosts.
const HOSTS: [&str; 33] = [
    "ADDR",
    "ADDRESS",
    "ADDRESSES",
    "ADDRS",
    "BACKEND",
    "BOOTSTRAP",
    "BROKER",
    "BROKERS",
    "CLUSTER",
    "CONNECT",
    "CONNECTION",
    "CONTACTPOINTS",
    "DSN",
    "ENDPOINT",
    "ENDPOINTS",
    "HOST",
    "HOSTS",
    "HOSTNAME",
    "NODES",
    "PEER",
    "PEERS",
    "REMOTE",
    "SEEDS",
    "SERVER",
    "SERVERS",
    "SERVICE",
    "TARGET",
    "UPSTREAM",
    "UPSTREAMS",
    "URI",
    "URL",
    "URLS",
    "WAITFOR",
];

/// The words of those whose value is one bare name.
const BARE: [&str; 11] = [
    "ADDR",
    "ADDRESS",
    "ENDPOINT",
    "HOST",
    "HOSTS",
    "HOSTNAME",
    "SEEDS",
    "SERVER",
    "SERVERS",
    "UPSTREAM",
    "CONTACTPOINTS",
];

/// Values that are no names of hosts.
const WORDS: [&str; 18] = [
    "auto",
    "default",
    "disabled",
    "enabled",
    "false",
    "host",
    "http",
    "https",
    "localdomain",
    "no",
    "none",
    "null",
    "off",
    "on",
    "tcp",
    "true",
    "udp",
    "yes",
];

/// The dials of a service's variables, with the variable that each is in. `known` are the names
/// that the project gives something.
pub(super) fn dials<'v>(
    variables: &'v Variables,
    known: &BTreeSet<String>,
) -> Vec<(&'v str, &'v At<String>, Found)> {
    let mut out = Vec::new();
    let ports: BTreeMap<String, u16> = variables.iter().filter_map(port).collect();
    for (name, value) in variables {
        let Some(value) = value.as_ref().filter(|value| !value.is_empty()) else {
            continue;
        };
        for found in one(name, value, &ports, known) {
            out.push((name.as_str(), value, found));
        }
    }
    out
}

fn one(
    name: &str,
    value: &str,
    ports: &BTreeMap<String, u16>,
    known: &BTreeSet<String>,
) -> Vec<Found> {
    let upper = name.to_ascii_uppercase();
    let words: Vec<&str> = upper.split(['_', '.', '-']).collect();
    let has = |list: &[&str]| words.iter().any(|word| list.contains(word));
    if OWN.contains(&upper.as_str()) || has(&NOT_DIALLED) {
        return Vec::new();
    }
    let mut found = find::urls(value);
    if !found.is_empty() {
        return found;
    }
    if let Some(connection) = find::connection_string(value) {
        return vec![connection];
    }
    let hinted = has(&HOSTS) || ends_with_host(&upper);
    found = find::pairs(value);
    found.retain(|found| known.contains(&found.host) || (hinted && plausible(&found.host)));
    if !found.is_empty() {
        return found;
    }
    if has(&BARE) || ends_with_host(&upper) {
        let port = sibling_port(&upper, ports);
        return bare(value, port, known);
    }
    Vec::new()
}

/// As `MYSQLHOST`.
fn ends_with_host(name: &str) -> bool {
    name.len() > 4 && name.ends_with("HOST")
}

fn plausible(host: &str) -> bool {
    !WORDS.contains(&host.to_ascii_lowercase().as_str())
}

/// Names without ports, one or a list of which the project knows at least one.
fn bare(value: &str, port: Option<u16>, known: &BTreeSet<String>) -> Vec<Found> {
    let parts: Vec<&str> = value
        .split([',', ' '])
        .filter(|part| !part.is_empty())
        .collect();
    let all = parts
        .iter()
        .all(|part| find::is_host(part) && plausible(part));
    let listed = parts.len() == 1 || parts.iter().any(|part| known.contains(*part));
    if !all || !listed {
        return Vec::new();
    }
    let one = |host: &&str| Found::new(host, port, host);
    parts.iter().map(one).collect()
}

/// A variable that states a port, its name in capitals.
fn port((name, value): (&String, &Option<At<String>>)) -> Option<(String, u16)> {
    let name = name.to_ascii_uppercase();
    let port = find::port(value.as_ref()?.as_str())?;
    name.ends_with("PORT").then_some((name, port))
}

/// The port that another variable of the same beginning states: `DB_PORT` beside `DB_HOST`.
fn sibling_port(name: &str, ports: &BTreeMap<String, u16>) -> Option<u16> {
    let last = BARE.iter().filter(|word| name.ends_with(*word));
    let last = last.max_by_key(|word| word.len())?;
    let start = &name[..name.len() - last.len()];
    let keys = [format!("{start}PORT"), format!("{name}_PORT")];
    keys.iter().find_map(|key| ports.get(key).copied())
}
