//! The daemon's configuration: what `daemon.json` and the host's own files say.

use core::net::IpAddr;
use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::ipam::AddressPool;
use super::spec::Engine;
use crate::id::NsId;

/// What `dockerd` is started with, and the parts of the host that it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonConfig {
    /// Which engine is modelled.
    pub engine: Engine,
    /// The namespace of the host, which containers in host mode share.
    pub host_ns: NsId,
    /// `default-address-pools`; empty is Docker's own list.
    pub default_address_pools: Vec<AddressPool>,
    /// `bip`: the address and subnet of docker0.
    pub bip: Option<Ipv4Net>,
    /// `bip6`: the same for IPv6.
    pub bip6: Option<Ipv6Net>,
    /// `fixed-cidr`: where docker0's containers get their addresses.
    pub fixed_cidr: Option<Ipv4Net>,
    /// `fixed-cidr-v6`.
    pub fixed_cidr_v6: Option<Ipv6Net>,
    /// `default-gateway` and `default-gateway-v6` of docker0's containers.
    pub default_gateways: Vec<IpAddr>,
    /// `icc`: containers of docker0 may talk to each other.
    pub icc: bool,
    /// `ip-masq`: what leaves docker0 is masqueraded.
    pub ip_masq: bool,
    /// `ip6tables`: IPv6 is filtered and translated as IPv4 is.
    pub ip6tables: bool,
    /// `userland-proxy`.
    pub userland_proxy: bool,
    /// `allow-direct-routing`: packets to a container's own address are not dropped for coming from
    /// outside its bridge. Docker 28 has it.
    pub allow_direct_routing: bool,
    /// What the filter says of a packet that the host forwards and no rule speaks of: it is dropped if the daemon had
    /// to turn forwarding on itself (and was not told `ip-forward-no-drop`), else the policy stays what it was.
    pub forward_drop: bool,
    /// `ip`: where ports are published when nobody says; `None` is everywhere.
    pub ip: Option<IpAddr>,
    /// `mtu` of docker0.
    pub mtu: u32,
    /// `ipv6` on docker0.
    pub ipv6: bool,
    /// `dns`.
    pub dns: Vec<String>,
    /// `dns-search`.
    pub dns_search: Vec<String>,
    /// `dns-opts`.
    pub dns_options: Vec<String>,
    /// `host-gateway-ips`; empty is docker0's addresses.
    pub host_gateway_ips: Vec<IpAddr>,
    /// The text of the host's `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// The text of `/run/systemd/resolve/resolv.conf`, read for docker0 if the other file names
    /// 127.0.0.53 only.
    pub resolv_conf_systemd: Option<String>,
    /// The text of the host's `/etc/hosts`.
    pub hosts: String,
    /// The host's name.
    pub hostname: String,
    /// `net.ipv4.ip_local_port_range`, ends included: the ports that are picked by themselves.
    pub ephemeral_ports: (u16, u16),
    /// `net.ipv4.ip_local_reserved_ports`, as ranges with both ends: never picked by themselves.
    pub reserved_ports: Vec<(u16, u16)>,
    /// The engine's id, from which the pool for IPv6 comes.
    pub host_id: String,
    /// How many ports a bridge has: Linux's 1,023; `None` lifts it.
    pub bridge_ports: Option<u32>,
    /// The host listens on IPv6: without an address, ports are published there too.
    pub host_v6: bool,
    /// `default-network-opts`: options of new networks that do not set them, by driver (24.0 on).
    pub default_network_options: BTreeMap<String, BTreeMap<String, String>>,
    /// Networks that the host is on besides those of the lab, such as a VPN: automatic subnets stay away from them.
    pub host_networks: Vec<IpNet>,
}

impl DaemonConfig {
    /// Docker's defaults for an engine on the host that every lab has.
    #[must_use]
    pub fn new(engine: Engine, host_ns: NsId) -> Self {
        Self {
            engine,
            host_ns,
            default_address_pools: Vec::new(),
            bip: None,
            bip6: None,
            fixed_cidr: None,
            fixed_cidr_v6: None,
            default_gateways: Vec::new(),
            icc: true,
            ip_masq: true,
            ip6tables: engine == Engine::V29,
            userland_proxy: true,
            allow_direct_routing: false,
            forward_drop: true,
            ip: None,
            mtu: 1500,
            ipv6: false,
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_options: Vec::new(),
            host_gateway_ips: Vec::new(),
            resolv_conf: "nameserver 192.0.2.1\n".to_owned(),
            resolv_conf_systemd: None,
            hosts: "127.0.0.1\tlocalhost\n".to_owned(),
            hostname: "host".to_owned(),
            ephemeral_ports: (32768, 60999),
            reserved_ports: Vec::new(),
            host_id: "vethlab".to_owned(),
            bridge_ports: Some(1023),
            host_v6: true,
            default_network_options: BTreeMap::new(),
            host_networks: Vec::new(),
        }
    }

    /// The networks that the host's resolvers are in, as single addresses: automatic subnets stay
    /// away from them.
    pub(super) fn resolver_nets(&self) -> Vec<IpNet> {
        self.resolv_conf
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                (words.next() == Some("nameserver")).then_some(())?;
                words.next()?.parse::<IpAddr>().ok()
            })
            .map(IpNet::from)
            .collect()
    }
}
