//! The route by which another machine on the uplink's segment reaches a container's own address: to the
//! container's network, through the host. Nobody has it unasked; whoever is on the segment may add it.

use core::net::IpAddr;

use emulator_core::id::NsId;
use emulator_core::lab::Lab;
use emulator_core::netns::Errno;
use ipnet::IpNet;

use super::Carrier;

/// A route through the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    to: IpNet,
    via: IpAddr,
}

impl Route {
    /// To the network that carries an address; none where the host has no address on that network, as what
    /// shares the uplink, which needs no route. `uplink` are the host's own addresses there.
    pub(super) fn through_host(
        carrier: &Carrier,
        uplink: &[IpAddr],
        address: IpAddr,
    ) -> Option<Self> {
        let v6 = address.is_ipv6();
        let own = |addresses: &[IpAddr]| addresses.iter().copied().find(|own| own.is_ipv6() == v6);
        own(&carrier.gateways)?;
        let mut subnets = carrier.subnets.iter();
        let to = subnets.find_map(|subnet| {
            let subnet: IpNet = subnet.parse().ok()?;
            subnet.contains(&address).then_some(subnet)
        })?;
        Some(Self {
            to,
            via: own(uplink)?,
        })
    }

    /// Gives it to a namespace.
    ///
    /// # Errors
    /// As [`Lab::route_add`].
    pub(super) fn add(self, lab: &mut Lab, ns: NsId) -> Result<(), Errno> {
        lab.route_add(ns, self.to, self.via)
    }

    /// Takes it away again.
    pub(super) fn del(self, lab: &mut Lab, ns: NsId) {
        // It was added before.
        let _there = lab.route_del(ns, self.to, self.via);
    }
}
