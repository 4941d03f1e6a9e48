//! Routes that somebody adds by hand: `ip route add NET via GATEWAY`, and `del`.

use core::net::IpAddr;

use ipnet::IpNet;

use super::Lab;
use crate::id::NsId;
use crate::netns::{Errno, Route};

impl Lab {
    /// Adds a route to `destination` through a gateway that is on a link of the namespace.
    ///
    /// # Errors
    /// [`Errno::NetUnreach`] if there is no such namespace or the gateway is on no link of it;
    /// [`Errno::Exist`] if there is such a route.
    pub fn route_add(&mut self, ns: NsId, destination: IpNet, via: IpAddr) -> Result<(), Errno> {
        let netns = self.net.ns(ns).ok_or(Errno::NetUnreach)?;
        let link = netns.route_get(via).ok_or(Errno::NetUnreach)?;
        let route = Route::through(destination, via, link.dev);
        let added = self.net.with_ns(ns, |netns, _| netns.route_add(route));
        added.unwrap_or(Err(Errno::NetUnreach))
    }

    /// Takes away the first route to `destination` through `via`.
    ///
    /// # Errors
    /// [`Errno::NoProcess`] if there is none.
    pub fn route_del(&mut self, ns: NsId, destination: IpNet, via: IpAddr) -> Result<(), Errno> {
        let deleted = self.net.with_ns(ns, |netns, _| {
            netns.route_del(destination.trunc(), Some(via), None)
        });
        deleted.unwrap_or(Err(Errno::NoProcess))
    }
}
