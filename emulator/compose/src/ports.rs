//! Ports as they are written: the short form `[ip:][host:]container[/protocol]` with ranges, the
//! long form, and `expose`.
//!
//! Grammar and messages are those of Docker's port parser, which compose uses. An empty host port
//! (`:80`, as from a variable that is not set) is an ephemeral one, an empty container port is
//! an error.

use core::net::IpAddr;

use crate::error::Fault;
use crate::model::{Expose, Port, Protocol, Published};
use crate::node::{Node, Place, Value};

/// One entry of `ports`, ranges spread out.
pub(crate) fn read(node: &Node, service: &str) -> Result<Vec<Port>, Fault> {
    match &node.value {
        Value::Map(_) => Ok(vec![long(node, service)?]),
        _ => {
            let text = node.text().unwrap_or_default();
            short(&text, node.at).map_err(|message| Fault::invalid(node.at, message))
        }
    }
}

/// The short form.
pub(crate) fn short(raw: &str, at: Place) -> Result<Vec<Port>, String> {
    let (ip, host, container) = split(raw);
    let (container, protocol) = protocol(container)?;
    let host_ip = host_ip(ip)?;
    if container.is_empty() {
        return Err(format!("no port specified: {raw}<empty>"));
    }
    let (first, last) =
        range(container).ok_or_else(|| format!("invalid containerPort: {container}"))?;
    let host_range = match host {
        "" => None,
        host => Some(range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?),
    };
    if let Some((a, b)) = host_range
        && b - a != last - first
        && first != last
    {
        return Err(format!(
            "invalid ranges specified for container and host Ports: {container} and {host}"
        ));
    }
    let port = |target: u16| Port {
        at,
        target,
        protocol,
        published: published(host_range, target - first, first == last),
        host_ip: host_ip.clone(),
        mode: "ingress".to_owned(),
        name: None,
        app_protocol: None,
    };
    Ok((first..=last).map(port).collect())
}

fn published(range: Option<(u16, u16)>, offset: u16, single: bool) -> Published {
    match range {
        None => Published::Ephemeral,
        Some((0, 0)) => Published::Ephemeral,
        Some((a, b)) if single && a != b => Published::Range(a, b),
        Some((a, _)) => Published::Exact(a.saturating_add(offset)),
    }
}

/// Address, host port and container port; missing ones are empty.
fn split(raw: &str) -> (&str, &str, &str) {
    let Some((rest, container)) = raw.rsplit_once(':') else {
        return ("", "", raw);
    };
    match rest.rsplit_once(':') {
        None => ("", rest, container),
        Some((ip, host)) => (ip, host, container),
    }
}

fn protocol(container: &str) -> Result<(&str, Protocol), String> {
    let (port, name) = container.split_once('/').unwrap_or((container, ""));
    if port.is_empty() {
        return Ok(("", Protocol::Tcp));
    }
    let protocol = named_protocol(name).ok_or_else(|| format!("invalid proto: {name}"))?;
    Ok((port, protocol))
}

fn named_protocol(name: &str) -> Option<Protocol> {
    match name.to_ascii_lowercase().as_str() {
        "" | "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

fn host_ip(ip: &str) -> Result<Option<String>, String> {
    if ip.is_empty() {
        return Ok(None);
    }
    let bare = match ip.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .ok_or_else(|| format!("invalid IP address {ip}: missing ']' in address"))?,
        None => ip,
    };
    if bare.is_empty() {
        return Ok(None);
    }
    match bare.parse::<IpAddr>() {
        Ok(_) => Ok(Some(bare.to_owned())),
        Err(_) => Err(format!("invalid IP address: {bare}")),
    }
}

/// `N` or `N-M`, with N not above M.
fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    let (first, last) = match text.split_once('-') {
        None => (number(text)?, number(text)?),
        Some((first, last)) => (number(first)?, number(last)?),
    };
    (first <= last).then_some((first, last))
}

/// The long form.
fn long(node: &Node, service: &str) -> Result<Port, Fault> {
    let field = |key: &str| node.get(key).and_then(Node::text);
    let place = |key: &str| node.get(key).map_or(node.at, |node| node.at);
    let name = field("protocol").unwrap_or_default();
    let Some(protocol) = named_protocol(&name) else {
        let text = format!("invalid proto: {name}");
        return Err(Fault::invalid(place("protocol"), text));
    };
    let Some(target) = field("target") else {
        let text = format!("service ports services.{service}.ports is missing a target port");
        return Err(Fault::invalid(node.at, text));
    };
    let Some((target, last)) = range(&target) else {
        let text = format!("invalid containerPort: {target}");
        return Err(Fault::invalid(place("target"), text));
    };
    if target != last {
        let text = format!("invalid containerPort: {target}-{last}");
        return Err(Fault::invalid(place("target"), text));
    }
    let host = field("published").unwrap_or_default();
    let host_range = match host.as_str() {
        "" => None,
        host => match range(host) {
            Some(range) => Some(range),
            None => {
                let text = format!("invalid hostPort: {host}");
                return Err(Fault::invalid(place("published"), text));
            }
        },
    };
    let host_ip = field("host_ip").unwrap_or_default();
    if !host_ip.is_empty() && host_ip.parse::<IpAddr>().is_err() {
        let text = format!("services.{service}.ports[]: invalid ip address: {host_ip}");
        return Err(Fault::invalid(place("host_ip"), text));
    }
    Ok(Port {
        at: node.at,
        target,
        protocol,
        published: published(host_range, 0, true),
        host_ip: Some(host_ip).filter(|ip| !ip.is_empty()),
        mode: field("mode").unwrap_or_else(|| "ingress".to_owned()),
        name: field("name"),
        app_protocol: field("app_protocol"),
    })
}

/// One entry of `expose`: `N`, `N-M`, either with `/protocol`.
pub(crate) fn expose(node: &Node) -> Result<Expose, Fault> {
    let text = node.text().unwrap_or_default();
    let fault = |message: String| Fault::invalid(node.at, message);
    let (port, protocol) = protocol(&text).map_err(fault)?;
    let (first, last) = range(port).ok_or_else(|| {
        let message = format!("invalid containerPort: {text}");
        fault(message)
    })?;
    Ok(Expose {
        at: node.at,
        first,
        last,
        protocol,
    })
}

/// `N` or `N-M`, either with `/protocol`: what something listens on.
pub(crate) fn listened(text: &str) -> Option<(u16, u16, Protocol)> {
    let (port, protocol) = protocol(text).ok()?;
    let (first, last) = range(port)?;
    Some((first, last, protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(port: &Port) -> String {
        let published = match port.published {
            Published::Ephemeral => "any".to_owned(),
            Published::Exact(port) => port.to_string(),
            Published::Range(a, b) => format!("{a}..{b}"),
        };
        let ip = port.host_ip.as_deref().unwrap_or("*");
        format!("{ip} {published}->{}/{}", port.target, port.protocol)
    }

    #[test]
    fn the_short_form() {
        let cases: &[(&str, &[&str])] = &[
            ("80", &["* any->80/tcp"]),
            ("8080:80", &["* 8080->80/tcp"]),
            ("8080:80/udp", &["* 8080->80/udp"]),
            ("53:53/UDP", &["* 53->53/udp"]),
            ("9/sctp", &["* any->9/sctp"]),
            (":80", &["* any->80/tcp"]),
            ("127.0.0.1::80", &["127.0.0.1 any->80/tcp"]),
            ("127.0.0.1:8080:80", &["127.0.0.1 8080->80/tcp"]),
            ("[::1]:8080:80", &["::1 8080->80/tcp"]),
            ("::1:8080:80", &["::1 8080->80/tcp"]),
            ("[fe80::1]::80", &["fe80::1 any->80/tcp"]),
            (
                "3000-3002",
                &["* any->3000/tcp", "* any->3001/tcp", "* any->3002/tcp"],
            ),
            (
                "9090-9091:8080-8081",
                &["* 9090->8080/tcp", "* 9091->8081/tcp"],
            ),
            ("8000-8010:80", &["* 8000..8010->80/tcp"]),
            ("8000-8000:80", &["* 8000->80/tcp"]),
            (
                "0.0.0.0:1-2:3-4/udp",
                &["0.0.0.0 1->3/udp", "0.0.0.0 2->4/udp"],
            ),
            ("65535-65535:65535", &["* 65535->65535/tcp"]),
            ("0080", &["* any->80/tcp"]),
            ("0:80", &["* any->80/tcp"]),
        ];
        for (text, wanted) in cases {
            let ports = short(text, Place::default()).unwrap();
            let seen: Vec<String> = ports.iter().map(show).collect();
            assert_eq!(seen, *wanted, "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        let cases = [
            ("", "no port specified: <empty>"),
            ("8080:", "no port specified: 8080:<empty>"),
            ("/udp", "no port specified: /udp<empty>"),
            ("a", "invalid containerPort: a"),
            ("65536", "invalid containerPort: 65536"),
            ("-1", "invalid containerPort: -1"),
            ("+80", "invalid containerPort: +80"),
            ("81-80", "invalid containerPort: 81-80"),
            ("x:80", "invalid hostPort: x"),
            ("80/icmp", "invalid proto: icmp"),
            (
                "1-2:3-5",
                "invalid ranges specified for container and host Ports: 3-5 and 1-2",
            ),
            (
                "1:3-5",
                "invalid ranges specified for container and host Ports: 3-5 and 1",
            ),
            ("1.2.3:1:2", "invalid IP address: 1.2.3"),
            ("host:1:2", "invalid IP address: host"),
            (
                "[::1:8:8",
                "invalid IP address [::1: missing ']' in address",
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(short(text, Place::default()).unwrap_err(), wanted, "{text}");
        }
    }

    fn node(text: &str) -> Node {
        crate::yaml::parse(text, 0).unwrap().remove(0)
    }

    #[test]
    fn the_long_form() {
        let text =
            "{target: 80, published: '8000-8010', host_ip: '::1', protocol: udp, mode: host}";
        let port = &read(&node(text), "s").unwrap()[0];
        assert_eq!(show(port), "::1 8000..8010->80/udp");
        assert_eq!(port.mode, "host");
        assert_eq!(
            show(&read(&node("{target: 80}"), "s").unwrap()[0]),
            "* any->80/tcp"
        );
        assert_eq!(
            show(&read(&node("8080"), "s").unwrap()[0]),
            "* any->8080/tcp"
        );
    }

    #[test]
    fn the_long_form_refused_at_its_field() {
        let cases = [
            (
                "{target: 80, host_ip: nope}",
                23,
                "services.s.ports[]: invalid ip address: nope",
            ),
            (
                "{published: 80}",
                1,
                "service ports services.s.ports is missing a target port",
            ),
            ("{target: 99999}", 10, "invalid containerPort: 99999"),
            ("{target: 1, protocol: x}", 23, "invalid proto: x"),
        ];
        for (text, column, message) in cases {
            let fault = read(&node(text), "s").unwrap_err();
            let at = fault.at.map(|at| at.column);
            assert_eq!((at, fault.message.as_str()), (Some(column), message));
        }
    }

    #[test]
    fn exposed_ports() {
        for (text, first, last, protocol) in [
            ("3000", 3000, 3000, Protocol::Tcp),
            ("'53/udp'", 53, 53, Protocol::Udp),
            ("1-3/tcp", 1, 3, Protocol::Tcp),
        ] {
            let expose = expose(&node(text)).unwrap();
            assert_eq!(
                (expose.first, expose.last, expose.protocol),
                (first, last, protocol)
            );
        }
        assert!(expose(&node("x")).is_err());
        assert!(expose(&node("80:80")).is_err());
    }
}
