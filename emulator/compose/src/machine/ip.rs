//! What `ip -j route` and `ip -j addr` print. Fields that are not read here are not looked at:
//! versions of the tool differ in them.

use core::net::IpAddr;

use ipnet::IpNet;

use super::{HostInterface, HostRoute, mtu, parsed};
use crate::error::{ErrorKind, Fault};
use crate::node::{Node, Value};
use crate::read;

/// How many routes or interfaces are read.
const MAX_ITEMS: usize = 65_536;
/// How many of them may have addresses by which others may know them, the engine's left out.
const MAX_OWN: usize = 64;

/// Where the internet of every world is, and the router's way there: no machine can be there too.
const INTERNET: [&str; 4] = [
    "198.51.100.0/24",
    "203.0.113.0/30",
    "2001:db8:ffff::/48",
    "2001:db8:fffe::/64",
];

fn items<'n>(node: &'n Node, key: &str, command: &str) -> Result<&'n [Node], Fault> {
    match &node.value {
        Value::List(items) if items.len() <= MAX_ITEMS => Ok(items),
        _ => {
            let message = format!("{key} must be a list");
            Err(Fault::invalid(node.at, message).hint(format!("it is what `{command}` prints")))
        }
    }
}

pub(super) fn routes(node: &Node) -> Result<Vec<HostRoute>, Fault> {
    let mut routes = Vec::new();
    for item in items(node, "routes", "ip -j route")? {
        // Kinds other than unicast have no way out that an engine could count on.
        let kind = item.get("type").and_then(Node::as_str).unwrap_or("unicast");
        if item.entries().is_empty() || kind != "unicast" {
            continue;
        }
        routes.push(route(item)?);
    }
    Ok(routes)
}

fn route(item: &Node) -> Result<HostRoute, Fault> {
    let Some(dst) = item.get("dst") else {
        return Err(Fault::invalid(item.at, "a route needs \"dst\"")
            .hint("routes are what `ip -j route` prints"));
    };
    let destination = match dst.as_str() {
        Some("default") => None,
        Some(text) if !text.contains('/') => Some(IpNet::from(parsed::<IpAddr>(dst, "address")?)),
        _ => Some(parsed::<IpNet>(dst, "prefix")?.trunc()),
    };
    let address = |key: &str| {
        item.get(key)
            .map(|node| parsed(node, "IP address"))
            .transpose()
    };
    let metric = item.get("metric").and_then(read::integer).unwrap_or(0);
    Ok(HostRoute {
        destination: destination.filter(|net| net.prefix_len() > 0),
        gateway: address("gateway")?,
        interface: item.get("dev").and_then(Node::text),
        source: address("prefsrc")?,
        metric: u32::try_from(metric).unwrap_or(u32::MAX),
    })
}

pub(super) fn interfaces(node: &Node) -> Result<Vec<HostInterface>, Fault> {
    let (mut interfaces, mut own) = (Vec::new(), 0);
    for item in items(node, "addresses", "ip -j addr")? {
        // Some versions of the tool print an empty map for what is filtered out.
        if item.entries().is_empty() {
            continue;
        }
        let read = interface(item)?;
        own += usize::from(!read.is_apart() && read.global().next().is_some());
        interfaces.push(read);
        if own > MAX_OWN {
            let message = format!("more than {MAX_OWN} interfaces have addresses of their own");
            return Err(Fault::new(ErrorKind::TooLarge, item.at, message)
                .hint("leave out those where no project publishes a port"));
        }
    }
    Ok(interfaces)
}

fn interface(item: &Node) -> Result<HostInterface, Fault> {
    let Some(name) = item.get("ifname").and_then(Node::text) else {
        return Err(Fault::invalid(item.at, "an interface needs \"ifname\"")
            .hint("addresses are what `ip -j addr` prints"));
    };
    let mut addresses = Vec::new();
    for info in item.get("addr_info").map_or(&[][..], Node::items) {
        let Some(local) = info.get("local") else {
            continue;
        };
        let address: IpAddr = parsed(local, "IP address")?;
        let length = info.get("prefixlen").and_then(read::integer);
        let length = length.and_then(|length| u8::try_from(length).ok());
        let net = match length {
            None => Some(IpNet::from(address)),
            Some(length) => IpNet::new(address, length).ok(),
        };
        let net = net.ok_or_else(|| Fault::invalid(info.at, "a prefix that is too long"))?;
        apart(net, local)?;
        addresses.push(net);
    }
    let mtu = item.get("mtu").map(mtu).transpose()?;
    Ok(HostInterface {
        name,
        mtu,
        addresses,
    })
}

/// Refuses an address where the internet is, or with a link that the internet would be on.
fn apart(own: IpNet, node: &Node) -> Result<(), Fault> {
    let nets = INTERNET.iter().filter_map(|net| net.parse::<IpNet>().ok());
    let over = |net: &IpNet| net.contains(&own) || own.contains(net);
    let Some(net) = nets.into_iter().find(over) else {
        return Ok(());
    };
    let address = own.addr();
    let message = if net.contains(&address) {
        format!("{address} is in {net}, where the internet of a world is")
    } else {
        format!("the link of {own} has {net} in it, where the internet of a world is")
    };
    Err(Fault::invalid(node.at, message)
        .hint("the prefix is set apart for documentation: take the machine's own address"))
}
