//! `daemon.json`: every key that dockerd has, and what those of the network say.

use core::net::IpAddr;

use indexmap::IndexMap;
use ipnet::IpNet;

use super::{DaemonFile, HostPool, mtu, not_understood, parsed};
use crate::error::{ErrorKind, Fault};
use crate::near;
use crate::node::{Entry, Node, Value};
use crate::read;

/// The keys that do not touch the network.
const OTHERS: [&str; 74] = [
    "add-runtime",
    "allow-nondistributable-artifacts",
    "api-cors-header",
    "apparmor-profile",
    "authorization-plugins",
    "bridge-accept-fwmark",
    "builder",
    "cdi-spec-dirs",
    "cgroup-parent",
    "cluster-advertise",
    "cluster-store",
    "cluster-store-opts",
    "config-file",
    "containerd",
    "containerd-namespace",
    "containerd-plugin-namespace",
    "containerd-plugins-namespace",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "data-root",
    "debug",
    "default-cgroupns-mode",
    "default-ipc-mode",
    "default-runtime",
    "default-shm-size",
    "default-ulimits",
    "deprecated-key-path",
    "exec-opts",
    "exec-root",
    "experimental",
    "features",
    "firewall-backend",
    "graph",
    "group",
    "hosts",
    "http-proxy",
    "https-proxy",
    "init",
    "init-path",
    "insecure-registries",
    "isolation",
    "labels",
    "live-restore",
    "log-driver",
    "log-format",
    "log-level",
    "log-opts",
    "max-concurrent-downloads",
    "max-concurrent-uploads",
    "max-download-attempts",
    "metrics-addr",
    "min-api-version",
    "network-control-plane-mtu",
    "no-new-privileges",
    "no-proxy",
    "node-generic-resources",
    "nri-opts",
    "oom-score-adjust",
    "pidfile",
    "proxies",
    "raw-logs",
    "registry-mirrors",
    "rootless",
    "runtimes",
    "seccomp-profile",
    "selinux-enabled",
    "shutdown-timeout",
    "storage-driver",
    "storage-opts",
    "swarm-default-advertise-addr",
    "tls",
    "tlscacert",
    "tlscert",
    "tlskey",
];

/// The rest of them, and those that this crate reads.
const READ: [&str; 30] = [
    "allow-direct-routing",
    "bip",
    "bip6",
    "bridge",
    "default-address-pools",
    "default-gateway",
    "default-gateway-v6",
    "default-network-opts",
    "dns",
    "dns-opts",
    "dns-search",
    "fixed-cidr",
    "fixed-cidr-v6",
    "host-gateway-ip",
    "host-gateway-ips",
    "icc",
    "ip",
    "ip-forward",
    "ip-forward-no-drop",
    "ip-masq",
    "ip6tables",
    "iptables",
    "ipv6",
    "mtu",
    "tlsverify",
    "userland-proxy",
    "userland-proxy-path",
    "userns-remap",
    "validate",
    "version",
];

/// Whether dockerd has such a key.
pub(super) fn is_key(key: &str) -> bool {
    OTHERS.contains(&key) || READ.contains(&key)
}

pub(super) fn read(node: &Node) -> Result<DaemonFile, Fault> {
    let Value::Map(entries) = &node.value else {
        return Err(Fault::invalid(node.at, "daemon must be a mapping")
            .hint("it is what /etc/docker/daemon.json holds"));
    };
    let mut daemon = DaemonFile::default();
    for Entry { key, key_at, node } in entries {
        if !is_key(key) {
            let message =
                format!("the following directives don't match any configuration option: {key}");
            let mut fault = Fault::invalid(*key_at, message);
            fault.hint = near::hint(key, OTHERS.iter().chain(&READ).copied());
            return Err(fault);
        }
        if !node.is_null() {
            value(&mut daemon, key, node)?;
        }
    }
    Ok(daemon)
}

fn value(daemon: &mut DaemonFile, key: &str, node: &Node) -> Result<(), Fault> {
    let empty = node.as_str() == Some("");
    match key {
        "allow-direct-routing" => daemon.allow_direct_routing = Some(flag(key, node)?),
        "bip" if !empty => daemon.bip = Some(prefix(node, true)?),
        "bip6" if !empty => daemon.bip6 = Some(prefix(node, false)?),
        "bridge" if !empty && node.as_str() != Some("docker0") => {
            return Err(not_understood(node, key));
        }
        "default-address-pools" => daemon.default_address_pools = pools(node)?,
        "default-gateway" | "default-gateway-v6" if !empty => {
            daemon.default_gateways.push(address(node)?);
        }
        "default-network-opts" => daemon.default_network_opts = options(node)?,
        "dns" => daemon.dns = list(node)?.iter().map(address).collect::<Result<_, _>>()?,
        "dns-opts" => daemon.dns_opts = texts(node)?,
        "dns-search" => daemon.dns_search = texts(node)?,
        "fixed-cidr" if !empty => daemon.fixed_cidr = Some(prefix(node, true)?),
        "fixed-cidr-v6" if !empty => daemon.fixed_cidr_v6 = Some(prefix(node, false)?),
        "host-gateway-ip" | "host-gateway-ips" if !empty => {
            let single = core::slice::from_ref(node);
            let items = match &node.value {
                Value::List(items) => items.as_slice(),
                _ => single,
            };
            for item in items {
                daemon.host_gateway_ips.push(address(item)?);
            }
        }
        "icc" => daemon.icc = Some(flag(key, node)?),
        "ip" if !empty => daemon.ip = Some(address(node)?),
        "ip-forward-no-drop" => daemon.ip_forward_no_drop = Some(flag(key, node)?),
        "ip6tables" => daemon.ip6tables = Some(flag(key, node)?),
        "ip-masq" => daemon.ip_masq = Some(flag(key, node)?),
        "ipv6" => daemon.ipv6 = Some(flag(key, node)?),
        "mtu" if node.value != Value::Int(0) => daemon.mtu = Some(mtu(node)?),
        "userland-proxy" => daemon.userland_proxy = Some(flag(key, node)?),
        // A host that does not filter, or does not forward, is another network altogether.
        "iptables" | "ip-forward" if !flag(key, node)? => return Err(not_understood(node, key)),
        _ => {}
    }
    Ok(())
}

fn flag(key: &str, node: &Node) -> Result<bool, Fault> {
    match node.value {
        Value::Bool(value) => Ok(value),
        _ => {
            let message = format!("daemon.json: {key} must be true or false");
            Err(Fault::invalid(node.at, message))
        }
    }
}

fn address(node: &Node) -> Result<IpAddr, Fault> {
    parsed(node, "IP address")
}

fn prefix(node: &Node, v4: bool) -> Result<IpNet, Fault> {
    let family = if v4 { "IPv4" } else { "IPv6" };
    let what = format!("{family} prefix such as 10.1.0.1/16");
    let net: IpNet = parsed(node, &what)?;
    match net.addr().is_ipv4() == v4 {
        true => Ok(net),
        false => Err(Fault::invalid(node.at, format!("{net} is not {family}"))),
    }
}

fn list(node: &Node) -> Result<&[Node], Fault> {
    match &node.value {
        Value::List(items) => Ok(items),
        _ => Err(Fault::invalid(node.at, "must be a list")),
    }
}

fn texts(node: &Node) -> Result<Vec<String>, Fault> {
    Ok(list(node)?.iter().filter_map(Node::text).collect())
}

fn pools(node: &Node) -> Result<Vec<HostPool>, Fault> {
    list(node)?.iter().map(pool).collect()
}

fn pool(node: &Node) -> Result<HostPool, Fault> {
    let part = |key: &str| {
        node.get(key).ok_or_else(|| {
            let message = format!("an address pool needs \"{key}\"");
            Fault::invalid(node.at, message)
                .hint("write {\"base\": \"10.10.0.0/16\", \"size\": 24}")
        })
    };
    let (base, size_node) = (part("base")?, part("size")?);
    let base: IpNet = parsed(base, "prefix such as 10.10.0.0/16")?;
    let size: u8 = parsed(size_node, "length of a prefix")?;
    if size < base.prefix_len() || size > base.max_prefix_len() {
        let message = format!("invalid pool size {size} for the base {base}");
        return Err(Fault::new(ErrorKind::Invalid, size_node.at, message));
    }
    Ok(HostPool { base, size })
}

fn options(node: &Node) -> Result<IndexMap<String, IndexMap<String, String>>, Fault> {
    let Value::Map(entries) = &node.value else {
        return Err(Fault::invalid(node.at, "must be a mapping"));
    };
    let pairs = entries.iter().map(|entry| {
        let options = read::options(node, &entry.key).into_iter();
        let options = options.map(|(key, value)| (key, value.value));
        (entry.key.clone(), options.collect())
    });
    Ok(pairs.collect())
}
