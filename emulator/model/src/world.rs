//! What is around the host: the uplink's segment, the router, the internet.

use core::net::IpAddr;

use crate::call::{Call, Origin};
use crate::engine::{Carrier, Model, Net, Port, Sandbox, Site};
use crate::gateway::Way;
use crate::outcome::{End, Outcome, Reach, Reason, Transport, Via};
use crate::route::Hop;

/// The port of the router's resolver.
const DOMAIN: u16 = 53;

impl Model<'_> {
    pub(crate) fn on_segment(&self, address: IpAddr) -> bool {
        let known = [&self.machine.lan, &self.machine.router];
        self.machine.uplink.iter().any(|own| own.contains(&address))
            || known.iter().any(|all| all.contains(&address))
    }

    /// An address of the host's that the segment finds: the host answers for every IPv4 address that it has.
    fn is_heard(&self, address: IpAddr) -> bool {
        let asked = address.is_ipv4() && self.on_segment(address);
        self.is_uplink_address(address) || (asked && self.is_host_address(address))
    }

    fn is_lan(&self, address: IpAddr) -> bool {
        self.machine.lan.contains(&address)
    }

    fn is_internet(&self, address: IpAddr) -> bool {
        self.machine.internet_own.contains(&address)
            || self
                .machine
                .internet
                .iter()
                .any(|net| net.contains(&address))
    }

    fn is_router(&self, address: IpAddr) -> bool {
        self.machine.router.contains(&address) && !self.is_lan(address)
    }

    /// The next hop of the host's default route.
    pub(crate) fn router(&self, v6: bool) -> Option<IpAddr> {
        let mut routers = self.machine.router.iter().copied();
        let leads_out = self.machine.leads_out[usize::from(v6)];
        routers.find(|address| leads_out && address.is_ipv6() == v6)
    }

    /// Out of the host by its uplink. Without `source` it is the host's own call.
    pub(crate) fn leave(&self, origin: Origin, source: Option<IpAddr>, call: &Call) -> Outcome {
        let v6 = call.v6();
        let own = self.uplink_source(call.to);
        let hop = self.hop(call.to);
        let beside = hop == Hop::Beside;
        let routed = hop == Hop::Segment || self.router(v6).is_some();
        let (Some(own), true, false) = (own, routed, beside) else {
            let filters = !v6 || self.filters_v6();
            if let Origin::Net(net) = origin
                && beside
                && self.nets[net].internal
                && filters
            {
                return Outcome::silent(Reason::Internal, Via::Routed);
            }
            let (reach, reason) = match beside {
                true => (Reach::HostUnreachable, Reason::NobodyThere),
                false => (Reach::NetUnreachable, Reason::NoRoute),
            };
            return match origin {
                Origin::Host if !beside => Outcome::fails(reach, reason, Via::Routed),
                _ => Outcome::undeliverable(reach, reason, Via::Routed, call.transport),
            };
        };
        let (seen, back) = match (origin, source) {
            (Origin::Net(net), Some(source)) => {
                let filters = !v6 || self.filters_v6();
                if self.nets[net].internal && filters {
                    return Outcome::silent(Reason::Internal, Via::Routed);
                }
                if self.masquerades(net, v6) {
                    (own, true)
                } else {
                    // 28.0 on drops what comes back to the container's own address.
                    let dropped = filters && self.guards_own_addresses(net, v6, Origin::Uplink);
                    (source, self.machine.lan_through_host && !dropped)
                }
            }
            // From the segment to somewhere behind it: the host sends it back, and again.
            (Origin::Uplink, _) => return Outcome::silent(Reason::NobodyThere, Via::Routed),
            _ => (own, true),
        };
        if self.is_child(call.to) {
            // The host and what shares its uplink do not hear each other.
            return Outcome::undeliverable(
                Reach::HostUnreachable,
                Reason::NobodyThere,
                Via::Routed,
                call.transport,
            );
        }
        // What a neighbour or a router says needs a way back; that nobody is there the host says itself.
        let outcome = self.on_uplink(seen, call);
        if back || outcome.reach == Reach::HostUnreachable {
            return outcome;
        }
        Outcome::silent(Reason::NoWayBack, Via::Routed)
    }

    /// On the segment: another machine there, the router, or what is behind it.
    fn on_uplink(&self, seen: IpAddr, call: &Call) -> Outcome {
        if self.is_lan(call.to) {
            return self.deliver(Site::Lan, call, seen, Via::Routed);
        }
        if self.is_router(call.to) {
            return self.at_router(seen, call);
        }
        if self.on_segment(call.to) {
            return Outcome::undeliverable(
                Reach::HostUnreachable,
                Reason::NobodyThere,
                Via::Routed,
                call.transport,
            );
        }
        if self.is_internet(call.to) {
            return self.deliver(Site::Internet, call, seen, Via::Routed);
        }
        if self.machine.lan_through_host {
            return Outcome::silent(Reason::NobodyThere, Via::Routed);
        }
        Outcome::undeliverable(
            Reach::NetUnreachable,
            Reason::NoRoute,
            Via::Routed,
            call.transport,
        )
    }

    /// The router answers pings and names.
    fn at_router(&self, seen: IpAddr, call: &Call) -> Outcome {
        let open = call.transport == Transport::Icmp || call.port == DOMAIN;
        Outcome {
            reach: if open { Reach::Open } else { Reach::Refused },
            reason: (!open).then_some(Reason::NobodyListens),
            by: Some(End::Internet),
            source: Some(seen),
            via: Via::Routed,
        }
    }

    /// A container's address on the uplink's segment.
    fn is_child(&self, address: IpAddr) -> bool {
        self.child(address).is_some()
    }

    fn child(&self, address: IpAddr) -> Option<usize> {
        Some(self.child_at(address)?.0)
    }

    /// That container, and the network that the address is on. Nobody answers for one in mode l3.
    fn child_at(&self, address: IpAddr) -> Option<(usize, usize)> {
        let shared = |port: &Port| self.nets[port.net].carrier == Carrier::Uplink;
        self.sandboxes.iter().enumerate().find_map(|(at, sandbox)| {
            let mut ports = sandbox.ports.iter();
            let port = ports.find(|port| shared(port) && port.has(address))?;
            Some((at, port.net))
        })
    }

    /// From a container without neighbours: to whoever shares the interface likewise straight. All else leaves by
    /// the host's routes, and does not come back: nobody answers for the container's address on the segment.
    pub(crate) fn call_routed(&self, net: usize, source: IpAddr, call: &Call) -> Outcome {
        let own = &self.nets[net];
        let shares = |port: &Port| {
            let other = &self.nets[port.net];
            let uplink = |net: &Net<'_>| net.carrier == Carrier::UplinkRouted;
            other.routed && (port.net == net || (uplink(own) && uplink(other)))
        };
        let found = self.sandboxes.iter().position(|sandbox| {
            let mut ports = sandbox.ports.iter();
            ports.any(|port| shares(port) && port.has(call.to))
        });
        let Some(at) = found.filter(|_| !own.apart) else {
            return Outcome::silent(Reason::NoWayBack, Via::Routed);
        };
        let sandbox = &self.sandboxes[at];
        let mut ports = sandbox.ports.iter();
        let on_link = ports
            .find(|port| port.address(call.v6()).is_some() && self.nets[port.net].contains(source));
        if !on_link
            .or_else(|| sandbox.route(call.v6()))
            .is_some_and(shares)
        {
            return Outcome::silent(Reason::NoWayBack, Via::Routed);
        }
        self.deliver(Site::Sandbox(at), call, source, Via::Routed)
    }

    /// To a container that shares the uplink, from elsewhere on the segment or from behind the router.
    fn deliver_child(&self, at: usize, call: &Call, seen: IpAddr) -> Outcome {
        let sandbox = &self.sandboxes[at];
        let v6 = seen.is_ipv6();
        let on_link = sandbox
            .ports
            .iter()
            .any(|port| port.address(v6).is_some() && self.nets[port.net].contains(seen));
        if on_link || self.leads_out(sandbox, v6) {
            return self.deliver(Site::Sandbox(at), call, seen, Via::Routed);
        }
        Outcome::silent(Reason::NoWayBack, Via::Routed)
    }

    /// The default route leads to the router, or to the host, which has not seen the question and lets the
    /// answer pass.
    fn leads_out(&self, sandbox: &Sandbox<'_>, v6: bool) -> bool {
        let Some(port) = sandbox.route(v6) else {
            return false;
        };
        let net = &self.nets[port.net];
        let Some(Way::Via(gateway)) = net.way(self.engine, v6) else {
            return false;
        };
        match net.carrier {
            Carrier::Bridge => {
                let filtered = net.internal && (!v6 || self.filters_v6());
                !filtered && net.host_address(v6) == Some(gateway)
            }
            Carrier::Uplink => self.machine.router.contains(&gateway),
            Carrier::UplinkRouted | Carrier::Own => false,
        }
    }

    /// From a container that shares the uplink, to an address that it takes for a neighbour's.
    pub(crate) fn call_on_segment(&self, net: usize, source: IpAddr, call: &Call) -> Outcome {
        let heard = |other: &(usize, usize)| !self.nets[net].apart && !self.nets[other.1].apart;
        if let Some((other, _)) = self.child_at(call.to).filter(heard) {
            return self.deliver(Site::Sandbox(other), call, source, Via::Routed);
        }
        if self.is_uplink_address(call.to) {
            return Outcome::undeliverable(
                Reach::HostUnreachable,
                Reason::NobodyThere,
                Via::Routed,
                call.transport,
            );
        }
        if !(self.is_lan(call.to) || self.is_router(call.to)) {
            return Outcome::undeliverable(
                Reach::HostUnreachable,
                Reason::NobodyThere,
                Via::Routed,
                call.transport,
            );
        }
        if !self.on_segment(source) {
            return Outcome::silent(Reason::NoWayBack, Via::Routed);
        }
        self.on_uplink(source, call)
    }

    /// From a container that shares the uplink, by its default route.
    pub(crate) fn call_from_segment(
        &self,
        net: usize,
        source: IpAddr,
        call: &Call,
        way: Way,
    ) -> Outcome {
        let Way::Via(gateway) = way else {
            return self.call_on_segment(net, source, call);
        };
        if !self.machine.router.contains(&gateway) {
            return Outcome::undeliverable(
                Reach::HostUnreachable,
                Reason::NobodyThere,
                Via::Routed,
                call.transport,
            );
        }
        if self.is_uplink_address(call.to) {
            // Through the router the host hears it, and answers on the segment, where it is not heard.
            return Outcome::silent(Reason::NoWayBack, Via::Routed);
        }
        if !self.on_segment(source) {
            return Outcome::silent(Reason::NoWayBack, Via::Routed);
        }
        self.on_uplink(source, call)
    }

    pub(crate) fn call_from_lan(&self, call: &Call) -> Outcome {
        if call.to.is_loopback() || self.is_lan(call.to) {
            return self.deliver(Site::Lan, call, call.to, Via::Loopback);
        }
        let own = self.machine.lan.iter().copied();
        let Some(own) = own.clone().find(|own| own.is_ipv6() == call.v6()) else {
            return Outcome::fails(Reach::NetUnreachable, Reason::NoRoute, Via::Routed);
        };
        if let Some(child) = self.child(call.to).filter(|_| self.on_segment(call.to)) {
            return self.deliver_child(child, call, own);
        }
        let through_host = self.machine.lan_through_host && !self.on_segment(call.to);
        if self.is_heard(call.to) || through_host {
            return self.enter_host(Origin::Uplink, own, call);
        }
        self.on_uplink(own, call)
    }

    /// From `lan`, which has a route to the address through the host.
    pub(crate) fn call_by_route(&self, call: &Call) -> Outcome {
        let mut own = self.machine.lan.iter().copied();
        match own.find(|own| own.is_ipv6() == call.v6()) {
            Some(own) => self.enter_host(Origin::Uplink, own, call),
            None => Outcome::fails(Reach::NetUnreachable, Reason::NoRoute, Via::Routed),
        }
    }

    pub(crate) fn call_from_internet(&self, call: &Call) -> Outcome {
        if call.to.is_loopback() || self.is_internet(call.to) {
            return self.deliver(Site::Internet, call, call.to, Via::Loopback);
        }
        let mut own = self.machine.internet_own.iter().copied();
        let Some(own) = own.find(|own| own.is_ipv6() == call.v6()) else {
            return Outcome::fails(Reach::NetUnreachable, Reason::NoRoute, Via::Routed);
        };
        if self.is_heard(call.to) {
            // Without a default route the host has no answer for it.
            return match self.router(call.v6()) {
                Some(_) => self.enter_host(Origin::Uplink, own, call),
                None => Outcome::silent(Reason::NoWayBack, Via::Routed),
            };
        }
        if let Some(child) = self.child(call.to).filter(|_| self.on_segment(call.to)) {
            return self.deliver_child(child, call, own);
        }
        self.on_uplink(own, call)
    }
}
