//! `/etc/hosts` as the C library reads it (`hosts(5)`): an address, then names, `#` starts a comment.
//!
//! Names are compared without case. Every line that has the name counts, in order. Left out: aliases as
//! canonical names.

use core::net::IpAddr;

use crate::name;
use crate::zone::Family;

/// A hosts file. It is read where it is asked: most are asked for one name, which is seldom in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hosts<'t> {
    text: &'t str,
}

impl<'t> Hosts<'t> {
    /// A file. Lines that say nothing are passed over, as the C library does.
    #[must_use]
    pub const fn of(text: &'t str) -> Self {
        Self { text }
    }

    /// The first word of each line, which may be an address, and the names after it.
    fn lines(self) -> impl Iterator<Item = (&'t str, impl Iterator<Item = &'t str>)> {
        self.text.lines().filter_map(|line| {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            Some((words.next()?, words))
        })
    }

    /// The addresses of `name` in one family, in the order of the file, each once.
    #[must_use]
    pub fn addresses(self, name: &str, family: Family) -> Vec<IpAddr> {
        let mut found = self.all_addresses(name);
        found.retain(|address| address.is_ipv4() == (family == Family::V4));
        found
    }

    /// The same in both.
    pub(crate) fn all_addresses(self, name: &str) -> Vec<IpAddr> {
        let mut found = Vec::new();
        if !self.has(name::trim(name)) {
            return found;
        }
        for (address, mut names) in self.lines() {
            if !names.any(|own| name::same(own, name)) {
                continue;
            }
            let address = address.parse().ok();
            found.extend(address.filter(|address| !found.contains(address)));
        }
        found
    }

    /// Whether it has these letters anywhere, in whatever case.
    fn has(self, letters: &str) -> bool {
        // The cases of a letter differ in this bit only.
        let fold = |byte: u8| byte | 0x20;
        let (text, letters) = (self.text.as_bytes(), letters.as_bytes());
        let Some(&first) = letters.first() else {
            return true;
        };
        let starts = text.iter().enumerate();
        let mut starts = starts.filter(|(_, byte)| fold(**byte) == fold(first));
        starts.any(|(at, _)| {
            let here = text[at..].get(..letters.len());
            here.is_some_and(|here| here.eq_ignore_ascii_case(letters))
        })
    }

    /// The first name of `address`.
    #[must_use]
    pub fn name_of(self, address: IpAddr) -> Option<&'t str> {
        self.lines().find_map(|(own, mut names)| {
            let name = names.next()?;
            (own.parse() == Ok(address)).then_some(name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_s_hosts_file() {
        let hosts = Hosts::of(
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
        assert_eq!(
            addresses("alpha.", Family::V4),
            addresses("ALPHA", Family::V4)
        );
        for nobody in ["me", "alph", "lpha", "", ".", "172.18.0.2"] {
            assert!(addresses(nobody, Family::V4).is_empty(), "{nobody}");
        }
        assert!(addresses("alpha", Family::V6).is_empty());
        let own = "172.18.0.2".parse().expect("v4");
        assert_eq!(hosts.name_of(own), Some("alpha.lab.example"));
    }

    #[test]
    fn an_address_alone_says_nothing() {
        let hosts = Hosts::of("172.18.0.2\n172.18.0.2 # alpha\n172.18.0.2 beta\n");
        let own = "172.18.0.2".parse().expect("v4");
        assert_eq!(hosts.name_of(own), Some("beta"));
    }
}
