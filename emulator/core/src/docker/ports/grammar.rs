//! The grammar of `-p`: `[address:][host ports:]container ports[/protocol]`.
//!
//! Models `nat.ParsePortSpec` of docker/go-connections with its errors. A range of container ports
//! needs a range of host ports of the same length (or none); one container port with a range of host
//! ports means "any free one of them".

use core::net::IpAddr;

use crate::docker::error::{Error, Kind};
use crate::docker::spec::{HostPort, Port, PortBinding, Proto};

fn invalid(message: String) -> Error {
    Error::new(Kind::Invalid, message)
}

/// A protocol by its name, in any case.
///
/// # Errors
/// `invalid proto: X`.
pub fn parse_proto(text: &str) -> Result<Proto, Error> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Proto::Tcp),
        "udp" => Ok(Proto::Udp),
        "sctp" => Ok(Proto::Sctp),
        other => Err(invalid(format!("invalid proto: {other}"))),
    }
}

fn number(text: &str) -> Option<u16> {
    // Go's ParseUint takes no sign.
    if text.starts_with('+') {
        return None;
    }
    text.parse().ok()
}

/// `80` or `80-85`, the first not above the last.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = match text.split_once('-') {
        None => {
            let port = number(text)?;
            (port, port)
        }
        Some((first, last)) => (number(first)?, number(last)?),
    };
    (first <= last).then_some((first, last))
}

fn address(text: &str) -> Result<Option<IpAddr>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let bare = match text.strip_prefix('[') {
        None => text,
        Some(rest) => rest.strip_suffix(']').ok_or_else(|| {
            invalid(format!(
                "invalid IP address {text}: address {text}:: missing ']' in address"
            ))
        })?,
    };
    bare.parse()
        .map(Some)
        .map_err(|_| invalid(format!("invalid IP address: {bare}")))
}

/// `address`, `host ports` and `container ports`, as far as the colons go.
fn parts(text: &str) -> (&str, &str, &str) {
    let Some((head, container)) = text.rsplit_once(':') else {
        return ("", "", text);
    };
    match head.rsplit_once(':') {
        None => ("", head, container),
        Some((ip, host)) => (ip, host, container),
    }
}

/// Spreads one `-p` into its bindings, one for each container port.
///
/// # Errors
/// Docker's: `no port specified: X<empty>`, `invalid proto: X`, `invalid IP address: X`,
/// `invalid containerPort: X`, `invalid hostPort: X`,
/// `invalid ranges specified for container and host Ports: C and H`.
pub fn parse_port_spec(text: &str) -> Result<Vec<PortBinding>, Error> {
    let (ip, host, container) = parts(text);
    let (ports, proto) = container.split_once('/').unwrap_or((container, ""));
    if ports.is_empty() {
        return Err(invalid(format!("no port specified: {text}<empty>")));
    }
    let proto = parse_proto(if proto.is_empty() { "tcp" } else { proto })?;
    let host_ip = address(ip)?;
    let (first, last) =
        range(ports).ok_or_else(|| invalid(format!("invalid containerPort: {ports}")))?;
    let hosts = if host.is_empty() {
        None
    } else {
        Some(range(host).ok_or_else(|| invalid(format!("invalid hostPort: {host}")))?)
    };
    if let Some((from, to)) = hosts
        && last - first != to - from
        && first != last
    {
        return Err(invalid(format!(
            "invalid ranges specified for container and host Ports: {ports} and {host}"
        )));
    }
    let host_port = |i: u16| match hosts {
        None | Some((0, 0)) => HostPort::Ephemeral,
        Some((from, to)) if first == last && from != to => HostPort::Range(from, to),
        // In bounds: the host's range is as long as the container's.
        Some((from, _)) => HostPort::Exact(from + i),
    };
    Ok((0..=last - first)
        .map(|i| PortBinding {
            port: Port {
                number: first + i,
                proto,
            },
            host_ip,
            host_port: host_port(i),
        })
        .collect())
}

/// Reads `--expose` or EXPOSE: `80`, `80/udp`, `80-85/tcp`.
///
/// # Errors
/// `invalid range format for --expose: X, error: …` as the command line words it.
pub fn parse_expose(text: &str) -> Result<Vec<Port>, Error> {
    if text.contains(':') {
        return Err(invalid(format!("invalid port format for --expose: {text}")));
    }
    let (ports, proto) = text.split_once('/').unwrap_or((text, "tcp"));
    let proto = parse_proto(if proto.is_empty() { "tcp" } else { proto })?;
    let (first, last) = range(ports).ok_or_else(|| {
        invalid(format!(
            "invalid range format for --expose: {text}, error: invalid port '{ports}'"
        ))
    })?;
    Ok((first..=last)
        .map(|number| Port { number, proto })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(binding: &PortBinding) -> String {
        let ip = binding
            .host_ip
            .map_or_else(String::new, |ip| format!("{ip} "));
        let host = match binding.host_port {
            HostPort::Ephemeral => "*".to_owned(),
            HostPort::Exact(port) => port.to_string(),
            HostPort::Range(from, to) => format!("{from}-{to}"),
        };
        format!("{ip}{host}>{}", binding.port)
    }

    #[test]
    fn forms() {
        let rows: &[(&str, &str)] = &[
            ("80", "*>80/tcp"),
            ("80/UDP", "*>80/udp"),
            ("80/", "*>80/tcp"),
            ("8080:80", "8080>80/tcp"),
            ("0:80", "*>80/tcp"),
            (":80", "*>80/tcp"),
            ("127.0.0.1:8080:80", "127.0.0.1 8080>80/tcp"),
            ("127.0.0.1::80", "127.0.0.1 *>80/tcp"),
            ("[::1]:8080:80/sctp", "::1 8080>80/sctp"),
            ("::1:8080:80", "::1 8080>80/tcp"),
            ("[fd00::5]::80", "fd00::5 *>80/tcp"),
            ("9090-9092:80", "9090-9092>80/tcp"),
            ("3000-3001", "*>3000/tcp *>3001/tcp"),
            ("9800-9801:80-81", "9800>80/tcp 9801>81/tcp"),
            (
                "127.0.0.1:8080-8081:80-81/tcp",
                "127.0.0.1 8080>80/tcp 127.0.0.1 8081>81/tcp",
            ),
        ];
        for (text, expected) in rows {
            let got: Vec<_> = parse_port_spec(text).unwrap().iter().map(show).collect();
            assert_eq!(got.join(" "), *expected, "{text}");
        }
        let all = parse_port_spec("9800-9803:80-83").unwrap();
        assert_eq!(all.len(), 4, "case 60");
        assert_eq!(parse_port_spec("65535").unwrap()[0].port.number, 65535);
    }

    #[test]
    fn errors() {
        let rows: &[(&str, &str)] = &[
            ("", "no port specified: <empty>"),
            ("8080:", "no port specified: 8080:<empty>"),
            ("9090-9089:80", "invalid hostPort: 9090-9089"), // case 59
            ("9090-:80", "invalid hostPort: 9090-"),         // case 59
            ("-9090:80", "invalid hostPort: -9090"),         // case 59
            ("65536:80", "invalid hostPort: 65536"),
            ("+80", "invalid containerPort: +80"),
            ("web", "invalid containerPort: web"),
            ("80/icmp", "invalid proto: icmp"),
            ("300.0.0.1:80:80", "invalid IP address: 300.0.0.1"),
            ("host:80:80", "invalid IP address: host"),
            (
                "8000-8001:80-82",
                "invalid ranges specified for container and host Ports: 80-82 and 8000-8001",
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(
                parse_port_spec(text).unwrap_err().message,
                *expected,
                "{text}"
            );
        }
    }

    #[test]
    fn exposed() {
        let list =
            |text| parse_expose(text).map(|p| p.iter().map(Port::to_string).collect::<Vec<_>>());
        assert_eq!(list("80").unwrap(), ["80/tcp"]);
        assert_eq!(list("80-82/udp").unwrap(), ["80/udp", "81/udp", "82/udp"]);
        assert!(list("80:80").is_err());
        assert!(list("82-80").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = parse_port_spec(&text);
            let _ = parse_expose(&text);
        }
    }
}
