//! What Docker's model asks of the kernel, done on the lab's own wires.

use std::collections::BTreeMap;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use ipnet::IpNet;
use switch::Rng;
use switch::wire::EthernetAddress;

use super::apps::Apps;
use super::outside::random_mac;
use crate::app::{Family, SockKind, SockOpt};
use crate::docker::DaemonConfig;
use crate::docker::names::{EndpointKey, NetKey, SandboxKey, View};
use crate::docker::plumb::{
    AttachPlan, AttachTo, BridgePlan, DefaultRoute, LinkRule, NetworkRules, Plumb, Published,
};
use crate::docker::rules::DockerRules;
use crate::docker::spec::{Engine, Proto};
use crate::id::{AppId, BridgeId, IfId, NsId, SockId};
use crate::net::{ChildKind, MacvlanMode, Net, VethPlan};
use crate::netns::{Errno, LO, Route};
use crate::service::proxy::{TcpProxy, UdpProxy};

/// What stands behind one published port on the host.
#[derive(Debug)]
enum Holder {
    /// A running docker-proxy.
    Proxy(AppId),
    /// A socket that only holds the port.
    Socket(SockId),
}

/// The host's side of the plumbing: firewall rules and who holds which port.
#[derive(Debug)]
pub struct Plumbing {
    host: NsId,
    uplink: IfId,
    userland_proxy: bool,
    engine: Engine,
    rules: DockerRules,
    held: BTreeMap<(u32, IfId), Vec<Holder>>,
    rng: Rng,
}

impl Plumbing {
    pub(crate) fn new(host: NsId, uplink: IfId, daemon: &DaemonConfig, rng: &Rng) -> Self {
        Self {
            host,
            uplink,
            userland_proxy: daemon.userland_proxy,
            engine: daemon.engine,
            rules: DockerRules::new(LO, daemon.forward_drop),
            held: BTreeMap::new(),
            rng: rng.stream("plumbing"),
        }
    }
}

/// The model's hands for one verb.
#[derive(Debug)]
pub(crate) struct Hands<'a> {
    pub(crate) net: &'a mut Net,
    pub(crate) apps: &'a mut Apps,
    pub(crate) state: &'a mut Plumbing,
}

impl Hands<'_> {
    fn with_rules<T>(
        &mut self,
        edit: impl FnOnce(&mut DockerRules, &mut switch::hook::Netfilter) -> T,
    ) -> Option<T> {
        let rules = &mut self.state.rules;
        self.net
            .with_ns(self.state.host, |netns, _| {
                netns.firewall_mut().map(|firewall| edit(rules, firewall))
            })
            .flatten()
    }

    fn release(&mut self, holders: Vec<Holder>) {
        for holder in holders {
            match holder {
                Holder::Proxy(app) => self.apps.kill(self.net, app),
                Holder::Socket(sock) => {
                    self.net.with_ns(sock.ns, |netns, cx| netns.close(cx, sock));
                }
            }
        }
    }

    fn hold(&mut self, port: &Published) -> Result<Option<Holder>, Errno> {
        // Routed networks bind nothing, and no SCTP segment is carried.
        if port.host_port == 0 || port.port.proto == Proto::Sctp {
            return Ok(None);
        }
        let host = SocketAddr::new(port.host_ip, port.host_port);
        let target = SocketAddr::new(port.container_ip, port.port.number);
        let proxied = self.state.userland_proxy;
        // Without a proxy the daemon holds the port; in 29 its socket has a filter that drops all.
        let deaf = !proxied && self.state.engine == Engine::V29;
        let sock = open_port(self.net, self.state.host, port.port.proto, host, deaf)?;
        if !proxied {
            return Ok(Some(Holder::Socket(sock)));
        }
        let app = match port.port.proto {
            Proto::Tcp => self.apps.spawn(
                self.net,
                self.state.host,
                Box::new(TcpProxy::new(sock, target)),
            ),
            Proto::Udp | Proto::Sctp => self.apps.spawn(
                self.net,
                self.state.host,
                Box::new(UdpProxy::new(
                    sock,
                    target,
                    self.state.engine == Engine::V29,
                )),
            ),
        };
        self.apps.give(sock, app);
        Ok(Some(Holder::Proxy(app)))
    }

    fn add_iface(&mut self, ns: NsId, plan: &AttachPlan) -> Result<IfId, String> {
        let mac = EthernetAddress(plan.mac);
        let ipv6 = plan
            .addresses
            .iter()
            .any(|address| address.addr().is_ipv6());
        let own = VethPlan {
            ns,
            name: &plan.name,
            mac,
            mtu: plan.mtu,
            ipv6,
        };
        match plan.to {
            AttachTo::Bridge(bridge) | AttachTo::Dummy(bridge) => {
                let host_mac = random_mac(&mut self.state.rng);
                let port = VethPlan {
                    ns: self.state.host,
                    name: &plan.host_name,
                    mac: host_mac,
                    mtu: plan.mtu,
                    ipv6: false,
                };
                let (iface, other) = self.net.veth_add(&own, &port);
                if let Err(error) = self.net.port_add(bridge, other, host_mac) {
                    self.net.iface_remove(iface);
                    return Err(error);
                }
                Ok(iface)
            }
            AttachTo::Uplink(kind) => self.add_child(self.state.uplink, kind, &own),
            AttachTo::Alone(_, dummy, kind) => self.add_child(dummy, kind, &own),
        }
    }

    /// A child of an interface of the host's. One that is in passthru mode stays alone.
    fn add_child(
        &mut self,
        parent: IfId,
        kind: ChildKind,
        own: &VethPlan<'_>,
    ) -> Result<IfId, String> {
        if kind == ChildKind::Macvlan(MacvlanMode::Passthru) && self.net.has_children(parent) {
            return Err("failed to create the macvlan port: invalid argument".to_owned());
        }
        let host = self.net.ns(self.state.host);
        let shared = host
            .and_then(|host| host.iface(parent))
            .filter(|_| matches!(kind, ChildKind::Ipvlan(..)))
            .map(|iface| EthernetAddress(iface.mac));
        let mac = shared.unwrap_or(own.mac);
        Ok(self
            .net
            .child_add(parent, kind, &VethPlan { mac, ..own.clone() }))
    }
}

impl Plumb for Hands<'_> {
    fn bridge_add(&mut self, plan: &BridgePlan) -> (BridgeId, IfId) {
        let owner = Some((self.state.host, plan.name.as_str()));
        let (bridge, iface) =
            self.net
                .bridge_add(owner, &plan.network, EthernetAddress(plan.mac), plan.mtu);
        if !plan.filtered {
            self.net.bridge_unfiltered(bridge);
        }
        for &address in &plan.addresses {
            // The model hands out no address twice.
            let _fresh = self.net.addr_add(iface, address);
        }
        (bridge, iface)
    }

    fn bridge_remove(&mut self, bridge: BridgeId) {
        self.net.bridge_remove(bridge);
    }

    fn rules_set(&mut self, network: u32, rules: &NetworkRules) {
        self.with_rules(|docker, netfilter| docker.network_set(netfilter, network, rules));
        // Without the proxy, the host's own connections to 127.0.0.1 are translated on their way out.
        self.net.with_ns(self.state.host, |netns, _| {
            let _gone = netns.iface_route_localnet(rules.bridge, !rules.userland_proxy);
        });
    }

    fn rules_remove(&mut self, network: u32) {
        self.with_rules(|docker, netfilter| docker.network_remove(netfilter, network));
    }

    fn ns_add(&mut self, name: &str) -> NsId {
        self.net.ns_add(name)
    }

    fn ns_remove(&mut self, ns: NsId) {
        self.apps.kill_all(self.net, ns);
        self.net.ns_remove(ns);
    }

    fn loopback_v6(&mut self, ns: NsId, on: bool) {
        let address = IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128);
        self.net.with_ns(ns, |netns, _| {
            // Asked for twice, it is as asked already.
            let _same = if on {
                netns.addr_add(LO, address)
            } else {
                netns.addr_del(LO, address.addr())
            };
        });
    }

    fn attach(&mut self, ns: NsId, plan: &AttachPlan) -> Result<IfId, String> {
        if self.has_iface(ns, &plan.name) {
            return Err("file exists".to_owned());
        }
        let iface = self.add_iface(ns, plan)?;
        for &address in &plan.addresses {
            if let Err(errno) = self.net.addr_add(iface, address) {
                self.net.iface_remove(iface);
                return Err(errno.text().to_lowercase());
            }
        }
        let (count, interval) = plan.announce;
        if count > 0 {
            self.net.announce(iface, count, interval);
        }
        Ok(iface)
    }

    fn detach(&mut self, _ns: NsId, iface: IfId) {
        self.net.iface_remove(iface);
    }

    fn default_route(
        &mut self,
        ns: NsId,
        v6: bool,
        old: Option<DefaultRoute>,
        new: Option<DefaultRoute>,
    ) -> Result<(), String> {
        let route = |(iface, via): DefaultRoute| match via {
            Some(via) => Route::default_via(via, iface),
            None => Route::default_on_link(v6, iface),
        };
        let done = self.net.with_ns(ns, |netns, _| {
            if let Some(old) = old.map(route) {
                // Somebody in the container may have taken it away.
                let _gone = netns.route_del(old.dst, old.via, Some(old.dev));
            }
            let added = new.map_or(Ok(()), |new| netns.route_add(route(new)));
            if let (Err(_), Some(old)) = (added, old) {
                let _there = netns.route_add(route(old));
            }
            added
        });
        match done {
            Some(Err(errno)) => Err(errno.text().to_lowercase()),
            Some(Ok(())) | None => Ok(()),
        }
    }

    fn guard(&mut self, network: u32, iface: IfId, addresses: &[IpAddr]) {
        self.with_rules(|docker, netfilter| docker.guard(netfilter, network, iface, addresses));
    }

    fn unguard(&mut self, network: u32, iface: IfId) {
        self.with_rules(|docker, netfilter| docker.unguard(netfilter, network, iface));
    }

    fn publish(
        &mut self,
        network: u32,
        iface: IfId,
        ports: &[Published],
    ) -> Result<(), (Published, String)> {
        let mut holders = Vec::new();
        for port in ports {
            match self.hold(port) {
                Ok(holder) => holders.extend(holder),
                Err(errno) => {
                    self.release(holders);
                    let text = match errno {
                        Errno::AddrInUse => "address already in use".to_owned(),
                        Errno::AddrNotAvail => "cannot assign requested address".to_owned(),
                        other => other.text().to_lowercase(),
                    };
                    return Err((*port, text));
                }
            }
        }
        self.with_rules(|docker, netfilter| docker.publish(netfilter, network, iface, ports));
        self.state
            .held
            .entry((network, iface))
            .or_default()
            .extend(holders);
        Ok(())
    }

    fn unpublish(&mut self, network: u32, iface: IfId) {
        self.with_rules(|docker, netfilter| docker.unpublish(netfilter, network, iface));
        if let Some(holders) = self.state.held.remove(&(network, iface)) {
            self.release(holders);
        }
    }

    fn links_set(&mut self, network: u32, links: &[LinkRule]) {
        self.with_rules(|docker, netfilter| docker.links_set(netfilter, network, links));
    }

    fn host_has(&self, addr: IpAddr) -> bool {
        addr.is_unspecified()
            || self
                .net
                .ns(self.state.host)
                .is_some_and(|netns| netns.is_local(addr))
    }

    fn host_iface(&self, name: &str) -> Option<IfId> {
        let mut ifaces = self.net.ns(self.state.host)?.ifaces();
        ifaces
            .find(|iface| iface.name == name)
            .map(|iface| iface.id)
    }

    fn host_routes(&self) -> Vec<IpNet> {
        let Some(host) = self.net.ns(self.state.host) else {
            return Vec::new();
        };
        [false, true]
            .into_iter()
            .flat_map(|v6| host.routes_kept(v6))
            .filter(|route| route.via.is_none() && !route.is_default())
            .map(|route| route.dst)
            .collect()
    }

    fn has_iface(&self, ns: NsId, name: &str) -> bool {
        let netns = self.net.ns(ns);
        netns.is_some_and(|netns| netns.iface_named(name).is_some())
    }

    fn iface_names(&self, ns: NsId) -> Vec<String> {
        self.net
            .ns(ns)
            .map(|netns| netns.ifaces().map(|iface| iface.name.clone()).collect())
            .unwrap_or_default()
    }
}

/// Opens the host's side of a published port, for a proxy or so that nobody else takes it; TCP listens
/// in either case. No SCTP segment is carried, so nothing is opened for it.
fn open_port(
    net: &mut Net,
    ns: NsId,
    proto: Proto,
    host: SocketAddr,
    deaf: bool,
) -> Result<SockId, Errno> {
    let kind = if proto == Proto::Tcp {
        SockKind::Tcp
    } else {
        SockKind::Udp
    };
    let family = if host.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    net.with_ns(ns, |netns, cx| {
        let sock = netns.socket(kind, family)?;
        let opened = netns
            .set(cx, sock, SockOpt::V6Only(true))
            // Not for datagrams: two such sockets would share a port.
            .and_then(|()| netns.set(cx, sock, SockOpt::ReuseAddr(kind == SockKind::Tcp)))
            .and_then(|()| netns.set(cx, sock, SockOpt::Deaf(deaf)))
            .and_then(|()| netns.bind(sock, host))
            .and_then(|()| {
                if kind == SockKind::Tcp {
                    netns.listen(cx, sock, 4096)
                } else {
                    Ok(())
                }
            });
        match opened {
            Ok(()) => Ok(sock),
            Err(errno) => {
                netns.close(cx, sock);
                Err(errno)
            }
        }
    })
    .unwrap_or(Err(Errno::BadFd))
}

/// The zones, told by the model.
#[derive(Debug)]
pub(crate) struct NamesIn<'a> {
    pub(crate) zones: &'a mut dns::Zones,
    pub(crate) engine: Engine,
}

/// Whose rules the DNS follows.
pub(crate) const fn profile(engine: Engine) -> dns::Profile {
    match engine {
        Engine::V20_10 => dns::Profile::V20_10,
        Engine::V29 => dns::Profile::V29,
    }
}

impl crate::docker::names::Names for NamesIn<'_> {
    fn add_network(&mut self, net: NetKey, name: &str) {
        self.zones.add_network(dns::NetKey(net.0), name);
    }

    fn remove_network(&mut self, net: NetKey) {
        self.zones.remove_network(dns::NetKey(net.0));
    }

    fn add_endpoint(
        &mut self,
        net: NetKey,
        endpoint: EndpointKey,
        names: Vec<String>,
        v4: Option<Ipv4Addr>,
        v6: Option<Ipv6Addr>,
    ) {
        self.zones.add_endpoint(
            dns::NetKey(net.0),
            dns::EndpointKey(endpoint.0),
            names,
            v4,
            v6,
        );
    }

    fn remove_endpoint(&mut self, net: NetKey, endpoint: EndpointKey) {
        self.zones
            .remove_endpoint(dns::NetKey(net.0), dns::EndpointKey(endpoint.0));
    }

    fn set_view(&mut self, sandbox: SandboxKey, view: View) {
        let networks = view
            .networks
            .into_iter()
            .map(|(net, links)| (dns::NetKey(net.0), links))
            .collect();
        self.zones.set_view(
            dns::SandboxKey(sandbox.0),
            dns::View {
                networks,
                profile: profile(self.engine),
            },
        );
    }

    fn remove_view(&mut self, sandbox: SandboxKey) {
        self.zones.remove_view(dns::SandboxKey(sandbox.0));
    }
}
