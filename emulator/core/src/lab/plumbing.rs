//! What Docker's model asks of the kernel, done on the lab's own wires.

use std::collections::BTreeMap;

use core::net::{IpAddr, SocketAddr};
use ipnet::IpNet;
use switch::Rng;
use switch::wire::EthernetAddress;

use super::apps::Apps;
use super::outside::random_mac;
use crate::app::{Family, SockKind, SockOpt};
use crate::docker::DaemonConfig;
use crate::docker::plumb::{
    AttachPlan, AttachTo, BridgePlan, LinkRule, NetworkRules, Plumb, Published,
};
use crate::docker::rules::DockerRules;
use crate::docker::spec::Proto;
use crate::id::{AppId, BridgeId, IfId, NsId, SockId};
use crate::net::{ChildKind, Net, VethPlan};
use crate::netns::{Errno, Route};
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
            rules: DockerRules::new(daemon.engine),
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
    fn with_rules<T>(&mut self, edit: impl FnOnce(&mut DockerRules, &mut switch::hook::Netfilter) -> T) -> Option<T> {
        let rules = &mut self.state.rules;
        self.net.with_ns(self.state.host, |netns, _| edit(rules, netns.hooks_mut()))
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
        let sock = open_port(self.net, self.state.host, port.port.proto, host, proxied)?;
        if !proxied {
            return Ok(Some(Holder::Socket(sock)));
        }
        let app = match port.port.proto {
            Proto::Tcp => self.apps.spawn(self.net, self.state.host, Box::new(TcpProxy::new(sock, target))),
            Proto::Udp | Proto::Sctp => {
                self.apps.spawn(self.net, self.state.host, Box::new(UdpProxy::new(sock, target)))
            }
        };
        self.apps.give(sock, app);
        Ok(Some(Holder::Proxy(app)))
    }

    fn add_iface(&mut self, ns: NsId, plan: &AttachPlan) -> Result<IfId, String> {
        let mac = EthernetAddress(plan.mac);
        let own = VethPlan { ns, name: &plan.name, mac, mtu: plan.mtu };
        match plan.to {
            AttachTo::Bridge(bridge) | AttachTo::Dummy(bridge) => {
                let host_mac = random_mac(&mut self.state.rng);
                let port = VethPlan { ns: self.state.host, name: &plan.host_name, mac: host_mac, mtu: plan.mtu };
                let (iface, other) = self.net.veth_add(&own, &port);
                if let Err(error) = self.net.port_add(bridge, other) {
                    self.net.iface_remove(iface);
                    return Err(error);
                }
                Ok(iface)
            }
            AttachTo::Macvlan => Ok(self.net.child_add(self.state.uplink, ChildKind::Macvlan, &own)),
            AttachTo::Ipvlan => {
                let mac = self.uplink_mac().unwrap_or(mac);
                Ok(self.net.child_add(self.state.uplink, ChildKind::Ipvlan, &VethPlan { mac, ..own }))
            }
        }
    }

    fn uplink_mac(&self) -> Option<EthernetAddress> {
        self.net.ns(self.state.host)?.iface(self.state.uplink).map(|iface| iface.mac)
    }
}

impl Plumb for Hands<'_> {
    fn bridge_add(&mut self, plan: &BridgePlan) -> (BridgeId, IfId) {
        let owner = Some((self.state.host, plan.name.as_str()));
        let (bridge, iface) = self.net.bridge_add(owner, EthernetAddress(plan.mac), plan.mtu);
        let iface = iface.unwrap_or_default();
        for &address in &plan.addresses {
            self.net.addr_add(iface, address);
        }
        (bridge, iface)
    }

    fn bridge_remove(&mut self, bridge: BridgeId) {
        self.net.bridge_remove(bridge);
    }

    fn rules_set(&mut self, network: u32, rules: &NetworkRules) {
        self.with_rules(|docker, netfilter| docker.network_set(netfilter, network, rules));
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

    fn attach(&mut self, ns: NsId, plan: &AttachPlan) -> Result<IfId, String> {
        if self.iface_names(ns).contains(&plan.name) {
            return Err("file exists".to_owned());
        }
        let iface = self.add_iface(ns, plan)?;
        for &address in &plan.addresses {
            self.net.addr_add(iface, address);
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

    fn default_route(&mut self, ns: NsId, v6: bool, route: Option<(IfId, Option<IpAddr>)>) {
        self.net.with_ns(ns, |netns, _| {
            netns.default_route_del(v6);
            if let Some((iface, via)) = route {
                netns.route_add(Route::default_via(v6, via, iface));
            }
        });
    }

    fn publish(&mut self, network: u32, iface: IfId, ports: &[Published]) -> Result<(), (Published, String)> {
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
        self.state.held.entry((network, iface)).or_default().extend(holders);
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
        addr.is_unspecified() || self.net.ns(self.state.host).is_some_and(|netns| netns.is_local(addr))
    }

    fn host_routes(&self) -> Vec<IpNet> {
        self.net.ns(self.state.host).map(|netns| netns.on_link_routes()).unwrap_or_default()
    }

    fn iface_names(&self, ns: NsId) -> Vec<String> {
        self.net.ns(ns).map(|netns| netns.iface_names()).unwrap_or_default()
    }
}

/// Opens the host's side of a published port: listening for a proxy, or just held so that nobody
/// else takes it. No SCTP segment is carried, so nothing is opened for it.
fn open_port(net: &mut Net, ns: NsId, proto: Proto, host: SocketAddr, listen: bool) -> Result<SockId, Errno> {
    let kind = if proto == Proto::Tcp { SockKind::Tcp } else { SockKind::Udp };
    let family = if host.is_ipv4() { Family::V4 } else { Family::V6 };
    net.with_ns(ns, |netns, cx| {
        let sock = netns.socket(kind, family)?;
        let opened = netns
            .set(cx, sock, SockOpt::V6Only(true))
            .and_then(|()| netns.set(cx, sock, SockOpt::ReuseAddr(true)))
            .and_then(|()| netns.bind(sock, host))
            .and_then(|()| if listen && kind == SockKind::Tcp { netns.listen(sock, 4096) } else { Ok(()) });
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
