//! Where the host sends what is not for itself: by the longest prefix that one of its interfaces has, of
//! equal ones by the interface that had it first. The uplink is there before any bridge.

use core::net::IpAddr;

use ipnet::IpNet;

use crate::engine::Model;

/// By what the host leads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// The bridge at this position, with the host's address there.
    Bridge(usize, IpAddr),
    /// The uplink: a neighbour on its segment.
    Segment,
    /// An interface that leads nowhere.
    Beside,
    /// Nothing but the default route, if there is one.
    Default,
}

/// The longest of the prefixes that contain an address.
fn longest<'n>(nets: impl IntoIterator<Item = &'n IpNet>, address: IpAddr) -> Option<u8> {
    let nets = nets.into_iter();
    nets.filter(|net| net.contains(&address))
        .map(IpNet::prefix_len)
        .max()
}

impl Model<'_> {
    pub(crate) fn hop(&self, address: IpAddr) -> Hop {
        let host_length = if address.is_ipv6() { 128 } else { 32 };
        let mut known = [&self.machine.lan, &self.machine.router].into_iter();
        // Who is on the segment but in none of its prefixes has a route of its own.
        let alone = known
            .any(|all| all.contains(&address))
            .then_some(host_length);
        let segment = longest(&self.machine.uplink, address).or(alone);
        let beside = longest(&self.machine.others, address);
        let bridges = self.nets.iter().enumerate().filter_map(|(at, net)| {
            let own = net.host_address(address.is_ipv6())?;
            Some((longest(net.subnets, address)?, Hop::Bridge(at, own)))
        });
        let own = [(segment, Hop::Segment), (beside, Hop::Beside)];
        own.into_iter()
            .filter_map(|(length, hop)| Some((length?, hop)))
            .chain(bridges)
            .fold((0, Hop::Default), |best, other| match other.0 > best.0 {
                true => other,
                false => best,
            })
            .1
    }

    /// What the host answers comes back to whoever has sent by this bridge, or by the uplink.
    pub(crate) fn answers_come_back(&self, bridge: Option<usize>, source: IpAddr) -> bool {
        match (self.hop(source), bridge) {
            (Hop::Bridge(there, _), Some(here)) => there == here,
            (Hop::Segment | Hop::Default, None) => true,
            _ => false,
        }
    }
}
