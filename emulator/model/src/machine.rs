//! The engine and the machine that it runs on: what is configured besides the project.

use core::net::IpAddr;
use std::collections::BTreeMap;

use ipnet::IpNet;

/// Whose rules count. Between the two stand the changes of 25.0 to 29.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Docker 20.10.
    V20_10,
    /// Docker 29.
    #[default]
    V29,
}

/// The daemon's settings and the host's places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// `icc`: members of the default bridge may talk to each other.
    pub icc: bool,
    /// `ip-masq`: what leaves the default bridge is masqueraded.
    pub ip_masq: bool,
    /// `userland-proxy`.
    pub userland_proxy: bool,
    /// `allow-direct-routing`: from outside, a container's own address takes what is published. 28.0 and
    /// later have it.
    pub allow_direct_routing: bool,
    /// The policy of the FORWARD chain is DROP, which the daemon sets where it turns forwarding on itself.
    pub forward_drop: bool,
    /// `ip6tables`: IPv6 is filtered and translated as IPv4 is.
    pub ip6tables: bool,
    /// `dns` of the daemon: resolvers for every container.
    pub dns: Vec<IpAddr>,
    /// The resolvers of the host's resolv.conf.
    pub resolvers: Vec<IpAddr>,
    /// The lines of the host's `/etc/hosts`, a name each.
    pub hosts: Vec<(IpAddr, String)>,
    /// `default-network-opts`: options of new networks that do not set them, by driver (24.0 on).
    pub network_options: BTreeMap<String, BTreeMap<String, String>>,
    /// `host-gateway-ips`; empty is the default bridge's addresses.
    pub host_gateway: Vec<IpAddr>,
    /// The name of the uplink's interface.
    pub uplink_name: Option<String>,
    /// The host's addresses on its uplink, each with its subnet.
    pub uplink: Vec<IpNet>,
    /// The host's addresses on interfaces where nobody else is, each with its subnet.
    pub others: Vec<IpNet>,
    /// The router's addresses on the uplink's segment.
    pub router: Vec<IpAddr>,
    /// The host has a default route through the router, for IPv4 and for IPv6.
    pub leads_out: [bool; 2],
    /// The addresses of `lan`, another machine on the uplink's segment. It may be the router itself.
    pub lan: Vec<IpAddr>,
    /// `lan` sends what it has no better way for to the host.
    pub lan_through_host: bool,
    /// The addresses that are `internet`.
    pub internet: Vec<IpNet>,
    /// The addresses that `internet` calls from.
    pub internet_own: Vec<IpAddr>,
}

impl Machine {
    /// Docker's defaults on a host without uplink.
    #[must_use]
    pub const fn new(engine: Engine) -> Self {
        Self {
            icc: true,
            ip_masq: true,
            userland_proxy: true,
            allow_direct_routing: false,
            forward_drop: true,
            ip6tables: matches!(engine, Engine::V29),
            dns: Vec::new(),
            resolvers: Vec::new(),
            hosts: Vec::new(),
            network_options: BTreeMap::new(),
            host_gateway: Vec::new(),
            uplink_name: None,
            uplink: Vec::new(),
            others: Vec::new(),
            router: Vec::new(),
            leads_out: [false; 2],
            lan: Vec::new(),
            lan_through_host: false,
            internet: Vec::new(),
            internet_own: Vec::new(),
        }
    }
}
