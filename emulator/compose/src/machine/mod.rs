//! The machine that the engine runs on, as far as a project's network depends on it: a file for
//! `--host`.
//!
//! A YAML or JSON map with the keys
//!
//! | key | what |
//! |---|---|
//! | `daemon` | what `/etc/docker/daemon.json` holds |
//! | `routes` | what `ip -j route` prints (and `ip -j -6 route`: one list behind the other) |
//! | `addresses` | what `ip -j addr` prints |
//! | `uplink` | the name of the interface that leads out; else that of the default route |
//! | `forward` | the policy of the FORWARD chain, `DROP` (the default) or `ACCEPT`: the first line of `iptables -S FORWARD` |
//! | `mtu` | the uplink's MTU in bytes; else what `addresses` says of it |
//!
//! each of which may be left out. On the machine itself it is made so:
//!
//! ```sh
//! printf '{"daemon": %s, "routes": %s, "addresses": %s}\n' \
//!     "$(cat /etc/docker/daemon.json)" "$(ip -j route)" "$(ip -j addr)" > machine.json
//! ```
//!
//! Everything is passive: whether addresses fit together is for the engine to say. Left out: rules
//! and routing tables beside the main one, firewall rules of others.

mod daemon;
mod ip;

use core::net::IpAddr;

use indexmap::IndexMap;
use ipnet::IpNet;

use crate::error::{ErrorKind, Errors, Fault};
use crate::near;
use crate::node::Node;
use crate::vethlab;
use crate::yaml;

const KEYS: [&str; 6] = ["addresses", "daemon", "forward", "mtu", "routes", "uplink"];

/// The least MTU that IPv4 allows, in bytes.
const MIN_MTU: u32 = 68;
/// The largest MTU of an interface, in bytes.
const MAX_MTU: u32 = 65_536;

/// A machine as its file describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineFile {
    /// `daemon.json`.
    pub daemon: DaemonFile,
    /// The routes of the main table, in file order.
    pub routes: Vec<HostRoute>,
    /// The interfaces with their addresses, in file order.
    pub interfaces: Vec<HostInterface>,
    /// `uplink` as given.
    pub uplink: Option<String>,
    /// `mtu` as given, in bytes.
    pub mtu: Option<u32>,
    /// `forward`: whether the policy of the FORWARD chain is DROP, if it is said. The daemon sets it where it turns
    /// forwarding on itself; where the machine forwarded before, it stays ACCEPT.
    pub forward_drop: Option<bool>,
}

/// What `daemon.json` says about networks; everything not given is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaemonFile {
    /// `allow-direct-routing`.
    pub allow_direct_routing: Option<bool>,
    /// `bip`: docker0's address and subnet.
    pub bip: Option<IpNet>,
    /// `bip6`.
    pub bip6: Option<IpNet>,
    /// `default-address-pools`.
    pub default_address_pools: Vec<HostPool>,
    /// `default-gateway` and `default-gateway-v6`.
    pub default_gateways: Vec<IpAddr>,
    /// `default-network-opts`: driver options of new networks, by driver.
    pub default_network_opts: IndexMap<String, IndexMap<String, String>>,
    /// `dns`.
    pub dns: Vec<IpAddr>,
    /// `dns-opts`.
    pub dns_opts: Vec<String>,
    /// `dns-search`.
    pub dns_search: Vec<String>,
    /// `fixed-cidr`.
    pub fixed_cidr: Option<IpNet>,
    /// `fixed-cidr-v6`.
    pub fixed_cidr_v6: Option<IpNet>,
    /// `host-gateway-ip` or `host-gateway-ips`.
    pub host_gateway_ips: Vec<IpAddr>,
    /// `icc`.
    pub icc: Option<bool>,
    /// `ip`: where ports are published when nobody says.
    pub ip: Option<IpAddr>,
    /// `ip6tables`.
    pub ip6tables: Option<bool>,
    /// `ip-masq`.
    pub ip_masq: Option<bool>,
    /// `ipv6`.
    pub ipv6: Option<bool>,
    /// `mtu` of docker0, in bytes.
    pub mtu: Option<u32>,
    /// `ip-forward-no-drop`: the policy of the FORWARD chain is left alone (27.5).
    pub ip_forward_no_drop: Option<bool>,
    /// `userland-proxy`.
    pub userland_proxy: Option<bool>,
}

/// One of `default-address-pools`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPool {
    /// What is cut.
    pub base: IpNet,
    /// The length of the prefix of each piece.
    pub size: u8,
}

/// A route of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRoute {
    /// Where it leads; `None` is the default route.
    pub destination: Option<IpNet>,
    /// The next hop; `None` if the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The interface, if one is named.
    pub interface: Option<String>,
    /// The preferred source address.
    pub source: Option<IpAddr>,
    /// `metric`; 0 if there is none.
    pub metric: u32,
}

/// An interface of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInterface {
    /// Its name.
    pub name: String,
    /// Its MTU in bytes, if it is told.
    pub mtu: Option<u32>,
    /// Its addresses with their prefixes.
    pub addresses: Vec<IpNet>,
}

impl HostRoute {
    /// Whether it is one of IPv6; `default` by an interface alone is one of IPv4.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        let destination = self.destination.map(|net| net.addr());
        let known = destination.or(self.gateway).or(self.source);
        known.is_some_and(|address| address.is_ipv6())
    }
}

impl HostInterface {
    /// It is loopback, or one that the engine made.
    fn is_apart(&self) -> bool {
        self.name == "lo" || is_engines(&self.name)
    }

    /// The addresses by which others may know it.
    pub fn global(&self) -> impl Iterator<Item = IpNet> {
        let addresses = self.addresses.iter().copied();
        addresses.filter(|net| match net.addr() {
            IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
        })
    }
}

impl MachineFile {
    /// Reads the text of a file by the name of `file`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(file: &str, text: &str) -> Result<Self, Errors> {
        read(text).map_err(|fault| Errors(vec![fault.in_text(file, text)]))
    }

    /// The interface that leads out: the one that is named, else that of the default route with the
    /// least metric, else the first with an address that others may know, the engine's left out.
    #[must_use]
    pub fn uplink(&self) -> Option<&str> {
        let defaults = self
            .routes
            .iter()
            .filter(|route| route.destination.is_none());
        let least = defaults
            .filter(|route| route.interface.is_some())
            .min_by_key(|route| route.metric);
        let named = self.uplink.as_deref();
        let mut own = self.interfaces.iter().filter(|own| !own.is_apart());
        let mut first = || own.find(|own| own.global().next().is_some());
        named
            .or_else(|| least?.interface.as_deref())
            .or_else(|| first().map(|first| first.name.as_str()))
    }

    /// The uplink that is named has to be one of the interfaces, where these are listed.
    fn check_uplink(&self, node: &Node) -> Result<(), Fault> {
        let names = || self.interfaces.iter().map(|own| own.name.as_str());
        let Some(name) = self.uplink.as_deref() else {
            return Err(Fault::invalid(
                node.at,
                "uplink must be the name of an interface",
            ));
        };
        if self.interfaces.is_empty() || names().any(|own| own == name) {
            return Ok(());
        }
        let message = format!("there is no interface {name:?} among the addresses");
        let mut fault = Fault::new(ErrorKind::Undefined, node.at, message);
        let known: Vec<&str> = names().take(8).collect();
        let near = near::hint(name, names());
        fault.hint = near.or_else(|| Some(format!("there are: {}", known.join(", "))));
        Err(fault)
    }

    /// The uplink's MTU in bytes, if it is told.
    #[must_use]
    pub fn uplink_mtu(&self) -> Option<u32> {
        let interface = || {
            let name = self.uplink()?;
            let found = self.interfaces.iter().find(|found| found.name == name)?;
            found.mtu
        };
        self.mtu.or_else(interface)
    }
}

/// Whether an interface by this name is one that the engine made: docker0, a bridge of a network or
/// the host's end of a container's. Routes through these are not the machine's own.
#[must_use]
pub fn is_engines(interface: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|c| c.is_ascii_hexdigit());
    match interface {
        "docker0" | "docker_gwbridge" => true,
        name => match (name.strip_prefix("br-"), name.strip_prefix("veth")) {
            (Some(id), _) => id.len() == 12 && hex(id),
            (_, Some(id)) => id.len() >= 7 && hex(&id[..7.min(id.len())]),
            _ => false,
        },
    }
}

/// `forward`: `DROP` or `ACCEPT`.
fn forward(node: &Node) -> Result<bool, Fault> {
    match node.as_str() {
        Some("DROP") => Ok(true),
        Some("ACCEPT") => Ok(false),
        _ => Err(Fault::invalid(node.at, "forward must be DROP or ACCEPT")
            .hint("it is the policy that `iptables -S FORWARD` prints first")),
    }
}

fn read(text: &str) -> Result<MachineFile, Fault> {
    let roots = yaml::parse(text, 0)?;
    let Some(root) = roots.first().filter(|root| !root.is_null()) else {
        return Ok(MachineFile::default());
    };
    if let Some(second) = roots.get(1) {
        return Err(Fault::invalid(second.at, "a machine is one document"));
    }
    vethlab::keys(root, &KEYS, "a machine").map_err(|fault| pasted(root, fault))?;
    let get = |key: &str| root.get(key).filter(|node| !node.is_null());
    let machine = MachineFile {
        daemon: get("daemon")
            .map(daemon::read)
            .transpose()?
            .unwrap_or_default(),
        routes: get("routes")
            .map(ip::routes)
            .transpose()?
            .unwrap_or_default(),
        forward_drop: get("forward").map(forward).transpose()?,
        interfaces: get("addresses")
            .map(ip::interfaces)
            .transpose()?
            .unwrap_or_default(),
        uplink: get("uplink").and_then(Node::text),
        mtu: get("mtu").map(mtu).transpose()?,
    };
    match get("uplink") {
        Some(node) => machine.check_uplink(node).map(|()| machine),
        None => Ok(machine),
    }
}

/// A file that is one of the parts, not a map of them.
fn pasted(root: &Node, fault: Fault) -> Fault {
    let first = root.items().first();
    let part = match (first, root.entries().first()) {
        (Some(item), _) if item.entry("dst").is_some() => "routes",
        (Some(item), _) if item.entry("ifname").is_some() => "addresses",
        (_, Some(entry)) if daemon::is_key(&entry.key) => "daemon",
        _ => return fault,
    };
    fault.hint(format!("put it under the key `{part}`"))
}

fn mtu(node: &Node) -> Result<u32, Fault> {
    let number = match node.value {
        crate::node::Value::Int(number) => u32::try_from(number).ok(),
        _ => None,
    };
    number
        .filter(|mtu| (MIN_MTU..=MAX_MTU).contains(mtu))
        .ok_or_else(|| {
            let text = node.text().unwrap_or_default();
            let message = format!("{text:?} is no MTU: a number from {MIN_MTU} to {MAX_MTU}");
            Fault::invalid(node.at, message)
        })
}

/// A scalar that must be of some type.
fn parsed<T: core::str::FromStr>(node: &Node, what: &str) -> Result<T, Fault> {
    let text = node.text().unwrap_or_default();
    text.parse()
        .map_err(|_| Fault::invalid(node.at, format!("{text:?} is no {what}")))
}

/// A value that this crate knows the meaning of but not how to model it.
fn not_understood(node: &Node, key: &str) -> Fault {
    let value = node.text().unwrap_or_default();
    let message = format!("daemon.json: {key}: {value} is not understood");
    Fault::new(ErrorKind::NotUnderstood, node.at, message)
}
