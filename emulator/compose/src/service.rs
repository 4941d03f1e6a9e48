//! A service of the file, as far as it touches the network.
//!
//! An attribute that reaches the network in a way that this crate does not model refuses the file:
//! `provider`, `uts: host`, a mount over the files that the engine writes (`/etc/hosts`,
//! `/etc/resolv.conf`, `/etc/hostname`).

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{ErrorKind, Fault};
use crate::model::{
    Condition, Dependency, ExtraHost, Healthcheck, Link, NetworkMode, Port, Published, Service,
    ServiceNetwork,
};
use crate::naming;
use crate::node::{At, Entry, Node, Place, Value};
use crate::ports;
use crate::read;
use crate::vethlab;

/// How many ports a project may publish, ranges spread out, repeated ones counted again.
pub const MAX_PORTS: usize = 131_072;

/// The project's ports so far.
pub(crate) struct PortCount {
    pub(crate) spread: usize,
    /// A port that is asked for twice is published twice.
    pub(crate) repeated: bool,
}

/// One entry of `services`, without its environment.
pub(crate) fn read(entry: &Entry, count: &mut PortCount) -> Result<Service, Fault> {
    let node = &entry.node;
    let name = &entry.key;
    refuse(name, node)?;
    let mut service = Service {
        name: name.clone(),
        at: entry.key_at,
        replicas: replicas(name, node)?,
        container_name: container_name(name, node)?,
        image: read::text(node, "image"),
        build: node.get("build").is_some_and(|build| !build.is_null()),
        command: read::command(node, "command")?,
        entrypoint: read::command(node, "entrypoint")?,
        hostname: read::text(node, "hostname"),
        domainname: read::text(node, "domainname"),
        mac_address: read::text(node, "mac_address"),
        ports: ports_of(name, node, count)?,
        links: links(node, "links"),
        external_links: links(node, "external_links"),
        extra_hosts: extra_hosts(node)?,
        dns: read::texts(node, "dns"),
        dns_search: read::texts(node, "dns_search"),
        dns_opt: read::texts(node, "dns_opt"),
        sysctls: read::options(node, "sysctls"),
        healthcheck: healthcheck(node)?,
        labels: read::options(node, "labels"),
        deploy_labels: node
            .get("deploy")
            .map(|deploy| read::options(deploy, "labels"))
            .unwrap_or_default(),
        vethlab: vethlab::service(node)?,
        ..Service::default()
    };
    expose(node, &mut service)?;
    network_mode(name, node, &mut service)?;
    if let Some(networks) = node.get("networks") {
        let networks = read::named(networks).into_iter();
        service.networks = networks
            .map(|(key, node)| member(key, node))
            .collect::<Result<_, _>>()?;
    }
    let profiles = read::texts(node, "profiles").into_iter();
    service.profiles = profiles.map(|profile| profile.value).collect();
    service.depends_on = dependencies(node, &service);
    check_addresses(&service)?;
    Ok(service)
}

/// What is not understood.
fn refuse(name: &str, node: &Node) -> Result<(), Fault> {
    if let Some(entry) = node.entry("provider") {
        let text = format!("services.{name}.provider is not understood");
        return Err(Fault::new(ErrorKind::NotUnderstood, entry.key_at, text)
            .hint("such a service is no container: a program outside the engine stands for it"));
    }
    if let Some(uts) = node.get("uts").filter(|uts| uts.as_str() == Some("host")) {
        let text = format!("services.{name}.uts: host is not understood");
        return Err(Fault::new(ErrorKind::NotUnderstood, uts.at, text));
    }
    let volumes = node.get("volumes").map_or(&[][..], Node::items);
    for volume in volumes {
        let target = mount_target(volume).unwrap_or_default();
        let target = target.trim_end_matches('/');
        if ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"].contains(&target) {
            let text = format!("services.{name}.volumes: a mount over {target} is not understood");
            return Err(Fault::new(ErrorKind::NotUnderstood, volume.at, text));
        }
    }
    Ok(())
}

/// Where a volume is mounted, of the short form or the long one.
fn mount_target(volume: &Node) -> Option<String> {
    if let Some(text) = volume.as_str() {
        let mut parts = text.split(':');
        let first = parts.next()?;
        let target = parts.find(|part| part.starts_with('/'));
        return Some(target.unwrap_or(first).to_owned());
    }
    volume.get("target")?.text()
}

fn replicas(name: &str, node: &Node) -> Result<u32, Fault> {
    let deploy = node.get("deploy").and_then(|node| node.get("replicas"));
    let scale = node.get("scale");
    let number = |node: Option<&Node>| node.and_then(read::integer);
    if let (Some(a), Some(b), Some(scale)) = (number(scale), number(deploy), scale)
        && a != b
    {
        let text = format!(
            "services.{name}: can't set distinct values on 'scale' and 'deploy.replicas': invalid compose project"
        );
        return Err(Fault::invalid(scale.at, text));
    }
    let (key, chosen) = match scale {
        Some(scale) => ("scale", Some(scale)),
        None => ("deploy.replicas", deploy),
    };
    let Some(chosen) = chosen else { return Ok(1) };
    let value = read::integer(chosen).unwrap_or(1);
    if value < 0 {
        let text = format!("services.{name}.{key}: must be greater than or equal to 0");
        return Err(Fault::invalid(chosen.at, text));
    }
    let replicas = u32::try_from(value).unwrap_or(u32::MAX);
    if replicas > 1 && node.get("container_name").is_some() {
        let text = format!(
            "services.{name}: can't set container_name and {key} as container name must be unique: invalid compose project"
        );
        return Err(Fault::invalid(chosen.at, text));
    }
    Ok(replicas)
}

fn container_name(name: &str, node: &Node) -> Result<Option<At<String>>, Fault> {
    let given = read::text(node, "container_name");
    read::check(given.as_ref(), naming::is_engine_name, |text| {
        format!(
            "services.{name}.container_name '{text}' does not match pattern '[a-zA-Z0-9][a-zA-Z0-9_.-]+'"
        )
    })?;
    Ok(given)
}

fn ports_of(name: &str, node: &Node, count: &mut PortCount) -> Result<Vec<Port>, Fault> {
    let mut seen: BTreeMap<_, usize> = BTreeMap::new();
    let mut out: Vec<Port> = Vec::new();
    let items = node.get("ports").map_or(&[][..], Node::items);
    for item in items {
        let ports = ports::read(item, name)?;
        if ports.iter().any(|port| port.target == 0) {
            let text = format!("service ports services.{name}.ports is missing a target port");
            return Err(Fault::invalid(item.at, text));
        }
        count.spread = count.spread.saturating_add(ports.len());
        if count.spread > MAX_PORTS {
            let text = format!("services.{name}.ports: more than {MAX_PORTS} ports in the project");
            return Err(Fault::new(ErrorKind::TooLarge, item.at, text));
        }
        if count.repeated {
            out.extend(ports);
            continue;
        }
        for port in ports {
            let ip = port.host_ip.clone().unwrap_or_else(|| "0.0.0.0".to_owned());
            let key = (ip, port.published, port.target, port.protocol);
            match seen.get(&key).and_then(|&index| out.get_mut(index)) {
                Some(slot) if port.published != Published::Ephemeral => *slot = port,
                Some(_) => {}
                None => {
                    seen.insert(key, out.len());
                    out.push(port);
                }
            }
        }
    }
    Ok(out)
}

fn expose(node: &Node, service: &mut Service) -> Result<(), Fault> {
    let items = node.get("expose").map_or(&[][..], Node::items);
    let mut seen = BTreeSet::new();
    for item in items {
        let expose = ports::expose(item)?;
        if seen.insert((expose.first, expose.last, expose.protocol)) {
            service.expose.push(expose);
        }
    }
    Ok(())
}

fn links(node: &Node, key: &str) -> Vec<Link> {
    let link = |text: At<String>| {
        let (target, alias) = match text.split_once(':') {
            Some((target, alias)) => (target, alias),
            None => (text.as_str(), text.as_str()),
        };
        Link {
            at: text.at,
            target: target.to_owned(),
            alias: alias.to_owned(),
        }
    };
    read::texts(node, key).into_iter().map(link).collect()
}

/// `extra_hosts`: a list of `host=address` or `host:address`, or a map to one address or several.
fn extra_hosts(node: &Node) -> Result<Vec<ExtraHost>, Fault> {
    let Some(node) = node.get("extra_hosts") else {
        return Ok(Vec::new());
    };
    let mut hosts: indexmap::IndexMap<String, ExtraHost> = indexmap::IndexMap::new();
    for item in node.items() {
        let text = item.text().unwrap_or_default();
        let Some((host, addresses)) = text.split_once('=').or_else(|| text.split_once(':')) else {
            let text = format!("invalid additional host, missing IP: {text}");
            return Err(Fault::invalid(item.at, text));
        };
        let entry = extra_host(&mut hosts, host, item.at);
        entry.addresses.extend(addresses.split(',').map(bare));
    }
    for Entry { key, key_at, node } in node.entries() {
        let entry = extra_host(&mut hosts, key, *key_at);
        let items = node.items().iter().filter_map(Node::text);
        entry.addresses = node
            .text()
            .into_iter()
            .chain(items)
            .map(|text| bare(&text))
            .collect();
    }
    for host in hosts.values() {
        check_extra_host(host)?;
    }
    Ok(hosts.into_values().collect())
}

fn extra_host<'h>(
    hosts: &'h mut indexmap::IndexMap<String, ExtraHost>,
    host: &str,
    at: Place,
) -> &'h mut ExtraHost {
    hosts.entry(host.to_owned()).or_insert_with(|| ExtraHost {
        at,
        host: host.to_owned(),
        addresses: Vec::new(),
    })
}

fn bare(address: &str) -> String {
    let inner = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(address).to_owned()
}

fn check_extra_host(host: &ExtraHost) -> Result<(), Fault> {
    if host.host.is_empty() || host.host.contains([':', '=']) {
        let text = format!("bad host name '{}'", host.host);
        return Err(Fault::invalid(host.at, text));
    }
    // An empty address, as from a variable that is not set, is the engine's to refuse.
    let known = |text: &str| text.is_empty() || text == "host-gateway" || read::is_ip(text);
    match host.addresses.iter().find(|text| !known(text)) {
        Some(text) => {
            let text = format!("invalid IP address in add-host: {text:?}");
            Err(Fault::invalid(host.at, text))
        }
        None => Ok(()),
    }
}

fn healthcheck(node: &Node) -> Result<Option<Healthcheck>, Fault> {
    let Some(node) = node.get("healthcheck") else {
        return Ok(None);
    };
    let disable = read::flag(node, "disable");
    let Some(test) = node.get("test") else {
        let (test, at) = (Vec::new(), None);
        return Ok(Some(Healthcheck { test, at, disable }));
    };
    let words: Vec<String> = match test.as_str() {
        Some(text) => vec!["CMD-SHELL".to_owned(), text.to_owned()],
        None => test.items().iter().filter_map(Node::text).collect(),
    };
    match words.first().map(String::as_str) {
        None | Some("CMD" | "CMD-SHELL" | "NONE") => Ok(Some(Healthcheck {
            test: words,
            at: Some(test.at),
            disable,
        })),
        Some(_) => {
            let text = "healthcheck.test must start either by \"CMD\", \"CMD-SHELL\" or \"NONE\"";
            Err(Fault::invalid(test.at, text))
        }
    }
}

fn network_mode(name: &str, node: &Node, service: &mut Service) -> Result<(), Fault> {
    let Some(mode) = node.get("network_mode") else {
        return Ok(());
    };
    service.network_mode_at = Some(mode.at);
    let text = mode.as_str().unwrap_or_default();
    service.network_mode = match text {
        // Where an empty mode leads depends on the whole project.
        "" => NetworkMode::Networks,
        "bridge" | "default" => NetworkMode::Bridge,
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        _ => match text.split_once(':') {
            Some(("service", other)) => NetworkMode::Service(other.to_owned()),
            Some(("container", other)) => NetworkMode::Container(other.to_owned()),
            _ => NetworkMode::Named(text.to_owned()),
        },
    };
    let networks = node.get("networks");
    let joins = networks.is_some_and(|node| !node.items().is_empty() || !node.entries().is_empty());
    if joins && !text.is_empty() {
        let text = format!(
            "service {name} declares mutually exclusive `network_mode` and `networks`: invalid compose project"
        );
        return Err(Fault::invalid(mode.at, text));
    }
    Ok(())
}

fn member(key: At<String>, node: Option<&Node>) -> Result<ServiceNetwork, Fault> {
    let mut member = ServiceNetwork {
        key: key.value,
        at: key.at,
        ..ServiceNetwork::default()
    };
    let Some(node) = node else { return Ok(member) };
    let number = |key: &str| node.get(key).and_then(read::integer).unwrap_or(0);
    member.aliases = read::texts(node, "aliases");
    member.ipv4_address = read::text(node, "ipv4_address");
    member.ipv6_address = read::text(node, "ipv6_address");
    member.link_local_ips = read::texts(node, "link_local_ips");
    member.mac_address = read::text(node, "mac_address");
    member.interface_name = read::text(node, "interface_name");
    member.driver_opts = read::options(node, "driver_opts");
    member.priority = number("priority");
    member.gw_priority = number("gw_priority");
    read::check(member.ipv4_address.as_ref(), read::is_ipv4, |text| {
        format!("invalid IPv4 address: {text}")
    })?;
    read::check(member.ipv6_address.as_ref(), read::is_ipv6, |text| {
        format!("invalid IPv6 address: {text}")
    })?;
    for address in &member.link_local_ips {
        read::check(Some(address), read::is_ip, |text| {
            format!("invalid link local IP address: {text}")
        })?;
    }
    read::check(member.mac_address.as_ref(), read::is_mac, bad_mac)?;
    Ok(member)
}

fn bad_mac(text: &str) -> String {
    format!("invalid MAC address: {text}")
}

fn check_addresses(service: &Service) -> Result<(), Fault> {
    read::check(service.mac_address.as_ref(), read::is_mac, bad_mac)?;
    for address in &service.dns {
        read::check(Some(address), read::is_ip, |text| {
            format!("bad nameserver address: {text}")
        })?;
    }
    let Some(mac) = &service.mac_address else {
        return Ok(());
    };
    let Some(primary) = service.primary_network() else {
        return Ok(());
    };
    read::check(
        primary.mac_address.as_ref(),
        |text| text == mac.value,
        |_| {
            let key = &primary.key;
            format!("the service-level mac_address should have the same value as network {key}")
        },
    )
}

/// What must run first, each service once.
fn dependencies(node: &Node, service: &Service) -> Vec<Dependency> {
    let mut out: indexmap::IndexMap<String, Dependency> = indexmap::IndexMap::new();
    if let Some(depends_on) = node.get("depends_on") {
        for (key, node) in read::named(depends_on) {
            let dependency = dependency(&key, node);
            out.insert(key.value, dependency);
        }
    }
    let links = service
        .links
        .iter()
        .map(|link| (link.target.clone(), link.at));
    let spaces = ["network_mode", "ipc", "pid", "uts", "cgroup"].into_iter();
    let spaces = spaces.filter_map(|key| {
        let node = node.get(key)?;
        let other = node.as_str()?.strip_prefix("service:")?;
        Some((other.to_owned(), node.at))
    });
    let volumes = read::texts(node, "volumes_from").into_iter();
    let volumes = volumes.filter(|text| !text.starts_with("container:"));
    let volumes = volumes.map(|text| {
        let other = text.split(':').next().unwrap_or_default();
        (other.to_owned(), text.at)
    });
    for (name, at) in links.chain(spaces).chain(volumes) {
        out.entry(name.clone()).or_insert_with(|| Dependency {
            at,
            service: name,
            condition: Condition::Started,
            required: true,
        });
    }
    out.into_values().collect()
}

fn dependency(key: &At<String>, node: Option<&Node>) -> Dependency {
    let condition = node.and_then(|node| node.get("condition"));
    let condition = match condition.and_then(Node::as_str) {
        Some("service_healthy") => Condition::Healthy,
        Some("service_completed_successfully") => Condition::Completed,
        _ => Condition::Started,
    };
    let required = node.and_then(|node| node.get("required"));
    Dependency {
        at: key.at,
        service: key.value.clone(),
        condition,
        required: required.is_none_or(|node| node.value != Value::Bool(false)),
    }
}
