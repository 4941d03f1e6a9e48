//! The routing tables of a namespace: `local` before `main`, longest prefix, then lowest metric.
//!
//! After Linux's fib_trie and ip6_fib, as `ip route` shows them. A table is one sorted vector with a list
//! of the prefix lengths that occur in it, so that a lookup is one binary search per length: a host
//! with a thousand bridges has about five lengths. Left out: policy rules, multipath, nexthop objects,
//! types of service.

use core::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use switch::IfId;

use super::addr::{bits, masked};
use super::errno::Errno;

/// What a route does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKind {
    /// Delivers to every station of a link and to this one.
    Broadcast,
    /// Delivers here.
    Local,
    /// Sends to the members of a group.
    Multicast,
    /// Sends to one station.
    Unicast,
}

/// Who made a route (`proto` in `ip route`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteProto {
    /// `ip route add` without a word, and Docker.
    Boot,
    /// The kernel, with an address.
    Kernel,
    /// An administrator.
    Static,
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which destinations.
    pub dst: IpNet,
    /// The gateway; `None` if the destinations are on the link.
    pub via: Option<IpAddr>,
    /// The interface.
    pub dev: IfId,
    /// The lower one wins among equal prefixes.
    pub metric: u32,
    /// The preferred source.
    pub src: Option<IpAddr>,
    /// What it does. Local and broadcast routes live in the table `local`.
    pub kind: RouteKind,
    /// Who made it.
    pub proto: RouteProto,
}

impl Route {
    /// An on-link route as `ip route add DST dev DEV` makes it: metric 0, or 1024 for IPv6.
    #[must_use]
    pub fn on_link(dst: IpNet, dev: IfId) -> Self {
        Self {
            dst: dst.trunc(),
            via: None,
            dev,
            metric: if matches!(dst, IpNet::V6(_)) { 1024 } else { 0 },
            src: None,
            kind: RouteKind::Unicast,
            proto: RouteProto::Boot,
        }
    }

    /// A route through the gateway `via`.
    #[must_use]
    pub fn through(dst: IpNet, via: IpAddr, dev: IfId) -> Self {
        Self {
            via: Some(via),
            ..Self::on_link(dst, dev)
        }
    }

    /// The default route of `via`'s family.
    #[must_use]
    pub fn default_via(via: IpAddr, dev: IfId) -> Self {
        Self::through(everything(via.is_ipv6()), via, dev)
    }

    /// The default route straight out of `dev`.
    #[must_use]
    pub fn default_on_link(v6: bool, dev: IfId) -> Self {
        Self::on_link(everything(v6), dev)
    }

    /// A prefix of which every address is this machine's ("AnyIP"): `ip route add local DST dev DEV`.
    #[must_use]
    pub fn local(dst: IpNet, dev: IfId) -> Self {
        Self {
            kind: RouteKind::Local,
            metric: 0,
            ..Self::on_link(dst, dev)
        }
    }

    /// It matches everything.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.dst.prefix_len() == 0
    }
}

fn everything(v6: bool) -> IpNet {
    if v6 {
        IpNet::V6(Ipv6Net::default())
    } else {
        IpNet::V4(Ipv4Net::default())
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// 128 minus the prefix length: longer prefixes come first.
    rest: u8,
    /// Its destination is truncated.
    route: Route,
}

impl Entry {
    fn new(route: Route) -> Self {
        let len = route.dst.prefix_len();
        Self {
            rest: 128 - len,
            route,
        }
    }

    fn place(&self) -> (u8, u128) {
        (self.rest, bits(self.route.dst.addr()))
    }

    fn key(&self) -> (u8, u128, u32) {
        let (rest, bits) = self.place();
        (rest, bits, self.route.metric)
    }
}

/// Makes room for one more: exactly that while there are few, as in most namespaces.
fn grow<T>(list: &mut Vec<T>) {
    if list.len() < 8 {
        list.reserve_exact(1);
    }
}

/// One table of one family.
#[derive(Debug, Default)]
struct Table {
    entries: Vec<Entry>,
    /// The prefix lengths that occur, longest first, and how often.
    lengths: Vec<(u8, u32)>,
}

impl Table {
    fn add(&mut self, route: Route) {
        let entry = Entry::new(route);
        let at = self.entries.partition_point(|e| e.key() <= entry.key());
        grow(&mut self.entries);
        self.entries.insert(at, entry);
        let len = route.dst.prefix_len();
        grow(&mut self.lengths);
        match self.lengths.iter().position(|&(l, _)| l <= len) {
            Some(at) if self.lengths[at].0 == len => self.lengths[at].1 += 1,
            Some(at) => self.lengths.insert(at, (len, 1)),
            None => self.lengths.push((len, 1)),
        }
    }

    fn remove_where(&mut self, mut gone: impl FnMut(&Route) -> bool) -> usize {
        let before = self.entries.len();
        let lengths = &mut self.lengths;
        self.entries.retain(|entry| {
            let gone = gone(&entry.route);
            if gone && let Some(at) = lengths.iter().position(|l| l.0 == 128 - entry.rest) {
                lengths[at].1 -= 1;
                if lengths[at].1 == 0 {
                    lengths.remove(at);
                }
            }
            !gone
        });
        before - self.entries.len()
    }

    fn matches(&self, addr: IpAddr) -> impl Iterator<Item = &Route> {
        let bits = bits(addr);
        self.lengths.iter().flat_map(move |&(len, _)| {
            let key = (128 - len, masked(bits, len));
            let at = self.entries.partition_point(|e| e.place() < key);
            self.entries[at..]
                .iter()
                .take_while(move |e| e.place() == key)
                .map(|e| &e.route)
        })
    }

    fn routes(&self) -> impl Iterator<Item = &Route> {
        self.entries.iter().map(|entry| &entry.route)
    }
}

/// All tables of a namespace.
#[derive(Debug, Default)]
pub struct Fib {
    local: [Table; 2],
    main: [Table; 2],
    change: u64,
}

fn family(addr: IpAddr) -> usize {
    usize::from(addr.is_ipv6())
}

impl Fib {
    /// A number that changes whenever a route may have changed.
    pub(super) const fn change(&self) -> u64 {
        self.change
    }

    /// The table of a route, to change.
    fn table(&mut self, route: &Route) -> &mut Table {
        self.change += 1;
        let family = family(route.dst.addr());
        match route.kind {
            RouteKind::Broadcast | RouteKind::Local => &mut self.local[family],
            RouteKind::Multicast | RouteKind::Unicast => &mut self.main[family],
        }
    }

    /// Adds a route.
    ///
    /// # Errors
    /// [`Errno::Exist`] if one with the same destination and metric is there (IPv6: and the same
    /// gateway and interface).
    pub fn add(&mut self, route: Route) -> Result<(), Errno> {
        let route = Route {
            dst: route.dst.trunc(),
            ..route
        };
        let v6 = route.dst.addr().is_ipv6();
        let table = self.table(&route);
        let taken = table.matches(route.dst.addr()).any(|other| {
            other.dst == route.dst
                && other.metric == route.metric
                && (!v6 || (other.via == route.via && other.dev == route.dev))
        });
        if taken {
            return Err(Errno::Exist);
        }
        table.add(route);
        Ok(())
    }

    /// Adds a route of the kernel's own, equal ones allowed behind it (as `NLM_F_APPEND`).
    pub(super) fn append(&mut self, route: Route) {
        let route = Route {
            dst: route.dst.trunc(),
            ..route
        };
        let table = self.table(&route);
        let there = table.matches(route.dst.addr()).any(|other| *other == route);
        if !there {
            table.add(route);
        }
    }

    /// Takes away the routes with this destination that also have the gateway and interface, where
    /// those are given.
    ///
    /// # Errors
    /// [`Errno::NoProcess`] if there is none.
    pub fn remove(
        &mut self,
        dst: IpNet,
        via: Option<IpAddr>,
        dev: Option<IfId>,
    ) -> Result<(), Errno> {
        let dst = dst.trunc();
        let mut first = true;
        let mut gone = |route: &Route| {
            let hit = first
                && route.dst == dst
                && via.is_none_or(|via| route.via == Some(via))
                && dev.is_none_or(|dev| route.dev == dev);
            first &= !hit;
            hit
        };
        let family = family(dst.addr());
        self.change += 1;
        if self.main[family].remove_where(&mut gone) + self.local[family].remove_where(&mut gone)
            == 0
        {
            return Err(Errno::NoProcess);
        }
        Ok(())
    }

    pub(super) fn remove_exact(&mut self, route: &Route) {
        self.table(route).remove_where(|other| other == route);
    }

    /// Takes away the routes of an interface: all, or with `keep_local` those of `main` only.
    pub(super) fn remove_dev(&mut self, dev: IfId, keep_local: bool) {
        self.change += 1;
        for table in &mut self.main {
            table.remove_where(|route| route.dev == dev);
        }
        if !keep_local {
            for table in &mut self.local {
                table.remove_where(|route| route.dev == dev);
            }
        }
    }

    /// The route to `addr` in `local`, that is if it is an address of this machine or a broadcast.
    #[must_use]
    pub fn local(&self, addr: IpAddr) -> Option<&Route> {
        self.local[family(addr)].matches(addr).next()
    }

    /// Whether `addr` is an address of this machine.
    #[must_use]
    pub fn is_local(&self, addr: IpAddr) -> bool {
        self.local(addr)
            .is_some_and(|route| route.kind == RouteKind::Local)
    }

    /// The best route of `main` to `addr`, only through `dev` if it is given.
    #[must_use]
    pub fn lookup(&self, addr: IpAddr, dev: Option<IfId>) -> Option<&Route> {
        self.main[family(addr)]
            .matches(addr)
            .find(|route| dev.is_none_or(|dev| route.dev == dev))
    }

    /// The routes of `main` of one family in the order of `ip route`: by destination, the default
    /// route first, longer prefixes behind shorter ones.
    #[must_use]
    pub fn main(&self, v6: bool) -> Vec<Route> {
        let mut routes: Vec<Route> = self.main[usize::from(v6)].routes().copied().collect();
        routes.sort_by_key(|route| {
            (
                !v6 && !route.is_default(),
                v6 && route.is_default(),
                bits(route.dst.addr()),
                route.dst.prefix_len(),
                route.metric,
            )
        });
        routes
    }

    /// The routes of `local` of one family.
    pub fn local_routes(&self, v6: bool) -> impl Iterator<Item = &Route> {
        self.local[usize::from(v6)].routes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_prefix_wins_and_then_the_metric() {
        let mut fib = Fib::default();
        let route = |dst, dev, metric| Route {
            metric,
            ..Route::on_link(net(dst), IfId(dev))
        };
        for r in [
            route("0.0.0.0/0", 1, 0),
            route("10.0.0.0/8", 2, 0),
            route("10.1.0.0/16", 3, 50),
            route("10.1.0.0/16", 4, 10),
            route("10.1.2.3/32", 5, 0),
        ] {
            fib.add(r).unwrap();
        }
        let dev = |addr| fib.lookup(ip(addr), None).unwrap().dev.0;
        assert_eq!(
            (
                dev("9.9.9.9"),
                dev("10.9.9.9"),
                dev("10.1.9.9"),
                dev("10.1.2.3")
            ),
            (1, 2, 4, 5)
        );
        assert_eq!(fib.lookup(ip("10.1.2.3"), Some(IfId(3))).unwrap().dev.0, 3);
        assert_eq!(fib.lookup(ip("::1"), None), None);
    }

    #[test]
    fn a_second_equal_route_is_refused_and_a_missing_one_not_found() {
        let mut fib = Fib::default();
        let route = Route::on_link(net("10.0.0.0/8"), IfId(2));
        fib.add(route).unwrap();
        assert_eq!(fib.add(route), Err(Errno::Exist));
        fib.remove(net("10.0.0.0/8"), None, None).unwrap();
        assert_eq!(
            fib.remove(net("10.0.0.0/8"), None, None),
            Err(Errno::NoProcess)
        );
        assert_eq!(fib.lookup(ip("10.0.0.1"), None), None);
        assert!(fib.main[0].lengths.is_empty());
    }

    #[test]
    fn a_prefix_can_be_local() {
        let mut fib = Fib::default();
        fib.add(Route::local(net("198.51.100.0/24"), IfId(1)))
            .unwrap();
        assert!(fib.is_local(ip("198.51.100.77")) && !fib.is_local(ip("198.51.101.1")));
    }

    proptest::proptest! {
        /// The table against a linear search.
        #[test]
        fn lookups_agree_with_a_linear_search(
            routes in proptest::collection::vec((0_u32..64, 0_u8..=32), 0..40),
            wanted in 0_u32..64,
        ) {
            let mut fib = Fib::default();
            let mut kept: Vec<Route> = Vec::new();
            for (i, (high, len)) in routes.into_iter().enumerate() {
                let addr = core::net::Ipv4Addr::from(high << 26 | high << 3);
                let dst = IpNet::new(addr.into(), len).unwrap();
                let route = Route::on_link(dst, IfId(i as u32));
                if fib.add(route).is_ok() {
                    kept.push(route);
                }
            }
            let addr = IpAddr::from(core::net::Ipv4Addr::from(wanted << 26 | wanted << 3));
            let best = kept.iter().filter(|r| r.dst.contains(&addr)).max_by_key(|r| r.dst.prefix_len());
            proptest::prop_assert_eq!(fib.lookup(addr, None), best);
        }
    }
}
