//! Dials in commands and health checks: URLs, `host:port`, flags that name a host, and what the
//! usual clients of databases ask.

use std::collections::BTreeSet;

use super::find::{self, Found};

/// A client, its port, and the flags that name another host and port.
struct Client {
    names: &'static [&'static str],
    port: u16,
    host_flags: &'static [&'static str],
    port_flags: &'static [&'static str],
}

const CLIENTS: [Client; 9] = [
    Client {
        names: &["pg_isready", "psql"],
        port: 5432,
        host_flags: &["-h", "--host"],
        port_flags: &["-p", "--port"],
    },
    Client {
        names: &["redis-cli", "valkey-cli"],
        port: 6379,
        host_flags: &["-h"],
        port_flags: &["-p"],
    },
    Client {
        names: &["mysqladmin", "mariadb-admin", "mysql", "mariadb"],
        port: 3306,
        host_flags: &["-h", "--host"],
        port_flags: &["-P", "--port"],
    },
    Client {
        names: &["mongosh", "mongo"],
        port: 27017,
        host_flags: &["--host"],
        port_flags: &["--port"],
    },
    Client {
        names: &["cqlsh"],
        port: 9042,
        host_flags: &[],
        port_flags: &[],
    },
    Client {
        names: &["clickhouse-client"],
        port: 9000,
        host_flags: &["-h", "--host"],
        port_flags: &["--port"],
    },
    Client {
        names: &["etcdctl"],
        port: 2379,
        host_flags: &[],
        port_flags: &[],
    },
    Client {
        names: &["cockroach"],
        port: 26257,
        host_flags: &["--host"],
        port_flags: &["--port"],
    },
    Client {
        names: &[
            "sqlcmd",
            "/opt/mssql-tools/bin/sqlcmd",
            "/opt/mssql-tools18/bin/sqlcmd",
        ],
        port: 1433,
        host_flags: &["-S"],
        port_flags: &[],
    },
];

/// Programs that fetch what stands behind a bare `host/path`.
const FETCHERS: [&str; 4] = ["curl", "wget", "http", "fetch"];
/// Their flags whose value may be named as a host is.
const FETCH_VALUED: [&str; 10] = [
    "-A", "-H", "-O", "-X", "-d", "-e", "-o", "-u", "--output", "--user",
];
/// Programs that take `host port`.
const CONNECTORS: [&str; 5] = ["nc", "ncat", "netcat", "telnet", "nmap"];

/// Flags of clients whose value may be named as a client is.
const VALUED: [&str; 9] = [
    "-D", "-U", "-d", "-h", "-p", "-u", "--dbname", "--host", "--user",
];

/// Parts of a flag's name that tell that its value is a host.
const FLAGS: [&str; 12] = [
    "addr",
    "backend",
    "bootstrap",
    "broker",
    "connect",
    "endpoint",
    "host",
    "remote",
    "server",
    "target",
    "upstream",
    "url",
];
/// Parts of a flag's name that tell that it is the program's own address.
const OWN_FLAGS: [&str; 7] = [
    "advertise",
    "bind",
    "cors",
    "external",
    "listen",
    "origin",
    "public",
];

/// The words of a command, those of shell text taken apart.
pub(crate) fn words(command: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    let mut left = find::MAX_TEXT;
    for word in command {
        let text = find::start(&word[..]);
        if text.len() > left {
            break;
        }
        left -= text.len();
        let apart = |c: char| c.is_whitespace() || ";|&<>()'\"`".contains(c);
        let parts = text.split(apart).filter(|part| !part.is_empty());
        out.extend(parts.map(str::to_owned));
    }
    out
}

/// The dials of a command's words. `known` are the names that the project gives something, and those
/// of the machine itself.
pub(crate) fn dials(words: &[String], known: &BTreeSet<String>) -> Vec<Found> {
    let mut out = Vec::new();
    let mut program = "";
    for (i, word) in words.iter().enumerate() {
        let word = word.as_str();
        let name = word.rsplit('/').next().unwrap_or(word);
        let before = i.checked_sub(1).map_or("", |i| words[i].as_str());
        if let Some(client) = client(name).filter(|_| !VALUED.contains(&before)) {
            out.push(client_dial(client, name, &words[i + 1..]));
        }
        if FETCHERS.contains(&name) || CONNECTORS.contains(&name) {
            program = name;
        }
        out.extend(one(word, before, words.get(i + 1), program, known));
    }
    out
}

fn one(
    word: &str,
    before: &str,
    after: Option<&String>,
    program: &str,
    known: &BTreeSet<String>,
) -> Vec<Found> {
    let (flag, value) = match word.split_once('=') {
        Some((flag, value)) => (flag, value),
        None if before.starts_with('-') && !before.contains('=') => (before, word),
        None => ("", word),
    };
    let flag = flag.to_ascii_lowercase();
    if OWN_FLAGS.iter().any(|part| flag.contains(part)) {
        return Vec::new();
    }
    let found = find::urls(value);
    if !found.is_empty() {
        return found;
    }
    let mut found = find::pairs(value);
    found.retain(|found| known.contains(&found.host) || found.host.contains('.'));
    // `1.2.3.4:80` may be anything that is listened on; a name is asked for.
    found.retain(|found| known.contains(&found.host) || !unspecified(&found.host));
    if !found.is_empty() {
        return found;
    }
    if let Some(rest) = value.strip_prefix("/dev/tcp/") {
        let (host, port) = rest.split_once('/').unwrap_or((rest, ""));
        let port = find::port(port);
        let fits = find::is_host(host) && port.is_some();
        return Vec::from_iter(fits.then(|| Found::new(host, port, value)));
    }
    let (host, path) = value.split_once('/').unwrap_or((value, ""));
    if !known.contains(host) {
        return Vec::new();
    }
    let next = after.and_then(|after| find::port(after));
    if CONNECTORS.contains(&program) && next.is_some() && path.is_empty() {
        return vec![Found::new(host, next, value)];
    }
    if FETCHERS.contains(&program) && !FETCH_VALUED.contains(&before) && !word.starts_with('-') {
        return vec![Found::new(host, Some(80), value)];
    }
    if path.is_empty() && FLAGS.iter().any(|part| flag.contains(part)) {
        return vec![Found::new(host, None, word)];
    }
    Vec::new()
}

fn unspecified(host: &str) -> bool {
    host.parse::<core::net::IpAddr>()
        .is_ok_and(|address| address.is_unspecified())
}

fn client(name: &str) -> Option<&'static Client> {
    CLIENTS.iter().find(|client| client.names.contains(&name))
}

/// What a client of a database asks: its own machine, if no flag says otherwise.
fn client_dial(client: &Client, name: &str, rest: &[String]) -> Found {
    let value = |flags: &[&str]| {
        let mut words = rest.iter().enumerate();
        words.find_map(|(i, word)| {
            for flag in flags {
                let after = word.strip_prefix(*flag);
                match after {
                    Some("") => return rest.get(i + 1).map(String::as_str),
                    Some(after) if flag.starts_with("--") => {
                        if let Some(value) = after.strip_prefix('=') {
                            return Some(value);
                        }
                    }
                    Some(after) => return Some(after),
                    None => {}
                }
            }
            None
        })
    };
    let host = value(client.host_flags).filter(|host| find::is_host(host));
    let port = value(client.port_flags).and_then(find::port);
    Found::new(
        host.unwrap_or("localhost"),
        Some(port.unwrap_or(client.port)),
        name,
    )
}
