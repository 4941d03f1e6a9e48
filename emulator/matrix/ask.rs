//! Fills the matrix: each cell's ways, tried one after the other.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::collections::BTreeSet;
use std::io;

use emulator_compose::{Images, Project};
use emulator_core::docker::spec::{Engine, Port, Proto};
use emulator_core::id::NsId;
use emulator_core::lab::Lab;
use emulator_core::lab::outside::INTERNET_V4;
use emulator_core::lab::probe::{Answer, Question};

use super::askers::{Asker, askers, seen};
use super::probe::{ask, word};
use super::route::Route;
use super::targets::{Target, carriers, place_addresses, targets};
use super::{Addressed, Carrier, Cell, Depth, End, How, Matrix, Member, PLACES, Verdict, Way};
use crate::project::Up;

/// Whom `internet` is asked for by name, and where.
const INTERNET_NAME: &str = "example.com";
const HTTPS: u16 = 443;

/// What a run of questions needs to know.
struct Run<'a> {
    lab: &'a mut Lab,
    depth: Depth,
    carriers: &'a [Carrier],
    uplink: &'a [IpAddr],
    /// `lan` is given routes to the containers' networks too.
    routes: bool,
    /// Called after each way.
    tried: &'a mut dyn FnMut(&mut Lab),
}

/// Fills the matrix of a project that runs in `lab`, with programs that listen on what the files and
/// `images` say. `progress` is called before each row.
///
/// # Errors
/// Those of `progress`.
pub fn fill(
    lab: &mut Lab,
    project: &Project,
    up: &Up,
    images: &Images,
    depth: Depth,
    seed: u64,
    progress: impl FnMut(&mut Lab, usize, usize) -> io::Result<()>,
) -> io::Result<Matrix> {
    let alone = Member {
        key: None,
        project,
        up,
    };
    fill_together(lab, &project.name, &[alone], images, depth, seed, progress)
}

/// The same for projects that run together, under a name for all of them.
///
/// # Errors
/// Those of `progress`.
pub fn fill_together(
    lab: &mut Lab,
    name: &str,
    members: &[Member<'_>],
    images: &Images,
    depth: Depth,
    seed: u64,
    mut progress: impl FnMut(&mut Lab, usize, usize) -> io::Result<()>,
) -> io::Result<Matrix> {
    let carriers = carriers(lab, members);
    let targets = targets(lab, members, images);
    let askers = askers(lab, &targets, &carriers);
    let uplink = lab.host_addresses();
    let mut cells = Vec::new();
    for (done, asker) in askers.iter().enumerate() {
        progress(lab, done, askers.len())?;
        let mut run = Run {
            lab,
            depth,
            carriers: &carriers,
            uplink: &uplink,
            routes: depth == Depth::Every,
            tried: &mut |_| {},
        };
        for target in &targets {
            run.service(asker, target, &mut cells);
        }
        for place in PLACES {
            if place != asker.label {
                cells.push(run.place(asker, place));
            }
        }
    }
    Ok(Matrix {
        project: name.to_owned(),
        engine: engine(lab.docker().engine()).to_owned(),
        seed,
        ends: ends(lab, &targets),
        networks: carriers,
        cells,
        failed: members
            .iter()
            .flat_map(|member| failed(member.up))
            .collect(),
    })
}

/// One question by itself: `from` and `to` as a matrix [labels](super::label) them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct One<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    /// The port of a service, whether it is known to listen there or not; none is a ping. Places are asked as
    /// in a matrix.
    pub(crate) port: Option<Port>,
}

/// The answer to one question, and the namespace that asked; `None` if an end does not run. `tried` is
/// called once the name was looked up, if there is one, and after each way.
pub(crate) fn one(
    lab: &mut Lab,
    members: &[Member<'_>],
    images: &Images,
    question: One<'_>,
    tried: &mut dyn FnMut(&mut Lab),
) -> Option<(Cell, NsId)> {
    let carriers = carriers(lab, members);
    let targets = targets(lab, members, images);
    let askers = askers(lab, &targets, &carriers);
    let asker = askers.iter().find(|asker| asker.label == question.from)?;
    let uplink = lab.host_addresses();
    if PLACES.contains(&question.to) {
        let mut run = Run {
            lab,
            depth: Depth::Every,
            carriers: &carriers,
            uplink: &uplink,
            routes: false,
            tried,
        };
        return Some((run.place(asker, question.to), asker.ns));
    }
    let target = targets.iter().find(|target| target.label == question.to)?;
    let protocol = question
        .port
        .map_or_else(|| "icmp".to_owned(), |port| port.proto.to_string());
    let mut cell = cell(
        asker,
        &target.label,
        question.port.map(|port| port.number),
        &protocol,
    );
    if asker.container {
        cell.name = Some(target.service.clone());
        cell.resolved = lab.lookup(asker.ns, &target.service);
    }
    tried(lab);
    let mut run = Run {
        lab,
        depth: Depth::Every,
        carriers: &carriers,
        uplink: &uplink,
        routes: false,
        tried,
    };
    let cell = match question.port {
        Some(port) => run.port(asker, target, port, cell),
        None => run.ping(asker, target, cell),
    };
    Some((cell, asker.ns))
}

pub(crate) const fn engine(engine: Engine) -> &'static str {
    match engine {
        Engine::V20_10 => "20.10",
        Engine::V29 => "29",
    }
}

fn ends(lab: &Lab, targets: &[Target]) -> Vec<End> {
    let services = targets.iter().map(|target| End {
        name: target.label.clone(),
        service: true,
        containers: target.containers.len(),
        ports: target
            .listening
            .iter()
            .map(|(_, listening)| listening.clone())
            .collect(),
        addresses: target.addresses.clone(),
    });
    let places = lab.places();
    let places = PLACES
        .into_iter()
        .zip([places.host, places.lan, places.internet])
        .map(|(name, ns)| End {
            name: name.to_owned(),
            service: false,
            containers: 0,
            ports: Vec::new(),
            addresses: if ns == places.host {
                lab.host_addresses()
            } else {
                place_addresses(lab, ns)
            }
            .into_iter()
            .map(|address| Addressed {
                network: None,
                address,
            })
            .collect(),
        });
    services.chain(places).collect()
}

fn failed(up: &Up) -> Vec<(String, String)> {
    let networks = up.networks.iter();
    networks
        .map(|(key, error)| (key.clone(), error.to_string()))
        .chain(up.containers.iter().filter_map(|started| {
            let error = started.error.as_ref()?;
            Some((started.container.clone(), error.to_string()))
        }))
        .collect()
}

fn cell(from: &Asker, to: &str, port: Option<u16>, protocol: &str) -> Cell {
    Cell {
        from: from.label.clone(),
        to: to.to_owned(),
        port,
        protocol: protocol.to_owned(),
        verdict: Verdict::Unknown,
        reason: None,
        name: None,
        resolved: Vec::new(),
        ways: Vec::new(),
    }
}

/// A way that is to be tried.
#[derive(Clone, Debug)]
struct Try {
    how: How,
    network: Option<String>,
    at: SocketAddr,
    ephemeral: bool,
    /// The route that `lan` is given for it.
    route: Option<Route>,
}

impl Run<'_> {
    /// The cells of a service.
    fn service(&mut self, asker: &Asker, target: &Target, cells: &mut Vec<Cell>) {
        let resolved = if asker.container {
            self.lab.lookup(asker.ns, &target.service)
        } else {
            Vec::new()
        };
        let named = |port, protocol: &str| {
            let mut cell = cell(asker, &target.label, port, protocol);
            cell.name = asker.container.then(|| target.service.clone());
            cell.resolved.clone_from(&resolved);
            cell
        };
        if target.listening.is_empty() {
            let mut cell = named(None, "icmp");
            for to in addresses(asker, target, &resolved, 0) {
                self.attempt(asker, Proto::Tcp, to, true, &mut cell);
            }
            for to in self.routed(asker, target, 0) {
                self.attempt(asker, Proto::Tcp, to, true, &mut cell);
            }
            cell.reason = Some("port-unknown".to_owned());
            cells.push(cell);
        }
        for &(port, _) in &target.listening {
            let cell = named(Some(port.number), &port.proto.to_string());
            cells.push(self.port(asker, target, port, cell));
        }
    }

    /// The cell of a port.
    fn port(&mut self, asker: &Asker, target: &Target, port: Port, mut cell: Cell) -> Cell {
        if port.proto == Proto::Sctp {
            cell.reason = Some("sctp-not-carried".to_owned());
            return cell;
        }
        let mut ways = addresses(asker, target, &cell.resolved, port.number);
        let doors = doors(asker, target, port, self.depth);
        // A place goes by published ports before it goes by a container's address.
        let at = if asker.container { ways.len() } else { 0 };
        ways.splice(at..at, doors);
        ways.extend(self.routed(asker, target, port.number));
        for to in ways {
            self.attempt(asker, port.proto, to, false, &mut cell);
        }
        conclude(&mut cell);
        if cell.verdict == Verdict::Closed && !asker.container {
            cell.reason = Some(unpublished(target, port).to_owned());
        }
        cell
    }

    /// The cell of a ping.
    fn ping(&mut self, asker: &Asker, target: &Target, mut cell: Cell) -> Cell {
        for to in addresses(asker, target, &cell.resolved, 0) {
            self.attempt(asker, Proto::Tcp, to, true, &mut cell);
        }
        conclude(&mut cell);
        cell
    }

    /// The cell of a place: a ping to the host and to the machine on its segment, a page from the internet.
    fn place(&mut self, asker: &Asker, place: &str) -> Cell {
        let internet = place == "internet";
        let mut cell = if internet {
            cell(asker, place, Some(HTTPS), "tcp")
        } else {
            cell(asker, place, None, "icmp")
        };
        let mut ways = Vec::new();
        let way = |how, network: &Option<String>, address, port| Try {
            how,
            network: network.clone(),
            at: SocketAddr::new(address, port),
            ephemeral: false,
            route: None,
        };
        match place {
            "host" => {
                for (how, network, address) in &asker.doors[..asker.near] {
                    // As a place the host is a machine: the uplink's addresses are its own.
                    let how = if *how == How::Host {
                        How::Address
                    } else {
                        *how
                    };
                    ways.push(way(how, network, *address, 0));
                }
            }
            "lan" => {
                let addresses = place_addresses(self.lab, self.lab.places().lan);
                ways.extend(
                    addresses
                        .into_iter()
                        .map(|a| way(How::Address, &None, a, 0)),
                );
            }
            _ => {
                if asker.container || asker.host {
                    cell.name = Some(INTERNET_NAME.to_owned());
                    cell.resolved = self.lab.lookup(asker.ns, INTERNET_NAME);
                }
                let named = cell.resolved.iter();
                ways.extend(named.map(|&a| way(How::Name, &None, a, HTTPS)));
                if ways.is_empty() {
                    ways.push(way(How::Address, &None, INTERNET_V4.into(), HTTPS));
                }
            }
        }
        (self.tried)(self.lab);
        for to in ways {
            self.attempt(asker, Proto::Tcp, to, !internet, &mut cell);
        }
        conclude(&mut cell);
        if cell.verdict == Verdict::Door {
            cell.verdict = Verdict::Open;
        }
        cell
    }

    /// Tries one way, and notes what came of it.
    fn attempt(&mut self, asker: &Asker, proto: Proto, to: Try, ping: bool, cell: &mut Cell) {
        if self.depth == Depth::First && cell.open().next().is_some() {
            return;
        }
        let question = match proto {
            _ if ping => Question::Ping(to.at.ip()),
            Proto::Tcp => Question::Tcp(to.at, b""),
            Proto::Udp | Proto::Sctp => Question::Udp(to.at, b"?"),
        };
        if to
            .route
            .is_some_and(|route| route.add(self.lab, asker.ns).is_err())
        {
            return;
        }
        let (answer, dropped) = ask(self.lab, asker.ns, &question);
        let heard = match &answer {
            Answer::Open(bytes) if !ping => core::str::from_utf8(bytes).ok(),
            _ => None,
        };
        let last = heard.and_then(|text| text.split_whitespace().next_back());
        let source = last.and_then(|word| word.parse::<IpAddr>().ok());
        let open = matches!(answer, Answer::Open(_));
        // Most cells keep one.
        cell.ways.reserve_exact(1);
        cell.ways.push(Way {
            how: to.how,
            at: to.at,
            network: to.network,
            ephemeral: to.ephemeral,
            open,
            sees: source.map(|address| seen(asker, self.carriers, self.uplink, plain(address))),
            reason: (!open).then(|| word(asker.container, &answer, dropped)),
            frames: None,
        });
        (self.tried)(self.lab);
        if let Some(route) = to.route {
            route.del(self.lab, asker.ns);
        }
    }

    /// The target's addresses on bridges, each with the route to its network that `lan` may add.
    fn routed(&self, asker: &Asker, target: &Target, port: u16) -> Vec<Try> {
        if !self.routes || asker.ns != self.lab.places().lan {
            return Vec::new();
        }
        let ways = target.addresses.iter().filter_map(|own| {
            let network = own.network.as_ref()?;
            let carrier = self.carriers.iter().find(|known| known.key == *network)?;
            Some(Try {
                how: How::Route,
                network: Some(network.clone()),
                at: SocketAddr::new(own.address, port),
                ephemeral: false,
                route: Some(Route::through_host(carrier, self.uplink, own.address)?),
            })
        });
        ways.collect()
    }
}

/// An IPv4 address as it is, also where a socket of both families shows it.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The target's own addresses: those that its name gave first, in that order.
fn addresses(asker: &Asker, target: &Target, resolved: &[IpAddr], port: u16) -> Vec<Try> {
    let mut ways = Vec::new();
    let way = |how, network: Option<String>, address| Try {
        how,
        network,
        at: SocketAddr::new(address, port),
        ephemeral: false,
        route: None,
    };
    let of = |address: &IpAddr| target.addresses.iter().find(|own| own.address == *address);
    for own in resolved.iter().filter_map(of) {
        ways.push(way(How::Name, own.network.clone(), own.address));
    }
    for own in &target.addresses {
        if !resolved.contains(&own.address) {
            ways.push(way(How::Address, own.network.clone(), own.address));
        }
    }
    // Everybody reaches themselves there, and in the host's namespace loopback is a door like others.
    let shared = target.namespaces.contains(&asker.ns) && target.label != asker.label;
    if shared && !asker.host {
        ways.push(way(How::Shared, None, Ipv4Addr::LOCALHOST.into()));
        ways.push(way(How::Shared, None, Ipv6Addr::LOCALHOST.into()));
    }
    ways
}

/// The host's addresses at which a port of the target is open.
fn doors(asker: &Asker, target: &Target, port: Port, depth: Depth) -> Vec<Try> {
    let mut ways: Vec<Try> = Vec::new();
    for opening in target.openings.get(&port).into_iter().flatten() {
        for (at, (how, network, address)) in asker.doors.iter().enumerate() {
            let tried = depth == Depth::Every || at < asker.near || *how == How::Loopback;
            if tried && opening.is_at(*address) {
                ways.push(Try {
                    how: *how,
                    network: network.clone(),
                    at: SocketAddr::new(*address, opening.host_port),
                    ephemeral: opening.ephemeral,
                    route: None,
                });
            }
        }
    }
    let mut tried = BTreeSet::new();
    ways.retain(|way| tried.insert(way.at));
    ways.sort_by_key(|way| way.how);
    ways
}

/// Why a port is closed to those who have no way but a published port.
fn unpublished(target: &Target, port: Port) -> &'static str {
    let mut openings = target.openings.get(&port).into_iter().flatten().peekable();
    if openings.peek().is_some() && openings.all(|opening| opening.host_ip.is_loopback()) {
        "loopback-only"
    } else {
        "not-published"
    }
}

/// The verdict of what was tried.
pub(crate) fn conclude(cell: &mut Cell) {
    cell.verdict = if cell.direct() {
        Verdict::Open
    } else if cell.open().any(|way| way.how.is_door()) {
        Verdict::Door
    } else if cell.open().next().is_some() {
        Verdict::Route
    } else {
        Verdict::Closed
    };
    if cell.verdict == Verdict::Closed {
        // The target's own addresses say more than a published port.
        let mut own = cell.ways.iter().filter(|way| way.how.is_direct());
        let first = own.next().or_else(|| cell.ways.first());
        let first = first.and_then(|way| way.reason.clone());
        cell.reason = Some(first.unwrap_or_else(|| "no-address".to_owned()));
    }
}
