//! The routing tables of a namespace: `local` before `main`, longest prefix, then lowest metric.
//!
//! After Linux's fib_trie and ip6_fib, as `ip route` shows them. A table is one sorted vector for
//! each family, so that a lookup is two binary searches per prefix length: a host with a thousand bridges has
//! about five lengths. Left out: policy rules, multipath, nexthop objects,
//! types of service.

use core::cmp::Reverse;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use switch::IfId;

use super::Room;
use super::addr::{bits, masked};
use super::errno::Errno;

/// So few routes are looked through one by one.
const FEW: usize = 8;

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

/// An address of one family.
trait Address: Copy + Eq {
    /// What it is compared by.
    type Bits: Ord;
    /// It, if it is of this family.
    fn of(addr: IpAddr) -> Option<Self>;
    fn ip(self) -> IpAddr;
    fn bits(self) -> Self::Bits;
    /// Its first `len` bits.
    fn masked(self, len: u8) -> Self;
}

impl Address for Ipv4Addr {
    type Bits = u32;

    fn of(addr: IpAddr) -> Option<Self> {
        match addr {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        }
    }

    fn ip(self) -> IpAddr {
        self.into()
    }

    fn bits(self) -> Self::Bits {
        self.to_bits()
    }

    fn masked(self, len: u8) -> Self {
        let rest = 32_u32.saturating_sub(len.into());
        Self::from_bits(self.to_bits() & u32::MAX.checked_shl(rest).unwrap_or(0))
    }
}

impl Address for Ipv6Addr {
    type Bits = u128;

    fn of(addr: IpAddr) -> Option<Self> {
        match addr {
            IpAddr::V6(v6) => Some(v6),
            IpAddr::V4(_) => None,
        }
    }

    fn ip(self) -> IpAddr {
        self.into()
    }

    fn bits(self) -> Self::Bits {
        self.to_bits()
    }

    fn masked(self, len: u8) -> Self {
        Self::from_bits(masked(self.to_bits(), len))
    }
}

/// Gateway and preferred source: most routes have one of them at most, of their own family.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Means<A> {
    Neither,
    Via(A),
    Source(A),
    Both(Box<[Option<IpAddr>; 2]>),
}

impl<A: Address> Means<A> {
    fn of(via: Option<IpAddr>, src: Option<IpAddr>) -> Self {
        match (via, src, via.and_then(A::of), src.and_then(A::of)) {
            (None, None, ..) => Self::Neither,
            (Some(_), None, Some(via), _) => Self::Via(via),
            (None, Some(_), _, Some(src)) => Self::Source(src),
            _ => Self::Both(Box::new([via, src])),
        }
    }

    fn via_and_src(&self) -> [Option<IpAddr>; 2] {
        match self {
            Self::Neither => [None; 2],
            Self::Via(via) => [Some(via.ip()), None],
            Self::Source(src) => [None, Some(src.ip())],
            Self::Both(both) => **both,
        }
    }
}

/// A route as it is kept: of one family, half as long. Two that are equal are equal routes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry<A> {
    /// Truncated.
    dst: A,
    len: u8,
    kind: RouteKind,
    proto: RouteProto,
    dev: IfId,
    metric: u32,
    means: Means<A>,
}

impl<A: Address> Entry<A> {
    fn new(dst: A, route: &Route) -> Self {
        Self {
            dst,
            len: route.dst.prefix_len(),
            kind: route.kind,
            proto: route.proto,
            dev: route.dev,
            metric: route.metric,
            means: Means::of(route.via, route.src),
        }
    }

    fn route(&self) -> Route {
        let [via, src] = self.means.via_and_src();
        Route {
            // The length was that of a network.
            dst: IpNet::new_assert(self.dst.ip(), self.len),
            via,
            dev: self.dev,
            metric: self.metric,
            src,
            kind: self.kind,
            proto: self.proto,
        }
    }

    /// Longer prefixes come first.
    fn place(&self) -> (Reverse<u8>, A::Bits) {
        (Reverse(self.len), self.dst.bits())
    }

    fn key(&self) -> (Reverse<u8>, A::Bits, u32) {
        (Reverse(self.len), self.dst.bits(), self.metric)
    }

    /// The same destinations.
    fn is_beside(&self, other: &Self) -> bool {
        self.len == other.len && self.dst == other.dst
    }
}

/// One table of one family.
#[derive(Debug)]
struct Table<A>(Vec<Entry<A>>);

impl<A> Default for Table<A> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<A: Address> Table<A> {
    /// Where an entry comes to stand: behind those that are equal.
    fn behind(&self, entry: &Entry<A>) -> usize {
        self.0.partition_point(|e| e.key() <= entry.key())
    }

    /// Adds an entry if `clashes` says of none to the same destinations that both cannot be.
    fn add(&mut self, entry: Entry<A>, clashes: impl Fn(&Entry<A>, &Entry<A>) -> bool) -> bool {
        let first = self.0.partition_point(|e| e.place() < entry.place());
        let mut beside = self.0[first..].iter().take_while(|e| e.is_beside(&entry));
        let taken = beside.any(|e| clashes(e, &entry));
        if !taken {
            self.0.insert(self.behind(&entry), entry);
        }
        !taken
    }

    /// Adds an entry unless the same one is there.
    fn append(&mut self, entry: Entry<A>) {
        let behind = self.behind(&entry);
        let before = self.0[..behind].iter().rev();
        let mut equals = before.take_while(|e| e.is_beside(&entry) && e.metric == entry.metric);
        if !equals.any(|e| *e == entry) {
            self.0.insert(behind, entry);
        }
    }

    /// Takes away those to `dst` of which `gone` says so; how many.
    fn remove_where(&mut self, dst: A, len: u8, mut gone: impl FnMut(&Route) -> bool) -> usize {
        let before = self.0.len();
        (self.0).retain(|e| e.len != len || e.dst != dst || !gone(&e.route()));
        before - self.0.len()
    }

    /// The first that matches and fits, longest prefix first.
    fn find(&self, addr: A, fits: impl Fn(&Entry<A>) -> bool) -> Option<&Entry<A>> {
        if self.0.len() <= FEW {
            let mut all = self.0.iter();
            return all.find(|e| e.dst == addr.masked(e.len) && fits(e));
        }
        self.find_among_many(addr, fits)
    }

    fn find_among_many(&self, addr: A, fits: impl Fn(&Entry<A>) -> bool) -> Option<&Entry<A>> {
        let mut left = self.0.as_slice();
        while let Some(longest) = left.first() {
            let (len, wanted) = (longest.len, addr.masked(longest.len));
            let (of_len, rest) = left.split_at(left.partition_point(|e| e.len == len));
            let at = of_len.partition_point(|e| e.dst.bits() < wanted.bits());
            let mut found = of_len[at..].iter().take_while(|e| e.dst == wanted);
            if let Some(entry) = found.find(|e| fits(e)) {
                return Some(entry);
            }
            left = rest;
        }
        None
    }
}

/// A table of both families.
#[derive(Debug, Default)]
struct Tables {
    v4: Table<Ipv4Addr>,
    v6: Table<Ipv6Addr>,
}

impl Tables {
    /// With room for so many routes of each family.
    fn with_room(v4: usize, v6: usize) -> Self {
        Self {
            v4: Table(Vec::with_capacity(v4)),
            v6: Table(Vec::with_capacity(v6)),
        }
    }

    /// Whether it could be added. IPv6 has several routes to the same destinations.
    fn add(&mut self, route: &Route) -> bool {
        match route.dst.addr() {
            IpAddr::V4(dst) => (self.v4).add(Entry::new(dst, route), |a, b| a.metric == b.metric),
            IpAddr::V6(dst) => (self.v6).add(Entry::new(dst, route), |a, b| {
                let [via, _] = a.means.via_and_src();
                a.metric == b.metric && a.dev == b.dev && via == b.means.via_and_src()[0]
            }),
        }
    }

    fn append(&mut self, route: &Route) {
        match route.dst.addr() {
            IpAddr::V4(dst) => self.v4.append(Entry::new(dst, route)),
            IpAddr::V6(dst) => self.v6.append(Entry::new(dst, route)),
        }
    }

    fn remove_where(&mut self, dst: IpNet, gone: impl FnMut(&Route) -> bool) -> usize {
        match dst {
            IpNet::V4(dst) => self.v4.remove_where(dst.addr(), dst.prefix_len(), gone),
            IpNet::V6(dst) => self.v6.remove_where(dst.addr(), dst.prefix_len(), gone),
        }
    }

    fn remove_dev(&mut self, dev: IfId) {
        self.v4.0.retain(|entry| entry.dev != dev);
        self.v6.0.retain(|entry| entry.dev != dev);
    }

    /// The best route, only through `dev` if it is given.
    fn find(&self, addr: IpAddr, dev: Option<IfId>) -> Option<Route> {
        let fits = |own: IfId| dev.is_none_or(|dev| dev == own);
        match addr {
            IpAddr::V4(addr) => self.v4.find(addr, |e| fits(e.dev)).map(Entry::route),
            IpAddr::V6(addr) => self.v6.find(addr, |e| fits(e.dev)).map(Entry::route),
        }
    }

    fn routes(&self, v6: bool) -> impl Iterator<Item = Route> {
        let (v4, v6): (&[_], &[_]) = if v6 {
            (&[], &self.v6.0)
        } else {
            (&self.v4.0, &[])
        };
        v4.iter()
            .map(Entry::route)
            .chain(v6.iter().map(Entry::route))
    }
}

/// All tables of a namespace.
#[derive(Debug, Default)]
pub struct Fib {
    local: Tables,
    main: Tables,
    change: u64,
    /// A route was taken away.
    has_lost: bool,
}

impl Fib {
    /// With room for the routes of one IPv4 address an interface and two of IPv6, of `lo`, and for a default route.
    pub(super) fn with_room(room: Room) -> Self {
        let Room { v4, v6, .. } = room;
        let with_default = |routes: usize| routes + usize::from(routes > 0);
        Self {
            local: Tables::with_room(1 + 2 * v4, 1 + 2 * v6),
            main: Tables::with_room(with_default(v4), with_default(2 * v6)),
            ..Self::default()
        }
    }

    /// A number that changes whenever a route may have changed.
    pub(super) const fn change(&self) -> u64 {
        self.change
    }

    /// Whether a route was ever taken away: if not, each that an address brought is there.
    pub(super) const fn has_lost(&self) -> bool {
        self.has_lost
    }

    /// The table of a route, to change.
    fn table(&mut self, route: &Route) -> &mut Tables {
        self.change += 1;
        match route.kind {
            RouteKind::Broadcast | RouteKind::Local => &mut self.local,
            RouteKind::Multicast | RouteKind::Unicast => &mut self.main,
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
        match self.table(&route).add(&route) {
            true => Ok(()),
            false => Err(Errno::Exist),
        }
    }

    /// Adds a route of the kernel's own, equal ones allowed behind it (as `NLM_F_APPEND`).
    pub(super) fn append(&mut self, route: Route) {
        let route = Route {
            dst: route.dst.trunc(),
            ..route
        };
        self.table(&route).append(&route);
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
                && via.is_none_or(|via| route.via == Some(via))
                && dev.is_none_or(|dev| route.dev == dev);
            first &= !hit;
            hit
        };
        self.change += 1;
        self.has_lost = true;
        if self.main.remove_where(dst, &mut gone) + self.local.remove_where(dst, &mut gone) == 0 {
            return Err(Errno::NoProcess);
        }
        Ok(())
    }

    pub(super) fn remove_exact(&mut self, route: &Route) {
        let dst = route.dst.trunc();
        self.has_lost = true;
        self.table(route).remove_where(dst, |other| other == route);
    }

    /// Takes away the routes of an interface: all, or with `keep_local` those of `main` only.
    pub(super) fn remove_dev(&mut self, dev: IfId, keep_local: bool) {
        self.change += 1;
        self.has_lost = true;
        self.main.remove_dev(dev);
        if !keep_local {
            self.local.remove_dev(dev);
        }
    }

    /// The route to `addr` in `local`, that is if it is an address of this machine or a broadcast.
    #[must_use]
    pub fn local(&self, addr: IpAddr) -> Option<Route> {
        self.local.find(addr, None)
    }

    /// Whether `addr` is an address of this machine.
    #[must_use]
    pub fn is_local(&self, addr: IpAddr) -> bool {
        let kind = match addr {
            IpAddr::V4(addr) => self.local.v4.find(addr, |_| true).map(|e| e.kind),
            IpAddr::V6(addr) => self.local.v6.find(addr, |_| true).map(|e| e.kind),
        };
        kind == Some(RouteKind::Local)
    }

    /// The best route of `main` to `addr`, only through `dev` if it is given.
    #[must_use]
    pub fn lookup(&self, addr: IpAddr, dev: Option<IfId>) -> Option<Route> {
        self.main.find(addr, dev)
    }

    /// The routes of `main` of one family in the order of `ip route`: by destination, the default
    /// route first, longer prefixes behind shorter ones.
    #[must_use]
    pub fn main(&self, v6: bool) -> Vec<Route> {
        let mut routes: Vec<Route> = self.main.routes(v6).collect();
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

    /// The same in the order in which they are kept.
    pub(super) fn main_kept(&self, v6: bool) -> impl Iterator<Item = Route> {
        self.main.routes(v6)
    }

    /// The routes of `local` of one family.
    pub fn local_routes(&self, v6: bool) -> impl Iterator<Item = Route> {
        self.local.routes(v6)
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
        assert!(fib.main.v4.0.is_empty());
    }

    /// A route is read as it was added, whatever it has for gateway and source.
    #[test]
    fn routes_are_kept_whole() {
        let ends = [None, Some(ip("192.0.2.1")), Some(ip("2001:db8::1"))];
        for dst in ["10.0.0.0/8", "0.0.0.0/0", "fd00::/7", "::1/128"].map(net) {
            for (via, src) in ends.iter().flat_map(|via| ends.map(|src| (*via, src))) {
                let route = Route {
                    via,
                    src,
                    metric: 7,
                    proto: RouteProto::Static,
                    ..Route::on_link(dst, IfId(3))
                };
                let mut fib = Fib::default();
                fib.add(route).unwrap();
                assert_eq!(fib.lookup(dst.addr(), None), Some(route));
                assert_eq!(fib.main(dst.addr().is_ipv6()), [route]);
            }
        }
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
                let addr = Ipv4Addr::from(high << 26 | high << 3);
                let dst = IpNet::new(addr.into(), len).unwrap();
                let route = Route::on_link(dst, IfId(i as u32));
                if fib.add(route).is_ok() {
                    kept.push(route);
                }
            }
            let addr = IpAddr::from(Ipv4Addr::from(wanted << 26 | wanted << 3));
            let best = kept.iter().filter(|r| r.dst.contains(&addr)).max_by_key(|r| r.dst.prefix_len());
            proptest::prop_assert_eq!(fib.lookup(addr, None), best.copied());
        }
    }
}
