//! Options of the drivers: `-o key=value` of `network create`, `--driver-opt` of an endpoint.
//!
//! Models what `libnetwork/drivers/{bridge,macvlan,ipvlan}` read. Labels that no driver knows are
//! kept for `inspect` and mean nothing, as in Docker.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::collections::BTreeMap;

use super::error::{Error, Kind};
use super::plumb::{GatewayMode, Mac};
use super::spec::Engine;
use crate::net::{ChildKind, IpvlanFlag, IpvlanMode, MacvlanMode};

type Labels = BTreeMap<String, String>;

const ICC: &str = "com.docker.network.bridge.enable_icc";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
const INHIBIT: &str = "com.docker.network.bridge.inhibit_ipv4";
const MODE_V4: &str = "com.docker.network.bridge.gateway_mode_ipv4";
const MODE_V6: &str = "com.docker.network.bridge.gateway_mode_ipv6";
const MTU: &str = "com.docker.network.driver.mtu";
const PREFIX: &str = "com.docker.network.container_iface_prefix";
const TRUSTED: &str = "com.docker.network.bridge.trusted_host_interfaces";
const HOST_V4: &str = "com.docker.network.host_ipv4";
const HOST_V6: &str = "com.docker.network.host_ipv6";
const IFNAME: &str = "com.docker.network.endpoint.ifname";
const ADVERTISE_COUNT: &str = "com.docker.network.advertise_addr_nmsgs";
const ADVERTISE_MS: &str = "com.docker.network.advertise_addr_ms";

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, message)
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn failed(key: &str, value: &str, why: &str) -> Error {
    invalid(format!("failed to parse {key} value: {value} ({why})"))
}

fn flag(labels: &Labels, key: &str, default: bool) -> Result<bool, Error> {
    let Some(value) = labels.get(key) else {
        return Ok(default);
    };
    parse_bool(value).ok_or_else(|| {
        let why = format!("strconv.ParseBool: parsing {value:?}: invalid syntax");
        failed(key, value, &why)
    })
}

fn address<T: core::str::FromStr>(labels: &Labels, key: &str) -> Result<Option<T>, Error> {
    match labels.get(key) {
        None => Ok(None),
        Some(value) if value.is_empty() => Ok(None),
        Some(value) => value
            .parse()
            .map(Some)
            .map_err(|_| failed(key, value, "nil ip")),
    }
}

fn whole(labels: &Labels, key: &str) -> Result<Option<u32>, Error> {
    let Some(value) = labels.get(key) else {
        return Ok(None);
    };
    match value.parse::<i64>() {
        Ok(n) => u32::try_from(n)
            .map(Some)
            .map_err(|_| invalid(format!("invalid MTU number: {n}"))),
        Err(_) => {
            let why = format!("strconv.Atoi: parsing {value:?}: invalid syntax");
            Err(failed(key, value, &why))
        }
    }
}

fn mode(labels: &Labels, key: &str) -> Result<GatewayMode, Error> {
    match labels.get(key).map(String::as_str) {
        None | Some("" | "nat") => Ok(GatewayMode::Nat),
        Some("nat-unprotected") => Ok(GatewayMode::NatUnprotected),
        Some("routed") => Ok(GatewayMode::Routed),
        Some("isolated") => Ok(GatewayMode::Isolated),
        Some(other) => Err(failed(key, other, &format!("unknown gateway mode {other}"))),
    }
}

/// What a bridge network's options say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeOptions {
    /// The bridge's interface, if named.
    pub name: Option<String>,
    /// Members may talk to each other.
    pub icc: bool,
    /// What leaves is masqueraded.
    pub masquerade: bool,
    /// The bridge gets no IPv4 address.
    pub inhibit_v4: bool,
    /// Where ports are published when nobody says.
    pub host_binding: Option<IpAddr>,
    /// IPv4 between the network and other places.
    pub mode_v4: GatewayMode,
    /// The same for IPv6.
    pub mode_v6: GatewayMode,
    /// Translate to this address instead of masquerading.
    pub host_v4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub host_v6: Option<Ipv6Addr>,
    /// Interfaces of the host whose packets may go to containers' own addresses as far as ports are published,
    /// as what comes by the bridge itself may (28.2).
    pub trusted: Vec<String>,
    /// The MTU of the bridge and its ports; 0 or none is the kernel's 1500.
    pub mtu: u32,
    /// Its subnets lie over those of other interfaces of the host, which may lead there instead. Not said by an
    /// option: found when the bridge is made.
    pub crowded: bool,
}

impl BridgeOptions {
    /// Reads a bridge network's options.
    ///
    /// # Errors
    /// `failed to parse KEY value: V (…)`; isolated without `--internal`.
    pub fn parse(labels: &Labels, engine: Engine, internal: bool) -> Result<Self, Error> {
        let (mode_v4, mode_v6) = match engine {
            Engine::V29 => (mode(labels, MODE_V4)?, mode(labels, MODE_V6)?),
            Engine::V20_10 => (GatewayMode::Nat, GatewayMode::Nat),
        };
        let trusted = labels.get(TRUSTED).filter(|_| engine == Engine::V29);
        let trusted = trusted.into_iter().flat_map(|names| names.split(':'));
        if !internal && [mode_v4, mode_v6].contains(&GatewayMode::Isolated) {
            return Err(invalid(
                "gateway mode 'isolated' can only be used for an internal network",
            ));
        }
        Ok(Self {
            name: labels.get(BRIDGE_NAME).filter(|n| !n.is_empty()).cloned(),
            icc: flag(labels, ICC, true)?,
            masquerade: flag(labels, MASQUERADE, true)?,
            inhibit_v4: flag(labels, INHIBIT, false)?,
            host_binding: address(labels, BINDING)?,
            mode_v4,
            mode_v6,
            host_v4: address(labels, HOST_V4)?,
            host_v6: address(labels, HOST_V6)?,
            trusted: trusted
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            mtu: mtu(labels)?,
            crowded: false,
        })
    }
}

/// The network's MTU; 1500 unless it says.
///
/// # Errors
/// `failed to parse …`, `invalid MTU number: N`.
pub fn mtu(labels: &Labels) -> Result<u32, Error> {
    Ok(whole(labels, MTU)?.filter(|n| *n > 0).unwrap_or(1500))
}

/// What interfaces are called in front of their number.
#[must_use]
pub fn iface_prefix(labels: &Labels) -> &str {
    labels
        .get(PREFIX)
        .filter(|prefix| !prefix.is_empty())
        .map_or("eth", String::as_str)
}

/// What an endpoint's interface is to be called, if it says.
#[must_use]
pub fn ifname(labels: &Labels) -> Option<&str> {
    labels
        .get(IFNAME)
        .filter(|name| !name.is_empty())
        .map(String::as_str)
}

/// How often a new address is announced, and how far apart: three times, a second apart, unless the
/// network says.
///
/// # Errors
/// A count outside 0–3 or a span outside 100–2000 ms.
pub fn announce(labels: &Labels) -> Result<(u32, Duration), Error> {
    let in_range = |key: &str, default: u32, low: u32, high: u32| match labels.get(key) {
        None => Ok(default),
        Some(value) => value
            .parse()
            .ok()
            .filter(|n| (low..=high).contains(n))
            .ok_or_else(|| {
                invalid(format!(
                    "value for option {key} {value:?} must be in the range {low}..{high}"
                ))
            }),
    };
    let count = in_range(ADVERTISE_COUNT, 3, 0, 3)?;
    let ms = in_range(ADVERTISE_MS, 1000, 100, 2000)?;
    Ok((count, Duration::from_millis(u64::from(ms))))
}

/// Reads `macvlan_mode`.
///
/// # Errors
/// `requested macvlan mode 'X' is not valid, 'bridge' mode is the macvlan driver default`.
pub fn macvlan_mode(labels: &Labels) -> Result<ChildKind, Error> {
    let mode = match labels.get("macvlan_mode").map(String::as_str) {
        None | Some("" | "bridge") => MacvlanMode::Bridge,
        Some("private") => MacvlanMode::Private,
        Some("vepa") => MacvlanMode::Vepa,
        Some("passthru") => MacvlanMode::Passthru,
        Some(other) => {
            return Err(invalid(format!(
                "requested macvlan mode '{other}' is not valid, 'bridge' mode is the macvlan driver default"
            )));
        }
    };
    Ok(ChildKind::Macvlan(mode))
}

/// Reads `ipvlan_mode` and `ipvlan_flag`, which 20.10 does not know.
///
/// # Errors
/// `requested ipvlan mode 'X' is not valid, 'l2' mode is the ipvlan driver default`; the same of a flag.
pub fn ipvlan_mode(labels: &Labels, engine: Engine) -> Result<ChildKind, Error> {
    let mode = match labels.get("ipvlan_mode").map(String::as_str) {
        None | Some("" | "l2") => IpvlanMode::L2,
        Some("l3") => IpvlanMode::L3,
        Some("l3s") => IpvlanMode::L3s,
        Some(other) => {
            return Err(invalid(format!(
                "requested ipvlan mode '{other}' is not valid, 'l2' mode is the ipvlan driver default"
            )));
        }
    };
    let flag = labels.get("ipvlan_flag").filter(|_| engine == Engine::V29);
    let flag = match flag.map(String::as_str) {
        None | Some("" | "bridge") => IpvlanFlag::Bridge,
        Some("private") => IpvlanFlag::Private,
        Some("vepa") => IpvlanFlag::Vepa,
        Some(other) => {
            return Err(invalid(format!(
                "requested ipvlan flag '{other}' is not valid, 'bridge' is the ipvlan driver default"
            )));
        }
    };
    Ok(ChildKind::Ipvlan(mode, flag))
}

/// The interface of the host that the network shares, if it names one.
#[must_use]
pub fn parent(labels: &Labels) -> Option<&str> {
    labels
        .get("parent")
        .filter(|name| !name.is_empty())
        .map(String::as_str)
}

/// Reads a MAC: six bytes with colons or dashes between them.
#[must_use]
pub fn parse_mac(text: &str) -> Option<Mac> {
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let part = parts
            .next()
            .filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// A MAC as Docker prints it.
#[must_use]
pub fn show_mac(mac: Mac) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn defaults() {
        let options = BridgeOptions::parse(&labels(&[]), Engine::V29, false).unwrap();
        assert!(options.icc && options.masquerade && !options.inhibit_v4);
        assert_eq!(options.mtu, 1500);
        assert_eq!(iface_prefix(&labels(&[])), "eth");
        assert_eq!(
            announce(&labels(&[])).unwrap(),
            (3, Duration::from_secs(1)),
            "case 24"
        );
    }

    #[test]
    fn errors() {
        let rows: &[(&str, &str, &str)] = &[
            (
                ICC,
                "maybe",
                "failed to parse com.docker.network.bridge.enable_icc value: maybe (strconv.ParseBool: parsing \"maybe\": invalid syntax)",
            ),
            (
                MODE_V4,
                "X",
                "failed to parse com.docker.network.bridge.gateway_mode_ipv4 value: X (unknown gateway mode X)",
            ),
            (
                MODE_V6,
                "isolated",
                "gateway mode 'isolated' can only be used for an internal network",
            ),
            (
                MTU,
                "big",
                "failed to parse com.docker.network.driver.mtu value: big (strconv.Atoi: parsing \"big\": invalid syntax)",
            ),
            (MTU, "-1", "invalid MTU number: -1"),
            (
                BINDING,
                "nowhere",
                "failed to parse com.docker.network.bridge.host_binding_ipv4 value: nowhere (nil ip)",
            ),
        ];
        for (key, value, expected) in rows {
            let got = BridgeOptions::parse(&labels(&[(key, value)]), Engine::V29, false);
            assert_eq!(got.unwrap_err().message, *expected);
        }
        let trusted = labels(&[(TRUSTED, "eth0::br-a:")]);
        let of = |engine| {
            BridgeOptions::parse(&trusted, engine, false)
                .unwrap()
                .trusted
        };
        assert_eq!(of(Engine::V29), ["eth0", "br-a"]);
        assert!(of(Engine::V20_10).is_empty());
        // 20.10 knows no gateway modes: such a label means nothing.
        assert!(BridgeOptions::parse(&labels(&[(MODE_V4, "X")]), Engine::V20_10, false).is_ok());
        assert!(announce(&labels(&[(ADVERTISE_COUNT, "4")])).is_err());
    }

    #[test]
    fn macs() {
        assert_eq!(
            parse_mac("02:42:AC:11:00:02"),
            Some([2, 0x42, 0xac, 0x11, 0, 2])
        );
        assert_eq!(
            parse_mac("02-42-ac-11-00-02"),
            Some([2, 0x42, 0xac, 0x11, 0, 2])
        );
        for bad in [
            "",
            "02:42",
            "02:42:ac:11:00:02:03",
            "2:42:ac:11:00:02",
            "02:42:ac:11:00:0g",
        ] {
            assert_eq!(parse_mac(bad), None, "{bad}");
        }
        assert_eq!(show_mac([2, 0x42, 0xac, 0x11, 0, 2]), "02:42:ac:11:00:02");
    }
}
