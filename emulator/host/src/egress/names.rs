//! Names that were looked up, and the addresses that they had: a rule about a name allows those.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use emulator_core::switch::Time;

/// Addresses that are remembered.
const ADDRESSES: usize = 4096;
/// Names of one address that are remembered.
const NAMES: usize = 16;
/// An address stays allowed for so long, however short its record lives: whoever asks connects a moment later.
const LEAST: Duration = Duration::from_secs(60);
/// And no longer than this.
const MOST: Duration = Duration::from_secs(24 * 3600);

/// What was learned.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_address: BTreeMap<IpAddr, Vec<(String, Time)>>,
}

impl Names {
    /// A name, in lower case, has this address for `ttl` seconds.
    pub(super) fn learn(&mut self, now: Time, name: &str, address: IpAddr, ttl: u32) {
        let until = now + Duration::from_secs(ttl.into()).clamp(LEAST, MOST);
        if !self.by_address.contains_key(&address) && self.by_address.len() >= ADDRESSES {
            self.forget(now);
        }
        let names = self.by_address.entry(address).or_default();
        names.retain(|(_, end)| *end > now);
        if let Some(known) = names.iter_mut().find(|(known, _)| known == name) {
            known.1 = known.1.max(until);
            return;
        }
        if names.len() >= NAMES
            && let Some(first) = (0..names.len()).min_by_key(|&at| names[at].1)
        {
            names.swap_remove(first);
        }
        names.push((name.to_owned(), until));
    }

    /// Makes room: all whose time is over go, else the address whose time is over first.
    fn forget(&mut self, now: Time) {
        self.by_address
            .retain(|_, names| names.iter().any(|(_, end)| *end > now));
        let last = |names: &Vec<(String, Time)>| names.iter().map(|(_, end)| *end).max();
        if self.by_address.len() >= ADDRESSES
            && let Some(first) = self.by_address.iter().min_by_key(|(_, names)| last(names))
        {
            let first = *first.0;
            self.by_address.remove(&first);
        }
    }

    /// The names that an address has now.
    pub(super) fn of(&self, now: Time, address: IpAddr) -> impl Iterator<Item = &str> {
        let names = self.by_address.get(&address).into_iter().flatten();
        names
            .filter(move |(_, end)| *end > now)
            .map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(names: &Names, at: u64, address: IpAddr) -> Vec<&str> {
        names.of(Time::from_millis(at * 1000), address).collect()
    }

    #[test]
    fn an_address_is_known_for_its_time_and_a_minute_at_least() {
        let mut names = Names::default();
        let address = IpAddr::from([192, 0, 2, 1]);
        names.learn(Time::ZERO, "short.example", address, 5);
        names.learn(Time::ZERO, "long.example", address, 300);
        assert_eq!(
            known(&names, 59, address),
            ["short.example", "long.example"]
        );
        assert_eq!(known(&names, 61, address), ["long.example"]);
        assert!(known(&names, 301, address).is_empty());
        assert!(known(&names, 0, IpAddr::from([192, 0, 2, 2])).is_empty());
    }

    #[test]
    fn what_is_known_is_bounded() {
        let mut names = Names::default();
        for i in 0..2 * ADDRESSES as u32 {
            let address = core::net::Ipv4Addr::from_bits(i).into();
            names.learn(Time::from_millis(u64::from(i)), "a.example", address, 600);
        }
        assert_eq!(names.by_address.len(), ADDRESSES);
        let last = core::net::Ipv4Addr::from_bits(2 * ADDRESSES as u32 - 1).into();
        for i in 0..100 {
            names.learn(Time::ZERO, &format!("{i}.example"), last, 600);
        }
        assert_eq!(names.by_address[&last].len(), NAMES);
    }
}
