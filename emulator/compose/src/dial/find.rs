//! Hosts and ports in a text: URLs, `host:port`, and the connection strings of databases.

use core::net::IpAddr;

use crate::model::Protocol;

/// A host, and a port if one is known, that stands in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) protocol: Protocol,
    /// The part of the text that says so.
    pub(crate) text: String,
}

impl Found {
    pub(crate) fn new(host: &str, port: Option<u16>, text: &str) -> Self {
        Self {
            host: host.to_owned(),
            port,
            protocol: Protocol::Tcp,
            text: text.to_owned(),
        }
    }
}

/// How much of a text is looked at, in bytes.
pub(crate) const MAX_TEXT: usize = 16 << 10;
/// How many hosts are taken out of one text.
const MAX_FOUND: usize = 64;

/// What is no host behind `://`.
const NO_HOST: [&str; 22] = [
    "about",
    "abfs",
    "abfss",
    "classpath",
    "data",
    "fd",
    "file",
    "gcs",
    "gs",
    "hdfs",
    "mem",
    "memory",
    "npipe",
    "o3fs",
    "ofs",
    "queue",
    "s3",
    "sqlite",
    "topic",
    "unix",
    "urn",
    "vm",
];

/// The port that a URL of this scheme means when it names none.
fn default_port(scheme: &str) -> Option<u16> {
    Some(match scheme {
        "amqp" => 5672,
        "amqps" => 5671,
        "ftp" => 21,
        "http" | "ws" => 80,
        "https" | "wss" => 443,
        "ldap" => 389,
        "ldaps" => 636,
        "mariadb" | "mysql" => 3306,
        "memcached" => 11211,
        "mongodb" => 27017,
        "mqtt" => 1883,
        "mqtts" => 8883,
        "nats" => 4222,
        "postgres" | "postgresql" => 5432,
        "redis" | "rediss" | "valkey" => 6379,
        "sftp" | "ssh" => 22,
        "smtp" => 25,
        "smtps" => 465,
        "sqlserver" => 1433,
        _ => return None,
    })
}

/// The first [`MAX_TEXT`] bytes.
pub(crate) fn start(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The URLs of a text.
pub(crate) fn urls(text: &str) -> Vec<Found> {
    let text = start(text);
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find("://").map(|at| from + at) {
        from = at + 3;
        let scheme_fits = |c: char| c.is_ascii_alphanumeric() || "+.-_".contains(c);
        let head = &text[..at];
        let begin = head.trim_end_matches(scheme_fits).len();
        let scheme = head[begin..].to_ascii_lowercase();
        let kind = scheme.split('+').next().unwrap_or_default();
        if kind.is_empty() || NO_HOST.contains(&kind) {
            continue;
        }
        // The next URL of a list may begin inside: its scheme is no part of this one.
        let rest = &text[from..];
        let stop = rest.find(|c: char| c.is_whitespace() || "/?#'\"`<>;|)}\\".contains(c));
        let authority = &rest[..stop.unwrap_or(rest.len())];
        authorities(authority, kind, &text[begin..from], &mut found);
        if found.len() >= MAX_FOUND {
            break;
        }
    }
    found.truncate(MAX_FOUND);
    found
}

/// `[user[:password]@]host[:port][,host[:port]…]`.
fn authorities(text: &str, scheme: &str, prefix: &str, found: &mut Vec<Found>) {
    let hosts = text.rsplit_once('@').map_or(text, |(_, hosts)| hosts);
    for part in hosts.split(',') {
        // In `a://x:1,b://y:2` the rest of the list starts with a scheme.
        let scheme_of_next = part.ends_with(':');
        let Some((host, port)) = host_port(part).filter(|_| !scheme_of_next) else {
            continue;
        };
        found.push(Found {
            protocol: match scheme {
                "udp" => Protocol::Udp,
                _ => Protocol::Tcp,
            },
            port: port.or_else(|| default_port(scheme)),
            text: format!("{prefix}{part}"),
            host,
        });
    }
}

/// `host`, `host:port`, an address, `[address]:port`.
pub(crate) fn host_port(text: &str) -> Option<(String, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inner, tail) = rest.split_once(']')?;
        inner.parse::<IpAddr>().ok()?;
        let port = match tail {
            "" => None,
            _ => Some(port(tail.strip_prefix(':')?)?),
        };
        return Some((inner.to_owned(), port));
    }
    let (host, port) = match text.split_once(':') {
        None => (text, None),
        Some((host, digits)) => (host, Some(port(digits)?)),
    };
    is_host(host).then(|| (host.to_owned(), port))
}

/// A port's number, nothing around it.
pub(crate) fn port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port > 0)
}

/// An IPv4 address, or a name of letters, digits, `-`, `_` and dots that begins and ends with a
/// letter or digit and is no number.
pub(crate) fn is_host(text: &str) -> bool {
    if text.is_empty() || text.len() > 253 {
        return false;
    }
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == b'_');
    let letters = text.bytes().any(|c| c.is_ascii_alphabetic());
    text.bytes().all(fits)
        && edge(text.bytes().next())
        && edge(text.bytes().next_back())
        && !text.contains("..")
        && (letters || text.parse::<IpAddr>().is_ok())
}

/// `host:port` wherever one stands in a list; `1@host:port` counts. Without a port it is none.
pub(crate) fn pairs(text: &str) -> Vec<Found> {
    let text = start(text);
    let apart = |c: char| c.is_whitespace() || ",;|'\"()".contains(c);
    let mut found = Vec::new();
    for token in text.split(apart).filter(|token| token.contains(':')) {
        if token.contains("://") || token.contains('$') {
            continue;
        }
        let bare = token.rsplit_once('@').map_or(token, |(_, bare)| bare);
        let bare = bare.split('/').next().unwrap_or_default();
        if let Some((host, Some(port))) = host_port(bare) {
            found.push(Found::new(&host, Some(port), bare));
        }
        if found.len() >= MAX_FOUND {
            break;
        }
    }
    found
}

/// `Server=db,1433;Database=x`, `host=db port=5432 user=x`, `user@tcp(db:3306)/x`,
/// `jdbc:oracle:thin:@db:1521:x`.
pub(crate) fn connection_string(text: &str) -> Option<Found> {
    let text = start(text);
    if let Some((_, rest)) = text.split_once("@tcp(") {
        let (inner, _) = rest.split_once(')')?;
        let (host, port) = host_port(inner)?;
        return Some(Found::new(&host, port.or(Some(3306)), inner));
    }
    if let Some((_, rest)) = text.split_once("jdbc:oracle:thin:@") {
        let mut parts = rest.trim_start_matches('/').split([':', '/']);
        let (host, number) = (parts.next()?, parts.next());
        let port = number.and_then(port).or(Some(1521));
        return is_host(host).then(|| Found::new(host, port, host));
    }
    let separator = if text.contains(';') { ';' } else { ' ' };
    let pairs = text
        .split(separator)
        .filter_map(|pair| pair.split_once('='));
    let pairs: Vec<(String, &str)> = pairs
        .map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim()))
        .collect();
    let value = |keys: &[&str]| {
        let found = pairs.iter().find(|(key, _)| keys.contains(&key.as_str()));
        found.map(|(_, value)| *value)
    };
    if pairs.len() < 2 {
        return None;
    }
    let server = value(&[
        "server",
        "host",
        "data source",
        "hostname",
        "addr",
        "datasource",
    ])?;
    let (host, after) = match server.split_once(',') {
        Some((host, digits)) => (host, port(digits.trim())),
        None => (server, None),
    };
    let host = host.strip_prefix("tcp:").unwrap_or(host);
    let (name, inside) = host_port(host)?;
    let stated = value(&["port"]).and_then(port);
    Some(Found::new(&name, after.or(inside).or(stated), server))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(found: &[Found]) -> String {
        let one = |found: &Found| {
            let port = found
                .port
                .map_or_else(|| "-".to_owned(), |port| port.to_string());
            format!("{}:{port}/{}", found.host, found.protocol)
        };
        found.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn urls_of_all_kinds() {
        for (text, wanted) in [
            ("redis://cache:6379/0", "cache:6379/tcp"),
            ("redis://:secret@cache", "cache:6379/tcp"),
            ("postgres://u:p@ss@db/x?sslmode=disable", "db:5432/tcp"),
            (
                "postgresql+psycopg2://a:b@postgres/airflow",
                "postgres:5432/tcp",
            ),
            ("jdbc:mysql://db:3307/x", "db:3307/tcp"),
            (
                "mongodb://u:p@m1:27017,m2,m3:1/x",
                "m1:27017/tcp m2:27017/tcp m3:1/tcp",
            ),
            ("PLAINTEXT://k:9092,SSL://k:9093", "k:9092/tcp k:9093/tcp"),
            ("type=x;server=http://lnd:8080/;a=b", "lnd:8080/tcp"),
            ("udp://syslog:514", "syslog:514/udp"),
            ("tcp://web", "web:-/tcp"),
            (
                "http://[::1]:80/ https://example.com",
                "::1:80/tcp example.com:443/tcp",
            ),
            ("unix:///var/run/x.sock file:///x s3://bucket/x ://y", ""),
            ("http://+:8000 http://*:80 http://$HOST:80 http:///x", ""),
            ("http://a:99999 http://b:0 http://c:", ""),
        ] {
            assert_eq!(show(&urls(text)), wanted, "{text}");
        }
    }

    #[test]
    fn pairs_in_lists() {
        for (text, wanted) in [
            ("kafka:9092", "kafka:9092/tcp"),
            ("a:1,b:2; c:3", "a:1/tcp b:2/tcp c:3/tcp"),
            ("1@k1:9093,2@k2:9093", "k1:9093/tcp k2:9093/tcp"),
            ("db:5432/name", "db:5432/tcp"),
            ("10.0.0.1:53", "10.0.0.1:53/tcp"),
            ("12:30 a:b key:value :80 $X:1", ""),
        ] {
            assert_eq!(show(&pairs(text)), wanted, "{text}");
        }
    }

    #[test]
    fn connection_strings() {
        for (text, wanted) in [
            ("Server=db,1433;Database=x;User Id=sa", "db:1433/tcp"),
            ("server=db;uid=root;pwd=x;port=3306", "db:3306/tcp"),
            ("host=db port=5432 user=x", "db:5432/tcp"),
            ("Server=tcp:db;Database=x", "db:-/tcp"),
            ("root:x@tcp(mysql:3306)/app", "mysql:3306/tcp"),
            ("root:x@tcp(mysql)/app", "mysql:3306/tcp"),
            ("jdbc:oracle:thin:@ora:1521:XE", "ora:1521/tcp"),
            ("jdbc:oracle:thin:@//ora/XE", "ora:1521/tcp"),
        ] {
            let found = connection_string(text);
            assert_eq!(
                show(&found.into_iter().collect::<Vec<_>>()),
                wanted,
                "{text}"
            );
        }
        for text in ["", "host=db", "a=b;c=d", "Server=;Database=x"] {
            assert_eq!(connection_string(text), None, "{text}");
        }
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let text = "é".repeat(MAX_TEXT);
        assert!(start(&text).len() <= MAX_TEXT);
        assert!(urls(&"http://a ".repeat(100_000)).len() <= MAX_FOUND);
    }
}
