//! Bare TAPs: a place on a network of the project for whatever joins a TAP of this machine.

use core::fmt;
use core::net::IpAddr;

use emulator_compose::Project;
use emulator_core::docker::network::Base;
use emulator_core::docker::spec::ContainerSpec;
use emulator_core::id::{IfId, NsId};
use emulator_core::joining::{Joining, Segment, V4, V6};
use emulator_core::lab::Lab;
use emulator_host::attach::{Frames, Front, Guest, IMAGE, Joined, Opener, Place, Tally, open};
use emulator_host::means::Means;
use emulator_host::runtime::Runtime;
use serde::Serialize;

use super::guests::network;
use crate::project::{Started, Up};

/// What stands where a container has its service.
const SERVICE: &str = "(tap)";

/// A TAP that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapWish {
    /// A network of the project.
    pub network: String,
    /// The TAP.
    pub tap: String,
    /// How it is opened.
    pub opener: Opener,
}

/// A TAP on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tap {
    /// Its name.
    pub tap: String,
    /// The network, by its name in the engine.
    pub network: String,
    /// The container that stands for the first machine that joins.
    pub container: String,
    /// The DHCP server, and the address that it gives first.
    pub dhcp: Option<(IpAddr, IpAddr)>,
    /// The prefix that is advertised.
    pub prefix: Option<String>,
    /// The DNS servers.
    pub dns: Vec<IpAddr>,
}

impl fmt::Display for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tap {} on {}:", self.tap, self.network)?;
        match self.dhcp {
            Some((server, first)) => write!(f, " DHCP at {server}, {first} first")?,
            None => f.write_str(" no DHCP")?,
        }
        if let Some(prefix) = &self.prefix {
            write!(f, ", advertises {prefix}")?;
        }
        let dns: Vec<String> = self.dns.iter().map(IpAddr::to_string).collect();
        if !dns.is_empty() {
            write!(f, ", DNS at {}", dns.join(" and "))?;
        }
        Ok(())
    }
}

/// The TAPs of a project, opened and not attached yet.
#[derive(Debug, Default)]
pub(super) struct Taps {
    opened: Vec<(Frames, IfId, Joining, Place, Tally)>,
    /// What they are.
    pub(super) taps: Vec<Tap>,
}

impl Taps {
    /// Opens what is asked for, and makes a container for each.
    ///
    /// # Errors
    /// A sentence: what is missing.
    pub(super) fn open(
        lab: &mut Lab,
        project: &Project,
        up: &mut Up,
        wishes: &[TapWish],
    ) -> Result<Self, String> {
        let mut taps = Self::default();
        for wish in wishes {
            let frames = open(&wish.tap, wish.opener)?;
            let network = network(lab, project, &wish.network)?;
            let name = format!("{}-{}", project.name, wish.tap);
            let spec = ContainerSpec {
                name: Some(name.clone()),
                image: IMAGE.to_owned(),
                listens: Some(Vec::new()),
                network_mode: network.clone(),
                ..ContainerSpec::default()
            };
            lab.create(spec)
                .and_then(|_| lab.start(&name))
                .map_err(|error| error.to_string())?;
            let (iface, joining, place) = described(lab, &network, &name).ok_or_else(|| {
                format!("{network} is no bridge network: a TAP has no place there")
            })?;
            let segment = joining.segment();
            let (v4, v6) = (segment.v4.as_ref(), segment.v6.as_ref());
            let first = first(lab, place.ns, iface);
            taps.taps.push(Tap {
                tap: wish.tap.clone(),
                network,
                container: name.clone(),
                dhcp: v4.and_then(|v4| Some((v4.server.into(), first?))),
                prefix: v6.map(|v6| v6.prefix.to_string()),
                dns: (v4.and_then(|v4| v4.dns).map(IpAddr::V4).into_iter())
                    .chain(v6.and_then(|v6| v6.dns).map(IpAddr::V6))
                    .collect(),
            });
            taps.opened
                .push((frames, iface, joining, place, Tally::default()));
            up.containers.push(Started {
                service: SERVICE.to_owned(),
                number: 1,
                container: name,
                error: None,
            });
        }
        Ok(taps)
    }

    /// What becomes of the frames of each, by the container that stands for it.
    pub(super) fn tallies(&self) -> Vec<(String, Tally)> {
        let opened = self.opened.iter();
        opened
            .map(|(_, _, _, place, tally)| (place.container.clone(), tally.clone()))
            .collect()
    }

    /// Attaches what was opened.
    pub(super) fn attach(self, runtime: &mut Runtime, means: &Means) -> std::io::Result<()> {
        for (frames, iface, joining, place, tally) in self.opened {
            let at = (place.ns, iface);
            let joined = Joined::new(joining, place, means.clone());
            let front = Front::Asks(Box::new(joined));
            runtime.attach(|cx| Guest::new(cx, at, frames, front, tally))?;
        }
        Ok(())
    }
}

/// The first IPv4 address of an interface.
fn first(lab: &Lab, ns: NsId, iface: IfId) -> Option<IpAddr> {
    let addrs = &lab.net().ns(ns)?.iface(iface)?.addrs;
    addrs.iter().map(|it| it.net.addr()).find(IpAddr::is_ipv4)
}

/// What a machine on a bridge network is told, and where.
fn described(lab: &Lab, network: &str, container: &str) -> Option<(IfId, Joining, Place)> {
    let host = lab.places().host;
    let found = lab.docker().network(network).ok()?;
    let Base::Bridge { iface, .. } = &found.base else {
        return None;
    };
    let bridge = lab.net().ns(host)?.iface(*iface)?;
    let ns = lab.namespace(container)?;
    let own = lab.net().ns(ns)?;
    let eth0 = own.iface_named("eth0")?;
    let is_way_out = |v6: bool| own.routes(v6).iter().any(|route| route.is_default());
    let router = |v6: bool| {
        let mut routes = own
            .routes(v6)
            .into_iter()
            .filter(|route| route.is_default());
        routes.find_map(|route| route.via)
    };
    let (gateway_v4, gateway_v6) = found.gateway_addresses();
    // What the bridge does not have does not answer.
    let gateway_v4 = gateway_v4.filter(|ip| bridge.has((*ip).into()));
    let gateway_v6 = gateway_v6.filter(|ip| bridge.has((*ip).into()));
    let local = bridge.addrs.iter().find_map(|it| match it.net.addr() {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some(ip),
        _ => None,
    });
    let v4 = found.subnet_v4().zip(gateway_v4).map(|(net, server)| V4 {
        net,
        server,
        router: router(false).and_then(|ip| match ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        }),
        dns: Some(server),
        domain: network.to_owned(),
    });
    let v6 = found.subnet_v6().zip(local).map(|(prefix, link_local)| V6 {
        prefix,
        link_local,
        router: is_way_out(true),
        dns: gateway_v6,
    });
    let mut joining = Joining::new(Segment {
        mac: bridge.mac,
        mtu: u16::try_from(eth0.mtu).unwrap_or(u16::MAX),
        v4,
        v6,
    });
    if let Some(IpAddr::V4(ip)) = first(lab, ns, eth0.id) {
        joining.add(ip, container);
    }
    let place = Place {
        network: network.to_owned(),
        container: container.to_owned(),
        ns,
        host,
    };
    Some((eth0.id, joining, place))
}
