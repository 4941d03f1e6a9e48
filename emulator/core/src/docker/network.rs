//! A network: its driver, its subnets, and what it is attached to.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use switch::Time;

use super::ipam::bits;
use super::options::BridgeOptions;
use super::plumb::{AttachTo, GatewayMode};
use super::spec::{Engine, IpamConfig, NetworkSpec};
use super::table::Entry;
use crate::id::{BridgeId, IfId};
use crate::net::{ChildKind, IpvlanMode};

/// What carries a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// A bridge in the host.
    Bridge,
    /// The host's own namespace.
    Host,
    /// A segment of the uplink, each container with its own MAC.
    Macvlan,
    /// A segment of the uplink, all with the uplink's MAC.
    Ipvlan,
    /// Nothing but loopback.
    Null,
}

impl Driver {
    /// As Docker calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Null => "null",
        }
    }

    /// The driver of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "" | "bridge" => Self::Bridge,
            "host" => Self::Host,
            "macvlan" => Self::Macvlan,
            "ipvlan" => Self::Ipvlan,
            "null" => Self::Null,
            _ => return None,
        })
    }
}

/// One subnet of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The subnet.
    pub subnet: IpNet,
    /// Where its addresses come from, if not from the whole.
    pub range: Option<IpNet>,
    /// The gateway's address, taken by the network itself.
    pub gateway: Option<IpAddr>,
    /// Further addresses that nobody may have.
    pub aux: Vec<(String, IpAddr)>,
    /// What was asked for; `None` if the subnet was chosen by Docker.
    pub asked: Option<IpamConfig>,
}

impl Lease {
    /// The container's default route on a bridge if it is not the gateway: `DefaultGatewayIPv4` and `…IPv6`.
    fn default_gateway(&self) -> Option<IpAddr> {
        let key = if bits::is_v6(&self.subnet) {
            "DefaultGatewayIPv6"
        } else {
            "DefaultGatewayIPv4"
        };
        self.aux
            .iter()
            .find_map(|(name, ip)| (name == key).then_some(*ip))
    }
}

/// What a network's containers are attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Nothing,
    /// A bridge in the host.
    Bridge {
        /// The bridge.
        id: BridgeId,
        /// Its interface.
        iface: IfId,
        /// The interface's name.
        name: String,
        /// What the network's options say.
        options: Box<BridgeOptions>,
    },
    /// The uplink's segment, or a dummy one.
    Shared {
        /// Which.
        to: AttachTo,
        /// The interface that is shared, if there is one.
        parent: Option<String>,
        /// How.
        mode: ChildKind,
    },
}

/// The way out of a network in one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through this address.
    Via(IpAddr),
    /// Straight out of the interface.
    Direct,
    /// It counts as a way out, but no route is set: nobody said which gateway the shared segment has.
    Unset,
}

impl Way {
    /// The gateway's address, if there is one.
    #[must_use]
    pub const fn address(self) -> Option<IpAddr> {
        match self {
            Self::Via(ip) => Some(ip),
            Self::Direct | Self::Unset => None,
        }
    }
}

/// A network.
#[derive(Clone, Debug)]
pub struct Network {
    /// Its number in the lab.
    pub key: u32,
    /// Its id.
    pub id: Arc<str>,
    /// When it was made.
    pub created: Time,
    /// What carries it.
    pub driver: Driver,
    /// What it was asked to be, the configuration network's part filled in.
    pub spec: NetworkSpec,
    /// It has IPv4.
    pub ipv4: bool,
    /// It has IPv6.
    pub ipv6: bool,
    /// No way in or out.
    pub internal: bool,
    /// The subnets, IPv4 before IPv6.
    pub leases: Vec<Lease>,
    /// What its containers are attached to.
    pub base: Base,
    /// The MTU.
    pub mtu: u32,
    /// Containers by endpoint.
    pub endpoints: BTreeMap<u32, u32>,
}

impl Entry for Network {
    fn id(&self) -> &Arc<str> {
        &self.id
    }
    fn name(&self) -> &str {
        &self.spec.name
    }
}

/// Whether a network of this name is not one of Docker's own.
#[must_use]
pub fn is_user_defined(name: &str) -> bool {
    !matches!(name, "bridge" | "host" | "none" | "default" | "") && !name.starts_with("container:")
}

impl Network {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its subnets of one family.
    pub fn leases_of(&self, v6: bool) -> impl Iterator<Item = &Lease> {
        self.leases
            .iter()
            .filter(move |lease| bits::is_v6(&lease.subnet) == v6)
    }

    /// The subnet that has an address.
    #[must_use]
    pub fn lease_with(&self, addr: IpAddr) -> Option<&Lease> {
        self.leases
            .iter()
            .find(|lease| lease.subnet.contains(&addr))
    }

    /// The bridge's own address of a family.
    #[must_use]
    pub fn gateway(&self, v6: bool) -> Option<IpAddr> {
        self.leases_of(v6).find_map(|lease| lease.gateway)
    }

    /// The way out for an endpoint with `addr`, if there is one.
    #[must_use]
    pub fn way_out(&self, engine: Engine, addr: Option<IpAddr>, v6: bool) -> Option<Way> {
        match &self.base {
            Base::Nothing => None,
            Base::Bridge { options, .. } => {
                let mode = if v6 { options.mode_v6 } else { options.mode_v4 };
                let closed = self.internal && engine == Engine::V29;
                if closed || mode == GatewayMode::Isolated {
                    return None;
                }
                let lease = self.leases_of(v6).next()?;
                lease.default_gateway().or(lease.gateway).map(Way::Via)
            }
            Base::Shared { .. } if self.internal => None,
            // In 29 the driver treats a network without parent as internal; the order of endpoints does not.
            Base::Shared { parent: None, .. } if engine == Engine::V29 => None,
            Base::Shared {
                mode: ChildKind::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s, _),
                ..
            } => self.leases_of(v6).next().map(|_| Way::Direct),
            Base::Shared { .. } => {
                let lease = match addr {
                    Some(addr) => self.lease_with(addr)?,
                    None => self.leases_of(v6).next()?,
                };
                Some(lease.gateway.map_or(Way::Unset, Way::Via))
            }
        }
    }

    /// The gateway mode of a family.
    #[must_use]
    pub const fn gateway_mode(&self, v6: bool) -> GatewayMode {
        match &self.base {
            Base::Bridge { options, .. } => {
                if v6 {
                    options.mode_v6
                } else {
                    options.mode_v4
                }
            }
            _ => GatewayMode::Nat,
        }
    }

    /// Where ports are published when the mapping does not say.
    #[must_use]
    pub fn default_binding(&self, daemon: Option<IpAddr>) -> IpAddr {
        let own = match &self.base {
            Base::Bridge { options, .. } => options.host_binding,
            _ => None,
        };
        own.or(daemon).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// The first IPv4 subnet.
    #[must_use]
    pub fn subnet_v4(&self) -> Option<ipnet::Ipv4Net> {
        self.leases.iter().find_map(|lease| match lease.subnet {
            IpNet::V4(net) => Some(net),
            IpNet::V6(_) => None,
        })
    }

    /// The first IPv6 subnet.
    #[must_use]
    pub fn subnet_v6(&self) -> Option<ipnet::Ipv6Net> {
        self.leases.iter().find_map(|lease| match lease.subnet {
            IpNet::V6(net) => Some(net),
            IpNet::V4(_) => None,
        })
    }

    /// The bridge's addresses.
    #[must_use]
    pub fn gateway_addresses(&self) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
        let v4 = match self.gateway(false) {
            Some(IpAddr::V4(ip)) => Some(ip),
            _ => None,
        };
        let v6 = match self.gateway(true) {
            Some(IpAddr::V6(ip)) => Some(ip),
            _ => None,
        };
        (v4, v6)
    }
}
