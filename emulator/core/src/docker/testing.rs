//! A kernel and a DNS that only write down what the model asks of them, and a daemon on top.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use switch::{Rng, Time};

use super::config::DaemonConfig;
use super::engine::{Docker, World};
use super::error::Error;
use super::names::{EndpointKey, Names, NetKey, SandboxKey, View};
use super::plumb::{
    AttachPlan, AttachTo, BridgePlan, DefaultRoute, LinkRule, NetworkRules, Plumb, Published,
};
use super::ports::parse_port_spec;
use super::spec::{ContainerSpec, EndpointSpec, Engine, IpamConfig, NetworkSpec};
use crate::id::{BridgeId, IfId, NsId};

pub(super) const HOST: NsId = NsId(0);

/// A kernel that keeps what it is told and refuses what Linux would refuse.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    pub(super) bridges: BTreeMap<u32, BridgePlan>,
    pub(super) rules: BTreeMap<u32, NetworkRules>,
    pub(super) spaces: BTreeMap<u32, BTreeMap<u32, AttachPlan>>,
    pub(super) routes: BTreeMap<(u32, bool), (u32, Option<IpAddr>)>,
    pub(super) published: BTreeMap<u32, Vec<Published>>,
    pub(super) links: Vec<LinkRule>,
    pub(super) no_loopback_v6: BTreeSet<u32>,
    /// Sockets of the host.
    pub(super) busy: Vec<SocketAddr>,
    pub(super) host_routes: Vec<IpNet>,
    pub(super) refuse_attach: bool,
    next: u32,
}

impl Kernel {
    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    pub(super) fn plan(&self, iface: IfId) -> &AttachPlan {
        self.spaces
            .values()
            .find_map(|s| s.get(&iface.0))
            .expect("interface")
    }

    /// Every address that a running container has, with where it is attached.
    pub(super) fn addresses(&self) -> Vec<(AttachTo, IpAddr)> {
        self.spaces
            .values()
            .flat_map(BTreeMap::values)
            .flat_map(|p| p.addresses.iter().map(|a| (p.to.clone(), a.addr())))
            .collect()
    }
}

impl Plumb for Kernel {
    fn bridge_add(&mut self, plan: &BridgePlan) -> (BridgeId, IfId) {
        let n = self.number();
        self.bridges.insert(n, plan.clone());
        (BridgeId(n), IfId(n))
    }
    fn bridge_remove(&mut self, bridge: BridgeId) {
        let used = self.spaces.values().flat_map(BTreeMap::values);
        assert!(
            !used.into_iter().any(|p| p.to == AttachTo::Bridge(bridge)),
            "bridge with ports removed"
        );
        self.bridges.remove(&bridge.0).expect("bridge");
    }
    fn guard(&mut self, _network: u32, _iface: IfId, _addresses: &[IpAddr]) {}
    fn unguard(&mut self, _network: u32, _iface: IfId) {}
    fn host_iface(&self, _name: &str) -> Option<IfId> {
        None
    }
    fn rules_set(&mut self, network: u32, rules: &NetworkRules) {
        self.rules.insert(network, rules.clone());
    }
    fn rules_remove(&mut self, network: u32) {
        self.rules.remove(&network).expect("rules");
    }
    fn ns_add(&mut self, _name: &str) -> NsId {
        let n = self.number();
        self.spaces.insert(n, BTreeMap::new());
        NsId(n)
    }
    fn ns_remove(&mut self, ns: NsId) {
        self.spaces.remove(&ns.0).expect("namespace");
        self.routes.retain(|(of, _), _| *of != ns.0);
        self.no_loopback_v6.remove(&ns.0);
    }
    fn loopback_v6(&mut self, ns: NsId, on: bool) {
        if on {
            self.no_loopback_v6.remove(&ns.0);
        } else {
            self.no_loopback_v6.insert(ns.0);
        }
    }
    fn attach(&mut self, ns: NsId, plan: &AttachPlan) -> Result<IfId, String> {
        if self.refuse_attach {
            return Err("exchange full".to_owned());
        }
        let n = self.number();
        let space = self.spaces.get_mut(&ns.0).expect("namespace");
        if space.values().any(|p| p.name == plan.name) {
            return Err("file exists".to_owned());
        }
        space.insert(n, plan.clone());
        Ok(IfId(n))
    }
    fn detach(&mut self, ns: NsId, iface: IfId) {
        assert!(!self.published.contains_key(&iface.0), "still published");
        let space = self.spaces.get_mut(&ns.0).expect("namespace");
        space.remove(&iface.0).expect("interface");
        // As Linux does with the routes of an interface that goes.
        self.routes.retain(|_, (of, _)| *of != iface.0);
    }
    fn default_route(
        &mut self,
        ns: NsId,
        v6: bool,
        old: Option<DefaultRoute>,
        new: Option<DefaultRoute>,
    ) -> Result<(), String> {
        let there = self.routes.remove(&(ns.0, v6));
        assert_eq!(
            there,
            old.map(|(iface, via)| (iface.0, via)),
            "the one that was set"
        );
        if let Some((iface, via)) = new {
            self.routes.insert((ns.0, v6), (iface.0, via));
        }
        Ok(())
    }
    fn publish(
        &mut self,
        _network: u32,
        iface: IfId,
        ports: &[Published],
    ) -> Result<(), (Published, String)> {
        assert!(!self.published.contains_key(&iface.0), "published twice");
        for port in ports.iter().filter(|p| p.host_port != 0) {
            if !self.host_has(port.host_ip) {
                return Err((*port, "cannot assign requested address".to_owned()));
            }
            let at = SocketAddr::new(port.host_ip, port.host_port);
            let others = self.published.values().flatten();
            let clash = |ip: IpAddr| {
                ip.is_ipv4() == at.is_ipv4()
                    && (ip == at.ip() || ip.is_unspecified() || at.ip().is_unspecified())
            };
            let taken = self
                .busy
                .iter()
                .any(|b| b.port() == at.port() && clash(b.ip()))
                || others.into_iter().any(|p| {
                    p.host_port == at.port() && p.port.proto == port.port.proto && clash(p.host_ip)
                });
            if taken {
                return Err((*port, "address already in use".to_owned()));
            }
        }
        self.published.insert(iface.0, ports.to_vec());
        Ok(())
    }
    fn unpublish(&mut self, _network: u32, iface: IfId) {
        self.published.remove(&iface.0);
    }
    fn links_set(&mut self, _network: u32, links: &[LinkRule]) {
        self.links = links.to_vec();
    }
    fn host_has(&self, addr: IpAddr) -> bool {
        addr.is_unspecified() || addr.is_loopback() || addr == IpAddr::from([192, 0, 2, 2])
    }
    fn host_routes(&self) -> Vec<IpNet> {
        self.host_routes.clone()
    }
    fn has_iface(&self, ns: NsId, name: &str) -> bool {
        self.iface_names(ns).iter().any(|used| used == name)
    }
    fn iface_names(&self, ns: NsId) -> Vec<String> {
        if ns == HOST {
            return vec!["lo".to_owned(), "eth0".to_owned()];
        }
        let own = self
            .spaces
            .get(&ns.0)
            .into_iter()
            .flat_map(BTreeMap::values);
        own.map(|p| p.name.clone())
            .chain(["lo".to_owned()])
            .collect()
    }
}

type Record = (Vec<String>, Option<Ipv4Addr>, Option<Ipv6Addr>);

/// A DNS that keeps what it is told.
#[derive(Debug, Default)]
pub(super) struct Zones {
    pub(super) networks: BTreeMap<NetKey, String>,
    pub(super) endpoints: BTreeMap<(NetKey, EndpointKey), Record>,
    pub(super) views: BTreeMap<SandboxKey, View>,
}

impl Names for Zones {
    fn add_network(&mut self, net: NetKey, name: &str) {
        self.networks.insert(net, name.to_owned());
    }
    fn remove_network(&mut self, net: NetKey) {
        assert!(
            !self.endpoints.keys().any(|(n, _)| *n == net),
            "endpoints left"
        );
        self.networks.remove(&net).expect("network");
    }
    fn add_endpoint(
        &mut self,
        net: NetKey,
        endpoint: EndpointKey,
        names: Vec<String>,
        v4: Option<Ipv4Addr>,
        v6: Option<Ipv6Addr>,
    ) {
        assert!(self.networks.contains_key(&net));
        self.endpoints.insert((net, endpoint), (names, v4, v6));
    }
    fn remove_endpoint(&mut self, net: NetKey, endpoint: EndpointKey) {
        self.endpoints.remove(&(net, endpoint)).expect("endpoint");
    }
    fn set_view(&mut self, sandbox: SandboxKey, view: View) {
        self.views.insert(sandbox, view);
    }
    fn remove_view(&mut self, sandbox: SandboxKey) {
        self.views.remove(&sandbox);
    }
}

/// A daemon on that kernel, with verbs that are short to write.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) docker: Docker,
    pub(super) kernel: Kernel,
    pub(super) zones: Zones,
    pub(super) now: Time,
}

impl Host {
    pub(super) fn new(engine: Engine) -> Self {
        Self::with(DaemonConfig::new(engine, HOST))
    }

    pub(super) fn with(config: DaemonConfig) -> Self {
        let (mut kernel, mut zones) = (Kernel::default(), Zones::default());
        let mut world = World {
            plumb: &mut kernel,
            names: &mut zones,
            now: Time::ZERO,
        };
        let docker = Docker::new(config, Rng::new(7), &mut world).expect("daemon");
        Self {
            docker,
            kernel,
            zones,
            now: Time::ZERO,
        }
    }

    pub(super) fn act<T>(&mut self, act: impl FnOnce(&mut Docker, &mut World<'_>) -> T) -> T {
        let mut world = World {
            plumb: &mut self.kernel,
            names: &mut self.zones,
            now: self.now,
        };
        act(&mut self.docker, &mut world)
    }

    /// `network create NAME FLAGS…`, with the long flags of the command line.
    pub(super) fn net(&mut self, name: &str, flags: &str) -> Result<String, String> {
        let mut spec = NetworkSpec {
            name: name.to_owned(),
            ..NetworkSpec::default()
        };
        for flag in flags.split_whitespace() {
            let (key, value) = flag.split_once('=').unwrap_or((flag, ""));
            let value = value.to_owned();
            match key {
                "subnet" => spec.ipam.push(IpamConfig {
                    subnet: value,
                    ..IpamConfig::default()
                }),
                "range" => spec.ipam.last_mut().unwrap().ip_range = value,
                "gateway" => spec.ipam.last_mut().unwrap().gateway = value,
                "aux" => {
                    let (name, ip) = value.split_once('@').unwrap();
                    let aux = &mut spec.ipam.last_mut().unwrap().aux_addresses;
                    aux.insert(name.to_owned(), ip.to_owned());
                }
                "internal" => spec.internal = true,
                "ipv6" => spec.ipv6 = Some(true),
                "no-ipv4" => spec.ipv4 = Some(false),
                "driver" => spec.driver = value,
                "config-only" => spec.config_only = true,
                "config-from" => spec.config_from = Some(value),
                "label" => drop(spec.labels.insert(value, String::new())),
                option => drop(spec.options.insert(option.to_owned(), value)),
            }
        }
        self.act(|d, w| d.network_create(w, spec))
            .map(|made| made.id)
            .map_err(|e| e.message)
    }

    /// `create --name NAME FLAGS…`.
    pub(super) fn make(&mut self, name: &str, flags: &str) -> Result<String, String> {
        let spec = container(name, flags);
        self.act(|d, w| d.create(w, spec))
            .map(|made| made.id)
            .map_err(|e| e.message)
    }

    /// `run --name NAME FLAGS…`.
    pub(super) fn run(&mut self, name: &str, flags: &str) -> Result<String, String> {
        let id = self.make(name, flags)?;
        self.start(name)?;
        Ok(id)
    }

    pub(super) fn start(&mut self, name: &str) -> Result<(), String> {
        text(self.act(|d, w| d.start(w, name)))
    }

    pub(super) fn stop(&mut self, name: &str) {
        self.act(|d, w| d.stop(w, name, 137)).unwrap();
    }

    pub(super) fn rm(&mut self, name: &str) {
        self.act(|d, w| d.remove(w, name, true)).unwrap();
    }

    pub(super) fn net_rm(&mut self, name: &str) -> Result<(), String> {
        text(self.act(|d, w| d.network_remove(w, name)))
    }

    pub(super) fn connect(&mut self, net: &str, name: &str, flags: &str) -> Result<(), String> {
        let spec = endpoint(flags);
        text(self.act(|d, w| d.network_connect(w, net, name, spec)))
    }

    pub(super) fn disconnect(&mut self, net: &str, name: &str) -> Result<(), String> {
        text(self.act(|d, w| d.network_disconnect(w, net, name, false)))
    }

    /// The address of a container on a network, IPv4 before IPv6.
    pub(super) fn ip(&self, name: &str, net: &str) -> String {
        let seen = self.docker.inspect(name).unwrap();
        let place = &seen.network_settings.networks[net];
        match place.ip_address.as_str() {
            "" => place.global_ipv6_address.clone(),
            v4 => v4.to_owned(),
        }
    }

    /// Its interfaces by name: `eth0=net`.
    pub(super) fn ifaces(&self, name: &str) -> String {
        let c = self.docker.container(name).unwrap();
        let mut list: Vec<String> = c
            .endpoints()
            .map(|e| format!("{}={}", e.ifname, e.network_name))
            .collect();
        list.sort();
        list.join(" ")
    }

    /// Its default routes as the kernel has them: `via` of IPv4 and of IPv6.
    pub(super) fn ways(&self, name: &str) -> (String, String) {
        let ns = self.docker.namespace_of(name).unwrap();
        let get = |v6| match self.kernel.routes.get(&(ns.0, v6)) {
            Some((_, Some(via))) => via.to_string(),
            Some((_, None)) => "direct".to_owned(),
            None => "-".to_owned(),
        };
        (get(false), get(true))
    }

    /// What it publishes: `host:port>container:port`.
    pub(super) fn ports(&self, name: &str) -> String {
        let list = self.docker.port(name).unwrap();
        let show = |p: &Published| {
            let at = SocketAddr::new(p.host_ip, p.host_port);
            format!("{at}>{}:{}", p.container_ip, p.port)
        };
        list.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn subnet(&self, net: &str) -> String {
        let seen = self.docker.network_inspect(net).unwrap();
        seen.ipam.config[0].subnet.clone()
    }
}

pub(super) fn text<T>(result: Result<T, Error>) -> Result<T, String> {
    result.map_err(|e| e.message)
}

/// Reads an endpoint's flags: `ip=`, `ip6=`, `alias=`, `link=`, `mac=`, `ll=`, `prio=`, `ifname=`.
pub(super) fn endpoint(flags: &str) -> EndpointSpec {
    let mut spec = EndpointSpec::default();
    for flag in flags.split([' ', ',']).filter(|f| !f.is_empty()) {
        let (key, value) = flag.split_once('=').unwrap();
        let value = value.to_owned();
        match key {
            "ip" => spec.ipv4 = value,
            "ip6" => spec.ipv6 = value,
            "alias" => spec.aliases.push(value),
            "link" => spec.links.push(value),
            "mac" => spec.mac_address = value,
            "ll" => spec.link_local_ips.push(value),
            "prio" => spec.gw_priority = value.parse().unwrap(),
            "ifname" => drop(
                spec.driver_opts
                    .insert("com.docker.network.endpoint.ifname".to_owned(), value),
            ),
            other => panic!("{other}"),
        }
    }
    spec
}

/// Reads a container's flags: `net=NAME[,endpoint flags]`, `p=`, `P`, `expose=`, `h=`, `domain=`, `dns=`,
/// `search=`, `opt=`, `host=` (add-host), `link=`, `mac=`, `rm`, `sysctl=K@V`.
pub(super) fn container(name: &str, flags: &str) -> ContainerSpec {
    let mut spec = ContainerSpec {
        name: (!name.is_empty()).then(|| name.to_owned()),
        ..ContainerSpec::default()
    };
    for flag in flags.split_whitespace() {
        let (key, value) = flag.split_once('=').unwrap_or((flag, ""));
        let value = value.to_owned();
        match key {
            "net" => {
                let (net, rest) = value.split_once(',').unwrap_or((&value, ""));
                if spec.network_mode.is_empty() {
                    spec.network_mode = net.to_owned();
                }
                if !net.starts_with("container") {
                    spec.endpoints.push((net.to_owned(), endpoint(rest)));
                }
            }
            "p" => spec.ports.extend(parse_port_spec(&value).unwrap()),
            "P" => spec.publish_all = true,
            "expose" => spec
                .expose
                .extend(super::ports::parse_expose(&value).unwrap()),
            "h" => spec.hostname = Some(value),
            "domain" => spec.domainname = Some(value),
            "dns" => spec.dns.push(value),
            "search" => spec.dns_search.push(value),
            "opt" => spec.dns_options.push(value),
            "host" => spec.extra_hosts.push(value),
            "link" => spec.links.push(value),
            "mac" => spec.mac_address = Some(value),
            "rm" => spec.auto_remove = true,
            "sysctl" => {
                let (k, v) = value.split_once('@').unwrap();
                spec.sysctls.insert(k.to_owned(), v.to_owned());
            }
            other => panic!("{other}"),
        }
    }
    spec
}
