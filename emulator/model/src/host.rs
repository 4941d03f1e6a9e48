//! What the host does with what reaches it: its own sockets, published ports, and the way into a bridge.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::assigned::Publication;
use crate::call::{Call, Origin};
use crate::engine::{Carrier, Mode, Model, Sandbox, Site};
use crate::gateway::Way;
use crate::outcome::{End, Outcome, Reach, Reason, Transport, Via};
use crate::route::Hop;
use crate::rules::Rule;

/// A published port and where it leads.
#[derive(Clone, Copy, Debug)]
struct Door<'m> {
    publication: &'m Publication,
    /// The container's address on the network of its default route.
    target: IpAddr,
    /// That network, by position.
    net: usize,
}

impl<'a> Model<'a> {
    /// The host's addresses of a bridge, of the uplink, or of another interface.
    pub(crate) fn is_host_address(&self, address: IpAddr) -> bool {
        self.is_uplink_address(address)
            || self.machine.others.iter().any(|own| own.addr() == address)
            || self
                .nets
                .iter()
                .any(|net| net.host_address(address.is_ipv6()) == Some(address))
    }

    pub(crate) fn is_uplink_address(&self, address: IpAddr) -> bool {
        self.machine.uplink.iter().any(|own| own.addr() == address)
    }

    /// The first of the host's addresses on its uplink.
    pub(crate) fn uplink_address(&self, v6: bool) -> Option<IpAddr> {
        let mut own = self.machine.uplink.iter().map(ipnet::IpNet::addr);
        own.find(|address| address.is_ipv6() == v6)
    }

    /// The source address of what the host itself sends by its uplink: the one in whose subnet the next hop is;
    /// of IPv6 the one that has most in common with the destination.
    pub(crate) fn uplink_source(&self, to: IpAddr) -> Option<IpAddr> {
        let first = self.uplink_address(to.is_ipv6())?;
        let same = self
            .machine
            .uplink
            .iter()
            .filter(|own| own.addr().is_ipv6() == to.is_ipv6());
        let IpAddr::V6(to) = to else {
            let hop = if self.on_segment(to) {
                Some(to)
            } else {
                self.router(false)
            };
            let own = hop.and_then(|hop| same.clone().find(|own| own.contains(&hop)));
            return Some(own.map_or(first, ipnet::IpNet::addr));
        };
        let common = |address: IpAddr| match address {
            IpAddr::V6(own) => (own.to_bits() ^ to.to_bits()).leading_zeros(),
            IpAddr::V4(_) => 0,
        };
        let better = |best: IpAddr, other: IpAddr| match common(other) > common(best) {
            true => other,
            false => best,
        };
        Some(same.map(ipnet::IpNet::addr).fold(first, better))
    }

    pub(crate) fn call_from_host(&self, call: &Call) -> Outcome {
        if call.to.is_loopback() {
            let own = if call.v6() {
                IpAddr::V6(Ipv6Addr::LOCALHOST)
            } else {
                IpAddr::V4(Ipv4Addr::LOCALHOST)
            };
            return self.input(Origin::Host, own, call);
        }
        if self.is_host_address(call.to) {
            return self.input(Origin::Host, call.to, call);
        }
        match self.hop(call.to) {
            Hop::Bridge(net, own) => self.enter_bridge(Origin::Host, own, call, net, false),
            _ => self.leave(Origin::Host, None, call),
        }
    }

    /// Something comes in by a bridge or by the uplink.
    pub(crate) fn enter_host(&self, origin: Origin, source: IpAddr, call: &Call) -> Outcome {
        let back = self.answers_come_back(origin.bridge(), source);
        if !back && !self.is_answered_directly(origin, call) {
            return Outcome::silent(Reason::NoWayBack, Via::Routed);
        }
        if self.is_host_address(call.to) {
            return self.input(origin, source, call);
        }
        self.send_on(origin, source, call, false)
    }

    /// Who is called is a neighbour of who calls, too, and answers past the host.
    fn is_answered_directly(&self, origin: Origin, call: &Call) -> bool {
        let (Origin::Net(from), Hop::Bridge(net, _)) = (origin, self.hop(call.to)) else {
            return false;
        };
        let Some(target) = self.holder(net, call.to).filter(|_| net != from) else {
            return false;
        };
        let mut ports = self.sandboxes[target].ports.iter();
        let neighbour = ports.any(|port| port.net == from && port.address(call.v6()).is_some());
        neighbour && !self.masquerades(from, call.v6())
    }

    /// On to where the host's routes lead.
    fn send_on(&self, origin: Origin, source: IpAddr, call: &Call, translated: bool) -> Outcome {
        if !translated && self.is_guarded(origin, call) {
            return Outcome::silent(Reason::DirectAccess, Via::Routed);
        }
        match self.hop(call.to) {
            Hop::Bridge(net, _) => self.enter_bridge(origin, source, call, net, translated),
            _ => self.leave(origin, Some(source), call),
        }
    }

    /// For one of the host's addresses: a published port, or a socket of the host's.
    fn input(&self, origin: Origin, source: IpAddr, call: &Call) -> Outcome {
        if let Some(door) = self.door(call) {
            if self.translates(origin, &door, call) {
                let inner = call.redirected(door.target, door.publication.port);
                return self.send_on(origin, source, &inner, true);
            }
            if self.machine.userland_proxy && self.has(Rule::Proxy) {
                return self.proxied(origin, source, &door, call);
            }
            return self.held(call);
        }
        let via = match origin {
            Origin::Host => Via::Loopback,
            Origin::Net(net) if self.nets[net].contains(call.to) => {
                Via::Network(self.nets[net].name.to_owned())
            }
            Origin::Net(_) | Origin::Uplink => Via::Routed,
        };
        let seen = self.own_call_masqueraded(origin, call).unwrap_or(source);
        self.deliver(Site::Host, call, seen, via)
    }

    /// Nobody but the daemon has the port, and it reads nothing: 20.10 lets the kernel accept connections,
    /// 29 has a filter on its socket that drops them.
    fn held(&self, call: &Call) -> Outcome {
        if call.transport == Transport::Tcp && self.is_old() {
            return Outcome {
                reach: Reach::Open,
                reason: None,
                by: Some(End::Host),
                source: None,
                via: Via::Routed,
            };
        }
        Outcome::silent(Reason::NobodyListens, Via::Routed)
    }

    /// The host calls its own address on a bridge: what leaves that bridge's subnet by another
    /// interface is masqueraded, and loopback is another interface. An IPv6 address is the best one
    /// for itself.
    fn own_call_masqueraded(&self, origin: Origin, call: &Call) -> Option<IpAddr> {
        if origin != Origin::Host || call.v6() {
            return None;
        }
        let net = self.net_of(call.to)?;
        self.masquerades(net, false)
            .then(|| self.uplink_address(false))
            .flatten()
    }

    /// The published port that an address and port of the host are.
    fn door(&self, call: &Call) -> Option<Door<'_>> {
        let protocol = call.transport.protocol()?;
        let fits = |publication: &&Publication| {
            let ip = publication.host_ip;
            let bound = ip == call.to || (ip.is_unspecified() && ip.is_ipv6() == call.v6());
            let free = !self.has(Rule::Binding) && ip.is_ipv6() == call.v6();
            publication.host_port == call.port
                && publication.protocol == protocol
                && (bound || free)
        };
        self.sandboxes.iter().find_map(|sandbox| {
            let publication = sandbox.owner.published.iter().find(fits)?;
            let (target, net) = self.target(sandbox, publication.host_ip.is_ipv6())?;
            Some(Door {
                publication,
                target,
                net,
            })
        })
    }

    /// Where published ports of a family lead: the container's address on its way out. IPv6 leads to
    /// IPv4 if the container has no way out by IPv6.
    fn target(&self, sandbox: &Sandbox<'a>, v6: bool) -> Option<(IpAddr, usize)> {
        let by = |v6: bool| {
            let port = sandbox.way(v6)?;
            Some((port.address(v6)?, port.net))
        };
        if v6 {
            by(true).or_else(|| by(false))
        } else {
            by(false)
        }
    }

    /// The host's NAT takes it, before any socket does.
    fn translates(&self, origin: Origin, door: &Door<'_>, call: &Call) -> bool {
        if !self.has(Rule::Translation) || door.target.is_ipv6() != call.v6() {
            return false;
        }
        if call.v6() && !self.filters_v6() {
            return false;
        }
        let proxy = self.machine.userland_proxy;
        match origin {
            Origin::Host if call.to.is_loopback() => !proxy && !call.v6(),
            Origin::Host | Origin::Uplink => true,
            Origin::Net(_) if !proxy => true,
            // Its own bridge is left out; in 20.10 every bridge is that masquerades.
            Origin::Net(net) => {
                net != door.net && !(self.is_old() && self.masquerades(net, call.v6()))
            }
        }
    }

    /// docker-proxy has the port: it accepts, calls the container from the host, and copies.
    fn proxied(&self, origin: Origin, source: IpAddr, door: &Door<'_>, call: &Call) -> Outcome {
        let inner = call.redirected(door.target, door.publication.port);
        let outcome = match self.hop(door.target) {
            Hop::Bridge(net, own) => self.enter_bridge(Origin::Host, own, &inner, net, false),
            _ => Outcome::silent(Reason::NoRoute, Via::Proxy),
        };
        let via = Via::Proxy;
        let reach = match (outcome.is_open(), call.transport) {
            (true, Transport::Udp) if !self.answers_from(origin, source, door, call) => {
                return Outcome {
                    reach: Reach::Timeout,
                    reason: Some(Reason::OtherSource),
                    via,
                    ..outcome
                };
            }
            (true, _) => Reach::Open,
            (false, Transport::Tcp) => Reach::Closed,
            (false, _) => Reach::Timeout,
        };
        Outcome {
            reach,
            via,
            ..outcome
        }
    }

    /// docker-proxy's UDP socket answers from the address that it is bound to, else from the one that was
    /// asked (since 28.0), or that routing chooses towards the client; the client takes it only if that is
    /// whom it asked.
    fn answers_from(&self, origin: Origin, source: IpAddr, door: &Door<'_>, call: &Call) -> bool {
        if !self.is_old() || !door.publication.host_ip.is_unspecified() {
            return true;
        }
        match origin {
            Origin::Host => source == call.to,
            Origin::Net(net) => self.nets[net].host_address(call.v6()) == Some(call.to),
            Origin::Uplink => self.uplink_source(source) == Some(call.to),
        }
    }

    /// What leaves a bridge by another interface gets that one's address.
    pub(crate) fn masquerades(&self, net: usize, v6: bool) -> bool {
        let net = &self.nets[net];
        self.has(Rule::Masquerade)
            && net.masquerade
            && !net.internal
            && matches!(net.mode(v6), Mode::Nat | Mode::NatUnprotected)
            && (!v6 || self.filters_v6())
    }

    /// By the host into a bridge, to a container's address.
    fn enter_bridge(
        &self,
        origin: Origin,
        source: IpAddr,
        call: &Call,
        net: usize,
        translated: bool,
    ) -> Outcome {
        let via = match origin {
            _ if translated => Via::Translated,
            Origin::Host => Via::Network(self.nets[net].name.to_owned()),
            Origin::Net(_) | Origin::Uplink => Via::Routed,
        };
        if let Err(reason) = self.admits(origin, source, call, net, translated) {
            return Outcome::silent(reason, via);
        }
        let Some(at) = self.holder(net, call.to) else {
            return Outcome::undeliverable(
                Reach::HostUnreachable,
                Reason::NobodyThere,
                via,
                call.transport,
            );
        };
        let seen = self.seen_source(origin, source, call, net);
        if !self.has_way_back(&self.sandboxes[at], origin, seen, net, translated) {
            return Outcome::silent(Reason::NoWayBack, via);
        }
        self.deliver(Site::Sandbox(at), call, seen, via)
    }

    /// The filter in front of a bridge. What the host itself sends is not filtered.
    fn admits(
        &self,
        origin: Origin,
        source: IpAddr,
        call: &Call,
        net: usize,
        translated: bool,
    ) -> Result<(), Reason> {
        if call.v6() && !self.filters_v6() {
            return Ok(());
        }
        let target = &self.nets[net];
        let (rule, reason) = match origin {
            Origin::Host => return Ok(()),
            Origin::Net(from) if from == net => {
                let may = self.may_talk(net, source, call);
                return if may { Ok(()) } else { Err(Reason::IccOff) };
            }
            Origin::Net(from) if self.nets[from].internal || target.internal => {
                return Err(Reason::Internal);
            }
            Origin::Net(_) => (Rule::Isolation, Reason::Isolated),
            Origin::Uplink if target.internal => return Err(Reason::Internal),
            Origin::Uplink => (Rule::Entry, Reason::NotPublished),
        };
        let between = origin != Origin::Uplink;
        let published = self.is_published(net, call);
        if self.is_old() {
            let open = !self.has(rule) || (!between && (published || !self.machine.forward_drop));
            return if open { Ok(()) } else { Err(reason) };
        }
        let mode = target.mode(call.v6());
        let guarded = self.guards_own_addresses(net, call.v6(), origin);
        if guarded && !translated && self.has(Rule::DirectAccess) && published {
            return Err(if between {
                Reason::Isolated
            } else {
                Reason::DirectAccess
            });
        }
        let open = published
            || !self.has(rule)
            || mode == Mode::NatUnprotected
            || (mode == Mode::Routed && call.transport == Transport::Icmp);
        if open { Ok(()) } else { Err(reason) }
    }

    /// A container's own address that another interface leads to than the container's bridge: dropped all the
    /// same, before it is routed.
    fn is_guarded(&self, origin: Origin, call: &Call) -> bool {
        let (v6, to) = (call.v6(), call.to);
        let Some(net) = self.net_of(to).filter(|_| !v6 || self.filters_v6()) else {
            return false;
        };
        let elsewhere = !matches!(self.hop(to), Hop::Bridge(..)) && origin.bridge() != Some(net);
        elsewhere
            && !self.nets[net].internal
            && self.has(Rule::DirectAccess)
            && self.guards_own_addresses(net, v6, origin)
            && self.holder(net, to).is_some()
    }

    /// From 28.0 on what comes from elsewhere to a container's own address is dropped, published or not, unless
    /// the network trusts the interface.
    pub(crate) fn guards_own_addresses(&self, net: usize, v6: bool, by: Origin) -> bool {
        let interface = match by {
            Origin::Host => None,
            Origin::Net(from) => self.nets[from].interface,
            Origin::Uplink => self.machine.uplink_name.as_deref(),
        };
        let net = &self.nets[net];
        let guards = net.mode(v6) == Mode::Nat && !self.machine.allow_direct_routing;
        let trusted = interface.is_some_and(|name| net.trusted.contains(&name));
        !self.is_old() && guards && !trusted
    }

    /// A published port of a container, called at the container's own address.
    fn is_published(&self, net: usize, call: &Call) -> bool {
        let v6 = call.v6();
        self.sandboxes.iter().any(|sandbox| {
            self.target(sandbox, v6) == Some((call.to, net))
                && sandbox.owner.published.iter().any(|publication| {
                    publication.host_ip.is_ipv6() == v6
                        && publication.port == call.port
                        && Some(publication.protocol) == call.transport.protocol()
                })
        })
    }

    /// The source address as it leaves into a bridge.
    fn seen_source(&self, origin: Origin, source: IpAddr, call: &Call, net: usize) -> IpAddr {
        let v6 = call.v6();
        let Some(own) = self.nets[net].host_address(v6) else {
            return source;
        };
        let hidden = match origin {
            // To itself, back through the host.
            Origin::Net(from) if from == net => source == call.to,
            Origin::Net(from) => self.masquerades(from, v6),
            Origin::Host if !self.machine.userland_proxy => !v6 || self.filters_v6(),
            // The host has called its address on another bridge; or another machine's is in its subnet.
            Origin::Host | Origin::Uplink => match self.net_of(source) {
                Some(from) => from != net && self.masquerades(from, v6),
                None => false,
            },
        };
        if hidden { own } else { source }
    }

    /// Somebody on a network answers for an address; on a bridge the host for each IPv4 address of its own.
    fn is_neighbour(&self, net: usize, address: IpAddr) -> bool {
        let network = &self.nets[net];
        !network.is_bridge()
            || network.host_address(address.is_ipv6()) == Some(address)
            || (address.is_ipv4() && self.is_host_address(address))
            || self.holder(net, address).is_some()
    }

    /// The answer finds its way: on a network of the container's, or by its default route through the
    /// host, whose filter lets it pass.
    fn has_way_back(
        &self,
        sandbox: &Sandbox<'a>,
        origin: Origin,
        seen: IpAddr,
        net: usize,
        translated: bool,
    ) -> bool {
        let v6 = seen.is_ipv6();
        // Its own address as a source from outside is no source.
        if sandbox.has(seen) {
            return false;
        }
        let on_link = sandbox
            .ports
            .iter()
            .find(|port| port.address(v6).is_some() && self.nets[port.net].contains(seen));
        if let Some(port) = on_link {
            if !self.is_neighbour(port.net, seen) {
                return false;
            }
            let other = port.net != net;
            let net = &self.nets[port.net];
            // It asks for its neighbour with the address that was called, and the answer to that is not told from
            // others to the MAC that it shares.
            if other && net.shares_mac() && !v6 {
                return false;
            }
            // A client that was not masqueraded is a neighbour again, whom IPv6 does not find with ICC off.
            let icc = net.icc || net.lets_icmp_in(v6) || !self.has(Rule::Icc);
            let apart = v6 && self.filters_v6() && !icc;
            if apart && net.host_address(v6) != Some(seen) {
                return false;
            }
            // Past the host, on a segment that the two share, nobody translates back.
            // Where the host routes for the container it translates what comes back.
            let by_host = net.is_bridge() || net.routed;
            return by_host || !(translated || origin == Origin::Host);
        }
        let Some(port) = sandbox.route(v6) else {
            return false;
        };
        let back = &self.nets[port.net];
        if back.carrier == Carrier::UplinkRouted {
            return origin == Origin::Uplink;
        }
        if back.way(self.engine, v6) != back.host_address(v6).map(Way::Via) {
            return false;
        }
        match origin {
            Origin::Host => true,
            Origin::Uplink => port.net == net || !back.internal,
            // Not masqueraded: the answer is for the client's own address. 28.0 on drops that where it does
            // not come by the client's own bridge; before, bridges were isolated both ways.
            Origin::Net(from) => {
                from == port.net
                    || (v6 && !self.filters_v6())
                    || (!self.is_old()
                        && !self.guards_own_addresses(from, v6, Origin::Net(port.net)))
            }
        }
    }
}
