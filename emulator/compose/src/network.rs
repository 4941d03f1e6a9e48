//! The networks of a file: names, options, IPAM.
//!
//! Only the syntax of addresses is checked, in the engine's words; ranges, gateways and overlaps
//! are the engine's business.

use ipnet::IpNet;

use crate::error::{Fault, Warning};
use crate::model::{Network, Subnet};
use crate::node::{At, Entry, Node, Value};
use crate::read;
use crate::vethlab;

/// One entry of `networks`.
pub(crate) fn read(
    entry: &Entry,
    project: &str,
    warnings: &mut Vec<Warning>,
) -> Result<Network, Fault> {
    let node = &entry.node;
    let external = external(entry, warnings)?;
    let name = match read::text(node, "name").or_else(|| external.name.clone()) {
        Some(name) => name.value,
        None if external.yes => entry.key.clone(),
        None => format!("{project}_{}", entry.key),
    };
    let said = described(node, external.yes)?;
    let node = said.unwrap_or(node);
    let mut network = Network {
        key: entry.key.clone(),
        at: entry.key_at,
        name,
        external: external.yes,
        described: said.is_some(),
        driver: read::text(node, "driver"),
        driver_opts: read::options(node, "driver_opts"),
        internal: read::flag(node, "internal"),
        attachable: read::flag(node, "attachable"),
        enable_ipv4: read::maybe_flag(node, "enable_ipv4"),
        enable_ipv6: read::maybe_flag(node, "enable_ipv6"),
        ..Network::default()
    };
    let labels = read::pairs(node, "labels").into_iter();
    network.labels = labels
        .map(|(key, pair)| (key, pair.value.unwrap_or_default()))
        .collect();
    if let Some(ipam) = node.get("ipam") {
        network.ipam_driver = read::text(ipam, "driver");
        network.ipam_options = read::options(ipam, "options");
        let items = ipam.get("config").map_or(&[][..], Node::items);
        network.ipam = items.iter().map(subnet).collect::<Result<_, _>>()?;
    }
    Ok(network)
}

/// What an external network is, as whoever makes it would write it: for vethlab to make one like it.
fn described(node: &Node, external: bool) -> Result<Option<&Node>, Fault> {
    let Some(said) = node.get(vethlab::KEY).filter(|said| !said.is_null()) else {
        return Ok(None);
    };
    if !external {
        return Err(Fault::invalid(
            said.at,
            "x-vethlab of a network says what an external one is",
        )
        .hint("write its keys beside `name`, as the network is the project's own"));
    }
    Ok(Some(said))
}

struct External {
    yes: bool,
    name: Option<At<String>>,
}

/// `external`: a boolean, or the old form with a name.
fn external(entry: &Entry, warnings: &mut Vec<Warning>) -> Result<External, Fault> {
    let Some(node) = entry.node.get("external") else {
        return Ok(External {
            yes: false,
            name: None,
        });
    };
    if !matches!(node.value, Value::Map(_)) {
        let yes = matches!(node.value, Value::Bool(true));
        return Ok(External { yes, name: None });
    }
    let name = read::text(node, "name");
    if let Some(name) = &name {
        let key = &entry.key;
        let message = format!(
            "networks.{key}: external.name is deprecated. Please set name and external: true"
        );
        let at = Some(name.at);
        warnings.push(Warning { message, at });
        let other = read::text(&entry.node, "name");
        if other.is_some_and(|other| other.value != name.value) {
            let text = format!("networks.{key}: name and external.name conflict; only use name");
            return Err(Fault::invalid(name.at, text));
        }
    }
    Ok(External { yes: true, name })
}

fn subnet(node: &Node) -> Result<Subnet, Fault> {
    let subnet = Subnet {
        at: node.at,
        subnet: read::text(node, "subnet"),
        ip_range: read::text(node, "ip_range"),
        gateway: read::text(node, "gateway"),
        aux_addresses: read::options(node, "aux_addresses"),
    };
    let is_block = |text: &str| text.parse::<IpNet>().is_ok();
    read::check(subnet.subnet.as_ref(), is_block, |text| {
        format!("invalid subnet {text}: invalid CIDR block notation")
    })?;
    read::check(subnet.ip_range.as_ref(), is_block, |text| {
        format!("invalid ip-range {text}: invalid CIDR block notation")
    })?;
    read::check(subnet.gateway.as_ref(), read::is_ip, |text| {
        format!("invalid gateway {text}: invalid address")
    })?;
    for address in subnet.aux_addresses.values() {
        read::check(Some(address), read::is_ip, |text| {
            format!("invalid auxiliary address {text}: invalid address")
        })?;
    }
    Ok(subnet)
}
