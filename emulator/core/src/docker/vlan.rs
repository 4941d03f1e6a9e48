//! The macvlan and ipvlan drivers: networks that share an interface of the host.
//!
//! Models `libnetwork/drivers/{macvlan,ipvlan}`. A tagged sub-interface is a segment of its own here,
//! since nobody else is on that VLAN of the uplink. Networks with the same one share it, and it goes with the last of them. Those
//! in bridge mode (or ipvlan's l2) and those in other modes, who do not hear each other there, have one each.

use super::engine::{Docker, World};
use super::error::{Error, Kind};
use super::ids;
use super::network::{Base, Driver, Network};
use super::options;
use super::plumb::{AttachTo, BridgePlan};
use super::spec::Engine;
use crate::id::BridgeId;
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
        let is_plain = plain.contains(&mode);
        let segment = parent.as_deref();
        let segment = segment.and_then(|parent| self.segment(parent, mode, is_plain));
        let to = match (&parent, segment) {
            (Some(parent), _) if !parent.contains('.') => AttachTo::Uplink(mode),
            (_, Some(shared)) => shared,
            _ => {
                // A dummy, or a tagged sub-interface: nobody else is on that VLAN of the uplink.
                let name = format!(
                    "{}-{}",
                    dummy_prefix(network.driver),
                    ids::short(&network.id)
                );
                let plan = BridgePlan {
                    // One that several networks may share has the name of none.
                    network: parent.clone().unwrap_or_else(|| network.name().to_owned()),
                    name: parent.clone().unwrap_or(name),
                    mac: self.ids.mac(&["bridge:", network.name()]),
                    mtu: network.mtu,
                    addresses: Vec::new(),
                    filtered: false,
                };
                let (bridge, iface) = world.plumb.bridge_add(&plan);
                if is_plain {
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
            let driver = network.driver.name();
            return Err(invalid(format!(
                "loopback interface is not a valid {driver} parent link"
            )));
        }
        let host = world.plumb.iface_names(self.config.host_ns);
        let has = |name: &str| host.iter().any(|n| n == name);
        if !has(parent) {
            check_tag(parent, has)?;
        }
        self.check_sharing(network, parent, mode)
    }

    /// 20.10 and the ipvlan driver give a parent to one network of the driver; since 28, macvlan to any number of
    /// which none is in passthru mode. The drivers know nothing of each other.
    fn check_sharing(&self, network: &Network, parent: &str, mode: ChildKind) -> Result<(), Error> {
        let passthru = ChildKind::Macvlan(MacvlanMode::Passthru);
        for (other, their_mode) in self.sharers(parent) {
            if other.driver != network.driver {
                continue;
            }
            let alone = network.driver == Driver::Ipvlan || self.config.engine == Engine::V20_10;
            let id = &other.id;
            let text = if alone {
                let (prefix, id) = (dummy_prefix(other.driver), ids::short(id));
                format!("network {prefix}-{id} is already using parent interface {parent}")
            } else if mode == passthru {
                format!(
                    "cannot use mode passthru, macvlan network {id} is already using parent interface {parent}"
                )
            } else if their_mode == passthru {
                format!(
                    "macvlan network {id} is already using parent interface {parent} in mode passthru"
                )
            } else {
                continue;
            };
            return Err(forbidden(text));
        }
        Ok(())
    }

    /// The networks that share an interface of the host, with their modes.
    fn sharers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Network, ChildKind)> {
        self.networks()
            .filter_map(move |network| match &network.base {
                Base::Shared {
                    parent: Some(parent),
                    mode,
                    ..
                } if parent == name => Some((network, *mode)),
                _ => None,
            })
    }

    /// The segment of a tagged sub-interface that another network has made.
    fn segment(&self, parent: &str, mode: ChildKind, is_plain: bool) -> Option<AttachTo> {
        let mut made = (self.sharers(parent)).filter_map(|(other, _)| match &other.base {
            Base::Shared { to, .. } => Some(to),
            _ => None,
        });
        made.find_map(|to| match *to {
            AttachTo::Dummy(bridge) if is_plain => Some(AttachTo::Dummy(bridge)),
            AttachTo::Alone(bridge, iface, _) if !is_plain => {
                Some(AttachTo::Alone(bridge, iface, mode))
            }
            _ => None,
        })
    }

    /// A network that is there has this segment.
    pub(super) fn is_shared(&self, segment: BridgeId) -> bool {
        self.networks()
            .any(|network| network.base.segment() == Some(segment))
    }

    /// An interface takes macvlan children or ipvlan children: Linux has one place for whoever receives for it.
    ///
    /// # Errors
    /// `failed to create the macvlan port: device or resource busy`.
    pub(super) fn check_port(&self, network: &Network) -> Result<(), Error> {
        let Base::Shared {
            parent: Some(parent),
            ..
        } = &network.base
        else {
            return Ok(());
        };
        let taken = self
            .sharers(parent)
            .any(|(other, _)| other.driver != network.driver && !other.endpoints.is_empty());
        if taken {
            let driver = network.driver.name();
            let text = format!("failed to create the {driver} port: device or resource busy");
            return Err(Error::new(Kind::System, text));
        }
        Ok(())
    }
}

impl Base {
    /// The segment that stands for a dummy or a tagged sub-interface.
    pub(super) fn segment(&self) -> Option<BridgeId> {
        match self {
            Self::Shared {
                to: AttachTo::Dummy(id) | AttachTo::Alone(id, ..),
                ..
            } => Some(*id),
            _ => None,
        }
    }
}

impl Network {
    /// The tagged sub-interface that it shares, such as `eth0.10`.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        match &self.base {
            Base::Shared { parent, .. } if self.base.segment().is_some() => parent.as_deref(),
            _ => None,
        }
    }
}

/// What the name of a network's dummy parent begins with.
const fn dummy_prefix(driver: Driver) -> &'static str {
    match driver {
        Driver::Macvlan => "dm",
        _ => "di",
    }
}

/// `eth0.10`: a tag of an interface that is there.
fn check_tag(name: &str, has: impl Fn(&str) -> bool) -> Result<(), Error> {
    let parts: Vec<&str> = name.split('.').collect();
    let text = match parts[..] {
        [_] => format!("invalid subinterface vlan name {name}, example formatting is eth0.10"),
        [base, vlan] => match vlan.parse::<i64>() {
            Err(_) => {
                format!("unable to parse a valid vlan id from: {vlan} (ex. eth0.10 for vlan 10)")
            }
            Ok(_) if !has(base) => {
                format!("-o parent interface was not found on the host: {base}")
            }
            Ok(1..=4094) => return Ok(()),
            Ok(vlan) => format!("vlan id must be between 1-4094, received: {vlan}"),
        },
        _ => format!(
            "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received {name}"
        ),
    };
    Err(invalid(text))
}
