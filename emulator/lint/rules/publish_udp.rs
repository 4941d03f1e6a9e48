//! `publish-udp`: a port without `/udp` is TCP, also where only UDP is spoken.

use emulator_compose::{Protocol, Service};

use crate::lint::known::image_name;
use crate::lint::view::{Draft, View, entries};

/// Ports at which only UDP is spoken.
const UDP: &[(u16, &str)] = &[
    (67, "DHCP"),
    (68, "DHCP"),
    (69, "TFTP"),
    (123, "NTP"),
    (137, "NetBIOS names"),
    (138, "NetBIOS datagrams"),
    (161, "SNMP"),
    (500, "IKE"),
    (1900, "SSDP"),
    (4500, "IPsec"),
    (4789, "VXLAN"),
    (5353, "mDNS"),
    (8125, "StatsD"),
    (19132, "Minecraft Bedrock"),
    (41641, "Tailscale"),
    (51820, "WireGuard"),
];

/// Ports at which both are spoken, and UDP by most.
const BOTH: &[(u16, &str)] = &[(53, "DNS"), (3478, "STUN and TURN")];

pub(in crate::lint) fn check(view: &View<'_>, out: &mut Vec<Draft>) {
    for service in &view.project.services {
        for entry in entries(service) {
            let port = entry[0];
            if port.protocol != Protocol::Tcp || has_udp(service, port.target) {
                continue;
            }
            let of = |table: &[(u16, &'static str)]| {
                let known = table.iter().find(|(number, _)| *number == port.target);
                known.map(|(_, name)| *name)
            };
            let (message, fix) = match (of(UDP), of(BOTH)) {
                (Some(name), _) if !speaks_tcp(service) => (
                    format!(
                        "{} publishes port {} ({name}) as TCP: {name} is UDP",
                        service.name, port.target
                    ),
                    "write `/udp` behind the port".to_owned(),
                ),
                (_, Some(name)) => (
                    format!(
                        "{} publishes port {} ({name}) as TCP only: most clients ask by UDP",
                        service.name, port.target
                    ),
                    "publish the same port once more, with `/udp`".to_owned(),
                ),
                _ => continue,
            };
            out.push(view.service(service, port.at, message).fix(fix));
        }
    }
}

fn has_udp(service: &Service, target: u16) -> bool {
    let ports = service.ports.iter();
    ports
        .filter(|port| port.protocol == Protocol::Udp)
        .any(|port| port.target == target)
}

/// Images that speak TCP at such a port: administration pages of the same program.
fn speaks_tcp(service: &Service) -> bool {
    let image = service.image.as_ref().map(|image| image_name(image));
    matches!(image, Some("statsd-exporter" | "wireguard-ui"))
}
