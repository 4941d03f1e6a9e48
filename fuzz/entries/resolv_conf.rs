//! Text as `/etc/resolv.conf`, as `/etc/hosts` and as a name.
//!
//! Promises: reading ends with bounded settings; each name that a search list makes of another can be
//! asked for, or is left out where that is done; a name that can be written reads back as the same bytes.

use core::net::IpAddr;
use core::time::Duration;

use dns::hosts::Hosts;
use dns::zone::Family;
use dns::{Flavour, ResolvConf, name, search};

/// Runs one input. What is not UTF-8 is no file of a container.
pub fn resolv_conf(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let conf = ResolvConf::parse(text);
    assert!((1..=search::SERVERS_MAX).contains(&conf.nameservers.len()));
    assert!(conf.ndots <= 15 && conf.attempts <= 5);
    assert!(conf.timeout <= Duration::from_secs(30));
    assert_eq!(conf, ResolvConf::parse(text));
    let hosts = Hosts::of(text);
    let last = text.split_whitespace().last().unwrap_or("");
    for flavour in [Flavour::BusyboxNslookup, Flavour::Glibc, Flavour::Musl] {
        assert!(conf.candidates(last, flavour).len() <= conf.search.len() + 1);
    }
    for family in [Family::V4, Family::V6] {
        for address in hosts.addresses(last, family) {
            assert_eq!(address.is_ipv4(), family == Family::V4);
            assert!(hosts.name_of(address).is_some());
        }
    }
    for word in text.split_whitespace() {
        name_of(word);
    }
}

fn name_of(text: &str) {
    let mut wire = Vec::new();
    if name::write(text, &mut wire).is_ok() {
        assert!(wire.len() <= name::NAME_MAX);
        assert_eq!(name::skip(&wire, 0), Ok(wire.len()));
        let (read, end) = name::read(&wire, 0).expect("what was written can be read");
        assert_eq!(end, wire.len());
        let mut again = Vec::new();
        name::write(&read, &mut again).expect("what was read can be written");
        assert_eq!(wire, again);
    } else {
        assert!(wire.is_empty());
    }
    if let Some(address) = name::address_of(text) {
        assert!(name::same(&name::reverse(address), text));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        assert_eq!(name::address_of(&name::reverse(address)), Some(address));
    }
}
