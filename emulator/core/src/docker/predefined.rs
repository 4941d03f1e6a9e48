//! The networks that are always there: `bridge` (docker0), `host` and `none`.
//!
//! Models `initBridgeDriver` of `daemon/daemon_unix.go`.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::bridge::check_default_gateways;
use super::engine::{Docker, World};
use super::error::Error;
use super::leases::Wants;
use super::network::{Base, Driver, Network};
use super::options::BridgeOptions;
use super::spec::{IpamConfig, NetworkSpec};
use super::validate;

impl Docker {
    /// Makes `bridge`, `host` and `none`.
    pub(super) fn predefined_networks(&mut self, world: &mut World<'_>) -> Result<(), Error> {
        for (name, driver) in [("none", Driver::Null), ("host", Driver::Host)] {
            let network = self.bare_network(world, name, driver);
            self.networks.insert(network);
        }
        let mut network = self.bare_network(world, "bridge", Driver::Bridge);
        network.ipv6 = self.config.ipv6;
        network.spec.ipv6 = Some(self.config.ipv6);
        network.spec.ipam = self.docker0_subnets();
        network.spec.options = self.docker0_options();
        let engine = self.config.engine;
        let stated = validate::subnets(&network.spec, engine, network.ipv6)?;
        let wants = Wants {
            subnets: &stated,
            v4: true,
            v6: network.ipv6,
            gateway_v4: true,
            gateway_v6: true,
        };
        network.leases = self.take_leases(world, wants)?;
        let mut options = BridgeOptions::parse(&network.spec.options, engine, false)?;
        // Without `ip`, each family's own "everywhere" is meant.
        if self.config.ip.is_none() {
            options.host_binding = None;
        }
        check_default_gateways(&network)?;
        self.add_bridge(world, &mut network, "docker0".to_owned(), options);
        self.networks.insert(network);
        Ok(())
    }

    fn bare_network(&mut self, world: &World<'_>, name: &str, driver: Driver) -> Network {
        Network {
            key: self.networks.next_key(),
            id: self.ids.id("net", name).into(),
            created: world.now,
            driver,
            spec: NetworkSpec {
                name: name.to_owned(),
                ..NetworkSpec::default()
            },
            ipv4: true,
            ipv6: false,
            internal: false,
            leases: Vec::new(),
            base: Base::Nothing,
            mtu: 1500,
            endpoints: BTreeMap::new(),
        }
    }

    fn docker0_subnets(&self) -> Vec<IpamConfig> {
        let c = &self.config;
        let text = |net: Option<IpNet>| net.map_or_else(String::new, |n| n.trunc().to_string());
        let config = |bip: Option<IpNet>, fixed: Option<IpNet>, v6: bool| {
            let subnet = bip.or(fixed)?;
            let gateway = bip.map_or_else(String::new, |n| n.addr().to_string());
            let key = if v6 {
                "DefaultGatewayIPv6"
            } else {
                "DefaultGatewayIPv4"
            };
            Some(IpamConfig {
                subnet: text(Some(subnet)),
                ip_range: fixed
                    .filter(|f| f.trunc() != subnet.trunc())
                    .map_or_else(String::new, |f| text(Some(f))),
                gateway,
                aux_addresses: c
                    .default_gateways
                    .iter()
                    .filter(|ip| ip.is_ipv6() == v6)
                    .map(|ip| (key.to_owned(), ip.to_string()))
                    .collect(),
            })
        };
        [
            config(c.bip.map(IpNet::V4), c.fixed_cidr.map(IpNet::V4), false),
            config(c.bip6.map(IpNet::V6), c.fixed_cidr_v6.map(IpNet::V6), true),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn docker0_options(&self) -> BTreeMap<String, String> {
        let c = &self.config;
        let binding =
            c.ip.map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string());
        [
            (
                "com.docker.network.bridge.default_bridge",
                "true".to_owned(),
            ),
            ("com.docker.network.bridge.enable_icc", c.icc.to_string()),
            (
                "com.docker.network.bridge.enable_ip_masquerade",
                c.ip_masq.to_string(),
            ),
            ("com.docker.network.bridge.host_binding_ipv4", binding),
            ("com.docker.network.bridge.name", "docker0".to_owned()),
            ("com.docker.network.driver.mtu", c.mtu.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}
