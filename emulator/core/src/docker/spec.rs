//! What the verbs are asked for: networks, endpoints, containers, ports.
//!
//! Addresses stay text where Docker's API takes text, because its errors quote them.

use core::net::IpAddr;
use std::collections::BTreeMap;

/// Which engine is modelled. They differ as `docker-networking.md` §13 and the records' index say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Engine {
    /// Docker 20.10, the engine of the recorded truth table.
    V20_10,
    /// Docker 29.
    #[default]
    V29,
}

/// What `docker network create` takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkSpec {
    /// The name.
    pub name: String,
    /// `bridge` if empty.
    pub driver: String,
    /// `--internal`: no way in or out.
    pub internal: bool,
    /// `--ipv4`; `None` is Docker's default, on.
    pub ipv4: Option<bool>,
    /// `--ipv6`; `None` is Docker's default, off.
    pub ipv6: Option<bool>,
    /// `--attachable`.
    pub attachable: bool,
    /// `--ingress`.
    pub ingress: bool,
    /// `--scope`, empty if not given.
    pub scope: String,
    /// `--config-only`.
    pub config_only: bool,
    /// `--config-from`.
    pub config_from: Option<String>,
    /// `--ipam-driver`, `default` if empty.
    pub ipam_driver: String,
    /// `--ipam-opt`.
    pub ipam_options: BTreeMap<String, String>,
    /// One entry a subnet.
    pub ipam: Vec<IpamConfig>,
    /// `-o`: driver options.
    pub options: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
}

/// One subnet as it was asked for. Empty texts were not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpamConfig {
    /// `--subnet`.
    pub subnet: String,
    /// `--ip-range`.
    pub ip_range: String,
    /// `--gateway`.
    pub gateway: String,
    /// `--aux-address name=ip`.
    pub aux_addresses: BTreeMap<String, String>,
}

/// How a container takes part in one network: `docker network connect`'s options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSpec {
    /// `--ip`, empty if not given.
    pub ipv4: String,
    /// `--ip6`, empty if not given.
    pub ipv6: String,
    /// `--link-local-ip`.
    pub link_local_ips: Vec<String>,
    /// `mac-address=`, empty if not given.
    pub mac_address: String,
    /// `--alias`.
    pub aliases: Vec<String>,
    /// `--link container:alias`.
    pub links: Vec<String>,
    /// `--driver-opt`.
    pub driver_opts: BTreeMap<String, String>,
    /// `--gw-priority`.
    pub gw_priority: i64,
}

/// A transport protocol that can be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proto {
    /// Carried.
    Tcp,
    /// Carried.
    Udp,
    /// Accepted and modelled, but no segment of it is carried.
    Sctp,
}

impl core::fmt::Display for Proto {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// A container port such as `80/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// The number.
    pub number: u16,
    /// The protocol.
    pub proto: Proto,
}

impl core::fmt::Display for Port {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}", self.number, self.proto)
    }
}

/// The host's side of a published port as it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPort {
    /// Any free port of the ephemeral range.
    #[default]
    Ephemeral,
    /// This one.
    Exact(u16),
    /// Any free one of this range, ends included.
    Range(u16, u16),
}

/// One `-p`, ranges already spread out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortBinding {
    /// The container's port.
    pub port: Port,
    /// The host's address; `None` is the network's default binding.
    pub host_ip: Option<IpAddr>,
    /// The host's port.
    pub host_port: HostPort,
}

/// A socket that a container's program holds open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listening {
    /// The address that it binds; `None` is every address of both families.
    pub address: Option<IpAddr>,
    /// Its port. One of SCTP is not opened.
    pub port: Port,
}

/// What a container does besides being there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerSpec {
    /// `--name`; drawn from the seed if not given.
    pub name: Option<String>,
    /// The image's name.
    pub image: String,
    /// Command and arguments; empty is the image's own.
    pub command: Vec<String>,
    /// A stand-in for whatever the image and the command would run: a program that listens on exactly
    /// these and tells each caller its own address. `None` leaves it to the image.
    pub listens: Option<Vec<Listening>>,
    /// `-h`.
    pub hostname: Option<String>,
    /// `--domainname`.
    pub domainname: Option<String>,
    /// The first `--network` as it was written: a network, `host`, `none`, `default`,
    /// `container:NAME`; empty is the default bridge.
    pub network_mode: String,
    /// Options of each network, in the order given. The network of `network_mode` may be missing here
    /// (it has no options then).
    pub endpoints: Vec<(String, EndpointSpec)>,
    /// `-p`.
    pub ports: Vec<PortBinding>,
    /// `-P`.
    pub publish_all: bool,
    /// `--expose` and the image's EXPOSE.
    pub expose: Vec<Port>,
    /// `--link`, the default network's.
    pub links: Vec<String>,
    /// `--add-host`, as written.
    pub extra_hosts: Vec<String>,
    /// `--dns`.
    pub dns: Vec<String>,
    /// `--dns-search`.
    pub dns_search: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
    /// `--mac-address`, the first network's.
    pub mac_address: Option<String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `-e`.
    pub env: Vec<String>,
    /// `--sysctl`.
    pub sysctls: BTreeMap<String, String>,
    /// `--rm`.
    pub auto_remove: bool,
}
