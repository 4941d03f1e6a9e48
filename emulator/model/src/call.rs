//! A call as it leaves whoever makes it: within its namespace, to a neighbour, or to a router.

use core::net::IpAddr;

use crate::assigned::Container;
use crate::engine::{Carrier, Model, Port, Sandbox, Site};
use crate::gateway::Way;
use crate::machine::Engine;
use crate::outcome::{End, Outcome, Reach, Reason, Transport, Via};
use crate::route::Hop;
use crate::rules::Rule;

/// What is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) to: IpAddr,
    pub(crate) port: u16,
    pub(crate) transport: Transport,
}

impl Call {
    pub(crate) const fn v6(&self) -> bool {
        self.to.is_ipv6()
    }

    /// The same call for another address and port.
    pub(crate) const fn redirected(&self, to: IpAddr, port: u16) -> Self {
        Self {
            to,
            port,
            transport: self.transport,
        }
    }
}

impl Model<'_> {
    pub(crate) fn call(&self, from: Site, call: &Call) -> Outcome {
        match from {
            Site::Sandbox(at) => self.call_from_sandbox(at, call),
            Site::Host => self.call_from_host(call),
            Site::Lan => self.call_from_lan(call),
            Site::Internet => self.call_from_internet(call),
        }
    }

    fn call_from_sandbox(&self, at: usize, call: &Call) -> Outcome {
        let sandbox = &self.sandboxes[at];
        let to = call.to;
        let no_v6 = call.v6() && sandbox.ports.iter().all(|port| port.v6.is_none());
        // 20.10 switches IPv6 off altogether where no network has it; later `::1` stays.
        if no_v6 && self.engine == Engine::V20_10 {
            return Outcome::fails(Reach::NoAddress, Reason::NoRoute, Via::Loopback);
        }
        if to.is_loopback() || sandbox.has(to) {
            return self.deliver(Site::Sandbox(at), call, to, Via::Loopback);
        }
        let on_link = sandbox.ports.iter().find_map(|port| {
            let source = port.address(call.v6())?;
            let net = &self.nets[port.net];
            net.contains(to).then_some((port, source))
        });
        if let Some((port, source)) = on_link {
            return self.call_neighbour(port, source, call);
        }
        let Some((port, way, source)) = self.way_out(sandbox, call.v6()) else {
            return Outcome::fails(Reach::NetUnreachable, Reason::NoRoute, Via::Routed);
        };
        let net = &self.nets[port.net];
        match net.carrier {
            _ if net.routed => self.call_routed(port.net, source, call),
            Carrier::Bridge if Some(way) == net.host_address(call.v6()).map(Way::Via) => {
                self.enter_host(Origin::Net(port.net), source, call)
            }
            Carrier::Uplink => self.call_from_segment(port.net, source, call, way),
            // Nobody has the address of that gateway.
            _ => Outcome::undeliverable(
                Reach::HostUnreachable,
                Reason::NobodyThere,
                Via::Routed,
                call.transport,
            ),
        }
    }

    /// The default route: whose it is, where it leads, and with which source address.
    fn way_out<'s>(&self, sandbox: &'s Sandbox<'_>, v6: bool) -> Option<(&'s Port, Way, IpAddr)> {
        let port = sandbox.route(v6)?;
        let way = self.nets[port.net].way(self.engine, v6)?;
        Some((port, way, port.address(v6)?))
    }

    /// On a network that the caller is on.
    fn call_neighbour(&self, port: &Port, source: IpAddr, call: &Call) -> Outcome {
        let net = &self.nets[port.net];
        if net.routed {
            return self.call_routed(port.net, source, call);
        }
        let via = Via::Network(net.name.to_owned());
        if net.carrier == Carrier::Bridge {
            // The host answers for each IPv4 address of its own.
            let heard = !call.v6() && self.is_host_address(call.to);
            if heard || net.host_address(call.v6()) == Some(call.to) {
                return self.enter_host(Origin::Net(port.net), source, call);
            }
        } else if net.carrier != Carrier::Own {
            return self.call_on_segment(port.net, source, call);
        }
        let neighbour = self.holder(port.net, call.to).filter(|_| !net.apart);
        let Some(neighbour) = neighbour else {
            return Outcome::undeliverable(
                Reach::HostUnreachable,
                Reason::NobodyThere,
                via,
                call.transport,
            );
        };
        if !self.may_talk(port.net, source, call) {
            // IPv6 neighbours are not even found: their discovery is dropped too.
            let reach = if call.v6() && !net.lets_icmp_in(true) {
                Reach::HostUnreachable
            } else {
                Reach::Timeout
            };
            return Outcome::undeliverable(reach, Reason::IccOff, via, call.transport);
        }
        self.deliver(Site::Sandbox(neighbour), call, source, via)
    }

    /// Two members of a bridge: unless inter-container communication is off, and no link opens that port.
    pub(crate) fn may_talk(&self, net: usize, source: IpAddr, call: &Call) -> bool {
        let network = &self.nets[net];
        if network.icc || !network.is_bridge() || !self.has(Rule::Icc) {
            return true;
        }
        // Without ip6tables nothing filters it.
        if call.v6() && !self.filters_v6() {
            return true;
        }
        // A routed network lets pings in before it looks where they come from.
        if network.lets_icmp_in(call.v6()) && call.transport == Transport::Icmp {
            return true;
        }
        self.has(Rule::Links) && network.is_default() && self.is_linked(source, call)
    }

    pub(crate) fn filters_v6(&self) -> bool {
        self.machine.ip6tables || !self.has(Rule::Ip6tables)
    }

    /// A legacy link opens the ports that its target exposes or publishes, from who has the link; to IPv4
    /// addresses only.
    fn is_linked(&self, source: IpAddr, call: &Call) -> bool {
        if call.v6() {
            return false;
        }
        let by = |address: IpAddr| self.sandboxes.iter().find(|sandbox| sandbox.has(address));
        let (Some(client), Some(server)) = (by(source), by(call.to)) else {
            return false;
        };
        let linked = self.legacy_links(client);
        // Another of its name is not meant.
        let meant = |target: &Container| target.made == server.owner.made;
        if !linked
            .iter()
            .any(|(_, target)| target.name == server.owner.name && meant(target))
        {
            return false;
        }
        let Some((service, protocol)) = server.service.zip(call.transport.protocol()) else {
            return false;
        };
        let published = service.ports.iter();
        let exposed = service.expose.iter();
        published
            .map(|port| (port.target, port.target, port.protocol))
            .chain(exposed.map(|expose| (expose.first, expose.last, expose.protocol)))
            .any(|(first, last, p)| p == protocol && (first..=last).contains(&call.port))
    }

    /// It has arrived at a namespace that has the address that is called.
    pub(crate) fn deliver(&self, site: Site, call: &Call, source: IpAddr, via: Via) -> Outcome {
        let owner = match site {
            Site::Host => End::Host,
            Site::Lan => End::Lan,
            Site::Internet => End::Internet,
            Site::Sandbox(at) => self.sandboxes[at].end(),
        };
        let answer = |reach, reason, by| Outcome {
            reach,
            reason,
            by: Some(by),
            source: Some(source),
            via: via.clone(),
        };
        let Some(protocol) = call.transport.protocol() else {
            return answer(Reach::Open, None, owner);
        };
        let here = || {
            self.assigned
                .sockets
                .iter()
                .filter(|socket| self.site(&socket.at) == Some(site))
                .filter(|socket| socket.is_for(call.port, protocol))
        };
        let listening = self.has(Rule::Listening);
        let taker = here().find(|socket| !listening || socket.takes(call.to, call.port, protocol));
        if let Some(socket) = taker {
            let bound = socket.address.is_some_and(|bound| !bound.is_unspecified());
            let heard = bound
                || call.transport == Transport::Tcp
                || self
                    .answering_address(site, source)
                    .is_none_or(|own| own == call.to);
            return if heard {
                answer(Reach::Open, None, socket.at.clone())
            } else {
                answer(Reach::Timeout, Some(Reason::OtherSource), socket.at.clone())
            };
        }
        let loopback = |address: IpAddr| address.is_loopback();
        let reason = match here().next() {
            None => Reason::NobodyListens,
            Some(_) if here().all(|socket| socket.address.is_some_and(loopback)) => {
                Reason::LoopbackOnly
            }
            Some(_) => Reason::OtherAddress,
        };
        answer(Reach::Refused, Some(reason), owner)
    }
}

impl Model<'_> {
    /// From which address a UDP socket that is bound to none answers: the one that routing chooses
    /// towards the client, whichever was asked.
    fn answering_address(&self, site: Site, client: IpAddr) -> Option<IpAddr> {
        let v6 = client.is_ipv6();
        match site {
            Site::Host if client.is_loopback() || self.is_host_address(client) => Some(client),
            Site::Host => match self.hop(client) {
                Hop::Bridge(_, own) => Some(own),
                _ => self.uplink_address(v6),
            },
            Site::Sandbox(at) => {
                let sandbox = &self.sandboxes[at];
                if client.is_loopback() || sandbox.has(client) {
                    return Some(client);
                }
                let mut ports = sandbox.ports.iter();
                let on_link = ports.find(|port| {
                    port.address(v6).is_some() && self.nets[port.net].contains(client)
                });
                on_link.or_else(|| sandbox.route(v6))?.address(v6)
            }
            Site::Lan | Site::Internet => None,
        }
    }
}

/// Where something enters the host from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The host itself.
    Host,
    /// A bridge, by position.
    Net(usize),
    /// The uplink.
    Uplink,
}

impl Origin {
    pub(crate) const fn bridge(self) -> Option<usize> {
        match self {
            Self::Net(net) => Some(net),
            Self::Host | Self::Uplink => None,
        }
    }
}
