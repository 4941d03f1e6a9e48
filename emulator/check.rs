//! `check`: who reaches whom in a project, asked with real packets.
//!
//! Rows are the services, `host`, `lan` and `internet`; columns are each (service, port), then
//! `internet` and `host`. A container asks by name: it looks the name up through its own resolver
//! and tries every address that it gets. Then, and for places that have no names, the published port
//! is tried on the host's addresses and on the gateways of the asker's networks. The first way that
//! works is the answer's `via`; if none does, `reason` says why the first one failed.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;

use emulator_compose::{Project, Service};
use emulator_core::docker::spec::{Port, Proto};
use emulator_core::id::NsId;
use emulator_core::lab::Lab;
use emulator_core::lab::outside::INTERNET_V4;
use emulator_core::lab::probe::{Answer, Question};
use emulator_core::netns::Errno;
use serde::Serialize;
use switch::DropReason;

use crate::project::{Up, listens};

/// How long a probe waits before it says "timeout", in virtual time.
const LIMIT: Duration = Duration::from_secs(5);

/// One question of the matrix and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Who asks: a service, `host`, `lan` or `internet`.
    pub from: String,
    /// Who is asked: a service, `internet` or `host`.
    pub to: String,
    /// The port; none is known of a service whose ports nobody states.
    pub port: Option<u16>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: Option<String>,
    /// The name that was looked up, if the asker looks names up.
    pub name: Option<String>,
    /// What the name gave.
    pub resolved: Vec<IpAddr>,
    /// Whether anything answered; nothing is known without a port, or of a protocol that is not carried.
    pub connected: Option<bool>,
    /// The network, or the published address, through which it answered.
    pub via: Option<String>,
    /// Why it did not.
    pub reason: Option<String>,
}

/// The answers of a whole project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// The project's name.
    pub project: String,
    /// The seed of the run.
    pub seed: u64,
    /// Row by row.
    pub cells: Vec<Cell>,
    /// Services that did not start, with Docker's words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<(String, String)>,
}

/// Who asks.
#[derive(Clone, Debug)]
struct Asker {
    label: String,
    ns: NsId,
    /// Its networks and their gateways; places have none.
    gateways: Vec<(String, IpAddr)>,
    /// The container, if it is one: it has a resolver.
    container: Option<String>,
}

/// A published port of a service as it was allocated.
#[derive(Clone, Copy, Debug)]
struct Opening {
    host_ip: IpAddr,
    host_port: u16,
}

/// Those of a service, by its ports.
type Openings = BTreeMap<Port, Vec<Opening>>;

/// Fills the matrix. `progress` is called before each row.
///
/// # Errors
/// Those of `progress`.
pub fn matrix(
    lab: &mut Lab,
    project: &Project,
    up: &Up,
    seed: u64,
    mut progress: impl FnMut(&mut Lab, usize, usize) -> io::Result<()>,
) -> io::Result<Matrix> {
    let askers = askers(lab, project, up);
    let services: Vec<(&Service, Vec<Port>, Openings)> = project
        .services
        .iter()
        .filter(|service| up.running(&service.name).next().is_some())
        .map(|service| {
            let ports = listens(service);
            let openings = openings(lab, up, &service.name, &ports);
            (service, ports, openings)
        })
        .collect();
    let mut cells = Vec::new();
    for (done, asker) in askers.iter().enumerate() {
        progress(lab, done, askers.len())?;
        for (service, ports, openings) in &services {
            if ports.is_empty() {
                cells.push(unknown(lab, asker, service));
            }
            for &port in ports {
                cells.push(service_cell(lab, asker, service, openings, port));
            }
        }
        if asker.label != "internet" {
            cells.push(internet_cell(lab, asker));
        }
        if asker.label != "host" {
            cells.push(host_cell(lab, asker));
        }
    }
    let failed = up
        .networks
        .iter()
        .map(|(key, error)| (key.clone(), error.to_string()))
        .chain(up.containers.iter().filter_map(|started| {
            started
                .error
                .as_ref()
                .map(|error| (started.container.clone(), error.to_string()))
        }))
        .collect();
    Ok(Matrix {
        project: project.name.clone(),
        seed,
        cells,
        failed,
    })
}

fn askers(lab: &Lab, project: &Project, up: &Up) -> Vec<Asker> {
    let mut askers = Vec::new();
    for service in &project.services {
        let Some(started) = up.running(&service.name).next() else {
            continue;
        };
        let Some(ns) = lab.namespace(&started.container) else {
            continue;
        };
        askers.push(Asker {
            label: service.name.clone(),
            ns,
            gateways: lab.gateways(&started.container),
            container: Some(started.container.clone()),
        });
    }
    let places = lab.places();
    for (label, ns) in [
        ("host", places.host),
        ("lan", places.lan),
        ("internet", places.internet),
    ] {
        askers.push(Asker {
            label: label.to_owned(),
            ns,
            gateways: Vec::new(),
            container: None,
        });
    }
    askers
}

fn empty(from: &str, to: &str, port: Option<Port>) -> Cell {
    Cell {
        from: from.to_owned(),
        to: to.to_owned(),
        port: port.map(|port| port.number),
        protocol: port.map(|port| port.proto.to_string()),
        name: None,
        resolved: Vec::new(),
        connected: None,
        via: None,
        reason: None,
    }
}

/// A service whose ports nobody states: its name can be looked up, and that is all.
fn unknown(lab: &mut Lab, asker: &Asker, service: &Service) -> Cell {
    let mut cell = empty(&asker.label, &service.name, None);
    resolve(lab, asker, &service.name, &mut cell);
    cell.reason = Some("port-unknown".to_owned());
    cell
}

fn resolve(lab: &mut Lab, asker: &Asker, name: &str, cell: &mut Cell) {
    if asker.container.is_some() {
        cell.name = Some(name.to_owned());
        cell.resolved = lab.lookup(asker.ns, name);
    }
}

fn service_cell(
    lab: &mut Lab,
    asker: &Asker,
    service: &Service,
    openings: &Openings,
    port: Port,
) -> Cell {
    let mut cell = empty(&asker.label, &service.name, Some(port));
    resolve(lab, asker, &service.name, &mut cell);
    if port.proto == Proto::Sctp {
        cell.reason = Some("sctp-not-carried".to_owned());
        return cell;
    }
    let mut ways: Vec<(SocketAddr, String)> = cell
        .resolved
        .iter()
        .map(|&address| {
            (
                SocketAddr::new(address, port.number),
                network_of(lab, asker, address),
            )
        })
        .collect();
    for &opening in openings.get(&port).into_iter().flatten() {
        ways.extend(doors(lab, asker, opening));
    }
    try_ways(lab, asker, port.proto, &ways, &mut cell);
    cell
}

/// The network of the asker that an address is on.
fn network_of(lab: &Lab, asker: &Asker, address: IpAddr) -> String {
    lab.network_of(asker.container.as_deref().unwrap_or_default(), address)
        .unwrap_or_else(|| "route".to_owned())
}

/// How a service's ports are open on the host: published, or because a container shares its namespace.
fn openings(lab: &Lab, up: &Up, service: &str, ports: &[Port]) -> Openings {
    let mut openings = Openings::new();
    for started in up.running(service) {
        if lab.namespace(&started.container) == Some(lab.places().host) {
            let any = [
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            ];
            for &port in ports {
                openings
                    .entry(port)
                    .or_default()
                    .extend(any.map(|host_ip| Opening {
                        host_ip,
                        host_port: port.number,
                    }));
            }
            continue;
        }
        for published in lab.published(&started.container) {
            if published.host_port != 0 {
                openings.entry(published.port).or_default().push(Opening {
                    host_ip: published.host_ip,
                    host_port: published.host_port,
                });
            }
        }
    }
    openings
}

/// The addresses at which an asker finds a port of the host, with a label for each.
fn doors(lab: &Lab, asker: &Asker, opening: Opening) -> Vec<(SocketAddr, String)> {
    let mut doors = Vec::new();
    let mut door = |label: &str, address: IpAddr| {
        let fits = opening.host_ip.is_ipv4() == address.is_ipv4()
            && (opening.host_ip.is_unspecified() || opening.host_ip == address);
        if fits {
            let at = SocketAddr::new(address, opening.host_port);
            doors.push((at, format!("{label} {at}")));
        }
    };
    if asker.ns == lab.places().host {
        door("host", Ipv4Addr::LOCALHOST.into());
        door("host", Ipv6Addr::LOCALHOST.into());
    }
    for address in lab.host_addresses() {
        door("host", address);
    }
    for (network, gateway) in &asker.gateways {
        door(&format!("gateway {network}"), *gateway);
    }
    doors
}

fn internet_cell(lab: &mut Lab, asker: &Asker) -> Cell {
    let port = Port {
        number: 443,
        proto: Proto::Tcp,
    };
    let mut cell = empty(&asker.label, "internet", Some(port));
    let name = "example.com";
    if asker.container.is_some() || asker.label == "host" {
        cell.name = Some(name.to_owned());
        cell.resolved = lab.lookup(asker.ns, name);
    }
    let mut addresses = cell.resolved.clone();
    if addresses.is_empty() {
        addresses.push(INTERNET_V4.into());
    }
    let ways: Vec<_> = addresses
        .into_iter()
        .map(|address| {
            (
                SocketAddr::new(address, port.number),
                "default route".to_owned(),
            )
        })
        .collect();
    try_ways(lab, asker, port.proto, &ways, &mut cell);
    cell
}

/// The host itself: a port where nobody listens; a refusal is an answer of the host's.
fn host_cell(lab: &mut Lab, asker: &Asker) -> Cell {
    let mut cell = empty(&asker.label, "host", None);
    cell.protocol = Some("icmp".to_owned());
    let mut ways: Vec<(IpAddr, String)> = lab
        .host_addresses()
        .into_iter()
        .map(|address| (address, format!("host {address}")))
        .collect();
    ways.extend(
        asker
            .gateways
            .iter()
            .map(|(network, gateway)| (*gateway, format!("gateway {network} {gateway}"))),
    );
    let mut first = None;
    for (address, label) in ways {
        let (answer, dropped) = ask(lab, asker.ns, &Question::Ping(address));
        if matches!(answer, Answer::Open(_)) {
            (cell.connected, cell.via) = (Some(true), Some(label));
            return cell;
        }
        first.get_or_insert((answer, dropped));
    }
    cell.connected = Some(false);
    cell.reason = first.map(|(answer, dropped)| reason(&answer, dropped));
    cell
}

fn try_ways(
    lab: &mut Lab,
    asker: &Asker,
    proto: Proto,
    ways: &[(SocketAddr, String)],
    cell: &mut Cell,
) {
    let mut first = None;
    for (to, label) in ways {
        let question = match proto {
            Proto::Tcp => Question::Tcp(*to, b""),
            Proto::Udp | Proto::Sctp => Question::Udp(*to, b"?"),
        };
        let (answer, dropped) = ask(lab, asker.ns, &question);
        if matches!(answer, Answer::Open(_)) {
            (cell.connected, cell.via) = (Some(true), Some(label.clone()));
            return;
        }
        first.get_or_insert((answer, dropped));
    }
    cell.connected = Some(false);
    cell.reason = Some(match first {
        Some((answer, dropped)) => reason(&answer, dropped),
        None if cell.name.is_some() => "no-such-name".to_owned(),
        None => "not-published".to_owned(),
    });
}

/// Asks, and notes for what reason frames died meanwhile.
fn ask(lab: &mut Lab, ns: NsId, question: &Question<'_>) -> (Answer, Option<DropReason>) {
    let before = lab.net().trace.drops.clone();
    let answer = lab.probe(ns, question, LIMIT);
    let after = &lab.net().trace.drops;
    let dropped = after
        .iter()
        .find(|&(reason, count)| count > before.of(reason))
        .map(|(reason, _)| reason);
    (answer, dropped)
}

/// A word for why it did not answer.
fn reason(answer: &Answer, dropped: Option<DropReason>) -> String {
    let word = match (answer, dropped) {
        (Answer::Timeout, Some(DropReason::FilteredIcc)) => "icc-off",
        (Answer::Timeout, Some(DropReason::FilteredInternal)) => "internal",
        (Answer::Timeout, Some(DropReason::FilteredIsolation)) => "isolated",
        (Answer::Timeout, Some(DropReason::FilteredUnpublished)) => "not-published",
        (Answer::Timeout, Some(DropReason::FilteredDirect)) => "direct-access",
        (Answer::Timeout, Some(DropReason::Filtered)) => "filtered",
        (Answer::Timeout, _) => "timeout",
        (Answer::Closed, _) => "closed",
        (Answer::Failed(Errno::ConnRefused), _) => "refused",
        (Answer::Failed(Errno::NetUnreach), _) => "net-unreachable",
        (Answer::Failed(Errno::HostUnreach), _) => "host-unreachable",
        (Answer::Failed(Errno::ConnReset), _) => "reset",
        (Answer::Failed(Errno::TimedOut), _) => "timeout",
        (Answer::Failed(errno), _) => return errno.code().to_owned(),
        (Answer::Open(_), _) => "open",
    };
    word.to_owned()
}
