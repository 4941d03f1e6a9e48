//! `/etc/hosts` as the C library reads it (`hosts(5)`): an address, then names, `#` starts a comment.
//!
//! Names are compared without case. Every line that has the name counts, in order. Left out: aliases as
//! canonical names.

use core::net::IpAddr;

use crate::name;
use crate::zone::Family;

/// The lines of a hosts file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    lines: Vec<(IpAddr, Vec<String>)>,
}

impl Hosts {
    /// Reads a file. Lines that say nothing are passed over, as the C library does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let address = words.next()?.parse().ok()?;
            let names: Vec<String> = words.map(str::to_owned).collect();
            (!names.is_empty()).then_some((address, names))
        });
        Self {
            lines: lines.collect(),
        }
    }

    /// The addresses of `name` in one family, in the order of the file, each once.
    #[must_use]
    pub fn addresses(&self, name: &str, family: Family) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for (address, names) in &self.lines {
            let right = address.is_ipv4() == (family == Family::V4);
            let known = names.iter().any(|own| name::same(own, name));
            if right && known && !found.contains(address) {
                found.push(*address);
            }
        }
        found
    }

    /// The first name of `address`.
    #[must_use]
    pub fn name_of(&self, address: IpAddr) -> Option<&str> {
        let line = self.lines.iter().find(|(own, _)| *own == address)?;
        line.1.first().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_s_hosts_file() {
        let hosts = Hosts::parse(
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
             # comment\n\nnonsense here\n172.18.0.2\talpha.lab.example alpha # me\n172.18.0.9\tALPHA\n",
        );
        let addresses = |name, family| {
            let list = hosts.addresses(name, family);
            list.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(addresses("localhost", Family::V4), ["127.0.0.1"]);
        assert_eq!(addresses("LocalHost", Family::V6), ["::1"]);
        assert_eq!(addresses("alpha", Family::V4), ["172.18.0.2", "172.18.0.9"]);
        assert!(addresses("me", Family::V4).is_empty());
        assert!(addresses("alpha", Family::V6).is_empty());
        let own = "172.18.0.2".parse().expect("v4");
        assert_eq!(hosts.name_of(own), Some("alpha.lab.example"));
    }

    #[test]
    fn an_address_alone_says_nothing() {
        let hosts = Hosts::parse("172.18.0.2\n172.18.0.2 # alpha\n172.18.0.2 beta\n");
        let own = "172.18.0.2".parse().expect("v4");
        assert_eq!(hosts.name_of(own), Some("beta"));
    }
}
