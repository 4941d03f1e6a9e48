//! Who asks: the first container of each service, and the places.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use emulator_core::id::NsId;
use emulator_core::lab::Lab;

use super::targets::{self, Target};
use super::{Carrier, How, PLACES, Seen};

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) label: String,
    pub(super) ns: NsId,
    /// It is a container: it looks services up by name.
    pub(super) container: bool,
    /// It lives in the host's namespace.
    pub(super) host: bool,
    /// Its own addresses.
    pub(super) own: Vec<IpAddr>,
    /// The host's addresses as it may know them, with the network of a gateway.
    pub(super) doors: Vec<Door>,
    /// How many of these are on its own networks or the uplink: the first ones.
    pub(super) near: usize,
}

/// The askers, in the order of the rows.
pub(super) fn askers(lab: &Lab, targets: &[Target], carriers: &[Carrier]) -> Vec<Asker> {
    let places = lab.places();
    let uplink = lab.host_addresses();
    let mut askers = Vec::new();
    for target in targets {
        let Some(ns) = target
            .containers
            .first()
            .and_then(|name| lab.namespace(name))
        else {
            continue;
        };
        let own = targets::place_addresses(lab, ns);
        let (doors, near) = doors(ns == places.host, &own, &uplink, carriers);
        askers.push(Asker {
            label: target.label.clone(),
            ns,
            container: true,
            host: ns == places.host,
            own,
            doors,
            near,
        });
    }
    for (label, ns) in PLACES
        .into_iter()
        .zip([places.host, places.lan, places.internet])
    {
        let own = targets::place_addresses(lab, ns);
        let (doors, near) = doors(ns == places.host, &own, &uplink, carriers);
        askers.push(Asker {
            label: label.to_owned(),
            ns,
            container: false,
            host: ns == places.host,
            own,
            doors,
            near,
        });
    }
    askers
}

/// An address of the host, how it is found, and the network that it is the gateway of.
type Door = (How, Option<String>, IpAddr);

/// The host's addresses: its uplink's, then the gateways of the asker's own networks; how many these are;
/// then those of the other networks, and loopback for the host itself.
fn doors(
    host: bool,
    own: &[IpAddr],
    uplink: &[IpAddr],
    carriers: &[Carrier],
) -> (Vec<Door>, usize) {
    let mut doors: Vec<Door> = uplink
        .iter()
        .map(|&address| (How::Host, None, address))
        .collect();
    let is_own = |carrier: &&Carrier| {
        let nets = carrier.subnets.iter();
        nets.filter_map(|net| net.parse::<ipnet::IpNet>().ok())
            .any(|net| own.iter().any(|address| net.contains(address)))
    };
    let gateways = |carriers: Vec<&Carrier>| -> Vec<Door> {
        let each = carriers.into_iter().flat_map(|carrier| {
            let gateways = carrier.gateways.iter();
            gateways.map(|&gateway| (How::Gateway, Some(carrier.key.clone()), gateway))
        });
        each.collect()
    };
    let (near, far): (Vec<&Carrier>, Vec<&Carrier>) = carriers.iter().partition(is_own);
    doors.extend(gateways(near));
    let near = doors.len();
    doors.extend(gateways(far));
    if host {
        doors.push((How::Loopback, None, Ipv4Addr::LOCALHOST.into()));
        doors.push((How::Loopback, None, Ipv6Addr::LOCALHOST.into()));
    }
    (doors, near)
}

/// Whose address the server saw.
pub(super) fn seen(
    asker: &Asker,
    carriers: &[Carrier],
    uplink: &[IpAddr],
    address: IpAddr,
) -> Seen {
    let gateway = || {
        let carrier = carriers
            .iter()
            .find(|carrier| carrier.gateways.contains(&address));
        carrier.map(|carrier| format!("gateway({})", carrier.key))
    };
    let who = if asker.own.contains(&address) || address.is_loopback() {
        "client".to_owned()
    } else if let Some(gateway) = gateway() {
        gateway
    } else if uplink.contains(&address) {
        "host".to_owned()
    } else {
        "other".to_owned()
    };
    Seen { address, who }
}
