//! `docker network create` and `connect`: from flags to what the engine is asked for.
//!
//! Models how the client puts `--subnet`, `--ip-range`, `--gateway` and `--aux-address` together, with
//! its errors. Each client reads addresses with its own library, so that their words differ.

use core::net::IpAddr;
use std::collections::BTreeMap;

use vethlab::core::docker::spec::{EndpointSpec, Engine, IpamConfig, NetworkSpec};

use super::command::Failure;
use super::flags::Values;
use super::validate;
use crate::format::text::go_quote;

/// What `network create` asks for.
pub(super) fn create(
    name: String,
    values: &Values,
    engine: Engine,
) -> Result<NetworkSpec, Failure> {
    let ipam = ipam(values, engine).map_err(Failure::new)?;
    let switch = |flag: &str| values.last(flag).map(|text| text == "true");
    Ok(NetworkSpec {
        name,
        driver: values.last("driver").unwrap_or("bridge").to_owned(),
        internal: values.is("internal"),
        ipv4: switch("ipv4"),
        ipv6: switch("ipv6"),
        attachable: values.is("attachable"),
        ingress: values.is("ingress"),
        scope: values.text("scope"),
        config_only: values.is("config-only"),
        config_from: values
            .last("config-from")
            .filter(|from| !from.is_empty())
            .map(str::to_owned),
        ipam_driver: values.last("ipam-driver").unwrap_or("default").to_owned(),
        ipam_options: pairs(&values.all("ipam-opt")),
        ipam,
        options: pairs(&values.all("opt")),
        labels: pairs(&values.all("label")),
    })
}

/// `key=value` texts as a map; a key without a value has an empty one.
pub(super) fn pairs(texts: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    texts.iter().map(pair).collect()
}

/// What `network connect` asks for.
pub(super) fn endpoint(values: &Values) -> Result<EndpointSpec, Failure> {
    let mut driver_opts = BTreeMap::new();
    for text in values.all("driver-opt") {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                driver_opts.insert(key.trim().to_owned(), value.trim().to_owned());
            }
            _ => {
                return Err(Failure::new(
                    "invalid key/value pair format in driver options",
                ));
            }
        }
    }
    Ok(EndpointSpec {
        ipv4: values.text("ip"),
        ipv6: values.text("ip6"),
        link_local_ips: values.all("link-local-ip"),
        mac_address: String::new(),
        aliases: values.all("alias"),
        links: values.all("link"),
        driver_opts,
        gw_priority: values.int("gw-priority").unwrap_or(0),
    })
}

/// Puts subnets and what belongs to them together.
fn ipam(values: &Values, engine: Engine) -> Result<Vec<IpamConfig>, String> {
    let subnets = values.all("subnet");
    let ranges = values.all("ip-range");
    let gateways = values.all("gateway");
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        return Err("every ip-range or gateway must have a corresponding subnet".to_owned());
    }
    let mut configs: Vec<IpamConfig> = Vec::new();
    for subnet in &subnets {
        for other in &configs {
            if matches(subnet, &other.subnet)? || matches(&other.subnet, subnet)? {
                return Err("multiple overlapping subnet configuration is not supported".to_owned());
            }
        }
        if engine != Engine::V20_10 {
            parse_prefix(subnet)?;
        }
        configs.push(IpamConfig {
            subnet: subnet.clone(),
            ..IpamConfig::default()
        });
    }
    for range in &ranges {
        let mut found = false;
        for config in &mut configs {
            if matches(&config.subnet, range)? {
                if !config.ip_range.is_empty() {
                    return Err(format!(
                        "cannot configure multiple ranges ({range}, {}) on the same subnet ({})",
                        config.ip_range, config.subnet
                    ));
                }
                config.ip_range.clone_from(range);
                found = true;
            }
        }
        if !found {
            return Err(format!("no matching subnet for range {range}"));
        }
    }
    for gateway in &gateways {
        let mut found = false;
        for config in &mut configs {
            if matches(&config.subnet, gateway)? {
                if !config.gateway.is_empty() {
                    return Err(format!(
                        "cannot configure multiple gateways ({gateway}, {}) for the same subnet ({})",
                        config.gateway, config.subnet
                    ));
                }
                config.gateway.clone_from(gateway);
                found = true;
            }
        }
        if !found {
            return Err(format!("no matching subnet for gateway {gateway}"));
        }
    }
    for (name, address) in pairs(&values.all("aux-address")) {
        if engine != Engine::V20_10 {
            if address.is_empty() {
                continue;
            }
            validate::netip(&address)?;
        }
        let mut found = false;
        for config in &mut configs {
            if matches(&config.subnet, &address)? {
                config.aux_addresses.insert(name.clone(), address.clone());
                found = true;
            }
        }
        if !found {
            return Err(format!("no matching subnet for aux-address {address}"));
        }
    }
    Ok(configs)
}

/// Whether the address (or the address before the slash) is in the subnet.
fn matches(subnet: &str, data: &str) -> Result<bool, String> {
    let subnet = parse_cidr(subnet).map_err(|error| format!("invalid subnet: {error}"))?;
    let address = if data.contains('/') {
        Some(parse_cidr(data)?.addr())
    } else {
        data.parse::<IpAddr>().ok()
    };
    Ok(address.is_some_and(|address| subnet.contains(&address)))
}

/// Go's `net.ParseCIDR`.
fn parse_cidr(text: &str) -> Result<ipnet::IpNet, String> {
    text.parse()
        .map_err(|_| format!("invalid CIDR address: {text}"))
}

/// Go's `netip.ParsePrefix`.
fn parse_prefix(text: &str) -> Result<(), String> {
    let failed = |why: &str| Err(format!("netip.ParsePrefix({}): {why}", go_quote(text)));
    let Some((address, bits)) = text.rsplit_once('/') else {
        return failed("no '/'");
    };
    let parsed = match validate::netip(address) {
        Ok(_) => address.parse::<IpAddr>().ok(),
        Err(error) => return failed(&error),
    };
    let leading_zero = bits.len() > 1 && bits.starts_with('0');
    match bits.parse::<u32>() {
        Ok(n) if !leading_zero && !bits.starts_with('+') => {
            let most = if parsed.is_some_and(|address| address.is_ipv6()) {
                128
            } else {
                32
            };
            if n > most {
                failed("prefix length out of range")
            } else {
                Ok(())
            }
        }
        _ => failed(&format!("bad bits after slash: {}", go_quote(bits))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::{Command, parse};
    use super::*;

    fn spec(line: &str, engine: Engine) -> Result<NetworkSpec, String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match parse(&words, engine) {
            Ok(parsed) => match parsed.command {
                Command::NetworkCreate(spec) => Ok(*spec),
                other => panic!("{other:?}"),
            },
            Err(failure) => Err(failure.message),
        }
    }

    #[test]
    fn everything_at_once() {
        let spec = spec(
            "docker network create -d bridge --internal --ipv6 --subnet 10.0.0.0/24 --subnet fd00::/64 \
             --gateway fd00::1,10.0.0.9 --ip-range 10.0.0.128/25 --aux-address a=10.0.0.5 \
             --aux-address b=fd00::5 -o com.docker.network.driver.mtu=1400 --label x=y web",
            Engine::V29,
        )
        .unwrap();
        assert_eq!(spec.name, "web");
        assert_eq!(
            (spec.internal, spec.ipv4, spec.ipv6),
            (true, None, Some(true))
        );
        assert_eq!(spec.ipam[0].gateway, "10.0.0.9");
        assert_eq!(spec.ipam[0].ip_range, "10.0.0.128/25");
        assert_eq!(spec.ipam[0].aux_addresses["a"], "10.0.0.5");
        assert_eq!(spec.ipam[1].gateway, "fd00::1");
        assert_eq!(spec.ipam[1].aux_addresses["b"], "fd00::5");
        assert_eq!(spec.options["com.docker.network.driver.mtu"], "1400");
        assert_eq!(spec.labels["x"], "y");
    }

    #[test]
    fn what_the_client_refuses() {
        for (flags, message) in [
            (
                "--subnet 10.0.0.0/24 --gateway 10.1.0.1",
                "no matching subnet for gateway 10.1.0.1",
            ),
            (
                "--subnet 10.0.0.0/24 --ip-range 10.1.0.0/25",
                "no matching subnet for range 10.1.0.0/25",
            ),
            (
                "--gateway 10.0.0.1",
                "every ip-range or gateway must have a corresponding subnet",
            ),
            (
                "--subnet 10.0.0.0/24 --subnet 10.0.0.128/25",
                "multiple overlapping subnet configuration is not supported",
            ),
            (
                "--subnet 10.0.0.0/24 --subnet 10.1.0.0/24 --gateway 10.0.0.1 --gateway 10.0.0.2",
                "cannot configure multiple gateways (10.0.0.2, 10.0.0.1) for the same subnet (10.0.0.0/24)",
            ),
            (
                "--subnet 10.0.0.0/24 --aux-address a=10.1.0.1",
                "no matching subnet for aux-address 10.1.0.1",
            ),
            (
                "--subnet 10.0.0.1",
                "netip.ParsePrefix(\"10.0.0.1\"): no '/'",
            ),
            (
                "--subnet 10.0.0.0/33",
                "netip.ParsePrefix(\"10.0.0.0/33\"): prefix length out of range",
            ),
        ] {
            let line = format!("docker network create {flags} n");
            assert_eq!(spec(&line, Engine::V29), Err(message.to_owned()), "{line}");
        }
        // The engine judges what the older client passes on.
        assert!(spec("docker network create --subnet 10.0.0.1 n", Engine::V20_10).is_ok());
        assert!(spec("docker network create --gateway x --subnet 10.0.0.0/24 n", Engine::V29)
            .unwrap_err()
            .starts_with("invalid argument \"x\" for \"--gateway\" flag: invalid string being converted to IP address: x"));
    }
}
