//! Which of its addresses a namespace speaks from.
//!
//! IPv4 after Linux's `inet_select_addr`: the primary address of the outgoing interface whose network
//! holds the next hop, else its first one, else a global address of another interface; 127.0.0.1 has
//! scope host and is never chosen for others. IPv6 after RFC 6724 §5, rules 1, 2, 5 and 8.

use core::cmp::Ordering;
use core::net::{IpAddr, Ipv6Addr};

use switch::IfId;

use super::addr::{Scope, bits};
use super::iface::Ifaces;

/// The address for packets that leave by `output` through `next_hop` to `destination`.
pub(super) fn source(
    ifaces: &Ifaces,
    output: IfId,
    next_hop: IpAddr,
    destination: IpAddr,
) -> Option<IpAddr> {
    match destination {
        IpAddr::V4(_) => source_v4(ifaces, output, next_hop),
        IpAddr::V6(v6) => source_v6(ifaces, output, v6),
    }
}

fn source_v4(ifaces: &Ifaces, output: IfId, next_hop: IpAddr) -> Option<IpAddr> {
    let own = ifaces.get(output).and_then(|iface| {
        let usable = || {
            iface
                .addrs
                .iter()
                .filter(|a| a.net.addr().is_ipv4() && a.scope() > Scope::Host)
        };
        usable()
            .find(|a| a.net.contains(&next_hop))
            .or_else(|| usable().next())
    });
    let other = || {
        ifaces
            .iter()
            .filter(|iface| iface.id != output && iface.up)
            .flat_map(|iface| &iface.addrs)
            .find(|a| a.net.addr().is_ipv4() && a.scope() == Scope::Global)
    };
    own.or_else(other).map(|a| a.net.addr())
}

fn source_v6(ifaces: &Ifaces, output: IfId, destination: Ipv6Addr) -> Option<IpAddr> {
    let scope = Scope::of(destination.into());
    let candidates = ifaces
        .iter()
        .filter(|iface| iface.up && (iface.id == output || scope == Scope::Global))
        .flat_map(|iface| iface.addrs.iter().map(move |a| (iface.id, a.net.addr())))
        .filter(|(id, addr)| {
            let own = Scope::of(*addr);
            addr.is_ipv6() && (own == Scope::Global || *id == output)
        });
    let mut best: Option<(IfId, IpAddr)> = None;
    for candidate in candidates {
        let better = best.is_none_or(|best| prefer(candidate, best, output, destination).is_gt());
        if better {
            best = Some(candidate);
        }
    }
    best.map(|(_, addr)| addr)
}

/// RFC 6724 §5: whether `a` is preferred over `b`.
fn prefer(a: (IfId, IpAddr), b: (IfId, IpAddr), output: IfId, destination: Ipv6Addr) -> Ordering {
    let wanted = IpAddr::from(destination);
    let same = (a.1 == wanted).cmp(&(b.1 == wanted));
    let reach = Scope::of(wanted);
    let by_scope = match Scope::of(a.1).cmp(&Scope::of(b.1)) {
        Ordering::Less if Scope::of(a.1) < reach => Ordering::Less,
        Ordering::Less => Ordering::Greater,
        Ordering::Greater if Scope::of(b.1) < reach => Ordering::Greater,
        Ordering::Greater => Ordering::Less,
        Ordering::Equal => Ordering::Equal,
    };
    let by_iface = (a.0 == output).cmp(&(b.0 == output));
    let common = |addr| (bits(addr) ^ bits(wanted)).leading_zeros();
    same.then(by_scope)
        .then(by_iface)
        .then(common(a.1).cmp(&common(b.1)))
}
