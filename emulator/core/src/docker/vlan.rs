//! The macvlan and ipvlan drivers: networks that share an interface of the host.
//!
//! Models `libnetwork/drivers/{macvlan,ipvlan}`. A tagged sub-interface is a segment of its own here,
//! since nobody else is on that VLAN of the uplink.

use super::engine::{Docker, World};
use super::error::{Error, Kind};
use super::ids;
use super::network::{Base, Driver, Network};
use super::options;
use super::plumb::{AttachTo, BridgePlan};
use super::spec::Engine;
use crate::net::{ChildKind, IpvlanFlag, IpvlanMode, MacvlanMode};

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, message)
}

fn forbidden(message: impl Into<String>) -> Error {
    Error::new(Kind::Forbidden, message)
}

impl Docker {
    pub(super) fn build_shared(
        &mut self,
        world: &mut World<'_>,
        network: &mut Network,
    ) -> Result<(), Error> {
        let labels = network.spec.options.clone();
        let mode = match network.driver {
            Driver::Macvlan => options::macvlan_mode(&labels)?,
            _ => options::ipvlan_mode(&labels, self.config.engine)?,
        };
        network.mtu = options::mtu(&labels)?;
        let parent = options::parent(&labels).map(str::to_owned);
        if let Some(parent) = &parent {
            self.check_parent(world, network, parent, mode)?;
        }
        let plain = [
            ChildKind::Macvlan(MacvlanMode::Bridge),
            ChildKind::Ipvlan(IpvlanMode::L2, IpvlanFlag::Bridge),
        ];
        let to = match &parent {
            Some(parent) if !parent.contains('.') => AttachTo::Uplink(mode),
            _ => {
                // A dummy, or a tagged sub-interface: nobody else is on that VLAN of the uplink.
                let prefix = if network.driver == Driver::Macvlan {
                    "dm"
                } else {
                    "di"
                };
                let name = format!("{prefix}-{}", ids::short(&network.id));
                let plan = BridgePlan {
                    name: parent.clone().unwrap_or(name),
                    network: network.name().to_owned(),
                    mac: self.ids.mac(&format!("bridge:{}", network.name())),
                    mtu: network.mtu,
                    addresses: Vec::new(),
                    filtered: false,
                };
                let (bridge, iface) = world.plumb.bridge_add(&plan);
                if plain.contains(&mode) {
                    AttachTo::Dummy(bridge)
                } else {
                    AttachTo::Alone(bridge, iface, mode)
                }
            }
        };
        network.base = Base::Shared { to, parent, mode };
        Ok(())
    }

    fn check_parent(
        &self,
        world: &World<'_>,
        network: &Network,
        parent: &str,
        mode: ChildKind,
    ) -> Result<(), Error> {
        if parent == "lo" {
            return Err(invalid(
                "loopback interface is not a valid parent link".to_owned(),
            ));
        }
        let host = world.plumb.iface_names(self.config.host_ns);
        let has = |name: &str| host.iter().any(|n| n == name);
        if !has(parent) {
            let (base, vlan) = parent.split_once('.').unwrap_or((parent, ""));
            if vlan.is_empty() {
                return Err(invalid(format!(
                    "invalid subinterface vlan name {parent}, example formatting is eth0.10"
                )));
            }
            if !has(base) || !vlan.parse::<u16>().is_ok_and(|v| (1..4095).contains(&v)) {
                return Err(invalid(format!(
                    "failed to find master interface {base} on the Docker host: Link not found"
                )));
            }
        }
        let passthru = |mode| mode == ChildKind::Macvlan(MacvlanMode::Passthru);
        for other in self.networks() {
            let Base::Shared {
                parent: Some(theirs),
                mode: their_mode,
                ..
            } = &other.base
            else {
                continue;
            };
            let strict = self.config.engine == Engine::V20_10 && other.driver == network.driver;
            if theirs == parent && (strict || passthru(mode) || passthru(*their_mode)) {
                let prefix = if other.driver == Driver::Macvlan {
                    "dm"
                } else {
                    "di"
                };
                return Err(forbidden(format!(
                    "network {prefix}-{} is already using parent interface {parent}",
                    ids::short(&other.id)
                )));
            }
        }
        Ok(())
    }
}
