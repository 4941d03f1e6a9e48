//! Path MTUs learned from the path: RFC 1191 §6.3, RFC 8201 §5.3.
//!
//! One per destination for ten minutes (`mtu_expires`), then the interface's MTU is tried again. Values
//! below 552 (IPv4, `min_pmtu`) and 1280 (IPv6) count as those. 1,024 destinations at most: the one that
//! would expire first makes room.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use switch::Time;

const EXPIRES: Duration = Duration::from_secs(600);
const LIMIT: usize = 1024;

/// The path MTUs of a namespace.
#[derive(Debug, Default)]
pub(super) struct PathMtus {
    map: BTreeMap<IpAddr, (u32, Time)>,
}

impl PathMtus {
    /// The path to `destination` carries no more than `mtu`.
    pub(super) fn learn(&mut self, now: Time, destination: IpAddr, mtu: u32) -> u32 {
        let mtu = mtu.max(if destination.is_ipv4() { 552 } else { 1280 });
        if self.map.len() >= LIMIT && !self.map.contains_key(&destination) {
            let first = self.map.iter().min_by_key(|(_, entry)| entry.1);
            if let Some(first) = first.map(|(addr, _)| *addr) {
                self.map.remove(&first);
            }
        }
        self.map.insert(destination, (mtu, now + EXPIRES));
        mtu
    }

    /// No path is known to carry less than its interface.
    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// What the path to `destination` carries, if that is known and less than `mtu`.
    pub(super) fn limit(&self, now: Time, destination: IpAddr, mtu: u32) -> u32 {
        if self.is_empty() {
            return mtu;
        }
        match self.map.get(&destination) {
            Some(&(known, expires)) if expires > now => known.min(mtu),
            _ => mtu,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_mtu_lasts_ten_minutes() {
        let mut mtus = PathMtus::default();
        let addr = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(mtus.learn(Time::ZERO, addr, 1400), 1400);
        assert_eq!(mtus.limit(Time::from_secs(599), addr, 1500), 1400);
        assert_eq!(mtus.limit(Time::from_secs(600), addr, 1500), 1500);
        assert_eq!(mtus.learn(Time::ZERO, addr, 68), 552);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut mtus = PathMtus::default();
        for i in 0..LIMIT as u32 + 10 {
            let addr = core::net::Ipv4Addr::from(i).into();
            mtus.learn(Time::from_nanos(u64::from(i)), addr, 1400);
        }
        assert_eq!(mtus.map.len(), LIMIT);
        assert_eq!(
            mtus.limit(Time::from_secs(1), IpAddr::from([0, 0, 0, 0]), 1500),
            1500
        );
    }
}
