//! Are a container's settings for a network sound? The checks at `create` and at `network connect`.
//!
//! Models `validateEndpointSettings` of `daemon/container_operations.go` of Docker 29, which says all
//! that is wrong at once, and `validateNetworkingConfig` of 20.10.

use core::net::IpAddr;

use super::error::{Error, Kind};
use super::network::{Network, is_user_defined};
use super::options;
use super::spec::{EndpointSpec, Engine};
use super::validate::join;

const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// Checks what is asked of a network called `name`, which need not be there yet.
///
/// # Errors
/// In Docker's words; in Docker 29 under `invalid endpoint settings:`.
pub fn check(
    engine: Engine,
    network: Option<&Network>,
    name: &str,
    spec: &EndpointSpec,
) -> Result<(), Error> {
    match engine {
        Engine::V29 => check_29(network, name, spec),
        Engine::V20_10 => check_20_10(network, name, spec),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, message)
}

fn parse(text: &str, v6: bool) -> Option<IpAddr> {
    text.parse::<IpAddr>()
        .ok()
        .filter(|ip| ip.is_ipv6() == v6 && !ip.is_unspecified())
}

fn families(spec: &EndpointSpec) -> [(&str, bool); 2] {
    [(&spec.ipv4, false), (&spec.ipv6, true)]
}

fn check_29(network: Option<&Network>, name: &str, spec: &EndpointSpec) -> Result<(), Error> {
    let mut errors = Vec::new();
    if !is_user_defined(name) {
        if !spec.ipv4.is_empty() || !spec.ipv6.is_empty() {
            errors.push(
                "user-specified IP address is supported on user-defined networks only".to_owned(),
            );
        }
        if !spec.aliases.is_empty() {
            errors.push(
                "network-scoped aliases are only supported for user-defined networks".to_owned(),
            );
        }
    }
    for (text, v6) in families(spec) {
        if !text.is_empty() && parse(text, v6).is_none() {
            let family = if v6 { "IPv6" } else { "IPv4" };
            errors.push(format!("invalid {family} address: {text}"));
        }
    }
    if let Some(network) = network {
        for (text, v6) in families(spec) {
            let Some(ip) = parse(text, v6) else {
                continue;
            };
            if !network.leases_of(v6).any(|l| l.subnet.contains(&ip)) {
                errors.push(format!("no configured subnet contains IP address {ip}"));
            }
        }
    }
    let mac = &spec.mac_address;
    if !mac.is_empty() && options::parse_mac(mac).is_none() {
        return Err(invalid(format!("invalid MAC address {mac}")));
    }
    if let Some(list) = spec.driver_opts.get(SYSCTLS) {
        errors.extend(list.split(',').filter(|s| !is_iface_sysctl(s)).map(|sysctl| {
            format!(
                "unrecognised network interface sysctl '{sysctl}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            )
        }));
    }
    match join(&errors) {
        None => Ok(()),
        Some(text) => Err(invalid(format!("invalid endpoint settings:\n{text}"))),
    }
}

fn is_iface_sysctl(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(5, '.').collect();
    matches!(
        parts.as_slice(),
        [_, "ipv4" | "ipv6" | "mpls", _, "IFNAME" | "ifname", _]
    )
}

fn check_20_10(network: Option<&Network>, name: &str, spec: &EndpointSpec) -> Result<(), Error> {
    let is_static = !spec.ipv4.is_empty() || !spec.ipv6.is_empty();
    for (text, v6) in families(spec) {
        if !text.is_empty() && parse(text, v6).is_none() {
            let family = if v6 { "IPv6" } else { "IPv4" };
            return Err(invalid(format!("invalid {family} address: {text}")));
        }
    }
    if !is_user_defined(name) {
        if is_static {
            return Err(invalid(
                "user specified IP address is supported on user defined networks only",
            ));
        }
        if !spec.aliases.is_empty() {
            return Err(invalid(
                "network-scoped alias is supported only for containers in user defined networks",
            ));
        }
    }
    let Some(network) = network else {
        return Ok(());
    };
    for (text, v6) in families(spec) {
        let configured = network.leases_of(v6).any(|l| l.asked.is_some());
        if !text.is_empty() && !configured {
            return Err(invalid(
                "user specified IP address is supported only when connecting to networks with user configured subnets",
            ));
        }
    }
    Ok(())
}
