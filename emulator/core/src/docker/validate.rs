//! Is what is asked for sound? The checks before anything is made, in Docker's words.
//!
//! Models `daemon/network.go`, `daemon/internal/netipset`'s users and `libnetwork.IpamConf` of Docker
//! 29, which says all that is wrong with the subnets at once, and the fewer checks of 20.10.

use core::net::IpAddr;

use ipnet::IpNet;

use super::error::{Error, Kind};
use super::ipam::bits;
use super::spec::{Engine, IpamConfig, NetworkSpec};

/// One subnet, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// The subnet, without host bits.
    pub net: IpNet,
    /// Only the length counts: a subnet of that size from the default pools (`0.0.0.0/24`).
    pub any: bool,
    /// Where addresses come from.
    pub range: Option<IpNet>,
    /// The gateway.
    pub gateway: Option<IpAddr>,
    /// Addresses that nobody may have.
    pub aux: Vec<(String, IpAddr)>,
    /// As it was asked for.
    pub asked: IpamConfig,
}

/// Several errors as Docker joins them: one alone as it is, more with a bullet each.
#[must_use]
pub fn join(errors: &[String]) -> Option<String> {
    match errors {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(
            many.iter()
                .map(|e| format!("* {}", e.replace('\n', "\n\t")))
                .collect::<Vec<_>>()
                .join("\n"),
        ),
    }
}

const fn family(v6: bool) -> &'static str {
    if v6 { "IPv6" } else { "IPv4" }
}

/// Reads the subnets of a network. IPv6 ones are left out, unchecked, if the network has no IPv6.
///
/// # Errors
/// `invalid network config:` and what is wrong.
pub fn subnets(spec: &NetworkSpec, engine: Engine, v6: bool) -> Result<Vec<Subnet>, Error> {
    let mut errors = Vec::new();
    let mut out = Vec::new();
    for asked in &spec.ipam {
        if asked.subnet.is_empty() && engine == Engine::V20_10 && *asked == IpamConfig::default() {
            continue;
        }
        let Ok(net) = asked.subnet.parse::<IpNet>() else {
            let text = &asked.subnet;
            if engine == Engine::V20_10 {
                let message = format!("Invalid subnet {text} : invalid CIDR address: {text}");
                return Err(Error::new(Kind::Invalid, message));
            }
            errors.push(format!(
                "invalid subnet {text}: invalid CIDR block notation"
            ));
            continue;
        };
        if bits::is_v6(&net) && !v6 {
            continue;
        }
        match engine {
            Engine::V29 => check(asked, net, &mut errors),
            Engine::V20_10 => check_20_10(asked)?,
        }
        out.push(read(asked, net, engine));
    }
    match join(&errors) {
        None => Ok(out),
        Some(text) => Err(Error::new(
            Kind::Invalid,
            format!("invalid network config:\n{text}"),
        )),
    }
}

fn read(asked: &IpamConfig, net: IpNet, engine: Engine) -> Subnet {
    Subnet {
        net: net.trunc(),
        any: engine == Engine::V29 && net.addr().is_unspecified() && net.prefix_len() > 0,
        range: asked.ip_range.parse::<IpNet>().ok().map(|r| r.trunc()),
        gateway: asked.gateway.parse().ok(),
        aux: asked
            .aux_addresses
            .iter()
            .filter_map(|(name, ip)| Some((name.clone(), ip.parse().ok()?)))
            .collect(),
        asked: asked.clone(),
    }
}

fn check(asked: &IpamConfig, net: IpNet, errors: &mut Vec<String>) {
    if net != net.trunc() {
        errors.push(format!(
            "invalid subnet {net}: it should be {}",
            net.trunc()
        ));
    }
    check_range(&asked.ip_range, net, errors);
    if let Err(why) = check_address(&asked.gateway, net) {
        errors.push(format!("invalid gateway {}: {why}", asked.gateway));
    }
    for (name, ip) in &asked.aux_addresses {
        if let Err(why) = check_address(ip, net) {
            errors.push(format!("invalid auxiliary address {name}: {why}"));
        }
    }
}

fn check_range(text: &str, net: IpNet, errors: &mut Vec<String>) {
    if text.is_empty() {
        return;
    }
    let Ok(range) = text.parse::<IpNet>() else {
        errors.push(format!(
            "invalid ip-range {text}: invalid CIDR block notation"
        ));
        return;
    };
    let v6 = bits::is_v6(&net);
    if bits::is_v6(&range) != v6 {
        let family = family(v6);
        errors.push(format!(
            "invalid ip-range {text}: parent subnet is an {family} block"
        ));
        return;
    }
    if range.prefix_len() < net.prefix_len() {
        errors.push(format!(
            "invalid ip-range {text}: CIDR block is bigger than its parent subnet {net}"
        ));
    }
    if range != range.trunc() {
        errors.push(format!(
            "invalid ip-range {range}: it should be {}",
            range.trunc()
        ));
    }
    if !bits::overlap(&net, &range) {
        errors.push(format!(
            "invalid ip-range {text}: parent subnet {net} doesn't contain ip-range"
        ));
    }
}

fn check_address(text: &str, net: IpNet) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let Ok(addr) = text.parse::<IpAddr>() else {
        return Err("invalid address".to_owned());
    };
    let v6 = bits::is_v6(&net);
    if addr.is_ipv6() != v6 {
        return Err(format!("parent subnet is an {} block", family(v6)));
    }
    if !net.contains(&addr) {
        return Err(format!("parent subnet {net} doesn't contain this address"));
    }
    Ok(())
}

/// Docker 20.10 leaves most to the address management.
fn check_20_10(asked: &IpamConfig) -> Result<(), Error> {
    let bad = |message: String| Err(Error::new(Kind::Invalid, message));
    if !asked.gateway.is_empty() && asked.gateway.parse::<IpAddr>().is_err() {
        return bad(format!(
            "invalid gateway address {} in Ipam configuration",
            asked.gateway
        ));
    }
    if !asked.ip_range.is_empty() {
        let range = asked.ip_range.parse::<IpNet>().ok();
        let net = asked.subnet.parse::<IpNet>().ok();
        let fits = matches!((range, net), (Some(r), Some(n)) if n.trunc().contains(&r.trunc()));
        if !fits {
            return bad("Invalid Address SubPool".to_owned());
        }
    }
    for ip in asked.aux_addresses.values() {
        if ip.parse::<IpAddr>().is_err() {
            return bad(format!("non parsable secondary ip address ({ip})"));
        }
    }
    Ok(())
}

/// Whether a container may be called so: `^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`.
///
/// # Errors
/// `Invalid container name (X), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`.
pub fn container_name(name: &str) -> Result<(), Error> {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphanumeric());
    let rest = chars.as_str();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if first && !rest.is_empty() && rest.chars().all(fits) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Invalid,
        format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn config(subnet: &str, range: &str, gateway: &str, aux: &[(&str, &str)]) -> IpamConfig {
        IpamConfig {
            subnet: subnet.to_owned(),
            ip_range: range.to_owned(),
            gateway: gateway.to_owned(),
            aux_addresses: aux
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect::<BTreeMap<_, _>>(),
        }
    }

    fn message(engine: Engine, v6: bool, ipam: IpamConfig) -> String {
        let spec = NetworkSpec {
            ipam: vec![ipam],
            ..NetworkSpec::default()
        };
        subnets(&spec, engine, v6).map_or_else(|e| e.message, |_| "ok".to_owned())
    }

    #[test]
    fn rows_of_validate_ipam() {
        let rows: &[(IpamConfig, &str)] = &[
            (
                config("foo", "", "", &[]),
                "invalid subnet foo: invalid CIDR block notation",
            ),
            (
                config("10.10.10.0/8", "", "", &[]),
                "invalid subnet 10.10.10.0/8: it should be 10.0.0.0/8",
            ),
            (
                config("10.10.10.0/24", "10.0.0.0/8", "", &[]),
                "invalid ip-range 10.0.0.0/8: CIDR block is bigger than its parent subnet 10.10.10.0/24",
            ), // case 10
            (
                config("10.0.0.0/8", "10.0.1.3/24", "", &[]),
                "invalid ip-range 10.0.1.3/24: it should be 10.0.1.0/24",
            ),
            (
                config("10.10.0.0/24", "192.168.0.1/32", "", &[]),
                "invalid ip-range 192.168.0.1/32: parent subnet 10.10.0.0/24 doesn't contain ip-range",
            ),
            (
                config("10.10.0.0/24", "fd00::/120", "", &[]),
                "invalid ip-range fd00::/120: parent subnet is an IPv4 block",
            ),
            (
                config("10.10.0.0/24", "", "10.10.1.1", &[]),
                "invalid gateway 10.10.1.1: parent subnet 10.10.0.0/24 doesn't contain this address",
            ),
            (
                config("10.10.0.0/24", "", "x", &[]),
                "invalid gateway x: invalid address",
            ),
            (
                config("10.10.0.0/24", "", "", &[("r", "fd00::1")]),
                "invalid auxiliary address r: parent subnet is an IPv4 block",
            ),
        ];
        for (ipam, expected) in rows {
            let got = message(Engine::V29, true, ipam.clone());
            assert_eq!(got, format!("invalid network config:\n{expected}"));
        }
        assert_eq!(
            message(
                Engine::V29,
                true,
                config("10.10.10.0/8", "", "fd00::1", &[])
            ),
            "invalid network config:\n* invalid subnet 10.10.10.0/8: it should be 10.0.0.0/8\n* invalid gateway fd00::1: parent subnet is an IPv4 block"
        );
        // Not looked at without IPv6.
        assert_eq!(
            message(Engine::V29, false, config("fd00::5/64", "", "", &[])),
            "ok"
        );
        assert_eq!(
            message(Engine::V20_10, true, config("10.50.0.1/24", "", "", &[])),
            "ok"
        );
        assert_eq!(
            message(Engine::V20_10, true, config("10.50.0.1", "", "", &[])),
            "Invalid subnet 10.50.0.1 : invalid CIDR address: 10.50.0.1"
        );
    }

    #[test]
    fn names_of_containers() {
        for good in ["c1", "Beta.Box_1", "0-9"] {
            assert!(container_name(good).is_ok(), "{good}");
        }
        for bad in ["", "c", "_c1", "a b", "a/b", "é1"] {
            assert!(container_name(bad).is_err(), "{bad}");
        }
    }
}
