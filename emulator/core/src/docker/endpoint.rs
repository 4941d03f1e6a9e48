//! An endpoint: a container's place in a network while it runs. Making one, and taking it away.
//!
//! Models `libnetwork/endpoint.go` and the `CreateEndpoint` and `Join` of the bridge, macvlan and ipvlan
//! drivers: addresses, MAC, interface name, attachment. What fails leaves no trace.

use core::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::container::{Container, Place};
use super::engine::{Docker, World};
use super::error::{Error, Kind};
use super::ids::Id;
use super::ipam::bits;
use super::network::{Base, Network, Way};
use super::options;
use super::order::Rank;
use super::plumb::{AttachPlan, AttachTo, Mac};
use super::ports::Group;
use super::spec::{EndpointSpec, Engine};
use crate::id::{IfId, NsId};

/// A container's place in a network while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its number in the lab.
    pub key: u32,
    /// 64 hexadecimal digits.
    pub id: Id,
    /// The container's name when it was made.
    pub name: String,
    /// The network.
    pub network: u32,
    /// The network's name.
    pub network_name: String,
    /// The interface in the container; none in the host's namespace and without a network.
    pub iface: Option<IfId>,
    /// Its name.
    pub ifname: String,
    /// The host's end.
    pub host_name: String,
    /// Its MAC.
    pub mac: Option<Mac>,
    /// Its IPv4 address with the subnet's length.
    pub v4: Option<Ipv4Net>,
    /// Its IPv6 address with the subnet's length.
    pub v6: Option<Ipv6Net>,
    /// The way out for IPv4.
    pub way_v4: Option<Way>,
    /// The way out for IPv6.
    pub way_v6: Option<Way>,
    /// The network is internal.
    pub internal: bool,
    /// `--gw-priority`.
    pub priority: i64,
    /// Published ports; `None` while the endpoint is no way out and publishes nothing.
    pub published: Option<Vec<Group>>,
}

impl Endpoint {
    /// Where it stands among a container's endpoints.
    #[must_use]
    pub fn rank(&self) -> Rank<'_> {
        Rank {
            priority: self.priority,
            internal: self.internal,
            gateway_v4: self.way_v4.is_some(),
            gateway_v6: self.way_v6.is_some(),
            name: &self.network_name,
        }
    }

    /// Its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpNet> {
        let v4 = self.v4.map(IpNet::V4);
        v4.into_iter().chain(self.v6.map(IpNet::V6))
    }
}

/// What came out of taking a container's addresses on a network.
struct Addresses {
    v4: Option<Ipv4Net>,
    v6: Option<Ipv6Net>,
    extra: Vec<IpNet>,
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, message)
}

impl Docker {
    /// Makes the endpoint of `container` on a network and attaches it.
    pub(super) fn make_endpoint(
        &mut self,
        world: &mut World<'_>,
        container: &Container,
        network: u32,
        place: &Place,
    ) -> Result<Endpoint, Error> {
        let Some(net) = self.networks.lift(network) else {
            return Err(Error::new(Kind::NotFound, "network not found"));
        };
        let result = self.make_on(world, container, &net, place);
        self.networks.settle(network, net);
        let endpoint = result?;
        if let Some(net) = self.networks.get_mut(network) {
            net.endpoints.insert(endpoint.key, container.key);
        }
        Ok(endpoint)
    }

    fn make_on(
        &mut self,
        world: &mut World<'_>,
        container: &Container,
        network: &Network,
        place: &Place,
    ) -> Result<Endpoint, Error> {
        if network.spec.config_only {
            return Err(Error::new(
                Kind::Forbidden,
                "cannot create endpoint on configuration-only network",
            ));
        }
        if container.endpoints().any(|e| e.network == network.key) {
            return Err(Error::new(
                Kind::Forbidden,
                format!(
                    "endpoint with name {} already exists in network {}",
                    container.name,
                    network.name()
                ),
            ));
        }
        let key = self.next_endpoint;
        self.next_endpoint += 1;
        let place_name = [&container.name, "@", network.name()];
        let id = self.ids.draw("endpoint", &place_name);
        let mut endpoint = Endpoint {
            key,
            id,
            name: container.name.clone(),
            network: network.key,
            network_name: network.name().to_owned(),
            iface: None,
            ifname: String::new(),
            host_name: String::new(),
            mac: None,
            v4: None,
            v6: None,
            way_v4: None,
            way_v6: None,
            internal: network.internal,
            priority: place.spec.gw_priority,
            published: None,
        };
        if network.base == Base::Nothing {
            return Ok(endpoint);
        }
        let got = self.take_addresses(container, network, &place.spec)?;
        (endpoint.v4, endpoint.v6) = (got.v4, got.v6);
        self.set_ways(network, &mut endpoint);
        let attached = self.attach(world, container, network, place, &mut endpoint, got.extra);
        if let Err(error) = attached {
            for addr in endpoint.addresses() {
                self.free_endpoint_address(network, addr);
            }
            self.ids.free_veth(&endpoint.host_name);
            return Err(error);
        }
        Ok(endpoint)
    }

    fn set_ways(&self, network: &Network, endpoint: &mut Endpoint) {
        let engine = self.config.engine;
        let v4 = endpoint.v4.map(|net| IpAddr::V4(net.addr()));
        let v6 = endpoint.v6.map(|net| IpAddr::V6(net.addr()));
        endpoint.way_v4 = v4.and_then(|_| network.way_out(engine, v4, false));
        endpoint.way_v6 = v6.and_then(|_| network.way_out(engine, v6, true));
    }

    fn take_addresses(
        &mut self,
        container: &Container,
        network: &Network,
        spec: &EndpointSpec,
    ) -> Result<Addresses, Error> {
        let extra = link_locals(spec)?;
        let wanted = |text: &str| {
            if text.is_empty() {
                return Ok(None);
            }
            text.parse::<IpAddr>()
                .map(Some)
                .map_err(|_| invalid(format!("invalid IP address: {text}")))
        };
        let (want_v4, want_v6) = (wanted(&spec.ipv4)?, wanted(&spec.ipv6)?);
        let has = |v6: bool| network.leases_of(v6).next().is_some();
        let mut v4 = None;
        if has(false) {
            let net = self.take_endpoint_address(network, false, want_v4)?;
            if let IpNet::V4(net) = net {
                v4 = Some(net);
            }
        }
        let mut v6 = None;
        if has(true) && !container.v6_off() && !v6_off_here(spec) {
            match self.take_endpoint_address(network, true, want_v6) {
                Ok(IpNet::V6(net)) => v6 = Some(net),
                Ok(IpNet::V4(_)) => {}
                Err(error) => {
                    if let Some(net) = v4 {
                        self.free_endpoint_address(network, IpNet::V4(net));
                    }
                    return Err(error);
                }
            }
        }
        Ok(Addresses { v4, v6, extra })
    }

    fn attach(
        &mut self,
        world: &mut World<'_>,
        container: &Container,
        network: &Network,
        place: &Place,
        endpoint: &mut Endpoint,
        extra: Vec<IpNet>,
    ) -> Result<(), Error> {
        let Some(ns) = container.ns else {
            return Err(Error::new(Kind::System, "container has no namespace"));
        };
        check_route_conflicts(container, endpoint)?;
        self.check_port(network)?;
        let mac = self.choose_mac(container, network, place, endpoint)?;
        endpoint.mac = Some(mac);
        let to = match &network.base {
            Base::Bridge { id, .. } => AttachTo::Bridge(*id),
            Base::Shared { to, .. } => to.clone(),
            Base::Nothing => return Ok(()),
        };
        if matches!(to, AttachTo::Bridge(_) | AttachTo::Dummy(_)) {
            let place_name = [&container.name, "@", network.name()];
            endpoint.host_name = self.ids.veth(&place_name);
        }
        endpoint.ifname = self.choose_name(world, ns, network, place)?;
        let announce = match self.config.engine {
            Engine::V29 => options::announce(&network.spec.options)?,
            // Announced since 28.0; before, a MAC followed from the address.
            Engine::V20_10 => (0, core::time::Duration::from_secs(1)),
        };
        let plan = AttachPlan {
            to,
            host_name: endpoint.host_name.clone(),
            name: endpoint.ifname.clone(),
            mac,
            mtu: network.mtu,
            addresses: endpoint.addresses().chain(extra).collect(),
            announce,
        };
        let full = self
            .config
            .bridge_ports
            .is_some_and(|limit| network.endpoints.len() >= limit as usize);
        let attached = match (&network.base, full) {
            (Base::Bridge { .. }, true) => Err("exchange full".to_owned()),
            _ => world.plumb.attach(ns, &plan),
        };
        let iface = attached.map_err(|why| attach_error(container, network, &plan, &why))?;
        endpoint.iface = Some(iface);
        if is_crowded(network) {
            let own: Vec<_> = endpoint.addresses().map(|net| net.addr()).collect();
            world.plumb.guard(network.key, iface, &own);
        }
        Ok(())
    }

    fn choose_mac(
        &mut self,
        container: &Container,
        network: &Network,
        place: &Place,
        endpoint: &Endpoint,
    ) -> Result<Mac, Error> {
        let text = &place.spec.mac_address;
        if !text.is_empty() {
            return options::parse_mac(text)
                .ok_or_else(|| invalid(format!("invalid MAC address {text}")));
        }
        if let (Engine::V20_10, Some(net)) = (self.config.engine, endpoint.v4) {
            let [a, b, c, d] = net.addr().octets();
            return Ok([0x02, 0x42, a, b, c, d]);
        }
        Ok(match container.networks.len() {
            0 | 1 => self.ids.mac(&[&container.name]),
            _ => self.ids.mac(&[&container.name, "@", network.name()]),
        })
    }

    /// The name that is asked for, or the prefix with the lowest number that is free in the namespace.
    fn choose_name(
        &self,
        world: &World<'_>,
        ns: NsId,
        network: &Network,
        place: &Place,
    ) -> Result<String, Error> {
        let asked = options::ifname(&place.spec.driver_opts);
        if let Some(name) = asked.filter(|_| self.config.engine == Engine::V29) {
            if world.plumb.has_iface(ns, name) {
                return Err(Error::new(
                    Kind::System,
                    format!("error renaming interface \"veth\" to {name:?}: file exists"),
                ));
            }
            return Ok(name.to_owned());
        }
        let prefix = options::iface_prefix(&network.spec.options);
        let mut number = 0u32;
        loop {
            let name = [prefix, &number.to_string()].concat();
            if !world.plumb.has_iface(ns, &name) {
                return Ok(name);
            }
            number += 1;
        }
    }

    /// Takes an endpoint away: its interface, addresses and place in the network. Ports and names have
    /// gone before.
    pub(super) fn drop_endpoint(
        &mut self,
        world: &mut World<'_>,
        ns: Option<NsId>,
        endpoint: &Endpoint,
    ) {
        if let (Some(ns), Some(iface)) = (ns, endpoint.iface) {
            world.plumb.detach(ns, iface);
        }
        self.ids.free_veth(&endpoint.host_name);
        let Some(mut network) = self.networks.lift(endpoint.network) else {
            return;
        };
        if let Some(iface) = endpoint.iface.filter(|_| is_crowded(&network)) {
            world.plumb.unguard(network.key, iface);
        }
        for addr in endpoint.addresses() {
            self.free_endpoint_address(&network, addr);
        }
        network.endpoints.remove(&endpoint.key);
        self.networks.settle(endpoint.network, network);
    }
}

/// Its addresses may be led to by another interface than its bridge.
fn is_crowded(network: &Network) -> bool {
    matches!(&network.base, Base::Bridge { options, .. } if options.crowded)
}

fn attach_error(container: &Container, network: &Network, plan: &AttachPlan, why: &str) -> Error {
    let Base::Bridge { name: bridge, .. } = &network.base else {
        return Error::new(Kind::System, why);
    };
    let end = &plan.host_name;
    Error::new(
        Kind::System,
        format!(
            "failed to create endpoint {} on network {}: adding interface {end} to bridge {bridge} failed: {why}",
            container.name,
            network.name()
        ),
    )
}

/// `--link-local-ip`s, which have to be in 169.254.0.0/16 or fe80::/10.
fn link_locals(spec: &EndpointSpec) -> Result<Vec<IpNet>, Error> {
    spec.link_local_ips
        .iter()
        .map(|text| {
            let bad = || invalid(format!("invalid link local IP address: {text}"));
            let addr: IpAddr = text.parse().map_err(|_| bad())?;
            let (fits, len) = match addr {
                IpAddr::V4(ip) => (ip.is_link_local(), 16),
                IpAddr::V6(ip) => (ip.is_unicast_link_local(), 64),
            };
            IpNet::new(addr, len).ok().filter(|_| fits).ok_or_else(bad)
        })
        .collect()
}

/// `--driver-opt com.docker.network.endpoint.sysctls=net.ipv6.conf.IFNAME.disable_ipv6=1`.
fn v6_off_here(spec: &EndpointSpec) -> bool {
    spec.driver_opts
        .get("com.docker.network.endpoint.sysctls")
        .is_some_and(|list| {
            list.split(',')
                .any(|item| item.starts_with("net.ipv6.conf.") && item.ends_with(".disable_ipv6=1"))
        })
}

fn check_route_conflicts(container: &Container, endpoint: &Endpoint) -> Result<(), Error> {
    for other in container.endpoints() {
        for mine in endpoint.addresses() {
            let clash = other
                .addresses()
                .find(|theirs| bits::overlap(&mine, theirs));
            if let Some(theirs) = clash {
                return Err(Error::new(
                    Kind::System,
                    format!(
                        "cannot program address {mine} in sandbox interface because it conflicts with existing route {{Ifindex: {} Dst: {} Src: {} Gw: <nil> Flags: [] Table: 254}}",
                        other.iface.map_or(0, |i| i.0),
                        theirs.trunc(),
                        theirs.addr()
                    ),
                ));
            }
        }
    }
    Ok(())
}
