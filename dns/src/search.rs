//! `/etc/resolv.conf` (`resolv.conf(5)`), and which names a stub resolver asks for in which order.
//!
//! The C libraries differ, and so do the programs of images: see [`Flavour`]. Left out: `sortlist`,
//! `rotate`, `no-tld-query`, and the `LOCALDOMAIN` and `RES_OPTIONS` variables.

use core::net::IpAddr;
use core::time::Duration;

/// How many nameservers count.
pub const SERVERS_MAX: usize = 3;

/// Whose rules a stub resolver follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flavour {
    /// `nslookup` of busybox 1.36, which asks by itself: a name without a dot is asked for in each search
    /// domain only, any other as it is; `ndots` does not count.
    BusyboxNslookup,
    /// glibc: with `ndots` dots the name as it is first, then each search domain; with fewer the other
    /// way round. A name without addresses goes on to the next.
    #[default]
    Glibc,
    /// musl: with `ndots` dots the name as it is and nothing else; with fewer each search domain, then
    /// the name. SERVFAIL and a name without addresses end the search.
    Musl,
}

/// A resolver configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// Whom to ask, in order; 127.0.0.1 if the file names nobody.
    pub nameservers: Vec<IpAddr>,
    /// The search list.
    pub search: Vec<String>,
    /// How many dots make a name complete (at most 15).
    pub ndots: u8,
    /// How long to wait for one server (at most 30 s).
    pub timeout: Duration,
    /// How often each server is asked (at most 5).
    pub attempts: u8,
}

impl Default for ResolvConf {
    fn default() -> Self {
        Self {
            nameservers: vec![IpAddr::from([127, 0, 0, 1])],
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        }
    }
}

impl ResolvConf {
    /// Reads a file. What it does not understand is passed over, as the C library does; the last
    /// `search` or `domain` line counts.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        let mut nameservers = Vec::new();
        for line in text.lines() {
            let comment = line.bytes().position(|byte| matches!(byte, b'#' | b';'));
            let line = comment.map_or(line, |at| &line[..at]);
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server: Option<IpAddr> = words
                        .next()
                        .and_then(|word| word.split('%').next().unwrap_or_default().parse().ok());
                    if nameservers.len() < SERVERS_MAX {
                        nameservers.extend(server);
                    }
                }
                Some("search") => {
                    conf.search = words
                        .filter(|word| *word != ".")
                        .map(str::to_owned)
                        .collect();
                }
                Some("domain") => conf.search = words.take(1).map(str::to_owned).collect(),
                Some("options") => words.for_each(|word| conf.option(word)),
                _ => {}
            }
        }
        if !nameservers.is_empty() {
            conf.nameservers = nameservers;
        }
        conf
    }

    fn option(&mut self, word: &str) {
        let Some((key, value)) = word.split_once(':') else {
            return;
        };
        let Ok(value) = value.parse::<u32>() else {
            return;
        };
        match key {
            "ndots" => self.ndots = value.min(15) as u8,
            "timeout" => self.timeout = Duration::from_secs(u64::from(value.clamp(1, 30))),
            "attempts" => self.attempts = value.clamp(1, 5) as u8,
            _ => {}
        }
    }

    /// The names to ask for, in order.
    #[must_use]
    pub fn candidates(&self, name: &str, flavour: Flavour) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let dots = name.bytes().filter(|&byte| byte == b'.').count();
        let complete = dots >= usize::from(self.ndots);
        let searched = self
            .search
            .iter()
            .map(|domain| format!("{name}.{}", domain.trim_matches('.')));
        let plain = core::iter::once(name.to_owned());
        match flavour {
            Flavour::BusyboxNslookup if dots > 0 || self.search.is_empty() => plain.collect(),
            Flavour::BusyboxNslookup => searched.collect(),
            Flavour::Musl if complete => plain.collect(),
            Flavour::Glibc if complete => plain.chain(searched).collect(),
            Flavour::Glibc | Flavour::Musl => searched.chain(plain).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_s_resolv_conf() {
        let conf = ResolvConf::parse(
            "# Generated by Docker Engine.\nsearch lab.example example\nnameserver 127.0.0.11\n\
             options ndots:3 timeout:1 use-vc\n",
        );
        assert_eq!(conf.nameservers, [IpAddr::from([127, 0, 0, 11])]);
        assert_eq!(conf.search, ["lab.example", "example"]);
        assert_eq!(
            (conf.ndots, conf.timeout, conf.attempts),
            (3, Duration::from_secs(1), 2)
        );
        assert_eq!(
            ResolvConf::parse("search .\nnameserver x"),
            ResolvConf::default()
        );
        let four = "nameserver 10.0.0.1\nnameserver ::1\nnameserver 10.0.0.3\nnameserver 10.0.0.4";
        assert_eq!(ResolvConf::parse(four).nameservers.len(), 3);
    }

    #[test]
    fn orders_of_candidates() {
        let conf = |text| ResolvConf::parse(text);
        let cases: [(&str, &str, Flavour, &[&str]); 11] = [
            ("search a b", "db", Flavour::Glibc, &["db.a", "db.b", "db"]),
            ("search a b", "db.", Flavour::Glibc, &["db"]),
            ("search a", "db.x", Flavour::Glibc, &["db.x", "db.x.a"]),
            (
                "search a\noptions ndots:0",
                "db",
                Flavour::Glibc,
                &["db", "db.a"],
            ),
            (
                "search a\noptions ndots:2",
                "db.x",
                Flavour::Glibc,
                &["db.x.a", "db.x"],
            ),
            ("search a b", "db", Flavour::Musl, &["db.a", "db.b", "db"]),
            ("search a", "db.x", Flavour::Musl, &["db.x"]),
            ("search a\noptions ndots:0", "db", Flavour::Musl, &["db"]),
            (
                "search a b",
                "db",
                Flavour::BusyboxNslookup,
                &["db.a", "db.b"],
            ),
            ("search a", "db.x", Flavour::BusyboxNslookup, &["db.x"]),
            ("", "db", Flavour::BusyboxNslookup, &["db"]),
        ];
        for (text, name, flavour, want) in cases {
            assert_eq!(
                conf(text).candidates(name, flavour),
                want,
                "{text} {name} {flavour:?}"
            );
        }
    }
}
